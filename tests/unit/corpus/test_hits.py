"""Hits of a batch: those that a scan of the sequence as read finds, and no damaged part."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genebert.corpus.hits import Hits, PlacedHits, motifs_of_corpus, read_hits
from genebert.corpus.read import Corpus, read_corpus
from genebert.corpus.schema import SCHEMA
from genebert.corpus.write import write_manifest, write_rows
from genebert.errors import GenebertError
from genebert.motifs.reference import brute_force
from genebert.motifs.table import MotifTable, motif_probabilities, read_motif_table, write_motif_table

WIDTH = 90
COMPLEMENT = str.maketrans("ACGT", "TGCA")


@pytest.fixture(scope="module")
def corpus(built: SimpleNamespace) -> Corpus:
    return read_corpus(built.folder)


@pytest.fixture(scope="module")
def table(built: SimpleNamespace) -> MotifTable:
    return read_motif_table(built.table)


@pytest.fixture(scope="module")
def placed(built: SimpleNamespace, table: MotifTable) -> PlacedHits:
    return PlacedHits(read_hits(built.folder), motif_probabilities(table)[1], "cpu")


def found(placed: PlacedHits, focal: list[int], flip: list[bool]) -> list[set[tuple[int, ...]]]:
    """Return the (motif, start, end, strand) of each sample, once what pads them is checked."""
    hits = placed.of(torch.tensor(focal), torch.tensor(flip), WIDTH)
    assert all(column.dtype == torch.int64 for column in hits)
    samples = []
    for columns in zip(*(column.tolist() for column in hits), strict=True):
        rows = list(zip(*columns, strict=True))
        real = [row for row in rows if row[0] >= 0]
        assert rows[len(real) :] == [(-1, 0, 0, 0)] * (len(rows) - len(real))
        assert len(real) == len(set(real))
        samples.append(set(real))
    assert hits.motif.shape[1] == max(map(len, samples))
    return samples


def scanned(text: str, table: MotifTable) -> set[tuple[int, ...]]:
    width = [motif.log_odds.shape[1] for motif in table.motifs]
    return {(m, p, p + width[m], s) for m, p, s, _ in brute_force(text, table.motifs)}


def test_hits_are_those_of_a_scan_of_the_sequence_as_read(
    corpus: Corpus, table: MotifTable, placed: PlacedHits
) -> None:
    texts = ["".join("ACGTN"[code] for code in row) for row in corpus.sequence]
    other = [text[::-1].translate(COMPLEMENT) for text in texts]
    regions = list(range(corpus.regions))
    forward = found(placed, regions, [False] * corpus.regions)
    reverse = found(placed, regions, [True] * corpus.regions)
    assert forward == [scanned(text, table) for text in texts]
    assert reverse == [scanned(text, table) for text in other]
    assert sum(map(len, forward)) > 100
    assert {strand for hits in forward for _, _, _, strand in hits} == {1, -1}


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_a_samples_hits_do_not_depend_on_its_batch(placed: PlacedHits, data: st.DataObject) -> None:
    rows = st.tuples(st.integers(0, 30), st.booleans())
    batch = data.draw(st.lists(rows, min_size=1, max_size=8))
    focal, flip = map(list, zip(*batch, strict=True))
    alone = [found(placed, [region], [turned])[0] for region, turned in batch]
    assert found(placed, focal, flip) == alone


def made(position: list[int], motif: list[int], offsets: list[int], width: int = WIDTH) -> Hits:
    return Hits(
        np.array(offsets),
        np.array(motif, np.uint16),
        np.array(position, np.uint16),
        np.ones(len(motif), np.int8),
        width,
    )


def test_regions_without_a_hit_have_none() -> None:
    some = PlacedHits(made([5, 80], [0, 0], [0, 0, 2, 2]), np.array([10]), "cpu")
    assert found(some, [0, 1, 2], [False] * 3) == [set(), {(0, 5, 15, 1), (0, 80, 90, 1)}, set()]
    assert some.of(torch.tensor([2, 0]), torch.tensor([True, False]), WIDTH).motif.shape == (2, 0)
    none = PlacedHits(made([], [], [0, 0]), np.array([10]), "cpu")
    assert none.of(torch.tensor([0]), torch.tensor([True]), WIDTH).motif.shape == (1, 0)


def test_numbers_that_an_int16_does_not_hold_stay() -> None:
    widths = np.full(65_535, 7)
    placed = PlacedHits(made([65_500, 40_000], [65_534, 33_000], [0, 2], 65_507), widths, "cpu")
    hits = placed.of(torch.tensor([0]), torch.tensor([False]), 65_507)
    assert hits.motif.tolist() == [[65_534, 33_000]]
    assert hits.start.tolist() == [[65_500, 40_000]]
    assert hits.end.tolist() == [[65_507, 40_007]]


def test_hits_beyond_their_region_or_without_a_width_are_refused() -> None:
    with pytest.raises(GenebertError, match="ends beyond its region's 90 bp"):
        PlacedHits(made([5, 81], [0, 0], [0, 2]), np.array([10]), "cpu")
    with pytest.raises(GenebertError, match="a hit of motif 1, there are 1 widths"):
        PlacedHits(made([5, 6], [0, 1], [0, 2]), np.array([10]), "cpu")


Change = Callable[[list[dict[str, Any]]], Any]


def _spoil(folder: Path, change: Change, manifest_too: bool) -> None:
    """Change the rows of the second part."""
    paths = sorted(folder.glob("part-*.parquet"))
    rows = pq.read_table(paths[1]).to_pylist()
    change(rows)
    metadata = read_corpus(folder).metadata
    write_rows(pa.Table.from_pylist(rows, schema=SCHEMA), metadata, paths[1])
    if manifest_too:
        write_manifest(paths, folder / "manifest.json")


def _with_hits(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return next(row for row in rows if row["motif"])


@pytest.mark.parametrize(
    ("change", "manifest_too", "words"),
    [
        (lambda rows: _with_hits(rows)["motif"].__setitem__(0, 3), True, "a motif that the metadata"),
        (lambda rows: _with_hits(rows)["position"].__setitem__(0, 90), True, "not below 90 bp"),
        (lambda rows: _with_hits(rows)["strand"].__setitem__(0, 0), True, "neither 1 nor -1"),
        (lambda rows: _with_hits(rows)["position"].pop(), True, "lists of other lengths"),
        (lambda rows: _with_hits(rows)["strand"].append(1), False, "lists of other lengths"),
        (
            lambda rows: [_with_hits(rows)[name].append(1) for name in ("motif", "position", "strand")],
            False,
            "more than the .* hits that the manifest says",
        ),
        (
            lambda rows: [_with_hits(rows)[name].pop() for name in ("motif", "position", "strand")],
            False,
            "hits, the manifest says",
        ),
        (lambda rows: rows.pop(), False, "regions, the manifest says"),
        (lambda rows: rows[0].update(region_id=0), False, "other regions than its place says"),
    ],
)
def test_a_part_that_is_not_what_it_should_be_is_refused(
    copy: Path, change: Change, manifest_too: bool, words: str
) -> None:
    _spoil(copy, change, manifest_too)
    with pytest.raises(GenebertError, match=rf"part-0001\.parquet: .*{words}"):
        read_hits(copy)


def test_a_missing_or_cut_part_is_refused(copy: Path) -> None:
    path = copy / "part-0001.parquet"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(GenebertError, match=r"part-0001\.parquet: missing or damaged"):
        read_hits(copy)
    path.unlink()
    with pytest.raises(GenebertError, match=r"part-0001\.parquet: missing or damaged"):
        read_hits(copy)


def test_a_part_of_another_corpus_is_refused(copy: Path) -> None:
    path = copy / "part-0001.parquet"
    metadata = read_corpus(copy).metadata.model_copy(update={"genome": "another"})
    write_rows(pq.read_table(path).replace_schema_metadata(None), metadata, path)
    with pytest.raises(GenebertError, match=r"part-0001\.parquet: of another corpus"):
        read_hits(copy)


def test_only_the_motif_table_of_the_corpus_is_taken(
    built: SimpleNamespace, corpus: Corpus, few_motifs: Path, tmp_path: Path
) -> None:
    motifs = motifs_of_corpus(built.table, corpus.metadata)
    assert [motif.label for motif in motifs.motifs] == corpus.metadata.motifs
    other = tmp_path / "motifs.parquet"
    write_motif_table(few_motifs, [0.25] * 4, 1.0, 0.01, 0.05, "similarity", None, other)
    with pytest.raises(GenebertError, match="is not the motif table that the corpus was made with"):
        motifs_of_corpus(other, corpus.metadata)


def test_hits_read_are_a_plain_walk_over_the_parts(built: SimpleNamespace) -> None:
    hits = read_hits(built.folder)
    rows = [row for part in built.parts for row in pq.read_table(part).to_pylist()]
    for name in ("motif", "position", "strand"):
        expected = [value for row in rows for value in row[name]]
        assert getattr(hits, name).tolist() == expected
    assert hits.offsets.tolist() == np.cumsum([0, *(len(row["motif"]) for row in rows)]).tolist()
    assert hits.region_width == WIDTH
