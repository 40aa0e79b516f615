"""Signatures: what is kept of every document of a part so that duplicates are found without its text.

One folder a clean part, renamed into place when whole:
    documents.npy    one record a document (DOCUMENT): alive, exact hash, lengths, quality, which text it is a piece of
    signatures.npy   uint32 [D, rows in use]: MinHash over 32 bits of the word sequences
    keys.npy         uint64 [bands, D]: each band of the signature as one number, bands one after the other, so that one is read alone
    sketch.npy       uint64 [S], sorted: the hashes below 2^64 / SCALE of all documents' sequences (FracMinHash, Irber et al. 2022)
    sketch_rows.npy  int32 [S]: whose they are

About 0.9 KB a document of 200 words. A text of one piece among many keeps its piece's place (root, file, document).
MinHash: (a x + b) mod 2^32 with odd a over well-mixed x; its spread is that of independent permutations (measured: tests).
Finds nothing: that is near.py, exact.py, contained.py.
"""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.text.dedup import grams
from engine.text.dedup.settings import SCALE, DedupSettings
from engine.text.parts import read_part

DOCUMENT = np.dtype([("alive", "?"), ("exact", "<u8", (2,)), ("words", "<f4"), ("bytes", "<i8"), ("grams", "<i8"), ("kept", "<i4"),
                     ("quality", "<f4"), ("root", "<i4"), ("file", "<i4"), ("document", "<i4")])
"""grams: word sequences, repetitions counted; kept: how many hashes of the sketch are its."""
CHUNK = 1 << 20
"""Bytes of text signed at a time."""
_COLUMNS = ("text", "step", "quality", "root", "file", "document")


@dataclass(frozen=True)
class SignJob:
    """One clean part and the folder its signatures go to."""

    clean_part: Path
    target: Path
    settings: DedupSettings


def sign_jobs(clean: Path, folder: Path, settings: DedupSettings) -> list[SignJob]:
    """What is still to be signed of the parts in `clean`, into `folder`."""
    targets = [(path, folder / path.stem) for path in sorted(clean.glob("part-*.arrow"))]
    return [SignJob(path, target, settings) for path, target in targets if not target.exists()]


def sign_part(job: SignJob) -> None:
    """Write the signatures of one part; those already there stay as they are."""
    if job.target.exists():
        return
    table = read_part(job.clean_part, _COLUMNS)
    texts = grams.as_array(table["text"])
    alive = pc.is_null(table["step"]).to_numpy()
    documents = np.zeros(len(texts), DOCUMENT)
    documents["alive"] = alive
    for name in ("root", "file", "document"):
        documents[name] = table[name].to_numpy()
    documents["quality"] = pc.fill_null(table["quality"].cast(pa.float32()), 0).to_numpy()
    used = job.settings.bands
    signatures = np.full((len(texts), used.permutations if job.settings.compares else 0), 0xFFFFFFFF, np.uint32)
    sketch: list[np.ndarray] = []
    rows: list[np.ndarray] = []
    living = np.flatnonzero(alive)
    texts = texts if len(living) == len(texts) else texts.take(pa.array(living))
    for first, last in chunks(texts):
        _sign(texts[first:last], living[first:last], job.settings, documents, signatures, sketch, rows)
    hashes = np.concatenate(sketch) if sketch else np.zeros(0, np.uint64)
    owners = np.concatenate(rows) if rows else np.zeros(0, np.int32)
    order = np.argsort(hashes, kind="stable")
    keys = band_keys(signatures, used.bands if job.settings.compares else 0)
    _write(job.target, {"documents": documents, "signatures": signatures, "keys": keys, "sketch": hashes[order],
                        "sketch_rows": owners[order]})


def chunks(texts: pa.Array, bytes: int = CHUNK) -> Iterator[tuple[int, int]]:
    """(first, last) of texts that together have about so many bytes, at least one each."""
    offsets = grams.buffers(texts)[0]
    first = 0
    while first < len(texts):
        last = max(first + 1, int(np.searchsorted(offsets, offsets[first] + bytes, "right")) - 1)
        yield first, last
        first = last


