"""The model's answers to the chosen problem, with what the verifier said of each; one of them whole; and the note: what to look at."""

from typing import Any

from PySide6.QtCore import QTimer, Signal
from PySide6.QtWidgets import QDialog, QPlainTextEdit, QSizePolicy, QWidget

from desktop.context import AppContext
from desktop.models.workbench import Workbench
from desktop.models.workbench_state import Completion
from desktop.pages.verifiers.problems_panel import one_line
from desktop.pages.verifiers.results import NONE, score_words
from desktop.theme.theme import Theme
from desktop.widgets.buttons import Button
from desktop.widgets.facts import Facts
from desktop.widgets.layout import col, row, show_if
from desktop.widgets.panel import Panel
from desktop.widgets.table import Cell, Column, RowsModel, Table
from desktop.widgets.text import Icon, Text, small
from engine.contract.units import number
from engine.contract.words import tr, trn

TONES = {"ok": ("check", "ok"), "warning": ("warn", "warn"), "wrong": ("close", "text3"), "failure": ("error", "danger"), "": ("", "text3")}
ROWS, ROW = 3, 24


def error_words(error: str) -> str:
    """A kind of failure in words."""
    return {"program_timeout": tr("The program took too long."), "program_memory": tr("The program used too much memory."),
            "program_crash": tr("The program crashed."), "program_raised": tr("The program raised."),
            "timeout": tr("The verifier took too long."), "raised": tr("The verifier raised."),
            "memory": tr("The verifier used too much memory."), "crash": tr("The verifier crashed."),
            "not_a_number": tr("The verifier returned no number."), "out_of_range": tr("The verifier returned a number out of range."),
            "worker_death": tr("The sandbox died over it.")}.get(error, error)


class AnswerRows(RowsModel):
    """The workbench's completions; rows that are on their way are empty."""

    def __init__(self, columns: list[Column], bench: Workbench) -> None:
        super().__init__(columns)
        self._bench = bench

    def row(self, index: int) -> Any:
        return self._bench.completion(index)

    def rowCount(self, parent: Any = None) -> int:
        return self._bench.completion_count if parent is None or not parent.isValid() else 0

    def reset(self) -> None:
        self.beginResetModel()
        self.endResetModel()


class CompletionsPart(QWidget):
    """`line_wanted(line)`: where a verifier raised. Hidden while there is nothing to show."""

    line_wanted = Signal(int)

    def __init__(self, context: AppContext, bench: Workbench) -> None:
        super().__init__()
        self.context, self.theme, self.bench = context, context.theme, bench
        self._most = ROWS
        self._title, self._count = Text(role="strong", elide=True), small()
        self.all = Button(self.theme, tr("All"), "quiet", on_click=lambda: bench.show_all(not bench.all_completions))
        self._title.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
        columns = [Column("", self._score, 76), Column("", self._text, least=120)]
        self.rows = AnswerRows(columns, bench)
        self.table = Table(self.theme, columns, name=tr("Completions"), model=self.rows, row_height=ROW)
        self.table.horizontalHeader().setFixedHeight(0)
        self.table.horizontalHeader().hide()
        self.table.setShowGrid(False)
        self.table.opened.connect(self.show_one)
        self.table.clicked.connect(lambda index: self.show_one(self.rows.row(index.row())))
        self.table.verticalScrollBar().valueChanged.connect(lambda _: self._want())
        self._none = small(wrap=True)
        self._none_row = row((self._none, 1), pad=(16, 0, 16, 0))
        col(row(self._title, self._count, "+", self.all, gap=8, pad=(16, 0, 16, 0)), row((self.table, 1), pad=(5, 0, 8, 0)),
            self._none_row, gap=4, pad=(0, 8, 0, 6), host=self)
        for signal in (bench.completions_changed, bench.chosen_changed, bench.trial_changed):
            signal.connect(self.refresh)
        bench.completions_arrived.connect(lambda first, last: self.table.viewport().update())
        self.refresh()

    def _score(self, one: Completion | None) -> Cell:
        if one is None:
            return Cell("…", tone="text3")
        icon, tone = TONES.get(one.level, TONES[""])
        return Cell(score_words(one.score), icon=icon, tone=tone, strong=True, tip=one.message)

    def _text(self, one: Completion | None) -> Cell:
        if one is None:
            return Cell("")
        words = one_line(one.text, 300) or tr("(empty)")
        said = f"{error_words(one.error)} {one.message}".strip() if one.error else ""
        parts = ", ".join(f"{name} {score_words(value)}" for name, value in one.parts.items())
        return Cell(words, tone="text2", mono=True, tip="\n\n".join(x for x in (one.text[:800], parts, said) if x))

    def refresh(self) -> None:
        bench, chosen = self.bench, self.bench.chosen
        count = bench.completion_count
        self._title.set(tr("All problems") if bench.all_completions else one_line(chosen.asked) if chosen is not None else
                        tr("No problem chosen"))
        shown = min(count, self._most)
        self._count.set("" if not count else trn("{shown} completion", "{shown} completions", count, shown=number(count))
                        if count <= shown else tr("{shown} of {count} completions", shown=number(shown), count=number(count)))
        tried = bench.scores.tried if bench.scores is not None else 0
        total = tried or bench.trial.groups * bench.trial.k
        self.all.set_words(tr("This problem") if bench.all_completions else tr("All {count}", count=number(total)))
        show_if(self.all, total > 0)
        self.rows.reset()
        self.table.setFixedHeight(self.theme.px(ROW) * min(self._most, max(1, count)))
        show_if(self.table, count > 0)
        show_if(self._none_row, count == 0)
        if chosen is None and not bench.all_completions:
            self._none.set(tr("Choose a problem to see what is answered to it."))
        elif bench.trial.phase == "none" and not total:
            self._none.set(tr("Gold answer: {answer}. What a model answers stands here once one is tried.",
                              answer=one_line(str(chosen.problem.answer), 80) if chosen is not None else NONE))
        else:
            self._none.set(tr("The model was not asked this one."))
        QTimer.singleShot(0, self, self._want)

    def set_room(self, rows: int) -> None:
        """How many answers are seen at once."""
        if rows != self._most:
            self._most = rows
            self.refresh()

    def _want(self) -> None:
        if self.rows.rowCount():
            first = max(0, self.table.rowAt(0))
            self.bench.want_completions(first, first + self._most + 1)

    def show_one(self, one: Any) -> None:
        if one is not None:
            CompletionDialog(self.theme, one, self.line_wanted.emit, self).open()


