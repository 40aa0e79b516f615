"""Rows, columns and scroll areas. Of their items a number is space, "+" is stretch, (widget, n) stretches the widget, None is nothing."""

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QBoxLayout, QFrame, QHBoxLayout, QLayout, QScrollArea, QVBoxLayout, QWidget

Item = QWidget | QLayout | tuple[QWidget, int] | int | str | None
Pad = tuple[int, int, int, int]
PAGE_PAD: Pad = (32, 24, 32, 24)
NONE: Pad = (0, 0, 0, 0)


def fill(box: QBoxLayout, items: tuple[Item, ...], gap: int = 8, pad: Pad = NONE) -> None:
    """Add items to a box layout. None is left out."""
    box.setContentsMargins(*pad)
    box.setSpacing(gap)
    for item in items:
        if item == "+":
            box.addStretch(1)
        elif isinstance(item, int):
            box.addSpacing(item)
        elif isinstance(item, tuple):
            box.addWidget(item[0], item[1])
        elif isinstance(item, QLayout):
            box.addLayout(item)
        elif item is not None:
            assert isinstance(item, QWidget), item
            box.addWidget(item)


def row(*items: Item, gap: int = 8, pad: Pad = NONE, host: QWidget | None = None) -> QWidget:
    """Items side by side."""
    host = host or QWidget()
    fill(QHBoxLayout(host), items, gap, pad)
    return host


def col(*items: Item, gap: int = 8, pad: Pad = NONE, host: QWidget | None = None) -> QWidget:
    """Items one under the other."""
    host = host or QWidget()
    fill(QVBoxLayout(host), items, gap, pad)
    return host


def fixed(widget: QWidget, width: int | None = None, height: int | None = None) -> QWidget:
    """`widget` with a fixed width, height, or both (logical pixels: pass `theme.px(n)` where text has to fit)."""
    if width is not None:
        widget.setFixedWidth(width)
    if height is not None:
        widget.setFixedHeight(height)
    return widget


def show_if(widget: QWidget, on: bool) -> None:
    """Show or hide; safe before the widget has a parent (where show() would open a window of its own)."""
    if not on:
        let_go(widget)
        widget.hide()
    elif widget.parentWidget() is not None:
        widget.show()
    else:
        widget.setAttribute(Qt.WidgetAttribute.WA_WState_ExplicitShowHide, False)


def let_go(widget: QWidget) -> None:
    """The focus leaves what is about to go. Qt would pass it on as if Tab had been pressed: a ring would appear somewhere far off."""
    focus = QApplication.focusWidget()
    if focus is not None and (focus is widget or widget.isAncestorOf(focus)):
        focus.clearFocus()


def clear(layout: QLayout) -> None:
    """Take everything out of a layout and delete it."""
    while (item := layout.takeAt(0)) is not None:
        if (widget := item.widget()) is not None:
            let_go(widget)
            widget.hide()  # a layout shows what was added to it a moment later: without a parent that would be a window of its own
            widget.setParent(None)
            widget.deleteLater()
        elif (inner := item.layout()) is not None:
            clear(inner)


class Scroll(QScrollArea):
    """Content that fills the room it gets, and scrolls when there is less than it needs. Never grows the window."""

    def __init__(self, content: QWidget | None = None, *, horizontal: bool = True) -> None:
        super().__init__()
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        if not horizontal:
            self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        if content is not None:
            self.setWidget(content)

    def setWidget(self, content: QWidget) -> None:
        content.setProperty("kind", "scrolled")
        super().setWidget(content)
        content.setAutoFillBackground(False)
        self.viewport().setAutoFillBackground(False)
