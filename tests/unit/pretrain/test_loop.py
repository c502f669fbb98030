"""Pre-training from Parquet parts to a model's folder and its history."""

import csv
import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from genebert.config import Compute, Pretrain, Variant
from genebert.config import Model as ModelSettings
from genebert.corpus.read import Corpus
from genebert.errors import GenebertError
from genebert.model.checkpoint import load_model
from genebert.model.genebert import GeneBERT
from genebert.pretrain.loop import pretrain
from genebert.pretrain.record import Outputs
from genebert.pretrain.setup import Sources
from genebert.pretrain.statistics import mean_composition, row_statistics

VARIANTS = {
    "multimodal": Variant(masked_sequence=1, masked_region=1, matching=1),
    "sequence_only": Variant(masked_sequence=1),
    "region_only": Variant(masked_region=1),
    "matching_only": Variant(matching=1),
    "shuffled": Variant(matching=1, matrices="shuffled"),
    "scratch": Variant(trained=False),
}
Run = Callable[..., Path]
History = list[tuple[int, str, str, float]]


def settings(**changes: object) -> Pretrain:
    content = {
        "steps": 6,
        "batch_size": 16,
        "learning_rate": 5e-3,
        "warmup_steps": 0,
        "matching_group": 8,
        "evaluate_every": 100,
        "evaluation_views": 32,
        "variants": VARIANTS,
    }
    return Pretrain(**(content | changes))


def history_of(folder: Path) -> History:
    with (folder / "history.tsv").open(newline="") as text:
        rows = list(csv.DictReader(text, delimiter="\t"))
    return [(int(r["step"]), r["split"], r["metric"], float(r["value"])) for r in rows]


def values(history: History, split: str, metric: str) -> list[float]:
    return [value for _, s, m, value in history if (s, m) == (split, metric)]


