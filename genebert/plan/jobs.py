"""Which jobs a run has: those that the workflow makes of the same configuration."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from genebert.config import Config
from genebert.inputs.sheet import Sample
from genebert.plan.sizes import Sizes

# The stage of each rule, in the order in which they run; tasks have a rule a type.
STAGE_OF = {
    "download": "reference",
    "checksums": "reference",
    "index_genome": "reference",
    "preflight": "reference",
    "preflight_task": "reference",
    "peaks": "regions",
    "regions": "regions",
    "motifs": "corpus",
    "scan_motifs": "corpus",
    "corpus": "corpus",
    "manifest": "corpus",
    "npmi": "pretrain",
    "pretrain": "pretrain",
    "embed": "pretrain",
    "attribution": "pretrain",
    "task": "benchmarks",
    "benchmark": "benchmarks",
    "leakage": "benchmarks",
    "summary": "benchmarks",
    "report": "report",
}


@dataclass(frozen=True)
class Job:
    """One job: its rule, and its wildcards."""

    rule: str
    names: dict[str, str]

    @property
    def stage(self) -> str:
        """Of the rule."""
        return STAGE_OF.get(self.rule) or STAGE_OF[self.rule.partition("_")[0]]


def jobs(config: Config, samples: Sequence[Sample], sizes: Sizes) -> Iterator[Job]:
    """Yield every job of a whole run.

    Parameters
    ----------
    config
        The configuration.
    samples
        Rows of its sheet.
    sizes
        Of which the files to fetch are taken.
    """
    chunks, seeds = range(config.motifs.chunks), list(map(str, config.seeds))
    tasks, variants = config.benchmarks.tasks, config.pretrain.variants
    yield from (Job("download", {"place": place}) for place in sizes.fetched)
    yield from (Job(rule, {}) for rule in ("checksums", "index_genome", "preflight"))
    yield from (Job("preflight_task", {"task": name}) for name in tasks)
    yield from (Job("peaks", {"sample": sample.sample}) for sample in samples)
    yield from (Job(rule, {}) for rule in ("regions", "motifs"))
    for rule in ("scan_motifs", "corpus"):
        yield from (Job(rule, {"chunk": f"{chunk:04d}"}) for chunk in chunks)
    yield Job("manifest", {})
    if any(variant.needs_npmi() for variant in variants.values()):
        yield Job("npmi", {})
    for name, variant in variants.items():
        yield from (Job("pretrain", {"variant": name, "seed": seed}) for seed in seeds)
        for rule, inputs in (("embed", "region"), ("attribution", "sequence")):
            if inputs in variant.inputs():
                yield Job(rule, {"variant": name, "seed": seeds[0]})
    yield from (Job(f"task_{task.type}", {"task": name}) for name, task in tasks.items())
    for task_name, model, seed in config.runs():
        yield Job("benchmark", {"task": task_name, "model": model, "seed": str(seed)})
    yield from (Job("leakage", {"task": name}) for name in tasks)
    if tasks:
        yield Job("summary", {})
    yield Job("report", {})
