"""Chat: one checkpoint, or two on the same prompt and seed; complete text or hold a conversation. Wires panes, client and library.

A vote on two answers to the same conversation is kept as a labelled pair; with a reward model the best of several answers is shown.
"""

import random
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QLocale, QPoint, QRect, Qt
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import QMenu

from desktop.jobs.chat_client import Answer, AnswerEnd, ChatError, ModelInfo, SamplingSettings
from desktop.models.label_desk import author_of
from desktop.pages.chat import wording
from desktop.pages.chat.best_of import BestOf, Ranked, from_plain, plain
from desktop.pages.chat.composer import Composer
from desktop.pages.chat.keeping import Keeper, OpenChat, pack, unpack
from desktop.pages.chat.pane import Pane, tint
from desktop.pages.chat.popover import TokenPopover
from desktop.pages.chat.votes import Votes
from desktop.widgets.buttons import Button, Segments
from desktop.widgets.empty_state import EmptyState
from desktop.widgets.layout import col, row, show_if
from desktop.widgets.notes import Note, NoteSlot
from desktop.widgets.page import Page
from desktop.widgets.page_header import PageHeader
from desktop.widgets.painted import Painted
from desktop.widgets.text import small
from engine.contract.errors import FledgeError
from engine.contract.rows import Answer as Written
from engine.contract.rows import Message, Pair, pair_id
from engine.contract.words import tr
from engine.project.labels import Label
from engine.project.library import Chat, Turn

if TYPE_CHECKING:
    from PySide6.QtCore import QRectF
    from PySide6.QtGui import QPainter

    from desktop.context import AppContext
    from desktop.theme.theme import Theme

SEVERAL = 4
"""Answers that a reward model chooses from where a page sends one here."""


class Swatch(Painted):
    """The ground of one step of the token colours."""

    def __init__(self, theme: "Theme", step: int) -> None:
        super().__init__(theme, 16, 14)
        self.setFixedWidth(theme.px(16))
        self._step = step

    def draw(self, painter: "QPainter", rect: "QRectF") -> None:
        painter.setPen(self.theme.colour("line" if not self.theme.is_dark else "control"))
        painter.setBrush(type(self.theme.colour("line"))(tint(self.theme, self._step)))
        painter.drawRoundedRect(rect.adjusted(0.5, 0.5, -0.5, -0.5), 3, 3)


