"""Networks that are fitted to a task: a GeneBERT, a Hugging Face encoder, or one from scratch."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from torch import nn

from genebert.benchmarks import hugging_face, probe
from genebert.benchmarks.answer import Answer, Question
from genebert.benchmarks.baselines.networks import NETWORKS
from genebert.benchmarks.examples import Examples, Sequences, examples_of, probabilities
from genebert.benchmarks.finetune import Classifier, fit
from genebert.benchmarks.regressed import held_out
from genebert.devices import use_threads


@dataclass(frozen=True)
class Learner:
    """A network to be fitted.

    Attributes
    ----------
    make
        Makes it anew.
    examples
        What it sees of the dataset.
    of_codes
        The same of any base codes, where it sees nothing else.
    facts
        Where it comes from.
    """

    make: Callable[[], nn.Module]
    examples: Examples
    of_codes: Callable[[np.ndarray], Examples] | None
    facts: dict[str, Any]


def answer(question: Question) -> Answer:
    """Answer by a network, fitted by the protocol of :mod:`genebert.benchmarks.finetune`."""
    use_threads(question.settings.threads, question.device)
    learner, device = learner_of(question), question.device
    network, facts = fit(
        learner.make, learner.examples, question.dataset, question.settings, question.seed, device
    )
    facts |= learner.facts | {"parameters": sum(own.numel() for own in network.parameters())}
    rows = held_out(question.dataset)
    scores = probabilities(network, learner.examples, rows, device)
    of_codes = learner.of_codes
    if of_codes is None:
        return Answer(scores, facts, question.dataset.table.iloc[rows])

    def of_sequences(codes: np.ndarray) -> np.ndarray:
        return probabilities(network, of_codes(codes), np.arange(len(codes)), device)

    return Answer(scores, facts, question.dataset.table.iloc[rows], of_sequences)


def learner_of(question: Question) -> Learner:
    """Return the network that a question names, and what it sees."""
    model, dataset, device = question.model, question.dataset, question.device
    classes = len(dataset.classes)
    if model.name in NETWORKS:
        return Learner(
            partial(NETWORKS[model.name], dataset.codes.shape[1], classes),
            Sequences(dataset.codes, device),
            lambda codes: Sequences(codes, device),
            {},
        )
    if model.source is not None:
        encoder = hugging_face.load(model.source)
        return Learner(
            partial(hugging_face.make_classifier, encoder, classes),
            hugging_face.Tokens(encoder, dataset.codes, device),
            lambda codes: hugging_face.Tokens(encoder, codes, device),
            {"source": encoder.source, "revision": encoder.revision},
        )
    backbone, inputs = probe.load_backbone(question), probe.inputs_of(question)
    return Learner(
        lambda: Classifier(copy.deepcopy(backbone), inputs, classes),
        examples_of(question, inputs),
        (lambda codes: Sequences(codes, device)) if inputs == "sequence" else None,
        {},
    )
