import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from genebert.catalogue import catalogue_digest, digest_of_places
from genebert.corpus.check import check
from genebert.corpus.read import Corpus, read_corpus
from genebert.corpus.schema import SCHEMA, metadata_of
from genebert.corpus.write import write_manifest
from genebert.errors import GenebertError
from genebert.genome import SPLITS, Genome, Interval
from genebert.motifs.reference import brute_force
from genebert.motifs.scan import Scanner, chunk_bounds, provenance, scan_chunk
from genebert.motifs.table import read_motif_table, write_motif_table

CHUNKS = 3
WIDTH = 90


@pytest.fixture(scope="module")
def corpus(built: SimpleNamespace) -> Corpus:
    return read_corpus(built.folder)


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
            steps = np.floor((score - low) / (high - low) * 128)
            expected.append((position, motif, strand, steps / 128))
        found = list(zip(row.position, row.motif, row.strand, row.score, strict=True))
        assert found == sorted(expected)
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
        (int(region), int(motif)): corpus.best[region, motif] / 128
        for region, motif in zip(*corpus.best.nonzero(), strict=True)
    }
    assert found == expected
    assert len(found) > 50


def test_reading_gives_sequence_place_split_and_accessibility(
    built: SimpleNamespace, corpus: Corpus
) -> None:
    rows = _whole(built)
    assert ["".join("ACGTN"[code] for code in row) for row in corpus.sequence] == rows[
        "sequence"
    ].tolist()
    assert [corpus.contigs[number] for number in corpus.contig] == rows["chrom"].tolist()
    assert corpus.start.tolist() == rows["start"].tolist()
    for split in ("train", "validation", "test"):
        assert corpus.in_split(split).tolist() == (rows["split"] == split).tolist()
    table = pq.read_table(built.accessibility).to_pandas()
    table["cell_type"] = table["cell_type"].astype(str)
    table = table.sort_values(["region_id", "cell_type"])
    expected = list(zip(table["region_id"], table["cell_type"], strict=True))
    region_of = np.repeat(np.arange(corpus.regions), np.diff(corpus.open_offsets)).tolist()
    names = [corpus.metadata.cell_types[number] for number in corpus.open_cell_type]
    assert list(zip(region_of, names, strict=True)) == expected
    signals = np.concatenate(rows["signal"])
    assert np.abs(signals - table["signal"]).max() <= 1 / 2048
    assert (signals * 1024 % 1 == 0).all()
    assert (corpus.open_cell_type.dtype, corpus.best.dtype) == (np.int16, np.uint8)
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
    assert manifest["contigs"] == ["chrA", "chrB"]
    for part, path in zip(manifest["parts"], built.parts, strict=True):
        own = pq.read_table(path).to_pandas()
        assert part["part"] == path.name
        assert part["bytes"] == path.stat().st_size
        assert (part["regions"], part["hits"]) == (len(own), sum(map(len, own["motif"])))
        assert part["views"] == sum(map(len, own["cell_type"]))
    assert manifest["views"] == len(corpus.open_cell_type)


def test_a_rebuilt_corpus_has_the_same_bytes(
    built: SimpleNamespace,
    build_corpus: Callable,
    tmp_path: Path,
    tiny_genome: Path,
    few_motifs: Path,
) -> None:
    again = build_corpus(tmp_path, tiny_genome, few_motifs)
    for name in ("manifest.json", *[part.name for part in built.parts]):
        assert (again.folder / name).read_bytes() == (built.folder / name).read_bytes(), name


@pytest.mark.parametrize("chunks", [1, 50])
def test_the_number_of_chunks_does_not_change_the_corpus(
    corpus: Corpus,
    build_corpus: Callable,
    tmp_path: Path,
    tiny_genome: Path,
    few_motifs: Path,
    chunks: int,
) -> None:
    other = read_corpus(build_corpus(tmp_path, tiny_genome, few_motifs, chunks).folder)
    for field in dataclasses.fields(Corpus):
        assert np.array_equal(getattr(other, field.name), getattr(corpus, field.name)), field.name


