"""Verifiers that come with the program. Those that only look at text do so here, in time proportional to it; patterns and mathematics,
which can be made to run for ever or to run something else, go to the sandbox.

    NumberVerifier(tolerance=0)        the last number, or the one given as the answer
    MathVerifier(pool)                 mathematical equivalence: \\frac12 is 0.5
    Weighted([("right", 1.0, number), ("form", 0.2, tags)])
"""

import json
import math
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import jsonschema_rs

from engine.contract.errors import FormatError, SettingError
from engine.contract.words import tr
from engine.verifiers.api import Attempt, Check, Verdict, Verifier, failed, never, scored
from engine.verifiers.finding import boxed, fenced, final_answer, last_number, number_of, tagged
from engine.verifiers.pool import SECONDS, Pool
from engine.verifiers.python_verifier import PythonVerifier

MATH_LENGTH = 4000


class _OfText:
    """A verifier that needs no more than the attempt itself."""

    def score(self, attempts: Sequence[Attempt], check: Check = never) -> list[Verdict]:
        verdicts = []
        for attempt in attempts:
            check()
            verdicts.append(self.judge(attempt))
        return verdicts

    def judge(self, attempt: Attempt) -> Verdict:
        raise NotImplementedError

    def check_answers(self, answers: Sequence[Any]) -> list[str]:
        return [self.check_answer(answer) for answer in answers]

    def check_answer(self, answer: Any) -> str:
        return "" if isinstance(answer, str) and answer.strip() else tr("There is no answer to compare with.")


# --- text ------------------------------------------------------------------------------------------------------------------------


def normalised(text: str) -> str:
    """Without what is only form: case, width of letters, blanks, quotes and a full stop around it."""
    text = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(text.split()).strip("\"'“”‘’«» ").removesuffix(".").strip("\"'“”‘’«» ")


@dataclass(frozen=True)
class TextVerifier(_OfText):
    """1 where the completion is the answer. `form`: exactly, or as `normalised`. `part`: all of the completion, or what it gives as its
    answer (the whole where it gives none)."""

    form: Literal["exact", "normalised"] = "exact"
    part: Literal["whole", "answer"] = "whole"

    def judge(self, attempt: Attempt) -> Verdict:
        said = (final_answer(attempt.completion) if self.part == "answer" else None) or attempt.completion
        answer = str(attempt.answer)
        if self.form == "exact":
            return scored(float(said.strip() == answer.strip()), {})
        return scored(float(normalised(said) == normalised(answer)), {})

    def check_answer(self, answer: Any) -> str:
        """Numbers are compared as they are written. Signs alone are nothing once normalised, as an empty completion is."""
        text = str(answer) if isinstance(answer, (int, float)) and not isinstance(answer, bool) else answer
        return super().check_answer(normalised(text) if self.form == "normalised" and isinstance(text, str) else text)


@dataclass(frozen=True)
class NumberVerifier(_OfText):
    """1 where the number the completion gives as its answer (else its last) is the gold one. tolerance: how far it may be off; `relative`:
    as a share of the gold one."""

    tolerance: float = 0.0
    relative: bool = False

    def judge(self, attempt: Attempt) -> Verdict:
        gold = self.gold(attempt.answer)
        said = self.said(attempt.completion)
        if gold is None or said is None:
            return scored(0.0, {})
        allowed = Fraction(str(self.tolerance)) * (abs(gold) if self.relative else 1)      # 0.3 as it is written
        return scored(float(abs(said - gold) <= allowed), {})

    @staticmethod
    def said(completion: str) -> Fraction | None:
        for text in (final_answer(completion), completion):
            for look in (number_of, last_number):
                if text and (found := look(text)) is not None:
                    return found
        return None

    @staticmethod
    def gold(answer: Any) -> Fraction | None:
        if isinstance(answer, (int, float)) and not isinstance(answer, bool) and math.isfinite(answer):
            return Fraction(str(answer))
        given = final_answer(str(answer))
        return number_of(given if given is not None else str(answer))

    def check_answer(self, answer: Any) -> str:
        return "" if self.gold(answer) is not None else tr("The answer is not one number: {answer}", answer=str(answer)[:100])


