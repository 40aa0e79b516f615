"""What a verifier says of a model's own completions, without a window: `fledge verifiers DIR check ID --set SET --model MODEL`.

Completions are sampled in a process of its own, once, and kept in the project (engine/project/trials.py): another try of the same model
and problems only scores.
"""

import json
import subprocess
from collections.abc import Callable, Sequence
from typing import Any

from engine.contract.errors import FledgeError
from engine.contract.rows import Problem
from engine.contract.units import duration, number, percent
from engine.contract.words import tr, trn
from engine.project import launch, trials
from engine.project.project import Project
from engine.project.trials import Trial, TrialSettings
from engine.verifiers.api import Verifier
from engine.verifiers.scoring import Scores, scores_of
from engine.verifiers.workbench import attempt_of

SCORED_AT_ONCE = 64
BAR = 40
Tell = Callable[[dict[str, Any]], None]


def _quiet(said: dict[str, Any]) -> None:
    pass


def model_scores(project: Project, verifier: Verifier, problems: Sequence[Problem], settings: TrialSettings, *, full: float = 1.0,
                 device: str = "auto", tell: Tell = _quiet) -> tuple[Scores, Trial]:
    """Scores of the model's completions to these problems, and where the completions lie. tell: how far sampling is (trial.py). Raises
    what the sampling process says: NotFound, Mismatch, DeviceUnavailable as their codes have it."""
    trial = trials.prepare(project.dir, settings, problems)
    if not trial.whole.is_file():
        _sample(trial, device, tell)
    groups = [group for _, group in trials.read(trial.whole) if group.completions]
    attempts = [attempt_of(group.problem, one.text) for group in groups for one in group.completions]
    verdicts = iter([verdict for at in range(0, len(attempts), SCORED_AT_ONCE)
                     for verdict in verifier.score(attempts[at:at + SCORED_AT_ONCE])])
    return scores_of([(group.problem.id, [next(verdicts) for _ in group.completions]) for group in groups], full), trial


def _sample(trial: Trial, device: str, tell: Tell) -> None:
    """In a process of its own, which has the threads' settings from its start and ends with this one. Raises what it says."""
    command = [launch.interpreter(), "-m", "engine.stages.grpo.trial", str(trial.project_dir), "--key", trial.key, "--device", device,
               "--with-input"]
    wrong: dict[str, str] | None = {"sentence": tr("Sampling ended without a word, most likely for want of memory."),
                                    "remedy": tr("Choose a smaller model, or fewer answers."), "code": "died"}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=launch.environment(),
                          cwd=launch.source_root()) as process:
        assert process.stdout
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
        error = FledgeError(wrong["sentence"], wrong["remedy"], code=wrong["code"], field=wrong.get("field", ""))
        error.exit_code = process.returncode or 1
        raise error


def held_out_first(problems: Sequence[Problem], count: int) -> list[Problem]:
    """Those a trial takes: held-out ones before the others, each once."""
    ordered = sorted(problems, key=lambda problem: not problem.held_out)
    return list({problem.id: problem for problem in ordered}.values())[:count]


def lines(scores: Scores) -> list[str]:
    """For a terminal: a histogram, pass@1 and pass@k, errors, and whether there is something to learn from."""
    said = [trn("{count} completion to {problems} problems", "{count} completions to {problems} problems", scores.tried,
                problems=number(scores.signal.groups))]
    said += [f"  {bar.label:>10} {number(bar.count):>7}  {'█' * round(BAR * bar.count / max(1, scores.tried))}" for bar in scores.bars]
    shares = [(f"pass@{k}", share) for k, share in ((1, scores.pass_at_1), (scores.k, scores.pass_at_k)) if share is not None]
    said += ["  " + "   ".join(f"{name} {percent(share)}" for name, share in dict(shares).items())] if shares else []
    said += [f"  {kind}: {number(count)}" for kind, count in scores.errors.items()]
    return [*said, f"{scores.signal.sentence} {scores.signal.remedy}".strip()]


def progress(said: dict[str, Any]) -> str:
    """How far sampling is, in a line."""
    return tr("Sampling: {groups} of {of} problems, {seconds}", groups=said["groups"], of=said["of"], seconds=duration(said["seconds"]))
