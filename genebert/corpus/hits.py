"""Motif hits by place: where in its sequence each motif of a sample stands."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from genebert.corpus.columns import lists_of, refuse
from genebert.corpus.manifest import read_manifest
from genebert.corpus.schema import Metadata, metadata_of
from genebert.errors import GenebertError, first_line
from genebert.motifs.table import MotifTable, read_motif_table

_COLUMNS = ["region_id", "motif", "position", "strand"]
# Hits that are checked at a time: each takes some 40 bytes meanwhile.
_BLOCK = 1 << 22


@dataclass(frozen=True)
class Hits:
    """Motif hits of all regions of a corpus, in memory: five bytes a hit.

    Attributes
    ----------
    offsets
        int64 [regions + 1]: hits of a region are those from its offset to the next.
    motif
        uint16 [hits], row of the motif.
    position
        uint16 [hits], bp from the region's start to the hit's leftmost base on the forward strand.
    strand
        int8 [hits], 1 or −1.
    region_width
        Width of each region in bp.
    """

    offsets: np.ndarray
    motif: np.ndarray
    position: np.ndarray
    strand: np.ndarray
    region_width: int


class BatchHits(NamedTuple):
    """Motif hits of a batch, as its sequences are read: H is the most that one of them has.

    Attributes
    ----------
    motif
        int64 [B, H], row of the motif; −1 where a sample has no further hit.
    start, end
        int64 [B, H], half-open, bp from the first base of the sequence as read; 0 without a hit.
    strand
        int64 [B, H], 1 or −1 as read; 0 without a hit.
    """

    motif: torch.Tensor
    start: torch.Tensor
    end: torch.Tensor
    strand: torch.Tensor


def read_hits(folder: str | Path) -> Hits:
    """Read the hits of all parts that the manifest names.

    Raises
    ------
    GenebertError
        If the manifest is missing or damaged, or a part is missing, holds other than the manifest says,
        or is of another corpus.
    """
    manifest = read_manifest(folder)
    metadata, number = Metadata(**manifest["metadata"]), manifest["hits"]
    hits = Hits(
        np.zeros(manifest["regions"] + 1, np.int64),
        np.zeros(number, np.uint16),
        np.zeros(number, np.uint16),
        np.zeros(number, np.int8),
        metadata.width,
    )
    region = 0
    for part in manifest["parts"]:
        path = Path(folder) / part["part"]
        try:
            with pq.ParquetFile(path) as file:
                _read_part(file, path, part, metadata, region, hits)
        except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
            refuse(path, f"missing or damaged ({first_line(error)})")
        region += part["regions"]
    return hits


def _read_part(
    file: pq.ParquetFile, path: Path, part: dict[str, Any], metadata: Metadata, first: int, hits: Hits
) -> None:
    """Read one part, whose first region is ``first``, to where the parts before it end."""
    if metadata_of(file.schema_arrow, str(path)) != metadata:
        refuse(path, "of another corpus")
    if file.metadata.num_rows != part["regions"]:
        refuse(path, f"{file.metadata.num_rows} regions, the manifest says {part['regions']}")
    region, hit = first, int(hits.offsets[first])
    end = hit + part["hits"]
    for group in range(file.num_row_groups):
        table = file.read_row_group(group, columns=_COLUMNS)
        if not np.array_equal(table["region_id"], np.arange(region, region + len(table))):
            refuse(path, "other regions than its place says")
        ends, *values = _checked_hits(table, path, metadata)
        rows = slice(hit, hit + int(ends[-1]))
        if rows.stop > end:
            refuse(path, f"more than the {part['hits']} hits that the manifest says")
        hits.motif[rows], hits.position[rows], hits.strand[rows] = values
        hits.offsets[region + 1 : region + 1 + len(table)] = hit + ends[1:]
        region, hit = region + len(table), rows.stop
    if hit != end:
        refuse(path, f"{hit - end + part['hits']} hits, the manifest says {part['hits']}")


def _checked_hits(
    table: pa.Table, path: Path, metadata: Metadata
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return offsets from 0, motif, position, strand of the hits of a row group."""
    ends, motif = lists_of(table["motif"])
    position_ends, position = lists_of(table["position"])
    strand_ends, strand = lists_of(table["strand"])
    if not np.array_equal(ends, position_ends) or not np.array_equal(ends, strand_ends):
        refuse(path, "motif, position and strand lists of other lengths")
    if motif.max(initial=0) >= len(metadata.motifs):
        refuse(path, "a motif that the metadata do not name")
    if position.max(initial=0) >= metadata.width:
        refuse(path, f"a position that is not below {metadata.width} bp")
    if (np.abs(strand) != 1).any():
        refuse(path, "a strand that is neither 1 nor -1")
    return ends, motif, position, strand


