"""Keys of the tasks, a section a type."""

from abc import abstractmethod
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from genebert.config.kinds import ContigStyle, Count, Section, Source, Text
from genebert.config.names import TaskType

_Seed = Annotated[int, Field(ge=0)]


class Task(Section):
    """What every task has."""

    type: TaskType = Field(description="kind of task")
    max_examples: Count | None = Field(
        default=None,
        description="only so many examples of each class in each split and cell type, a fixed draw; all "
        "models see the same",
    )
    seed: _Seed = Field(default=1, description="seed of what the task draws (negatives, subsets)")
    models: Annotated[list[Text], Field(min_length=1)] | None = Field(
        default=None,
        description="models of this task only; otherwise those of `benchmarks.models` that apply to it",
    )

    @abstractmethod
    def sources(self) -> dict[str, str]:
        """Return the source of each input file by key."""

    def bases(self) -> int | None:
        """Return the bp of an example, None where the files or the catalogue decide."""
        return None

    def cell_types(self) -> list[str]:
        """Return the cell types that must be of a sample."""
        own = getattr(self, "cell_type", "any")
        return [] if own == "any" else [own]


class PromoterTask(Task):
    """Promoters against places that are none."""

    type: Literal["promoter"] = Field(description="windows around TSS")
    tss: Source = Field(
        description="BED6 whose 5' ends are TSS, or a GTF: those of its protein-coding genes"
    )
    tss_offset: Annotated[int, Field(ge=0)] = Field(
        default=0,
        description="bp from the 5' end of an interval to its TSS: 49 for EPDnew's BED files, whose "
        "intervals begin upstream",
    )
    contig_style: ContigStyle = Field(
        default="as_is", description="rename the file's contigs to `ucsc` or `ensembl` style"
    )
    upstream: Annotated[int, Field(ge=0)] = Field(default=249, description="bp before the TSS")
    downstream: Annotated[int, Field(ge=0)] = Field(default=50, description="bp after the TSS")
    negatives: Literal["gc_matched", "deepromoter", "dinucleotide_shuffle"] = Field(
        default="gc_matched",
        description="places of the same GC content; promoters of which 12 of 20 parts are randomised; "
        "or promoters shuffled with their dinucleotides kept",
    )
    negative_distance: Annotated[int, Field(ge=0)] = Field(
        default=1000, description="bp that `gc_matched` negatives keep from every TSS window"
    )
    cell_type: Text = Field(
        default="any", description="cell type whose open regions are columns; `any`: open in one"
    )

    @model_validator(mode="after")
    def _has_what_to_shuffle(self) -> Self:
        if self.negatives != "gc_matched" and self.bases() < 20:
            raise ValueError(
                f"{self.bases()} bp are too few to make {self.negatives} negatives of; use 20 at least"
            )
        return self

    def sources(self) -> dict[str, str]:
        """See :meth:`Task.sources`."""
        return {"tss": self.tss}

    def bases(self) -> int:
        """See :meth:`Task.bases`."""
        return self.upstream + self.downstream + 1


class TfbsTask(Task):
    """Binding sites of one TF against open regions that it does not bind, in one cell type or across."""

    type: Literal["tfbs"] = Field(description="ChIP-seq peaks of one TF")
    tf: Text = Field(description="name of the TF, as motifs are named")
    motif: Text | None = Field(
        default=None, description="matrix id for `pwm_best`; otherwise the motif whose name is the TF's"
    )
    peaks: dict[Text, Source] = Field(
        min_length=1,
        description="peaks by cell type: narrowPeak, BED, or FASTA with `chrom:start-end` in headers",
    )
    train_in: Text = Field(description="cell type to train in; test is in every one of `peaks`")
    contig_style: ContigStyle = Field(
        default="as_is", description="rename the files' contigs to `ucsc` or `ensembl` style"
    )
    width: Annotated[int, Field(ge=20)] = Field(
        default=200, description="bp of an example, around the summit or middle of a peak"
    )
    negative_distance: Annotated[int, Field(ge=0)] = Field(
        default=0, description="bp that negatives keep from every peak of their cell type"
    )

    @model_validator(mode="after")
    def _trains_where_peaks_are(self) -> Self:
        if self.train_in not in self.peaks:
            raise ValueError(
                f"train_in '{self.train_in}' has no peaks; use one of {', '.join(self.peaks)}"
            )
        return self

    def sources(self) -> dict[str, str]:
        """See :meth:`Task.sources`."""
        return {f"peaks.{cell_type}": source for cell_type, source in self.peaks.items()}

    def cell_types(self) -> list[str]:
        """See :meth:`Task.cell_types`."""
        return list(self.peaks)

    def bases(self) -> int:
        """See :meth:`Task.bases`."""
        return self.width


class SplicingTask(Task):
    """Splice donors and acceptors against decoys with GT or AG of the same genes."""

    type: Literal["splicing"] = Field(description="donor, acceptor or neither")
    annotation: Source = Field(
        description="GTF, or a table of gene, chrom, strand, start, end, exon_starts, exon_ends"
    )
    contig_style: ContigStyle = Field(
        default="as_is", description="rename the file's contigs to `ucsc` or `ensembl` style"
    )
    width: Annotated[int, Field(ge=20)] = Field(
        default=400, description="bp of an example, the first or last exonic base in its middle"
    )
    decoys: Count = Field(default=1, description="decoys a site, half of them GT and half AG")
    drop_paralogs: bool = Field(
        default=False, description="leave out held-out genes that share sequence with training genes"
    )
    score_genes: bool = Field(
        default=False,
        description="also score every position of the held-out genes: only then are figures comparable "
        "with SpliceAI-400's",
    )

    def sources(self) -> dict[str, str]:
        """See :meth:`Task.sources`."""
        return {"annotation": self.annotation}

    def bases(self) -> int:
        """See :meth:`Task.bases`."""
        return self.width


