"""One checkpoint's column: picker, what it is, its text or its turns, its figures. It shows; asking and keeping are the page's."""

import time
from collections.abc import Sequence

from PySide6.QtCore import QRect, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QWidget

from desktop.jobs.chat_client import AnswerEnd, ChatError, ModelInfo, StreamedToken
from desktop.pages.chat import wording
from desktop.pages.chat.best_of import Ranked, ranked_panel
from desktop.pages.chat.picker import ModelPicker
from desktop.theme.palette import mix
from desktop.theme.theme import Theme
from desktop.widgets.badge import Badge
from desktop.widgets.flexible import Poured
from desktop.widgets.layout import Item, Scroll, clear, col, fill, row, show_if
from desktop.widgets.notes import Note, NoteSlot
from desktop.widgets.panel import Panel, rule
from desktop.widgets.text import Text, small
from desktop.widgets.token_text import Cell, TokenColours, TokenText
from engine.contract.words import tr

TINTS = (0.0, 0.13, 0.27, 0.42)
PICKER = 264
PITCH = 28
NARROW = 400


def tint(theme: Theme, step: int) -> str:
    """The ground of a token, by how surprising it was: 0 for 80 % and up, 3 for under 20."""
    return mix(theme["series2"], theme["surface"], TINTS[step])


def token_colours(theme: Theme) -> TokenColours:
    colour = theme.colour
    clear_tint = colour("surface")
    clear_tint.setAlpha(0)
    tints = [type(clear_tint)(tint(theme, step)) for step in (1, 2, 3)]
    return TokenColours(colour("text"), colour("text2"), colour("text3"), colour("text"), colour("accent_soft"),
                        (clear_tint, tints[0], tints[1], tints[2]))


