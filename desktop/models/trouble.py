"""When a run did not end well: what happened, why, what was not lost, and the remedies as buttons. The words are the engine's own."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from engine.contract.units import number
from engine.contract.words import tr
from engine.project.run_state import RunState

Changes = dict[str, Any]


@dataclass(frozen=True)
class Remedy:
    """A button: its words; `changes` to the settings of a new design, or `act`: resume, log, or a page, which is opened with `changes`."""

    words: str
    act: str = "edit"
    changes: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Trouble:
    """`title` what happened; `words` why, what to do, and what was not lost; the first remedy is the page's primary."""

    title: str
    words: str
    remedies: tuple[Remedy, ...]
    kind: str = "danger"


@dataclass(frozen=True)
class StageWords:
    """How a stage is called in these sentences, and what its remedies are called."""

    stage: str = tr("Pretraining")
    edit: str = tr("Edit the design")
    smaller: str = tr("Choose a smaller size")


def trouble_of(state: RunState, status: str, spec: dict[str, Any], last_words: str = "", words: StageWords | None = None) -> Trouble | None:
    """None for a run that is fine. `spec` are the run's settings, `last_words` the last line of its log."""
    words = words or StageWords()
    describe: dict[str, Callable[[], Trouble]] = {
        "failed": lambda: _failed(state, spec, words), "crashed": lambda: _crashed(state, last_words, words),
        "interrupted": lambda: _interrupted(state), "paused": lambda: _rests(state, tr("The run is paused")),
        "stopped": lambda: _rests(state, tr("The run was stopped"))}
    return describe[status]() if status in describe else None


def kept(state: RunState) -> str:
    """What was not lost."""
    steps = [c.step for c in state.checkpoints if c.step > 0]
    if steps:
        return tr("The checkpoint of step {step} is intact.", step=number(max(steps)))
    return tr("Nothing was lost: no step was run.") if not state.step else tr("There was no checkpoint yet.")


def _can_resume(state: RunState) -> bool:
    return any(c.step > 0 for c in state.checkpoints)


def _failed(state: RunState, spec: dict[str, Any], words: StageWords) -> Trouble:
    said = state.finished
    code, sentence, remedy = (said.code, said.sentence, said.remedy) if said is not None else ("", "", "")
    title = tr("{stage} stopped: {why}", stage=words.stage, why=sentence) if state.step else \
        tr("{stage} could not start: {why}", stage=words.stage, why=sentence)
    remedies = list(_by_code(code, state, spec, words))
    if said is not None and said.field and not any(r.changes for r in remedies):
        remedies.insert(0, Remedy(words.edit))
    if not remedies:
        remedies = [Remedy(tr("Resume") if _can_resume(state) else tr("Start again"), "resume"), Remedy(words.edit)]
    return Trouble(title.rstrip("."), f"{remedy} {kept(state)}".strip(), tuple(remedies))


def _by_code(code: str, state: RunState, spec: dict[str, Any], words: StageWords) -> tuple[Remedy, ...]:
    plan = state.facts.get("plan") or {}
    resume = (Remedy(tr("Resume"), "resume"),) if _can_resume(state) else ()
    if code == "non_finite":
        rate = float(plan.get("learning_rate") or spec.get("learning_rate") or 0)
        matrix = float(plan.get("matrix_learning_rate") or spec.get("matrix_learning_rate") or 0)
        halved = (("learning_rate", rate / 2), *((("matrix_learning_rate", matrix / 2),) if matrix else ()))
        lower = (Remedy(tr("Halve the learning rate, to {rate}", rate=f"{rate / 2:.2g}"), "edit", halved),) if rate else ()
        return (*lower, Remedy(tr("Train in float32"), "edit", (("dtype", "float32"),)), *resume)
    if code == "out_of_memory":
        micro = int(plan.get("micro_batch_size") or spec.get("micro_batch_size") or 0)
        smaller = (Remedy(tr("Halve the micro batch"), "edit", (("micro_batch_size", micro // 2),)),) if micro > 1 else ()
        return (*smaller, Remedy(tr("Turn activation checkpointing on"), "edit", (("activation_checkpointing", "on"),)),
                Remedy(words.smaller))
    if code in ("disk_full", "device_busy"):
        return (Remedy(tr("Try again"), "resume"),)
    if code == "device_unavailable":
        return (Remedy(tr("Try again"), "resume"), Remedy(tr("Open the log"), "log"))
    if code in ("mismatch", "not_found", "input"):
        return (Remedy(words.edit), Remedy(tr("Start again"), "resume"))
    if code in ("corrupt", "internal"):
        return (*(resume or (Remedy(tr("Start again"), "resume"),)), Remedy(tr("Open the log"), "log"))
    return ()


def _crashed(state: RunState, last_words: str, words: StageWords) -> Trouble:
    why = tr("Its last words were: {words}.", words=last_words.strip().rstrip(".")) if last_words.strip() else \
        tr("It left no last words; memory may have run out.")
    first = Remedy(tr("Resume") if _can_resume(state) else tr("Start again"), "resume")
    return Trouble(tr("The worker crashed"), f"{why} {kept(state)}",
                   (first, Remedy(words.edit), Remedy(tr("Open the log"), "log")))


def _interrupted(state: RunState) -> Trouble:
    words = tr("The worker ended without a word at step {step}: the machine went down, or it was killed.", step=number(state.step))
    if _can_resume(state):
        last = max(c.step for c in state.checkpoints)
        words += " " + tr("Resuming goes on from step {step}, and comes to the same weights as if nothing had happened.", step=number(last))
    else:
        words += " " + kept(state)
    first = Remedy(tr("Resume") if _can_resume(state) else tr("Start again"), "resume")
    return Trouble(tr("The run was interrupted"), words, (first,), "warn")


def _rests(state: RunState, title: str) -> Trouble:
    words = tr("It stands at step {step}. {kept}", step=number(state.step), kept=kept(state))
    return Trouble(title, words, (Remedy(tr("Resume") if _can_resume(state) else tr("Start again"), "resume"),), "info")
