"""Variants from VCF files and tables, against pysam and by hand."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pysam
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genebert.errors import GenebertError
from genebert.genome import Genome, Interval
from genebert.inputs.variants import (
    check_reference,
    normal_label,
    read_genotypes,
    read_variants,
)

LENGTHS = {"chr1": 1000, "chr2": 500}
HEAD = """\
##fileformat=VCFv4.2
##INFO=<ID=CLNSIG,Number=.,Type=String,Description="a, b">
##INFO=<ID=EFFECT,Number=A,Type=Integer,Description="one an allele">
##INFO=<ID=BOTH,Number=R,Type=Integer,Description="one an allele, the reference's too">
##INFO=<ID=HIT,Number=0,Type=Flag,Description="yes or no">
##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">
"""
FIXED = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"
Read = Callable[..., pd.DataFrame]


def vcf(*records: str, samples: str = "") -> str:
    """Return a VCF of records whose cells are separated by blanks."""
    columns = FIXED + ("\tFORMAT\t" + samples.replace(" ", "\t") if samples else "")
    return HEAD + columns + "\n" + "".join(record.replace(" ", "\t") + "\n" for record in records)


def save(path: Path, text: str) -> Path:
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Read a text as a file of some name; other arguments as they are given."""

    def one(text: str, name: str = "a.vcf", **changes: object) -> pd.DataFrame:
        content = {"label": "EFFECT", "indels": "keep", "contig_style": "as_is"} | changes
        path = save(tmp_path / name, text)
        return read_variants(path, where="here", lengths=LENGTHS, **content)  # type: ignore[arg-type]

    return one


def rows_of(table: pd.DataFrame) -> list[tuple[object, ...]]:
    return list(table.itertuples(index=False, name=None))


def test_alternate_alleles_become_rows_with_labels_of_their_own(read: Read) -> None:
    text = vcf(
        "chr1 11 rs1 a c,GA . PASS EFFECT=1,0;CLNSIG=x",
        "chr2 500 . T G . . CLNSIG=y",
        "chr1 30 rs3 AC GT . . EFFECT=1",
    )
    found = read(text)
    assert rows_of(found.table) == [
        (8, "chr1", 10, "A", "C", "rs1", "1"),
        (8, "chr1", 10, "A", "GA", "rs1", "0"),
        (9, "chr2", 499, "T", "G", ".", ""),
        (10, "chr1", 29, "AC", "GT", "rs3", "1"),
    ]
    assert found.dropped == {}


@pytest.mark.parametrize(
    ("label", "info", "expected"),
    [
        (
            "CLNSIG",
            "CLNSIG=Pathogenic/Likely_pathogenic,_other",
            ["Pathogenic/Likely_pathogenic,_other"] * 2,
        ),
        ("BOTH", "BOTH=7,8,9;EFFECT=1,2", ["8", "9"]),
        ("HIT", "EFFECT=1,2;HIT", ["true", "true"]),
        ("HIT", "NOHIT;HITS=3;XHIT=2", ["false", "false"]),
        ("EFFECT", "XEFFECT=5,6;EFFECT=1.0,2.5", ["1", "2.5"]),
    ],
)
def test_a_label_is_what_info_says_of_the_allele(
    read: Read, label: str, info: str, expected: list[str]
) -> None:
    assert read(vcf(f"chr1 5 . A C,G . . {info}"), label=label).table["label"].tolist() == expected


def test_a_matched_set_is_text_from_info_or_a_column(read: Read, tmp_path: Path) -> None:
    records = (
        "chr1 5 rs1 A C,G . . EFFECT=1,0;SET=07",
        "chr1 6 . A G . . EFFECT=0;SET=a,b",
        "chr1 7 . A G . . EFFECT=0",
    )
    found = read(vcf(*records), group="SET").table
    assert found["group"].tolist() == ["07", "07", "a,b", ""]
    assert "group" not in read(vcf(*records)).table
    with pytest.raises(
        GenebertError, match=r"no record has INFO key 'MATCH'; declared .*\nfix: correct `group`"
    ):
        read(vcf(*records), group="MATCH")
    table = pd.DataFrame({"chrom": "chr1", "pos": [5, 6, 7], "ref": "A", "alt": "C", "label": 1})
    for values, expected in (
        ([1, 2, 3], ["1", "2", "3"]),
        ([1.0, np.nan, 3.0], ["1", "", "3"]),
        (["rs1", None, "rs3"], ["rs1", "", "rs3"]),
        (pd.Categorical(["x", "x", None]), ["x", "x", ""]),
    ):
        table.assign(Match_Group=values).to_parquet(tmp_path / "a.parquet")
        own = read_variants(
            tmp_path / "a.parquet", "label", "keep", "as_is", "here", LENGTHS, group="match_group"
        )
        assert own.table["group"].tolist() == expected
    text = table.assign(id=["rs1", "NA", "rs3"]).to_csv(sep="\t", index=False)
    found = read(text, "a.tsv", label="label", group="id").table
    assert found["group"].tolist() == found["id"].tolist() == ["rs1", "NA", "rs3"]
    with pytest.raises(
        GenebertError, match=r"no column `set` \(the group\); .*\nfix: name it so, or correct `group`"
    ):
        read(text, "a.tsv", label="label", group="set")


