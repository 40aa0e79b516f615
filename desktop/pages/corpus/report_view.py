"""The report of a corpus: what was removed and why, what is left, how long the texts are, how big that is; below, everything else that is
known. Rows of the funnel open the browser."""

import importlib
import json
import sys
from collections.abc import Callable
from typing import Any

from PySide6.QtCore import QObject, QTimer
from PySide6.QtWidgets import QWidget

from desktop.context import AppContext
from desktop.models.corpus_report import Report, training_time, true_tokens
from desktop.pages.corpus.report_parts import BoilerplatePanel, ChangesPanel, LanguagesPanel, LookedForPanel, MixPanel
from desktop.pages.corpus.result_view import FilesPanel, ReadPanel
from desktop.widgets.buttons import Button
from desktop.widgets.columns import Columns
from desktop.widgets.facts import Facts
from desktop.widgets.funnel import Funnel
from desktop.widgets.histogram import Histogram
from desktop.widgets.layout import col, fill, row, show_if
from desktop.widgets.panel import Panel, rule
from desktop.widgets.text import Text, small
from engine.contract.words import tr
from engine.project.artifacts import Artifact

SIDE = 264
NO_FILTER: dict[str, dict[str, Any]] = {"kept": {"split": "kept"}, "read": {}}


BROWSER, CLUSTERS, DECISIONS = "desktop.pages.corpus.browser", "desktop.pages.corpus.clusters", "desktop.models.decisions"


LOADED: set[str] = set()
"""Those that are there whole; one that a thread is loading stands in sys.modules half made."""


def when_loaded(context: AppContext, name: str, then: Callable[[Any], Any], owner: QObject) -> None:
    """`then(module)`: at once when it is loaded, else when a thread has loaded it. What reads the library brings in half a second of
    imports, which must not hold the window."""
    def loaded(module: Any) -> None:
        LOADED.add(name)
        then(module)
    if name in LOADED:
        then(sys.modules[name])
    else:
        context.jobs.run(lambda: importlib.import_module(name), then=loaded, owner=owner)


