"""An evaluation under way: phases, progress and rate, the figures so far, the newest answers."""

from collections.abc import Sequence
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from desktop.context import AppContext
from desktop.jobs.process import RunProcess
from desktop.jobs.run_follow import RunFollower
from desktop.models.evaluate_result import Result
from desktop.pages.evaluate.result_table import ResultTable
from desktop.widgets.columns import Columns
from desktop.widgets.layout import clear, col, show_if
from desktop.widgets.notes import Note, NoteSlot
from desktop.widgets.panel import Panel, heading, rule, table_panel
from desktop.widgets.run_panel import KINDS
from desktop.widgets.short_run import ShortRun
from desktop.widgets.text import Text, small
from engine.contract.words import tr

SHOWN, LONGEST = 4, 400


class RunningView(QWidget):
    """`ended(status)` once, when it is over."""

    ended = Signal(str)

    def __init__(self, context: AppContext, follower: RunFollower, process: RunProcess, title: str) -> None:
        super().__init__()
        self.theme, self.follower, theme = context.theme, follower, context.theme
        self.run = ShortRun(theme, follower, process, title)
        self.run.ended.connect(self.ended)
        self.trouble = NoteSlot(theme)
        process.refused.connect(self.trouble.show_error)
        self.table = ResultTable(theme, tr("So far"))
        self._waiting = small(tr("The first figures come when a suite is done."), wrap=True)
        figures = table_panel(heading(tr("So far")), self.table, self._waiting)
        self._waiting.setContentsMargins(8, 0, 8, 4)
        self._answers = col(gap=8)
        self._none = small(tr("Answers stand here as they come."), wrap=True)
        answers = Panel(heading(tr("Newest answers")), self._none, self._answers, "+", pad=(16, 10, 16, 14), gap=8)
        self._notices = col(gap=8)
        self._shown: Any = None
        self._told: Any = None
        col(self.trouble, self.run, (Columns(theme, col(figures, "+"), col(self._notices, answers, "+", gap=12), side_width=340, gap=12),
                                     1),
            gap=12, host=self)
        follower.changed.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        state = self.follower.state
        facts = state.facts
        if facts.get("suites"):
            self.table.set(Result("", facts))
        show_if(self.table, bool(facts.get("results")))
        show_if(self._waiting, not facts.get("results"))
        blind = any(s["kind"] == "blind" for s in facts.get("suites") or ())  # whoever judges later must not see whose answers these are
        samples = [] if blind or not facts.get("suites") else state.samples[-SHOWN:]
        self._none.set(tr("Not shown: you are to judge some of them without knowing whose they are.") if blind else
                       tr("Answers stand here as they come."))
        if samples != self._shown:
            self._shown = list(samples)
            self._show_samples(samples)
        notices = list(state.notices)[-2:]
        if notices != self._told:
            self._told = notices
            clear(self._notices.layout())
            for n in notices:
                self._notices.layout().addWidget(Note(self.theme, KINDS.get(n.level, "info"), n.title, f"{n.text} {n.remedy}".strip()))
        show_if(self._notices, bool(notices))

    def _show_samples(self, samples: Sequence[Any]) -> None:
        clear(self._answers.layout())
        for i, sample in enumerate(reversed(samples)):
            if i:
                self._answers.layout().addWidget(rule())
            self._answers.layout().addWidget(col(small(sample.prompt[:LONGEST], wrap=True),
                                                 Text(sample.text[:LONGEST] or tr("(empty)"), wrap=True, select=True), gap=2))
        show_if(self._none, not samples)
