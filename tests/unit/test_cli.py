import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from genebert import __version__
from genebert.errors import unwritable

World = SimpleNamespace
Refused = Callable[..., str]


def _sheet(world: World, *rows: str, header: str | None = None) -> None:
    world.sheet.write_text((header or world.header) + "\n".join(rows) + "\n")


def _bed(text: str) -> Callable[[World], None]:
    return lambda world: world.bed.write_text(text) and None


def _narrow(text: str) -> Callable[[World], None]:
    return lambda world: world.narrow.write_bytes(gzip.compress(text.encode())) and None


def _motifs(old: str, new: str) -> Callable[[World], None]:
    return lambda world: world.motifs.write_text(world.motifs.read_text().replace(old, new, 1)) and None


def _hold_out(validation: list[str], test: list[str]) -> Callable[[World], None]:
    return lambda world: world.held_out.update(validation=validation, test=test)


def _truncate(world: World) -> None:
    world.narrow.write_bytes(world.narrow.read_bytes()[:-20])


def _style(style: str) -> Callable[[World], None]:
    return lambda world: _sheet(world, world.rows[0].replace("as_is", style), world.rows[1])


def _twice(world: World) -> None:
    _sheet(world, world.rows[0], world.rows[1].replace("two\t", "one\t", 1))


def _column(world: World) -> None:
    rows = [f"{row}\tred" for row in world.rows]
    _sheet(world, *rows, header=world.header.replace("\n", "\tcolour\n"))


def _format(world: World) -> None:
    _sheet(world, world.rows[0], world.rows[1].replace("\tbed\t", "\tbigBed\t"))


def _gone(name: str) -> Callable[[World], None]:
    return lambda world: setattr(world, name, world.folder / "absent.file")


def _peak_file_gone(world: World) -> None:
    world.bed.unlink()


PEAK = "chrA\t1500\t1700\tp1\t10\t.\t4.5\t9\t9\t{}\n"


