"""The whole of config/config.yaml against a loopback mirror of miniature files.

Every address, sheet row and rule is the shipped one; what differs is in `_smaller`: sizes, which
models answer, and the checksum of the genome, which is a miniature.
"""

import gzip
import hashlib
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml

from genebert.genome import Genome, Interval

ROOT = Path(__file__).parents[2]
ENCODE = "www.encodeproject.org/files"
GENOME = "hgdownload.soe.ucsc.edu/goldenPath/hg38/bigZips/hg38.fa.gz"
BLACKLIST = "github.com/Boyle-Lab/Blacklist/raw/master/lists/hg38-blacklist.v2.bed.gz"
GENCODE = "ftp.ebi.ac.uk/pub/databases/gencode/Gencode_human/release_46/gencode.v46.annotation.gtf.gz"
TRAITGYM = "huggingface.co/datasets/songlab/TraitGym/resolve/main/{}_traits_matched_9/test.parquet"
CTCF = ("ENCFF796WRU", "ENCFF396BZQ")
# What answers each task in the miniature, in place of all models that apply: a process a run is dear.
ANSWERS = {
    "promoter": ["multimodal.both", "scratch.both", "gc_only"],
    "tfbs.CTCF_GM12878": ["multimodal.both", "pwm_best"],
    "tfbs.CTCF_K562": ["pwm_best"],
    "splicing": ["multimodal.both"],
    "accessibility": ["multimodal.both", "mean_of_training_cell_types"],
    "variants.mendelian": ["multimodal.sequence.llr", "gc_only"],
    "variants.complex": ["gc_only"],
}
# Contigs of the miniature: stretches of the demo's chr20, in bp.
STRETCHES = {
    "chr1": (30_000_000, 33_000_000),
    "chr7": (44_000_000, 46_000_000),
    "chr8": (42_000_000, 44_000_000),
    "chr9": (46_000_000, 48_000_000),
    "chrX": (33_000_000, 35_000_000),
    "chrUn_GL000220v1": (36_000_000, 36_100_000),
}


def _lifted(table: pd.DataFrame) -> pd.DataFrame:
    """Move rows with chrom, start, end on chr20 to the miniature's contigs; drop the others."""
    parts = []
    for chrom, (first, last) in STRETCHES.items():
        inside = table[(table["start"] >= first) & (table["end"] <= last)]
        parts.append(
            inside.assign(chrom=chrom, start=inside["start"] - first, end=inside["end"] - first)
        )
    return pd.concat(parts, ignore_index=True)


def _bed(path: Path, names: list[str]) -> pd.DataFrame:
    return pd.read_csv(path, sep="\t", header=None, comment="#", names=names, usecols=range(len(names)))


def _genome(fasta: Path) -> bytes:
    genome = Genome(fasta)
    text = []
    for chrom, (first, last) in STRETCHES.items():
        dna = genome.fetch(Interval("chr20", first, last))
        text += [f">{chrom}\n", *(f"{dna[i : i + 60]}\n" for i in range(0, len(dna), 60))]
    return gzip.compress("".join(text).encode(), 1, mtime=0)


