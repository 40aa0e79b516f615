"""What a policy is asked: prompts in the model's tokens, each once, split into those that are learned from and those that only measure.
Which they are, a stage says. No model.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from engine.contract.context import RunContext
from engine.contract.errors import FledgeError, InputError, Mismatch
from engine.contract.events import Notice
from engine.contract.rows import Example, Message
from engine.contract.words import tr, trn
from engine.rl.rollouts import Question
from engine.text import templates
from engine.training.examples import prompt_key
from engine.training.tuning import Start

SAMPLES = 4
ANSWER_ROOM = 16
"""Tokens of the context that a prompt leaves free at least."""


@dataclass(frozen=True)
class Asked:
    """A prompt that ends with a person's turn; `answer` and `facts` where a verifier wants them. `held_out` only measures, where whoever
    asks says so himself."""

    messages: tuple[Message, ...]
    answer: Any = ""
    facts: dict[str, Any] = field(default_factory=dict)
    held_out: bool = False


@dataclass(frozen=True)
class Prompts:
    """`train` and `held_out` have no prompt in common. `start` has the template. `too_long` and `refused` count what was left out,
    `differing` what asks the same as another one and has another answer."""

    start: Start
    template: templates.Chosen
    train: tuple[Question, ...]
    held_out: tuple[Question, ...]
    too_long: int = 0
    refused: int = 0
    differing: int = 0

    @classmethod
    def of(cls, start: Start, asked: Iterable[Asked], *, template: str, system: str, validation_percent: float | None,
           validation_prompts: int) -> Self:
        """Prompts that the model can read; a share of them is held out, or (None) those that say so. Raises Mismatch (no chat template),
        InputError (nothing to ask)."""
        if not template and not start.tokenizer.chat_template:
            raise Mismatch(tr("This model has no chat template, so it does not know where an answer begins and ends."),
                           tr("Fine-tune it on conversations first, or choose a chat template."), code="no_template", field="model")
        chosen = templates.choose(start.tokenizer, template)
        start = start.with_template(chosen.source)
        room = start.config.max_seq_len - min(ANSWER_ROOM, start.config.max_seq_len // 2)
        found: dict[tuple[int, ...], Question] = {}
        too_long, differing, refusals, held = 0, 0, list[FledgeError](), set[tuple[int, ...]]()
        for one in asked:
            messages = one.messages
            if system and messages[0].role != "system":
                messages = (Message(role="system", content=system), *messages)
            try:
                ids = tuple(start.tokenizer.encode_chat([m.model_dump() for m in messages]))
            except FledgeError as wrong:
                refusals.append(wrong)
                continue
            if len(ids) > room:
                too_long += 1
            else:
                key = prompt_key(Example(id="", messages=messages))
                first = found.setdefault(ids, Question(messages, ids, key, one.answer, one.facts))
                differing += first.answer != one.answer
                if one.held_out:
                    held.add(ids)
        if not found:
            if refusals:
                raise refusals[0]
            raise InputError(tr("There is no prompt that leaves room for an answer."),
                             tr("Choose other prompts, or a model with a longer context."), code="no_prompts", field="examples")
        if validation_percent is None:
            train = tuple(q for ids, q in found.items() if ids not in held)
            some = {q.ids for q in sorted((found[ids] for ids in held), key=lambda q: q.key)[:validation_prompts]}
            held_out = tuple(q for ids, q in found.items() if ids in some)
        else:
            train, held_out = split(tuple(found.values()), validation_percent)
        return cls(start, chosen, train, held_out[:validation_prompts], too_long, len(refusals), differing)

    @property
    def longest(self) -> int:
        """Tokens of the longest prompt."""
        return max(len(q.ids) for q in (*self.train, *self.held_out))

    @property
    def mean(self) -> float:
        """Tokens of a prompt on average."""
        return float(np.mean([len(q.ids) for q in self.train]))

    def heard(self, texts: Sequence[str], system: str = "") -> list[tuple[str, list[int]]]:
        """(what is asked, its ids) of samples: these questions, else some that are held out."""
        if texts:
            before = [{"role": "system", "content": system}] if system else []
            asked = [(text, self.start.tokenizer.encode_chat([*before, {"role": "user", "content": text}])) for text in texts]
            return [(text, ids) for text, ids in asked if len(ids) < self.start.config.max_seq_len]
        among = self.held_out or self.train
        chosen = {q.ids: q for q in (among[i * len(among) // SAMPLES] for i in range(min(SAMPLES, len(among))))}
        return [(q.messages[-1].content, list(q.ids)) for q in chosen.values()]

    def tell(self, context: RunContext) -> None:
        """What was left out, and which template was taken, as notices."""
        if self.too_long:
            context.emit(Notice(level="warning", code="left_out_too_long", title=tr("Prompts were left out"), step=0,
                text=trn("{count} prompt leaves no room for an answer.", "{count} prompts leave no room for an answer.", self.too_long),
                remedy=tr("Choose a model with a longer context, or shorten them.")))
        if self.refused:
            context.emit(Notice(level="warning", code="left_out_refused", title=tr("Prompts were left out"), step=0,
                text=trn("The chat template refuses {count} prompt.", "The chat template refuses {count} prompts.", self.refused),
                remedy=tr("Change their roles, or choose another template.")))
        if self.differing:
            context.emit(Notice(level="warning", code="differing_answers", title=tr("The same problem with several answers"), step=0,
                text=trn("{count} problem asks what another one asks, and has another answer. The first one counts.",
                         "{count} problems ask what others ask, and have other answers. The first of each counts.", self.differing),
                remedy=tr("Delete the wrong ones, and start again.")))
        if self.template.sentence:
            context.emit(Notice(level="info", code="template", title=tr("Chat template"), text=self.template.sentence, step=0))


def split(questions: Sequence[Question], percent: float) -> tuple[tuple[Question, ...], tuple[Question, ...]]:
    """(for training, for validation): by the hash of what is asked alone, as examples are split. With a percentage above 0 and more than
    one prompt, neither side is empty."""
    keys = np.array([q.key for q in questions], np.uint64)
    held = keys < np.uint64(min(percent / 100, 1.0) * (2**64 - 1)) if percent > 0 else np.zeros(len(keys), bool)
    if percent > 0 and len(set(keys.tolist())) > 1:
        held = held & (keys != keys.max()) if held.all() else held
        held = keys == keys.min() if not held.any() else held
    return (tuple(q for q, out in zip(questions, held, strict=True) if not out),
            tuple(q for q, out in zip(questions, held, strict=True) if out))
