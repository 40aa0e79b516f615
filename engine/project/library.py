"""library.sqlite: what people curate. Written only here, by whichever process has the project open; every call is on disk when it returns.

This version keeps chats. Examples, pairs, labels, problems and verifiers join by further migrations.
"""

import errno
import json
import sqlite3
import threading
import time
import uuid
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import sqlite_utils

from engine.contract.errors import Corrupt, NotFound, ProjectError
from engine.contract.words import tr
from engine.project import files, layout, migrations


@dataclass(frozen=True)
class Turn:
    """One text in a chat. `side` 0 is the left or only column, 1 the right one; `facts` hold seed, tokens, probabilities."""

    role: str
    content: str
    place: int
    side: int = 0
    model: str = ""
    id: str = ""
    created: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Chat:
    """mode: "complete" or "chat". `settings` are the sampling settings as last used."""

    id: str
    title: str
    mode: str
    created: float
    updated: float
    settings: dict[str, Any] = field(default_factory=dict)


class Library:
    """One open library. Safe to call from several threads; WAL, so that readers never wait for writers."""

    def __init__(self, project: Path) -> None:
        self.path = layout.library_file(project)
        self._lock = threading.RLock()
        with ExitStack() as opening:
            try:
                connection = opening.enter_context(closing(sqlite3.connect(self.path, timeout=30.0, check_same_thread=False)))
                for pragma in ("trusted_schema=off", "journal_mode=wal", "synchronous=full", "foreign_keys=on"):
                    connection.execute(f"pragma {pragma}")
                migrations.check(connection, self.path)
            except sqlite3.OperationalError as wrong:  # the file may be well: its folder, its lock or the disk is not
                raise ProjectError(tr("{file} could not be opened: {why}.", file=self.path.name, why=str(wrong)),
                                   tr("Look whether another program holds the project's folder, and whether you may write in it."),
                                   code="library") from wrong
            except sqlite3.DatabaseError as wrong:
                raise Corrupt(tr("{file} cannot be read as a library: {why}.", file=self.path.name, why=str(wrong)),
                              tr("Copies from before each upgrade are in the project's folder `backups`.")) from wrong
            self.db = sqlite_utils.Database(connection)
            migrations.migrate(self.db, project)
            opening.pop_all()  # open from here on; a library that was refused is not left open

    def close(self) -> None:
        with self._lock:
            self.db.conn.close()

    def new_chat(self, title: str, mode: str, settings: dict[str, Any] | None = None) -> Chat:
        now = time.time()
        made = Chat(uuid.uuid4().hex, title, mode, now, now, settings or {})
        with self._write() as db:
            db.execute("insert into chats (id, title, mode, created, updated, settings) values (?, ?, ?, ?, ?, ?)",
                       (made.id, title, mode, now, now, json.dumps(made.settings)))
        return made

    def chats(self, limit: int = 200) -> list[Chat]:
        """Newest first."""
        rows = self._rows("select id, title, mode, created, updated, settings from chats order by updated desc limit ?", [limit])
        return [Chat(r[0], r[1], r[2], r[3], r[4], json.loads(r[5] or "{}")) for r in rows]

    def chat(self, id: str) -> Chat:
        found = self._rows("select id, title, mode, created, updated, settings from chats where id = ?", [id])
        if not found:
            raise NotFound(tr("This chat is not in the library."), tr("It may have been deleted in another window."))
        r = found[0]
        return Chat(r[0], r[1], r[2], r[3], r[4], json.loads(r[5] or "{}"))

    def turns(self, chat: str) -> list[Turn]:
        rows = self._rows("select role, content, place, side, model, id, created, facts from turns where chat = ? order by place, side",
                          [chat])
        return [Turn(r[0], r[1], r[2], r[3], r[4] or "", r[5], r[6], json.loads(r[7] or "{}")) for r in rows]

    def add_turn(self, chat: str, role: str, content: str, *, place: int | None = None, side: int = 0, model: str = "",
                 facts: dict[str, Any] | None = None) -> Turn:
        """Append a turn (or put it at `place` on `side`)."""
        now, id = time.time(), uuid.uuid4().hex
        with self._write() as db:
            if place is None:
                place = int(db.execute("select coalesce(max(place) + 1, 0) from turns where chat = ?", (chat,)).fetchone()[0])
            db.execute("insert into turns (id, chat, place, side, role, content, model, created, facts) values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                       (id, chat, place, side, role, content, model, now, json.dumps(facts or {})))
            db.execute("update chats set updated = ? where id = ?", (now, chat))
        return Turn(role, content, place, side, model, id, now, facts or {})

    def delete_chat(self, id: str) -> None:
        with self._write() as db:
            db.execute("delete from turns where chat = ?", (id,))
            db.execute("delete from chats where id = ?", (id,))

    def _rows(self, query: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        with self._lock:
            return list(self.db.conn.execute(query, list(values)).fetchall())

    def _write(self) -> "_Writing":
        return _Writing(self._lock, self.db.conn, self.path)


class _Writing:
    """One transaction: committed and synced at the end of the block, rolled back after an exception; a full disk is a DiskFull."""

    def __init__(self, lock: threading.RLock, connection: sqlite3.Connection, path: Path) -> None:
        self._lock, self._connection, self._path = lock, connection, path

    def __enter__(self) -> sqlite3.Connection:
        self._lock.acquire()
        return self._connection.__enter__()

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self._connection.__exit__(kind, value, trace)
        except sqlite3.OperationalError as wrong:  # the disk may be full only when the rows are to be kept
            kind, value = type(wrong), wrong
            self._connection.rollback()
        finally:
            self._lock.release()
        if isinstance(value, sqlite3.OperationalError):
            if getattr(value, "sqlite_errorcode", 0) == sqlite3.SQLITE_FULL:
                raise files.disk_error(OSError(errno.ENOSPC, str(value)), self._path) from value
            raise value
