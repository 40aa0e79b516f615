"""The card: one example large, its conversation as bubbles that can be edited in place, and another text beside it on request.

It shows what it is given and says what the person wants (`edited`, with all messages); it writes nothing.
"""

from collections.abc import Sequence
from typing import Any

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtWidgets import QApplication, QWidget

from desktop.models.example_words import answer_of, next_role, status_look, status_words, who_words
from desktop.models.instruct_words import flag_sentence, flag_words, score_words
from desktop.pages.instruct.review_bubble import Bubble
from desktop.theme.theme import Theme
from desktop.widgets.badge import Badge
from desktop.widgets.buttons import Button
from desktop.widgets.grown import GrownPieces
from desktop.widgets.layout import Scroll, clear, col, fill, row, show_if
from desktop.widgets.panel import Panel, rule
from desktop.widgets.reader import ADDED, FOUND, SAME
from desktop.widgets.text import Icon, Text, small
from engine.contract.rows import Message
from engine.contract.units import number
from engine.contract.words import tr
from engine.project.examples import ExampleRow

BADGES = 2
LITTLE = 0.12
"""Below this share in common, marks would cover both texts and say nothing."""


class Beside(QWidget):
    """Two texts side by side. `show_texts(...)`, then `show_pieces(pieces)`: of engine.text.browse.diff, from left to right."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._titles = [Text("", "strong", elide=True) for _ in range(2)]
        self._notes = [small() for _ in range(2)]
        self.texts = [GrownPieces(theme, name=name) for name in (tr("Text at the left"), tr("Text at the right"))]
        panels = [Panel(row((title, 1), note, gap=8), text, "+", kind="sunken", pad=(14, 8, 14, 12), gap=6)
                  for title, note, text in zip(self._titles, self._notes, self.texts, strict=True)]
        self._words = small("", wrap=True)
        self._bar = row(gap=8)
        col(row((panels[0], 1), (panels[1], 1), gap=12), self._words, self._bar, gap=6, host=self)

    def show_texts(self, titles: Sequence[str], notes: Sequence[str], texts: Sequence[str], *actions: QWidget) -> None:
        """The plain texts at once; their marks follow."""
        for i in range(2):
            self._titles[i].set(titles[i])
            self._notes[i].set(notes[i])
            self.texts[i].set_pieces([(texts[i], SAME)])
        self._words.set("")
        show_if(self._words, False)
        clear(self._bar.layout())
        fill(self._bar.layout(), (*actions, "+"), 8)  # type: ignore[arg-type]

    def show_pieces(self, pieces: Sequence[Sequence[str]], cut: bool = False) -> None:
        same = sum(len(text) for kind, text in pieces if kind == "same")
        longest = max(1, max(sum(len(t) for k, t in pieces if k != "added"), sum(len(t) for k, t in pieces if k != "removed")))
        words = tr("They have nothing in common that could be marked.") if same < LITTLE * longest else \
            tr("They are the same.") if all(kind == "same" for kind, _ in pieces) else ""
        if cut:
            words = f"{words} {tr('Only their beginnings are compared.')}".strip()
        self._words.set(words)
        show_if(self._words, bool(words))
        if same >= LITTLE * longest:
            self.texts[0].set_pieces([(text, ADDED if kind == "removed" else SAME) for kind, text in pieces if kind != "added"])
            self.texts[1].set_pieces([(text, FOUND if kind == "added" else SAME) for kind, text in pieces if kind != "removed"])


class Card(Panel):
    """`show_row(row, place, total)`. Signals: `edited(messages)`, `beside_wanted()`, `draft_left(place, draft)`."""

    edited = Signal(object)
    beside_wanted = Signal()
    draft_left = Signal(int, object)

    def __init__(self, theme: Theme) -> None:
        super().__init__(pad=(1, 1, 1, 1), gap=0)
        self.theme = theme
        self.row: ExampleRow | None = None
        self.raw, self._find = False, ""
        self._bubbles: list[Bubble] = []
        self._adding = -1
        self._place = small()
        self._icon, self._state = Icon(theme, "clock"), Text("", "medium")
        self._score, self._by = Badge(), small("", elide=True)
        self._badges = row(gap=6)
        head = row(self._icon, self._state, self._score, self._badges, (self._by, 1), self._place, gap=8, pad=(16, 10, 16, 8))
        self._talk = col(gap=10)
        self._add = Button(theme, tr("Add a turn"), "quiet", icon="plus", on_click=self.add_turn)
        self._loser = Button(theme, tr("Losing answer beside it"), "quiet", icon="pairs", on_click=self.beside_wanted.emit)
        self.beside = Beside(theme)
        show_if(self.beside, False)
        self._tail = row(self._add, 12, self._loser, "+", gap=8)
        self.scroll = Scroll(col(self._talk, self._tail, self.beside, "+", gap=10, pad=(16, 12, 16, 14)), horizontal=False)
        fill(self.box, (head, rule(), (self.scroll, 1)), 0, (1, 1, 1, 1))
        self.setAccessibleName(tr("Example"))
        self.setFocusPolicy(Qt.FocusPolicy.ClickFocus)  # a click anywhere on it, and its keys work

    # showing ----------------------------------------------------------------------------------------------------------

    def show_row(self, shown: ExampleRow, place: int, total: int, *, find: str = "") -> None:
        """Another example, or another version of this one; a field that is open stays open on the same one."""
        same = self.row is not None and self.row.example.id == shown.example.id
        keeps = same and self.row is not None and self.row.example.messages == shown.example.messages and self.editing
        self.row, self._find = shown, find
        example = shown.example
        status = "deleted" if shown.deleted else shown.status
        icon, tone = status_look(status)
        self._icon.set(icon, tone)
        self._state.set(status_words(status)[:1].upper() + status_words(status)[1:])
        self._state.set_tone(tone)
        self._score.set(score_words(example.score) if example.score is not None else "")
        clear(self._badges.layout())
        badges = [Badge(flag_words(f), "warn", flag_sentence(f)) for f in example.flags[:BADGES]]
        more = [Badge(f"+{len(example.flags) - BADGES}", "warn")] if len(example.flags) > BADGES else []
        fill(self._badges.layout(), (*badges, *more), 6)  # type: ignore[arg-type]
        show_if(self._badges, bool(badges))
        self._by.set(tr("edited by {who}", who=who_words(shown.edited_by)) if shown.edited_by else who_words(example.origin))
        self._by.setToolTip(example.origin)
        self._place.set(tr("{place} of {total}", place=number(place + 1), total=number(total)) if 0 <= place < total else "")
        rejected: Any = example.facts.get("rejected")
        show_if(self._loser, isinstance(rejected, dict) and bool(rejected.get("text")))
        if not same:
            show_if(self.beside, False)
        if keeps:
            return
        self._show_messages(example.messages)
        if not same:
            self.scroll.verticalScrollBar().setValue(0)

    def _show_messages(self, messages: Sequence[Message]) -> None:
        self._adding = -1
        while len(self._bubbles) < len(messages):
            self._grow()
        for i, bubble in enumerate(self._bubbles):
            if i < len(messages):
                bubble.set(i, messages[i], raw=self.raw, find=self._find, removable=len(messages) > 1)
            else:
                bubble.close_field()
            show_if(bubble, i < len(messages))
        show_if(self._tail, True)

    def _grow(self) -> Bubble:
        bubble = Bubble(self.theme)
        bubble.edit_wanted.connect(self.edit)
        bubble.remove_wanted.connect(self.remove)
        bubble.saved.connect(lambda place: self.save())
        bubble.left.connect(self._leave_field)
        self._talk.layout().addWidget(bubble)
        self._bubbles.append(bubble)
        return bubble

    def show_raw(self, raw: bool) -> None:
        """Text as it is written, or set for reading."""
        self.raw = raw
        if self.row is not None and not self.editing:
            self._show_messages(self.row.example.messages)

    def show_beside(self, on: bool) -> None:
        show_if(self.beside, on)
        if on:
            QTimer.singleShot(0, self, lambda: self.scroll.ensureWidgetVisible(self.beside, 0, 24))

    @property
    def kept_answer(self) -> str:
        return answer_of(self.row.example) if self.row is not None else ""

    # editing ----------------------------------------------------------------------------------------------------------

    @property
    def editing(self) -> bool:
        return any(b.editing for b in self._bubbles)

    @property
    def changed(self) -> bool:
        """Whether a field holds something that is not saved."""
        return any(b.changed for b in self._bubbles if not b.isHidden())

    def edit(self, place: int = -1) -> None:
        """Open the field of a message: of the one that has the focus, else of the last answer."""
        if self.row is None or self.row.deleted:
            return
        if self.editing:
            next(b for b in self._bubbles if b.editing)._field.setFocus()  # type: ignore[union-attr]
            return
        messages = self.row.example.messages
        if place < 0:
            place = next((b.place for b in self._bubbles if b.hasFocus()), -1)
        if place < 0:
            place = next((i for i in reversed(range(len(messages))) if messages[i].role == "assistant"), len(messages) - 1)
        if 0 <= place < len(messages):
            self._open(place)

    def add_turn(self) -> None:
        """A field for one message more; it is there once it is saved."""
        if self.row is None or self.row.deleted or self.editing:
            return
        messages = self.row.example.messages
        if len(self._bubbles) <= len(messages):
            self._grow()
        self._adding = len(messages)
        bubble = self._bubbles[self._adding]
        bubble.set(self._adding, Message(role=next_role(messages), content=""), removable=False)
        show_if(bubble, True)
        self._open(self._adding)

    def _open(self, place: int) -> None:
        show_if(self._tail, False)
        self._bubbles[place].edit()
        QTimer.singleShot(0, self, lambda: self.scroll.ensureWidgetVisible(self._bubbles[place], 0, 16))

    def messages(self) -> list[Message]:
        """As they would be saved now: an empty new turn is none."""
        assert self.row is not None
        count = len(self.row.example.messages) + (self._adding >= 0)
        made = [b.draft for b in self._bubbles[:count]]
        return made[:-1] if self._adding >= 0 and not made[-1].content.strip() else made

    def save(self) -> None:
        """What stands in the field goes to the disk; the card shows it as saved when it is there."""
        if self.row is None or not self.editing:
            return
        made = self.messages()
        if made == list(self.row.example.messages):
            self.stop_editing()
            return
        for bubble in self._bubbles:
            bubble.saving(True)
        self.edited.emit(made)

    def not_saved(self) -> None:
        """The disk refused: the field is the person's again."""
        for bubble in self._bubbles:
            bubble.saving(False)

    def remove(self, place: int) -> None:
        """A turn goes; undo brings it back."""
        if self.row is not None and len(self.row.example.messages) > 1 and not self.editing:
            self.edited.emit([m for i, m in enumerate(self.row.example.messages) if i != place])

    def _leave_field(self, place: int) -> None:
        """Escape: as it was. What had been written can be had back."""
        bubble = self._bubbles[place]
        if bubble.changed:
            self.draft_left.emit(place, bubble.draft)
        self.stop_editing()

    def take_up(self, place: int, draft: Message) -> None:
        """A field that was left, open again with what stood in it."""
        if self.row is None or self.editing:
            return
        if place >= len(self.row.example.messages):
            self.add_turn()
        else:
            self._open(place)
        self._bubbles[place].put(draft)

    def stop_editing(self) -> None:
        if self.row is not None and self.editing:
            for bubble in self._bubbles:
                bubble.close_field()
            self._show_messages(self.row.example.messages)
            self.setFocus()

    def scroll_by(self, share: float) -> None:
        bar = self.scroll.verticalScrollBar()
        bar.setValue(bar.value() + int(share * self.scroll.viewport().height()))


