"""The wizard's widgets: a strip of steps, one body a step. Every decision is models/finetune_plan.py's. It asks the microscope what would
be trained on whenever that may have changed, and measures the methods when asked."""

import time
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtWidgets import QApplication, QStackedWidget, QWidget

from desktop.jobs.inquiry import Inquiry
from desktop.jobs.measure import Measuring
from desktop.models import finetune_look, finetune_mask
from desktop.models.finetune_plan import ADAPT, SFT, STEPS, FinetunePlan, step_title
from desktop.pages.finetune.bodies import Body
from desktop.pages.finetune.data_body import ExamplesBody, TextBody
from desktop.pages.finetune.goal_body import GoalBody
from desktop.pages.finetune.method_body import MethodBody
from desktop.pages.finetune.start_body import StartBody
from desktop.pages.finetune.template_body import TemplateBody
from desktop.widgets.buttons import Button
from desktop.widgets.flow_strip import FlowStrip
from desktop.widgets.layout import col, show_if
from desktop.widgets.notes import NoteSlot
from desktop.widgets.page_header import PageHeader
from desktop.widgets.wizard_steps import WizardSteps
from engine.contract.errors import FledgeError
from engine.contract.words import tr
from engine.project import queue

if TYPE_CHECKING:
    from desktop.context import AppContext

MICROSCOPE_MODULE = "engine.stages.sft.microscope"
SFT_MODULE = "engine.stages.sft.measure"
ADAPT_MODULE = "engine.stages.adapt.measure"
MEASURES = {SFT: SFT_MODULE, ADAPT: ADAPT_MODULE}
BATCHES, LISTED = "4", "4000"
SETTLE_MS = 350
MEASURED = "measured_tuning"


