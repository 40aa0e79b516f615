"""Dialogs of the Verifiers page: the versions of a verifier with what changed between them, one problem to be edited, and what else came
with a project from elsewhere."""

import difflib
import json
from collections.abc import Callable
from typing import Any

from PySide6.QtGui import QColor, QTextCursor, QTextFormat
from PySide6.QtWidgets import QDialog, QPlainTextEdit, QTextEdit, QWidget

from desktop.context import AppContext
from desktop.models.verifier_hand import VerifierHand
from desktop.models.workbench_state import ListedProblem
from desktop.theme.theme import Theme
from desktop.widgets.buttons import Button, Segments
from desktop.widgets.empty_state import EmptyState
from desktop.widgets.fields import Tick
from desktop.widgets.layout import clear, col, fixed, row, show_if
from desktop.widgets.notes import NoteSlot
from desktop.widgets.panel import Panel
from desktop.widgets.run_panel import clock
from desktop.widgets.table import Cell, Column, Table
from desktop.widgets.text import Text, small
from engine.contract.errors import FledgeError
from engine.contract.words import tr, trn
from engine.project import trust
from engine.project.verifiers import Version

CONTEXT_LINES = 3


def changed_lines(before: str, after: str) -> list[tuple[str, str]]:
    """[(kind, line)]: "+", "-", " " and "@" for where lines are left out."""
    found: list[tuple[str, str]] = []
    for line in difflib.unified_diff(before.splitlines(), after.splitlines(), n=CONTEXT_LINES, lineterm=""):
        if line.startswith(("---", "+++")):
            continue
        found.append(("@", "") if line.startswith("@@") else (line[:1], line[1:]))
    return found[1:] if found and found[0][0] == "@" else found


def to_read(body: str) -> str:
    """A source as it is; parts, which are kept as one line, with a line for each setting, in one order."""
    try:
        found = json.loads(body)
    except ValueError:
        return body
    return json.dumps(found, indent=2, sort_keys=True, ensure_ascii=False) if isinstance(found, dict | list) else body


