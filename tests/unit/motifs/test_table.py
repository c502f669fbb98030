import itertools
import json
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genebert.errors import GenebertError
from genebert.motifs.motif import Motif
from genebert.motifs.read import read_motifs
from genebert.motifs.table import (
    MotifTable,
    log_odds,
    motif_probabilities,
    read_motif_table,
    score_distribution,
    score_motifs,
    threshold_for,
    write_motif_table,
)

DROPPED = ["MA0498.3", "MA2557.1", "MA2559.1", "MA2572.1", "MA2575.1"]


def _all_words(scores: np.ndarray, background: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Score and probability of each word, by writing all of them down."""
    words = np.array(list(itertools.product(range(4), repeat=scores.shape[1])))
    columns = np.arange(scores.shape[1])
    return scores[words, columns].sum(axis=1), np.asarray(background)[words].prod(axis=1)


def test_log_odds_agree_with_a_worked_example() -> None:
    motif = Motif("M", "m", np.array([[8.0], [2.0], [0.0], [0.0]]))
    found = log_odds(motif, [0.3, 0.2, 0.2, 0.3], pseudocount=1.0)
    # (8 + 0.3)/11/0.3, (2 + 0.2)/11/0.2, 0.2/11/0.2, 0.3/11/0.3
    expected = [math.log(8.3 / 3.3), math.log(2.2 / 2.2), math.log(1 / 11), math.log(1 / 11)]
    assert found[:, 0].tolist() == [round(value * 1024) / 1024 for value in expected]


@given(
    st.lists(st.lists(st.integers(0, 50), min_size=4, max_size=4).filter(any), min_size=1, max_size=6),
    st.sampled_from([1e-4, 1e-3, 0.01, 0.05, 0.3]),
    st.sampled_from([[0.25] * 4, [0.295, 0.205, 0.205, 0.295]]),
)
@settings(max_examples=60)
def test_thresholds_equal_those_of_all_words_written_down(
    columns: list[list[int]], p_value: float, background: list[float]
) -> None:
    scores = log_odds(Motif("M", "m", np.array(columns, float).T), background, 1.0)
    word_score, word_p = _all_words(scores, background)
    values = np.unique(word_score)
    at_least = np.array([word_p[word_score >= value].sum() for value in values])
    rare = np.flatnonzero(at_least <= p_value * (1 + 1e-9))
    best = rare[0] if len(rare) else -1
    threshold, realised = threshold_for(scores, background, p_value)
    assert threshold == values[best]
    assert realised == pytest.approx(at_least[best], rel=1e-9)


def test_the_distribution_of_scores_is_that_of_all_words(jaspar_file: Path) -> None:
    background = [0.295, 0.205, 0.205, 0.295]
    motif = next(m for m in read_motifs(jaspar_file) if m.counts.shape[1] == 8)
    scores = log_odds(motif, background, 1.0)
    word_score, word_p = _all_words(scores, background)
    lowest, probability = score_distribution(scores, background)
    assert probability.sum() == pytest.approx(1)
    expected = np.zeros(len(probability))
    np.add.at(expected, np.rint(word_score * 1024).astype(int) - lowest, word_p)
    np.testing.assert_allclose(probability, expected, atol=1e-12)


def test_realised_p_of_long_motifs_agrees_with_random_words(jaspar_table: MotifTable) -> None:
    rng = np.random.default_rng(1)
    words = rng.choice(4, size=(400_000, 20), p=jaspar_table.background)
    chosen = [m for m in jaspar_table.motifs if m.log_odds.shape[1] in (15, 20)][:12]
    hits = sum(
        int((m.log_odds[words[:, :length], np.arange(length)].sum(axis=1) >= m.threshold).sum())
        for m in chosen
        for length in [m.log_odds.shape[1]]
    )
    expected = len(words) * sum(m.realised_p for m in chosen)
    assert expected > 300
    assert abs(hits - expected) < 6 * math.sqrt(expected)


def test_every_kept_motif_of_jaspar_is_rare_enough(jaspar_table: MotifTable) -> None:
    assert len(jaspar_table.motifs) == 1014
    assert sorted(motif.matrix_id for motif in jaspar_table.dropped) == DROPPED
    everything = jaspar_table.motifs + jaspar_table.dropped
    assert sum(motif.realised_p > 1e-4 * (1 + 1e-9) for motif in everything) == 139
    assert max(motif.realised_p for motif in jaspar_table.motifs) <= 1e-3
    assert min(motif.realised_p for motif in jaspar_table.dropped) > 1e-3
    for motif in everything:
        assert motif.lowest <= motif.threshold <= motif.highest
        if motif.realised_p > 1e-4 * (1 + 1e-9):
            assert motif.threshold == motif.highest, "only the best words are hits"


def test_under_equal_base_frequencies_115_motifs_cannot_reach_the_p_value(
    jaspar_file: Path,
) -> None:
    motifs = read_motifs(jaspar_file)
    realised = [threshold_for(log_odds(m, [0.25] * 4, 1.0), [0.25] * 4, 1e-4)[1] for m in motifs]
    assert sum(p > 1e-4 * (1 + 1e-9) for p in realised) == 115
    # A motif whose only best word is longer than 6 bp reaches 4 ** -7 < 1e-4.
    assert all(p <= 1e-4 or m.counts.shape[1] <= 9 for p, m in zip(realised, motifs, strict=True))


def test_dropped_motifs_are_listed_in_the_log(jaspar_file: Path, tmp_path: Path) -> None:
    said = write_motif_table(
        jaspar_file,
        [0.295, 0.205, 0.205, 0.295],
        1.0,
        1e-4,
        1e-3,
        "file",
        None,
        tmp_path / "t.parquet",
    )
    first, *rest = said.splitlines()
    assert first.startswith("1019 motifs in order of file; 139 of 1019 motifs cannot reach p = 0.0001")
    assert "5 of these are likelier than 0.001 and dropped" in first
    assert sorted(line.split()[1] for line in rest) == DROPPED


def test_a_table_is_read_back_as_written(few_motifs: Path, tmp_path: Path) -> None:
    background = [0.295, 0.205, 0.205, 0.295]
    write_motif_table(
        few_motifs, background, 0.5, 0.01, 0.012, "similarity", None, tmp_path / "t.parquet"
    )
    made = score_motifs(read_motifs(few_motifs), background, 0.5, 0.01, 0.012)
    read = read_motif_table(tmp_path / "t.parquet")
    assert read.digest() == made.digest()
    assert (read.background, read.pseudocount, read.p_value) == (background, 0.5, 0.01)
    for a, b in zip(read.motifs + read.dropped, made.motifs + made.dropped, strict=True):
        assert (a.label, a.threshold, a.realised_p) == (b.label, b.threshold, b.realised_p)
        assert a.log_odds.tolist() == b.log_odds.tolist()
        assert (a.tf_class, a.tf_family) == ("", "")


@pytest.mark.parametrize("order", ["similarity", "family", "file"])
def test_order_and_families_are_stored_whatever_the_order_of_the_file(
    few_motifs: Path, tmp_path: Path, order: str
) -> None:
    families = tmp_path / "families.tsv"
    families.write_text(
        "matrix_id\tclass\tfamily\nMA9003.1\tA\ttbp\nMA9001.1\tB\tgata\nMA9001.2\tC\told\n"
    )
    lines = few_motifs.read_text().splitlines(keepends=True)
    backwards = tmp_path / "backwards.jaspar"
    backwards.write_text("".join(lines[10:] + lines[5:10] + lines[:5]))
    written = []
    for number, file in enumerate((few_motifs, backwards)):
        out = tmp_path / f"{number}.parquet"
        said = write_motif_table(file, [0.25] * 4, 1.0, 0.01, 0.05, order, families, out)
        assert f"in order of {order}" in said
        written.append(out.read_bytes())
    assert (written[0] == written[1]) == (order != "file")
    table = read_motif_table(out)
    assert table.order == order
    assert {m.name: (m.tf_class, m.tf_family) for m in table.motifs} == {
        "GATA": ("B", "gata"),
        "EBOX": ("", ""),
        "TATA": ("A", "tbp"),
    }
    if order == "family":
        assert [motif.name for motif in table.motifs] == ["TATA", "GATA", "EBOX"]


def test_the_order_by_family_needs_one_family(few_motifs: Path, tmp_path: Path) -> None:
    out = tmp_path / "t.parquet"
    with pytest.raises(GenebertError, match="no motif has a family"):
        write_motif_table(few_motifs, [0.25] * 4, 1.0, 0.01, 0.05, "family", None, out)
    assert not out.exists()


def test_the_digest_sees_order_names_scores_and_background(few_table: MotifTable) -> None:
    digests = {
        few_table.digest(),
        MotifTable(few_table.motifs[::-1], [], few_table.background, 1.0, 0.01).digest(),
        MotifTable(few_table.motifs[:2], [], few_table.background, 1.0, 0.01).digest(),
        MotifTable(few_table.motifs, [], [0.25] * 4, 1.0, 0.01).digest(),
    }
    assert len(digests) == 4


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"background": [0.1, 0.2, 0.3, 0.4]}, "background 0.1 0.2 0.3 0.4 differs between the strands"),
        ({"background": [0.3, 0.2, 0.205, 0.295]}, "differs between the strands"),
        ({"background": [0.25, 0.25, 0.25, 0.0]}, "is not four frequencies between 0 and 1"),
        ({"background": [-0.5, 1.0, 1.0, -0.5]}, "is not four frequencies"),
        ({"background": [float("nan")] * 4}, "is not four frequencies"),
        ({"background": [0.5, 0.5]}, "is not four frequencies"),
        ({"background": [0.3] * 4}, "sums to 1.2"),
        ({"background": [0.249999] * 4}, "sums to 0.999996"),
        ({"pseudocount": 0.0}, "pseudocount 0 is not positive"),
        ({"pseudocount": float("inf")}, "pseudocount inf is not positive"),
        ({"p_value": 0.0}, "p-value 0 is not between 0 and 1"),
        ({"p_value": 1.0, "max_realised_p": 1.0}, "p-value 1 is not between 0 and 1"),
        ({"max_realised_p": 0.009}, "0.009, is not between the p-value 0.01 and 1"),
        ({"max_realised_p": 3.0}, "3, is not between the p-value"),
    ],
)
def test_settings_out_of_range_are_refused(
    few_motifs: Path, changed: dict[str, object], said: str
) -> None:
    good = {"background": [0.25] * 4, "pseudocount": 1.0, "p_value": 0.01, "max_realised_p": 0.05}
    assert score_motifs(read_motifs(few_motifs), **good).motifs
    with pytest.raises(GenebertError) as error:
        score_motifs(read_motifs(few_motifs), **good | changed)
    assert said in str(error.value)


def test_a_threshold_serves_both_strands(jaspar_table: MotifTable) -> None:
    for motif in jaspar_table.motifs[::50]:
        reverse = motif.log_odds[::-1, ::-1]
        lowest, probability = score_distribution(reverse, jaspar_table.background)
        at_least = probability[round(motif.threshold * 1024) - lowest :].sum()
        assert at_least == pytest.approx(motif.realised_p, rel=1e-6)


def test_no_motif_left_is_refused(few_motifs: Path) -> None:
    with pytest.raises(GenebertError, match="no motif reaches p ≤ 1e-09"):
        score_motifs(read_motifs(few_motifs), [0.25] * 4, 1.0, 1e-10, 1e-9)


def test_base_probabilities_are_those_that_the_counts_give(few_motifs: Path) -> None:
    background = [0.3, 0.2, 0.2, 0.3]
    counts = {motif.matrix_id: motif.counts for motif in read_motifs(few_motifs)}
    table = score_motifs(read_motifs(few_motifs), background, 1.0, 0.01, 0.05)
    probabilities, widths = motif_probabilities(table)
    assert probabilities.dtype == np.float32
    assert probabilities.shape == (3, max(widths), 4)
    for motif, row, width in zip(table.motifs, probabilities, widths, strict=True):
        own = counts[motif.matrix_id]
        assert width == own.shape[1]
        smoothed = own + np.array(background)[:, None]
        # Log-odds are rounded to a 1024th: probabilities are no more exact than that.
        np.testing.assert_allclose(row[:width].T, smoothed / smoothed.sum(axis=0), rtol=2e-3)
        np.testing.assert_allclose(row[:width].sum(axis=1), 1, rtol=1e-6)
        assert not row[width:].any()
    assert len(set(widths.tolist())) > 1


def test_a_file_that_is_no_motif_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "motifs.parquet"
    with pytest.raises(GenebertError, match=r"motifs\.parquet is missing or damaged"):
        read_motif_table(path)
    path.write_text("MOTIF")
    with pytest.raises(GenebertError, match=r"motifs\.parquet is missing or damaged"):
        read_motif_table(path)
    pq.write_table(pa.table({"log_odds": [1.0]}), path)
    with pytest.raises(GenebertError, match=r"motifs\.parquet has no column 'row'"):
        read_motif_table(path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"pseudocount": "1"}, "is not a motif table"),
        ({"background": [0.5, 0.5]}, "is not four frequencies"),
        ({"background": [0.4, 0.2, 0.2, 0.2]}, "differs between the strands"),
    ],
)
def test_a_table_whose_settings_are_none_is_refused(
    few_motifs: Path, tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    path = tmp_path / "motifs.parquet"
    write_motif_table(few_motifs, [0.25] * 4, 1.0, 0.01, 0.05, "file", None, path)
    table = pq.read_table(path)
    settings = json.loads(table.schema.metadata[b"genebert"]) | changes
    pq.write_table(table.replace_schema_metadata({"genebert": json.dumps(settings)}), path)
    with pytest.raises(GenebertError, match=said):
        read_motif_table(path)


def test_scores_that_would_crash_the_scanner_are_refused(few_motifs: Path, tmp_path: Path) -> None:
    path = tmp_path / "motifs.parquet"
    write_motif_table(few_motifs, [0.25] * 4, 1.0, 0.01, 0.05, "file", None, path)
    table = pq.read_table(path)
    scores = table["log_odds"].to_pylist()
    for odd in (scores[0][:-1], [], [*scores[0][:-1], float("nan")]):
        column = pa.array([odd, *scores[1:]], table.schema.field("log_odds").type)
        pq.write_table(table.set_column(table.schema.names.index("log_odds"), "log_odds", column), path)
        with pytest.raises(GenebertError, match="are no matrix"):
            read_motif_table(path)
