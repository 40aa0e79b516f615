"""The Evaluate page: which of its views is on the screen, and what its buttons do. What an evaluation comes to: models/evaluate_*.py."""

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QStandardPaths
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import QFileDialog

from desktop.context import AppContext
from desktop.jobs.inquiry import Inquiry
from desktop.jobs.stage_run import StageRun
from desktop.models import evaluate_blind, evaluate_paper, instruct_found
from desktop.models.evaluate_blind import BlindSession
from desktop.models.evaluate_plan import EvaluatePlan, read_suites
from desktop.models.evaluate_result import Result
from desktop.models.survey import RunGlance
from desktop.pages.evaluate.start_view import StartView, empty_state
from desktop.widgets.buttons import Button
from desktop.widgets.flow_strip import FlowStrip
from desktop.widgets.layout import Item, clear, col, show_if
from desktop.widgets.notes import Note, NoteSlot
from desktop.widgets.page_header import PageHeader
from desktop.widgets.run_page import RunPage
from desktop.widgets.run_panel import clock
from desktop.widgets.short_run import LIVE
from engine.contract.errors import FledgeError
from engine.contract.spec import Spec
from engine.contract.units import number
from engine.contract.words import tr, trn
from engine.project.artifacts import Artifact
from engine.project.models import ModelRef, list_models
from engine.project.runs import RESUMABLE, Run

if TYPE_CHECKING:
    from desktop.models.evaluate_suites import SuiteDraft
    from desktop.pages.evaluate.blind_view import BlindView
    from desktop.pages.evaluate.compare_view import CompareView
    from desktop.pages.evaluate.result_view import ResultView
    from desktop.pages.evaluate.running_view import RunningView
    from desktop.pages.evaluate.setup_view import SetupView
    from desktop.pages.evaluate.suite_view import SuiteView

STAGE, FIND = "evaluate", "engine.generators.find"
SENTENCE = tr("The same questions to every model; differences that are more than chance.")
VIEWS = ("empty", "start", "setup", "running", "result", "blind", "compare", "suite")
BLIND = "blind"
REMEMBERED = ("suites", "examples", "judge", "limit")


