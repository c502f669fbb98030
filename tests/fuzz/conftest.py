"""What tests by damaged and hostile inputs share: a small world of every kind of file, all right."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# Test modules are imported one by one, without a path: their helpers lie beside them.
sys.path.insert(0, str(Path(__file__).parent))

from fuzz_world import World, write_world


@pytest.fixture(scope="session")
def fuzz_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Every kind of input and result, small and right; no test may change it."""
    world = write_world(tmp_path_factory.mktemp("good"))
    before = world.digests()
    yield world
    assert world.digests() == before, "a run changed a file that it only reads"
