"""Writes a corpus artifact: the kept documents in train/ and validation/, every removed one as it was read in removed/, and beside them
who is where (documents.parquet) and the texts as read of the kept ones that a step changed (originals.parquet).

Streamed, part after part; what becomes of each document was decided before (decide.py).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from engine.contract.words import tr
from engine.stages.corpus.decide import Fates
from engine.text.corpus import SPLITS, Corpus
from engine.text.corpus_writer import CorpusWriter
from engine.text.dedup.find import STEPS as DUPLICATE_STEPS
from engine.text.dedup.find import Duplicates
from engine.text.parts import READ, Parts, part_name, write_part
from engine.text.removal import CODES

DOCUMENTS = pa.schema([
    ("number", pa.int64()), ("id", pa.string()), ("root", pa.int32()), ("file", pa.int32()), ("document", pa.int32()),
    ("source", pa.dictionary(pa.int32(), pa.string())), ("train_row", pa.int64()), ("validation_row", pa.int64()),
    ("removed_row", pa.int64()), ("copies", pa.int32()), ("bytes", pa.int64()), ("language", pa.string()),
    ("language_score", pa.float32()), ("step", pa.string()), ("rule", pa.string()), ("detail", pa.string()),
    ("touched", pa.list_(pa.string())), ("quality", pa.float32()), ("harm", pa.float32()), ("harm_kind", pa.string()),
    ("borderline", pa.string()), ("cluster", pa.int64()), ("duplicate_of", pa.int64()), ("similarity", pa.float32()),
    ("overlap", pa.string()),
])
ORIGINALS = pa.schema([("number", pa.int64()), ("text", pa.large_string())])
STEP_NAMES = np.array(["", *CODES], object)
EDGES = [0, 256, 512, 1_024, 2_048, 4_096, 8_192, 16_384, 65_536]
"""Borders of the length histogram, UTF-8 bytes."""


@dataclass
class Written:
    """Counts of what was written. `languages` {code: [documents, bytes]}, `lengths` and `files` {file: [documents, bytes]} are of the kept
    documents; `rules` of the removed ones."""

    splits: dict[str, dict[str, int]] = field(default_factory=dict)
    languages: dict[str, list[int]] = field(default_factory=dict)
    lengths: list[int] = field(default_factory=lambda: [0] * len(EDGES))
    files: dict[int, list[int]] = field(default_factory=dict)
    rules: dict[str, int] = field(default_factory=dict)


def write(folder: Path, parts: Parts, found: Duplicates, fates: Fates, at: Callable[[int], None]) -> Written:
    """Fill `folder` (there already). `at` hears how many documents are written and may raise."""
    made = Written()
    rows = dict.fromkeys((*SPLITS, "removed"), 0)
    writer = CorpusWriter(folder, splits=(*SPLITS, "removed"))
    most = int(fates.copies.max()) if len(fates.copies) else 1
    with (pq.ParquetWriter(folder / "documents.parquet", DOCUMENTS, compression="zstd") as documents,
          pq.ParquetWriter(folder / "originals.parquet", ORIGINALS, compression="zstd") as originals):
        for first, table in parts.tables():
            numbers = np.arange(first, first + table.num_rows)
            placed = _place(table, numbers, fates, writer, rows)
            listed = _rows(table, numbers, found, fates, placed)
            documents.write_table(listed)
            changed = pc.and_(pa.array(fates.kept[numbers]), pc.is_valid(table["original"]))
            if pc.any(changed).as_py():
                originals.write_table(pa.table({"number": numbers, "text": table["original"]}, schema=ORIGINALS).filter(changed))
            _count(made, listed, fates.kept[numbers])
            at(first + table.num_rows)
        for again in range(2, most + 1):  # the sources that are repeated, once more each time
            for first, table in parts.tables(["id", "source", "text"]):
                chosen = fates.copies[first:first + table.num_rows] >= again
                if fates.cuts is not None:
                    begins = [t[:fates.cuts.get(first + i, 0)] for i, t in enumerate(table["text"].to_pylist())]
                    table = table.set_column(2, "text", pa.array(begins, pa.large_string()))
                    chosen &= np.array([bool(t) for t in begins], bool)
                if chosen.any():
                    writer.add_rows("train", table.filter(pa.array(chosen)))
                at(first + table.num_rows)
    writer.finish()
    made.splits = {name: writer.counts(name).plain() for name in SPLITS}
    return made


def _place(table: Any, numbers: Any, fates: Fates, writer: CorpusWriter, rows: dict[str, int]) -> dict[str, Any]:
    """Write the texts of one part; the row of each document in each split, -1 where it is not."""
    kept = fates.kept[numbers]
    text = {"train": table["text"], "validation": table["text"],
            "removed": pc.coalesce(table["original"], table["text"])}
    if fates.cuts is None:
        masks = {"train": kept & ~fates.validation[numbers], "validation": kept & fates.validation[numbers], "removed": ~kept}
    else:
        halves: dict[str, list[str | None]] = {name: [None] * len(numbers) for name in SPLITS}
        for row in np.flatnonzero(kept):
            whole = table["text"][int(row)].as_py()
            cut = fates.cuts[int(numbers[row])]
            for name, half in (("train", whole[:cut]), ("validation", whole[cut:])):
                halves[name][row] = half or None
        text |= {name: pa.array(halves[name], pa.large_string()) for name in SPLITS}
        masks = {name: np.array([t is not None for t in halves[name]], bool) for name in SPLITS} | {"removed": ~kept}
    placed = {}
    for name, mask in masks.items():
        place = np.full(len(numbers), -1, np.int64)
        place[mask] = rows[name] + np.arange(int(mask.sum()))
        rows[name] += int(mask.sum())
        placed[name] = place
        if mask.any():
            writer.add_rows(name, pa.table({"id": table["id"], "source": table["source"], "text": text[name]}).filter(pa.array(mask)))
    return placed


def _rows(table: Any, numbers: Any, found: Duplicates, fates: Fates, placed: dict[str, Any]) -> Any:
    """The rows of documents.parquet for one part."""
    code = fates.code[numbers]
    rule, detail = table["rule"].to_pylist(), table["detail"].to_pylist()
    before = table["step"].to_pylist()
    for row in np.flatnonzero(code):
        number, step = int(numbers[row]), STEP_NAMES[code[row]]
        if step == before[row]:
            continue
        rule[row], detail[row] = _why(step, number, found, fates)
    for row in np.flatnonzero(code == 0):
        rule[row] = detail[row] = None
    step = np.where(code > 0, STEP_NAMES[code], None)
    return pa.table({
        "number": numbers, "id": table["id"], "root": table["root"], "file": table["file"], "document": table["document"],
        "source": table["source"].dictionary_encode(), "train_row": placed["train"], "validation_row": placed["validation"],
        "removed_row": placed["removed"], "copies": fates.copies[numbers], "bytes": fates.bytes[numbers], "language": table["language"],
        "language_score": table["language_score"], "step": pa.array(step.tolist(), pa.string()), "rule": pa.array(rule, pa.string()),
        "detail": pa.array(detail, pa.string()), "touched": table["touched"], "quality": table["quality"], "harm": table["harm"],
        "harm_kind": table["harm_kind"], "borderline": table["borderline"], "cluster": found.cluster[numbers],
        "duplicate_of": found.duplicate_of[numbers], "similarity": found.similarity[numbers],
        "overlap": pa.array([fates.overlap.get(int(n)) for n in numbers] if fates.overlap else [None] * len(numbers), pa.string()),
    }).cast(DOCUMENTS)


def _why(step: str, number: int, found: Duplicates, fates: Fates) -> tuple[str, str]:
    """Rule and detail of a removal that no cleaning step made."""
    if step == "exact_duplicates":
        return "exact", ""
    if step == "near_duplicates":
        return DUPLICATE_STEPS[int(found.step[number])], f"{float(found.similarity[number]):.2f}"
    if step == "contamination":
        return "overlap", fates.overlap.get(number, "")
    return step, tr("by you") if step == "hand" else ""


def _count(made: Written, listed: Any, kept: Any) -> None:
    """Add one part's rows to the counts."""
    chosen = listed.filter(pa.array(kept))
    for code, documents, size in zip(*_grouped(chosen, "language"), strict=True):
        mine = made.languages.setdefault(code or "", [0, 0])
        mine[0] += documents
        mine[1] += size
    for file, documents, size in zip(*_grouped(chosen, "file"), strict=True):
        mine = made.files.setdefault(int(file), [0, 0])
        mine[0] += documents
        mine[1] += size
    for place, count in zip(*np.unique(np.searchsorted(EDGES, chosen["bytes"].to_numpy(), "right") - 1, return_counts=True), strict=True):
        made.lengths[int(place)] += int(count)
    for rule, count in ((r["values"], r["counts"]) for r in pc.value_counts(listed["rule"].drop_null()).to_pylist()):
        made.rules[rule] = made.rules.get(rule, 0) + int(count)


