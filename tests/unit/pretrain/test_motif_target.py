"""The objective `motif_target` against plain loops, and what it teaches."""

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from genebert.config import SequenceEncoder as Settings
from genebert.corpus.hits import BatchHits, Hits, PlacedHits
from genebert.corpus.sample import reverse_complement
from genebert.model.heads import MotifTargetHead
from genebert.model.sequence_encoder import SequenceEncoder
from genebert.motifs.reference import brute_force
from genebert.motifs.table import MotifTable, motif_probabilities
from genebert.pretrain.motif_target import motif_target
from genebert.sequence.tokens import KmerTokenizer

WIDTH = 8
LENGTH = 140
SIZES = (1, 3, 6)


@pytest.fixture(scope="module")
def pwm(few_table: MotifTable) -> torch.Tensor:
    return torch.from_numpy(motif_probabilities(few_table)[0])


@pytest.fixture(scope="module")
def codes() -> torch.Tensor:
    """16 sequences as read: every second one is the reverse complement of its region."""
    sequences = np.random.default_rng(1).integers(0, 4, (16, LENGTH)).astype(np.uint8)
    sequences[3, 10:14] = 4
    return torch.from_numpy(sequences)


@pytest.fixture(scope="module")
def hits(codes: torch.Tensor, few_table: MotifTable) -> BatchHits:
    """All hits of the sequences, as a corpus would give them; the last sequence's are left out."""
    flip = torch.arange(16) % 2 == 1
    forward = torch.where(flip[:, None], reverse_complement(codes), codes)
    texts = ["".join("ACGTN"[code] for code in row) for row in forward[:-1]]
    rows = [brute_force(text, few_table.motifs) for text in texts]
    motif, position, strand, _ = zip(*itertools.chain.from_iterable(rows), strict=True)
    counts = [*map(len, rows), 0]
    assert min(counts[:-1]) > 0
    found = Hits(
        np.cumsum([0, *counts]),
        np.array(motif, np.uint16),
        np.array(position, np.uint16),
        np.array(strand, np.int8),
        LENGTH,
    )
    placed = PlacedHits(found, motif_probabilities(few_table)[1], "cpu")
    return placed.of(torch.arange(16), flip, LENGTH)


def head_and_hidden(
    randomise: Callable, k: int, samples: int = 16
) -> tuple[MotifTargetHead, torch.Tensor]:
    head = randomise(MotifTargetHead(WIDTH, 3), std=0.8)
    generator = torch.Generator().manual_seed(k)
    tokens = LENGTH - k + 3
    return head, torch.randn(samples, tokens, WIDTH, generator=generator, requires_grad=True)


def log_softmax(values: list[float]) -> list[float]:
    total = math.log(sum(math.exp(value) for value in values))
    return [value - total for value in values]


