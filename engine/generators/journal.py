"""What models answered, on the disk before it counts: a run that was killed at any moment goes on without asking again for what is there.

`Appended` is a file of JSON lines of which every line that `append` has returned for is on the disk itself. The lines of many threads that
wait at the same time go there together, so that a disk that needs ten milliseconds slows nobody down. A line that a kill has torn is closed
at the next start and passed over. `Journal` holds the replies, and which rows are done.
"""

import hashlib
import json
import os
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from engine.contract.errors import FledgeError
from engine.generators.provider import Ask, Reply
from engine.project import files


class Appended:
    """`append` may be called from any thread. DiskFull, or the OSError, for all that could not be written; the file then ends with the last
    line that was."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._turn = threading.Condition()
        self._waiting: list[bytes] = []
        self._given = self._written = 0
        self._busy = False
        self._wrong: OSError | FledgeError | None = None
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = not path.exists()
        self._file = files.append(path)
        self._size = path.stat().st_size
        if fresh:
            files.sync_folder(path.parent)
        elif self._size and not _ends_whole(path):
            self._write(b"\n")

    def append(self, line: bytes) -> None:
        """Returns when the line, without its newline, is on the disk."""
        assert b"\n" not in line
        with self._turn:
            self._waiting.append(line + b"\n")
            self._given += 1
            mine = self._given
            while self._written < mine:
                if self._busy:
                    self._turn.wait()
                    continue
                self._busy, batch, upto = True, b"".join(self._waiting), self._given
                self._waiting.clear()
                self._turn.release()
                wrong: OSError | FledgeError | None = None
                try:
                    self._write(batch)
                except OSError as found:
                    wrong = files.disk_error(found, self.path)
                finally:
                    self._turn.acquire()
                self._busy, self._written, self._wrong = False, upto, wrong or self._wrong
                self._turn.notify_all()
            if self._wrong is not None:
                raise self._wrong

    def close(self) -> None:
        with self._turn:
            while self._busy:
                self._turn.wait()
            self._file.close()

    def _write(self, data: bytes) -> None:
        done = 0
        try:
            while done < len(data):
                done += self._file.write(data[done:]) or 0
            os.fsync(self._file.fileno())
        except OSError:
            os.ftruncate(self._file.fileno(), self._size)
            raise
        self._size += len(data)


class Journal:
    """The replies of one run, by key, and the rows that are done with what came of them.

    Replies of rows that are done are let go of: only those of rows under way are in memory. `counts`: by model's name, {"asked",
    "tokens_in", "tokens_out", "seconds"} over all attempts; `outcomes`: how many rows ended how; `wanted`:
    examples that those were to make.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.counts: dict[str, Counter[str]] = {}
        self.outcomes: Counter[str] = Counter()
        self.done: set[str] = set()
        self.wanted = 0
        self._replies: dict[str, dict[str, Reply]] = {}
        self._lock = threading.Lock()
        for line in lines(path):
            self._take(line)
        self._file = Appended(path)

    def key(self, recipe: str, row: str, role: str, model: str, ask: Ask, settings: dict[str, Any], times: int) -> str:
        """Of one ask: everything that its answer depends on. `times` tells equal asks of a row apart."""
        asked = asdict(ask)
        asked["messages"] = [m.model_dump() for m in ask.messages]
        if ask.top_p == 1:  # journals of before it was asked for stay good
            del asked["top_p"]
        told = json.dumps([recipe, row, role, model, asked, settings, times], sort_keys=True, ensure_ascii=False)
        return hashlib.blake2b(told.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()

    def get(self, row: str, key: str) -> Reply | None:
        with self._lock:
            return self._replies.get(row, {}).get(key)

    def put(self, row: str, key: str, reply: Reply) -> None:
        """Returns when it is on the disk."""
        self._file.append(_line({"row": row, "key": key, "reply": asdict(reply)}))
        with self._lock:
            self._count(row, key, reply)

    def finish(self, row: str, outcome: str, wanted: int = 1, for_good: bool = True) -> None:
        """The row is done, and all its examples are on the disk. Not `for_good`: it was given up by bad luck, and a resume tries again."""
        if for_good:
            self._file.append(_line({"row": row, "outcome": outcome, "wanted": wanted}))
        with self._lock:
            self._end(row, outcome, wanted)

    def close(self) -> None:
        self._file.close()

    def _take(self, line: bytes) -> None:
        try:
            read = json.loads(line)
            row = str(read["row"])
            if "outcome" in read:
                self._end(row, str(read["outcome"]), int(read["wanted"]))
            else:
                self._count(row, str(read["key"]), Reply(**read["reply"]))
        except (ValueError, KeyError, TypeError):
            return  # torn by a kill

    def _count(self, row: str, key: str, reply: Reply) -> None:
        self._replies.setdefault(row, {})[key] = reply
        counted = self.counts.setdefault(reply.model, Counter())
        counted.update(asked=1, tokens_in=reply.tokens_in, tokens_out=reply.tokens_out)
        counted["seconds"] += reply.seconds  # type: ignore[assignment]

    def _end(self, row: str, outcome: str, wanted: int) -> None:
        self._replies.pop(row, None)
        if row not in self.done:
            self.done.add(row)
            self.outcomes[outcome] += 1
            self.wanted += wanted


def lines(path: Path) -> Iterator[bytes]:
    """The whole lines of a file, without their ends; none where there is no file, or a link to one."""
    if path.is_file() and not path.is_symlink():
        with open(path, "rb") as file:
            for line in file:
                if line.endswith(b"\n") and len(line) > 1:
                    yield line[:-1]


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def _ends_whole(path: Path) -> bool:
    with open(path, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
