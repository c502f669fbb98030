"""The table of pre-training, its baselines, and what is said of them."""

import re
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genebert.config import Variant
from genebert.report.curves import pretraining
from genebert.report.histories import Run
from genebert.report.measures import MEASURES, references
from genebert.report.pretraining import masking_line, section, standing, verdict

MakeRuns = Callable[..., list[Run]]
MULTIMODAL = Variant(masked_sequence=1, masked_region=10, matching=0.5)
SHUFFLED = Variant(masked_sequence=1, matching=0.5, matrices="shuffled")
SEQUENCE = Variant(masked_sequence=1)
UNTRAINED = Variant(trained=False)
MARKOV, RIDGE = "masked_sequence_markov_base_accuracy", "matching_linear_top1"


def sequence(bases: float, perplexity: float = 5.0) -> dict[str, float]:
    return {
        "masked_sequence_accuracy": 0.2,
        "masked_sequence_perplexity": perplexity,
        "masked_sequence_fraction": 0.137,
        "masked_sequence_base_accuracy": bases,
    }


def whole(bases: float, r2: float, top1: float) -> dict[str, float]:
    return sequence(bases) | {"masked_region_r2": r2, "matching_top1": top1, "matching_chance": 0.01}


@pytest.fixture
def runs(make_runs: MakeRuns) -> list[Run]:
    """Three variants with two seeds each, one of them a control, and an untrained one."""
    return make_runs(
        (
            "multimodal",
            MULTIMODAL,
            [whole(0.4, 0.1, 0.8), whole(0.5, 0.3, 0.82)],
            {MARKOV: 0.34, RIDGE: 0.9},
        ),
        ("sequence_only", SEQUENCE, [sequence(0.3), sequence(0.32)], {MARKOV: 0.34}),
        (
            "shuffled",
            SHUFFLED,
            [sequence(0.33) | {"matching_top1": v, "matching_chance": 0.01} for v in (0.011, 0.013)],
            {MARKOV: 0.34, RIDGE: 0.013},
        ),
        ("scratch", UNTRAINED, [whole(0.25, -0.02, 0.01)] * 2, {}),
        train={"masked_sequence_fraction": 0.141},
    )


def test_a_row_holds_the_mean_and_the_extremes_of_the_seeds(runs: list[Run]) -> None:
    page = section(runs)
    assert [row["variant"] for row in page["rows"]] == [
        "multimodal",
        "sequence_only",
        "shuffled",
        "scratch",
    ]
    assert page["metrics"] == [
        "masked_sequence_accuracy",
        "masked_sequence_perplexity",
        "masked_sequence_base_accuracy",
        "masked_region_r2",
        "matching_top1",
    ]
    assert page["heads"] == [
        ("Masked tokens", 2),
        ("Fully hidden bases", 1),
        ("Hidden matrix blocks", 1),
        ("Matching", 1),
    ]
    multimodal, sequence_only, _, scratch = (row["cells"] for row in page["rows"])
    assert multimodal[2:] == [
        ("0.450", "0.400 to 0.500"),
        ("0.200", "0.100 to 0.300"),
        ("0.810", "0.800 to 0.820"),
    ]
    assert sequence_only[3:] == [("–", "")] * 2
    assert scratch[3] == ("−0.020", "−0.020 to −0.020")
    assert [row["seeds"] for row in page["rows"]] == [2] * 4


def test_one_seed_has_no_spread(make_runs: MakeRuns) -> None:
    page = section(make_runs(("a", SEQUENCE, [sequence(0.3)], {MARKOV: 0.34})))
    assert page["rows"][0]["cells"][2] == ("0.300", "")
    assert page["seeds"] == 1


def test_an_untrained_variant_adds_no_columns(make_runs: MakeRuns) -> None:
    page = section(
        make_runs(
            ("a", SEQUENCE, [sequence(0.3)], {MARKOV: 0.34}),
            ("scratch", UNTRAINED, [whole(0.25, 0, 0)], {}),
        )
    )
    assert "masked_region_r2" not in page["metrics"] and "matching_top1" not in page["metrics"]
    assert all(len(row["cells"]) == 3 for row in page["rows"])


