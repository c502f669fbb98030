"""What a pre-trained model says of variants, having seen no label."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
import torch.nn.functional as F

from genebert.benchmarks import hugging_face
from genebert.benchmarks.alleles import on_other_strand, with_alternatives
from genebert.benchmarks.answer import Question
from genebert.benchmarks.dataset import Dataset
from genebert.benchmarks.examples import EVALUATION_BATCH, Matrices, Sequences
from genebert.benchmarks.probe import inputs_of, load_backbone
from genebert.corpus.place import open_corpus
from genebert.corpus.sample import reverse_complement
from genebert.devices import use_threads
from genebert.errors import GenebertError
from genebert.model.genebert import GeneBERT
from genebert.sequence.hidden_bases import base_probability, central_token
from genebert.sequence.tokens import MASK

_LEAST = torch.finfo(torch.float32).tiny
# Rows int64 [B] -> features float32 [2 strands, B, width].
_Reader = Callable[[torch.Tensor], torch.Tensor]


def effects(question: Question) -> np.ndarray:
    """Return float64 [n], how likely each variant is to matter, by the readout of the question's model.

    ``llr``: −(log p(alternate) − log p(reference)) of bases that the model cannot see
    (:func:`likelihood_ratios`). ``distance``: between the features of the two alleles
    (:func:`distances`). Both are the mean of the two strands.

    Raises
    ------
    GenebertError
        If ``llr`` is asked of insertions or deletions, or the weights do not fit.
    """
    if question.model.readout == "distance":
        return distances(question)
    assert question.model.readout == "llr"
    _refuse_indels(question.dataset)
    use_threads(question.settings.threads, question.device)
    model = load_backbone(question).to(question.device)
    return likelihood_ratios(model, question.dataset, question.device)


def likelihood_ratios(model: GeneBERT, dataset: Dataset, device: str) -> np.ndarray:
    """Return float64 [n], log p(reference) − log p(alternate), the mean of both strands.

    Every token that holds a base in which the alleles differ is masked, so that both alleles are the
    same to the network: one pass a strand. The probability of a base is that which its central token
    gives it, summed over k-mers, as :mod:`genebert.sequence.hidden_bases` has it. Where several bases
    differ, their log-ratios are summed.

    Parameters
    ----------
    model
        On the device.
    dataset
        Variants that do not change the length.
    device
        To compute on, in single precision.
    """
    assert dataset.alternative_codes is not None
    examples = [Sequences(codes, device) for codes in (dataset.codes, dataset.alternative_codes)]
    rows = torch.arange(len(dataset.table), device=device)
    model.eval()
    parts = []
    for batch in rows.split(EVALUATION_BATCH):
        alleles = [own.batch(batch)[0] for own in examples]
        forward = _log_ratio(model, *alleles)
        reverse = _log_ratio(model, *map(reverse_complement, alleles))
        parts.append(-(forward + reverse) / 2)
    return torch.cat(parts).cpu().numpy()


@torch.no_grad()
def _log_ratio(model: GeneBERT, reference: torch.Tensor, alternative: torch.Tensor) -> torch.Tensor:
    """Return float64 [B], log p(alternate) − log p(reference) of base codes uint8 [B, length]."""
    k = model.tokenizer.k
    differ = reference != alternative
    ids = model.tokenizer(reference)
    masked = F.pad(differ.unfold(1, k, 1).any(-1), (1, 1))
    hidden = model.sequence_encoder(ids.masked_fill(masked, MASK))
    sample, base = differ.nonzero(as_tuple=True)
    place, offset = central_token(base, reference.shape[1] - k + 1, k)
    logits = model.masked_sequence_head(hidden[sample, place], model.sequence_encoder.token.weight)
    log_probability = base_probability(logits, offset, k).clamp(min=_LEAST).double().log()
    each = torch.arange(len(sample), device=differ.device)
    ratio = torch.zeros(differ.shape, dtype=torch.float64, device=differ.device)
    ratio[sample, base] = (
        log_probability[each, alternative[sample, base].long()]
        - log_probability[each, reference[sample, base].long()]
    )
    return ratio.sum(1)


def distances(question: Question) -> np.ndarray:
    """Return float64 [n], the cosine distance of the alleles' features, the mean of both strands.

    0 where the model sees no difference. Features of both inputs are joined.
    """
    parts = [
        cosine_distance(reference, alternative).mean(0)
        for reference, alternative in allele_features(question)
    ]
    return torch.cat(parts).cpu().numpy()


def cosine_distance(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Return float64 [...], 1 − cosine of features [..., width]; no rounding where they are near."""
    units = [F.normalize(features.double(), dim=-1) for features in (left, right)]
    return (units[0] - units[1]).square().sum(-1) / 2


