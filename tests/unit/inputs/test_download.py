import contextlib
import email.utils
import gzip
import hashlib
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genebert.config import Downloads
from genebert.errors import GenebertError
from genebert.inputs import web as web_module
from genebert.inputs.download import fetch, verify
from genebert.inputs.locksheet import read_lock

DATA = np.random.default_rng(3).bytes(300_000)
GZ = gzip.compress(DATA, mtime=0)
BLOCK = 1 << 16
NO_LENGTH = {"headers": {"Content-Length": None}}


def _md5(data: bytes) -> str:
    return f"md5:{hashlib.md5(data).hexdigest()}"


def _sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_module, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(web_module, "LONGEST_PAUSE", 0.25)


@pytest.fixture
def place(tmp_path: Path) -> SimpleNamespace:
    """A folder to fetch into: `out`, a lock sheet, settings, and what may lie there afterwards."""

    def some(**changes: Any) -> Downloads:
        keys = {"lock": str(tmp_path / "lock.tsv"), "timeout": 0.3, "attempts": 4, **changes}
        return Downloads.model_construct(**{**Downloads().model_dump(), **keys})

    def left() -> set[str]:
        return (
            {path.name for path in (tmp_path / "data").iterdir()}
            if (tmp_path / "data").exists()
            else set()
        )

    return SimpleNamespace(
        out=tmp_path / "data/a.bin", lock=tmp_path / "lock.tsv", settings=some, left=left
    )


def _refusal(*arguments: Any) -> str:
    with pytest.raises(GenebertError) as refused:
        fetch(*arguments)
    assert refused.value.fix
    assert "\n" not in refused.value.what
    return str(refused.value)


def test_a_pinned_file_is_fetched_once(web: Any, place: Any, capsys: Any) -> None:
    url = web.put("/a.bin", DATA)
    for checksum in (_md5(DATA), _sha256(DATA)):
        line = fetch(url, checksum, place.out, place.settings())
        assert url in line or "there already" in line
        assert checksum in line
        assert place.out.read_bytes() == DATA
    assert len(web.requests) == 1
    assert place.left() == {"a.bin"}
    assert not place.lock.exists()
    assert "warning" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("faults", "ranges"),
    [
        pytest.param([{"truncate": 100_000}], [None, 100_000], id="truncated"),
        pytest.param([{"truncate": 0}, {"truncate": 10}], [None, None, 10], id="truncated twice"),
        pytest.param([{"stall": 200_000}], [None, 3 * BLOCK], id="stalls"),
        pytest.param([{"drop": True}] * 3, [None] * 4, id="hangs up"),
        pytest.param([{"status": 503}, {"status": 429}, {"status": 500}], [None] * 4, id="busy"),
        pytest.param(
            [{"truncate": 100_000}, {"status": 503}], [None, 100_000, 100_000], id="busy when resumed"
        ),
        pytest.param([{"truncate": 100_000}, {"no_range": True}], [None, 100_000], id="ignores Range"),
        pytest.param(
            [{"truncate": 100_000}, {"headers": {"Content-Range": "bytes 0-299999/300000"}}],
            [None, 100_000, None],
            id="another range",
        ),
        pytest.param(
            [{"truncate": 100_000}, {"headers": {"Content-Range": None}}],
            [None, 100_000, None],
            id="no Content-Range",
        ),
        pytest.param(
            [{"truncate": 100_000}, {"headers": {"Content-Range": "bytes 100000-8/9"}}],
            [None, 100_000, None],
            id="another size",
        ),
        pytest.param(
            [{"truncate": 100_000}, {"headers": {"ETag": '"other"'}}],
            [None, 100_000, None],
            id="another ETag",
        ),
        pytest.param(
            [
                {"truncate": 100_000},
                {
                    "headers": {"Content-Range": "bytes 100000-100999/300000", "Content-Length": "1000"},
                    "truncate": 1000,
                },
            ],
            [None, 100_000, 101_000],
            id="less than asked for",
        ),
        pytest.param([{"truncate": 100_000}, {"status": 416}], [None, 100_000, None], id="416"),
        pytest.param(
            [{"truncate": 100_000, "corrupt": 5}], [None, 100_000, None], id="corrupt, then resumed"
        ),
        pytest.param([{"truncate": 100_000, **NO_LENGTH}], [None, None], id="truncated, size unknown"),
        pytest.param([NO_LENGTH], [None], id="size unknown"),
        pytest.param([{"chunked": True}], [None], id="chunked"),
        pytest.param([{"chunked": True, "truncate": 5100}], [None, 5000], id="chunked, truncated"),
        pytest.param(
            [{"truncate": 100_000, "headers": {"ETag": None, "Last-Modified": None}}],
            [None, 100_000],
            id="no validator, but a checksum",
        ),
        pytest.param([{"headers": {"Content-Encoding": "gzip"}}], [None], id="not decoded"),
        pytest.param([{"change": b"old", "truncate": 2}, {"change": DATA}], [None, 2], id="changes"),
    ],
)
def test_a_pinned_file_survives(
    web: Any, place: Any, faults: list[dict[str, Any]], ranges: list[int | None]
) -> None:
    url = web.put("/a.bin", DATA, *faults)
    fetch(url, _sha256(DATA), place.out, place.settings())
    assert place.out.read_bytes() == DATA
    assert place.left() == {"a.bin"}
    asked = web.ranges()
    assert [None if start is None else f"bytes={start}-" for start in ranges] == asked
    etag = f'"{hashlib.sha1(DATA).hexdigest()}"'
    for (_, headers), span in zip(web.requests, asked, strict=True):
        assert headers["Accept-Encoding"] == "identity"
        assert span is not None or headers["If-Range"] is None
        assert headers["If-Range"] in (None, etag) or faults[0].get("change")


