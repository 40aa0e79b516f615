"""What the page shows of a run of DPO or PPO, for the widget that shows runs of any stage."""

from typing import TYPE_CHECKING

from PySide6.QtWidgets import QWidget

from desktop.models.finetune_report import outcome_of
from desktop.models.run_rows import went_in
from desktop.models.trouble import StageWords
from desktop.models.tune_plan import PPO
from desktop.models.tune_report import facts, kl_now, measures, sentence
from desktop.widgets import run_numbers
from desktop.widgets.run_panel import Line, Number, RunView
from desktop.widgets.run_side import StageView
from desktop.widgets.tuning.report import Report
from desktop.widgets.tuning.rollouts import Rollouts
from engine.contract.units import number, percent, significant
from engine.contract.words import tr, trn
from engine.project.run_state import RunState
from engine.project.runs import Run

if TYPE_CHECKING:
    from desktop.context import AppContext

STEPS = tr("standard deviations")


def round_of(state: RunState, status: str) -> tuple[str, str]:
    stride = int(state.facts.get("updates_a_round") or 1)
    planned = int(state.facts.get("rounds_planned") or 0)
    return number(-(-state.step // stride)), tr("of {rounds}", rounds=number(planned)) if planned else ""


def reward_now(state: RunState, status: str) -> tuple[str, str]:
    found = run_numbers.recent(state, "reward")
    return (significant(found, 3) if found is not None else "–"), tr("mean of an answer")


def kl_of(state: RunState, status: str) -> tuple[str, str]:
    found = kl_now(state)
    return (significant(found, 2) if found is not None else "–"), tr("nats an answer")


def length_of(state: RunState, status: str) -> tuple[str, str]:
    found = run_numbers.recent(state, "length")
    ended = run_numbers.recent(state, "ended")
    return (number(round(found)) if found is not None else "–"), tr("tokens, {share} end", share=percent(ended)) if ended is not None else \
        tr("tokens")


def accuracy(state: RunState, status: str) -> tuple[str, str]:
    last = state.evaluations[-1].values.get("val_accuracy") if state.evaluations else None
    return (percent(last, 1) if last is not None else "–"), tr("of held-out pairs")


def stage_view(context: "AppContext", stage: str) -> StageView:
    ppo = stage == PPO
    machine = context.machine
    memory = Number(tr("Memory"), lambda state, status: run_numbers.memory(state, machine))

    def came_out(state: RunState, status: str) -> tuple[str, str]:
        key = "val_reward" if ppo else "val_accuracy"
        best = state.best
        value = best.values.get(key) if best is not None else None
        words = ""
        if best is not None and value is not None:
            words = tr("best: step {step}, reward {value}", step=number(best.step), value=significant(value, 3)) if ppo else \
                tr("best: step {step}, {value} right", step=number(best.step), value=percent(value, 1))
        if status == "done" and state.artifacts:
            return state.artifacts[-1], words
        kept = len([c for c in state.checkpoints if c.step > 0])
        if kept:
            return trn("{count} checkpoint", "{count} checkpoints", kept), words
        waits = status in run_numbers.WAITS
        return (tr("Nothing yet") if waits else tr("Nothing")), words or (tr("no checkpoint so far") if waits else
                                                                          tr("no checkpoint was written"))

    def goes_in(run: Run, state: RunState) -> tuple[str, str]:
        title = str(state.facts.get("model_title") or went_in(run))
        if ppo:
            known = state.facts.get("prompts")
            asked = trn("{shown} prompt", "{shown} prompts", int(known), shown=number(int(known))) if known else tr("prompts")
            return title, tr("{prompts}, scored by {reward}", prompts=asked, reward=state.facts.get("reward_title") or tr("a reward model"))
        known = state.facts.get("pairs")
        return title, trn("{shown} labelled pair", "{shown} labelled pairs", int(known), shown=number(int(known))) if known else \
            tr("labelled pairs")

    def happens(state: RunState, status: str) -> tuple[str, str]:
        if not ppo or not state.step:
            return run_numbers.happens(state, status)
        made, planned = round_of(state, status)
        answers = int(state.facts.get("answers") or 0) * -(-state.step // int(state.facts.get("updates_a_round") or 1))
        return tr("Round {round} {of}", round=made, of=planned), tr("{answers} answers sampled and scored", answers=number(answers))

    def outcome(run: Run, state: RunState) -> tuple[str, str] | None:
        made = outcome_of(state)
        name = run.title or (state.artifacts[-1] if state.artifacts else run.id)
        return (tr("{name} is ready", name=name), sentence(stage, made)) if made else None

    def compare(id: str) -> None:
        """Against the model that it came from, by blind votes and by a judge."""
        made = next((a for a in context.survey.of_kind("model") if a.id == id), None) if context.survey is not None else None
        parent = str(made.facts.get("model") or "") if made is not None else ""
        context.navigate("evaluate", models=[*([parent] if parent else []), id], suites=["win_rate"])  # the first is compared with
    if ppo:
        numbers = (Number(tr("Round"), round_of), Number(tr("Time left"), run_numbers.time_left), Number(tr("Reward"), reward_now),
                   Number("KL", kl_of), Number(tr("Length"), length_of), memory)
        shown = RunView(
            numbers=numbers, curve=Line("reward", tr("Reward"), STEPS, held="val_reward"),
            more=(Line("length", tr("Length"), tr("tokens"), held="val_length"), Line("entropy", tr("Entropy"), tr("nats a token")),
                  Line("clip_share", tr("Clipped"), tr("share of tokens")),
                  Line("value_loss", tr("Losses"), "", tr("value"), (("policy_loss", tr("policy"), "text3"),))),
            second=Line("kl", "KL", tr("nats an answer")), reports=True,
            heard=lambda follower: Rollouts(context, follower.run.dir, lambda: follower.active))
    else:
        numbers = run_numbers.standard(machine, Number(tr("Held-out accuracy"), accuracy), tr("a pair, on average"))
        shown = RunView(
            numbers=numbers, curve=Line("loss", tr("Loss"), "", held="val_loss"),
            more=(Line("accuracy", tr("Accuracy"), tr("share of pairs"), held="val_accuracy"),
                  Line("margin", tr("Difference"), "", held="val_margin"),
                  Line("chosen_reward", tr("Rewards"), "", tr("better answers"), (("rejected_reward", tr("worse answers"), "text3"),)),
                  Line("chosen_logprob", tr("Likelihood"), tr("nats a token"), tr("better answers"),
                       (("rejected_logprob", tr("worse answers"), "text3"),))),
            held_out=Line("val_accuracy", tr("Held-out pairs"), tr("share right")), lower_is_better=False, compare=True, reports=True)

    def report(run: Run, state: RunState) -> QWidget:
        made = outcome_of(state)
        return Report(context.theme, state, measures(stage, made), facts(stage, made), kl=made.get("kl"),
                      rollouts=Rollouts(context, run.dir, lambda: False, whole=True) if ppo else None)
    return StageView(
        stage=stage, going=lambda name: tr("Tuning {name}", name=name), gone=lambda name: tr("Tuned {name}", name=name),
        unnamed=lambda number: tr("run {number}", number=number), run=shown, goes_in=goes_in, happens=happens, came_out=came_out,
        outcome=outcome, words=StageWords(stage=tr("PPO") if ppo else tr("DPO"), edit=tr("Change the settings"),
                                          smaller=tr("Choose another method or model")),
        new=(tr("New run"), tr("Tune a model again, with other labels or settings.")),
        runs=tr("Runs of PPO") if ppo else tr("Runs of DPO"), inputs=tr("From"), measured=tr("Validation"), report=report,
        actions=((tr("Compare"), "evaluate", compare),))
