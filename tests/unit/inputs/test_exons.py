import gzip
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genebert.errors import GenebertError
from genebert.inputs.exons import HEADER, read_genes, read_junctions, read_task_genes

LENGTHS = {"chr2": 5000, "chr1": 5000}
ROW = "A\tchr1\t+\t100\t900\t100,400,800\t200,500,900\n"


def _table(folder: Path, *rows: str, header: str = "\t".join(HEADER)) -> Path:
    (folder / "exons.tsv").write_text(f"{header}\n" + "".join(rows))
    return folder / "exons.tsv"


def _gtf(folder: Path, *lines: str) -> Path:
    (folder / "a.gtf").write_text("#!genome-build made up\n" + "".join(lines))
    return folder / "a.gtf"


def _exon(
    first: int,
    last: int,
    transcript: str = "T1",
    more: str = 'gene_type "protein_coding"; gene_name "A";',
    *,
    chrom: str = "chr1",
    strand: str = "+",
    gene: str = "G1",
    feature: str = "exon",
) -> str:
    ids = f'gene_id "{gene}"; transcript_id "{transcript}";'
    return f"{chrom}\tHAVANA\t{feature}\t{first}\t{last}\t.\t{strand}\t.\t{ids} {more}\n"


def _rows(path: Path) -> list[list[object]]:
    genes = read_genes(path)
    for name in ("exon_starts", "exon_ends"):
        assert all(exons.dtype == "int64" for exons in genes[name])
        genes[name] = [exons.tolist() for exons in genes[name]]
    return genes.drop(columns="line").values.tolist()


EXPECTED = ["A", "chr1", 100, 900, "+", [100, 400, 800], [200, 500, 900]]


def test_a_table_is_read_whatever_the_order_of_its_columns(tmp_path: Path) -> None:
    assert _rows(_table(tmp_path, "# a comment\n", ROW, "\n")) == [EXPECTED]
    cells = dict(zip(HEADER, ROW.strip().split("\t"), strict=True)) | {"score": "7"}
    names = sorted(cells)
    other = _table(tmp_path, "\t".join(cells[name] for name in names) + "\n", header="\t".join(names))
    assert _rows(other) == [EXPECTED]


def test_compressed_tables_and_trailing_commas_are_read(tmp_path: Path) -> None:
    text = _table(tmp_path, ROW.replace("800\t", "800,\t").replace("900\n", "900,\n")).read_bytes()
    (tmp_path / "exons.tsv.gz").write_bytes(gzip.compress(text))
    assert _rows(tmp_path / "exons.tsv.gz") == [EXPECTED]


def test_exons_that_touch_are_one(tmp_path: Path) -> None:
    path = _table(tmp_path, "A\tchr1\t-\t0\t90\t0,20,50,60\t20,30,60,90\n")
    assert _rows(path) == [["A", "chr1", 0, 90, "-", [0, 50], [30, 90]]]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("A\tchr1\t.\t100\t900\t100,400\t200,500\n", "strand '.' of A is neither + nor -"),
        ("A\tchr1\t+\t100\t900\t400,100\t500,200\n", "exon 100-200 of A begins before the one before"),
        ("A\tchr1\t+\t100\t900\t100,199\t200,500\n", "exon 199-500 of A begins before the one before"),
        ("A\tchr1\t+\t100\t900\t100,400\t200\n", "A has 2 exon_starts and 1 exon_ends"),
        ("A\tchr1\t+\t100\t900\t100,400\t100,500\n", "exon 100-100 of A is empty"),
        ("A\tchr1\t+\t101\t900\t100,400\t200,500\n", "exons 100-500 of A leave the gene 101-900"),
        ("A\tchr1\t+\t100\t499\t100,400\t200,500\n", "exons 100-500 of A leave the gene 100-499"),
        ("A\tchr1\t+\t100\t900\t100,4e2\t200,500\n", "coordinate '4e2' is no whole number"),
        ("A\tchr1\t+\t-1\t900\t100,400\t200,500\n", "coordinate '-1' is no whole number"),
        ("A\tchr1\t+\t100\t900\t\t\n", "coordinate '' is no whole number"),
        ("A\tchr1\t+\t100\t900\t100,400\n", "6 columns where the header has 7"),
    ],
)
def test_a_bad_row_is_refused_by_its_line(tmp_path: Path, row: str, said: str) -> None:
    with pytest.raises(GenebertError, match=r"exons\.tsv line 3") as error:
        read_genes(_table(tmp_path, ROW, row))
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no genes"),
        ("\t".join(HEADER) + "\n", "has no genes"),
        ("gene\tchrom\tstart\tend\tstrand\texon_starts\n" + ROW, "names exon_ends once"),
        ("\t".join((*HEADER, "gene")) + "\n" + ROW, "names gene once"),
        ("chr1\t5\t6\n", "line 1"),
    ],
)
def test_a_file_that_is_no_annotation_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "x").write_text(text)
    with pytest.raises(GenebertError, match=said):
        read_genes(tmp_path / "x")


