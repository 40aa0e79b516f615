"""Writes a corpus folder (see corpus.py), through `datasets`, in batches of bounded size.

Apart from the reader, so that whatever only reads a corpus imports nothing of `datasets`. It neither reads people's files (readers/) nor
decides the split (stages/corpus).
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.text.corpus import RECORD, SPLITS, VERSION, Counts

BATCH_BYTES, BATCH_DOCUMENTS = 8_000_000, 5_000
FILE_BYTES = 256_000_000


def document_id(source: str, raw: bytes) -> str:
    """The id of a document: a hash of where it came from and its UTF-8 text as read, so that it is the same in every import."""
    return hashlib.blake2b(source.encode("utf-8", "replace") + b"\0" + raw, digest_size=16).hexdigest()


class CorpusWriter:
    """Fills a folder: `add` documents (or `add_rows`, many at once) in their final order, then `finish`. Holds at most one batch of each
    split in memory. `splits` may name more than train and validation."""

    def __init__(self, folder: Path, file_bytes: int = FILE_BYTES, splits: Sequence[str] = SPLITS) -> None:
        self.folder = folder
        self._splits = {name: _SplitWriter(folder / name, name, file_bytes) for name in splits}
        self.sources: dict[str, Counts] = {}

    def add(self, split: str, text: str, source: str, id: str = "") -> None:
        raw = text.encode("utf-8")
        self._splits[split].add(id or document_id(source, raw), source, text, len(raw))
        self.sources.setdefault(source, Counts()).add(len(raw), len(text))

    def add_rows(self, split: str, rows: Any) -> None:
        """A pyarrow table with the columns id, source, text; `sources` does not count these."""
        self._splits[split].add_rows(rows)

    def counts(self, split: str) -> Counts:
        return self._splits[split].counts

    def finish(self) -> None:
        """Write what is left and the record; without it the folder is no corpus."""
        splits = {name: {**writer.finish(), **writer.counts.plain()} for name, writer in self._splits.items()}
        record = {"version": VERSION, "splits": splits}
        (self.folder / RECORD).write_text(json.dumps(record, indent=1) + "\n", "utf-8")


class _SplitWriter:
    def __init__(self, folder: Path, name: str, file_bytes: int) -> None:
        from datasets import Features, Value

        folder.mkdir(parents=True)
        self.folder, self.name, self.file_bytes = folder, name, file_bytes
        self.counts = Counts()
        self.features = Features({"id": Value("string"), "source": Value("string"), "text": Value("string")})
        self._rows: dict[str, list[str]] = {"id": [], "source": [], "text": []}
        self._pending = self._in_file = 0
        self._writer: Any = None
        self._files: list[dict[str, Any]] = []
        self._hash = hashlib.blake2b(digest_size=8)

    def add(self, id: str, source: str, text: str, bytes: int) -> None:
        self._rows["id"].append(id)
        self._rows["source"].append(source)
        self._rows["text"].append(text)
        self._hash.update(id.encode())
        self.counts.add(bytes, len(text))
        self._pending += bytes
        if self._pending >= BATCH_BYTES or len(self._rows["id"]) >= BATCH_DOCUMENTS:
            self._flush()

    def add_rows(self, rows: Any) -> None:
        import pyarrow.compute as pc

        self._flush(only_rows=True)
        for start in range(0, rows.num_rows, BATCH_DOCUMENTS):
            part = rows.slice(start, BATCH_DOCUMENTS).cast(self.features.arrow_schema).combine_chunks()
            text = part.column("text")
            bytes = pc.sum(pc.binary_length(text)).as_py() or 0
            self.counts.documents += part.num_rows
            self.counts.bytes += bytes
            self.counts.characters += pc.sum(pc.utf8_length(text)).as_py() or 0
            self._hash.update("".join(part.column("id").to_pylist()).encode())
            self._write(part, part.num_rows, bytes)

    def _flush(self, only_rows: bool = False) -> None:
        import pyarrow as pa

        if self._rows["id"] or not only_rows:
            self._write(pa.table(self._rows, schema=self.features.arrow_schema), len(self._rows["id"]), self._pending)
        self._rows = {"id": [], "source": [], "text": []}
        self._pending = 0

    def _write(self, table: Any, rows: int, bytes: int) -> None:
        from datasets.arrow_writer import ArrowWriter

        if self._writer is None:
            name = f"data-{len(self._files):05d}.arrow"
            self._files.append({"name": name, "documents": 0})
            self._writer = ArrowWriter(path=str(self.folder / name), features=self.features)
        if rows:
            self._writer.write_table(table, writer_batch_size=rows)
        self._files[-1]["documents"] += rows
        self._in_file += bytes
        if self._in_file >= self.file_bytes:
            self._close()

    def _close(self) -> None:
        self._writer.finalize()
        self._writer, self._in_file = None, 0

    def finish(self) -> dict[str, Any]:
        from datasets import DatasetInfo, NamedSplit

        if self._rows["id"] or not self._files:
            self._flush()
        if self._writer is not None:
            self._close()
        DatasetInfo(features=self.features).write_to_directory(str(self.folder))
        state = {"_data_files": [{"filename": f["name"]} for f in self._files], "_fingerprint": self._hash.hexdigest(),
                 "_format_columns": None, "_format_kwargs": {}, "_format_type": None, "_output_all_columns": False,
                 "_split": str(NamedSplit(self.name))}
        (self.folder / "state.json").write_text(json.dumps(state, indent=1), "utf-8")
        return {"files": self._files}
