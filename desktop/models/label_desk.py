"""Labelling, one card after the other: a label is on the disk before the next card is there, and the next card was fetched ahead.

All of the library is called in threads, one step at a time; what a key means is the page's matter. Undo goes back to the card that it was
about, as far as there is something to undo.
"""

import getpass
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, QTimer, Signal

from engine.contract.errors import FledgeError
from engine.contract.words import tr
from engine.project.label_queues import Card, Progress, side
from engine.project.labels import Label, LabelStep

if TYPE_CHECKING:
    from desktop.context import AppContext
    from engine.project.pairs import Pairs
    from engine.project.project import Project

AUTHOR, ORDER, GIVEN = "label.author", "label.order", "label.given"
AHEAD = 2
"""Cards that are fetched behind the one on the screen."""
SITTING = 1800.0
"""Seconds without a label that end a sitting."""
LONGEST = 600.0
"""Seconds on one card that still count as looking at it."""


def author_of(context: "AppContext") -> str:
    """Who labels here: the name in the settings, else the one of the person's account."""
    kept = str(context.settings.get(AUTHOR, "") or "").strip()
    if kept:
        return kept
    try:
        return getpass.getuser() or tr("annotator")
    except (OSError, KeyError, ImportError):
        return tr("annotator")


@dataclass(frozen=True)
class Shown:
    """A card on the screen. `label`: what stands for it now; `was`: what stood there before undo took it back; `flagged` and `comment` as
    they are on the disk; `visit`: it was opened from a list."""

    card: Card
    label: Label | None = None
    was: Label | None = None
    flagged: bool = False
    comment: str = ""
    visit: bool = False

    @property
    def left(self) -> str:
        """The text of the answer that stands left."""
        return (self.card.pair.first if self.card.left == "first" else self.card.pair.second).text

    @property
    def right(self) -> str:
        return (self.card.pair.second if self.card.left == "first" else self.card.pair.first).text

    def choice_of(self, what: str) -> str:
        """A side as the library names answers: "left" is "first" or "second"; tie, bad and skip stay."""
        if what not in ("left", "right"):
            return what
        return self.card.left if what == "left" else ("second" if self.card.left == "first" else "first")

    def side_of(self, choice: str) -> str:
        """The other way round."""
        if choice not in ("first", "second"):
            return choice
        return "left" if choice == self.card.left else "right"