def test_alleles_that_are_no_bases_are_dropped_and_counted(read: Read) -> None:
    text = vcf(
        "chr1 5 . A *,C,<DEL> . . EFFECT=1,2,3",
        "chr1 6 . A . . . EFFECT=1",
        "chr1 7 . A G[chr2:9[,A]chr2:9],.GT,<NON_REF> . . EFFECT=1,2,3,4",
    )
    found = read(text)
    assert found.table[["start", "alt", "label"]].values.tolist() == [[4, "C", "2"]]
    assert found.dropped == {"spanning deletion": 1, "symbolic": 2, "missing": 1, "breakend": 3}


def test_indels_are_refused_dropped_or_kept(read: Read) -> None:
    text = vcf(
        "chr1 5 . A C . . EFFECT=1", "chr1 8 . AT A,GG . . EFFECT=1,0", "chr1 9 . T TA . . EFFECT=0"
    )
    assert len(read(text).table) == 4
    dropped = read(text, indels="drop")
    assert dropped.table["alt"].tolist() == ["C", "GG"], "several bases for as many are no indel"
    assert dropped.dropped == {"indel": 2}
    with pytest.raises(GenebertError, match=r"'AT' to 'A' is an indel .*a.vcf line 9"):
        read(text, indels="refuse")


def test_a_variant_named_twice_is_kept_once_unless_its_labels_differ(read: Read) -> None:
    same = vcf(
        "chr1 5 x A C,G . . EFFECT=1,0", "chr1 9 . A G . . EFFECT=1", "chr1 5 y A C . . EFFECT=1.0"
    )
    found = read(same)
    assert found.table["line"].tolist() == [8, 8, 9]
    assert found.dropped == {"duplicate": 1}
    with pytest.raises(GenebertError, match=r"chr1:5 A>G has two labels '0' and '1' .*lines 8 and 11"):
        read(same + "chr1\t5\t.\tA\tG\t.\t.\tEFFECT=1\n")


def test_contigs_are_renamed_or_left_out_by_what_is_in_use(read: Read) -> None:
    text = vcf("1 5 . A C . . EFFECT=1", "MT 6 . A C . . EFFECT=1", "2 7 . A C . . EFFECT=0")
    found = read(text, contig_style="ucsc", contigs="chr[12]")
    assert found.table["chrom"].tolist() == ["chr1", "chr2"]
    assert found.dropped == {"on contigs not in use": 1}
    with pytest.raises(GenebertError, match="contig '1', the genome has 'chr1'"):
        read(text)
    with pytest.raises(GenebertError, match=r"no variant that can be used \(3 on contigs not in use\)"):
        read(text, contig_style="ucsc", contigs="chr9")


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ("chr1 0 . A C . . EFFECT=1", "position '0' is no bp from 1 .*line 8"),
        ("chr1 1e3 . A C . . EFFECT=1", "position '1e3' is no bp from 1 .*line 8"),
        ("chr1 1001 . A C . . EFFECT=1", "ends after the contig's 1000 bp .*line 8"),
        ("chr1 1000 . AC C . . EFFECT=1", "ends after the contig's 1000 bp .*line 8"),
        ("chr3 5 . A C . . EFFECT=1", "contig 'chr3', the genome has chr1, chr2"),
        ("chr1 5 . N C . . EFFECT=1", "alleles 'N' and 'C' are not all A, C, G, T .*line 8"),
        ("chr1 5 . A R . . EFFECT=1", "alleles 'A' and 'R' are not all A, C, G, T .*line 8"),
        ("chr1 5 . - R . . EFFECT=1", "alleles '-' and 'R'"),
        ("chr1 5 . A a . . EFFECT=1", "both alleles are 'A' .*line 8"),
        ("chr1 5 . A C,G . . EFFECT=1", "EFFECT has 1 values for 2 alternate alleles .*line 8"),
        ("chr1 5 . A C . .", "7 columns where the head has 8 .*line 8"),
        ("chr1 5 . A C . . CLNSIG=1", "no record has INFO key 'EFFECT'; declared are BOTH, CLNSIG"),
    ],
)
def test_a_record_that_does_not_fit_is_named(read: Read, record: str, message: str) -> None:
    with pytest.raises(GenebertError, match=message):
        read(vcf(record))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("chr1\t5\n", "is no VCF"),
        ("", "is no VCF"),
        (HEAD, "ends within its head"),
        (HEAD + "chr1\t5\t.\tA\tC\t.\t.\tEFFECT=1\n", "no `#CHROM` line .*line 7"),
        (vcf(), r"no record has INFO key|no variant that can be used"),
    ],
)
def test_what_is_no_vcf_is_refused(read: Read, text: str, message: str) -> None:
    with pytest.raises(GenebertError, match=message):
        read(text)


