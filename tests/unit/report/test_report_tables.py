import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from genebert.benchmarks.intervals import block_of, draw_blocks, percentiles, resampled
from genebert.benchmarks.metrics import metrics_by_subset, scores_of
from genebert.errors import GenebertError
from genebert.files import write_json
from genebert.report.rows import COLUMNS
from genebert.report.tables import verdict, write_summary

BLOCK = 1_000_000
LABELS = np.random.default_rng(0).integers(2, size=240)
CLASSES = {"splicing": ["neither", "donor", "acceptor"]}


@pytest.fixture
def write_run(tmp_path: Path) -> Callable[..., Path]:
    """Write a run of a task: half of its scores say the label, as strongly as ``signal`` says."""

    def write(
        task: str,
        kind: str,
        model: str,
        signal: float,
        seed: int = 1,
        blocks: int = 30,
        probability: bool = True,
        dataset: str = "one",
        simulated: bool = False,
        **columns: Any,
    ) -> Path:
        classes = CLASSES.get(kind, ["no", "yes"])
        labels = LABELS if len(classes) == 2 else np.random.default_rng(0).integers(3, size=240)
        rng = np.random.default_rng([seed, *model.encode()])
        own = signal * np.eye(len(classes))[labels] + rng.normal(size=(240, len(classes)))
        scores = np.exp(own) / np.exp(own).sum(1, keepdims=True)
        table = pd.DataFrame(
            {
                "example_id": np.arange(240, dtype=np.uint32),
                "chrom": "chr1",
                "start": np.arange(240) % blocks * BLOCK,
                "end": np.arange(240) % blocks * BLOCK + 100,
                "cell_type": "any",
                "split": "test",
                "subset": "",
                "label": labels,
            }
        ).assign(**columns)
        if len(classes) == 2:
            table["score"] = scores[:, 1] if probability else own[:, 1] - own[:, 0]
        else:
            table[[f"score_{label}" for label in range(len(classes))]] = scores
        table["is_probability"] = probability
        out = tmp_path / task / model / f"seed{seed}"
        out.mkdir(parents=True)
        table.to_parquet(out / "predictions.parquet")
        facts = {
            "task": task,
            "type": kind,
            "classes": classes,
            "model": model,
            "seed": seed,
            "simulated": simulated,
            "dataset_sha256": dataset,
            "facts": {},
            "metrics": metrics_by_subset(table, kind, classes),
        }
        write_json(out / "metrics.json", facts)
        return out

    return write


@pytest.fixture
def summary(tmp_path: Path) -> Callable[[list[Path]], tuple[pd.DataFrame, str]]:
    """Write the summary of some runs; read both files."""

    def read(runs: list[Path]) -> tuple[pd.DataFrame, str]:
        out = tmp_path / "summary.tsv"
        write_summary(runs, BLOCK, out)
        table = pd.read_csv(out, sep="\t", dtype={"subset": str}).fillna({"subset": ""})
        assert tuple(table.columns) == COLUMNS
        return table, (tmp_path / "summary.md").read_text()

    return read


