"""Colours for Python source, line by line and in short turns: what a key changed at once, the rest of a long file a moment later.

Pygments finds the words; between two lines its state is kept, so that a line inside a docstring knows where it is. It judges
nothing: whether the source is right is found elsewhere.
"""

import time
from typing import Final

from pygments.lexer import ExtendedRegexLexer, LexerContext
from pygments.lexers.python import PythonLexer
from pygments.token import Token, _TokenType
from PySide6.QtCore import QTimer
from PySide6.QtGui import QSyntaxHighlighter, QTextBlock, QTextCharFormat, QTextDocument

from desktop.theme.theme import Theme

TURN = 0.008
"""Seconds of colouring before the window has its turn again."""
LONGEST_LINE = 4000
"""Characters; a longer line stays plain."""
TEXT = 1
"""The property of letters inside strings and comments: brackets there are no brackets."""
PLACE: Final = QTextCharFormat.Property.UserProperty + TEXT
GROUND = "surface"

TONES: Final[dict[_TokenType, str]] = {
    Token.Keyword: "series2", Token.Operator.Word: "series2", Token.Keyword.Constant: "series3", Token.Literal.Number: "series3",
    Token.Literal.String: "ok", Token.Literal.String.Doc: "text3", Token.Literal.String.Interpol: "series3",
    Token.Comment: "text3", Token.Name.Function: "accent", Token.Name.Class: "accent", Token.Name.Builtin: "accent",
    Token.Name.Exception: "accent", Token.Name.Decorator: "series2", Token.Name.Builtin.Pseudo: "series2"}
"""Which token of the theme colours what Pygments names; what is not here is plain text. All are inks on the ground of panels."""
LETTERS = (Token.Literal.String, Token.Comment)


State = tuple[tuple[str, ...], bool]
"""Between two lines: the stack of the lexer's states, and whether the string that is open is a docstring."""
START: State = (("root",), False)


class PythonLines(ExtendedRegexLexer, PythonLexer):
    """Python, a line at a time."""

    def line(self, text: str, state: State = START) -> tuple[list[tuple[int, int, _TokenType]], State]:
        """((start, length, kind) of each word, the state after the line's end). A string that begins a line is taken for a docstring."""
        stack, doc = state
        context = LexerContext(text + "\n", 0, list(stack))
        found = [(start, len(words), kind) for start, kind, words in self.get_tokens_unprocessed(context=context)]
        words = [one for one in found if text[one[0]:one[0] + one[1]].strip()]
        doc = doc or (len(stack) == 1 and bool(words) and words[0][2] in Token.Literal.String
                      and text.lstrip()[:3] in ('"""', "'''"))
        if doc:
            ends = next((start for start, _, kind in words if kind not in Token.Literal.String), len(text) + 1)
            found = [(start, length, Token.Literal.String.Doc if start < ends and kind in Token.Literal.String else kind)
                     for start, length, kind in found]
        return found, (tuple(context.stack), doc and len(context.stack) > 1)


def tone_of(kind: _TokenType) -> str:
    """The theme's token for a kind of word, "" for plain text."""
    while kind is not Token and kind not in TONES:
        kind = kind.parent
    return TONES.get(kind, "")


class CodeColours(QSyntaxHighlighter):
    """Follows a document and the theme. `busy` while lines further down still wait for their colours."""

    def __init__(self, document: QTextDocument, theme: Theme) -> None:
        super().__init__(document)
        self._theme, self._lexer = theme, PythonLines()
        self._states: list[State] = [START]
        self._numbers: dict[State, int] = {START: 0}
        self._formats: dict[_TokenType, QTextCharFormat | None] = {}
        self._until = 0.0
        self._waiting = -1
        self._last = -1
        self._lines = 0
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(0)
        self._timer.timeout.connect(self._go_on)
        theme.follow(self, self._tint)

    @property
    def busy(self) -> bool:
        return self._waiting >= 0

    def _tint(self) -> None:
        self._formats.clear()
        self.rehighlight()

    def rehighlight(self) -> None:
        self._until = time.perf_counter() + TURN
        super().rehighlight()
        self._until = 0.0

    def highlightBlock(self, text: str) -> None:
        block = self.currentBlock()
        now = time.perf_counter()
        if self._until == 0.0:  # a key: a turn of its own begins
            self._until = now + TURN
            QTimer.singleShot(0, self, self._turn_over)
        if now > self._until:
            self._put_off(block)
            return
        before = self.previousBlockState()
        state = self._states[before] if 0 <= before < len(self._states) else START
        if len(text) > LONGEST_LINE:
            self.setCurrentBlockState(self._number(state))
            return
        found, after = self._lexer.line(text, state)
        for start, length, kind in found:
            if (dress := self._format(kind)) is not None:
                self.setFormat(start, length, dress)
        self.setCurrentBlockState(self._number(after))

    def _put_off(self, block: QTextBlock) -> None:
        """Its state stays as it was, so that Qt asks for no more lines for its sake."""
        number = block.blockNumber()
        self.setCurrentBlockState(block.userState())
        self._wait(number, number)

    def _wait(self, first: int, last: int) -> None:
        self._waiting = first if self._waiting < 0 else min(self._waiting, first)
        self._last, self._lines = max(self._last, last), self.document().blockCount()
        self._timer.start()

    def _turn_over(self) -> None:
        self._until = 0.0

    def _go_on(self) -> None:
        """The next turn: from the first line that waits, as far as it goes."""
        place, last, self._waiting, self._last = self._waiting, self._last, -1, -1
        lines = self.document().blockCount()
        if lines != self._lines:  # lines came or went above: begin early, and go to the end
            place, last = max(0, place - max(0, self._lines - lines)), lines - 1
        block = self.document().findBlockByNumber(place)
        self._until = time.perf_counter() + TURN
        while block.isValid() and block.blockNumber() <= last:
            if self._waiting >= 0 or time.perf_counter() > self._until:
                self._wait(block.blockNumber(), last)
                break
            self.rehighlightBlock(block)
            block = block.next()
        self._until = 0.0

    def _number(self, state: State) -> int:
        if state not in self._numbers:
            self._numbers[state] = len(self._states)
            self._states.append(state)
        return self._numbers[state]

    def _format(self, kind: _TokenType) -> QTextCharFormat | None:
        if kind not in self._formats:
            tone, dress = tone_of(kind), None
            if tone:
                dress = QTextCharFormat()
                dress.setForeground(self._theme.colour(tone))
                if any(kind in letters for letters in LETTERS) and kind is not Token.Literal.String.Interpol:
                    dress.setProperty(PLACE, True)
            self._formats[kind] = dress
        return self._formats[kind]


def in_letters(block: QTextBlock, place: int) -> bool:
    """Whether a place of a line is inside a string or a comment."""
    return any(run.start <= place < run.start + run.length and run.format.hasProperty(PLACE) for run in block.layout().formats())
