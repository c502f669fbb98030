import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logit
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.metrics import roc_auc_score

from genebert.benchmarks.nested_cv import INNER, SHARES, Folds, predict, stratified_folds

FOLDS = 5


def _world(seed: int, n: int = 150, regions: int = 8, covariates: int = 2) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    burden = rng.poisson(1.0, (n, regions)) * rng.uniform(0.2, 3, regions)
    known = rng.normal(size=(n, covariates))
    signal = burden[:, 0] - burden[:, 1] + known.sum(1) + rng.normal(size=n)
    return burden, known, (signal > np.median(signal)).astype(np.int64)


def _by_hand(
    burden: np.ndarray, covariates: np.ndarray, folds: Folds, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The same by scikit-learn, a fit at a time: scores less the prior, and coefficients of folds."""

    def fitted(rows: np.ndarray, share: float) -> tuple[object, np.ndarray]:
        # Covariates go unpenalised by taking them off first (Frisch, Waugh and Lovell).
        off = LinearRegression().fit(covariates[rows], burden[rows])
        own = burden[rows] - off.predict(covariates[rows])
        penalty = (own**2).sum() / len(rows) * (1 - share) / share
        slopes = Ridge(penalty, fit_intercept=False).fit(own, labels[rows] - labels[rows].mean()).coef_
        rest = LinearRegression().fit(covariates[rows], labels[rows] - burden[rows] @ slopes)
        return rest, slopes

    def scores(rows: np.ndarray, test: np.ndarray, share: float) -> np.ndarray:
        rest, slopes = fitted(rows, share)
        return rest.predict(covariates[test]) + burden[test] @ slopes  # type: ignore[attr-defined]

    found, coefficients = np.empty(len(labels)), []
    for outer in np.unique(folds.outer):
        train = np.flatnonzero(folds.outer != outer)
        errors = []
        for share in SHARES:
            error = 0.0
            for inner in range(INNER):
                held = folds.inner[train] == inner
                guess = scores(train[~held], train[held], share)
                error += float(((guess - labels[train[held]]) ** 2).sum())
            errors.append(error)
        share = SHARES[int(np.argmin(errors))]
        test = np.flatnonzero(folds.outer == outer)
        prior = labels[train].mean()
        found[test] = (scores(train, test, share) - prior) / (prior * (1 - prior))
        coefficients.append(fitted(train, share)[1])
    return found, np.array(coefficients)


@pytest.mark.parametrize("covariates", [0, 2])
def test_predictions_are_those_of_one_fit_at_a_time(covariates: int) -> None:
    burden, known, labels = _world(1)
    # scikit-learn regresses on no fewer than one column; a constant one changes nothing.
    known = known[:, :covariates] if covariates else np.ones((len(known), 1))
    folds = stratified_folds(labels, FOLDS, 3)
    found = predict(burden, known if covariates else known[:, :0], folds, labels[:, None])
    log_odds, coefficients = _by_hand(burden, known, folds, labels)
    np.testing.assert_allclose(logit(found.probability[:, 0]), log_odds, atol=1e-8)
    np.testing.assert_allclose(found.coefficient, coefficients, atol=1e-9)
    assert set(found.share) <= set(SHARES)


def test_phenotypes_side_by_side_do_not_mix() -> None:
    burden, known, labels = _world(2)
    folds = stratified_folds(labels, FOLDS, 3)
    many = np.column_stack([labels, 1 - labels, np.roll(labels, 7)])
    together = predict(burden, known, folds, many).probability
    for column in range(3):
        alone = predict(burden, known, folds, many[:, [column]]).probability
        np.testing.assert_allclose(together[:, [column]], alone, atol=1e-12)


def test_a_signal_is_found_and_weighs_most() -> None:
    burden, known, labels = _world(3)
    found = predict(burden, known, stratified_folds(labels, FOLDS, 3), labels[:, None])
    assert roc_auc_score(labels, found.probability[:, 0]) > 0.85
    weight = found.coefficient.mean(0) * burden.std(0)
    assert {int(row) for row in np.argsort(-np.abs(weight))[:2]} == {0, 1}
    assert weight[0] > 0 > weight[1]


def test_what_is_held_out_has_no_say_in_its_prediction() -> None:
    burden, known, labels = _world(4)
    folds = stratified_folds(labels, FOLDS, 3)
    before = predict(burden, known, folds, labels[:, None])
    test = folds.outer == 2
    changed = np.where(test, 1 - labels, labels)
    after = predict(burden, known, folds, changed[:, None])
    np.testing.assert_array_equal(before.probability[test], after.probability[test])
    np.testing.assert_array_equal(before.coefficient[2], after.coefficient[2])
    assert (before.probability[~test] != after.probability[~test]).all(), "the others learn from it"
    # Nor has another's burden: not in means, deviations or the penalty.
    burden, known = burden.copy(), known.copy()
    one = np.flatnonzero(test)[0]
    burden[one], known[one] = 1e3, -1e3
    moved = predict(burden, known, folds, labels[:, None])
    rest = test & (np.arange(len(labels)) != one)
    np.testing.assert_array_equal(before.probability[rest], moved.probability[rest])


def test_a_feature_that_leaks_only_where_it_is_tested_gives_nothing_away() -> None:
    rng = np.random.default_rng(5)
    labels = rng.permutation(np.arange(300) % 2)
    folds = stratified_folds(labels, FOLDS, 3)
    leak = np.zeros((300, FOLDS))
    leak[np.arange(300), folds.outer] = labels
    found = predict(leak, np.empty((300, 0)), folds, labels[:, None])
    assert len(np.unique(found.probability.astype(np.float32))) == 1
    as_one = predict(leak.sum(1, keepdims=True), np.empty((300, 0)), folds, labels[:, None])
    assert roc_auc_score(labels, as_one.probability[:, 0]) == 1, "seen in training, it is a signal"


def test_size_of_burdens_matters_between_regions_but_not_their_unit() -> None:
    burden, known, labels = _world(6)
    folds = stratified_folds(labels, FOLDS, 3)
    own = predict(burden, known, folds, labels[:, None]).probability
    unit = predict(burden * 1e-4, known * 50 + 3, folds, labels[:, None]).probability
    np.testing.assert_allclose(own, unit, atol=1e-8)
    weighted = predict(burden * np.geomspace(1, 1e-3, 8), known, folds, labels[:, None]).probability
    assert np.abs(own - weighted).max() > 0.05


def test_burdens_that_say_nothing_new_change_nothing() -> None:
    burden, known, labels = _world(7)
    folds = stratified_folds(labels, FOLDS, 3)
    alone = predict(burden[:, :0], known, folds, labels[:, None]).probability
    spent = np.column_stack([np.full(150, 0.1), np.zeros(150), known @ [1.0, 2.0] + 4])
    np.testing.assert_allclose(
        predict(spent, known, folds, labels[:, None]).probability, alone, atol=1e-9
    )
    more = np.column_stack([burden, spent])
    np.testing.assert_allclose(
        predict(more, known, folds, labels[:, None]).probability,
        predict(burden, known, folds, labels[:, None]).probability,
        atol=1e-9,
    )


def test_classes_count_alike_however_rare() -> None:
    rng = np.random.default_rng(8)
    labels = (np.arange(400) < 60).astype(np.int64)
    burden = labels[:, None] + rng.normal(size=(400, 1))
    found = predict(burden, np.empty((400, 0)), stratified_folds(labels, FOLDS, 3), labels[:, None])
    called = found.probability[:, 0] > 0.5
    assert called[labels == 1].mean() > 0.5
    assert (~called)[labels == 0].mean() > 0.5


@settings(max_examples=25, deadline=None)
@given(
    cases=st.integers(30, 70), controls=st.integers(30, 70), folds=st.integers(2, 5), seed=st.integers(0)
)
def test_every_cell_of_the_folds_has_its_share_of_both_classes(
    cases: int, controls: int, folds: int, seed: int
) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat([1, 0], [cases, controls]))
    found = stratified_folds(labels, folds, seed)
    cells = list(found.cells())
    assert sorted(np.concatenate(cells).tolist()) == list(range(cases + controls))
    assert len(cells) == folds * INNER
    for label in (0, 1):
        sizes = [int((labels[rows] == label).sum()) for rows in cells]
        assert max(sizes) - min(sizes) <= 1
    again = stratified_folds(labels, folds, seed)
    np.testing.assert_array_equal(found.outer, again.outer)
    np.testing.assert_array_equal(found.inner, again.inner)