def motifs_of_corpus(path: str | Path, metadata: Metadata) -> MotifTable:
    """Read the motif table that a corpus was made with, whose rows are those of its matrices.

    Raises
    ------
    GenebertError
        If it is no motif table, or one of other motifs, scores, thresholds or background.
    """
    table = read_motif_table(path)
    if table.digest() != metadata.motif_digest:
        raise GenebertError(
            f"{path} is not the motif table that the corpus was made with "
            f"(digest {table.digest()}, the corpus has {metadata.motif_digest})",
            "name the motif table that the corpus was made with, or rebuild the corpus",
        )
    return table


class PlacedHits:
    """The hits of a corpus on a device, from which batches take theirs.

    Parameters
    ----------
    hits
        Of the corpus.
    widths
        int64 [T], widths of the motifs in bp (:func:`genebert.motifs.table.motif_probabilities`).
    device
        Where batches are made.

    Raises
    ------
    GenebertError
        If a hit is of a motif without a width, or ends beyond its region.
    """

    def __init__(self, hits: Hits, widths: np.ndarray, device: str) -> None:
        _require_inside(hits, widths)
        self._offsets = torch.from_numpy(hits.offsets).to(device)
        # The same bits as int16: not every backend indexes uint16.
        self._motif = torch.from_numpy(hits.motif.view(np.int16)).to(device)
        self._position = torch.from_numpy(hits.position.view(np.int16)).to(device)
        self._strand = torch.from_numpy(hits.strand).to(device)
        self._widths = torch.from_numpy(widths).to(device)

    def of(self, focal: torch.Tensor, flip: torch.Tensor, length: int) -> BatchHits:
        """Return the hits of focal regions, in the order in which the corpus lists them.

        Parameters
        ----------
        focal
            int64 [B], region rows.
        flip
            bool [B], whether the sequence is read as its reverse complement.
        length
            Of the sequences in bp: the regions' width.
        """
        first = self._offsets[focal]
        number = self._offsets[focal + 1] - first
        most = int(number.max())  # the host has to know the shape
        index = torch.arange(most, device=focal.device)
        real = index < number[:, None]
        place = torch.where(real, first[:, None] + index, 0)
        motif = self._motif[place].long() & 0xFFFF
        start = self._position[place].long() & 0xFFFF
        end = start + self._widths[motif]
        strand = self._strand[place].long()
        turned = flip[:, None]
        start, end = torch.where(turned, length - end, start), torch.where(turned, length - start, end)
        return BatchHits(
            torch.where(real, motif, -1),
            torch.where(real, start, 0),
            torch.where(real, end, 0),
            torch.where(real, torch.where(turned, -strand, strand), 0),
        )


def _require_inside(hits: Hits, widths: np.ndarray) -> None:
    """Refuse hits that end beyond their region: on a GPU these would be read from elsewhere."""
    for first in range(0, len(hits.motif), _BLOCK):
        rows = slice(first, first + _BLOCK)
        motif = hits.motif[rows]
        if motif.max() >= len(widths):
            raise GenebertError(
                f"a hit of motif {motif.max()}, there are {len(widths)} widths",
                "name the motif table that the corpus was made with",
            )
        if (hits.position[rows] + widths[motif] > hits.region_width).any():
            raise GenebertError(
                f"a motif hit ends beyond its region's {hits.region_width} bp",
                "name the motif table that the corpus was made with, or rebuild the corpus",
            )
