"""The Corpus page: which of its views is on the screen, and what its buttons do. The views: the empty page, wizard.py, running_view.py,
report_view.py and the browser."""

from typing import Any

from PySide6.QtCore import QTimer, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import QFileDialog, QWidget

from desktop.context import AppContext
from desktop.jobs.stage_run import StageRun
from desktop.models.corpus_report import Report
from desktop.pages.corpus.export import Exports
from desktop.pages.corpus.page_parts import DecisionBar, empty_state
from desktop.pages.corpus.report_view import BROWSER, ReportView, when_loaded
from desktop.pages.corpus.running_view import RunningView
from desktop.pages.corpus.wizard import FILTER, Wizard
from desktop.widgets.buttons import Button
from desktop.widgets.fields import Choice
from desktop.widgets.flow_strip import FlowStrip
from desktop.widgets.layout import Item, clear, col, fixed, show_if
from desktop.widgets.notes import NoteSlot
from desktop.widgets.page_header import PageHeader
from desktop.widgets.run_page import RunPage
from desktop.widgets.run_panel import clock
from desktop.widgets.short_run import LIVE
from engine.contract.words import tr, trn
from engine.project.artifacts import Artifact
from engine.project.runs import RESUMABLE
from engine.stages.corpus.spec import CorpusSpec

SENTENCE = tr("From a pile of files to training text you can trust.")
NOTHING = (tr("Nothing yet"), tr("a corpus with a part kept for validation"))
RESUME_MS = 15_000
HEADED = ("empty", "running", "report")