@pytest.mark.parametrize(
    ("spoil", "parts"),
    [
        pytest.param(
            _style("fancy"), ["contig_style 'fancy' is not valid", "samples.tsv line 2"], id="style"
        ),
        pytest.param(
            _bed("scaffold_1\t1\t50\n"),
            ["peaks for 'two' name contig 'scaffold_1', the genome has chrA", "samples.tsv line 3"],
            id="unknown contig",
        ),
        pytest.param(
            _style("ensembl"),
            ["peaks for 'one' name contig 'A', the genome has 'chrA'", "contig_style: ucsc"],
            id="contig of the other style",
        ),
        pytest.param(
            _bed("chrB\t2900\t3001\n"),
            ["chrB:2900-3001 ends after the contig's 3000 bp", "two.bed line 1"],
            id="past the end",
        ),
        pytest.param(
            _bed("chrB\t1\t5\nchrB\t90\t90\n"),
            ["start 90 is not smaller than end 90", "two.bed line 2", "samples.tsv line 3"],
            id="start = end",
        ),
        pytest.param(_bed("chrB\t91\t90\n"), ["start 91 is not smaller than end 90"], id="start > end"),
        pytest.param(_bed("chrB\t1.5\t90\n"), ["coordinate '1.5'", "two.bed line 1"], id="decimal"),
        pytest.param(_bed("chrB\tone\ttwo\n"), ["coordinate 'one'"], id="words"),
        pytest.param(_bed("chrB\t-1\t9\n"), ["coordinate '-1'"], id="negative"),
        pytest.param(_bed(""), ["two.bed has no intervals", "'two'"], id="empty peaks"),
        pytest.param(_narrow(""), ["one.narrowPeak.gz has no intervals"], id="empty gzip"),
        pytest.param(_truncate, ["truncated or corrupt gzip", "fetch the file again"], id="truncated"),
        pytest.param(
            _narrow("chrA\t1500\t1700\tp1\n"), ["4 columns where 10 are needed"], id="few columns"
        ),
        pytest.param(_narrow(PEAK.format(200)), ["summit offset '200' lies outside"], id="summit"),
        pytest.param(_twice, ["sample 'one' is named twice", "line 2", "line 3"], id="duplicate sample"),
        pytest.param(_column, ["column 'colour' is unknown"], id="sheet column"),
        pytest.param(_format, ["format 'bigBed' is not valid", "use narrowPeak"], id="format"),
        pytest.param(_peak_file_gone, ["two.bed does not exist", "'two'"], id="missing peaks"),
        pytest.param(_gone("sheet"), ["absent.file does not exist"], id="missing sheet"),
        pytest.param(_gone("motifs"), ["absent.file does not exist"], id="missing motifs"),
        pytest.param(_gone("blacklist"), ["absent.file does not exist"], id="missing blacklist"),
        pytest.param(_gone("genome"), ["absent.file.fai does not exist"], id="missing genome"),
        pytest.param(
            _motifs("C [ 1 1 1 1 ]", "C [ 1 1 1 ]"),
            ["the matrix of 'MA9001.1' is ragged: rows of 4, 3, 4, 4", "motifs.jaspar line 1"],
            id="ragged motif",
        ),
        pytest.param(
            lambda world: world.motifs.write_text("\n") and None, ["has no motifs"], id="zero motifs"
        ),
        pytest.param(
            _motifs("C [ 1 1", "C [ -1 1"), ["a count is negative", "line 3"], id="negative count"
        ),
        pytest.param(
            _motifs("MA9002.1", "MA9001.1"), ["'MA9001.1' is given twice"], id="duplicate motif"
        ),
        pytest.param(
            _hold_out(["chrA:0-1000"], ["chrA:500-2000"]),
            ["chrA:500-2000 and chrA:0-1000 overlap", "genome.split"],
            id="overlapping splits",
        ),
        pytest.param(
            _hold_out(["chrA:0-1000"], ["chrA:5000-6001"]),
            ["chrA:5000-6001 ends after chrA", "genome.split.test"],
            id="split past the end",
        ),
        pytest.param(
            _hold_out(["chrA:x-y"], ["chrB"]), ["chrA:x-y", "genome.split.validation"], id="bad split"
        ),
        pytest.param(
            lambda world: world.blacklist.write_text("A\t1\t2\n") and None,
            ["name contig 'A'", "genome.blacklist"],
            id="blacklist of other contigs",
        ),
    ],
)
def test_bad_input_is_refused_before_any_work(
    world: World, refused: Refused, spoil: Callable[[World], None], parts: list[str]
) -> None:
    spoil(world)
    message = refused(*world.arguments())
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("chrA\t1\t2\tG\t0\n", ["5 columns where 6 are needed", "tss.bed line 1"]),
        ("chrA\t1\t2\tG\t0\t.\n", ["strand '.'", "tss.bed line 1"]),
        ("A\t1\t2\tG\t0\t+\n", ["intervals of task 'promoter' name contig 'A'", "contig_style"]),
        ("chrA\t1\t6001\tG\t0\t+\n", ["ends after the contig's 6000 bp", "tss.bed line 1"]),
        ("", ["tss.bed has no intervals"]),
    ],
)
def test_bad_intervals_of_a_task_are_refused_before_any_work(
    world: World, refused: Refused, text: str, parts: list[str]
) -> None:
    world.tss.write_text(text)
    message = refused(*world.task_arguments())
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"pretrian": {}}, ["unknown key 'pretrian'", "did you mean 'pretrain'?"]),
        ({"pretrain": {"batch_size": -4}}, ["'pretrain.batch_size' = -4"]),
        ({"pretrain": {"steps": "ten"}}, ["'pretrain.steps' = 'ten'"]),
        ({"pretrain": {"steps": 5, "warmup_steps": 5}}, ["warmup_steps 5 leave nothing"]),
        ({"motifs": {"file": "x", "background": [0.3, 0.3, 0.3, 0.3]}}, ["sums to 1.2"]),
        (
            {"benchmarks": {"tasks": {"p": {"type": "promoter", "tss": "x"}}, "models": ["deep.both"]}},
            ["'deep.both'"],
        ),
        ({"model": {"sequence": {"width": 10, "heads": 3}}}, ["3 heads do not divide width 10"]),
    ],
)
def test_a_bad_configuration_is_refused(
    tmp_path: Path, repository: Path, refused: Refused, changes: dict, parts: list[str]
) -> None:
    raw = yaml.safe_load((repository / "config/demo.yaml").read_text()) | changes
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(raw))
    message = refused("config", "check", tmp_path / "mine.yaml")
    for part in [*parts, "mine.yaml"]:
        assert part in message