def test_baselines_stand_in_the_column_of_what_they_are_held_against(runs: list[Run]) -> None:
    found = {row["label"]: row["cells"] for row in section(runs)["baselines"]}
    assert found == {
        "Markov chain": ["", "", "0.340", "", ""],
        "mean of each motif": ["", "", "", "0.000", ""],
        "ridge regression: multimodal": ["", "", "", "", "0.900"],
        "ridge regression: shuffled": ["", "", "", "", "0.013"],
        "chance": ["", "", "", "", "0.010"],
    }


def test_the_same_baseline_of_all_variants_is_named_once(runs: list[Run]) -> None:
    bases = next(measure for measure in MEASURES if measure.metric == "masked_sequence_base_accuracy")
    (reference,) = references(runs, bases)
    assert reference.label == "Markov chain" and reference.value == pytest.approx(0.34)


def test_the_verdict_says_who_beats_what(runs: list[Run]) -> None:
    assert verdict(runs) == [
        "On fully hidden bases, multimodal (0.450) beats the Markov chain (0.340); "
        "sequence_only (0.310) and shuffled (0.330) stay below the Markov chain (0.340).",
        "On hidden blocks of the matrix, multimodal (0.200) beats the mean of each motif (0.000).",
        "At matching, multimodal (0.810) stays below the ridge regression (0.900) but beats chance "
        "(0.010).",
        "At matching, shuffled (0.012), a control whose sequences and matrices do not belong together, "
        "is at chance (0.010).",
    ]


def test_seeds_that_disagree_are_no_clear_difference(make_runs: MakeRuns) -> None:
    bases = [sequence(0.5), sequence(0.33)]
    (sentence,) = verdict(make_runs(("a", SEQUENCE, bases, {MARKOV: 0.34})))
    assert (
        sentence
        == "On fully hidden bases, a (0.415) does not differ clearly from the Markov chain (0.340)."
    )


def test_a_control_that_finds_pairs_is_given_away(make_runs: MakeRuns) -> None:
    found = [sequence(0.3) | {"matching_top1": 0.2, "matching_chance": 0.01}]
    sentences = verdict(make_runs(("shuffled", SHUFFLED, found, {MARKOV: 0.34, RIDGE: 0.01})))
    assert sentences[-1].endswith("is above chance (0.010).")


def test_encoders_are_judged_without_their_direct_paths(make_runs: MakeRuns) -> None:
    final = sequence(0.3) | {
        "matching_top1": 0.95,
        "matching_encoders_top1": 0.5,
        "matching_chance": 0.01,
    }
    runs = make_runs(("a", MULTIMODAL, [final], {MARKOV: 0.2, RIDGE: 0.9}))
    assert verdict(runs)[1:] == [
        "At matching, a (0.950) beats the ridge regression (0.900) and chance (0.010).",
        "At matching by the encoders alone, a (0.500) beats chance (0.010).",
    ]
    assert section(runs)["heads"][-1] == ("Matching", 2)


def test_optional_objectives_are_held_against_chance(make_runs: MakeRuns) -> None:
    recipe = Variant(next_segment=1, motif_target=1)
    final = {
        "next_segment_accuracy": 0.51,
        "next_segment_chance": 0.5,
        "motif_target_accuracy": 0.2,
        "motif_target_chance": 0.25,
    }
    runs = make_runs(("a", recipe, [final], {"next_segment_gc_accuracy": 0.6}))
    assert verdict(runs) == [
        "At telling which segments are of one place, a (0.510) stays below the GC comparison (0.600) "
        "but does not differ clearly from chance (0.500).",
        "On bases of motif hits, a (0.200) stays below chance (0.250).",
    ]
    assert section(runs)["masked"] is None


fractions = st.floats(0, 1, allow_nan=False)
OPPOSITE = {"above": "below", "below": "above", "level": "level"}


