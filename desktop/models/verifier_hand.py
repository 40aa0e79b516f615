"""The verifier in hand: which one of the library it is, what stands in its editor, whether that is saved and may run. No widgets.

What is typed is on the disk within half a second, as a draft; a version is made when the person saves. What is not trusted is never edited
and never run: it is shown, and the person says yes or leaves it. Everything that reads or writes the library does so in a thread.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, QTimer, Signal

from engine.contract.composition import digest
from engine.contract.errors import FledgeError
from engine.contract.words import tr
from engine.project import trust
from engine.project.verifiers import Verifier, Version

if TYPE_CHECKING:
    from desktop.context import AppContext

DRAFT_MS = 300
LAST = "verifiers.last"


class VerifierHand(QObject):
    """`refresh()` reads the list, `open(id)` takes one in hand.

    listed           `verifiers`
    opened           another text stands in the editor: `body`; `verifier` None when nothing is in hand
    state_changed    `verifier`, `version`, `dirty`, `trusted`, `saving`
    saved(Version)   a version was made (or the newest was the same)
    failed(error)
    kept_again       a draft that could not be kept can, since it was edited
    """

    listed, opened, state_changed = Signal(), Signal(), Signal()
    saved, failed, kept_again = Signal(object), Signal(object), Signal()

    def __init__(self, context: "AppContext", parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._context = context
        assert context.project is not None
        self._project = context.project
        self.verifiers: list[Verifier] | None = None
        self.verifier: Verifier | None = None
        self.version: Version | None = None
        self.body, self.trusted, self.saving = "", True, False
        self._asked = 0
        self._opening = False  # one was asked for by name, and nothing else comes in its place
        self._keeping = self._unkept = False
        self._kept = ""
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(DRAFT_MS)
        self._timer.timeout.connect(self._keep)

    @property
    def store(self) -> Any:
        return self._project.library.verifiers

    @property
    def dirty(self) -> bool:
        """Whether the editor holds something else than the newest version."""
        return self.version is not None and self.body != self.version.body

    def _key(self) -> str:
        return f"{LAST}:{self._project.dir}"

    # the list and what is in hand --------------------------------------------------------------------------------------

    def refresh(self, then: Callable[[], object] | None = None) -> None:
        """Read the list; when nothing is in hand yet, the one of last time (or the newest) is taken."""
        def came(found: list[Verifier]) -> None:
            self.verifiers = found
            if self.verifier is not None and self.verifier.id not in {v.id for v in found}:
                self._put_down()
            self.listed.emit()
            if self.verifier is None and found and not self._opening:
                last = self._context.settings.get(self._key(), "")
                self.open(next((v.id for v in found if v.id == last), max(found, key=lambda v: v.updated).id))
            elif self.verifier is None and not self._opening:
                self.opened.emit()
            if then is not None:
                then()
        self._do(self.store.list, came)

    def open(self, id: str, then: Callable[[], object] | None = None) -> None:
        """Take one in hand; what was typed in the one before is kept first."""
        self.flush()
        self._asked += 1
        self._opening = True
        asked, store = self._asked, self.store

        def read() -> tuple[Verifier, Version]:
            known = store.get(id)
            return known, store.version(known.ref)

        def came(found: tuple[Verifier, Version]) -> None:
            if asked != self._asked:
                return
            self._opening = False
            self.verifier, self.version = found
            draft = self.verifier.draft
            self.body = self._kept = self.version.body if draft is None else draft
            self.trusted = self.version.trusted and (draft is None or self.verifier.draft_trusted)
            self._context.remember(self._key(), id)
            self.opened.emit()
            self.state_changed.emit()
            if then is not None:
                then()

        def wrong(error: Exception) -> None:
            self._wrong(error)
            if asked == self._asked:
                self._opening = False
                if self.verifier is None:
                    self.refresh()
        self._context.jobs.run(read, then=came, failed=wrong, owner=self)

    def _put_down(self) -> None:
        self._timer.stop()
        self.verifier = self.version = None
        self.body = self._kept = ""
        self.trusted = True
        self.opened.emit()
        self.state_changed.emit()

    # editing ----------------------------------------------------------------------------------------------------------

    def edit(self, body: str) -> None:
        """What stands in the editor now."""
        if self.verifier is None or not self.trusted or body == self.body:
            return
        was = self.dirty
        self.body = body
        if not self._timer.isActive():  # who types on and on is not waited for
            self._timer.start()
        if was != self.dirty:
            self.state_changed.emit()

    def _keep(self) -> None:
        if self.verifier is None or (self.body == self._kept and not self._unkept):
            return
        if self._keeping:
            self._timer.start()
            return
        self._keeping, id, body, store = True, self.verifier.id, self.body, self.store

        def done(_: Any) -> None:
            self._keeping, self._kept = False, body
            if self._unkept:
                self._unkept = False
                self.kept_again.emit()

        def wrong(error: Exception) -> None:
            self._keeping, self._unkept = False, True
            self._wrong(error)
        self._context.jobs.run(lambda: store.keep_draft(id, body), then=done, failed=wrong, owner=self)

    def flush(self) -> None:
        """What waits is on the disk when this returns: the person goes elsewhere."""
        self._timer.stop()
        if self.verifier is not None and self.body != self._kept:
            try:
                self.store.keep_draft(self.verifier.id, self.body)
                self._kept = self.body
            except FledgeError as wrong:
                self.failed.emit(wrong)

    def save(self, note: str = "", then: Callable[[Version], object] | None = None) -> None:
        """Make a version of what stands in the editor; `then` gets it (the newest one where nothing is different)."""
        if self.verifier is None or not self.trusted or self.saving:
            return
        self._timer.stop()
        self.saving, id, body, store = True, self.verifier.id, self.body, self.store
        author = str(self._context.settings.get("label.author", "") or "")

        def work() -> tuple[Verifier, Version]:
            made = store.save(id, body, author=author, note=note)
            return store.get(id), made

        def came(found: tuple[Verifier, Version]) -> None:
            self.saving = False
            if self.verifier is None or self.verifier.id != id:
                return
            self.verifier, self.version = found
            self._kept = body
            if self.body != body:
                self._timer.start()  # typed on meanwhile
            self.state_changed.emit()
            self.saved.emit(found[1])
            self.refresh()
            if then is not None:
                then(found[1])

        def wrong(error: Exception) -> None:
            self.saving = False
            self._timer.start()
            self._wrong(error)
        self._context.jobs.run(work, then=came, failed=wrong, owner=self)
        self.state_changed.emit()

    def drop_changes(self) -> None:
        """Back to the newest version."""
        if self.verifier is not None and self.version is not None:
            id, store = self.verifier.id, self.store
            self._timer.stop()
            self.body = self._kept = self.version.body
            self._do(lambda: store.drop_draft(id), lambda _: self.open(id))

    # the library ------------------------------------------------------------------------------------------------------

    def create(self, title: str, kind: str, body: str, *, origin: str = "person", then: Callable[[], object] | None = None) -> None:
        """A new verifier, taken in hand."""
        store = self.store

        def came(made: Verifier) -> None:
            self.refresh()
            self.open(made.id, then)
        self._do(lambda: store.create(title, kind, body, origin=origin), came)

    def rename(self, title: str) -> None:
        if self.verifier is not None:
            id, store = self.verifier.id, self.store

            def came(known: Verifier) -> None:
                if self.verifier is not None and self.verifier.id == id:
                    self.verifier = known
                    self.state_changed.emit()
                self.refresh()

            def work() -> Verifier:
                store.rename(id, title)
                return store.get(id)
            self._do(work, came)

    def remove(self, then: Callable[[Verifier], object]) -> None:
        """Out of the list; `then` gets it, for Undo."""
        if self.verifier is None:
            return
        self.flush()
        gone, store = self.verifier, self.store

        def came(_: Any) -> None:
            self._put_down()
            self.refresh()
            then(gone)
        self._do(lambda: store.remove(gone.id), came)

    def restore(self, id: str) -> None:
        store = self.store
        self._do(lambda: store.restore(id), lambda _: (self.refresh(), self.open(id)))

    def trust(self) -> None:
        """The person has read what is shown, and says that it may run."""
        if self.verifier is None or self.version is None or self.trusted:
            return
        store, id, ref, draft, project = self.store, self.verifier.id, self.version.ref, self.verifier.draft, self._project.dir

        def work() -> None:
            store.trust(ref)
            if draft is not None:
                trust.trust_draft(project, id, digest(draft))
        self._do(work, lambda _: (self.open(id), self.refresh()))

    # ----

    def _do(self, work: Callable[[], Any], then: Callable[[Any], object]) -> None:
        self._context.jobs.run(work, then=then, failed=self._wrong, owner=self)

    def _wrong(self, error: Exception) -> None:
        if not isinstance(error, FledgeError):
            raise error
        self.failed.emit(error)


def kept_words(hand: VerifierHand) -> tuple[str, str]:
    """(words, tone) of the badge beside the title."""
    if hand.version is None:
        return "", ""
    if hand.saving:
        return tr("saving…"), ""
    if hand.dirty:
        return tr("version {number}, edited", number=hand.version.number), "warn"
    return tr("version {number}, saved", number=hand.version.number), ""
