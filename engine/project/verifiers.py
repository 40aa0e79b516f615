"""Verifiers in the library: each a chain of versions that never change, and a draft of what is being typed. A run names a version.

    library.verifiers.create("Last number", "python", source)      verifier-3, its version verifier-3@1
    library.verifiers.save("verifier-3", source)                   verifier-3@2, where the source is another one
    library.verifiers.resolved("verifier-3@2")                     a composition without references: what a run is made with

Nothing is run or checked here but the form of compositions. Versions that were saved here are trusted (trust.py) by the hash of their text,
never by what the library says: a library that was changed from outside, or came from elsewhere, is asked about.
"""

import builtins
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from engine.contract.composition import GROUP, JUDGE, PYTHON, Composition, Part, Piece, digest, parse, pieces, reference
from engine.contract.errors import Corrupt, NotFound, SettingError
from engine.contract.words import tr
from engine.project import files, layout, trust

Kind = Literal["python", "parts"]
OWN = ("person", "starter", "import", "demo")
"""Origins (before a colon) whose text the person saw when it came in: it is trusted then."""
LONGEST = 200_000
"""Characters of a source."""


@dataclass(frozen=True)
class Verifier:
    """kind: "python" (a source) or "parts" (a composition as JSON). version: the number of the newest. origin: "person", "starter:NAME",
    "import:FILE", or what brought it. draft: what was typed since, None for nothing; `draft_trusted`: whether it was typed here."""

    id: str
    title: str
    kind: Kind
    version: int
    created: float
    updated: float
    origin: str
    draft: str | None = None
    removed: bool = False
    draft_trusted: bool = True

    @property
    def ref(self) -> str:
        """Of its newest version."""
        return f"{self.id}@{self.version}"


@dataclass(frozen=True)
class Version:
    """sha256: of the body as it is now on disk. trusted: whether this person has said yes to everything in it that needs it."""

    ref: str
    verifier: str
    number: int
    body: str
    sha256: str
    author: str
    made: float
    note: str
    trusted: bool


@dataclass(frozen=True)
class Taken:
    """What a run was made with: nothing in it refers to the library. ref: the version, "" for a composition of its own. sha256: of the
    source where that is all, else of the composition."""

    ref: str
    title: str
    sha256: str
    composition: Composition

    def plain(self) -> dict[str, Any]:
        return {"ref": self.ref, "title": self.title, "sha256": self.sha256, "composition": self.composition.plain()}

    def facts(self) -> dict[str, str]:
        """As what the run makes keeps it."""
        return {"ref": self.ref, "title": self.title, "sha256": self.sha256}


