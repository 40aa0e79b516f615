"""A file of rows before it is imported: how its columns are read, its first rows, rows that would be refused; then the import itself, by a
process of the engine. What a row is, and how one looks, is handed in."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from desktop.jobs.exporting import Exporting
from desktop.models.rows_import import RowsImportPlan
from desktop.widgets.bar import Bar
from desktop.widgets.buttons import Button
from desktop.widgets.fields import Choice, TextField, set_wrong
from desktop.widgets.flexible import Beside, scrolled
from desktop.widgets.layout import Item, clear, col, fill, row, show_if
from desktop.widgets.notes import Note, NoteSlot
from desktop.widgets.panel import Panel, heading, table_panel
from desktop.widgets.table import Cell, Column, Table
from desktop.widgets.text import Text, small
from engine.contract.errors import FledgeError
from engine.contract.units import number, percent, size
from engine.contract.words import tr, trn

if TYPE_CHECKING:
    from desktop.context import AppContext
    from engine.text.row_files.kind import Look

FILTER = "*.jsonl *.json *.csv *.tsv *.parquet *.arrow *.gz *.zst"
SIDE = 332
NONE = ""


class RowsImport(QWidget):
    """`look(files)`; `imported(set_id)` when the last file is in, `cancelled` when the person leaves. `answers()` are for the flow
    strip.

    `module` is the engine's process that imports; `look(file, mapping)` looks into a file, beside the window; `kinds()` are the kinds of
    file with their words; `card(row)` shows a row. `becomes` and `makes` are said in the flow strip: rows become that, and it makes this.
    """

    imported = Signal(str)
    cancelled = Signal()
    choose_wanted = Signal()
    changed = Signal()
    """What the flow strip says is new."""

    def __init__(self, context: "AppContext", plan: RowsImportPlan, module: str, look: "Callable[[Path, Any], Look]",
                 kinds: Callable[[], Mapping[Any, str]], card: Callable[[Any], QWidget], becomes: str, makes: str) -> None:
        super().__init__()
        self.context, self.theme, self.plan = context, context.theme, plan
        self._module, self._look_into, self._kinds, self._card = module, look, kinds, card
        self._becomes, self._makes = becomes, makes
        theme = self.theme
        self._asked = 0
        self._loading = False
        self._exporting = Exporting(self)
        self._exporting.progressed.connect(self._progress)
        self._exporting.done.connect(self._done)
        self._exporting.failed.connect(self._failed)
        self._exporting.cancelled.connect(self._stopped)
        self.cancel = Button(theme, tr("Cancel"), on_click=self._cancel)
        self.bring = Button(theme, tr("Import"), "primary", icon="in", on_click=self.start)
        self.header_actions: tuple[Item, ...] = ()
        self.notes = NoteSlot(theme)
        self._bar, self._bar_words = Bar(theme, name=tr("Imported")), small()
        self._stop = Button(theme, tr("Stop"), "danger", icon="stop", on_click=self._exporting.cancel)
        self._running = Panel(row(Text(tr("Importing"), "section"), "+", self._stop), self._bar, self._bar_words, pad=(16, 12, 16, 14),
                              gap=8)
        self._looking = small(tr("Looking into the file…"))
        self._rows = col(gap=12)
        self._facts = small(elide=True)
        self._head = row(Text(tr("The first rows"), "section"), self._looking, (self._facts, 1), gap=10, pad=(0, 0, 8, 0))
        main = col(self.notes, self._running, self._head, (scrolled(self._rows), 1), gap=10)
        self.title = TextField(name=tr("Name of the set"))
        self.title.changed.connect(self._titled)
        self.kind = Choice(theme, [], name=tr("Kind of file"))
        self.kind.changed.connect(self._kind_chosen)
        self.columns: dict[str, Choice] = {}
        self._column_rows: dict[str, QWidget] = {}
        for part in plan.every_part:
            title, about = plan.part_words(part)
            choice = Choice(theme, [], name=title)
            choice.setAccessibleDescription(about)
            choice.changed.connect(lambda part=part: self._column_chosen(part))
            self.columns[part] = choice
            self._column_rows[part] = col(row(Text(title, "medium"), (small(about, "text3", elide=True), 1), gap=8), choice, gap=4)
        form = Panel(heading(tr("How it is read")), col(Text(tr("Name of the set"), "medium"), self.title, gap=4),
                     col(Text(tr("Kind of file"), "medium"), self.kind, gap=4), *self._column_rows.values(), *self._more(),
                     pad=(16, 10, 16, 14), gap=10)
        self._bad = Table(theme, [Column(tr("Row"), lambda p: number(p.line), 64, right=True),
                                  Column(tr("Why it is left out"), lambda p: Cell(p.reason,
                                                                                  tip=p.reason))], name=tr("Rows that are left out"),
                          fit=True, max_rows=6)
        self._bad_note = small()
        self._bad_panel = table_panel(heading(tr("Left out"), "", self._bad_note), self._bad)
        side = self._side = scrolled(form, self._bad_panel)
        side.setMinimumWidth(theme.px(SIDE))
        col((Beside(theme, main, side, side_width=SIDE + 10), 1), gap=0, host=self)
        show_if(self._running, False)
        show_if(self._bad_panel, False)

    # looking ----------------------------------------------------------------------------------------------------------

    def look(self, names: list[str]) -> None:
        """Files to be imported, one after the other."""
        theme = self.theme
        self.cancel = Button(theme, tr("Cancel"), on_click=self._cancel)
        self.bring = Button(theme, tr("Import"), "primary", icon="in", on_click=self.start)
        self.header_actions = (self.cancel, self.bring)
        self._begin(names)

    def _begin(self, names: list[str]) -> None:
        self.plan.begin(names)
        self.notes.clear()
        clear(self._rows.layout())
        self.title.set(self.plan.title)
        self._look()

    def _look(self) -> None:
        self._asked += 1
        asked, file, mapping = self._asked, Path(self.plan.file), self.plan.mapping
        self.plan.looking = True
        self.refresh()

        def work() -> Any:
            return self._look_into(file, mapping)

        def then(found: Any) -> None:
            if asked == self._asked:
                self.plan.looking = False
                self.plan.take(found)
                self._show_found()

        def failed(wrong: Exception) -> None:
            if not isinstance(wrong, FledgeError):
                raise wrong
            if asked == self._asked:
                self.plan.looking, self.plan.look = False, None
                clear(self._rows.layout())
                again = Button(self.theme, tr("Choose another file"), on_click=self.choose_wanted.emit)
                self.notes.show_error(wrong, again)
                self.refresh()
        self.context.jobs.run(work, then=then, failed=failed, owner=self)

    def _show_found(self) -> None:
        plan, look, mapping = self.plan, self.plan.look, self.plan.mapping
        assert look is not None and mapping is not None
        self._loading = True
        self.kind.set_choices([(k, words) for k, words in self._kinds().items()])
        self.kind.set(mapping.kind)
        choices = [(NONE, tr("none"))] + [(c, c) for c in look.columns]
        for part, choice in self.columns.items():
            choice.set_choices(choices)
            choice.set(getattr(mapping, part))
            show_if(self._column_rows[part], part in plan.parts)
        self._show_more()
        self._loading = False
        clear(self._rows.layout())
        fill(self._rows.layout(), tuple(self._card(p) for p in look.preview), 12)  # type: ignore[arg-type]
        share = look.bad / look.seen if look.seen else 0.0
        rows = trn("{shown} row", "{shown} rows", look.rows, shown=number(look.rows)) if look.exact else \
            trn("about {shown} row", "about {shown} rows", look.rows, shown=number(look.rows))
        parts = [tr("of {rows}, {size}", rows=rows, size=size(look.size))]
        if look.bad:
            parts.append(tr("{count} of {seen} looked at would be left out, {share}", count=number(look.bad), seen=number(look.seen),
                            share=percent(share)))
        self._facts.set("; ".join(parts))
        self._bad.set_rows(look.problems)
        self._bad_note.set(trn("{shown} of those looked at", "{shown} of those looked at", look.bad, shown=number(look.bad)))
        show_if(self._bad_panel, bool(look.problems))
        wrong = [p for p in plan.problems() if p.sentence]
        for part in plan.marked:
            set_wrong(self.columns[part], bool(wrong) and wrong[0].field == "prompt" and not getattr(mapping, part))
        if wrong:
            self.notes.show_error(FledgeError(wrong[0].sentence, wrong[0].remedy))
        elif look.problem:
            self.notes.show_note(Note(self.theme, "warn", look.problem, look.remedy))
        elif share > 0.2:
            self.notes.show_note(Note(self.theme, "warn", tr("Many rows would be left out"),
                                      tr("Their reasons stand at the side. Other columns "
                                      "may fit better.")))
        else:
            self.notes.clear()
        self.refresh()

    def _more(self) -> tuple[Item, ...]:
        """Fields below those of the columns."""
        return ()

    def _show_more(self) -> None:
        """Put what was found into them."""

    def refresh(self) -> None:
        plan, running = self.plan, self._exporting.running
        show_if(self._looking, plan.looking)
        show_if(self._side, plan.look is not None)
        show_if(self._head, plan.looking or bool(plan.look is not None and plan.look.preview))
        show_if(self._running, running)
        if running and (self.bring.hasFocus() or self.cancel.hasFocus()):
            self._stop.setFocus()  # before they are disabled: the keyboard would go to the rail
        held = self._stop.hasFocus() and not running
        if self.header_actions:
            self.bring.setEnabled(not plan.looking and not running and not plan.problems() and bool(self.title.value().strip()))
            self.cancel.setEnabled(not running)
            rest = len(plan.files)
            self.bring.set_words(trn("Import, then {count} more", "Import, then {count} more", rest) if rest else tr("Import"))
            if held:
                (self.bring if self.bring.isEnabled() else self.cancel).setFocus()
        self.changed.emit()

    def answers(self) -> tuple[tuple[str, str], tuple[str, str], tuple[str, str], str]:
        """For the flow strip."""
        file = Path(self.plan.file)
        return ((file.name, str(file.parent)), (self._becomes, tr("nothing is changed in the file")),
                (tr("Nothing yet"), self._makes), "is" if self._exporting.running else "will")

    # acting -----------------------------------------------------------------------------------------------------------

    def _titled(self) -> None:
        self.plan.title = self.title.value().strip()
        self.refresh()

    def _kind_chosen(self) -> None:
        if not self._loading and self.plan.mapping is not None:
            self.plan.set_kind(str(self.kind.value()))
            for part, line in self._column_rows.items():
                show_if(line, part in self.plan.parts)
            self._look()

    def _column_chosen(self, part: str) -> None:
        if not self._loading and self.plan.mapping is not None:
            self.plan.set_column(part, str(self.columns[part].value() or ""))
            self._look()

    def start(self) -> None:
        """Import by what is chosen."""
        project = self.context.project
        if project is None or self.plan.problems() or self._exporting.running:
            return
        self.notes.clear()
        self._bar.set(0)
        self._bar_words.set(tr("Reading…"))
        self._exporting.start(self._module, str(project.dir), "import", self.plan.file, self.title.value().strip(),
                              json.dumps(self.plan.plain))
        self.refresh()

    def _progress(self, done: int, total: int) -> None:
        self._bar.set(done / total if total else 0)
        self._bar_words.set(tr("{done} of about {total} rows", done=number(done), total=number(total)))

    def _done(self, result: dict[str, Any]) -> None:
        rows, refused, same = (int(result.get(k) or 0) for k in ("rows", "refused", "same"))
        words = trn("{shown} row imported", "{shown} rows imported", rows, shown=number(rows))
        if refused:
            words += ", " + trn("{shown} left out", "{shown} left out", refused, shown=number(refused))
        if same:
            words += ", " + trn("{shown} was there twice", "{shown} were there twice", same, shown=number(same))
        self.context.toast(words)
        self.refresh()
        if self.plan.files:
            self._begin(self.plan.files)
        else:
            self.imported.emit(str(result.get("set", "")))

    def _stopped(self) -> None:
        self.notes.show_note(Note(self.theme, "info", tr("The import was stopped"), tr("Nothing of it was kept.")))
        self.refresh()

    def _failed(self, wrong: FledgeError) -> None:
        self.notes.show_error(wrong, title=tr("Nothing was imported"))
        self.refresh()

    def _cancel(self) -> None:
        self._leave()
        self.cancelled.emit()

    def _leave(self) -> None:
        """What is still being looked into is not waited for."""
        self._asked += 1

    def rest(self) -> None:
        """Nobody looks; the buttons went with the header."""
        self._leave()
        self.header_actions = ()
