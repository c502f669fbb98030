"""Splice sites: donors and acceptors against decoys with GT or AG of the same genes.

A site is named by its exonic base: a donor by the last base of an exon, an acceptor by the first base of
the next. An example is the window about that base (:func:`genebert.benchmarks.genes.site_offset`) on the
gene's strand. So is a decoy: the base before a GT, or after an AG, that is no site of any transcript of
the annotation on that strand, of whatever gene. Decoys are of the same genes; their GC content is
reported, not matched. Where every position of a gene is scored, its one transcript says what a site is:
those of its other transcripts count as neither.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from genebert.benchmarks.genes import ACCEPTOR, CLASSES, DONOR, NEITHER, SCHEMA, write_genes
from genebert.benchmarks.tasks.assemble import assemble
from genebert.benchmarks.tasks.gene_windows import GeneWindows, Stretch, read_stretch, window_starts
from genebert.benchmarks.tasks.material import Material
from genebert.benchmarks.tasks.paralogs import SHARED, shared_with
from genebert.config import SplicingTask as Settings
from genebert.errors import GenebertError
from genebert.genome import Genome, Interval
from genebert.inputs.exons import read_junctions, read_task_genes
from genebert.sequence.sketch import K

_ON_DECOYS = (
    "sites against decoys: not comparable with SpliceAI-400's figures, which are of every position of "
    "genes (score_genes: true)"
)
_ON_POSITIONS = (
    "`positions` is of every position of the held-out genes, seen from {width} bp: of the kind of "
    "SpliceAI-400's figures (400 nt), on other genes; sites of other transcripts than the gene's one "
    "count as neither; `test` is of sites against decoys"
)
_OF_A_GENE = ("chrom", "strand", "split")
_OF_AN_EXAMPLE = ("position", "label", "gc", "usual")
# Positions (int64, ascending) and labels of all sites, by contig and strand.
_Sites = Mapping[tuple[str, str], tuple[np.ndarray, np.ndarray]]
# Positions (int64, ascending) that are sites in some transcript.
_Junctions = Mapping[tuple[str, str], np.ndarray]


class _Drawn(NamedTuple):
    """Examples of one gene.

    Attributes
    ----------
    position, label
        int64 [n].
    gc
        float64 [n], of the window.
    usual
        bool [n], whether GT (donors) or AG (acceptors) stands where it does at most sites.
    lost, missing
        Number of sites without a window, and of decoys that the gene is too short for.
    """

    position: np.ndarray
    label: np.ndarray
    gc: np.ndarray
    usual: np.ndarray
    lost: int
    missing: int


def check(
    settings: Settings, name: str, files: Mapping[str, Path], lengths: Mapping[str, int], contigs: str
) -> dict[str, int]:
    """Read the annotation in full; return how many genes it has.

    Raises
    ------
    GenebertError
        If it does not fit the genome.
    """
    genes = read_task_genes(files["annotation"], settings.contig_style, name, lengths, contigs)
    return {"annotation": len(genes)}


def build(
    settings: Settings,
    files: Mapping[str, Path],
    material: Material,
    out: str | Path,
    companion: str | Path,
) -> str:
    """Write the dataset of the task and the genes to score; return a line on them.

    Parameters
    ----------
    settings
        Of the task.
    files
        ``annotation``: genes and exons.
    material
        What tasks are built from.
    out
        ``dataset.parquet``.
    companion
        ``genes.parquet``: the test genes with introns, each position of a strand once; empty unless
        ``score_genes``.

    Raises
    ------
    GenebertError
        If the annotation does not fit the genome, no gene lies within one split, or a split is left
        without examples of a class.
    """
    genome, width = material.genome, settings.width
    genes = read_task_genes(
        files["annotation"], settings.contig_style, material.name, genome.lengths, material.contigs
    )
    segments = [material.index.around(Interval(g.chrom, g.start, g.end)) for g in genes.itertuples()]
    genes["split"] = ["" if segment is None else segment.split for segment in segments]
    spliced = genes[genes["exon_starts"].map(len) > 1]
    whole = spliced[spliced["split"] != ""]
    if whole.empty:
        raise GenebertError(
            f"no gene with introns of task '{material.name}' lies within one split",
            "hold out places (genome.split) that hold whole genes",
            material.where,
        )
    kept = whole[~_paralogs(whole, genome)] if settings.drop_paralogs else whole
    sites = _by_strand(splice_sites(genes))
    junctions = read_junctions(files["annotation"], settings.contig_style)
    table, note = _examples(settings, kept, junctions, material)
    counts = assemble(
        table,
        CLASSES,
        settings,
        material,
        out,
        score_genes=settings.score_genes,
        comparison=_ON_POSITIONS.format(width=width) if settings.score_genes else _ON_DECOYS,
    )
    test = kept[kept["split"] == "test"] if settings.score_genes else kept[:0]
    scored = _stretches(test, sites, genome, width)
    write_genes(scored, width, companion)
    bases = int((scored["end"] - scored["start"]).sum())
    return (
        f"{len(genes)} genes, {len(spliced)} with introns; left out: {len(spliced) - len(whole)} across "
        f"splits, {len(whole) - len(kept)} held-out ones of which at least {SHARED:g} of the exonic "
        f"{K}-mers are in training genes{'' if settings.drop_paralogs else ' (not looked for)'}\n"
        f"{note}\n{len(scored)} genes of {bases} positions to score\n{counts}"
    )


def splice_sites(genes: pd.DataFrame) -> pd.DataFrame:
    """Return the sites of genes: the exonic bases on both sides of each intron.

    Parameters
    ----------
    genes
        As of :func:`genebert.inputs.exons.read_genes`.

    Returns
    -------
    DataFrame
        ``gene`` (index in ``genes``), ``chrom``, ``strand``, ``position`` (int64), ``label``; by
        position, each place of a strand once. One that is a donor and an acceptor is called a donor, one
        that genes share is the first one's.
    """
    parts: list[tuple[int, int, np.ndarray]] = []
    for gene in genes.itertuples():
        left, right = gene.exon_ends[:-1] - 1, gene.exon_starts[1:]
        donors, acceptors = (left, right) if gene.strand == "+" else (right, left)
        parts += [(gene.Index, DONOR, donors), (gene.Index, ACCEPTOR, acceptors)]
    numbers = [len(positions) for _, _, positions in parts]
    found = pd.DataFrame(
        {
            "gene": np.repeat([index for index, _, _ in parts], numbers),
            "position": np.concatenate([positions for _, _, positions in parts]),
            "label": np.repeat([label for _, label, _ in parts], numbers),
        }
    ).sort_values(["position", "label", "gene"])
    found["chrom"] = genes["chrom"].loc[found["gene"]].to_numpy()
    found["strand"] = genes["strand"].loc[found["gene"]].to_numpy()
    return found.drop_duplicates(["chrom", "strand", "position"])


def _by_strand(sites: pd.DataFrame) -> _Sites:
    return {
        (str(chrom), str(strand)): (rows["position"].to_numpy(), rows["label"].to_numpy())
        for (chrom, strand), rows in sites.groupby(["chrom", "strand"], sort=False)
    }


def _sites_in(stretch: Stretch, sites: _Sites) -> tuple[np.ndarray, np.ndarray]:
    """Return how far from its 5' end the sites within a stretch are, and their labels."""
    positions, labels = sites[stretch.chrom, stretch.strand]
    inside = stretch.among(positions)
    return stretch.from_five_prime(positions[inside]), labels[inside]


