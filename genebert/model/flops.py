"""What a training step computes at least: multiplications and additions of its matrix products.

A product of [m, k] and [k, n] is 2·m·k·n operations, and a weight takes part in three: the output, the
gradient of the input, the gradient of the weight. A weight that is used n times hence costs 6·n
operations, 4·n where the input is data and needs no gradient. Attention of L queries to S keys
multiplies queries with keys and shares with values: 2 · 2·L·S·width, three times with gradients.
Looked-up embeddings, norms, softmax and activations count nothing; what is computed again to save
memory does not count twice.
"""

from collections.abc import Collection

from genebert.config import Model, RegionEncoder, SequenceEncoder
from genebert.model.windows import filled_up
from genebert.sequence.vocabulary import vocabulary_size


def sequence_encoder_flops(settings: SequenceEncoder, tokens: int) -> int:
    """Return the operations on one sequence, forward and backward: 6 × weights + 12 × width × tokens."""
    weights = 4 * settings.width**2 + 2 * settings.width * settings.feedforward
    return settings.layers * tokens * (6 * weights + 12 * settings.width * tokens)


def region_encoder_flops(settings: RegionEncoder, motifs: int, columns: int) -> int:
    """Return the operations on one matrix, forward and backward.

    Windows are counted as they are computed, filled up where the grid is no multiple of them.
    """
    down, right = settings.patch
    rows, width = -(-motifs // down), -(-columns // right)
    channels = settings.width
    total = 4 * rows * width * down * right * channels  # patches are data
    for stage, depth in enumerate(settings.depths):
        if stage > 0:
            rows, width = -(-rows // 2), -(-width // 2)
            total += 6 * rows * width * 4 * channels * 2 * channels
            channels *= 2
        whole_rows, whole_width, window_rows, window_width = filled_up(rows, width, settings.window)
        attended = 6 * 4 * channels**2 + 12 * window_rows * window_width * channels
        total += depth * whole_rows * whole_width * attended
        total += depth * rows * width * 6 * 8 * channels**2
    return total


def view_flops(
    settings: Model, motifs: int, tokens: int, hidden: float, group: int, objectives: Collection[str]
) -> float:
    """Return the operations on one view, forward and backward, of some objectives together.

    Parameters
    ----------
    settings
        Sizes of the network.
    motifs
        T, rows of a matrix.
    tokens
        Of a sequence, special ones included.
    hidden
        Tokens of it that are predicted, on average.
    group
        Samples among which ``matching`` finds the right pair.
    objectives
        Those pursued, of ``masked_sequence``, ``masked_region``, ``matching``; each encoder runs once.
    """
    width, projection = settings.sequence.width, settings.projection
    scale = 2 ** (len(settings.region.depths) - 1)
    block = [side * scale for side in settings.region.patch]
    blocks = -(-motifs // block[0]) * -(-settings.columns // block[1])
    channels = settings.region.width * scale
    vocabulary = vocabulary_size(settings.sequence.k)
    kmers = 4**settings.sequence.k

    total = 0.0
    if {"masked_sequence", "matching"} & set(objectives):
        total += sequence_encoder_flops(settings.sequence, tokens)
    if {"masked_region", "matching"} & set(objectives):
        total += region_encoder_flops(settings.region, motifs, settings.columns)
    if "masked_sequence" in objectives:
        total += 6 * hidden * (width**2 + width * vocabulary)
    if "masked_region" in objectives:
        total += 6 * blocks * channels * block[0] * block[1]
    if "matching" in objectives:
        total += 4 * (tokens * width + blocks * channels)  # pooling: the mean's weights are data
        total += 4 * (kmers + motifs) * projection  # direct paths: of data
        total += 6 * (width + channels) * projection + 6 * group * projection
    return total
