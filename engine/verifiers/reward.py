"""A reward model of the project as a verifier: it scores prompt and completion as one conversation. The only verifier that loads torch.

Its weights stand on the device beside the policy: a stage counts `bytes_of` into its plan, and a measured fit holds the model itself.
Rewards are rounded to four decimals, since how many are scored together changes the last bits, and that hangs on who is ready first.
"""

import math
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from engine.contract.errors import FledgeError
from engine.contract.rows import Message
from engine.model.scorer import Scorer
from engine.project.models import resolve_reward
from engine.project.project import Project
from engine.verifiers.api import Attempt, Check, Verdict, failed, never, scored

AT_ONCE = 32
"""Attempts that are scored between two looks at whether somebody wants to stop."""
DIGITS = 4


def load(project_dir: Path, model: str, device: str) -> Scorer:
    """Raises NotFound, InputError, and what loading the model raises. Where the device has bfloat16 in that type, as the server does."""
    ref = resolve_reward(Project.open(project_dir), model)
    return Scorer(ref.folder, device, dtype_on(device))


def dtype_on(device: str) -> torch.dtype:
    return torch.bfloat16 if device.startswith("cuda") and torch.cuda.is_bf16_supported() else torch.float32


class RewardVerifier:
    """`form`: "sigmoid" and "normalised" go by the mean and spread of the answers it was trained on; "raw" as it comes. The last two are
    cut at `limit`. A completion that the template makes nothing of has no score."""

    def __init__(self, scorer: Scorer, *, form: Literal["sigmoid", "normalised", "raw"] = "sigmoid", limit: float = 5.0) -> None:
        self.scorer, self.form, self.limit = scorer, form, limit
        self._one = threading.Lock()

    def score(self, attempts: Sequence[Attempt], check: Check = never) -> list[Verdict]:
        verdicts: list[Verdict] = []
        for start in range(0, len(attempts), AT_ONCE):
            check()
            with self._one:
                verdicts += self._some(attempts[start:start + AT_ONCE])
        return verdicts

    def check_answers(self, answers: Sequence[Any]) -> list[str]:
        return ["" for _ in answers]

    def _some(self, attempts: Sequence[Attempt]) -> list[Verdict]:
        verdicts: list[Verdict | None] = [None] * len(attempts)
        places, sequences = [], []
        for place, attempt in enumerate(attempts):
            try:
                sequences.append(self.scorer.ids(_conversation(attempt)))
                places.append(place)
            except FledgeError as wrong:
                verdicts[place] = failed("raised", wrong.sentence)
        for place, reward in zip(places, self._formed(self.scorer.score_ids(sequences)) if sequences else (), strict=True):
            verdicts[place] = scored(reward, {}) if math.isfinite(reward) else failed("out_of_range", repr(reward))
        return [verdict for verdict in verdicts if verdict is not None]

    def _formed(self, rewards: Sequence[float]) -> list[float]:
        if self.form == "raw":
            made = list(rewards)
        else:
            made = self.scorer.normalised(rewards)
        if self.form == "sigmoid":
            return [round(1 / (1 + math.exp(-max(-50.0, min(50.0, one)))), DIGITS) if math.isfinite(one) else one for one in made]
        return [round(max(-self.limit, min(self.limit, one)), DIGITS) if math.isfinite(one) else one for one in made]


def _conversation(attempt: Attempt) -> list[Message]:
    prompt = [Message(role=message["role"], content=message["content"]) for message in attempt.messages]
    return [*prompt, Message(role="assistant", content=attempt.completion)]
