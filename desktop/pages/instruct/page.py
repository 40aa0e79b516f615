"""The Instruction data page: which of its views is on the screen, and what its buttons do. The views: the sets (start_view.py), the wizard,
a run under way, what came out (result_view.py), the import, and the review of rows (review.py, loaded when it is first wanted)."""

import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QFileDialog
from shiboken6 import isValid

from desktop.context import AppContext
from desktop.jobs.stage_run import StageRun
from desktop.models.instruct_result import counts, fact
from desktop.models.survey import RunGlance
from desktop.pages.instruct.exports import Exports
from desktop.pages.instruct.import_view import ImportView
from desktop.pages.instruct.result_view import ResultView
from desktop.pages.instruct.running_view import LIVE, RunningView, model_words
from desktop.pages.instruct.start_view import StartView, empty_state
from desktop.pages.instruct.wizard import Wizard
from desktop.widgets.buttons import Button
from desktop.widgets.layout import Item, clear, col, show_if
from desktop.widgets.notes import Note, NoteSlot
from desktop.widgets.rows_import import FILTER
from desktop.widgets.run_page import RunPage
from desktop.widgets.run_panel import clock
from desktop.widgets.sets_page import SetsPage
from engine.contract.errors import FledgeError
from engine.contract.units import number
from engine.contract.words import tr, trn
from engine.project.runs import RESUMABLE
from engine.stages.instruct.spec import InstructSpec

STAGE = "instruct"
SENTENCE = tr("Questions and answers that teach a base model to reply.")
REVIEW = "desktop.pages.instruct.review"
"""Gives `ReviewView(context, on_back)` with `load(set_ids, **filters)` and `rest()`; header buttons are its own."""
RESUME_MS = 15_000