class CompletionDialog(QDialog):
    """One answer whole: what was asked, what was answered, what the verifier said, and what it printed."""

    def __init__(self, theme: Theme, one: Completion, go: Any, parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle(tr("Answer"))
        self.resize(theme.px(640), theme.px(560))
        icon, tone = TONES.get(one.level, TONES[""])
        ends = {"stop": tr("ended by itself"), "length": tr("cut off: too long")}.get(one.finish, one.finish)
        facts = [(tr("Gold answer"), one_line(str(one.answer), 120)), (tr("Length"), tr("{tokens} tokens, {end}",
                                                                                        tokens=number(one.tokens), end=ends))]
        facts += [(name, score_words(value)) for name, value in one.parts.items()]
        facts.append((tr("Time of the call"), tr("{time} ms", time=f"{one.ms:.1f}")))
        text = QPlainTextEdit(one.text or tr("(empty)"))
        text.setReadOnly(True)
        text.setProperty("role", "mono")
        text.setAccessibleName(tr("The answer"))
        said = f"{error_words(one.error)} {one.message}".strip() if one.error else ""

        def leave() -> None:
            self.accept()
            go(one.line)
        done = Button(theme, tr("Close"), on_click=self.accept)
        col(row(Icon(theme, icon, tone) if icon else None, Text(tr("Score {score}", score=score_words(one.score)), "title"), "+"),
            Text(one.asked[:1000], "medium", wrap=True), (Panel((text, 1), kind="sunken", pad=(10, 8, 6, 8)), 3),
            Text(said, tone="danger", wrap=True) if said else None,
            *([small(tr("What it printed")), (_printed(one.printed), 1)] if one.printed else []),
            Facts(facts, elide=True), 4,
            row(Button(theme, tr("Go to line {line}", line=number(one.line)), on_click=leave) if one.line else None, "+", done),
            gap=8, pad=(24, 20, 24, 20), host=self)
        done.setFocus()


def _printed(words: str) -> QWidget:
    shown = QPlainTextEdit(words)
    shown.setReadOnly(True)
    shown.setProperty("role", "mono")
    shown.setAccessibleName(tr("What it printed"))
    return Panel((shown, 1), kind="sunken", pad=(10, 8, 6, 8))


class NoteStrip(Panel):
    """What to look at in the verifier, with the mended source where there is one."""

    line_wanted = Signal(int)

    def __init__(self, context: AppContext, bench: Workbench) -> None:
        super().__init__(kind="note-warn", flat=True, pad=(12, 8, 8, 8))
        self.bench, theme = bench, context.theme
        self.words = small("", "", wrap=True)
        self.apply = Button(theme, tr("Apply"), on_click=bench.apply_note)
        self.go = Button(theme, tr("Show"), on_click=self._go)
        for item in (Icon(theme, "warn", "warn"), self.words, self.go, self.apply):
            self.box.addWidget(item, 1 if item is self.words else 0)
        bench.note_changed.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        note = self.bench.note
        show_if(self, note is not None)
        if note is not None:
            self.words.set(note.sentence)
            show_if(self.apply, bool(note.source))
            show_if(self.go, not note.source and note.line is not None)
            self.setAccessibleName(self.words.words())

    def _go(self) -> None:
        if self.bench.note is not None and self.bench.note.line:
            self.line_wanted.emit(self.bench.note.line)

