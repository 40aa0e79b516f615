"""Token shards: a corpus as token ids in flat files that are mapped into memory, cut exactly at documents.

    index.json           what it is: dtype, tokens, documents, bytes, prefix and suffix, shards with length and hash; written last
    train/ validation/   tokens-00000.bin (uint16 or uint32, little-endian), documents-00000.npy (int64: [tokens, bytes] of each document)

Every document stands as `prefix + text + suffix`: by default `<|begin_of_text|>` before (so that the first word is predicted from
something, and generation can begin from nothing) and `<|end_of_text|>` behind (so that a model learns to stop). Both are recorded in
index.json. Writing is parallel over ranges of documents, with bounded memory; ranges that an earlier attempt finished are kept. It knows
no training: order and batches are made elsewhere.
"""

import errno
import hashlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

import numpy as np

from engine.contract.errors import Corrupt, DiskFull, NotFound, Stopped
from engine.contract.words import tr
from engine.text.corpus import RECORD, SPLITS, Corpus
from engine.text.tokenizer import Tokenizer

INDEX = "index.json"
VERSION = 1
SHARD_BYTES = 64_000_000
"""Text bytes of one shard: what a worker does at a time, and what a crash can cost."""
SMALL = 16_000_000
"""Text bytes up to which everything is done in this process: starting others takes a second."""


class TokenSplit:
    """One split, read-only. Token t of the split is token t of all documents laid end to end."""

    def __init__(self, folder: Path, shards: Sequence[dict[str, Any]], dtype: np.dtype) -> None:
        self.folder, self.dtype = folder, dtype
        self._maps: list[np.ndarray] = []
        tables = [np.zeros((0, 2), np.int64)]
        for shard in shards:
            tables.append(_table(folder, shard))
            self._maps.append(_map(folder, shard, dtype))
        table = np.concatenate(tables)
        self._starts = np.concatenate([[0], np.cumsum(table[:, 0])])
        self._byte_starts = np.concatenate([[0], np.cumsum(table[:, 1])])
        self._ends = np.cumsum([len(m) for m in self._maps], dtype=np.int64)

    @property
    def tokens(self) -> int:
        """All tokens, prefixes and suffixes included."""
        return int(self._starts[-1])

    @property
    def documents(self) -> int:
        return len(self._starts) - 1

    @property
    def bytes(self) -> int:
        """UTF-8 bytes of all texts."""
        return int(self._byte_starts[-1])

    @property
    def starts(self) -> np.ndarray:
        """int64 [documents + 1]: where each document begins; the last entry is `tokens`."""
        return self._starts

    def document(self, number: int) -> np.ndarray:
        """Ids of one document, prefix and suffix included (a view of the file where it can be)."""
        if not 0 <= number < self.documents:
            raise IndexError(number)
        return self.slice(int(self._starts[number]), int(self._starts[number + 1]))

    def slice(self, start: int, stop: int) -> np.ndarray:
        """Ids start..stop of the split; a view, unless it crosses from one file to the next."""
        if not 0 <= start <= stop <= self.tokens:
            raise IndexError((start, stop))
        first = int(np.searchsorted(self._ends, start, side="right"))
        parts = []
        while start < stop:
            begin = int(self._ends[first - 1]) if first else 0
            take = min(stop, int(self._ends[first]))
            parts.append(self._maps[first][start - begin:take - begin])
            start, first = take, first + 1
        return parts[0] if len(parts) == 1 else np.concatenate(parts) if parts else np.zeros(0, self.dtype)

    def lengths(self) -> np.ndarray:
        """Tokens of each document, int64."""
        return np.diff(self._starts)

    def bytes_of(self, start: int = 0, stop: int | None = None) -> int:
        """UTF-8 bytes of the texts of documents start..stop: what bits per byte divides by."""
        stop = self.documents if stop is None else stop
        return int(self._byte_starts[stop] - self._byte_starts[start])

    def document_at(self, token: int) -> int:
        """The document that token number `token` belongs to."""
        if not 0 <= token < self.tokens:
            raise IndexError(token)
        return int(np.searchsorted(self._starts, token, side="right")) - 1


