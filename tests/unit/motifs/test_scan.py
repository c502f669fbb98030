from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genebert.errors import GenebertError
from genebert.genome import Genome, Interval, reverse_complement
from genebert.motifs import scan
from genebert.motifs.reference import brute_force
from genebert.motifs.scan import Hits, Scanner, chunk_bounds, scan_chunk
from genebert.motifs.table import MotifTable


def _rows(hits: Hits) -> list[tuple[int, int, int, int, float]]:
    return [(int(a), int(b), int(c), int(d), float(e)) for a, b, c, d, e in zip(*hits, strict=True)]


def _expected(
    sequences: list[str], table: MotifTable, stored: bool = True
) -> list[tuple[int, int, int, int, float]]:
    """Hits by brute force, sorted as the contract says, with the stored form of the score."""
    rows = []
    for index, sequence in enumerate(sequences):
        for motif, position, strand, score in brute_force(sequence, table.motifs):
            low, high = table.motifs[motif].lowest, table.motifs[motif].highest
            rows.append(
                (index, motif, position, strand, float(np.float16((score - low) / (high - low))))
            )
    return sorted(rows)


@pytest.fixture(scope="module")
def eighty(jaspar_table: MotifTable) -> MotifTable:
    """Every twelfth motif of JASPAR: of all lengths, among them some that keep their best words."""
    motifs = jaspar_table.motifs[::12][:80]
    return MotifTable(motifs, [], jaspar_table.background, 1.0, 1e-4)


@pytest.fixture(scope="module")
def eager(eighty: MotifTable) -> MotifTable:
    """The first forty of them with thresholds far too low: many hits to compare."""
    motifs = [
        type(m)(m.matrix_id, m.name, m.log_odds, float(np.floor(m.threshold / 5)), 0.02)
        for m in eighty.motifs[:40]
    ]
    return MotifTable(motifs, [], eighty.background, 1.0, 0.02)


def test_hits_on_real_sequence_equal_brute_force(demo_genome: Path, eighty: MotifTable) -> None:
    genome = Genome(demo_genome)
    # A TSS, a stretch of heterochromatin, and the start of an assembly gap.
    places = [(30_188_000, 30_188_700), (47_835_500, 47_836_200), (34_896_800, 34_897_400)]
    sequences = [genome.fetch(Interval("chr20", *place)) for place in places]
    assert sequences[2].endswith("N" * 300)
    found = _rows(Scanner(eighty).scan(sequences))
    assert found == _expected(sequences, eighty)
    assert len(found) > 20
    assert {row[3] for row in found} == {1, -1}


def test_hits_on_random_sequence_with_n_runs_equal_brute_force(eager: MotifTable) -> None:
    rng = np.random.default_rng(7)
    sequences = []
    for length in (400, 7, 1, 250):
        bases = rng.choice(list("ACGT"), length)
        for _ in range(length // 80):
            start = rng.integers(length)
            bases[start : start + rng.integers(1, 15)] = "N"
        sequences.append("".join(bases))
    sequences += ["N" * 50, ""]
    found = _rows(Scanner(eager).scan(sequences))
    assert found == _expected(sequences, eager)
    assert len(found) > 150


def test_the_stored_score_is_the_float16_share_of_the_span(few_table: MotifTable) -> None:
    for row, motif in enumerate(few_table.motifs):
        best = "".join("ACGT"[base] for base in motif.log_odds.argmax(axis=0))
        found = _rows(Scanner(few_table).scan([best]))
        assert (0, row, 0, 1, 1.0) in found, "the best word of a motif scores 1"
    hits = Scanner(few_table).scan(["GATTACAGATAAGCACGTGTATAAAAG" * 10])
    assert [str(column.dtype) for column in hits] == [
        "int64",
        "uint16",
        "uint16",
        "int8",
        "float16",
    ]
    assert ((hits.score > 0) & (hits.score <= 1)).all()


@settings(max_examples=60, deadline=None)
@given(st.text("ACGTN", max_size=150))
def test_the_reverse_complement_has_the_mirrored_hits(few_table: MotifTable, dna: str) -> None:
    scanner = Scanner(few_table)
    mirrored = sorted(
        (0, motif, len(dna) - few_table.motifs[motif].log_odds.shape[1] - position, -strand, score)
        for _, motif, position, strand, score in _rows(scanner.scan([dna]))
    )
    assert _rows(scanner.scan([reverse_complement(dna)])) == mirrored


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text("ACGTN", max_size=60), max_size=8), st.integers(1, 90))
def test_blocks_do_not_change_hits(few_table: MotifTable, sequences: list[str], block_bp: int) -> None:
    scanner = Scanner(few_table)
    one_by_one = [
        (index, *row[1:]) for index, dna in enumerate(sequences) for row in _rows(scanner.scan([dna]))
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "BLOCK_BP", block_bp)
        assert _rows(scanner.scan(sequences)) == one_by_one


