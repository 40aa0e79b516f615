"""The problems: which sets are worked on, the list with search and filter, and what can be done with one. Rows come a page at a time."""

from typing import Any

from PySide6.QtCore import QPoint, QSignalBlocker, Qt, QTimer, Signal
from PySide6.QtGui import QKeyEvent, QKeySequence, QResizeEvent
from PySide6.QtWidgets import QMenu

from desktop.context import AppContext
from desktop.models.workbench import Workbench
from desktop.models.workbench_state import ListedProblem
from desktop.widgets.buttons import Button
from desktop.widgets.fields import Choice, SearchField
from desktop.widgets.layout import col, fill, row, show_if
from desktop.widgets.panel import Panel
from desktop.widgets.table import Cell, Column, RowsModel, Table
from desktop.widgets.text import Text, small
from engine.contract.rows import Problem
from engine.contract.units import number
from engine.contract.words import tr

ALL = ""
TYPING_MS = 200
SORTS = (("place", tr("As they came")), ("difficulty", tr("Easy first")), ("-difficulty", tr("Hard first")), ("answer", tr("By answer")))
LONGEST = 200
WIDE, ANSWER = 320, (74, 96)
"""From this width on the answers have more room."""


def one_line(words: str, most: int = LONGEST) -> str:
    return " ".join(words[:2 * most].split())[:most]


def answer_words(problem: Problem) -> str:
    """A gold answer in a few words: a text as it is, anything else by its name."""
    answer = problem.answer
    if isinstance(answer, str):
        return one_line(answer, 80)
    if isinstance(answer, dict) and "tests" in answer:
        return tr("tests")
    return one_line(str(answer), 80)


class BenchRows(RowsModel):
    """The workbench's list; rows that are on their way are empty."""

    def __init__(self, columns: list[Column], bench: Workbench) -> None:
        super().__init__(columns)
        self._bench = bench

    def row(self, index: int) -> Any:
        return self._bench.problem(index)

    def rowCount(self, parent: Any = None) -> int:
        return self._bench.count if parent is None or not parent.isValid() else 0

    def reset(self) -> None:
        self.beginResetModel()
        self.endResetModel()


class ProblemTable(Table):
    """Delete removes, Enter edits."""

    remove_wanted = Signal()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.matches(QKeySequence.StandardKey.Delete):
            self.remove_wanted.emit()
        else:
            super().keyPressEvent(event)


