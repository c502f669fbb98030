"""The workflow as a whole: what it plans, a small real run of every stage, and what it refuses."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

ROOT = Path(__file__).parents[2]
SNAKEMAKE = [sys.executable, "-m", "snakemake", "--cores", "2"]


def snakemake(
    *arguments: str | Path, folder: Path = ROOT, check: bool = True
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*SNAKEMAKE, *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    if check:
        assert done.returncode == 0, done.stdout + done.stderr
    return done


def planned(output: str) -> dict[str, int]:
    """Read the job counts that a dry run prints."""
    counts: dict[str, int] = {}
    lines = iter(output.splitlines())
    for line in lines:
        if line.startswith("Job stats"):
            next(lines), next(lines)
            for row in lines:
                if not row.strip():
                    return counts
                rule, count = row.split()
                counts[rule] = int(count)
    return counts


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the project's files and a configuration of a few seconds a stage."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("workflow", "genebert", "envs", "resources"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "config").mkdir()
    sheet = (ROOT / "config/demo_samples.tsv").read_text().splitlines()
    kept = [line for line in sheet if line.startswith(("sample", "CD4_day2", "GM12878"))]
    # Paths with spaces, everywhere that a user may have them.
    data = folder / "my data"
    data.mkdir()
    for path in ("genome.fa.gz", "tss.bed.gz", "blacklist.bed.gz", "peaks/CD4_day2.broadPeak.gz"):
        (data / Path(path).name).symlink_to(ROOT / "resources/demo" / path)
    text = "\n".join(kept).replace("resources/demo/peaks/CD4", "my data/CD4")
    (folder / "config/small sheet.tsv").write_text(text + "\n")
    raw = yaml.safe_load((ROOT / "config/demo.yaml").read_text())
    raw |= {"results_dir": "results/small", "samples": "config/small sheet.tsv", "seeds": [1]}
    raw["genome"] |= {"fasta": "my data/genome.fa.gz", "blacklist": "my data/blacklist.bed.gz"}
    del raw["cell_types"]
    raw["benchmarks"]["tasks"] = {
        "promoter": {"type": "promoter", "tss": "my data/tss.bed.gz", "max_examples": 30},
        "labelled.cell_lines": {
            "type": "labelled",
            "folder": "resources/demo/cell_lines",
            "max_examples": 5,
            "models": ["gc_only", "kmer_logistic"],
        },
    }
    raw["model"] |= {"columns": 4, "sequence": {"width": 16, "layers": 1, "feedforward": 32}}
    raw["pretrain"] |= {"steps": 2, "warmup_steps": 1, "evaluate_every": 2, "evaluation_views": 16}
    raw["pretrain"] |= {"batch_size": 16}
    raw["benchmarks"]["finetune"] |= {"epochs": 1}
    raw["benchmarks"]["models"] = ["multimodal.both", "scratch.both", "kmer_logistic"]
    (folder / "config/small.yaml").write_text(yaml.safe_dump(raw))
    return folder


@pytest.fixture(scope="module")
def finished(project: Path) -> Path:
    """Run every stage once."""
    snakemake("--configfile", "config/small.yaml", folder=project)
    return project


def test_dry_run_of_the_demo_imports_no_torch() -> None:
    def imports(*arguments: str) -> tuple[set[str], str]:
        command = [sys.executable, "-X", "importtime", *SNAKEMAKE[1:], *arguments]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        names = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
        return names, done.stdout + done.stderr

    # Snakemake imports all of its plugins, and that for SLURM pandas.
    own, _ = imports("--version")
    imported, said = imports("-n", "--configfile", "config/demo.yaml", "-F")
    assert "genebert.config" in imported
    assert not (imported - own) & {"torch", "MOODS", "pybedtools", "pyarrow", "pandas"}
    assert planned(said)["scan_motifs"] >= 4


def test_dry_run_of_200_samples_takes_seconds() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "tests/perf/dry_run.py", "--samples", "200"],
        capture_output=True,
        text=True,
        check=True,
    )
    line = json.loads(done.stdout)
    assert line["jobs"] > 2 * 200
    # Of CPU: other tests run beside this one.
    assert line["cpu_seconds"] < 15


def test_default_configuration_does_not_shine_through_a_chosen_one(project: Path) -> None:
    (project / "config/config.yaml").write_text((ROOT / "config/config.yaml").read_text())
    raw = yaml.safe_load((project / "config/small.yaml").read_text())
    del raw["genome"]["blacklist"]
    (project / "config/bare.yaml").write_text(yaml.safe_dump(raw))
    done = snakemake("-n", "-p", "--configfile", "config/bare.yaml", folder=project)
    text = done.stdout + done.stderr
    assert "genebert peaks" in text
    assert "--blacklist" not in text
    assert "hg38" not in text


def test_default_configuration_is_used_when_none_is_chosen() -> None:
    done = snakemake("-n", check=False)
    assert (
        "Fetching https://hgdownload.soe.ucsc.edu/goldenPath/hg38/bigZips/hg38.fa.gz"
        in done.stdout + done.stderr
    )


@pytest.mark.parametrize(
    ("change", "what", "fix"),
    [
        ({"pretrain": {"batch_sise": 32}}, "unknown key 'pretrain.batch_sise' = 32", "'batch_size'"),
        ({"pretrain": {"batch_size": -4}}, "'pretrain.batch_size' = -4", "config/README.md"),
        ({"regions": {"width": "wide"}}, "'regions.width' = 'wide'", "config/README.md"),
        ({"benchmarks": {"models": ["multimodel.both"]}}, "names 'multimodel.both'", "multimodal"),
        ({"samples": "config/none.tsv"}, "config/none.tsv does not exist", "correct the path"),
        ({"cell_types": {"test": ["GM12787"]}}, "cell type 'GM12787', which is in no sample", "GM12878"),
    ],
)
def test_bad_configuration_is_refused_before_any_job(
    project: Path, change: dict, what: str, fix: str
) -> None:
    raw = yaml.safe_load((project / "config/small.yaml").read_text())
    raw["results_dir"] = "results/refused"
    for key, value in change.items():
        if isinstance(value, dict):
            raw.setdefault(key, {}).update(value)
        else:
            raw[key] = value
    (project / "config/bad.yaml").write_text(yaml.safe_dump(raw))
    done = snakemake("--configfile", "config/bad.yaml", folder=project, check=False)
    text = done.stdout + done.stderr
    assert done.returncode == 1
    assert what in text
    assert fix in text.split("fix:")[1]
    assert "Traceback" not in text
    assert not (project / "results/refused").exists()


def test_bad_input_stops_at_preflight_with_its_line_shown(project: Path) -> None:
    peaks = project / "config/bad.bed"
    peaks.write_text("chr20\t1000000\t1000200\nchr20\t63025000\t63025600\n")
    (project / "config/bad.tsv").write_text(
        f"sample\tcell_type\tassay\tformat\tsource\nbad\tx\tATAC-seq\tbed\t{peaks.relative_to(project)}\n"
    )
    raw = yaml.safe_load((project / "config/small.yaml").read_text())
    raw |= {"results_dir": "results/bad", "samples": "config/bad.tsv"}
    (project / "config/bad.yaml").write_text(yaml.safe_dump(raw))
    done = snakemake("--configfile", "config/bad.yaml", folder=project, check=False)
    text = done.stdout + done.stderr
    assert done.returncode == 1
    assert "chr20:63025000-63025600 ends after the contig's 63025520 bp (config/bad.bed line 2)" in text
    assert "fix: use a file of the same assembly" in text
    assert not (project / "results/bad/reference/preflight.tsv").exists()
    assert not (project / "results/bad/peaks/bad.bed.gz").exists()
    assert not (project / "results/bad/regions").exists()


def test_missing_files_are_named_with_their_lines_before_any_job(project: Path) -> None:
    sheet = (project / "config/small sheet.tsv").read_text()
    (project / "config/typo.tsv").write_text(sheet.replace("my data/CD4", "my data/CD44"))
    raw = yaml.safe_load((project / "config/small.yaml").read_text())
    raw |= {"results_dir": "results/typo", "samples": "config/typo.tsv"}
    raw["genome"]["blacklist"] = "none.bed"
    (project / "config/typo.yaml").write_text(yaml.safe_dump(raw))
    done = snakemake("-n", "--configfile", "config/typo.yaml", folder=project, check=False)
    text = done.stdout + done.stderr
    assert done.returncode == 1
    assert "input files that do not exist: 2" in text
    assert "my data/CD44_day2.broadPeak.gz  (config/typo.tsv line 2)" in text
    assert "none.bed  (genome.blacklist in the configuration)" in text
    assert "fix: correct the paths" in text
    assert "Traceback" not in text


def test_a_key_that_is_given_twice_is_refused(project: Path) -> None:
    text = (project / "config/small.yaml").read_text()
    (project / "config/twice.yaml").write_text(text + "results_dir: other\n")
    done = snakemake("-n", "--configfile", "config/twice.yaml", folder=project, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 1
    assert "config/twice.yaml is not valid YAML: key 'results_dir' is given twice" in said
    assert "Traceback" not in said


def test_a_pattern_of_contigs_may_have_braces(project: Path) -> None:
    raw = yaml.safe_load((project / "config/small.yaml").read_text())
    raw |= {"results_dir": "results/braces"}
    raw["genome"]["contigs"] = "chr([0-9]{1,2}|X|Y)"
    (project / "config/braces.yaml").write_text(yaml.safe_dump(raw))
    snakemake(
        "results/braces/reference/genome.fa.fai", "--configfile", "config/braces.yaml", folder=project
    )
    assert (project / "results/braces/reference/genome.fa.fai").read_text().startswith("chr20\t")
    done = snakemake("-n", "--configfile", "config/braces.yaml", folder=project)
    assert planned(done.stdout + done.stderr)["task_promoter"] == 1


def test_every_stage_writes_what_the_design_says(finished: Path) -> None:
    results = finished / "results/small"
    for path in (
        "reference/checksums.tsv",
        "reference/preflight.tsv",
        "reference/preflight.promoter.tsv",
        "peaks/CD4_day2.bed.gz",
        "regions/regions.parquet",
        "regions/accessibility.parquet",
        "corpus/part-0003.parquet",
        "corpus/manifest.json",
        "pretrain/multimodal/seed1/model/model.safetensors",
        "pretrain/multimodal/seed1/model/config.json",
        "pretrain/multimodal/seed1/history.tsv",
        "reference/preflight.labelled.cell_lines.tsv",
        "pretrain/multimodal/seed1/embeddings.parquet",
        "pretrain/sequence_only/seed1/attribution.parquet",
        "benchmarks/promoter/dataset.parquet",
        "benchmarks/promoter/leakage.tsv",
        "benchmarks/promoter/multimodal.both/seed1/predictions.parquet",
        "benchmarks/promoter/multimodal.both/seed1/metrics.json",
        "benchmarks/summary.tsv",
        "report.html",
    ):
        assert (results / path).stat().st_size > 0, path
    assert not list(results.glob("motifs/chunk-*")), "hits of a chunk are temporary"
    assert not list(results.rglob("*.tmp"))


def test_summary_gives_neither_interval_nor_rank_on_few_blocks(finished: Path) -> None:
    table = pd.read_csv(finished / "results/small/benchmarks/summary.tsv", sep="\t")
    table = table[(table["task"] == "promoter") & table["subset"].isna()]
    assert set(table["model"]) == {"multimodal.both", "scratch.both", "kmer_logistic"}
    assert table["auroc"].between(0, 1).all()
    assert table[["rank", "low", "high"]].isna().all().all()
    own = table.set_index("model")["auroc"]
    difference = table.set_index("model").loc["multimodal.both", "vs_scratch"]
    assert difference == pytest.approx(own["multimodal.both"] - own["scratch.both"], abs=1e-5)
    text = (finished / "results/small/benchmarks/summary.md").read_text()
    assert "Too small to rank models" in text


def test_report_is_one_file_without_addresses(finished: Path) -> None:
    page = (finished / "results/small/report.html").read_text()
    for address in ('src="http', 'href="http', "@import", "<script src"):
        assert address not in page
    assert page.count("<svg") >= 4


def test_metrics_follow_from_the_predictions_kept(finished: Path) -> None:
    run = finished / "results/small/benchmarks/promoter/kmer_logistic/seed1"
    predictions = pd.read_parquet(run / "predictions.parquet")
    metrics = json.loads((run / "metrics.json").read_text())
    test = predictions[predictions["split"] == "test"]
    assert metrics["metrics"]["test"]["examples"] == len(test)
    called = (test["score"] >= 0.5).astype(int)
    accuracy = metrics["metrics"]["test"]["accuracy"]
    assert accuracy == pytest.approx((called == test["label"]).mean())


def test_second_run_has_nothing_to_do(finished: Path) -> None:
    done = snakemake("-n", "--configfile", "config/small.yaml", folder=finished)
    assert "Nothing to be done" in done.stdout + done.stderr


def test_editing_a_comment_reruns_nothing(finished: Path) -> None:
    for name in ("workflow", "genebert"):
        (finished / name).unlink()
        shutil.copytree(ROOT / name, finished / name)
    for path in ("workflow/rules/pretrain.smk", "genebert/pretrain/loop.py"):
        text = (finished / path).read_text()
        (finished / path).write_text(text + "\n# another comment\n")
    done = snakemake("-n", "--configfile", "config/small.yaml", folder=finished)
    assert "Nothing to be done" in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            {"benchmarks": {"finetune": {"epochs": 2}}},
            {"benchmark": 2, "summary": 1, "report": 1, "all": 1},
        ),
        (
            {"benchmarks": {"models": ["kmer_logistic", "motif_logistic", "scratch.both"]}},
            {"benchmark": 1, "summary": 1, "report": 1, "all": 1},
        ),
        (
            {"pretrain": {"variants": {"sequence_only": {"masked_sequence": 2}}}},
            {"pretrain": 1, "attribution": 1, "report": 1, "all": 1},
        ),
        (
            {"benchmarks": {"tasks": {"labelled.cell_lines": {"max_examples": 4}}}},
            {
                **{"preflight_task": 1, "task_labelled": 1, "leakage": 1, "benchmark": 2},
                **{"summary": 1, "report": 1, "all": 1},
            },
        ),
        (
            {"benchmarks": {"tasks": {"labelled.cell_lines": {"models": ["gc_only", "cnn"]}}}},
            {"benchmark": 1, "summary": 1, "report": 1, "all": 1},
        ),
        (
            {"benchmarks": {"tasks": {"another": {"type": "promoter", "tss": "my data/tss.bed.gz"}}}},
            {
                **{"checksums": 1, "preflight_task": 1, "task_promoter": 1, "leakage": 1},
                **{"benchmark": 3, "summary": 1, "report": 1, "all": 1},
            },
        ),
        (
            {"cell_types": {"test": ["GM12878"]}},
            {
                **{"pretrain": 3, "embed": 2, "attribution": 3, "benchmark": 2},
                **{"summary": 1, "report": 1, "all": 1},
            },
        ),
        ({"benchmarks": {"block_bp": 500_000}}, {"summary": 1, "report": 1, "all": 1}),
        (
            {"seeds": [1, 2]},
            {"pretrain": 3, "benchmark": 2, "summary": 1, "report": 1, "all": 1},
        ),
    ],
)
def test_a_change_reruns_what_depends_on_it_only(
    finished: Path, change: dict, expected: dict[str, int]
) -> None:
    raw = yaml.safe_load((finished / "config/small.yaml").read_text())

    def merge(into: dict, new: dict) -> None:
        for key, value in new.items():
            if isinstance(value, dict) and key in into:
                merge(into[key], value)
            else:
                into[key] = value

    merge(raw, change)
    (finished / "config/changed.yaml").write_text(yaml.safe_dump(raw))
    done = snakemake("-n", "--configfile", "config/changed.yaml", folder=finished)
    counts = planned(done.stdout + done.stderr)
    assert {rule: n for rule, n in counts.items() if rule != "total"} == expected


def test_a_comment_in_the_sheet_reruns_nothing(finished: Path) -> None:
    with (finished / "config/small sheet.tsv").open("a") as sheet:
        sheet.write("# a comment\n")
    done = snakemake("-n", "--configfile", "config/small.yaml", folder=finished)
    assert "Nothing to be done" in done.stdout + done.stderr


def _with_sheet(finished: Path, name: str, lines: list[str]) -> dict[str, int]:
    (finished / f"config/{name}.tsv").write_text("\n".join(lines) + "\n")
    raw = yaml.safe_load((finished / "config/small.yaml").read_text())
    raw["samples"] = f"config/{name}.tsv"
    (finished / f"config/{name}.yaml").write_text(yaml.safe_dump(raw))
    done = snakemake("-n", "--configfile", f"config/{name}.yaml", folder=finished)
    return planned(done.stdout + done.stderr)


def test_name_and_order_of_the_sheet_decide_nothing(finished: Path) -> None:
    header, *rows = (finished / "config/small sheet.tsv").read_text().splitlines()
    assert len([row for row in rows if not row.startswith("#")]) == 2
    assert _with_sheet(finished, "turned", [header, *reversed(rows)]) == {}


def test_another_sample_leaves_the_peaks_of_the_others_alone(finished: Path) -> None:
    lines = (finished / "config/small sheet.tsv").read_text().splitlines()
    another = next(
        row for row in (ROOT / "config/demo_samples.tsv").read_text().splitlines() if "NK" in row
    )
    counts = _with_sheet(finished, "more", [*lines, another])
    assert (counts["peaks"], counts["preflight"], counts["regions"]) == (1, 1, 1)
    assert "motifs" not in counts


def test_a_changed_tss_file_reruns_its_task_only(finished: Path) -> None:
    tss = finished / "my data/tss.bed.gz"
    content = tss.read_bytes()
    tss.unlink()
    tss.write_bytes(content[:-8] + b"changed!")
    done = snakemake("-n", "--configfile", "config/small.yaml", folder=finished)
    counts = planned(done.stdout + done.stderr)
    tss.unlink()
    tss.symlink_to(ROOT / "resources/demo/tss.bed.gz")
    assert set(counts) == {
        *("checksums", "preflight_task", "task_promoter", "benchmark", "leakage", "summary", "report"),
        *("all", "total"),
    }


def test_one_result_is_rebuilt_by_its_path(finished: Path) -> None:
    path = "results/small/benchmarks/promoter/kmer_logistic/seed1/metrics.json"
    before = (finished / path).read_bytes()
    (finished / path).unlink()
    done = snakemake(path, "--configfile", "config/small.yaml", folder=finished)
    assert planned(done.stdout + done.stderr) == {"benchmark": 1, "total": 1}
    assert (finished / path).read_bytes() == before


@pytest.mark.parametrize(
    ("model", "what"),
    [
        ("kmer_logistc", "'kmer_logistc' is no baseline"),
        ("nosuch.both", "there is no such variant"),
        ("sequence_only.both", "do not train"),
        ("pwm_best", "does not apply to a task of type promoter"),
    ],
)
def test_a_path_that_names_no_model_is_refused_before_any_job(
    finished: Path, model: str, what: str
) -> None:
    path = f"results/small/benchmarks/promoter/{model}/seed1/metrics.json"
    done = snakemake("-n", path, "--configfile", "config/small.yaml", folder=finished, check=False)
    assert done.returncode == 1
    assert what in done.stdout + done.stderr
    assert "fix: " in done.stdout + done.stderr


def test_snakemake_runs_without_the_environment_activated(finished: Path) -> None:
    path = "results/small/corpus/manifest.json"
    (finished / path).unlink()
    bare = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "PYTHONPATH")}
    bare["PATH"] = "/usr/bin:/bin"
    subprocess.run(
        [*SNAKEMAKE, path, "--configfile", "config/small.yaml"],
        cwd=finished,
        env=bare,
        check=True,
        capture_output=True,
    )
    assert (finished / path).exists()
