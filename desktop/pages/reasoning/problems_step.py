"""Step 2: which problems are tried, which of them only measure, and in which order they come."""

from typing import TYPE_CHECKING

from desktop.models.reasoning_plan import ReasoningPlan
from desktop.widgets.bar import Bar
from desktop.widgets.buttons import Button
from desktop.widgets.facts import Facts
from desktop.widgets.flexible import Beside
from desktop.widgets.layout import Item, clear, col, fill, row, show_if
from desktop.widgets.notes import Note
from desktop.widgets.panel import Panel
from desktop.widgets.text import Text, small
from desktop.widgets.tuning.body import SIDE, Gutter, WizardBody
from desktop.widgets.tuning.pairs_body import SetTicks
from engine.contract.units import number
from engine.contract.words import tr

if TYPE_CHECKING:
    from desktop.context import AppContext

FIELDS = ("curriculum", "validation_prompts", "template", "system")
LEVELS = 8


class ProblemsBody(WizardBody):
    plan: ReasoningPlan

    def __init__(self, context: "AppContext", plan: ReasoningPlan) -> None:
        super().__init__(context, plan)
        theme = self.theme
        self.more = Button(theme, tr("Make or import problems"), "quiet", icon="plus", on_click=lambda: context.navigate("verifiers"))
        self.sets = SetTicks(theme, (tr("Set"), tr("Problems"), tr("Held out")), lambda ids: self.put(problem_sets=ids))
        self.none = Text(tr("There are no problems in this project yet. A generator makes some hundreds in a second; files with questions "
                            "and answers can be imported."), tone="text2", wrap=True)
        self.wrong = small(tone="danger", wrap=True)
        problems = Panel(row(Text(tr("Problems"), "section"), "+", self.more, gap=10),
                         Text(tr("Each has an answer that the verifier knows. Those that are held out are never learned from: they show "
                                 "whether it got better."), tone="text2", wrap=True),
                         self.none, self.sets, self.wrong, pad=(16, 10, 16, 10), gap=4)
        self.form = self.make_form(list(FIELDS), title=tr("How they are asked"), key="grpo.asked")
        self.total, self.facts = Text("", "hero"), Facts(gap=6)
        self.levels_title, self.levels = Text(tr("All of them, by difficulty"), "medium"), col(gap=4)
        self.notes = col(gap=8)
        side = Gutter(Panel(Text(tr("What it will learn from"), "section"), self.total, small(tr("problems")), 2, self.facts,
                            self.levels_title, self.levels, pad=(16, 10, 16, 12), gap=6), self.notes,
                      Panel(small(tr("The problems are copied into the run when it starts. What is edited later does not touch it."),
                                  wrap=True), pad=(16, 10, 16, 10)))
        col((Beside(theme, Gutter(problems, Panel(self.form, pad=(16, 10, 16, 8), gap=4)), side, side_width=SIDE, least=300), 1), gap=0,
            host=self)

    def fill(self) -> None:
        self.sets.set([(s.id, s.title, (s.count, s.held_out)) for s in self.plan.sets or ()], self.plan.values["problem_sets"])

    def refresh(self) -> None:
        plan = self.plan
        show_if(self.none, plan.sets is not None and not plan.sets)
        show_if(self.sets, bool(plan.sets))
        self.form.know({k: v for k, v in plan.values.items() if k not in self.form.names})
        problem = next((p for p in plan.problems("problems") if p.field == "problem_sets"), None)
        self.wrong.set(f"{problem.sentence} {problem.remedy}" if problem is not None and plan.sets else "")
        show_if(self.wrong, bool(self.wrong.words()))
        self.total.set(number(plan.problems_to_learn))
        self.facts.set([(tr("Held out"), number(plan.held_out)),
                        (tr("Measured each time"), number(plan.measured_problems) if plan.measured_problems else tr("none"))])
        self._show_levels()
        box = self.notes.layout()
        clear(box)
        notes: list[Item] = []
        if (warning := plan.held_out_warning()) is not None:
            notes.append(Note(self.theme, "warn", *warning, Button(self.theme, tr("Hold some out"),
                                                                   on_click=lambda: self.context.navigate("verifiers"))))
        fill(box, tuple(notes), 8)
        show_if(self.notes, bool(notes))

    def _show_levels(self) -> None:
        found = self.plan.difficulties
        box = self.levels.layout()
        clear(box)
        most = max((count for _, count in found), default=0)
        shown = found[:LEVELS]
        fill(box, tuple(row(_fixed(self, f"{level:g}"), (Bar(self.theme, count / most, height=6, name=f"{level:g}"), 1),
                            small(number(count)), gap=8) for level, count in shown), 4)
        for widget in (self.levels, self.levels_title):
            show_if(widget, len(found) > 1)


def _fixed(body: WizardBody, words: str) -> Text:
    made = small(words)
    made.setFixedWidth(body.theme.px(28))
    return made
