"""The corpus wizard: the strip of steps, one body a step, the flow strip, and the draft that is kept of all of it. Every decision is
desktop/models/corpus_plan.py's; what a step shows is in its own file."""

from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFileDialog, QStackedWidget, QWidget

from desktop.context import AppContext
from desktop.models.corpus_plan import STEPS, CorpusPlan, measured_rate, step_title
from desktop.pages.corpus.clean_view import CleanBody
from desktop.pages.corpus.duplicates_view import DuplicatesBody
from desktop.pages.corpus.sources_view import SourcesBody
from desktop.pages.corpus.split_view import SplitBody
from desktop.pages.corpus.wizard_parts import Body
from desktop.pages.corpus.wizard_start import StartBody
from desktop.widgets.buttons import Button
from desktop.widgets.flow_strip import FlowStrip
from desktop.widgets.layout import col, show_if
from desktop.widgets.notes import NoteSlot
from desktop.widgets.page_header import PageHeader
from desktop.widgets.wizard_steps import WizardSteps
from engine.contract.errors import FledgeError
from engine.contract.spec import Problem
from engine.contract.words import tr

FILTER = ("*.txt *.md *.html *.pdf *.docx *.odt *.epub *.rtf *.jsonl *.json *.csv *.tsv *.parquet *.arrow *.warc *.zip *.tar *.gz *.zst "
          "*.bz2 *.xz *.tgz")


