"""Questions about one corpus artifact, answered by processes of the engine: lists, documents, counts, groups of duplicates, its index.

Two processes answer as long as somebody looks: one what is on the screen (pages, the document), one what may take longer (counts, groups),
so that scrolling never waits for counting. The shapes of answers stand in engine/text/browse/query.py.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from PySide6.QtCore import QObject, QTimer, Signal

from desktop.jobs.bench import Bench, Failed, Then
from desktop.jobs.inquiry import Inquiry
from engine.contract.errors import FledgeError
from engine.contract.words import tr
from engine.project import layout
from engine.project.artifacts import Artifact
from engine.project.project import Project

PROBE = "engine.text.probe"
LIMIT_SECONDS = 60.0
BUILD_LIMIT_SECONDS = 4 * 3600.0
LOOK_MS = 400


class CorpusDesk(QObject):
    """`open(project, artifact)`, then ask; `rest()` when nobody looks: the processes end, and start again with the next question."""

    index_changed = Signal(object)  # {"state", "done", "total", "documents", "bytes"} while it is built; "ready" at the end
    index_failed = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        again = tr("Try again.")
        self._near = Bench(PROBE, self, retry=again, limit=LIMIT_SECONDS)
        self._far = Bench(PROBE, self, retry=again, limit=LIMIT_SECONDS)
        self._builder = Inquiry(self, limit=BUILD_LIMIT_SECONDS)
        self._look = QTimer(self)
        self._look.setInterval(LOOK_MS)
        self._look.timeout.connect(self._look_at_index)
        self._corpus, self._library = "", ""

    def open(self, project: Project, artifact: Artifact) -> None:
        if str(artifact.path) != self._corpus:
            self.rest()
        self._corpus, self._library = str(artifact.path), str(layout.library_file(project.dir))

    def rest(self) -> None:
        """Nobody looks. An index that is being built is built on: it will be wanted."""
        self._near.stop()
        self._far.stop()
        self._look.stop()

    # what is on the screen --------------------------------------------------------------------------------------------

    def browse(self, wanted: Mapping[str, Any], start: int, count: int, then: Then, failed: Failed, *, key: str = "list") -> None:
        """`wanted`: search, filters, order."""
        self._near.ask("browse", {**self._given(), **wanted, "start": start, "count": count}, then, failed, key=key)

    def forget(self, key: str) -> None:
        self._near.forget(key)

    def document(self, number: int, search: str, characters: int, then: Then, failed: Failed) -> None:
        given = {**self._given(), "number": number, "characters": characters, "search": search}
        self._near.ask("document", given, then, failed)

    # what may take longer ---------------------------------------------------------------------------------------------

    def facets(self, wanted: Mapping[str, Any], then: Then, failed: Failed) -> None:
        self._far.ask("facets", {**self._given(), **_without_order(wanted)}, then, failed)

    def numbers(self, wanted: Mapping[str, Any], start: int, count: int, then: Then, failed: Failed) -> None:
        """Ids and sources of what is found, to decide on."""
        self._far.ask("numbers", {**self._given(), **_without_order(wanted), "start": start, "limit": count}, then, failed)

    def source_of(self, number: int, then: Callable[[str], object]) -> None:
        """The source of one document; nothing where it cannot be had."""
        self._far.ask("document", {**self._given(), "number": number, "characters": 1}, lambda a: then(str(a["row"]["source"])),
                      lambda wrong: None, key="source")

    def clusters(self, start: int, count: int, order: str, then: Then, failed: Failed, *, key: str = "clusters") -> None:
        self._far.ask("clusters", {**self._given(), "start": start, "count": count, "order": order}, then, failed, key=key)

    def forget_clusters(self, key: str) -> None:
        self._far.forget(key)

    def cluster(self, number: int, start: int, count: int, characters: int, then: Then, failed: Failed, *, key: str = "cluster") -> None:
        given = {**self._given(), "cluster": number, "start": start, "count": count, "characters": characters}
        self._far.ask("cluster", given, then, failed, key=key)

    def _given(self) -> dict[str, Any]:
        return {"corpus": self._corpus, "library": self._library}

    # the index --------------------------------------------------------------------------------------------------------

    def build_index(self) -> None:
        """Build it in the background; `index_changed` tells how far it is."""
        if not self._builder.busy:
            self._builder.ask(PROBE, "index", {"corpus": self._corpus, "build": True}, self._built, self._not_built)
        self._look.start()

    def _look_at_index(self) -> None:
        self._far.ask("index", {"corpus": self._corpus}, self._index_seen, lambda wrong: None)

    def _index_seen(self, answer: dict[str, Any]) -> None:
        if answer["state"] == "building" and self._builder.busy:
            self.index_changed.emit(answer)

    def _built(self, answer: dict[str, Any]) -> None:
        self._look.stop()
        self._far.forget("index")
        self.index_changed.emit({**answer, "state": "ready"})

    def _not_built(self, wrong: FledgeError) -> None:
        self._look.stop()
        self.index_failed.emit(wrong)


def _without_order(wanted: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in wanted.items() if name != "order"}


def rows_of(answer: Mapping[str, Any]) -> Sequence[dict[str, Any]]:
    return list(answer["documents"])