@pytest.mark.parametrize(
    ("faults", "said", "requests"),
    [
        ([{"status": 404}], "answers 404 Not Found", 1),
        ([{"status": 403}], "answers 403 Forbidden", 1),
        ([{"status": 204}], "answers 204", 1),
        ([{"corrupt": 7}], "not sha256:", 1),
        ([{"status": 503}] * 9, "503 Service Unavailable (4 attempts)", 4),
        ([{"drop": True}] * 9, "(4 attempts)", 4),
        ([{"stall": 0}] * 9, "nothing came for 0.3 s (4 attempts)", 4),
        ([{"truncate": 0}] * 9, "the connection failed", 4),
        ([{"corrupt": 7, **NO_LENGTH}] * 9, "not sha256:", 4),
        ([{"change": b""}], "the file is empty (4 attempts)", 4),
        ([{"status": 302, "headers": {"Location": "ftp://h/a"}}], "cannot be asked for", 1),
        ([{"status": 302, "headers": {"Location": "/a.bin"}}] * 99, "redirects", 31),
    ],
)
def test_what_cannot_be_had_is_a_clear_error(
    web: Any, place: Any, faults: list[dict[str, Any]], said: str, requests: int
) -> None:
    url = web.put("/a.bin", DATA, *faults)
    message = _refusal(url, _sha256(DATA), place.out, place.settings())
    assert said in message
    assert url in message
    assert len(web.requests) == requests
    assert place.left() == set()


def test_nobody_at_the_address(web: Any, place: Any) -> None:
    web.server.server_close()
    message = _refusal(f"{web.url}/a.bin", _sha256(DATA), place.out, place.settings(attempts=2))
    assert "the connection failed ([Errno 111] Connection refused) (2 attempts)" in message
    assert place.left() == set()


def test_a_wrong_file_never_replaces_a_right_name(web: Any, place: Any) -> None:
    url = web.put("/a.bin", DATA, {"corrupt": 1})
    place.out.parent.mkdir()
    place.out.write_bytes(b"what was there")
    _refusal(url, _sha256(DATA), place.out, place.settings())
    assert place.out.read_bytes() == b"what was there"
    fetch(url, _sha256(DATA), place.out, place.settings())
    assert place.out.read_bytes() == DATA


