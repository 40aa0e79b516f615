"""The code editor as one types in it: indents, brackets, comments, completion, marks, finding, undo; colours in short turns."""

import time

import pytest
from pygments.token import Token
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QLineEdit

from desktop.theme.palette import DARK, LIGHT, contrast
from desktop.widgets.code_colours import GROUND, START, TONES, PythonLines, in_letters, tone_of
from desktop.widgets.code_editor import CodeEditor, Mark
from desktop.widgets.code_names import MODULES, fitting
from desktop.widgets.layout import col

SOURCE = '''import re


def verify(prompt, completion, answer):
    """Full marks (
    for the number."""
    found = re.search("[0-9]+", completion)  # the first )
    return 1.0 if found and found[0] == answer else 0.0
'''
CONTROL, SHIFT = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.ShiftModifier


@pytest.fixture
def editor(theme, qtbot):
    made = CodeEditor(theme, "Verifier")
    qtbot.addWidget(made)
    made.resize(600, 500)
    made.show()
    qtbot.waitExposed(made)
    made.area.setFocus()
    return made


def press(editor, key, held=Qt.KeyboardModifier.NoModifier) -> None:
    QTest.keyClick(editor.area, key, held)


def type_in(editor, words: str) -> None:
    for i, line in enumerate(words.split("\n")):
        if i:
            press(editor, Qt.Key.Key_Return)
        QTest.keyClicks(editor.area, line)
        if editor.completions.isVisible():
            press(editor, Qt.Key.Key_Escape)


def tone_at(editor, line: int, words: str) -> str:
    """The colour of a word on a line (from 1)."""
    block = editor.area.document().findBlockByNumber(line - 1)
    place = block.text().index(words)
    return next((run.format.foreground().color().name().upper() for run in block.layout().formats()
                 if run.start <= place < run.start + run.length), "")


# --- typing ------------------------------------------------------------------------------------------------------------


def test_lines_are_indented_as_in_python(editor) -> None:
    type_in(editor, "def verify(prompt, completion, answer):\nif completion == answer:\nreturn 1.0\nelse_score = 0.5")
    assert editor.text() == ("def verify(prompt, completion, answer):\n    if completion == answer:\n        return 1.0\n"
                             "    else_score = 0.5")


def test_a_bracket_opens_over_three_lines(editor) -> None:
    editor.load("x = ()")
    editor.area.go_to(1, 6)
    press(editor, Qt.Key.Key_Return)
    assert editor.text() == "x = (\n    \n)"
    assert editor.area.textCursor().blockNumber() == 1


def test_a_colon_in_a_string_or_a_comment_opens_nothing(editor) -> None:
    editor.load("x = 'a:'\ny = 1  # see:")
    for line, column in ((1, 9), (3, 14)):
        editor.area.go_to(line, column)
        press(editor, Qt.Key.Key_End)
        press(editor, Qt.Key.Key_Return)
    assert editor.text() == "x = 'a:'\n\ny = 1  # see:\n"


def test_tab_and_shift_tab_move_chosen_lines(editor) -> None:
    editor.load("a\nb\n\nc")
    editor.area.selectAll()
    press(editor, Qt.Key.Key_Tab)
    assert editor.text() == "    a\n    b\n\n    c"
    press(editor, Qt.Key.Key_Backtab, SHIFT)
    assert editor.text() == "a\nb\n\nc"


def test_tab_goes_to_the_next_stop_and_backspace_to_the_one_before(editor) -> None:
    editor.load("  x")
    editor.area.go_to(1, 3)
    press(editor, Qt.Key.Key_Tab)
    assert editor.text() == "    x"
    press(editor, Qt.Key.Key_Backspace)
    assert editor.text() == "x"


def test_after_escape_tab_leaves(theme, qtbot) -> None:
    editor, after = CodeEditor(theme, "Verifier"), QLineEdit()
    host = col(editor, after)
    qtbot.addWidget(host)
    host.show()
    qtbot.waitExposed(host)
    editor.area.setFocus()
    press(editor, Qt.Key.Key_Escape)
    press(editor, Qt.Key.Key_Tab)
    assert editor.text() == "" and host.focusWidget() is after
    editor.area.setFocus()
    press(editor, Qt.Key.Key_Tab)
    assert editor.text() == "    " and host.focusWidget() is editor.area