def _refuse_indels(dataset: Dataset) -> None:
    """Refuse a dataset that has insertions or deletions, or does not say that it has none."""
    metadata = dataset.metadata
    if metadata.get("indels", 1):
        task = metadata["task"]
        raise GenebertError(
            f"the likelihood ratio of an insertion or deletion is not defined, and task '{task}' has "
            f"{metadata.get('indels', 'some')}: {metadata.get('first_indel', 'not named')}",
            "set the task's `indels: drop`, or ask for `.distance` instead of `.llr`",
            f"benchmarks.tasks.{task}",
        )


def allele_features(question: Question) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield the features of batches of variants, float32 [2 strands, B, width] of either allele.

    An allele that equals the other has its features, bit for bit. Networks compute in single precision
    on every device: in bfloat16 one base in 300 is lost in rounding.

    Parameters
    ----------
    question
        Its model is a GeneBERT, of which ``region`` sees the focal column of either allele between the
        same neighbours, or a Hugging Face encoder.
    """
    use_threads(question.settings.threads, question.device)
    dataset = question.dataset
    readers = _readers(question)
    rows = torch.arange(len(dataset.table), device=question.device)
    for batch in rows.split(EVALUATION_BATCH):
        with torch.no_grad():
            reference, alternative = (reader(batch) for reader in readers)
        yield reference, alternative


def _readers(question: Question) -> tuple[_Reader, _Reader]:
    if question.model.source is not None:
        return _readers_of_hugging_face(question, question.model.source)
    dataset, device = question.dataset, question.device
    inputs = inputs_of(question)
    model = load_backbone(question).to(device).eval()
    needs_corpus = inputs != "sequence" and bool((dataset.columns >= 0).any())
    corpus = open_corpus(question.corpus_folder, device) if needs_corpus else None

    def reader(own: Dataset) -> _Reader:
        sequences = Sequences(own.codes, device)
        matrices = None if inputs == "sequence" else Matrices(own, model.motifs, corpus, device)

        def read(rows: torch.Tensor) -> torch.Tensor:
            parts = []
            if inputs != "region":
                (codes,) = sequences.batch(rows)
                strands = codes, reverse_complement(codes)
                parts.append(torch.stack([model.sequence_features(strand) for strand in strands]))
            if matrices is not None:
                _, matrix, present = matrices.batch(rows)
                parts.append(model.region_features(matrix, present).expand(2, -1, -1))
            return torch.cat(parts, dim=-1)

        return read

    return reader(dataset), reader(with_alternatives(dataset))


def _readers_of_hugging_face(question: Question, source: str) -> tuple[_Reader, _Reader]:
    device = question.device
    encoder = hugging_face.load(source)
    pooled = hugging_face.Pooled(encoder.network, exact=True).to(device).eval()

    def reader(own: Dataset) -> _Reader:
        strands = [
            hugging_face.Tokens(encoder, strand.codes, device) for strand in (own, on_other_strand(own))
        ]
        return lambda rows: torch.stack([pooled(*tokens.batch(rows)) for tokens in strands])

    return reader(question.dataset), reader(with_alternatives(question.dataset))
