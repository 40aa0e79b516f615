"""The page of stages that learn from preferences: it needs a model that answers, and labels; where one is missing it leads there."""

from PySide6.QtWidgets import QWidget

from desktop.widgets.buttons import Button
from desktop.widgets.empty_state import EmptyState
from desktop.widgets.flow_strip import FlowStrip
from desktop.widgets.layout import Item, col
from desktop.widgets.page_header import PageHeader
from desktop.widgets.tuning.needing_page import NeedingPage
from engine.contract.words import tr
from engine.project.library import Library


class PairsPage(NeedingPage):
    """Its rows are labels."""

    @staticmethod
    def count(library: Library) -> int:
        return sum(one.labelled for one in library.pairs.sets())

    def has_chat(self) -> bool:
        survey = self.context.survey
        return survey is not None and any(a.facts.get("chat") for a in survey.of_kind("model"))

    def empty(self, title: str, sentence: str, happens: tuple[str, str], came_out: tuple[str, str], last: str, last_note: str) -> QWidget:
        """What is missing, in the order in which it is needed; the first thing missing is the primary button."""
        theme, go = self.theme, self.context.navigate
        model, chat, labels = self.has_model(), self.has_chat(), bool(self.rows)
        actions: list[Item]
        if not model:
            head = tr("No model yet")
            words = tr("Preferences refine a model that answers: raise one from your own text and fine-tune it, or bring an open one.")
            actions = [Button(theme, tr("Pretrain a model"), "primary", on_click=lambda: go("pretrain")),
                       Button(theme, tr("Start from an open model"), icon="in", on_click=lambda: go("import_model"))]
        elif not labels:
            head = tr("No labelled pairs yet")
            words = tr("Say which of two answers is better, and that can be learned: 300 labels are usual for a first try, about half an "
                       "hour of work.")
            actions = [Button(theme, tr("Label pairs"), "primary", icon="pairs", on_click=lambda: go("preference"))]
            if not chat:
                actions.append(Button(theme, tr("Fine-tune a model first"), on_click=lambda: go("sft")))
        else:
            head, words, actions = tr("Ready to begin"), tr("There is a model, and there are labels."), []
        empty = EmptyState(theme, head, words, *actions, steps=[
            (tr("A model that answers"), tr("raised and fine-tuned here, or imported"), model and (chat or labels)),
            (tr("Labelled pairs"), tr("about 300 to begin with"), labels), (last, last_note, False)])
        flow = FlowStrip(theme, (tr("Nothing yet"), tr("a model and labelled pairs")), happens, came_out)
        return col(PageHeader(title, sentence), 14, flow, (empty, 1), gap=0)
