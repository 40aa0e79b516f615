"""What the page shows of a fine-tuning or domain training run, for the widget that shows runs of any stage."""

from typing import TYPE_CHECKING

from desktop.models.finetune_report import outcome_of, sentence
from desktop.models.run_rows import went_in
from desktop.models.trouble import StageWords
from desktop.pages.finetune.report import Report
from desktop.widgets import run_numbers
from desktop.widgets.run_panel import Line, Number, RunView
from desktop.widgets.run_side import StageView
from engine.contract.units import count, number, significant
from engine.contract.words import tr, trn
from engine.project.run_state import RunState
from engine.project.runs import Run

if TYPE_CHECKING:
    from desktop.context import AppContext

SFT, ADAPT = "sft", "adapt"


def stage_view(context: "AppContext", stage: str) -> StageView:
    sft = stage == SFT
    key, unit = ("val_loss", tr("nats a token")) if sft else ("bpb", tr("bits per byte"))

    def validation(state: RunState, status: str) -> tuple[str, str]:
        last = state.evaluations[-1].values.get(key) if state.evaluations else None
        return (significant(last, 3) if last is not None else "–"), unit

    def came_out(state: RunState, status: str) -> tuple[str, str]:
        best = state.best
        value = best.values.get(key) if best is not None else None
        words = tr("best: step {step}, {value} {unit}", step=number(best.step), value=significant(value, 3), unit=unit) \
            if best is not None and value is not None else ""
        if status == "done" and state.artifacts:
            return state.artifacts[-1], words
        kept = len([c for c in state.checkpoints if c.step > 0])
        if not kept:
            waits = status in run_numbers.WAITS
            return tr("Nothing yet") if waits else tr("Nothing"), words or (tr("no checkpoint so far") if waits else
                                                                           tr("no checkpoint was written"))
        return trn("{count} checkpoint", "{count} checkpoints", kept), words

    def goes_in(run: Run, state: RunState) -> tuple[str, str]:
        title = str(state.facts.get("model_title") or went_in(run))
        if sft:
            known = state.facts.get("examples")
            words = trn("{shown} example", "{shown} examples", int(known), shown=number(int(known))) if known else tr("instruction data")
        else:
            tokens = state.facts.get("domain_tokens")
            words = tr("{tokens} tokens of the domain", tokens=count(float(tokens))) if tokens else tr("text of a domain")
        if state.facts.get("replay_documents") or state.facts.get("replay_percent"):
            words += tr(", replayed text")
        return title, words

    def outcome(run: Run, state: RunState) -> tuple[str, str] | None:
        made = outcome_of(state)
        name = run.title or (state.artifacts[-1] if state.artifacts else run.id)
        return (tr("{name} is ready", name=name), sentence(stage, made)) if made else None

    from desktop.pages import PAGES  # it names this page, so it cannot be read before
    evaluate = ((tr("Evaluate"), "evaluate", lambda id: context.navigate("evaluate", models=[id])),) \
        if any(entry.id == "evaluate" for entry in PAGES) else ()
    return StageView(
        stage=stage, going=lambda name: tr("Fine-tuning {name}", name=name) if sft else tr("Training {name} on a domain", name=name),
        gone=lambda name: tr("Fine-tuned {name}", name=name) if sft else tr("Trained {name} on a domain", name=name),
        unnamed=lambda number: tr("run {number}", number=number),
        run=RunView(numbers=run_numbers.standard(context.machine, Number(tr("Validation"), validation)),
                    curve=Line("loss", tr("Loss"), tr("nats")), held_out=Line(key, tr("Validation"), unit), compare=True, reports=True),
        goes_in=goes_in, happens=run_numbers.happens, came_out=came_out, outcome=outcome,
        words=StageWords(stage=tr("Fine-tuning") if sft else tr("Domain training"), edit=tr("Change the settings"),
                         smaller=tr("Choose another method or model")),
        new=(tr("New run"), tr("Tune a model again, with other data or settings.")),
        runs=tr("Fine-tuning runs") if sft else tr("Domain training runs"), inputs=tr("From"),
        measured=tr("Validation") if sft else "", report=lambda run, state: Report(context.theme, stage, state), actions=evaluate)
