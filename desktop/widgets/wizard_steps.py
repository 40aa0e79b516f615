"""The steps of a wizard as buttons: the present one bold, those that can be entered clickable. It decides nothing (see step_strip.py for
one that only shows)."""

from collections.abc import Collection, Sequence
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QButtonGroup, QWidget

from desktop.theme.theme import Theme
from desktop.widgets.buttons import Button
from desktop.widgets.layout import row
from desktop.widgets.text import Icon
from engine.contract.words import tr


class WizardSteps(QWidget):
    """`steps`: (id, title). `chosen(id)` when one is pressed; `set(current, reachable)`."""

    chosen = Signal(str)

    def __init__(self, theme: Theme, steps: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self._group = QButtonGroup(self)
        self.buttons: dict[str, Button] = {}
        cells: list[Any] = []
        for i, (id, title) in enumerate(steps):
            button = Button(theme, f"{i + 1}  {title}", "step")
            button.setFlat(True)
            button.setCheckable(True)
            button.clicked.connect(lambda _=False, id=id: self.chosen.emit(id))
            self._group.addButton(button, i)
            self.buttons[id] = button
            cells += [Icon(theme, "chevron", "text3")] * bool(i) + [button]
        row(*cells, "+", gap=10, host=self)
        self.setAccessibleName(tr("Steps"))
        theme.follow(self, lambda: self._dress(theme))

    def set(self, current: str, reachable: Collection[str]) -> None:
        """`reachable` are the steps that can be entered now; the present one always can."""
        for id, button in self.buttons.items():
            button.setChecked(id == current)
            button.setEnabled(id == current or id in reachable)

    def _dress(self, theme: Theme) -> None:
        self.setStyleSheet(f"""QPushButton {{ background: transparent; border: none; padding: 0 2px; min-height: 24px; font-weight: 400;
            color: {theme["text2"]}; }} QPushButton:checked {{ color: {theme["text"]}; font-weight: 600; }}
            QPushButton:hover {{ color: {theme["accent"]}; }} QPushButton:disabled {{ color: {theme["text3"]}; }}""")
