"""What the page shows of a run of GRPO, for the widget that shows runs of any stage."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PySide6.QtWidgets import QWidget

from desktop.models import reasoning_trouble
from desktop.models.finetune_report import outcome_of
from desktop.models.reasoning_report import by_chance, facts, how_measured, measures, sentence, solved_now, time_shares
from desktop.models.run_rows import went_in
from desktop.models.trouble import StageWords, Trouble
from desktop.pages.reasoning.browser import RolloutBrowser
from desktop.widgets import run_numbers
from desktop.widgets.buttons import Button
from desktop.widgets.layout import Item
from desktop.widgets.run_panel import Line, Number, RunView
from desktop.widgets.run_side import StageView
from desktop.widgets.tuning.report import Report
from desktop.widgets.tuning.rollouts import Rollouts
from engine.contract.events import Notice
from engine.contract.units import number, percent, significant
from engine.contract.words import tr, trn
from engine.project.run_doctor import Finding
from engine.project.run_state import RunState
from engine.project.runs import Run
from engine.verifiers.api import KINDS

if TYPE_CHECKING:
    from desktop.context import AppContext
    from desktop.jobs.run_follow import RunFollower

OF_VERIFIER = frozenset({"verifier_errors", "verifier_timeouts"})
"""Notices and findings whose remedy is in the verifier."""


def stride_of(state: RunState) -> int:
    """Updates of a round."""
    return max(1, int(state.facts.get("updates_a_round") or 1))


def round_of(state: RunState, status: str) -> tuple[str, str]:
    planned = int(state.facts.get("rounds_planned") or 0)
    return number(-(-state.step // stride_of(state))), tr("of {rounds}", rounds=number(planned)) if planned else ""


def reward_now(state: RunState, status: str) -> tuple[str, str]:
    found, spread = run_numbers.recent(state, "reward"), run_numbers.recent(state, "reward_std")
    return (significant(found, 3) if found is not None else "–"), \
        tr("spread {value}", value=significant(spread, 2)) if spread is not None else tr("mean of an answer")


def solved(state: RunState, status: str) -> tuple[str, str]:
    found = solved_now(state)
    return (percent(found, 1) if found is not None else "–"), tr("held out")


def silent(state: RunState, status: str) -> tuple[str, str]:
    found = run_numbers.recent(state, "frac_reward_zero_std")
    return (percent(found) if found is not None else "–"), tr("of the groups")


def _held_out(state: RunState) -> str:
    """What stands beside the curve of problems solved."""
    count, last = int(state.facts.get("held_out") or 0), solved_now(state)
    if not count or last is None:
        return tr("nothing is held out") if state.facts and not count else ""
    return tr("sampled, ± {points} points by chance", points=f"{100 * by_chance(last, count):.0f}")


def _time(state: RunState) -> str:
    return ", ".join(tr("{what} {share}", what=what, share=percent(share)) for what, share in time_shares(state))


def _cut(state: RunState) -> str:
    ended = run_numbers.recent(state, "ended")
    return tr("{share} end by themselves", share=percent(ended)) if ended is not None else ""


def _gap(state: RunState) -> str:
    limit = float(state.facts.get("gap_limit") or 0)
    return tr("corrected from {limit}", limit=significant(limit, 2)) if limit else ""


def _errors(state: RunState) -> str:
    found = sum(int(values[values == values].sum()) for kind in KINDS if (values := state.metrics.column(f"verifier_{kind}")).size)
    return trn("{shown} in all", "{shown} in all", found, shown=number(found)) if found else tr("none so far") if state.step else ""


def below() -> tuple[Line, ...]:
    """What the lower chart can show."""
    kinds = [("verifier_timeout", tr("out of time"), "warn"), ("verifier_raised", tr("failed"), "danger"),
             ("verifier_not_a_number", tr("no number"), "accent"), ("verifier_program_raised", tr("its programs"), "text2")]
    return (Line("pass_at_1", tr("Solved"), tr("share of held-out problems"), measured=True, note=_held_out),
            Line("frac_reward_zero_std", tr("No signal"), tr("share of groups")),
            Line("length", tr("Length"), tr("tokens"), note=_cut),
            Line("entropy", tr("Entropy"), tr("nats a token")),
            Line("kl", "KL", tr("nats a token"), note=lambda s: "" if s.metrics.last("kl") is not None or not s.step else
                 tr("not held to a reference")),
            Line("clip_share", tr("Clipped"), tr("share of tokens"), tr("both"), (("clip_share_high", tr("above"), "text3"),)),
            Line("sampler_gap", tr("Gap"), tr("nats a token"), note=_gap),
            Line("verifier_errors", tr("Errors"), tr("answers a round"), tr("without a reward"), tuple(kinds), note=_errors),
            Line("sampling_seconds", tr("Time"), tr("seconds an update"), tr("sampling"),
                 (("verifying_seconds", tr("verifying"), "warn"), ("learning_seconds", tr("learning"), "accent")), note=_time))


def stage_view(context: "AppContext", run: Run) -> StageView:
    machine = context.machine
    memory = Number(tr("Memory"), lambda state, status: run_numbers.memory(state, machine))

    def came_out(state: RunState, status: str) -> tuple[str, str]:
        best = state.best
        value = best.values.get("pass_at_1") if best is not None else None
        words = tr("best: step {step}, {share} solved", step=number(best.step), share=percent(value, 1)) \
            if best is not None and value is not None else ""
        if status == "done" and state.artifacts:
            return state.artifacts[-1], words
        kept = len([c for c in state.checkpoints if c.step > 0])
        if kept:
            return trn("{count} checkpoint", "{count} checkpoints", kept), words
        waits = status in run_numbers.WAITS
        return (tr("Nothing yet") if waits else tr("Nothing")), words or (tr("no checkpoint so far") if waits else
                                                                          tr("no checkpoint was written"))

    def goes_in(run: Run, state: RunState) -> tuple[str, str]:
        known, held = state.facts.get("prompts"), int(state.facts.get("held_out") or 0)
        asked = trn("{shown} problem", "{shown} problems", int(known), shown=number(int(known))) if known else tr("problems")
        return str(state.facts.get("model_title") or went_in(run)), \
            tr("{problems}, {held} held out", problems=asked, held=number(held)) if held else asked

    def happens(state: RunState, status: str) -> tuple[str, str]:
        if not state.step:
            return run_numbers.happens(state, status)
        made, planned = round_of(state, status)
        answers = int(state.facts.get("answers") or 0) * -(-state.step // stride_of(state))
        return tr("Round {round} {of}", round=made, of=planned), tr("{answers} answers tried and verified", answers=number(answers))

    def outcome(run: Run, state: RunState) -> tuple[str, str] | None:
        made = outcome_of(state)
        name = run.title or (state.artifacts[-1] if state.artifacts else run.id)
        return (tr("{name} is ready", name=name), sentence(made)) if made else None

    def compare(id: str) -> None:
        made = next((a for a in context.survey.of_kind("model") if a.id == id), None) if context.survey is not None else None
        parent = str(made.facts.get("model") or "") if made is not None else ""
        context.navigate("evaluate", models=[*([parent] if parent else []), id])  # the first is compared with

    def open_verifier(line: int = 0) -> None:
        ref = reasoning_trouble.reference_of(run.spec)
        context.navigate("verifiers", **({"verifier": ref} if ref else {}), **({"line": line} if line else {}))

    def verifier_buttons(said: Notice | Finding) -> Sequence[Item]:
        if said.code not in OF_VERIFIER:
            return ()
        return (Button(context.theme, tr("Open the verifier"), on_click=lambda: open_verifier(reasoning_trouble.line_of(
            said.text if isinstance(said, Notice) else ""))),)

    def trouble(run: Run, state: RunState, status: str) -> Trouble | None:
        return reasoning_trouble.trouble_of(run, state, status)

    def answers(follower: "RunFollower") -> Rollouts:
        return Rollouts(context, follower.run.dir, lambda: follower.active, signed=False,
                        scored=tr("each answer with what the verifier says of it"))

    def browser(follower: "RunFollower") -> RolloutBrowser:
        return RolloutBrowser(context, follower.run.dir, lambda: follower.active, stride_of(follower.state))

    shown = RunView(
        numbers=(Number(tr("Round"), round_of), Number(tr("Time left"), run_numbers.time_left), Number(tr("Reward"), reward_now),
                 Number(tr("Solved"), solved), Number(tr("No signal"), silent), memory),
        curve=Line("reward", tr("Reward"), "", tr("mean and spread"), held="val_reward", spread="reward_std"),
        lower_is_better=False, reports=True, heard=answers, below=below(), browser=(tr("Answers"), browser),
        remedies=verifier_buttons, findings=verifier_buttons)

    def report(run: Run, state: RunState) -> QWidget:
        made = outcome_of(state)
        return Report(context.theme, state, measures(made), facts(made, reasoning_trouble.verifier_title(run)), how=how_measured(made),
                      rollouts=Rollouts(context, run.dir, lambda: False, whole=True, signed=False))
    return StageView(
        stage="grpo", going=lambda name: tr("Reasoning: {name}", name=name),
        gone=lambda name: tr("Learned from problems: {name}", name=name), unnamed=lambda number: tr("run {number}", number=number),
        run=shown, goes_in=goes_in, happens=happens, came_out=came_out, outcome=outcome,
        words=StageWords(stage=tr("Reasoning"), edit=tr("Change the settings"), smaller=tr("Choose LoRA or shorter answers")),
        new=(tr("New run"), tr("Learn from problems again, with other settings.")), runs=tr("Runs of reasoning"), inputs=tr("From"),
        measured=tr("Solved"), report=report, trouble=trouble, actions=((tr("Compare"), "evaluate", compare),))
