import gzip
import re
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genebert.errors import GenebertError
from genebert.inputs import bed as module
from genebert.inputs.bed import (
    check_in_genome,
    on_contigs,
    read_bed,
    read_blacklist,
    read_task_intervals,
    rename_contigs,
)

LENGTHS = {"chr2": 5000, "chr1": 1000}
TEXTS = {"name": 4, "score": 5}


def _write(path: Path, text: str) -> Path:
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def _intervals(*rows: tuple[str, int, int]) -> pd.DataFrame:
    return pd.DataFrame(
        [(line, *row) for line, row in enumerate(rows, start=1)],
        columns=["line", "chrom", "start", "end"],
    )


def test_what_is_no_interval_is_passed_over_and_lines_are_counted(tmp_path: Path) -> None:
    text = "track name=a\nbrowser position chr1\n#x\n\nchr1\t1\t5\tn\n#y\n \nchr1 7 9\ntracks\t2\t3\n"
    found = read_bed(_write(tmp_path / "a.bed", text), texts={"name": 4})
    assert found["line"].tolist() == [5, 8, 9]
    assert found["chrom"].tolist() == ["chr1", "chr1", "tracks"]
    assert found["start"].tolist() == [1, 7, 2]
    assert found["name"].isna().tolist() == [False, True, True]
    assert found["name"][0] == "n"


@pytest.mark.parametrize(
    "header",
    [
        "chrom\tstart\tend\tname",
        "chr\tchromStart\tchromEnd",
        "Chr Start Stop",
        "#c\nseqnames\tstart\tend",
    ],
)
def test_a_header_without_a_hash_is_passed_over(tmp_path: Path, header: str) -> None:
    found = read_bed(_write(tmp_path / "a.bed", f"{header}\nchr1\t1\t5\tn\n"))
    assert found["start"].tolist() == [1]
    assert found["line"].tolist() == [2 + header.count("\n")]


@pytest.mark.parametrize("text", ["chrom\tstart\tend\n", "chr1\t1\t5\nchrom\tstart\tend\n"])
def test_a_header_is_a_first_line_before_intervals(tmp_path: Path, text: str) -> None:
    with pytest.raises(GenebertError, match=r"has no intervals|coordinate 'start'.*line 2"):
        read_bed(_write(tmp_path / "a.bed", text))


def test_words_for_coordinates_are_no_header_unless_they_say_so(tmp_path: Path) -> None:
    with pytest.raises(GenebertError, match=r"coordinate 'NA' .*line 1"):
        read_bed(_write(tmp_path / "a.bed", "chr1\tNA\tNA\nchr1\t1\t5\n"))


@pytest.mark.parametrize("suffix", [".bed", ".bed.gz"])
@pytest.mark.parametrize("change", ["crlf", "bom", "no end", "blank end", "spaces"])
def test_every_common_way_of_writing_lines_reads_alike(tmp_path: Path, suffix: str, change: str) -> None:
    text = "#c\nchr1\t1\t5\tn\t7\nchr2\t10\t20\tm\t8\n"
    plain = read_bed(_write(tmp_path / "plain.bed", text), texts=TEXTS)
    changed = {
        "crlf": text.replace("\n", "\r\n"),
        "bom": "\ufeff" + text,
        "no end": text.rstrip("\n"),
        "blank end": text + "\n\n",
        "spaces": text.replace("\t", "  "),
    }[change]
    pd.testing.assert_frame_equal(read_bed(_write(tmp_path / f"a{suffix}", changed), texts=TEXTS), plain)


def test_a_carriage_return_within_a_line_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.bed"
    path.write_bytes(b"chr1\t1\t5\tn\rchr1\t6\t9\tm\r")
    with pytest.raises(GenebertError, match=r"carriage return within the line.*line 1"):
        read_bed(path)


def test_a_file_that_is_not_text_is_refused_by_line(tmp_path: Path) -> None:
    path = tmp_path / "a.bed"
    path.write_bytes(b"chr1\t1\t5\nchr\xff\t1\t5\n")
    with pytest.raises(GenebertError, match=r"is not text \(line 2\)"):
        read_bed(path)


