"""What the workbench of verifiers shows, as plain values: marks of a source, checks, a trial, scores, completions, a note. No Qt."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from engine.contract.rows import Problem
from engine.verifiers.workbench import Miss, form_title, helps, titles

TrialPhase = Literal["none", "some", "running", "whole"]


@dataclass(frozen=True)
class Mark:
    """What is wrong with a source (or a composition), and where; line and column from 1, None where there is no place."""

    sentence: str
    line: int | None = None
    column: int | None = None


@dataclass(frozen=True)
class CheckRow:
    """A line of the list of checks. `level`: "ok", "warning", "failure", "skipped"; `sentence` says what is wrong, or why it was left out.
    wanted, got: None where nothing is wanted, or the verifier could not say. form: how gold answers were handed in, in words."""

    id: str
    title: str
    help: str
    wanted: float | None
    got: float | None
    level: str
    tried: int = 0
    missed: int = 0
    sentence: str = ""
    line: int | None = None
    message: str = ""
    form: str = ""
    misses: tuple[Miss, ...] = ()


@dataclass(frozen=True)
class Checks:
    """rows: always all seven. problems: whose gold answers were tried; `whole`: those of all chosen sets, not of the chosen problem alone.
    failing: rows that are neither ok nor skipped, and one for a verifier that says different things at different times (`unstable` says
    how). unusable: (problem id, what is asked, why) of gold answers that cannot be compared with."""

    rows: tuple[CheckRow, ...]
    failing: int
    sentence: str
    ms: float
    problems: int
    whole: bool
    stable: bool = True
    unstable: str = ""
    unusable: tuple[tuple[str, str, str], ...] = ()
    stale: bool = False
    """The verifier was changed since."""

    @classmethod
    def of(cls, said: Mapping[str, Any], whole: bool) -> "Checks":
        title, help = titles(), helps()
        rows = tuple(CheckRow(row["id"], title[row["id"]], help[row["id"]], row["wanted"], row["got"], row["level"], row["tried"],
                              row["missed"], row["sentence"], row["line"], row["message"], form_title(row["form"]) if row["form"] else "",
                              tuple(Miss(**miss) for miss in row["misses"])) for row in said["rows"])
        return cls(rows, said["failing"], said["sentence"], said["ms"], said["problems"], whole, said["stable"], said["unstable"],
                   tuple((one[0], one[1], one[2]) for one in said["unusable"]))


@dataclass(frozen=True)
class TrialState:
    """What was sampled. phase: "none", "some" (stopped on the way; can be gone on with), "running", "whole". groups of `of` problems are
    there, `k` completions each. held_out: how many of the problems are. seconds so far, left: as far as can be told, else None; rate:
    tokens a second. stale: what is shown was sampled from another model, other problems or other settings than are chosen now."""

    phase: TrialPhase = "none"
    model: str = ""
    groups: int = 0
    of: int = 0
    k: int = 8
    held_out: int = 0
    seconds: float = 0.0
    left: float | None = None
    rate: float = 0.0
    stale: bool = False

    @property
    def running(self) -> bool:
        return self.phase == "running"


@dataclass(frozen=True)
class Bar:
    """Of the histogram. `low == high`: one score, `label` says it."""

    low: float
    high: float
    count: int
    label: str


@dataclass(frozen=True)
class Scores:
    """What the verifier says of the completions of a trial. groups: problems with completions; mixed: those GRPO learns from. level of
    `sentence`: "ok", "warning", "failure", "skipped"; `remedy` what to do. pass_at_1, pass_at_k: shares, None where there is nothing to go
    by. ms: a call. errors by kind. stale: of a verifier or trial before the present one; the new ones are on their way."""

    tried: int
    right: int
    mean: float | None
    k: int
    pass_at_1: float | None
    pass_at_k: float | None
    bars: tuple[Bar, ...]
    groups: int
    mixed: int
    all_right: int
    all_wrong: int
    level: str
    sentence: str
    remedy: str
    ms: float
    errors: Mapping[str, int] = field(default_factory=dict)
    stale: bool = False

    @property
    def mixed_share(self) -> float | None:
        return self.mixed / self.groups if self.groups else None

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> "Scores":
        found = said["signal"]
        return cls(said["tried"], said["right"], said["mean"], said["k"], said["pass_at_1"], said["pass_at_k"],
                   tuple(Bar(**bar) for bar in said["bars"]), found["groups"], found["mixed"], found["all_right"], found["all_wrong"],
                   found["level"], found["sentence"], found["remedy"], said["ms"], dict(said["errors"]))


@dataclass(frozen=True)
class Result:
    """Of one problem in the list: how many of its completions are right, and their mean score."""

    right: int
    tried: int
    mean: float | None


@dataclass(frozen=True)
class Completion:
    """score None: the verifier could not say (`error`, `line`, `message`). level: "ok" for a full score, "warning" for part of it, "wrong",
    "failure" for none, "unknown" where nothing has judged it yet. printed: what the verifier printed. finish "stop" or "length". asked: the
    problem's last turn."""

    problem: str
    place: int
    asked: str
    answer: str
    text: str
    score: float | None
    level: str
    parts: Mapping[str, float]
    error: str
    line: int | None
    message: str
    printed: str
    finish: str
    tokens: int
    ms: float


@dataclass(frozen=True)
class Note:
    """What to look at, about which line; `source`: the whole source with it mended, "" where that has to be done by hand. `check`: the
    probe it comes from."""

    sentence: str
    line: int | None = None
    source: str = ""
    check: str = ""


@dataclass(frozen=True)
class ListedProblem:
    """A row of the list of problems. seen: where else it was found ((source, quote), ...)."""

    problem: Problem
    set: str
    seen: tuple[tuple[str, str], ...] = ()

    @property
    def asked(self) -> str:
        """The last turn of a person."""
        return next((message.content for message in reversed(self.problem.prompt) if message.role == "user"), "")
