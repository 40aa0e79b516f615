"""Small questions of a page: another name, and whether something may go. They decide nothing."""

from collections.abc import Callable

from PySide6.QtCore import Qt
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QDialog, QWidget

from desktop.theme.theme import Theme
from desktop.widgets.buttons import Button
from desktop.widgets.fields import TextField
from desktop.widgets.layout import Item, col, row
from desktop.widgets.text import Text, small
from engine.contract.words import tr

WIDTH = 460


def fit(dialog: QDialog) -> None:
    """As high as what it says is at its width, now that this has changed."""
    box = dialog.layout()
    box.activate()
    height = max(box.minimumSize().height(), box.totalHeightForWidth(dialog.width()))
    dialog.resize(dialog.width(), height)


class Question(QDialog):
    """A title, a sentence, perhaps something between, and two buttons. `act` is called when it is confirmed."""

    def __init__(self, theme: Theme, title: str, words: str, button: str, act: Callable[[], object], *between: Item, kind: str = "primary",
                 parent: QWidget | None = None, width: int = WIDTH) -> None:
        super().__init__(parent)
        self.theme, self._act = theme, act
        self.setWindowTitle(title)
        self.setFixedWidth(theme.px(width))
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.cancel = Button(theme, tr("Cancel"), on_click=self.reject)
        self.confirm = Button(theme, button, kind, on_click=self._confirm)
        self.confirm.setDefault(kind == "primary")
        col(Text(title, "title", elide=True), 2, small(words, wrap=True) if words else None, 8 if between else 2, *between, 10,
            row("+", self.cancel, self.confirm), gap=6, pad=(24, 20, 24, 20), host=self)
        if kind == "danger":
            self.cancel.setFocus()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        fit(self)

    def _confirm(self) -> None:
        self._act()
        self.accept()


def ask_name(theme: Theme, title: str, name: str, act: Callable[[str], object], parent: QWidget) -> Question:
    """Another name; an empty one cannot be confirmed."""
    field = TextField(name, name=tr("Name"))
    made = Question(theme, title, "", tr("Rename"), lambda: act(field.value().strip()), field, parent=parent)

    def look() -> None:
        made.confirm.setEnabled(bool(field.value().strip()))
    field.changed.connect(look)
    field.returnPressed.connect(lambda: made.confirm.click() if made.confirm.isEnabled() else None)
    look()
    made.open()
    field.setFocus()
    field.selectAll()
    return made


def ask_delete(theme: Theme, title: str, words: str, act: Callable[[], object], parent: QWidget) -> Question:
    """Whether something may go for good."""
    made = Question(theme, title, words, tr("Delete"), act, kind="danger", parent=parent)
    made.open()
    return made
