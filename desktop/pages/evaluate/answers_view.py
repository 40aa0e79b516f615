"""Answers to look at: the same question with each model's answer side by side, some to a page, filtered by who was right."""

from collections.abc import Sequence
from typing import Any

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QGridLayout, QWidget

from desktop.context import AppContext
from desktop.models.evaluate_answers import Answers, Asked, Source
from desktop.models.evaluate_result import check_words
from desktop.widgets.buttons import Button, Segments
from desktop.widgets.fields import SearchField
from desktop.widgets.layout import clear, col, fixed, row, show_if
from desktop.widgets.panel import Panel
from desktop.widgets.text import Icon, Text, small
from engine.contract.units import number, significant
from engine.contract.words import tr, trn

PAGE, BESIDE, LONGEST, WAIT_MS = 4, 3, 2_000, 300


def cut(text: str) -> str:
    rest = len(text) - LONGEST
    return text if rest <= 0 else trn("{text} … and {shown} more character", "{text} … and {shown} more characters", rest,
                                      text=text[:LONGEST],
                                      shown=number(rest))


class AnswersView(Panel):
    """`set(suite, sources)` reads the answers in a thread; the page is built when they are there."""

    def __init__(self, context: AppContext) -> None:
        self.context, self.theme, theme = context, context.theme, context.theme
        self.answers: Answers | None = None
        self.found: list[Asked] = []
        self.start = 0
        self._wanted: Any = None
        self.which = Segments(theme, (("all", tr("All")), ("right", tr("All right")), ("wrong", tr("None right")), ("differ",
                                                                                                                    tr("They differ"))),
                              "all", name=tr("Which questions"), on_change=lambda _: self._filter())
        self.search = SearchField(tr("Find"))
        self._later = QTimer()
        self._later.setSingleShot(True)
        self._later.setInterval(WAIT_MS)
        self._later.timeout.connect(self._filter)
        self.search.changed.connect(self._later.start)
        self.back = Button(theme, kind="icon", icon="left", tone="accent", name=tr("Questions before"), on_click=lambda: self.turn(-PAGE))
        self.on = Button(theme, kind="icon", icon="right", tone="accent", name=tr("More questions"), on_click=lambda: self.turn(PAGE))
        self._place = small()
        self._note = Text("", tone="text2", wrap=True)
        self._cards = col(gap=10)
        head = row(Text(tr("Answers"), "section"), "+", fixed(self.search, theme.px(180)), self.back, self._place, self.on, gap=8)
        self._filters = row(self.which, "+")
        super().__init__(head, self._filters, self._note, self._cards, pad=(16, 10, 16, 14), gap=10)
        self._later.setParent(self)

    def set(self, suite: str, sources: Sequence[Source]) -> None:
        wanted = (suite, tuple(sources))
        if wanted == self._wanted:
            return
        self._wanted, self.answers, self.found, self.start = wanted, None, [], 0
        self._say(tr("Reading the answers…"))
        clear(self._cards.layout())
        self._show_head()
        made = Answers(suite, sources)
        self.context.jobs.run(made.read, then=lambda read: self._read(read, wanted), failed=self._failed, owner=self)

    def choose(self, which: str) -> None:
        self.which.set(which)
        self._filter()

    def _read(self, read: Answers, wanted: Any) -> None:
        if wanted == self._wanted:
            self.answers = read
            self.which.set_enabled("differ", len(read.sources) > 1, tr("There is one model only."))
            show_if(self._filters, read.graded)
            if not read.graded or (self.which.value() == "differ" and len(read.sources) < 2):
                self.which.set("all")
            self._filter()

    def _failed(self, wrong: Exception) -> None:
        if not isinstance(wrong, OSError):
            raise wrong
        self._say(tr("The answers cannot be read: {why}", why=str(wrong)))

    def _filter(self) -> None:
        answers, which, search = self.answers, self.which.value(), self.search.value()
        if answers is None:
            return
        asked = (self._wanted, which, search)

        def found(some: list[Asked]) -> None:
            if asked == (self._wanted, self.which.value(), self.search.value()):
                self.found, self.start = some, 0
                self._show()
        if search.strip():
            self.context.jobs.run(lambda: answers.find(which, search), then=found, failed=self._failed, owner=self)
        else:
            found(answers.find(which))

    def turn(self, by: int) -> None:
        """Other questions of those found."""
        self.start = min(max(0, self.start + by), max(0, (len(self.found) - 1) // PAGE * PAGE))
        self._show()

    def _show_head(self) -> None:
        many = len(self.found)
        self._place.set(tr("{first} to {last} of {all}", first=number(self.start + 1), last=number(min(self.start + PAGE, many)),
                           all=number(many)) if many else "")
        self.back.setEnabled(self.start > 0)
        self.on.setEnabled(self.start + PAGE < many)

    def _say(self, words: str) -> None:
        self._note.set(words)
        show_if(self._note, bool(words))

    def _show(self) -> None:
        answers = self.answers
        assert answers is not None
        self._show_head()
        if not self.found:
            clear(self._cards.layout())
            self._say(tr("No question fits. Choose All, or search for something else.") if answers.asked else
                      tr("This suite keeps no answers."))
            return
        self._say("")
        shown, wanted = self.found[self.start:self.start + PAGE], (self._wanted, self.start, self.which.value(), self.search.value())

        def build(page: Any) -> None:
            if wanted == (self._wanted, self.start, self.which.value(), self.search.value()):
                clear(self._cards.layout())
                for asked, rows, verdicts in page:
                    self._cards.layout().addWidget(self._card(asked, rows, verdicts))
        self.context.jobs.run(lambda: answers.page(shown), then=build, failed=self._failed, owner=self)

    def _card(self, asked: Asked, rows: Sequence[dict[str, Any] | None], verdicts: Sequence[dict[str, Any]]) -> QWidget:
        answers = self.answers
        assert answers is not None
        first = next(r for r in rows if r)
        known = [str(a) for a in first.get("answers") or ()]
        groups = " · ".join(str(v) for v in (first.get("group") or {}).values())
        lines: list[Any] = [row((Text(cut(first.get("prompt", "")), "strong", wrap=True, select=True), 1),
                                col(small(groups, "text3"), "+") if groups else None, gap=12)]
        if known:
            label = tr("Expected") if "nats" in first else tr("Known answer")
            lines.append(row(col(small(label), "+"), (small(cut(" / ".join(known)), "text", wrap=True, select=True), 1), gap=8))
        host = QWidget()
        grid = QGridLayout(host)
        grid.setContentsMargins(0, 4, 0, 0)
        grid.setHorizontalSpacing(16)
        grid.setVerticalSpacing(10)
        beside = min(BESIDE, len(rows))
        for c in range(beside):
            grid.setColumnStretch(c, 1)
        for i, (source, said) in enumerate(zip(answers.sources, rows, strict=True)):
            grid.addWidget(self._answer(source, said, asked, i), i // beside, i % beside)
        lines.append(host)
        for each in verdicts:
            lines.append(small(self._verdict(each), wrap=True, select=True))
        return Panel(*lines, kind="sunken", pad=(14, 10, 14, 12), gap=4)

    def _answer(self, source: Source, said: dict[str, Any] | None, asked: Asked, place: int) -> QWidget:
        theme = self.theme
        if said is None:
            return col(small(source.title, elide=True), small(tr("was not asked this"), "text3"), "+", gap=2)
        score = asked.scores[place]
        mark = None if score is None else Icon(theme, "check", "ok") if score > 0.5 else Icon(theme, "close", "danger")
        word = "" if score is None else tr("right") if score > 0.5 else tr("wrong")
        note = source.note
        tries = asked.tries[place]
        if score is not None and tries > 1:
            word = tr("{share} of {tries} right", share=significant(score * tries, 2), tries=tries)
        head = col(row(mark, (Text(source.title, "small_strong", elide=True), 1), small(word), gap=6),
                   small(note, "text3", elide=True) if note else None, gap=0)
        if "nats" in said:
            words = tr("{loss} nats a token", loss=significant(said["nats"] / max(1, said.get("tokens") or 1), 3))
            return col(head, Text(words, "medium"), small(trn("{shown} token", "{shown} tokens", said.get("tokens") or 0,
                                                              shown=number(said.get("tokens") or 0))), "+", gap=2)
        below = []
        if said.get("why"):
            below.append(tr("broken: {checks}", checks=", ".join(check_words(x) for x in str(said["why"]).split(", "))))
        if said.get("finish") == "length":
            below.append(tr("cut at the limit"))
        if said.get("finish") == "too_long":
            below.append(tr("the question was too long to ask"))
        if said.get("choices"):
            below.append(", ".join(f"{c} {significant(p, 3)}" for c, p in zip(said["choices"], said.get("logprobs") or (), strict=False)))
        made = col(head, Text(cut(str(said.get("said") or "")) or tr("(nothing)"), wrap=True, select=True),
                   small(". ".join(below), wrap=True) if below else None, "+", gap=2)
        made.setAccessibleName(f"{source.title}, {word}: {cut(str(said.get('said') or ''))}")
        return made

    def _verdict(self, row: dict[str, Any]) -> str:
        answers = self.answers
        assert answers is not None
        titles = {s.model: s.title for s in answers.sources}
        second, first = titles.get(str(row.get("model")), str(row.get("model"))), answers.sources[0].title
        said = {"first": tr("The judge found {model} better", model=first), "second": tr("The judge found {model} better", model=second),
                "tie": tr("A tie, said the judge")}.get(str(row.get("outcome")), tr("The judge's words could not be read"))
        why = str(row.get("rationale") or row.get("why") or "")
        if rewards := row.get("rewards"):
            why = tr("Rewards: {first} and {second}", first=number(rewards[0], 2), second=number(rewards[1], 2))
        return f"{said}. {cut(why)}".strip()


