"""A finished evaluation: the table of suites and models, the chosen suite with its bars and what they say, and the answers."""

from collections.abc import Sequence
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from desktop.context import AppContext
from desktop.models.evaluate_answers import ANY, Source, lines
from desktop.models.evaluate_result import FORMS, Line, Result, paired_losses
from desktop.models.local_models import short_name
from desktop.pages.evaluate.answers_view import AnswersView
from desktop.pages.evaluate.interval_bars import BarLine, IntervalBars, verdict
from desktop.pages.evaluate.result_table import ResultTable
from desktop.widgets.buttons import Button
from desktop.widgets.columns import Columns
from desktop.widgets.facts import Facts
from desktop.widgets.histogram import ShareLines
from desktop.widgets.layout import clear, col, row, show_if
from desktop.widgets.notes import Note
from desktop.widgets.panel import Panel, heading, table_panel
from desktop.widgets.run_panel import clock
from desktop.widgets.text import Icon, Text, small
from engine.contract.units import duration, number
from engine.contract.words import tr, trn
from engine.evaluation.kept import ROWS
from engine.project.artifacts import Artifact

SIDE = 288
BLIND = "blind"


class ResultView(QWidget):
    """`blind_wanted`: the person wants to judge the pairs that are laid out."""

    blind_wanted = Signal()

    def __init__(self, context: AppContext) -> None:
        super().__init__()
        self.context, self.theme, theme = context, context.theme, context.theme
        self.artifact: Artifact | None = None
        self.result: Result | None = None
        self.table = ResultTable(theme, tr("Figures by suite and model"))
        self.table.chosen.connect(self._chosen)
        self._legend = row(Icon(theme, "uparrow", "ok"), small(tr("really better")), Icon(theme, "downarrow", "danger"),
                           small(tr("really worse than the first")), gap=6)
        figures = table_panel(heading(tr("Figures"), "", self._legend), self.table)
        self._title, self._unit, self._sentence = Text("", "section", elide=True), small(), Text(tone="text2", wrap=True)
        self.bars = IntervalBars(theme, tr("Figures of the suite"))
        self._said = col(gap=4)
        self._blind = Note(theme, "info", tr("Your judgement is wanted"), "", Button(theme, tr("Judge blindly"), "primary", icon="pairs",
                                                                                  on_click=self.blind_wanted.emit))
        self._parts = col(gap=12)
        suite = Panel(row((self._title, 1), self._unit, gap=10), self._sentence, self._blind, self.bars, self._said, self._parts,
                      pad=(16, 10, 16, 14), gap=8)
        self.answers = AnswersView(context)
        self._facts = Facts(gap=6, elide=True)
        self._more = col(gap=12)
        side = col(Panel(Text(tr("Evaluation"), "section"), self._facts, pad=(16, 10, 16, 14), gap=8), self._more, "+", gap=12)
        main = col(figures, suite, self.answers, "+", gap=12)
        col((Columns(theme, main, side, side_width=SIDE, gap=12), 1), gap=0, host=self)

    # showing ----------------------------------------------------------------------------------------------------------

    def load(self, made: Artifact, votes: dict[str, dict[str, Any]] | None = None, judged: tuple[int, int] = (0, 0)) -> None:
        """`votes`: people's win rates by model, where they are told; `judged`: (votes, pairs) of the blind comparison."""
        fresh = self.artifact is None or self.artifact.id != made.id
        result = Result.of(made)
        for suite in result.suites:
            if suite["kind"] == BLIND:
                result.judged[suite["id"]] = judged
                for model, rate in (votes or {}).items():
                    result.votes[suite["id"], model] = rate
        if not fresh and self.result is not None:
            result.paired = self.result.paired
        self.artifact, self.result = made, result
        self.table.set(result)
        if fresh or self.table.current_row() is None:
            self.table.clearSelection()
            if result.suites:
                self.table.select(0)
        else:
            self._chosen(self.table.current_row())
        show_if(self._legend, len(result.models) > 1)
        spec = made.spec
        facts = [(tr("Made"), clock(made.created)), (tr("Took"), duration(float(made.facts.get("seconds") or 0.0))),
                 (tr("Answers kept"), number(made.facts.get("rows") or 0))]
        if len(result.models) > 1:
            facts.append((tr("Compared with"), result.models[0][1]))
        facts += [(tr("Tries"), number(spec.get("samples") or 1)), (tr("Temperature"), str(spec.get("temperature") or 0)),
                  (tr("Longest answer"), trn("{shown} token", "{shown} tokens", int(spec.get("max_tokens") or 0),
                                             shown=number(spec.get("max_tokens") or 0)))]
        if spec.get("limit"):
            facts.append((tr("Questions at most"), number(spec["limit"])))
        if spec.get("judge"):
            facts.append((tr("Judge"), self._judge(str(spec["judge"]))))
        self._facts.set(facts)
        if fresh:
            self._pair_losses(made)

    def _judge(self, ref: str) -> str:
        """A judge of the project by its title."""
        id, survey = ref.partition(":")[2] or ref, self.context.survey
        return next((a.title for a in (survey.artifacts if survey is not None else ()) if a.id == id), short_name(ref))

    def _pair_losses(self, made: Artifact) -> None:
        """Differences of loss on the same conversations need the rows: read in a thread."""
        result = self.result
        assert result is not None
        wanted = [s["id"] for s in result.suites if s["kind"] == "example_loss"]
        if not wanted or len(result.models) < 2:
            return

        def read() -> dict[tuple[str, str], tuple[float, float]]:
            rows: dict[tuple[str, str], list[dict[str, Any]]] = {}
            for _, each in lines(made.path / ROWS):
                if each.get("suite") in wanted and "nats" in each:
                    rows.setdefault((each["suite"], each["model"]), []).append({"id": each["id"], "nats": each["nats"]})
            first = result.models[0][0]
            found = {(s, m): paired_losses(rows.get((s, first), ()), some) for (s, m), some in rows.items() if m != first}
            return {key: value for key, value in found.items() if value is not None}

        def show(found: dict[tuple[str, str], tuple[float, float]]) -> None:
            if self.artifact is made and self.result is not None:
                self.result.paired = found
                self.table.set(self.result)
                self._chosen(self.table.current_row())
        self.context.jobs.run(read, then=show, owner=self)

    def choose(self, suite: str) -> None:
        for place, line in enumerate(self.table.rows_model.rows):
            if line.id == suite:
                self.table.select(place)

    def _chosen(self, line: Line | None) -> None:
        result, made = self.result, self.artifact
        if line is None or result is None or made is None:
            return
        self._title.set(line.title)
        self._unit.set(line.unit)
        self._sentence.set(line.sentence)
        figures = result.bars(line.id)
        most = 1.0 if line.kind not in ("text_loss", "example_loss") else max((f.value or 0.0 for f in figures), default=1.0) * 1.06
        bars = []
        for f in figures:
            said, tone = verdict(f.mark)
            note = FORMS.get(f.form, f.form)
            bars.append(BarLine(result.model_title(f.model), note, f.value or 0.0, f.low, f.high, f.words,
                                ", ".join(x for x in (f.note, said) if x), tone))
        self.bars.set(bars, most, 0.5 if line.kind in ("win_rate", BLIND) else 0.0)
        show_if(self.bars, bool(bars))
        done, total = result.judged.get(line.id, (0, 0))
        hidden = line.kind == BLIND and not any(s == line.id for s, _ in result.votes)
        show_if(self._blind, hidden and total > 0)
        if hidden:
            self._blind.set(tr("Your judgement is wanted"),
                            tr("{done} of {total} pairs are judged. Whose answers they are is told at the end; "
                                                               "until then they are not shown here.", done=number(done),
                                                               total=number(total)))
        clear(self._said.layout())
        said = result.sentences(line.id)
        for words in said:
            self._said.layout().addWidget(Text(words, tone="text2", wrap=True))
        show_if(self._said, bool(said))
        self._show_parts(line)
        self._show_more(line)
        show_if(self.answers, not hidden and line.kind != "text_loss")
        if not hidden and line.kind != "text_loss":
            self.answers.set(line.id, sources(result, made, line))

    def _show_parts(self, line: Line) -> None:
        result, theme = self.result, self.theme
        assert result is not None
        clear(self._parts.layout())
        parts: list[QWidget] = []
        for title, shares in result.broken(line.id):
            bars = ShareLines(theme, 112, 84)
            bars.set(shares)
            parts.append(col(small(tr("What {model} did not keep to", model=title)), bars, gap=6))
        for column, title, shares in result.groups(line.id):
            bars = ShareLines(theme, 112, 84)
            bars.set(shares)
            parts.append(col(small(tr("{model} by {column}", model=title, column=column)), bars, gap=6))
        for i in range(0, len(parts), 2):
            some = parts[i:i + 2] if len(parts[i:i + 2]) == 2 or len(parts) == 1 else [parts[i], QWidget()]
            self._parts.layout().addWidget(row(*[(p, 1) for p in some], gap=24))
        show_if(self._parts, bool(parts))

    def _show_more(self, line: Line) -> None:
        result = self.result
        assert result is not None
        clear(self._more.layout())
        for model, title in result.models:
            pairs = result.details(line.id, model)
            if pairs:
                self._more.layout().addWidget(Panel(Text(title, "section", elide=True), Facts(pairs, gap=6), pad=(16, 10, 16, 14), gap=8))


def sources(result: Result, made: Artifact, line: Line) -> Sequence[Source]:
    """Whose answers stand side by side: each model in each form it was asked in."""
    found = []
    for model, title in result.models:
        forms = [r["form"] for r in result.results(line.id, model)] or ([ANY] if line.kind in ("win_rate", BLIND) else [])
        for form in forms:
            found.append(Source(made.path, model, form, title, FORMS.get(form, "") if len(forms) > 1 else ""))
    return found
