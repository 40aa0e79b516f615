"""A model of the project, asked: answers to questions through the batched sampler, and how likely it finds each of several answers.

What is answered is handed on at once, so that a kill loses next to nothing. It grades nothing and keeps nothing.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from engine.contract.errors import InputError, Mismatch
from engine.contract.machine import DeviceFacts
from engine.contract.words import tr
from engine.evaluation.questions import Asking, Question
from engine.model import memory
from engine.model.checkpoint import WEIGHTS, load_model, read_header, stop_ids
from engine.model.decoder import Decoder
from engine.project.models import ModelRef
from engine.sampling.batch import Choice
from engine.sampling.generate import generate
from engine.sampling.reading import Reader
from engine.sampling.sampling import Sampling
from engine.text.tokenizer import Tokenizer

MOST_ROWS = 128
CHOICES_AT_ONCE = 32
"""Questions."""
CACHE_SHARE = 0.3
"""Of the free memory, for the keys and values of the answers under way."""


@dataclass(frozen=True)
class Answer:
    """What was said to question number `place`, in try `sample`. finish: "stop", "length" (cut at the limit)."""

    place: int
    sample: int
    text: str
    finish: str
    tokens: int


@dataclass(frozen=True)
class Examinee:
    """A loaded model with its tokenizer. `ends` are the tokens that end an answer."""

    ref: ModelRef
    model: Decoder
    tokenizer: Tokenizer
    ends: tuple[int, ...]
    most_rows: int = MOST_ROWS

    @classmethod
    def load(cls, ref: ModelRef, device: DeviceFacts) -> "Examinee":
        """In float32, so that an answer does not depend on the batch; on a GPU, weights that are stored in 16 bits stay so."""
        half = device.kind == "cuda" and _in_16_bits(ref.folder)
        model = load_model(ref.folder, device.id, torch.bfloat16 if half else torch.float32)
        tokenizer = Tokenizer.load(ref.folder)
        if tokenizer.vocab_size > model.config.vocab_size:
            raise Mismatch(tr("{model} has {rows} tokens, its tokenizer {tokens}.", model=ref.id, rows=f"{model.config.vocab_size:,}",
                              tokens=f"{tokenizer.vocab_size:,}"), tr("Restore its folder, or choose another model."))
        row = memory.kv_cache(model.config, rows=1, columns=min(model.config.max_seq_len, 2048), dtype="bfloat16" if half else "float32")
        most = int(CACHE_SHARE * device.memory_free / max(1, row)) if device.memory_free else MOST_ROWS
        return cls(ref, model, tokenizer, stop_ids(ref.folder, tokenizer), max(1, min(MOST_ROWS, most)))

    @property
    def chats(self) -> bool:
        """Whether it can be asked in the chat form at all."""
        return bool(self.tokenizer.chat_template)

    def forms(self, wanted: Sequence[str]) -> tuple[str, ...]:
        """The forms to ask in: those wanted, else chat for a model tuned to answer, and plain and few-shot for a base model."""
        if wanted:
            if "chat" in wanted and not self.chats:
                raise Mismatch(tr("{model} has no chat template.", model=self.ref.id),
                               tr("Ask it in the plain form, or choose a model that chats."), code="no_chat_template")
            return tuple(wanted)
        return ("chat",) if self.ref.chat and self.chats else ("plain", "few_shot")

    def prompt(self, asking: Asking, question: Question, form: str, room: int) -> list[int]:
        """Ids that the answer follows. Solved questions before it are left out from the first where the context, less `room`, is too short.
        An InputError where the question alone is too long."""
        limit = self.model.config.max_seq_len
        shots = asking.shots
        while True:
            ids = self._before(replace(asking, shots=shots), question, form)
            if form != "few_shot" or not shots or len(ids) + min(room, limit // 2) <= limit:
                break
            shots = shots[1:]
        if len(ids) >= limit:
            raise _too_long(question, len(ids), limit)
        return ids

    def _before(self, asking: Asking, question: Question, form: str) -> list[int]:
        if form == "chat":
            return self.tokenizer.encode_chat(asking.messages(question))
        begin = [] if self.tokenizer.bos_id is None else [self.tokenizer.bos_id]
        return begin + self.tokenizer.encode(asking.text(question, form))

    def answers(self, prompts: Sequence[Sequence[int]], tries: Sequence[tuple[int, int]], *, form: str, sampling: Sampling,
                seeds: Sequence[int], told: Callable[[Answer], None], stop: Callable[[int], bool]) -> None:
        """Answers prompts[place] for each (place, sample) in `tries`; `told` gets each as soon as it is done, in no order. `stop` is asked
        at each token with how many were written; True ends everything."""
        ends = set(self.ends) | (self._newlines() if form == "few_shot" else set())
        settled = Sampling(temperature=sampling.temperature, max_new_tokens=sampling.max_new_tokens, stop_ids=tuple(sorted(ends)))

        def on_step(choices: list[Choice]) -> bool:
            for choice in choices:
                if choice.finish_reason:
                    place, sample = tries[choice.row.tag]
                    ids = choice.row.ids
                    text = self.tokenizer.decode([id for id in ids if id not in self.ends], skip_special=True)
                    told(Answer(place, sample, text, "stop" if choice.finish_reason == "stop" else "length", len(ids)))
            return stop(len(choices))

        generate(self.model, [prompts[place] for place, _ in tries], settled, seeds=list(seeds), max_rows=self.most_rows, logprobs=False,
                 on_step=on_step)

    def _newlines(self) -> set[int]:
        """Tokens with a line break: where a line of the few-shot form ends."""
        return {id for id in range(self.tokenizer.vocab_size) if b"\n" in self.tokenizer.token_bytes(id)}

    def choice_logprobs(self, asking: Asking, questions: Sequence[Question], form: str) -> Iterator[list[tuple[float, int]]]:
        """For each question [(log-probability in nats of the choice, its UTF-8 bytes), ...], in the order of its choices. Solved questions
        are left out as in `prompt`."""
        for start in range(0, len(questions), CHOICES_AT_ONCE):
            some = questions[start:start + CHOICES_AT_ONCE]
            reader = Reader(self.model)
            for number, question in enumerate(some):
                for place, (shared, whole) in enumerate(self._with_choices(asking, question, form)):
                    reader.add((number, place), whole, start=max(1, shared))
            found: dict[Any, float] = {}
            while reader.busy:
                for read in reader.step():
                    found[read.request] = sum(read.logprobs)
            for number, question in enumerate(some):
                yield [(found[number, place], len(words.encode())) for place, words in enumerate(question.choices)]

    def _with_choices(self, asking: Asking, question: Question, form: str) -> list[tuple[int, list[int]]]:
        """For each choice (how many ids stand before it, all ids), with the same solved questions before all of them."""
        limit, shots = self.model.config.max_seq_len, asking.shots
        while True:
            shorter = replace(asking, shots=shots)
            before = self._before(shorter, question, form)
            made = [(before, self._after(shorter, question, form, words)) for words in question.choices]
            longest = max(len(whole) for _, whole in made)
            if longest <= limit:
                return [(min(_shared(before, whole), len(whole) - 1), whole) for before, whole in made]
            if form != "few_shot" or not shots:
                raise _too_long(question, longest, limit)
            shots = shots[1:]

    def _after(self, asking: Asking, question: Question, form: str, words: str) -> list[int]:
        if form == "chat":
            said = [*asking.messages(question), {"role": "assistant", "content": words}]
            return self.tokenizer.encode_chat(said, add_generation_prompt=False)
        begin = [] if self.tokenizer.bos_id is None else [self.tokenizer.bos_id]
        return begin + self.tokenizer.encode(f"{asking.text(question, form)} {words}")


def _shared(one: Sequence[int], other: Sequence[int]) -> int:
    """How many ids both begin with."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _too_long(question: Question, tokens: int, limit: int) -> InputError:
    return InputError(tr("“{prompt}” has {tokens} tokens; the model reads at most {limit}.", prompt=question.prompt[:80],
                         tokens=f"{tokens:,}", limit=f"{limit:,}"),
                      tr("Leave it out, or choose a model with a longer context."), code="prompt_too_long")


