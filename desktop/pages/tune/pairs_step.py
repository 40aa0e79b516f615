"""Step 2 of DPO: which labels, and which loss, each with a sentence on what it is good for."""

from typing import TYPE_CHECKING

from desktop.models.tune_plan import LOSSES, TunePlan
from desktop.widgets.layout import Item, col
from desktop.widgets.notes import Note
from desktop.widgets.panel import Panel, rule
from desktop.widgets.text import Text
from desktop.widgets.tuning.choice_line import ChoiceLine
from desktop.widgets.tuning.pairs_body import PairsBody
from engine.contract.units import number
from engine.contract.words import tr

if TYPE_CHECKING:
    from desktop.context import AppContext

READING = ("validation_percent", "max_seq_len", "too_long", "template", "system")
LOSS_FIELDS = ("beta", "label_smoothing", "simpo_margin", "sft_weight", "good_weight", "bad_weight", "replay", "replay_documents")


class DpoPairsBody(PairsBody):
    """Also the loss."""

    plan: TunePlan

    def __init__(self, context: "AppContext", plan: TunePlan) -> None:
        theme = context.theme
        self.losses = {value: ChoiceLine(theme, name, words) for value, name, words in LOSSES}
        self._room = col(gap=0)
        panel = Panel(Text(tr("Loss"), "section"), *self.losses.values(), rule(), self._room, pad=(16, 10, 16, 8), gap=6)
        super().__init__(context, plan, READING, "dpo.reading", below=(panel,))
        for value, line in self.losses.items():
            line.clicked.connect(lambda value=value: self.put(loss=value))
        self.loss_form = self.make_form(list(LOSS_FIELDS), title=tr("Settings of the loss"), key="dpo.loss")
        self._room.layout().addWidget(self.loss_form)

    def choices(self, kind: str) -> list[tuple[str, str]]:
        return [("", tr("None")), *self.context.choices(kind)]

    def refresh(self) -> None:
        super().refresh()
        plan = self.plan
        for value, line in self.losses.items():
            line.set_chosen(value == plan.values["loss"])
        self.loss_form.know({"loss": plan.values["loss"]})
        self.loss_form.set_automatic({k: v for k, v in plan.automatic().items() if k in self.loss_form.names})

    def bad_words(self, count: int) -> str:
        return tr("{count}, learned from", count=number(count)) if self.plan.takes_bad else super().bad_words(count)

    def further_notes(self) -> list[Item]:
        known = self.plan.known
        if known is not None and known.bad and not self.plan.takes_bad:
            return [Note(self.theme, "info", tr("Pairs in which both are bad"), tr("KTO also learns from those; the other losses leave "
                         "them out."))]
        return []