def test_comments_come_and_go_with_control_slash(editor) -> None:
    editor.load("if a:\n    b\n\n    c")
    editor.area.selectAll()
    press(editor, Qt.Key.Key_Slash, CONTROL)
    assert editor.text() == "# if a:\n#     b\n\n#     c"
    press(editor, Qt.Key.Key_Slash, CONTROL)
    assert editor.text() == "if a:\n    b\n\n    c"


def test_undo_takes_back_whole_steps_and_loading_is_none(editor, qtbot) -> None:
    with qtbot.assertNotEmitted(editor.edited):
        editor.load("a\nb")
    assert not editor.area.document().isUndoAvailable()
    editor.area.selectAll()
    press(editor, Qt.Key.Key_Tab)
    with qtbot.waitSignal(editor.edited):
        editor.replace("other")
    press(editor, Qt.Key.Key_Z, CONTROL)
    assert editor.text() == "    a\n    b"
    press(editor, Qt.Key.Key_Z, CONTROL)
    assert editor.text() == "a\nb"
    press(editor, Qt.Key.Key_Z, CONTROL | SHIFT)
    assert editor.text() == "    a\n    b"


def test_colouring_is_no_edit(editor, qtbot) -> None:
    editor.load(SOURCE)
    with qtbot.assertNotEmitted(editor.edited, wait=50):
        editor.area.colours.rehighlight()


def test_the_matching_bracket_is_marked_past_strings_and_comments(editor) -> None:
    editor.load("x = (1, ')', [2])  # )\n")
    editor.area.go_to(1, 6)
    chosen = [s.cursor.selectionStart() for s in editor.area.extraSelections()]
    assert chosen == [4, 16]
    editor.area.go_to(1, 11)  # inside the string
    assert not editor.area.extraSelections()


def test_home_goes_to_the_first_letter_then_to_the_beginning(editor) -> None:
    editor.load("    abc")
    editor.area.go_to(1, 8)
    press(editor, Qt.Key.Key_Home)
    assert editor.area.textCursor().positionInBlock() == 4
    press(editor, Qt.Key.Key_Home)
    assert editor.area.textCursor().positionInBlock() == 0


def test_a_text_that_may_only_be_read_stays_as_it_is_and_tab_leaves_it(theme, qtbot) -> None:
    editor, after = CodeEditor(theme, "Verifier"), QLineEdit()
    host = col(editor, after)
    qtbot.addWidget(host)
    host.show()
    editor.load("abc")
    editor.set_read_only(True)
    editor.area.setFocus()
    QTest.keyClicks(editor.area, "xyz")
    for key in (Qt.Key.Key_Return, Qt.Key.Key_Backspace, Qt.Key.Key_Delete):
        press(editor, key)
    press(editor, Qt.Key.Key_Slash, CONTROL)
    assert editor.text() == "abc" and not editor.completions.isVisible()
    press(editor, Qt.Key.Key_Tab)
    assert editor.text() == "abc" and host.focusWidget() is after


# --- completion ---------------------------------------------------------------------------------------------------------


def test_two_letters_offer_names_and_enter_takes_one(editor) -> None:
    QTest.keyClicks(editor.area, "c")
    assert not editor.completions.isVisible()
    QTest.keyClicks(editor.area, "o")
    assert editor.completions.isVisible()
    assert editor.completions.names[0].word == "completion"
    press(editor, Qt.Key.Key_Return)
    assert editor.text() == "completion" and not editor.completions.isVisible()


def test_down_chooses_the_next_and_escape_closes(editor) -> None:
    QTest.keyClicks(editor.area, "re")
    words = [n.word for n in editor.completions.names]
    assert "re" in words and "return" in words
    press(editor, Qt.Key.Key_Down)
    press(editor, Qt.Key.Key_Tab)
    assert editor.text() == words[1]
    QTest.keyClicks(editor.area, " an")
    press(editor, Qt.Key.Key_Escape)
    assert not editor.completions.isVisible() and editor.text().endswith(" an")