class Wizard(QWidget):
    """`start_wanted(spec)` when all is in order; `cancelled` when the person leaves it; `found` when it is known what there is."""

    start_wanted = Signal(object)
    cancelled = Signal()
    found = Signal()

    def __init__(self, context: "AppContext", can_cancel: bool = False) -> None:
        super().__init__()
        self.context, self.theme = context, context.theme
        self.plan = FinetunePlan(context.device_facts)
        self.plan.recall(context.settings.get(MEASURED))
        self._can_cancel = can_cancel
        self._starting = False
        self._reading = False
        self._asked = ""
        self._waits_with_focus = False
        self._inquiry = Inquiry(self)
        self._settle = QTimer(self)
        self._settle.setSingleShot(True)
        self._settle.setInterval(SETTLE_MS)
        self._settle.timeout.connect(self.look)
        self.measuring = {goal: Measuring(self, module) for goal, module in MEASURES.items()}
        self._make()
        for each in self.measuring.values():
            each.done.connect(self._measured)
            each.failed.connect(self._measure_failed)
            each.ticked.connect(self._measure_ticked)
            each.running_changed.connect(lambda on: self._measure_ticked(0.0))
        context.machine_changed.connect(self._machine_changed)
        self.read()

    def _make(self) -> None:
        theme = self.theme
        self.header = PageHeader(tr("Fine-tune"), tr("A model that exists learns to answer, or learns a domain."))
        self.back = Button(theme, tr("Back"), on_click=self._back)
        self.cancel = Button(theme, tr("Cancel"), on_click=self.cancelled.emit)
        self.forward = Button(theme, tr("Next"), "primary", on_click=self._forward)
        self.header.set_actions(self.cancel, self.back, self.forward)
        self.strips = {goal: WizardSteps(theme, [(s, step_title(s, goal)) for s in steps]) for goal, steps in STEPS.items()}
        for strip in self.strips.values():
            strip.chosen.connect(self.go)
        self.flow, self.notes = FlowStrip(theme), NoteSlot(theme)
        self.notes.layout().setContentsMargins(0, 0, 0, 12)
        self._bodies = QStackedWidget()
        self._built: dict[tuple[str, str], Body] = {}
        col(self.header, 12, *self.strips.values(), 12, self.flow, 12, self.notes, (self._bodies, 1), gap=0, host=self)

    # parts ------------------------------------------------------------------------------------------------------------

    def body(self, step: str = "") -> Body:
        """The widgets of a step, made when it is first shown."""
        step = step or self.plan.step
        key = ("" if step == "goal" else self.plan.goal, step)
        if key not in self._built:
            made = self._make_body(step)
            made.edited.connect(self._edited)
            self._built[key] = made
            self._bodies.addWidget(made)
            made.load()
        return self._built[key]

    def _make_body(self, step: str) -> Body:
        context, plan = self.context, self.plan
        if step == "template":
            made = TemplateBody(context, plan)
            made.look_wanted.connect(self._look_again)
            made.remedy_wanted.connect(self._remedy)
            return made
        if step == "method":
            method = MethodBody(context, plan)
            method.measure_wanted.connect(self.measure)
            method.cancel_wanted.connect(lambda: self.measuring[plan.goal].cancel())
            return method
        if step == "data":
            return ExamplesBody(context, plan) if plan.goal == SFT else TextBody(context, plan)
        return GoalBody(context, plan) if step == "goal" else StartBody(context, plan)

    @property
    def template(self) -> TemplateBody:
        made = self.body("template")
        assert isinstance(made, TemplateBody)
        return made

    # what there is ----------------------------------------------------------------------------------------------------

    def read(self) -> None:
        """Models, sets and texts of the project, in a thread."""
        project, survey = self.context.project, self.context.survey
        if survey is not None:
            self.plan.set_corpora(survey.of_kind("corpus"), survey.of_kind("tokens"))
            self.plan.taken = {r.title for r in survey.runs}
        if project is not None and not self._reading:
            self._reading = True
            self.context.jobs.run(lambda: finetune_look.look(project), then=self._read, failed=self._not_read, owner=self)

    def _read(self, found: finetune_look.Found) -> None:
        self._reading = False
        self.plan.set_models(found.models)
        self.plan.set_sets(found.sets)
        if found.wrong is not None:
            self.notes.show_error(found.wrong, Button(self.theme, tr("Try again"), on_click=self.read))
        self.reload()
        self.found.emit()

    def _not_read(self, wrong: Exception) -> None:
        self._reading = False
        if not isinstance(wrong, FledgeError):
            raise wrong
        self.notes.show_error(wrong, Button(self.theme, tr("Try again"), on_click=self.read))

    def take(self, goal: str, values: dict[str, Any]) -> None:
        """Begin with these settings (of an earlier run)."""
        self.plan.take(goal, values)
        self.reload()

    def reload(self) -> None:
        for (goal, _), made in self._built.items():
            if goal in ("", self.plan.goal):
                made.load()
        self.refresh()
        self._settle.start()

    def rest(self) -> None:
        """Nobody looks."""
        self._settle.stop()
        self._inquiry.stop()

    def _machine_changed(self) -> None:
        self.plan.set_device(self.context.device_facts)
        self.refresh()

    # the microscope ---------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Ask what would be trained on, where that is not known for these settings."""
        plan = self.plan
        if not plan.look_is_old or plan.step in ("goal", "data") or self.context.project is None:
            return
        try:
            spec = plan.spec()
        except FledgeError:
            return  # said beside its field; the look comes when it can be read
        values, key = plan.values, plan.mask_key()
        if self._inquiry.busy and key == self._asked:
            return
        self._asked = key
        context = plan.model.config.max_seq_len if plan.model and plan.model.config else 0

        def answered(answer: dict[str, Any]) -> None:
            plan.take_look(key, finetune_mask.looked(answer, values, context))
            self._looked()

        def failed(wrong: FledgeError) -> None:
            plan.take_look(key, None, wrong)
            self._looked()
        self._inquiry.ask(MICROSCOPE_MODULE, str(self.context.project.dir), spec.model_dump(mode="json"), answered, failed,
                          "--batches", BATCHES, "--tokens", LISTED)

    def _looked(self) -> None:
        if not self.plan.blocked:
            self.notes.clear()
        self.refresh()
        self.look()  # the settings may have changed since it was asked

    def _look_again(self) -> None:
        self.plan.take_look("", None)
        self.template.error.clear()
        self.refresh()
        self.look()

    def _remedy(self, problem: Any, remedy: Any) -> None:
        if remedy.act == "go":
            self.plan.step = remedy.to
            self.refresh()
        else:
            sets = self.plan.values["examples"]
            self.context.navigate("instruct", set=sets[0], review=True)

    # measuring --------------------------------------------------------------------------------------------------------

    def measure(self) -> None:
        """A few real steps of each method, in processes of the engine."""
        body = self.body("method")
        assert isinstance(body, MethodBody) and self.context.project is not None
        try:
            spec = self.plan.spec()
        except FledgeError as wrong:
            body.show_error(wrong)
            return
        self.measuring[self.plan.goal].start(self.context.project.dir, spec.model_dump(mode="json"), self.context.device, self.plan.key())

    def _measured(self, key: str, said: dict[str, Any]) -> None:
        self.plan.take_measurement(key, said, time.time())
        self.context.remember(MEASURED, self.plan.remembered())
        self.refresh()

    def _measure_failed(self, wrong: FledgeError) -> None:
        body = self.body("method")
        assert isinstance(body, MethodBody)
        body.show_error(wrong)
        self.refresh()

    def _measure_ticked(self, seconds: float) -> None:
        body = self._built.get((self.plan.goal, "method"))
        if isinstance(body, MethodBody):
            on = self.measuring[self.plan.goal].running
            body.set_measuring(on, seconds)
            if not on:
                self.refresh()

    # acting -----------------------------------------------------------------------------------------------------------

    def _edited(self) -> None:
        self.notes.clear()
        self.body().show_problems([])
        if self.plan.step == "goal":
            for (goal, step), made in self._built.items():
                if goal == self.plan.goal and step != "goal":
                    made.load()
        self.refresh()
        self._settle.start()

    def go(self, step: str) -> None:
        if not self.plan.go(step):
            self._show_problems()
        else:
            self.notes.clear()
        self.refresh(load=True)
        self.look()

    def _back(self) -> None:
        self.plan.back()
        self.notes.clear()
        self.refresh(load=True)

    def _forward(self) -> None:
        plan = self.plan
        if plan.problems(plan.step):
            self._show_problems()
        elif plan.following:
            self.go(plan.following)
            if self.forward.isEnabled():
                self.forward.setFocus()
            else:
                self._waits_with_focus = True
        else:
            self._start()

    def _show_problems(self) -> None:
        """Each beside its field; what belongs to no field of this step above it."""
        rest = self.body().show_problems(self.plan.problems(self.plan.step))
        named = [p for p in rest if not (self.plan.step == "template" and self.plan.blocked)]  # those stand in the body with their remedy
        if named:
            self.notes.show_error(FledgeError(named[0].sentence, named[0].remedy))

    def _start(self) -> None:
        plan = self.plan
        wrong_step = next((s for s in plan.steps if plan.problems(s)), "")
        if wrong_step:
            plan.step = wrong_step
            self.refresh(load=True)
            self._show_problems()
            return
        if not plan.ready or self._starting:
            return
        spec = plan.spec()
        self.start_wanted.emit(spec if spec.title else spec.model_copy(update={"title": plan.default_title()}))

    def set_starting(self, on: bool) -> None:
        """The examples are being copied into the run."""
        self._starting = on
        self.refresh()

    # showing ----------------------------------------------------------------------------------------------------------

    def refresh(self, load: bool = False) -> None:
        plan = self.plan
        body = self.body()
        if load:
            body.load()
        else:
            body.refresh()
        self._bodies.setCurrentWidget(body)
        for goal, strip in self.strips.items():
            show_if(strip, goal == plan.goal)
        steps = plan.steps
        place = steps.index(plan.step)
        self.strips[plan.goal].set(plan.step, [s for i, s in enumerate(steps) if i <= place or plan.can_go(s)])
        self.flow.set(plan.goes_in(), plan.will_happen(), plan.comes_out())
        last = not plan.following
        show_if(self.cancel, plan.step == "goal" and self._can_cancel)
        show_if(self.back, plan.step != "goal")
        if last:
            busy = not queue.device_free(self.context.device)
            self.forward.set_words(tr("Preparing") if self._starting else tr("Looking at the data") if plan.look_is_due else
                                   tr("Queue it") if busy else tr("Start training"))
        else:
            self.forward.set_words(tr("Next: {step}", step=step_title(plan.following, plan.goal).lower()))
        self._enable(not self._starting and plan.models is not None and (not last or plan.ready)
                     and not (plan.step == "template" and plan.blocked and not plan.look_is_due))

    def _enable(self, on: bool) -> None:
        """A button that waits keeps the keyboard's place: it has the focus again as soon as it can be pressed, unless it went elsewhere."""
        if not on and self.forward.hasFocus():
            self._waits_with_focus = True
            self.forward.clearFocus()  # Qt would pass it on, and a ring would appear somewhere far off
        self.forward.setEnabled(on)
        if on and self._waits_with_focus:
            self._waits_with_focus = False
            if QApplication.focusWidget() is None:
                self.forward.setFocus(Qt.FocusReason.OtherFocusReason)
