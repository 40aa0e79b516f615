"""Which of two answers was better: four buttons beside the legend, once both sides have answered the same. Keeping is the page's."""

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import QWidget

from desktop.theme.theme import Theme
from desktop.widgets.buttons import Button
from desktop.widgets.layout import row, show_if
from desktop.widgets.text import small
from engine.contract.words import tr

KEYS = {"left": "Alt+Left", "tie": "Alt+Up", "bad": "Alt+Down", "right": "Alt+Right"}


class Votes(QWidget):
    """`voted` with left, right, tie or bad. `offer` shows the buttons, `kept` that the vote is on the disk, `clear` nothing."""

    voted = Signal(str)
    undone = Signal()

    def __init__(self, theme: Theme, host: QWidget) -> None:
        super().__init__()
        words = {"left": (tr("Left is better"), "left"), "tie": (tr("Tie"), ""), "bad": (tr("Both bad"), ""),
                 "right": (tr("Right is better"), "right")}
        self.buttons = {choice: Button(theme, said, icon=icon, on_click=lambda c=choice: self.voted.emit(c), tip=QKeySequence(
            KEYS[choice]).toString(QKeySequence.SequenceFormat.NativeText)) for choice, (said, icon) in words.items()}
        self._asked = row(*self.buttons.values(), gap=6)
        self._said = small("", "ok")
        self.undo = Button(theme, tr("Undo"), "quiet", icon="undo", on_click=self.undone.emit)
        self._told = row(self._said, self.undo, gap=6)
        box = row(self._asked, self._told, gap=0)
        layout = box.layout()
        assert layout is not None
        self.setLayout(layout)
        self.setMinimumHeight(self._asked.sizeHint().height())  # so that nothing jumps when the buttons come
        self._keys = []
        for choice, keys in KEYS.items():
            shortcut = QShortcut(QKeySequence(keys), host, context=Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(lambda c=choice: self.voted.emit(c))
            self._keys.append(shortcut)
        self.clear()

    @property
    def offered(self) -> bool:
        return self._offered

    def offer(self) -> None:
        self._state(True, "")

    def kept(self, choice: str) -> None:
        """On the disk: what was said."""
        self._state(False, {"left": tr("Left is better: kept as a pair"), "right": tr("Right is better: kept as a pair"),
                            "tie": tr("A tie: kept as a pair"), "bad": tr("Both bad: kept as a pair")}[choice])

    def clear(self) -> None:
        self._state(False, "")

    def _state(self, offered: bool, said: str) -> None:
        self._offered = offered
        show_if(self._asked, offered)
        show_if(self._told, bool(said))
        self._said.set(said)
        for shortcut in self._keys:
            shortcut.setEnabled(offered)
