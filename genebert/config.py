"""The configuration, once: typed models that validate it and from which every other form is made.

``make forms`` writes ``config/config.yaml``, the schema under ``workflow/schemas/`` and the table of
``config/README.md`` from them; a test fails when a committed form and the models disagree.
This module imports nothing heavy: a dry run of the workflow loads it.
"""

import difflib
import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar, get_args

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from genebert.errors import GenebertError

Inputs = Literal["sequence", "region", "both"]
Baseline = Literal["kmer_logistic", "motif_logistic"]
ContigStyle = Literal["as_is", "ucsc", "ensembl"]

# The shortest example that every model can read: one k-mer of the largest k.
MIN_EXAMPLE_BP = 6
_NAME = r"[A-Za-z0-9_]+"
_INTERVAL = re.compile(r"^[^\s:]+(:\d+-\d+)?$")


def _yaml_number(value: Any) -> Any:
    # YAML 1.1 reads 1e-4 as text: it asks for a dot and a signed exponent (1.0e-4).
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+", value):
        return float(value)
    return value


def _interval(value: str) -> str:
    chrom, colon, span = value.rpartition(":")
    value = f"{chrom}{colon}{span.replace(',', '').replace('_', '')}" if colon else value
    if not _INTERVAL.match(value):
        raise ValueError("write `chrom` or `chrom:start-end` (bp, 0-based half-open)")
    if ":" in value:
        start, end = value.rsplit(":", 1)[1].split("-")
        if int(start) >= int(end):
            raise ValueError("start must be smaller than end")
    return value


def _folder(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_./][A-Za-z0-9_./-]*", value):
        raise ValueError("no folder name; use letters, digits, '_', '.', '-' and '/', no spaces")
    return value