@st.composite
def catalogues(draw: st.DrawFn) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Draw regions of 90 bp on two contigs in genome order, hits sorted as a scan's, and open places."""
    places = [
        (chrom, 90 * number)
        for chrom, bins in (("chrA", 66), ("chrB", 33))
        for number in sorted(draw(st.sets(st.integers(0, bins - 1), max_size=5)))
    ]
    rows = len(places)
    regions = pd.DataFrame(places, columns=["chrom", "start"])
    regions = regions.assign(end=regions["start"] + WIDTH, split=draw(st.sampled_from(SPLITS)))
    regions.insert(0, "region_id", np.arange(rows, dtype=np.uint32))
    row = st.integers(0, max(rows - 1, 0))
    inside = st.integers(0, WIDTH - 7)  # the longest motif
    hit = st.tuples(row, st.integers(0, 2), inside, st.sampled_from([-1, 1]))
    found = sorted(draw(st.sets(hit, max_size=12 * bool(rows))))
    hits = pd.DataFrame(found, columns=["region_id", "motif", "position", "strand"])
    score = draw(st.lists(st.floats(0, 1), min_size=len(hits), max_size=len(hits)))
    pairs = draw(st.sets(st.tuples(row, st.sampled_from("BT")), max_size=8 * bool(rows)))
    # Sorted by region alone: cell types come in any order.
    open_in = pd.DataFrame(sorted(pairs, key=lambda pair: pair[0]), columns=["region_id", "cell_type"])
    return regions, hits.assign(score=score), open_in.assign(signal=np.float32(0.25))


@settings(max_examples=25, deadline=None)
@given(catalogue=catalogues(), chunks=st.integers(1, 4))
def test_what_is_written_is_read_in_genome_order(
    built: SimpleNamespace,
    part_of_corpus: Callable,
    tmp_path_factory: pytest.TempPathFactory,
    catalogue: tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame],
    chunks: int,
) -> None:
    regions, hits, open_in = catalogue
    assume(len(regions))
    folder = tmp_path_factory.mktemp("drawn")
    made = SimpleNamespace(
        **vars(built) | {n: folder / f"{n}.parquet" for n in ("regions", "accessibility")}
    )
    regions.to_parquet(made.regions)
    open_in.astype({"region_id": "uint32", "cell_type": "str"}).to_parquet(made.accessibility)
    types = {"region_id": "u4", "motif": "u2", "position": "u2", "strand": "i1", "score": "f8"}
    parts = [folder / f"part-{chunk}.parquet" for chunk in range(chunks)]
    for chunk, part in enumerate(parts):
        first, last = chunk_bounds(len(regions), chunk, chunks)
        own = hits[hits["region_id"].between(first, last - 1)].astype(types)
        made_of = json.dumps(provenance(read_motif_table(built.table), regions[first:last]))
        table = pa.Table.from_pandas(own, preserve_index=False)
        pq.write_table(table.replace_schema_metadata({"genebert": made_of}), folder / "hits.parquet")
        part_of_corpus(made, folder / "hits.parquet", chunk, chunks, part)
    write_manifest(parts, folder / "manifest.json")
    check(folder, built.table, built.genome)
    read = read_corpus(folder)
    places = [(read.contigs[c], s) for c, s in zip(read.contig, read.start, strict=True)]
    assert places == list(zip(regions["chrom"], regions["start"], strict=True))
    assert places == sorted(places)
    best = np.zeros((len(regions), 3))
    for row in hits.itertuples():
        kept = max(np.floor(row.score * 128), 1)
        best[row.region_id, row.motif] = max(best[row.region_id, row.motif], kept)
    assert np.array_equal(read.best, best)
    rows = np.repeat(np.arange(read.regions), np.diff(read.open_offsets))
    found = list(zip(rows, ["BT"[number] for number in read.open_cell_type], strict=True))
    assert found == sorted(zip(open_in["region_id"], open_in["cell_type"], strict=True))


