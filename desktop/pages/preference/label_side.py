"""Beside the card: how sure the person is, what more labels would buy, and the guidelines, which are edited where they stand."""

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QSizePolicy, QWidget

from desktop.models.label_quality import Habit, Promise
from desktop.theme.theme import Theme
from desktop.widgets.bar import Bar
from desktop.widgets.buttons import Button
from desktop.widgets.grown import Draft, Grown
from desktop.widgets.layout import Scroll, clear, col, fill, row, show_if
from desktop.widgets.panel import Panel
from desktop.widgets.text import Text, small
from engine.contract.words import tr

PAD = (16, 10, 16, 14)


class HabitLine(QWidget):
    """A share with its name, a bar, and a sentence that says what it means."""

    def __init__(self, theme: Theme, habit: Habit) -> None:
        super().__init__()
        figure = Text(habit.figure, "medium") if habit.share is not None else small(tr("not yet"), "text3")
        bar = Bar(theme, habit.share or 0.0, "warn" if habit.odd else "accent", 4, name=habit.title)
        show_if(bar, habit.share is not None)
        sentence = small(habit.sentence, wrap=True)
        sentence.setToolTip(habit.why)
        col(row(Text(habit.title), "+", figure), bar, sentence, gap=4, host=self)
        self.setAccessibleName(f"{habit.title} {habit.figure}. {habit.sentence}")


class SurePanel(Panel):
    """`set(habits)`; `people_wanted`: what several annotators agree on."""

    people_wanted = Signal()

    def __init__(self, theme: Theme) -> None:
        super().__init__(pad=PAD, gap=10)
        self.theme = theme
        self._people = Button(theme, tr("People"), "quiet", tip=tr("Who labels here, and how far people agree"),
                              on_click=lambda: self.people_wanted.emit())
        self._lines = col(gap=10)
        fill(self.box, (row(Text(tr("How sure are you?"), "section"), "+", self._people), self._lines), 10, PAD)
        self._shown: Sequence[Habit] | None = None

    def set(self, habits: Sequence[Habit]) -> None:
        if habits != self._shown:
            self._shown = list(habits)
            clear(self._lines.layout())
            fill(self._lines.layout(), tuple(HabitLine(self.theme, h) for h in habits), 10)  # type: ignore[arg-type]


class PromisePanel(Panel):
    """What 50 more labels would buy, or what is missing to say it."""

    def __init__(self, theme: Theme) -> None:
        super().__init__(pad=PAD, gap=5)
        self._words, self._note = Text("", wrap=True), small(wrap=True)
        fill(self.box, (Text(tr("What 50 more would buy"), "section"), self._words, self._note), 5, PAD)

    def set(self, promise: Promise) -> None:
        self._words.set(promise.sentence)
        self._note.set(promise.note)
        show_if(self._note, bool(promise.note))


class GuidelinesPanel(Panel):
    """Markdown, as everybody sees it; edited in place. `saved(markdown)`."""

    saved = Signal(str)

    def __init__(self, theme: Theme) -> None:
        super().__init__(pad=(16, 10, 8, 12), gap=6)
        self.theme = theme
        self.markdown = ""
        self.field: Draft | None = None
        self.edit_button = Button(theme, tr("Edit"), "quiet", on_click=self.edit)
        self.save_button = Button(theme, tr("Save"), "quiet", tip="Ctrl+Enter", on_click=self._save)
        self.cancel_button = Button(theme, tr("Cancel"), "quiet", tip="Esc", on_click=self.stop)
        self._text = Grown(theme, "body")
        self._text.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._none = small(tr("What makes an answer better? Write it down once, and everybody labels alike."), wrap=True)
        self._holder = col(self._none, self._text, "+", gap=0, pad=(0, 0, 6, 0))
        scroll = Scroll(self._holder, horizontal=False)
        fill(self.box, (row(Text(tr("Guidelines"), "section"), "+", self.cancel_button, self.save_button, self.edit_button, gap=10,
                            pad=(0, 0, 8, 0)), (scroll, 1)), 6, (16, 10, 8, 12))
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        self.setMinimumHeight(theme.px(120))
        self.set("")

    def set(self, markdown: str) -> None:
        """As they are in the library; a field that is open stays."""
        self.markdown = markdown
        self._text.set(markdown)
        self.edit_button.set_words(tr("Edit") if markdown else tr("Write some"))
        self._show()

    def _show(self) -> None:
        on = self.field is not None
        show_if(self._text, not on and bool(self.markdown))
        show_if(self._none, not on and not self.markdown)
        show_if(self.edit_button, not on)
        for button in (self.save_button, self.cancel_button):
            show_if(button, on)

    def edit(self) -> None:
        if self.field is None:
            self.field = Draft(self.theme, tr("Guidelines"))
            self.field.setProperty("role", "body")
            self.field.setPlainText(self.markdown)
            self.field.setPlaceholderText(tr("1. True before fluent.\n2. Answers what was asked.\n3. Length is not a virtue."))
            self.field.saved.connect(self._save)
            self.field.left.connect(self.stop)
            self._holder.layout().insertWidget(0, self.field)  # type: ignore[attr-defined]
            self.field.show()
            self._show()
        self.field.setFocus(Qt.FocusReason.OtherFocusReason)

    def _save(self) -> None:
        if self.field is not None:
            words = self.field.toPlainText().strip()
            if words != self.markdown:
                self.saved.emit(words)
            else:
                self.stop()

    def stop(self) -> None:
        """The field goes; what was saved stays."""
        if self.field is not None:
            field, self.field = self.field, None
            field.hide()
            field.setParent(None)
            field.deleteLater()
            self._show()
