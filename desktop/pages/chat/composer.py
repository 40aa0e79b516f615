"""Where the person writes: the prompt, the button, the sampling settings in a row, and their popover."""

from typing import Any

from PySide6.QtCore import QEvent, QObject, QPoint, Qt, Signal
from PySide6.QtGui import QKeyEvent, QResizeEvent
from PySide6.QtWidgets import QApplication, QPlainTextEdit, QWidget

from desktop.jobs.chat_client import SamplingSettings
from desktop.pages.chat.best_of import BestOfButton
from desktop.theme.theme import Theme
from desktop.widgets.buttons import Button
from desktop.widgets.fields import NumberField, Tick, set_wrong
from desktop.widgets.layout import col, fill, fixed, row
from desktop.widgets.panel import Panel, heading, rule
from desktop.widgets.text import Text, small
from engine.contract.units import number
from engine.contract.words import tr

LINES = 5
POPOVER = 500


class PromptField(QPlainTextEdit):
    """Grows with its text, one line to five. Enter and Ctrl+Enter send, Shift+Enter begins a line."""

    sent = Signal()

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self.setProperty("kind", "field")
        self.setTabChangesFocus(True)
        self.setAccessibleName(tr("Prompt"))
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.document().setDocumentMargin(2)
        self.textChanged.connect(self._fit)
        self._fit()

    def value(self) -> str:
        return self.toPlainText()

    def set(self, text: str) -> None:
        if text != self.toPlainText():
            self.setPlainText(text)
            self.moveCursor(self.textCursor().MoveOperation.End)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and not event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
            self.sent.emit()
        else:
            super().keyPressEvent(event)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        self.ensurePolished()
        lines = max(1, min(LINES, round(self.document().size().height())))
        self.setFixedHeight(max(self._theme.px(32), self.fontMetrics().lineSpacing() * lines + self._theme.px(16)))
        more = self.document().size().height() > LINES
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAsNeeded if more else Qt.ScrollBarPolicy.ScrollBarAlwaysOff)


