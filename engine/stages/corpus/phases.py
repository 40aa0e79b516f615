"""The phases of a corpus run up to the decision: gather, clean, duplicates, overlap. Each leaves parts in the run's work folder and takes
those that are there already; what is done to a document lives in engine/text."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from engine.contract.errors import InputError
from engine.contract.events import Notice
from engine.contract.words import tr, trn
from engine.stages.corpus.flow import Flow
from engine.stages.corpus.spec import CorpusSpec
from engine.text import pool
from engine.text.cleaning import clean, learned
from engine.text.dedup import contamination, find, passages, signatures
from engine.text.parts import Parts
from engine.text.read_process import Limits, Standing, read
from engine.text.readers import ReadOptions, SourceFile, list_files

SMALL = 8_000_000
"""Bytes of text below which one process does everything: starting others takes longer."""


@dataclass
class Gathered:
    """The documents as read: `parts`, a row for each listed file, and what was left out. `roots` are the names of the sources."""

    parts: Parts
    files: list[dict[str, Any]]
    skipped: list[dict[str, str]]
    roots: list[str]
    bytes: int


@dataclass
class Cleaned:
    """The same documents after cleaning, with the counts of it."""

    parts: Parts
    counts: dict[str, Any]
    boilerplate: list[dict[str, Any]] = field(default_factory=list)
    passages: dict[str, Any] = field(default_factory=dict)


class Phases:
    """`labels` are the person's own decisions about harm."""

    def __init__(self, spec: CorpusSpec, flow: Flow, labels: list[dict[str, Any]]) -> None:
        self.spec, self.flow, self.labels = spec, flow, labels
        self._processes = 0

    @property
    def names(self) -> list[str]:
        """The phases that these settings ask for, in order."""
        spec = self.spec
        asked = {"look": not spec.base, "lines": spec.repeated_lines, "passages": spec.repeated_paragraphs or spec.repeated_passages,
                 "overlap": bool(spec.held_out)}
        order = ["look", "read", "lines", "clean", "sign", "match", "passages", "overlap", "write", "save", "index"]
        return [name for name in order if asked.get(name, True)]
