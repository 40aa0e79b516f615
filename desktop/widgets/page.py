"""The base of every page: margins, a scroll area that keeps the window its size, and when it is shown or left. No page's content."""

from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QWidget

from desktop.widgets.layout import PAGE_PAD, Item, Scroll, clear, col, fill

if TYPE_CHECKING:
    from desktop.context import AppContext


class Page(QWidget):
    """Subclasses build their parts in the constructor and call `set_body`; `opened(**args)` runs each time the page is shown, with what
    `context.navigate(id, **args)` was given; `left()` when another page takes its place (stop timers there: hidden pages never repaint)."""

    def __init__(self, context: "AppContext") -> None:
        super().__init__()
        self.context, self.theme = context, context.theme
        self.setProperty("kind", "page")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self._body = QWidget()
        self._box = col(gap=0, host=self._body).layout()
        self.scroll = Scroll(self._body)
        col(self.scroll, gap=0, host=self)

    def set_body(self, *items: Item, gap: int = 0) -> None:
        """The page's parts from top to bottom; what was there before is deleted. (widget, 1) or "+" takes the spare height."""
        clear(self._box)
        fill(self._box, items, gap, PAGE_PAD)

    def opened(self, **args: Any) -> None:
        """The page is on the screen now."""

    def left(self) -> None:
        """Another page is on the screen now."""
