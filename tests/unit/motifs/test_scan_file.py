import gzip
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genebert.errors import GenebertError
from genebert.motifs import scan
from genebert.motifs.read import read_motifs
from genebert.motifs.reference import brute_force
from genebert.motifs.scan_file import scan_file
from genebert.motifs.table import score_motifs

# Two motifs of baker's yeast, and one too short to be rare.
MEME = """\
MEME version 4

ALPHABET= ACGT

MOTIF RAP1 Rap1 protein
letter-probability matrix: alength= 4 w= 7 nsites= 50 E= 0
0.90 0.02 0.04 0.04
0.02 0.90 0.04 0.04
0.02 0.94 0.02 0.02
0.02 0.94 0.02 0.02
0.60 0.02 0.36 0.02
0.40 0.10 0.30 0.20
0.94 0.02 0.02 0.02
URL none

MOTIF REB1
letter-probability matrix: alength= 4 w= 8 nsites= 50 E= 0
0.25 0.25 0.25 0.25
0.02 0.02 0.02 0.94
0.02 0.02 0.02 0.94
0.94 0.02 0.02 0.02
0.02 0.94 0.02 0.02
0.02 0.94 0.02 0.02
0.02 0.94 0.02 0.02
0.02 0.02 0.94 0.02

MOTIF TWO
letter-probability matrix: alength= 4 w= 2
1 0 0 0
0 1 0 0
"""
YEAST = [0.31, 0.19, 0.19, 0.31]
P_VALUE, LARGEST_P = 0.002, 0.02
Row = tuple[str, int, int, str, str, str, float]