class Verifiers:
    """`Library.verifiers`."""

    def __init__(self, read: Callable[[str, Sequence[Any] | Mapping[str, Any]], list[tuple[Any, ...]]], write: Callable[[], Any],
                 project: Path) -> None:
        self._rows, self._write, self._project = read, write, project

    def list(self, *, removed: bool = False) -> list[Verifier]:
        """In the order they were made; with `removed`, those that can be restored instead."""
        return [self._verifier(r) for r in self._rows(f"{_LOOK} where v.removed = ? group by v.number order by v.number", [int(removed)])]

    def get(self, id: str) -> Verifier:
        """Removed ones, too."""
        found = self._rows(f"{_LOOK} where v.number = ? group by v.number", [_number(id)])
        if not found:
            raise _unknown(id)
        return self._verifier(found[0])

    def create(self, title: str, kind: Kind, body: str, *, origin: str = "person", author: str = "", note: str = "") -> Verifier:
        """With its first version. SettingError where a composition cannot be read, or names what is not there."""
        if kind not in get_args(Kind):
            raise SettingError(tr("A verifier cannot be of kind {kind}.", kind=str(kind)[:80]),
                               tr("Known: {known}.", known=", ".join(get_args(Kind))))
        body, now = self._checked(kind, body), time.time()
        with self._write() as db:
            number = db.execute("insert into verifiers (title, kind, created, updated, origin) values (?, ?, ?, ?, ?)",
                                (_title(title), kind, now, now, origin)).lastrowid
            db.execute("insert into verifier_versions (verifier, number, body, author, made, note) values (?, 1, ?, ?, ?, ?)",
                       (number, body, author, now, note))
        if origin.partition(":")[0] in OWN:
            self._trust(f"verifier-{number}@1", kind, body)
        return self.get(f"verifier-{number}")

    def save(self, id: str, body: str, *, author: str = "", note: str = "") -> Version:
        """What the person has written becomes a version, where it differs from the newest; the draft is over. Raises as `create`, and
        SettingError (code "untrusted_verifier") for what came from elsewhere: a change of one letter must not make it the person's own."""
        known = self.get(id)
        self._refuse_foreign(known, body)
        body, now = self._checked(known.kind, body), time.time()
        with self._write() as db:
            db.execute("begin immediate")
            number, newest = db.execute("select number, body from verifier_versions where verifier = ? order by number desc limit 1",
                                        (_number(id),)).fetchone()
            if newest != body:
                number += 1
                db.execute("insert into verifier_versions (verifier, number, body, author, made, note) values (?, ?, ?, ?, ?, ?)",
                           (_number(id), number, body, author, now, note))
                db.execute("update verifiers set updated = ? where number = ?", (now, _number(id)))
            db.execute("update verifiers set draft = null where number = ?", (_number(id),))
        self._trust(f"{id}@{number}", known.kind, body)
        trust.trust_draft(self._project, id, "")
        return self.version(f"{id}@{number}")

    def keep_draft(self, id: str, body: str) -> None:
        """On disk when it returns. What is the newest version's text is no draft. Raises as `save`, but for the form."""
        body, known = _text(body), self.get(id)
        self._refuse_foreign(known, body)
        if body == self.version(known.ref).body:
            return self.drop_draft(id)
        trust.trust_draft(self._project, id, digest(body))
        with self._write() as db:
            db.execute("update verifiers set draft = ? where number = ?", (body, _number(id)))

    def drop_draft(self, id: str) -> None:
        with self._write() as db:
            db.execute("update verifiers set draft = null where number = ?", (_number(id),))
        trust.trust_draft(self._project, id, "")

    def versions(self, id: str) -> builtins.list[Version]:
        """Newest first."""
        known = self.get(id)
        rows = self._rows("select number, body, author, made, note from verifier_versions where verifier = ? order by number desc",
                          [_number(id)])
        return [self._version(known, r) for r in rows]

    def version(self, ref: str) -> Version:
        found = reference(ref)
        if found is None:
            raise _unknown(ref)
        known = self.get(found[0])
        rows = self._rows("select number, body, author, made, note from verifier_versions where verifier = ? and number = ?",
                          [_number(found[0]), found[1]])
        if not rows:
            raise NotFound(tr("{title} has no version {number}.", title=known.title, number=found[1]),
                           tr("Its newest is {ref}.", ref=known.ref), field="verifier")
        return self._version(known, rows[0])

    def rename(self, id: str, title: str) -> None:
        self.get(id)
        with self._write() as db:
            db.execute("update verifiers set title = ? where number = ?", (_title(title), _number(id)))

    def remove(self, id: str) -> None:
        """Out of the list; its versions stay, since runs and other verifiers may name them, and `restore` brings it back."""
        self._set_removed(id, True)

    def restore(self, id: str) -> None:
        self._set_removed(id, False)

    def resolved(self, given: str) -> dict[str, Any]:
        """A composition (engine/contract/composition.py, as plain JSON) with every reference replaced by its source. `given`: a version, or
        a composition as JSON. Raises NotFound, and SettingError for what cannot be read or refers to itself."""
        return self.composition(given).plain()

    def composition(self, given: str) -> Composition:
        """As `resolved`."""
        found = reference(given)
        return self._of_version(given.strip(), ()) if found else self._whole(parse(given), ())

    def taken(self, given: str) -> Taken:
        """For a run. Raises as `resolved`, and SettingError (code "untrusted_verifier") where nobody here has said yes to its sources."""
        composition, found = self.composition(given), reference(given)
        refuse_untrusted(composition)
        title = self.get(found[0]).title if found else composition.parts[0].title if len(composition.parts) == 1 else ""
        return Taken(given.strip() if found else "", title, _known_by(composition), composition)

    def pieces(self, ref: str) -> builtins.list[Piece]:
        """What of one version needs trust, its own alone: what it refers to has its own."""
        found = self.version(ref)
        return _pieces(self.get(found.verifier), found.ref, found.body)

    def trust(self, ref: str) -> None:
        """The person has read this version."""
        trust.trust([piece.sha256 for piece in self.pieces(ref)], where=self._where(ref))

    # ----

    def _refuse_foreign(self, known: Verifier, body: str) -> None:
        if not self.version(known.ref).trusted or (body == known.draft and not known.draft_trusted):
            raise SettingError(tr("“{title}” came from elsewhere, and nobody here has said that it is trusted.", title=known.title),
                               tr("Read it and trust it first, or write your own."), code="untrusted_verifier", field="verifier")

    def _set_removed(self, id: str, removed: bool) -> None:
        self.get(id)
        with self._write() as db:
            db.execute("update verifiers set removed = ?, updated = ? where number = ?", (int(removed), time.time(), _number(id)))

    def _verifier(self, r: tuple[Any, ...]) -> Verifier:
        id, draft = f"verifier-{r[0]}", r[6]
        mine = draft is None or trust.draft_trusted(self._project, id, digest(str(draft)))
        kind: Kind = "parts" if r[2] == "parts" else "python"
        return Verifier(id, str(r[1]), kind, int(r[8]), float(r[3]), float(r[4]), str(r[5]), draft, bool(r[7]), mine)

    def _version(self, verifier: Verifier, r: tuple[Any, ...]) -> Version:
        number, body = int(r[0]), str(r[1])
        ref = f"{verifier.id}@{number}"
        mine = all(trust.trusted(piece.sha256) for piece in _pieces(verifier, ref, body))
        return Version(ref, verifier.id, number, body, digest(body), str(r[2]), float(r[3]), str(r[4]), mine)

    def _trust(self, ref: str, kind: Kind, body: str) -> None:
        found = [Piece("", body)] if kind == "python" else pieces(parse(body))
        trust.trust([piece.sha256 for piece in found], where=self._where(ref))

    def _where(self, ref: str) -> str:
        return f"{ref}, {self._project.name}"

    def _checked(self, kind: Kind, body: str) -> str:
        body = _text(body)
        if kind == "parts":
            self._whole(parse(body), ())
        return body

    def _of_version(self, ref: str, path: tuple[str, ...]) -> Composition:
        if ref in path:
            raise SettingError(tr("The verifier {ref} is a part of itself: {path}.", ref=ref, path=" > ".join((*path, ref))),
                               tr("Choose another part in one of them."), code="verifier_circle", field="verifier")
        version = self.version(ref)
        known = self.get(version.verifier)
        if known.kind == "python":
            return Composition("sum", (Part(PYTHON, known.title, 1.0, {"source": version.body}, ref),))
        return self._whole(parse(version.body), (*path, ref))

    def _whole(self, composition: Composition, path: tuple[str, ...]) -> Composition:
        return Composition(composition.together, tuple(self._part(part, path) for part in composition.parts))

    def _part(self, part: Part, path: tuple[str, ...]) -> Part:
        ref = part.verifier
        if part.name == PYTHON and ref:
            known = self.get(ref.partition("@")[0])
            if known.kind != "python":
                raise SettingError(tr("{ref} is no Python but has parts.", ref=ref), tr("Name it in a part called “group”."),
                                   field="verifier")
            settings = {key: value for key, value in part.settings.items() if key != "verifier"}
            return Part(PYTHON, part.title or known.title, part.weight, {**settings, "source": self.version(ref).body}, ref)
        if part.name == GROUP:
            if not ref:
                return Part(GROUP, part.title, part.weight, self._whole(part.group, path).plain(), "")
            inner = self._of_version(ref, path)
            return Part(GROUP, part.title or self.get(ref.partition("@")[0]).title, part.weight, inner.plain(), ref)
        return Part(part.name, part.title, part.weight, part.settings, path[-1] if path and part.name in (PYTHON, JUDGE) else "")


