"""The text of the code editor: Python as one types it. Lines are numbered, indented, marked where something is wrong; brackets find each
other. Which names can be completed is handed in; how it is framed is code_editor.py's matter.

After Escape the next Tab leaves, as everywhere else; Tab otherwise indents.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from PySide6.QtCore import QPoint, QRect, QSize, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QFocusEvent,
    QFontMetrics,
    QFontMetricsF,
    QKeyEvent,
    QKeySequence,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QResizeEvent,
    QTextBlock,
    QTextCharFormat,
    QTextCursor,
)
from PySide6.QtWidgets import QPlainTextEdit, QTextEdit, QToolTip, QWidget

from desktop.theme.theme import Theme
from desktop.widgets.code_colours import CodeColours, in_letters
from engine.contract.words import tr

INDENT = 4
BRACKETS = {"(": ")", "[": "]", "{": "}"}
CLOSING = {close: open for open, close in BRACKETS.items()}
ENDS = re.compile(r"\s*(return|pass|break|continue|raise)\b")
FAR = 300
"""Lines that are looked through for the other bracket."""
BAR = 3
MOST_FOUND = 500
TONE = {"error": "danger", "warn": "warn"}


@dataclass(frozen=True)
class Mark:
    """Something about a line: kind error or warn; line and column from 1, column 0 for the whole line, line 0 for the
    whole text."""

    line: int
    sentence: str
    kind: str = "error"
    column: int = 0


class Gutter(QWidget):
    """The numbers of the lines, and a bar beside those that are marked. A click chooses the line."""

    def __init__(self, text: "CodeText") -> None:
        super().__init__(text)
        self._text = text
        self.setAccessibleName("")

    def sizeHint(self) -> QSize:
        return QSize(self._text.gutter_width(), 0)

    def paintEvent(self, event: QPaintEvent) -> None:
        self._text.paint_gutter(self, event)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self._text.click_gutter(event.position().toPoint())


class CodeText(QPlainTextEdit):
    """`edited` when a person changed the text; `completion_wanted(forced)` when letters were typed or Ctrl+Space pressed; `moved` when the
    cursor is elsewhere. `popup` is asked first for keys while it is open."""

    edited = Signal()
    completion_wanted = Signal(bool)
    moved = Signal()
    left = Signal()

    def __init__(self, theme: Theme, name: str) -> None:
        super().__init__()
        self.theme = theme
        self.popup: QWidget | None = None
        self.marks: list[tuple[Mark, QTextCursor]] = []
        self.hits: list[QTextCursor] = []
        self._leaving = False
        self._loading = False
        self._text = ""
        self._gutter = Gutter(self)
        self.setProperty("role", "mono")
        self.setAccessibleName(name)
        self.setAccessibleDescription(tr("Python. Tab indents; press Escape, then Tab, to leave."))
        self.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self.setFrameShape(QPlainTextEdit.Shape.NoFrame)
        self.setMouseTracking(True)
        self.colours = CodeColours(self.document(), theme)
        self.blockCountChanged.connect(self._room)
        self.updateRequest.connect(self._scrolled)
        self.cursorPositionChanged.connect(self._moved)
        self.textChanged.connect(self._changed)
        theme.follow(self, self._dress)

    # the text ---------------------------------------------------------------------------------------------------------

    def load(self, text: str) -> None:
        """Another text, as it was kept: not an edit, and nothing to undo."""
        self._loading = True
        self.marks, self.hits = [], []
        self.setPlainText(text)
        self._text = self.toPlainText()
        self._loading = False
        self._show_extras()

    def replace(self, text: str) -> None:
        """Another text as one step that can be undone."""
        cursor = self.textCursor()
        cursor.select(QTextCursor.SelectionType.Document)
        cursor.insertText(text)
        cursor.setPosition(0)
        self.setTextCursor(cursor)

    def replace_line(self, line: int, text: str) -> None:
        """Other words for one line (from 1), as one step that can be undone."""
        cursor = QTextCursor(self.document().findBlockByNumber(line - 1))
        cursor.movePosition(QTextCursor.MoveOperation.EndOfBlock, QTextCursor.MoveMode.KeepAnchor)
        cursor.insertText(text)

    def go_to(self, line: int, column: int = 0) -> None:
        """The cursor there, and it in sight."""
        block = self.document().findBlockByNumber(max(0, line - 1))
        if not block.isValid():
            block = self.document().lastBlock()
        cursor = QTextCursor(block)
        cursor.setPosition(block.position() + min(max(0, column - 1), max(0, block.length() - 1)))
        self.setTextCursor(cursor)
        self.centerCursor()

    def set_marks(self, marks: Sequence[Mark]) -> None:
        """What is wrong, where. A mark stays with its line while lines come and go above it."""
        self.marks = []
        for mark in sorted(marks, key=lambda m: m.line):
            block = self.document().findBlockByNumber(max(0, mark.line - 1))
            cursor = QTextCursor(block if block.isValid() else self.document().lastBlock())
            self.marks.append((mark, cursor))
        self._show_extras()
        self._gutter.update()

    def set_hits(self, hits: Sequence[QTextCursor]) -> None:
        """Places that were found."""
        self.hits = list(hits[:MOST_FOUND])
        self._show_extras()

    def mark_at(self, line: int) -> Mark | None:
        return next((m for m, cursor in self.marks if m.line and cursor.blockNumber() + 1 == line), None)

    def next_mark(self) -> Mark | None:
        """The cursor at the next thing that is wrong, from the top again after the last."""
        placed, here = [pair for pair in self.marks if pair[0].line], self.textCursor().blockNumber()
        if not placed:
            return None
        mark, cursor = next((pair for pair in placed if pair[1].blockNumber() > here), placed[0])
        self.go_to(cursor.blockNumber() + 1, mark.column)
        return mark

    def _changed(self) -> None:
        text = self.toPlainText()
        if text != self._text:  # colours change nothing of the text, but Qt says so
            self._text = text
            if not self._loading:
                self.edited.emit()

    # how it looks -----------------------------------------------------------------------------------------------------

    def _dress(self) -> None:
        self.setTabStopDistance(QFontMetricsF(self.theme.font("mono")).horizontalAdvance(" ") * INDENT)
        self._room()
        self._show_extras()
        self._gutter.update()

    def gutter_width(self) -> int:
        digits = max(2, len(str(self.blockCount())))
        return self.theme.px(20) + QFontMetrics(self.theme.font("mono")).horizontalAdvance("9") * digits + self.theme.px(12)

    def _room(self) -> None:
        self.setViewportMargins(self.gutter_width(), 0, 0, 0)
        self._lay_gutter()

    def _lay_gutter(self) -> None:
        box = self.contentsRect()
        self._gutter.setGeometry(QRect(box.left(), box.top(), self.gutter_width(), box.height()))

    def _scrolled(self, area: QRect, by: int) -> None:
        if by:
            self._gutter.scroll(0, by)
        else:
            self._gutter.update(0, area.y(), self._gutter.width(), area.height())

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._lay_gutter()

    def _lines_seen(self, top: int, bottom: int) -> Iterator[tuple[QTextBlock, int]]:
        block = self.firstVisibleBlock()
        y = self.blockBoundingGeometry(block).translated(self.contentOffset()).top()
        while block.isValid() and y <= bottom:
            high = self.blockBoundingRect(block).height()
            if block.isVisible() and y + high >= top:
                yield block, round(y)
            y += high
            block = block.next()

    def paint_gutter(self, gutter: QWidget, event: QPaintEvent) -> None:
        t, painter = self.theme, QPainter(gutter)
        painter.setFont(t.font("mono"))
        here, high = self.textCursor().blockNumber(), self.fontMetrics().height()
        marked = {cursor.blockNumber(): TONE[mark.kind] for mark, cursor in reversed(self.marks) if mark.line}
        for block, y in self._lines_seen(event.rect().top(), event.rect().bottom()):
            number = block.blockNumber()
            tone = marked.get(number, "")
            if tone:
                painter.fillRect(0, y, t.px(BAR), high, t.colour(tone))
            painter.setPen(t.colour(tone or ("text" if number == here and self.hasFocus() else "text3")))
            painter.drawText(0, y, gutter.width() - t.px(14), high, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter,
                             str(number + 1))
        painter.end()

    def click_gutter(self, at: QPoint) -> None:
        cursor = self.cursorForPosition(QPoint(0, at.y()))
        cursor.select(QTextCursor.SelectionType.LineUnderCursor)
        self.setTextCursor(cursor)
        self.setFocus(Qt.FocusReason.MouseFocusReason)

    def _show_extras(self) -> None:
        found = []
        for cursor in self.hits:
            found.append(self._extra(cursor, "warn_soft", "text"))
        found += [self._wave(mark, cursor) for mark, cursor in self.marks if mark.line]
        found += [self._extra(cursor, "accent_soft", "text") for cursor in self._matched()]
        self.setExtraSelections(found)

    def _extra(self, cursor: QTextCursor, ground: str, ink: str) -> QTextEdit.ExtraSelection:
        made = QTextEdit.ExtraSelection()
        made.cursor = cursor
        made.format.setBackground(self.theme.colour(ground))
        made.format.setForeground(self.theme.colour(ink))
        return made

    def _wave(self, mark: Mark, place: QTextCursor) -> QTextEdit.ExtraSelection:
        """From the column on (or the first letter) to the line's end."""
        made, block = QTextEdit.ExtraSelection(), place.block()
        text = block.text()
        start = min(max(0, mark.column - 1), len(text)) if mark.column else len(text) - len(text.lstrip())
        if start >= len(text.rstrip()):
            start = max(0, len(text.rstrip()) - 1)
        cursor = QTextCursor(block)
        cursor.setPosition(block.position() + start)
        cursor.setPosition(block.position() + len(text.rstrip()), QTextCursor.MoveMode.KeepAnchor)
        made.cursor = cursor
        made.format.setUnderlineStyle(QTextCharFormat.UnderlineStyle.WaveUnderline)
        made.format.setUnderlineColor(QColor(self.theme[TONE[mark.kind]]))
        return made

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        super().mouseMoveEvent(event)
        line = self.cursorForPosition(event.position().toPoint()).blockNumber() + 1
        mark = self.mark_at(line)
        if mark is not None:
            QToolTip.showText(event.globalPosition().toPoint(), mark.sentence, self)
        elif QToolTip.isVisible():
            QToolTip.hideText()

    # brackets ---------------------------------------------------------------------------------------------------------

    def _moved(self) -> None:
        self._show_extras()
        self._gutter.update()
        self.moved.emit()

    def _matched(self) -> list[QTextCursor]:
        """The bracket at the cursor and its other half."""
        cursor = self.textCursor()
        if cursor.hasSelection():
            return []
        block, place = cursor.block(), cursor.positionInBlock()
        text = block.text()
        for at in (place - 1, place):
            if 0 <= at < len(text) and text[at] in (*BRACKETS, *CLOSING) and not in_letters(block, at):
                other = self._other(block, at)
                if other is not None:
                    return [self._letter(block.position() + at), self._letter(other)]
        return []

    def _letter(self, place: int) -> QTextCursor:
        cursor = QTextCursor(self.document())
        cursor.setPosition(place)
        cursor.setPosition(place + 1, QTextCursor.MoveMode.KeepAnchor)
        return cursor

    def _other(self, block: QTextBlock, at: int) -> int | None:
        """The position in the document of the bracket that belongs to this one."""
        mine = block.text()[at]
        forward = mine in BRACKETS
        theirs = BRACKETS[mine] if forward else CLOSING[mine]
        depth = 0
        for _ in range(FAR):
            text = block.text()
            if mine in text or theirs in text:
                places = range(at, len(text)) if forward else range(min(at, len(text) - 1), -1, -1)
                for i in places:
                    if text[i] in (mine, theirs) and not in_letters(block, i):
                        depth += 1 if text[i] == mine else -1
                        if depth == 0:
                            return block.position() + i
            block = block.next() if forward else block.previous()
            if not block.isValid():
                return None
            at = 0 if forward else len(block.text()) - 1
        return None

    # keys -------------------------------------------------------------------------------------------------------------

    def focusInEvent(self, event: QFocusEvent) -> None:
        self._leaving = False
        super().focusInEvent(event)
        self._gutter.update()

    def focusOutEvent(self, event: QFocusEvent) -> None:
        super().focusOutEvent(event)
        self._gutter.update()
        self.left.emit()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        key, held = event.key(), event.modifiers()
        control = bool(held & Qt.KeyboardModifier.ControlModifier)
        if self.popup is not None and self.popup.isVisible() and self.popup.take_key(event):  # type: ignore[attr-defined]
            return
        leaving, self._leaving = self._leaving, key == Qt.Key.Key_Escape
        if key in (Qt.Key.Key_Tab, Qt.Key.Key_Backtab) and (leaving or self.isReadOnly()):
            self.setTabChangesFocus(True)
            self.focusNextPrevChild(key == Qt.Key.Key_Tab)
            self.setTabChangesFocus(False)
        elif key == Qt.Key.Key_Escape:
            event.ignore()
        elif self.isReadOnly():
            super().keyPressEvent(event)
        elif key == Qt.Key.Key_Tab and not control:
            self.indent(1)
        elif key == Qt.Key.Key_Backtab:
            self.indent(-1)
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and not control:
            self._new_line()
        elif key == Qt.Key.Key_Backspace and not held and self._back():
            pass
        elif control and key == Qt.Key.Key_Slash:
            self.toggle_comment()
        elif control and key == Qt.Key.Key_Space:
            self.completion_wanted.emit(True)
        elif key == Qt.Key.Key_Home and not control:
            self._home(bool(held & Qt.KeyboardModifier.ShiftModifier))
        else:
            super().keyPressEvent(event)
            typed = event.text()
            if typed and (typed.isalnum() or typed in "_.") and not control:
                self.completion_wanted.emit(False)
            elif typed or event.matches(QKeySequence.StandardKey.Undo):
                self.moved.emit()

    def indent(self, direction: int) -> None:
        """Chosen lines in or out by four; without a selection spaces to the next stop."""
        cursor = self.textCursor()
        if direction > 0 and not cursor.hasSelection():
            cursor.insertText(" " * (INDENT - cursor.positionInBlock() % INDENT))
            return
        cursor.beginEditBlock()
        for block in self._chosen_blocks():
            inner, text = QTextCursor(block), block.text()
            if direction > 0:
                if text.strip():
                    inner.insertText(" " * INDENT)
            else:
                gone = min(INDENT, len(text) - len(text.lstrip(" "))) or (1 if text.startswith("\t") else 0)
                inner.setPosition(block.position() + gone, QTextCursor.MoveMode.KeepAnchor)
                inner.removeSelectedText()
        cursor.endEditBlock()

    def toggle_comment(self) -> None:
        """`# ` before every chosen line, or away where all have it."""
        blocks = [b for b in self._chosen_blocks() if b.text().strip()]
        if not blocks:
            return
        all_are = all(b.text().lstrip().startswith("#") for b in blocks)
        least = min(len(b.text()) - len(b.text().lstrip()) for b in blocks)
        cursor = self.textCursor()
        cursor.beginEditBlock()
        for block in blocks:
            inner, text = QTextCursor(block), block.text()
            if all_are:
                at = text.index("#")
                inner.setPosition(block.position() + at)
                inner.setPosition(block.position() + at + (2 if text[at + 1:at + 2] == " " else 1), QTextCursor.MoveMode.KeepAnchor)
                inner.removeSelectedText()
            else:
                inner.setPosition(block.position() + least)
                inner.insertText("# ")
        cursor.endEditBlock()

    def _chosen_blocks(self) -> list[QTextBlock]:
        cursor = self.textCursor()
        first = self.document().findBlock(cursor.selectionStart())
        end = cursor.selectionEnd()
        last = self.document().findBlock(end)
        if cursor.hasSelection() and last.position() == end and last != first:
            last = last.previous()  # a selection that ends before a line's first letter does not hold that line
        blocks = [first]
        while blocks[-1] != last:
            blocks.append(blocks[-1].next())
        return blocks

    def _new_line(self) -> None:
        """As far in as the line above; further after a colon or an opened bracket, back after what ends a block."""
        cursor = self.textCursor()
        before = cursor.block().text()[:cursor.positionInBlock()] if not cursor.hasSelection() else \
            self.document().findBlock(cursor.selectionStart()).text()
        after = cursor.block().text()[cursor.positionInBlock():]
        deep = len(before) - len(before.lstrip(" "))
        code = re.sub(r"\s+#[^\"']*$", "", before).rstrip()
        last = code[-1:]
        cursor.beginEditBlock()
        if last in BRACKETS and after[:1] == BRACKETS[last]:
            cursor.insertText("\n" + " " * (deep + INDENT) + "\n" + " " * deep)
            cursor.movePosition(QTextCursor.MoveOperation.PreviousBlock)
            cursor.movePosition(QTextCursor.MoveOperation.EndOfBlock)
        else:
            letters = cursor.positionInBlock() > 0 and in_letters(cursor.block(), max(0, len(code) - 1))
            if not letters and (last == ":" or last in BRACKETS):
                deep += INDENT
            elif not letters and ENDS.match(code):
                deep = max(0, deep - INDENT)
            cursor.insertText("\n" + " " * deep)
        cursor.endEditBlock()
        self.setTextCursor(cursor)
        self.ensureCursorVisible()

    def _back(self) -> bool:
        """Backspace in the space before a line's first word goes back to the stop before."""
        cursor = self.textCursor()
        before = cursor.block().text()[:cursor.positionInBlock()]
        if cursor.hasSelection() or not before or before.strip(" "):
            return False
        count = (len(before) - 1) % INDENT + 1
        cursor.movePosition(QTextCursor.MoveOperation.Left, QTextCursor.MoveMode.KeepAnchor, count)
        cursor.removeSelectedText()
        return True

    def _home(self, selecting: bool) -> None:
        """To the line's first letter, then to its beginning."""
        cursor = self.textCursor()
        text = cursor.block().text()
        first = len(text) - len(text.lstrip())
        target = 0 if cursor.positionInBlock() == first else first
        mode = QTextCursor.MoveMode.KeepAnchor if selecting else QTextCursor.MoveMode.MoveAnchor
        cursor.setPosition(cursor.block().position() + target, mode)
        self.setTextCursor(cursor)
