"""Who answers: a model of the project, loaded here and sampled in batches, or a local language model outside of it.

Nothing is kept here, and nothing decided about rows: see pairing.py.
"""

import gc
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from engine.contract.context import RunContext
from engine.contract.errors import Stopped
from engine.contract.rows import Answer
from engine.contract.words import tr
from engine.evaluation.answering import Examinee
from engine.generators.provider import Provider
from engine.project.models import ModelRef
from engine.sampling.batch import Choice
from engine.sampling.generate import generate
from engine.sampling.sampling import Sampling
from engine.stages.preference.prompts import Prompt
from engine.training import devices

PROJECT = "project:"
LEAST_ROOM = 16
"""Tokens that must be left for an answer; what is cut shorter is hardly one."""


@dataclass
class ProjectMaker:
    """One model of the project in memory; `close` frees it. `plain`: it is no model that answers, and goes on from the prompt's text."""

    name: str
    examinee: Examinee

    @classmethod
    def load(cls, name: str, ref: ModelRef, device: str) -> "ProjectMaker":
        found = next((d for d in devices.detect() if d.id == device), None) or devices.choose("cpu")
        return cls(name, Examinee.load(ref, found))

    @property
    def plain(self) -> bool:
        return self.examinee.forms(())[0] != "chat"

    @property
    def at_once(self) -> int:
        """Rows that make full batches, with few that end alone."""
        return 2 * self.examinee.most_rows

    def ids(self, prompt: Prompt, room: int) -> list[int] | None:
        """What the answer follows; None where too little room is left for it. An InputError of a template that refuses it."""
        tokenizer = self.examinee.tokenizer
        if self.plain:
            made = [*([] if tokenizer.bos_id is None else [tokenizer.bos_id]), *tokenizer.encode(prompt.text)]
        else:
            made = tokenizer.encode_chat([m.model_dump() for m in prompt.messages])
        return made if len(made) + min(room, LEAST_ROOM) <= self.examinee.model.config.max_seq_len else None

    def answer(self, prompts: Sequence[Sequence[int]], seeds: Sequence[int], sampling: Sampling, told: Callable[[int, Answer], None],
               heed: Callable[[], None]) -> None:
        """An answer to each prompt; `told` gets (place, answer) as soon as it is done. `heed` is called at each token, and may raise."""
        ends = self.examinee.ends
        form = {"form": "plain"} if self.plain else {}
        began: dict[int, float] = {}

        def on_step(choices: list[Choice]) -> bool:
            now = time.monotonic()
            for choice in choices:
                place = choice.row.tag
                start = began.setdefault(place, now)
                if choice.finish_reason:
                    ids = choice.row.ids
                    text = self.examinee.tokenizer.decode([id for id in ids if id not in ends], skip_special=True)
                    told(place, Answer(text=text.strip(), model=self.name, facts={
                        "temperature": sampling.temperature, "seed": seeds[place], "tokens": len(ids), "seconds": round(now - start, 3),
                        "finish": "stop" if choice.finish_reason == "stop" else "length", **form}))
            heed()
            return False

        settled = Sampling(temperature=sampling.temperature, top_p=sampling.top_p, max_new_tokens=sampling.max_new_tokens, stop_ids=ends)
        generate(self.examinee.model, prompts, settled, seeds=list(seeds), max_rows=self.examinee.most_rows, logprobs=False,
                 on_step=on_step)

    def close(self) -> None:
        """The next model needs the room."""
        del self.examinee
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def heed(context: RunContext) -> None:
    """Raises Stopped when the person asked; what was answered is kept."""
    command = context.command()
    if command and command.word in ("stop", "stop_save", "pause"):
        raise Stopped(tr("Stopped; the pairs that are there are kept, and the run can be resumed."), saved=True,
                      paused=command.word == "pause")


def check(provider: Provider, context: RunContext) -> None:
    """It could answer. Loading a model may take minutes: a stop is heeded meanwhile."""
    found: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()

    def look() -> None:
        try:
            provider.check()
            found.put(None)
        except Exception as wrong:  # raised where it is waited for
            found.put(wrong)
    threading.Thread(target=look, name="model", daemon=True).start()
    while True:
        try:
            wrong = found.get(timeout=0.1)
        except queue.Empty:
            heed(context)
            continue
        if wrong is not None:
            raise wrong
        return


def answer_of(reply: Any, temperature: float, seed: int) -> Answer:
    """A local model's reply as an answer."""
    return Answer(text=reply.text.strip(), model=reply.model, facts={
        "temperature": temperature, "seed": seed, "tokens": reply.tokens_out, "seconds": round(reply.seconds, 3), "finish": reply.finish})
