"""The forms of conversations in files that other programs train from.

Forms: fledge (everything an example has), messages, sharegpt, alpaca, trl (prompt and completion), preferences (only examples that have a
rejected answer), csv (one question, one answer). How they are written is engine/text/row_files/writing.py's.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from engine.contract.errors import SettingError
from engine.contract.rows import Example, Message
from engine.contract.words import tr
from engine.text.row_files.writing import CannotHold, Form, Written, schema_types, write_rows

_FROM = {"user": "human", "assistant": "gpt"}


def write(path: str | Path, examples: Iterable[Example], form: str = "messages", *, replace: bool = True) -> Written:
    """Write examples to a file; one that is there is replaced in one step, or refused unless `replace`. SettingError for an unknown form or
    ending, DiskFull with the old file intact."""
    if form not in FORMS:
        raise SettingError(tr("Examples cannot be written as {form}.", form=form), tr("Known: {known}.", known=", ".join(FORMS)),
                           field="to")
    return write_rows(path, examples, FORMS[form], replace=replace,
                      unknown=tr("Examples cannot be written to {name}.", name=Path(path).name),
                      only=tr("Choose csv or alpaca, or write a .jsonl file."))


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
        raise CannotHold(tr("it does not end with an answer"))
    return {"prompt": _plain(example.messages[:-1]), "completion": _plain(example.messages[-1:]), **_known(example)}


def _preferences(example: Example) -> dict[str, Any]:
    rejected = example.facts.get("rejected")
    text = rejected.get("text") if isinstance(rejected, dict) else None
    if not isinstance(text, str) or not text:
        raise CannotHold(tr("it has no rejected answer"))
    if example.messages[-1].role != "assistant":
        raise CannotHold(tr("it does not end with an answer"))
    return {"prompt": _plain(example.messages[:-1]), "chosen": _plain(example.messages[-1:]),
            "rejected": [{"role": "assistant", "content": text}]}


def _csv(example: Example) -> dict[str, Any]:
    system, pairs = _pairs(example)
    if len(pairs) > 1:
        raise CannotHold(tr("a table holds one question and one answer"))
    return {"system": system, "prompt": pairs[0][0], "answer": pairs[0][1], "final_answer": str(example.facts.get("answer", "")),
            "score": "" if example.score is None else example.score, "origin": example.origin}


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
        raise CannotHold(tr("its messages are not questions and answers in turn"))
    return system, [(messages[n].content, messages[n + 1].content) for n in range(0, len(messages), 2)]


def _known_field() -> list[tuple[str, Any]]:
    return [("final_answer", schema_types()[0])]


def _said(*names: str) -> list[tuple[str, Any]]:
    return [(name, schema_types()[1]) for name in names]


def _sharegpt_schema() -> list[tuple[str, Any]]:
    import pyarrow as pa

    return [("conversations", pa.list_(pa.struct([("from", pa.string()), ("value", pa.string())]))), *_known_field()]


def _alpaca_schema() -> list[tuple[str, Any]]:
    import pyarrow as pa

    return [*((name, pa.string()) for name in ("instruction", "input", "output", "system")), ("history", pa.list_(pa.list_(pa.string()))),
            *_known_field()]


def _csv_schema() -> list[tuple[str, Any]]:
    import pyarrow as pa

    return [(name, pa.float64() if name == "score" else pa.string()) for name in _CSV]


def _fledge_schema() -> list[tuple[str, Any]]:
    import pyarrow as pa

    text, said = schema_types()
    return [("id", text), ("messages", said), ("origin", text), ("score", pa.float64()), ("flags", pa.list_(text)), ("facts", text)]


_CSV = ("system", "prompt", "answer", "final_answer", "score", "origin")
FORMS = {"messages": Form(_messages, lambda: _said("messages") + _known_field()),
         "sharegpt": Form(_sharegpt, _sharegpt_schema),
         "alpaca": Form(_alpaca, _alpaca_schema, ("instruction", "input", "output", "system", "history", "final_answer")),
         "trl": Form(_trl, lambda: _said("prompt", "completion") + _known_field()),
         "preferences": Form(_preferences, lambda: _said("prompt", "chosen", "rejected")),
         "csv": Form(_csv, _csv_schema, _CSV),
         "fledge": Form(_fledge, _fledge_schema, loose=("facts",))}
