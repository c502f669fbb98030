"""Keys of the network and of its pre-training."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from genebert.config.kinds import NAME, Count, Fraction, Masking, Positive, Section, Text, Weight

OBJECTIVES = ("masked_sequence", "masked_region", "matching", "next_segment", "motif_target")
# Those that read sequences, and those that read matrices.
OF_SEQUENCE = frozenset(OBJECTIVES) - {"masked_region"}
OF_REGION = frozenset({"masked_region", "matching"})

# Strategies of masking that read the table of k-mers.
NEED_NPMI = frozenset({"genemask", "global_pmi", "cm_gems", "cm_step"})

# `base` is BERT-base beside a Swin-T; its heads of 128 channels are what current GPUs are fastest at.
PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {
        "columns": 8,
        "projection": 512,
        "sequence": {"layers": 2, "width": 64, "heads": 2, "feedforward": 128},
        "region": {"width": 32, "depths": [2, 2], "heads": [1, 2]},
    },
    "small": {
        "columns": 32,
        "projection": 256,
        "sequence": {"layers": 6, "width": 384, "heads": 3, "feedforward": 1536},
        "region": {"width": 48, "depths": [2, 2, 2], "heads": [2, 4, 8]},
    },
    "base": {},
}


class SequenceEncoder(Section):
    """BERT over overlapping k-mers."""

    k: Literal[1, 3, 4, 5, 6] = Field(default=6, description="k-mer length in bp")
    layers: Count = Field(default=12, description="transformer layers")
    width: Count = Field(default=768, description="hidden size")
    heads: Count = Field(default=6, description="attention heads; must divide width")
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

    preset: Literal["tiny", "small", "base"] = Field(
        default="base",
        description="sizes that are not given below; the defaults shown are those of `base`",
    )
    sequence: SequenceEncoder = Field(default=SequenceEncoder(), description="see there")
    region: RegionEncoder = Field(default=RegionEncoder(), description="see there")
    columns: int = Field(
        default=64,
        ge=1,
        description="regions in a view: the focal one and its neighbours open in the cell type",
    )
    projection: Count = Field(default=256, description="size of the shared space of `matching`")

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, raw: Any) -> Any:
        if not isinstance(raw, dict):
            return raw
        preset = PRESETS.get(str(raw.get("preset")), {})
        filled = preset | raw
        for key in ("sequence", "region"):
            if isinstance(raw.get(key), dict):
                filled[key] = preset.get(key, {}) | raw[key]
        return filled


class Variant(Section):
    """One pre-training recipe: the weight of each objective, and how tokens are masked."""

    masked_sequence: Weight = Field(default=0.0, description="weight: masked k-mer prediction")
    masked_region: Weight = Field(default=0.0, description="weight: masked matrix reconstruction")
    matching: Weight = Field(default=0.0, description="weight: which sequence belongs to which matrix")
    next_segment: Weight = Field(
        default=0.0, description="weight: are the two halves of a sequence of one place?"
    )
    motif_target: Weight = Field(
        default=0.0, description="weight: predict motifs, their bases and their presence (MoDNA)"
    )
    masking: Masking = Field(
        default="random_span",
        description="how tokens are chosen for `masked_sequence`: random_span, genemask, global_pmi, "
        "motif, or a curriculum of these: cm_gems, cm_step",
    )
    init_from: Text | None = Field(
        default=None,
        description="folder of a BERT in Hugging Face format (DNABERT) whose weights the sequence "
        "encoder starts from",
    )
    matrices: Literal["own", "shuffled"] = Field(
        default="own", description="`shuffled` pairs each sequence with another locus: a control"
    )
    trained: bool = Field(default=True, description="false: random weights, no pre-training")

    @model_validator(mode="after")
    def _something_to_learn(self) -> Self:
        if self.trained and not self.weights():
            raise ValueError("all objectives weigh zero; weigh one, or set `trained: false`")
        if not self.trained and self.weights():
            raise ValueError("`trained: false` with weighted objectives; drop one of the two")
        return self

    def weights(self) -> dict[str, float]:
        """Return the objectives that are pursued, and their weights."""
        return {name: weight for name in OBJECTIVES if (weight := getattr(self, name))}

    def needs_npmi(self) -> bool:
        """Return whether masking reads the table of k-mers."""
        return bool(self.masked_sequence) and self.masking in NEED_NPMI

    def needs_motifs(self) -> bool:
        """Return whether masking or an objective reads motif hits and matrices."""
        return bool(self.motif_target) or (bool(self.masked_sequence) and self.masking == "motif")

    def inputs(self) -> set[str]:
        """Return the inputs for which this variant has encoders that fit together."""
        objectives = self.weights().keys()
        sequence = bool(objectives & OF_SEQUENCE) or not self.trained
        region = bool(objectives & OF_REGION) or not self.trained
        return {
            name
            for name, there in (
                ("sequence", sequence),
                ("region", region),
                ("both", sequence and region),
            )
            if there
        }


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
        default=64, description="consecutive samples among which `matching` finds the right pair"
    )
    region_mask: Fraction = Field(
        default=0.5, description="fraction of the matrix hidden from `masked_region`, in blocks"
    )
    evaluate_every: Count = Field(default=2000, description="steps between held-out evaluations")
    evaluation_views: Count = Field(default=4096, description="held-out views of an evaluation")
    compile: bool = Field(
        default=False,
        examples=[True],
        description="compile the encoders (torch.compile): faster on a GPU after a minute or two",
    )
    threads: Count = Field(
        default=1, description="CPU threads; the same number gives the same weights, bit for bit"
    )
    variants: dict[Annotated[str, Field(pattern=f"^{NAME}$")], Variant] = Field(
        default={
            "multimodal": Variant(masked_sequence=1, masked_region=10, matching=0.5),
            "sequence_only": Variant(masked_sequence=1),
            "region_only": Variant(masked_region=10),
            "no_matching": Variant(masked_sequence=1, masked_region=10),
            "shuffled_regions": Variant(
                masked_sequence=1, masked_region=10, matching=0.5, matrices="shuffled"
            ),
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


class Compute(Section):
    """Where and how safely pre-training runs: no result depends on it, beyond rounding."""

    gpus: Annotated[int, Field(ge=0)] = Field(
        default=1, description="GPUs of one pre-training on each node; 0 computes on the CPU"
    )
    nodes: Count = Field(default=1, description="nodes of one pre-training; more than one needs SLURM")
    require_gpu: bool = Field(
        default=False, description="stop where there is no GPU, instead of computing on the CPU"
    )
    batch_per_device: Count = Field(
        default=64,
        description="views that a device computes on at a time, at most; more are accumulated",
    )
    checkpoint_minutes: Weight = Field(
        default=10.0, description="minutes between checkpoints, from which a killed run goes on"
    )
    checkpoints_kept: Count = Field(default=2, description="checkpoints kept, the newest ones")
    tensorboard: bool = Field(
        default=False,
        description="write the history for TensorBoard too; needs `pip install genebert[tensorboard]`",
    )

    @model_validator(mode="after")
    def _required_gpu_is_asked_for(self) -> Self:
        if self.require_gpu and self.gpus == 0:
            raise ValueError("require_gpu with gpus 0; ask for a GPU or require none")
        return self
