"""One row's talk with the models: prompts filled in, replies read, asked again where they do not fit, two answers judged, and the example
put together with what is known about it.

It decides nothing about when and where (asking.py) nor what is asked (recipe_kinds.py). The same replies lead to the same asks, so that a
run that was killed goes through its journal without asking again.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from engine.contract.rows import Example, Message
from engine.generators import answers
from engine.generators.asks import Ask, Reply, Role
from engine.generators.judging import Verdict, judge
from engine.generators.recipe_rows import Row, Writing, number_of

if TYPE_CHECKING:
    from engine.generators.recipe import Recipe

_PLACE = re.compile(r"\{([a-z_]+)\}")
_AGAIN = {
    "unreadable": "Reply with one JSON object and nothing else.",
    "cut": "Be shorter. Reply with one JSON object and nothing else.",
    "empty": "Reply with one JSON object and nothing else.",
    "not_grounded": "The quote must be copied from the passage word for word, at least four words long.",
    "refers_to_passage": "The question must not mention the passage or the text; name what it is about.",
    "copied": "It must differ from those that are there.",
    "not_evolved": "It must differ from the prompt that is there.",
    "refers_to_prompt": "Write the prompt alone; do not speak about prompts.",
    "structure": "Every number, address, list item, piece of code and word in braces must come back as it is.",
}
"""What is added when a model is asked again."""


def placeholders(template: str) -> set[str]:
    return set(_PLACE.findall(template))


def fill(template: str, values: Mapping[str, str]) -> str:
    """A template with its {placeholders} filled in; other braces, JSON's say, stay as they are, and what is filled in is not looked at."""
    return _PLACE.sub(lambda m: values[m[1]] if m[1] in values else m[0], template).strip()


@dataclass(frozen=True)
class Read:
    """What was read from a reply. `flag` says why it does not fit ("" if it does); `found` is empty where it could not be read at all."""

    found: dict[str, Any]
    reply: Reply
    flag: str = ""
    asked: tuple[Message, ...] = ()