class CorpusPage(RunPage):
    """Views: empty, wizard, running (also a run that ended without a corpus), report, browser."""

    def __init__(self, context: AppContext) -> None:
        super().__init__(context)
        theme = self.theme
        self.setAcceptDrops(True)
        self._run = StageRun(self)
        self._view, self._seen, self._shown, self._awaited = "", "", "", ""
        self._header = PageHeader(tr("Corpus"), SENTENCE)
        self._flow = FlowStrip(theme)
        self._notes, self._export_notes = NoteSlot(theme), NoteSlot(theme)
        for slot in (self._notes, self._export_notes):
            slot.layout().setContentsMargins(0, 0, 0, 12)
        self._bar = DecisionBar(context, self._notes, self, shown=lambda: self._made() if self._view == "report" else None,
                                apply=self.apply_decisions, look=lambda: self.open_browser({"decided": True}))
        self._resuming = False
        self._which: Choice | None = None
        self.wizard: Wizard | None = None
        self.report: ReportView | None = None
        self.running: RunningView | None = None
        self.browser: Any = None
        self._exports = Exports(context, self, self._export_notes, lambda: self.report.report if self.report else None)
        self._empty = empty_state(theme, self._add_folder, self._add_files)
        self._head = col(self._header, 14, self._flow, 12, self._notes, self._export_notes, gap=0)
        self._places = {view: col(gap=0) for view in ("empty", "wizard", "running", "report", "browser")}
        self._places["empty"].layout().addWidget(self._empty)
        self.set_body(self._head, *((place, 1) for place in self._places.values()))
        for place in self._places.values():
            place.hide()
        context.survey_changed.connect(self._refresh)
        self._run.changed.connect(self._refresh)

    # coming and going -------------------------------------------------------------------------------------------------

    def opened(self, **args: Any) -> None:
        project = self.context.project
        if project is None:
            return
        if args.get("run"):
            self._run.show(project, str(args["run"]))
            made = self._run.follower.state.artifacts if self._run.follower else []
            if made:
                self._shown = made[-1]
            elif self._run.follower and self._run.follower.status not in LIVE:
                self._seen = ""
                self._show("running")
        if args.get("artifact"):
            self._shown = str(args["artifact"])
            self._show("report")
        if args.get("add"):
            self.take([str(s) for s in args["add"]])
        self._refresh()

    def left(self) -> None:
        if self.wizard is not None:
            self.wizard.rest()
        if self.report is not None:
            self.report.rest()
        if self.browser is not None:
            self.browser.rest()

    # which view -------------------------------------------------------------------------------------------------------

    def _refresh(self) -> None:
        """Follow what the project does: a run under way is shown, one that ended gives its report."""
        survey, project = self.context.survey, self.context.project
        if survey is None or project is None:
            return
        runs = survey.of_stage("corpus")
        live = next((r for r in runs if r.status in LIVE and r.status != "created"), None)
        if live and live.id != self._seen and self._view != "running":
            self._run.show(project, live.id)
        follower = self._run.follower
        if follower and follower.status in LIVE and self._run.run_id != self._seen:
            self._show("running")
        elif self._awaited:  # the run is over; the next look at the folder will find what it made
            if any(a.id == self._awaited for a in survey.artifacts):
                self._awaited = ""
                self._show("report")
        elif self._view in ("", "empty", "report"):
            corpora = survey.of_kind("corpus")
            broken = runs[0] if runs and runs[0].status in RESUMABLE and (not corpora or runs[0].created > corpora[0].created) else None
            if self._view == "" and broken is not None and broken.id != self._seen:
                self._run.show(project, broken.id)
                self._show("running")
            else:
                self._show("report" if corpora else "wizard" if self._has_draft() else "empty")

    def _has_draft(self) -> bool:
        key = f"corpus_draft:{self.context.project.dir if self.context.project else ''}"
        kept = self.context.settings.get(key, None)
        return bool(isinstance(kept, dict) and kept.get("sources"))

    def _show(self, view: str) -> None:
        fresh, self._view = view != self._view, view
        if view == "running" and (self.running is None or self.running.run.follower is not self._run.follower or
                                  self.running.short.follower is not self._run.follower):
            self._build_running()
            fresh = True
        if view == "report" and not self._fill_report():
            view = self._view = "empty"
        if view == "wizard":
            self._build_wizard()
        if fresh:
            if view != "wizard" and self.wizard is not None:
                self.wizard.rest()
            if view != "report":
                self._which = None
            self._header.set_actions(*self._actions(view))
            self._header.set(tr("Corpus"), SENTENCE)
            self.scroll.verticalScrollBar().setValue(0)
        show_if(self._head, view in HEADED)
        for name, place in self._places.items():
            show_if(place, name == view)
        if view == "empty":
            self._flow.set(goes_in=(tr("Nothing yet"), tr("documents, tables, code, archives")),
                           happens=(tr("Clean, deduplicate, split"), tr("your files stay as they are")), came_out=NOTHING, tense="will")
        elif view == "running":
            self._show_running()

    def _put(self, view: str, widget: QWidget) -> None:
        box = self._places[view].layout()
        clear(box)
        box.addWidget(widget)

    def _actions(self, view: str) -> list[Item]:
        theme = self.theme
        if view != "report":
            return []
        survey = self.context.survey
        corpora = survey.of_kind("corpus") if survey else []
        self._which = Choice(theme, [], "", name=tr("Corpus"))
        self._which.changed.connect(lambda: self._choose(str(self._which.value()) if self._which else ""))
        several = fixed(self._which, theme.px(184)) if len(corpora) > 1 else None
        has_tokenizer = bool(survey and survey.of_kind("tokenizer"))
        way_on = Button(theme, tr("Use in pretraining"), "primary", on_click=lambda: self.context.navigate("pretrain")) if has_tokenizer \
            else Button(theme, tr("Train a tokenizer"), "primary", on_click=lambda: self.context.navigate("tokenizer"))
        if several is None:
            self._which = None
        self._fill_which(self._shown, corpora)
        return [several, self._exports.button(), Button(theme, tr("Add sources"), on_click=self._add_sources), way_on]

    # the wizard -------------------------------------------------------------------------------------------------------

    def _build_wizard(self) -> Wizard:
        if self.wizard is None:
            self.wizard = Wizard(self.context)
            self.wizard.start_wanted.connect(self._start)
            self.wizard.cancelled.connect(self._leave_wizard)
            self._put("wizard", self.wizard)
        return self.wizard

    def _add_files(self) -> None:
        names, _ = QFileDialog.getOpenFileNames(self, tr("Add files"), "",
                                                tr("Documents, tables and archives ({kinds});;All files (*)", kinds=FILTER))
        self.take(names)

    def _add_folder(self) -> None:
        name = QFileDialog.getExistingDirectory(self, tr("Add a folder"))
        self.take([name] if name else [])

    def _add_sources(self) -> None:
        """The wizard again, with the sources and settings of the corpus on the screen."""
        made = self._made()
        wizard = self._build_wizard()
        if made is not None and not wizard.plan.sources:
            wizard.take_spec(made.spec)
        self._show("wizard")

    def take(self, names: list[str]) -> None:
        """Files, folders and archives that were dropped or chosen."""
        if names and self._view != "running":
            self._notes.clear()
            wizard = self._build_wizard()
            wizard.add(names)
            self._show("wizard")

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if event.mimeData().hasUrls() and self._view != "running":
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        self.take([QUrl(u).toLocalFile() for u in event.mimeData().urls() if QUrl(u).isLocalFile()])
        event.acceptProposedAction()

    def _leave_wizard(self) -> None:
        self._notes.clear()
        self._view = ""
        self._seen = self._newest_run()
        self._refresh()

    def _newest_run(self) -> str:
        runs = self.context.survey.of_stage("corpus") if self.context.survey else []
        return runs[0].id if runs else ""

    def _start(self, spec: CorpusSpec) -> None:
        if self.launch(lambda: spec, self.wizard.notes if self.wizard is not None and self._view == "wizard" else None):
            self._show("running")

    # the run ----------------------------------------------------------------------------------------------------------

    def _build_running(self) -> None:
        self.running = RunningView(self.context, self._run)
        self.running.ended.connect(self._ended)
        self._put("running", self.running)

    def _show_running(self) -> None:
        follower = self._run.follower
        if follower is None:
            return
        run = follower.run
        status = follower.status
        live = status in LIVE
        words = tr("Run {number}, started {time}. It goes on when this window is closed.", number=run.number, time=clock(run.created)) \
            if live else tr("Run {number}, started {time}.", number=run.number, time=clock(run.created))
        self._header.set(tr("Corpus"), words)
        names = [str(s).rpartition("/")[2] for s in run.spec.get("sources", ())]
        goes_in = (trn("{count} source", "{count} sources", len(names)), ", ".join(names[:3]) + (" …" if len(names) > 3 else ""))
        if run.spec.get("base"):
            goes_in = (str(run.spec["base"]), tr("with your decisions"))
        self._flow.set(goes_in=goes_in, happens=(tr("Clean, deduplicate, split"), tr("goes on without this window") if live else
                                                 tr("ended before there was a corpus")), came_out=NOTHING, tense="is" if live else "did")
        if not live and status != "done" and not follower.loading:
            self._show_trouble(status)

    def _show_trouble(self, status: str) -> None:
        trouble = self._run.trouble()
        if trouble is None or self.running is None or self.running.trouble.note is not None:
            return
        corpora = self.context.survey.of_kind("corpus") if self.context.survey else []
        self.running.show_trouble(trouble, status, self._resume, self._change, self._to_report if corpora else None)

    def _resume(self) -> None:
        assert self._run.process is not None and self._run.follower is not None and self.running is not None
        self._seen = ""
        self.running.trouble.clear()
        self._resuming = True
        self._run.follower.status_changed.connect(self._resumed)
        self._run.process.resume()
        self._resumed(self._run.follower.status)
        QTimer.singleShot(RESUME_MS, self, self._look_after_resume)

    def _resumed(self, status: str) -> None:
        """Until its worker has the lock the run still looks as it was left."""
        if self._resuming and status in LIVE and self._run.follower is not None:
            self._resuming = False
            self._run.follower.status_changed.disconnect(self._resumed)
            self.running = None
            self._show("running")

    def _look_after_resume(self) -> None:
        """The worker never came: say again what can be done."""
        follower = self._run.follower
        if self._view == "running" and follower is not None and follower.status not in LIVE and not self._awaited:
            self._show_trouble(follower.status)

    def _change(self) -> None:
        """The wizard with the settings of the run that made nothing."""
        assert self._run.follower is not None
        self._seen = self._run.run_id
        wizard = self._build_wizard()
        if not wizard.plan.sources:
            wizard.take_spec(self._run.follower.run.spec)
        self._show("wizard")

    def _to_report(self) -> None:
        self._seen = self._run.run_id
        self._show("report")

    def _ended(self, status: str) -> None:
        ended = self.take_end()
        if ended is None:
            return
        follower, trouble = ended
        if trouble is None and not follower.state.artifacts and self.running is not None:
            self.running.show_handed_over(self._read_pipeline, self._change)
        elif trouble is None:
            self._shown = self._awaited = follower.state.artifacts[-1] if follower.state.artifacts else ""
            self._remember_rate(follower.state.facts, follower.run.title)
            if self.wizard is not None:
                self.wizard.forget()
            self._refresh()
        else:
            self._show("running")

    def _read_pipeline(self) -> None:
        """A datatrove pipeline that was run elsewhere becomes a corpus with the settings it was written with."""
        assert self._run.follower is not None
        name = QFileDialog.getExistingDirectory(self, tr("The pipeline's folder"), str(self._run.follower.run.dir))
        if name:
            spec = {k: v for k, v in self._run.follower.run.spec.items() if k in CorpusSpec.model_fields}
            self._start(CorpusSpec.check({**spec, "pipeline": name}))

    def _remember_rate(self, facts: dict[str, Any], title: str) -> None:
        """How fast this machine is, for estimates in projects that have no corpus yet."""
        seconds = sum(float(s) for s in dict(facts.get("seconds") or {}).values())
        if seconds > 1 and facts.get("bytes"):
            self.context.remember("corpus_rate", [float(facts["bytes"]) / seconds, title])

    # the report -------------------------------------------------------------------------------------------------------

    def _made(self) -> Artifact | None:
        corpora = self.context.survey.of_kind("corpus") if self.context.survey else []
        return next((a for a in corpora if a.id == self._shown), corpora[0] if corpora else None)

    def _fill_report(self) -> bool:
        made = self._made()
        if made is None:
            return False
        if self.report is None:
            self.report = ReportView(self.context, self.open_browser)
            self._put("report", self.report)
        fresh = self._shown != made.id or self.report.report is None
        self._shown = made.id
        corpora = self.context.survey.of_kind("corpus") if self.context.survey else []
        if (len(corpora) > 1) != (self._which is not None) and self.report.report is not None:
            self._header.set_actions(*self._actions("report"))
        self._fill_which(made.id, corpora)
        self.report.load(made)
        report: Report | None = self.report.report
        assert report is not None
        self._flow.set(goes_in=report.goes_in(), happens=report.happened(), came_out=report.came_out(), tense="did")
        if fresh:
            self._bar.watch(made)
        return True

    def _fill_which(self, id: str, corpora: list[Artifact]) -> None:
        if self._which is not None:
            self._which.set_choices([(a.id, a.title if a.title == a.id else f"{a.title} ({a.id})") for a in corpora])
            self._which.set(id)

    def _choose(self, id: str) -> None:
        if id:
            self._shown = id
            self._notes.clear()
            self._fill_report()
            made = self._made()
            if made is not None:
                self._bar.watch(made)

    # decisions by hand ------------------------------------------------------------------------------------------------

    def apply_decisions(self, *_: Any) -> None:
        """A new corpus of the one on the screen with the decisions that were made by hand."""
        made = self._made()
        if made is not None:
            values = {k: v for k, v in made.spec.items() if k in CorpusSpec.model_fields}
            self._notes.clear()
            self._start(CorpusSpec.check({**values, "base": made.id, "decisions": True}))

    # the browser ------------------------------------------------------------------------------------------------------

    def open_browser(self, filters: dict[str, Any] | None = None) -> None:
        """Documents of the corpus on the screen, those the filters choose."""
        made = self._made()
        if made is None or not (made.path / "documents.parquet").exists():
            return

        def loaded(module: Any) -> None:
            if self.browser is None:
                self.browser = module.BrowserView(self.context, on_back=self._back_to_report, on_apply=self.apply_decisions)
                self._put("browser", self.browser)
            self.browser.load(made, filters)
            self._show("browser")
        when_loaded(self.context, BROWSER, loaded, self)

    def _back_to_report(self) -> None:
        self._show("report")
        made = self._made()
        if made is not None:
            self._bar.watch(made)
