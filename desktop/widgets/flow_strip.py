"""The three answers every stage page gives: what goes in, what will happen, what came out. A bold fact and a line under each."""

from PySide6.QtWidgets import QHBoxLayout

from desktop.theme.theme import Theme
from desktop.widgets.layout import col, row
from desktop.widgets.panel import Panel
from desktop.widgets.text import Icon, Text, small
from engine.contract.words import tr

Answer = tuple[str, str]


class FlowStrip(Panel):
    """`set(goes_in, happens, came_out, tense)`: each a (fact, line); tense is "will", "is" or "did"."""

    def __init__(self, theme: Theme, goes_in: Answer = ("", ""), happens: Answer = ("", ""), came_out: Answer = ("", ""),
                 tense: str = "will") -> None:
        self._names = [small(), small(), small()]
        self._facts = [Text(role="strong", elide=True) for _ in range(3)]
        self._lines = [small(elide=True) for _ in range(3)]
        cells = []
        for i in range(3):
            if i:
                cells.append(Icon(theme, "chevron", "text3"))
            cells.append((row(self._names[i], (col(self._facts[i], self._lines[i], gap=1), 1), gap=12), 1))
        super().__init__(*cells, pad=(16, 8, 16, 8), gap=16, flat=True)
        assert isinstance(self.box, QHBoxLayout)
        self.set(goes_in, happens, came_out, tense)

    def set(self, goes_in: Answer, happens: Answer, came_out: Answer, tense: str = "will") -> None:
        verb = {"will": tr("Will happen"), "is": tr("Is happening"), "did": tr("Happened")}[tense]
        for i, (name, (fact, line)) in enumerate(zip((tr("Goes in"), verb, tr("Came out")), (goes_in, happens, came_out), strict=True)):
            self._names[i].set(name)
            self._facts[i].set(fact)
            self._lines[i].set(line)
        self.setAccessibleName(f"{tr('Goes in')}: {goes_in[0]}. {verb}: {happens[0]}. {tr('Came out')}: {came_out[0]}.")
