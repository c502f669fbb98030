import gzip
import hashlib
import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genebert.benchmarks import positions
from genebert.benchmarks.dataset import Dataset, read_dataset
from genebert.benchmarks.genes import read_genes_to_score
from genebert.benchmarks.tasks.gene_windows import GeneWindows, Stretch
from genebert.benchmarks.tasks.material import Material
from genebert.benchmarks.tasks.paralogs import shared_with
from genebert.benchmarks.tasks.splicing import CLASSES, build, check, splice_sites
from genebert.config import SplicingTask
from genebert.errors import GenebertError
from genebert.genome import Genome, Segment, index_genome, reverse_complement, split_segments
from genebert.inputs.exons import HEADER
from genebert.motifs.table import MotifTable, read_motif_table, write_motif_table
from genebert.regions import write_table
from genebert.sequence.codes import decode
from genebert.sequence.sketch import K
from genebert.versions import STAGES

Exons = list[tuple[int, int]]
CONTIG = 30_000
WIDTH = 60


def _write_fasta(folder: Path, contigs: dict[str, str]) -> Path:
    text = "".join(f">{name}\n{dna}\n" for name, dna in contigs.items())
    (folder / "source.fa").write_text(text)
    index_genome(folder / "source.fa", folder / "genome.fa")
    return folder / "genome.fa"


def _plant(dna: list[str], exons: Exons, strand: str) -> None:
    """Write GT and AG at the ends of each intron, on its strand."""
    for (_, left), (right, _) in itertools.pairwise(exons):
        dna[left : left + 2] = "GT" if strand == "+" else "CT"
        dna[right - 2 : right] = "AG" if strand == "+" else "AC"


def _row(name: str, chrom: str, strand: str, exons: Exons) -> str:
    lists = (",".join(str(exon[side]) for exon in exons) for side in (0, 1))
    return "\t".join([name, chrom, strand, str(exons[0][0]), str(exons[-1][1]), *lists])


def _even(start: int, number: int = 4, exon: int = 120, intron: int = 250) -> Exons:
    step = exon + intron
    return [(start + i * step, start + i * step + exon) for i in range(number)]


GENES: dict[str, tuple[str, str, Exons]] = {
    # chr1: train up to 14,000, validation up to 20,000, then test.
    "trained": ("chr1", "+", _even(1000)),
    "longer": ("chr1", "+", [*_even(1000)[:3], (3000, 3200)]),  # shares five sites with it
    "backwards": ("chr1", "-", _even(1200)),  # overlaps both, on the other strand
    "single": ("chr1", "+", [(4000, 4500)]),
    "cut": ("chr1", "+", [(13_000, 13_300), (13_800, 14_100), (14_500, 14_600)]),
    "beside_cut": ("chr1", "+", _even(12_500)),
    "edge": ("chr1", "+", [(14_001, 14_010), (14_300, 14_400), (14_600, 14_700)]),
    "validated": ("chr1", "-", _even(16_000)),
    "tested": ("chr1", "-", _even(21_000)),
    "overlap": ("chr1", "-", _even(21_900)),
    "odd": ("chr1", "+", _even(25_000)),  # neither GT nor AG
    "copy": ("chr1", "-", _even(27_000)),  # of "trained", on the other strand
    "last": ("chr2", "-", _even(28_750)),  # ends 20 bp before its contig
    "unknown": ("chr2", "+", _even(2000)),  # with an N
    "first": ("chr2", "+", _even(10)),  # begins 10 bp after its contig
    "other": ("chr1", "+", _even(22_000)),  # overlaps test genes of the other strand
}


