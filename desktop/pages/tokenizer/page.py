"""The Tokenizer page: which of its views is on the screen, and what its buttons do. The lab itself: lab_view.py."""

from pathlib import Path
from typing import Any

from PySide6.QtWidgets import QFileDialog, QWidget

from desktop.context import AppContext
from desktop.jobs.stage_run import StageRun
from desktop.pages.tokenizer.costs import DEPTHS, shares
from desktop.pages.tokenizer.lab_view import LabView
from desktop.widgets.buttons import Button
from desktop.widgets.columns import Columns
from desktop.widgets.empty_state import EmptyState
from desktop.widgets.flow_strip import FlowStrip
from desktop.widgets.layout import Item, clear, col, fill
from desktop.widgets.notes import Note, NoteSlot
from desktop.widgets.page_header import PageHeader
from desktop.widgets.panel import Panel
from desktop.widgets.run_page import RunPage
from desktop.widgets.short_run import LIVE, ShortRun
from desktop.widgets.spec_form import SpecForm
from desktop.widgets.table import Cell, Column, Table
from desktop.widgets.text import Text, small
from engine.contract import units
from engine.contract.words import tr
from engine.project.artifacts import Artifact
from engine.stages.tokenizer.lab import recommended
from engine.stages.tokenizer.spec import TokenizerSpec

SIZES = (512, 1024, 2048, 4096, 8192, 16_384, 32_768, 65_536)
NOTHING = (tr("Nothing yet"), tr("a tokenizer.json that other tools read"))


