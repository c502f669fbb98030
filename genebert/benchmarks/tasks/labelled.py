"""Labelled sequences without places: CSV files of ``sequence,label``, as GUE and others give them."""

import csv
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from genebert.benchmarks.tasks.assemble import assemble, first_by_hash
from genebert.benchmarks.tasks.material import Material
from genebert.config import LabelledTask as Settings
from genebert.errors import GenebertError
from genebert.files import read_lines

COLUMNS = ("sequence", "label")
SPLIT_OF = {"train": "train", "dev": "validation", "test": "test"}
# Without a file of validation examples, one training example in so many.
HELD_OUT = 10
# What a scan for motifs takes.
MOST_BP = 65535
_INTEGER = "-?[0-9]{1,15}"


def check(
    settings: Settings, name: str, files: Mapping[str, Path], lengths: Mapping[str, int], contigs: str
) -> dict[str, int]:
    """Read every file of the task in full; return how many records each holds.

    Raises
    ------
    GenebertError
        As :func:`build`.
    """
    tables, classes = _read_all(files)
    _examples(settings, name, files, tables, classes)
    return {key: len(table) for key, table in tables.items()}


def build(settings: Settings, files: Mapping[str, Path], material: Material, out: str | Path) -> str:
    """Write the dataset of the task; return a line on it.

    Parameters
    ----------
    settings
        Of the task.
    files
        ``train``, ``test`` and, unless it is cut from the training examples, ``dev``: CSV files.
    material
        What tasks are built from.
    out
        ``dataset.parquet``.

    Raises
    ------
    GenebertError
        If a file is no CSV of sequences and labels, a sequence is longer than 65,535 bp, a split lacks a
        class, or a class lacks examples for ``shots``.
    """
    tables, classes = _read_all(files)
    table = _examples(settings, material.name, files, tables, classes)
    longest = int(table["sequence"].str.len().max())
    counts = assemble(table, classes, settings, material, out, longest=longest)
    return f"{len(classes)} classes, sequences of up to {longest} bp\n{counts}"


def read_labelled(path: str | Path) -> pd.DataFrame:
    """Read a CSV of sequences and labels, gzip or not.

    The header names the columns ``sequence`` and ``label``, in any place; others are not read. Empty
    lines are passed over.

    Returns
    -------
    DataFrame
        ``line`` (from 1), ``sequence`` (A, C, G, T, N) and ``label`` (text).

    Raises
    ------
    GenebertError
        Naming the line: another header, another number of cells than it has, an empty cell, a letter
        that is no base; or if there are no examples.
    """
    rows = _cells(path)
    line, header = next(rows, (1, []))
    names = [name.strip() for name in header]
    for name in COLUMNS:
        if names.count(name) != 1:
            raise GenebertError(
                f"{names.count(name)} columns are named '{name}', the header has {', '.join(names)}",
                f"begin the file with a header that names {' and '.join(COLUMNS)} once",
                f"{path} line {line}",
            )
    at = [names.index(name) for name in COLUMNS]
    found: list[tuple[int, str, str]] = []
    for line, cells in rows:
        if len(cells) != len(names):
            raise GenebertError(
                f"{len(cells)} cells where the header has {len(names)}",
                "correct the line",
                f"{path} line {line}",
            )
        found.append((line, cells[at[0]].strip().upper(), cells[at[1]].strip()))
    if not found:
        raise GenebertError(f"{path} has no examples", "give a file with at least one")
    table = pd.DataFrame(found, columns=["line", *COLUMNS])
    for name, bad in (("sequence", "^$|[^ACGTN]"), ("label", "^$")):
        _check_cells(table, name, bad, path)
    return table


def cropped(sequence: str, length: int | None) -> str:
    """Return the middle of a sequence longer than ``length`` bp, else all of it."""
    if length is None or len(sequence) <= length:
        return sequence
    start = (len(sequence) - length) // 2
    return sequence[start : start + length]