@pytest.fixture(scope="module")
def motifs(
    few_motifs: Path, background: list[float], tmp_path_factory: pytest.TempPathFactory
) -> MotifTable:
    """Three motifs: the task cares for none."""
    out = tmp_path_factory.mktemp("splicing-motifs") / "motifs.parquet"
    write_motif_table(few_motifs, background, 1.0, 0.01, 0.05, "similarity", None, out)
    return read_motif_table(out)


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory, motifs: MotifTable) -> SimpleNamespace:
    """A genome of two contigs with planted introns, its genes and what tasks are built from."""
    folder = tmp_path_factory.mktemp("splicing")
    rng = np.random.default_rng(11)
    dna = {name: rng.choice(list("ACGT"), CONTIG).tolist() for name in ("chr1", "chr2")}
    for name, (chrom, strand, exons) in GENES.items():
        if name not in ("odd", "copy"):
            _plant(dna[chrom], exons, strand)
    for (_, left), (right, _) in itertools.pairwise(GENES["odd"][2]):
        dna["chr1"][left : left + 2] = dna["chr1"][right - 2 : right] = "CC"
    length = GENES["trained"][2][-1][1] - 1000
    original = "".join(dna["chr1"][1000 : 1000 + length])
    dna["chr1"][27_000 : 27_000 + length] = reverse_complement(original)
    dna["chr2"][2149] = "N"
    contigs = {name: "".join(bases) for name, bases in dna.items()}
    fasta = _write_fasta(folder, contigs)
    segments = split_segments(dict.fromkeys(contigs, CONTIG), ["chr1:14000-20000"], ["chr1:20000-30000"])
    regions = pd.DataFrame(
        [(i, "chr1", 500 + 3000 * i, 700 + 3000 * i, "train") for i in range(9)],
        columns=["region_id", "chrom", "start", "end", "split"],
    )
    write_table(regions, folder / "regions.parquet")
    (folder / "exons.tsv").write_text(
        "\t".join(HEADER) + "\n" + "".join(_row(name, *gene) + "\n" for name, gene in GENES.items())
    )
    material = Material(
        "splicing",
        fasta,
        ".+",
        segments,
        folder / "regions.parquet",
        folder / "no-accessibility.parquet",
        motifs,
        4,
        {},
        1_000_000,
    )
    return SimpleNamespace(material=material, exons=folder / "exons.tsv", dna=contigs)


def _settings(**options: Any) -> SplicingTask:
    return SplicingTask(type="splicing", annotation="exons.tsv", **{"width": WIDTH} | options)


def _build(made_up: SimpleNamespace, folder: Path, **options: Any) -> SimpleNamespace:
    files, out = {"annotation": options.pop("exons", made_up.exons)}, folder / "dataset.parquet"
    line = build(_settings(**options), files, made_up.material, out, folder / "genes.parquet")
    return SimpleNamespace(line=line, dataset=read_dataset(out), genes=folder / "genes.parquet", out=out)


def _sites(*names: str) -> set[tuple[str, str, int, str]]:
    """Return (chrom, strand, exonic base, class) of genes, by plain arithmetic."""
    found = set()
    for name in names:
        chrom, strand, exons = GENES[name]
        for (_, left), (right, _) in itertools.pairwise(exons):
            kinds = ("donor", "acceptor") if strand == "+" else ("acceptor", "donor")
            found |= {(chrom, strand, left - 1, kinds[0]), (chrom, strand, right, kinds[1])}
    return found


