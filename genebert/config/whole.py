"""The whole configuration, and what its sections must agree on."""

from typing import Annotated, ClassVar, Self, get_args

from pydantic import Field, model_validator

from genebert.config.batches import part_size
from genebert.config.benchmarks import Benchmarks
from genebert.config.data import Downloads, Genome, Motifs, Peaks, Regions
from genebert.config.kinds import MIN_EXAMPLE_BP, Baseline, PlainPath, Section, Text
from genebert.config.model import Compute, Model, Pretrain


class Config(Section):
    """Everything a run of the workflow depends on."""

    results_dir: PlainPath = Field(
        default="results", description="folder of all outputs; one dataset, one folder"
    )
    samples: Text = Field(
        examples=["config/biosamples.tsv"], description="sheet of peak files, a row a sample"
    )
    downloads: Downloads = Field(default=Downloads(), description="see there")
    genome: Genome = Field(description="see there")
    peaks: Peaks = Field(default=Peaks(), description="see there")
    regions: Regions = Field(default=Regions(), description="see there")
    motifs: Motifs = Field(description="see there")
    model: Model = Field(default=Model(), description="see there")
    seeds: list[Annotated[int, Field(ge=0)]] = Field(
        default=[1, 2, 3], min_length=1, description="one pre-training and one run per seed"
    )
    pretrain: Pretrain = Field(default=Pretrain(), description="see there")
    compute: Compute = Field(default=Compute(), description="see there")
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
        self._check_batches()
        for name, variant in self.pretrain.variants.items():
            if sequence.k == 1 and variant.needs_npmi():
                raise ValueError(
                    f"pretrain.variants.{name} ranks k-mers by NPMI, which single bases have none of; "
                    "raise model.sequence.k or set its masking to random_span"
                )
        for key, values in (
            ("seeds", list(map(str, self.seeds))),
            ("benchmarks.models", self.benchmarks.models),
        ):
            if twice := sorted({value for value in values if values.count(value) > 1}):
                raise ValueError(f"{key} names {', '.join(twice)} twice; name each once")
        if self.benchmarks.tasks:
            for model in self.benchmarks.models:
                self._check_model(model)
        return self

    def _check_batches(self) -> None:
        """Refuse batches that the devices could not share out, before hours of scanning."""
        most, settings = self.compute.batch_per_device, self.pretrain
        for name, variant in settings.variants.items():
            matched = variant.matching or not variant.trained
            group = settings.matching_group if matched else 1
            devices = max(1, self.compute.gpus) if variant.trained else 1
            keys = ("batch_size", "evaluation_views") if variant.trained else ("evaluation_views",)
            for key in keys:
                views = getattr(settings, key)
                if part_size(views, most, group, devices) is None:
                    raise ValueError(
                        f"pretrain.{key} {views} of variant {name} cannot be shared out among {devices} "
                        f"device(s) of at most {most} views in whole matching groups of {group}; raise "
                        f"compute.batch_per_device, lower matching_group, or make {key} a multiple of "
                        "matching_group × compute.gpus"
                    )

    def sources(self) -> dict[str, str]:
        """Return the source of every input file that the configuration itself names, by key."""
        named = {
            "genome.fasta": self.genome.fasta,
            "genome.blacklist": self.genome.blacklist,
            "peaks.mappable": self.peaks.mappable,
            "motifs.file": self.motifs.file,
            "motifs.families": self.motifs.families,
        } | {f"benchmarks.tasks.{name}.tss": task.tss for name, task in self.benchmarks.tasks.items()}
        return {key: text for key, text in named.items() if text is not None}

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
