"""Regularised logistic regressions on what each modality holds at its simplest."""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from genebert.benchmarks.dataset import Dataset
from genebert.sequence.codes import count_kmers

K = 5
# Inverse penalties tried; the validation split chooses.
PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)


def kmer_features(dataset: Dataset) -> np.ndarray:
    """Return float32 [n, 4^5], 5-mer counts of the strand given."""
    return count_kmers(dataset.codes, K)


def motif_features(dataset: Dataset, motifs: int) -> np.ndarray:
    """Return float32 [n, T], the best hit of each motif in the example's own sequence."""
    features = np.zeros((len(dataset.table), motifs), dtype=np.float32)
    rows = np.repeat(np.arange(len(features)), np.diff(dataset.hit_offsets))
    features[rows, dataset.hit_motif] = dataset.hit_score
    return features


def fit_predict(features: np.ndarray, dataset: Dataset, seed: int) -> np.ndarray:
    """Fit on the training split, choose the penalty on validation; return P(class 1), float64 [n]."""
    train, validation = dataset.in_split("train"), dataset.in_split("validation")
    labels = dataset.labels
    best, best_loss = None, np.inf
    for penalty in PENALTIES:
        model = make_pipeline(
            StandardScaler(), LogisticRegression(C=penalty, max_iter=2000, random_state=seed)
        )
        model.fit(features[train], labels[train])
        loss = log_loss(labels[validation], model.predict_proba(features[validation]), labels=[0, 1])
        if loss < best_loss:
            best, best_loss = model, loss
    assert best is not None
    return best.predict_proba(features)[:, 1]