def test_a_gtf_counts_from_one_and_may_list_exons_backwards(tmp_path: Path) -> None:
    lines = [_exon(801, 900), _exon(401, 500), _exon(101, 200)]
    skipped = [_exon(1, 4000, feature="gene"), _exon(1, 4000, feature="transcript")]
    assert _rows(_gtf(tmp_path, *skipped, *lines)) == [EXPECTED]
    assert read_genes(tmp_path / "a.gtf")["line"].tolist() == [4]


CODING = 'gene_type "protein_coding"; transcript_type "protein_coding";'
OTHER = 'gene_type "protein_coding"; transcript_type "retained_intron";'


@pytest.mark.parametrize(
    ("short", "long", "start"),
    [
        (CODING, CODING, 500),  # more exonic bp
        (CODING, OTHER, 0),
        (OTHER + ' tag "Ensembl_canonical";', CODING, 0),
        (CODING + ' tag "basic"; tag "appris_principal_1";', CODING + ' tag "basic";', 0),
        (CODING + ' tag "appris_alternative_1";', CODING, 500),
        (CODING + ' tag "MANE Select";', CODING + ' tag "appris_principal_1";', 0),
        (CODING + ' tag "MANE_Select";', CODING + ' tag "Ensembl_canonical";', 500),
        (CODING + ' tag "appris_principal_1";', CODING + ' tag "appris_principal_2";', 500),
    ],
)
def test_the_canonical_transcript_is_taken_else_the_longest(
    tmp_path: Path, short: str, long: str, start: int
) -> None:
    path = _gtf(tmp_path, _exon(1, 100, "S", short), _exon(501, 700, "L", long))
    assert read_genes(path)["start"].tolist() == [start]


def test_of_equal_transcripts_the_first_id_is_taken(tmp_path: Path) -> None:
    lines = [_exon(1, 100, "T2"), _exon(501, 600, "T1")]
    for order in (lines, lines[::-1]):
        assert read_genes(_gtf(tmp_path, *order))["start"].tolist() == [500]


def test_only_protein_coding_genes_are_taken_where_the_file_tells(tmp_path: Path) -> None:
    path = _gtf(
        tmp_path,
        _exon(1, 100, gene="G1", more='gene_biotype "lncRNA"; gene_name "A";'),
        _exon(1, 100, gene="G2", more='gene_biotype "protein_coding"; gene_name "B";'),
        _exon(1, 100, gene="G3", more=""),
    )
    assert read_genes(path)["gene"].tolist() == ["B", "G3"]


def test_one_gene_id_at_two_places_is_two_genes(tmp_path: Path) -> None:
    path = _gtf(tmp_path, _exon(1, 100), _exon(1, 100, chrom="chr2"), _exon(1, 100, strand="-"))
    assert read_genes(path)[["chrom", "strand"]].values.tolist() == [
        ["chr1", "+"],
        ["chr2", "+"],
        ["chr1", "-"],
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (_exon(150, 300), "exon 149-300 of A begins before the one before it ends, at 200"),
        (_exon(500, 400), "'500' to '400' is no stretch"),
        (_exon(300, 400, strand="?"), "strand '?' is neither"),
        (_exon(300, 400).replace("transcript_id", "x"), "lacks a gene_id or a transcript_id"),
        ("chr1\tHAVANA\texon\t300\t400\n", "5 columns where GTF has 9"),
        ("chr1\tHAVANA\texon\t300\t400\t.\t+\t.\tID=exon1;Parent=T1\n", "the annotation is GFF3"),
    ],
)
def test_a_bad_gtf_is_refused_by_its_line(tmp_path: Path, line: str, said: str) -> None:
    with pytest.raises(GenebertError, match=r"a\.gtf line [23]") as error:
        read_genes(_gtf(tmp_path, _exon(101, 200), line))
    assert said in str(error.value)


def test_a_gtf_without_exons_of_coding_genes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GenebertError, match="no `exon` line of a protein-coding gene"):
        read_genes(_gtf(tmp_path, _exon(1, 9, feature="CDS"), _exon(1, 9, more='gene_type "x";')))


