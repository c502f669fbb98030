"""Binding sites of a TF: windows around its ChIP-seq peaks against open regions without a peak."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from genebert.benchmarks.gc_pairs import gc_counts, pair_by_gc
from genebert.benchmarks.negatives import GC_TOLERANCE
from genebert.benchmarks.places import apart, splits_of, touching
from genebert.benchmarks.tasks.assemble import assemble
from genebert.benchmarks.tasks.columns import columns_beside, occupancy, open_regions
from genebert.benchmarks.tasks.material import Material
from genebert.config import TfbsTask as Settings
from genebert.errors import GenebertError
from genebert.genome import SPLITS, Genome, Interval
from genebert.inputs.chip_peaks import check_reference, read_chip_peaks
from genebert.motifs.table import MotifTable
from genebert.sequence.codes import encode_all

CLASSES = ["unbound", "bound"]
# Of peaks on contigs that the genome lacks, whole contigs: these shares are held out.
TEST_SHARE, VALIDATION_SHARE = 0.2, 0.1


class Sites(NamedTuple):
    """The peaks of one cell type, and what became of them.

    Attributes
    ----------
    peaks
        DataFrame of all peaks: chrom, start, end.
    windows
        DataFrame of the windows that can be positives: chrom, start, end, split, sequence.
    told
        How many there were, and why some cannot be used.
    """

    peaks: pd.DataFrame
    windows: pd.DataFrame
    told: str


def check(
    settings: Settings, name: str, files: Mapping[str, Path], lengths: Mapping[str, int], contigs: str
) -> dict[str, int]:
    """Read every file of the task in full; return how many records each holds.

    Raises
    ------
    GenebertError
        If one does not fit the genome, or a sequence is shorter than an example.
    """
    return {
        key: len(_read(settings, f"benchmarks.tasks.{name}", cell_type, files[key], lengths, contigs))
        for cell_type, key in _keys(settings).items()
    }


def build(settings: Settings, files: Mapping[str, Path], material: Material, out: str | Path) -> str:
    """Write the dataset of the task; return lines on it.

    Positives are windows around the summits (narrowPeak) or middles of peaks. Negatives are windows in
    the middle of catalogue regions that are open in the same cell type and touch no peak of it, paired
    with positives of the same split by GC content. All are read on the forward strand.

    Negatives are open by construction. So that this tells nothing, positives must overlap a region that
    is open in their cell type, too. That cannot be asked of peaks on contigs that the genome lacks:
    their split goes by contig, and no example of their cell type has neighbours or a known occupancy
    then, for only negatives could have any.

    Training and validation examples are of ``train_in``; test places of other cell types are the split
    ``across``.

    Parameters
    ----------
    settings
        Of the task.
    files
        ``peaks.<cell type>``: narrowPeak, BED or FASTA.
    material
        What tasks are built from.
    out
        ``dataset.parquet``.

    Raises
    ------
    GenebertError
        If a cell type is in no sample, a sequence is not the genome's, a split is left without examples,
        or a motif is named that is not in use.
    """
    rng = np.random.default_rng(settings.seed)
    motif, told_motif = own_motif(settings, material.motifs, material.where)
    read = {
        cell_type: _read(
            settings, material.where, cell_type, files[key], material.genome.lengths, material.contigs
        )
        for cell_type, key in _keys(settings).items()
    }
    elsewhere = splits_by_contig(
        pd.concat([peaks["chrom"] for peaks in read.values()]), material.genome.lengths
    )
    tables, lines = [], [told_motif]
    for cell_type, peaks in read.items():
        check_reference(peaks, material.genome, cell_type, files[f"peaks.{cell_type}"])
        regions = open_regions(
            material.regions, material.accessibility, cell_type, f"{material.where}.peaks"
        )
        sites = _sites(settings, cell_type, peaks, regions, elsewhere, material)
        table, line = _examples(settings, cell_type, sites, regions, material, rng)
        tables.append(table)
        lines.append(line)
    table = pd.concat(tables, ignore_index=True)
    placeless = sorted(table.loc[~table["chrom"].isin(material.genome.lengths), "cell_type"].unique())
    if placeless:
        lines.append(f"no neighbours in {', '.join(placeless)}: peaks lie on contigs outside the genome")
    counts = assemble(
        table,
        CLASSES,
        settings,
        material,
        out,
        columns=_blinded(table, placeless, material) if placeless else None,
        motif=motif,
        neighbours=not placeless,
        without_neighbours=placeless,
    )
    return "\n".join([*lines, counts])


def own_motif(settings: Settings, motifs: MotifTable, where: str) -> tuple[int | None, str]:
    """Return the row of the TF's own motif, None where there is none, and a line that says so.

    It is the one that ``motif`` names, or the one of the TF's name, whatever the case. Of several it is
    the one with the first matrix id: databases add variants (with a second site, say) after the profile
    that most sites fit. A dimer (``A::B``) is another name.

    Raises
    ------
    GenebertError
        If ``motif`` is no matrix id in use.
    """
    if settings.motif is not None:
        for row, motif in enumerate(motifs.motifs):
            if motif.matrix_id == settings.motif:
                return row, f"motif of {settings.tf}: {motif.label}"
        dropped = any(motif.matrix_id == settings.motif for motif in motifs.dropped)
        raise GenebertError(
            f"motif '{settings.motif}' is not in use"
            + (": no threshold of it is rare enough (motifs.max_realised_p)" if dropped else ""),
            "name the matrix id of one that is, or remove the key",
            f"{where}.motif",
        )
    name = settings.tf.casefold()
    rows = [row for row, motif in enumerate(motifs.motifs) if motif.name.casefold() == name]
    if not rows:
        return None, f"no motif is named {settings.tf}: pwm_best has nothing to look for"
    first, *others = sorted(rows, key=lambda row: motifs.motifs[row].matrix_id)
    line = f"motif of {settings.tf}: {motifs.motifs[first].label}"
    if others:
        line += f", not {', '.join(motifs.motifs[row].matrix_id for row in others)} of the same name"
    return first, line


def splits_by_contig(chroms: pd.Series, lengths: Mapping[str, int]) -> dict[str, str]:
    """Share out the contigs that the genome lacks: all peaks of a contig are of one split.

    In order of the SHA-256 of their names, contigs are for testing as long as their middle peak is among
    the first 20 % of peaks, then for validation up to 30 %, then for training.

    Parameters
    ----------
    chroms
        Contig of each peak, of all cell types together: a place has one split in all of them.
    lengths
        Of the contigs of the genome.
    """
    counts = chroms[~chroms.isin(lengths)].value_counts()
    names = sorted(counts.index, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    number = counts.reindex(names).to_numpy()
    middle = (np.cumsum(number) - number / 2) / max(number.sum(), 1)
    splits = np.select(
        [middle < TEST_SHARE, middle < TEST_SHARE + VALIDATION_SHARE], ["test", "validation"], "train"
    )
    return dict(zip(names, splits.tolist(), strict=True))


def _keys(settings: Settings) -> dict[str, str]:
    """Return the key of each cell type's file."""
    return {cell_type: f"peaks.{cell_type}" for cell_type in settings.peaks}


