"""The Preferences page: which of its views is on the screen, and what its buttons do. The views: the sets (start_view.py), the wizard that
makes pairs, its run (run_view.py), the import, labelling (label_view.py), and all pairs of a set in a table (queue_view.py)."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication, QFileDialog

from desktop.context import AppContext
from desktop.models import pair_sources
from desktop.models.label_desk import GIVEN
from desktop.models.label_words import enough_words
from desktop.models.pair_plan import makers, model_titles
from desktop.models.pair_sources import Found
from desktop.pages.preference.files_view import PairImport
from desktop.pages.preference.label_view import ORDER, LabelView
from desktop.pages.preference.people import Exports, MergeDialog, PeopleDialog
from desktop.pages.preference.queue_view import QueueView
from desktop.pages.preference.run_view import PairRun
from desktop.pages.preference.start_view import StartView, empty_state
from desktop.pages.preference.wizard import PairWizard
from desktop.widgets.buttons import Button
from desktop.widgets.layout import Item, clear, col, show_if
from desktop.widgets.notes import Note
from desktop.widgets.rows_import import FILTER
from desktop.widgets.sets_page import SetsPage
from engine.contract.errors import FledgeError
from engine.contract.units import duration, number
from engine.contract.words import tr, trn
from engine.project.pair_sets import PairSet
from engine.project.runs import Run
from engine.stages.preference.spec import PreferenceSpec

STAGE, REWARD = "preference", "reward"
SENTENCE = tr("Which answer is better? Makers are hidden, sides are drawn at random.")
LAST = "label.last"
ACTIVE = ("created", "starting", "running", "waiting", "queued")


class PreferencePage(SetsPage):
    """`opened(run=..)` shows a run, `opened(set=..)` labels a set, `files=[..]` imports."""

    VIEWS = ("start", "wizard", "run", "import", "label", "queues")
    HEADED = ("start", "import", "label", "queues")
    RUN = "run"

    def __init__(self, context: AppContext) -> None:
        super().__init__(context, tr("Preferences"), SENTENCE)
        self._labelling: tuple[str, ...] = ()
        self._first, self._came_from_queues = True, False
        self._made_by = ""
        self._sources: list[Found] = []
        self.wizard: PairWizard | None = None
        self.run_side: PairRun | None = None
        self.exports = Exports(context, self, self._notes)
        self.start = StartView(context)
        self.start.wanted.connect(self.act)
        self.start.source_wanted.connect(self._take_source)
        self._empty_place = col(gap=0)
        self.label = LabelView(context)
        self.label.changed.connect(self._show_label_head)
        self.label.queues_wanted.connect(lambda: self.open_queues(self._labelling))
        self.label.train_wanted.connect(lambda: self._train(self._labelling))
        self.label.people_wanted.connect(self.show_people)
        self.label.left.connect(self._visit_over)
        self.queues = QueueView(context)
        self.queues.label_wanted.connect(lambda: self.open_label(self._labelling))
        self.queues.pair_wanted.connect(self._visit)
        self.bring = PairImport(context)
        self.bring.imported.connect(self._imported)
        self.bring.cancelled.connect(self.to_start)
        self.bring.changed.connect(lambda: self._flow.set(*self.bring.answers()) if self._view == "import" else None)
        self.bring.choose_wanted.connect(self.choose_file)
        for view, parts in (("start", (self.start, self._empty_place)), ("import", (self.bring,)), ("label", (self.label,)),
                            ("queues", (self.queues,))):
            for part in parts:
                self._places[view].layout().addWidget(part, 1)
        self.frame(col(self._header, 14, self._flow, 16, self._notes, gap=0), (self.start, self._empty_place))
        context.survey_changed.connect(self._survey_changed)

    # coming and going -------------------------------------------------------------------------------------------------

    @property
    def can_train(self) -> bool:
        """Whether there is a page to train a reward model on."""
        from desktop.pages import PAGES  # it names this page, so it cannot be read before
        return any(entry.id == REWARD for entry in PAGES)

    def _last_key(self) -> str:
        return f"{LAST}:{self.project.dir}"

    def opened(self, **args: Any) -> None:
        self.start.can_train = self.label.can_train = self.can_train
        if args.get("order") and self._view == "label":
            self.label.set_order(str(args["order"]))
        elif args.get("order"):
            self.context.remember(ORDER, str(args["order"]))  # for when labelling begins
            self._first = False
            self.read_sets(lambda: self._label_some(tuple(str(s) for s in args.get("sets") or ())))
            return
        if args.get("run"):
            self._first = False
            self.show_run(self.project.runs.get(str(args["run"])))
            return
        if args.get("files"):
            self._first = False
            self.take([str(f) for f in args["files"]])
        elif args.get("set"):
            self._first = False
            self.read_sets(lambda: self.open_label((str(args["set"]),)))
            return
        self.read_sets()
        if self._view == "wizard" and self.wizard is not None:
            self.wizard.look_around()
        elif self._view == "run" and self.run_side is not None:
            self.run_side.go_on_following()
            self._ingest.start()
        elif self._view == "label":
            self.label.again()

    def left(self) -> None:
        self._ingest.stop()
        self.label.rest()
        if self.wizard is not None:
            self.wizard.rest()
        if self.run_side is not None:
            self.run_side.pause_following()

    # sets -------------------------------------------------------------------------------------------------------------

    @property
    def library(self) -> Any:
        return self.project.library.pairs

    def read_sets(self, then: Callable[[], object] | None = None) -> None:
        """The sets of the library, with pairs that runs have left taken in first."""
        project = self.project

        def read() -> tuple[list[PairSet], list[Found]]:
            from engine.project.ingest import ingest_runs
            ingest_runs(project)
            return sorted(project.library.pairs.sets(), key=lambda s: -s.created), pair_sources.look(project)

        def came(found: tuple[list[PairSet], list[Found]]) -> None:
            self._take_sets(*found)
            if then is not None:
                then()
        self.context.jobs.run(read, then=came, failed=self._failed, owner=self)

    def _take_sets(self, sets: list[PairSet], sources: list[Found]) -> None:
        self._sets, self._sources = sets, sources
        self.start.set(sets)
        self.start.set_sources(sources)
        if self._view == "":
            self._choose_first()
        elif self._view == "start":
            self._show("start")
        elif self._view in ("label", "queues") and not self._chosen():
            self.to_start()

    def _choose_first(self) -> None:
        """A run under way; the set that was labelled last while there is something to do in it; else all sets."""
        survey = self.context.survey
        runs = survey.of_stage(STAGE) if survey is not None else []
        live = next((r for r in runs if r.status in ACTIVE and r.status != "created"), None)
        kept = self.context.settings.get(self._last_key(), [])
        last = tuple(s.id for s in self._sets or () if isinstance(kept, list) and s.id in kept and s.todo)
        if live is not None and not last:
            self.show_run(self.project.runs.get(live.id))
        elif last and self._first:
            self.open_label(last)
        else:
            self._show("start")

    def _chosen(self) -> list[PairSet]:
        return [s for s in self._sets or () if s.id in self._labelling]

    def run_under_way(self) -> str:
        return self.run_side.run.id if self.run_side is not None else ""

    def act(self, what: str, chosen: PairSet) -> None:
        """What a person wants with a set."""
        if what == "label":
            self.open_label((chosen.id,), given=bool(chosen.given and not chosen.todo))
        elif what == "queues":
            self.open_queues((chosen.id,))
        elif what == "train":
            self._train((chosen.id,))
        elif what == "export":
            self.exports.menu(chosen)
        elif what == "rename":
            self.rename(chosen)
        elif what == "delete":
            words = trn("Its {shown} pair goes with its labels, unless another set has it, too. Models that were trained on it stay. "
                        "This cannot be undone.",
                        "Its {shown} pairs go with their labels, except those that another set has, too. Models that were trained on them "
                        "stay. This cannot be undone.",
                        chosen.count, shown=number(chosen.count))
            self.delete(chosen, words)

    def _take_source(self, one: Found) -> None:
        def done(new: int) -> None:
            self.context.toast(trn("{shown} pair is new", "{shown} pairs are new", new, shown=number(new)))
            self.read_sets()
        self._change(lambda: pair_sources.take(self.project, one), done)

    def _train(self, sets: tuple[str, ...]) -> None:
        self.context.navigate(REWARD, pairs=list(sets))

    # which view -------------------------------------------------------------------------------------------------------

    def _survey_changed(self) -> None:
        if self.isVisible() and self._view == "start":
            self._show_broken()
            if self._sets == []:
                self._show("start")

    def _show(self, view: str) -> None:
        fresh, self._view = view != self._view, view
        self._put(view, fresh)
        if view != "run" and self.run_side is not None:
            self._drop_run()
        if view != "label":
            self.label.rest()
        if view == "start":
            self._show_start()
        elif view == "label":
            self._show_label_head()
        elif view == "queues":
            self._show_label_head()
        elif view == "import":
            self._flow.set(*self.bring.answers())

    def _actions(self, view: str) -> tuple[Item, ...]:
        theme = self.theme
        back = Button(theme, tr("All sets"), icon="left", on_click=self.to_start)
        if view == "start" and self._sets:
            return (Button(theme, tr("Merge labels"), tip=tr("Labels of other people or machines, from a file"), on_click=self.merge),
                    Button(theme, tr("Import a file"), icon="in", on_click=self.choose_file),
                    Button(theme, tr("Make pairs"), "primary", icon="plus", on_click=self.make))
        if view in ("label", "queues"):
            undo = Button(theme, "", "icon", icon="undo", name=tr("Undo the last label (Ctrl+Z)"), on_click=lambda: self.label.act("undo"))
            redo = Button(theme, "", "icon", icon="redo", name=tr("Redo (Ctrl+Shift+Z)"), on_click=lambda: self.label.act("redo"))
            train = Button(theme, tr("Train reward model"), "primary" if view == "label" else "secondary",
                           on_click=lambda: self._train(self._labelling)) if self.can_train else None
            if view == "label":
                order = Button(theme, "", "icon", icon="queue", name=tr("Order of the pairs"))
                order.clicked.connect(lambda: self.label.order_menu(order))
                return (undo, redo, order, 2, back, Button(theme, tr("Queues"), on_click=lambda: self.open_queues(self._labelling)), train)
            return (back, train, Button(theme, tr("Label"), "primary", icon="pairs", on_click=lambda: self.open_label(self._labelling)))
        if view == "import":
            return self.bring.header_actions
        return ()

    def to_start(self) -> None:
        """All sets, with the one in hand chosen."""
        was = self._labelling if self._view in ("label", "queues") else ()
        self._show("start")
        self.read_sets(lambda: self.start.choose(was[0]) if len(was) == 1 else None)

    def _show_start(self) -> None:
        sets = self._sets or []
        self._header.set_actions(*self._actions("start"))
        none = self._sets is not None and not sets
        if sets and not self.start.isAncestorOf(QApplication.focusWidget() or self):
            QTimer.singleShot(0, self, self.start.take_focus)
        show_if(self.start, bool(sets))
        show_if(self._empty_place, none)
        if none:
            self._show_empty()
        pairs, labels = sum(s.count for s in sets), sum(s.labelled for s in sets)
        came = (trn("{shown} label", "{shown} labels", labels, shown=number(labels)), enough_words(labels)) if labels else \
            (tr("Nothing yet"), tr("labels for a reward model or DPO"))
        goes = (trn("{shown} pair of answers", "{shown} pairs of answers", pairs, shown=number(pairs)),
                trn("in {count} set", "in {count} sets", len(sets))) if sets else (tr("Nothing yet"), tr("prompts and two answers to each"))
        self._flow.set(goes, (tr("You pick the better one"), tr("arrow keys, about 10 a minute")), came, "will")
        self._show_broken()

    def _show_empty(self) -> None:
        survey = self.context.survey
        models = survey.of_kind("model") if survey is not None else []
        more = [Button(self.theme, tr("Take what is there"), on_click=lambda one=one: self._take_source(one), tip=one.title)
                for one in self._sources[:1]]
        clear(self._empty_place.layout())
        self._empty_place.layout().addWidget(empty_state(self.theme, models[0].title if models else "", bool(models), self.make,
                                                         self.choose_file, more))

    def _show_broken(self) -> None:
        """A run that ended early and can go on is named above the sets; one under way, too."""
        survey = self.context.survey
        last = next(iter(survey.of_stage(STAGE)), None) if survey is not None else None
        if last is None or self._notes.note is not None or self._view != "start":
            return
        look = Button(self.theme, tr("Look at it"), on_click=lambda: self.show_run(self.project.runs.get(last.id)))
        if last.status in ACTIVE and last.status != "created":
            self._notes.show_note(Note(self.theme, "info", tr("Run {number} is making pairs", number=last.number),
                                       tr("Those that are made can be labelled already."), look, icon="pulse"))
        elif last.status in ("paused", "stopped", "interrupted", "failed", "crashed"):
            self._name_ended(last, last.sentence, look)

    # making pairs -----------------------------------------------------------------------------------------------------

    def make(self, spec: dict[str, Any] | None = None) -> None:
        """The wizard, as it was left, or with the settings of a run."""
        if self.wizard is None:
            self.wizard = PairWizard(self.context)
            self.wizard.start_wanted.connect(self._start)
            self.wizard.cancelled.connect(self.to_start)
            self._places["wizard"].layout().addWidget(self.wizard)
        if isinstance(spec, dict):
            self.wizard.take_spec(spec)
        self._show("wizard")
        self.wizard.look_around()

    def _start(self, spec: PreferenceSpec) -> None:
        """Make the run in a thread (prompts are copied into it), then start it; when the device is taken it waits in the queue."""
        wizard = self.wizard
        assert wizard is not None
        wizard.forward.setEnabled(False)
        wizard.notes.clear()

        def made(run: Run) -> None:
            wizard.forget()
            self.show_run(run)
            assert self.run_side is not None
            self.run_side.process.start(self.context.device)
            self.context.look()

        def failed(wrong: Exception) -> None:
            wizard.forward.setEnabled(True)
            if not isinstance(wrong, FledgeError):
                raise wrong
            wizard.notes.show_error(wrong)
        self.context.jobs.run(lambda: self.project.runs.create(spec), then=made, failed=failed, owner=wizard)

    def show_run(self, run: Run) -> None:
        """A run that makes pairs, under way or over."""
        if self.run_side is not None and self.run_side.run.id == run.id:
            self.run_side.go_on_following()
        else:
            self._drop_run()
            side = PairRun(self.context, run, self.label_run, self.to_start)
            side.edit_wanted.connect(lambda values: self.make({k: v for k, v in values.items() if k != "title"}))
            side.new_wanted.connect(lambda: self.make())
            self._places["run"].layout().addWidget(side, 1)
            self.run_side = side
        self._show("run")

    def _drop_run(self) -> None:
        if self.run_side is not None:
            self.run_side.close_down()
            clear(self._places["run"].layout())
            self.run_side = None

    def label_run(self, run: str) -> None:
        """Label what a run has made so far."""
        def then() -> None:
            made = next((s for s in self._sets or () if s.run == run), None)
            if made is not None:
                self.open_label((made.id,))
        self.read_sets(then)

    # labelling --------------------------------------------------------------------------------------------------------

    def open_label(self, sets: tuple[str, ...], given: bool = False) -> None:
        """Label the pairs of these sets; `given`: those, too, that came with a label."""
        if given:
            self.context.remember(GIVEN, True)
        self._labelling, self._came_from_queues = sets, False
        self.context.remember(self._last_key(), list(sets))
        self._read_makers()
        self.label.load(sets)
        self._show("label")

    def _label_some(self, wanted: tuple[str, ...]) -> None:
        """Label what is to do in these sets, else in all."""
        open_ = [s.id for s in self._sets or () if s.todo]
        chosen = tuple(s for s in open_ if s in wanted) or tuple(open_)
        if chosen:
            self.open_label(chosen)
        else:
            self.to_start()
            self.context.toast(tr("All pairs are labelled. Make more of them first."))

    def _visit(self, pair: str) -> None:
        """One pair of the table, as a card."""
        if self.label.desk.sets != self._labelling:
            self.label.load(self._labelling)
        self._came_from_queues = True
        self.label.visit(pair)
        self._show("label")

    def _visit_over(self) -> None:
        if self._came_from_queues:
            self._came_from_queues = False
            self.open_queues(self._labelling)

    def open_queues(self, sets: tuple[str, ...]) -> None:
        """All pairs of these sets: to do, skipped, done, flagged."""
        self._labelling = sets
        self._show("queues")
        self.queues.load(sets, self.label.desk.order if self.label.desk.sets == sets else "order")

    def _read_makers(self) -> None:
        """Who gave the answers, from the runs' settings: the flow strip says it of the set, never of a card."""
        runs = [s.run for s in self._chosen() if s.run]
        project = self.project

        def read() -> str:
            titles = model_titles(project)
            return "; ".join(dict.fromkeys(makers(project.runs.get(id).spec, titles) for id in runs))
        if runs:
            self.context.jobs.run(read, then=self._makers_read, failed=lambda wrong: None, owner=self)
        self._made_by = ""

    def _makers_read(self, words: str) -> None:
        self._made_by = words
        self._show_label_head()

    def _show_label_head(self) -> None:
        if self._view not in ("label", "queues"):
            return
        sets, at = self._chosen(), self.label.desk.progress
        pairs = at.count if at is not None else sum(s.count for s in sets)
        where = self._made_by or (sets[0].title if len(sets) == 1 else trn("{count} set", "{count} sets", len(sets)))
        labels = (at.done + at.given) if at is not None else sum(s.labelled for s in sets)
        saved = trn("{shown} label, saved", "{shown} labels, all saved", labels, shown=number(labels))
        waits = at is not None and bool(at.todo or (at.given and self.label.desk.given))
        pace = tr("{time} at your pace", time=duration(at.seconds_left)) if at is not None and at.seconds_left and at.todo else \
            tr("all of it is labelled") if at is not None and not waits else tr("arrow keys, about 10 a minute")
        self._flow.set((trn("{shown} pair of answers", "{shown} pairs of answers", pairs, shown=number(pairs)), where),
                       (tr("You pick the better one"), pace),
                       (saved if labels else tr("Nothing yet"), enough_words(labels)), "is")

    def show_people(self) -> None:
        """Who labels here, and how far people agree."""
        def renamed() -> None:
            self.label.again()
            self.read_sets()
        PeopleDialog(self.context, self._labelling, renamed, self.window()).open()

    def merge(self) -> None:
        """Labels of other machines, from files."""
        names, _ = QFileDialog.getOpenFileNames(self, tr("Files of labels"), str(Path.home()),
                                                tr("Labels ({kinds});;All files (*)", kinds="*.jsonl *.jsonl.gz"))
        if names:
            MergeDialog(self.context, [Path(n) for n in names], self.read_sets, self.window()).open()

    # files ------------------------------------------------------------------------------------------------------------

    def choose_file(self) -> None:
        names, _ = QFileDialog.getOpenFileNames(self, tr("Import pairs"), str(Path.home()),
                                                tr("Pairs ({kinds});;All files (*)", kinds=FILTER))
        self.take(names)

    def _imported(self, set_id: str) -> None:
        self._show("start")
        self.read_sets(lambda: self.start.choose(set_id))
