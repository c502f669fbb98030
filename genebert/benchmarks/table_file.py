"""The files of a task: Parquet with what the task keeps of itself."""

from pathlib import Path
from typing import Any

import pyarrow as pa

from genebert.parquet import facts_of, read_whole

_MEND = "rebuild the task"


def read_table_file(path: str | Path) -> tuple[pa.Table, dict[str, Any]]:
    """Return a task's file and the metadata kept with it, empty where there is none.

    Raises
    ------
    GenebertError
        If the file is missing or damaged.
    """
    arrow = read_whole(path, _MEND)
    return arrow, facts_of(arrow.schema, path, _MEND)
