"""What can be taken out of a corpus: its report as a page or as a PDF, its documents as Parquet or JSON Lines. Asks where,
shows how far it is, says when it is done. A process of the engine writes, which can be stopped; only the PDF is the window's."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from PySide6.QtCore import QPoint, QUrl
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QFileDialog, QMenu, QWidget

from desktop.context import AppContext
from desktop.jobs.exporting import Exporting
from desktop.models.corpus_report import Report
from desktop.widgets.buttons import Button
from desktop.widgets.notes import Note, NoteSlot
from desktop.widgets.text import Text, small
from engine.contract.errors import FledgeError
from engine.contract.units import number
from engine.contract.words import tr

MODULE = "engine.stages.corpus.export_process"
KINDS = {"html": tr("Web page (*.html)"), "pdf": "PDF (*.pdf)", "parquet": "Parquet (*.parquet)", "jsonl": "JSON Lines (*.jsonl)"}


class Exports:
    """`button()` is the header's button with its menu; `report()` gives the report on the screen."""

    def __init__(self, context: AppContext, parent: QWidget, notes: NoteSlot, report: Callable[[], Report | None]) -> None:
        self.context, self.parent, self.notes, self.report = context, parent, notes, report
        self.exporting = Exporting(parent)
        self.exporting.progressed.connect(self._progress)
        self.exporting.done.connect(self._written)
        self.exporting.failed.connect(self._failed)
        self.exporting.cancelled.connect(self._stopped)
        self._to = Path()
        self._words: Text | None = None

    def button(self) -> Button:
        button = Button(self.context.theme, tr("Export"), icon="export", tip=tr("The report, or the text itself"))
        button.clicked.connect(lambda: self.menu().popup(button.mapToGlobal(QPoint(0, button.height() + 4))))
        return button

    def menu(self) -> QMenu:
        menu = QMenu(self.parent)
        for form, words in (("html", tr("Report as a web page …")), ("pdf", tr("Report as PDF …")), ("parquet", tr("Text as Parquet …")),
                            ("jsonl", tr("Text as JSON Lines …"))):
            if form == "parquet":
                menu.addSeparator()
            action = menu.addAction(words)
            action.triggered.connect(lambda _=False, form=form: self.ask(form))
            action.setEnabled(form == "pdf" or not self.exporting.running)
        return menu

    def ask(self, form: str) -> None:
        """Ask where to, and write."""
        report = self.report()
        if report is None:
            return
        name = "".join(c if c.isalnum() or c in " ._-" else "-" for c in report.made.title).strip() or report.made.id
        target, _ = QFileDialog.getSaveFileName(self.parent, tr("Export"), str(Path.home() / f"{name}.{form}"), KINDS[form])
        if target:
            self.write(form, Path(target))

    def write(self, form: str, target: Path) -> None:
        report = self.report()
        if report is None:
            return
        self._to = target if target.suffix else target.with_suffix(f".{form}")
        if form != "pdf":
            assert self.context.project is not None
            self._begin()
            self.exporting.start(MODULE, str(self.context.project.dir), report.made.id, form, str(self._to))
            return
        try:
            from desktop.models.report_paper import write_pdf
            write_pdf(report, self._to)
        except OSError as wrong:
            self._failed(FledgeError(tr("{path} cannot be written: {why}.", path=str(self._to), why=wrong.strerror or str(wrong)),
                                     tr("Choose another folder."), code="export"))
            return
        self._say()

    def _begin(self) -> None:
        theme = self.context.theme
        self._words = small()
        note = Note(theme, "info", tr("Writing {name}", name=self._to.name), str(self._to.parent),
                    Button(theme, tr("Stop"), on_click=self.exporting.cancel), self._words, icon="export")
        self.notes.show_note(note)

    def _progress(self, done: int, total: int) -> None:
        if self._words is not None:
            self._words.set(tr("{done} of {total} documents", done=number(done), total=number(total)))

    def _written(self, result: dict[str, Any]) -> None:
        self._stopped()
        self._say()

    def _stopped(self) -> None:
        self._words = None
        self.notes.clear()

    def _say(self) -> None:
        to = self._to
        self.context.toast(tr("{name} is written", name=to.name), tr("Open the folder"),
                           lambda: QDesktopServices.openUrl(QUrl.fromLocalFile(str(to.parent))))

    def _failed(self, wrong: FledgeError) -> None:
        self._words = None
        self.notes.show_error(wrong, title=tr("The export failed"))
