"""The files a corpus was made of, and the plain reader of its documents: what every corpus has, also those made before there was a report
and a browser."""

from typing import Any

from PySide6.QtCore import Qt

from desktop.jobs.inquiry import Inquiry
from desktop.models.corpus_report import Report, kind_words
from desktop.theme.theme import Theme
from desktop.widgets.buttons import Button, Segments
from desktop.widgets.layout import Scroll, col, row, show_if
from desktop.widgets.notes import NoteSlot
from desktop.widgets.panel import Panel
from desktop.widgets.table import Cell, Column, Table
from desktop.widgets.text import Text, small
from engine.contract import units
from engine.contract.errors import FledgeError
from engine.contract.words import tr, trn
from engine.project.artifacts import Artifact


class FilesPanel(Panel):
    """What was read, and what was left out and why. `load(report)`; `load_all(rows, skipped)` when the whole list was read."""

    def __init__(self, theme: Theme) -> None:
        self.table = Table(theme, [
            Column(tr("File"), lambda r: Cell(r["name"], tone="danger" if r.get("reason") else "", tip=r["name"])),
            Column(tr("Kind"), lambda r: kind_words(str(r.get("kind", ""))), width=96, drop=2),
            Column(tr("Note"), _note, least=180),
            Column(tr("Documents"), lambda r: "" if r.get("reason") else units.number(r.get("documents", 0)), width=96, right=True,
                   key=lambda r: r.get("documents", 0)),
            Column(tr("Text"), lambda r: "" if r.get("reason") else units.size(r.get("bytes", 0)), width=88, right=True,
                   key=lambda r: r.get("bytes", 0))], name=tr("Files"), fit=True, max_rows=8)
        self._words, self._count = small(wrap=True), small()
        super().__init__(row(Text(tr("What was read"), "section"), self._count, "+", gap=10), self.table, self._words, pad=(16, 10, 16, 10),
                         gap=8)

    def load(self, report: Report) -> None:
        self.load_all(report, report.sources, report.skipped)

    def load_all(self, report: Report, sources: list[dict[str, Any]], skipped: list[dict[str, Any]]) -> None:
        failed = {s["name"] for s in skipped}
        self.table.set_rows([*skipped, *(s for s in sources if s.get("name") not in failed)])
        self._count.set(trn("{count} file", "{count} files", report.files))
        words = []
        if report.files > len(sources):
            words.append(tr("The {count} largest are listed; all are in the corpus's sources.json.", count=units.number(len(sources))))
        if report.skipped_count:
            words.append(trn("{count} file was left out.", "{count} files were left out.", report.skipped_count))
        if bad := int(report.facts.get("bad_lines", 0) or 0):
            words.append(trn("{count} line could not be read.", "{count} lines could not be read.", bad))
        if replaced := int(report.facts.get("replaced", 0) or 0):
            words.append(trn("{count} letter did not fit its encoding.", "{count} letters did not fit their encoding.", replaced))
        self._words.set(" ".join(words))
        show_if(self._words, bool(words))


class ReadPanel(Panel):
    """Any document of a corpus, one after the other. `load(artifact)`; `rest()` when nobody looks."""

    def __init__(self, theme: Theme) -> None:
        self._inquiry = Inquiry()
        self._artifact: Artifact | None = None
        self._split, self._place, self._total = "train", 0, 0
        self.splits = Segments(theme, [("train", tr("Training")), ("validation", tr("Validation"))], "train",
                               name=tr("Part of the corpus"), on_change=self._split_chosen)
        self._back = Button(theme, "", "icon", icon="left", name=tr("Document before"), on_click=lambda: self._turn(-1))
        self._on = Button(theme, "", "icon", icon="right", name=tr("Next document"), on_click=lambda: self._turn(1))
        self._where, self._source = small(), small("", "text3")
        self.text = Text("", "read", wrap=True, select=True, lead=150)
        self.text.setAlignment(Qt.AlignmentFlag.AlignTop)
        self._notes = NoteSlot(theme)
        super().__init__(row(Text(tr("Read a document"), "section"), self.splits, "+", self._back, self._where, self._on, gap=12),
                         self._source, self._notes, (Scroll(col(self.text, "+", gap=0, pad=(0, 0, 8, 0))), 1), pad=(16, 10, 8, 12), gap=8)
        self._inquiry.setParent(self)
        self.setMinimumHeight(theme.px(240))

    def load(self, made: Artifact) -> None:
        if self._artifact == made:
            return
        self._artifact = made
        self.splits.set_enabled("validation", bool(made.facts.get("splits", {}).get("validation", {}).get("documents")),
                                tr("This corpus keeps nothing for validation."))
        self._split, self._place = "train", 0
        self.splits.set("train")
        self._read()

    def rest(self) -> None:
        self._inquiry.stop()

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
            self.text.set(tr("There is no document here."))
            return
        made = rows[0]
        self._where.set(tr("{place} of {total}", place=units.number(made["number"] + 1), total=units.number(self._total)))
        length = tr("{count} characters", count=units.number(made["length"]))
        cut = made["length"] > len(made["text"])
        self._source.set(f"{made['source']} · {length}" + (f" · {tr('its beginning')}" if cut else ""))
        self.text.set(made["text"].strip("\n"))

    def _cannot(self, wrong: FledgeError) -> None:
        self._notes.show_error(wrong)


def _note(r: dict[str, Any]) -> Cell:
    if r.get("reason"):
        return Cell(tr("left out: {reason}", reason=r["reason"]), tone="text2", tip=str(r["reason"]))
    if r.get("replaced"):
        return Cell(trn("{count} letter did not fit", "{count} letters did not fit", int(r["replaced"])), tone="warn", icon="warn")
    if r.get("bad"):
        return Cell(trn("{count} line left out", "{count} lines left out", int(r["bad"])), tone="warn", icon="warn")
    return Cell(str(r.get("column") and tr("column {name}", name=r["column"]) or str(r.get("encoding") or "").upper()), tone="text2")
