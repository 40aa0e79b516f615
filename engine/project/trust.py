"""Whose code may run: sources the person wrote or said yes to, known by their SHA-256, in a file of the person's own. Nothing in a project
says that it is trusted; so one that came from elsewhere, or was changed from outside, asks again.

    trusted(sha256) -> bool          trust([sha256, ...], where="verifier-3@4 of MyProject")         foreign(project): what to ask about

Trust opens no sandbox: verifiers run in theirs either way.
"""

import hashlib
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from engine.contract.composition import digest, parse, pieces
from engine.contract.errors import Locked, SettingError
from engine.contract.words import tr
from engine.project import files, layout
from engine.project.locks import FileLock

if TYPE_CHECKING:
    from engine.project.project import Project

LOCK_SECONDS = 10.0
LONGEST = 1_000_000
"""Characters of a recipe that is looked at."""
LOOK = 1 << 20
PICKLED = frozenset({".pt", ".pth", ".ckpt", ".pkl", ".pickle"})
PERHAPS = frozenset({".bin"})
"""Endings of files that hold pickles, and of others that only some hold."""
_read: tuple[tuple[int, int, int], dict[str, Any]] | None = None


def trusted(sha256: str) -> bool:
    return sha256 in _sources()


def trust(hashes: Iterable[str], *, where: str = "") -> None:
    """Remember sources as the person's. `where`: where they were met, for people who read the file."""
    new = [one for one in dict.fromkeys(hashes) if one not in _sources()]
    if new:
        _change(lambda held: held["sources"].update({one: {"where": where, "when": time.time()} for one in new}))


def distrust(hashes: Iterable[str]) -> None:
    """Forget them: they are asked for again."""
    gone = [one for one in hashes if one in _sources()]
    if gone:
        _change(lambda held: [held["sources"].pop(one, None) for one in gone])


def draft_trusted(project: Path, verifier: str, sha256: str) -> bool:
    """Whether this is what the person typed last, here."""
    return bool(sha256) and (_held()["drafts"].get(_draft_key(project, verifier)) == sha256 or trusted(sha256))


def trust_draft(project: Path, verifier: str, sha256: str) -> None:
    """What is typed replaces what was typed before; "" forgets it."""
    key = _draft_key(project, verifier)
    if _held()["drafts"].get(key, "") != sha256:
        _change(lambda held: held["drafts"].update({key: sha256}) if sha256 else held["drafts"].pop(key, None))


@dataclass(frozen=True)
class Foreign:
    """Something in a project that could do harm if it ran, and that nobody here has said yes to. kind: "verifier" (a Python source, or whom
    a judge sends texts to), "recipe" (a program that makes data, which would run with the person's rights), "weights" (a file that can hold
    a program; Fledge loads none of its kind from a project). ref: where it is used: a version, a run, or the file. text: to be read, ""
    for weights."""

    kind: Literal["verifier", "recipe", "weights"]
    title: str
    sha256: str
    ref: str
    text: str = ""
    path: str = ""


def foreign(project: "Project") -> list[Foreign]:
    """What came with a project from elsewhere, or was changed from outside; each source once. What `trust` is told of their hashes takes
    them off this list. Reads the newest version of each verifier, drafts, and the copies that runs hold."""
    found: dict[str, Foreign] = {}
    if layout.library_file(project.dir).exists():
        held = project.library.verifiers
        for verifier in held.list():
            for piece in held.pieces(verifier.ref):
                found.setdefault(piece.sha256, Foreign("verifier", piece.title, piece.sha256, verifier.ref, piece.text))
            if verifier.draft is not None and not verifier.draft_trusted:
                found.setdefault(digest(verifier.draft), Foreign("verifier", tr("{title}, not saved", title=verifier.title),
                                                                digest(verifier.draft), verifier.id, verifier.draft))
    for run in project.runs.list():
        raw = files.read_json(layout.input_file(run.dir, "verifier"))
        try:
            inside = pieces(parse(raw["composition"])) if isinstance(raw, dict) else []
        except (KeyError, SettingError):
            continue  # no run goes on from what cannot be read
        for piece in inside:
            title = tr("{title} in run {run}", title=piece.title, run=run.id)
            found.setdefault(piece.sha256, Foreign("verifier", title, piece.sha256, run.id, piece.text))
    for path in sorted(layout.recipes(project.dir).glob("*.py")):
        text = _read_text(path)
        if text is not None:
            found.setdefault(digest(text), Foreign("recipe", path.name, digest(text), path.name, text, str(path)))
    for path in _pickles(project.dir):
        hash = _known_by(path)
        found.setdefault(hash, Foreign("weights", path.name, hash, str(path.relative_to(project.dir)), "", str(path)))
    return [one for one in found.values() if not trusted(one.sha256)]


def _read_text(path: Path) -> str | None:
    """None where it is no text, or no file of the project's own."""
    try:
        if path.is_symlink() or path.stat().st_size > LONGEST:
            return None
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def _pickles(folder: Path) -> Iterator[Path]:
    """Files that PyTorch or `pickle` would load, by name and by how they begin. Links are not followed."""
    for root, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            ending = os.path.splitext(name)[1].lower()
            if ending in PICKLED or ending in PERHAPS:
                path = Path(root) / name
                if not path.is_symlink() and path.is_file() and (ending in PICKLED or _begins_as_pickle(path)):
                    yield path


def _begins_as_pickle(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            head = file.read(4)
    except OSError:
        return False
    return head == b"PK\x03\x04" or (head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"))


def _known_by(path: Path) -> str:
    """A hash of name, size, beginning and end: enough to tell a file again, however large it is."""
    made = hashlib.sha256()
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        made.update(f"{path.name}\0{size}\0".encode("utf-8", "surrogateescape") + file.read(LOOK))
        file.seek(max(0, size - LOOK))
        made.update(file.read(LOOK))
    return made.hexdigest()


def _draft_key(project: Path, verifier: str) -> str:
    return f"{Path(project).resolve()}#{verifier}"


def _sources() -> dict[str, Any]:
    found = _held()["sources"]
    assert isinstance(found, dict)
    return found


def _held() -> dict[str, Any]:
    """What the file holds; read again only where it changed. A file that is none counts as empty: more is asked then, never less."""
    global _read
    try:
        facts = layout.trust_file().stat()
    except OSError:
        return {"sources": {}, "drafts": {}}
    stamp = (facts.st_mtime_ns, facts.st_size, facts.st_ino)
    if _read is None or _read[0] != stamp:
        raw = files.read_json(layout.trust_file(), {})
        held = raw if isinstance(raw, dict) else {}
        _read = stamp, {name: held[name] if isinstance(held.get(name), dict) else {} for name in ("sources", "drafts")}
    return _read[1]


def _change(how: Any) -> None:
    """Under a lock: two windows may trust at the same moment."""
    global _read
    lock = FileLock(layout.trust_file().with_suffix(".lock"))
    if not lock.acquire(wait=LOCK_SECONDS):
        raise Locked(tr("What you trust is being written by another window."), tr("Try again in a moment."))
    try:
        _read = None
        held = {name: dict(values) for name, values in _held().items()}
        how(held)
        files.write_json(layout.trust_file(), held, mode=0o600)
        _read = None
    finally:
        lock.release()
