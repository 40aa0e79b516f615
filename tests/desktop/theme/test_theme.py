"""Switching the theme at run time: everything on the screen follows, painted widgets and pictures too."""

import xml.etree.ElementTree as ElementTree

import pytest
from PySide6.QtGui import QFontInfo, QImage
from PySide6.QtWidgets import QWidget

from desktop.theme import icons
from desktop.theme.palette import DARK, LIGHT, SANS
from desktop.theme.theme import Theme
from desktop.widgets.bar import Bar
from desktop.widgets.buttons import Button
from desktop.widgets.layout import col
from desktop.widgets.text import Icon, Text


def colours(image: QImage) -> set[str]:
    return {image.pixelColor(x, y).name().upper() for x in range(image.width()) for y in range(image.height())
            if image.pixelColor(x, y).alpha() == 255}


def test_a_switch_repaints_labels_icons_and_painted_widgets(theme: Theme, qtbot) -> None:
    icon, bar, button, words = Icon(theme, "stop", "accent"), Bar(theme, 1.0), Button(theme, "Go", icon="stop"), Text("MMMM", "title")
    host = col(icon, bar, button, words)
    host.setProperty("kind", "page")
    qtbot.addWidget(host)
    host.show()
    assert LIGHT["accent"] in colours(bar.grab().toImage())
    assert LIGHT["accent"] in colours(icon.pixmap().toImage())
    theme.set_mode("dark")
    assert DARK["accent"] in colours(bar.grab().toImage())
    assert DARK["accent"] in colours(icon.pixmap().toImage())
    assert DARK["text2"] in colours(button.icon().pixmap(16, 16).toImage())
    assert DARK["text"] in colours(words.grab().toImage())
    assert LIGHT["text"] not in colours(words.grab().toImage())


def test_following_ends_with_the_owner(theme: Theme, qtbot) -> None:
    seen: list[int] = []
    owner = QWidget()
    theme.follow(owner, lambda: seen.append(1))
    assert seen == [1]
    theme.set_mode("dark")
    assert seen == [1, 1]
    owner.deleteLater()
    qtbot.waitUntil(lambda: _gone(owner))
    theme.set_mode("light")
    assert seen == [1, 1]


def _gone(widget: QWidget) -> bool:
    from shiboken6 import isValid
    return not isValid(widget)


def test_the_same_mode_changes_nothing(theme: Theme, qtbot) -> None:
    with qtbot.assertNotEmitted(theme.changed):
        theme.set_mode("light")


def test_text_size_scales_lengths_and_fonts(theme: Theme, qtbot) -> None:
    assert theme.px(32) == 32 and theme.font("body").pixelSize() == 13
    with qtbot.waitSignal(theme.scale_changed):
        theme.set_scale(1.5)
    assert theme.px(32) == 48 and theme.font("small").pixelSize() == 18
    theme.set_scale(1.0)


def test_the_bundled_font_is_used_with_tabular_figures(theme: Theme) -> None:
    assert QFontInfo(theme.font("body")).family() == SANS
    from PySide6.QtGui import QFontMetrics
    metrics = QFontMetrics(theme.font("body"))
    assert metrics.horizontalAdvance("1111") == metrics.horizontalAdvance("8888")


@pytest.mark.parametrize("name", icons.names())
def test_every_icon_is_a_tintable_16_pixel_drawing(name: str, qapp) -> None:
    root = ElementTree.fromstring(icons.source(name))
    assert root.attrib["viewBox"] == "0 0 16 16"
    drawn = icons.pixmap(name, "#FF0000", 16, 2.0).toImage()
    assert drawn.width() == 32
    assert "#FF0000" in colours(drawn)
