"""Keys of the data: genome, regions, motifs."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from genebert.config.kinds import IntervalText, Positive, Section, Text


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

    name: Text = Field(examples=["hg38"], description="assembly name, kept as provenance")
    fasta: Text = Field(examples=["data/hg38.fa.gz"], description="FASTA, plain or gzip; any species")
    blacklist: Text | None = Field(
        default=None,
        examples=["data/hg38-blacklist.v2.bed.gz"],
        description="BED of places whose peaks are dropped",
    )
    split: Split = Field(description="chromosomes or intervals held out, see there")


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

    file: Text = Field(
        examples=["resources/motifs/JASPAR2026_CORE_vertebrates.jaspar"],
        description="count matrices in JASPAR text format",
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
        le=9999,
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
