"""The Export page: which of its views is on the screen, and what its buttons do. What an export comes to: models/export_plan.py."""

from pathlib import Path
from typing import Any

from PySide6.QtCore import QUrl
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QWidget

from desktop.context import AppContext
from desktop.jobs.inquiry import Inquiry
from desktop.jobs.stage_run import StageRun
from desktop.models.export_plan import ExportPlan, Handed, precision_words
from desktop.models.export_result import Result
from desktop.pages.export.earlier import EarlierExports
from desktop.pages.export.form_view import FormView
from desktop.pages.export.result_view import ResultView
from desktop.widgets.buttons import Button
from desktop.widgets.empty_state import EmptyState
from desktop.widgets.flow_strip import FlowStrip
from desktop.widgets.layout import Item, clear, col, fill
from desktop.widgets.notes import Note, NoteSlot
from desktop.widgets.page_header import PageHeader
from desktop.widgets.run_page import RunPage
from desktop.widgets.short_run import LIVE, ShortRun
from engine.contract.errors import FledgeError
from engine.contract.units import size
from engine.contract.words import tr
from engine.project.artifacts import Artifact
from engine.project.models import ModelRef, list_models
from engine.stages.export.spec import ExportSpec

PROBE = "engine.stages.export.probe"
SHOWN_NOTICES = ("licence", "no_ollama", "elsewhere", "template", "chat_template")


