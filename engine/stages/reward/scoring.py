"""Rewards of pairs that nobody has labelled, so that those the model is least sure of can be shown first. No training.

    runs/<id>/scores.jsonl   a line a pair: {"id", "first", "second", "probability", "uncertainty"}

`probability`: that the first answer is the better one; `uncertainty`: its entropy in bits, 1 where it is one half. Both count how unlike
the labelled pairs a pair is (estimates.Doubt). The file is written aside, in the run's `work`, and renamed when it is whole; a run that is
stopped or killed goes on where the whole lines end. Pairs that the model cannot read (too long, the same text twice) get no line.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from engine.contract.context import RunContext
from engine.contract.errors import Stopped
from engine.contract.rows import Pair, PreferencePair
from engine.contract.words import tr
from engine.model.reward_model import RewardModel
from engine.project import files, layout, snapshots
from engine.stages.reward.estimates import Doubt
from engine.stages.reward.learning import read
from engine.training.pair_rows import EncodedPairs

PART = "scores.jsonl"
CHUNK = 512
"""Pairs that are encoded, read and written together."""
TOLD_SECONDS = 1.0

Encode = Callable[[Iterator[PreferencePair]], EncodedPairs]


def score(model: RewardModel, doubt: Doubt, encode: Encode, context: RunContext) -> int:
    """Score the pairs that the run was given; how many have a score. `encode` makes tokens as in training. Raises Stopped as the person
    asks, DiskFull."""
    final, part = layout.scores_file(context.run_dir), layout.work(context.run_dir) / PART
    if final.is_file():
        return sum(1 for _ in open(final, "rb"))
    total = sum(1 for _ in snapshots.unlabelled(context.run_dir))
    if not total:
        return 0
    part.parent.mkdir(parents=True, exist_ok=True)
    passed, kept = _left_at(part)
    pairs, began, told, before = snapshots.unlabelled(context.run_dir), time.monotonic(), 0.0, passed
    for _ in islice(pairs, passed):
        pass
    try:
        with open(part, "ab") as file:
            file.truncate(kept)
            while chunk := list(islice(pairs, CHUNK)):
                passed += len(chunk)
                file.write(_lines(model, doubt, encode, chunk) + b"%d\n" % passed)
                file.flush()
                if (now := time.monotonic()) - told > TOLD_SECONDS or passed == total:
                    told, rate = now, (passed - before) / max(1e-6, now - began)
                    context.progress(passed, total, tr("pairs"), rate, (total - passed) / max(1e-9, rate))
                _heed(context)
        files.write_bytes(final, b"".join(line for line in open(part, "rb") if line.startswith(b"{")))
    except OSError as wrong:
        raise files.disk_error(wrong, part) from wrong
    os.unlink(part)
    return sum(1 for _ in open(final, "rb"))


def _lines(model: RewardModel, doubt: Doubt, encode: Encode, chunk: list[Pair]) -> bytes:
    encoded = encode(PreferencePair(id=pair.id, prompt=pair.prompt, chosen=pair.first.text, rejected=pair.second.text) for pair in chunk)
    made = read(model, encoded, range(len(encoded)))
    probability, uncertainty = doubt.of(made.rewards[:, 0] - made.rewards[:, 1], made.differences)
    rows = zip(encoded.numbers.tolist(), made.rewards.tolist(), probability.tolist(), uncertainty.tolist(), strict=True)
    return b"".join(json.dumps({"id": chunk[n].id, "first": first, "second": second, "probability": p, "uncertainty": u}).encode() + b"\n"
                    for n, (first, second), p, u in rows)


def _left_at(part: Path) -> tuple[int, int]:
    """(pairs that an earlier attempt went through, bytes of what it wrote of them): each chunk ends with a line that counts."""
    passed = kept = at = 0
    if part.is_file():
        with open(part, "rb") as file:
            for line in file:
                at += len(line)
                if line.strip().isdigit() and line.endswith(b"\n"):
                    passed, kept = int(line), at
    return passed, kept


def _heed(context: RunContext) -> None:
    command = context.command()
    if command and command.word in ("stop", "stop_save", "pause"):
        raise Stopped(tr("Stopped while pairs were scored; the reward model is saved."), saved=True, paused=command.word == "pause")


def doubt_of(model: RewardModel, differences: np.ndarray) -> Doubt:
    """From what the trained model says of the pairs it was trained on."""
    return Doubt(differences, model.head.weight.detach().double().cpu().numpy()[0])
