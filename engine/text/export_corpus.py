"""Writes the kept documents of a corpus artifact as one Parquet or JSONL file for other programs. Streamed, written aside and renamed.

Columns: id, text, source, language, split ("train" or "validation"). One row a document, in the order of the import; how often a document
is repeated in training is not written. In small corpora each document's end is its validation text: then it has a row in each split.
"""

import json
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from engine.contract.errors import InputError
from engine.contract.words import tr
from engine.text.browse.table import listed
from engine.text.corpus import SPLITS, Corpus

FORMATS = ("parquet", "jsonl")
ROWS, GROUP_BYTES = 2_000, 32_000_000
SCHEMA = pa.schema([("id", pa.string()), ("text", pa.large_string()), ("source", pa.string()), ("language", pa.string()),
                    ("split", pa.string())])


def export(artifact: Path, target: Path, form: str, report: Callable[[int, int], None] = lambda done, total: None) -> int:
    """Write the documents to the file `target` (replaced) and return how many rows it has. `report` gets (documents, in all), and what it
    raises ends the export, leaving the file that was there."""
    if form not in FORMATS:
        raise InputError(tr("A corpus cannot be written as {form}.", form=form), tr("Known: {known}.", known=", ".join(FORMATS)))
    if target.is_dir():
        raise InputError(tr("{path} is a folder.", path=str(target)), tr("Name the file that shall be written."))
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".tmp-{target.name}-{os.getpid()}-{uuid.uuid4().hex[:8]}")
    try:
        rows = (_parquet if form == "parquet" else _jsonl)(artifact, aside, report)
        with open(aside, "rb") as file:
            os.fsync(file.fileno())
        os.replace(aside, target)
    finally:
        aside.unlink(missing_ok=True)
    return rows


def documents(artifact: Path, report: Callable[[int, int], None]) -> Iterator[pa.RecordBatch]:
    """The kept documents in batches of a few megabytes, in the order of the import."""
    corpus = Corpus.open(artifact)
    total, done = _documents(artifact, corpus), 0
    for batch in listed(artifact):
        for start in range(0, batch.num_rows, ROWS):
            part = batch.slice(start, ROWS)
            places = {name: part.column(f"{name}_row").to_numpy() for name in SPLITS}
            made = [_rows(corpus, name, part, rows) for name, rows in places.items() if (rows >= 0).any()]
            if len(made) == 1:
                yield made[0]
            elif made:      # back into the order of the import; of a document in both splits the beginning first
                order = np.argsort(np.concatenate([np.flatnonzero(rows >= 0) for rows in places.values()]), kind="stable")
                yield pa.concat_batches(made).take(pa.array(order))
            done += part.num_rows
            report(done, total)


def _documents(artifact: Path, corpus: Corpus) -> int:
    path = artifact / "documents.parquet"
    return int(pq.read_metadata(path).num_rows) if path.exists() else sum(corpus.count(name) for name in SPLITS)


def _rows(corpus: Corpus, split: str, part: pa.RecordBatch, rows: np.ndarray) -> pa.RecordBatch:
    """The documents of one batch that stand in a split."""
    here = np.flatnonzero(rows >= 0)
    order = here[np.argsort(rows[here], kind="stable")]
    texts = corpus.take(split, rows[order]).cast(pa.large_string())
    if (order != here).any():   # back into the order of the import
        texts = texts.take(pa.array(np.argsort(order, kind="stable")))
    chosen = pa.array(here)
    source = part.column("source").take(chosen)
    if isinstance(source, pa.DictionaryArray):
        source = source.dictionary_decode()
    return pa.record_batch([part.column("id").take(chosen).cast(pa.string()), texts, source.cast(pa.string()),
                            pc.fill_null(part.column("language").take(chosen).cast(pa.string()), ""),
                            pa.array([split] * len(here), pa.string())], schema=SCHEMA)


def _parquet(artifact: Path, target: Path, report: Callable[[int, int], None]) -> int:
    written, held, size = 0, [], 0
    with pq.ParquetWriter(target, SCHEMA, compression="zstd") as file:
        def flush() -> None:
            if held:
                file.write_table(pa.Table.from_batches(held))
                held.clear()

        for batch in documents(artifact, report):
            held.append(batch)
            written += batch.num_rows
            size += batch.nbytes
            if size > GROUP_BYTES:
                flush()
                size = 0
        flush()
    return written


def _jsonl(artifact: Path, target: Path, report: Callable[[int, int], None]) -> int:
    written = 0
    with open(target, "w", encoding="utf-8", newline="\n", buffering=1 << 20) as file:
        for batch in documents(artifact, report):
            row: dict[str, Any]
            for row in batch.to_pylist():
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
            written += batch.num_rows
    return written