def plain(
    head: MotifTargetHead, hidden: torch.Tensor, hits: BatchHits, pwm: torch.Tensor, k: int
) -> tuple[float, int, float, float]:
    """Return loss, number, score and chance, hit by hit, base by base."""
    loss = score = chance = 0.0
    tokens = hidden.shape[1] - 2
    for sample, vectors in enumerate(hidden.detach()):
        divergences, right, present = [], 0, set()
        for motif, start, end, strand in zip(*(column[sample].tolist() for column in hits), strict=True):
            if motif < 0:
                continue
            present.add(motif)
            columns = pwm[motif, : end - start].tolist()
            if strand < 0:
                columns = [column[::-1] for column in columns[::-1]]
            for base, column in enumerate(columns, start):
                first = min(max(base - (k - 1) // 2, 0), tokens - 1)
                q = log_softmax(head.base(vectors[first + 1]).tolist())
                divergences.append(sum(p * (math.log(p) - q[i]) for i, p in enumerate(column)))
                right += q.index(max(q)) == column.index(max(column))
        if divergences:
            loss += sum(divergences) / len(divergences)
            score += right / len(divergences)
            chance += 0.25
        logits = head.presence(vectors[1:-1].mean(0)).tolist()
        signs = [1 if motif in present else -1 for motif in range(len(logits))]
        loss += sum(math.log1p(math.exp(-s * x)) for s, x in zip(signs, logits, strict=True)) / len(
            logits
        )
    return loss, len(hidden), score, chance


@pytest.mark.parametrize("k", SIZES)
@torch.no_grad()
def test_figures_equal_those_of_plain_loops(
    randomise: Callable, hits: BatchHits, pwm: torch.Tensor, k: int
) -> None:
    head, hidden = head_and_hidden(randomise, k)
    found = motif_target(head, hidden, hits, pwm, k)
    assert [float(value) for value in found] == pytest.approx(
        plain(head, hidden, hits, pwm, k), rel=1e-5
    )
    assert found[1].dtype == torch.int64


def test_sums_over_parts_of_a_batch_add_up_to_those_of_the_batch(
    randomise: Callable, hits: BatchHits, pwm: torch.Tensor
) -> None:
    head, hidden = head_and_hidden(randomise, 3)
    whole = motif_target(head, hidden, hits, pwm, 3)
    parts = [
        motif_target(head, hidden[rows], BatchHits(*(column[rows] for column in hits)), pwm, 3)
        for rows in (slice(0, 5), slice(5, 6), slice(6, 16))
    ]
    for value, of_parts in zip(whole, zip(*parts, strict=True), strict=True):
        torch.testing.assert_close(value, torch.stack(of_parts).sum())


def test_a_sample_without_hits_counts_by_its_absent_motifs_only(
    randomise: Callable, pwm: torch.Tensor
) -> None:
    head, hidden = head_and_hidden(randomise, 3, samples=2)
    for most in (0, 4):
        nothing = torch.zeros(2, most, dtype=torch.int64)
        loss, number, score, chance = motif_target(
            head, hidden, BatchHits(nothing - 1, nothing, nothing, nothing), pwm, 3
        )
        logits = head.presence(hidden[:, 1:-1].mean(1))
        torch.testing.assert_close(loss, torch.nn.functional.softplus(logits).mean(1).sum())
        assert (int(number), float(score), float(chance)) == (2, 0, 0)
        loss.backward()
        assert not head.base.weight.grad.any()
        assert head.presence.weight.grad.any()
        head.zero_grad()


def test_gradients_reach_the_head_and_the_tokens_that_speak_for_a_hit(
    randomise: Callable, hits: BatchHits, pwm: torch.Tensor
) -> None:
    k = 3
    head, hidden = head_and_hidden(randomise, k)
    motif_target(head, hidden, hits, pwm, k)[0].backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in head.parameters())
    assert torch.isfinite(hidden.grad).all()
    assert not hidden.grad[:, [0, -1]].any()  # [CLS] and [SEP] speak for no base
    # With the presence of motifs taken away, only bases of hits teach.
    hidden.grad = None
    with torch.no_grad():
        head.presence.weight.zero_()
    motif_target(head, hidden, hits, pwm, k)[0].backward()
    for sample in range(16):
        taught = set()
        for motif, start, end in zip(*(c[sample].tolist() for c in hits[:3]), strict=True):
            if motif >= 0:
                taught |= {min(max(b - 1, 0), hidden.shape[1] - 3) + 1 for b in range(start, end)}
        assert set(hidden.grad[sample].abs().sum(1).nonzero()[:, 0].tolist()) == taught


def test_the_loss_is_least_where_the_head_says_what_the_motif_does(pwm: torch.Tensor) -> None:
    width = int((pwm[0].sum(1) > 0).sum())
    one = torch.tensor([[0]])
    hits = BatchHits(one, one + 4, one + 4 + width, one - 1)  # on the other strand
    head = MotifTargetHead(4, len(pwm))
    with torch.no_grad():
        head.base.weight.copy_(torch.eye(4))
        head.base.bias.zero_()
        head.presence.weight.zero_()
        head.presence.bias.fill_(-50)
        head.presence.bias[0] = 50
    hidden = torch.zeros(1, 30, 4)
    hidden[0, 5 : 5 + width] = pwm[0, :width].flip(0, 1).log()
    loss, _, score, chance = motif_target(head, hidden, hits, pwm, 1)
    assert loss.item() == pytest.approx(0, abs=1e-5)
    assert (float(score), float(chance)) == (1, 0.25)
    forward = hits._replace(strand=one + 1)
    assert motif_target(head, hidden, forward, pwm, 1)[0].item() > 0.1


def test_16_samples_are_learnt_by_an_encoder(
    codes: torch.Tensor, hits: BatchHits, pwm: torch.Tensor
) -> None:
    k = 3
    torch.manual_seed(0)
    tokenizer = KmerTokenizer(k)
    settings = Settings(k=k, layers=1, width=32, heads=2, feedforward=64, positions=160, norm="pre")
    encoder = SequenceEncoder(settings, tokenizer.size)
    head = MotifTargetHead(32, len(pwm))
    ids = tokenizer(codes)
    parameters = [*encoder.parameters(), *head.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=5e-3, weight_decay=0.0)
    losses = []
    for _ in range(80):
        loss, number, score, chance = motif_target(head, encoder(ids), hits, pwm, k)
        optimiser.zero_grad()
        (loss / number).backward()
        optimiser.step()
        losses.append((loss / number).item())
    assert losses[-1] < 0.1 * losses[0]
    assert float(score) > 0.9 * 4 * float(chance)