@pytest.fixture(scope="module")
def folder(
    synthetic_corpus: Corpus, write_corpus: Callable, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    return write_corpus(synthetic_corpus, tmp_path_factory.mktemp("small") / "corpus")


@pytest.fixture(scope="module")
def large_folder(
    make_corpus: Callable, write_corpus: Callable, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Enough regions that what is learnt holds for others."""
    segments = [("chr1", "train", 700), ("chr1", "validation", 150), ("chr1", "test", 20)]
    corpus = make_corpus(segments, seed=2)
    return write_corpus(corpus, tmp_path_factory.mktemp("large") / "corpus")


@pytest.fixture
def run(folder: Path, tiny_settings: ModelSettings, tmp_path: Path) -> Run:
    """Pre-train into a new folder and return it."""
    number = 0

    def go(
        variant: str, seed: int = 1, corpus: Path = folder, per_device: int = 64, **changes: object
    ) -> Path:
        nonlocal number
        number += 1
        out = tmp_path / str(number)
        pretrain(
            corpus,
            Sources(),
            tiny_settings,
            settings(**changes),
            Compute(batch_per_device=per_device),
            variant,
            seed,
            "cpu",
            Outputs(out / "model", out / "history.tsv", out / "checkpoints"),
        )
        return out

    return go


def weights(out: Path) -> bytes:
    return (out / "model" / "model.safetensors").read_bytes()


@pytest.mark.parametrize("variant", ["multimodal", "region_only", "shuffled"])
def test_the_same_seed_gives_the_same_bytes(run: Run, variant: str) -> None:
    first, second, other = run(variant), run(variant), run(variant, seed=2)
    assert weights(first) == weights(second)
    assert (first / "history.tsv").read_bytes() == (second / "history.tsv").read_bytes()
    assert weights(first) != weights(other)


def test_the_model_folder_loads_and_says_what_it_is(run: Run, synthetic_corpus: Corpus) -> None:
    model, card = load_model(run("multimodal", seed=4) / "model", "0123456789abcdef")
    assert (card.variant, card.seed, card.steps) == ("multimodal", 4, 6)
    assert card.motifs == synthetic_corpus.metadata.motifs
    mean, std = row_statistics(synthetic_corpus)
    np.testing.assert_array_equal(model.row_mean.numpy(), mean)
    np.testing.assert_array_equal(model.row_std.numpy(), std)
    assert all(values.isfinite().all() for values in model.state_dict().values())


@pytest.mark.filterwarnings("error::UserWarning")
def test_variants_of_a_seed_start_from_the_same_weights(run: Run) -> None:
    start = load_file(run("scratch", seed=3) / "model" / "model.safetensors")
    for variant in VARIANTS:
        out = run(variant, seed=3, steps=1, learning_rate=1e-30)
        after = load_file(out / "model" / "model.safetensors")
        torch.testing.assert_close(after, start, rtol=0, atol=1e-25, msg=variant)


def test_scratch_takes_no_step(run: Run) -> None:
    out = run("scratch")
    _, card = load_model(out / "model")
    assert card.steps == 0
    history = history_of(out)
    assert {(step, split) for step, split, _, _ in history} == {(0, "validation")}
    (top1,) = values(history, "validation", "matching_top1")
    (chance,) = values(history, "validation", "matching_chance")
    assert top1 == pytest.approx(chance, abs=0.25)


@pytest.mark.parametrize(
    ("variant", "untouched"),
    [
        ("sequence_only", ["region_encoder", "focal_path", "composition_path"]),
        ("region_only", ["sequence_encoder", "focal_path", "composition_path"]),
        ("matching_only", ["masked_sequence_head", "masked_region_head"]),
    ],
)
def test_a_variant_leaves_the_rest_of_the_network_as_it_was(
    run: Run, variant: str, untouched: list[str]
) -> None:
    start = load_file(run("scratch") / "model" / "model.safetensors")
    end = load_file(run(variant) / "model" / "model.safetensors")
    same = {name.partition(".")[0] for name in start if torch.equal(start[name], end[name])}
    changed = {name.partition(".")[0] for name in start if not torch.equal(start[name], end[name])}
    assert set(untouched) <= same - changed
    assert changed


def replaced(corpus: Corpus, split: str) -> Corpus:
    """Give the regions of a split other sequences and scores."""
    rng = np.random.default_rng(99)
    own = corpus.in_split(split)
    sequence, best = corpus.sequence.copy(), corpus.best.copy()
    sequence[own] = rng.integers(0, 4, (own.sum(), sequence.shape[1]))
    best[own] = np.where(best[own] > 0, 16, 0)
    return dataclasses.replace(corpus, sequence=sequence, best=best)


@pytest.mark.parametrize("variant", ["multimodal", "shuffled"])
def test_test_regions_change_neither_weights_nor_history(
    run: Run, synthetic_corpus: Corpus, write_corpus: Callable, tmp_path: Path, variant: str
) -> None:
    other = write_corpus(replaced(synthetic_corpus, "test"), tmp_path / "corpus")
    first, second = run(variant), run(variant, corpus=other)
    assert weights(first) == weights(second)
    assert (first / "history.tsv").read_bytes() == (second / "history.tsv").read_bytes()


def test_validation_regions_change_the_history_but_not_the_weights(
    run: Run, synthetic_corpus: Corpus, write_corpus: Callable, tmp_path: Path
) -> None:
    other = write_corpus(replaced(synthetic_corpus, "validation"), tmp_path / "corpus")
    first, second = run("multimodal"), run("multimodal", corpus=other)
    assert weights(first) == weights(second)
    assert (first / "history.tsv").read_bytes() != (second / "history.tsv").read_bytes()


def test_training_regions_change_the_weights(
    run: Run, synthetic_corpus: Corpus, write_corpus: Callable, tmp_path: Path
) -> None:
    other = write_corpus(replaced(synthetic_corpus, "train"), tmp_path / "corpus")
    assert weights(run("multimodal")) != weights(run("multimodal", corpus=other))


@pytest.fixture(scope="module")
def pooled_folder(
    make_corpus: Callable, write_corpus: Callable, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Neighbours are alike here: what is hidden in one column shows in the others."""
    return write_corpus(make_corpus(pools=3), tmp_path_factory.mktemp("pooled") / "corpus")


@pytest.mark.parametrize(
    ("variant", "objective", "share"),
    [
        ("sequence_only", "masked_sequence", 0.98),
        ("region_only", "masked_region", 0.8),
    ],
)
def test_the_loss_of_an_objective_falls_in_training_and_held_out(
    run: Run, pooled_folder: Path, variant: str, objective: str, share: float
) -> None:
    history = history_of(run(variant, corpus=pooled_folder, steps=200, evaluate_every=20))
    for split, number in (("train", 20), ("validation", 10)):
        losses = values(history, split, f"{objective}_loss")
        assert len(losses) == number
        assert np.mean(losses[-3:]) < share * losses[0], split


def test_the_losses_of_the_multimodal_variant_fall_together(run: Run, pooled_folder: Path) -> None:
    history = history_of(run("multimodal", corpus=pooled_folder, steps=120))
    names = ("masked_sequence", "masked_region", "matching")
    first, last = (
        [np.mean(values(history, "train", f"{name}_loss")[part]) for name in names]
        for part in (slice(0, 2), slice(-3, None))
    )
    assert sum(last) < 0.85 * sum(first)
    assert all(end < start for start, end in zip(first, last, strict=True))


@pytest.mark.parametrize("variant", ["matching_only", "multimodal"])
def test_held_out_matching_beats_chance_by_far(run: Run, large_folder: Path, variant: str) -> None:
    out = run(variant, corpus=large_folder, steps=150, batch_size=32, evaluation_views=512)
    history = history_of(out)
    chance = values(history, "validation", "matching_chance")[-1]
    assert chance == pytest.approx(1 / 8, abs=0.02)
    assert values(history, "validation", "matching_top1")[-1] > 4 * chance
    assert values(history, "validation", "matching_loss")[-1] < 0.6 * math.log(8)
    assert values(history, "validation", "matching_linear_top1")[0] > 0.7


def test_shuffled_matrices_leave_held_out_matching_at_chance(run: Run, large_folder: Path) -> None:
    out = run("shuffled", corpus=large_folder, steps=150, batch_size=32, evaluation_views=1024)
    history = history_of(out)
    chance = values(history, "validation", "matching_chance")[-1]
    for metric in ("matching_top1", "matching_linear_top1"):
        assert values(history, "validation", metric)[-1] == pytest.approx(chance, abs=0.04), metric


@pytest.mark.parametrize(
    ("variant", "objective"),
    [
        ("sequence_only", "masked_sequence"),
        ("region_only", "masked_region"),
        ("matching_only", "matching"),
    ],
)
def test_a_loss_that_is_not_finite_stops_the_run(
    run: Run, tmp_path: Path, variant: str, objective: str
) -> None:
    with pytest.raises(GenebertError, match=rf"{objective}_loss is not finite at step \d") as told:
        run(variant, learning_rate=1e35)
    assert "learning_rate" in told.value.fix
    assert not list(tmp_path.rglob("*.safetensors"))
    assert not list(tmp_path.rglob("history.tsv"))


def test_a_model_that_broke_in_its_last_step_is_not_saved(run: Run, tmp_path: Path) -> None:
    with pytest.raises(GenebertError, match="not finite"):
        run("sequence_only", learning_rate=1e35, steps=1)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_a_corpus_without_held_out_regions_is_refused(
    run: Run, make_corpus: Callable, write_corpus: Callable, tmp_path: Path
) -> None:
    corpus = write_corpus(make_corpus([("chr1", "train", 20)]), tmp_path / "corpus")
    with pytest.raises(GenebertError, match="validation"):
        run("multimodal", corpus=corpus)


def test_row_statistics_are_those_of_training_views(synthetic_corpus: Corpus) -> None:
    views = np.repeat(np.arange(120), np.diff(synthetic_corpus.open_offsets))
    views = views[synthetic_corpus.split[views] == 0]
    train = synthetic_corpus.best[views] / 128
    assert len(views) > 1.5 * (synthetic_corpus.split == 0).sum()
    mean, std = row_statistics(synthetic_corpus)
    np.testing.assert_allclose(mean, train.mean(0), rtol=1e-5)
    np.testing.assert_allclose(std, train.std(0), rtol=1e-5)


def test_a_motif_without_hits_is_divided_by_one(synthetic_corpus: Corpus) -> None:
    best = synthetic_corpus.best.copy()
    best[:, 7] = 0
    mean, std = row_statistics(dataclasses.replace(synthetic_corpus, best=best))
    assert (mean[7], std[7]) == (0, 1)


def test_the_mean_composition_is_that_of_training_regions(
    synthetic_corpus: Corpus, tiny_model: GeneBERT
) -> None:
    names = tiny_model.tokenizer.vocabulary[5:]
    expected = np.zeros(64)
    training = synthetic_corpus.sequence[synthetic_corpus.split == 0]
    for row in training:
        text = "".join("ACGT"[code] for code in row)
        other = text[::-1].translate(str.maketrans("ACGT", "TGCA"))
        for strand in (text, other):
            for start in range(len(text) - 2):
                expected[names.index(strand[start : start + 3])] += 1
    expected /= (2 * 58) ** 0.5 * len(training)
    found = mean_composition(tiny_model, synthetic_corpus).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5)
