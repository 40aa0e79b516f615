"""One corpus artifact open for the browser's questions: what a search and filters find, in which order, and a document's row.

The shapes of answers are in query.py. Everything is arrays over all documents: a search is a mask, a filter is a mask, and what is found is
where all are true. Only decisions change while an artifact is open; they are read anew when the library was written to.
"""

import json
import re
import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from engine.contract.errors import InputError
from engine.contract.words import tr
from engine.text.browse.index import Index
from engine.text.browse.prepare import place
from engine.text.browse.search import Atom, parse
from engine.text.browse.table import GONE, TRAIN, VALIDATION, Table, Texts
from engine.text.browse.words import arrow_pattern_of

VERIFY_BYTES = 16_000_000
"""Text that is looked through to be sure of a phrase; what is found beyond is taken as the index says."""
KEEP, EXCLUDE = 1, 2
_SPLITS = {TRAIN: "train", VALIDATION: "validation", TRAIN | VALIDATION: "both", GONE: "removed"}


@dataclass
class Found:
    """Numbers found (uint32, in the order asked for); `exact` when every phrase was looked up in the texts."""

    numbers: np.ndarray
    exact: bool


class Opened:
    """One artifact, open for questions. Artifacts never change, so that everything found once stays right but the decisions."""

    def __init__(self, artifact: Path) -> None:
        self.artifact = artifact
        folder = place(artifact)
        self.table, self.index = Table(folder), Index(folder / "index")
        self.texts = Texts(artifact, self.table)
        self._atoms: OrderedDict[Atom, np.ndarray] = OrderedDict()
        self._found: OrderedDict[Any, Found] = OrderedDict()
        self.answers: dict[str, Any] = {}     # answers that stay right
        self._groups: Groups | None = None
        self._decided: dict[str, Decided] = {}

    # what is found

    def atom(self, atom: Atom) -> np.ndarray:
        """Which documents may hold a word or phrase, kept as bits."""
        key = atom._replace(without=False)
        if key not in self._atoms:
            self._atoms[key] = np.packbits(self.index.phrase(atom.phrase, atom.prefix))
            while len(self._atoms) > 64:
                self._atoms.popitem(last=False)
        self._atoms.move_to_end(key)
        return np.unpackbits(self._atoms[key], count=self.table.documents).view(bool)

    def searched(self, atoms: Sequence[Atom]) -> np.ndarray:
        """Which documents hold all atoms that must be there; phrases as the index says."""
        mask = np.ones(self.table.documents, bool)
        for atom in atoms:
            if not atom.without:
                mask &= self.atom(atom)
        for atom in atoms:
            if atom.without and len(atom.phrase) == 1:
                mask &= ~self.atom(atom)
        return mask

    def sure(self, numbers: np.ndarray, atoms: Sequence[Atom]) -> tuple[np.ndarray, bool]:
        """(which of `numbers` hold every phrase and none that must be missing, whether all texts were looked at). Those beyond VERIFY_BYTES
        are taken as the index says: nearly all hold it, and of a phrase that must be missing nearly none would not."""
        keep = np.ones(len(numbers), bool)
        budget, exact = VERIFY_BYTES, True
        for atom in atoms:
            if len(atom.phrase) == 1:
                continue
            doubtful = np.flatnonzero(keep & self.atom(atom)[numbers] if atom.without else keep)
            sizes = np.cumsum(self.table["bytes"][numbers[doubtful]])
            looked = doubtful[:int(np.searchsorted(sizes, budget, "right"))] if len(doubtful) else doubtful
            if len(doubtful) and not len(looked) and budget == VERIFY_BYTES:
                looked = doubtful[:1]
            exact &= len(looked) == len(doubtful)
            if atom.without:
                keep[doubtful[len(looked):]] = False
            if len(looked):
                budget -= int(sizes[len(looked) - 1])
                order = np.argsort(numbers[looked], kind="stable")
                held = pc.match_substring_regex(self.texts.now(numbers[looked][order]), arrow_pattern_of(atom.phrase, atom.prefix))
                keep[looked[order]] &= held.to_numpy(zero_copy_only=False) ^ atom.without
        return keep, exact

    def filtered(self, filters: dict[str, Any], library: str, but: str = "") -> np.ndarray:
        """Which documents pass the filters (`but` one of them)."""
        mask = np.ones(self.table.documents, bool)
        for name, value in filters.items():
            if name not in FILTERS:
                raise InputError(tr("Documents cannot be filtered by {name}.", name=name), tr("Known: {known}.", known=", ".join(FILTERS)))
            if name == but or value is None or value == []:
                continue
            values = value if isinstance(value, list) else [value]
            passes = np.zeros(self.table.documents, bool)
            for one in values:
                passes |= self.decided(library).passes(one) if name == "decided" else FILTERS[name](self.table, one)
            mask &= passes
        return mask

    def find(self, search: str, filters: dict[str, Any], order: str, library: str) -> Found:
        """Everything found, in order. The last few answers are kept, so that the next page costs nothing."""
        key = (search, json.dumps(filters, sort_keys=True), order, self.decided(library).version if "decided" in filters else None)
        if key in self._found:
            self._found.move_to_end(key)
            return self._found[key]
        atoms = parse(search)
        mask = self.filtered(filters, library)
        if atoms:
            mask &= self.searched(atoms)
        numbers = self.ordered(np.flatnonzero(mask).astype(np.uint32), order)
        keep, exact = self.sure(numbers, atoms)
        made = Found(numbers if keep.all() else numbers[keep], exact)
        self._found[key] = made
        while len(self._found) > 4:
            self._found.popitem(last=False)
        return made

    def ordered(self, numbers: np.ndarray, order: str) -> np.ndarray:
        """Numbers (uint32, rising) by a column; equal ones by number."""
        name, back = order.removeprefix("-"), order.startswith("-")
        if name not in ORDERS:
            raise InputError(tr("Documents cannot be ordered by {name}.", name=name), tr("Known: {known}.", known=", ".join(ORDERS)))
        if name == "number":
            return numbers[::-1] if back else numbers
        column, high_first = ORDERS[name]
        key = self.source_ranks()[self.table["source"][numbers]] if column == "source" else self.table[column][numbers]
        rank = _rising(key)
        if high_first != back:
            rank = ~rank
        both = np.sort(rank.astype(np.uint64) << np.uint64(32) | numbers)
        return (both & np.uint64(0xFFFFFFFF)).astype(np.uint32)

    def source_ranks(self) -> np.ndarray:
        """The place of each source code among the names in order."""
        if "ranks" not in self.answers:
            order = pc.sort_indices(self.table.sources).to_numpy()
            ranks = np.empty(len(order), np.int64)
            ranks[order] = np.arange(len(order))
            self.answers["ranks"] = ranks
        return self.answers["ranks"]

    def decided(self, library: str) -> "Decided":
        if library not in self._decided:
            self._decided = {library: Decided(library, self.table)}
        self._decided[library].refresh()
        return self._decided[library]

    def groups(self) -> "Groups":
        if self._groups is None:
            self._groups = Groups(self.table)
        return self._groups

    # rows

    def row(self, number: int, library: str) -> dict[str, Any]:
        table, strings = self.table, self.table.strings(number)
        cluster, other = int(table["cluster"][number]), int(table["duplicate_of"][number])
        flags = int(table["touched"][number])
        return {
            "number": number, "id": strings["id"], "source": table.source(number), "root": int(table["root"][number]),
            "language": self.name("language", number), "bytes": int(table["bytes"][number]), "split": _SPLITS[int(table["split"][number])],
            "step": self.name("step", number) or None, "rule": self.name("rule", number) or None, "detail": strings["detail"],
            "touched": [name for code, name in enumerate(table.names["touched"]) if code and flags >> code & 1],
            "quality": _number(table["quality"][number]), "harm": _number(table["harm"][number]),
            "harm_kind": self.name("harm_kind", number), "borderline": self.name("borderline", number) or None,
            "overlap": strings["overlap"], "cluster": cluster if cluster >= 0 else None, "duplicate_of": other if other >= 0 else None,
            "similarity": _number(table["similarity"][number]) if other >= 0 else None, "copies": int(table["copies"][number]),
            "decision": self.decided(library).of(number)}

    def name(self, column: str, number: int) -> str:
        return self.table.names[column][int(self.table[column][number])]

    def as_read(self, number: int) -> str:
        """The text exactly as it was read."""
        changed = None if self.table["split"][number] == GONE else self.texts.original(number)
        return self.texts.text(number) if changed is None else changed


