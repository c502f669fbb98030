"""Gradients that two processes find together are those of one: AdamW would hide their scale."""

import os
import runpy
import socket
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from genebert.config import Model as ModelSettings

# With 8 samples a process holds whole matching groups, with 4 each group spans both.
PER_DEVICE = (4, 8)
# A step of every variant, whose gradients and sums it writes: in each of the processes, and alone.
SCRIPT = """
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from genebert.config import Model, Pretrain, Variant
from genebert.corpus.read import read_corpus
from genebert.corpus.sample import Views, place_corpus
from genebert.pretrain import parallel
from genebert.pretrain.setup import Sources, gather_knowledge, initial_model
from genebert.pretrain.step import Recipe, agree, draw, learn, parts_of

VARIANTS = {
    "masked_sequence": Variant(masked_sequence=2),
    "motif masking": Variant(masked_sequence=2, masking="motif"),
    "NPMI masking": Variant(masked_sequence=2, masking="global_pmi"),
    "masked_region": Variant(masked_region=2),
    "matching": Variant(matching=2),
    "shuffled": Variant(matching=2, masked_region=1, matrices="shuffled"),
    "next_segment": Variant(next_segment=2),
    "motif_target": Variant(motif_target=2),
    "together": Variant(
        masked_sequence=1, masked_region=3, matching=0.5, next_segment=2, motif_target=4, masking="motif"
    ),
}

def step(name, settings, corpus, folder, sources, per_device):
    variant = VARIANTS[name]
    model = initial_model(settings, variant, 0, corpus)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.2)
    knowledge = gather_knowledge(corpus, folder, sources, variant, model, "cpu")
    recipe = Recipe(Pretrain(batch_size=16, matching_group=8), variant, 1, knowledge)
    parts = parts_of(16, per_device, 8 if variant.matching else 1)
    views = Views(place_corpus(corpus), "train", settings.columns)
    share = draw(model, views, recipe, 5, parts, variant.masking)
    counts, _, _ = agree(share, variant, False, False)
    outcomes = learn(model, share, parts, counts, recipe)
    found = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    for objective, outcome in outcomes.items():
        found[f"sums of {objective}"] = torch.stack(list(outcome))
    return {f"{name} {what}": values.clone() for what, values in found.items()}

def steps(settings, folder, motifs, npmi, per_device):
    torch.set_num_threads(1)
    settings, corpus = Model.model_validate_json(settings), read_corpus(folder)
    sources, found = Sources(Path(motifs), Path(npmi)), {}
    for name in VARIANTS:
        found |= step(name, settings, corpus, folder, sources, per_device)
    return found

if __name__ == "__main__":
    *given, out, sizes = sys.argv[1:]
    with parallel.joined("cpu"):
        for size in map(int, sizes.split()):
            save_file(steps(*given, size), f"{out}-{size}-{parallel.rank()}.safetensors")
"""


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture(scope="module")
def found(
    scanned: SimpleNamespace, tiny_settings: ModelSettings, tmp_path_factory: pytest.TempPathFactory
) -> SimpleNamespace:
    """Gradients and sums found alone, and by each of two processes."""
    folder = tmp_path_factory.mktemp("two")
    script, out = folder / "step.py", folder / "found"
    script.write_text(SCRIPT)
    given = [tiny_settings.model_dump_json(), *map(str, (scanned.folder, scanned.motifs, scanned.npmi))]
    arguments = [sys.executable, script, *given, out, " ".join(map(str, PER_DEVICE))]
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port()), "WORLD_SIZE": "2"}
    workers = [
        subprocess.Popen(
            arguments,
            env=os.environ | common | {"RANK": rank, "LOCAL_RANK": rank, "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in "01"
    ]
    alone = runpy.run_path(str(script))["steps"](*given, 16)
    for worker in workers:
        told = worker.communicate(timeout=120)[1]
        assert worker.returncode == 0, told
    return SimpleNamespace(
        alone=alone,
        by_two={
            (size, rank): load_file(f"{out}-{size}-{rank}.safetensors")
            for size in PER_DEVICE
            for rank in (0, 1)
        },
    )


@pytest.mark.parametrize("size", PER_DEVICE)
def test_gradients_of_two_processes_are_those_of_one(found: SimpleNamespace, size: int) -> None:
    first, second = (found.by_two[size, rank] for rank in (0, 1))
    assert first.keys() == second.keys() == found.alone.keys()
    gradients = {name: values for name, values in found.alone.items() if " sums of " not in name}
    for variant in ("matching", "shuffled", "motif masking", "motif_target", "together"):
        assert any(name.startswith(variant) for name in gradients)
    for name, values in gradients.items():
        # What is next to nothing beside the rest of its objective is rounding.
        family = [v for n, v in gradients.items() if n.rpartition(" ")[0] == name.rpartition(" ")[0]]
        close = 1e-6 * max(float(v.abs().max()) for v in family)
        torch.testing.assert_close(first[name], values, rtol=1e-3, atol=close, msg=name)
        assert torch.equal(first[name], second[name]), name


@pytest.mark.parametrize("size", PER_DEVICE)
def test_each_process_sums_up_its_own_samples(found: SimpleNamespace, size: int) -> None:
    first, second = (found.by_two[size, rank] for rank in (0, 1))
    sums = {name: values for name, values in found.alone.items() if " sums of " in name}
    assert len(sums) == 7 + 2 + 5
    for name, values in sums.items():
        torch.testing.assert_close(first[name] + second[name], values, rtol=1e-5, atol=1e-6, msg=name)
        assert (values[1] > first[name][1] > 0).all(), name
