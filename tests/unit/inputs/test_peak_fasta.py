"""FASTA of peaks, and ChIP-seq peaks of any form."""

import gzip
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genebert.errors import GenebertError
from genebert.genome import Genome, reverse_complement
from genebert.inputs.chip_peaks import check_reference, read_chip_peaks
from genebert.inputs.peak_fasta import is_fasta, read_peak_fasta

LENGTHS = {"chr1": 100, "chr2": 50}


def _read(text: str, folder: Path, style: str = "as_is", contigs: str = ".+") -> list[list[object]]:
    (folder / "peaks.fa").write_text(text)
    path = folder / "peaks.fa"
    return read_peak_fasta(path, style, "peaks for 'X'", LENGTHS, contigs, "the key").values.tolist()


def test_records_are_read_as_given(tmp_path: Path) -> None:
    text = ">chr1:10-14\nacgt\n\n>chr9:0-6 any text\nAC\nGTRn\n> chr2:46-50(-)\nAACC\n"
    assert _read(text, tmp_path) == [
        [1, "chr1", 10, 14, "ACGT"],
        [4, "chr9", 0, 6, "ACGTNN"],
        [7, "chr2", 46, 50, "GGTT"],
    ]


@given(
    peaks=st.lists(
        st.tuples(st.integers(0, 40), st.text("ACGTN", min_size=1, max_size=40), st.sampled_from("+-")),
        min_size=1,
        max_size=8,
    ),
    wrap=st.integers(1, 50),
    end=st.sampled_from(["\n", "\r\n"]),
)
@settings(max_examples=30, deadline=None)
def test_however_it_is_wrapped_it_reads_the_same(
    tmp_path_factory: pytest.TempPathFactory,
    peaks: list[tuple[int, str, str]],
    wrap: int,
    end: str,
) -> None:
    path = tmp_path_factory.mktemp("fasta") / "peaks.fa.gz"
    lines = []
    for start, dna, strand in peaks:
        lines.append(f">chr1:{start}-{start + len(dna)}({strand})")
        own = dna if strand == "+" else reverse_complement(dna)
        lines += [own[i : i + wrap] for i in range(0, len(own), wrap)]
    path.write_bytes(gzip.compress("".join(line + end for line in lines).encode()))
    found = read_peak_fasta(path, "as_is", "peaks", LENGTHS, ".+", "key")
    places = list(zip(found["start"], found["end"], found["sequence"], strict=True))
    assert places == [(start, start + len(dna), dna) for start, dna, _ in peaks]


def test_contigs_are_renamed_and_those_not_in_use_left_out(tmp_path: Path) -> None:
    text = ">1:0-2\nAC\n>X:0-2\nAC\n>7:0-2\nGG\n"
    found = _read(text, tmp_path, "ucsc", "chr[0-9]+")
    assert [row[1] for row in found] == ["chr1", "chr7"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no peaks"),
        ("ACGT\n>chr1:0-1\nA\n", "sequence before the first '>' line"),
        (">chr1:5-9\nACGT\n>peak_7\nACGT\n", "header '>peak_7' names no place"),
        (">chr1:9-9\n\n", "header '>chr1:9-9' names no place"),
        (">chr1:0-4\nACG\n", "chr1:0-4 has 4 bp, its sequence 3"),
        (">chr1:0-4\nAC-T\n", "'-' is no nucleotide code"),
        (">chr1:98-102\nACGT\n", "chr1:98-102 ends after the contig's 100 bp"),
        (">1:0-4\nACGT\n", "name contig '1', the genome has 'chr1'"),
    ],
)
def test_what_does_not_fit_is_refused_by_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(GenebertError) as told:
        _read(text, tmp_path)
    assert said in told.value.what
    assert "peaks.fa" in str(told.value) or told.value.where == "the key"
    assert len(str(told.value).splitlines()) == 2


def test_nothing_on_contigs_in_use_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GenebertError, match="no peaks for 'X' are on the contigs in use"):
        _read(">scaffold:0-2\nAC\n", tmp_path, contigs="chr[0-9]")


def _chip(text: str, folder: Path) -> list[list[object]]:
    (folder / "peaks").write_text(text)
    found = read_chip_peaks(folder / "peaks", "X", "as_is", LENGTHS, ".+", "the key")
    return found[["chrom", "start", "end", "summit", "sequence"]].values.tolist()


def test_the_form_of_a_file_is_seen_from_its_lines(tmp_path: Path) -> None:
    narrow = "chr1\t10\t30\tp\t0\t.\t5.5\t-1\t-1\t4\nchr1\t40\t50\tp\t0\t.\t2\t-1\t-1\t-1\n"
    assert _chip(narrow, tmp_path) == [["chr1", 10, 30, 14, None], ["chr1", 40, 50, 45, None]]
    bed12 = "chr1\t10\t30\tp\t0\t.\t10\t30\t0\t1\t20,\t0,\n"
    assert _chip(bed12, tmp_path) == [["chr1", 10, 30, 20, None]]
    assert _chip("\n>chr2:3-8\nACGTA\n", tmp_path) == [["chr2", 3, 8, 5, "ACGTA"]]
    assert is_fasta(tmp_path / "peaks")
    assert not is_fasta(Path(__file__))


def test_a_bed_may_not_leave_the_genome_as_a_fasta_may(tmp_path: Path) -> None:
    assert _chip(">chr9:3-8\nACGTA\n", tmp_path)
    with pytest.raises(GenebertError, match="peaks for 'X' name contig 'chr9'"):
        _chip("chr9\t3\t8\n", tmp_path)


def test_sequences_must_be_those_of_the_genome_where_it_knows_them(
    tiny_genome: Path, tiny_sequences: dict[str, str], tmp_path: Path
) -> None:
    genome, dna = Genome(tiny_genome), tiny_sequences["chrA"].upper()

    def check(text: str) -> None:
        (tmp_path / "own.fa").write_text(text)
        peaks = read_chip_peaks(tmp_path / "own.fa", "X", "as_is", genome.lengths, ".+", "key")
        check_reference(peaks, genome, "X", tmp_path / "own.fa")

    known = f">chrA:100-160\n{dna[100:160]}\n"
    check(known)
    check(known + f">chrA:980-1020\n{dna[980:1000]}{'ACGT' * 5}\n")  # the genome has N from 1000 on
    check(known + ">chrQ:0-4\nACGT\n")
    other = {"A": "C", "C": "G", "G": "T", "T": "A"}[dna[230]]
    with pytest.raises(GenebertError) as told:
        check(known + f">chrA:200-260\n{dna[200:230]}{other}{dna[231:260]}\n")
    assert "the sequence of chrA:200-260 is not that of the genome: 1 of 60" in told.value.what
    assert "chrA:230" in told.value.what
    assert told.value.where.endswith("own.fa line 3")
