"""The import page: choose, look, take over, go on with it. Every file is looked at by another process; this one opens none."""

from pathlib import Path
from typing import Any

from PySide6.QtWidgets import QWidget

from desktop.context import AppContext
from desktop.jobs.inquiry import Inquiry
from desktop.jobs.stage_run import StageRun
from desktop.models.import_plan import FoundModel, HubModel
from desktop.pages.import_model.found_view import FoundView
from desktop.pages.import_model.start_view import StartView
from desktop.widgets.buttons import Button
from desktop.widgets.empty_state import EmptyState
from desktop.widgets.facts import Facts
from desktop.widgets.flow_strip import FlowStrip
from desktop.widgets.layout import Item, clear, col, fill, row
from desktop.widgets.notes import Note, NoteSlot
from desktop.widgets.page_header import PageHeader
from desktop.widgets.panel import Panel
from desktop.widgets.run_page import RunPage
from desktop.widgets.short_run import LIVE, ShortRun
from engine.contract.errors import FledgeError
from engine.contract.units import count, number, size
from engine.contract.words import tr
from engine.project.artifacts import Artifact
from engine.project.models import ModelRef, list_models
from engine.stages.import_model.spec import ImportModelSpec

PROBE = "engine.stages.import_model.probe"
NOTHING = (tr("Nothing yet"), tr("a model of this project"))


