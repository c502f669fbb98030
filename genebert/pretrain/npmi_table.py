"""The NPMI of k-mers in the training regions of a corpus, as a file."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from genebert.corpus.held_out import held_out_numbers
from genebert.corpus.manifest import read_manifest
from genebert.corpus.schema import Metadata, metadata_of
from genebert.errors import GenebertError, first_line
from genebert.files import complete_or_absent
from genebert.parquet import facts_of, read_whole
from genebert.sequence.codes import encode_all
from genebert.sequence.npmi import LEAST_COUNT, count_ngrams, npmi, pmi
from genebert.sequence.tokens import SPECIAL, KmerTokenizer

_ROWS = 1024  # regions counted in one go: some 25 MB
_SCHEMA = pa.schema(
    [
        pa.field("kmer", pa.string(), nullable=False),
        pa.field("count", pa.int64(), nullable=False),  # of both strands
        pa.field("pmi", pa.float32(), nullable=False),  # nat
        pa.field("npmi", pa.float32(), nullable=False),
    ]
)


def write_npmi(corpus_folder: str | Path, k: int, out: str | Path, held_out: Sequence[str] = ()) -> str:
    """Count a corpus's training regions, on both strands, and write the NPMI of k-mers; return a line.

    The corpus is read row group by row group, without its hits.

    Parameters
    ----------
    corpus_folder
        Of the parts and ``manifest.json``.
    k
        k-mer length in bp, 2 or more.
    out
        Parquet file to write: kmer, count, pmi (nat), npmi, by descending npmi. k-mers counted fewer
        than 101 times are left out: they are not ranked.
    held_out
        Cell types whose regions are not counted, unless they are open in another one too.

    Raises
    ------
    GenebertError
        If k is 1, the corpus is damaged or has no training region, or a held-out cell type is in no
        sample.
    """
    if k < 2:
        raise GenebertError(
            "a single base has no NPMI", "set model.sequence.k to 3 or more, or masking to random_span"
        )
    manifest = read_manifest(corpus_folder)
    regions = manifest["regions_by_split"]["train"]
    if not regions:
        raise GenebertError(
            "the corpus has no training region to count k-mers of",
            "hold out fewer chromosomes or intervals (genome.split)",
            str(corpus_folder),
        )
    metadata = Metadata(**manifest["metadata"])
    left_out = held_out_numbers(metadata.cell_types, held_out)
    counts = [np.zeros(4**n, np.int64) for n in range(1, k + 1)]
    counted = found = 0
    for part in manifest["parts"]:
        for batch in _training_regions(Path(corpus_folder) / part["part"], metadata):
            found += len(batch)
            used = batch.filter(pa.array(_open_elsewhere(batch, left_out)))
            if len(used):
                counted += len(used)
                codes = encode_all(used["sequence"].to_pylist())
                counts = [old + new for old, new in zip(counts, count_ngrams(codes, k), strict=True)]
    if found != regions:
        raise GenebertError(
            f"the parts hold {found} training regions, the manifest says {regions}",
            "rebuild the corpus, or fetch an undamaged copy",
            str(corpus_folder),
        )
    table = _ranked(counts, k)
    settings: dict[str, Any] = {
        "k": k,
        "least_count": LEAST_COUNT,
        "catalogue": metadata.catalogue,
    }
    if held_out:
        settings["held_out"] = sorted(set(held_out))
    table = table.replace_schema_metadata({"genebert": json.dumps(settings, sort_keys=True)})
    with complete_or_absent(out) as temporary:
        pq.write_table(table, temporary, compression="zstd")
    line = (
        f"{len(table)} of {4**k} {k}-mers stand {LEAST_COUNT} times or more on both strands of "
        f"{counted} training regions and are ranked"
    )
    return line + (f", {table['kmer'][0]} first" if len(table) else ": masking by NPMI will be random")


def read_npmi(path: str | Path, k: int, catalogue: str, held_out: Sequence[str] = ()) -> np.ndarray:
    """Return float32 [vocabulary], NPMI by token id; −inf for special tokens and unranked k-mers.

    Parameters
    ----------
    path
        What :func:`write_npmi` wrote.
    k
        k-mer length of the model in bp.
    catalogue
        Hash of the corpus's regions (:attr:`genebert.corpus.schema.Metadata.catalogue`).
    held_out
        Cell types whose regions it must not count.

    Raises
    ------
    GenebertError
        If the table is missing, damaged, of another k, corpus or held-out cell types.
    """
    again = "make the NPMI table again"
    table = read_whole(path, again)
    settings = facts_of(table.schema, path, again)
    if not table.schema.remove_metadata().equals(_SCHEMA) or not settings.keys() >= {
        "k",
        "catalogue",
        "least_count",
    }:
        raise GenebertError(f"{path} is no NPMI table", again)
    if settings["k"] != k:
        raise GenebertError(
            f"{path} ranks k-mers of {settings['k']} bp, the model reads {k}",
            "make the NPMI table for this k, or change model.sequence.k",
        )
    if settings["catalogue"] != catalogue:
        raise GenebertError(f"{path} is of another corpus", "make the NPMI table from the corpus in use")
    if (left_out := settings.get("held_out", [])) != sorted(set(held_out)):
        raise GenebertError(
            f"{path} leaves out the cell types {', '.join(left_out) or '(none)'}, "
            f"the pre-training {', '.join(sorted(set(held_out))) or '(none)'}",
            "make the NPMI table with the same held-out cell types",
        )
    tokenizer = KmerTokenizer(k)
    id_of = {kmer: number for number, kmer in enumerate(tokenizer.vocabulary)}
    by_id = np.full(tokenizer.size, -np.inf, np.float32)
    by_id[[id_of[kmer] for kmer in table["kmer"].to_pylist()]] = table["npmi"].to_numpy()
    return by_id


def _training_regions(path: Path, metadata: Metadata) -> Iterator[pa.RecordBatch]:
    """Yield sequence and cell_type of a part's training regions, some at a time."""
    try:
        with pq.ParquetFile(path) as file:
            if metadata_of(file.schema_arrow, str(path)) != metadata:
                raise GenebertError(f"{path} is of another corpus", "rebuild the corpus")
            for batch in file.iter_batches(_ROWS, columns=["split", "sequence", "cell_type"]):
                yield batch.filter(pc.equal(batch["split"], "train"))
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        raise GenebertError(
            f"{path} is missing or damaged ({first_line(error)})",
            "rebuild the corpus, or fetch an undamaged copy",
        ) from None


def _open_elsewhere(batch: pa.RecordBatch, left_out: Sequence[int]) -> np.ndarray:
    """Return bool [n]: which regions are open in a cell type that is not left out."""
    row = pc.list_parent_indices(batch["cell_type"]).to_numpy()
    stays = ~np.isin(batch["cell_type"].flatten().to_numpy(), left_out)
    return np.bincount(row[stays], minlength=len(batch)) > 0


def _ranked(counts: list[np.ndarray], k: int) -> pa.Table:
    """Return the table of ranked k-mers, best first; equal ones in alphabetical order."""
    # Strands have equal counts: rounded, they have equal NPMI too, whatever the order of summing.
    score = npmi(counts).astype(np.float32)
    kmers = np.array(KmerTokenizer(k).vocabulary[len(SPECIAL) :])
    order = np.lexsort((kmers, -score))[: np.isfinite(score).sum()]
    columns = [kmers[order], counts[-1][order], pmi(counts)[order].astype(np.float32), score[order]]
    return pa.table(columns, schema=_SCHEMA)
