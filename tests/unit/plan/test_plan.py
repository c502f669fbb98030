"""The plan: sizes from files, needs that grow with them, sums that add up, and every rule has one."""

import gzip
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from Bio import bgzf

from genebert import config
from genebert.inputs.sheet import read_samples
from genebert.plan.ask import memory_mb, need_of_job, runtime_minutes
from genebert.plan.constants import constants
from genebert.plan.files import text_of
from genebert.plan.jobs import STAGE_OF, jobs
from genebert.plan.needs import need
from genebert.plan.sizes import Sizes, expected
from genebert.plan.table import Plan, make_plan
from genebert.plan.tasks import TaskSizes


@pytest.fixture(scope="module")
def demo(repository: Path) -> config.Config:
    """The demo, without a GPU."""
    found = config.load(repository / "config/demo.yaml")
    compute = found.compute.model_copy(update={"gpus": 0})
    return found.model_copy(update={"compute": compute})


@pytest.fixture
def sizes(demo: config.Config, in_repository: None) -> Sizes:
    """Those of the demo."""
    return expected(demo, read_samples(demo.samples))


def _bigger(sizes: Sizes, factor: int) -> Sizes:
    def tasks(own: TaskSizes) -> TaskSizes:
        grown = own.scaled(factor)
        return replace(grown, records=factor * own.records, gtf_lines=factor * own.gtf_lines)

    return replace(
        sizes.scaled(factor),
        bp=factor * sizes.bp,
        input_mb=factor * sizes.input_mb,
        motifs=factor * sizes.motifs,
        peaks={name: factor * number for name, number in sizes.peaks.items()},
        tasks={name: tasks(own) for name, own in sizes.tasks.items()},
    )


def test_no_job_takes_less_of_more(demo: config.Config, sizes: Sizes) -> None:
    samples = read_samples(demo.samples)
    bigger = _bigger(sizes, 3)
    for job in jobs(demo, samples, sizes):
        small, large = (need(job.rule, job.names, own, demo) for own in (sizes, bigger))
        for measure in ("mb", "cpu_seconds", "disk_bytes", "seconds"):
            assert 0 <= getattr(small, measure) <= getattr(large, measure), (job, measure)
        assert small.mb > 20, job
        assert small.cpu_seconds > 0.1, job


def test_more_steps_views_and_layers_cost_more(demo: config.Config, sizes: Sizes) -> None:
    names = {"variant": "multimodal", "seed": "1"}

    def cost(**pretrain: Any) -> float:
        changed = demo.model_copy(update={"pretrain": demo.pretrain.model_copy(update=pretrain)})
        return need("pretrain", names, sizes, changed).cpu_seconds

    usual = cost()
    assert cost(steps=160) > 1.5 * usual
    assert cost(batch_size=64) > 1.5 * usual
    assert cost(evaluation_views=1024) > usual
    small = demo.model_copy(update={"model": config.Model(preset="small")})
    assert need("pretrain", names, sizes, small).cpu_seconds > 5 * usual


def test_gpus_share_the_work_and_nothing_else(repository: Path, in_repository: None) -> None:
    human = config.load("config/config.yaml")
    sizes = expected(human, read_samples(human.samples))
    names = {"variant": "multimodal", "seed": "1"}

    def on(gpus: int, nodes: int = 1) -> Any:
        compute = human.compute.model_copy(update={"gpus": gpus, "nodes": nodes})
        return need("pretrain", names, sizes, human.model_copy(update={"compute": compute}))

    one, eight = on(1), on(4, 2)
    assert one.gpu_seconds == pytest.approx(eight.gpu_seconds)
    assert one.seconds > 6 * eight.seconds
    assert on(0).gpu_seconds == 0
    assert on(0).cpu_seconds > one.cpu_seconds


def test_each_worker_of_a_machine_takes_memory(repository: Path, in_repository: None) -> None:
    human = config.load("config/config.yaml")
    sizes = expected(human, read_samples(human.samples))

    def on(variant: str, gpus: int, nodes: int = 1) -> float:
        compute = human.compute.model_copy(update={"gpus": gpus, "nodes": nodes})
        changed = human.model_copy(update={"compute": compute})
        return need("pretrain", {"variant": variant, "seed": "1"}, sizes, changed).mb

    assert on("multimodal", 8) > 4 * on("multimodal", 1)
    assert on("multimodal", 8, nodes=2) == on("multimodal", 8)
    assert on("scratch", 8) == on("scratch", 1)


