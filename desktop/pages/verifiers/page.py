"""The Verifiers page: which of its views is on the screen (the workbench, the first steps, an import), and what its buttons do. The panels
of the workbench are problems_panel.py, editor_panel.py and results.py; dialogs are dialogs.py's and making_view.py's."""

import json
from functools import cached_property
from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtGui import QDragEnterEvent, QDropEvent, QKeySequence, QShortcut
from PySide6.QtWidgets import QApplication, QFileDialog, QWidget

from desktop.context import AppContext
from desktop.jobs.exporting import Exporting
from desktop.models import verifier_checks
from desktop.models.verifier_hand import VerifierHand
from desktop.models.workbench import Workbench
from desktop.models.workbench_state import ListedProblem
from desktop.pages.verifiers.columns import ThreeColumns
from desktop.pages.verifiers.dialogs import ForeignDialog, ProblemDialog, VersionsDialog
from desktop.pages.verifiers.editor_panel import EditorPanel
from desktop.pages.verifiers.import_view import MODULE, ProblemImport
from desktop.pages.verifiers.problems_panel import ProblemsPanel
from desktop.pages.verifiers.results import ChecksPanel, RewardsPanel
from desktop.pages.verifiers.start_view import NewVerifier, empty_state
from desktop.widgets.buttons import Button
from desktop.widgets.flow_strip import FlowStrip
from desktop.widgets.keys_dialog import KeysDialog
from desktop.widgets.layout import Item, clear, col, show_if
from desktop.widgets.notes import NoteSlot
from desktop.widgets.page import Page
from desktop.widgets.page_header import PageHeader
from desktop.widgets.question import ask_delete, ask_name
from desktop.widgets.rows_import import FILTER
from engine.contract.errors import FledgeError, InputError
from engine.contract.units import duration, number, percent
from engine.contract.words import tr, trn
from engine.project import files
from engine.project.verifiers import Verifier, Version
from engine.verifiers import verifier_files

STAGE = "grpo"
SENTENCE = tr("A function that says how right an answer is. Reasoning learns from nothing else.")
VIEWS = ("bench", "start", "new", "import")
KEYS = (("Ctrl+Space", tr("Complete a name")), ("Tab", tr("Indent")), ("Shift+Tab", tr("Indent less")), ("Ctrl+/", tr("Comment, or not")),
        ("Ctrl+F", tr("Find")), ("F3", tr("Find the next")), ("F8", tr("To the next mistake")), ("Ctrl+S", tr("Save a version")),
        ("Ctrl+Return", tr("Run the checks")), ("Ctrl+Z", tr("Undo")), ("Esc", tr("Then Tab leaves the editor")))


