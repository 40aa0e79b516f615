"""What the page shows of a pretraining run, for the widget that shows runs of any stage."""

from typing import TYPE_CHECKING

from desktop.models.run_rows import inputs_words
from desktop.models.trouble import StageWords
from desktop.pages.pretrain import numbers
from desktop.widgets import run_numbers
from desktop.widgets.run_side import StageView
from engine.contract.units import count, duration, number
from engine.contract.words import tr
from engine.project.run_state import RunState
from engine.project.runs import Run

if TYPE_CHECKING:
    from desktop.context import AppContext

STAGE = "pretrain"


def stage_view(context: "AppContext") -> StageView:
    def goes_in(run: Run, state: RunState) -> tuple[str, str]:
        tokens = corpus_tokens(context, run.inputs.get("corpus", ""))  # until the run tells
        return numbers.goes_in(state, inputs_words(run.inputs), tr("about {tokens} tokens", tokens=count(tokens)) if tokens else "")

    return StageView(stage=STAGE, going=lambda name: tr("Pretraining {name}", name=name),
                     gone=lambda name: tr("Pretrained {name}", name=name), unnamed=lambda number: tr("model {number}", number=number),
                     run=numbers.view(context.machine), goes_in=goes_in, happens=run_numbers.happens, came_out=numbers.came_out,
                     outcome=outcome, words=StageWords(), new=(tr("New design"), tr("Pretrain another model.")),
                     runs=tr("Pretraining runs"))


def outcome(run: Run, state: RunState) -> tuple[str, str] | None:
    """What came of it, in a sentence that says what the number means."""
    made = state.facts.get("outcome") or {}
    bpb, unigram = made.get("bpb"), made.get("unigram_bpb")
    if bpb is None:
        return None
    words = tr("{bpb} bits per byte on text it has not seen.", bpb=number(float(bpb), 3))
    if unigram:
        words += " " + tr("Knowing only how often each token occurs gives {unigram}.", unigram=number(float(unigram), 3))
    words += " " + tr("It took {time}. A base model continues text; it does not answer questions yet.",
                      time=duration(float(made.get("seconds") or 0)))
    return tr("{name} is ready", name=run.title or run.id), words


def corpus_tokens(context: "AppContext", id: str) -> float:
    """Tokens that a corpus is thought to have, 0 when unknown."""
    survey = context.survey
    corpus = next((a for a in survey.of_kind("corpus") if a.id == id), None) if survey is not None else None
    return float(corpus.facts.get("tokens_estimate", 0)) if corpus is not None else 0.0
