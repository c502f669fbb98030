"""What was measured, as ``constants.json`` keeps it; `tests/perf/plan_constants.py` writes it."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("constants.json")


@cache
def constants() -> dict[str, Any]:
    """Return the file: ``stages`` (:func:`line`), ``training``, ``gpu``, ``assumed`` and where from."""
    found: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return found


def line(stage: str, measure: str, units: Mapping[str, float]) -> float:
    """Return what a job of a stage takes: ``start`` and, of each unit that counts, so much more.

    Parameters
    ----------
    stage
        Key of ``stages``.
    measure
        ``cpu`` (seconds), ``mb`` (peak memory) or ``bytes`` (of its results on disk).
    units
        How many of each there are; those that the measure does not name count nothing.
    """
    known = constants()["stages"][stage].get(measure, {})
    return float(known.get("start", 0)) + sum(
        slope * units[unit] for unit, slope in known.items() if unit != "start"
    )


def assumed(name: str) -> float:
    """Return a figure that nothing here could measure; ``constants.json`` gives its basis."""
    return float(constants()["assumed"][name]["value"])
