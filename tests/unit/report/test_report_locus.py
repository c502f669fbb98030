"""Attribution along a place: which hits are shown, and what is said of them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from genebert.errors import GenebertError
from genebert.motifs.table import MotifTable
from genebert.report.locus import Hit, read_places, section, strongest, under_hits

LENGTH = 60
HITS: dict[str, list[Any]] = {
    # Rows: GATA of 4 bp, EBOX of 7 bp, TATA of 7 bp.
    "motif": [0, 0, 2, 1, 1],
    "position": [5, 40, 6, 20, 21],
    "strand": [1, -1, 1, 1, -1],
    "score": [1.0, 0.9, 1.0, 0.8, 0.95],
}


@pytest.fixture
def write_place(tmp_path: Path, few_table: MotifTable) -> Callable[..., Path]:
    """Write an attribution as its stage does; bases 20 to 29 count three times as much."""

    def write(variant: str, seed: int = 1, start: int = 1000, digest: str | None = None) -> Path:
        values = np.ones(LENGTH, np.float32)
        values[20:30] = 3
        facts = {
            "variant": variant,
            "seed": seed,
            "motif_digest": digest or few_table.digest(),
            "chrom": "chr1",
            "start": start,
            "end": start + LENGTH,
            "split": "test",
            "hits": HITS,
        }
        table = pa.table(
            {
                "position": np.arange(LENGTH, dtype=np.uint16),
                "base": ["A"] * LENGTH,
                "attribution": values,
                "attention": np.ones(LENGTH, np.float32),
            }
        ).replace_schema_metadata({"genebert": json.dumps(facts)})
        path = tmp_path / variant / f"seed{seed}" / "attribution.parquet"
        path.parent.mkdir(parents=True)
        pq.write_table(table, path)
        return path

    return write


def strengths(motifs: MotifTable) -> list[float]:
    """Log-odds of each hit, written out."""
    found = []
    for row, score in zip(HITS["motif"], HITS["score"], strict=True):
        columns = motifs.motifs[row].log_odds.T
        low, high = sum(min(c) for c in columns), sum(max(c) for c in columns)
        found.append(low + score * (high - low))
    return found


def test_the_strongest_hits_that_lie_apart_are_shown(few_table: MotifTable) -> None:
    lengths = [motif.log_odds.shape[1] for motif in few_table.motifs]
    by_strength = strengths(few_table)
    kept: list[int] = []
    for i in sorted(range(5), key=lambda i: -by_strength[i]):
        places = [
            set(range(HITS["position"][j], HITS["position"][j] + lengths[HITS["motif"][j]]))
            for j in [i, *kept]
        ]
        if all(len(places[0] & other) <= min(len(places[0]), len(other)) / 2 for other in places[1:]):
            kept.append(i)
    found = strongest(HITS, few_table)
    assert len(kept) == 3  # of those at 5 and 6, and at 20 and 21, one each
    assert [hit.start for hit in found] == sorted(HITS["position"][i] for i in kept)
    for hit in found:
        i = HITS["position"].index(hit.start)
        motif = few_table.motifs[HITS["motif"][i]]
        assert hit.name == motif.name and hit.strand == HITS["strand"][i]
        assert hit.end - hit.start == motif.log_odds.shape[1]
        assert hit.strength == pytest.approx(by_strength[i])
    assert len(strongest(HITS, few_table, number=1)) == 1


def test_bases_in_hits_are_compared_with_all_others(
    write_place: Callable[..., Path], few_table: MotifTable
) -> None:
    (place,) = read_places([write_place("toy")], few_table)
    assert under_hits(place, [Hit("EBOX", 20, 30, 1, 9.0)]) == pytest.approx(3.0)
    assert under_hits(place, [Hit("EBOX", 25, 35, 1, 9.0)]) == pytest.approx(2 / (60 / 50))
    assert np.isnan(under_hits(place, [Hit("all", 0, LENGTH, 1, 9.0)]))


def test_the_first_seed_of_each_variant_is_shown(
    write_place: Callable[..., Path], few_table: MotifTable
) -> None:
    files = [write_place("one", 1), write_place("one", 2), write_place("two<b>", 1)]
    found = section(files, few_table)
    assert [variant for variant, _ in found["under_hits"]] == ["one", "two<b>"]
    assert found["place"] == "chr1:1,000-1,060" and found["hits"] == 5 and found["drawn"] == 3
    for text in ("one, seed 1", "two&lt;b&gt;, seed 1", ">EBOX −<", "attention (right)"):
        assert text in found["figure"]
    assert "seed 2" not in found["figure"]


def test_without_files_there_is_nothing_to_show(few_table: MotifTable) -> None:
    assert section([], few_table) == {}


@pytest.mark.parametrize("other", [{"start": 2000}, {"digest": "another"}])
def test_a_place_of_another_corpus_is_refused(
    write_place: Callable[..., Path], few_table: MotifTable, other: dict[str, Any]
) -> None:
    files = [write_place("one"), write_place("two", **other)]
    with pytest.raises(GenebertError, match="of another corpus"):
        read_places(files, few_table)


def test_a_damaged_file_is_named(few_table: MotifTable, write_place: Callable[..., Path]) -> None:
    path = write_place("multimodal")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(GenebertError, match=r"attribution\.parquet is missing or damaged"):
        read_places([path], few_table)