_LOOK = ("select v.number, v.title, v.kind, v.created, v.updated, v.origin, v.draft, v.removed, max(n.number) from verifiers v"
         " join verifier_versions n on n.verifier = v.number")


def _pieces(verifier: Verifier, ref: str, body: str) -> list[Piece]:
    if verifier.kind == "python":
        return [Piece(verifier.title, body, ref)]
    try:
        return [Piece(f"{verifier.title}: {piece.title}", piece.text, ref) for piece in pieces(parse(body))]
    except SettingError:
        return [Piece(verifier.title, body, ref)]  # changed from outside into something unreadable: nobody has trusted that


def _number(id: str) -> int:
    name, _, number = id.partition("-")
    if name != "verifier" or not number.isdecimal() or len(number) > 9:
        raise _unknown(id)
    return int(number)


def _unknown(id: str) -> NotFound:
    return NotFound(tr("There is no verifier called {id} in the library.", id=id[:80]), tr("Choose another one."), field="verifier")


def _title(title: str) -> str:
    return " ".join(_text(title).split())[:200] or tr("Verifier")


def _text(body: str) -> str:
    if len(body) > LONGEST:
        raise SettingError(tr("The verifier is longer than {count} characters.", count=f"{LONGEST:,}"), tr("Shorten it."), field="source")
    return body.encode("utf-8", "replace").decode("utf-8")


