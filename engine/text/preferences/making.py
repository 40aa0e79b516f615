"""One row of a file becomes a Pair, or a sentence why not. Pure; rows are untrusted: every value may be anything. Argilla's records are
argilla.py's.

The turns that both conversations begin with are the prompt; what follows must be one answer on each side, since a pair compares answers. A
pair whose conversations part earlier is refused: which of its answers was preferred, nobody said.
"""

import json
from collections.abc import Sequence
from typing import Any

from engine.contract.rows import Answer, Message, Pair, pair_id
from engine.contract.units import number as shown_number
from engine.contract.words import tr
from engine.text.conversations.making import LONGEST, MESSAGES, TRANSCRIPT, bounded, messages_of, score_of, text_of, value_of
from engine.text.preferences.mapping import MEANINGS, Mapping
from engine.text.readers.cutting import storable
from engine.text.row_files.kind import NoRow

JOINED = "\n\n"
"""Between two turns of one speaker, who answered in two parts."""
_STARTS = ("\n\nHuman:", "\n\nAssistant:")
_ASSISTANT = "\n\nAssistant:"
_IN_TURN, _ROLES = ["Human", "Assistant"] * (MESSAGES // 2), ["user", "assistant"] * (MESSAGES // 2)
WORDS = {
    **dict.fromkeys(("first", "a", "left", "model_a", "response_a", "answer_a", "assistant_a", "option_a", "answer a", "response a",
                     "chosen_a", "model a", "a>b", "a is better"), "first"),
    **dict.fromkeys(("second", "b", "right", "model_b", "response_b", "answer_b", "assistant_b", "option_b", "answer b", "response b",
                     "chosen_b", "model b", "b>a", "b is better"), "second"),
    **dict.fromkeys(("tie", "tied", "draw", "equal", "same", "both", "both good", "neither", "a=b", "c"), "tie"),
    **dict.fromkeys(("bad", "both bad", "both_bad", "bothbad", "tie (bothbad)", "none"), "bad"),
    **dict.fromkeys(("", "skip", "skipped", "unknown", "unsure", "n/a", "null"), "skip")}
"""Labels that say themselves what they mean."""
_TRUE = ("true", "1", "yes", "y", "t")


class NoPair(NoRow):
    """Why a row is no pair, for people."""


def make(row: Any, mapping: Mapping, origin: str) -> Pair:
    """NoRow says why a row is none."""
    if not isinstance(row, dict):
        raise NoPair(tr("no object"))
    if mapping.kind == "fledge":
        return _own(row, origin)
    names = (mapping.chosen, mapping.rejected) if mapping.chosen else (mapping.first, mapping.second)
    prompt, first, second = _sides(row, mapping, *names)
    if mapping.system and not any(m.role == "system" for m in prompt):
        system = row.get(mapping.system)
        if system is not None and system != "":
            prompt = [Message(role="system", content=text_of(system, mapping.system)), *prompt]
    answers = [Answer(text=text, model=short(row.get(model)) if model else "", facts={} if score is None else {"score": score})
               for text, model, score in ((first, mapping.model_first, score_of(row.get(mapping.score_first))),
                                          (second, mapping.model_second, score_of(row.get(mapping.score_second))))]
    return pair(prompt, answers[0], answers[1], origin, _judged(row, mapping, names, answers, origin))


def pair(prompt: Sequence[Message], first: Answer, second: Answer, origin: str, facts: dict[str, Any]) -> Pair:
    """A pair that keeps to what a pair is; NoPair where it cannot."""
    if any(m.role == "system" and not m.content.strip() for m in prompt):
        prompt = [m for m in prompt if m.role != "system" or m.content.strip()]
    check(prompt, first.text, second.text)
    return Pair(id=pair_id(prompt, first.text, second.text), prompt=tuple(prompt), first=first, second=second, origin=origin, facts=facts)


def check(prompt: Sequence[Message], first: str, second: str) -> None:
    if len(first) + len(second) + sum([len(m.content) for m in prompt]) > LONGEST:
        raise NoPair(tr("it is longer than {count} characters", count=shown_number(LONGEST)))
    if not prompt or all(m.role == "system" for m in prompt):
        raise NoPair(tr("there is no question"))
    if prompt[-1].role not in ("user", "tool"):
        raise NoPair(tr("its prompt does not end with a question"))
    for m in prompt:
        if not m.content or m.content.isspace():
            raise NoPair(tr("a message in it is empty"))
    if first == second:
        raise NoPair(tr("both answers are the same"))


def looks_packed(text: str) -> bool:
    """Whether a text would not be read as one, but as a transcript or as a list of messages."""
    return text.startswith(_STARTS) or _packed(text) is not None


def is_transcript(value: Any) -> bool:
    """Whether it begins as Anthropic's transcripts do."""
    return isinstance(value, str) and value.startswith(_STARTS)


def said(value: Any) -> str:
    """A cell as text that can be compared: 1.0 is "1"."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)
    return value if isinstance(value, str) else "" if value is None else str(value)[:200]


def meaning_of(value: Any, names: Sequence[str], labels: Sequence[tuple[str, str]]) -> tuple[str, int]:
    """What a label says, (one of MEANINGS, strength); `names` are those of the two answers. NoPair where nothing tells."""
    word = said(value).strip().casefold()
    for given, meaning in labels:
        if given.strip().casefold() == word:
            what, _, strength = meaning.partition(":")
            if what in MEANINGS:
                return what, min(3, int(strength)) if strength.isdecimal() else 0
    for name, meaning in zip(names, ("first", "second"), strict=True):
        if word and word == name.strip().casefold():
            return meaning, 0
    if word not in WORDS:
        raise NoPair(tr("what the label “{label}” says is not known", label=storable(word)[:40]))
    return WORDS[word], 0


def strength_of(value: Any) -> int:
    """1 to 3; 0 for anything else."""
    number = score_of(value)
    return int(number) if number in (1.0, 2.0, 3.0) else 0


# ---- both sides


def _sides(row: dict[str, Any], mapping: Mapping, a: str, b: str) -> tuple[list[Message], str, str]:
    """The prompt and the two answers."""
    first, second = value_of(row, a), value_of(row, b)
    if isinstance(first, str) and isinstance(second, str):
        if first.startswith(_STARTS) and second.startswith(_STARTS) or mapping.kind == "transcripts":
            return _of_transcripts(first, second)
        if mapping.kind == "implicit":
            return implicit(first, second)
    one, two = _listed(first, mapping, a), _listed(second, mapping, b)
    if one is not None and two is not None:
        return _of_lists(row, mapping, one, two)
    if one is not None and not isinstance(first, str) or two is not None and not isinstance(second, str):
        raise NoPair(tr("one answer is a text, the other is a list of messages"))
    if not mapping.prompt:
        raise NoPair(tr("there is no question"))
    prompt, spoken = prompt_of(value_of(row, mapping.prompt), mapping.roles, mapping.prompt)
    texts = [text_of(first, a), text_of(second, b)]
    for text in texts:
        if not text or text.isspace():  # of a cell: more likely missing than said
            raise NoPair(tr("an answer in it is empty"))
    return prompt, *([t.strip() for t in texts] if spoken else texts)


def _listed(value: Any, mapping: Mapping, column: str) -> list[Any] | None:
    """A list of messages in any of its disguises; None for a text."""
    if isinstance(value, dict) and ("content" in value or "value" in value):
        return [value]
    if isinstance(value, list):
        if not value:
            raise NoPair(tr("“{column}” is no list of messages", column=column))
        return value
    return _packed(value)


def _packed(value: Any) -> list[Any] | None:
    """Messages as tables hold them: JSON in a text."""
    if not isinstance(value, str) or not value.startswith("[") or not value.rstrip().endswith("]"):
        return None
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        return None
    fits = isinstance(found, list) and found and all(isinstance(m, dict) and ("role" in m or "from" in m) for m in found)
    return found if fits else None


def prompt_of(value: Any, roles: Sequence[tuple[str, str]], column: str) -> tuple[list[Message], bool]:
    """A prompt's messages, and whether it was a transcript that the answers go on."""
    if isinstance(value, dict) and ("content" in value or "value" in value):
        value = [value]
    listed = value if isinstance(value, list) else _packed(value)
    if listed is not None:
        return messages_of(listed, roles, column), False
    text = text_of(value, column)
    if text.startswith(_STARTS):
        turns = _turns(storable(text))
        if turns and turns[-1].role == "assistant" and not turns[-1].content:
            turns.pop()
        return turns, True
    return [Message(role="user", content=text)], False


def _of_lists(row: dict[str, Any], mapping: Mapping, one: list[Any], two: list[Any]) -> tuple[list[Message], str, str]:
    if max(len(one), len(two)) > MESSAGES:
        raise NoPair(tr("it has more than {count} messages", count=shown_number(MESSAGES)))
    shared = 0
    for a, b in zip(one, two, strict=False):
        if a != b:
            break
        shared += 1
    a, b = mapping.chosen or mapping.first, mapping.rejected or mapping.second
    prompt = messages_of(one[:shared], mapping.roles, a) if shared else []
    left = messages_of(one[shared:], mapping.roles, a) if shared < len(one) else []
    right = messages_of(two[shared:], mapping.roles, b) if shared < len(two) else []
    while left and right and left[0] == right[0]:  # the same, with something else beside the text
        prompt.append(left.pop(0))
        right.pop(0)
    if not any(m.role == "user" for m in (*prompt, *left)) and mapping.prompt and mapping.prompt not in (a, b):
        prompt = [*prompt_of(value_of(row, mapping.prompt), mapping.roles, mapping.prompt)[0], *prompt]
    return _answers(prompt, left, right)


def _of_transcripts(first: str, second: str) -> tuple[list[Message], str, str]:
    first, second = storable(first), storable(second)
    head, mark, one = first.rpartition(_ASSISTANT)
    other, _, two = second.rpartition(_ASSISTANT)
    if mark and head == other and "\n\nHuman:" not in one and "\n\nHuman:" not in two:  # nearly all are so
        turns = _turns(head)
        if turns and turns[-1].role == "user":
            return turns, one.strip(), two.strip()
    left, right, prompt = _turns(first), _turns(second), list[Message]()
    while left and right and left[0] == right[0]:
        prompt.append(left.pop(0))
        right.pop(0)
    return _answers(prompt, left, right)


def _turns(text: str) -> list[Message]:
    """A transcript's turns, texts without the white space around them. Two turns of one speaker in a row are one."""
    pieces = TRANSCRIPT.split(text if text.startswith("\n\n") else "\n\n" + text)
    if pieces[0].strip():
        raise NoPair(tr("it does not begin with “Human:” or “Assistant:”"))
    speakers = pieces[1::2]
    if speakers == _IN_TURN[:len(speakers)]:  # nearly all are so
        return [Message(role=role, content=words.strip()) for role, words in zip(_ROLES, pieces[2::2], strict=False)]
    made: list[tuple[str, str]] = []
    for who, words in zip(speakers, pieces[2::2], strict=True):
        words = words.strip()
        if made and made[-1][0] == who:
            made[-1] = (who, f"{made[-1][1]}{JOINED}{words}".strip())
        else:
            made.append((who, words))
    if len(made) > MESSAGES:
        raise NoPair(tr("it has more than {count} messages", count=shown_number(MESSAGES)))
    return [Message(role="user" if who == "Human" else "assistant", content=words) for who, words in made]


def _answers(prompt: list[Message], left: list[Message], right: list[Message]) -> tuple[list[Message], str, str]:
    """What is left of two conversations behind what they share must be answers."""
    if not left and not right:
        raise NoPair(tr("both answers are the same"))
    if not left or not right:
        # One goes on behind the other's last turn: one answer is the beginning of the other, or is missing.
        while prompt and prompt[-1].role == "assistant":
            turn = prompt.pop()
            left, right = [turn, *left], [turn, *right]
    if all(m.role == "assistant" for m in (*left, *right)):
        if not left or not right:
            raise NoPair(tr("nobody answers in one of its conversations"))
        return prompt, *(JOINED.join(m.content for m in side) for side in (left, right))
    if prompt and prompt[-1].role == "assistant" or any(m.role != "assistant" for m in (left[:1] + right[:1])):
        raise NoPair(tr("its conversations part with a question, not with an answer"))
    raise NoPair(tr("its conversations part before the last answer"))


def implicit(first: str, second: str) -> tuple[list[Message], str, str]:
    """Two texts that begin alike: the words they share are the prompt."""
    low, high = 0, min(len(first), len(second))
    while low < high:
        middle = (low + high + 1) // 2
        if first[:middle] == second[:middle]:
            low = middle
        else:
            high = middle - 1
    while low and not first[low - 1].isspace():
        low -= 1
    prompt = first[:low].rstrip()
    if not prompt:
        raise NoPair(tr("its texts do not begin alike, and there is no question beside them"))
    answers = [storable(text[len(prompt):]) for text in (first, second)]
    if any(not a.strip() for a in answers):
        raise NoPair(tr("an answer in it is empty"))
    return [Message(role="user", content=storable(prompt))], *answers


# ---- who is better


def _judged(row: dict[str, Any], mapping: Mapping, names: tuple[str, str], answers: Sequence[Answer], origin: str) -> dict[str, Any]:
    """The facts of a pair: what the file says of its answers, and the columns that are kept."""
    best, strength = ("first" if mapping.chosen else ""), 0
    scores = [a.facts.get("score") for a in answers]
    if mapping.label:
        best, strength = meaning_of(row.get(mapping.label), names, mapping.labels)
    elif scores[0] is not None and scores[1] is not None and not (mapping.chosen and scores[0] != scores[1]):
        best = "tie" if scores[0] == scores[1] else "first" if scores[0] > scores[1] else "second"
    if mapping.tie and said(row.get(mapping.tie)).strip().casefold() in _TRUE:
        best = "tie"
    if mapping.strength:
        strength = strength_of(row.get(mapping.strength)) or strength
    facts: dict[str, Any] = {}
    if mapping.facts:
        facts = bounded({name: row[name] for name in mapping.facts if name in row})
    if best and best != "skip":
        by = short(row.get(mapping.by)) if mapping.by else ""
        facts |= {"best": best, "by": by or origin}
        if strength and best in ("first", "second"):
            facts["strength"] = strength
    return facts


def short(value: Any) -> str:
    return storable(said(value).strip())[:200]


def _own(row: dict[str, Any], origin: str) -> Pair:
    """A row as Fledge wrote it: who answered, what is known of it and its labels stay. Its id is told anew: it must be its texts'."""
    listed = row.get("prompt")
    messages = messages_of(listed, (), "prompt")
    answers = [_own_answer(row.get(name), name) for name in ("first", "second")]
    facts = object_of(row.get("facts"), "facts")
    by = row.get("origin")
    return pair(messages, answers[0], answers[1], storable(by)[:500] if isinstance(by, str) and by else origin, bounded(facts))


def _own_answer(value: Any, name: str) -> Answer:
    plain = object_of(value, name)
    text, model = plain.get("text"), plain.get("model")
    if not isinstance(text, str):
        raise NoPair(tr("“{column}” is no text", column=name))
    return Answer(text=storable(text), model=storable(model)[:200] if isinstance(model, str) else "",
                  facts=bounded(object_of(plain.get("facts"), name)))


def object_of(value: Any, name: str) -> dict[str, Any]:
    if isinstance(value, str):  # a table's way to hold it
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            value = 0
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise NoPair(tr("“{column}” is no object", column=name))
    return value
