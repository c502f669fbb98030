import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from genebert.benchmarks.nested_cv import stratified_folds
from genebert.benchmarks.permutation import aurocs, draw_cases, p_value, redraw


def test_each_choice_of_cases_is_drawn_as_often_as_its_odds_say() -> None:
    log_odds = np.array([-1.0, 0.0, 0.5, 2.0, -3.0])
    drawn = draw_cases(log_odds, 2, 40_000, np.random.default_rng(0))
    chances = {pair: np.exp(log_odds[list(pair)].sum()) for pair in itertools.combinations(range(5), 2)}
    for pair, chance in chances.items():
        found = (drawn[list(pair)] == 1).all(0).mean()
        assert found == pytest.approx(chance / sum(chances.values()), abs=0.008)


@settings(max_examples=40, deadline=None)
@given(
    log_odds=st.lists(st.floats(-60, 60), min_size=1, max_size=30),
    fraction=st.floats(0, 1),
    seed=st.integers(0, 99),
)
def test_every_draw_has_as_many_cases(log_odds: list[float], fraction: float, seed: int) -> None:
    cases = round(fraction * len(log_odds))
    drawn = draw_cases(np.array(log_odds), cases, 7, np.random.default_rng(seed))
    assert drawn.shape == (len(log_odds), 7)
    assert drawn.sum(0).tolist() == [cases] * 7


def test_redraws_keep_the_cells_and_follow_the_covariates() -> None:
    rng = np.random.default_rng(1)
    known = rng.normal(size=(600, 2))
    chance = 1 / (1 + np.exp(-1.5 * known[:, 0]))
    labels = (rng.random(600) < chance).astype(np.int64)
    folds = stratified_folds(labels, 5, 2)
    drawn = redraw(labels, known, folds, 200, 3)
    for rows in folds.cells():
        assert set(drawn[rows].sum(0).tolist()) == {int(labels[rows].sum())}
    # Far more cases where the covariate is high, as in truth; the other does not matter.
    slope = [np.corrcoef(known[:, column], drawn.mean(1))[0, 1] for column in (0, 1)]
    assert slope[0] > 0.9
    assert abs(slope[1]) < 0.3
    assert np.abs(drawn.mean(1) - chance).mean() < 0.08
    plain = redraw(labels, known[:, :0], folds, 200, 3).mean(1)
    assert np.abs(plain - labels.mean()).max() < 0.2
    assert len({column.tobytes() for column in drawn.T}) == 200
    np.testing.assert_array_equal(drawn, redraw(labels, known, folds, 200, 3))


def test_covariates_that_tell_the_classes_apart_leave_nothing_to_draw() -> None:
    labels = np.arange(90) % 2
    drawn = redraw(labels, labels[:, None] * 3.0, stratified_folds(labels, 5, 1), 20, 1)
    assert (drawn == labels[:, None]).mean() > 0.99


def test_aurocs_are_scikit_learns_ties_included() -> None:
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 2, (60, 9))
    scores = rng.integers(0, 6, (60, 9)) / 5
    expected = [roc_auc_score(labels[:, column], scores[:, column]) for column in range(9)]
    np.testing.assert_allclose(aurocs(labels, scores), expected, atol=1e-12)


def test_p_counts_the_observed_value_in() -> None:
    assert p_value(0.5, np.array([0.1, 0.5, 0.6, 0.2])) == 3 / 5
    assert p_value(0.7, np.array([0.1, 0.5, 0.6, 0.2])) == 1 / 5
    assert p_value(0.7, np.empty(0)) is None
