"""Words and word sequences of many texts at once as 64-bit numbers: what duplicates, repeated passages and held-out overlap are found by.

What counts as the same word
- Letter case, punctuation, white space and compatibility forms (full-width letters, ligatures, ß/ss) make no difference, and neither does
  whether an accent is a character of its own.
- Marks are part of their word, so that Hindi, Arabic or Hebrew are not torn apart. Digits are letters. Pictographs and mathematical signs
  are words of their own; all other signs are punctuation.
- Where words are not spaced (Chinese, Japanese, Thai, Lao, Khmer, Burmese) every character is a word by itself, and twelve of them weigh
  as much as five words: a sequence of "5 words" there is 12 characters, and in a mixed text it is as long as its words and characters
  weigh. What a sequence is depends on the text at that place only, so equal passages have equal sequences in any document.

Hashes are polynomials over random values of the characters, modulo 2^64, mixed at the end: pure functions of the text, the same on every
machine and in every version of Python. The lowest bit of a word's hash says that the word is a character of an unspaced script.

Arrow arrays of strings are read in place; lists of str are converted. Nothing here touches files.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import pyarrow as pa

BLOCK = 1 << 17
"""Bytes of text handled at a time: the arrays made of them stay in the processor's cache."""
WORD, CHARACTER = 12, 5
"""Weights: five words weigh as much as twelve characters of a script without spaces."""

_SEPARATOR, _WORD, _UNSPACED, _SIGN, _SPECIAL = 0, 1, 2, 3, 4
_UNSPACED_RANGES = ((0xE00, 0xE7F), (0xE80, 0xEFF), (0x1000, 0x109F), (0xA9E0, 0xA9FF), (0xAA60, 0xAA7F), (0x1780, 0x17FF),
                    (0x19E0, 0x19FF), (0x2E80, 0x2FDF), (0x3005, 0x3007), (0x3021, 0x3029), (0x3041, 0x30FF), (0x31F0, 0x31FF),
                    (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0xFF66, 0xFF9F), (0x1B000, 0x1B16F), (0x20000, 0x323AF))
_SOFT_HYPHEN = 0xAD
_BASE, _GRAM_BASE = 0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93
_FULL = (1 << 64) - 1

Texts = Sequence[str] | pa.Array | pa.ChunkedArray


class Words(NamedTuple):
    """The words of D texts, W in all.

    hashes    uint64 [W]
    offsets   int64 [D + 1]: words of text d are offsets[d]:offsets[d + 1]
    starts    int64 [W] or None: where each word begins in its text, in characters
    ends      int64 [W] or None: where it ends
    """

    hashes: np.ndarray
    offsets: np.ndarray
    starts: np.ndarray | None = None
    ends: np.ndarray | None = None


# ---- words


def words(text: str) -> list[str]:
    """The words of one text as they are compared, "Don't PANIC" -> ["don", "t", "panic"]."""
    found = word_spans([text])
    assert found.starts is not None and found.ends is not None
    return [_folded(text[a:b]) for a, b in zip(found.starts.tolist(), found.ends.tolist(), strict=True)]


def word_hashes(texts: Texts) -> tuple[np.ndarray, np.ndarray]:
    """(hashes uint64 [W], offsets int64 [D + 1]) of the words of D texts."""
    found = _words(as_array(texts), False)
    return found.hashes, found.offsets


def word_spans(texts: Texts) -> Words:
    """As word_hashes, with the place of each word in its text."""
    return _words(as_array(texts), True)


def mixed(values: np.ndarray) -> np.ndarray:
    """uint64 -> uint64, a bijection that spreads every bit over all (the finaliser of splitmix64)."""
    values = values ^ (values >> np.uint64(30))
    values *= np.uint64(0xBF58476D1CE4E5B9)
    values ^= values >> np.uint64(27)
    values *= np.uint64(0x94D049BB133111EB)
    values ^= values >> np.uint64(31)
    return values


