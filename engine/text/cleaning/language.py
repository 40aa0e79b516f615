"""Which language a document is in: by its script where that decides, else by py3langid's model (naive Bayes over byte n-grams; BSD; it
comes inside its wheel, so that nothing is downloaded).

Up to five passages of a document are looked at, each by itself: from the beginning, the middle and the end. All passages of a part are
walked through the model's automaton together, byte by byte, several times faster than one after the other. When passages are in different
languages the document is mixed: it goes under the language of most of its letters, with a score lowered by their share.

Codes are ISO 639: "" where the text is too short or too unclear, "zxx" (no linguistic content) for files of source code and what looks
like it. Norwegian is "no" or "nn", Chinese is "zh" and Arabic is "ar" whatever the variety. Dialects and some twenty rare languages that
the model knows, and that take short texts away from large ones, are left out.
"""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from engine.contract.units import percent
from engine.contract.words import tr
from engine.text import scripts
from engine.text.cleaning.draft import Draft, Verdict

CODE = "zxx"
PASSAGE = 150
"""Characters of a passage: three of 200 are no more accurate and cost a third more."""
LETTERS = 12
"""Fewer letters than this say nothing."""
CERTAIN = 0.5
"""Below this score the language is unknown."""
_ROWS = 256

CODE_FILES = frozenset(
    "py pyi pyx ipynb c h cc cpp cxx hpp hxx hh cs java kt kts scala groovy gradle js mjs cjs jsx ts tsx vue svelte go rs rb php swift m "
    "mm pl pm r "
    "jl lua sh bash zsh fish ps1 bat cmd sql css scss sass less erb hs ml mli fs fsx ex exs erl hrl clj cljs lisp el scm rkt dart zig nim "
    "v vhd vhdl sv asm s f f90 f95 for pas ada cob cmake make mk dockerfile proto thrift graphql yaml yml toml ini cfg conf lock xsd "
    "tf nix cu cuh glsl hlsl wgsl metal patch diff".split())

_BY_SCRIPT = {"greek": "el", "hebrew": "he", "armenian": "hy", "georgian": "ka", "thai": "th", "lao": "lo", "khmer": "km", "burmese": "my",
              "tibetan": "bo", "tamil": "ta", "telugu": "te", "kannada": "kn", "malayalam": "ml", "sinhala": "si", "gujarati": "gu",
              "gurmukhi": "pa", "hangul": "ko", "ethiopic": "am"}
_BY_MODEL = {
    "latin": "af az br bs ca cs cy da de en eo es et eu fi fo fr fy ga gd gl ha hr ht hu id ig is it jv ku la lb lg lt lv mg ms mt nl no "
             "nn oc om pl pt qu ro rw sk sl so sq st sv sw tl tn tr uz vi wa xh yo zu zxx".split(),
    "cyrillic": "ba be bg kk ky mk mn ru sr tg tt uk".split(),
    "arabic": "ar fa ps ug ur sd ku".split(),
    "devanagari": "hi mr ne sa".split(),
    "bengali": "bn as".split(),
}
_CJK = ("han", "kana")
_DENSE = [scripts.NAMES.index(name) for name in ("kana", "han", "hangul")]
_ALIKE = {"bs": "hr", "sr": "hr", "nn": "no", "nb": "no", "da": "no", "ms": "id"}
"""Languages so close that passages which seem to be in both do not make a text mixed."""


class Language(NamedTuple):
    """`code` "" is unknown; `score` 0..1; `mixed` when some of the text is in another language."""

    code: str
    score: float
    mixed: bool = False


class Languages:
    """Sets each document's language. With `keep`, documents that are for certain in another language are removed; those of unknown
    language and source code stay."""

    id = "language"

    def __init__(self, keep: Sequence[str] = ()) -> None:
        self.keep = frozenset(code.strip().lower() for code in keep)

    def batch(self, drafts: Sequence[Draft]) -> None:
        rows = [d for d in drafts if not is_code(d.source)]
        for draft in drafts:
            if is_code(draft.source):
                draft.language, draft.language_score = CODE, 1.0
        for draft, found in zip(rows, identify([d.text for d in rows]), strict=True):
            draft.language, draft.language_score = found.code, found.score
            if found.mixed:
                draft.scores["mixed"] = 1.0
        if self.keep:
            for draft in drafts:
                if draft.language not in self.keep and draft.language not in ("", CODE):
                    draft.verdict = Verdict(self.id, f"language_{draft.language}", tr("{language}, certain to {share}",
                                            language=name(draft.language), share=percent(draft.language_score)))

    def __call__(self, draft: Draft) -> None:
        self.batch([draft])