def test_what_came_is_kept_for_the_next_run(web: Any, place: Any) -> None:
    url = web.put("/a.bin", DATA, {"truncate": 250_000}, {"status": 503}, {"status": 403})
    _refusal(url, _sha256(DATA), place.out, place.settings(attempts=2))
    assert place.left() == {"a.bin.part", "a.bin.part.json"}
    _refusal(url, _sha256(DATA), place.out, place.settings())
    fetch(url, _sha256(DATA), place.out, place.settings())
    assert web.ranges() == [None] + ["bytes=250000-"] * 3
    assert place.out.read_bytes() == DATA
    assert place.left() == {"a.bin"}


def test_a_whole_partial_file_needs_no_request(web: Any, place: Any) -> None:
    url = web.put("/a.bin", DATA, {"truncate": 100_000})
    _refusal(url, _sha256(DATA), place.out, place.settings(attempts=1))
    Path(f"{place.out}.part").write_bytes(DATA)
    fetch(url, _sha256(DATA), place.out, place.settings())
    assert len(web.requests) == 1
    assert place.out.read_bytes() == DATA


@pytest.mark.parametrize("notes", ["", "{", "[]", '{"url": "http://h/b", "validator": "x", "size": 9}'])
def test_partial_files_of_unknown_origin_are_not_used(web: Any, place: Any, notes: str) -> None:
    url = web.put("/a.bin", DATA)
    place.out.parent.mkdir()
    Path(f"{place.out}.part").write_bytes(b"another file's")
    if notes:
        Path(f"{place.out}.part.json").write_text(notes)
    fetch(url, None, place.out, place.settings())
    assert web.ranges() == [None]
    assert place.out.read_bytes() == DATA


@pytest.mark.parametrize(
    ("retry_after", "least", "most"),
    [
        ("0", 0, 0.1),
        ("1000", 0.25, 0.25),
        (email.utils.formatdate(time.time() + 1000, usegmt=True), 0.25, 0.25),
        (email.utils.formatdate(0, usegmt=True), 0, 0.1),
        ("soon", 0, 0.1),
    ],
    ids=["none", "long", "until_a_time", "until_a_past_time", "no_time"],
)
def test_the_pause_is_the_one_the_server_asks_for_up_to_a_limit(
    web: Any, place: Any, capsys: Any, retry_after: str, least: float, most: float
) -> None:
    url = web.put("/a.bin", DATA, {"status": 429, "headers": {"Retry-After": retry_after}})
    fetch(url, _sha256(DATA), place.out, place.settings())
    said = re.search(r"429 Too Many Requests; attempt 2 of 4 in ([\d.]+) s", capsys.readouterr().err)
    assert said is not None
    assert least - 0.05 <= float(said[1]) <= most + 0.05


def test_pauses_grow(web: Any, place: Any, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_module, "FIRST_PAUSE", 0.1)
    monkeypatch.setattr(web_module, "LONGEST_PAUSE", 0.5)
    url = web.put("/a.bin", DATA, *[{"status": 503}] * 3)
    fetch(url, _sha256(DATA), place.out, place.settings())
    pauses = [float(text) for text in re.findall(r"in ([\d.]+) s\n", capsys.readouterr().err)]
    assert len(pauses) == 3
    for pause, least, most in zip(pauses, (0.1, 0.2, 0.4), (0.2, 0.3, 0.5), strict=True):
        assert least - 0.05 <= pause <= most + 0.05


def test_redirects_are_followed_with_the_range(web: Any, place: Any) -> None:
    away = {"status": 307, "headers": {"Location": "/store/a?signed=1"}}
    url = web.put("/a.bin", b"", away, away)
    web.put("/store/a", DATA, {"truncate": 100_000})
    fetch(url, _sha256(DATA), place.out, place.settings())
    assert web.ranges() == [None, None, "bytes=100000-", "bytes=100000-"]
    assert place.out.read_bytes() == DATA


