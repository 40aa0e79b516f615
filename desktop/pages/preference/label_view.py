"""Labelling: the card, what is said of it by keys or mouse, how far one is, and what stands beside it.

It wires: cards and steps go through models/label_desk.py, differences are asked of a process of the engine, figures are read in threads. A
key that is pressed while a label is on its way to the disk waits for the card that follows: none is lost.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtGui import QActionGroup, QKeySequence, QShortcut
from PySide6.QtWidgets import QApplication, QMenu, QWidget

from desktop.context import AppContext
from desktop.jobs.bench import Bench
from desktop.models import label_quality
from desktop.models.label_desk import GIVEN, ORDER, LabelDesk, Shown, author_of
from desktop.models.label_keys import PICKS, SETTING, LabelKeys
from desktop.models.label_words import picked_words, said_words
from desktop.pages.preference.label_parts import LabelHints, ProgressLine, Verdict
from desktop.pages.preference.label_side import GuidelinesPanel, PromisePanel, SurePanel
from desktop.widgets.buttons import Button
from desktop.widgets.columns import Columns
from desktop.widgets.empty_state import EmptyState
from desktop.widgets.flexible import Flexible
from desktop.widgets.key_list import ALWAYS, KeyList
from desktop.widgets.layout import clear, col, show_if
from desktop.widgets.notes import NoteSlot
from desktop.widgets.pair_card import PairCard
from desktop.widgets.run_panel import clock
from engine.contract.errors import FledgeError
from engine.contract.units import number
from engine.contract.words import tr, trn
from engine.project.labels import Label, LabelStep

PROBE = "engine.text.probe"
LIMIT_SECONDS = 60.0
SIDE = 248
QUALITY_MS = 1200
"""Figures beside the card are read once this long after the last label."""
ORDERS = (("order", tr("As they came")), ("unsure", tr("Least sure first")), ("random", tr("Mixed")))
MOST_WAITING = 64
"""Keys that wait at most: more were never meant."""


class LabelView(Flexible):
    """`load(set_ids)` begins, `visit(pair)` shows one of a list, `rest()` when nobody looks. Signals: `changed` (counts), `queues_wanted`,
    `train_wanted`, `people_wanted`, `left` (a visit is over)."""

    changed = Signal()
    queues_wanted, train_wanted, people_wanted, left = Signal(), Signal(), Signal(), Signal()

    def __init__(self, context: AppContext) -> None:
        super().__init__()
        self.context, self.theme, theme = context, context.theme, context.theme
        self.desk = LabelDesk(context, self)
        self.bench = Bench(PROBE, self, retry=tr("Try again."), limit=LIMIT_SECONDS)
        kept = context.settings.get(SETTING)
        self.keys = LabelKeys(kept if isinstance(kept, dict) else None)
        self.can_train = False
        self._waiting: deque[str] = deque()
        self._strength = 0
        self._last: tuple[str, str] = ("", "")
        self._shortcuts: list[QShortcut] = []
        self._reading = False
        self.notes = NoteSlot(theme)
        self.line = ProgressLine(theme)
        self.flag_button = Button(theme, "", "icon", icon="flag", name=tr("Flag it, to come back to it"), on_click=lambda: self.act("flag"))
        self.marks_button = Button(theme, "", "icon", icon="differ", name=tr("Mark where the answers differ"),
                                   on_click=lambda: self.act("marks"))
        for button in (self.flag_button, self.marks_button):
            button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
            button.setProperty("small", "true")
        self.card = PairCard(theme, self.flag_button, self.marks_button)
        self.verdict, self.hints = Verdict(theme), LabelHints(theme)
        self.sure, self.promise, self.guidelines = SurePanel(theme), PromisePanel(theme), GuidelinesPanel(theme)
        self._work = col((self.card, 1), self.verdict, self.hints, gap=12)
        self._done = col(gap=0)
        main = col(self.line, self.notes, (self._work, 1), (self._done, 1), gap=12)
        side = col(self.sure, self.promise, (self.guidelines, 1), gap=12)
        col((Columns(theme, main, side, side_width=SIDE, gap=16, room=560), 1), gap=0, host=self)
        show_if(self._done, False)
        show_if(self._work, False)
        self.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self._quality = QTimer(self)
        self._quality.setSingleShot(True)
        self._quality.setInterval(QUALITY_MS)
        self._quality.timeout.connect(self.read_quality)
        self._wire()
        self._show_keys()

    def _wire(self) -> None:
        self.desk.shown.connect(self._show)
        self.desk.changed.connect(self._counts)
        self.desk.saved.connect(self._saved)
        self.desk.stepped.connect(self._stepped)
        self.desk.failed.connect(self._failed)
        self.desk.visited.connect(lambda: QTimer.singleShot(0, self, self.left.emit))
        self.card.picked.connect(self.act)
        self.card.edit_wanted.connect(self._edit)
        self.card.saved.connect(self._save_edit)
        self.card.left.connect(self._stop_editing)
        self.verdict.wanted.connect(self.act)
        self.verdict.strength.connect(self._strong)
        self.verdict.comment.entered.connect(self._comment)
        self.verdict.comment.left.connect(self._leave_comment)
        self.guidelines.saved.connect(self._save_guidelines)
        self.sure.people_wanted.connect(self.people_wanted)
        for keys, act in (("Ctrl+Z", "undo"), ("Ctrl+Shift+Z", "redo"), ("Ctrl+Y", "redo"), ("Escape", "escape")):
            self._shortcut(keys, act)

    def _shortcut(self, key: str, act: str) -> QShortcut:
        made = QShortcut(QKeySequence(key), self, context=Qt.ShortcutContext.WidgetWithChildrenShortcut)
        made.setAutoRepeat(act in ("down", "up"))  # a key that is held down labels one card
        made.activated.connect(lambda: self._key(act))
        return made

    def _show_keys(self) -> None:
        """Make the shortcuts as the person has them, and show them."""
        for old in self._shortcuts:
            old.setEnabled(False)
            old.deleteLater()
        self._shortcuts = [self._shortcut(key, action.id) for action in self.keys.actions if (key := self.keys.key(action.id))]
        self.hints.set(self.keys)
        self.verdict.set_keys(self.keys)
        self.card.set_keys(self.keys.key("left"), self.keys.key("right"), self.keys.key("edit"))

    def show_keys(self) -> None:
        """All keys, to look at and to change."""
        def changed() -> None:
            self.context.remember(SETTING, self.keys.kept())
            self._show_keys()
        KeyList(self.theme, self.keys, changed, self.window(), taken=(*ALWAYS, "Esc")).open()

    # coming and going -------------------------------------------------------------------------------------------------

    def load(self, sets: Sequence[str]) -> None:
        """Label the pairs of these sets, beginning with the first that is to do."""
        project = self.context.project
        assert project is not None
        self._waiting.clear()
        self.notes.clear()
        order = str(self.context.settings.get(ORDER, "order"))
        order = order if order in dict(ORDERS) else "order"
        show_if(self._done, False)
        self.sure.set(label_quality.habits(None))
        self.promise.set(label_quality.Promise(tr("Reading …")))
        self.desk.open(project, sets, author_of(self.context), order, bool(self.context.settings.get(GIVEN, False)))
        self.read_quality()

    def again(self) -> None:
        """Pairs came, or somebody else labels now."""
        self.desk.author = author_of(self.context)
        self.desk.progress = None
        self.desk.again()
        self.read_quality()

    def visit(self, pair: str) -> None:
        """Show one pair of a list with what was said of it."""
        self.desk.visit(pair)

    def rest(self) -> None:
        """Nobody looks: no process waits, no key either."""
        self._waiting.clear()
        self._quality.stop()
        self.bench.stop()

    def label_again(self) -> None:
        """Label those, too, that came with a label."""
        self.context.remember(GIVEN, True)
        self.desk.given = True
        self.desk.again()

    # showing ----------------------------------------------------------------------------------------------------------

    def _show(self) -> None:
        now = self.desk.now
        show_if(self._work, now is not None)
        show_if(self._done, now is None)
        if now is None:
            self._waiting.clear()
            self._show_done()
            return
        stands, was = now.label, now.was
        said = stands or was
        self.card.show_pair(now.card.pair.prompt, now.left, now.right, self._place(now))
        sided = said is not None and said.choice in ("first", "second")
        self.card.show_picked(now.side_of(said.choice) if said is not None and sided else "",
                              picked_words(said, stands is None) if said is not None and sided else "")
        self._strength = said.strength if said is not None else 0
        side = now.side_of(said.choice) if said is not None and sided else ""
        self.verdict.set(tr("Left is") if side == "left" else tr("Right is") if side == "right" else tr("It is"), self._strength,
                         now.comment, now.visit)
        self.verdict.set_said(stands.choice if stands is not None and not sided else "")
        if stands is not None and stands.edited and side:
            self.card.sides[side].text.set(stands.edited)
        self._show_flag()
        if not self._writes():
            self.card.setFocus(Qt.FocusReason.MouseFocusReason)
        QTimer.singleShot(0, self, self._go)

    def _place(self, now: Shown) -> str:
        if now.label is not None:
            return tr("you said “{words}”, {when}", words=said_words(now.label), when=clock(now.label.made))
        progress = self.desk.progress
        place = tr("pair {number}", number=number(progress.done + 1)) if progress is not None else ""
        own = str(now.card.pair.facts.get("why") or "")
        why = tr("drawn because the reward model is unsure") if now.card.why and now.card.why != own else own
        return ", ".join(w for w in (place, why) if w)

    def _show_flag(self) -> None:
        now = self.desk.now
        on = now is not None and now.flagged
        self.flag_button._tone = "warn" if on else ""
        self.flag_button._tint()
        self.flag_button.setToolTip(tr("Flagged: take the flag away") if on else tr("Flag it, to come back to it"))
        self.flag_button.setAccessibleName(self.flag_button.toolTip())

    def _counts(self) -> None:
        self.line.set(self.desk.progress, self.desk.given)
        self._show_flag()
        self.changed.emit()

    def _show_done(self) -> None:
        """Nothing is left to do: what next."""
        theme, progress = self.theme, self.desk.progress
        clear(self._done.layout())
        labels = progress.done if progress is not None else 0
        buttons: list[Any] = []
        if self.can_train and (labels or (progress is not None and progress.given)):
            buttons.append(Button(theme, tr("Train reward model"), "primary", on_click=self.train_wanted.emit))
        if progress is not None and progress.given and not self.desk.given:
            title = trn("{shown} pair came with a label", "{shown} pairs came with a label", progress.given, shown=number(progress.given))
            words = tr("They count as labelled. A reward model can learn from them as they are; you can also say yourself which answer is "
                       "better, to see how far you agree.")
            buttons.append(Button(theme, tr("Label them myself"), on_click=self.label_again))
        else:
            title = tr("All of it is labelled") if labels else tr("Nothing to label here")
            words = trn("{shown} label, on the disk.", "{shown} labels, on the disk.", labels, shown=number(labels))
            if progress is not None and progress.skipped:
                words += " " + trn("{shown} pair was skipped: it can be looked at again.",
                                   "{shown} pairs were skipped: they can be looked at again.", progress.skipped,
                                   shown=number(progress.skipped))
        buttons.append(Button(theme, tr("Look at all pairs"), on_click=self.queues_wanted.emit))
        self._done.layout().addWidget(EmptyState(theme, title, words, *buttons))
        self.setFocus(Qt.FocusReason.MouseFocusReason)  # undo still works

    # keys -------------------------------------------------------------------------------------------------------------

    def _writes(self) -> bool:
        """Whether somebody writes in a field: keys are the text's then."""
        focus = QApplication.focusWidget()
        return focus is not None and (focus is self.verdict.comment or focus is self.guidelines.field or bool(self.card.editing))

    def _key(self, id: str) -> None:
        """A key means nothing to the card while somebody writes; Escape leaves the field."""
        if not self._writes():
            self.act(id)
        elif id == "escape" and QApplication.focusWidget() is self.verdict.comment:
            self._leave_comment()

    def act(self, id: str) -> None:
        """What a key or a button asks for: now, or as soon as the card it is meant for is there."""
        if self.desk.busy or self._waiting:
            if len(self._waiting) < MOST_WAITING:
                self._waiting.append(id)
            return
        self._do(id)

    def _go(self) -> None:
        """The next key that waits."""
        if self._waiting and not self.desk.busy and self.desk.now is not None:
            self._do(self._waiting.popleft())
        if self._waiting:
            QTimer.singleShot(0 if not self.desk.busy else 15, self, self._go)

    def _do(self, id: str) -> None:
        now = self.desk.now
        if id in ("queues", "keys", "guidelines", "undo", "redo", "escape"):
            self._around(id)
        elif now is None:
            return
        elif id in ("left", "right") and self.card.asks_side:
            self._edit(id)
        elif id in PICKS:
            self._pick(id)
        elif id.startswith("strength_"):
            self.verdict.strengths.choose(int(id[-1]))
        elif id == "edit":
            self._ask_edit(now)
        elif id == "comment":
            self.verdict.comment.setFocus(Qt.FocusReason.ShortcutFocusReason)
        elif id == "flag":
            self.desk.flag()
        elif id == "marks":
            self._marks()
        elif id == "leave":
            self.desk.leave_visit()
            self.left.emit()
        elif id in ("down", "up"):
            self.card.scroll_by(0.8 if id == "down" else -0.8)

    def _around(self, id: str) -> None:
        if id == "undo":
            self.desk.undo()
        elif id == "redo":
            self.desk.redo()
        elif id == "queues":
            self.queues_wanted.emit()
        elif id == "keys":
            self.show_keys()
        elif id == "guidelines":
            self.guidelines.edit()
        elif self.card.asks_side:
            self.card.ask_side(False)
        elif self.card.marked:
            self.card.unmark()
        elif self.desk.now is not None and self.desk.now.visit:
            self._do("leave")

    # saying -----------------------------------------------------------------------------------------------------------

    def _pick(self, what: str, edited: str = "") -> None:
        self.notes.clear()
        self._last = (what, edited)
        self.desk.pick(what, self._strength, edited=edited, comment=self.verdict.comment.value())

    def _strong(self, strength: int) -> None:
        """How much better: said of the pick that follows, or of the one that stands."""
        self._strength = strength
        now = self.desk.now
        if now is not None and now.visit and now.label is not None and now.label.choice in ("first", "second"):
            self._pick(now.side_of(now.label.choice), now.label.edited)

    def _saved(self, label: Label) -> None:
        self.card.saving(False)
        self._quality.start()

    def _stepped(self, step: LabelStep | None, redone: bool) -> None:
        if step is None:
            self.context.toast(tr("There is nothing to redo") if redone else tr("There is nothing to undo"))
        elif redone:
            self.context.toast(tr("Again: {words}", words=said_words(step.after) if step.after is not None and step.after.choice else
                                  tr("note")))
        self._quality.start()
        QTimer.singleShot(0, self, self._go)

    def _failed(self, wrong: FledgeError) -> None:
        """Nothing was saved: the card stays, and keys that were meant for the next one are forgotten."""
        self._waiting.clear()
        self.card.saving(False)
        what, edited = self._last
        again = Button(self.theme, tr("Try again"), on_click=lambda: self._pick(what, edited)) if what and self.desk.now is not None else \
            Button(self.theme, tr("Try again"), on_click=self.desk.again)
        self.notes.show_error(wrong, again)
        show_if(self._work, self.desk.now is not None)

    # editing, comment, marks ------------------------------------------------------------------------------------------

    def _ask_edit(self, now: Shown) -> None:
        """The better answer is edited: the one that was picked, or the one that the next arrow says."""
        said = now.label or now.was
        if said is not None and said.choice in ("first", "second"):
            self._edit(now.side_of(said.choice))
        else:
            self.card.ask_side(not self.card.asks_side)

    def _edit(self, side: str) -> None:
        now = self.desk.now
        if now is None or self.desk.busy:
            return
        said = now.label or now.was
        words = said.edited if said is not None and said.edited and now.side_of(said.choice) == side else None
        self.card.unmark()
        self.card.edit(side, words)

    def _save_edit(self, side: str, words: str) -> None:
        """The edit becomes the chosen answer: saved with the pick, and the next card comes."""
        if self.desk.now is None or self.desk.busy:
            return
        if not words.strip():
            self.context.toast(tr("An empty answer cannot be the better one"))
            return
        before = self.desk.now.left if side == "left" else self.desk.now.right
        self.card.saving(True)
        self._pick(side, "" if words == before else words)

    def _stop_editing(self) -> None:
        self.card.stop_editing()

    def _comment(self) -> None:
        """Enter: what is to say about the pair is on the disk, and the keys are the card's again."""
        words = self.verdict.comment.value()
        self.card.setFocus(Qt.FocusReason.MouseFocusReason)
        self.desk.comment(words)

    def _leave_comment(self) -> None:
        self.verdict.comment.set(self.desk.now.comment if self.desk.now is not None else "")
        self.card.setFocus(Qt.FocusReason.MouseFocusReason)

    def _marks(self) -> None:
        if self.card.marked:
            self.card.unmark()
            return
        now = self.desk.now
        assert now is not None

        def came(answer: dict[str, Any]) -> None:
            shown = self.desk.now  # a flag or a comment makes it another object, but the answers are the same
            if shown is not None and (shown.left, shown.right) == (now.left, now.right) and not self.card.editing:
                self.card.show_pieces(answer["pieces"], bool(answer.get("cut")))

        def wrong(error: FledgeError) -> None:
            self.notes.show_error(error)
        self.bench.ask("differences", {"before": now.left, "after": now.right}, came, wrong)

    def order_menu(self, below: QWidget) -> QMenu:
        """In which order pairs come, and whether those that came with a label come, too."""
        menu = QMenu(below)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        group = QActionGroup(menu)
        for value, words in ORDERS:
            action = menu.addAction(words)
            action.setCheckable(True)
            action.setChecked(value == self.desk.order)
            action.triggered.connect(lambda _=False, value=value: self.set_order(value))
            group.addAction(action)
        menu.addSeparator()
        given = menu.addAction(tr("Also those that came with a label"))
        given.setCheckable(True)
        given.setChecked(self.desk.given)
        given.triggered.connect(lambda on: self.set_order(self.desk.order, on))
        menu.popup(below.mapToGlobal(below.rect().bottomLeft()))
        return menu

    def set_order(self, order: str, given: bool | None = None) -> None:
        """Another order, from the next card on."""
        self.desk.order, self.desk.given = order, self.desk.given if given is None else given
        self.context.remember(ORDER, order)
        self.context.remember(GIVEN, self.desk.given)
        self.desk.again()

    # beside the card --------------------------------------------------------------------------------------------------

    def read_quality(self) -> None:
        """Figures and guidelines, in a thread and through a connection of its own, so that no label waits for them."""
        project, sets, author = self.context.project, self.desk.sets, self.desk.author
        if project is None or self._reading:
            return
        self._reading = True

        def came(found: label_quality.Beside) -> None:
            self._reading = False
            self.sure.set(label_quality.habits(found.quality))
            self.promise.set(found.promise)
            if self.guidelines.field is None:
                self.guidelines.set(found.guidelines)

        def wrong(error: Exception) -> None:
            self._reading = False
            if not isinstance(error, FledgeError):
                raise error
            self.promise.set(label_quality.Promise(error.sentence, error.remedy))
        self.context.jobs.run(lambda: label_quality.read(project, sets, author), then=came, failed=wrong, owner=self)

    def _save_guidelines(self, markdown: str) -> None:
        project = self.context.project
        assert project is not None
        author = self.desk.author

        def saved(_: Any) -> None:
            self.guidelines.stop()
            self.guidelines.set(markdown)
            self.card.setFocus(Qt.FocusReason.MouseFocusReason)

        def wrong(error: Exception) -> None:
            if not isinstance(error, FledgeError):
                raise error
            self.notes.show_error(error)
        self.context.jobs.run(lambda: label_quality.set_guidelines(project, markdown, author), then=saved, failed=wrong, owner=self)