def known() -> frozenset[str]:
    """The codes that `identify` gives, but for "" (unknown)."""
    return frozenset({CODE, "ja", "zh", *_BY_SCRIPT.values(), *(code for codes in _BY_MODEL.values() for code in codes)})


def is_code(source: str) -> bool:
    """Whether a file's name says that it holds a program or a configuration."""
    file = source.rsplit("/", 1)[-1].lower()
    return file.rpartition(".")[2] in CODE_FILES


# ---- identification


def identify(texts: Sequence[str]) -> list[Language]:
    """The language of each text. What stands beside a text changes nothing."""
    passages: list[str] = []
    owners: list[int] = []
    for number, text in enumerate(texts):
        found = _passages(text)
        passages += found
        owners += [number] * len(found)
    if not passages:
        return []
    counts = _script_counts(passages)
    main, most = counts.argmax(1), counts.max(1)
    whole = np.add.reduceat(counts, np.flatnonzero(np.diff(owners, prepend=-1)), axis=0)
    # One language of each passage, and of each text one candidate a script: (letters, code, score).
    spoken = [_Passage("", 0.0, int(of)) for of in most]
    candidates: list[list[tuple[int, str, float]]] = [[] for _ in texts]
    for kind in np.unique(main[most > 0]).tolist():
        rows = np.flatnonzero((main == kind) & (most > 0))
        held = np.asarray(owners)[rows]
        starts = np.flatnonzero(np.diff(held, prepend=-1))
        sums = np.add.reduceat(most[rows], starts)
        script = scripts.NAMES[kind]
        if script in _BY_MODEL:
            codes = _model().codes[script]
            raw = [(passages[i].lower() if passages[i].isupper() else passages[i]).encode() for i in rows]
            made, sizes = _model().scores(script, raw), np.array([len(r) for r in raw])
            for i, best, score in zip(rows, *_best(made, sizes), strict=True):
                spoken[i] = _Passage(codes[best], score, int(most[i]))
            totals = _best(np.add.reduceat(made, starts, axis=0), np.add.reduceat(sizes, starts))
            for owner, of, best, score in zip(held[starts].tolist(), sums.tolist(), *totals, strict=True):
                candidates[owner].append((of, codes[best], score))
        else:
            for i in rows:
                spoken[i] = _Passage(_by_script(script, whole[owners[i]]), 1.0, int(most[i]))
            for owner, of in zip(held[starts].tolist(), sums.tolist(), strict=True):
                candidates[owner].append((of, _by_script(script, whole[owner]), 1.0))
    out, at = [], 0
    letters = whole.sum(1).tolist()
    for number in range(len(texts)):
        end = at
        while end < len(owners) and owners[end] == number:
            end += 1
        enough = letters[number] >= LETTERS
        out.append(_together(candidates[number], spoken[at:end], letters[number]) if enough else Language("", 0.0))
        at = end
    return out


class _Passage(NamedTuple):
    code: str
    score: float
    letters: int


def _passages(text: str) -> list[str]:
    """Passages spread evenly over a text: all of a short one."""
    length = len(text)
    number = 1 if length < 2 * PASSAGE else 3 if length < 4_000 else 5
    if number == 1:
        return [text]
    step = (length - PASSAGE) / (number - 1)
    return [text[int(i * step):int(i * step) + PASSAGE] for i in range(number)]


def _script_counts(passages: Sequence[str]) -> np.ndarray:
    """int [passages, scripts]: letters of each script; digits, spaces, signs and emoji are left out. A Han, kana or Hangul character says
    as much as three letters."""
    kinds = len(scripts.NAMES)
    if not passages:
        return np.zeros((0, kinds), np.int64)
    codes = scripts.codes("".join(passages))
    rows = np.repeat(np.arange(len(passages)), [len(p) for p in passages])
    made = np.bincount(rows * kinds + codes, minlength=len(passages) * kinds).reshape(len(passages), kinds)
    made[:, [scripts.NAMES.index(s) for s in (scripts.COMMON, "emoji")]] = 0
    made[:, _DENSE] *= 3
    return made


