"""Home: what runs now, recent projects, this machine and what it can raise. The first start says what Fledge does and where to begin."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QWidget

from desktop.context import AppContext
from desktop.models import project_glance
from desktop.models.project_glance import ProjectGlance
from desktop.widgets.badge import Badge
from desktop.widgets.bar import Bar, Sparkline
from desktop.widgets.buttons import Button
from desktop.widgets.choice_card import ChoiceCard, side_by_side
from desktop.widgets.columns import Columns
from desktop.widgets.fields import SearchField
from desktop.widgets.layout import col, fixed, row, show_if
from desktop.widgets.machine_panel import MachineParts
from desktop.widgets.notes import Note, NoteSlot
from desktop.widgets.page import Page
from desktop.widgets.page_header import PageHeader
from desktop.widgets.panel import Panel, heading
from desktop.widgets.table import Cell, Column, Table, status_words
from desktop.widgets.text import Icon, Text, small
from engine.contract.errors import FledgeError
from engine.contract.units import count, duration, number, size
from engine.contract.words import tr
from engine.pipeline import STAGES
from engine.project import layout, recent
from engine.project.run_measures import now_words, of_stage

if TYPE_CHECKING:  # loaded when first needed: the first paint waits for none of them
    import numpy.typing as npt

    from desktop.jobs.run_follow import RunFollower
    from desktop.models.raisable import Raisable
    from desktop.models.survey import RunGlance

FIND_FROM = 6


class HomePage(Page):
    def __init__(self, context: AppContext) -> None:
        super().__init__(context)
        theme = self.theme
        self._entries: list[recent.Recent] = []
        self._glances: dict[str, ProjectGlance] = {}
        self._reading = False
        self._notes = NoteSlot(theme)
        self._running = RunningCard(context)
        header = PageHeader(tr("Home"), tr("Raise a language model on this machine. Nothing leaves it."),
                            Button(theme, tr("Open folder"), on_click=self._open_folder),
                            Button(theme, tr("New project"), "primary", icon="plus", on_click=self._new_project))

        self._find = SearchField(tr("Find a project"))
        self._find.changed.connect(self._show_projects)
        self._table = Table(theme, self._columns(), name=tr("Recent projects"), two_lines=True, fit=True, max_rows=8)
        self._table.opened.connect(self._open)
        self._table.setToolTip(tr("Enter or a double click opens a project"))
        self._recent = col(row(Text(tr("Recent projects"), "section"), "+", fixed(self._find, theme.px(200))), 4,
                           Panel(self._table, pad=(8, 8, 8, 2)), gap=4)
        self._first = self._first_start()
        self._tour = Panel(row(Icon(theme, "play", "accent"),
                               (col(Text(tr("Guided tour"), "strong"),
                                    small(tr("From random weights to a model that answers, in 5 to 10 minutes."), wrap=True), gap=1), 1),
                               Button(theme, tr("Start tour"), on_click=self._start_tour), gap=14), pad=(16, 12, 16, 12))

        self._open_model = Panel(row(Icon(theme, "in", "accent"),
                                     (col(Text(tr("Start from an open model"), "strong"),
                                          small(tr("Llama, Mistral, Qwen, SmolLM or GPT-2 from this disk, instead of random weights."),
                                                wrap=True), gap=1), 1),
                                     Button(theme, tr("Import a model"), on_click=self._import_model), gap=14), pad=(16, 12, 16, 12))

        self._measure = Button(theme, tr("Measure"), "quiet", on_click=self._ask_measure)
        self._parts = MachineParts(theme)
        machine = Panel(heading(tr("This machine"), "", self._measure), self._parts, pad=(16, 8, 16, 16), gap=14)
        fits = [Column(tr("From random weights"), lambda r: r.what), Column(tr("Time"), lambda r: r.time, 100, right=True)]
        self._fits = Table(theme, fits, name=tr("What this machine can raise"), row_height=36, fit=True, selectable=False)
        self._fits_note = small(wrap=True)
        self._fits_measure = Button(theme, tr("Measure"), on_click=self._ask_measure)
        raise_panel = Panel(Text(tr("What this machine can raise"), "section"), self._fits, self._fits_note,
                            row(self._fits_measure, "+"), gap=8)
        self.set_body(header, 18, self._notes, self._running,
                      Columns(theme, col(self._recent, self._first, 12, self._tour, 12, self._open_model, "+", gap=0),
                              col(machine, raise_panel, "+", gap=16)), "+")
        context.recent_changed.connect(self._read_projects)
        context.survey_changed.connect(self._survey_changed)
        context.machine_changed.connect(self._show_machine)
        context.probe.busy_changed.connect(self._show_machine)
        context.probe.refused.connect(self._probe_refused)
        self._read_projects()
        self._show_machine()

    def opened(self, **args: Any) -> None:
        self._read_projects()
        self._running.watch()
        if self.context.machine is None and not self.context.probe.busy:
            QTimer.singleShot(0, self, self.context.probe.ask)

    def left(self) -> None:
        self._running.rest()

    # recent projects --------------------------------------------------------------------------------------------------

    def _columns(self) -> list[Column]:
        def disk(glance: ProjectGlance) -> str:
            return size(glance.size) if glance.size else ""
        return [Column(tr("Project"), self._name_cell, key=lambda g: g.name.lower()),
                Column(tr("Stage"), lambda g: Cell(g.stage, tone=g.tone, icon=g.icon), 200, key=lambda g: g.stage),
                Column(tr("Model"), lambda g: count(g.parameters) if g.parameters else "", 84, right=True, key=lambda g: g.parameters),
                Column(tr("On disk"), disk, 88, right=True, key=lambda g: g.size),
                Column(tr("Opened"), lambda g: project_glance.when(g.opened), 96, right=True, key=lambda g: -g.opened)]

    def _name_cell(self, glance: ProjectGlance) -> Cell:
        place = project_glance.short_path(glance.id)
        note = tr("generated, {place}", place=place) if glance.generated else place
        return Cell(glance.name or Path(glance.id).name, note, tip=glance.id)

    def _read_projects(self) -> None:
        """Show what is known at once, then look into the folders in a thread."""
        self._entries = recent.recent()
        self._show_projects()
        if self._entries and not self._reading:
            entries, self._reading = list(self._entries), True
            self.context.jobs.run(lambda: [project_glance.read(e) for e in entries], then=self._projects_read, failed=self._not_read,
                                  owner=self)

    def _projects_read(self, found: list[ProjectGlance]) -> None:
        self._reading = False
        self._glances = {g.id: g for g in found}
        self._show_projects()

    def _not_read(self, wrong: Exception) -> None:
        self._reading = False
        if not isinstance(wrong, OSError):
            raise wrong

    def _show_projects(self) -> None:
        wanted = self._find.value().strip().lower()
        rows = [self._glances.get(e.path) or project_glance.unread(e) for e in self._entries]
        self._table.set_rows([g for g in rows if wanted in f"{g.name} {g.id}".lower()])
        show_if(self._recent, bool(self._entries))
        show_if(self._tour, bool(self._entries))
        show_if(self._first, not self._entries)
        show_if(self._find, len(self._entries) >= FIND_FROM or bool(wanted))

    def _open(self, glance: ProjectGlance) -> None:
        if not glance.there:
            self._offer_to_forget(glance)
            return
        try:
            self.context.open_project(glance.id)
        except FledgeError as wrong:
            self._notes.show_error(wrong, Button(self.theme, tr("Forget it"), on_click=lambda: self._forget(glance.id)))
            return
        self._notes.clear()
        stages = self.context.survey.stages if self.context.survey is not None else ()
        active = next((s.id for s in stages if s.state in ("running", "failed")), None)
        self.context.navigate(active or next((s.id for s in stages if s.state == "ready"), "home" if not stages else stages[-1].id))

    def _offer_to_forget(self, glance: ProjectGlance) -> None:
        self._notes.show_note(Note(self.theme, "warn", tr("{name} is not where it was", name=glance.name),
                                   tr("There is no project in {folder} any more. It may have been moved, or lies on a disk that is not "
                                      "connected.", folder=glance.id),
                                   Button(self.theme, tr("Open folder"), on_click=self._open_folder),
                                   Button(self.theme, tr("Forget it"), on_click=lambda: self._forget(glance.id))))

    def _forget(self, path: str) -> None:
        recent.forget(path)
        self._notes.clear()
        self._read_projects()

    # the first start --------------------------------------------------------------------------------------------------

    def _first_start(self) -> QWidget:
        theme = self.theme
        tour = ChoiceCard(theme, "play", tr("Take the guided tour"),
                          tr("Watch a small model grow from random weights until it answers questions. The text is made on this machine."),
                          tr("5 to 10 minutes. The best way to begin."))
        own = ChoiceCard(theme, "file", tr("Begin with my own text"),
                         tr("Make a project, add a folder of text, train a tokenizer, choose a size and start."),
                         tr("A few megabytes are enough to begin."))
        tour.clicked.connect(self._start_tour)
        own.clicked.connect(self._new_project)
        lines = ((tr("Corpus"), tr("your text, cleaned and counted")), (tr("Tokenizer"), tr("the pieces the model reads and writes")),
                 (tr("Pretrain"), tr("from random numbers to a model that continues text")),
                 (tr("Instruction data"), tr("questions and answers that a local model writes and you look through")),
                 (tr("Fine-tune"), tr("the model that continues text becomes one that answers")),
                 (tr("Chat"), tr("with what you have raised")))
        steps = [row(fixed(Text(str(i), "small_strong", "accent"), theme.px(16)), Text(name, "medium"), "+", small(words), gap=10)
                 for i, (name, words) in enumerate(lines, 1)]
        return col(Text(tr("Welcome"), "section"), Text(tr("A language model is raised here in steps, each with its own page. Nothing "
                   "leaves this machine."), tone="text2", wrap=True), 8, side_by_side(tour, own), 12, Panel(*steps, gap=12), gap=4)

    def _new_project(self) -> None:
        self._dialog("text")

    def _start_tour(self) -> None:
        self._dialog("demo")

    def _import_model(self) -> None:
        """Into the open project; without one a project is made first."""
        if self.context.project is not None:
            self.context.navigate("import_model")
        else:
            self._dialog("text", "import_model")

    def _dialog(self, start: str, then: str = "corpus") -> None:
        from desktop.widgets.new_project import NewProjectDialog
        dialog = NewProjectDialog(self.context, self.window(), start)
        dialog.made.connect(lambda: self.context.navigate(then if dialog.draft.start == "text" else "home"))
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()

    def _open_folder(self) -> None:
        self.context.open_folder_requested.emit()

    # the machine ------------------------------------------------------------------------------------------------------

    def _ask_measure(self) -> None:
        self.context.probe.ask(measure=True)

    def _show_machine(self) -> None:
        context, busy = self.context, self.context.probe.busy
        self._parts.set(context.machine, context.project.dir if context.project is not None else layout.user_state())
        for button in (self._measure, self._fits_measure):
            button.setEnabled(not busy)
            button.set_words(tr("Measuring…") if busy else tr("Measure"))
        facts = context.machine
        if facts is None:
            self._show_fits([])
        else:
            def work() -> "list[Raisable]":
                from desktop.models.raisable import raisable
                return raisable(facts)
            context.jobs.run(work, then=self._show_fits, owner=self)

    def _show_fits(self, lines: "list[Raisable]") -> None:
        device = self.context.device_facts
        known = device is not None and device.peak(device.dtype) > 0
        self._fits.set_rows(lines)
        show_if(self._fits, bool(lines))
        show_if(self._fits_measure, not known)
        if not lines:
            words = tr("Measure how fast this machine multiplies, and this list says what it can raise in which time.")
        elif known:
            words = tr("By formula, at 11 tokens a parameter. Measured with the model itself before a run starts.")
        else:
            words = tr("A guess for this kind of machine. Measuring takes a few seconds.")
        self._fits_note.set(words)

    def _probe_refused(self, said: str) -> None:
        self._notes.show_note(Note(self.theme, "warn", tr("The devices could not be looked at"),
                                   tr("The engine's Python said: {said}", said=said or tr("nothing")),
                                   Button(self.theme, tr("Settings"), on_click=lambda: self.context.navigate("settings"))))

    def _survey_changed(self) -> None:
        self._running.watch()
        project, found = self.context.project, self.context.survey
        known = self._glances.get(str(project.dir)) if project is not None else None
        if known is not None and found is not None and self.isVisible():
            self._read_projects()


class RunningCard(QWidget):
    """The open project's run under way: where it is, how it does, its curve, and the way to it. Nothing runs: it takes no room."""

    def __init__(self, context: AppContext) -> None:
        super().__init__()
        self.context, theme = context, context.theme
        self._follower: RunFollower | None = None
        self._title, self._badge = Text(role="section"), Badge(tr("running"), "accent")
        self._line = Text(tone="text2", wrap=True)
        self._bar = Bar(theme, name=tr("Progress"))
        self._curve_words, self._curve = small(), Sparkline(theme, name=tr("Loss"))
        self._curve_side = col(self._curve_words, self._curve, gap=0)
        words = col(row(self._title, self._badge, "+", gap=10), self._line, 6, self._bar, gap=4)
        panel = Panel(row((words, 1), self._curve_side, Button(theme, tr("Open run"), on_click=self._open), gap=24), pad=(20, 16, 20, 16))
        col(panel, 22, gap=0, host=self)
        self.hide()

    def watch(self) -> None:
        """Follow the project's running run, if there is one."""
        found = self.context.survey.running if self.context.survey is not None else None
        if found is None or self.context.project is None:
            self.rest()
            self.hide()
            return
        if self._follower is None or self._follower.run.id != found.id or self._follower.project_dir != self.context.project.dir:
            self.rest()
            from desktop.jobs.run_follow import RunFollower
            run = next((r for r in self.context.project.runs.list() if r.id == found.id), None)
            if run is None:
                return
            self._follower = RunFollower(run, self.context.project.dir, self)
            self._follower.changed.connect(self._show)
            self._follower.start()
        self._headline(found)
        show_if(self, True)

    def rest(self) -> None:
        if self._follower is not None:
            self._follower.stop()
            self._follower.deleteLater()
            self._follower = None

    def _headline(self, run: "RunGlance") -> None:
        entry = STAGES[run.stage].title if run.stage in STAGES else run.stage
        self._title.set(f"{entry}: {run.title}" if run.title else tr("{stage}, run {number}", stage=entry, number=run.number))
        self._show()

    def _show(self) -> None:
        follower = self._follower
        if follower is None:
            return
        state = follower.state
        self._badge.set(status_words(follower.status), "accent" if follower.active else "warn")
        said = []
        steps = int(state.facts.get("steps") or 0)
        if steps:
            said.append(tr("Step {step} of {steps}", step=number(state.step), steps=number(steps)))
        elif state.progress is not None and state.progress.total:
            said.append(tr("{done} of {total} {unit}", done=number(state.progress.done), total=number(state.progress.total),
                           unit=state.progress.unit))
        measured = state.metrics.column(of_stage(state.stage).step)
        measured = measured[measured == measured]  # a step without a number was not measured
        if measured.size:
            said.append(now_words(state, 2))
        if state.progress is not None and state.progress.eta >= 0:
            said.append(tr("{time} left", time=duration(state.progress.eta)))
        self._line.set(tr("{facts}. It goes on when this window is closed.", facts=", ".join(said)) if said else
                       tr("It goes on when this window is closed."))
        self._bar.set(state.share)
        show_if(self._curve_side, measured.size > 8)
        if measured.size > 8:
            first, last = number(float(measured[0]), 2), number(float(measured[-1]), 2)
            self._curve_words.set({"accuracy": tr("Share of pairs right, {first} to {last}", first=first, last=last),
                                   "reward": tr("Reward, {first} to {last}", first=first, last=last)}.get(
                                   of_stage(state.stage).step, tr("Loss, {first} to {last}", first=first, last=last)))
            self._curve.set(smooth(measured))

    def _open(self) -> None:
        if self._follower is not None:
            self.context.navigate(self._follower.run.stage, run=self._follower.run.id)


def smooth(values: "npt.NDArray[Any]", most: int = 160) -> list[float]:
    """A few means of neighbours: the curve without its noise."""
    count = min(most, max(8, values.size // 4))
    edges = [round(i * values.size / count) for i in range(count + 1)]
    return [float(values[a:b].mean()) for a, b in zip(edges, edges[1:], strict=False) if b > a]
