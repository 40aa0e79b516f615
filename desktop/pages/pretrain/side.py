"""The side of the wizard, the same on every step: what the design comes to and where it loads, and what it takes on this machine."""

import time

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QVBoxLayout, QWidget

from desktop.models.pretrain_plan import PretrainPlan
from desktop.theme.theme import Theme
from desktop.widgets.badge import Badge
from desktop.widgets.buttons import Button
from desktop.widgets.chart_data import short_time
from desktop.widgets.estimate import Estimate
from desktop.widgets.facts import Facts
from desktop.widgets.layout import clear, row, show_if
from desktop.widgets.notes import NoteSlot
from desktop.widgets.panel import Panel, rule
from desktop.widgets.text import Icon, Text, small
from engine.contract.errors import FledgeError
from engine.contract.machine import DeviceFacts
from engine.contract.units import count, duration, number, size
from engine.contract.words import tr


class DesignPanel(Panel):
    """Parameters, shape, steps, and the badge of the exporter's judgement."""

    def __init__(self, theme: Theme) -> None:
        self.theme = theme
        self._badge = Badge()
        self._facts = Facts(gap=5)
        self._where = QWidget()
        self._box = QVBoxLayout(self._where)
        self._box.setContentsMargins(0, 0, 0, 0)
        self._box.setSpacing(6)
        self._shown: object = None
        super().__init__(row(Text(tr("Design"), "section"), "+", self._badge), self._facts, rule(), self._where, pad=(16, 10, 16, 10),
                         gap=6)

    def show_plan(self, plan: PretrainPlan) -> None:
        made = plan.plan
        show_if(self._where, made is not None)
        if made is None:
            self._badge.set(tr("cannot be built"), "danger")
            return
        config = made.config
        self._facts.set([(tr("Parameters"), count(config.parameters)),
                         (tr("Depth, width, heads"), f"{config.num_layers}, {config.hidden_size:,}, {config.num_heads}"),
                         (tr("Steps"), number(made.steps))])
        found = plan.verdicts()
        loads = [v for v in found if v.loads]
        why = tr("Computed by the exporter itself from the shape of the model and the tokenizer.")
        if len(loads) == len(found):
            self._badge.set(tr("Exports everywhere"), "ok", why)
        elif loads:
            self._badge.set(tr("Exports to {where}", where=", ".join(v.title for v in loads)), "warn", why)
        else:
            self._badge.set(tr("Stays in Fledge"), "warn", why)
        if found != self._shown:
            self._shown = found
            clear(self._box)
            for v in found:
                word = small(v.architecture if v.loads else v.reason, elide=not v.loads)
                word.setToolTip(" ".join(x for x in (v.reason, v.remedy) if x))
                mark = Icon(self.theme, "check" if v.loads else "close", "ok" if v.loads else "warn")
                self._box.addWidget(row(mark, Text(v.title, "medium"), "+" if v.loads else None, (word, 1) if not v.loads else word, gap=8))


class FitPanel(Panel):
    """Formula beside measurement. `measure_wanted` and `cancel_wanted`; while it measures, the phase stands in the heading."""

    measure_wanted = Signal()
    cancel_wanted = Signal()

    def __init__(self, theme: Theme) -> None:
        self.theme = theme
        self._title = Text(tr("Fit"), "section", elide=True)
        self._phase = small()
        self._button = Button(theme, tr("Measure"), "quiet", on_click=self._clicked)
        self._estimate = Estimate(theme)
        self._notes = NoteSlot(theme)
        self._measuring = False
        super().__init__(row((self._title, 1), self._phase, self._button, gap=8), self._notes, self._estimate, "+", pad=(16, 8, 16, 12),
                         gap=6)

    def show_plan(self, plan: PretrainPlan, device: DeviceFacts | None) -> None:
        self._title.set(tr("Fit on {device}", device=device.title) if device is not None and device.title else tr("Fit on this machine"))
        show_if(self._estimate, plan.plan is not None)
        self._button.setEnabled(plan.plan is not None and bool(plan.corpus and plan.tokenizer) or self._measuring)
        if not self._measuring:
            self._button.set_words(tr("Measure again") if plan.measured else tr("Measure"))
        if plan.plan is None:
            return
        formula, real = plan.plan.estimate, plan.measured
        limit = (real.limit if real else 0) or formula.limit
        lines = [(tr("Peak memory"), size(formula.memory), size(real.memory) if real else ""),
                 (tr("Speed, tokens/s"), number(formula.tokens_per_second), number(real.tokens_per_second) if real else ""),
                 (tr("Total time"), duration(formula.seconds), duration(real.seconds) if real else "")]
        if real is not None and real.energy_kwh is not None:
            lines.append((tr("Energy"), "", f"{real.energy_kwh:.2f} kWh"))
        if real is not None:
            note = tr("{used} of {limit}, from {steps} real steps {ago} ago", used=size(real.memory), limit=size(limit), steps=real.steps,
                      ago=short_time(max(1.0, time.time() - real.when)))
        else:
            note = tr("{used} of {limit} by formula. Measuring takes a few real steps.", used=size(formula.memory), limit=size(limit)) \
                if limit else tr("By formula. Measuring takes a few real steps.")
        self._estimate.set(lines, note, measured_share=real.memory / limit if real and limit else None,
                           formula_share=formula.memory / limit if limit else None)

    def set_measuring(self, on: bool, phase: str = "") -> None:
        self._measuring = on
        self._phase.set(phase if on else "")
        self._button.set_words(tr("Cancel") if on else tr("Measure"))
        if on:
            self._notes.clear()

    def show_error(self, wrong: FledgeError) -> None:
        self._notes.show_error(wrong)

    def _clicked(self) -> None:
        (self.cancel_wanted if self._measuring else self.measure_wanted).emit()
