"""Toggles: several of a few values chosen at once, each a rounded button with an amount beside its words, in lines that wrap."""

from collections.abc import Sequence
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QSizePolicy, QWidget

from desktop.theme.theme import Theme
from desktop.widgets.buttons import Button
from desktop.widgets.chips import Wrap
from desktop.widgets.layout import let_go


class Toggles(QWidget):
    """`choices`: (value, words, amount); the amount ("4,102", "" for none) stands beside the words. `value()` is a tuple in the order of
    the choices. A chosen value that is not among them is shown as it is."""

    changed = Signal()

    def __init__(self, theme: Theme, choices: Sequence[tuple[Any, str, str]] = (), chosen: Sequence[Any] = (), *, name: str) -> None:
        super().__init__()
        self.theme = theme
        self._chosen = tuple(chosen)
        self._choices: list[tuple[Any, str, str]] = []
        self.buttons: dict[Any, Button] = {}
        self._box = Wrap(self, theme.px(8))
        policy = QSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        self.setAccessibleName(name)
        theme.follow(self, self._dress)
        self.set_choices(choices)

    def value(self) -> tuple[Any, ...]:
        return self._chosen

    def set(self, chosen: Sequence[Any]) -> None:
        """Choose without telling anybody."""
        self._chosen = tuple(chosen)
        if any(v not in self.buttons for v in self._chosen):
            self.set_choices(self._choices)
        self._show()

    def set_choices(self, choices: Sequence[tuple[Any, str, str]]) -> None:
        """Other choices; what is chosen stays chosen."""
        known = {value for value, _, _ in choices}
        wanted = [*choices, *((value, str(value), "") for value in self._chosen if value not in known)]
        self._choices = list(choices)
        if [v for v, _, _ in wanted] != list(self.buttons):
            while (item := self._box.takeAt(0)) is not None:
                if (gone := item.widget()) is not None:
                    let_go(gone)
                    gone.setParent(None)
                    gone.deleteLater()
            self.buttons = {}
            for value, words, _ in wanted:
                button = Button(self.theme, words or str(value), "toggle")
                button.setCheckable(True)
                button.clicked.connect(lambda on, value=value: self._toggled(value, on))
                self.buttons[value] = button
                self._box.addWidget(button)
        for value, words, amount in wanted:
            self.buttons[value].set_words(f"{words}  {amount}" if amount else words)
        self._show()
        self.updateGeometry()

    def _toggled(self, value: Any, on: bool) -> None:
        chosen = {*self._chosen, value} if on else {v for v in self._chosen if v != value}
        self._chosen = tuple(v for v in self.buttons if v in chosen)
        self.changed.emit()

    def _show(self) -> None:
        for value, button in self.buttons.items():
            button.setChecked(value in self._chosen)

    def _dress(self) -> None:
        t, px = self.theme, self.theme.px
        self.setStyleSheet(f"""QPushButton {{ background: {t["surface"]}; border: 1px solid {t["control"]}; border-radius: {px(12)}px;
            padding: 0 {px(12)}px; min-height: {px(24)}px; font-weight: 400; color: {t["text"]}; }}
            QPushButton:checked {{ background: {t["accent_soft"]}; border-color: {t["accent"]}; color: {t["accent"]}; font-weight: 500; }}
            QPushButton:hover {{ border-color: {t["accent"]}; }}
            QPushButton:disabled {{ color: {t["text3"]}; border-color: {t["line"]}; }}""")
