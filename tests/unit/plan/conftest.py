"""What the tests of the plan share."""

from pathlib import Path

import pytest


@pytest.fixture
def in_repository(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths of configurations count from the repository."""
    monkeypatch.chdir(repository)
