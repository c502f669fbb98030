"""What the documents point to exists."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
FOLDERS = ("config/*.md", "docs/*.md", "resources/*/*.md", "tests/perf/*.md")
DOCUMENTS = [ROOT / "README.md", *(path for folder in FOLDERS for path in ROOT.glob(folder))]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text())
    missing = [link for link in links if not (document.parent / link).exists()]
    assert not missing


def test_conda_environment_follows_the_lock() -> None:
    lines = (ROOT / "envs/requirements.lock").read_text().splitlines()
    locked = dict(line.lower().split("==") for line in lines if "==" in line)
    other_name = {"pytorch": "torch", "moods": "moods-python", "matplotlib-base": "matplotlib"}
    environment = yaml.safe_load((ROOT / "envs/genebert.yaml").read_text())["dependencies"]
    pins = dict(pin.split("=") for pin in environment if ">" not in pin and "python=" not in pin)
    assert len(pins) > 10
    called = {other_name.get(name, name): version for name, version in pins.items()}
    for name, version in called.items():
        assert locked[name].partition("+")[0] == version, name
    # Jobs call the package, not Snakemake.
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = project["dependencies"] + project["optional-dependencies"]["workflow"]
    names = {re.split("[<>=~!;]", requirement)[0].lower() for requirement in needed}
    assert names - {"snakemake", "pygments"} <= called.keys()
