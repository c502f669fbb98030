"""The configuration, once: typed models that validate it and from which every other form is made.

``make forms`` writes ``config/config.yaml``, the schema under ``workflow/schemas/`` and the table of
``config/README.md`` from them; a test fails when a committed form and the models disagree.
This package imports nothing heavy: a dry run of the workflow loads it.
"""

from genebert.config.benchmarks import Benchmarks, Finetune, PromoterTask
from genebert.config.data import Downloads, Genome, Motifs, Peaks, Regions, Split
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
from genebert.config.read import load, parse_section, validate
from genebert.config.whole import Config

__all__ = [
    "OBJECTIVES",
    "Baseline",
    "Benchmarks",
    "Compute",
    "Config",
    "ContigStyle",
    "Downloads",
    "Finetune",
    "Genome",
    "Inputs",
    "Masking",
    "Model",
    "Motifs",
    "Peaks",
    "Pretrain",
    "PromoterTask",
    "RegionEncoder",
    "Regions",
    "Section",
    "SequenceEncoder",
    "Split",
    "Variant",
    "load",
    "parse_section",
    "validate",
]