class ReportView(QWidget):
    """`load(artifact)`. `open_browser(filters)` is called when a person wants to see documents."""

    def __init__(self, context: AppContext, open_browser: Callable[[dict[str, Any] | None], None]) -> None:
        super().__init__()
        theme = self.theme = context.theme
        self.context, self._open_browser = context, open_browser
        self.report: Report | None = None
        self._clusters: Any = None
        self.funnel = Funnel(theme, tr("What was removed, and why"))
        self.funnel.opened.connect(self._row_opened)
        self.browse = Button(theme, tr("Browse removed"), "quiet", on_click=self._browse)
        self._nothing = small("", wrap=True)
        self._browse_words = small(tr("All of it can be read and restored."))
        head = row(Text(tr("What was removed, and why"), "section"), "+", self._browse_words, self.browse, gap=9, pad=(8, 0, 8, 0))
        nothing = row((self._nothing, 1), gap=0, pad=(8, 0, 8, 4))
        self.funnel_panel = Panel(head, self.funnel, nothing, pad=(8, 10, 8, 6), gap=8)
        self._cluster_host = col(gap=0)
        self.read_panel = ReadPanel(theme)
        self._below, self._side_below = col(gap=12), col(gap=12)
        self._parts: list[Any] = []
        self.left = Facts([], gap=5)
        self.lengths, self._length_unit = Histogram(theme, name=tr("Lengths")), small()
        self._length_panel = Panel(row(Text(tr("Length"), "section"), "+", self._length_unit), self.lengths, pad=(16, 10, 16, 8), gap=6)
        self._big, self._frontier = Text("", wrap=True), small("", wrap=True)
        self._times, self._times_words = Facts([], gap=4), small("", "text3", wrap=True)
        self._times_box = col(rule(), small(tr("Parameters and time on this machine, by formula"), wrap=True), self._times, gap=6)
        big = Panel(Text(tr("How big is that?"), "section"), self._big, self._times_box, self._times_words, rule(), self._frontier,
                    pad=(16, 10, 16, 14), gap=6)
        side = col(Panel(Text(tr("What is left"), "section"), self.left, pad=(16, 10, 16, 12), gap=7), self._length_panel, big,
                   self._side_below, "+", gap=12)
        main = col(self.funnel_panel, self._cluster_host, (self.read_panel, 1), self._below, "+", gap=12)
        col((Columns(theme, main, side, side_width=SIDE, gap=12, room=530), 1), gap=0, host=self)
        QTimer.singleShot(0, self, self._build_below)  # what lies below the first screen: all at once would hold the window

    def _build_below(self) -> None:
        theme = self.theme
        self.languages, self.boilerplate = LanguagesPanel(theme), BoilerplatePanel(theme)
        self.mix, self.files = MixPanel(theme), FilesPanel(theme)
        self.changes = ChangesPanel(theme, self._open_browser)
        self.looked_for = LookedForPanel(theme, self._open_browser)
        fill(self._below.layout(), (self.languages, self.changes, self.boilerplate, self.mix, self.files), 12)
        fill(self._side_below.layout(), (self.looked_for,), 12)
        self._parts = [self.languages, self.changes, self.boilerplate, self.mix, self.looked_for]
        self._load_below()

    def _load_below(self) -> None:
        if self.report is not None and self._parts:
            for panel in self._parts:
                show_if(panel, panel.load(self.report))
            self.files.load(self.report)
            self._read_more(self.report.made)

    # loading ----------------------------------------------------------------------------------------------------------

    def load(self, made: Artifact) -> None:
        survey = self.context.survey
        tokens = true_tokens(made, survey.of_kind("tokens") if survey else [], survey.of_kind("tokenizer") if survey else [])
        report = Report(made, tokens)
        if report == self.report:
            return
        fresh = self.report is None or self.report.made.id != made.id
        self.report = report
        rows = report.funnel()
        self.funnel.set(rows)
        removed = any(r.removed for r in rows)
        show_if(self.funnel_panel, report.whole)
        self.browse.set_words(tr("Browse removed") if removed else tr("Browse documents"))
        show_if(self.browse, self._browsable(made))
        show_if(self._browse_words, removed)
        self._nothing.set("" if removed else tr("Every document that was read is in the corpus."))
        show_if(self._nothing.parentWidget(), not removed)
        self.left.set(report.left())
        unit, bars = report.lengths()
        self._length_unit.set(unit)
        self.lengths.set(bars)
        show_if(self._length_panel, bool(bars) and report.documents > 1)
        first, second = report.big()
        self._big.set(first)
        self._frontier.set(second)
        show_if(self.read_panel, not self._browsable(made))
        self._load_below()
        if not self._browsable(made):
            self.read_panel.load(made)
        self._show_clusters(made, fresh)
        self._show_times()

    def _browsable(self, made: Artifact) -> bool:
        return (made.path / "documents.parquet").exists()

    def rest(self) -> None:
        """Nobody looks."""
        self.read_panel.rest()
        if self._clusters is not None:
            self._clusters.rest()

    def _read_more(self, made: Artifact) -> None:
        """The manifest lists some files, the artifact all of them: read in a thread."""
        def work() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
            found = json.loads((made.path / "sources.json").read_text("utf-8"))
            return list(found.get("sources", ()))[:5000], list(found.get("skipped", ()))[:5000]

        def then(found: tuple[list[dict[str, Any]], list[dict[str, Any]]]) -> None:
            if self.report is not None and self.report.made.id == made.id:
                self.files.load_all(self.report, *found)
        self.context.jobs.run(work, then=then, failed=_not_there, owner=self)

    def _show_clusters(self, made: Artifact, fresh: bool) -> None:
        groups = int(dict(made.facts.get("duplicates") or {}).get("clusters", 0) or 0)
        show_if(self._cluster_host, bool(groups) and self._clusters is not None)
        if not groups or not fresh:
            return

        def loaded(module: Any) -> None:
            if self._clusters is None:
                self._clusters = module.ClusterStrip(self.context, on_open=self._open_browser)
                self._cluster_host.layout().addWidget(self._clusters)
            if self.report is not None and self.report.made.id == made.id:
                show_if(self._cluster_host, True)
                self._clusters.load(made)
        when_loaded(self.context, CLUSTERS, loaded, self)

    def _show_times(self) -> None:
        """How long models take that this is enough for; the formula runs in a thread."""
        report, device = self.report, self.context.device_facts
        if report is None:
            return
        tokens = report.token_count

        def then(found: list[tuple[str, str]]) -> None:
            self._times.set(found)
            show_if(self._times_box, bool(found))
            self._times_words.set("" if found else tr("Measure this machine on the Home page, and the time of training stands here.")
                                  if device is None or not device.peak(device.dtype) else "")
            show_if(self._times_words, bool(self._times_words.words()))
        self.context.jobs.run(lambda: training_time(tokens, device), then=then, owner=self)

    def _browse(self) -> None:
        removed = self.report is not None and any(r.removed for r in self.report.funnel())
        self._open_browser({"split": "removed"} if removed else {})

    # acting -----------------------------------------------------------------------------------------------------------

    def _row_opened(self, step: str) -> None:
        self._open_browser(NO_FILTER.get(step, {"step": step}))


def _not_there(wrong: Exception) -> None:
    """An old or damaged artifact without its list of files: the manifest's stays."""
    if not isinstance(wrong, (OSError, ValueError)):
        raise wrong
