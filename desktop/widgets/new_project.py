"""The New-project wizard: a thin layer of widgets over desktop/models/new_project.py, which decides everything."""

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QDialog, QFileDialog, QStackedWidget, QWidget

from desktop.jobs.demo import DemoStart
from desktop.models.new_project import DEMO, STEPS, TEXT, NewProject
from desktop.widgets.buttons import Button
from desktop.widgets.choice_card import ChoiceCard, side_by_side
from desktop.widgets.fields import TextField, Tick, set_wrong
from desktop.widgets.layout import col, row, show_if
from desktop.widgets.machine_panel import MachineParts
from desktop.widgets.notes import Note, NoteSlot
from desktop.widgets.panel import Panel, heading
from desktop.widgets.step_strip import StepStrip
from desktop.widgets.text import Text, small
from engine.contract.errors import FledgeError
from engine.contract.words import tr
from engine.project import launch

if TYPE_CHECKING:
    from desktop.context import AppContext


class NewProjectDialog(QDialog):
    """`made`: the project is open in the context."""

    made = Signal()

    def __init__(self, context: "AppContext", parent: QWidget | None = None, start: str = TEXT) -> None:
        super().__init__(parent)
        self.context, theme = context, context.theme
        here = context.project.dir.parent if context.project is not None else None
        self.draft = NewProject(start=start, **({"parent": here} if here else {}))
        self._demo: DemoStart | None = None
        self.setWindowTitle(tr("New project"))
        self.setFixedWidth(theme.px(640))

        self._strip = StepStrip(theme, (tr("Starting point"), tr("Name and folder"), tr("This machine")))
        self._pages = QStackedWidget()
        for build in (self._start_page, self._place_page, self._machine_page):
            self._pages.addWidget(build())
        self._notes = NoteSlot(theme)
        self._back = Button(theme, tr("Back"), on_click=self._go_back)
        self._cancel = Button(theme, tr("Cancel"), on_click=self.reject)
        self._next = Button(theme, tr("Next"), "primary", on_click=self._go_on)
        self._next.setDefault(True)
        col(Text(tr("New project"), "title"), 6, self._strip, 14, (self._pages, 1), 12, self._notes, 4,
            row(self._cancel, "+", self._back, self._next), gap=0, pad=(24, 20, 24, 20), host=self)
        context.machine_changed.connect(self._show_machine)
        context.probe.busy_changed.connect(self._show_machine)
        context.probe.refused.connect(self._probe_refused)
        self._choose(start)
        self._show()

    # the steps --------------------------------------------------------------------------------------------------------

    def _start_page(self) -> QWidget:
        theme = self.context.theme
        self.own = ChoiceCard(theme, "file", tr("My own text"),
                              tr("Books, notes, articles: any folder of text becomes what the model knows."),
                              tr("A few megabytes are enough to begin; 100\u00a0kB to play."))
        self.demo = ChoiceCard(theme, "play", tr("Guided tour"), tr("A small generated world of people, places and sums. All stages run by "
                               "themselves, and you look on."), tr("Made on this machine and labelled as generated. 5 to 10 minutes."))
        self.own.clicked.connect(lambda: self._choose(TEXT))
        self.demo.clicked.connect(lambda: self._choose(DEMO))
        self._quick = Tick(theme, tr("Quick: a smaller world and model, about 3 minutes"))
        self._quick.changed.connect(self._edited)
        return col(side_by_side(self.own, self.demo), self._quick, "+", gap=12)

    def _place_page(self) -> QWidget:
        theme = self.context.theme
        self.name = TextField(name=tr("Name"), placeholder=self.draft.shown_name)
        self.folder = TextField(name=tr("Folder"))
        self.name.changed.connect(self._edited)
        self.folder.changed.connect(self._folder_edited)
        self._problem = small(tone="danger", wrap=True)
        self._warning = small(tone="warn", wrap=True)
        choose = Button(theme, tr("Choose…"), icon="folder", on_click=self._choose_folder)
        return col(Text(tr("Name"), "medium"), self.name, small(tr("How the project is called. It can hold many models.")), 12,
                   Text(tr("Folder"), "medium"), row((self.folder, 1), choose),
                   small(tr("Everything lies in this one folder: text, models, runs. Move it or copy it as you like.")), self._problem,
                   self._warning, "+", gap=4)

    def _machine_page(self) -> QWidget:
        theme = self.context.theme
        self._measure = Button(theme, tr("Measure"), "quiet", on_click=lambda: self.context.probe.ask(measure=True))
        self._parts = MachineParts(theme)
        self._ready = small(wrap=True)
        found = Panel(heading(tr("What was found"), "", self._measure), self._parts, pad=(16, 8, 16, 16), gap=14)
        return col(found, 4, self._ready, "+", gap=8)

    # what happens -----------------------------------------------------------------------------------------------------

    def _choose(self, start: str) -> None:
        self.draft.start = start
        self.own.set_chosen(start == TEXT)
        self.demo.set_chosen(start == DEMO)
        show_if(self._quick, start == DEMO)
        self._show()

    def _edited(self) -> None:
        self.draft.name, self.draft.quick = self.name.value(), self._quick.value()
        self._show()

    def _folder_edited(self) -> None:
        self.draft.set_folder(self.folder.value())
        self._show()

    def _choose_folder(self) -> None:
        near = next(p for p in (self.draft.folder, *self.draft.folder.parents) if p.is_dir())
        chosen = QFileDialog.getExistingDirectory(self, tr("Folder of the new project"), str(near))
        if chosen:
            path = Path(chosen)
            self.draft.set_folder(str(path if not any(path.iterdir()) else path / self.draft.folder.name))
            self.folder.set(str(self.draft.folder))
            self._show()

    def _go_on(self) -> None:
        if self.draft.last:
            self._make()
        elif self.draft.next():
            if self.draft.step == "machine" and self.context.machine is None:
                self.context.probe.ask()
            self._show()
            (self.name if self.draft.step == "place" else self._next).setFocus()  # Enter goes on, whatever button stands first

    def _go_back(self) -> None:
        self.draft.back()
        self._notes.clear()
        self._show()

    def _show(self) -> None:
        draft = self.draft
        self._strip.set(draft.number)
        self._pages.setCurrentIndex(draft.number)
        self.name.setPlaceholderText(draft.shown_name)
        if not draft.chosen_by_hand and not self.folder.hasFocus():
            self.folder.set(str(draft.folder))
        problems = draft.problems()
        words = f"{problems[0].sentence} {problems[0].remedy}" if problems else ""
        self._problem.set(words)
        show_if(self._problem, bool(words))
        set_wrong(self.folder, bool(words))
        warning = draft.warning() if draft.step == "place" else ""
        self._warning.set(warning)
        show_if(self._warning, bool(warning))
        self._next.setEnabled(not problems and self._demo is None)
        last = tr("Start the tour") if draft.start == DEMO else tr("Create project")
        self._next.set_words(last if draft.last else tr("Next"))
        show_if(self._back, draft.step != STEPS[0])
        if draft.step == "machine":
            self._show_machine()

    def _show_machine(self) -> None:
        busy, facts = self.context.probe.busy, self.context.machine
        self._parts.set(facts, self.draft.folder)
        self._measure.setEnabled(not busy)
        self._measure.set_words(tr("Looking…") if busy else tr("Measure"))
        best = facts.devices[0] if facts is not None and facts.devices else None
        self._ready.set(tr("Training will use {device} unless you choose otherwise.", device=best.title) if best is not None else
                        tr("Training works on any machine; a graphics card makes it faster."))

    def _probe_refused(self, said: str) -> None:
        self._notes.show_note(Note(self.context.theme, "warn", tr("The devices could not be looked at"),
                                   tr("The engine's Python said: {said}", said=said or tr("nothing"))))

    def _make(self) -> None:
        if self.draft.start == DEMO:
            self._next.setEnabled(False)
            self._next.set_words(tr("Starting…"))
            self._demo = DemoStart(self.draft.folder, self.draft.demo_command(), self)
            self._demo.ready.connect(self._demo_ready)
            self._demo.refused.connect(self._demo_refused)
            return
        try:
            self.context.open_project(self.draft.create().dir)
        except FledgeError as wrong:
            self._notes.show_error(wrong)
            return
        self.accept()
        self.made.emit()

    def _demo_ready(self, folder: str) -> None:
        try:
            self.context.open_project(folder)
        except FledgeError as wrong:
            self._notes.show_error(wrong)
            return
        self.accept()
        self.made.emit()

    def _demo_refused(self, said: str) -> None:
        self._demo = None
        self._show()
        self._notes.show_note(Note(self.context.theme, "danger", tr("The tour could not start"),
                                   said or tr("{python} said nothing.", python=launch.interpreter())))