def test_the_proxy_of_the_environment_is_used(
    web: Any, place: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.put("/a.bin", DATA, {"truncate": 100_000})
    monkeypatch.setenv("http_proxy", web.url)
    fetch("http://data.invalid/a.bin", _sha256(DATA), place.out, place.settings())
    assert [path for path, _ in web.requests] == ["http://data.invalid/a.bin"] * 2
    assert place.out.read_bytes() == DATA
    web.server.server_close()
    place.out.unlink()
    assert "the proxy failed ([Errno 111]" in _refusal(
        "http://data.invalid/a.bin", _sha256(DATA), place.out, place.settings()
    )


def test_a_mirror_answers_in_the_name_of_the_source(web: Any, place: Any, capsys: Any) -> None:
    url = "https://data.invalid/deep/a.bin"
    web.put("/m/a.bin", DATA, {"status": 503})
    mirrors = {
        "https://data.invalid/": "http://127.0.0.1:9/",
        "https://data.invalid/deep": f"{web.url}/m",
    }
    line = fetch(url, None, place.out, place.settings(mirrors=mirrors))
    assert f"{url} [{web.url}/m/a.bin]" in line
    assert f"{url} [{web.url}/m/a.bin]: 503" in capsys.readouterr().err
    assert list(read_lock(place.lock)) == [url]


def test_a_full_disk_is_foreseen(web: Any, place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    url = web.put("/a.bin", DATA)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    message = _refusal(url, _sha256(DATA), place.out, place.settings())
    assert "needs 300.0 kB" in message
    assert "has 1.0 kB" in message
    assert place.left() == set()


def test_a_place_that_cannot_be_written_is_named(web: Any, place: Any) -> None:
    place.out.parent.write_text("a file where a folder should be")
    url = web.put("/a.bin", DATA)
    assert f"{place.out.parent} cannot be written" in _refusal(
        url, _sha256(DATA), place.out, place.settings()
    )


# What nothing vouches for.


def test_an_unpinned_file_warns_and_is_locked(web: Any, place: Any, capsys: Any) -> None:
    url = web.put("/a.bin", DATA)
    fetch(url, None, place.out, place.settings())
    said = capsys.readouterr().err
    assert f"warning: nothing vouches for {url}" in said
    assert _sha256(DATA) in said
    row = read_lock(place.lock)[url]
    assert (row.checksum, row.bytes, row.origin) == (_sha256(DATA), len(DATA), "first download")
    sheet = place.lock.read_bytes()
    assert "there already" in fetch(url, None, place.out, place.settings())
    place.out.unlink()
    fetch(url, None, place.out, place.settings())
    assert "warning" not in capsys.readouterr().err
    assert place.lock.read_bytes() == sheet


def test_a_file_unlike_the_lock_is_refused(web: Any, place: Any) -> None:
    url = web.put("/a.bin", DATA)
    fetch(url, None, place.out, place.settings())
    place.out.unlink()
    web.put("/a.bin", DATA[::-1])
    message = _refusal(url, None, place.out, place.settings())
    assert f"has {_sha256(DATA[::-1])} (300000 bytes), not {_sha256(DATA)}" in message
    assert message.endswith(f"delete {place.lock} line 3")
    assert place.left() == set()
    # A pin wins over the lock.
    fetch(url, _sha256(DATA[::-1]), place.out, place.settings())


def test_a_file_that_changes_meanwhile_is_never_mixed(web: Any, place: Any) -> None:
    other = DATA[::-1]
    url = web.put("/a.bin", DATA, {"truncate": 200_000}, {"change": other, "truncate": 100_000})
    fetch(url, None, place.out, place.settings())
    assert place.out.read_bytes() == other
    assert web.ranges() == [None, "bytes=200000-", "bytes=100000-"]


@pytest.mark.parametrize("tag", [None, 'W/"weak"'])
def test_without_a_validator_an_unpinned_file_starts_from_zero(web: Any, place: Any, tag: Any) -> None:
    headers = {"ETag": tag, "Last-Modified": None}
    url = web.put("/a.bin", DATA, {"truncate": 200_000, "headers": headers})
    fetch(url, None, place.out, place.settings())
    assert web.ranges() == [None, None]


def test_with_a_weak_tag_the_date_validates(web: Any, place: Any) -> None:
    url = web.put("/a.bin", DATA, {"truncate": 200_000, "headers": {"ETag": 'W/"weak"'}})
    with contextlib.suppress(GenebertError):
        fetch(url, None, place.out, place.settings(attempts=1))
    notes = json.loads(Path(f"{place.out}.part.json").read_text())
    assert email.utils.parsedate_to_datetime(notes["validator"])


@pytest.mark.parametrize(
    ("faults", "requests"),
    [
        ([{"change": GZ[:-9]}], 1),
        ([{"change": b"<html>please log in</html>"}], 1),
        ([{"change": GZ[:100] + b"x" + GZ[101:]}], 1),
        ([{"truncate": 200_000, **NO_LENGTH}] * 9, 4),
    ],
)
def test_unpinned_gzip_is_read_to_its_end(
    web: Any, place: Any, faults: list[dict[str, Any]], requests: int
) -> None:
    out = place.out.with_suffix(".gz")
    url = web.put("/a.gz", GZ, *faults)
    assert "truncated or corrupt gzip" in _refusal(url, None, out, place.settings())
    assert len(web.requests) == requests
    assert place.left() == set()
    assert not place.lock.exists()


def test_an_address_with_a_query_is_known_as_gzip(web: Any, place: Any) -> None:
    out = place.out.with_name("0a1b2c3d-a.bed.gz_download=1")
    url = web.put("/a.bed.gz", GZ[:-9]) + "?download=1"
    assert "truncated or corrupt gzip" in _refusal(url, None, out, place.settings())
    packed = {"headers": {"Content-Encoding": "gzip"}}
    fetch(web.put("/b.bed.gz", GZ, packed) + "?download=1", None, out, place.settings())
    assert out.read_bytes() == GZ


def test_gzip_that_lost_its_end_once_is_fetched_again(web: Any, place: Any) -> None:
    out = place.out.with_suffix(".gz")
    url = web.put("/a.gz", GZ, {"truncate": 200_000, **NO_LENGTH})
    fetch(url, None, out, place.settings())
    assert out.read_bytes() == GZ


def test_content_encoding_never_unpacks(web: Any, place: Any) -> None:
    packed = {"headers": {"Content-Encoding": "gzip"}}
    out = place.out.with_suffix(".gz")
    fetch(web.put("/a.gz", GZ, packed), None, out, place.settings())
    assert out.read_bytes() == GZ
    message = _refusal(web.put("/a.bed", GZ, packed), None, place.out, place.settings())
    assert "comes compressed (gzip)" in message


# Files of ENCODE.

PORTAL = "https://www.encodeproject.org"
FILE = f"{PORTAL}/files/ENCFF333TAT/@@download/ENCFF333TAT.bed.gz"


def _serve_encode(
    web: Any, place: Any, data: bytes, *faults: dict[str, Any], **fields: Any
) -> Downloads:
    page = {"accession": "ENCFF333TAT", "status": "released", "file_size": len(data)}
    page |= {"md5sum": hashlib.md5(data).hexdigest(), **fields}
    web.put("/files/ENCFF333TAT/", json.dumps(page).encode(), *faults)
    web.put("/files/ENCFF333TAT/@@download/ENCFF333TAT.bed.gz", data)
    settings = place.settings(mirrors={PORTAL: web.url})
    assert isinstance(settings, Downloads)
    return settings


def test_the_portal_vouches_for_its_files(web: Any, place: Any, capsys: Any) -> None:
    settings = _serve_encode(web, place, GZ, {"status": 503})
    fetch(FILE, None, place.out, settings)
    assert place.out.read_bytes() == GZ
    row = read_lock(place.lock)[FILE]
    assert (row.checksum, row.bytes, row.origin) == (_md5(GZ), len(GZ), "portal")
    assert "warning" not in capsys.readouterr().err
    # The lock is enough from now on.
    asked = [path for path, _ in web.requests]
    assert asked[:2] == ["/files/ENCFF333TAT/?format=json"] * 2
    place.out.unlink()
    fetch(FILE, None, place.out, settings)
    assert len(web.requests) == len(asked) + 1
    # A file that is there is locked too.
    before = place.lock.read_bytes()
    place.lock.unlink()
    assert "there already" in fetch(FILE, None, place.out, settings)
    assert place.lock.read_bytes() == before


def test_a_file_unlike_the_portals_md5_is_refused(web: Any, place: Any) -> None:
    settings = _serve_encode(web, place, GZ, md5sum="0" * 32)
    message = _refusal(FILE, None, place.out, settings)
    assert f"not md5:{'0' * 32} as published by the ENCODE portal" in message
    assert place.left() == set()
    assert not place.lock.exists()


@pytest.mark.parametrize(
    ("faults", "fields", "said"),
    [
        ([{"status": 503}] * 9, {}, "503 Service Unavailable (4 attempts)"),
        ([{"status": 200, "body": b"<html>maintenance"}] * 9, {}, "no JSON"),
        ([{"status": 404}], {}, "answers 404 Not Found"),
        ([{"status": 404, "body": b"{}"}], {}, "is no file of the portal"),
        ([], {"md5sum": None}, "ENCFF333TAT: md5sum is missing"),
    ],
)
def test_a_silent_portal_makes_the_file_unpinned(
    web: Any, place: Any, capsys: Any, faults: list[dict[str, Any]], fields: dict[str, Any], said: str
) -> None:
    settings = _serve_encode(web, place, GZ, *faults, **fields)
    fetch(FILE, None, place.out, settings)
    warnings = capsys.readouterr().err
    assert "warning: the portal gives no md5" in warnings
    assert said in warnings
    assert "warning: nothing vouches for" in warnings
    assert read_lock(place.lock)[FILE].origin == "first download"


def test_a_revoked_file_warns(web: Any, place: Any, capsys: Any) -> None:
    fetch(FILE, None, place.out, _serve_encode(web, place, GZ, status="revoked"))
    assert "warning: ENCFF333TAT is 'revoked', not released" in capsys.readouterr().err


# Offline.


def test_offline_names_what_is_missing_and_asks_nobody(web: Any, place: Any, capsys: Any) -> None:
    url = web.put("/a.bin", DATA)
    offline = place.settings(offline=True, mirrors={PORTAL: web.url})
    message = _refusal(url, _sha256(DATA), place.out, offline)
    assert f"{place.out} is missing" in message
    assert url in message
    place.out.parent.mkdir()
    place.out.write_bytes(DATA)
    assert _sha256(DATA) in fetch(url, _sha256(DATA), place.out, offline)
    assert "not verified" in fetch(FILE, None, place.out, offline)
    assert "warning: offline: nothing vouches" in capsys.readouterr().err
    assert "delete it" in _refusal(url, _md5(b""), place.out, offline)
    assert web.requests == []


def test_verify_says_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with pytest.raises(GenebertError, match="does not exist"):
        verify(path, _md5(b"x"))
    path.write_bytes(b"x")
    verify(path, _md5(b"x"))
    verify(path, _sha256(b"x"))
    with pytest.raises(GenebertError, match=f"{path} has {_md5(b'x')}, not {_md5(b'y')}"):
        verify(path, _md5(b"y"))


# More than one process.

SCRIPT = """
import sys
from genebert.config import Downloads
from genebert.inputs.download import fetch
url, checksum, out, settings = sys.argv[1:]
fetch(url, checksum or None, out, Downloads.model_validate_json(settings))
"""


def _start(url: str, checksum: str, out: Path, settings: Downloads) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, url, checksum, str(out), settings.model_dump_json()],
        stderr=subprocess.PIPE,
        text=True,
    )