class ImportModelPage(RunPage):
    """Views: start, found, running, done."""

    def __init__(self, context: AppContext) -> None:
        super().__init__(context)
        assert context.project is not None
        self.project, theme = context.project, self.theme
        self._run, self._probe = StageRun(self), Inquiry(self, limit=180)
        self._view, self._seen, self._made = "", "", ""
        self.found: FoundModel | HubModel | None = None
        self._header = PageHeader(tr("Import a model"), tr("Start from an open model instead of random weights."))
        self._flow, self._notes = FlowStrip(theme), NoteSlot(theme)
        self._notes.layout().setContentsMargins(0, 0, 0, 12)  # type: ignore[union-attr]
        self._body = col(gap=12)
        self.start, self.details = StartView(context), FoundView(context)
        self.start.chosen.connect(self.look)
        self.start.named.connect(self.look_up)
        self.start.stop_clicked.connect(self._stop_looking)
        self.details.changed.connect(self._edited)
        self._keep = col(self.start, self.details)
        self._keep.hide()
        self.set_body(self._header, 14, self._flow, 12, self._notes, (self._body, 1))
        context.survey_changed.connect(self._refresh)
        self._run.changed.connect(self._refresh)
        self._show("start")

    # coming and going -------------------------------------------------------------------------------------------------

    def opened(self, **args: Any) -> None:
        """`run`: an import under way or over; `path`: a model to look at."""
        self.start.refresh()
        if args.get("run"):
            self._seen = ""
            self._run.show(self.project, str(args["run"]))
            made = self.project.artifacts.made_by(str(args["run"]), "model")
            if made is not None:
                self._seen, self._made = str(args["run"]), made.id
                self._show("done")
                return
        elif self._view == "done":
            self._show("start")
        if args.get("path"):
            self.look(str(args["path"]))
        self._refresh()

    def left(self) -> None:
        self._stop_looking()

    def _refresh(self) -> None:
        survey = self.context.survey
        if survey is None:
            return
        live = next((r for r in survey.of_stage("import_model") if r.status in LIVE and r.status != "created"), None)
        if live and live.id != self._seen and self._view != "running":
            self._run.show(self.project, live.id)
        if self._run.follower and self._run.follower.status in LIVE and self._run.run_id != self._seen:
            self._show("running")

    def _show(self, view: str) -> None:
        if view == self._view:
            return
        self._view = view
        self._header.set_actions(*self._actions(view))
        box = self._body.layout()
        for kept in (self.start, self.details):
            kept.setParent(self._keep)
        clear(box)
        fill(box, self._parts(view), 12)

    def _actions(self, view: str) -> list[Button]:
        theme = self.theme
        if view == "found":
            return [Button(theme, tr("Choose another"), on_click=self._again),
                    Button(theme, tr("Import"), "primary", icon="in", on_click=self._start)]
        return []

    def _parts(self, view: str) -> tuple[Item, ...]:
        if view == "running":
            assert self._run.follower and self._run.process
            spec = self._run.follower.run.spec
            name = str(spec.get("title") or Path(str(spec.get("folder", ""))).name)
            shown = ShortRun(self.theme, self._run.follower, self._run.process, tr("Importing {name}", name=name))
            shown.ended.connect(self._ended)
            self._flow.set((name, str(spec.get("folder", ""))), (tr("Its weights are taken over"), tr("goes on without this window")),
                           NOTHING, "is")
            return (shown, "+")
        if view == "found":
            self.details.show()
            self._edited()
            return ((self.details, 1),)
        if view == "done":
            return ((self._done_view(), 1),)
        self.start.show()
        self._flow.set((tr("Nothing yet"), tr("a folder or a GGUF file")),
                       (tr("It is looked at first"), tr("and refused by name if it does not fit")), NOTHING)
        return ((self.start, 1),)

    def _edited(self) -> None:
        found = self.found
        if found is None:
            return
        if isinstance(found, HubModel):
            self._flow.set((found.name, tr("on the hub")),
                           (tr("{size} are fetched", size=size(found.bytes)), tr("then looked at, then taken over")), NOTHING)
            return
        if found.adapter:
            self._flow.set((found.name, tr("{size}, rank {rank}", size=size(found.bytes), rank=number(found.rank))),
                           (tr("It is added to its base"), tr("which stays as it is")),
                           (tr("Nothing yet"), tr("a model made of both in this project")))
            return
        stored = found.stored(str(self.details.values()["dtype"]))
        self._flow.set((found.name, tr("{size}, {architecture}", size=size(found.bytes), architecture=found.architecture)),
                       (tr("{count} parameters are taken over", count=count(found.parameters)), tr("nothing of the folder is run")),
                       (tr("Nothing yet"), tr("a model of {size} in this project", size=size(stored))))

    # looking ----------------------------------------------------------------------------------------------------------

    def look(self, path: str) -> None:
        """Have a folder or file looked at; what is found is shown before anything is imported."""
        self._notes.clear()
        self._show("start")
        self.context.remember("import.folder", str(Path(path).parent))
        self.start.set_busy(tr("Looking at {name}", name=Path(path).name))
        self._probe.ask(PROBE, "look", {"path": path}, lambda answer: self._looked(FoundModel.of(path, answer)),
                        lambda wrong: self._refused(wrong, Path(path).name))

    def look_up(self, name: str) -> None:
        """Ask the hub what it has under a name."""
        self._notes.clear()
        self.context.settings.flush()  # the probe reads there whether the network is allowed
        self.start.set_busy(tr("Asking the hub for {name}", name=name))
        self._probe.ask(PROBE, "hub", {"name": name}, lambda answer: self._looked(HubModel(**answer)),
                        lambda wrong: self._refused(wrong, name))

    def _looked(self, found: FoundModel | HubModel) -> None:
        self.start.set_busy("")
        self.found = found
        self.details.load(found)
        if self.details.adapter:
            project = self.project
            self.context.jobs.run(lambda: list_models(project), then=self._models_read, owner=self)
        self._show("found")

    def _models_read(self, models: list[ModelRef]) -> None:
        self.details.set_models(models)
        self.details.show_base_problem(self.details.problem())
        self._edited()

    def _refused(self, wrong: FledgeError, name: str) -> None:
        self.start.set_busy("")
        self._notes.show_error(wrong, title=tr("{name} cannot be imported", name=name))

    def _stop_looking(self) -> None:
        self._probe.stop()
        self.start.set_busy("")

    def _again(self) -> None:
        self.found = None
        self._notes.clear()
        self._show("start")

    # importing --------------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        problem = self.details.problem()
        self.details.show_base_problem(problem)
        if self.details.form.check() or problem:
            return
        self.launch(lambda: ImportModelSpec.check(self.details.values()))

    def _ended(self, status: str) -> None:
        ended = self.take_end()
        if ended is None:
            return
        follower, trouble = ended
        if trouble is not None:
            self._notes.show_error(trouble, title=tr("Nothing was imported"))
            self._show("found" if self.found is not None else "start")
            return
        made = self.project.artifacts.made_by(follower.run.id, "model")
        if made is None:  # an old run whose model was deleted
            self._show("start")
            return
        self._made = made.id
        notices = [n for n in follower.state.notices if n.level == "warning"]
        if notices:
            self._notes.show_note(Note(self.theme, "warn", notices[0].title, " ".join(f"{n.text} {n.remedy}".strip() for n in notices)))
        self._show("done")

    def _done_view(self) -> QWidget:
        theme, made = self.theme, self.project.artifacts.get(self._made)
        facts = made.facts
        chat = Button(theme, tr("Chat with it"), "primary", icon="chat", on_click=lambda: self.context.navigate("chat", model=made.id))
        pairs = [(tr("Parameters"), count(facts.get("parameters", 0))), (tr("Kind"), str(facts.get("architecture", ""))),
                 (tr("Context"), tr("{count} tokens", count=number(facts.get("context", 0)))),
                 (tr("Stored in"), f"{facts.get('dtype', '')}, {size(facts.get('bytes', 0))}"),
                 (tr("Licence"), str(facts.get("licence") or tr("none named")))]
        drawing = row(Panel(Facts(pairs, gap=6), kind="chosen", pad=(20, 15, 20, 15)))
        drawing.setFixedWidth(theme.px(400))
        self._flow.set((Path(str(facts.get("from", ""))).name, str(facts.get("from", ""))),
                       (tr("Taken over"), tr("every file checked by its hash")), (made.title, made.id), "did")
        return EmptyState(theme, tr("{name} is in this project", name=made.title), _words(made), chat,
                          Button(theme, tr("Export"), icon="export", on_click=lambda: self.context.navigate("export", model=made.id)),
                          Button(theme, tr("Import another"), on_click=self._again), drawing=drawing)


def _words(made: Artifact) -> str:
    return tr("It answers in its own chat template, and can be exported like any model raised here.") if made.facts.get("chat") else \
        tr("It continues text, like a base model raised here, and can be exported like one.")
