"""Two answers side by side, makers hidden: which is better? Arrow keys pick; a vote is on the disk before the next pair is shown.

Whose answers they were is told at the end, never before: no name, no id, no tooltip holds it.
"""

from collections.abc import Callable
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import QWidget

from desktop.context import AppContext
from desktop.models.evaluate_blind import BlindSession
from desktop.models.evaluate_result import Result, interval_words, p_words
from desktop.pages.evaluate.interval_bars import BarLine, IntervalBars, verdict
from desktop.widgets.bar import Bar
from desktop.widgets.buttons import Button
from desktop.widgets.choice_card import Card
from desktop.widgets.columns import Columns
from desktop.widgets.flexible import Poured
from desktop.widgets.layout import Scroll, clear, col, row, show_if
from desktop.widgets.notes import NoteSlot
from desktop.widgets.panel import Panel, heading
from desktop.widgets.text import Key, Text, small
from engine.contract.errors import FledgeError
from engine.contract.units import duration, number, percent, significant
from engine.contract.words import tr, trn
from engine.project.votes import Choice, Vote, Votes

SIDE, LEAST = 248, 300
FEW = 8


class AnswerCard(Card):
    """One side. A click picks it."""

    def __init__(self, theme, side: str, icon: str) -> None:
        self._side = side
        self.text = Text("", "read", wrap=True, select=False)
        self._words = small()
        self.scroll = Scroll(col(self.text, "+", host=Poured()), horizontal=False)
        super().__init__(theme, row(Text(side, "strong"), "+", Key(theme, icon=icon, name=side), gap=8), (self.scroll, 1), self._words,
                         pad=(20, 14, 20, 14), gap=10)
        self.setMinimumHeight(theme.px(LEAST))

    def set(self, text: str) -> None:
        self.text.set(text or tr("(nothing)"))
        many = len(text.split())
        self._words.set(trn("{shown} word", "{shown} words", many, shown=number(many)))
        self.setAccessibleName(f"{self._side}: {text}")