def many(number: int = 3000) -> str:
    rng = np.random.default_rng(1)
    bases = rng.integers(0, 4, number)
    records = []
    for row, base in enumerate(np.repeat(bases[::3], 3)[:number]):
        reference, alternate = "ACGT"[base], "ACGT"[(base + 1 + row % 3) % 4]
        records.append(f"chr1 {1 + row // 3} rs{row} {reference} {alternate} . . EFFECT={row % 2}")
    return vcf(*records)


def as_table(table: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "Chrom": table["chrom"],
            "POS": table["start"] + 1,
            "other": "a,b",
            "Ref": table["ref"],
            "alt": table["alt"],
            "rsid": table["id"],
            "Label": table["label"].astype(int),
        }
    )


def test_every_form_of_a_file_reads_alike(read: Read, tmp_path: Path) -> None:
    text = many()
    plain = read(text).table
    assert len(plain) == 3000
    pd.testing.assert_frame_equal(read(text, "gzip.vcf.gz").table, plain)
    pd.testing.assert_frame_equal(read(text, "nameless").table, plain)
    pd.testing.assert_frame_equal(read(text.replace("\n", "\r\n"), "crlf.vcf").table, plain)
    pysam.tabix_compress(str(tmp_path / "a.vcf"), str(tmp_path / "b.vcf.gz"))
    bgzip = read_variants(tmp_path / "b.vcf.gz", "EFFECT", "keep", "as_is", "here", LENGTHS)
    pd.testing.assert_frame_equal(bgzip.table, plain)

    table, unlined = as_table(plain), plain.drop(columns="line")
    tsv, csv = table.to_csv(sep="\t", index=False), table.to_csv(index=False)
    forms = [
        read(tsv, "a.tsv", label="label"),
        read(tsv, "table", label="Label"),
        read(csv, "a.csv.gz", label="label"),
        read("## a comment\n" + tsv.replace("\n", "\r\n"), "c.tsv", label="LABEL"),
    ]
    for name, changed in {
        "int": table,
        "bool": table.astype({"Label": bool}),
        "float": table.astype({"Label": float, "POS": float}),
        "words": table.astype({"Chrom": "category", "Label": str}),
    }.items():
        changed.to_parquet(tmp_path / name)
        forms.append(read_variants(tmp_path / name, "label", "keep", "as_is", "here", LENGTHS))
    words = {"true": "1", "false": "0"}
    for number, found in enumerate(forms):
        labels = found.table["label"].replace(words)
        pd.testing.assert_frame_equal(found.table.drop(columns="line").assign(label=labels), unlined)
        first = {3: 3}.get(number, 2 if number < 4 else 1)
        assert found.table["line"].tolist() == list(range(first, first + 3000))


