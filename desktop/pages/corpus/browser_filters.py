"""The filters of the browser: a chip each with its menu of values and counts. It holds what is chosen; asking is the browser's matter."""

from collections.abc import Callable, Mapping
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from desktop.models.languages import language_name
from desktop.pages.corpus.wording import change_name, harm_name, split_name, step_name
from desktop.theme.theme import Theme
from desktop.widgets.buttons import Button
from desktop.widgets.chips import Chip, ChipBar
from desktop.widgets.layout import col, show_if
from desktop.widgets.value_menu import Value, ValueMenu
from engine.contract.units import number
from engine.contract.words import tr
from engine.text.removal import rule_name

Filters = dict[str, Any]
GROUPS: dict[str, tuple[str, ...]] = {
    "split": ("split",), "source": ("source", "root"), "language": ("language",), "step": ("step", "rule"), "touched": ("touched",),
    "look": ("borderline", "harm_kind", "overlap", "decided"), "cluster": ("cluster",)}
"""The chips, and which filters of the engine each of them sets: one of them at a time, but for a rule with its step."""
NARROW, WIDE = 300, 380
"""Menus of short values, and of sources and rules."""


def titles() -> dict[str, str]:
    return {"split": tr("Part"), "source": tr("Source"), "language": tr("Language"), "step": tr("Removed by"), "touched": tr("Changed by"),
            "look": tr("To look at"), "cluster": tr("Duplicates")}


def orders() -> list[tuple[str, str]]:
    """The orders of the list, in words."""
    return [("number", tr("As imported")), ("source", tr("By source")), ("longest", tr("Longest first")),
            ("shortest", tr("Shortest first")), ("-quality", tr("Best quality first")), ("quality", tr("Worst quality first")),
            ("harm", tr("Most harmful first")), ("similarity", tr("Most alike first"))]


