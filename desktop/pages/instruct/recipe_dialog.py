"""A recipe's own text: read, and an own one edited and saved. A recipe in Python is a program: here it is read and trusted, by its hash."""

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QDialog, QPlainTextEdit, QWidget

from desktop.models import instruct_recipes
from desktop.models.instruct_plan import RecipeChoice
from desktop.theme.theme import Theme
from desktop.widgets.buttons import Button
from desktop.widgets.fields import Tick
from desktop.widgets.layout import col, row, show_if
from desktop.widgets.notes import NoteSlot
from desktop.widgets.panel import Panel
from desktop.widgets.text import Text, small
from engine.contract.errors import FledgeError
from engine.contract.words import tr

SIZE = (760, 620)


class RecipeDialog(QDialog):
    """`saved(path)`: the text is on the disk and is a recipe. `trusted(sha256)`: exactly this text was read and confirmed.
    `copy_wanted`."""

    saved = Signal(str)
    trusted = Signal(str)
    copy_wanted = Signal()

    def __init__(self, theme: Theme, recipe: RecipeChoice, trusted: str = "", folder: Callable[[str], object] | None = None,
                 parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.theme, self.recipe, self._trusted_hash, self._saved_text = theme, recipe, trusted, recipe.text
        self.setWindowTitle(recipe.title)
        self.setMinimumSize(theme.px(480), theme.px(360))
        self.resize(theme.px(SIZE[0]), theme.px(SIZE[1]))
        own = bool(recipe.path)
        where = tr("Your own, in {path}", path=recipe.path) if own else tr("Comes with Fledge. A copy of it is yours to change.")
        self.notes = NoteSlot(theme)
        self.edit = QPlainTextEdit(recipe.text)
        self.edit.setProperty("role", "mono")
        self.edit.setAccessibleName(tr("Text of the recipe"))
        self.edit.setReadOnly(not own)
        self.edit.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self.edit.setTabChangesFocus(True)
        self.edit.textChanged.connect(self._changed)
        self._hash = Text("", "mono", "text2", select=True, wrap=True)
        self._tick = Tick(theme, tr("I have read this program and trust it"))
        self._tick.changed.connect(self._changed)
        self.trust = Button(theme, tr("Trust this text"), "primary", on_click=self._trust)
        self._trust_part = Panel(small(tr("This recipe is a program. It runs with your rights on this machine: it can read and write your "
                                          "files. Only exactly this text is trusted; a change of one letter asks again."), wrap=True),
                                 self._hash, row(self._tick, "+", self.trust, gap=12), kind="note-warn", pad=(16, 12, 16, 12), gap=8)
        show_if(self._trust_part, recipe.python)
        self.copy = Button(theme, tr("Copy and edit"), icon="copy", on_click=self._copy)
        self.save = Button(theme, tr("Save"), "secondary" if recipe.python else "primary", on_click=self._save)
        close = Button(theme, tr("Close"), on_click=self.reject)
        show_if(self.copy, not own)
        show_if(self.save, own)
        col(Text(recipe.title, "title", elide=True), small(where, elide=True), 6, self.notes,
            (Panel(self.edit, kind="sunken", pad=(10, 8, 4, 8)), 1), self._trust_part, 6,
            row(small(tr("Prompts in braces are filled in; comments say what each part is.")) if not recipe.python else None, "+", close,
                self.copy, self.save), gap=6, pad=(24, 20, 24, 20), host=self)
        if recipe.problem:
            self.notes.show_error(FledgeError(recipe.problem))
        self._changed()

    @property
    def text(self) -> str:
        return self.edit.toPlainText()

    def _changed(self) -> None:
        text = self.text
        changed = text != self._saved_text
        self.save.setEnabled(changed)
        if self.recipe.python:
            made = instruct_recipes.text_hash(text)
            known = made == self._trusted_hash
            self._hash.set(tr("SHA-256 {hash}", hash=made))
            self.trust.set_words(tr("Trusted") if known else tr("Trust this text"))
            self.trust.setEnabled(self._tick.value() and not changed and not known)
            self._tick.setEnabled(not changed and not known)

    def _save(self) -> None:
        assert self.recipe.path
        try:
            instruct_recipes.judge(Path(self.recipe.path), self.text)
            self._write()
            self.notes.clear()
        except FledgeError as wrong:
            keep = Button(self.theme, tr("Save it all the same"), on_click=self._write_anyway)
            self.notes.show_error(wrong, keep, title=tr("This is no recipe yet"))

    def _write_anyway(self) -> None:
        try:
            self._write()
            self.notes.clear()
        except FledgeError as wrong:
            self.notes.show_error(wrong)

    def _write(self) -> None:
        instruct_recipes.save(Path(self.recipe.path), self.text)
        self._saved_text = self.text
        self.saved.emit(self.recipe.path)
        self._changed()
        if not self.recipe.python:
            self.accept()

    def _trust(self) -> None:
        self._trusted_hash = instruct_recipes.text_hash(self.text)
        self.trusted.emit(self._trusted_hash)
        self.accept()

    def _copy(self) -> None:
        self.copy_wanted.emit()
        self.accept()

    def reject(self) -> None:
        """Closing with unsaved words asks once, in place."""
        if self.recipe.path and self.text != self._saved_text and self.notes.note is None:
            self.notes.show_error(FledgeError(tr("What you changed is not saved."), tr("Save it, or close again to leave it.")))
            return
        super().reject()
