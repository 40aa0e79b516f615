"""Several people and several machines: who labels and how far they agree, label files joined, sets and labels written out. Processes of the
engine read and write the files."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QDialog, QWidget

from desktop.context import AppContext
from desktop.jobs.exporting import Exporting
from desktop.models.label_desk import AUTHOR, author_of
from desktop.models.label_quality import people
from desktop.widgets.bar import Bar
from desktop.widgets.buttons import Button
from desktop.widgets.facts import Facts
from desktop.widgets.fields import Choice, TextField, Tick
from desktop.widgets.layout import col, row, show_if
from desktop.widgets.notes import NoteSlot
from desktop.widgets.question import Question, fit
from desktop.widgets.rows_export import RowsExport, file_name
from desktop.widgets.table import Cell, Column, Table
from desktop.widgets.text import Text, small
from engine.contract.errors import FledgeError
from engine.contract.units import number, percent
from engine.contract.words import tr, trn
from engine.project.label_quality import Kappa, Quality
from engine.project.pair_sets import PairSet

MODULE = "engine.stages.preference.pairs_process"
LABELS = "labels"
FORMS = (("trl", tr("Chosen and rejected messages (TRL)")), ("trl_text", tr("Chosen and rejected texts (TRL)")),
         ("argilla", tr("Records (Argilla)")), ("csv", tr("Table (CSV)")), ("hh", tr("Transcripts (Anthropic)")),
         ("fledge", tr("Everything (Fledge)")), (LABELS, tr("Labels, for another machine")))
ABOUT = {"trl": tr("A prompt and two answers, each a list of messages: what DPO and reward trainers read."),
         "trl_text": tr("A prompt and two answers as texts."), "argilla": tr("For a dataset with a question about which answer is better."),
         "csv": tr("A prompt, two answers and the label in each row."),
         "hh": tr("Both conversations as transcripts, “Human” and “Assistant”."),
         "fledge": tr("All pairs with everything that is known of them, to be imported again."),
         LABELS: tr("Everybody's labels with their pairs, to be merged on another machine: nothing is lost or doubled there.")}
EVERY_PAIR = ("fledge", LABELS)
FORM = "label.form"
STRENGTHS = ((0, tr("All labels")), (1, tr("From slightly better on")), (2, tr("From better on")), (3, tr("Only much better")))


def kappa_words(kappa: float | None) -> str:
    """Landis and Koch's words (1977)."""
    if kappa is None:
        return tr("not defined: always the same was said")
    for least, words in ((0.81, tr("almost perfect")), (0.61, tr("substantial")), (0.41, tr("moderate")), (0.21, tr("fair")),
                         (0.0, tr("slight"))):
        if kappa >= least:
            return words
    return tr("less than chance")


