"""Folds of variants: what is alike, by place or by matching, stays together."""

from typing import Any

import numpy as np
import pandas as pd

from genebert.errors import GenebertError

# How files write that there is no value.
_NONE = ("", ".", "na", "nan", "none", "null")


def sets_of(table: pd.DataFrame) -> pd.Series:
    """Return the matched set of each variant, as text.

    A variant whose cell is empty (or ``.``, ``NA``) is in the set of its own id: that of the variants
    that name it. One that has no id either is in a set of its own.

    Parameters
    ----------
    table
        ``group`` and ``id`` as :func:`genebert.inputs.variants.read_variants` returns them, and chrom,
        position, ref and alt.
    """
    names, ids = table["group"].str.strip(), table["id"].str.strip()
    places = table["chrom"] + ":" + table["position"].astype(str)
    own = ids.where(~_is_none(ids), places + " " + table["ref"] + ">" + table["alt"])
    return names.where(~_is_none(names), own)


def folds_of(
    table: pd.DataFrame, folds: int, block_bp: int, where: str, sets: pd.Series | None = None
) -> tuple[np.ndarray, str]:
    """Deal chromosomes out such that folds are even; where there are fewer than folds, blocks.

    The largest goes first, each to the fold that has fewest variants. A matched set is not cut: all of
    it goes where its first case lies (by contig and start; without a case, its first variant). Else what
    is matched exactly, such as the substitution, would differ between the classes of a fold by the
    opposite of what it differs by in the others, and what is learnt there would be wrong by design.

    Parameters
    ----------
    table
        chrom, start and, with sets, label.
    folds
        How many.
    block_bp
        Blocks are of that size, by the start of the window.
    where
        The task's key, for messages.
    sets
        The matched set of each variant.

    Returns
    -------
    fold
        int64 [n], of each variant.
    line
        For the log: how many sets there are, how many of them lack a class, and how many have members
        elsewhere, which follow their first case; empty without sets.

    Raises
    ------
    GenebertError
        If there are fewer blocks than folds, too.
    """
    homes = table[["chrom", "start"]] if sets is None else _first_cases(table, sets)
    by_block = homes["chrom"].nunique() < folds
    names, sizes = _places(homes, block_bp, by_block)
    if len(sizes) < folds:
        raise GenebertError(
            f"the variants lie in {len(sizes)} blocks of {block_bp} bp, too few for {folds} folds",
            "lower `folds` or `benchmarks.block_bp`, or give variants of more places",
            where,
        )
    filled, fold_of = [0] * folds, {}
    for name, size in sorted(sizes.items(), key=lambda item: (-item[1], item[0])):
        fold = filled.index(min(filled))
        fold_of[name] = fold
        filled[fold] += size
    found = np.array([fold_of[name] for name in names], dtype=np.int64)
    if sets is None:
        return found, ""
    own, _ = _places(table, block_bp, by_block)
    away = [name != home for name, home in zip(own, names, strict=True)]
    reach = int(pd.Series(away, index=table.index).groupby(sets).any().sum())
    lacking = int((table.groupby(sets)["label"].nunique() < 2).sum())
    place = "block" if by_block else "chromosome"
    return found, (
        f"{sets.nunique()} matched sets, {lacking} of them without a case or a control, {reach} beyond "
        f"the {place} of their first case: each in one fold"
    )


def _first_cases(table: pd.DataFrame, sets: pd.Series) -> pd.DataFrame:
    """Return chrom and start of the first case of each variant's set, a row a variant."""
    order = table.assign(_set=sets).sort_values(
        ["label", "chrom", "start"], ascending=[False, True, True]
    )
    first = order.drop_duplicates("_set").set_index("_set")[["chrom", "start"]]
    return first.loc[sets].set_index(table.index)


def _places(table: pd.DataFrame, block_bp: int, by_block: bool) -> tuple[list[Any], dict[Any, int]]:
    """Return the chromosome, or the block, of each row, and how many rows each has."""
    names = list(table["chrom"])
    if by_block:
        names = list(zip(names, table["start"].to_numpy() // block_bp, strict=True))
    sizes: dict[Any, int] = {}
    for name in names:
        sizes[name] = sizes.get(name, 0) + 1
    return names, sizes


def _is_none(texts: pd.Series) -> pd.Series:
    return texts.str.lower().isin(_NONE)
