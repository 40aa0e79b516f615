"""Evaluations made so far, newest first: open one, or choose two and compare them."""

from collections.abc import Sequence

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from desktop.context import AppContext
from desktop.models.evaluate_paper import summary
from desktop.models.evaluate_result import Result
from desktop.widgets.buttons import Button
from desktop.widgets.columns import Columns
from desktop.widgets.empty_state import EmptyState
from desktop.widgets.facts import Facts
from desktop.widgets.layout import col, show_if
from desktop.widgets.panel import Panel, heading, table_panel
from desktop.widgets.run_panel import clock
from desktop.widgets.table import Cell, Column, Table
from desktop.widgets.text import Text, small
from engine.contract.units import duration, number
from engine.contract.words import tr, trn
from engine.project.artifacts import Artifact

SIDE = 300


class StartView(QWidget):
    """`wanted(what, artifacts)`: "open" or "again" with one, "compare" with two."""

    wanted = Signal(str, object)

    def __init__(self, context: AppContext) -> None:
        super().__init__()
        self.theme, theme = context.theme, context.theme
        self._known: dict[str, Result] = {}
        self.table = Table(theme, [
            Column(tr("Evaluation"), lambda a: Cell(a.title, self._models(a), strong=True, tip=a.title), least=180),
            Column(tr("First figures"), lambda a: Cell(summary(self.result(a)), tone="text2", tip=summary(self.result(a))), 260, drop=1),
            Column(tr("Made"), lambda a: clock(a.created), 120, right=True, key=lambda a: a.created)],
            name=tr("Evaluations"), two_lines=True, multi=True)
        self.table.setMinimumHeight(theme.px(300))
        self.table.opened.connect(lambda a: self.wanted.emit("open", [a]))
        self.table.selectionModel().selectionChanged.connect(lambda *_: self._show())
        self._count = small()
        main = table_panel(heading(tr("Evaluations"), "", self._count), self.table)
        self._title, self._facts = Text("", "section", wrap=True), Facts(gap=6)
        self.open = Button(theme, tr("Look at it"), "primary", icon="evaluate", on_click=lambda: self._want("open"))
        self.again = Button(theme, tr("Measure again"), icon="refresh", on_click=lambda: self._want("again"))
        self.compare = Button(theme, tr("Compare the two"), icon="scale", on_click=lambda: self._want("compare"))
        self._hint = small(tr("Choose a second one with Ctrl to compare two."), wrap=True)
        self._one = Panel(self._title, self._facts, 4, self.open, self.compare, self.again, self._hint, pad=(16, 12, 16, 14), gap=8)
        side = col(self._one, "+", gap=12)
        col((Columns(theme, main, side, side_width=SIDE, gap=12), 1), gap=0, host=self)
        self._show()

    def result(self, made: Artifact) -> Result:
        if made.id not in self._known:
            self._known[made.id] = Result.of(made)
        return self._known[made.id]

    def _models(self, made: Artifact) -> str:
        return ", ".join(title for _, title in self.result(made).models)

    def set(self, made: Sequence[Artifact]) -> None:
        if list(made) != self.table.rows_model.rows:
            self.table.set_rows(list(made))
        self._count.set(trn("{shown} so far", "{shown} so far", len(made), shown=number(len(made))))
        if made and not self.table.selected_rows():
            self.table.select(0)
        self._show()

    def _show(self) -> None:
        chosen = self.table.selected_rows()
        show_if(self._one, bool(chosen))
        show_if(self.open, len(chosen) == 1)
        show_if(self.again, len(chosen) == 1)
        show_if(self.compare, len(chosen) == 2)
        show_if(self._hint, len(chosen) != 2)
        if not chosen:
            return
        if len(chosen) == 1:
            result = self.result(chosen[0])
            self._title.set(chosen[0].title)
            self._facts.set([(tr("Models"), number(len(result.models))), (tr("Suites"), number(len(result.suites))),
                             (tr("Answers"), number(result.facts.get("rows") or 0)),
                             (tr("Took"), duration(float(result.facts.get("seconds") or 0.0)))])
        else:
            self._title.set(trn("{count} evaluation chosen", "{count} evaluations chosen", len(chosen)))
            self._facts.set([])
            self._hint.set(tr("Two can be compared at a time."))
        if len(chosen) == 1:
            self._hint.set(tr("Choose a second one with Ctrl to compare two."))

    def _want(self, what: str) -> None:
        chosen = self.table.selected_rows()
        if chosen:
            self.wanted.emit(what, sorted(chosen, key=lambda a: a.created))


def empty_state(context: AppContext, begin, has_model: bool) -> EmptyState:
    """What the page shows before anything was measured."""
    theme = context.theme
    steps = [(tr("A model"), tr("pretrained, fine-tuned or imported"), has_model), (tr("Suites"), tr("questions, loss, a judge, or you"),
                                                                                    False),
             (tr("Figures"), tr("each with the range it could have"), False)]
    if has_model:
        return EmptyState(theme, tr("Nothing measured yet"),
                          tr("Ask models the same questions and see which is better, and whether that is more than chance. Every answer is "
                             "kept, to be looked at."),
                          Button(theme, tr("Measure a model"), "primary", icon="evaluate", on_click=begin), steps=steps)
    return EmptyState(theme, tr("No model to measure yet"),
                      tr("Any model or checkpoint can be measured, while its run goes on. Pretraining makes the first, or begin with an "
                         "open model."),
                      Button(theme, tr("Pretrain a model"), "primary", on_click=lambda: context.navigate("pretrain")),
                      Button(theme, tr("Import a model"), icon="in", on_click=lambda: context.navigate("import_model")), steps=steps)