def _grouped(table: Any, column: str) -> tuple[list[Any], list[int], list[int]]:
    grouped = table.select([column, "bytes"]).group_by(column).aggregate([("bytes", "count"), ("bytes", "sum")])
    return grouped[column].to_pylist(), grouped["bytes_count"].to_pylist(), grouped["bytes_sum"].to_pylist()


def read_again(artifact: Path, target: Path, at: Callable[[int, int], None], rows: int = 4_000) -> None:
    """The documents of a corpus as they were read, as parts again: what a run from a corpus begins with instead of files."""
    corpus = Corpus.open(artifact)
    listed = pq.ParquetFile(artifact / "documents.parquet")
    originals = _Originals(artifact / "originals.parquet")
    total, done, part = listed.metadata.num_rows, 0, 0
    columns = ["number", "id", "root", "file", "document", "source", "train_row", "validation_row", "removed_row"]
    for batch in listed.iter_batches(batch_size=rows, columns=columns):
        place = target / part_name(part)
        if not place.exists():
            texts = []
            for row in batch.to_pylist():
                changed = originals.get(row["number"])
                if changed is not None:
                    texts.append(changed)
                elif row["removed_row"] >= 0:
                    texts.append(corpus.document("removed", row["removed_row"]).text)
                else:
                    texts.append("".join(corpus.document(name, row[f"{name}_row"]).text for name in SPLITS if row[f"{name}_row"] >= 0))
            plain = pa.Table.from_batches([batch]).select(["id", "root", "file", "document", "source"])
            write_part(place, plain.append_column("text", pa.array(texts, pa.large_string())).cast(READ))
        done, part = done + batch.num_rows, part + 1
        at(done, total)


class _Originals:
    """The texts as read of changed documents, by rising numbers, a row group at a time."""

    def __init__(self, path: Path) -> None:
        self._file = pq.ParquetFile(path)
        self._groups = [self._file.metadata.row_group(g).column(0).statistics for g in range(self._file.metadata.num_row_groups)]
        self._at, self._held = -1, {}

    def get(self, number: int) -> str | None:
        for group, limits in enumerate(self._groups):
            if limits.min <= number <= limits.max:
                if group != self._at:
                    table = self._file.read_row_group(group)
                    self._at, self._held = group, dict(zip(table["number"].to_pylist(), table["text"].to_pylist(), strict=True))
                return self._held.get(number)
        return None
