"""The contract of ``dataset.parquet``: the examples of a task, with all that a model may look at."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from genebert.benchmarks.table_file import read_table_file
from genebert.config import TASKS
from genebert.corpus.scores import STEPS, add_best, from_steps, to_steps
from genebert.errors import GenebertError
from genebert.files import complete_or_absent
from genebert.sequence.codes import encode_column

SCHEMA = pa.schema(
    [
        pa.field("example_id", pa.uint32(), nullable=False),
        # Empty, 0 and 0 where an example has no known place.
        pa.field("chrom", pa.string(), nullable=False),
        pa.field("start", pa.int64(), nullable=False),  # bp, 0-based
        pa.field("end", pa.int64(), nullable=False),  # bp, half-open
        pa.field("strand", pa.string(), nullable=False),  # + or -; the sequence is of this strand
        pa.field("sequence", pa.string(), nullable=False),
        # Variants only: the same place with the alternate allele.
        pa.field("alternative", pa.string(), nullable=True),
        pa.field("label", pa.int32(), nullable=False),
        pa.field("cell_type", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        # A part of the test split whose figures are given apart; empty for none.
        pa.field("subset", pa.string(), nullable=False),
        # Of a cross-validation, where the task has one instead of a training split; else −1.
        pa.field("fold", pa.int32(), nullable=False),
        # Fraction of the example's bp that lie in catalogue regions; null without a place.
        pa.field("occupancy", pa.float32(), nullable=True),
        # Accessibility only: fraction of the training cell types in which the region is open.
        pa.field("open_in_training", pa.float32(), nullable=True),
        # The best hit of each motif in the example's own sequence, by motif: its focal column, made
        # alike for every class. Scores are rounded as those of a corpus.
        pa.field("motif", pa.list_(pa.uint16()), nullable=False),
        pa.field("score", pa.list_(pa.float16()), nullable=False),
        # The same of the alternative; empty without one.
        pa.field("alternative_motif", pa.list_(pa.uint16()), nullable=False),
        pa.field("alternative_score", pa.list_(pa.float16()), nullable=False),
        # Region ids by column, null where there is none; the focal column R // 2 is always null.
        pa.field("columns", pa.list_(pa.uint32()), nullable=False),
    ]
)
_LISTS = ("motif", "score", "alternative_motif", "alternative_score", "columns")
FLAT = tuple(name for name in SCHEMA.names if name not in _LISTS)
_MEND = "rebuild the task"
NEEDED = {"type", "task", "classes", "motif_digest", "catalogue"}
# Rows of an array on disk: its lists have fewer than 2^31 items, and its texts fewer bytes.
_ROWS = 1 << 16


@dataclass(frozen=True)
class Hits:
    """The best hit of each motif in each of some sequences.

    Attributes
    ----------
    offsets
        int64 [n + 1]: the hits of sequence i are ``offsets[i]`` to ``offsets[i + 1]``.
    motif, score
        int64 and float32 [hits], sorted by motif within a sequence.
    """

    offsets: np.ndarray
    motif: np.ndarray
    score: np.ndarray

    def best(self, motifs: int) -> np.ndarray:
        """Return uint8 [n, motifs], as in :attr:`genebert.corpus.read.Corpus.best`."""
        best = np.zeros((len(self.offsets) - 1, motifs), np.uint8)
        add_best(best, np.diff(self.offsets), self.motif, to_steps(self.score))
        return best

    def dense(self, motifs: int) -> np.ndarray:
        """Return float32 [n, motifs], scores in [0, 1], 0 where there is no hit."""
        return from_steps(self.best(motifs)).astype(np.float32)


@dataclass(frozen=True)
class Dataset:
    """A task's examples as columns.

    Attributes
    ----------
    table
        DataFrame of the flat columns of ``SCHEMA``.
    metadata
        ``type`` of the task, its name (``task``), names of the labels (``classes``), ``motif_digest``
        (of the motifs that the hits are of), ``catalogue`` (whose regions are columns), and what else
        the task keeps, such as its settings.
    codes
        uint8 [n, longest], base codes.
    hits
        In the examples' own sequences.
    columns
        int64 [n, R], region rows, −1 where there is none.
    alternative_codes, alternative_hits
        Of the alternatives; None for tasks without.
    """

    table: pd.DataFrame
    metadata: dict[str, Any]
    codes: np.ndarray
    hits: Hits
    columns: np.ndarray
    alternative_codes: np.ndarray | None = field(default=None)
    alternative_hits: Hits | None = field(default=None)

    @property
    def classes(self) -> list[str]:
        """Names of the labels."""
        return self.metadata["classes"]

    @property
    def labels(self) -> np.ndarray:
        """int64 [n]."""
        return self.table["label"].to_numpy().astype(np.int64)

    def in_split(self, split: str) -> np.ndarray:
        """Return int64 rows of a split."""
        return np.flatnonzero(self.table["split"].to_numpy() == split)


def write_dataset(
    table: pd.DataFrame,
    hits: tuple[Sequence[np.ndarray], Sequence[np.ndarray]],
    columns: np.ndarray,
    metadata: dict[str, Any],
    out: str | Path,
    alternative_hits: tuple[Sequence[np.ndarray], Sequence[np.ndarray]] | None = None,
) -> None:
    """Write a dataset.

    Parameters
    ----------
    table
        The flat columns of ``SCHEMA`` but ``example_id``, in the order to keep; the nullable ones,
        ``subset`` and ``fold`` may be left out.
    hits
        Motifs and scores of each example's hits, in any order; scores in [0, 1]. Kept is the best one of
        each motif, rounded down to 128ths.
    columns
        int64 [n, R], −1 for null.
    metadata
        Kept with the file; holds at least ``NEEDED``.
    out
        Parquet file.
    alternative_hits
        Of the alternatives, where there are any.
    """
    assert metadata.keys() >= NEEDED
    number = len(table)
    table = table.assign(example_id=np.arange(number, dtype=np.uint32))
    for name, default in (
        ("subset", ""),
        ("fold", -1),
        ("alternative", None),
        ("occupancy", None),
        ("open_in_training", None),
    ):
        if name not in table:
            table[name] = default
    none: list[np.ndarray] = [np.empty(0)] * number
    other = (none, none) if alternative_hits is None else alternative_hits
    for motif, score in (hits, other):
        assert len(motif) == len(score) == len(columns) == number, "hits and columns of each example"
    schema = SCHEMA.with_metadata({"genebert": json.dumps(metadata, sort_keys=True)})
    with (
        complete_or_absent(out) as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd") as writer,
    ):
        for start in range(0, number, _ROWS):
            rows = slice(start, start + _ROWS)
            arrays: dict[str, pa.Array] = {
                name: pa.array(table[name].iloc[rows], SCHEMA.field(name).type, from_pandas=True)
                for name in FLAT
            }
            for prefix, (motif, score) in (("", hits), ("alternative_", other)):
                best = _best_hits(motif[rows], score[rows])
                arrays[f"{prefix}motif"] = _lists(best.offsets, best.motif.astype(np.uint16))
                arrays[f"{prefix}score"] = _lists(best.offsets, best.score.astype(np.float16))
            arrays["columns"] = _column_lists(columns[rows])
            block = pa.table([arrays[name] for name in SCHEMA.names], schema=schema)
            block.validate(full=True)
            writer.write_table(block)


def read_dataset(path: str | Path) -> Dataset:
    """Read a dataset.

    Raises
    ------
    GenebertError
        If the file is missing, damaged or of another contract.
    """
    arrow, metadata = read_table_file(path)
    if not metadata.keys() >= NEEDED or not arrow.schema.remove_metadata().equals(SCHEMA):
        raise GenebertError(f"{path} is no dataset of this version", _MEND)
    for ok, what in _checks(arrow, metadata):
        if not ok:
            raise GenebertError(f"{path} is damaged: {what}", _MEND)
    has_alternatives = arrow["alternative"].null_count < len(arrow)
    return Dataset(
        table=arrow.select(FLAT).to_pandas(),
        metadata=metadata,
        codes=encode_column(arrow["sequence"]),
        hits=_read_hits(arrow, ""),
        columns=_read_columns(arrow["columns"]),
        alternative_codes=encode_column(arrow["alternative"]) if has_alternatives else None,
        alternative_hits=_read_hits(arrow, "alternative_") if has_alternatives else None,
    )


def _checks(arrow: pa.Table, metadata: dict[str, Any]) -> Iterator[tuple[bool, str]]:
    """Yield whether each thing holds that every reader relies on, and what does not if it does not."""
    classes = metadata["classes"]
    named = isinstance(classes, list) and all(isinstance(name, str) for name in classes)
    yield named and metadata["type"] in TASKS and len(arrow) > 0, "no type, no classes or no examples"
    label, start, end = (arrow[name].to_numpy() for name in ("label", "start", "end"))
    yield bool(((label >= 0) & (label < len(classes))).all()), "a label is none of the classes"
    yield bool(((start >= 0) & (start <= end)).all()), "a place is none"
    for name in ("sequence", "alternative"):
        bases = pc.match_substring_regex(arrow[name], "^[ACGTN]*$")
        yield pc.all(bases).as_py() is not False, f"a letter of a {name} is no base"
    for prefix in ("", "alternative_"):
        motif, score = arrow[f"{prefix}motif"], arrow[f"{prefix}score"]
        counts = pc.list_value_length(motif).to_numpy()
        alike = np.array_equal(counts, pc.list_value_length(score).to_numpy())
        yield alike, "not as many scores as motifs"
        motifs, scores = pc.list_flatten(motif), pc.list_flatten(score)
        yield motifs.null_count + scores.null_count == 0, "a motif or score is null"
        values = scores.to_numpy()
        yield bool(((values >= 0) & (values <= 1)).all()), "a score is not between 0 and 1"
        rising = np.ones(len(motifs) + 1, dtype=bool)
        rising[1:-1] = np.diff(motifs.to_numpy().astype(np.int64)) > 0
        rising[np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])] = True
        yield bool(rising.all()), "hits are not sorted by motif, each named once"
    widths = pc.list_value_length(arrow["columns"]).to_numpy()
    yield bool((widths == widths[:1]).all()), "not as many columns in each example"


def _best_hits(motifs: Sequence[np.ndarray], scores: Sequence[np.ndarray]) -> Hits:
    """Return the best hit of each motif in each example; lists may name a motif twice."""
    counts = np.fromiter(map(len, motifs), np.int64, len(motifs))
    assert counts.tolist() == [len(own) for own in scores], "as many scores as motifs"
    motif = np.concatenate([np.empty(0, np.int64), *motifs]).astype(np.int64)
    score = np.concatenate([np.empty(0), *scores])
    assert ((motif >= 0) & (motif <= np.iinfo(np.uint16).max)).all(), "a motif is no row"
    assert ((score >= 0) & (score <= 1)).all(), "a score is not in [0, 1]"
    # One number a hit, which sorts by example, motif and falling score.
    example = np.repeat(np.arange(len(counts), dtype=np.int64), counts)
    key = np.sort(example << 24 | motif << 8 | STEPS - to_steps(score).astype(np.int64))
    cell = key >> 8
    first = np.ones(len(key), dtype=bool)
    first[1:] = cell[1:] != cell[:-1]
    key, cell = key[first], cell[first]
    offsets = np.searchsorted(cell >> 16, np.arange(len(counts) + 1))
    return Hits(offsets, cell & 0xFFFF, from_steps(STEPS - (key & 0xFF)))


def _lists(offsets: np.ndarray, values: np.ndarray) -> pa.ListArray:
    assert offsets[-1] <= np.iinfo(np.int32).max, "lists too long for one array"
    return pa.ListArray.from_arrays(offsets.astype(np.int32), pa.array(values))


def _column_lists(columns: np.ndarray) -> pa.ListArray:
    offsets = np.arange(len(columns) + 1, dtype=np.int32) * columns.shape[1]
    flat = columns.ravel()
    return pa.ListArray.from_arrays(offsets, pa.array(flat, pa.uint32(), mask=flat < 0))


def _read_columns(lists: pa.ChunkedArray) -> np.ndarray:
    lengths = pc.list_value_length(lists).to_numpy()
    width = int(lengths.max(initial=0))
    flat = pc.fill_null(pc.list_flatten(lists).cast(pa.int64()), -1).to_numpy()
    return np.array(flat).reshape(len(lengths), width)  # Arrow's own memory may not be written


def _read_hits(arrow: pa.Table, prefix: str) -> Hits:
    motifs, scores = arrow[f"{prefix}motif"], arrow[f"{prefix}score"]
    counts = pc.list_value_length(motifs).to_numpy()
    offsets = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
    motif = pc.list_flatten(motifs).to_numpy().astype(np.int64)
    return Hits(offsets, motif, pc.list_flatten(scores).to_numpy().astype(np.float32))
