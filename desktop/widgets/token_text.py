"""Text coloured by token: the tint says how likely the model found each one. Made for streams: appending lays out the last line, no more.

`TokenText` paints; it knows no server and no popover. The mouse or the arrow keys choose a token, `chosen_changed` tells. What is shown may
differ from what is copied: a newline gets a mark, a special token its name. A character made of several tokens is one cell.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from PySide6.QtCore import QEvent, QPoint, QPointF, QRect, QRectF, Qt, Signal
from PySide6.QtGui import (
    QBrush,
    QColor,
    QContextMenuEvent,
    QFocusEvent,
    QFont,
    QGuiApplication,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QResizeEvent,
    QTextCharFormat,
    QTextLayout,
    QTextOption,
)
from PySide6.QtWidgets import QMenu, QSizePolicy, QWidget

from desktop.jobs.chat_client import StreamedToken
from engine.contract.words import tr

STEPS = (0.8, 0.5, 0.2)  # from this probability on: no tint, faint, middle; below the last: strong
PITCH = 28
NEWLINE_MARK = "\u21b5"


@dataclass(frozen=True)
class TokenColours:
    """`tints` from the likeliest step to the unlikeliest; the first is transparent."""

    text: QColor
    prompt: QColor
    mark: QColor
    ring: QColor
    selection: QColor
    tints: tuple[QColor, QColor, QColor, QColor]


@dataclass
class Cell:
    """A piece of text that is chosen as one: a token, or the tokens that make one character. `start` and `end` are places in what is shown;
    `text` is what is copied; no tokens: the prompt."""

    start: int
    end: int
    text: str
    tokens: tuple[StreamedToken, ...] = ()
    special: bool = False

    @property
    def logprob(self) -> float:
        return sum(t.logprob for t in self.tokens)

    @property
    def probability(self) -> float:
        return math.exp(self.logprob)


def step_of(probability: float) -> int:
    """Which of the four tints: 0 for 80 % and up, 3 for under 20."""
    return next((i for i, floor in enumerate(STEPS) if probability >= floor), len(STEPS))


@dataclass
class _Line:
    """One visual line: its text begins at `start` of what is shown. `layout` holds it with its tints; made when first painted."""

    start: int
    length: int
    layout: QTextLayout | None = field(default=None, repr=False)


class TokenText(QWidget):
    """`set_prompt` (told apart in quieter ink), then `append` batches of tokens. Its height follows its text."""

    chosen_changed = Signal(int)
    grew = Signal()

    def __init__(self, font: QFont, colours: Callable[[], TokenColours], pitch: int = PITCH, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._font, self._colours, self.pitch = QFont(font), colours, pitch
        self._shown = ""
        self._cells: list[Cell] = []
        self._starts: list[int] = []
        self._lines: list[_Line] = []
        self._half: list[StreamedToken] = []
        self._chosen = -1
        self._by_key = False
        self._anchor = -1
        self._selection: tuple[int, int] | None = None
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setCursor(Qt.CursorShape.IBeamCursor)
        self.setAccessibleName(tr("What the model wrote"))
        self._fit()

    # -- content -----------------------------------------------------------------------------------------------------

    @property
    def cells(self) -> Sequence[Cell]:
        return self._cells

    @property
    def chosen(self) -> int:
        return self._chosen

    @property
    def line_count(self) -> int:
        return len(self._lines)

    def plain(self, prompt: bool = True) -> str:
        """The text as it is copied."""
        return "".join(c.text for c in self._cells if prompt or c.tokens)

    def clear(self) -> None:
        self._shown, self._cells, self._starts, self._lines, self._half = "", [], [], [], []
        self._selection, self._anchor = None, -1
        self._choose(-1)
        self._fit()
        self.update()

    def set_prompt(self, text: str) -> None:
        """Begin anew with this prompt."""
        self.clear()
        if text:
            self._add(text, text.replace("\t", "    "), ())
            self._lay_out_from(0)

    def append(self, tokens: Sequence[StreamedToken]) -> None:
        """More tokens. Only the last line and what follows it is laid out."""
        before = len(self._cells)
        for token in tokens:
            self._half.append(token)
            if token.text:
                shown = token.text.replace("\r\n", "\n").replace("\t", "    ").replace("\n", NEWLINE_MARK + "\n")
                self._add(token.text, shown, tuple(self._half))
                self._half = []
            elif len(self._half) == 1 and (name := _special_name(token)):
                self._add("", name, (token,), special=True)
                self._half = []
        if len(self._cells) > before:
            self._lay_out_from(max(0, len(self._lines) - 1))
            self.grew.emit()

    def finish(self) -> None:
        """No more tokens: screen readers hear the text now, not at every token."""
        self.setAccessibleDescription(self.plain())

    def _add(self, text: str, shown: str, tokens: tuple[StreamedToken, ...], special: bool = False) -> None:
        start = len(self._shown)
        self._shown += shown
        self._cells.append(Cell(start, len(self._shown), text, tokens, special))
        self._starts.append(start)

    # -- layout ------------------------------------------------------------------------------------------------------

    def _lay_out_from(self, line: int) -> None:
        """Break what is shown into lines, from line number `line` on."""
        start = self._lines[line].start if line < len(self._lines) else 0
        del self._lines[line:]
        width = max(40, self.width())
        option = QTextOption()
        option.setWrapMode(QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere)
        paragraphs = self._shown[start:].split("\n")
        for number, paragraph in enumerate(paragraphs):
            if not paragraph:
                if number < len(paragraphs) - 1 or not self._lines or number == len(paragraphs) - 1:
                    self._lines.append(_Line(start, 0))
            else:
                layout = QTextLayout(paragraph, self._font)
                layout.setTextOption(option)
                layout.beginLayout()
                while (made := layout.createLine()).isValid():
                    made.setLineWidth(width)
                    begin = _py(paragraph, made.textStart())
                    end = _py(paragraph, made.textStart() + made.textLength())
                    self._lines.append(_Line(start + begin, end - begin))
                layout.endLayout()
            start += len(paragraph) + 1
        self._fit()
        self.update(0, line * self.pitch, self.width(), max(self.height() - line * self.pitch, self.pitch))

    def _fit(self) -> None:
        height = max(1, len(self._lines)) * self.pitch
        if height != self.height() or height != self.minimumHeight():
            self.setFixedHeight(height)

    def _line_layout(self, line: _Line) -> QTextLayout:
        """The line with its inks and tints, kept until the text or the theme changes."""
        if line.layout is not None:
            return line.layout
        colours = self._colours()
        text = self._shown[line.start:line.start + line.length]
        layout = QTextLayout(text, self._font)
        option = QTextOption()
        option.setWrapMode(QTextOption.WrapMode.NoWrap)
        layout.setTextOption(option)
        formats = []
        index = max(0, bisect_right(self._starts, line.start) - 1)
        while index < len(self._cells) and self._cells[index].start < line.start + line.length:
            cell = self._cells[index]
            left, right = max(cell.start, line.start) - line.start, min(cell.end, line.start + line.length) - line.start
            piece = text[left:right]
            formats.append(_format(text, left, right, _ink(cell, colours)))
            bare = len(piece) - len(piece.lstrip(" "))
            step = step_of(cell.probability) if cell.tokens else 0
            if step and bare < len(piece):
                formats.append(_format(text, left + bare, left + len(piece.rstrip(" \n")), _ink(cell, colours, colours.tints[step])))
            index += 1
        layout.setFormats(formats)
        layout.beginLayout()
        made = layout.createLine()
        made.setLineWidth(1e7)
        layout.endLayout()
        line.layout = layout
        return layout

    def cell_rects(self, index: int) -> list[QRect]:
        """Where a cell is on this widget, a rectangle a line."""
        cell = self._cells[index]
        first = max(0, bisect_right(self._lines, cell.start, key=lambda line: line.start) - 1)
        out: list[QRect] = []
        for number in range(first, len(self._lines)):
            line = self._lines[number]
            if line.start >= cell.end and out:
                break
            left, right = max(cell.start, line.start) - line.start, min(cell.end, line.start + line.length) - line.start
            if right <= left:
                continue
            piece = self._shown[line.start + left:line.start + right]
            if not piece.strip(" ") and cell.text.strip(" "):
                continue  # only its leading blank, left at the end of the line before
            left += len(piece) - len(piece.lstrip(" ")) if piece.strip(" ") else 0
            layout = self._line_layout(line)
            text, row = layout.text(), layout.lineAt(0)
            x0, x1 = _x(row.cursorToX(_qt(text, left))), _x(row.cursorToX(_qt(text, right)))
            top = number * self.pitch + round((self.pitch - row.height()) / 2)
            out.append(QRect(round(min(x0, x1)), top, max(2, round(abs(x1 - x0))), round(row.height())))
        return out

    def cell_at(self, point: QPoint) -> int:
        """The cell under a point, -1 where there is none."""
        number = point.y() // self.pitch
        if not 0 <= number < len(self._lines):
            return -1
        line = self._lines[number]
        layout = self._line_layout(line)
        row = layout.lineAt(0)
        if not line.length or not 0 <= point.x() <= row.naturalTextWidth() + 2:
            return -1
        at = line.start + _py(layout.text(), int(row.xToCursor(point.x(), row.CursorPosition.CursorOnCharacter)))
        return max(0, min(bisect_right(self._starts, at) - 1, len(self._cells) - 1))

    # -- painting ----------------------------------------------------------------------------------------------------

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setPen(self._colours().text)
        first, last = max(0, event.rect().top() // self.pitch), min(len(self._lines) - 1, event.rect().bottom() // self.pitch)
        if self._selection:
            low, high = self._selection
            for index in range(low, high + 1):
                for rect in self.cell_rects(index):
                    painter.fillRect(rect.adjusted(-1, -4, 1, 4), self._colours().selection)
        for number in range(first, last + 1):
            layout = self._line_layout(self._lines[number])
            if layout.lineCount():
                layout.draw(painter, QPointF(0, number * self.pitch + (self.pitch - layout.lineAt(0).height()) / 2))
        if self._chosen >= 0:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setPen(QPen(self._colours().ring, 2 if self.hasFocus() and self._by_key else 1.4))
            for rect in self.cell_rects(self._chosen):
                painter.drawRoundedRect(QRectF(rect).adjusted(-1, -1, 1, 1), 3, 3)

    def changeEvent(self, event: QEvent) -> None:
        if event.type() in (QEvent.Type.PaletteChange, QEvent.Type.StyleChange):
            self.restyle()
        super().changeEvent(event)

    def restyle(self) -> None:
        """Inks anew, after a change of theme."""
        for line in self._lines:
            line.layout = None
        self.update()

    def resizeEvent(self, event: QResizeEvent) -> None:
        if event.size().width() != event.oldSize().width() and self._shown:
            self._lay_out_from(0)
        super().resizeEvent(event)

    # -- choosing ----------------------------------------------------------------------------------------------------

    def _choose(self, index: int, by_key: bool = False) -> None:
        if index >= 0 and not self._cells[index].tokens:
            index = -1
        self._by_key = by_key
        if index != self._chosen:
            self._chosen = index
            self.update()
            self.chosen_changed.emit(index)

    def choose(self, index: int) -> None:
        """Choose a cell as the keyboard does; -1 for none."""
        self._choose(index, by_key=True)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        index = self.cell_at(event.position().toPoint())
        if event.buttons() & Qt.MouseButton.LeftButton and self._anchor >= 0:
            if index >= 0:
                self._selection = (min(index, self._anchor), max(index, self._anchor))
                self.update()
            return
        if index >= 0 or not self._by_key:
            self._choose(index)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self._anchor = self.cell_at(event.position().toPoint())
        self._selection = None
        self.update()
        super().mousePressEvent(event)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        self._anchor = -1
        super().mouseReleaseEvent(event)

    def leaveEvent(self, event: QEvent) -> None:
        if not self._by_key:
            self._choose(-1)
        super().leaveEvent(event)

    def focusOutEvent(self, event: QFocusEvent) -> None:
        if event.reason() != Qt.FocusReason.PopupFocusReason:
            self._choose(-1)
        super().focusOutEvent(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        key = event.key()
        written = [i for i, c in enumerate(self._cells) if c.tokens]
        if event.modifiers() == Qt.KeyboardModifier.ControlModifier and key == Qt.Key.Key_C:
            self.copy()
        elif event.modifiers() == Qt.KeyboardModifier.ControlModifier and key == Qt.Key.Key_A and self._cells:
            self._selection = (0, len(self._cells) - 1)
            self.update()
        elif key == Qt.Key.Key_Escape and (self._chosen >= 0 or self._selection):
            self._selection = None
            self._choose(-1)
            self.update()
        elif written and key in (Qt.Key.Key_Left, Qt.Key.Key_Right, Qt.Key.Key_Home, Qt.Key.Key_End, Qt.Key.Key_Up, Qt.Key.Key_Down):
            self._choose(self._next(key, written), by_key=True)
        else:
            super().keyPressEvent(event)

    def _next(self, key: int, written: list[int]) -> int:
        if key == Qt.Key.Key_Home or (self._chosen < 0 and key in (Qt.Key.Key_Right, Qt.Key.Key_Down)):
            return written[0]
        if key == Qt.Key.Key_End or self._chosen < 0:
            return written[-1]
        if key in (Qt.Key.Key_Left, Qt.Key.Key_Right):
            return max(written[0], min(written[-1], self._chosen + (1 if key == Qt.Key.Key_Right else -1)))
        rect = self.cell_rects(self._chosen)[0]
        found = self.cell_at(rect.center() + QPoint(0, self.pitch if key == Qt.Key.Key_Down else -self.pitch))
        return found if found >= written[0] else self._chosen

    def copy(self) -> None:
        """The chosen stretch to the clipboard, or everything."""
        low, high = self._selection or (0, len(self._cells) - 1)
        QGuiApplication.clipboard().setText("".join(c.text for c in self._cells[low:high + 1]))

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        if not self._cells:
            return
        menu = QMenu(self)
        menu.addAction(tr("Copy selection") if self._selection else tr("Copy text"), self.copy)
        menu.exec(event.globalPos())


def _special_name(token: StreamedToken) -> str:
    """How a special token is shown: its own name, if it is one."""
    try:
        name = token.bytes.decode("utf-8")
    except UnicodeDecodeError:
        return ""
    return name if name.startswith("<") and name.endswith(">") else ""


def _ink(cell: Cell, colours: TokenColours, tint: QColor | None = None) -> QTextCharFormat:
    made = QTextCharFormat()
    made.setForeground(QBrush(colours.text if cell.tokens and not cell.special else colours.mark if cell.special else colours.prompt))
    if tint is not None:
        made.setBackground(QBrush(tint))
    return made


def _format(text: str, left: int, right: int, ink: QTextCharFormat) -> QTextLayout.FormatRange:
    made = QTextLayout.FormatRange()
    made.start = _qt(text, left)
    made.length = _qt(text, right) - made.start
    made.format = ink
    return made


# Qt counts UTF-16 units, Python characters; they differ only past U+FFFF.


def _qt(text: str, at: int) -> int:
    return at if text.isascii() else at + sum(c > "\uffff" for c in text[:at])


def _py(text: str, at: int) -> int:
    return at if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")[:2 * at].decode("utf-16-le", "replace"))


def _x(value: object) -> float:
    """cursorToX gives a pair in some bindings."""
    return float(value[0]) if isinstance(value, (tuple, list)) else float(value)  # type: ignore[arg-type]
