"""Any DNA encoder that the ``transformers`` library can load, by its hub id or from a folder.

Sequences are given as the encoder's own tokenizer takes them: as overlapping k-mers where its vocabulary
is one of k-mers of one length (DNABERT), otherwise as they are (byte pairs, 6-mers of the Nucleotide
Transformer). Features are the mean of the last hidden vectors over all tokens.
"""

import copy
import inspect
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from genebert.benchmarks.examples import in_batches
from genebert.errors import GenebertError
from genebert.model.heads import ClassHead
from genebert.sequence.codes import PADDING, decode

# Set to 1 by who has read the code that a repository brings with its weights.
TRUST = "GENEBERT_TRUST_REMOTE_CODE"
_BLOCK = 4096
_SAMPLE = "GATTACACCGTTGACG"
_UNBOUNDED = 1 << 20  # what tokenizers call their length where they know none is far above


@dataclass(frozen=True)
class Encoder:
    """A pre-trained encoder and its tokenizer.

    Attributes
    ----------
    source
        Hub id or folder.
    revision
        Commit of the hub; None for a folder.
    network
        Of ``transformers``, on the CPU.
    width
        Of a hidden vector.
    tokenizer
        Of ``transformers``.
    k
        Length of the k-mers it is given; None where it takes sequences as they are.
    most
        Tokens that it reads; None where it sets no bound.
    """

    source: str
    revision: str | None
    network: nn.Module
    width: int
    tokenizer: Any
    k: int | None
    most: int | None


