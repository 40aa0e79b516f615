"""Buttons: primary (one a page), secondary, quiet (small things in a panel's heading), danger, icon only; and segments."""

from collections.abc import Callable, Sequence
from typing import Any

from PySide6.QtCore import QRectF, QSize, Qt, Signal
from PySide6.QtGui import QKeyEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QButtonGroup, QHBoxLayout, QPushButton, QSizePolicy, QWidget

from desktop.theme.theme import Theme
from desktop.widgets.painted import KeyboardRing, draw_ring
from desktop.widgets.text import repolish

ICON_TONES = {"primary": "on_accent", "danger": "danger", "quiet": "accent", "icon": "text2"}


class Button(KeyboardRing, QPushButton):
    """`kind`: primary, secondary, quiet, danger, icon. Words are verbs. An icon-only button has `name`, for tooltip and screen reader."""

    def __init__(self, theme: Theme, words: str = "", kind: str = "secondary", *, icon: str = "", tone: str = "", name: str = "",
                 tip: str = "", on_click: Callable[[], Any] | None = None, enabled: bool = True) -> None:
        super().__init__()
        assert words or name, "a button without words needs a name"
        self.theme, self._icon, self._tone = theme, icon, tone
        self.setProperty("kind", kind)
        self.setEnabled(enabled)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.setAutoDefault(False)
        self.setIconSize(QSize(theme.px(16), theme.px(16)))
        self.setAccessibleName(name or words)
        self.setToolTip(tip or ("" if words else name))
        self.set_words(words)
        if on_click is not None:
            self.clicked.connect(lambda: on_click())
        if icon:
            theme.follow(self, self._tint)

    def set_words(self, words: str) -> None:
        self.setText(f" {words}" if self._icon and words else words)
        if words:
            self.setAccessibleName(words)

    def set_kind(self, kind: str) -> None:
        if self.property("kind") != kind:
            self.setProperty("kind", kind)
            repolish(self)
            self._tint()

    def set_icon(self, icon: str) -> None:
        self._icon = icon
        self._tint()

    def _tint(self) -> None:
        if self._icon:
            self.setIcon(self.theme.icon(self._icon, self._tone or ICON_TONES.get(str(self.property("kind")), "text2")))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and not event.isAutoRepeat():
            self.click()
        else:
            super().keyPressEvent(event)

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        if self.hasFocus() and self.ring:
            painter = QPainter(self)
            primary = self.property("kind") == "primary"
            box = QRectF(self.rect()).adjusted(3, 3, -3, -3) if primary else QRectF(self.rect())
            draw_ring(painter, box, self.theme.colour("on_accent" if primary else "accent"), 4 if primary else 6)
            painter.end()


class Segments(QWidget):
    """Two or more views of the same thing, one chosen. `choices`: (value, words). Arrow keys move, Tab enters and leaves the group."""

    changed = Signal(object)

    def __init__(self, theme: Theme, choices: Sequence[tuple[Any, str]], chosen: Any = None, *, name: str,
                 on_change: Callable[[Any], Any] | None = None) -> None:
        super().__init__()
        self._values = [value for value, _ in choices]
        self._group = QButtonGroup(self)
        self.setAccessibleName(name)
        box = QHBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(0)
        for i, (_, words) in enumerate(choices):
            button = Button(theme, words, "segment")
            button.setCheckable(True)
            button.setProperty("end", ("l" if i == 0 else "") + ("r" if i == len(choices) - 1 else ""))
            self._group.addButton(button, i)
            box.addWidget(button)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.set(chosen if chosen is not None else self._values[0])
        self._group.idToggled.connect(self._toggled)
        if on_change is not None:
            self.changed.connect(on_change)

    def value(self) -> Any:
        return self._values[self._group.checkedId()]

    def set(self, value: Any) -> None:
        """Choose without telling anybody."""
        self._group.blockSignals(True)
        self._group.button(self._values.index(value)).setChecked(True)
        self._group.blockSignals(False)

    def set_enabled(self, value: Any, enabled: bool, why: str = "") -> None:
        """Whether one segment can be chosen; `why` not stands in its tooltip."""
        button = self._group.button(self._values.index(value))
        button.setEnabled(enabled)
        button.setToolTip(why)

    def _toggled(self, index: int, on: bool) -> None:
        if on:
            self.changed.emit(self._values[index])