class TokenShards:
    """A finished folder of shards. `index` is its index.json."""

    def __init__(self, folder: Path, index: dict[str, Any]) -> None:
        self.folder, self.index = folder, index
        self.dtype = np.dtype(index["dtype"])
        self.vocab_size = int(index["vocab_size"])
        self.document_prefix = tuple(index["document_prefix"])
        self.document_suffix = tuple(index["document_suffix"])
        self._splits: dict[str, TokenSplit] = {}

    @classmethod
    def open(cls, folder: Path | str) -> "TokenShards":
        """Lengths are checked here; hashes by the artifact's `verify`."""
        folder = Path(folder)
        try:
            index = json.loads((folder / INDEX).read_text("utf-8"))
            return cls(folder, index)
        except FileNotFoundError as wrong:
            raise NotFound(tr("There are no tokens in {place}.", place=str(folder)), tr("Tokenize the corpus again.")) from wrong
        except (ValueError, KeyError, TypeError) as wrong:
            raise _damaged(folder / INDEX) from wrong

    def split(self, name: str) -> TokenSplit:
        assert name in SPLITS, f"no split {name!r}"
        if name not in self._splits:
            self._splits[name] = TokenSplit(self.folder / name, self.index["splits"][name]["shards"], self.dtype)
        return self._splits[name]


@dataclass(frozen=True)
class Work:
    """One shard to be made: documents start..stop of a split. Plain values only: it travels to a fresh process."""

    corpus: str
    tokenizer: str
    folder: str
    split: str
    number: int
    start: int
    stop: int
    bytes: int
    dtype: str
    prefix: tuple[int, ...]
    suffix: tuple[int, ...]
    key: str
    threads: int


@dataclass(frozen=True)
class Standing:
    """How far the tokenizing is: text bytes done and in all, tokens made, seconds of this attempt, bytes that were found done."""

    done: int
    total: int
    tokens: int
    seconds: float
    kept: int

    @property
    def rate(self) -> float:
        """Bytes a second."""
        return (self.done - self.kept) / self.seconds if self.seconds > 0 else 0.0

    @property
    def eta(self) -> float:
        return (self.total - self.done) / self.rate if self.rate > 0 else -1.0


