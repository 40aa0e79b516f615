"""A conversation as token ids, and which of them the model learns to write. No torch, no batches.

The ids are those of Tokenizer.encode_chat: what a model reads when it chats is what it was trained on. What is learned comes from the
template itself: from its `{% generation %}` blocks where it has them, else from rendering the conversation up to each answer, with the
prompt for an answer and then with the answer. A template whose beginnings do not fit the whole (one that writes an earlier turn otherwise
when more follows) is refused by name: a wrong mask is never made in silence.

A token counts as learned when it covers any of the learned characters. Without blocks, white space that a template puts behind the token
that ends an answer is not learned: nobody ever asks for it. The first token of a conversation is never a target: nothing stands before it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from engine.contract.errors import FormatError, Mismatch
from engine.contract.rows import Message
from engine.contract.words import tr
from engine.text import chat_template as chat
from engine.text import specials
from engine.text.tokenizer import Tokenizer

LossOn = Literal["assistant", "last", "all"]
TRUSTED = ("assistant",)
"""Roles in whose texts names of special tokens become those tokens (the model's own `<think>`); as in Tokenizer.encode_chat."""


@dataclass(frozen=True)
class Span:
    """Tokens start..stop that the model learns to write. `ended` says that the last of them is one at which writing stops (end of turn or
    of text): without it the model never learns to stop."""

    start: int
    stop: int
    ended: bool


@dataclass(frozen=True)
class Masked:
    """ids uint32[N]; trained bool[N]: token i is a target; spans: the learned stretches in order (loss on all: the whole)."""

    ids: np.ndarray
    trained: np.ndarray
    spans: tuple[Span, ...]


def encode(tokenizer: Tokenizer, messages: Sequence[Message | Mapping[str, Any]], *, template: str = "", loss_on: LossOn = "assistant",
           system: str = "") -> Masked:
    """A conversation masked for training. `template` replaces the tokenizer's own; `system` goes before conversations that have none.

    FormatError (code "chat_template": the template refuses the conversation or is broken; "chat_mask": it does not tell what the assistant
    wrote), Mismatch when there is no template at all. A conversation without an answer comes back with nothing trained.
    """
    source, plain = _template(tokenizer, template), _plain(messages, system)
    contents = "".join(str(m.get("content")) for m in plain)
    mark = next(c for c in map(chr, range(0xE000, 0xF8FF)) if c not in contents)
    armed = [m if m.get("role") in TRUSTED else {**m, "content": tokenizer._disarm(m.get("content"), mark)} for m in plain]
    blocks = chat.marks_generation(source)
    if loss_on == "all":
        text = chat.render(source, armed, add_generation_prompt=False, **_names(tokenizer))
        ranges = [(0, len(text))]
    elif blocks:
        text, ranges = _by_blocks(source, armed, loss_on, _names(tokenizer))
    else:
        text, ranges = _by_beginnings(source, armed, loss_on, _names(tokenizer))
    ids, places = _tokens(tokenizer, text, mark)
    trained = np.zeros(len(ids), bool)
    spans = []
    ends = end_ids(tokenizer)
    for start, stop in ranges:
        first = int(np.searchsorted(places[:, 1], start, "right"))
        last = int(np.searchsorted(places[:, 0], stop, "left"))
        if loss_on != "all" and not blocks:
            last = _without_rest(tokenizer, ids, first, last, ends)
        if last > first:
            spans.append(Span(first, last, int(ids[last - 1]) in ends))
            trained[first:last] = True
    trained[:1] = False
    return Masked(ids, trained, tuple(spans))


def end_ids(tokenizer: Tokenizer) -> frozenset[int]:
    """Ids that end an answer: the tokenizer's end of turn and end of text, and other people's special tokens for them."""
    named = [tokenizer.special.get(name) for name in (*specials.KNOWN_END, *specials.KNOWN_END_OF_TEXT)]
    return frozenset(id for id in (tokenizer.end_id, tokenizer.eos_id, *named) if id is not None)


def rendered(tokenizer: Tokenizer, messages: Sequence[Message | Mapping[str, Any]], *, template: str = "", system: str = "") -> str:
    """The conversation as text, to look at."""
    return chat.render(_template(tokenizer, template), _plain(messages, system), add_generation_prompt=False, **_names(tokenizer))


def _by_blocks(source: str, messages: list[dict[str, Any]], loss_on: str, words: dict[str, str]) -> tuple[str, list[tuple[int, int]]]:
    answers = _answers(messages)
    text, ranges = chat.render_marked(source, messages, add_generation_prompt=False, **words)
    if loss_on == "last" and answers:
        _, before = chat.render_marked(source, messages[:answers[-1]], add_generation_prompt=False, **words)
        if before != ranges[:len(before)]:
            raise _unclear(answers[-1])
        ranges = ranges[len(before):]
    return text, ranges


def _by_beginnings(source: str, messages: list[dict[str, Any]], loss_on: str,
                   words: dict[str, str]) -> tuple[str, list[tuple[int, int]]]:
    answers = _answers(messages)[-1:] if loss_on == "last" else _answers(messages)
    text = chat.render(source, messages, add_generation_prompt=False, **words)
    ranges = []
    for number in answers:
        prompt = chat.render(source, messages[:number], add_generation_prompt=True, **words)
        answered = text if number == len(messages) - 1 else chat.render(source, messages[:number + 1], add_generation_prompt=False, **words)
        if not answered.startswith(prompt) or not text.startswith(answered):
            raise _unclear(number)
        ranges.append((len(prompt), len(answered)))
    return text, ranges


def _answers(messages: list[dict[str, Any]]) -> list[int]:
    return [number for number, message in enumerate(messages) if message.get("role") == "assistant"]


def _unclear(number: int) -> FormatError:
    return FormatError(tr("The chat template writes the conversation up to message {number} differently when more follows, so it does not "
                          "tell which words are the assistant's.", number=number + 1),
                       tr("Learn only the last answer, learn everything, or mark the assistant's words in the template with "
                          "generation blocks."), code="chat_mask")


def _template(tokenizer: Tokenizer, template: str) -> str:
    source = template or tokenizer.chat_template
    if not source:
        raise Mismatch(tr("This model's tokenizer has no chat template."), tr("Choose a chat template in the settings of the run."),
                       code="no_template")
    return source


def _plain(messages: Sequence[Message | Mapping[str, Any]], system: str) -> list[dict[str, Any]]:
    plain = [{"role": m.role, "content": m.content} if isinstance(m, Message) else dict(m) for m in messages]
    if system and not (plain and plain[0].get("role") == "system"):
        plain.insert(0, {"role": "system", "content": system})
    return plain


def _names(tokenizer: Tokenizer) -> dict[str, str]:
    return {"bos_token": tokenizer._name(tokenizer.bos_id), "eos_token": tokenizer._name(tokenizer.eos_id)}


def _tokens(tokenizer: Tokenizer, text: str, mark: str) -> tuple[np.ndarray, np.ndarray]:
    """ids uint32[N] and, for each, where it begins and ends in the text: int64 [N, 2], in characters. Between marks stand the numbers of
    special tokens whose names are meant as ordinary text (see Tokenizer.encode_chat)."""
    whole = tokenizer._ranks is None and mark not in text
    special = tokenizer.special
    ids: list[np.ndarray] = []
    places: list[np.ndarray] = []
    at = 0
    for part in [text] if whole or not special else tokenizer._special_border.split(text):
        if not part:
            continue
        if part in special and not whole:
            ids.append(np.array([special[part]], np.uint32))
            places.append(np.array([[at, at + len(part)]], np.int64))
        else:
            shown, place = _restored(tokenizer, part, mark)
            made, ranges = _offsets(tokenizer, shown, whole)
            ids.append(made)
            places.append(at + (ranges if place is None else place[ranges]))
        at += len(part)
    if not ids:
        return np.zeros(0, np.uint32), np.zeros((0, 2), np.int64)
    return np.concatenate(ids), np.concatenate(places)


def _restored(tokenizer: Tokenizer, part: str, mark: str) -> tuple[str, np.ndarray | None]:
    """`part` with the names of special tokens back in their places, and where each character (and the end) of it stands in `part`."""
    if mark not in part:
        return part, None
    names = list(tokenizer.special)
    shown: list[str] = []
    place: list[np.ndarray] = []
    at = 0
    for number, piece in enumerate(re.split(f"({mark}[0-9]+{mark})", part)):
        text = names[int(piece[1:-1])] if number % 2 else piece
        shown.append(text)
        place.append(at + (np.zeros(len(text), np.int64) if number % 2 else np.arange(len(text), dtype=np.int64)))
        at += len(piece)
    place.append(np.array([at], np.int64))
    return "".join(shown), np.concatenate(place)


def _offsets(tokenizer: Tokenizer, text: str, allow_special: bool) -> tuple[np.ndarray, np.ndarray]:
    """ids of a text and the characters each covers, [N, 2]; a token that is part of a character covers the whole of it."""
    if tokenizer._ranks is None:
        encoder = tokenizer._with_special if allow_special else tokenizer._plain
        made = encoder.encode(text.encode("utf-8", "surrogatepass").decode("utf-8", "replace"), add_special_tokens=False)
        return np.array(made.ids, np.uint32), np.array(made.offsets, np.int64).reshape(-1, 2)
    ids = tokenizer.encode_array(text)
    ends = np.cumsum(tokenizer.token_widths[ids])
    starts = ends - tokenizer.token_widths[ids]
    if not text.isascii():
        widths = np.fromiter((len(c.encode("utf-8", "surrogatepass")) for c in text), np.int64, len(text))
        borders = np.cumsum(widths)  # byte behind each character
        starts, ends = np.searchsorted(borders, starts, "right"), np.searchsorted(borders, ends, "left") + 1
    return ids, np.stack([starts, ends], 1)


def _without_rest(tokenizer: Tokenizer, ids: np.ndarray, first: int, last: int, ends: frozenset[int]) -> int:
    """The end of a span without the white space that a template puts behind an answer's last token (ChatML's line break)."""
    behind = next((i + 1 for i in range(last - 1, first - 1, -1) if int(ids[i]) in ends), last)
    return behind if not tokenizer.decode(ids[behind:last]).strip() else last