class FilterBar(QWidget):
    """`value()` are the filters for the engine; `set(filters)` never emits; `changed` when the person chose others.

    `set_facets(answer)` fills the menus. A menu that opens before the counts are there shows what it has.
    """

    changed = Signal()

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._filters: Filters = {}
        self._facets: Mapping[str, Any] = {}
        self._chips: dict[str, Chip] = {}
        self._menu = ValueMenu(theme, self, tr("Values of the filter"))
        self._menu.picked.connect(self._picked)
        self._open_group = ""
        for group, title in titles().items():
            chip = Chip(theme, title)
            chip.clicked.connect(self._opener(group))
            chip.cleared.connect(self._clearer(group))
            self._chips[group] = chip
        self._clear = Button(theme, tr("Clear filters"), "quiet", on_click=self.clear)
        col(ChipBar(*self._chips.values(), self._clear, gap=6), gap=0, host=self)
        self._show()

    def value(self) -> Filters:
        return dict(self._filters)

    def set(self, filters: Mapping[str, Any] | None) -> None:
        self._filters = dict(filters or {})
        self._show()

    def clear(self) -> None:
        self._filters = {}
        self._show()
        self.changed.emit()

    def put(self, name: str, value: Any) -> None:
        """One filter more, by a link beside a document."""
        group = next(g for g, names in GROUPS.items() if name in names)
        self._filters = {n: v for n, v in self._filters.items() if n not in GROUPS[group]} | {name: value}
        self._show()
        self.changed.emit()

    def set_facets(self, answer: Mapping[str, Any]) -> None:
        self._facets = answer
        self._show()
        if self._menu.isVisible() and self._open_group:
            self._menu.refresh(self._values(self._open_group))

    # the menus --------------------------------------------------------------------------------------------------------

    def _opener(self, group: str) -> Callable[[], None]:
        def drop() -> None:
            self._open_group = group
            free = (lambda words: tr("Named like “{words}”", words=words)) if group == "source" else None
            self._menu.drop(self._chips[group], self._values(group), WIDE if group in ("source", "step") else NARROW, free=free)
        return drop

    def _clearer(self, group: str) -> Callable[[], None]:
        def clear() -> None:
            self._filters = {n: v for n, v in self._filters.items() if n not in GROUPS[group]}
            self._show()
            self.changed.emit()
        return clear

    def _picked(self, chosen: Any) -> None:
        group, picked = self._open_group, dict(chosen) if isinstance(chosen, tuple) else {"source": f"*{chosen}*"}
        rest = {n: v for n, v in self._filters.items() if n not in GROUPS[group]}
        same = {n: v for n, v in self._filters.items() if n in GROUPS[group]} == picked
        self._filters = rest if same else rest | picked  # picking it again takes it away
        self._show()
        self.changed.emit()
        self._chips[group].setFocus()

    def _values(self, group: str) -> list[Value]:
        f, chosen = self._facets, {n: v for n, v in self._filters.items() if n in GROUPS[group]}

        def value(words: str, count: int | None, **filters: Any) -> Value:
            return Value(tuple(filters.items()), words, count, chosen == filters)
        if group == "split":
            return [value(split_name(r["value"]), r["documents"], split=r["value"]) for r in f.get("splits", ())]
        if group == "source":
            roots = f.get("roots", ())
            many = [value(tr("all of {name}", name=r.get("title", r["value"])), r["documents"], root=r["value"]) for r in roots]
            files = [value(str(r["value"]), r["documents"], source=r["value"]) for r in f.get("sources", ())]
            return [*(many if len(roots) > 1 else ()), *files]
        if group == "language":
            return [value(language_name(str(r["value"])), r["documents"], language=r["value"]) for r in f.get("languages", ())]
        if group == "step":
            found = []
            for r in f.get("steps", ()):
                if not r["value"]:
                    continue
                found.append(value(step_name(r["value"]), r["documents"], step=r["value"]))
                rules = [rule for rule in f.get("rules", ()) if rule.get("step") == r["value"] and rule["value"]]
                if len(rules) > 1 or r["value"] in ("quality", "harmful"):
                    found += [value(f"    {rule_words(rule['value'])}", rule["documents"], step=r["value"], rule=rule["value"])
                              for rule in rules]
            return found
        if group == "touched":
            return [value(change_name(r["value"]), r["documents"], touched=r["value"]) for r in f.get("touched", ())]
        if group == "cluster":
            return [value(tr("in a group of duplicates"), f.get("clusters"), cluster=True)]
        return self._to_look_at(value)

    def _to_look_at(self, value: Callable[..., Value]) -> list[Value]:
        f = self._facets
        found = [value(tr("borderline"), sum(r["documents"] for r in f.get("borderline", ()) if r["value"]), borderline=True)]
        found += [value(tr("harmful: {kind}", kind=harm_name(r["value"])), r["documents"], harm_kind=r["value"])
                  for r in f.get("harm_kinds", ()) if r["value"]]
        found.append(value(tr("holds held-out text"), f.get("overlap"), overlap=True))
        decided = {r["value"]: r["documents"] for r in f.get("decided", ())}
        found.append(value(tr("restored or kept by hand"), decided.get("keep", 0), decided="keep"))
        found.append(value(tr("excluded by hand"), decided.get("exclude", 0), decided="exclude"))
        return found

    # the chips --------------------------------------------------------------------------------------------------------

    def _show(self) -> None:
        for group, chip in self._chips.items():
            mine = {n: v for n, v in self._filters.items() if n in GROUPS[group]}
            chip.set_value(self._words(mine) if mine else "")
        show_if(self._clear, len(self._filters) > 0)
        self.updateGeometry()

    def _words(self, mine: Mapping[str, Any]) -> str:
        if "rule" in mine:
            return rule_words(str(mine["rule"]))
        (name, value), *_ = mine.items()
        if isinstance(value, list):
            return ", ".join(self._word(name, v) for v in value)
        return self._word(name, value)

    def _word(self, name: str, value: Any) -> str:
        if name == "split":
            return split_name(str(value)).lower()
        if name == "root":
            return next((str(r.get("title", value)) for r in self._facets.get("roots", ()) if r["value"] == value), str(value))
        if name == "step":
            return step_name(str(value)).lower() if value else tr("nothing")
        if name == "touched":
            return change_name(str(value)).lower() if value is not True else tr("any step")
        if name == "cluster":
            return tr("in a group") if value is True else tr("group {number}", number=number(int(value)))
        if name == "language":
            return language_name(str(value))
        if name == "borderline":
            return tr("borderline")
        if name == "harm_kind":
            return harm_name(str(value)) if value is not True else tr("harmful")
        if name == "overlap":
            return tr("held-out text")
        if name == "decided":
            return {"keep": tr("kept by hand"), "exclude": tr("excluded by hand")}.get(value, tr("decided by hand"))
        return str(value) or tr("not known")


def rule_words(rule: str) -> str:
    """A rule in words, as a value of a menu."""
    if rule.startswith("language_"):
        return language_name(rule.removeprefix("language_"))
    return rule_name(rule)