@dataclass(frozen=True)
class ChoiceVerifier(_OfText):
    """1 where the letter chosen is the gold one. Letters from A on, as many as `count`."""

    count: int = 10

    def judge(self, attempt: Attempt) -> Verdict:
        gold = self._letter(str(attempt.answer))
        given = final_answer(attempt.completion)
        said = self._letter(given) if given else ""
        return scored(float(bool(gold) and gold == (said or self._last(attempt.completion))), {})

    def _letter(self, text: str) -> str:
        """The letter a short answer consists of or begins with: B, (b), B), **B**, B. Paris."""
        bare = text.strip(" *`_\"'([{\\").removeprefix("text{").strip()
        if _speaks(bare[:3]):
            return ""
        letter, rest = bare[:1].upper(), bare[1:2]
        alone = len(bare) == 1 or (rest and not rest.isalnum() and (rest in ")].:,*`_}\n\t\"'" or bare[:1].isupper()))
        return letter if letter in self._letters() and letter and alone else ""

    def _last(self, text: str) -> str:
        """The last capital letter of the choices that stands alone."""
        text = text[-5000:]
        for place in range(len(text) - 1, -1, -1):
            around = text[place - 1:place] + text[place + 1:place + 2]
            alone = not any(sign.isalnum() or sign in "'’" for sign in around)
            if text[place] in self._letters() and alone and not _speaks(text[place:place + 3]):
                return text[place]
        return ""

    def _letters(self) -> str:
        return "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[:self.count]

    def check_answer(self, answer: Any) -> str:
        return "" if self._letter(str(answer)) else tr("The answer is no letter of a choice: {answer}", answer=str(answer)[:100])


def _speaks(text: str) -> bool:
    """Whether an "I" is somebody and no choice: "I think"."""
    return text[:2] == "I " and text[2:3].islower()


@dataclass(frozen=True)
class TagsVerifier(_OfText):
    """1 where the completion is these tags, each once, in order, with something in each, and nothing around them:
    <think>…</think><answer>…</answer>. `partial`: otherwise the share of tags that stand there once and in order."""

    tags: tuple[str, ...] = ("think", "answer")
    partial: bool = False

    def judge(self, attempt: Attempt) -> Verdict:
        text, place, right, outside = attempt.completion, 0, 0, ""
        for tag in self.tags:
            opening, closing = f"<{tag}>", f"</{tag}>"
            start = text.find(opening, place)
            end = text.find(closing, start)
            once = text.count(opening) == 1 and text.count(closing) == 1
            if once and start >= 0 and end >= 0 and text[start + len(opening):end].strip():
                outside += text[place:start]
                place, right = end + len(closing), right + 1
        outside += text[place:]
        whole = right == len(self.tags) and not outside.strip()
        return scored(1.0 if whole else right / len(self.tags) * 0.5 if self.partial else 0.0, {})

    def check_answer(self, answer: Any) -> str:
        return ""


@dataclass(frozen=True)
class LengthVerifier(_OfText):
    """1 between `least` and `most`, falling to 0 over `slope` beyond them."""

    least: int = 0
    most: int = 200
    slope: int = 0
    unit: Literal["words", "characters"] = "words"

    def judge(self, attempt: Attempt) -> Verdict:
        length = len(attempt.completion.split()) if self.unit == "words" else len(attempt.completion)
        off = max(self.least - length, length - self.most, 0)
        return scored(1.0 if off == 0 else max(0.0, 1 - off / self.slope) if self.slope else 0.0, {})

    def check_answer(self, answer: Any) -> str:
        return ""


class SchemaVerifier(_OfText):
    """1 where the completion (or its last block between fences) is JSON that follows the schema. No reference is ever fetched, and a
    pattern cannot hang. SettingError where it is no schema."""

    def __init__(self, schema: Mapping[str, Any] | bool) -> None:
        try:
            self._validator = jsonschema_rs.validator_for(json.loads(json.dumps(schema)), retriever=_refuse,
                                                          pattern_options=jsonschema_rs.RegexOptions())
        except (ValueError, TypeError, RecursionError, jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError) as wrong:
            raise SettingError(tr("The JSON schema cannot be used: {reason}", reason=str(wrong).splitlines()[0][:300]),
                               tr("Correct the schema; references to other files are not followed."), field="schema") from None

    def judge(self, attempt: Attempt) -> Verdict:
        blocks = fenced(attempt.completion, ("", "json"))
        try:
            value = json.loads(blocks[-1] if blocks else attempt.completion, parse_constant=_no_constant)
            return scored(float(self._validator.is_valid(value)), {})
        except (ValueError, RecursionError):
            return scored(0.0, {})

    def check_answer(self, answer: Any) -> str:
        return ""


