"""Examples into files that other programs train from. Streamed, written aside and renamed; what a form cannot hold is counted and told.

Forms: fledge (everything an example has), messages, sharegpt, alpaca, trl (prompt and completion), preferences (only examples that have a
rejected answer), csv (one question, one answer). The ending decides how rows are written: .jsonl, .json, .csv, .tsv, .parquet.
"""

import csv
import json
import os
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.contract.errors import InputError, SettingError
from engine.contract.rows import Example, Message
from engine.contract.words import tr
from engine.project import files

ENDINGS = (".jsonl", ".json", ".csv", ".tsv", ".parquet")
LISTED = 20
ROWS_AT_ONCE = 1_000
_FROM = {"user": "human", "assistant": "gpt"}


@dataclass(frozen=True)
class Written:
    """How many rows a file has, and how many examples its form could not hold: `left_out` lists the first, (id, reason)."""

    rows: int
    left_out_count: int = 0
    left_out: tuple[tuple[str, str], ...] = ()


class _CannotHold(Exception):
    """Why a form has no place for an example, for people."""


def write(path: str | Path, examples: Iterable[Example], form: str = "messages", *, replace: bool = True) -> Written:
    """Write examples to a file; one that is there is replaced in one step, or refused unless `replace`. SettingError for an unknown form or
    ending, DiskFull with the old file intact."""
    target = Path(path).expanduser()
    if form not in FORMS:
        raise SettingError(tr("Examples cannot be written as {form}.", form=form), tr("Known: {known}.", known=", ".join(FORMS)),
                           field="to")
    ending = target.suffix.lower()
    if ending not in ENDINGS:
        raise SettingError(tr("Examples cannot be written to {name}.", name=target.name),
                           tr("Let its name end with one of: {endings}.", endings=", ".join(ENDINGS)), field="out")
    if ending in (".csv", ".tsv") and form not in ("csv", "alpaca"):
        raise SettingError(tr("A table cannot hold the form {form}.", form=form), tr("Choose csv or alpaca, or write a .jsonl file."),
                           field="to")
    if target.is_dir():
        raise InputError(tr("{path} is a folder.", path=str(target)), tr("Name the file that shall be written."))
    if target.exists() and not replace:
        raise InputError(tr("{path} is there already.", path=str(target)), tr("Name another file."), code="exists")
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f"{files.TEMPORARY}{target.name}-{os.getpid()}-{uuid.uuid4().hex[:8]}")
    left: list[tuple[str, str]] = []
    count = missed = 0

    def rows() -> Iterator[dict[str, Any]]:
        nonlocal count, missed
        for example in examples:
            try:
                row = FORMS[form](example)
            except _CannotHold as why:
                missed += 1
                if len(left) < LISTED:
                    left.append((example.id, str(why)))
                continue
            count += 1
            yield row

    try:
        with _writer(aside, ending, form) as put:
            for row in rows():
                put(row)
        files.sync_file(aside)
        files.rename(aside, target)
    except OSError as wrong:
        raise files.disk_error(wrong, target) from wrong
    finally:
        aside.unlink(missing_ok=True)
    return Written(count, missed, tuple(left))


# ---- forms


def _fledge(example: Example) -> dict[str, Any]:
    return example.model_dump(mode="json")


def _messages(example: Example) -> dict[str, Any]:
    return {"messages": _plain(example.messages), **_known(example)}


def _sharegpt(example: Example) -> dict[str, Any]:
    return {"conversations": [{"from": _FROM.get(m.role, m.role), "value": m.content} for m in example.messages], **_known(example)}


def _alpaca(example: Example) -> dict[str, Any]:
    system, pairs = _pairs(example)
    row: dict[str, Any] = {"instruction": pairs[-1][0], "input": "", "output": pairs[-1][1]}
    if system:
        row["system"] = system
    if len(pairs) > 1:
        row["history"] = [list(pair) for pair in pairs[:-1]]
    return row | _known(example)


def _trl(example: Example) -> dict[str, Any]:
    if example.messages[-1].role != "assistant":
        raise _CannotHold(tr("it does not end with an answer"))
    return {"prompt": _plain(example.messages[:-1]), "completion": _plain(example.messages[-1:]), **_known(example)}


def _preferences(example: Example) -> dict[str, Any]:
    rejected = example.facts.get("rejected")
    text = rejected.get("text") if isinstance(rejected, dict) else None
    if not isinstance(text, str) or not text:
        raise _CannotHold(tr("it has no rejected answer"))
    if example.messages[-1].role != "assistant":
        raise _CannotHold(tr("it does not end with an answer"))
    return {"prompt": _plain(example.messages[:-1]), "chosen": _plain(example.messages[-1:]),
            "rejected": [{"role": "assistant", "content": text}]}


