"""What a policy wrote in one round, in the order one wants to see it. No Qt; read in a thread."""

from dataclasses import dataclass
from pathlib import Path

from engine.contract.rows import Rollout
from engine.project import rollouts

ORDERS = ("best", "worst", "all")


@dataclass(frozen=True)
class Round:
    """`steps`: of which there are rollouts; `step` the one that was read, -1 for none; `rows` of it."""

    steps: tuple[int, ...] = ()
    step: int = -1
    rows: tuple[Rollout, ...] = ()

    @property
    def mean(self) -> float | None:
        return sum(r.reward for r in self.rows) / len(self.rows) if self.rows else None

    def ordered(self, order: str) -> list[Rollout]:
        if order == "all":
            return list(self.rows)
        return sorted(self.rows, key=lambda r: r.reward, reverse=order == "best")


def read(run_dir: Path, step: int | None = None, known: Round | None = None) -> Round:
    """The rollouts of a step; of the newest for None. `known` is given back where there is nothing new."""
    steps = tuple(rollouts.steps(run_dir))
    if not steps:
        return Round()
    wanted = step if step in steps else steps[-1]
    if known is not None and known.steps == steps and known.step == wanted:
        return known
    return Round(steps, wanted, tuple(rollouts.rows(run_dir, wanted)))
