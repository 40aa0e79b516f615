"""Rows into files that other programs read. Streamed, written aside and renamed; what a form cannot hold is counted and told. The ending
decides how rows are written: .jsonl, .json, .csv, .tsv, .parquet. What a form looks like is said by a Form; this knows none.
"""

import csv
import json
import os
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.contract.errors import InputError, SettingError
from engine.contract.words import tr
from engine.project import files

ENDINGS = (".jsonl", ".json", ".csv", ".tsv", ".parquet")
LISTED = 20
ROWS_AT_ONCE = 1_000


@dataclass(frozen=True)
class Written:
    """How many rows a file has, and how many the form could not hold: `left_out` lists the first, (id, reason)."""

    rows: int
    left_out_count: int = 0
    left_out: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Form:
    """`row` makes what is written of a row (something with an `id`), or raises CannotHold. `columns` are those of a table, none where
    it has no table; `schema` gives the Arrow fields (name, type) of Parquet. `loose` columns have no fixed shape: Parquet keeps them
    as JSON."""

    row: Callable[[Any], dict[str, Any]]
    schema: Callable[[], list[tuple[str, Any]]]
    columns: tuple[str, ...] = ()
    loose: tuple[str, ...] = ()


class CannotHold(Exception):
    """Why a form has no place for a row, for people."""


def write_rows(path: str | Path, rows: Iterable[Any], form: Form, *, replace: bool = True, unknown: str, only: str) -> Written:
    """Write rows to a file; one that is there is replaced in one step, or refused unless `replace`. SettingError, with the sentence
    `unknown`, for an unknown ending, or for a table where the form has none, which `only` says a remedy for; DiskFull with the old file
    intact."""
    target = Path(path).expanduser()
    ending = target.suffix.lower()
    if ending not in ENDINGS:
        raise SettingError(unknown, tr("Let its name end with one of: {endings}.", endings=", ".join(ENDINGS)), field="out")
    if ending in (".csv", ".tsv") and not form.columns:
        raise SettingError(tr("A table cannot hold this form."), only, field="to")
    if target.is_dir():
        raise InputError(tr("{path} is a folder.", path=str(target)), tr("Name the file that shall be written."))
    if target.exists() and not replace:
        raise InputError(tr("{path} is there already.", path=str(target)), tr("Name another file."), code="exists")
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f"{files.TEMPORARY}{target.name}-{os.getpid()}-{uuid.uuid4().hex[:8]}")
    left: list[tuple[str, str]] = []
    count = missed = 0
    try:
        with _writer(aside, ending, form) as put:
            for one in rows:
                try:
                    row = form.row(one)
                except CannotHold as why:
                    missed += 1
                    if len(left) < LISTED:
                        left.append((one.id, str(why)))
                    continue
                count += 1
                put(row)
        files.sync_file(aside)
        files.rename(aside, target)
    except OSError as wrong:
        raise files.disk_error(wrong, target) from wrong
    finally:
        aside.unlink(missing_ok=True)
    return Written(count, missed, tuple(left))


@contextmanager
def _writer(path: Path, ending: str, form: Form) -> Iterator[Callable[[dict[str, Any]], None]]:
    if ending == ".parquet":
        with _parquet(path, form) as put:
            yield put
        return
    with open(path, "w", encoding="utf-8", newline="", buffering=1 << 20) as file:
        if ending in (".csv", ".tsv"):
            table = csv.DictWriter(file, form.columns, extrasaction="raise", delimiter="\t" if ending == ".tsv" else ",",
                                   quoting=csv.QUOTE_ALL, lineterminator="\n")
            table.writeheader()
            yield lambda row: table.writerow({name: _cell(row.get(name, "")) for name in form.columns})
        elif ending == ".jsonl":
            yield lambda row: _put(file, row, "\n")
        else:
            first = True

            def put(row: dict[str, Any]) -> None:
                nonlocal first
                file.write("[\n" if first else ",\n")
                first = False
                _put(file, row, "")

            yield put
            file.write("[]\n" if first else "\n]\n")


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (list, dict)) else value


def _put(file: Any, row: dict[str, Any], end: str) -> None:
    file.write(json.dumps(row, ensure_ascii=False) + end)


@contextmanager
def _parquet(path: Path, form: Form) -> Iterator[Callable[[dict[str, Any]], None]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(form.schema())
    numbers = tuple(field.name for field in schema if not pa.types.is_string(field.type))
    held: list[dict[str, Any]] = []
    with pq.ParquetWriter(path, schema, compression="zstd") as file:
        def flush() -> None:
            if held:
                file.write_table(pa.Table.from_pylist(held, schema=schema))
                held.clear()

        def put(row: dict[str, Any]) -> None:
            row = {**row, **{name: json.dumps(row[name]) for name in form.loose}}
            row |= {name: None for name in numbers if row.get(name) == ""}
            held.append(row)
            if len(held) >= ROWS_AT_ONCE:
                flush()

        yield put
        flush()


def schema_types() -> tuple[Any, Any]:
    """Arrow's types of a text and of a list of messages."""
    import pyarrow as pa

    return pa.string(), pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
