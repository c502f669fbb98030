"""Every model of a classification task: a question in, probabilities of its held-out examples out."""

from genebert.benchmarks import regressed
from genebert.benchmarks.answer import Answer, Question
from genebert.benchmarks.baselines.features import LOGISTIC, SCORES


def answer(question: Question) -> Answer:
    """Fit the question's model and predict the examples that it was not fitted on.

    Every strand is read as it is given; nothing is averaged over both.

    Returns
    -------
    Answer
        Its table is that of the dataset without the training split.

    Raises
    ------
    GenebertError
        If the model needs what the run does not have.
    """
    name, readout = question.model.name, question.model.readout
    if name in (*LOGISTIC, *SCORES):
        return regressed.answer(question)
    # What follows needs torch, for which the baselines above need not wait.
    if readout == "probe" or name == "untrained_probe":
        from genebert.benchmarks import probe  # noqa: PLC0415

        return probe.answer(question)
    from genebert.benchmarks import learner  # noqa: PLC0415

    return learner.answer(question)
