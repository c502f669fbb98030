"""Held-out genes that share exonic sequence with training genes."""

from collections.abc import Sequence

import numpy as np

from genebert.sequence.codes import encode
from genebert.sequence.sketch import K, canonical

# Copies that differ in 7 bases of 100, here and there, share a fifth of their k-mers (0.93^21 = 0.22).
# What unrelated genes share, repeats in untranslated exons, is less: at most 0.08 of a gene in the demo.
SHARED = 0.2


def shared_with(sequences: Sequence[str], training: Sequence[str]) -> np.ndarray:
    """Return float64 [n], the fraction of each sequence's k-mers that any training sequence holds.

    Each k-mer of a sequence counts once, and with its reverse complement as one: a copy on the other
    strand counts alike. 0 where a sequence is shorter than k.
    """
    words = [np.unique(_kmers(sequence)) for sequence in sequences]
    known = np.unique(np.concatenate([np.empty(0, np.uint64), *words]))
    seen = np.zeros(len(known), dtype=bool)
    for sequence in training if len(known) else ():
        own = _kmers(sequence)
        at = np.minimum(np.searchsorted(known, own), len(known) - 1)
        seen[at[known[at] == own]] = True
    return np.array([seen[np.searchsorted(known, own)].mean() if len(own) else 0.0 for own in words])


def _kmers(sequence: str) -> np.ndarray:
    words, known = canonical(encode(sequence)[None], K)
    own: np.ndarray = words[known]
    return own