class VerifiersPage(Page):
    """`opened(verifier="verifier-3@2", line=9)` takes one in hand, `opened(problems="problems-1")` a set; `files=[..]` are imported."""

    def __init__(self, context: AppContext) -> None:
        super().__init__(context)
        theme = self.theme
        assert context.project is not None
        self.project = context.project
        self._view = ""
        self._read = False
        self._line = 0
        self._checked_body = ""
        self._can_check = False
        self.bench, self.hand = Workbench(context, self), VerifierHand(context, self)
        self._header, self._flow, self._notes = PageHeader(tr("Verifiers"), SENTENCE), FlowStrip(theme), NoteSlot(theme)
        self._notes.layout().setContentsMargins(0, 0, 0, 12)
        self.run_checks: Button | None = None
        self.use: Button | None = None
        self.problems = ProblemsPanel(context, self.bench)
        self.problems.wanted.connect(self.act_on_problems)
        self.problems.edit_wanted.connect(self.edit_problem)
        self.problems.remove_wanted.connect(self.remove_problem)
        self.problems.hold_wanted.connect(self.hold_problem)
        self.editor = EditorPanel(context, self.bench, self.hand)
        self.editor.wanted.connect(self.act)
        self.checks, self.rewards = ChecksPanel(context, self.bench), RewardsPanel(context, self.bench)
        self.checks.line_wanted.connect(self.editor.go_to)
        self.columns = ThreeColumns(theme, self.problems, self.editor, self.checks, self.rewards)
        self._exporting = Exporting(self)
        self._exporting.done.connect(self._exported)
        self._exporting.failed.connect(self._failed)
        self.setAcceptDrops(True)
        self._places = {view: col(gap=0) for view in VIEWS}
        self._put("bench", self.columns)
        self.set_body(self._header, 14, self._flow, 16, self._notes, *((place, 1) for place in self._places.values()))
        for place in self._places.values():
            place.hide()
        keys = QShortcut(QKeySequence("Ctrl+Return"), self, context=Qt.ShortcutContext.WidgetWithChildrenShortcut)
        keys.activated.connect(self.check_all)
        for signal in (self.bench.problems_changed, self.bench.trial_changed, self.bench.scores_changed, self.bench.marks_changed,
                       self.hand.state_changed):
            signal.connect(self._refresh)
        self.bench.checks_changed.connect(self._checks_changed)
        self.bench.problems_changed.connect(self._problems_read)
        self.bench.failed.connect(self._failed)
        self.hand.failed.connect(self._failed)
        self.hand.kept_again.connect(self._notes.clear)
        self.hand.listed.connect(self._verifiers_read)
        self.hand.opened.connect(self._verifier_opened)
        self.hand.saved.connect(self._saved)
        context.survey_changed.connect(self._survey_changed)
        app = QApplication.instance()
        assert app is not None
        app.aboutToQuit.connect(self.bench.close)
        self.bench.open(self.project)

    def _put(self, view: str, part: QWidget) -> None:
        self._places[view].layout().addWidget(part, 1)  # type: ignore[call-arg]

    @cached_property
    def new(self) -> NewVerifier:
        """How a verifier begins; built when it is first shown."""
        made = NewVerifier(self.context)
        made.made.connect(self.create)
        made.file_wanted.connect(self.import_verifier)
        made.cancelled.connect(self.show_view)
        self._put("new", made)
        return made

    @cached_property
    def bring(self) -> ProblemImport:
        """The import of files; built when there is the first."""
        made = ProblemImport(self.context)
        made.imported.connect(self._imported)
        made.cancelled.connect(self.show_view)
        made.changed.connect(lambda: self._flow.set(*self.bring.answers()) if self._view == "import" else None)
        made.choose_wanted.connect(self.choose_file)
        self._put("import", made)
        return made

    # coming and going -------------------------------------------------------------------------------------------------

    def opened(self, **args: Any) -> None:
        if args.get("files"):
            self.take_files([str(f) for f in args["files"]])
        if args.get("problems"):
            self.bench.set_sets((str(args["problems"]),))
        wanted = str(args.get("verifier") or "").partition("@")[0]
        self._line = int(args.get("line") or 0)
        if wanted and (self.hand.verifier is None or self.hand.verifier.id != wanted):
            self.hand.open(wanted, self._to_line)
        else:
            self._to_line()
        self.bench.refresh()
        self.hand.refresh()
        self.rewards.read_models()

    def _to_line(self) -> None:
        if self._line and self.hand.verifier is not None:
            self.editor.go_to(self._line)
            self._line = 0

    def left(self) -> None:
        self.hand.flush()
        if self.context.project is not self.project:
            self.bench.close()
        self.bring.rest()

    # which view -------------------------------------------------------------------------------------------------------

    def _problems_read(self) -> None:
        if self.bench.sets and not self.bench.chosen_sets:
            self.bench.set_sets((self.bench.sets[-1].id,))
        self._choose_view()

    def _verifiers_read(self) -> None:
        self._choose_view()

    def _verifier_opened(self) -> None:
        if self._view == "new" and self.hand.verifier is not None:
            self.show_view()
        else:
            self._choose_view()

    @property
    def _empty(self) -> bool:
        return not self.bench.sets and not self.hand.verifiers

    def _choose_view(self) -> None:
        if self.hand.verifiers is None:
            return
        if self._view in ("", "start", "bench"):
            self.show_view()
        self._refresh()

    def show_view(self, view: str = "") -> None:
        """The named view; without one the workbench, or what leads to it while there is nothing."""
        view = view or ("start" if self._empty else "bench")
        fresh, self._view = view != self._view, view
        if view == "start":
            place = self._places["start"].layout()
            clear(place)
            place.addWidget(empty_state(self.theme, self.bench.sets, bool(self.hand.verifiers), self._model(), self.generate,
                                        self.choose_file, lambda: self.show_view("new")))
        if fresh:
            self._notes.clear()
            self._header.set_actions(*self._actions(view))
            self.scroll.verticalScrollBar().setValue(0)
        for name, part in self._places.items():
            show_if(part, name == view)
        if view == "new":
            self.new.show_for(bool(self.hand.verifiers) or bool(self.bench.sets))
        if view != "import" and "bring" in self.__dict__:
            self.bring.rest()
        self._refresh()

    def _actions(self, view: str) -> tuple[Item, ...]:
        """Other buttons for another view: the header deletes those of the one before."""
        self.run_checks = self.use = None
        if view != "bench":
            return self.bring.header_actions if view == "import" else ()
        self.run_checks = Button(self.theme, tr("Run checks"), icon="play", on_click=self.check_all,
                                 tip=tr("The gold answers of all these problems, and nonsense (Ctrl+Return)"))
        self.use = Button(self.theme, tr("Use in reasoning"), "primary", on_click=self.use_it)
        return (self.run_checks, self.use)

    def _model(self) -> str:
        survey = self.context.survey
        models = survey.of_kind("model") if survey is not None else []
        return models[0].title if models else ""

    # what the flow strip and the header say ---------------------------------------------------------------------------

    def _survey_changed(self) -> None:
        if self.isVisible():
            self._refresh()

    def _refresh(self) -> None:
        if self._view == "import":
            self._flow.set(*self.bring.answers())
            return
        bench, hand = self.bench, self.hand
        total = sum(s.count for s in bench.sets if s.id in bench.chosen_sets)
        levels = {level for s in bench.sets if s.id in bench.chosen_sets for level, _ in s.difficulties}
        notes = [tr("{count} held out", count=number(bench.held_out_count))] if total else []
        if len(levels) > 1:
            notes.insert(0, trn("{count} level", "{count} levels", len(levels)))
        goes_in = (trn("{shown} problem", "{shown} problems", total, shown=number(total)), ", ".join(notes)) if total else \
            (tr("Nothing yet"), tr("problems with answers that are known"))
        trial, scores = bench.trial, bench.scores
        k, count = trial.k or bench.trial_settings.k, trial.of or min(bench.trial_count, total)
        happens = (trn("{count} answer each, scored", "{count} answers each, all scored", k),
                   self._happens_line(count)) if total else (tr("Every answer gets a score"), tr("no person labels anything"))
        fresh = scores is not None and not scores.stale and not trial.stale
        if scores is not None and scores.pass_at_1 is not None and fresh:
            came = (tr("{share} right before training", share=percent(scores.pass_at_1)), self._checks_line())
        elif bench.checks is not None and not bench.checks.stale:
            came = (self._checks_line() or tr("Nothing yet"), tr("no model tried yet"))
        else:
            came = (tr("Nothing yet"), tr("rewards for reasoning"))
        self._flow.set(goes_in, happens, came, "is" if trial.running else "did" if fresh else "will")
        ready = hand.verifier is not None and hand.trusted and bench.good and not bench.marks
        self._can_check = ready and total > 0 and bench.checks_progress is None
        if self.run_checks is not None and self.use is not None:
            self.run_checks.setEnabled(ready and total > 0)  # also while they run: disabled, it would hand the focus to "Use in reasoning"
            self.use.setEnabled(ready and total > 0)
            self.use.setToolTip("" if ready and total else tr("It needs problems, and a verifier without mistakes that you trust."))

    def _happens_line(self, count: int) -> str:
        trial = self.bench.trial
        words = tr("{count} held-out problems", count=number(count)) if trial.held_out and trial.held_out >= count else \
            trn("{shown} problem", "{shown} problems", count, shown=number(count))
        return f"{words}, {duration(trial.seconds)}" if trial.seconds >= 1 and not trial.stale else words

    def _checks_line(self) -> str:
        checks = self.bench.checks
        if checks is None or checks.stale:
            return ""
        return trn("{shown} check fails: look before you train", "{shown} checks fail: look before you train", checks.failing,
                   shown=number(checks.failing)) if checks.failing else tr("all checks pass")

    def _failed(self, wrong: Exception) -> None:
        if not isinstance(wrong, FledgeError):
            raise wrong
        self._notes.show_error(wrong, Button(self.theme, tr("Dismiss"), on_click=self._notes.clear))

    # checks and use ---------------------------------------------------------------------------------------------------

    def check_all(self) -> None:
        """Over the gold answers of all problems in the chosen sets."""
        if self._view == "bench" and self._can_check:
            self._checked_body = self.hand.body
            self.bench.run_checks()

    def _checks_changed(self) -> None:
        checks = self.bench.checks
        if checks is not None and checks.whole and not checks.stale and self._checked_body and self._checked_body == self.hand.body:
            body, project, failing, problems = self._checked_body, self.project, checks.failing, checks.problems
            self._checked_body = ""
            self.context.jobs.run(lambda: verifier_checks.keep(project, body, failing, problems), then=lambda _: self.context.look(),
                                  failed=self._failed, owner=self)
        self._refresh()

    def use_it(self) -> None:
        """To the Reasoning page with this version, these problems and the model that was tried; what is not saved is saved first."""
        def go(version: Version) -> None:
            trial = self.bench.trial
            tried = {"model": trial.model} if trial.groups and not trial.stale else {}
            self.context.navigate(STAGE, verifier=version.ref, problem_sets=list(self.bench.chosen_sets),
                                  full_score=self.bench.full, **tried)
        if self.hand.dirty:
            self.hand.save(then=go)
        elif self.hand.version is not None:
            go(self.hand.version)

    def _saved(self, version: Version) -> None:
        self.context.toast(tr("{title}: version {number} is saved", title=self.hand.verifier.title if self.hand.verifier else "",
                              number=version.number))
        self.context.look()

    # verifiers --------------------------------------------------------------------------------------------------------

    def create(self, title: str, kind: str, body: str, origin: str) -> None:
        """A new verifier, in hand and in the editor."""
        def shown() -> None:
            self.show_view("bench")
            (self.editor.parts.focus_first if kind == "parts" else self.editor.code.area.setFocus)()
            self.context.look()
        self.hand.create(title, kind, body, origin=origin, then=shown)

    def act(self, what: str) -> None:
        """What a person wants with the verifier in hand."""
        hand, one = self.hand, self.hand.verifier
        if what == "new":
            self.show_view("new")
        elif what == "import":
            self.import_verifier()
        elif what == "keys":
            KeysDialog(self.theme, KEYS, self).open()
        elif one is None:
            return
        elif what == "versions":
            VersionsDialog(self.context, hand, self.editor.take_body, self).open()
        elif what == "export":
            self.export_verifier(one)
        elif what == "rename":
            ask_name(self.theme, tr("Another name"), one.title, hand.rename, self)
        elif what == "remove":
            hand.remove(lambda gone: self.context.toast(tr("“{title}” is removed", title=gone.title), tr("Undo"),
                                                        lambda: hand.restore(gone.id)))
        elif what == "trust":
            hand.trust()
        elif what == "foreign":
            ForeignDialog(self.context, self).open()

    def import_verifier(self) -> None:
        """A .py (or parts as .json) that the person chooses, and sees in the editor."""
        name, _ = QFileDialog.getOpenFileName(self, tr("Import a verifier"), "", tr("Verifiers {kinds}", kinds="(*.py *.json)"))
        if name:
            self.take_verifier(Path(name))

    def take_verifier(self, file: Path) -> None:
        """A verifier of a file, in hand: the person sees it in the editor."""
        try:
            found = verifier_files.read(file)
        except FledgeError as wrong:
            self._failed(wrong)
            return
        self.create(file.name if found.kind == "python" else found.title, found.kind, found.body, found.origin)

    def export_verifier(self, one: Verifier) -> None:
        """A source as it stands in the editor; parts as they were saved, with what they refer to in its place."""
        ending = ".py" if one.kind == "python" else ".json"
        name, _ = QFileDialog.getSaveFileName(self, tr("Export the verifier"), one.title.removesuffix(ending) + ending, f"*{ending}")
        if not name:
            return
        path, store, body, ref = Path(name), self.hand.store, self.hand.body, one.ref

        def work() -> None:
            try:
                if one.kind == "python":
                    files.write_bytes(path, body.encode("utf-8", "replace"))
                else:
                    verifier_files.write(store, ref, path)
            except OSError as wrong:
                raise InputError(tr("{name} could not be written: {reason}.", name=path.name, reason=wrong.strerror or str(wrong)),
                                 tr("Choose another folder."), code="unwritable") from None
        self.context.jobs.run(work, then=lambda _: self.context.toast(tr("{name} is written", name=path.name)), failed=self._failed,
                              owner=self)

    # problems ---------------------------------------------------------------------------------------------------------

    def act_on_problems(self, what: str) -> None:
        store = self.project.library.problems
        chosen = next((s for s in self.bench.sets if s.id in self.bench.chosen_sets), None)
        if what == "generate":
            self.generate()
        elif what == "import":
            self.choose_file()
        elif what == "examples":
            from desktop.pages.verifiers.making_view import ExamplesDialog
            ExamplesDialog(self.context, self._made, self).open()
        elif what == "export":
            self.export_problems()
        elif what == "look":
            from desktop.pages.verifiers.making_view import LookDialog
            LookDialog(self.context, self.bench.chosen_sets, self.bench.refresh, self).open()
        elif what in ("undo", "redo"):
            self._change(store.undo if what == "undo" else store.redo, self._stepped)
        elif chosen is not None and what == "rename":
            ask_name(self.theme, tr("Another name"), chosen.title, lambda name: self._change(lambda: store.rename(chosen.id, name)), self)
        elif chosen is not None and what == "delete":
            ask_delete(self.theme, tr("Delete “{title}”?", title=chosen.title),
                       trn("Its {shown} problem goes for good. Runs that used it keep their copy.",
                           "Its {shown} problems go for good. Runs that used them keep their copy.", chosen.count,
                           shown=number(chosen.count)),
                       lambda: self._delete_set(chosen.id), self)

    def _delete_set(self, id: str) -> None:
        rest = tuple(s for s in self.bench.chosen_sets if s != id)

        def gone(_: Any) -> None:
            self.bench.set_sets(rest)
            self.bench.refresh()
            self.context.look()
        self._change(lambda: self.project.library.problems.delete_set(id), gone)

    def _stepped(self, step: Any) -> None:
        if step is None:
            self.context.toast(tr("There is nothing to undo or redo"))
        self.bench.refresh()

    def _change(self, work: Any, then: Any = None) -> None:
        self.context.jobs.run(work, then=then or (lambda _: self.bench.refresh()), failed=self._failed, owner=self)

    def generate(self) -> None:
        """Problems of a program that makes them."""
        from desktop.pages.verifiers.making_view import GenerateDialog
        GenerateDialog(self.context, self.bench.desk, self._made, self).open()

    def _made(self, set_id: str) -> None:
        self.bench.refresh()
        self.bench.set_sets((set_id,))
        self.context.look()
        self.show_view("new" if not self.hand.verifiers else "bench")

    def choose_file(self) -> None:
        names, _ = QFileDialog.getOpenFileNames(self, tr("Import problems"), "", tr("Problems {kinds}", kinds=f"({FILTER})"))
        if names:
            self.take_files(names)

    def take_files(self, names: list[str]) -> None:
        """Look into files of problems, one after the other."""
        self.bring.look(names)
        self._view = ""
        self.show_view("import")

    def export_problems(self) -> None:
        """The chosen sets into a file: as Fledge reads them back, or as a table."""
        kinds = tr("Problems {kinds}", kinds="(*.jsonl *.csv)")
        title = next((s.title for s in self.bench.sets if s.id in self.bench.chosen_sets), tr("problems"))
        name, _ = QFileDialog.getSaveFileName(self, tr("Export problems"), f"{title}.jsonl", kinds)
        if name:
            form = "csv" if name.lower().endswith(".csv") else "fledge"
            self._exporting.start(MODULE, str(self.project.dir), "export", ",".join(self.bench.chosen_sets), name,
                                  json.dumps({"form": form}))

    def _exported(self, said: dict[str, Any]) -> None:
        rows = int(said.get("rows") or 0)
        self.context.toast(trn("{shown} problem is written", "{shown} problems are written", rows, shown=number(rows)))

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if any(url.isLocalFile() for url in event.mimeData().urls()):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        """A .py file is a verifier, anything else is problems."""
        names = [url.toLocalFile() for url in event.mimeData().urls() if url.isLocalFile()]
        verifiers = [n for n in names if n.lower().endswith(".py")]
        for name in verifiers[:1]:
            self.take_verifier(Path(name))
        if not verifiers and names:
            self.take_files(names)

    def _imported(self, set_id: str) -> None:
        self._view = ""
        self._made(set_id)

    def edit_problem(self, listed: ListedProblem) -> None:
        store = self.project.library.problems

        def keep(prompt: str, answer: Any, held_out: bool) -> None:
            self._change(lambda: store.edit(listed.problem.id, listed.set, prompt=prompt, answer=answer, held_out=held_out),
                         lambda _: (self.bench.choose_problem(None), self.bench.refresh()))
        ProblemDialog(self.theme, listed, keep, self).open()

    def remove_problem(self) -> None:
        listed, store = self.bench.chosen, self.project.library.problems
        if listed is None:
            return

        def gone(_: Any) -> None:
            self.bench.choose_problem(None)
            self.bench.refresh()
            self.context.toast(tr("The problem is removed"), tr("Undo"), lambda: self.act_on_problems("undo"))
        self._change(lambda: store.remove([listed.problem.id], set_id=listed.set), gone)

    def hold_problem(self, held_out: bool) -> None:
        listed, store = self.bench.chosen, self.project.library.problems
        if listed is not None:
            self._change(lambda: store.hold_out([listed.problem.id], held_out, set_id=listed.set))
