"""A score of how much like good prose a document looks. See `scores`."""

import numpy as np
import pyarrow as pa

_BLOCK = 1 << 18
_FIELD = 21         # bits of one count; three counts share a 64-bit word, so that one pass over the bytes makes three
_MASK = (1 << _FIELD) - 1


def _packed(*kinds: bytes) -> np.ndarray:
    table = np.zeros(256, np.uint64)
    for number, kind in enumerate(kinds):
        table[list(kind)] |= np.uint64(1 << (number * _FIELD))
    return table


_UPPER, _LOWER, _HIGH = bytes(range(65, 91)), bytes(range(97, 123)), bytes(range(128, 256))
_WORDS = _packed(_UPPER + _LOWER + _HIGH, b" \n\t", _UPPER)      # letters (all of UTF-8 beyond ASCII), gaps, capitals
_SIGNS = _packed(b"0123456789", b"\n", b"#$%&*+/<=>@[\\]^_`{|}~")   # digits, lines, signs that prose has few of


def counts(texts: pa.Array) -> np.ndarray:
    """int64 [documents, 6]: bytes that are letters, gaps between words, capitals, digits, line ends, other signs. 200 MB/s."""
    ends = np.frombuffer(texts.buffers()[1], np.int64)[texts.offset:texts.offset + len(texts) + 1]
    made = np.zeros((len(texts), 6), np.int64)
    if not len(texts) or ends[-1] == ends[0]:
        return made
    raw = np.frombuffer(texts.buffers()[2], np.uint8)
    for at in range(int(ends[0]), int(ends[-1]), _BLOCK):
        block = raw[at:min(at + _BLOCK, int(ends[-1]))]
        first, last = np.searchsorted(ends, at, "right") - 1, np.searchsorted(ends, at + len(block), "left")
        starts = np.maximum(ends[first:last], at) - at
        # reduceat gives an empty document the byte of the next one.
        full = np.flatnonzero(np.diff(starts, append=len(block)) > 0)
        for column, table in ((0, _WORDS), (3, _SIGNS)):
            sums = np.add.reduceat(table[block], starts[full])
            for number in range(3):
                made[first + full, column + number] += ((sums >> np.uint64(number * _FIELD)) & np.uint64(_MASK)).astype(np.int64)
    return made


def scores(texts: pa.Array) -> np.ndarray:
    """float32 [documents], 0 to 1: how much a document looks like whole, well-formed text. Made to choose between near duplicates, where
    it prefers the version with fewer stray signs, digits, capitals, broken lines and words of odd length; no rule removes by it."""
    found = counts(texts).astype(np.float64)
    letters, gaps, capitals, digits, lines, signs = found.T
    solid = np.maximum(1, np.diff(np.frombuffer(texts.buffers()[1], np.int64)[texts.offset:texts.offset + len(texts) + 1]) - gaps)
    lettered = np.clip(letters / solid / 0.9, 0, 1)
    word = letters / np.maximum(1, gaps + 1)
    worded = np.clip(np.minimum(word / 3, 12 / np.maximum(word, 1e-9)), 0, 1)
    quiet = 1 - np.clip((capitals / np.maximum(1, letters) - 0.15) / 0.6, 0, 1)
    plain = 1 - np.clip((digits + 2 * signs) / solid / 0.5, 0, 1)
    joined = np.clip((gaps + 1) / np.maximum(1, lines + 1) / 6, 0.2, 1)     # words a line
    long = np.clip(np.log1p(letters) / np.log(2_000), 0.1, 1)
    return (lettered * plain * (0.5 + 0.5 * quiet) * (0.5 + 0.5 * worded) * (0.7 + 0.3 * joined) * (0.5 + 0.5 * long)).astype(np.float32)
