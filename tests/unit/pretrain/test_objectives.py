"""The objectives against plain loops, and what each may see and teach."""

import dataclasses
import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch

from genebert.config import OBJECTIVES, Variant
from genebert.corpus.hits import Hits, PlacedHits
from genebert.corpus.read import Corpus
from genebert.corpus.sample import Batch, Views, place_corpus
from genebert.model.genebert import GeneBERT
from genebert.pretrain.objectives import (
    Outcome,
    add,
    masked_region,
    masked_sequence,
    matching,
    numbers,
    readable,
    run_objectives,
    weighted_loss,
)
from genebert.pretrain.prepare import Knowledge, Prepared, hidden_blocks, prepare
from genebert.pretrain.schedule import adamw
from genebert.sequence.masking import random_span
from genebert.sequence.tokens import MASK

GROUP = 8
EVERYTHING = Variant(masked_sequence=1, masked_region=1, matching=1, next_segment=1, motif_target=1)
# Weights that each objective may teach, by the first word of their names.
TEACHES = {
    "masked_sequence": {"sequence_encoder", "masked_sequence_head"},
    "masked_region": {"region_encoder", "masked_region_head"},
    "next_segment": {"sequence_encoder", "next_segment_head"},
    "motif_target": {"sequence_encoder", "motif_target_head"},
    "matching": {
        "sequence_encoder",
        "region_encoder",
        "composition_path",
        "focal_path",
        "sequence_projection",
        "region_projection",
        "log_scale",
    },
}


def only(name: str, weight: float = 1.0) -> Variant:
    return Variant(**{name: weight})


def views_of(corpus: Corpus) -> Views:
    return Views(place_corpus(corpus), "train", 5)


def draw(corpus: Corpus, samples: int = 16, step: int = 0) -> Batch:
    return views_of(corpus).batch(0, step, torch.arange(samples), augment=True)


Run = Callable[..., dict[str, Outcome]]


@pytest.fixture(scope="module")
def knowledge(synthetic_corpus: Corpus) -> Knowledge:
    """Hits of the motifs that a region's matrix column names, at random places, and random motifs."""
    rng = np.random.default_rng(4)
    region, motif = synthetic_corpus.best.nonzero()
    width = synthetic_corpus.metadata.width
    hits = Hits(
        np.searchsorted(region, np.arange(synthetic_corpus.regions + 1)),
        motif.astype(np.uint16),
        rng.integers(0, width - 5, len(motif)).astype(np.uint16),
        rng.choice(np.array([-1, 1], np.int8), len(motif)),
        width,
    )
    motifs = synthetic_corpus.best.shape[1]
    pwm = rng.dirichlet([0.3] * 4, (motifs, 6)).astype(np.float32)
    return Knowledge(hits=PlacedHits(hits, np.full(motifs, 6), "cpu"), pwm=torch.from_numpy(pwm))


@pytest.fixture
def ready(synthetic_corpus: Corpus, knowledge: Knowledge) -> Callable[..., Prepared]:
    """Make of a batch what the encoders are shown."""
    views = views_of(synthetic_corpus)

    def go(model: GeneBERT, batch: Batch, variant: Variant) -> Prepared:
        return prepare(model, views, batch, variant, "random_span", knowledge, 0.5)

    return go


@pytest.fixture
def run(ready: Callable[..., Prepared], knowledge: Knowledge) -> Run:
    """Run the objectives of a variant on a batch."""

    def go(model: GeneBERT, batch: Batch, variant: Variant) -> dict[str, Outcome]:
        return run_objectives(model, ready(model, batch, variant), variant, knowledge, GROUP)

    return go


def loss_of(outcomes: dict[str, Outcome], variant: Variant) -> torch.Tensor:
    counts = {name: outcome.number for name, outcome in outcomes.items()}
    return weighted_loss(outcomes, counts, variant)


@pytest.fixture
def batch(synthetic_corpus: Corpus) -> Batch:
    return draw(synthetic_corpus)


@pytest.fixture
def model(tiny_model: GeneBERT, randomise: Callable) -> GeneBERT:
    model = randomise(tiny_model)
    model.row_mean.fill_(0.1)
    model.row_std.fill_(0.3)
    return model


