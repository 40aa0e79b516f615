"""The side of the Runs page: one chosen run with its facts and actions, or what differs between two. It acts through signals."""

from collections.abc import Sequence

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QVBoxLayout, QWidget

from desktop.models.run_rows import RunRow, differences
from desktop.theme.theme import Theme
from desktop.widgets.buttons import Button
from desktop.widgets.facts import Facts
from desktop.widgets.layout import Scroll, clear, col, row
from desktop.widgets.notes import Note
from desktop.widgets.panel import Panel
from desktop.widgets.table import Cell, Column, Table
from desktop.widgets.text import Text, small
from engine.contract.units import duration, number, significant, size
from engine.contract.words import tr, trn
from engine.project.run_measures import of_stage
from engine.project.runs import Run

HIGHER = {"reward", "dpo", "ppo", "grpo"}
"""Stages whose number is better when it is higher."""


class Details(Panel):
    """`show_rows(rows, runs)` with the chosen ones."""

    open_wanted = Signal(object)
    resume_wanted = Signal(object)
    folder_wanted = Signal(object)
    delete_wanted = Signal(object)

    def __init__(self, theme: Theme) -> None:
        self._inner = QWidget()
        self._box = QVBoxLayout(self._inner)
        self._box.setContentsMargins(0, 0, 0, 0)
        self._box.setSpacing(10)
        super().__init__((Scroll(self._inner, horizontal=False), 1), pad=(16, 12, 16, 12))
        self.theme = theme
        self._asking = ""
        self._shown: object = None

    def show_rows(self, rows: Sequence[RunRow], runs: Sequence[Run]) -> None:
        key = (tuple(rows), self._asking, self.theme["name"])
        if key == self._shown:
            return
        self._shown = key
        clear(self._box)
        if not rows:
            self._add(Text(tr("Nothing chosen"), "section"), small(tr("Choose a run to see its curve, several to compare them: Ctrl or "
                                                                      "Shift while choosing."), wrap=True), "+")
        elif len(rows) == 1:
            self._one(rows[0])
        elif len(rows) == 2:
            self._two(rows, runs)
        else:
            self._many(rows)

    def _add(self, *items: QWidget | str) -> None:
        for item in items:
            if isinstance(item, str):
                self._box.addStretch(1)
            else:
                self._box.addWidget(item)

    def _one(self, chosen: RunRow) -> None:
        theme = self.theme
        facts = [(tr("Steps"), tr("{step} of {steps}", step=number(chosen.step), steps=number(chosen.steps)) if chosen.steps else "–"),
                 (tr("Best validation"), tr("{value} at step {step}", value=chosen.best_words, step=number(chosen.best[1]))
                  if chosen.best else "–"),
                 *([] if of_stage(chosen.stage).step == "reward" else  # the loss of a policy says nothing
                   [(tr("Last loss"), significant(chosen.loss, 4) if chosen.loss is not None else "–")]),
                 (tr("Time"), duration(chosen.seconds)), (tr("Checkpoints"), number(chosen.checkpoints)),
                 (tr("On disk"), size(chosen.size))]
        if chosen.made:
            facts.append((tr("Made"), ", ".join(chosen.made)))
        self._add(Text(tr("Run {number}", number=chosen.number) + (f", {chosen.title}" if chosen.title else ""), "section", elide=True))
        if chosen.sentence:
            self._add(small(chosen.sentence, "danger" if chosen.status == "failed" else "text2", wrap=True))
        self._add(Facts(facts, gap=6))
        if self._asking == chosen.id:
            self._add(self._question(chosen))
        else:
            resume = None
            if chosen.resumable:
                resume = Button(theme, tr("Resume"), icon="play", on_click=lambda: self.resume_wanted.emit(chosen))
            self._add(row(Button(theme, tr("Open"), on_click=lambda: self.open_wanted.emit(chosen)), resume, "+", gap=8),
                      row(Button(theme, tr("Open folder"), "quiet", on_click=lambda: self.folder_wanted.emit(chosen)), "+",
                          Button(theme, tr("Delete"), "quiet", icon="trash", enabled=not chosen.active,
                                 tip=tr("Stop it first.") if chosen.active else "", on_click=lambda: self._ask(chosen)), gap=16))
        self._add("+")

    def _question(self, chosen: RunRow) -> Note:
        theme = self.theme
        words = tr("{size} are freed. Its curves, log and checkpoints are gone for good.", size=size(chosen.size))
        if chosen.made:
            words += " " + tr("What it made stays: {made}.", made=", ".join(chosen.made))
        return Note(theme, "danger", tr("Delete run {number}?", number=chosen.number), words,
                    Button(theme, tr("Delete"), "danger", on_click=lambda: self._answer(chosen)),
                    Button(theme, tr("Keep"), on_click=lambda: self._answer(None)))

    def _ask(self, chosen: RunRow) -> None:
        self._asking = chosen.id
        self.show_rows([chosen], [])

    def _answer(self, chosen: RunRow | None) -> None:
        self._asking = ""
        if chosen is not None:
            self.delete_wanted.emit(chosen)
        elif isinstance(self._shown, tuple):
            self.show_rows(self._shown[0], [])

    def _two(self, rows: Sequence[RunRow], runs: Sequence[Run]) -> None:
        found = differences(*runs)
        self._add(Text(tr("What differs"), "section"))
        if not found:
            self._add(small(tr("Nothing: the same settings."), wrap=True), "+")
            return
        names = [tr("Run {number}", number=r.number) for r in rows]
        columns = [Column(tr("Setting"), lambda line: Cell(line[0])), Column(names[0], lambda line: line[1], 92, right=True),
                   Column(names[1], lambda line: line[2], 92, right=True)]
        self._add(Table(self.theme, columns, found, name=tr("Settings that differ"), fit=True, max_rows=40, selectable=False), "+")

    def _many(self, rows: Sequence[RunRow]) -> None:
        stages = {r.stage for r in rows}
        higher = stages <= HIGHER
        best = (max if higher else min)((r for r in rows if r.best), key=lambda r: r.best[0] if r.best else 0.0, default=None)
        best = best if len(stages) == 1 else None  # numbers of different stages say nothing of each other
        self._add(Text(trn("{count} run chosen", "{count} runs chosen", len(rows)), "section"))
        if best is not None and best.best is not None:
            self._add(col(small(tr("Best validation")), Text(best.best_words, "section"),
                          small(tr("run {number} at step {step}", number=best.number, step=number(best.best[1]))), gap=1))
        self._add(small(tr("Choose two to see what differs in their settings."), wrap=True), "+")
