"""Makes corpus artifacts for tests and benchmarks in the layout that a corpus run writes, from documents with all that is said of them."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from engine.text.corpus_writer import CorpusWriter

SCHEMA = pa.schema([
    ("number", pa.int64()), ("id", pa.string()), ("root", pa.int32()), ("file", pa.int32()), ("document", pa.int32()),
    ("source", pa.dictionary(pa.int32(), pa.string())), ("train_row", pa.int64()), ("validation_row", pa.int64()),
    ("removed_row", pa.int64()), ("copies", pa.int32()), ("bytes", pa.int64()), ("language", pa.string()), ("language_score", pa.float32()),
    ("step", pa.string()), ("rule", pa.string()), ("detail", pa.string()), ("touched", pa.list_(pa.string())), ("quality", pa.float32()),
    ("harm", pa.float32()), ("harm_kind", pa.string()), ("borderline", pa.string()), ("cluster", pa.int64()), ("duplicate_of", pa.int64()),
    ("similarity", pa.float32()), ("overlap", pa.string())])


@dataclass
class Made:
    """One document; `original` is its text as read where a step changed it. A `step` removes it. `tail` > 0: so many of its last
    characters are its validation text."""

    text: str
    source: str = "a.txt"
    original: str | None = None
    split: str = "train"
    step: str | None = None
    rule: str | None = None
    detail: str | None = None
    touched: Sequence[str] = ()
    root: int = 0
    language: str = "en"
    quality: float | None = None
    harm: float | None = None
    harm_kind: str = ""
    borderline: str | None = None
    cluster: int = -1
    duplicate_of: int = -1
    similarity: float = 0.0
    overlap: str | None = None
    copies: int = 1
    tail: int = 0

    @property
    def as_read(self) -> str:
        return self.text if self.original is None else self.original

    @property
    def id(self) -> str:
        return hashlib.blake2b(self.source.encode() + b"\0" + self.as_read.encode(), digest_size=16).hexdigest()


def make(folder: Path, documents: Iterable[Made], batch: int = 20_000) -> Path:
    """Write the artifact, `batch` documents at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    splits = ("train", "validation", "removed")
    writer, rows, number = CorpusWriter(folder, splits=splits), dict.fromkeys(splits, 0), 0
    source = iter(documents)
    originals = pa.schema([("number", pa.int64()), ("text", pa.large_string())])
    with (pq.ParquetWriter(folder / "documents.parquet", SCHEMA, compression="zstd") as table,
          pq.ParquetWriter(folder / "originals.parquet", originals, compression="zstd") as changed):
        while part := list(islice(source, batch)):
            texts: dict[str, list[tuple[str, str, str]]] = {name: [] for name in splits}
            listed: list[dict[str, Any]] = []
            for made in part:
                where = {"removed": made.as_read} if made.step else {made.split: made.text}
                if made.tail:
                    where = {"train": made.text[:-made.tail], "validation": made.text[-made.tail:]}
                placed = dict.fromkeys(splits, -1)
                for name, text in where.items():
                    placed[name] = rows[name] + len(texts[name])
                    texts[name].append((made.id, made.source, text))
                plain = {name: getattr(made, name) for name in SCHEMA.names if hasattr(made, name)}
                listed.append(plain | {f"{name}_row": row for name, row in placed.items()} | {
                    "number": number + len(listed), "file": 0, "document": number + len(listed), "language_score": 0.9,
                    "bytes": len(made.text.encode()), "touched": list(made.touched)})
            for name, columns in texts.items():
                if columns:
                    id, of, text = zip(*columns, strict=True)
                    writer.add_rows(name, pa.table({"id": id, "source": of, "text": pa.array(text, pa.large_string())}))
                    rows[name] += len(columns)
            columns = {name: [row[name] for row in listed] for name in SCHEMA.names}
            table.write_table(pa.table({**columns, "source": pa.array(columns["source"]).dictionary_encode()}).cast(SCHEMA))
            kept = [(number + i, made.original) for i, made in enumerate(part) if made.original is not None and not made.step]
            if kept:
                changed.write_table(pa.table(dict(zip(("number", "text"), zip(*kept, strict=True), strict=True)), schema=originals))
            number += len(part)
    writer.finish()
    return folder