class ChatPage(Page):
    def __init__(self, context: "AppContext") -> None:
        super().__init__(context)
        theme = self.theme
        assert context.project is not None
        self._project = context.project
        settings = _settings_of(context.settings.get("chat.sampling"))
        self.client = context.server
        self.keeper = Keeper(lambda: self._project.library, context.jobs, self)
        self.panes = [Pane(theme, tr("Left checkpoint")), Pane(theme, tr("Right checkpoint"))]
        self.popover = TokenPopover(theme, self)
        self.composer = Composer(theme, self, settings)
        self.mode = Segments(theme, [("complete", tr("Complete")), ("chat", tr("Chat"))], context.settings.get("chat.mode", "complete"),
                             name=tr("What to do"), on_change=self._mode_changed)
        self.sides = Segments(theme, [(1, tr("One")), (2, tr("Side by side"))], context.settings.get("chat.sides", 2),
                              name=tr("How many checkpoints"), on_change=self._sides_changed)
        self._answers: dict[int, Answer | BestOf] = {}
        self._chosen_from: dict[int, dict[str, Any]] = {}
        self._open: OpenChat | None = None
        self._place = 0
        self._pending = False
        self._wanted, self._suited = "", True
        self._trouble = NoteSlot(theme)
        self._trouble.layout().setContentsMargins(0, 0, 0, 12)  # type: ignore[union-attr]
        self._history_button = Button(theme, kind="icon", icon="clock", name=tr("Earlier chats"), on_click=self._history)
        serve = Button(theme, kind="icon", icon="globe", name=tr("Serve my models to other programs"),
                       on_click=lambda: context.navigate("settings", section="serve"))
        self._header = PageHeader(tr("Chat"), "", self._history_button, serve, self.mode, self.sides)
        legend = row(small(tr("Probability of each token")), *[row(Swatch(theme, step), small(words), gap=6) for step, words in (
            (0, tr("80 % and up")), (1, tr("50 to 80")), (2, tr("20 to 50")), (3, tr("under 20")))], "+", gap=14)
        self.votes = Votes(theme, self)
        self._voted = ""
        legend.layout().addWidget(self.votes)  # type: ignore[union-attr]
        legend.setToolTip(tr("The model's own probability of each token, before temperature and cuts. Point at a token, or walk with the "
                             "arrow keys, to see what else it considered."))
        self._work = col((row((self.panes[0], 1), (self.panes[1], 1), gap=12), 1), legend, self.composer, gap=12)
        self._empty = EmptyState(theme, tr("No model to talk to yet"),
                                 tr("Chat works with any checkpoint of this project, the untrained one included. Pretraining makes the "
                                    "first."),
                                 Button(theme, tr("Pretrain a model"), "primary", on_click=lambda: context.navigate("pretrain")))
        self._work.hide()
        self._empty.hide()
        self.set_body(self._header, 16, self._trouble, (self._work, 1), (self._empty, 1))
        self._wire()
        self._sides_changed(self.sides.value())
        self._mode_changed(self.mode.value())

    def _wire(self) -> None:
        self.client.models_changed.connect(self._models_came)
        self.client.state_changed.connect(self._state_changed)
        self.client.failed.connect(self._client_failed)
        self.client.health_changed.connect(self._health_changed)
        self.keeper.failed.connect(self._not_kept)
        self.composer.sent.connect(self.send)
        self.composer.stopped.connect(self.stop)
        self.composer.sampling.clicked.connect(self.popover.hide)
        self.composer.settings_changed.connect(self._remember_sampling)
        self.composer.best.changed.connect(self._best_changed)
        self.votes.voted.connect(self._vote)
        self.votes.undone.connect(self._take_vote_back)
        for pane in self.panes:
            pane.picked.connect(partial(self._picked, pane))
            pane.chosen.connect(partial(self._chosen, pane))
        for keys, act in (("Ctrl+Return", self.send), ("Ctrl+Enter", self.send), ("Ctrl+Shift+N", self.new_chat)):
            QShortcut(QKeySequence(keys), self, context=Qt.ShortcutContext.WidgetWithChildrenShortcut).activated.connect(act)
        self._esc = QShortcut(QKeySequence("Esc"), self, context=Qt.ShortcutContext.WidgetWithChildrenShortcut)
        self._esc.activated.connect(self.stop)
        self._esc.setEnabled(False)
        self.context.survey_changed.connect(self._survey_changed)
        self.context.project_changed.connect(self._project_gone)

    # -- shown and left ----------------------------------------------------------------------------------------------

    def opened(self, **args: Any) -> None:
        """`model`: an id to pick (from Runs and Pretrain); side by side it stands at the right, its untrained self at the left. `reward`: a
        reward model that chooses the best of several answers."""
        self._wanted = str(args.get("model", ""))
        self._suited = not self._wanted
        self.client.start()
        self.client.refresh()
        self._suit()
        if args.get("reward"):
            self._choose_by(str(args["reward"]))
        self._look_for_rewards()
        self._look()
        self.composer.prompt.setFocus(Qt.FocusReason.OtherFocusReason)

    def left(self) -> None:
        self.popover.hide()
        self.composer.popover.close_it()

    def _project_gone(self) -> None:
        self.stop()

    def _survey_changed(self) -> None:
        self._look_for_rewards()
        if self.isVisible() or self.client.can_ask:
            self.client.refresh()

    def _look_for_rewards(self) -> None:
        """Which reward models there are to choose the best of several answers with; the choice of last time, where it can be had."""
        survey, best = self.context.survey, self.composer.best
        kept = self.context.settings.get("chat.best", {})
        kept = kept.get(str(self._project.dir)) if isinstance(kept, dict) else None
        if not best.reward and isinstance(kept, list) and len(kept) == 2:
            best.count, best.reward = int(kept[0]), str(kept[1])
        best.set_models(survey.choices("reward_model") if survey else ())
        show_if(best, best.has_models and self.mode.value() == "chat")

    def _choose_by(self, reward: str) -> None:
        """Answers are sampled several at a time, in one chat, and this reward model says which is the best."""
        self.composer.best.set_models(self.context.survey.choices("reward_model") if self.context.survey else ())
        if reward in dict(self.composer.best._models):
            self.composer.best.choose(max(self.composer.best.count, SEVERAL), reward)
            if self.mode.value() != "chat":
                self.mode.set("chat")
                self._mode_changed("chat")

    def _best_changed(self) -> None:
        best, kept = self.composer.best, self.context.settings.get("chat.best", {})
        self.context.remember("chat.best", {**(kept if isinstance(kept, dict) else {}), str(self._project.dir): [best.count, best.reward]})

    # -- the server --------------------------------------------------------------------------------------------------

    def _state_changed(self, state: str) -> None:
        if state in ("loading", "ready"):
            self._trouble.clear()
            if self._pending and self.client.listed:
                self.send()
        self._look()

    def _health_changed(self, health: dict[str, Any]) -> None:
        self._header.set(tr("Chat"), self._sentence(self.sides.value() == 2))

    def _client_failed(self, error: ChatError) -> None:
        self._pending = False
        note = Note(self.theme, "danger", error.sentence, error.remedy, Button(self.theme, tr("Start it again"), on_click=self._restart))
        self._trouble.show_note(note)
        self._look()

    def _restart(self) -> None:
        self._trouble.clear()
        self.client.start()

    def _models_came(self, models: Sequence[ModelInfo]) -> None:
        kept = self.context.settings.get("chat.models", {})
        kept = kept.get(str(self._project.dir), []) if isinstance(kept, dict) else []
        for pane, wanted in zip(self.panes, self._first_choice(models, kept), strict=True):
            pane.set_models(models, wanted)
        self._suit()
        self._look()
        if self._pending and self.client.can_ask:
            self.send()

    def _first_choice(self, models: Sequence[ModelInfo], kept: Sequence[str]) -> tuple[str, str]:
        """What the panes show first: as last time; else the untrained one beside the newest, or the newest alone."""
        ids = [m.id for m in models]
        newest = ids[0] if ids else ""
        untrained = next((m.id for m in models if m.untrained), newest)
        if self._wanted in ids and self.sides.value() == 2:
            run = next(m.run for m in models if m.id == self._wanted)
            return next((m.id for m in models if m.untrained and m.run == run), untrained), self._wanted
        left = self._wanted if self._wanted in ids else kept[0] if len(kept) == 2 and kept[0] in ids else \
            untrained if self.sides.value() == 2 else newest
        return left, kept[1] if len(kept) == 2 and kept[1] in ids else newest

    def _suit(self) -> None:
        """The model that was asked for is picked, once it is known; after that the person chooses. Who comes to one that answers comes to
        talk; a base model continues text."""
        wanted = next((m for m in self.client.models if m.id == self._wanted), None)
        if wanted is None or self._suited:
            return
        self._suited = True
        self.panes[self.sides.value() - 1].pick(wanted.id)
        beside = self.panes[0]
        if self.sides.value() == 2 and beside.model is not None and beside.model.id == wanted.id:
            beside.pick(self._parent(wanted.id))  # beside itself it could not be compared with anything
        mode = "chat" if wanted.chat else "complete"
        if mode != self.mode.value():
            self.mode.set(mode)
            self._mode_changed(mode)

    def _parent(self, id: str) -> str:
        """The model that this one was tuned from, where that can be talked to; itself otherwise."""
        survey = self.context.survey
        made = next((a for a in survey.of_kind("model") if a.id == id), None) if survey is not None else None
        parent = made.facts.get("model") if made is not None else None
        return next((m.id for m in self.client.models if m.id == parent), id)

    def _look(self) -> None:
        """What can be seen and done, by what there is."""
        none = self.client.listed and not self.client.models
        show_if(self._empty, none)
        show_if(self._work, not none)
        self.composer.set_enabled(self.client.state != "failed" and not none)
        two = self.sides.value() == 2
        if self.mode.value() == "complete":
            self.composer.set_words(tr("Continue both") if two else tr("Continue"))
        else:
            self.composer.set_words(tr("Send to both") if two else tr("Send"))
        self._header.set(tr("Chat"), self._sentence(two))
        self.composer.prompt.setPlaceholderText(
            tr("The beginning of a text, to be continued") if self.mode.value() == "complete" else tr("What you say"))
        for pane in self._active():
            pane.warn_base(self.mode.value() == "chat")

    def _sentence(self, two: bool) -> str:
        if self.client.state == "starting":
            return tr("The local server is starting.")
        if self.client.health.get("sharing"):
            return tr("A training run has the device: text comes more slowly until it is done.")
        if two:
            return tr("Two checkpoints, one prompt, the same seed.")
        return tr("One checkpoint, any prompt. The tint tells how sure it was of each token.")

    def _active(self) -> list[Pane]:
        return self.panes[:self.sides.value()]

    # -- asking ------------------------------------------------------------------------------------------------------

    def send(self) -> None:
        """The prompt goes to every pane on the screen. Before the server answers it waits; while an answer is under way nothing happens."""
        prompt = self.composer.prompt.value()
        chat = self.mode.value() == "chat"
        if self._answers or not self.composer.isVisible() and not self._pending or (chat and not prompt.strip()):
            return
        if not self.client.can_ask or not self.client.listed:
            self._pending = True
            self.client.start()
            return
        panes = [p for p in self._active() if p.model is not None]
        if not panes:
            return
        self._pending = False
        if self.composer.popover.fresh.value():
            self.composer.set_seed(random.randrange(2**31))
        settings = self.composer.settings
        if self._open is None or not chat:
            self._open = OpenChat(wording.title_of(prompt) or tr("Empty prompt"), self.mode.value(),
                                  {**asdict(settings), "models": [p.model.id for p in panes if p.model]})
        open = self._open
        self._place, open.place = open.place, open.place + 2
        self.keeper.add(open, "user" if chat else "prompt", prompt, self._place)
        for pane in panes:
            pane.begin(prompt)
            assert pane.model is not None
            side = self.panes.index(pane)
            answer = self._ask(pane, prompt, settings)
            self._answers[side] = answer
            answer.written.connect(pane.take)
            answer.ended.connect(partial(self._ended, side, settings))
            answer.failed.connect(partial(self._failed, side, settings))
        if chat:
            self.composer.prompt.set("")
        self._run_state()

    def _ask(self, pane: Pane, prompt: str, settings: SamplingSettings) -> Answer | BestOf:
        assert pane.model is not None
        best = self.composer.best
        if not pane.chat_mode:
            return self.client.complete(pane.model.id, prompt, settings)
        if not best.active:
            return self.client.chat(pane.model.id, pane.history, settings)
        several = BestOf(self.client, pane.model.id, pane.history, settings, best.count, best.reward)
        several.progressed.connect(pane.progress)
        several.ranked.connect(partial(self._ranked, pane, best.reward, best.title))
        pane.progress(0, best.count)
        return several

    def _ranked(self, pane: Pane, reward: str, title: str, ranked: Sequence[Ranked]) -> None:
        pane.show_ranked(ranked, title)
        self._chosen_from[self.panes.index(pane)] = plain(ranked, reward, title)

    def stop(self) -> None:
        """What has been written stays."""
        self._pending = False
        for answer in list(self._answers.values()):
            answer.cancel()

    def new_chat(self) -> None:
        """An empty page; what was said is in the earlier chats."""
        self.stop()
        self._open = None
        for pane in self.panes:
            pane.reset(self.mode.value() == "chat")
        self._offer_vote()
        self._look()
        self.composer.prompt.setFocus(Qt.FocusReason.OtherFocusReason)

    def _ended(self, side: int, settings: SamplingSettings, end: AnswerEnd) -> None:
        pane = self.panes[side]
        pane.end(end)
        self._keep(side, settings, end.seconds, end.reason)
        self._over(side)

    def _failed(self, side: int, settings: SamplingSettings, error: ChatError) -> None:
        pane = self.panes[side]
        action = Button(self.theme, tr("Start it again"), on_click=self._restart) if error.code == "server_gone" else None
        pane.fail(error, action)
        if pane.tokens:
            self._keep(side, settings, 0.0, error.code)
        self._over(side)

    def _keep(self, side: int, settings: SamplingSettings, seconds: float, reason: str) -> None:
        pane = self.panes[side]
        if self._open is None or pane.model is None or pane.current is None:
            return
        facts = {"seed": settings.seed, "seconds": round(seconds, 3), "reason": reason, "title": pane.model.title,
                 "bits": round(wording.bits_a_token(pane.tokens), 4), "tokens": pack(pane.tokens)}
        if chosen_from := self._chosen_from.pop(side, None):
            facts["best_of"] = chosen_from
        role = "assistant" if pane.chat_mode else "completion"
        self.keeper.add(self._open, role, pane.current.plain(prompt=False), self._place + 1, side, pane.model.id, facts,
                        then=partial(self._told_kept, pane, pane.current))

    def _told_kept(self, pane: Pane, text: Any) -> None:
        if pane.current is text:
            pane.kept()

    def _over(self, side: int) -> None:
        self._answers.pop(side, None)
        self._run_state()

    def _run_state(self) -> None:
        running = bool(self._answers)
        self._offer_vote()
        self.composer.set_running(running)
        self._esc.setEnabled(running)
        self._look()

    # -- votes -------------------------------------------------------------------------------------------------------

    def _offer_vote(self) -> None:
        """Two whole answers to one and the same conversation can be compared."""
        left, right = self.panes
        two = self.sides.value() == 2 and self.mode.value() == "chat" and not self._answers
        both = two and all(p.history and p.history[-1][0] == "assistant" and p.history[-1][1].strip() for p in (left, right))
        if both and left.history[:-1] == right.history[:-1] and left.history[-1] != right.history[-1]:
            self.votes.offer()
        else:
            self.votes.clear()

    def _pair(self) -> Pair:
        left, right = self.panes
        prompt = tuple(Message(role=role, content=content) for role, content in left.history[:-1])
        said = [Written(text=p.history[-1][1], model=p.model.id if p.model else "", facts={
            "seed": self.composer.settings.seed, "temperature": self.composer.settings.temperature}) for p in (left, right)]
        return Pair(id=pair_id(prompt, said[0].text, said[1].text), prompt=prompt, first=said[0], second=said[1], origin="chat",
                    facts={"chat": self._open.id if self._open else ""})

    def _vote(self, choice: str) -> None:
        """Kept as a labelled pair before the screen says so."""
        if not self.votes.offered:
            return
        pair, author, library = self._pair(), author_of(self.context), self._project.library
        said = {"left": "first", "right": "second"}.get(choice, choice)
        self.votes.clear()

        def keep() -> None:
            pairs = library.pairs
            known = next((each.id for each in pairs.sets() if each.origin == "chat"), "")
            pairs.add(known or pairs.create_set(tr("Votes in Chat"), origin="chat").id, [pair], author)
            pairs.label(pair.id, Label(choice=said, author=author, left="first"))  # type: ignore[arg-type]

        def kept(_: object) -> None:
            if pair.id == self._pair_shown():
                self._voted = pair.id
                self.votes.kept(choice)

        self.context.jobs.run(keep, then=kept, failed=self._vote_failed, owner=self)

    def _pair_shown(self) -> str:
        """The pair that the screen shows now; "" for none."""
        whole = all(p.history and p.history[-1][0] == "assistant" for p in self.panes)
        return self._pair().id if whole and not self._answers else ""

    def _take_vote_back(self) -> None:
        author, library, wanted = author_of(self.context), self._project.library, self._voted

        def back() -> bool:
            step = library.pairs.undo(author)
            if step is not None and step.pair != wanted:  # something else was labelled since
                library.pairs.redo(author)
            return step is not None and step.pair == wanted

        self.context.jobs.run(back, then=lambda done: self._offer_vote() if done else self.votes.clear(), failed=self._vote_failed,
                              owner=self)

    def _vote_failed(self, wrong: Exception) -> None:
        if not isinstance(wrong, FledgeError):
            raise wrong
        self._trouble.show_error(wrong, title=tr("This vote is not saved"))
        self._offer_vote()

    # -- choices of the person ---------------------------------------------------------------------------------------

    def _mode_changed(self, mode: str) -> None:
        self.context.remember("chat.mode", mode)
        self.stop()
        show_if(self.composer.best, self.composer.best.has_models and mode == "chat")
        self._open = None
        for pane in self.panes:
            pane.reset(mode == "chat")
        self._look()
        if self.isVisible():
            self.composer.prompt.setFocus(Qt.FocusReason.OtherFocusReason)

    def _sides_changed(self, sides: int) -> None:
        self.context.remember("chat.sides", sides)
        if sides == 1 and 1 in self._answers:
            self._answers[1].cancel()
        show_if(self.panes[1], sides == 2)
        self.popover.hide()
        self._offer_vote()
        self.composer.set_both(sides == 2)
        if sides == 2 and self.mode.value() == "chat" and self.panes[0].history and not self.panes[1].history:
            self.new_chat()
        self._look()

    def _picked(self, pane: Pane) -> None:
        kept = self.context.settings.get("chat.models", {})
        kept = dict(kept) if isinstance(kept, dict) else {}
        kept[str(self._project.dir)] = [p.picker.value() or "" for p in self.panes]
        self.context.remember("chat.models", kept)
        side = self.panes.index(pane)
        if side in self._answers:
            self._answers[side].cancel()
        if pane.current is not None:
            self._open = None
            for each in self._active() if pane.chat_mode else [pane]:
                each.reset(pane.chat_mode)
        self._look()

    def _remember_sampling(self) -> None:
        self.context.remember("chat.sampling", asdict(self.composer.settings))

    def _chosen(self, pane: Pane, cell: Any, place: QRect) -> None:
        if cell is None:
            self.popover.hide()
            return
        here = QRect(pane.mapTo(self, place.topLeft()), place.size())
        room = QRect(pane.mapTo(self, QPoint(0, 0)), pane.size()).adjusted(12, 12, -12, -12)
        self.popover.show_for(cell, here, room)

    # -- earlier chats -----------------------------------------------------------------------------------------------

    def _history(self) -> None:
        self.keeper.chats(self._show_history)

    def _show_history(self, chats: Sequence[Chat]) -> None:
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.addAction(self.theme.icon("plus"), tr("New chat"), self.new_chat).setShortcut(QKeySequence("Ctrl+Shift+N"))
        menu.addSeparator()
        for chat in chats:
            when = QLocale().toString(_moment(chat.updated), QLocale.FormatType.ShortFormat)
            menu.addAction(self.theme.icon("chat" if chat.mode == "chat" else "text"), f"{chat.title.replace('&', '&&')}\t{when}",
                           partial(self.open_chat, chat.id))
        if not chats:
            menu.addAction(tr("No chats yet")).setEnabled(False)
        self._menu = menu
        button = self._history_button
        menu.popup(button.mapToGlobal(QPoint(0, button.height() + 2)))

    def open_chat(self, id: str) -> None:
        """Show a chat of the library."""
        self.stop()
        self.keeper.turns(id, self._show_chat)

    def _show_chat(self, chat: Chat, turns: Sequence[Turn]) -> None:
        sides = 1 + max((t.side for t in turns), default=0)
        self.sides.set(sides)
        self.mode.set(chat.mode)
        self._sides_changed(sides)
        self._mode_changed(chat.mode)
        self.composer.popover.load(_settings_of(chat.settings))
        for side, pane in enumerate(self._active()):
            mine = [t for t in turns if t.role not in ("user", "prompt") and t.side == side]
            if mine:
                pane.pick(mine[-1].model)
            for turn in mine:
                asked = next((t.content for t in turns if t.place == turn.place - 1), "")
                pane.show_past(asked, unpack(turn.facts.get("tokens")), turn.content, float(turn.facts.get("seconds", 0)))
                pane.show_ranked(*from_plain(turn.facts.get("best_of")))
        if chat.mode == "complete" and turns:
            self.composer.prompt.set(turns[0].content)
        self._open = OpenChat(chat.title, chat.mode, dict(chat.settings), chat.id, max((t.place for t in turns), default=-1) + 1)
        self.composer.set_both(sides == 2)
        self._look()

    def _not_kept(self, error: FledgeError) -> None:
        self._trouble.show_error(error, title=tr("This chat is not saved"))


def _settings_of(raw: Any) -> SamplingSettings:
    """Settings as they were kept; the defaults for what is missing or of another kind."""
    base = SamplingSettings()
    if not isinstance(raw, dict):
        return base
    known = {k: v for k, v in raw.items() if k in asdict(base) and isinstance(v, (int, float)) and not isinstance(v, bool)}
    return replace(base, **known)  # type: ignore[arg-type]


def _moment(seconds: float) -> Any:
    from PySide6.QtCore import QDateTime
    return QDateTime.fromMSecsSinceEpoch(int(seconds * 1000))
