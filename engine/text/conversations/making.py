"""One row of a file becomes an Example, or a sentence why not. Pure; rows are untrusted: every value may be anything."""

import hashlib
import json
import math
import re
from collections.abc import Sequence
from typing import Any

from engine.contract.rows import Example, Message
from engine.contract.units import number as shown_number
from engine.contract.words import tr
from engine.text.conversations.guessing import MARK
from engine.text.conversations.mapping import CALLED, ROLES, Mapping
from engine.text.readers.cutting import storable
from engine.text.row_files.kind import NoRow

LONGEST = 1_000_000
"""Characters of a conversation; a longer one is no example."""
MESSAGES = 1_000
FACT_CHARACTERS = 100_000
"""Characters of what is kept of a row beside its messages."""
TRANSCRIPT = re.compile(r"\n\n(Human|Assistant):")


class NoExample(NoRow):
    """Why a row is no example, for people."""


def make(row: Any, mapping: Mapping, origin: str) -> Example:
    """NoExample says why a row is none."""
    if not isinstance(row, dict):
        raise NoExample(tr("no object"))
    if mapping.kind == "fledge":
        return _own(row, origin)
    if mapping.kind == "preferences":
        messages, rejected = _pair(row, mapping)
    else:
        rejected = ""
        if mapping.conversation:
            messages = messages_of(value_of(row, mapping.conversation), mapping.roles, mapping.conversation)
        else:
            messages = [*history_of(row, mapping), *_part(row, mapping, mapping.prompt, "user"),
                        *_part(row, mapping, mapping.answer, "assistant")]
        if mapping.rejected and row.get(mapping.rejected):
            rejected = _last_answer(_part(row, mapping, mapping.rejected, "assistant"))
    if mapping.system and not any(m.role == "system" for m in messages):
        system = row.get(mapping.system)
        if system is not None and system != "":
            messages = [Message(role="system", content=text_of(system, mapping.system)), *messages]
    messages = [m for m in messages if m.role != "system" or m.content.strip()]
    _check(messages)
    facts: dict[str, Any] = {}
    if mapping.known and (mapping.known == mapping.answer or row.get(mapping.known) not in (None, "")):
        known = _known(row, mapping)
        if known is not None:
            facts["answer"] = known
    if rejected:
        facts["rejected"] = {"text": rejected, "model": "", "score": None}
    facts |= {name: row[name] for name in mapping.facts if name in row}
    return Example(id=content_id(messages, facts), messages=tuple(messages), origin=origin, score=score_of(row.get(mapping.score)),
                   facts=bounded(facts))


def content_id(messages: list[Message] | tuple[Message, ...], facts: dict[str, Any]) -> str:
    """A hash of what is said: the same row of two files, or of the same file twice, is the same example."""
    parts = [[m.role, m.content] for m in messages]
    said = json.dumps([parts, facts.get("rejected"), facts.get("answer")], default=str)
    return hashlib.blake2b(said.encode("utf-8", "replace"), digest_size=16).hexdigest()


def _own(row: dict[str, Any], origin: str) -> Example:
    """A row as Fledge wrote it: who wrote it, its score, flags and facts stay."""
    messages = messages_of(row.get("messages"), (), "messages")
    _check(messages)
    facts, flags = row.get("facts"), row.get("flags")
    if isinstance(facts, str):  # a table's way to hold them
        try:
            facts = json.loads(facts)
        except (ValueError, RecursionError):
            raise NoExample(tr("its facts are no JSON")) from None
    facts = bounded(facts) if isinstance(facts, dict) else {}
    id, by = row.get("id"), row.get("origin")
    return Example(id=storable(id) if isinstance(id, str) and 0 < len(id) <= 200 else content_id(messages, facts), messages=tuple(messages),
                   origin=storable(by)[:500] if isinstance(by, str) and by else origin, score=score_of(row.get("score")), facts=facts,
                   flags=tuple(storable(f)[:200] for f in flags[:100] if isinstance(f, str)) if isinstance(flags, list) else ())


def _pair(row: dict[str, Any], mapping: Mapping) -> tuple[list[Message], str]:
    """The conversation that ends with the chosen answer, and the rejected one. Prompts may stand in a column or in both conversations."""
    chosen, lost = _part(row, mapping, mapping.answer, "assistant"), _part(row, mapping, mapping.rejected, "assistant")
    alone = len(chosen) == 1 and chosen[0].role == "assistant"
    before = _part(row, mapping, mapping.prompt, "user") if mapping.prompt and (alone or not asks(chosen)) else []
    if not before and not asks(chosen):
        raise NoExample(tr("there is no question"))
    return [*before, *chosen], _last_answer(lost)


def asks(messages: list[Message]) -> bool:
    return any(m.role == "user" for m in messages)


def _last_answer(messages: list[Message]) -> str:
    return next((m.content for m in reversed(messages) if m.role == "assistant"), "")


def _part(row: dict[str, Any], mapping: Mapping, column: str, role: str) -> list[Message]:
    """A column of text as one message of `role`; a list of messages as they are; a transcript ("Human: ..., Assistant: ...") as turns."""
    value = value_of(row, column)
    if isinstance(value, dict) and ("content" in value or "value" in value):
        value = [value]
    if isinstance(value, list):
        return messages_of(value, mapping.roles, column)
    text = text_of(value, column)
    if TRANSCRIPT.match(text):
        return transcript(text)
    if role == "user" and mapping.input and row.get(mapping.input) not in (None, ""):
        text = f"{text}\n\n{text_of(row[mapping.input], mapping.input)}" if text.strip() else text_of(row[mapping.input], mapping.input)
    return [Message(role=role, content=text)]


