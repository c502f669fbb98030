"""The order of motifs as rows of a TF × region matrix: neighbours share windows of attention."""

from collections.abc import Sequence

import numpy as np
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from genebert.errors import GenebertError
from genebert.motifs.motif import Motif


def row_order(motifs: Sequence[Motif], order: str) -> list[int]:
    """Return the motifs' indices in row order: by ``similarity``, by ``family``, or as in the ``file``.

    The first two depend on the motifs only, not on their order in the file.

    Raises
    ------
    GenebertError
        If the order is ``family`` and no motif has one.
    """
    if order == "similarity":
        return order_by_similarity(motifs)
    if order == "family":
        return order_by_family(motifs)
    if order == "file":
        return list(range(len(motifs)))
    raise ValueError(order)


def order_by_family(motifs: Sequence[Motif]) -> list[int]:
    """Return indices by class and family, by similarity within a family; unknown families last."""
    groups: dict[tuple[bool, str, str], list[int]] = {}
    for index, motif in enumerate(motifs):
        unknown = not (motif.tf_class or motif.tf_family)
        groups.setdefault((unknown, motif.tf_class, motif.tf_family), []).append(index)
    if all(unknown for unknown, _, _ in groups):
        raise GenebertError(
            "no motif has a family to be ordered by",
            "give motifs.families (its ids with their versions), or another order",
            "motifs.order",
        )
    return [
        members[place]
        for _, members in sorted(groups.items())
        for place in order_by_similarity([motifs[index] for index in members])
    ]


def order_by_similarity(motifs: Sequence[Motif]) -> list[int]:
    """Return the motifs' indices such that similar ones are neighbours.

    Leaves of an average-linkage tree over 1 − similarity; the similarity of two motifs is their best
    normalised cross-correlation over offsets and strands (base frequencies − 1/4, zero outside).
    The result depends on the matrices only, not on their order in the file.
    """
    if len(motifs) < 3:
        return sorted(range(len(motifs)), key=lambda i: motifs[i].matrix_id)
    by_id = sorted(range(len(motifs)), key=lambda i: motifs[i].matrix_id)
    similarity = similarity_matrix([motifs[i] for i in by_id])
    distance = np.round(1 - similarity, 5)  # rounding hides differences between BLAS builds
    np.fill_diagonal(distance, 0)
    leaves = leaves_list(linkage(squareform(distance, checks=False), "average"))
    return [by_id[leaf] for leaf in leaves]


def similarity_matrix(motifs: Sequence[Motif]) -> np.ndarray:
    """Return float64 [n, n], the best normalised cross-correlation of each pair, in [−1, 1]."""
    n, longest = len(motifs), max(motif.counts.shape[1] for motif in motifs)
    padded = np.zeros((n, 4, longest))
    reverse = np.zeros((n, 4, longest))
    for i, motif in enumerate(motifs):
        centred = motif.counts / motif.counts.sum(axis=0) - 0.25
        centred = centred / max(float(np.linalg.norm(centred)), 1e-12)
        padded[i, :, : centred.shape[1]] = centred
        reverse[i, :, : centred.shape[1]] = centred[::-1, ::-1]
    best = np.full((n, n), -1.0)
    fixed = padded.reshape(n, -1)
    for other in (padded, reverse):
        for offset in range(1 - longest, longest):
            shifted = np.zeros_like(other)
            if offset >= 0:
                shifted[:, :, offset:] = other[:, :, : longest - offset]
            else:
                shifted[:, :, :offset] = other[:, :, -offset:]
            np.maximum(best, fixed @ shifted.reshape(n, -1).T, out=best)
    return np.maximum(best, best.T)
