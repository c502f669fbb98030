import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from genebert import config
from genebert.config import BASELINES, DETERMINISTIC, ModelName, parse_model
from genebert.errors import GenebertError

REPOSITORY = Path(__file__).parents[2]
TYPES = ("promoter", "tfbs", "splicing", "accessibility", "labelled", "variants", "cohort")


@pytest.fixture
def raw() -> dict[str, Any]:
    """The demo's configuration as the YAML parser gives it."""
    content: dict[str, Any] = yaml.safe_load((REPOSITORY / "config/demo.yaml").read_text())
    return content


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("multimodal.both", ModelName("multimodal.both", "multimodal", "both", "fine_tuned")),
        ("a_1.region.probe", ModelName("a_1.region.probe", "a_1", "region", "probe")),
        ("v.sequence.llr", ModelName("v.sequence.llr", "v", "sequence", "llr")),
        ("v.both.distance", ModelName("v.both.distance", "v", "both", "distance")),
        ("gc_only", ModelName("gc_only")),
        (
            "hf:zhihan1996/DNABERT-2-117M",
            ModelName(
                "hf.zhihan1996_DNABERT-2-117M",
                readout="fine_tuned",
                source="zhihan1996/DNABERT-2-117M",
            ),
        ),
        (
            "hf:./my models/six.probe",
            ModelName("hf.my_models_six.probe", readout="probe", source="./my models/six"),
        ),
    ],
)
def test_a_name_is_read(text: str, expected: ModelName) -> None:
    assert parse_model(text) == expected


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("svm", "is no baseline"),
        ("multimodal.all", "names inputs 'all'"),
        ("multimodal.both.guess", "names a readout 'guess'"),
        ("multimodal.both.fine_tuned", "names a readout"),
        ("multimodal.both.llr", "write `multimodal.sequence.llr`"),
        ("hf:", "names no encoder"),
        ("hf:.probe", "names no encoder"),
        ("hf:a/b.llr", "asks for a likelihood"),
    ],
)
def test_a_wrong_name_is_refused_with_a_fix(text: str, part: str) -> None:
    with pytest.raises(ValueError, match="; ") as error:
        parse_model(text)
    assert part in str(error.value)


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1))
def test_a_name_is_a_folder_of_its_own(source: str) -> None:
    try:
        model = parse_model(f"hf:{source}")
    except ValueError:
        return
    assert set(model.name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
    assert not model.name.endswith("/")
    assert model.source is not None
    assert f"hf:{source}".startswith(f"hf:{model.source}")


def test_every_baseline_applies_to_a_task_and_every_task_has_one() -> None:
    for name in BASELINES:
        assert any(parse_model(name).applies_to(kind) for kind in TYPES)
    for kind in TYPES:
        assert any(parse_model(name).applies_to(kind) for name in BASELINES)
    assert set(config.TASKS) == set(TYPES)


def test_readouts_apply_where_they_mean_something() -> None:
    assert parse_model("v.both").applies_to("promoter")
    assert not parse_model("v.both").applies_to("variants")
    assert parse_model("v.sequence.llr").applies_to("variants")
    assert not parse_model("v.sequence.llr").applies_to("promoter")
    assert not parse_model("v.both.probe").applies_to("cohort")


def test_runs_are_tasks_by_models_that_apply_by_seeds(raw: dict[str, Any]) -> None:
    settings = config.validate(raw, "here")
    runs = settings.runs()
    assert len(runs) == len(set(runs))
    for task, model, seed in runs:
        assert model in {m.name for m in settings.models_of(task)}
        assert seed in settings.seeds
        if model in DETERMINISTIC:
            assert seed == settings.seeds[0]
    assert ("accessibility", "mean_of_training_cell_types", 1) in runs
    assert ("cohort.simulated", "covariates_only", 1) in runs
    assert {task for task, *_ in runs} == set(raw["benchmarks"]["tasks"])


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"type": "tfbs", "tf": "CTCF", "peaks": {"A": "a.bed"}, "train_in": "B"}, "has no peaks"),
        ({"type": "promotor", "tss": "a.bed"}, "has no known type"),
        ({"type": "promoter", "tsss": "a.bed"}, "did you mean 'tss'"),
        ({"type": "promoter", "tss": "a.bed", "models": ["pwm_best"]}, "does not apply"),
        ({"type": "promoter", "tss": "a.bed", "models": []}, "should have at least 1 item"),
        ({"type": "labelled", "folder": "f", "models": ["x.both"]}, "no such variant"),
        ({"type": "splicing", "annotation": "a", "width": 600}, "makes 597 tokens"),
    ],
)
def test_a_task_that_cannot_run_is_refused(
    raw: dict[str, Any], change: dict[str, Any], part: str
) -> None:
    raw["benchmarks"]["tasks"] = {"mine": change}
    with pytest.raises(GenebertError) as error:
        config.validate(raw, "here")
    assert part in str(error.value)
    assert "benchmarks.tasks.mine" in str(error.value)


