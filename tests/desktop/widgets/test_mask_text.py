"""The text of the microscope: every state has its own look, each example a line of its own, long batches do not hold the window up."""

import time

from PySide6.QtCore import Qt
from PySide6.QtTest import QTest

from desktop.theme.theme import Theme
from desktop.widgets.mask_text import MaskText, state_format


def piece(text: str, state: str, example: int = 0, **more) -> dict:
    return {"text": text, "state": state, "example": example, **more}


def test_looks_differ_without_colour(theme: Theme) -> None:
    assert state_format(theme, "trained").background().style() != Qt.BrushStyle.NoBrush
    assert state_format(theme, "truncated").fontStrikeOut() and state_format(theme, "pad").fontItalic()
    assert state_format(theme, "masked").background().style() == Qt.BrushStyle.NoBrush


def test_examples_begin_on_lines_of_their_own(theme: Theme, qtbot) -> None:
    text = MaskText(theme, "rows")
    qtbot.addWidget(text)
    text.set([("Row 1", [piece("Who?\n", "masked"), piece("Me.\n", "trained"), piece("And?", "masked", 1), piece(" You.", "trained", 1),
                         piece("", "pad", -1, count=7)])])
    assert text.toPlainText().split("\n") == ["Row 1", "Who?↵", "Me.↵", "And? You.", "7 places of padding"]


def test_arrows_turn_the_page(theme: Theme, qtbot) -> None:
    text = MaskText(theme, "rows")
    qtbot.addWidget(text)
    turned: list[int] = []
    text.turned.connect(turned.append)
    QTest.keyClick(text, Qt.Key.Key_Right)
    QTest.keyClick(text, Qt.Key.Key_Left)
    assert turned == [1, -1]


def test_a_long_row_comes_in_pieces(theme: Theme, qtbot) -> None:
    text = MaskText(theme, "rows")
    qtbot.addWidget(text)
    text.resize(600, 400)
    text.show()
    began = time.process_time()
    text.set([("Row 1", [piece(f" word{n}", "trained" if n % 3 else "masked", n // 500) for n in range(8000)])])
    assert time.process_time() - began < 0.2
    qtbot.waitUntil(lambda: "word7999" in text.toPlainText(), timeout=20_000)
