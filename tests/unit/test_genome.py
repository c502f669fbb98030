import functools
import gzip
import os
import re
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pyfaidx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genebert import genome as module
from genebert.errors import GenebertError
from genebert.files import read_blocks
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


@pytest.mark.parametrize(
    "text",
    [
        *("chr1:abc", "chr1:5", "chr1:9-9", "chr1:9-5", "chr1:1-2-3"),
        *("chr1:1,0-2,0", "chr1:1_0-2_0", "chr1: 1-2", "chr1:-5-9", "chr1:٣-9", ":1-2"),
    ],
)
def test_an_unreadable_interval_is_refused_readably(text: str) -> None:
    with pytest.raises(GenebertError, match=re.escape(text)):
        parse_interval(text, LENGTHS)


contig_names = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=8)


@given(contig_names, st.integers(0, 10**9), st.integers(1, 10**9))
def test_an_interval_is_read_back_from_its_text(chrom: str, start: int, width: int) -> None:
    place = Interval(chrom, start, start + width)
    assert parse_interval(str(place), {chrom: start + width}) == place
    assert parse_interval(chrom, {chrom: start + width}) == Interval(chrom, 0, start + width)


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
        ("M", "ucsc", "chrM"),
        ("chrMT", "ucsc", "chrM"),
        ("chrM", "ucsc", "chrM"),
        ("M", "ensembl", "MT"),
        ("chrMT", "ensembl", "MT"),
        ("MT", "ensembl", "MT"),
    ],
)
def test_contigs_are_renamed_by_style(name: str, style: str, expected: str) -> None:
    assert rename_contig(name, style) == expected


@given(st.sampled_from([*map(str, range(1, 30)), "X", "Y", "MT", "KI270728.1", "2L"]))
def test_styles_are_converted_there_and_back(name: str) -> None:
    ucsc = rename_contig(name, "ucsc")
    assert ucsc.startswith("chr")
    assert rename_contig(ucsc, "ensembl") == name
    assert rename_contig(rename_contig(ucsc, "ensembl"), "ucsc") == ucsc


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


def _bgzip(data: bytes) -> bytes:
    """Blocked gzip: members that say their size, and an empty one at the end."""
    blocks = []
    for block in [data[at : at + 100] for at in range(0, len(data), 100)] + [b""]:
        deflate = zlib.compressobj(wbits=-15)
        packed = deflate.compress(block) + deflate.flush()
        extra = struct.pack("<2sHH", b"BC", 2, len(packed) + 25)
        head = b"\x1f\x8b\x08\x04" + bytes(4) + b"\x00\xff" + struct.pack("<H", len(extra)) + extra
        blocks.append(head + packed + struct.pack("<II", zlib.crc32(block), len(block)))
    return b"".join(blocks)


@pytest.mark.parametrize("pack", [bytes, gzip.compress, _bgzip])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_same_sequence_gives_the_same_bytes_however_it_comes(
    tmp_path: Path, tiny_fasta: str, tiny_genome: Path, pack: Callable[[bytes], bytes], end: str
) -> None:
    (tmp_path / "source").write_bytes(pack(tiny_fasta.replace("\n", end).encode()))
    index_genome(tmp_path / "source", tmp_path / "genome.fa")
    assert (tmp_path / "genome.fa").read_text() == tiny_fasta == tiny_genome.read_text()
    assert (tmp_path / "genome.fa.fai").read_text() == Path(f"{tiny_genome}.fai").read_text()


contig_texts = st.dictionaries(
    st.sampled_from(["chr1", "chr2", "2", "chrUn_1", "µ"]),
    st.lists(st.text("ACGTNacgtnRYkm", max_size=70), min_size=1, max_size=6).filter(any),
    min_size=1,
)