def _number(value: Any) -> float | None:
    return None if np.isnan(value) else round(float(value), 4)


def _rising(values: np.ndarray) -> np.ndarray:
    """uint32 in the same order as the values; what was not measured comes lowest."""
    if values.dtype == np.float32:
        bits = np.nan_to_num(values, nan=-np.inf).view(np.int32)
        return np.where(bits < 0, ~bits, bits ^ np.int32(-2**31)).view(np.uint32)
    return np.clip(values, 0, 2**32 - 1).astype(np.uint32)


ORDERS: dict[str, tuple[str, bool]] = {
    "number": ("", False), "longest": ("bytes", True), "shortest": ("bytes", False), "quality": ("quality", True), "harm": ("harm", True),
    "similarity": ("similarity", True), "source": ("source", False)}
"""The column, and whether high values come first."""


def _coded(name: str) -> Callable[[Table, Any], np.ndarray]:
    """A filter by a coded column: one value, or true for any."""
    def passes(table: Table, value: Any) -> np.ndarray:
        codes = table[name]
        return np.asarray(codes > 0 if value is True else codes == (0 if value in ("", False) else table.code(name, str(value))))
    return passes


def _split(table: Table, value: Any) -> np.ndarray:
    bits = {"train": TRAIN, "validation": VALIDATION, "removed": GONE, "kept": TRAIN | VALIDATION}
    return np.asarray(table["split"] & bits.get(str(value), 0) != 0)


