"""Where each result of a finished run came from, as `genebert provenance` says it."""

import shutil
import subprocess
from pathlib import Path

import pytest

from genebert.lineage import lineage
from genebert.provenance import find_record, is_record

RAW = {"genome.fa", "motifs.jaspar", "one.bed", "two.bed"}
# Each kind of result, and the raw inputs that it was made from.
KINDS = {
    "reference/genome.fa": {"genome.fa"},
    "reference/preflight.tsv": RAW,
    "reference/preflight.promoter.tsv": {"genome.fa", "tss.bed"},
    "peaks/one.bed.gz": {"genome.fa", "one.bed"},
    "regions/regions.parquet": {"genome.fa", "one.bed", "two.bed"},
    "regions/accessibility.parquet": {"genome.fa", "one.bed", "two.bed"},
    "motifs/motifs.parquet": {"motifs.jaspar"},
    "corpus": RAW,
    "corpus/manifest.json": RAW,
    "corpus/part-0001.parquet": RAW,
    "corpus/npmi.parquet": RAW,
    "pretrain/everything/seed1/model": RAW,
    "pretrain/everything/seed1/model/model.safetensors": RAW,
    "pretrain/everything/seed1/model/config.json": RAW,
    "pretrain/everything/seed1/model/provenance.json": RAW,
    "pretrain/everything/seed1/history.tsv": RAW,
    "pretrain/everything/seed1/embeddings.parquet": RAW,
    "pretrain/everything/seed1/attribution.parquet": RAW,
    "benchmarks/promoter/dataset.parquet": {*RAW, "tss.bed"},
    "benchmarks/promoter/leakage.tsv": {*RAW, "tss.bed"},
    "benchmarks/promoter/everything.both/seed1": {*RAW, "tss.bed"},
    "benchmarks/promoter/gc_only/seed1/metrics.json": {*RAW, "tss.bed"},
    "benchmarks/promoter/gc_only/seed1/predictions.parquet": {*RAW, "tss.bed"},
    "benchmarks/summary.tsv": {*RAW, "tss.bed"},
    "benchmarks/summary.md": {*RAW, "tss.bed"},
    "report.html": {*RAW, "tss.bed"},
}


def sha256sum(path: Path) -> str:
    """Return what the system's own program says."""
    done = subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True)
    return done.stdout.split()[0]


def inputs_of(said: str) -> dict[str, str]:
    """Return the checksums of the raw inputs by name."""
    lines = [line for line in said.splitlines() if line.endswith("  input")]
    return {line[66:].lstrip("│├└─ ").split("  ")[0]: line[:64] for line in lines}


@pytest.mark.parametrize("name", KINDS)
def test_a_result_is_traced_to_the_raw_inputs(
    finished_project: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(finished_project)
    said = lineage(f"results/{name}")
    assert inputs_of(said) == {raw: sha256sum(Path(raw)) for raw in KINDS[name]}
    assert "CHANGED" not in said
    # Hits are deleted once they are in the corpus, and nothing else is.
    gone = [line for line in said.splitlines() if "no longer there;" in line]
    assert all("results/motifs/chunk-000" in line and "made by scan" in line for line in gone)
    for key in ("stage", "files", "settings", "seed", "versions", "code", "hardware"):
        assert f"\n  {key} " in said
    if Path(f"results/{name}").is_file() and not name.endswith("provenance.json"):
        assert f"{sha256sum(Path('results', name))}  results/{name}" in said


def test_the_seed_and_what_it_was_trained_with_are_named(
    finished_project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(finished_project)
    said = lineage("results/pretrain/everything/seed1/model")
    assert "\n  seed      1\n" in said
    assert 'pretrain.variants.everything.masking = "genemask"' in said
    assert "results/corpus/npmi.parquet" in said and "pretrain.steps = 40" in said


def test_every_result_has_a_record(finished_project: Path) -> None:
    results = finished_project / "results"
    files = {path for path in results.rglob("[!.]*") if path.is_file() and not is_record(path)}
    of_people = {path for path in files if (results / "logs") in path.parents}
    without = {path for path in files - of_people if find_record(path) is None}
    # A list of what is pinned: it says itself what it is of.
    assert without == {results / "reference/checksums.tsv"}
    assert len(files - of_people) > 25


def test_no_result_is_newer_than_its_record(finished_project: Path) -> None:
    """Else jobs that read it would hash it again, a genome of gigabytes a hundred times."""
    for name in ("reference/genome.fa", "reference/genome.fa.fai", "corpus/part-0001.parquet"):
        result = finished_project / "results" / name
        found = find_record(result)
        assert found and result.stat().st_mtime_ns <= found[0].stat().st_mtime_ns


def test_a_changed_input_is_noticed_in_the_table(
    finished_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "project"
    shutil.copytree(finished_project, copy, symlinks=True, ignore=shutil.ignore_patterns(".snakemake"))
    monkeypatch.chdir(copy)
    with Path("two.bed").open("a") as bed:
        bed.write("chr1\t1\t101\n")
    part = Path("results/corpus/part-0000.parquet")
    part.write_bytes(part.read_bytes()[:-1])
    changed = [
        line for line in lineage("results/benchmarks/summary.tsv").splitlines() if "CHANGED" in line
    ]
    assert changed[-1].startswith("2 of these files CHANGED")
    for path in (Path("two.bed"), part):
        assert any(f" {path} " in line and f"now {sha256sum(path)}" in line for line in changed[:-1])