@settings(max_examples=100, deadline=None)
@given(contig_texts, st.sampled_from([1, 7, 64, 10**6]), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_any_wrapping_is_copied_and_indexed_as_pyfaidx_does(
    tmp_path_factory: pytest.TempPathFactory,
    contigs: dict[str, list[str]],
    block: int,
    end: str,
    whole: bool,
) -> None:
    folder = tmp_path_factory.getbasetemp()
    source, out = folder / "wrapped.fa", folder / "copy.fa"
    text = "".join(
        f">{name} x{end}" + "".join(f"{line}{end}" for line in contigs[name]) for name in contigs
    )
    source.write_bytes((text if whole else text.removesuffix(end)).encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "read_blocks", functools.partial(read_blocks, size=block))
        index_genome(source, out)
    ours = Path(f"{out}.fai").read_text()
    Path(f"{out}.fai").unlink()
    with pyfaidx.Fasta(str(out), as_raw=True) as theirs:
        assert {name: theirs[name][:] for name in contigs} == {n: "".join(t) for n, t in contigs.items()}
    assert Path(f"{out}.fai").read_text() == ours
    assert max(map(len, out.read_text().splitlines())) <= 60


_INDEX_A_CONTIG_OF_ONE_LINE = """
import re, sys
from pathlib import Path
import pyfaidx
from genebert.genome import index_genome
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text()).group(1))
before = peak()
index_genome(sys.argv[1], sys.argv[2])
print((peak() - before) // 1024)
"""


@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="peak memory is read as Linux tells it"
)
def test_memory_does_not_grow_with_a_contig_of_one_line(tmp_path: Path) -> None:
    with (tmp_path / "source.fa").open("wb") as out:
        out.write(b">chr1\n" + b"ACGTTGCAAC" * 6_000_000 + b"\n>chr2\nACGT\n")
    command = [sys.executable, "-c", _INDEX_A_CONTIG_OF_ONE_LINE]
    paths = [tmp_path / "source.fa", tmp_path / "genome.fa"]
    grown = int(subprocess.check_output([*command, *paths], text=True))
    assert grown < 50, "MB: less than the contig has"
    assert read_lengths(tmp_path / "genome.fa.fai") == {"chr1": 60_000_000, "chr2": 4}


@pytest.mark.parametrize("block", [1, 2, 3, 5, 10**6])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        (">a\r\nACGT\r\nAC", None),
        (">a x\nAC\nGT>b\nACGT\n", "'>' is no nucleotide code (source.fa line 3)"),
        (">a\nAC\nGTACGT!A\n>b\nA\n", "'!' is no nucleotide code (source.fa line 3)"),
        (">a\nAC\nGTACGT\n>b\nA\n>a\nC\n", "contig 'a' is named twice (source.fa line 6)"),
        (">a\nAC\rGT\n", r"'\r' is no nucleotide code (source.fa line 2)"),
        (">a\nACGT\r", r"'\r' is no nucleotide code (source.fa line 2)"),
        (">a\nAC\n>b", "contig 'b' of source.fa has no sequence"),
        ("\r\n\r\nAC\n", "sequence before the first '>' line (source.fa line "),
    ],
)
def test_where_blocks_are_cut_changes_neither_copy_nor_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int, text: str, said: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "read_blocks", functools.partial(read_blocks, size=block))
    Path("source.fa").write_bytes(text.encode())
    if said is None:
        index_genome("source.fa", "genome.fa")
        assert Path("genome.fa").read_text() == ">a\nACGTAC\n"
    else:
        with pytest.raises(GenebertError) as error:
            index_genome("source.fa", "genome.fa")
        assert said in str(error.value)


def test_a_header_without_an_end_is_refused_before_it_fills_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LONGEST_HEADER", 1000)
    monkeypatch.setattr(module, "read_blocks", functools.partial(read_blocks, size=300))
    (tmp_path / "mac.fa").write_bytes(b">chr1\r" + b"ACGT\r" * 1000)
    with pytest.raises(GenebertError, match="has no end"):
        index_genome(tmp_path / "mac.fa", tmp_path / "genome.fa")


def test_only_contigs_in_use_are_copied(tmp_path: Path) -> None:
    (tmp_path / "source.fa").write_text(">chr1 a\nACGT\n>chr1_alt\nAC\n>chrEBV\nGG\n>chr2\nTT\nT\n")
    index_genome(tmp_path / "source.fa", tmp_path / "genome.fa", "chr([0-9]+|X)")
    assert (tmp_path / "genome.fa").read_text() == ">chr1 a\nACGT\n>chr2\nTTT\n"
    assert Genome(tmp_path / "genome.fa").lengths == {"chr1": 4, "chr2": 3}


