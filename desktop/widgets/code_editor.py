"""The code editor: the text with its colours, names that can be completed, what is wrong under it, and finding. It knows Python and the
names of a verifier (code_names.py); it runs nothing and keeps nothing."""

import re
from collections.abc import Sequence

from PySide6.QtCore import QEvent, QObject, QPoint, QSignalBlocker, Qt, QTimer, Signal
from PySide6.QtGui import QAccessible, QAccessibleAnnouncementEvent, QKeyEvent, QKeySequence, QShortcut, QTextCursor
from PySide6.QtWidgets import QFrame, QVBoxLayout, QWidget

from desktop.theme.theme import Theme
from desktop.widgets.buttons import Button
from desktop.widgets.code_names import SHORTEST, Name, fitting, wanted
from desktop.widgets.code_text import MOST_FOUND, CodeText, Mark
from desktop.widgets.fields import SearchField
from desktop.widgets.layout import col, fill, row, show_if
from desktop.widgets.table import Cell, Column, Table
from desktop.widgets.text import Icon, Text, small
from engine.contract.units import number
from engine.contract.words import tr

ROWS, WIDTH, ROW = 8, 340, 26
GLYPHS = {"error": ("error", "danger"), "warn": ("warn", "warn")}


class Completions(QFrame):
    """Names that fit what is typed, under it. Up and Down choose, Enter and Tab take, Escape closes; the focus stays in the text."""

    def __init__(self, theme: Theme, host: QWidget, text: CodeText) -> None:
        super().__init__(host)
        self.theme, self._text = theme, text
        self.setProperty("kind", "popover")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.table = Table(theme, [Column("", lambda n: Cell(n.word), 150), Column("", lambda n: Cell(n.about, tone="text2"))],
                           name=tr("Completions"), fit=True, max_rows=ROWS, row_height=ROW)
        self.table.horizontalHeader().setFixedHeight(0)
        self.table.horizontalHeader().hide()
        self.table.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.table.clicked.connect(lambda index: self.take())
        fill(QVBoxLayout(self), (self.table,), 0, (4, 4, 4, 4))
        self.setFixedWidth(theme.px(WIDTH))
        self.hide()

    @property
    def names(self) -> list[Name]:
        return list(self.table.rows_model.rows)

    def offer(self, forced: bool) -> None:
        """Open for what stands before the cursor, or close. Without being asked it waits for two letters or a dot."""
        cursor = self._text.textCursor()
        line = cursor.block().text()[:cursor.positionInBlock()]
        owner, typed = wanted(line)
        if self._text.isReadOnly() or cursor.hasSelection() or not (forced or owner or len(typed) >= SHORTEST or self.isVisible()) \
                or (not forced and not owner and not typed) or self._in_letters(cursor):
            self.hide()
            return
        found = fitting(line, self._text.toPlainText)
        if not found:
            self.hide()
            return
        self.table.rows_model.set(found)
        self.table.select(0)
        self.layout().activate()
        self.setFixedHeight(self.layout().sizeHint().height())
        self._place(len(typed))
        self.show()
        self.raise_()
        self._say()

    def _in_letters(self, cursor: QTextCursor) -> bool:
        from desktop.widgets.code_colours import in_letters
        place = cursor.positionInBlock()
        return place > 0 and in_letters(cursor.block(), place - 1)

    def _place(self, typed: int) -> None:
        cursor = self._text.textCursor()
        cursor.movePosition(QTextCursor.MoveOperation.Left, QTextCursor.MoveMode.MoveAnchor, typed)
        box = self._text.cursorRect(cursor)
        host = self.parentWidget()
        at = self._text.viewport().mapTo(host, box.bottomLeft()) + QPoint(-self.theme.px(16), 4)
        if at.y() + self.height() > host.height():
            above = self._text.viewport().mapTo(host, box.topLeft()).y() - self.height() - 4
            at.setY(max(0, above) if above >= 0 else max(0, host.height() - self.height()))
        at.setX(max(0, min(at.x(), host.width() - self.width())))
        self.move(at)

    def take_key(self, event: QKeyEvent) -> bool:
        """Whether a key was the list's."""
        key, count = event.key(), self.table.rows_model.rowCount()
        here = self.table.currentIndex().row()
        steps = {Qt.Key.Key_Up: -1, Qt.Key.Key_Down: 1, Qt.Key.Key_PageUp: -ROWS, Qt.Key.Key_PageDown: ROWS}
        if key in steps:
            step = steps[Qt.Key(key)]
            self.table.select((here + step) % count if abs(step) == 1 else min(max(0, here + step), count - 1))
            self._say()
            return True
        if key in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Tab):
            self.take()
            return True
        if key == Qt.Key.Key_Escape:
            self.hide()
            return True
        return False

    def take(self) -> None:
        """The chosen name in place of the letters typed."""
        chosen = self.table.current_row()
        self.hide()
        if chosen is None:
            return
        cursor = self._text.textCursor()
        _, typed = wanted(cursor.block().text()[:cursor.positionInBlock()])
        cursor.beginEditBlock()
        cursor.movePosition(QTextCursor.MoveOperation.Left, QTextCursor.MoveMode.KeepAnchor, len(typed))
        cursor.insertText(chosen.word)
        cursor.endEditBlock()
        self._text.setTextCursor(cursor)
        self._text.setFocus()

    def _say(self) -> None:
        chosen = self.table.current_row()
        if chosen is not None and QAccessible.isActive():
            QAccessible.updateAccessibility(QAccessibleAnnouncementEvent(self._text, f"{chosen.word}, {chosen.about}"))