def _cells(path: str | Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of the line on which a row begins, and its cells."""
    reader = csv.reader((f"{line}\n" for _, line in read_lines(path)), strict=True)
    begin = 1
    try:
        for cells in reader:
            if cells:
                yield begin, cells
            begin = reader.line_num + 1
    except csv.Error as error:
        raise GenebertError(
            f"the line is no CSV ({error})", "correct it, quotes first", f"{path} line {begin}"
        ) from None


def _check_cells(table: pd.DataFrame, name: str, bad: str, path: str | Path) -> None:
    wrong = pc.match_substring_regex(pa.array(table[name], pa.string()), bad)
    first = pc.index(wrong, True).as_py()
    if first < 0:
        return
    cell, where = table[name].iloc[first], f"{path} line {table['line'].iloc[first]}"
    if not cell:
        raise GenebertError(f"the {name} is missing", "correct the line", where)
    letter = cell.strip("ACGTN")[0]
    raise GenebertError(f"{letter!r} is no base", "write sequences of A, C, G, T and N", where)


def _read_all(files: Mapping[str, Path]) -> tuple[dict[str, pd.DataFrame], list[str]]:
    """Return the examples of each file, and the labels of the training ones: numbers by value."""
    tables = {key: read_labelled(files[key]) for key in SPLIT_OF if key in files}
    labels = tables["train"]["label"]
    by_value = labels.str.fullmatch(_INTEGER).all()
    classes = sorted(labels.unique(), key=int if by_value else None)
    if len(classes) < 2:
        raise GenebertError(
            f"all examples have the label '{classes[0]}'",
            "give two classes at least",
            str(files["train"]),
        )
    for key, table in tables.items():
        unknown = table[~table["label"].isin(classes)]
        if len(unknown):
            row = unknown.iloc[0]
            raise GenebertError(
                f"no training example has the label '{row['label']}'",
                f"correct it, or train on {', '.join(classes[:20])} and it",
                f"{files[key]} line {row['line']}",
            )
    return tables, classes


def _examples(
    settings: Settings,
    name: str,
    files: Mapping[str, Path],
    tables: Mapping[str, pd.DataFrame],
    classes: list[str],
) -> pd.DataFrame:
    """Return the examples of all files as :func:`assemble` takes them."""
    parts = []
    for key, rows in tables.items():
        own = rows.assign(
            sequence=[cropped(sequence, settings.crop) for sequence in rows["sequence"]],
            label=rows["label"].map({text: label for label, text in enumerate(classes)}),
            split=SPLIT_OF[key],
        )
        _check_lengths(own, files[key])
        parts.append(own.drop(columns="line"))
    table = pd.concat(parts, ignore_index=True)
    table = table.assign(chrom="", start=0, end=0, strand="+", cell_type="any")
    if "dev" not in tables:
        drawn = np.array([_is_held_out(sequence, settings.seed) for sequence in table["sequence"]])
        table.loc[drawn & (table["split"] == "train"), "split"] = "validation"
    _check_splits(table, classes, f"benchmarks.tasks.{name}")
    if settings.shots is not None:
        table = _few_shots(table, classes, settings.shots, settings.seed, f"benchmarks.tasks.{name}")
    return table


def _is_held_out(sequence: str, seed: int) -> bool:
    """Return a draw by the sequence alone: copies stay in one split."""
    digest = hashlib.sha256(f"{seed}\t{sequence}".encode()).digest()
    return int.from_bytes(digest[:8]) % HELD_OUT == 0


def _check_lengths(table: pd.DataFrame, path: Path) -> None:
    lengths = table["sequence"].str.len()
    if lengths.max() > MOST_BP:
        row = int(lengths.argmax())
        raise GenebertError(
            f"a sequence of {lengths.iloc[row]} bp, more than {MOST_BP}",
            "set `crop`, or shorten it",
            f"{path} line {table['line'].iloc[row]}",
        )


def _check_splits(table: pd.DataFrame, classes: list[str], where: str) -> None:
    for key, split in SPLIT_OF.items():
        labels = set(table.loc[table["split"] == split, "label"])
        missing = [name for label, name in enumerate(classes) if label not in labels]
        if missing:
            raise GenebertError(
                f"no {split} example has the label {', '.join(missing)}",
                f"give a file with examples of every class as `{key}`",
                where,
            )


def _few_shots(
    table: pd.DataFrame, classes: list[str], shots: int, seed: int, where: str
) -> pd.DataFrame:
    """Return the table with a fixed draw of so many training examples of each class."""
    training = table[table["split"] == "train"]
    drawn = training.iloc[first_by_hash(training, shots, seed)]
    counts = drawn["label"].value_counts()
    if counts.min() < shots:
        raise GenebertError(
            f"`shots` asks for {shots} examples of class {classes[counts.idxmin()]}, "
            f"{counts.min()} are for training",
            f"set `shots: {counts.min()}` at most",
            where,
        )
    return pd.concat([drawn, table[table["split"] != "train"]], ignore_index=True)
