"""The toast: one line and perhaps Undo, bottom centre, for what has been done. Never for errors: those stay where they happened."""

from collections.abc import Callable

from PySide6.QtCore import QEvent, QObject, Qt, QTimer
from PySide6.QtWidgets import QFrame, QHBoxLayout, QWidget

from desktop.theme.theme import Theme
from desktop.widgets.buttons import Button
from desktop.widgets.layout import fill, show_if
from desktop.widgets.text import Icon, Text

SECONDS = 6


class Toast(QFrame):
    """One per window; a new message replaces the old one. It waits while the mouse is over it or its button has the focus."""

    def __init__(self, theme: Theme, host: QWidget) -> None:
        super().__init__(host)
        self.setProperty("kind", "toast")
        self._words = Text()
        self._button = Button(theme, "Undo", "quiet", on_click=self._act)
        self._action: Callable[[], object] | None = None
        fill(QHBoxLayout(self), (Icon(theme, "check", "surface"), self._words, 16, self._button), 8, (14, 4, 4, 4))
        self.setFixedHeight(theme.px(40))
        self._timer = QTimer(self, singleShot=True, interval=SECONDS * 1000)
        self._timer.timeout.connect(self._leave)
        self.hide()
        host.installEventFilter(self)

    def say(self, words: str, button: str = "", action: Callable[[], object] | None = None) -> None:
        self._words.set(words)
        self._action = action
        if button:
            self._button.set_words(button)
        show_if(self._button, bool(button and action))
        self.setAccessibleName(words)
        self.adjustSize()
        self._place()
        self.raise_()
        self.show()
        self._timer.start()

    def _act(self) -> None:
        action, self._action = self._action, None
        self.hide()
        if action is not None:
            action()

    def _leave(self) -> None:
        if self.underMouse() or self._button.hasFocus():
            self._timer.start()
        else:
            self.hide()

    def _place(self) -> None:
        host = self.parentWidget()
        self.move((host.width() - self.width()) // 2, host.height() - self.height() - 24)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Resize and self.isVisible():
            self._place()
        return False

    def mousePressEvent(self, event) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self.hide()
