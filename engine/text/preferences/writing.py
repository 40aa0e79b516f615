"""The forms of pairs in files that other programs train from, or people look into.

Forms: fledge (everything a pair has), trl (lists of messages), trl_text (TRL's standard form: texts), argilla (records of 2.x for a dataset
with a label question), csv (two answers and a label), hh (Anthropic's transcripts). trl, trl_text and hh say that one answer is better than
the other: pairs without a winner do not go there. How they are written is engine/text/row_files/writing.py's.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from engine.contract.errors import SettingError
from engine.contract.rows import Answer, Message, Pair, PreferencePair
from engine.contract.words import tr
from engine.text.conversations.making import TRANSCRIPT
from engine.text.preferences.making import looks_packed
from engine.text.row_files.writing import CannotHold, Form, Written, schema_types, write_rows

ARGILLA = {"first": "response1", "second": "response2", "tie": "tie", "bad": "both bad"}
"""Values of the question that Argilla's form asks."""
CSV = {"first": "a", "second": "b", "tie": "tie", "bad": "both bad"}


def write(path: str | Path, rows: Iterable[Pair | PreferencePair], form: str = "trl", *, replace: bool = True) -> Written:
    """Write pairs to a file; one that is there is replaced in one step, or refused unless `replace`. SettingError for an unknown form or
    ending, DiskFull with the old file intact."""
    if form not in FORMS:
        raise SettingError(tr("Pairs cannot be written as {form}.", form=form), tr("Known: {known}.", known=", ".join(FORMS)), field="to")
    return write_rows(path, map(as_pair, rows), FORMS[form], replace=replace,
                      unknown=tr("Pairs cannot be written to {name}.", name=Path(path).name),
                      only=tr("Choose csv, or write a .jsonl file."))


def as_pair(row: Pair | PreferencePair) -> Pair:
    """A pair that was chosen from, with its label as its own."""
    if isinstance(row, Pair):
        return row
    facts: dict[str, Any] = {"best": "bad" if row.bad else "tie" if row.tie else "first"}
    if row.by:
        facts["by"] = row.by
    if row.strength and facts["best"] == "first":
        facts["strength"] = row.strength
    return Pair(id=row.id, prompt=row.prompt, first=Answer(text=row.chosen), second=Answer(text=row.rejected), facts=facts)


# ---- forms


def _fledge(pair: Pair) -> dict[str, Any]:
    return pair.model_dump(mode="json")


def _trl(pair: Pair) -> dict[str, Any]:
    chosen, rejected = _winner(pair)
    return {"prompt": _plain(pair.prompt), "chosen": [{"role": "assistant", "content": chosen}],
            "rejected": [{"role": "assistant", "content": rejected}], "strength": _strength(pair)}


def _trl_text(pair: Pair) -> dict[str, Any]:
    chosen, rejected = _winner(pair)
    if len(pair.prompt) > 1:
        raise CannotHold(tr("its prompt is a conversation"))
    if looks_packed(pair.prompt[0].content):
        raise CannotHold(tr("a text in it looks like a transcript or a list of messages"))
    _only_texts(chosen, rejected)
    return {"prompt": pair.prompt[0].content, "chosen": chosen, "rejected": rejected, "strength": _strength(pair)}


def _argilla(pair: Pair) -> dict[str, Any]:
    if not pair.first.text or not pair.second.text:
        raise CannotHold(tr("an answer in it is empty"))
    suggestions: dict[str, Any] = {}
    best, agent = ARGILLA.get(str(pair.facts.get("best"))), str(pair.facts.get("by") or "") or None
    if best:
        suggestions["preference"] = {"value": best, "score": None, "agent": agent}
        if _strength(pair):
            suggestions["strength"] = {"value": _strength(pair), "score": None, "agent": agent}
    return {"id": pair.id, "fields": {"prompt": _plain(pair.prompt), "response1": pair.first.text, "response2": pair.second.text},
            "metadata": {"origin": pair.origin}, "suggestions": suggestions, "responses": {}, "vectors": {}}


