"""Seeded damage to Parquet: its bytes, columns, values, rows and metadata; and to files of any kind."""

import gzip
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from fuzz_mutators import (
    BYTES,
    LINES,
    NUMBERS,
    WORDS,
    Mutator,
    Rng,
    cut,
    flip,
    json_tree,
    json_trick,
    pick,
    remove,
    whole,
    yaml_tree,
    yaml_trick,
)


def _on_table(change: Callable[[pa.Table, Rng], pa.Table]) -> Mutator:
    def mutate(data: bytes, rng: Rng) -> bytes:
        try:
            table = pq.read_table(io.BytesIO(data))
            if not table.num_columns:
                return data
            out = io.BytesIO()
            groups = int(pick(rng, (1, 3, 1 << 20)))
            kept = table.schema.metadata
            table = change(table, rng)
            if kept and not table.schema.metadata:
                table = table.replace_schema_metadata(kept)
            pq.write_table(table, out, row_group_size=groups, store_schema=bool(rng.integers(2)))
        except (pa.ArrowException, OSError, UnicodeError):
            return data  # what an earlier mutation left cannot be read or written
        return out.getvalue()

    return mutate


def _as_is(table: pa.Table, rng: Rng) -> pa.Table:
    return table


def _any_column(table: pa.Table, rng: Rng) -> tuple[int, str]:
    at = int(rng.integers(table.num_columns))
    return at, table.column_names[at]


def _rename_column(table: pa.Table, rng: Rng) -> pa.Table:
    at, _ = _any_column(table, rng)
    names = list(table.column_names)
    names[at] = pick(rng, ("x", names[0], "", names[at].upper(), "a b"))
    return table.rename_columns(names)


def _drop_column(table: pa.Table, rng: Rng) -> pa.Table:
    return table.remove_column(_any_column(table, rng)[0])


def _order_columns(table: pa.Table, rng: Rng) -> pa.Table:
    return table.select(rng.permutation(table.num_columns).tolist())


def _add_column(table: pa.Table, rng: Rng) -> pa.Table:
    at, name = _any_column(table, rng)
    return table.append_column(pick(rng, ("more", name)), table.column(at))


def _retype_column(table: pa.Table, rng: Rng) -> pa.Table:
    at, name = _any_column(table, rng)
    values = table.column(at).to_pylist()
    kind = pick(
        rng,
        (
            *(
                pa.string(),
                pa.large_string(),
                pa.int8(),
                pa.int32(),
                pa.int64(),
                pa.uint64(),
                pa.float64(),
            ),
            *(pa.float32(), pa.bool_(), pa.binary(), pa.list_(pa.string()), pa.list_(pa.int64())),
            *(pa.dictionary(pa.int32(), pa.string()), pa.timestamp("us"), pa.decimal128(30, 2)),
            *(
                pa.list_(pa.float64()),
                pa.struct({"a": pa.int64()}),
                pa.null(),
                pa.large_list(pa.uint16()),
            ),
        ),
    )
    try:
        column = table.column(at).cast(kind)
    except pa.ArrowException:
        try:
            column = pa.array([str(value) for value in values]).cast(kind)
        except pa.ArrowException:
            column = pa.nulls(len(table), kind)
    return table.set_column(at, name, column)


def _null_values(table: pa.Table, rng: Rng) -> pa.Table:
    at, name = _any_column(table, rng)
    field, share = table.schema.field(at), pick(rng, (0.01, 0.5, 1.0))
    values = table.column(at).to_pylist()
    for row in range(len(values)):
        if rng.random() < share or (share == 0.01 and row == 0):
            inner = isinstance(values[row], list) and values[row] and rng.random() < 0.5
            values[row] = [None, *values[row][1:]] if inner else None
    return table.set_column(at, pa.field(name, field.type), pa.array(values, field.type))


def _odd_values(table: pa.Table, rng: Rng) -> pa.Table:
    at, name = _any_column(table, rng)
    kind, values = table.schema.field(at).type, table.column(at).to_pylist()
    for _ in range(pick(rng, (1, 1, 10))):
        if not values:
            break
        row = int(rng.integers(len(values)))
        values[row] = _odd_value(kind, values[row], rng)
    try:
        return table.set_column(at, pa.field(name, kind), pa.array(values, kind))
    except (pa.ArrowException, OverflowError, TypeError, ValueError):
        return table