def _wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_killed_download_goes_on_where_it_stopped(web: Any, place: Any) -> None:
    url = web.put("/a.bin", DATA, {"stall": 250_000})
    part = Path(f"{place.out}.part")
    process = _start(url, "", place.out, place.settings(timeout=30.0))
    _wait_until(lambda: part.exists() and part.stat().st_size == 3 * BLOCK)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert part.read_bytes() == DATA[: 3 * BLOCK]
    assert not place.out.exists()
    fetch(url, None, place.out, place.settings())
    assert place.out.read_bytes() == DATA
    assert place.left() == {"a.bin"}
    assert web.ranges() == [None, f"bytes={3 * BLOCK}-"]


def test_two_processes_fetch_one_file_once(web: Any, place: Any) -> None:
    url = web.put("/a.bin", DATA, {"stall": 150_000})
    part = Path(f"{place.out}.part")
    first = _start(url, "", place.out, place.settings(timeout=30.0))
    _wait_until(lambda: part.exists() and part.stat().st_size > 0)
    second = _start(url, "", place.out, place.settings(timeout=30.0))
    assert second.stderr is not None
    said = second.stderr.readline()
    assert "another process is at it, waiting" in said
    web.closing.set()  # the server hangs up at last
    for process in (first, second):
        said = process.communicate(timeout=30)[1]
        assert process.returncode == 0, said
    assert place.out.read_bytes() == DATA
    assert place.left() == {"a.bin"}
    # The one that waited found the other's file, and its checksum in the lock sheet.
    assert len(web.requests) == 2
    assert len(read_lock(place.lock)) == 1