class FindBar(QWidget):
    """Finding in the text: Enter and Shift+Enter go on and back, Escape closes."""

    closed = Signal()

    def __init__(self, theme: Theme, text: CodeText) -> None:
        super().__init__()
        self._text = text
        self.field = SearchField(tr("Find"), name=tr("Find in the text"))
        self.field.changed.connect(self._typed)
        self.field.installEventFilter(self)
        self._count = small()
        row((self.field, 1), self._count, Button(theme, kind="icon", icon="up", name=tr("Find the one before (Shift+F3)"),
                                                 on_click=lambda: self.step(-1)),
            Button(theme, kind="icon", icon="down", name=tr("Find the next (F3)"), on_click=lambda: self.step(1)),
            Button(theme, kind="icon", icon="close", name=tr("Close the search"), on_click=self.close_bar), gap=6, pad=(12, 0, 8, 8),
            host=self)

    def open_bar(self) -> None:
        chosen = self._text.textCursor().selectedText()
        if chosen and "\u2029" not in chosen:
            self.field.set(chosen)
        show_if(self, True)
        self.field.setFocus()
        self.field.selectAll()
        self.look()

    def close_bar(self) -> None:
        if not self.isHidden():
            self.hide()
            self._text.set_hits([])
            self.closed.emit()

    def _places(self) -> list[int]:
        words = self.field.value()
        if not words:
            return []
        return [hit.start() for hit in re.finditer(re.escape(words), self._text.toPlainText(), re.IGNORECASE)]

    def look(self) -> None:
        """Mark what fits, and say how much does."""
        self._show(self._places())

    def _show(self, places: list[int]) -> None:
        words, cursors = self.field.value(), []
        for at in places[:MOST_FOUND]:
            cursor = QTextCursor(self._text.document())
            cursor.setPosition(at)
            cursor.setPosition(at + len(words), QTextCursor.MoveMode.KeepAnchor)
            cursors.append(cursor)
        self._text.set_hits(cursors)
        if not words:
            self._count.set("")
        elif not places:
            self._count.set(tr("not there"))
        else:
            here = self._text.textCursor().selectionStart()
            nth = places.index(here) + 1 if here in places and self._text.textCursor().hasSelection() else 0
            self._count.set(tr("{nth} of {count}", nth=number(nth), count=number(len(places))) if nth else number(len(places)))

    def _typed(self) -> None:
        cursor = self._text.textCursor()
        cursor.setPosition(cursor.selectionStart())
        with QSignalBlocker(self._text):
            self._text.setTextCursor(cursor)
        self.step(1, here=True)

    def step(self, direction: int, here: bool = False) -> None:
        """The next place or the one before, from the other end again after the last."""
        places = self._places()
        if not places:
            self._show(places)
            return
        cursor = self._text.textCursor()
        at = cursor.selectionStart()
        if direction > 0:
            place = next((p for p in places if p > at or (p == at and (here or not cursor.hasSelection()))), places[0])
        else:
            place = next((p for p in reversed(places) if p < at), places[-1])
        cursor.setPosition(place)
        cursor.setPosition(place + len(self.field.value()), QTextCursor.MoveMode.KeepAnchor)
        self._text.setTextCursor(cursor)
        self._text.ensureCursorVisible()
        self._show(places)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Keys in the field: Enter is the search's, and Escape closes whether or not something is typed."""
        if watched is self.field and isinstance(event, QKeyEvent) and event.type() == QEvent.Type.KeyPress:
            if event.key() == Qt.Key.Key_Escape:
                self.close_bar()
                return True
            if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
                self.step(-1 if event.modifiers() & Qt.KeyboardModifier.ShiftModifier else 1)
                return True
        return super().eventFilter(watched, event)


