"""Brute-force scan: the oracle that the tests hold the fast scanner against."""

import numpy as np

from genebert.motifs.table import ScoredMotif

_CODE = {base: code for code, base in enumerate("ACGT")}


def brute_force(sequence: str, motifs: list[ScoredMotif]) -> list[tuple[int, int, int, float]]:
    """Score every window on both strands, one by one.

    Returns
    -------
    list
        (motif row, position in bp of the leftmost base, strand 1 or −1, score), sorted.
    """
    codes = [_CODE.get(base, -1) for base in sequence]
    hits = []
    for row, motif in enumerate(motifs):
        length = motif.log_odds.shape[1]
        for strand, matrix in ((1, motif.log_odds), (-1, motif.log_odds[::-1, ::-1])):
            for position in range(len(sequence) - length + 1):
                window = codes[position : position + length]
                if -1 in window:
                    continue
                score = float(matrix[window, np.arange(length)].sum())
                if score >= motif.threshold:
                    hits.append((row, position, strand, score))
    return sorted(hits)
