"""What every task is built from, besides the files of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from genebert.genome import Genome, Segment, SegmentIndex
from genebert.motifs.table import MotifTable


@dataclass(frozen=True)
class Material:
    """The genome, its split, the catalogue and the motifs.

    Attributes
    ----------
    name
        Of the task.
    fasta
        Indexed genome.
    contigs
        Regular expression of the contigs in use.
    segments
        The global split.
    regions, accessibility
        The catalogue, from which columns come, and in which cell types each region is open.
    motifs
        Scored motifs.
    columns
        R.
    cell_types
        Held-out cell types by split, ``validation`` and ``test``.
    block_bp
        Length of a block that is resampled or cross-validated as a whole.
    """

    name: str
    fasta: Path
    contigs: str
    segments: Sequence[Segment]
    regions: Path
    accessibility: Path
    motifs: MotifTable
    columns: int
    cell_types: Mapping[str, Sequence[str]]
    block_bp: int

    @property
    def where(self) -> str:
        """The task's key in the configuration, for messages."""
        return f"benchmarks.tasks.{self.name}"

    @cached_property
    def genome(self) -> Genome:
        """The open genome."""
        return Genome(self.fasta)

    @cached_property
    def index(self) -> SegmentIndex:
        """Which segment a place lies in."""
        return SegmentIndex(self.segments)
