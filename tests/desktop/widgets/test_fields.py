"""Controls hold values exactly: what was loaded comes back, what was typed is read as people write numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PySide6.QtCore import Qt

from desktop.widgets.fields import Choice, Lines, NumberField, SearchField, Switch, Tick, read_number, show_number


@pytest.mark.parametrize(("text", "whole", "value"), [
    ("1,024", True, 1024), ("1 024", True, 1024), ("2.5M", True, 2_500_000), ("16k", True, 16_000), ("1.5", True, None),
    ("3e-4", False, 3e-4),
    ("\u22125", True, -5), ("12x", True, None), ("", False, None), ("1e400", False, None), (".5", False, 0.5)])
def test_numbers_are_read_as_people_write_them(text: str, whole: bool, value) -> None:
    assert read_number(text, whole) == value


@pytest.mark.parametrize(("value", "text"), [(1024, "1,024"), (0.0003, "0.0003"), (11.0, "11.0"), (10_000.0, "10,000"), (0.95, "0.95"),
                                             (1e-9, "1e-09"), (0.0, "0.0"), (1234.5, "1,234.5")])
def test_numbers_are_shown_without_invented_digits(value, text: str) -> None:
    assert show_number(value) == text


@given(st.integers(-10**15, 10**15))
def test_whole_numbers_survive_showing_and_reading(value: int) -> None:
    assert read_number(show_number(value), True) == value


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_loaded_number_comes_back_bit_for_bit(qapp, value: float) -> None:
    field = NumberField(whole=False, name="x")
    field.set(value)
    assert field.value() == value
    field._tidy()
    assert field.value() == value


def test_typing_emits_and_loading_does_not(qtbot) -> None:
    field = NumberField(8, name="x")
    qtbot.addWidget(field)
    with qtbot.assertNotEmitted(field.changed):
        field.set(16)
    field.selectAll()
    with qtbot.waitSignal(field.changed):
        qtbot.keyClicks(field, "3")
    assert field.value() == 3


def test_a_number_that_is_none_says_so_and_is_kept(qtbot) -> None:
    field = NumberField(8, name="x")
    qtbot.addWidget(field)
    field.selectAll()
    qtbot.keyClicks(field, "12x")
    assert field.value() is None and "12x" in field.wrong()
    field._tidy()
    assert field.text() == "12x"


def test_an_optional_number_is_automatic_when_empty(qtbot) -> None:
    field = NumberField(None, optional=True, name="x")
    qtbot.addWidget(field)
    field.set_automatic("262,144")
    assert field.value() is None and field.wrong() == "" and "262,144" in field.placeholderText()


def test_arrow_keys_step_and_keep_powers_of_two(qtbot) -> None:
    field = NumberField(1024, name="x", low=1, high=4096)
    qtbot.addWidget(field)
    qtbot.keyClick(field, Qt.Key.Key_Up)
    assert field.value() == 2048
    for _ in range(4):
        qtbot.keyClick(field, Qt.Key.Key_Up)
    assert field.value() == 4096
    field.set(100)
    qtbot.keyClick(field, Qt.Key.Key_Down)
    assert field.value() == 90


def test_a_choice_shows_an_unknown_value_instead_of_replacing_it(theme, qtbot) -> None:
    choice = Choice(theme, [("a", "A"), ("b", "B")], name="x")
    qtbot.addWidget(choice)
    choice.set("gone-7")
    assert choice.value() == "gone-7"


def test_a_choice_with_a_placeholder_chooses_nothing_by_itself(theme, qtbot) -> None:
    choice = Choice(theme, [("a", "A")], name="x", placeholder="Choose")
    qtbot.addWidget(choice)
    assert choice.value() is None
    choice.set_choices([("b", "B"), ("a", "A")])
    assert choice.value() is None


def test_new_choices_keep_the_value(theme, qtbot) -> None:
    choice = Choice(theme, [("a", "A"), ("b", "B")], "b", name="x")
    qtbot.addWidget(choice)
    with qtbot.assertNotEmitted(choice.changed):
        choice.set_choices([("b", "B"), ("c", "C")])
    assert choice.value() == "b"


def test_the_wheel_over_a_choice_scrolls_the_page_and_changes_nothing(theme, qtbot) -> None:
    from PySide6.QtCore import QPoint, QPointF
    from PySide6.QtGui import QWheelEvent
    choice = Choice(theme, [("a", "A"), ("b", "B")], name="x")
    qtbot.addWidget(choice)
    event = QWheelEvent(QPointF(5, 5), QPointF(5, 5), QPoint(0, -120), QPoint(0, -120), Qt.MouseButton.NoButton,
                        Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase, False)
    choice.wheelEvent(event)
    assert choice.value() == "a" and not event.isAccepted()


def test_a_choice_too_narrow_for_its_words_ends_them_in_an_ellipsis(theme, qtbot) -> None:
    words = "Demo model that answers, by Dr. GRPO 7"
    choice = Choice(theme, [("a", words), ("b", "Short")], "a", name="Model")
    qtbot.addWidget(choice)
    choice.resize(160, 32)
    choice.show()
    assert choice.shown_words().endswith("…") and choice.currentText() == words
    choice.set("b")
    assert choice.shown_words() == "Short"
    choice.showPopup()
    assert choice.view().width() > 160, "the list has room for all of the words"
    choice.hidePopup()


def test_switch_and_tick_work_from_the_keyboard(theme, qtbot) -> None:
    for control in (Switch(theme, False, name="x"), Tick(theme, "x")):
        qtbot.addWidget(control)
        control.show()
        with qtbot.waitSignal(control.changed):
            qtbot.keyClick(control, Qt.Key.Key_Space)
        assert control.value() is True


def test_lines_give_back_what_was_loaded_even_odd_lines(theme, qtbot) -> None:
    lines = Lines(("one", "", "two "), name="x", theme=theme)
    qtbot.addWidget(lines)
    assert lines.value() == ("one", "", "two ")
    lines.appendPlainText("three")
    assert lines.value() == ("one", "two ", "three")


def test_escape_empties_a_search(qtbot) -> None:
    field = SearchField("Find")
    qtbot.addWidget(field)
    qtbot.keyClicks(field, "abc")
    qtbot.keyClick(field, Qt.Key.Key_Escape)
    assert field.value() == ""
