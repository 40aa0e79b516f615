"""Whose code may run: sources the person wrote or said yes to, known by their SHA-256, in a file of the person's own. Nothing in a project
says that it is trusted; so one that came from elsewhere, or was changed from outside, asks again.

    trusted(sha256) -> bool          trust([sha256, ...], where="verifier-3@4 of MyProject")

Trust opens no sandbox: verifiers run in theirs either way.
"""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from engine.contract.errors import Locked
from engine.contract.words import tr
from engine.project import files, layout
from engine.project.locks import FileLock

LOCK_SECONDS = 10.0
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