def _words(texts: pa.Array, spans: bool) -> Words:
    byte_offsets, data = buffers(texts)
    documents = len(texts)
    counts = np.zeros(documents, np.int64)
    hashes: list[np.ndarray] = []
    starts: list[np.ndarray] = []
    ends: list[np.ndarray] = []
    before = 0          # characters of a long text that came in earlier blocks
    for first, last, low, high in _blocks(byte_offsets, data):
        bounds = np.clip(byte_offsets[first:last + 1], low, high) - low
        block = _block(data[low:high], bounds, spans)
        counts[first:last] += np.diff(np.searchsorted(block.begins, block.bounds))
        hashes.append(block.hashes)
        if spans:
            base = before if low > byte_offsets[first] else 0
            owner = np.searchsorted(block.bounds, block.begins, "right") - 1
            if block.places is None:
                origin = block.bounds[owner]
                starts.append(block.begins - origin + base)
                ends.append(block.stops - origin + base)
                length = int(block.bounds[-1])
            else:       # places[i]: where unit i of the block stood in its text
                starts.append(block.places[0][block.begins] + base)
                ends.append(block.places[1][block.stops - 1] + base)
                length = block.places[2]
            before = base + length
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    return Words(_joined(hashes, np.uint64), offsets, _joined(starts, np.int64) if spans else None,
                 _joined(ends, np.int64) if spans else None)


def _joined(pieces: list[np.ndarray], kind: type) -> np.ndarray:
    return np.concatenate(pieces) if pieces else np.zeros(0, kind)


def as_array(texts: Texts) -> pa.Array:
    """Texts as one large_string array, copied only where they must be."""
    """Texts as one large_string array, copied only where they must be."""
    if isinstance(texts, pa.ChunkedArray):
        texts = texts.combine_chunks() if texts.num_chunks != 1 else texts.chunk(0)
    elif not isinstance(texts, pa.Array):
        return pa.array(texts, pa.large_string())
    return texts if texts.type == pa.large_string() else texts.cast(pa.large_string())


def buffers(texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """(offsets int64 [D + 1], bytes uint8) of a large_string array, not copied. A null is an empty text."""
    if len(texts) == 0:
        return np.zeros(1, np.int64), np.zeros(0, np.uint8)
    _, offsets, data = texts.buffers()
    begins = np.frombuffer(offsets, np.int64)[texts.offset:texts.offset + len(texts) + 1]
    return begins, np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(0, np.uint8)


def _blocks(offsets: np.ndarray, data: np.ndarray) -> Iterator[tuple[int, int, int, int]]:
    """(first text, last text, first byte, last byte): some whole texts, or a piece of a long one, cut at white space."""
    documents = len(offsets) - 1
    at = 0
    while at < documents:
        low = int(offsets[at])
        until = int(np.searchsorted(offsets, low + BLOCK, "right")) - 1
        if until > at:
            yield at, until, low, int(offsets[until])
            at = until
            continue
        end = int(offsets[at + 1])
        while end - low > BLOCK:
            cut = _cut(data, low, low + BLOCK)
            yield at, at + 1, low, cut
            low = cut
        yield at, at + 1, low, end
        at += 1


def _cut(data: np.ndarray, low: int, high: int) -> int:
    """A place up to `high` where no word is cut, or at least no character."""
    near = data[max(low + 1, high - 4096):high]
    spaces = np.flatnonzero((near == 32) | (near == 10))
    if len(spaces):
        return high - len(near) + int(spaces[-1])
    while high > low + 1 and data[high] & 0xC0 == 0x80:
        high -= 1
    return high


class _Block(NamedTuple):
    """One block's words: hashes, where they begin and stop (in bytes if all is ASCII, else characters), and where the texts begin and end
    in the same units. `places` where folding changed lengths: (start, end) in the text of every unit, and the last text's length."""

    hashes: np.ndarray
    begins: np.ndarray
    stops: np.ndarray
    bounds: np.ndarray
    places: tuple[np.ndarray, np.ndarray, int] | None = None


def _block(data: np.ndarray, bounds: np.ndarray, spans: bool) -> _Block:
    raw = data.tobytes()
    if raw.isascii():
        values, classes = _ascii()
        kinds = np.frombuffer(raw.translate(classes), np.uint8)
        return _Block(*_tokens(values[data], kinds, bounds), bounds)
    values, table = _tables()
    # Characters begin at every byte that is not a continuation: that counts the texts' lengths in characters.
    begins = np.concatenate([np.zeros(1, np.int64), np.cumsum((data & 0xC0) != 0x80)])
    ends = begins[bounds]
    points = np.frombuffer(raw.decode("utf-8").encode("utf-32-le"), np.uint32)
    kinds = table[points]
    if not (kinds >= _SPECIAL).any():
        return _Block(*_tokens(values[points], kinds, ends), ends)
    whole = points.tobytes()
    texts: list[str] = []
    places: list[tuple[np.ndarray, np.ndarray]] = []
    for a, b in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True):
        text = whole[4 * a:4 * b].decode("utf-32-le")
        if (kinds[a:b] >= _SPECIAL).any():
            text, from_to = _refolded(text, spans)
        elif spans:
            from_to = (np.arange(b - a), np.arange(1, b - a + 1))
        texts.append(text)
        if spans:
            places.append(from_to)
    bounds = np.concatenate([np.zeros(1, np.int64), np.cumsum([len(t) for t in texts])])
    points = np.frombuffer("".join(texts).encode("utf-32-le"), np.uint32)
    kinds = table[points]
    kinds = np.where(kinds >= _SPECIAL, kinds - _SPECIAL, kinds)
    place = None
    if spans:
        place = (np.concatenate([p[0] for p in places]), np.concatenate([p[1] for p in places]), int(ends[-1] - ends[-2]))
    return _Block(*_tokens(values[points], kinds, bounds), bounds, place)


