import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genebert.errors import GenebertError
from genebert.genome import (
    Genome,
    Interval,
    Segment,
    SegmentIndex,
    index_genome,
    parse_interval,
    read_lengths,
    rename_contig,
    reverse_complement,
    split_segments,
)

LENGTHS = {"chr1": 1000, "chr2": 300}


def test_an_interval_is_half_open() -> None:
    place = Interval("chr1", 10, 20)
    assert len(place) == 10
    assert place.overlaps(Interval("chr1", 19, 25))
    assert not place.overlaps(Interval("chr1", 20, 25))
    assert not place.overlaps(Interval("chr1", 5, 10))
    assert not place.overlaps(Interval("chr2", 10, 20))


@pytest.mark.parametrize(("start", "end"), [(5, 5), (6, 5), (-1, 5)])
def test_an_empty_or_negative_interval_cannot_be_made(start: int, end: int) -> None:
    with pytest.raises(ValueError, match="empty or negative"):
        Interval("chr1", start, end)


def test_a_contig_name_alone_is_the_whole_contig() -> None:
    assert parse_interval("chr2", LENGTHS) == Interval("chr2", 0, 300)
    assert parse_interval("chr1:5-1000", LENGTHS) == Interval("chr1", 5, 1000)


@pytest.mark.parametrize(
    ("text", "said"), [("chr1:5-1001", "ends after chr1"), ("chr9", "'chr9' is not in the genome")]
)
def test_places_outside_the_genome_are_refused(text: str, said: str) -> None:
    with pytest.raises(GenebertError, match=said):
        parse_interval(text, LENGTHS)


@pytest.mark.parametrize("text", ["chr1:abc", "chr1:5", "chr1:9-9", "chr1:9-5", "chr1:1-2-3"])
def test_an_unreadable_interval_is_refused_readably(text: str) -> None:
    with pytest.raises(GenebertError, match=re.escape(text)):
        parse_interval(text, LENGTHS)


@pytest.mark.parametrize(
    ("name", "style", "expected"),
    [
        ("20", "ucsc", "chr20"),
        ("MT", "ucsc", "chrM"),
        ("chr20", "ucsc", "chr20"),
        ("chr20", "ensembl", "20"),
        ("chrM", "ensembl", "MT"),
        ("20", "ensembl", "20"),
        ("20", "as_is", "20"),
        ("chrM", "as_is", "chrM"),
    ],
)
def test_contigs_are_renamed_by_style(name: str, style: str, expected: str) -> None:
    assert rename_contig(name, style) == expected


@given(st.text("ACGTNacgtn"))
def test_reverse_complement_is_its_own_inverse_and_pairs_bases(sequence: str) -> None:
    other = reverse_complement(sequence)
    assert reverse_complement(other) == sequence
    pairs = {"AT", "TA", "CG", "GC", "NN"}
    assert {a + b for a, b in zip(sequence.upper(), other[::-1].upper(), strict=True)} <= pairs


@st.composite
def held_out_places(draw: st.DrawFn) -> tuple[dict[str, int], list[str], list[str]]:
    lengths = {f"c{number}": draw(st.integers(2, 60)) for number in range(draw(st.integers(1, 3)))}
    places: list[str] = []
    for name, length in lengths.items():
        cuts = sorted(draw(st.sets(st.integers(0, length), max_size=6)))
        # Every other stretch between cuts is held out, so that stretches may touch a contig's end.
        places += [f"{name}:{a}-{b}" for a, b in zip(cuts[::2], cuts[1::2], strict=False)]
    in_test = [draw(st.booleans()) for _ in places]
    test = [place for place, yes in zip(places, in_test, strict=True) if yes]
    return lengths, [place for place in places if place not in test], test


@given(held_out_places())
def test_segments_cover_the_genome_exactly_once(
    case: tuple[dict[str, int], list[str], list[str]],
) -> None:
    lengths, validation, test = case
    segments = split_segments(lengths, validation, test)
    covered = [(s.chrom, base) for s in segments for base in range(s.start, s.end)]
    assert covered == [(chrom, base) for chrom in lengths for base in range(lengths[chrom])]
    split_of = dict.fromkeys(validation, "validation") | dict.fromkeys(test, "test")
    held_out = {f"{s.chrom}:{s.start}-{s.end}": s.split for s in segments if s.split != "train"}
    assert held_out == split_of


