import dataclasses
import gc
import json
import subprocess
import sys
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
from genebert.motifs.table import MotifTable, ScoredMotif


def _rows(hits: Hits) -> list[tuple[int, int, int, int, float]]:
    return [(int(a), int(b), int(c), int(d), float(e)) for a, b, c, d, e in zip(*hits, strict=True)]


def _expected(sequences: list[str], table: MotifTable) -> list[tuple[int, int, int, int, float]]:
    """Hits by brute force, sorted as the contract says, with the score as a share of the span."""
    rows = []
    for index, sequence in enumerate(sequences):
        for motif, position, strand, score in brute_force(sequence, table.motifs):
            low, high = table.motifs[motif].lowest, table.motifs[motif].highest
            rows.append((index, motif, position, strand, (score - low) / (high - low)))
    return sorted(rows)


@pytest.fixture(scope="module")
def eighty(jaspar_table: MotifTable) -> MotifTable:
    """Every twelfth motif of JASPAR: of all lengths, among them some that keep their best words."""
    motifs = jaspar_table.motifs[::12][:80]
    return MotifTable(motifs, [], jaspar_table.background, 1.0, 1e-4)


def _with_thresholds(motifs: list[ScoredMotif], thresholds: list[float]) -> MotifTable:
    low = [dataclasses.replace(m, threshold=t) for m, t in zip(motifs, thresholds, strict=True)]
    return MotifTable(low, [], [0.295, 0.205, 0.205, 0.295], 1.0, 0.02)


@pytest.fixture(scope="module")
def eager(eighty: MotifTable) -> MotifTable:
    """Forty motifs of all lengths with thresholds far too low: many hits to compare."""
    motifs = eighty.motifs[:40]
    return _with_thresholds(motifs, [float(np.floor(m.threshold / 5)) for m in motifs])


@pytest.fixture(scope="module")
def about_a_window(jaspar_table: MotifTable) -> MotifTable:
    """Motifs about as long as MOODS's window, of which a good part of all words are hits."""
    near = [m for m in jaspar_table.motifs if abs(m.log_odds.shape[1] - scan.WINDOW) <= 2][::30]
    assert {m.log_odds.shape[1] for m in near} >= {scan.WINDOW - 1, scan.WINDOW, scan.WINDOW + 1}
    return _with_thresholds(near, [float(np.floor((m.lowest + m.highest) / 2)) for m in near])


@pytest.fixture(scope="module")
def narrow_and_wide(about_a_window: MotifTable) -> list[Scanner]:
    """Scanners of these motifs for little and for much sequence."""
    assert scan.window_for(0) < scan.window_for(10**9)
    return [Scanner(about_a_window), Scanner(about_a_window, 10**9)]


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


def test_the_score_is_the_share_of_the_span(few_table: MotifTable) -> None:
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
        "float64",
    ]
    assert ((hits.score > 0) & (hits.score <= 1)).all()


def test_only_the_best_words_of_a_motif_score_one(jaspar_table: MotifTable) -> None:
    """However close the second-best is: to a 2,000th of the span in JASPAR."""
    closest = 1.0
    for motif in jaspar_table.motifs[::40]:
        ordered = np.sort(motif.log_odds, axis=0)
        gaps = np.where(ordered[3] > ordered[2], ordered[3] - ordered[2], np.inf)
        at = int(gaps.argmin())
        best = motif.log_odds.argmax(axis=0)
        second = best.copy()
        second[at] = np.flatnonzero(motif.log_odds[:, at] == ordered[2, at])[0]
        scanner = Scanner(MotifTable([motif], [], jaspar_table.background, 1.0, 1e-4))
        found = (scanner.scan(["".join("ACGT"[base] for base in word)]) for word in (best, second))
        top, next_ = (hits.score[hits.strand == 1].max(initial=0) for hits in found)
        assert (top, next_ < 1) == (1, True), motif.label
        closest = min(closest, 1 - next_)
    assert closest < 1 / 1000


def test_hits_say_of_which_motifs_and_regions_they_are(
    demo: SimpleNamespace, few_table: MotifTable, tmp_path: Path
) -> None:
    regions = pq.read_table(demo.regions)
    chunks = len(regions) // 10
    places = regions.select(["start", "end"]).to_pydict()
    moved = regions
    for at, (name, (first, *others)) in enumerate(places.items(), start=2):
        moved = moved.set_column(at, regions.field(name), [[first - 1, *others]])
    pq.write_table(moved, tmp_path / "moved.parquet")
    other = dataclasses.replace(few_table, motifs=few_table.motifs[::-1])

    def made_of(catalogue: Path, table: MotifTable, chunk: int) -> dict[str, str]:
        scan_chunk(demo.fasta, catalogue, table, chunk, chunks, tmp_path / "hits")
        found: dict[str, str] = json.loads(pq.read_schema(tmp_path / "hits").metadata[b"genebert"])
        return found

    own = made_of(demo.regions, few_table, 0)
    assert made_of(demo.regions, other, 0) == {**own, "motifs": other.digest()} != own
    for catalogue, chunk in ((demo.regions, 1), (tmp_path / "moved.parquet", 0)):
        found = made_of(catalogue, few_table, chunk)
        assert found["motifs"] == own["motifs"]
        assert found["regions"] != own["regions"]


