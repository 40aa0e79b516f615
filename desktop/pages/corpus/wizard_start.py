"""The wizard's last step: what goes in, what is done with it in which order, and what it takes, before anything begins."""

from desktop.context import AppContext
from desktop.models.corpus_plan import CorpusPlan, Rate
from desktop.pages.corpus.wizard_parts import Body
from desktop.widgets.facts import Facts
from desktop.widgets.flexible import Beside, scrolled
from desktop.widgets.layout import clear, col, fill, fixed, row
from desktop.widgets.notes import Note
from desktop.widgets.panel import Panel, rule
from desktop.widgets.text import Text, small
from engine.contract.units import count, duration, number, size
from engine.contract.words import tr
from engine.stages.corpus.spec import CorpusSpec

SIDE, NAME = 348, 196


class StartBody(Body):
    """`rate`: bytes a second measured in an earlier run, None while nothing was."""

    def __init__(self, context: AppContext, plan: CorpusPlan) -> None:
        super().__init__(context, plan)
        self.rate: Rate | None = None
        self._steps = col(gap=8)
        self._takes = Facts(gap=6)
        self._rate_words = small(wrap=True)
        self._warnings = col(gap=8)
        self._changes_head = Text("", "section")
        self._changes = Facts(gap=6)
        happens = Panel(Text(tr("What will happen"), "section"), self._steps, pad=(16, 12, 16, 16), gap=10)
        changes = Panel(self._changes_head, self._changes, gap=8)
        side = Panel(Text(tr("What it takes"), "section"), self._takes, self._rate_words, self._warnings, "+", pad=(16, 10, 16, 12), gap=8)
        row((Beside(self.theme, scrolled(happens, changes), side, side_width=SIDE, least=340), 1), gap=0, host=self)

    def refresh(self) -> None:
        plan, theme = self.plan, self.theme
        box = self._steps.layout()
        clear(box)
        lines: list[object] = []
        for i, (what, how) in enumerate(plan.steps_in_words(), 1):
            line = row(fixed(Text(str(i), "small_strong", "accent"), theme.px(16)), fixed(Text(what, "medium"), theme.px(NAME)),
                       (Text(how, tone="text2", wrap=True), 1), gap=10)
            lines += [*([rule()] if i > 1 else []), line]
        fill(box, tuple(lines), 8)  # type: ignore[arg-type]
        free = plan.free(self.context.project.dir) if self.context.project else 0
        room = plan.room()
        facts = [(tr("Files"), size(plan.size)), (tr("Text, about"), size(plan.text_bytes)), (tr("Tokens, about"), count(plan.tokens)),
                 (tr("Documents, about"), number(plan.documents)), (tr("Room on the disk, at most"), size(room)),
                 (tr("Free on the disk"), size(free)), (tr("Time, about"), self._time())]
        self._takes.set(facts)
        self._rate_words.set(tr("By {rate} a second, measured with {title}.", rate=size(self.rate.bytes_per_second), title=self.rate.where)
                             if self.rate else tr("How fast this machine is will be known after the first run. Progress and time left are "
                                                  "shown while it goes."))
        clear(self._warnings.layout())
        notes = []
        if free and room > free:
            notes.append(Note(theme, "warn", tr("The disk may run full"), tr("Free some space, or take fewer sources.")))
        fill(self._warnings.layout(), tuple(notes), 8)
        changed = plan.changed()
        self._changes_head.set(tr("Changed from the defaults") if changed else tr("All settings are at their defaults"))
        self._changes.set([(CorpusSpec.option_of(name).label, value_words(name, value)) for name, value in changed.items()])

    def _time(self) -> str:
        return duration(self.rate.seconds(self.plan.text_bytes)) if self.rate and self.plan.text_bytes else tr("not measured yet")


def value_words(name: str, value: object) -> str:
    """A setting's value as a person reads it."""
    for choice, words in CorpusSpec.option_of(name).choices:
        if choice == value:
            return words
    if isinstance(value, bool):
        return tr("on") if value else tr("off")
    if isinstance(value, int):
        return number(value)
    if isinstance(value, float):
        return f"{value:,.6g}"
    if isinstance(value, (tuple, list)):
        return ", ".join(str(v).rpartition("/")[2] or str(v) for v in value) or tr("none")
    return str(value)
