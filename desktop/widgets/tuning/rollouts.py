"""Answers of the policy as they come, with their rewards: the newest round or an earlier one, the best, the worst, or all of them, a page
at a time. Files are read in a thread, at most once a second."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtWidgets import QVBoxLayout, QWidget

from desktop.models import rollout_rows
from desktop.models.rollout_rows import Round
from desktop.widgets.badge import Badge
from desktop.widgets.buttons import Button, Segments
from desktop.widgets.flexible import Poured, Whole
from desktop.widgets.layout import Item, Scroll, clear, col, row, show_if
from desktop.widgets.panel import rule
from desktop.widgets.run_panel import Heard
from desktop.widgets.text import Text, small
from engine.contract.errors import FledgeError
from engine.contract.rows import Rollout
from engine.contract.units import number, significant
from engine.contract.words import tr, trn
from engine.project.run_state import RunState

if TYPE_CHECKING:
    from desktop.context import AppContext

PAGE, EVERY, LONG, ASKED = 6, 1.0, 600, 240


class Rollouts(Heard):
    def __init__(self, context: "AppContext", run_dir: Path, active: Callable[[], bool], whole: bool = False) -> None:
        """`whole`: nothing scrolls in it, the page does."""
        super().__init__()
        self.context, self.theme, self._dir, self._active = context, context.theme, run_dir, active
        self.round = Round()
        self._step: int | None = None  # None: the newest
        self._page, self._reading, self._again, self._read_at = 0, False, False, 0.0
        self._shown: object = None
        theme = self.theme
        self._mean, self._where = small(), small()
        self.order = Segments(theme, (("best", tr("Best")), ("worst", tr("Worst")), ("all", tr("All"))), "best",
                              name=tr("Which answers"), on_change=lambda _: self._turn(0))
        self.earlier = Button(theme, kind="icon", icon="left", name=tr("Round before"), on_click=lambda: self._walk(-1))
        self.later = Button(theme, kind="icon", icon="right", name=tr("Next round"), on_click=lambda: self._walk(1))
        self.newest = Button(theme, tr("Newest"), "quiet", on_click=lambda: self._go(None))
        self._hint = Text(tr("They come with the first round: each answer with what the reward model makes of it."), tone="text2",
                          wrap=True)
        self._wrong = small(tone="danger", wrap=True)
        inner = Whole() if whole else Poured()
        self._box = QVBoxLayout(inner)
        self._box.setContentsMargins(0, 0, 8, 0)
        self._box.setSpacing(8)
        self._scroll = None if whole else Scroll(inner, horizontal=False)
        self._list = self._scroll or inner
        self.before, self.after = (Button(theme, words, "quiet", on_click=lambda by=by: self._turn(self._page + by))
                                   for words, by in ((tr("Back"), -1), (tr("More"), 1)))
        self._pages = small()
        head = row(Text(tr("Answers"), "section"), (self._mean, 1), self.newest, self.earlier, self._where, self.later, gap=4,
                   pad=(0, 0, 8, 0))
        self._tools = row(self.order, "+", self.before, self._pages, self.after, gap=4, pad=(0, 0, 8, 0))
        col(head, self._tools, self._hint, self._wrong, (self._list, 1), gap=8, host=self)
        self._show()

    # reading ----------------------------------------------------------------------------------------------------------

    def refresh(self, state: RunState) -> None:
        if time.monotonic() - self._read_at >= EVERY or not self._active():
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
        if found != self.round:
            if found.step != self.round.step:
                self._page = 0
            self.round = found
            self._show()
        if self._again:  # another one was wanted meanwhile
            self._again = False
            self._read()

    def _failed(self, wrong: Exception) -> None:
        self._reading = False
        if not isinstance(wrong, FledgeError):
            raise wrong
        self._wrong.set(f"{wrong.sentence} {wrong.remedy}")

    # turning ----------------------------------------------------------------------------------------------------------

    def _walk(self, by: int) -> None:
        steps = self.round.steps
        if self.round.step in steps:
            place = max(0, min(steps.index(self.round.step) + by, len(steps) - 1))
            self._go(steps[place] if place < len(steps) - 1 else None)

    def _go(self, step: int | None) -> None:
        self._step, self._again = step, self._reading
        self._read()

    def _turn(self, page: int) -> None:
        self._page = max(0, min(page, (len(self.round.rows) - 1) // PAGE))
        self._show()

    # showing ----------------------------------------------------------------------------------------------------------

    def _show(self) -> None:
        made = self.round
        rows, steps = made.ordered(self.order.value()), made.steps
        place = steps.index(made.step) if made.step in steps else 0
        mean = made.mean
        self._mean.set(tr("mean {reward}", reward=signed(mean)) if mean is not None else "")
        self._where.set(tr("round {round} of {rounds}", round=number(place + 1), rounds=number(len(steps))) if steps else "")
        self.earlier.setEnabled(place > 0)
        self.later.setEnabled(place < len(steps) - 1)
        show_if(self.newest, bool(steps) and place < len(steps) - 1)
        for widget in (self.earlier, self.later, self._tools, self._list):
            show_if(widget, bool(steps))
        show_if(self._hint, not steps)
        show_if(self._wrong, bool(self._wrong.words()))
        pages = max(1, -(-len(rows) // PAGE))
        for widget in (self.before, self.after, self._pages):
            show_if(widget, pages > 1)
        self.before.setEnabled(self._page > 0)
        self.after.setEnabled(self._page < pages - 1)
        self._pages.set(tr("{page} of {pages}", page=self._page + 1, pages=pages))
        shown = rows[self._page * PAGE:(self._page + 1) * PAGE]
        if shown == self._shown:
            return
        self._shown = shown
        clear(self._box)
        for i, each in enumerate(shown):
            if i:
                self._box.addWidget(rule())
            self._box.addWidget(self._card(each))
        self._box.addStretch(1)
        if self._scroll is not None:
            self._scroll.verticalScrollBar().setValue(0)

    def _card(self, each: Rollout) -> QWidget:
        asked = each.prompt[-1].content if each.prompt else ""
        notes = [trn("{shown} token", "{shown} tokens", int(each.facts["tokens"]), shown=number(int(each.facts["tokens"])))] \
            if "tokens" in each.facts else []
        if each.facts.get("kl") is not None:
            notes.append(tr("KL {value}", value=significant(float(each.facts["kl"]), 2)))
        cut: Item = Badge(tr("cut"), "warn", tr("It reached the longest length without an end.")) if each.facts.get("finish") == "length" \
            else None
        head = row(Text(signed(each.reward), "strong", "accent" if each.reward >= (self.round.mean or 0.0) else "text2"), cut, "+",
                   small(", ".join(notes), "text3"), gap=6)
        made = col(head, small(shortened(asked, ASKED), wrap=True),
                   Text(shortened(each.completion, LONG) or tr("(nothing)"), wrap=True, select=True), gap=2)
        made.setAccessibleName(tr("Reward {reward}. Asked: {prompt} Answer: {answer}", reward=signed(each.reward), prompt=asked,
                                  answer=each.completion))
        return made


def signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")


def shortened(text: str, most: int) -> str:
    return text if len(text) <= most else text[:most] + " …"
