"""Embeddings by cell type: components against scikit-learn, neighbours against counting."""

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.decomposition import PCA

from genebert.errors import GenebertError
from genebert.report.embeddings import (
    MOST,
    NEIGHBOURS,
    Embedding,
    components,
    read_embeddings,
    section,
    separation,
    thinned,
)


def write(
    folder: Path, variant: str, features: np.ndarray, cell_type: list[str], split: list[str]
) -> Path:
    path = folder / variant / "seed1/embeddings.parquet"
    path.parent.mkdir(parents=True)
    values = pa.array(features.reshape(-1).astype(np.float32))
    table = pa.table(
        {
            "region_id": pa.array(np.arange(len(features)) // 2, pa.uint32()),
            "cell_type": pa.array(cell_type).dictionary_encode(),
            "split": pa.array(split).dictionary_encode(),
            "features": pa.FixedSizeListArray.from_arrays(values, features.shape[1]),
        }
    )
    pq.write_table(table, path)
    return path


def drawn(shift: float, number: int = 120, width: int = 6) -> tuple[np.ndarray, list[str]]:
    rng = np.random.default_rng(0)
    cell_type = [f"cell{i % 3}" for i in range(number)]
    features = rng.normal(size=(number, width))
    features[:, 1] += shift * np.array([i % 3 for i in range(number)])
    return features, cell_type


def test_components_equal_scikit_learn() -> None:
    features, _ = drawn(2.0)
    points, share = components(features)
    pca = PCA(2).fit(features)
    expected = pca.transform(features)
    assert share == pytest.approx(pca.explained_variance_ratio_)
    for own, other in zip(points.T, expected.T, strict=True):
        assert own == pytest.approx(other, abs=1e-9) or own == pytest.approx(-other, abs=1e-9)


def test_one_feature_has_one_component() -> None:
    points, share = components(np.arange(4.0)[:, None])
    assert points.shape == (4, 2) and share == pytest.approx([1, 0])
    assert points[:, 0] == pytest.approx([-1.5, -0.5, 0.5, 1.5])


@pytest.mark.parametrize("shift", [0.0, 3.0])
def test_neighbours_equal_counting(shift: float) -> None:
    features, cell_type = drawn(shift)
    region = np.arange(len(features)) // 2
    found = separation(Embedding("toy", 1, region, np.array(cell_type, object), features))
    assert found is not None
    same: dict[str, list[float]] = {}
    chance: dict[str, list[float]] = {}
    for i, own in enumerate(cell_type):
        others = [j for j in range(len(cell_type)) if region[j] != region[i]]
        near = sorted(others, key=lambda j: float(((features[i] - features[j]) ** 2).sum()))[:NEIGHBOURS]
        same.setdefault(own, []).append(np.mean([cell_type[j] == own for j in near]))
        chance.setdefault(own, []).append(np.mean([cell_type[j] == own for j in others]))
    assert found.same == pytest.approx(np.mean([np.mean(v) for v in same.values()]))
    assert found.chance == pytest.approx(np.mean([np.mean(v) for v in chance.values()]))
    assert (found.same > 2 * found.chance) == (shift > 0)


def test_one_cell_type_cannot_be_told_apart() -> None:
    features, cell_type = drawn(0)
    alone = np.array(["cell0"] * len(cell_type), object)
    assert separation(Embedding("toy", 1, np.arange(len(alone)), alone, features)) is None


def test_views_are_thinned_evenly_by_cell_type() -> None:
    rng = np.random.default_rng(0)
    region = rng.permutation(1000)
    cell_type = np.array(["a"] * 600 + ["b"] * 400, object)
    rows = thinned(region, cell_type)
    for name in "ab":
        own = region[rows[cell_type[rows] == name]]
        assert len(own) <= MOST and (np.diff(own) > 0).all()
        everything = np.sort(region[cell_type == name])
        assert np.array_equal(own, everything[:: math.ceil(len(everything) / MOST)])


def test_only_held_out_views_are_read(tmp_path: Path) -> None:
    features, cell_type = drawn(1.0)
    features[:, 4] = 7  # says nothing
    split = ["test" if i % 4 < 2 else "train" for i in range(len(features))]
    (found,) = read_embeddings([write(tmp_path, "toy", features, cell_type, split)])
    assert found.variant == "toy" and found.seed == 1
    kept = np.array(split) == "test"
    assert sorted(found.region) == sorted((np.arange(len(features)) // 2)[kept])
    assert found.features.shape == (kept.sum(), 5)
    assert found.features.mean(0) == pytest.approx(0, abs=1e-9)
    assert found.features.std(0) == pytest.approx(1)
    row = int(np.flatnonzero((found.region == 0) & (found.cell_type == "cell0"))[0])
    expected = (features[0, 0] - features[kept, 0].mean()) / features[kept, 0].std()
    assert found.features[row, 0] == pytest.approx(expected, abs=1e-6)


def test_the_section_names_every_variant_and_cell_type(tmp_path: Path) -> None:
    features, cell_type = drawn(1.0)
    everything = ["test"] * len(features)
    files = [write(tmp_path, name, features, cell_type, everything) for name in ("one", "two")]
    found = section(files)
    assert [row["variant"] for row in found["rows"]] == ["one", "two"]
    for text in ("one, seed 1", "two, seed 1", "cell0", "cell1", "cell2"):
        assert f">{text}<" in found["figure"]
    share = components(read_embeddings(files)[0].features)[1]
    assert f"PC 1 ({100 * share[0]:.0f} % of variance)" in found["figure"]


def test_without_held_out_views_there_is_nothing_to_show(tmp_path: Path) -> None:
    features, cell_type = drawn(1.0)
    path = write(tmp_path, "toy", features, cell_type, ["train"] * len(features))
    assert section([path]) == {} and section([]) == {}


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    features, cell_type = drawn(1.0)
    path = write(tmp_path, "toy", features, cell_type, ["test"] * len(features))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(GenebertError, match=r"embeddings\.parquet is missing or damaged"):
        read_embeddings([path])
