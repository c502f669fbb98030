"""What a pre-training starts from: initial weights, and what masking and objectives need to know."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from genebert.config import Model as ModelSettings
from genebert.config import Pretrain as Settings
from genebert.config import Variant
from genebert.corpus.hits import PlacedHits, motifs_of_corpus, read_hits
from genebert.corpus.manifest import read_manifest
from genebert.corpus.read import Corpus
from genebert.errors import GenebertError
from genebert.files import digest_of, sha256
from genebert.model.genebert import GeneBERT
from genebert.model.hugging_face import load_bert
from genebert.motifs.table import motif_probabilities
from genebert.pretrain.history import say
from genebert.pretrain.npmi_table import read_npmi
from genebert.pretrain.prepare import Knowledge
from genebert.pretrain.statistics import mean_composition, row_statistics
from genebert.sequence.masking import calibrated_rate
from genebert.versions import STAGES

# Training regions that the rate of `motif` masking is calibrated on, at most.
CALIBRATION_REGIONS = 2000


class Sources(NamedTuple):
    """Files beside the corpus.

    Attributes
    ----------
    motifs
        Table made by ``genebert motifs``: for ``motif`` masking and ``motif_target``.
    npmi
        Table made by ``genebert npmi``: for ``genemask``, ``global_pmi`` and the curricula.
    """

    motifs: Path | None = None
    npmi: Path | None = None

    def digest(self, variant: Variant) -> str:
        """Return a hash of those that a variant reads."""
        read = ((self.motifs, variant.needs_motifs()), (self.npmi, variant.needs_npmi()))
        return digest_of([sha256(path) if path and needed else None for path, needed in read])


def initial_model(settings: ModelSettings, variant: Variant, seed: int, corpus: Corpus) -> GeneBERT:
    """Return the network before its first step: variants of one seed start from the same weights."""
    torch.manual_seed(seed)
    model = GeneBERT(settings, len(corpus.metadata.motifs))
    mean, std = row_statistics(corpus)
    model.row_mean.copy_(torch.from_numpy(mean))
    model.row_std.copy_(torch.from_numpy(std))
    model.composition_mean.copy_(mean_composition(model, corpus))
    if variant.init_from is not None:
        say(load_bert(model, variant.init_from))
    return model


def initial_digest(variant: Variant) -> str:
    """Return a hash of the weights that the sequence encoder starts from."""
    if variant.init_from is None:
        return "random"
    return digest_of({path.name: sha256(path) for path in _initial_files(variant)})


def _initial_files(variant: Variant) -> list[Path]:
    if variant.init_from is None:
        return []
    return sorted(path for path in Path(variant.init_from).iterdir() if path.is_file())


def files_read(corpus_folder: str | Path, sources: Sources, variant: Variant) -> list[Path]:
    """Return the files that a variant is made from; the manifest stands for the corpus."""
    files = [Path(corpus_folder) / "manifest.json"]
    if sources.motifs is not None and variant.needs_motifs():
        files.append(sources.motifs)
    if sources.npmi is not None and variant.needs_npmi():
        files.append(sources.npmi)
    return files + _initial_files(variant)


def identity_of(
    model: ModelSettings,
    settings: Settings,
    variant_name: str,
    seed: int,
    corpus_folder: str | Path,
    sources: Sources,
    held_out: Sequence[str] = (),
) -> dict[str, str]:
    """Return all that decides the result of a training, by name: its checkpoints are marked with it."""
    variant, manifest = settings.variants[variant_name], read_manifest(corpus_folder)
    return {
        "model": digest_of(model.model_dump(exclude={"preset"})),
        "pre-training settings": digest_of(settings.model_dump(exclude={"variants"})),
        "variant": digest_of([variant_name, variant.model_dump()]),
        "seed": str(seed),
        "corpus": digest_of([part["sha256"] for part in manifest["parts"]]),
        "motif order": manifest["metadata"]["motif_digest"],
        "held-out cell types": digest_of(sorted(held_out)),
        "initial weights": initial_digest(variant),
        "tables": sources.digest(variant),
        "stage version": str(STAGES["pretrain"]),
    }


def check_corpus(corpus: Corpus, settings: ModelSettings) -> None:
    """Refuse a corpus that the network cannot read, or of which nothing can be learnt.

    Raises
    ------
    GenebertError
        If regions are wider than the network's positions, or a cell type has no open region in the
        training split.
    """
    width, positions = corpus.metadata.width, settings.sequence.positions
    if (tokens := width - settings.sequence.k + 3) > positions:
        raise GenebertError(
            f"regions of {width} bp make {tokens} tokens, more than the network's {positions} positions",
            "raise model.sequence.positions, or use a corpus of narrower regions (regions.width)",
        )
    region = np.repeat(np.arange(corpus.regions), np.diff(corpus.open_offsets))
    training = corpus.open_cell_type[corpus.in_split("train")[region]]
    names = corpus.metadata.cell_types
    counts = np.bincount(training, minlength=len(names))
    if empty := [name for name, number in zip(names, counts, strict=True) if number == 0]:
        raise GenebertError(
            f"no region of the training split is open in {', '.join(empty)}",
            "hold out less of the genome (genome.split), or drop the cell type's rows from the sheet",
        )


def gather_knowledge(
    corpus: Corpus,
    folder: str | Path,
    sources: Sources,
    variant: Variant,
    model: GeneBERT,
    device: str,
) -> Knowledge:
    """Read what the variant's masking and objectives need beside the corpus' columns.

    Raises
    ------
    GenebertError
        If a file that is needed was not named, or is of another corpus or of other held-out cell types.
    """
    knowledge = Knowledge()
    if variant.needs_npmi():
        path = _needed(sources.npmi, "--npmi", f"masking {variant.masking}")
        npmi = read_npmi(path, model.tokenizer.k, corpus.metadata.catalogue, corpus.held_out)
        knowledge = knowledge._replace(npmi=torch.from_numpy(npmi).to(device))
    if variant.needs_motifs():
        what = "motif_target" if variant.motif_target else "masking motif"
        table = motifs_of_corpus(_needed(sources.motifs, "--motifs", what), corpus.metadata)
        pwm, widths = motif_probabilities(table)
        hits = PlacedHits(read_hits(folder), widths, device)
        knowledge = knowledge._replace(hits=hits, pwm=torch.from_numpy(pwm).to(device))
        if variant.masked_sequence and variant.masking == "motif":
            rate = _calibrated(hits, corpus, model.tokenizer.k, device)
            knowledge = knowledge._replace(rate=rate)
    return knowledge


def _calibrated(hits: PlacedHits, corpus: Corpus, k: int, device: str) -> float:
    """Return the rate of masking hits that hides what other strategies hide, by training regions."""
    regions = np.flatnonzero(corpus.viewed("train"))
    regions = regions[:: -(-len(regions) // CALIBRATION_REGIONS)]
    focal = torch.from_numpy(regions).to(device)
    width = corpus.metadata.width
    found = hits.of(focal, torch.zeros_like(focal, dtype=torch.bool), width)
    return calibrated_rate(found.start, found.end, torch.full_like(focal, width), k)


def _needed(path: Path | None, option: str, what: str) -> Path:
    if path is None:
        raise GenebertError(f"{what} needs {option}", "name the table that the workflow makes")
    return path
