"""Facts: names at the left, values at the right; and a stat: a name, a number, a note."""

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

from desktop.widgets.layout import clear, col, fill, row
from desktop.widgets.text import Text, small


class Facts(QWidget):
    """`set([(name, value), ...])`; rows are reused while the names stay the same, so that live values do not flicker. `elide`: values may
    be names of any length, and are cut with the whole in the tooltip."""

    def __init__(self, pairs: Sequence[tuple[str, str]] = (), gap: int = 7, elide: bool = False) -> None:
        super().__init__()
        self._gap, self._elide = gap, elide
        self._names: list[str] = []
        self._values: list[Text] = []
        self._box = QVBoxLayout(self)
        self._box.setContentsMargins(0, 0, 0, 0)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)  # spare height is not for the gaps between rows
        self.set(pairs)

    def set(self, pairs: Sequence[tuple[str, str]]) -> None:
        names = [name for name, _ in pairs]
        if names != self._names:
            clear(self._box)
            self._names = names
            self._values = [Text(role="medium", elide=self._elide, align=Qt.AlignmentFlag.AlignRight if self._elide else None)
                            for _ in names]
            fill(self._box, tuple(row(Text(name, tone="text2"), *([(value, 1)] if self._elide else ["+", value]), gap=8)
                                  for name, value in zip(names, self._values, strict=True)), self._gap)
        for label, (_, value) in zip(self._values, pairs, strict=True):
            label.set(value)


class Stat(QWidget):
    """A number of a run: what it is, how much, in what unit or of how much."""

    def __init__(self, name: str, value: str = "", note: str = "", tone: str = "") -> None:
        super().__init__()
        self._name = name
        self._value, self._note = Text(value, "section", tone), small(note, elide=True)
        col(small(name), self._value, self._note, gap=1, host=self)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        self.set(value, note, tone)

    def set(self, value: str, note: str = "", tone: str = "") -> None:
        self._value.set(value)
        self._value.set_tone(tone)
        self._note.set(note)
        self.setAccessibleName(f"{self._name}: {value} {note}".strip())
