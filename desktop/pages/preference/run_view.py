"""A run that makes pairs, for the widget that shows runs of any stage: what it is called, its numbers and curve, the pairs as they come."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from PySide6.QtWidgets import QWidget

from desktop.jobs.run_follow import RunFollower
from desktop.models.pair_plan import makers, model_titles
from desktop.models.pair_rows import ArrivedPairs
from desktop.models.trouble import StageWords
from desktop.widgets import run_numbers
from desktop.widgets.buttons import Button
from desktop.widgets.flexible import Poured
from desktop.widgets.layout import Item, Scroll, clear, col, fill, row, show_if
from desktop.widgets.panel import rule
from desktop.widgets.run_panel import Heard, Line, Number, RunView
from desktop.widgets.run_side import RunSide, StageView
from desktop.widgets.text import Text, small
from engine.contract.rows import Pair
from engine.contract.units import number, percent, significant
from engine.contract.words import tr, trn
from engine.project import layout
from engine.project.run_state import RunState
from engine.project.runs import Run

if TYPE_CHECKING:
    from desktop.context import AppContext

SHOWN, LONGEST = 4, 320


def counted(state: RunState, name: str) -> int:
    """A count of the run: rows, pairs, prompts."""
    counts = state.facts.get("counts")
    found = counts.get(name) if isinstance(counts, dict) else None
    return int(found) if isinstance(found, (int, float)) else sum(found.values()) if isinstance(found, dict) else 0


class Came(Heard):
    """The last pairs that came: the prompt, and both answers, makers unnamed."""

    def __init__(self, theme, follower: RunFollower) -> None:
        super().__init__()
        self.theme = theme
        self._arrived = ArrivedPairs(layout.rows_file(follower.run.dir))
        self._note, self._rows = small(tr("The first pairs come when both answers are there."), wrap=True), col(gap=8)
        col(row(Text(tr("Pairs as they come"), "section"), "+"), self._note, (Scroll(col(self._rows, "+", gap=0, host=Poured()),
                                                                                     horizontal=False), 1), gap=6, host=self)
        self._told = -1

    def refresh(self, state: RunState) -> None:
        made = counted(state, "pairs")
        if made == self._told:
            return
        self._told = made
        last = self._arrived.last(SHOWN)
        show_if(self._note, not last)
        clear(self._rows.layout())
        items: list[Item] = []
        for pair in last:
            items += [rule() if items else None, self._pair(pair)]
        fill(self._rows.layout(), tuple(items), 8)  # type: ignore[arg-type]

    def _pair(self, pair: Pair) -> QWidget:
        asked = next((m.content for m in reversed(pair.prompt) if m.role == "user"), "")
        return col(Text(_short(asked), "medium", wrap=True), small(_short(pair.first.text), wrap=True),
                   small(_short(pair.second.text), wrap=True), gap=4)


def _short(words: str) -> str:
    one = " ".join(words[:2 * LONGEST].split())
    return one if len(one) <= LONGEST else one[:LONGEST].rstrip() + " …"


def stage_view(context: "AppContext", titles: Mapping[str, str]) -> StageView:
    """`titles`: of models, by their ids; filled when they are known."""
    def pairs(state: RunState, status: str) -> tuple[str, str]:
        return number(counted(state, "pairs")), tr("of {total}", total=number(counted(state, "rows"))) if counted(state, "rows") else ""

    def left_out(state: RunState, status: str) -> tuple[str, str]:
        out = counted(state, "left_out") + counted(state, "failed")
        rows = counted(state, "rows")
        return number(out), percent(out / rows) if rows and out else tr("equal, empty or failed")

    def rate(state: RunState, status: str) -> tuple[str, str]:
        last = state.metrics.last("rows_per_second")
        return (significant(60 * last, 3) if last else "–"), tr("pairs a minute")

    def tokens(state: RunState, status: str) -> tuple[str, str]:
        both = [run_numbers.recent(state, f"{side}_tokens") for side in ("first", "second")]
        said = [f"{v:.0f}" for v in both if v is not None]
        return " / ".join(said) or "–", tr("tokens, both answers") if len(said) > 1 else tr("tokens an answer")

    def goes_in(run: Run, state: RunState) -> tuple[str, str]:
        prompts = counted(state, "prompts")
        words = trn("{shown} prompt", "{shown} prompts", prompts, shown=number(prompts)) if prompts else tr("Prompts")
        return words, makers(run.spec, titles)

    def happens(state: RunState, status: str) -> tuple[str, str]:
        rows = counted(state, "rows")
        if status == "done" and rows:
            return trn("{shown} pair was asked for", "{shown} pairs were asked for", rows, shown=number(rows)), \
                _time(state, status)
        return (trn("{shown} pair of answers", "{shown} pairs of answers", rows, shown=number(rows)) if rows else tr("Pairs of answers")), \
            _time(state, status)

    def _time(state: RunState, status: str) -> str:
        left, note = run_numbers.time_left(state, status)
        return note if status == "done" or left == "–" else tr("{time} left", time=left)

    def came_out(state: RunState, status: str) -> tuple[str, str]:
        made = counted(state, "pairs")
        if not made:
            return tr("Nothing yet"), tr("pairs for you to label")
        return trn("{shown} pair", "{shown} pairs", made, shown=number(made)), \
            tr("in the library") if status == "done" else tr("in the library as they come")

    def outcome(run: Run, state: RunState) -> tuple[str, str] | None:
        made = counted(state, "pairs")
        return (trn("{shown} pair is ready", "{shown} pairs are ready", made, shown=number(made)),
                tr("Label which answer is better: makers are hidden, sides are drawn at random."))
    numbers = (Number(tr("Pairs"), pairs), Number(tr("Left out"), left_out), Number(tr("Rate"), rate),
               Number(tr("Time left"), run_numbers.time_left), Number(tr("Length"), tokens))
    return StageView(
        stage="preference", going=lambda name: tr("Making pairs: {name}", name=name), gone=lambda name: tr("Pairs: {name}", name=name),
        unnamed=lambda number: tr("pairs of run {number}", number=number),
        run=RunView(numbers=numbers, curve=Line("pairs", tr("Pairs"), tr("pairs")),
                    second=Line("rows_per_second", tr("Pairs a second"), tr("pairs/s")), counts=True,
                    heard=lambda follower: Came(context.theme, follower)),
        goes_in=goes_in, happens=happens, came_out=came_out, outcome=outcome,
        words=StageWords(stage=tr("Making pairs"), edit=tr("Change the settings"), smaller=tr("Ask for fewer pairs")),
        new=(tr("Make more"), tr("Other prompts or models.")), runs=tr("Runs that made pairs"), inputs=tr("From"))


class PairRun(RunSide):
    """The run, with the way to labelling what came instead of a model's."""

    def __init__(self, context: "AppContext", run: Run, label: Callable[[str], object], back: Callable[[], object]) -> None:
        self.back = Button(context.theme, tr("All sets"), icon="left", on_click=back)
        self.label = Button(context.theme, tr("Label them"), "primary", icon="pairs", on_click=lambda: label(run.id))
        self.titles: dict[str, str] = {}
        super().__init__(context, run, stage_view(context, self.titles))
        project = self.project
        context.jobs.run(lambda: model_titles(project), then=self._named, failed=lambda wrong: None, owner=self)

    def _named(self, titles: dict[str, str]) -> None:
        self.titles.update(titles)
        self._show()

    def _build(self) -> None:
        super()._build()
        self.header.add_action(self.back, first=True)
        self.header.add_action(self.label)
        for gone in (self.chat, self.export):
            gone.hide()

    def _show_status(self, status: str) -> None:
        super()._show_status(status)
        for gone in (self.chat, self.export):
            gone.hide()
        self.show_label()

    def show_label(self) -> None:
        show_if(self.label, counted(self.follower.state, "pairs") > 0)

    def _show(self) -> None:
        super()._show()
        self.show_label()