def transcript(text: str) -> list[Message]:
    pieces = TRANSCRIPT.split(text)
    return [Message(role="user" if who == "Human" else "assistant", content=said.strip())
            for who, said in zip(pieces[1::2], pieces[2::2], strict=True)]


def history_of(row: dict[str, Any], mapping: Mapping) -> list[Message]:
    """Earlier turns as Alpaca's followers keep them: a list of [question, answer]."""
    found = row.get(mapping.history) if mapping.history else None
    if isinstance(found, str) and found:
        try:  # tables hold lists as JSON
            found = json.loads(found)
        except (ValueError, RecursionError):
            found = [found]
    if not found:
        return []
    if not isinstance(found, list) or not all(isinstance(p, list) and len(p) == 2 for p in found):
        raise NoExample(tr("“{column}” is no list of questions and answers", column=mapping.history))
    return [Message(role=role, content=text_of(text, mapping.history)) for pair in found[:MESSAGES]
            for role, text in zip(("user", "assistant"), pair, strict=True)]


def messages_of(value: Any, given: Sequence[tuple[str, str]], column: str) -> list[Message]:
    if isinstance(value, str):
        try:  # tables hold lists as JSON
            value = json.loads(value)
        except (ValueError, RecursionError):
            value = None
    if not isinstance(value, list) or not value:
        raise NoExample(tr("“{column}” is no list of messages", column=column))
    if len(value) > MESSAGES:
        raise NoExample(tr("it has more than {count} messages", count=shown_number(MESSAGES)))
    roles = {name.strip().casefold(): role for name, role in given if role in ROLES}
    made = []
    for place, turn in enumerate(value, 1):
        if not isinstance(turn, dict):
            raise NoExample(tr("message {place} is no object", place=place))
        who, said = (turn.get("role"), turn.get("content")) if "role" in turn else (turn.get("from"), turn.get("value"))
        if not isinstance(who, str):
            raise NoExample(tr("message {place} has no role", place=place))
        name = who.strip().casefold()
        role = roles.get(name) or CALLED.get(name)
        if role is None:
            raise NoExample(tr("message {place} has the unknown role “{role}”", place=place, role=storable(who)[:40]))
        if said is None and (turn.get("tool_calls") or turn.get("function_call")):
            raise NoExample(tr("message {place} calls tools instead of saying something", place=place))
        made.append(Message(role=role, content=_content(said, place)))
    return made


def _content(said: Any, place: int) -> str:
    """Text, or a list of parts that are all text."""
    if isinstance(said, list):
        texts = [part.get("text") if isinstance(part, dict) and part.get("type", "text") == "text" else part for part in said]
        if not all(isinstance(text, str) for text in texts):
            raise NoExample(tr("message {place} holds more than text", place=place))
        said = "".join(texts)
    if said is None:
        return ""
    if not isinstance(said, str):
        raise NoExample(tr("message {place} is no text", place=place))
    return storable(said)


def value_of(row: dict[str, Any], column: str) -> Any:
    value = row.get(column)
    if value is None:
        raise NoExample(tr("“{column}” is missing", column=column))
    return value


def text_of(value: Any, column: str) -> str:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = str(value)  # a table's numbers are answers too
    if not isinstance(value, str):
        raise NoExample(tr("“{column}” is no text", column=column))
    return storable(value)


def _known(row: dict[str, Any], mapping: Mapping) -> str | None:
    """The answer that others are compared with; None where the answer itself was to be it and is too much of a text for that."""
    text = text_of(value_of(row, mapping.known), mapping.known)
    if MARK in text:
        # Thousands are told apart by commas there: "#### 1,080".
        text = re.sub(r"(?<=\d),(?=\d{3})", "", text.rpartition(MARK)[2])
    elif mapping.known == mapping.answer and mapping.kind == "questions" and "\n" in text.strip():
        return None
    text = text.strip()
    if not text:
        raise NoExample(tr("its known answer is empty"))
    return text


def score_of(value: Any) -> float | None:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if abs(value) < 1e300 and math.isfinite(value) else None


def bounded(facts: dict[str, Any]) -> dict[str, Any]:
    """Facts as plain JSON; NoExample where they are too large or no JSON."""
    try:
        text = json.dumps(facts, default=str)
    except (ValueError, RecursionError) as wrong:
        raise NoExample(tr("what it holds beside its messages is nested too deeply")) from wrong
    if len(text) > FACT_CHARACTERS:
        raise NoExample(tr("what it holds beside its messages is longer than {count} characters", count=shown_number(FACT_CHARACTERS)))
    kept: dict[str, Any] = json.loads(storable(json.dumps(facts, default=str, ensure_ascii=False)))
    return kept


def _check(messages: list[Message]) -> None:
    if sum(len(m.content) for m in messages) > LONGEST:
        raise NoExample(tr("it is longer than {count} characters", count=shown_number(LONGEST)))
    if not any(m.role == "assistant" for m in messages):
        raise NoExample(tr("nobody answers in it"))
    for m in messages:
        if not m.content.strip():
            raise NoExample(tr("an answer in it is empty") if m.role == "assistant" else tr("a message in it is empty"))
    if not asks(messages):
        raise NoExample(tr("there is no question"))