# Any sequence of faults.

POSITIONS = st.integers(0, len(GZ))
HARMLESS = st.one_of(
    st.just({"drop": True}),
    st.sampled_from([{"status": status} for status in (408, 429, 500, 502, 503)]),
    st.builds(lambda at: {"truncate": at}, POSITIONS),
    st.builds(lambda at: {"truncate": at, **NO_LENGTH}, POSITIONS),
    st.builds(lambda at: {"truncate": at, "no_range": True}, POSITIONS),
    st.builds(
        lambda at, start: {"truncate": at, "headers": {"Content-Range": f"bytes {start}-9/99"}},
        POSITIONS,
        POSITIONS,
    ),
    st.builds(lambda at: {"truncate": at, "chunked": True}, POSITIONS),
    st.just({"headers": {"Content-Length": str(len(GZ) + 5)}}),
    st.just({"headers": {"Content-Length": str(len(GZ) - 5)}}),
    st.builds(
        lambda at, n: {"truncate": at, "change": gzip.compress(DATA[n:], mtime=0)},
        POSITIONS,
        st.integers(0, 3),
    ),
)
CORRUPTING = st.builds(lambda at, n: {"truncate": at, "corrupt": n}, POSITIONS, POSITIONS)
FINAL = st.sampled_from([{}, {"change": GZ}, {"status": 404}, {"status": 403}])


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data(), st.booleans(), st.integers(1, 4), FINAL)
def test_whatever_happens_the_file_is_right_or_absent(
    web: Any, place: Any, data: st.DataObject, pinned: bool, runs: int, final: dict[str, Any]
) -> None:
    # Nobody can tell that a byte of an unpinned file is another one.
    kinds = st.one_of(HARMLESS, CORRUPTING) if pinned else HARMLESS
    faults = data.draw(st.lists(kinds, max_size=8))
    place.lock.unlink(missing_ok=True)
    for name in place.left():
        (place.out.parent / name).unlink()
    url = web.put("/a.gz", GZ, *faults, final)
    out = place.out.with_suffix(".gz")
    versions = {GZ, *(fault["change"] for fault in [*faults, final] if "change" in fault)}
    for _ in range(runs):
        try:
            fetch(url, _sha256(GZ) if pinned else None, out, place.settings(attempts=3))
        except GenebertError as error:
            assert url in error.what
            assert not out.exists()
            assert place.left() <= {"a.gz.part", "a.gz.part.json"}
        else:
            assert out.read_bytes() == GZ if pinned else out.read_bytes() in versions
            assert place.left() == {"a.gz"}
            break
