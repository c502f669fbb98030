from pathlib import Path

import jsonschema
import pytest

from genebert.errors import GenebertError
from genebert.inputs.sheet import COLUMNS, Sample, as_schema, find_sample, read_samples
from genebert.inputs.source import Source

HEADER = "sample\tcell_type\tassay\tformat\tsource\n"


def _sheet(folder: Path, text: str) -> Path:
    (folder / "samples.tsv").write_text(text)
    return folder / "samples.tsv"


def test_rows_are_read_with_their_place(tmp_path: Path) -> None:
    sheet = _sheet(
        tmp_path,
        "# made by hand\nsample\tcell_type\tassay\tformat\tsource\tcontig_style\n"
        "K562_1\tK562\tATAC-seq\tnarrowPeak\tpeaks/a.gz\tucsc\n\n"
        "K562_2\tK562\tATAC-seq\tbed\tpeaks/b.bed\t\n",
    )
    assert read_samples(sheet) == [
        Sample(
            *("K562_1", "K562", "ATAC-seq", "narrowPeak", Source("peaks/a.gz", None, None)),
            *("peaks/a.gz", "", "ucsc", f"{sheet} line 3"),
        ),
        Sample(
            *("K562_2", "K562", "ATAC-seq", "bed", Source("peaks/b.bed", None, None)),
            *("peaks/b.bed", "", "as_is", f"{sheet} line 5"),
        ),
    ]


def test_a_source_is_a_path_an_address_or_an_accession(tmp_path: Path) -> None:
    md5 = "0123456789abcdef" * 2
    sheet = _sheet(
        tmp_path,
        HEADER.replace("\n", "\tchecksum\tassembly\n")
        + "a\tc\tx\tbed\tENCFF333TAT\t\tGRCh38\n"
        + f"b\tc\tx\tbed\thttps://lab.example/peaks/b.bed.gz\tmd5:{md5}\thg38\n"
        + f"c\tc\tx\tbed\tc.bed\t{md5.upper()}\t\n",
    )
    samples = read_samples(sheet, "fetched")
    assert [sample.path for sample in samples] == [
        "fetched/www.encodeproject.org/files/ENCFF333TAT/@@download/ENCFF333TAT.bed.gz",
        "fetched/lab.example/peaks/b.bed.gz",
        "c.bed",
    ]
    assert [sample.source.checksum for sample in samples] == [None, f"md5:{md5}", f"md5:{md5}"]
    assert [sample.assembly for sample in samples] == ["GRCh38", "hg38", ""]


def test_columns_may_come_in_any_order(tmp_path: Path) -> None:
    sheet = _sheet(tmp_path, "source\tformat\tsample\tassay\tcell_type\na.bed\tbed\ts\tx\tc\n")
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
        (HEADER.replace("\n", "\ra\tc\tx\tbed\tp\r"), "ends its lines in carriage returns"),
        (HEADER.replace("cell_type", "celltype"), "'cell_type' is missing (there is 'celltype')"),
        (HEADER, "has no samples"),
        (HEADER.replace("\t", "   "), "not separated by tabs"),
        (HEADER + "a\tc\tx\tbed\tp\nb\tc\tx\tbed\tp\n", "have the same file p"),
        ("sample\tcell_type\tassay\tsource\n", "column 'format' is missing"),
        (HEADER.replace("\n", "\tcolour\n"), "column 'colour' is unknown or named twice"),
        (HEADER.replace("\n", "\tsource\n"), "column 'source' is unknown or named twice"),
        (HEADER + "a\tc\tx\tbed\n", "the row has 4 columns, the header 5 (.* line 2)"),
        (HEADER + "a\tc\tx\tbed\tp\tq\n", "the row has 6 columns, the header 5"),
        (HEADER + "a b\tc\tx\tbed\tp\n", "sample 'a b' is not valid"),
        (HEADER + "../a\tc\tx\tbed\tp\n", "sample '../a' is not valid"),
        (HEADER + "\tc\tx\tbed\tp\n", "sample '' is not valid"),
        (HEADER + "a\tc/d\tx\tbed\tp\n", "cell_type 'c/d' is not valid"),
        (HEADER + "a\tc\tx\tgff\tp\n", "format 'gff' is not valid"),
        (HEADER + "a\tc\tx\tbed\t\n", "source '' is not valid"),
        (HEADER + "a\tc\tx\tbed\tp\na\td\tx\tbed\tq\n", "sample 'a' is named twice (.* line 2)"),
        (HEADER + "a\tc\tx\tbed\tENCFF12\n", "source 'ENCFF12' is no accession of an ENCODE file"),
        (HEADER + "a\tc\tx\tbed\tftp://h/p.bed\n", "source 'ftp://h/p.bed' is no address"),
        (HEADER.replace("\n", "\tchecksum\n") + "a\tc\tx\tbed\tp\t12ab\n", "checksum '12ab' is not"),
        (
            HEADER.replace("\n", "\tchecksum\n") + f"a\tc\tx\tbed\tp#md5={'0' * 32}\t{'1' * 32}\n",
            "gives two checksums",
        ),
        (
            HEADER.replace("\n", "\tcontig_style\n") + "a\tc\tx\tbed\tp\tnice\n",
            "contig_style 'nice' is not valid",
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


@pytest.mark.parametrize(
    ("column", "value", "valid"),
    [
        ("sample", "K562_1", True),
        ("sample", ".hidden", False),
        ("cell_type", "IMR-90", True),
        ("cell_type", "K 562", False),
        ("assay", "", False),
        ("format", "bigBed", False),
        ("source", "", False),
        ("checksum", "sha256:" + "a" * 64, True),
        ("checksum", "a" * 31, False),
        ("contig_style", "ucsc", True),
        ("contig_style", "UCSC", False),
    ],
)
def test_schema_and_reader_agree_on_every_column(
    tmp_path: Path, column: str, value: str, valid: bool
) -> None:
    row = {"sample": "a", "cell_type": "c", "assay": "x", "format": "bed", "source": "p"} | {
        column: value
    }
    sheet = _sheet(tmp_path, "\t".join(row) + "\n" + "\t".join(row.values()) + "\n")
    if valid:
        jsonschema.validate(row, as_schema())
        assert len(read_samples(sheet)) == 1
        return
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(row, as_schema())
    fix = next(c.fix for c in COLUMNS if c.name == column)
    with pytest.raises(GenebertError, match=f"{column} '.*' is not valid") as error:
        read_samples(sheet)
    assert error.value.fix == fix


def test_an_absent_sample_is_refused(tmp_path: Path) -> None:
    sheet = _sheet(tmp_path, HEADER + "a\tc\tx\tbed\tp\n")
    with pytest.raises(GenebertError, match="sample 'b' is not in the sheet"):
        find_sample(sheet, "b")


def test_the_committed_sheet_of_the_demo_names_files_that_exist(repository: Path) -> None:
    samples = read_samples(repository / "config/demo_samples.tsv")
    assert len(samples) == 12
    assert all((repository / sample.path).is_file() for sample in samples)