def _refuse(address: str) -> Any:
    raise ValueError(f"not followed: {address}")


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


# --- in the sandbox --------------------------------------------------------------------------------------------------------------

PATTERN = '''import re


def verify(prompt, completion, answer, facts):
    pattern = facts["pattern"].replace("{answer}", re.escape(str(answer)))
    flags = re.IGNORECASE if facts["ignore_case"] else 0
    look = re.fullmatch if facts["whole"] else re.search
    return 1.0 if look(pattern, completion, flags | re.DOTALL) else 0.0
'''
MATHEMATICS = '''import logging
import math_verify

logging.disable(logging.CRITICAL)


def parsed(text, marked):
    """`marked`: the text is the answer and nothing else. What is in it besides numbers is then no reason to take a number out of it."""
    forms = [math_verify.LatexExtractionConfig()] if marked else [math_verify.LatexExtractionConfig(), math_verify.ExprExtractionConfig()]
    return math_verify.parse(text, extraction_config=forms, parsing_timeout=None)


def verify(prompt, completion, answer, facts):
    gold = parsed(answer, False)
    if not gold or all(isinstance(one, str) for one in gold):
        return {"score": 0.0, "unreadable": 1.0}
    said = parsed(completion, facts["marked"])
    digits = facts["digits"]
    same = math_verify.verify(gold, said, float_rounding=digits, strict=facts["strict"], timeout_seconds=None)
    return {"score": float(same)}
'''


class PatternVerifier:
    """1 where Python's `re` finds the pattern in the completion; {answer} in it stands for the answer as it is. A pattern that goes back
    and forth for ever is cut, and counts as 0. FormatError where it is no pattern."""

    def __init__(self, pool: Pool, pattern: str, *, whole: bool = False, ignore_case: bool = False) -> None:
        self._settings: dict[str, Any] = {"pattern": pattern, "whole": whole, "ignore_case": ignore_case}
        self._inner = PythonVerifier(PATTERN, pool)
        [tried] = self.score([Attempt((), "", "")])
        if tried.error == "raised":
            raise FormatError(tr("The pattern cannot be used: {reason}", reason=tried.message), tr("Correct the pattern."), field="pattern")

    def score(self, attempts: Sequence[Attempt], check: Check = never) -> list[Verdict]:
        return self._inner.score([Attempt(one.messages, one.completion, one.answer, self._settings) for one in attempts], check)

    def check_answers(self, answers: Sequence[Any]) -> list[str]:
        """Nothing stands in everything: where the pattern asks for an answer, there must be one."""
        wanted = "{answer}" in self._settings["pattern"]
        return [tr("There is no answer to compare with.") if wanted and not str(answer).strip() else "" for answer in answers]


