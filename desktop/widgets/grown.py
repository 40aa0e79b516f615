"""Texts that are as high as what they hold: Markdown set for reading, texts with marked pieces, and the field to edit one.

What a model wrote is data: HTML in it stays text, and neither its pictures nor its links are ever fetched or opened.
"""

import math
import re
from collections.abc import Sequence
from typing import Any

from PySide6.QtCore import QEvent, QMimeData, QSize, Qt, QUrl, Signal
from PySide6.QtGui import (
    QFont,
    QKeyEvent,
    QPalette,
    QResizeEvent,
    QTextBlock,
    QTextBlockFormat,
    QTextCharFormat,
    QTextCursor,
    QTextDocument,
    QTextFormat,
    QTextFrameFormat,
    QTextTable,
    QWheelEvent,
)
from PySide6.QtWidgets import QFrame, QPlainTextEdit, QSizePolicy, QTextEdit

from desktop.theme.palette import MONO
from desktop.theme.theme import Theme
from desktop.widgets.reader import Reader
from engine.contract.units import number
from engine.contract.words import tr, trn

LEAD = 140
PARAGRAPH_GAP, LIST_GAP, INDENT = 10, 2, 22
LONGEST = 12_000
"""Characters that are set at once: more would hold the window. The rest is counted, and shown on request, as it is written."""
MORE = 120_000
HEADINGS = {1: "section", 2: "section", 3: "strong"}
ENDS = "\ue000"
FENCE = re.compile(r"^\s{0,3}(```|~~~)")
MOST_FOUND = 200
LINES = 16


def with_breaks(text: str) -> str:
    """Markdown in which a line that ends is a line that ends: models mean it so, and so do the people who write to them. Such an end is
    marked (ENDS), so that no paragraph's distance is put there."""
    made, fenced, lines = [], False, text.replace(ENDS, "").split("\n")
    for i, line in enumerate(lines):
        if FENCE.match(line):
            fenced = not fenced
        following = lines[i + 1] if i + 1 < len(lines) else ""
        keeps = fenced or not line.strip() or not following.strip() or line.lstrip().startswith(("|", "#", "```", "~~~")) \
            or line.startswith(("    ", "\t")) or re.fullmatch(r"\s*(=+|-+)\s*", following) is not None
        made.append(line if keeps else f"{line} {ENDS}  ")
    return "\n".join(made)


def _is_code(block: QTextBlock) -> bool:
    form = block.blockFormat()
    return block.isValid() and (form.hasProperty(QTextFormat.Property.BlockCodeLanguage)
                                or form.hasProperty(QTextFormat.Property.BlockCodeFence))


class _Quiet(QTextDocument):
    """Fetches nothing, whatever the text names."""

    def loadResource(self, type: int, name: QUrl | str) -> Any:
        return None


