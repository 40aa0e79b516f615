"""Finds adult, hateful and violent texts and self-harm: by word lists (resources/harm), by a classifier made from the person's own
decisions (learned.py), and, near the threshold, by a local model (judge.py). It scores; whether a document goes is a setting.

A mark is a word or phrase of a list, or two words near each other (a group of people and "vermin"). Around it, words of medicine, news,
teaching or law make it count less; some phrases ("kill the process") cancel it. The score of a kind grows with the marks and falls with the
length of the text, and never reaches 1. Lists know forms, not meaning: irony, quotation and code words escape them, in both directions.
"""

import math
import tomllib
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from ahocorasick_rs import AhoCorasick, Implementation, MatchKind

from engine.contract.errors import SettingError
from engine.contract.words import tr, trn
from engine.text.cleaning.draft import Draft, Verdict
from engine.text.cleaning.fold import fold
from engine.text.cleaning.judge import Judge
from engine.text.cleaning.learned import Learned

KINDS = ("adult", "hate", "violence", "self_harm")
LEARNED = "learned"
"""The kind of what only the person's decisions speak against."""
FOLDER = Path(__file__).resolve().parents[3] / "resources" / "harm"
BAND = 0.15
"""How far from the threshold a score is still borderline."""

_WEIGHTS = {"weak": 0.8, "clear": 2.0, "strong": 3.5}
_CONTEXT_REACH = 160        # characters
_AROUND = 240               # what is looked at around a mark; longer than any reach, with room for the words at its edge
_CONTEXT_FACTORS = (1.0, 0.5, 0.3, 0.2)     # by how many different words of a context stand around
_ARABIC_PREFIXES = frozenset("والبلكفس")
_THREE_LETTERS = {"eng": "en", "spa": "es", "por": "pt", "fra": "fr", "deu": "de", "ita": "it", "ron": "ro", "nld": "nl", "pol": "pl",
                  "rus": "ru",
                  "ara": "ar", "arb": "ar", "zho": "zh", "cmn": "zh"}


class Mark(NamedTuple):
    """`text[start:end]` speaks for a kind of harm, with a weight (already lowered by what stands around it)."""

    start: int
    end: int
    kind: str
    weight: float


class _Entry(NamedTuple):
    """What a pattern means: role "mark", "context", "harmless", or one side of a near rule ("first", "second")."""

    role: str
    kind: str = ""
    weight: float = 0.0
    rule: int = -1
    open_end: bool = False      # written with *: word beginnings
    name: bool = False          # not when capitalised: also a person's name
    script: str = ""            # "" spaced, "unspaced", "arabic"


class _Near(NamedTuple):
    kind: str
    weight: float
    within: int
    ordered: bool


@dataclass
class _List:
    """One language's file."""

    language: str
    script: str
    common: frozenset[str]
    entries: list[tuple[str, bool, _Entry]]     # (pattern, only in this language, what it means)
    near: list[_Near] = field(default_factory=list)


def _split(words: str) -> list[str]:
    return [fold(" ".join(w.split())).replace("’", "'") for w in words.split(",") if w.strip()]


@cache
def _lists() -> dict[str, _List]:
    found = {}
    for path in sorted(FOLDER.glob("*.toml")):
        given: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        made = _List(path.stem, given.get("script", ""), frozenset(given.get("common", "").split()), [])
        only_here = frozenset(_split(given.get("only_here", "")))
        names = frozenset(_split(given.get("names", "")))

        def add(word: str, entry: _Entry, made: _List = made, only_here: frozenset[str] = only_here, names: frozenset[str] = names) -> None:
            pattern = word.rstrip("*")
            assert pattern, f"{made.language}: an empty word"
            made.entries.append((pattern, word in only_here or pattern in only_here or entry.role in ("first", "second"),
                                 entry._replace(open_end=word.endswith("*"), name=pattern in names, script=made.script)))

        for kind in KINDS:
            for grade, words in given.get(kind, {}).items():
                for word in _split(words):
                    add(word, _Entry("mark", kind, _WEIGHTS[grade]))
        for words in given.get("contexts", {}).values():
            for word in _split(words):
                add(word, _Entry("context"))
        for word in _split(given.get("harmless", "")):
            add(word, _Entry("harmless"))
        for number, rule in enumerate(given.get("near", [])):
            assert rule["kind"] in KINDS, rule
            made.near.append(_Near(rule["kind"], _WEIGHTS[rule["grade"]], int(rule.get("within", 50)), bool(rule.get("ordered", False))))
            for side in ("first", "second"):
                for word in _split(rule[side]):
                    add(word, _Entry(side, rule["kind"], 0.0, number))
        found[made.language] = made
    return found


