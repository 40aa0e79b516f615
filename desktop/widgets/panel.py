"""Panels, rules and the heading inside a panel."""

from PySide6.QtCore import QEvent
from PySide6.QtWidgets import QApplication, QFrame, QHBoxLayout, QVBoxLayout, QWidget

from desktop.widgets.layout import Item, Pad, fill, row
from desktop.widgets.text import Text, repolish, small

PANEL_PAD: Pad = (16, 12, 16, 12)


class Panel(QFrame):
    """A surface with a hairline. `kind`: panel, chosen (2 px accent), sunken, popover. `flat` lays its items side by side."""

    def __init__(self, *items: Item, kind: str = "panel", gap: int = 8, pad: Pad = PANEL_PAD, flat: bool = False) -> None:
        super().__init__()
        self._pad = pad
        self.setProperty("kind", kind)
        self.box = QHBoxLayout(self) if flat else QVBoxLayout(self)
        fill(self.box, items, gap, pad)

    def set_chosen(self, chosen: bool) -> None:
        """Chosen by shape: a thicker border, one pixel less padding, so that nothing moves."""
        self.setProperty("kind", "chosen" if chosen else "panel")
        self.box.setContentsMargins(*[side - 1 if chosen else side for side in self._pad])
        repolish(self)
        QApplication.sendEvent(self, QEvent(QEvent.Type.StyleChange))  # or the frame keeps the width of the border before


def table_panel(head: QWidget, table: QWidget, *below: Item, gap: int = 6) -> Panel:
    """A panel around a table, whose hairlines run nearly to its edges; head and what is below stand in line with the cells."""
    return Panel(row((head, 1), pad=(8, 0, 8, 0)), (table, 1), *below, pad=(8, 12, 8, 8), gap=gap)


def rule() -> QFrame:
    """A hairline between things one under the other."""
    host = QFrame()
    host.setProperty("kind", "rule")
    return host


def vrule() -> QFrame:
    """A hairline between things side by side."""
    host = QFrame()
    host.setProperty("kind", "vrule")
    return host


def heading(title: str, note: str = "", *right: Item, gap: int = 10) -> QWidget:
    """The first line of a panel: its name, a quiet word about it, and what can be done with it at the right."""
    return row(Text(title, "section"), small(note) if note else None, "+", *right, gap=gap)