class SamplingPopover(Panel):
    """The settings as fields. `changed` only for settings that can be used; what cannot is marked and said."""

    changed = Signal()

    def __init__(self, theme: Theme, parent: QWidget, settings: SamplingSettings) -> None:
        super().__init__(kind="popover")
        self._temperature = NumberField(whole=False, name=tr("Temperature"), low=0, high=5)
        self._top_p = NumberField(whole=False, name=tr("Top-p"), low=0.01, high=1)
        self._top_k = NumberField(name=tr("Top-k"), low=0, high=100_000)
        self._penalty = NumberField(whole=False, name=tr("Repetition penalty"), low=0.1, high=10)
        self._length = NumberField(name=tr("Longest answer"), low=1, high=1_000_000)
        self._seed = NumberField(name=tr("Seed"), low=0, high=2**31 - 1)
        self.fresh = Tick(theme, tr("A new seed each time"))
        self._problem = Text("", "small", "danger", wrap=True)
        lines = (
            (self._temperature, tr("Temperature"), tr("0 always takes the likeliest token; 1 is the model's own odds.")),
            (self._top_p, tr("Top-p"), tr("Only the likeliest tokens that together have this share. 1: all.")),
            (self._top_k, tr("Top-k"), tr("Only this many of the likeliest tokens. 0: all.")),
            (self._penalty, tr("Repetition penalty"), tr("Above 1, what was said becomes less likely. 1: off.")),
            (self._length, tr("Longest answer"), tr("In tokens. The text may end before.")),
            (self._seed, tr("Seed"), tr("The same seed writes the same text. Both sides use it.")),
        )
        items: list[Any] = []
        for field, label, help in lines:
            field.changed.connect(self._edited)
            items += [row((col(Text(label, "medium"), small(help), gap=0), 1), fixed(field, theme.px(96)), gap=16)]
        self.fresh.changed.connect(self._edited)
        head = heading(tr("Sampling"), "", Button(theme, tr("Back to the defaults"), "quiet", on_click=self._defaults))
        fill(self.box, (head, rule(), *items, self.fresh, self._problem), 8, (16, 12, 16, 12))
        self.setParent(parent)
        self.setFixedWidth(theme.px(POPOVER))
        self.setAccessibleName(tr("Sampling settings"))
        self._problem.hide()
        self.load(settings)
        self.hide()

    def load(self, settings: SamplingSettings) -> None:
        self._settings = settings
        self._temperature.set(settings.temperature)
        self._top_p.set(settings.top_p)
        self._top_k.set(settings.top_k)
        self._penalty.set(settings.repetition_penalty)
        self._length.set(settings.max_tokens)
        self._seed.set(settings.seed)

    def settings(self) -> SamplingSettings:
        """The last settings that could be used."""
        return self._settings

    def open_above(self, anchor: QWidget) -> None:
        parent = self.parentWidget()
        assert parent is not None
        self.adjustSize()
        corner = anchor.mapTo(parent, QPoint(anchor.width(), -8))
        self.move(corner.x() - self.width(), max(8, corner.y() - self.height()))
        self.show()
        self.raise_()
        self._temperature.setFocus(Qt.FocusReason.PopupFocusReason)
        QApplication.instance().installEventFilter(self)  # type: ignore[union-attr]

    def close_it(self) -> None:
        if self.isVisible():
            QApplication.instance().removeEventFilter(self)  # type: ignore[union-attr]
            self.hide()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Escape, or a click elsewhere, closes it."""
        if isinstance(event, QKeyEvent) and event.type() != QEvent.Type.KeyRelease and event.key() == Qt.Key.Key_Escape:
            event.accept()
            self.close_it()
            return True
        if event.type() == QEvent.Type.MouseButtonPress and isinstance(watched, QWidget) and watched is not self \
                and not self.isAncestorOf(watched) and watched.window() is self.window():
            self.close_it()
        return False

    def _edited(self) -> None:
        fields = (self._temperature, self._top_p, self._top_k, self._penalty, self._length, self._seed)
        problem = ""
        for field in fields:
            value = field.value()
            wrong = field.wrong()
            low, high = field.low, field.high
            if not wrong and value is not None and low is not None and high is not None and not low <= value <= high:
                wrong = tr("{name}: choose a value from {low} to {high}.", name=field.accessibleName(), low=_plain(low),
                           high=_plain(high))
            set_wrong(field, bool(wrong))
            problem = problem or wrong
        self._problem.set(problem)
        self._problem.setVisible(bool(problem))
        if problem:
            return
        self._settings = SamplingSettings(temperature=float(self._temperature.value() or 0), top_k=int(self._top_k.value() or 0),
                                          top_p=float(self._top_p.value() or 1), repetition_penalty=float(self._penalty.value() or 1),
                                          seed=int(self._seed.value() or 0), max_tokens=int(self._length.value() or 1))
        self.changed.emit()

    def _defaults(self) -> None:
        self.load(SamplingSettings())
        self.fresh.set(False)
        self._edited()


class Composer(Panel):
    """`sent` when the person wants text, `stopped` when they want it to end."""

    sent = Signal()
    stopped = Signal()
    settings_changed = Signal()

    def __init__(self, theme: Theme, host: QWidget, settings: SamplingSettings) -> None:
        super().__init__()
        self.prompt = PromptField(theme)
        self.prompt.sent.connect(self.sent)
        self._go = Button(theme, tr("Continue"), "primary", on_click=self._clicked, tip=tr("Ctrl+Enter"))
        self._running = False
        self._words = tr("Continue")
        self._facts = row(gap=20)
        self.best = BestOfButton(theme)
        self.best.hide()
        self.sampling = Button(theme, tr("Sampling"), "quiet", icon="settings", on_click=self._open)
        self.popover = SamplingPopover(theme, host, settings)
        self.popover.changed.connect(self._changed)
        self.both = False
        fill(self.box, (row((self.prompt, 1), col(self._go, "+", gap=0), gap=8),
                        row((self._facts, 1), self.best, self.sampling, gap=12)), 6, (16, 14, 16, 6))
        self._values: dict[str, tuple[QWidget, Text]] = {}
        box = self._facts.layout()
        assert box is not None
        for key, label in (("temperature", tr("Temperature")), ("top_p", tr("Top-p")), ("top_k", tr("Top-k")),
                           ("penalty", tr("Repetition penalty")), ("length", tr("Length")), ("seed", tr("Seed"))):
            value = Text("", "medium", elide=key == "seed")
            last = key == "seed"
            pair = row(small(label), (value, 1) if last else value, gap=6)
            self._values[key] = (pair, value)
            box.addWidget(pair, 1 if last else 0)  # type: ignore[call-arg]
        self._show()

    @property
    def settings(self) -> SamplingSettings:
        return self.popover.settings()

    def set_words(self, words: str) -> None:
        self._words = words
        if not self._running:
            self._go.set_words(words)

    def set_running(self, running: bool) -> None:
        """The button stops what is under way, or sends."""
        if running == self._running:
            return
        self._running = running
        self._go.set_kind("secondary" if running else "primary")
        self._go.set_icon("stop" if running else "")
        self._go.set_words(tr("Stop") if running else self._words)
        if not running:
            self._go.setIcon(type(self._go.icon())())
        self._go.setToolTip(tr("Esc") if running else tr("Ctrl+Enter"))

    def set_enabled(self, on: bool) -> None:
        self._go.setEnabled(on or self._running)

    def set_both(self, both: bool) -> None:
        self.both = both
        self._show()

    def set_seed(self, seed: int) -> None:
        from dataclasses import replace
        self.popover.load(replace(self.settings, seed=seed))
        self._show()

    def _clicked(self) -> None:
        (self.stopped if self._running else self.sent).emit()

    def _open(self) -> None:
        if self.popover.isVisible():
            self.popover.close_it()
        else:
            self.popover.open_above(self)

    def _changed(self) -> None:
        self._show()
        self.settings_changed.emit()

    def _show(self) -> None:
        s, fresh = self.settings, self.popover.fresh.value()
        seed = tr("new each time") if fresh else tr("{seed}, same for both", seed=str(s.seed)) if self.both else str(s.seed)
        words = {"temperature": _plain(s.temperature), "top_p": _plain(s.top_p), "top_k": number(s.top_k) if s.top_k else tr("all"),
                 "penalty": _plain(s.repetition_penalty), "length": tr("{count} tokens", count=number(s.max_tokens)), "seed": seed}
        for key, (_, value) in self._values.items():
            value.set(words[key])
        self._values["penalty"][0].setVisible(s.repetition_penalty != 1 and self._values["penalty"][0].parentWidget() is not None)


def _plain(value: float) -> str:
    return f"{value:g}" if value == value else ""


