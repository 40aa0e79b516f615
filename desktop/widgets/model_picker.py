"""Choosing a checkpoint: finished models first, then each run's checkpoints under its name, the untrained one included."""

from collections.abc import Sequence
from typing import Any

from PySide6.QtCore import QSignalBlocker
from PySide6.QtGui import QStandardItemModel

from desktop.jobs.answer import ModelInfo
from desktop.theme.theme import Theme
from desktop.widgets.fields import Choice
from engine.contract.words import tr

LIST_MARGIN = 40  # what the list has around its words
_HEAD = object()  # the value of a heading: never equal to an id


class ModelPicker(Choice):
    """A Choice with headings. `value()` is a model's id or None."""

    def __init__(self, theme: Theme, name: str) -> None:
        super().__init__(theme, (), name=name, empty=tr("Looking for models"))
        self.set_choices(())

    def set_models(self, models: Sequence[ModelInfo]) -> None:
        """Other models; the chosen one stays if it is still there, else the first is taken. No signal."""
        before = self.value()
        with QSignalBlocker(self):
            self.clear()
            self._values: list[Any] = []
            for title, members in grouped(models):
                self.addItem(title)
                self._values.append(_HEAD)
                rows = self.model()
                assert isinstance(rows, QStandardItemModel)
                rows.item(self.count() - 1).setEnabled(False)
                for model in members:
                    self.addItem(model.title)
                    self._values.append(model.id)
            if not models:
                self.addItem(tr("No model yet"))
        self.view().setMinimumWidth(self.view().sizeHintForColumn(0) + LIST_MARGIN)
        self.setEnabled(bool(models))
        known = [m.id for m in models]
        if known:
            self.set(before if before in known else known[0])

    def value(self) -> str | None:
        found = super().value()
        return None if found is _HEAD else found


def grouped(models: Sequence[ModelInfo]) -> list[tuple[str, list[ModelInfo]]]:
    """(heading, models) in the order given: finished ones, then by run."""
    groups: dict[str, list[ModelInfo]] = {}
    for model in models:
        groups.setdefault(model.run, []).append(model)
    return [(_heading(run), members) for run, members in groups.items()]


def _heading(run: str) -> str:
    return tr("Run {number}", number=run.partition("-")[0]) if run else tr("Finished models")
