"""Folds of variants: by place and by matched set, against brute force."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from genebert.benchmarks.cross_validation import out_of_fold
from genebert.benchmarks.tasks.folds import folds_of, sets_of
from genebert.errors import GenebertError

BLOCK = 1000
Place = tuple[int, int]


def places_of(places: list[Place]) -> pd.DataFrame:
    return pd.DataFrame(
        {"chrom": [f"c{chrom}" for chrom, _ in places], "start": [at for _, at in places]}
    )


def brute_names(table: pd.DataFrame, folds: int) -> list[object]:
    """Chromosomes, or blocks where there are fewer than folds."""
    if table["chrom"].nunique() >= folds:
        return table["chrom"].tolist()
    return list(zip(table["chrom"], table["start"] // BLOCK, strict=True))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 5000)), min_size=1, max_size=80),
    st.integers(2, 6),
)
def test_any_folds_keep_their_word(places: list[Place], folds: int) -> None:
    table = places_of(places)
    names = brute_names(table, folds)
    if len(set(names)) < folds:
        with pytest.raises(GenebertError, match="too few"):
            folds_of(table, folds, BLOCK, "here")
        return
    found, line = folds_of(table, folds, BLOCK, "here")
    assert line == ""
    assert set(found) == set(range(folds))
    assert len({(name, fold) for name, fold in zip(names, found, strict=True)}) == len(set(names))
    # No dealing out by size can leave two folds further apart than one name.
    sizes = Counter(found.tolist())
    assert max(sizes.values()) - min(sizes.values()) <= max(Counter(names).values())
    order = np.random.default_rng(0).permutation(len(table))
    again, _ = folds_of(table.iloc[order].reset_index(drop=True), folds, BLOCK, "here")
    assert np.array_equal(again, found[order]), "the order of rows does not matter"


def test_the_largest_go_first_each_to_the_emptiest_fold() -> None:
    """Five chromosomes of 5, 4, 3, 3 and 3 variants: 5 | 4, then 5 | 7, 8 | 7, 8 | 10."""
    sizes = {"c": 3, "a": 5, "d": 3, "b": 4, "e": 3}
    chrom = [name for name, size in sizes.items() for _ in range(size)]
    table = pd.DataFrame({"chrom": chrom, "start": range(len(chrom))})
    found = dict(zip(chrom, folds_of(table, 2, BLOCK, "here")[0].tolist(), strict=True))
    assert found == {"a": 0, "b": 1, "c": 1, "d": 0, "e": 1}


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 5000), st.integers(0, 12), st.integers(0, 1)),
        min_size=8,
        max_size=80,
    ),
    st.integers(2, 5),
)
def test_a_set_is_in_the_fold_of_its_first_case(
    rows: list[tuple[int, int, int, int]], folds: int
) -> None:
    table = places_of([row[:2] for row in rows]).assign(label=[row[3] for row in rows])
    sets = pd.Series([f"s{row[2]}" for row in rows])
    homes = []
    for own in sets:
        members = table[sets == own]
        cases = members[members["label"] == 1] if members["label"].any() else members
        homes.append(min(zip(cases["chrom"], cases["start"], strict=True)))
    home = pd.DataFrame(homes, columns=["chrom", "start"])
    names = brute_names(home, folds)
    if len(set(names)) < folds:
        with pytest.raises(GenebertError, match="too few"):
            folds_of(table, folds, BLOCK, "here", sets)
        return
    found, line = folds_of(table, folds, BLOCK, "here", sets)
    assert set(found) == set(range(folds))
    assert len(set(zip(sets, found, strict=True))) == sets.nunique(), "no set is cut"
    assert len(set(zip(names, found, strict=True))) == len(set(names)), "nor a place of first cases"
    by_block = home["chrom"].nunique() < folds
    own = [(row.chrom, row.start // BLOCK if by_block else 0) for row in table.itertuples()]
    at = [(row.chrom, row.start // BLOCK if by_block else 0) for row in home.itertuples()]
    reach = len({name for name, one, two in zip(sets, own, at, strict=True) if one != two})
    lacking = sum(len(set(table["label"][sets == name])) == 1 for name in set(sets))
    assert line == (
        f"{sets.nunique()} matched sets, {lacking} of them without a case or a control, {reach} beyond "
        f"the {'block' if by_block else 'chromosome'} of their first case: each in one fold"
    )
    order = np.random.default_rng(0).permutation(len(table))
    again = folds_of(table.iloc[order], folds, BLOCK, "here", sets.iloc[order])
    assert np.array_equal(again[0], found[order])
    assert again[1] == line


def test_a_case_without_a_set_is_in_that_of_the_variants_that_name_it() -> None:
    rows = [
        # id, group: a case, itself; a case that says nothing; theirs; nobody's; nameless.
        ("rs1", "rs1"),
        ("rs2", ""),
        ("rs3", " rs1 "),
        ("rs4", "rs2"),
        ("rs5", "NA"),
        ("rs6", "."),
        (".", "nan"),
        ("", "."),
        (".", "rs2"),
    ]
    table = pd.DataFrame(rows, columns=["id", "group"])
    table = table.assign(chrom="c", position=np.arange(len(rows)), ref="A", alt="C")
    assert sets_of(table).tolist() == [
        "rs1",
        "rs2",
        "rs1",
        "rs2",
        "rs5",
        "rs6",
        "c:6 A>C",
        "c:7 A>C",
        "rs2",
    ]


def test_what_is_matched_exactly_tells_nothing_unless_sets_are_cut() -> None:
    """Sets of one case and four controls, all of one value: no model can do better than chance."""
    rng = np.random.default_rng(7)
    number, size = 60, 5
    table = pd.DataFrame(
        {
            "chrom": "c",
            "start": rng.integers(0, 50 * BLOCK, number * size),
            "label": np.tile([1] + [0] * (size - 1), number),
        }
    )
    sets = pd.Series(np.repeat([f"s{row}" for row in range(number)], size))
    features = np.repeat(rng.normal(size=(number, 3)), size, axis=0)

    def auroc(own: pd.Series | None) -> float:
        folds, _ = folds_of(table, 5, BLOCK, "here", own)
        scores, _ = out_of_fold(features, table["label"].to_numpy(), folds, "here")
        return float(roc_auc_score(table["label"], scores[:, 1]))

    assert auroc(sets) == pytest.approx(0.5, abs=1e-3)
    assert auroc(None) < 0.45
