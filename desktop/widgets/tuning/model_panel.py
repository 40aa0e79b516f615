"""Choosing the model that training starts from: a picker with a sentence on what choosing it means, and its facts beside."""

from collections.abc import Sequence
from typing import Any

from desktop.jobs.answer import ModelInfo
from desktop.models.run_rows import RunRow, RunRows
from desktop.models.tuning_choice import StartModel, TuningChoice
from desktop.widgets.badge import Badge
from desktop.widgets.earlier_runs import EarlierRuns
from desktop.widgets.facts import Facts
from desktop.widgets.layout import Item, row, show_if
from desktop.widgets.model_picker import ModelPicker
from desktop.widgets.panel import Panel
from desktop.widgets.text import Text, small
from desktop.widgets.tuning.body import WizardBody
from engine.contract.units import count, number
from engine.contract.words import tr


class ModelPanel(Panel):
    """The picker. `facts_panel` and `remains` are for the side."""

    def __init__(self, body: WizardBody, *buttons: Item, words: str = "", title: str = "") -> None:
        theme = body.theme
        self.body = body
        self.picker = ModelPicker(theme, tr("Model to start from"))
        self.picker.changed.connect(lambda: body.put(model=self.picker.value() or ""))
        self.sentence = Text(tone="text2", wrap=True)
        super().__init__(row(Text(title or tr("The model it starts from"), "section"), "+", *buttons, gap=10),
                         Text(words, tone="text2", wrap=True) if words else None, self.picker, self.sentence, pad=(16, 10, 16, 14), gap=8)
        self._known: Sequence[ModelInfo] | None = None
        self.badge, self.facts = Badge(), Facts(gap=6)
        self.facts_panel = Panel(row(Text(tr("This model"), "section"), "+", self.badge), self.facts, pad=(16, 10, 16, 14), gap=8)
        self.remains = Panel(Text(tr("The model itself stays as it is"), "section"),
                             small(tr("What comes out is a new model of the project, with this one as its parent. Nothing is overwritten."),
                                   wrap=True), pad=(16, 10, 16, 12), gap=6)

    def load(self, plan: TuningChoice) -> None:
        known = [ModelInfo(id=m.id, title=m.title, run=m.run, stage=m.stage) for m in plan.models or []]
        if known != self._known:
            self._known = known
            self.picker.set_models(known)
        if plan.values["model"] and self.picker.value() != plan.values["model"] and plan.model is not None:
            self.picker.set(plan.values["model"])

    def refresh(self, plan: TuningChoice) -> None:
        model = plan.model
        words = plan.model_sentence()
        self.sentence.set(words)
        show_if(self.sentence, bool(words))
        show_if(self.facts_panel, model is not None)
        if model is not None:
            self.badge.set(*model_badge(model))
            self.facts.set(model_facts(model))


def model_badge(model: StartModel) -> tuple[str, str]:
    return (tr("answers") if model.chat else tr("untrained") if model.untrained else tr("base model"),
            "ok" if model.chat else "warn" if model.untrained else "")


def model_facts(model: StartModel) -> list[tuple[str, str]]:
    config = model.config
    if config is None:
        return []
    return [(tr("Parameters"), count(config.parameters)),
            (tr("Layers, width"), f"{number(config.num_layers)}, {number(config.hidden_size)}"),
            (tr("Context"), tr("{tokens} tokens", tokens=number(config.max_seq_len))),
            (tr("Vocabulary"), number(config.vocab_size))]


class EarlierOf(EarlierRuns):
    """The table of the earlier runs of some stages; hidden while there are none. `read()` looks in a thread."""

    def __init__(self, body: WizardBody, stages: Sequence[str], inputs: str, measured: str) -> None:
        context = body.context
        super().__init__(body.theme, tr("Earlier runs"), lambda r: context.navigate(r.stage, run=r.id), lambda: context.navigate("runs"),
                         inputs, measured)
        self._body, self._stages = body, tuple(stages)
        self._rows = RunRows(context.project) if context.project is not None else None
        self._reading = False
        self.hide()

    def read(self) -> None:
        if self._rows is not None and not self._reading:
            self._reading = True
            self._body.context.jobs.run(self._rows.look, then=self._read, failed=lambda wrong: None, owner=self)

    def _read(self, found: list[RunRow]) -> None:
        self._reading = False
        mine: list[Any] = [r for r in found if r.stage in self._stages]
        self.set(mine)
        show_if(self, bool(mine))