class LabelDesk(QObject):
    """`open(project, sets, ...)`, then `pick`, `flag`, `comment`, `undo`, `redo`, `visit`. `shown`: another card, or none, is there
    (`now`); `changed`: counts, undo or the card's notes differ; `saved(label)`; `stepped(step, redone)` after undo and redo;
    `failed(error)`: a step did not happen, and the card is still the same."""

    shown, changed = Signal(), Signal()
    saved, failed = Signal(object), Signal(object)
    stepped = Signal(object, bool)
    visited = Signal()

    def __init__(self, context: "AppContext", parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._context = context
        self._project: Project | None = None
        self.sets: tuple[str, ...] = ()
        self.author, self.order, self.given = "", "order", False
        self.now: Shown | None = None
        self.progress: Progress | None = None
        self.over = False
        self.sitting = 0
        self.labelled = 0
        self._coming: deque[Shown] = deque()
        self._done: set[tuple[str, int]] = set()
        self._working = self._fetching = self._wanting = False
        self._version = 0
        self._since = self._last = 0.0

    @property
    def busy(self) -> bool:
        """Whether a key has to wait: a step is on its way to the disk, or the card to the screen."""
        return self._working or self._wanting

    @property
    def waiting(self) -> int:
        """Cards that are fetched."""
        return len(self._coming)

    # coming and going -------------------------------------------------------------------------------------------------

    def open(self, project: "Project", sets: Sequence[str], author: str, order: str = "order", given: bool = False) -> None:
        """Begin with the first card that is to do."""
        self._project, self.sets, self.author, self.order, self.given = project, tuple(sets), author, order, given
        self.now, self.over, self.sitting, self.labelled, self.progress = None, False, 0, 0, None
        self._forget()
        self._want()

    def again(self) -> None:
        """Look anew what is to do: pairs came, or another order is wanted."""
        self._forget()
        if self.now is None or not self.now.visit:
            self.now, self.over = None, False
            self._want()

    def _forget(self) -> None:
        self._version += 1
        self._done.clear()
        self._coming.clear()
        self._fetching = self._wanting = False

    @property
    def _pairs(self) -> "Pairs":
        assert self._project is not None
        return self._project.library.pairs

    # the next card ----------------------------------------------------------------------------------------------------

    def _want(self) -> None:
        """Show the next card, now or as soon as it is there."""
        if self._coming:
            self._show(self._coming.popleft())
        else:
            self._wanting = True
        self._fetch()

    def _show(self, shown: Shown | None) -> None:
        self._wanting = False
        self.now, self.over = shown, shown is None
        self._since = time.monotonic()
        self.shown.emit()

    def _fetch(self) -> None:
        """Fetch a card ahead, in a thread."""
        if self._fetching or self._project is None or len(self._coming) >= AHEAD:
            return
        version, pairs = self._version, self._pairs
        shown = self.now.card.pair.id if self.now is not None and not self.now.visit else ""
        last = self._coming[-1].card.pair.id if self._coming else shown
        known = {one.card.pair.id for one in self._coming} | ({shown} if shown and not self._wanting else set())
        sets, author, order, given, count = self.sets, self.author, self.order, self.given, self.progress is None
        self._fetching = True

        def work() -> tuple[Card | None, Progress | None]:
            card = pairs.next(sets, author, order=order, after=last, given=given)
            return card, pairs.progress(sets, author) if count else None

        def came(found: tuple[Card | None, Progress | None]) -> None:
            if version != self._version:
                return
            self._fetching = False
            card, progress = found
            self.progress = progress or self.progress
            fresh = card is not None and card.pair.id not in known and (card.pair.id, card.round) not in self._done
            if fresh:
                assert card is not None
                self._coming.append(Shown(card, flagged=bool(card.label and card.label.flagged),
                                          comment=card.label.comment if card.label else ""))
            if self._wanting:
                self._show(self._coming.popleft() if self._coming else None)
            if progress is not None:
                self.changed.emit()
            if fresh:
                self._fetch()

        def wrong(error: Exception) -> None:
            if version != self._version:
                return
            self._fetching = self._wanting = False
            self._raise(error)
        self._context.jobs.run(work, then=came, failed=wrong, owner=self)

    # steps ------------------------------------------------------------------------------------------------------------

    def pick(self, what: str, strength: int = 0, *, edited: str = "", comment: str = "") -> None:
        """Say which answer is better ("left", "right"), or "tie", "bad", "skip". The next card comes when that is on the disk."""
        now = self.now
        if now is None or self.busy:
            return
        moment = time.monotonic()
        self.sitting = 1 if moment - self._last > SITTING or not self._last else self.sitting + 1
        sided = what in ("left", "right")
        label = Label(choice=now.choice_of(what), strength=strength if sided else 0, edited=edited if sided else "",  # type: ignore[arg-type]
                      comment=comment.strip(), flagged=now.flagged, author=self.author, round=now.card.round, left=now.card.left,
                      seconds=min(LONGEST, moment - self._since), position=self.sitting)
        pairs, sets, id = self._pairs, self.sets, now.card.pair.id

        def work() -> tuple[Label, Progress]:
            return pairs.label(id, label), pairs.progress(sets, self.author)

        def done(found: tuple[Label, Progress]) -> None:
            made, self.progress = found
            self._last = time.monotonic()
            self.labelled += 1
            self._done.add((id, made.round))
            self.saved.emit(made)
            if now.visit:
                self._leave_visit(made)
            else:
                self._want()
            self.changed.emit()
        self._step(work, done)

    def flag(self) -> None:
        """Flag the card, or take its flag away."""
        now = self.now
        if now is None or self.busy:
            return
        on, pairs, sets = not now.flagged, self._pairs, self.sets

        def work() -> Progress:
            pairs.flag(now.card.pair.id, on, self.author)
            return pairs.progress(sets, self.author)

        def done(progress: Progress) -> None:
            self.progress = progress
            self._note(now, flagged=on)
        self._step(work, done)

    def comment(self, words: str) -> None:
        """Keep what is to say about the card."""
        now = self.now
        if now is None or self.busy or words.strip() == now.comment:
            return
        pairs = self._pairs
        self._step(lambda: pairs.comment(now.card.pair.id, words.strip(), self.author), lambda _: self._note(now, comment=words.strip()))

    def _note(self, about: Shown, **said: Any) -> None:
        if self.now is about:
            self.now = replace(about, **said)
        self.changed.emit()

    def undo(self) -> None:
        """Take the last step back, and show the card that it was about."""
        self._walk(lambda pairs: pairs.undo(self.author), False)

    def redo(self) -> None:
        """Bring back what was undone last, and go on behind it."""
        self._walk(lambda pairs: pairs.redo(self.author), True)

    def _walk(self, act: Callable[["Pairs"], LabelStep | None], forward: bool) -> None:
        if self._project is None or self._working:
            return
        pairs, sets = self._pairs, self.sets

        def work() -> tuple[LabelStep | None, Shown | None, Progress]:
            step = act(pairs)
            return step, None if step is None else self._card_of(pairs, step), pairs.progress(sets, self.author)

        def done(found: tuple[LabelStep | None, Shown | None, Progress]) -> None:
            step, card, self.progress = found
            if step is not None and card is not None:
                if forward and step.what == "label":
                    self._after_redo(step)
                else:
                    self._back_to(card)
            self.stepped.emit(step, forward)
            self.changed.emit()
        self._step(work, done)

    def _card_of(self, pairs: "Pairs", step: LabelStep) -> Shown:
        """The card that a step was about, as it stands now. In a thread."""
        pair = pairs.get(step.pair)
        own = [one for one in pairs.labels_of(step.pair) if one.author == self.author]
        said = step.after or step.before
        round = said.round if said is not None and said.round else 1
        earlier = next((one.left for one in own if one.round == 1), side(pair.id, self.author))
        left = said.left if said is not None and said.round else earlier
        stands = next((one for one in own if one.round == round), None)
        was = step.after if step.what == "label" and stands is None else None
        notes = [one for one in own if one.round in (0, round)]
        return Shown(Card(pair, left, round), stands, was, any(one.flagged for one in notes),
                     next((one.comment for one in notes if one.comment), was.comment if was is not None else ""))

    def _back_to(self, card: Shown) -> None:
        """Undo leads back: what was on the screen comes again after it."""
        if self.now is not None and not self.now.visit and self.now.card.pair.id != card.card.pair.id:
            self._coming.appendleft(self.now)
        self._done.discard((card.card.pair.id, card.card.round))
        self._wanting = False
        self._show(replace(card, visit=True) if card.label is not None else card)

    def _after_redo(self, step: LabelStep) -> None:
        """The card that is labelled again needs nobody any more."""
        self._coming = deque(one for one in self._coming if one.card.pair.id != step.pair)
        self._done.add((step.pair, step.after.round if step.after is not None else 1))
        if self.now is None or self.now.card.pair.id == step.pair:
            self.now = None
            self._want()

    # looking at one ---------------------------------------------------------------------------------------------------

    def visit(self, pair_id: str) -> None:
        """Show one pair with what was said of it: it can be said anew. `visited` when that is done."""
        pairs = self._pairs

        def work() -> Shown:
            pair = pairs.get(pair_id)
            own = [one for one in pairs.labels_of(pair_id) if one.author == self.author]
            stands = next((one for one in own if one.round == 1), None)
            left = stands.left if stands is not None else side(pair_id, self.author)
            notes = [one for one in own if one.round in (0, 1)]
            return Shown(Card(pair, left, 1), stands, None, any(one.flagged for one in notes),
                         next((one.comment for one in notes if one.comment), ""), visit=True)

        def done(card: Shown) -> None:
            if self.now is not None and not self.now.visit:
                self._coming.appendleft(self.now)
            self._show(card)
        self._step(work, done)

    def leave_visit(self) -> None:
        """Back to what is to do; the visited pair stays as it is."""
        if self.now is not None and self.now.visit:
            self.now = None
            self._want()

    def _leave_visit(self, made: Label) -> None:
        self._coming = deque(one for one in self._coming if one.card.pair.id != made.pair)
        self.now = None
        self._want()
        self.visited.emit()

    # one after the other ----------------------------------------------------------------------------------------------

    def _step(self, work: Callable[[], Any], then: Callable[[Any], object]) -> None:
        if self._working:
            return
        self._working = True

        def done(found: Any) -> None:
            self._working = False
            then(found)

        def wrong(error: Exception) -> None:
            self._working = False
            self._raise(error)
        self._context.jobs.run(work, then=done, failed=wrong, owner=self)

    def _raise(self, error: Exception) -> None:
        if not isinstance(error, FledgeError):
            raise error
        self.failed.emit(error)

    def settle(self, then: Callable[[], object]) -> None:
        """Call when nothing is on its way any more."""
        if self.busy or self._fetching:
            QTimer.singleShot(20, self, lambda: self.settle(then))
        else:
            then()