def test_hits_of_another_chunk_are_refused(
    built: SimpleNamespace, part_of_corpus: Callable, tmp_path: Path
) -> None:
    wrong = tmp_path / "hits.parquet"
    scan_chunk(built.genome, built.regions, read_motif_table(built.table), 1, CHUNKS, wrong)
    with pytest.raises(GenebertError, match=r"hits of other regions than those given .*hits\.parquet"):
        part_of_corpus(built, wrong, 0, CHUNKS, tmp_path / "part.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["hits.parquet"]


def test_hits_of_other_motifs_are_refused_though_ids_agree(
    built: SimpleNamespace, part_of_corpus: Callable, tmp_path: Path
) -> None:
    table = read_motif_table(built.table)
    reordered = dataclasses.replace(table, motifs=table.motifs[::-1])
    scan_chunk(built.genome, built.regions, reordered, 0, CHUNKS, tmp_path / "hits.parquet")
    with pytest.raises(GenebertError, match=r"hits of other motifs than those given .*hits\.parquet"):
        part_of_corpus(built, tmp_path / "hits.parquet", 0, CHUNKS, tmp_path / "part.parquet")
    pq.write_table(pq.read_table(built.hits[0]).replace_schema_metadata(None), tmp_path / "bare.parquet")
    with pytest.raises(GenebertError, match=r"hits of other motifs than those given .*bare\.parquet"):
        part_of_corpus(built, tmp_path / "bare.parquet", 0, CHUNKS, tmp_path / "part.parquet")
    (tmp_path / "bare.parquet").write_bytes(b"PAR1")
    with pytest.raises(GenebertError, match=r"bare\.parquet is missing or damaged"):
        part_of_corpus(built, tmp_path / "bare.parquet", 0, CHUNKS, tmp_path / "part.parquet")
    assert not (tmp_path / "part.parquet").exists()


def test_hits_of_rows_out_of_order_are_refused(
    built: SimpleNamespace, part_of_corpus: Callable, tmp_path: Path
) -> None:
    hits = pq.read_table(built.hits[0])
    pq.write_table(hits.take(np.arange(len(hits))[::-1]), tmp_path / "hits.parquet")
    with pytest.raises(
        GenebertError, match=r"are not those of regions 0 to \d+, in order .*hits\.parquet"
    ):
        part_of_corpus(built, tmp_path / "hits.parquet", 0, CHUNKS, tmp_path / "part.parquet")


@pytest.mark.parametrize(("column", "value"), [("motif", 3), ("position", WIDTH - 3)])
def test_a_hit_that_cannot_be_is_refused(
    built: SimpleNamespace, part_of_corpus: Callable, tmp_path: Path, column: str, value: int
) -> None:
    """Three motifs, the shortest of 4 bp."""
    hits = pq.read_table(built.hits[0])
    at = hits.schema.get_field_index(column)
    values = [value, *hits[column].to_pylist()[1:]]
    spoilt = hits.set_column(at, hits.schema.field(at), pa.array(values, pa.uint16()))
    pq.write_table(spoilt, tmp_path / "hits.parquet")
    with pytest.raises(GenebertError, match=r"a hit of no motif of the table, or beyond its region's"):
        part_of_corpus(built, tmp_path / "hits.parquet", 0, CHUNKS, tmp_path / "part.parquet")
    assert not (tmp_path / "part.parquet").exists()


def test_more_cell_types_than_readers_can_number_are_refused(
    built: SimpleNamespace, part_of_corpus: Callable, tmp_path: Path
) -> None:
    other = SimpleNamespace(**vars(built) | {"cell_types": ["B", "T", *map(str, range(32_766))]})
    with pytest.raises(GenebertError, match="32768 cell types, at most 32767"):
        part_of_corpus(other, built.hits[0], 0, CHUNKS, tmp_path / "part.parquet")
    other.cell_types.pop()
    part_of_corpus(other, built.hits[0], 0, CHUNKS, tmp_path / "part.parquet")


def test_an_open_region_never_has_signal_zero(
    built: SimpleNamespace, part_of_corpus: Callable, tmp_path: Path
) -> None:
    weak = pq.read_table(built.accessibility)
    signal = pa.array(np.linspace(1e-9, 1, len(weak)), pa.float32())
    pq.write_table(weak.set_column(2, "signal", signal), tmp_path / "weak.parquet")
    other = SimpleNamespace(**vars(built) | {"accessibility": tmp_path / "weak.parquet"})
    part_of_corpus(other, built.hits[0], 0, CHUNKS, tmp_path / "part.parquet")
    stored = np.concatenate(pq.read_table(tmp_path / "part.parquet")["signal"].to_numpy())
    assert stored[0] == stored.min() == 1 / 1024


def test_every_part_names_the_catalogue_whose_places_the_parts_hold(built: SimpleNamespace) -> None:
    digest = catalogue_digest(built.regions)
    whole = pa.concat_tables(
        [pq.read_table(part, columns=["chrom", "start", "end"]) for part in built.parts]
    )
    for rows in (1, 7, len(whole)):
        assert digest_of_places(whole.to_batches(max_chunksize=rows)) == digest
    assert all(metadata_of(pq.read_schema(part), "").catalogue == digest for part in built.parts)
    place = whole.to_pylist()
    for name, value in (("chrom", "chrA1"), ("start", 1), ("end", 91)):
        other = pa.Table.from_pylist([place[0] | {name: value}, *place[1:]], whole.schema)
        assert digest_of_places(other.to_batches()) != digest
    assert digest_of_places(whole.slice(1).to_batches()) != digest
    assert digest_of_places(whole.take([1, 0, *range(2, len(whole))]).to_batches()) != digest


def test_a_hit_listed_twice_is_refused(
    built: SimpleNamespace, part_of_corpus: Callable, tmp_path: Path
) -> None:
    hits = pq.read_table(built.hits[0])
    pq.write_table(pa.concat_tables([hits[:1], hits]), tmp_path / "hits.parquet")
    with pytest.raises(GenebertError, match=r"a hit is listed twice .*hits\.parquet"):
        part_of_corpus(built, tmp_path / "hits.parquet", 0, CHUNKS, tmp_path / "part.parquet")


def test_a_cell_type_that_the_sheet_does_not_name_is_refused(
    built: SimpleNamespace, part_of_corpus: Callable, tmp_path: Path
) -> None:
    other = SimpleNamespace(**vars(built) | {"cell_types": ["T", "C"]})
    with pytest.raises(GenebertError, match="cell type 'B' is not among those of the sheet"):
        part_of_corpus(other, built.hits[0], 0, CHUNKS, tmp_path / "part.parquet")
    assert not any(tmp_path.iterdir())


def test_a_part_is_made_of_its_own_rows_alone(
    built: SimpleNamespace, part_of_corpus: Callable, tmp_path: Path
) -> None:
    """Row groups of other regions may be damaged: they are not read. Nor need names be plain text.

    Of the catalogue that is the splits: all places are read for their hash.
    """
    other = SimpleNamespace(**vars(built))
    regions = len(pq.read_table(built.regions))
    first, last = chunk_bounds(regions, 1, CHUNKS)
    for name in ("regions", "accessibility"):
        table = pq.read_table(getattr(built, name))
        if name == "accessibility":
            table = table.set_column(1, "cell_type", table["cell_type"].cast(pa.string()))
            table = table.set_column(1, "cell_type", table["cell_type"].dictionary_encode())
        path = tmp_path / f"{name}.parquet"
        pq.write_table(table, path, row_group_size=2)
        data, spoilt = bytearray(path.read_bytes()), 0
        file = pq.read_metadata(path)
        for number in range(file.num_row_groups):
            group = file.row_group(number)
            ids = group.column(0).statistics
            if ids.min >= last or 0 < ids.min <= ids.max < first:  # the first tells the width
                for index in range(group.num_columns):
                    column = group.column(index)
                    if name == "regions" and column.path_in_schema in ("chrom", "start", "end"):
                        continue
                    begin = column.dictionary_page_offset or column.data_page_offset
                    data[begin : begin + column.total_compressed_size] = bytes(
                        column.total_compressed_size
                    )
                spoilt += 1
        assert spoilt > 5
        path.write_bytes(data)
        with pytest.raises(OSError):
            pq.read_table(path)
        setattr(other, name, path)
    part_of_corpus(other, built.hits[1], 1, CHUNKS, tmp_path / "part.parquet")
    assert (tmp_path / "part.parquet").read_bytes() == built.parts[1].read_bytes()


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
    with pytest.raises(GenebertError, match=r"part-0002\.parquet: missing or damaged"):
        read_corpus(copy)


@pytest.mark.parametrize("kept", [0.0, 0.4, 0.99])
def test_a_truncated_part_is_refused(copy: Path, kept: float) -> None:
    part = copy / "part-0001.parquet"
    part.write_bytes(part.read_bytes()[: int(part.stat().st_size * kept)])
    with pytest.raises(GenebertError, match=r"part-0001\.parquet: missing or damaged"):
        read_corpus(copy)


def test_a_part_with_fewer_rows_than_the_manifest_says_is_refused(copy: Path) -> None:
    part = copy / "part-0001.parquet"
    table = pq.read_table(part)
    pq.write_table(table.slice(1), part)
    with pytest.raises(GenebertError, match=rf"{len(table) - 1} regions, the manifest says"):
        read_corpus(copy)


def test_parts_in_one_anothers_place_are_refused(copy: Path) -> None:
    first, second = copy / "part-0000.parquet", copy / "part-0001.parquet"
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["parts"][0]["part"], manifest["parts"][1]["part"] = second.name, first.name
    for name in ("regions", "hits", "views"):
        own = [part[name] for part in manifest["parts"][:2]]
        manifest["parts"][0][name], manifest["parts"][1][name] = reversed(own)
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(GenebertError, match="part-0001\\.parquet: other regions than its place says"):
        read_corpus(copy)


def test_other_views_than_the_manifest_says_are_refused(copy: Path) -> None:
    manifest = json.loads((copy / "manifest.json").read_text())
    for change in (-1, 1):
        manifest["parts"][1]["views"] += change
        manifest["views"] += change
        (copy / "manifest.json").write_text(json.dumps(manifest))
        with pytest.raises(GenebertError, match=r"part-0001\.parquet: .* views"):
            read_corpus(copy)
        manifest["parts"][1]["views"] -= change
        manifest["views"] -= change


def test_a_score_above_one_is_refused(copy: Path) -> None:
    part = copy / "part-0001.parquet"
    table = pq.read_table(part)
    scores = [[np.float16(1.5)] * len(row) for row in table["score"]]
    at = table.schema.get_field_index("score")
    table = table.set_column(at, table.schema.field(at), pa.array(scores, pa.list_(pa.float16())))
    pq.write_table(table, part)
    with pytest.raises(GenebertError, match=r"part-0001\.parquet: a score that is not between 0 and 1"):
        read_corpus(copy)


def test_a_part_of_another_corpus_is_refused(copy: Path) -> None:
    _change_metadata(copy / "part-0001.parquet", motif_digest="another")
    with pytest.raises(GenebertError, match="part-0001\\.parquet: of another corpus"):
        read_corpus(copy)


def test_a_part_of_another_version_of_the_contract_is_refused(copy: Path) -> None:
    _change_metadata(copy / "part-0001.parquet", version=99)
    with pytest.raises(GenebertError, match=r"not a corpus part of version 2 \(found 99\)"):
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
    demo: SimpleNamespace, jaspar_file: Path, part_of_corpus: Callable, tmp_path: Path
) -> None:
    every_third = jaspar_file.read_text().split(">")[1::3]
    (tmp_path / "third.jaspar").write_text("".join(f">{motif}" for motif in every_third))
    background = [0.295, 0.205, 0.205, 0.295]
    write_motif_table(tmp_path / "third.jaspar", background, 1, 1e-4, 1e-3, "file", None, tmp_path / "m")
    table = read_motif_table(tmp_path / "m")
    assert len(table.motifs) > 300
    (tmp_path / "inputs.tsv").write_text("input\tpath\trecords\tsha256\n")
    built = SimpleNamespace(
        genome=demo.fasta,
        regions=demo.regions,
        accessibility=demo.accessibility,
        table=tmp_path / "m",
        inputs=tmp_path / "inputs.tsv",
        cell_types={sample.cell_type for sample in demo.samples},
    )
    parts = [tmp_path / f"part-{chunk}.parquet" for chunk in range(2)]
    for chunk, part in enumerate(parts):
        hits = tmp_path / f"hits-{chunk}.parquet"
        scan_chunk(demo.fasta, demo.regions, table, chunk, 2, hits)
        part_of_corpus(built, hits, chunk, 2, part)
    write_manifest(parts, tmp_path / "manifest.json")
    corpus = read_corpus(tmp_path)
    regions = pq.read_table(demo.regions).to_pandas()
    genome = Genome(demo.fasta)
    sequences = [
        genome.fetch(Interval(r.chrom, r.start, r.end)) for r in regions.itertuples(index=False)
    ]
    hits = Scanner(table).scan(sequences)
    dense = np.zeros((len(regions), len(table.motifs)))
    np.maximum.at(dense, (hits.sequence, hits.motif), hits.score.astype(float))
    assert np.array_equal(corpus.best, np.floor(dense * 128))
    assert (dense > 0).sum(axis=1).mean() > 15
    assert (np.diff(corpus.open_offsets) >= 1).all(), "each region is open somewhere"
    assert not np.isin(corpus.sequence, [4]).any(), "no demo region holds an N"
