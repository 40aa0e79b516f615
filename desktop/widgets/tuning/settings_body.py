"""The last step of a wizard: the rest of the settings, what will run in one place, and what was changed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from desktop.models.tuning_choice import TuningChoice
from desktop.widgets.facts import Facts
from desktop.widgets.flexible import Beside
from desktop.widgets.layout import col, show_if
from desktop.widgets.panel import Panel, rule
from desktop.widgets.text import Text
from desktop.widgets.tuning.body import SIDE, Gutter, WizardBody
from engine.contract.tuning import RUN, SCHEDULE
from engine.contract.units import number
from engine.contract.words import tr, trn
from engine.project import queue

if TYPE_CHECKING:
    from desktop.context import AppContext

SIMPLE = ("title", "epochs", "batch_size", "tokens_per_step", "learning_rate", "patience", "sample_every", "sample_prompts")


class SettingsBody(WizardBody):
    """A form of the settings of `groups` and a summary. `first` stand at the top, `leave_out` on another step."""

    def __init__(self, context: "AppContext", plan: TuningChoice, key: str, first: Sequence[str] = SIMPLE,
                 groups: Sequence[str] = (SCHEDULE, RUN), leave_out: Sequence[str] = ()) -> None:
        super().__init__(context, plan)
        spec = plan.spec_class
        rest = [n for n in spec.model_fields if spec.option_of(n).group in groups and n not in first]
        rest.sort(key=lambda n: spec.option_of(n).advanced)
        names = [n for n in dict.fromkeys([*first, *rest, "seed"]) if n in spec.model_fields and n not in leave_out]
        self.form = self.make_form(names, title=tr("Settings"), key=key)
        self.summary, self.changes = Facts(gap=6, elide=True), Facts(gap=6, elide=True)
        self.changes_head = Text(role="section")
        self.words = Text(tone="text2", wrap=True)
        self.changes_panel = Panel(self.changes_head, self.changes, pad=(16, 10, 16, 12), gap=8)
        side = Gutter(Panel(Text(tr("What will run"), "section"), self.summary, rule(), self.words, gap=10, pad=(16, 10, 16, 14)),
                      self.changes_panel)
        settings = Gutter(Panel(self.form, pad=(16, 10, 16, 12), gap=4))
        col((Beside(self.theme, settings, side, side_width=SIDE, least=300), 1), gap=0, host=self)

    def refresh(self) -> None:
        plan = self.plan
        self.form.know({k: v for k, v in plan.values.items() if k not in self.form.names})
        self.form.set_automatic({k: v for k, v in plan.automatic().items() if k in self.form.names})
        self.form.rows["title"].control.setPlaceholderText(plan.default_title())
        found = plan.summary()
        self.summary.set(found)
        if not found:
            self.words.set("")
            return
        changed = plan.changed()
        self.changes_head.set(trn("{count} changed from its default", "{count} changed from their defaults", len(changed)))
        self.changes.set([(plan.spec_class.option_of(k).label, value_words(plan, k, plan.values[k])) for k in changed])
        show_if(self.changes_panel, bool(changed))
        busy = not queue.device_free(self.context.device)
        self.words.set(tr("Another run has the device: this one waits in the queue and starts by itself.") if busy else
                       tr("The run goes on when this window is closed. It can be paused, stopped and resumed."))


def value_words(plan: TuningChoice, name: str, value: Any) -> str:
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
