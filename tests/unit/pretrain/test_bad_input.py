"""Bad input of a pre-training: a line what and where, a line how to mend it, nothing left behind."""

import dataclasses
import json
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from genebert.config import Model as ModelSettings
from genebert.corpus.read import Corpus
from genebert.motifs.table import write_motif_table
from genebert.pretrain.npmi_table import write_npmi

RunCli = Callable[..., SimpleNamespace]
Spoil = Callable[["Command"], None]

SETTINGS: dict[str, Any] = {
    "steps": 2,
    "batch_size": 16,
    "warmup_steps": 0,
    "matching_group": 8,
    "evaluate_every": 2,
    "evaluation_views": 16,
}


@dataclasses.dataclass
class Command:
    """A pre-training's command line, to be spoilt; it works as it is made."""

    folder: Path
    corpus: Path
    npmi: Path
    model: dict[str, Any]
    variant: dict[str, Any]
    settings: dict[str, Any]
    compute: dict[str, Any]
    others: Path
    name: str = "own"
    motifs: Path | None = None

    def arguments(self) -> list[str]:
        settings = self.settings | {"variants": {"own": self.variant}}
        return [
            *("pretrain", "--corpus", str(self.corpus), "--npmi", str(self.npmi)),
            *(() if self.motifs is None else ("--motifs", str(self.motifs))),
            *("--model", json.dumps(self.model), "--settings", json.dumps(settings)),
            *("--compute", json.dumps(self.compute), "--variant", self.name, "--seed", "1"),
            *("--out", str(self.folder / "out/model"), "--history", str(self.folder / "out/h.tsv")),
            *("--checkpoints", str(self.folder / "out/checkpoints")),
        ]


