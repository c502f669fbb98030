"""Scores of every position of held-out genes, as splice-site predictors are compared by."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from genebert.benchmarks.genes import ACCEPTOR, CLASSES, DONOR, NEITHER, read_genes_to_score, site_offset
from genebert.progress import Progress
from genebert.sequence.codes import encode

SPLIT = "positions"
_BLOCK = 4096  # windows that a model is asked for at a time


def score(
    companion: str | Path, of_sequences: Callable[[np.ndarray], np.ndarray]
) -> tuple[pd.DataFrame, np.ndarray]:
    """Score the window around every position of the genes, on their strand.

    Parameters
    ----------
    companion
        ``genes.parquet``.
    of_sequences
        uint8 [n, width] base codes (N is 4) -> float [n, 3], probabilities of the classes.

    Returns
    -------
    table
        DataFrame [n], a row a position in transcript order: ``chrom``, ``start``, ``end`` (one bp),
        ``strand``, ``label``, ``cell_type`` (``any``), ``split`` (``positions``) and ``subset`` (the
        gene). Text is categorical: there are millions of rows.
    scores
        float32 [n, 3].

    Raises
    ------
    GenebertError
        If the file is missing, damaged or of another contract.
    """
    genes, width = read_genes_to_score(companion)
    rows = list(genes.itertuples(index=False))
    lengths = np.array([gene.end - gene.start for gene in rows], dtype=np.int64)
    scores = np.empty((lengths.sum(), len(CLASSES)), dtype=np.float32)
    starts, labels = np.empty(len(scores), np.int64), np.empty(len(scores), np.int32)
    begin = 0
    for gene, length in Progress(list(zip(rows, lengths, strict=True)), "genes scored"):
        part = slice(begin, begin + length)
        starts[part] = np.arange(gene.start, gene.end)[:: 1 if gene.strand == "+" else -1]
        labels[part] = _labels(gene, width)
        windows = _windows(gene, width)
        for block in range(0, length, _BLOCK):
            found = of_sequences(np.ascontiguousarray(windows[block : block + _BLOCK]))
            scores[begin + block : begin + min(block + _BLOCK, length)] = found
        begin += length
    table = pd.DataFrame({"start": starts, "end": starts + 1, "label": labels})
    row_of = np.repeat(np.arange(len(rows)), lengths)
    for name, column in (("chrom", "chrom"), ("strand", "strand"), ("subset", "gene")):
        values = pd.Categorical(genes[column])
        table[name] = pd.Categorical.from_codes(values.codes[row_of], dtype=values.dtype)
    for name, value in (("cell_type", "any"), ("split", SPLIT)):
        table[name] = pd.Categorical.from_codes(np.zeros(len(table), np.int8), [value])
    return table, scores


def _windows(gene: Any, width: int) -> np.ndarray:
    """Return uint8 [length of the stretch, width], a view: the window of each of its positions."""
    windows = np.lib.stride_tricks.sliding_window_view(encode(gene.sequence), width)
    first = width // 2 - site_offset(width)
    return windows[first : first + gene.end - gene.start]


def _labels(gene: Any, width: int) -> np.ndarray:
    """Return int32 [length of the stretch]; a place that is both is called a donor."""
    labels = np.full(len(gene.sequence), NEITHER, dtype=np.int32)
    labels[gene.acceptors] = ACCEPTOR
    labels[gene.donors] = DONOR
    beside = width // 2
    assert len(labels) == gene.end - gene.start + 2 * beside, "a base for each position and flank"
    return labels[beside : beside + gene.end - gene.start]