class Grown(QTextEdit):
    """A text without a scroll bar, as high as its lines; read only, selectable by the mouse. The wheel moves the page."""

    def __init__(self, theme: Theme, role: str = "read") -> None:
        super().__init__()
        self.theme, self._role = theme, role
        self.setProperty("role", role)
        self.setReadOnly(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.DefaultContextMenu)
        self.viewport().setAutoFillBackground(False)
        self._words, self._raw, self._find, self._whole, self._tone = "", False, "", False, ""
        self._shown: QTextDocument | None = None
        self.cut = 0
        theme.changed.connect(self._draw)

    def set(self, words: str, *, raw: bool = False, find: str = "", tone: str = "") -> None:
        """Another text; `raw` shows it as it is written, `find` is marked where it stands."""
        if (words, raw, find, tone) != (self._words, self._raw, self._find, self._tone):
            self._whole = self._whole and words == self._words
            self._words, self._raw, self._find, self._tone = words, raw, find, tone
            self._draw()

    def show_all(self) -> None:
        self._whole = True
        self._draw()

    def more_words(self) -> str:
        """What is not shown, counted; "" where all is."""
        return trn("{shown} more character", "{shown} more characters", self.cut, shown=number(self.cut)) if self.cut else ""

    def _draw(self) -> None:
        longest = MORE if self._whole else LONGEST
        self.cut = max(0, len(self._words) - longest)
        document = _Quiet(self)
        document.setDocumentMargin(0)
        document.setIndentWidth(self.theme.px(INDENT))
        document.setDefaultFont(self.theme.font(self._role))
        document.setUndoRedoEnabled(False)
        words = self._words[:longest]
        if self._raw or self._whole or self.cut:
            document.setPlainText(words)
        else:
            features = QTextDocument.MarkdownFeature.MarkdownDialectGitHub | QTextDocument.MarkdownFeature.MarkdownNoHTML
            document.setMarkdown(with_breaks(words), features)
        self._dress(document)
        before, self._shown = self._shown, document
        palette = self.palette()
        palette.setColor(QPalette.ColorRole.Text, self.theme.colour(self._tone or "text"))
        self.setPalette(palette)
        self.setDocument(document)
        if before is not None:
            before.deleteLater()
        self._mark()
        self._fit()
        self.setAccessibleName(words[:2000])

    def _dress(self, document: QTextDocument) -> None:
        """Line heights, headings no larger than the page's own, code on a ground."""
        t, cursor = self.theme, QTextCursor(document)
        cursor.beginEditBlock()
        block, ended = document.begin(), False
        while block.isValid():
            form, cursor_at = QTextBlockFormat(block.blockFormat()), QTextCursor(block)
            code = _is_code(block)
            form.setLineHeight(LEAD if not code else 100, 1)
            if code:
                form.setNonBreakableLines(False)
                form.setBackground(t.colour("hover"))
                form.setLeftMargin(0)
                form.setTopMargin(6 if not _is_code(block.previous()) else 0)
                form.setBottomMargin(8 if not _is_code(block.next()) else 0)
            level, ends = form.headingLevel(), block.text().endswith(ENDS)
            if ends:
                form.setBottomMargin(0)
            if block.previous().isValid() and ended:
                form.setTopMargin(0)
            ended = ends
            if not code and not ends and cursor_at.currentTable() is None:  # Qt sets none where a font has its size in pixels
                inside = block.textList() is not None and block.next().textList() is not None
                form.setBottomMargin(self.theme.px(LIST_GAP if inside else PARAGRAPH_GAP))
            if block == document.begin():
                form.setTopMargin(0)
            if not block.next().isValid():
                form.setBottomMargin(0)
            cursor_at.setBlockFormat(form)
            if level or code:
                cursor_at.movePosition(QTextCursor.MoveOperation.EndOfBlock, QTextCursor.MoveMode.KeepAnchor)
                made = QTextCharFormat()
                made.setFont(t.font(HEADINGS.get(level, "strong")) if level else t.font("mono"))
                made.setProperty(QTextFormat.Property.FontSizeAdjustment, 0)  # Markdown's headings would be twice as large as that
                cursor_at.mergeCharFormat(made)
            else:
                self._dress_code(block)
            if ends:
                cursor_at.movePosition(QTextCursor.MoveOperation.EndOfBlock)
                for _ in range(1 + (not code and block.text().endswith(f" {ENDS}"))):
                    cursor_at.deletePreviousChar()
            block = block.next()
        for frame in document.rootFrame().childFrames():
            if isinstance(frame, QTextTable):
                table = frame.format().toTableFormat()
                table.setBorderBrush(t.colour("control"))
                table.setBorderStyle(QTextFrameFormat.BorderStyle.BorderStyle_Solid)
                table.setBorderCollapse(True)
                table.setCellPadding(5)
                frame.setFormat(table)
        cursor.endEditBlock()

    def _dress_code(self, block: Any) -> None:
        """Code and strong words inside a line: the fonts have a medium bold, and a bolder one would be smeared."""
        spans, walk = [], block.begin()
        while not walk.atEnd():
            fragment = walk.fragment()
            code, strong = fragment.charFormat().fontFixedPitch(), fragment.charFormat().fontWeight() > QFont.Weight.DemiBold
            if fragment.isValid() and (code or strong):
                spans.append((fragment.position(), fragment.length(), code))
            walk += 1
        for start, length, code in spans:
            cursor = QTextCursor(block)
            cursor.setPosition(start)
            cursor.setPosition(start + length, QTextCursor.MoveMode.KeepAnchor)
            made = QTextCharFormat()
            if code:
                made.setFontFamilies([MONO])
                made.setBackground(self.theme.colour("hover"))
            else:
                made.setFontWeight(QFont.Weight.DemiBold)
            cursor.mergeCharFormat(made)

    def _mark(self) -> None:
        found: list[QTextEdit.ExtraSelection] = []
        if self._find:
            cursor = self.document().find(self._find)
            while not cursor.isNull() and len(found) < MOST_FOUND:
                each = QTextEdit.ExtraSelection()
                each.cursor = cursor
                each.format.setBackground(self.theme.colour("warn_soft"))
                each.format.setFontUnderline(True)
                found.append(each)
                cursor = self.document().find(self._find, cursor)
        self.setExtraSelections(found)

    def _fit(self) -> None:
        self.document().setTextWidth(self.viewport().width())
        high = math.ceil(self.document().size().height()) + 2
        if high != self.height():
            self.setFixedHeight(high)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if event.oldSize().width() != event.size().width():
            self._fit()

    def wheelEvent(self, event: QWheelEvent) -> None:
        event.ignore()

    def minimumSizeHint(self) -> QSize:
        return QSize(self.theme.px(80), 0)


