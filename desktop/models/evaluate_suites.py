"""A suite of the person's own while it is made or changed: its questions and the few settings people change. Saved into the project's
`suites` folder as a TOML file with its questions beside it; what the engine could not read back is never saved. No Qt, no torch.
"""

import csv
import json
import re
import shutil
import tempfile
import tomllib
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.contract.errors import FormatError, InputError
from engine.contract.rows import Example
from engine.contract.words import tr
from engine.evaluation import questions, suites
from engine.evaluation.questions import Question
from engine.project import files, layout

GRADERS = {"exact": ("exact", "contains"), "contains": ("contains", "exact"), "number": ("number", "exact")}
"""What can be chosen, and what else is looked at beside it: the first one counts."""
COLUMNS = {"prompt": ("prompt", "question", "instruction", "input", "query", "problem"),
           "answer": ("answer", "answers", "solution", "output", "response", "target", "completion")}
FILES = (".jsonl", ".json", ".csv")


@dataclass
class SuiteDraft:
    """`rows` are questions as they stand in a file; `rest` what the suite's own file says beside this, kept as it is. `id` is "" until it
    was saved."""

    id: str = ""
    title: str = ""
    sentence: str = ""
    kind: str = "questions"
    grader: str = "exact"
    rows: list[dict[str, Any]] = field(default_factory=list)
    rest: dict[str, Any] = field(default_factory=dict)

    def problem(self) -> str:
        """Why it cannot be saved yet."""
        if not self.title.strip():
            return tr("The suite has no name.")
        if not self.rows and not self.rest.get("library"):
            return tr("There is no question yet.")
        for number, row in enumerate(self.rows, 1):
            if not prompt_of(row).strip():
                return tr("Question {number} asks nothing.", number=number)
            if self.grader in GRADERS and self.kind == "questions" and not answers_of(row):
                return tr("Question {number} has no known answer.", number=number)
        return ""


def prompt_of(row: Mapping[str, Any]) -> str:
    messages = row.get("messages") or ()
    return str(row.get("prompt") or (messages[-1]["content"] if messages else ""))


def answers_of(row: Mapping[str, Any]) -> list[str]:
    found = row.get("answers", row.get("answer"))
    listed = [] if found is None else list(found) if isinstance(found, (list, tuple)) else [found]
    return [x if isinstance(x, str) else json.dumps(x, ensure_ascii=False) for x in listed]


def edited(row: Mapping[str, Any], prompt: str, answers: Iterable[str]) -> dict[str, Any]:
    """The row with another prompt and other answers; whatever else it has stays. Its name follows its content."""
    made = {k: v for k, v in row.items() if k not in ("id", "prompt", "answer", "answers")}
    listed = [a for a in answers if a.strip()]
    if made.get("messages"):
        made["messages"] = [*made["messages"][:-1], {"role": "user", "content": prompt}]
    else:
        made = {"prompt": prompt, **made}
    if made.get("choices"):
        made["answer"] = listed[0] if listed else ""
    elif listed:
        made["answers"] = listed
    return made


def plain(question: Question) -> dict[str, Any]:
    """A question as a row of a file."""
    asked: dict[str, Any] = {"prompt": question.prompt} if len(question.messages) == 1 else {"messages": list(question.messages)}
    rest = {"choices": list(question.choices), "checks": [dict(c) for c in question.checks], "schema": question.schema,
            "pattern": question.pattern, "group": question.group}
    asked |= {"answer": question.choices[question.right]} if question.choices else {"answers": list(question.answers)}
    return {"id": question.id, **asked, **{k: v for k, v in rest.items() if v}}


def of_set(title: str, rows: Iterable[Example]) -> SuiteDraft:
    """A suite of a library set: examples with a known answer."""
    made = SuiteDraft(title=title, rows=[plain(q) for q in questions.of_examples(rows) if q.answers])
    if not made.rows:
        raise InputError(tr("This set has no example with a known answer."), tr("Choose another one."), code="no_questions")
    return made


