"""Step 3: the chat template with a real example in it, and the loss-mask microscope: real batches, token by token, with what would spoil a
run named before it starts."""

from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QPlainTextEdit, QStackedWidget

from desktop.models.finetune_mask import MaskProblem, MaskRemedy
from desktop.models.finetune_plan import FinetunePlan
from desktop.widgets.buttons import Button, Segments
from desktop.widgets.facts import Facts
from desktop.widgets.fields import Choice, NumberField, Switch
from desktop.widgets.flexible import Beside, Poured
from desktop.widgets.layout import Scroll, clear, col, row, show_if
from desktop.widgets.mask_text import MaskText, mask_legend
from desktop.widgets.notes import Note, NoteSlot
from desktop.widgets.panel import Panel
from desktop.widgets.text import Text, small
from desktop.widgets.tuning.body import SIDE, Gutter, WizardBody, beside, labelled
from engine.contract.errors import FledgeError
from engine.contract.units import number
from engine.contract.words import tr
from engine.stages.sft.spec import SftSpec
from engine.text import templates

if TYPE_CHECKING:
    from desktop.context import AppContext

OWN = "own"
NAMED = {"chatml": templates.CHATML, "gemma": templates.GEMMA, "plain": templates.PLAIN}
MOST_NOTES = 3


class Lines(QPlainTextEdit):
    """Free text of several lines; `changed` as one types. Tab leaves it."""

    changed = Signal()

    def __init__(self, name: str, height: int, mono: bool = False) -> None:
        super().__init__()
        self.setProperty("kind", "field")
        self.setAccessibleName(name)
        self.setTabChangesFocus(True)
        self.setFixedHeight(height)
        if mono:
            self.setProperty("role", "mono")
        self.textChanged.connect(lambda: self.changed.emit())

    def set(self, text: str) -> None:
        """Loading, not editing."""
        if text != self.toPlainText():
            self.blockSignals(True)
            self.setPlainText(text)
            self.blockSignals(False)


