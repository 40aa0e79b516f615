"""The wizard's fourth step: what is kept for validation, and the held-out sets that the corpus must not contain."""

from pathlib import Path
from typing import Any

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QFileDialog, QWidget

from desktop.context import AppContext
from desktop.models.corpus_plan import CorpusPlan
from desktop.pages.corpus.wizard_parts import Body, section
from desktop.widgets.bar import Bar
from desktop.widgets.buttons import Button, Segments
from desktop.widgets.facts import Facts
from desktop.widgets.flexible import Beside, scrolled
from desktop.widgets.layout import clear, col, fill, row, show_if
from desktop.widgets.panel import Panel
from desktop.widgets.text import Icon, Text, small
from engine.contract.units import count, percent, size
from engine.contract.words import tr
from engine.stages.corpus.spec import CorpusSpec

SIDE, FEW = 348, 100
KINDS = "*.jsonl *.json *.csv *.tsv *.txt *.md *.parquet"


class SplitBody(Body):
    def __init__(self, context: AppContext, plan: CorpusPlan) -> None:
        super().__init__(context, plan)
        theme = self.theme
        split = section(tr("Validation"), tr("text that is never trained on"), self.form("validation_percent"),
                        self.switch("compare_validation"))
        self._sets = col(gap=2)
        self._none = small(tr("None yet. Add the problems you will test the model on: documents that contain them are found."), "text3",
                           wrap=True)
        contamination = CorpusSpec.option_of("contamination")
        self.action = Segments(theme, contamination.choices, "list", name=contamination.label,
                               on_change=lambda value: self._edited({"contamination": value}))
        self._held_more = col(row((col(Text(contamination.label, "medium"), small(contamination.help, wrap=True), gap=1), 1), self.action,
                                  gap=16, pad=(0, 8, 0, 8)), self.form("overlap_words"), gap=0)
        add = Button(theme, tr("Add files"), "quiet", icon="plus", name=tr("Add held-out files"), on_click=self._add)
        held = Panel(row(Text(tr("Held-out sets"), "section"), "+", add, gap=10), self._none, self._sets, self._held_more,
                     pad=(16, 10, 16, 8), gap=6)
        self._rest = col(gap=12)
        self._bar = Bar(theme, 0.9, height=10, name=tr("Training"))
        self._facts = Facts(gap=6)
        self._how = small(wrap=True)
        side = Panel(Text(tr("What this gives"), "section"), self._bar, self._facts, self._how, "+", pad=(16, 10, 16, 12), gap=10)
        row((Beside(theme, scrolled(split, held, self._rest), side, side_width=SIDE, least=340), 1), gap=0, host=self)

        QTimer.singleShot(0, self, self._build_rest)

    def _build_rest(self) -> None:
        fill(self._rest.layout(), (section(tr("Your decisions"), "", self.switch("decisions")),
                                   section(tr("Where it runs"), "", self.form("executor", "seed"))), 12)
        self.load()

    def load(self) -> None:
        super().load()
        self.action.set(self.plan.values["contamination"])
        self._show_sets()

    def refresh(self) -> None:
        plan = self.plan
        share = float(plan.values["validation_percent"] or 0) / 100
        self._bar.set(1 - share)
        kept = plan.validation_bytes()
        self._facts.set([(tr("Training"), tr("{size}, about {tokens} tokens", size=size(plan.text_bytes - kept),
                                             tokens=count((plan.text_bytes - kept) / 4))),
                         (tr("Validation"), tr("{size}, {share}", size=size(kept), share=percent(share, 1)))] if plan.found else [])
        few = plan.found is not None and plan.documents < FEW
        self._how.set(tr("With under {few} documents the end of each is kept. Near duplicates never fall on both sides.", few=FEW)
                      if few else
                      tr("Whole documents are drawn by their own hash, so that another import of the same text draws the same ones. "
                         "Near duplicates never fall on both sides."))
        show_if(self._held_more, bool(plan.values["held_out"]))
        show_if(self._none, not plan.values["held_out"])

    def _show_sets(self) -> None:
        clear(self._sets.layout())
        fill(self._sets.layout(), tuple(self._row(f) for f in self.plan.values["held_out"]), 2)
        show_if(self._sets, bool(self.plan.values["held_out"]))

    def _row(self, file: str) -> QWidget:
        path = Path(file)
        drop = Button(self.theme, "", "icon", icon="close", name=tr("Leave out {name}", name=path.name), on_click=lambda: self._drop(file))
        facts = size(path.stat().st_size) if path.is_file() else "" if path.exists() else tr("not found")
        return row(Icon(self.theme, "evaluate"), Text(path.name, "medium"), (Text(str(path.parent), "small", "text3", elide=True), 1),
                   small(facts, "" if path.exists() else "danger"), drop, gap=8)

    def _add(self) -> None:
        names, _ = QFileDialog.getOpenFileNames(self, tr("Held-out files"), "", tr("Problems ({kinds});;All files (*)", kinds=KINDS))
        self.add_sets(names)

    def add_sets(self, names: list[str]) -> None:
        held: tuple[Any, ...] = self.plan.values["held_out"]
        self._edited({"held_out": tuple(dict.fromkeys([*held, *(str(Path(n)) for n in names)]))})
        self._show_sets()
        self.refresh()

    def _drop(self, file: str) -> None:
        self._edited({"held_out": tuple(f for f in self.plan.values["held_out"] if f != file)})
        self._show_sets()
        self.refresh()