def test_rows_hold_means_ranks_and_intervals(write_run: Any, summary: Any) -> None:
    runs = [
        write_run("promoter", "promoter", model, signal, seed)
        for model, signal, seeds in (
            ("multimodal.both", 2.0, 2),
            ("scratch.both", 0.5, 2),
            ("cnn", 1, 1),
        )
        for seed in range(seeds)
    ]
    table, text = summary(runs)
    assert table["model"].tolist() == ["multimodal.both", "scratch.both", "cnn"]
    assert table["rank"].tolist() == [1, 3, 2]
    assert table["seeds"].tolist() == [2, 2, 1]
    held = [set(np.flatnonzero(label == LABELS) % 30) for label in (0, 1)]
    assert (table["blocks"] == min(map(len, held))).all(), "of the class that lies in the fewest"
    assert (table["headline"] == "auroc").all()
    assert (table["chance"] == 0.5).all()
    predictions = [pd.read_parquet(run / "predictions.parquet") for run in runs]
    areas = [sk.roc_auc_score(rows["label"], rows["score"]) for rows in predictions]
    assert table["auroc"].tolist() == pytest.approx(
        [np.mean(areas[:2]), np.mean(areas[2:4]), areas[4]], abs=1e-6
    )
    # One seed: the interval is that of the blocks alone.
    blocks = block_of(predictions[4], BLOCK)
    draws = draw_blocks(30)
    assert draws is not None
    rows = predictions[4]
    expected = percentiles(resampled("auroc", rows["label"].to_numpy(), scores_of(rows), blocks, draws))
    assert tuple(table.loc[2, ["low", "high"]]) == pytest.approx(expected, abs=1e-6)
    assert table["vs_scratch"].tolist()[0] == pytest.approx(
        np.mean(areas[:2]) - np.mean(areas[2:4]), abs=2e-6
    )
    assert table.loc[0, "vs_scratch_low"] > 0
    assert table.loc[1:, "vs_scratch"].isna().all()
    assert "Pre-training: helped; `multimodal.both` less `scratch.both`: auroc +" in text
    assert "`multimodal.both`, beats the best baseline, `cnn`" in text
    lines = [line for line in text.splitlines() if line.startswith("| 1 |")]
    assert lines[0].split(" | ")[1] == "multimodal.both"


def test_below_twenty_blocks_there_is_neither_rank_nor_interval(write_run: Any, summary: Any) -> None:
    runs = [write_run("t", "tfbs", m, 1.0, blocks=19) for m in ("multimodal.both", "scratch.both")]
    table, text = summary(runs)
    for name in ("rank", "low", "high", "vs_scratch_low", "vs_scratch_high"):
        assert table[name].isna().all()
    assert table["auroc"].notna().all()
    assert table.loc[0, "vs_scratch"] == pytest.approx(table["auroc"][0] - table["auroc"][1], abs=2e-6)
    assert verdict(19, BLOCK, "promoter") in text
    assert "Too small to rank models" in verdict(19, BLOCK, "promoter")
    assert "No real task has the 20 test blocks of each class" in text
    assert "Pre-training: too few blocks to say" in text


def test_numbers_that_are_no_probabilities_have_a_row(write_run: Any, summary: Any) -> None:
    runs = [
        write_run("v", "variants", "multimodal.sequence.llr", 1.0, probability=False),
        write_run("v", "variants", "kmer_logistic", 1.0),
    ]
    table, text = summary(runs)
    assert table["accuracy"].isna().tolist() == [True, False]
    assert table["auprc"].notna().all()
    assert (table["headline"] == "auprc").all()
    assert table["chance"].tolist() == pytest.approx([table["positives"][0] / 240] * 2, abs=1e-6)
    assert table["rank"].notna().all()
    assert "nan" not in text.lower().split()
    assert "0 of 240 variants lie where pre-training looked" in text
    subset = np.where(np.arange(240) < 90, "pretraining", "held_out")
    _, text = summary([write_run("w", "variants", "kmer_logistic", 1.0, subset=subset)])
    assert "90 of 240 variants lie where pre-training looked" in text


def test_parts_have_rows_and_a_table_of_their_own(write_run: Any, summary: Any) -> None:
    columns = {
        "split": np.where(np.arange(240) < 160, "test", "across"),
        "subset": np.where(np.arange(240) < 40, "TATA", ""),
        "cell_type": np.where(np.arange(240) < 200, "K562", "HepG2"),
    }
    runs = [write_run("t", "tfbs", model, 1.0, **columns) for model in ("multimodal.both", "cnn")]
    table, text = summary(runs)
    assert table["subset"].tolist() == [
        *["", ""], *["across/HepG2"] * 2, *["across/K562"] * 2, *["TATA"] * 2
    ]  # fmt: skip
    assert table.groupby("subset")["examples"].first().to_dict() == {
        "": 160, "TATA": 40, "across/HepG2": 40, "across/K562": 40
    }  # fmt: skip
    assert set(table.loc[table["subset"] == "", "rank"]) == {1, 2}
    # 40 examples in 30 blocks: a class lies in fewer than 20.
    assert table.loc[table["subset"] == "TATA", ["rank", "low"]].isna().all().all()
    assert "auroc: across/HepG2" in text
    assert "TATA: 40 examples, chance 0.5" in text