def _paralogs(genes: pd.DataFrame, genome: Genome) -> np.ndarray:
    """Return bool [n], which held-out genes share exonic sequence with training genes."""
    exonic = [
        "".join(
            genome.fetch(Interval(gene.chrom, start, end))
            for start, end in zip(gene.exon_starts, gene.exon_ends, strict=True)
        )
        for gene in genes.itertuples()
    ]
    held_out = (genes["split"] != "train").to_numpy()
    training = [text for text, is_held_out in zip(exonic, held_out, strict=True) if not is_held_out]
    others = [text for text, is_held_out in zip(exonic, held_out, strict=True) if is_held_out]
    found = np.zeros(len(genes), dtype=bool)
    found[held_out] = shared_with(others, training) >= SHARED
    return found


def _examples(
    settings: Settings, genes: pd.DataFrame, junctions: _Junctions, material: Material
) -> tuple[pd.DataFrame, str]:
    """Return the examples of genes and a line on them."""
    own = dict(iter(splice_sites(genes).groupby("gene")))
    rows = [gene for gene in genes.itertuples() if gene.Index in own]
    drawn = [_of_gene(settings, gene, own[gene.Index], junctions, material) for gene in rows]
    numbers = [len(part.position) for part in drawn]
    table = pd.DataFrame(
        {name: np.repeat([getattr(row, name) for row in rows], numbers) for name in _OF_A_GENE}
        | {name: np.concatenate([getattr(part, name) for part in drawn]) for name in _OF_AN_EXAMPLE}
    )
    # Genes that overlap may have drawn the same decoy.
    table = table.drop_duplicates(["chrom", "strand", "position"])
    forward = (table["strand"] == "+").to_numpy()
    starts = window_starts(table["position"].to_numpy(), forward, settings.width)
    is_site = table["label"] != NEITHER
    note = (
        f"{is_site.sum()} splice sites, {(is_site & ~table['usual']).sum()} of them without GT or AG; "
        f"{sum(part.lost for part in drawn)} more have no window of {settings.width} bp of one split "
        f"without N; {sum(part.missing for part in drawn)} decoys short; GC content {_mean_gc(table)}"
    )
    table = table.assign(start=starts, end=starts + settings.width, cell_type="any")
    return table.drop(columns=["position", "gc", "usual"]), note


