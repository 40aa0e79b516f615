"""A finished corpus: what was read, what is in it, and any document of it to be read."""

from collections.abc import Callable
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QWidget

from desktop.context import AppContext
from desktop.jobs.inquiry import Inquiry
from desktop.widgets.buttons import Button, Segments
from desktop.widgets.columns import Columns
from desktop.widgets.facts import Facts
from desktop.widgets.fields import Choice
from desktop.widgets.layout import Scroll, col, fixed, row, show_if
from desktop.widgets.notes import NoteSlot
from desktop.widgets.panel import Panel
from desktop.widgets.table import Cell, Column, Table
from desktop.widgets.text import Text, small
from engine.contract import units
from engine.contract.errors import FledgeError
from engine.contract.words import tr, trn
from engine.project.artifacts import Artifact

TOKENS_PER_PARAMETER = 11
FRONTIER_TOKENS = 30e12


class ResultView(QWidget):
    """`load` an artifact; the person turns its pages."""

    def __init__(self, context: AppContext) -> None:
        super().__init__()
        theme = context.theme
        self._inquiry = Inquiry(self)
        self._artifact: Artifact | None = None
        self._split, self._place, self._total = "train", 0, 0
        self._which = Choice(theme, [], "", name=tr("Corpus"))
        self._which.changed.connect(self._chosen)
        self._on_choose: Callable[[str], None] = lambda id: None
        self._files = Table(theme, [
            Column(tr("File"), lambda r: Cell(r["name"], tone="danger" if r.get("reason") else "")),
            Column(tr("Note"), _note, width=180),
            Column(tr("Documents"), lambda r: "" if r.get("reason") else units.number(r.get("documents", 0)), width=96, right=True,
                   key=lambda r: r.get("documents", 0)),
            Column(tr("Text"), lambda r: "" if r.get("reason") else units.size(r.get("bytes", 0)), width=96, right=True,
                   key=lambda r: r.get("bytes", 0))], name=tr("Files"), fit=True, max_rows=6)
        self._left_out = small()
        self._splits = Segments(theme, [("train", tr("Training")), ("validation", tr("Validation"))], "train",
                                name=tr("Part of the corpus"), on_change=self._split_chosen)
        self._back = Button(theme, "", "icon", icon="left", name=tr("Document before"), on_click=lambda: self._turn(-1))
        self._on = Button(theme, "", "icon", icon="right", name=tr("Next document"), on_click=lambda: self._turn(1))
        self._where = small()
        self._source = small("", "text3")
        self._text = Text("", "read", wrap=True, select=True, lead=150)
        self._text.setAlignment(Qt.AlignmentFlag.AlignTop)
        self._notes = NoteSlot(theme)
        reader = Panel(row(Text(tr("Read a document"), "section"), self._splits, "+", self._back, self._where, self._on, gap=12),
                       self._source, self._notes, (Scroll(col(self._text, "+", gap=0, pad=(0, 0, 8, 0))), 1), pad=(16, 10, 8, 12), gap=8)
        reader.setMinimumHeight(theme.px(240))
        files = Panel(row(Text(tr("What was read"), "section"), "+", fixed(self._which, theme.px(240)), gap=8), self._files, self._left_out,
                      pad=(16, 10, 16, 10), gap=8)
        self._facts, self._size_words = Facts([]), Text("", wrap=True)
        self._frontier = small("", wrap=True)
        side = col(Panel(Text(tr("What is in it"), "section"), self._facts, pad=(16, 10, 16, 14)),
                   Panel(Text(tr("How big is that?"), "section"), self._size_words, self._frontier, pad=(16, 10, 16, 14), gap=6), "+",
                   gap=12)
        col((Columns(theme, col(files, (reader, 1), gap=12), side, side_width=264, gap=12, room=530), 1), gap=0, host=self)

    def load(self, made: Artifact, corpora: list[Artifact], choose: Callable[[str], None]) -> None:
        self._on_choose = choose
        self._which.set_choices([(a.id, a.title if a.title == a.id else f"{a.title} ({a.id})") for a in corpora])
        self._which.set(made.id)
        if self._artifact == made:
            return
        self._artifact, facts = made, made.facts
        skipped = [dict(s) for s in facts.get("skipped", [])]
        self._files.set_rows([*facts.get("sources", []), *skipped])
        more = int(facts.get("files", 0)) - len(facts.get("sources", []))
        words = [trn("{count} more file.", "{count} more files.", more)] if more > 0 else []
        if facts.get("skipped_count"):
            words.append(trn("{count} file was left out.", "{count} files were left out.", int(facts["skipped_count"])))
        if facts.get("bad_lines"):
            words.append(trn("{count} line could not be read.", "{count} lines could not be read.", int(facts["bad_lines"])))
        self._left_out.set(" ".join(words))
        show_if(self._left_out, bool(words))
        self._facts.set(facts_of(made))
        tokens = float(facts.get("tokens_estimate", 0) or 0)
        self._size_words.set(tr("Enough for {parameters} parameters in one pass, at {per} tokens a parameter.",
                                parameters=units.count(tokens / TOKENS_PER_PARAMETER), per=TOKENS_PER_PARAMETER))
        times = float(f"{FRONTIER_TOKENS / max(tokens, 1):.2g}")
        self._frontier.set(tr("A frontier corpus has about 30 trillion tokens, {times} times this one. A small model knows what its text "
                              "knows, and little else.", times=units.count(times)))
        self._splits.set_enabled("validation", bool(facts.get("splits", {}).get("validation", {}).get("documents")),
                                 tr("This corpus keeps nothing for validation."))
        self._split, self._place = "train", 0
        self._splits.set("train")
        self._read()

    def rest(self) -> None:
        """Nobody looks."""
        self._inquiry.stop()

    def _chosen(self) -> None:
        self._on_choose(str(self._which.value()))

    def _split_chosen(self, split: Any) -> None:
        self._split, self._place = str(split), 0
        self._read()

    def _turn(self, by: int) -> None:
        self._place = (self._place + by) % max(1, self._total)
        self._read()

    def _read(self) -> None:
        assert self._artifact is not None
        self._inquiry.ask("engine.text.probe", "documents", {"corpus": str(self._artifact.path), "split": self._split, "start": self._place,
            "count": 1}, self._show, self._cannot)

    def _show(self, answer: dict[str, Any]) -> None:
        self._notes.clear()
        self._total = int(answer["total"])
        rows = answer["documents"]
        self._back.setEnabled(self._total > 1)
        self._on.setEnabled(self._total > 1)
        if not rows:
            self._where.set("")
            self._text.set(tr("There is no document here."))
            return
        made = rows[0]
        self._where.set(tr("{place} of {total}", place=units.number(made["number"] + 1), total=units.number(self._total)))
        length = tr("{count} characters", count=units.number(made["length"]))
        cut = made["length"] > len(made["text"])
        self._source.set(f"{made['source']} · {length}" + (f" · {tr('its beginning')}" if cut else ""))
        self._text.set(made["text"].strip("\n"))

    def _cannot(self, wrong: FledgeError) -> None:
        self._notes.show_error(wrong)


