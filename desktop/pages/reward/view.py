"""What the page shows of a run that trains a reward model, for the widget that shows runs of any stage."""

from typing import TYPE_CHECKING, Any

from PySide6.QtWidgets import QWidget

from desktop.models.finetune_report import outcome_of
from desktop.models.reward_report import outcome_words
from desktop.models.run_rows import went_in
from desktop.models.trouble import StageWords
from desktop.pages.reward.report import Report
from desktop.widgets import run_numbers
from desktop.widgets.run_panel import Heard, Line, Number, RunView
from desktop.widgets.run_side import StageView
from desktop.widgets.tuning.figures import Figures
from engine.contract.units import number, percent, significant
from engine.contract.words import tr, trn
from engine.project.run_state import RunState
from engine.project.runs import Run

if TYPE_CHECKING:
    from desktop.context import AppContext

POINTS = tr("share of pairs")


def accuracy(state: RunState, status: str) -> tuple[str, str]:
    last = state.evaluations[-1].values.get("val_accuracy") if state.evaluations else None
    return (percent(last, 1) if last is not None else "–"), tr("of held-out pairs")


def came_out(state: RunState, status: str) -> tuple[str, str]:
    outcome = outcome_of(state)
    words = tr("right in {share} of held-out pairs", share=percent(outcome["accuracy"], 1)) if outcome.get("accuracy") is not None else ""
    if status == "done" and state.artifacts:
        return state.artifacts[-1], words
    best = state.best
    if not words and best is not None and best.values.get("val_accuracy") is not None:
        words = tr("best: step {step}, right in {share}", step=number(best.step), share=percent(best.values["val_accuracy"], 1))
    kept = len([c for c in state.checkpoints if c.step > 0])
    if kept:
        return trn("{count} checkpoint", "{count} checkpoints", kept), words
    waits = status in run_numbers.WAITS
    return (tr("Nothing yet") if waits else tr("Nothing")), words or (tr("no checkpoint so far") if waits else
                                                                      tr("no checkpoint was written"))


def goes_in(run: Run, state: RunState) -> tuple[str, str]:
    known = state.facts.get("pairs")
    words = trn("{shown} labelled pair", "{shown} labelled pairs", int(known), shown=number(int(known))) if known else tr("labelled pairs")
    return str(state.facts.get("model_title") or went_in(run)), words


def figures(follower: Any) -> Heard:
    """Beside the charts: what the numbers mean, while it trains."""
    def read(state: RunState) -> list[tuple[str, str, str]]:
        def last(key: str) -> float | None:
            return run_numbers.recent(state, key)
        right, margin, better, worse = (last(k) for k in ("accuracy", "margin", "chosen_reward", "rejected_reward"))
        held = state.evaluations[-1].values if state.evaluations else {}
        first = state.evaluations[0].values if state.evaluations else {}
        found = [(tr("Right in training"), percent(right, 1) if right is not None else "–", tr("of the last ten steps")),
                 (tr("Difference"), significant(margin, 3) if margin is not None else "–",
                  tr("how far better answers score above worse ones")),
                 (tr("Better, worse"),
                  f"{significant(better, 2)}, {significant(worse, 2)}" if better is not None and worse is not None else "–",
                  tr("mean rewards; only their difference counts"))]
        if held.get("val_accuracy") is not None:
            before = first.get("val_accuracy")
            found.insert(0, (tr("Right on held-out pairs"), percent(held["val_accuracy"], 1),
                             tr("{before} before; 50 % is guessing", before=percent(before, 1)) if before is not None else
                             tr("50 % is guessing")))
        return found
    return Figures(tr("What it means"), read)


def stage_view(context: "AppContext") -> StageView:
    def outcome(run: Run, state: RunState) -> tuple[str, str] | None:
        made = outcome_of(state)
        name = run.title or (state.artifacts[-1] if state.artifacts else run.id)
        return (tr("{name} is ready", name=name), outcome_words(made)) if made else None

    def report(run: Run, state: RunState) -> QWidget | None:
        return Report(context, state, state.artifacts[-1]) if state.artifacts else None

    def chat(id: str) -> None:
        made = next((a for a in context.survey.of_kind("reward_model") if a.id == id), None) if context.survey is not None else None
        context.navigate("chat", reward=id, **({"model": str(made.facts["model"])} if made is not None and made.facts.get("model") else {}))
    return StageView(
        stage="reward", going=lambda name: tr("Training {name}", name=name), gone=lambda name: tr("Trained {name}", name=name),
        unnamed=lambda number: tr("run {number}", number=number),
        run=RunView(numbers=run_numbers.standard(context.machine, Number(tr("Held-out accuracy"), accuracy), tr("nats a pair")),
                    curve=Line("accuracy", tr("Accuracy"), POINTS, held="val_accuracy"),
                    more=(Line("loss", tr("Loss"), tr("nats"), held="val_loss"), Line("margin", tr("Difference"), ""),
                          Line("chosen_reward", tr("Rewards"), "", tr("better answers"),
                               (("rejected_reward", tr("worse answers"), "text3"),))),
                    held_out=Line("val_loss", tr("Validation loss"), tr("nats")), heard=figures, reports=True),
        goes_in=goes_in, happens=run_numbers.happens, came_out=came_out, outcome=outcome,
        words=StageWords(stage=tr("Training the reward model"), edit=tr("Change the settings"),
                         smaller=tr("Choose another method or model")),
        new=(tr("New run"), tr("Train a reward model again, with other labels or settings.")), runs=tr("Runs of reward models"),
        inputs=tr("From"), measured=tr("Validation loss"), report=report,
        actions=((tr("Try it in Chat"), "chat", chat),),
        primary=(tr("Tune with it"), "play", lambda id: context.navigate("dpo", reward=id)), exports=False)
