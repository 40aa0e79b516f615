"""Buttons and segments: by mouse and keyboard, with names for screen readers and a ring for the keyboard's focus."""

import pytest
from PySide6.QtCore import Qt

from desktop.widgets.buttons import Button, Segments
from desktop.widgets.layout import row


def test_an_icon_button_needs_a_name(theme, qtbot) -> None:
    with pytest.raises(AssertionError):
        Button(theme, icon="undo", kind="icon")
    button = Button(theme, icon="undo", kind="icon", name="Undo")
    qtbot.addWidget(button)
    assert button.accessibleName() == "Undo" and button.toolTip() == "Undo"


@pytest.mark.parametrize("key", [Qt.Key.Key_Return, Qt.Key.Key_Space])
def test_a_button_works_from_the_keyboard(theme, qtbot, key) -> None:
    clicks: list[int] = []
    button = Button(theme, "Go", on_click=lambda: clicks.append(1))
    qtbot.addWidget(button)
    button.show()
    qtbot.keyClick(button, key)
    assert clicks == [1]


def test_the_ring_is_for_the_keyboard_and_can_be_seen(theme, qtbot) -> None:
    first, second = Button(theme, "One", "primary"), Button(theme, "Two")
    host = row(first, second)
    qtbot.addWidget(host)
    host.show()
    host.activateWindow()
    qtbot.waitUntil(host.isActiveWindow)
    for button in (first, second):
        before = button.grab().toImage()
        button.setFocus(Qt.FocusReason.MouseFocusReason)
        assert not button.ring
        button.clearFocus()
        button.setFocus(Qt.FocusReason.TabFocusReason)
        qtbot.waitUntil(button.hasFocus)
        assert button.ring
        assert button.grab().toImage() != before


def test_segments_choose_one_and_tell_once(theme, qtbot) -> None:
    seen: list[str] = []
    segments = Segments(theme, [("a", "A"), ("b", "B"), ("c", "C")], "b", name="Letters", on_change=seen.append)
    qtbot.addWidget(segments)
    segments.show()
    assert segments.value() == "b"
    segments.set("c")
    assert seen == [] and segments.value() == "c"
    qtbot.mouseClick(segments._group.button(0), Qt.MouseButton.LeftButton)
    assert seen == ["a"] and segments.value() == "a"
    segments.activateWindow()
    segments._group.button(0).setFocus()
    qtbot.waitUntil(segments._group.button(0).hasFocus)
    qtbot.keyClick(segments._group.button(0), Qt.Key.Key_Right)
    assert seen == ["a", "b"]


def test_widths_of_segments_stay_when_another_is_chosen(theme, qtbot) -> None:
    segments = Segments(theme, [("a", "Steps"), ("b", "Tokens")], name="x")
    qtbot.addWidget(segments)
    segments.show()
    before = [b.width() for b in segments._group.buttons()]
    segments.set("b")
    assert [b.width() for b in segments._group.buttons()] == before
