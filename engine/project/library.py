"""library.sqlite: what people curate. Written only here, by whichever process has the project open; every call is on disk when it returns.

It keeps chats, decisions about documents of corpora, labels of harmful texts, examples (examples.py), votes (votes.py) and pairs with their
labels (pairs.py), problems (problems.py) and verifiers (verifiers.py).
"""

import errno
import json
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import sqlite_utils

from engine.contract.errors import Corrupt, NotFound, ProjectError
from engine.contract.words import tr
from engine.project import files, layout, migrations
from engine.project.examples import Examples
from engine.project.pairs import Pairs
from engine.project.problems import Problems
from engine.project.verifiers import Verifiers
from engine.project.votes import Votes


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


@dataclass(frozen=True)
class Decision:
    """What a person decided about one document, by its id: `keep` it whatever a step says, or leave it out. `corpus` and `source` say where
    it was seen; `decided` is when (seconds)."""

    document: str
    keep: bool
    author: str
    decided: float
    corpus: str
    source: str
    note: str


@dataclass(frozen=True)
class DecisionChange:
    """One step of the history: how many documents it touched, when, by whom, and whether it is undone now."""

    number: int
    made: float
    author: str
    documents: int
    undone: bool


@dataclass(frozen=True)
class HarmLabel:
    """A person's word on one document and one kind of harm. `text` is what was judged, cut to LABEL_CHARACTERS."""

    document: str
    kind: str
    harmful: bool
    corpus: str
    text: str
    author: str
    labelled: float