def _odd_value(kind: pa.DataType, value: Any, rng: Rng) -> Any:
    if pa.types.is_list(kind):
        inner = list(value or [])
        if not inner or rng.random() < 0.3:
            return [*inner, _odd_value(kind.value_type, 0, rng)] if rng.random() < 0.5 else inner[1:]
        inner[int(rng.integers(len(inner)))] = _odd_value(kind.value_type, 0, rng)
        return inner
    if pa.types.is_integer(kind):
        bits, signed = kind.bit_width, pa.types.is_signed_integer(kind)
        most = 2 ** (bits - signed) - 1
        return pick(rng, (0, 1, most, most // 2, -1 if signed else 7, -most - 1 if signed else 9, 1000))
    if pa.types.is_floating(kind):
        odd = pick(rng, (0.0, -1.0, 2.0, float("nan"), float("inf"), 60_000.0, 1e-7))
        return np.float16(odd) if pa.types.is_float16(kind) else odd
    if pa.types.is_boolean(kind):
        return not value
    return str(pick(rng, (*WORDS, *NUMBERS)))


def _drop_rows(table: pa.Table, rng: Rng) -> pa.Table:
    return table.filter(pa.array(rng.random(len(table)) > pick(rng, (0.05, 0.5, 1.0))))


def _order_rows(table: pa.Table, rng: Rng) -> pa.Table:
    return table.take(pa.array(rng.permutation(len(table))))


def _double_rows(table: pa.Table, rng: Rng) -> pa.Table:
    return pa.concat_tables([table, table.slice(0, int(rng.integers(1, 5)))])


def _change_metadata(table: pa.Table, rng: Rng) -> pa.Table:
    kept = dict(table.schema.metadata or {})
    said = kept.get(b"genebert", b"{}")
    said = pick(rng, (json_tree, json_tree, json_tree, json_trick, flip, cut))(said, rng)
    if rng.random() < 0.1:
        return table.replace_schema_metadata({"other": "x"})
    return table.replace_schema_metadata({**kept, b"genebert": said})


def _damage_end(data: bytes, rng: Rng) -> bytes:
    """Damage the footer, which says where everything lies and how much of it there is."""
    at = max(0, len(data) - int(rng.integers(8, 2000)))
    return data[:at] + flip(data[at:], rng)


PARQUET: tuple[Mutator, ...] = (
    *(flip, flip, cut, remove, whole, _damage_end, _damage_end),
    *map(
        _on_table,
        (
            *(_as_is, _rename_column, _drop_column, _order_columns, _add_column, _retype_column),
            *(
                _null_values,
                _null_values,
                _odd_values,
                _odd_values,
                _odd_values,
                _drop_rows,
                _order_rows,
            ),
            *(_double_rows, _change_metadata, _change_metadata, _retype_column),
        ),
    ),
)

KINDS: dict[str, tuple[Mutator, ...]] = {
    "text": (*BYTES, *LINES, *LINES),
    "yaml": (*BYTES, *LINES[:6], *[yaml_tree] * 14, *[yaml_trick] * 4),
    "json": (*BYTES, *[json_tree] * 10, *[json_trick] * 2),
    "parquet": PARQUET,
    "bytes": (*BYTES, *[flip] * 4),
}


def mutated(data: bytes, kind: str, rng: Rng) -> bytes:
    """Return a file's bytes after one to three mutations of a kind; gzip is unpacked and packed again.

    A quarter of gzip files are damaged as they are, or have two members.
    """
    packed = data.startswith(b"\x1f\x8b")
    if packed and rng.random() < 0.25:
        return pick(rng, (*BYTES, lambda d, _: d + d, lambda d, _: d + b"junk"))(data, rng)
    inner = gzip.decompress(data) if packed else data
    for _ in range(pick(rng, (1, 1, 1, 2, 3))):
        inner = pick(rng, KINDS[kind])(inner, rng)
    return gzip.compress(inner, 1, mtime=0) if packed else inner