def _csv(pair: Pair) -> dict[str, Any]:
    _only_texts(pair.first.text, pair.second.text)
    text = pair.prompt[0].content if len(pair.prompt) == 1 and pair.prompt[0].role == "user" else ""
    if not text or looks_packed(text):
        text = json.dumps(_plain(pair.prompt), ensure_ascii=False)
    return {"prompt": text, "answer_a": pair.first.text, "answer_b": pair.second.text, "label": CSV.get(str(pair.facts.get("best")), ""),
            "strength": _strength(pair) or "", "annotator": str(pair.facts.get("by") or "")}


def _hh(pair: Pair) -> dict[str, Any]:
    chosen, rejected = _winner(pair)
    roles = [m.role for m in pair.prompt]
    if roles != ["user", "assistant"] * (len(roles) // 2) + ["user"]:
        raise CannotHold(tr("its messages are not questions and answers in turn"))
    texts = [m.content for m in pair.prompt]
    if any(TRANSCRIPT.search(f"\n\n{text.strip()}\n\n") for text in (*texts, chosen, rejected)):
        raise CannotHold(tr("a text in it looks like the beginning of a turn"))
    head = "".join(f"\n\n{'Human' if role == 'user' else 'Assistant'}: {text}" for role, text in zip(roles, texts, strict=True))
    return {"chosen": f"{head}\n\nAssistant: {chosen}", "rejected": f"{head}\n\nAssistant: {rejected}"}


def _only_texts(first: str, second: str) -> None:
    """CannotHold for answers that would not be read as the texts they are."""
    if not first.strip() or not second.strip():
        raise CannotHold(tr("an answer in it is empty"))
    if looks_packed(first) and looks_packed(second):
        raise CannotHold(tr("a text in it looks like a transcript or a list of messages"))


def _winner(pair: Pair) -> tuple[str, str]:
    best = pair.facts.get("best")
    if best == "first":
        return pair.first.text, pair.second.text
    if best == "second":
        return pair.second.text, pair.first.text
    raise CannotHold(tr("neither answer is better") if best in ("tie", "bad") else tr("nobody has compared its answers"))


def _strength(pair: Pair) -> int:
    strength = pair.facts.get("strength")
    return strength if strength in (1, 2, 3) and pair.facts.get("best") in ("first", "second") else 0


def _plain(messages: Sequence[Message]) -> list[dict[str, str]]:
    return [{"role": m.role, "content": m.content} for m in messages]


def _texts(*names: str) -> list[tuple[str, Any]]:
    return [(name, schema_types()[0]) for name in names]


def _numbered(fields: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    import pyarrow as pa

    return [*fields, ("strength", pa.int64())]


def _said(*names: str) -> list[tuple[str, Any]]:
    return [(name, schema_types()[1]) for name in names]


def _csv_schema() -> list[tuple[str, Any]]:
    return _numbered(_texts("prompt", "answer_a", "answer_b", "label", "annotator"))


FORMS = {"fledge": Form(_fledge, lambda: [*_texts("id"), *_said("prompt"), *_texts("first", "second", "origin", "facts")],
                        loose=("first", "second", "facts")),
         "trl": Form(_trl, lambda: _numbered(_said("prompt", "chosen", "rejected"))),
         "trl_text": Form(_trl_text, lambda: _numbered(_texts("prompt", "chosen", "rejected"))),
         "argilla": Form(_argilla, lambda: _texts("id", "fields", "metadata", "suggestions", "responses", "vectors"),
                         loose=("fields", "metadata", "suggestions", "responses", "vectors")),
         "csv": Form(_csv, _csv_schema, ("prompt", "answer_a", "answer_b", "label", "strength", "annotator")),
         "hh": Form(_hh, lambda: _texts("chosen", "rejected"))}