def _tokens(values: np.ndarray, kinds: np.ndarray, bounds: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(hashes, begins, stops) of the words among characters with these values and classes; no word crosses one of the `bounds`."""
    size = len(kinds)
    if size == 0:
        return np.zeros(0, np.uint64), np.zeros(0, np.int64), np.zeros(0, np.int64)
    change = np.empty(size + 1, bool)
    change[0] = change[size] = True
    np.not_equal(kinds[1:], kinds[:-1], out=change[1:size])
    unspaced = kinds == _UNSPACED
    some_unspaced = bool(unspaced.any())
    if some_unspaced:
        change[1:size] |= unspaced[1:]
    change[bounds] = True
    inside = kinds != _SEPARATOR
    begins = np.flatnonzero(change[:size] & inside)
    stops = np.flatnonzero(change[1:] & inside) + 1
    power, inverse = _powers(size)
    sums = np.empty(size + 1, np.uint64)
    sums[0] = 0
    np.cumsum(values * power[:size], out=sums[1:])
    hashes = mixed((sums[stops] - sums[begins]) * inverse[begins])
    hashes &= np.uint64(_FULL - 1)
    if some_unspaced:
        hashes |= unspaced[begins]
    return hashes, begins, stops


_power_tables: dict[int, tuple[np.ndarray, np.ndarray]] = {}


def _powers(size: int, base: int = _BASE) -> tuple[np.ndarray, np.ndarray]:
    """base^i and base^-i modulo 2^64 for i < size at least. Kept, unless they are of an unusual length."""
    kept = _power_tables.get(base)
    if kept is not None and len(kept[0]) >= size:
        return kept
    length = max(size, BLOCK + 1)
    made = []
    for factor in (base, pow(base, -1, 1 << 64)):
        table = np.full(length, factor, np.uint64)
        table[0] = 1
        made.append(np.cumprod(table, dtype=np.uint64))
    if length <= 4 * BLOCK:
        _power_tables[base] = (made[0], made[1])
    return made[0], made[1]


# ---- characters


@cache
def _ascii() -> tuple[np.ndarray, bytes]:
    """Values uint64 [256] and classes, as a translation table, of the bytes of ASCII text."""
    points = np.array([ord(chr(c).lower()) for c in range(128)] + [0] * 128)
    values = mixed(points.astype(np.uint64) + np.uint64(_BASE))
    classes = bytes(_WORD if chr(c).isalnum() else _SIGN if chr(c) == "+" else _SEPARATOR for c in range(128)) + bytes(128)
    return values, classes


@cache
def _tables() -> tuple[np.ndarray, np.ndarray]:
    """Values uint64 and classes uint8 of every code point; _SPECIAL is added to the class of those that _refolded must look at."""
    folded = np.arange(0x110000, dtype=np.uint32)
    classes = np.zeros(0x110000, np.uint8)
    for low, high in _UNSPACED_RANGES:
        if low >= 0x20000:
            classes[low:high + 1] = _UNSPACED
    unspaced = np.zeros(0x20000, bool)
    for low, high in _UNSPACED_RANGES:
        unspaced[low:high + 1] = True
    category, normalize = unicodedata.category, unicodedata.normalize
    composing: set[int] = set()
    for c in range(0x20000):
        if 0xD800 <= c < 0xF900 or 0x3400 <= c < 0xA000 or 0xAC00 <= c < 0xD7A4:
            continue        # surrogates, private use, Han and Hangul: below
        char = chr(c)
        kind = category(char)
        if kind[0] in "LNM":
            classes[c] = _UNSPACED if unspaced[c] else _WORD
        elif kind == "So" or (kind == "Sm" and c > 0x7F) or c == 0x2B:
            classes[c] = _SIGN
        elif c == _SOFT_HYPHEN:
            classes[c] = _SEPARATOR + _SPECIAL
            continue
        else:
            continue
        into = normalize("NFKC", char).casefold()
        if len(into) == 1:
            folded[c] = ord(into)
        elif classes[c] != _SIGN:
            classes[c] += _SPECIAL
        parts = unicodedata.decomposition(char)
        if parts and parts[0] != "<" and " " in parts:
            composing.add(int(parts.split()[1], 16))
    classes[0x3400:0x4DC0] = classes[0x4E00:0xA000] = _UNSPACED
    # What folds together has one class: a full-width sign is the sign, a radical by itself is the character.
    moved = np.flatnonzero((folded != np.arange(0x110000)) & (classes < _SPECIAL))
    classes[moved] = classes[folded[moved]] % _SPECIAL
    classes[0xAC00:0xD7A4] = _WORD
    for low, high in ((0x1161, 0x1175), (0x11A8, 0x11C2)):          # vowels and finals that compose to Hangul syllables
        composing.update(range(low, high + 1))
    for low, high in ((0xFE00, 0xFE0F), (0xE0100, 0xE01EF)):        # how a character is drawn is no part of the word
        classes[low:high + 1] = _SEPARATOR
    for c in composing:
        if classes[c] < _SPECIAL:
            classes[c] += _SPECIAL
    return mixed(folded.astype(np.uint64) + np.uint64(_BASE)), classes


@cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Characters that fold to several or to none; and a character with the marks that may compose with it."""
    _, classes = _tables()
    several: list[str] = []
    composing: list[str] = []
    for c in np.flatnonzero(classes >= _SPECIAL).tolist():
        char = chr(c)
        expands = c == _SOFT_HYPHEN or len(unicodedata.normalize("NFKC", char).casefold()) != 1
        (several if expands else composing).append(re.escape(char))
    several_class, composing_class = "".join(several), "".join(composing)
    return re.compile(f"[{several_class}]"), re.compile(f"(?s:.)[{composing_class}]+|[{several_class}]")


def _refolded(text: str, spans: bool) -> tuple[str, tuple[np.ndarray, np.ndarray]]:
    """The text with its special characters composed, expanded or dropped, and for every character of it (start, end) in `text`."""
    several, both = _patterns()
    pattern = several if unicodedata.is_normalized("NFC", text) else both
    pieces: list[str] = []
    begins: list[np.ndarray] = []
    ends: list[np.ndarray] = []
    at = 0

    def keep(low: int, high: int) -> None:
        pieces.append(text[low:high])
        if spans:
            begins.append(np.arange(low, high))
            ends.append(np.arange(low + 1, high + 1))

    for found in pattern.finditer(text):
        keep(at, found.start())
        into = "" if found[0] == "\xad" else several.sub(_expanded, unicodedata.normalize("NFC", found[0]))
        pieces.append(into)
        at = found.end()
        if spans:
            begins.append(np.full(len(into), found.start()))
            ends.append(np.full(len(into), at))
    keep(at, len(text))
    nothing = np.zeros(0, np.int64)
    return "".join(pieces), (np.concatenate(begins) if spans else nothing, np.concatenate(ends) if spans else nothing)


def _expanded(found: re.Match[str]) -> str:
    return "" if found[0] == "\xad" else unicodedata.normalize("NFKC", found[0]).casefold()


def _folded(word: str) -> str:
    return unicodedata.normalize("NFKC", word.replace("\xad", "")).casefold()


# ---- sequences of words


def gram_hashes(hashes: np.ndarray, n: int) -> np.ndarray:
    """uint64: one for every sequence of n words (12n/5 characters where words are not spaced) of one text; a text that is shorter has one,
    of all its words, and one without words none."""
    return grams(hashes, np.array([0, len(hashes)]), n)[0]


def grams(hashes: np.ndarray, offsets: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """(uint64 [G], offsets int64 [D + 1]) of the word sequences of D texts, in the order in which they begin; see gram_hashes."""
    offsets = np.asarray(offsets, np.int64)
    low, high = int(offsets[0]), int(offsets[-1])
    if (hashes[low:high] & np.uint64(1)).any() or high - low < n:
        starts, ends, counts = gram_spans(hashes, offsets, n)
        return span_hashes(hashes, starts, ends), np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    # All are words: sequences of n, by shifting the whole row of words, across the borders of texts too; those are then left out.
    size = high - low - n + 1
    found = hashes[low:low + size].copy()
    factor = 1
    for j in range(1, n):
        factor = factor * _GRAM_BASE & _FULL
        found += hashes[low + j:low + j + size] * np.uint64(factor)
    found = mixed(found)
    lengths = np.diff(offsets)
    inside = np.ones(high - low, bool)
    for j in range(1, n):
        inside[(offsets[1:] - j)[lengths >= n] - low] = False
    short = np.flatnonzero((lengths < n) & (lengths > 0))
    for j in range(1, n - 1):
        inside[(offsets[short] + j)[lengths[short] > j] - low] = False
    counts = np.where(lengths > 0, np.maximum(1, lengths - n + 1), 0)
    if len(short):
        found = np.concatenate([found, np.zeros(n - 1, np.uint64)])
        found[offsets[short] - low] = span_hashes(hashes, offsets[short], offsets[short + 1])
    return found[inside[:len(found)]], np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])


