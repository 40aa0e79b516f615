"""What a verifier says: the checks (gold answers must score full, nonsense must not), and the rewards of a model's own answers."""

from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QDialog, QWidget

from desktop.context import AppContext
from desktop.models.workbench import Workbench
from desktop.models.workbench_state import CheckRow, Checks
from desktop.theme.theme import Theme
from desktop.widgets.badge import Badge
from desktop.widgets.bar import Bar
from desktop.widgets.buttons import Button
from desktop.widgets.facts import Stat
from desktop.widgets.fields import Choice, NumberField
from desktop.widgets.histogram import Histogram
from desktop.widgets.layout import Scroll, col, fill, row, show_if
from desktop.widgets.panel import Panel, rule
from desktop.widgets.question import Question, fit
from desktop.widgets.table import Cell, Column, Table
from desktop.widgets.text import Icon, Text, small
from engine.contract.units import duration, number, percent
from engine.contract.words import tr, trn
from engine.project.models import ModelRef, list_models

TONES = {"ok": ("check", "ok"), "warning": ("warn", "warn"), "failure": ("error", "danger"), "skipped": ("", "text3")}
NONE = "–"
MOST_MODELS = 60
LOW, HIGH = 72, 140
"""Of the chart, in design pixels: it takes what room there is."""


def score_words(score: float | None) -> str:
    """0.5 -> "0.5", 1 -> "1.0"."""
    if score is None:
        return NONE
    words = f"{score:.2f}".rstrip("0")
    return (words + "0" if words.endswith(".") else words).replace("-", "\N{MINUS SIGN}")


def checks_badge(checks: Checks) -> tuple[str, str]:
    """(words, tone)."""
    count = sum(row.level != "skipped" for row in checks.rows) + (not checks.stable)
    if not checks.failing:
        return (tr("all pass") if count else ""), "ok"
    tone = "danger" if any(row.level == "failure" for row in checks.rows) else "warn"
    return trn("{failing} of {all} fails", "{failing} of {all} fail", checks.failing, failing=number(checks.failing),
               all=number(count)), tone


class ChecksPanel(Panel):
    """The seven checks, and which verifier fails them where. `line_wanted(line)`: a person wants to see it in the source."""

    line_wanted = Signal(int)

    def __init__(self, context: AppContext, bench: Workbench) -> None:
        super().__init__()
        self.context, self.theme, self.bench = context, context.theme, bench
        self.badge, self._time = Badge(), small()
        self.table = Table(self.theme, [
            Column(tr("Completion"), lambda r: Cell(r.title, tip=f"{r.help}\n\n{r.sentence}".strip()), least=96),
            Column(tr("Wanted"), lambda r: Cell(score_words(r.wanted), tip=r.sentence), 70, right=True),
            Column(tr("Got"), self._got, 72, right=True)], name=tr("Checks"), fit=True, max_rows=7)
        self.table.opened.connect(self.show_row)
        self.table.clicked.connect(lambda index: self.show_row(self.table.rows_model.row(index.row())))
        self._words = small(wrap=True)
        self._words_row = row((self._words, 1), pad=(8, 2, 8, 4))
        self._bar = Bar(self.theme, name=tr("Checked"))
        self._stop = Button(self.theme, tr("Stop"), "quiet", on_click=bench.stop_checks)
        self._progress = row((self._bar, 1), self._stop, gap=8, pad=(8, 0, 8, 0))
        fill(self.box, (row(Text(tr("Checks"), "section"), self.badge, "+", self._time, gap=8, pad=(8, 0, 8, 0)),
                        self.table, self._progress, self._words_row), 6, (8, 12, 8, 4))
        bench.checks_changed.connect(self.refresh)
        bench.marks_changed.connect(self.refresh)
        self.refresh()

    def _got(self, line: CheckRow) -> Cell:
        icon, tone = TONES[line.level]
        stale = self.bench.checks is not None and self.bench.checks.stale
        return Cell(score_words(line.got), icon="" if stale else icon, tone="text3" if stale else tone, tip=line.sentence)

    def refresh(self) -> None:
        bench, checks, progress = self.bench, self.bench.checks, self.bench.checks_progress
        show_if(self._progress, progress is not None)
        if progress is not None:
            self._bar.set(progress[0] / progress[1] if progress[1] else 0.0)
        self.table.set_rows(checks.rows if checks is not None else [])
        show_if(self.table, checks is not None)
        if checks is None:
            self.badge.set("")
            self._time.set("")
            words = tr("The source must be mended first.") if bench.marks else tr("Looking at it…") if bench.checking else \
                tr("Choose a problem: its gold answer must score full, and nonsense nothing.") if bench.source is not None or \
                bench.composition is not None else tr("What the gold answers score, and what nonsense does: empty, the prompt again, every "
                                                      "number at once.")
        else:
            self.badge.set(*(("", "") if checks.stale else checks_badge(checks)))
            self.badge.setToolTip(checks.sentence)
            self._time.set(tr("{time} ms a call", time=f"{checks.ms:.1f}" if checks.ms < 10 else number(round(checks.ms))))
            gold = next((r for r in checks.rows if r.id == "gold"), None)
            told = gold is not None and gold.level == "ok" and not checks.unusable  # the badge and the rows say it all
            words = "" if told else checks.sentence
            if checks.stale:
                words = tr("Of the verifier as it was. The new one follows.") if not bench.marks else \
                    tr("Of the verifier as it was before the mistake.")
        self._words.set(words)
        show_if(self._words_row, bool(words) and progress is None)  # one of the two: a panel that grows and shrinks pushes the others about

    def show_row(self, line: Any) -> None:
        """What was handed in, and what was said to it."""
        if line is not None:
            CheckDialog(self.theme, line, self.line_wanted.emit, self).open()


