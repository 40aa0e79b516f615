"""What the policy wrote, whole: the problems of a round with how its answers fared, the answers to one of them with what their rewards are
made of, filters, and one problem over the whole run.

Files are read and filtered in threads.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtWidgets import QVBoxLayout

from desktop.models import rollout_rows
from desktop.models.rollout_rows import ANY, Group, Wanted, error_words
from desktop.widgets.buttons import Button
from desktop.widgets.fields import Choice, NumberField, SearchField, Tick
from desktop.widgets.flexible import Poured, Turning
from desktop.widgets.layout import Scroll, col, fixed, row, show_if
from desktop.widgets.metric_chart import MetricChart
from desktop.widgets.plot import Curve
from desktop.widgets.table import Cell, Column, Table
from desktop.widgets.text import Text, small
from desktop.widgets.tuning.card_pages import CardPages, pour
from desktop.widgets.tuning.rollout_card import rollout_card, shortened
from desktop.widgets.tuning.rollouts import OfRounds
from engine.contract.units import number, significant
from engine.contract.words import tr, trn

if TYPE_CHECKING:
    from desktop.context import AppContext

PAGE = 6
LONGEST = 2_000
"""Characters of an answer that are shown."""
ASKED = 400
NOTHING, NOBODY = Wanted(), -1


class RolloutBrowser(OfRounds):
    """`stride`: updates of a round, so that rounds can be counted."""

    def __init__(self, context: "AppContext", run_dir: Path, active: Callable[[], bool], stride: int = 1) -> None:
        super().__init__(context, run_dir, active)
        theme, self._stride = self.theme, max(1, stride)
        self.wanted = NOTHING
        self.groups: list[Group] = []
        self.group: Group | None = None
        self.problem = ""  # one problem over the whole run; "" for the problems of a round
        self._asked, self._shown = 0, None
        self.search = SearchField(tr("Find in questions and answers"))
        self.low = NumberField(None, whole=False, optional=True, name=tr("Reward from"))
        self.high = NumberField(None, whole=False, optional=True, name=tr("Reward to"))
        self.cut = Tick(theme, tr("Cut"))
        self.cut.setToolTip(tr("Only answers that reached the longest length without an end."))
        self.errors = Choice(theme, [("", tr("All"))], "", name=tr("Errors of the verifier"))
        for field in (self.low, self.high):
            field.setPlaceholderText(tr("any"))
        for field in (self.search, self.low, self.high, self.cut, self.errors):
            field.changed.connect(self._filter)
        self.clear_filter = Button(theme, tr("Clear"), "quiet", on_click=self._clear_filter, tip=tr("Show all answers again"))
        by_value = row(small(tr("Reward")), fixed(self.low, theme.px(56)), small("–"), fixed(self.high, theme.px(56)), 4, self.cut, 4,
                       small(tr("Errors")), fixed(self.errors, theme.px(150)), self.clear_filter, "+", gap=6)
        self.search.setMinimumWidth(theme.px(160))
        self._tools = Turning(theme, (self.search, 2), (by_value, 5), needed=680, gap=10)
        self._title = Text(role="section")
        self.back = Button(theme, tr("All problems"), "quiet", icon="left", on_click=lambda: self.show_problem(""))
        self._fact = small()
        self.table = Table(theme, self._columns(), name=tr("Problems of the round"))
        self.table.setMinimumHeight(theme.px(160))
        self.table.chosen.connect(self._choose)
        self.table.opened.connect(lambda group: self.show_problem(group.problem))
        self.left_side = col(row(self._title, self.back, (self._fact, 1), self.newest, self.earlier, self._where, self.later, gap=6),
                             (self.table, 1), gap=6)
        self._prompt, self._answer = Text("", "medium", wrap=True, select=True), small(wrap=True)
        self.over = Button(theme, tr("Over the run"), "quiet", icon="runs", tip=tr("All answers to this problem, round by round"),
                           on_click=lambda: self.show_problem(self.group.problem) if self.group is not None else None)
        self.chart = MetricChart(theme, tr("Reward of this problem"), controls=False, name=tr("Mean reward of this problem, by round"))
        self.chart.setFixedHeight(theme.px(150))
        inner = Poured()
        self._box = QVBoxLayout(inner)
        self._box.setContentsMargins(0, 0, 8, 0)
        self._box.setSpacing(8)
        self._scroll = Scroll(inner, horizontal=False)
        self.pages = CardPages(theme, PAGE, self._show)
        self.right_side = col(self.chart, row((col(self._prompt, self._answer, gap=2), 1), self.over, gap=8),
                              (self._scroll, 1), row("+", self.pages.before, self.pages.words, self.pages.after, gap=4), gap=8)
        self._hint = Text(tr("They come with the first round: each problem, the answers to it, and what the verifier says of them."),
                          tone="text2", wrap=True)
        self._none = Text(tr("No answer of this round is like that."), tone="text2", wrap=True)
        self._sides = Turning(theme, (self.left_side, 1), (self.right_side, 1), needed=700, gap=24)
        col(self._tools, self._hint, self._wrong, self._none, (self._sides, 1), gap=10, host=self)
        self._show_place()
        self._show()

    def _columns(self) -> list[Column]:
        def place(group: Group) -> str:
            return number(group.step // self._stride + 1)

        def signal(group: Group) -> Cell:
            if group.errors:
                return Cell(number(group.errors), icon="error", tone="danger")
            return Cell(tr("none"), tone="text3") if group.silent else Cell("± " + significant(group.spread, 2))
        return [Column(tr("Round"), place, key=lambda g: g.step) if self.problem else
                Column(tr("Problem"), lambda g: g.prompt, key=lambda g: g.prompt.lower()),
                Column(tr("Reward"), lambda g: Cell(significant(g.mean, 2) if g.mean else "0", strong=True), 72, right=True,
                       key=lambda g: g.mean),
                Column(tr("Signal"), signal, 84, right=True, key=lambda g: (g.errors, g.spread)),
                *([Column(tr("Answers"), lambda g: number(g.count), 76, right=True)] if self.problem else [])]

    # what is shown ----------------------------------------------------------------------------------------------------

    def shown(self, turned: bool) -> None:
        if turned or not self.groups:
            self._look()
        else:
            self._show()

    def show_problem(self, problem: str) -> None:
        """One problem over the whole run; "": back to the problems of a round."""
        if problem == self.problem:
            return
        self.problem = problem
        self._rebuild_table()
        if problem:
            self._fact.set(tr("looking through the run …"))
        self._look()

    def _rebuild_table(self) -> None:
        old, box = self.table, self.left_side.layout()
        self.table = Table(self.theme, self._columns(), name=tr("Rounds of the problem") if self.problem else tr("Problems of the round"))
        self.table.setMinimumHeight(self.theme.px(160))
        self.table.chosen.connect(self._choose)
        if not self.problem:
            self.table.opened.connect(lambda group: self.show_problem(group.problem))
        box.replaceWidget(old, self.table)
        show_if(old, False)
        old.deleteLater()
        self.groups, self.group = [], None

    def _clear_filter(self) -> None:
        self.search.set("")
        for field in (self.low, self.high):
            field.set(None)
        self.cut.set(False)
        self.errors.set("")
        self._filter()

    def _filter(self) -> None:
        self.wanted = Wanted(self.low.value(), self.high.value(), str(self.search.value()).strip(), bool(self.cut.value()),
                             str(self.errors.value() or ""))
        self._look()

    def _look(self) -> None:
        """Groups of the present round, or of the problem over the run, in a thread; what was asked before is forgotten."""
        self._asked += 1
        asked, rows, wanted, problem, folder = self._asked, self.round.rows, self.wanted, self.problem, self._dir

        def work() -> tuple[list[Group], list[str]]:
            found = rollout_rows.of_problem(folder, problem, lambda: asked != self._asked) if problem else rollout_rows.groups(rows)
            every = [row for group in found for row in group.rows]
            kept = [made for made in (rollout_rows.filtered(group, wanted) for group in found) if made is not None]
            return kept, rollout_rows.errors_in(every)

        def then(found: tuple[list[Group], list[str]]) -> None:
            if asked == self._asked:
                self._take(*found)
        self.context.jobs.run(work, then=then, failed=self._failed, owner=self)

    def _take(self, found: list[Group], errors: list[str]) -> None:
        chosen = self.errors.value()
        kinds = [("", tr("All")), *([(ANY, tr("With an error"))] if errors else []), *((kind, error_words(kind)) for kind in errors)]
        if chosen and all(kind != chosen for kind, _ in kinds):
            kinds.append((chosen, tr("With an error") if chosen == ANY else error_words(str(chosen))))
        self.errors.set_choices(kinds)
        self.errors.set(chosen or "")
        before = self.group
        self.groups = found
        self.table.set_rows(found)
        self.group = next((g for g in found if before is not None and (g.step, g.id) == (before.step, before.id)), None) \
            or next((g for g in found if before is not None and not self.problem and g.problem == before.problem), None)
        if self.group is None and found:
            self.group = found[-1] if self.problem else next((g for g in found if not g.silent or g.errors), found[0])
        if self.group is not None:
            self.table.select(self.table.rows_model.rows.index(self.group))
        self.pages.page = 0
        self._show()

    def _choose(self, group: Group | None) -> None:
        if group is not None and group is not self.group:
            self.group, self.pages.page = group, 0
            self._show()

    # showing ----------------------------------------------------------------------------------------------------------

    def _show(self) -> None:
        there, group, whole = bool(self.round.steps), self.group, bool(self.problem)
        self._title.set(tr("One problem") if whole else tr("Problems"))
        silent, failed = sum(g.silent for g in self.groups), sum(g.errors for g in self.groups)
        self._fact.set(trn("{count} round", "{count} rounds", len(self.groups)) if whole else
                       trn("the verifier failed on {count} answer", "the verifier failed on {count} answers", failed) if failed else
                       tr("{silent} of {count} without a signal", silent=number(silent), count=number(len(self.groups))) if there else "")
        show_if(self._hint, not there)
        show_if(self._tools, there)
        show_if(self.clear_filter, not self.wanted.everything)
        show_if(self._none, there and not self.groups and not self.wanted.everything)
        show_if(self._sides, bool(self.groups) or not self.wanted.everything and there)
        show_if(self.back, whole)
        show_if(self.chart, whole)
        for widget in (self.earlier, self.later, self._where):
            show_if(widget, there and not whole)
        show_if(self.newest, there and not whole and self.place < len(self.round.steps) - 1)
        show_if(self.right_side, group is not None)
        if group is None:
            return
        if whole:
            points = [(float(g.step // self._stride + 1), g.mean) for g in self.groups]
            self.chart.set_curves([Curve(tr("mean of its answers"), "series2", points=points, dots=True)])
            self.chart.refresh()
        self._prompt.set(shortened(group.prompt, ASKED))
        told = [tr("known answer: {answer}", answer=shortened(group.answer, 80))] if group.answer else []
        if whole:
            told.insert(0, tr("round {round}", round=number(group.step // self._stride + 1)))
        if group.silent and not group.errors:
            told.append(tr("all got the same reward, nothing is learned from them"))
        if len(group.rows) < group.count:
            told.append(tr("{shown} of {count} answers shown", shown=number(len(group.rows)), count=number(group.count)))
        self._answer.set(", ".join(told))
        show_if(self._answer, bool(told))
        show_if(self.over, bool(group.problem) and not whole)
        rows = sorted(group.rows, key=lambda r: (rollout_rows.has_reward(r), -r.reward))
        shown = self.pages.take(rows)
        if shown == self._shown:
            return
        self._shown = shown
        pour(self._box, (rollout_card(self.theme, each, group.mean, asked=False, signed=False, long=LONGEST) for each in shown))
        self._scroll.verticalScrollBar().setValue(0)
