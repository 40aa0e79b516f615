"""What the browser shows beside documents: nothing found, the index being made, decisions that wait to be applied."""

from collections.abc import Callable, Mapping
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QHBoxLayout, QWidget

from desktop.theme.theme import Theme
from desktop.widgets.bar import Bar
from desktop.widgets.buttons import Button
from desktop.widgets.layout import clear, col, fill, fixed, row, show_if
from desktop.widgets.text import Icon, Text, small
from engine.contract import units
from engine.contract.words import tr, trn


class Blank(QWidget):
    """In the place of a list: an icon, what is so, and what can be done about it."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        centre = Qt.AlignmentFlag.AlignHCenter
        self._icon = Icon(theme, "search", "text3", 24)
        self._title = Text("", "section", align=centre)
        self._title.setWordWrap(True)
        self._words = small("", wrap=True, align=centre)
        self._buttons = QWidget()
        fill(QHBoxLayout(self._buttons), (), 8)
        col("+", row("+", self._icon, "+"), 4, self._title, self._words, 6, row("+", self._buttons, "+"), "+", "+", gap=4,
            pad=(24, 12, 24, 12), host=self)

    def set(self, icon: str, title: str, words: str = "", *buttons: QWidget) -> None:
        self._icon.set(icon, "text3")
        self._title.set(title)
        self._words.set(words)
        show_if(self._words, bool(words))
        clear(self._buttons.layout())
        fill(self._buttons.layout(), buttons, 8)  # type: ignore[arg-type]
        self.setAccessibleName(f"{title}. {words}")


    def nothing_found(self, search: str, filters: Mapping[str, Any], show_all: Callable[[], object]) -> None:
        """Why the list of documents is empty, and the way to all of them."""
        button = Button(self._theme, tr("Show all documents"), on_click=show_all)
        if not search and filters == {"split": "removed"}:
            self.set("check", tr("Nothing was removed"), tr("Every document that was read is in this corpus."), button)
        elif search or filters:
            self.set("search", tr("No document fits"), tr("Take a filter away, or search for fewer words."), button)
        else:
            self.set("text", tr("This corpus is empty"), tr("No document was read. Import text that holds some."))


class Building(QWidget):
    """The index is being made: how far it is."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._bar = Bar(theme, 0.0, name=tr("Progress of the index"))
        self._words = small("", wrap=True, align=Qt.AlignmentFlag.AlignHCenter)
        title = Text(tr("Making the index"), "section", align=Qt.AlignmentFlag.AlignHCenter)
        why = small(tr("Search and filters need it. It is made once for each corpus, and goes on when you leave this page."), wrap=True,
                    align=Qt.AlignmentFlag.AlignHCenter)
        col("+", title, why, 8, row("+", fixed(self._bar, theme.px(240)), "+"), self._words, "+", "+", gap=4, pad=(24, 12, 24, 12),
            host=self)
        self.set({})

    def set(self, state: Mapping[str, Any]) -> None:
        done, total = float(state.get("done") or 0), float(state.get("total") or 0)
        self._bar.set(min(1.0, done / total) if total else 0.0)
        self._words.set(tr("{done} of {total}", done=units.size(done), total=units.size(total)) if total else tr("beginning"))


class PendingBar(QFrame):
    """One line: how many decisions the corpus on the screen was made without, and the way to apply them."""

    def __init__(self, theme: Theme, on_apply: Callable[[], object]) -> None:
        super().__init__()
        self.setProperty("kind", "note-info")
        self._words = Text("", "medium", elide=True)
        self.button = Button(theme, tr("Apply them"), on_click=on_apply, tip=tr("Makes a new corpus with these decisions; this one stays."))
        fill(QHBoxLayout(self), (Icon(theme, "info", "accent"), (self._words, 1), self.button), 10, (12, 6, 8, 6))
        show_if(self, False)

    def set(self, pending: int, title: str) -> None:
        show_if(self, pending > 0)
        self._words.set(trn("{count} decision not yet applied to {corpus}", "{count} decisions not yet applied to {corpus}", pending,
                            corpus=title))
        self.setAccessibleName(self._words.words())