class Tokens:
    """Tokens of sequences, made once: what a batch takes from.

    Parameters
    ----------
    encoder
        Whose tokens.
    codes
        uint8 [n, length], base codes.
    device
        Where batches are wanted.

    Raises
    ------
    GenebertError
        If a sequence has more tokens than the encoder reads: nothing is cut in silence.
    """

    def __init__(self, encoder: Encoder, codes: np.ndarray, device: str) -> None:
        ids, lengths = tokenise(encoder, codes)
        if encoder.most is not None and lengths.max(initial=0) > encoder.most:
            raise GenebertError(
                f"a sequence has {lengths.max()} tokens, {encoder.source} reads {encoder.most}",
                "set the task's `crop` or `width` to fewer bp, or leave the encoder out of its `models`",
            )
        self._ids = torch.from_numpy(ids).to(device)
        self._lengths = torch.from_numpy(lengths).to(device)

    def batch(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return ids int64 and mask bool [B, longest], false at padding, of rows int64 [B]."""
        lengths = self._lengths[rows]
        longest = int(lengths.max())
        places = torch.arange(longest, device=lengths.device)
        return self._ids[rows, :longest].long(), places < lengths[:, None]


class Pooled(nn.Module):
    """An encoder whose features are the mean of its hidden vectors.

    Parameters
    ----------
    network
        Of ``transformers``.
    exact
        Compute in single precision on a GPU, too: in bfloat16 what one base changes is lost in rounding.
    """

    def __init__(self, network: nn.Module, exact: bool = False) -> None:
        super().__init__()
        self.network, self.exact = network, exact
        self._takes_mask = "attention_mask" in inspect.signature(network.forward).parameters

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return float32 [B, width] of ids int64 and mask bool [B, L]; in bfloat16 on a GPU."""
        more = {"attention_mask": mask.long()} if self._takes_mask else {}
        reduced = ids.device.type != "cpu" and not self.exact
        with torch.autocast(ids.device.type, torch.bfloat16, enabled=reduced):
            hidden = self.network(ids, **more)[0]
        weight = (mask / mask.sum(1, keepdim=True)).float()
        return torch.einsum("bl,blw->bw", weight, hidden.float())


def make_classifier(encoder: Encoder, classes: int) -> nn.Module:
    """Return the encoder's features with a class head, as a GeneBERT has; weights are copied."""
    return _Classifier(Pooled(copy.deepcopy(encoder.network)), ClassHead(encoder.width, classes))


class _Classifier(nn.Module):
    def __init__(self, pooled: Pooled, head: ClassHead) -> None:
        super().__init__()
        self.pooled, self.head = pooled, head

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.head(self.pooled(ids, mask))


def embed(encoder: Encoder, codes: np.ndarray, device: str) -> np.ndarray:
    """Return features float32 [n, width] of base codes uint8 [n, length]."""
    pooled = Pooled(encoder.network).to(device).eval()
    return in_batches(pooled, Tokens(encoder, codes, device), np.arange(len(codes)), device)


def load(source: str) -> Encoder:
    """Load an encoder and its tokenizer.

    Code that a repository brings is run only where the environment variable ``TRUST`` is 1.

    Parameters
    ----------
    source
        Hub id or folder.

    Raises
    ------
    GenebertError
        If ``transformers`` is missing or cannot load it, or weights do not fit the network.
    """
    try:
        import transformers  # noqa: PLC0415 (optional)
    except ImportError:
        raise GenebertError(
            f"hf:{source} needs the package transformers", "pip install 'genebert[hugging_face]'"
        ) from None
    trust = os.environ.get(TRUST) == "1"
    try:
        network, info = transformers.AutoModel.from_pretrained(
            source, trust_remote_code=trust, output_loading_info=True
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(source, trust_remote_code=trust)
        k = _kmer_length(tokenizer)
        if k is not None:  # DNABERT's words are in capitals, BERT's tokenizer would lower them
            tokenizer = transformers.AutoTokenizer.from_pretrained(
                source, trust_remote_code=trust, do_lower_case=False
            )
    except (OSError, ValueError, RuntimeError, ImportError, KeyError) as error:
        raise _unloadable(source, str(error)) from None
    _check_weights(source, info)
    revision = None if Path(source).exists() else getattr(network.config, "_commit_hash", None)
    most = _most_tokens(network.config, tokenizer)
    network = network.float()
    width = _checked_width(network, tokenizer, k, source)
    return Encoder(source, revision, network, width, tokenizer, k, most)


def tokenise(encoder: Encoder, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return ids int32 [n, longest] and the number of tokens int64 [n] of each row of base codes."""
    if encoder.k is None:
        blocks = [
            _ids_of_texts(encoder, texts_of(codes[start : start + _BLOCK]))
            for start in range(0, len(codes), _BLOCK)
        ]
        lengths = np.concatenate([own for _, own in blocks])
        flat = np.concatenate([own for own, _ in blocks])
        ids = np.zeros((len(codes), int(lengths.max())), np.int32)
        ids[np.arange(ids.shape[1]) < lengths[:, None]] = flat
        return ids, lengths
    return _ids_of_kmers(encoder, codes)


def texts_of(codes: np.ndarray) -> list[str]:
    """Return the sequences of base codes uint8 [n, length], without their padding."""
    lengths = (codes != PADDING).sum(1).tolist()
    texts = decode(np.minimum(codes, 4))
    return [text[:length] for text, length in zip(texts, lengths, strict=True)]


def _ids_of_texts(encoder: Encoder, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return all ids, one after another, and the number of each text's."""
    ids = encoder.tokenizer(texts, verbose=False)["input_ids"]
    lengths = np.fromiter(map(len, ids), np.int64, len(ids))
    return np.fromiter((own for row in ids for own in row), np.int32, lengths.sum()), lengths


def _ids_of_kmers(encoder: Encoder, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what the tokenizer gives of overlapping k-mers, set apart by spaces, by looking them up."""
    assert encoder.k is not None
    k, vocabulary = encoder.k, encoder.tokenizer.get_vocab()
    words = [""]
    for _ in range(k):
        words = [word + base for word in words for base in "ACGT"]
    unknown = encoder.tokenizer.unk_token_id
    id_of = np.array([*(vocabulary[word] for word in words), unknown], np.int32)
    first, last = _around(encoder.tokenizer, k)
    lengths = np.maximum((codes != PADDING).sum(1) - k + 1, 0)
    number = int(lengths.max())
    ids = np.zeros((len(codes), len(first) + number + len(last)), np.int32)
    ids[:, : len(first)] = first
    index = np.zeros((len(codes), number), np.int32)
    known = np.ones(index.shape, bool)
    for place in range(k):
        base = codes[:, place : place + number]
        index, known = 4 * index + base, known & (base < 4)
    ids[:, len(first) : len(first) + number] = id_of[np.where(known, index, len(words))]
    # The tokens after the last k-mer stand where it ends, in each row.
    rows = np.arange(len(codes))
    for place, token in enumerate(last):
        ids[rows, len(first) + lengths + place] = token
    total: np.ndarray = len(first) + lengths + len(last)
    ids[np.arange(ids.shape[1]) >= total[:, None]] = 0
    return ids, total.astype(np.int64)


def _around(tokenizer: Any, k: int) -> tuple[list[int], list[int]]:
    """Return the ids that a tokenizer puts before and after a text."""
    vocabulary, text = tokenizer.get_vocab(), _spaced(_SAMPLE, k)
    expected = [vocabulary[word] for word in text.split()]
    ids = list(tokenizer(text)["input_ids"])
    for start in range(len(ids) - len(expected) + 1):
        if ids[start : start + len(expected)] == expected:
            return ids[:start], ids[start + len(expected) :]
    raise GenebertError(
        f"the tokenizer of {tokenizer.name_or_path} makes other tokens of '{text[:16]}…' than its words",
        "use an encoder whose tokenizer takes overlapping k-mers set apart by spaces, or plain sequence",
    )


def _kmer_length(tokenizer: Any) -> int | None:
    """Return the length of the words of a vocabulary that holds every k-mer, and nothing but these."""
    words = set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens)
    lengths = {len(word) for word in words}
    if len(lengths) != 1 or not all(set(word) <= set("ACGT") for word in words):
        return None
    k = lengths.pop()
    return k if k > 1 and len(words) == 4**k else None


def _most_tokens(config: Any, tokenizer: Any) -> int | None:
    bounds = [getattr(config, "max_position_embeddings", None), tokenizer.model_max_length]
    known = [bound for bound in bounds if bound is not None and 0 < bound < _UNBOUNDED]
    return min(known, default=None)


def _check_weights(source: str, info: Mapping[str, Any]) -> None:
    """Refuse a checkpoint of another network of the same name, which would be filled up at random."""
    missing = sorted(name for name in info["missing_keys"] if "pooler" not in name)
    if missing or info.get("mismatched_keys"):
        raise _needs_code(source, f"{len(missing)} weights of the network it names are missing")


def _checked_width(network: nn.Module, tokenizer: Any, k: int | None, source: str) -> int:
    """Return the number of features; refuse a tokenizer to which every sequence looks alike."""
    text = _SAMPLE if k is None else _spaced(_SAMPLE, k)
    ids = tokenizer(text)["input_ids"]
    if tokenizer.unk_token_id in ids:
        raise GenebertError(
            f"the tokenizer of {source} does not know plain DNA ('{_SAMPLE}')",
            "use an encoder whose tokenizer takes sequence or overlapping k-mers",
        )
    with torch.no_grad():
        return int(network.eval()(torch.tensor([ids]))[0].shape[-1])


def _spaced(text: str, k: int) -> str:
    return " ".join(text[start : start + k] for start in range(len(text) - k + 1))


def _unloadable(source: str, why: str) -> GenebertError:
    first = next((line.strip() for line in why.splitlines() if line.strip()), "no reason given")
    if "trust_remote_code" in why:
        return _needs_code(source, first)
    return GenebertError(
        f"hf:{source} cannot be loaded ({first})",
        "give a hub id that can be reached from here, or the folder of a downloaded encoder",
    )


def _needs_code(source: str, why: str) -> GenebertError:
    return GenebertError(
        f"hf:{source} needs code of its own repository ({why})",
        f"read that code, then run with {TRUST}=1; or use an encoder that transformers itself knows",
    )
