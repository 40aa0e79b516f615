"""The last step: the rest of the settings, what will run in one place, and the start."""

from typing import TYPE_CHECKING, Any

from desktop.models.finetune_plan import SFT, FinetunePlan, method_title
from desktop.pages.finetune.bodies import SIDE, Body, Gutter, scrolled_panel
from desktop.widgets.facts import Facts
from desktop.widgets.flexible import Beside
from desktop.widgets.layout import col, show_if
from desktop.widgets.panel import Panel, rule
from desktop.widgets.text import Text
from engine.contract.tuning import RUN, SCHEDULE
from engine.contract.units import count, duration, number, size
from engine.contract.words import tr, trn
from engine.project import queue

if TYPE_CHECKING:
    from desktop.context import AppContext

SIMPLE = ("title", "epochs", "batch_size", "tokens_per_step", "learning_rate", "patience", "sample_every", "sample_prompts")


class StartBody(Body):
    """A form and a summary."""

    def __init__(self, context: "AppContext", plan: FinetunePlan) -> None:
        super().__init__(context, plan)
        spec = plan.spec_class
        rest = [n for n in spec.model_fields if spec.option_of(n).group in (SCHEDULE, RUN) and n not in SIMPLE]
        rest.sort(key=lambda n: spec.option_of(n).advanced)
        self.form = self.make_form([n for n in SIMPLE if n in spec.model_fields] + rest + ["seed"], title=tr("Settings"), key=plan.goal)
        self.summary, self.changes = Facts(gap=6, elide=True), Facts(gap=6, elide=True)
        self.changes_head = Text(role="section")
        self.words = Text(tone="text2", wrap=True)
        self.changes_panel = Panel(self.changes_head, self.changes, pad=(16, 10, 16, 12), gap=8)
        side = Gutter(Panel(Text(tr("What will run"), "section"), self.summary, rule(), self.words, gap=10, pad=(16, 10, 16, 14)),
                      self.changes_panel)
        col((Beside(self.theme, scrolled_panel(self.form), side, side_width=SIDE, least=300), 1), gap=0, host=self)

    def fill(self) -> None:
        self.form.rows["title"].control.setPlaceholderText(self.plan.default_title())

    def refresh(self) -> None:
        plan = self.plan
        self.form.set_automatic({k: v for k, v in plan.automatic().items() if k in self.form.names})
        self.form.rows["title"].control.setPlaceholderText(plan.default_title())
        made = plan.plan
        if made is None or plan.model is None:
            self.summary.set([])
            self.words.set("")
            return
        here = next(m for m in plan.methods() if m.id == made.method)
        found = [(tr("Name"), plan.values["title"] or plan.default_title()), (tr("From"), plan.model.title)]
        if plan.goal == SFT:
            found.append((tr("Learns from"), trn("{shown} example", "{shown} examples", plan.examples, shown=number(plan.examples))))
        else:
            corpus = plan.corpus(str(plan.values["corpus"]))
            found.append((tr("Learns from"), corpus.title if corpus is not None else "–"))
        found += [(tr("Method"), method_title(made.method)),
                  (tr("Trains"), tr("{count} parameters", count=count(made.trainable))),
                  (tr("Steps"), number(made.steps)),
                  (tr("Time"), duration(here.measured_seconds) if here.measured_seconds else
                   tr("{time}, by formula", time=duration(made.cost.seconds))),
                  (tr("Memory"), size(here.measured_memory) if here.measured_memory else
                   tr("{memory}, by formula", memory=size(made.cost.memory))),
                  (tr("Device"), plan.device.title if plan.device is not None else tr("found at the start"))]
        self.summary.set(found)
        changed = plan.changed()
        self.changes_head.set(trn("{count} changed from its default", "{count} changed from their defaults", len(changed)))
        self.changes.set([(plan.spec_class.option_of(k).label, value_words(plan, k, plan.values[k])) for k in changed])
        show_if(self.changes_panel, bool(changed))
        busy = not queue.device_free(self.context.device)
        self.words.set(tr("Another run has the device: this one waits in the queue and starts by itself.") if busy else
                       tr("The run goes on when this window is closed. It can be paused, stopped and resumed."))


def value_words(plan: FinetunePlan, name: str, value: Any) -> str:
    """A setting's value as a person reads it, short enough for a line."""
    for choice, words in plan.spec_class.option_of(name).choices:
        if choice == value:
            return words
    if isinstance(value, bool):
        return tr("on") if value else tr("off")
    if isinstance(value, (int, float)):
        return f"{value:,.8g}" if isinstance(value, float) else number(value)
    words = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return words if len(words) <= 24 else tr("set")
