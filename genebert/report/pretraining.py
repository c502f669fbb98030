"""The table of held-out figures of pre-training, and what may be read from it."""

import math
from collections.abc import Sequence
from itertools import groupby
from typing import Any, NamedTuple

from genebert.report.histories import Run, by_variant
from genebert.report.measures import Measure, mean, measures_of, references

# A smaller difference is not seen in the table.
_LEAST = 0.001
# For one variant, and for several.
_VERBS = {
    "above": ("beats", "beat"),
    "level": ("does not differ clearly from", "do not differ clearly from"),
    "below": ("stays below", "stay below"),
}


class Cell(NamedTuple):
    """A mean over seeds, and the smallest and the largest of them."""

    mean: str = "–"
    spread: str = ""


def section(runs: Sequence[Run]) -> dict[str, Any]:
    """Return what the page's template needs to know of pre-training, beside the figure.

    Parameters
    ----------
    runs
        At least one of a trained variant.
    """
    measures = measures_of(runs)
    groups = by_variant(runs)
    return {
        "measures": measures,
        "metrics": [measure.metric for measure in measures],
        "heads": [(task, len(list(same))) for task, same in groupby(measures, lambda m: m.task)],
        "rows": [_row(variant, group, measures) for variant, group in groups.items()],
        "baselines": _baseline_rows(runs, measures),
        "verdict": verdict(runs),
        "seeds": max(map(len, groups.values())),
        "settings": next(run.settings for run in runs if run.recipe.trained),
        "masked": _held_out_fraction(runs),
        "untrained": any(not run.recipe.trained for run in runs),
        "controls": [name for name, group in groups.items() if group[0].is_control],
    }


def _row(variant: str, runs: Sequence[Run], measures: Sequence[Measure]) -> dict[str, Any]:
    return {
        "variant": variant,
        "recipe": recipe_line(runs[0]),
        "seeds": len(runs),
        "masking": masking_line(runs),
        "cells": [_cell(measure, measure.values(runs)) for measure in measures],
    }


def _cell(measure: Measure, values: Sequence[float]) -> Cell:
    if not values:
        return Cell()
    low, high = measure.number(min(values)), measure.number(max(values))
    return Cell(measure.number(mean(values)), f"{low} to {high}" if len(values) > 1 else "")


def recipe_line(run: Run) -> str:
    """Return the objectives of a run's variant, with their weights, in a few words."""
    if not run.recipe.trained:
        return "untrained: random weights"
    words = [f"{name} {weight:g}" for name, weight in run.recipe.weights().items()]
    if run.is_control:
        words.append("matrices of other loci")
    if run.recipe.init_from:
        words.append(f"from {run.recipe.init_from}")
    return ", ".join(words)


def masking_line(runs: Sequence[Run]) -> str:
    """Return a variant's strategy of masking, and the fraction of tokens that it masked in training."""
    recipe = runs[0].recipe
    if not recipe.masked_sequence:
        return "–"
    fraction = mean([run.rows("train", "masked_sequence_fraction").mean() for run in runs])
    line = f"{recipe.masking}: {100 * fraction:.1f}\u00a0%"
    if recipe.masking.startswith("cm_"):
        hard = sum(run.rows("train", "masking_global_pmi_steps").sum() for run in runs)
        share = hard / sum(run.settings.steps for run in runs)
        line += f", global_pmi in {100 * share:.0f}\u00a0% of steps"
    return line


def _baseline_rows(runs: Sequence[Run], measures: Sequence[Measure]) -> list[dict[str, Any]]:
    rows: dict[str, dict[str, str]] = {}
    for measure in measures:
        for reference in references(runs, measure):
            rows.setdefault(reference.label, {})[measure.metric] = measure.number(reference.value)
    return [
        {"label": label, "cells": [own.get(measure.metric, "") for measure in measures]}
        for label, own in rows.items()
    ]


def _held_out_fraction(runs: Sequence[Run]) -> float | None:
    """Return the fraction of tokens that is masked in held-out views: one for all variants and seeds."""
    return next(
        (run.final["masked_sequence_fraction"] for run in runs if run.recipe.masked_sequence), None
    )


def verdict(runs: Sequence[Run]) -> list[str]:
    """Return, for each measure that has baselines, sentences on which variants beat them.

    Parameters
    ----------
    runs
        All runs: what is said holds for every seed, see :func:`standing`.
    """
    measures = [measure for measure in measures_of(runs) if measure.baselines]
    return [sentence for measure in measures for sentence in _sentences(runs, measure)]


def _sentences(runs: Sequence[Run], measure: Measure) -> list[str]:
    """Return a sentence on all variants, those that fare alike together, and one on each control."""
    alike: dict[tuple[tuple[str, str], ...], list[str]] = {}
    controls = []
    for variant, group in by_variant(runs).items():
        values = measure.values(group)
        if not group[0].recipe.trained or not values:
            continue
        named = f"{variant} ({measure.number(mean(values))})"
        fares = tuple(_fares(group, measure))
        if measure.task == "Matching" and group[0].is_control:
            where = {"above": "above", "level": "at", "below": "below"}[fares[-1][0]]
            controls.append(
                f"{measure.place}, {named}, a control whose sequences and matrices do not belong "
                f"together, is {where} {fares[-1][1]}."
            )
        else:
            alike.setdefault(fares, []).append(named)
    clauses = [
        f"{_enumerate(names)} {_predicate(fares, len(names) > 1)}" for fares, names in alike.items()
    ]
    return ([f"{measure.place}, {'; '.join(clauses)}."] if clauses else []) + controls


def _fares(runs: Sequence[Run], measure: Measure) -> list[tuple[str, str]]:
    """Return how a variant stands to each baseline, and the baseline with its value."""
    views = runs[0].settings.evaluation_views if measure.once_a_view else None
    fares = []
    for baseline in measure.baselines:
        if values := baseline.values(runs):
            stands = standing(measure.values(runs), values, views)
            name = baseline.name if baseline.name == "chance" else f"the {baseline.name}"
            fares.append((stands, f"{name} ({measure.number(mean(values))})"))
    return fares


def standing(values: Sequence[float], baseline: Sequence[float], views: int | None) -> str:
    """Return whether a figure is ``above`` its baseline, ``below``, or ``level`` with it.

    Above is above in every seed, by more than the table shows, and by more than two standard errors
    where these are known; below likewise; all else is level.

    Parameters
    ----------
    values, baseline
        Of each seed.
    views
        Held-out views, where each counts once and values are fractions of them; None where the
        standard error is not known.
    """
    high, low = mean(values), mean(baseline)
    margin = _LEAST
    if views is not None:
        margin = max(margin, 2 * math.sqrt((high * (1 - high) + low * (1 - low)) / views))
    differences = [value - other for value, other in zip(values, baseline, strict=True)]
    if high - low > margin and min(differences) > 0:
        return "above"
    if low - high > margin and max(differences) < 0:
        return "below"
    return "level"


def _predicate(fares: Sequence[tuple[str, str]], several: bool) -> str:
    """Return ``beats A (0.5) and B (0.1)``, or ``stays below A (0.5) but beats B (0.1)``."""
    text, before = "", ""
    for stands, baseline in fares:
        if stands == before:
            text += f" and {baseline}"
        else:
            text += f"{' but ' if before else ''}{_VERBS[stands][several]} {baseline}"
        before = stands
    return text


def _enumerate(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
