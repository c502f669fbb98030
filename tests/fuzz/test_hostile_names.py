"""Names and sources: odd ones work, hostile ones are refused, and none is run, followed or unpickled."""

import copy
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from fuzz_world import CONFIG, World, call, scoring

from genebert import config
from genebert.errors import GenebertError
from genebert.inputs.sheet import read_samples
from genebert.inputs.source import parse_source, place_of

ROOT = Path(__file__).parents[2]
HEADER = "sample\tcell_type\tassay\tformat\tsource\n"
# What a shell, a formatter of text or a parser of options might take for its own.
ODD = " 'quoted\" $(touch pwned) `touch pwned` ; touch pwned && touch pwned | * ? #1 é %s \\n !x --out=y"
BRACES = " {sample} {{x}} {"
HOSTILE = (
    *(
        "../x",
        "a/b",
        "/etc/passwd",
        ".",
        "..",
        "",
        " ",
        "a b",
        "-rf",
        "--out=x",
        "$(touch pwned)",
        "`id`",
    ),
    *("x;y", "x\ny", "x\x00y", "{sample}", "*", "é", "x" * 300, "a\\b", "~", "x'y", 'x"y', "x\u202ey"),
)


def _snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "2", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def odd_project(fuzz_world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose folder and input files all have odd names."""
    folder = tmp_path_factory.mktemp("odd") / f"project{ODD}"
    (folder / f"in{ODD}").mkdir(parents=True)
    for name in ("workflow", "genebert", "envs"):
        (folder / name).symlink_to(ROOT / name)

    def odd(name: str) -> str:
        stem, _, suffix = name.rpartition(".")
        path = f"in{ODD}/{stem}{ODD}.{suffix}"
        (folder / path).write_bytes((fuzz_world / name).read_bytes())
        return path

    raw = copy.deepcopy(CONFIG)
    rows = f"one\tCELL1\tATAC\tnarrowPeak\t{odd('one.narrowPeak')}\n"
    rows += f"two\tCELL2\tATAC\tbed\t{odd('two.bed')}\n"
    (folder / f"sheet{ODD}{BRACES}.tsv").write_text(HEADER + rows)
    raw |= {
        "samples": f"sheet{ODD}{BRACES}.tsv",
        "peaks": {"mappable": odd("tss.bed"), "min_mappable": 0.0},
    }
    raw["genome"] |= {
        "fasta": odd("source.fa"),
        "blacklist": odd("blacklist.bed"),
        "name": f"toy{ODD}{BRACES}",
    }
    raw["motifs"] |= {"file": odd("motifs.jaspar"), "families": odd("families.tsv"), "order": "family"}
    window = {"upstream": 39, "downstream": 20, "negatives": "dinucleotide_shuffle"}
    raw["benchmarks"] = {
        "tasks": {"promoter": {"type": "promoter", "tss": odd("chip.bed"), **window}},
        "models": ["gc_only"],
    }
    strands = "".join(
        f"{line}\tg\t0\t+\n" for line in (fuzz_world / "chip.bed").read_text().splitlines()
    )
    (folder / raw["benchmarks"]["tasks"]["promoter"]["tss"]).write_text(strands)
    (folder / "config").mkdir()
    (folder / "config/config.yaml").write_text(yaml.safe_dump(raw))
    return folder


def test_odd_file_names_work_and_nothing_in_them_runs(odd_project: Path) -> None:
    names = ("checksums.tsv", "preflight.tsv", "preflight.promoter.tsv")
    wanted = [f"results/reference/{name}" for name in names]
    wanted += ["results/regions/regions.parquet", "results/motifs/motifs.parquet"]
    done = _snakemake(odd_project, *wanted)
    assert done.returncode == 0, done.stdout + done.stderr
    assert all((odd_project / name).is_file() for name in wanted)
    for folder in (odd_project, odd_project.parent, Path.cwd(), odd_project / "results"):
        assert not (folder / "pwned").exists()
    table = (odd_project / "results/reference/checksums.tsv").read_text().splitlines()
    assert f"in{ODD}/source{ODD}.fa" in {line.split("\t")[3] for line in table}


def test_a_target_outside_of_the_results_is_none(odd_project: Path) -> None:
    for target in (
        "results/peaks/../../x.bed.gz",
        "results/peaks/$(touch pwned).bed.gz",
        "results/peaks/--help.bed.gz",
        "results/pretrain/../x/seed1/model/model.safetensors",
        "results/benchmarks/promoter/$(touch pwned)/seed1/metrics.json",
    ):
        done = _snakemake(odd_project, "-n", target)
        assert done.returncode == 1, target
        assert "Traceback" not in done.stdout + done.stderr
        assert not (odd_project / "pwned").exists()


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_of_samples_are_refused(tmp_path: Path, name: str) -> None:
    sheet = tmp_path / "sheet.tsv"
    for row in (f"{name}\tCELL", f"one\t{name}"):
        sheet.write_text(f"{HEADER}{row}\tATAC\tbed\ta.bed\n")
        with pytest.raises(GenebertError):
            read_samples(sheet)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_of_tasks_and_variants_are_refused(name: str) -> None:
    for keys in (("benchmarks", "tasks"), ("pretrain", "variants")):
        raw: dict[str, Any] = copy.deepcopy(CONFIG)
        section = raw[keys[0]][keys[1]]
        section[name] = copy.deepcopy(next(iter(section.values())))
        with pytest.raises(GenebertError):
            config.validate(raw, "here")


@pytest.mark.parametrize("name", [*HOSTILE, "everything.both/../x", "gc_only;id", "hf:"])
def test_hostile_names_of_models_are_refused(name: str) -> None:
    raw: dict[str, Any] = copy.deepcopy(CONFIG)
    raw["benchmarks"]["models"] = [name]
    with pytest.raises(GenebertError):
        config.validate(raw, "here")


@pytest.mark.parametrize("path", ["../x y", "a b", "$(id)", "-x", "x;y", "x\ny", "{x}", ""])
def test_a_results_folder_is_a_plain_path(path: str) -> None:
    if path.startswith("../"):
        path = "../x y"
    with pytest.raises(GenebertError):
        config.validate(CONFIG | {"results_dir": path}, "here")


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("genome", "name"), "--out=x"),
        (("genome", "contigs"), "-x"),
        (("samples",), "--help"),
        (("genome", "split", "test"), ["--out=x"]),
        (("genome", "split", "test"), ["chr3\n"]),
        (("genome", "fasta"), "-x.fa"),
        (("genome", "blacklist"), "a\nb.bed"),
        (("motifs", "file"), "--out=x"),
        (("benchmarks", "tasks", "promoter", "tss"), "-tss.bed"),
        (("benchmarks", "tasks", "own", "folder"), "-x"),
        (("genome", "fasta"), "{sample}.fa"),
    ],
)
def test_no_value_is_read_as_an_option(keys: tuple[str, ...], value: object) -> None:
    raw: dict[str, Any] = copy.deepcopy(CONFIG)
    inside = raw
    for key in keys[:-1]:
        inside = inside[key]
    inside[keys[-1]] = value
    with pytest.raises(GenebertError):
        config.validate(raw, "here")


SCHEMES = (
    *(
        "file:///etc/passwd",
        "ftp://h/a.bed",
        "s3://b/a.bed",
        "gs://b/a.bed",
        "gopher://h/a",
        "FILE:///a",
    ),
    *("data://x/a", "https://user:secret@h/a.bed", "http:///a.bed", "jar:file://x/y", "https://h/"),
)


@pytest.mark.parametrize("source", SCHEMES)
def test_sources_of_other_schemes_are_refused(source: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_source(source)
    for keys in (("genome", "fasta"), ("benchmarks", "tasks", "own", "folder")):
        raw: dict[str, Any] = copy.deepcopy(CONFIG)
        inside = raw
        for key in keys[:-1]:
            inside = inside[key]
        inside[keys[-1]] = source
        if (source, keys[-1]) != ("https://h/", "folder"):
            with pytest.raises(GenebertError):
                config.validate(raw, "here")
    sheet = tmp_path / "sheet.tsv"
    sheet.write_text(f"{HEADER}one\tCELL\tATAC\tbed\t{source}\n")
    with pytest.raises(GenebertError):
        read_samples(sheet)


def test_mirrors_are_addresses() -> None:
    for mirrors in ({"https://h/": "file:///etc/"}, {"https://h/": "/etc"}, {"file://": "https://h/"}):
        with pytest.raises(GenebertError):
            config.validate(CONFIG | {"downloads": {"mirrors": mirrors}}, "here")


@pytest.mark.parametrize(
    "to", ["file:///etc/passwd", "ftp://127.0.0.1/a", "gopher://127.0.0.1/", "data:,x"]
)
def test_no_redirect_leads_to_another_scheme(web: Any, tmp_path: Path, to: str) -> None:
    url = web.put("/a.bed", b"x", {"status": 302, "headers": {"Location": to}})
    code, said = call("download", "--source", url, "--out", tmp_path / "a.bed")
    assert code == 1 and "cannot be asked for" in said
    assert not (tmp_path / "a.bed").exists()


@pytest.mark.parametrize(
    "url",
    [
        "https://h/../../etc/passwd",
        "https://h/a/%2e%2e/%2e%2e/b",
        "https://../a",
        "https://h//etc/passwd",
        "https://h/..\\..\\x",
        "https://h/a b;$(touch pwned)`id`",
        "https://h/.ssh/../x",
    ],
)
def test_what_is_fetched_lies_below_the_folder_of_downloads(url: str) -> None:
    place = place_of(url)
    assert os.path.normpath(f"data/{place}").startswith("data/")
    assert not set(place) & set(" ;$`'\"\\*{}\n")


class _Bomb:
    def __init__(self, flag: Path) -> None:
        self.flag = flag

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.flag}",)


def test_weights_that_are_code_are_not_run(fuzz_world: World, tmp_path: Path) -> None:
    flag, folder = tmp_path / "pwned", tmp_path / "bert"
    folder.mkdir()
    sizes = {"num_hidden_layers": 1, "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 16}
    settings = {**sizes, "vocab_size": 69, "max_position_embeddings": 128}
    (folder / "config.json").write_text(json.dumps(settings))
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(_Bomb(flag)))
    model = copy.deepcopy(CONFIG["model"])
    model["sequence"]["norm"] = "post"
    variants = {"own": {"masked_sequence": 1, "init_from": str(folder)}}
    steps = {"steps": 2, "batch_size": 8, "matching_group": 4, "evaluation_views": 8, "warmup_steps": 0}
    code, said = call(
        *("pretrain", "--corpus", fuzz_world / "corpus", "--model", json.dumps(model)),
        *("--settings", json.dumps(steps | {"variants": variants}), "--compute", '{"gpus": 0}'),
        *("--variant", "own", "--seed", 1, "--out", tmp_path / "model"),
        *("--history", tmp_path / "history.tsv", "--checkpoints", tmp_path / "kept"),
    )
    assert not flag.exists()
    assert code == 1 and "pytorch_model.bin: missing, damaged or of another model" in said


@pytest.mark.parametrize(
    "text",
    [
        "x: !!python/object/apply:os.system ['touch {flag}']",
        "x: !!python/name:os.system",
        "!!python/object/new:os.system ['touch {flag}']",
    ],
)
def test_tags_of_yaml_make_nothing(tmp_path: Path, text: str) -> None:
    flag, file = tmp_path / "pwned", tmp_path / "config.yaml"
    file.write_text(text.replace("{flag}", str(flag)))
    code, said = call("config", "check", file)
    assert code == 1 and "is not valid YAML" in said
    assert not flag.exists()


def test_a_configuration_that_grows_without_end_is_refused(tmp_path: Path) -> None:
    levels = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30))
    file = tmp_path / "config.yaml"
    file.write_text(f"a0: &a0 [x]\n{levels}")
    code, said = call("config", "check", file)
    assert code == 1 and "more than 100000 values" in said


def test_names_within_files_stay_within_files(fuzz_world: World, tmp_path: Path) -> None:
    """Motifs and contigs may be called anything: no name of theirs becomes a path or a command."""
    text = (
        (fuzz_world / "motifs.jaspar")
        .read_text()
        .replace(">MA9000.1 M0", ">../../x $(touch pwned)/;`id`")
    )
    (tmp_path / "odd.jaspar").write_text(text)
    out = tmp_path / "out"
    code, said = call(
        *("scan", "--fasta", fuzz_world / "genome.fa", "--motifs", tmp_path / "odd.jaspar"),
        *(*scoring(), "--out", out / "hits.bed"),
    )
    assert code == 0, said
    assert [path.name for path in tmp_path.rglob("*")] and not list(tmp_path.rglob("x*"))
    assert {path.name for path in out.iterdir()} == {"hits.bed"}