class ExportPage(RunPage):
    """Views: empty (no model yet), form, running, result."""

    def __init__(self, context: AppContext) -> None:
        super().__init__(context)
        assert context.project is not None
        self.project, theme = context.project, self.theme
        kept = context.settings.get("export.folder", "")
        self.plan = ExportPlan(kept if isinstance(kept, str) else "")
        self._run = StageRun(self)
        self._probe = Inquiry(self)
        self._view, self._seen, self._shown, self._awaited, self._wants_form = "", "", "", "", False
        self._stamp: object = None
        self._header = PageHeader(tr("Export"), tr("Hand a model over to the programs people already use."))
        self._flow, self._notes = FlowStrip(theme), NoteSlot(theme)
        self._notes.layout().setContentsMargins(0, 0, 0, 12)  # type: ignore[union-attr]
        self._body = col(gap=12)
        self._form_earlier = EarlierExports(theme, self.show_export)
        self.form = FormView(context, self.plan, self._form_earlier)
        self.form.changed.connect(self._edited)
        self.form.model_chosen.connect(self._choose_model)
        self._made_result: ResultView | None = None
        self._keep = col(self.form)
        self._keep.hide()
        self._start_button: Button | None = None
        self.set_body(self._header, 14, self._flow, 12, self._notes, (self._body, 1))
        context.survey_changed.connect(self._survey_changed)
        self._run.changed.connect(self._refresh)

    # coming and going -------------------------------------------------------------------------------------------------

    def opened(self, **args: Any) -> None:
        """`model`: an id to export (from Runs, Chat, Lineage); `run`: an export under way or over; `artifact`: one that was made."""
        if args.get("run"):
            self._seen = ""
            self._run.show(self.project, str(args["run"]))
            made = self.project.artifacts.made_by(str(args["run"]), "export")
            if made is not None:
                self._shown, self._wants_form = made.id, False
        if args.get("artifact"):
            self._shown, self._wants_form = str(args["artifact"]), False
        if args.get("model"):
            self._wants_form = True
        self._read_models(str(args.get("model", "")))
        self._refresh()

    def left(self) -> None:
        self._probe.stop()

    def _survey_changed(self) -> None:
        survey = self.context.survey
        stamp = (tuple(a.id for a in survey.of_kind("model")), tuple((r.id, r.step) for r in survey.runs)) if survey else None
        if stamp != self._stamp and self.isVisible():
            self._stamp = stamp
            self._read_models()
        if self.isVisible():
            self._refresh()

    def _read_models(self, wanted: str = "") -> None:
        project = self.project
        self.context.jobs.run(lambda: list_models(project), then=lambda found: self._models_read(found, wanted), owner=self)

    def _models_read(self, found: list[ModelRef], wanted: str) -> None:
        before = self.plan.values["model"]
        self.plan.set_models(found, wanted)
        self.form.set_models(found)
        if self.plan.values["model"] != before or (self.plan.found is None and self.plan.wrong is None):
            self._look()
        self._refresh()

    def _choose_model(self, id: str) -> None:
        self._notes.clear()
        self.plan.choose_model(id)
        self._look()
        self._edited()

    def _look(self) -> None:
        """Ask the probe about the chosen model."""
        model = self.plan.values["model"]
        if model:
            self._probe.ask(PROBE, "look", {"project": str(self.project.dir), "model": model, "host": self.plan.values["host"]},
                            self._looked, self._not_looked)
        self.form.refresh()

    def _looked(self, answer: dict[str, Any]) -> None:
        found = Handed.of(answer)
        if found.id == self.plan.values["model"]:
            self.plan.take(found)
            self.form.refresh()
            self._edited()

    def _not_looked(self, wrong: FledgeError) -> None:
        self.plan.wrong = wrong
        again = Button(self.theme, tr("Look again"), on_click=self._look_again)
        self._notes.show_error(wrong, again, title=tr("This model cannot be exported"))
        self.form.refresh()

    def _look_again(self) -> None:
        self._notes.clear()
        self.plan.wrong = None
        self._look()

    @property
    def result(self) -> ResultView:
        """Made when the first export is shown."""
        if self._made_result is None:
            self._result_earlier = EarlierExports(self.theme, self.show_export)
            self._result_earlier.set(self._exports())
            self._made_result = ResultView(self.context, self._result_earlier)
        return self._made_result

    # which view -------------------------------------------------------------------------------------------------------

    def _exports(self) -> list[Artifact]:
        return self.context.survey.of_kind("export") if self.context.survey is not None else []

    def _refresh(self) -> None:
        survey = self.context.survey
        if survey is None:
            return
        live = next((r for r in survey.of_stage("export") if r.status in LIVE and r.status != "created"), None)
        if live and live.id != self._seen and self._view != "running":
            self._run.show(self.project, live.id)
        exports = self._exports()
        self._form_earlier.set(exports)
        if self._made_result is not None:
            self._result_earlier.set(exports)
        if self._run.follower and self._run.follower.status in LIVE and self._run.run_id != self._seen:
            self._show("running")
        elif self._awaited and not any(a.id == self._awaited for a in exports):
            return
        else:
            self._awaited = ""
            made = next((a for a in exports if a.id == self._shown), None)
            if made is not None and not self._wants_form:
                self._show("result")
                self._load_result(made)
            elif self.plan.models:
                self._show("form")
            elif not survey.of_kind("model") and not any(r.stage == "pretrain" for r in survey.runs):
                self._show("empty")

    def _show(self, view: str) -> None:
        if view == self._view:
            if view == "form":
                self._show_flow()
            return
        self._view = view
        self._header.set_actions(*self._actions(view))
        box = self._body.layout()
        for kept in (self.form, self._made_result):
            if kept is not None:
                kept.setParent(self._keep)
        clear(box)
        fill(box, self._parts(view), 12)
        if view == "form":
            self._edited()

    def _actions(self, view: str) -> list[Button]:
        theme = self.theme
        bring = Button(theme, tr("Import a model"), icon="in", on_click=lambda: self.context.navigate("import_model"))
        if view == "form":
            self._start_button = Button(theme, tr("Export"), "primary", icon="export", on_click=self._start)
            return [bring, self._start_button]
        if view == "result":
            self._open_button = Button(theme, tr("Open the folder"), icon="folder", on_click=self._open_folder)
            return [self._open_button, Button(theme, tr("Export another"), "primary", icon="plus", on_click=self._another)]
        return []

    def _parts(self, view: str) -> tuple[Item, ...]:
        if view == "running":
            assert self._run.follower and self._run.process
            spec = self._run.follower.run.spec
            name = str(spec.get("title") or self._title(str(spec.get("model", ""))))
            shown = ShortRun(self.theme, self._run.follower, self._run.process, tr("Exporting {name}", name=name))
            shown.ended.connect(self._ended)
            running = ExportPlan(values=spec)
            self._flow.set((self._title(str(spec.get("model", ""))), str(spec.get("model", ""))), running.will_happen(),
                           (Path(str(spec.get("out", ""))).name or running.shown_name, tr("appears when it is whole")), "is")
            return (shown, "+")
        if view == "form":
            self.form.show()
            return ((self.form, 1),)
        if view == "result":
            self.result.show()
            return ((self.result, 1),)
        return ((self._empty(), 1),)

    def _empty(self) -> QWidget:
        theme = self.theme
        self._flow.set((tr("Nothing yet"), tr("a model or a checkpoint")), (tr("It is written for other programs"), tr("and tried there")),
                       (tr("Nothing yet"), tr("files that other programs open")))
        return EmptyState(theme, tr("No model to export yet"),
                          tr("Any checkpoint can be handed over to transformers, llama.cpp or Ollama, while its run goes on. Pretraining "
                             "makes the first, or begin with an open model."),
                          Button(theme, tr("Pretrain a model"), "primary", on_click=lambda: self.context.navigate("pretrain")),
                          Button(theme, tr("Import a model"), on_click=lambda: self.context.navigate("import_model")),
                          steps=[(tr("A model"), tr("pretrained here, or imported"), False),
                                 (tr("A place to go"), tr("each with a verdict"), False),
                                 (tr("The check"), tr("the same prompts, there and here"), False)])

    def _title(self, id: str) -> str:
        return next((m.title for m in self.plan.models if m.id == id), id)

    def _show_flow(self) -> None:
        self._flow.set(self.plan.goes_in(), self.plan.will_happen(), self.plan.comes_out(), "will")

    def _load_result(self, made: Artifact) -> None:
        result = Result(made)
        self.result.load(result, self._title(str(made.facts.get("model", ""))))
        self._open_button.setEnabled(result.folder is not None)
        verdict = result.verdict()[1]
        self._flow.set((self._title(str(made.facts.get("model", ""))), str(made.facts.get("model", ""))),
                       (tr("{size} in {precision}", size=size(made.facts.get("bytes", 0)),
                           precision=precision_words(str(made.facts.get("precision", "")))), verdict.lower()),
                       (Path(result.path).name, str(Path(result.path).parent) if not result.created else tr("in Ollama")), "did")

    # what the person does ---------------------------------------------------------------------------------------------

    def _edited(self) -> None:
        if self._view == "form":
            self._show_flow()
        if self._start_button is not None and self._view == "form":
            self._start_button.setEnabled(self.plan.found is not None)

    def show_export(self, made: Artifact) -> None:
        self._shown, self._wants_form = made.id, False
        self._notes.clear()
        self._refresh()

    def _another(self) -> None:
        self._wants_form = True
        self._notes.clear()
        self.plan.values["overwrite"] = False
        self._refresh()

    def _open_folder(self) -> None:
        made = next((a for a in self._exports() if a.id == self._shown), None)
        folder = Result(made).folder if made is not None else None
        if folder is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(folder)))

    def _start(self) -> None:
        self._notes.clear()
        if self.plan.found is None or self.form.show_problems():
            return
        self.context.remember("export.folder", self.plan.folder)
        self.launch(self.plan.spec)

    def _ended(self, status: str) -> None:
        ended = self.take_end()
        if ended is None:
            return
        follower, trouble = ended
        if trouble is not None:
            self._wants_form = True
            said = FledgeError(trouble.sentence, tr("Write over it, or choose another place."), code="exists") \
                if trouble.code == "exists" and trouble.field == "out" else trouble
            self._notes.show_error(said, *self._remedies(trouble), title=tr("Nothing was exported"))
        else:
            made = self.project.artifacts.made_by(follower.run.id, "export")  # None: an old run whose receipt was deleted
            self._shown = self._awaited = made.id if made is not None else ""
            self._wants_form = False
            notices = [n for n in follower.state.notices if n.code in SHOWN_NOTICES]
            if notices:
                self._notes.show_note(Note(self.theme, "warn" if any(n.level == "warning" for n in notices) else "info", notices[0].title,
                                           " ".join(f"{n.text} {n.remedy}".strip() for n in notices)))
        self._refresh()

    def _remedies(self, trouble: FledgeError) -> list[Button]:
        if trouble.code == "exists" and self._run.follower is not None:
            spec = dict(self._run.follower.run.spec)
            return [Button(self.theme, tr("Write over it"), "danger", on_click=lambda: self._again({**spec, "overwrite": True})),
                    Button(self.theme, tr("Choose another place"), on_click=self.form._choose_place)]
        if trouble.code == "disk_full":
            return [Button(self.theme, tr("Choose another place"), on_click=self.form._choose_place)]
        return []

    def _again(self, values: dict[str, Any]) -> None:
        self._notes.clear()
        try:
            self._seen = ""
            self._run.start(self.project, ExportSpec.check(values))
        except FledgeError as wrong:
            self._notes.show_error(wrong)