class DiffText(QPlainTextEdit):
    """A source, or what changed in it: lines that came begin with +, lines that went with -."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.theme = theme
        self.setReadOnly(True)
        self.setProperty("role", "mono")
        self.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self.setAccessibleName(tr("The version"))

    def show_whole(self, body: str) -> None:
        self.setExtraSelections([])
        self.setPlainText(to_read(body))

    def show_changes(self, before: str, after: str) -> None:
        lines = changed_lines(to_read(before), to_read(after))
        self.setExtraSelections([])
        if not lines:
            self.setPlainText(tr("Nothing is different."))
            return
        self.setPlainText("\n".join("⋯" if kind == "@" else f"{kind} {line}" for kind, line in lines))
        marked = []
        for place, (kind, _) in enumerate(lines):
            if kind in "+-":
                one = QTextEdit.ExtraSelection()
                one.cursor = QTextCursor(self.document().findBlockByNumber(place))
                one.format.setBackground(QColor(self.theme["ok_soft" if kind == "+" else "danger_soft"]))
                one.format.setProperty(QTextFormat.Property.FullWidthSelection, True)
                marked.append(one)
        self.setExtraSelections(marked)


class VersionsDialog(QDialog):
    """All versions, newest first; the chosen one whole, or what is different in the editor from it. `take(body)` brings one back."""

    def __init__(self, context: AppContext, hand: VerifierHand, take: Callable[[str], object], parent: QWidget) -> None:
        super().__init__(parent)
        assert hand.verifier is not None
        self.context, self.theme, self.hand, self._take = context, context.theme, hand, take
        theme = self.theme
        self.setWindowTitle(tr("Versions"))
        self.resize(theme.px(880), theme.px(560))
        self.notes = NoteSlot(theme)
        self.table = Table(theme, [
            Column(tr("Version"), lambda v: Cell(tr("version {number}", number=v.number), strong=True,
                                                 note=", ".join(filter(None, (clock(v.made), v.note)))), least=150),
            Column("", lambda v: Cell(tr("not trusted"), icon="warn", tone="warn") if not v.trusted else "", 112)],
            name=tr("Versions"), two_lines=False, row_height=48)
        self.table.chosen.connect(lambda _: self._show())
        self.view = Segments(theme, [("changes", tr("What changed")), ("editor", tr("Against the editor")), ("whole", tr("Whole"))],
                             "changes", name=tr("What is shown"), on_change=lambda _: self._show())
        self.text = DiffText(theme)
        self.back = Button(theme, tr("Bring it back"), icon="undo", tip=tr("Into the editor, as an edit that can be undone"),
                           on_click=self.bring_back)
        done = Button(theme, tr("Close"), on_click=self.accept)
        right = col(row(self.view, "+"), (Panel((self.text, 1), kind="sunken", pad=(10, 8, 6, 8)), 1), gap=8)
        col(Text(tr("Versions of “{title}”", title=hand.verifier.title), "title", elide=True), self.notes,
            (row(fixed(self.table, theme.px(280)), (right, 1), gap=16), 1), row(self.back, "+", done), gap=12, pad=(24, 20, 24, 20),
            host=self)
        self.versions: list[Version] = []
        store, id = hand.store, hand.verifier.id
        context.jobs.run(lambda: store.versions(id), then=self._came, failed=self._failed, owner=self)

    def _came(self, found: list[Version]) -> None:
        self.versions = found
        self.table.set_rows(found)
        self.table.select(0)
        self._show()

    def _failed(self, wrong: Exception) -> None:
        if not isinstance(wrong, FledgeError):
            raise wrong
        self.notes.show_error(wrong)

    def _show(self) -> None:
        chosen: Version | None = self.table.current_row()
        self.back.setEnabled(chosen is not None and self.hand.trusted and chosen.trusted and chosen.body != self.hand.body)
        if chosen is None:
            return
        if self.view.value() == "whole":
            self.text.show_whole(chosen.body)
        elif self.view.value() == "editor":
            self.text.show_changes(chosen.body, self.hand.body)
        else:
            before = next((v.body for v in self.versions if v.number == chosen.number - 1), "")
            self.text.show_changes(before, chosen.body)

    def bring_back(self) -> None:
        chosen: Version | None = self.table.current_row()
        if chosen is not None:
            self._take(chosen.body)
            self.accept()


class ProblemDialog(QDialog):
    """One problem to be edited. `keep(prompt, answer, held_out)`; an answer that was JSON stays JSON."""

    def __init__(self, theme: Theme, listed: ListedProblem, keep: Callable[[str, Any, bool], object], parent: QWidget) -> None:
        super().__init__(parent)
        self.theme, self._listed, self._keep = theme, listed, keep
        problem = listed.problem
        self.setWindowTitle(tr("Problem"))
        self.resize(theme.px(600), theme.px(480))
        self._json = not isinstance(problem.answer, str)
        self.prompt = _field(listed.asked, tr("What is asked"))
        self.answer = _field(json.dumps(problem.answer, ensure_ascii=False, indent=1) if self._json else str(problem.answer),
                             tr("Gold answer"), mono=self._json)
        self.held = Tick(theme, tr("Held out: measured with, never trained on"), problem.held_out)
        self._wrong = small(tone="danger", wrap=True)
        self.done_button = Button(theme, tr("Save"), "primary", on_click=self.save)
        turns = len(problem.prompt) - 1
        facts = [tr("level {level}", level=f"{problem.difficulty:g}")] if problem.difficulty is not None else []
        facts += [problem.origin] if problem.origin else []
        facts += [trn("after {count} earlier turn", "after {count} earlier turns", turns)] if turns else []
        seen = [tr("Found in {where}: {quote}", where=where, quote=quote[:200]) for where, quote in listed.seen if quote]
        self.prompt.textChanged.connect(self._look)
        self.answer.textChanged.connect(self._look)
        col(Text(tr("Problem"), "title"), small(", ".join(facts), wrap=True) if facts else None,
            *[small(words, "warn", wrap=True) for words in seen], Text(tr("What is asked"), "medium"), (self.prompt, 3),
            Text(tr("Gold answer, as JSON") if self._json else tr("Gold answer"), "medium"), (self.answer, 2), self.held, self._wrong,
            row("+", Button(theme, tr("Cancel"), on_click=self.reject), self.done_button, gap=8), gap=8, pad=(24, 20, 24, 20), host=self)
        self._look()
        self.prompt.setFocus()

    def _answer(self) -> Any:
        text = self.answer.toPlainText()
        return json.loads(text) if self._json else text.strip()

    def _look(self) -> None:
        words = "" if self.prompt.toPlainText().strip() else tr("Write what is asked.")
        try:
            answer = self._answer()
            words = words or ("" if answer not in ("", None) else tr("Write the answer."))
        except ValueError as wrong:
            words = words or tr("The answer is no JSON: {reason}.", reason=str(wrong))
        self._wrong.set(words)
        show_if(self._wrong, bool(words))
        self.done_button.setEnabled(not words)

    def save(self) -> None:
        self._keep(self.prompt.toPlainText().strip(), self._answer(), self.held.value())
        self.accept()


def _field(text: str, name: str, mono: bool = False) -> QPlainTextEdit:
    made = QPlainTextEdit(text)
    made.setProperty("kind", "field")
    if mono:
        made.setProperty("role", "mono")
    made.setTabChangesFocus(True)
    made.setAccessibleName(name)
    return made


class ForeignDialog(QDialog):
    """What of this project nobody here has said yes to: verifiers, recipes, weights. It is read here; each is trusted where it is used."""

    def __init__(self, context: AppContext, parent: QWidget) -> None:
        super().__init__(parent)
        self.context, self.theme = context, context.theme
        theme = self.theme
        self.setWindowTitle(tr("What came with the project"))
        self.resize(theme.px(760), theme.px(500))
        self._body = col(gap=8)
        done = Button(theme, tr("Close"), on_click=self.accept)
        col(Text(tr("What came with the project"), "title"),
            small(tr("Made elsewhere, or changed outside of Fledge. Nothing of it runs before you say so where it is used."), wrap=True),
            (self._body, 1), row("+", done), gap=10, pad=(24, 20, 24, 20), host=self)
        project = context.project
        assert project is not None

        def read() -> list[Any]:
            return trust.foreign(project)
        context.jobs.run(read, then=self._came, failed=self._failed, owner=self)
        done.setFocus()

    def _failed(self, wrong: Exception) -> None:
        if not isinstance(wrong, FledgeError):
            raise wrong
        slot = NoteSlot(self.theme)
        self._body.layout().addWidget(slot)
        slot.show_error(wrong)

    def _came(self, found: list[Any]) -> None:
        clear(self._body.layout())
        if not found:
            self._body.layout().addWidget(EmptyState(self.theme, tr("Nothing"), tr("Everything in this project was made or trusted here.")))
            return
        kinds = {"verifier": tr("Verifier"), "recipe": tr("Recipe"), "weights": tr("Weights")}
        text = QPlainTextEdit()
        text.setReadOnly(True)
        text.setProperty("role", "mono")
        text.setAccessibleName(tr("What it says"))
        table = Table(self.theme, [Column(tr("What"), lambda f: Cell(f.title, tip=f.sha256), least=160),
                                   Column(tr("Kind"), lambda f: kinds.get(f.kind, f.kind), 110)], name=tr("What came"), fit=True,
                      max_rows=6)
        table.chosen.connect(lambda f: text.setPlainText(
            "" if f is None else to_read(str(getattr(f, "text", "") or getattr(f, "path", "")))))
        table.set_rows(found)
        self._body.layout().addWidget(table)
        self._body.layout().addWidget(Panel((text, 1), kind="sunken", pad=(10, 8, 6, 8)), 1)
        table.select(0)


