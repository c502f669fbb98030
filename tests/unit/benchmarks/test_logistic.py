"""The logistic regression of baselines and probes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from genebert.benchmarks.baselines import logistic
from genebert.benchmarks.baselines.logistic import PENALTIES, Logistic, fit_logistic
from genebert.errors import GenebertError

Data = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def make_data(classes: int, number: int = 240, width: int = 6, seed: int = 0) -> Data:
    """Features of other scales and places, labels that two of them tell, rows of the two splits."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(number, width))
    labels = np.digitize(features[:, 0] + features[:, 1] + rng.normal(size=number), [-0.5, 1.0])
    labels = np.minimum(labels, classes - 1)
    scaled = features * 10.0 ** np.arange(-2, width - 2) + np.arange(width)
    rows = rng.permutation(number)
    return scaled.astype(np.float32), labels, np.sort(rows[:160]), np.sort(rows[160:])


def balanced_loss(probability: np.ndarray, labels: np.ndarray, training: np.ndarray) -> float:
    weight = 1 / np.bincount(training)[labels]
    return float(np.average(-np.log(probability[np.arange(len(labels)), labels]), weights=weight))


@pytest.mark.parametrize("classes", [2, 3])
def test_the_minimum_is_the_one_a_general_minimiser_finds(classes: int) -> None:
    features, labels, train, validation = make_data(classes)
    model, facts = fit_logistic(features, labels, train, validation, classes)
    x = (features - features[train].mean(0)) / features[train].std(0)

    def loss(flat: np.ndarray) -> float:
        weights, intercept = flat[:-classes].reshape(classes, -1), flat[-classes:]
        logits = x[train] @ weights.T + intercept
        probability = np.exp(logits - logits.max(1, keepdims=True))
        probability /= probability.sum(1, keepdims=True)
        penalised = weights if classes > 2 else weights[1:] - weights[:1]
        own = labels[train]
        return balanced_loss(probability, own, own) + facts["penalty"] / 2 * (penalised**2).sum()

    start = np.zeros(classes * (x.shape[1] + 1))
    found = minimize(loss, start, method="L-BFGS-B", options={"maxiter": 500, "ftol": 1e-13})
    logits = x @ found.x[:-classes].reshape(classes, -1).T + found.x[-classes:]
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(model.predict(features), expected, atol=5e-3)
    ours = np.concatenate([model.weights.ravel(), model.intercept])
    assert loss(ours) == pytest.approx(found.fun, abs=1e-5)


@pytest.mark.parametrize("classes", [2, 3])
def test_validation_chooses_the_penalty(classes: int) -> None:
    features, labels, train, validation = make_data(classes, number=200, seed=3)
    model, facts = fit_logistic(features, labels, train, validation, classes)
    x = (features - features[train].mean(0)) / features[train].std(0)
    losses = []
    for penalty in PENALTIES:  # each from scratch, without the path
        solver = LogisticRegression(
            C=1 / (penalty * len(train)), class_weight="balanced", tol=1e-8, max_iter=10_000
        )
        probability = solver.fit(x[train], labels[train]).predict_proba(x[validation])
        losses.append(balanced_loss(probability, labels[validation], labels[validation]))
    assert facts["penalty"] == PENALTIES[int(np.argmin(losses))]
    assert facts["validation_loss"] == pytest.approx(min(losses), rel=1e-3)
    own = balanced_loss(model.predict(features[validation]), labels[validation], labels[validation])
    assert facts["validation_loss"] == pytest.approx(own)


def test_rows_of_neither_split_change_nothing() -> None:
    features, labels, train, validation = make_data(2)
    held_out = validation[40:]
    first, _ = fit_logistic(features, labels, train, validation[:40], 2)
    features[held_out], labels[held_out] = 1e6, 1 - labels[held_out]
    second, _ = fit_logistic(features, labels, train, validation[:40], 2)
    np.testing.assert_array_equal(first.weights, second.weights)
    np.testing.assert_array_equal(first.intercept, second.intercept)


def test_a_rare_class_weighs_as_much_as_a_common_one() -> None:
    rng = np.random.default_rng(0)
    labels = (rng.random(2000) < 0.05).astype(int)
    features = (labels + rng.normal(size=2000))[:, None]
    model, _ = fit_logistic(features, labels, np.arange(1500), np.arange(1500, 2000), 2)
    said = model.predict(features)[:, 1] > 0.5
    assert said[labels == 1].mean() == pytest.approx(said[labels == 0].mean() * -1 + 1, abs=0.1)


def test_a_class_that_training_lacks_is_not_expected() -> None:
    features, labels, train, validation = make_data(3)
    for lacking in range(3):
        own = train[labels[train] != lacking]
        model, facts = fit_logistic(features, labels, own, validation, 3)
        probability = model.predict(features)
        assert probability.shape == (240, 3)
        assert (probability[:, lacking] < 1e-6).all()
        assert np.isfinite(facts["validation_loss"])


def test_one_class_only_is_refused() -> None:
    features, labels, train, validation = make_data(2)
    with pytest.raises(GenebertError, match="one class"):
        fit_logistic(features, labels, train[labels[train] == 1], validation, 2)


def test_a_feature_that_does_not_vary_is_no_trouble() -> None:
    features, labels, train, validation = make_data(2)
    model, _ = fit_logistic(features, labels, train, validation, 2)
    wider = np.concatenate([features, np.full((240, 1), 300, np.float32)], axis=1)
    constant, _ = fit_logistic(wider, labels, train, validation, 2)
    np.testing.assert_allclose(constant.predict(wider), model.predict(features), atol=1e-5)


def test_the_same_data_give_the_same_bits() -> None:
    features, labels, train, validation = make_data(3, number=600, width=40)
    first, second = (fit_logistic(features, labels, train, validation, 3)[0] for _ in range(2))
    np.testing.assert_array_equal(first.weights, second.weights)


@settings(max_examples=25, deadline=None)
@given(number=st.integers(0, 20), classes=st.integers(2, 4), seed=st.integers(0, 99))
def test_probabilities_are_a_softmax_block_by_block(number: int, classes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    model = Logistic(
        rng.normal(size=3), rng.uniform(1, 2, 3), rng.normal(size=(classes, 3)), rng.normal(size=classes)
    )
    features = rng.normal(size=(number, 3)) * 50
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logistic, "_BLOCK", 7)
        found = model.predict(features)
    assert found.shape == (number, classes)
    for row, probability in zip(features, found, strict=True):
        logits = model.weights @ ((row - model.mean) / model.scale) + model.intercept
        expected = np.exp(logits - logits.max())
        np.testing.assert_allclose(probability, expected / expected.sum(), atol=1e-12)