class InstructPage(SetsPage, RunPage):
    """Views: see above. `opened(run=..)` shows a run, `opened(set=..)` what came out of a set, `review=True` its rows."""

    VIEWS = ("start", "wizard", "running", "result", "import", "review")
    HEADED = ("start", "running", "result", "import")
    RUN = "running"

    def __init__(self, context: AppContext) -> None:
        super().__init__(context, tr("Instruction data"), SENTENCE)
        theme = self.theme
        self._run = StageRun(self)
        self._seen, self._resuming = "", False
        self._previews: dict[str, bool] = {}
        self._result_set = ""
        self.wizard: Wizard | None = None
        self.running: RunningView | None = None
        self.review: Any = None
        self._export_notes = NoteSlot(theme)
        self._export_notes.layout().setContentsMargins(0, 0, 0, 12)
        self.exports = Exports(context, self, self._export_notes)
        self.start = StartView(context)
        self.start.can_review = self.can_review
        self.start.can_tune = self.can_tune
        self.start.wanted.connect(self.act)
        self._empty = empty_state(theme, self.generate, self.choose_file, self.write_by_hand)
        self.result = ResultView(context)
        self.bring = ImportView(context)
        self.bring.imported.connect(self._imported)
        self.bring.cancelled.connect(self.to_start)
        self.bring.choose_wanted.connect(self.choose_file)
        self._places["start"].layout().addWidget(self.start, 1)
        self._places["start"].layout().addWidget(self._empty, 1)
        self._places["result"].layout().addWidget(self.result)
        self._places["import"].layout().addWidget(self.bring)
        self.frame(col(self._header, 14, self._flow, 12, self._notes, self._export_notes, gap=0), (self.start, self._empty))
        context.survey_changed.connect(self._survey_changed)
        self._run.changed.connect(self._survey_changed)

    # coming and going -------------------------------------------------------------------------------------------------

    @property
    def can_review(self) -> bool:
        """Whether the review of rows is there."""
        return importlib.util.find_spec(REVIEW) is not None

    @property
    def can_tune(self) -> bool:
        """Whether there is a page to fine-tune on."""
        from desktop.pages import PAGES  # it names this page, so it cannot be read before
        return any(entry.id == "sft" for entry in PAGES)

    def opened(self, **args: Any) -> None:
        if args.get("run"):
            self._seen = ""
            self._run.show(self.project, str(args["run"]))
            follower = self._run.follower
            if follower is not None and follower.run.spec.get("preview"):
                self._seen = follower.run.id
            elif follower is not None and follower.status not in LIVE and follower.run.status_of(follower.state, False) == "done":
                self._seen = follower.run.id
                self._show_result_of_run(follower.run.id)
                return
            else:
                self._show("running")
        elif args.get("set"):
            if args.get("review"):
                self.open_review((str(args["set"]),))
            else:
                self.open_result(str(args["set"]))
            return
        elif args.get("files"):
            self.take([str(f) for f in args["files"]])
        self.read_sets()
        if self._view == "wizard" and self.wizard is not None:
            self.wizard.look_around()
        elif self._view == "running" and self.running is not None:
            self.running.tail.start()
        self._survey_changed()

    def left(self) -> None:
        self._ingest.stop()
        if self.wizard is not None:
            self.wizard.rest()
        if self.running is not None:
            self.running.rest()
        if self.review is not None:
            self.review.rest()

    # sets -------------------------------------------------------------------------------------------------------------

    @property
    def library(self) -> Any:
        return self.project.library.examples

    def read_sets(self) -> None:
        """The sets of the library, with rows that runs have left taken in first."""
        project = self.project

        def read() -> list[Any]:
            from engine.project.ingest import ingest_runs
            ingest_runs(project)
            return sorted(project.library.examples.sets(), key=lambda s: -s.created)
        self.context.jobs.run(read, then=self._sets_read, failed=self._failed, owner=self)

    def _sets_read(self, sets: list[Any]) -> None:
        self._sets = sets
        self.start.set(sets)
        if self._view in ("", "start"):
            self._show("start")
        if self._view == "result" and all(s.id != self._result_set for s in sets):
            self.to_start()

    def run_under_way(self) -> str:
        follower = self._run.follower
        return "" if follower is None or follower.run.spec.get("preview") else follower.run.id

    def _ingest_failed(self, wrong: Exception) -> None:
        if not isinstance(wrong, FledgeError):
            raise wrong
        self._notes.show_error(wrong)

    def act(self, what: str, chosen: Any) -> None:
        """What a person wants with a set."""
        if what == "review":
            self.open_review((chosen.id,))
        elif what == "result":
            self.open_result(chosen.id)
        elif what == "export":
            self.exports.menu(chosen)
        elif what == "tune":
            self.context.navigate("sft", examples=[chosen.id])
        elif what == "rename":
            self.rename(chosen)
        elif what == "delete":
            words = trn("Its {shown} row goes, and so does what you decided about it. Models that were trained on it stay. This cannot be "
                        "undone.", "Its {shown} rows go, and so does what you decided about them. Models that were trained on them stay. "
                        "This cannot be undone.", chosen.count, shown=number(chosen.count))
            self.delete(chosen, words)

    # which view -------------------------------------------------------------------------------------------------------

    def _is_preview(self, run: RunGlance) -> bool:
        """Previews are shown where they are made, and nowhere else."""
        if run.id not in self._previews:
            self._previews[run.id] = bool(self.project.runs.get(run.id).spec.get("preview"))
        return self._previews[run.id]

    def _runs(self) -> list[RunGlance]:
        survey = self.context.survey
        return [r for r in survey.of_stage(STAGE) if not self._is_preview(r)] if survey is not None else []

    def _survey_changed(self) -> None:
        """Follow what the project does: a run under way is shown when it begins."""
        if self.context.survey is None or not self.isVisible():
            return
        runs = self._runs()
        live = next((r for r in runs if r.status in LIVE and r.status != "created"), None)
        if live is not None and live.id != self._seen and self._view in ("", "start"):
            self._run.show(self.project, live.id)
        follower = self._run.follower
        if follower is not None and follower.status in LIVE and follower.run.id != self._seen and not follower.run.spec.get("preview") \
                and self._view in ("", "start"):
            self._show("running")
        elif self._view == "" and self._sets is not None:
            self._show("start")
        if self._view == "start":
            self._show_broken(runs)

    def _show_broken(self, runs: list[RunGlance]) -> None:
        """A run that ended early and can go on is named above the sets."""
        broken = next((r for r in runs if r.status in (*RESUMABLE, "failed", "crashed")), None)
        if broken is None or broken is not runs[0]:
            return
        if self._notes.note is not None:
            return
        look = Button(self.theme, tr("Look at it"), on_click=lambda: self.opened(run=broken.id))
        self._name_ended(broken, broken.sentence if broken.status == "failed" else "", look)

    def _show(self, view: str) -> None:
        fresh, self._view = view != self._view, view
        if view == "running":
            fresh = self._build_running() or fresh
        elif self.running is not None:  # its buttons go with the header
            self._drop_running()
        self._put(view, fresh)
        if view == "start":
            self._show_start()
        elif view == "running":
            self._show_running()
        elif view == "import":
            self._flow.set(*self.bring.answers())

    def _actions(self, view: str) -> tuple[Item, ...]:
        theme = self.theme
        if view == "start" and self._sets:
            return (Button(theme, tr("Import a file"), icon="in", on_click=self.choose_file),
                    Button(theme, tr("Generate with a local model"), "primary", icon="plus", on_click=self.generate))
        if view == "running" and self.running is not None:
            return (Button(theme, tr("All sets"), icon="left", on_click=self._leave_run), *self.running.header_actions)
        if view == "result":
            chosen = self._set(self._result_set)
            review = Button(theme, tr("Review"), icon="list",
                            on_click=lambda: self.open_review((self._result_set,))) if self.can_review else None
            export = Button(theme, tr("Export"), icon="export", on_click=lambda: self.exports.menu(self._set(self._result_set)))
            tune = Button(theme, tr("Fine-tune on it"), "primary", on_click=lambda: self.act("tune", self._set(self._result_set))) \
                if self.can_tune else None
            if review is not None and tune is None:
                review.set_kind("primary")
            for button in (review, export, tune):
                if button is not None:
                    button.setEnabled(chosen is not None and chosen.count > 0)
            return (Button(theme, tr("All sets"), icon="left", on_click=self.to_start), export, review, tune)
        if view == "import":
            return self.bring.header_actions
        return ()

    def _set(self, id: str) -> Any:
        return next((s for s in self._sets or () if s.id == id), None)

    def to_start(self) -> None:
        """The sets again."""
        self._seen = self._run.run_id or self._seen
        self._show("start")
        self.read_sets()

    def _show_start(self) -> None:
        sets = self._sets or []
        self._header.set_actions(*self._actions("start"))
        show_if(self.start, bool(sets))
        show_if(self._empty, self._sets is not None and not sets)
        rows, usable = sum(s.count for s in sets), sum(s.accepted + s.new for s in sets)
        came = (trn("{shown} row", "{shown} rows", rows, shown=number(rows)),
                tr("{count} of them for training", count=number(usable))) if sets else (tr("Nothing yet"),
                                                                                        tr("sets of examples to train on"))
        self._show_broken(self._runs())
        self._flow.set((tr("Documents, topics, examples"), tr("or a file that you have")),
                       (tr("A local model asks and answers"), tr("you look the rows through")), came, "will")

    # the wizard -------------------------------------------------------------------------------------------------------

    def generate(self, spec: dict[str, Any] | None = None) -> None:
        """The wizard, as it was left, or with the settings of a run."""
        if self.wizard is None:
            self.wizard = Wizard(self.context)
            self.wizard.start_wanted.connect(self._start)
            self.wizard.cancelled.connect(self.to_start)
            self._places["wizard"].layout().addWidget(self.wizard)
            self.wizard._survey_changed()
        if isinstance(spec, dict):
            self.wizard.take_spec(spec)
        self._show("wizard")
        self.wizard.look_around()

    def _start(self, spec: InstructSpec) -> None:
        assert self.wizard is not None
        if self.launch(lambda: spec, self.wizard.notes):
            self.wizard.forget()
            self._show("running")

    # the run ----------------------------------------------------------------------------------------------------------

    def _build_running(self) -> bool:
        """The view of the run that is followed; whether it was made anew."""
        follower, process = self._run.follower, self._run.process
        assert follower is not None and process is not None
        if self.running is not None and self.running.follower is follower:
            return False
        self._drop_running()
        self.running = RunningView(self.context, follower, process)
        self.running.ended.connect(self._ended)
        self.running.resume_wanted.connect(self._resume)
        self._places["running"].layout().addWidget(self.running)
        follower.changed.connect(self._show_running)
        return True

    def _drop_running(self) -> None:
        if self.running is not None:
            self.running.close_down()
            if isValid(self.running.follower):
                self.running.follower.changed.disconnect(self._show_running)
            clear(self._places["running"].layout())
            self.running = None

    def _show_running(self) -> None:
        follower = self._run.follower
        if follower is None or self._view != "running" or self.running is None:
            return
        run, live = follower.run, follower.status in LIVE
        words = tr("Run {number}, started {time}. It goes on when this window is closed.", number=run.number,
                   time=clock(run.created)) if live \
            else tr("Run {number}, started {time}.", number=run.number, time=clock(run.created))
        self._header.set(run.title or tr("Instruction data"), words)
        rows = int(run.spec.get("count") or 0)
        happens = (trn("{count} row asked for", "{count} rows asked for", rows), model_words(run.spec))
        kept = self.running.arrived.kept
        came = (trn("{shown} row kept", "{shown} rows kept", kept, shown=number(kept)),
                tr("in the library as they come") if live else tr("in the library")) if self.running.arrived.count else \
            (tr("Nothing yet"), tr("rows come into the library one by one"))
        self._flow.set(self._goes_in(run.spec), happens, came, "is" if live else "did")

    def _goes_in(self, spec: dict[str, Any]) -> tuple[str, str]:
        """What a run starts from."""
        recipe = Path(str(spec.get("recipe", ""))).stem
        if spec.get("corpus"):
            return dict(self.context.choices("corpus")).get(str(spec["corpus"]), str(spec["corpus"])), tr("recipe {name}", name=recipe)
        seeds, topics = list(spec.get("seeds") or ()), list(spec.get("topics") or ())
        if seeds:
            titles = [s.title for s in self._sets or () if s.id in seeds]
            return (", ".join(titles) or trn("{count} set of examples", "{count} sets of examples", len(seeds))), tr("recipe {name}",
                                                                                                                     name=recipe)
        if topics:
            return trn("{count} topic", "{count} topics", len(topics)), tr("recipe {name}", name=recipe)
        return tr("recipe {name}", name=recipe), ""

    def _leave_run(self) -> None:
        """The run goes on; the sets are shown."""
        self.to_start()

    def _ended(self, status: str) -> None:
        if self._resuming:
            return
        ended = self.take_end()
        if ended is None:
            return
        follower, trouble = ended
        id = follower.run.id
        self.ingest()
        if trouble is None:
            self._show_result_of_run(id)
        elif self.running is not None:
            use = (lambda: self._show_result_of_run(id)) if self.running.arrived.count else None
            spec = dict(follower.run.spec)
            self.running.show_trouble(trouble, status, self._resume, lambda: self.generate(spec), use)
            self._show_running()

    def _resume(self) -> None:
        assert self._run.process is not None and self._run.follower is not None and self.running is not None
        self._seen, self._resuming = "", True
        self.running.trouble.clear()
        self._run.follower.status_changed.connect(self._resumed)
        self._run.process.resume()
        self._resumed(self._run.follower.status)
        QTimer.singleShot(RESUME_MS, self, self._look_after_resume)

    def _resumed(self, status: str) -> None:
        """Until its worker has the lock the run still looks as it was left."""
        if self._resuming and status in LIVE and self._run.follower is not None:
            self._resuming = False
            self._run.follower.status_changed.disconnect(self._resumed)
            self._drop_running()
            self._show("running")

    def _look_after_resume(self) -> None:
        """The worker never came: say again what can be done."""
        if self._resuming and self._run.follower is not None:
            self._resuming = False
            self._run.follower.status_changed.disconnect(self._resumed)
            self._ended(self._run.follower.status)

    # what came out ----------------------------------------------------------------------------------------------------

    def _show_result_of_run(self, run: str) -> None:
        """The set that a run filled; its last rows are taken in first."""
        project = self.project

        def read() -> list[Any]:
            from engine.project.ingest import ingest_run
            ingest_run(project, run)
            return sorted(project.library.examples.sets(), key=lambda s: -s.created)

        def then(sets: list[Any]) -> None:
            self._sets_read(sets)
            made = next((s for s in sets if s.run == run), None)
            if made is not None:
                self.open_result(made.id)
            else:
                self._notes.show_note(Note(self.theme, "warn", tr("No row came of it"),
                                           tr("Every reply was unreadable or set aside. The log of "
                                           "the run says more."), Button(self.theme, tr("Look at it"),
                                                                         on_click=lambda: self.opened(run=run))))
                self._show("start")
        self.context.jobs.run(read, then=then, failed=self._failed, owner=self)

    def open_result(self, id: str) -> None:
        """What came out of one set."""
        chosen = self._set(id)
        if chosen is None:
            if self._sets is None:
                self.context.jobs.run(lambda: self.project.library.examples.sets(), then=lambda sets: self._first_sets(sets, id),
                                      failed=self._failed, owner=self)
            return
        self._result_set, run = id, None
        if chosen.run:
            try:
                run = self.project.runs.get(chosen.run)
            except FledgeError:
                run = None  # its folder was deleted; the set is there all the same
        made = self.project.artifacts.made_by(chosen.run, "examples") if run is not None else None
        self.result.load(chosen, run, made)
        self._show("result")
        self._header.set(chosen.title, tr("What came out, and why rows were set aside."))
        self._header.set_actions(*self._actions("result"))
        facts: dict[str, Any] = dict(made.facts) if made is not None else {}
        asked = fact(counts(facts), "planned") or float((run.spec.get("count") if run is not None else 0) or chosen.count)
        goes_in = self._goes_in(run.spec) if run is not None else (chosen.origin.removeprefix("import:") or tr("By hand"), tr("imported"))
        happened = (trn("{shown} row asked for", "{shown} rows asked for", int(asked), shown=number(asked)), model_words(run.spec)) \
            if run is not None else (tr("Imported"), clock(chosen.created))
        usable = chosen.accepted + chosen.new
        self._flow.set(goes_in, happened, (trn("{shown} row for training", "{shown} rows for training", usable, shown=number(usable)),
                                           tr("{count} set aside", count=number(chosen.rejected))), "did")

    def _first_sets(self, sets: list[Any], id: str) -> None:
        self._sets_read(sorted(sets, key=lambda s: -s.created))
        if self._set(id) is not None:
            self.open_result(id)

    # the review -------------------------------------------------------------------------------------------------------

    def write_by_hand(self) -> None:
        """An example of one's own: the first of a set, where there is none."""
        self.open_review((), then=lambda review: review.write())

    def open_review(self, sets: tuple[str, ...], then: Callable[[Any], object] = lambda review: None, **filters: Any) -> None:
        """Rows of these sets, one by one. The view is loaded when it is first wanted; `then` is called with it."""
        if not self.can_review:
            return

        def loaded(module: Any) -> None:
            if self.review is None:
                self.review = module.ReviewView(self.context, on_back=self.to_start)
                self._places["review"].layout().addWidget(self.review)
            self.review.load(sets, **filters)
            self._show("review")
            then(self.review)
        self.context.jobs.run(lambda: importlib.import_module(REVIEW), then=loaded, owner=self)

    # files ------------------------------------------------------------------------------------------------------------

    def choose_file(self) -> None:
        names, _ = QFileDialog.getOpenFileNames(self, tr("Import examples"), str(Path.home()),
                                                tr("Examples ({kinds});;All files (*)", kinds=FILTER))
        self.take(names)

    def _imported(self, set_id: str) -> None:

        def then(sets: list[Any]) -> None:
            self._sets_read(sorted(sets, key=lambda s: -s.created))
            self._show("start")
            self.start.choose(set_id)
        self.context.jobs.run(lambda: self.project.library.examples.sets(), then=then, failed=self._failed, owner=self)
