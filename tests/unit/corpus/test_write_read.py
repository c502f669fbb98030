import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from genebert.corpus.read import Corpus, read_corpus
from genebert.corpus.schema import SCHEMA, metadata_of
from genebert.corpus.write import write_manifest, write_part
from genebert.errors import GenebertError
from genebert.genome import Genome, Interval, split_segments
from genebert.inputs.peaks import write_peaks
from genebert.motifs.reference import brute_force
from genebert.motifs.scan import Scanner, scan_chunk
from genebert.motifs.table import read_motif_table, write_motif_table
from genebert.regions import write_regions

CHUNKS = 3
WIDTH = 90


def _build(folder: Path, genome: Path, motifs: Path, chunks: int = CHUNKS) -> SimpleNamespace:
    """Peaks of three samples on the tiny genome, through every stage up to the manifest."""
    rng = np.random.default_rng(5)
    files = {}
    for sample in ("s1", "s2", "s3"):
        rows = []
        for number in range(15):
            chrom, length = (("chrA", 6000), ("chrB", 3000))[int(rng.integers(2))]
            summit = int(rng.integers(10, length - 10))
            place = (chrom, summit - 10, summit + 10, f"{sample}_{number}")
            rows.append((*place, float(rng.random()), summit))
        files[sample] = folder / f"peaks/{sample}.bed.gz"
        names = ["chrom", "start", "end", "name", "signal", "summit"]
        write_peaks(pd.DataFrame(rows, columns=names), files[sample])
    lengths = {"chrA": 6000, "chrB": 3000, "chrC": 90}
    segments = split_segments(lengths, ["chrB:0-1000"], ["chrA:3000-4500"])
    cell_type_of = {"s1": "T", "s2": "B", "s3": "T"}
    write_regions(files, cell_type_of, WIDTH, segments, folder / "regions")
    table = folder / "motifs.parquet"
    write_motif_table(motifs, [0.295, 0.205, 0.205, 0.295], 1.0, 0.01, 0.05, table)
    inputs = folder / "preflight.tsv"
    inputs.write_text("input\tpath\trecords\tsha256\ns1\ta.bed\t15\tabc\nmotifs\tm\t3\tdef\n")
    found = SimpleNamespace(
        genome=genome,
        regions=folder / "regions/regions.parquet",
        accessibility=folder / "regions/accessibility.parquet",
        table=table,
        inputs=inputs,
        folder=folder / "corpus",
        parts=[],
    )
    for chunk in range(chunks):
        hits = folder / f"hits-{chunk}.parquet"
        scan_chunk(genome, found.regions, read_motif_table(table), chunk, chunks, hits)
        part = found.folder / f"part-{chunk:04d}.parquet"
        found.parts.append(part)
        _part(found, hits, chunk, chunks, part)
    write_manifest(found.parts, found.folder / "manifest.json")
    return found


def _part(built: SimpleNamespace, hits: Path, chunk: int, chunks: int, out: Path) -> None:
    write_part(
        built.genome,
        "tiny",
        built.regions,
        built.accessibility,
        built.table,
        hits,
        built.inputs,
        chunk,
        chunks,
        out,
    )


@pytest.fixture(scope="module")
def built(
    tmp_path_factory: pytest.TempPathFactory, tiny_genome: Path, few_motifs: Path
) -> SimpleNamespace:
    return _build(tmp_path_factory.mktemp("built"), tiny_genome, few_motifs)


@pytest.fixture(scope="module")
def corpus(built: SimpleNamespace) -> Corpus:
    return read_corpus(built.folder)


@pytest.fixture
def copy(built: SimpleNamespace, tmp_path: Path) -> Path:
    """A corpus that a test may spoil."""
    shutil.copytree(built.folder, tmp_path / "corpus")
    return tmp_path / "corpus"


def _whole(built: SimpleNamespace) -> pd.DataFrame:
    return pd.concat([pq.read_table(part).to_pandas() for part in built.parts], ignore_index=True)


