"""The Lineage page wires the graph, the side panel and the dialogs; desktop/models/lineage.py says what they show.

Folders, sizes and hashes are read in threads. The graph follows the project as the rail does: at each change of the survey.
"""

import re
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QFileDialog

from desktop.models.lineage import About, Found, Picture, about, comparable, look, page_of, picture, shares
from desktop.models.run_rows import summary
from desktop.pages.lineage.dialogs import CompareDialog, DeleteDialog, DiskDialog
from desktop.pages.lineage.graph_view import GraphView
from desktop.pages.lineage.side import Side
from desktop.widgets.buttons import Button
from desktop.widgets.empty_state import EmptyState
from desktop.widgets.fields import Tick
from desktop.widgets.flexible import Beside
from desktop.widgets.layout import row, show_if
from desktop.widgets.notes import NoteSlot
from desktop.widgets.page import Page
from desktop.widgets.page_header import PageHeader
from desktop.widgets.panel import Panel
from desktop.widgets.text import small
from engine.contract.errors import FledgeError, Stopped
from engine.contract.units import percent, size
from engine.contract.words import tr, trn
from engine.pipeline import STAGES
from engine.project import layout, recipe
from engine.project.lineage import CHECKPOINT, Deletion, DiskUsage, FileCheck, Standing, delete, describe, disk_usage, plan_deletion, verify
from engine.project.run_state import RunState
from engine.project.runs import Run

if TYPE_CHECKING:
    from desktop.context import AppContext

PROGRESS_MS = 150


