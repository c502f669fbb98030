"""Keys of the network and of its pre-training."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from genebert.config.kinds import NAME, Count, Fraction, Positive, Section, Weight


class SequenceEncoder(Section):
    """BERT over overlapping k-mers."""

    k: Literal[1, 3, 4, 5, 6] = Field(default=6, description="k-mer length in bp")
    layers: Count = Field(default=12, description="transformer layers")
    width: Count = Field(default=768, description="hidden size")
    heads: Count = Field(default=12, description="attention heads; must divide width")
    feedforward: Count = Field(default=3072, description="inner size of the feed-forward block")
    positions: Count = Field(default=512, description="longest input in tokens, 2 special ones included")
    norm: Literal["pre", "post"] = Field(
        default="pre", description="layer norm before each block, or after it as in BERT"
    )

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"{self.heads} heads do not divide width {self.width}")
        return self


class RegionEncoder(Section):
    """Swin Transformer over the TF × region matrix, seen as an image with one channel."""

    patch: list[Count] = Field(
        default=[16, 2], min_length=2, max_length=2, description="patch size: motifs × regions"
    )
    window: list[Count] = Field(
        default=[8, 8], min_length=2, max_length=2, description="attention window in patches"
    )
    width: Count = Field(default=96, description="channels of the first stage; doubles each stage")
    depths: list[Count] = Field(default=[2, 2, 6, 2], min_length=1, description="blocks a stage")
    heads: list[Count] = Field(default=[3, 6, 12, 24], min_length=1, description="heads a stage")

    @model_validator(mode="after")
    def _stages_agree(self) -> Self:
        if len(self.depths) != len(self.heads):
            raise ValueError(
                f"{len(self.depths)} depths but {len(self.heads)} heads; give one of each a stage"
            )
        for stage, heads in enumerate(self.heads):
            if self.width * 2**stage % heads:
                raise ValueError(
                    f"{heads} heads do not divide the {self.width * 2**stage} channels of stage "
                    f"{stage + 1}"
                )
        return self


class Model(Section):
    """Sizes of the network."""

    sequence: SequenceEncoder = Field(default=SequenceEncoder(), description="see there")
    region: RegionEncoder = Field(default=RegionEncoder(), description="see there")
    columns: int = Field(
        default=64,
        ge=1,
        description="regions in a view: the focal one and its neighbours open in the cell type",
    )
    projection: Count = Field(default=256, description="size of the shared space of `matching`")


class Variant(Section):
    """One pre-training recipe: the weight of each objective."""

    masked_sequence: Weight = Field(default=0.0, description="weight: masked k-mer prediction")
    masked_region: Weight = Field(default=0.0, description="weight: masked matrix reconstruction")
    matching: Weight = Field(default=0.0, description="weight: which sequence belongs to which matrix")
    matrices: Literal["own", "shuffled"] = Field(
        default="own", description="`shuffled` pairs each sequence with another locus: a control"
    )
    trained: bool = Field(default=True, description="false: random weights, no pre-training")

    @model_validator(mode="after")
    def _something_to_learn(self) -> Self:
        weights = (self.masked_sequence, self.masked_region, self.matching)
        if self.trained and not any(weights):
            raise ValueError("all objectives weigh zero; weigh one, or set `trained: false`")
        if not self.trained and any(weights):
            raise ValueError("`trained: false` with weighted objectives; drop one of the two")
        return self

    def inputs(self) -> set[str]:
        """Return the inputs for which this variant has encoders that fit together."""
        if not self.trained or self.matching:
            return {"sequence", "region", "both"}
        if self.masked_sequence and self.masked_region:
            return {"sequence", "region", "both"}
        return {"sequence"} if self.masked_sequence else {"region"}


class Pretrain(Section):
    """Pre-training, the same for every variant."""

    steps: Count = Field(default=100_000, description="optimiser steps")
    batch_size: Count = Field(default=1024, description="views a step")
    learning_rate: Positive = Field(default=4.0e-4, description="peak learning rate of AdamW")
    warmup_steps: Annotated[int, Field(ge=0)] = Field(
        default=2000, description="steps of linear warm-up; cosine decay to zero follows"
    )
    weight_decay: Weight = Field(default=0.01, description="AdamW, matrices only")
    gradient_clip: Positive = Field(default=1.0, description="largest gradient norm")
    matching_group: Annotated[int, Field(ge=2)] = Field(
        default=256, description="consecutive samples among which `matching` finds the right pair"
    )
    region_mask: Fraction = Field(
        default=0.5, description="fraction of the matrix hidden from `masked_region`, in blocks"
    )
    evaluate_every: Count = Field(default=2000, description="steps between held-out evaluations")
    evaluation_views: Count = Field(default=4096, description="held-out views of an evaluation")
    threads: Count = Field(
        default=1, description="CPU threads; the same number gives the same weights, bit for bit"
    )
    variants: dict[Annotated[str, Field(pattern=f"^{NAME}$")], Variant] = Field(
        default={
            "multimodal": Variant(masked_sequence=1, masked_region=10, matching=0.5),
            "sequence_only": Variant(masked_sequence=1),
            "scratch": Variant(trained=False),
        },
        min_length=1,
        description="recipes by name; the default weights were chosen on the demo's validation regions, "
        "where with equal ones matching drowns the reconstruction of the matrix",
    )

    @model_validator(mode="after")
    def _sizes_agree(self) -> Self:
        for key in ("batch_size", "evaluation_views"):
            if getattr(self, key) % self.matching_group:
                raise ValueError(
                    f"{key} {getattr(self, key)} is no multiple of matching_group "
                    f"{self.matching_group}; change one of the two"
                )
        if self.warmup_steps >= self.steps:
            raise ValueError(
                f"warmup_steps {self.warmup_steps} leave nothing of {self.steps} steps; lower them"
            )
        return self
