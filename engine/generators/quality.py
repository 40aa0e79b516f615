"""Checks of examples that a model wrote: form, length, language, refusals, parroting, loops, chat marks, duplicates, held-out questions.

Each check gives a flag (flags.py says what it means), never a verdict on the row: flagged rows wait among the rejected. A check speaks only
where it is sure; what it cannot tell (the language of three words) it lets pass. Right or wrong is the judge's.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from engine.contract.errors import FormatError
from engine.contract.rows import Example
from engine.contract.words import tr
from engine.generators import answers
from engine.generators.language_names import code_of, names_a_language
from engine.generators.refusal_words import refuses, says_it_is_not_there
from engine.generators.seen_prompts import SeenPrompts
from engine.text.cleaning import language
from engine.text.dedup import grams
from engine.text.dedup.contamination import HeldOut, scan
from engine.text.dedup.held_out_rows import Item, read_items

SURE, LETTERS = 0.9, 40
"""Certainty and letters from which on a language counts."""
LOOP_WORDS, LOOP_TIMES = 16, 4
"""So many words that are the same few, so often in a row, are a loop."""
REPEATED = 0.6
"""Share of word sequences that stood before in the same text, of long texts."""
HELD_OUT_WORDS = 3
"""Held-out texts of fewer words are no questions but answers, and stand in any text."""
BATCH = 512

_FENCED = re.compile(r"```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)|`[^`\n]+`", re.S)
_ADDRESS = re.compile(r"https?://\S+|\S+@\S+\.\w+")
_MARKS = re.compile(
    r"<\|(?:im_start|im_end|endoftext|eot_id|end|user|assistant|system|start_header_id|end_header_id|begin_of_text|end_of_text|eom_id)\|>|"
    r"<(?:start|end)_of_turn>|\[/?INST\]|<</?SYS>>|</s>|<\|?(?:EOT|eos|bos|pad)\|?>|^#{2,3} ?(?:Instruction|Response|Human|Assistant):\s*$|"
    r"^(?:Human|Assistant|User|ASSISTANT|USER):[ \n]|<\|end\|>", re.M)
_STRUCK = re.compile(r"<s>[^<]*</s>")      # HTML, where </s> by itself ends a text
_ONE_SIGN = re.compile(r"([^\W\d_])\1{39,}")
_THOUGHT = re.compile(r"<(think|thinking)>.*?</\1>\s*", re.S | re.I)


@dataclass(frozen=True)
class CheckSettings:
    """
    language        in words, as the person wrote it; "" for that of the prompt
    prompts_too     the prompt must be in the named language as well: for recipes that write prompts
    duplicates      similarity from which on a prompt was there before; 0: never looked
    whole           compare prompt and answer together: for recipes that answer the same prompts again
    answer_schema   JSON schema that every answer must fit, if not empty
    longest         characters; 0: no limit
    """

    shortest: int = 1
    longest: int = 0
    refusals: bool = True
    check_language: bool = True
    language: str = ""
    prompts_too: bool = False
    duplicates: float = 0.8
    whole: bool = False
    parrots: bool = True
    repetition: bool = True
    answer_schema: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: Mapping[str, Any], recipe_checks: Mapping[str, Any], kind: str) -> "CheckSettings":
        """From the plain values of a run's spec and a recipe's [checks], which may set shortest, longest, refusals, language, parrots,
        repetition, duplicates, answer_schema. The stricter length counts; what either turns off is off. FormatError names what the recipe
        has wrong."""
        kinds: dict[str, tuple[type, ...]] = {"shortest": (int,), "longest": (int,), "refusals": (bool,), "language": (bool,),
                                              "parrots": (bool,), "repetition": (bool,), "duplicates": (int, float),
                                              "answer_schema": (dict,)}
        for name, value in recipe_checks.items():
            if name not in kinds:
                raise FormatError(tr("The recipe has no check called {name}.", name=name),
                                  tr("Choose among: {names}.", names=", ".join(kinds)), field="recipe")
            if not isinstance(value, kinds[name]) or (isinstance(value, bool) and bool not in kinds[name]):
                raise FormatError(tr("The recipe's check {name} cannot be {value}.", name=name, value=repr(value)),
                                  tr("Correct it in the recipe."), field="recipe")
        schema = dict(recipe_checks.get("answer_schema", {}))
        if schema:
            answers.check_schema(schema, "answer_schema")

        def on(name: str, mine: bool = True) -> bool:
            return mine and bool(recipe_checks.get(name, True))

        duplicates = float(recipe_checks.get("duplicates", settings.get("duplicates", 0.8))) if settings.get("duplicates", 0.8) else 0.0
        return cls(shortest=max(int(settings.get("shortest", 1)), int(recipe_checks.get("shortest", 0))),
                   longest=int(recipe_checks.get("longest", 0)), refusals=on("refusals", bool(settings.get("refusals", True))),
                   check_language=on("language", bool(settings.get("check_language", True))), language=str(settings.get("language", "")),
                   prompts_too=kind not in ("answers", "python"),
                   duplicates=min(1.0, max(0.0, duplicates)), whole=kind == "answers", parrots=on("parrots"), repetition=on("repetition"),
                   answer_schema=schema)


class Checks:
    """Looks at examples as they come; remembers their prompts. Not for several threads at once."""

    def __init__(self, settings: CheckSettings | None = None) -> None:
        self.settings = settings or CheckSettings()
        self.wanted = code_of(self.settings.language)
        self._seen = SeenPrompts(self.settings.duplicates) if self.settings.duplicates else None
        self._held: HeldOut | None = None
        self._questions: SeenPrompts | None = None

    @property
    def language_unknown(self) -> bool:
        """Whether a language was named that cannot be told from others: its check is then not made, which the person should know."""
        return bool(self.settings.check_language and self.settings.language.strip() and not self.wanted)

    # ---- what was there before

    def know(self, examples: Iterable[Example]) -> None:
        """Rows that are there already, of the run or of sets of the library: nothing near them passes."""
        if self._seen is not None:
            self._seen.add(_key(e, self.settings.whole) for e in examples)

    def hold_out(self, paths: Sequence[str | Path] = (), examples: Iterable[tuple[str, Example]] = ()) -> int:
        """Evaluation sets whose questions must not be among the rows: files as a corpus takes them, and (set, example) of the library;
        how many items. Raises what engine.text.dedup.held_out_rows.read_items does."""
        items = list(read_items(paths)) if paths else []
        for name, example in examples:
            texts = tuple(m.content for m in example.messages if m.role in ("user", "assistant"))
            items.append(Item(name, f"{name}:{example.id}", texts))
        self._held = HeldOut.of_items(items)
        self._questions = SeenPrompts(self.settings.duplicates or 0.8)
        texts = [text for item in items for text in item.fields]
        hashes, offsets = grams.word_hashes(texts)
        long = grams.weight(hashes, offsets) >= HELD_OUT_WORDS
        self._questions.add(text for text, enough in zip(texts, long.tolist(), strict=True) if enough)
        return len(items)

    # ---- examples

    def look(self, example: Example) -> tuple[str, ...]:
        """The flags of one example; its own are not repeated. An example without any is remembered."""
        return self.look_all([example])[0]

    def look_all(self, examples: Sequence[Example]) -> list[tuple[str, ...]]:
        """Those of many, in their order: faster than one by one, and the same."""
        out: list[tuple[str, ...]] = []
        for at in range(0, len(examples), BATCH):
            out += self._look(examples[at:at + BATCH])
        return out

    def looked(self, example: Example) -> Example:
        """The example with all its flags."""
        return example.model_copy(update={"flags": tuple(dict.fromkeys((*example.flags, *self.look(example))))})

    def _look(self, examples: Sequence[Example]) -> list[tuple[str, ...]]:
        found: list[list[str]] = [self._alone(e) for e in examples]
        if self.settings.check_language:
            for flags, other in zip(found, self._other_language(examples), strict=True):
                if other:
                    flags.append("language")
        if self._held is not None and self._questions is not None:
            texts = ["\n\n".join(m.content for m in e.messages if m.role != "system") for e in examples]
            hit = {h.row for h in scan(texts, self._held)}
            near = self._questions.look([_key(e, False) for e in examples], keep=False)
            last = self._questions.look([_last_prompt(e) for e in examples], keep=False)
            for number, flags in enumerate(found):
                if number in hit or near[number] or last[number]:
                    flags.append("held_out")
        if self._seen is not None:
            # What is set aside for another reason does not stand in the way of a better one.
            clean = [not (flags or e.flags) for flags, e in zip(found, examples, strict=True)]
            for near_one, flags in zip(self._seen.look([_key(e, self.settings.whole) for e in examples], clean), found, strict=True):
                if near_one:
                    flags.append("duplicate")
        return [tuple(dict.fromkeys(f for f in flags if f not in e.flags)) for flags, e in zip(found, examples, strict=True)]

    def _alone(self, example: Example) -> list[str]:
        """What can be said of an example by itself."""
        settings, flags = self.settings, []
        answer, prompt = _answer(example), _last_prompt(example)
        bare = _THOUGHT.sub("", answer).strip()
        if not any(map(str.isalnum, bare)) and not _says_something(bare):
            return ["empty"]
        if len(bare) < settings.shortest:
            flags.append("too_short")
        if settings.longest and len(bare) > settings.longest:
            flags.append("too_long")
        if settings.answer_schema:
            try:
                answers.read_json(bare, settings.answer_schema)
            except answers.Unreadable:
                flags.append("schema")
        if unfinished(bare):
            flags.append("cut")
        if settings.refusals and refuses(bare):
            flags.append("refusal")
        if example.facts.get("document") and says_it_is_not_there(bare):
            flags.append("no_answer")
        prose = _STRUCK.sub(" ", _FENCED.sub(" ", bare))
        if _MARKS.search(prose) and not _MARKS.search(prompt):
            flags.append("markup")
        if settings.parrots and parrots(prompt, bare):
            flags.append("parrots")
        if settings.repetition and loops(prose):
            flags.append("repetition")
        return flags

    def _other_language(self, examples: Sequence[Example]) -> list[bool]:
        answers_ = [_prose(_THOUGHT.sub("", _answer(e))) for e in examples]
        spoken = language.identify(answers_)
        if self.wanted:
            off = [_other(code, self.wanted) for code in _sure(answers_, spoken)]
            if self.settings.prompts_too:
                prompts = [_prose(_last_prompt(e)) for e in examples]
                asked = _sure(prompts, language.identify(prompts))
                off = [one or _other(code, self.wanted) for one, code in zip(off, asked, strict=True)]
            return off
        if self.settings.language:
            return [False] * len(examples)
        # The prompt's own language, unless it speaks of languages.
        prompts = [_prose(_last_prompt(e)) for e in examples]
        asked = language.identify(prompts)
        return [bool(theirs and _other(mine, theirs)) and not names_a_language(_asked(e))
                for e, mine, theirs in zip(examples, _sure(answers_, spoken), _sure(prompts, asked), strict=True)]


def _sure(texts: Sequence[str], found: Sequence[language.Language]) -> list[str]:
    """The code of each text, "" where that is not certain."""
    return [f.code if f.code and f.code != language.CODE and not f.mixed and f.score >= SURE and _letters(t) >= LETTERS else ""
            for t, f in zip(texts, found, strict=True)]


def _letters(text: str) -> int:
    """Letters of a text; those of unspaced scripts and Hangul say as much as three."""
    return sum(3 if ord(sign) > 0x2E7F else 1 for sign in text if sign.isalpha())


_ALIKE = {"bs": "hr", "sr": "hr", "nn": "no", "nb": "no", "da": "no", "ms": "id", "gl": "pt", "cs": "sk"}


def _other(mine: str, wanted: str) -> bool:
    return bool(mine) and _ALIKE.get(mine, mine) != _ALIKE.get(wanted, wanted)


# ---- parts of an example


def _answer(example: Example) -> str:
    return next((m.content for m in reversed(example.messages) if m.role == "assistant"), "")


def _last_prompt(example: Example) -> str:
    return next((m.content for m in reversed(example.messages) if m.role == "user"), "")


def _asked(example: Example) -> str:
    return "\n".join(m.content for m in example.messages if m.role != "assistant")


def _key(example: Example, whole: bool) -> str:
    """What is compared of an example: all that the user says, or everything."""
    return "\n".join(m.content for m in example.messages if whole or m.role == "user")


def _prose(text: str) -> str:
    return _ADDRESS.sub(" ", _FENCED.sub(" ", text))


def _says_something(text: str) -> bool:
    """A text without letters and digits that is an answer all the same: emoji, a sign that was asked for."""
    return bool(text) and not re.fullmatch(r"[\s.\-_=*#~`'\"…]*", text)


# ---- single checks


def unfinished(answer: str) -> bool:
    """Whether an answer stops in the middle, as far as its end tells: code that is not closed, a comma, a colon."""
    if answer.count("```") % 2:
        return True
    bare = answer.rstrip()
    return bool(bare) and "```" not in bare[-4:] and bare[-1] in ",:(，：、；" and len(bare.split()) > 3 and "`" not in bare[-3:]


def parrots(prompt: str, answer: str) -> bool:
    """Whether an answer is the prompt once more, beginning and end included, and hardly more than that. Short prompts are not looked at,
    nor answers that are the prompt's material improved or quoted."""
    hashes, offsets = grams.word_hashes([prompt, answer])
    asked, said = hashes[:offsets[1]], hashes[offsets[1]:]
    if len(asked) < 6 or len(said) > 1.3 * len(asked) + 4:
        return False
    size = 3
    theirs, own = grams.gram_hashes(asked, size), grams.gram_hashes(said, size)
    known = np.isin(theirs, own)
    return bool(known.mean() >= 0.9 and known[:2].all() and known[-2:].all())


