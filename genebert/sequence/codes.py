"""DNA text <-> base codes."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

PADDING = 5  # after the end of a sequence that is shorter than its batch
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


def encode_column(sequences: pa.StringArray) -> np.ndarray:
    """Return uint8 [n, longest], the codes of a column of sequences, as :func:`encode_all` does.

    Nulls are sequences of length 0.
    """
    lengths = pc.fill_null(pc.binary_length(sequences), 0).to_numpy().astype(np.int64)
    longest = int(lengths.max(initial=0))
    text = b"" if not len(sequences) else _text(sequences)
    flat = encode_bytes(text)
    if (lengths == longest).all():
        return flat.reshape(len(lengths), longest)
    codes = np.full((len(lengths), longest), PADDING, dtype=np.uint8)
    codes[np.arange(longest) < lengths[:, None]] = flat
    return codes


def _text(sequences: pa.StringArray) -> bytes:
    """Return all sequences as one text; slices of a column share its buffers."""
    filled = pc.fill_null(sequences, "")
    _, offsets, data = filled.buffers()
    bounds = np.frombuffer(offsets, np.int32)[filled.offset : filled.offset + len(filled) + 1]
    return bytes(memoryview(data)[bounds[0] : bounds[-1]]) if data is not None else b""


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
    windows = np.lib.stride_tricks.sliding_window_view(codes, k, axis=1)
    index = windows.astype(np.int64) @ (4 ** np.arange(k - 1, -1, -1))
    index += np.arange(len(codes))[:, None] * 4**k
    counts = np.bincount(index[(windows < 4).all(-1)], minlength=len(codes) * 4**k)
    return counts.reshape(len(codes), 4**k).astype(np.float32)