def test_a_dot_offers_what_a_module_holds(editor) -> None:
    editor.load("")
    QTest.keyClicks(editor.area, "math.")
    assert {"sqrt", "isclose", "pi"} <= {n.word for n in editor.completions.names}
    QTest.keyClicks(editor.area, "isc")
    press(editor, Qt.Key.Key_Return)
    assert editor.text() == "math.isclose"


def test_names_of_the_file_are_offered_and_only_known_modules_after_import() -> None:
    assert "TAGS_FOUND" in {n.word for n in fitting("x = TA", lambda: "TAGS_FOUND = 1\nx = TA")}
    assert {n.word for n in fitting("import ", lambda: "")} == set(MODULES)
    assert "search" in {n.word for n in fitting("from re import sea", lambda: "")}
    assert fitting("found.", lambda: "found = 1") == [] == fitting("'a'.", lambda: "")


def test_nothing_is_offered_inside_a_string_or_for_a_name_that_is_whole(editor) -> None:
    QTest.keyClicks(editor.area, "x = 'comp")
    assert not editor.completions.isVisible()
    editor.load("")
    QTest.keyClicks(editor.area, "completion")
    assert not editor.completions.isVisible()


def test_control_space_offers_everything(editor) -> None:
    press(editor, Qt.Key.Key_Space, CONTROL)
    assert [n.word for n in editor.completions.names][:5] == ["prompt", "completion", "answer", "messages", "facts"]


# --- what is wrong --------------------------------------------------------------------------------------------------------


def test_a_mark_stands_at_its_line_with_its_sentence_and_stays_with_it(editor) -> None:
    editor.load(SOURCE)
    editor.set_marks([Mark(7, "Something is wrong.", "error", 5), Mark(8, "Look here.", "warn")])
    assert editor.sentence == "Line 7: Something is wrong."
    editor.area.go_to(1)
    press(editor, Qt.Key.Key_Return)
    assert editor.sentence == "Line 8: Something is wrong."
    press(editor, Qt.Key.Key_F8)
    assert editor.area.textCursor().blockNumber() == 7
    press(editor, Qt.Key.Key_F8)
    assert editor.area.textCursor().blockNumber() == 8 and editor.sentence == "Line 9: Look here."
    editor.set_marks([])
    assert editor.sentence == ""


def test_the_words_of_a_marked_line_are_underlined_from_the_column_on(editor) -> None:
    editor.load("x = 1\n  y = +\n")
    editor.set_marks([Mark(2, "Incomplete.", "error", 7)])
    [wave] = [s for s in editor.area.extraSelections() if s.format.underlineStyle() == s.format.UnderlineStyle.WaveUnderline]
    assert wave.cursor.selectedText() == "+"


def test_a_mark_past_the_end_and_one_without_a_line_do_no_harm(editor) -> None:
    editor.load("x")
    editor.set_marks([Mark(99, "Too far.", "error", 400), Mark(0, "There is no function.", "error")])
    assert editor.sentence
    press(editor, Qt.Key.Key_F8)
    editor.grab()


# --- finding ----------------------------------------------------------------------------------------------------------------


def test_finding_goes_on_and_back_and_escape_returns(editor) -> None:
    editor.load("aa\nbAa\ncc")
    press(editor, Qt.Key.Key_F, CONTROL)
    assert editor.finder.isVisible()
    QTest.keyClicks(editor.finder.field, "aa")
    assert editor.finder._count.words() == "1 of 2"
    QTest.keyClick(editor.finder.field, Qt.Key.Key_Return)
    assert editor.area.textCursor().selectedText() == "Aa"
    QTest.keyClick(editor.finder.field, Qt.Key.Key_Return, SHIFT)
    assert editor.area.textCursor().blockNumber() == 0
    editor.finder.field.clear()
    QTest.keyClicks(editor.finder.field, "zz")
    assert editor.finder._count.words() == "not there"
    QTest.keyClick(editor.finder.field, Qt.Key.Key_Escape)
    assert editor.finder.isHidden() and editor.area.hasFocus()


