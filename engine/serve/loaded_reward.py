"""One reward model in memory: it scores whole conversations, and writes nothing. Lives in the engine thread; imports torch.

It stands beside loaded.py's Loaded, and the engine treats both alike.
"""

import time
from collections.abc import Iterator

import numpy as np
import torch

from engine.contract.errors import FledgeError, SettingError
from engine.contract.machine import DeviceFacts
from engine.contract.words import tr
from engine.model.scorer import BATCH_TOKENS, Scorer
from engine.sampling.reading import Read
from engine.serve.catalogue import Listed
from engine.serve.jobs import Conversation, Job
from engine.serve.loaded import Encoded, Loaded, Running, dtype_of
from engine.serve.pieces import Growing, Token
from engine.text.tokenizer import StreamDecoder


class LoadedReward:
    """`add` jobs of purpose "reward", `rewards`, `remove`. The rest is as Loaded has it."""

    capacity = 1
    stamp_of = staticmethod(Loaded.stamp_of)

    def __init__(self, listed: Listed, device: DeviceFacts) -> None:
        self.listed, self.device = listed, device
        self.stamp = self.stamp_of(listed)
        self.scorer = Scorer(listed.ref.folder, device.id, dtype_of(listed.config, device))
        self.running: dict[Job, Running] = {}
        self.used = time.monotonic()
        self.keep: float | None = None
        self.nbytes = sum(p.nbytes for p in self.scorer.model.parameters())

    @property
    def active(self) -> int:
        return len(self.running)

    def encode(self, job: Job) -> Encoded:
        """A conversation as the reward model reads it. SettingError where there is no answer to score."""
        if job.purpose != "reward":
            raise SettingError(tr("{model} is a reward model: it scores answers and writes none.", model=self.listed.ref.title),
                               tr("Ask for kind reward, or choose another model."), code="reward_model", field="model")
        assert isinstance(job.prompt, Conversation)
        try:
            return Encoded(self.scorer.ids(job.prompt.messages).tolist())
        except FledgeError as wrong:
            raise SettingError(wrong.sentence, wrong.remedy, code=wrong.code, field="input") from wrong

    def add(self, job: Job, prompt: Encoded) -> None:
        self.running[job] = Running(job, prompt, Growing(StreamDecoder(self.scorer.tokenizer), ()), 0, False, time.monotonic())

    def step(self) -> Iterator[tuple[Running, Token | None, str]]:
        return iter(())

    def read(self) -> list[tuple[Running, Read]]:
        return []

    def rewards(self) -> list[tuple[Running, float, float]]:
        """(job, reward, reward over the spread of the training answers) of those that come next; not more at once than others can wait
        for."""
        chosen: list[Running] = []
        for running in self.running.values():
            chosen.append(running)
            if sum(r.prompt_tokens for r in chosen) >= BATCH_TOKENS:
                break
        scored = self.scorer.score_ids([np.array(r.prompt.ids, np.uint32) for r in chosen])
        return list(zip(chosen, scored, self.scorer.normalised(scored), strict=True))

    def remove(self, job: Job) -> None:
        self.running.pop(job, None)

    def close(self) -> None:
        """Give the memory back."""
        del self.scorer
        self.running.clear()
        if self.device.kind == "cuda":
            torch.cuda.empty_cache()
        elif self.device.kind == "mps":
            torch.mps.empty_cache()
