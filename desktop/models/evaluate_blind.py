"""A blind comparison under way: which pair comes next, what was chosen, what was passed over, and the result at its end. No Qt, no files.

The pairs and their sides were drawn by the engine (engine/evaluation/win_rate.py). Whoever shows a card keeps each vote on the disk before
the next one; this file knows what was kept.
"""

import hashlib
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.project import votes as kept
from engine.project.votes import Choice, Vote

PERSON, COMPARISONS = "person", "comparisons.jsonl"
RECENT_SECONDS = 600.0


@dataclass(frozen=True)
class Pair:
    """A pair as a person sees it; whose answer is whose stands in it, and is shown to nobody before the end."""

    key: str
    prompt: str
    left_text: str
    right_text: str
    left_model: str
    right_model: str
    id: str


def vote_id(purpose: str, left: str, right: str, id: str) -> str:
    """The name of the vote on a pair: the same pair has one vote, however often it is given."""
    return hashlib.sha256("\0".join((purpose, *sorted((left, right)), id)).encode()).hexdigest()[:32]


def read(folder: Path, purpose: str, votes: kept.Votes) -> "BlindSession":
    """The pairs that an evaluation laid out in its folder, with the votes there are. In a thread."""
    import engine.evaluation.win_rate  # noqa: F401  what tells the result, ready before it is wanted
    path = folder / COMPARISONS
    laid_out = [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []
    return BlindSession(purpose, laid_out, votes.list(purpose))


class BlindSession:
    """`current` is the pair to judge, None at the end. `vote` gives what to keep, `taken` moves on once it is kept."""

    def __init__(self, purpose: str, laid_out: Iterable[Mapping[str, Any]], votes: Sequence[Vote]) -> None:
        self.purpose = purpose
        self.pairs = [Pair(vote_id(purpose, p["left_model"], p["right_model"], p["id"]), p["prompt"], p["left_text"], p["right_text"],
                           p["left_model"], p["right_model"], p["id"]) for p in laid_out]
        known = {pair.key for pair in self.pairs}
        self.votes: dict[str, Vote] = {v.id: v for v in votes if v.id in known}
        self.skipped: list[str] = []
        self._steps: list[str] = [v.id for v in votes if v.id in known]
        self._times: list[float] = []

    @property
    def total(self) -> int:
        return len(self.pairs)

    @property
    def done(self) -> int:
        return len(self.votes)

    @property
    def current(self) -> Pair | None:
        skipped = set(self.skipped)
        return next((p for p in self.pairs if p.key not in self.votes and p.key not in skipped), None)

    @property
    def complete(self) -> bool:
        """Whether every pair has its vote."""
        return bool(self.pairs) and self.done == self.total

    @property
    def can_undo(self) -> bool:
        return bool(self._steps)

    def vote(self, choice: Choice) -> Vote:
        """The vote on the current pair, to be kept before `taken` moves on."""
        pair = self.current
        assert pair is not None
        return Vote(pair.prompt, pair.left_text, pair.right_text, pair.left_model, pair.right_model, choice, author=PERSON,
                    purpose=self.purpose, facts={"pair": pair.id}, id=pair.key)

    def taken(self, vote: Vote) -> None:
        self.votes[vote.id] = vote
        self._steps.append(vote.id)
        self._times.append(time.monotonic())

    def skip(self) -> None:
        pair = self.current
        if pair is not None:
            self.skipped.append(pair.key)
            self._steps.append(pair.key)

    @property
    def last_vote(self) -> str:
        """The id of the vote that `undo` takes back, to be removed from the disk first; "" where the last step was none."""
        return self._steps[-1] if self._steps and self._steps[-1] in self.votes else ""

    def undo(self) -> None:
        """Go back one step: its pair comes up again."""
        if self._steps:
            key = self._steps.pop()
            self.votes.pop(key, None)
            self.skipped = [s for s in self.skipped if s != key]

    def look_again(self) -> None:
        """What was passed over comes up again."""
        self._steps = [s for s in self._steps if s not in self.skipped]
        self.skipped = []

    def rate(self) -> float:
        """Votes a minute, of the last ten minutes; 0 while that is not known."""
        now = time.monotonic()
        recent = [t for t in self._times if now - t < RECENT_SECONDS]
        if len(recent) < 3 or recent[-1] <= recent[0]:
            return 0.0
        return 60.0 * (len(recent) - 1) / (recent[-1] - recent[0])

    def left_share(self) -> tuple[float, int]:
        """(how often the left side was picked, of how many decided)."""
        decided = [v for v in self.votes.values() if v.choice in ("left", "right")]
        return sum(v.choice == "left" for v in decided) / max(1, len(decided)), len(decided)

    def longer_share(self) -> tuple[float, int]:
        """(how often the longer answer was picked, of how many decided that differ in length)."""
        decided = [v for v in self.votes.values() if v.choice in ("left", "right") and len(v.left_text) != len(v.right_text)]
        return sum((v.choice == "left") == (len(v.left_text) > len(v.right_text)) for v in decided) / max(1, len(decided)), len(decided)

    def tallies(self, first: str) -> dict[str, dict[str, Any]]:
        """The win rate of each other model against the first one, by the model's id."""
        from engine.evaluation.win_rate import of_votes  # loaded by `read`, off the window's thread
        others = dict.fromkeys(m for p in self.pairs for m in (p.left_model, p.right_model) if m != first)
        return {other: of_votes(self.votes.values(), first, other) for other in others}