def _peaks(rng: np.random.Generator, known: pd.DataFrame, share: float) -> bytes:
    """Return a narrowPeak file: a share of the known peaks, moved a little, and two elsewhere."""
    some = known[rng.random(len(known)) < share]
    elsewhere = "{}\t100\t300\tv\t0\t.\t9.0\t1\t1\t50\n".format
    lines = [elsewhere("chrEBV"), elsewhere("chrUn_GL000220v1")]
    for row in some.itertuples(index=False):
        start = max(0, row.start + int(rng.integers(-30, 30)))
        end = row.end + 40
        columns = [row.chrom, start, end, "p", 0, ".", f"{rng.gamma(2):.4f}", -1, -1, (end - start) // 2]
        lines.append("\t".join(map(str, columns)) + "\n")
    return gzip.compress("".join(lines).encode(), mtime=0)


def _annotation(genes: pd.DataFrame) -> bytes:
    """Return a GTF of genes, their one transcript and its exons."""
    lines = ["##description: miniature\n"]
    for number, row in enumerate(genes.itertuples(index=False)):
        of_gene = f'gene_id "ENSG{number}"; gene_type "protein_coding"; gene_name "{row.gene}";'
        of_transcript = f'{of_gene} transcript_id "ENST{number}"; tag "Ensembl_canonical";'
        exons = zip(row.exon_starts, row.exon_ends, strict=True)
        for kind, start, end, attributes in (
            ("gene", row.start, row.end, of_gene),
            ("transcript", row.start, row.end, of_transcript),
            *(("exon", start, end, of_transcript) for start, end in exons),
        ):
            place = f"{kind}\t{start + 1}\t{end}\t.\t{row.strand}\t."
            lines.append(f"{row.chrom}\tHAVANA\t{place}\t{attributes}\n")
    return gzip.compress("".join(lines).encode(), mtime=0)


def _genes(table: Path) -> pd.DataFrame:
    genes = pd.read_csv(table, sep="\t").assign(first=lambda genes: genes["start"])
    lifted = _lifted(genes)
    for name in ("exon_starts", "exon_ends"):
        lifted[name] = [
            [int(place) - first + start for place in text.split(",")]
            for text, first, start in zip(lifted[name], lifted["first"], lifted["start"], strict=True)
        ]
    return lifted


def _traits(variants: pd.DataFrame) -> bytes:
    """Return variants as TraitGym has them: Parquet, contigs of Ensembl, positions from 1."""
    table = pd.DataFrame(
        {
            "chrom": variants["chrom"].str.removeprefix("chr"),
            "pos": variants["start"] + 1,
            "ref": variants["ref"],
            "alt": variants["alt"],
            "label": variants["label"] == 1,
            "match_group": variants["matched_to"],
        }
    )
    file = io.BytesIO()
    table.to_parquet(file, index=False)
    return file.getvalue()


@pytest.fixture(scope="module")
def mirror(demo_genome: Path) -> dict[str, bytes]:
    """Return the miniature of every file that the shipped configuration names, by host and path."""
    demo = ROOT / "resources/demo"
    beds = sorted((demo / "peaks").glob("*.bed.gz"))
    known = pd.concat([_bed(path, ["chrom", "start", "end"]) for path in beds]).drop_duplicates()
    variants = pd.read_csv(demo / "hdl_variants.tsv.gz", sep="\t")
    variants = _lifted(variants.assign(start=variants["pos"] - 1, end=variants["pos"]))
    # Either file has whole groups: a variant that matters and those matched to it.
    halves = dict(enumerate(("mendelian", "complex")))
    half = pd.Series(pd.factorize(variants["matched_to"])[0] % 2).map(halves)
    rng = np.random.default_rng(3)
    files = {
        GENOME: _genome(demo_genome),
        BLACKLIST: gzip.compress(b"chr1\t0\t200000\nchrM\t1\t200\n", mtime=0),
        GENCODE: _annotation(_genes(demo / "exons.tsv.gz")),
        **{TRAITGYM.format(name): _traits(variants[half == name]) for name in halves.values()},
    }
    sheet = pd.read_csv(ROOT / "config/biosamples.tsv", sep="\t", comment="#")
    for accession in (*sheet["source"], *CTCF):
        # A TF binds half of the known places, whether open in the cell type or not.
        peaks = _peaks(rng, _lifted(known), 0.5 if accession in CTCF else 0.34)
        about = {
            "accession": accession,
            "md5sum": hashlib.md5(peaks).hexdigest(),
            "file_size": len(peaks),
        }
        files[f"{ENCODE}/{accession}/@@download/{accession}.bed.gz"] = peaks
        files[f"{ENCODE}/{accession}/"] = json.dumps(about).encode()
    return files


def _smaller(raw: dict[str, Any], web: Any, genome: bytes) -> dict[str, Any]:
    raw["downloads"] |= {"mirrors": {"https://": f"{web.url}/"}, "timeout": 5.0}
    address, pin = raw["genome"]["fasta"].split("#")
    assert pin.startswith("md5=")
    raw["genome"]["fasta"] = f"{address}#md5={hashlib.md5(genome).hexdigest()}"
    raw["motifs"]["chunks"] = 3
    raw["seeds"] = [1]
    raw["model"]["columns"] = 4
    raw["model"]["sequence"] |= {"layers": 1, "width": 16, "heads": 2, "feedforward": 32}
    raw["model"]["region"] |= {"width": 8, "depths": [1, 1], "heads": [1, 2]}
    raw["pretrain"] |= {"steps": 2, "warmup_steps": 1, "batch_size": 16, "matching_group": 16}
    # Compiling takes half a minute a variant; tests/unit/model/test_genebert.py does it.
    raw["pretrain"] |= {"evaluate_every": 2, "evaluation_views": 16, "compile": False}
    raw["benchmarks"]["finetune"] |= {"max_steps": 2, "learning_rates": [1.0e-3]}
    # Two recipes that no task compares: a process each to train, embed and attribute is dear, too.
    for name in ("no_matching", "shuffled_regions"):
        del raw["pretrain"]["variants"][name]
    assert raw["benchmarks"]["tasks"].keys() == ANSWERS.keys()
    for name, task in raw["benchmarks"]["tasks"].items():
        task |= {"max_examples": 8, "models": ANSWERS[name]}
    return raw


@pytest.fixture
def project(tmp_path: Path, web: Any, mirror: dict[str, bytes]) -> Path:
    """Return a folder with the project's files and its default configuration made smaller."""
    for name in ("workflow", "genebert", "envs", "resources"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "config").mkdir()
    (tmp_path / "config/biosamples.tsv").write_text((ROOT / "config/biosamples.tsv").read_text())
    raw = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    raw = _smaller(raw, web, mirror[GENOME])
    (tmp_path / "config/config.yaml").write_text(yaml.safe_dump(raw))
    for place, data in mirror.items():
        web.put(f"/{place}", data)
    return tmp_path


def _run(folder: Path, *arguments: str, check: bool = True) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "2", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    text = done.stdout + done.stderr
    if check:
        assert done.returncode == 0, text
    else:
        assert done.returncode == 1, text
    return text


def _change(folder: Path, section: str, **values: Any) -> None:
    path = folder / "config/config.yaml"
    raw = yaml.safe_load(path.read_text())
    raw[section] |= values
    path.write_text(yaml.safe_dump(raw))


def test_the_default_configuration_runs_from_addresses_to_report(
    project: Path, web: Any, mirror: dict[str, bytes]
) -> None:
    # A bad day: a busy server, a line that breaks off.
    accession = f"/{ENCODE}/ENCFF333TAT/@@download/ENCFF333TAT.bed.gz"
    web.faults[accession] = [{"status": 503}, {"truncate": 1000}]
    web.faults[f"/{GENOME}"] = [{"truncate": 100_000}]
    text = _run(project)
    assert f"warning: nothing vouches for https://{GENCODE}" in text
    assert "attempt 2 of" in text

    results = project / "results"
    for place, data in mirror.items():
        if not place.endswith("/"):
            assert (project / "data" / place).read_bytes() == data
    assert not list((project / "data").rglob("*.part*"))

    lock = pd.read_csv(project / "config/downloads.lock.tsv", sep="\t", comment="#").set_index("url")
    assert len(lock) == 19
    assert lock["origin"].value_counts().to_dict() == {"portal": 15, "first download": 4}
    assert f"https://{GENOME}" not in lock.index, "what the configuration pins needs no lock"

    table = pd.read_csv(results / "reference/checksums.tsv", sep="\t")
    assert len(table) == 25
    assert table["pinned"].notna().sum() == 23, "all but the two motif files of the repository"

    corpus = pq.read_table(sorted((results / "corpus").glob("*.parquet"))).to_pandas()
    assert set(corpus["chrom"]) == {"chr1", "chr7", "chr8", "chr9", "chrX"}
    assert (corpus["split"] == corpus["chrom"].map(_split)).all()
    log = (results / "logs/peaks/ENCFF333TAT.log").read_text()
    assert "2 on contigs not in use" in log
    summary = pd.read_csv(results / "benchmarks/summary.tsv", sep="\t")
    whole = summary[summary["subset"].isna()]
    answered = {task: sorted(rows["model"]) for task, rows in whole.groupby("task")}
    assert answered == {task: sorted(models) for task, models in ANSWERS.items()}
    for task in ANSWERS:
        assert (results / f"benchmarks/{task}/leakage.tsv").stat().st_size > 0
    assert (results / "report.html").stat().st_size > 10_000

    asked = len(web.requests)
    assert "Nothing to be done" in _run(project)
    _change(project, "downloads", offline=True)
    assert "Nothing to be done" in _run(project)
    assert len(web.requests) == asked

    # Pinning what was fetched unpinned verifies it and reruns nothing else.
    sheet = project / "config/biosamples.tsv"
    pinned = pd.read_csv(sheet, sep="\t", comment="#")
    address = f"https://{ENCODE}/{{0}}/@@download/{{0}}.bed.gz".format
    found = [lock.loc[address(accession), "checksum"] for accession in pinned["source"]]
    pinned.assign(checksum=found).to_csv(sheet, sep="\t", index=False)
    text = _run(project)
    assert "Comparing input files" in text
    assert "2 of 2 steps (100%) done" in text
    pinned.assign(checksum=[found[1], *found[1:]]).to_csv(sheet, sep="\t", index=False)
    text = _run(project, check=False)
    assert "ENCFF333TAT.bed.gz" in text
    assert found[1] in text


def _split(chrom: str) -> str:
    return {"chr7": "test", "chr9": "test", "chr8": "validation"}.get(chrom, "train")


def test_offline_names_every_missing_file_before_any_job(project: Path, web: Any) -> None:
    _change(project, "downloads", offline=True)
    there = project / "data" / BLACKLIST
    there.parent.mkdir(parents=True)
    there.write_bytes(b"")
    text = _run(project, "-n", check=False)
    assert "19 input files are missing and downloads.offline is true" in text
    assert f"data/{GENCODE}  from https://{GENCODE}" in text
    assert f"data/{BLACKLIST}" not in text
    assert "Traceback" not in text
    assert not web.requests
    assert not (project / "results").exists()


def test_a_genome_that_is_not_the_pinned_one_stops_the_run(project: Path, web: Any) -> None:
    web.put(f"/{GENOME}", gzip.compress(b">chr1\nACGT\n", mtime=0))
    text = _run(project, f"data/{GENOME}", check=False)
    assert f"error: https://{GENOME}" in text
    assert "fix: " in text
    assert not list((project / "data").rglob("hg38*"))


def test_what_lies_there_is_verified_and_never_lost(
    project: Path, web: Any, mirror: dict[str, bytes]
) -> None:
    """A pinned file put there by hand, wrong; and a forced rerun without a network."""
    genome, blacklist = project / "data" / GENOME, project / "data" / BLACKLIST
    for path, data in ((genome, b">chr1\nACGT\n"), (blacklist, mirror[BLACKLIST])):
        path.parent.mkdir(parents=True)
        path.write_bytes(gzip.compress(data) if path == genome else data)
    for place, data in mirror.items():
        if place not in (GENOME, BLACKLIST) and not place.endswith("/"):
            (project / "data" / place).parent.mkdir(parents=True, exist_ok=True)
            (project / "data" / place).write_bytes(data)
    text = _run(project, "results/reference/checksums.tsv", check=False)
    assert f"error: data/{GENOME} has md5:" in text
    _change(project, "downloads", offline=True)
    text = _run(project, "-F", f"data/{GENOME}", check=False)
    assert f"error: data/{GENOME} has md5:" in text
    assert genome.exists()
    text = _run(project, "-F", f"data/{BLACKLIST}")
    assert f"offline: nothing vouches for data/{BLACKLIST}" in text
    assert blacklist.read_bytes() == mirror[BLACKLIST]
    assert not web.requests
