"""A verifier put together from parts: each a card with its weight and its settings, added or multiplied. Groups hold parts of their own.
It gives back the composition as plain JSON; whether it can run is the engine's to say."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from PySide6.QtCore import QPoint, QTimer, Signal
from PySide6.QtWidgets import QMenu, QVBoxLayout, QWidget

from desktop.context import AppContext
from desktop.models.model_finder import ModelFinder
from desktop.widgets.buttons import Button, Segments
from desktop.widgets.fields import Choice, NumberField, TextField
from desktop.widgets.flexible import Poured
from desktop.widgets.layout import Scroll, clear, col, fill, fixed, let_go, row, show_if
from desktop.widgets.panel import Panel, rule
from desktop.widgets.spec_form import SpecForm
from desktop.widgets.text import Text, small
from engine.contract.composition import GROUP, JUDGE, LARGEST_WEIGHT, PYTHON, parse
from engine.contract.errors import SettingError
from engine.contract.words import tr, trn
from engine.project.verifiers import Verifier
from engine.verifiers.registry import KINDS

LIMIT, GROWN_MS, TOP = 64, 80, 8
SHAPING = {"tags": 0.2, "length": 0.2, "language": 0.2}
"""Weights that parts about form begin with: what counts is the answer."""


def full_of(composition: Mapping[str, Any]) -> float:
    """What an answer gets that is right in every part: what the weights come to."""
    if composition.get("together") == "product":
        return 1.0
    return sum(max(0.0, float(part.get("weight", 1.0))) for part in composition.get("parts", ())) or 1.0


def fresh_part(name: str) -> dict[str, Any]:
    """A part of a kind with everything at its default."""
    settings: dict[str, Any] = {}
    if name == GROUP:
        settings = {"together": "product", "parts": [fresh_part("number")]}
    return {"name": name, "title": "", "weight": SHAPING.get(name, 1.0), "settings": settings}


class PartCard(Panel):
    """One part. `moved(-1 or 1)`, `removed`, `changed`."""

    changed, removed = Signal(), Signal()
    moved = Signal(int)

    def __init__(self, context: AppContext, part: dict[str, Any], library: Callable[[], Sequence[Verifier]], only_read: bool,
                 level: int) -> None:
        super().__init__(pad=(12, 8, 12, 10), gap=4)
        self.context, self.theme, self.part = context, context.theme, part
        theme, kind = self.theme, KINDS.get(part["name"])
        own = kind.title if kind is not None else str(part["name"])
        self.title = TextField(str(part.get("title") or ""), placeholder=own, name=tr("Name of the part"))
        self.title.changed.connect(self._edited)
        self.weight = NumberField(float(part.get("weight", 1.0)), whole=False, name=tr("Weight"), low=-LARGEST_WEIGHT, high=LARGEST_WEIGHT)
        self.weight.changed.connect(self._edited)
        self.up = Button(theme, kind="icon", icon="up", name=tr("Move {part} up", part=own), on_click=lambda: self.moved.emit(-1))
        self.down = Button(theme, kind="icon", icon="down", name=tr("Move {part} down", part=own), on_click=lambda: self.moved.emit(1))
        self.away = Button(theme, kind="icon", icon="close", name=tr("Remove {part}", part=own), on_click=self.removed.emit)
        head = row((self.title, 1), small(tr("weight")), fixed(self.weight, theme.px(64)), self.up, self.down, self.away, gap=4)
        fill(self.box, (head, small(kind.help if kind is not None else "", wrap=True)), 4, (12, 8, 12, 10))
        self.form: SpecForm | None = None
        self.inner: PartsEditor | None = None
        self.version: Choice | None = None
        self._wrong = small(tone="danger", wrap=True)
        body: QWidget | None = None
        settings = part["settings"]
        if settings.get("verifier"):
            body = self._reference(library())
        elif part["name"] == GROUP:
            self.inner = PartsEditor(context, library, level + 1)
            self.inner.load(settings, only_read)
            self.inner.changed.connect(self._edited)
            body = self.inner
        elif part["name"] == PYTHON:
            body = small(trn("Source of its own, {count} line.", "Source of its own, {count} lines.",
                             len(str(settings.get("source", "")).splitlines())))
        elif kind is not None and self._shown_fields(part["name"]):
            self.form = SpecForm(theme, kind.settings, bare=True, artifacts=context.choices)
            self.form.load(settings)
            self.form.changed.connect(self._edited)
            body = col(self._local_models(), self.form, gap=0) if part["name"] == JUDGE else self.form
        if body is not None:
            self.box.addWidget(rule())
            self.box.addWidget(body)
        self.box.addWidget(self._wrong)
        show_if(self._wrong, False)
        if only_read:
            for each in (self.title, self.weight, self.up, self.down, self.away, self.form, self.version):
                if each is not None:
                    each.setEnabled(False)
        self.show_problems()

    @staticmethod
    def _shown_fields(name: str) -> list[str]:
        spec = KINDS[name].settings
        return [field for field in spec.model_fields if not spec.option_of(field).hidden]

    def _local_models(self) -> QWidget:
        """A button that looks for models on this machine and lists them."""
        self.finder = ModelFinder(self.context, self)
        self.finder.found.connect(self._models_found)
        self.finder.failed.connect(lambda wrong: self._finding.set(f"{wrong.sentence} {wrong.remedy}".strip()))
        self._finding = small(wrap=True)
        self.find = Button(self.theme, tr("Local models"), icon="search", on_click=self._look_for_models)
        return row(self.find, (self._finding, 1), gap=8, pad=(0, 6, 0, 2))

    def _look_for_models(self) -> None:
        self._finding.set(tr("Looking…"))
        self.finder.look()

    def judges(self) -> list[tuple[str, str]]:
        """(name in the settings, words) of what was found."""
        return [(model.name, f"{place.title}: {model.title}") for place in self.finder.places or () for model in place.models]

    def _models_found(self) -> None:
        found = self.judges()
        self._finding.set("" if found else tr("None is there. Start Ollama or another server, or name a file."))
        if found and self.find.isVisible():
            menu = QMenu(self)
            for name, words in found:
                menu.addAction(words, lambda name=name: self.form.set("model", name) if self.form is not None else None)
            menu.popup(self.find.mapToGlobal(QPoint(0, self.find.height() + 2)))

    def _reference(self, known: Sequence[Verifier]) -> QWidget:
        """Which version of a verifier of the library."""
        ref = str(self.part["settings"]["verifier"])
        id = ref.partition("@")[0]
        found = next((v for v in known if v.id == id), None)
        newest = found.version if found is not None else 1
        choices = [(f"{id}@{n}", tr("version {number}", number=n)) for n in range(newest, 0, -1)]
        self.version = Choice(self.theme, choices, ref, name=tr("Version"))
        self.version.changed.connect(self._edited)
        if found is not None:
            self.title.setPlaceholderText(found.title)
        words = found.title if found is not None else tr("{id} is not in the library.", id=id)
        return row((Text(words, "medium", elide=True), 1), fixed(self.version, self.theme.px(128)), gap=8)

    def value(self) -> dict[str, Any]:
        """The part as it stands now."""
        settings = dict(self.part["settings"])
        if self.version is not None:
            settings["verifier"] = self.version.value()
        elif self.inner is not None:
            settings = self.inner.value()
        elif self.form is not None:
            given = self.form.values()
            settings = {name: list(given[name]) if isinstance(given[name], tuple) else given[name] for name in self.form.names}
        weight = self.weight.value()
        return {"name": self.part["name"], "title": self.title.value().strip(), "settings": settings,
                "weight": float(weight) if weight is not None and not self.weight.wrong() else float(self.part.get("weight", 1.0))}

    def show_problems(self) -> None:
        """What keeps this part from running, under its fields or in a line."""
        words = self.weight.wrong()
        if self.form is not None and not words:
            rest = self.form.show_problems(self.form.problems())
            words = " ".join(f"{p.sentence} {p.remedy}".strip() for p in rest)
        self._wrong.set(words)
        show_if(self._wrong, bool(words))

    def _edited(self) -> None:
        self.show_problems()
        self.changed.emit()


class PartsEditor(QWidget):
    """`load(composition)` is no edit; `value()` is the composition now; `changed` when a person changed it. Cards are built one a turn of
    the event loop, so that many parts hold nobody up; who asks for `cards` or the value has them all."""

    changed = Signal()

    def __init__(self, context: AppContext, library: Callable[[], Sequence[Verifier]], level: int = 0) -> None:
        super().__init__()
        self.context, self.theme, self.level, self._library = context, context.theme, level, library
        self.own = ""
        self._only_read = False
        self._scroll: Scroll | None = None
        self._cards: list[PartCard] = []
        self._coming: list[dict[str, Any]] = []  # parts without a card yet
        self._turn = QTimer(self)
        self._turn.setSingleShot(True)
        self._turn.setInterval(0)
        self._turn.timeout.connect(self._build_next)
        self.together = Segments(self.theme, [("sum", tr("Added")), ("product", tr("Multiplied"))], "sum", name=tr("Parts together"),
                                 on_change=lambda _: self._edited())
        self.add = Button(self.theme, tr("Add a part"), icon="plus", on_click=self.open_menu)
        self._help = small(wrap=True)
        self._list = col(gap=8)
        head = row(self.together, "+", self.add, gap=8)
        if level:
            col(head, self._help, self._list, gap=8, pad=(0, 4, 0, 0), host=self)
        else:
            inner = col(head, self._help, self._list, "+", gap=8, pad=(16, 4, 16, 12), host=Poured())
            self._scroll = Scroll(inner, horizontal=False)
            col((self._scroll, 1), gap=0, host=self)
        self._say()

    def load(self, composition: str | Mapping[str, Any] | Sequence[Any], only_read: bool = False, own: str = "") -> None:
        """`own`: the verifier that is edited, which cannot be a part of itself. SettingError where it is no composition."""
        found = parse(composition if isinstance(composition, str | list) else dict(composition)).plain()  # type: ignore[arg-type]
        self._only_read, self.own = only_read, own
        self.together.set(found["together"])
        self.together.setEnabled(not only_read)
        show_if(self.add, not only_read)
        self._show(found["parts"])

    def value(self) -> dict[str, Any]:
        return {"together": str(self.together.value()), "parts": [card.value() for card in self.cards]}

    @property
    def cards(self) -> list[PartCard]:
        while self._coming:
            self._build_next()
        return self._cards

    def text(self) -> str:
        """As the library keeps it: the same parts are the same text."""
        return parse(self.value()).text()

    def focus_first(self) -> None:
        (self._cards[0].weight if self._cards else self.add).setFocus()

    # ----

    def _show(self, parts: Sequence[dict[str, Any]]) -> None:
        clear(self._list.layout())
        self._cards, self._coming = [], list(parts)
        self._build_next()

    def _build_next(self) -> None:
        self._turn.stop()
        if self._coming:
            self._append(self._coming.pop(0))
        if self._coming:
            self._turn.start()
        self._ends()
        self._say()

    def _append(self, part: dict[str, Any]) -> None:
        card = PartCard(self.context, part, self._library, self._only_read, self.level)
        card.changed.connect(self._edited)
        card.removed.connect(lambda: self._remove(card))
        card.moved.connect(lambda by: self._move(card, by))
        self._cards.append(card)
        self._list.layout().addWidget(card)

    def _ends(self) -> None:
        count = len(self._cards) + len(self._coming)
        for i, card in enumerate(self._cards):
            card.up.setEnabled(i > 0 and not self._only_read)
            card.down.setEnabled(i < count - 1 and not self._only_read)
            card.away.setEnabled(count > 1 and not self._only_read)

    def _say(self) -> None:
        self._help.set(tr("The reward is the product of the scores, each to the power of its weight: one nought makes it nought.")
                       if self.together.value() == "product" else tr("The reward is the sum of weight times score."))
        self.add.setEnabled(len(self._cards) + len(self._coming) < LIMIT and not self._only_read)

    def _edited(self) -> None:
        self._say()
        self.changed.emit()

    def _remove(self, card: PartCard) -> None:
        self.cards.remove(card)
        let_go(card)
        self._list.layout().removeWidget(card)
        card.hide()
        card.deleteLater()
        self._ends()
        self._edited()
        self.add.setFocus()

    def _move(self, card: PartCard, by: int) -> None:
        box, at = self._list.layout(), self.cards.index(card)
        assert isinstance(box, QVBoxLayout)
        self.cards.insert(at + by, self.cards.pop(at))
        box.removeWidget(card)
        box.insertWidget(at + by, card)
        self._ends()
        (card.up if by < 0 and card.up.isEnabled() else card.down if card.down.isEnabled() else card.up).setFocus()
        self._edited()

    def add_part(self, part: dict[str, Any]) -> None:
        """One more at the end."""
        while self._coming:
            self._build_next()
        self._append(part)
        self._ends()
        self._edited()
        self.cards[-1].weight.setFocus()
        if self._scroll is not None:
            QTimer.singleShot(GROWN_MS, self, self._show_last)

    def _show_last(self) -> None:
        if self._scroll is not None and self._cards:
            self._scroll.verticalScrollBar().setValue(self.cards[-1].mapTo(self._scroll.widget(), QPoint(0, 0)).y() - TOP)

    def menu(self) -> QMenu:
        """What can be added: the kinds there are, and verifiers of the library."""
        menu = QMenu(self)
        menu.setToolTipsVisible(True)
        for name, kind in KINDS.items():
            if name == PYTHON or (name == GROUP and self.level >= 3):
                continue
            act = menu.addAction(kind.title, lambda name=name: self.add_part(fresh_part(name)))
            act.setToolTip(kind.help)
        known = [v for v in self._library() if v.id != self.own]
        if known:
            menu.addSeparator()
            for one in known:
                name = PYTHON if one.kind == "python" else GROUP
                part = {"name": name, "title": "", "weight": 1.0, "settings": {"verifier": one.ref}}
                act = menu.addAction(one.title, lambda part=part: self.add_part(part))
                act.setToolTip(tr("Version {number} of a verifier of the library", number=one.version))
        return menu

    def open_menu(self) -> None:
        self.menu().popup(self.add.mapToGlobal(QPoint(0, self.add.height() + 2)))


def readable(body: str) -> bool:
    """Whether a body is a composition at all."""
    try:
        parse(body)
    except SettingError:
        return False
    return True


def first_parts() -> str:
    """What a new verifier of parts begins with: the number, and tags that shape."""
    return json.dumps({"together": "sum", "parts": [fresh_part("number"), fresh_part("tags")]})