class _Patterns:
    """Many patterns searched for at once. `matches` gives each whole word found, with what it means."""

    def __init__(self, entries: Sequence[tuple[str, _Entry]], implementation: Implementation) -> None:
        patterns: dict[str, list[_Entry]] = {}
        for pattern, entry in entries:
            patterns.setdefault(pattern, []).append(entry)
        self.meanings = list(patterns.values())
        # What every meaning of a pattern demands is looked at first: most matches are pieces of other words.
        self.left = [all(not e.script for e in meant) for meant in self.meanings]
        self.right = [all(not e.script and not e.open_end for e in meant) for meant in self.meanings]
        self.automaton = AhoCorasick(list(patterns), matchkind=MatchKind.Standard, implementation=implementation) if patterns else None

    def matches(self, folded: str) -> Iterator[tuple[int, int, int, _Entry]]:
        """(number of the pattern, start, end, meaning)."""
        if self.automaton is None:
            return
        length, left, right = len(folded), self.left, self.right
        for number, start, end in self.automaton.find_matches_as_indexes(folded, overlapping=True):
            if start and left[number] and folded[start - 1].isalnum() or end < length and right[number] and folded[end].isalnum():
                continue
            for entry in self.meanings[number]:
                if _whole(folded, start, end, entry):
                    yield number, start, end, entry


class _Index:
    """The patterns that count in texts of one language: its own, and of the others the clear words that are harmless nowhere ("assassin" is
    a weak word of French and a bug in English). `marks` are searched in the whole text; `around` (contexts, harmless phrases, first sides
    of near rules: frequent words) only near what was found."""

    def __init__(self, language: str) -> None:
        chosen = [(pattern, entry) for code, words in _lists().items() for pattern, only_here, entry in words.entries
                  if code == language or not only_here and not (language and entry.role == "mark" and entry.weight < _WEIGHTS["clear"])]
        self.near = _lists()[language].near if language in _lists() else []
        self.marks = _Patterns([c for c in chosen if c[1].role in ("mark", "second")], Implementation.DFA)
        self.around = _Patterns([c for c in chosen if c[1].role not in ("mark", "second")], Implementation.ContiguousNFA)


@cache
def _index(language: str) -> _Index:
    return _Index(language)


def language_of(draft: Draft) -> str:
    """The language whose list reads the text: the identified one where it has a list, else a guess by common words, else ""."""
    code = draft.language.lower().replace("_", "-").partition("-")[0]
    code = _THREE_LETTERS.get(code, code)
    if code:
        return code if code in _lists() else ""
    beginning = fold(draft.text[:3000])
    words = beginning.split()
    best, second = ("", 0), 0
    for name, words_of in _lists().items():
        hits = sum(beginning.count(w) for w in words_of.common) if words_of.script == "unspaced" else \
            sum(w in words_of.common for w in words)
        if hits > best[1]:
            best, second = (name, hits), best[1]
        elif hits > second:
            second = hits
    return best[0] if best[1] > second else ""


def _whole(folded: str, start: int, end: int, entry: _Entry) -> bool:
    """Whether the match is a word (or begins one) and not a piece of another."""
    if entry.script == "unspaced":
        return True
    if start and folded[start - 1].isalnum():
        if entry.script != "arabic":
            return False
        at = start - 1
        while at >= max(0, start - 4) and folded[at].isalnum():
            if folded[at] not in _ARABIC_PREFIXES:
                return False
            at -= 1
        if at >= 0 and folded[at].isalnum():
            return False
    if entry.open_end or end >= len(folded) or not folded[end].isalnum():
        return True
    if entry.script == "arabic":        # endings are written on: his, their, plural
        at = end
        while at < len(folded) and folded[at].isalnum():
            at += 1
        return at - end <= 3
    return False


