"""Step 2 of PPO: which reward model scores, which prompts are asked, how many answers, and how far it may move away."""

from typing import TYPE_CHECKING

from PySide6.QtWidgets import QWidget

from desktop.models.tune_plan import TunePlan
from desktop.widgets.badge import Badge
from desktop.widgets.buttons import Button
from desktop.widgets.facts import Facts
from desktop.widgets.fields import Choice
from desktop.widgets.flexible import Beside
from desktop.widgets.layout import Item, clear, col, fill, row, show_if
from desktop.widgets.notes import Note
from desktop.widgets.panel import Panel, rule
from desktop.widgets.text import Text, small
from desktop.widgets.tuning.body import SIDE, Gutter, WizardBody
from desktop.widgets.tuning.pairs_body import SetTicks
from engine.contract.units import duration, number, size
from engine.contract.words import tr, trn

if TYPE_CHECKING:
    from desktop.context import AppContext

ROUNDS = ("rollouts", "batch_size", "max_new_tokens", "ppo_epochs", "minibatches", "temperature")
NEAR = ("kl_coef", "kl_target", "kl_horizon", "kl_stop", "missing_end", "whiten_rewards")
ASKED = ("validation_percent", "validation_prompts", "only_accepted", "template", "system")


class PromptsBody(WizardBody):
    """A reward model, sets of prompts, rounds, and the divergence that is allowed."""

    plan: TunePlan

    def __init__(self, context: "AppContext", plan: TunePlan) -> None:
        super().__init__(context, plan)
        theme = self.theme
        train = Button(theme, tr("Train another"), "quiet", icon="plus", on_click=lambda: context.navigate("reward"))
        self.reward = Choice(theme, (), name=tr("Reward model"), empty=tr("none yet"), placeholder=tr("Choose"))
        self.reward.changed.connect(lambda: self.put(reward=self.reward.value() or ""))
        self.reward_badge, self.reward_words = Badge(), Text(tone="text2", wrap=True)
        self.reward_wrong = small(tone="danger", wrap=True)
        scored = Panel(row(Text(tr("Reward model"), "section"), self.reward_badge, "+", train, gap=10), self.reward, self.reward_wrong,
                       self.reward_words, pad=(16, 10, 16, 14), gap=6)
        self.pairs = SetTicks(theme, (tr("Prompts of pairs"), tr("Pairs")), lambda ids: self.put(pairs=ids))
        self.examples = SetTicks(theme, (tr("Questions of instruction data"), tr("Accepted"), tr("Not looked at")),
                                 lambda ids: self.put(examples=ids))
        self.prompts_wrong = small(tone="danger", wrap=True)
        self.asked = self.make_form(list(ASKED), title=tr("How they are asked"), key="ppo.asked")
        asked = Panel(Text(tr("Prompts"), "section"),
                      Text(tr("What it is asked, over and over. Answers that stand in the library are not read."), tone="text2", wrap=True),
                      self.prompts_wrong, self.pairs, self.examples, rule(), self.asked, pad=(16, 10, 16, 8), gap=4)
        self.rounds = self.make_form(list(ROUNDS), title=tr("Rounds"), key="ppo.rounds")
        self.near = self.make_form(list(NEAR), title=tr("How far it may move away"), key="ppo.near")
        self.facts, self.models, self.notes = Facts(gap=6), col(gap=6), col(gap=8)
        self.memory = Text("", "medium")
        side = Gutter(Panel(Text(tr("What it will do"), "section"), self.facts, pad=(16, 10, 16, 12), gap=8),
                      Panel(row(Text(tr("Models in memory"), "section"), "+", self.memory, gap=8), self.models,
                            small(tr("Besides what training itself takes; all of it is on the next step, measured too."), wrap=True),
                            pad=(16, 10, 16, 12), gap=8), self.notes)
        main = Gutter(scored, asked, Panel(self.rounds, pad=(16, 10, 16, 8), gap=4), Panel(self.near, pad=(16, 10, 16, 8), gap=4))
        col((Beside(theme, main, side, side_width=SIDE, least=300), 1), gap=0, host=self)

    def fill(self) -> None:
        plan = self.plan
        self.reward.set_choices([(r.id, r.title) for r in plan.rewards or ()])
        if plan.reward is not None:
            self.reward.set(plan.reward.id)
        self.pairs.set([(s.id, s.title, (s.count,)) for s in plan.sets or ()], plan.values["pairs"])
        self.examples.set([(s.id, s.title, (s.accepted, s.new)) for s in plan.examples], plan.values["examples"])

    def refresh(self) -> None:
        plan, values = self.plan, self.plan.values
        show_if(self.pairs, bool(plan.sets))
        show_if(self.examples, bool(plan.examples))
        for form in self.forms:
            form.know({k: v for k, v in values.items() if k not in form.names})
            form.set_automatic({k: v for k, v in plan.automatic().items() if k in form.names})
        problems = {p.field: f"{p.sentence} {p.remedy}" for p in plan.problems("data")}
        for label, field in ((self.reward_wrong, "reward"), (self.prompts_wrong, "examples")):
            label.set(problems.get(field, ""))
            show_if(label, field in problems)
        reward = plan.reward
        self.reward_badge.set("" if reward is None or reward.accuracy is None else tr("right in {share} %",
                              share=f"{100 * reward.accuracy:.0f}"), "ok" if reward and (reward.low or 0) > 0.5 else "warn")
        self.reward_words.set(", ".join(f"{name.lower()} {value}" for name, value in plan.reward_facts()))
        show_if(self.reward_words, bool(self.reward_words.words()))
        facts = [(tr("Prompts"), number(plan.prompts)), (tr("Answers in all"), number(plan.answers))]
        if plan.prompts and plan.answers:
            facts.append((tr("Each prompt, about"), trn("{shown} time", "{shown} times", max(1, round(plan.answers / plan.prompts)),
                                                        shown=number(max(1, round(plan.answers / plan.prompts))))))
        if plan.plan is not None:
            facts += [(tr("Updates of the weights"), number(plan.plan.steps)),
                      (tr("Time, by formula"), duration(plan.plan.cost.seconds))]
        self.facts.set(facts)
        self._show_models()
        box = self.notes.layout()
        clear(box)
        notes: list[Item] = []
        if (doubt := plan.reward_warning()) is not None:
            notes.append(Note(self.theme, "warn", *doubt, Button(self.theme, tr("Label more"), on_click=lambda:
                                                                 self.context.navigate("preference", order="unsure"))))
        if isinstance(values["kl_coef"], (int, float)) and values["kl_coef"] == 0 and not values["kl_target"]:
            notes.append(Note(self.theme, "warn", tr("Nothing holds it"), tr("Without a KL coefficient it moves wherever the reward model "
                              "is mistaken, and forgets how to write.")))
        fill(box, tuple(notes), 8)
        show_if(self.notes, bool(notes))

    def _show_models(self) -> None:
        box = self.models.layout()
        found = self.plan.in_memory()
        self.memory.set(size(sum(m.bytes for m in found)) if found else "")
        if box.count() != len(found):
            clear(box)
            for _ in found:
                box.addWidget(_Model())
        for i, made in enumerate(found):
            line = box.itemAt(i).widget()
            assert isinstance(line, _Model)
            line.show_model(made.name, made.what, size(made.bytes) if made.bytes else tr("shared"))


class _Model(QWidget):
    """A model in memory: its name, what it does, its bytes."""

    def __init__(self) -> None:
        super().__init__()
        self._name, self._what, self._bytes = Text("", "medium"), small(), Text("", "medium")
        row((col(self._name, self._what, gap=0), 1), self._bytes, gap=8, host=self)

    def show_model(self, name: str, what: str, bytes_: str) -> None:
        self._name.set(name)
        self._what.set(what)
        self._bytes.set(bytes_)
