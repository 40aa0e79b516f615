"""Text coloured by token: what is shown, copied and chosen, and that a stream lays out its last line only."""

import math
import time

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QColor, QFont, QGuiApplication
from pytestqt.qtbot import QtBot

from desktop.jobs.chat_client import StreamedToken, TokenChoice
from desktop.widgets.token_text import NEWLINE_MARK, TokenColours, TokenText, step_of


def token(text: str, probability: float = 0.3, data: bytes | None = None) -> StreamedToken:
    return StreamedToken(1, text.encode() if data is None else data, text, math.log(probability), 1, (TokenChoice(b"x", -0.1),))


@pytest.fixture
def text(qtbot: QtBot) -> TokenText:
    font = QFont("Inter")
    font.setPixelSize(15)
    ink = QColor("black")
    made = TokenText(font, lambda: TokenColours(ink, QColor("grey"), QColor("grey"), ink, QColor("blue"),
                                                (QColor(0, 0, 0, 0), QColor("#eee"), QColor("#ddd"), QColor("#f0f"))))
    made.resize(300, 50)
    qtbot.addWidget(made)
    made.show()
    return made


def test_what_is_copied_is_what_was_written(text: TokenText) -> None:
    text.set_prompt("A\tprompt")
    text.append([token(" and"), token("\n\n"), token("\tmore \U0001f600"), token("\r\n")])
    assert text.plain() == "A\tprompt and\n\n\tmore \U0001f600\r\n"
    assert text.plain(prompt=False) == " and\n\n\tmore \U0001f600\r\n"
    text.copy()
    assert QGuiApplication.clipboard().text() == text.plain()


def test_tokens_of_one_character_are_one_cell_with_their_joint_probability(text: TokenText) -> None:
    text.append([token("a"), StreamedToken(7, b"\xc3", "", math.log(0.5), 1), StreamedToken(8, b"\xa9", "é", math.log(0.4), 2), token("b")])
    assert [c.text for c in text.cells] == ["a", "é", "b"]
    assert text.cells[1].probability == pytest.approx(0.2) and len(text.cells[1].tokens) == 2


def test_special_tokens_are_shown_by_name_and_not_copied(text: TokenText) -> None:
    text.append([token("a"), token("", 0.1, b"<|user|>"), token("b")])
    assert text.plain() == "ab" and len(text.cells) == 3 and "<|user|>" in text._shown


def test_the_steps_are_those_of_the_legend() -> None:
    assert [step_of(p) for p in (1, 0.8, 0.79, 0.5, 0.49, 0.2, 0.19, 0)] == [0, 0, 1, 1, 2, 2, 3, 3]


def test_every_cell_is_found_where_it_is_painted(text: TokenText) -> None:
    text.set_prompt("The ferry left")
    text.append([token(w) for w in (
        " at", " seven", "\n", " \U0001f600", "wide\U00010348letters", " été", " 漢字", "\n\n", "end", " verylongword" * 6)])
    for index, cell in enumerate(text.cells):
        for rect in text.cell_rects(index):
            if cell.text.strip():
                assert text.cell_at(rect.center()) == index, cell
            assert 0 <= rect.left() and rect.right() <= text.width() + 3


def test_newlines_are_marked_and_break_the_line(text: TokenText) -> None:
    text.append([token("a"), token("\n"), token("b")])
    assert text.line_count == 2 and NEWLINE_MARK in text._shown
    assert text.cell_rects(0)[0].top() < text.cell_rects(2)[0].top()


def test_the_height_follows_the_text_and_the_width(text: TokenText) -> None:
    text.append([token(f" word{i}") for i in range(60)])
    narrow = text.line_count
    assert text.height() == narrow * text.pitch
    text.resize(900, text.height())
    assert text.line_count < narrow and text.height() == text.line_count * text.pitch


def test_appending_keeps_the_lines_before_the_last(text: TokenText) -> None:
    text.append([token(f" word{i}") for i in range(200)])
    text.grab()
    before = list(text._lines)
    text.append([token(" more"), token(" words")])
    assert all(a is b for a, b in zip(text._lines, before[:-1], strict=False)) and text.line_count >= len(before)


def test_a_long_stream_stays_quick(text: TokenText) -> None:
    """2 x 100 tokens a second leave 10 ms for each; the cost must not grow with the length."""
    spent = []
    for i in range(2000):
        began = time.perf_counter()
        text.append([token(f" t{i}"), token(","), token(" and")])
        spent.append(time.perf_counter() - began)
    assert sorted(spent[-200:])[100] < 0.003 and sorted(spent[-200:])[100] < 8 * sorted(spent[:200])[100] + 0.0005


def test_one_append_equals_many(text: TokenText) -> None:
    words = [token(f" w{i}" + ("\n" if i % 17 == 0 else "")) for i in range(150)]
    text.append(words)
    at_once = [(line.start, line.length) for line in text._lines]
    text.clear()
    for word in words:
        text.append([word])
    assert [(line.start, line.length) for line in text._lines] == at_once


def test_arrow_keys_walk_over_the_tokens_only(text: TokenText, qtbot: QtBot) -> None:
    text.set_prompt("Prompt")
    text.append([token(f" word{i}") for i in range(40)])
    chosen: list[int] = []
    text.chosen_changed.connect(chosen.append)
    text.setFocus()
    for key in (Qt.Key.Key_Right, Qt.Key.Key_Right, Qt.Key.Key_Left, Qt.Key.Key_Left, Qt.Key.Key_End, Qt.Key.Key_Home, Qt.Key.Key_Down,
                Qt.Key.Key_Up, Qt.Key.Key_Escape):
        qtbot.keyClick(text, key)
    assert chosen[:5] == [1, 2, 1, 40, 1] and chosen[5] > 4 and chosen[6] <= 4 and chosen[-1] == -1


def test_pointing_chooses_and_leaving_lets_go(text: TokenText, qtbot: QtBot) -> None:
    text.set_prompt("Prompt")
    text.append([token(" one"), token(" two")])
    qtbot.mouseMove(text, text.cell_rects(2)[0].center())
    assert text.chosen == 2
    qtbot.mouseMove(text, text.cell_rects(0)[0].center())
    assert text.chosen == -1, "the prompt has no probabilities"
    assert text.cell_at(QPoint(10, 5000)) == -1