def marks(text: str, language: str = "", kinds: Sequence[str] = KINDS) -> list[Mark]:
    """Everything in `text` that speaks for one of `kinds`, in order. `language`: a code with a list, or ""."""
    index = _index(language)
    folded = fold(text).replace("\n", " ").replace("’", "'").replace("\u00a0", " ")
    found: list[Mark] = []
    harmless: list[tuple[int, int]] = []
    contexts: list[tuple[int, int]] = []        # (position, pattern)
    first: dict[int, list[tuple[int, int]]] = {}        # rule -> places
    second: dict[int, list[tuple[int, int]]] = {}
    for _, start, end, entry in index.marks.matches(folded):
        if entry.kind not in kinds or (entry.name and text[start].isupper() and not text[start:end].isupper()):
            continue
        if entry.role == "mark":
            found.append(Mark(start, end, entry.kind, entry.weight))
        else:
            second.setdefault(entry.rule, []).append((start, end))
    for low, high in _neighbourhoods([(m.start, m.end) for m in found] + [p for places in second.values() for p in places], len(text)):
        for number, start, end, entry in index.around.matches(folded[low:high]):
            if entry.role == "context":
                contexts.append((low + start, number))
            elif entry.role == "harmless":
                harmless.append((low + start, low + end))
            else:
                first.setdefault(entry.rule, []).append((low + start, low + end))
    contexts.sort()
    for number, places in second.items():
        found += _pairs(index.near[number], first.get(number, []), sorted(places))
    return [m._replace(weight=m.weight * _context_factor(contexts, m)) for m in _longest(found, sorted(harmless))]


