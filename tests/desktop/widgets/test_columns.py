"""Two columns stand side by side where there is room, one under the other where there is none, and back again."""

from PySide6.QtWidgets import QLabel

from desktop.widgets.columns import Columns
from desktop.widgets.layout import Scroll, col
from desktop.widgets.text import Text


def test_columns_stack_and_come_back(theme, qtbot) -> None:
    columns = Columns(theme, col(Text("main " * 30, wrap=True), "+"), col(QLabel("side"), "+"), side_width=300, room=500)
    scroll = Scroll(columns)
    qtbot.addWidget(scroll)
    scroll.resize(1000, 600)
    scroll.show()
    main, side = columns._main, columns._side
    assert not columns.stacked and side.width() == 300 and side.x() > main.x()
    scroll.resize(600, 600)
    qtbot.waitUntil(lambda: columns.stacked and side.y() > main.y())
    assert scroll.horizontalScrollBar().maximum() == 0 and side.width() > 400
    scroll.resize(1000, 600)
    qtbot.waitUntil(lambda: not columns.stacked and side.width() == 300)
