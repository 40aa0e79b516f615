"""A prompt and two answers side by side, makers hidden: what a person compares. It shows what it is given and says what was clicked.

Which answer stands left was drawn elsewhere, and so was what a key does; nothing here is saved. Answers are set as Markdown; HTML in them
stays text, and nothing they name is fetched.
"""

from collections.abc import Sequence

from PySide6.QtCore import QEvent, QSize, Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QWidget

from desktop.theme.theme import Theme
from desktop.widgets.badge import Badge
from desktop.widgets.buttons import Button
from desktop.widgets.choice_card import Card
from desktop.widgets.conversation import role_words
from desktop.widgets.grown import Draft, Grown, GrownPieces
from desktop.widgets.key_list import cap
from desktop.widgets.layout import Scroll, clear, col, fill, fixed, row, show_if
from desktop.widgets.panel import Panel, rule
from desktop.widgets.reader import ADDED, FOUND, SAME
from desktop.widgets.text import Icon, Text, small
from engine.contract.rows import Message
from engine.contract.units import number
from engine.contract.words import tr, trn

LEAST = 190
SIDES = ("left", "right")
PROMPT_SHARE = 0.34
"""Of the height there is, at most this is the prompt's: the answers are what is compared."""
LITTLE = 0.12
"""Below this share in common, marks would cover both answers and say nothing."""


def side_title(side: str) -> str:
    return tr("Left") if side == "left" else tr("Right")