def test_control_s_asks_to_save(editor, qtbot) -> None:
    with qtbot.waitSignal(editor.save_wanted):
        press(editor, Qt.Key.Key_S, CONTROL)


# --- colours ----------------------------------------------------------------------------------------------------------------


def test_every_ink_of_the_code_is_readable_in_both_themes() -> None:
    below = [(name, tone) for name, tokens in (("light", LIGHT), ("dark", DARK)) for tone in TONES.values()
             if contrast(tokens[tone], tokens[GROUND]) < 4.5]
    assert not below


def test_words_have_the_colours_of_their_kind(editor, theme) -> None:
    editor.load(SOURCE)
    assert tone_at(editor, 1, "import") == theme["series2"]
    assert tone_at(editor, 4, "verify") == theme["accent"]
    assert tone_at(editor, 6, "for the number") == theme["text3"]
    assert tone_at(editor, 7, "[0-9]") == theme["ok"]
    assert tone_at(editor, 8, "1.0") == theme["series3"]
    theme.set_mode("dark")
    assert tone_at(editor, 8, "1.0") == DARK["series3"]


def test_a_docstring_that_is_opened_colours_what_follows_and_closed_lets_it_go(editor, theme, qtbot) -> None:
    editor.load("\n" + "x = 1\n" * 50)
    editor.area.go_to(1)
    QTest.keyClicks(editor.area, '"""')
    qtbot.waitUntil(lambda: not editor.area.colours.busy)
    assert tone_at(editor, 51, "x") in (theme["ok"], theme["text3"]) and in_letters(editor.area.document().findBlockByNumber(50), 0)
    for _ in range(3):
        press(editor, Qt.Key.Key_Backspace)
    qtbot.waitUntil(lambda: not editor.area.colours.busy)
    assert tone_at(editor, 51, "x") == ""


def test_a_long_file_is_coloured_in_turns_to_its_last_line(editor, theme, qtbot) -> None:
    editor.load(SOURCE * 600)
    assert editor.area.blockCount() > 4800 and editor.area.colours.busy
    qtbot.waitUntil(lambda: not editor.area.colours.busy, timeout=20_000)
    last = editor.area.blockCount() - 1
    assert tone_at(editor, last, "return") == theme["series2"]
    assert tone_at(editor, 2401, "import") == theme["series2"]


def test_lines_that_come_while_colours_are_on_their_way_are_coloured_too(editor, theme, qtbot) -> None:
    editor.load(SOURCE * 300)
    assert editor.area.colours.busy
    editor.area.go_to(1)
    QTest.keyClicks(editor.area, "x = 1")
    press(editor, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: not editor.area.colours.busy, timeout=20_000)
    assert tone_at(editor, editor.area.blockCount() - 1, "return") == theme["series2"]


def test_a_key_in_a_long_file_takes_a_part_of_a_frame(editor, qtbot) -> None:
    """The bound is 50 ms; it is measured here by the thread's own time, so that other work on the machine does not count."""
    editor.load(SOURCE * 600)
    qtbot.waitUntil(lambda: not editor.area.colours.busy, timeout=20_000)
    editor.area.go_to(2400)
    took = []
    for letter in "\"\"\"co x = re.f":
        began = time.thread_time()
        QTest.keyClicks(editor.area, letter)
        took.append(time.thread_time() - began)
    assert max(took) < 0.05


def test_the_lexer_goes_on_where_the_line_before_ended() -> None:
    lexer = PythonLines()
    _, state = lexer.line('x = """a')
    assert state != START
    found, state = lexer.line('b""" + 1', state)
    assert state == START
    assert found[0][2] in Token.Literal.String and tone_of(found[-2][2]) == "series3"


def test_the_editor_says_what_it_is(editor) -> None:
    assert editor.area.accessibleName() == "Verifier"
    assert "Escape" in editor.area.accessibleDescription()
    assert not editor.area.grab().isNull()
