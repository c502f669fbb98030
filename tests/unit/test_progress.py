import pytest

from genebert import progress


def test_a_log_has_lines_on_a_transfer(capsys: pytest.CaptureFixture, monkeypatch) -> None:
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    blocks = [b"x" * 1000, b"y" * 500]
    assert list(progress.bytes_shown(blocks, "a.gz", 3000, 1500)) == blocks
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in lines] == [
        "a.gz: 2.5 kB of 3.0 kB",
        "a.gz: 3.0 kB of 3.0 kB",
        "a.gz: 3.0 kB of 3.0 kB",
    ]
    assert lines[-1].endswith("/s, 0 s left")


def test_a_transfer_of_unknown_size_has_no_end(capsys: pytest.CaptureFixture) -> None:
    list(progress.bytes_shown([b"x" * 10], "a", None, 0))
    assert capsys.readouterr().err.startswith("a: 10 B, ")


def test_a_terminal_has_a_bar(capsys: pytest.CaptureFixture, monkeypatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert b"".join(progress.bytes_shown([b"x" * 1000] * 3, "a.gz", 4000, 1000)) == b"x" * 3000
    assert "a.gz: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (983_659_424, "983.7 MB"), (3 * 10**9, "3.0 GB")],
)
def test_sizes_are_readable(size: int, text: str) -> None:
    assert progress.size_text(size) == text