def _together(candidates: Sequence[tuple[int, str, float]], spoken: Sequence[_Passage], letters: int) -> Language:
    """The verdict over a document's passages."""
    if not candidates:
        return Language("", 0.0)
    most = max(of for of, _, _ in candidates)
    _, best, score = next(c for c in candidates if c[0] == most)
    mine, mixed = 0, False
    for passage in spoken:
        other = _ALIKE.get(passage.code, passage.code) != _ALIKE.get(best, best)
        if other and passage.score >= 0.8 and passage.letters >= 4 * LETTERS:
            mixed = True
        else:
            mine += passage.letters
    score = round(score * mine / max(1, letters), 4)
    return Language(best if score >= (CERTAIN / 2 if mixed else CERTAIN) else "", score, mixed)


def _by_script(script: str, counts: np.ndarray) -> str:
    if script in _CJK:
        kana, han, hangul = counts[_DENSE].tolist()
        return "ja" if kana * 12 >= han else "ko" if hangul * 2 >= han else "zh"
    return _BY_SCRIPT.get(script, "")


def _best(made: np.ndarray, sizes: np.ndarray) -> tuple[list[int], list[float]]:
    """The best language of each row of scores, and its share of certainty; divided by the root of the length, without which every long
    text is certain."""
    chances = np.exp((made - made.max(1, keepdims=True)) / np.sqrt(np.maximum(1, sizes))[:, None])
    best = chances.argmax(1)
    return best.tolist(), (chances[np.arange(len(best)), best] / chances.sum(1)).tolist()


class _Model:
    """py3langid's model, a table a script, for many texts at once."""

    def __init__(self) -> None:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier

        whole = LanguageIdentifier.from_model_file(MODEL_FILE)
        self.next = np.asarray(whole.tk_nextmove, np.int32)
        self.base = np.asarray(whole.tk_row, np.int32) << 8
        self.out = np.asarray(whole.tk_output, np.int32)
        self.codes: dict[str, list[str]] = {}
        self.tables: dict[str, np.ndarray] = {}
        self.priors: dict[str, np.ndarray] = {}
        for group, wanted in _BY_MODEL.items():
            columns = [i for i, code in enumerate(whole.nb_classes) if code in wanted]
            self.codes[group] = [whole.nb_classes[i] for i in columns]
            self.tables[group] = np.ascontiguousarray(whole.nb_ptc[:, columns], np.float32)
            self.priors[group] = np.asarray(whole.nb_pc[columns], np.float32)

    def scores(self, group: str, texts: Sequence[bytes]) -> np.ndarray:
        """float32 [texts, languages of the group]: log-posteriors."""
        made = np.empty((len(texts), len(self.codes[group])), np.float32)
        order = np.argsort([len(t) for t in texts], kind="stable")
        for at in range(0, len(texts), _ROWS):
            rows = order[at:at + _ROWS]
            made[rows] = self._scores(group, [texts[i] for i in rows])
        return made

    def _scores(self, group: str, texts: Sequence[bytes]) -> np.ndarray:
        lengths = np.array([len(t) for t in texts])
        width = int(lengths.max())
        letters = np.frombuffer(b"".join(t.ljust(width, b"\0") for t in texts), np.uint8).reshape(len(texts), width).T
        found = np.empty((width, len(texts)), np.int32)
        state = np.zeros(len(texts), np.int32)
        for place in range(width):
            state = self.next[self.base[state] + letters[place]]
            found[place] = self.out[state]
        found[np.arange(width)[:, None] >= lengths] = -1
        features = len(self.tables[group])
        seen = found >= 0
        keys, times = np.unique((np.arange(len(texts)) * features + found)[seen], return_counts=True)
        weighted = self.tables[group][keys % features]
        weighted *= np.log1p(times.astype(np.float32))[:, None]
        rows = keys // features
        made = np.tile(self.priors[group], (len(texts), 1))
        starts = np.flatnonzero(np.diff(rows, prepend=-1))
        if len(starts):
            made[rows[starts]] += np.add.reduceat(weighted, starts, axis=0)
        return made


