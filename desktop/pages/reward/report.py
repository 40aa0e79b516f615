"""The report of a finished reward model: how often it agrees, whether it may be believed, whether it likes length, what more labels would
buy, and the pairs on which it differs most, side by side. It is read in a thread."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from PySide6.QtWidgets import QSizePolicy, QWidget

from desktop.models.reward_report import KINDS, RewardReport, Share, Shown, facts
from desktop.pages.reward.plots import CalibrationPlot, IntervalLine, LearningCurve, RewardHistogram
from desktop.theme.theme import Theme
from desktop.widgets.badge import Badge
from desktop.widgets.bar import legend
from desktop.widgets.buttons import Button, Segments
from desktop.widgets.facts import Facts
from desktop.widgets.flexible import Beside, Flexible, Whole
from desktop.widgets.layout import Item, clear, col, fixed, row, show_if
from desktop.widgets.notes import NoteSlot
from desktop.widgets.panel import Panel, rule
from desktop.widgets.text import Icon, Text, small
from engine.contract.errors import FledgeError
from engine.contract.units import number, percent, significant
from engine.contract.words import tr
from engine.project.run_state import RunState

if TYPE_CHECKING:
    from desktop.context import AppContext

SIDE = 328
LONG = 1200
NAMED = 92


class Differences(Panel):
    """Pairs to look at, one at a time: where it contradicts people most, where it agrees most, where it is unsure."""

    def __init__(self, theme: Theme, report: RewardReport) -> None:
        self.theme = theme
        self._pairs = {kind: report.shown(kind) for kind in KINDS}
        names = {"worst": tr("Disagrees most"), "best": tr("Agrees most"), "unsure": tr("Least sure")}
        first = next((k for k in KINDS if self._pairs[k]), "worst")
        self.which = Segments(theme, [(k, names[k]) for k in KINDS], first, name=tr("Which pairs"), on_change=lambda kind: self._turn(0))
        for kind in KINDS:
            self.which.set_enabled(kind, bool(self._pairs[kind]), "" if self._pairs[kind] else tr("There is none."))
        self._place = 0
        self.where = small()
        self.before = Button(theme, kind="icon", icon="left", name=tr("Pair before"), on_click=lambda: self._turn(self._place - 1))
        self.after = Button(theme, kind="icon", icon="right", name=tr("Next pair"), on_click=lambda: self._turn(self._place + 1))
        self._words = small(wrap=True)
        self._prompt = Text("", "medium", wrap=True, select=True)
        self._answers = col(gap=0)
        super().__init__(row(Text(tr("Judgements"), "section"), "+", self.which, 8, self.before, self.where, self.after, gap=8),
                         self._words, self._prompt, self._answers, pad=(16, 12, 16, 14), gap=8)
        self._turn(0)

    @property
    def shown(self) -> Shown | None:
        found = self._pairs[self.which.value()]
        return found[self._place] if found else None

    def _turn(self, place: int) -> None:
        found = self._pairs[self.which.value()]
        self._place = max(0, min(place, len(found) - 1))
        self.before.setEnabled(self._place > 0)
        self.after.setEnabled(self._place < len(found) - 1)
        self.where.set(tr("{place} of {count}", place=self._place + 1, count=len(found)) if found else tr("none"))
        box = self._answers.layout()
        clear(box)
        pair = self.shown
        show_if(self._prompt, pair is not None)
        if pair is None:
            self._words.set(tr("Nothing was held out, so there is nothing to show."))
            return
        self._words.set(self._say(pair))
        earlier = pair.prompt[:-1]
        self._prompt.set(cut("\n\n".join(([tr("… {count} earlier turns", count=len(earlier))] if earlier else []) +
                                         [pair.prompt[-1][1] if pair.prompt else ""])))
        box.addWidget(row((self._side(pair, True), 1), (self._side(pair, False), 1), gap=12))

    def _say(self, pair: Shown) -> str:
        who = tr("labelled by {who}", who=pair.by) if pair.by else tr("labelled")
        strength = {1: tr("slightly better"), 2: tr("better"), 3: tr("much better")}.get(pair.strength, "")
        size = significant(abs(pair.margin), 2)
        words = tr("{size} apart, as people see it", size=size) if pair.right else tr("{size} apart, the other way round", size=size)
        return ", ".join(w for w in (words, who, strength) if w)

    def _side(self, pair: Shown, chosen: bool) -> QWidget:
        reward = pair.chosen_reward if chosen else pair.rejected_reward
        likes = (pair.margin > 0) == chosen and pair.margin != 0
        head = row(Badge(tr("people") if chosen else "", "ok"), Badge(tr("reward model") if likes else "", "accent"), "+",
                   Text(significant(reward, 3), "section", "accent" if likes else "text2"), gap=6)
        made = Panel(head, Text(cut(pair.chosen if chosen else pair.rejected) or tr("(nothing)"), "read", wrap=True, select=True), "+",
                     kind="sunken", pad=(14, 10, 14, 12), gap=6)
        return made


class Report(QWidget):
    """Of a run that is done; `loaded` once the file was read."""

    def __init__(self, context: "AppContext", state: RunState, artifact: str) -> None:
        super().__init__()
        self.context, self.theme, self.state = context, context.theme, state
        self.loaded: RewardReport | None = None
        self.differences: Differences | None = None
        self.notes = NoteSlot(self.theme)
        self._body = Flexible()
        col(gap=0, host=self._body)
        col(self.notes, (self._body, 1), gap=0, host=self)
        project = context.project
        assert project is not None
        self._sets: list[str] = []

        def read() -> tuple[RewardReport, list[str]]:
            made = project.artifacts.get(artifact)
            return RewardReport.read(made.path), [str(s) for s in made.spec.get("pairs") or ()]
        context.jobs.run(read, then=self._read, failed=self._not_read,
                         owner=self)

    def _not_read(self, wrong: Exception) -> None:
        if not isinstance(wrong, FledgeError):
            raise wrong
        self.notes.show_error(wrong)

    def _read(self, found: tuple[RewardReport, list[str]]) -> None:
        report, self._sets = found
        self.loaded = report
        theme = self.theme
        self.differences = Differences(theme, report)
        main = col(_shared(self._agreement(report), self._calibration(report)), _shared(self._rewards(report), self._length(report)),
                   self.differences, "+", gap=12, host=Whole())
        side = col(self._more(report), self._facts(), "+", gap=12, host=Whole())
        self._body.layout().addWidget(Beside(theme, main, side, side_width=SIDE, least=260), 1)

    # parts ------------------------------------------------------------------------------------------------------------

    def _agreement(self, report: RewardReport) -> QWidget:
        theme, share = self.theme, report.accuracy
        interval = tr("{low} to {high}, 95 % interval", low=percent(share.low or 0), high=percent(share.high or 0)) \
            if share.share is not None else ""
        head = row(Text(percent(share.share, 1) if share.share is not None else "–", "hero"),
                   col("+", small(interval), 4, gap=0), "+", gap=8)
        line = IntervalLine(theme, share.share, share.low, share.high, name=tr("Held-out accuracy: {words}", words=share.words))
        parts = report.by_strength if len(report.by_strength) > 1 else []
        people = report.by_annotator if len(report.by_annotator) > 1 else []
        outcome: Any = self.state.facts.get("outcome") or {}
        before = outcome.get("accuracy_before")
        beside = [(name, s) for name, s in ((tr("Before training"), Share(before, None, None, 0)),
                                            (tr("Pairs it learned"), Share.of(report.raw.get("accuracy_trained") or {})))
                  if s.share is not None]
        return Panel(row(Text(tr("Agrees with your labels"), "section"), "+", small(tr("dashed: guessing"), "text3"), gap=10), head, line,
                     Text(report.accuracy_words(), tone="text2", wrap=True), *self._lines(tr("Beside it"), beside),
                     *self._lines(tr("By strength"), parts), *self._lines(tr("By who labelled"), people), "+", pad=(16, 12, 16, 14), gap=6)

    def _lines(self, title: str, shares: Sequence[tuple[str, Share]]) -> list[Item]:
        if not shares:
            return []
        lines: list[Item] = [rule(), Text(title, "medium")]
        for name, share in shares:
            value = small(tr("{share} of {count}", share=percent(share.share or 0), count=number(share.count)) if share.count else
                          percent(share.share or 0))
            line = IntervalLine(self.theme, share.share, share.low, share.high, 16, name=f"{name} {share.words}")
            lines.append(row(self._named(name), (line, 1), value, gap=8))
        return lines

    def _named(self, name: str) -> QWidget:
        """A name before a line, all of one width."""
        return fixed(row(Text(name, "small", "text2", elide=True), gap=0), self.theme.px(NAMED))

    def _calibration(self, report: RewardReport) -> QWidget:
        plot = CalibrationPlot(self.theme, report.bins)
        return Panel(row(Text(tr("Right as often as it says"), "section"), gap=10),
                     small(tr("how sure it is, and how often it is right"), elide=True), plot,
                     small(report.calibration_words(), wrap=True), "+", pad=(16, 12, 16, 12), gap=4)

    def _rewards(self, report: RewardReport) -> QWidget:
        return Panel(row(Text(tr("Rewards"), "section"), "+", legend(self.theme, (tr("better answer"), "accent", False),
                                                                     (tr("worse answer"), "text3", False)), gap=12),
                     RewardHistogram(self.theme, report.histogram),
                     small(tr("The further apart the two lie, the clearer it tells answers apart."), wrap=True), "+", pad=(16, 12, 16, 12),
                     gap=4)

    def _length(self, report: RewardReport) -> QWidget:
        title, words, bad = report.length_words()
        wins = report.raw["length"]["longer_wins"]
        lines = [row(self._named(name), (IntervalLine(self.theme, s.share, s.low, s.high, 18, name=f"{name} {s.words}"), 1),
                     small(percent(s.share) if s.share is not None else "–"), gap=8)
                 for name, s in ((tr("People"), Share.of(wins["people"])), (tr("Reward model"), Share.of(wins["model"])))]
        return Panel(row(Icon(self.theme, "warn" if bad else "scale", "warn" if bad else "accent"), (Text(title, "section", wrap=True), 1),
                         gap=8),
                     Text(words, tone="text2", wrap=True), 4, small(tr("How often the longer answer wins")), *lines, "+",
                     pad=(16, 12, 16, 12), gap=5)

    def _more(self, report: RewardReport) -> QWidget:
        words, how = report.curve_words()
        plot = LearningCurve(self.theme, report.curve) if report.curve else None
        return Panel(Text(tr("What 50 more labels would buy"), "section"), Text(words, "medium", wrap=True), plot, small(how, wrap=True),
                     small(str(report.raw.get("curve_source", "")), "text3", wrap=True) if report.curve else None,
                     row(Button(self.theme, tr("Label the least sure ones"), icon="pairs",
                                on_click=lambda: self.context.navigate("preference", order="unsure", sets=self._sets)), "+", gap=0),
                     pad=(16, 12, 16, 14), gap=6)

    def _facts(self) -> QWidget:
        outcome: Any = self.state.facts.get("outcome") or {}
        return Panel(Text(tr("What was trained"), "section"), Facts(facts(outcome, self.state), gap=6), pad=(16, 12, 16, 14), gap=8)


def _shared(wide: QWidget, narrow: QWidget) -> QWidget:
    """Two panels beside one another, three to two, whatever their words are."""
    for panel in (wide, narrow):
        panel.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
    return row((wide, 3), (narrow, 2), gap=12)


def cut(text: str) -> str:
    return text if len(text) <= LONG else text[:LONG] + " …"

