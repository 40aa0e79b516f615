"""A corpus run on the screen: its phases and progress, what is done to the text in which order, what was noticed on the way; and, when it
ended without a corpus, why, with the way on. A stop keeps what is done."""

from collections.abc import Callable
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from desktop.context import AppContext
from desktop.jobs.stage_run import StageRun
from desktop.models.corpus_plan import CorpusPlan
from desktop.widgets.buttons import Button
from desktop.widgets.layout import Item, clear, col, fill, fixed, row, show_if
from desktop.widgets.notes import Note, NoteSlot, error_note
from desktop.widgets.panel import Panel, rule
from desktop.widgets.short_run import ShortRun
from desktop.widgets.text import Text, small
from engine.contract.errors import FledgeError
from engine.contract.words import tr
from engine.project.runs import RESUMABLE

KINDS = {"info": "info", "warning": "warn", "problem": "danger"}
NAME, NOTICES = 196, 4
AGAIN = ("no_text", "not_found", "unreadable", "too_little", "input", "setting", "old_corpus", "mix_weights")
"""Failures that another attempt with the same settings would only repeat."""


class RunningView(QWidget):
    """`ended(status)` once, when the run is over. `show_trouble` says why it made nothing."""

    ended = Signal(str)

    def __init__(self, context: AppContext, run: StageRun) -> None:
        super().__init__()
        assert run.follower is not None and run.process is not None
        theme = self.theme = context.theme
        self.context, self.run = context, run
        self._shown_notices: list[Any] | None = None
        self.trouble = NoteSlot(theme)
        self.short = ShortRun(theme, run.follower, run.process, tr("Making the corpus"))
        self.short.ended.connect(self.ended)
        run.process.refused.connect(self._refused)
        self._notices = col(gap=8)
        plan = CorpusPlan()
        plan.take_spec(run.follower.run.spec)
        lines: list[Item] = []
        for what, how in plan.steps_in_words():
            if how:
                lines += [*([rule()] if lines else []), row(fixed(Text(what, "medium"), theme.px(NAME)),
                                                            (Text(how, tone="text2", wrap=True), 1), gap=10)]
        base = run.follower.run.spec.get("base", "")
        words = tr("Your files stay as they are. Stopping keeps what is done: the run can be resumed.")
        if base:
            words = tr("The documents of {corpus} are gone through again with your decisions.", corpus=base) + " " + words
        doing = Panel(Text(tr("What is done to the text"), "section"), small(words, wrap=True), 2, *lines, pad=(16, 10, 16, 14), gap=8)
        col(self.trouble, self.short, self._notices, doing, "+", gap=12, host=self)
        run.follower.changed.connect(self._show_notices)
        self._show_notices()

    def _show_notices(self) -> None:
        found = list(self.run.follower.state.notices)[-NOTICES:] if self.run.follower else []
        if found == self._shown_notices:
            return
        self._shown_notices = found
        clear(self._notices.layout())
        fill(self._notices.layout(), tuple(Note(self.theme, KINDS.get(n.level, "info"), n.title, f"{n.text} {n.remedy}".strip())
                                           for n in found), 8)
        show_if(self._notices, bool(found))

    def _refused(self, wrong: FledgeError) -> None:
        self.trouble.show_error(wrong)

    def show_handed_over(self, read_back: Callable[[], None], leave: Callable[[], None]) -> None:
        """The run is done, and what it made is to be run elsewhere; its notice says where that lies."""
        note = Note(self.theme, "info", tr("It runs elsewhere from here on"),
                    tr("When the pipeline has run, point to its folder: its output becomes the corpus."),
                    Button(self.theme, tr("Read its output"), "primary", on_click=read_back),
                    Button(self.theme, tr("Back to the settings"), on_click=leave))
        self.trouble.show_note(note)
        self.short.stop.hide()

    def show_trouble(self, wrong: FledgeError, status: str, resume: Callable[[], None], change: Callable[[], None],
                     leave: Callable[[], None] | None) -> None:
        """Why there is no corpus, with what can be done: go on from what is done, or change the settings."""
        theme = self.theme
        can_resume = status in RESUMABLE and wrong.code not in AGAIN
        buttons = [Button(theme, tr("Resume") if can_resume else tr("Change settings"), "primary", icon="play" if can_resume else "",
                          on_click=resume if can_resume else change)]
        if can_resume:
            buttons.append(Button(theme, tr("Change settings"), on_click=change))
        if leave is not None:
            buttons.append(Button(theme, tr("To the corpus"), "quiet", on_click=leave))
        if status in ("stopped", "paused", "interrupted"):
            title = tr("The run was interrupted") if status == "interrupted" else tr("The run was stopped")
            words = tr("What is done is kept: resuming goes on from there and comes to the same corpus as if nothing had happened.")
            self.trouble.show_note(Note(theme, "warn" if status == "interrupted" else "info", title, words, *buttons))
        else:
            title = tr("No corpus was made") if leave is not None else tr("There is no corpus yet")
            self.trouble.show_note(error_note(theme, wrong, *buttons, title=title))
        self.short.stop.hide()