@cache
def _model() -> _Model:
    return _Model()


def name(code: str) -> str:
    """A language's name for people; the code itself where there is none."""
    return _names().get(code, code)


def _names() -> dict[str, str]:
    return {
        "": tr("Unknown"), CODE: tr("Source code"), "af": tr("Afrikaans"), "am": tr("Amharic"), "ar": tr("Arabic"), "as": tr("Assamese"),
        "az": tr("Azerbaijani"), "ba": tr("Bashkir"), "be": tr("Belarusian"), "bg": tr("Bulgarian"), "bn": tr("Bengali"),
        "bo": tr("Tibetan"), "br": tr("Breton"), "bs": tr("Bosnian"), "ca": tr("Catalan"), "cs": tr("Czech"), "cy": tr("Welsh"),
        "da": tr("Danish"), "de": tr("German"), "el": tr("Greek"), "en": tr("English"), "eo": tr("Esperanto"), "es": tr("Spanish"),
        "et": tr("Estonian"), "eu": tr("Basque"), "fa": tr("Persian"), "fi": tr("Finnish"), "fo": tr("Faroese"), "fr": tr("French"),
        "fy": tr("Frisian"), "ga": tr("Irish"), "gd": tr("Scottish Gaelic"), "gl": tr("Galician"), "gu": tr("Gujarati"), "ha": tr("Hausa"),
        "he": tr("Hebrew"), "hi": tr("Hindi"), "hr": tr("Croatian"), "ht": tr("Haitian Creole"), "hu": tr("Hungarian"),
        "hy": tr("Armenian"), "id": tr("Indonesian"), "ig": tr("Igbo"), "is": tr("Icelandic"), "it": tr("Italian"), "ja": tr("Japanese"),
        "jv": tr("Javanese"), "ka": tr("Georgian"), "kk": tr("Kazakh"), "km": tr("Khmer"), "kn": tr("Kannada"), "ko": tr("Korean"),
        "ku": tr("Kurdish"), "ky": tr("Kyrgyz"), "la": tr("Latin"), "lb": tr("Luxembourgish"), "lg": tr("Ganda"), "lo": tr("Lao"),
        "lt": tr("Lithuanian"), "lv": tr("Latvian"), "mg": tr("Malagasy"), "mk": tr("Macedonian"), "ml": tr("Malayalam"),
        "mn": tr("Mongolian"), "mr": tr("Marathi"), "ms": tr("Malay"), "mt": tr("Maltese"), "my": tr("Burmese"), "ne": tr("Nepali"),
        "nl": tr("Dutch"), "nn": tr("Norwegian Nynorsk"), "no": tr("Norwegian"), "oc": tr("Occitan"), "om": tr("Oromo"),
        "pa": tr("Punjabi"), "pl": tr("Polish"), "ps": tr("Pashto"), "pt": tr("Portuguese"), "qu": tr("Quechua"), "ro": tr("Romanian"),
        "ru": tr("Russian"), "rw": tr("Kinyarwanda"), "sa": tr("Sanskrit"), "si": tr("Sinhala"), "sk": tr("Slovak"), "sl": tr("Slovenian"),
        "so": tr("Somali"), "sq": tr("Albanian"), "sr": tr("Serbian"), "st": tr("Sotho"), "sv": tr("Swedish"), "sw": tr("Swahili"),
        "ta": tr("Tamil"), "te": tr("Telugu"), "tg": tr("Tajik"), "th": tr("Thai"), "tl": tr("Tagalog"), "tn": tr("Tswana"),
        "tr": tr("Turkish"), "tt": tr("Tatar"), "ug": tr("Uyghur"), "uk": tr("Ukrainian"), "ur": tr("Urdu"), "uz": tr("Uzbek"),
        "vi": tr("Vietnamese"), "wa": tr("Walloon"), "xh": tr("Xhosa"), "yo": tr("Yoruba"), "zh": tr("Chinese"), "zu": tr("Zulu"),
    }
