"""The steps of a wizard, numbered, the present one bold. It shows; it is not clicked."""

from collections.abc import Sequence

from PySide6.QtWidgets import QWidget

from desktop.theme.theme import Theme
from desktop.widgets.layout import Item, row
from desktop.widgets.text import Icon, Text
from engine.contract.words import tr


class StepStrip(QWidget):
    def __init__(self, theme: Theme, names: Sequence[str], current: int = 0) -> None:
        super().__init__()
        self._names = list(names)
        self._numbers = [Text(str(i), "small_strong") for i in range(1, len(names) + 1)]
        self._words = [Text(name) for name in names]
        cells: list[Item] = []
        for i in range(len(names)):
            if i:
                cells.append(Icon(theme, "chevron", "text3"))
            cells.append(row(self._numbers[i], self._words[i], gap=6))
        row(*cells, "+", gap=10, host=self)
        self.set(current)

    def set(self, current: int) -> None:
        for i, (figure, words) in enumerate(zip(self._numbers, self._words, strict=True)):
            figure.set_tone("accent" if i == current else "text2")
            words.set_role("strong" if i == current else "body")
            words.set_tone("" if i == current else "text2")
        self.setAccessibleName(tr("Step {step} of {total}: {name}", step=current + 1, total=len(self._names), name=self._names[current]))