@given(held_out_places(), st.data())
def test_around_is_none_exactly_where_a_place_straddles_two_segments(
    case: tuple[dict[str, int], list[str], list[str]], data: st.DataObject
) -> None:
    lengths, validation, test = case
    segments = split_segments(lengths, validation, test)
    chrom = data.draw(st.sampled_from(list(lengths)))
    start = data.draw(st.integers(0, lengths[chrom] - 1))
    end = data.draw(st.integers(start + 1, lengths[chrom]))
    touched = [s for s in segments if s.chrom == chrom and s.start < end and start < s.end]
    index = SegmentIndex(segments)
    assert index.at(chrom, start) == touched[0]
    assert index.around(Interval(chrom, start, end)) == (touched[0] if len(touched) == 1 else None)


def test_a_whole_contig_can_be_held_out() -> None:
    assert split_segments(LENGTHS, [], ["chr1"]) == [
        Segment("chr1", 0, 1000, "test"),
        Segment("chr2", 0, 300, "train"),
    ]


@pytest.mark.parametrize(
    ("validation", "test"),
    [(["chr1:0-10"], ["chr1:9-20"]), (["chr1"], ["chr1:5-6"]), ([], ["chr2", "chr2"])],
)
def test_overlapping_held_out_places_are_refused(validation: list[str], test: list[str]) -> None:
    with pytest.raises(GenebertError, match=r"overlap.*genome\.split"):
        split_segments(LENGTHS, validation, test)


def test_an_unknown_held_out_contig_names_its_key() -> None:
    with pytest.raises(GenebertError, match=r"'chrX'.*genome\.split\.test"):
        split_segments(LENGTHS, [], ["chrX"])


def test_lengths_and_sequence_are_those_of_the_fasta(
    tiny_genome: Path, tiny_sequences: dict[str, str]
) -> None:
    genome = Genome(tiny_genome)
    assert genome.lengths == {name: len(dna) for name, dna in tiny_sequences.items()}
    assert list(genome.lengths) == list(tiny_sequences), "genome order"
    for name, dna in tiny_sequences.items():
        expected = "".join(base if base in "ACGT" else "N" for base in dna.upper())
        assert genome.fetch(Interval(name, 0, len(dna))) == expected
        for start in range(0, len(dna) - 61, 37):  # across line ends
            assert genome.fetch(Interval(name, start, start + 61)) == expected[start : start + 61]


def test_plain_and_gzip_sources_give_the_same_bytes(tmp_path: Path, tiny_fasta: str) -> None:
    (tmp_path / "plain.fa").write_text(tiny_fasta)
    with (tmp_path / "gzip.fa.gz").open("wb") as raw:
        subprocess.run(["gzip", "-c", tmp_path / "plain.fa"], stdout=raw, check=True)
    index_genome(tmp_path / "plain.fa", tmp_path / "a.fa")
    index_genome(tmp_path / "gzip.fa.gz", tmp_path / "b.fa")
    for suffix in ("", ".fai"):
        a, b = (tmp_path / f"{name}.fa{suffix}" for name in "ab")
        assert a.read_bytes() == b.read_bytes()
    assert (tmp_path / "a.fa").read_text() == tiny_fasta


def test_windows_line_ends_do_not_shift_coordinates(
    tmp_path: Path, tiny_fasta: str, tiny_genome: Path
) -> None:
    (tmp_path / "source.fa").write_bytes(tiny_fasta.replace("\n", "\r\n").encode())
    index_genome(tmp_path / "source.fa", tmp_path / "genome.fa")
    assert (tmp_path / "genome.fa.fai").read_text() == Path(f"{tiny_genome}.fai").read_text()


def test_a_header_may_hold_any_text(tmp_path: Path) -> None:
    (tmp_path / "source.fa").write_text(">chr1 Café µ\nACGT\n", encoding="utf-8")
    index_genome(tmp_path / "source.fa", tmp_path / "genome.fa")
    assert Genome(tmp_path / "genome.fa").fetch(Interval("chr1", 0, 4)) == "ACGT"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (">a\nACGT\n>b\nAC\n>a extra\nAC\n", "contig 'a' is named twice"),
        (">\nACGT\n", "contig '' is nameless"),
        ("", "is empty"),
        ("ACGT\n", "sequence before the first '>' line"),
        (">a\nACGT\nMKLV*\n", "'L' is no nucleotide code"),
        (">a\nACGTACGT\nACG\nACGTACGT\n", "cannot be indexed"),
        (">a\nACGT\n\nACGT\n", "cannot be indexed"),
        (">a\nACG\nACGTACGT\n", "cannot be indexed"),
    ],
)
def test_what_is_no_fasta_is_refused_and_leaves_nothing(
    tmp_path: Path, refused: Callable[..., str], text: str, said: str
) -> None:
    (tmp_path / "source.fa").write_text(text)
    message = refused("index-genome", "--fasta", tmp_path / "source.fa", "--out", tmp_path / "genome.fa")
    assert said in message
    assert "source.fa" in message