class CodeEditor(QWidget):
    """`load(text)` is no edit; `replace(text)` is one, and can be undone. `set_marks` shows what is wrong: in the gutter, under the words,
    and in a sentence below. `edited` when a person changed the text, `save_wanted` on Ctrl+S."""

    edited = Signal()
    save_wanted = Signal()

    def __init__(self, theme: Theme, name: str) -> None:
        super().__init__()
        self.theme = theme
        self.area = CodeText(theme, name)
        self.area.edited.connect(self.edited)
        self.finder = FindBar(theme, self.area)
        self.finder.closed.connect(self.area.setFocus)
        self.completions = Completions(theme, self, self.area)
        self.area.popup = self.completions
        self.area.completion_wanted.connect(self._offer)
        self.area.moved.connect(self._moved)
        self.area.left.connect(self.completions.hide)
        self._icon, self._words = Icon(theme, "error", "danger"), Text(wrap=True, role="small", select=True)
        self._place = Button(theme, tr("Line"), "quiet", on_click=self._go_to_shown)
        self._more = small()
        self._strip = row(col(2, self._icon, "+", gap=0), (self._words, 1), self._more, col(self._place, "+", gap=0), gap=8,
                          pad=(16, 4, 12, 6))
        self._shown: Mark | None = None
        self._said = True
        col(self.finder, (self.area, 1), self._strip, gap=0, host=self)
        show_if(self.finder, False)
        show_if(self._strip, False)
        self._keys = []
        for keys, act in ((QKeySequence(QKeySequence.StandardKey.Find), self.finder.open_bar), (QKeySequence("F3"), self._find_next),
                          (QKeySequence("Shift+F3"), self._find_before), (QKeySequence("F8"), self.next_mark),
                          (QKeySequence(QKeySequence.StandardKey.Save), self.save_wanted.emit)):
            made = QShortcut(keys, self, context=Qt.ShortcutContext.WidgetWithChildrenShortcut)
            made.activated.connect(act)
            self._keys.append(made)
        self.setFocusProxy(self.area)

    # the text ---------------------------------------------------------------------------------------------------------

    def text(self) -> str:
        return self.area.toPlainText()

    def load(self, text: str) -> None:
        """Another text: not an edit, nothing to undo, nothing wrong with it yet."""
        self.completions.hide()
        self.finder.close_bar()
        self.area.load(text)
        self._show_mark(None)

    def replace(self, text: str) -> None:
        self.area.replace(text)

    def set_read_only(self, on: bool) -> None:
        self.completions.hide()
        self.area.setReadOnly(on)
        flags = self.area.textInteractionFlags()
        self.area.setTextInteractionFlags(flags | Qt.TextInteractionFlag.TextSelectableByKeyboard)

    # what is wrong ----------------------------------------------------------------------------------------------------

    def set_marks(self, marks: Sequence[Mark]) -> None:
        """What is wrong, where; an empty list when all is well."""
        self.area.set_marks(marks)
        self._moved()
        if marks and QAccessible.isActive():
            QAccessible.updateAccessibility(QAccessibleAnnouncementEvent(self.area, self._sentence(marks[0])))

    def set_strip_shown(self, on: bool) -> None:
        """Whether the sentence stands below the text; off where something else there says it."""
        self._said = on
        show_if(self._strip, on and self._shown is not None)

    @property
    def sentence(self) -> str:
        """What stands under the text, "" when nothing does."""
        return "" if self._strip.isHidden() else self._words.words()

    def next_mark(self) -> None:
        self.area.next_mark()
        self.area.setFocus()

    def _sentence(self, mark: Mark) -> str:
        return tr("Line {line}: {sentence}", line=number(mark.line), sentence=mark.sentence) if mark.line else mark.sentence

    def _moved(self) -> None:
        """The mark of the line the cursor is on, else the first."""
        if self.completions.isVisible():
            QTimer.singleShot(0, self.completions, self._still)
        here = self.area.textCursor().blockNumber()
        pairs = self.area.marks
        chosen = next((p for p in pairs if p[1].blockNumber() == here), pairs[0] if pairs else None)
        if chosen is None:
            self._show_mark(None)
        else:
            mark, cursor = chosen
            self._show_mark(Mark(cursor.blockNumber() + 1 if mark.line else 0, mark.sentence, mark.kind, mark.column))

    def _show_mark(self, mark: Mark | None) -> None:
        if mark == self._shown:
            return
        self._shown = mark
        show_if(self._strip, mark is not None and self._said)
        if mark is None:
            return
        self._icon.set(*GLYPHS[mark.kind])
        self._words.set(self._sentence(mark))
        count = len(self.area.marks)
        self._more.set(tr("{count} in all, F8 goes on", count=number(count)) if count > 1 else "")
        show_if(self._more, count > 1)
        self._place.set_words(tr("Go to line {line}", line=number(mark.line)))
        show_if(self._place, mark.line > 0)

    def _go_to_shown(self) -> None:
        if self._shown is not None:
            self.area.go_to(self._shown.line, self._shown.column)
            self.area.setFocus()

    # completing and finding -------------------------------------------------------------------------------------------

    def _offer(self, forced: bool) -> None:
        self.completions.offer(forced)

    def _still(self) -> None:
        """Whether the open list still fits where the cursor is."""
        if self.completions.isVisible():
            cursor = self.area.textCursor()
            owner, typed = wanted(cursor.block().text()[:cursor.positionInBlock()])
            if not owner and not typed:
                self.completions.hide()

    def _find_next(self) -> None:
        self._find(1)

    def _find_before(self) -> None:
        self._find(-1)

    def _find(self, direction: int) -> None:
        if self.finder.isHidden():
            self.finder.open_bar()
        else:
            self.finder.step(direction)


