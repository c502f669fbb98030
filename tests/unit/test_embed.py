"""Features of a corpus's views, against the model asked for one view at a time."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from genebert import embed
from genebert.config import Inputs
from genebert.config import Model as ModelSettings
from genebert.corpus.read import Corpus
from genebert.corpus.sample import Views, place_corpus
from genebert.embed import draw_views, feature_width, write_embeddings
from genebert.errors import GenebertError
from genebert.model.checkpoint import Card, save_model
from genebert.model.genebert import GeneBERT

SPLITS = ("train", "validation", "test")
INPUTS: tuple[Inputs, ...] = ("sequence", "region", "both")


@pytest.fixture(scope="module")
def model(tiny_settings: ModelSettings, randomise: Callable) -> GeneBERT:
    return randomise(GeneBERT(tiny_settings, 40))


@pytest.fixture(scope="module")
def folders(
    model: GeneBERT,
    tiny_settings: ModelSettings,
    synthetic_corpus: Corpus,
    write_corpus: Callable,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, Path]:
    """The model's and the corpus's."""
    folder = tmp_path_factory.mktemp("embed")
    facts = synthetic_corpus.metadata
    card = Card(
        settings=tiny_settings,
        motifs=facts.motifs,
        motif_digest=facts.motif_digest,
        variant="toy",
        seed=0,
        steps=0,
    )
    save_model(model, card, folder / "model")
    return folder / "model", write_corpus(synthetic_corpus, folder / "corpus")


def stretch_of(corpus: Corpus, region: int) -> list[int]:
    """Return the regions from one end of a region's contig or split to the other, one by one."""
    found = [region]
    for step in (-1, 1):
        other = region + step
        while (
            0 <= other < corpus.regions
            and corpus.contig[other] == corpus.contig[region]
            and corpus.split[other] == corpus.split[region]
        ):
            found.append(other)
            other += step
    return sorted(found)


def is_open(corpus: Corpus, region: int, cell_type: int) -> bool:
    return cell_type in corpus.open_cell_type[slice(*corpus.open_offsets[region : region + 2])]


@torch.no_grad()
def expected_of(
    model: GeneBERT, corpus: Corpus, region: int, cell_type: int, inputs: Inputs
) -> np.ndarray:
    features = []
    if inputs != "region":
        features.append(model.sequence_features(torch.from_numpy(corpus.sequence[[region]])))
    if inputs != "sequence":
        own = [other for other in stretch_of(corpus, region) if is_open(corpus, other, cell_type)]
        matrix, present = torch.zeros(1, 40, 5), torch.zeros(1, 5, dtype=torch.bool)
        for column in range(5):
            place = own.index(region) + column - 2
            if 0 <= place < len(own):
                matrix[0, :, column] = torch.from_numpy(corpus.best[own[place]] / 128)
                present[0, column] = True
        features.append(model.region_features(matrix, present))
    return torch.cat(features, dim=1)[0].numpy()


@pytest.mark.parametrize("inputs", INPUTS)
def test_each_row_is_what_the_model_gives_of_one_view(
    model: GeneBERT,
    synthetic_corpus: Corpus,
    folders: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    inputs: Inputs,
) -> None:
    monkeypatch.setattr(embed, "_VIEWS_A_GROUP", 50)
    line = write_embeddings(*folders, inputs, tmp_path / "out.parquet", "cpu", batch_size=16)
    table = pq.read_table(tmp_path / "out.parquet").to_pandas()
    names = synthetic_corpus.metadata.cell_types
    expected = [
        (region, cell_type, split)
        for number, split in enumerate(SPLITS)
        for cell_type in range(4)
        for region in range(synthetic_corpus.regions)
        if synthetic_corpus.split[region] == number and is_open(synthetic_corpus, region, cell_type)
    ]
    found = zip(table["region_id"], map(names.index, table["cell_type"]), table["split"], strict=True)
    assert list(found) == expected
    assert line.startswith(f"{len(expected)} views of 120 regions")
    for row in range(0, len(table), 7):
        region, cell_type, _ = expected[row]
        features = table["features"][row]
        assert len(features) == feature_width(model, inputs)
        own = expected_of(model, synthetic_corpus, region, cell_type, inputs)
        np.testing.assert_allclose(features, own, atol=1e-4)


def test_a_draw_takes_so_many_of_each_cell_type(synthetic_corpus: Corpus) -> None:
    views = Views(place_corpus(synthetic_corpus), "train", 5)
    cell_type = views.cell_type.numpy()
    counts = np.bincount(cell_type)
    for most in (1, 7, counts.min(), counts.max() - 1, 10_000):
        drawn = draw_views(views, most)
        assert (np.diff(drawn) > 0).all()
        assert np.bincount(cell_type[drawn]).tolist() == np.minimum(counts, most).tolist()
        np.testing.assert_array_equal(drawn, draw_views(views, most))
    assert len(draw_views(views, None)) == len(views)
    assert (draw_views(views, 7, seed=1) != draw_views(views, 7, seed=2)).any()


def test_a_sample_is_rows_of_the_whole(folders: tuple[Path, Path], tmp_path: Path) -> None:
    write_embeddings(*folders, "both", tmp_path / "all.parquet", "cpu")
    for name in ("some", "again"):
        write_embeddings(*folders, "both", tmp_path / f"{name}.parquet", "cpu", sample=4)
    assert (tmp_path / "some.parquet").read_bytes() == (tmp_path / "again.parquet").read_bytes()
    key = ["split", "cell_type", "region_id"]
    every, some = (pq.read_table(tmp_path / f"{n}.parquet").to_pandas() for n in ("all", "some"))
    assert some.groupby(["split", "cell_type"], observed=True).size().tolist() == [4] * 12
    both = some.astype({"split": str, "cell_type": str}).merge(
        every.astype({"split": str, "cell_type": str}), on=key, validate="1:1"
    )
    assert len(both) == len(some)
    # Batches hold other views, so that sums may round differently.
    left, right = (np.stack(both[f"features_{side}"].to_list()) for side in "xy")
    np.testing.assert_allclose(left, right, atol=1e-5)


def test_a_split_without_views_is_no_trouble(
    folders: tuple[Path, Path], make_corpus: Callable, write_corpus: Callable, tmp_path: Path
) -> None:
    corpus = write_corpus(make_corpus([("chr1", "train", 12)]), tmp_path / "corpus")
    write_embeddings(folders[0], corpus, "both", tmp_path / "out.parquet", "cpu")
    assert set(pq.read_table(tmp_path / "out.parquet")["split"].to_pylist()) == {"train"}


def test_what_the_model_cannot_read_is_refused(
    folders: tuple[Path, Path],
    synthetic_corpus: Corpus,
    make_corpus: Callable,
    write_corpus: Callable,
    tmp_path: Path,
) -> None:
    longer = write_corpus(make_corpus(width=65), tmp_path / "longer")
    with pytest.raises(GenebertError, match="65 bp, the model reads 64"):
        write_embeddings(folders[0], longer, "both", tmp_path / "out.parquet", "cpu")
    metadata = synthetic_corpus.metadata.model_copy(update={"motif_digest": "another"})
    other = write_corpus(dataclasses.replace(synthetic_corpus, metadata=metadata), tmp_path / "other")
    with pytest.raises(GenebertError, match="other motifs"):
        write_embeddings(folders[0], other, "both", tmp_path / "out.parquet", "cpu")
    assert not (tmp_path / "out.parquet").exists()
