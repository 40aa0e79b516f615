"""The log of a run: its tail as it grows, with a search. It reads the file a little at a time and keeps the last 5,000 lines."""

from pathlib import Path

from PySide6.QtCore import QTimer
from PySide6.QtGui import QColor, QHideEvent, QKeySequence, QShortcut, QShowEvent, QTextCharFormat, QTextCursor, QTextDocument
from PySide6.QtWidgets import QPlainTextEdit, QTextEdit, QWidget

from desktop.theme.theme import Theme
from desktop.widgets.buttons import Button
from desktop.widgets.fields import SearchField
from desktop.widgets.layout import col, row
from desktop.widgets.panel import Panel
from desktop.widgets.text import small
from engine.contract.words import tr, trn

LINES = 5000
FIRST_BYTES = 200_000
READ_BYTES = 65_536
LOOK_MS = 500
BAD = ("error", "traceback", "exception", "fatal")


class LogView(QWidget):
    """`watch(path)` shows the file's end and follows it while visible. Lines that tell of an error stand in the danger ink."""

    def __init__(self, theme: Theme, *, search: bool = True, rows: int = 0) -> None:
        super().__init__()
        self.theme = theme
        self._path: Path | None = None
        self._offset = 0
        self._rest = b""
        self._cut = False
        self.edit = QPlainTextEdit()
        self.edit.setProperty("role", "mono")
        self.edit.setReadOnly(True)
        self.edit.setMaximumBlockCount(LINES)
        self.edit.setAccessibleName(tr("Log"))
        self.edit.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self.edit.setTabChangesFocus(True)
        if rows:
            self.edit.setMinimumHeight(theme.px(18 * rows + 20))
        self._find = SearchField(tr("Find in the log"))
        self._find.changed.connect(self._search)
        self._found = small()
        self._next = Button(theme, kind="icon", icon="downarrow", name=tr("Next place"), on_click=lambda: self._step())
        self._before = Button(theme, kind="icon", icon="uparrow", name=tr("Place before"), on_click=lambda: self._step(back=True))
        bar = row((self._find, 1), self._found, self._before, self._next, gap=8) if search else None
        col(bar, (Panel(self.edit, kind="sunken", pad=(10, 8, 4, 8)), 1), gap=8, host=self)
        if search:
            QShortcut(QKeySequence.StandardKey.Find, self, self._find.setFocus)
        self._timer = QTimer(self, interval=LOOK_MS)
        self._timer.timeout.connect(self._look)
        theme.changed.connect(self._reload)

    def watch(self, path: Path) -> None:
        if path != self._path:
            self._path = path
            self._reload()

    def text(self) -> str:
        return self.edit.toPlainText()

    def _reload(self) -> None:
        self.edit.clear()
        self._rest = b""
        self._offset, self._cut = 0, False
        if self._path is not None:
            try:
                self._offset = max(0, self._path.stat().st_size - FIRST_BYTES)
            except OSError:
                self._offset = 0
            self._cut = self._offset > 0  # then the first line is not whole
            self._look()

    def _look(self) -> None:
        """Append what is new, a block at a time; stay at the end if the reader is there."""
        if self._path is None:
            return
        try:
            with open(self._path, "rb") as file:
                file.seek(self._offset)
                data = file.read(READ_BYTES)
        except OSError:
            return
        if not data:
            return
        self._offset += len(data)
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        if self._cut and lines:
            self._cut, lines = False, lines[1:]
        at_end = self.edit.verticalScrollBar().value() >= self.edit.verticalScrollBar().maximum() - 2
        self._append([line.decode("utf-8", "replace").rstrip("\r") for line in lines])
        if at_end:
            self.edit.verticalScrollBar().setValue(self.edit.verticalScrollBar().maximum())
        if len(data) == READ_BYTES:
            QTimer.singleShot(0, self, self._look)

    def _append(self, lines: list[str]) -> None:
        cursor = QTextCursor(self.edit.document())
        cursor.movePosition(QTextCursor.MoveOperation.End)
        cursor.beginEditBlock()
        for line in lines:
            made = QTextCharFormat()
            made.setForeground(QColor(self.theme["danger" if any(word in line.lower() for word in BAD) else "text2"]))
            if not self.edit.document().isEmpty():
                cursor.insertBlock()
            cursor.insertText(line, made)
        cursor.endEditBlock()

    def _search(self) -> None:
        words = self._find.value().strip()
        marks: list[QTextEdit.ExtraSelection] = []
        if words:
            cursor = QTextCursor(self.edit.document())
            while len(marks) < 500:
                cursor = self.edit.document().find(words, cursor)
                if cursor.isNull():
                    break
                mark = QTextEdit.ExtraSelection()
                mark.cursor = cursor
                mark.format.setBackground(self.theme.colour("warn_soft"))
                marks.append(mark)
        self.edit.setExtraSelections(marks)
        self._found.set(trn("{count} place", "{count} places", len(marks)) if words else "")
        if marks:
            self._step()

    def _step(self, back: bool = False) -> None:
        words = self._find.value().strip()
        if not words:
            return
        flags = QTextDocument.FindFlag.FindBackward if back else QTextDocument.FindFlag(0)
        if not self.edit.find(words, flags):
            self.edit.moveCursor(QTextCursor.MoveOperation.End if back else QTextCursor.MoveOperation.Start)
            self.edit.find(words, flags)

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._look()
        self._timer.start()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self._timer.stop()