class BlindView(QWidget):
    """`changed`: a vote more or less, or the makers are told; `finished`: back to the figures."""

    changed = Signal()
    finished = Signal()

    def __init__(self, context: AppContext) -> None:
        super().__init__()
        self.context, self.theme, theme = context, context.theme, context.theme
        self.session: BlindSession | None = None
        self.votes: Votes | None = None
        self._busy = self.told = False
        self._result: Result | None = None
        self.notes = NoteSlot(theme)
        self._count, self._bar = Text("", "strong"), Bar(theme, name=tr("Judged"))
        self._rate, self._left, self._skipped = small(), small(), small()
        self._prompt = Text("", "read", wrap=True, select=True)
        self._place = small()
        prompt = Panel(row(small(tr("Prompt")), "+", self._place), self._prompt, pad=(20, 10, 20, 12), gap=4)
        self.cards = {"left": AnswerCard(theme, tr("Left"), "left"), "right": AnswerCard(theme, tr("Right"), "right")}
        for side, card in self.cards.items():
            card.clicked.connect(lambda side=side: self.choose(side))
        self.tie = Button(theme, tr("Tie"), on_click=lambda: self.choose("tie"))
        self.bad = Button(theme, tr("Both bad"), on_click=lambda: self.choose("bad"))
        self.skip_button = Button(theme, tr("Skip"), on_click=self.skip)
        self.undo_button = Button(theme, tr("Undo"), icon="undo", on_click=self.undo)
        keys = row("+", Key(theme, icon="left", name=tr("Left arrow")), Key(theme, icon="right", name=tr("Right arrow")),
                   small(tr("pick and go on")), 8,
                   Key(theme, icon="uparrow", name=tr("Up arrow")), small(tr("tie")), 8, Key(theme, icon="downarrow",
                                                                                             name=tr("Down arrow")),
                   small(tr("both bad")), 8, Key(theme, "S"), small(tr("skip")), 8, Key(theme, "U"), small(tr("undo")), "+", gap=6)
        progress = row(self._count, (self._bar, 1), self._rate, self._left, self._skipped, gap=14)
        self._judging = col(progress, prompt, (row((self.cards["left"], 1), (self.cards["right"], 1), gap=16), 1),
                            row(self.undo_button, "+", self.tie, self.bad, self.skip_button, gap=8), keys, gap=12)
        self._end = col(gap=12)
        self._sure = col(gap=10)
        self.finish = Button(theme, tr("Finish and reveal"), on_click=self.reveal)
        side = col(Panel(Text(tr("How do you judge?"), "section"), self._sure, pad=(16, 10, 16, 14), gap=10),
                   Panel(Text(tr("Enough?"), "section"),
                         small(tr("The more pairs, the narrower the interval. Finishing early tells whose answers they were; pairs that "
                                  "are left can be judged later."), wrap=True), row(self.finish, "+"), pad=(16, 10, 16, 14), gap=8), "+",
                                  gap=12)
        self._columns = Columns(theme, self._judging, side, side_width=SIDE, gap=16)
        col(self.notes, (self._columns, 1), (self._end, 1), gap=12, host=self)
        show_if(self._end, False)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        # Shortcuts, since buttons and cards that have the focus would take the arrows for themselves.
        for key, act in (("Left", lambda: self.choose("left")), ("Right", lambda: self.choose("right")), ("Up", lambda: self.choose("tie")),
                         ("Down", lambda: self.choose("bad")), ("S", self.skip), ("U", self.undo), ("PgDown", lambda: self._scroll(1)),
                         ("PgUp", lambda: self._scroll(-1))):
            shortcut = QShortcut(QKeySequence(key), self)
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.setAutoRepeat(key.startswith("Pg"))
            shortcut.activated.connect(act)

    # showing ----------------------------------------------------------------------------------------------------------

    def load(self, session: BlindSession, votes: Votes, result: Result) -> None:
        self.session, self.votes, self._result, self._busy = session, votes, result, False
        self.told = session.complete
        self.notes.clear()
        self.refresh()

    def refresh(self) -> None:
        session = self.session
        if session is None:
            return
        pair = session.current
        over = self.told or pair is None
        show_if(self._columns, not over)
        show_if(self._end, over)
        if over:
            self._show_end()
            return
        assert pair is not None
        self._count.set(tr("{done} of {total}", done=number(session.done), total=number(session.total)))
        self._bar.set(session.done / max(1, session.total))
        rate = session.rate()
        self._rate.set(tr("{rate} a minute", rate=significant(rate, 2)) if rate else "")
        left = session.total - session.done
        self._left.set(tr("{time} left", time=duration(60 * left / rate)) if rate else "")
        self._skipped.set(trn("{shown} skipped", "{shown} skipped", len(session.skipped), shown=number(len(session.skipped)))
                          if session.skipped else "")
        self._prompt.set(pair.prompt)
        self._place.set(tr("pair {number}", number=number(session.pairs.index(pair) + 1)))
        self.cards["left"].set(pair.left_text)
        self.cards["right"].set(pair.right_text)
        self.undo_button.setEnabled(session.can_undo)
        self.finish.setEnabled(session.done > 0)
        self._show_habits()

    def _show_habits(self) -> None:
        session, theme = self.session, self.theme
        assert session is not None
        clear(self._sure.layout())
        for title, (share, many), fine, odd in (
                (tr("Left picked"), session.left_share(), tr("Could be chance"), tr("One side is favoured")),
                (tr("Longer picked"), session.longer_share(), tr("Could be chance"), tr("Length seems to decide"))):
            if many < FEW:
                words = tr("told after {count} picks", count=FEW)
                self._sure.layout().addWidget(col(row(Text(title), "+", small("–")), small(words, "text3"), gap=2))
                continue
            strange = abs(share - 0.5) > 1.0 / many ** 0.5  # two standard deviations of a fair coin
            self._sure.layout().addWidget(col(row(Text(title), "+", Text(percent(share), "medium")),
                                              Bar(theme, share, "warn" if strange else "accent", 4, name=title),
                                              small(odd if strange else fine), gap=4))

    def _show_end(self) -> None:
        session, result, theme = self.session, self._result, self.theme
        assert session is not None and result is not None
        clear(self._end.layout())
        if not self.told:
            words = trn("{shown} pair was skipped.", "{shown} pairs were skipped.", len(session.skipped),
                        shown=number(len(session.skipped)))
            self._end.layout().addWidget(Panel(Text(tr("Nothing more to judge"), "section"), Text(words, tone="text2", wrap=True),
                row(Button(theme, tr("Look at them again"), on_click=self._again),
                    Button(theme, tr("Finish and reveal"), "primary", on_click=self.reveal, enabled=session.done > 0),
                    Button(theme, tr("Undo"), icon="undo", on_click=self.undo, enabled=session.can_undo), "+"), pad=(20, 14, 20, 16)))
            self._end.layout().addStretch(1)
            return
        first = result.models[0][0] if result.models else ""
        bars, said = [], []
        for model, rate in session.tallies(first).items():
            if not (rate["wins"] or rate["losses"] or rate["ties"]):
                said.append(tr("{model} was not judged yet.", model=result.model_title(model)))
                continue
            real = rate["p"] < 0.05
            mark = (1 if rate["wins"] > rate["losses"] else -1) if real else 0
            word, tone = verdict(mark)
            bars.append(BarLine(result.model_title(model), tr("against {model}", model=result.model_title(first)), rate["value"],
                                rate["low"],
                                rate["high"], percent(rate["value"]), ", ".join(x for x in (interval_words(rate), word) if x), tone))
            said.append(tr("{second} was better {wins} times, {first} {losses} times; {ties} ties or both bad. {real} (p {p}).",
                           second=result.model_title(model), first=result.model_title(first), wins=number(rate["wins"]),
                           losses=number(rate["losses"]), ties=number(rate["ties"]),
                           real=tr("That is more than chance") if real else tr("That may be chance"), p=p_words(rate["p"])))
        shown = IntervalBars(theme, tr("Win rate"))
        shown.set(bars, 1.0, 0.5)
        votes = trn("{shown} vote", "{shown} votes", session.done, shown=number(session.done))
        more = session.total - session.done
        actions = [Button(theme, tr("Judge the rest"), on_click=self._rest)] if more else []
        self._end.layout().addWidget(Panel(heading(tr("Whose answers they were"), votes), shown,
                                           *[Text(words, tone="text2", wrap=True) for words in said],
                                           row(Button(theme, tr("Back to the figures"), "primary", on_click=self.finished.emit), *actions,
                                               "+"),
                                           pad=(20, 14, 20, 16), gap=10))
        self._end.layout().addStretch(1)

    # acting -----------------------------------------------------------------------------------------------------------

    def choose(self, choice: Choice | str) -> None:
        """Keep a vote, then show the next pair: never the other way round."""
        session, votes = self.session, self.votes
        if session is None or votes is None or self._busy or self.told or session.current is None:
            return
        vote = session.vote(choice)  # type: ignore[arg-type]

        def kept(made: Vote) -> None:
            session.taken(made)
        self._write(lambda: votes.add(vote), kept)

    def skip(self) -> None:
        if self.session is not None and not self._busy and not self.told:
            self.session.skip()
            self.refresh()

    def undo(self) -> None:
        session, votes = self.session, self.votes
        if session is None or votes is None or self._busy or self.told or not session.can_undo:
            return
        key = session.last_vote
        if key:
            self._write(lambda: votes.remove(key), lambda _: session.undo())
        else:
            session.undo()
            self.refresh()

    def _scroll(self, by: int) -> None:
        """Long answers, by keyboard."""
        for card in self.cards.values():
            bar = card.scroll.verticalScrollBar()
            bar.setValue(bar.value() + by * bar.pageStep())

    def reveal(self) -> None:
        """The end: whose answers they were."""
        if self.session is not None and self.session.done and not self._busy:
            self.told = True
            self.refresh()
            self.changed.emit()

    def _again(self) -> None:
        if self.session is not None:
            self.session.look_again()
            self.refresh()

    def _rest(self) -> None:
        self.told = False
        self._again()

    def _write(self, work: Callable[[], Any], then: Callable[[Any], object]) -> None:
        self._busy = True
        session = self.session

        def done(found: Any) -> None:
            self._busy = False
            if session is not self.session:
                return
            then(found)
            self.notes.clear()
            if session is not None and session.complete:
                self.told = True
            self.refresh()
            self.changed.emit()

        def failed(wrong: Exception) -> None:
            self._busy = False
            if not isinstance(wrong, FledgeError):
                raise wrong
            self.notes.show_error(wrong)
        self.context.jobs.run(work, then=done, failed=failed, owner=self)
