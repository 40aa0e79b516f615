"""The wizard of stages that go on training a model: a header with Back and Next, a strip of steps for each goal, one body a step made when
it is first shown, methods measured on request, and what was chosen written down at every edit.

Every decision is the plan's (a TuningChoice); what a step shows is its body's. A subclass says which bodies there are and what of the
project is looked at.
"""

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtWidgets import QApplication, QStackedWidget, QWidget

from desktop.jobs.measure import Measuring
from desktop.models.tuning_choice import TuningChoice
from desktop.widgets.buttons import Button
from desktop.widgets.flow_strip import FlowStrip
from desktop.widgets.layout import col, show_if
from desktop.widgets.notes import NoteSlot
from desktop.widgets.page_header import PageHeader
from desktop.widgets.tuning.body import WizardBody
from desktop.widgets.tuning.method_body import MethodBody
from desktop.widgets.wizard_steps import WizardSteps
from engine.contract.errors import FledgeError
from engine.contract.spec import Problem
from engine.contract.words import tr
from engine.project import queue

if TYPE_CHECKING:
    from desktop.context import AppContext
    from engine.project.project import Project

MEASURED = "measured_tuning"
DEVICE_MS = 1500
"""A device that was taken is looked at again this often."""


class TuningWizard(QWidget):
    """`start_wanted(spec)` when all is in order; `cancelled` when the person leaves it; `found` when it is known what there is.

    name       under which the draft is kept
    measures   by goal, the module of the engine that measures its methods
    shared     steps whose body is the same whatever the goal
    """

    start_wanted = Signal(object)
    cancelled = Signal()
    found = Signal()

    def __init__(self, context: "AppContext", plan: TuningChoice, *, name: str, title: str, sentence: str, measures: Mapping[str, str],
                 shared: tuple[str, ...] = (), can_cancel: bool = False) -> None:
        super().__init__()
        self.context, self.theme, self.plan = context, context.theme, plan
        plan.recall(context.settings.get(MEASURED))
        self._name, self._shared, self._can_cancel = name, shared, can_cancel
        self._starting = False
        self._reading = False
        self._waits_with_focus = False
        self._device = QTimer(self)
        self._device.setSingleShot(True)
        self._device.setInterval(DEVICE_MS)
        self._device.timeout.connect(self._show_forward)
        self.measuring = {goal: Measuring(self, module) for goal, module in measures.items()}
        self._build(title, sentence)
        for each in self.measuring.values():
            each.done.connect(self._measured)
            each.failed.connect(self._measure_failed)
            each.ticked.connect(self._measure_ticked)
            each.running_changed.connect(lambda on: self._measure_ticked(0.0))
        context.machine_changed.connect(self._machine_changed)

    def _build(self, title: str, sentence: str) -> None:
        theme = self.theme
        self.header = PageHeader(title, sentence)
        self.back = Button(theme, tr("Back"), on_click=self._back)
        self.cancel = Button(theme, tr("Cancel"), on_click=self._cancel)
        self.forward = Button(theme, tr("Next"), "primary", on_click=self._forward)
        self.header.set_actions(self.cancel, self.back, self.forward)
        self.strips = {}
        for goal, steps in self.plan.STEPS.items():
            self.plan.goal, before = goal, self.plan.goal
            self.strips[goal] = WizardSteps(theme, [(s, self.plan.step_title(s)) for s in steps])
            self.plan.goal = before
        for strip in self.strips.values():
            strip.chosen.connect(self.go)
        self.flow, self.notes = FlowStrip(theme), NoteSlot(theme)
        self.notes.layout().setContentsMargins(0, 0, 0, 12)
        self._bodies = QStackedWidget()
        self._built: dict[tuple[str, str], WizardBody] = {}
        col(self.header, 12, *self.strips.values(), 12, self.flow, 12, self.notes, (self._bodies, 1), gap=0, host=self)

    # parts ------------------------------------------------------------------------------------------------------------

    def body(self, step: str = "") -> WizardBody:
        """The widgets of a step, made when it is first shown."""
        step = step or self.plan.step
        key = ("" if step in self._shared else self.plan.goal, step)
        if key not in self._built:
            made = self.make_body(step)
            if isinstance(made, MethodBody):
                made.measure_wanted.connect(self.measure)
                made.cancel_wanted.connect(lambda: self.measuring[self.plan.goal].cancel())
            made.edited.connect(self._edited)
            self._built[key] = made
            self._bodies.addWidget(made)
            made.load()
        return self._built[key]

    def make_body(self, step: str) -> WizardBody:
        raise NotImplementedError

    # what there is ----------------------------------------------------------------------------------------------------

    def look_at(self, project: "Project") -> Callable[[], Any]:
        """What finds out what of the project can be chosen; called in a thread, its result is for `take_found`."""
        raise NotImplementedError

    def take_found(self, found: Any) -> None:
        raise NotImplementedError

    def read(self) -> None:
        """Ask anew what there is, in a thread."""
        project, survey = self.context.project, self.context.survey
        if survey is not None:
            self.take_survey(survey)
            self.plan.taken = {r.title for r in survey.runs}
        if project is not None and not self._reading:
            self._reading = True
            self.context.jobs.run(self.look_at(project), then=self._read, failed=self._not_read, owner=self)

    def take_survey(self, survey: Any) -> None:
        """What is known already without a further look."""

    def _read(self, found: Any) -> None:
        self._reading = False
        self.take_found(found)
        if getattr(found, "wrong", None) is not None:
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
        self.settled()

    def settled(self) -> None:
        """Something has changed; what takes longer than a blink may be asked now."""

    def rest(self) -> None:
        """Nobody looks."""
        for made in self._built.values():
            made.rest()

    def _machine_changed(self) -> None:
        self.plan.set_device(self.context.device_facts)
        self.refresh()

    # the draft --------------------------------------------------------------------------------------------------------

    def _key(self) -> str:
        return f"draft.{self._name}:{self.context.project.dir if self.context.project else ''}"

    def keep(self) -> None:
        """Write down what was chosen: a crash forgets none of it."""
        if self.context.project is not None:
            self.context.remember(self._key(), self.plan.draft())

    def begun(self, goal: str = "") -> bool:
        """Go on as it was left in this project; False where nothing was, or for another goal."""
        kept = self.context.settings.get(self._key()) if self.context.project is not None else None
        if not isinstance(kept, dict) or goal not in ("", kept.get("goal")):
            return False
        self.plan.recall_draft(kept)
        self.reload()
        return True

    def forget(self) -> None:
        """Begin anew next time."""
        if self.context.project is not None:
            self.context.remember(self._key(), None)

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
        self.context.remember(MEASURED, {**(self.context.settings.get(MEASURED) or {}), **self.plan.remembered()})
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
        if self.plan.step in self._shared:
            for (goal, step), made in self._built.items():
                if goal == self.plan.goal and step not in self._shared:
                    made.load()
        self.keep()
        self.refresh()
        self.settled()

    def go(self, step: str) -> None:
        if not self.plan.go(step):
            self._show_problems()
        else:
            self.notes.clear()
            self.keep()
        self.refresh(load=True)
        self.arrived()

    def arrived(self) -> None:
        """Another step is shown."""

    def _back(self) -> None:
        self.plan.back()
        self.keep()
        self.notes.clear()
        self.refresh(load=True)

    def _cancel(self) -> None:
        self.forget()
        self.cancelled.emit()

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
        rest = self.unsaid(self.body().show_problems(self.plan.problems(self.plan.step)))
        if rest:
            self.notes.show_error(FledgeError(rest[0].sentence, rest[0].remedy))

    def unsaid(self, problems: list[Problem]) -> list[Problem]:
        """Those that the body does not say itself."""
        return problems

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
        """What it learns from is being copied into the run."""
        self._starting = on
        self.refresh()

    # showing ----------------------------------------------------------------------------------------------------------

    def waiting_words(self) -> str:
        """What the start waits for; "" for nothing."""
        return ""

    def held(self) -> bool:
        """Whether something on this step forbids going on for now."""
        return False

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
        show_if(self.cancel, place == 0 and self._can_cancel)
        show_if(self.back, place > 0)
        self._show_forward()
        self._enable(not self._starting and plan.models is not None and (not last or plan.ready) and not self.held())

    def _show_forward(self) -> None:
        """What the button does: on the last step that depends on who has the device, which may end at any moment."""
        plan = self.plan
        if plan.following:
            self._device.stop()
            self.forward.set_words(tr("Next: {step}", step=plan.step_title(plan.following).lower()))
            return
        busy = not queue.device_free(self.context.device)
        self.forward.set_words(tr("Preparing") if self._starting else self.waiting_words() or
                               (tr("Queue it") if busy else tr("Start training")))
        if busy and self.isVisible():
            self._device.start()

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
