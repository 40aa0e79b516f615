"""A conversation as bubbles: who says what, the asker at the right, the answer at the left. Text is never markup; the keyboard selects
it."""

from collections.abc import Sequence

from PySide6.QtWidgets import QSizePolicy, QWidget

from desktop.theme.theme import Theme
from desktop.widgets.layout import Item, clear, col, fill, row
from desktop.widgets.panel import Panel
from desktop.widgets.text import Text, small
from engine.contract.rows import Message
from engine.contract.units import number
from engine.contract.words import tr, trn

LONGEST = 6_000
INDENT = 48


def role_words(role: str) -> str:
    """Who speaks, in words."""
    return {"system": tr("System"), "user": tr("User"), "assistant": tr("Assistant"), "tool": tr("Tool")}.get(role, role)


def cut(text: str, longest: int = LONGEST) -> str:
    """A text that a bubble can hold; what is left out is counted."""
    rest = len(text) - longest
    return text if rest <= 0 else trn("{text} … and {shown} more character", "{text} … and {shown} more characters", rest,
                                      text=text[:longest], shown=number(rest))


class Bubble(QWidget):
    """One message. `struck`: an answer that lost, shown quieter, with `note` saying why."""

    def __init__(self, theme: Theme, role: str, text: str, *, note: str = "", struck: bool = False, longest: int = LONGEST) -> None:
        super().__init__()
        asks = role == "user"
        words = Text(cut(text, longest) or tr("(empty)"), tone="text2" if struck or role in ("system", "tool") or not text else "",
                     wrap=True,
                     select=True)
        head = row(small(role_words(role), "text2"), "+", small(note, "text2") if note else None, gap=8)
        ground = Panel(head, words, kind="note-info" if asks else "sunken", pad=(12, 8, 12, 10), gap=3)
        ground.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
        indent = theme.px(INDENT)
        row(indent if asks else None, (ground, 1), indent if not asks else None, gap=0, host=self)
        self.setAccessibleName(f"{role_words(role)}: {cut(text, longest)}")


class Conversation(QWidget):
    """`set(messages)`; with `loser` the answer that was not kept stands below, named."""

    def __init__(self, theme: Theme, messages: Sequence[Message] = (), *, longest: int = LONGEST) -> None:
        super().__init__()
        self.theme, self._longest = theme, longest
        self._shown: tuple[object, ...] | None = None
        col(gap=8, host=self)
        self.set(messages)

    def set(self, messages: Sequence[Message], *, loser: str = "", loser_note: str = "") -> None:
        shown = (tuple(messages), loser, loser_note)
        if shown == self._shown:
            return
        self._shown = shown
        clear(self.layout())
        parts: list[Item] = [Bubble(self.theme, m.role, m.content, longest=self._longest) for m in messages]
        if loser:
            parts.append(Bubble(self.theme, "assistant", loser, note=loser_note, struck=True, longest=self._longest))
        fill(self.layout(), tuple(parts), 8)  # type: ignore[arg-type]
