"""The panel "Near duplicates" of the report: the groups one after the other, up to three members side by side, and which one stays."""

from collections.abc import Callable, Mapping
from typing import Any

from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QStackedWidget

from desktop.context import AppContext
from desktop.models.corpus_desk import CorpusDesk
from desktop.models.decisions import Decisions
from desktop.pages.corpus.browser_states import Blank, Building
from desktop.pages.corpus.compare import Compare, group_words
from desktop.widgets.buttons import Button
from desktop.widgets.layout import fill, row, show_if
from desktop.widgets.panel import Panel
from desktop.widgets.text import Text, small
from engine.contract import units
from engine.contract.errors import FledgeError
from engine.contract.words import tr
from engine.project.artifacts import Artifact

MEMBERS, CHARACTERS, AHEAD = 3, 2_000, 10


class ClusterStrip(Panel):
    """`load(artifact)`, `rest()` when nobody looks. `on_open(filters)` opens the browser there: {"cluster": number}."""

    def __init__(self, context: AppContext, *, on_open: Callable[[dict[str, Any]], object]) -> None:
        super().__init__()
        theme = self.theme = context.theme
        self.context, self._on_open = context, on_open
        self._artifact: Artifact | None = None
        self._place, self._total = 0, 0
        self._groups: dict[int, Mapping[str, Any]] = {}
        self._members: list[Mapping[str, Any]] = []
        self._note = small("", elide=True)
        self._back = Button(theme, "", "icon", icon="left", tone="accent", name=tr("Group before"), on_click=lambda: self.step(-1))
        self._on = Button(theme, "", "icon", icon="right", tone="accent", name=tr("Next group"), on_click=lambda: self.step(1))
        self._where = small()
        self._all = Button(theme, tr("All groups"), "quiet", on_click=lambda: self._on_open({"cluster": True}))
        self._steps = row(self._all, 6, self._back, self._where, self._on, gap=4)
        decisions = self._decisions = Decisions(context, self)
        self._desk = CorpusDesk(self)
        self._compare = Compare(theme, decisions, MEMBERS)
        self._compare.keep_wanted.connect(self._keep)
        self._compare.read_wanted.connect(self._read)
        self._blank, self._building = Blank(theme), Building(theme)
        self._states = QStackedWidget()
        for state in (self._compare, self._blank, self._building):
            self._states.addWidget(state)
        fill(self.box, (row(Text(tr("Near duplicates"), "section"), (self._note, 1), self._steps, gap=8), (self._states, 1)), 8,
             (16, 10, 16, 16))
        decisions.changed.connect(self._compare.refresh)
        decisions.failed.connect(self._failed)
        self._desk.index_changed.connect(self._index_changed)
        self._desk.index_failed.connect(self._failed)
        self._waiting()

    def load(self, artifact: Artifact) -> None:
        """The groups of a corpus, the largest first."""
        assert self.context.project is not None
        again = self._artifact is not None and self._artifact.path == artifact.path
        self._artifact = artifact
        if not again:
            self._place, self._groups = 0, {}
        self._desk.open(self.context.project, artifact)
        self._decisions.load(artifact)
        self._ask_groups(self._place)

    def rest(self) -> None:
        """Nobody looks."""
        self._desk.rest()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        if self._artifact is not None and self.context.project is not None:
            self._decisions.load(self._artifact)  # decided in the browser meanwhile

    def step(self, by: int) -> None:
        if self._total:
            self._place = (self._place + by) % self._total
            self._show_group()

    # the groups -------------------------------------------------------------------------------------------------------

    def _ask_groups(self, start: int) -> None:
        self._desk.clusters(start, AHEAD, "size", self._groups_came, self._failed)

    def _groups_came(self, answer: Mapping[str, Any]) -> None:
        self._total = int(answer["total"])
        for i, group in enumerate(answer["clusters"]):
            self._groups[int(answer["start"]) + i] = group
        if not self._total:
            self._waiting()
            self._blank.set("check", tr("No duplicates were found"), tr("Every document of this corpus is its own."))
            return
        self._show_group()

    def _show_group(self) -> None:
        group = self._groups.get(self._place)
        if group is None:
            self._ask_groups(max(0, self._place - 1))
            return
        self._note.set(group_words(group))
        self._where.set(tr("{place} of {total}", place=units.number(self._place + 1), total=units.number(self._total)))
        show_if(self._steps, True)
        self._back.setEnabled(self._total > 1)
        self._on.setEnabled(self._total > 1)
        self._desk.cluster(int(group["cluster"]), 0, MEMBERS, CHARACTERS, self._members_came, self._failed)

    def _members_came(self, answer: Mapping[str, Any]) -> None:
        self._members = list(answer["members"])
        self._compare.show_members(self._members)
        self._states.setCurrentWidget(self._compare)

    def _waiting(self) -> None:
        self._note.set("")
        self._where.set("")
        show_if(self._steps, False)
        self._blank.set("pairs", tr("Looking for groups …"))
        self._states.setCurrentWidget(self._blank)

    def _failed(self, wrong: FledgeError) -> None:
        if wrong.code == "no_index":
            self._waiting()
            self._states.setCurrentWidget(self._building)
            self._desk.build_index()
            return
        self._waiting()
        assert self._artifact is not None
        again = self._artifact
        self._blank.set("error", wrong.sentence, wrong.remedy, Button(self.theme, tr("Try again"), on_click=lambda: self.load(again)))

    def _index_changed(self, state: Mapping[str, Any]) -> None:
        self._building.set(state)
        if state["state"] == "ready" and self._artifact is not None:
            self._ask_groups(self._place)

    # what the person does ---------------------------------------------------------------------------------------------

    def _keep(self, id: str) -> None:
        keep_this(self._decisions, self._members, id)

    def _read(self, number: object) -> None:
        group = self._groups.get(self._place)
        self._on_open({"cluster": int(group["cluster"])} if group else {})


def keep_this(decisions: Decisions, members: list[Mapping[str, Any]], id: str) -> None:
    """Of these members keep one; those that would have been kept go."""
    others = [m["id"] for m in members if m["id"] != id and decisions.kept_next(m["id"], m.get("step"))]
    decisions.keep_instead(id, others, {m["id"]: m["source"] for m in members})