cells = st.sampled_from(
    ["chr1", "#c", "track", "7", "12", "0", "", "x", "start", "end", "-1", '"', "NA"]
)
lines = st.lists(cells, max_size=6).flatmap(
    lambda row: st.sampled_from(["\t", " "]).map(lambda separator: separator.join(row))
)
good_lines = st.builds(
    lambda chrom, start, width, more: "\t".join([chrom, str(start), str(start + width), *more]),
    st.sampled_from(["chr1", "chr2", "µ"]),
    st.integers(0, 10**9),
    st.integers(1, 1000),
    st.lists(st.text('ab"#,NA ', max_size=4), min_size=2, max_size=2),
)
heads = st.lists(st.sampled_from(["#c", "", "track a", "chrom\tstart\tend", " \t"]), max_size=3)
files = st.tuples(
    heads,
    st.one_of(st.lists(good_lines, max_size=5), st.lists(st.one_of(good_lines, lines), max_size=5)),
    st.sampled_from(["\n", "\r\n"]),
)


@settings(max_examples=300, deadline=None)
@given(files)
def test_reading_a_file_whole_equals_reading_it_line_by_line(
    tmp_path_factory: pytest.TempPathFactory, file: tuple[list[str], list[str], str]
) -> None:
    head, body, end = file
    path = tmp_path_factory.getbasetemp() / "lines.bed"
    path.write_bytes("".join(line + end for line in head + body).encode())
    columns = {"chrom": 1, "start": 2, "end": 3} | TEXTS
    whole = module._read_whole(path, 3, columns)
    try:
        expected = module._read_line_by_line(path, 3, columns)
    except GenebertError:
        assert whole is None
        return
    if whole is not None:
        assert whole.to_pydict() == expected.to_pydict()
    regular = all(re.fullmatch(r"[chr12µ]+\t\d+\t\d+\t[^\t]*\t[^\t]*", line) for line in body)
    assert whole is not None or not regular or len(head) > 0, "a regular file is read whole"


def test_a_real_file_is_read_whole(repository: Path) -> None:
    path = repository / "resources/demo/blacklist.bed.gz"
    whole = module._read_whole(path, 3, {"chrom": 1, "start": 2, "end": 3})
    assert whole is not None
    text = gzip.decompress(path.read_bytes()).decode().splitlines()
    rows = [line.split("\t")[:3] for line in text]
    assert [list(map(str, row)) for row in read_bed(path)[["chrom", "start", "end"]].to_numpy()] == rows


def test_contigs_in_use_match_as_a_whole() -> None:
    bed = _intervals(("chr1", 0, 5), ("chr10", 0, 5), ("chr1_random", 0, 5), ("chrEBV", 0, 5))
    assert on_contigs(bed, "peaks", "chr([0-9]+|X)", "here")["line"].tolist() == [1, 2]


def test_no_contig_in_use_for_want_of_a_style_is_refused() -> None:
    with pytest.raises(GenebertError, match="peaks name contig '1', the genome has 'chr1'"):
        on_contigs(_intervals(("1", 0, 5)), "peaks", "chr[0-9]+", "here")
    assert on_contigs(_intervals(("chrEBV", 0, 5)), "peaks", "chr[0-9]+", "here").empty


def test_lines_of_another_style_are_not_lost_among_others(tmp_path: Path) -> None:
    mixed = _write(tmp_path / "a.bed", "chr1\t0\t5\tn\t0\t+\nMT\t1\t2\tn\t0\t+\n2\t0\t5\tn\t0\t+\n")
    with pytest.raises(GenebertError, match="name contig '2', the genome has 'chr2'"):
        on_contigs(read_bed(mixed), "peaks", "chr[0-9]+", "here")
    with pytest.raises(GenebertError, match=r"genome\.blacklist name contig '2'"):
        read_blacklist(mixed, LENGTHS, "chr[0-9]+")
    with pytest.raises(GenebertError, match="task 't' name contig '2'"):
        read_task_intervals(mixed, "as_is", "t", LENGTHS, "chr[0-9]+")
    assert len(read_task_intervals(mixed, "ucsc", "t", LENGTHS, "chr[0-9]+")) == 2


@pytest.mark.parametrize(
    ("key", "fix"),
    [
        ("genome.blacklist", "give a blacklist of this genome, or remove genome.blacklist"),
        ("peaks.mappable", "give a BED of this genome, or remove peaks.mappable"),
    ],
)
def test_a_list_of_another_genome_does_not_pass_for_an_empty_one(
    tmp_path: Path, key: str, fix: str
) -> None:
    path = _write(tmp_path / "a.bed", "NC_000001.11\t0\t5\n")
    with pytest.raises(GenebertError, match=r"they are on NC_000001\.11") as error:
        read_blacklist(path, LENGTHS, "chr[0-9]+", key)
    assert error.value.fix == fix


