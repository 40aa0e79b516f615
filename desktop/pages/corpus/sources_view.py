"""What would be imported: the files found, their first texts, and the settings of the import. Looks into files in a process of its own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtWidgets import QWidget

from desktop.context import AppContext
from desktop.jobs.inquiry import Inquiry
from desktop.widgets.buttons import Button
from desktop.widgets.columns import Columns
from desktop.widgets.layout import Scroll, clear, col, fill, row, show_if
from desktop.widgets.notes import NoteSlot
from desktop.widgets.panel import Panel, rule
from desktop.widgets.spec_form import SpecForm
from desktop.widgets.table import Cell, Column, Table
from desktop.widgets.text import Text, small
from engine.contract import units
from engine.contract.errors import FledgeError
from engine.contract.words import tr, trn
from engine.stages.corpus.spec import CorpusSpec

SETTLE_MS = 250
LISTED = 4
KINDS = {"text": tr("text"), "jsonl": "JSON Lines", "csv": "CSV", "tsv": "TSV", "parquet": "Parquet"}


class SourcesView(QWidget):
    """`sources` are paths; `changed` when they or what was found in them changes; `ready` when there is something to import."""

    changed = Signal()

    def __init__(self, context: AppContext, add_files: Callable[[], None], add_folder: Callable[[], None]) -> None:
        super().__init__()
        theme = self.theme = context.theme
        self.context = context
        self.sources: list[str] = []
        self.found: dict[str, Any] | None = None
        self._inquiry = Inquiry(self)
        self._settle = QTimer(self)
        self._settle.setSingleShot(True)
        self._settle.setInterval(SETTLE_MS)
        self._settle.timeout.connect(self._look)
        self._notes = NoteSlot(theme)
        self._list = col(gap=4)
        self._table = Table(theme, [
            Column(tr("File"), lambda r: Cell(r["name"], tone="" if not r["problem"] else "danger")),
            Column(tr("Kind"), lambda r: KINDS.get(r["kind"], r["kind"]), width=104, drop=1),
            Column(tr("Read as"), _read_as, least=150),
            Column(tr("Documents"), lambda r: "" if r["problem"] else ("" if r["exact"] else "≈ ") + units.number(r["documents"]), width=96,
                   right=True, key=lambda r: r["documents"]),
            Column(tr("Size"), lambda r: units.size(r["size"]) if r["size"] else "", width=88, right=True, key=lambda r: r["size"])],
            name=tr("Files found"), fit=True, max_rows=5)
        self._found_words = small()
        self._texts = col(gap=8)
        texts = Scroll(self._texts)
        self._add_files = Button(theme, tr("Add files"), "quiet", icon="plus", on_click=add_files)
        self._add_folder = Button(theme, tr("Add a folder"), "quiet", icon="folder", on_click=add_folder)
        self._list_scroll = Scroll(self._list)
        files = Panel(row(Text(tr("Sources"), "section"), "+", self._add_files, 8, self._add_folder, gap=8), self._list_scroll, self._notes,
                      self._table, self._found_words, pad=(16, 10, 16, 12), gap=8)
        first = Panel(Text(tr("First documents"), "section"), (texts, 1), pad=(16, 10, 8, 12), gap=8)
        first.setMinimumHeight(theme.px(200))
        self.form = SpecForm(theme, CorpusSpec, exclude=("sources", "seed"), title=tr("Settings"))
        self.form.changed.connect(self._settings_changed)
        side = col(Panel(self.form, pad=(16, 10, 16, 12)), "+", gap=0)
        first.setMinimumHeight(theme.px(160))
        col(files, (Columns(theme, first, side, side_width=520, gap=12, room=270), 1), gap=12, host=self)
        self.restore()

    @property
    def ready(self) -> bool:
        """Whether there is something to import."""
        return bool(self.found and any(not f["problem"] for f in self.found["files"]))

    def add(self, names: list[str]) -> None:
        new = [str(Path(n)) for n in names if str(Path(n)) not in self.sources]
        self.sources += new
        self._changed()

    def forget(self) -> None:
        self.sources = []
        self.form.load({})
        self._changed()

    def restore(self) -> None:
        """The sources as they were left in this project, so that a crash forgets none."""
        kept = self.context.settings.get(self._key(), {}) if self.context.project else {}
        self.sources = [str(s) for s in kept.get("sources", [])]
        self.form.load(kept.get("settings", {}))
        self._changed(keep=False)

    def rest(self) -> None:
        """Nobody looks."""
        self._settle.stop()
        self._inquiry.stop()

    def spec(self) -> CorpusSpec | None:
        """The settings, or None after a problem was shown beside its field."""
        values = {**self.form.values(), "sources": tuple(self.sources)}
        problems = CorpusSpec.field_problems(values)
        if problems:
            rest = self.form.show_problems(problems)
            if rest:
                self._notes.show_error(FledgeError(rest[0].sentence, rest[0].remedy))
            return None
        return CorpusSpec.check(values)

    def fact(self) -> tuple[str, str]:
        """For the flow strip."""
        if not self.sources:
            return tr("Nothing yet"), tr("add files or folders")
        if self.found is None:
            return trn("{count} source", "{count} sources", len(self.sources)), tr("looking at it")
        return (trn("{count} file", "{count} files", len(self.found["files"]) + self.found["unread"]),
                tr("{size}, about {tokens} tokens", size=units.size(self.found["size"]), tokens=units.count(self.found["tokens"])))

    def validation_words(self) -> str:
        return tr("{share} kept for validation", share=units.percent(float(self.form.values().get("validation_percent") or 0) / 100))

    def _changed_settings(self) -> dict[str, Any]:
        values = self.form.values()
        return {name: values[name] for name in self.form.changed_names()}

    # looking ----------------------------------------------------------------------------------------------------------

    def _key(self) -> str:
        return f"corpus_draft:{self.context.project.dir if self.context.project else ''}"

    def _changed(self, keep: bool = True) -> None:
        if keep and self.context.project:
            self.context.remember(self._key(), {"sources": self.sources, "settings": self._changed_settings()})
        box = self._list.layout()
        clear(box)
        fill(box, tuple(self._source_row(s) for s in self.sources), 2)
        self._list_scroll.setFixedHeight(min(LISTED, len(self.sources)) * self.theme.px(34))
        show_if(self._list_scroll, bool(self.sources))
        self._settle.start()
        self.changed.emit()

    def _settings_changed(self) -> None:
        if self.context.project:
            self.context.remember(self._key(), {"sources": self.sources, "settings": self._changed_settings()})
        self._settle.start()
        self.changed.emit()

    def _source_row(self, source: str) -> QWidget:
        path = Path(source)
        drop = Button(self.theme, "", "icon", icon="close", name=tr("Leave out {name}", name=path.name),
                      on_click=lambda: self._drop(source))
        return row(Text(path.name, "medium"), (Text(str(path.parent), "small", "text3", elide=True), 1), drop, gap=8)

    def _drop(self, source: str) -> None:
        self.sources.remove(source)
        self._changed()

    def _look(self) -> None:
        self.found = None
        self._notes.clear()
        if not self.sources:
            self._inquiry.stop()
            self._show_found({"files": [], "skipped": [], "unread": 0, "size": 0, "documents": 0, "tokens": 0, "texts": []})
            self.found = None
            return
        values = self.form.values()
        wanted = ("encoding", "text_column", "split_by", "max_document_bytes")
        options = {k: values[k] for k in wanted if values.get(k) is not None}
        self._found_words.set(tr("Looking into the files …"))
        self.changed.emit()
        given = {"sources": self.sources, "options": options}
        self._inquiry.ask("engine.text.probe", "preview", given, self._show_found, self._cannot_look)

    def _cannot_look(self, wrong: FledgeError) -> None:
        self._found_words.set("")
        self._notes.show_error(wrong)
        self._table.set_rows([])
        self.changed.emit()

    def _show_found(self, found: dict[str, Any]) -> None:
        self.found = found
        skipped = [{"name": s["name"], "kind": tr("left out"), "problem": s["reason"], "documents": 0, "size": 0, "exact": True,
                    "encoding": "", "column": "", "bad": 0, "replaced": 0} for s in found["skipped"]]
        self._table.set_rows([*found["files"], *skipped])
        show_if(self._table, bool(found["files"] or skipped))
        words = []
        if found["unread"]:
            words.append(trn("{count} more file is counted but not looked into.", "{count} more files are counted but not looked into.",
                             found["unread"]))
        bad = sum(f["bad"] for f in found["files"])
        if bad:
            words.append(trn("{count} line cannot be read and will be left out.", "{count} lines cannot be read and will be left out.",
                             bad))
        self._found_words.set(" ".join(words))
        show_if(self._found_words, bool(words))
        box = self._texts.layout()
        clear(box)
        parts: list[Any] = []
        for i, (name, text) in enumerate(found["texts"]):
            shown = Text(text.strip(), "body", wrap=True, select=True)
            shown.setAlignment(Qt.AlignmentFlag.AlignTop)
            parts += [*([rule()] if i else []), small(name, "text3"), shown]
        if not parts:
            parts = [small(tr("The beginnings of the documents stand here once there is something to read."), "text3")]
        fill(box, (*parts, "+"), 6, (0, 0, 8, 0))
        self.changed.emit()


def _read_as(row_: dict[str, Any]) -> Cell:
    if row_["problem"]:
        return Cell(row_["problem"], tone="danger" if row_["kind"] in KINDS else "text2")
    words = row_["encoding"].upper() if row_["encoding"] else ""
    if row_["column"]:
        words = tr("column {name}", name=row_["column"])
    return Cell(words, tone="warn" if row_["replaced"] else "text2", icon="warn" if row_["replaced"] else "")