class Wizard(QWidget):
    """`start_wanted(spec)` when all is in order; `cancelled` when the person leaves it (the draft is gone then)."""

    start_wanted = Signal(object)
    cancelled = Signal()

    def __init__(self, context: AppContext) -> None:
        super().__init__()
        self.context, self.theme = context, context.theme
        self.plan = CorpusPlan()
        theme = self.theme
        self.header = PageHeader(tr("Corpus"), tr("From a pile of files to training text you can trust."))
        self.back = Button(theme, tr("Back"), on_click=self._back)
        self.cancel = Button(theme, tr("Cancel"), on_click=self._cancel)
        self.now = Button(theme, tr("Start now"), tip=tr("With the settings as they are"), on_click=self._start)
        self.forward = Button(theme, tr("Next"), "primary", on_click=self._forward)
        self.header.set_actions(self.cancel, self.back, self.now, self.forward)
        self.strip = WizardSteps(theme, [(s, step_title(s)) for s in STEPS])
        self.strip.chosen.connect(self.go)
        self.flow = FlowStrip(theme)
        self.notes = NoteSlot(theme)
        self.notes.layout().setContentsMargins(0, 0, 0, 12)
        self._bodies = QStackedWidget()
        self._built: dict[str, Body] = {}
        for _ in STEPS:
            self._bodies.addWidget(QWidget())
        col(self.header, 12, self.strip, 12, self.flow, 12, self.notes, (self._bodies, 1), gap=0, host=self)
        context.survey_changed.connect(self.refresh)
        self.restore()

    # parts ------------------------------------------------------------------------------------------------------------

    def body(self, step: str) -> Body:
        """The widgets of a step, made when it is first shown: all at once would hold the window."""
        if step not in self._built:
            made = self._make(step)
            made.edited.connect(self._edited)
            self._built[step] = made
            place = STEPS.index(step)
            gone = self._bodies.widget(place)
            self._bodies.removeWidget(gone)
            gone.deleteLater()
            self._bodies.insertWidget(place, made)
            made.load()
        return self._built[step]

    def _make(self, step: str) -> Body:
        if step == "sources":
            made = SourcesBody(self.context, self.plan, self.add_files, self.add_folder)
            made.found_changed.connect(self._found)
            return made
        return {"clean": CleanBody, "duplicates": DuplicatesBody, "split": SplitBody, "start": StartBody}[step](self.context, self.plan)

    @property
    def sources(self) -> SourcesBody:
        made = self.body("sources")
        assert isinstance(made, SourcesBody)
        return made

    # the draft --------------------------------------------------------------------------------------------------------

    def _key(self) -> str:
        return f"corpus_draft:{self.context.project.dir if self.context.project else ''}"

    def keep(self) -> None:
        """Write down what was chosen: a crash forgets none of it."""
        if self.context.project:
            self.context.remember(self._key(), self.plan.draft() if self.plan.sources or self.plan.changed() else None)

    def restore(self) -> None:
        """As it was left in this project."""
        self.plan.recall(self.context.settings.get(self._key(), {}) if self.context.project else {})
        self._reload()

    def forget(self) -> None:
        """Begin anew next time."""
        self.plan.recall({})
        self.keep()
        self._reload()

    def take_spec(self, spec: dict[str, Any]) -> None:
        """Begin with the settings of an earlier run."""
        self.plan.take_spec(spec)
        self.keep()
        self._reload()

    def _reload(self) -> None:
        for made in self._built.values():
            made.load()
        self.refresh()

    def rest(self) -> None:
        """Nobody looks."""
        for made in self._built.values():
            if isinstance(made, (SourcesBody, CleanBody)):
                made.rest()

    # acting -----------------------------------------------------------------------------------------------------------

    def add(self, names: list[str]) -> None:
        """Take files and folders in; on a later step only the sources change. On the Split step dropped files are sources too."""
        if self.plan.add(names):
            self.keep()
            self.sources.sources_changed()
        if self.plan.step == "start":
            self.plan.go("sources")
        self.refresh()

    def add_files(self) -> None:
        names, _ = QFileDialog.getOpenFileNames(self, tr("Add files"), "",
                                                tr("Documents, tables and archives ({kinds});;All files (*)", kinds=FILTER))
        if names:
            self.add(names)

    def add_folder(self) -> None:
        name = QFileDialog.getExistingDirectory(self, tr("Add a folder"))
        if name:
            self.add([name])

    def go(self, step: str) -> None:
        if step == self.plan.step:
            self.refresh()
            return
        if STEPS.index(step) > STEPS.index(self.plan.step) and self._stopped():
            self.refresh()
            return
        self.plan.go(step)
        self.keep()
        self.refresh()

    def _forward(self) -> None:
        if self.plan.following:
            self.go(self.plan.following)
        else:
            self._start()

    def _back(self) -> None:
        self.plan.back()
        self.keep()
        self.refresh()

    def _cancel(self) -> None:
        self.forget()
        self.cancelled.emit()

    def _stopped(self) -> bool:
        """Whether something on this step is in the way; it is shown beside its field, or above."""
        body = self.body(self.plan.step)
        wrong = body.problems()
        rest = body.check()
        if rest:
            self.notes.show_error(FledgeError(rest[0].sentence, rest[0].remedy))
        elif not wrong:
            self.notes.clear()
        return bool(wrong)

    def _start(self) -> None:
        if self._stopped():
            return
        wrong: list[Problem] = self.plan.problems()
        if wrong:
            step = next((s for s in STEPS if any(p in wrong for p in self.plan.problems(s))), STEPS[0])
            self.plan.step = step
            self.refresh()
            self._stopped()
            return
        self.start_wanted.emit(self.plan.spec())

    def _edited(self) -> None:
        self.keep()
        self.refresh()

    def _found(self) -> None:
        self.refresh()

    # showing ----------------------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        plan = self.plan
        body = self.body(plan.step)
        self.strip.set(plan.step, plan.reachable())
        self._bodies.setCurrentWidget(body)
        first, last = plan.step == STEPS[0], not plan.following
        show_if(self.cancel, first)
        show_if(self.back, not first)
        show_if(self.now, not last)
        usable = bool(plan.sources) and (plan.ready or (plan.found is None and not first))
        self.now.setEnabled(usable)
        self.forward.setEnabled(usable)
        self.forward.set_words(tr("Start") if last else tr("Next: {step}", step=step_title(plan.following).lower()))
        survey = self.context.survey
        rate = measured_rate(survey.of_kind("corpus") if survey else [], self.context.settings.get("corpus_rate"))
        self.flow.set(plan.goes_in(), plan.happens(rate), plan.comes_out(), "will")
        if isinstance(body, StartBody):
            body.rate = rate
        if plan.found is None and plan.sources:
            self.sources.look()  # after a restart on a later step, the files are looked at all the same
        if not isinstance(body, SourcesBody):
            body.refresh()
        if isinstance(body, CleanBody):
            body.try_out(self.sources.question())
