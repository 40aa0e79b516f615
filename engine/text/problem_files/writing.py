"""The forms of problems in files: fledge (everything a problem has), csv (a table: question, answer, difficulty, side, solution), and
messages (what other trainers take: a list of messages, the answer, the rest as a column of facts).

How they are written is engine/text/row_files/writing.py's.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from engine.contract.errors import SettingError
from engine.contract.rows import Problem
from engine.contract.words import tr
from engine.text.row_files.writing import Form, Written, schema_types, write_rows


def write(path: str | Path, rows: Iterable[Problem], form: str = "fledge", *, replace: bool = True) -> Written:
    """Write problems to a file; one that is there is replaced in one step, or refused unless `replace`. SettingError for an unknown form or
    ending, DiskFull with the old file intact."""
    if form not in FORMS:
        raise SettingError(tr("Problems cannot be written as {form}.", form=form), tr("Known: {known}.", known=", ".join(FORMS)),
                           field="to")
    return write_rows(path, rows, FORMS[form], replace=replace, unknown=tr("Problems cannot be written to {name}.", name=Path(path).name),
                      only=tr("Choose csv, or write a .jsonl file."))


# ---- forms


def _fledge(problem: Problem) -> dict[str, Any]:
    return problem.model_dump(mode="json")


def _plain(problem: Problem) -> dict[str, Any]:
    prompt = [{"role": m.role, "content": m.content} for m in problem.prompt]
    return {"prompt": prompt, "answer": _text(problem.answer), "difficulty": problem.difficulty, "split": _side(problem),
            "extra": problem.facts}


def _csv(problem: Problem) -> dict[str, Any]:
    single = len(problem.prompt) == 1 and problem.prompt[0].role == "user" and not problem.prompt[0].content.lstrip().startswith('[{"')
    prompt = problem.prompt[0].content if single else json.dumps([{"role": m.role, "content": m.content} for m in problem.prompt],
                                                                 ensure_ascii=False)
    return {"prompt": prompt, "answer": _text(problem.answer), "difficulty": "" if problem.difficulty is None else problem.difficulty,
            "split": _side(problem), "solution": str(problem.facts.get("solution") or "")}


def _side(problem: Problem) -> str:
    return "held_out" if problem.held_out else "train"


def _text(answer: Any) -> str:
    return answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)


def _schema(*fields: tuple[str, str]) -> list[tuple[str, Any]]:
    import pyarrow as pa

    kinds = {"text": schema_types()[0], "messages": schema_types()[1], "number": pa.float64(), "side": pa.bool_()}
    return [(name, kinds[kind]) for name, kind in fields]


FORMS = {"fledge": Form(_fledge, lambda: _schema(("id", "text"), ("prompt", "messages"), ("answer", "text"), ("held_out", "side"),
                                                 ("difficulty", "number"), ("origin", "text"), ("facts", "text")),
                        loose=("answer", "facts")),
         "messages": Form(_plain, lambda: _schema(("prompt", "messages"), ("answer", "text"), ("difficulty", "number"), ("split", "text"),
                                                  ("extra", "text")), loose=("extra",)),
         "csv": Form(_csv, lambda: _schema(("prompt", "text"), ("answer", "text"), ("difficulty", "number"), ("split", "text"),
                                           ("solution", "text")), ("prompt", "answer", "difficulty", "split", "solution"))}
