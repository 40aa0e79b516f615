"""A set's rows into a file that other programs read: where to, a note while a process of the engine writes, and what came of it. Which
forms there are and which rows is the page's."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QUrl
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QFileDialog, QWidget

from desktop.jobs.exporting import Exporting
from desktop.widgets.buttons import Button
from desktop.widgets.notes import Note, NoteSlot
from desktop.widgets.text import small
from engine.contract.errors import FledgeError
from engine.contract.units import number
from engine.contract.words import tr

if TYPE_CHECKING:
    from desktop.context import AppContext

KINDS = {"jsonl": "JSON Lines (*.jsonl)", "json": "JSON (*.json)", "parquet": "Parquet (*.parquet)", "csv": "CSV (*.csv)"}


class RowsExport:
    """Progress and trouble stand in `notes`. A subclass says what was written and what a form could not hold."""

    def __init__(self, context: "AppContext", parent: QWidget, notes: NoteSlot) -> None:
        self.context, self.parent, self.notes = context, parent, notes
        self.exporting = Exporting(parent)
        self.exporting.progressed.connect(self._progress)
        self.exporting.done.connect(self._written)
        self.exporting.failed.connect(self._failed)
        self.exporting.cancelled.connect(self._stopped)
        self._to, self._words = Path(), None  # type: tuple[Path, Text | None]

    def written_words(self, result: dict[str, Any], name: str) -> str:
        """What is in the file now."""
        raise NotImplementedError

    def left_words(self, left: int) -> str:
        """How many rows were left out."""
        raise NotImplementedError

    def _ask_target(self, name: str, form: str, kinds: tuple[str, ...] = ("jsonl", "json", "parquet")) -> Path | None:
        """Ask where to; `name` without its ending."""
        ending = "csv" if form == "csv" else "jsonl"
        offered = [KINDS[kind] for kind in (("csv",) if form == "csv" else kinds)]
        target, _ = QFileDialog.getSaveFileName(self.parent, tr("Export"), str(Path.home() / f"{name}.{ending}"), ";;".join(offered))
        return Path(target) if target else None

    def _begin(self, target: Path, form: str) -> Path:
        """Say that it is being written; gives back the file with its ending."""
        self._to = target if target.suffix else target.with_suffix(".csv" if form == "csv" else ".jsonl")
        self._words = small()
        self.notes.show_note(Note(self.context.theme, "info", tr("Writing {name}", name=self._to.name), str(self._to.parent),
                                  Button(self.context.theme, tr("Stop"), on_click=self.exporting.cancel), self._words, icon="export"))
        return self._to

    def _progress(self, done: int, total: int) -> None:
        if self._words is not None:
            self._words.set(tr("{done} of {total} rows", done=number(done), total=number(total)))

    def _written(self, result: dict[str, Any]) -> None:
        self._stopped()
        to, left = self._to, int(result.get("left_out") or 0)
        self.context.toast(self.written_words(result, to.name), tr("Open the folder"),
                           lambda: QDesktopServices.openUrl(QUrl.fromLocalFile(str(to.parent))))
        if left:
            close = Button(self.context.theme, tr("Close"), on_click=self.notes.clear)
            self.notes.show_note(Note(self.context.theme, "warn", self.left_words(left),
                                      tr("This form cannot hold them: {why}.", why=str(result.get("why", ""))), close))

    def _stopped(self) -> None:
        self._words = None
        self.notes.clear()

    def _failed(self, wrong: FledgeError) -> None:
        self._words = None
        self.notes.show_error(wrong, Button(self.context.theme, tr("Close"), on_click=self.notes.clear), title=tr("The export failed"))


def file_name(title: str, instead: str) -> str:
    """A set's title as a file is called."""
    return "".join(c if c.isalnum() or c in " ._-" else "-" for c in title).strip() or instead