def test_no_contig_in_use_is_refused_with_those_there_are(
    tmp_path: Path, refused: Callable[..., str]
) -> None:
    (tmp_path / "source.fa").write_text("".join(f">{number}\nACGT\n" for number in range(1, 9)))
    message = refused(
        *("index-genome", "--fasta", tmp_path / "source.fa", "--out", tmp_path / "genome.fa"),
        *("--contigs", "chr.*"),
    )
    assert "matches 'chr.*': it has 1, 2, 3, 4, 5 …" in message
    assert "genome.contigs" in message


_INDEX_AGAIN_AND_AGAIN = """
import sys, time
from genebert.genome import Genome, Interval, index_genome
while time.time() < float(sys.argv[3]):
    pass
for _ in range(15):
    index_genome(sys.argv[1], sys.argv[2])
genome = Genome(sys.argv[2])
print(genome.fetch(Interval("chrA", 990, 1210)))
"""


def test_processes_that_index_one_target_at_a_time_all_get_it_right(
    tmp_path: Path, tiny_fasta: str, tiny_genome: Path
) -> None:
    (tmp_path / "source.fa").write_text(tiny_fasta)
    (tmp_path / "out").mkdir()
    target = tmp_path / "out/genome.fa"
    command = [sys.executable, "-c", _INDEX_AGAIN_AND_AGAIN, tmp_path / "source.fa", target]
    start = float(subprocess.check_output([sys.executable, "-c", "import time; print(time.time())"]))
    running = [
        subprocess.Popen([*command, str(start + 2)], stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    outputs = [process.communicate()[0].strip() for process in running]
    assert [process.returncode for process in running] == [0, 0, 0]
    assert set(outputs) == {Genome(tiny_genome).fetch(Interval("chrA", 990, 1210))}
    assert target.read_bytes() == tiny_genome.read_bytes()
    assert Path(f"{target}.fai").read_bytes() == Path(f"{tiny_genome}.fai").read_bytes()
    assert sorted(path.name for path in target.parent.iterdir()) == ["genome.fa", "genome.fa.fai"]


# In a process without threads, which a fork could leave locked.
_SHARE_AN_OPEN_GENOME = """
import multiprocessing, random, sys
from genebert.genome import Genome, Interval
genome = Genome(sys.argv[1])

def fetch_many(seed):
    draw = random.Random(seed)
    starts = [draw.randrange(30_000_000, 34_000_000) for _ in range(2000)]
    return [genome.fetch(Interval("chr20", start, start + 300)) for start in starts]

expected = [fetch_many(seed) for seed in range(8)]
with multiprocessing.get_context("fork").Pool(4) as pool:
    assert pool.map(fetch_many, range(8), chunksize=1) == expected
print(len(set(expected[0])))
"""


def test_forked_processes_may_share_an_open_genome(demo_genome: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SHARE_AN_OPEN_GENOME, demo_genome],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 1000


def test_an_index_of_another_fasta_is_noticed(tmp_path: Path, tiny_fasta: str) -> None:
    (tmp_path / "source.fa").write_text(tiny_fasta)
    index_genome(tmp_path / "source.fa", tmp_path / "genome.fa")
    for text in (tiny_fasta[:3000], ">other\n" + tiny_fasta):
        (tmp_path / "genome.fa").write_text(text)
        os.utime(tmp_path / "genome.fa.fai")
        with pytest.raises(GenebertError, match=r"genome\.fa\.fai does not fit its FASTA at contig"):
            Genome(tmp_path / "genome.fa")


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
        (">a\nACGT\n>b\n\n>c\nAC\n", "contig 'b' of "),
        (">a\nACGT>b\nACGT\n", "'>' is no nucleotide code"),
        (">a\nAC GT\n", "' ' is no nucleotide code"),
        (">a\rACGT\rACGT\r", "carriage return"),
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
    assert what == f"error: {locked}/genome.fa.fai cannot be written: Permission denied"
    assert fix.startswith("fix: change the permissions")
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