Number = Annotated[float, Field(allow_inf_nan=False), BeforeValidator(_yaml_number)]
Positive = Annotated[Number, Field(gt=0)]
Fraction = Annotated[Number, Field(ge=0, lt=1)]
Weight = Annotated[Number, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
IntervalText = Annotated[str, AfterValidator(_interval)]
Text = Annotated[str, Field(min_length=1)]


class Section(BaseModel):
    """A group of keys: unknown keys and wrong types are refused, values cannot change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


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
    variants: dict[Annotated[str, Field(pattern=f"^{_NAME}$")], Variant] = Field(
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


class PromoterTask(Section):
    """Promoters against genomic places of the same GC content."""

    type: Literal["promoter"] = Field(default="promoter", description="kind of task")
    tss: Text = Field(examples=["data/tss.bed.gz"], description="BED6 of TSS; the strand counts")
    contig_style: ContigStyle = Field(
        default="as_is", description="rename the file's contigs to `ucsc` or `ensembl` style"
    )
    upstream: Annotated[int, Field(ge=0)] = Field(default=249, description="bp before the TSS")
    downstream: Annotated[int, Field(ge=0)] = Field(default=50, description="bp after the TSS")
    negatives: Literal["gc_matched"] = Field(default="gc_matched", description="how negatives are drawn")
    negative_distance: Annotated[int, Field(ge=0)] = Field(
        default=1000, description="bp that negatives keep from every TSS window"
    )
    cell_type: Text = Field(
        default="any", description="cell type whose open regions are columns; `any`: open in one"
    )
    seed: Annotated[int, Field(ge=0)] = Field(default=1, description="seed of the draw of negatives")


class Finetune(Section):
    """Fine-tuning, one protocol for every model and task."""

    epochs: Count = Field(default=20, description="most passes over the training examples")
    patience: Count = Field(default=4, description="epochs without a better validation loss")
    batch_size: Count = Field(default=32, description="examples a step")
    learning_rate: Positive = Field(default=1.0e-4, description="peak learning rate of AdamW")
    weight_decay: Weight = Field(default=0.01, description="AdamW, matrices only")
    threads: Count = Field(
        default=1, description="CPU threads; the same number gives the same results, bit for bit"
    )


class Benchmarks(Section):
    """What is compared with what."""

    tasks: dict[Annotated[str, Field(pattern=f"^{_NAME}$")], PromoterTask] = Field(
        examples=[{"promoter": {"tss": "data/tss.bed.gz"}}],
        min_length=1,
        description="tasks by name",
    )
    models: list[Text] = Field(
        default=[
            "multimodal.both",
            "multimodal.sequence",
            "sequence_only.sequence",
            "scratch.both",
            "scratch.sequence",
            "kmer_logistic",
            "motif_logistic",
        ],
        min_length=1,
        description="`variant.inputs` (sequence, region, both) or the name of a baseline",
    )
    finetune: Finetune = Field(default=Finetune(), description="see there")
    block_bp: Count = Field(
        default=1_000_000, description="bp of the blocks of which intervals are bootstrapped"
    )


class Config(Section):
    """Everything a run of the workflow depends on."""

    results_dir: Annotated[str, AfterValidator(_folder)] = Field(
        default="results", description="folder of all outputs; one dataset, one folder"
    )
    samples: Text = Field(
        examples=["config/biosamples.tsv"], description="sheet of peak files, a row a sample"
    )
    genome: Genome = Field(description="see there")
    regions: Regions = Field(default=Regions(), description="see there")
    motifs: Motifs = Field(description="see there")
    model: Model = Field(default=Model(), description="see there")
    seeds: list[Annotated[int, Field(ge=0)]] = Field(
        default=[1, 2, 3], min_length=1, description="one pre-training and one run per seed"
    )
    pretrain: Pretrain = Field(default=Pretrain(), description="see there")
    benchmarks: Benchmarks = Field(description="see there")

    BASELINES: ClassVar[tuple[str, ...]] = get_args(Baseline)

    @model_validator(mode="after")
    def _sections_agree(self) -> Self:
        sequence = self.model.sequence
        tokens = self.regions.width - sequence.k + 3
        if tokens > sequence.positions:
            raise ValueError(
                f"regions.width {self.regions.width} makes {tokens} tokens, more than "
                f"model.sequence.positions {sequence.positions}; narrow one or raise the other"
            )
        for name, task in self.benchmarks.tasks.items():
            bases = task.upstream + task.downstream + 1
            if bases < MIN_EXAMPLE_BP:
                raise ValueError(
                    f"benchmarks.tasks.{name} has windows of {bases} bp, fewer than {MIN_EXAMPLE_BP}; "
                    "raise upstream or downstream"
                )
            tokens = bases - sequence.k + 3
            if tokens > sequence.positions:
                raise ValueError(
                    f"benchmarks.tasks.{name} makes {tokens} tokens, more than "
                    f"model.sequence.positions {sequence.positions}; shorten its window"
                )
        for key, values in (
            ("seeds", list(map(str, self.seeds))),
            ("benchmarks.models", self.benchmarks.models),
        ):
            if twice := sorted({value for value in values if values.count(value) > 1}):
                raise ValueError(f"{key} names {', '.join(twice)} twice; name each once")
        for model in self.benchmarks.models:
            self._check_model(model)
        return self

    def _check_model(self, model: str) -> None:
        if model in self.BASELINES:
            return
        variant, dot, inputs = model.partition(".")
        if not dot:
            raise ValueError(
                f"benchmarks.models names '{model}', no baseline; write `variant.inputs` or one of "
                f"{', '.join(self.BASELINES)}"
            )
        if variant not in self.pretrain.variants:
            raise ValueError(
                f"benchmarks.models names '{model}', but there is no such variant; use one of "
                f"pretrain.variants: {', '.join(self.pretrain.variants)}"
            )
        allowed = self.pretrain.variants[variant].inputs()
        if inputs not in allowed:
            raise ValueError(
                f"benchmarks.models names '{model}', inputs that the objectives of '{variant}' do not "
                f"train; write {' or '.join(f'{variant}.{name}' for name in sorted(allowed))}"
            )


S = TypeVar("S", bound=Section)


def validate(raw: Any, where: str) -> Config:
    """Return the typed configuration of parsed YAML.

    Parameters
    ----------
    raw
        What the YAML parser or Snakemake made of the file.
    where
        The file's name, for the message.

    Raises
    ------
    GenebertError
        For the first unknown key, wrong type or impossible combination, with key, value and fix.
    """
    return parse_section(Config, raw, where)


def load(path: str | Path) -> Config:
    """Read and validate one YAML file."""
    try:
        raw = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise GenebertError(f"cannot read {path}: {error.strerror}", "correct the path") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        raise GenebertError(
            f"{path} is not valid YAML: {getattr(error, 'problem', error)}",
            "mend the syntax (indentation, colons, quotes)",
            where="" if line is None else f"line {line + 1}",
        ) from None
    return validate(raw, str(path))


def parse_section(model: type[S], raw: Any, where: str) -> S:
    """Validate one section; errors as in :func:`validate`."""
    if not isinstance(raw, dict):
        raise GenebertError("the configuration is no mapping of keys", "write `key: value`", where)
    try:
        return model.model_validate(_plain(raw))
    except ValidationError as error:
        raise _readable(model, error, where) from None


def _plain(raw: Any) -> Any:
    # Snakemake hands over OrderedDicts and tuples; strict models want plain ones.
    if isinstance(raw, dict):
        return {key: _plain(value) for key, value in raw.items()}
    if isinstance(raw, list | tuple):
        return [_plain(value) for value in raw]
    return raw


def _readable(model: type[Section], error: ValidationError, where: str) -> GenebertError:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    value = first["input"]
    shown = "" if isinstance(value, dict | Section) else f" = {value!r}"
    if first["type"] == "extra_forbidden":
        known = sorted(_known_keys(model, first["loc"][:-1]))
        close = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
        fix = f"did you mean '{close[0]}'?" if close else f"known keys here: {', '.join(known)}"
        return GenebertError(f"unknown key '{key}'{shown}", fix, where)
    if first["type"] == "missing":
        return GenebertError(f"key '{key}' is missing", "add it; config/README.md explains it", where)
    message = first["msg"].removeprefix("Value error, ")
    what, _, fix = message.partition("; ")
    named = f"'{key}'{shown}: " if key else ""
    return GenebertError(
        f"{named}{what}", fix or "correct the value; config/README.md explains the key", where
    )


def _known_keys(model: type[Section], location: tuple[int | str, ...]) -> list[str]:
    section: Any = model
    for part in location:
        if isinstance(section, type) and issubclass(section, Section):
            section = section.model_fields[str(part)].annotation
        else:  # the values of a mapping, such as pretrain.variants
            section = get_args(section)[1]
    return list(section.model_fields)