class MathVerifier:
    """1 where the completion's answer is mathematically the gold one, by math-verify. Where both are plain numbers they are compared
    exactly, here; all else goes to the sandbox, an interpreter for each call, because what parses mathematics runs Python.

    digits: decimal places that must agree where a number stands against an expression (six take 0.785398 for pi/4)."""

    def __init__(self, pool: Pool, *, digits: int = 6, strict: bool = True, seconds: float = SECONDS) -> None:
        self._settings = {"digits": digits, "strict": strict, "marked": False}
        self._inner = PythonVerifier(MATHEMATICS, pool, seconds=seconds, fresh=True)

    def score(self, attempts: Sequence[Attempt], check: Check = never) -> list[Verdict]:
        verdicts: list[Verdict | None] = []
        asked = []
        for one in attempts:
            gold, said = NumberVerifier.gold(one.answer), self._said(one.completion)
            number = number_of(said) if said else None
            if gold is not None and number is not None:
                verdicts.append(scored(float(gold == number), {}))
            else:
                verdicts.append(None)
                asked.append(Attempt((), _dollars(said) if said else one.completion[-MATH_LENGTH:], _dollars(one.answer),
                                     {**self._settings, "marked": bool(said)}))
        answered = iter(self._inner.score(asked, check))
        return [Verdict(known.score, {}, known.error, known.line, known.message, known.seconds)
                for verdict in verdicts for known in [verdict or next(answered)]]

    @staticmethod
    def _said(completion: str) -> str:
        """What is given as the answer, where that is short enough to be one; "" leaves the finding to math-verify."""
        said = (final_answer(completion) or "").strip().strip("$").strip()
        if len(said) > MATH_LENGTH:
            return ""
        marked = boxed(completion) is not None or tagged(completion, "answer") is not None
        return said if marked or number_of(said) is not None else ""

    def check_answers(self, answers: Sequence[Any]) -> list[str]:
        numbers = [NumberVerifier.gold(answer) is not None for answer in answers]
        unsure = [answer for answer, number in zip(answers, numbers, strict=True) if not number]
        asked = [Attempt((), "0", _dollars(answer), self._settings) for answer in unsure]
        answered = iter(self._inner.score(asked))
        return ["" if number else self._readable(answer, next(answered)) for answer, number in zip(answers, numbers, strict=True)]

    @staticmethod
    def _readable(answer: Any, verdict: Verdict) -> str:
        if verdict.error or verdict.parts.get("unreadable"):
            return tr("The answer cannot be read as mathematics: {answer}", answer=str(answer)[:100])
        return ""


def _dollars(answer: Any) -> str:
    text = str(answer)[:MATH_LENGTH]
    return text if "$" in text or "\\boxed" in text or "\\(" in text or "\\[" in text else f"${text}$"


# --- several -----------------------------------------------------------------------------------------------------------------------


class Weighted:
    """Several verifiers as one: the sum of weight times score, or with `product` the product of score to the power of weight. Parts are the
    scores by name. Where one of them could not say, neither can the whole."""

    def __init__(self, parts: Sequence[tuple[str, float, Verifier]], *, product: bool = False) -> None:
        assert parts and len({name for name, _, _ in parts}) == len(parts), "every part has a name of its own"
        self.parts, self.product = tuple(parts), product

    def score(self, attempts: Sequence[Attempt], check: Check = never) -> list[Verdict]:
        columns = [verifier.score(attempts, check) for _, _, verifier in self.parts]
        return [self._together(row) for row in zip(*columns, strict=True)]

    def _together(self, row: Sequence[Verdict]) -> Verdict:
        seconds = sum(one.seconds for one in row)
        scores = {name: one.score for (name, _, _), one in zip(self.parts, row, strict=True) if one.score is not None}
        wrong = next((one for one in row if one.score is None), None) or next((one for one in row if one.error), None)
        if wrong and wrong.score is None:
            assert wrong.error
            return Verdict(None, scores, wrong.error, wrong.line, wrong.message, seconds, wrong.printed)
        weights = {name: weight for name, weight, _ in self.parts}
        if self.product:
            if any(score < 0 or (score == 0 and weights[name] < 0) for name, score in scores.items()):
                return failed("out_of_range", tr("A product needs scores of 0 and more."), seconds=seconds)
            try:
                total = math.prod(score ** weights[name] for name, score in scores.items())
            except OverflowError:
                total = math.inf
        else:
            total = math.fsum(score * weights[name] for name, score in scores.items())     # 0.7 + 0.2 + 0.1 is 1
        verdict = scored(total, scores, seconds=seconds)
        return Verdict(verdict.score, verdict.parts, verdict.error or (wrong.error if wrong else None), wrong.line if wrong else None,
                       verdict.message or (wrong.message if wrong else ""), seconds, "\n".join(one.printed for one in row if one.printed))

    def check_answers(self, answers: Sequence[Any]) -> list[str]:
        columns = [verifier.check_answers(answers) for _, _, verifier in self.parts]
        return [next((sentence for sentence in row if sentence), "") for row in zip(*columns, strict=True)]


def unusable(verifier: Verifier, answers: Sequence[Any]) -> list[tuple[int, str]]:
    """Gold answers a verifier cannot compare with, as (row, why): to be left out, and listed before training."""
    return [(row, sentence) for row, sentence in enumerate(verifier.check_answers(answers)) if sentence]