def loops(text: str) -> bool:
    """Whether a text goes round in circles: the same words again and again without a break, the same line over and over, one letter for
    ever, or most of a long text said before. Refrains, tables of numbers and lists are no loops."""
    if _ONE_SIGN.search(text):
        return True
    lines = [line.strip() for line in text.split("\n")]
    run = 1
    for before, line in zip(lines, lines[1:], strict=False):
        run = run + 1 if line == before and sum(map(str.isalpha, line)) >= 4 else 1
        if run >= 6:
            return True
    hashes, _ = grams.word_hashes([text])
    count = len(hashes)
    if count < LOOP_WORDS:
        return False
    distinct = len(np.unique(hashes))
    if distinct > 0.9 * count:
        return False
    for period in range(1, min(64, count // LOOP_TIMES) + 1):
        same = hashes[period:] == hashes[:-period]
        if not same.any():
            continue
        edges = np.flatnonzero(np.diff(np.concatenate([[False], same, [False]]).astype(np.int8)))
        starts, ends = edges[::2], edges[1::2]
        at = int((ends - starts).argmax())
        length = int(ends[at] - starts[at]) + period
        if length >= max(LOOP_WORDS, LOOP_TIMES * period) and _has_words(text, int(starts[at]), period):
            return True
    sequences = grams.gram_hashes(hashes, 5)
    return len(sequences) >= 100 and 1 - len(np.unique(sequences)) / len(sequences) >= REPEATED and not _tabular(text)


def _has_words(text: str, start: int, period: int) -> bool:
    """Whether what repeats has a word in it: zeros of a table do not count."""
    return any(any(map(str.isalpha, word)) for word in grams.words(text)[start:start + period])


def _tabular(text: str) -> bool:
    lines = [line for line in text.split("\n") if line.strip()]
    return sum(line.count("|") >= 2 or line.count("\t") >= 1 or line.count(",") >= 4 for line in lines) > len(lines) / 2
