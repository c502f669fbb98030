"""What networks take: operations, activations and weights, and how long they compute on what."""

from collections.abc import Collection
from dataclasses import dataclass

from genebert.config import Inputs, Model
from genebert.model.flops import region_encoder_flops, sequence_encoder_flops, view_flops
from genebert.model.windows import ceil_to
from genebert.plan.constants import constants
from genebert.sequence.vocabulary import vocabulary_size

# Of the operations of a training pass, those of the forward pass alone.
FORWARD = 1 / 3
# Of `random_span`, the share of tokens that are predicted.
_HIDDEN = 0.15
# Of the activations that a training pass keeps, those that a forward pass alone holds at a time.
KEPT_FORWARD = 1 / 4


@dataclass(frozen=True)
class Work:
    """What networks compute.

    Attributes
    ----------
    flops
        Operations of matrix products.
    elements
        Numbers that layers give, each once.
    steps
        Passes, whatever their size.
    """

    flops: float = 0.0
    elements: float = 0.0
    steps: float = 0.0

    def __add__(self, other: "Work") -> "Work":
        """Return both."""
        return Work(self.flops + other.flops, self.elements + other.elements, self.steps + other.steps)

    def times(self, views: float, share: float = 1.0) -> "Work":
        """Return the work on so many views, or on a share of each."""
        return Work(self.flops * views * share, self.elements * views * share, self.steps)

    def cpu_seconds(self) -> float:
        """Return the CPU seconds that it takes without a GPU."""
        rates = constants()["training"]
        return self.flops * rates["seconds_of_a_flop"] + self.elements * rates["seconds_of_an_element"]

    def gpu_seconds(self) -> float:
        """Return the seconds that one GPU takes: by its peak, and never below those of launching."""
        gpu = constants()["gpu"]
        at_peak = self.flops / (gpu["peak_bf16_tflops"] * 1e12 * gpu["utilisation"])
        return max(at_peak, self.steps * gpu["seconds_of_a_step"])


def pretraining_view(model: Model, motifs: int, width: int, group: int, wanted: Collection[str]) -> Work:
    """Return the work on one view of a pre-training, both passes."""
    tokens = width - model.sequence.k + 3
    counted = set(wanted) & {"masked_sequence", "masked_region", "matching"}
    if set(wanted) & {"next_segment", "motif_target"}:  # heads apart, what masking costs
        counted.add("masked_sequence")
    flops = view_flops(model, motifs, tokens, _HIDDEN * tokens, group, counted)
    sequence = bool({"masked_sequence", "matching"} & counted)
    region = bool({"masked_region", "matching"} & counted)
    return Work(flops, elements(model, motifs, tokens, sequence, region))


def example(model: Model, motifs: int, bases: int, inputs: Inputs) -> Work:
    """Return the work on one example of a task, both passes."""
    tokens = max(1, bases - model.sequence.k + 3)
    sequence, region = inputs != "region", inputs != "sequence"
    flops = sequence_encoder_flops(model.sequence, tokens) if sequence else 0
    flops += region_encoder_flops(model.region, motifs, model.columns) if region else 0
    return Work(flops, elements(model, motifs, tokens, sequence, region))


def elements(model: Model, motifs: int, tokens: int, sequence: bool, region: bool) -> float:
    """Return how many numbers the layers of the encoders give for one view."""
    total = 0.0
    if sequence:
        own = model.sequence
        total += own.layers * tokens * (8 * own.width + 2 * own.feedforward)
    if region:
        rows = ceil_to(motifs, model.region.patch[0]) // model.region.patch[0]
        columns = ceil_to(model.columns, model.region.patch[1]) // model.region.patch[1]
        channels = model.region.width
        for depth in model.region.depths:
            total += depth * rows * columns * 16 * channels
            rows, columns, channels = -(-rows // 2), -(-columns // 2), 2 * channels
    return total


def weights(model: Model, motifs: int) -> int:
    """Return about how many weights a network has."""
    own, region = model.sequence, model.region
    total = (vocabulary_size(own.k) + own.positions + own.width) * own.width
    total += own.layers * (4 * own.width**2 + 2 * own.width * own.feedforward)
    channels = region.width
    for stage, depth in enumerate(region.depths):
        total += depth * 12 * channels**2 + (8 * channels**2 if stage else 0)
        channels *= 2
    kmers = 4**own.k
    return total + (kmers + motifs + own.width + channels) * model.projection


def activations_mb(work: Work, views: float) -> float:
    """Return the MB of what a training keeps of so many views at a time."""
    return work.elements * views * constants()["training"]["bytes_of_an_element"] / 1e6