def test_a_part_holds_the_regions_of_its_chunk_with_sequence_from_the_fasta(
    built: SimpleNamespace,
) -> None:
    rows = _whole(built)
    regions = pq.read_table(built.regions).to_pandas()
    shared = ["region_id", "chrom", "start", "end", "split"]
    pd.testing.assert_frame_equal(rows[shared], regions[shared], check_dtype=False)
    assert set(rows["split"]) == {"train", "validation", "test"}
    genome = Genome(built.genome)
    assert rows["sequence"].tolist() == [
        genome.fetch(Interval(r.chrom, r.start, r.end)) for r in regions.itertuples()
    ]


def test_regions_are_sorted_unique_and_inside_the_genome(built: SimpleNamespace) -> None:
    rows = _whole(built)
    lengths = Genome(built.genome).lengths
    order = rows["chrom"].map({chrom: rank for rank, chrom in enumerate(lengths)})
    places = list(zip(order, rows["start"], strict=True))
    assert places == sorted(set(places))
    assert ((rows["start"] >= 0) & (rows["end"] <= rows["chrom"].map(lengths))).all()
    assert len(rows) == len(set(rows["region_id"])) > 20


def test_stored_hits_are_those_of_brute_force_by_key(built: SimpleNamespace) -> None:
    table = read_motif_table(built.table)
    compared = 0
    for row in _whole(built).itertuples():
        expected = []
        for motif, position, strand, score in brute_force(row.sequence, table.motifs):
            low, high = table.motifs[motif].lowest, table.motifs[motif].highest
            expected.append((motif, position, strand, np.float16((score - low) / (high - low))))
        found = list(zip(row.motif, row.position, row.strand, row.score, strict=True))
        assert found == expected
        compared += len(found)
    assert compared > 50


def test_reading_gives_the_best_hit_of_each_region_and_motif(
    built: SimpleNamespace, corpus: Corpus
) -> None:
    rows = _whole(built)
    expected: dict[tuple[int, int], float] = {}
    for row in rows.itertuples():
        for motif, score in zip(row.motif, row.score, strict=True):
            key = (row.region_id, int(motif))
            expected[key] = max(expected.get(key, 0.0), float(score))
    found = {
        (region, int(corpus.hit_motif[i])): float(corpus.hit_score[i])
        for region in range(corpus.regions)
        for i in range(corpus.hit_offsets[region], corpus.hit_offsets[region + 1])
    }
    assert found == expected
    assert len(corpus.hit_motif) == len(expected), "each key once"


def test_reading_gives_sequence_place_split_and_accessibility(
    built: SimpleNamespace, corpus: Corpus
) -> None:
    rows = _whole(built)
    assert ["".join("ACGTN"[code] for code in row) for row in corpus.sequence] == rows[
        "sequence"
    ].tolist()
    assert corpus.chrom.tolist() == rows["chrom"].tolist()
    assert corpus.start.tolist() == rows["start"].tolist()
    for split in ("train", "validation", "test"):
        assert corpus.in_split(split).tolist() == (rows["split"] == split).tolist()
    table = pq.read_table(built.accessibility).to_pandas()
    expected = {
        (int(region), cell_type): signal for region, cell_type, signal in table.itertuples(index=False)
    }
    found = {
        (region, corpus.metadata.cell_types[corpus.open_cell_type[i]]): corpus.open_signal[i]
        for region in range(corpus.regions)
        for i in range(corpus.open_offsets[region], corpus.open_offsets[region + 1])
    }
    assert found == expected
    assert corpus.metadata.cell_types == ["B", "T"]


def test_a_part_follows_the_schema_and_says_what_its_columns_mean(built: SimpleNamespace) -> None:
    table = read_motif_table(built.table)
    for part in built.parts:
        schema = pq.read_schema(part)
        assert schema.remove_metadata().equals(SCHEMA)
        metadata = metadata_of(schema, "here")
        assert metadata.motifs == [motif.label for motif in table.motifs]
        assert metadata.thresholds == [motif.threshold for motif in table.motifs]
        assert metadata.motif_digest == table.digest()
        assert metadata.inputs == {"a.bed": "abc", "m": "def"}
        assert (metadata.genome, metadata.width) == ("tiny", WIDTH)
        assert set(metadata.packages) == {"MOODS-python", "pyarrow"}


