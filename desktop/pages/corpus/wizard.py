"""The corpus wizard: the strip of steps, one body a step, the flow strip, and the draft that is kept of all of it. Every decision is
desktop/models/corpus_plan.py's; what a step shows is in its own file."""


from PySide6.QtWidgets import QFileDialog, QWidget

from desktop.context import AppContext
from desktop.models.corpus_plan import STEPS, CorpusPlan, measured_rate, step_title
from desktop.pages.corpus.clean_view import CleanBody
from desktop.pages.corpus.duplicates_view import DuplicatesBody
from desktop.pages.corpus.sources_view import SourcesBody
from desktop.pages.corpus.split_view import SplitBody
from desktop.pages.corpus.wizard_start import StartBody
from desktop.widgets.buttons import Button
from desktop.widgets.draft_wizard import DraftWizard
from desktop.widgets.layout import show_if
from desktop.widgets.page_header import PageHeader
from engine.contract.spec import Problem
from engine.contract.words import tr

FILTER = ("*.txt *.md *.html *.pdf *.docx *.odt *.epub *.rtf *.jsonl *.json *.csv *.tsv *.parquet *.arrow *.warc *.zip *.tar *.gz *.zst "
          "*.bz2 *.xz *.tgz")


class Wizard(DraftWizard):
    """Left, its draft is gone."""

    draft_name = "corpus_draft"
    plan: CorpusPlan

    def __init__(self, context: AppContext) -> None:
        super().__init__(context, CorpusPlan(), STEPS, step_title)
        self.frame(PageHeader(tr("Corpus"), tr("From a pile of files to training text you can trust.")),
                   Button(self.theme, tr("Start now"), tip=tr("With the settings as they are"), on_click=self._start))
        context.survey_changed.connect(self.refresh)
        self.restore()

    # parts ------------------------------------------------------------------------------------------------------------

    def _make(self, step: str) -> QWidget:
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
