"""What a pre-trained model's sequence features hang on, base by base, at one held-out place."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch

from genebert.corpus.manifest import read_manifest
from genebert.corpus.schema import Metadata
from genebert.devices import use_threads
from genebert.errors import GenebertError
from genebert.files import complete_or_absent
from genebert.genome import SPLITS
from genebert.model.checkpoint import load_model
from genebert.model.genebert import GeneBERT
from genebert.model.sequence_encoder import Block
from genebert.sequence.codes import encode

SCHEMA = pa.schema(
    [
        pa.field("position", pa.uint16(), nullable=False),  # bp from the region's start, forward strand
        pa.field("base", pa.string(), nullable=False),
        # Mean over the three other bases of |f(changed) − f| / |f|, f the pooled sequence features.
        pa.field("attribution", pa.float32(), nullable=False),
        # What the k-mers over the base receive in the last layer, as a multiple of an even share.
        pa.field("attention", pa.float32(), nullable=False),
    ]
)
_BATCH = 64


def write_attribution(
    weights: str | Path, corpus_folder: str | Path, out: str | Path, device: str, threads: int = 1
) -> str:
    """Write what a model's sequence features hang on at the densest held-out place; return a line.

    Parameters
    ----------
    weights
        Folder of the model, pre-trained or not.
    corpus_folder
        Of the corpus it was trained on, which has the place (:func:`densest_region`).
    out
        Parquet file of ``SCHEMA``, a row a base. Its metadata (key ``genebert``, JSON) say which model
        and place it is of, and list the place's motif hits: ``motif`` (row), ``position`` (bp from the
        region's start), ``strand``, ``score``.
    device
        That the network computes on.
    threads
        On the CPU; the same number gives the same bits.

    Raises
    ------
    GenebertError
        If the model is damaged or of other motifs, or no region is without N.
    """
    use_threads(threads, device)
    corpus = Metadata(**read_manifest(corpus_folder)["metadata"])
    model, card = load_model(weights, corpus.motif_digest)
    model = model.to(device).eval()
    place = densest_region(corpus_folder)
    codes = torch.from_numpy(encode(place["sequence"]))[None].to(device)
    columns = {
        "position": np.arange(codes.shape[1], dtype=np.uint16),
        "base": list(place["sequence"]),
        "attribution": attribution(model, codes),
        "attention": received_attention(model, codes),
    }
    facts = {
        "variant": card.variant,
        "seed": card.seed,
        "motif_digest": card.motif_digest,
        **{key: place[key] for key in ("region_id", "chrom", "start", "end", "split")},
        "hits": {key: place[key] for key in ("motif", "position", "strand", "score")},
    }
    arrays = [pa.array(columns[field.name], field.type) for field in SCHEMA]
    schema = SCHEMA.with_metadata({"genebert": json.dumps(facts, sort_keys=True)})
    with complete_or_absent(out) as temporary:
        pq.write_table(pa.table(arrays, schema=schema), temporary, compression="zstd")
    where = f"{place['chrom']}:{place['start']}-{place['end']}"
    return f"{card.variant}, seed {card.seed}: {where} ({place['split']}, {len(place['motif'])} hits)"


def densest_region(corpus_folder: str | Path) -> dict[str, Any]:
    """Return the row of the test region that has most motif hits; the first in genome order of equals.

    Regions with N do not count. Without a test region it is one of validation, else of training.

    Raises
    ------
    GenebertError
        If no region is without N.
    """
    # By split: hits of the best region so far, its part and its row there.
    best: dict[str, tuple[int, Path, int]] = {}
    for part in read_manifest(corpus_folder)["parts"]:
        path = Path(corpus_folder) / part["part"]
        table = pq.read_table(path, columns=["split", "sequence", "strand"])
        hits = pc.list_value_length(table["strand"]).to_numpy()
        usable = ~pc.match_substring(table["sequence"], "N").to_numpy()
        for split in SPLITS:
            own = np.flatnonzero(pc.equal(table["split"], split).to_numpy() & usable)
            if len(own):
                row = int(own[hits[own].argmax()])
                if split not in best or hits[row] > best[split][0]:
                    best[split] = int(hits[row]), path, row
    for split in reversed(SPLITS):
        if split in best:
            _, path, row = best[split]
            return pq.read_table(path).slice(row, 1).to_pylist()[0]
    raise GenebertError("every region of the corpus holds an N", "add regions of known sequence")


@torch.no_grad()
def attribution(model: GeneBERT, codes: torch.Tensor) -> np.ndarray:
    """Return float32 [length]: how far the pooled features move when a base is changed.

    In-silico mutagenesis: each base is replaced by each of the three others, and the distance of the
    sequence features (:meth:`genebert.model.genebert.GeneBERT.sequence_features`) from those of the
    sequence as it is, over their length, is averaged. It needs no head, and so means the same for every
    variant; it says that features hang on a base, not what for.

    Parameters
    ----------
    model
        In evaluation mode.
    codes
        uint8 [1, length], A, C, G or T.
    """
    length = codes.shape[1]
    moved = torch.empty(3 * length, dtype=torch.float64)
    with _full_precision():
        whole = model.sequence_features(codes).double()
        for first in range(0, 3 * length, _BATCH):
            change = torch.arange(first, min(first + _BATCH, 3 * length), device=codes.device)
            row, place = torch.arange(len(change), device=codes.device), change // 3
            changed = codes.repeat(len(change), 1)
            changed[row, place] = ((codes[0, place] + 1 + change % 3) % 4).to(codes.dtype)
            distance = (model.sequence_features(changed).double() - whole).norm(dim=1) / whole.norm()
            moved[first : first + len(change)] = distance.cpu()
    return moved.view(length, 3).mean(1).float().numpy()


@torch.no_grad()
def received_attention(model: GeneBERT, codes: torch.Tensor) -> np.ndarray:
    """Return float32 [length]: the attention that each base's k-mers receive in the last layer.

    It is a mean over heads, over all tokens that attend, and over the k-mers that cover the base, times
    the number of tokens: 1 is an even share.

    Parameters
    ----------
    model
        In evaluation mode.
    codes
        uint8 [1, length].
    """
    last = model.sequence_encoder.blocks[-1]
    assert isinstance(last, Block)
    seen: list[torch.Tensor] = []
    hook = last.qkv.register_forward_hook(lambda module, given, made: seen.append(made))
    with _full_precision():
        model.sequence_encoder(model.tokenizer(codes))
        hook.remove()
        tokens, width = seen[0].shape[1], seen[0].shape[2] // 3
        query, key = (
            part.view(tokens, last.heads, -1).transpose(0, 1)
            for part in seen[0][0, :, : 2 * width].split(width, dim=-1)
        )
        weight = (query @ key.transpose(1, 2) / (width // last.heads) ** 0.5).softmax(-1)
    received = weight.double().mean((0, 1)).cpu().numpy() * tokens
    k, kmers = model.tokenizer.k, received[1:-1]
    total, number = np.zeros(codes.shape[1]), np.zeros(codes.shape[1])
    for place in range(k):
        total[place : place + len(kmers)] += kmers
        number[place : place + len(kmers)] += 1
    return (total / number).astype(np.float32)


@contextmanager
def _full_precision() -> Iterator[None]:
    """Multiply float32 as such: one base moves the features by less than TF32 or bfloat16 can tell."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