def watch(module: torch.nn.Module) -> list[torch.Tensor]:
    """Return a list that the first input of each call is appended to."""
    seen: list[torch.Tensor] = []
    module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach().clone()))
    return seen


@pytest.mark.parametrize("name", OBJECTIVES)
def test_gradients_reach_only_what_the_objective_is_made_of(
    model: GeneBERT, batch: Batch, run: Run, name: str
) -> None:
    loss_of(run(model, batch, only(name)), only(name)).backward()
    reached = {
        parameter.partition(".")[0]
        for parameter, values in model.named_parameters()
        if values.grad is not None and values.grad.abs().max() > 0
    }
    assert reached == TEACHES[name]


def test_only_weighed_objectives_are_run(model: GeneBERT, batch: Batch, run: Run) -> None:
    for name in OBJECTIVES:
        assert set(run(model, batch, only(name))) == {name}
    assert set(run(model, batch, EVERYTHING)) == set(OBJECTIVES)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_what_a_loss_is_divided_by_is_known_before_it_is_run(
    model: GeneBERT,
    batch: Batch,
    ready: Callable[..., Prepared],
    knowledge: Knowledge,
    name: str,
) -> None:
    part = ready(model, batch, only(name))
    before = numbers(part, only(name))
    assert set(before) == {name}
    assert before[name] == run_objectives(model, part, only(name), knowledge, GROUP)[name].number > 0


def changed_under_masks(model: GeneBERT, batch: Batch) -> Batch:
    """Change each base that is seen by [MASK] tokens alone."""
    k = model.tokenizer.k
    ids = model.tokenizer(batch.codes)
    masked = random_span(ids, batch.keys, k).ids == MASK
    covered = torch.ones_like(batch.codes, dtype=torch.bool)
    for row, hidden in enumerate(masked):
        for token in (~hidden[1:-1]).nonzero().flatten().tolist():
            covered[row, token : token + k] = False
    assert covered.sum() > 10
    return batch._replace(codes=torch.where(covered, (batch.codes + 1) % 4, batch.codes))


@torch.no_grad()
def test_masked_tokens_are_predicted_without_a_look_at_them(
    model: GeneBERT, batch: Batch, run: Run
) -> None:
    other = changed_under_masks(model, batch)
    seen = watch(model.masked_sequence_head)
    first = run(model, batch, EVERYTHING)
    second = run(model, other, EVERYTHING)
    torch.testing.assert_close(seen[0], seen[1], rtol=0, atol=0)
    assert first["masked_sequence"].loss != second["masked_sequence"].loss  # the truth did change
    # The direct path of the composition does see it.
    assert first["matching"].loss != second["matching"].loss


@torch.no_grad()
def test_hidden_cells_are_reconstructed_without_a_look_at_them(
    model: GeneBERT, batch: Batch, run: Run
) -> None:
    blocks = hidden_blocks(model, batch, 0.5)
    under = blocks.repeat_interleave(8, 1).repeat_interleave(2, 2)[:, :40, :5]
    assert under[:, :, 2].any()  # the focal column too
    other = batch._replace(matrix=torch.where(under, 1 - batch.matrix, batch.matrix))
    seen = watch(model.masked_region_head)
    first = run(model, batch, EVERYTHING)
    second = run(model, other, EVERYTHING)
    torch.testing.assert_close(seen[0], seen[1], rtol=0, atol=0)
    assert first["masked_region"].loss != second["masked_region"].loss
    assert first["matching"].loss != second["matching"].loss


@torch.no_grad()
def test_matching_alone_reads_unmasked_input(model: GeneBERT, batch: Batch, run: Run) -> None:
    found = run(model, batch, only("matching"))["matching"]
    expected = matching(
        model,
        model.sequence_features(batch.codes),
        model.region_features(batch.matrix, batch.present),
        batch.focal,
        GROUP,
    )
    torch.testing.assert_close(found.loss, expected.loss)
    assert found.score == expected.score


