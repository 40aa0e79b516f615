"""The table of suites and models: a figure, its interval below it, and an arrow where it really differs from the first model."""

from desktop.models.evaluate_result import Figure, Line, Result
from desktop.theme.theme import Theme
from desktop.widgets.table import Cell, Column, Table
from engine.contract.words import tr

MODEL_WIDTH = 148


def cell(figure: Figure) -> Cell:
    words, note = figure.words, figure.note
    if figure.mark:
        said = tr("better") if figure.mark > 0 else tr("worse")
        return Cell(words, f"{note}, {said}" if note else said, tone="ok" if figure.mark > 0 else "danger",
                    icon="uparrow" if figure.mark > 0 else "downarrow", strong=True)
    return Cell(words, note, strong=True)


class ResultTable(Table):
    """`set(result)`; another set of models makes other columns."""

    def __init__(self, theme: Theme, name: str) -> None:
        super().__init__(theme, [self._suite_column()], name=name, row_height=54, fit=True, max_rows=14)
        self._models: list[tuple[str, str]] = []

    def _suite_column(self) -> Column:
        return Column(tr("Suite"), lambda line: Cell(line.title, line.unit, strong=True, tip=line.sentence), least=190)

    def set(self, result: Result) -> None:
        if result.models != self._models or len(self.rows_model.columns) == 1:
            self._models = result.models
            self._columns()
        lines = result.lines()
        if lines != self.rows_model.rows:
            self.set_rows(lines)

    def _columns(self) -> None:
        model = self.rows_model
        model.beginResetModel()
        model.rows = []

        def column(place: int, title: str) -> Column:
            def show(line: Line) -> Cell:
                return cell(line.figures[place]) if place < len(line.figures) else Cell("")
            tip = title if place else tr("{model}: what the others are compared with", model=title)
            return Column(title, show, MODEL_WIDTH, tip=tip)
        model.columns = [self._suite_column(), *(column(i, title) for i, (_, title) in enumerate(self._models))]
        model.endResetModel()
        self._fit_columns()

    def _fit_columns(self) -> None:
        head = self.horizontalHeader()
        modes = type(head).ResizeMode
        for i, column in enumerate(self.rows_model.columns):
            head.setSectionResizeMode(i, modes.Fixed if column.width else modes.Stretch)
            if column.width:
                head.resizeSection(i, self.theme.px(column.width))
        self.setMinimumWidth(self.theme.px(sum(c.needs for c in self.rows_model.columns)))
