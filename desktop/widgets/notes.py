"""Notes on a soft ground: what was found, in plain words, and the remedy as a button. For hints, warnings and failures alike."""

from PySide6.QtCore import QSize
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QBoxLayout, QFrame, QHBoxLayout, QWidget

from desktop.theme.theme import Theme
from desktop.widgets.layout import Item, clear, col, fill, show_if
from desktop.widgets.text import Icon, Text
from engine.contract.errors import FledgeError

GLYPHS = {"info": ("info", "accent"), "warn": ("warn", "warn"), "danger": ("error", "danger")}


class _Buttons(QWidget):
    """Buttons side by side, or one under the other where the width does not suffice (small windows, large text)."""

    def __init__(self) -> None:
        super().__init__()
        self._box = QBoxLayout(QBoxLayout.Direction.LeftToRight, self)
        fill(self._box, (), 8)

    def set(self, *actions: Item) -> None:
        clear(self._box)
        fill(self._box, (*actions, "+") if actions else (), 8, (0, 4, 0, 0))
        if self.isVisible():
            self._turn()

    def _widths(self) -> list[int]:
        return [item.widget().sizeHint().width() for i in range(self._box.count()) if (item := self._box.itemAt(i)).widget() is not None]

    def _turn(self) -> None:
        widths = self._widths()
        below = self.width() < sum(widths) + self._box.spacing() * (len(widths) - 1)
        self._box.setDirection(QBoxLayout.Direction.TopToBottom if below else QBoxLayout.Direction.LeftToRight)

    def minimumSizeHint(self) -> QSize:
        return QSize(max(self._widths(), default=0), super().minimumSizeHint().height())

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._turn()


class Note(QFrame):
    """`kind`: info, warn, danger. `actions` are buttons; the remedy of an error may be the page's primary."""

    def __init__(self, theme: Theme, kind: str, title: str, words: str = "", *actions: Item, icon: str = "") -> None:
        super().__init__()
        self.setProperty("kind", f"note-{kind}")
        glyph, tone = GLYPHS[kind]
        self._title, self._words = Text(title, "strong", wrap=True), Text(words, tone="text2", wrap=True)
        self._actions = _Buttons()
        body = col(self._title, self._words, self._actions, gap=4)
        fill(QHBoxLayout(self), (col(2, Icon(theme, icon or glyph, tone), "+", gap=0), (body, 1)), 10, (12, 12, 16, 12))
        self.set(title, words)
        self.set_actions(*actions)

    def set(self, title: str, words: str = "") -> None:
        self._title.set(title)
        self._words.set(words)
        show_if(self._words, bool(words))
        self.setAccessibleName(f"{title}. {words}")

    def set_actions(self, *actions: Item) -> None:
        self._actions.set(*actions)
        show_if(self._actions, bool(actions))


def error_note(theme: Theme, error: FledgeError, *actions: Item, title: str = "") -> Note:
    """The note of a typed error: its sentence, its remedy, and buttons that carry the remedy out."""
    return Note(theme, "danger", title or error.sentence, f"{error.sentence} {error.remedy}".strip() if title else error.remedy, *actions)


class NoteSlot(QWidget):
    """A place where a page shows one note at a time, or none (then it takes no room)."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self.note: Note | None = None
        col(gap=0, host=self)
        self.hide()

    def show_note(self, note: Note) -> None:
        self.clear()
        self.note = note
        self.layout().addWidget(note)
        show_if(self, True)

    def show_error(self, error: FledgeError, *actions: Item, title: str = "") -> None:
        self.show_note(error_note(self._theme, error, *actions, title=title))

    def clear(self) -> None:
        clear(self.layout())
        self.note = None
        self.hide()