def _found(dataset: Dataset, width: int = WIDTH) -> pd.DataFrame:
    """Return the table with the base that each example is about, and its class."""
    table = dataset.table
    before = np.where(table["strand"] == "+", (width - 1) // 2, width - 1 - (width - 1) // 2)
    kinds = [CLASSES[label] for label in table["label"]]
    return table.assign(base=table["start"] + before, kind=kinds)


@pytest.fixture(scope="module")
def built(made_up: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """The task with all it can do."""
    folder = tmp_path_factory.mktemp("built")
    return _build(made_up, folder, drop_paralogs=True, score_genes=True, decoys=2)


# Coordinates, against the transcript itself.


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from("+-"),
    st.integers(0, 40),
    st.lists(st.tuples(st.integers(1, 30), st.integers(4, 40)), min_size=2, max_size=7),
    st.integers(0, 2**32 - 1),
)
def test_cutting_at_the_sites_splices_the_transcript(
    strand: str, start: int, pairs: list[tuple[int, int]], seed: int
) -> None:
    exons: Exons = []
    for length, gap in pairs:
        exons.append((start, start + length))
        start += length + gap
    dna = np.random.default_rng(seed).choice(list("ACGT"), start + 50).tolist()
    _plant(dna, exons, strand)
    forward = "".join(dna)
    spliced = "".join(forward[left:right] for left, right in exons)
    gene = forward[exons[0][0] : exons[-1][1]]
    if strand == "-":
        spliced, gene = reverse_complement(spliced), reverse_complement(gene)
    columns = ["gene", "chrom", "start", "end", "strand", "exon_starts", "exon_ends"]
    lists = [np.array(side) for side in zip(*exons, strict=True)]
    row = ["G", "c", exons[0][0], exons[-1][1], strand, *lists]
    table = pd.DataFrame([row], columns=columns)
    sites = splice_sites(table)
    stretch = Stretch("c", exons[0][0], exons[-1][1], strand)
    at = stretch.from_five_prime(sites["position"].to_numpy())
    assert (stretch.on_contig(at) == sites["position"]).all()
    # An exon of one base in the middle is both, and called a donor.
    single = [left for left, right in exons[1:-1] if right - left == 1]
    both = stretch.from_five_prime(np.array(single, dtype=np.int64)).tolist()
    donors = sorted(at[sites["label"] == 1].tolist())
    acceptors = sorted(at[sites["label"] == 2].tolist() + both)
    assert len(donors) == len(acceptors) == len(exons) - 1
    pieces = zip([0, *acceptors], [*donors, len(gene) - 1], strict=True)
    assert "".join(gene[first : last + 1] for first, last in pieces) == spliced
    assert {gene[donor + 1 : donor + 3] for donor in donors} == {"GT"}
    assert {gene[acceptor - 2 : acceptor] for acceptor in acceptors} == {"AG"}


@pytest.mark.parametrize("width", [20, 21])
@pytest.mark.parametrize("strand", ["+", "-"])
@pytest.mark.parametrize(("start", "end"), [(0, 150), (60, 180), (100, 230)])
def test_what_is_known_of_windows_equals_a_plain_loop(
    tmp_path: Path, width: int, strand: str, start: int, end: int
) -> None:
    rng = np.random.default_rng(end)
    dna = "".join(rng.choice(list("ACGT"), 230))
    dna = dna[:120] + "N" + dna[121:]
    genome = Genome(_write_fasta(tmp_path, {"c": dna}))
    segment = Segment("c", 50, 200, "train")
    windows = GeneWindows(genome, Stretch("c", start, end, strand), width)
    within, gc = windows.within(segment), windows.gc()
    donor, acceptor = windows.before_intron(), windows.after_intron()
    assert len(within) == len(gc) == len(donor) == len(acceptor) == end - start
    some = 0
    for distance in range(end - start):
        # On the strand: so many bases before the one in question, so many after.
        before, after = (width - 1) // 2, width - 1 - (width - 1) // 2
        position = start + distance if strand == "+" else end - 1 - distance
        left, right = (before, after) if strand == "+" else (after, before)
        first, last = position - left, position + right + 1
        window = dna[max(0, first) : last]
        inside = first >= segment.start and last <= segment.end and "N" not in window
        assert within[distance] == inside
        if not inside:
            continue
        window = window if strand == "+" else reverse_complement(window)
        assert gc[distance] == pytest.approx((window.count("G") + window.count("C")) / width)
        assert donor[distance] == (window[before + 1 : before + 3] == "GT")
        assert acceptor[distance] == (window[before - 2 : before] == "AG")
        some += 1
    assert some > 15


# The made-up genome.


def test_the_examples_are_the_sites_of_genes_within_one_split(built: SimpleNamespace) -> None:
    found = _found(built.dataset)
    sites = found[found["label"] > 0]
    rows = list(zip(sites["chrom"], sites["strand"], sites["base"], sites["kind"], strict=True))
    used = set(GENES) - {"single", "cut", "copy"}
    expected = _sites(*used)
    # Their windows leave the split (by the donor of "edge") or hold an N.
    lost = {("chr1", "+", 14_009, "donor"), ("chr2", "+", 2119, "donor")}
    assert len(rows) == len(set(rows)), "a site that genes share is one example"
    assert set(rows) == expected - lost
    assert lost < expected
    splits = sites.groupby("split")["chrom"].count().to_dict()
    assert splits == {"train": 7 + 6 + 6 + 6 + 5 + 6, "validation": 3 + 6, "test": 6 + 6 + 6 + 6}


def test_sequences_have_the_site_in_their_middle(
    built: SimpleNamespace, made_up: SimpleNamespace
) -> None:
    odd = _sites("odd")
    for row in _found(built.dataset).itertuples():
        assert len(row.sequence) == WIDTH == row.end - row.start
        forward = made_up.dna[row.chrom][row.start : row.end]
        assert row.sequence == (forward if row.strand == "+" else reverse_complement(forward))
        donor, acceptor = row.sequence[30:32] == "GT", row.sequence[27:29] == "AG"
        if (row.chrom, row.strand, row.base, row.kind) not in odd:
            assert {"donor": donor, "acceptor": acceptor, "neither": donor or acceptor}[row.kind]


def test_decoys_are_as_many_of_each_kind_in_the_same_genes_and_no_site(built: SimpleNamespace) -> None:
    found = _found(built.dataset)
    decoys = found[found["label"] == 0]
    annotated = {(chrom, strand, base) for chrom, strand, base, _ in _sites(*GENES)}
    places = set(zip(decoys["chrom"], decoys["strand"], decoys["base"], strict=True))
    assert len(places) == len(decoys)
    assert not places & annotated
    used = [GENES[name] for name in set(GENES) - {"single", "cut", "copy"}]
    for chrom, strand, base in places:
        assert any(
            (chrom, strand) == gene[:2] and gene[2][0][0] <= base < gene[2][-1][1] for gene in used
        )
    counts = found.groupby(["split", "strand", "chrom", "kind"]).size().unstack()
    # Genes that overlap may draw the same decoy, of which one is left.
    short = 2 * (counts["donor"] + counts["acceptor"]) - counts["neither"]
    assert ((short >= 0) & (short <= 3)).all()
    lured = decoys["sequence"].str[30:32] == "GT"
    assert lured.sum() == pytest.approx(2 * (found["kind"] == "donor").sum(), abs=6)
    assert (decoys["sequence"].str[27:29] == "AG")[~lured].all()


def test_a_site_of_a_gene_that_is_left_out_is_no_decoy(made_up: SimpleNamespace, tmp_path: Path) -> None:
    # So many that every candidate is drawn: those of "beside_cut" hold the sites of "cut".
    found = _found(_build(made_up, tmp_path, decoys=400).dataset)
    places = set(zip(found["chrom"], found["strand"], found["base"], strict=True))
    assert len(places) == len(found), "genes that overlap share no decoy"
    cut = [("chr1", "+", base) for _, _, base, _ in _sites("cut") if base < 13_730]
    assert cut
    assert not places & set(cut)
    # Beside them, all that may be drawn is: each GT and AG of the gene's middle.
    dna, start = made_up.dna["chr1"], 12_620
    sites = {base for chrom, strand, base, _ in _sites(*GENES) if (chrom, strand) == ("chr1", "+")}
    candidates = {base for base in range(start, 13_500) if dna[base + 1 : base + 3] == "GT"}
    candidates |= {base for base in range(start, 13_500) if dna[base - 2 : base] == "AG"}
    drawn = {base for chrom, strand, base in places if chrom == "chr1" and strand == "+"}
    assert candidates - sites == {base for base in drawn if start <= base < 13_500} - sites


def test_a_site_of_another_transcript_is_no_decoy_but_neither_where_genes_are_scored(
    made_up: SimpleNamespace, tmp_path: Path
) -> None:
    # By the GTF of "tested", whose second transcript has an exon more, and of RNA that does not code.
    chrom, strand, exons = GENES["tested"]
    dna = made_up.dna[chrom]
    lures = [base for base in range(21_140, 21_340) if dna[base - 2 : base] == "AC"]  # GT of this strand
    alternative, of_rna = lures[0], lures[-1]
    transcripts = {
        ("G1", "T1", 'gene_type "protein_coding"; tag "Ensembl_canonical";'): exons,
        ("G1", "T2", 'gene_type "protein_coding";'): [
            exons[0],
            (alternative, alternative + 20),
            exons[3],
        ],
        ("G2", "T3", 'gene_type "lncRNA";'): [(21_000, 21_010), (of_rna, of_rna + 9)],
    }
    lines = {
        ids: [
            f"{chrom}\tx\texon\t{first + 1}\t{last}\t.\t{strand}\t.\t"
            f'gene_id "{ids[0]}"; transcript_id "{ids[1]}"; {ids[2]}\n'
            for first, last in rows
        ]
        for ids, rows in (transcripts | _elsewhere()).items()
    }
    alone = {ids: rows for ids, rows in lines.items() if ids[1] not in ("T2", "T3")}
    drawn, scored = [], []
    for name, kept in (("all", lines), ("alone", alone)):
        (tmp_path / f"{name}.gtf").write_text("".join(line for rows in kept.values() for line in rows))
        run = _build(
            made_up, tmp_path / name, decoys=400, exons=tmp_path / f"{name}.gtf", score_genes=True
        )
        found = _found(run.dataset).query("split == 'test'")
        drawn.append(set(found.query("label == 0")["base"]))
        assert set(found.query("label > 0")["base"]) == {base for _, _, base, _ in _sites("tested")}
        scored.append(run.genes.read_bytes())
    assert drawn[1] - drawn[0] >= {alternative, of_rna}, "they are drawn where no transcript has them"
    assert drawn[1] - drawn[0] <= {alternative, alternative + 19, of_rna, 21_009}
    assert not drawn[0] - drawn[1]
    assert scored[0] == scored[1], "one transcript says what a site is"


def _elsewhere() -> dict[tuple[str, str, str], Exons]:
    """Genes of the two other splits, which a task needs."""
    return {(name, name, ""): GENES[name][2] for name in ("trained", "validated")}


def test_decoys_that_are_not_to_be_had_are_counted(made_up: SimpleNamespace, tmp_path: Path) -> None:
    apart = ("trained", "validated", "tested")
    lines = [_row(name, *GENES[name]) for name in apart]
    (tmp_path / "exons.tsv").write_text("\n".join(["\t".join(HEADER), *lines]) + "\n")
    run = _build(made_up, tmp_path, decoys=400, exons=tmp_path / "exons.tsv")
    decoys = int((run.dataset.table["label"] == 0).sum())
    assert 3 * 1230 / 8 * 0.7 < decoys < 3 * 1230 / 8 * 1.3, "GT or AG: an eighth of all bases"
    assert f"; {400 * 18 - decoys} decoys short;" in run.line


def test_a_place_that_is_both_is_a_donor_and_one_that_genes_share_the_first_ones() -> None:
    columns = ["gene", "chrom", "start", "end", "strand", "exon_starts", "exon_ends"]
    rows: list[list[object]] = [
        ["A", "c", 0, 90, "+", np.array([0, 50]), np.array([20, 90])],
        ["B", "c", 10, 95, "+", np.array([10, 80]), np.array([51, 95])],
        ["C", "c", 10, 95, "-", np.array([10, 80]), np.array([51, 95])],
        ["D", "c", 10, 99, "+", np.array([10, 80]), np.array([51, 99])],
    ]
    sites = splice_sites(pd.DataFrame(rows, columns=columns, index=[3, 5, 7, 9]))
    found = sorted(sites[["position", "strand", "label", "gene"]].values.tolist())
    assert found == [
        [19, "+", 1, 3],
        [50, "+", 1, 5],
        [50, "-", 2, 7],
        [80, "+", 2, 5],
        [80, "-", 1, 7],
    ]


def test_the_line_counts_what_is_left_out(built: SimpleNamespace) -> None:
    assert "16 genes, 15 with introns; left out: 1 across splits, 1 held-out ones" in built.line
    sites = len(built.dataset.table.query("label > 0"))
    assert f"{sites} splice sites, 6 of them without GT or AG; 2 more have no window" in built.line
    gc = built.dataset.table.assign(
        gc=built.dataset.table["sequence"].map(lambda dna: (dna.count("G") + dna.count("C")) / len(dna))
    )
    means = gc.groupby("label")["gc"].mean()
    assert ", ".join(f"{CLASSES[i]} {means[i]:.3f}" for i in range(3)) in built.line


def test_only_held_out_copies_are_dropped_and_only_on_demand(
    built: SimpleNamespace, made_up: SimpleNamespace, tmp_path: Path
) -> None:
    without = _build(made_up, tmp_path)
    copied = {row[2] for row in _sites("copy")}
    assert "0 held-out ones" in without.line
    assert "(not looked for)" in without.line
    assert copied <= set(_found(without.dataset)["base"])
    assert not copied & set(_found(built.dataset)["base"])
    assert {row[2] for row in _sites("trained")} <= set(_found(built.dataset)["base"])


def test_the_draw_follows_the_seed_and_each_gene_has_its_own(
    made_up: SimpleNamespace, tmp_path: Path
) -> None:
    first, again, other = (
        _build(made_up, tmp_path / name, seed=seed)
        for name, seed in (("first", 1), ("again", 1), ("other", 2))
    )
    assert first.out.read_bytes() == again.out.read_bytes()
    assert first.genes.read_bytes() == again.genes.read_bytes()

    def places(run: SimpleNamespace, *, decoys: bool) -> set[tuple[str, str, int]]:
        found = _found(run.dataset)
        found = found[(found["label"] == 0) == decoys]
        return set(zip(found["chrom"], found["strand"], found["base"], strict=True))

    assert places(first, decoys=False) == places(other, decoys=False)
    assert len(places(first, decoys=True) & places(other, decoys=True)) < 30
    lines = made_up.exons.read_text().splitlines(keepends=True)
    (tmp_path / "fewer.tsv").write_text("".join(line for line in lines if "validated" not in line))
    fewer = _build(made_up, tmp_path / "fewer", exons=tmp_path / "fewer.tsv")
    gone = places(first, decoys=True) - places(fewer, decoys=True)
    assert places(fewer, decoys=True) <= places(first, decoys=True)
    assert gone
    assert {strand for _, strand, _ in gone} == {"-"}
    assert all(16_000 <= base < 18_000 for _, _, base in gone)


def test_every_position_of_test_genes_is_scored_once_as_its_examples_are_seen(
    built: SimpleNamespace,
) -> None:
    genes, width = read_genes_to_score(built.genes)
    assert width == WIDTH
    assert genes[["gene", "start", "end"]].values.tolist() == [
        ["tested", 21_000, 22_230],
        ["overlap", 22_230, 23_130],
        ["other", 22_000, 23_230],
        ["odd", 25_000, 26_230],
    ]
    seen: list[np.ndarray] = []

    def of_sequences(codes: np.ndarray) -> np.ndarray:
        seen.append(codes.copy())
        return np.zeros((len(codes), 3))

    table, _ = positions.score(built.genes, of_sequences)
    assert not table.duplicated(["chrom", "strand", "start"]).any()
    table["sequence"] = decode(np.concatenate(seen))
    held_out = _found(built.dataset).query("split == 'test'")
    both = held_out.merge(
        table, left_on=["chrom", "strand", "base"], right_on=["chrom", "strand", "start"]
    )
    assert len(both) == len(held_out)
    assert (both["sequence_x"] == both["sequence_y"]).all()
    assert (both["label_x"] == both["label_y"]).all()
    expected = _sites("tested", "other", "overlap", "odd")
    marked = table[table["label"] > 0]
    labels = [CLASSES[label] for label in marked["label"]]
    assert set(zip(marked["chrom"], marked["strand"], marked["start"], labels, strict=True)) == expected
    assert len(marked) == len(expected)


def test_an_oracle_of_gt_and_ag_finds_every_usual_site(built: SimpleNamespace) -> None:
    def holds(codes: np.ndarray, at: int, word: list[int]) -> np.ndarray:
        return (codes[:, at : at + 2] == word).all(1).astype(float)

    def oracle(codes: np.ndarray) -> np.ndarray:
        columns = [np.zeros(len(codes)), holds(codes, 30, [2, 3]), holds(codes, 27, [0, 2])]
        return np.stack(columns, 1)

    table, scores = positions.score(built.genes, oracle)
    usual = table["subset"] != "odd"
    for label in (1, 2):
        assert (scores[usual & (table["label"] == label), label] == 1).all()
        assert 0.04 < scores[:, label].mean() < 0.09


def test_flanks_beyond_a_contig_are_n(made_up: SimpleNamespace, tmp_path: Path) -> None:
    held_out = split_segments(dict.fromkeys(made_up.dna, CONTIG), ["chr1:14000-20000"], ["chr2"])
    material = Material(
        **{name: getattr(made_up.material, name) for name in Material.__dataclass_fields__}
        | {"segments": held_out}
    )
    world = SimpleNamespace(material=material, exons=made_up.exons)
    genes, _ = read_genes_to_score(_build(world, tmp_path, score_genes=True).genes)
    last = genes.set_index("gene").loc["last"]
    assert (last["start"], last["end"]) == (28_750, 29_980)
    first = genes.set_index("gene").loc["first"]
    assert first["sequence"] == "N" * 20 + made_up.dna["chr2"][:1270]
    assert last["sequence"] == "N" * 10 + reverse_complement(made_up.dna["chr2"][28_720:])


def test_figures_on_decoys_say_that_they_are_no_others(
    built: SimpleNamespace, made_up: SimpleNamespace, tmp_path: Path
) -> None:
    without = _build(made_up, tmp_path)
    assert without.dataset.metadata["score_genes"] is False
    assert "not comparable with SpliceAI-400" in without.dataset.metadata["comparison"]
    genes, width = read_genes_to_score(without.genes)
    assert (len(genes), width) == (0, WIDTH)
    assert built.dataset.metadata["score_genes"] is True
    assert (
        "every position of the held-out genes, seen from 60 bp" in built.dataset.metadata["comparison"]
    )


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("cut",), "no gene with introns of task 'splicing' lies within one split"),
        (("trained", "validated"), "has no test example of class neither, donor, acceptor"),
    ],
)
def test_without_genes_in_a_split_nothing_is_written(
    made_up: SimpleNamespace, tmp_path: Path, names: tuple[str, ...], said: str
) -> None:
    lines = [_row(name, *GENES[name]) for name in names]
    (tmp_path / "exons.tsv").write_text("\n".join(["\t".join(HEADER), *lines]) + "\n")
    with pytest.raises(GenebertError, match=said):
        _build(made_up, tmp_path, exons=tmp_path / "exons.tsv")
    assert [path.name for path in tmp_path.iterdir()] == ["exons.tsv"]


