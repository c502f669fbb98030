"""The whole configuration, and what its sections must agree on."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from genebert.config.batches import part_size
from genebert.config.benchmarks import Benchmarks
from genebert.config.data import Downloads, Genome, HeldOutCellTypes, Motifs, Peaks, Regions
from genebert.config.kinds import MIN_EXAMPLE_BP, Given, ResultsFolder, Section, source_of_key
from genebert.config.model import Compute, Model, Pretrain
from genebert.config.names import MANDATORY, ModelName, parse_model
from genebert.config.tasks import Task
from genebert.errors import GenebertError
from genebert.inputs.sheet import LONGEST_NAME


class Config(Section):
    """Everything a run of the workflow depends on."""

    results_dir: ResultsFolder = Field(
        default="results", description="folder of all outputs; one dataset, one folder"
    )
    samples: Given = Field(
        examples=["config/biosamples.tsv"], description="sheet of peak files, a row a sample"
    )
    downloads: Downloads = Field(default=Downloads(), description="see there")
    genome: Genome = Field(description="see there")
    cell_types: HeldOutCellTypes = Field(default=HeldOutCellTypes(), description="see there")
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

    @model_validator(mode="after")
    def _sections_agree(self) -> Self:
        sequence = self.model.sequence
        tokens = self.regions.width - sequence.k + 3
        if tokens > sequence.positions:
            raise ValueError(
                f"regions.width {self.regions.width} makes {tokens} tokens, more than "
                f"model.sequence.positions {sequence.positions}; narrow one or raise the other"
            )
        for key, names in (
            ("pretrain.variants", self.pretrain.variants),
            ("benchmarks.tasks", self.benchmarks.tasks),
        ):
            if long := [name for name in names if len(name) > LONGEST_NAME]:
                raise ValueError(
                    f"{key} has a name of {len(long[0])} characters; shorten it to {LONGEST_NAME}"
                )
        for key, text in self.sources().items():
            source_of_key(key, text)
        self._check_batches()
        for name, variant in self.pretrain.variants.items():
            if sequence.k == 1 and variant.needs_npmi():
                raise ValueError(
                    f"pretrain.variants.{name} ranks k-mers by NPMI, which single bases have none of; "
                    "raise model.sequence.k or set its masking to random_span"
                )
        tasks = self.benchmarks.tasks
        rates = list(map(str, self.benchmarks.finetune.learning_rates))
        for key, values in (
            ("seeds", list(map(str, self.seeds))),
            ("benchmarks.models", self.benchmarks.models),
            *((f"benchmarks.tasks.{name}.models", task.models or []) for name, task in tasks.items()),
            ("benchmarks.finetune.learning_rates", rates),
            ("cell_types", self.cell_types.all()),
        ):
            if twice := sorted({value for value in values if values.count(value) > 1}):
                raise ValueError(f"{key} names {', '.join(twice)} twice; name each once")
        if self.benchmarks.tasks:
            self._check_models("benchmarks.models", self.benchmarks.models)
        for name, task in self.benchmarks.tasks.items():
            self._check_task(name, task)
        self._check_folders()
        return self

    def _check_batches(self) -> None:
        """Refuse batches that the devices could not share out, before hours of scanning."""
        most, settings = self.compute.batch_per_device, self.pretrain
        for name, variant in settings.variants.items():
            matched = variant.matching or not variant.trained
            group = settings.matching_group if matched else 1
            devices = self.compute.nodes * max(1, self.compute.gpus) if variant.trained else 1
            keys = ("batch_size", "evaluation_views") if variant.trained else ("evaluation_views",)
            for key in keys:
                views = getattr(settings, key)
                if part_size(views, most, group, devices) is None:
                    raise ValueError(
                        f"pretrain.{key} {views} of variant {name} cannot be shared out among {devices} "
                        f"device(s) of at most {most} views in whole matching groups of {group}; raise "
                        f"compute.batch_per_device, lower matching_group, or make {key} a multiple of "
                        "matching_group × compute.gpus × compute.nodes"
                    )

    def sources(self) -> dict[str, str]:
        """Return the source of every input file that the configuration itself names, by key."""
        named = {
            "genome.fasta": self.genome.fasta,
            "genome.blacklist": self.genome.blacklist,
            "peaks.mappable": self.peaks.mappable,
            "motifs.file": self.motifs.file,
            "motifs.families": self.motifs.families,
        } | {
            f"benchmarks.tasks.{name}.{key}": source
            for name, task in self.benchmarks.tasks.items()
            for key, source in task.sources().items()
        }
        return {key: text for key, text in named.items() if text is not None}

    def _named_models(self) -> list[str]:
        lists = [self.benchmarks.models, *(t.models or [] for t in self.benchmarks.tasks.values())]
        return [text for own in lists for text in own] if self.benchmarks.tasks else []

    def model_texts(self) -> dict[str, str]:
        """Return every model as the configuration writes it, by the name of its folder."""
        return {parse_model(text).name: text for text in self._named_models()}

    def models_of(self, task: str) -> list[ModelName]:
        """Return the models that a task compares: those named that apply, and the mandatory ones."""
        settings = self.benchmarks.tasks[task]
        names = settings.models if settings.models is not None else self.benchmarks.models
        models = [parse_model(name) for name in names]
        models += [parse_model(name) for name in MANDATORY.get(settings.type, ()) if name not in names]
        return [model for model in models if model.applies_to(settings.type)]

    def runs(self) -> list[tuple[str, str, int]]:
        """Return task, model and seed of every run; what draws nothing is run with the first seed."""
        return [
            (task, model.name, seed)
            for task in self.benchmarks.tasks
            for model in self.models_of(task)
            for seed in (self.seeds[:1] if model.draws_nothing else self.seeds)
        ]

    def named_cell_types(self) -> list[tuple[str, str]]:
        """Return every cell type that must be of a sample, with the key that names it."""
        tasks = self.benchmarks.tasks.items()
        return [
            *(("cell_types", name) for name in self.cell_types.all()),
            *(
                (f"benchmarks.tasks.{task}", name)
                for task, settings in tasks
                for name in settings.cell_types()
            ),
        ]

    def checked_model(self, task: str, text: str) -> ModelName:
        """Read the name of a model that is asked for on a task by a path.

        Raises
        ------
        GenebertError
            If it is none, or does not apply to the task.
        """
        try:
            model = parse_model(text)
            self._check_variant("the path", model)
        except ValueError as error:
            what, _, fix = str(error).partition("; ")
            raise GenebertError(f"no such model: {what}", fix) from None
        kind = self.benchmarks.tasks[task].type
        if not model.applies_to(kind):
            raise GenebertError(f"'{text}' does not apply to a task of type {kind}", "ask for another")
        return model

    def untrained(self) -> str | None:
        """Return the variant without pre-training, if there is one."""
        return next((name for name, v in self.pretrain.variants.items() if not v.trained), None)

    def sequence_only(self) -> str | None:
        """Return the variant that was pre-trained on sequences alone, if there is one."""
        named = self.pretrain.variants.items()
        return next((name for name, v in named if v.trained and v.inputs() == {"sequence"}), None)

    def variant_of(self, model: ModelName) -> str | None:
        """Return the variant whose weights a model starts from, if any."""
        if model.name == "untrained_probe":
            return self.untrained()
        return model.variant

    def _check_task(self, name: str, task: Task) -> None:
        """Refuse a task whose examples no model could read, or whose models do not fit."""
        key, bases, sequence = f"benchmarks.tasks.{name}", task.bases(), self.model.sequence
        if bases is not None and bases < MIN_EXAMPLE_BP:
            raise ValueError(
                f"{key} has windows of {bases} bp, fewer than {MIN_EXAMPLE_BP}; widen its window"
            )
        if bases is not None and bases - sequence.k + 3 > sequence.positions:
            raise ValueError(
                f"{key} makes {bases - sequence.k + 3} tokens, more than "
                f"model.sequence.positions {sequence.positions}; shorten its window"
            )
        if task.type == "accessibility" and not (self.cell_types.validation and self.cell_types.test):
            raise ValueError(
                f"{key} needs cell types that are held out; name some in cell_types.validation and "
                "cell_types.test"
            )
        if task.models is not None:
            self._check_models(f"{key}.models", task.models)
            for model in map(parse_model, task.models):
                if not model.applies_to(task.type):
                    raise ValueError(
                        f"{key}.models names '{model.name}', which does not apply to a task of type "
                        f"{task.type}; remove it"
                    )
        if not self.models_of(name):
            raise ValueError(
                f"{key} has no model: none of benchmarks.models applies to type {task.type}; add one"
            )

    def _check_models(self, key: str, names: list[str]) -> None:
        for name in names:
            try:
                model = parse_model(name)
            except ValueError as error:
                raise ValueError(f"{key}: {error}") from None
            self._check_variant(key, model)

    def _check_folders(self) -> None:
        """Refuse two models, of whatever tasks, whose results would be called alike."""
        texts = self.model_texts()
        for text in self._named_models():
            other = texts[parse_model(text).name]
            if other != text:
                one, two = sorted((other, text))
                raise ValueError(
                    f"models '{one}' and '{two}' would share a folder of results; rename one"
                )

    def _check_variant(self, key: str, model: ModelName) -> None:
        if model.name == "untrained_probe" and self.variant_of(model) is None:
            raise ValueError(
                f"{key} names untrained_probe, but no variant is untrained; add "
                "`scratch: {trained: false}` to pretrain.variants"
            )
        if model.variant is None:
            return
        if model.variant not in self.pretrain.variants:
            raise ValueError(
                f"{key} names '{model.name}', but there is no such variant; use one of "
                f"pretrain.variants: {', '.join(self.pretrain.variants)}"
            )
        variant = self.pretrain.variants[model.variant]
        if model.inputs not in variant.inputs():
            allowed = " or ".join(f"{model.variant}.{name}" for name in sorted(variant.inputs()))
            raise ValueError(
                f"{key} names '{model.name}', inputs that the objectives of '{model.variant}' do not "
                f"train; write {allowed}"
            )
        if model.readout == "llr" and not (variant.masked_sequence or not variant.trained):
            raise ValueError(
                f"{key} names '{model.name}', but '{model.variant}' was not trained to fill in bases; "
                "give it the objective masked_sequence"
            )
