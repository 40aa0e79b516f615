"""Step 1 of the wizard: the models found on this machine, and which of them writes, answers too, judges."""

from functools import partial

from desktop.context import AppContext
from desktop.models.instruct_plan import ROLES, InstructPlan, role_title
from desktop.widgets.buttons import Segments
from desktop.widgets.fields import Lines
from desktop.widgets.flexible import Beside
from desktop.widgets.layout import col, row, show_if
from desktop.widgets.model_places import ModelPlaces, PartPicker
from desktop.widgets.panel import Panel, heading
from desktop.widgets.plan_body import PlanBody
from desktop.widgets.text import Text, small
from engine.contract.spec import Problem
from engine.contract.words import tr

SIDE = 312


class ModelsBody(PlanBody):
    """What is found is told to the plan by the wizard."""

    step = "models"

    def __init__(self, context: AppContext, plan: InstructPlan) -> None:
        super().__init__(context, plan)
        theme = self.theme
        self.places = ModelPlaces(context, lambda model: [role_title(r).lower() for r in plan.roles_of(model)])
        self.places.chosen.connect(self._pick)
        self.mode = Segments(theme, [("one", tr("One")), ("scored", tr("One, judged")), ("two", tr("Two, judged"))], "one",
                             name=tr("How many models"), on_change=self._mode_chosen)
        about = {"responder": tr("Asks and answers, or answers what the recipe asks."),
                 "second_responder": tr("Answers the same question. The first model again is allowed: it answers twice."),
                 "judge": tr("Scores answers by the rubric; two of them in both orders, and the better one is kept.")}
        self.pickers = {r: PartPicker(theme, role_title(r), about[r], partial(self._picked, r)) for r in ROLES}
        self.rubric = Lines(name=tr("Rubric"), rows=7, theme=theme, placeholder=tr("Empty: the recipe's own"))
        self.rubric.changed.connect(lambda: self.put(rubric="\n".join(self.rubric.value())))
        self._rubric = col(row(Text(tr("Rubric"), "medium"), "+", small(tr("what the judge looks at"))), self.rubric, gap=4)
        side = Panel(heading(tr("Who does what")), self.mode, 2, *self.pickers.values(), self._rubric, "+", pad=(16, 10, 16, 14), gap=12)
        col((Beside(theme, self.places, side, side_width=SIDE), 1), gap=0, host=self)

    # showing ----------------------------------------------------------------------------------------------------------

    def fill(self) -> None:
        self.mode.set(self.plan.mode)
        self.rubric.set(tuple(str(self.plan.values["rubric"]).splitlines()))

    def refresh(self) -> None:
        plan = self.plan
        places = plan.places
        self.places.set(places)
        choices = [(m.name, tr("{model}, {place}", model=m.title, place=p.title)) for p in places or () for m in p.models]
        for role, picker in self.pickers.items():
            if picker.choice._values != [v for v, _ in choices] or picker.choice.value() != (plan.values[role] or None):
                picker.choice.set_choices(choices)
                picker.choice.set(plan.values[role] or None)
            show_if(picker, role in plan.parts)
        show_if(self._rubric, plan.judged)
        recipe = plan.recipe
        if recipe is not None and recipe.rubric:
            self.rubric.setPlaceholderText(recipe.rubric)

    # acting -----------------------------------------------------------------------------------------------------------

    def _mode_chosen(self, mode: str) -> None:
        if self._loading:
            return
        self.plan.set_mode(mode)
        self.refresh()
        self.edited.emit()

    def _picked(self, role: str) -> None:
        self._give(role, self.pickers[role].choice.value() or "")

    def _give(self, role: str, model: str) -> None:
        if self._loading:
            return
        self.plan.choose(role, model)
        self.refresh()
        self.edited.emit()
        self.pickers[role].show_problem("")

    def _pick(self, model: str) -> None:
        """A model of a list: it takes the first part that nobody has, else it writes."""
        free = [r for r in self.plan.parts if not self.plan.values[r]]
        role = free[0] if free else "responder"
        self._give(role, model)

    def check(self) -> list[Problem]:
        found = self.plan.problems("models")
        for role, picker in self.pickers.items():
            mine = [p for p in found if p.field == role]
            picker.show_problem(f"{mine[0].sentence} {mine[0].remedy}" if mine else "")
        if found:
            self.pickers[found[0].field].choice.setFocus()
        return []
