"""A verifier tried without a window, as `fledge verifiers DIR test` does: its checks over the gold answers of sets and, with a model,
what it says of the model's own completions.

    tried = try_verifier(project, "verifier-3@4", ("problems-1",), model=TrialSettings("model-2", k=8))
    print("\\n".join(lines(tried)))

Completions are sampled once and kept in the project (engine/project/trials.py): another try of the same model and problems only scores.
"""

import json
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from engine.contract.errors import FledgeError, InputError
from engine.contract.rows import Problem
from engine.contract.units import duration, percent
from engine.contract.words import tr, trn
from engine.project import launch, trials
from engine.project.project import Project
from engine.project.trials import Trial, TrialSettings
from engine.verifiers.registry import Resources, compose, needs, reads_answer
from engine.verifiers.scoring import Scores, scores_of
from engine.verifiers.workbench import Report, attempt_of, form_title, run_checks, titles

CHECKED, TRIED = 20_000, 60
"""Problems whose gold answers are checked at most, and those a model is tried on where nothing else is said."""
SCORED_AT_ONCE = 64
Tell = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Tried:
    """`scores` None without a model. `passed`: no check fails (warnings aside) and, with a model, there is something to learn from."""

    ref: str
    title: str
    report: Report
    scores: Scores | None
    trial: str = ""

    @property
    def passed(self) -> bool:
        return all(row.level != "failure" for row in self.report.rows) and self.report.stable and (
            self.scores is None or self.scores.signal.level in ("ok", "warning"))

    def to_json(self) -> dict[str, Any]:
        return {"ref": self.ref, "title": self.title, "passed": self.passed, "checks": self.report.to_json(), "trial": self.trial,
                "scores": None if self.scores is None else self.scores.to_json()}


def _quiet(said: dict[str, Any]) -> None:
    pass


def try_verifier(project: Project, verifier: str, sets: Sequence[str], *, model: TrialSettings | None = None, count: int = TRIED,
                 full: float = 1.0, device: str = "auto", tell: Tell = _quiet) -> Tried:
    """verifier: a version, or a composition as JSON. tell: of checks {"done", "of"} and of sampling (trial.py). Raises NotFound,
    SettingError (nobody trusts it), InputError (no problems), FormatError, Missing, and what sampling raises."""
    taken = project.library.verifiers.taken(verifier)
    problems = list(islice(project.library.problems.rows(list(sets)), CHECKED))
    if not problems:
        raise InputError(tr("There are no problems."), tr("Choose sets of problems."), code="no_problems", field="problem_sets")
    with Resources(project.dir) as resources:
        made = compose(taken.composition, resources)
        report = run_checks(made, problems, full=full, reads_answer=reads_answer(taken.composition),
                            few="local_llm" in needs(taken.composition), told=lambda done, of: tell({"done": done, "of": of}))
        if model is None:
            return Tried(taken.ref, taken.title, report, None)
        trial = trials.prepare(project.dir, model, first(problems, count))
        if not trial.whole.is_file():
            _sample(trial, device, tell)
        groups = [group for _, group in trials.read(trial.whole) if group.completions]
        attempts = [attempt_of(group.problem, one.text) for group in groups for one in group.completions]
        verdicts = iter([verdict for at in range(0, len(attempts), SCORED_AT_ONCE)
                         for verdict in made.score(attempts[at:at + SCORED_AT_ONCE])])
        scores = scores_of([(group.problem.id, [next(verdicts) for _ in group.completions]) for group in groups], full)
    return Tried(taken.ref, taken.title, report, scores, trial.key)


def _sample(trial: Trial, device: str, tell: Tell) -> None:
    """In a process of its own, which has the threads' settings from its start and ends with this one. Raises what it says."""
    command = [launch.interpreter(), "-m", "engine.stages.grpo.trial", str(trial.project_dir), "--key", trial.key, "--device", device,
               "--with-input"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=launch.environment(),
                          cwd=launch.source_root()) as process:
        assert process.stdout
        wrong: dict[str, str] | None = {"sentence": tr("Sampling ended without a word, most likely for want of memory."),
                                        "remedy": tr("Choose a smaller model, or fewer answers."), "code": "died"}
        try:
            for line in process.stdout:
                said = json.loads(line) if line.startswith("{") else {}
                if "groups" in said:
                    tell(said)
                elif "done" in said or "error" in said:
                    wrong = said.get("error")
        except BaseException:
            process.kill()
            raise
    if wrong is not None:
        raise FledgeError(wrong["sentence"], wrong["remedy"], code=wrong["code"], field=wrong.get("field", ""))


def first(problems: Sequence[Problem], count: int) -> list[Problem]:
    """Those a trial takes: held-out ones before the others, each once."""
    ordered = sorted(problems, key=lambda problem: not problem.held_out)
    return list({problem.id: problem for problem in ordered}.values())[:count]


def lines(tried: Tried) -> list[str]:
    """For a terminal: a line a check, then scores."""
    report, names = tried.report, titles()
    said = [f"{tried.title or tr('Verifier')} {tried.ref}".strip(),
            trn("{count} gold answer; {ms} ms a call", "{count} gold answers; {ms} ms a call", report.problems, ms=f"{report.ms:.2f}")]
    marks = {"ok": "✓", "warning": "!", "failure": "✗", "skipped": "–"}
    for row in report.rows:
        got = "–" if row.got is None else f"{row.got:.3g}"
        wanted = "–" if row.wanted is None else f"{row.wanted:.3g}"
        form = f" ({form_title(row.form)})" if row.form and row.id == "gold" else ""
        at = tr("line {line}: {message}", line=row.line, message=row.message) if row.line else row.message
        rest = " ".join(part for part in (row.sentence, at) if part)
        numbers = tr("wanted {wanted}, got {got}", wanted=wanted, got=got)
        said.append(f"  {marks[row.level]} {names[row.id]:16} {numbers}{form}  {rest}".rstrip())
        said += [f"      {miss.asked[:80]!r}: {'–' if miss.got is None else f'{miss.got:.3g}'}" for miss in row.misses[:3]
                 if row.level == "failure"]
    said.append(report.sentence)
    if tried.scores is not None:
        found = tried.scores
        said += ["", trn("{count} completion, {problems} problems", "{count} completions, {problems} problems", found.tried,
                         problems=found.signal.groups)]
        said += [f"  {bar.label:>10} {bar.count:6,} {'█' * round(40 * bar.count / max(1, found.tried))}" for bar in found.bars]
        if found.pass_at_1 is not None:
            said.append(f"  pass@1 {percent(found.pass_at_1)}" + (
                f"   pass@{found.k} {percent(found.pass_at_k)}" if found.pass_at_k is not None else ""))
        said += [f"  {kind}: {count}" for kind, count in found.errors.items()]
        said.append(f"{found.signal.sentence} {found.signal.remedy}".strip())
    return said


def progress_line(said: dict[str, Any]) -> str:
    """What is told on the way, in a line."""
    if "groups" in said:
        return tr("Sampling: {groups} of {of} problems, {seconds}", groups=said["groups"], of=said["of"], seconds=duration(said["seconds"]))
    return tr("Checking: {done} of {of}", done=said["done"], of=said["of"])