@torch.no_grad()
def test_masked_sequence_equals_plain_cross_entropy(
    model: GeneBERT, batch: Batch, ready: Callable[..., Prepared]
) -> None:
    ids = model.tokenizer(batch.codes)
    masked = random_span(ids, batch.keys, 3)
    hidden = model.sequence_encoder(masked.ids)
    found = masked_sequence(model, hidden, ready(model, batch, only("masked_sequence")))
    head, table = model.masked_sequence_head, model.sequence_encoder.token.weight
    loss, right, count = 0.0, 0, 0
    for row, place in masked.chosen.nonzero().tolist():
        inner = head.norm(torch.nn.functional.gelu(head.dense(hidden[row, place])))
        logits = table @ inner + head.bias
        loss -= float(logits.log_softmax(0)[ids[row, place]])
        right += int(logits.argmax() == ids[row, place])
        count += 1
    assert found.number == count > 50
    assert found.reference == (ids >= 5).sum() == 16 * 58
    assert float(found.loss) == pytest.approx(loss, rel=1e-4)
    assert int(found.score) == right


def test_blocks_are_hidden_at_their_fraction_and_by_their_keys(
    model: GeneBERT, synthetic_corpus: Corpus
) -> None:
    batch = draw(synthetic_corpus, 512)
    hidden = hidden_blocks(model, batch, 0.3)
    assert hidden.shape == (512, 5, 3)
    assert hidden.float().mean().item() == pytest.approx(0.3, abs=0.02)
    part = Batch(*(values[100:108] for values in batch))
    assert torch.equal(hidden_blocks(model, part, 0.3), hidden[100:108])
    assert not hidden_blocks(model, batch, 0.0).any()


