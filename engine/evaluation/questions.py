"""A question with a known answer, where it comes from (a suite, a file beside it, the library), and how it is put to a model. No torch.

Forms of asking
    chat      through the model's chat template
    plain     the question's text, to be continued; the answer is what comes first, up to the end of the line
    few_shot  some solved questions before it, then this one; the same ones for every question, never the one that is asked
A base model cannot know the chat form; it is asked in the other two, so that what it knows is told apart from how it was asked.
"""

import csv
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.contract.errors import FormatError, NotFound, SettingError
from engine.contract.rows import Example
from engine.contract.words import tr
from engine.evaluation import format_checks, graders
from engine.evaluation.schema_check import check_schema

FORMS = ("chat", "plain", "few_shot")
FEW_SHOT_STOP = "\n\n"
FIRST_SENTENCE = re.compile(r"^(.+?[.!?])(?=\s|$)", re.DOTALL)


@dataclass(frozen=True)
class Question:
    """`messages` end with the person's turn. `answers` are equally right; the first is shown. `choices` and `right` for multiple choice.
    `group` values break results down ({"fact": "town"}); `checks`, `schema` and `pattern` are for graders that need them.

    A question without any known answer (a prompt of a win rate) has none of these.
    """

    id: str
    messages: tuple[dict[str, str], ...]
    answers: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    right: int = -1
    checks: tuple[dict[str, Any], ...] = ()
    schema: Any = None
    pattern: str = ""
    group: dict[str, str] = field(default_factory=dict)

    @property
    def prompt(self) -> str:
        """The last turn of the person."""
        return self.messages[-1]["content"]


