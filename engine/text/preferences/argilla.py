"""Records of Argilla become pairs: of 1.x (FeedbackDataset) and 2.x (Dataset), nested as their own JSON or flat as tables on the Hub.

Two fields are the answers (or more: then each two that somebody compared are a pair). A person's response compares them by a ranking, by a
label that names a field, or by a rating for each answer. Every person's submitted word stands in facts["labels"]; the majority is `best`.
Without responses a suggestion is taken, by its agent. Drafts and discarded responses say nothing.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

from engine.contract.rows import Answer, Message, Pair
from engine.contract.words import tr
from engine.text.conversations.making import messages_of, score_of, text_of
from engine.text.preferences.making import WORDS, NoPair, make, object_of, pair, prompt_of, said, short, strength_of
from engine.text.preferences.mapping import Mapping
from engine.text.readers.cutting import storable

PROMPTS = ("prompt", "instruction", "question", "query", "input", "context", "messages", "conversation", "chat", "text")
ANSWERS = 10
"""Fields that are compared at most; they are 45 pairs."""
_ANSWER = re.compile(r"(response|generation|answer|completion|output|reply|option|candidate|model|text)s?[-_ ]?(\d{1,2}|[a-z])$", re.I)
_NOTE = re.compile(r"comment|rationale|reason|feedback|note|explan", re.I)
_FLAT = (".responses", ".suggestion", "-suggestion")
_SUBMITTED = ("submitted", "")

Ranks = dict[str, float]


def is_record(row: dict[str, Any]) -> bool:
    """Whether a row looks like one: fields with responses or suggestions beside them, or the columns that these become in a table."""
    if "fields" in row and ("responses" in row or "suggestions" in row):
        return True
    return any(str(name).endswith(_FLAT) for name in row)


def make_all(row: Any, mapping: Mapping, origin: str) -> Sequence[Pair]:
    """The pairs of a row of any file; only Argilla's records can hold several. NoRow says why there are none."""
    if mapping.kind != "argilla":
        return (make(row, mapping, origin),)
    if not isinstance(row, dict):
        raise NoPair(tr("no object"))
    fields = object_of(row["fields"], "fields") if "fields" in row else {k: v for k, v in row.items() if not str(k).endswith(_FLAT)}
    fields = {str(k): v for k, v in fields.items() if v is not None and v != ""}
    names = _answers(fields, mapping)
    if len(names) < 2:
        raise NoPair(tr("it has no two answers"))
    if len(names) > ANSWERS:
        raise NoPair(tr("it has more than {count} answers", count=ANSWERS))
    column = mapping.prompt or next((n for want in PROMPTS for n in fields if n.casefold() == want and n not in names), "")
    if not column or column not in fields:
        raise NoPair(tr("there is no question"))
    prompt, _ = prompt_of(fields[column], mapping.roles, column)
    if mapping.system and mapping.system in fields:
        prompt = [Message(role="system", content=text_of(fields[mapping.system], mapping.system)), *prompt]
    texts = {name: _text(fields[name], name, mapping) for name in names}
    people = [(who, *_word(values, names)) for who, values in _responses(row).items()]
    people = [one for one in people if one[1]]
    model = _suggested(row, names)
    made: list[Pair] = []
    wrong: NoPair | None = None
    for a, b in combinations(names, 2):
        facts = _facts(a, b, people, model, names, origin)
        if len(names) > 2 and "best" not in facts and "labels" not in facts:
            continue
        try:
            made.append(pair(prompt, Answer(text=texts[a]), Answer(text=texts[b]), origin, facts))
        except NoPair as why:
            wrong = why
    if not made:
        raise wrong or NoPair(tr("nobody compared its answers"))
    return made


def _answers(fields: dict[str, Any], mapping: Mapping) -> list[str]:
    for a, b in ((mapping.first, mapping.second), (mapping.chosen, mapping.rejected)):
        if a and b:
            return [name for name in (a, b) if name in fields]
    if "chosen" in fields and "rejected" in fields:
        return ["chosen", "rejected"]
    return sorted((n for n in fields if _ANSWER.match(n)), key=lambda n: [int(p) if p.isdecimal() else p for p in re.split(r"(\d+)", n)])


