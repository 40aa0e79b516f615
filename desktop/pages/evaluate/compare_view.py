"""Two evaluations compared: a model of each, suite by suite, on the same questions; and the questions where they differ."""

from collections.abc import Sequence
from typing import Any

from PySide6.QtWidgets import QWidget

from desktop.context import AppContext
from desktop.models.evaluate_compare import Shared, Side, compare
from desktop.models.evaluate_result import Result
from desktop.pages.evaluate.answers_view import AnswersView
from desktop.widgets.fields import Choice
from desktop.widgets.layout import col, row, show_if
from desktop.widgets.notes import NoteSlot
from desktop.widgets.panel import Panel, heading, table_panel
from desktop.widgets.table import Cell, Column, Table
from desktop.widgets.text import Icon, Text, small
from engine.contract.errors import FledgeError
from engine.contract.words import tr
from engine.project.artifacts import Artifact


class CompareView(QWidget):
    def __init__(self, context: AppContext) -> None:
        super().__init__()
        self.context, self.theme, theme = context, context.theme, context.theme
        self._made: list[Artifact] = []
        self._asked: Any = None
        self.notes = NoteSlot(theme)
        self._titles = [Text("", "strong", elide=True) for _ in range(2)]
        self.models = [Choice(theme, (), name=tr("Model of the first evaluation")), Choice(theme, (),
                                                                                           name=tr("Model of the second evaluation"))]
        for choice in self.models:
            choice.changed.connect(self._compare)
        sides = [(col(title, choice, gap=6), 1) for title, choice in zip(self._titles, self.models, strict=True)]
        chooser = Panel(row(sides[0], col("+", Icon(theme, "right", "text3"), 8, gap=0), sides[1], gap=16), pad=(16, 10, 16, 14))
        self.table = Table(theme, [
            Column(tr("Suite"), lambda s: Cell(s.title, s.unit, strong=True), least=170),
            Column(tr("First"), lambda s: Cell(*s.first, strong=True), 112), Column(tr("Second"), lambda s: Cell(*s.second, strong=True),
                                                                                    112),
            Column(tr("Difference"), self._difference, 148), Column(tr("What it rests on"), lambda s: Cell(s.meaning, tone="text2",
                                                                                                           tip=s.meaning),
                                                                     least=190, drop=1)],
            name=tr("Suites of both evaluations"), row_height=54, fit=True)
        self.table.chosen.connect(self._chosen)
        self._words = small(wrap=True)
        legend = row(Icon(theme, "uparrow", "ok"), small(tr("the second is really better")), Icon(theme, "downarrow", "danger"),
                     small(tr("really worse")), gap=6)
        self.answers = AnswersView(context)
        col(chooser, self.notes, table_panel(heading(tr("Suites of both"), "", legend), self.table,
                                             row((self._words, 1), pad=(8, 0, 8, 0))), self.answers, "+", gap=12, host=self)

    def load(self, first: Artifact, second: Artifact) -> None:
        self._made = [first, second]
        for made, title, choice in zip(self._made, self._titles, self.models, strict=True):
            title.set(made.title)
            choice.set_choices(Result.of(made).models)
        models = [Result.of(m).models for m in self._made]
        both = [id for id, _ in models[0] if id in dict(models[1])]
        self.models[0].set(both[0] if both else models[0][-1][0] if models[0] else None)
        self.models[1].set(both[0] if both else models[1][-1][0] if models[1] else None)
        self._compare()

    def _compare(self) -> None:
        sides = [Side(made, str(choice.value() or "")) for made, choice in zip(self._made, self.models, strict=True)]
        self._asked = asked = [(s.made.id, s.model) for s in sides]
        self._words.set(tr("Reading the answers…"))
        show_if(self._words, True)

        def show(found: Sequence[Shared]) -> None:
            if asked != self._asked:
                return
            self.table.set_rows(list(found))
            words = "" if found else tr("These evaluations have no suite in common that both models were measured by.")
            self._words.set(words)
            show_if(self._words, bool(words))
            show_if(self.answers, bool(found))
            if found:
                self.table.select(0)
                self._chosen(self.table.current_row())

        def failed(wrong: Exception) -> None:
            if not isinstance(wrong, (FledgeError, OSError)):
                raise wrong
            self.notes.show_error(wrong if isinstance(wrong, FledgeError) else FledgeError(str(wrong), tr("Try again.")))
        self.context.jobs.run(lambda: compare(*sides), then=show, failed=failed, owner=self)

    def _chosen(self, shared: Shared | None) -> None:
        if shared is None:
            return
        show_if(self.answers, bool(shared.sources))
        if shared.sources:
            self.answers.set(shared.id, shared.sources)

    def _difference(self, shared: Shared) -> Cell:
        if not shared.mark:
            return Cell(shared.difference, tr("not a real one") if shared.difference else "", strong=True)
        up = shared.mark > 0
        return Cell(shared.difference, tr("better") if up else tr("worse"), tone="ok" if up else "danger",
                    icon="uparrow" if up else "downarrow", strong=True)