class TemplateBody(WizardBody):
    """`look_wanted`: look at the batches again. `remedy_wanted(problem, remedy)`: the person took a remedy that is not a setting here."""

    look_wanted = Signal()
    remedy_wanted = Signal(object, object)

    def __init__(self, context: "AppContext", plan: FinetunePlan) -> None:
        super().__init__(context, plan)
        self._page = 0
        self._own = False
        self._shown: Any = None
        self._notes_shown: Any = None
        self._build_side()
        self._build_microscope()
        self.problems_box = col(gap=8)
        main = col(self.error, self.problems_box, (self.microscope, 1), gap=12)
        side = Gutter(self.template_panel, self.mask_panel, self.counts_panel)
        col((Beside(self.theme, main, side, side_width=SIDE, least=300), 1), gap=0, host=self)

    # parts ------------------------------------------------------------------------------------------------------------

    def _build_side(self) -> None:
        theme = self.theme
        self.template = Choice(theme, [("", tr("What fits this model")), ("chatml", "ChatML"), ("gemma", "Gemma"),
                                       ("plain", tr("Plain words")), (OWN, tr("My own"))], "", name=tr("Chat template"))
        self.template.changed.connect(self._template_chosen)
        self.source = Lines(tr("Chat template, in Jinja"), theme.px(132), mono=True)
        self.source.changed.connect(lambda: self.put(template=self.source.toPlainText().strip()))
        self.origin = small(wrap=True)
        self.system = Lines(tr("System prompt"), theme.px(58))
        self.system.setPlaceholderText(tr("None"))
        self.system.changed.connect(lambda: self.put(system=self.system.toPlainText().strip()))
        option = SftSpec.option_of
        self.template_panel = Panel(Text(tr("Chat template"), "section"), self.template, self.source, self.origin, 2,
                                    labelled(option("system").label, self.system, option("system").help), pad=(16, 10, 16, 12), gap=6)
        self.loss_on = Choice(theme, option("loss_on").choices, "assistant", name=option("loss_on").label)
        self.too_long = Choice(theme, option("too_long").choices, "leave_out", name=option("too_long").label)
        self.longest = NumberField(whole=True, optional=True, name=option("max_seq_len").label, low=16, high=131_072)
        self.packing = Switch(theme, True, name=option("packing").label)
        self.loss_on.changed.connect(lambda: self.put(loss_on=self.loss_on.value()))
        self.too_long.changed.connect(lambda: self.put(too_long=self.too_long.value()))
        self.longest.changed.connect(self._longest_edited)
        self.packing.changed.connect(lambda: self.put(packing=self.packing.isChecked()))
        self.longest.setFixedWidth(theme.px(132))
        self.longest_wrong = small(tone="danger", wrap=True)
        self.mask_panel = Panel(Text(tr("What is learned"), "section"), self.loss_on,
                                beside(tr("Longest, in tokens"), self.longest), self.longest_wrong,
                                labelled(tr("Longer ones"), self.too_long), beside(option("packing").label, self.packing,
                                tr("Several examples share a row, blind to one another.")), pad=(16, 10, 16, 12), gap=8)
        self.facts = Facts(gap=6)
        self.counts_panel = Panel(Text(tr("Found"), "section"), self.facts, pad=(16, 10, 16, 12), gap=8)

    def _build_microscope(self) -> None:
        theme = self.theme
        self.what = Segments(theme, (("mask", tr("Batches")), ("text", tr("One example"))), "mask", name=tr("What to look at"),
                             on_change=lambda part: self._views.setCurrentIndex(("mask", "text").index(part)) or self.refresh())
        self.title = Text(tr("What it would be trained on"), "section")
        self.state = small(elide=True)
        self.before = Button(theme, "", "icon", icon="left", name=tr("Rows before (left arrow)"), on_click=lambda: self._turn(-1))
        self.after = Button(theme, "", "icon", icon="right", name=tr("Rows after (right arrow)"), on_click=lambda: self._turn(1))
        self.where = small()
        self.pager = row(self.before, self.where, self.after, gap=6)
        self.legend = mask_legend(theme)
        self.mask = MaskText(theme, tr("Tokens of the first batches"))
        self.mask.turned.connect(self._turn)
        self.rendered = Text(role="mono", wrap=True, select=True, lead=150)
        self._views = QStackedWidget()
        self._views.addWidget(self.mask)
        self._views.addWidget(Scroll(col(self.rendered, "+", gap=0, pad=(0, 0, 8, 0), host=Poured()), horizontal=False))
        self.note = small(wrap=True)
        self.microscope = Panel(row(self.title, (self.state, 1), self.what, gap=10), row(self.legend, "+", self.pager, gap=10),
                                (self._views, 1), self.note, pad=(16, 10, 12, 10), gap=8)
        self.error = NoteSlot(theme)

    # editing ----------------------------------------------------------------------------------------------------------

    def fill(self) -> None:
        values = self.plan.values
        asked = values["template"]
        named = next((name for name, source in NAMED.items() if source == asked), OWN if asked or self._own else "")
        self.template.set(named)
        self.source.set(asked or (self._found_source() if named == OWN else ""))
        self.system.set(values["system"])
        self.loss_on.set(values["loss_on"])
        self.too_long.set(values["too_long"])
        if self.longest.value() != values["max_seq_len"] or self.longest.wrong():
            self.longest.set(values["max_seq_len"] if not isinstance(values["max_seq_len"], str) else None)
        self.packing.set(bool(values["packing"]))

    def _found_source(self) -> str:
        return str(self.plan.looked.template.get("source", "")) if self.plan.looked is not None else ""

    def _template_chosen(self) -> None:
        chosen = self.template.value()
        self._own = chosen == OWN
        if self._own:
            source = self.plan.values["template"] or self._found_source() or templates.CHATML
            self.source.set(source)
            self.put(template=source)
            self.source.setFocus()
        else:
            self.put(template=NAMED.get(chosen, ""))

    def edit_template(self) -> None:
        """Begin a template of one's own from what there is."""
        self.template.set(OWN)
        self._template_chosen()

    def _longest_edited(self) -> None:
        self.put(max_seq_len=self.longest.text() if self.longest.wrong() else self.longest.value())

    def _turn(self, by: int) -> None:
        looked = self.plan.looked
        if looked is not None and looked.pages:
            self._page = min(max(0, self._page + by), len(looked.pages) - 1)
            self._show_page()

    # showing ----------------------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        plan, looked = self.plan, self.plan.looked
        show_if(self.source, self.template.value() == OWN)
        context = plan.model.config.max_seq_len if plan.model and plan.model.config else 0
        self.longest.set_automatic(number(context) if context else "")
        wrong = next((p for p in plan.spec_class.field_problems(plan.values) if p.field == "max_seq_len"), None)
        if wrong is None and plan.wrong is not None and plan.wrong.field == "max_seq_len":
            self.longest_wrong.set(f"{plan.wrong.sentence} {plan.wrong.remedy}")
        else:
            self.longest_wrong.set(f"{wrong.sentence} {wrong.remedy}" if wrong is not None else "")
        show_if(self.longest_wrong, bool(self.longest_wrong.words()))
        due = plan.look_is_due
        self.state.set(tr("Looking at the first batches") if due else tr("the first real batches")
                       if looked is not None and looked.real else "")
        origin = looked.template.get("origin", "") if looked is not None else ""
        words = looked.template.get("sentence", "") if looked is not None else ""
        self.origin.set(words or {"own": tr("This model has one of its own: it is used."), "asked": ""}.get(origin, ""))
        show_if(self.origin, bool(self.origin.words()) and not plan.values["template"])
        self._show_error()
        if looked is not self._shown:
            self._shown, self._page = looked, 0
            self.rendered.set(looked.rendered if looked is not None else "")
            self.facts.set(looked.facts() if looked is not None else [])
            self.note.set(looked.note if looked is not None else "")
            show_if(self.note, bool(self.note.words()))
            show_if(self.counts_panel, looked is not None)
            self._show_page()
        text = self.what.value() == "text"
        show_if(self.legend, not text)
        show_if(self.pager, not text and looked is not None and len(looked.pages) > 1)
        self._show_problems()

    def _show_page(self) -> None:
        looked = self.plan.looked
        if looked is None or not looked.pages:
            self.mask.set([])
            self.where.set("")
            return
        page = looked.pages[self._page]
        self.mask.set([(tr("Batch {batch}, row {row}: {words}", batch=number(each.batch + 1), row=number(each.number + 1), words=each.words)
                        if looked.real else tr("Example {row}: {words}", row=number(each.number + 1), words=each.words), each.pieces)
                       for each in page])
        self.where.set(tr("{page} of {pages}", page=number(self._page + 1), pages=number(len(looked.pages))))
        self.before.setEnabled(self._page > 0)
        self.after.setEnabled(self._page + 1 < len(looked.pages))

    def _show_error(self) -> None:
        wrong = self.plan.looked_wrong if not self.plan.look_is_due else None
        if wrong is None:
            self.error.clear()
        elif self.error.note is None:
            self.error.show_error(FledgeError(tr("The batches could not be looked at."), f"{wrong.sentence} {wrong.remedy}"),
                                  Button(self.theme, tr("Try again"), on_click=self.look_wanted.emit))

    def _show_problems(self) -> None:
        found = self.plan.looked.problems if self.plan.looked is not None else ()
        if found == self._notes_shown:
            return
        self._notes_shown = found
        box = self.problems_box.layout()
        clear(box)
        for problem in found[:MOST_NOTES]:
            buttons = [Button(self.theme, remedy.words, "primary" if i == 0 and problem.blocks else "secondary",
                              on_click=lambda problem=problem, remedy=remedy: self._remedy(problem, remedy))
                       for i, remedy in enumerate(problem.remedies)]
            title = tr("This run would be for nothing") if problem.blocks else problem.sentence
            words = f"{problem.sentence} {problem.remedy}" if problem.blocks else problem.remedy
            box.addWidget(Note(self.theme, "danger" if problem.blocks else "warn", title, words, *buttons))
        show_if(self.problems_box, bool(found))

    def _remedy(self, problem: MaskProblem, remedy: MaskRemedy) -> None:
        if remedy.act == "set":
            self._own = False
            self.plan.set_values(dict(remedy.changes))
            self.load()
            self.edited.emit()
        elif remedy.act == "edit":
            self.edit_template()
        else:
            self.remedy_wanted.emit(problem, remedy)