class Writing(Panel):
    """A new example by hand: a question and an answer, perhaps a system message. `saved(messages, set id)`, `left()`."""

    saved = Signal(object, str)
    left = Signal()

    def __init__(self, theme: Theme, into: QWidget) -> None:
        super().__init__(pad=(16, 12, 16, 14), gap=10)
        self.theme = theme
        self._bubbles: list[Bubble] = []
        self._talk = col(gap=10)
        self._wrong = small("", "danger", wrap=True)
        show_if(self._wrong, False)
        self.save_button = Button(theme, tr("Save the example"), "primary", tip="Ctrl+Enter", on_click=self.save)
        more = Button(theme, tr("Add a turn"), "quiet", icon="plus", on_click=self.add_turn)
        cancel = Button(theme, tr("Leave without saving"), on_click=self.left.emit)
        head = row(Text(tr("A new example"), "section"), "+", small(tr("goes into")), into, gap=8)
        fill(self.box, (head, rule(), (Scroll(col(self._talk, row(more, "+"), "+", gap=10), horizontal=False), 1), self._wrong,
                        row(self.save_button, cancel, "+", small(tr("It counts as accepted: you wrote it.")), gap=8)), 10, (16, 12, 16, 14))

    def start(self) -> None:
        """Empty fields."""
        clear(self._talk.layout())
        self._bubbles = []
        for role in ("user", "assistant"):
            self._put(role)
        self._bubbles[0]._field.setFocus()  # type: ignore[union-attr]
        self.tell("")

    def add_turn(self) -> None:
        self._put(next_role([b.draft for b in self._bubbles]))
        self._bubbles[-1]._field.setFocus()  # type: ignore[union-attr]

    def _put(self, role: str) -> None:
        bubble = Bubble(self.theme)
        bubble.set(len(self._bubbles), Message(role=role, content=""), removable=False)
        bubble.edit(take_focus=False)
        bubble.hide_foot()
        bubble.saved.connect(lambda place: self.save())
        bubble.left.connect(lambda place: self.left.emit() if not self.written else None)
        self._talk.layout().addWidget(bubble)
        self._bubbles.append(bubble)

    def focusNextPrevChild(self, following: bool) -> bool:
        """Tab goes through the fields as they stand; Qt's own order is that in which they were made."""
        stops = [part for b in self._bubbles for part in (b._role, b._field) if part is not None] + [self.save_button]
        focus = QApplication.focusWidget()
        place = stops.index(focus) + (1 if following else -1) if focus in stops else -1
        if not 0 <= place < len(stops):
            return super().focusNextPrevChild(following)
        stops[place].setFocus(Qt.FocusReason.TabFocusReason if following else Qt.FocusReason.BacktabFocusReason)
        return True

    @property
    def written(self) -> bool:
        return any(b.draft.content.strip() for b in self._bubbles)

    def tell(self, words: str) -> None:
        """What is in the way."""
        self._wrong.set(words)
        show_if(self._wrong, bool(words))

    def save(self) -> None:
        made = [b.draft for b in self._bubbles if b.draft.content.strip()]
        if not any(m.role == "assistant" for m in made):
            self.tell(tr("An answer is missing: a model learns from the assistant's turns."))
        elif not any(m.role == "user" for m in made):
            self.tell(tr("A question is missing."))
        else:
            self.tell("")
            self.saved.emit(made, "")