def test_labels_have_one_form() -> None:
    labels = pd.Series(["1", "1.0", "0.00", "1.5", "True", "FALSE", " x ", "-2.0", ""])
    expected = ["1", "1", "0", "1.5", "true", "false", "x", "-2", ""]
    assert normal_label(labels).tolist() == expected
    assert normal_label(pd.Series([True, False])).tolist() == ["true", "false"]
    assert normal_label(pd.Series([1.0, 0.0])).tolist() == ["1", "0"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("chrom\tpos\tref\tlabel\nchr1\t5\tA\t1\n", "no column `alt`; the columns are chrom, pos, ref"),
        ("chrom\tpos\tref\talt\nchr1\t5\tA\tC\n", r"no column `label` \(the label\)"),
        ("chrom\tchr\tpos\tref\talt\tlabel\n1\t1\t5\tA\tC\t1\n", "columns chrom and chr both say chrom"),
        (
            "chrom\tpos\tref\talt\tlabel\nchr1\t5\tA\tC\t1\nchr1\t6\tA\tC\n",
            "4 columns where the head has 5 .*line 3",
        ),
        ("chrom\tpos\tref\talt\tlabel\nchr1\t5\tA\tC\t1\n\nchr1\t6\tA\tC\t1\n", "position '' .*line 3"),
        ("chrom\tpos\tref\talt\tlabel\nchr1\t5\tA\tN\t\n", "alleles 'A' and 'N' .*line 2"),
        ("#a\tb\nchrom\tpos\tref\talt\tlabel\n", "no column `chrom`"),
        ("chrom,pos,ref,alt,label\nchr1,x,A,C,1\n", "position 'x' is no bp from 1 .*line 2"),
        ("chrom,pos,ref,alt,label\n", "has no variants"),
        ("PAR1 and no more", "damaged Parquet"),
        ("\x00\x01", "no column `chrom`"),
    ],
)
def test_a_table_that_does_not_fit_is_named(read: Read, text: str, message: str) -> None:
    with pytest.raises(GenebertError, match=message):
        read(text, "a.tsv", label="label")


def test_a_table_may_join_alternate_alleles_by_commas(read: Read) -> None:
    found = read(
        "chrom\tpos\tref\talt\tlabel\nchr1\t5\tA\tC,G\t1\nchr1\t6\tA\t\t0\n", "a.tsv", label="label"
    )
    assert found.table[["line", "start", "alt", "label"]].values.tolist() == [
        [2, 4, "C", "1"],
        [2, 4, "G", "1"],
    ]
    assert found.dropped == {"missing": 1}


