"""Ollama's chat template (Go's text/template) from a chat template in Jinja, by watching what the latter writes.

Most chat templates put something before and after each role's text, and something before an answer. That is read off a few conversations
with marked contents, and the Go template made of it is right where all further ones come out the same. Templates that do more (tools, a
system prompt inside the user's turn) give the nearest one or none, and say so. Go has no way to trim a text: where the Jinja template does,
blanks at the ends of a message stay.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engine.contract.errors import FormatError
from engine.model.formats.tokenizer_out import Words
from engine.text import chat_template as chat

Message = Mapping[str, str]
_MARKS = {"system": "\u2402sys\u2403", "user": "\u2402one\u2403", "assistant": "\u2402ans\u2403", "again": "\u2402two\u2403"}


@dataclass(frozen=True)
class Turns:
    """(before, after) the text of each role; `head`: before the first turn where that is not the system's; `opening`: what an answer begins
    with."""

    wraps: dict[str, tuple[str, str]]
    head: str
    opening: str

    def render(self, messages: Sequence[Message]) -> str:
        """What the Go template below makes of a conversation; the last answer, if it ends it, stays open."""
        made = self.head if messages and messages[0]["role"] != "system" else ""
        for number, message in enumerate(messages):
            before, after = self.wraps.get(message["role"], ("", ""))
            last = number == len(messages) - 1
            if message["role"] in self.wraps:
                made += before + message["content"] + ("" if last and message["role"] == "assistant" else after)
            made += self.opening if last and message["role"] != "assistant" else ""
        return made


@dataclass(frozen=True)
class GoTemplate:
    """`text` "" where none could be made; `exact`: every conversation tried comes out the same, but for blanks if `trims`."""

    text: str
    exact: bool
    trims: bool = False


def go_template(words: Words) -> GoTemplate:
    """Of the tokenizer's chat template. Without one, a plain completion."""
    source = words.tokenizer.chat_template
    if not source:
        return GoTemplate("{{ .Prompt }}", True)
    turns = read_off(source, words)
    if turns is None:
        return GoTemplate("", False)
    plain, trims = _same(source, words, turns), False
    if plain and not _same(source, words, turns, "  "):
        trims = plain = _same(source, words, turns, "  ", trimmed=True)
    return GoTemplate(write(turns), plain, trims)


def _same(source: str, words: Words, turns: Turns, pad: str = "", trimmed: bool = False) -> bool:
    """Whether the conversations that the template takes come out as `turns` has them (with trimmed contents)."""
    for talk in _conversations(pad):
        wanted = [{**m, "content": m["content"].strip()} for m in talk] if trimmed else talk
        try:
            if _jinja(source, words, talk) != turns.render(wanted):
                return False
        except FormatError:  # a conversation that the model was not made for
            continue
    return True


def write(turns: Turns) -> str:
    """The template. No trim markers: every character outside of `{{ }}` is written as it is."""
    made = "{{ range $i, $m := .Messages }}{{ $last := eq (len (slice $.Messages $i)) 1 }}"
    if turns.head:
        made += '{{ if and (eq $i 0) (ne $m.Role "system") }}' + _literal(turns.head) + "{{ end }}"
    for number, (role, (before, after)) in enumerate(turns.wraps.items()):
        made += f'{{{{ {"else if" if number else "if"} eq $m.Role "{role}" }}}}{_literal(before)}{{{{ $m.Content }}}}'
        made += f"{{{{ if not $last }}}}{_literal(after)}{{{{ end }}}}" if role == "assistant" else _literal(after)
    made += '{{ end }}{{ if and $last (ne $m.Role "assistant") }}' + _literal(turns.opening) + "{{ end }}{{ end }}"
    return made


def _literal(text: str) -> str:
    return text.replace("{{", '{{ "{{" }}')


def read_off(source: str, words: Words) -> Turns | None:
    """What stands around each role's text; None where the template cannot be taken apart so."""
    user, answer, again, system = (_MARKS[k] for k in ("user", "assistant", "again", "system"))
    first = [{"role": "user", "content": user}]
    talk = [*first, {"role": "assistant", "content": answer}]
    longer = [*talk, {"role": "user", "content": again}]
    led = [{"role": "system", "content": system}, *longer]
    try:
        alone, answered = (_jinja(source, words, m, opening=False) for m in (first, talk))
        asked, whole = _jinja(source, words, longer), None
        begin, _, after_user = alone.partition(user)
        between = asked.partition(user)[2].partition(answer)[0]
        after_answer = answered.partition(answer)[2]
        turn = asked.partition(answer)[2].partition(again)[0]
        opened = asked.partition(again)[2]
        if not all(mark in asked for mark in (user, answer, again)):
            return None
        if not (between.startswith(after_user) and turn.startswith(after_answer) and opened.startswith(after_user)):
            return None
        before_user = turn.removeprefix(after_answer)
        if not begin.endswith(before_user):
            return None
        wraps = {"user": (before_user, after_user), "assistant": (between.removeprefix(after_user), after_answer)}
        head = begin.removesuffix(before_user)
    except FormatError:
        return None
    try:
        whole = _jinja(source, words, led)
        start, _, rest = whole.partition(system)
        behind = rest.partition(user)[0]
        if behind.endswith(before_user) and system in whole:
            wraps = {"system": (start, behind.removesuffix(before_user)), **wraps}
    except FormatError:  # a template that knows no system prompt
        pass
    return Turns(wraps, head, opened.removeprefix(after_user))


def _jinja(source: str, words: Words, messages: Sequence[Message], opening: bool = True) -> str:
    """What the template writes, without the begin token that llama.cpp puts there by itself. A conversation that ends with an answer is
    shown as one that goes on: without what closes the turn."""
    bos = words.name(words.bos_id)
    text = chat.render(source, messages, bos_token=bos, eos_token=words.name(words.eos_id), add_generation_prompt=opening)
    return text.removeprefix(bos) if words.adds_bos and bos else text


def _conversations(pad: str) -> list[list[dict[str, str]]]:
    """What a made template is tried on; `pad` around each content."""
    roles = (("user",), ("user", "assistant", "user"), ("system", "user"), ("system", "user", "assistant", "user"),
             ("user", "assistant", "user", "assistant", "user"))
    said = ("Where is the ferry?", "At the quay.", "And {{ now }}?\nTell me.", "It left.", "Thanks")
    return [[{"role": role, "content": f"{pad}{said[i]}{pad}"} for i, role in enumerate(talk)] for talk in roles]
