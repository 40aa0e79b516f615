"""Controls that hold one value: number, text, lines of text, choice, switch, tick, search. Each has `value()`, `set(value)` and `changed`.

`set` is loading, not editing: it never emits. A value that was loaded and not touched comes back exactly as it was.
"""

import math
import re
from collections.abc import Sequence
from typing import Any, cast

from PySide6.QtCore import QEvent, QPointF, QRectF, QSignalBlocker, QSize, Qt, Signal
from PySide6.QtGui import QHelpEvent, QKeyEvent, QPainter, QPaintEvent, QPen, QResizeEvent, QWheelEvent
from PySide6.QtWidgets import (
    QAbstractButton,
    QCheckBox,
    QComboBox,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QSizePolicy,
    QStyle,
    QStyleOptionComboBox,
    QStylePainter,
    QToolTip,
)

from desktop.theme.theme import Theme
from desktop.widgets.painted import KeyboardRing, draw_ring
from desktop.widgets.text import repolish
from engine.contract.units import NBSP
from engine.contract.words import tr

SUFFIXES = {"k": 1e3, "m": 1e6, "g": 1e9, "b": 1e9, "t": 1e12}
TEXT_PAD = 4
"""What a style leaves free beside a choice's words."""
POPUP_PAD, POPUP_WIDEST = 24, 560
NUMBER = re.compile(r"([+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?)([kmgbt]?)", re.IGNORECASE)


def read_number(text: str, whole: bool) -> int | float | None:
    """"1,234", "1 234", "2.5M", "3e-4" as a number; None for what is none (or not whole where it has to be)."""
    plain = text.replace(",", "").replace(NBSP, "").replace(" ", "").replace("\u2212", "-")
    hit = NUMBER.fullmatch(plain)
    if hit is None:
        return None
    value = float(hit[1]) * SUFFIXES.get(hit[2].lower(), 1)
    if not math.isfinite(value):
        return None
    if not whole:
        return value
    if re.fullmatch(r"[+-]?\d+", plain):
        return int(plain)
    return int(value) if value == int(value) else None


def show_number(value: int | float) -> str:
    """Thousands separators, no digits that are not there: 1024 -> "1,024", 0.0003 -> "0.0003", 1e-9 -> "1e-09"."""
    if isinstance(value, int):
        return f"{value:,}"
    text = repr(float(value))
    if "e" in text:
        return f"{value:.10f}".rstrip("0") if 1e-6 <= abs(value) < 1 else text
    head, _, tail = text.partition(".")
    return f"{int(head):,}" + (f".{tail}" if tail and tail != "0" else ".0" if abs(value) < 100 else "") if head not in ("-0",) else text


def set_wrong(widget: Any, wrong: bool) -> None:
    """Mark a control whose value cannot be used; the words beside it say why."""
    if bool(widget.property("wrong")) != wrong:
        widget.setProperty("wrong", wrong)
        repolish(widget)


class TextField(QLineEdit):
    """One line of text."""

    changed = Signal()

    def __init__(self, value: str = "", *, placeholder: str = "", name: str) -> None:
        super().__init__(value)
        self.setPlaceholderText(placeholder)
        self.setAccessibleName(name)
        self.textEdited.connect(lambda: self.changed.emit())

    def value(self) -> str:
        return self.text()

    def set(self, value: str) -> None:
        with QSignalBlocker(self):
            self.setText(value)
        self.setCursorPosition(0)


class SearchField(TextField):
    """A text field with the magnifier's meaning: a clear button, Escape empties it."""

    def __init__(self, placeholder: str, name: str = "") -> None:
        super().__init__(placeholder=placeholder, name=name or placeholder)
        self.textChanged.connect(lambda: self.changed.emit())

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape and self.text():
            self.clear()
        else:
            super().keyPressEvent(event)