@pytest.fixture(scope="module")
def motifs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The motif file."""
    path = tmp_path_factory.mktemp("motifs") / "yeast.meme"
    path.write_text(MEME)
    return path


@pytest.fixture(scope="module")
def contigs() -> dict[str, str]:
    """Four contigs of an AT-rich genome: mixed case, IUPAC codes, runs of N, one tiny."""
    rng = np.random.default_rng(12)

    def bases(length: int) -> str:
        return "".join(rng.choice(list("ACGT"), length, p=YEAST))

    first = bases(2500)
    return {
        "chrI": first[:700] + first[700:1100].lower() + first[1100:1500] + "N" * 40 + first[1540:],
        "chrII": bases(300) + "ryKMswBDHVn" + bases(300) + "TTACCCG",
        "chrM": "ACCC",
        "2-micron": bases(700) + "ttaccCG",
    }


def _write_fasta(path: Path, contigs: dict[str, str], width: int = 60, end: str = "\n") -> Path:
    text = "".join(
        f">{name} yeast{end}" + "".join(dna[i : i + width] + end for i in range(0, len(dna), width))
        for name, dna in contigs.items()
    )
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.fixture(scope="module")
def fasta(tmp_path_factory: pytest.TempPathFactory, contigs: dict[str, str]) -> Path:
    """The contigs as a FASTA without an index."""
    return _write_fasta(tmp_path_factory.mktemp("yeast") / "yeast.fa", contigs)


def _scan(fasta: Path, bed: Path | None, motifs: Path, out: Path) -> pd.DataFrame:
    scan_file(fasta, bed, motifs, P_VALUE, 1.0, YEAST, LARGEST_P, out)
    found: pd.DataFrame = pq.read_table(out).to_pandas()
    return found


def _rows(found: pd.DataFrame) -> list[Row]:
    columns = ["chrom", "start", "end", "motif_id", "motif_name", "strand", "score"]
    return list(found[columns].itertuples(index=False, name=None))


def _expected(places: list[tuple[str, int, int]], contigs: dict[str, str], motifs: Path) -> list[Row]:
    """Hits by brute force in the order that is promised."""
    table = score_motifs(read_motifs(motifs), YEAST, 1.0, P_VALUE, LARGEST_P, "file")
    rows: list[Row] = []
    for chrom, start, end in places:
        hits = brute_force(contigs[chrom][start:end].upper(), table.motifs)
        for row, position, strand, score in sorted(hits, key=lambda hit: (hit[1], hit[0], hit[2])):
            motif, at = table.motifs[row], start + position
            width = motif.log_odds.shape[1]
            sign = "+" if strand > 0 else "-"
            rows.append(
                (chrom, at, at + width, motif.matrix_id, motif.name, sign, float(np.float32(score)))
            )
    return rows


def _whole(contigs: dict[str, str]) -> list[tuple[str, int, int]]:
    return [(name, 0, len(dna)) for name, dna in contigs.items()]


def test_a_whole_genome_equals_brute_force(
    fasta: Path, contigs: dict[str, str], motifs: Path, tmp_path: Path
) -> None:
    said = scan_file(fasta, None, motifs, P_VALUE, 1.0, YEAST, LARGEST_P, tmp_path / "hits.parquet")
    found = _rows(pq.read_table(tmp_path / "hits.parquet").to_pandas())
    assert found == _expected(_whole(contigs), contigs, motifs)
    length = sum(map(len, contigs.values()))
    first, thresholds, dropped = said.splitlines()
    assert first == f"{len(found)} hits of 2 motifs in 4 contigs, {length} bp"
    assert "motifs cannot reach p" in thresholds
    assert dropped.startswith("dropped TWO TWO: realised p")
    assert {row[0] for row in found} == {"chrI", "chrII", "2-micron"}
    assert ("2-micron", 699, 707, "REB1", "REB1", "+") in [row[:6] for row in found]
    assert {row[4] for row in found} == {"Rap1", "REB1"}


@settings(max_examples=20, deadline=None)
@given(block_bp=st.integers(1, 400))
def test_hits_at_the_borders_of_blocks_are_neither_lost_nor_doubled(
    fasta: Path,
    contigs: dict[str, str],
    motifs: Path,
    tmp_path_factory: pytest.TempPathFactory,
    block_bp: int,
) -> None:
    bed = tmp_path_factory.mktemp("bed") / "places.bed"
    bed.write_text("".join(f"{name}\t0\t{len(dna)}\n" for name, dna in contigs.items()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "BLOCK_BP", max(block_bp, 20))
        found = _rows(_scan(fasta, None, motifs, bed.with_suffix(".parquet")))
        by_bed = _rows(_scan(fasta, bed, motifs, bed.with_suffix(".2.parquet")))
    assert found == by_bed == _expected(_whole(contigs), contigs, motifs)


PLACES = [
    ("chrII", 200, 500, "b"),
    ("chrI", 650, 760, "a peak"),
    ("chrI", 100, 700, ""),
    ("chrI", 100, 700, "again"),
    ("2-micron", 600, 707, "."),
    ("chrM", 1, 3, "short"),
]


@pytest.mark.parametrize("block_bp", [50, 1 << 18])
def test_places_in_any_order_overlapping_or_not(
    fasta: Path,
    contigs: dict[str, str],
    motifs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    block_bp: int,
) -> None:
    monkeypatch.setattr(scan, "BLOCK_BP", block_bp)
    lines = [f"{chrom}\t{start}\t{end}\t{name}\t0\t-\r\n" for chrom, start, end, name in PLACES]
    (tmp_path / "places.bed").write_text("track name=x\n" + "".join(lines))
    found = _scan(fasta, tmp_path / "places.bed", motifs, tmp_path / "hits.parquet")
    expected, lines_of, names = [], [], []
    for number, (*place, name) in enumerate(PLACES, start=2):
        rows = _expected([tuple(place)], contigs, motifs)
        expected += rows
        lines_of += [number] * len(rows)
        names += [name] * len(rows)
    assert _rows(found) == expected
    assert found["bed_line"].tolist() == lines_of
    assert found["bed_name"].tolist() == names
    assert len(set(names)) >= 4


@pytest.mark.parametrize(
    "form", ["lower", "gzip", "crlf", "one line", "own index", "old index", "crlf, own index"]
)
def test_every_form_of_a_fasta_gives_the_same_hits_and_nothing_is_written_beside_it(
    contigs: dict[str, str], motifs: Path, tmp_path: Path, form: str
) -> None:
    folder = tmp_path / "users"
    folder.mkdir()
    fasta = _write_fasta(
        folder / ("yeast.fa.gz" if form == "gzip" else "yeast.fa"),
        {name: dna.lower() for name, dna in contigs.items()} if form == "lower" else contigs,
        10_000 if form == "one line" else 60,
        "\r\n" if "crlf" in form else "\n",
    )
    if "own index" in form:
        import pyfaidx  # noqa: PLC0415

        pyfaidx.Faidx(str(fasta)).close()
    if form == "old index":
        Path(f"{fasta}.fai").write_text("chrI\t5\t0\t5\t6\n")
        os.utime(f"{fasta}.fai", (0, 0))
    before = {path: path.read_bytes() for path in folder.iterdir()}
    folder.chmod(0o555)
    found = _rows(_scan(fasta, None, motifs, tmp_path / "hits.parquet"))
    folder.chmod(0o755)
    assert found == _expected(_whole(contigs), contigs, motifs)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_an_index_of_another_file_is_refused(
    contigs: dict[str, str], motifs: Path, tmp_path: Path
) -> None:
    fasta = _write_fasta(tmp_path / "yeast.fa", contigs)
    Path(f"{fasta}.fai").write_text("chrI\t900000\t12\t60\t61\n")
    with pytest.raises(GenebertError, match="index"):
        _scan(fasta, None, motifs, tmp_path / "hits.parquet")
    assert not (tmp_path / "hits.parquet").exists()


@pytest.mark.parametrize("ending", ["bed", "bed.gz"])
def test_bed_holds_the_hits_of_the_parquet(
    fasta: Path, contigs: dict[str, str], motifs: Path, tmp_path: Path, ending: str
) -> None:
    out = tmp_path / f"hits.{ending}"
    scan_file(fasta, None, motifs, P_VALUE, 1.0, YEAST, LARGEST_P, out)
    text = (gzip.decompress(out.read_bytes()) if ending == "bed.gz" else out.read_bytes()).decode()
    table = score_motifs(read_motifs(motifs), YEAST, 1.0, P_VALUE, LARGEST_P, "file")
    of = {motif.matrix_id: motif for motif in table.motifs}
    lines = []
    for chrom, start, end, matrix_id, name, strand, score in _expected(_whole(contigs), contigs, motifs):
        low, high = of[matrix_id].lowest, of[matrix_id].highest
        share = round(1000 * (score - low) / (high - low))
        lines.append(f"{chrom}\t{start}\t{end}\t{matrix_id}|{name}\t{share}\t{strand}\n")
    assert text == "".join(lines)
    assert any("\t1000\t" in line for line in lines)
    again = tmp_path / f"again.{ending}"
    scan_file(fasta, None, motifs, P_VALUE, 1.0, YEAST, LARGEST_P, again)
    assert again.read_bytes() == out.read_bytes()


def test_no_hits_are_an_empty_file_with_columns(fasta: Path, motifs: Path, tmp_path: Path) -> None:
    (tmp_path / "short.bed").write_text("chrM\t0\t4\n")
    found = _scan(fasta, tmp_path / "short.bed", motifs, tmp_path / "hits.parquet")
    assert len(found) == 0
    assert list(found)[-2:] == ["bed_line", "bed_name"]
    scan_file(
        fasta, tmp_path / "short.bed", motifs, P_VALUE, 1.0, YEAST, LARGEST_P, tmp_path / "hits.bed"
    )
    assert (tmp_path / "hits.bed").read_text() == ""


@pytest.mark.parametrize(
    ("bed", "said", "where"),
    [
        ("chrI\t0\t100\nchrIX\t5\t9\n", "the places to scan name contig 'chrIX'", "places.bed line 2"),
        ("chrI\t0\t100\nII\t5\t9\n", "name contig 'II', the genome has 'chrII'", "--bed"),
        ("chrI\t0\t100\n\nchrM\t0\t5\n", "chrM:0-5 ends after the contig's 4 bp", "places.bed line 3"),
        ("chrI\t10\t10\n", "start 10 is not smaller than end 10", "places.bed line 1"),
        ("#none\n", "has no intervals", "places.bed"),
    ],
)
def test_places_that_are_not_in_the_fasta_are_refused(
    fasta: Path, motifs: Path, tmp_path: Path, bed: str, said: str, where: str
) -> None:
    (tmp_path / "places.bed").write_text(bed)
    with pytest.raises(GenebertError) as error:
        _scan(fasta, tmp_path / "places.bed", motifs, tmp_path / "hits.parquet")
    assert said in str(error.value)
    assert where in str(error.value)
    assert not (tmp_path / "hits.parquet").exists()


def test_another_ending_is_refused_before_any_work(motifs: Path, tmp_path: Path) -> None:
    with pytest.raises(GenebertError, match=r"hits.tsv' is no kind of file"):
        _scan(tmp_path / "absent.fa", None, motifs, tmp_path / "hits.tsv")


def test_a_missing_fasta_is_named(motifs: Path, tmp_path: Path) -> None:
    with pytest.raises(GenebertError, match=r"absent.fa does not exist"):
        _scan(tmp_path / "absent.fa", None, motifs, tmp_path / "hits.parquet")


def test_an_input_is_never_the_output(tmp_path: Path) -> None:
    (tmp_path / "a.fa").write_text(">c\nACGT\n")
    (tmp_path / "m.meme").write_text("unread")
    (tmp_path / "p.bed").write_text("c\t0\t4\n")
    with pytest.raises(GenebertError, match=r"p\.bed' is also read"):
        scan_file(
            *(tmp_path / "a.fa", tmp_path / "p.bed", tmp_path / "m.meme"),
            *(1e-4, 1.0, [0.25] * 4, 1e-3, f"{tmp_path}/./p.bed"),
        )
    assert (tmp_path / "p.bed").read_text() == "c\t0\t4\n"
