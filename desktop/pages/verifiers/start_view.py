"""What leads to a full page: problems first, then a verifier. And how a verifier begins: from a starter, empty, or put together."""

from collections.abc import Callable, Sequence
from typing import Any

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtWidgets import QWidget

from desktop.context import AppContext
from desktop.pages.verifiers.parts_editor import first_parts
from desktop.theme.theme import Theme
from desktop.widgets.buttons import Button
from desktop.widgets.code_editor import CodeEditor
from desktop.widgets.columns import Columns
from desktop.widgets.empty_state import EmptyState
from desktop.widgets.fields import TextField
from desktop.widgets.layout import col, row, show_if
from desktop.widgets.panel import Panel, table_panel
from desktop.widgets.table import Cell, Column, Table
from desktop.widgets.text import Text, small
from engine.contract.units import number
from engine.contract.words import tr, trn
from engine.project.problems import ProblemSet
from engine.verifiers.starters import Starter, starters

EMPTY, PARTS = "empty", "parts"
SOURCE = '''def verify(prompt, completion, answer) -> float:
    """1.0 when the completion is right, 0.0 when it is not."""
    return 1.0 if completion.strip() == answer else 0.0
'''


def empty_state(theme: Theme, sets: Sequence[ProblemSet], verifiers: bool, model: str, generate: Callable[[], object],
                bring: Callable[[], object], new: Callable[[], object]) -> EmptyState:
    """What the page shows before there is anything. `model` answers, "" while there is none."""
    count = sum(s.count for s in sets)
    return EmptyState(theme, tr("No problems yet"),
        tr("Where an answer can be checked, no one needs to label: the model tries, a verifier says how right it was, and reasoning learns "
           "from that. First it needs problems with answers that are known."),
        Button(theme, tr("Generate problems"), "primary", icon="plus", on_click=generate),
        Button(theme, tr("Import a file"), icon="in", on_click=bring), Button(theme, tr("Write a verifier first"), on_click=new),
        steps=[(tr("Problems"), trn("{shown} there", "{shown} there", count, shown=number(count)) if count else
                tr("made by a program, or from a file"), bool(count)),
               (tr("A verifier"), tr("a few lines of Python, or built-in parts"), verifiers),
               (tr("A model that tries"), model or tr("raised or imported here"), bool(model))])


class NewVerifier(QWidget):
    """`made(title, kind, body, origin)`; `file_wanted`; `cancelled`."""

    made = Signal(str, str, str, str)
    file_wanted, cancelled = Signal(), Signal()

    def __init__(self, context: AppContext) -> None:
        super().__init__()
        self.context, self.theme = context, context.theme
        theme = self.theme
        self.table = Table(theme, [Column(tr("Begin with"), lambda r: Cell(r[1], note=r[2], strong=True, icon=r[3]), least=220)],
                           name=tr("Ways to begin"), row_height=54)
        self.table.chosen.connect(self._chosen)
        self.table.opened.connect(lambda _: self.make())
        self.name = TextField(name=tr("Name of the verifier"))
        self.name.changed.connect(self._look)
        self.name.returnPressed.connect(self.make)
        self.code = CodeEditor(theme, tr("What it begins with"))
        self.code.set_read_only(True)
        self._about = small(wrap=True)
        self._parts = col(*[row(Text(title, "medium"), gap=8) for title in ()], "+", gap=6)
        self.begin = Button(theme, tr("Begin"), "primary", on_click=self.make)
        self.cancel = Button(theme, tr("Cancel"), on_click=self.cancelled.emit)
        self.bring = Button(theme, tr("Import a .py file"), icon="in", on_click=self.file_wanted.emit)
        left = table_panel(row(Text(tr("A new verifier"), "section"), "+", gap=8), self.table)
        self._preview = Panel(col(Text(tr("Name"), "medium"), self.name, gap=4), self._about, (self.code, 1), self._parts,
                              row(self.bring, "+", self.cancel, self.begin, pad=(0, 4, 0, 0)), pad=(16, 12, 16, 12), gap=8)
        col((Columns(theme, left, self._preview, side_width=560, gap=12, room=320), 1), gap=0, host=self)
        self._fill()

    def _fill(self) -> None:
        rows: list[Any] = [(one, one.title, one.help, "file") for one in starters()]
        rows.append((EMPTY, tr("An empty one"), tr("A function that compares the completion with the answer."), "edit"))
        rows.append((PARTS, tr("Built-in parts"), tr("Number, mathematics, text, tags, length and more: weighed and added, without a line "
                                                     "of Python."), "list"))
        with QSignalBlocker(self.table):
            self.table.set_rows(rows)
        self.table.select(0)

    def show_for(self, can_cancel: bool) -> None:
        show_if(self.cancel, can_cancel)
        self.table.setFocus(Qt.FocusReason.MouseFocusReason)
        self._chosen(self.table.current_row())

    def _chosen(self, line: Any) -> None:
        if line is None:
            return
        what = line[0]
        show_if(self.code, what != PARTS)
        self._about.set(tr("Each part scores a completion; the reward is their weighted sum, or their product. You can add verifiers of "
                           "your own as parts.") if what == PARTS else line[2])
        if isinstance(what, Starter):
            self.code.load(what.source)
            self.name.set(what.file)
        elif what == EMPTY:
            self.code.load(SOURCE)
            self.name.set("verifier.py")
        else:
            self.name.set(tr("Number and tags"))
        self._look()

    def _look(self) -> None:
        self.begin.setEnabled(bool(self.name.value().strip()))

    def make(self) -> None:
        """What is chosen, under the name that stands there."""
        line, title = self.table.current_row(), self.name.value().strip()
        if line is None or not title:
            return
        what = line[0]
        if isinstance(what, Starter):
            self.made.emit(title, "python", what.source, what.origin)
        elif what == EMPTY:
            self.made.emit(title, "python", SOURCE, "person")
        else:
            self.made.emit(title, "parts", first_parts(), "person")
