"""The process that parses people's files for read_process.py, and may be killed over any of them. It decides nothing.

    python -m engine.text.read_child MEMORY        jobs as JSON lines on stdin, what happens as JSON lines on stdout

It takes "read" jobs (a batch of files becomes parts in a folder), "look" jobs (one file for a preview) and those of
row_files/in_child.py. Before anything is parsed it
- caps its own memory where the system can: RLIMIT_DATA on Linux, which unlike RLIMIT_AS leaves mapped files and reserved addresses out.
  macOS and Windows have nothing like it that holds; there the parent's watch is the only cap;
- forbids itself network and other processes, by an audit hook;
- sees to it that it ends with its parent: at the end of stdin, and on Linux by the kernel, even inside a parser that never returns.
"""

import hashlib
import json
import logging
import os
import queue
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

import orjson

from engine.contract.errors import FledgeError
from engine.text.parts import PART_BYTES, PART_DOCUMENTS, READ, part_name, write_part
from engine.text.readers.base import ReadOptions, SourceFile
from engine.text.readers.preview import look_into, refused
from engine.text.readers.reader import Reader

EVERY = 0.2
"""Seconds between two signs of life."""
MEMORY, DISK = 71, 72
"""Exit codes: the cap was hit; a part could not be written."""
TRIAL = "FLEDGE_READ_TRIAL"
"""Names a module (tests only) whose `install()` is called first: to make parsers that hang, abort or eat memory."""

