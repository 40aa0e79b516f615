"""The wizard's first step: what goes in. The sources with what was found in each, how each is read, how much of each is taken, and the
first documents. It looks into files in a process of its own and never blocks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtWidgets import QWidget

from desktop.context import AppContext
from desktop.jobs.inquiry import Inquiry
from desktop.models.corpus_plan import CorpusPlan
from desktop.models.corpus_report import KINDS, kind_words
from desktop.pages.corpus.mix_view import MixPanel
from desktop.pages.corpus.wizard_parts import Body, choices_of
from desktop.widgets.buttons import Button
from desktop.widgets.fields import Choice
from desktop.widgets.flexible import Beside, scrolled
from desktop.widgets.layout import Scroll, clear, col, fill, row, show_if
from desktop.widgets.notes import NoteSlot
from desktop.widgets.panel import Panel, rule
from desktop.widgets.table import Cell, Column, Table
from desktop.widgets.text import Icon, Text, small
from engine.contract import units
from engine.contract.errors import FledgeError
from engine.contract.words import tr, trn

SETTLE_MS = 250
LISTED, AT_ONCE = 24, 8
"""Sources that get a row of their own; what is beyond is counted."""
FILES = 200
SIDE = 348


class SourceRow(QWidget):
    """One source: its name, what was found in it, its own way of being read behind a button, and the cross."""

    def __init__(self, body: "SourcesBody", place: int, source: str) -> None:
        super().__init__()
        theme, path = body.theme, Path(source)
        self.body, self.place, self.source = body, place, source
        self._icon = Icon(theme, "folder" if path.is_dir() else "file")
        self._facts = small()
        self._problem = small(tone="danger", wrap=True)
        name = path.name or source
        self.options_button = Button(theme, "", "icon", icon="settings", name=tr("How {name} is read", name=name), on_click=self._toggle)
        drop = Button(theme, "", "icon", icon="close", name=tr("Leave out {name}", name=name), on_click=lambda: body.drop(source))
        self._more: QWidget | None = None
        self._place = col(gap=0)
        where = Text(str(path.parent), "small", "text3", elide=True)
        head = row(self._icon, Text(name, "medium"), (where, 1), self._facts, self.options_button, drop, gap=8)
        col(head, row(24, (self._problem, 1), gap=0), self._place, gap=0, host=self)
        self.refresh()

    def refresh(self) -> None:
        plan = self.body.plan
        files, skipped = plan.of_source(self.place), plan.skipped_of(self.place)
        wrong = [f for f in files if f.get("problem")] + skipped
        words: list[str] = []
        if files:
            count, held = plan.size_of(self.place)
            kinds = list(dict.fromkeys(kind_words(str(f["kind"])) for f in files))
            words.append(", ".join(kinds[:2]) + (" …" if len(kinds) > 2 else ""))
            if len(files) > 1 or Path(self.source).is_dir():
                words.append(trn("{count} file", "{count} files", count))
            elif files[0].get("column"):
                words.append(tr("column {name}", name=files[0]["column"]))
            elif files[0].get("encoding"):
                words.append(str(files[0]["encoding"]).upper())
            words.append(units.size(held))
        if wrong and len(files) + len(skipped) > 1:
            words.append(trn("{count} cannot be read", "{count} cannot be read", len(wrong)))
        own = [n for n in ("encoding", "text_column", "split_by") if plan.option(self.source, n)]
        if own:
            words.append(tr("read its own way"))
        self._facts.set(" · ".join(words))
        problem = ""
        if plan.found is not None and not files and not skipped and not plan.found.get("unread"):
            problem = tr("Nothing in it can be read.")
        elif len(wrong) == 1 and len(files) + len(skipped) == 1:
            problem = str(wrong[0].get("problem") or wrong[0].get("reason", ""))
        self._problem.set(problem)
        show_if(self._problem.parentWidget(), bool(problem))

    def _toggle(self) -> None:
        if self._more is not None:
            clear(self._place.layout())
            self._more = None
            return
        theme, plan, source = self.body.theme, self.body.plan, self.source
        columns = [str(c) for c in dict.fromkeys(c for f in plan.of_source(self.place) for c in f.get("columns") or ())]
        offered = {"encoding": choices_of("encoding"), "text_column": [(c, c) for c in columns], "split_by": choices_of("split_by")}
        fields: list[Any] = []
        for name, label in (("encoding", tr("Encoding")), ("text_column", tr("Text column")), ("split_by", tr("One document is"))):
            if name == "text_column" and not columns and plan.option(source, name) is None:
                continue
            field = Choice(theme, [(None, tr("as for all")), *offered[name]], plan.option(source, name), name=label)
            field.changed.connect(lambda name=name, field=field: self.body.set_option(source, name, field.value()))
            fields.append((col(small(label), field, gap=2), 1))
        self._more = row(*fields, gap=12, pad=(24, 4, 0, 8))
        self._place.layout().addWidget(self._more)
        self._more.findChild(Choice).setFocus()


class SourcesBody(Body):
    """`found_changed` when a look into the files is over or began."""

    found_changed = Signal()

    def __init__(self, context: AppContext, plan: CorpusPlan, add_files: Callable[[], None], add_folder: Callable[[], None]) -> None:
        super().__init__(context, plan)
        theme = self.theme
        self._inquiry = Inquiry(self)
        self._settle = QTimer(self)
        self._settle.setSingleShot(True)
        self._settle.setInterval(SETTLE_MS)
        self._settle.timeout.connect(self.look)
        self._asked: Any = None
        self._notes = NoteSlot(theme)
        self._rows: list[SourceRow] = []
        self._list = col(gap=2)
        self._list_more = small(tone="text3")
        self._table = Table(theme, [
            Column(tr("File"), lambda r: Cell(r["name"], tone="danger" if r["problem"] else "", tip=r["name"])),
            Column(tr("Kind"), lambda r: kind_words(r["kind"]), width=108, drop=1),
            Column(tr("Read as"), _read_as, least=132),
            Column(tr("Documents"), _documents, width=92, right=True, key=lambda r: r["documents"]),
            Column(tr("Size"), lambda r: units.size(r["size"]) if r["size"] else "", width=84, right=True, key=lambda r: r["size"])],
            name=tr("Files found"), fit=True, max_rows=6)
        self._found_words = small(wrap=True)
        self._texts = col(gap=8)
        buttons = (Button(theme, tr("Add files"), "quiet", icon="plus", on_click=add_files),
                   Button(theme, tr("Add a folder"), "quiet", icon="folder", on_click=add_folder))
        self._count = small()
        sources = Panel(row(Text(tr("Sources"), "section"), self._count, "+", *buttons, gap=12), self._notes, self._list, self._list_more,
                        pad=(16, 10, 12, 10), gap=6)
        self._files_panel = Panel(row(Text(tr("What was found"), "section"), (self._found_words, 1), gap=10), self._table,
                                  pad=(16, 10, 16, 8), gap=4)
        self.mix = MixPanel(theme, plan)
        self.mix.edited.connect(self._mixed)
        self._settings = col(gap=0)
        first = Panel(row(Text(tr("First documents"), "section"), "+", small(tr("as they are"), "text3")),
                      (Scroll(self._texts, horizontal=False), 1), pad=(16, 10, 8, 12), gap=8)
        main = scrolled(sources, self._files_panel, self.mix, self._settings)
        row((Beside(theme, main, first, side_width=SIDE, least=340), 1), gap=0, host=self)
        self._show_texts([])
        QTimer.singleShot(0, self, self._build_rest)  # what lies below the first screen: all at once would hold the window

    def _build_rest(self) -> None:
        form = self.form("title", "text_column", "encoding", "split_by", "max_document_bytes", bare=False,
                         title=tr("Settings for all sources"))
        self._settings.layout().addWidget(Panel(form, pad=(16, 10, 16, 12)))
        form.load(self.plan.values)

    # what the person does ---------------------------------------------------------------------------------------------

    def drop(self, source: str) -> None:
        self.plan.drop(source)
        self.sources_changed()
        self.edited.emit()

    def set_option(self, source: str, name: str, value: Any) -> None:
        self.plan.set_option(source, name, value)
        self._settle.start()
        self.edited.emit()

    def _mixed(self) -> None:
        self.edited.emit()

    def sources_changed(self) -> None:
        """Others were added or left out: the rows are made anew and the files looked at."""
        clear(self._list.layout())
        self._rows = []
        self._more_rows()
        rest = len(self.plan.sources) - LISTED if len(self.plan.sources) > LISTED else 0
        self._list_more.set(trn("and {count} more", "and {count} more", rest) if rest else "")
        show_if(self._list_more, bool(rest))
        self._count.set(units.number(len(self.plan.sources)) if len(self.plan.sources) > 1 else "")
        self.mix.load()
        self._settle.start()

    def _more_rows(self) -> None:
        """Some rows, and the next ones when the window has had its turn."""
        shown = self.plan.sources[:LISTED]
        for place in range(len(self._rows), min(len(shown), len(self._rows) + AT_ONCE)):
            self._rows.append(SourceRow(self, place, shown[place]))
            self._list.layout().addWidget(self._rows[-1])
        if len(self._rows) < len(shown):
            QTimer.singleShot(0, self, self._more_rows)

    # showing ----------------------------------------------------------------------------------------------------------

    def load(self) -> None:
        super().load()
        self._asked = None  # what is loaded was not looked at, whatever was asked before
        self.sources_changed()

    def refresh(self) -> None:
        self._settle.start()

    def rest(self) -> None:
        """Nobody looks."""
        self._settle.stop()
        if self._inquiry.busy:
            self._inquiry.stop()
            self._asked = None

    # looking ----------------------------------------------------------------------------------------------------------

    def question(self) -> dict[str, Any]:
        """What is asked about the files; the same question needs no second look."""
        values = self.plan.values
        options = {k: values[k] for k in ("encoding", "text_column", "split_by", "max_document_bytes") if values[k] is not None}
        own = {s: {k: v for k, v in values["source_options"].get(s, {}).items() if k in options and v is not None}
               for s in values["sources"]}
        return {"sources": self.plan.sources, "options": options, "source_options": {s: o for s, o in own.items() if o}}

    def look(self) -> None:
        asked = self.question()
        if asked == self._asked:
            return
        self._asked, self.plan.found = asked, None
        self._notes.clear()
        if not self.plan.sources:
            self._inquiry.stop()
            self._show_found({"files": [], "skipped": [], "unread": 0, "size": 0, "documents": 0, "tokens": 0, "texts": []})
            self.plan.found = None
            return
        self._found_words.set(tr("Looking into the files …"))
        show_if(self._files_panel, True)
        self._inquiry.ask("engine.text.probe", "preview", asked, self._found, self._cannot_look)
        self.found_changed.emit()

    def _cannot_look(self, wrong: FledgeError) -> None:
        self._found_words.set("")
        self._notes.show_error(wrong)
        self._table.set_rows([])
        self.found_changed.emit()

    def _found(self, found: dict[str, Any]) -> None:
        self.plan.found = found
        self._show_found(found)

    def _show_found(self, found: dict[str, Any]) -> None:
        skipped = [{"name": s["name"], "kind": tr("left out"), "problem": s["reason"], "documents": 0, "size": 0, "exact": True,
                    "encoding": "", "column": "", "bad": 0, "replaced": 0} for s in found["skipped"]]
        self._table.set_rows([*found["files"], *skipped][:FILES])
        show_if(self._files_panel, bool(found["files"] or skipped))
        words = []
        if found["unread"]:
            words.append(trn("{count} more file is counted but not looked into.", "{count} more files are counted but not looked into.",
                             found["unread"]))
        if len(found["files"]) + len(skipped) > FILES:
            words.append(tr("The first {count} are listed.", count=units.number(FILES)))
        bad = sum(f.get("bad", 0) for f in found["files"])
        if bad:
            words.append(trn("{count} line cannot be read and will be left out.", "{count} lines cannot be read and will be left out.",
                             bad))
        self._found_words.set(" ".join(words))
        for each in self._rows:
            each.refresh()
        self._show_texts(found["texts"])
        self.mix.refresh()
        self.found_changed.emit()

    def _show_texts(self, texts: list[Any]) -> None:
        box = self._texts.layout()
        clear(box)
        parts: list[Any] = []
        for i, (name, text) in enumerate(texts):
            shown = Text(text.strip(), "body", wrap=True, select=True, lead=140)
            shown.setAlignment(Qt.AlignmentFlag.AlignTop)
            parts += [*([4, rule(), 4] if i else []), Text(name, "small", "text3", elide=True), shown]
        if not parts:
            parts = [small(tr("The beginnings of the documents stand here once there is something to read."), "text3", wrap=True)]
        fill(box, (*parts, "+"), 6, (0, 0, 8, 0))


def _documents(r: dict[str, Any]) -> str:
    return "" if r["problem"] else ("" if r["exact"] else "≈ ") + units.number(r["documents"])


def _read_as(r: dict[str, Any]) -> Cell:
    if r["problem"]:
        return Cell(r["problem"], tone="danger" if r["kind"] in KINDS else "text2", tip=f"{r['problem']} {r.get('remedy', '')}".strip())
    words = tr("column {name}", name=r["column"]) if r["column"] else r["encoding"].upper() if r["encoding"] else ""
    if r.get("replaced"):
        return Cell(words, tone="warn", icon="warn", tip=trn("{count} letter did not fit", "{count} letters did not fit", r["replaced"]))
    return Cell(words, tone="text2")