def _read(
    settings: Settings,
    where: str,
    cell_type: str,
    path: Path,
    lengths: Mapping[str, int],
    contigs: str,
) -> pd.DataFrame:
    """Read the peaks of a cell type, of sequences no shorter than an example."""
    key = f"{where}.peaks.{cell_type}"
    peaks = read_chip_peaks(path, cell_type, settings.contig_style, lengths, contigs, key)
    short = peaks[peaks["sequence"].notna() & (peaks["end"] - peaks["start"] < settings.width)]
    if len(short):
        row = short.iloc[0]
        raise GenebertError(
            f"peaks for '{cell_type}': {row['chrom']}:{row['start']}-{row['end']} has "
            f"{row['end'] - row['start']} bp, an example {settings.width}",
            "give longer sequences, or lower the task's `width`",
            f"{path} line {row['line']}",
        )
    return peaks


def _sites(
    settings: Settings,
    cell_type: str,
    peaks: pd.DataFrame,
    regions: pd.DataFrame,
    elsewhere: Mapping[str, str],
    material: Material,
) -> Sites:
    """Return the windows of a cell type that can be positives."""
    genome = material.genome
    start = peaks["summit"] - settings.width // 2
    windows = peaks.assign(start=start, end=start + settings.width, peak_start=peaks["start"])
    windows["split"] = splits_of(windows, material.segments)
    outside = ~windows["chrom"].isin(genome.lengths)
    windows.loc[outside, "split"] = windows.loc[outside, "chrom"].map(elsewhere)
    used = windows[windows["split"] != ""]
    told = [f"{len(peaks) - len(used)} cross a split's or contig's edge"]
    is_open = ~used["chrom"].isin(genome.lengths).to_numpy() | touching(used, regions)
    told.append(f"{int((~is_open).sum())} lie outside regions open in it")
    used = used[is_open].reset_index(drop=True)
    used = used.assign(sequence=_sequences(used, genome))
    known = _without_n(used)
    told.append(f"{int((~known).sum())} hold an N")
    used = used[known].reset_index(drop=True)
    chosen = apart(used, used["signal"].to_numpy(np.float64))
    told.append(f"{len(used) - len(chosen)} overlap another one")
    every = pd.concat([peaks, windows])[["chrom", "start", "end"]]
    columns = ["chrom", "start", "end", "split", "sequence"]
    return Sites(every, used.iloc[chosen][columns], f"{len(peaks)} peaks; {', '.join(told)}")


