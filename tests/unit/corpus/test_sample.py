"""Views and batches against their definitions, walked plainly."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch

from genebert.corpus.read import Corpus, read_corpus
from genebert.corpus.sample import Rows, Views, matrices, place_corpus, reverse_complement
from genebert.errors import GenebertError

SPLITS = ("train", "validation", "test")
WIDTHS = (1, 2, 5, 8)


def open_in(corpus: Corpus, region: int) -> list[int]:
    return corpus.open_cell_type[corpus.open_offsets[region] : corpus.open_offsets[region + 1]].tolist()


def naive_columns(corpus: Corpus, region: int, cell_type: int, width: int) -> list[int]:
    """Walk from the focal region, region by region, to where contig or split changes."""
    columns = [-1] * width
    columns[width // 2] = region
    for step in (-1, 1):
        column, here = width // 2 + step, region + step
        while (
            0 <= column < width
            and 0 <= here < corpus.regions
            and corpus.contig[here] == corpus.contig[region]
            and corpus.split[here] == corpus.split[region]
        ):
            if cell_type in open_in(corpus, here):
                columns[column] = here
                column += step
            here += step
    return columns


def naive_matrix(corpus: Corpus, columns: list[int]) -> np.ndarray:
    matrix = np.zeros((len(corpus.metadata.motifs), len(columns)), np.float32)
    for column, region in enumerate(columns):
        if region >= 0:
            matrix[:, column] = corpus.best[region] / 128
    return matrix


@pytest.fixture(scope="module")
def marked_corpus(synthetic_corpus: Corpus) -> Corpus:
    """Each region has one hit, of the motif whose number is the region's split."""
    best = np.zeros_like(synthetic_corpus.best)
    best[np.arange(synthetic_corpus.regions), synthetic_corpus.split] = 128
    return dataclasses.replace(synthetic_corpus, best=best)


def test_the_made_up_corpus_reads_back_from_its_parts(
    synthetic_corpus: Corpus, write_corpus: Callable, tmp_path
) -> None:
    read = read_corpus(write_corpus(synthetic_corpus, tmp_path / "corpus"))
    assert read.metadata == synthetic_corpus.metadata
    for field in dataclasses.fields(Corpus)[1:]:
        expected = getattr(synthetic_corpus, field.name)
        np.testing.assert_array_equal(getattr(read, field.name), expected, field.name)


@pytest.mark.parametrize("split", SPLITS)
def test_there_is_a_view_for_each_open_region_of_the_split(synthetic_corpus: Corpus, split: str) -> None:
    views = Views(place_corpus(synthetic_corpus), split, 3)
    found = sorted(zip(views.region.tolist(), views.cell_type.tolist(), strict=True))
    assert found == [
        (region, cell_type)
        for region in np.flatnonzero(synthetic_corpus.in_split(split)).tolist()
        for cell_type in open_in(synthetic_corpus, region)
    ]
    assert len(views) == len(found)


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("width", WIDTHS)
def test_columns_equal_a_plain_walk(synthetic_corpus: Corpus, split: str, width: int) -> None:
    views = Views(place_corpus(synthetic_corpus), split, width)
    found = views.columns_of(torch.arange(len(views))).tolist()
    for columns, region, cell_type in zip(
        found, views.region.tolist(), views.cell_type.tolist(), strict=True
    ):
        assert columns == naive_columns(synthetic_corpus, region, cell_type, width)


def test_two_stretches_of_one_split_on_one_contig_do_not_mix(synthetic_corpus: Corpus) -> None:
    columns = Views(place_corpus(synthetic_corpus), "train", 21).columns_of(torch.arange(50))
    first = ((columns >= 0) & (columns < 30)).any(1)
    second = ((columns >= 40) & (columns < 60)).any(1)
    assert first.any()
    assert second.any()
    assert not (first & second).any()


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("split", SPLITS)
def test_a_batch_holds_regions_of_its_split_alone(
    marked_corpus: Corpus, split: str, shuffled: bool
) -> None:
    views = Views(place_corpus(marked_corpus), split, 6)
    own = SPLITS.index(split)
    for step in range(60):
        batch = views.batch(4, step, torch.arange(32), augment=True, shuffled=shuffled)
        assert (marked_corpus.split[batch.focal.numpy()] == own).all()
        others = [row for row in range(batch.matrix.shape[1]) if row != own]
        assert not batch.matrix[:, others].any()
        assert torch.equal(batch.matrix[:, own] > 0, batch.present)


def test_the_sequences_of_training_batches_are_training_regions(synthetic_corpus: Corpus) -> None:
    held_out = {row.tobytes() for row in synthetic_corpus.sequence[synthetic_corpus.split != 0]}
    training = {row.tobytes() for row in synthetic_corpus.sequence[synthetic_corpus.split == 0]}
    views, seen = Views(place_corpus(synthetic_corpus), "train", 4), set()
    for step in range(100):
        codes = views.batch(0, step, torch.arange(16), augment=False).codes.numpy()
        seen |= {row.tobytes() for row in codes}
    assert not seen & held_out
    assert len(seen) > 0.9 * len(training)


def test_a_split_without_views_is_refused(make_corpus: Callable) -> None:
    corpus = make_corpus(segments=[("chr1", "train", 5)])
    with pytest.raises(GenebertError, match="validation"):
        Views(place_corpus(corpus), "validation", 3)