class Pane(Panel):
    """`begin` a text or a turn, `take` tokens, `end` or `fail`. `chosen` tells the token under the pointer: a cell or None, and where."""

    picked = Signal()
    chosen = Signal(object, QRect)

    def __init__(self, theme: Theme, name: str) -> None:
        super().__init__()
        self.theme, self.side_name = theme, name
        self.model: ModelInfo | None = None
        self.chat_mode = False
        self.tokens: list[StreamedToken] = []
        self.history: list[tuple[str, str]] = []
        self.current: TokenText | None = None
        self._models: dict[str, ModelInfo] = {}
        self._began = self._first = self._last = 0.0
        self._follow = True
        self._noted = self._warned = False
        self.picker = ModelPicker(theme, name)
        self.picker.changed.connect(self._picked)
        self.badge = Badge()
        self.nature = Text("", "small", "text2", elide=True)
        self._turns = col(gap=8)
        box = self._turns.layout()
        assert box is not None
        self._turns_box = box
        self._after = NoteSlot(theme)
        self._trouble = NoteSlot(theme)
        self.ranked: list[Ranked] = []
        self._ranked = col(gap=0)
        self._body = col(self._turns, self._ranked, self._after, self._trouble, "+", gap=12, pad=(0, 2, 0, 4), host=Poured())
        self.scroller = Scroll(self._body, horizontal=False)
        bar = self.scroller.verticalScrollBar()
        bar.rangeChanged.connect(self._grown)
        bar.valueChanged.connect(self._scrolled)
        self._figures = [small(), small(), small(elide=True)]
        self._kept = small("", "text3")
        self.picker.setMaximumWidth(theme.px(PICKER))
        fill(self.box, (row((self.picker, 100), "+", self.badge, gap=10), self.nature, rule(), (self.scroller, 1), rule(),
                        row(*self._figures[:2], (self._figures[2], 1), self._kept, gap=16)), 8, (20, 16, 20, 12))
        self.setAccessibleName(name)
        self.show_figures()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """In a narrow pane the names of checkpoints go before the badge; the picker's tooltip says the same."""
        super().resizeEvent(event)
        self._fit_badge()

    def _fit_badge(self) -> None:
        show_if(self.badge, bool(self.badge.text()) and self.width() >= self.theme.px(NARROW))

    # -- models ------------------------------------------------------------------------------------------------------

    def set_models(self, models: Sequence[ModelInfo], wanted: str = "") -> None:
        """The models there are; `wanted` is chosen if it is among them and nothing was chosen before."""
        had = self.picker.value()
        self._models = {m.id: m for m in models}
        self.picker.set_models(models)
        if had is None and wanted in self._models:
            self.picker.set(wanted)
        self._describe()

    def pick(self, id: str) -> None:
        if id in self._models:
            self.picker.set(id)
            self._describe()

    def _picked(self) -> None:
        self._describe()
        self.picked.emit()

    def _describe(self) -> None:
        self.model = self._models.get(self.picker.value() or "")
        if self.model is not None:
            words, why = wording.badge_of(self.model)
            self.badge.set(words, "", why)
            self._fit_badge()
            self.nature.set(wording.nature_of(self.model))
            self.picker.setToolTip(f"{self.model.title}, {words} ({self.model.id})")
        else:
            self.badge.set("")
            self.nature.set("")

    # -- an answer ---------------------------------------------------------------------------------------------------

    def reset(self, chat_mode: bool) -> None:
        """Empty, for a new text or conversation."""
        self.chat_mode, self.history, self.tokens, self.current = chat_mode, [], [], None
        clear(self._turns_box)
        self.show_ranked((), "")
        self._after.clear()
        self._trouble.clear()
        self._warned = False
        self._kept.set("")
        self.chosen.emit(None, QRect())
        self.show_figures()

    def begin(self, prompt: str) -> None:
        """A prompt goes out: in chat mode a turn is added, else the text begins anew."""
        if not self.chat_mode:
            self.reset(False)
        self.tokens, self._began, self._first = [], time.monotonic(), 0.0
        self._after.clear()
        self._trouble.clear()
        self.show_ranked((), "")
        self._noted = self._warned = False
        self._kept.set("")
        self._follow = True
        if self.chat_mode:
            self._add(self._asked(prompt))
            self.history.append(("user", prompt))
        self.current = self._text("" if self.chat_mode else prompt)
        self._add(self.current)
        self._figures[0].set(tr("waiting for the first token"))
        self._figures[1].set("")
        self._figures[2].set("")

    def take(self, tokens: Sequence[StreamedToken]) -> None:
        """More of the text."""
        now = time.monotonic()
        self._first, self._last = self._first or now, now
        self.tokens += tokens
        if self.current is not None:
            self.current.append(tokens)
        if len(self.tokens) > len(tokens):
            self.show_figures(self._last - self._first)
        if self.model is not None and self.model.untrained and not self._noted:
            self._explain()

    def progress(self, done: int, count: int) -> None:
        """Several answers are on their way."""
        self._figures[0].set(tr("{done} of {count} answers are there", done=str(done), count=str(count)))

    def show_ranked(self, ranked: Sequence[Ranked], title: str) -> None:
        """The answers that a reward model chose from, best first; none clears them."""
        self.ranked = list(ranked)
        box = self._ranked.layout()
        assert box is not None
        clear(box)
        if ranked:
            box.addWidget(ranked_panel(self.theme, ranked, title))

    def end(self, end: AnswerEnd) -> None:
        """The text is whole."""
        self.finish_text()
        self.show_figures(end.seconds if end.reason != "cancelled" else self._last - self._first)
        if self.model is not None and self.model.untrained:
            self._explain()
        elif end.reason == "context" and self.model is not None:
            self._after.show_note(Note(self.theme, "info", tr("It can see no further"),
                                       tr("This model looks at {context} at once, the prompt included.",
                                          context=wording.counted(self.model.context))))
        elif not self.tokens:
            self._after.show_note(Note(self.theme, "info", tr("It ended at once"),
                                       tr("The likeliest next thing was the end of the text. Another seed or prompt may say more.")))

    def finish_text(self) -> str:
        """Close the answer under way; its text."""
        if self.current is None:
            return ""
        self.current.finish()
        text = self.current.plain(prompt=False)
        if self.chat_mode:
            self.history.append(("assistant", text))
        return text

    def fail(self, error: ChatError, *actions: Item) -> None:
        """The answer broke off: why, and what to do. What has been written stays."""
        self.show_figures(self._last - self._first)
        self._trouble.show_note(Note(self.theme, "danger", error.sentence, error.remedy, *actions))
        if self.chat_mode and self.history and self.history[-1][0] == "user":
            self.finish_text()

    def kept(self) -> None:
        """It is on the disk."""
        self._kept.set(tr("saved"))

    def show_past(self, prompt: str, tokens: Sequence[StreamedToken], text: str, seconds: float) -> None:
        """A text or turn from the library."""
        self.begin(prompt)
        assert self.current is not None
        kept = tokens or [StreamedToken(-1, text.encode(), text, 0.0, 1)]
        self.tokens = list(tokens)
        self.current.append(kept)
        self.finish_text()
        self.show_figures(seconds)
        self.kept()
        if tokens and self.model is not None and self.model.untrained:
            self._explain()

    def warn_base(self, on: bool) -> None:
        """In chat mode, a base model is told apart before anything is asked."""
        wanted = on and self.model is not None and not self.model.chat and not self.history
        if wanted and not self._warned:
            self._after.show_note(Note(self.theme, "info", tr("This model was not tuned to answer"),
                                       tr("It continues text. Asked a question it carries on as a page of its corpus might; it rarely "
                                          "answers.")))
        elif not wanted and self._warned and not self.history:
            self._after.clear()
        self._warned = wanted

    def show_figures(self, seconds: float = 0.0) -> None:
        words = wording.figures(self.tokens, seconds) if self.current is not None else [tr("nothing written yet")]
        for label, text in zip(self._figures, [*words, "", ""], strict=False):
            label.set(text)

    def _explain(self) -> None:
        assert self.model is not None
        words = wording.why_gibberish(self.model, self.tokens)
        if self._after.note is None:
            self._after.show_note(Note(self.theme, "info", tr("Why it is gibberish"), words))
        else:
            self._after.note.set(tr("Why it is gibberish"), words)
        self._noted = True

    # -- parts -------------------------------------------------------------------------------------------------------

    def _text(self, prompt: str) -> TokenText:
        theme = self.theme
        made = TokenText(theme.font("read"), lambda: token_colours(theme), theme.px(PITCH))
        made.setAccessibleName(tr("Text of {side}", side=self.side_name))
        theme.follow(made, made.restyle)
        made.set_prompt(prompt)
        made.chosen_changed.connect(lambda index: self._chosen(made, index))
        return made

    def _asked(self, prompt: str) -> QWidget:
        return Panel(small(tr("You"), "text3"), Text(prompt, "read", wrap=True, select=True), kind="sunken", gap=2, pad=(12, 8, 12, 10))

    def _add(self, widget: QWidget) -> None:
        self._turns_box.addWidget(widget)
        show_if(widget, True)

    def _chosen(self, text: TokenText, index: int) -> None:
        if index < 0 or not text.cells[index].tokens[-1].top:
            self.chosen.emit(None, QRect())
            return
        cell: Cell = text.cells[index]
        rects = text.cell_rects(index)
        place = rects[0]
        if text.hasFocus():
            self.scroller.ensureVisible(0, text.mapTo(self._body, place.center()).y(), 0, PITCH)
        self.chosen.emit(cell, QRect(text.mapTo(self, place.topLeft()), place.size()))

    def _grown(self) -> None:
        if self._follow:
            bar = self.scroller.verticalScrollBar()
            bar.setValue(bar.maximum())

    def _scrolled(self, value: int) -> None:
        """Scrolling up stops following; scrolling to the end follows again."""
        self._follow = value >= self.scroller.verticalScrollBar().maximum() - 4
        self.chosen.emit(None, QRect())