def write_shards(corpus_dir: Path, tokenizer_dir: Path, folder: Path, *, prefix: Sequence[int] | None = None,
                 suffix: Sequence[int] | None = None, workers: int | None = None, shard_bytes: int = SHARD_BYTES,
                 report: Callable[[Standing], None] = lambda standing: None,
                 stop: Callable[[], bool] = lambda: False) -> TokenShards:
    """Tokenize a corpus into `folder`. Prefix and suffix default to the tokenizer's begin and end of text, where it has them.

    `folder` may hold the shards of an attempt that was killed: those with the same inputs and the right hash are kept. `report` is called
    a few times a second; when `stop` says so, the shards under way are dropped and Stopped is raised. Small corpora are done in this
    process. Raises DiskFull when the disk is. In a script, call it under `if __name__ == "__main__"`: the processes are spawned.
    """
    folder, tokenizer, corpus = Path(folder), Tokenizer.load(tokenizer_dir), Corpus.open(corpus_dir)
    prefix = tuple(prefix if prefix is not None else [] if tokenizer.bos_id is None else [tokenizer.bos_id])
    suffix = tuple(suffix if suffix is not None else [] if tokenizer.eos_id is None else [tokenizer.eos_id])
    dtype = "<u2" if tokenizer.vocab_size <= 65_536 else "<u4"
    inputs = [tokenizer.record, dtype, prefix, suffix, shard_bytes, (corpus.folder / RECORD).read_text("utf-8")]
    for split in SPLITS:
        inputs.append((corpus.folder / split / "state.json").read_text("utf-8"))
    key = hashlib.sha256(json.dumps(inputs).encode()).hexdigest()
    cores = os.cpu_count() or 1
    plan: list[Work] = []
    for split in SPLITS:
        (folder / split).mkdir(parents=True, exist_ok=True)
        for number, (start, end, size) in enumerate(_ranges(corpus.lengths(split), shard_bytes)):
            plan.append(Work(str(corpus_dir), str(tokenizer_dir), str(folder), split, number, start, end, size, dtype, prefix, suffix,
                             key, 1))
    total = sum(w.bytes for w in plan)
    finished = {(w.split, w.number): made for w in plan if (made := _finished(w)) is not None}
    missing = [w for w in plan if (w.split, w.number) not in finished]
    began = time.monotonic()
    kept = sum(w.bytes for w in plan) - sum(w.bytes for w in missing)

    def tell(extra: int = 0) -> None:
        done = kept + extra + sum(w.bytes for w in missing if (w.split, w.number) in finished)
        report(Standing(min(done, total), total, sum(m["tokens"] for m in finished.values()), time.monotonic() - began, kept))

    tell()
    workers = min(workers or cores, len(missing))
    if workers <= 1 or sum(w.bytes for w in missing) < SMALL:
        for work in missing:
            made = _encode(replace(work, threads=cores), tell, stop)
            finished[(work.split, work.number)] = made
            tell()
    else:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_in_pool) as pool:
            todo: dict[Future[dict[str, Any]], Work] = {pool.submit(_encode, w): w for w in missing}
            try:
                while todo:
                    ready, _ = wait(todo, timeout=0.25, return_when=FIRST_COMPLETED)
                    for future in ready:
                        work = todo.pop(future)
                        finished[(work.split, work.number)] = future.result()
                    tell(sum(_bytes_so_far(w) for w in todo.values()))
                    if stop():
                        raise Stopped()
            except BaseException:
                (folder / _STOP).touch()
                pool.shutdown(wait=True, cancel_futures=True)
                (folder / _STOP).unlink(missing_ok=True)
                raise
    splits = {}
    for split in SPLITS:
        shards = [finished[(w.split, w.number)] for w in plan if w.split == split]
        splits[split] = {"tokens": sum(s["tokens"] for s in shards), "documents": sum(s["documents"] for s in shards),
                         "bytes": sum(s["bytes"] for s in shards), "shards": shards}
    index = {"version": VERSION, "key": key, "dtype": dtype, "vocab_size": tokenizer.vocab_size, "document_prefix": list(prefix),
             "document_suffix": list(suffix), "splits": splits}
    for work in plan:
        _note(work).unlink(missing_ok=True)
    _replace(folder / INDEX, json.dumps(index, indent=1).encode())
    return TokenShards.open(folder)


_STOP = ".stop"


