"""A suite of the person's own: its name, what is right, and its questions, one of them open to be changed. Saved as a whole."""

from pathlib import Path
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFileDialog, QPlainTextEdit, QWidget

from desktop.context import AppContext
from desktop.models import evaluate_suites
from desktop.models.evaluate_suites import GRADERS, SuiteDraft, answers_of, edited, prompt_of
from desktop.widgets.buttons import Button
from desktop.widgets.columns import Columns
from desktop.widgets.fields import Choice, Lines, TextField
from desktop.widgets.layout import col, row, show_if
from desktop.widgets.notes import NoteSlot
from desktop.widgets.panel import Panel, heading, table_panel
from desktop.widgets.table import Cell, Column, Table
from desktop.widgets.text import Text, small
from engine.contract.errors import FledgeError
from engine.contract.units import number
from engine.contract.words import tr, trn
from engine.project.examples import ExampleSet

SIDE = 348
FILTER = tr("Questions (*.jsonl *.json *.csv)")


class SuiteView(QWidget):
    """`saved(id)` and `closed`. The page shows `save` and `cancel` in its header."""

    saved = Signal(str)
    closed = Signal()

    def __init__(self, context: AppContext) -> None:
        super().__init__()
        self.context, self.theme, theme = context, context.theme, context.theme
        self.draft = SuiteDraft()
        self._loading, self.dirty = False, False
        self.notes = NoteSlot(theme)
        self.title, self.sentence = TextField(name=tr("Name")), TextField(name=tr("What it measures"), placeholder=tr("In a sentence"))
        self.grader = Choice(theme, (), name=tr("Right is"))
        for control in (self.title, self.sentence, self.grader):
            control.changed.connect(self._head_edited)
        head = Panel(row(col(small(tr("Name")), self.title, gap=4), col(small(tr("What it measures")), self.sentence, gap=4),
                         col(small(tr("Right is")), self.grader, gap=4), gap=12), pad=(16, 10, 16, 14))
        self.table = Table(theme, [Column(tr("Question"), lambda r: Cell(one_line(prompt_of(r)), tip=prompt_of(r)[:400]), least=200),
                                   Column(tr("Known answers"), lambda r: Cell(one_line(" / ".join(answers_of(r))), tone="text2"), 220,
                                          drop=1)], name=tr("Questions of the suite"))
        self.table.setMinimumHeight(theme.px(320))
        self.table.chosen.connect(lambda _: self._show_row())
        self._count = small()
        self.from_set = Choice(theme, (), name=tr("From a set of the library"), placeholder=tr("From a set of the library"),
                               empty=tr("No set in the library"))
        self.from_set.changed.connect(self._take_set)
        self.from_file = Button(theme, tr("From a file"), icon="in", on_click=self.choose_file)
        self.add = Button(theme, tr("Add a question"), icon="plus", on_click=self._add)
        listed = table_panel(heading(tr("Questions"), "", self._count), self.table,
                             row((self.from_set, 1), self.from_file, self.add, gap=8, pad=(8, 0, 8, 0)))
        self.prompt = QPlainTextEdit()
        self.prompt.setProperty("kind", "field")
        self.prompt.setAccessibleName(tr("Question"))
        self.prompt.setTabChangesFocus(True)
        self.prompt.setMinimumHeight(theme.px(110))
        self.prompt.textChanged.connect(self._row_edited)
        self.answers = Lines(name=tr("Known answers"), rows=4, theme=theme, placeholder=tr("One a line; each of them is right"))
        self.answers.changed.connect(self._row_edited)
        self.delete = Button(theme, tr("Delete"), "danger", icon="trash", on_click=self._delete)
        self._keeps = small(wrap=True)
        self._one = Panel(Text(tr("The question"), "section"), self.prompt, small(tr("Known answers, one a line")), self.answers,
                          self._keeps,
                          row("+", self.delete), pad=(16, 10, 16, 14), gap=8)
        self._none = Panel(Text(tr("The question"), "section"),
                           small(tr("Choose one in the list to change it, or add one. A set of the library or a file brings many at once: "
                                    "columns are found by their usual names (prompt, question, answer, solution …)."), wrap=True),
                           pad=(16, 10, 16, 14), gap=8)
        side = col(self._one, self._none, "+", gap=12)
        main = col(head, self.notes, (listed, 1), gap=12)
        col((Columns(theme, main, side, side_width=SIDE, gap=12), 1), gap=0, host=self)
        self.save = Button(theme, tr("Save the suite"), "primary", icon="save", on_click=self._save)

    # showing ----------------------------------------------------------------------------------------------------------

    def load(self, draft: SuiteDraft, sets: list[ExampleSet]) -> None:
        """Fill the form; not an edit."""
        self._loading = True
        self.draft, self.dirty = draft, False
        self.title.set(draft.title)
        self.sentence.set(draft.sentence)
        choices = [("exact", tr("The same text")), ("contains", tr("Contains the answer")), ("number", tr("Ends with the number"))]
        if draft.grader not in GRADERS:
            choices.append((draft.grader, tr("As its file says")))
        self.grader.set_choices(choices)
        self.grader.set(draft.grader)
        self.grader.setEnabled(draft.kind == "questions")
        self.from_set.set_choices([(s.id, tr("From “{title}” ({count})", title=s.title, count=number(s.count))) for s in sets])
        self._loading = False
        self.notes.clear()
        self.table.clearSelection()
        self._list()

    def _list(self, chosen: int = -1) -> None:
        self.table.rows_model.set(self.draft.rows)
        many = len(self.draft.rows)
        self._count.set(trn("{shown} question", "{shown} questions", many, shown=number(many)))
        if 0 <= chosen < many:
            self.table.select(chosen)
        self._show_row()
        self._look()

    def _place(self) -> int:
        rows = self.table.selectionModel().selectedRows()
        return rows[0].row() if rows else -1

    def _show_row(self) -> None:
        place = self._place()
        show_if(self._one, place >= 0)
        show_if(self._none, place < 0)
        if place < 0:
            return
        each = self.draft.rows[place]
        self._loading = True
        self.prompt.setPlainText(prompt_of(each))
        self.answers.set(tuple(answers_of(each)))
        self._loading = False
        kept = [words for key, words in (("choices", tr("its choices")), ("checks", tr("its checks")), ("schema", tr("its JSON schema")),
                                         ("pattern", tr("its pattern")), ("group", tr("its groups"))) if each.get(key)]
        self._keeps.set(tr("Kept as they are: {what}. They are changed in the suite's file.", what=", ".join(kept)) if kept else "")
        show_if(self._keeps, bool(kept))

    def _look(self) -> None:
        self.save.setEnabled(not self.draft.problem())
        self.save.setToolTip(self.draft.problem())

    # acting -----------------------------------------------------------------------------------------------------------

    def _head_edited(self) -> None:
        if not self._loading:
            self.draft.title, self.draft.sentence = self.title.value(), self.sentence.value()
            self.draft.grader = self.grader.value() or "exact"
            self.dirty = True
            self._look()

    def _row_edited(self) -> None:
        place = self._place()
        if not self._loading and place >= 0:
            self.draft.rows[place] = edited(self.draft.rows[place], self.prompt.toPlainText(), self.answers.value())
            self.table.rows_model.rows[place] = self.draft.rows[place]
            self.table.viewport().update()
            self.dirty = True
            self._look()

    def _add(self) -> None:
        self.draft.rows.append({"prompt": "", "answers": []})
        self.dirty = True
        self._list(len(self.draft.rows) - 1)
        self.prompt.setFocus()

    def _delete(self) -> None:
        place = self._place()
        if place < 0:
            return
        gone = self.draft.rows.pop(place)
        self.dirty = True
        self._list(min(place, len(self.draft.rows) - 1))

        def back() -> None:
            self.draft.rows.insert(place, gone)
            self._list(place)
        self.context.toast(tr("The question is deleted"), tr("Undo"), back)

    def choose_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, tr("A file of questions"), str(Path.home()), FILTER)
        if path:
            self.take_file(Path(path))

    def take_file(self, path: Path) -> None:
        self.context.jobs.run(lambda: evaluate_suites.of_file(path), then=self._taken, failed=self._failed, owner=self)

    def _take_set(self) -> None:
        project, id = self.context.project, self.from_set.value()
        if project is None or not id:
            return
        title = next((w for v, w in zip(self.from_set._values, [self.from_set.itemText(i) for i in range(self.from_set.count())],
                                        strict=True)
                      if v == id), "")
        library = project.library.examples

        def read() -> SuiteDraft:
            name = next((s.title for s in library.sets() if s.id == id), title)
            return evaluate_suites.of_set(name, library.for_training([id]))
        self.context.jobs.run(read, then=self._taken, failed=self._failed, owner=self)
        self.from_set.set(None)

    def _taken(self, found: SuiteDraft) -> None:
        """Questions from elsewhere join those that are here; the same one comes in once."""
        known = {(prompt_of(r), tuple(answers_of(r))) for r in self.draft.rows}
        fresh = [r for r in found.rows if (prompt_of(r), tuple(answers_of(r))) not in known]
        self.draft.rows += fresh
        if not self.draft.title.strip():
            self.draft.title = found.title
            self._loading = True
            self.title.set(found.title)
            self._loading = False
        self.dirty = True
        self.notes.clear()
        self._list()
        self.context.toast(trn("{shown} question added", "{shown} questions added", len(fresh), shown=number(len(fresh))))

    def _failed(self, wrong: Exception) -> None:
        if not isinstance(wrong, FledgeError):
            raise wrong
        self.notes.show_error(wrong)

    def _save(self) -> None:
        project, draft = self.context.project, self.draft
        if project is not None:
            self.context.jobs.run(lambda: evaluate_suites.save(project.dir, draft), then=self._is_saved, failed=self._failed, owner=self)

    def _is_saved(self, id: Any) -> None:
        self.draft.id, self.dirty = str(id), False
        self.saved.emit(str(id))


def one_line(text: str) -> str:
    return " ".join(text[:400].split())
