"""Nothing of a pre-training comes from cell types that are held out."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from genebert.config import Compute, Pretrain, Variant
from genebert.config import Model as ModelSettings
from genebert.corpus.held_out import without_cell_types
from genebert.corpus.read import Corpus
from genebert.errors import GenebertError
from genebert.pretrain.loop import pretrain
from genebert.pretrain.npmi_table import read_npmi, write_npmi
from genebert.pretrain.record import Outputs
from genebert.pretrain.setup import Sources, gather_knowledge, identity_of, initial_model
from genebert.pretrain.statistics import mean_composition, row_statistics

HELD_OUT = ("cell0", "cell2")
SETTINGS = Pretrain(
    steps=3,
    batch_size=16,
    matching_group=8,
    warmup_steps=1,
    evaluate_every=3,
    evaluation_views=32,
    variants={
        "own": Variant(masked_sequence=1, masked_region=1, matching=1, next_segment=1),
        "genemask": Variant(masked_sequence=1, masking="genemask"),
        "motif": Variant(masked_sequence=1, masking="motif", motif_target=1),
        "scratch": Variant(trained=False),
    },
)


@pytest.fixture(scope="module")
def unseen(scanned: SimpleNamespace) -> np.ndarray:
    """bool [regions]: those that are open in held-out cell types only."""
    corpus = scanned.corpus
    kept = [corpus.metadata.cell_types.index(name) for name in ("cell1", "cell3")]
    views = np.split(corpus.open_cell_type, corpus.open_offsets[1:-1])
    found = np.array([not np.isin(own, kept).any() for own in views])
    for split in ("train", "validation"):
        assert (found & corpus.in_split(split)).sum() >= 3
    return found


@pytest.fixture(scope="module")
def spoilt(
    scanned: SimpleNamespace,
    unseen: np.ndarray,
    write_hits: Callable,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The corpus with other sequences and hits wherever none but held-out cell types look."""
    sequence = scanned.corpus.sequence.copy()
    sequence[unseen] = 0
    best = scanned.corpus.best.copy()
    best[unseen] = 0
    corpus = dataclasses.replace(scanned.corpus, sequence=sequence, best=best)
    rows = [[] if hidden else own for own, hidden in zip(scanned.rows, unseen, strict=True)]
    return write_hits(corpus, rows, tmp_path_factory.mktemp("spoilt") / "corpus")


def _run(
    folder: Path,
    scanned: SimpleNamespace,
    model: ModelSettings,
    out: Path,
    variant: str,
    held_out: Sequence[str],
) -> dict[str, bytes]:
    out.mkdir()
    write_npmi(folder, 3, out / "npmi.parquet", held_out)
    outputs = Outputs(out / "model", out / "history.tsv", out / "checkpoints")
    sources = Sources(scanned.motifs, out / "npmi.parquet")
    compute = Compute(batch_per_device=16)
    pretrain(folder, sources, model, SETTINGS, compute, variant, 1, "cpu", outputs, held_out)
    names = ("npmi.parquet", "history.tsv", "model/model.safetensors", "model/config.json")
    return {name: (out / name).read_bytes() for name in names}


@pytest.mark.parametrize("variant", SETTINGS.variants)
def test_what_only_they_have_changes_no_bit_of_weights_tables_or_figures(
    scanned: SimpleNamespace, spoilt: Path, tiny_settings: ModelSettings, tmp_path: Path, variant: str
) -> None:
    def run(folder: Path, name: str, held_out: Sequence[str]) -> dict[str, bytes]:
        return _run(folder, scanned, tiny_settings, tmp_path / name, variant, held_out)

    first, second = (
        run(folder, name, HELD_OUT) for folder, name in ((scanned.folder, "a"), (spoilt, "b"))
    )
    assert first == second
    # It would, were they not held out.
    everything = run(spoilt, "c", ())
    for name in ("npmi.parquet", "history.tsv", "model/model.safetensors"):
        assert everything[name] != first[name]
    provenance = (tmp_path / "a/model/provenance.json").read_text()
    assert json.loads(provenance)["settings"]["held_out_cell_types"] == ["cell0", "cell2"]