class EvaluatePage(RunPage):
    """Views: see VIEWS. `opened(run=..)` shows a run, `artifact=..` an evaluation; `model=..`, `models=[..]`, `suites`, `examples` begin
    one."""

    def __init__(self, context: AppContext) -> None:
        super().__init__(context)
        assert context.project is not None
        self.project, theme = context.project, self.theme
        kept = context.settings.get(self._key, {})
        self.plan = EvaluatePlan(kept if isinstance(kept, dict) else None)
        self._run, self._find = StageRun(self), Inquiry(self)
        self._view, self._seen, self._shown, self._awaited, self._stamp = "", "", "", "", None
        self._session: BlindSession | None = None
        self._laid_out: list[dict[str, Any]] = []
        self._told: set[str] = set()
        self._compared: list[Artifact] = []
        self._starting = False
        self._header, self._flow, self._notes = PageHeader(tr("Evaluate"), SENTENCE), FlowStrip(theme), NoteSlot(theme)
        self._notes.layout().setContentsMargins(0, 0, 0, 12)  # type: ignore[union-attr]
        self.running: RunningView | None = None
        self._places = {view: col(gap=0) for view in VIEWS}
        self.start = StartView(context)
        self._places["start"].layout().addWidget(self.start, 1)  # type: ignore[union-attr]
        self.set_body(self._header, 14, self._flow, 12, self._notes, *((place, 1) for place in self._places.values()))
        for place in self._places.values():
            place.hide()
        self.start.wanted.connect(self._act)
        QShortcut(QKeySequence("Ctrl+Return"), self).activated.connect(self._start_by_key)
        context.survey_changed.connect(self._survey_changed)
        self._run.changed.connect(self._refresh)

    @property
    def _key(self) -> str:
        return f"evaluate:{self.context.project.dir if self.context.project else ''}"

    # views that are made when they are first shown -------------------------------------------------------------------

    def _put(self, view: str, made: Any) -> Any:
        self._places[view].layout().addWidget(made, 1)  # type: ignore[union-attr]
        return made

    @cached_property
    def setup(self) -> "SetupView":
        from desktop.pages.evaluate.setup_view import SetupView
        made: SetupView = self._put("setup", SetupView(self.context, self.plan))
        made.changed.connect(self._edited)
        made.judges_wanted.connect(self._look_for_judges)
        made.suite_wanted.connect(self.edit_suite)
        return made

    @cached_property
    def result(self) -> "ResultView":
        from desktop.pages.evaluate.result_view import ResultView
        made: ResultView = self._put("result", ResultView(self.context))
        made.blind_wanted.connect(self.judge_blindly)
        return made

    @cached_property
    def blind(self) -> "BlindView":
        from desktop.pages.evaluate.blind_view import BlindView
        made: BlindView = self._put("blind", BlindView(self.context))
        made.changed.connect(self._voted)
        made.finished.connect(lambda: self.show_evaluation(self._shown))
        return made

    @cached_property
    def compare_view(self) -> "CompareView":
        from desktop.pages.evaluate.compare_view import CompareView
        made: CompareView = self._put("compare", CompareView(self.context))
        return made

    @cached_property
    def suite(self) -> "SuiteView":
        from desktop.pages.evaluate.suite_view import SuiteView
        made: SuiteView = self._put("suite", SuiteView(self.context))
        made.saved.connect(self._suite_saved)
        return made

    # coming and going -------------------------------------------------------------------------------------------------

    def opened(self, **args: Any) -> None:
        models = [str(m) for m in args.get("models") or ([args["model"]] if args.get("model") else [])]
        if args.get("run"):
            self._open_run(str(args["run"]))
        elif args.get("artifact"):
            self.show_evaluation(str(args["artifact"]))
        elif models or args.get("suites") or args.get("examples"):
            given = {k: tuple(str(x) for x in args[k]) for k in ("suites", "examples") if args.get(k)}
            self.plan.take(given | ({"models": tuple(models)} if models else {}))
            self.begin()
        self._read(tuple(models))
        self._refresh()

    def left(self) -> None:
        self._find.stop()

    def _open_run(self, id: str) -> None:
        made = self.project.artifacts.made_by(id, "evaluation")
        if made is not None:
            self.show_evaluation(made.id)
            return
        self._seen = ""
        self._run.show(self.project, id)
        self._show("running")

    def _survey_changed(self) -> None:
        survey = self.context.survey
        stamp = (tuple(a.id for a in survey.of_kind("model")), tuple((r.id, r.step) for r in survey.runs)) if survey else None
        if stamp != self._stamp and self.isVisible():
            self._stamp = stamp
            self._read()
        if self.isVisible():
            self._refresh()

    def _read(self, wanted: tuple[str, ...] = ()) -> None:
        """Models, suites and sets as they are now, in a thread."""
        project = self.project

        def read() -> tuple[Any, ...]:
            return list_models(project), read_suites(project.dir), sorted(project.library.examples.sets(), key=lambda s: -s.created)
        self.context.jobs.run(read, then=lambda found: self._were_read(*found, wanted), failed=self._not_read, owner=self)

    def _were_read(self, models: list[ModelRef], suites: list[Any], sets: list[Any], wanted: tuple[str, ...]) -> None:
        if wanted:
            self.plan.values["models"] = wanted
        self.plan.set_models(models)
        self.plan.set_suites(suites)
        self.plan.set_sets(sets)
        self._take_survey()
        self._fill_setup()
        if "judge" in self.plan.needs and self._view == "setup":
            self._look_for_judges()
        self._refresh()

    def _fill_setup(self) -> None:
        """What there is, into the form, where it is there already."""
        if "setup" in self.__dict__:
            self.setup.set_models(self.plan.models)
            if self.plan.suites is not None:
                self.setup.set_suites(self.plan.suites)
            self.setup.load()

    def _not_read(self, wrong: Exception) -> None:
        if not isinstance(wrong, (FledgeError, OSError)):
            raise wrong
        said = wrong if isinstance(wrong, FledgeError) else FledgeError(tr("The project cannot be read: {why}.", why=str(wrong)))
        self._notes.show_error(said, Button(self.theme, tr("Try again"), on_click=self._read))

    def _take_survey(self) -> None:
        survey = self.context.survey
        if survey is not None:
            self.plan.artifacts = survey.artifacts
            self.plan.set_corpora(survey.choices("corpus"))

    # which view -------------------------------------------------------------------------------------------------------

    def _evaluations(self) -> list[Artifact]:
        return self.context.survey.of_kind("evaluation") if self.context.survey is not None else []

    def _made(self, id: str) -> Artifact | None:
        return next((a for a in self._evaluations() if a.id == id), None)

    def _refresh(self) -> None:
        survey = self.context.survey
        if survey is None:
            return
        self._take_survey()
        if self._view == "setup":
            self.setup.refresh()
        evaluations = self._evaluations()
        self.start.set(evaluations)
        live = next((r for r in survey.of_stage(STAGE) if r.status in LIVE and r.status != "created"), None)
        if live and live.id != self._seen and self._view in ("", "empty", "start"):
            self._run.show(self.project, live.id)
        if self._awaited:
            made = self._made(self._awaited)
            if made is None:
                return
            self._awaited = ""
            self.show_evaluation(made.id)
        if self._view in ("", "empty", "start"):
            if self._run.follower and self._run.follower.status in LIVE and self._run.run_id != self._seen:
                self._show("running")
            else:
                self._show("start" if evaluations else "empty")
                self._show_broken(survey.of_stage(STAGE))
        elif self._view == "setup":
            self._show_flow()

    def _show_broken(self, runs: list[RunGlance]) -> None:
        """The newest run is named where it ended early and can go on."""
        newest = runs[0] if runs else None
        if newest is None or self._notes.note is not None or newest.status not in (*RESUMABLE, "crashed", "failed"):
            return
        words = {"paused": tr("Run {number} is paused", number=newest.number), "stopped": tr("Run {number} was stopped",
                                                                                             number=newest.number),
                 "interrupted": tr("Run {number} was interrupted", number=newest.number)}
        self._notes.show_note(Note(self.theme, "info" if newest.status in ("paused", "stopped") else "warn",
                                   words.get(newest.status, tr("Run {number} ended early", number=newest.number)),
                                   newest.sentence or tr("What was answered is kept; it goes on from there."),
                                   Button(self.theme, tr("Resume"), icon="play", on_click=lambda: self._resume(newest.id)),
                                   Button(self.theme, tr("Change the settings"), on_click=lambda: self._again(newest.id))))

    def _show(self, view: str) -> None:
        fresh, self._view = view != self._view, view
        if fresh and view != "running":
            self._notes.clear()
        if view == "running":
            fresh = self._build_running() or fresh
        if view == "empty":
            self._build_empty()
        if fresh:
            self._header.set(*self._heading(view))
            self._header.set_actions(*self._actions(view))
            self.scroll.verticalScrollBar().setValue(0)
        for name, place in self._places.items():
            show_if(place, name == view)
        self._show_flow()

    def _heading(self, view: str) -> tuple[str, str]:
        made = self._made(self._shown)
        if view == "result" and made is not None:
            return made.title, tr("Made {when}. Every answer is kept below.", when=clock(made.created))
        return {"blind": (tr("Blind comparison"), tr("Which answer is better? Makers are hidden, sides are drawn at random.")),
                "compare": (tr("Two evaluations"), tr("The same suites, the same questions: what changed?")),
                "suite": (tr("Suite"), tr("Questions of your own, asked of every model alike."))}.get(view, (tr("Evaluate"), SENTENCE))

    def _actions(self, view: str) -> list[Item]:
        theme = self.theme
        every = Button(theme, tr("All evaluations"), icon="left", on_click=self.to_start)
        begin = Button(theme, tr("Measure models"), "primary", icon="plus", on_click=self.begin)
        if view == "start":
            return [begin]
        if view == "setup":
            self.start_button = Button(theme, tr("Start"), "primary", icon="play", tip="Ctrl+Return", on_click=self.launch_plan)
            cancel = Button(theme, tr("Cancel"), on_click=self.to_start)
            return [cancel, self.start_button]
        if view == "running":
            self.pause = Button(theme, tr("Pause"), icon="pause", on_click=self._pause)
            return [self.pause]
        if view == "result":
            self.report = Button(theme, tr("Save the report"), icon="export", on_click=self.save_report)
            return [every, self.report, Button(theme, tr("Measure again"), icon="refresh", on_click=lambda: self._again_of(self._shown)),
                    begin]
        if view == "blind":
            return [Button(theme, tr("Back to the figures"), icon="left", on_click=lambda: self.show_evaluation(self._shown))]
        if view == "compare":
            return [every, begin]
        if view == "suite":
            actions: list[Item] = [Button(theme, tr("Cancel"), on_click=self._leave_suite)]
            if self.suite.draft.id:
                actions.append(Button(theme, tr("Delete the suite"), "danger", icon="trash", on_click=self._delete_suite))
            self.save_suite = Button(theme, tr("Save the suite"), "primary", icon="save", on_click=self.suite.save.click)
            return [*actions, self.save_suite]
        return []

    def _show_flow(self) -> None:
        view, made = self._view, self._made(self._shown)
        if view in ("setup", "suite"):
            self._flow.set(self.plan.goes_in(), self.plan.will_happen(), self.plan.comes_out(), "will")
        elif view == "blind" and self._session is not None:
            session = self._session
            self._flow.set((trn("{shown} pair of answers", "{shown} pairs of answers", session.total, shown=number(session.total)),
                            tr("to the same prompts")), (tr("You pick the better one"), tr("without knowing whose it is")),
                           (trn("{shown} vote, saved", "{shown} votes, all saved", session.done, shown=number(session.done)),
                            tr("of {total}", total=number(session.total)) if self.blind.told else tr("makers are told at the end")),
                           "did" if self.blind.told else "is")
        elif view == "result" and self.result.result is not None and made is not None:
            self._flow.set(self.result.result.goes_in(), self.result.result.happened(), self.result.result.came_out(), "did")
        elif view == "running" and self._run.follower is not None:
            spec = EvaluatePlan(dict(self._run.follower.run.spec))
            spec.models, spec.suites, spec.sets = self.plan.models, self.plan.suites, self.plan.sets
            self._flow.set(spec.goes_in(), spec.will_happen(), (tr("Every answer is kept at once"), tr("stop and resume as you like")),
                           "is")
        elif view == "compare" and len(self._compared) == 2:
            self._flow.set((self._compared[0].title, self._compared[1].title), (tr("Paired by question"), tr("exact p of each difference")),
                           (tr("What changed"), tr("and whether that is more than chance")), "did")
        else:
            newest = self._evaluations()[:1]
            self._flow.set((tr("A model, or several"), tr("checkpoints too")), (tr("They answer the same questions"),
                                                                                tr("and are graded alike")),
                           (newest[0].title, evaluate_paper.summary(Result.of(newest[0]))) if newest else
                           (tr("Nothing yet"), tr("figures with their intervals")), "will" if not newest else "did")

    def _build_empty(self) -> None:
        box = self._places["empty"].layout()
        survey = self.context.survey
        has_model = bool(self.plan.models) or bool(survey and survey.of_kind("model"))
        if self._empty_for != has_model:
            self._empty_for = has_model
            clear(box)
            box.addWidget(empty_state(self.context, self.begin, has_model))

    _empty_for: bool | None = None

    def _build_running(self) -> bool:
        """Widgets for the run that is followed; whether they are new."""
        from desktop.pages.evaluate.running_view import RunningView
        follower, process = self._run.follower, self._run.process
        if follower is None or process is None or (self.running is not None and self.running.follower is follower):
            return False
        box = self._places["running"].layout()
        clear(box)
        title = str(follower.run.spec.get("title") or tr("Measuring"))
        self.running = RunningView(self.context, follower, process, title)
        self.running.ended.connect(self._ended)
        follower.changed.connect(self._show_pause)
        process.asked_changed.connect(self._show_pause)
        box.addWidget(self.running)
        return True

    def _show_pause(self, *_: object) -> None:
        if self._view == "running" and self._run.process is not None and self._run.follower is not None:
            asked = self._run.process.asked
            self.pause.setEnabled(self._run.follower.status in ("running", "waiting") and not asked)
            self.pause.set_words(tr("Pausing") if asked == "pause" else tr("Pause"))

    # what the person does ---------------------------------------------------------------------------------------------

    def to_start(self) -> None:
        self._seen = self._run.run_id
        self._view = ""
        self._shown = ""
        self._notes.clear()
        self._refresh()

    def begin(self) -> None:
        """Choose what is measured."""
        self.setup.notes.clear()
        self._show("setup")
        self._fill_setup()
        if "judge" in self.plan.needs:
            self._look_for_judges()

    def _act(self, what: str, made: list[Artifact]) -> None:
        if what == "open":
            self.show_evaluation(made[0].id)
        elif what == "again":
            self._again_of(made[0].id)
        elif what == "compare" and len(made) == 2:
            self._compared = list(made)
            self._show("compare")
            self.compare_view.load(*made)

    def _edited(self) -> None:
        self.context.remember(self._key, {k: self.plan.values[k] for k in REMEMBERED})
        if self._view == "setup":
            self._show_flow()

    def _look_for_judges(self) -> None:
        self._find.ask(FIND, str(self.project.dir), {}, self._judges_found, self.setup.judges_failed)

    def _judges_found(self, answer: Any) -> None:
        self.setup.set_judges(instruct_found.places(answer if isinstance(answer, list) else answer.get("found", [])))

    def _start_by_key(self) -> None:
        if self._view == "setup" and self.isVisible():
            self.launch_plan()

    def launch_plan(self) -> None:
        problems = self.plan.problems()
        self.setup.show_problems(problems)
        if problems or self._starting:
            if problems:
                self.scroll.verticalScrollBar().setValue(0)
            return
        self._create(self.plan.spec())

    def _create(self, spec: Spec) -> None:
        """A run copies its questions, which may be many: made in a thread."""
        project = self.project
        self._starting, self._seen = True, ""

        def made(run: Run) -> None:
            self._starting = False
            self._follow(run.id)

        def failed(wrong: Exception) -> None:
            self._starting = False
            if not isinstance(wrong, FledgeError):
                raise wrong
            self._notes.show_error(wrong)
        self.context.jobs.run(lambda: project.runs.create(spec), then=made, failed=failed, owner=self)

    def _follow(self, id: str) -> None:
        self._seen = ""
        self._notes.clear()
        self._run.show(self.project, id)
        assert self._run.process is not None
        self._run.process.start(self.context.device)
        self._show("running")
        self.context.look()

    def _resume(self, id: str) -> None:
        if self._run.run_id == id:
            self._run.forget()
            self.running = None
        self._follow(id)

    def _again(self, run: str) -> None:
        self.plan.take(dict(self.project.runs.get(run).spec))
        self._again_with()

    def _again_of(self, id: str) -> None:
        made = self._made(id)
        if made is not None:
            self.plan.take(dict(made.spec))
            self._again_with()

    def _again_with(self) -> None:
        self.plan.set_models(self.plan.models)
        if self.plan.suites is not None:
            self.plan.set_suites(self.plan.suites)
        if self.plan.sets is not None:
            self.plan.set_sets(self.plan.sets)
        self.begin()

    def _pause(self) -> None:
        if self._run.process is not None:
            self._run.process.pause()

    def _ended(self, status: str) -> None:
        ended = self.take_end()
        if ended is None:
            return
        follower, trouble = ended
        if self._view not in ("", "running", "start", "empty"):  # what the person reads or judges meanwhile is not swapped away
            self.context.toast(tr("An evaluation is done") if trouble is None else tr("An evaluation could not be finished"),
                               tr("Look at it"), self.to_start)
            return
        if trouble is None:
            made = self.project.artifacts.made_by(follower.run.id, "evaluation")
            notices = list(follower.state.notices)
            if made is not None:
                self._awaited = made.id
                self._refresh()
                if notices:
                    self._notes.show_note(Note(self.theme, "warn", notices[0].title, " ".join(n.text for n in notices[:3])))
                return
            self.to_start()
            return
        self._view = ""
        self._refresh()
        resume = Button(self.theme, tr("Resume"), "primary" if status in RESUMABLE else "secondary", icon="play",
                        on_click=lambda: self._resume(follower.run.id))
        change = Button(self.theme, tr("Change the settings"), on_click=lambda: self._again(follower.run.id))
        if status in ("paused", "stopped"):
            self._notes.show_note(Note(self.theme, "info", tr("The evaluation is paused") if status == "paused" else
                                       tr("The evaluation was stopped"), tr("What was answered is kept; nothing is asked twice."), resume,
                                       change))
        else:
            self._notes.show_error(trouble, *((resume, change) if status in (*RESUMABLE, "crashed") else (change,)),
                                   title=tr("The evaluation could not be finished"))

    # an evaluation ----------------------------------------------------------------------------------------------------

    def show_evaluation(self, id: str) -> None:
        """The figures of one, with what people voted."""
        self._shown = id
        made = self._made(id)
        if made is None:
            self._awaited = id
            self.context.look()
            return
        self._laid_out, self._session = [], None
        self.result.load(made)
        self._show("result")
        self.scroll.verticalScrollBar().setValue(0)
        self._header.set(*self._heading("result"))
        self._show_flow()
        if any(s["kind"] == BLIND for s in made.facts.get("suites") or ()):
            self._read_votes(made, lambda: self._tell_votes(made))

    def _read_votes(self, made: Artifact, then: Any) -> None:
        votes = self.project.library.votes

        def done(session: BlindSession) -> None:
            if self._shown == made.id:
                self._session = session
                then()
        self.context.jobs.run(lambda: evaluate_blind.read(made.path, made.id, votes), then=done, failed=self._not_read, owner=self)

    def _tell_votes(self, made: Artifact) -> None:
        session = self._session
        if session is None or self._shown != made.id:
            return
        first = (made.facts.get("models") or [{"id": ""}])[0]["id"]
        told = session.complete or (made.id in self._told and session.done > 0)
        self.result.load(made, session.tallies(first) if told else None, (session.done, session.total))
        self._show_flow()

    def judge_blindly(self) -> None:
        made, session = self._made(self._shown), self._session
        if made is None or session is None:
            return
        self.blind.load(session, self.project.library.votes, Result.of(made))
        self._show("blind")
        self.blind.setFocus()

    def _voted(self) -> None:
        if self.blind.told:
            self._told.add(self._shown)
        self._show_flow()

    def save_report(self) -> None:
        made, result = self._made(self._shown), self.result.result
        if made is None or result is None:
            return
        home = QStandardPaths.writableLocation(QStandardPaths.StandardLocation.DocumentsLocation) or str(Path.home())
        path, _ = QFileDialog.getSaveFileName(self, tr("Save the report"), str(Path(home) / f"{made.id}.html"),
                                              tr("Web page (*.html);;JSON (*.json)"))
        if path:
            self.context.jobs.run(lambda: evaluate_paper.write(made, result, Path(path)),
                                  then=lambda to: self.context.toast(tr("The report is saved: {file}", file=to.name)),
                                  failed=self._not_saved, owner=self)

    def _not_saved(self, wrong: Exception) -> None:
        if not isinstance(wrong, (FledgeError, OSError)):
            raise wrong
        said = wrong if isinstance(wrong, FledgeError) else FledgeError(tr("The report cannot be written: {why}.", why=str(wrong)),
                                                                         tr("Choose another place."))
        self._notes.show_error(said, Button(self.theme, tr("Choose another place"), on_click=self.save_report))

    # suites -----------------------------------------------------------------------------------------------------------

    def edit_suite(self, id: str = "") -> None:
        """A new suite, an own one to change, or a copy of a shipped one."""
        known = next((s for s in self.plan.suites or () if s.id == id), None)
        from desktop.models import evaluate_suites
        if not id:
            self._open_suite(evaluate_suites.SuiteDraft())
            return
        project = self.project
        copy = known is not None and not known.own

        def failed(wrong: Exception) -> None:
            if not isinstance(wrong, FledgeError):
                raise wrong
            self._notes.show_error(wrong)
        self.context.jobs.run(lambda: evaluate_suites.of_suite(project.dir, id, copy), then=self._open_suite, failed=failed, owner=self)

    def _open_suite(self, draft: "SuiteDraft") -> None:
        self.suite.load(draft, list(self.plan.sets or ()))
        self._show("suite")

    def _leave_suite(self) -> None:
        self._show("setup")

    def _suite_saved(self, id: str) -> None:
        if id not in self.plan.values["suites"]:
            self.plan.values["suites"] = (*self.plan.values["suites"], id)
        self._show("setup")
        self._read()
        self.context.toast(tr("The suite is saved and chosen"))

    def _delete_suite(self) -> None:
        from desktop.models import evaluate_suites
        project, id = self.project, self.suite.draft.id

        def gone(_: Any) -> None:
            self._show("setup")
            self._read()
            self.context.toast(tr("The suite is deleted; evaluations keep their answers"))
        self.context.jobs.run(lambda: evaluate_suites.delete(project.dir, id), then=gone, failed=self._not_read, owner=self)
