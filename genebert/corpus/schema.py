"""The Parquet contract of a corpus part, and the metadata that every part carries."""

import json

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, ValidationError

from genebert.errors import GenebertError
from genebert.parquet import facts_of

VERSION = 2

# Signals are stored to the nearest 1024th: ranks are no more precise than that. None is 0: that would be
# closed.
SIGNAL_STEPS = 1024

# One row a region, in genome order. Lists of hits are sorted by position, motif, strand (motifs are in
# order of similarity: what a family makes of one place then stands together, and compresses), lists of
# cell types by cell type.
SCHEMA = pa.schema(
    [
        pa.field("region_id", pa.uint32(), nullable=False),  # 0, 1, 2, … through all parts
        pa.field("chrom", pa.string(), nullable=False),
        pa.field("start", pa.int64(), nullable=False),  # bp, 0-based
        pa.field("end", pa.int64(), nullable=False),  # bp, half-open
        pa.field("split", pa.string(), nullable=False),  # train, validation or test
        pa.field("sequence", pa.string(), nullable=False),  # forward strand, A C G T N
        pa.field("motif", pa.list_(pa.uint16()), nullable=False),  # row of metadata.motifs
        pa.field("position", pa.list_(pa.uint16()), nullable=False),  # bp from the region's start
        pa.field("strand", pa.list_(pa.int8()), nullable=False),  # 1 or -1
        # 0 to 1 of the motif's span, rounded down to a 128th (genebert/corpus/scores.py)
        pa.field("score", pa.list_(pa.float16()), nullable=False),
        pa.field("cell_type", pa.list_(pa.uint16()), nullable=False),  # index in metadata.cell_types
        # rank of the peak in its sample, to the nearest 1024th: 1/1024 at least, to 1
        pa.field("signal", pa.list_(pa.float32()), nullable=False),
    ]
)


class Metadata(BaseModel):
    """What the columns mean: the same in every part of a corpus.

    Attributes
    ----------
    version
        Of this contract.
    genome
        Assembly name.
    catalogue
        Hash of the places of all regions, in all parts: what joins to region ids must know the same.
    width
        Width of each region in bp.
    motifs
        Names of the matrix rows, in row order.
    motif_digest
        Hash of names, scores, thresholds and background, in row order: a model refuses another one.
    thresholds, realised_p
        Of each motif: least log-odds (nat) of a hit, and its p-value under the background.
    background, pseudocount
        Of the log-odds.
    cell_types
        Names, sorted.
    inputs
        SHA-256 of the input files by path.
    packages
        Versions of the packages that made the hits.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int
    genome: str
    catalogue: str
    width: int
    motifs: list[str]
    motif_digest: str
    thresholds: list[float]
    realised_p: list[float]
    background: list[float]
    pseudocount: float
    cell_types: list[str]
    inputs: dict[str, str]
    packages: dict[str, str]

    def as_text(self) -> str:
        """Return what a part's file metadata hold under the key ``genebert``."""
        return json.dumps(self.model_dump(), sort_keys=True, separators=(",", ":"))


def metadata_of(schema: pa.Schema, where: str) -> Metadata:
    """Return the metadata of a part and check that the part follows the contract.

    Raises
    ------
    GenebertError
        If it is no corpus part, or one of another version of the contract.
    """
    content = facts_of(schema, where, "rebuild the corpus")
    if content.get("version") != VERSION:
        raise GenebertError(
            f"not a corpus part of version {VERSION} (found {content.get('version')})",
            "rebuild the corpus with this version of the workflow",
            where,
        )
    if not schema.remove_metadata().equals(SCHEMA):
        raise GenebertError("columns differ from the corpus contract", "rebuild the corpus", where)
    try:
        return Metadata.model_validate(content, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise GenebertError(
            f"the metadata's '{key}': {first['msg']}", "rebuild the corpus", where
        ) from None
