import gzip
from pathlib import Path

import pytest

from genebert.errors import GenebertError
from genebert.inputs.annotation import is_gtf, read_gtf_tss


def _line(**changes: object) -> str:
    cells: dict[str, object] = {"chrom": "chr1", "feature": "gene", "first": 101, "last": 500}
    cells |= {"strand": "+", "key": "gene_type", "type": "protein_coding", "name": "A"}
    place = "{chrom}\tHAVANA\t{feature}\t{first}\t{last}\t.\t{strand}\t.\t"
    return (place + 'gene_id "E1"; {key} "{type}"; gene_name "{name}";\n').format(**cells | changes)


def _gtf(folder: Path, *lines: str) -> Path:
    (folder / "a.gtf").write_text("##description: made up\n" + "".join(lines))
    return folder / "a.gtf"


def test_the_first_base_of_each_protein_coding_gene_is_its_tss(tmp_path: Path) -> None:
    found = read_gtf_tss(
        _gtf(
            tmp_path,
            _line(),
            _line(feature="transcript", first=300),
            _line(strand="-", name="B", key="gene_biotype"),
            _line(type="lncRNA", name="C"),
            _line(first=101, last=900, name="D"),
        )
    )
    assert found[["line", "chrom", "start", "end", "name", "strand"]].to_numpy().tolist() == [
        [2, "chr1", 100, 101, "A", "+"],
        [4, "chr1", 499, 500, "B", "-"],
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("chr1\t1\t2\n", "3 columns where GTF has 9"),
        (_line(first=0), "'0' to '500' is no stretch"),
        (_line(first=501), "'501' to '500' is no stretch"),
        (_line(last="x"), "'101' to 'x' is no stretch"),
        (_line(last="٩٠٠"), "'101' to '٩٠٠' is no stretch"),
        (_line(first="²"), "'²' to '500' is no stretch"),
        ("##gff-version 3\n", "the annotation is GFF3"),
        ("chr1\tx\tgene\t1\t9\t.\t+\t.\tID=gene:E1;Name=A\n", "the annotation is GFF3"),
        (_line(strand="."), "strand '.' is neither"),
    ],
)
def test_a_line_that_is_no_gtf_is_named(tmp_path: Path, line: str, said: str) -> None:
    with pytest.raises(GenebertError) as error:
        read_gtf_tss(_gtf(tmp_path, _line(), line))
    assert said in str(error.value)
    assert "a.gtf line 3" in str(error.value)


def test_an_annotation_without_protein_coding_genes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GenebertError, match="no `gene` line of type protein_coding"):
        read_gtf_tss(_gtf(tmp_path, _line(type="lncRNA")))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("#!genome-build\n\n" + _line(), True),
        (_line().replace("\n", "\r\n"), True),
        ("##gff-version 3\nchr1\tx\tgene\t1\t9\t.\t+\t.\tID=g\n", True),
        ("chr1\t1\t9\tname\t0\t+\n", False),
        ("chr1\t1\t9\t4\t5\t+\t1\t9\t0\n", False),
        ("chrom\tstart\tend\tname\tscore\tstrand\ta\tb\tc\n", False),
        ("#only\n", False),
    ],
    ids=["gtf", "windows", "gff3", "bed6", "bed9 of numbers", "header", "nothing"],
)
def test_an_annotation_is_known_by_its_content_not_its_name(
    tmp_path: Path, text: str, expected: bool
) -> None:
    for name in ("a.gtf_download=1", "a.bed"):
        (tmp_path / name).write_bytes(gzip.compress(text.encode()))
        assert is_gtf(tmp_path / name) == expected
