"""How much of each source goes into the training text: as it is, or by weights, passes and caps, with what comes of it."""

from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QGridLayout, QWidget

from desktop.models.corpus_plan import CorpusPlan
from desktop.theme.theme import Theme
from desktop.widgets.buttons import Button, Segments
from desktop.widgets.fields import NumberField
from desktop.widgets.layout import clear, fixed, row, show_if
from desktop.widgets.panel import Panel
from desktop.widgets.text import Text, small
from engine.contract.units import number, percent, size
from engine.contract.words import tr

FIELD, LISTED = 92, 24
MB = 1_000_000


class MixPanel(Panel):
    """`edited` when an amount was changed; the plan has it by then."""

    edited = Signal()

    def __init__(self, theme: Theme, plan: CorpusPlan) -> None:
        self.theme, self.plan = theme, plan
        self.how = Segments(theme, ((False, tr("As it is")), (True, tr("By hand"))), False, name=tr("How the sources are mixed"),
                            on_change=self._how)
        self._grid_host = QWidget()
        self._grid = QGridLayout(self._grid_host)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(12)
        self._grid.setVerticalSpacing(6)
        self._grid.setColumnStretch(0, 1)
        self._words, self._limit = small(wrap=True), LISTED
        self._more = Button(theme, tr("Show all"), "quiet", on_click=self._show_all)
        self._wrong = small(tone="danger", wrap=True)
        self.fields: dict[tuple[str, str], NumberField] = {}
        self._shares: dict[str, Text] = {}
        head = row(Text(tr("Mix"), "section"), small(tr("how much of each source is trained on")), "+", self.how, gap=10)
        super().__init__(head, self._words, self._grid_host, self._more, self._wrong, pad=(16, 8, 16, 10), gap=8)

    def load(self) -> None:
        """The sources or their options are others."""
        self.how.set(self.plan.mixed or (bool(self.how.value()) and bool(self.plan.sources)))
        self._build()

    def _how(self, by_hand: bool) -> None:
        if not by_hand:
            self.plan.unmix()
        self._build()
        self.edited.emit()

    def _build(self) -> None:
        by_hand = bool(self.how.value())
        clear(self._grid)
        self.fields, self._shares = {}, {}
        show_if(self._grid_host, by_hand)
        rest = len(self.plan.sources) - self._limit if by_hand else 0
        self._more.set_words(tr("Show all {count}", count=number(len(self.plan.sources))))
        show_if(self._more, rest > 0)
        self._words.set(tr("A weight is a source's share of the training text beside the others; give one to every source or to none. "
                           "Passes say how often its text may be repeated. At most: so many megabytes of it before that.") if by_hand else
                        tr("Every document is trained on once a pass."))
        if by_hand:
            right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
            for i, head in enumerate((tr("Source"), tr("Weight"), tr("Passes"), tr("At most, MB"), tr("Share"))):
                self._grid.addWidget(small(head, align=right if i else Qt.AlignmentFlag.AlignLeft), 0, i)
            for i, source in enumerate(self.plan.sources[:self._limit], 1):
                name = Path(source).name or source
                self._grid.addWidget(Text(name, elide=True), i, 0)
                for column, (option, label, empty) in enumerate((("weight", tr("Weight of {name}", name=name), "–"),
                                                                 ("epochs", tr("Passes over {name}", name=name), ""),
                                                                 ("cap_mb", tr("At most of {name}, in MB", name=name), tr("all"))), 1):
                    self._grid.addWidget(self._field(source, option, label, empty), i, column)
                self._shares[source] = fixed(small("", align=right), self.theme.px(120))
                self._grid.addWidget(self._shares[source], i, 4)
        self.refresh()

    def _show_all(self) -> None:
        self._limit = len(self.plan.sources)
        self._build()

    def _field(self, source: str, option: str, label: str, empty: str) -> NumberField:
        field = NumberField(self.plan.option(source, option), whole=False, optional=option != "epochs", name=label,
                            low=0.01, high={"epochs": 100, "weight": 1e6}.get(option))
        if empty:
            field.setPlaceholderText(empty)
        fixed(field, self.theme.px(FIELD))
        field.changed.connect(lambda: self._changed(source, option, field))
        self.fields[(source, option)] = field
        return field

    def _changed(self, source: str, option: str, field: NumberField) -> None:
        value = field.value()
        wrong = field.wrong() or (tr("It has to be more than nothing.") if value is not None and value <= 0 else "")
        self._wrong.set(wrong)
        if not wrong:
            self.plan.set_option(source, option, value)
            self.refresh()
            self.edited.emit()

    def refresh(self) -> None:
        """What comes of the amounts, by the sizes that were found."""
        problems = [p for p in self.plan.problems("sources") if p.field == "source_options"]
        self._wrong.set(f"{problems[0].sentence} {problems[0].remedy}" if problems else "")
        show_if(self._wrong, bool(self._wrong.words()))
        if not self._shares:
            return
        if problems or self.plan.found is None:
            for words in self._shares.values():
                words.set("")
            return
        from engine.text.mixing import MixOptions, amounts  # numpy: only when somebody mixes
        sources = self.plan.sources
        sizes = [sum(int(f.get("size", 0)) for f in self.plan.of_source(i) if not f.get("problem")) for i in range(len(sources))]

        def option(source: str) -> MixOptions:
            cap: Any = self.plan.option(source, "cap_mb")
            return MixOptions(self.plan.option(source, "weight"), self.plan.option(source, "epochs"), round(cap * MB) if cap else None)
        for source, made in zip(sources, amounts(sizes, [option(s) for s in sources]), strict=True):
            if source in self._shares:
                self._shares[source].set(f"{percent(made.share)}, {size(made.taken)}")