def of_file(path: Path) -> SuiteDraft:
    """A suite of a JSON Lines, JSON or CSV file; the columns are found by their usual names."""
    if path.suffix.lower() not in FILES:
        raise FormatError(tr("{file} is no file of questions.", file=path.name), tr("Choose a .jsonl, .json or .csv file."))
    first = _first(path)
    columns = {}
    for wanted, names in COLUMNS.items():
        named = next((c for n in names for c in first if c.casefold() == n), None)
        if named is not None and named != wanted:
            columns[wanted] = named
    if columns and "prompt" in first:
        columns["prompt"] = "prompt"
    if columns and "answer" in first and "answer" not in columns:
        columns["answer"] = "answer"
    found = [plain(q) for q in questions.read_file(path, columns)]
    if not found:
        raise FormatError(tr("{file} has no questions.", file=path.name), tr("Choose another file."))
    return SuiteDraft(title=path.stem.replace("_", " ").replace("-", " "), rows=found)


def _first(path: Path) -> dict[str, Any]:
    """The columns of the first row; an error of the reader comes where the whole file is read."""
    try:
        if path.suffix.lower() == ".csv":
            with open(path, encoding="utf-8-sig", newline="") as file:
                return dict.fromkeys(next(csv.reader(file), []))
        text = path.read_text("utf-8-sig")
        row = json.loads(text)[0] if path.suffix.lower() == ".json" else json.loads(next(x for x in text.splitlines() if x.strip()))
    except (OSError, ValueError, KeyError, IndexError, StopIteration, TypeError):
        return {}
    return row if isinstance(row, dict) else {}


def of_suite(project_dir: Path, id: str, copy: bool = False) -> SuiteDraft:
    """A suite to change; with `copy` a new one that begins as this one is."""
    suite = suites.load(id, project_dir)
    raw = tomllib.loads(suite.path.read_text("utf-8"))
    known = ("title", "sentence", "kind", "graders", "file", "columns", "questions")
    rest = {k: v for k, v in raw.items() if k not in known}
    grader = suite.graders[0] if suite.graders[0] in GRADERS else ",".join(suite.graders)
    title = tr("{title}, a copy", title=suite.title) if copy else suite.title
    return SuiteDraft("" if copy else id, title, suite.sentence, suite.kind, grader, [plain(q) for q in suite.questions], rest)


def save(project_dir: Path, draft: SuiteDraft) -> str:
    """Write it; the suite's id. Raises FormatError or SettingError where the engine would not take it, and leaves all as it was."""
    if words := draft.problem():
        raise InputError(words, tr("Correct it, then save again."))
    folder = layout.suites(project_dir)
    id = draft.id or _free(slug(draft.title), project_dir)
    head: dict[str, Any] = {"title": draft.title.strip(), "sentence": draft.sentence.strip(), "kind": draft.kind}
    if draft.kind == "questions":
        head["graders"] = list(GRADERS.get(draft.grader, tuple(draft.grader.split(","))))
    beside = {"file": f"{id}.jsonl"} if draft.rows else {}
    text = "".join(f"{key} = {toml(value)}\n" for key, value in {**head, **beside, **draft.rest}.items())
    listed = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in draft.rows)
    aside = Path(tempfile.mkdtemp(prefix="suite-"))
    try:
        (aside / f"{id}.toml").write_text(text, "utf-8")
        (aside / f"{id}.jsonl").write_text(listed, "utf-8")
        suites.read(aside / f"{id}.toml", own=True)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    folder.mkdir(exist_ok=True)
    files.write_bytes(folder / f"{id}.jsonl", listed.encode())
    files.write_bytes(folder / f"{id}.toml", text.encode())
    return id


def delete(project_dir: Path, id: str) -> None:
    """Take an own suite away; evaluations keep their answers."""
    for end in ("toml", "jsonl"):
        files.remove(layout.suites(project_dir) / f"{id}.{end}")


def slug(title: str) -> str:
    """A name that a suite's file can have."""
    ascii = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", ascii.casefold()).strip("-")[:48] or "suite"


def _free(name: str, project_dir: Path) -> str:
    """The name, with a number where a suite has it already."""
    taken = set(suites.names(project_dir))
    return next(n for n in (name, *(f"{name}-{i}" for i in range(2, 10_000))) if n not in taken)


def toml(value: Any) -> str:
    """A value as TOML writes it, on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        return json.dumps(value).replace("\x7f", "\\u007f")
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(str(k))} = {toml(v)}" for k, v in value.items()) + "}"
    return "[" + ", ".join(toml(v) for v in value) + "]"