@settings(max_examples=60, deadline=None)
@given(st.text("ACGTN", max_size=150))
def test_the_reverse_complement_has_the_mirrored_hits(few_table: MotifTable, dna: str) -> None:
    scanner = Scanner(few_table)
    mirrored = sorted(
        (0, motif, len(dna) - few_table.motifs[motif].log_odds.shape[1] - position, -strand, score)
        for _, motif, position, strand, score in _rows(scanner.scan([dna]))
    )
    assert _rows(scanner.scan([reverse_complement(dna)])) == mirrored


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text("ACGTN", max_size=120), max_size=4), st.integers(1, 200))
def test_reverse_complements_have_the_mirrored_hits_whatever_the_motifs_and_blocks(
    eager: MotifTable, sequences: list[str], block_bp: int
) -> None:
    widths = [motif.log_odds.shape[1] for motif in eager.motifs]
    scanner = Scanner(eager)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "BLOCK_BP", block_bp)
        found = _rows(scanner.scan(sequences))
        other = _rows(scanner.scan([reverse_complement(dna) for dna in sequences]))
    assert other == sorted(
        (index, motif, len(sequences[index]) - widths[motif] - position, -strand, score)
        for index, motif, position, strand, score in found
    )


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text("ACGT", max_size=12), max_size=8))
def test_no_hit_is_lost_at_the_ends_of_short_stretches_whatever_the_window(
    about_a_window: MotifTable, narrow_and_wide: list[Scanner], stretches: list[str]
) -> None:
    dna = "N".join(stretches)
    expected = _expected([dna], about_a_window)
    for scanner in narrow_and_wide:
        assert _rows(scanner.scan([dna])) == expected


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


def test_scores_in_nat_are_those_of_brute_force(eager: MotifTable) -> None:
    dna = "".join(np.random.default_rng(8).choice(list("ACGT"), 500))
    found = Scanner(eager).find(dna)
    hits = sorted(
        (int(motif), int(position), int(strand), float(score))
        for motif, position, strand, score in zip(*found, strict=True)
    )
    assert hits == brute_force(dna, eager.motifs)
    assert len(hits) > 100


def test_garbage_is_collected_again_after_a_scan(few_table: MotifTable) -> None:
    scanner = Scanner(few_table)
    for collecting in (False, True):
        (gc.enable if collecting else gc.disable)()
        scanner.scan(["GATACCA"])
        assert gc.isenabled() == collecting


def test_row_groups_of_the_catalogue_do_not_matter_and_each_block_is_one_of_the_hits(
    demo: SimpleNamespace, few_table: MotifTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pq.write_table(pq.read_table(demo.regions), tmp_path / "regions.parquet", row_group_size=7)
    monkeypatch.setattr(scan, "BLOCK_BP", 3 * 515)
    chunks = pq.read_metadata(demo.regions).num_rows // 10
    for chunk in (0, 1, 5):
        scan_chunk(demo.fasta, demo.regions, few_table, chunk, chunks, tmp_path / "one")
        scan_chunk(
            demo.fasta, tmp_path / "regions.parquet", few_table, chunk, chunks, tmp_path / "other"
        )
        assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()
        assert pq.read_metadata(tmp_path / "one").num_row_groups == 4


def test_regions_out_of_order_are_refused(
    demo: SimpleNamespace, few_table: MotifTable, tmp_path: Path
) -> None:
    regions = pq.read_table(demo.regions)
    swapped = [1, 0, *range(2, len(regions))]
    pq.write_table(regions.take(swapped), tmp_path / "swapped.parquet")
    with pytest.raises(GenebertError, match="region_id is not the row number"):
        scan_chunk(demo.fasta, tmp_path / "swapped.parquet", few_table, 0, 5, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_chunk_without_regions_is_an_empty_table(
    demo: SimpleNamespace, few_table: MotifTable, tmp_path: Path
) -> None:
    regions = pq.read_table(demo.regions).slice(0, 2)
    pq.write_table(regions, tmp_path / "two.parquet")
    said = scan_chunk(demo.fasta, tmp_path / "two.parquet", few_table, 0, 3, tmp_path / "hits.parquet")
    assert said == "0 hits in 0 regions"
    found = pq.read_table(tmp_path / "hits.parquet")
    assert found.num_rows == 0
    assert found.schema.names == ["region_id", "motif", "position", "strand", "score"]


def test_moods_built_for_another_cpu_is_told_before_it_kills_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "MOODS").mkdir()
    (tmp_path / "MOODS/__init__.py").write_text("")
    (tmp_path / "MOODS/scan.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGILL)\n")
    script = (
        "from genebert.errors import GenebertError\n"
        "from genebert.motifs.scan import Scanner\n"
        "from genebert.motifs.table import MotifTable\n"
        "try:\n    Scanner(MotifTable([], [], [0.25] * 4, 1.0, 1e-4))\n"
        "except GenebertError as error:\n    print(error)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.startswith("MOODS dies on this machine (signal 4): it was built for another CPU\n")
    assert "pip install --force-reinstall" in run.stdout


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
