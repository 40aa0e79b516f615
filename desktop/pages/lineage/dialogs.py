"""The dialogs of the Lineage page: what a deletion takes along, two settings side by side, where the disk goes. They decide nothing."""

from collections.abc import Callable, Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QDialog, QWidget

from desktop.models.lineage import SPECS, Share
from desktop.theme.theme import Theme
from desktop.widgets.buttons import Button, Segments
from desktop.widgets.fields import Choice, Tick
from desktop.widgets.layout import clear, col, fixed, row, show_if
from desktop.widgets.notes import Note, NoteSlot
from desktop.widgets.table import Cell, Column, Table
from desktop.widgets.text import Text, small
from engine.contract.units import percent, size
from engine.contract.words import tr, trn
from engine.project.lineage import Deletion, Described, Row, adapter_words, compare


class _Dialog(QDialog):
    def __init__(self, theme: Theme, title: str, width: int, parent: QWidget | None) -> None:
        super().__init__(parent)
        self.theme = theme
        self.setWindowTitle(title)
        self.setFixedWidth(theme.px(width))
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)


class DeleteDialog(_Dialog):
    """`show_plan(plan)` as often as the plan changes; `wanted(with_checkpoints)` asks for another, `confirmed(plan)` to carry it out."""

    wanted = Signal(bool)
    confirmed = Signal(object)

    def __init__(self, theme: Theme, title: str, parent: QWidget | None = None) -> None:
        super().__init__(theme, tr("Delete {title}?", title=title), 560, parent)
        self._plan: Deletion | None = None
        self.notes = NoteSlot(theme)
        self._words = small(tr("Counting…"), wrap=True)
        self.table = Table(theme, [Column(tr("What goes"), lambda g: Cell(g.title, strong=True)), Column(tr("Id"), lambda g: g.id, 150),
                                   Column(tr("On disk"), lambda g: size(g.bytes), 84, right=True)], name=tr("What goes"), fit=True,
                           max_rows=8, selectable=False)
        self.checkpoints = Tick(theme, tr("Checkpoints of its runs, too"))
        self.checkpoints.changed.connect(lambda: self.wanted.emit(self.checkpoints.value()))
        self._more = small(wrap=True)
        self.cancel = Button(theme, tr("Cancel"), on_click=self.reject)
        self.delete = Button(theme, tr("Delete"), "danger", on_click=self._confirm, enabled=False)
        col(Text(tr("Delete {title}?", title=title), "title", elide=True), 2, self._words, 6, self.notes, self.table, self.checkpoints,
            self._more, 6, row("+", self.cancel, self.delete), gap=6, pad=(24, 20, 24, 20), host=self)
        show_if(self.table, False)
        show_if(self.checkpoints, False)
        show_if(self._more, False)
        self.cancel.setFocus()

    def show_plan(self, plan: Deletion) -> None:
        self._plan = plan
        others = len(plan.goes) - 1
        self._words.set(trn("{count} other thing was made from it, and goes with it.",
                            "{count} other things were made from it, and go with it.", others) if others else
                        tr("Nothing was made from it: only itself goes."))
        self.table.set_rows(list(reversed(plan.goes)))
        show_if(self.table, True)
        kept = sum(g.bytes for g in plan.checkpoints)
        show_if(self.checkpoints, bool(plan.checkpoints))
        self.checkpoints.setText(trn("The checkpoint of its runs, too ({size})", "The {count} checkpoints of its runs, too ({size})",
                                     len(plan.checkpoints), size=size(kept)))
        self.checkpoints.updateGeometry()
        lines = [adapter_words(plan)] if plan.adapters else []
        lines += [trn("Run {runs} cannot be resumed then.", "Runs {runs} cannot be resumed then.", len(plan.stranded),
                     runs=", ".join(plan.stranded))] if plan.stranded else []
        lines += [tr("The exported files in {path} stay where they are.", path=path) for path in plan.elsewhere[:3]]
        lines.append(tr("What you decided about documents, and the curves and logs of runs, stay."))
        self._more.set(" ".join(lines))
        show_if(self._more, True)
        if plan.used_by:
            run, id = plan.used_by[0]
            self.notes.show_note(_busy(self.theme, run, id))
        else:
            self.notes.clear()
        self.delete.set_words(tr("Delete, free {size}", size=size(plan.bytes)))
        self.delete.setEnabled(not plan.used_by)
        self.layout().activate()
        self.resize(self.width(), max(self.layout().minimumSize().height(), self.layout().totalHeightForWidth(self.width())))

    def show_working(self) -> None:
        """It is being carried out: nothing can be changed."""
        self.delete.setEnabled(False)
        self.cancel.setEnabled(False)
        self.checkpoints.setEnabled(False)
        self.delete.set_words(tr("Deleting…"))

    def _confirm(self) -> None:
        if self._plan is not None:
            self.show_working()
            self.confirmed.emit(self._plan)


