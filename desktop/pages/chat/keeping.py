"""Keeps chats in the project's library: what was asked and what came, in order, off the window's thread.

A turn counts as kept only when it is on the disk.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from PySide6.QtCore import QObject, Signal

from desktop.jobs.background import Background
from desktop.jobs.chat_client import StreamedToken, TokenChoice
from engine.contract.errors import FledgeError
from engine.project.library import Chat, Library, Turn


@dataclass
class _Write:
    """One turn to come; `chat` is the record that learns its id at its first write."""

    chat: "OpenChat"
    role: str
    content: str
    place: int
    side: int
    model: str
    facts: dict[str, Any]
    then: Callable[[], object] | None


@dataclass(eq=False)
class OpenChat:
    """A chat on the screen: made in the library with its first turn. `place` counts its turns."""

    title: str
    mode: str
    settings: dict[str, Any] = field(default_factory=dict)
    id: str = ""
    place: int = 0


class Keeper(QObject):
    """`add` turns; one is written at a time, in the order given. `failed` when the disk refuses: what is on the screen stays."""

    failed = Signal(object)

    def __init__(self, library: Callable[[], Library], jobs: Background, parent: QObject) -> None:
        super().__init__(parent)
        self._library, self._jobs = library, jobs
        self._waiting: deque[_Write] = deque()
        self._busy = False

    @property
    def busy(self) -> bool:
        return self._busy or bool(self._waiting)

    def add(self, chat: OpenChat, role: str, content: str, place: int, side: int = 0, model: str = "", facts: dict[str, Any] | None = None,
            then: Callable[[], object] | None = None) -> None:
        self._waiting.append(_Write(chat, role, content, place, side, model, facts or {}, then))
        self._next()

    def chats(self, then: Callable[[list[Chat]], object], limit: int = 20) -> None:
        """The newest chats."""
        self._jobs.run(lambda: self._library().chats(limit), then=then, failed=self._wrong, owner=self)

    def turns(self, id: str, then: Callable[[Chat, list[Turn]], object]) -> None:
        self._jobs.run(lambda: (self._library().chat(id), self._library().turns(id)), then=lambda found: then(*found), failed=self._wrong,
                       owner=self)

    def _next(self) -> None:
        if self._busy or not self._waiting:
            return
        self._busy = True
        write = self._waiting.popleft()
        self._jobs.run(lambda: self._put(write), then=lambda id: self._written(write, id), failed=self._refused, owner=self)

    def _put(self, write: _Write) -> str:
        """In a thread: the row is on the disk when this returns."""
        library = self._library()
        id = write.chat.id or library.new_chat(write.chat.title, write.chat.mode, write.chat.settings).id
        library.add_turn(id, write.role, write.content, place=write.place, side=write.side, model=write.model, facts=write.facts)
        return id

    def _written(self, write: _Write, id: str) -> None:
        write.chat.id = id
        self._busy = False
        if write.then is not None:
            write.then()
        self._next()

    def _refused(self, wrong: Exception) -> None:
        self._busy = False
        self._waiting.clear()
        self._wrong(wrong)

    def _wrong(self, wrong: Exception) -> None:
        if not isinstance(wrong, FledgeError):
            raise wrong
        self.failed.emit(wrong)


def pack(tokens: Sequence[StreamedToken]) -> list[list[Any]]:
    """Tokens as plain values for the library."""
    return [[t.id, t.bytes.hex(), t.text, round(t.logprob, 5), t.rank, [[c.bytes.hex(), round(c.logprob, 5)] for c in t.top]]
            for t in tokens]


def unpack(rows: Any) -> list[StreamedToken]:
    """Tokens from the library; [] where they were not kept."""
    made = []
    for id, data, text, logprob, rank, top in rows or ():
        choices = tuple(TokenChoice(bytes.fromhex(b), float(p)) for b, p in top)
        made.append(StreamedToken(int(id), bytes.fromhex(data), str(text), float(logprob), int(rank), choices))
    return made