class TokenizerPage(RunPage):
    """Views: empty (no text yet), new (settings), running, lab."""

    def __init__(self, context: AppContext) -> None:
        super().__init__(context)
        theme = self.theme
        self._run = StageRun(self)
        self._view, self._seen, self._shown, self._awaited = "", "", "", ""
        self._wants_new = False
        self._header = PageHeader(tr("Tokenizer"), tr("Cuts text into the tokens that a model reads and writes."))
        self._flow = FlowStrip(theme)
        self._notes = NoteSlot(theme)
        self._body = col(gap=12)
        self._lab = LabView(context)
        self._form_view = self._make_form()
        self._keep = col(self._lab, self._form_view)
        self._keep.hide()
        self.set_body(self._header, 14, self._flow, 12, self._notes, (self._body, 1))
        context.survey_changed.connect(self._refresh)
        self._run.changed.connect(self._refresh)

    def _make_form(self) -> QWidget:
        theme = self.theme
        self.form = SpecForm(theme, TokenizerSpec, exclude=("seed", "source"), artifacts=self.context.choices, title=tr("Settings"))
        self.form.changed.connect(self._settings_changed)
        self._costs = Table(theme, [
            Column(tr("Vocabulary"), lambda r: Cell(units.number(r[0]), strong=r[0] == r[-1]), right=True, least=80),
            *(Column(tr("depth {depth}", depth=d), lambda r, i=i: Cell(units.percent(r[1 + i]), tone="warn" if r[1 + i] > 0.6 else ""),
                     width=76, right=True) for i, d in enumerate(DEPTHS))],
            name=tr("Share of the parameters"), fit=True, max_rows=len(SIZES), selectable=False)
        explained = small(tr("The embedding holds a row for each token. In a small model a large vocabulary leaves little for the rest: "
                             "with 1 to 4 MB of text, 1,000 to 4,000 tokens do well; with 100 MB, 8,000 to 16,000."), wrap=True)
        side = Panel(Text(tr("What a vocabulary costs"), "section"),
                     small(tr("Share of the model's parameters in the embedding, by size.")), self._costs, explained,
                     pad=(16, 10, 16, 14), gap=8)
        form = col(Panel(self.form, pad=(16, 10, 16, 12)), "+", gap=0)
        return col((Columns(theme, form, col(side, "+"), side_width=448, gap=12), 1), gap=0)

    def opened(self, **args: Any) -> None:
        project = self.context.project
        if project is None:
            return
        if args.get("run"):
            self._run.show(project, str(args["run"]))
        if args.get("artifact"):
            self._shown, self._view = str(args["artifact"]), ""
        self._refresh()

    def left(self) -> None:
        self._lab.rest()

    # which view -------------------------------------------------------------------------------------------------------

    def _refresh(self) -> None:
        survey, project = self.context.survey, self.context.project
        if survey is None or project is None:
            return
        self.form.refresh_artifacts()
        live = next((r for r in survey.of_stage("tokenizer") if r.status in LIVE and r.status != "created"), None)
        if live and live.id != self._seen and self._view != "running":
            self._run.show(project, live.id)
        if self._run.follower and self._run.follower.status in LIVE and self._run.run_id != self._seen:
            self._show("running")
        elif not self._awaited or any(a.id == self._awaited for a in survey.artifacts):
            self._awaited = ""
            new = survey.of_kind("corpus") and (self._wants_new or not survey.of_kind("tokenizer"))
            self._show("new" if new else "lab" if survey.of_kind("tokenizer") else "empty")

    def _show(self, view: str) -> None:
        if view == self._view and view != "lab":
            return
        again, self._view = view == self._view, view
        if again:
            self._fill_lab()
            return
        self._header.set_actions(*self._actions(view))
        box = self._body.layout()
        for kept in (self._lab, self._form_view):
            kept.setParent(self._keep)
        clear(box)
        fill(box, self._parts(view), 12)

    def _actions(self, view: str) -> list[Button]:
        theme = self.theme
        bring = Button(theme, tr("Import a tokenizer"), icon="file", on_click=self._import_file)
        if view == "new":
            known = self.context.survey.of_kind("tokenizer") if self.context.survey else []
            back = Button(theme, tr("Cancel"), on_click=self._leave_new) if known else bring
            return [back, Button(theme, tr("Train the tokenizer"), "primary", on_click=self._start)]
        if view == "lab":
            return [bring, Button(theme, tr("Train another"), icon="plus", on_click=self._want_new),
                    Button(theme, tr("Design a model"), "primary", on_click=lambda: self.context.navigate("pretrain"))]
        return []

    def _parts(self, view: str) -> tuple[Item, ...]:
        if view == "running":
            assert self._run.follower and self._run.process
            spec = self._run.follower.run.spec
            shown = ShortRun(self.theme, self._run.follower, self._run.process, tr("Training the tokenizer"))
            shown.ended.connect(self._ended)
            self._flow.set(goes_in=self._corpus_fact(str(spec.get("corpus", ""))), came_out=NOTHING, tense="is",
                           happens=(_learned(int(spec.get("vocab_size") or 0)),
                                    tr("goes on without this window")))
            return (shown, "+")
        if view == "new":
            self._form_view.show()
            if not self.form.values().get("corpus"):
                corpora = self.context.choices("corpus")
                if corpora:
                    self.form.set("corpus", corpora[0][0])
            self._settings_changed()
            return ((self._form_view, 1),)
        if view == "lab":
            self._fill_lab()
            self._lab.show()
            return ((self._lab, 1),)
        self._flow.set(goes_in=(tr("Nothing yet"), tr("a corpus")), happens=(tr("Pairs of letters become tokens"), tr("byte-level BPE")),
                       came_out=NOTHING, tense="will")
        return ((EmptyState(self.theme, tr("A tokenizer learns from text"),
            tr("It finds the pieces that your text is made of: common words whole, rare ones in parts. Import text first, or bring a "
               "tokenizer.json of another model."),
            Button(self.theme, tr("Import text"), "primary", on_click=lambda: self.context.navigate("corpus")),
            Button(self.theme, tr("Import a tokenizer"), on_click=self._import_file),
            steps=[(tr("Text"), tr("none yet"), False), (tr("A tokenizer"), tr("seconds to a minute"), False),
                   (tr("A model"), tr("learns to continue the text"), False)]), 1),)

    def _corpus(self, id: str) -> Artifact | None:
        corpora = self.context.survey.of_kind("corpus") if self.context.survey else []
        return next((a for a in corpora if a.id == id), None)

    def _corpus_bytes(self, id: str) -> int:
        made = self._corpus(id)
        return int(made.facts.get("splits", {}).get("train", {}).get("bytes", 0)) if made else 0

    def _corpus_fact(self, id: str) -> tuple[str, str]:
        made = self._corpus(id)
        if made is None:
            return tr("No corpus"), tr("choose one")
        return made.title, tr("{size} of text", size=units.size(made.facts.get("bytes", 0)))

    def _fill_lab(self) -> None:
        tokenizers = self.context.survey.of_kind("tokenizer") if self.context.survey else []
        if not tokenizers:
            return
        made: Artifact = next((a for a in tokenizers if a.id == self._shown), tokenizers[0])
        self._lab.load(made, tokenizers, self._choose)
        facts = made.facts
        came = tr("{bytes} bytes a token", bytes=units.number(facts["bytes_per_token"], 2)) if facts.get("bytes_per_token") else \
            tr("not measured")
        happened = (tr("Imported"), tr("used as it is")) if facts.get("imported") else \
            (tr("{count} merges learned", count=units.number(facts.get("merges", 0))),
             tr("from {size} in {time}", size=units.size(facts.get("sample_bytes", 0)), time=units.duration(facts.get("seconds", 0))))
        self._flow.set(goes_in=self._corpus_fact(made.parents[0] if made.parents else ""), happens=happened,
                       came_out=(f"{made.title} ({made.id})" if made.title != made.id else made.id,
                                 tr("{count} tokens, {came}", count=units.number(facts.get("vocab_size", 0)), came=came)), tense="did")

    def _choose(self, id: str) -> None:
        self._shown = id
        self._fill_lab()

    # what the person does ---------------------------------------------------------------------------------------------

    def _settings_changed(self) -> None:
        values = self.form.values()
        suits = recommended(self._corpus_bytes(str(values.get("corpus") or "")))
        self.form.set_automatic({"vocab_size": suits})
        chosen = values["vocab_size"] if isinstance(values.get("vocab_size"), int) else suits
        self._costs.set_rows(shares(int(chosen), SIZES))
        if self._view == "new":
            self._flow.set(goes_in=self._corpus_fact(str(values.get("corpus") or "")), came_out=NOTHING, tense="will",
                           happens=(_learned(int(chosen)), tr("seconds to a minute")))

    def _want_new(self) -> None:
        self._wants_new = True
        self._refresh()

    def _leave_new(self) -> None:
        self._notes.clear()
        self._wants_new = False
        self._refresh()

    def _import_file(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, tr("Import a tokenizer"), "", tr("tokenizer.json (*.json)"))
        if not name:
            return
        corpora = self.context.choices("corpus")
        self._launch({"source": str(Path(name)), "corpus": corpora[0][0] if corpora else ""})

    def _start(self) -> None:
        if not self.form.check():
            self._launch(self.form.values())

    def _launch(self, values: dict[str, Any]) -> None:
        self.launch(lambda: TokenizerSpec.check(values))

    def _ended(self, status: str) -> None:
        ended = self.take_end()
        if ended is None:
            return
        follower, trouble = ended
        if trouble is not None:
            self._notes.show_error(trouble, title=tr("No tokenizer was made"))
        else:
            self._shown = self._awaited = follower.state.artifacts[-1] if follower.state.artifacts else ""
            self._wants_new = False
            for notice in follower.state.notices:
                self._notes.show_note(Note(self.theme, "warn" if notice.level == "warning" else "info", notice.title,
                                           f"{notice.text} {notice.remedy}".strip()))
        self._refresh()


def _learned(tokens: int) -> str:
    return tr("{size} tokens are learned", size=units.number(tokens)) if tokens else tr("Tokens are learned")
