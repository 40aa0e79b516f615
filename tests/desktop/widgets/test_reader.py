"""The reader's marks, chips in lines that wrap, and what the list shows of a find."""

from PySide6.QtCore import QRect, Qt
from PySide6.QtGui import QTextCursor
from PySide6.QtWidgets import QWidget

from desktop.pages.corpus.browser_list import shorter, snippet_pieces
from desktop.pages.corpus.reading_view import found_pieces
from desktop.theme.theme import Theme
from desktop.widgets.chips import Chip, ChipBar
from desktop.widgets.reader import ADDED, CUT, FOUND, SAME, Reader, shown, visible_text


def test_marks_differ_by_shape_and_colour(theme: Theme, qtbot) -> None:
    reader = Reader(theme, name="Text")
    qtbot.addWidget(reader)
    reader.set_pieces([("The ", SAME), ("steamer", CUT), ("ship", ADDED), (" is here", FOUND)])
    assert reader.toPlainText() == "The steamership is here"
    cursor = QTextCursor(reader.document())
    seen = []
    for place in (2, 6, 13, 18):
        cursor.setPosition(place)
        made = cursor.charFormat()
        seen.append((made.fontStrikeOut(), made.background().style() != Qt.BrushStyle.NoBrush, made.fontUnderline()))
    assert seen == [(False, False, False), (True, False, False), (False, True, False), (False, True, True)]
    theme.set_mode("dark")
    assert reader.toPlainText() == "The steamership is here"
    theme.set_mode("light")


def test_text_is_never_markup_and_blanks_that_were_cut_are_visible(theme: Theme, qtbot) -> None:
    reader = Reader(theme, name="Text")
    qtbot.addWidget(reader)
    reader.set_pieces([("<b>bold</b>&amp;", SAME), ("\n", CUT), ("\u200b", CUT), ("a\nb", CUT)])
    assert reader.toPlainText() == "<b>bold</b>&amp;¶‹200B›a\nb"
    assert shown("\t", ADDED) == "⇥" and shown("\t", SAME) == "\t"
    assert visible_text([("a", SAME), ("b", CUT), ("c", ADDED)]) == "ac"


def test_a_far_difference_is_brought_into_view(theme: Theme, qtbot) -> None:
    reader = Reader(theme, name="Text")
    qtbot.addWidget(reader)
    reader.resize(300, 120)
    reader.show()
    reader.set_pieces([("word " * 2000, SAME), ("gone", CUT), (" word" * 500, SAME)])
    reader.to_first(CUT, ADDED)
    cursor = QTextCursor(reader.document())
    cursor.setPosition(10_002)
    assert 0 <= reader.cursorRect(cursor).top() < reader.viewport().height()


def test_finds_stand_in_the_text_as_it_is_now() -> None:
    pieces = [["same", "the gale of"], ["removed", " gale"], ["added", " late gale"]]
    assert found_pieces(pieces, [[0, 4, 8], [2, 6, 10]]) == [
        ("the ", SAME), ("gale", FOUND), (" of", SAME), (" gale", CUT), (" late ", ADDED), ("gale", FOUND)]


def test_a_snippet_shows_its_find() -> None:
    assert snippet_pieces("the gale of", [[4, 8]]) == [("the ", False), ("gale", True), (" of", False)]
    assert snippet_pieces("gale gale", [[0, 4], [5, 9]]) == [("gale", True), (" ", False), ("gale", True)]
    assert shorter("one two three four five", 12) == "…four five" and shorter("one", 12) == "one"
    assert snippet_pieces("", []) == []


def test_chips_wrap_and_stand_in_the_middle_of_their_line(theme: Theme, qtbot) -> None:
    chips = [Chip(theme, name) for name in ("Part", "Source", "Language", "Removed by")]
    low = QWidget()
    low.setFixedSize(20, 10)
    bar = ChipBar(*chips, low, gap=8)
    qtbot.addWidget(bar)
    high = chips[0].sizeHint().height()
    wide = sum(c.sizeHint().width() + 8 for c in chips) + 20
    assert bar._box.heightForWidth(wide) == high and bar._box.heightForWidth(wide // 2) >= 2 * high + 8
    bar.resize(wide, high)
    bar.show()
    assert low.geometry() == QRect(low.x(), (high - 10) // 2, 20, 10)
    chips[0].set_value("removed")
    assert chips[0].accessibleName() == "Part: removed"
    with qtbot.waitSignal(chips[0].cleared):
        qtbot.keyClick(chips[0], Qt.Key.Key_Delete)
