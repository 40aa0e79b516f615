"""The Reasoning page: what is missing, the wizard, or a run."""

from typing import Any, ClassVar

from PySide6.QtWidgets import QWidget

from desktop.models.reasoning_plan import GRPO
from desktop.pages.reasoning.view import stage_view
from desktop.pages.reasoning.wizard import Wizard
from desktop.widgets.buttons import Button
from desktop.widgets.empty_state import EmptyState
from desktop.widgets.flow_strip import FlowStrip
from desktop.widgets.layout import Item, col
from desktop.widgets.page_header import PageHeader
from desktop.widgets.run_side import StageView
from desktop.widgets.tuning.needing_page import NeedingPage
from engine.contract.words import tr
from engine.project.library import Library
from engine.project.runs import Run


class ReasoningPage(NeedingPage):
    """`opened(verifier=.., problem_sets=[..], model=.., full_score=..)` begins a run with these. Its rows are problems."""

    STAGES: ClassVar[tuple[str, ...]] = (GRPO,)
    TAKES: ClassVar[tuple[str, ...]] = ("verifier", "problem_sets", "model", "full_score")

    @staticmethod
    def count(library: Library) -> int:
        return sum(one.count for one in library.problems.sets())

    def opened(self, **args: Any) -> None:
        if args.get("problem_sets"):
            self.rows = self.rows or 1  # whoever names a set has problems
        super().opened(**args)

    def make_wizard(self, can_cancel: bool) -> Wizard:
        return Wizard(self.context, can_cancel)

    def view_of(self, run: Run) -> StageView:
        return stage_view(self.context, run)

    def make_empty(self) -> QWidget:
        """What is missing, in the order in which it is needed; the first thing missing is the primary button."""
        theme, go = self.theme, self.context.navigate
        model, problems = self.has_model(), bool(self.rows)
        survey = self.context.survey
        chat = survey is not None and any(a.facts.get("chat") for a in survey.of_kind("model"))
        actions: list[Item]
        if not model:
            head = tr("No model yet")
            words = tr("Reasoning refines a model that answers: raise one from your own text and fine-tune it, or bring an open one.")
            actions = [Button(theme, tr("Pretrain a model"), "primary", on_click=lambda: go("pretrain")),
                       Button(theme, tr("Start from an open model"), icon="in", on_click=lambda: go("import_model"))]
        else:
            head = tr("No problems yet")
            words = tr("Where an answer can be checked, nobody needs to label: the model tries, a verifier says how right it was. A "
                       "generator makes 200 problems in a second.")
            actions = [Button(theme, tr("Make problems"), "primary", icon="plus", on_click=lambda: go("verifiers"))]
            if not chat:
                actions.append(Button(theme, tr("Fine-tune a model first"), on_click=lambda: go("sft")))
        empty = EmptyState(theme, head, words, *actions, steps=[
            (tr("A model that answers"), tr("right at times, that is enough"), model and (chat or problems)),
            (tr("Problems with known answers"), tr("imported, or made by a generator"), problems),
            (tr("A verifier"), tr("built-in, or a function of your own"), False)])
        flow = FlowStrip(theme, (tr("Nothing yet"), tr("a model, problems and a verifier")),
                         (tr("It tries, a verifier checks"), tr("what was right becomes likelier")),
                         (tr("Nothing yet"), tr("a model that is right more often")))
        return col(PageHeader(tr("Reasoning"), tr("A model tries problems, a verifier checks; what was right becomes likelier.")), 14, flow,
                   (empty, 1), gap=0)