def _busy(theme: Theme, run: str, id: str) -> Note:
    return Note(theme, "warn", tr("A run uses it"),
                tr("Run {run} is under way and uses {id}. Wait for its end, or stop it first.", run=run, id=id))


class CompareDialog(_Dialog):
    """The settings of one thing beside those of another of its stage."""

    def __init__(self, theme: Theme, one: Described, others: Sequence[tuple[str, str]], get: Callable[[str], Described],
                 parent: QWidget | None = None) -> None:
        super().__init__(theme, tr("Compare settings"), 680, parent)
        self._one, self._get = one, get
        self.other = Choice(theme, others, others[0][0], name=tr("Compare with"))
        self.all = Segments(theme, [(False, tr("What differs")), (True, tr("All settings"))], False, name=tr("Which settings"))
        self.other.changed.connect(self._show)
        self.all.changed.connect(lambda _: self._show())
        self._said = small(wrap=True)
        self._host = col(gap=0)
        self.rows: list[Row] = []
        sides = row(Text(one.title, "medium"), small(tr("with")), (self.other, 1), 12, self.all, gap=8)
        col(Text(tr("Compare settings"), "title"), 8, sides, 8, self._said, (self._host, 1), 12,
            row("+", Button(theme, tr("Close"), on_click=self.accept)), gap=4, pad=(24, 20, 24, 20), host=self)
        self.resize(theme.px(680), theme.px(480))
        self._show()

    def _show(self) -> None:
        other, everything = self._get(str(self.other.value())), bool(self.all.value())
        self.rows = compare(self._one, other, SPECS, everything)
        differing = sum(r.differs for r in self.rows)
        self._said.set(trn("{count} setting differs.", "{count} settings differ.", differing) if differing else
                       tr("All settings are the same."))
        clear(self._host.layout())

        def cell(words: str, row_: Row) -> Cell:
            return Cell(words, strong=row_.differs and everything, tip=words if len(words) > 24 else "")
        table = Table(self.theme, [Column(tr("Setting"), lambda r: Cell(r.label)), Column(self._one.id, lambda r: cell(r.left, r), 200),
                                   Column(other.id, lambda r: cell(r.right, r), 200)], self.rows, name=tr("Settings side by side"),
                      selectable=False)
        self._host.layout().addWidget(table, 1)
        show_if(self._host, bool(self.rows))
        if not self.rows:
            self._host.setMinimumHeight(0)


class DiskDialog(_Dialog):
    """Where the project's bytes are."""

    def __init__(self, theme: Theme, total: int, shares: Sequence[Share], parent: QWidget | None = None) -> None:
        super().__init__(theme, tr("Disk usage"), 480, parent)
        table = Table(theme, [Column("", lambda s: Cell(s.words)), Column(tr("Number"), lambda s: s.note, 72, right=True),
                              Column(tr("On disk"), lambda s: Cell(size(s.bytes), strong=True), 90, right=True),
                              Column(tr("Share"), lambda s: percent(s.bytes / max(1, total)), 64, right=True)], shares,
                      name=tr("Disk usage"), fit=True, selectable=False)
        close = Button(theme, tr("Close"), on_click=self.accept)
        col(Text(tr("Disk usage"), "title"), small(tr("{size} in all, in this project's folder.", size=size(total))), 8, table, 6,
            fixed(small(tr("Checkpoints take the most in the long run: delete the ones you do not need here, or with what they belong to."),
                        wrap=True), None), 10, row("+", close), gap=4, pad=(24, 20, 24, 20), host=self)
