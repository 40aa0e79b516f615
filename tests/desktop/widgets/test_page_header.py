"""The head of a page keeps its title readable: actions stand beside it where there is room, else below."""

from desktop.theme.theme import Theme
from desktop.widgets.buttons import Button
from desktop.widgets.layout import show_if
from desktop.widgets.page_header import PageHeader


def test_actions_stand_below_where_the_title_would_have_no_room(theme: Theme, qtbot) -> None:
    buttons = [Button(theme, words) for words in ("New run", "Export", "Evaluate", "Chat with it")]
    header = PageHeader("Fine-tuned a model with a name", "Run 5.", *buttons)
    qtbot.addWidget(header)
    header.resize(900, 60)
    header.show()
    qtbot.waitExposed(header)
    assert buttons[0].mapTo(header, buttons[0].rect().topLeft()).x() > 300
    header.resize(460, 120)
    qtbot.waitUntil(lambda: buttons[0].mapTo(header, buttons[0].rect().topLeft()).x() == 0, timeout=3000)
    for button in buttons[1:]:
        show_if(button, False)
    qtbot.waitUntil(lambda: buttons[0].mapTo(header, buttons[0].rect().topLeft()).x() > 300, timeout=3000)
