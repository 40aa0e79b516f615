"""The wizard's widgets: a strip of steps, one body a step, the side that stays. Every decision is models/pretrain_plan.py's."""

import time
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QStackedWidget, QWidget

from desktop.jobs.measure import Measuring
from desktop.models.pretrain_plan import STEPS, Measurement, PretrainPlan, defaults, step_title
from desktop.pages.pretrain.side import DesignPanel, FitPanel
from desktop.widgets.buttons import Button, Segments
from desktop.widgets.facts import Facts
from desktop.widgets.flexible import Beside, Poured
from desktop.widgets.flow_strip import FlowStrip
from desktop.widgets.layout import Scroll, clear, col, fill, row, show_if
from desktop.widgets.notes import Note, NoteSlot
from desktop.widgets.page_header import PageHeader
from desktop.widgets.panel import Panel, rule
from desktop.widgets.plot import Curve, Plot
from desktop.widgets.size_dial import SizeDial
from desktop.widgets.spec_form import SpecForm
from desktop.widgets.text import Text, small
from desktop.widgets.wizard_steps import WizardSteps
from engine.contract.errors import FledgeError
from engine.contract.units import count, duration, number, percent, significant, size
from engine.contract.words import tr, trn
from engine.project import queue
from engine.stages.pretrain.spec import DATA, DESIGN, RUN, SCHEDULE, PretrainSpec

if TYPE_CHECKING:
    from desktop.context import AppContext

SIDE = 348
SIMPLE = ("shape", "max_seq_len", "tokens_per_parameter", "tokens", "tokens_per_step", "tie_embeddings", "sample_every")