class LineagePage(Page):
    """Everything that was made, from what, and what is out of date because of it."""

    def __init__(self, context: "AppContext") -> None:
        super().__init__(context)
        theme = self.theme
        assert context.project is not None
        self.project = context.project
        self.picture: Picture | None = None
        self.usage: DiskUsage | None = None
        self._found: Found | None = None
        self._about: About | None = None
        self._wanted = ""
        self._reading = self._again = self._measuring = False
        self._measured: object = None
        self._checking: _Checking | None = None
        self._dialog: Any = None

        self.notes = NoteSlot(theme)
        self.disk = Button(theme, tr("Disk usage"), on_click=self._show_disk, enabled=False)
        self.recipe = Button(theme, tr("Write recipe"), icon="file", on_click=lambda: self._write_recipe(self.view.current), enabled=False)
        self.view = GraphView(theme)
        self.view.chosen.connect(self._chosen)
        self.view.opened.connect(self._open)
        self.view.delete_wanted.connect(self._plan_deletion)
        self.checkpoints = Tick(theme, tr("Checkpoints"))
        self.checkpoints.changed.connect(self._draw)
        self.fit = Button(theme, tr("Fit"), on_click=self.view.fit_all, tip=tr("Everything in view (0)"))
        hint = small(tr("Scroll to zoom, drag to pan, arrow keys walk along the lines."), wrap=True)
        canvas = Panel((self.view, 1), row((hint, 1), self.checkpoints, self.fit, gap=12, pad=(16, 6, 16, 12)), pad=(1, 1, 1, 1), gap=0)
        canvas.setMinimumHeight(theme.px(320))
        self.side = Side(theme)
        self.side.choose_wanted.connect(self.choose)
        self.side.open_wanted.connect(self._open)
        self.side.chat_wanted.connect(lambda id: self.context.navigate("chat", model=id))
        self.side.compare_wanted.connect(self._compare)
        self.side.recipe_wanted.connect(self._write_recipe)
        self.side.delete_wanted.connect(self._plan_deletion)
        self.side.verify_wanted.connect(self._verify)
        self.side.show_nothing()
        self.full = Beside(theme, canvas, self.side, side_width=264, needed=800, least=300)
        self.empty = EmptyState(theme, tr("Nothing was made yet"),
            tr("Each corpus, tokenizer and model that you make stands here, with what it was made from: what is out of date, and what can "
               "be deleted, is seen at a glance."),
            Button(theme, tr("Start with a corpus"), "primary", on_click=lambda: self.context.navigate("corpus")))
        header = PageHeader(tr("Lineage"), tr("Everything that was made, from what, and what is out of date because of it."), self.disk,
                            self.recipe)
        self.set_body(header, 14, self.notes, (self.full, 1), (self.empty, 1))
        show_if(self.empty, False)
        show_if(self.full, False)
        self._tick = QTimer(self)
        self._tick.setInterval(PROGRESS_MS)
        self._tick.timeout.connect(self._show_progress)
        context.survey_changed.connect(self._survey_changed)
        theme.changed.connect(self._draw_side)

    # coming and going -------------------------------------------------------------------------------------------------

    def opened(self, **args: Any) -> None:
        """`id`: what to choose."""
        self._wanted = str(args.get("id", "")) or self._wanted
        self._read()
        self.view.setFocus()

    def left(self) -> None:
        self._stop_checking()

    def _survey_changed(self) -> None:
        if self.isVisible():
            self._read()

    # reading ----------------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        """Look at the project in a thread; one look at a time, and one more after it if something changed meanwhile."""
        if self._reading:
            self._again = True
            return
        self._reading = True
        runs = self.context.survey.runs if self.context.survey is not None else ()
        standings = {r.id: Standing(r.status, r.share) for r in runs}
        checkpoints, keep = self.checkpoints.value(), self._wanted or self.view.current

        def work() -> tuple[Found, Picture]:
            found = look(self.project, standings)
            return found, picture(found, checkpoints, keep)
        self.context.jobs.run(work, then=self._came, failed=self._not_read, owner=self)

    def _not_read(self, wrong: Exception) -> None:
        self._reading = False
        if isinstance(wrong, FledgeError):
            self.notes.show_error(wrong)
        elif not isinstance(wrong, OSError):  # a folder that changes while we look is looked at again
            raise wrong

    def _came(self, made: tuple[Found, Picture]) -> None:
        self._reading = False
        found, drawn = made
        if self._found is None or found != self._found or self.picture is None:
            self._found = found
            self._show(drawn)
        elif self._wanted:
            self._show(drawn)
        if self._again:
            self._again = False
            self._read()

    def _draw(self) -> None:
        """Checkpoints are shown, or not any more."""
        if self._found is not None:
            self._show(picture(self._found, self.checkpoints.value(), self.view.current))

    def _show(self, drawn: Picture) -> None:
        self.picture = drawn
        graph = drawn.graph
        show_if(self.full, bool(drawn.cards))
        show_if(self.empty, not drawn.cards)
        self.view.show_picture(drawn)
        kept = sum(n.kind == CHECKPOINT for n in graph.nodes.values())
        show_if(self.checkpoints, bool(kept))
        self.checkpoints.setText(trn("{count} checkpoint", "{count} checkpoints", kept))
        self.checkpoints.updateGeometry()
        if self._wanted in drawn.cards:
            self.choose(self._wanted)
            self._wanted = ""
        elif not self.view.current and drawn.cards:
            made = [n.id for n in graph.nodes.values() if n.id in drawn.cards and not n.deleted]
            models = [id for id in made if graph.nodes[id].kind in ("model", "export")]
            self.choose((models or made or list(drawn.cards))[-1])
        self._draw_side()
        self._measure()

    def _measure(self) -> None:
        """Bytes on the disk, when something came or went; sizes of a run under way when it ends."""
        assert self.picture is not None
        key = tuple((n.id, n.deleted, n.busy) for n in self.picture.graph.nodes.values())
        if key == self._measured or self._measuring:
            return
        self._measuring = True

        def done(usage: DiskUsage) -> None:
            self._measuring, self._measured, self.usage = False, key, usage
            self.disk.set_words(tr("Disk usage, {size}", size=size(usage.total)))
            self.disk.setEnabled(True)
            self._draw_side()

        def failed(wrong: Exception) -> None:
            self._measuring = False
            if not isinstance(wrong, OSError):
                raise wrong
        self.context.jobs.run(lambda: disk_usage(self.project), then=done, failed=failed, owner=self)

    # the chosen one ---------------------------------------------------------------------------------------------------

    def choose(self, id: str) -> None:
        """Choose a node; a checkpoint that is not drawn yet is drawn from now on."""
        if self._found is None or id not in self._found.graph.nodes:
            return
        if self.picture is not None and id not in self.picture.cards:
            self.picture = picture(self._found, self.checkpoints.value(), id)
            self.view.show_picture(self.picture)
        self.view.choose(id)
        self._chosen(id)

    def _chosen(self, id: str) -> None:
        if self._checking is not None and self._checking.id != id:
            self._stop_checking()
        self._draw_side()
        if self.picture is not None and (self._about is None or self._about.id != id):
            node = self.picture.graph.nodes[id]
            self.context.jobs.run(lambda: about(self.project, node, _glance), then=self._told, failed=self._not_told, owner=self)

    def _told(self, told: About) -> None:
        if told.id == self.view.current:
            self._about = told
            self._draw_side()

    def _not_told(self, wrong: Exception) -> None:
        if not isinstance(wrong, (FledgeError, OSError)):  # deleted in this moment: the next look shows it
            raise wrong

    def _draw_side(self) -> None:
        if self.picture is None:
            return
        if self.view.current:
            self.side.show_node(self.picture, self.view.current, self._about, self.usage)
        else:
            self.side.show_nothing()
        node = self.picture.graph.nodes.get(self.view.current)
        self.recipe.setEnabled(node is not None and bool(node.run) and not node.deleted and node.kind != "run")

    # acting -----------------------------------------------------------------------------------------------------------

    def _open(self, id: str) -> None:
        assert self.picture is not None
        place, args = page_of(self.picture.graph.nodes[id])
        if place:
            self.context.navigate(place, **args)

    def _show_disk(self) -> None:
        if self.usage is not None and self.picture is not None:
            self._open_dialog(DiskDialog(self.theme, self.usage.total, shares(self.usage, self.picture.graph), self))

    def _compare(self, id: str) -> None:
        assert self.picture is not None
        graph = self.picture.graph
        others = [(n.id, f"{n.title} ({n.id})" if n.title != n.id else n.id) for n in comparable(graph, graph.nodes[id])]
        if others:
            one = describe(self.project, id)
            self._open_dialog(CompareDialog(self.theme, one, others, lambda other: describe(self.project, other), self))

    def _write_recipe(self, id: str) -> None:
        assert self.picture is not None
        title = re.sub(r"[^\w.-]+", "-", self.picture.graph.nodes[id].title).strip("-") or id
        target, _ = QFileDialog.getSaveFileName(self, tr("Write recipe"), str(Path.home() / f"{title}-recipe.toml"), tr("Recipes (*.toml)"))
        if target:
            self.write_recipe(id, Path(target))

    def write_recipe(self, id: str, target: Path) -> None:
        """Write it in a thread (sources are read for their hashes), and say where it is."""
        def done(made: recipe.Recipe) -> None:
            self.notes.clear()
            self.context.toast(trn("Wrote {file}: {count} step", "Wrote {file}: {count} steps", len(made.step), file=target.name))
        self.context.jobs.run(lambda: recipe.write(self.project, id, target, STAGES), then=done, failed=self._refused, owner=self)

    def _refused(self, wrong: Exception) -> None:
        if isinstance(wrong, OSError):
            wrong = FledgeError(tr("{path} cannot be written: {why}.", path=str(wrong.filename), why=wrong.strerror),
                                tr("Choose another folder."))
        if not isinstance(wrong, FledgeError):
            raise wrong
        self.notes.show_error(wrong)

    def _open_dialog(self, dialog: Any) -> None:
        self._dialog = dialog
        dialog.finished.connect(lambda _: setattr(self, "_dialog", None))
        dialog.open()

    # deleting ---------------------------------------------------------------------------------------------------------

    def _plan_deletion(self, id: str) -> None:
        assert self.picture is not None
        node = self.picture.graph.nodes[id]
        if node.deleted or not self.picture.writable:
            return
        self._stop_checking()
        dialog = DeleteDialog(self.theme, node.title, self)

        def plan(with_checkpoints: bool) -> None:
            self.context.jobs.run(lambda: plan_deletion(self.project, id, with_checkpoints=with_checkpoints), then=dialog.show_plan,
                                  failed=refused, owner=dialog)

        def refused(wrong: Exception) -> None:
            dialog.reject()
            self._refused(wrong)
            self._read()

        def gone(freed: int) -> None:
            dialog.accept()
            self._deleted(node.title, node.parents, freed)

        def carry_out(chosen: Deletion) -> None:
            self.context.jobs.run(lambda: delete(self.project, chosen, release=_let_go), then=gone, failed=refused, owner=dialog)
        dialog.wanted.connect(plan)
        dialog.confirmed.connect(carry_out)
        self._open_dialog(dialog)
        plan(False)

    def _deleted(self, title: str, parents: tuple[str, ...], freed: int) -> None:
        """What it was made from is chosen next, if it is still there."""
        self.notes.clear()
        self._measured, self.view.current = None, ""
        self._wanted = next((p for p in reversed(parents) if self.picture is not None and not self.picture.graph.nodes[p].deleted), "")
        self.context.toast(tr("{title} deleted, {size} freed", title=title, size=size(freed)))
        self._read()
        self.context.look()

    # verifying --------------------------------------------------------------------------------------------------------

    def _verify(self, id: str) -> None:
        assert self.picture is not None
        self._stop_checking()
        node, check = self.picture.graph.nodes[id], _Checking(id)
        self._checking = check
        self.side.show_verifying(tr("Reading…"))
        self._tick.start()

        def work() -> list[FileCheck] | None:
            try:
                return verify(node, check.report, check.stop.is_set)
            except Stopped:
                return None

        def done(found: list[FileCheck] | None) -> None:
            if self._checking is check:
                self._checking = None
                self._tick.stop()
                self.side.show_verified(found)
        self.context.jobs.run(work, then=done, failed=self._refused, owner=self)

    def _show_progress(self) -> None:
        if self._checking is not None and self._checking.total:
            self.side.show_verifying(tr("Reading, {share}", share=percent(self._checking.done / self._checking.total)))

    def _stop_checking(self) -> None:
        self._tick.stop()
        if self._checking is not None:
            self._checking.stop.set()
            self._checking = None
            self.side.show_verified(None)


class _Checking:
    """A verification under way: written in its thread, read here."""

    def __init__(self, id: str) -> None:
        self.id, self.done, self.total, self.stop = id, 0, 0, threading.Event()

    def report(self, done: int, total: int) -> None:
        self.done, self.total = done, total


def _glance(run: Run) -> RunState:
    path = layout.events_file(run.dir)
    return summary(path, run.stage) if path.exists() else RunState(stage=run.stage)


def _let_go(id: str) -> None:
    """Tables that this process has mapped are closed before a corpus goes; the browser's own processes ended when its page was left."""
    query = sys.modules.get("engine.text.browse.query")
    if query is not None and id.startswith("corpus-"):
        query.forget()
