"""Keys of the data: downloads, genome, peaks, regions, motifs."""

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from genebert.config.kinds import (
    Address,
    Count,
    Given,
    IntervalText,
    Number,
    PlainPath,
    Positive,
    Section,
    Source,
    Text,
)


def _pattern(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"no regular expression ({error})") from None
    return value


class Downloads(Section):
    """How files that are named by URL or ENCODE accession are fetched."""

    folder: PlainPath = Field(
        default="data",
        description="where fetched files lie, each below its host's name; shared by all datasets",
    )
    lock: PlainPath = Field(
        default="config/downloads.lock.tsv",
        description="table of the checksums that files without one had when first fetched; later ones "
        "must agree. Commit it",
    )
    offline: bool = Field(
        default=False, description="use only what is there; what is missing is named before any job"
    )
    mirrors: dict[Address, Address] = Field(
        default={},
        description="addresses to fetch from instead, by what a URL starts with; checksums stay",
    )
    connections: Count = Field(default=4, description="downloads at a time")
    timeout: Positive = Field(default=60.0, description="seconds without a byte that end an attempt")
    attempts: Count = Field(
        default=6, description="attempts before giving up, with growing pauses; each resumes the last"
    )


class Split(Section):
    """Which part of the genome is held out, for pre-training and every task alike."""

    validation: list[IntervalText] = Field(
        examples=[["chr8"]],
        min_length=1,
        description="chromosomes or intervals that choose between models (early stopping)",
    )
    test: list[IntervalText] = Field(
        examples=[["chr7", "chr9"]],
        min_length=1,
        description="chromosomes or intervals that are only ever read to report results",
    )


class Genome(Section):
    """The reference that all coordinates refer to."""

    name: Given = Field(examples=["hg38"], description="assembly name, kept as provenance")
    fasta: Source = Field(
        examples=[
            "https://hgdownload.soe.ucsc.edu/goldenPath/hg38/bigZips/hg38.fa.gz"
            "#md5=1c9dcaddfa41027f17cd8f7a82c7293b"
        ],
        description="FASTA, plain or gzip; any species",
    )
    contigs: Annotated[Given, AfterValidator(_pattern)] = Field(
        default=".+",
        examples=["chr([0-9]+|X|Y)"],
        description="regular expression of the contigs in use; peaks on others are dropped and counted",
    )
    blacklist: Source | None = Field(
        default=None,
        examples=["https://github.com/Boyle-Lab/Blacklist/raw/master/lists/hg38-blacklist.v2.bed.gz"],
        description="BED of places whose peaks are dropped",
    )
    split: Split = Field(description="chromosomes or intervals held out, see there")


class HeldOutCellTypes(Section):
    """Cell types that pre-training never sees, for the task `accessibility`."""

    validation: list[Text] = Field(
        default=[], examples=[["A549"]], description="cell types that choose between models"
    )
    test: list[Text] = Field(
        default=[],
        examples=[["MCF-7", "HCT116"]],
        description="cell types that are only ever read to report results",
    )

    def all(self) -> list[str]:
        """Return both lists as one."""
        return [*self.validation, *self.test]


class Peaks(Section):
    """Which peaks of a sample are kept."""

    min_signal: Number | None = Field(
        default=None, description="least signal of a peak, in the units of its file"
    )
    top: Count | None = Field(default=None, description="only so many strongest peaks of each sample")
    mappable: Source | None = Field(
        default=None, description="BED of places to which reads map uniquely, for min_mappable"
    )
    min_mappable: Annotated[Number, Field(ge=0, le=1)] = Field(
        default=0.0, description="least fraction of a peak that lies in mappable places"
    )

    @model_validator(mode="after")
    def _mappable_is_given(self) -> Self:
        if self.min_mappable > 0 and self.mappable is None:
            raise ValueError("min_mappable without mappable; name the BED of mappable places")
        return self


class Regions(Section):
    """The catalogue of regions."""

    width: int = Field(
        default=515,
        ge=30,
        le=65535,
        description="width of every region in bp; 515 bp are 510 6-mers",
    )


class Motifs(Section):
    """Motif scanning."""

    file: Source = Field(
        examples=["resources/motifs/JASPAR2026_CORE_vertebrates.jaspar"],
        description="matrices in JASPAR, MEME or TRANSFAC text format",
    )
    order: Literal["similarity", "family", "file"] = Field(
        default="similarity",
        description="order of the matrix rows (neighbours share attention windows)",
    )
    families: Source | None = Field(
        default=None,
        examples=["resources/motifs/JASPAR2026_CORE_vertebrates.families.tsv"],
        description="table of matrix_id, class, family, where the motif file does not say",
    )
    p_value: Annotated[Positive, Field(lt=1)] = Field(
        default=1.0e-4, description="hits have at most this p-value under the background"
    )
    max_realised_p: Annotated[Positive, Field(lt=1)] = Field(
        default=1.0e-3,
        description="motifs too short to reach p_value keep their best words, unless those are "
        "likelier than this: such motifs are dropped and listed",
    )
    pseudocount: Positive = Field(
        default=1.0, description="added to each matrix column, shared out by the background"
    )
    background: list[Positive] = Field(
        default=[0.295, 0.205, 0.205, 0.295],
        min_length=4,
        max_length=4,
        description="fixed frequencies of A, C, G, T; never estimated from a sequence",
    )
    chunks: int = Field(
        default=64,
        ge=1,
        le=3000,
        description="scan jobs and corpus parts; results stay, but a change rebuilds the corpus",
    )

    @model_validator(mode="after")
    def _background_is_a_distribution(self) -> Self:
        a, c, g, t = self.background
        if abs(sum(self.background) - 1) > 1e-6:
            raise ValueError(f"background sums to {sum(self.background):g}; make it sum to 1")
        if a != t or c != g:
            raise ValueError("background differs between strands; make A = T and C = G")
        if self.p_value > self.max_realised_p:
            raise ValueError("p_value exceeds max_realised_p; every motif would be dropped")
        return self