class Wizard(QWidget):
    """`start_wanted(spec)` when all is in order; `cancelled` when the person leaves it."""

    start_wanted = Signal(object)
    cancelled = Signal()

    def __init__(self, context: "AppContext", values: dict[str, Any] | None = None, can_cancel: bool = False) -> None:
        super().__init__()
        self.context, self.theme = context, context.theme
        self.plan = PretrainPlan(self._device(), values)
        self.plan.recall(context.settings.get("measured_fits"))
        self.measuring = Measuring(self)
        self._can_cancel = can_cancel
        self._loading = False
        self._step_shown = ""
        theme = self.theme
        self.header = PageHeader(tr("Pretrain"), tr("From random weights to a base model that continues text."))
        self.back = Button(theme, tr("Back"), on_click=self._back)
        self.cancel = Button(theme, tr("Cancel"), on_click=self.cancelled.emit)
        self.forward = Button(theme, tr("Next"), "primary", on_click=self._forward)
        self.bring = Button(theme, tr("Start from an open model"), icon="in", on_click=lambda: context.navigate("import_model"),
                            tip=tr("Import a model instead of raising one from random weights."))
        self.header.set_actions(self.bring, self.cancel, self.back, self.forward)
        self.strip = WizardSteps(theme, [(step, step_title(step)) for step in STEPS])
        self.strip.chosen.connect(self._go)
        self.flow = FlowStrip(theme)
        self.notes = NoteSlot(theme)
        self.design_panel, self.fit_panel = DesignPanel(theme), FitPanel(theme)
        self._forms: dict[str, SpecForm] = {}
        self._built: set[str] = set()
        self._make_dial()
        self.bodies = QStackedWidget()
        for _ in STEPS:
            self.bodies.addWidget(QWidget())
        side = col(self.design_panel, (self.fit_panel, 1), gap=12)
        self.dial_room = self.dial_panel
        col(self.header, 12, self.strip, 12, self.flow, 12, self.notes, self.dial_room, (self._below(side), 1), gap=0, host=self)
        self._connect()
        self.refresh_inputs()

    def _below(self, side: QWidget) -> QWidget:
        """The step's body and the side end on the same line, and share what height there is."""
        return Beside(self.theme, self.bodies, side, side_width=SIDE, least=360)

    # parts ------------------------------------------------------------------------------------------------------------

    def body(self, step: str) -> None:
        """The widgets of a step, made when it is first shown: all at once would hold the window for most of a second."""
        if step not in self._built:
            self._built.add(step)
            place = STEPS.index(step)
            made = {"size": self._size_body, "data": self._data_body, "schedule": self._schedule_body, "fit": self._fit_body,
                    "start": self._start_body}[step]()
            gone = self.bodies.widget(place)
            self.bodies.removeWidget(gone)
            gone.deleteLater()
            self.bodies.insertWidget(place, made)

    def form(self, step: str) -> SpecForm:
        """The form of size, data or schedule."""
        self.body(step)
        return self._forms[step]

    def _make_form(self, step: str, title: str) -> SpecForm:
        group_of = {name: PretrainSpec.option_of(name).group for name in PretrainSpec.model_fields}
        design = [*SIMPLE, *(n for n, group in group_of.items() if group == DESIGN and n not in SIMPLE and n != "depth")]
        groups = {"data": (DATA,), "schedule": (SCHEDULE, RUN)}.get(step)
        made = SpecForm(self.theme, PretrainSpec, groups=groups, fields=design if step == "size" else None, artifacts=self._choices,
                        title=title, advanced=bool(self.context.settings.get(f"advanced.pretrain.{step}", False)))
        made.load(self.plan.values)
        made.changed.connect(lambda: self._edited(made))
        made.advanced_changed.connect(lambda on: self.context.remember(f"advanced.pretrain.{step}", on))
        self._forms[step] = made
        return made

    def _make_dial(self) -> None:
        theme = self.theme
        self.dial = SizeDial(theme, [(s.size, s.time) for s in self.plan.stops], self.plan.stop, self.plan.limit)
        self.dial.valueChanged.connect(self._dialled)
        self.dial_by = Segments(theme, ((False, tr("By size")), (True, tr("By time"))), False, name=tr("What the dial chooses"),
                                on_change=self._dial_by)
        self.dial_panel = col(Panel(row(Text(tr("Size"), "section"), (small(tr("Depth sets width, heads, batch, learning rates and tokens. "
            "Everything can be overridden."), elide=True), 1), self.dial_by, gap=10), 8, self.dial, pad=(16, 10, 16, 8), gap=4), 12, gap=0)

    def _size_body(self) -> QWidget:
        return _scrolled(self._make_form("size", tr("Settings")))

    def _data_body(self) -> QWidget:
        self.data_facts = Facts(gap=6)
        self.data_words = small(wrap=True)
        facts = Panel(Text(tr("What it will see"), "section"), self.data_facts, self.data_words, gap=8)
        form = self._make_form("data", tr("What it learns from"))
        return Scroll(col(Panel(form, pad=(16, 10, 16, 12)), facts, "+", gap=12), horizontal=False)

    def _schedule_body(self) -> QWidget:
        theme = self.theme
        self.rates = Plot(theme, tr("Learning rate over the run"))
        self.rates.setFixedHeight(theme.px(132))
        self.rates_words = small()
        top = Panel(row(Text(tr("Learning rate"), "section"), self.rates_words, "+", gap=10), self.rates, pad=(16, 10, 12, 6), gap=4)
        return col(top, (_scrolled(self._make_form("schedule", tr("Settings"))), 1), gap=12)

    def _fit_body(self) -> QWidget:
        theme = self.theme
        self.measure = Button(theme, tr("Measure now"), icon="pulse", on_click=self._measure)
        self.measure_words = Text(wrap=True, tone="text2")
        self.measure_state = Text(role="section")
        self.warning_box = col(gap=8)
        words = Text(tr("Before a long run, a warm-up and three real steps with these settings tell what it takes here: the true peak of "
                        "memory, tokens a second, the whole time. The formula beside it is only a guess."), tone="text2", wrap=True)
        body = col(Panel(self.measure_state, words, self.measure_words, row(self.measure, "+"), gap=10, pad=(16, 14, 16, 16)),
                   self.warning_box, "+", gap=12)
        return Scroll(body, horizontal=False)

    def _start_body(self) -> QWidget:
        self.summary = Facts(gap=6)
        self.changes = Facts(gap=6)
        self.changes_head = Text(tr("Changed from the defaults"), "section")
        self.start_words = Text(tone="text2", wrap=True)
        body = col(Panel(Text(tr("What will run"), "section"), self.summary, rule(), self.start_words, gap=10, pad=(16, 12, 16, 16)),
                   Panel(self.changes_head, self.changes, gap=8), "+", gap=12)
        return Scroll(body, horizontal=False)

    def _connect(self) -> None:
        self.fit_panel.measure_wanted.connect(self._measure)
        self.fit_panel.cancel_wanted.connect(self.measuring.cancel)
        self.measuring.done.connect(self._measured)
        self.measuring.failed.connect(self._measure_failed)
        self.measuring.ticked.connect(self._show_measuring)
        self.measuring.running_changed.connect(lambda on: self._show_measuring(0.0))
        self.context.machine_changed.connect(self._machine_changed)

    def _choices(self, kind: str) -> list[tuple[str, str]]:
        """(id, title) of the artifacts of a kind; the id stands beside a title that occurs twice."""
        found = self.context.survey.of_kind(kind) if self.context.survey is not None else []
        titles = [a.title for a in found]
        return [(a.id, a.title if titles.count(a.title) == 1 else f"{a.title} ({a.number})") for a in found]

    # what is known ----------------------------------------------------------------------------------------------------

    def _device(self) -> Any:
        return self.context.device_facts

    def _machine_changed(self) -> None:
        self.plan.set_device(self._device())
        self.refresh()

    def refresh_inputs(self) -> None:
        """The project's artifacts may have changed."""
        survey = self.context.survey
        if survey is not None:
            self.plan.set_inputs(survey.of_kind("corpus"), survey.of_kind("tokenizer"), survey.of_kind("tokens"))
        self._load_forms()
        if "data" in self._forms:
            self._forms["data"].refresh_artifacts()
        self.refresh()

    def load(self, values: dict[str, Any]) -> None:
        """Begin with these settings (of an earlier run)."""
        self.plan.values = {**defaults(), **values}
        self.plan.step = STEPS[0]
        self.refresh_inputs()

    def _load_forms(self) -> None:
        self._loading = True
        for form in self._forms.values():
            form.load(self.plan.values)
        self._loading = False

    # acting -----------------------------------------------------------------------------------------------------------

    def _edited(self, form: SpecForm) -> None:
        if self._loading:
            return
        values = form.values()
        mine = {name: values[name] for name in form.names}
        inputs = (self.plan.values["corpus"], self.plan.values["tokenizer"])
        self.plan.set_values(mine)
        if (self.plan.values["corpus"], self.plan.values["tokenizer"]) != inputs and self.context.survey is not None:
            survey = self.context.survey
            self.plan.set_inputs(survey.of_kind("corpus"), survey.of_kind("tokenizer"), survey.of_kind("tokens"))
        self.refresh()

    def _dialled(self, index: int) -> None:
        if not self._loading:
            self.plan.choose_stop(index)
            self._load_forms()
            self.refresh()

    def _dial_by(self, by_time: bool) -> None:
        self.plan.set_by_time(by_time)
        self.refresh()

    def _go(self, step: str) -> None:
        if not self.plan.go(step):
            self._show_problems()
        self.refresh()

    def _back(self) -> None:
        self.plan.back()
        self.refresh()

    def _forward(self) -> None:
        if self.plan.step == STEPS[-1]:
            self._start()
        elif self.plan.step in self._forms and self.plan.problems(self.plan.step):
            self._show_problems()
        else:
            self.plan.next()
            self.notes.clear()
            self.refresh()
            self.forward.setFocus()

    def _show_problems(self) -> None:
        """Each beside its field; what belongs to no field of this step above it."""
        rest = self.plan.problems(self.plan.step)
        for form in self._forms.values():
            rest = form.show_problems(rest)
        if rest:
            self.notes.show_error(FledgeError(rest[0].sentence, rest[0].remedy))

    def _start(self) -> None:
        if not self.plan.values["title"]:
            self.plan.set_values({"title": self.plan.default_title()})
        try:
            spec = self.plan.spec()
        except FledgeError as wrong:
            self.notes.show_error(wrong)
            return
        found = spec.problems()
        if found:
            self.notes.show_error(FledgeError(found[0].sentence, found[0].remedy))
            return
        self.start_wanted.emit(spec)

    # measuring --------------------------------------------------------------------------------------------------------

    def _measure(self) -> None:
        if self.measuring.running:
            self.measuring.cancel()
            return
        try:
            spec = self.plan.spec()
        except FledgeError as wrong:
            self.fit_panel.show_error(wrong)
            return
        assert self.context.project is not None
        self.measuring.start(self.context.project.dir, spec.model_dump(mode="json"), self.context.device, self.plan.key())

    def _measured(self, key: str, result: dict[str, Any]) -> None:
        self.plan.take_measurement(key, Measurement.of(result, time.time()))
        self.context.remember("measured_fits", self.plan.remembered())
        self.refresh()

    def _measure_failed(self, wrong: FledgeError) -> None:
        self.fit_panel.show_error(wrong)
        self.refresh()

    def _show_measuring(self, seconds: float) -> None:
        on = self.measuring.running
        self.fit_panel.set_measuring(on, tr("warm-up and three steps, {time}", time=duration(round(seconds))) if on else "")
        if not on or not seconds:
            self.refresh()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.plan.set_most_stops(self.width() // self.theme.px(96))
        self.refresh()

    # showing ----------------------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        plan = self.plan
        self._loading = True
        self.dial.set_stops([(s.size, s.time) for s in plan.stops], plan.limit)
        self.dial.setValue(plan.stop)
        self._loading = False
        if plan.step != self._step_shown:  # some settings stand on two steps
            self._step_shown = plan.step
            self._load_forms()
        self.strip.set(plan.step, [s for i, s in enumerate(STEPS) if i <= STEPS.index(plan.step) or plan.can_go(s)])
        self.body(plan.step)
        self.bodies.setCurrentIndex(STEPS.index(plan.step))
        show_if(self.dial_room, plan.step == "size")
        show_if(self.bring, plan.step == STEPS[0])
        show_if(self.cancel, plan.step == STEPS[0] and self._can_cancel)
        show_if(self.back, plan.step != STEPS[0])
        busy = not queue.device_free(self.context.device)
        last = tr("Queue it") if busy else tr("Start training")
        self.forward.set_words(tr("Next: {step}", step=step_title(plan.following).lower()) if plan.following else last)
        self.forward.setEnabled(plan.plan is not None or plan.step != STEPS[-1])
        self.flow.set(plan.goes_in(), plan.will_happen(), plan.comes_out())
        self.design_panel.show_plan(plan)
        self.fit_panel.show_plan(plan, plan.device)
        for form in self._forms.values():
            form.set_automatic({k: v for k, v in plan.automatic().items() if k in form.names})
        self._help()
        self._show_wrong()
        {"data": self._show_data, "schedule": self._show_schedule, "fit": self._show_fit, "start": self._show_start}.get(
            plan.step, lambda: None)()

    def _show_wrong(self) -> None:
        """A design that cannot be built is said beside its field at once."""
        wrong = self.plan.wrong
        if wrong is not None:
            from engine.contract.spec import Problem
            for form in self._forms.values():
                form.show_problems([Problem(wrong.field, wrong.sentence, wrong.remedy)] if wrong.field in form.names else [])
        elif self.notes.note is not None:
            self.notes.clear()

    def _help(self) -> None:
        made = self.plan.plan
        if made is None:
            return
        passes = tr("{times} passes over the corpus.", times=significant(made.epochs, 2)) if made.epochs else ""
        batch = tr("{steps} of {rows}, one update.", steps=trn("{count} micro batch",
            "{count} micro batches", made.grad_accum_steps), rows=trn("{count} sequence", "{count} sequences", made.micro_batch_size))
        table = self.plan.vocab_size * made.config.hidden_size
        shape = tr("RMSNorm, RoPE and SwiGLU.") if made.config.shape == "llama" else tr("LayerNorm, learned positions and GELU.")
        words = {"tokens_per_step": batch, "tokens": passes, "tokens_per_parameter": tr("Compute-optimal is near 11."), "shape": shape,
                 "tie_embeddings": tr("One table in and out saves {count} parameters.", count=count(table))}
        for form in self._forms.values():
            for name, said in words.items():
                if said and name in form.rows:
                    form.set_help(name, said)
            if "title" in form.rows:
                form.rows["title"].control.setPlaceholderText(self.plan.default_title())

    def _show_data(self) -> None:
        plan = self.plan
        if plan.corpus is None or plan.tokenizer is None or plan.plan is None:
            self.data_facts.set([])
            self.data_words.set("")
            return
        held = plan.corpus.facts.get("splits", {}).get("validation", {}).get("bytes", 0)
        all_bytes = plan.train_bytes + held
        each = plan.tokenizer.facts.get("bytes_per_token")
        facts = [(tr("Text to learn from"), size(plan.train_bytes)), (tr("Kept for validation"),
                 tr("{size}, {share}", size=size(held), share=percent(held / all_bytes, 1)) if held and all_bytes else "–"),
                 (tr("Tokens to learn from"), count(plan.train_tokens) if plan.train_tokens else
                  tr("about {n}", n=count(plan.train_bytes / 4))),
                 (tr("Bytes a token"), significant(float(each), 3) if each else "–"),
                 (tr("Passes over it"), significant(plan.plan.epochs, 2) if plan.plan.epochs else "–")]
        self.data_facts.set(facts)
        words = tr("The text is cut into tokens once, at the start of the first run with this tokenizer.") if plan.tokens is None else \
            tr("This corpus is cut into tokens of this tokenizer already.")
        self.data_words.set(words)

    def _show_schedule(self) -> None:
        plan = self.plan
        if plan.plan is None:
            return
        self.rates.set_curves([Curve(tr("learning rate"), points=plan.learning_rates())])
        self.rates.x_end = float(plan.plan.steps)
        self.rates_words.set(tr("{warmup} steps up, then {rate}, {decay} at the end", warmup=number(plan.plan.warmup_steps),
                                rate=significant(plan.plan.learning_rate, 3), decay={"linear": tr("a straight way down"),
                                "cosine": tr("a cosine down"), "constant": tr("no decay")}[plan.plan.decay]))

    def _show_fit(self) -> None:
        plan, busy = self.plan, self.measuring.running
        real = plan.measured
        self.measure.set_words(tr("Cancel measuring") if busy else tr("Measure again") if real else tr("Measure now"))
        if busy:
            self.measure_state.set(tr("Measuring"))
        else:
            self.measure_state.set(tr("Measured") if real else tr("Not measured yet with these settings"))
        self.measure_words.set(tr("{time} in all at {speed} tokens/s, {memory} at the peak.", time=duration(real.seconds),
                                  speed=number(real.tokens_per_second), memory=size(real.memory)) if real else
                               tr("It takes about a minute and can be skipped: the run itself checks again before its first step."))
        box = self.warning_box.layout()
        clear(box)
        fill(box, tuple(Note(self.theme, "warn", p.sentence, p.remedy) for p in plan.warnings()), 8)

    def _show_start(self) -> None:
        plan = self.plan
        if plan.plan is None or plan.corpus is None or plan.tokenizer is None:
            return
        made, seconds = plan.plan, plan.measured.seconds if plan.measured else plan.plan.estimate.seconds
        self.summary.set([
            (tr("Name"), plan.values["title"] or plan.default_title()), (tr("Model"), tr("{parameters} parameters, depth {depth}",
             parameters=count(made.config.parameters), depth=made.depth)),
            (tr("Learns from"), plan.corpus.title),
            (tr("Tokens"), tr("{tokens} in {steps} steps", tokens=count(made.tokens), steps=number(made.steps))),
            (tr("Time"), duration(seconds) + ("" if plan.measured else tr(", by formula"))),
            (tr("Samples"), tr("every {steps} steps", steps=number(made.sample_every)) if made.sample_every else tr("never")),
            (tr("Device"), plan.device.title if plan.device is not None else tr("found at the start"))])
        changed = plan.spec().changed()
        shown = [(PretrainSpec.option_of(k).label, value_words(k, v)) for k, v in changed.items()
                 if k not in ("corpus", "tokenizer", "title")]
        self.changes_head.set(tr("Changed from the defaults") if shown else tr("All settings are at their defaults"))
        self.changes.set(shown)
        busy = not queue.device_free(self.context.device)
        self.start_words.set(tr("Another run has the device: this one waits in the queue and starts by itself.") if busy else
                             tr("The run goes on when this window is closed. It can be paused, stopped and resumed."))


def value_words(name: str, value: Any) -> str:
    """A setting's value as a person reads it."""
    for choice, words in PretrainSpec.option_of(name).choices:
        if choice == value:
            return words
    if isinstance(value, bool):
        return tr("on") if value else tr("off")
    if isinstance(value, (int, float)):
        return f"{value:,.8g}" if isinstance(value, float) else number(value)
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _scrolled(form: SpecForm) -> Panel:
    """A panel whose form scrolls inside it, so that the panel keeps its frame."""
    poured = row((form, 1), gap=0, pad=(0, 0, 4, 0), host=Poured())
    return Panel((Scroll(poured, horizontal=False), 1), pad=(16, 10, 12, 12))