def test_a_truncated_genome_is_refused_and_leaves_nothing(
    tmp_path: Path, refused: Callable[..., str], repository: Path
) -> None:
    whole = (repository / "resources/demo/genome.fa.gz").read_bytes()
    (tmp_path / "source.fa.gz").write_bytes(whole[:200_000])
    message = refused(
        "index-genome", "--fasta", tmp_path / "source.fa.gz", "--out", tmp_path / "genome.fa"
    )
    assert "truncated or corrupt gzip" in message


def test_a_stale_index_is_refused(tmp_path: Path, tiny_fasta: str) -> None:
    (tmp_path / "source.fa").write_text(tiny_fasta)
    index_genome(tmp_path / "source.fa", tmp_path / "genome.fa")
    Genome(tmp_path / "genome.fa").close()
    later = (tmp_path / "genome.fa.fai").stat().st_mtime + 5
    os.utime(tmp_path / "genome.fa", (later, later))
    with pytest.raises(GenebertError, match="older than its FASTA"):
        Genome(tmp_path / "genome.fa")


def test_a_genome_without_index_is_refused(tmp_path: Path, tiny_fasta: str) -> None:
    (tmp_path / "genome.fa").write_text(tiny_fasta)
    with pytest.raises(GenebertError, match=r"genome\.fa\.fai does not exist"):
        Genome(tmp_path / "genome.fa")


def test_fetching_outside_a_contig_is_refused(tiny_genome: Path) -> None:
    genome = Genome(tiny_genome)
    with pytest.raises(GenebertError, match="ends after chrC, which has 90 bp"):
        genome.fetch(Interval("chrC", 0, 91))
    with pytest.raises(GenebertError, match="'C' is not in the genome"):
        genome.fetch(Interval("C", 0, 9))


def test_real_sequence_equals_the_demo_fasta_read_by_hand(demo_genome: Path, repository: Path) -> None:
    packed = repository / "resources/demo/genome.fa.gz"
    text = subprocess.run(["gzip", "-dc", packed], capture_output=True, check=True).stdout
    dna = text.split(b"\n", 1)[1].replace(b"\n", b"")
    genome = Genome(demo_genome)
    assert genome.lengths == {"chr20": 63_025_520} == {"chr20": len(dna)}
    for start in (999_990, 30_000_000, 34_897_000, 49_999_900):
        expected = dna[start : start + 515].decode()
        assert genome.fetch(Interval("chr20", start, start + 515)) == expected


# Files of another user's: modules are loaded first, because that user may not be able to read them.
_AS_NOBODY = """
import os, sys
import email.parser, encodings.ascii, importlib.metadata, pyfaidx
import genebert.cli, genebert.genome
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
genebert.cli.main(sys.argv[1:])
"""


def _as_nobody(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _AS_NOBODY, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "HOME": "/nonexistent"},
        check=False,
    )


def test_a_folder_that_cannot_be_written_is_named_and_keeps_its_content(tiny_fasta: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "source.fa").write_text(tiny_fasta)
        locked = folder / "locked"
        locked.mkdir()
        locked.chmod(0o555)
        done = _as_nobody("index-genome", "--fasta", folder / "source.fa", "--out", locked / "genome.fa")
        left = list(locked.iterdir())
        locked.chmod(0o755)
    assert done.returncode == 1, done.stderr
    what, fix = done.stderr.splitlines()
    assert what.startswith("error: cannot write the genome and its index: Permission denied")
    assert str(locked) in what
    assert fix.startswith("fix: choose a results_dir that you may write to")
    assert left == []


def test_a_source_that_cannot_be_read_is_named_as_such(tiny_fasta: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        (folder / "source.fa").write_text(tiny_fasta)
        (folder / "source.fa").chmod(0o000)
        done = _as_nobody("index-genome", "--fasta", folder / "source.fa", "--out", folder / "genome.fa")
        left = [path.name for path in folder.iterdir()]
    assert done.returncode == 1, done.stderr
    assert len(done.stderr.splitlines()) == 2, done.stderr
    assert "source.fa" in done.stderr
    assert "cannot write" not in done.stderr
    assert left == ["source.fa"]


def test_read_lengths_keeps_genome_order(tmp_path: Path) -> None:
    (tmp_path / "a.fai").write_text("chr2\t10\t5\t60\t61\nchr10\t7\t30\t60\t61\nchr1\t3\t9\t3\t4\n")
    assert list(read_lengths(tmp_path / "a.fai").items()) == [
        ("chr2", 10),
        ("chr10", 7),
        ("chr1", 3),
    ]