def test_the_check_reads_the_annotation_against_the_genome(made_up: SimpleNamespace) -> None:
    files, lengths = {"annotation": made_up.exons}, dict.fromkeys(made_up.dna, CONTIG)
    assert check(_settings(), "s", files, lengths, ".+") == {"annotation": len(GENES)}
    with pytest.raises(GenebertError, match=r"ends after the contig's 29000 bp .*line 14"):
        check(_settings(), "s", files, lengths | {"chr2": 29_000}, ".+")


# Shared sequence.


def _words(sequence: str) -> set[str]:
    """Return k-mers without N, of both strands."""
    words = {sequence[i : i + K] for i in range(len(sequence) - K + 1)}
    words = {word for word in words if "N" not in word}
    return words | {reverse_complement(word) for word in words}


def test_shared_sequence_is_the_fraction_of_words_of_either_strand(background: list[float]) -> None:
    rng = np.random.default_rng(3)
    dna = ["".join(rng.choice(list("ACGT"), 400, p=background)) for _ in range(4)]
    training = [dna[0], dna[1][:200] + "N" + dna[1][200:], dna[0]]
    asked = [
        dna[0],
        reverse_complement(dna[0]),
        dna[2][:300] + dna[1][150:290],
        dna[3],
        reverse_complement(dna[1])[100:300] + "N" + dna[3],
        dna[0][:10],
        "A" * 100 + dna[0][:60],
    ]
    known = set().union(*map(_words, training))
    found = shared_with(asked, training)
    for sequence, fraction in zip(asked, found, strict=True):
        words = _words(sequence)
        # Words and their other strands come in pairs: the fraction is that of the pairs.
        expected = len(words & known) / len(words) if words else 0.0
        assert fraction == pytest.approx(expected, abs=0.01)
    assert found[:2].tolist() == [1, 1]
    assert 0.1 < found[2] < 0.5
    assert found[3] == found[5] == 0
    assert shared_with(asked, []).tolist() == [0] * len(asked)


