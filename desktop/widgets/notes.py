"""Notes on a soft ground: what was found, in plain words, and the remedy as a button. For hints, warnings and failures alike."""

from PySide6.QtWidgets import QFrame, QHBoxLayout, QWidget

from desktop.theme.theme import Theme
from desktop.widgets.layout import Item, clear, col, fill, row, show_if
from desktop.widgets.text import Icon, Text
from engine.contract.errors import FledgeError

GLYPHS = {"info": ("info", "accent"), "warn": ("warn", "warn"), "danger": ("error", "danger")}


class Note(QFrame):
    """`kind`: info, warn, danger. `actions` are buttons; the remedy of an error may be the page's primary."""

    def __init__(self, theme: Theme, kind: str, title: str, words: str = "", *actions: Item, icon: str = "") -> None:
        super().__init__()
        self.setProperty("kind", f"note-{kind}")
        glyph, tone = GLYPHS[kind]
        self._title, self._words = Text(title, "strong", wrap=True), Text(words, tone="text2", wrap=True)
        self._actions: QWidget = row(gap=8)
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
        box = self._actions.layout()
        clear(box)
        fill(box, (*actions, "+") if actions else (), 8, (0, 4, 0, 0))
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