class GrownPieces(Reader):
    """A reader with marked pieces that is as high as its lines, up to `most` design pixels."""

    def __init__(self, theme: Theme, *, role: str = "body", name: str, most: int = 0) -> None:
        super().__init__(theme, role=role, name=name, quiet=True)
        self._most = theme.px(most) if most else 0
        self.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        if not most:
            self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)

    def set_pieces(self, pieces: Sequence[tuple[str, str]], *, stay: bool = False) -> None:
        super().set_pieces(pieces, stay=stay)
        self._fit()

    def _fit(self) -> None:
        self.document().setTextWidth(self.viewport().width())
        high = math.ceil(self.document().size().height()) + 2
        self.setFixedHeight(min(high, self._most) if self._most else high)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if event.oldSize().width() != event.size().width():
            self._fit()


class Draft(QPlainTextEdit):
    """The field in which one message is edited: as high as its text, within limits. Ctrl+Enter saves, Escape leaves, Tab moves on."""

    saved, left, changed = Signal(), Signal(), Signal()

    def __init__(self, theme: Theme, name: str) -> None:
        super().__init__()
        self.theme = theme
        self.setProperty("kind", "field")
        self.setProperty("role", "read")
        self.setAccessibleName(name)
        self.setTabChangesFocus(True)
        self.setPlaceholderText(tr("Write here"))
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.textChanged.connect(self._fit)
        self.textChanged.connect(self.changed)
        self._fit()

    def _fit(self) -> None:
        self.ensurePolished()
        lines = int(self.document().size().height())  # of a plain text: in lines, as they break at this width
        high = self.fontMetrics().lineSpacing() * max(2, min(lines, LINES)) + self.theme.px(28)
        if high != self.height():
            self.setFixedHeight(high)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if event.oldSize().width() != event.size().width():
            self._fit()

    def insertFromMimeData(self, source: QMimeData) -> None:
        self.insertPlainText(source.text())

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            self.saved.emit()
        elif event.key() == Qt.Key.Key_Escape:
            self.left.emit()
        else:
            super().keyPressEvent(event)

    def event(self, event: QEvent) -> bool:
        """No shortcut of the page acts while one writes: every key is the text's."""
        if event.type() == QEvent.Type.ShortcutOverride and isinstance(event, QKeyEvent):
            others = Qt.KeyboardModifier.AltModifier | Qt.KeyboardModifier.MetaModifier
            if not event.modifiers() & others and event.key() not in (Qt.Key.Key_Tab, Qt.Key.Key_Backtab, Qt.Key.Key_F1):
                event.accept()
                return True
        return super().event(event)
