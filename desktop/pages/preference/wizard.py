"""The wizard that makes pairs: the strip of steps, one body a step, and the draft that is kept of all of it. Decisions are
desktop/models/pair_plan.py's; what a step shows is in bodies.py."""

from pathlib import Path
from typing import Any

from PySide6.QtWidgets import QFileDialog

from desktop.context import AppContext
from desktop.models.model_finder import ModelFinder
from desktop.models.pair_plan import STEPS, PairPlan, PromptSet, step_title
from desktop.pages.preference.bodies import AnswerModelsBody, Body, PairAmountBody, PromptsBody
from desktop.widgets.buttons import Button
from desktop.widgets.draft_wizard import DraftWizard
from desktop.widgets.layout import show_if
from desktop.widgets.page_header import PageHeader
from desktop.widgets.server_dialog import PullDialog, ServerDialog
from engine.contract.errors import FledgeError
from engine.contract.units import number
from engine.contract.words import tr, trn

MAKE = {"prompts": PromptsBody, "models": AnswerModelsBody, "amount": PairAmountBody}


class PairWizard(DraftWizard):
    """Left, its draft stays, until a run was started."""

    draft_name = "preference_draft"
    plan: PairPlan

    def __init__(self, context: AppContext) -> None:
        super().__init__(context, PairPlan(), STEPS, step_title)
        self.finder = ModelFinder(context, self)
        self.finder.found.connect(self._found)
        self.finder.failed.connect(self._not_found)
        self.frame(PageHeader(tr("Make pairs"), tr("Two answers to every prompt, for you to compare.")),
                   Button(self.theme, tr("Start"), on_click=self._start))
        context.survey_changed.connect(self._survey_changed)
        self.restore()

    def _make(self, step: str) -> Body:
        made: Body = MAKE[step](self.context, self.plan)
        if isinstance(made, AnswerModelsBody):
            made.look_wanted.connect(self.look)
            made.add_server_wanted.connect(self.add_server)
            made.add_file_wanted.connect(self.add_file)
            made.pull_wanted.connect(self.get_model)
        return made

    # what there is ----------------------------------------------------------------------------------------------------

    def look_around(self) -> None:
        """Models and sets, as they are now."""
        self.plan.confirmed = self.finder.confirmed
        self.finder.look()
        self.read_sets()
        self._survey_changed()

    def rest(self) -> None:
        """Nobody looks."""
        self.finder.stop()

    def look(self) -> None:
        """Look for models on this machine."""
        if "models" in self._built:
            self._built["models"].places.notes.clear()
        self.finder.look()

    def _found(self) -> None:
        self.plan.places = self.finder.places
        self.plan.confirmed = self.finder.confirmed
        self.plan.suggest()
        if "models" in self._built:
            self._built["models"].load()
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
        self.plan.sets = [PromptSet(s.id, s.title, s.accepted + s.new) for s in sorted(sets, key=lambda s: -s.created)
                          if s.accepted + s.new]
        self.refresh()

    def _survey_changed(self) -> None:
        corpora = self.context.choices("corpus")
        if corpora != self.plan.corpora:
            self.plan.corpora = corpora
            self.refresh()

    # adding -----------------------------------------------------------------------------------------------------------

    def add_server(self) -> None:
        dialog = ServerDialog(self.theme, self)
        dialog.found.connect(self._server_found)
        dialog.open()
        dialog.address.setFocus()

    def _server_found(self, address: str, host: str, models: list[dict[str, Any]]) -> None:
        if host:
            self.plan.confirmed.add(host)
        self.finder.add_server(address, host, models)

    def add_file(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, tr("A GGUF file"), str(Path.home()), tr("GGUF (*.gguf)"))
        if name:
            self.plan.choose("first" if not self.plan.values["first"] else "second", self.finder.add_file(name))
            self._edited()
            self.body("models").load()

    def get_model(self) -> None:
        dialog = PullDialog(self.theme, self)
        dialog.fetched.connect(lambda name: self.finder.look())
        dialog.open()
        dialog.name.setFocus()

    # acting -----------------------------------------------------------------------------------------------------------

    def _cancel(self) -> None:
        self.keep()
        self.cancelled.emit()

    def _start(self) -> None:
        for step in STEPS:
            if self.body(step).problems():
                self.plan.go(step)
                self.refresh()
                self._stopped()
                return
        try:
            spec = self.plan.spec()
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

    def refresh(self) -> None:
        plan, step = self.plan, self.plan.step
        body = self.body(step)
        self._bodies.setCurrentWidget(body)
        body.refresh()
        self.strip.set(step, plan.reachable())
        self._show_flow()
        show_if(self.back, step != STEPS[0])
        show_if(self.now, False)
        self.forward.setEnabled(True)
        self._show_forward()

    def _show_forward(self) -> None:
        plan = self.plan
        self.forward.set_words(tr("Next: {step}", step=step_title(plan.following).lower()) if plan.step != STEPS[-1] else
                               trn("Make {shown} pair", "Make {shown} pairs", plan.count, shown=number(plan.count)))

    def _show_flow(self) -> None:
        self.flow.set(self.plan.goes_in(), self.plan.will_happen(), self.plan.comes_out(), "will")