class NumberField(QLineEdit):
    """A number with thousands separators. `optional`: empty means automatic, shown as the placeholder. Up and Down step by a sensible size.

    `value()` is None when empty; `wrong()` says in words why the text is not a number, "" when it is. The range is the form's to judge.
    """

    changed = Signal()

    def __init__(self, value: int | float | None = None, *, whole: bool = True, optional: bool = False, name: str,
                 low: float | None = None, high: float | None = None) -> None:
        super().__init__()
        self.whole, self.optional, self.low, self.high = whole, optional, low, high
        self._value: int | float | None = None
        self._text = ""
        self.setAlignment(Qt.AlignmentFlag.AlignRight)
        self.setAccessibleName(name)
        self.set_automatic("")
        self.set(value)
        self.textEdited.connect(lambda: self.changed.emit())
        self.editingFinished.connect(self._tidy)

    def value(self) -> int | float | None:
        if self.text() == self._text:
            return self._value
        return read_number(self.text(), self.whole) if self.text().strip() else None

    def wrong(self) -> str:
        text = self.text().strip()
        if not text:
            return "" if self.optional else tr("A number is missing.")
        if self.text() == self._text or read_number(text, self.whole) is not None:
            return ""
        return tr("“{text}” is not a whole number.", text=text) if self.whole else tr("“{text}” is not a number.", text=text)

    def set(self, value: int | float | None) -> None:
        self._value = value
        self._text = "" if value is None else show_number(value)
        with QSignalBlocker(self):
            self.setText(self._text)
        self.setCursorPosition(0)

    def set_automatic(self, words: str) -> None:
        """What the value is when it is left empty ("262,144"), if that is known."""
        if self.optional:
            self.setPlaceholderText(tr("auto: {value}", value=words) if words else tr("auto"))

    def step(self, direction: int) -> None:
        """The next or previous round value; powers of two stay powers of two."""
        value = self.value()
        if value is None:
            return
        if self.whole and value > 16 and value & (value - 1) == 0:  # type: ignore[operator]
            made: int | float = value * 2 if direction > 0 else value // 2
        else:
            size = 10.0 ** math.floor(math.log10(abs(value))) / 10 if value else (1 if self.whole else 0.1)
            made = value + direction * (max(1, int(size)) if self.whole else size)
            made = made if self.whole else float(f"{made:.12g}")
        if self.low is not None:
            made = max(made, self.low)
        if self.high is not None:
            made = min(made, self.high)
        self.set(int(made) if self.whole else made)
        self.changed.emit()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Up, Qt.Key.Key_Down) and not event.modifiers() & Qt.KeyboardModifier.AltModifier:
            self.step(1 if event.key() == Qt.Key.Key_Up else -1)
        else:
            super().keyPressEvent(event)

    def _tidy(self) -> None:
        if self.text() != self._text and not self.wrong():
            self.set(self.value())


class Lines(QPlainTextEdit):
    """Several lines of text, one entry a line; a tuple of the lines that are not empty. `optional`: empty means automatic (None). Tab
    leaves it."""

    changed = Signal()

    def __init__(self, value: Sequence[str] | None = (), *, placeholder: str = "", name: str, rows: int = 3, theme: Theme,
                 optional: bool = False) -> None:
        super().__init__()
        self.optional = optional
        self.setProperty("kind", "field")
        self.setPlaceholderText(placeholder or (tr("auto") if optional else ""))
        self.setAccessibleName(name)
        self.setTabChangesFocus(True)
        self.setFixedHeight(theme.px(16 * rows + 18))
        self._value: tuple[str, ...] | None = ()
        self._text = ""
        self.set(value)
        self.textChanged.connect(lambda: self.changed.emit())

    def value(self) -> tuple[str, ...] | None:
        if self.toPlainText() == self._text:
            return self._value
        lines = tuple(line for line in self.toPlainText().splitlines() if line.strip())
        return lines or (None if self.optional else ())

    def set(self, value: Sequence[str] | None) -> None:
        self._value = None if value is None else tuple(value)
        with QSignalBlocker(self):
            self.setPlainText("\n".join(self._value or ()))
        self._text = self.toPlainText()


