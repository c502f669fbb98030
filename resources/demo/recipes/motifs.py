"""The motif files, from JASPAR's database."""

import sqlite3
from collections import defaultdict

from recipes.tables import text_of

MOTIF_QUERY = """
    SELECT m.ID, m.BASE_ID || '.' || m.VERSION AS MATRIX_ID, m.NAME
    FROM MATRIX m
    JOIN MATRIX_ANNOTATION a ON a.ID = m.ID AND a.TAG = 'tax_group' AND a.VAL = 'vertebrates'
    WHERE m.COLLECTION = 'CORE'
      AND m.VERSION = (SELECT max(VERSION) FROM MATRIX WHERE BASE_ID = m.BASE_ID)
    ORDER BY MATRIX_ID
"""


def format_motif(matrix_id: str, name: str, counts: dict[str, list[float]]) -> str:
    """One matrix in JASPAR's text format; a fractional count of the database stays fractional."""
    lines = [f">{matrix_id}\t{name}"]
    for base in "ACGT":
        cells = (str(int(count) if count.is_integer() else count) for count in counts[base])
        lines.append(f"{base}  [" + " ".join(cell.rjust(6) for cell in cells) + " ]")
    return "\n".join(lines) + "\n"


def build_motifs(database: sqlite3.Connection) -> bytes:
    """JASPAR2026_CORE_vertebrates.jaspar, from pyjaspar: latest version of each matrix, by id."""
    counts: dict[int, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for key, base, count in database.execute(
        "SELECT ID, row, val FROM MATRIX_DATA ORDER BY ID, row, col"
    ):
        counts[key][base].append(count)
    return "".join(
        format_motif(matrix_id, name, counts[key])
        for key, matrix_id, name in database.execute(MOTIF_QUERY)
    ).encode()


def build_families(database: sqlite3.Connection) -> bytes:
    """JASPAR2026_CORE_vertebrates.families.tsv: class and family of each matrix, as annotated.

    The factors of a dimer may have several: they stand in the database's order, joined by '::'.
    """
    tags: dict[tuple[int, str], list[str]] = defaultdict(list)
    for key, tag, value in database.execute(
        "SELECT ID, TAG, VAL FROM MATRIX_ANNOTATION WHERE TAG IN ('class', 'family') ORDER BY LOCAL_ID"
    ):
        tags[key, tag].append(" ".join(value.split()))
    rows = [["matrix_id", "class", "family"]]
    for key, matrix_id, _ in database.execute(MOTIF_QUERY):
        rows.append([matrix_id, *("::".join(tags[key, tag]) for tag in ("class", "family"))])
    return text_of(rows)
