"""A reading text whose pieces are marked: struck through where something was cut, on a soft ground where something was added or found.

Shape and colour both tell the marks apart. It shows what it is given; comparing two texts is the engine's matter.
"""

from collections.abc import Sequence

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QTextBlockFormat, QTextCharFormat, QTextCursor, QTextDocument, QWheelEvent
from PySide6.QtWidgets import QFrame, QSizePolicy, QTextEdit

from desktop.theme.theme import Theme

SAME, CUT, ADDED, FOUND = "", "cut", "added", "found"
Piece = tuple[str, str]
LEAD = {"read": 150, "body": 140}
VISIBLE = {"\n": "¶", "\t": "⇥", "\r": "␍", "\u00a0": "⍽"}
BREAKS = {"\u2028": " ", "\u2029": " ", "\r": "", "\x00": "␀", "\x0b": " ", "\x0c": " "}
ALWAYS = str.maketrans(BREAKS)


def shown(text: str, mark: str) -> str:
    """A piece as it is drawn: white space and invisible characters that were cut or added become visible, the rest stays what it is."""
    if mark in (CUT, ADDED) and text and not any(c.isprintable() and not c.isspace() for c in text):
        return "".join(VISIBLE.get(c, c if c == " " else f"‹{ord(c):X}›") for c in text)
    return text.translate(ALWAYS)


def visible_text(pieces: Sequence[Piece]) -> str:
    """What a screen reader says: cut and added pieces in brackets would be noise, so that the text as it is now is said."""
    return "".join(text for text, mark in pieces if mark != CUT)


class Reader(QTextEdit):
    """`set_pieces([(text, mark)])`, marks as above. `role`: read (15 px) or body. Text is never markup. Read only; the keyboard selects.

    `quiet`: inside a card; the wheel moves the page on where there is nothing more to scroll.
    """

    def __init__(self, theme: Theme, *, role: str = "read", name: str, quiet: bool = False) -> None:
        super().__init__()
        self.theme, self._role, self._quiet = theme, role, quiet
        self._pieces: list[Piece] = []
        self._shown: QTextDocument | None = None
        self.setProperty("role", role)
        self.setReadOnly(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setAccessibleName(name)
        self.setTabChangesFocus(True)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse | Qt.TextInteractionFlag.TextSelectableByKeyboard)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Expanding)
        self.viewport().setAutoFillBackground(False)
        self.document().setDocumentMargin(0)
        theme.changed.connect(self._draw)

    @property
    def pieces(self) -> list[Piece]:
        return self._pieces

    def set_pieces(self, pieces: Sequence[Piece], *, stay: bool = False) -> None:
        """Another text, from its beginning (`stay`: where the reader was)."""
        if list(pieces) == self._pieces:
            return
        self._pieces = list(pieces)
        place = self.verticalScrollBar().value() if stay else 0
        self._draw()
        self.verticalScrollBar().setValue(place)

    def to_first(self, *marks: str) -> None:
        """Bring the first piece with one of these marks into view."""
        before = 0
        for text, its in self._pieces:
            if its in marks:
                self.to_place(before)
                return
            before += len(shown(text, its).encode("utf-16-le")) // 2

    def to_place(self, position: int) -> None:
        """Bring a place of the text (in UTF-16 units of what is shown) into view, a third down from the top."""
        cursor = QTextCursor(self.document())
        cursor.setPosition(max(0, min(position, self.document().characterCount() - 1)))
        top = self.cursorRect(cursor).top() + self.verticalScrollBar().value()
        self.verticalScrollBar().setValue(max(0, top - self.viewport().height() // 3))

    def _draw(self) -> None:
        document = QTextDocument(self)
        document.setDocumentMargin(0)
        document.setDefaultFont(self.theme.font(self._role))
        document.setUndoRedoEnabled(False)
        block = QTextBlockFormat()
        block.setLineHeight(LEAD.get(self._role, 150), 1)  # proportional
        formats = {mark: self._format(mark) for mark in (SAME, CUT, ADDED, FOUND)}
        cursor = QTextCursor(document)
        cursor.beginEditBlock()
        cursor.setBlockFormat(block)
        for text, mark in self._pieces:
            cursor.insertText(shown(text, mark), formats[mark])
        cursor.endEditBlock()
        before, self._shown = self._shown, document
        self.setDocument(document)
        if before is not None:
            before.deleteLater()  # the field deletes only the one it made itself
        self.setAccessibleDescription(visible_text(self._pieces)[:2000])

    def _format(self, mark: str) -> QTextCharFormat:
        t, made = self.theme, QTextCharFormat()
        made.setForeground(t.colour({CUT: "danger", ADDED: "ok"}.get(mark, "text")))
        if mark == CUT:
            made.setFontStrikeOut(True)
        elif mark == ADDED:
            made.setBackground(t.colour("ok_soft"))
        elif mark == FOUND:
            made.setBackground(t.colour("warn_soft"))
            made.setFontUnderline(True)
        return made

    def wheelEvent(self, event: QWheelEvent) -> None:
        bar = self.verticalScrollBar()
        if self._quiet and bar.maximum() == 0:
            event.ignore()
        else:
            super().wheelEvent(event)

    def minimumSizeHint(self) -> QSize:
        return QSize(self.theme.px(80), self.theme.px(48))

    def sizeHint(self) -> QSize:
        return QSize(self.theme.px(200), self.theme.px(120))
