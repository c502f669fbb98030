"""The benchmarks' part of the page: made-up predictions, summarised and drawn by the true functions."""

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from genebert.benchmarks.metrics import METRICS
from genebert.report.benchmarks import (
    cell_type_matrix,
    compared,
    read_sentences,
    representatives,
    section,
)
from genebert.report.leaderboard import number
from genebert.report.looks import BEST_BASELINE, HIGHLIGHTED, OTHER, chosen, kind_of, looks_of
from genebert.report.page import templates
from genebert.report.tables import write_summary

NETWORKS = {
    "multimodal.both": 1.6,
    "sequence_only.sequence": 1.4,
    "scratch.both": 0.8,
    "scratch.sequence": 1.1,
}
BASELINES = {"kmer_logistic": 1.3, "gc_only": 0.3}
PEAKS = {"GM12878": "a.bed", "K562": "b.bed"}
VOID = {"meta", "br", "wbr", "image", "path", "use", "rect", "stop"}
TASKS: list[dict[str, Any]] = [
    {
        "name": "promoter",
        "settings": {"type": "promoter", "tss": "a.bed"},
        "classes": ["other", "promoter"],
        "models": {**NETWORKS, **BASELINES, "hf.some_org_a_long_name_of_an_encoder": 0.9},
        # Odd: labels take turns, and so both classes lie in every block.
        "blocks": 31,
        "subsets": ["TATA", "no_TATA"],
    },
    *(
        {
            "name": f"tfbs.CTCF_{own}",
            "settings": {"type": "tfbs", "tf": "CTCF", "peaks": PEAKS, "train_in": own},
            "classes": ["unbound", "bound"],
            "models": {**NETWORKS, **BASELINES, "pwm_best": -1.0},
            "examples": 60 + 20 * place,
            "across": [other],
        }
        for place, (own, other) in enumerate([("GM12878", "K562"), ("K562", "GM12878")])
    ),
    {
        "name": "tfbs.REST",
        "settings": {"type": "tfbs", "tf": "REST", "peaks": {"K562": "r.bed"}, "train_in": "K562"},
        "classes": ["unbound", "bound"],
        "models": {"gc_only": 0.4},
        "seeds": 1,
    },
    {
        "name": "splicing",
        "settings": {"type": "splicing", "annotation": "a.gtf"},
        "classes": ["neither", "donor", "acceptor"],
        "models": NETWORKS,
        "seeds": 1,
    },
    {
        "name": "accessibility",
        "settings": {"type": "accessibility"},
        "classes": ["closed", "open"],
        "models": {**NETWORKS, "mean_of_training_cell_types": 2.0},
        "blocks": 25,
        "subsets": ["variable", "constant"],
    },
    {
        "name": "variants.HDL",
        "settings": {"type": "variants", "variants": "v.tsv"},
        "classes": ["control", "effect"],
        "models": {"multimodal.sequence.llr": -0.3, "scratch.sequence.llr": -0.1},
        "seeds": 1,
        "subsets": ["pretraining", "held_out"],
        "more": {"in_pretraining": 366, "in_pretraining_fraction": 0.25},
    },
    {
        "name": "cohort.simulated",
        "settings": {
            "type": "cohort",
            "genotypes": "c.vcf",
            "phenotypes": "p.tsv",
            "phenotype": "<b>height</b>",
            "simulated": True,
        },
        "classes": ["control", "case"],
        "models": {"covariates_only": 0.2, "allele_count": 0.6, "scratch.sequence.llr": 0.3},
        "blocks": 0,
        "facts": {
            "permutations": 200,
            "p_value": 0.0199,
            "auroc_gain": 0.0512,
            "auroc_of_covariates": 0.5567,
        },
    },
]
LEAKAGE = (
    "check\tvalue\tlimit\tflagged\tmeaning\n"
    "overlaps\t0\t0\tno\tTest examples that overlap.\n"
    "gc_auroc\t0.83\t0.6\tyes\tWhat GC <content> gives.\n"
    "copies\t\t\tno\tCannot be told.\n"
)


