"""What came out of a set: how many rows stay and why others were set aside, scores, how varied it is, whether the judge can be trusted."""

from typing import Any

from PySide6.QtWidgets import QWidget

from desktop.context import AppContext
from desktop.models.instruct_result import Outcome, bias_words, by_model, counts, fact, histogram, read_outcome, reasons
from desktop.widgets.badge import Badge
from desktop.widgets.bar import Bar
from desktop.widgets.columns import Columns
from desktop.widgets.facts import Facts
from desktop.widgets.histogram import Histogram, ShareLines
from desktop.widgets.layout import col, row, show_if
from desktop.widgets.notes import NoteSlot
from desktop.widgets.panel import Panel, heading, rule, table_panel
from desktop.widgets.table import Cell, Column, Table
from desktop.widgets.text import Text, small
from engine.contract.errors import FledgeError
from engine.contract.units import count, duration, number, percent
from engine.contract.words import tr, trn
from engine.project.artifacts import Artifact
from engine.project.runs import Run

SIDE = 300


class ResultView(QWidget):
    """`load(set, run, artifact)`; run and artifact are None for an import."""

    def __init__(self, context: AppContext) -> None:
        super().__init__()
        self.context, self.theme = context, context.theme
        theme = self.theme
        self._shown = ""
        self.notes = NoteSlot(theme)
        self._kept, self._kept_note = Text("", "title"), small()
        self._bar = Bar(theme, height=10, name=tr("For training"))
        self.reasons = ShareLines(theme, 168, 96)
        self._none = small(tr("No row was set aside."))
        self._failed = small(wrap=True)
        self._several = small(tone="text3")
        show_if(self._several, False)
        what = Panel(heading(tr("What stays, and why the rest was set aside")), row(self._kept, (self._kept_note, 1), gap=10), self._bar,
                     2, rule(),
                     2, self.reasons, self._none, self._several, self._failed,
                     small(tr("What was set aside can be read and brought back in the review."), "text3", wrap=True), pad=(16, 12, 16,
                                                                                                                           14), gap=8)
        self.scores = Histogram(theme, 150, tr("Scores"))
        self._score_note = small()
        self._no_scores = small(tr("Nobody judged these rows: they have no scores. A run with a judge gives them."), wrap=True)
        scores = Panel(heading(tr("Scores"), "", self._score_note), self.scores, self._no_scores, "+", pad=(16, 12, 16, 12), gap=6)
        self._variety_badge, self._variety = Badge(), Facts(gap=6)
        self._variety_words = small(wrap=True)
        self._variety_panel = Panel(row(Text(tr("Variety"), "section"), "+", self._variety_badge), self._variety, self._variety_words, "+",
                                    pad=(16, 12, 16, 14), gap=8)
        self._bias_value, self._bias_words = Text("", "section"), small(wrap=True)
        self._bias_panel = Panel(row(Text(tr("The judge"), "section"), small(tr("followed the place")), "+", self._bias_value, gap=8),
                                 self._bias_words, pad=(16, 12, 16, 14), gap=6)
        self._facts = Facts(gap=6)
        facts = Panel(Text(tr("Figures"), "section"), self._facts, pad=(16, 10, 16, 14), gap=8)
        self._models = Table(theme, [Column(tr("Model"), lambda m: Cell(m[0], strong=True, tip=m[0]), least=90),
                                     Column(tr("Asked"), lambda m: m[1], 64, right=True), Column(tr("Tokens"), lambda m: m[3], 76,
                                                                                                 right=True)],
                             name=tr("Models"), fit=True, selectable=False)
        self._models_panel = table_panel(heading(tr("Models")), self._models)
        main = col(self.notes, what, row((scores, 1), (self._variety_panel, 1), gap=12), "+", gap=12)
        side = col(facts, self._models_panel, self._bias_panel, "+", gap=12)
        col((Columns(theme, main, side, side_width=SIDE, gap=12, room=560), 1), gap=0, host=self)

    def load(self, chosen: Any, run: Run | None, made: Artifact | None) -> None:
        """The counts at once, the rest when a thread has read the rows."""
        assert self.context.project is not None
        project, facts = self.context.project, dict(made.facts) if made is not None else {}
        self._shown = chosen.id
        self.notes.clear()
        usable = chosen.accepted + chosen.new
        share = usable / chosen.count if chosen.count else 0.0
        self._kept.set(number(usable))
        self._kept_note.set(tr("of {shown} rows are for training, {share}", shown=number(chosen.count), share=percent(share)))
        self._bar.set(share)
        self._show_figures(chosen, run, facts)
        for panel in (self._variety_panel, self._bias_panel):
            show_if(panel, False)
        show_if(self._no_scores, False)
        show_if(self._none, False)
        id = chosen.id

        def failed(wrong: Exception) -> None:
            if not isinstance(wrong, FledgeError):
                raise wrong
            self.notes.show_error(wrong)
        self.context.jobs.run(lambda: read_outcome(project, id), then=lambda found: self._read(chosen, found), failed=failed, owner=self)

    def _show_figures(self, chosen: Any, run: Run | None, facts: dict[str, Any]) -> None:
        told, pairs = counts(facts), [(tr("Rows"), number(chosen.count)), (tr("Accepted"), number(chosen.accepted)),
                                      (tr("To review"), number(chosen.new)), (tr("Set aside"), number(chosen.rejected))]
        tokens = fact(told, "tokens_in") + fact(told, "tokens_out")
        if tokens:
            pairs += [(tr("Requests"), number(fact(told, "asked"))), (tr("Tokens read"), count(fact(told, "tokens_in"))),
                      (tr("Tokens written"), count(fact(told, "tokens_out")))]
        if fact(facts, "seconds"):
            pairs.append((tr("Time"), duration(fact(facts, "seconds"))))
        self._facts.set(pairs)
        models = by_model(facts)
        self._models.set_rows(models)
        show_if(self._models_panel, bool(models))
        failed = told.get("failed")
        lost = sum(int(v) for v in failed.values()) if isinstance(failed, dict) else 0
        why = ", ".join({"slow": tr("too slow"), "dropped": tr("connection broke"), "server": tr("server failed"),
                         "form": tr("strange replies"),
                         "too_long": tr("longer than the context")}.get(str(k),
                                                                        str(k)) for k in (failed if isinstance(failed, dict) else ()))
        self._failed.set(trn("{shown} row got no answer: {why}.", "{shown} rows got no answer: {why}.", lost, shown=number(lost), why=why)
                         if lost else "")
        show_if(self._failed, bool(lost))

    def _read(self, chosen: Any, found: Outcome) -> None:
        if chosen.id != self._shown:
            return
        by_reason = reasons(found.flags, chosen.count)
        hand = chosen.rejected - sum(found.flags.values())
        if hand > 0 and chosen.rejected:
            by_reason.append((tr("set aside by hand"), hand / max(1, chosen.count), number(hand)))
        self._several.set(tr("A row can have several reasons.") if hand < 0 else "")
        show_if(self._several, hand < 0)
        self.reasons.set(by_reason)
        show_if(self.reasons, bool(by_reason))
        show_if(self._none, not by_reason)
        scored = sum(n for _, n in found.scores)
        self.scores.set(histogram(found.scores))
        show_if(self.scores, bool(scored))
        show_if(self._no_scores, not scored)
        if scored:
            mean = sum(s * n for s, n in found.scores) / scored
            self._score_note.set(tr("mean {mean}, rows for training", mean=f"{mean:.1f}"))
        else:
            self._score_note.set("")
        bias = bias_words(found.bias)
        show_if(self._bias_panel, bias is not None)
        if bias is not None:
            self._bias_value.set(bias[0])
            self._bias_value.set_tone("warn" if bias[2] else "")
            self._bias_words.set(bias[1])
        show_if(self._variety_panel, found.variety is not None)
        if found.variety is not None:
            self._variety.set(found.variety.pairs)
            self._variety_words.set(found.variety.words)
            self._variety_badge.set(found.variety.badge, found.variety.tone)
