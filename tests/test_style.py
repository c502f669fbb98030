"""The tools that keep code uniform are part of the tests."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent

COMMANDS = {
    "ruff check": ["ruff", "check", "genebert", "tests", "resources"],
    "ruff format": ["ruff", "format", "--check", "genebert", "tests", "resources"],
    "snakefmt": ["snakefmt", "--check", "workflow"],
    "mypy": ["mypy"],
    "snakemake --lint": ["snakemake", "--lint", "--configfile", "config/demo.yaml"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_clean(name: str) -> None:
    tool, *arguments = COMMANDS[name]
    done = subprocess.run(
        [BIN / tool, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
