"""Chips: small buttons in lines that wrap. A chip names a filter, and, once it is set, what it is set to, with a cross that clears it."""

from collections.abc import Sequence

from PySide6.QtCore import QEvent, QRect, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QFontMetrics, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QAbstractButton, QLayout, QLayoutItem, QSizePolicy, QWidget

from desktop.theme.theme import Theme
from desktop.widgets.painted import KeyboardRing, draw_ring
from engine.contract.words import tr


class Chip(KeyboardRing, QAbstractButton):
    """`clicked` opens its choices; `cleared` when the person takes the value away (the cross, Delete or Backspace)."""

    cleared = Signal()

    def __init__(self, theme: Theme, title: str) -> None:
        super().__init__()
        self.theme, self._title, self._value = theme, title, ""
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        theme.changed.connect(self.update)
        self.set_value("")

    @property
    def value_words(self) -> str:
        return self._value

    def set_value(self, words: str) -> None:
        """What it is set to, in words; "" is not set."""
        self._value = words
        self.setText(tr("{name}: {value}", name=self._title, value=words) if words else self._title)
        self.setAccessibleName(self.text())
        self.setAccessibleDescription(tr("Filter. Delete clears it.") if words else tr("Filter"))
        self.setToolTip(self.text() if words else "")
        self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:
        px, metrics = self.theme.px, QFontMetrics(self.theme.font("medium"))
        words = min(metrics.horizontalAdvance(self.text()), px(260))
        return QSize(words + px(12 + 6 + 14 + 9), px(28))

    def _cross(self) -> QRect:
        return QRect(self.width() - self.theme.px(26), 0, self.theme.px(26), self.height())

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        on_cross = bool(self._value) and self._cross().contains(event.position().toPoint())
        if on_cross and self.isDown():
            self.setDown(False)
            self.cleared.emit()
        else:
            super().mouseReleaseEvent(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Delete, Qt.Key.Key_Backspace) and self._value:
            self.cleared.emit()
        elif event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Down):
            self.click()
        else:
            super().keyPressEvent(event)

    def event(self, event: QEvent) -> bool:
        """Delete is the chip's while it has a value, whatever shortcut the page has for it."""
        if event.type() == QEvent.Type.ShortcutOverride and isinstance(event, QKeyEvent) and self._value and \
                event.key() in (Qt.Key.Key_Delete, Qt.Key.Key_Backspace):
            event.accept()
            return True
        return super().event(event)

    def enterEvent(self, event) -> None:
        super().enterEvent(event)
        self.update()

    def leaveEvent(self, event) -> None:
        super().leaveEvent(event)
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        t, px, painter = self.theme, self.theme.px, QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        box, on = QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), bool(self._value)
        ground = "accent_soft" if on else "hover" if self.underMouse() and self.isEnabled() else "surface"
        painter.setBrush(t.colour(ground))
        painter.setPen(QPen(t.colour("accent" if on else "control" if self.isEnabled() else "line"), 1))
        painter.drawRoundedRect(box, px(6), px(6))
        font = t.font("medium")
        painter.setFont(font)
        painter.setPen(t.colour("accent" if on else "text" if self.isEnabled() else "text3"))
        inner = QRectF(px(12), 0, self.width() - px(12 + 6 + 14 + 9), self.height())
        words = QFontMetrics(font).elidedText(self.text(), Qt.TextElideMode.ElideMiddle, int(inner.width()) + 1)
        painter.drawText(inner, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, words)
        glyph, tone = ("close", "accent") if on else ("down", "text2")
        side = px(14)
        picture = t.pixmap(glyph, tone if self.isEnabled() else "text3", 14, self.devicePixelRatioF())
        painter.drawPixmap(QRectF(self.width() - px(9) - side, (self.height() - side) / 2, side, side), picture, QRectF(picture.rect()))
        if self.hasFocus() and self.ring:
            draw_ring(painter, QRectF(self.rect()), t.colour("accent"), px(6))
        painter.end()


class Wrap(QLayout):
    """Widgets side by side, in as many lines as they need. Hidden ones take no room."""

    def __init__(self, host: QWidget, gap: int = 8) -> None:
        super().__init__(host)
        self._items: list[QLayoutItem] = []
        self._gap = gap
        self.setContentsMargins(0, 0, 0, 0)

    def addItem(self, item: QLayoutItem) -> None:
        self._items.append(item)

    def count(self) -> int:
        return len(self._items)

    def itemAt(self, index: int) -> QLayoutItem | None:  # type: ignore[override]
        return self._items[index] if 0 <= index < len(self._items) else None

    def takeAt(self, index: int) -> QLayoutItem | None:  # type: ignore[override]
        return self._items.pop(index) if 0 <= index < len(self._items) else None

    def expandingDirections(self) -> Qt.Orientation:
        return Qt.Orientation(0)

    def hasHeightForWidth(self) -> bool:
        return True

    def heightForWidth(self, width: int) -> int:
        return self._lay(QRect(0, 0, width, 0), move=False)

    def setGeometry(self, rect: QRect) -> None:
        super().setGeometry(rect)
        self._lay(rect, move=True)

    def sizeHint(self) -> QSize:
        sizes = [i.sizeHint() for i in self._items if not i.isEmpty()]
        return QSize(sum(s.width() for s in sizes) + self._gap * max(0, len(sizes) - 1), max((s.height() for s in sizes), default=0))

    def minimumSize(self) -> QSize:
        sizes = [i.minimumSize() for i in self._items if not i.isEmpty()]
        return QSize(max((s.width() for s in sizes), default=0), max((s.height() for s in sizes), default=0))

    def _lay(self, rect: QRect, *, move: bool) -> int:
        """Line after line, each as high as its highest; the others stand in its middle. The height of all."""
        lines: list[list[tuple[QLayoutItem, QSize]]] = [[]]
        x = 0
        for item in self._items:
            if item.isEmpty():
                continue
            size = item.sizeHint()
            if lines[-1] and x + size.width() > rect.width():
                lines.append([])
                x = 0
            lines[-1].append((item, size))
            x += size.width() + self._gap
        y = rect.y()
        for line in lines:
            tall, x = max((size.height() for _, size in line), default=0), rect.x()
            for item, size in line if move else ():
                item.setGeometry(QRect(x, y + (tall - size.height()) // 2, min(size.width(), rect.width()), size.height()))
                x += size.width() + self._gap
            y += tall + self._gap
        return max(0, y - self._gap - rect.y())


class ChipBar(QWidget):
    """Widgets in lines that wrap at its width."""

    def __init__(self, *widgets: QWidget, gap: int = 8) -> None:
        super().__init__()
        self._box = Wrap(self, gap)
        for widget in widgets:
            self._box.addWidget(widget)
        policy = QSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)

    def set(self, widgets: Sequence[QWidget]) -> None:
        """Only these are shown, in this order."""
        while self._box.takeAt(0) is not None:
            pass
        for widget in widgets:
            self._box.addWidget(widget)
        self.updateGeometry()