def _sign(texts: pa.Array, rows: np.ndarray, settings: DedupSettings, documents: np.ndarray, signatures: np.ndarray,
          sketch: list[np.ndarray], sketch_rows: list[np.ndarray]) -> None:
    hashes, offsets = grams.word_hashes(texts)
    sizes = np.diff(grams.buffers(texts)[0])
    documents["bytes"][rows] = sizes
    documents["words"][rows] = grams.weight(hashes, offsets)
    documents["exact"][rows] = exact_hashes(texts, hashes, offsets)
    if not settings.compares:
        return
    found, ends = grams.grams(hashes, offsets, settings.shingle)
    counts = np.diff(ends)
    documents["grams"][rows] = counts
    signatures[rows] = minhash(found, ends, signatures.shape[1])
    if settings.contained:
        low = np.flatnonzero(found < np.uint64((1 << 64) // SCALE))
        kept, owner = found[low], np.searchsorted(ends, low, "right") - 1
        order = np.lexsort((kept, owner))
        kept, owner = kept[order], owner[order]
        new = np.ones(len(kept), bool)      # a sequence that a text repeats counts once
        new[1:] = (kept[1:] != kept[:-1]) | (owner[1:] != owner[:-1])
        kept, owner = kept[new], owner[new]
        documents["kept"][rows] = np.bincount(owner, minlength=len(rows))
        sketch.append(kept)
        sketch_rows.append(rows[owner].astype(np.int32))


def exact_hashes(texts: pa.Array, hashes: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """uint64 [D, 2]: equal for texts with the same words in the same order; a text without any word is compared as it stands."""
    raw = hashes.view(np.uint8).data
    ends = (offsets * 8).tolist()
    made = bytearray()
    for i in range(len(offsets) - 1):
        a, b = ends[i], ends[i + 1]
        made += blake2b(raw[a:b], digest_size=16).digest() if b > a else \
            blake2b((texts[i].as_py() or "").strip().encode(), digest_size=16, person=b"no words").digest()
    return np.frombuffer(bytes(made), "<u8").reshape(-1, 2)


def minhash(found: np.ndarray, offsets: np.ndarray, permutations: int) -> np.ndarray:
    """uint32 [D, permutations]: the smallest value of each permutation over each document's sequences; all ones where there is none.
    found: uint64 [G] hashes, offsets: int64 [D + 1]."""
    documents = len(offsets) - 1
    made = np.full((documents, permutations), 0xFFFFFFFF, np.uint32)
    filled = np.flatnonzero(np.diff(offsets) > 0)
    if not len(filled) or not permutations:
        return made
    short = (found >> np.uint64(32)).astype(np.uint32)
    seeds = grams.mixed(np.arange(1, 2 * permutations + 1, dtype=np.uint64)).astype(np.uint32)
    factors, summands = seeds[:permutations] | np.uint32(1), seeds[permutations:]
    starts = offsets[:-1][filled]
    ends = offsets[1:][filled]
    at = 0
    while at < len(filled):     # some thousands of sequences at a time stay in the cache
        until = max(at + 1, int(np.searchsorted(ends, starts[at] + 24_000, "right")))
        piece = short[starts[at]:ends[until - 1]]
        begins = starts[at:until] - starts[at]
        values = np.empty_like(piece)
        least = np.empty((permutations, until - at), np.uint32)
        for p in range(permutations):
            np.multiply(piece, factors[p], out=values)
            np.add(values, summands[p], out=values)
            np.minimum.reduceat(values, begins, out=least[p])
        made[filled[at:until]] = least.T
        at = until
    return made


def band_keys(signatures: np.ndarray, bands: int) -> np.ndarray:
    """uint64 [bands, D]: the rows of each band as one number."""
    documents, used = signatures.shape
    made = np.zeros((bands, documents), np.uint64)
    rows = used // bands if bands else 0
    for band in range(bands):
        key = np.full(documents, band + 1, np.uint64)
        for row in range(band * rows, (band + 1) * rows):
            key = grams.mixed(key ^ signatures[:, row])
        made[band] = key
    return made


def _write(target: Path, arrays: dict[str, np.ndarray]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".tmp-{target.name}-{os.getpid()}")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    for name, array in arrays.items():
        with open(aside / f"{name}.npy", "wb") as file:
            np.lib.format.write_array(file, array, allow_pickle=False)
            file.flush()
            os.fsync(file.fileno())
    os.replace(aside, target)


class Signatures:
    """The signatures of all parts of a folder; documents are numbered through them. Files are mapped for as long as they are looked at."""

    def __init__(self, folder: Path) -> None:
        self.folders = sorted(p for p in folder.glob("part-*") if p.is_dir())
        self.lengths = [len(self.open(i, "documents")) for i in range(len(self.folders))]
        self.firsts = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.array(self.lengths, np.int64))])

    @property
    def documents(self) -> int:
        return int(self.firsts[-1])

    def open(self, part: int, name: str) -> np.ndarray:
        """One array of a part, mapped."""
        found: np.ndarray = np.load(self.folders[part] / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        return found

    def column(self, name: str) -> np.ndarray:
        """One field of DOCUMENT for all documents."""
        kind = DOCUMENT[name]
        made = np.empty((self.documents, *kind.shape), kind.base)
        for part in range(len(self.folders)):
            made[self.firsts[part]:self.firsts[part + 1]] = self.open(part, "documents")[name]
        return made

    def of(self, name: str, numbers: np.ndarray) -> np.ndarray:
        """Rows of an array [D, ...] for documents in rising order."""
        cuts = np.searchsorted(numbers, self.firsts)
        pieces = [self.open(part, name)[numbers[cuts[part]:cuts[part + 1]] - self.firsts[part]]
                  for part in range(len(self.folders)) if cuts[part + 1] > cuts[part]]
        return np.concatenate(pieces) if pieces else self.open(0, name)[:0]


