"""Matching has no way round: where sequences, or matrices, are all alike it stays at chance."""

import csv
import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from genebert.config import Compute, Pretrain, Variant
from genebert.config import Model as ModelSettings
from genebert.corpus.read import Corpus
from genebert.pretrain.loop import pretrain
from genebert.pretrain.record import Outputs
from genebert.pretrain.setup import Sources

GROUP, BATCH, STEPS = 8, 32, 100
FEW = 2
SETTINGS = Pretrain(
    steps=STEPS,
    batch_size=BATCH,
    learning_rate=5e-3,
    warmup_steps=0,
    matching_group=GROUP,
    evaluate_every=STEPS,
    evaluation_views=512,
    variants={
        # Masks of sequence and matrix are drawn from one key: nothing of the one may show in the other.
        "multimodal": Variant(masked_sequence=1, masked_region=1, matching=1),
        "matching_only": Variant(matching=1),
    },
)


@pytest.fixture(scope="module")
def corpus(make_corpus: Callable) -> Corpus:
    """Few enough training regions that their indices could be learnt by heart; chr2 has few."""
    segments = [("chr1", "train", 60), ("chr1", "validation", 150), ("chr2", "train", FEW)]
    return make_corpus(segments, seed=2)


@pytest.fixture
def top1(
    write_corpus: Callable, tiny_settings: ModelSettings, tmp_path: Path
) -> Callable[[Corpus, str], dict[str, tuple[float, float]]]:
    """Pre-train; return top-1 and chance of the later half of the training, and on held-out views."""

    def go(corpus: Corpus, variant: str) -> dict[str, tuple[float, float]]:
        outputs = Outputs(tmp_path / "model", tmp_path / "history.tsv", tmp_path / "checkpoints")
        folder = write_corpus(corpus, tmp_path / "corpus")
        pretrain(folder, Sources(), tiny_settings, SETTINGS, Compute(), variant, 1, "cpu", outputs)
        with outputs.history.open(newline="") as text:
            rows = [row for row in csv.DictReader(text, delimiter="\t") if int(row["step"]) > STEPS // 2]
        return {
            split: tuple(
                np.mean([float(r["value"]) for r in rows if (r["split"], r["metric"]) == (split, name)])
                for name in ("matching_top1", "matching_chance")
            )
            for split in ("train", "validation")
        }

    return go


def assert_at_chance(top1: float, chance: float, samples: int) -> None:
    assert chance == pytest.approx(1 / GROUP, abs=0.02)
    # Five standard deviations: samples of a group are not independent.
    assert abs(top1 - chance) < 5 * math.sqrt(chance * (1 - chance) / samples)


@pytest.mark.parametrize("variant", SETTINGS.variants)
def test_matching_is_at_chance_where_all_sequences_are_alike(
    corpus: Corpus, top1: Callable, variant: str
) -> None:
    alike = np.repeat(corpus.sequence[:1], corpus.regions, axis=0)
    found = top1(dataclasses.replace(corpus, sequence=alike), variant)
    # In training too: there is nothing to learn by heart.
    assert_at_chance(*found["train"], samples=BATCH * STEPS // 2)
    assert_at_chance(*found["validation"], samples=SETTINGS.evaluation_views)


@pytest.mark.parametrize("variant", SETTINGS.variants)
def test_matching_is_at_chance_where_all_matrices_are_alike(
    corpus: Corpus, top1: Callable, variant: str
) -> None:
    alike = corpus.best.copy()
    # But for chr2: less the mean of what is all alike, nothing would be left. Training may know these
    # by heart, and where a stretch of regions ends.
    alike[:-FEW] = alike[0]
    found = top1(dataclasses.replace(corpus, best=alike), variant)
    assert_at_chance(*found["validation"], samples=SETTINGS.evaluation_views)


def test_matching_is_beyond_chance_where_none_is(corpus: Corpus, top1: Callable) -> None:
    found = top1(corpus, "matching_only")
    assert found["train"][0] > 4 * found["train"][1]
    assert found["validation"][0] > 1.5 * found["validation"][1]