def _mean_gc(table: pd.DataFrame) -> str:
    means = table.groupby("label")["gc"].mean()
    return ", ".join(f"{CLASSES[label]} {mean:.3f}" for label, mean in means.items())


def _of_gene(
    settings: Settings, gene: Any, own: pd.DataFrame, junctions: _Junctions, material: Material
) -> _Drawn:
    """Return the examples of one gene: its own sites, and decoys of their number and kind."""
    stretch = Stretch(gene.chrom, gene.start, gene.end, gene.strand)
    windows = GeneWindows(material.genome, stretch, settings.width)
    segment = material.index.at(gene.chrom, gene.start)
    usable, before, after = windows.within(segment), windows.before_intron(), windows.after_intron()
    at = stretch.from_five_prime(own["position"].to_numpy())
    kept = usable[at]
    at, labels = at[kept], own["label"].to_numpy()[kept]
    free = usable.copy()
    known = junctions[gene.chrom, gene.strand]
    free[stretch.from_five_prime(known[stretch.among(known)])] = False
    # Of its own for each gene: a gene more or less changes the decoys of no other.
    rng = np.random.default_rng([settings.seed, gene.start, gene.end])
    decoys = []
    for label, looks_alike in ((DONOR, before), (ACCEPTOR, after)):
        number = settings.decoys * int((labels == label).sum())
        candidates = np.flatnonzero(free & looks_alike)
        chosen = rng.choice(candidates, min(number, len(candidates)), replace=False)
        free[chosen] = False
        decoys.append(chosen)
    lures = np.concatenate(decoys)
    all_at = np.concatenate([at, lures])
    return _Drawn(
        position=stretch.on_contig(all_at),
        label=np.concatenate([labels, np.full(len(lures), NEITHER)]),
        gc=windows.gc()[all_at],
        usual=np.concatenate([np.where(labels == DONOR, before[at], after[at]), [True] * len(lures)]),
        lost=int((~kept).sum()),
        missing=settings.decoys * len(at) - len(lures),
    )


def _stretches(genes: pd.DataFrame, sites: _Sites, genome: Genome, width: int) -> pd.DataFrame:
    """Return the rows of ``genes.parquet``: of a gene, what no gene before it on its strand covers."""
    rows: list[tuple[object, ...]] = []
    reached: dict[tuple[str, str], int] = {}
    for gene in genes.itertuples():
        key = (gene.chrom, gene.strand)
        start = max(gene.start, reached.get(key, 0))
        if start >= gene.end:
            continue
        reached[key] = gene.end
        stretch = Stretch(gene.chrom, start, gene.end, gene.strand)
        at, labels = _sites_in(stretch, sites)
        places = [np.sort(at[labels == label] + width // 2) for label in (DONOR, ACCEPTOR)]
        rows.append((gene.gene, *stretch, read_stretch(genome, stretch, width // 2), *places))
    return pd.DataFrame(rows, columns=SCHEMA.names)
