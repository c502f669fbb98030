"""Seeded damage to bytes, to lines and columns of text, and to YAML and JSON."""

import gzip
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import yaml

Rng = np.random.Generator
Mutator = Callable[[bytes, Rng], bytes]

NUMBERS = (
    *("-1", "0", "1", "1e309", "-1e309", "nan", "inf", "99999999999999999999", "4294967296", "1.5"),
    *("1000000000000", "2147483648", "0x10", "٣", "１２", "", " ", "1_000", "+5", "1e5", "-0", ".", "²"),
)
WORDS = (
    *("../x", "/etc/passwd", "a b", "'", '"', "`touch pwned`", "$(touch pwned)", ";touch pwned", "é"),
    *("{x}", "{wildcards.x}", "%s", "*", "-rf", "--out", "\x00", "\x1b[31m", "名", "a" * 70_000, "True"),
    *(
        "chr9",
        "",
        ".",
        "..",
        "NA",
        "null",
        "=1+1",
        "\u202e",
        "\t",
        ",",
        "a,b",
        "#",
        "chr1:1-2",
        "\u2028",
    ),
)
MOTLEY: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 2**31, 2**63, 2**70, 1e309, float("nan"), 1e-320, 0.5, "", "x", "../x"),
    *([], {}, [None], [[1]], {"x": 1}, "1e999", "$(touch pwned)", "a\nb", "nan", ["a", 1], 10**12),
)
_EXTRA = (
    *(b"\x00", b"\r\n", b"\r", b"\n\n", b"\xff\xfe", b"\xef\xbb\xbf", "é²٣".encode(), b"\t", b'"', b"'"),
    *(b"x" * 1_000_000, b"9" * 400_000, b"\xc3", b"#", b">", b"//\n", b"\x0b", b"\x1a", b"\xe2\x80\xa8"),
)
BOMB = "a0: &a0 [x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 8)}]\n" for n in range(1, 40)
)


def pick(rng: Rng, values: Sequence[Any]) -> Any:
    """Return one of some values."""
    return values[int(rng.integers(len(values)))]


