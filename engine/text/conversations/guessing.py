"""What the columns of a file of conversations mean, told by their names and their first values. A guess that a person can change."""

from collections.abc import Sequence
from typing import Any

from engine.text.conversations.mapping import Mapping

CONVERSATIONS = ("messages", "conversations", "conversation", "dialogue", "dialog", "turns", "chat")
PROMPTS = ("instruction", "prompt", "question", "query", "problem", "user", "human", "input", "request", "text_input")
ANSWERS = ("output", "response", "completion", "solution", "answer", "assistant", "reply", "target", "model_output", "gpt", "bot")
INPUTS = ("input", "context")
SYSTEMS = ("system", "system_prompt", "system_message")
KNOWN = ("final_answer", "expected_answer", "expected", "ground_truth", "gold", "short_answer", "answer")
MARK = "####"
"""Stands before the short answer in GSM8K and what imitates it."""
SHORT = 80
"""Characters of an answer that may be compared as it is."""


def guess(rows: Sequence[Any]) -> Mapping:
    """A mapping for rows that begin like these; one that is not `complete` where nothing can be told."""
    table = [row for row in rows if isinstance(row, dict)]
    folded: dict[str, str] = {}
    values: dict[str, list[Any]] = {}
    for row in table:
        for name, value in row.items():
            folded.setdefault(str(name).strip().casefold(), str(name))
            if value is not None and value != "":
                values.setdefault(str(name), []).append(value)

    def column(names: Sequence[str], *, lists: bool = False, but: Sequence[str] = ()) -> str:
        for name in names:
            real = folded.get(name, "")
            if real and real not in but and real in values and (not lists or _are_messages(values[real])):
                return real
        return ""

    if {"id", "messages", "facts", "flags"} <= folded.keys():
        return Mapping("fledge")
    conversation = column(CONVERSATIONS, lists=True)
    system = column(SYSTEMS)
    if conversation:
        first = values[conversation][0][0]
        return Mapping("messages" if "role" in first else "sharegpt", conversation=conversation, system=system,
                       known=column(KNOWN, but=(conversation,)))
    if column(("chosen",)) and column(("rejected",)):
        return Mapping("preferences", prompt=column(PROMPTS), answer=column(("chosen",)), rejected=column(("rejected",)), system=system)
    if "prompt" in folded and "completion" in folded:
        return Mapping("prompt_completion", prompt=folded["prompt"], answer=folded["completion"], system=system, known=column(KNOWN))
    prompt = column(PROMPTS) or _named(folded, PROMPTS)
    answer = column(ANSWERS, but=(prompt,)) or _named(folded, ANSWERS, prompt)
    if not (prompt and answer):
        return Mapping(prompt=prompt, answer=answer, system=system)
    if prompt.strip().casefold() == "instruction":
        return Mapping("alpaca", prompt=prompt, input=column(INPUTS), answer=answer, system=system, history=column(("history",)),
                       known=column(KNOWN, but=(answer,)))
    known = column(KNOWN, but=(answer,))
    if not known and _are_short(values.get(answer, [])):
        known = answer
    return Mapping("questions", prompt=prompt, answer=answer, input=column(("context",), but=(prompt,)), system=system, known=known)


def _named(folded: dict[str, str], names: Sequence[str], but: str = "") -> str:
    """The first column of these names, even where every value seen is empty."""
    return next((folded[name] for name in names if name in folded and folded[name] != but), "")


def _are_messages(values: Sequence[Any]) -> bool:
    """Whether lists of objects with a speaker and a text come first."""
    for value in values[:20]:
        if isinstance(value, list) and value and isinstance(value[0], dict) and ({"role", "content"} <= value[0].keys() or
                                                                                 {"from", "value"} <= value[0].keys()):
            return True
    return False


def _are_short(values: Sequence[Any]) -> bool:
    """Whether answers can be compared: nearly all are short lines, or bear the mark of GSM8K."""
    texts = [str(v).strip() for v in values if isinstance(v, (str, int, float))]
    fit = sum(MARK in t or len(t) <= SHORT and "\n" not in t for t in texts)
    return bool(texts) and fit >= 0.9 * len(values)