def documents_of(made: Artifact) -> int:
    """Documents as the person gave them; long ones are kept in several parts."""
    return int(made.facts.get("originals") or made.facts.get("documents", 0))


def facts_of(made: Artifact) -> list[tuple[str, str]]:
    """The corpus in numbers."""
    facts, splits = made.facts, made.facts.get("splits", {})
    shown = [(tr("Documents"), units.number(documents_of(made))), (tr("Files"), units.number(facts.get("files", 0))),
             (tr("Text"), units.size(facts.get("bytes", 0))), (tr("Characters"), units.count(facts.get("characters", 0))),
             (tr("Tokens, about"), units.count(facts.get("tokens_estimate", 0)))]
    validation = splits.get("validation", {}).get("bytes", 0)
    if facts.get("bytes"):
        shown.append((tr("For validation"), f"{units.percent(validation / facts['bytes'])}, {units.size(validation)}"))
    how = tr("the end of each document") if facts.get("split_by") == "tail" else tr("whole documents")
    shown.append((tr("Kept as"), how))
    shown.append((tr("On disk"), units.size(made.size)))
    return shown


def _note(row_: dict[str, Any]) -> Cell:
    if row_.get("reason"):
        return Cell(tr("left out: {reason}", reason=row_["reason"]), tone="text2")
    if row_.get("replaced"):
        return Cell(trn("{count} letter did not fit", "{count} letters did not fit", int(row_["replaced"])), tone="warn", icon="warn")
    if row_.get("bad"):
        return Cell(trn("{count} line left out", "{count} lines left out", int(row_["bad"])), tone="warn", icon="warn")
    return Cell(str(row_.get("column") and tr("column {name}", name=row_["column"]) or str(row_.get("encoding", "")).upper()), tone="text2")
