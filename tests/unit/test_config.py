import copy
import json
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest
import yaml
from pydantic import ValidationError

from genebert import config
from genebert.config import forms
from genebert.errors import GenebertError
from genebert.inputs import sheet

REPOSITORY = Path(__file__).parents[2]
FILES = sorted((REPOSITORY / "config").glob("*.yaml"))
SCHEMA = REPOSITORY / "workflow/schemas/config.schema.json"


@pytest.fixture
def raw() -> dict[str, Any]:
    """The demo's configuration as the YAML parser gives it."""
    content: dict[str, Any] = yaml.safe_load((REPOSITORY / "config/demo.yaml").read_text())
    # What the expected messages name, whatever the demo's sizes are.
    content["pretrain"] |= {"steps": 110, "warmup_steps": 10, "batch_size": 32, "matching_group": 16}
    content["model"] = {
        "sequence": {"layers": 2, "width": 64, "heads": 2},
        "region": {"width": 32, "depths": [2, 2], "heads": [1, 2]},
    }
    return content


def _set(raw: dict[str, Any], key: str, value: Any) -> None:
    if not key:
        raw |= value
        return
    *path, last = key.split("/")
    for part in path:
        raw = raw.setdefault(part, {})
    raw[last] = value


def test_both_committed_configurations_are_there() -> None:
    assert {path.name for path in FILES} >= {"config.yaml", "demo.yaml"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_committed_configurations_are_valid(path: Path) -> None:
    assert isinstance(config.load(path), config.Config)
    jsonschema.validate(
        yaml.safe_load(path.read_text()),
        json.loads(SCHEMA.read_text()),
        cls=jsonschema.Draft202012Validator,
    )


def test_the_committed_default_is_what_the_models_print() -> None:
    assert (REPOSITORY / "config/config.yaml").read_text() == forms.as_yaml()


def test_the_committed_schema_is_what_the_models_print() -> None:
    assert SCHEMA.read_text() == forms.as_schema()
    jsonschema.Draft202012Validator.check_schema(json.loads(SCHEMA.read_text()))


def test_the_committed_schema_of_the_sheet_is_what_its_columns_print() -> None:
    committed = (REPOSITORY / "workflow/schemas/samples.schema.json").read_text()
    assert committed == forms.as_sheet_schema()
    jsonschema.Draft202012Validator.check_schema(json.loads(committed))


def test_the_readme_explains_every_key_and_column() -> None:
    readme = (REPOSITORY / "config/README.md").read_text()
    assert forms.as_table() in readme
    assert sheet.as_table() in readme
    assert forms.with_tables(readme) == readme


def test_the_printed_default_holds_the_defaults_of_the_models() -> None:
    printed = yaml.safe_load(forms.as_yaml())
    needed = {
        "samples": printed["samples"],
        "genome": printed["genome"],
        "motifs": {key: printed["motifs"][key] for key in ("file", "families")},
        "cell_types": printed["cell_types"],
        "pretrain": {"compile": printed["pretrain"]["compile"]},
        "benchmarks": {"tasks": printed["benchmarks"]["tasks"]},
    }
    assert config.validate(printed, "printed") == config.validate(needed, "needed")


@pytest.mark.parametrize(
    "key",
    ["typo", "pretrain/stepz", "genome/split/tests", "benchmarks/tasks/promoter/upstreams"],
)
def test_the_schema_refuses_unknown_keys_as_the_models_do(raw: dict[str, Any], key: str) -> None:
    _set(raw, key, 1)
    with pytest.raises(GenebertError, match="unknown key"):
        config.validate(raw, "here")
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(raw, json.loads(SCHEMA.read_text()))


def test_a_run_without_tasks_is_one_that_only_pre_trains(raw: dict[str, Any]) -> None:
    raw["benchmarks"] = {"tasks": {}}
    assert config.validate(raw, "here").benchmarks.tasks == {}


def test_a_preset_gives_the_sizes_that_are_not_given(raw: dict[str, Any]) -> None:
    raw["model"] = {"preset": "tiny", "columns": 4, "sequence": {"k": 4}}
    raw["regions"] = {"width": 500}
    found = config.validate(raw, "here").model
    assert (found.columns, found.projection) == (4, 512)
    assert (found.sequence.k, found.sequence.width, found.sequence.positions) == (4, 64, 512)
    assert found.region.depths == [2, 2]
    again = config.parse_section(config.Model, found.model_dump(), "here")
    assert again == found


@pytest.mark.parametrize("preset", ["tiny", "small", "base"])
def test_presets_are_valid_and_named_in_order_of_size(preset: str) -> None:
    settings = config.Model(preset=preset)
    assert settings.sequence.width == {"tiny": 64, "small": 384, "base": 768}[preset]
    assert config.Model() == config.Model(preset="base")


def test_what_each_masking_reads_beside_the_corpus() -> None:
    variants = {
        name: config.Variant(masked_sequence=1, masking=name) for name in get_args(config.Masking)
    }
    assert {name: (v.needs_npmi(), v.needs_motifs()) for name, v in variants.items()} == {
        "random_span": (False, False),
        "genemask": (True, False),
        "global_pmi": (True, False),
        "motif": (False, True),
        "cm_gems": (True, False),
        "cm_step": (True, False),
    }
    # A variant that masks no tokens reads nothing for it.
    assert not config.Variant(masked_region=1, masking="genemask").needs_npmi()
    assert config.Variant(motif_target=1).needs_motifs()


@pytest.mark.parametrize("text", ["1e-4", "1E-4", "1.0e-4", "0.0001", "1.e-4"])
def test_a_small_number_may_be_written_in_any_way(raw: dict[str, Any], text: str) -> None:
    raw["motifs"] |= yaml.safe_load(f"p_value: {text}")
    raw["pretrain"] |= yaml.safe_load(f"learning_rate: {text}")
    found = config.validate(raw, "here")
    assert found.motifs.p_value == found.pretrain.learning_rate == 1e-4


@pytest.mark.parametrize(
    ("key", "value", "parts"),
    [
        ("pretrian", {}, ["unknown key 'pretrian'", "did you mean 'pretrain'?"]),
        ("pretrain/batchsize", 8, ["'pretrain.batchsize' = 8", "did you mean 'batch_size'?"]),
        ("model/sequence/layer", 2, ["'model.sequence.layer'", "did you mean 'layers'?"]),
        (
            "pretrain/variants/multimodal/matchin",
            1,
            ["'pretrain.variants.multimodal.matchin'", "did you mean 'matching'?"],
        ),
        ("regions/xyz", 1, ["'regions.xyz' = 1", "known keys here: width"]),
        ("pretrain/batch_size", -16, ["'pretrain.batch_size' = -16", "greater than or equal to 1"]),
        ("pretrain/steps", "many", ["'pretrain.steps' = 'many'", "valid integer"]),
        ("pretrain/steps", 10.5, ["'pretrain.steps' = 10.5", "valid integer"]),
        ("pretrain/steps", True, ["'pretrain.steps' = True", "valid integer"]),
        ("pretrain/learning_rate", 0, ["'pretrain.learning_rate' = 0", "greater than 0"]),
        ("pretrain/learning_rate", "nan", ["'pretrain.learning_rate' = 'nan'"]),
        ("pretrain/learning_rate", float("nan"), ["'pretrain.learning_rate' = nan"]),
        ("pretrain/learning_rate", float("inf"), ["'pretrain.learning_rate' = inf"]),
        ("seeds", 1, ["'seeds' = 1", "valid list"]),
        ("seeds", [], ["'seeds' = []"]),
        ("seeds", [1, 1], ["seeds names 1 twice", "name each once"]),
        ("seeds", [-1], ["'seeds.0' = -1"]),
        ("genome/name", "", ["'genome.name' = ''"]),
        ("genome/split/test", ["chr20:5"], ["'genome.split.test.0' = 'chr20:5'", "chrom:start-end"]),
        ("genome/split/test", ["chr20:9-5"], ["start must be smaller than end"]),
        ("motifs/background", [0.3, 0.3, 0.3, 0.3], ["background sums to 1.2", "sum to 1"]),
        ("motifs/background", [0.3, 0.3, 0.2, 0.2], ["background differs between strands"]),
        ("motifs/background", [0.5, 0.5], ["'motifs.background'", "at least 4"]),
        ("motifs/p_value", 0.01, ["p_value exceeds max_realised_p"]),
        ("motifs/p_value", 0, ["'motifs.p_value' = 0"]),
        ("model/sequence/heads", 3, ["3 heads do not divide width 64"]),
        ("model/sequence/k", 2, ["'model.sequence.k' = 2"]),
        ("model/region/heads", [1, 3], ["3 heads do not divide the 64 channels of stage 2"]),
        ("model/region/depths", [2], ["1 depths but 2 heads"]),
        ("pretrain/warmup_steps", 110, ["warmup_steps 110 leave nothing of 110 steps"]),
        ("pretrain/matching_group", 15, ["batch_size 32 is no multiple of matching_group 15"]),
        ("pretrain/variants/idle", {}, ["all objectives weigh zero"]),
        ("pretrain/variants/scratch/matching", 1, ["`trained: false` with weighted objectives"]),
        ("pretrain/variants/a-b", {"matching": 1}, ["'pretrain.variants.a-b"]),
        ("regions/width", 600, ["regions.width 600 makes 597 tokens", "positions 512"]),
        ("benchmarks/tasks/promoter/upstream", 900, ["benchmarks.tasks.promoter makes"]),
        ("benchmarks/models", ["multimodl.both"], ["'multimodl.both'", "pretrain.variants: multimodal"]),
        ("benchmarks/models", ["svm"], ["'svm' is no baseline", "kmer_logistic"]),
        ("benchmarks/models", ["sequence_only.both"], ["write sequence_only.sequence"]),
        ("benchmarks/models", ["scratch.both"] * 2, ["names scratch.both twice"]),
        ("model/preset", "huge", ["'model.preset' = 'huge'", "'tiny', 'small' or 'base'"]),
        ("compute/gpus", -1, ["'compute.gpus' = -1"]),
        ("compute", {"require_gpu": True, "gpus": 0}, ["require_gpu with gpus 0", "ask for a GPU"]),
        (
            "compute/batch_per_device",
            8,
            [
                "pretrain.batch_size 32 of variant multimodal",
                "among 1 device(s) of at most 8",
                "groups of 16",
            ],
        ),
        (
            "compute/gpus",
            3,
            ["pretrain.batch_size 32", "among 3 device(s)", "matching_group × compute.gpus"],
        ),
        (
            "compute",
            {"gpus": 2, "batch_per_device": 8},
            ["pretrain.evaluation_views 128 of variant scratch", "among 1 device(s) of at most 8"],
        ),
        (
            "pretrain/variants/multimodal/masking",
            "gene_mask",
            ["'pretrain.variants.multimodal.masking' = 'gene_mask'", "'genemask'"],
        ),
        (
            "pretrain/variants/multimodal",
            {"masking": "genemask"},
            ["all objectives weigh zero", "trained: false"],
        ),
        (
            "",
            {
                "model": {"sequence": {"k": 1}},
                "regions": {"width": 500},
                "pretrain": {"variants": {"a": {"masked_sequence": 1, "masking": "cm_step"}}},
            },
            ["pretrain.variants.a ranks k-mers by NPMI", "raise model.sequence.k"],
        ),
        ("results_dir", ".", ["'results_dir' = '.'", "holds the folder in which you work"]),
        ("results_dir", "/", ["holds the folder in which you work"]),
        ("results_dir", "a/../..", ["holds the folder in which you work"]),
        ("results_dir", "./workflow/out", ["is a folder of the project itself"]),
        ("results_dir", "my results", ["'results_dir' = 'my results'", "no spaces"]),
    ],
)
def test_a_bad_value_is_refused_with_key_value_and_fix(
    raw: dict[str, Any], key: str, value: Any, parts: list[str]
) -> None:
    _set(raw, key, value)
    with pytest.raises(GenebertError) as error:
        config.validate(raw, "demo.yaml")
    lines = str(error.value).splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("fix: ")
    assert lines[1] != "fix: "
    assert "demo.yaml" in lines[0]
    for part in parts:
        assert part in str(error.value)


@pytest.mark.parametrize("key", ["samples", "genome/fasta", "motifs/file", "benchmarks/tasks"])
def test_a_missing_key_is_named(raw: dict[str, Any], key: str) -> None:
    *path, last = key.split("/")
    section = raw
    for part in path:
        section = section[part]
    del section[last]
    with pytest.raises(GenebertError, match=f"key '{key.replace('/', '.')}' is missing"):
        config.validate(raw, "here")


@pytest.mark.parametrize("content", [None, [], "text"])
def test_what_is_no_mapping_is_refused(content: Any) -> None:
    with pytest.raises(GenebertError, match="no mapping of keys"):
        config.validate(content, "here")


def test_broken_yaml_is_refused_by_line(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("a: 1\nb: [1, 2\nc: 3\n")
    with pytest.raises(GenebertError, match=r"is not valid YAML.*line 3"):
        config.load(tmp_path / "c.yaml")
    with pytest.raises(GenebertError, match="cannot read"):
        config.load(tmp_path / "absent.yaml")


def test_values_cannot_change_after_validation(raw: dict[str, Any]) -> None:
    found = config.validate(raw, "here")
    with pytest.raises(ValidationError, match="frozen"):
        found.seeds = [9]  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        found.pretrain.steps = 9  # type: ignore[misc]


def test_validation_leaves_its_input_alone(raw: dict[str, Any]) -> None:
    before = copy.deepcopy(raw)
    config.validate(raw, "here")
    assert raw == before


def test_held_out_places_may_be_written_for_people(raw: dict[str, Any]) -> None:
    raw["genome"]["split"]["test"] = ["chr20:44,000,000-50_000_000", "chrUn_1", "chrUn_2:0-1,000"]
    assert config.validate(raw, "here").genome.split.test == [
        "chr20:44000000-50000000",
        "chrUn_1",
        "chrUn_2:0-1000",
    ]


def test_a_section_survives_its_way_over_the_command_line(raw: dict[str, Any]) -> None:
    found = config.validate(raw, "here")
    for section in (found.model, found.pretrain, found.benchmarks.tasks["promoter"]):
        text = json.dumps(section.model_dump(), sort_keys=True)
        assert config.parse_section(type(section), json.loads(text), "here") == section


@pytest.mark.parametrize(
    ("variant", "inputs"),
    [
        ({"masked_sequence": 1}, {"sequence"}),
        ({"masked_region": 1}, {"region"}),
        ({"matching": 1}, {"sequence", "region", "both"}),
        ({"masked_sequence": 1, "masked_region": 0.5}, {"sequence", "region", "both"}),
        ({"trained": False}, {"sequence", "region", "both"}),
    ],
)
def test_a_variant_allows_the_inputs_that_it_has_encoders_for(
    variant: dict[str, Any], inputs: set[str]
) -> None:
    assert config.Variant(**variant).inputs() == inputs


@pytest.mark.parametrize("text", ["results/", "./results", "a/../results", "results//"])
def test_a_results_folder_is_called_by_one_name(raw: dict[str, Any], text: str) -> None:
    raw["results_dir"] = text
    assert config.validate(raw, "demo.yaml").results_dir == "results"
