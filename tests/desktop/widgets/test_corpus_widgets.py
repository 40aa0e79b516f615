"""Funnel, histogram, toggles, the threshold's slider and curve, the steps of a wizard: what they show, say and give back."""

import pytest
from PySide6.QtCore import QPoint, Qt

from desktop.theme.theme import Theme
from desktop.widgets.funnel import Funnel, FunnelRow
from desktop.widgets.histogram import Histogram
from desktop.widgets.threshold import FoundCurve, ThresholdSlider
from desktop.widgets.toggles import Toggles
from desktop.widgets.wizard_steps import WizardSteps

ROWS = [FunnelRow("read", "Read", 100, strong=True), FunnelRow("language", "Other languages", 90, 10, "German 10", opens=True),
        FunnelRow("kept", "Kept", 90, strong=True, opens=True)]


def test_a_funnel_says_its_rows_and_opens_them_by_mouse_and_keyboard(theme: Theme, qtbot) -> None:
    funnel = Funnel(theme, "Removed")
    qtbot.addWidget(funnel)
    funnel.resize(640, 200)
    funnel.set(ROWS)
    funnel.show()
    opened: list[str] = []
    funnel.opened.connect(opened.append)
    read, language, kept = funnel.rows
    assert not read.isEnabled() and language.accessibleName() == "Other languages, 90 left, 10 removed, German 10"
    qtbot.mouseClick(language, Qt.MouseButton.LeftButton)
    qtbot.keyClick(kept, Qt.Key.Key_Return)
    assert opened == ["language", "kept"]


@pytest.mark.parametrize("width", [240, 420, 640, 1400])
def test_a_funnel_draws_at_any_width_without_overlap(theme: Theme, qtbot, width: int) -> None:
    funnel = Funnel(theme, "Removed")
    qtbot.addWidget(funnel)
    funnel.set(ROWS)
    columns = funnel._columns.at(width)
    for (left, size), (following, _) in zip(columns, columns[1:], strict=False):
        assert left + size <= following
    funnel.resize(width, 160)
    assert not funnel.grab().isNull()


def test_toggles_give_what_is_chosen_in_their_order(theme: Theme, qtbot) -> None:
    toggles = Toggles(theme, [("en", "English", "90"), ("de", "German", "10")], name="Languages")
    qtbot.addWidget(toggles)
    told: list[object] = []
    toggles.changed.connect(lambda: told.append(toggles.value()))
    qtbot.mouseClick(toggles.buttons["de"], Qt.MouseButton.LeftButton)
    qtbot.mouseClick(toggles.buttons["en"], Qt.MouseButton.LeftButton)
    assert told == [("de",), ("en", "de")] and toggles.buttons["en"].text() == "English  90"
    qtbot.mouseClick(toggles.buttons["de"], Qt.MouseButton.LeftButton)
    assert toggles.value() == ("en",)


def test_toggles_keep_a_chosen_value_that_is_not_offered(theme: Theme, qtbot) -> None:
    toggles = Toggles(theme, [("en", "English", "")], name="Languages")
    qtbot.addWidget(toggles)
    told: list[object] = []
    toggles.changed.connect(lambda: told.append(1))
    toggles.set(("pt",))
    toggles.set_choices([("fr", "French", "3")])
    assert toggles.value() == ("pt",) and list(toggles.buttons) == ["fr", "pt"] and toggles.buttons["pt"].isChecked() and not told


def test_a_slider_gives_back_exactly_what_was_loaded(theme: Theme, qtbot) -> None:
    slider = ThresholdSlider(theme, 0.7, 0.4, 0.95, name="Similarity")
    qtbot.addWidget(slider)
    told: list[float] = []
    slider.changed.connect(lambda: told.append(slider.value()))
    slider.set(0.725)
    assert slider.value() == 0.725 and not told
    slider.show()
    qtbot.keyClick(slider, Qt.Key.Key_Right)
    assert told == [0.73] and "0.73" in slider.accessibleName()
    slider.resize(300, 48)
    qtbot.mouseClick(slider, Qt.MouseButton.LeftButton, pos=QPoint(1, 12))
    assert slider.value() == 0.4


def test_a_curve_says_what_its_threshold_finds(theme: Theme, qtbot) -> None:
    curve = FoundCurve(theme)
    qtbot.addWidget(curve)
    curve.set(lambda alike: alike ** 2, 0.5)
    assert curve.accessibleName() == "Of pairs with similarity 0.50, 25.0\u00a0% are found" and not curve.grab().isNull()


def test_a_histogram_says_its_bars(theme: Theme, qtbot) -> None:
    made = Histogram(theme, name="Lengths")
    qtbot.addWidget(made)
    made.set([("<250", 41, "41"), ("250", 0, "0")])
    assert made.accessibleName() == "Lengths: <250 41, 250 0" and not made.grab().isNull()


def test_only_reachable_steps_can_be_pressed(theme: Theme, qtbot) -> None:
    steps = WizardSteps(theme, [("a", "One"), ("b", "Two"), ("c", "Three")])
    qtbot.addWidget(steps)
    chosen: list[str] = []
    steps.chosen.connect(chosen.append)
    steps.set("a", ["b"])
    for button in steps.buttons.values():
        qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    assert chosen == ["a", "b"] and steps.buttons["c"].isEnabled() is False