_GENES = st.lists(
    st.tuples(
        st.sampled_from(["chr1", "chr2"]),
        st.sampled_from("+-"),
        st.integers(0, 1000),
        st.lists(st.tuples(st.integers(1, 60), st.integers(1, 200)), min_size=1, max_size=6),
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=40, deadline=None)
@given(_GENES)
def test_a_table_and_a_gtf_of_the_same_genes_are_read_alike(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[tuple[str, str, int, list[tuple[int, int]]]]
) -> None:
    rows, lines = [], []
    for number, (chrom, strand, first, pairs) in enumerate(drawn):
        starts, ends, position = [], [], first
        for length, gap in pairs:
            starts.append(position)
            ends.append(position + length)
            position += length + gap
        lists = (",".join(map(str, starts)), ",".join(map(str, ends)))
        rows.append("\t".join([f"G{number}", chrom, strand, str(starts[0]), str(ends[-1]), *lists]))
        lines += [
            _exon(start + 1, end, f"T{number}", "", chrom=chrom, strand=strand, gene=f"G{number}")
            for start, end in zip(starts, ends, strict=True)
        ]
    folder = tmp_path_factory.mktemp("same")
    table = _table(folder, *(f"{row}\n" for row in rows))
    assert _rows(table) == _rows(_gtf(folder, *lines))


def test_genes_of_a_task_are_in_genome_order_under_the_genomes_names(tmp_path: Path) -> None:
    rows = [
        ROW.replace("chr1", "1"),
        ROW.replace("chr1", "2").replace("A", "C"),
        "B\t1\t-\t50\t900\t50\t900\n",
    ]
    genes = read_task_genes(_table(tmp_path, *rows), "ucsc", "s", LENGTHS)
    assert genes["gene"].tolist() == ["C", "B", "A"]
    assert genes["chrom"].tolist() == ["chr2", "chr1", "chr1"]
    assert genes.index.tolist() == [0, 1, 2]
    only = read_task_genes(_table(tmp_path, *rows), "ucsc", "s", LENGTHS, "chr2")
    assert only["gene"].tolist() == ["C"]


@pytest.mark.parametrize(
    ("row", "contigs", "said"),
    [
        (ROW.replace("chr1", "chr7"), ".+", "name contig 'chr7', the genome has chr2, chr1"),
        (ROW.replace("chr1", "1"), ".+", "set `contig_style: ucsc`"),
        (ROW.replace("900", "5001"), ".+", "ends after the contig's 5000 bp"),
        (ROW, "chr9", "are on the contigs in use"),
        ("A\tchr1\t+\t100\t900\t100\t900\n", ".+", "has two exons"),
    ],
)
def test_genes_that_do_not_fit_the_genome_are_refused(
    tmp_path: Path, row: str, contigs: str, said: str
) -> None:
    with pytest.raises(GenebertError, match=r"exons\.tsv|benchmarks\.tasks\.s") as error:
        read_task_genes(_table(tmp_path, row), "as_is", "s", LENGTHS, contigs)
    assert said in str(error.value)


def test_the_demos_genes_are_read_as_they_are_written(repository: Path) -> None:
    path = repository / "resources/demo/exons.tsv.gz"
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()[1:]
    found = _rows(path)
    assert len(found) == len(lines) > 250
    for (gene, chrom, start, end, strand, starts, ends), line in zip(found, lines, strict=True):
        lists = (",".join(map(str, starts)), ",".join(map(str, ends)))  # type: ignore[call-overload]
        assert "\t".join(map(str, [gene, chrom, strand, start, end, *lists])) == line


def test_junctions_are_those_of_every_transcript_of_every_gene(tmp_path: Path) -> None:
    canonical, other = CODING + ' tag "Ensembl_canonical";', 'gene_type "lncRNA";'
    path = _gtf(
        tmp_path,
        *(_exon(first, last, "T1", canonical) for first, last in ((101, 200), (401, 500))),
        # Backwards, with another donor, and exons that touch and overlap.
        *(_exon(first, last, "T2", OTHER) for first, last in ((401, 500), (201, 220), (101, 200))),
        *(
            _exon(first, last, "T3", other, gene="G2")
            for first, last in ((111, 200), (190, 260), (301, 310))
        ),
        *(_exon(first, last, "T4", other, gene="G3", strand="-") for first, last in ((1, 9), (21, 30))),
        _exon(700, 800, "T5", feature="CDS"),
        _exon(900, 950, "T5"),
    )
    found = {key: positions.tolist() for key, positions in read_junctions(path, "ensembl").items()}
    assert found == {("1", "+"): [199, 219, 259, 300, 400], ("1", "-"): [8, 20]}


def test_junctions_of_a_table_are_those_of_its_rows(tmp_path: Path) -> None:
    other = ROW.replace("\t200,500,900", "\t200,520,900")
    found = read_junctions(_table(tmp_path, ROW, other, ROW.replace("+", "-")), "as_is")
    assert {key: positions.tolist() for key, positions in found.items()} == {
        ("chr1", "+"): [199, 400, 499, 519, 800],
        ("chr1", "-"): [199, 400, 499, 800],
    }
