"""Keys of the benchmarks."""

from typing import Annotated

from pydantic import Field

from genebert.config.kinds import Count, Positive, Section, Text, Weight
from genebert.config.tasks import AnyTask

# Names of tasks are folders and parts of file names: tfbs.CTCF_GM12878.
TASK_NAME = r"^[A-Za-z0-9_]+([.-][A-Za-z0-9_]+)*$"

_ENCODE = "https://www.encodeproject.org/files/{0}/@@download/{0}.bed.gz"
_GENCODE = (
    "https://ftp.ebi.ac.uk/pub/databases/gencode/Gencode_human/release_46/gencode.v46.annotation.gtf.gz"
)
_CTCF = {"GM12878": _ENCODE.format("ENCFF796WRU"), "K562": _ENCODE.format("ENCFF396BZQ")}
_TRAITGYM = (
    "https://huggingface.co/datasets/songlab/TraitGym/resolve/main/{}_traits_matched_9/test.parquet"
)


class Finetune(Section):
    """Fine-tuning, one protocol for every network and task."""

    learning_rates: list[Positive] = Field(
        default=[3.0e-5, 1.0e-4, 3.0e-4, 1.0e-3],
        min_length=1,
        description="peak learning rates of AdamW, a trial each; the validation loss chooses",
    )
    epochs: Count = Field(default=20, description="most passes over the training examples in a trial")
    patience: Count = Field(default=4, description="epochs without a better validation loss")
    max_steps: Count | None = Field(
        default=None, description="most optimiser steps of a trial, however many the epochs would take"
    )
    batch_size: Count = Field(default=32, description="examples a step")
    weight_decay: Weight = Field(default=0.01, description="AdamW, matrices only")
    threads: Count = Field(
        default=1, description="CPU threads; the same number gives the same results, bit for bit"
    )


class Benchmarks(Section):
    """What is compared with what."""

    tasks: dict[Annotated[str, Field(pattern=TASK_NAME)], AnyTask] = Field(
        examples=[
            {
                "promoter": {"type": "promoter", "tss": _GENCODE},
                **{
                    f"tfbs.CTCF_{cell_type}": {
                        "type": "tfbs",
                        "tf": "CTCF",
                        "train_in": cell_type,
                        "peaks": _CTCF,
                    }
                    for cell_type in _CTCF
                },
                "splicing": {
                    "type": "splicing",
                    "annotation": _GENCODE,
                    "drop_paralogs": True,
                    "max_examples": 20_000,
                },
                "accessibility": {"type": "accessibility", "max_examples": 20_000},
                **{
                    f"variants.{kind}": {
                        "type": "variants",
                        "variants": _TRAITGYM.format(kind),
                        # The file says 1 where the genome says chr1.
                        "contig_style": "ucsc",
                        "group": "match_group",
                    }
                    for kind in ("mendelian", "complex")
                },
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
            "multimodal.both.probe",
            "untrained_probe",
            "multimodal.sequence.llr",
            "sequence_only.sequence.llr",
            "scratch.sequence.llr",
            "multimodal.both.distance",
            "sequence_only.sequence.distance",
            "scratch.both.distance",
            "kmer_logistic",
            "motif_logistic",
            "gc_only",
            "occupancy_only",
            "pwm_best",
            "allele_count",
            "cnn",
            "deepromoter",
            "cdil",
        ],
        min_length=1,
        description="`variant.inputs` (sequence, region, both) is fine-tuned; with `.probe`, `.llr` or "
        "`.distance` after it, it stays as it is; `hf:<id or folder>` is any Hugging Face DNA encoder; "
        "or the name of a baseline. Each runs on the tasks it applies to",
    )
    finetune: Finetune = Field(default=Finetune(), description="see there")
    block_bp: Count = Field(
        default=1_000_000, description="bp of the blocks of which intervals are bootstrapped"
    )
