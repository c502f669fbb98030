"""Reading Parquet: what is there is what the contract says, or a person is told what is wrong."""

import contextlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from genebert.errors import GenebertError, first_line
from genebert.files import json_object

KEY = b"genebert"


@contextlib.contextmanager
def readable(path: str | Path, fix: str) -> Iterator[None]:
    """Say of anything that Arrow cannot read that the file is missing or damaged.

    Raises
    ------
    GenebertError
        With the first line of what Arrow says.
    """
    try:
        yield
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        raise GenebertError(f"{path} is missing or damaged ({first_line(error)})", fix) from None


def read_parquet(
    path: str | Path,
    contract: pa.Schema,
    fix: str,
    filters: pc.Expression | None = None,
    nullable: Collection[str] = (),
) -> pa.Table:
    """Read the columns of a contract.

    Parameters
    ----------
    path
        The file; columns that the contract does not name are not read.
    contract
        Names and types. A column of the same kind (whole numbers, floating-point numbers, text, lists of
        these) is cast where no value is lost.
    fix
        What to do where the file is another, for messages.
    filters
        Which rows; all by default.
    nullable
        Columns that may hold nulls.

    Raises
    ------
    GenebertError
        If the file is missing or damaged, lacks a column or has it twice, has it of another kind, or a
        value or an item of a list is null or beyond the contract's type.
    """
    with readable(path, fix):
        check_columns(pq.read_schema(path), contract, path, fix)
        found = pq.read_table(
            path,
            columns=contract.names,
            filters=filters,
            read_dictionary=[f.name for f in contract if pa.types.is_dictionary(f.type)],
        )
        found.validate(full=True)
        metadata = found.schema.metadata
        columns = [_cast(found[field.name], field.type) for field in contract]
        table = pa.table(columns, schema=contract.with_metadata(metadata))
    for name in contract.names:
        if name not in nullable and _nulls(table[name]):
            raise GenebertError(f"{path}: column '{name}' has a null", fix)
    return table


def read_whole(path: str | Path, fix: str, columns: list[str] | None = None) -> pa.Table:
    """Read a file, or some columns of it, whose schema is checked by the caller.

    Raises
    ------
    GenebertError
        If the file is missing or damaged.
    """
    with readable(path, fix):
        # Before the rest: a file whose column names are no text makes Arrow's threads wait for ever.
        pq.read_schema(path)
        table = pq.read_table(path, columns=columns)
        table.validate(full=True)
        return table


def check_columns(schema: pa.Schema, contract: pa.Schema, path: str | Path, fix: str) -> None:
    """Refuse a file that lacks a column of a contract, or has one twice or of another kind.

    Raises
    ------
    GenebertError
        Naming the column.
    """
    for field in contract:
        number = schema.names.count(field.name)
        if number != 1:
            found = f"{number} columns '{field.name}'" if number else f"no column '{field.name}'"
            raise GenebertError(f"{path} has {found}", fix)
        found = schema.field(field.name).type
        if _kind(found) != _kind(field.type):
            raise GenebertError(f"{path}: column '{field.name}' is of {found}, not {field.type}", fix)


def facts_of(schema: pa.Schema, path: str | Path, fix: str) -> dict[str, Any]:
    """Return the facts that a stage keeps in the metadata of a file, empty where there are none.

    Raises
    ------
    GenebertError
        If they are no JSON object.
    """
    return json_object((schema.metadata or {}).get(KEY, b"{}"), f"the metadata of {path}", fix)


def _kind(kind: pa.DataType) -> str:
    if pa.types.is_dictionary(kind):
        return _kind(kind.value_type)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return f"list of {_kind(kind.value_type)}"
    for name, is_of in (
        ("whole numbers", pa.types.is_integer),
        ("numbers", pa.types.is_floating),
        ("text", lambda t: pa.types.is_string(t) or pa.types.is_large_string(t)),
    ):
        if is_of(kind):
            return name
    return str(kind)


def _cast(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    if column.type.equals(kind):
        return column
    if pa.types.is_dictionary(kind):
        return column.cast(kind.value_type).dictionary_encode().cast(kind)
    # To single precision some value is always lost.
    return column.cast(kind, safe=not pa.types.is_floating(kind))


def _nulls(column: pa.ChunkedArray) -> int:
    inner = pc.list_flatten(column) if pa.types.is_list(column.type) else column
    return int(column.null_count + inner.null_count)
