"""DNA text <-> base codes."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

PADDING = 5  # after the end of a sequence that is shorter than its batch
_BLOCK_CELLS = 1 << 18  # windows and counts of k-mers that are worked on at a time, 8 bytes each
_CODE_OF_BYTE = bytearray([4]) * 256
for _base, _code in zip(b"ACGTacgt", (0, 1, 2, 3, 0, 1, 2, 3), strict=True):
    _CODE_OF_BYTE[_base] = _code


def encode(sequence: str) -> np.ndarray:
    """Return uint8 [length]: 0 A, 1 C, 2 G, 3 T, 4 anything else."""
    return encode_bytes(sequence.encode("ascii"))


def encode_bytes(text: bytes | memoryview) -> np.ndarray:
    """Return the codes of ASCII text, as :func:`encode` does."""
    return np.frombuffer(bytearray(text).translate(_CODE_OF_BYTE), dtype=np.uint8)


def encode_all(sequences: Sequence[str]) -> np.ndarray:
    """Return uint8 [n, longest], shorter sequences filled up with ``PADDING``."""
    longest = max(map(len, sequences), default=0)
    if all(len(sequence) == longest for sequence in sequences):
        return encode("".join(sequences)).reshape(len(sequences), longest)
    codes = np.full((len(sequences), longest), PADDING, dtype=np.uint8)
    for row, sequence in enumerate(sequences):
        codes[row, : len(sequence)] = encode(sequence)
    return codes


def encode_column(sequences: pa.StringArray | pa.ChunkedArray) -> np.ndarray:
    """Return uint8 [n, longest], the codes of a column of sequences, as :func:`encode_all` does.

    Nulls are sequences of length 0.

    Raises
    ------
    ValueError
        If a sequence is not ASCII.
    """
    chunks = sequences.chunks if isinstance(sequences, pa.ChunkedArray) else [sequences]
    lengths = [pc.fill_null(pc.binary_length(chunk), 0).to_numpy() for chunk in chunks]
    longest = max((int(own.max(initial=0)) for own in lengths), default=0)
    codes = np.full((len(sequences), longest), PADDING, dtype=np.uint8)
    start = 0
    for chunk, own in zip(chunks, lengths, strict=True):
        rows = codes[start : start + len(chunk)]
        flat = encode_bytes(_text(chunk))
        if (own == longest).all():
            rows[:] = flat.reshape(rows.shape)
        else:
            rows[np.arange(longest) < own[:, None]] = flat
        start += len(chunk)
    return codes


def _text(sequences: pa.StringArray) -> bytes:
    """Return all sequences as one text; slices of a column share its buffers."""
    filled = pc.fill_null(sequences, "")
    _, offsets, data = filled.buffers()
    if data is None or not len(filled):
        return b""
    width = np.int64 if pa.types.is_large_string(filled.type) else np.int32
    bounds = np.frombuffer(offsets, width)[filled.offset : filled.offset + len(filled) + 1]
    text = bytes(memoryview(data)[bounds[0] : bounds[-1]])
    if not text.isascii():
        # Its bytes would pass for as many bases.
        raise ValueError("a sequence is not ASCII")
    return text


def decode(codes: np.ndarray) -> list[str]:
    """Return the text of each row of uint8 [n, length], codes 0 to 4."""
    text = np.frombuffer(b"ACGTN", np.uint8)[codes].tobytes().decode("ascii")
    length = codes.shape[1]
    return [text[row * length : (row + 1) * length] for row in range(len(codes))]


def count_kmers(codes: np.ndarray, k: int) -> np.ndarray:
    """Return float32 [n, 4^k], counts of the k-mers of the strand given.

    Windows with a base other than A, C, G, T are not counted.

    Parameters
    ----------
    codes
        uint8 [n, length], base codes.
    k
        Window length in bp.
    """
    counts = np.zeros((len(codes), 4**k), dtype=np.float32)
    windows = codes.shape[1] - k + 1
    if windows < 1:
        return counts
    # Blocks that stay in the processor's cache, counts included.
    size = max(1, _BLOCK_CELLS // (4**k + windows))
    for start in range(0, len(codes), size):
        block = codes[start : start + size]
        rows = np.arange(len(block))[:, None]
        index = np.broadcast_to(rows, (len(block), windows)).astype(np.int64)
        for shift in range(k):
            index *= 4
            index += block[:, shift : shift + windows]
        bad = np.lib.stride_tricks.sliding_window_view(block > 3, k, axis=1).any(-1)
        found = np.bincount(index[~bad] if bad.any() else index.ravel(), minlength=len(block) * 4**k)
        counts[start : start + size] = found.reshape(len(block), 4**k)
    return counts