def _text(value: Any, name: str, mapping: Mapping) -> str:
    if isinstance(value, list):  # a field of a chat
        messages = messages_of(value, mapping.roles, name)
        return "\n\n".join(m.content for m in messages if m.role == "assistant")
    return text_of(value, name)


# ---- what people and models said


def _responses(row: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """{person: {question: value}} of what was submitted, in every form that Argilla writes."""
    found: dict[str, dict[str, Any]] = {}
    for who, question, value, status in _each_response(row):
        if value is not None and said(status).casefold().rpartition(".")[2] in _SUBMITTED:
            found.setdefault(short(who), {})[question] = value
    return found


def _each_response(row: dict[str, Any]) -> Iterator[tuple[Any, str, Any, Any]]:
    nested = row.get("responses")
    if isinstance(nested, str):
        nested = object_or_list(nested)
    if isinstance(nested, list):  # 1.x: one for each person
        for one in nested:
            if isinstance(one, dict) and isinstance(one.get("values"), dict):
                for question, value in one["values"].items():
                    yield one.get("user_id"), str(question), value.get("value") if isinstance(value, dict) else value, one.get("status")
    elif isinstance(nested, dict):  # 2.x: by question
        for question, each in nested.items():
            for one in each if isinstance(each, list) else ():
                if isinstance(one, dict):
                    yield one.get("user_id"), str(question), one.get("value"), one.get("status")
    for name, value in row.items():
        name = str(name)
        if name.endswith(".responses"):  # 2.x, flat
            people, states = row.get(f"{name}.users"), row.get(f"{name}.status")
            values = object_or_list(value)
            people, states = object_or_list(people), object_or_list(states)
            for place, one in enumerate(values if isinstance(values, list) else ()):
                yield _at(people, place), name.removesuffix(".responses"), one, _at(states, place)
        elif isinstance(value, list) and value and isinstance(value[0], dict) and {"user_id", "value"} <= value[0].keys():  # 1.x, flat
            for one in value:
                if isinstance(one, dict):
                    yield one.get("user_id"), name, one.get("value"), one.get("status")
        elif isinstance(value, dict) and {"user_id", "value", "status"} <= value.keys():  # 1.x, flat, as columns
            values = value["value"]
            for place, one in enumerate(values if isinstance(values, list) else ()):
                yield _at(value["user_id"], place), name, one, _at(value["status"], place)


def object_or_list(value: Any) -> Any:
    """JSON in a text, unpacked; anything else as it is."""
    if isinstance(value, str) and value[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def _at(values: Any, place: int) -> Any:
    return values[place] if isinstance(values, list) and place < len(values) else None


def _suggested(row: dict[str, Any], names: Sequence[str]) -> tuple[str, Ranks, int]:
    """(agent, ranks, strength) of the suggestions; no ranks where there are none."""
    values: dict[str, Any] = {}
    agent = ""
    nested = object_or_list(row.get("suggestions"))
    if isinstance(nested, dict):
        each = [(str(q), v.get("value"), v.get("agent")) for q, v in nested.items() if isinstance(v, dict)]
    elif isinstance(nested, list):
        each = [(said(v.get("question_name") or v.get("question")), v.get("value"), v.get("agent")) for v in nested if isinstance(v, dict)]
    else:
        each = []
    for name, value in row.items():
        name = str(name)
        if name.endswith(".suggestion"):
            each.append((name.removesuffix(".suggestion"), value, row.get(f"{name}.agent")))
        elif name.endswith("-suggestion"):
            about = row.get(f"{name}-metadata")
            each.append((name.removesuffix("-suggestion"), value, about.get("agent") if isinstance(about, dict) else None))
    for question, value, who in each:
        if value is not None:
            values[question] = value
            agent = agent or short(who)
    ranks, strength, _ = _word(values, names)
    return agent, ranks, strength


def _word(values: dict[str, Any], names: Sequence[str]) -> tuple[Ranks, int, str]:
    """What one person's answers to the questions say: ranks of fields (lower is better), strength, comment."""
    ranks: Ranks = {}
    rated: Ranks = {}
    strength, comment = 0, ""
    for question, raw in values.items():
        value = object_or_list(raw)
        if isinstance(value, dict) and isinstance(value.get("value"), list) and isinstance(value.get("rank"), list):
            value = [{"value": v, "rank": r} for v, r in zip(value["value"], value["rank"], strict=False)]
        if isinstance(value, list):
            ranks = ranks or _ranking(value, names)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            about = next((n for n in sorted(names, key=len, reverse=True) if n.casefold() in question.casefold()), "")
            if about:
                rated[about] = -float(value)
            elif "strength" in question.casefold():
                strength = strength_of(value)
        elif isinstance(value, str):
            if _NOTE.search(question):
                comment = storable(value)[:10_000]
            else:
                ranks = ranks or _label(value, names)
    return ranks or (rated if len(rated) > 1 else {}), strength, comment


def _ranking(value: list[Any], names: Sequence[str]) -> Ranks:
    ranks: Ranks = {}
    for place, one in enumerate(value, 1):
        name, rank = (one.get("value"), score_of(one.get("rank"))) if isinstance(one, dict) else (one, float(place))
        if isinstance(name, str) and name in names and rank is not None:
            ranks[name] = rank
    return ranks if len(ranks) > 1 else {}


BAD = "bad"
"""Among ranks: nobody's answer is any good."""


def _label(value: str, names: Sequence[str]) -> Ranks:
    word = value.strip().casefold()
    named = next((n for n in names if n.casefold() == word), "")
    if not named and len(names) == 2:
        meaning = WORDS.get(word, "") if word else ""
        if meaning in ("tie", "bad"):
            return {**dict.fromkeys(names, 1.0), **({BAD: 1.0} if meaning == "bad" else {})}
        named = {"first": names[0], "second": names[1]}.get(meaning, "")
    if not named and len(names) > 2 and WORDS.get(word) in ("tie", "bad") and word:
        return {**dict.fromkeys(names, 1.0), **({BAD: 1.0} if WORDS[word] == "bad" else {})}
    if not named:
        return {}
    # Of several the best one was named: of the others nothing is known.
    return {named: 1.0, **{n: float("nan") if len(names) > 2 else 2.0 for n in names if n != named}}


def _choice(ranks: Ranks, a: str, b: str) -> str:
    """Which of two fields ranks say is better, as a label's choice; "" where they do not tell."""
    if a not in ranks or b not in ranks:
        return ""
    if BAD in ranks and BAD not in (a, b):
        return "bad"
    x, y = ranks[a], ranks[b]
    if x != x or y != y:
        return "" if x != x and y != y else "first" if y != y else "second"
    return "tie" if x == y else "first" if x < y else "second"


def _facts(a: str, b: str, people: Sequence[tuple[str, Ranks, int, str]], model: tuple[str, Ranks, int], names: Sequence[str],
           origin: str) -> dict[str, Any]:
    """`best`, `by` and `strength` of two fields, and each person's word as `labels`."""
    labels = []
    for who, ranks, strength, comment in people:
        if choice := _choice(ranks, a, b):
            labels.append({"author": who or origin, "choice": choice, "strength": strength if choice in ("first", "second") else 0,
                           "comment": comment})
    if labels:
        counts = Counter(label["choice"] for label in labels).most_common(2)
        facts: dict[str, Any] = {"labels": labels}
        if len(counts) == 1 or counts[0][1] > counts[1][1]:
            facts |= {"best": counts[0][0], "by": labels[0]["author"] if len(labels) == 1 else origin}
            if len(labels) == 1 and labels[0]["strength"]:
                facts["strength"] = labels[0]["strength"]
        return facts
    agent, ranks, strength = model
    if choice := _choice(ranks, a, b):
        return {"best": choice, "by": agent or origin, **({"strength": strength} if strength and choice in ("first", "second") else {})}
    if (a, b) == ("chosen", "rejected"):
        return {"best": "first", "by": origin}
    return {}