# The demo's genes.


@pytest.fixture(scope="module")
def demo_built(
    demo: SimpleNamespace,
    motifs: MotifTable,
    repository: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> SimpleNamespace:
    """The task on the demo's genes, at its defaults."""
    material = Material(
        "splicing",
        demo.fasta,
        ".+",
        demo.segments,
        demo.regions,
        demo.accessibility,
        motifs,
        4,
        {},
        1_000_000,
    )
    world = SimpleNamespace(material=material, exons=repository / "resources/demo/exons.tsv.gz")
    return _build(world, tmp_path_factory.mktemp("demo"), width=400)


def test_the_demos_examples_are_its_splice_sites(demo_built: SimpleNamespace, repository: Path) -> None:
    lines = gzip.decompress((repository / "resources/demo/exons.tsv.gz").read_bytes()).decode()
    expected = set()
    for line in lines.splitlines()[1:]:
        _, _, strand, _, _, starts, ends = line.split("\t")
        lefts = [int(end) - 1 for end in ends.split(",")][:-1]
        rights = [int(start) for start in starts.split(",")][1:]
        donors, acceptors = (lefts, rights) if strand == "+" else (rights, lefts)
        expected |= {(strand, base, "donor") for base in donors}
        expected |= {(strand, base, "acceptor") for base in acceptors}
    found = _found(demo_built.dataset, 400)
    sites = found[found["label"] > 0]
    assert set(zip(sites["strand"], sites["base"], sites["kind"], strict=True)) == expected
    decoys = found[found["label"] == 0]
    annotated = {(strand, base) for strand, base, _ in expected}
    assert not set(zip(decoys["strand"], decoys["base"], strict=True)) & annotated
    assert len(decoys) == len(sites) == len(expected) > 5000


def test_the_demos_sites_and_decoys_look_as_they_should(demo_built: SimpleNamespace) -> None:
    table = demo_built.dataset.table
    gt, ag = table["sequence"].str[200:202] == "GT", table["sequence"].str[197:199] == "AG"
    assert 0.985 < gt[table["label"] == 1].mean() < 1
    assert 0.99 < ag[table["label"] == 2].mean() < 1
    decoys = table["label"] == 0
    assert (gt | ag)[decoys].all()
    assert abs(gt[decoys].mean() - ag[decoys].mean()) < 0.03
    assert not table["sequence"].str.contains("N").any()
    counts = table.groupby(["split", "strand", "label"]).size().unstack()
    assert len(counts) == 6
    assert (counts[0] == counts[1] + counts[2]).all(), "decoys as sites on each strand in each split"
    bounds = {"test": (44_000_000, 50_000_000), "validation": (42_000_000, 44_000_000)}
    for split, (low, high) in bounds.items():
        inside = (table["start"] < high) & (table["end"] > low)
        assert (inside == (table["split"] == split)).all()


def test_the_dataset_of_the_demo_is_that_of_this_version(demo_built: SimpleNamespace) -> None:
    columns = ["chrom", "start", "end", "strand", "label", "split"]
    text = demo_built.dataset.table[columns].to_csv(index=False, lineterminator="\n")
    assert (STAGES["splicing"], hashlib.sha256(text.encode()).hexdigest()[:16]) == (
        2,
        "198c3a9884abdee3",
    ), "the task's examples changed: raise STAGES['splicing'] in genebert/versions.py"
