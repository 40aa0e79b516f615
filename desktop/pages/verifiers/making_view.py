"""Where problems come from, beside files: programs that make them (run in the sandbox alone), sets of examples whose answers are known. And
the look for problems that a corpus holds already."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QDialog, QFileDialog, QWidget

from desktop.context import AppContext
from desktop.jobs.exporting import Exporting
from desktop.jobs.verifier_desk import VerifierDesk
from desktop.pages.verifiers.problems_panel import answer_words, one_line
from desktop.widgets.bar import Bar
from desktop.widgets.buttons import Button
from desktop.widgets.fields import Choice, NumberField, TextField, Tick
from desktop.widgets.layout import clear, col, fill, fixed, row, show_if
from desktop.widgets.notes import Note, NoteSlot
from desktop.widgets.panel import Panel, table_panel
from desktop.widgets.table import Cell, Column, Table
from desktop.widgets.text import Text, small
from engine.contract.errors import FledgeError
from engine.contract.rows import Problem
from engine.contract.units import number, percent
from engine.contract.words import tr, trn
from engine.verifiers import making

PREVIEW, TYPING_MS = 5, 300
PER_LEVEL, MOST = 200, 100_000
HELD_OUT = 10.0
PROCESS = "engine.stages.grpo.problems_process"


def _field(label: str, *controls: QWidget | tuple[QWidget, int] | str) -> QWidget:
    return col(Text(label, "medium"), row(*controls, gap=8), gap=4)


class GenerateDialog(QDialog):
    """Problems of a generator: which one, which levels, how many; five of them shown before. `made(set id)`."""

    def __init__(self, context: AppContext, desk: VerifierDesk, made: Callable[[str], object], parent: QWidget) -> None:
        super().__init__(parent)
        self.context, self.theme, self._desk, self._made = context, context.theme, desk, made
        theme = self.theme
        self.setWindowTitle(tr("Generate problems"))
        self.resize(theme.px(900), theme.px(600))
        self.generators = {one.name: one for one in making.starters()}
        self._tokens: list[int] = []
        self.files: dict[str, str] = {}
        self._busy = False
        self._work = Exporting(self)
        self._work.progressed.connect(self._progressed)
        self._work.done.connect(self._finished)
        self._work.failed.connect(self._failed)
        self._work.cancelled.connect(lambda: self._set_busy(False))
        self.notes = NoteSlot(theme)
        self.kind = Choice(theme, [(one.name, one.title) for one in self.generators.values()], name=tr("What is made"))
        self.kind.changed.connect(self._kind_chosen)
        self.own = Button(theme, tr("Your own…"), tip=tr("A Python file with a function generate(random, level)"), on_click=self.choose_own)
        self._help = small(wrap=True)
        self._levels = row(gap=10)
        self.ticks: list[Tick] = []
        self.count = NumberField(PER_LEVEL, name=tr("Problems of each level"), low=1, high=MOST)
        self.seed = NumberField(1, name=tr("Seed"), low=0)
        self.held = NumberField(HELD_OUT, whole=False, name=tr("Held out, in percent"), low=0, high=90)
        self.title = TextField(name=tr("Name of the set"))
        for field in (self.count, self.held, self.title):
            field.changed.connect(self._refresh)
        self.seed.changed.connect(self._again)
        self._total = small(wrap=True)
        figures = [_field(tr("Of each level"), self.count), _field(tr("Held out, %"), self.held), _field(tr("Seed"), self.seed)]
        form = Panel(_field(tr("What is made"), (self.kind, 1), self.own), self._help, _field(tr("Levels"), (self._levels, 1)),
                     row(*figures, gap=10),
                     small(tr("Problems that are held out are measured with, and never trained on."), wrap=True),
                     _field(tr("Name of the set"), (self.title, 1)), "+", self._total, pad=(16, 12, 16, 14), gap=12)
        self.table = Table(theme, [Column(tr("Problem"), lambda p: Cell(one_line(_asked(p)), tip=_asked(p)), least=180),
                                   Column(tr("Answer"), lambda p: Cell(answer_words(p), tip=str(p.answer)), 120, right=True),
                                   Column(tr("Level"), lambda p: f"{p.difficulty:g}" if p.difficulty is not None else "", 60, right=True)],
                           name=tr("The first ones"), selectable=False)
        self._looking = small(tr("making…"))
        preview = table_panel(row(Text(tr("The first ones"), "section"), self._looking, "+", gap=10), self.table)
        self._bar, self._bar_words = Bar(theme, name=tr("Made")), small()
        self._progress = row((self._bar, 1), self._bar_words, gap=10)
        self.cancel = Button(theme, tr("Cancel"), on_click=self.reject)
        self.go = Button(theme, tr("Generate"), "primary", icon="plus", on_click=self.start)
        self._typing = QTimer(self)
        self._typing.setSingleShot(True)
        self._typing.setInterval(TYPING_MS)
        self._typing.timeout.connect(self._preview)
        col(Text(tr("Generate problems"), "title"), small(tr("By a program, in the sandbox: the same seed makes the same problems.")),
            self.notes, (row(fixed(form, theme.px(400)), (preview, 1), gap=12), 1), self._progress, row("+", self.cancel, self.go), gap=10,
            pad=(24, 20, 24, 20), host=self)
        show_if(self._progress, False)
        self._kind_chosen()
        self.kind.setFocus()

    @property
    def chosen(self) -> Any:
        return self.generators[str(self.kind.value())]

    @property
    def levels(self) -> list[int]:
        return [i for i, tick in enumerate(self.ticks, 1) if tick.value()]

    def _source(self) -> str:
        """How the desk names it: a starter by its name, anything else by its text."""
        one = self.chosen
        return one.name if one.name in making.STARTERS else one.source

    def _kind_chosen(self) -> None:
        one = self.chosen
        self._help.set(one.help)
        clear(self._levels.layout())
        self.ticks = [Tick(self.theme, number(n), n <= max(1, (one.levels + 1) // 2)) for n in range(1, one.levels + 1)]
        for tick in self.ticks:
            tick.setAccessibleName(tr("Level {level}", level=tick.text()))
            tick.changed.connect(self._again)
        fill(self._levels.layout(), (*self.ticks, "+"), 10)  # type: ignore[arg-type]
        self.title.set(one.title)
        self._again()

    def choose_own(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, tr("A generator"), "", tr("Python {kinds}", kinds="(*.py)"))
        if name:
            self.take_own(name)

    def take_own(self, name: str) -> None:
        """A generator of the person's own."""
        try:
            one = making.find(name)
        except FledgeError as wrong:
            self.notes.show_error(wrong)
            return
        self.notes.clear()
        key = Path(name).name
        self.generators[key], self.files[key] = one, name
        self.kind.set_choices([(k, g.title if k in making.STARTERS else k) for k, g in self.generators.items()])
        self.kind.set(key)
        self._kind_chosen()

    def _again(self) -> None:
        self._refresh()
        self._typing.start()

    def _refresh(self) -> None:
        count, levels = int(self.count.value() or 0), self.levels
        wrong = next((w for f in (self.count, self.seed, self.held) if (w := f.wrong())), "")
        if not wrong and not 1 <= count <= MOST:
            wrong = tr("From {low} to {high} of each level.", low=1, high=number(MOST))
        if not wrong and not levels:
            wrong = tr("Choose a level.")
        if not wrong and not 0 <= float(self.held.value() or 0) <= 90:
            wrong = tr("From 0 to 90 % can be held out.")
        total = count * len(levels)
        self._total.set(wrong or trn("{shown} problem at most; where a level has no more different ones, fewer come.",
                                     "{shown} problems at most; where a level has no more different ones, fewer come.", total,
                                     shown=number(total)))
        self._total.set_tone("danger" if wrong else "text2")
        self.go.setEnabled(not wrong and not self._busy and bool(self.title.value().strip()))

    # ----

    def _drop(self) -> None:
        for token in self._tokens:
            self._desk.cancel(token)
        self._tokens = []

    def _preview(self) -> None:
        """Five problems, over the chosen levels."""
        self._drop()
        levels = self.levels
        if not levels or self._busy:
            self.table.set_rows([])
            return
        show_if(self._looking, True)
        some = [levels[i * len(levels) // PREVIEW] for i in range(PREVIEW)] if len(levels) <= PREVIEW else levels[:PREVIEW]
        wanted = {level: some.count(level) for level in dict.fromkeys(some)}
        came: dict[int, list[Problem]] = {}

        def then(level: int, said: dict[str, Any]) -> None:
            came[level] = [Problem.model_validate(one) for one in said["problems"]]
            if len(came) == len(wanted):
                show_if(self._looking, False)
                self.notes.clear()
                self.table.set_rows([p for n in sorted(came) for p in came[n]])
        self._tokens = [self._desk.ask("generate", {"generator": self._source(), "level": level, "count": count,
                                                    "seed": int(self.seed.value() or 0)},
                                       lambda said, level=level: then(level, said), self._failed) for level, count in wanted.items()]

    def _failed(self, wrong: FledgeError) -> None:
        self._drop()
        self._set_busy(False)
        show_if(self._looking, False)
        self.notes.show_error(wrong)

    def _set_busy(self, on: bool) -> None:
        self._busy = on
        show_if(self._progress, on)
        for each in (self.kind, self.own, self.count, self.seed, self.held, self.title, *self.ticks):
            each.setEnabled(not on)
        self._refresh()

    def start(self) -> None:
        """Make them all, in a process that can be stopped: the library gets all of them or none."""
        project = self.context.project
        if not self.go.isEnabled() or project is None:
            return
        self._drop()
        self.notes.clear()
        options = {"title": self.title.value().strip(), "levels": self.levels, "count": int(self.count.value() or 0),
                   "seed": int(self.seed.value() or 0), "held_out_percent": float(self.held.value() or 0)}
        one = self.chosen
        self._bar.set(0)
        self._bar_words.set(tr("making…"))
        self._work.start(PROCESS, str(project.dir), "generate", self.files.get(str(self.kind.value()), one.name), json.dumps(options))
        self._set_busy(True)

    def _progressed(self, done: int, total: int) -> None:
        self._bar.set(done / total if total else 0)
        self._bar_words.set(tr("{count} made", count=number(done)))

    def _finished(self, said: dict[str, Any]) -> None:
        added, asked = int(said.get("added") or 0), int(said.get("asked") or 0)
        self.accept()
        self._made(str(said["set"]))
        self.context.toast(trn("{shown} problem made", "{shown} problems made", added, shown=number(added)) +
                           (", " + tr("no more different ones of {asked}", asked=number(asked)) if added < asked else ""))

    def done(self, result: int) -> None:
        self._typing.stop()
        self._drop()
        if self._work.running:
            self._work.cancel()
        super().done(result)


def _asked(problem: Problem) -> str:
    return next((m.content for m in reversed(problem.prompt) if m.role == "user"), "")


class ExamplesDialog(QDialog):
    """Problems of examples whose answers are known, or short. `made(set id)`."""

    def __init__(self, context: AppContext, made: Callable[[str], object], parent: QWidget) -> None:
        super().__init__(parent)
        self.context, self.theme, self._made = context, context.theme, made
        theme = self.theme
        self.setWindowTitle(tr("Problems of examples"))
        self.resize(theme.px(600), theme.px(460))
        self.notes = NoteSlot(theme)
        self.table = Table(theme, [Column(tr("Set of examples"), lambda s: Cell(s.title, strong=True), least=200),
                                   Column(tr("Examples"), lambda s: number(s.count), 96, right=True)], name=tr("Sets of examples"))
        self.table.chosen.connect(lambda _: self._refresh())
        self.short = Tick(theme, tr("Also take short last answers as the known ones"))
        self.held = NumberField(HELD_OUT, whole=False, name=tr("Held out, in percent"), low=0, high=90)
        self.go = Button(theme, tr("Make problems"), "primary", on_click=self.start)
        col(Text(tr("Problems of examples"), "title"),
            small(tr("What was asked becomes a problem where the example says which answer is right."), wrap=True), self.notes,
            (self.table, 1), self.short, row(Text(tr("Held out, %"), "medium"), fixed(self.held, theme.px(88)), "+"),
            row("+", Button(theme, tr("Cancel"), on_click=self.reject), self.go), gap=10, pad=(24, 20, 24, 20), host=self)
        project = context.project
        assert project is not None
        self._project = project
        context.jobs.run(lambda: list(project.library.examples.sets()), then=self._came, failed=self._failed, owner=self)
        self._refresh()

    def _came(self, found: list[Any]) -> None:
        self.table.set_rows(found)
        if found:
            self.table.select(0)
        else:
            self.notes.show_note(Note(self.theme, "info", tr("There are no examples yet"),
                                      tr("They are made or imported on the Instruction data page.")))
        self._refresh()

    def _refresh(self) -> None:
        self.go.setEnabled(self.table.current_row() is not None)

    def _failed(self, wrong: Exception) -> None:
        if not isinstance(wrong, FledgeError):
            raise wrong
        self.notes.show_error(wrong)
        self._refresh()

    def start(self) -> None:
        chosen, store = self.table.current_row(), self._project.library.problems
        if chosen is None or self.held.wrong():
            return
        short, held = self.short.value(), float(self.held.value() or 0)
        self.go.setEnabled(False)

        def came(made: Any) -> None:
            self.accept()
            self._made(made.id)
            self.context.toast(trn("{shown} problem made", "{shown} problems made", made.count, shown=number(made.count)))
        self.context.jobs.run(lambda: store.from_examples((chosen.id,), last_answers=short, held_out_percent=held), then=came,
                              failed=self._failed, owner=self)


class LookDialog(QDialog):
    """Whether a corpus holds these problems already: what a model knows by heart shows nothing. `over()` when it was looked."""

    def __init__(self, context: AppContext, sets: tuple[str, ...], over: Callable[[], object], parent: QWidget) -> None:
        super().__init__(parent)
        self.context, self.theme, self._sets, self._over = context, context.theme, sets, over
        theme = self.theme
        self.setWindowTitle(tr("Look for them in the corpus"))
        self.setMinimumWidth(theme.px(520))
        self.notes = NoteSlot(theme)
        models = [(f"model:{id}", tr("All that {model} learned from", model=words)) for id, words in context.choices("model")]
        places = [*models, *((f"corpus:{id}", words) for id, words in context.choices("corpus"))]
        self.corpus = Choice(theme, places, name=tr("Where to look"), empty=tr("No corpus yet"))
        self._bar, self._words = Bar(theme, name=tr("Looked through")), small(wrap=True)
        self._progress = col(self._bar, gap=0)
        self.stop = Button(theme, tr("Stop"), "danger", icon="stop", on_click=self._stop)
        self.done_button = Button(theme, tr("Close"), on_click=self.reject)
        self.go = Button(theme, tr("Look"), "primary", icon="search", on_click=self.start,
                         enabled=bool(places) and bool(sets))
        self._work = Exporting(self)
        self._work.progressed.connect(self._progressed)
        self._work.done.connect(self._finished)
        self._work.failed.connect(self._failed)
        self._work.cancelled.connect(lambda: self._set_busy(False))
        col(Text(tr("Look for them in the corpus"), "title"),
            small(tr("A problem that stands in what the model was trained on is marked: that the model answers it shows memory, not "
                     "reasoning."), wrap=True), self.notes, Text(tr("Where to look"), "medium"), self.corpus, self._progress, self._words,
            row("+", self.done_button, self.stop, self.go), gap=10, pad=(24, 20, 24, 20), host=self)
        self._set_busy(False)

    def _set_busy(self, on: bool) -> None:
        show_if(self._progress, on)
        show_if(self.stop, on)
        show_if(self.go, not on)
        self.corpus.setEnabled(not on and bool(self.corpus._values))

    def start(self) -> None:
        project = self.context.project
        if project is None or not self.corpus.value():
            return
        self.notes.clear()
        self._words.set(tr("Looking…"))
        self._bar.set(0)
        self._set_busy(True)
        kind, _, id = str(self.corpus.value()).partition(":")
        options = {"model": id} if kind == "model" else {"corpora": [id]}
        self._work.start(PROCESS, str(project.dir), "check", ",".join(self._sets), json.dumps(options))

    def _stop(self) -> None:
        self._work.cancel()
        self._words.set(tr("Stopped. What was found before stays."))

    def _progressed(self, done: int, total: int) -> None:
        self._bar.set(done / total if total else 0)
        self._words.set(tr("Looked through {share}", share=percent(done / total if total else 0)))

    def _finished(self, said: dict[str, Any]) -> None:
        self._set_busy(False)
        lines = []
        for one in said.get("found", []):
            found, looked, short = int(one["found"]), int(one["problems"]), int(one.get("short") or 0)
            line = trn("{title}: {shown} of {looked} problems stands there. It is marked in the list.",
                       "{title}: {shown} of {looked} problems stand there. They are marked in the list.", found, title=one["title"],
                       shown=number(found), looked=number(looked)) if found else \
                tr("{title}: none of the {looked} problems stands there.", title=one["title"], looked=number(looked))
            if short:
                line += " " + trn("{shown} is too short to be looked for.", "{shown} are too short to be looked for.", short,
                                  shown=number(short))
            lines.append(line)
        self._words.set("\n".join(lines))
        self._over()

    def _failed(self, wrong: FledgeError) -> None:
        self._set_busy(False)
        self._words.set("")
        self.notes.show_error(wrong)

    def done(self, result: int) -> None:
        if self._work.running:
            self._work.cancel()
        super().done(result)
