"""A file of pairs before it is imported: its first pairs as they would be read, in the view that every import of rows has."""

from pathlib import Path
from typing import Any

from PySide6.QtWidgets import QWidget

from desktop.context import AppContext
from desktop.models.pair_import import PairImportPlan
from desktop.widgets.badge import Badge
from desktop.widgets.layout import row
from desktop.widgets.panel import Panel
from desktop.widgets.rows_import import RowsImport
from desktop.widgets.text import Text, small
from engine.contract.rows import Pair
from engine.contract.words import tr, trn

MODULE = "engine.stages.preference.pairs_process"
LONGEST = 600
"""Characters of a text that are shown before the import."""


class PairImport(RowsImport):
    """Files of pairs."""

    def __init__(self, context: AppContext) -> None:
        super().__init__(context, PairImportPlan(), MODULE, _look, _kinds, pair_card, tr("Rows become pairs"),
                         tr("a set of pairs to label or to train on"))


def _look(file: Path, mapping: Any) -> Any:
    from engine.text.preferences import look
    return look(file, mapping)


def _kinds() -> Any:
    from engine.text.preferences import KINDS
    return KINDS


def pair_card(pair: Pair) -> QWidget:
    """A pair as it would be read: the better answer is told by its word, not by colour alone."""
    best = str(pair.facts.get("best") or "")
    turns = sum(m.role != "system" for m in pair.prompt)
    asked = next((m.content for m in reversed(pair.prompt) if m.role == "user"), "")
    words = {"tie": tr("tie"), "bad": tr("both bad")}.get(best, "")
    head = row(small(tr("Prompt") if turns <= 1 else trn("Prompt, {count} turn", "Prompt, {count} turns", turns)), "+",
               Badge(words) if words else None, gap=8)

    def side(name: str, text: str) -> QWidget:
        won = best == name
        return Panel(row(small(tr("First") if name == "first" else tr("Second")), "+", Badge(tr("better"), "ok") if won else None),
                     Text(text[:LONGEST] + (" …" if len(text) > LONGEST else "") or tr("(empty)"), wrap=True),
                     "+", kind="sunken", pad=(12, 8, 12, 10), gap=4)
    return Panel(head, Text(asked[:LONGEST], "medium", wrap=True),
                 row((side("first", pair.first.text), 1), (side("second", pair.second.text), 1), gap=10), pad=(16, 10, 16, 14), gap=6)