class ProblemsPanel(Panel):
    """`wanted(what)`: generate, import, export, examples, look (for contamination), rename, delete, undo, redo. `edit_wanted`,
    `remove_wanted` and `hold_wanted(bool)` are about the chosen problem."""

    wanted = Signal(str)
    edit_wanted = Signal(object)
    remove_wanted = Signal()
    hold_wanted = Signal(bool)

    def __init__(self, context: AppContext, bench: Workbench) -> None:
        super().__init__()
        self.context, self.theme, self.bench = context, context.theme, bench
        theme = self.theme
        self._place = -1
        self._count = small(elide=True, align=Qt.AlignmentFlag.AlignRight)
        self.sets = Choice(theme, [], name=tr("Sets of problems"))
        self.sets.changed.connect(self._set_chosen)
        self.more = Button(theme, kind="icon", icon="more", name=tr("More about these problems"), on_click=self.open_menu)
        self.search = SearchField(tr("Search"), name=tr("Search problems and answers"))
        self._typing = QTimer(self)
        self._typing.setSingleShot(True)
        self._typing.setInterval(TYPING_MS)
        self._typing.timeout.connect(lambda: self.bench.set_search(self.search.value().strip()))
        self.search.changed.connect(self._typing.start)
        self._filter = small(tone="accent", elide=True)
        self._all = Button(theme, tr("Show all"), "quiet", on_click=lambda: self.bench.set_held_out(None))
        self._filter_row = row((self._filter, 1), self._all, pad=(8, 0, 4, 0))
        self._sets_row = row((self.sets, 1), self.more, gap=4, pad=(8, 2, 4, 0))
        columns = [Column(tr("Problem"), self._asked, least=110), Column(tr("Answer"), self._answer, 74, right=True),
                   Column(tr("Right"), self._right, 60, right=True, drop=1, tip=tr("How many of the model's answers score full")),
                   Column(tr("Level"), self._level, 60, right=True, drop=2)]
        self.rows = BenchRows(columns, bench)
        self.table = ProblemTable(theme, columns, name=tr("Problems"), model=self.rows)
        self.table.chosen.connect(self._row_chosen)
        self.table.opened.connect(lambda listed: self.edit_wanted.emit(listed) if listed is not None else None)
        self.table.remove_wanted.connect(self.remove_wanted)
        self.table.verticalScrollBar().valueChanged.connect(lambda _: self._want())
        self.table.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.table.customContextMenuRequested.connect(self._row_menu)
        self._none = Text(wrap=True, tone="text2")
        self._empty = col(8, self._none, "+", pad=(8, 0, 8, 0))
        self.generate = Button(theme, tr("Generate"), icon="plus", on_click=lambda: self.wanted.emit("generate"))
        self.bring = Button(theme, tr("Import"), on_click=lambda: self.wanted.emit("import"))
        fill(self.box, (row(Text(tr("Problems"), "section"), (self._count, 1), gap=10, pad=(8, 0, 8, 0)),
                         self._sets_row, row((self.search, 1), pad=(8, 0, 8, 2)), self._filter_row,
                         (self.table, 1), (self._empty, 1), row(self.generate, self.bring, "+", pad=(8, 4, 8, 4))), 6, (8, 12, 8, 8))
        bench.problems_changed.connect(self.refresh)
        bench.rows_arrived.connect(self._arrived)
        bench.scores_changed.connect(self.table.viewport().update)
        self.refresh()

    # cells ------------------------------------------------------------------------------------------------------------

    def _asked(self, listed: ListedProblem | None) -> Cell:
        if listed is None:
            return Cell("…", tone="text3")
        words, tips = one_line(listed.asked), [listed.asked[:600]]
        if listed.problem.held_out:
            tips.append(tr("Held out: never trained on."))
        found = [where for where, quote in listed.seen if quote]
        if found:
            tips.append(tr("Stands in {where}: what a model knows by heart shows nothing.", where=", ".join(found)))
            return Cell(words, icon="warn", tone="warn", tip="\n\n".join(tips))
        return Cell(words, tip="\n\n".join(tips))

    def _answer(self, listed: ListedProblem | None) -> Cell:
        return Cell("") if listed is None else Cell(answer_words(listed.problem), tip=str(listed.problem.answer)[:600])

    def _right(self, listed: ListedProblem | None) -> Cell:
        found = self.bench.result(listed.problem.id) if listed is not None else None
        if found is None:
            return Cell("")
        words = tr("{right} of {tried}", right=number(found.right), tried=number(found.tried))
        return Cell(words, tone="ok" if found.right == found.tried else "text2")

    def _level(self, listed: ListedProblem | None) -> Cell:
        if listed is None or listed.problem.difficulty is None:
            return Cell("")
        return Cell(number(listed.problem.difficulty), tone="text2")

    # showing ----------------------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        bench = self.bench
        titles = [(s.id, s.title) for s in reversed(bench.sets)]
        with QSignalBlocker(self.sets):
            if len(titles) > 1:
                titles.insert(0, (ALL, tr("All sets")))
            self.sets.set_choices(titles)
            if bench.chosen_sets:
                self.sets.set(bench.chosen_sets[0] if len(bench.chosen_sets) == 1 else ALL)
        total = sum(s.count for s in bench.sets if s.id in bench.chosen_sets)
        filtered = bool(bench.search) or bench.held_out is not None
        if not total:
            words = ""
        elif filtered:
            words = tr("{count} of {total}", count=number(bench.count), total=number(total))
        else:
            words = tr("{count}, {held} held out", count=number(total), held=number(bench.held_out_count))
        self._count.set(words)
        show_if(self._sets_row, bool(bench.sets))
        show_if(self.search, bool(total))
        kinds = {None: "", True: tr("Held out only"), False: tr("Trained on only")}
        self._filter.set(kinds[bench.held_out])
        show_if(self._filter_row, bench.held_out is not None)
        self.rows.reset()
        show_if(self.table, bench.count > 0)
        show_if(self._empty, bench.count == 0)
        self._none.set(tr("No problem fits.") if total else
                       tr("No problems yet. A problem is a question with an answer that is known: generate them by the hundred, or bring "
                          "them in from a file."))
        self._select_chosen()
        QTimer.singleShot(0, self, self._want)

    def _select_chosen(self) -> None:
        chosen = self.bench.chosen
        if chosen is None or not 0 <= self._place < self.rows.rowCount():
            return
        there = self.bench.problem(self._place)
        if there is None or there.problem.id == chosen.problem.id:
            with QSignalBlocker(self.table.selectionModel()):
                self.table.select(self._place)

    def _arrived(self, first: int, last: int) -> None:
        self.table.viewport().update()
        if self.bench.chosen is None and first == 0 and self.bench.problem(0) is not None:
            self.table.select(0)
        elif self.bench.chosen is not None and self.table.current_row() is None:
            place = next((i for i in range(first, last + 1)
                          if (found := self.bench.problem(i)) is not None and found.problem.id == self.bench.chosen.problem.id), -1)
            if place >= 0:
                self._place = place
                self._select_chosen()

    def _want(self) -> None:
        """Rows on the screen are asked for."""
        if self.rows.rowCount():
            first = max(0, self.table.rowAt(0))
            last = self.table.rowAt(self.table.viewport().height() - 1)
            self.bench.want(first, last if last >= 0 else self.rows.rowCount() - 1 if self.rows.rowCount() < 60 else first + 60)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        wide = self.width() >= self.theme.px(WIDE)
        self.table.horizontalHeader().resizeSection(1, self.theme.px(ANSWER[wide]))
        QTimer.singleShot(0, self, self._want)

    def _row_chosen(self, listed: ListedProblem | None) -> None:
        if listed is not None:
            self._place = self.table.currentIndex().row()
            self.bench.choose_problem(listed)

    def _set_chosen(self) -> None:
        chosen = self.sets.value()
        ids = tuple(s.id for s in self.bench.sets) if chosen in (ALL, None) else (str(chosen),)
        self._place = -1
        self.bench.set_sets(ids)

    # menus ------------------------------------------------------------------------------------------------------------

    def menu(self) -> QMenu:
        """What can be done with these problems."""
        menu, bench, icon = QMenu(self), self.bench, self.theme.icon
        one = len(bench.chosen_sets) == 1
        for held, words in ((None, tr("All problems")), (True, tr("Held out only")), (False, tr("Trained on only"))):
            act = menu.addAction(words, lambda held=held: bench.set_held_out(held))
            act.setCheckable(True)
            act.setChecked(bench.held_out is held)
        menu.addSeparator()
        for sort, words in SORTS:
            act = menu.addAction(words, lambda sort=sort: bench.set_sort(sort))
            act.setCheckable(True)
            act.setChecked(bench.sort == sort)
        menu.addSeparator()
        menu.addAction(icon("undo"), tr("Undo the last edit"), lambda: self.wanted.emit("undo"))
        menu.addAction(icon("redo"), tr("Redo"), lambda: self.wanted.emit("redo"))
        menu.addSeparator()
        menu.addAction(icon("in"), tr("From examples…"), lambda: self.wanted.emit("examples"))
        menu.addAction(icon("out"), tr("Export…"), lambda: self.wanted.emit("export")).setEnabled(bool(bench.chosen_sets))
        menu.addAction(icon("search"), tr("Look for them in the corpus…"), lambda: self.wanted.emit("look")).setEnabled(bench.count > 0)
        menu.addSeparator()
        menu.addAction(tr("Rename the set…"), lambda: self.wanted.emit("rename")).setEnabled(one)
        menu.addAction(icon("trash", "danger"), tr("Delete the set…"), lambda: self.wanted.emit("delete")).setEnabled(one)
        return menu

    def open_menu(self) -> None:
        self.menu().popup(self.more.mapToGlobal(QPoint(0, self.more.height() + 2)))

    def row_actions(self) -> QMenu:
        """What can be done with the chosen problem."""
        menu, listed, icon = QMenu(self), self.bench.chosen, self.theme.icon
        if listed is not None:
            menu.addAction(icon("edit"), tr("Edit…"), lambda: self.edit_wanted.emit(listed))
            held = listed.problem.held_out
            menu.addAction(tr("Train on it") if held else tr("Hold it out"), lambda: self.hold_wanted.emit(not held))
            menu.addAction(icon("trash", "danger"), tr("Remove"), self.remove_wanted.emit)
        return menu

    def _row_menu(self, at: QPoint) -> None:
        if self.table.indexAt(at).isValid():
            self.row_actions().popup(self.table.viewport().mapToGlobal(at))


