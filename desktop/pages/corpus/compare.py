"""Members of a group of duplicates side by side: the one that is kept first, and what each other one has differently marked in it.

It shows what it is given and says what the person wants; asking and deciding is done by whoever places it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from PySide6.QtCore import QTimer, Signal
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QWidget

from desktop.models.decisions import Decisions
from desktop.pages.corpus.reading_view import found_pieces
from desktop.theme.theme import Theme
from desktop.widgets.badge import Badge
from desktop.widgets.buttons import Button
from desktop.widgets.chips import ChipBar
from desktop.widgets.layout import fill, row, show_if
from desktop.widgets.panel import Panel
from desktop.widgets.reader import Reader
from desktop.widgets.text import Text, small
from engine.contract import units
from engine.contract.words import tr

Member = Mapping[str, Any]
GAP, NARROWEST = 12, 190


class Card(Panel):
    """One member."""

    keep_wanted = Signal(str)
    read_wanted = Signal(object)

    def __init__(self, theme: Theme, place: int, full: bool) -> None:
        super().__init__(kind="sunken")
        self.member: Member | None = None
        self.title = ""
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._title = Text("", "strong", elide=True)
        self._badge = Badge()
        self._reader = Reader(theme, role="body", name=tr("Text of the document"), quiet=True)
        self._facts = small("", elide=True)
        self._full = full
        self.keep = Button(theme, tr("Keep this one"), tip=str(place) if full else "",
                           on_click=lambda: self.member and self.keep_wanted.emit(str(self.member["id"])))
        self.read = Button(theme, tr("Read"), on_click=lambda: self.member and self.read_wanted.emit(self.member["number"]))
        fill(self.box, (row((self._title, 1), self._badge, gap=6), (self._reader, 1), self._facts,
                        ChipBar(self.keep, self.read, gap=8)), 6, (12, 10, 12, 12))

    def show_member(self, member: Member, title: str, decisions: Decisions) -> None:
        self.member, self.title = member, title
        kept = decisions.kept_next(member["id"], member.get("step"))
        decided = decisions.keep_of(member["id"]) is not None
        self._title.set(title)
        why = tr("You decided so.") if decided else tr("The steps decided so.")
        self._badge.set(tr("kept") if kept else tr("removed"), "ok" if kept else "", why)
        self._reader.set_pieces(found_pieces(member["pieces"], ()))
        alike = "" if leads(member) else tr("similarity {value}", value=f"{member['similarity']:.2f}")
        facts = [*([alike] if alike else []), units.size(member["bytes"])]
        if member.get("begins"):
            facts.append(tr("from character {place}", place=units.number(int(member["begins"]) + 1)) if leads(member) else
                         tr("an excerpt"))
        elif member.get("cut"):
            facts.append(tr("its beginning"))
        if decided:
            facts.append(tr("by hand"))
        self._facts.set(" · ".join(facts))
        show_if(self.keep, not kept)
        show_if(self._facts, self._full)
        self.read.set_kind("secondary" if kept else "quiet")
        self.setAccessibleName(f"{title}, {self._badge.text()}")


    def to_place(self, position: int) -> None:
        self._reader.to_place(position)


class Compare(QWidget):
    """`show_members(members)`: at most `most` cards, the leading one first. `keep_wanted(id)`, `read_wanted(number)`."""

    keep_wanted = Signal(str)
    read_wanted = Signal(object)

    def __init__(self, theme: Theme, decisions: Decisions, most: int, *, full: bool = False) -> None:
        super().__init__()
        self.theme, self._decisions = theme, decisions
        self._box = QHBoxLayout(self)
        self.cards = [Card(theme, i + 1, full) for i in range(most)]
        fill(self._box, tuple((card, 1) for card in self.cards), GAP)
        self._shown: list[Member] = []
        for card in self.cards:
            card.keep_wanted.connect(self.keep_wanted)
            card.read_wanted.connect(self.read_wanted)
            show_if(card, False)

    @property
    def room(self) -> int:
        """How many cards can be read at this width."""
        return max(2, min(len(self.cards), (self.width() + GAP) // (self.theme.px(NARROWEST) + GAP)))

    def show_members(self, members: Sequence[Member]) -> None:
        """As many as there is room for; long texts begin shortly before what is different."""
        members = members[:self.room]
        names = titles(members)
        for i, card in enumerate(self.cards):
            if i < len(members):
                card.show_member(members[i], names[i], self._decisions)
            else:
                card.member = None
            show_if(card, i < len(members))
        self._shown = list(members)
        QTimer.singleShot(0, self, self._to_differences)  # the cards have their width then

    def _to_differences(self) -> None:
        places = [first_difference(m["pieces"]) for m in self._shown[1:]]
        there = [p for p in places if p >= 0]
        for i, card in enumerate(self.cards[:len(self._shown)]):
            place = min(there, default=-1) if i == 0 else places[i - 1]
            if place > 0:
                card.to_place(place)

    def refresh(self) -> None:
        """What was decided may be different now."""
        for card in self.cards:
            if card.member is not None:
                card.show_member(card.member, card.title, self._decisions)

    def press(self, place: int) -> None:
        """Keep the card at this place, by its key."""
        if place < len(self.cards) and self.cards[place].member is not None and not self.cards[place].keep.isHidden():
            self.cards[place].keep.click()


def leads(member: Member) -> bool:
    """Whether it is one that was kept, and not measured against another."""
    stayed = member.get("duplicate_of")
    return stayed is None or stayed < 0 or member.get("similarity") is None


def first_difference(pieces: Sequence[Sequence[str]]) -> int:
    """Where the first piece begins that is not the same, in characters of either text; -1 where there is none."""
    before = 0
    for mark, text in pieces:
        if mark != "same":
            return before
        before += len(text)
    return -1


def titles(members: Sequence[Member]) -> list[str]:
    """The files' names; documents of one file are told apart by their numbers."""
    names = [str(m["source"]).rsplit("/", 1)[-1] for m in members]
    return [tr("{name}, document {number}", name=name, number=units.number(m["number"] + 1)) if names.count(name) > 1 else name
            for name, m in zip(names, members, strict=True)]


def group_words(cluster: Mapping[str, Any]) -> str:
    """How many documents a group has and how alike they are."""
    least, most = cluster.get("least"), cluster.get("most")
    found = tr("{count} documents", count=units.number(cluster["documents"]))
    if least is None or most is None:
        return found
    alike = f"{least:.2f}" if f"{least:.2f}" == f"{most:.2f}" else tr("{least} to {most}", least=f"{least:.2f}", most=f"{most:.2f}")
    return tr("{documents}, similarity {alike}", documents=found, alike=alike)


