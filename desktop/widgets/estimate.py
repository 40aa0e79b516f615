"""The estimate strip: what the formula says beside what was measured, same rows, same units, and the memory bar under it."""

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QGridLayout, QWidget

from desktop.theme.theme import Theme
from desktop.widgets.bar import Bar
from desktop.widgets.layout import clear, col, show_if
from desktop.widgets.panel import rule
from desktop.widgets.text import Text, small
from engine.contract.words import tr

Line = tuple[str, str, str]


class Estimate(QWidget):
    """`set(lines, note, ...)`: lines are (what, formula, measured), "" where there is none ("no formula" is said in words)."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._grid_host = QWidget()
        self._grid = QGridLayout(self._grid_host)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(16)
        self._grid.setVerticalSpacing(0)
        self._grid.setColumnStretch(0, 1)
        self._bar = Bar(theme, height=8, name=tr("Memory"))
        self._note = small(wrap=True)
        col(self._grid_host, 4, self._bar, self._note, gap=6, host=self)

    def set(self, lines: Sequence[Line], note: str = "", *, measured_share: float | None = None,
            formula_share: float | None = None) -> None:
        """Shares are of the device's memory; without them no bar. The bar is filled as measured and ghosted to the formula."""
        clear(self._grid)
        right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        for c, words in enumerate(("", tr("Formula"), tr("Measured"))):
            head = small(words)
            head.setMinimumHeight(self._theme.px(28))
            self._grid.addWidget(head, 0, c, right if c else Qt.AlignmentFlag.AlignLeft)
            self._grid.setColumnMinimumWidth(c, self._theme.px(84) if c else 0)
        for r, (what, formula, measured) in enumerate(lines, 1):
            self._grid.addWidget(rule(), 2 * r - 1, 0, 1, 3)
            cells = (Text(what), Text(formula or tr("no formula"), tone="text2"), Text(measured or "–", "medium" if measured else "body",
                     "" if measured else "text2"))
            for c, cell in enumerate(cells):
                cell.setMinimumHeight(self._theme.px(31))
                self._grid.addWidget(cell, 2 * r, c, right if c else Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        known = measured_share if measured_share is not None else formula_share
        show_if(self._bar, known is not None)
        if known is not None:
            over = known > 1
            self._bar.set(measured_share or 0.0, formula_share or 0.0, "danger" if over else "accent")
        self._note.set(note)
        show_if(self._note, bool(note))