@pytest.fixture(scope="module")
def others(
    synthetic_corpus: Corpus,
    make_corpus: Callable,
    write_corpus: Callable,
    few_motifs: Path,
    background: list[float],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Return a folder of inputs: those that belong together, and others."""
    folder = tmp_path_factory.mktemp("inputs")
    write_corpus(synthetic_corpus, folder / "corpus")
    write_corpus(make_corpus(seed=1), folder / "another")
    write_corpus(make_corpus([("chr1", "train", 20)]), folder / "without validation")
    closed = synthetic_corpus.metadata.model_copy(
        update={"cell_types": [*synthetic_corpus.metadata.cell_types, "closed"]}
    )
    write_corpus(dataclasses.replace(synthetic_corpus, metadata=closed), folder / "without views")
    for path in write_corpus(synthetic_corpus, folder / "without a part").glob("part-1.parquet"):
        path.unlink()
    write_npmi(folder / "corpus", 3, folder / "npmi.parquet")
    write_npmi(folder / "corpus", 4, folder / "npmi of 4.parquet")
    write_npmi(folder / "another", 3, folder / "npmi of another.parquet")
    whole = (folder / "npmi.parquet").read_bytes()
    (folder / "half npmi.parquet").write_bytes(whole[: len(whole) // 2])
    write_motif_table(
        few_motifs, background, 1.0, 0.01, 0.05, "file", None, folder / "other motifs.parquet"
    )
    (folder / "bert of 4").mkdir()
    sizes = {"num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 2}
    sizes |= {"intermediate_size": 32, "vocab_size": 261, "max_position_embeddings": 64}
    about = {"model_type": "bert", "layer_norm_eps": 1e-12} | sizes
    (folder / "bert of 4/config.json").write_text(json.dumps(about))
    return folder


@pytest.fixture
def command(others: Path, tiny_settings: ModelSettings, tmp_path: Path) -> Command:
    return Command(
        folder=tmp_path,
        corpus=others / "corpus",
        npmi=others / "npmi.parquet",
        model=tiny_settings.model_dump(),
        variant={"masked_sequence": 1, "masked_region": 1, "matching": 1},
        settings=dict(SETTINGS),
        compute={"gpus": 0},
        others=others,
    )


def left(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refusal(command: Command, run_cli: RunCli) -> str:
    """Run a command that must fail readably and leave no file behind; return its message."""
    before = left(command.folder)
    result = run_cli(*command.arguments())
    lines = result.err.splitlines()
    assert result.code == 1, result.err
    assert lines[-2].startswith("error: "), result.err
    assert lines[-1].startswith("fix: "), result.err
    assert all(line.startswith(("corpus: ", "device: ", "for a GPU: ")) for line in lines[:-2])
    assert "internal error" not in result.err
    assert left(command.folder) == before
    return "\n".join(lines[-2:])


def variant(**keys: Any) -> Spoil:
    return lambda command: setattr(command, "variant", keys)


def change(section: str, **keys: Any) -> Spoil:
    return lambda command: getattr(command, section).update(keys)


def other(option: str, name: str, **more: Any) -> Spoil:
    def spoil(command: Command) -> None:
        setattr(command, option, command.others / name)
        command.variant |= more

    return spoil


def file_at(place: str) -> Spoil:
    def spoil(command: Command) -> None:
        (command.folder / place).parent.mkdir(parents=True, exist_ok=True)
        (command.folder / place).write_text("years of work")

    return spoil


def _bert_of_another_k(command: Command) -> None:
    command.model["sequence"]["norm"] = "post"
    command.variant["init_from"] = str(command.others / "bert of 4")


NPMI = {"masking": "genemask"}


@pytest.mark.parametrize(
    ("spoil", "parts"),
    [
        pytest.param(
            other("motifs", "other motifs.parquet", motif_target=1),
            ["other motifs.parquet is not the motif table that the corpus was made with"],
            id="motifs of another corpus",
        ),
        pytest.param(variant(motif_target=1), ["motif_target needs --motifs"], id="no motifs"),
        pytest.param(
            variant(masked_sequence=1, masking="motif"), ["masking motif needs --motifs"], id="no hits"
        ),
        pytest.param(
            other("npmi", "npmi of another.parquet", **NPMI),
            ["npmi of another.parquet is of another corpus"],
            id="npmi of another corpus",
        ),
        pytest.param(
            other("npmi", "npmi of 4.parquet", **NPMI),
            ["npmi of 4.parquet ranks k-mers of 4 bp, the model reads 3"],
            id="npmi of another k",
        ),
        pytest.param(
            other("npmi", "half npmi.parquet", **NPMI),
            ["half npmi.parquet is missing or damaged"],
            id="damaged npmi",
        ),
        pytest.param(
            other("npmi", "corpus/part-0.parquet", **NPMI), ["is no NPMI table"], id="no npmi table"
        ),
        pytest.param(
            other("npmi", "none.parquet", **NPMI),
            ["none.parquet is missing or damaged"],
            id="missing npmi",
        ),
        pytest.param(
            variant(masked_sequence=1, init_from="no/bert"),
            ["no/bert", "init_from"],
            id="missing weights to start from",
        ),
        pytest.param(_bert_of_another_k, ["bert of 4", "model.sequence.k"], id="weights of another k"),
        pytest.param(
            other("corpus", "without validation"), ["validation", "genome.split"], id="no validation"
        ),
        pytest.param(
            other("corpus", "without views"), ["closed", "genome.split"], id="cell type without views"
        ),
        pytest.param(other("corpus", "without a part"), ["part-1.parquet"], id="missing part"),
        pytest.param(other("corpus", "none"), ["none/manifest.json does not exist"], id="no corpus"),
        pytest.param(
            lambda command: setattr(command, "name", "owm"),
            ["--variant owm is no key of pretrain.variants", "fix: use own"],
            id="typo in variant",
        ),
        pytest.param(variant(), ["all objectives weigh zero", "trained: false"], id="no objective"),
        pytest.param(
            change("compute", gpu=1), ["unknown key 'gpu' = 1", "--compute", "'gpus'"], id="unknown key"
        ),
        pytest.param(
            change("compute", require_gpu=True), ["require_gpu with gpus 0"], id="GPU required of 0"
        ),
        pytest.param(
            change("compute", batch_per_device=4),
            ["cannot be shared out", "matching groups of 8", "compute.batch_per_device"],
            id="group larger than a part",
        ),
        pytest.param(
            change("settings", batch_size=12),
            ["batch_size 12 is no multiple of matching_group 8"],
            id="batch of no whole groups",
        ),
        pytest.param(
            change("settings", steps=5, warmup_steps=5), ["warmup_steps 5 leave nothing"], id="warm-up"
        ),
        pytest.param(
            lambda command: command.model["sequence"].update(positions=30) and None,
            ["regions of 60 bp make 60 tokens", "30 positions"],
            id="regions longer than positions",
        ),
        pytest.param(
            file_at("out/checkpoints"),
            ["out/checkpoints", "cannot hold checkpoints"],
            id="file in the place of checkpoints",
        ),
        pytest.param(
            file_at("out"),
            ["out/model cannot hold a result: ", "move what is in the way"],
            id="no folder",
        ),
        pytest.param(
            file_at("out/model"),
            ["out/model cannot hold a result: "],
            id="file in the place of the model",
        ),
        pytest.param(
            file_at("out/h.tsv/file"), ["out/h.tsv is a folder"], id="folder in the place of the history"
        ),
    ],
)
def test_bad_input_is_refused(command: Command, run_cli: RunCli, spoil: Spoil, parts: list[str]) -> None:
    spoil(command)
    message = refusal(command, run_cli)
    for part in parts:
        assert part in message


def test_the_command_that_is_spoilt_works(command: Command, run_cli: RunCli) -> None:
    command.variant |= NPMI
    result = run_cli(*command.arguments())
    assert result.code == 0, result.err


@pytest.fixture
def nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Make ``nvidia-smi`` a shell script."""

    def write(script: str) -> None:
        program = tmp_path / "bin/nvidia-smi"
        program.parent.mkdir()
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return write


@pytest.mark.parametrize(
    ("smi", "compute", "parts"),
    [
        ("echo no driver; exit 9", {"gpus": 2}, ["2 GPUs asked, none visible", "no driver"]),
        ("one card", {"gpus": 2}, ["2 GPUs asked, 1 visible (compute.gpus)", "lower it"]),
        (
            "echo no driver; exit 9",
            {"gpus": 1, "require_gpu": True},
            ["exit code 9: no driver (compute.require_gpu is set)"],
        ),
    ],
)
def test_more_gpus_than_there_are_are_refused(
    command: Command,
    run_cli: RunCli,
    nvidia_smi: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    smi: str,
    compute: dict[str, Any],
    parts: list[str],
) -> None:
    card = f"echo 'GPU 0: NVIDIA H100 (UUID: GPU-{uuid.uuid4()})'"
    nvidia_smi(card if smi == "one card" else smi)
    # What a torch for GPUs says of itself.
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    command.compute = compute
    message = refusal(command, run_cli)
    for part in parts:
        assert part in message


def test_without_a_gpu_the_cpu_is_used_and_said_to_be(
    command: Command, run_cli: RunCli, nvidia_smi: Callable[[str], None]
) -> None:
    nvidia_smi("echo no driver; exit 9")
    command.compute = {"gpus": 1}
    result = run_cli(*command.arguments())
    assert result.code == 0, result.err
    assert (
        "device: CPU, because nvidia-smi failed with exit code 9: no driver\nfor a GPU: " in result.err
    )
