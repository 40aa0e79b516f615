"""The workbench of verifiers: problems on one side, a verifier in the middle, what it says of gold answers, of nonsense and of a model's
own completions on the other. No widgets.

    bench.open(project)
    bench.set_sets(("problems-1",)); bench.choose(3)        # problems_changed, rows_arrived, chosen_changed
    bench.edit_source(text)                                 # 0.3 s later: marks_changed; then checks_, completions_, scores_changed
    bench.run_checks()                                      # over all gold answers
    bench.set_model("model-3"); bench.start_trial()         # trial_changed, scores_changed as it goes; scores follow every later edit

Everything is answered by other processes (jobs/verifier_desk.py) or read in threads; long lists come in pages. What stood before stays on
the screen, marked stale, until the new is there. Versions and drafts of verifiers are the page's matter.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, QTimer, Signal

from desktop.jobs.verifier_desk import TrialProcess, VerifierDesk
from desktop.models.paged import Pages, Row
from desktop.models.workbench_state import (
    Checks,
    Completion,
    ListedProblem,
    Mark,
    Note,
    Result,
    Scores,
    TrialState,
)
from engine.contract.errors import FledgeError
from engine.contract.rows import Problem
from engine.project import trials
from engine.project.trials import Trial, TrialSettings

if TYPE_CHECKING:
    from desktop.context import AppContext
    from engine.project.problems import ProblemSet
    from engine.project.project import Project

TYPING_MS = 300
TRIED = 60
"""Problems a trial takes, where the person says nothing else."""
QUICK_SECONDS = 3.0
"""Checks over all problems that took no longer are run again after each edit; others when somebody asks for them."""


@dataclass(frozen=True)
class _Look:
    """What is there of the trial that the present choice asks for."""

    problems: tuple[Problem, ...]
    trial: Trial
    state: TrialState


class Workbench(QObject):
    """`open(project)`, then set and ask; the signals say what to read again.

    problems_changed         `sets`, `count`, `held_out_count`: another list; `rows_arrived(first, last)`: `problem(i)` is there for these
    chosen_changed           `chosen`
    marks_changed            `marks`, `checking`, `good`, `reuse_reason`
    checks_changed           `checks`, `checks_progress`
    trial_changed            `trial`, `trial_settings`
    scores_changed           `scores`, `scores_progress`, `result(id)`
    completions_changed      `completion_count`, `all_completions`; `completions_arrived(first, last)`: `completion(i)` is there for these
    note_changed             `note`
    source_replaced(text)    `apply_note` changed the source: the editor takes it (the model has it already)
    failed(error)            something was asked and could not be done (FledgeError)
    """

    problems_changed, chosen_changed, marks_changed, checks_changed = Signal(), Signal(), Signal(), Signal()
    trial_changed, scores_changed, completions_changed, note_changed = Signal(), Signal(), Signal(), Signal()
    rows_arrived, completions_arrived = Signal(int, int), Signal(int, int)
    source_replaced = Signal(str)
    failed = Signal(object)

    def __init__(self, context: "AppContext", parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._context = context
        self._project: Project | None = None
        self._desk: VerifierDesk | None = None
        self._sampling = TrialProcess(self)
        self._sampling.progressed.connect(self._sampled)
        self._sampling.done.connect(lambda facts: self._sampling_over(None))
        self._sampling.stopped.connect(lambda: self._sampling_over(None))
        self._sampling.failed.connect(self._sampling_over)
        self._typing = QTimer(self)
        self._typing.setSingleShot(True)
        self._typing.setInterval(TYPING_MS)
        self._typing.timeout.connect(self._check)
        self._rows = Pages(self._ask_rows, lambda page: None, self.rows_arrived.emit, self._raise)
        self._answers = Pages(self._ask_completions, lambda page: None, self.completions_arrived.emit, self._raise)
        self._clear()

    def _clear(self) -> None:
        self._tokens: dict[str, int] = {}
        self._version = 0
        self.sets: tuple[ProblemSet, ...] = ()
        self.chosen_sets: tuple[str, ...] = ()
        self.search, self.sort = "", "place"
        self.held_out: bool | None = None
        self.held_out_count = 0
        self.chosen: ListedProblem | None = None
        self.source: str | None = None
        self.composition: dict[str, Any] | str | None = None
        self.marks: tuple[Mark, ...] = ()
        self.checking, self.good = False, False
        self.reuse_reason: tuple[int, str] | None = None
        self.full = 1.0
        self.checks: Checks | None = None
        self.checks_progress: tuple[int, int] | None = None
        self.trial = TrialState()
        self.trial_settings = TrialSettings("")
        self.trial_count = TRIED
        self.scores: Scores | None = None
        self.scores_progress: tuple[int, int] | None = None
        self.all_completions = False
        self.note: Note | None = None
        self._results: dict[str, Result] = {}
        self._look: _Look | None = None
        self._shown: Trial | None = None
        self._looking = self._looked = 0
        self._start_wanted = False  # asked for while the choice of problems was being looked at
        self._rescore = False
        self._checks_took = 0.0

    # coming and going -------------------------------------------------------------------------------------------------

    def open(self, project: "Project") -> None:
        """Begin with a project: its sets of problems are read."""
        self.close()
        self._project = project
        self._desk = VerifierDesk(project.dir, self)
        self.refresh()

    def rest(self) -> None:
        """Nobody looks for now: the process that judges ends, and comes back with the next question. Sampling goes on."""
        if self._desk is not None:
            self._typing.stop()
            self._desk.stop()
            self._tokens.clear()
            self.checking, self.checks_progress, self.scores_progress = False, None, None

    def close(self) -> None:
        """Nobody looks any more: the processes end, also one that samples (what it has stays)."""
        self._typing.stop()
        self._sampling.close()
        if self._desk is not None:
            self._desk.stop()
            self._desk.deleteLater()
            self._desk = None
        self._project = None
        self._rows.reset(0)
        self._answers.reset(0)
        self._clear()

    @property
    def desk(self) -> VerifierDesk:
        """The process that is asked, for who has questions of their own (what a generator makes)."""
        assert self._desk is not None
        return self._desk

    # problems ---------------------------------------------------------------------------------------------------------

    @property
    def count(self) -> int:
        """Problems in the list, with search and filter."""
        return self._rows.total

    def refresh(self) -> None:
        """Problems came, went or were edited: read the list again. The chosen one stays chosen where it is still there. What a `rest` broke
        off is begun again."""
        self._list(keep=True)
        if self._judged is not None and not self.good and not self.marks and not self.checking:
            self._edited(0)

    def set_sets(self, ids: Sequence[str]) -> None:
        """Which sets are worked on; no problem is chosen then."""
        if tuple(ids) != self.chosen_sets:
            self.chosen_sets = tuple(ids)
            if self.checks is not None:
                self.checks = replace(self.checks, stale=True)
                self.checks_changed.emit()
            self.choose_problem(None)
            self._list(keep=False)

    def set_search(self, text: str) -> None:
        if text != self.search:
            self.search = text
            self._list(keep=True)

    def set_sort(self, sort: str) -> None:
        """As Problems.page has it: place, difficulty, answer, or one of them with "-" before it."""
        if sort != self.sort:
            self.sort = sort
            self._list(keep=True)

    def set_held_out(self, held_out: bool | None) -> None:
        """Only those held out, only the others, or None for all."""
        if held_out is not self.held_out:
            self.held_out = held_out
            self._list(keep=True)

    def problem(self, index: int) -> ListedProblem | None:
        """None while it is on its way."""
        row = self._rows.row(index)
        return None if row is None else row["listed"]

    def want(self, first: int, last: int) -> None:
        """These rows are on the screen."""
        self._rows.want(first, last)

    def choose(self, index: int) -> None:
        """A row of the list; nothing where it is not there yet."""
        listed = self.problem(index)
        if listed is not None:
            self.choose_problem(listed)

    def choose_problem(self, listed: ListedProblem | None) -> None:
        self.chosen = listed
        self.chosen_changed.emit()
        if not self.all_completions:
            self._show_completions()
        if self.good and (self.checks is None or not self.checks.whole or self.checks.stale):
            self._check_gold(whole=False)

    def result(self, problem_id: str) -> Result | None:
        """What the completions of a problem are worth; None where it was not tried."""
        return self._results.get(problem_id)

    # the verifier -----------------------------------------------------------------------------------------------------

    def edit_source(self, text: str, full: float = 1.0) -> None:
        """What stands in the editor now, at every key: it is looked at when typing rests. full: what a right answer gets."""
        if text != self.source or full != self.full or self.composition is not None:
            self.source, self.composition, self.full = text, None, full
            self._edited(TYPING_MS)

    def edit_parts(self, composition: dict[str, Any] | str, full: float = 1.0) -> None:
        """A composition as JSON has it, or the reference of a version ("verifier-3@2")."""
        if composition != self.composition or full != self.full:
            self.source, self.composition, self.full = None, composition, full
            self._edited(TYPING_MS)

    def no_verifier(self) -> None:
        """Nothing is edited, or it must not run yet (nobody has said that it is trusted)."""
        self.source = self.composition = None
        self._edited(0)

    @property
    def _judged(self) -> dict[str, Any] | None:
        """What judges, as the desk wants it; None where nothing does."""
        if self.source is not None:
            return {"source": self.source, "full": self.full}
        return None if self.composition is None else {"composition": self.composition, "full": self.full}

    def run_checks(self) -> None:
        """Over the gold answers of all problems in the chosen sets."""
        self._check_gold(whole=True)

    def stop_checks(self) -> None:
        self._cancel("checks")
        self.checks_progress = None
        self.checks_changed.emit()

    # the trial --------------------------------------------------------------------------------------------------------

    def set_model(self, model: str) -> None:
        """Whose completions are looked at: an artifact's id, or run@step; "" for none."""
        self.set_trial(model=model)

    def set_trial(self, *, count: int | None = None, **settings: Any) -> None:
        """Settings of the trial (engine/project/trials.TrialSettings), and how many problems it takes, held-out ones first."""
        changed = replace(self.trial_settings, **settings)
        if changed != self.trial_settings or (count is not None and count != self.trial_count):
            self.trial_settings, self.trial_count = changed, count or self.trial_count
            self._look_at_trial()

    def start_trial(self) -> None:
        """Sample what the present choice asks for, or go on where it was stopped."""
        if self._looked != self._looking:
            self._start_wanted = True
            return
        project, look = self._project, self._look
        if project is None or look is None or self._sampling.running or not look.problems or not self.trial_settings.model:
            return
        settings, device = self.trial_settings, self._context.device

        def ready(trial: Trial) -> None:
            if self._sampling.running or self._project is not project:
                return
            self._turn_to(trial)
            self._show_trial(replace(look.state, phase="running", stale=False))
            self._sampling.start(project.dir, trial.key, device)
            self._score()
            self._show_completions()
        self._context.jobs.run(lambda: trials.prepare(project.dir, settings, look.problems), then=ready, failed=self._raise, owner=self)

    def stop_trial(self) -> None:
        """What was sampled stays, and can be gone on with."""
        self._start_wanted = False
        self._sampling.stop()

    # completions ------------------------------------------------------------------------------------------------------

    @property
    def completion_count(self) -> int:
        """Of the chosen problem, or of all (`all_completions`)."""
        return self._answers.total

    def show_all(self, on: bool) -> None:
        """All completions of the trial, best first, instead of the chosen problem's."""
        if on != self.all_completions:
            self.all_completions = on
            self._show_completions()

    def completion(self, index: int) -> Completion | None:
        row = self._answers.row(index)
        return None if row is None else row["completion"]

    def want_completions(self, first: int, last: int) -> None:
        self._answers.want(first, last)

    # the note ---------------------------------------------------------------------------------------------------------

    def apply_note(self) -> None:
        """Take the note's mended source."""
        if self.note is not None and self.note.source and self.source is not None:
            text, self.note = self.note.source, None
            self.note_changed.emit()
            self.edit_source(text, self.full)
            self.source_replaced.emit(text)

    # the list ---------------------------------------------------------------------------------------------------------

    def _list(self, keep: bool) -> None:
        project = self._project
        if project is None:
            return
        self._version += 1
        version, ids, search, held_out = self._version, self.chosen_sets, self.search, self.held_out
        chosen = self.chosen.problem.id if keep and self.chosen is not None else ""
        problems = project.library.problems

        def work() -> tuple[tuple["ProblemSet", ...], tuple[str, ...], int, int, Problem | None]:
            sets = tuple(problems.sets())
            some = tuple(one.id for one in sets if one.id in ids)
            if not some:
                return sets, some, 0, 0, None
            found = problems.get(chosen) if chosen and _there(problems, chosen) else None
            return sets, some, problems.count(some, search=search, held_out=held_out), problems.count(some, held_out=True), found

        def came(made: tuple[tuple["ProblemSet", ...], tuple[str, ...], int, int, Problem | None]) -> None:
            if version != self._version:
                return
            self.sets, self.chosen_sets, total, self.held_out_count, still = made
            self._rows.reset(total)
            before = self.chosen
            if before is not None and before.problem.id == chosen:
                self.chosen = None if still is None else replace(before, problem=still)
            self.problems_changed.emit()
            if self.chosen != before:
                self.chosen_changed.emit()
            self._look_at_trial()
        self._context.jobs.run(work, then=came, failed=self._raise, owner=self)

    def _ask_rows(self, start: int, count: int, then: Callable[[Sequence[Row]], None], failed: Callable[[Exception], None]) -> None:
        assert self._project is not None
        problems = self._project.library.problems
        ids, search, held_out, sort = self.chosen_sets, self.search, self.held_out, self.sort

        def work() -> list[Row]:
            rows = problems.page(ids, start, count, search=search, held_out=held_out, sort=sort)
            places = problems.places(ids, start, count, search=search, held_out=held_out, sort=sort)
            seen = problems.seen([one.id for one in rows])
            sets = {id: name for name, id in places}
            return [{"listed": ListedProblem(one, sets.get(one.id, ""), tuple((s.source, s.quote) for s in seen.get(one.id, ())))}
                    for one in rows]
        self._context.jobs.run(work, then=then, failed=failed, owner=self)

    # following the verifier -------------------------------------------------------------------------------------------

    def _ask(self, key: str, do: str, given: dict[str, Any], then: Callable[[dict[str, Any]], object],
             part: Callable[[dict[str, Any]], object] | None = None, failed: Callable[[FledgeError], object] | None = None) -> None:
        """Of questions with one key only the newest is answered."""
        self._cancel(key)
        assert self._desk is not None
        self._tokens[key] = self._desk.ask(do, given, then, failed or self._raise, part)

    def _cancel(self, key: str) -> None:
        if self._desk is not None:
            self._desk.cancel(self._tokens.pop(key, 0))

    def _edited(self, wait: int) -> None:
        """What is shown is of another verifier now; the new is asked for when typing rests."""
        for key in ("check", "checks", "score", "suggest"):
            self._cancel(key)
        self.checks_progress = self.scores_progress = None
        self.good = False
        if self.checks is not None:
            self.checks = replace(self.checks, stale=True)
        if self.scores is not None:
            self.scores = replace(self.scores, stale=True)
        if self.note is not None:
            self.note = None
            self.note_changed.emit()
        self.checks_changed.emit()
        self.scores_changed.emit()
        if self._judged is None:
            self._typing.stop()
            self.marks, self.checking, self.reuse_reason = (), False, None
            self.checks = None
            self.scores, self._results = None, {}
            self.checks_changed.emit()
            self.scores_changed.emit()
            self._show_completions()
        else:
            self.checking = True
            self._typing.start(wait)
        self.marks_changed.emit()

    def _check(self) -> None:
        judged = self._judged
        if judged is None or self._desk is None:
            return
        self._ask("check", "check", judged, self._checked, failed=self._not_checked)

    def _checked(self, said: dict[str, Any]) -> None:
        self.checking = False
        self.marks = tuple(Mark(one["sentence"], one["line"], one["column"]) for one in said["problems"])
        self.good = not self.marks
        reason = said.get("reason")
        self.reuse_reason = (int(reason[0]), str(reason[1])) if reason else None
        self.marks_changed.emit()
        if self.good:
            self._show_completions()
            whole = self.checks is not None and self.checks.whole
            self._check_gold(whole and self._checks_took <= QUICK_SECONDS)
            self._score()

    def _not_checked(self, wrong: FledgeError) -> None:
        self.checking = self.good = False
        self.marks = (Mark(f"{wrong.sentence} {wrong.remedy}".strip()),)
        self.marks_changed.emit()

    def _check_gold(self, whole: bool) -> None:
        judged = self._judged
        if judged is None or self._desk is None or not self.good:
            return
        if not whole and self.chosen is None:
            return
        about: dict[str, Any] = {"sets": list(self.chosen_sets)} if whole else {
            "problems": [self.chosen.problem.model_dump(mode="json")] if self.chosen else []}
        if whole and not self.chosen_sets:
            return

        began = time.monotonic()

        def part(facts: dict[str, Any]) -> None:
            self.checks_progress = (int(facts["done"]), int(facts["of"]))
            self.checks_changed.emit()

        def came(said: dict[str, Any]) -> None:
            self.checks_progress = None
            self._checks_took = time.monotonic() - began
            self.checks = Checks.of(said, whole)
            self.checks_changed.emit()
            self._suggest(said)

        def wrong(error: FledgeError) -> None:
            self.checks_progress = None
            self.checks_changed.emit()
            self._raise(error)
        self.checks_progress = (0, 0) if whole else None
        self.checks_changed.emit()
        self._ask("checks", "checks", {**judged, **about}, came, part, wrong)

    def _suggest(self, report: dict[str, Any]) -> None:
        judged = self._judged
        if judged is None or self.source is None:
            return

        def came(said: dict[str, Any]) -> None:
            notes = said["notes"]
            self.note = Note(notes[0]["sentence"], notes[0]["line"], notes[0]["source"], notes[0]["check"]) if notes else None
            self.note_changed.emit()
        rows = [{name: row[name] for name in ("id", "level", "line", "error", "message", "got")} | {"misses": row["misses"][:3]}
                for row in report["rows"]]
        self._ask("suggest", "suggest", {**judged, "rows": rows, "sets": list(self.chosen_sets),
                                         "problems": [self.chosen.problem.model_dump(mode="json")] if self.chosen else []}, came)

    # scores -----------------------------------------------------------------------------------------------------------

    def _score(self) -> None:
        """Of all completions there are; while some are being scored, once more afterwards."""
        judged, path = self._judged, self._shown.path if self._shown is not None else None
        if judged is None or self._desk is None or not self.good or path is None:
            return
        if "score" in self._tokens:
            self._rescore = True
            return
        self._rescore = False

        def part(facts: dict[str, Any]) -> None:
            self.scores_progress = (int(facts["done"]), int(facts["of"]))
            self.scores_changed.emit()

        def over() -> None:
            self.scores_progress = None
            self._tokens.pop("score", None)

        def came(said: dict[str, Any]) -> None:
            over()
            self.scores = Scores.of(said)
            self._results = {id: Result(right, tried, mean) for id, right, tried, mean in said["problems"]}
            self.scores_changed.emit()
            if self.all_completions:
                self._show_completions()
            if self._rescore:
                self._score()

        def wrong(error: FledgeError) -> None:
            over()
            self.scores_changed.emit()
            self._raise(error)
        assert self._shown is not None
        self._ask("score", "score", {**judged, "trial": self._shown.key}, came, part, wrong)

    def _show_completions(self) -> None:
        """The first page says how many there are."""
        self._cancel("completions")
        about = self._completions_about()
        if about is None:
            self._answers.reset(0)
            self.completions_changed.emit()
            return

        def came(said: dict[str, Any]) -> None:
            self._answers.reset(int(said["total"]), _completions(said))
            self.completions_changed.emit()
        self._ask("completions", "completions", {**about, "start": 0, "count": 100}, came)

    def _completions_about(self) -> dict[str, Any] | None:
        if self._desk is None or self._shown is None or self._shown.path is None or (self.chosen is None and not self.all_completions):
            return None
        judged = self._judged if self.good else None
        problem = "" if self.all_completions or self.chosen is None else self.chosen.problem.id
        return {**(judged or {}), "trial": self._shown.key, "problem": problem}

    def _ask_completions(self, start: int, count: int, then: Callable[[Sequence[Row]], None], failed: Callable[[Exception], None]) -> None:
        about = self._completions_about()
        if about is not None:
            assert self._desk is not None
            self._desk.ask("completions", {**about, "start": start, "count": count}, lambda said: then(_completions(said)), failed)

    # sampling ---------------------------------------------------------------------------------------------------------

    def _look_at_trial(self) -> None:
        """What the present choice of model, problems and settings asks for, and what is there of it."""
        project = self._project
        if project is None:
            return
        self._looking += 1
        number, ids, count, settings = self._looking, self.chosen_sets, self.trial_count, self.trial_settings
        problems = project.library.problems

        def work() -> _Look:
            held = problems.page(ids, 0, count, held_out=True) if ids else []
            rest = problems.page(ids, 0, count - len(held), held_out=False) if ids and len(held) < count else []
            some = tuple({one.id: one for one in (*held, *rest)}.values())
            trial = Trial(project.dir, trials.key_of(settings, some))
            groups = trials.count(trial)
            phase: Any = "whole" if trial.whole.is_file() else "some" if groups else "none"
            return _Look(some, trial, TrialState(phase, settings.model, groups, len(some), settings.k, len(held)))

        def came(look: _Look) -> None:
            if number != self._looking:
                return
            self._look, self._looked = look, number
            if self._sampling.running:
                assert self._shown is not None
                self._show_trial(replace(self.trial, stale=look.trial.key != self._shown.key))
            elif look.state.phase != "none":
                changed = look.trial != self._shown
                self._turn_to(look.trial)
                self._show_trial(look.state)
                if changed:
                    self._score()
                    self._show_completions()
            elif self._shown is not None and self._shown != look.trial:
                self._show_trial(replace(self.trial, phase="none", of=look.state.of, held_out=look.state.held_out, stale=True))
            else:
                self._show_trial(look.state)
            if self._start_wanted:
                self._start_wanted = False
                self.start_trial()
        self._context.jobs.run(work, then=came, failed=self._raise, owner=self)

    def _turn_to(self, trial: Trial) -> None:
        """The answers of a trial are looked at from now on: what those of another one scored says nothing about them."""
        other, self._shown = self._shown is not None and self._shown.key != trial.key, trial
        if other:
            self._cancel("score")
            self.scores, self._results, self.scores_progress = None, {}, None
            self.scores_changed.emit()

    def _show_trial(self, state: TrialState) -> None:
        if state != self.trial:
            self.trial = state
            self.trial_changed.emit()

    def _sampled(self, facts: dict[str, Any]) -> None:
        groups, seconds = int(facts["groups"]), float(facts["seconds"])
        new, share = groups > self.trial.groups, float(facts["share"])
        left = seconds / share * (1 - share) if share > 0.05 and seconds > 1 else None
        self._show_trial(replace(self.trial, groups=groups, of=int(facts["of"]), seconds=seconds, left=left, rate=float(facts["rate"])))
        if new:
            self._score()
            if not self.completion_count:   # of the chosen problem they come together; a list of all follows its scores
                self._show_completions()

    def _sampling_over(self, wrong: FledgeError | None) -> None:
        stopped = replace(self.trial, phase="some" if self.trial.groups else "none", left=None)
        self._show_trial(stopped)
        if wrong is not None:
            self._raise(wrong)
        self._look_at_trial()
        self._score()
        self._show_completions()

    def _raise(self, error: Exception) -> None:
        if not isinstance(error, FledgeError):
            raise error
        self.failed.emit(error)


def _there(problems: Any, id: str) -> bool:
    try:
        problems.get(id)
    except FledgeError:
        return False
    return True


def _completions(said: dict[str, Any]) -> list[Row]:
    return [{"completion": Completion(**row)} for row in said["rows"]]