def test_a_short_motif_is_found_at_the_very_ends_of_a_sequence(few_table: MotifTable) -> None:
    gata = next(i for i, m in enumerate(few_table.motifs) if m.name == "GATA")
    for dna in ("GATACCCCCCCCCCGATA", "GATA", "GATAN", "NNNNNNNNNNGATANNNNNNNNNN"):
        found = [row for row in _rows(Scanner(few_table).scan([dna, dna])) if row[1] == gata]
        places = [at for at in range(len(dna)) if dna.startswith("GATA", at)]
        assert [(row[0], row[2]) for row in found] == [(i, at) for i in (0, 1) for at in places]


def test_no_hit_spans_two_sequences(few_table: MotifTable) -> None:
    whole = Scanner(few_table).scan(["TTGATATT"])
    assert len(whole.motif)
    cut = _rows(Scanner(few_table).scan(["TTGA", "TATT"]))
    assert cut == _expected(["TTGA", "TATT"], few_table)
    assert all(row[2] + few_table.motifs[row[1]].log_odds.shape[1] <= 4 for row in cut)


def test_thresholds_do_not_follow_the_sequence(eighty: MotifTable) -> None:
    rng = np.random.default_rng(2)
    rich = "".join(rng.choice(list("ACGT"), 700, p=[0.05, 0.45, 0.45, 0.05]))
    poor = "".join(rng.choice(list("ACGT"), 700, p=[0.45, 0.05, 0.05, 0.45]))
    scanner = Scanner(eighty)
    together = _rows(scanner.scan([rich, poor]))
    assert together == _expected([rich, poor], eighty)
    assert [row for row in together if row[0] == 0] == _rows(scanner.scan([rich]))
    gc_only = [  # motifs whose consensus is G and C have more hits where there is more of them
        sum(1 for row in together if row[0] == index and _is_gc(eighty, row[1])) for index in (0, 1)
    ]
    assert gc_only[0] > 5 * max(gc_only[1], 1)


def _is_gc(table: MotifTable, row: int) -> bool:
    return bool(np.isin(table.motifs[row].log_odds.argmax(axis=0), (1, 2)).mean() > 0.8)


def test_the_number_of_hits_on_background_sequence_is_what_p_values_say(
    jaspar_table: MotifTable,
) -> None:
    rng = np.random.default_rng(3)
    bases = rng.choice(list("ACGT"), 60_000, p=jaspar_table.background)
    hits = Scanner(jaspar_table).scan(["".join(bases)])
    expected = 2 * len(bases) * sum(motif.realised_p for motif in jaspar_table.motifs)
    assert len(hits.motif) == pytest.approx(expected, rel=0.05)


def test_nothing_to_scan_gives_no_hits(few_table: MotifTable) -> None:
    assert _rows(Scanner(few_table).scan([])) == []


def test_a_sequence_too_long_for_its_positions_is_refused(few_table: MotifTable) -> None:
    with pytest.raises(GenebertError, match="longer than 65535 bp"):
        Scanner(few_table).scan(["A" * 65536])
    last = Scanner(few_table).scan(["A" * (65535 - 7) + "TATAAAA"])
    assert (last.position.max(), last.motif[last.position.argmax()]) == (
        65528,
        next(i for i, m in enumerate(few_table.motifs) if m.name == "TATA"),
    )


@given(st.integers(0, 500), st.integers(1, 40))
def test_chunks_cover_all_regions_once_and_evenly(regions: int, chunks: int) -> None:
    bounds = [chunk_bounds(regions, chunk, chunks) for chunk in range(chunks)]
    assert [i for first, last in bounds for i in range(first, last)] == list(range(regions))
    sizes = [last - first for first, last in bounds]
    assert max(sizes) - min(sizes) <= 1


def test_chunks_of_the_demo_together_hold_what_one_scan_finds(
    demo: SimpleNamespace, eighty: MotifTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "BLOCK_BP", 20_000)
    regions = pq.read_table(demo.regions).to_pandas()
    tables = []
    for chunk in range(3):
        scan_chunk(demo.fasta, demo.regions, eighty, chunk, 3, tmp_path / f"{chunk}.parquet")
        tables.append(pq.read_table(tmp_path / f"{chunk}.parquet").to_pandas())
    found = pd.concat(tables)
    genome = Genome(demo.fasta)
    sequences = [
        genome.fetch(Interval(r.chrom, r.start, r.end)) for r in regions.itertuples(index=False)
    ]
    monkeypatch.undo()
    expected = Scanner(eighty).scan(sequences)
    assert len(expected.motif) > 3000
    columns = ["region_id", "motif", "position", "strand", "score"]
    for column, values in zip(columns, expected, strict=True):
        assert np.array_equal(found[column].to_numpy(), values), column
