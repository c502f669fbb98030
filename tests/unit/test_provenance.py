"""Records of where files came from, and what is printed of them."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest

from genebert.errors import GenebertError
from genebert.files import digest_of
from genebert.lineage import lineage
from genebert.provenance import (
    find_record,
    hardware,
    read_record,
    record_path,
    recorded,
    revision,
    versions,
)
from genebert.versions import STAGES

COPIED = ("__init__", "errors", "files", "provenance", "versions")


def sha256sum(path: Path) -> str:
    """Return what the system's own program says."""
    done = subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True)
    return done.stdout.split()[0]


def make(stage: str, out: str, *inputs: str, text: str = "", **settings: object) -> None:
    """Write a file as a stage does, with its record."""
    with recorded(stage, [out], inputs, settings, seed=3):
        Path(out).parent.mkdir(parents=True, exist_ok=True)
        Path(out).write_text(text or out)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make two raw inputs, regions of both, a corpus of one part, and a table of it."""
    monkeypatch.chdir(tmp_path)
    Path("a.bed").write_text("chr1\t1\t2\n")
    Path("b.bed").write_text("chr1\t5\t6\n")
    make("regions", "results/regions.parquet", "a.bed", "b.bed", width=515)
    make("corpus", "results/corpus/part.parquet", "results/regions.parquet", chunk=0)
    make("npmi", "results/corpus/npmi.parquet", "results/corpus/part.parquet", k=6)
    return tmp_path


def tree(said: str) -> list[tuple[str, str, str]]:
    """Return checksum, path and note of each line below the head."""
    _, _, below = said.partition("\nmade from\n")
    rows = []
    for line in below.split("\n\n")[0].splitlines():
        name, _, note = line[66:].lstrip("│├└─ ").partition("  ")
        rows.append((line[:64].strip(), name.strip(), note.strip()))
    return rows


def test_a_chain_is_printed_down_to_the_raw_inputs(project: Path) -> None:
    said = lineage("results/corpus/npmi.parquet")
    assert [row[1] for row in tree(said)] == [
        "results/corpus/part.parquet",
        "results/regions.parquet",
        "a.bed",
        "b.bed",
    ]
    for digest, name, _ in tree(said):
        assert digest == sha256sum(project / name)
    regions = read_record("results/regions.provenance.json")
    assert [row[2] for row in tree(said)][1:] == [
        f"regions 1, settings {regions.settings_digest}, seed 3",
        "input",
        "input",
    ]
    head = said.partition("\nmade from\n")[0]
    for part in (
        "stage     npmi, version 1",
        sha256sum(project / "results/corpus/npmi.parquet"),
        f"settings  {digest_of({'k': 6})}\n            k = 6",
        "seed      3",
        f"numpy {version('numpy')}",
        f"cores {len(os.sched_getaffinity(0))}",
    ):
        assert part in head
    assert said.endswith("\nno file changed since")


@pytest.mark.parametrize("name", ["a.bed", "results/regions.parquet", "results/corpus/npmi.parquet"])
def test_a_changed_file_is_noticed(project: Path, name: str) -> None:
    before = sha256sum(project / name)
    (project / name).write_bytes((project / name).read_bytes() + b"\n")
    said = lineage("results/corpus/npmi.parquet")
    (line,) = [line for line in said.splitlines() if "CHANGED since" in line]
    assert before in line and name in line
    assert f"CHANGED since: now {sha256sum(project / name)}" in line
    assert said.endswith("\n1 of these files CHANGED")


def test_a_file_changed_before_it_was_read_is_noticed(project: Path) -> None:
    made = sha256sum(project / "results/regions.parquet")
    Path("results/regions.parquet").write_text("edited")
    make("corpus", "results/corpus/part.parquet", "results/regions.parquet", chunk=0)
    (row,) = [row for row in tree(lineage("results/corpus/part.parquet")) if "CHANGED" in row[2]]
    assert row[1] == "results/regions.parquet"
    assert f"CHANGED after regions had made it: that was {made}" in row[2]


def times(path: str, nanoseconds: int) -> None:
    """Give a file a time, counted from that of its record."""
    time = record_path(path).stat().st_mtime_ns + nanoseconds
    os.utime(path, ns=(time, time))


def read_by_another(path: str) -> tuple[str, str | None]:
    """Return what the record of a job that reads a file says of it."""
    make("npmi", "other/npmi.parquet", path)
    found = read_record("other/npmi.provenance.json").inputs[path]
    return found.sha256, found.made_by


def test_a_file_older_than_its_record_is_not_read_for_its_checksum(project: Path) -> None:
    path = "results/regions.parquet"
    made = sha256sum(project / path)
    # As if it were large: only other bytes show whether it was read.
    Path(path).write_text("other bytes")
    times(path, -1)
    assert read_by_another(path) == (made, "regions")
    # Who asks is told.
    assert lineage("other/npmi.parquet").endswith("\n1 of these files CHANGED")


@pytest.mark.parametrize("since", [0, 1])
def test_a_file_that_is_not_older_than_its_record_is_hashed(project: Path, since: int) -> None:
    path = "results/regions.parquet"
    Path(path).write_text("other bytes")
    times(path, since)
    assert read_by_another(path) == (sha256sum(project / path), "regions")


def test_what_has_no_record_that_can_be_read_is_hashed(project: Path) -> None:
    assert read_by_another("a.bed") == (sha256sum(project / "a.bed"), None)
    path = "results/regions.parquet"
    record_path(path).write_text("{")
    times(path, -1)
    assert read_by_another(path) == (sha256sum(project / path), None)
    record_path(path).unlink()
    record_path(path).symlink_to(record_path(path).name)  # not even its kind can be told
    assert read_by_another(path) == (sha256sum(project / path), None)


def test_a_file_read_in_two_states_is_shown_in_both(project: Path) -> None:
    make("corpus", "results/corpus/other.parquet", "a.bed")
    Path("a.bed").write_text("chr1\t7\t9\n")
    make("npmi", "results/corpus/npmi.parquet", "results/corpus/other.parquet", "a.bed")
    rows = [row for row in tree(lineage("results/corpus/npmi.parquet")) if row[1] == "a.bed"]
    assert len({digest for digest, _, _ in rows}) == 2
    assert ["CHANGED" in note for _, _, note in rows].count(True) == 1


def test_what_is_gone_is_said_to_be(project: Path) -> None:
    Path("b.bed").unlink()
    Path("results/regions.parquet").unlink()
    said = lineage("results/corpus/npmi.parquet")
    gone = [name for _, name, note in tree(said) if "no longer there" in note]
    assert gone == ["results/regions.parquet", "b.bed"]
    assert said.endswith("\nno file changed since, 2 no longer there and not compared")


def test_what_the_workflow_removes_by_design_is_not_missed(project: Path) -> None:
    make("scan", "results/motifs/chunk-0000.parquet", "results/regions.parquet")
    make("corpus", "results/corpus/part.parquet", "results/motifs/chunk-0000.parquet", "a.bed")
    assert lineage("results/corpus/part.parquet").endswith("\nno file changed since")
    shutil.rmtree("results/motifs")
    said = lineage("results/corpus/part.parquet")
    assert "chunk-0000.parquet  made by scan, removed by the workflow once it was read\n" in said
    assert said.endswith("\nno file changed since")


def test_a_missing_or_damaged_record_on_the_way_is_named(project: Path) -> None:
    record = Path("results/regions.provenance.json")
    record.write_text(record.read_text()[:100])
    assert "its record is damaged" in tree(lineage("results/corpus/npmi.parquet"))[1][2]
    record.unlink()
    assert (
        tree(lineage("results/corpus/npmi.parquet"))[1][2] == "made by regions, whose record is missing"
    )


def test_a_moved_project_is_read_from_anywhere(
    project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    said = lineage("results/corpus/npmi.parquet")
    moved = tmp_path_factory.mktemp("moved") / "project"
    shutil.copytree(project, moved)
    monkeypatch.chdir(moved / "results")
    there = lineage(moved / "results/corpus/npmi.parquet")
    assert [row[0] for row in tree(there)] == [row[0] for row in tree(said)]
    assert there.endswith("\nno file changed since")
    assert str(moved / "a.bed") in there and str(project) not in there


def test_a_file_listed_twice_is_counted_the_second_time(project: Path) -> None:
    make("npmi", "results/corpus/npmi.parquet", "results/corpus/part.parquet", "results/regions.parquet")
    said = lineage("results/corpus/npmi.parquet")
    assert said.count("results/regions.parquet") == 1
    assert "└─ and 1 listed above" in said


def test_other_code_versions_or_hardware_below_are_told(project: Path) -> None:
    path = Path("results/regions.provenance.json")
    content = json.loads(path.read_text())
    content["versions"]["numpy"] = "1.0"
    path.write_text(json.dumps(content))
    notes = [note for _, _, note in tree(lineage("results/corpus/npmi.parquet"))]
    assert notes[1].endswith("other versions") and "other" not in notes[0]


def test_a_job_that_fails_leaves_no_record(tmp_path: Path) -> None:
    with pytest.raises(GenebertError), recorded("npmi", [tmp_path / "a.tsv"], [], {}):
        raise GenebertError("no", "yes")
    assert list(tmp_path.iterdir()) == []


def test_records_of_equal_jobs_are_equal(project: Path) -> None:
    path = Path("results/corpus/npmi.provenance.json")
    first = path.read_bytes()
    make("npmi", "results/corpus/npmi.parquet", "results/corpus/part.parquet", k=6)
    assert path.read_bytes() == first
    make("npmi", "results/corpus/npmi.parquet", "results/corpus/part.parquet", k=5)
    assert json.loads(first)["settings_digest"] != read_record(path).settings_digest


@pytest.mark.parametrize(
    ("file", "record"),
    [
        ("K562.rep1.bed.gz", "K562.rep1.provenance.json"),
        ("genome.fa", "genome.provenance.json"),
        ("preflight.a.tsv", "preflight.a.provenance.json"),
        ("model.safetensors", "provenance.json"),
    ],
)
def test_a_record_has_the_name_of_its_file(file: str, record: str) -> None:
    assert record_path(Path("x") / file) == Path("x") / record


def test_all_files_of_a_job_have_its_record(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("model/model.safetensors", "model/config.json", "history.tsv")]
    with recorded("pretrain", files, [], {}, processes=2):
        for file in files:
            file.parent.mkdir(exist_ok=True)
            file.write_text(file.name)
    for file in [*files, tmp_path / "model", tmp_path / "model/provenance.json"]:
        said = lineage(file)
        assert "stage     pretrain" in said and "processes = 2" in said
        assert all(sha256sum(each) in said for each in files)


def test_motifs_leave_a_record_of_their_settings_and_file(
    run_cli: Callable[..., SimpleNamespace], few_motifs: Path, tmp_path: Path
) -> None:
    out = tmp_path / "motifs.parquet"
    arguments = ("motifs", "--file", few_motifs, "--order", "file", "--out", out)
    assert run_cli(*arguments).code == 0
    done = run_cli("provenance", out)
    assert (done.code, done.err) == (0, "")
    assert f'order = "file"\n            p_value = {1e-4}' in done.out
    assert f"stage     motifs, version {STAGES['motifs']}" in done.out
    assert tree(done.out) == [(sha256sum(few_motifs), str(few_motifs), "input")]
    assert sha256sum(out) in done.out


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("nothing.parquet", None, "does not exist"),
        ("foreign.parquet", "PAR1", "has no record of where it came from"),
        ("folder/x.txt", "x", "is no folder of a model, a corpus or a run"),
        ("provenance.json", '{"buildType": "x", "materials": []}', "stage: Field required"),
        ("a.provenance.json", "[1, 2", "Invalid JSON"),
        ("a.provenance.json", '"\\ud800"', "is no record of this version, or damaged"),
        ("a.provenance.json", "\udcff", "is no record of this version, or damaged"),
        ("a.provenance.json", '{"settings":' * 100_000, "recursion limit exceeded"),
    ],
)
def test_what_has_no_record_is_refused(
    refused: Callable[..., str], tmp_path: Path, name: str, text: str | None, what: str
) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    if text is not None:
        path.write_bytes(text.encode(errors="surrogateescape"))
    message = refused("provenance", path.parent if "/" in name else path)
    assert what in message and str(tmp_path) in message
    assert len(message.strip().splitlines()) == 2


def test_a_record_of_another_file_is_no_record(project: Path) -> None:
    Path("results/corpus/stranger.parquet").write_text("x")
    assert find_record("results/corpus/stranger.parquet") is None
    Path("results/corpus/npmi.provenance.json").write_text("{")
    with pytest.raises(GenebertError, match=r"npmi\.provenance\.json is no record"):
        find_record("results/corpus/npmi.parquet")


NPMI = "results/corpus/npmi.parquet"


def edit(path: str, **fields: object) -> None:
    """Change fields of the record of a file by hand."""
    content = json.loads(record_path(path).read_text())
    record_path(path).write_text(json.dumps(content | fields))


def test_names_and_settings_that_read_like_a_verdict_count_for_nothing(project: Path) -> None:
    name = "results/CHANGED no longer there.tsv"
    make("npmi", name, "a.bed", said="no longer there", CHANGED="CHANGED since")
    make("summary", "results/summary.tsv", name)
    assert lineage(name).endswith("\nno file changed since")
    assert lineage("results/summary.tsv").endswith("\nno file changed since")


@pytest.mark.parametrize(
    ("field", "value", "what"),
    [
        ("settings_digest", "0" * 16, "settings_digest: not the hash of the settings"),
        ("settings", {"k": 7}, "settings_digest: not the hash of the settings"),
        ("settings", [6], "settings: Input should be an object"),
        ("stage", "nonsense", "stage: no stage of this project"),
        ("version", -7, "version: Input should be greater than 0"),
        ("version", "1", "version: Input should be a valid integer"),
        ("seed", "3", "seed: Input should be a valid integer"),
        ("outputs", {}, "outputs: Dictionary should have at least 1 item"),
        ("outputs", {"npmi.parquet": "x"}, "outputs.npmi.parquet: String should match pattern"),
        ("inputs", {"a": {"sha256": "x"}}, "inputs.a.sha256: String should match pattern"),
        ("inputs", {"a": {"sha256": "0" * 64, "made_by": "me"}}, "inputs.a.made_by: no stage"),
        ("inputs", {"a\nb\x1b[2A": 3}, r"inputs.a\nb\x1b[2A: Input should be"),
        ("code", "HEAD", "code: Input should be"),
    ],
)
def test_a_record_edited_by_hand_is_damaged(
    project: Path, refused: Callable[..., str], field: str, value: object, what: str
) -> None:
    edit(NPMI, **{field: value})
    message = refused("provenance", NPMI)
    assert what in message and "npmi.provenance.json is no record of this version, or damaged" in message


@pytest.mark.parametrize("text", ["{", '{"outputs": {}}', '{"outputs": 1}', '{"a":' * 100_000])
def test_a_damaged_record_of_another_file_is_not_blamed(
    project: Path, refused: Callable[..., str], text: str
) -> None:
    Path("other.tsv").write_text("x")
    Path("br.provenance.json").write_text(text)
    assert "other.tsv has no record of where it came from" in refused("provenance", "other.tsv")
    assert lineage(NPMI).endswith("\nno file changed since")  # of a.bed beside it, too
    shutil.copy("br.provenance.json", "other.provenance.json")
    assert "other.provenance.json is no record" in refused("provenance", "other.tsv")


def test_a_damaged_record_of_many_files_is_blamed_for_each(
    project: Path, refused: Callable[..., str]
) -> None:
    with recorded("regions", ["regions.parquet", "accessibility.parquet"], [], {}):
        for name in ("regions", "accessibility"):
            Path(f"{name}.parquet").write_text(name)
    edit("regions.parquet", stage="nonsense")
    assert "regions.provenance.json is no record" in refused("provenance", "accessibility.parquet")
    # Cut off: of a model it is still plain what it is of.
    Path("run/model").mkdir(parents=True)
    Path("run/model/provenance.json").write_text("{")
    for name in ("run/history.tsv", "run/model/config.json"):
        Path(name).write_text("x")
        assert "run/model/provenance.json is no record" in refused("provenance", name)
    # Other programs write files of that name.
    Path("run/model/provenance.json").write_text('{"buildType": "x"}')
    assert "has no record" in refused("provenance", "run/history.tsv")


def test_what_cannot_be_read_is_told_on_its_line(project: Path) -> None:
    content = json.loads(record_path(NPMI).read_text())
    digest, long = "0" * 64, "x" * 300
    names = ("/proc/self/mem", f"{long}/deep", long, "a\0b", "/", "a.bed/below")
    content["inputs"] |= {name: {"sha256": digest, "made_by": None} for name in names}
    record_path(NPMI).write_text(json.dumps(content))
    said = lineage(NPMI)
    notes = {name: note for _, name, note in tree(said)}
    assert notes["/proc/self/mem"] == "cannot be read: Input/output error; input"
    assert notes[long] == notes[f"{long}/deep"] == "cannot be read: File name too long; input"
    assert notes[r"a\x00b"] == notes["a.bed/below"] == notes["/"] == "no longer there; input"
    assert said.endswith(
        "\nno file changed since, 3 no longer there and not compared, 3 cannot be read and not compared"
    )


def test_a_record_that_cannot_be_read_is_refused(project: Path, refused: Callable[..., str]) -> None:
    record_path(NPMI).unlink()
    record_path(NPMI).symlink_to("/proc/self/mem")
    message = refused("provenance", NPMI)
    assert "npmi.provenance.json cannot be read: Input/output error" in message


def test_a_record_that_leads_no_further_is_in_the_verdict(project: Path) -> None:
    make("summary", "results/summary.tsv", "results/regions.parquet", NPMI)
    edit("results/regions.parquet", stage="nonsense")
    record_path("results/corpus/part.parquet").unlink()
    assert lineage("results/summary.tsv").endswith(
        "\nno file changed since, 2 with a record that is missing or damaged: "
        "what that was made from is not compared"
    )


def test_what_a_record_holds_forges_no_line(project: Path) -> None:
    evil = "x\n\x1b[2A\0\x7f\rno file changed since"
    settings = {evil: evil}
    known = read_record(record_path(NPMI))
    name, digest = f"{evil}.tsv", "0" * 64
    edit(
        NPMI,
        settings=settings,
        settings_digest=digest_of(settings),
        versions={evil: evil},
        hardware={evil: evil},
        code={"commit": evil, "changed": None},
        outputs={**known.outputs, name: digest},
        inputs={name: {"sha256": digest, "made_by": "corpus"}, evil: {"sha256": digest}},
        **{"more " + evil: evil},
    )
    said = lineage(NPMI)
    assert re.findall(r"[^\n]", said) == [one for one in said if one.isprintable()]
    assert "\nno file changed since" not in said.removesuffix(said.splitlines()[-1])
    assert len([line for line in said.splitlines() if r"x\n\x1b[2A\x00\x7f\r" in line]) == 8
    (folder := Path(evil.replace("\0", ""))).mkdir()
    make("corpus", f"{folder}/part.tsv", "a.bed")
    make("summary", "results/summary.tsv", f"{folder}/part.tsv")
    (folder / "part.provenance.json").write_text("{")
    said = lineage("results/summary.tsv")
    assert "its record is damaged" in said and all(one.isprintable() for one in said.replace("\n", ""))
    assert len(tree(said)) == 1


def test_versions_and_hardware_are_those_in_use() -> None:
    found = versions()
    for package in ("torch", "MOODS-python", "scipy"):
        assert found[package] == version(package)
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert hardware()["cores"] == len(os.sched_getaffinity(0))


def revision_in(folder: Path, **environment: str) -> dict[str, object]:
    """Return what code in another folder says of itself."""
    done = subprocess.run(
        [sys.executable, "-c", "from genebert.provenance import *; print(revision().model_dump_json())"],
        cwd="/",
        env=os.environ | {"PYTHONPATH": str(folder)} | environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return dict(json.loads(done.stdout))


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_the_revision_is_that_of_the_code_that_ran(tmp_path: Path, repository: Path) -> None:
    project, none = tmp_path / "project", {"commit": None, "changed": None}
    (project / "genebert").mkdir(parents=True)
    (project / "workflow").mkdir()
    for name in COPIED:
        shutil.copy(repository / f"genebert/{name}.py", project / "genebert")
    (project / ".gitignore").write_text("__pycache__\n")
    assert revision_in(project) == none

    def git(*arguments: str, at: Path = project) -> str:
        who = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
        done = subprocess.run(
            ["git", *who, *arguments], cwd=at, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "first")
    commit = git("rev-parse", "HEAD")
    assert revision_in(project) == {"commit": commit, "changed": False}
    (project / "notes.txt").write_text("no code\n")
    assert revision_in(project)["changed"] is False
    (project / "genebert/more.py").write_text("")
    assert revision_in(project) == {"commit": commit, "changed": True}
    assert revision_in(project, PATH="/nowhere") == none
    # A colleague's: git's own tests tell it so that all is somebody else's.
    whose = {"GIT_TEST_ASSUME_DIFFERENT_OWNER": "1"}
    asked = subprocess.run(
        ["git", "status"],
        cwd=project,
        env=os.environ | whose,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "dubious ownership" in asked.stderr
    assert revision_in(project, **whose) == {"commit": commit, "changed": True}
    # A second working tree: its .git is a file.
    git("worktree", "add", "-q", str(tmp_path / "second"))
    assert revision_in(tmp_path / "second") == {"commit": commit, "changed": False}
    # Installed within a checkout of something else.
    shutil.rmtree(project / ".git")
    git("init", "-q", at=tmp_path)
    git("add", ".", at=tmp_path)
    git("commit", "-qm", "other", at=tmp_path)
    assert revision_in(project) == none


def test_the_revision_is_asked_for_once() -> None:
    assert revision() is revision()