def test_accessibility_needs_held_out_cell_types(raw: dict[str, Any]) -> None:
    raw["cell_types"] = {"test": ["GM12878"]}
    with pytest.raises(GenebertError, match=r"cell_types\.validation"):
        config.validate(raw, "here")


def test_a_probe_of_untrained_weights_needs_an_untrained_variant(raw: dict[str, Any]) -> None:
    raw["benchmarks"]["models"] = ["untrained_probe"]
    tasks = {"p": {"type": "promoter", "tss": "a.bed"}}
    raw["benchmarks"]["tasks"] = tasks
    settings = config.validate(copy.deepcopy(raw), "here")
    assert settings.variant_of(parse_model("untrained_probe")) == "scratch"
    del raw["pretrain"]["variants"]["scratch"]
    with pytest.raises(GenebertError, match="no variant is untrained"):
        config.validate(raw, "here")


def test_two_encoders_whose_results_would_share_a_folder_are_refused(raw: dict[str, Any]) -> None:
    raw["benchmarks"]["tasks"] = {"p": {"type": "promoter", "tss": "a.bed"}}
    raw["benchmarks"]["models"] = ["hf:a/b", "hf:a b"]
    with pytest.raises(GenebertError, match="would share a folder"):
        config.validate(raw, "here")


def test_encoders_of_two_tasks_must_not_share_a_folder(raw: dict[str, Any]) -> None:
    task = {"type": "promoter", "tss": "a.bed"}
    raw["benchmarks"]["tasks"] = {
        "p": {**task, "models": ["hf:a/b"]},
        "q": {**task, "models": ["hf:a_b"]},
    }
    with pytest.raises(GenebertError, match="'hf:a/b' and 'hf:a_b' would share a folder"):
        config.validate(raw, "here")


def test_a_model_named_twice_in_a_task_is_refused(raw: dict[str, Any]) -> None:
    raw["benchmarks"]["tasks"] = {
        "p": {"type": "promoter", "tss": "a.bed", "models": ["gc_only", "gc_only"]}
    }
    with pytest.raises(GenebertError, match="names gc_only twice"):
        config.validate(raw, "here")


def test_frozen_encoders_are_run_once(raw: dict[str, Any]) -> None:
    raw["benchmarks"]["tasks"] = {"p": {"type": "promoter", "tss": "a.bed"}}
    raw["benchmarks"]["models"] = ["hf:a/b", "hf:a/b.probe"]
    runs = config.validate(raw, "here").runs()
    assert runs == [("p", "hf.a_b", 1), ("p", "hf.a_b", 2), ("p", "hf.a_b.probe", 1)]


def test_variants_to_compare_with_are_known_by_what_they_learn(raw: dict[str, Any]) -> None:
    raw["benchmarks"] = {"tasks": {}}
    raw["pretrain"]["variants"] = {
        "dna": {"masked_sequence": 1},
        "all": {"masked_sequence": 1, "matching": 1},
        "raw": {"trained": False},
    }
    settings = config.validate(raw, "here")
    assert (settings.sequence_only(), settings.untrained()) == ("dna", "raw")


def test_cell_types_that_must_be_of_a_sample_are_named_with_their_keys(raw: dict[str, Any]) -> None:
    found = config.validate(raw, "here").named_cell_types()
    assert ("cell_types", "Bcell") in found
    assert ("benchmarks.tasks.tfbs.CTCF_GM12878", "GM12878") in found
    assert len(found) == 4
