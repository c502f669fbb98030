"""What a task asks, and what must be known to read its figures."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

_NEGATIVES = {
    "gc_matched": "places of the same GC content away from promoters",
    "deepromoter": "promoters of which 12 of 20 parts are randomised",
    "dinucleotide_shuffle": "promoters shuffled with their dinucleotides kept",
}


def statement(metadata: Mapping[str, Any], simulated: bool, has_positions: bool) -> list[str]:
    """Return what a task is, a sentence each.

    Parameters
    ----------
    metadata
        Of its dataset: type, classes, settings, and what the task keeps besides.
    simulated
        Whether the labels are simulated.
    has_positions
        Whether some model scored every position of the held-out genes.
    """
    found = _WHAT[metadata["type"]](metadata, metadata["settings"])
    if metadata["type"] == "splicing":
        found += _of_comparison(has_positions)
    if simulated:
        found.append(
            "The phenotype is SIMULATED: the figures show that a method finds what was planted, and say "
            "nothing of a disease."
        )
    return found


def _promoter(_: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    return [
        f"Promoters, from {settings['upstream']} bp before to {settings['downstream']} bp after a "
        f"transcription start site, against {_NEGATIVES[settings['negatives']]}."
    ]


def _tfbs(metadata: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    others = [name for name in settings["peaks"] if name != settings["train_in"]]
    found = [
        f"Binding of {settings['tf']}: {settings['width']} bp around ChIP-seq peaks against regions "
        "open in the same cell type, of the same GC content, that hold no peak. Trained in "
        f"{settings['train_in']}" + (f", also tested in {', '.join(others)}." if others else ".")
    ]
    if without := metadata.get("without_neighbours"):
        found.append(
            f"Examples of {', '.join(without)} have no neighbouring columns: their peaks lie outside "
            "the genome in use."
        )
    return found


def _splicing(_: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    return [
        f"Donor, acceptor or neither: {settings['width']} bp around splice sites, and around decoys "
        f"with GT or AG in the same genes, {settings['decoys']} a site. The area under precision and "
        "recall is the mean of donors and acceptors."
    ]


def _of_comparison(has_positions: bool) -> list[str]:
    if has_positions:
        return [
            "Figures on decoys are not comparable with SpliceAI-400's; those of `positions`, every "
            "position of the held-out genes, are as far as annotation and genes agree."
        ]
    return ["Not comparable with SpliceAI-400, which scores every position of its held-out genes."]


def _accessibility(_: Mapping[str, Any], __: Mapping[str, Any]) -> list[str]:
    return [
        "Whether a region is open in a cell type held out of pre-training and training. The matrix "
        "describes the cell type, from open regions of training chromosomes. What is alike in all cell "
        "types is known from the others (`mean_of_training_cell_types`): a model that understands the "
        "cell type shows it on the loci that vary (`variable`)."
    ]


def _labelled(metadata: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    shots = f" Trained on {settings['shots']} examples of each class." if settings["shots"] else ""
    classes = metadata["classes"]
    return [
        f"Labelled sequences of {len(classes)} classes ({', '.join(classes[:8])}"
        f"{', …' if len(classes) > 8 else ''}), split as published.{shots} Sequences without a place "
        "are bootstrapped one by one."
    ]


def _variants(metadata: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    seen, share = metadata["in_pretraining"], metadata["in_pretraining_fraction"]
    return [
        f"Variants that matter against ones that do not, seen with {settings['width']} bp around them: "
        "scored without training, or in cross-validation by chromosome or block.",
        f"{seen:,} of the variants ({100 * share:.0f} %) lie where pre-training looked, whose "
        "sequences (never labels) a pre-trained model has seen: the part `held_out` holds the others.",
    ]


def _cohort(_: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    covariates = ", ".join(settings["covariates"]) or "none"
    return [
        f"Individuals with and without a phenotype ({settings['phenotype']}), from the burden of their "
        "variants on each region, in nested cross-validation. Individuals are bootstrapped one by one. "
        f"Covariates: {covariates}."
    ]


_WHAT: dict[str, Callable[[Mapping[str, Any], Mapping[str, Any]], list[str]]] = {
    "promoter": _promoter,
    "tfbs": _tfbs,
    "splicing": _splicing,
    "accessibility": _accessibility,
    "labelled": _labelled,
    "variants": _variants,
    "cohort": _cohort,
}


def permutation_tests(facts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what burdens add to covariates, by model of a cohort: gain, p-value, number of draws.

    Parameters
    ----------
    facts
        ``metrics.json`` of each run; of seeds of a model the first counts.
    """
    found: dict[str, dict[str, Any]] = {}
    for run in facts:
        own = run["facts"]
        if own.get("permutations"):
            row = {"model": run["model"], **own}
            found.setdefault(run["model"], row)
    return list(found.values())