def test_settings_that_are_no_json_are_refused(refused: Refused, tmp_path: Path) -> None:
    arguments = ("pretrain", "--corpus", tmp_path, "--variant", "v", "--seed", 1)
    more = ("--out", tmp_path / "o", "--history", tmp_path / "h", "--model", "{}")
    more += ("--checkpoints", tmp_path / "c")
    assert "--settings is no JSON" in refused(*arguments, *more, "--settings", "{steps: 1}")
    assert "unknown key 'stps'" in refused(*arguments, *more, "--settings", '{"stps": 1}')


def test_a_traceback_is_shown_only_on_demand(world: World) -> None:
    world.motifs.write_text("")
    for flags, shown in (([], False), (["--debug"], True)):
        done = subprocess.run(
            [sys.executable, "-m", "genebert", *flags, *world.arguments()],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert ("Traceback" in done.stderr) == shown
        assert done.stdout == ""
        assert not world.out.exists()


def test_an_internal_error_is_said_to_be_one(
    world: World, run_cli: Callable[..., SimpleNamespace], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genebert.preflight.read_lengths", lambda _: {}["chr1"])
    result = run_cli(*world.arguments())
    assert result.code == 1
    assert "internal error" in result.err
    assert "fix: run again as `genebert --debug preflight" in result.err


@pytest.mark.parametrize("error", [TimeoutError(), ConnectionError("")])
def test_an_error_of_the_system_without_words_is_told_by_its_kind(
    world: World, refused: Refused, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    def fail(_: object) -> None:
        raise error

    monkeypatch.setattr("genebert.preflight.read_lengths", fail)
    assert f"error: {type(error).__name__} (`genebert preflight`)" in refused(*world.arguments())
    assert unwritable("a.tsv", error).what == f"a.tsv cannot be written: {type(error).__name__}"


def _run_into(stdout: int, *arguments: str) -> tuple[int, str]:
    """Return exit code and stderr of a command that writes to an open file."""
    done = subprocess.run(
        [sys.executable, "-m", "genebert", *arguments],
        # Unbuffered, argparse is told of it, and keeps it to itself.
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("arguments", [("config", "yaml"), ("config", "--help")])
def test_a_reader_that_leaves_ends_a_command_quietly(arguments: tuple[str, str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        assert _run_into(writing, *arguments) == (1, "")
    finally:
        os.close(writing)


@pytest.mark.parametrize("arguments", [("config", "yaml"), ("config", "--help")])
def test_what_cannot_be_printed_on_a_full_disk_is_told(arguments: tuple[str, str]) -> None:
    with Path("/dev/full").open("wb") as full:
        code, said = _run_into(full.fileno(), *arguments)
    assert code == 1
    assert said.startswith("error: stdout cannot be written: No space left on device\nfix: free")
    assert len(said.splitlines()) == 2


@pytest.mark.parametrize("form", ["yaml", "schema", "table"])
def test_forms_are_printed_to_stdout(run_cli: Callable[..., SimpleNamespace], form: str) -> None:
    result = run_cli("config", form)
    assert (result.code, result.err) == (0, "")
    if form == "yaml":
        assert yaml.safe_load(result.out)["genome"]["name"] == "hg38"
    elif form == "schema":
        assert json.loads(result.out)["additionalProperties"] is False
    else:
        assert "| `pretrain.batch_size` |" in result.out


def test_the_console_command_and_the_module_are_one() -> None:
    command = Path(sys.executable).with_name("genebert")
    for start in ([sys.executable, "-m", "genebert"], [str(command)]):
        done = subprocess.run([*start, "--version"], capture_output=True, text=True, check=True)
        assert done.stdout == f"genebert {__version__}\n"


HEAVY = ["torch", "pandas", "numpy", "pyarrow", "snakemake", "MOODS", "pybedtools", "pyfaidx"]
SCANNING = ["MOODS", "pybedtools", "snakemake", "pyfaidx"]


@pytest.mark.parametrize(
    ("modules", "unwanted"),
    [
        ("genebert.config, genebert.inputs.sheet, genebert.versions, genebert.cli", HEAVY),
        ("genebert.config.forms", HEAVY),
        ("genebert.corpus.read", [*SCANNING, "torch", "sklearn"]),
        ("genebert.pretrain.loop", SCANNING),
        ("genebert.benchmarks.finetune", SCANNING),
        ("genebert.benchmarks.run", SCANNING),
        ("genebert.report.tables", SCANNING),
    ],
)
def test_a_stage_imports_only_what_it_needs(modules: str, unwanted: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys, {modules}; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ,
    )
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert loaded.isdisjoint(unwanted), sorted(loaded & set(unwanted))
