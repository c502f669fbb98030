"""How the result of a run that succeeds is judged: by naive readers, and by what must always hold."""

import csv
import gzip
import io
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import yaml
from fuzz_world import CONTIGS, World, call


def anything(world: World, file: Path, out: Path) -> None:
    """Judge nothing but what the command says of itself."""


# Naive readers, to judge by.


def _text(path: Path) -> str:
    data = path.read_bytes()
    if data.startswith(b"\x1f\x8b"):
        data = gzip.decompress(data)
    return data.decode("utf-8-sig", "replace")  # columns that are not read may hold anything


def _without_return(line: str) -> str:
    return line.rstrip("\r")


def _intervals(path: Path) -> Iterator[list[str]]:
    """Yield the cells of the lines of a BED."""
    first = True
    for line in map(_without_return, _text(path).split("\n")):
        if not line.strip() or re.match(r"#|(track|browser)(\s|$)", line):
            continue
        cells = line.split("\t") if "\t" in line else line.split()
        head = len(cells) > 2 and "start" in cells[1].lower() and re.search("end|stop", cells[2], re.I)
        if not (first and head):
            yield cells
        first = False


def _fasta(path: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    name = ""
    for line in map(_without_return, _text(path).split("\n")):
        if line.startswith(">"):
            name = line[1:].split()[0]
            found[name] = ""
        elif line:
            found[name] += line
    return found


# Judges.


def peaks_are_those_of_the_file(world: World, file: Path, out: Path) -> None:
    narrow = "narrow" in file.name
    expected = set()
    for cells in _intervals(file):
        start, end = int(cells[1]), int(cells[2])
        offset = int(cells[9]) if narrow else -1
        expected.add((cells[0], start, end, start + offset if offset >= 0 else (start + end) // 2))
    kept = list(_intervals(out / "peaks.bed.gz"))
    found = [(cells[0], int(cells[1]), int(cells[2]), int(cells[5])) for cells in kept]
    order = list(CONTIGS)
    assert found == sorted(expected, key=lambda peak: (order.index(peak[0]), *peak[1:]))
    for chrom, start, end, summit in found:
        assert 0 <= start <= summit <= end <= CONTIGS[chrom]
    assert all(math.isfinite(float(cells[4])) for cells in kept)


def no_peak_is_on_the_list(world: World, file: Path, out: Path) -> None:
    listed = [(cells[0], int(cells[1]), int(cells[2])) for cells in _intervals(file)]
    expected = set()
    for cells in _intervals(world / "one.narrowPeak"):
        chrom, start, end = cells[0], int(cells[1]), int(cells[2])
        if not any(c == chrom and s < end and start < e for c, s, e in listed):
            expected.add((chrom, start, end))
    found = [(cells[0], int(cells[1]), int(cells[2])) for cells in _intervals(out / "peaks.bed.gz")]
    assert set(found) == expected


def genome_is_that_of_the_file(world: World, file: Path, out: Path) -> None:
    expected, found = _fasta(file), _fasta(out / "genome.fa")
    assert found == expected
    index = [line.split("\t") for line in (out / "genome.fa.fai").read_text().splitlines()]
    assert {cells[0]: int(cells[1]) for cells in index} == {n: len(s) for n, s in expected.items()}


def catalogue_is_sound(world: World, file: Path, out: Path) -> None:
    regions = pq.read_table(out / "regions.parquet").to_pandas()
    peaks = pq.read_table(out / "peaks.parquet").to_pandas()
    assert len(regions) and (regions["end"] - regions["start"] == 100).all()
    for chrom, own in regions.groupby("chrom", sort=False):
        assert (own["start"].to_numpy()[1:] >= own["end"].to_numpy()[:-1]).all()
        assert own["start"].min() >= 0 and own["end"].max() <= CONTIGS[chrom]
    # Arrow reads hexadecimal numbers too.
    named = [
        (c[0], int(c[1], 16 if "x" in c[1] else 10), int(c[2], 16 if "x" in c[2] else 10))
        for path in (file, world / "peaks/two.bed.gz")
        for c in _intervals(path)
    ]
    assert sorted(named) == sorted(zip(peaks["chrom"], peaks["start"], peaks["end"], strict=True))
    assert peaks["region_id"].max() < len(regions)


def motifs_are_scored(world: World, file: Path, out: Path) -> None:
    table = pq.read_table(out / "motifs.parquet").to_pandas()
    text, begins = _text(file), {"jaspar": r"^>", "meme": r"^MOTIF", "transfac": r"^\s*(AC|ID)\s"}
    if file.suffix[1:] in ("jaspar", "meme") and re.search(begins[file.suffix[1:]], text, re.M):
        assert len(table) == len(re.findall(begins[file.suffix[1:]], text, re.M))
    assert table["matrix_id"].is_unique and (table["matrix_id"] != "").all()
    assert np.isfinite(np.concatenate(table["log_odds"])).all()
    assert (table["log_odds"].map(len) == 4 * table["length"]).all()
    assert np.isfinite(table["threshold"]).all() and table["realised_p"].between(0, 1).all()


def hits_are_within(world: World, file: Path, out: Path) -> None:
    hits = pq.read_table(out / "hits.parquet").to_pandas()
    assert hits["score"].between(0, 1).all() and (hits["position"] < 100).all()
    assert hits["region_id"].is_monotonic_increasing


def hits_name_the_places(world: World, file: Path, out: Path) -> None:
    lines = list(_intervals(file))
    hits = [line.split("\t") for line in _text(out / "hits.bed").splitlines()]
    places = [(cells[0], int(cells[1]), int(cells[2])) for cells in lines]
    assert all(any(h[0] == c and s <= int(h[1]) < int(h[2]) <= e for c, s, e in places) for h in hits)


def corpus_passes_its_check(world: World, file: Path, out: Path) -> None:
    written = out / "part-0000.parquet"
    part = written if written.exists() else file
    folder = out / "checked"
    folder.mkdir()
    (folder / "part-0000.parquet").write_bytes(part.read_bytes())
    code, said = call(
        "corpus", "manifest", "--parts", folder / part.name, "--out", folder / "manifest.json"
    )
    assert code == 0, said
    code, said = call("corpus", "check", folder, "--genome", world / "genome.fa")
    assert code == 0, said


def examples_are_the_genome(world: World, file: Path, out: Path) -> None:
    table = pq.read_table(out / "dataset.parquet").to_pandas()
    classes = json.loads(pq.read_schema(out / "dataset.parquet").metadata[b"genebert"])["classes"]
    assert table["label"].between(0, len(classes) - 1).all() and len(table)
    other = str.maketrans("ACGT", "TGCA")
    for row in table.itertuples():
        if row.chrom not in world.genome or (
            len(classes) == 2 and classes[0] == "background" and row.label == 0
        ):
            continue  # no place, one that the genome lacks, or shuffled
        dna = world.genome[row.chrom][row.start : row.end]
        assert row.sequence == (dna if row.strand == "+" else dna.translate(other)[::-1])
        assert row.alternative is None or row.alternative != row.sequence


def rows_are_those_of_the_csv(world: World, file: Path, out: Path) -> None:
    table = pq.read_table(out / "dataset.parquet").to_pandas()
    rows = [row for row in csv.reader(io.StringIO(_text(file), newline="")) if row]
    names = [name.strip() for name in rows[0]]
    at = names.index("sequence"), names.index("label")
    expected = [(row[at[0]].strip().upper(), row[at[1]].strip()) for row in rows[1:]]
    classes = json.loads(pq.read_schema(out / "dataset.parquet").metadata[b"genebert"])["classes"]
    own = table[table["split"] == "train"]
    found = [(row.sequence, classes[row.label]) for row in own.itertuples()]
    assert sorted(found) == sorted(expected)


def people_are_those_of_the_table(world: World, file: Path, out: Path) -> None:
    people = pq.read_table(out / "individuals.parquet").to_pandas()
    rows = [
        [cell.strip() for cell in line.split("\t")] for line in _text(file).split("\n") if line.strip()
    ]
    head = rows[0]
    expected = {
        row[head.index("sample")]: (float(row[head.index("phenotype")]), float(row[head.index("age")]))
        for row in rows[1:]
    }
    for row in people.itertuples():
        assert expected[row.sample] == (row.label, row.covariate_age)


def metrics_are_figures(world: World, file: Path, out: Path) -> None:
    predictions = pq.read_table(out / "run/predictions.parquet").to_pandas()
    assert np.isfinite(predictions["score"]).all() and predictions["example_id"].is_unique
    said = json.loads((out / "run/metrics.json").read_text())
    assert said["task"] == "labelled" and 0 <= said["metrics"]["test"]["auroc"] <= 1


def table_is_figures(world: World, file: Path, out: Path) -> None:
    table = pd.read_csv(out / "summary.tsv", sep="\t")
    assert len(table) and table["mcc"].dropna().between(-1, 1).all()
    assert table["auroc"].dropna().between(0, 1).all() and (table["examples"] > 0).all()


def configuration_is_tame(world: World, file: Path, out: Path) -> None:
    raw = yaml.safe_load(file.read_text())
    assert ".." not in Path(raw["results_dir"]).parts
    for name in (
        *raw.get("pretrain", {}).get("variants", {}),
        *raw.get("benchmarks", {}).get("tasks", {}),
    ):
        assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name), name


def samples_are_tame(world: World, file: Path, out: Path) -> None:
    lines = [line for line in _text(file).split("\n") if line.strip() and not line.startswith("#")]
    head, *rows = ([cell.strip() for cell in line.split("\t")] for line in lines)
    for row in rows:
        for name in ("sample", "cell_type"):
            assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", row[head.index(name)]), row


def features_are_figures(world: World, file: Path, out: Path) -> None:
    features = np.stack(pq.read_table(out / "features.parquet")["features"].to_pylist())
    assert len(features) and np.isfinite(features).all()


def matrix_is_within(world: World, file: Path, out: Path) -> None:
    with np.load(out / "matrix.npz") as saved:
        matrix, regions = saved["matrix"], saved["regions"]
    assert matrix.shape[1] == len(regions) and (matrix >= 0).all() and (matrix <= 1).all()
