"""Beside the card: what the judge said, the checks that it failed, where it is grounded, a comment, and who did what to it and when."""

from collections.abc import Mapping, Sequence
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from desktop.models.example_words import PERSON, event_words, who_words
from desktop.models.instruct_words import flag_sentence, flag_words, score_words
from desktop.theme.theme import Theme
from desktop.widgets.bar import Bar
from desktop.widgets.buttons import Button
from desktop.widgets.fields import TextField
from desktop.widgets.grown import GrownPieces
from desktop.widgets.layout import Item, Scroll, clear, col, fill, row, show_if
from desktop.widgets.panel import Panel
from desktop.widgets.reader import FOUND, SAME
from desktop.widgets.run_panel import clock
from desktop.widgets.text import Icon, Text, small
from engine.contract.words import tr
from engine.project.examples import ExampleHistory, ExampleRow

RATIONALE = 3_000
PASSAGE = 210
EVENTS = 30


class Side(QWidget):
    """`show_row(row)`; the passage and the history follow when they are read. `commented(words)`, `look_wanted(event index)`."""

    commented = Signal(str)
    look_wanted = Signal(int)

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.theme = theme
        self._row: ExampleRow | None = None
        self._events: list[ExampleHistory] = []
        self._judge_score, self._judge_bar = Text("", "section"), Bar(theme, 0.0, name=tr("Score"))
        self._judge_words, self._judge_note = small(wrap=True, select=True, tone="text"), small(wrap=True)
        self._judge = Panel(row(Text(tr("Judge"), "section"), "+", self._judge_score), self._judge_bar, self._judge_words, self._judge_note,
                            pad=(16, 10, 16, 12), gap=7)
        self._flag_lines = col(gap=8)
        self._flags = Panel(Text(tr("Why it was set aside"), "section"), self._flag_lines, pad=(16, 10, 16, 12), gap=8)
        self._source = small("", elide=True)
        self._passage = GrownPieces(theme, name=tr("Passage it rests on"), most=PASSAGE)
        self._passage_note = small(wrap=True)
        self._grounded = Panel(row(Text(tr("Rests on"), "section"), (self._source, 1), gap=8), self._passage, self._passage_note,
                               pad=(16, 10, 16, 12), gap=6)
        self._known_words = Text("", "medium", wrap=True, select=True)
        self._known = Panel(Text(tr("Known answer"), "section"), self._known_words, pad=(16, 10, 16, 12), gap=6)
        self.comment = TextField(placeholder=tr("Comment, if there is something to say"), name=tr("Comment"))
        self.comment.returnPressed.connect(self._said)
        self.comment.editingFinished.connect(self.flush)
        self._saved = small("", "ok")
        self._comment = Panel(row(Text(tr("Comment"), "section"), "+", self._saved), self.comment, pad=(16, 10, 16, 12), gap=8)
        self._history_lines = col(gap=6)
        self._history = Panel(Text(tr("History"), "section"), self._history_lines, pad=(16, 10, 16, 12), gap=8)
        inner = col(self._judge, self._flags, self._grounded, self._known, self._comment, self._history, "+", gap=12)
        self._scroll = Scroll(inner, horizontal=False)
        col((self._scroll, 1), gap=0, host=self)

    # showing ----------------------------------------------------------------------------------------------------------

    def show_row(self, shown: ExampleRow) -> None:
        """What the row itself holds, at once."""
        same = self._row is not None and self._row.example.id == shown.example.id
        self._row = shown
        example, facts = shown.example, shown.example.facts
        self._show_judge(example.score, facts)
        clear(self._flag_lines.layout())
        lines: list[Item] = [row(col(1, Icon(self.theme, "warn", "warn"), "+", gap=0),
                                 (col(Text(flag_words(f), "medium"), small(flag_sentence(f), wrap=True), gap=1), 1), gap=8)
                             for f in example.flags]
        fill(self._flag_lines.layout(), tuple(lines), 8)  # type: ignore[arg-type]
        show_if(self._flags, bool(example.flags))
        answer = facts.get("answer")
        self._known_words.set(str(answer)[:RATIONALE] if answer else "")
        show_if(self._known, bool(answer))
        if not same:
            quote = str(facts.get("quote") or "")
            show_if(self._grounded, bool(quote))
            self._source.set(str(facts.get("source") or "").replace("\\", "/").rpartition("/")[2])
            self._passage.set_pieces([(quote[:RATIONALE], FOUND)])
            self._passage_note.set("")
            show_if(self._passage_note, False)
            self._saved.set("")
            self._show_events([])
            self._scroll.verticalScrollBar().setValue(0)
        if not same or not self.comment.hasFocus():
            self.comment.set(shown.comment)

    def _show_judge(self, score: float | None, facts: Mapping[str, Any]) -> None:
        words = str(facts.get("rationale") or "")[:RATIONALE]
        self._judge_score.set(score_words(score) if score is not None else tr("no score"))
        self._judge_bar.set(max(0.0, min(1.0, (score or 0.0) / 10)), tone="accent" if score is None or score >= 5 else "warn")
        show_if(self._judge_bar, score is not None)
        self._judge_words.set(words)
        show_if(self._judge_words, bool(words))
        notes = []
        scores = facts.get("scores")
        if isinstance(scores, (list, tuple)) and len(scores) == 2 and all(isinstance(s, (int, float)) for s in scores):
            notes.append(tr("The other answer had {score}.", score=score_words(float(scores[1]))))
        if facts.get("flipped"):
            notes.append(tr("The judge changed its mind with the order of the answers."))
        if facts.get("judge"):
            notes.append(tr("Judged by {model}.", model=who_words(str(facts["judge"]))))
        self._judge_note.set(" ".join(notes))
        show_if(self._judge_note, bool(notes))
        show_if(self._judge, score is not None or bool(words))

    def show_passage(self, answer: Mapping[str, Any]) -> None:
        """What the corpus says around the quote."""
        text, mark = str(answer["text"]), answer.get("mark")
        before, after = "… " if answer.get("before") else "", " …" if answer.get("after") else ""
        blank = len(text) - len(text.lstrip())  # documents may begin with a space
        if mark is not None:
            low, high = mark
            self._passage.set_pieces([(before + text[min(blank, low):low], SAME), (text[low:high], FOUND), (text[high:] + after, SAME)])
            self._passage.to_first(FOUND)
        else:
            self._passage.set_pieces([(text.lstrip() + after, SAME)])
            quote = str(self._row.example.facts.get("quote") or "") if self._row is not None else ""
            self._passage_note.set(tr("Not in this document: “{quote}”", quote=quote[:400]))
            show_if(self._passage_note, True)

    def show_no_passage(self, words: str) -> None:
        """The quote alone, and why."""
        self._passage_note.set(words)
        show_if(self._passage_note, bool(words))

    def show_history(self, events: Sequence[ExampleHistory]) -> None:
        self._events = list(events)
        self._show_events(events)

    def _show_events(self, events: Sequence[ExampleHistory]) -> None:
        clear(self._history_lines.layout())
        lines: list[Item] = []
        for i, event in reversed(list(enumerate(events))[-EVENTS:]):
            words = tr("{who} {did}", who=who_words(event.author), did=event_words(event.what))
            words = words[:1].upper() + words[1:] if event.author == PERSON else words
            said = Text(words, "body", "text3" if event.undone else "", elide=True)
            note = small(tr("{time}, undone", time=clock(event.made)) if event.undone else clock(event.made))
            differs = event.messages is not None and self._row is not None and event.messages != self._row.example.messages
            look = Button(self.theme, tr("Look"), "quiet", tip=tr("The text before it, beside the text now"),
                          on_click=lambda at=i: self.look_wanted.emit(at)) if differs else None
            lines.append(row((said, 1), note, look, gap=8))
        if len(events) > EVENTS:
            lines.append(small(tr("Older steps are kept too.")))
        fill(self._history_lines.layout(), tuple(lines), 4)  # type: ignore[arg-type]
        show_if(self._history, bool(events))

    def event_at(self, index: int) -> ExampleHistory:
        return self._events[index]

    # the comment ------------------------------------------------------------------------------------------------------

    def _said(self) -> None:
        self.flush()
        self.comment.clearFocus()

    def flush(self) -> None:
        """What was written is saved when the field is left, too."""
        if self._row is not None and self.comment.value() != self._row.comment:
            self._saved.set("")
            self.commented.emit(self.comment.value())

    def comment_saved(self) -> None:
        self._saved.set(tr("saved"))