def test_the_manifest_counts_what_the_parts_hold(built: SimpleNamespace, corpus: Corpus) -> None:
    manifest = json.loads((built.folder / "manifest.json").read_text())
    rows = _whole(built)
    assert manifest["regions"] == len(rows) == sum(part["regions"] for part in manifest["parts"])
    assert manifest["regions_by_split"] == rows["split"].value_counts().to_dict()
    assert manifest["hits"] == sum(map(len, rows["motif"]))
    assert manifest["views"] == len(corpus.open_signal)


def test_a_rebuilt_corpus_has_the_same_bytes(
    built: SimpleNamespace, tmp_path: Path, tiny_genome: Path, few_motifs: Path
) -> None:
    again = _build(tmp_path, tiny_genome, few_motifs)
    for name in ("manifest.json", *[part.name for part in built.parts]):
        assert (again.folder / name).read_bytes() == (built.folder / name).read_bytes(), name


@pytest.mark.parametrize("chunks", [1, 50])
def test_the_number_of_chunks_does_not_change_the_corpus(
    corpus: Corpus, tmp_path: Path, tiny_genome: Path, few_motifs: Path, chunks: int
) -> None:
    other = read_corpus(_build(tmp_path, tiny_genome, few_motifs, chunks).folder)
    assert other.metadata == corpus.metadata
    for name in ("start", "split", "sequence", "hit_offsets", "hit_motif", "hit_score"):
        assert np.array_equal(getattr(other, name), getattr(corpus, name)), name
    for name in ("chrom", "open_offsets", "open_cell_type", "open_signal"):
        assert np.array_equal(getattr(other, name), getattr(corpus, name)), name