@dataclass(frozen=True)
class Candidate:
    """One answer to a prompt that might be kept."""

    text: str
    model: str
    flags: tuple[str, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass
class Talk:
    """`ask(ask, role)` gives a reply; it may be replayed from a journal."""

    recipe: "Recipe"
    row: Row
    ask: Callable[[Ask, Role], Reply]
    writing: Writing
    asked: int = 0
    tokens: int = 0
    seconds: float = 0.0

    # ---- asking

    def write(self, messages: Sequence[Message], role: Role = "responder", schema: dict[str, Any] | None = None) -> Reply:
        """One ask, with a seed of its own."""
        seed = number_of(self.row.seed, self.asked, role)
        return self._counted(Ask(tuple(messages), self.writing.max_tokens, self.writing.temperature, seed, schema), role)

    def _counted(self, ask: Ask, role: Role) -> Reply:
        self.asked += 1
        reply = self.ask(ask, role)
        self.tokens += reply.tokens_in + reply.tokens_out
        self.seconds += reply.seconds
        return reply

    def prompt(self, name: str, values: Mapping[str, str] | None = None) -> tuple[Message, ...]:
        """The recipe's prompt of this name, under its system prompt."""
        known = {"language": self.row.given.get("language", ""), "language_rule": self.language_rule, **(values or {})}
        made = [Message(role="user", content=fill(self.recipe.prompts[name], known))]
        if system := fill(self.recipe.prompts.get("system", ""), known):
            made.insert(0, Message(role="system", content=system))
        return tuple(made)

    @property
    def language_rule(self) -> str:
        """A sentence: which language to write in."""
        language = self.row.given.get("language", "")
        return fill(self.recipe.language_rules["given"], {"language": language}) if language else self.recipe.language_rules["own"]

    def read(self, name: str, values: Mapping[str, str], role: Role = "responder",
             accept: Callable[[dict[str, Any]], str] = lambda found: "", schema: str = "") -> Read:
        """Asks by the prompt `name` until the reply fits its schema and `accept` gives no flag, or tries run out. What was read last, if
        anything could be, is given back with its flag."""
        return self.read_messages(self.prompt(name, values), self.recipe.schemas[schema or name], role, accept)

    def read_messages(self, first: tuple[Message, ...], shape: dict[str, Any], role: Role = "responder",
                      accept: Callable[[dict[str, Any]], str] = lambda found: "") -> Read:
        """As `read`, of messages."""
        messages, best = first, None
        for _ in range(self.recipe.tries):
            reply = self.write(messages, role, shape)
            read = self._read(reply, shape, accept, messages)
            if not read.flag:
                return read
            if best is None or read.found or not best.found:
                best = read
            reminder = _AGAIN.get(read.flag, "")
            messages = (*first[:-1], Message(role="user", content=f"{first[-1].content}\n\n{reminder}".strip()))
        assert best is not None
        return best

    @staticmethod
    def _read(reply: Reply, shape: dict[str, Any], accept: Callable[[dict[str, Any]], str], asked: tuple[Message, ...]) -> Read:
        try:
            found = answers.read_json(reply.text, shape)
        except answers.Unreadable as wrong:
            cut = reply.finish == "length" or wrong.kind == "cut"
            return Read({}, reply, "empty" if wrong.kind == "empty" and not cut else "cut" if cut else "unreadable", asked)
        return Read(found, reply, accept(found), asked)

    def free(self, messages: Sequence[Message], role: Role) -> Candidate:
        """An answer in free text."""
        reply = self.write(messages, role)
        text = self.final(reply, reply.text)
        flags = ("cut",) if reply.finish == "length" else ("empty",) if not text else ()
        return Candidate(text, reply.model, flags)

    def final(self, reply: Reply, text: str) -> str:
        """An answer as it goes into the example: without what was thought aloud, or with it, as the person chose."""
        bare = answers.without_thinking(text)
        if self.writing.keep_thinking:
            if reply.thinking.strip():
                return f"<think>\n{reply.thinking.strip()}\n</think>\n\n{bare}"
            return text.strip()
        return bare

    # ---- two answers, and the example

    def example(self, conversation: Sequence[Message], write: Callable[[Role], Candidate], *, question: str = "", context: str = "",
                facts: Mapping[str, Any] | None = None, flags: Sequence[str] = (), place: int = 0) -> Example:
        """The example of a conversation and its best answer: `write` is called for each responder, the judge asked if there is one.

        question, context   what the judge sees: the last message of the conversation unless said; what the answer must rest on
        flags               of the prompt: with any the row is set aside, and neither the second responder nor the judge is asked
        place               which of the row's examples this is
        """
        kept = write("responder")
        other = write("second") if self.writing.second and not flags else None
        made: dict[str, Any] = dict(facts or {})
        score: float | None = None
        noted = list(flags)
        if other is not None and bool(kept.flags) != bool(other.flags):
            # One of the two did not answer as asked: there is nothing to compare.
            kept, other = (other, None) if kept.flags else (kept, None)
        if self.writing.judge and not kept.flags and not flags:
            rubric = self.writing.rubric.strip() or self.recipe.rubric
            verdict = judge(lambda ask: self._counted(ask, "judge"), rubric, question or conversation[-1].content, kept.text,
                            other.text if other is not None else None, margin=self.writing.margin, context=context, seed=self.row.seed)
            made |= verdict.facts()
            if not verdict.readable:
                noted.append("not_judged")
            else:
                kept, other, score = self._better(verdict, kept, other)
                if verdict.tie:
                    noted.append("tie")
                elif score is not None and score < self.writing.lowest_score:
                    noted.append("low_score")
                if other is not None and verdict.winner == "b":
                    made["scores"] = made["scores"][::-1]
                if other is not None and self.writing.keep_rejected and not verdict.tie:
                    made["rejected"] = {"text": other.text, "model": other.model, "score": made["scores"][1]}
        made |= kept.facts
        return self.put_together([*conversation, Message(role="assistant", content=kept.text)], kept.model, made, [*noted, *kept.flags],
                                 score, place)

    @staticmethod
    def _better(verdict: Verdict, a: Candidate, b: Candidate | None) -> tuple[Candidate, Candidate | None, float]:
        """(kept, the other one, the kept one's score)."""
        if b is not None and verdict.winner == "b":
            assert verdict.score_b is not None
            return b, a, verdict.score_b
        return a, b, verdict.score_a

    def put_together(self, messages: Sequence[Message], model: str, facts: Mapping[str, Any], flags: Sequence[str] = (),
                     score: float | None = None, place: int = 0) -> Example:
        name = self.row.id if self.row.wanted == 1 else f"{self.row.id}.{place}"
        known = {"recipe": self.recipe.id, **facts, "tokens": self.tokens, "seconds": round(self.seconds, 3), "asks": self.asked}
        return Example(id=f"{self.writing.prefix}{name}", messages=tuple(messages), origin=model, score=score,
                       flags=tuple(dict.fromkeys(flags)), facts=known)

    def failed(self, read: Read, facts: Mapping[str, Any] | None = None, place: int = 0) -> Example:
        """The example of a row that came to nothing: what was asked and what came back, flagged."""
        asked = [m for m in read.asked if m.role != "system"]
        text = self.final(read.reply, read.reply.text)
        return self.put_together([*asked, Message(role="assistant", content=text)], read.reply.model, {**(facts or {}), "failed": True},
                                 [read.flag], None, place)
