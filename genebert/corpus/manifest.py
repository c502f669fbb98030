"""What the manifest of a corpus holds, and reading it."""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, ValidationError

from genebert.corpus.schema import VERSION, Metadata
from genebert.errors import GenebertError

COUNTS = ("regions", "hits", "views")


class _Part(BaseModel):
    """A part's file name, what it holds, its size in bytes and its digest."""

    model_config = ConfigDict(extra="forbid")

    part: str
    regions: NonNegativeInt
    hits: NonNegativeInt
    views: NonNegativeInt
    bytes: PositiveInt
    sha256: str


class _RegionsBySplit(BaseModel):
    model_config = ConfigDict(extra="forbid")

    train: NonNegativeInt
    validation: NonNegativeInt
    test: NonNegativeInt


class _Manifest(BaseModel):
    """All parts in order, and what they hold together."""

    model_config = ConfigDict(extra="forbid")

    version: int
    parts: list[_Part] = Field(min_length=1)
    regions: PositiveInt
    regions_by_split: _RegionsBySplit
    contigs: list[str]
    hits: NonNegativeInt
    views: NonNegativeInt
    metadata: Metadata


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """Return the manifest of a corpus folder: the keys, types and sums that it should have.

    Raises
    ------
    GenebertError
        If it is missing, damaged, or of another version of the contract.
    """
    path = Path(folder) / "manifest.json"
    try:
        text = path.read_text(encoding="utf-8")
        content: dict[str, Any] = json.loads(text)
    except FileNotFoundError:
        raise GenebertError(f"{path} does not exist", "name the folder of a finished corpus") from None
    except (ValueError, RecursionError) as error:
        raise _damaged(path, str(error)) from None
    version = content.get("version") if isinstance(content, dict) else VERSION
    if version != VERSION:
        raise GenebertError(
            f"{path} is of version {version} of the corpus contract, this is {VERSION}",
            "rebuild the corpus with this version of the workflow",
        )
    try:
        _Manifest.model_validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise _damaged(path, f"{key}: {first['msg']}" if key else first["msg"]) from None
    for name in COUNTS:
        total = sum(part[name] for part in content["parts"])
        if total != content[name]:
            raise _damaged(path, f"{name} is {content[name]}, the sum of the parts {total}")
    return content


def _damaged(path: Path, what: str) -> GenebertError:
    return GenebertError(f"{path} is damaged: {what}", "rebuild the corpus, or fetch an undamaged copy")