def identity(messages: Sequence[Mapping[str, str]], answers: Sequence[str] = ()) -> str:
    """A name that follows the content: the same question has the same one in every project."""
    text = json.dumps([[m["role"], m["content"]] for m in messages] + list(answers), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def of_table(raw: Mapping[str, Any], where: str) -> Question:
    """A question as it stands in a suite or a file: prompt (or messages), answer (or answers), choices, checks, schema, pattern, id;
    anything else that is a text or number is a group."""
    known = {"id", "prompt", "messages", "answer", "answers", "choices", "checks", "schema", "pattern", "group"}
    try:
        messages = tuple({"role": str(m["role"]), "content": str(m["content"])} for m in raw.get("messages", ()))
    except (TypeError, KeyError) as wrong:
        raise _bad(where, tr("messages are tables with role and content")) from wrong
    if not messages:
        if not str(raw.get("prompt", "")).strip():
            raise _bad(where, tr("it has no prompt"))
        messages = ({"role": "user", "content": str(raw["prompt"])},)
    if messages[-1]["role"] != "user":
        raise _bad(where, tr("its last message is not the person's"))
    answers = raw.get("answers", raw.get("answer"))
    listed = [] if answers is None else list(answers) if isinstance(answers, (list, tuple)) else [answers]
    choices = tuple(str(one) for one in raw.get("choices", ()))
    right = _right_choice(listed, choices, where) if choices else -1
    checks = tuple(dict(check) for check in raw.get("checks", ()))
    for check in checks:
        if wrong := format_checks.problem(check):
            raise _bad(where, wrong.sentence)
    if "schema" in raw:
        check_schema(raw["schema"])
    group = {str(k): str(v) for k, v in dict(raw.get("group", {})).items()}
    group |= {str(k): str(v) for k, v in raw.items() if k not in known and isinstance(v, (str, int)) and not isinstance(v, bool)}
    texts = tuple(_text(one) for one in listed) if not choices else (choices[right],)
    return Question(str(raw.get("id") or identity(messages, texts)), messages, texts, choices, right, checks, raw.get("schema"),
                    str(raw.get("pattern", "")), group)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _right_choice(answers: Sequence[Any], choices: Sequence[str], where: str) -> int:
    """The place of the right choice: told by its words, its letter or its number from 0."""
    told = answers[0] if answers else None
    if isinstance(told, int) and not isinstance(told, bool) and 0 <= told < len(choices):
        return told
    if told in choices:
        return choices.index(str(told))
    letters = graders.CHOICE_LETTERS[:len(choices)]
    if isinstance(told, str) and len(told.strip()) == 1 and told.strip().upper() in letters:
        return letters.index(told.strip().upper())
    raise _bad(where, tr("its answer is none of its choices"))


def _bad(where: str, why: str) -> FormatError:
    return FormatError(tr("{where} cannot be asked: {why}.", where=where, why=why), tr("Correct it in the suite."), code="bad_question")


def of_examples(rows: Iterable[Example]) -> Iterator[Question]:
    """Library examples with known answers: the last assistant's turn, and facts["answer"] where it has the short one. Both are right.

    facts["choices"], facts["checks"], facts["schema"] and facts["group"] are taken along; examples without a person's turn are left out.
    """
    for row in rows:
        turns = [{"role": m.role, "content": m.content} for m in row.messages]
        said = turns[-1]["content"] if turns and turns[-1]["role"] == "assistant" else ""
        asked = tuple(turns[:-1] if said else turns)
        if not asked or asked[-1]["role"] != "user":
            continue
        short = row.facts.get("answer")
        known = [said] if said.strip() else []
        if short is not None and str(short) not in known:
            known.append(_text(short))
        raw: dict[str, Any] = {"id": row.id, "messages": asked, "answers": known,
                               **{key: row.facts[key] for key in ("choices", "checks", "schema", "group") if row.facts.get(key)}}
        if raw.get("choices") and short is not None:
            raw["answers"] = [short]
        yield of_table(raw, tr("The example {id}", id=row.id))


def read_file(path: Path, columns: Mapping[str, str]) -> Iterator[Question]:
    """Questions of a .jsonl, .json or .csv file; `columns`: which of its columns are prompt, answer, choices, id, if named otherwise."""
    try:
        text = path.read_text("utf-8-sig")
    except FileNotFoundError:
        raise NotFound(tr("{file} is missing.", file=str(path)), tr("Put it beside the suite.")) from None
    except UnicodeDecodeError as wrong:
        raise FormatError(tr("{file} is not text in UTF-8.", file=str(path)), tr("Save it as UTF-8.")) from wrong
    try:
        if path.suffix == ".csv":
            rows: list[Any] = list(csv.DictReader(text.splitlines(keepends=True)))
        elif path.suffix == ".json":
            rows = json.loads(text)
        else:
            rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    except (ValueError, csv.Error) as wrong:
        raise FormatError(tr("{file} cannot be read: {why}.", file=str(path), why=str(wrong)), tr("Correct the file.")) from wrong
    for number, row in enumerate(rows if isinstance(rows, list) else [], 1):
        where = tr("Line {number} of {file}", number=number, file=path.name)
        if not isinstance(row, dict):
            raise _bad(where, tr("it is no table of columns"))
        for wanted, column in columns.items():
            if column not in row and wanted in ("prompt", "answer"):
                raise _bad(where, tr("it has no column {column}", column=column))
        if not columns and not {"prompt", "messages"} & row.keys():
            raise FormatError(tr("{where} cannot be asked: {why}.", where=where, why=tr("it has no prompt")),
                              tr("Say in the suite which column it is, under [columns]: prompt = \"{column}\".",
                                 column=next(map(str, row), tr("question"))), code="bad_question")
        mapped = {wanted: row[column] for wanted, column in columns.items() if column in row}
        rest = {key: value for key, value in row.items() if key not in columns.values()}
        if columns:  # other columns of a file of others are no groups of ours
            rest = {key: value for key, value in rest.items() if key in ("id", "messages", "choices", "checks", "schema", "group")}
        yield of_table({**rest, **mapped}, where)


# ------------------------------------------------------------------------------------------------------------------ asking


@dataclass(frozen=True)
class Asking:
    """The words of the forms. `plain` and `shot` hold {prompt} and {answer}; `shots` are the solved questions of the few-shot form."""

    plain: str = "{prompt}"
    shot: str = "Question: {prompt}\nAnswer:{answer}"
    system: str = ""
    shots: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if "{prompt}" not in self.plain or "{prompt}" not in self.shot or "{answer}" not in self.shot:
            raise SettingError(tr("A form of asking needs {prompt}, and that of solved questions {answer} too.", prompt="{prompt}",
                                  answer="{answer}"),
                               tr("Write them where the question and its answer go."), code="bad_form")

    def messages(self, question: Question) -> list[dict[str, str]]:
        """For the chat form."""
        told = [{"role": "system", "content": self.system}] if self.system and question.messages[0]["role"] != "system" else []
        return [*told, *question.messages]

    def text(self, question: Question, form: str) -> str:
        """For the plain and few-shot forms. The text ends right before the answer; a space there belongs to the answer's first token."""
        if form == "plain":
            return self.plain.replace("{prompt}", question.prompt)
        solved = [self._shot(prompt, " " + answer) for prompt, answer in self.shots if prompt != question.prompt]
        return FEW_SHOT_STOP.join([*solved, self._shot(question.prompt, "")])

    def _shot(self, prompt: str, answer: str) -> str:
        return self.shot.replace("{prompt}", prompt).replace("{answer}", answer)


def answer_of(text: str, form: str) -> str:
    """What of a continuation is the answer: in chat all of it, else its first line."""
    if form == "chat":
        return text.strip()
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def readings(answer: str, form: str) -> tuple[str, ...]:
    """The ways an answer may be read. A base model goes on after its answer, so its first sentence counts as well as its first line."""
    if form == "chat":
        return (answer,)
    first = FIRST_SENTENCE.match(answer)
    return (answer,) if first is None or first.group(1) == answer else (answer, first.group(1))


def grades(question: Question, said: str, wanted: Sequence[str], form: str = "chat",
           tolerance: float = 1e-6) -> tuple[dict[str, float], str]:
    """({grader: 0 to 1}, what was wrong in a word or two) of an answer by each of the graders wanted."""
    found: dict[str, float] = {}
    why = ""
    for name in wanted:
        best = 0.0
        for reading in readings(said, form):
            match name:
                case "exact" | "contains":
                    score = graders.TEXT_GRADERS[name](reading, question.answers)
                case "number":
                    score = graders.number(reading, question.answers, tolerance)
                case "choice":
                    score = graders.choice(reading, question.choices, question.right)
                case "json":
                    score = graders.json_answer(reading, question.schema)
                case "regex":
                    score = graders.regex(reading, question.pattern)
                case "checks":
                    score, broken = format_checks.share_kept(reading, question.checks)
                    why = ", ".join(broken)
                case _:
                    raise AssertionError(name)
            best = max(best, score)
        found[name] = best
    return found, why
