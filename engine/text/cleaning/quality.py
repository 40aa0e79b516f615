"""Rules that tell prose from what is not, and a score of how well-formed a document is.

Three published sets, each a function of its own whose thresholds stand beside it:

    gopher     Rae et al. 2021, "Scaling Language Models", appendix A.1 and table A1. Prose in languages that put spaces between words;
               the rule on stop words for English only.
    c4         Raffel et al. 2020 (JMLR 21:140), section 2.2. English web pages. It cuts lines too. Its bad-word list is left to harm.py,
               its removal of repeated sentences to text/dedup.
    fineweb    Penedo et al. 2024, section 3.5. Web pages in languages that put spaces between words.

A set does not look at documents in other scripts or languages, nor at source code: they pass untouched. Words are what stands between
spaces, and sentences end with . ! ? before a space; the authors used tokenizers, which count a little more of both.
"""

import re
from collections import Counter
from collections.abc import Sequence
from operator import itemgetter

import numpy as np
import pyarrow as pa

from engine.contract.units import number, percent
from engine.contract.words import tr
from engine.text import scripts
from engine.text.cleaning.draft import Draft, Verdict
from engine.text.cleaning.excerpt import around
from engine.text.cleaning.language import CODE

SPACELESS = ("han", "kana", "thai", "lao", "khmer", "burmese", "tibetan")

GOPHER_WORDS = (50, 100_000)
GOPHER_WORD_LENGTH = (3.0, 10.0)
GOPHER_SYMBOLS = 0.1
GOPHER_BULLETS = 0.9
GOPHER_ELLIPSES = 0.3
GOPHER_LETTERED = 0.8
GOPHER_STOP_WORDS = frozenset(("the", "be", "to", "of", "and", "that", "have", "with"))
GOPHER_STOP_WORDS_FOUND = 2
GOPHER_REPEATED = {"paragraphs": 0.30, "paragraph_letters": 0.20, "lines": 0.30, "line_letters": 0.20}
GOPHER_TOP = {2: 0.20, 3: 0.18, 4: 0.16}
GOPHER_REPEATED_GRAMS = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}

C4_SENTENCES, C4_LINE_WORDS, C4_WORD = 3, 5, 1_000
C4_ENDS = (".", "?", "!", '"', "'")
C4_POLICY = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")

FINEWEB_LINE_ENDS = 0.12
FINEWEB_REPEATED = 0.1
FINEWEB_SHORT, FINEWEB_SHORT_LINE = 0.67, 30
FINEWEB_BREAKS = 0.3        # line ends a word, as in the authors' code

_PUNCTUATION = "".join(map(chr, (*range(33, 48), *range(58, 65), *range(91, 97), *range(123, 127)))) + "¡§«·»¿–—‘’‚“”„†•…‹›−"
_ENDS = (".", "!", "?", "…", "。", "．", "！", "？", "؟", "۔", "।", "॥", "։", "።", "፧", "჻", "។", "៕")
_CLOSING = " \t\"')]»”’"       # a quotation that ends with a full stop ends a sentence; the authors' code does not look past the quote
_PARAGRAPH = re.compile(r"\n{2,}")
_LINES = re.compile(r"\n+")
_SENTENCE = re.compile(r"[.!?][\"')\]]*(?:\s|$)")
_CITATION = re.compile(r"\[\d{1,4}\]|\[edit\]|\[citation needed\]")


class Quality:
    """Removes what the chosen sets reject. `identified`: whether documents come with their language."""

    id = "quality"

    def __init__(self, gopher: bool, c4: bool, fineweb: bool, identified: bool = True) -> None:
        self.gopher, self.c4, self.fineweb, self.identified = gopher, c4, fineweb, identified

    def __call__(self, draft: Draft) -> None:
        if draft.language == CODE:
            return
        script = main_script(draft.text)
        english = draft.language == "en" or (not self.identified and script == "latin")
        if script and script not in SPACELESS:
            found = gopher(draft.text, english) if self.gopher else None
            found = found or (fineweb(draft.text) if self.fineweb else None)
            if found:
                draft.verdict = Verdict(self.id, *found)
                return
        if self.c4 and english and script == "latin":
            text, cut, found = c4(draft.text)
            if found:
                draft.verdict = Verdict(self.id, *found)
            elif cut:
                draft.touch(self.id, text, cut, *around(draft.text, text), "c4_lines")