LABEL_CHARACTERS = 20_000
DECISION = ("keep", "author", "decided", "corpus", "source", "note")
"""Columns of a decision beside the document's id."""


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
            self.examples = Examples(self._rows, self._write)
            self.votes = Votes(self._rows, self._write)
            self.pairs = Pairs(self._rows, self._write)
            self.problems = Problems(self._rows, self._write)
            self.verifiers = Verifiers(self._rows, self._write, project)
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

    # decisions about documents

    def decide(self, documents: Iterable[str] | Mapping[str, bool | None], keep: bool | None = None, *, corpus: str = "", author: str = "",
               note: str = "", sources: Mapping[str, str] | None = None) -> int:
        """Keep (True) or leave out (False) documents by id, or withdraw what was decided (None); a mapping gives each its own. One step of
        the history, however many they are; what was undone before can no longer be redone. `sources` names their files.
        Returns how many decisions are different now (one that says the same again changes nothing).
        """
        wanted = documents if isinstance(documents, Mapping) else dict.fromkeys(documents, keep)
        names, now = sources or {}, time.time()
        rows = ((id, None if choice is None else int(choice), names.get(id, "")) for id, choice in wanted.items())
        before = ", ".join(f"d.{name}" for name in DECISION)
        columns = ", ".join(f"{side}_{name}" for side in ("before", "after") for name in DECISION)
        with self._write() as db:
            db.execute("create temp table wanted (document text primary key, keep integer, source text not null) without rowid")
            db.executemany("insert into wanted values (?, ?, ?)", rows)
            number = db.execute("insert into decision_changes (made, author, documents) values (?, ?, 0)", (now, author)).lastrowid
            assert number is not None
            # A null `keep` (withdrawn) leaves every other column null too.
            said = ["?", "?", "?", "coalesce(nullif(w.source, ''), d.source, '')", "?"]
            after = ", ".join(["w.keep", *(f"iif(w.keep is null, null, {what})" for what in said)])
            changed = db.execute(
                f"insert into decision_changed (change, document, {columns}) select ?, w.document, {before}, {after} from wanted w"
                f" left join decisions d on d.document = w.document where w.keep is not d.keep"
                f" or (w.keep is not null and d.note is not ?)", (number, author, now, corpus, note, note)).rowcount
            if changed:
                db.execute("delete from decision_changes where undone and number < ?", (number,))
                db.execute("update decision_changes set documents = ? where number = ?", (changed, number))
                _apply(db, number, "after")
            else:
                db.execute("delete from decision_changes where number = ?", (number,))
            db.execute("drop table wanted")
        return changed

    def decisions(self, keep: bool | None = None) -> dict[str, Decision]:
        """Every decision in force by document id, or only those that keep or that leave out."""
        where, values = ("", []) if keep is None else (" where keep = ?", [int(keep)])
        rows = self._rows(f"select document, {', '.join(DECISION)} from decisions{where} order by decided, document", values)
        return {r[0]: Decision(r[0], bool(r[1]), *r[2:]) for r in rows}

    def decision_counts(self) -> dict[str, int]:
        """{"kept": restored or held against a step, "excluded": left out}."""
        found = dict(self._rows("select keep, count(*) from decisions group by keep", []))
        return {"kept": found.get(1, 0), "excluded": found.get(0, 0)}

    def decision_history(self, limit: int = 100) -> list[DecisionChange]:
        """Newest first. The first that is not undone is what undo takes back; the last that is undone is what redo brings again."""
        rows = self._rows("select number, made, author, documents, undone from decision_changes order by number desc limit ?", [limit])
        return [DecisionChange(r[0], r[1], r[2], r[3], bool(r[4])) for r in rows]

    def undo_decision(self) -> DecisionChange | None:
        """Take the newest step back: every document has the decision it had before, or none. None when there is nothing to undo."""
        return self._step("select max(number) from decision_changes where not undone", "before")

    def redo_decision(self) -> DecisionChange | None:
        """Bring back what was undone last. None when there is nothing to redo."""
        return self._step("select min(number) from decision_changes where undone", "after")

    def _step(self, which: str, side: str) -> DecisionChange | None:
        with self._write() as db:
            db.execute("begin immediate")  # no other process may change the history between the look and the step
            number = db.execute(which).fetchone()[0]
            if number is None:
                return None
            _apply(db, number, side)
            db.execute("update decision_changes set undone = ? where number = ?", (int(side == "before"), number))
            r = db.execute("select number, made, author, documents, undone from decision_changes where number = ?", (number,)).fetchone()
        return DecisionChange(r[0], r[1], r[2], r[3], bool(r[4]))

    # labels of harmful texts

    def label_harm(self, document: str, harmful: bool | None, *, kind: str = "", text: str = "", corpus: str = "",
                   author: str = "") -> None:
        """Say whether a document is harmful (of a kind; "" for any), or take that back (None). A later word replaces the earlier one."""
        with self._write() as db:
            if harmful is None:
                db.execute("delete from harm_labels where document = ? and kind = ?", (document, kind))
            else:
                db.execute("insert or replace into harm_labels (document, kind, harmful, corpus, text, author, labelled)"
                           " values (?, ?, ?, ?, ?, ?, ?)",
                           (document, kind, int(harmful), corpus, text[:LABEL_CHARACTERS], author, time.time()))

    def harm_labels(self, kind: str | None = None) -> list[HarmLabel]:
        """In the order they were given; all kinds, or one."""
        where, values = ("", []) if kind is None else (" where kind = ?", [kind])
        rows = self._rows("select document, kind, harmful, corpus, text, author, labelled from harm_labels" + where +
                          " order by labelled, document, kind", values)
        return [HarmLabel(r[0], r[1], bool(r[2]), r[3], r[4], r[5], r[6]) for r in rows]

    def harm_counts(self) -> dict[str, dict[str, int]]:
        """{kind: {"harmful": n, "harmless": n}}."""
        found: dict[str, dict[str, int]] = {}
        for kind, harmful, count in self._rows("select kind, harmful, count(*) from harm_labels group by kind, harmful", []):
            found.setdefault(kind, {"harmful": 0, "harmless": 0})["harmful" if harmful else "harmless"] = count
        return found

    def _rows(self, query: str, values: Sequence[Any] | Mapping[str, Any]) -> list[tuple[Any, ...]]:
        with self._lock:
            return list(self.db.conn.execute(query, values if isinstance(values, Mapping) else list(values)).fetchall())

    def _write(self) -> "_Writing":
        return _Writing(self._lock, self.db.conn, self.path)


def _apply(db: sqlite3.Connection, change: int, side: str) -> None:
    """Put the decisions of one change in force as they were before or after it."""
    db.execute(f"delete from decisions where document in (select document from decision_changed where change = ? and {side}_keep is null)",
               (change,))
    db.execute(f"insert or replace into decisions (document, {', '.join(DECISION)}) select document,"
               f" {', '.join(f'{side}_{name}' for name in DECISION)} from decision_changed where change = ? and {side}_keep is not null",
               (change,))


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