@pytest.mark.parametrize(
    ("samples", "peaks", "gib"),
    # Measured by tests/perf/regions.py, as the README says.
    [(13, 150_000, 0.41), (500, 100_000, 2.2)],
)
def test_regions_of_large_collections_take_what_was_measured(
    demo: config.Config, sizes: Sizes, samples: int, peaks: int, gib: float
) -> None:
    large = replace(sizes, peaks={f"s{number}": peaks for number in range(samples)})
    assert gib / 2 < need("regions", {}, large, demo).mb / 1024 < 2 * gib
    # One sample is in memory at a time.
    assert need("preflight", {}, large, demo).mb < 600


def test_what_reads_a_catalogue_takes_little_of_each_region(demo: config.Config, sizes: Sizes) -> None:
    large = sizes.scaled(1_000_000 / sizes.regions)
    names = {"task": "promoter"}
    of_columns = large.corpus_bytes() / 1e6
    for rule, most in (("leakage", 2500), ("task_promoter", 2500), ("report", 2 * of_columns + 6000)):
        assert need(rule, names, large, demo).mb < most, rule
    # The manifest reads a part at a time.
    chunks = demo.motifs.model_copy(update={"chunks": 64})
    finer = demo.model_copy(update={"motifs": chunks})
    assert need("manifest", {}, large, finer).mb < 0.6 * need("manifest", {}, large, demo).mb


def test_what_is_not_trained_asks_for_one_gpu(demo: config.Config, sizes: Sizes) -> None:
    compute = demo.compute.model_copy(update={"gpus": 4, "nodes": 2})
    settings = demo.model_copy(update={"compute": compute})
    asked = {
        (job.rule, job.names.get("variant")): need(job.rule, job.names, sizes, settings).gpus
        for job in jobs(settings, read_samples(settings.samples), sizes)
    }
    assert asked["pretrain", "multimodal"] == 8
    assert asked["pretrain", "scratch"] == asked["attribution", "multimodal"] == 1
    assert asked["scan_motifs", None] == 0


def test_totals_add_up(demo: config.Config, in_repository: None) -> None:
    plan = make_plan(demo, read_samples(demo.samples))
    total = plan.total()
    for measure in ("jobs", "cpu_hours", "gpu_hours", "disk_bytes"):
        values = [getattr(row, measure) for row in plan.rows]
        assert getattr(total, measure) == pytest.approx(sum(values))
        assert sum(getattr(row, measure) for row in plan.stages()) == pytest.approx(sum(values))
    assert total.mb == max(row.mb for row in plan.rows)


