"""Overlapping k-mer tokens, made from base codes on any device."""

from functools import cache, cached_property

import torch
import torch.nn.functional as F

from genebert.sequence.codes import PADDING
from genebert.sequence.vocabulary import SPECIAL, vocabulary_size

PAD, UNK, CLS, SEP, MASK = range(5)

# DNABERT lists k-mers in the order A, T, C, G: its checkpoints fit when ids are counted likewise.
_DIGIT_ORDER = "ATCG"


class KmerTokenizer:
    """Every window of k bases is a token; ``[CLS]`` and ``[SEP]`` surround them.

    A window with a base other than A, C, G, T is ``[UNK]``; after ``[SEP]`` comes ``[PAD]``.

    Parameters
    ----------
    k
        Window length in bp.
    """

    def __init__(self, k: int) -> None:
        self.k = k
        self.size = vocabulary_size(k)

    @cached_property
    def vocabulary(self) -> list[str]:
        """Names of the tokens by id."""
        kmers = [""]
        for _ in range(self.k):
            kmers = [kmer + base for kmer in kmers for base in _DIGIT_ORDER]
        return [*SPECIAL, *kmers]

    def __call__(self, codes: torch.Tensor) -> torch.Tensor:
        """Return token ids int64 [B, length − k + 3] of base codes uint8 [B, length].

        Sequences shorter than their batch end in ``PADDING`` codes; each holds at least k bases.
        """
        number = codes.shape[1] - self.k + 1
        # A, C, G, T are codes 0 to 3 and digits 0, 2, 3, 1: no table, which would have to be looked up.
        digits = (2 * ((codes ^ (codes >> 1)) & 1) + ((codes >> 1) & 1)).to(torch.int16)
        kmers, worst = digits[:, :number], codes[:, :number]
        for place in range(1, self.k):
            kmers = 4 * kmers + digits[:, place : place + number]
            worst = torch.maximum(worst, codes[:, place : place + number])
        kmers = (
            (kmers.long() + len(SPECIAL))
            .masked_fill_(worst >= 4, UNK)
            .masked_fill_(worst == PADDING, PAD)
        )
        ids = F.pad(F.pad(kmers, (1, 0), value=CLS), (0, 1), value=PAD)
        return ids.scatter_(1, (kmers != PAD).sum(1, keepdim=True) + 1, SEP)

    def composition(self, ids: torch.Tensor) -> torch.Tensor:
        """Return float32 [B, 4^k]: k-mer counts of both strands, over the root of their number."""
        kmers = (ids - len(SPECIAL)).clamp(min=0)
        counts = torch.zeros(len(ids), 4**self.k, device=ids.device)
        counts.scatter_add_(1, kmers, (ids >= len(SPECIAL)).float())
        number = counts.sum(1, keepdim=True).clamp(min=1)
        return (counts + counts.index_select(1, _other_strand(self.k, ids.device))) / (2 * number) ** 0.5


@cache
def _other_strand(k: int, device: torch.device) -> torch.Tensor:
    """Return int64 [4^k], the index of each k-mer's reverse complement."""
    index = torch.arange(4**k, device=device)
    other = torch.zeros_like(index)
    for _ in range(k):
        other = other * 4 + (index % 4 ^ 1)  # A, T, C, G are 0 to 3: complements differ in one bit
        index = index // 4
    return other