class Structure(HTMLParser):
    """Checks that tags are closed in order; keeps ids, and the rows of tables by heading."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.parts: dict[str, list[list[str]]] = {"": []}
        self.heading = ""
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag in ("h2", "h3"):
            self.heading = ""
        if tag == "tr":
            self.parts[self.heading].append([])
        elif tag in ("td", "th"):
            self.parts[self.heading][-1].append("")
        elif tag == "br" and {"td", "th"} & set(self.open):
            self.parts[self.heading][-1][-1] += "\n"
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.ids += [value or "" for name, value in attrs if name == "id"]

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("h2", "h3"):
            self.heading += data.strip()
            self.parts.setdefault(self.heading, [])
        elif {"td", "th"} & set(self.open):
            self.parts[self.heading][-1][-1] += data


def render(results: Path, runs: list[Path], tasks: list[str]) -> str:
    made = section(results, runs, tasks, 1_000_000, "scratch")
    return templates().get_template("benchmarks.html").render(benchmarks=made)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("made_up")


@pytest.fixture(scope="module")
def runs(results: Path, make_task: Callable[..., list[Path]]) -> list[Path]:
    found = []
    for task in TASKS:
        found += make_task(results, **task)
        if task["name"] != "splicing":
            (results / "benchmarks" / task["name"] / "leakage.tsv").write_text(LEAKAGE)
    write_summary(found, 1_000_000, results / "benchmarks/summary.tsv")
    return found


@pytest.fixture(scope="module")
def page(results: Path, runs: list[Path]) -> str:
    return render(results, runs, [task["name"] for task in TASKS])


@pytest.fixture(scope="module")
def structure(page: str) -> Structure:
    return Structure(page)


@pytest.fixture(scope="module")
def summary(results: Path, runs: list[Path]) -> pd.DataFrame:
    table = pd.read_csv(results / "benchmarks/summary.tsv", sep="\t", keep_default_na=False)
    numeric = [*METRICS, "low", "high", "rank", "vs_scratch", "vs_scratch_low", "vs_scratch_high"]
    return table.assign(**{name: pd.to_numeric(table[name]) for name in numeric})


def board(structure: Structure, task: str) -> list[dict[str, str]]:
    """Return the leaderboard of a task, a row a model by the heads of its columns."""
    found: list[dict[str, str]] = []
    heading = next(name for name in structure.parts if name.startswith(task))
    rows = structure.parts[heading]
    heads = [head.replace("\n", " ") for head in rows[0]]
    for row in rows[1:]:
        if len(row) != len(heads):
            break
        found.append(dict(zip(heads, row, strict=True)))
    return found


def value(text: str) -> float:
    return float(text.split("\n", maxsplit=1)[0].replace("−", "-"))


@pytest.mark.parametrize("task", [task["name"] for task in TASKS])
def test_the_leaderboard_shows_the_summary(
    structure: Structure, summary: pd.DataFrame, task: str
) -> None:
    rows = summary[(summary["task"] == task) & (summary["subset"] == "")].set_index("model")
    shown = board(structure, task)
    assert sorted(row["model"] for row in shown) == sorted(rows.index)
    headline = rows["headline"].iloc[0]
    ranked = rows["rank"].notna().any()
    for row in shown:
        expected = rows.loc[row["model"]]
        cell = row[f"{headline} 95 %" if ranked else headline]
        assert value(cell) == pytest.approx(expected[headline], abs=5.1e-4)
        if ranked:
            assert int(row["rank"]) == expected["rank"]
            ends = [float(end) for end in cell.split("\n")[1].replace("−", "-").split(" to ")]
            assert ends == pytest.approx([expected["low"], expected["high"]], abs=5.1e-4)
        else:
            assert "\n" not in cell
        difference = row["less scratch, same inputs"]
        if np.isnan(expected["vs_scratch"]):
            assert difference == "–"
        else:
            assert value(difference) == pytest.approx(expected["vs_scratch"], abs=5.1e-4)
        for metric in METRICS:
            name = metric.replace("_", " ")
            if name in row:
                if np.isnan(expected[metric]):
                    assert row[name] == "–"
                else:
                    assert value(row[name]) == pytest.approx(expected[metric], abs=5.1e-4)
            elif metric != headline:
                assert rows[metric].isna().all()
    if ranked:
        order = [int(row["rank"]) for row in shown]
        assert order == sorted(order)


def test_tasks_with_few_blocks_are_not_ranked_and_say_so(page: str, structure: Structure) -> None:
    parts = re.split(r"<h3>", page)
    for task, ranked in (("promoter", True), ("tfbs.CTCF_K562", False), ("cohort.simulated", True)):
        (own,) = (part for part in parts if part.startswith(task))
        assert ("Too small to rank models" in own) != ranked
        assert ("95 % interval" in own) == ranked
        assert ("rank" in board(structure, task)[0]) == ranked


def test_the_overall_leaderboard_goes_by_mean_rank(structure: Structure, summary: pd.DataFrame) -> None:
    rows = structure.parts["All tasks"]
    whole = summary[(summary["subset"] == "") & summary["rank"].notna()]
    ranks = whole.groupby("model")["rank"].agg(["size", "mean"])
    found = [(int(row[1]), float(row[2])) for row in rows[1:] if row[1] != "0"]
    assert found == sorted(found, key=lambda pair: (-pair[0], pair[1]))
    for row in rows[1:]:
        assert row[0] in set(summary["model"])
        if row[1] != "0":
            assert int(row[1]) == ranks["size"][row[0]]
            assert float(row[2]) == pytest.approx(ranks["mean"][row[0]], abs=5.1e-3)
    assert len(rows) - 1 == summary["model"].nunique()


def test_parts_are_given_apart(structure: Structure, summary: pd.DataFrame) -> None:
    rows = structure.parts["accessibility"]
    first = next(i for i, row in enumerate(rows) if any("variable" in cell for cell in row))
    names = [cell.split("\n")[0] for cell in rows[first]]
    for row in rows[first + 1 : first + 6]:
        for name, cell in zip(names[1:], row[1:], strict=True):
            (expected,) = summary[
                (summary["task"] == "accessibility")
                & (summary["model"] == row[0])
                & (summary["subset"] == name)
            ]["auprc"]
            assert value(cell) == pytest.approx(expected, abs=5.1e-4)


def test_loci_that_vary_have_figures_of_their_own(page: str) -> None:
    (own,) = (part for part in page.split("<h3>") if part.startswith("accessibility"))
    assert own.count("<svg") == 4
    assert "Loci that vary between cell types" in own
    (other,) = (part for part in page.split("<h3>") if part.startswith("promoter"))
    assert other.count("<svg") == 2


def test_every_model_is_named_in_the_bars(page: str) -> None:
    for task in TASKS:
        (own,) = (part for part in page.split("<h3>") if part.startswith(task["name"]))
        drawing = own[own.rindex("<svg") :]
        for model in task["models"]:
            assert f">{model}<" in drawing or f">{model[:13]}…{model[-13:]}<" in drawing


def test_flagged_checks_stand_out_by_words(page: str, structure: Structure) -> None:
    rows = [row for row in structure.parts["promoter"] if row and row[0] == "gc auroc"]
    assert rows == [["gc auroc", "⚑ flagged", "0.83", "0.6", "What GC <content> gives."]]
    (other,) = (row for row in structure.parts["promoter"] if row and row[0] == "overlaps")
    assert other[1] == ""
    assert "1 of 3 checks are flagged" in page
    (splicing,) = (part for part in page.split("<h3>") if part.startswith("splicing"))
    assert "Not checked" in splicing


def test_what_must_be_known_is_said(page: str) -> None:
    parts = {part.split("<")[0].strip(): part for part in page.split("<h3>")}
    assert "Not comparable with SpliceAI-400" in parts["splicing"]
    assert "each against the rest (donors and acceptors)" in parts["splicing"]
    assert "366 of the variants (25 %) lie where pre-training looked" in parts["variants.HDL"]
    assert "or more of each class) and seeds" in parts["cohort.simulated"]
    assert "p: how often" in parts["cohort.simulated"] and "0.0199" in parts["cohort.simulated"]
    assert "against the rest" not in parts["promoter"]
    assert "Trained in K562, also tested in GM12878." in parts["tfbs.CTCF_K562"]
    assert "Trained in K562." in parts["tfbs.REST"]


def test_a_simulated_phenotype_is_called_so_wherever_it_appears(page: str, structure: Structure) -> None:
    (own,) = (part for part in page.split("<h3>") if part.startswith("cohort.simulated"))
    assert own.startswith('cohort.simulated <span class="badge">SIMULATED phenotype</span>')
    for figure in own.split("<figure>")[1:]:
        assert "SIMULATED" in figure
    assert "auroc, SIMULATED" in structure.parts["All tasks"][0][-1]
    assert "SIMULATED" not in "".join(page.split("<h3>")[2:-2])


def test_scores_without_probabilities_have_no_calibration(page: str) -> None:
    parts = {part.split("<")[0].strip(): part for part in page.split("<h3>")}
    assert ">Calibration<" not in parts["variants.HDL"] and ">ROC<" in parts["variants.HDL"]
    assert ">Calibration<" in parts["tfbs.CTCF_K562"]


def test_names_from_files_are_escaped(page: str) -> None:
    assert "<b>height" not in page and "&lt;b&gt;height" in page


def test_the_page_is_sound(page: str, structure: Structure) -> None:
    assert len(structure.ids) == len(set(structure.ids)) > 0
    own = set(structure.ids)
    for reference in re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', page):
        assert "".join(reference) in own
    for address in ('src="', 'href="http', "@import", "<script", "url(http"):
        assert address not in page
    assert page.count("<svg") == page.count('role="img" aria-label="')
    assert len(page) < 1.5e6


def test_the_same_runs_give_the_same_bytes(results: Path, runs: list[Path], page: str) -> None:
    some = [task["name"] for task in TASKS[:2]]
    chosen_runs = [run for run in runs if run.parents[1].name in some]
    one = render(results, chosen_runs, some)
    assert render(results, chosen_runs, some) == one
    assert "splicing" not in one  # what lies there of another configuration


def test_without_tasks_there_is_nothing_to_read(tmp_path: Path) -> None:
    assert "No task is configured" in render(tmp_path, [], [])


def test_sentences_agree_with_the_summary(results: Path, summary: pd.DataFrame) -> None:
    told = (results / "benchmarks/summary.md").read_text()
    seen = 0
    table = pd.read_csv(results / "benchmarks/summary.tsv", sep="\t", keep_default_na=False)
    for name in ("vs_scratch", "vs_sequence_only"):
        for column in (name, f"{name}_low", f"{name}_high"):
            table[column] = pd.to_numeric(table[column])
    for task in (task["name"] for task in TASKS):
        rows = table[(table["task"] == task) & (table["subset"] == "")]
        lines = compared(rows)
        own = told.split(f"\n## {task}\n")[1].split("\n## ")[0]
        pattern = r"^- (Pre-training|The second modality): ([^;]+); `([^`]+)` less"
        for what, fate, model in re.findall(pattern, own, re.M):
            (line,) = (line for line in lines if line.startswith(f"{what}: "))
            groups = dict(group.split(": ", 1) for group in line.removeprefix(f"{what}: ").split("; "))
            assert f"`{model}` (" in groups[fate]
            seen += 1
    assert seen > 10
    assert "helped" in told and "too few blocks to say" in told
    others = read_sentences(told)
    assert others["promoter"][0].startswith("The best pre-trained model, `multimodal.both`")
    assert not any(line.startswith("Pre-training") for lines in others.values() for line in lines)


def test_cell_types_trained_and_tested_in(page: str, summary: pd.DataFrame) -> None:
    trained_in = {"tfbs.CTCF_GM12878": "GM12878", "tfbs.CTCF_K562": "K562"}
    rows = summary[(summary["model"] == "multimodal.both") & summary["task"].isin(trained_in)]
    table = cell_type_matrix(rows, "auroc", trained_in)
    assert table is not None and list(table.index) == list(table.columns) == ["GM12878", "K562"]
    drawing = page.split("CTCF: trained in one cell type, tested in another")[1]
    for task, own in trained_in.items():
        for subset in ("", *(f"across/{other}" for other in PEAKS if other != own)):
            (expected,) = rows[(rows["task"] == task) & (rows["subset"] == subset)]["auroc"]
            column = subset.removeprefix("across/") or own
            assert table.loc[own, column] == expected
            assert f">{expected:.2f}<" in drawing
    assert "REST: trained in one cell type" not in page  # 1 × 1


def test_a_cell_type_without_peaks_is_empty() -> None:
    rows = pd.DataFrame(
        {"task": ["a", "a", "b"], "subset": ["", "across/C2", ""], "auroc": [0.9, 0.8, 0.7]}
    )
    table = cell_type_matrix(rows, "auroc", {"a": "C1", "b": "C1"})
    assert table is not None
    assert table.to_dict("index") == {
        "C1 (a)": {"C1": 0.9, "C2": 0.8},
        "C1 (b)": {"C1": 0.7, "C2": pytest.approx(np.nan, nan_ok=True)},
    }
    assert cell_type_matrix(rows, "auroc", {"a": "C1", "c": "C1"}) is None


def test_the_matrix_shows_the_best_its_twin_and_the_best_baseline() -> None:
    means = {"gc_only": 0.6, "multimodal.both": 0.8, "cnn": 0.9, "scratch.both": 0.7, "one.both": 0.5}
    assert representatives(means, "scratch") == ["multimodal.both", "scratch.both", "cnn"]
    assert representatives({"scratch.both": 0.5}, "scratch") == ["scratch.both"]


def test_at_most_eight_lines_are_told_apart() -> None:
    models = [f"variant{i}.both" for i in range(12)] + ["cnn", "gc_only"]
    means = {model: i / 20 for i, model in enumerate(models)}
    looks = chosen(means, looks_of(models))
    assert next(iter(looks)) == "gc_only" and looks["gc_only"] is BEST_BASELINE
    assert looks["cnn"] is OTHER
    told = [look for look in looks.values() if look not in (OTHER, BEST_BASELINE)]
    assert len(told) == HIGHLIGHTED == len({(look.colour, look.dash) for look in told})
    # A model looks alike on every task.
    assert looks["variant11.both"] == looks_of(models)["variant11.both"]


def test_kinds_of_models() -> None:
    kinds = [kind_of(model, "scratch") for model in ("hf.x", "a.both", "scratch.both.probe", "cnn")]
    assert kinds == ["pre-trained", "pre-trained", "untrained", "baseline"]


@pytest.mark.parametrize(
    ("given", "signed", "shown"),
    [(0.12345, False, "0.123"), (-0.5, True, "−0.500"), (0.5, True, "+0.500"), (np.nan, False, "–")],
)
def test_numbers(given: float, signed: bool, shown: str) -> None:
    assert number(given, signed) == shown