def _sequences(windows: pd.DataFrame, genome: Genome) -> list[str]:
    """Return the sequence of each window: the file's own where it has one."""
    found = []
    for row in windows.itertuples(index=False):
        if row.sequence is None:
            found.append(genome.fetch(Interval(row.chrom, row.start, row.end)))
        else:
            offset = row.start - row.peak_start
            found.append(row.sequence[offset : offset + row.end - row.start])
    return found


def _examples(
    settings: Settings,
    cell_type: str,
    sites: Sites,
    regions: pd.DataFrame,
    material: Material,
    rng: np.random.Generator,
) -> tuple[pd.DataFrame, str]:
    """Return the examples of a cell type in pairs, and a line that says how many."""
    negatives = _negatives(settings, sites.peaks, regions, material)
    trained = cell_type == settings.train_in
    tolerance = int(GC_TOLERANCE * settings.width)
    parts, pairs = [], []
    wanted = 0
    for split in SPLITS if trained else ("test",):
        pools = [rows[rows["split"] == split] for rows in (sites.windows, negatives)]
        counts = [gc_counts(encode_all(pool["sequence"].tolist())) for pool in pools]
        partner = pair_by_gc(counts[0], counts[1], tolerance, rng)
        wanted += len(partner)
        kept = partner >= 0
        parts += [pools[0][kept].assign(label=1), pools[1].iloc[partner[kept]].assign(label=0)]
        pairs.append(f"{split if trained else 'across'} {int(kept.sum())}")
    table = pd.concat(parts, ignore_index=True).assign(cell_type=cell_type, strand="+")
    if not trained:
        table["split"] = "across"
    if table.empty:
        raise GenebertError(
            f"task '{material.name}' has no example in cell type '{cell_type}': {sites.told}",
            "hold out places (genome.split) that hold some of its peaks and open regions",
            f"{material.where}.peaks.{cell_type}",
        )
    paired = len(table) // 2
    return table, (
        f"{cell_type}: {sites.told}; of {wanted} positives {wanted - paired} found no open region of "
        f"their GC content among {len(negatives)} and are dropped; pairs: {', '.join(pairs)}"
    )


def _negatives(
    settings: Settings, peaks: pd.DataFrame, regions: pd.DataFrame, material: Material
) -> pd.DataFrame:
    """Return windows amid open regions that touch no peak: chrom, start, end, split, sequence."""
    start = (regions["start"] + regions["end"]) // 2 - settings.width // 2
    windows = regions[["chrom"]].assign(start=start, end=start + settings.width)
    windows["split"] = splits_of(windows, material.segments)
    near = peaks.assign(
        start=peaks["start"] - settings.negative_distance, end=peaks["end"] + settings.negative_distance
    )
    windows = windows[(windows["split"] != "").to_numpy() & ~touching(windows, near)]
    windows = windows.iloc[apart(windows, np.zeros(len(windows)))]
    fetch = material.genome.fetch
    places = zip(windows["chrom"], windows["start"], windows["end"], strict=True)
    windows = windows.assign(sequence=[fetch(Interval(*place)) for place in places])
    return windows[_without_n(windows)].reset_index(drop=True)


def _without_n(windows: pd.DataFrame) -> np.ndarray:
    return np.array(["N" not in sequence for sequence in windows["sequence"]], dtype=bool)


def _blinded(table: pd.DataFrame, placeless: list[str], material: Material) -> np.ndarray:
    """Return int64 [n, R], the regions beside each example; none in the cell types named.

    The table is given its occupancy, unknown there, too.
    """
    blind = table["cell_type"].isin(placeless).to_numpy()
    covered = occupancy(table, material.regions, material.index)
    table["occupancy"] = np.where(blind, np.float32("nan"), covered)
    columns = columns_beside(
        table, material.regions, material.accessibility, material.index, material.columns, material.where
    )
    columns[blind] = -1
    return columns