def main_script(text: str) -> str:
    """The script of most letters at the beginning of a text; "" without letters."""
    counts = np.bincount(scripts.codes(text[:1_000]), minlength=len(scripts.NAMES))
    counts[[scripts.NAMES.index(scripts.COMMON), scripts.NAMES.index("emoji")]] = 0
    best = int(counts.argmax())
    return scripts.NAMES[best] if counts[best] else ""


# ---- the rules: (id, what was found for people), or None


def gopher(text: str, english: bool) -> tuple[str, str] | None:
    """Word count, word length, symbols, bullets, ellipses, words with letters, stop words; then repetition."""
    words = text.split()
    spoken = [w for w in words if w.strip(_PUNCTUATION)]
    if not GOPHER_WORDS[0] <= len(spoken) <= GOPHER_WORDS[1]:
        return "gopher_word_count", tr("{count} words", count=number(len(spoken)))
    mean = sum(map(len, spoken)) / len(spoken)
    if not GOPHER_WORD_LENGTH[0] <= mean <= GOPHER_WORD_LENGTH[1]:
        return "gopher_word_length", tr("{mean} letters a word", mean=number(mean, 1))
    for sign in (text.count("#"), text.count("...") + text.count("…")):
        if sign / len(words) > GOPHER_SYMBOLS:
            return "gopher_symbols", tr("{share} symbols", share=percent(sign / len(words)))
    lines = text.splitlines()
    bullets = sum(line.lstrip().startswith(("•", "-")) for line in lines) / len(lines)
    if bullets > GOPHER_BULLETS:
        return "gopher_bullets", tr("{share} of lines are list items", share=percent(bullets))
    ellipses = sum(line.rstrip().endswith(("...", "…")) for line in lines) / len(lines)
    if ellipses > GOPHER_ELLIPSES:
        return "gopher_ellipses", tr("{share} of lines break off", share=percent(ellipses))
    lettered = sum(w.isalpha() or any(map(str.isalpha, w)) for w in words) / len(words)
    if lettered < GOPHER_LETTERED:
        return "gopher_lettered", tr("{share} of words have letters", share=percent(lettered))
    if english and len(GOPHER_STOP_WORDS.intersection(words)) < GOPHER_STOP_WORDS_FOUND:
        return "gopher_stop_words", tr("hardly any of the commonest words")
    return gopher_repetition(text, words)


def gopher_repetition(text: str, words: Sequence[str]) -> tuple[str, str] | None:
    """Table A1: paragraphs, lines and word sequences that stand in a document more than once."""
    for kind, pieces in (("paragraph", _PARAGRAPH.split(text.strip())), ("line", _LINES.split(text))):
        again, letters = repeated(pieces)
        for name, share in ((f"{kind}s", again / len(pieces)), (f"{kind}_letters", letters / len(text))):
            if share > GOPHER_REPEATED[name]:
                return f"gopher_repeated_{name}", tr("{share} repeated", share=percent(share))
    for size, limit in GOPHER_TOP.items():
        share = top_share(words, size, len(text))
        if share > limit:
            return f"gopher_top_{size}_gram", tr("one sequence of {count} words makes {share}", count=size, share=percent(share))
    for size, limit in GOPHER_REPEATED_GRAMS.items():
        share = repeated_share(words, size, len(text))
        if share > limit:
            return f"gopher_repeated_{size}_grams", tr("{share} repeated", share=percent(share))
        if share == 0:
            break       # longer sequences cannot repeat where shorter ones do not
    return None


def repeated(pieces: Sequence[str]) -> tuple[int, int]:
    """How many pieces stood before, and their characters."""
    times = Counter(pieces)
    if len(times) == len(pieces):
        return 0, 0
    return len(pieces) - len(times), sum(len(piece) * (n - 1) for piece, n in times.items())