def _span(data: bytes, rng: Rng) -> tuple[int, int]:
    begin = int(rng.integers(len(data) + 1))
    return begin, min(len(data), begin + int(rng.integers(1, 1 + max(1, len(data) // 4))))


# Bytes.


def flip(data: bytes, rng: Rng) -> bytes:
    damaged = bytearray(data)
    for _ in range(int(rng.integers(1, 9)) if data else 0):
        damaged[int(rng.integers(len(damaged)))] = int(rng.integers(256))
    return bytes(damaged)


def cut(data: bytes, rng: Rng) -> bytes:
    return data[: int(rng.integers(len(data) + 1))]


def remove(data: bytes, rng: Rng) -> bytes:
    begin, end = _span(data, rng)
    return data[:begin] + data[end:]


def _repeat(data: bytes, rng: Rng) -> bytes:
    begin, end = _span(data, rng)
    return data[:end] + data[begin:end] * int(rng.integers(1, 4)) + data[end:]


def _insert(data: bytes, rng: Rng) -> bytes:
    extra = pick(rng, _EXTRA)
    at = int(rng.integers(len(data) + 1))
    return data[:at] + extra + data[at:]


def whole(data: bytes, rng: Rng) -> bytes:
    return pick(
        rng,
        (
            lambda: b"",
            lambda: b"\n",
            lambda: b"\x00" * 64,
            lambda: rng.bytes(200),
            lambda: data.replace(b"\n", b"\r\n"),
            lambda: data.replace(b"\n", b"\r"),
            lambda: data.decode("latin-1").encode("utf-16"),
            lambda: b"\xef\xbb\xbf" + data,
            lambda: data.rstrip(b"\n"),
            lambda: data + data,
            lambda: data.replace(b"\t", b" "),
            data.upper,
            lambda: gzip.compress(data),
            lambda: gzip.compress(data)[: max(3, len(data) // 8)],
        ),
    )()


BYTES: tuple[Mutator, ...] = (flip, cut, remove, _repeat, _insert, whole)


# Lines and columns. Latin-1 keeps whatever bytes there are.


def _on_lines(change: Callable[[list[str], Rng], list[str]]) -> Mutator:
    def mutate(data: bytes, rng: Rng) -> bytes:
        lines = data.decode("utf-8", "surrogateescape").split("\n")
        return "\n".join(change(lines, rng)).encode("utf-8", "surrogateescape")

    return mutate


def _drop_lines(lines: list[str], rng: Rng) -> list[str]:
    kept = rng.random(len(lines)) > pick(rng, (0.02, 0.3, 0.9))
    return [line for line, keep in zip(lines, kept, strict=True) if keep]


def _double_line(lines: list[str], rng: Rng) -> list[str]:
    at = int(rng.integers(len(lines)))
    return [*lines[:at], lines[at], *lines[at:]]


def _shuffle_lines(lines: list[str], rng: Rng) -> list[str]:
    return [lines[at] for at in rng.permutation(len(lines))]


def _strange_line(lines: list[str], rng: Rng) -> list[str]:
    at = int(rng.integers(len(lines) + 1))
    return [*lines[:at], str(pick(rng, (*WORDS, *NUMBERS))), *lines[at:]]


def _cells(change: Callable[[list[str], Rng], list[str]]) -> Callable[[list[str], Rng], list[str]]:
    """Change the cells of one line, or of all."""

    def mutate(lines: list[str], rng: Rng) -> list[str]:
        separator = pick(
            rng, [s for s in ("\t", ",", " ", ":") if any(s in line for line in lines)] or [" "]
        )
        everywhere, at = rng.random() < 0.25, int(rng.integers(len(lines)))
        state = rng.bit_generator.state
        for number, line in enumerate(lines):
            if (everywhere or number == at) and separator in line:
                if everywhere:
                    rng.bit_generator.state = state  # the same columns in every line
                lines[number] = separator.join(change(line.split(separator), rng))
        return lines

    return mutate


def _odd_cell(cells: list[str], rng: Rng) -> list[str]:
    cells[int(rng.integers(len(cells)))] = str(pick(rng, pick(rng, (NUMBERS, WORDS))))
    return cells


def _odd_number(cells: list[str], rng: Rng) -> list[str]:
    numbers = [at for at, cell in enumerate(cells) if cell.strip(' -+.eE"[]').isdigit()]
    if numbers:
        cells[pick(rng, numbers)] = str(pick(rng, NUMBERS))
    return cells


def _swap_cells(cells: list[str], rng: Rng) -> list[str]:
    one, two = rng.integers(len(cells), size=2)
    cells[one], cells[two] = cells[two], cells[one]
    return cells


def _drop_cell(cells: list[str], rng: Rng) -> list[str]:
    at = int(rng.integers(len(cells)))
    return cells[:at] + cells[at + 1 :]


def _double_cell(cells: list[str], rng: Rng) -> list[str]:
    at = int(rng.integers(len(cells)))
    return cells[:at] + cells[at:][:1] + cells[at:]


LINES: tuple[Mutator, ...] = tuple(
    map(
        _on_lines,
        (
            *(_drop_lines, _double_line, _shuffle_lines, _strange_line),
            *map(_cells, (_odd_cell, _odd_number, _odd_number, _swap_cells, _drop_cell, _double_cell)),
        ),
    )
)


# Trees: YAML and JSON.


def _places(tree: Any) -> list[tuple[Any, Any]]:
    """Return (container, key) of every value below a tree."""
    found: list[tuple[Any, Any]] = []
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        found += [(tree, key), *_places(value)]
    return found


def _changed(tree: Any, rng: Rng) -> Any:
    places = _places(tree)
    if not places:
        return pick(rng, MOTLEY)
    for _ in range(int(rng.integers(1, 4))):
        inside, key = pick(rng, places)
        if key not in (inside if isinstance(inside, dict) else range(len(inside))):
            continue
        how = int(rng.integers(6))
        if how < 3:
            inside[key] = pick(rng, MOTLEY)
        elif how == 3:
            del inside[key]
        elif isinstance(inside, dict):
            inside[str(pick(rng, (*WORDS, *NUMBERS)))] = inside[key] if how == 4 else inside.pop(key)
        else:
            inside.append(inside[key])
    return tree


def yaml_tree(data: bytes, rng: Rng) -> bytes:
    if b"*a" in data:
        return data  # a bomb, which must not go off here
    try:
        tree = yaml.safe_load(data)
    except (yaml.YAMLError, UnicodeError, ValueError):
        return data
    return yaml.safe_dump(_changed(tree, rng), allow_unicode=True).encode("utf-8", "surrogatepass")


def yaml_trick(data: bytes, rng: Rng) -> bytes:
    return pick(
        rng,
        (
            lambda: BOMB.encode() + data,
            (BOMB + "genome: *a39\n").encode,
            lambda: b"x: !!python/object/apply:os.system ['touch pwned']\n" + data,
            lambda: b"!!python/object/new:os.system ['touch pwned']",
            lambda: data + b"\nseeds: [1]\nseeds: [2]\n",
            lambda: b"a: &a [*a]\n" + data,
            lambda: b"<<: *nobody\n" + data,
            lambda: b"---\n" + data + b"\n---\n" + data,
            lambda: b"[" * 50_000,
            lambda: b"{a: " * 5_000,
            lambda: b"? [a, b]\n: 1\n" + data,
            lambda: b"1: 2\n2.5: 3\nnull: 4\n" + data,
            lambda: data.replace(b": ", b":\t"),
            lambda: b"\t" + data,
            lambda: data.replace(b"seeds: [1]", b"seeds: 2026-01-01"),
            lambda: b"&x " + data,
            lambda: b"x: !!binary aGk=\n" + data,
            lambda: b"x: !!set {a, b}\n" + data,
            lambda: b"x: 1:30:00\n" + data,
            lambda: b"x: " + b"9" * 5000 + b"\n" + data,
        ),
    )()


def json_tree(data: bytes, rng: Rng) -> bytes:
    try:
        tree = json.loads(data)
    except (ValueError, UnicodeError, RecursionError):
        return data
    return json.dumps(_changed(tree, rng)).encode("utf-8", "surrogatepass")


def json_trick(data: bytes, rng: Rng) -> bytes:
    return pick(
        rng,
        (
            lambda: b"[" * 200_000,
            lambda: b'{"a":' * 100_000,
            lambda: b"null",
            lambda: b"[]",
            lambda: b"{}",
            lambda: b'"text"',
            lambda: b"NaN",
            lambda: b"9" * 6000,
            lambda: data.replace(b"0", b"1", 1),
            lambda: data.replace(b"1", b"9" * 5000, 1),
            lambda: data.replace(b'"', b'"\\ud800', 1),
            lambda: data.replace(b"{", b'{"version": 1, ', 1),
            lambda: data + data,
        ),
    )()
