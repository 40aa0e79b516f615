"""What the review shows: state, search, chips for set, score, flag and origin, and the order. It holds the choice; asking is the review's
matter."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtWidgets import QWidget

from desktop.models.example_words import range_words, read_range, who_words
from desktop.models.instruct_words import flag_words
from desktop.theme.theme import Theme
from desktop.widgets.buttons import Button, Segments
from desktop.widgets.chips import Chip, ChipBar
from desktop.widgets.fields import Choice, SearchField
from desktop.widgets.layout import col, fixed, row, show_if
from desktop.widgets.value_menu import Value, ValueMenu
from engine.contract.words import tr
from engine.project.examples import ExampleFilter, ExampleSet

SETTLE_MS = 220
RANGES: tuple[tuple[float | None, float | None], ...] = ((9, None), (7, None), (5, 7), (None, 5), (None, 3))
GROUPS = ("sets", "score", "flag", "origin")


def orders() -> list[tuple[str, str]]:
    return [("position", tr("As added")), ("-position", tr("Last added first")), ("score", tr("Best score first")),
            ("-score", tr("Worst score first")), ("edited", tr("Latest change first")), ("-edited", tr("Oldest change first")),
            ("length", tr("Longest first")), ("-length", tr("Shortest first"))]


class Filters(QWidget):
    """`value()` and `order()`; `set(filter)` never emits; `changed` when the person chose others."""

    changed = Signal()

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.theme = theme
        self._filter = ExampleFilter()
        self._sets: list[ExampleSet] = []
        self._flags: Mapping[str, int] = {}
        self._origins: Mapping[str, int] = {}
        self._group = ""
        states = [("", tr("All")), ("new", tr("To review")), ("accepted", tr("Accepted")), ("rejected", tr("Set aside"))]
        self.state = Segments(theme, states, "", name=tr("State"), on_change=self._state)
        self.search = SearchField(tr("Search the messages"), name=tr("Search the examples"))
        self.search.setClearButtonEnabled(True)
        self.sort = Choice(theme, orders(), "position", name=tr("Order of the examples"))
        self._settle = QTimer(self)
        self._settle.setSingleShot(True)
        self._settle.setInterval(SETTLE_MS)
        self._settle.timeout.connect(self._searched)
        self.search.changed.connect(self._settle.start)
        self.search.returnPressed.connect(self._searched)
        self.sort.changed.connect(self.changed)
        titles = {"sets": tr("Set"), "score": tr("Score"), "flag": tr("Flag"), "origin": tr("Written by")}
        self._menu = ValueMenu(theme, self, tr("Values of the filter"))
        self._menu.picked.connect(self._picked)
        self.chips: dict[str, Chip] = {}
        for group in GROUPS:
            chip = Chip(theme, titles[group])
            chip.clicked.connect(self._opener(group))
            chip.cleared.connect(self._clearer(group))
            self.chips[group] = chip
        self._clear = Button(theme, tr("Clear filters"), "quiet", on_click=self.clear)
        col(row(self.state, (self.search, 1), fixed(self.sort, theme.px(176)), gap=8), ChipBar(*self.chips.values(), self._clear, gap=6),
            gap=6, host=self)
        self._show()

    def value(self) -> ExampleFilter:
        return replace(self._filter, search=self.search.value().strip())

    def order(self) -> str:
        return str(self.sort.value())

    @property
    def narrows(self) -> bool:
        """Whether something but sets and state is chosen."""
        f = self.value()
        return bool(f.search or f.flag or f.origin or f.low is not None or f.high is not None)

    def set(self, filter: ExampleFilter, order: str = "") -> None:
        self._filter = replace(filter, search="")
        self._settle.stop()
        self.search.setText(filter.search)
        self._settle.stop()  # nobody typed that
        self.state.set(filter.status)
        if order:
            self.sort.set(order)
        self._show()

    def set_order(self, order: str) -> None:
        """By a click on a head of the table."""
        self.sort.set(order)
        self.changed.emit()

    def set_sets(self, sets: Sequence[ExampleSet]) -> None:
        self._sets = list(sets)
        self._show()

    def set_facets(self, flags: Mapping[str, int], origins: Mapping[str, int]) -> None:
        self._flags, self._origins = flags, origins
        if self._menu.isVisible() and self._group in ("flag", "origin"):
            self._menu.refresh(self._values(self._group))

    def clear(self) -> None:
        """All states, all scores, no search; the sets stay."""
        self.set(ExampleFilter(sets=self._filter.sets))
        self.changed.emit()

    def put(self, **values: Any) -> None:
        self._filter = replace(self._filter, **values)
        self.state.set(self._filter.status)
        self._show()
        self.changed.emit()

    # the menus --------------------------------------------------------------------------------------------------------

    def _state(self, status: Any) -> None:
        self._filter = replace(self._filter, status=str(status))
        self._show()
        self.changed.emit()

    def _searched(self) -> None:
        self._settle.stop()
        self._show()
        self.changed.emit()

    def _opener(self, group: str) -> Callable[[], None]:
        def drop() -> None:
            self._group = group
            free = (lambda typed: tr("Scores {range}", range=range_words(*found)) if (found := read_range(typed)) else
                    tr("Write 7, 7+ or 3-7")) if group == "score" else None
            self._menu.drop(self.chips[group], self._values(group), 320 if group in ("sets", "origin") else 260, free=free)
        return drop

    def _clearer(self, group: str) -> Callable[[], None]:
        def clear() -> None:
            self.put(**self._nothing(group))
        return clear

    def _nothing(self, group: str) -> dict[str, Any]:
        return {"sets": {"sets": ()}, "score": {"low": None, "high": None}, "flag": {"flag": ""}, "origin": {"origin": ""}}[group]

    def _picked(self, chosen: Any) -> None:
        group = self._group
        if group == "score" and isinstance(chosen, str):
            chosen = read_range(chosen)
            if chosen is None:
                return
        wanted = {"sets": lambda: {"sets": (chosen,)}, "score": lambda: {"low": chosen[0], "high": chosen[1]},
                  "flag": lambda: {"flag": chosen}, "origin": lambda: {"origin": chosen}}[group]()
        now = {name: getattr(self._filter, name) for name in wanted}
        self.chips[group].setFocus(Qt.FocusReason.MouseFocusReason)  # the rows take it over when they are there
        self.put(**(self._nothing(group) if now == wanted else wanted))  # picking it again takes it away

    def _values(self, group: str) -> list[Value]:
        f = self._filter
        if group == "sets":
            return [Value(s.id, s.title, s.count, f.sets == (s.id,)) for s in reversed(self._sets)]
        if group == "score":
            return [Value(pair, range_words(*pair), None, (f.low, f.high) == pair) for pair in RANGES]
        if group == "flag":
            return [Value(id, flag_words(id), count, f.flag == id) for id, count in self._flags.items()]
        return [Value(id, who_words(id), count, f.origin == id) for id, count in self._origins.items() if id]

    # the chips --------------------------------------------------------------------------------------------------------

    def _show(self) -> None:
        f = self._filter
        names = {s.id: s.title for s in self._sets}
        self.chips["sets"].set_value(", ".join(names.get(id, id) for id in f.sets))
        self.chips["score"].set_value(range_words(f.low, f.high) if f.low is not None or f.high is not None else "")
        self.chips["flag"].set_value(flag_words(f.flag) if f.flag else "")
        self.chips["origin"].set_value(who_words(f.origin) if f.origin else "")
        show_if(self._clear, self.narrows)
        self.updateGeometry()