def test_files_that_are_cut_off_or_absent_are_refused(read: Read, tmp_path: Path) -> None:
    text = many()
    save(tmp_path / "whole.vcf", text)
    pysam.tabix_compress(str(tmp_path / "whole.vcf"), str(tmp_path / "whole.vcf.gz"))
    packed = (tmp_path / "whole.vcf.gz").read_bytes()
    # The last block is empty: without it gzip calls the file whole, though it may end between blocks.
    for name, data in (
        ("block.vcf.gz", packed[:-28]),
        ("bgzip.vcf.gz", packed[: len(packed) // 2]),
        ("gzip.vcf.gz", gzip.compress(text.encode())[:-50]),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(GenebertError, match="truncated"):
            read_variants(tmp_path / name, "EFFECT", "keep", "as_is", "here", LENGTHS)
    with pytest.raises(GenebertError, match=r"columns where the head has 8 .*line 3007"):
        read(text[: text.rindex("\t")])
    with pytest.raises(GenebertError, match="does not exist"):
        read_variants(tmp_path / "none.tsv", "EFFECT", "keep", "as_is", "here", LENGTHS)
    (tmp_path / "a.bcf").write_bytes(gzip.compress(b"BCF\2\2\0"))
    with pytest.raises(GenebertError, match="is a BCF"):
        read_variants(tmp_path / "a.bcf", "EFFECT", "keep", "as_is", "here", LENGTHS)


def test_the_reference_must_be_the_genome_s(tiny_genome: Path) -> None:
    genome = Genome(tiny_genome)
    bases = genome.fetch(Interval("chrA", 2000, 2010))
    table = pd.DataFrame(
        [
            (4, "chrA", 2000, bases[:3], "A"),
            (5, "chrA", 1010, "A", "C"),  # N in the genome
            (7, "chrA", 2003, bases[3], "N"),
        ],
        columns=["line", "chrom", "start", "ref", "alt"],
    )
    check_reference(table, genome, "a.vcf")
    wrong = "ACGT"[("ACGT".index(bases[5]) + 1) % 4]
    table.loc[2, ["start", "ref"]] = [2004, bases[4] + wrong]
    with pytest.raises(
        GenebertError,
        match=rf"REF of chrA:2005 is '{bases[4]}{wrong}', the genome has '{bases[4:6]}' there "
        r"\(1 of 3 variants differ\) \(a.vcf line 7\)",
    ):
        check_reference(table, genome, "a.vcf")


def genotypes(tmp_path: Path, *records: str, samples: str = "one two three", **changes: object) -> tuple:
    path = save(tmp_path / "cohort.vcf", vcf(*records, samples=samples))
    return read_genotypes(path, "as_is", LENGTHS, **changes)  # type: ignore[arg-type]


def test_dosages_are_copies_of_each_alternate_allele(tmp_path: Path) -> None:
    found = genotypes(
        tmp_path,
        "chr1 5 . A C,G . . . GT 0|1 1/2 2|2",
        "chr1 6 . A C,* . . . GT:DP .:3 ./1:. 1/2:5",
        "chr1 7 . T C . . . DP:GT 5:1 4:0 3",
        "chr1 8 . T TC . . . GT 1 0 .|.",
    )
    assert found.samples == ["one", "two", "three"]
    assert found.table[["start", "alt"]].values.tolist() == [
        [4, "C"],
        [4, "G"],
        [5, "C"],
        [6, "C"],
        [7, "TC"],
    ]
    assert found.dosage.dtype == np.int8
    assert found.dosage.tolist() == [[1, 1, 0], [0, 1, 2], [-1, -1, 1], [1, 0, -1], [1, 0, -1]]
    assert found.dropped == {"spanning deletion": 1}
    fewer = genotypes(
        tmp_path, "chr1 5 . A C . . . GT 0/1 . 1", "chr1 8 . T TC . . . GT 1 0 .", indels="drop"
    )
    assert fewer.dosage.tolist() == [[1, -1, 1]]


def test_a_genotype_named_twice_is_kept_once_unless_it_differs(tmp_path: Path) -> None:
    first, last = "chr1 5 . A C . . . GT 0|1 1/1 0|0", "chr1 6 . A C . . . GT 1 1 1"
    found = genotypes(tmp_path, first, "chr1 5 . A C . . . GT 1|0 1|1 0/0", last)
    assert found.table["line"].tolist() == [8, 10]
    assert found.dosage.tolist() == [[1, 2, 0], [1, 1, 1]]
    assert found.dropped == {"duplicate": 1}
    with pytest.raises(GenebertError, match=r"chr1:5 A>C has two genotypes .*lines 8 and 10"):
        genotypes(tmp_path, first, last, "chr1 5 . A C . . . GT 1|1 1|1 0/0")


@pytest.mark.parametrize(
    ("record", "samples", "message"),
    [
        ("chr1 5 . A C . . . DP 1 2 3", "one two three", "no genotypes: FORMAT is 'DP' .*line 8"),
        ("chr1 5 . A C . . . GT 0/0 0/2 0/0", "one two three", "names allele 2 of 2 .*line 8"),
        ("chr1 5 . A C . . . GT 0/0 0/0/1 0/0", "one two three", "'0/0/1' is no genotype .*line 8"),
        ("chr1 5 . A C . . . GT 0/0 0| 0/0", "one two three", r"'0\|' is no genotype .*line 8"),
        ("chr1 5 . A C . . . GT 0/0 0/0", "one two three", "11 columns where the head has 12 .*line 8"),
        ("chr1 5 . A C . . . GT 0/0 0/0", "one one", "sample 'one' is named twice .*line 7"),
        ("chr1 5 . A C . . .", "", "names no samples"),
    ],
)
def test_genotypes_that_do_not_fit_are_named(
    tmp_path: Path, record: str, samples: str, message: str
) -> None:
    with pytest.raises(GenebertError, match=message):
        genotypes(tmp_path, record, samples=samples)


def test_the_demo_s_cohort_is_what_pysam_reads(repository: Path) -> None:
    path = repository / "resources/demo/cohort.vcf.gz"
    found = read_genotypes(path, "as_is", {"chr20": 63_025_520})
    with pysam.VariantFile(str(path)) as file:
        assert found.samples == list(file.header.samples)
        for number, (record, row) in enumerate(
            zip(file, found.table.itertuples(index=False), strict=True)
        ):
            assert (record.pos - 1, record.ref, record.alts) == (row.start, row.ref, (row.alt,))
            if number % 100 == 0:
                expected = [sum(sample["GT"]) for sample in record.samples.values()]
                assert found.dosage[number].tolist() == expected


calls = st.sampled_from(["0", "1", "2", "."])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(calls, calls, st.sampled_from("/|")), min_size=1, max_size=8))
def test_any_genotypes_are_counted_as_by_hand(
    tmp_path_factory: pytest.TempPathFactory, made: list[tuple[str, str, str]]
) -> None:
    folder = tmp_path_factory.getbasetemp()
    texts = [f"{one}{phase}{two}" for one, two, phase in made]
    names = " ".join(f"s{number}" for number in range(len(made)))
    found = genotypes(folder, "chr1 5 . A C,G . . . GT " + " ".join(texts), samples=names)
    for row, allele in enumerate("12"):
        expected = [-1 if "." in text else text.count(allele) for text in texts]
        assert found.dosage[row].tolist() == expected
