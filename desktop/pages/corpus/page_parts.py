"""Parts of the Corpus page: the empty page, and the bar that tells of decisions which the corpus on the screen was made without."""

from collections.abc import Callable
from typing import Any

from PySide6.QtCore import QObject

from desktop.context import AppContext
from desktop.pages.corpus.report_view import DECISIONS, when_loaded
from desktop.theme.theme import Theme
from desktop.widgets.buttons import Button
from desktop.widgets.empty_state import EmptyState
from desktop.widgets.notes import Note, NoteSlot
from engine.contract.words import tr, trn
from engine.project.artifacts import Artifact


def empty_state(theme: Theme, add_folder: Callable[[], None], add_files: Callable[[], None]) -> EmptyState:
    """What the page shows before there is any text."""
    return EmptyState(theme, tr("No text yet"),
        tr("A model learns from text: stories, articles, letters, code. A few megabytes are enough to see it learn; more teaches it "
           "more. Drop files, folders or archives anywhere on this page."),
        Button(theme, tr("Add a folder"), "primary", icon="folder", on_click=add_folder),
        Button(theme, tr("Add files"), on_click=add_files),
        steps=[(tr("Text"), tr("stays on this machine"), False), (tr("A tokenizer"), tr("cuts text into tokens"), False),
               (tr("A model"), tr("learns to continue the text"), False)])


class DecisionBar(QObject):
    """`watch(artifact)` when another corpus is shown, or decisions may have been made. `shown()` gives the corpus on the screen, None while
    no report is."""

    def __init__(self, context: AppContext, notes: NoteSlot, parent: QObject, *, shown: Callable[[], Artifact | None],
                 apply: Callable[[], None], look: Callable[[], None]) -> None:
        super().__init__(parent)
        self.context, self.notes, self._shown, self._apply, self._look = context, notes, shown, apply, look
        self._decisions: Any = None
        self._note: Note | None = None

    def watch(self, made: Artifact) -> None:
        if not (made.path / "documents.parquet").exists():
            return

        def loaded(module: Any) -> None:
            if self._decisions is None:
                self._decisions = module.Decisions(self.context, self)
                self._decisions.changed.connect(self._show)
            if (shown := self._shown()) is not None and shown.id == made.id:
                self._decisions.load(made)
        when_loaded(self.context, DECISIONS, loaded, self)

    def _show(self) -> None:
        made, waiting = self._shown(), self._decisions.pending
        if made is None:
            return
        corpora = self.context.survey.of_kind("corpus") if self.context.survey else []
        applied = any(a.spec.get("base") == made.id for a in corpora)
        if waiting and not applied:
            self._note = Note(
                self.context.theme, "info",
                trn("{count} decision is not yet applied", "{count} decisions are not yet applied", waiting),
                tr("This corpus stays as it is; applying makes a new one of the same documents with what you decided."),
                Button(self.context.theme, tr("Apply"), on_click=self._apply),
                Button(self.context.theme, tr("Look at them"), "quiet", on_click=self._look))
            self.notes.show_note(self._note)
        elif self.notes.note is not None and self.notes.note is self._note:
            self.notes.clear()
