"""Frozen features, and a logistic regression on them: what pre-training knows without fine-tuning."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from genebert.benchmarks import hugging_face
from genebert.benchmarks.answer import Answer, Question
from genebert.benchmarks.dataset import Dataset
from genebert.benchmarks.examples import Sequences, examples_of, in_batches
from genebert.benchmarks.regressed import by_features
from genebert.config import Inputs
from genebert.devices import use_threads
from genebert.embed import check_bases, pooled_features
from genebert.errors import GenebertError
from genebert.model.checkpoint import load_model
from genebert.model.genebert import GeneBERT


def answer(question: Question) -> Answer:
    """Answer by a regression on the frozen features of the question's model."""
    use_threads(question.settings.threads, question.device)
    of_codes = sequence_encoder(question)
    if of_codes is not None:
        return by_features(question, of_codes(question.dataset.codes), of_codes)
    return by_features(question, encoder(question)(question.dataset))


def inputs_of(question: Question) -> Inputs:
    """Return the inputs of the question's model; a baseline that has weights sees both."""
    return question.model.inputs or "both"


def load_backbone(question: Question) -> GeneBERT:
    """Return the pre-trained model of a question, on the CPU, checked against its examples.

    Raises
    ------
    GenebertError
        If there are no weights, they are of other motifs, or examples do not fit the model's length.
    """
    if question.weights is None:
        raise GenebertError(
            f"model '{question.model.name}' needs the weights of its variant", "name their folder"
        )
    backbone, _ = load_model(question.weights, question.corpus.motif_digest)
    if inputs_of(question) != "region":
        dataset = question.dataset
        where = f"benchmarks.tasks.{dataset.metadata['task']}"
        check_bases(backbone, dataset.codes.shape[1], where)
    return backbone


def sequence_encoder(question: Question) -> Callable[[np.ndarray], np.ndarray] | None:
    """Return what turns base codes uint8 [n, length] into features float32 [n, width].

    None where the model looks at more than sequence.

    Parameters
    ----------
    question
        Its model is a GeneBERT or a Hugging Face encoder, whose weights stay as they are.

    Raises
    ------
    GenebertError
        As :func:`load_backbone`, or as :func:`genebert.benchmarks.hugging_face.load`.
    """
    device = question.device
    if question.model.source is not None:
        loaded = hugging_face.load(question.model.source)
        return lambda codes: hugging_face.embed(loaded, codes, device)
    if inputs_of(question) != "sequence":
        return None
    features = _features(question)
    return lambda codes: in_batches(features, Sequences(codes, device), np.arange(len(codes)), device)


def encoder(question: Question) -> Callable[[Dataset], np.ndarray]:
    """Return what turns examples into features float32 [n, width], as :func:`sequence_encoder` does.

    The examples may be others than the question's own, such as their alternatives, with columns of the
    same corpus.
    """
    of_codes = sequence_encoder(question)
    if of_codes is not None:
        return lambda dataset: of_codes(dataset.codes)
    features, inputs = _features(question), inputs_of(question)

    def embed(dataset: Dataset) -> np.ndarray:
        examples = examples_of(question, inputs, dataset)
        return in_batches(features, examples, np.arange(len(dataset.table)), question.device)

    return embed


def _features(question: Question) -> Callable[..., torch.Tensor]:
    backbone = load_backbone(question).to(question.device).eval()
    return partial(pooled_features, backbone, inputs_of(question))
