"""What reading a file of rows needs to know of them, and what is said of a file and of rows that are refused. It reads nothing."""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

KINDS = {"conversations": "engine.text.conversations.rows", "preferences": "engine.text.preferences.rows",
         "problem_files": "engine.text.problem_files.rows"}
"""Modules that hold the RowKind of a name as KIND."""


class NoRow(Exception):
    """Why a row of a file is refused, for people."""


@dataclass(frozen=True)
class Refused:
    """A row that is none of those looked for: its line (of text files) or its number, and why."""

    line: int
    reason: str


@dataclass(frozen=True)
class Look:
    """What a file holds, from its beginning. `mapping` is a guess, to be changed by the person; not `complete` where nothing could be told.
    `preview` are the first rows as they would be read. `problems` are the first rows that would be refused, `bad` counts all of those seen;
    `rows` estimates all rows of the file (`exact`: counted). `problem` says why the file cannot be read at all, or not further."""

    name: str
    kind: str
    size: int
    columns: tuple[str, ...]
    mapping: Any
    preview: tuple[Any, ...] = ()
    problems: tuple[Refused, ...] = ()
    seen: int = 0
    bad: int = 0
    rows: int = 0
    exact: bool = False
    notes: tuple[str, ...] = ()
    problem: str = ""
    remedy: str = ""


@dataclass(frozen=True)
class RowKind:
    """`guess` makes a mapping (a dataclass with `complete`) of the first rows, `mapping` one out of JSON. `make` makes what a row of a file
    is worth, one or several of `model`, and raises NoRow; `origin` is its third argument. `cut` shortens one for a preview. `unreadable`
    and `unclear` are sentences about a file that is no such file, and one whose columns say nothing."""

    name: str
    model: type[BaseModel]
    guess: Callable[[Sequence[Any]], Any]
    mapping: Callable[[dict[str, Any]], Any]
    make: Callable[[Any, Any, str], Sequence[Any]]
    cut: Callable[[Any, int], Any]
    unreadable: Callable[[str, str], str]
    unclear: Callable[[str], str]


def kind_of(name: str) -> RowKind:
    """By its name, which must be one of KINDS."""
    found = importlib.import_module(KINDS[name]).KIND
    assert isinstance(found, RowKind)
    return found
