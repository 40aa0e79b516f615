"""The side of the Clean step: what the settings do to a sample of the documents, with examples before and after. It asks the engine in a
process that stays, waits until nobody types, and shows the last answer until the next one is there."""

from collections.abc import Mapping
from difflib import SequenceMatcher
from typing import Any

from PySide6.QtCore import QTimer, Signal
from PySide6.QtWidgets import QWidget

from desktop.jobs.bench import Bench
from desktop.theme.theme import Theme
from desktop.widgets.layout import Scroll, clear, col, fill, row, show_if
from desktop.widgets.notes import NoteSlot
from desktop.widgets.panel import Panel, rule
from desktop.widgets.reader import ADDED, CUT, SAME, Reader
from desktop.widgets.text import Text, small
from engine.contract.errors import FledgeError
from engine.contract.units import number, percent
from engine.contract.words import tr, trn
from engine.text.removal import CHANGES, STEPS

SETTLE_MS = 350
LIMIT_SECONDS = 60.0
SHOWN = 3
QUESTION = "clean_preview"


def step_words(step: str) -> str:
    return CHANGES.get(step) or STEPS.get(step) or step


class Sample:
    """An answer of the engine, by step."""

    def __init__(self, answer: Mapping[str, Any]) -> None:
        self.documents = int(answer.get("documents", 0))
        self.kept = int(answer.get("kept", self.documents))
        self.languages: dict[str, int] = {str(k): int(v) for k, v in dict(answer.get("languages") or {}).items()}
        self.steps: dict[str, dict[str, Any]] = {str(s["step"]): dict(s) for s in answer.get("steps", ())}

    def touched(self, step: str) -> int:
        made = self.steps.get(step, {})
        return int(made.get("touched", 0)) + int(made.get("removed", 0))

    def removed(self, step: str, *rules: str) -> int:
        """Documents a step removes; with `rules` only those whose rule begins so."""
        made = self.steps.get(step, {})
        if not rules:
            return int(made.get("removed", 0))
        return sum(int(n) for rule, n in dict(made.get("rules") or {}).items() if str(rule).startswith(rules))

    def examples(self, step: str, *rules: str) -> list[dict[str, Any]]:
        found = list(self.steps.get(step, {}).get("examples", ()))
        return [e for e in found if str(e.get("rule", "")).startswith(rules)] if rules else found


class SamplePanel(Panel):
    """`ask(question)` when the settings or the files are others; `answered` when `sample` is new (None while nothing is known)."""

    answered = Signal()

    def __init__(self, theme: Theme) -> None:
        self.theme = theme
        self.sample: Sample | None = None
        self._asked: Any = None
        self._next: dict[str, Any] = {}
        self._step: tuple[str, ...] = ()
        self._bench: Bench | None = None
        self._settle = QTimer()
        self._settle.setSingleShot(True)
        self._settle.setInterval(SETTLE_MS)
        self._settle.timeout.connect(self._send)
        self._notes = NoteSlot(theme)
        self._about, self._title = small(), Text("", "strong")
        self._words = small(wrap=True)
        self._examples = col(gap=8)
        super().__init__(row(Text(tr("Tried on a sample"), "section"), "+", self._about, gap=8), self._notes, self._words, self._title,
                         (Scroll(self._examples, horizontal=False), 1), pad=(16, 10, 8, 12), gap=8)
        self._settle.setParent(self)
        self._show()

    def ask(self, question: dict[str, Any]) -> None:
        """The settings changed; the same question is not asked twice."""
        if question != self._next:
            self._next = question
            self._settle.start()

    def rest(self) -> None:
        """Nobody looks."""
        self._settle.stop()
        if self._bench is not None:
            self._bench.stop()
        if self._asked != self._next or self.sample is None:
            self._next, self._asked = {}, None

    def show_step(self, step: str, *rules: str) -> None:
        """Show the examples of this step."""
        self._step = (step, *rules)
        self._show()

    def _send(self) -> None:
        if not self._next.get("sources") or self._next == self._asked:
            return
        self._asked = self._next
        if self._bench is None:
            self._bench = Bench("engine.text.probe", self, retry=tr("Change a setting to try again."), limit=LIMIT_SECONDS)
        self._about.set(tr("trying …"))
        self._bench.ask(QUESTION, self._next, self._answer, self._cannot)

    def _answer(self, answer: dict[str, Any]) -> None:
        self._notes.clear()
        self.sample = Sample(answer)
        if not self._step or not self.sample.examples(*self._step):
            most = max(self.sample.steps, key=lambda s: self.sample.touched(s) if self.sample else 0, default="")
            if not self._step and most and self.sample.touched(most):
                self._step = (most,)
        self._show()
        self.answered.emit()

    def _cannot(self, wrong: FledgeError) -> None:
        self._about.set("")
        self._notes.show_error(wrong)

    def _show(self) -> None:
        made = self.sample
        clear(self._examples.layout())
        if made is None:
            self._words.set(tr("What each switch does to the first documents stands here, with examples, before anything is imported."))
            show_if(self._title, False)
            return
        self._about.set(trn("{count} document", "{count} documents", made.documents))
        self._words.set(tr("All of them stay.") if made.kept == made.documents else
                        tr("{kept} of {count} stay, {share}.", kept=number(made.kept), count=number(made.documents),
                           share=percent(made.kept / max(1, made.documents))))
        step = self._step[0] if self._step else ""
        show_if(self._title, bool(step))
        self._title.set(step_words(step))
        parts: list[Any] = []
        for i, example in enumerate(made.examples(*self._step)[:SHOWN] if step else ()):
            parts += [*([rule()] if i else []), self._example(example, bool(step in STEPS and step not in CHANGES))]
        if step and not parts:
            parts = [small(tr("It touches none of these documents."), "text3", wrap=True)]
        fill(self._examples.layout(), (*parts, "+"), 8, (0, 0, 8, 0))

    def _example(self, example: Mapping[str, Any], removed: bool) -> QWidget:
        before, after = str(example.get("before", "")), str(example.get("after", ""))
        reader = Reader(self.theme, role="body", name=tr("Example"), quiet=True)
        reader.set_pieces([(before, CUT)] if removed else difference(before, after))
        lines = 1 + max(before.count("\n") + len(before) // 46, after.count("\n") + len(after) // 46)
        reader.setFixedHeight(self.theme.px(22 * min(6, max(2, lines)) + 4))
        why = tr("removed: {why}", why=after or str(example.get("rule", ""))) if removed else ""
        return col(Text(str(example.get("source", "")), "small", "text3", elide=True), reader,
                   small(why, "danger", wrap=True) if why else None, gap=4)


def difference(before: str, after: str) -> list[tuple[str, str]]:
    """Two excerpts as one, with what was cut and what was added marked. Where an excerpt ends ("…") the other may go on: that is no
    difference."""
    codes = SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
    pieces: list[tuple[str, str]] = []
    for place, (what, a, b, c, d) in enumerate(codes):
        head = place == 0 and (before.startswith("…") or after.startswith("…"))
        tail = place >= len(codes) - 2 and d >= len(after) - 1 and b >= len(before) - 1 and (before.endswith("…") or after.endswith("…"))
        if what == "equal" or head or tail:
            pieces.append((after[c:d], SAME))
        else:
            pieces += [(before[a:b], CUT)] if b > a else []
            pieces += [(after[c:d], ADDED)] if d > c else []
    return [piece for piece in pieces if piece[0]]