def test_statistics_are_of_the_regions_left(
    scanned: SimpleNamespace, unseen: np.ndarray, tiny_settings: ModelSettings
) -> None:
    corpus: Corpus = scanned.corpus
    left = without_cell_types(corpus, HELD_OUT)
    rows = np.flatnonzero(corpus.in_split("train") & ~unseen)
    model = initial_model(tiny_settings, Variant(matching=1), 1, left)
    ids = model.tokenizer(torch.from_numpy(corpus.sequence[rows]))
    torch.testing.assert_close(mean_composition(model, left), model.tokenizer.composition(ids).mean(0))
    views = np.split(corpus.open_cell_type, corpus.open_offsets[1:-1])
    counts = [sum(cell in (1, 3) for cell in views[row]) for row in rows]
    scores = np.repeat(corpus.best[rows] / 128, counts, axis=0)
    mean, std = row_statistics(left)
    np.testing.assert_allclose(mean, scores.mean(0), rtol=1e-5)
    np.testing.assert_allclose(std, np.where(scores.std(0) > 1e-6, scores.std(0), 1), rtol=1e-4)


def test_the_npmi_table_says_whose_regions_it_leaves_out(
    scanned: SimpleNamespace, unseen: np.ndarray, tmp_path: Path
) -> None:
    path, catalogue = tmp_path / "npmi.parquet", scanned.corpus.metadata.catalogue
    number = int((scanned.corpus.in_split("train") & ~unseen).sum())
    assert f"of {number} training regions" in write_npmi(scanned.folder, 3, path, HELD_OUT)
    assert (read_npmi(path, 3, catalogue, HELD_OUT[::-1]) > -np.inf).any()
    with pytest.raises(GenebertError, match=r"leaves out the cell types cell0, cell2, .* \(none\)"):
        read_npmi(path, 3, catalogue)
    with pytest.raises(GenebertError, match="leaves out"):
        read_npmi(scanned.npmi, 3, catalogue, HELD_OUT)
    assert (pq.read_table(path)["count"].to_numpy() >= 101).all()


def test_the_wrong_table_is_refused_before_training(
    scanned: SimpleNamespace, tiny_settings: ModelSettings
) -> None:
    corpus = without_cell_types(scanned.corpus, HELD_OUT)
    variant = SETTINGS.variants["genemask"]
    model = initial_model(tiny_settings, variant, 1, corpus)
    with pytest.raises(GenebertError, match="make the NPMI table with the same held-out cell types"):
        gather_knowledge(corpus, scanned.folder, Sources(npmi=scanned.npmi), variant, model, "cpu")


def test_unknown_cell_types_are_refused(
    scanned: SimpleNamespace, tiny_settings: ModelSettings, tmp_path: Path
) -> None:
    outputs = Outputs(tmp_path / "model", tmp_path / "history.tsv", tmp_path / "checkpoints")
    what = (scanned.folder, Sources(), tiny_settings, SETTINGS, Compute(), "own", 1, "cpu", outputs)
    with pytest.raises(GenebertError, match="'Liver' is in no sample"):
        pretrain(*what, held_out=["Liver"])
    with pytest.raises(GenebertError, match="'Liver' is in no sample"):
        write_npmi(scanned.folder, 3, tmp_path / "npmi.parquet", ["Liver"])
    assert not (tmp_path / "npmi.parquet").exists()
    assert not outputs.model.exists()


def test_checkpoints_of_other_held_out_cell_types_are_others(
    scanned: SimpleNamespace, tiny_settings: ModelSettings
) -> None:
    what = (tiny_settings, SETTINGS, "own", 1, scanned.folder, Sources())
    none, one, two = (identity_of(*what, held_out) for held_out in ((), HELD_OUT, HELD_OUT[::-1]))
    assert one == two
    assert {name for name in none if none[name] != one[name]} == {"held-out cell types"}
    assert identity_of(*what) == none