@torch.no_grad()
def test_masked_region_counts_hidden_cells_of_present_columns(
    model: GeneBERT, batch: Batch, ready: Callable[..., Prepared]
) -> None:
    present = batch.present.clone()
    present[:4, 0] = False
    blocks = hidden_blocks(model, batch, 0.5)
    part = ready(model, batch._replace(present=present), only("masked_region"))
    matrix = part.matrix
    encoded, _ = model.region_encoder(matrix, present, blocks)
    found = masked_region(model, encoded, part)
    cells = model.masked_region_head.cells
    loss, spread, count = 0.0, 0.0, 0
    for sample in range(len(matrix)):
        for motif in range(40):
            for column in range(5):
                block = (sample, motif // 8, column // 2)  # patch 4 × 1, merged once
                if blocks[block] and present[sample, column]:
                    unit = motif % 8 * 2 + column % 2
                    guess = encoded[block] @ cells.weight[unit] + cells.bias[unit]
                    truth = matrix[sample, motif, column]
                    loss += float((guess - truth) ** 2)
                    spread += float(truth**2)
                    count += 1
    assert found.number == count
    assert float(found.loss) == pytest.approx(loss, rel=1e-4)
    assert float(found.reference) == pytest.approx(spread, rel=1e-4)


@torch.no_grad()
def test_matching_equals_plain_infonce_without_equals_as_rivals(model: GeneBERT) -> None:
    generator = torch.Generator().manual_seed(0)
    sequence = torch.randn(12, model.sequence_width, generator=generator)
    region = torch.randn(12, model.region_width, generator=generator)
    focal = torch.tensor([7, 1, 7, 2, 3, 3, 3, 4, 5, 6, 7, 8])
    group = 4
    found = matching(model, sequence, region, focal, group)
    similarity = model.similarity(sequence, region).tolist()
    loss, right, chance = 0.0, 0, 0.0
    for i in range(12):
        group_of = range(i // group * group, i // group * group + group)
        rivals = [j for j in group_of if j == i or focal[j] != focal[i]]
        for logits in (
            [similarity[i][j] for j in rivals],
            [similarity[j][i] for j in rivals],
        ):
            top = max(logits)
            total = top + math.log(sum(math.exp(x - top) for x in logits))
            loss += 0.5 * (total - similarity[i][i])
        right += max(rivals, key=lambda j: similarity[i][j]) == i
        chance += 1 / len(rivals)
    assert float(found.loss) == pytest.approx(loss, rel=1e-4)
    assert int(found.score) == right
    assert float(found.reference) == pytest.approx(chance)
    assert int(found.number) == 12


@torch.no_grad()
def test_untrained_matching_is_at_its_chance(model: GeneBERT, synthetic_corpus: Corpus) -> None:
    generator = torch.Generator().manual_seed(1)
    sequence = torch.randn(4096, model.sequence_width, generator=generator)
    region = torch.randn(4096, model.region_width, generator=generator)
    focal = torch.randint(0, 30, (4096,), generator=generator)  # many pairs of equals
    figures = readable("matching", matching(model, sequence, region, focal, GROUP))
    assert figures["matching_chance"] > 1 / GROUP
    assert figures["matching_top1"] == pytest.approx(figures["matching_chance"], abs=0.02)


def outcome(loss: float, count: float, score: float = 0.0, reference: float = 0.0) -> Outcome:
    return Outcome(*map(torch.tensor, (loss, count, score, reference)))


def test_total_loss_weighs_the_means() -> None:
    outcomes = {"masked_sequence": outcome(30.0, 10.0), "matching": outcome(8.0, 4.0)}
    variant = Variant(masked_sequence=0.5, matching=3.0)
    assert loss_of(outcomes, variant).item() == pytest.approx(0.5 * 3 + 3 * 2)


def test_an_objective_without_cells_costs_nothing() -> None:
    variant = Variant(masked_region=1.0)
    assert loss_of({"masked_region": outcome(0.0, 0.0)}, variant).item() == 0


def test_figures_of_added_batches_are_those_of_the_whole() -> None:
    whole = add(outcome(6.0, 3.0, 1.0, 0.5), outcome(2.0, 5.0, 3.0, 1.5))
    assert readable("matching", whole) == {
        "matching_loss": 1.0,
        "matching_top1": 0.5,
        "matching_chance": 0.25,
    }
    figures = readable("masked_sequence", whole)
    assert figures["masked_sequence_perplexity"] == pytest.approx(math.e)
    assert readable("masked_region", whole)["masked_region_r2"] == pytest.approx(1 - 8 / 2)
    assert figures["masked_sequence_fraction"] == pytest.approx(8 / 2)


def halves(batch: Batch) -> Iterator[Batch]:
    for start in (0, 8):
        yield Batch(*(values[start : start + 8] for values in batch))


@torch.no_grad()
@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_batch_in_two_parts_gives_the_same_sums(
    model: GeneBERT, batch: Batch, run: Run, name: str
) -> None:
    whole = run(model, batch, only(name))[name]
    parts = [run(model, part, only(name))[name] for part in halves(batch)]
    for field, value in add(*parts)._asdict().items():
        assert float(value) == pytest.approx(float(getattr(whole, field)), rel=1e-4), field


@pytest.mark.parametrize(
    ("name", "steps", "share"),
    [
        ("masked_sequence", 150, 0.2),
        ("masked_region", 300, 0.6),
        ("matching", 60, 0.2),
        ("next_segment", 150, 0.2),
        ("motif_target", 150, 0.2),
    ],
)
def test_sixteen_views_can_be_learnt_by_heart(
    tiny_model: GeneBERT, batch: Batch, run: Run, name: str, steps: int, share: float
) -> None:
    optimiser = adamw(tiny_model, 1e-2, 0.0)
    losses = []
    for _ in range(steps):
        loss = loss_of(run(tiny_model, batch, only(name)), only(name))
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(tiny_model.parameters(), 1.0)
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < share * losses[0]


def test_masked_region_beats_the_mean_of_its_motif(
    tiny_model: GeneBERT, synthetic_corpus: Corpus, run: Run
) -> None:
    """Where every column of a cell type is the same, the visible ones tell the hidden ones."""
    regions = synthetic_corpus.regions
    hits = np.tile([1, 9, 20, 33], (regions, 1)) + synthetic_corpus.split[:, None]
    best = np.zeros((regions, 40), np.uint8)
    np.put_along_axis(best, hits, 128, axis=1)
    same = dataclasses.replace(synthetic_corpus, best=best)
    optimiser = adamw(tiny_model, 1e-2, 0.0)
    for step in range(60):
        outcomes = run(tiny_model, draw(same, 16, step), only("masked_region"))
        optimiser.zero_grad()
        loss_of(outcomes, only("masked_region")).backward()
        optimiser.step()
    tiny_model.eval()
    with torch.no_grad():
        fresh = run(tiny_model, draw(same, 16, 999), only("masked_region"))
    assert readable("masked_region", fresh["masked_region"])["masked_region_r2"] > 0.5
