"""Writes a corpus folder (see corpus.py), through `datasets`, in batches of bounded size.

Apart from the reader, so that whatever only reads a corpus imports nothing of `datasets`. It neither reads people's files (readers.py) nor
decides the split (stages/corpus).
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from engine.text.corpus import RECORD, SPLITS, VERSION, Counts

BATCH_BYTES, BATCH_DOCUMENTS = 8_000_000, 5_000
FILE_BYTES = 256_000_000


class CorpusWriter:
    """Fills a folder: `add` documents in their final order, then `finish`. Holds at most one batch of each split in memory."""

    def __init__(self, folder: Path, file_bytes: int = FILE_BYTES) -> None:
        self.folder = folder
        self._splits = {name: _SplitWriter(folder / name, name, file_bytes) for name in SPLITS}
        self.sources: dict[str, Counts] = {}

    def add(self, split: str, text: str, source: str) -> None:
        raw = text.encode("utf-8")
        id = hashlib.blake2b(source.encode("utf-8", "replace") + b"\0" + raw, digest_size=16).hexdigest()
        self._splits[split].add(id, source, text, len(raw))
        self.sources.setdefault(source, Counts()).add(len(raw), len(text))

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

    def _flush(self) -> None:
        import pyarrow as pa
        from datasets.arrow_writer import ArrowWriter

        rows = len(self._rows["id"])
        if self._writer is None:
            name = f"data-{len(self._files):05d}.arrow"
            self._files.append({"name": name, "documents": 0})
            self._writer = ArrowWriter(path=str(self.folder / name), features=self.features)
        if rows:
            self._writer.write_table(pa.table(self._rows, schema=self.features.arrow_schema), writer_batch_size=rows)
        self._files[-1]["documents"] += rows
        self._in_file += self._pending
        self._rows = {"id": [], "source": [], "text": []}
        self._pending = 0
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
