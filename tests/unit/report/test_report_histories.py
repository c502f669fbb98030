"""Histories are read with what the runs were told, and only where they can be compared."""

from collections.abc import Callable
from pathlib import Path

import pytest

from genebert.config import Variant
from genebert.errors import GenebertError
from genebert.report.histories import by_variant, read_runs

SEQUENCE = Variant(masked_sequence=1)
FINAL = {"masked_sequence_accuracy": 0.2}


def test_runs_are_known_by_their_place(write_run: Callable[..., Path]) -> None:
    paths = [write_run(name, SEQUENCE, seed, FINAL) for name in ("b", "a") for seed in (1, 2)]
    runs = read_runs(paths)
    assert [(run.variant, run.seed) for run in runs] == [("b", 1), ("b", 2), ("a", 1), ("a", 2)]
    assert {name: len(group) for name, group in by_variant(runs).items()} == {"b": 2, "a": 2}
    assert list(by_variant(runs)) == ["b", "a"]
    assert runs[0].recipe == SEQUENCE and runs[0].settings.evaluation_views == 1024


def test_the_last_held_out_value_counts_even_if_it_is_none(write_run: Callable[..., Path]) -> None:
    path = write_run("a", SEQUENCE, 1, FINAL, {"markov": 0.3}, {"masked_sequence_accuracy": 0.9})
    (run,) = read_runs([path])
    assert run.final == {"markov": 0.3, "masked_sequence_accuracy": 0.2}
    assert run.rows("validation", "masked_sequence_accuracy").to_dict() == {20: 0.1, 40: 0.2}
    with path.open("a") as text:
        text.write("41\tvalidation\tmasked_sequence_accuracy\tnan\n")
    (run,) = read_runs([path])
    assert run.final["masked_sequence_accuracy"] != run.final["masked_sequence_accuracy"]


@pytest.mark.parametrize("key", ["steps", "batch_size", "evaluation_views", "region_mask"])
def test_runs_of_different_settings_are_refused(write_run: Callable[..., Path], key: str) -> None:
    value = 0.25 if key == "region_mask" else 128
    paths = [write_run("a", SEQUENCE, 1, FINAL), write_run("b", SEQUENCE, 1, FINAL, **{key: value})]
    with pytest.raises(GenebertError, match=rf"b, seed 1, has {key} {value}, but a, seed 1, has"):
        read_runs(paths)


def test_an_untrained_variant_knows_no_steps(write_run: Callable[..., Path]) -> None:
    untrained = write_run("scratch", Variant(trained=False), 1, FINAL, steps=100_000)
    assert len(read_runs([write_run("a", SEQUENCE, 1, FINAL), untrained])) == 2


@pytest.mark.parametrize("damage", ["no provenance", "other variant", "cut history", "other columns"])
def test_what_is_no_pretraining_is_refused_by_name(write_run: Callable[..., Path], damage: str) -> None:
    path = write_run("a", SEQUENCE, 1, FINAL)
    provenance = path.parent / "model/provenance.json"
    if damage == "no provenance":
        provenance.unlink()
    elif damage == "other variant":
        provenance.write_text(provenance.read_text().replace('"a"', '"b"'))
    elif damage == "cut history":
        path.write_text("step\tsplit\tmetric\tvalue\n20\tvalidation\tmasked_sequence_accuracy\tx\n")
    else:
        path.write_text(path.read_text().replace("metric", "name", 1))
    with pytest.raises(GenebertError) as caught:
        read_runs([path])
    assert str(path.parent) in str(caught.value)
    assert "pre-train again" in caught.value.fix