def test_hits_of_another_chunk_are_refused(built: SimpleNamespace, tmp_path: Path) -> None:
    wrong = tmp_path / "hits.parquet"
    scan_chunk(built.genome, built.regions, read_motif_table(built.table), 1, CHUNKS, wrong)
    with pytest.raises(GenebertError, match="are not those of regions 0 to"):
        _part(built, wrong, 0, CHUNKS, tmp_path / "part.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["hits.parquet"]


def test_a_manifest_refuses_parts_that_do_not_follow_each_other(
    built: SimpleNamespace, tmp_path: Path
) -> None:
    for parts in (built.parts[1:], [built.parts[0], built.parts[2]]):
        with pytest.raises(GenebertError, match="do not follow those of the part before"):
            write_manifest(parts, tmp_path / "manifest.json")
    swapped = [tmp_path / "part-0000.parquet", tmp_path / "part-0001.parquet"]
    shutil.copy(built.parts[1], swapped[0])
    shutil.copy(built.parts[0], swapped[1])
    with pytest.raises(GenebertError, match="do not follow those of the part before"):
        write_manifest(swapped, tmp_path / "manifest.json")
    assert not (tmp_path / "manifest.json").exists()


def test_a_manifest_refuses_a_part_of_another_corpus(copy: Path, tmp_path: Path) -> None:
    _change_metadata(copy / "part-0001.parquet", genome="another")
    with pytest.raises(GenebertError, match=r"part-0001\.parquet is of another corpus"):
        write_manifest(sorted(copy.glob("part-*")), tmp_path / "manifest.json")
    assert not (tmp_path / "manifest.json").exists()


def _change_metadata(part: Path, **changes: object) -> None:
    table = pq.read_table(part)
    content = json.loads(table.schema.metadata[b"genebert"]) | changes
    pq.write_table(table.replace_schema_metadata({"genebert": json.dumps(content)}), part)


def test_a_missing_part_is_refused(copy: Path) -> None:
    (copy / "part-0002.parquet").unlink()
    with pytest.raises(GenebertError, match=r"part-0002\.parquet is missing or damaged"):
        read_corpus(copy)


@pytest.mark.parametrize("kept", [0.0, 0.4, 0.99])
def test_a_truncated_part_is_refused(copy: Path, kept: float) -> None:
    part = copy / "part-0001.parquet"
    part.write_bytes(part.read_bytes()[: int(part.stat().st_size * kept)])
    with pytest.raises(GenebertError, match=r"part-0001\.parquet is missing or damaged"):
        read_corpus(copy)


def test_a_part_with_fewer_rows_than_the_manifest_says_is_refused(copy: Path) -> None:
    part = copy / "part-0001.parquet"
    table = pq.read_table(part)
    pq.write_table(table.slice(1), part)
    with pytest.raises(GenebertError, match=rf"has {len(table) - 1} regions, the manifest says"):
        read_corpus(copy)


def test_a_part_of_another_corpus_is_refused(copy: Path) -> None:
    _change_metadata(copy / "part-0001.parquet", motif_digest="another")
    with pytest.raises(GenebertError, match="is of another corpus"):
        read_corpus(copy)


def test_a_part_of_another_version_of_the_contract_is_refused(copy: Path) -> None:
    _change_metadata(copy / "part-0001.parquet", version=99)
    with pytest.raises(GenebertError, match=r"not a corpus part of version 1 \(found 99\)"):
        read_corpus(copy)


def test_a_part_with_another_column_type_is_refused(copy: Path) -> None:
    part = copy / "part-0001.parquet"
    table = pq.read_table(part)
    at = table.schema.get_field_index("start")
    pq.write_table(table.set_column(at, "start", table["start"].cast(pa.int32())), part)
    with pytest.raises(GenebertError, match="columns differ from the corpus contract"):
        read_corpus(copy)


def test_a_missing_or_damaged_manifest_is_refused(copy: Path) -> None:
    (copy / "manifest.json").write_text('{"parts": [')
    with pytest.raises(GenebertError, match="is damaged"):
        read_corpus(copy)
    (copy / "manifest.json").unlink()
    with pytest.raises(GenebertError, match=r"manifest\.json does not exist"):
        read_corpus(copy)


def test_the_demo_read_back_equals_one_scan_of_its_regions(
    demo: SimpleNamespace, jaspar_file: Path, tmp_path: Path
) -> None:
    every_third = jaspar_file.read_text().split(">")[1::3]
    (tmp_path / "third.jaspar").write_text("".join(f">{motif}" for motif in every_third))
    background = [0.295, 0.205, 0.205, 0.295]
    write_motif_table(tmp_path / "third.jaspar", background, 1, 1e-4, 1e-3, tmp_path / "m")
    table = read_motif_table(tmp_path / "m")
    assert len(table.motifs) > 300
    (tmp_path / "inputs.tsv").write_text("input\tpath\trecords\tsha256\n")
    built = SimpleNamespace(
        genome=demo.fasta,
        regions=demo.regions,
        accessibility=demo.accessibility,
        table=tmp_path / "m",
        inputs=tmp_path / "inputs.tsv",
    )
    parts = [tmp_path / f"part-{chunk}.parquet" for chunk in range(2)]
    for chunk, part in enumerate(parts):
        hits = tmp_path / f"hits-{chunk}.parquet"
        scan_chunk(demo.fasta, demo.regions, table, chunk, 2, hits)
        _part(built, hits, chunk, 2, part)
    write_manifest(parts, tmp_path / "manifest.json")
    corpus = read_corpus(tmp_path)
    regions = pq.read_table(demo.regions).to_pandas()
    genome = Genome(demo.fasta)
    sequences = [
        genome.fetch(Interval(r.chrom, r.start, r.end)) for r in regions.itertuples(index=False)
    ]
    hits = Scanner(table).scan(sequences)
    dense = np.zeros((len(regions), len(table.motifs)), np.float32)
    np.maximum.at(dense, (hits.sequence, hits.motif), hits.score.astype(np.float32))
    read = np.zeros_like(dense)
    region_of = np.repeat(np.arange(corpus.regions), np.diff(corpus.hit_offsets))
    read[region_of, corpus.hit_motif] = corpus.hit_score
    assert np.array_equal(read, dense)
    assert (dense > 0).sum(axis=1).mean() > 15
    assert (np.diff(corpus.open_offsets) >= 1).all(), "each region is open somewhere"
    assert not np.isin(corpus.sequence, [4]).any(), "no demo region holds an N"