def _neighbourhoods(places: list[tuple[int, int]], length: int) -> list[tuple[int, int]]:
    """What lies around the places, in order, without overlaps."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(places):
        low, high = max(0, start - _AROUND), min(length, end + _AROUND)
        if merged and low <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return merged


def _pairs(rule: _Near, first: list[tuple[int, int]], second: list[tuple[int, int]]) -> list[Mark]:
    """One mark for each second word that has a first one near."""
    if not first or not second:
        return []
    first = sorted(first)
    starts, made = [s for s, _ in first], []
    for start, end in second:
        at = bisect_right(starts, start) - 1
        if at >= 0 and first[at][1] <= start and start - first[at][1] <= rule.within:
            made.append(Mark(first[at][0], end, rule.kind, rule.weight))
        elif not rule.ordered:
            at = bisect_left(starts, end)
            if at < len(first) and first[at][0] - end <= rule.within:
                made.append(Mark(start, first[at][1], rule.kind, rule.weight))
    return made


def _longest(found: list[Mark], harmless: list[tuple[int, int]]) -> list[Mark]:
    """Without marks that touch a harmless phrase, and without those inside a longer mark of their kind (the heavier of both counts)."""
    kept: list[Mark] = []
    last: dict[str, int] = {}       # kind -> its last mark's place in `kept`
    at, reach = 0, 0
    for mark in sorted(found, key=lambda m: (m.start, -m.end)):
        while at < len(harmless) and harmless[at][0] < mark.end:
            reach = max(reach, harmless[at][1])
            at += 1
        if reach > mark.start and any(a < mark.end and b > mark.start for a, b in harmless[max(0, at - 8):at]):
            continue
        place = last.get(mark.kind, -1)
        if place >= 0 and kept[place].end >= mark.end:
            if mark.weight > kept[place].weight:
                kept[place] = kept[place]._replace(weight=mark.weight)
            continue
        last[mark.kind] = len(kept)
        kept.append(mark)
    return kept


def _context_factor(contexts: list[tuple[int, int]], mark: Mark) -> float:
    if not contexts:
        return 1.0
    low = bisect_left(contexts, (mark.start - _CONTEXT_REACH, -1))
    different = set()
    for position, pattern in contexts[low:low + 16]:
        if position > mark.end + _CONTEXT_REACH:
            break
        different.add(pattern)
    return _CONTEXT_FACTORS[min(len(different), len(_CONTEXT_FACTORS) - 1)]


def score(found: Sequence[Mark], text: str) -> dict[str, tuple[float, int]]:
    """(score 0..1, number of marks) by kind. The same word again counts half as much each time; a clear mark in a
    sentence scores 0.71, a weak one 0.39."""
    unspaced = sum("\u3040" <= c <= "\u9fff" for c in text[:400]) > 60 or (text[:1] and all("\u3040" <= c <= "\u9fff" for c in text[:4]))
    words = len(text) / (1.8 if unspaced else 5.8)
    weights: dict[str, float] = {}
    seen: dict[tuple[str, str], int] = {}
    counts: dict[str, int] = {}
    for mark in found:
        word = (mark.kind, text[mark.start:mark.end].lower())
        times = seen[word] = seen.get(word, 0) + 1
        weights[mark.kind] = weights.get(mark.kind, 0.0) + mark.weight / (1 + math.log2(times))
        counts[mark.kind] = counts.get(mark.kind, 0) + 1
    return {kind: (1 - math.exp(-weight / (1.9 * (0.85 + max(0.0, words - 30) / 120))), counts[kind]) for kind, weight in weights.items()}


class Harm:
    """The step. `learned` is `Learned.plain()` or None; `judge` names a local model, "" for none, and `cache` the file that remembers what
    it said. Under "list" documents are only scored; under "remove" those over the threshold go."""

    id = "harmful"

    def __init__(self, kinds: Sequence[str] = KINDS, threshold: float = 0.5, action: str = "list", learned: dict[str, Any] | None = None,
                 judge: str = "", cache: str = "") -> None:
        unknown = [kind for kind in kinds if kind not in KINDS]
        if unknown:
            raise SettingError(tr("{kind} is not a kind of harm.", kind=unknown[0]), tr("Known: {known}.", known=", ".join(KINDS)),
                               field="harm_kinds")
        assert action in ("list", "remove"), action
        self.kinds, self.threshold, self.action = tuple(kinds), threshold, action
        self.learned = Learned.of(learned) if learned else None
        self.judge = Judge.of(judge, Path(cache) if cache else None) if judge else None

    def __call__(self, draft: Draft) -> None:
        results = score(marks(draft.text, language_of(draft), self.kinds), draft.text)
        scores = {kind: value for kind, (value, _) in results.items()}
        kind = max(scores, key=lambda k: scores[k], default="")
        by = "lists"
        if self.learned:
            said, trust = self.learned.score(draft.text), self.learned.trust
            if kind:
                scores[kind] = (1 - trust) * scores[kind] + trust * said
                kind = max(scores, key=lambda k: scores[k])
            elif trust and said > 0.5:
                kind, by = LEARNED, "learned"
                scores[kind] = trust * said
        value = scores.get(kind, 0.0)
        borderline = bool(kind) and abs(value - self.threshold) <= BAND
        if borderline and self.judge:
            opinion = self.judge.ask(draft.text, self.kinds)
            kind = opinion.kind if opinion.kind in self.kinds else kind
            value = scores[kind] = opinion.score
            # The other kinds were less likely than the one asked about.
            scores = {k: min(v, value) for k, v in scores.items()}
            by, borderline = "judge", False
        for name, number in scores.items():
            draft.scores[f"harm:{name}"] = number
        if borderline:
            draft.borderline = self.id
        if kind and value > self.threshold and self.action == "remove":
            draft.verdict = Verdict(self.id, kind, self._detail(by, value, results.get(kind, (0.0, 0))[1]))

    def _detail(self, by: str, value: float, count: int) -> str:
        """Why, without the words themselves."""
        if by == "judge":
            return tr("the local model says so, score {score}", score=f"{value:.2f}")
        if by == "learned":
            return tr("like texts that you called harmful, score {score}", score=f"{value:.2f}")
        return trn("{count} mark, score {score}", "{count} marks, score {score}", count, score=f"{value:.2f}")
