"""The page of a stage that needs a model and rows of the library to begin. It asks for them; what to say where they are missing is each
page's own matter."""

from desktop.widgets.tuning.page import TuningPage
from engine.contract.errors import FledgeError
from engine.project.library import Library


class NeedingPage(TuningPage):
    """`rows` is None until the library was asked (in a thread, each time the page is opened while it is empty)."""

    rows: int | None = None
    _asking = False

    @staticmethod
    def count(library: Library) -> int:
        """How many rows there are to begin with; called in a thread."""
        raise NotImplementedError

    def can_begin(self) -> bool:
        return self.has_model() and bool(self.rows or self._runs())

    def has_model(self) -> bool:
        survey = self.context.survey
        return survey is not None and (bool(survey.of_kind("model")) or any(r.step for r in survey.of_stage("pretrain")))

    def _choose(self) -> None:
        super()._choose()
        self._ask_rows()

    def _survey_changed(self) -> None:
        super()._survey_changed()
        if self.isVisible() and self._mode == "empty":
            self._ask_rows()

    def _ask_rows(self) -> None:
        """The wizard comes when there are some."""
        if self._asking or self._mode != "empty":
            return
        self._asking = True
        project = self.project

        def counted(found: int) -> None:
            self._asking = False
            before, self.rows = self.rows, found
            if self._mode == "empty" and found != before:
                TuningPage._choose(self)

        def failed(wrong: Exception) -> None:
            self._asking = False
            if not isinstance(wrong, FledgeError):
                raise wrong
            self.rows = 0
        self.context.jobs.run(lambda: self.count(project.library), then=counted, failed=failed, owner=self)
