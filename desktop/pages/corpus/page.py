"""The Corpus page: which of its views is on the screen, and what its buttons do. The views themselves: sources_view.py, result_view.py."""

from pathlib import Path
from typing import Any

from PySide6.QtCore import QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import QFileDialog

from desktop.context import AppContext
from desktop.jobs.stage_run import StageRun
from desktop.pages.corpus.result_view import ResultView, documents_of
from desktop.pages.corpus.sources_view import SourcesView
from desktop.widgets.buttons import Button
from desktop.widgets.empty_state import EmptyState
from desktop.widgets.flow_strip import FlowStrip
from desktop.widgets.layout import Item, clear, col, fill
from desktop.widgets.notes import NoteSlot
from desktop.widgets.page import Page
from desktop.widgets.page_header import PageHeader
from desktop.widgets.short_run import LIVE, ShortRun
from engine.contract import units
from engine.contract.errors import FledgeError
from engine.contract.words import tr, trn
from engine.project.artifacts import Artifact

FILTER = "*.txt *.text *.md *.markdown *.jsonl *.ndjson *.csv *.tsv *.parquet"
NOTHING = (tr("Nothing yet"), tr("a corpus with a part kept for validation"))


class CorpusPage(Page):
    """Views: empty, sources (what would be imported), running, result."""

    def __init__(self, context: AppContext) -> None:
        super().__init__(context)
        theme = self.theme
        self.setAcceptDrops(True)
        self._run = StageRun(self)
        self._view, self._seen, self._shown, self._awaited = "", "", "", ""
        self._header = PageHeader(tr("Corpus"), tr("From a pile of files to training text."))
        self._flow = FlowStrip(theme)
        self._notes = NoteSlot(theme)
        self._body = col(gap=12)
        self._sources = SourcesView(context, self._add_files, self._add_folder)
        self._sources.changed.connect(self._sources_changed)
        self._result = ResultView(context)
        self._keep = col(self._sources, self._result)
        self._keep.hide()
        self.set_body(self._header, 14, self._flow, 12, self._notes, (self._body, 1))
        self._import: Button | None = None
        context.survey_changed.connect(self._refresh)
        self._run.changed.connect(self._refresh)

    def opened(self, **args: Any) -> None:
        project = self.context.project
        if project is None:
            return
        if args.get("run"):
            self._run.show(project, str(args["run"]))
            made = self._run.follower.state.artifacts if self._run.follower else []
            self._shown = made[-1] if made else ""
        if args.get("artifact"):
            self._shown = str(args["artifact"])
        if args.get("add"):
            self._sources.add([str(s) for s in args["add"]])
            self._show("sources")
        self._refresh()

    # which view -------------------------------------------------------------------------------------------------------

    def _refresh(self) -> None:
        """Follow what the project does: a run under way is shown, one that ended gives its result."""
        survey, project = self.context.survey, self.context.project
        if survey is None or project is None:
            return
        live = next((r for r in survey.of_stage("corpus") if r.status in LIVE and r.status != "created"), None)
        if live and live.id != self._seen and self._view != "running":
            self._run.show(project, live.id)
        if self._run.follower and self._run.follower.status in LIVE and self._run.run_id != self._seen:
            self._show("running")
        elif self._awaited:  # the run is over; the next look at the folder will find what it made
            if any(a.id == self._awaited for a in survey.artifacts):
                self._awaited = ""
                self._show("result")
        elif self._view in ("", "empty", "result"):
            corpora = survey.of_kind("corpus")
            self._show("result" if corpora else "sources" if self._sources.sources else "empty")

    def _show(self, view: str) -> None:
        self._view = view
        self._header.set_actions(*self._actions(view))
        box = self._body.layout()
        for kept in (self._sources, self._result):
            kept.setParent(self._keep)
        clear(box)
        fill(box, self._parts(view), 12)

    def _actions(self, view: str) -> list[Button]:
        theme, self._import = self.theme, None
        if view == "sources":
            self._import = Button(theme, tr("Import"), "primary", on_click=self._start)
            return [Button(theme, tr("Cancel"), on_click=self._leave_sources), self._import]
        if view == "result":
            return [Button(theme, tr("Import more text"), icon="plus", on_click=lambda: self._show("sources")),
                    Button(theme, tr("Train a tokenizer"), "primary", on_click=lambda: self.context.navigate("tokenizer"))]
        return []

    def _parts(self, view: str) -> tuple[Item, ...]:
        if view == "running":
            assert self._run.follower and self._run.process
            shown = ShortRun(self.theme, self._run.follower, self._run.process, tr("Importing"))
            shown.ended.connect(self._ended)
            self._flow.set(goes_in=self._goes_in(self._run.follower.run.spec.get("sources", ())),
                           happens=(tr("Read, split, write"), tr("goes on without this window")), came_out=NOTHING, tense="is")
            return (shown, "+")
        if view == "sources":
            self._sources.show()
            self._sources_changed()
            return ((self._sources, 1),)
        if view == "result":
            return ((self._result, 1),) if self._fill_result() else ()
        self._flow.set(goes_in=(tr("Nothing yet"), tr("text, JSON Lines, CSV, Parquet")),
                       happens=(tr("Read, split, count"), tr("your files stay as they are")), came_out=NOTHING, tense="will")
        return ((self._empty(), 1),)

    def _empty(self) -> EmptyState:
        return EmptyState(self.theme, tr("No text yet"),
            tr("A model learns from text: stories, articles, letters, code. A few megabytes are enough to see it learn; more teaches it "
               "more. Drop files or folders anywhere on this page."),
            Button(self.theme, tr("Add a folder"), "primary", icon="folder", on_click=self._add_folder),
            Button(self.theme, tr("Add files"), on_click=self._add_files),
            steps=[(tr("Text"), tr("stays on this machine"), False), (tr("A tokenizer"), tr("cuts text into tokens"), False),
                   (tr("A model"), tr("learns to continue the text"), False)])

    def _goes_in(self, sources: Any) -> tuple[str, str]:
        names = [Path(s).name for s in sources]
        return (trn("{count} source", "{count} sources", len(names)), ", ".join(names[:3]) + (" …" if len(names) > 3 else ""))

    def _fill_result(self) -> bool:
        survey = self.context.survey
        corpora = survey.of_kind("corpus") if survey else []
        if not corpora:
            return False
        made: Artifact = next((a for a in corpora if a.id == self._shown), corpora[0])
        self._result.load(made, corpora, self._choose)
        self._result.show()
        facts, train = made.facts, made.facts.get("splits", {})
        kept = train.get("validation", {}).get("bytes", 0)
        self._flow.set(goes_in=(trn("{count} file", "{count} files", int(facts.get("files", 0))), units.size(sum(
            s.get("size", 0) for s in facts.get("sources", [])) or facts.get("bytes", 0))),
            happens=(tr("Read, split, write"), tr("{size} kept for validation", size=units.size(kept))),
            came_out=(made.title, trn("{count} document, about {tokens} tokens", "{count} documents, about {tokens} tokens",
                                      documents_of(made), tokens=units.count(facts.get("tokens_estimate", 0)))), tense="did")
        return True

    def _choose(self, id: str) -> None:
        self._shown = id
        self._fill_result()

    def left(self) -> None:
        self._sources.rest()
        self._result.rest()

    # what the person does ---------------------------------------------------------------------------------------------

    def _add_files(self) -> None:
        names, _ = QFileDialog.getOpenFileNames(self, tr("Add files"), "", tr("Text and tables ({kinds});;All files (*)", kinds=FILTER))
        self._take(names)

    def _add_folder(self) -> None:
        name = QFileDialog.getExistingDirectory(self, tr("Add a folder"))
        self._take([name] if name else [])

    def _take(self, names: list[str]) -> None:
        if names and self._view != "running":
            self._notes.clear()
            self._sources.add(names)
            if self._view != "sources":
                self._show("sources")

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if event.mimeData().hasUrls() and self._view != "running":
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        self._take([QUrl(u).toLocalFile() for u in event.mimeData().urls() if QUrl(u).isLocalFile()])
        event.acceptProposedAction()

    def _sources_changed(self) -> None:
        if self._view != "sources" or self._import is None:
            return
        found = self._sources
        self._import.setEnabled(found.ready)
        self._flow.set(goes_in=found.fact(), happens=(tr("Read, split, count"), found.validation_words()), came_out=NOTHING, tense="will")

    def _leave_sources(self) -> None:
        self._sources.forget()
        self._notes.clear()
        self._view = ""
        self._refresh()

    def _start(self) -> None:
        project = self.context.project
        spec = self._sources.spec()
        if project is None or spec is None:
            return
        self._notes.clear()
        try:
            self._seen = ""
            self._run.start(project, spec)
        except FledgeError as wrong:
            self._notes.show_error(wrong)
            return
        self.context.look()

    def _ended(self, status: str) -> None:
        follower = self._run.follower
        if follower is None:
            return
        self._seen, trouble = follower.run.id, self._run.trouble()
        self.context.look()
        if trouble is None:
            self._shown = self._awaited = follower.state.artifacts[-1] if follower.state.artifacts else ""
            self._sources.forget()
            self._refresh()
            return
        self._show("sources")
        self._notes.show_error(trouble, title=tr("The import made nothing"))
