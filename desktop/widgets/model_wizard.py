"""A wizard whose run asks local models: it looks for them, takes servers and files that the person adds, and starts when nothing is in the
way. What its steps show is its bodies'; every decision is its plan's."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtWidgets import QFileDialog, QWidget

from desktop.models.model_finder import ModelFinder
from desktop.models.model_plan import ModelPlan
from desktop.widgets.buttons import Button
from desktop.widgets.draft_wizard import DraftWizard
from desktop.widgets.layout import show_if
from desktop.widgets.model_places import ModelPlaces
from desktop.widgets.page_header import PageHeader
from desktop.widgets.server_dialog import PullDialog, ServerDialog
from engine.contract.errors import FledgeError
from engine.contract.spec import Spec
from engine.contract.words import tr

if TYPE_CHECKING:
    from desktop.context import AppContext


class ModelWizard(DraftWizard):
    """Left, its draft stays, until a run was started.

    The body of the step "models" has `places`, a ModelPlaces. A subclass gives `make_body(step)`, `spec()`, `file_role()`,
    `_sets_read(sets)` (those of examples) and `_show_forward()`. `now` is what the button says that starts before the last step.
    """

    plan: ModelPlan

    def __init__(self, context: "AppContext", plan: ModelPlan, title_of: Callable[[str], str], *, title: str, sentence: str,
                 now: str) -> None:
        super().__init__(context, plan, plan.STEPS, title_of)
        self.finder = ModelFinder(context, self)
        self.finder.found.connect(self._found)
        self.finder.failed.connect(self._not_found)
        self.frame(PageHeader(title, sentence), Button(self.theme, now, on_click=self._start))
        context.survey_changed.connect(self._survey_changed)
        self.restore()

    # parts ------------------------------------------------------------------------------------------------------------

    def make_body(self, step: str) -> QWidget:
        raise NotImplementedError

    def _make(self, step: str) -> QWidget:
        made = self.make_body(step)
        if step == "models":
            places: ModelPlaces = made.places  # type: ignore[attr-defined]
            places.look_wanted.connect(self.look)
            places.add_server_wanted.connect(self.add_server)
            places.add_file_wanted.connect(self.add_file)
            places.pull_wanted.connect(self.get_model)
        return made

    def _reload_body(self, step: str) -> None:
        if step in self._built:
            self._built[step].load()

    def restore(self) -> None:
        self.plan.confirmed = self.finder.confirmed
        super().restore()

    # what there is ----------------------------------------------------------------------------------------------------

    def rest(self) -> None:
        """Nobody looks."""
        self.finder.stop()

    def look(self) -> None:
        """Look for models on this machine."""
        if "models" in self._built:
            self._built["models"].places.notes.clear()
        self.finder.look()

    def _found(self) -> None:
        self.plan.places, self.plan.confirmed = self.finder.places, self.finder.confirmed
        self.plan.suggest()
        self._reload_body("models")
        self.refresh()

    def _not_found(self, wrong: FledgeError) -> None:
        self.plan.places = self.finder.places
        self.body("models").places.show_error(wrong)
        self.refresh()

    def read_sets(self) -> None:
        project = self.context.project
        if project is not None:
            self.context.jobs.run(lambda: project.library.examples.sets(), then=self._sets_read, owner=self)

    def _sets_read(self, sets: list[Any]) -> None:
        raise NotImplementedError

    def _survey_changed(self) -> None:
        corpora = self.context.choices("corpus")
        if corpora != self.plan.corpora:
            self.plan.take_corpora(corpora)
            self.refresh()

    # adding -----------------------------------------------------------------------------------------------------------

    def add_server(self) -> None:
        dialog = ServerDialog(self.theme, self)
        dialog.found.connect(self.server_found)
        dialog.open()
        dialog.address.setFocus()

    def server_found(self, address: str, host: str, models: list[dict[str, Any]]) -> None:
        """A server that the person typed answered: it is kept among the places."""
        if host:
            self.plan.confirmed.add(host)
        self.finder.add_server(address, host, models)

    def add_file(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, tr("A GGUF file"), str(Path.home()), tr("GGUF (*.gguf)"))
        if name:
            self.plan.choose(self.file_role(), self.finder.add_file(name))
            self._edited()
            self._reload_body("models")

    def file_role(self) -> str:
        """The role of a file that the person chooses."""
        raise NotImplementedError

    def get_model(self) -> None:
        dialog = PullDialog(self.theme, self)
        dialog.fetched.connect(self._fetched)
        dialog.open()
        dialog.name.setFocus()

    def _fetched(self, name: str) -> None:
        self.look()

    # acting -----------------------------------------------------------------------------------------------------------

    def _cancel(self) -> None:
        self.keep()
        self.cancelled.emit()

    def _in_the_way(self) -> bool:
        """Go to the first step where something is wrong, and show it there."""
        for step in self._steps:
            if self.body(step).problems():
                self.plan.go(step)
                self.refresh()
                self._stopped()
                return True
        return False

    def spec(self) -> Spec:
        """Of the run that would start now. Raises SettingError."""
        raise NotImplementedError

    def _start(self) -> None:
        if self._in_the_way():
            return
        try:
            spec = self.spec()
        except FledgeError as wrong:
            self.notes.show_error(wrong)
            return
        self.keep()
        self.start_wanted.emit(spec)

    def _edited(self) -> None:
        self.keep()
        self._show_flow()
        self._show_forward()
        self.strip.set(self.plan.step, self.plan.reachable())

    # showing ----------------------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        plan, step = self.plan, self.plan.step
        body = self.body(step)
        self._bodies.setCurrentWidget(body)
        body.refresh()
        self.strip.set(step, plan.reachable())
        self._show_flow()
        show_if(self.back, step != self._steps[0])
        self._show_forward()

    def _show_forward(self) -> None:
        """What the buttons forward say and whether they are there."""
        raise NotImplementedError

    def _show_flow(self) -> None:
        self.flow.set(self.plan.goes_in(), self.plan.will_happen(), self.plan.comes_out(), "will")
