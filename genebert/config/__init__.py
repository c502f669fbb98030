"""The configuration, once: typed models that validate it and from which every other form is made.

``make forms`` writes ``config/config.yaml``, the schema under ``workflow/schemas/`` and the table of
``config/README.md`` from them; a test fails when a committed form and the models disagree.
This package imports nothing heavy: a dry run of the workflow loads it.
"""

from genebert.config.benchmarks import Benchmarks, Finetune
from genebert.config.data import Downloads, Genome, HeldOutCellTypes, Motifs, Peaks, Regions, Split
from genebert.config.kinds import Baseline, ContigStyle, Inputs, Masking, Section
from genebert.config.model import (
    OBJECTIVES,
    Compute,
    Model,
    Pretrain,
    RegionEncoder,
    SequenceEncoder,
    Variant,
)
from genebert.config.names import BASELINES, DETERMINISTIC, ModelName, Readout, TaskType, parse_model
from genebert.config.read import load, parse_section, read_yaml, validate
from genebert.config.tasks import (
    TASKS,
    AccessibilityTask,
    CohortTask,
    LabelledTask,
    PromoterTask,
    SplicingTask,
    Task,
    TfbsTask,
    VariantsTask,
)
from genebert.config.whole import Config

__all__ = [
    "BASELINES",
    "DETERMINISTIC",
    "OBJECTIVES",
    "TASKS",
    "AccessibilityTask",
    "Baseline",
    "Benchmarks",
    "CohortTask",
    "Compute",
    "Config",
    "ContigStyle",
    "Downloads",
    "Finetune",
    "Genome",
    "HeldOutCellTypes",
    "Inputs",
    "LabelledTask",
    "Masking",
    "Model",
    "ModelName",
    "Motifs",
    "Peaks",
    "Pretrain",
    "PromoterTask",
    "Readout",
    "RegionEncoder",
    "Regions",
    "Section",
    "SequenceEncoder",
    "SplicingTask",
    "Split",
    "Task",
    "TaskType",
    "TfbsTask",
    "Variant",
    "VariantsTask",
    "load",
    "parse_model",
    "parse_section",
    "read_yaml",
    "validate",
]
