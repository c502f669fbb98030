"""Keys of the benchmarks."""

from typing import Annotated, Literal

from pydantic import Field

from genebert.config.kinds import NAME, ContigStyle, Count, Positive, Section, Source, Text, Weight


class PromoterTask(Section):
    """Promoters against genomic places of the same GC content."""

    type: Literal["promoter"] = Field(default="promoter", description="kind of task")
    tss: Source = Field(
        examples=["data/tss.bed.gz"],
        description="BED6 whose 5' ends are TSS, or a GTF: those of its protein-coding genes",
    )
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

    tasks: dict[Annotated[str, Field(pattern=f"^{NAME}$")], PromoterTask] = Field(
        examples=[
            {
                "promoter": {
                    "tss": "https://ftp.ebi.ac.uk/pub/databases/gencode/Gencode_human/release_46/"
                    "gencode.v46.annotation.gtf.gz"
                }
            }
        ],
        description="tasks by name; none (`{}`) is a run that only pre-trains",
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