class CheckDialog(QDialog):
    """One check: what it hands in and why, what is wrong, and where it was."""

    def __init__(self, theme: Theme, line: CheckRow, go: Any, parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle(line.title)
        self.setMinimumWidth(theme.px(560))
        icon, tone = TONES[line.level]
        facts = tr("Wanted {wanted}, got {got}.", wanted=score_words(line.wanted), got=score_words(line.got)) if line.level != "skipped" \
            else ""
        if line.tried:
            facts += " " + trn("{missed} of {tried} handed in was not as wanted.", "{missed} of {tried} handed in were not as wanted.",
                               line.tried, missed=number(line.missed), tried=number(line.tried))
        misses = [Panel(row(Text(miss.asked.split("\n")[0][:200], "medium", elide=True), gap=8),
                        Text(miss.completion[:400] or tr("(empty)"), "mono", "text2", wrap=True),
                        small(tr("Got {got}.", got=score_words(miss.got)) + (f" {miss.message}" if miss.message else ""), wrap=True),
                        kind="sunken", gap=4, pad=(12, 8, 12, 8)) for miss in line.misses[:20]]
        body = col(*misses, "+", gap=8)
        place = Scroll(body, horizontal=False)
        place.setFixedHeight(theme.px(min(320, 126 * len(misses))))
        found = next((one.line for one in line.misses if one.line), line.line)

        def leave() -> None:
            self.accept()
            go(found)
        self.done_button = Button(theme, tr("Close"), on_click=self.accept)
        col(row(Icon(theme, icon, tone) if icon else None, Text(line.title, "title"), "+"), small(line.help, wrap=True),
            Text(line.sentence, wrap=True) if line.sentence else None, small(facts.strip(), wrap=True) if facts.strip() else None,
            small(tr("Gold answers were handed in {form}.", form=line.form), wrap=True) if line.form else None,
            place if misses else None, 8,
            row(Button(theme, tr("Go to line {line}", line=number(found)), on_click=leave) if found else None, "+", self.done_button),
            gap=8, pad=(24, 20, 24, 20), host=self)
        self.done_button.setFocus()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        fit(self)


class RewardsPanel(Panel):
    """The rewards of a model's answers before training, and the trial that makes them."""

    def __init__(self, context: AppContext, bench: Workbench) -> None:
        super().__init__()
        self.context, self.theme, self.bench = context, context.theme, bench
        theme = self.theme
        self._known: list[tuple[str, str]] = []
        self._offered: list[tuple[str, str]] = []
        self._first = ""
        self._count = small()
        self.chart = Histogram(theme, 0, name=tr("Rewards"), widest=62)
        self.chart.setMinimumHeight(theme.px(LOW))
        self.chart.setMaximumHeight(theme.px(HIGH))
        self._one, self._k, self._mixed = Stat(tr("pass@1")), Stat(tr("pass@k")), Stat(tr("Mixed groups"))
        self._k_name = self._k.layout().itemAt(0).widget()
        for stat in (self._one, self._k, self._mixed):
            stat.layout().itemAt(2).widget().hide()  # no note, and no room for one
        self._stats = row(self._one, "+", self._k, "+", self._mixed, gap=8)
        self._icon, self._words = Icon(theme, "info"), small(wrap=True)
        self._errors = small(tone="warn", wrap=True)
        self.model = Choice(theme, [], name=tr("Model to be tried"), empty=tr("No model yet"))
        self.model.changed.connect(lambda: bench.set_model(str(self.model.value() or "")))
        self.settings = Button(theme, kind="icon", icon="settings", name=tr("How it is tried"), on_click=self.ask_settings)
        self.try_button = Button(theme, tr("Try"), icon="play", on_click=bench.start_trial)
        self.stop_button = Button(theme, tr("Stop"), "danger", icon="stop", on_click=bench.stop_trial)
        self._bar, self._bar_words = Bar(theme, name=tr("Sampled")), small(elide=True)
        self._progress = col(self._bar, self._bar_words, gap=4)
        self._chart_rule = rule()
        self._trying = row(self.try_button, self.stop_button, "+", gap=6)
        fill(self.box, (row(Text(tr("Rewards"), "section"), "+", self._count, gap=8), (self.chart, 4), self._chart_rule, self._stats,
                        self._words, self._errors, "+", self._progress,
                        row((self.model, 1), self.settings, gap=4), self._trying), 8, (16, 12, 16, 12))
        for signal in (bench.scores_changed, bench.trial_changed, bench.problems_changed):
            signal.connect(self.refresh)
        context.survey_changed.connect(self._survey_changed)
        self.refresh()
        self.read_models()

    def _survey_changed(self) -> None:
        if self.isVisible():
            self.read_models()

    def read_models(self) -> None:
        """Finished models and checkpoints of runs; those that were tuned to answer come first to be tried."""
        project = self.context.project
        if project is None:
            return

        def read() -> list[ModelRef]:
            return [one for one in list_models(project) if not one.untrained][:MOST_MODELS]

        def came(found: list[ModelRef]) -> None:
            self._known = [(one.id, one.title) for one in found]
            self._first = next((one.id for one in found if one.chat), found[0].id if found else "")
            self.refresh()
        self.context.jobs.run(read, then=came, failed=self.bench.failed.emit, owner=self)

    def refresh(self) -> None:
        bench, scores, trial = self.bench, self.bench.scores, self.bench.trial
        known = self._known
        if known != self._offered:
            self._offered = known
            self.model.set_choices(known)
        if known and bench.sets:
            if bench.trial_settings.model not in dict(known):
                bench.set_model(self._first)
            self.model.set(bench.trial_settings.model)
        judged = scores is not None and bool(scores.groups)
        for part in (self.chart, self._chart_rule, self._stats):
            show_if(part, judged)
        show_if(self._progress, trial.running or bench.scores_progress is not None)
        show_if(self.try_button, not trial.running)
        show_if(self._trying, trial.running or trial.phase != "whole" or trial.stale)
        show_if(self.stop_button, trial.running)
        self.model.setEnabled(bool(known) and not trial.running)
        can = bool(known) and bench.count > 0
        self.try_button.setEnabled(can and (trial.phase != "whole" or trial.stale))
        words = tr("Go on trying") if trial.phase == "some" and not trial.stale else tr("Try again") if trial.stale else \
            tr("Try the model")
        self.try_button.set_words(words)
        if trial.running:
            self._bar.set(trial.groups / trial.of if trial.of else 0.0)
            left = tr(", {time} left", time=duration(trial.left)) if trial.left is not None else ""
            self._bar_words.set(tr("{groups} of {of} problems answered", groups=number(trial.groups), of=number(trial.of)) + left)
        elif bench.scores_progress is not None:
            done, of = bench.scores_progress
            self._bar.set(done / of if of else 0.0)
            self._bar_words.set(tr("{done} of {of} answers scored", done=number(done), of=number(of)))
        self._show_scores()

    def _show_scores(self) -> None:
        bench, scores, trial = self.bench, self.bench.scores, self.bench.trial
        if scores is None or not scores.groups:
            self._count.set("")
            show_if(self._errors, False)
            if trial.running:
                words = tr("The first answers are on their way.")
            elif trial.phase in ("some", "whole"):
                words = tr("There are answers of this model; they are scored as soon as the verifier can run.")
            elif not self._known:
                words = tr("What a model's own answers score shows whether GRPO can learn. It needs a model: raise one, or import it.")
            elif not bench.count:
                words = tr("What a model's own answers score shows whether GRPO can learn. It needs problems first.")
            else:
                words = tr("What the model scores before training shows whether GRPO can learn: {count} problems, {k} answers each.",
                           count=number(trial.of or min(bench.trial_count, bench.count)), k=number(bench.trial_settings.k))
            self._words.set(words)
            return
        old = scores.stale or trial.stale
        self._count.set(trn("{shown} completion", "{shown} completions", scores.tried, shown=number(scores.tried)))
        self.chart.set([(bar.label, bar.count, number(bar.count)) for bar in scores.bars],
                       ["raw" if old or bar.high <= 0 else "accent" for bar in scores.bars])
        self._one.set(NONE if scores.pass_at_1 is None else percent(scores.pass_at_1))
        self._k_name.set(tr("pass@{k}", k=number(scores.k)))  # type: ignore[union-attr]
        self._k.set(NONE if scores.pass_at_k is None else percent(scores.pass_at_k))
        self._mixed.set(NONE if scores.mixed_share is None else percent(scores.mixed_share))
        self._words.set(tr("Of answers that were tried before: of another model, other problems or other settings.") if trial.stale else
                        tr("Of the verifier as it was.") if scores.stale else f"{scores.sentence} {scores.remedy}".strip())
        self._words.set_tone("warn" if scores.level in ("warning", "failure") and not old else "text2")
        failed = sum(scores.errors.values())
        self._errors.set(trn("{shown} call failed", "{shown} calls failed", failed, shown=number(failed)) + ": " +
                         ", ".join(f"{kind} {number(count)}" for kind, count in scores.errors.items()) if failed else "")
        show_if(self._errors, bool(failed))

    def ask_settings(self) -> None:
        """How many problems and answers, and how long they may be."""
        settings, bench = self.bench.trial_settings, self.bench
        fields = {"count": NumberField(bench.trial_count, name=tr("Problems"), low=1), "k": NumberField(settings.k, name=tr("Answers each"),
                                                                                                        low=1, high=4096),
                  "max_new_tokens": NumberField(settings.max_new_tokens, name=tr("Longest answer, in tokens"), low=1, high=131_072)}

        def take() -> None:
            given = {name: int(field.value() or 1) for name, field in fields.items() if not field.wrong()}
            bench.set_trial(count=given.pop("count", None), **given)
        made = Question(self.theme, tr("How the model is tried"),
                        tr("As GRPO will sample it: at temperature 1, held-out problems first. More answers to a problem show more."),
                        tr("Use these"), take, *[row(Text(field.accessibleName()), "+", _narrow(self.theme, field))
                                                 for field in fields.values()], parent=self.window())
        made.open()


def _narrow(theme: Theme, field: NumberField) -> QWidget:
    field.setFixedWidth(theme.px(120))
    return field