class _Caps(QWidget):
    """A place for a key cap that changes with the person's keys."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme, self._key = theme, ""
        fill(QHBoxLayout(self), (), 0)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)

    def set(self, key: str) -> None:
        if key != self._key:
            self._key = key
            clear(self.layout())
            if key:
                self.layout().addWidget(cap(self._theme, key))


class AnswerSide(Card):
    """One answer. A click anywhere picks it; its foot opens the field to edit it. Signals `edit_wanted`, `saved(text)`, `left`."""

    edit_wanted = Signal()
    saved = Signal(str)
    left = Signal()

    def __init__(self, theme: Theme, side: str) -> None:
        self.side = side
        self._title = Text(side_title(side), "strong")
        self._check, self._state = Icon(theme, "check", "accent"), small("", "accent")
        self.cap = _Caps(theme)
        head = fixed(row(self._title, "+", self._check, self._state, self.cap, gap=8), height=theme.px(26))
        self.text, self.pieces = Grown(theme), GrownPieces(theme, role="read", name=side_title(side))
        for part in (self.text, self.pieces):  # a click anywhere on the card picks, the wheel scrolls it
            part.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
            part.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._more = Button(theme, "", "quiet", name=tr("Show the rest"), on_click=lambda: self._show_rest())
        self.field: Draft | None = None
        self._holder = col(self.text, self.pieces, self._more, "+", gap=8)
        self.scroll = Scroll(self._holder, horizontal=False)
        self._words = small()
        self.edit_button = Button(theme, tr("Edit and pick"), "quiet", on_click=lambda: self.edit_wanted.emit())
        self.edit_button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self._save = Button(theme, tr("Save and pick"), "primary", tip="Ctrl+Enter", on_click=lambda: self._saved())
        self._cancel = Button(theme, tr("Leave it"), tip="Esc", on_click=lambda: self.left.emit())
        self.edit_cap = _Caps(theme)
        foot = fixed(row(self._words, "+", self.edit_button, self.edit_cap, self._cancel, self._save, gap=8), height=theme.px(34))
        super().__init__(theme, head, (self.scroll, 1), rule(), foot, pad=(20, 10, 20, 6), gap=5)
        self.setMinimumHeight(theme.px(LEAST))
        self._tell_editing()
        self.set_state("")

    @property
    def editing(self) -> bool:
        return self.field is not None

    @property
    def draft(self) -> str:
        return self.field.toPlainText() if self.field is not None else ""

    def set(self, words: str) -> None:
        """Another answer, from its beginning, neither picked nor marked."""
        self.stop_editing()
        self.text.set(words or tr("(nothing)"), tone="" if words else "text2")
        self._more.set_words(tr("Show the rest, {amount}", amount=self.text.more_words()))
        show_if(self._more, bool(self.text.cut))
        show_if(self.text, True)
        show_if(self.pieces, False)
        many = len(words.split())
        self._words.set(trn("{shown} word", "{shown} words", many, shown=number(many)))
        self.setAccessibleName(f"{side_title(self.side)}: {words[:2000]}")
        self.scroll.verticalScrollBar().setValue(0)
        self.set_state("")

    def set_state(self, words: str) -> None:
        """What was said of it: "picked, slightly better"; "" while nothing was."""
        self.set_chosen(bool(words))
        self._title.set_tone("accent" if words else "")
        self._state.set(words)
        show_if(self._check, bool(words))
        show_if(self._state, bool(words))

    def mark(self, pieces: Sequence[tuple[str, str]]) -> None:
        """The answer as plain text with marked pieces; none: set for reading again."""
        self.pieces.set_pieces(pieces)
        show_if(self.pieces, bool(pieces))
        show_if(self.text, not pieces)
        show_if(self._more, not pieces and bool(self.text.cut))

    def _show_rest(self) -> None:
        self.text.show_all()
        show_if(self._more, False)

    # editing ----------------------------------------------------------------------------------------------------------

    def edit(self, words: str) -> None:
        """Open the field."""
        if self.field is None:
            self.field = Draft(self.theme, tr("The better answer, edited"))
            self.field.setPlainText(words)
            self.field.saved.connect(self._saved)
            self.field.left.connect(self.left.emit)
            self._holder.layout().insertWidget(0, self.field)  # type: ignore[attr-defined]
            self.field.show()  # at once: the key that follows is the text's
        self._tell_editing()
        self.field.setFocus(Qt.FocusReason.OtherFocusReason)
        self.field.moveCursor(self.field.textCursor().MoveOperation.End)

    def saving(self, on: bool) -> None:
        """What stands in the field is on its way to the disk."""
        if self.field is not None:
            self.field.setReadOnly(on)
        self._save.setEnabled(not on)

    def stop_editing(self) -> None:
        if self.field is not None:
            field, self.field = self.field, None
            field.hide()
            field.setParent(None)
            field.deleteLater()
            self._save.setEnabled(True)
            self._tell_editing()

    def _tell_editing(self) -> None:
        on = self.editing
        show_if(self.text, not on)
        for part in (self._save, self._cancel):
            show_if(part, on)
        for part in (self.edit_button, self.edit_cap):
            show_if(part, not on)
        self.usable = not on
        if on:
            show_if(self.pieces, False)
            show_if(self._more, False)

    def _saved(self) -> None:
        if self.field is not None:
            self.saved.emit(self.field.toPlainText())


class _Turns(QWidget):
    """The turns of a prompt; `grown` when it is laid out at another height."""

    grown = Signal()

    def event(self, event: QEvent) -> bool:
        done = super().event(event)
        if event.type() in (QEvent.Type.LayoutRequest, QEvent.Type.Resize):
            self.grown.emit()
        return done


class PromptPanel(Panel):
    """What was asked. One question is only read; of a conversation each turn says whose it is, and its end is in view."""

    def __init__(self, theme: Theme, *tools: QWidget) -> None:
        super().__init__(pad=(20, 8, 20, 12), gap=2)
        self.theme = theme
        self._title, self.place, self.badges = small(tr("Prompt")), small("", elide=True, align=Qt.AlignmentFlag.AlignRight), row(gap=6)
        self._turns = _Turns()
        col(gap=4, host=self._turns)
        self._parts: list[tuple[QWidget, Text, Grown]] = []
        self.scroll = Scroll(self._turns, horizontal=False)
        self._most = 10_000
        self._to_end = False
        self._turns.grown.connect(self._fit)
        head = row(self._title, self.badges, (self.place, 1), *tools, gap=8)
        fill(self.box, (head, self.scroll), 2, (20, 10, 16, 8))

    def set(self, messages: Sequence[Message], place: str, badges: Sequence[tuple[str, str, str]] = ()) -> None:
        """`place` says which pair it is and why it is shown; `badges` are (words, tone, why)."""
        while len(self._parts) < len(messages):
            who, text = small("", "text2"), Grown(self.theme)
            part = col(who, text, gap=1)
            self._turns.layout().addWidget(part)
            self._parts.append((part, who, text))
        several = len(messages) > 1
        for i, (part, who, text) in enumerate(self._parts):
            if i < len(messages):
                message = messages[i]
                who.set(role_words(message.role))
                show_if(who, several)
                aside = several and message.role in ("system", "tool", "assistant")
                text.set(message.content or tr("(empty)"), tone="text2" if aside or not message.content else "")
            show_if(part, i < len(messages))
        turns = sum(m.role != "system" for m in messages)
        self._title.set(trn("Conversation, {shown} turn", "Conversation, {shown} turns", turns, shown=number(turns)) if several
                        else tr("Prompt"))
        self.place.set(place)
        clear(self.badges.layout())
        fill(self.badges.layout(), tuple(Badge(*b) for b in badges), 6)  # type: ignore[arg-type]
        show_if(self.badges, bool(badges))
        self.setAccessibleName(f"{self._title.words()}: {messages[-1].content[:2000] if messages else ''}")
        self._to_end = several
        self._turns.layout().activate()
        self._fit()

    def set_most(self, height: int) -> None:
        """No higher than this."""
        if height != self._most:
            self._most = height
            self._fit()

    def _fit(self) -> None:
        wanted = self._turns.layout().sizeHint().height()
        high = max(self.theme.px(24), min(wanted, self._most))
        if high != self.scroll.height():
            self.scroll.setFixedHeight(high)
        bar = self.scroll.verticalScrollBar()
        bar.setValue(bar.maximum() if self._to_end else 0)


class PairCard(QWidget):
    """`show_pair(...)`, then what happens to it. `picked(side)`, `edit_wanted(side)`, `saved(side, text)`, `left` (the field)."""

    picked = Signal(str)
    edit_wanted = Signal(str)
    saved = Signal(str, str)
    left = Signal()

    def __init__(self, theme: Theme, *tools: QWidget) -> None:
        super().__init__()
        self.theme = theme
        self.prompt = PromptPanel(theme, *tools)
        self.sides = {side: AnswerSide(theme, side) for side in SIDES}
        self.texts = dict.fromkeys(SIDES, "")
        self.marked = False
        self._asks = False
        self._keys = {"left": "", "right": "", "edit": ""}
        self._said = small("", wrap=True)
        show_if(self._said, False)
        for side, card in self.sides.items():
            card.clicked.connect(lambda side=side: self.picked.emit(side))
            card.edit_wanted.connect(lambda side=side: self.edit_wanted.emit(side))
            card.saved.connect(lambda words, side=side: self.saved.emit(side, words))
            card.left.connect(self.left.emit)
        col(self.prompt, (row(*[(self.sides[s], 1) for s in SIDES], gap=16), 1), self._said, gap=12, host=self)
        self.setFocusPolicy(Qt.FocusPolicy.ClickFocus)

    # showing ----------------------------------------------------------------------------------------------------------

    def show_pair(self, prompt: Sequence[Message], left: str, right: str, place: str, badges: Sequence[tuple[str, str, str]] = ()) -> None:
        """Another pair; nothing of the one before is left."""
        self.texts = {"left": left, "right": right}
        self.marked = False
        show_if(self._said, False)
        self.ask_side(False)
        self.prompt.set(prompt, place, badges)
        for side in SIDES:
            self.sides[side].set(self.texts[side])

    def show_picked(self, side: str, words: str) -> None:
        """What was said of this pair: a side with words, or "" for none."""
        for each in SIDES:
            self.sides[each].set_state(words if each == side else "")

    def set_keys(self, left: str, right: str, edit: str) -> None:
        """The key caps on the cards."""
        self._keys = {"left": left, "right": right, "edit": edit}
        self._show_caps()

    def _show_caps(self) -> None:
        for side in SIDES:
            card = self.sides[side]
            card.cap.set("" if self._asks else self._keys[side])
            card.edit_cap.set(self._keys[side] if self._asks else self._keys["edit"])
            card.edit_button.set_words(tr("Edit this one") if self._asks else tr("Edit and pick"))

    def show_pieces(self, pieces: Sequence[Sequence[str]], cut: bool = False) -> None:
        """Marks where the answers differ: of engine.text.quoted.differences, from left to right."""
        same = sum(len(text) for kind, text in pieces if kind == "same")
        longest = max(1, *(len(text) for text in self.texts.values()))
        words = tr("They have nothing in common that could be marked.") if same < LITTLE * longest else \
            tr("They are the same.") if all(kind == "same" for kind, _ in pieces) else ""
        if cut:
            words = f"{words} {tr('Only their beginnings are compared.')}".strip()
        self._said.set(words)
        show_if(self._said, bool(words))
        self.marked = True
        if same >= LITTLE * longest:
            self.sides["left"].mark([(text, ADDED if kind == "removed" else SAME) for kind, text in pieces if kind != "added"])
            self.sides["right"].mark([(text, FOUND if kind == "added" else SAME) for kind, text in pieces if kind != "removed"])

    def unmark(self) -> None:
        """Set for reading again."""
        self.marked = False
        show_if(self._said, False)
        for card in self.sides.values():
            card.mark(())

    # editing ----------------------------------------------------------------------------------------------------------

    @property
    def asks_side(self) -> bool:
        """Whether the next arrow says which answer is edited."""
        return self._asks

    def ask_side(self, on: bool) -> None:
        self._asks = on
        self._show_caps()

    @property
    def editing(self) -> str:
        """The side whose field is open, "" for none."""
        return next((s for s in SIDES if self.sides[s].editing), "")

    def edit(self, side: str, words: str | None = None) -> None:
        self.ask_side(False)
        for other in SIDES:
            if other != side:
                self.sides[other].stop_editing()
        self.sides[side].edit(self.texts[side] if words is None else words)

    def saving(self, on: bool) -> None:
        for card in self.sides.values():
            card.saving(on)

    def stop_editing(self) -> None:
        for side in SIDES:
            if self.sides[side].editing:
                self.sides[side].stop_editing()
                show_if(self.sides[side]._more, bool(self.sides[side].text.cut))
        self.setFocus(Qt.FocusReason.MouseFocusReason)

    def scroll_by(self, share: float) -> None:
        """Long answers, by keyboard: both move."""
        for card in self.sides.values():
            bar = card.scroll.verticalScrollBar()
            bar.setValue(bar.value() + int(share * card.scroll.viewport().height()))

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.prompt.set_most(max(self.theme.px(48), int(PROMPT_SHARE * self.height()) - self.theme.px(44)))

    def minimumSizeHint(self) -> QSize:
        return QSize(self.theme.px(320), self.theme.px(LEAST) + max(self.theme.px(90), self.prompt.sizeHint().height()) + 24)
