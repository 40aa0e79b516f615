"""Step 3 of the wizard: how many rows, and what a row has to pass; beside it what that takes."""

from desktop.context import AppContext
from desktop.models.instruct_plan import InstructPlan
from desktop.widgets.facts import Facts
from desktop.widgets.flexible import Beside, scrolled
from desktop.widgets.layout import clear, col, fill
from desktop.widgets.panel import Panel
from desktop.widgets.plan_body import FormBody
from desktop.widgets.spec_form import SpecForm
from desktop.widgets.text import Text, small
from engine.contract.units import count, duration, number
from engine.contract.words import tr
from engine.stages.instruct.spec import InstructSpec

SIDE = 312
PARTS = {"margin": "second_responder", "keep_rejected": "second_responder", "lowest_score": "judge"}
"""Settings that matter only where somebody has this part."""
FIELDS = ("title", "count", "refusals", "check_language", "duplicates", "lowest_score", "shortest", "margin", "keep_rejected", "held_out",
          "concurrency", "temperature", "max_tokens", "context", "think", "timeout", "retries", "seed")


class AmountBody(FormBody):
    """The form is made from the spec; what only a judge needs is left out where nobody judges."""

    step = "amount"

    def __init__(self, context: AppContext, plan: InstructPlan) -> None:
        super().__init__(context, plan)
        self._mode = ""
        self._room = col(gap=0)
        self._takes = Facts(gap=6)
        self._note = small(wrap=True)
        self._checks = col(gap=6)
        takes = Panel(Text(tr("What it takes"), "section"), self._takes, self._note, pad=(16, 10, 16, 14), gap=8)
        checks = Panel(Text(tr("Each row is looked at"), "section"), self._checks, pad=(16, 10, 16, 14), gap=8)
        form = scrolled(Panel(self._room, pad=(16, 10, 16, 8)))
        col((Beside(self.theme, form, col(takes, checks, "+", gap=12), side_width=SIDE), 1), gap=0, host=self)

    def _make(self) -> SpecForm:
        fields = [f for f in FIELDS if f in InstructSpec.model_fields and (PARTS.get(f, "responder") in self.plan.parts)]
        advanced = self.form is not None and bool(self.form._views.value())
        return self.make_form(fields, tr("How much, and what is kept"), advanced)

    def fill(self) -> None:
        if self.form is None or self._mode != self.plan.mode:
            self._mode = self.plan.mode
            self.form = self._make()
            clear(self._room.layout())
            fill(self._room.layout(), (self.form,), 0)  # type: ignore[arg-type]
        self.form.load(self.plan.values)

    def refresh(self) -> None:
        plan = self.plan
        if self._mode != plan.mode:
            loading, self._loading = self._loading, True
            self.fill()
            self._loading = loading
        assert self.form is not None
        self.form.rows["title"].control.setPlaceholderText(plan.title)
        (asks, known), (tokens, _), seconds = plan.requests(), plan.tokens(), plan.seconds()
        self._takes.set([(tr("Requests") if known else tr("Requests, about"), number(round(asks))),
                         (tr("Tokens") if known else tr("Tokens, about"), count(tokens)),
                         (tr("Time"), duration(seconds) if seconds is not None else tr("after the preview"))])
        self._note.set(tr("Measured in the preview.") if known else
                       tr("Guessed from the recipe. Five real rows in the next step measure it."))
        clear(self._checks.layout())
        fill(self._checks.layout(), tuple(small(words, wrap=True) for words in self._lines()), 6)  # type: ignore[arg-type]

    def _lines(self) -> list[str]:
        plan = self.plan
        lines = [tr("Checks: {checks}.", checks=plan.checks_in_words())]
        if plan.two:
            lines.append(tr("Scores nearer than {margin} are a tie, and the row is set aside.", margin=f"{plan.number_of('margin'):g}"))
        lines.append(tr("What fails a check is set aside with its reason, and can be brought back in the review."))
        return lines
