"""A manifest has the keys, types and sums that it should have, or is refused in one line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from genebert.corpus.check import check, info
from genebert.corpus.manifest import read_manifest
from genebert.corpus.read import read_corpus
from genebert.errors import GenebertError


def test_a_sound_manifest_is_returned_as_it_is(copy: Path) -> None:
    assert read_manifest(copy) == json.loads((copy / "manifest.json").read_text())


@pytest.mark.parametrize("read", [read_manifest, read_corpus, check, info])
@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b'{"version": 2}', "is damaged: parts: Field required"),
        (b"[1]", "is damaged: Input should be an object"),
        (b"2", "is damaged: Input should be an object"),
        (b"null", "is damaged: Input should be an object"),
        (b'{"parts": [', "is damaged: Expecting value"),
        (b"", "is damaged: Expecting value"),
        (b"\xff\xfe", "is damaged: 'utf-8' codec can't decode"),
        (b"{}", "is of version None of the corpus contract, this is 2"),
        (b'{"version": 1}', "is of version 1 of the corpus contract, this is 2"),
    ],
)
def test_what_is_no_manifest_is_refused(copy: Path, read: Callable, text: bytes, words: str) -> None:
    (copy / "manifest.json").write_bytes(text)
    with pytest.raises(GenebertError) as told:
        read(copy)
    assert f"manifest.json {words}" in told.value.what
    assert len(str(told.value).splitlines()) == 2


def _drop(content: dict[str, Any], key: str) -> None:
    del content[key]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda m: _drop(m, "contigs"), "contigs: Field required"),
        (lambda m: _drop(m["parts"][1], "sha256"), "parts.1.sha256: Field required"),
        (lambda m: _drop(m["metadata"], "width"), "metadata.width: Field required"),
        (lambda m: _drop(m["regions_by_split"], "test"), "regions_by_split.test: Field required"),
        (lambda m: m.update(note=1), "note: Extra inputs are not permitted"),
        (lambda m: m["parts"][0].update(note=1), "parts.0.note: Extra inputs"),
        (lambda m: m["metadata"].update(note=1), "metadata.note: Extra inputs"),
        (lambda m: m["regions_by_split"].update(held=1), "regions_by_split.held: Extra inputs"),
        (lambda m: m.update(hits=str(m["hits"])), "hits: Input should be a valid integer"),
        (lambda m: m.update(version=2.0), "version: Input should be a valid integer"),
        (lambda m: m["parts"][2].update(views=-1), "parts.2.views: Input should be greater than"),
        (lambda m: m["metadata"].update(width="90"), "metadata.width: Input should be a valid integer"),
        (lambda m: m.update(contigs="chrA"), "contigs: Input should be a valid array"),
        (lambda m: m.update(parts=[], regions=0, hits=0, views=0), "parts: List should have at least 1"),
        (lambda m: m.update(regions=m["regions"] + 1), "regions is "),
        (lambda m: m.update(hits=m["hits"] - 1), "hits is "),
        (lambda m: m["parts"][1].update(views=0), "views is "),
    ],
)
def test_a_key_or_value_that_should_not_be_is_named(
    copy: Path, spoil: Callable[[dict[str, Any]], None], words: str
) -> None:
    content = json.loads((copy / "manifest.json").read_text())
    spoil(content)
    (copy / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(GenebertError) as told:
        read_manifest(copy)
    assert f"manifest.json is damaged: {words}" in told.value.what