def test_no_intervals_are_in_any_genome() -> None:
    check_in_genome(_intervals(("chr1", 0, 5))[:0], "a.bed", "peaks", LENGTHS, "here")


def test_intervals_are_renamed_and_nothing_else_is_changed() -> None:
    bed = _intervals(("1", 0, 5), ("M", 0, 5), ("chrX", 1, 2), ("1", 7, 8))
    renamed = rename_contigs(bed, "ucsc")
    assert renamed["chrom"].tolist() == ["chr1", "chrM", "chrX", "chr1"]
    pd.testing.assert_frame_equal(renamed.drop(columns="chrom"), bed.drop(columns="chrom"))


def test_an_interval_beyond_its_contig_is_refused_by_line() -> None:
    bed = _intervals(("chr1", 0, 1000), ("chr1", 5, 1001))
    with pytest.raises(GenebertError, match=r"chr1:5-1001 ends after.*1000 bp \(a\.bed line 2\)"):
        check_in_genome(bed, "a.bed", "peaks", LENGTHS, "here")


def test_a_blacklist_is_compared_on_contigs_in_use(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.bed", "chr1\t0\t1000\nchrUn_1\t0\t10\n")
    assert len(read_blacklist(path, LENGTHS, "chr[0-9]+")) == 1
    with pytest.raises(GenebertError, match=r"name contig 'chrUn_1'.*genome\.blacklist"):
        read_blacklist(path, LENGTHS, ".+")
    with pytest.raises(GenebertError, match=r"peaks\.mappable name contig '1'"):
        read_blacklist(_write(tmp_path / "b.bed", "1\t0\t9\n"), LENGTHS, "chr[0-9]+", "peaks.mappable")


def test_the_intervals_of_a_task_are_stranded_and_renamed(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.bed", "1\t10\t11\tG1\t0\t+\n2\t20\t21\tG2\t0\t-\nMT\t1\t2\tG3\t0\t+\n")
    found = read_task_intervals(path, "ucsc", "promoter", LENGTHS, "chr[0-9]+")
    assert found[["line", "chrom", "start", "end", "name", "strand"]].values.tolist() == [
        [1, "chr1", 10, 11, "G1", "+"],
        [2, "chr2", 20, 21, "G2", "-"],
    ]
    with pytest.raises(GenebertError, match="name contig 'chrM'"):
        read_task_intervals(path, "ucsc", "promoter", LENGTHS)
    with pytest.raises(GenebertError, match="no intervals of task 'promoter' are on the contigs in use"):
        read_task_intervals(path, "ucsc", "promoter", LENGTHS, "scaffold")


def test_a_task_without_strand_is_refused(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.bed", "chr1\t10\t11\tG1\t0\t+\nchr1\t20\t21\tG2\t0\t.\n")
    with pytest.raises(GenebertError, match=r"strand '\.'.*line 2"):
        read_task_intervals(path, "as_is", "promoter", LENGTHS)


gene_places = st.lists(
    st.tuples(st.integers(0, 900), st.integers(1, 100), st.sampled_from("+-")), min_size=1, max_size=6
)


@settings(max_examples=50, deadline=None)
@given(gene_places)
def test_a_tss_is_the_same_from_gtf_and_from_bed(
    tmp_path_factory: pytest.TempPathFactory, genes: list[tuple[int, int, str]]
) -> None:
    folder = tmp_path_factory.getbasetemp()
    gtf = "".join(  # from 1, the end included
        f'chr1\tx\tgene\t{start + 1}\t{start + width}\t.\t{strand}\t.\tgene_type "protein_coding";\n'
        for start, width, strand in genes
    )
    tss = [start if strand == "+" else start + width - 1 for start, width, strand in genes]
    bed = "".join(
        f"chr1\t{place}\t{place + 1}\t.\t0\t{strand}\n"
        for place, (_, _, strand) in zip(tss, genes, strict=True)
    )
    rows = [
        set(map(tuple, found[["chrom", "start", "end", "strand"]].to_numpy()))
        for found in (
            read_task_intervals(_write(folder / "a.gtf", gtf), "as_is", "t", LENGTHS),
            read_task_intervals(_write(folder / "a.bed", bed), "as_is", "t", LENGTHS),
        )
    ]
    assert rows[0] == rows[1]
