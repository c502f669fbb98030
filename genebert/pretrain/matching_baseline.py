"""What a linear map can do on `matching`: the figure that the network is held against."""

import numpy as np

from genebert.sequence.codes import count_kmers

K = 6


def kmer_counts(codes: np.ndarray, k: int = K) -> np.ndarray:
    """Return float32 [n, 4^k], counts of the k-mers of both strands.

    Windows with a base other than A, C, G, T are not counted.

    Parameters
    ----------
    codes
        uint8 [n, length], base codes.
    k
        Window length in bp.
    """
    other_strand = np.where(codes < 4, 3 - codes, codes)[:, ::-1]
    return count_kmers(codes, k) + count_kmers(other_strand, k)


def linear_top1(
    train_codes: np.ndarray,
    train_rows: np.ndarray,
    codes: np.ndarray,
    rows: np.ndarray,
    focal: np.ndarray,
    group: int,
    ridge: float = 1.0,
) -> float:
    """Return top-1 of a ridge regression from k-mer counts to the focal motif vector.

    Parameters
    ----------
    train_codes, train_rows
        Base codes uint8 [n, length] and standardised focal columns float32 [n, T] of training regions.
    codes, rows, focal
        The same of the samples to match, in the network's groups, and their region rows [m].
    group
        Candidates of each match.
    ridge
        Penalty relative to the mean squared norm of a training example.
    """
    train, test = np.sqrt(kmer_counts(train_codes)), np.sqrt(kmer_counts(codes))
    centre = train.mean(0)
    train, test = train - centre, test - centre
    kernel = train @ train.T
    # Above zero also where all sequences are alike.
    penalty = max(ridge * float(np.trace(kernel)) / len(kernel), 1e-6)
    dual = np.linalg.solve(kernel + penalty * np.eye(len(kernel), dtype=np.float32), train_rows)
    predicted = (test @ train.T) @ dual
    right = 0
    for start in range(0, len(predicted), group):
        part = slice(start, start + group)
        left, other = _unit(predicted[part]), _unit(rows[part])
        similarity = left @ other.T
        same = (focal[part][:, None] == focal[part]) & ~np.eye(len(left), dtype=bool)
        similarity[same] = -np.inf
        right += int((similarity.argmax(1) == np.arange(len(left))).sum())
    return right / len(predicted)


def _unit(rows: np.ndarray) -> np.ndarray:
    length: np.ndarray = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / length.clip(min=1e-12)