def _in_16_bits(folder: Path) -> bool:
    weights = Path(folder) / WEIGHTS
    return weights.is_file() and {str(entry["dtype"]) for entry in read_header(weights).values()} <= {"BF16", "F16"}


def seed_of(seed: int, question: str, sample: int) -> int:
    """A seed of its own for each try at each question: the same whatever else is asked."""
    return int.from_bytes(hashlib.sha256(f"{seed} {question} {sample}".encode()).digest()[:7], "big")


def shots_for(questions: Sequence[Question], asking: Asking, count: int) -> Asking:
    """The asking with solved questions for the few-shot form: the suite's own, else `count` of the questions, evenly spread. Questions with
    the same answer as one of these are asked without it (`without_leak`)."""
    if asking.shots or not count:
        return asking
    known = [q for q in questions if q.answers and len(q.messages) == 1]
    picked = [known[i * len(known) // count] for i in range(min(count, len(known)))]
    return replace(asking, shots=tuple((q.prompt, q.answers[0]) for q in picked))


def without_leak(asking: Asking, question: Question) -> Asking:
    """Without the solved questions that would tell the answer of this one."""
    kept = tuple((prompt, answer) for prompt, answer in asking.shots
                 if prompt != question.prompt and answer not in question.answers)
    return asking if len(kept) == len(asking.shots) else replace(asking, shots=kept)


def best_form(shares: Mapping[str, float]) -> str:
    """The form a model did best in: what a comparison takes of a base model."""
    return max(shares, key=lambda form: (shares[form], form == "chat"))


