"""The files of a task: Parquet with what the task keeps of itself."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from genebert.errors import GenebertError


def read_table_file(path: str | Path) -> tuple[pa.Table, dict[str, Any]]:
    """Return a task's file and the metadata kept with it, empty where there is none.

    Raises
    ------
    GenebertError
        If the file is missing or damaged.
    """
    try:
        arrow = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise GenebertError(
            f"{path} is missing or damaged ({str(error).splitlines()[0]})", "rebuild the task"
        ) from None
    return arrow, json.loads((arrow.schema.metadata or {}).get(b"genebert", b"{}"))
