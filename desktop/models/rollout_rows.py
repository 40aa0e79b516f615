"""What a policy wrote in one round, in the order one wants to see it; its groups of answers to one problem; one problem over the whole run.
No Qt; read in a thread."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from engine.contract.rows import Rollout
from engine.contract.words import tr
from engine.project import rollouts

ORDERS = ("best", "worst", "all")
ANY = "any"


@dataclass(frozen=True)
class Round:
    """`steps`: of which there are rollouts; `step` the one that was read, -1 for none; `rows` of it."""

    steps: tuple[int, ...] = ()
    step: int = -1
    rows: tuple[Rollout, ...] = ()

    @property
    def mean(self) -> float | None:
        """Of the answers that have a reward."""
        known = [r.reward for r in self.rows if has_reward(r)]
        return sum(known) / len(known) if known else None

    def ordered(self, order: str) -> list[Rollout]:
        if order == "all":
            return list(self.rows)
        sign = -1.0 if order == "best" else 1.0
        made, seen, ranks = sorted(self.rows, key=lambda r: sign * r.reward), dict[tuple[float, int], int](), []
        for row in made:  # of those with the same reward one of each group first, so that not one problem takes the whole page
            place = row.reward, int(row.facts.get("group", 0))
            ranks.append(seen.get(place, 0) if "group" in row.facts else 0)
            seen[place] = ranks[-1] + 1
        return [row for rank, row in sorted(zip(ranks, made, strict=True), key=lambda one: (sign * one[1].reward, one[0]))]


def read(run_dir: Path, step: int | None = None, known: Round | None = None) -> Round:
    """The rollouts of a step; of the newest for None. `known` is given back where there is nothing new."""
    steps = tuple(rollouts.steps(run_dir))
    if not steps:
        return Round()
    wanted = step if step in steps else steps[-1]
    if known is not None and known.step == wanted:
        return known if known.steps == steps else replace(known, steps=steps)
    return Round(steps, wanted, tuple(rollouts.rows(run_dir, wanted)))


def has_reward(row: Rollout) -> bool:
    """Whether the verifier could say how right it was."""
    return row.facts.get("left_out") != "error"


# groups --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Wanted:
    """Which answers are shown: rewards from `low` to `high` (None: any), with `text` in question or answer, `cut` ones only, those with an
    `error` (ANY, or a kind of it; "": all)."""

    low: float | None = None
    high: float | None = None
    text: str = ""
    cut: bool = False
    error: str = ""

    @property
    def everything(self) -> bool:
        return self == Wanted()

    def takes(self, row: Rollout) -> bool:
        if (self.low is not None or self.high is not None) and not has_reward(row):
            return False
        if self.low is not None and row.reward < self.low - 1e-9 or self.high is not None and row.reward > self.high + 1e-9:
            return False
        if self.cut and row.facts.get("finish") != "length":
            return False
        error = str(row.facts.get("error") or "")
        if self.error and not (error if self.error == ANY else error == self.error):
            return False
        wanted = self.text.casefold()
        return not wanted or wanted in row.completion.casefold() or any(wanted in m.content.casefold() for m in row.prompt)


@dataclass(frozen=True)
class Group:
    """Answers to one problem in one round: `rows` that are wanted, of `count`; `mean` and `spread` of the rewards of all. `silent`: all
    rewards are the same, so that nothing is learned from it."""

    id: int
    step: int
    problem: str
    prompt: str
    answer: str
    rows: tuple[Rollout, ...]
    count: int
    mean: float
    spread: float
    errors: int = 0

    @property
    def silent(self) -> bool:
        return self.spread < 1e-9


def groups(rows: Iterable[Rollout]) -> list[Group]:
    """In the order they were asked."""
    found: dict[int, list[Rollout]] = {}
    for row in rows:
        found.setdefault(int(row.facts.get("group", 0)), []).append(row)
    return [_group(id, some) for id, some in found.items()]


def _group(id: int, some: Sequence[Rollout]) -> Group:
    rewards = [row.reward for row in some if has_reward(row)]
    mean = sum(rewards) / len(rewards) if rewards else 0.0
    spread = (sum((r - mean) ** 2 for r in rewards) / len(rewards)) ** 0.5 if rewards else 0.0
    first = some[0]
    return Group(id, first.step, str(first.facts.get("problem") or ""), first.prompt[-1].content if first.prompt else "",
                 str(first.facts.get("answer", "")), tuple(some), len(some), mean, spread,
                 sum(bool(row.facts.get("error")) for row in some))


def filtered(group: Group, wanted: Wanted) -> Group | None:
    """With its wanted answers alone; None where it has none."""
    rows = tuple(row for row in group.rows if wanted.takes(row))
    return replace(group, rows=rows) if rows else None


def errors_in(rows: Iterable[Rollout]) -> list[str]:
    """Kinds of errors, the most frequent first."""
    counts: dict[str, int] = {}
    for row in rows:
        if kind := str(row.facts.get("error") or ""):
            counts[kind] = counts.get(kind, 0) + 1
    return sorted(counts, key=lambda kind: -counts[kind])


def of_problem(run_dir: Path, problem: str, stop: Callable[[], bool] = lambda: False) -> list[Group]:
    """Every group of one problem over the whole run, oldest first. Lines that do not name it are not parsed."""
    made: list[Group] = []
    for step in rollouts.steps(run_dir):
        if stop():
            return made
        made += groups(rollouts.rows(run_dir, step, naming=f'"problem":"{problem}"'))
    return made


def error_words(kind: str) -> str:
    """A kind of error in a word or two."""
    return {"program_timeout": tr("its program: out of time"), "program_memory": tr("its program: out of memory"),
            "program_crash": tr("its program: crashed"), "program_raised": tr("its program: an exception"), "timeout": tr("out of time"),
            "raised": tr("verifier failed"), "memory": tr("verifier: out of memory"), "crash": tr("verifier crashed"),
            "not_a_number": tr("no number"), "out_of_range": tr("out of range"), "worker_death": tr("sandbox died")}.get(kind, kind)


def left_out_words(why: str) -> tuple[str, str]:
    """Why nothing is learned from an answer: (a word, a sentence); "" for one that is learned from."""
    return {"no_signal": (tr("no signal"), tr("All answers to this problem got the same reward: nothing is learned from them.")),
            "surplus": (tr("not needed"), tr("There were enough other groups with a signal.")),
            "error": (tr("no reward"), tr("The verifier could not judge it: it leaves its group.")),
            "cut": (tr("left out"), tr("It was cut at the longest length, and those are left out."))}.get(why, ("", ""))
