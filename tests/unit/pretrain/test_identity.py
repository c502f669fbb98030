"""A checkpoint's identity: each of its entries differs when what it stands for does, and no other."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import pytest
import torch
from transformers import BertConfig, BertModel

from genebert.config import Compute, Pretrain, Variant
from genebert.config import Model as ModelSettings
from genebert.errors import GenebertError
from genebert.files import digest_of
from genebert.pretrain.loop import pretrain
from genebert.pretrain.record import Outputs
from genebert.pretrain.setup import Sources, identity_of
from genebert.versions import STAGES

Identity = dict[str, str]
Identify = Callable[..., Identity]
BATCH = {"batch_size": 16, "matching_group": 8, "evaluation_views": 16, "warmup_steps": 2, "steps": 9}


class Training(NamedTuple):
    """All that a training is started with, but where it writes and how it computes."""

    variant: dict[str, Any]
    folder: Path
    sources: Sources
    model: ModelSettings
    settings: dict[str, Any]
    name: str = "own"
    seed: int = 1

    def content(self) -> Pretrain:
        return Pretrain(**(BATCH | self.settings), variants={self.name: Variant(**self.variant)})


@pytest.fixture
def identify(scanned: SimpleNamespace, tiny_settings: ModelSettings) -> Identify:
    """Return the identity of a training that differs from a plain one."""

    def go(variant: dict[str, Any], **changes: Any) -> Identity:
        sources = Sources(scanned.motifs, scanned.npmi)
        plain = Training(variant, scanned.folder, sources, tiny_settings, {})
        t = plain._replace(**changes)
        return identity_of(t.model, t.content(), t.name, t.seed, t.folder, t.sources)

    return go


# Of what is read of tables, all is: NPMI for masking, motifs for the target.
EVERYTHING = {
    "masked_sequence": 1.0,
    "masked_region": 1.0,
    "matching": 1.0,
    "next_segment": 1.0,
    "motif_target": 1.0,
    "masking": "genemask",
}


def differing(one: Identity, two: Identity) -> set[str]:
    assert one.keys() == two.keys()
    return {name for name in one if one[name] != two[name]}


def test_the_same_training_has_the_same_identity_wherever_it_lies(
    identify: Identify, scanned: SimpleNamespace, tiny_settings: ModelSettings, tmp_path: Path
) -> None:
    moved = Path(shutil.copytree(scanned.folder, tmp_path / "elsewhere"))
    tables = [Path(shutil.copy(path, tmp_path)) for path in (scanned.motifs, scanned.npmi)]
    # Sizes decide, whatever they are filled in from.
    model = tiny_settings.model_copy(update={"preset": "small"})
    other = identify(EVERYTHING, folder=moved, sources=Sources(*tables), model=model)
    assert other == identify(EVERYTHING)


@pytest.mark.parametrize("per_device", [8, 16])
def test_checkpoints_lie_in_a_folder_of_their_identity(
    scanned: SimpleNamespace, tiny_settings: ModelSettings, tmp_path: Path, per_device: int
) -> None:
    """How a training computes makes no difference."""
    content = Pretrain(**BATCH, learning_rate=1e35, variants={"own": Variant(**EVERYTHING)})
    what = (scanned.folder, Sources(scanned.motifs, scanned.npmi), tiny_settings, content)
    compute = Compute(batch_per_device=per_device, checkpoints_kept=per_device, gpus=0)
    outputs = Outputs(tmp_path / "model", tmp_path / "history.tsv", tmp_path / "checkpoints")
    with pytest.raises(GenebertError, match="not finite"):  # which leaves them there
        pretrain(*what, compute, "own", 3, "cpu", outputs)
    (folder,) = outputs.checkpoints.iterdir()
    identity = identity_of(tiny_settings, content, "own", 3, *what[:2])
    assert folder.name == digest_of(identity)


def test_each_setting_of_the_network_counts(identify: Identify, tiny_settings: ModelSettings) -> None:
    sequence = {
        "k": 4,
        "layers": 2,
        "width": 32,
        "heads": 1,
        "feedforward": 16,
        "positions": 65,
        "norm": "post",
    }
    region = {"patch": [8, 1], "window": [2, 2], "width": 32, "depths": [2, 1], "heads": [2, 2]}
    assert sequence.keys() == type(tiny_settings.sequence).model_fields.keys()
    assert region.keys() == type(tiny_settings.region).model_fields.keys()
    others = [{"columns": 7}, {"projection": 8}]
    for part, changes in (("sequence", sequence), ("region", region)):
        old = getattr(tiny_settings, part)
        others += [{part: old.model_copy(update={name: value})} for name, value in changes.items()]
    plain = {"matching": 1}
    first = identify(plain)
    for change in others:
        model = tiny_settings.model_copy(update=change)
        assert differing(first, identify(plain, model=model)) == {"model"}, change


def test_each_setting_of_the_pre_training_counts(identify: Identify) -> None:
    changes = {
        "steps": 10,
        "batch_size": 32,
        "learning_rate": 1e-3,
        "warmup_steps": 3,
        "weight_decay": 0.5,
        "gradient_clip": 0.5,
        "matching_group": 4,
        "region_mask": 0.25,
        "evaluate_every": 5,
        "evaluation_views": 32,
        "compile": True,
        "threads": 2,
    }
    assert changes.keys() == Pretrain.model_fields.keys() - {"variants"}
    first = identify({"matching": 1}, settings={"threads": 1})
    for name, value in changes.items():
        other = identify({"matching": 1}, settings={name: value})
        assert differing(first, other) == {"pre-training settings"}, name


def test_each_key_of_the_variant_and_its_name_count(identify: Identify) -> None:
    first = identify(EVERYTHING)
    assert differing(first, identify(EVERYTHING, name="other")) == {"variant"}
    changes = {name: 2.0 for name in EVERYTHING if name != "masking"}
    changes |= {"masking": "cm_gems", "matrices": "shuffled"}
    # The last two have tests of their own: see below, and test_loop.py.
    assert changes.keys() == Variant.model_fields.keys() - {"init_from", "trained"}
    for name, value in changes.items():
        assert differing(first, identify(EVERYTHING | {name: value})) == {"variant"}, name


def test_seed_and_stage_version_count(identify: Identify, monkeypatch: pytest.MonkeyPatch) -> None:
    first = identify(EVERYTHING)
    assert differing(first, identify(EVERYTHING, seed=2)) == {"seed"}
    monkeypatch.setitem(STAGES, "pretrain", STAGES["pretrain"] + 1)
    assert differing(first, identify(EVERYTHING)) == {"stage version"}


def test_corpus_and_motif_order_count(
    identify: Identify, scanned: SimpleNamespace, write_hits: Callable, tmp_path: Path
) -> None:
    plain = {"matching": 1}
    first = identify(plain)
    corpus = scanned.corpus
    sequence = corpus.sequence.copy()
    sequence[-1, -1] = (sequence[-1, -1] + 1) % 4  # one base of one region
    other = dataclasses.replace(corpus, sequence=sequence)
    folder = write_hits(other, scanned.rows, tmp_path / "sequence")
    assert differing(first, identify(plain, folder=folder)) == {"corpus"}
    metadata = corpus.metadata.model_copy(update={"motif_digest": "fedcba9876543210"})
    other = dataclasses.replace(corpus, metadata=metadata)
    folder = write_hits(other, scanned.rows, tmp_path / "motifs")
    assert differing(first, identify(plain, folder=folder)) == {"corpus", "motif order"}


def test_tables_count_where_they_are_read(
    identify: Identify, scanned: SimpleNamespace, tmp_path: Path
) -> None:
    """The same motifs, and the same k-mers, as other bytes: who knows what else is other."""
    others = {}
    for name in ("motifs", "npmi"):
        table = pq.read_table(getattr(scanned, name))
        others[name] = tmp_path / f"{name}.parquet"
        pq.write_table(table, others[name], compression="none")
    mine = Sources(scanned.motifs, scanned.npmi)
    readers = {
        "motifs": [{"motif_target": 1}, {"masked_sequence": 1, "masking": "motif"}],
        "npmi": [
            {"masked_sequence": 1, "masking": masking}
            for masking in ("genemask", "global_pmi", "cm_gems", "cm_step")
        ],
    }
    nobody = [{"masked_sequence": 1}, {"masked_region": 1}, {"matching": 1, "masking": "genemask"}]
    for name, other in others.items():
        theirs = mine._replace(**{name: other})
        for variant in [*readers["motifs"], *readers["npmi"], *nobody]:
            expected = {"tables"} if variant in readers[name] else set()
            found = differing(identify(variant, sources=mine), identify(variant, sources=theirs))
            assert found == expected, (name, variant)


def test_weights_to_start_from_count_by_what_the_folder_holds(
    identify: Identify, tiny_settings: ModelSettings, tmp_path: Path
) -> None:
    sizes = {"vocab_size": 69, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    sizes |= {"intermediate_size": 32, "max_position_embeddings": 64}
    sequence = tiny_settings.sequence.model_copy(update={"norm": "post"})
    model = tiny_settings.model_copy(update={"sequence": sequence})
    folder = tmp_path / "bert"
    variant = {"masked_sequence": 1, "init_from": str(folder)}
    bert = BertModel(BertConfig(**sizes))
    bert.save_pretrained(folder)
    first = identify(variant, model=model)
    without = identify({"masked_sequence": 1}, model=model)
    assert differing(first, without) == {"variant", "initial weights"}
    torch.nn.init.zeros_(bert.embeddings.word_embeddings.weight[7])
    bert.save_pretrained(folder)  # in the same place
    assert differing(first, identify(variant, model=model)) == {"initial weights"}
