"""One example as a card: the conversation, its score and why, the checks it failed, where it is grounded."""

from typing import Any

from PySide6.QtWidgets import QWidget

from desktop.models.instruct_words import flag_sentence, flag_words, score_words
from desktop.models.local_models import short_name
from desktop.theme.theme import Theme
from desktop.widgets.badge import Badge
from desktop.widgets.conversation import Conversation
from desktop.widgets.layout import Item, clear, col, fill, row
from desktop.widgets.panel import Panel
from desktop.widgets.text import Text, small
from engine.contract.rows import Example
from engine.contract.words import tr

TEXT = 3_000


class ExampleView(QWidget):
    """`show_example(example)`; None empties it. Without `marks` it is not said whether it is kept, and who wrote it."""

    def __init__(self, theme: Theme, example: Example | None = None, marks: bool = True) -> None:
        super().__init__()
        self.theme, self._marks = theme, marks
        self._shown: Example | None = None
        col(gap=8, host=self)
        self.show_example(example)

    def show_example(self, example: Example | None) -> None:
        if example is not None and example == self._shown:
            return
        self._shown = example
        clear(self.layout())
        if example is None:
            return
        theme, facts = self.theme, example.facts
        rejected: Any = facts.get("rejected") if isinstance(facts.get("rejected"), dict) else {}
        marks: list[Item] = [Badge(flag_words(f), "warn", flag_sentence(f)) for f in example.flags]
        if not example.flags:
            marks.append(Badge(tr("kept"), "ok"))
        if example.score is not None:
            marks.append(Badge(score_words(example.score)))
        talk = Conversation(theme, longest=TEXT)
        loser_note = ""
        if rejected:
            loser_note = tr("not kept, {score}", score=score_words(rejected["score"])) if isinstance(rejected.get("score"), (int, float)) \
                else tr("not kept")
        talk.set(example.messages, loser=str(rejected.get("text", "")), loser_note=loser_note)
        by = small(short_name(example.origin), "text2")
        by.setToolTip(example.origin)
        parts: list[Item] = [row(*marks, "+", by, gap=6) if self._marks else None, talk]
        if facts.get("rationale"):
            parts.append(col(Text(tr("The judge"), "small_strong", "text2"), small(str(facts["rationale"])[:TEXT], wrap=True, select=True),
                             gap=2))
        if facts.get("quote"):
            parts.append(col(Text(tr("Rests on"), "small_strong", "text2"),
                             small(tr("“{quote}”", quote=str(facts["quote"])[:TEXT]), wrap=True, select=True), gap=2))
        if facts.get("answer"):
            parts.append(row(Text(tr("Known answer"), "small_strong", "text2"),
                             (small(str(facts["answer"])[:TEXT], wrap=True, select=True), 1),
                             gap=8))
        fill(self.layout(), tuple(parts), 8)  # type: ignore[arg-type]


def example_card(theme: Theme, example: Example, marks: bool = True) -> Panel:
    """The view in a panel of its own."""
    return Panel(ExampleView(theme, example, marks), pad=(16, 12, 16, 14))
