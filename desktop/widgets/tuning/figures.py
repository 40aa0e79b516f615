"""Numbers of a run that is under way with what each means, beside its charts."""

from collections.abc import Callable, Sequence

from desktop.widgets.flexible import Poured
from desktop.widgets.layout import Scroll, clear, col, fill
from desktop.widgets.run_panel import Heard
from desktop.widgets.text import Text, small
from engine.project.run_state import RunState

Figure = tuple[str, str, str]


class Figures(Heard):
    """`read` gives (name, value, what it means); lines are reused while the names stay."""

    def __init__(self, title: str, read: Callable[[RunState], Sequence[Figure]]) -> None:
        super().__init__()
        self._read, self._names, self._values, self._notes = read, list[str](), list[Text](), list[Text]()
        self._lines = col(gap=10, host=Poured())
        col(Text(title, "section"), (Scroll(self._lines, horizontal=False), 1), gap=8, host=self)

    def refresh(self, state: RunState) -> None:
        found = self._read(state)
        names = [name for name, _, _ in found]
        if names != self._names:
            box = self._lines.layout()
            clear(box)
            self._names = names
            self._values, self._notes = [Text(role="section") for _ in names], [small(wrap=True) for _ in names]
            fill(box, (*(col(small(name), value, note, gap=1) for name, value, note in zip(names, self._values, self._notes, strict=True)),
                       "+"), 10, (0, 0, 8, 0))
        for (_, value, note), number, words in zip(found, self._values, self._notes, strict=True):
            number.set(value)
            words.set(note)