def test_positions_are_there_for_the_models_that_score_them(write_run: Any, summary: Any) -> None:
    split = np.where(np.arange(240) < 120, "test", "positions")
    scored = write_run("s", "splicing", "cnn", 2.0, split=split)
    other = write_run("s", "splicing", "multimodal.both", 2.0)
    rows = pd.read_parquet(other / "predictions.parquet").iloc[:120]
    rows.to_parquet(other / "predictions.parquet")
    facts = json.loads((other / "metrics.json").read_text())
    facts["metrics"] = metrics_by_subset(rows, "splicing", CLASSES["splicing"])
    write_json(other / "metrics.json", facts)
    for runs in ([scored, other], [other, scored]):
        table, text = summary(runs)
        assert table.groupby("subset").size().to_dict() == {"": 2, "positions": 1}
        assert table["top_k_donor"].notna().all()
        assert "the part `positions`, every position of the held-out genes, is." in text
    _, text = summary([other])
    assert "not comparable with published figures of SpliceAI-400; `score_genes: true`" in text


def test_simulated_tasks_are_called_so_and_count_for_no_rank_over_tasks(
    write_run: Any, summary: Any
) -> None:
    runs = [
        write_run("cohort", "cohort", "covariates_only", 1.0, simulated=True),
        write_run("p", "promoter", "cnn", 1.0),
        write_run("p", "promoter", "gc_only", 0.1),
    ]
    table, text = summary(runs)
    assert table["simulated"].tolist() == [True, False, False]
    assert text.count("SIMULATED") == 1
    of_all = text.split("## All tasks")[1].split("##")[0]
    assert "over the 1 tasks that have ranks" in of_all
    assert "| cnn | 1 | 1.00 |" in of_all
    assert "covariates_only" not in of_all


def test_undefined_figures_are_empty(write_run: Any, summary: Any) -> None:
    subset = np.where(np.random.default_rng(0).integers(2, size=240) == 1, "yes", "no")
    table, _ = summary([write_run("p", "promoter", "cnn", 1.0, subset=subset)])
    assert table.set_index("subset").loc["yes", ["auroc", "auprc", "low", "rank"]].isna().all()
    assert table.set_index("subset").loc["yes", "accuracy"] > 0


def test_runs_of_other_examples_are_refused(write_run: Any, tmp_path: Path) -> None:
    one = write_run("p", "promoter", "cnn", 1.0)
    other = write_run("p", "promoter", "gc_only", 1.0, example_id=np.arange(240) + 1)
    with pytest.raises(GenebertError, match="predicts other examples") as error:
        write_summary([one, other], BLOCK, tmp_path / "summary.tsv")
    assert str(other) in str(error.value)
    third = write_run("p", "promoter", "deepromoter", 1.0, dataset="two")
    with pytest.raises(GenebertError, match="from another dataset than"):
        write_summary([one, third], BLOCK, tmp_path / "summary.tsv")
    assert not (tmp_path / "summary.tsv").exists()


def test_the_order_of_seeds_does_not_matter_and_bytes_are_the_same(
    write_run: Any, tmp_path: Path
) -> None:
    runs = [write_run("p", "promoter", "cnn", 1.0, seed) for seed in (1, 2, 3)]
    texts = []
    for order in (runs, runs, runs[::-1]):
        write_summary(order, BLOCK, tmp_path / "summary.tsv")
        texts.append((tmp_path / "summary.tsv").read_text())
    assert texts[0] == texts[1] == texts[2]
    figures = [text for row in texts[0].splitlines()[1:] for text in row.split("\t") if "." in text]
    assert len(figures) > 8
    assert all(len(text.split(".")[1]) == 6 for text in figures)
