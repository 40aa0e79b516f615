"""What waits for a device, in its order: move up and down, take out. Runs of all the person's projects share one queue."""

from pathlib import Path

from PySide6.QtWidgets import QVBoxLayout, QWidget

from desktop.jobs.queue import RunQueue
from desktop.theme.theme import Theme
from desktop.widgets.buttons import Button
from desktop.widgets.layout import clear, row, show_if
from desktop.widgets.notes import NoteSlot
from desktop.widgets.panel import Panel, heading, rule
from desktop.widgets.text import Text, small
from engine.contract.words import tr
from engine.project.queue import Waiting


class QueuePanel(Panel):
    """Hidden while nothing waits."""

    def __init__(self, theme: Theme, queue: RunQueue) -> None:
        self._lines = QWidget()
        self._box = QVBoxLayout(self._lines)
        self._box.setContentsMargins(0, 0, 0, 0)
        self._box.setSpacing(4)
        self._notes = NoteSlot(theme)
        super().__init__(heading(tr("Queue"), tr("One run a device at a time. The next starts by itself, also with this window closed.")),
                         self._notes, self._lines, gap=8)
        self.theme, self.queue = theme, queue
        queue.changed.connect(self._refresh)
        queue.refused.connect(self._notes.show_error)
        self._refresh()

    def _refresh(self) -> None:
        clear(self._box)
        entries = self.queue.entries
        for place, entry in enumerate(entries):
            if place:
                self._box.addWidget(rule())
            self._box.addWidget(self._line(place, entry, len(entries)))
        show_if(self, bool(entries))

    def _line(self, place: int, entry: Waiting, count: int) -> QWidget:
        name = f"{Path(entry.project).name}, {entry.run}"

        def move(to: int) -> None:
            self.queue.move(entry, to)
        up = Button(self.theme, kind="icon", icon="uparrow", name=tr("Move {run} up", run=name), enabled=place > 0,
                    on_click=lambda: move(place - 1))
        down = Button(self.theme, kind="icon", icon="downarrow", name=tr("Move {run} down", run=name), enabled=place < count - 1,
                      on_click=lambda: move(place + 1))
        out = Button(self.theme, kind="icon", icon="close", name=tr("Take {run} out of the queue", run=name),
                     on_click=lambda: self.queue.remove(entry))
        return row(Text(str(place + 1), "small_strong", "accent"), Text(entry.run, "medium"), small(Path(entry.project).name), "+",
                   small(tr("next") if place == 0 else ""), small(tr("any device") if entry.device == "auto" else entry.device), up, down,
                   out, gap=12)
