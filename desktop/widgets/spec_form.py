"""A form made from a Spec's own metadata: label, help, unit, range, choices, Simple and Advanced. It gives back a frozen spec.

It knows no stage. Loading is not editing: `load` then `spec()` is the same spec, and `changed` was not emitted. A row is made when it is
first shown, a few at a time: sixty at once would hold the window for a fifth of a second.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from PySide6.QtCore import QTimer, Signal
from PySide6.QtWidgets import QFrame, QVBoxLayout, QWidget

from desktop.theme.theme import Theme
from desktop.widgets.badge import Badge
from desktop.widgets.buttons import Button, Segments
from desktop.widgets.fields import Choice, Lines, NumberField, Switch, TextField, set_wrong, show_number
from desktop.widgets.layout import col, fixed, row, show_if
from desktop.widgets.painted import Painted
from desktop.widgets.panel import rule
from desktop.widgets.text import Icon, Text, small
from engine.contract.errors import SettingError
from engine.contract.spec import Problem, Settings
from engine.contract.words import tr, trn

CONTROL, UNIT, UNDO = 176, 76, 28
AT_ONCE = 0.016
"""Seconds of making rows before the window has its turn again."""


class Dot(Painted):
    """The mark of a changed setting."""

    def __init__(self, theme: Theme) -> None:
        super().__init__(theme, 6, 6)
        self.setFixedWidth(theme.px(6))

    def draw(self, painter, rect) -> None:
        painter.setPen(self.theme.colour("accent"))
        painter.setBrush(self.theme.colour("accent"))
        painter.drawEllipse(rect.adjusted(0.5, 0.5, -0.5, -0.5))


class SettingRow(QWidget):
    """Label and help at the left; control, unit and the undo arrow at the right; what is wrong with it underneath. `flush`: the
    control ends at the right edge, the unit stands beside the label."""

    edited = Signal()

    def __init__(self, theme: Theme, label: str, help: str, control: Any, unit: str = "", default_words: str = "",
                 wide: bool = False, flush: bool = False) -> None:
        super().__init__()
        self.control, self._default_words = control, default_words
        self._dot, self._was = Dot(theme), small(tone="accent")
        self.help = small(help, wrap=True)
        self.undo = Button(theme, kind="icon", icon="undo", tone="accent", name=tr("{label}: back to the default", label=label))
        fixed(self.undo, theme.px(UNDO), theme.px(UNDO))
        self._undo_room = fixed(row(self.undo, gap=0), theme.px(UNDO))
        self._problem = small(tone="danger", wrap=True)
        self._problem_line = row(col(1, Icon(theme, "error", "danger"), "+", gap=0), (self._problem, 1), gap=6)
        name = row(Text(label, "medium"), small(unit) if unit and flush else None, self._dot, self._was, "+", gap=6)
        words = col(name, self.help, gap=1)
        control.setAccessibleDescription(" ".join(x for x in (help, unit) if x))
        if wide:
            body = col(row((words, 1), self._undo_room, gap=8), control, gap=6)
        elif flush:
            room = control if isinstance(control, Switch) else fixed(row(control, gap=0), theme.px(CONTROL))
            body = row((words, 1), self._undo_room, room, gap=8)
        else:
            room = fixed(row(control, "+" if isinstance(control, Switch) else None, gap=0), theme.px(CONTROL))
            body = row((words, 1), room, fixed(small(unit), theme.px(UNIT)), self._undo_room, gap=8)
        col(body, self._problem_line, gap=4, pad=(0, 8, 0, 8), host=self)
        control.changed.connect(self.edited)
        self.show_change(False)
        self.show_problem("")

    def show_change(self, changed: bool) -> None:
        for widget in (self._dot, self._was, self.undo):
            show_if(widget, changed)
        self._was.set(tr("default {value}", value=self._default_words) if changed else "")

    def show_problem(self, words: str) -> None:
        self._problem.set(words)
        show_if(self._problem_line, bool(words))
        set_wrong(self.control, bool(words))


class Rows(Mapping[str, SettingRow]):
    """The rows of a form by field. One that was never shown is made when it is asked for; `made` are those there are."""

    def __init__(self, form: "SpecForm") -> None:
        self._form = form
        self.made: dict[str, SettingRow] = {}

    def __getitem__(self, name: str) -> SettingRow:
        if name not in self.made:
            if name not in self._form.names:
                raise KeyError(name)
            self._form.make_row(name)
        return self.made[name]

    def __contains__(self, name: object) -> bool:
        return name in self._form.names

    def __iter__(self) -> Iterator[str]:
        return iter(self._form.names)

    def __len__(self) -> int:
        return len(self._form.names)


class SpecForm(QWidget):
    """`fields` or `groups` choose what of the spec it shows (hidden options never); other fields keep what was loaded.

    spec_class   the Settings (a Spec, mostly) whose option() metadata makes the rows
    artifacts    called with a kind, gives [(id, words)] of the project's artifacts
    advanced     whether it opens in Advanced
    bare         rows alone, all of them: no heading, no Simple and Advanced (for a few fields inside something else)
    """

    changed = Signal()
    advanced_changed = Signal(bool)

    def __init__(self, theme: Theme, spec_class: type[Settings], *, groups: Iterable[str] | None = None,
                 fields: Sequence[str] | None = None, exclude: Iterable[str] = (),
                 artifacts: Callable[[str], Sequence[tuple[str, str]]] | None = None, title: str = "", advanced: bool = False,
                 bare: bool = False) -> None:
        super().__init__()
        self.theme, self.spec_class, self._bare = theme, spec_class, bare
        advanced = advanced or bare
        self._artifacts = artifacts or (lambda kind: ())
        wanted, left_out = None if groups is None else set(groups), set(exclude)
        names = list(fields) if fields is not None else list(spec_class.model_fields)
        if fields is None:
            names.sort(key=lambda n: (spec_class.option_of(n).advanced, n == "seed"))
        self.names = [n for n in names if n not in left_out and not spec_class.option_of(n).hidden
                      and (wanted is None or spec_class.option_of(n).group in wanted)]
        self._defaults = {n: None if f.is_required() else f.get_default(call_default_factory=True)
                          for n, f in spec_class.model_fields.items()}
        self._base: dict[str, Any] = dict(self._defaults)
        self._shown_problems: dict[str, str] = {}
        self.rows = Rows(self)
        self._rules: dict[str, QFrame] = {}
        self._automatic: dict[str, str] = {}
        self._helps: dict[str, str] = {}
        self._growing = False
        self._first = ""

        self._count = Badge(tone="accent")
        self._views = Segments(theme, ((False, tr("Simple")), (True, tr("Advanced"))), advanced, name=tr("How much to show"),
                               on_change=self._view_chosen)
        self._foot = small()
        self._general = small(tone="danger", wrap=True)
        lines = QWidget()
        self._lines = QVBoxLayout(lines)
        self._lines.setContentsMargins(0, 0, 0, 0)
        self._lines.setSpacing(0)
        if bare:
            self._views.hide()
            col(lines, self._general, gap=0, host=self)
        else:
            head = row(Text(title or tr("Settings"), "section"), self._count, "+", self._views, gap=10)
            col(head, 4, lines, self._general, "+", self._foot, gap=0, host=self)
        show_if(self._views, not bare and any(spec_class.option_of(n).advanced for n in self.names))
        self._refresh()

    # loading and reading ----------------------------------------------------------------------------------------------

    def load(self, values: Settings | Mapping[str, Any]) -> None:
        """Fill the form from a spec or plain values (what is missing takes its default). Not an edit."""
        given = {n: getattr(values, n) for n in type(values).model_fields} if isinstance(values, Settings) else dict(values)
        self._base = {**self._defaults, **given}
        for name, line in self.rows.made.items():
            line.control.set(self._base[name])
        self._shown_problems = {}
        self._refresh()

    def know(self, values: Mapping[str, Any]) -> None:
        """Fields that others show have these values now; rows that depend on them come and go. What is shown here stays as it is."""
        self._base.update({name: value for name, value in values.items() if name not in self.rows})
        self._refresh()

    def values(self) -> dict[str, Any]:
        """Plain values of all fields of the spec, those of hidden rows included."""
        return {**self._base, **{name: self._from_control(name) for name in self.names}}

    def set(self, name: str, value: Any) -> None:
        """One value from outside (a dial, a preset). Emits `changed` if it is new."""
        if self.values()[name] != value:
            self._base[name] = value
            if name in self.rows.made:
                self.rows[name].control.set(value)
            self._edited()

    def spec(self) -> Settings:
        """The frozen spec; a SettingError names the first field that cannot be."""
        for name in self.names:
            if words := self._unreadable(name):
                raise SettingError(words, field=name)
        return self.spec_class.check(self.values())

    def problems(self) -> list[Problem]:
        """Everything that keeps the spec from running: numbers that are none, ranges, combinations."""
        found = [Problem(name, words) for name in self.names if (words := self._unreadable(name))]
        readable = {**self.values(), **{p.field: self._defaults[p.field] for p in found}}
        return [*found, *self.spec_class.field_problems(readable)]

    def changed_names(self) -> list[str]:
        """Shown fields that differ from their defaults."""
        return [n for n in self.names if self._is_changed(n)]

    # what the page tells it -------------------------------------------------------------------------------------------

    def show_problems(self, problems: Iterable[Problem]) -> list[Problem]:
        """Put each problem under its field; returns those whose field is not in this form. An empty list clears all."""
        rest, mine = [], {}
        for problem in problems:
            if problem.field in self.rows:
                mine.setdefault(problem.field, f"{problem.sentence} {problem.remedy}".strip())
            else:
                rest.append(problem)
        self._shown_problems = mine
        self._refresh()
        return rest

    def check(self) -> list[Problem]:
        """Find and show all problems; returns them. The first wrong field gets the focus."""
        found = self.problems()
        self.show_problems(found)
        first = next((p.field for p in found if p.field in self.rows), "")
        if first:
            if self.spec_class.option_of(first).advanced and not self._views.value():
                self.set_advanced(True)
            self.rows[first].control.setFocus()
        return found

    def set_automatic(self, values: Mapping[str, Any]) -> None:
        """What fields left empty come to: {"tokens_per_step": 262144}; shown as "auto: 262,144"."""
        for name, value in values.items():
            if name in self.rows:
                self._automatic[name] = value if isinstance(value, str) else self._words(name, value)
                if name in self.rows.made:
                    self._show_automatic(name)

    def _show_automatic(self, name: str) -> None:
        control, words = self.rows.made[name].control, self._automatic[name]
        if isinstance(control, NumberField):
            control.set_automatic(words)
        elif isinstance(control, Choice) and None in control._values:
            control.setItemText(control._values.index(None), tr("auto: {value}", value=words))

    def set_help(self, name: str, words: str) -> None:
        """Another help line for a field, with what is known now ("1.6 passes over the corpus")."""
        self._helps[name] = words
        if name in self.rows.made:
            self.rows[name].help.set(words)

    def refresh_artifacts(self) -> None:
        """Ask again for the project's artifacts; the chosen one stays."""
        for name in self.rows.made:
            kind = self.spec_class.option_of(name).artifact
            if kind:
                control, chosen = self.rows[name].control, self._base.get(name) or ""
                chosen = control.value() or chosen
                control.set_choices(list(self._artifacts(kind)))
                if chosen:
                    control.set(chosen)
        self._refresh()

    def set_advanced(self, advanced: bool) -> None:
        self._views.set(advanced)
        self._refresh()

    # inside -----------------------------------------------------------------------------------------------------------

    def make_row(self, name: str) -> None:
        """The row of a field, put where it belongs among those there are, with what it has been told."""
        made = self.rows.made
        before = [n for n in self.names[:self.names.index(name)] if n in made]
        line, self._rules[name] = self._make_row(name), rule()
        self._lines.insertWidget(2 * len(before), self._rules[name])
        self._lines.insertWidget(2 * len(before) + 1, line)
        if before:  # Qt would come to it after everything that was made before it
            last = made[before[-1]]
            QWidget.setTabOrder(last.undo, line.control)
            QWidget.setTabOrder(line.control, line.undo)
        made[name] = line
        line.control.set(self._base[name])
        if name in self._automatic:
            self._show_automatic(name)
        if name in self._helps:
            line.help.set(self._helps[name])
        self._show_row(name, self._is_changed(name), self._fits(name) and self._wanted(name))

    def _fits(self, name: str) -> bool:
        """Whether a field makes sense with the others as they are."""
        condition = self.spec_class.option_of(name).visible_if
        if condition is None:
            return True
        other, wanted = condition
        return (self._from_control(other) if other in self.names else self._base.get(other)) == wanted

    def _wanted(self, name: str) -> bool:
        return bool(self._views.value()) or not self.spec_class.option_of(name).advanced or name in self._shown_problems

    def _show_row(self, name: str, changed: bool, shown: bool) -> None:
        line = self.rows.made[name]
        line.show_change(changed)
        line.show_problem(self._shown_problems.get(name, ""))
        show_if(line, shown)
        show_if(self._rules[name], shown and self._first != name)

    def _grow(self, names: Sequence[str]) -> None:
        """Make rows that are to be seen, as many as one turn has time for; the rest in the turns that follow."""
        began = time.perf_counter()
        for name in names:
            if time.perf_counter() - began > AT_ONCE:
                if not self._growing:
                    self._growing = True
                    QTimer.singleShot(0, self, self._grow_on)
                return
            self.rows[name]

    def _grow_on(self) -> None:
        self._growing = False
        self._grow([n for n in self.names if n not in self.rows.made and self._wanted(n) and self._fits(n)])

    def _make_row(self, name: str) -> SettingRow:
        option, (low, high) = self.spec_class.option_of(name), self.spec_class.bounds(name)
        kind, optional = _kind(self.spec_class.model_fields[name].annotation)
        default, wide = self._defaults[name], False
        if option.artifact:
            control: Any = Choice(self.theme, list(self._artifacts(option.artifact)), name=option.label, empty=tr("none yet"),
                                  placeholder=tr("Choose"))
        elif option.choices or get_origin(kind) is Literal:
            choices = list(option.choices) or [(value, str(value)) for value in get_args(kind)]
            control = Choice(self.theme, [(None, tr("auto"))] * optional + choices, name=option.label)
        elif kind is bool:
            control = Choice(self.theme, ((None, tr("auto")), (True, tr("On")), (False, tr("Off"))), name=option.label) if optional \
                else Switch(self.theme, name=option.label)
        elif kind in (int, float):
            control = NumberField(whole=kind is int, optional=optional, name=option.label, low=low, high=high)
            if low is not None or high is not None:
                control.setToolTip(_range_words(low, high))
        elif get_origin(kind) is tuple:
            control, wide = Lines(name=option.label, theme=self.theme, optional=optional), True
        else:
            control = TextField(name=option.label)
        control.set(default)
        made = SettingRow(self.theme, option.label, option.help, control, option.unit, self._words(name, default), wide, self._bare)
        made.edited.connect(self._edited)
        made.undo.clicked.connect(lambda: self._undo(name))
        return made

    def _from_control(self, name: str) -> Any:
        if name not in self.rows.made:
            held = self._base[name]
            return tuple(held) if isinstance(held, list) else held
        control = self.rows[name].control
        value = control.value()
        if isinstance(control, NumberField) and control.wrong():
            return control.text()
        if self.spec_class.option_of(name).artifact:
            return value or ""
        return value

    def _unreadable(self, name: str) -> str:
        if name not in self.rows.made:
            return ""
        control = self.rows[name].control
        return control.wrong() if isinstance(control, NumberField) else ""

    def _is_changed(self, name: str) -> bool:
        if self.spec_class.option_of(name).artifact:
            return False  # an input is chosen, not changed
        return self._from_control(name) != self._defaults[name]

    def _words(self, name: str, value: Any) -> str:
        if value is None:
            return tr("auto")
        for choice, words in self.spec_class.option_of(name).choices:
            if choice == value:
                return words
        if isinstance(value, bool):
            return tr("on") if value else tr("off")
        if isinstance(value, (int, float)):
            return show_number(value)
        if isinstance(value, tuple):
            return trn("{count} line", "{count} lines", len(value)) if value else tr("empty")
        return str(value) or tr("empty")

    def _undo(self, name: str) -> None:
        self.rows[name].control.set(self._defaults[name])
        self.rows[name].control.setFocus()
        self._edited()

    def _edited(self) -> None:
        self._shown_problems = {p.field: f"{p.sentence} {p.remedy}".strip() for p in self.problems()
                                if p.field in self._shown_problems or self._unreadable(p.field) or self._out_of_range(p.field)} \
            if self._shown_problems or any(self._unreadable(n) or self._out_of_range(n) for n in self.names) else {}
        self._refresh()
        self.changed.emit()

    def _out_of_range(self, name: str) -> bool:
        if name not in self.rows.made or not isinstance(self.rows[name].control, NumberField):
            return False
        value, (low, high) = self.rows[name].control.value(), self.spec_class.bounds(name)
        return value is not None and ((low is not None and value < low) or (high is not None and value > high))

    def _view_chosen(self, advanced: bool) -> None:
        self._refresh()
        self.advanced_changed.emit(advanced)

    def _refresh(self) -> None:
        changed = {n: self._is_changed(n) for n in self.names}
        fit = [n for n in self.names if self._fits(n)]
        shown = [n for n in fit if self._wanted(n)]
        self._first = shown[0] if shown else ""
        for name in self.rows.made:
            self._show_row(name, changed[name], name in shown)
        self._grow([n for n in shown if n not in self.rows.made])
        out_of_sight = set(fit) - set(shown)
        hidden, changed_hidden = len(out_of_sight), sum(changed[n] for n in out_of_sight)
        count = sum(changed.values())
        self._count.set(trn("{count} changed", "{count} changed", count) if count else "", "accent")
        if not hidden:
            foot = ""
        elif changed_hidden:
            foot = trn("{count} more under Advanced, {changed} of them changed", "{count} more under Advanced, {changed} of them changed",
                       hidden, changed=changed_hidden)
        else:
            foot = trn("{count} more under Advanced, at its default", "{count} more under Advanced, all at their defaults", hidden)
        self._foot.set(foot)
        show_if(self._foot, bool(foot))
        general = self._shown_problems.get("", "")
        self._general.set(general)
        show_if(self._general, bool(general))


def _kind(annotation: Any) -> tuple[Any, bool]:
    """(type, whether None is allowed) of a field's annotation."""
    if get_origin(annotation) in (Union, UnionType):
        rest = [a for a in get_args(annotation) if a is not NoneType]
        return (rest[0] if len(rest) == 1 else Any), len(rest) < len(get_args(annotation))
    return annotation, False


def _range_words(low: float | None, high: float | None) -> str:
    def show(value: float) -> str:
        return show_number(int(value) if float(value).is_integer() else value)
    if low is not None and high is not None:
        return tr("From {low} to {high}.", low=show(low), high=show(high))
    return tr("{low} or more.", low=show(low)) if low is not None else tr("{high} or less.", high=show(high or 0))
