import numpy as np
import pytest

from genebert.benchmarks.comparisons import (
    Difference,
    Figure,
    difference,
    is_pretrained,
    sentences,
    sequence_twin,
    untrained_twin,
)

RNG = np.random.default_rng(0)
SHARED = RNG.normal(0, 0.05, 1000)  # what a draw does to every model


def _figure(mean: float, own: float = 0.005) -> Figure:
    return Figure(mean, mean + SHARED + RNG.normal(0, own, 1000))


def test_a_difference_is_paired() -> None:
    found = difference(_figure(0.83), _figure(0.80))
    assert found is not None
    assert found.mean == pytest.approx(0.03)
    low, high = found.interval or (0, 0)
    # Of two independent figures it would be ±0.14; the common part cancels.
    assert (low, high) == pytest.approx((0.03 - 0.0139, 0.03 + 0.0139), abs=0.003)


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        ((0.01, 0.03), "helped"),
        ((-0.03, -0.01), "hurt"),
        ((-0.01, 0.03), "no difference shown"),
        ((0.0, 0.03), "no difference shown"),
        (None, "too few blocks to say"),
    ],
)
def test_what_a_difference_allows_to_say(interval: tuple[float, float] | None, verdict: str) -> None:
    assert Difference(0.01, interval).verdict == verdict


def test_a_difference_says_its_signs() -> None:
    assert str(Difference(0.01, (-0.0104, 0.0306))) == "+0.010 (-0.010 to +0.031)"
    assert str(Difference(-0.2, None)) == "-0.200"


def test_figures_that_are_missing_or_undefined_have_no_difference() -> None:
    assert difference(_figure(0.8), None) is None
    assert difference(Figure(None, None), _figure(0.8)) is None
    few = difference(Figure(0.9, None), Figure(0.8, None))
    assert few is not None
    assert few.interval is None


@pytest.mark.parametrize(
    ("model", "untrained", "sequence"),
    [
        ("multimodal.both", "scratch.both", "sequence_only.sequence"),
        ("multimodal.sequence", "scratch.sequence", "sequence_only.sequence"),
        ("multimodal.both.probe", "scratch.both.probe", "sequence_only.sequence.probe"),
        ("no_matching.region", "scratch.region", "sequence_only.sequence"),
        ("sequence_only.sequence.llr", "scratch.sequence.llr", None),
        ("scratch.both", None, None),
        ("scratch.both.distance", None, None),
        ("kmer_logistic", None, None),
        ("hf.zhihan1996_DNABERT-2", None, None),
        ("hf.a.both", None, None),
    ],
)
def test_each_model_is_compared_with_its_twins(
    model: str, untrained: str | None, sequence: str | None
) -> None:
    models = {model, untrained, sequence, "scratch.llr", "sequence_only.both"} - {None}
    assert untrained_twin(model, "scratch", models) == untrained
    assert sequence_twin(model, "scratch", "sequence_only", models) == sequence
    assert untrained_twin(model, "scratch", {model}) is None
    assert sequence_twin(model, "scratch", "sequence_only", {model}) is None
    assert is_pretrained(model, "scratch") == (untrained is not None or model.startswith("hf."))


def test_the_baseline_of_frozen_random_weights_is_the_twin_of_probes_of_both_inputs() -> None:
    models = ["untrained_probe", "multimodal.both.probe", "multimodal.sequence.probe"]
    twins = [untrained_twin(model, "scratch", models) for model in models]
    assert twins == [None, "untrained_probe", None]
    assert untrained_twin(models[1], "scratch", [*models, "scratch.both.probe"]) == "scratch.both.probe"


def _said(figures: dict[str, Figure]) -> list[str]:
    return sentences(figures, "auroc", "scratch", "sequence_only")


def test_sentences_say_what_helped_and_what_did_not() -> None:
    said = _said(
        {
            "multimodal.both": _figure(0.85),
            "scratch.both": _figure(0.80),
            "sequence_only.sequence": _figure(0.85),
            "scratch.sequence": _figure(0.90),
            "kmer_logistic": _figure(0.95),
            "gc_only": _figure(0.60),
        }
    )
    assert len(said) == 4
    assert said[0].startswith(
        "pre-training: helped; `multimodal.both` less `scratch.both`: auroc +0.050"
    )
    assert said[1].startswith("the second modality: no difference shown; `multimodal.both` less `seq")
    assert said[2].startswith("pre-training: hurt; `sequence_only.sequence` less `scratch.sequence`")
    assert "is worse than the best baseline, `kmer_logistic`: auroc 0.850 and 0.950" in said[3]


@pytest.mark.parametrize(
    ("rival", "words"), [(0.8, "beats"), (0.9, "does not beat"), (0.99, "is worse than")]
)
def test_a_model_that_does_not_beat_a_baseline_is_named(rival: float, words: str) -> None:
    (said,) = _said({"hf.encoder.probe": _figure(0.9), "cnn": _figure(rival)})
    assert f"the best pre-trained model, `hf.encoder.probe`, {words} the best baseline, `cnn`" in said


def test_too_few_blocks_say_nothing() -> None:
    figures = {
        "multimodal.both": Figure(0.9, None),
        "scratch.both": Figure(0.5, None),
        "cnn": Figure(0.6, None),
    }
    said = _said(figures)
    assert said[0].startswith("pre-training: too few blocks to say; ")
    assert "cannot be told (too few blocks) from the best baseline" in said[1]


def test_without_partners_nothing_is_compared() -> None:
    assert _said({"multimodal.both": _figure(0.9)}) == []
    assert _said({"cnn": _figure(0.9), "scratch.both": _figure(0.5)}) == []