class Choice(QComboBox):
    """One of several values: (value, words). A value that is not among them is shown as it is, so that nothing is silently replaced."""

    changed = Signal()

    def __init__(self, theme: Theme, choices: Sequence[tuple[Any, str]] = (), value: Any = None, *, name: str, empty: str = "",
                 placeholder: str = "") -> None:
        super().__init__()
        self._values: list[Any] = []
        self._empty = empty
        self.setPlaceholderText(placeholder)
        self.setAccessibleName(name)
        self.setMinimumContentsLength(4)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._arrow = QLabel(self)
        self._arrow.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self._arrow.setFixedSize(theme.px(16), theme.px(16))
        theme.follow(self, lambda: self._arrow.setPixmap(theme.pixmap("down", "text2", 16, self.devicePixelRatioF())))
        self.set_choices(choices)
        if value is not None or any(v is None for v, _ in choices):
            self.set(value)
        self.currentIndexChanged.connect(lambda: self.changed.emit())

    def set_choices(self, choices: Sequence[tuple[Any, str]]) -> None:
        """Other choices; the value stays if it is still there, else the first is taken (with a placeholder: none). No signal."""
        before = self.value()
        with QSignalBlocker(self):
            self.clear()
            self._values = [value for value, _ in choices]
            for _, words in choices:
                self.addItem(words)
            if not choices and self._empty:
                self.addItem(self._empty)
            elif self.placeholderText():
                self.setCurrentIndex(-1)
        self.setEnabled(bool(choices))
        if before in self._values:
            self.set(before)

    def value(self) -> Any:
        index = self.currentIndex()
        return self._values[index] if 0 <= index < len(self._values) else None

    def set(self, value: Any) -> None:
        with QSignalBlocker(self):
            if value in ("", None) and value not in self._values:
                self.setCurrentIndex(-1 if self._values else 0)
                return
            if value not in self._values:
                if not self._values:
                    self.clear()
                self._values.append(value)
                self.addItem(str(value))
            self.setCurrentIndex(self._values.index(value))
        self.setEnabled(True)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._arrow.move(self.width() - self._arrow.width() - 8, (self.height() - self._arrow.height()) // 2)

    def shown_words(self) -> str:
        """What of the words has room."""
        option = QStyleOptionComboBox()
        self.initStyleOption(option)
        place = self.style().subControlRect(QStyle.ComplexControl.CC_ComboBox, option, QStyle.SubControl.SC_ComboBoxEditField, self)
        return self.fontMetrics().elidedText(option.currentText, Qt.TextElideMode.ElideRight, place.width() - TEXT_PAD)

    def paintEvent(self, event: QPaintEvent) -> None:
        """As Qt paints it, but words that do not fit end in an ellipsis; then the whole is in the tooltip."""
        option = QStyleOptionComboBox()
        self.initStyleOption(option)
        option.currentText = self.shown_words()
        painter = QStylePainter(self)
        painter.drawComplexControl(QStyle.ComplexControl.CC_ComboBox, option)
        painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ToolTip and not self.toolTip() and self.shown_words() != self.currentText():
            QToolTip.showText(cast(QHelpEvent, event).globalPos(), self.currentText(), self)
            return True
        return super().event(event)

    def showPopup(self) -> None:
        """The list is as wide as its words, up to a limit."""
        self.view().setMinimumWidth(max(self.width(), min(self.view().sizeHintForColumn(0) + POPUP_PAD, POPUP_WIDEST)))
        super().showPopup()

    def wheelEvent(self, event: QWheelEvent) -> None:
        event.ignore()  # scrolling a page must not change a setting on the way


class Switch(KeyboardRing, QAbstractButton):
    """On or off, told by the position of the knob."""

    changed = Signal()

    def __init__(self, theme: Theme, value: bool = False, *, name: str) -> None:
        super().__init__()
        self.theme = theme
        self.setCheckable(True)
        self.setAccessibleName(name)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setFixedSize(theme.px(40), theme.px(24))
        self.set(value)
        self.toggled.connect(lambda: self.changed.emit())
        theme.changed.connect(self.update)

    def value(self) -> bool:
        return self.isChecked()

    def set(self, value: bool) -> None:
        with QSignalBlocker(self):
            self.setChecked(bool(value))
        self.update()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.click()
        else:
            super().keyPressEvent(event)

    def paintEvent(self, event: QPaintEvent) -> None:
        t, painter = self.theme, QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        box = QRectF(self.rect()).adjusted(3, 3, -3, -3)
        on, usable = self.isChecked(), self.isEnabled()
        painter.setPen(QPen(t.colour("accent" if on and usable else "control"), 1))
        painter.setBrush(t.colour("accent") if on and usable else t.colour("surface" if usable else "sunken"))
        painter.drawRoundedRect(box, box.height() / 2, box.height() / 2)
        knob = box.height() - 6
        left = box.right() - knob - 3 if on else box.left() + 3
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(t.colour("on_accent" if on and usable else "control"))
        painter.drawEllipse(QRectF(left, box.top() + 3, knob, knob))
        if self.hasFocus() and self.ring:
            draw_ring(painter, QRectF(self.rect()), t.colour("accent"), self.height() / 2)
        painter.end()

    def sizeHint(self) -> QSize:
        return self.minimumSize()


class Tick(KeyboardRing, QCheckBox):
    """A check box with words, drawn in the theme's colours."""

    changed = Signal()

    def __init__(self, theme: Theme, words: str, value: bool = False) -> None:
        super().__init__(words)
        self.theme = theme
        self.set(value)
        self.toggled.connect(lambda: self.changed.emit())
        theme.changed.connect(self.update)

    def value(self) -> bool:
        return self.isChecked()

    def set(self, value: bool) -> None:
        with QSignalBlocker(self):
            self.setChecked(value)

    def sizeHint(self) -> QSize:
        self.ensurePolished()
        return QSize(self.theme.px(24) + self.fontMetrics().horizontalAdvance(self.text()) + 8, self.theme.px(28))

    def minimumSizeHint(self) -> QSize:
        return self.sizeHint()

    def hitButton(self, at) -> bool:
        return self.rect().contains(at)

    def paintEvent(self, event: QPaintEvent) -> None:
        t, painter, side = self.theme, QPainter(self), self.theme.px(16)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        box = QRectF(2.5, (self.height() - side) / 2 + 0.5, side - 1, side - 1)
        on, usable = self.isChecked(), self.isEnabled()
        painter.setPen(QPen(t.colour("accent" if on and usable else "control"), 1))
        painter.setBrush(t.colour("accent" if on and usable else "surface"))
        painter.drawRoundedRect(box, 4, 4)
        if on:
            u = side / 16
            ink = t.colour("on_accent" if usable else "text3")
            painter.setPen(QPen(ink, 1.8 * u, c=Qt.PenCapStyle.RoundCap, j=Qt.PenJoinStyle.RoundJoin))
            painter.drawPolyline([box.topLeft() + QPointF(x * u, y * u) for x, y in ((3.5, 8), (6.3, 10.8), (11.5, 4.6))])
        painter.setFont(self.font())
        painter.setPen(t.colour("text" if usable else "text3"))
        painter.drawText(QRectF(side + 10, 0, self.width() - side - 10, self.height()), Qt.AlignmentFlag.AlignVCenter, self.text())
        if self.hasFocus() and self.ring:
            draw_ring(painter, QRectF(self.rect()), t.colour("accent"), 6)
        painter.end()