_FORBIDDEN = ("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "subprocess.Popen",
              "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "os.startfile")


class _Line:
    """Where messages go: a copy of the first stdout, so that nothing a library prints gets between."""

    def __init__(self) -> None:
        self._fd = os.dup(1)
        os.dup2(2, 1)

    def say(self, *message: Any) -> None:
        try:
            raw = orjson.dumps(message, option=orjson.OPT_APPEND_NEWLINE)
        except TypeError:  # names of files need not be text that UTF-8 can hold
            raw = json.dumps(message).encode() + b"\n"
        while raw:
            raw = raw[os.write(self._fd, raw):]


class _PartFiles:
    """Collects rows and writes the parts of one batch; the first `skip` parts are there already."""

    def __init__(self, folder: Path, skip: int, line: _Line) -> None:
        self.folder, self.skip, self.line = folder, skip, line
        self.number = 0
        self._clear()

    def _clear(self) -> None:
        self._rows: dict[str, list[Any]] = {field.name: [] for field in READ}
        self._ids, self._documents, self._texts = self._rows["id"], self._rows["document"], self._rows["text"]
        self._runs: list[tuple[int, int, int, str]] = []
        self._bytes = 0

    def add(self, root: int, file: int, source: str, prefix: bytes, document: int, text: str) -> int:
        """One document; its size in bytes. `prefix` is the source name and a NUL, as it goes into the id."""
        raw = text.encode("utf-8")
        self._ids.append(hashlib.blake2b(prefix + raw, digest_size=16).hexdigest())
        self._documents.append(document)
        self._texts.append(text)
        run = self._runs
        if run and run[-1][1] == root and run[-1][2] == file and run[-1][3] is source:
            run[-1] = (run[-1][0] + 1, root, file, source)
        else:
            run.append((1, root, file, source))
        self._bytes += len(raw)
        if self._bytes >= PART_BYTES or len(self._ids) >= PART_DOCUMENTS:
            self.flush()
        return len(raw)

    def flush(self) -> None:
        if not self._ids:
            return
        if self.number >= self.skip:
            for count, root, file, source in self._runs:
                self._rows["root"] += [root] * count
                self._rows["file"] += [file] * count
                self._rows["source"] += [source] * count
            try:
                write_part(self.folder / part_name(self.number), self._rows, READ)
            except OSError as wrong:
                self.line.say("disk", wrong.errno, wrong.strerror, str(self.folder))
                os._exit(DISK)
        self.number += 1
        self._clear()
        self.line.say("part", self.number)


class Refused(Exception):
    """A file turned out to be a trap: its batch is begun again without it."""


def read_batch(job: dict[str, Any], line: _Line) -> None:
    """Read the files of a batch one after the other. Says "begin" and "member" before what may hang, "at" while it goes on, "file" with
    the file's row, "part" for each part."""
    parts = _PartFiles(Path(job["folder"]), job["skip"], line)
    for number, plain, options, left_out, reason in job["files"]:
        file = _file(plain)
        line.say("begin", number, file.size)
        row: dict[str, Any] = {"documents": 0, "texts": 0, "bytes": 0, "characters": 0, "problem": reason}
        reader = Reader(file, ReadOptions(**options), leave_out={int(k): v for k, v in left_out.items()})
        if not reason:
            row["problem"] = _read_file(number, reader, row, parts, line)
        row |= {"encoding": reader.encoding, "column": reader.column, "bad": reader.bad_count, "bad_lines": reader.bad,
                "empty": reader.empty, "replaced": reader.replaced, "notes": reader.notes, "members": reader.members,
                "member_count": reader.member_count}
        line.say("file", number, row)
    parts.flush()
    line.say("end", _peak())


def _read_file(number: int, reader: Reader, row: dict[str, Any], parts: _PartFiles, line: _Line) -> str:
    """Fill the row; what stopped the reading, or ""."""
    last = time.monotonic()

    def tick() -> None:
        nonlocal last
        now = time.monotonic()
        if now - last > EVERY:
            last = now
            line.say("at", number, reader.done, row["documents"])

    reader.tick = tick
    reader.entering = lambda member, name, size: line.say("member", number, member, size)
    file, source = reader.file, ""
    name, prefix = file.name, file.name.encode("utf-8", "replace") + b"\0"
    try:
        for part in reader:
            if part.source is not source:
                source = part.source
                name = source or file.name
                prefix = name.encode("utf-8", "replace") + b"\0"
            row["texts"] += part.last
            if part.text:
                row["bytes"] += parts.add(file.root, number, name, prefix, part.document, part.text)
                row["documents"] += 1
                row["characters"] += len(part.text)
    except MemoryError:
        raise
    except FledgeError as wrong:
        if wrong.code == "bomb":  # what came out of it before it showed is no text
            raise Refused(str(wrong)) from wrong
        return str(wrong)
    except Exception as wrong:  # a parser's own bug over a strange file: the boundary of the file
        traceback.print_exc()
        return f"{type(wrong).__name__}: {wrong}"[:300]
    return ""


def look(job: dict[str, Any], line: _Line) -> None:
    import dataclasses

    file = _file(job["file"])
    try:
        row, shown = look_into(file, ReadOptions(**job["options"]), job["bytes"], job["texts"], job["characters"])
    except MemoryError:
        raise
    except Exception as wrong:  # a parser's own bug over a strange file
        traceback.print_exc()
        row, shown = refused(file, f"{type(wrong).__name__}: {wrong}"[:300]), []
    line.say("looked", dataclasses.asdict(row), shown)


def _file(plain: dict[str, Any]) -> SourceFile:
    return SourceFile(**{**plain, "path": Path(plain["path"])})


# ---- the process


def _peak() -> int:
    """The most memory this process has had, in bytes."""
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    if sys.platform == "linux":
        return _status("VmHWM")  # ru_maxrss remembers the parent's size from before the exec
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def confine(memory: int) -> None:
    """Cap memory, leave no core dumps, end with the parent, touch neither network nor other processes."""
    if sys.platform != "win32":
        import resource

        signal.signal(signal.SIGINT, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if sys.platform == "linux":
            import ctypes

            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
            # Above what is reserved already: the interpreter, its libraries and the stacks of its threads.
            resource.setrlimit(resource.RLIMIT_DATA, (_status("VmData") + 128_000_000 + memory,) * 2)
    sys.addaudithook(_refuse)


def _status(key: str) -> int:
    """A size of this process in bytes, as the Linux kernel tells it."""
    text = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{key}:"))
    return int(text.split()[1]) * 1024


class Forbidden(RuntimeError):
    """A parser tried to leave its process."""


def _refuse(event: str, arguments: Any) -> None:
    if event in _FORBIDDEN:
        raise Forbidden(f"a reader may not: {event}")


def main(arguments: list[str]) -> int:
    line = _Line()
    parent = os.getppid()
    jobs: queue.SimpleQueue[str] = queue.SimpleQueue()

    def listen() -> None:
        for text in sys.stdin:
            jobs.put(text)
        os._exit(0)  # the parent is gone, or wants no more

    logging.disable(logging.CRITICAL)
    confine(int(arguments[0]))
    if os.getppid() != parent:
        return 0
    threading.Thread(target=listen, daemon=True).start()
    if trial := os.environ.get(TRIAL):
        import importlib

        importlib.import_module(trial).install()
    line.say("ready", os.getpid())
    rows: Any = None
    while True:
        job = json.loads(jobs.get())
        try:
            if job["do"] == "rows":
                if rows is None:
                    from engine.text.row_files.in_child import RowJobs

                    rows = RowJobs(line.say)
                rows.answer(job)
            else:
                (look if job["do"] == "look" else read_batch)(job, line)
        except Refused as trap:
            line.say("refused", str(trap))
        except MemoryError:
            traceback.print_exc()
            line.say("memory")
            os._exit(MEMORY)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
