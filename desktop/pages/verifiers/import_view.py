"""A file of problems before it is imported: its first problems as they would be read, in the view that every import of rows has."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from PySide6.QtWidgets import QWidget

from desktop.context import AppContext
from desktop.models.rows_import import RowsImportPlan
from desktop.widgets.badge import Badge
from desktop.widgets.fields import NumberField
from desktop.widgets.layout import Item, col, row, show_if
from desktop.widgets.panel import Panel
from desktop.widgets.rows_import import RowsImport
from desktop.widgets.text import Text, small
from engine.contract.rows import Problem
from engine.contract.words import tr, trn
from engine.project.problems import HELD_OUT_PERCENT

MODULE = "engine.stages.grpo.problems_process"
LONGEST = 600
"""Characters of a text that are shown before the import."""
_SOLVED = ("prompt", "answer", "difficulty", "held_out", "system")


@dataclass
class ProblemImportPlan(RowsImportPlan):
    """Rows that become problems."""

    every_part: ClassVar[tuple[str, ...]] = ("prompt", "answer", "choices", "solution", "difficulty", "held_out", "system")
    parts_of_kind: ClassVar[dict[str, tuple[str, ...]]] = {
        "fledge": (), "gsm8k": _SOLVED, "boxed": _SOLVED, "columns": every_part, "prompts": ("prompt", "difficulty", "held_out", "system")}
    marked: ClassVar[tuple[str, ...]] = ("prompt", "answer")

    def title_of(self, file: Path) -> str:
        return file.name.partition(".")[0] or file.name

    def part_words(self, part: str) -> tuple[str, str]:
        solved = self.mapping is not None and self.mapping.kind in ("gsm8k", "boxed")
        return {
            "prompt": (tr("Question"), tr("what is asked")),
            "answer": (tr("Answer"), tr("the solution it stands in") if solved else tr("the known one")),
            "choices": (tr("Choices"), tr("put behind the question")), "solution": (tr("Solution"), tr("kept beside the answer")),
            "difficulty": (tr("Difficulty"), tr("a number, or easy to hard")), "held_out": (tr("Held out"), tr("test, true, yes …")),
            "system": (tr("System prompt"), tr("how the model is to behave"))}[part]

    def unclear(self) -> str:
        return tr("It is not clear which columns hold questions and answers.")

    def none_of_them(self) -> str:
        return tr("None of the first rows is a problem.")


class ProblemImport(RowsImport):
    """Files of problems. Where no column says which are held out, a share of the prompts is."""

    def __init__(self, context: AppContext) -> None:
        self.held = NumberField(HELD_OUT_PERCENT, whole=False, name=tr("Held out, in percent"), low=0, high=90)
        super().__init__(context, ProblemImportPlan(), MODULE, _look, _kinds, problem_card, tr("Rows become problems"),
                         tr("a set of problems for a verifier"))
        self.held.changed.connect(self.refresh)

    def _more(self) -> tuple[Item, ...]:
        self._held_row = col(row(Text(tr("Held out, %"), "medium"), (small(tr("never trained on"), "text3", elide=True), 1), gap=8),
                             self.held, gap=4)
        return (self._held_row,)

    def _show_more(self) -> None:
        mapping = self.plan.mapping
        show_if(self._held_row, mapping is not None and mapping.kind != "fledge" and not mapping.held_out)

    def refresh(self) -> None:
        super().refresh()
        share = self.held.value()
        if self.held.wrong() or share is None or not 0 <= share <= 90:
            self.bring.setEnabled(False)

    def start(self) -> None:
        """Import by what is chosen."""
        project, plan = self.context.project, self.plan
        if project is None or plan.problems() or self._exporting.running:
            return
        self.notes.clear()
        self._bar.set(0)
        self._bar_words.set(tr("Reading…"))
        options: dict[str, Any] = {"title": self.title.value().strip(), "mapping": plan.plain}
        if not self._held_row.isHidden():
            options["held_out_percent"] = float(self.held.value() or 0)
        self._exporting.start(MODULE, str(project.dir), "import", plan.file, json.dumps(options))
        self.refresh()

    def _done(self, result: dict[str, Any]) -> None:
        super()._done({**result, "rows": result.get("added")})


def _look(file: Path, mapping: Any) -> Any:
    from engine.text.problem_files import look
    return look(file, mapping)


def _kinds() -> Any:
    from engine.text.problem_files import KINDS
    return KINDS


def problem_card(problem: Problem) -> QWidget:
    """A problem as it would be read."""
    asked = next((m.content for m in reversed(problem.prompt) if m.role == "user"), "")
    turns = sum(m.role != "system" for m in problem.prompt)
    level = tr("level {level}", level=f"{problem.difficulty:g}") if problem.difficulty is not None else ""
    head = row(small(tr("Question") if turns <= 1 else trn("Question, {count} turn", "Question, {count} turns", turns)), "+",
               Badge(level) if level else None, Badge(tr("held out"), "accent") if problem.held_out else None, gap=8)
    answer = problem.answer if isinstance(problem.answer, str) else str(problem.answer)
    return Panel(head, Text(asked[:LONGEST] + (" …" if len(asked) > LONGEST else ""), wrap=True),
                 Panel(row(small(tr("Answer")), (Text(answer[:LONGEST] or tr("(none)"), "medium", wrap=True), 1), gap=12), kind="sunken",
                       pad=(12, 6, 12, 6)), pad=(16, 10, 16, 14), gap=6)
