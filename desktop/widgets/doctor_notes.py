"""What the run doctor finds, above a run's charts: the worst finding with its remedy, where possible as a button that starts again with the
change; the others on request. What a person has put away stays away.

The rules are the engine's (engine/project/run_doctor.py); here they are asked at most every two seconds, and only when there are new
numbers.
"""

import time
from collections.abc import Callable, Iterable, Sequence

from PySide6.QtCore import QTimer, Signal
from PySide6.QtWidgets import QWidget

from desktop.jobs.run_follow import RunFollower
from desktop.theme.theme import Theme
from desktop.widgets.buttons import Button
from desktop.widgets.layout import Item, clear, col, row, show_if
from desktop.widgets.notes import Note
from engine.contract.words import tr, trn
from engine.project.run_doctor import Finding, rules

LOOK_SECONDS = 2.0
KINDS = {"info": "info", "warning": "warn", "problem": "danger"}


class _FindingNote(Note):
    """One finding; its words follow the numbers, its buttons stay where they are."""

    def __init__(self, notes: "DoctorNotes", finding: Finding) -> None:
        theme = notes.theme
        super().__init__(theme, KINDS[finding.level], finding.title, "", icon="pulse" if finding.level == "info" else "")
        self.finding = finding
        self.away = Button(theme, tr("Put away"), "quiet", on_click=lambda: notes.put_away(self.finding.code),
                           tip=tr("It is not shown for this run any more."))
        self.again: Button | None = None
        if notes.can_change(finding):
            self.again = Button(theme, tr("Start again with this change"),
                                on_click=lambda: notes.change_wanted.emit(dict(self.finding.change or {})))
        self.set_actions(*([self.again] if self.again is not None else []), *notes.further(finding), self.away)
        self.tell(finding)

    def tell(self, finding: Finding) -> None:
        self.finding = finding
        self.set(finding.title, f"{finding.sentence} {finding.remedy}".strip())


class DoctorNotes(QWidget):
    """`offers_changes`: whether who shows this can start a run with other settings; then `change_wanted(settings)` asks for it. `dismissed`
    are codes that are not shown; `put_away_one(code)` tells of another one. `further` gives more buttons of a finding."""

    change_wanted = Signal(dict)
    put_away_one = Signal(str)

    def __init__(self, theme: Theme, follower: RunFollower, further: Callable[[Finding], Sequence[Item]] = lambda finding: ()) -> None:
        super().__init__()
        self.theme, self.follower, self.further = theme, follower, further
        self.offers_changes = False
        self.dismissed: set[str] = set()
        self.findings: list[Finding] = []
        self._notes: dict[str, _FindingNote] = {}
        self._all = False
        self._seen: object = None
        self._looked = 0.0
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.timeout.connect(self.look)
        self._more = Button(theme, tr("More findings"), "quiet", on_click=self._show_all)
        self._stack = col(gap=8)
        self._foot = row(self._more, "+", gap=0)
        col(self._stack, self._foot, gap=4, host=self)
        self.hide()

    def set_dismissed(self, codes: Iterable[str]) -> None:
        self.dismissed = set(codes)
        self._show()

    def can_change(self, finding: Finding) -> bool:
        """Whether the run's stage has the settings that would be changed."""
        return self.offers_changes and bool(finding.change) and all(name in self.follower.run.spec for name in finding.change or ())

    def look(self) -> None:
        """Ask the rules, if there is something new and they were not asked just now."""
        follower = self.follower
        if follower.loading:
            return
        state = follower.state
        seen = (state.metrics.version, len(state.evaluations), follower.active)
        if seen == self._seen:
            return
        wait = self._looked + LOOK_SECONDS - time.monotonic()
        if wait > 0 and follower.active:
            if not self._later.isActive():
                self._later.start(int(1000 * wait) + 1)
            return
        self._seen, self._looked = seen, time.monotonic()
        self.findings = rules(state, follower.run.stage, follower.run.spec, self.findings)
        self._show()

    def put_away(self, code: str) -> None:
        self.dismissed.add(code)
        self.put_away_one.emit(code)
        self._show()

    def _show_all(self) -> None:
        self._all = True
        self._show()

    def _show(self) -> None:
        found = [one for one in self.findings if one.code not in self.dismissed]
        shown = found if self._all else found[:1]
        wanted = [(one.code, one.level, self.can_change(one)) for one in shown]
        if wanted != [(code, note.finding.level, self.can_change(note.finding)) for code, note in self._notes.items()]:
            clear(self._stack.layout())
            self._notes = {one.code: _FindingNote(self, one) for one in shown}
            for note in self._notes.values():
                self._stack.layout().addWidget(note)
        for one in shown:
            self._notes[one.code].tell(one)
        more = len(found) - len(shown)
        self._more.set_words(trn("{count} more finding", "{count} more findings", more))
        show_if(self._foot, more > 0)
        show_if(self, bool(shown))
