"""A list of values with their counts that drops down from a button, with a field to find one where they are many. One is picked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import QEvent, QPoint, Qt, Signal
from PySide6.QtGui import QGuiApplication, QKeyEvent
from PySide6.QtWidgets import QFrame, QVBoxLayout, QWidget

from desktop.theme.theme import Theme
from desktop.widgets.fields import SearchField
from desktop.widgets.layout import fill, show_if
from desktop.widgets.table import Cell, Column, Table
from desktop.widgets.text import small
from engine.contract.units import number
from engine.contract.words import tr

SEARCH_FROM = 12
ROWS = 11
Free = Callable[[str], str] | None


@dataclass(frozen=True)
class Value:
    """`count` None: not known (yet)."""

    value: Any
    words: str
    count: int | None = None
    chosen: bool = False


class ValueMenu(QFrame):
    """`drop(below, values)`; `picked(value)`. Up, Down and Enter pick, Escape closes, letters find.

    With `free` what is typed in the find field can itself be picked, as a string; `free(typed)` are the words of that line.
    """

    picked = Signal(object)

    def __init__(self, theme: Theme, host: QWidget, name: str) -> None:
        super().__init__(host, Qt.WindowType.Popup)
        self.theme = theme
        self.setProperty("kind", "popover")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self._values: list[Value] = []
        self._free: Free = None
        self._find = SearchField(tr("Find"), name=tr("Find among the values"))
        self._find.changed.connect(self._filter)
        self._find.installEventFilter(self)
        self._table = Table(theme, [
            Column("", lambda v: Cell(v.words, icon="check" if v.chosen else "", tone="accent" if v.chosen else "")),
            Column("", lambda v: Cell("" if v.count is None else number(v.count), tone="text2"), width=96, right=True)],
            name=name, fit=True, max_rows=ROWS, row_height=28)
        self._table.horizontalHeader().setFixedHeight(0)
        self._table.horizontalHeader().hide()
        self._table.clicked.connect(lambda index: self._pick(self._table.rows_model.row(index.row())))
        self._table.opened.connect(self._pick)
        self._none = small(tr("Nothing fits."))
        self._none.setContentsMargins(8, 2, 8, 2)
        fill(QVBoxLayout(self), (self._find, self._table, self._none), 4, (6, 6, 6, 6))

    @property
    def shown(self) -> list[Value]:
        return list(self._table.rows_model.rows)

    def refresh(self, values: Sequence[Value]) -> None:
        """Other counts while it is open; the row under the cursor stays."""
        place = self._table.currentIndex().row()
        self._values = list(values)
        self._filter()
        if 0 <= place < self._table.rows_model.rowCount():
            self._table.select(place)

    def drop(self, below: QWidget, values: Sequence[Value], width: int = 300, *, free: Free = None) -> None:
        """Show the values under a widget."""
        self._values, self._free = list(values), free
        self._find.set("")
        many = len(values) > SEARCH_FROM or free is not None
        show_if(self._find, many)
        self.setFixedWidth(self.theme.px(width))
        self._filter()
        at = below.mapToGlobal(QPoint(0, below.height() + 4))
        screen = QGuiApplication.screenAt(at) or QGuiApplication.primaryScreen()
        room = screen.availableGeometry()
        self.move(max(room.left(), min(at.x(), room.right() - self.width())), max(room.top(), min(at.y(), room.bottom() - self.height())))
        self.show()
        chosen = next((i for i, v in enumerate(values) if v.chosen), 0)
        if values:
            self._table.select(chosen)
        (self._find if many else self._table).setFocus(Qt.FocusReason.PopupFocusReason)

    def _filter(self) -> None:
        typed = self._find.value().strip()
        words = typed.lower()
        fitting = [v for v in self._values if words in v.words.lower()] if words else list(self._values)
        if words and self._free is not None:
            fitting.append(Value(typed, self._free(typed)))
        self._table.rows_model.set(fitting)
        show_if(self._table, bool(fitting))
        show_if(self._none, not fitting)
        if fitting and words:
            self._table.select(0)
        self.layout().activate()
        self.setFixedHeight(self.layout().sizeHint().height())  # exactly: a popup asked for less keeps what it had

    def _pick(self, chosen: Value) -> None:
        self.hide()
        self.picked.emit(chosen.value)

    def eventFilter(self, watched: Any, event: QEvent) -> bool:
        """Arrows and Enter in the find field are the list's."""
        if watched is self._find and isinstance(event, QKeyEvent) and event.type() == QEvent.Type.KeyPress and \
                event.key() in (Qt.Key.Key_Up, Qt.Key.Key_Down, Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self._table.keyPressEvent(event)
            return True
        return False

    def event(self, event: QEvent) -> bool:
        """No shortcut of the page acts while the list is open."""
        if event.type() == QEvent.Type.ShortcutOverride:
            event.accept()
            return True
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape:
            self.hide()
        else:
            super().keyPressEvent(event)


