"""Labels: plain unless asked, wrapping without growing the window, eliding with the whole in the tooltip."""

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QMainWindow

from desktop.widgets.layout import Scroll, col, fixed, row
from desktop.widgets.text import Text

LONG = "A sentence that is rather long and has to be broken into several lines wherever it stands. " * 6


def test_what_a_model_wrote_is_never_markup(theme, qtbot) -> None:
    label = Text("<b>bold</b> & <img src='x'>", lead=130)
    qtbot.addWidget(label)
    assert "&lt;b&gt;" in label.text() and "<img" not in label.text()
    plain = Text("<b>x</b>")
    qtbot.addWidget(plain)
    assert plain.textFormat() == Qt.TextFormat.PlainText


def test_a_wrapped_label_does_not_grow_the_window(theme, qtbot) -> None:
    window = QMainWindow()
    qtbot.addWidget(window)
    window.setCentralWidget(Scroll(col(row((Text(LONG, wrap=True), 1), fixed(Text(LONG, wrap=True), 200)), "+")))
    window.resize(600, 300)
    window.show()
    assert (window.width(), window.height()) == (600, 300)


def test_a_wrapped_label_gets_the_height_it_needs(theme, qtbot) -> None:
    label = Text(LONG, wrap=True)
    host = col(label, "+")
    qtbot.addWidget(host)
    host.resize(300, 800)
    host.show()
    assert label.height() >= label.heightForWidth(label.width()) - 1
    assert label.height() > 100


def test_an_elided_label_keeps_the_words_in_the_tooltip(theme, qtbot) -> None:
    label = Text(LONG, elide=True)
    host = row((label, 1))
    qtbot.addWidget(host)
    host.resize(200, 30)
    host.show()
    assert label.text().endswith("…") and label.toolTip() == LONG and label.words() == LONG
    host.resize(9000, 30)
    qtbot.waitUntil(lambda: label.text() == LONG)
    assert label.toolTip() == ""
