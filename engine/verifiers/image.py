"""The image verifiers run in (CPython as WebAssembly): where it lies, whether it is the right one, and its compiled form.

The image comes with the program (packaging/build_verifier_image.py). It is compiled once for this machine; that form is native code and
therefore lies in the person's own cache folder only, readable by nobody else, with its hash beside it. None is ever taken from a project.
Compiling happens in a process of its own: it takes seconds and some hundred megabytes.
"""

import hashlib
import json
import os
import platform
import stat
import subprocess
import sys
import time
from collections.abc import Mapping
from functools import lru_cache
from importlib import metadata
from pathlib import Path

import platformdirs
from filelock import FileLock

from engine.contract.errors import MachineError, Missing
from engine.contract.words import tr

SOURCES_SHA256 = "d4dbfad016ab3fe7a46dd209b8bdaed914d3a2f69be3bfa0cf493e04c7a29f6c"
"""Of everything the image is made from. A test and the building script hold it against the files."""
IMAGE, MANIFEST = "verifier.wasm", "image.json"
COMPILE_SECONDS = 600


def shipped() -> Path:
    """The folder of the image beside the program, in a checkout and in an installed wheel."""
    return Path(__file__).resolve().parents[2] / "resources" / "verifiers" / "image"


def cache() -> Path:
    """The person's own folder for the compiled form."""
    return Path(platformdirs.user_cache_dir("fledge", appauthor=False)) / "verifiers"


def digest_of(files: Mapping[str, bytes]) -> str:
    """SHA-256 over names and contents, in the order of names."""
    made = hashlib.sha256()
    for name in sorted(files):
        made.update(f"{name}\0{len(files[name])}\0".encode() + files[name])
    return made.hexdigest()


def refusal(reason: str) -> Missing:
    """Code verifiers cannot run; everything else does."""
    return Missing(tr("Verifiers with code cannot run here: {reason}", reason=reason),
                   tr("Everything else works. In a checkout, build their image: {command}",
                      command="python packaging/build_verifier_image.py --force"), code="no_verifier_image")


def checked_image(folder: Path | None = None) -> tuple[Path, str]:
    """The image and its hash, once it has been held against its manifest and the manifest against this program. Missing where it is not
    there or not the right one."""
    folder = folder or shipped()
    try:
        facts = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        held = os.stat(folder / IMAGE)
    except (OSError, ValueError):
        raise refusal(tr("their image has not been built.")) from None
    if facts.get("sources") != SOURCES_SHA256:
        raise refusal(tr("their image was built from other sources than this version of Fledge has."))
    if facts.get("sha256") != _digest(folder / IMAGE, held.st_mtime_ns, held.st_size):
        raise refusal(tr("their image is damaged: its hash is not the one it was built with."))
    return folder / IMAGE, str(facts["sha256"])


@lru_cache(maxsize=4)
def _digest(path: Path, modified: int, size: int) -> str:
    return digest_of({IMAGE: path.read_bytes()})


def compiled(folder: Path | None = None, into: Path | None = None) -> Path:
    """The compiled form of the image, made where there is none for this image, wasmtime and processor. Some ten seconds, once."""
    path, digest = checked_image(folder)
    place = _own_folder(into or cache())
    name = f"{digest[:20]}-{metadata.version('wasmtime')}-{platform.machine().lower()}-{settings_key()}"
    made = place / f"{name}.cwasm"
    with FileLock(place / "compile.lock"):
        if not _whole(made):
            _compile(path, made)
            for old in place.iterdir():     # of versions nobody has started for a month
                if old.suffix in (".cwasm", ".sha256") and old.stem != made.stem and time.time() - old.stat().st_mtime > 30 * 86400:
                    old.unlink(missing_ok=True)
    return made


def settings_key() -> str:
    """Changes with the settings code is compiled under."""
    return digest_of({"settings": (Path(__file__).parent / "wasm.py").read_bytes().partition(b"# end of settings")[0]})[:8]


def _own_folder(place: Path) -> Path:
    """Made for this person alone. MachineError where somebody else could write there."""
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    if os.name == "posix":
        facts = os.lstat(place)
        if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.geteuid():
            raise MachineError(tr("The folder {path} belongs to somebody else; compiled code is not kept there.", path=str(place)),
                               tr("Remove it, or make it yours."))
        os.chmod(place, 0o700)
    return place


def _whole(made: Path) -> bool:
    """Whether it is a plain file of this person with the hash that was written after it."""
    try:
        facts = os.lstat(made)
        if not stat.S_ISREG(facts.st_mode) or (os.name == "posix" and (facts.st_uid != os.geteuid() or facts.st_mode & 0o022)):
            return False
        return made.with_suffix(".sha256").read_text() == _digest_of_file(made)
    except OSError:
        return False


def _digest_of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _compile(path: Path, made: Path) -> None:
    made.with_suffix(".sha256").unlink(missing_ok=True)
    aside = made.with_suffix(f".new{os.getpid()}")
    command = [sys.executable, "-m", "engine.verifiers.sandbox_child", "compile", str(path), str(aside)]
    try:
        done = subprocess.run(command, cwd=Path(__file__).resolve().parents[2], text=True, capture_output=True, timeout=COMPILE_SECONDS)
        if done.returncode != 0 or not aside.exists():
            raise refusal(tr("their image could not be compiled: {reason}", reason=done.stderr.strip()[-300:]))
        os.chmod(aside, 0o600)
        digest = _digest_of_file(aside)
        os.replace(aside, made)
        made.with_suffix(".sha256").write_text(digest)
    except subprocess.TimeoutExpired:
        raise refusal(tr("compiling their image took more than {seconds} s.", seconds=COMPILE_SECONDS)) from None
    finally:
        aside.unlink(missing_ok=True)
