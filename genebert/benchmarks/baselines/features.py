"""What the simple baselines look at, a row of features an example."""

from collections.abc import Callable

import numpy as np

from genebert.benchmarks.dataset import Dataset
from genebert.errors import GenebertError
from genebert.sequence.codes import PADDING, count_kmers

K = 5

# Baselines that are a logistic regression, and those that are one number an example.
LOGISTIC = ("kmer_logistic", "motif_logistic", "gc_only", "occupancy_only")
SCORES = ("pwm_best", "mean_of_training_cell_types")


def kmer_features(codes: np.ndarray) -> np.ndarray:
    """Return float32 [n, 4^5], 5-mer counts of the strand given, of base codes uint8 [n, length]."""
    return count_kmers(codes, K)


def gc_features(codes: np.ndarray) -> np.ndarray:
    """Return float32 [n, 3]: GC content, its square, and the length in bp, of base codes."""
    known = (codes < 4).sum(1)
    gc = ((codes == 1) | (codes == 2)).sum(1) / np.maximum(known, 1)
    return np.stack([gc, gc**2, (codes != PADDING).sum(1)], axis=1).astype(np.float32)


# Baselines that look at nothing but sequence: base codes -> features.
OF_SEQUENCE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "kmer_logistic": kmer_features,
    "gc_only": gc_features,
}


def features_of(name: str, dataset: Dataset, motifs: int) -> np.ndarray:
    """Return the features float32 [n, width] of a baseline that is a logistic regression.

    Parameters
    ----------
    name
        One of ``LOGISTIC``: ``kmer_logistic``, ``gc_only``, ``motif_logistic`` (the best hit of each
        motif in the example's own sequence) or ``occupancy_only`` (the fraction of its bp that lie in
        catalogue regions).
    dataset
        Examples.
    motifs
        T.

    Raises
    ------
    GenebertError
        If the examples have no places, of which ``occupancy_only`` is.
    """
    if name in OF_SEQUENCE:
        return OF_SEQUENCE[name](dataset.codes)
    if name == "motif_logistic":
        return dataset.hits.dense(motifs)
    assert name == "occupancy_only"
    return _column(dataset, "occupancy", "occupancy_only", "places in the genome")


def score_of(name: str, dataset: Dataset) -> np.ndarray:
    """Return the float32 [n] score of a baseline that is one: higher where class 1 is likelier.

    Parameters
    ----------
    name
        One of ``SCORES``: ``pwm_best`` (the best hit of the TF's own motif in the example's own
        sequence, 0 where it has none) or ``mean_of_training_cell_types`` (the fraction of them in which
        the region is open).
    dataset
        Examples.

    Raises
    ------
    GenebertError
        If the dataset has nothing to score by.
    """
    if name == "mean_of_training_cell_types":
        return _column(dataset, "open_in_training", name, "training cell types")[:, 0]
    assert name == "pwm_best"
    motif = dataset.metadata.get("motif")
    if motif is None:
        raise GenebertError(
            "pwm_best scores the motif of the task's TF, and no motif has its name",
            "set the task's `motif:` to a matrix id of motifs.file, or leave pwm_best out of `models`",
            f"benchmarks.tasks.{dataset.metadata['task']}",
        )
    hits = dataset.hits
    example = np.repeat(np.arange(len(dataset.table)), np.diff(hits.offsets))
    own = hits.motif == motif
    score = np.zeros(len(dataset.table), np.float32)
    score[example[own]] = hits.score[own]
    return score


def _column(dataset: Dataset, column: str, name: str, needed: str) -> np.ndarray:
    """Return float32 [n, 1], a column of the examples that may not be null."""
    values = dataset.table[column].to_numpy(np.float32)
    if np.isnan(values).any():
        raise GenebertError(
            f"{name} needs {needed}, which {int(np.isnan(values).sum())} of the {len(values)} examples "
            f"of task '{dataset.metadata['task']}' lack",
            f"leave {name} out of the task's `models`",
            f"benchmarks.tasks.{dataset.metadata['task']}",
        )
    return values[:, None]