def _known_by(composition: Composition) -> str:
    only = composition.parts[0]
    alone = len(composition.parts) == 1 and only.weight == 1.0 and only.name == PYTHON and only.settings.keys() == {"source"}
    return digest(only.settings["source"]) if alone else composition.sha256


def taken(run_dir: Path) -> Taken:
    """What this run was made with. Corrupt where that is not there or was changed; SettingError where its sources are not trusted here (the
    run came from elsewhere)."""
    raw = files.read_json(layout.input_file(run_dir, "verifier"))
    try:
        composition = parse(raw["composition"])
        found = Taken(str(raw["ref"]), str(raw["title"]), str(raw["sha256"]), composition)
        if found.sha256 != _known_by(composition):
            raise ValueError("another source than its hash says")
    except (TypeError, KeyError, ValueError, SettingError) as wrong:
        raise Corrupt(tr("The verifier of this run cannot be read: {reason}", reason=str(wrong)),
                      tr("The run's inputs were changed by something else. Start a new run.")) from wrong
    refuse_untrusted(composition)
    return found


def named(run_dir: Path) -> dict[str, str]:
    """ref, title and sha256 of the verifier that a run was made with, to be told and nothing more; {} where it has none."""
    raw = files.read_json(layout.input_file(run_dir, "verifier"))
    return {name: str(raw.get(name) or "") for name in ("ref", "title", "sha256")} if isinstance(raw, dict) else {}


def refuse_untrusted(composition: Composition) -> None:
    """SettingError (code "untrusted_verifier") where nobody here has said yes to something of it."""
    if strange := untrusted(composition):
        raise SettingError(tr("Nobody has looked at the verifier “{title}” on this machine, or it was changed by another program.",
                              title=strange[0].title),
                           tr("Read it on the Verifiers page and say that you trust it, or in a terminal: {command}.",
                              command=f"fledge verifiers DIR trust {strange[0].sha256[:16]}"),
                           code="untrusted_verifier", field="verifier")


def trust_typed(given: str) -> None:
    """What the person wrote into a setting themselves is theirs. A version's name trusts nothing."""
    if not reference(given):
        trust.trust([piece.sha256 for piece in pieces(parse(given))], where=tr("typed as a setting"))


def untrusted(composition: Composition) -> list[Piece]:
    """What of a resolved composition nobody here has said yes to."""
    return [piece for piece in pieces(composition) if not trust.trusted(piece.sha256)]
