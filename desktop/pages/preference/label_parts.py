"""Parts around the card: how far one is, the verdict below it with strength and comment, the line of keys."""

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeyEvent, QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QWidget

from desktop.models.label_keys import LabelKeys
from desktop.models.label_words import aside_words, left_words, rate_words, strengths
from desktop.theme.theme import Theme
from desktop.widgets.bar import Bar
from desktop.widgets.buttons import Button
from desktop.widgets.fields import TextField
from desktop.widgets.key_list import cap
from desktop.widgets.layout import clear, fill, row, show_if
from desktop.widgets.panel import Panel, vrule
from desktop.widgets.text import Text, small
from engine.contract.units import number
from engine.contract.words import tr, trn
from engine.project.label_queues import Progress

CAPS_FROM = 660
"""Width from which the caps of the strengths' keys are shown."""


class ProgressLine(QWidget):
    """How many are labelled, how fast, how long the rest takes, what was put aside."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.words, self.bar = Text("", "strong"), Bar(theme, name=tr("Labelled"))
        self._rate, self._left, self._aside = small(), small(), small()
        self._rule = vrule()
        row(self.words, (self.bar, 1), self._rate, self._left, self._rule, self._aside, gap=14, host=self)
        self.setMinimumHeight(theme.px(20))  # the card stays where it is when the rule comes

    def set(self, progress: Progress | None, given: bool) -> None:
        if progress is None:
            return
        total = progress.done + progress.todo + progress.skipped + (progress.given if given else 0)
        self.words.set(tr("{done} of {total}", done=number(progress.done), total=number(total)) if total else
                       trn("{shown} came with a label", "{shown} came with a label", progress.given, shown=number(progress.given)))
        self.bar.set(progress.done / total if total else 1.0)
        rate = rate_words(progress) if total else ""
        for part, words in ((self._rate, rate), (self._left, left_words(progress)), (self._aside, aside_words(progress))):
            part.set(words)
            show_if(part, bool(words))
        show_if(self._rule, bool(aside_words(progress)))
        self.setAccessibleName(f"{self.words.words()} {rate_words(progress)} {left_words(progress)} {aside_words(progress)}".strip())


class Strengths(QWidget):
    """How much better: one of three, or none. `chosen(strength)`: 0 for none."""

    chosen = Signal(int)

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._value = 0
        self.buttons: dict[int, Button] = {}
        box = QHBoxLayout(self)
        fill(box, (), 0)
        for n, words in strengths():
            button = Button(theme, words, "segment")
            button.setCheckable(True)
            button.setProperty("end", "l" if n == 1 else "r" if n == 3 else "")
            button.clicked.connect(lambda _=False, n=n: self.choose(n))
            self.buttons[n] = button
            box.addWidget(button)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.setAccessibleName(tr("How much better"))

    @property
    def value(self) -> int:
        return self._value

    def set(self, value: int) -> None:
        """Choose without telling anybody."""
        self._value = value
        for n, button in self.buttons.items():
            button.setChecked(n == value)

    def choose(self, value: int) -> None:
        """Choose; the same again chooses none."""
        self.set(0 if value == self._value else value)
        self.chosen.emit(self._value)


class CommentField(TextField):
    """Enter keeps the comment, Escape leaves it as it was."""

    entered, left = Signal(), Signal()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.entered.emit()
        elif event.key() == Qt.Key.Key_Escape:
            self.left.emit()
        else:
            super().keyPressEvent(event)


class Verdict(Panel):
    """What is said of the pair, by mouse. `wanted(action)`, `strength(n)`, `commented`, `comment_left`."""

    wanted = Signal(str)
    strength = Signal(int)

    def __init__(self, theme: Theme) -> None:
        super().__init__(pad=(16, 12, 16, 12), gap=10)
        self.theme = theme
        self._words = Text(tr("It is"), "medium")
        self.strengths = Strengths(theme)
        self.strengths.chosen.connect(self.strength)
        self._caps = row(gap=6)
        self._caps.setMinimumWidth(1)
        self.buttons = {id: Button(theme, words, on_click=lambda id=id: self.wanted.emit(id))
                        for id, words in (("tie", tr("Tie")), ("bad", tr("Both bad")), ("skip", tr("Skip")))}
        self.back = Button(theme, tr("Leave it so"), "quiet", on_click=lambda: self.wanted.emit("leave"))
        self.comment = CommentField(placeholder=tr("Comment, if there is something to say"), name=tr("Comment"))
        fill(self.box, (row(self._words, self.strengths, self._caps, "+", self.back, *self.buttons.values(), gap=10), self.comment), 10,
             (16, 12, 16, 12))
        show_if(self.back, False)

    def set(self, words: str, strength: int, comment: str, visit: bool) -> None:
        """`words` say what the strengths are about: "Left is"."""
        self._words.set(words)
        self.strengths.set(strength)
        self.comment.set(comment)
        show_if(self.back, visit)
        self._show_caps()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._show_caps()

    def _show_caps(self) -> None:
        """With large text, or beside one more button, there is no room for the caps: they give way."""
        back = self.back.sizeHint().width() + 10 if not self.back.isHidden() else 0
        show_if(self._caps, self.width() >= self.theme.px(CAPS_FROM) + back)

    def set_said(self, choice: str) -> None:
        """Which of tie, both bad, skip stands for the pair now: "" for none."""
        for id, button in self.buttons.items():
            button.setProperty("chosen", id == choice)
            button.set_icon("check" if id == choice else "")
            button.set_words({"tie": tr("Tie"), "bad": tr("Both bad"), "skip": tr("Skip")}[id])

    def set_keys(self, keys: LabelKeys) -> None:
        clear(self._caps.layout())
        fill(self._caps.layout(), tuple(cap(self.theme, key) for n in (1, 2, 3) if (key := keys.key(f"strength_{n}"))), 6)  # type: ignore[arg-type]


class LabelHints(QWidget):
    """The keys that matter most, in one line below the card."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.theme = theme
        row(gap=16, host=self)

    def set(self, keys: LabelKeys) -> None:
        clear(self.layout())
        picks = row(*(cap(self.theme, keys.key(s)) for s in ("left", "right") if keys.key(s)), small(tr("pick and go on")), gap=6)
        others = [row(cap(self.theme, keys.key(a.id)), small(a.hint), gap=6) for a in keys.actions if a.hint and keys.key(a.id)]
        fill(self.layout(), ("+", picks, *others, "+"), 16)  # type: ignore[arg-type]