def gram_spans(hashes: np.ndarray, offsets: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(first word int64 [G], word after the last int64 [G], sequences of each text int64 [D]). Words are counted through all texts."""
    offsets = np.asarray(offsets, np.int64)
    lengths = np.diff(offsets)
    low, high = int(offsets[0]), int(offsets[-1])
    if not (hashes[low:high] & np.uint64(1)).any():
        counts = np.where(lengths > 0, np.maximum(1, lengths - n + 1), 0)
        starts = ranges_of(offsets[:-1], counts)
        return starts, np.minimum(starts + n, np.repeat(offsets[1:], counts)), counts
    weights = np.where(hashes[low:high] & np.uint64(1), CHARACTER, WORD)
    total = np.concatenate([np.zeros(1, np.int64), np.cumsum(weights)])
    ends = np.searchsorted(total, total[:-1] + WORD * n) + low
    limits = np.repeat(offsets[1:], lengths)
    fits = ends <= limits
    first = np.zeros(high - low, bool)
    first[offsets[:-1][lengths > 0] - low] = True
    fits |= first       # a text too short for one sequence is a sequence itself
    starts = np.flatnonzero(fits) + low
    ends = np.minimum(ends, limits)[fits]
    before = np.concatenate([np.zeros(1, np.int64), np.cumsum(fits)])
    return starts, ends, np.diff(before[offsets - low])


def span_hashes(hashes: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """uint64: hashes of the sequences of words starts[i]:ends[i]; equal sequences have equal hashes wherever they stand."""
    if len(starts) == 0:
        return np.zeros(0, np.uint64)
    low, high = int(starts.min()), int(ends.max())
    power, inverse = _powers(high - low, _GRAM_BASE)
    sums = np.empty(high - low + 1, np.uint64)
    sums[0] = 0
    np.cumsum(hashes[low:high] * power[:high - low], out=sums[1:])
    return mixed((sums[ends - low] - sums[starts - low]) * inverse[starts - low])


def weight(hashes: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """float64 [D]: length of each text in words; characters of unspaced scripts count 5/12 of a word."""
    characters = np.concatenate([np.zeros(1, np.int64), np.cumsum((hashes & np.uint64(1)).astype(np.int64))])
    unspaced = np.diff(characters[offsets])
    return (WORD * (np.diff(offsets) - unspaced) + CHARACTER * unspaced) / WORD


def ranges_of(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """starts[0], starts[0]+1, .. (counts[0] of them), starts[1], ..."""
    total = int(counts.sum())
    before = np.cumsum(counts) - counts
    return np.arange(total) + np.repeat(starts - before, counts)