def top_share(words: Sequence[str], size: int, characters: int) -> float:
    """Share of a text's characters in its commonest sequence of `size` words; 0 where none stands twice."""
    times = Counter(zip(*(words[i:] for i in range(size)), strict=False))
    if not times:
        return 0.0
    sequence, most = max(times.items(), key=itemgetter(1))
    return len(" ".join(sequence)) * most / characters if most > 1 else 0.0


def repeated_share(words: Sequence[str], size: int, characters: int) -> float:
    """Share of a text's characters in sequences of `size` words that stood before, none counted twice."""
    sequences = list(zip(*(words[i:] for i in range(size)), strict=False))
    if len(set(sequences)) == len(sequences):
        return 0.0
    seen: set[tuple[str, ...]] = set()
    letters = at = 0
    while at < len(sequences):
        sequence = sequences[at]
        if sequence in seen:
            letters += sum(map(len, sequence))
            at += size
        else:
            seen.add(sequence)
            at += 1
    return letters / characters


def c4(text: str) -> tuple[str, int, tuple[str, str] | None]:
    """(text without the lines that C4 cuts, how many went, why the document goes or None)."""
    kept: list[str] = []
    cut = sentences = 0
    for line in text.split("\n"):
        bare = _CITATION.sub("", line.strip())
        if not bare:
            kept.append(line)
            continue
        words, low = bare.split(), bare.lower()
        if "lorem ipsum" in low:
            return text, 0, ("c4_lorem_ipsum", tr("placeholder text"))
        if "{" in bare:
            return text, 0, ("c4_curly_bracket", tr("a curly bracket, as in programs"))
        if (not bare.endswith(C4_ENDS) or bare.endswith("...") or len(words) < C4_LINE_WORDS or max(map(len, words)) > C4_WORD
                or "javascript" in low or any(phrase in low for phrase in C4_POLICY)):
            cut += 1
            continue
        sentences += max(1, len(_SENTENCE.findall(bare)))
        kept.append(line)
    if sentences < C4_SENTENCES:
        return text, 0, ("c4_sentences", tr("{count} whole sentences", count=number(sentences)))
    return "\n".join(kept).strip("\n"), cut, None


def fineweb(text: str) -> tuple[str, str] | None:
    """Line ends, short lines, repeated lines, line breaks."""
    lines = [line for line in text.split("\n") if line and not line.isspace()]
    if not lines:
        return None
    ended = sum(line.rstrip(_CLOSING).endswith(_ENDS) for line in lines) / len(lines)
    if ended < FINEWEB_LINE_ENDS:
        return "fineweb_line_ends", tr("{share} of lines end as sentences do", share=percent(ended))
    short = sum(len(line) <= FINEWEB_SHORT_LINE for line in lines) / len(lines)
    if short > FINEWEB_SHORT:
        return "fineweb_short_lines", tr("{share} of lines are short", share=percent(short))
    breaks = text.count("\n")
    again = repeated(lines)[1] / max(1, len(text) - breaks)
    if again > FINEWEB_REPEATED:
        return "fineweb_repeated_lines", tr("{share} repeated", share=percent(again))
    share = breaks / max(1, len(text.split()))
    if share > FINEWEB_BREAKS:
        return "fineweb_line_breaks", tr("{share} line breaks a word", share=number(share, 1))
    return None


# ---- the score

_BLOCK = 1 << 18
_FIELD = 21         # bits of one count; three counts share a 64-bit word, so that one pass over the bytes makes three
_MASK = (1 << _FIELD) - 1


def _packed(*kinds: bytes) -> np.ndarray:
    table = np.zeros(256, np.uint64)
    for place, kind in enumerate(kinds):
        table[list(kind)] |= np.uint64(1 << (place * _FIELD))
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
            for place in range(3):
                made[first + full, column + place] += ((sums >> np.uint64(place * _FIELD)) & np.uint64(_MASK)).astype(np.int64)
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
