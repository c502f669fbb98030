from pathlib import Path

import pytest

from genebert.errors import GenebertError
from genebert.inputs.sheet import Sample, find_sample, read_samples

HEADER = "sample\tcell_type\tassay\tformat\tpath\n"


def _sheet(folder: Path, text: str) -> Path:
    (folder / "samples.tsv").write_text(text)
    return folder / "samples.tsv"


def test_rows_are_read_with_their_place(tmp_path: Path) -> None:
    sheet = _sheet(
        tmp_path,
        "# made by hand\nsample\tcell_type\tassay\tformat\tpath\tcontig_style\n"
        "K562_1\tK562\tATAC-seq\tnarrowPeak\tpeaks/a.gz\tucsc\n\n"
        "K562_2\tK562\tATAC-seq\tbed\tpeaks/b.bed\t\n",
    )
    assert read_samples(sheet) == [
        Sample("K562_1", "K562", "ATAC-seq", "narrowPeak", "peaks/a.gz", "ucsc", f"{sheet} line 3"),
        Sample("K562_2", "K562", "ATAC-seq", "bed", "peaks/b.bed", "as_is", f"{sheet} line 5"),
    ]


def test_columns_may_come_in_any_order(tmp_path: Path) -> None:
    sheet = _sheet(tmp_path, "path\tformat\tsample\tassay\tcell_type\na.bed\tbed\ts\tx\tc\n")
    sample = find_sample(sheet, "s")
    assert (sample.path, sample.format, sample.cell_type) == ("a.bed", "bed", "c")


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path) -> None:
    text = "\ufeff" + HEADER + "s\tc\tx\tbed\ta.bed\n"
    sheet = tmp_path / "samples.tsv"
    sheet.write_bytes(text.replace("\n", "\r\n").encode())
    assert find_sample(sheet, "s").path == "a.bed"


def test_a_quote_is_a_character_like_any_other(tmp_path: Path) -> None:
    sheet = _sheet(
        tmp_path,
        HEADER + 'a\tc\tx\tbed\t"odd name.bed\n' + "b\tc\tx\tbed\tplain.bed\n",
    )
    assert [sample.path for sample in read_samples(sheet)] == ['"odd name.bed', "plain.bed"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("# only a comment\n", "is empty"),
        (HEADER, "has no samples"),
        (HEADER.replace("\t", "   "), "not separated by tabs"),
        (HEADER + "a\tc\tx\tbed\tp\nb\tc\tx\tbed\tp\n", "have the same file p"),
        ("sample\tcell_type\tassay\tpath\n", "column 'format' is missing"),
        (HEADER.replace("\n", "\tcolour\n"), "column 'colour' is unknown or named twice"),
        (HEADER.replace("\n", "\tpath\n"), "column 'path' is unknown or named twice"),
        (HEADER + "a\tc\tx\tbed\n", "the row has 4 columns, the header 5 (.* line 2)"),
        (HEADER + "a\tc\tx\tbed\tp\tq\n", "the row has 6 columns, the header 5"),
        (HEADER + "a b\tc\tx\tbed\tp\n", "sample 'a b' cannot be part of a file name"),
        (HEADER + "../a\tc\tx\tbed\tp\n", "sample '../a' cannot be part of a file name"),
        (HEADER + "\tc\tx\tbed\tp\n", "sample '' cannot be part of a file name"),
        (HEADER + "a\tc/d\tx\tbed\tp\n", "cell_type 'c/d' cannot be part of a file name"),
        (HEADER + "a\tc\tx\tgff\tp\n", "format 'gff' is unknown"),
        (HEADER + "a\tc\tx\tbed\t\n", "path is empty"),
        (HEADER + "a\tc\tx\tbed\tp\na\td\tx\tbed\tq\n", "sample 'a' is named twice (.* line 2)"),
        (
            HEADER.replace("\n", "\tcontig_style\n") + "a\tc\tx\tbed\tp\tnice\n",
            "contig_style 'nice' is unknown",
        ),
    ],
)
def test_a_bad_sheet_is_refused_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    sheet = _sheet(tmp_path, text)
    with pytest.raises(GenebertError) as error:
        read_samples(sheet)
    for part in said.split(".*"):
        assert part in str(error.value)
    assert str(sheet) in str(error.value)


def test_an_absent_sample_is_refused(tmp_path: Path) -> None:
    sheet = _sheet(tmp_path, HEADER + "a\tc\tx\tbed\tp\n")
    with pytest.raises(GenebertError, match="sample 'b' is not in the sheet"):
        find_sample(sheet, "b")


def test_the_committed_sheet_of_the_demo_names_files_that_exist(repository: Path) -> None:
    samples = read_samples(repository / "config/demo_samples.tsv")
    assert len(samples) == 12
    assert all((repository / sample.path).is_file() for sample in samples)
