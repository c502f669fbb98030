"""Features that a pre-trained model gives of sequences, matrices, or both, and of views of a corpus."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from genebert.config import Inputs
from genebert.corpus.place import open_corpus
from genebert.corpus.sample import PlacedCorpus, Views, matrices, place_corpus
from genebert.devices import use_threads
from genebert.errors import GenebertError
from genebert.files import complete_or_absent
from genebert.genome import SPLITS
from genebert.model.checkpoint import load_model
from genebert.model.genebert import GeneBERT
from genebert.progress import Progress
from genebert.sequence.codes import PADDING

_VIEWS_A_GROUP = 4096  # written, and given back to the system, at a time


def feature_width(model: GeneBERT, inputs: Inputs) -> int:
    """Return the number of features of ``sequence``, ``region`` or ``both``."""
    return (inputs != "region") * model.sequence_width + (inputs != "sequence") * model.region_width


def pooled_features(
    model: GeneBERT,
    inputs: Inputs,
    codes: torch.Tensor,
    matrix: torch.Tensor | None = None,
    present: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return float32 [B, width], the pooled features of one or both encoders, joined.

    On a GPU the encoders compute in bfloat16.

    Parameters
    ----------
    model
        Pre-trained or not.
    inputs
        ``sequence``, ``region`` or ``both``.
    codes
        uint8 [B, length], base codes.
    matrix, present
        float32 [B, T, R] and bool [B, R]; unused for ``sequence``.
    """
    features = []
    with torch.autocast(codes.device.type, torch.bfloat16, enabled=codes.device.type != "cpu"):
        if inputs != "region":
            padded = bool((codes == PADDING).any())
            mask = model.tokenizer(codes) != 0 if padded else None
            features.append(model.sequence_features(codes, mask))
        if inputs != "sequence":
            assert matrix is not None
            assert present is not None
            features.append(model.region_features(matrix, present))
    return torch.cat(features, dim=-1).float()


@torch.no_grad()
def embed_views(
    model: GeneBERT, placed: PlacedCorpus, views: Views, numbers: torch.Tensor, inputs: Inputs
) -> np.ndarray:
    """Return float32 [n, width], features of views.

    Sequences are read on the forward strand.

    Parameters
    ----------
    model
        On the device of the corpus, in evaluation mode.
    placed, views
        The corpus, and the views of one of its splits.
    numbers
        int64 [n], of views; a batch.
    inputs
        ``sequence``, ``region`` or ``both``.
    """
    codes = placed.sequence.take(views.region[numbers].long())
    if inputs == "sequence":
        return pooled_features(model, inputs, codes).cpu().numpy()
    columns = views.columns_of(numbers)
    matrix = matrices(placed.best, columns)
    return pooled_features(model, inputs, codes, matrix, columns >= 0).cpu().numpy()


def draw_views(views: Views, most: int | None, seed: int = 1) -> np.ndarray:
    """Return the numbers of views int64 [n], sorted: all, or so many of each cell type at most.

    The draw is fixed: it depends on nothing but the seed and how many views each cell type has.
    """
    if most is None:
        return np.arange(len(views))
    counts = np.bincount(views.cell_type.cpu().numpy())
    rng = np.random.default_rng(seed)
    first = np.cumsum(counts) - counts
    drawn = [
        start + np.sort(rng.choice(count, min(most, count), replace=False))
        for start, count in zip(first, counts, strict=True)
    ]
    return np.concatenate(drawn)


def write_embeddings(
    weights: str | Path,
    corpus_folder: str | Path,
    inputs: Inputs,
    out: str | Path,
    device: str,
    batch_size: int = 128,
    sample: int | None = None,
    threads: int = 1,
) -> str:
    """Write the features of views of a corpus; return a line on them.

    Parameters
    ----------
    weights
        Folder of the pre-trained model.
    corpus_folder
        Of the corpus, whose motifs are the model's.
    inputs
        ``sequence``, ``region`` or ``both``.
    out
        Parquet file: region_id, cell_type, split and features (as many floats in each row), a row a
        view (a region and a cell type in which it is open), in order of split, cell type and region.
    device
        To compute on.
    batch_size
        Views at a time; speed only.
    sample
        So many views of each cell type in each split at most, a fixed draw; None for all.
    threads
        On the CPU; the same number gives the same bits.

    Raises
    ------
    GenebertError
        If there are no weights, they are of other motifs, or the model reads shorter sequences.
    """
    use_threads(threads, device)
    corpus = open_corpus(corpus_folder, device)
    model, _ = load_model(weights, corpus.metadata.motif_digest)
    if inputs != "region":
        check_bases(model, corpus.metadata.width, str(corpus_folder))
    model, placed = model.to(device).eval(), place_corpus(corpus, device)
    schema = _schema(feature_width(model, inputs))
    names = pa.array(corpus.metadata.cell_types)
    written = 0
    with complete_or_absent(out) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        for number, split in enumerate(SPLITS):
            if not corpus.viewed(split).any():
                continue
            views = Views(placed, split, model.settings.columns)
            chosen = torch.from_numpy(draw_views(views, sample)).to(device)
            for block in Progress(chosen.split(_VIEWS_A_GROUP), f"embedding {split}, 4096 views"):
                parts = [
                    embed_views(model, placed, views, own, inputs) for own in block.split(batch_size)
                ]
                cell_type = views.cell_type[block].cpu().numpy().astype(np.int32)
                columns = [
                    pa.array(views.region[block].cpu().numpy(), pa.uint32()),
                    pa.DictionaryArray.from_arrays(cell_type, names),
                    pa.DictionaryArray.from_arrays(np.full(len(block), number, np.int32), list(SPLITS)),
                    pa.FixedSizeListArray.from_arrays(
                        np.concatenate(parts).reshape(-1), schema.field("features").type.list_size
                    ),
                ]
                writer.write_table(pa.table(columns, schema=schema))
                written += len(block)
    return f"{written} views of {corpus.regions} regions, {feature_width(model, inputs)} features each"


def check_bases(model: GeneBERT, length: int, where: str) -> None:
    """Refuse sequences longer than the sequence encoder has positions for.

    Raises
    ------
    GenebertError
        If they are.
    """
    settings = model.settings.sequence
    most = settings.positions + settings.k - 3  # two positions are special tokens
    if length > most:
        raise GenebertError(
            f"sequences have {length} bp, the model reads {most}",
            f"set `crop` or `width` to at most {most}, or pre-train with more model.sequence.positions",
            where,
        )


def _schema(width: int) -> pa.Schema:
    text = pa.dictionary(pa.int32(), pa.string())
    return pa.schema(
        [
            pa.field("region_id", pa.uint32(), nullable=False),
            pa.field("cell_type", text, nullable=False),
            pa.field("split", text, nullable=False),
            pa.field("features", pa.list_(pa.float32(), width), nullable=False),
        ]
    )
