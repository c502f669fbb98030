"""Rows of figures, as a table and for TensorBoard."""

import importlib.util
from pathlib import Path

import pandas as pd
import pytest

from genebert.errors import GenebertError
from genebert.pretrain.history import History, open_board

INSTALLED = importlib.util.find_spec("tensorboard") is not None


def filled(history: History) -> History:
    history.add(10, "train", {"a_loss": 1.5, "b_loss": 2.0})
    history.add(10, "validation", {"a_loss": 1.25})
    history.add(20, "train", {"a_loss": 1.0, "b_loss": float("nan")})
    return history


def test_rows_are_written_in_the_order_in_which_they_were_found(tmp_path: Path) -> None:
    filled(History()).write(tmp_path / "history.tsv")
    table = pd.read_csv(tmp_path / "history.tsv", sep="\t")
    assert table.columns.tolist() == ["step", "split", "metric", "value"]
    assert table["value"].tolist()[:4] == [1.5, 2.0, 1.25, 1.0]
    assert table["step"].tolist() == [10, 10, 10, 20, 20]


def test_values_of_a_metric_are_those_of_its_split(tmp_path: Path) -> None:
    history = filled(History())
    assert history.values("train", "a_loss") == [1.5, 1.0]
    assert history.values("validation", "a_loss") == [1.25]
    assert history.values("validation", "b_loss") == []


def test_a_history_that_goes_on_from_its_rows_is_the_same(tmp_path: Path) -> None:
    whole, first = History(), History()
    for history in (whole, first):
        filled(history)
    second = History([list(row) for row in first.rows])
    for history in (whole, second):
        history.add(30, "train", {"a_loss": 0.5})
    whole.write(tmp_path / "whole.tsv")
    second.write(tmp_path / "second.tsv")
    assert (tmp_path / "whole.tsv").read_bytes() == (tmp_path / "second.tsv").read_bytes()
    assert second.values("train", "a_loss") == [1.5, 1.0, 0.5]


@pytest.mark.skipif(INSTALLED, reason="TensorBoard is installed")
def test_without_tensorboard_the_fix_is_named(tmp_path: Path) -> None:
    with pytest.raises(GenebertError, match="not installed") as told:
        open_board(tmp_path, 0)
    assert "tensorboard" in told.value.fix


@pytest.mark.skipif(not INSTALLED, reason="needs genebert[tensorboard]")
def test_tensorboard_shows_the_rows_that_count(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import (  # noqa: PLC0415
        EventAccumulator,
    )

    filled(History(board=open_board(tmp_path, 0)))
    # Killed, and gone on from step 10: what was written after it counts no more.
    History(board=open_board(tmp_path, 10)).add(20, "train", {"a_loss": 0.75})
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("a_loss/train")] == [(10, 1.5), (20, 0.75)]
