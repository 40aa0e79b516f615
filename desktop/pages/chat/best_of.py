"""Best of n: several answers to one conversation, sampled at once, scored by a reward model; the best is the answer, the others are shown.

What it is for: to see what a reward model likes before a policy is trained with it.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from PySide6.QtCore import QObject, QPoint, Signal
from PySide6.QtGui import QAction, QActionGroup
from PySide6.QtWidgets import QMenu, QWidget

from desktop.jobs.chat_client import Answer, AnswerEnd, ChatClient, ChatError, SamplingSettings, StreamedToken
from desktop.jobs.rewards import Rewards
from desktop.theme.theme import Theme
from desktop.widgets.buttons import Button
from desktop.widgets.layout import fixed, row
from desktop.widgets.panel import Panel, heading
from desktop.widgets.text import Text, small
from engine.contract.units import number
from engine.contract.words import tr, trn

COUNTS = (4, 8, 16)
REWARD_WIDTH = 56


@dataclass(frozen=True)
class Ranked:
    """One of the answers, with its reward."""

    text: str
    reward: float
    tokens: tuple[StreamedToken, ...] = ()
    end: AnswerEnd = field(default_factory=lambda: AnswerEnd("stop"))


class BestOf(QObject):
    """It behaves as an Answer: `written`, then one of `ended` and `failed`. Before that `progressed` (answers that are there, of how many)
    and `ranked` (all of them, best first)."""

    written = Signal(list)
    ended = Signal(object)
    failed = Signal(object)
    progressed = Signal(int, int)
    ranked = Signal(list)

    def __init__(self, client: ChatClient, model: str, history: Sequence[tuple[str, str]], settings: SamplingSettings, count: int,
                 reward: str) -> None:
        super().__init__(client)
        self._client, self._history, self._reward, self.count = client, list(history), reward, count
        self._tokens: list[list[StreamedToken]] = [[] for _ in range(count)]
        self._ends: dict[int, AnswerEnd] = {}
        self._rewards: Rewards | None = None
        self._over = False
        self._answers: list[Answer] = []
        for place in range(count):
            answer = client.chat(model, history, replace(settings, seed=(settings.seed + place) % 2**31))
            answer.written.connect(partial(self._take, place))
            answer.ended.connect(partial(self._one_ended, place))
            answer.failed.connect(self._fail)
            self._answers.append(answer)

    def cancel(self) -> None:
        """Stop: answers that are whole already are not ranked."""
        if self._over:
            return
        self._over = True
        self._let_go()
        self.ended.emit(AnswerEnd("cancelled"))
        self.deleteLater()

    def _let_go(self) -> None:
        answers, self._answers = self._answers, []
        for answer in answers:
            answer.cancel()
        if self._rewards is not None:
            self._rewards.cancel()

    def _take(self, place: int, tokens: Sequence[StreamedToken]) -> None:
        self._tokens[place] += tokens

    def _one_ended(self, place: int, end: AnswerEnd) -> None:
        if self._over:
            return
        self._ends[place] = end
        self.progressed.emit(len(self._ends), self.count)
        if len(self._ends) == self.count:
            self._rewards = self._client.rewards(self._reward, self._history, [self._text(n) for n in range(self.count)])
            self._rewards.came.connect(self._rank)
            self._rewards.failed.connect(self._fail)

    def _text(self, place: int) -> str:
        return "".join(token.text for token in self._tokens[place])

    def _rank(self, rewards: Sequence[float]) -> None:
        self._rewards = None
        if self._over:
            return
        self._over = True
        order = sorted(range(self.count), key=lambda n: -rewards[n])
        made = [Ranked(self._text(n), rewards[n], tuple(self._tokens[n]), self._ends[n]) for n in order]
        self.ranked.emit(made)
        self.written.emit(list(made[0].tokens))
        seconds = max(end.seconds for end in self._ends.values())
        self.ended.emit(replace(made[0].end, seconds=seconds))
        self.deleteLater()

    def _fail(self, error: ChatError) -> None:
        if self._over:
            return
        self._over = True
        self._rewards = None
        self._let_go()
        self.failed.emit(error)
        self.deleteLater()


def plain(ranked: Sequence[Ranked], reward: str, title: str) -> dict[str, Any]:
    """For the library, beside the turn."""
    return {"reward_model": reward, "title": title, "answers": [{"text": r.text, "reward": round(r.reward, 5)} for r in ranked]}


def from_plain(raw: Any) -> tuple[list[Ranked], str]:
    """(answers, the reward model's title) as kept with a turn; none where it was no best of n."""
    if not isinstance(raw, dict) or not isinstance(raw.get("answers"), list):
        return [], ""
    return [Ranked(str(a["text"]), float(a["reward"])) for a in raw["answers"]], str(raw.get("title", ""))


def ranked_panel(theme: Theme, ranked: Sequence[Ranked], title: str) -> QWidget:
    """All answers with their rewards, the chosen one first."""
    lines: list[QWidget] = []
    times = Counter(one.text for one in ranked)
    for place, one in enumerate({one.text: one for one in reversed(ranked)}[text] for text in times):
        worth = fixed(Text(number(one.reward, 2), "strong" if place == 0 else "body", "accent" if place == 0 else "text2"),
                      theme.px(REWARD_WIDTH))
        said = Text(" ".join(one.text.split()) or tr("nothing"), "body", "" if place == 0 else "text2", wrap=True, select=True)
        often = times[one.text]
        line = row(worth, (said, 1), small(tr("{count} times", count=str(often)) if often > 1 else ""), gap=10)
        line.setAccessibleName(tr("Reward {reward}: {answer}", reward=number(one.reward, 2), answer=one.text[:200]))
        lines.append(line)
    note = small(tr("Rewards are in spreads of the answers {model} was trained on. The first is the answer above.", model=title), wrap=True)
    return Panel(heading(trn("{count} answer, by {model}", "{count} answers, best first by {model}", len(ranked), model=title)), note,
                 *lines, kind="sunken", gap=6, pad=(14, 10, 14, 12))


class BestOfButton(Button):
    """A button with a menu: off, or so many answers by which reward model. `changed` with every choice."""

    changed = Signal()

    def __init__(self, theme: Theme, count: int = 1, reward: str = "") -> None:
        super().__init__(theme, tr("One answer"), "quiet", icon="trophy", on_click=self._open,
                         tip=tr("Sample several answers and keep the one a reward model likes best"))
        self._theme, self.count, self.reward = theme, count, reward
        self._models: list[tuple[str, str]] = []
        self._show()

    def set_models(self, models: Sequence[tuple[str, str]]) -> None:
        """(id, title) of the reward models there are, newest first. One that is gone is chosen no more."""
        self._models = list(models)
        if self.reward not in dict(models):
            self.count, self.reward = 1, ""
        self._show()

    @property
    def has_models(self) -> bool:
        return bool(self._models)

    @property
    def active(self) -> bool:
        return self.count > 1 and bool(self.reward)

    @property
    def title(self) -> str:
        return dict(self._models).get(self.reward, self.reward)

    def choose(self, count: int, reward: str) -> None:
        self.count, self.reward = count, reward
        self._show()
        self.changed.emit()

    def _show(self) -> None:
        self.set_words(tr("Best of {count} by {model}", count=str(self.count), model=self.title) if self.active else tr("One answer"))

    def menu_of(self) -> QMenu:
        menu = QMenu(self)
        group = QActionGroup(menu)
        self._action(menu, group, tr("One answer"), 1, "")
        for id, title in self._models:
            menu.addSeparator()
            for count in COUNTS:
                self._action(menu, group, tr("Best of {count} by {model}", count=str(count), model=title), count, id)
        return menu

    def _action(self, menu: QMenu, group: QActionGroup, words: str, count: int, reward: str) -> None:
        action = QAction(words.replace("&", "&&"), menu, checkable=True)
        action.setChecked((count, reward) == (self.count if self.active else 1, self.reward if self.active else ""))
        action.triggered.connect(lambda: self.choose(count, reward))
        group.addAction(action)
        menu.addAction(action)

    def _open(self) -> None:
        menu = self.menu_of()
        menu.aboutToHide.connect(menu.deleteLater)
        menu.popup(self.mapToGlobal(QPoint(0, -menu.sizeHint().height() - 4)))
