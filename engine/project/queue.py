"""The queue of this person's runs, across projects: one training run a device at a time, the rest wait in an order that can be changed.

The list is a file; a small detached runner (`python -m engine.project.queue`) starts the next run as soon as its device is free, with no
window open, and leaves when nothing waits.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from engine.contract.errors import FledgeError, Locked
from engine.contract.machine import MachineFacts
from engine.contract.words import tr
from engine.project import files, launch, layout
from engine.project.locks import FileLock
from engine.project.runs import RunStore

POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Waiting:
    """One run that waits. `device` as asked: "auto", "cuda:0", ..."""

    project: str
    run: str
    device: str = "auto"
    added: float = 0.0


def entries() -> list[Waiting]:
    """The queue in its order."""
    raw = files.read_json(layout.queue_file(), [])
    return [Waiting(**{k: v for k, v in e.items() if k in Waiting.__dataclass_fields__}) for e in (raw if isinstance(raw, list) else [])
            if isinstance(e, dict) and isinstance(e.get("project"), str) and isinstance(e.get("run"), str)]


@contextmanager
def _changing() -> Iterator[list[Waiting]]:
    lock = FileLock(layout.queue_lock())
    if not lock.acquire(wait=10.0):
        raise Locked(tr("The queue is being changed by another Fledge."), tr("Try again in a moment."))
    try:
        found = entries()
        yield found
        files.write_json(layout.queue_file(), [asdict(e) for e in found])
    finally:
        lock.release()


def add(project: Path, run: str, device: str = "auto") -> None:
    """Append a run (once) and make sure that a runner is there."""
    with _changing() as found:
        if not any((e.project, e.run) == (str(project), run) for e in found):
            found.append(Waiting(str(project), run, device, time.time()))
    ensure_runner()


def remove(project: Path, run: str) -> None:
    with _changing() as found:
        found[:] = [e for e in found if (e.project, e.run) != (str(project), run)]


def move(project: Path, run: str, place: int) -> None:
    """Put a waiting run at `place` (0 is next)."""
    with _changing() as found:
        mine = [e for e in found if (e.project, e.run) == (str(project), run)]
        if mine:
            found.remove(mine[0])
            found.insert(max(0, min(place, len(found))), mine[0])


def position(project: Path, run: str) -> int | None:
    """0 for the next, None when it does not wait."""
    return next((i for i, e in enumerate(entries()) if (e.project, e.run) == (str(project), run)), None)


def device_free(device: str) -> bool:
    """Whether no run holds the device, nor is about to: a worker needs seconds until it has its lock. "auto" stands for the one device
    that runs use unless told otherwise."""
    name = resolve_device(device)
    return not FileLock(layout.device_lock(name)).taken() and not _coming(name)


def _started(device: str, pid: int) -> None:
    """Remember that a worker was started to take the device."""
    files.write_json(layout.device_start(resolve_device(device)), {"pid": pid, "born": _born(pid)})


def _coming(device: str) -> bool:
    """Whether the worker that was started last for the device is still there."""
    note = files.read_json(layout.device_start(device), {})
    pid = note.get("pid") if isinstance(note, dict) else None
    return isinstance(pid, int) and launch.running(pid) and note.get("born") == _born(pid)


def _born(pid: int) -> float:
    """When a process began, so that another one with the same number is not mistaken for it; 0 when it is gone."""
    try:
        return psutil.Process(pid).create_time()
    except psutil.Error:
        return 0.0


def resolve_device(device: str) -> str:
    """"auto" as the name of the device that a worker would choose, from what was last detected on this machine; "cpu" when unknown."""
    if device != "auto":
        return device
    known = MachineFacts.read(layout.machine_file())
    best = known.device("auto") if known else None
    return best.id if best else "cpu"


def ensure_runner() -> None:
    """Start the detached runner unless one is at work."""
    if entries() and not FileLock(layout.queue_runner_lock()).taken():
        layout.user_state().mkdir(parents=True, exist_ok=True)
        launch.detach([launch.interpreter(), "-m", "engine.project.queue"], layout.user_state() / "queue.log")


def submit(project: Path, run: str, device: str = "auto") -> int | None:
    """Start a run now when its device is free and nobody waits for it, else queue it. The worker's process number, None when queued."""
    with _changing() as found:
        mine = any((e.project, e.run) == (str(project), run) for e in found)
        if not mine and device_free(device) and not any(resolve_device(e.device) == resolve_device(device) for e in found):
            pid = launch.start(RunStore(project).get(run), device, wait_for_device=True)
            _started(device, pid)
            return pid
    add(project, run, device)
    return None


def start_next(start: Callable[[Waiting], None]) -> bool:
    """Start the first entry whose device is free; whether there was one. It leaves the queue after its start, so that a kill in between
    loses nothing; entries that are under way or whose run is gone leave too."""
    chosen = None
    for entry in entries():
        folder = layout.run(Path(entry.project), entry.run)
        if not layout.spec_file(folder).is_file() or FileLock(layout.lock_file(folder)).taken():
            remove(Path(entry.project), entry.run)
        elif chosen is None and device_free(entry.device):
            chosen = entry
    if chosen is None:
        return False
    start(chosen)
    remove(Path(chosen.project), chosen.run)
    return True


def _start(entry: Waiting) -> None:
    """Start a worker; its device is not free from then on. One that cannot be started must not keep the others waiting: it leaves the
    queue, and the runner's log says why."""
    try:
        run = RunStore(Path(entry.project)).get(entry.run)
        _started(entry.device, launch.start(run, entry.device, wait_for_device=True))
    except (FledgeError, OSError) as wrong:
        print(f"{entry.project} {entry.run}: {wrong}", file=sys.stderr, flush=True)


def main() -> int:
    """The runner's loop."""
    lock = FileLock(layout.queue_runner_lock())
    if not lock.acquire():
        return 0
    while entries():
        if not start_next(_start):
            time.sleep(POLL_SECONDS)
    lock.release()
    if entries():  # added between the last look and the release
        ensure_runner()
    return 0


if __name__ == "__main__":
    sys.exit(main())
