"""The verifier in the middle: its name and version, the source or its parts, what is wrong with it, and below it the answers of a model.
What is typed goes to the verifier in hand (kept as a draft) and to the workbench (looked at when typing rests)."""

from typing import Any

from PySide6.QtCore import QPoint, Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QMenu, QSizePolicy

from desktop.context import AppContext
from desktop.models.verifier_hand import VerifierHand, kept_words
from desktop.models.workbench import Workbench
from desktop.pages.verifiers.completions import CompletionsPart, NoteStrip
from desktop.pages.verifiers.parts_editor import PartsEditor, full_of, readable
from desktop.widgets.badge import Badge
from desktop.widgets.buttons import Button
from desktop.widgets.code_editor import CodeEditor
from desktop.widgets.code_text import Mark
from desktop.widgets.layout import col, fill, row, show_if
from desktop.widgets.notes import Note
from desktop.widgets.panel import Panel, rule
from desktop.widgets.text import Text, small
from desktop.widgets.value_menu import Value, ValueMenu
from engine.contract.composition import parse
from engine.contract.words import tr

WIDE = 560
"""From this width on there is room to say where the verifier runs."""
HIGH, FEW, MANY = 760, 3, 8
"""The height from which more answers are seen at once."""


class EditorPanel(Panel):
    """`wanted(what)`: new, versions, import, export, rename, remove, trust, foreign (what else came with the project)."""

    wanted = Signal(str)

    def __init__(self, context: AppContext, bench: Workbench, hand: VerifierHand) -> None:
        super().__init__()
        self.context, self.theme, self.bench, self.hand = context, context.theme, bench, hand
        theme = self.theme
        self._loading = False
        self.title = Text(role="section", elide=True)
        self.choose = Button(theme, kind="icon", icon="down", name=tr("Another verifier"), on_click=self.drop)
        self.badge = Badge()
        self.where = small(tr("runs in a sandbox"))
        self.save = Button(theme, tr("Save"), "quiet", tip=tr("Make a version of it (Ctrl+S)"), on_click=self.save_now)
        self.history = Button(theme, kind="icon", icon="clock", name=tr("Versions"), on_click=lambda: self.wanted.emit("versions"))
        self.more = Button(theme, kind="icon", icon="more", name=tr("More about this verifier"), on_click=self.open_menu)
        self.menu_of = ValueMenu(theme, self, tr("Verifiers"))
        self.menu_of.picked.connect(self._picked)
        self.trust_note = Note(theme, "warn", tr("Not written here, and not trusted yet"), "",
                               Button(theme, tr("Trust this verifier"), "primary", on_click=lambda: self.wanted.emit("trust")),
                               Button(theme, tr("What else came"), on_click=lambda: self.wanted.emit("foreign")))
        self._trust_place = row((self.trust_note, 1), pad=(12, 0, 12, 0))
        self.code = CodeEditor(theme, tr("Source of the verifier"))
        self.code.edited.connect(self._typed)
        self.code.save_wanted.connect(self.save_now)
        self.parts = PartsEditor(context, lambda: hand.verifiers or [])
        self.parts.changed.connect(self._composed)
        self.begin = Button(theme, tr("Begin one"), "primary", icon="plus", on_click=lambda: self.wanted.emit("new"))
        words = Text(tr("A few lines of Python that say how right an answer is, or built-in parts: number, mathematics, text, tags."),
                     tone="text2", wrap=True, align=Qt.AlignmentFlag.AlignHCenter)
        self.none = col("+", Text(tr("No verifier yet"), "title", align=Qt.AlignmentFlag.AlignHCenter), 2, words, 10,
                        row("+", self.begin, Button(theme, tr("Import a .py file"), icon="in",
                                                    on_click=lambda: self.wanted.emit("import")), "+"), "+", "+", gap=4,
                        pad=(32, 0, 32, 0))
        self._parts_words = small(tone="danger", wrap=True)
        self._parts_wrong = row((self._parts_words, 1), pad=(16, 4, 16, 4))
        self.answers = CompletionsPart(context, bench)
        self.answers.line_wanted.connect(self.go_to)
        self.note = NoteStrip(context, bench)
        self.note.line_wanted.connect(self.go_to)
        self._note_place = row((self.note, 1), pad=(12, 0, 12, 0))
        self.title.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
        head = row(self.title, self.choose, self.badge, 2, "+", self.where, self.save, self.history, self.more, gap=4,
                   pad=(16, 0, 8, 0))
        head.setMinimumHeight(theme.px(28))
        fill(self.box, (head, rule(), self._trust_place, (self.code, 1), (self.parts, 1), (self.none, 1), self._parts_wrong, rule(),
                        self.answers,
                        self._note_place), 8, (0, 8, 0, 8))
        hand.opened.connect(self._opened)
        hand.state_changed.connect(self.refresh)
        bench.marks_changed.connect(self._show_marks)
        bench.note_changed.connect(self._show_marks)
        bench.source_replaced.connect(self._replaced)
        self._opened()

    # what is in hand --------------------------------------------------------------------------------------------------

    @property
    def of_parts(self) -> bool:
        return self.hand.verifier is not None and self.hand.verifier.kind == "parts"

    def _opened(self) -> None:
        """Another text stands here now."""
        hand = self.hand
        self._loading = True
        show_if(self.code, hand.verifier is not None and not self.of_parts)
        show_if(self.parts, self.of_parts)
        show_if(self.none, hand.verifier is None)
        if hand.verifier is None:
            self.code.load("")
            self.bench.no_verifier()
        elif self.of_parts:
            if readable(hand.body):
                self.parts.load(hand.body, not hand.trusted, hand.verifier.id)
        else:
            self.code.load(hand.body)
            self.code.set_read_only(not hand.trusted)
        self._loading = False
        if hand.verifier is not None:
            self._judge()
        self.refresh()

    def _judge(self) -> None:
        """The workbench looks at what stands here, unless nobody has said that it may run."""
        hand = self.hand
        if hand.verifier is None or not hand.trusted:
            self.bench.no_verifier()
        elif self.of_parts:
            if readable(hand.body):
                value = parse(hand.body).plain()
                self.bench.edit_parts(value, full_of(value))
        else:
            self.bench.edit_source(hand.body)

    def _typed(self) -> None:
        if not self._loading:
            text = self.code.text()
            self.hand.edit(text)
            self.bench.edit_source(text)

    def _composed(self) -> None:
        if not self._loading:
            value = self.parts.value()
            self.hand.edit(self.parts.text())
            self.bench.edit_parts(value, full_of(value))

    def _replaced(self, text: str) -> None:
        """The note was applied: as one step that can be undone."""
        self._loading = True
        self.code.replace(text)
        self._loading = False
        self.hand.edit(text)

    def save_now(self) -> None:
        if self.hand.dirty or self.hand.verifier is not None:
            self.hand.save()

    def take_body(self, body: str) -> None:
        """An older version comes back, as an edit."""
        if self.of_parts:
            self._loading = True
            self.parts.load(body, False, self.hand.verifier.id if self.hand.verifier is not None else "")
            self._loading = False
            self._composed()
        else:
            self.code.replace(body)

    # showing ----------------------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        hand = self.hand
        one = hand.verifier
        self.title.set(one.title if one is not None else tr("Verifier"))
        words, tone = kept_words(hand)
        self.badge.set(words, tone)
        show_if(self.save, hand.dirty and hand.trusted)
        self.save.setEnabled(not hand.saving)
        for each in (self.history, self.more, self.choose):
            each.setEnabled(one is not None)
        show_if(self._trust_place, one is not None and not hand.trusted)
        if one is not None and not hand.trusted:
            self.trust_note.set(tr("Not written here, and not trusted yet"),
                                tr("It came with the project, or was changed outside of Fledge. Read it: until you trust it, it cannot be "
                                   "edited and nothing runs it. Trusting it opens no door: it runs in the sandbox either way."))
        show_if(self.where, one is not None and not self.of_parts and self.width() >= self.theme.px(WIDE))
        for each in (self.choose, self.history, self.more):
            show_if(each, one is not None)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.answers.set_room(FEW if self.height() < self.theme.px(HIGH) else MANY)
        show_if(self.where, self.hand.verifier is not None and not self.of_parts and self.width() >= self.theme.px(WIDE))

    def _show_marks(self) -> None:
        bench = self.bench
        marks = [Mark(m.line or 0, m.sentence, "error", m.column or 0) for m in bench.marks]
        if not marks and bench.note is not None and bench.note.line:
            marks = [Mark(bench.note.line, bench.note.sentence, "warn")]
        if self.of_parts:
            self._parts_words.set(" ".join(m.sentence for m in marks))
            show_if(self._parts_wrong, bool(marks))
        else:
            show_if(self._parts_wrong, False)
            self.code.set_marks(marks)
        show_if(self._note_place, bench.note is not None)
        self.code.set_strip_shown(bench.note is None)

    def go_to(self, line: Any) -> None:
        """A line of the source, where somebody said something about it."""
        if line and not self.of_parts:
            self.code.area.go_to(int(line))
            self.code.area.setFocus()

    # menus ------------------------------------------------------------------------------------------------------------

    def drop(self) -> None:
        """The verifiers there are."""
        chosen = self.hand.verifier.id if self.hand.verifier is not None else ""
        values = [Value(v.id, v.title, None, v.id == chosen) for v in self.hand.verifiers or []]
        self.menu_of.drop(self.choose, [*values, Value("", tr("New verifier…"))], 280)

    def _picked(self, id: str) -> None:
        if not id:
            self.wanted.emit("new")
        elif self.hand.verifier is None or id != self.hand.verifier.id:
            self.hand.open(id)

    def menu(self) -> QMenu:
        menu, icon, hand = QMenu(self), self.theme.icon, self.hand
        python = not self.of_parts
        menu.addAction(icon("plus"), tr("New verifier…"), lambda: self.wanted.emit("new"))
        menu.addAction(icon("in"), tr("Import a .py file…"), lambda: self.wanted.emit("import"))
        out = tr("Export as .py…") if python else tr("Export as .json…")
        menu.addAction(icon("out"), out, lambda: self.wanted.emit("export"))
        menu.addSeparator()
        menu.addAction(icon("clock"), tr("Versions…"), lambda: self.wanted.emit("versions"))
        menu.addAction(icon("undo"), tr("Drop what is not saved"), hand.drop_changes).setEnabled(hand.dirty and hand.trusted)
        menu.addAction(icon("keyboard"), tr("Keys of the editor"), lambda: self.wanted.emit("keys")).setEnabled(python)
        menu.addSeparator()
        menu.addAction(icon("edit"), tr("Rename…"), lambda: self.wanted.emit("rename"))
        menu.addAction(icon("trash", "danger"), tr("Remove"), lambda: self.wanted.emit("remove"))
        return menu

    def open_menu(self) -> None:
        self.menu().popup(self.more.mapToGlobal(QPoint(0, self.more.height() + 2)))