def _in_pool() -> None:
    """A process of the pool leaves the keyboard's interrupt to the one that started it, and ends with it even when that is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, name="watch", daemon=True).start()


def _encode(work: Work, tell: Callable[[int], None] = lambda done: None, stop: Callable[[], bool] | None = None) -> dict[str, Any]:
    """Make one shard: written aside, synced, renamed; its note with length and hash last."""
    tokenizer = _tokenizer(work.tokenizer)
    corpus = Corpus.open(work.corpus)
    folder = Path(work.folder)
    asked = stop or (folder / _STOP).exists
    dtype = np.dtype(work.dtype)
    prefix, suffix = np.array(work.prefix, dtype), np.array(work.suffix, dtype)
    table = np.zeros((work.stop - work.start, 2), np.int64)
    hashing = hashlib.sha256()
    aside = _part(work)
    at = done = tokens = 0
    try:
        with open(aside, "wb") as file:
            for texts in corpus.texts(work.split, work.start, work.stop):
                if asked():
                    raise Stopped()
                made: list[np.ndarray] = []
                for text, ids in zip(texts, tokenizer.encode_batch(texts, work.threads), strict=True):
                    made += (prefix, ids.astype(dtype), suffix)
                    size = len(text) if text.isascii() else len(text.encode("utf-8"))
                    table[at] = len(prefix) + len(ids) + len(suffix), size
                    tokens += int(table[at, 0])
                    done += size
                    at += 1
                raw = np.concatenate(made).tobytes()
                hashing.update(raw)
                file.write(raw)
                tell(done)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, _file(work))
        _replace(_documents(work), _npy(table))
    except OSError as wrong:
        aside.unlink(missing_ok=True)
        if wrong.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise DiskFull(tr("The disk is full: the tokens of {place} could not be written.", place=work.folder),
                       tr("Free some space and start again: finished parts are kept.")) from wrong
    except Stopped:
        aside.unlink(missing_ok=True)
        raise
    assert at == len(table), f"{at} of {len(table)} documents"
    note = {"file": _file(work).name, "documents_file": _documents(work).name, "documents": len(table), "tokens": tokens, "bytes": done,
            "sha256": hashing.hexdigest()}
    _replace(_note(work), json.dumps({**note, "key": work.key}).encode())
    return note


def _finished(work: Work) -> dict[str, Any] | None:
    """The note of a shard that an earlier attempt finished from the same inputs, if its files are whole."""
    try:
        note = json.loads(_note(work).read_text("utf-8"))
        if note.pop("key") != work.key or note["documents"] != work.stop - work.start:
            return None
        raw = np.memmap(_file(work), np.uint8, "r") if note["tokens"] else np.zeros(0, np.uint8)
        if hashlib.sha256(raw).hexdigest() != note["sha256"] or len(np.load(_documents(work))) != note["documents"]:
            return None
        return note
    except (OSError, ValueError, KeyError):
        return None


_LOADED: dict[str, Tokenizer] = {}


def _tokenizer(folder: str) -> Tokenizer:
    """Loaded once a process."""
    if folder not in _LOADED:
        _LOADED.clear()
        _LOADED[folder] = Tokenizer.load(folder)
    return _LOADED[folder]


def _ranges(lengths: np.ndarray, size: int) -> list[tuple[int, int, int]]:
    """(first document, behind the last, bytes) of each shard: whole documents, about `size` bytes, by arithmetic alone."""
    found = []
    ends = np.cumsum(lengths)
    start = before = 0
    while start < len(lengths):
        stop = max(start + 1, int(np.searchsorted(ends, before + size, side="right")))
        found.append((start, stop, int(ends[stop - 1]) - before))
        start, before = stop, int(ends[stop - 1])
    return found


def _file(work: Work) -> Path:
    return Path(work.folder) / work.split / f"tokens-{work.number:05d}.bin"


def _documents(work: Work) -> Path:
    return Path(work.folder) / work.split / f"documents-{work.number:05d}.npy"


def _note(work: Work) -> Path:
    return Path(work.folder) / work.split / f".done-{work.number:05d}.json"


def _part(work: Work) -> Path:
    return Path(work.folder) / work.split / f".part-{work.number:05d}"


def _bytes_so_far(work: Work) -> int:
    """About how much text a shard under way in another process has taken, from its file's length."""
    try:
        return min(work.bytes, _part(work).stat().st_size * 2)
    except OSError:
        return 0


def _npy(table: np.ndarray) -> bytes:
    import io

    made = io.BytesIO()
    np.save(made, table)
    return made.getvalue()


def _replace(path: Path, raw: bytes) -> None:
    aside = path.with_name(f".part-{path.name}")
    with open(aside, "wb") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, path)


def _map(folder: Path, shard: dict[str, Any], dtype: np.dtype) -> np.ndarray:
    path = folder / shard["file"]
    try:
        if path.stat().st_size != shard["tokens"] * dtype.itemsize:
            raise _damaged(path)
        return np.memmap(path, dtype, "r") if shard["tokens"] else np.zeros(0, dtype)
    except OSError as wrong:
        raise _damaged(path) from wrong


def _table(folder: Path, shard: dict[str, Any]) -> np.ndarray:
    path = folder / shard["documents_file"]
    try:
        table = np.load(path)
    except (OSError, ValueError) as wrong:
        raise _damaged(path) from wrong
    if table.shape != (shard["documents"], 2) or int(table[:, 0].sum()) != shard["tokens"]:
        raise _damaged(path)
    return table


def _damaged(path: Path) -> Corrupt:
    return Corrupt(tr("{file} is not what was written.", file=str(path)), tr("Tokenize the corpus again."))