def _source(table: Table, value: Any) -> np.ndarray:
    """A file's name, a folder, or a pattern."""
    text = str(value)
    if "*" in text or "?" in text:
        pattern = "".join({"*": ".*", "?": "."}.get(letter) or re.escape(letter) for letter in text)
        matches = pc.match_substring_regex(table.sources, f"(?s)^{pattern}$")
    else:
        matches = pc.or_(pc.equal(table.sources, text), pc.starts_with(table.sources, text.rstrip("/") + "/"))
    return matches.to_numpy()[table["source"]]


def _touched(table: Table, value: Any) -> np.ndarray:
    flags = table["touched"]
    if value is True:
        return np.asarray(flags != 0)
    code = table.code("touched", str(value))
    return np.asarray(flags & np.uint64(1 << code) != 0) if code > 0 else np.zeros(table.documents, bool)


def _cluster(table: Table, value: Any) -> np.ndarray:
    return np.asarray(table["cluster"] >= 0 if value is True else table["cluster"] == int(value))


def _overlap(table: Table, value: Any) -> np.ndarray:
    mask = table["overlap"] != 0
    if value is not True:
        found = np.flatnonzero(mask)
        mask = np.zeros(table.documents, bool)
        mask[[n for n in found if table.strings(int(n))["overlap"] == value]] = True
    return np.asarray(mask)


FILTERS: dict[str, Callable[[Table, Any], np.ndarray]] = {
    "split": _split, "root": lambda table, value: np.asarray(table["root"] == int(value)), "source": _source,
    "language": _coded("language"), "step": _coded("step"), "rule": _coded("rule"), "touched": _touched,
    "borderline": _coded("borderline"), "harm_kind": _coded("harm_kind"), "overlap": _overlap, "cluster": _cluster,
    "decided": lambda table, value: np.zeros(0, bool)}
"""By name: which documents pass one value. "decided" is asked of the library instead."""


class Decided:
    """The decisions of a project's library about the documents of one corpus. Read anew whenever the library was written to.

    The table is read as engine/project/library.py makes it (a test holds that); text may not import project, and a hundred thousand
    decisions are too many to hand over with every question.
    """

    def __init__(self, library: str, table: Table) -> None:
        self._table = table
        self.version: Any = None
        self.column = np.zeros(table.documents, np.uint8)
        self._connection = None
        if library and Path(library).is_file():
            self._connection = sqlite3.connect(Path(library).resolve().as_uri() + "?mode=ro", uri=True, timeout=10.0)

    def refresh(self) -> None:
        if self._connection is None:
            return
        version = self._connection.execute("pragma data_version").fetchone()
        if version == self.version:
            return
        try:
            rows = self._connection.execute("select document, keep from decisions").fetchall()
        except sqlite3.OperationalError as wrong:
            if "no such table" not in str(wrong):   # a library that was not upgraded yet holds none
                raise
            rows = []
        self.version = version
        self.column = np.zeros(self._table.documents, np.uint8)
        if rows:
            numbers, which = self._table.numbers([row[0] for row in rows])
            self.column[numbers] = np.array([KEEP if row[1] else EXCLUDE for row in rows], np.uint8)[which]

    def of(self, number: int) -> str | None:
        return {KEEP: "keep", EXCLUDE: "exclude"}.get(int(self.column[number]))

    def passes(self, value: Any) -> np.ndarray:
        if isinstance(value, bool):
            return np.asarray((self.column != 0) == value)
        return np.asarray(self.column == {"keep": KEEP, "exclude": EXCLUDE}.get(str(value), 255))


class Groups:
    """Groups of duplicates: their documents side by side."""

    def __init__(self, table: Table) -> None:
        members = np.flatnonzero(table["cluster"] >= 0)
        of = table["cluster"][members]
        order = np.argsort(of, kind="stable")
        self.members = members[order]
        self.names, self.starts, self.sizes = np.unique(of[order], return_index=True, return_counts=True)
        gone = table["duplicate_of"][self.members] >= 0
        similarity = np.nan_to_num(table["similarity"][self.members])
        self.kept = np.zeros(len(self.names), np.int64)
        self.least, self.most = np.zeros(len(self.names), np.float32), np.zeros(len(self.names), np.float32)
        self.bytes = np.zeros(len(self.names), np.int64)
        if len(self.names):
            # The first that stayed; of a group that lost all of its documents to other steps, the first.
            rank = np.where(gone, 2, np.where(table["split"][self.members] == GONE, 1, 0)).astype(np.int64)
            best = np.minimum.reduceat(rank * (table.documents + 1) + self.members, self.starts)
            self.kept = best % (table.documents + 1)
            self.least = np.minimum.reduceat(np.where(gone, similarity, np.float32(2)), self.starts)
            self.least[self.least > 1] = 0
            self.most = np.maximum.reduceat(np.where(gone, similarity, np.float32(0)), self.starts)
            self.bytes = np.add.reduceat(table["bytes"][self.members], self.starts)

    def of(self, cluster: int) -> np.ndarray:
        """The numbers of a group's documents; none for a group that is not there."""
        at = int(np.searchsorted(self.names, cluster))
        if at == len(self.names) or self.names[at] != cluster:
            return np.zeros(0, np.int64)
        return self.members[self.starts[at]:self.starts[at] + self.sizes[at]]
