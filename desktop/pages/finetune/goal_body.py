"""Step 1: what is taught, to answer or a domain, and the model that it starts from."""

from typing import TYPE_CHECKING

from desktop.jobs.answer import ModelInfo
from desktop.models.finetune_plan import ADAPT, SFT, STEPS, FinetunePlan
from desktop.models.run_rows import RunRow, RunRows
from desktop.pages.finetune.bodies import SIDE, Body, Gutter
from desktop.widgets.badge import Badge
from desktop.widgets.buttons import Button
from desktop.widgets.choice_card import ChoiceCard, side_by_side
from desktop.widgets.earlier_runs import EarlierRuns
from desktop.widgets.facts import Facts
from desktop.widgets.flexible import Beside
from desktop.widgets.layout import col, row, show_if
from desktop.widgets.model_picker import ModelPicker
from desktop.widgets.panel import Panel
from desktop.widgets.text import Text, small
from engine.contract.units import count, number
from engine.contract.words import tr

if TYPE_CHECKING:
    from desktop.context import AppContext


class GoalBody(Body):
    """Two cards and a picker."""

    def __init__(self, context: "AppContext", plan: FinetunePlan) -> None:
        super().__init__(context, plan)
        theme = self.theme
        self.cards = {
            SFT: ChoiceCard(theme, "chat", tr("To answer"), tr("Conversations teach a model to reply: when to speak, in which form, and "
                            "when to stop. It keeps what it knows."), tr("Needs instruction data: some hundred examples to begin with.")),
            ADAPT: ChoiceCard(theme, "text", tr("A domain"), tr("The model goes on reading, now your own texts: medicine, law, your notes. "
                              "General text is mixed in, so that it forgets little."), tr("Needs a corpus of that domain: megabytes, "
                              "better more."))}
        for goal, card in self.cards.items():
            card.clicked.connect(lambda goal=goal: self._choose(goal))
        self.picker = ModelPicker(theme, tr("Model to start from"))
        self.picker.changed.connect(lambda: self.put(model=self.picker.value() or ""))
        self.sentence = Text(tone="text2", wrap=True)
        bring = Button(theme, tr("Import an open model"), "quiet", icon="in", on_click=lambda: context.navigate("import_model"))
        start = Panel(row(Text(tr("The model it starts from"), "section"), "+", bring, gap=10), self.picker, self.sentence,
                      pad=(16, 10, 16, 14), gap=8)
        self.badge, self.facts = Badge(), Facts(gap=6)
        self.facts_panel = Panel(row(Text(tr("This model"), "section"), "+", self.badge), self.facts, pad=(16, 10, 16, 14), gap=8)
        remains = Panel(Text(tr("The model itself stays as it is"), "section"),
                        small(tr("What comes out is a new model of the project, with this one as its parent. Nothing is overwritten."),
                              wrap=True), pad=(16, 10, 16, 12), gap=6)
        self.rows = RunRows(context.project) if context.project is not None else None
        self._reading = False
        self.earlier = EarlierRuns(theme, tr("Earlier runs"), lambda r: context.navigate(r.stage, run=r.id),
                                   lambda: context.navigate("runs"), tr("From"), tr("Validation"))
        self.earlier.hide()
        main = Gutter(side_by_side(*self.cards.values()), start, self.earlier)
        col((Beside(theme, main, col(self.facts_panel, remains, "+", gap=12), side_width=SIDE, least=300), 1), gap=0, host=self)

    def read_runs(self) -> None:
        """The runs of both kinds, in a thread."""
        if self.rows is not None and not self._reading:
            self._reading = True
            self.context.jobs.run(self.rows.look, then=self._runs_read, failed=lambda wrong: None, owner=self)

    def _runs_read(self, found: list[RunRow]) -> None:
        self._reading = False
        mine = [r for r in found if r.stage in STEPS]
        self.earlier.set(mine)
        show_if(self.earlier, bool(mine))

    def _choose(self, goal: str) -> None:
        if goal != self.plan.goal:
            self.plan.set_goal(goal)
            self.edited.emit()

    def fill(self) -> None:
        self.read_runs()
        models = self.plan.models or []
        known = [ModelInfo(id=m.id, title=m.title, run=m.run, stage=m.stage) for m in models]
        if known != getattr(self, "_known", None):
            self._known = known
            self.picker.set_models(known)
        if self.plan.values["model"] and self.picker.value() != self.plan.values["model"] and self.plan.model is not None:
            self.picker.set(self.plan.values["model"])

    def refresh(self) -> None:
        plan, model = self.plan, self.plan.model
        for goal, card in self.cards.items():
            card.set_chosen(goal == plan.goal)
        show_if(self.facts_panel, model is not None)
        if model is None:
            self.sentence.set("")
            return
        config = model.config
        self.badge.set(tr("answers") if model.chat else tr("untrained") if model.untrained else tr("base model"),
                       "ok" if model.chat else "warn" if model.untrained else "")
        words = ""
        if model.untrained:
            words = tr("It has random weights: it knows no language yet. Choose a checkpoint that was trained.")
        elif model.chat and plan.goal == SFT:
            words = tr("It answers already; it will go on learning from there. Start from the base model to begin anew.")
        elif model.chat:
            words = tr("It answers already, and plain text will make it worse at that. Better teach the base model the domain first, and "
                       "then to answer.")
        elif plan.goal == SFT:
            words = tr("A base model continues text. It will learn to answer.")
        self.sentence.set(words)
        show_if(self.sentence, bool(words))
        if config is None:
            self.facts.set([])
            return
        self.facts.set([(tr("Parameters"), count(config.parameters)),
                        (tr("Layers, width"), f"{number(config.num_layers)}, {number(config.hidden_size)}"),
                        (tr("Context"), tr("{tokens} tokens", tokens=number(config.max_seq_len))),
                        (tr("Vocabulary"), number(config.vocab_size))])
