"""A finished export: whether it is faithful, its figures, its files, and lines to copy into a terminal or a program."""

from typing import TYPE_CHECKING

from PySide6.QtWidgets import QVBoxLayout, QWidget

from desktop.models.export_plan import precision_words
from desktop.models.export_result import TARGET_WORDS, Result
from desktop.widgets.badge import Badge
from desktop.widgets.columns import Columns
from desktop.widgets.facts import Facts, Stat
from desktop.widgets.layout import clear, col, fixed, row, show_if
from desktop.widgets.notes import Note, NoteSlot
from desktop.widgets.panel import Panel, heading, rule
from desktop.widgets.snippet import Snippet
from desktop.widgets.table import Cell, Column, Table
from desktop.widgets.text import Icon, Text, small
from engine.contract.units import count, size
from engine.contract.words import tr

if TYPE_CHECKING:
    from desktop.context import AppContext

MARKS = {tr("Faithful"): ("check", "ok"), tr("Not faithful"): ("error", "danger")}
SHOWN_HASH = 16


class ResultView(QWidget):
    def __init__(self, context: "AppContext", side: QWidget) -> None:
        super().__init__()
        self.context, theme = context, context.theme
        self.theme = theme
        self.notes = NoteSlot(theme)
        self._mark, self._title, self._badge = Icon(theme, "info"), Text(role="section"), Badge()
        self._sentence = Text(tone="text2", wrap=True)
        self._figures = QWidget()
        self._figures_box = QVBoxLayout(self._figures)
        self._figures_box.setContentsMargins(0, 4, 0, 0)
        self._parts = QWidget()
        self._parts_box = QVBoxLayout(self._parts)
        self._parts_box.setContentsMargins(0, 0, 0, 0)
        self._parts_box.setSpacing(8)
        check = Panel(row(self._mark, self._title, "+", self._badge, gap=8), self._sentence, self._figures, self._parts,
                      pad=(16, 12, 16, 14), gap=6)
        self._files = Table(theme, [Column(tr("File"), lambda f: Cell(f[0], strong=True), least=150),
                                    Column(tr("Size"), lambda f: size(f[1]), 92, right=True),
                                    Column("SHA-256", lambda f: Cell(f[2][:SHOWN_HASH], tip=f[2], tone="text2"), 176, drop=1)],
                            name=tr("Files"), fit=True, max_rows=9, selectable=False)
        self._where = Snippet(theme, name=tr("Place"), said=context.toast)
        self._files_note = small()
        files = Panel(row(heading(tr("Files"), "", self._files_note), pad=(8, 0, 8, 0)), row(self._where, pad=(8, 0, 8, 0)), self._files,
                      pad=(8, 8, 8, 6), gap=6)
        self._facts = Facts(gap=6)
        facts = Panel(Text(tr("Export"), "section"), self._facts, pad=(16, 10, 16, 14), gap=8)
        self._use = QWidget()
        self._use_box = QVBoxLayout(self._use)
        self._use_box.setContentsMargins(0, 0, 0, 0)
        self._use_box.setSpacing(8)
        use = Panel(Text(tr("Use it"), "section"), self._use, pad=(16, 10, 16, 14), gap=8)
        main = col(self.notes, check, use, files, "+", gap=12)
        col((Columns(theme, main, col(facts, side, "+", gap=12), side_width=300, gap=12), 1), gap=0, host=self)

    def load(self, result: Result, model_title: str) -> None:
        theme = self.theme
        kind, title, sentence = result.verdict()
        self._mark.set(*MARKS.get(title, ("info", "accent")))
        self._title.set(title)
        self._sentence.set(sentence)
        runtime = str((result.round_trip or {}).get("runtime", ""))
        self._badge.set(tr("tried with {program}", program=runtime) if runtime else "", {"danger": "danger"}.get(kind, "ok"))
        clear(self._figures_box)
        figures = result.figures()
        if figures:
            stats = []
            for figure in figures:
                stat = Stat(figure.name, figure.value, figure.note, "" if figure.tone == "ok" else figure.tone)
                stats.append((stat, 1))
            self._figures_box.addWidget(row(*stats, gap=16))
        show_if(self._figures, bool(figures))
        self._show_differences(result)
        self._files.set_rows(result.files())
        self._files_note.set(size(sum(f[1] for f in result.files())))
        self._where.set(result.path)
        facts = result.facts
        self._facts.set([(tr("Model"), model_title), (tr("For"), TARGET_WORDS.get(result.to, result.to)),
                         (tr("Architecture"), str(facts.get("architecture", ""))),
                         (tr("Precision"), precision_words(str(facts.get("precision", "")))),
                         (tr("Parameters"), count(facts.get("parameters", 0))),
                         (tr("Licence"), str(facts.get("licence") or tr("none named")))])
        clear(self._use_box)
        for name, lines in result.lines():
            self._use_box.addWidget(col(small(name), Snippet(theme, lines, name=name, said=self.context.toast), gap=2))
        self.notes.clear()
        folder = result.folder
        if folder is not None:
            self.context.jobs.run(folder.exists, then=lambda there: self._gone(result) if not there else None, owner=self)

    def _show_differences(self, result: Result) -> None:
        theme = self.theme
        clear(self._parts_box)
        found = result.differences()
        for asked, here, there in found[:2]:
            self._parts_box.addWidget(rule())
            self._parts_box.addWidget(col(*[row(fixed(small(name), theme.px(44)), (small(_line(text), tone, elide=True), 1))
                                            for name, text, tone in ((tr("Asked"), asked, "text2"), (tr("Here"), here, ""),
                                                                     (tr("There"), there, ""))], gap=2))
        show_if(self._parts, bool(found))

    def _gone(self, result: Result) -> None:
        self.notes.show_note(Note(self.theme, "warn", tr("It is not there any more"),
                                  tr("{path} was moved or deleted since. The receipt below still says what it was.", path=result.path)))


def _line(text: str) -> str:
    """A text in one line."""
    return text.replace("\n", " ⏎ ")[:300]
