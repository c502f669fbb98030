"""The NPMI of k-mers in the training regions of a corpus, as a file."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from genebert.corpus.manifest import read_manifest
from genebert.corpus.schema import Metadata, metadata_of
from genebert.errors import GenebertError
from genebert.files import complete_or_absent
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


def write_npmi(corpus_folder: str | Path, k: int, out: str | Path) -> str:
    """Count a corpus's training regions, on both strands, and write the NPMI of k-mers; return a line.

    The corpus is read row group by row group, sequences and splits only.

    Parameters
    ----------
    corpus_folder
        Of the parts and ``manifest.json``.
    k
        k-mer length in bp, 2 or more.
    out
        Parquet file to write: kmer, count, pmi (nat), npmi, by descending npmi. k-mers counted fewer
        than 101 times are left out: they are not ranked.

    Raises
    ------
    GenebertError
        If k is 1, the corpus is damaged, or has no training region.
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
    counts = [np.zeros(4**n, np.int64) for n in range(1, k + 1)]
    counted = 0
    for part in manifest["parts"]:
        for codes in _training_sequences(Path(corpus_folder) / part["part"], metadata):
            counted += len(codes)
            counts = [old + new for old, new in zip(counts, count_ngrams(codes, k), strict=True)]
    if counted != regions:
        raise GenebertError(
            f"the parts hold {counted} training regions, the manifest says {regions}",
            "rebuild the corpus, or fetch an undamaged copy",
            str(corpus_folder),
        )
    table = _ranked(counts, k)
    settings = {"k": k, "least_count": LEAST_COUNT, "catalogue": metadata.catalogue}
    table = table.replace_schema_metadata({"genebert": json.dumps(settings, sort_keys=True)})
    with complete_or_absent(out) as temporary:
        pq.write_table(table, temporary, compression="zstd")
    line = (
        f"{len(table)} of {4**k} {k}-mers stand {LEAST_COUNT} times or more on both strands of "
        f"{regions} training regions and are ranked"
    )
    return line + (f", {table['kmer'][0]} first" if len(table) else ": masking by NPMI will be random")


def read_npmi(path: str | Path, k: int, catalogue: str) -> np.ndarray:
    """Return float32 [vocabulary], NPMI by token id; −inf for special tokens and unranked k-mers.

    Parameters
    ----------
    path
        What :func:`write_npmi` wrote.
    k
        k-mer length of the model in bp.
    catalogue
        Hash of the corpus's regions (:attr:`genebert.corpus.schema.Metadata.catalogue`).

    Raises
    ------
    GenebertError
        If the table is missing, damaged, of another k or of another corpus.
    """
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise GenebertError(
            f"{path} is missing or damaged ({str(error).splitlines()[0]})", "make the NPMI table again"
        ) from None
    settings = json.loads((table.schema.metadata or {}).get(b"genebert", b"{}"))
    if not table.schema.remove_metadata().equals(_SCHEMA) or "least_count" not in settings:
        raise GenebertError(f"{path} is no NPMI table", "make the NPMI table again")
    if settings["k"] != k:
        raise GenebertError(
            f"{path} ranks k-mers of {settings['k']} bp, the model reads {k}",
            "make the NPMI table for this k, or change model.sequence.k",
        )
    if settings["catalogue"] != catalogue:
        raise GenebertError(f"{path} is of another corpus", "make the NPMI table from the corpus in use")
    tokenizer = KmerTokenizer(k)
    id_of = {kmer: number for number, kmer in enumerate(tokenizer.vocabulary)}
    by_id = np.full(tokenizer.size, -np.inf, np.float32)
    by_id[[id_of[kmer] for kmer in table["kmer"].to_pylist()]] = table["npmi"].to_numpy()
    return by_id


def _training_sequences(path: Path, metadata: Metadata) -> Iterator[np.ndarray]:
    """Yield uint8 [n, width], base codes of a part's training regions, some at a time."""
    try:
        with pq.ParquetFile(path) as file:
            if metadata_of(file.schema_arrow, str(path)) != metadata:
                raise GenebertError(f"{path} is of another corpus", "rebuild the corpus")
            for batch in file.iter_batches(_ROWS, columns=["split", "sequence"]):
                training = batch.filter(pc.equal(batch["split"], "train"))
                if len(training):
                    yield encode_all(training["sequence"].to_pylist())
    except (OSError, pa.ArrowException) as error:
        raise GenebertError(
            f"{path} is missing or damaged ({str(error).splitlines()[0]})",
            "rebuild the corpus, or fetch an undamaged copy",
        ) from None


def _ranked(counts: list[np.ndarray], k: int) -> pa.Table:
    """Return the table of ranked k-mers, best first; equal ones in alphabetical order."""
    # Strands have equal counts: rounded, they have equal NPMI too, whatever the order of summing.
    score = npmi(counts).astype(np.float32)
    kmers = np.array(KmerTokenizer(k).vocabulary[len(SPECIAL) :])
    order = np.lexsort((kmers, -score))[: np.isfinite(score).sum()]
    columns = [kmers[order], counts[-1][order], pmi(counts)[order].astype(np.float32), score[order]]
    return pa.table(columns, schema=_SCHEMA)