@pytest.mark.parametrize("shuffled", [False, True])
def test_a_batch_of_eight_equals_two_of_four(synthetic_corpus: Corpus, shuffled: bool) -> None:
    views = Views(place_corpus(synthetic_corpus), "train", 5)
    whole = views.batch(1, 7, torch.arange(8), augment=True, shuffled=shuffled)
    parts = [
        views.batch(1, 7, half, augment=True, shuffled=shuffled) for half in torch.arange(8).split(4)
    ]
    for name in whole._fields:
        joined = torch.cat([getattr(part, name) for part in parts])
        assert torch.equal(joined, getattr(whole, name)), name


@pytest.mark.parametrize("change", [{"seed": 2}, {"step": 8}, {"first": 8}])
def test_seed_step_and_index_each_change_the_sample(synthetic_corpus: Corpus, change: dict) -> None:
    views = Views(place_corpus(synthetic_corpus), "train", 5)

    def focal(seed: int = 1, step: int = 7, first: int = 0) -> list[int]:
        return views.batch(seed, step, torch.arange(first, first + 8), augment=False).focal.tolist()

    assert focal() == focal()
    assert focal(**change) != focal()


def test_every_view_is_drawn_about_equally_often(synthetic_corpus: Corpus) -> None:
    views = Views(place_corpus(synthetic_corpus), "test", 1)
    focal = views.batch(0, 0, torch.arange(20_000), augment=False).focal.numpy()
    drawn = np.bincount(focal, minlength=synthetic_corpus.regions)
    expected = np.bincount(views.region.numpy(), minlength=synthetic_corpus.regions)
    np.testing.assert_allclose(drawn / 20_000, expected / len(views), atol=0.01)


def test_matrices_equal_a_plain_loop(synthetic_corpus: Corpus) -> None:
    columns = torch.tensor([[3, -1, 119], [-1, -1, -1], [7, 7, 0]])
    dense = matrices(place_corpus(synthetic_corpus).best, columns).numpy()
    expected = [naive_matrix(synthetic_corpus, row) for row in columns.tolist()]
    np.testing.assert_array_equal(dense, np.stack(expected))


def test_regions_without_hits_give_zero_columns() -> None:
    best = Rows(np.array([[0, 0, 0, 0], [0, 64, 0, 32], [0, 0, 0, 0]], np.uint8), "cpu")
    found = matrices(best, torch.tensor([[0, 1, 2, -1]]))[0]
    assert found.tolist() == [[0, 0, 0, 0], [0, 0.5, 0, 0], [0, 0, 0, 0], [0, 0.25, 0, 0]]


def test_matrix_and_sequence_of_a_sample_belong_together(synthetic_corpus: Corpus) -> None:
    batch = Views(place_corpus(synthetic_corpus), "train", 5).batch(
        0, 0, torch.arange(40), augment=False
    )
    for focal, codes, matrix, present in zip(
        batch.focal.tolist(), batch.codes, batch.matrix, batch.present, strict=True
    ):
        assert np.array_equal(codes.numpy(), synthetic_corpus.sequence[focal])
        expected = naive_matrix(synthetic_corpus, [focal])[:, 0]
        np.testing.assert_array_equal(matrix[:, 2].numpy(), expected)
        assert present[2]
        assert not matrix[:, ~present].any()


def test_shuffled_samples_keep_their_sequence_and_get_another_matrix(
    synthetic_corpus: Corpus,
) -> None:
    views = Views(place_corpus(synthetic_corpus), "train", 5)
    own = views.batch(0, 0, torch.arange(200), augment=True)
    other = views.batch(0, 0, torch.arange(200), augment=True, shuffled=True)
    assert torch.equal(own.focal, other.focal)
    assert torch.equal(own.codes, other.codes)
    same = (own.matrix == other.matrix).flatten(1).all(1).float().mean().item()
    assert same < 0.1
    columns = {
        naive_matrix(synthetic_corpus, [r])[:, 0].tobytes()
        for r in np.flatnonzero(synthetic_corpus.in_split("train"))
    }
    assert all(matrix[:, 2].numpy().tobytes() in columns for matrix in other.matrix)


def test_augmentation_turns_half_of_the_sequences_and_nothing_else(
    synthetic_corpus: Corpus,
) -> None:
    views = Views(place_corpus(synthetic_corpus), "train", 5)
    plain = views.batch(0, 0, torch.arange(400), augment=False)
    turned = views.batch(0, 0, torch.arange(400), augment=True)
    for name in ("keys", "focal", "matrix", "present"):
        assert torch.equal(getattr(plain, name), getattr(turned, name)), name
    other = reverse_complement(plain.codes)
    flipped = (turned.codes == other).all(1)
    assert ((turned.codes == plain.codes).all(1) | flipped).all()
    assert flipped.float().mean().item() == pytest.approx(0.5, abs=0.1)


def test_reverse_complement_keeps_n() -> None:
    codes = torch.tensor([[0, 1, 2, 3, 4]], dtype=torch.uint8)  # ACGTN
    assert reverse_complement(codes).tolist() == [[4, 0, 1, 2, 3]]  # NACGT
    assert torch.equal(reverse_complement(reverse_complement(codes)), codes)
