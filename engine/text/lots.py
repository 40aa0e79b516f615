"""Draws by hash: every document gets numbers that depend on its id alone, not on order, process or chance.

Used where documents are drawn (mixing.py, splitting.py). Each draw has its own salt, so that what one takes says nothing about what
another takes: else a thinned source would lose exactly its validation documents.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

_NIBBLES = np.full(256, 255, np.uint8)
_NIBBLES[np.frombuffer(b"0123456789abcdef", np.uint8)] = np.arange(16)
_NIBBLES[np.frombuffer(b"ABCDEF", np.uint8)] = np.arange(10, 16)


def keys(ids: Any) -> np.ndarray:
    """uint64 of each document: from ids as 32 hex digits (sequence of str or a pyarrow array; the first 16 count), from a uint64 array of
    shape (N,) or (N, 2), as it is, or its first column. An id of another form is hashed."""
    if isinstance(ids, np.ndarray) and ids.dtype == np.uint64:
        return ids if ids.ndim == 1 else np.ascontiguousarray(ids[:, 0])
    return np.concatenate([np.zeros(0, np.uint64), *map(_parsed, _blocks(ids))])


def of_texts(texts: Iterable[str]) -> np.ndarray:
    """uint64 of each text, the same for the same text whatever its source."""
    hashed = (hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest() for text in texts)
    return np.frombuffer(b"".join(hashed), ">u8").astype(np.uint64)


def lots(keys: np.ndarray, salt: str) -> np.ndarray:
    """float64 from 0 up to 1 for each uint64 key, evenly spread, another for each salt."""
    return (scattered(keys, salt) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def scattered(keys: np.ndarray, salt: str) -> np.ndarray:
    """uint64 for each key: the finalizer of splitmix64 (Steele et al. 2014), a bijection, so that different keys never tie."""
    mixed = keys + np.uint64(int.from_bytes(hashlib.blake2b(salt.encode(), digest_size=8).digest(), "big"))
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed ^= mixed >> np.uint64(shift)
        mixed *= np.uint64(factor)
    mixed ^= mixed >> np.uint64(31)
    return mixed


def _blocks(ids: Any, rows: int = 1 << 18) -> Iterable[Any]:
    for start in range(0, len(ids), rows):
        yield ids[start:start + rows]


def _parsed(ids: Sequence[str] | Any) -> np.ndarray:
    listed = ids.to_pylist() if hasattr(ids, "to_pylist") else list(ids)
    raw = np.array(listed, "U32").view(np.uint32).reshape(len(listed), 32) if listed else np.zeros((0, 32), np.uint32)
    digits = _NIBBLES[np.minimum(raw, 255)]
    plain = (digits < 16).all(1) & np.fromiter((len(i) == 32 for i in listed), bool, len(listed))
    found = np.zeros(len(listed), np.uint64)
    for place in range(16):
        found = (found << np.uint64(4)) | digits[:, place]
    for row in np.flatnonzero(~plain):
        found[row] = of_texts([listed[row]])[0]
    return found