class AccessibilityTask(Task):
    """Whether a region is open in a cell type held out of pre-training and training (`cell_types`)."""

    type: Literal["accessibility"] = Field(description="open or closed, across cell types")

    def sources(self) -> dict[str, str]:
        """See :meth:`Task.sources`."""
        return {}


class LabelledTask(Task):
    """Labelled sequences as CSV files: GUE, Nucleotide Transformer tasks, Genomic Benchmarks."""

    type: Literal["labelled"] = Field(description="CSV files of `sequence,label`")
    folder: Text = Field(description="folder or URL that holds the files")
    train: Text = Field(default="train.csv", description="file of the training examples")
    dev: Text | None = Field(
        default="dev.csv",
        description="file of the validation examples; null: every tenth training example, by a hash",
    )
    test: Text = Field(default="test.csv", description="file of the test examples")
    crop: Count | None = Field(
        default=None, description="keep only so many bp in the middle of longer sequences"
    )
    shots: Count | None = Field(
        default=None, description="train on so many examples of each class, a fixed draw"
    )

    def sources(self) -> dict[str, str]:
        """See :meth:`Task.sources`."""
        files = {"train": self.train, "dev": self.dev, "test": self.test}
        folder = self.folder.rstrip("/")
        return {key: f"{folder}/{name}" for key, name in files.items() if name is not None}


class VariantsTask(Task):
    """Variants that matter against ones that do not."""

    type: Literal["variants"] = Field(description="effects of variants")
    variants: Source = Field(
        description="VCF, or a table (TSV, CSV, Parquet) of chrom, pos (from 1), ref, alt and a label"
    )
    contig_style: ContigStyle = Field(
        default="as_is", description="rename the file's contigs to `ucsc` or `ensembl` style"
    )
    label: Text = Field(default="label", description="column of the label, or INFO key of a VCF")
    positive: list[Text] = Field(
        default=["1", "true"], min_length=1, description="label values of variants that matter"
    )
    negative: list[Text] = Field(
        default=["0", "false"],
        min_length=1,
        description="label values of variants that do not; rows with other values are left out, counted",
    )
    group: Text | None = Field(
        default=None,
        description="column of matched sets (TraitGym: `match_group`), or INFO key of a VCF: a set "
        "stays in one fold",
    )
    indels: Literal["refuse", "drop", "keep"] = Field(
        default="drop", description="what to do with insertions and deletions"
    )
    width: Annotated[int, Field(ge=20)] = Field(
        default=300, description="bp around a variant that models see"
    )
    folds: Annotated[int, Field(ge=2)] = Field(
        default=5,
        description="folds of the cross-validation, by chromosome; by `block_bp` where there are fewer",
    )
    cell_type: Text = Field(
        default="any", description="cell type whose open regions are columns; `any`: open in one"
    )

    def sources(self) -> dict[str, str]:
        """See :meth:`Task.sources`."""
        return {"variants": self.variants}

    def bases(self) -> int:
        """See :meth:`Task.bases`."""
        return self.width


class CohortTask(Task):
    """Individuals with and without a phenotype, from the burden of their variants on each region."""

    type: Literal["cohort"] = Field(description="case or control, from genotypes")
    genotypes: Source = Field(description="VCF of the cohort, with genotypes")
    phenotypes: Source = Field(
        description="TSV of sample, the phenotype (1 case, 0 control) and covariates"
    )
    contig_style: ContigStyle = Field(
        default="as_is", description="rename the VCF's contigs to `ucsc` or `ensembl` style"
    )
    phenotype: Text = Field(default="phenotype", description="column of the phenotype")
    covariates: list[Text] = Field(
        default=[], description="columns of covariates: sex, principal components"
    )
    simulated: bool = Field(
        default=False, description="the phenotype is simulated, and called so wherever it appears"
    )
    indels: Literal["refuse", "drop", "keep"] = Field(
        default="drop", description="what to do with insertions and deletions"
    )
    max_frequency: Annotated[float, Field(gt=0, le=1)] = Field(
        default=1.0, description="only variants whose alternate allele is at most this frequent here"
    )
    width: Annotated[int, Field(ge=20)] = Field(
        default=300, description="bp around a variant that models see"
    )
    folds: Annotated[int, Field(ge=2)] = Field(default=5, description="outer folds; inner ones are 3")
    permutations: Annotated[int, Field(ge=0)] = Field(
        default=200, description="permutations of the phenotype for the test; 0 for none"
    )
    cell_type: Text = Field(
        default="any", description="cell type whose open regions bear the burden; `any`: open in one"
    )

    def sources(self) -> dict[str, str]:
        """See :meth:`Task.sources`."""
        return {"genotypes": self.genotypes, "phenotypes": self.phenotypes}

    def bases(self) -> int:
        """See :meth:`Task.bases`."""
        return self.width


AnyTask = Annotated[
    PromoterTask
    | TfbsTask
    | SplicingTask
    | AccessibilityTask
    | LabelledTask
    | VariantsTask
    | CohortTask,
    Field(discriminator="type"),
]
TASKS: dict[str, type[Task]] = {
    "promoter": PromoterTask,
    "tfbs": TfbsTask,
    "splicing": SplicingTask,
    "accessibility": AccessibilityTask,
    "labelled": LabelledTask,
    "variants": VariantsTask,
    "cohort": CohortTask,
}