@settings(max_examples=60)
@given(
    st.lists(st.tuples(fractions, fractions), min_size=1, max_size=4), st.sampled_from([None, 16, 4096])
)
def test_standing_turns_round_with_its_sides(
    pairs: list[tuple[float, float]], views: int | None
) -> None:
    values, others = map(list, zip(*pairs, strict=True))
    assert standing(others, values, views) == OPPOSITE[standing(values, others, views)]
    assert standing(values, values, views) == "level"


def test_few_views_make_no_clear_difference() -> None:
    # (0.6 × 0.4 + 0.5 × 0.5) / 196 views is the square of 0.05, one standard error.
    assert standing([0.6], [0.5], views=195) == "level"
    assert standing([0.6], [0.5], views=197) == "above"
    assert standing([0.5], [0.6], views=197) == "below"
    assert standing([0.5004], [0.5], views=None) == "level"


@pytest.mark.parametrize(
    ("figure", "value", "shown"),
    [
        ("perplexity", 3174.2, "3,174"),
        ("perplexity", 31.74, "31.7"),
        ("perplexity", 4.316, "4.32"),
        ("perplexity", float("inf"), "inf"),
        ("accuracy", 0.04567, "0.046"),
        ("R²", -0.0001, "0.000"),
        ("R²", -0.025, "−0.025"),
    ],
)
def test_figures_are_shown_with_sensible_digits(figure: str, value: float, shown: str) -> None:
    measure = next(measure for measure in MEASURES if measure.figure == figure)
    assert measure.number(value) == shown


def test_masking_is_reported_as_it_was_realised(make_runs: MakeRuns) -> None:
    figures = {"masked_sequence_fraction": 0.1134, "masking_global_pmi_steps": 5}
    curriculum = Variant(masked_sequence=1, masking="cm_step")
    # 5 + 5 of 40 steps.
    (run,) = make_runs(("a", curriculum, [sequence(0.3)], {MARKOV: 0.3}), train=figures)
    assert masking_line([run]) == "cm_step: 11.3\u00a0%, global_pmi in 25\u00a0% of steps"
    (run,) = make_runs(("b", Variant(masked_region=1), [{"masked_region_r2": 0.1}], {}))
    assert masking_line([run]) == "–"


def test_recipes_are_told_apart(runs: list[Run]) -> None:
    assert [row["recipe"] for row in section(runs)["rows"]] == [
        "masked_sequence 1, masked_region 10, matching 0.5",
        "masked_sequence 1",
        "masked_sequence 1, matching 0.5, matrices of other loci",
        "untrained: random weights",
    ]


def texts(svg: str) -> list[str]:
    return re.findall(r"<text [^>]*>([^<]*)</text>", svg)


def test_a_panel_for_each_measure_that_is_pursued(runs: list[Run]) -> None:
    svg = pretraining(runs)
    shown = texts(svg)
    for title in ("Masked tokens", "Fully hidden bases", "Hidden matrix blocks", "Matching"):
        assert shown.count(title) == 1
    assert "Next segment" not in shown and "Motif target" not in shown
    assert texts(svg).count("step") == 4
    for name in ("multimodal", "sequence_only", "shuffled", "scratch, untrained", "chance"):
        assert shown.count(name) == 1
    assert svg == pretraining(runs)


def test_each_seed_is_a_thin_line_of_its_variants_colour(runs: list[Run]) -> None:
    svg = pretraining(runs)
    thin = re.findall(r"stroke: #([0-9a-f]{6}); stroke-opacity: [\d.]+; stroke-width: 0.7", svg)
    # Two seeds in each panel of a variant; one more line in the legend, of no variant.
    assert {colour: thin.count(colour) for colour in thin} == {
        "0072b2": 8,
        "d55e00": 4,
        "009e73": 6,
        "444444": 1,
    }


def test_one_seed_of_sequences_alone_has_two_panels(make_runs: MakeRuns) -> None:
    svg = pretraining(make_runs(("a", SEQUENCE, [sequence(0.3)], {MARKOV: 0.34})))
    assert texts(svg).count("step") == 2
    assert "stroke-width: 0.7" not in svg
    assert {"held out", "training"} <= set(texts(svg))