def _csv(example: Example) -> dict[str, Any]:
    system, pairs = _pairs(example)
    if len(pairs) > 1:
        raise _CannotHold(tr("a table holds one question and one answer"))
    return {"system": system, "prompt": pairs[0][0], "answer": pairs[0][1], "final_answer": str(example.facts.get("answer", "")),
            "score": "" if example.score is None else example.score, "origin": example.origin}


FORMS: dict[str, Callable[[Example], dict[str, Any]]] = {"messages": _messages, "sharegpt": _sharegpt, "alpaca": _alpaca, "trl": _trl,
                                                         "preferences": _preferences, "csv": _csv, "fledge": _fledge}


def _plain(messages: Iterable[Message]) -> list[dict[str, str]]:
    return [{"role": m.role, "content": m.content} for m in messages]


def _known(example: Example) -> dict[str, Any]:
    return {"final_answer": str(example.facts["answer"])} if "answer" in example.facts else {}


def _pairs(example: Example) -> tuple[str, list[tuple[str, str]]]:
    """The system prompt, and questions with their answers."""
    messages = list(example.messages)
    system = messages.pop(0).content if messages and messages[0].role == "system" else ""
    roles = [m.role for m in messages]
    if not roles or roles != ["user", "assistant"] * (len(roles) // 2):
        raise _CannotHold(tr("its messages are not questions and answers in turn"))
    return system, [(messages[n].content, messages[n + 1].content) for n in range(0, len(messages), 2)]


# ---- endings


@contextmanager
def _writer(path: Path, ending: str, form: str) -> Iterator[Callable[[dict[str, Any]], None]]:
    if ending == ".parquet":
        with _parquet(path, form) as put:
            yield put
        return
    with open(path, "w", encoding="utf-8", newline="", buffering=1 << 20) as file:
        if ending in (".csv", ".tsv"):
            columns = list(_COLUMNS[form])
            table = csv.DictWriter(file, columns, extrasaction="raise", delimiter="\t" if ending == ".tsv" else ",",
                                   quoting=csv.QUOTE_ALL, lineterminator="\n")
            table.writeheader()
            yield lambda row: table.writerow({name: _cell(row.get(name, "")) for name in columns})
        elif ending == ".jsonl":
            yield lambda row: _put(file, row, "\n")
        else:
            first = True

            def put(row: dict[str, Any]) -> None:
                nonlocal first
                file.write("[\n" if first else ",\n")
                first = False
                _put(file, row, "")

            yield put
            file.write("[]\n" if first else "\n]\n")


_COLUMNS = {"csv": ("system", "prompt", "answer", "final_answer", "score", "origin"),
            "alpaca": ("instruction", "input", "output", "system", "history", "final_answer")}


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list) else value


def _put(file: Any, row: dict[str, Any], end: str) -> None:
    file.write(json.dumps(row, ensure_ascii=False) + end)


@contextmanager
def _parquet(path: Path, form: str) -> Iterator[Callable[[dict[str, Any]], None]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    text, said = pa.string(), pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
    known = [("final_answer", text)]
    fields: list[tuple[str, Any]] = {
        "messages": [("messages", said), *known],
        "sharegpt": [("conversations", pa.list_(pa.struct([("from", text), ("value", text)]))), *known],
        "alpaca": [("instruction", text), ("input", text), ("output", text), ("system", text),
                   ("history", pa.list_(pa.list_(text))), *known],
        "trl": [("prompt", said), ("completion", said), *known],
        "preferences": [("prompt", said), ("chosen", said), ("rejected", said)],
        "csv": [("system", text), ("prompt", text), ("answer", text), ("final_answer", text), ("score", pa.float64()), ("origin", text)],
        # Facts have no fixed shape: they are kept as JSON.
        "fledge": [("id", text), ("messages", said), ("origin", text), ("score", pa.float64()), ("flags", pa.list_(text)), ("facts", text)],
    }[form]
    schema = pa.schema(fields)
    held: list[dict[str, Any]] = []
    with pq.ParquetWriter(path, schema, compression="zstd") as file:
        def flush() -> None:
            if held:
                file.write_table(pa.Table.from_pylist(held, schema=schema))
                held.clear()

        def put(row: dict[str, Any]) -> None:
            if form == "fledge":
                row = {**row, "facts": json.dumps(row["facts"])}
            if row.get("score") == "":
                row = {**row, "score": None}
            held.append(row)
            if len(held) >= ROWS_AT_ONCE:
                flush()

        yield put
        flush()