def test_every_job_of_the_workflow_is_in_the_plan(repository: Path, in_repository: None) -> None:
    # Also those of config.yaml, which fetches its inputs.
    for name in ("demo", "config"):
        settings = config.load(f"config/{name}.yaml")
        samples = read_samples(settings.samples)
        plan = make_plan(settings, samples)
        command = [sys.executable, "-m", "snakemake", "-n", "--forceall", "--quiet", "rules"]
        command += ["--configfile", f"config/{name}.yaml"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        rows = re.findall(r"^(\w+) +(\d+)$", done.stdout + done.stderr, re.MULTILINE)
        foreseen = {row.rule: row.jobs for row in plan.rows}
        assert {rule: int(n) for rule, n in rows if rule not in ("all", "total")} == foreseen


def test_every_rule_asks_for_memory_and_time(repository: Path) -> None:
    for path in (repository / "workflow/rules").glob("*.smk"):
        for block in re.split(r"^ *rule ?(?=\w*:$)", path.read_text(), flags=re.MULTILINE)[1:]:
            name = block.partition(":")[0]
            if name != "download":  # runs where Snakemake runs
                key = f'"{name}"' if name else 'f"task_{kind}"'
                assert f"mem_mb=memory({key})" in block, (path.name, name)
                assert f"runtime=runtime({key})" in block, (path.name, name)
                assert not name or name in STAGE_OF


def test_requests_grow_with_attempts_and_leave_room_for_snakemake(
    demo: config.Config, sizes: Sizes
) -> None:
    for job in jobs(demo, read_samples(demo.samples), sizes):
        one = need(job.rule, job.names, sizes, demo)
        for ask in (memory_mb, runtime_minutes):
            first, second, third = (ask(one, attempt) for attempt in (1, 2, 3))
            assert 0 < first < second < third
        assert memory_mb(one, 1) >= max(500, 1.5 * one.mb)
        assert runtime_minutes(one, 1) >= 5


def test_requests_follow_the_inputs_that_are_there(
    demo: config.Config, sizes: Sizes, tmp_path: Path
) -> None:
    catalogue = tmp_path / "regions.parquet"
    files = {"regions": [str(catalogue)]}
    before = need_of_job("scan_motifs", {"chunk": "0000"}, files, sizes, demo)
    assert before == need("scan_motifs", {"chunk": "0000"}, sizes, demo)
    catalogue.write_bytes(bytes(10_000_000))
    after = need_of_job("scan_motifs", {"chunk": "0000"}, files, sizes, demo)
    assert after.cpu_seconds > 10 * before.cpu_seconds
    raw = tmp_path / "peaks.bed"
    raw.write_text("chr1\t100\t600\n" * 300_000)
    name = next(iter(sizes.peaks))
    one = need_of_job("peaks", {"sample": name}, {"raw": [str(raw)]}, sizes, demo)
    assert one.cpu_seconds > 1.5 * need("peaks", {"sample": name}, sizes, demo).cpu_seconds


@pytest.mark.parametrize("packed", ["plain", "gzip", "bgzip"])
@pytest.mark.parametrize("lines", [0, 1, 7, 40_000])
def test_lines_are_counted_without_reading_all(tmp_path: Path, packed: str, lines: int) -> None:
    rows = "".join(f"chr{n % 22}\t{n * 1000}\t{n * 1000 + 500}\tpeak_{n}\n" for n in range(lines))
    path = tmp_path / "peaks.bed.gz"
    if packed == "bgzip":
        with bgzf.BgzfWriter(str(path)) as writer:
            writer.write(rows)
    else:
        path.write_bytes(gzip.compress(rows.encode()) if packed == "gzip" else rows.encode())
    found = text_of(path)
    assert found is not None
    assert found.bytes == len(rows)
    # Lines grow longer along the file, as places do.
    assert found.lines == pytest.approx(lines, rel=0.15)


def test_what_is_no_text_is_not_counted(tmp_path: Path) -> None:
    assert text_of(tmp_path / "missing") is None
    (tmp_path / "cut.gz").write_bytes(gzip.compress(bytes(range(256)) * 40)[:60])
    assert text_of(tmp_path / "cut.gz") is None
    (tmp_path / "table.parquet").write_bytes(b"PAR1\x00\xff\xfe" * 100)
    assert text_of(tmp_path / "table.parquet") is None


def _bed(rows: int) -> bytes:
    return "".join(f"chr20\t{n * 997}\t{n * 997 + 500}\tpeak_{n}\n" for n in range(rows)).encode()


def _broken(kind: str, rows: int) -> bytes:
    packed = bytearray(gzip.compress(_bed(rows), mtime=0))
    if kind == "crc":
        packed[-8] ^= 1
    elif kind == "deflate":
        middle = len(packed) // 2
        packed[middle : middle + 8] = bytes(8)
    else:  # cut off: its last bytes say that 4 GiB follow
        packed = packed[: len(packed) // 2] + b"\xff\xff\xff\xff"
    return bytes(packed)


@pytest.mark.parametrize("rows", [200, 6000])
@pytest.mark.parametrize("kind", ["crc", "deflate", "cut"])
def test_damaged_files_are_assumed_and_not_believed(
    demo: config.Config, in_repository: None, tmp_path: Path, kind: str, rows: int
) -> None:
    bed, motifs = tmp_path / "peaks.bed.gz", tmp_path / "motifs.jaspar.gz"
    for path in (bed, motifs):
        path.write_bytes(_broken(kind, rows))
    sheet = tmp_path / "samples.tsv"
    sheet.write_text(f"sample\tcell_type\tassay\tformat\tsource\na\ta\tATAC-seq\tbed\t{bed}\n")
    settings = demo.model_copy(update={"motifs": demo.motifs.model_copy(update={"file": str(motifs)})})
    found = expected(settings, read_samples(sheet))
    known = constants()["assumed"]
    assert found.peaks["a"] == known["peaks_of_a_sample"]["value"] or 0.5 < found.peaks["a"] / rows < 2
    assert found.motifs == known["motifs"]["value"]
    assert any(str(motifs) in text for text in found.assumptions)


@pytest.mark.parametrize("before", [0, 1])
def test_a_head_that_ends_within_a_character_is_text(tmp_path: Path, before: int) -> None:
    path = tmp_path / "peaks.bed"
    path.write_text("x" * before + "é" * 50_000 + "\n", encoding="utf-8")
    assert text_of(path) is not None


def test_fetched_files_count_once(demo: config.Config, in_repository: None, tmp_path: Path) -> None:
    address = "https://example.org/peaks/a.bed.gz"
    sheet = tmp_path / "samples.tsv"
    sheet.write_text(f"sample\tcell_type\tassay\tformat\tsource\na\ta\tATAC-seq\tbed\t{address}\n")
    downloads = demo.downloads.model_copy(update={"folder": str(tmp_path / "data")})
    settings = demo.model_copy(update={"downloads": downloads})
    samples = read_samples(sheet, downloads.folder)
    path = Path(samples[0].path)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")
    before = expected(settings, samples)
    path.write_bytes(gzip.compress(_bed(100_000)))
    after = expected(settings, samples)
    assert after.fetched["example.org/peaks/a.bed.gz"] == path.stat().st_size
    assert after.input_mb - before.input_mb == pytest.approx(path.stat().st_size / 1e6)


def test_what_is_fetched_is_called_as_in_the_workflow(
    demo: config.Config, in_repository: None, tmp_path: Path
) -> None:
    # Twice the same file: by accession, and by its address with a checksum.
    accession = "ENCFF333TAT"
    address = f"https://www.encodeproject.org/files/{accession}/@@download/{accession}.bed.gz"
    sheet = tmp_path / "samples.tsv"
    sheet.write_text(f"sample\tcell_type\tassay\tformat\tsource\na\ta\tATAC-seq\tbed\t{accession}\n")
    genome = demo.genome.model_copy(update={"blacklist": f"{address}#md5={'0' * 32}"})
    settings = demo.model_copy(update={"genome": genome})
    samples = read_samples(sheet, settings.downloads.folder)
    found = expected(settings, samples)
    place = samples[0].path.removeprefix(f"{settings.downloads.folder}/")
    (job,) = (job for job in jobs(settings, samples, found) if job.rule == "download")
    assert job.names == {"place": place}
    assert need_of_job("download", job.names, {}, found, settings).disk_bytes == found.fetched[place] > 0


def test_files_that_are_not_there_are_assumed_and_said_so(
    demo: config.Config, sizes: Sizes, tmp_path: Path
) -> None:
    assert sizes.assumptions == ()
    sheet = tmp_path / "samples.tsv"
    rows = Path(demo.samples).read_text().splitlines()
    header = rows.index("sample\tcell_type\tassay\tformat\tsource")
    sheet.write_text(
        "\n".join([*rows[header:], "gone\tgone\tATAC-seq\tbed\thttps://example.org/gone.bed"]) + "\n"
    )
    found = expected(demo, read_samples(sheet))
    typical = constants()["assumed"]["peaks_of_a_sample"]["value"]
    assert found.peaks["gone"] == typical
    assert any(text.startswith("1 of 13 peak files are not there yet") for text in found.assumptions)
    assert found.regions > 10 * sizes.regions


def test_tasks_have_the_examples_that_their_caps_allow(sizes: Sizes) -> None:
    # Sites of each class in each split.
    assert sizes.tasks["splicing"].examples == 3 * 3 * 80
    assert sizes.tasks["promoter"].bases == 300
    assert sizes.tasks["labelled.cell_lines"].bases == 200
    assert sizes.tasks["variants.HDL"].training == 0


def test_a_run_that_only_trains_has_a_plan(demo: config.Config, in_repository: None) -> None:
    benchmarks = demo.benchmarks.model_copy(update={"tasks": {}})
    trained = demo.model_copy(update={"benchmarks": benchmarks})
    plan: Plan = make_plan(trained, read_samples(trained.samples))
    rules = Counter({row.rule: row.jobs for row in plan.rows})
    assert rules["pretrain"] == len(demo.pretrain.variants) * len(demo.seeds)
    assert rules["benchmark"] == rules["summary"] == rules["leakage"] == 0


def test_nothing_heavy_is_imported() -> None:
    program = (
        "import sys, genebert.plan.ask, genebert.plan.table\n"
        "print([name for name in ('torch', 'numpy', 'pandas', 'pyarrow') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"


def test_constants_say_where_they_come_from() -> None:
    known = constants()
    for key in ("command", "date", "machine", "python", "versions"):
        assert known[key], key
    assert all(own["basis"] for own in known["assumed"].values())
    assert known["gpu"]["basis"]
    for stage in STAGE_OF.keys() - {"task", "benchmark"}:
        assert {"cpu", "mb"} <= known["stages"][stage].keys(), stage
