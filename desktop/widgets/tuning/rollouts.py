"""Answers of the policy as they come, with their rewards: the newest round or an earlier one, the best, the worst, or all of them, a page
at a time. Files are read in a thread, at most once a second."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QVBoxLayout

from desktop.models import rollout_rows
from desktop.models.rollout_rows import Round
from desktop.widgets.buttons import Button, Segments
from desktop.widgets.flexible import Poured, Whole
from desktop.widgets.layout import Scroll, col, row, show_if
from desktop.widgets.run_panel import Heard
from desktop.widgets.text import Text, small
from desktop.widgets.tuning.card_pages import CardPages, pour
from desktop.widgets.tuning.rollout_card import plus, rollout_card
from engine.contract.errors import FledgeError
from engine.contract.units import number, significant
from engine.contract.words import tr
from engine.project.run_state import RunState

if TYPE_CHECKING:
    from desktop.context import AppContext

PAGE, EVERY = 6, 1.0
ROOMY = 340
"""From this width on the mean stands beside the way back to the newest round."""


class OfRounds(Heard):
    """What shows one round of a run: the newest as it comes, or an earlier one that was turned to. `shown` is called with a round that is
    another one, or has more beside it."""

    def __init__(self, context: "AppContext", run_dir: Path, active: Callable[[], bool]) -> None:
        super().__init__()
        self.context, self.theme, self._dir, self._active = context, context.theme, run_dir, active
        self.round = Round()
        self._step: int | None = None  # None: the newest
        self._reading, self._again, self._read_at = False, False, 0.0
        theme = self.theme
        self._where, self._wrong = small(), small(tone="danger", wrap=True)
        self.earlier = Button(theme, kind="icon", icon="left", name=tr("Round before"), on_click=lambda: self._walk(-1))
        self.later = Button(theme, kind="icon", icon="right", name=tr("Next round"), on_click=lambda: self._walk(1))
        self.newest = Button(theme, tr("Newest"), "quiet", on_click=lambda: self.go(None))

    def shown(self, turned: bool) -> None:
        """`turned`: it is another round than before."""
        raise NotImplementedError

    def refresh(self, state: RunState) -> None:
        if time.monotonic() - self._read_at >= EVERY or not self._active():
            self._read()

    def go(self, step: int | None) -> None:
        """To the round after so many steps; None: the newest, and those that come."""
        self._step, self._again = step, self._reading
        self._read()

    def _read(self) -> None:
        if self._reading:
            return
        self._reading, self._read_at = True, time.monotonic()
        folder, step, known = self._dir, self._step, self.round
        self.context.jobs.run(lambda: rollout_rows.read(folder, step, known), then=self._found, failed=self._failed, owner=self)

    def _found(self, found: Round) -> None:
        self._reading = False
        self._wrong.set("")
        show_if(self._wrong, False)
        if found != self.round:
            turned = found.step != self.round.step
            self.round = found
            self._show_place()
            self.shown(turned)
        if self._again:  # another one was wanted meanwhile
            self._again = False
            self._read()

    def _failed(self, wrong: Exception) -> None:
        self._reading = False
        if not isinstance(wrong, FledgeError):
            raise wrong
        self._wrong.set(f"{wrong.sentence} {wrong.remedy}")
        show_if(self._wrong, True)

    def _walk(self, by: int) -> None:
        steps = self.round.steps
        if self.round.step in steps:
            place = max(0, min(steps.index(self.round.step) + by, len(steps) - 1))
            self.go(steps[place] if place < len(steps) - 1 else None)

    @property
    def place(self) -> int:
        """Which of the rounds it is, from 0."""
        return self.round.steps.index(self.round.step) if self.round.step in self.round.steps else 0

    def _show_place(self) -> None:
        steps, place = self.round.steps, self.place
        self._where.set(tr("round {round} of {rounds}", round=number(place + 1), rounds=number(len(steps))) if steps else "")
        self.earlier.setEnabled(place > 0)
        self.later.setEnabled(place < len(steps) - 1)
        show_if(self.newest, bool(steps) and place < len(steps) - 1)
        show_if(self.earlier, bool(steps))
        show_if(self.later, bool(steps))
        show_if(self._wrong, bool(self._wrong.words()))


class Rollouts(OfRounds):
    """For a narrow place."""

    def __init__(self, context: "AppContext", run_dir: Path, active: Callable[[], bool], whole: bool = False, *, signed: bool = True,
                 scored: str = tr("each answer with what the reward model makes of it")) -> None:
        """`whole`: nothing scrolls in it, the page does. `signed`: rewards with their sign; `scored`: what comes, in words."""
        super().__init__(context, run_dir, active)
        self._signed = signed
        self._shown: object = None
        theme = self.theme
        self._mean = small(elide=True)
        self.order = Segments(theme, (("best", tr("Best")), ("worst", tr("Worst")), ("all", tr("All"))), "best",
                              name=tr("Which answers"), on_change=lambda _: self.pages.turn(0))
        self._hint = Text(tr("They come with the first round: {what}.", what=scored), tone="text2", wrap=True)
        inner = Whole() if whole else Poured()
        self._box = QVBoxLayout(inner)
        self._box.setContentsMargins(0, 0, 8, 0)
        self._box.setSpacing(8)
        self._scroll = None if whole else Scroll(inner, horizontal=False)
        self._list = self._scroll or inner
        self.pages = CardPages(theme, PAGE, self._show)
        head = row(Text(tr("Answers"), "section"), (self._mean, 1), self.newest, self.earlier, self._where, self.later, gap=4,
                   pad=(0, 0, 8, 0))
        self._tools = row(self.order, "+", self.pages.before, self.pages.words, self.pages.after, gap=4, pad=(0, 0, 8, 0))
        self._hint.setAlignment(Qt.AlignmentFlag.AlignTop)
        col(head, self._tools, (self._hint, 1), self._wrong, (self._list, 1), gap=8, host=self)
        self._show_place()
        self._show()

    def shown(self, turned: bool) -> None:
        if turned:
            self.pages.page = 0
        self._show()

    def _show_place(self) -> None:
        """Shorter than elsewhere, and the mean only where it has room."""
        super()._show_place()
        words, steps = self._where.words(), self.round.steps
        self._where.set(tr("{page} of {pages}", page=number(self.place + 1), pages=number(len(steps))) if steps else "")
        self._where.setToolTip(words)
        self._where.setAccessibleName(words)
        show_if(self._mean, self.width() >= self.theme.px(ROOMY) or self.newest.isHidden())

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        show_if(self._mean, self.width() >= self.theme.px(ROOMY) or self.newest.isHidden())

    def _show(self) -> None:
        made = self.round
        rows, steps, mean = made.ordered(self.order.value()), made.steps, made.mean
        self._mean.set(tr("mean {reward}", reward=plus(mean) if self._signed else significant(mean, 3)) if mean is not None else "")
        for widget in (self._tools, self._list):
            show_if(widget, bool(steps))
        show_if(self._hint, not steps)
        shown = self.pages.take(rows)
        if shown == self._shown:
            return
        self._shown = shown
        pour(self._box, (rollout_card(self.theme, each, made.mean or 0.0, signed=self._signed) for each in shown))
        if self._scroll is not None:
            self._scroll.verticalScrollBar().setValue(0)
