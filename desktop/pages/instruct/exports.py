"""A set's rows into a file that other programs train from: which form, which rows, where to; a process of the engine writes."""

from pathlib import Path
from typing import Any

from PySide6.QtCore import QUrl
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QFileDialog, QWidget

from desktop.context import AppContext
from desktop.jobs.exporting import Exporting
from desktop.widgets.buttons import Button, Segments
from desktop.widgets.fields import Choice
from desktop.widgets.layout import col
from desktop.widgets.notes import Note, NoteSlot
from desktop.widgets.question import Question
from desktop.widgets.text import Text, small
from engine.contract.errors import FledgeError
from engine.contract.units import number
from engine.contract.words import tr, trn

MODULE = "engine.stages.instruct.examples_process"
FORMS = (("messages", tr("Messages (OpenAI)")), ("sharegpt", tr("Conversations (ShareGPT)")), ("alpaca", tr("Instructions (Alpaca)")),
         ("trl", tr("Prompts and completions (TRL)")), ("preferences", tr("Chosen and rejected answers (TRL)")), ("csv", tr("Table (CSV)")),
         ("fledge", tr("Everything (Fledge)")))
ABOUT = {"messages": tr("A list of messages with role and content: what most programs read."),
         "sharegpt": tr("The turns of each conversation as “from” and “value”."),
         "alpaca": tr("Instruction, input, output; earlier turns as history."),
         "trl": tr("A prompt and a completion, each a list of messages."),
         "preferences": tr("Only rows that keep a losing answer: for preference training."),
         "csv": tr("One question and one answer a row; longer conversations are left out and counted."),
         "fledge": tr("Everything that is known of a row, to be imported again.")}
KINDS = {"jsonl": "JSON Lines (*.jsonl)", "json": "JSON (*.json)", "parquet": "Parquet (*.parquet)", "csv": "CSV (*.csv)"}


class Exports:
    """`menu(set)` asks; progress and trouble stand in `notes`."""

    def __init__(self, context: AppContext, parent: QWidget, notes: NoteSlot) -> None:
        self.context, self.parent, self.notes = context, parent, notes
        self.exporting = Exporting(parent)
        self.exporting.progressed.connect(self._progress)
        self.exporting.done.connect(self._written)
        self.exporting.failed.connect(self._failed)
        self.exporting.cancelled.connect(self._stopped)
        self._to, self._words = Path(), None  # type: tuple[Path, Text | None]

    def menu(self, chosen: Any) -> None:
        """Ask for the form, and which rows."""
        if chosen is None or self.exporting.running:
            return
        theme = self.context.theme
        kept = self.context.settings.get("instruct.form", "messages")
        form = Choice(theme, FORMS, kept if kept in ABOUT else "messages", name=tr("Form"))
        about = small(ABOUT[str(form.value())], wrap=True)
        form.changed.connect(lambda: about.set(ABOUT[str(form.value())]))
        usable = chosen.accepted + chosen.new
        which = Segments(theme, [("usable", tr("All but those set aside ({count})", count=number(usable))),
                                 ("accepted", tr("Only accepted ({count})",
                                                 count=number(chosen.accepted)))], "usable", name=tr("Which rows"))
        which.set_enabled("accepted", chosen.accepted > 0, tr("Nothing is accepted yet"))
        dialog = Question(theme, tr("Export “{title}”", title=chosen.title), "", tr("Choose a file"),
                          lambda: self.ask(chosen, str(form.value()), str(which.value())),
                          col(Text(tr("Form"), "medium"), form, about, gap=4), 4, col(Text(tr("Which rows"), "medium"), which, gap=4),
                          parent=self.parent, width=480)
        dialog.open()

    def ask(self, chosen: Any, form: str, which: str) -> None:
        """Ask where to, and write."""
        self.context.remember("instruct.form", form)
        ending = "csv" if form == "csv" else "jsonl"
        name = "".join(c if c.isalnum() or c in " ._-" else "-" for c in chosen.title).strip() or chosen.id
        kinds = [KINDS["csv"]] if form == "csv" else [KINDS["jsonl"], KINDS["json"], KINDS["parquet"]]
        target, _ = QFileDialog.getSaveFileName(self.parent, tr("Export"), str(Path.home() / f"{name}.{ending}"), ";;".join(kinds))
        if target:
            self.write(chosen.id, form, Path(target), which)

    def write(self, set_id: str, form: str, target: Path, which: str = "usable") -> None:
        assert self.context.project is not None
        self._to = target if target.suffix else target.with_suffix(".csv" if form == "csv" else ".jsonl")
        self._words = small()
        self.notes.show_note(Note(self.context.theme, "info", tr("Writing {name}", name=self._to.name), str(self._to.parent),
                                  Button(self.context.theme, tr("Stop"), on_click=self.exporting.cancel), self._words, icon="export"))
        self.exporting.start(MODULE, str(self.context.project.dir), "export", set_id, form, str(self._to), which)

    def _progress(self, done: int, total: int) -> None:
        if self._words is not None:
            self._words.set(tr("{done} of {total} rows", done=number(done), total=number(total)))

    def _written(self, result: dict[str, Any]) -> None:
        self._stopped()
        to, rows, left = self._to, int(result.get("rows") or 0), int(result.get("left_out") or 0)
        self.context.toast(trn("{shown} row is in {name}", "{shown} rows are in {name}", rows, shown=number(rows), name=to.name),
                           tr("Open the folder"), lambda: QDesktopServices.openUrl(QUrl.fromLocalFile(str(to.parent))))
        if left:
            close = Button(self.context.theme, tr("Close"), on_click=self.notes.clear)
            self.notes.show_note(Note(self.context.theme, "warn", trn("{shown} row was left out", "{shown} rows were left out", left,
                                                                      shown=number(left)),
                                      tr("This form cannot hold them: {why}.", why=str(result.get("why", ""))), close))

    def _stopped(self) -> None:
        self._words = None
        self.notes.clear()

    def _failed(self, wrong: FledgeError) -> None:
        self._words = None
        self.notes.show_error(wrong, Button(self.context.theme, tr("Close"), on_click=self.notes.clear), title=tr("The export failed"))