class PeopleDialog(QDialog):
    """The annotator's name, who has labelled how much, and Cohen's kappa of each two. `renamed()` after another name."""

    def __init__(self, context: AppContext, sets: Sequence[str], renamed: Callable[[], object], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.context, self.theme, theme, self._sets, self._renamed = context, context.theme, context.theme, tuple(sets), renamed
        self.setWindowTitle(tr("People"))
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setFixedWidth(theme.px(600))
        self.name = TextField(author_of(context), name=tr("Your name"))
        self.name.changed.connect(self._typed)
        self.name.returnPressed.connect(self._keep)
        self.keep = Button(theme, tr("Use this name"), on_click=self._keep, enabled=False)
        self.notes = NoteSlot(theme)
        self.people = Table(theme, [Column(tr("Annotator"), lambda r: Cell(r[0], strong=True), least=160),
                                    Column(tr("Labels"), lambda r: number(r[1]), 90, right=True)], name=tr("Annotators"), fit=True,
                            max_rows=5, selectable=False)
        self.kappas = Table(theme, [
            Column(tr("Two people"), lambda k: Cell(tr("{one} and {other}", one=k.one, other=k.other), strong=True), least=160),
            Column(tr("Both"), lambda k: number(k.n), 70, right=True),
            Column(tr("Same"), lambda k: percent(k.agreement.share) if k.agreement.share is not None else "–", 70, right=True),
            Column(tr("Kappa"), lambda k: f"{k.kappa:.2f}" if k.kappa is not None else "–", 70, right=True),
            Column("", lambda k: Cell(kappa_words(k.kappa), tone="text2"), 150)], name=tr("Agreement"), fit=True, max_rows=5,
            selectable=False)
        self._who = Text(tr("Who has labelled"), "section")
        self._none = small(tr("Reading …"), wrap=True)
        self._about = small(tr("Kappa is agreement beyond what both would reach by chance: 1 is perfect, 0 is chance. Below 0.4 the "
                               "guidelines are worth a talk."), wrap=True)
        close = Button(theme, tr("Close"), "primary", on_click=self.accept)
        col(Text(tr("People"), "title"),
            small(tr("Labels are kept under your name; several people can label the same pairs."), wrap=True), 6,
            Text(tr("Your name"), "medium"), row((self.name, 1), self.keep), 8, self._who, self.people, 8,
            Text(tr("How far people agree"), "section"), self.kappas, self._none, self._about, self.notes, 8, row("+", close), gap=6,
            pad=(24, 20, 24, 20), host=self)
        self._show([], ())
        self._read()

    def _read(self) -> None:
        project, sets = self.context.project, self._sets
        assert project is not None

        def came(found: Quality) -> None:
            self._show(list(found.authors.items()), found.kappas)
            fit(self)

        def wrong(error: Exception) -> None:
            if not isinstance(error, FledgeError):
                raise error
            self.notes.show_error(error)
        self.context.jobs.run(lambda: people(project, sets), then=came, failed=wrong, owner=self)

    def _show(self, authors: list[tuple[str, int]], kappas: Sequence[Kappa]) -> None:
        self.people.set_rows(authors)
        self.kappas.set_rows(kappas)
        for part in (self.people, self._who):
            show_if(part, bool(authors))
        show_if(self.kappas, bool(kappas))
        show_if(self._none, not kappas)
        self._none.set(tr("Nobody has labelled here yet.") if not authors else
                       tr("One person has labelled so far. Merge the label file of another one, or enter another name above.")
                       if len(authors) == 1 else tr("No pair was labelled by two people yet."))
        show_if(self._about, bool(kappas))

    def _typed(self) -> None:
        words = self.name.value().strip()
        self.keep.setEnabled(bool(words) and words != author_of(self.context))

    def _keep(self) -> None:
        if self.keep.isEnabled():
            self.context.remember(AUTHOR, self.name.value().strip())
            self._typed()
            self._renamed()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        fit(self)


class MergeDialog(QDialog):
    """Label files taken in, one after the other, with what came of them. `merged()` when something did."""

    def __init__(self, context: AppContext, files: Sequence[Path], merged: Callable[[], object], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.context, self.theme, theme, self._files, self._merged = context, context.theme, context.theme, list(files), merged
        self._total = dict.fromkeys(("new", "newer", "same", "older", "unknown", "pairs", "damaged"), 0)
        self.setWindowTitle(tr("Merge labels"))
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setFixedWidth(theme.px(480))
        self.process = Exporting(self)
        self.process.done.connect(self._done)
        self.process.failed.connect(self._failed)
        self.process.cancelled.connect(self.reject)
        self._words, self._bar = small("", elide=True), Bar(theme, name=tr("Merged"))
        self.facts, self.notes = Facts(gap=6), NoteSlot(theme)
        self.close_button = Button(theme, tr("Stop"), on_click=self._close)
        col(Text(tr("Merge labels"), "title"), small(tr("A label that is newer wins; what is the same is not doubled. The same file can be "
                                                        "merged again at any time."), wrap=True), 6, self._words, self._bar, self.facts,
            self.notes, 8, row("+", self.close_button), gap=6, pad=(24, 20, 24, 20), host=self)
        self._count = len(self._files)
        self._next()

    def _next(self) -> None:
        if not self._files:
            self.close_button.set_words(tr("Close"))
            self.close_button.set_kind("primary")
            self._words.set(trn("{count} file is merged", "{count} files are merged", self._count))
            self._bar.set(1.0)
            return
        file = self._files.pop(0)
        assert self.context.project is not None
        self._words.set(tr("Reading {name} …", name=file.name))
        self._bar.set((self._count - len(self._files) - 1) / self._count)
        self.process.start(MODULE, str(self.context.project.dir), "merge", str(file))

    def _done(self, result: dict[str, Any]) -> None:
        for name in self._total:
            self._total[name] += int(result.get(name) or 0)
        t = self._total
        facts = [(tr("New labels"), number(t["new"])), (tr("Newer than here"), number(t["newer"])), (tr("The same"), number(t["same"])),
                 (tr("Older than here"), number(t["older"])), (tr("Pairs that came along"), number(t["pairs"]))]
        facts += [(tr("Wait for their pair"), number(t["unknown"]))] if t["unknown"] else []
        facts += [(tr("Damaged rows, passed over"), number(t["damaged"]))] if t["damaged"] else []
        self.facts.set(facts)
        self._merged()
        self._next()
        fit(self)

    def _failed(self, wrong: FledgeError) -> None:
        self.notes.show_error(wrong, title=tr("This file was not merged"))
        self._next()
        fit(self)

    def _close(self) -> None:
        if self.process.running:
            self.process.cancel()
        else:
            self.accept()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        fit(self)

    def done(self, result: int) -> None:
        if self.process.running:
            self.process.cancel()
        super().done(result)


class Exports(RowsExport):
    """`menu(set)` asks for a form; progress and trouble stand in `notes`."""

    def menu(self, chosen: PairSet) -> None:
        """Ask for the form, and which labels."""
        if self.exporting.running:
            return
        theme = self.context.theme
        kept = str(self.context.settings.get(FORM, "trl"))
        form = Choice(theme, FORMS, kept if kept in ABOUT else "trl", name=tr("Form"))
        about = small(ABOUT[str(form.value())], wrap=True)
        strength = Choice(theme, STRENGTHS, 0, name=tr("Which labels"))
        unlabelled = Tick(theme, trn("Also the {shown} pair without a label", "Also the {shown} pairs without a label", chosen.count -
                                     chosen.labelled, shown=number(chosen.count - chosen.labelled)))
        which = col(Text(tr("Which labels"), "medium"), strength, unlabelled, gap=6)

        def changed() -> None:
            about.set(ABOUT[str(form.value())])
            show_if(which, form.value() not in EVERY_PAIR)
            show_if(unlabelled, form.value() in ("argilla", "csv") and chosen.count > chosen.labelled)
            if dialog is not None:
                fit(dialog)
        dialog: Question | None = None
        form.changed.connect(changed)
        changed()
        dialog = Question(theme, tr("Export “{title}”", title=chosen.title), "", tr("Choose a file"),
                          lambda: self.ask(chosen, str(form.value()), int(strength.value() or 0), unlabelled.value()),
                          col(Text(tr("Form"), "medium"), form, about, gap=4), 4, which, parent=self.parent, width=480)
        dialog.open()

    def ask(self, chosen: PairSet, form: str, strength: int = 0, unlabelled: bool = False) -> None:
        """Ask where to, and write."""
        self.context.remember(FORM, form)
        name = file_name(chosen.title, chosen.id)
        if form == LABELS:
            target = self._ask_target(tr("{name} labels of {who}", name=name, who=author_of(self.context)), form, ("jsonl",))
        else:
            target = self._ask_target(name, form)
        if target is not None:
            self.write(chosen.id, form, target, strength, unlabelled)

    def write(self, set_id: str, form: str, target: Path, strength: int = 0, unlabelled: bool = False) -> None:
        assert self.context.project is not None
        to = self._begin(target, form)
        project = str(self.context.project.dir)
        if form == LABELS:
            self.exporting.start(MODULE, project, "labels", set_id, str(to), "")
        else:
            options = json.dumps({"least_strength": strength, "unlabelled": unlabelled})
            self.exporting.start(MODULE, project, "export", set_id, form, str(to), options)

    def written_words(self, result: dict[str, Any], name: str) -> str:
        if "labels" in result:
            count = int(result["labels"])
            return trn("{shown} label is in {name}", "{shown} labels are in {name}", count, shown=number(count), name=name)
        count = int(result.get("rows") or 0)
        return trn("{shown} pair is in {name}", "{shown} pairs are in {name}", count, shown=number(count), name=name)

    def left_words(self, left: int) -> str:
        return trn("{shown} pair was left out", "{shown} pairs were left out", left, shown=number(left))
