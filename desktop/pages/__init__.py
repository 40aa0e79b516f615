"""The pages, in the rail's order. A page is named by a string and built when it is first shown, so that the window paints at once."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from desktop.models.beside import BESIDE
from engine.contract.words import tr
from engine.pipeline import STAGES

if TYPE_CHECKING:
    from desktop.context import AppContext
    from desktop.widgets.page import Page


@dataclass(frozen=True)
class PageEntry:
    """`place`: home (above the stages), stage (on the stem, by the stage's id), tool (below, with an icon), hidden (not in the rail).
    `needs_project`: shown only while one is open; without one the way leads home."""

    id: str
    title: str
    factory: str
    place: str
    icon: str = ""
    needs_project: bool = True

    def build(self, context: "AppContext") -> "Page":
        module, _, name = self.factory.partition(":")
        return getattr(import_module(module), name)(context)


_OF_STAGES = {"corpus": "desktop.pages.corpus:CorpusPage", "tokenizer": "desktop.pages.tokenizer:TokenizerPage",
              "pretrain": "desktop.pages.pretrain:PretrainPage", "instruct": "desktop.pages.instruct:InstructPage",
              "sft": "desktop.pages.finetune:FinetunePage", "preference": "desktop.pages.preference:PreferencePage",
              "reward": "desktop.pages.reward:RewardPage",
              "dpo": "desktop.pages.tune:TunePage", "grpo": "desktop.pages.reasoning:ReasoningPage"}


def _on_the_stem() -> Iterator[PageEntry]:
    """The stages in their order, and before reasoning the verifiers that it learns from."""
    for stage in STAGES.values():
        if stage.id == "grpo":
            yield PageEntry("verifiers", tr("Verifiers"), "desktop.pages.verifiers:VerifiersPage", "stage")
        if stage.id not in BESIDE:
            yield PageEntry(stage.id, stage.title, _OF_STAGES[stage.id], "stage")


PAGES: tuple[PageEntry, ...] = (
    PageEntry("home", tr("Home"), "desktop.pages.home:HomePage", "home", "home", needs_project=False),
    *_on_the_stem(),
    PageEntry("chat", tr("Chat"), "desktop.pages.chat:ChatPage", "tool", "chat"),
    PageEntry("evaluate", tr("Evaluate"), "desktop.pages.evaluate:EvaluatePage", "tool", "evaluate"),
    PageEntry("runs", tr("Runs"), "desktop.pages.runs:RunsPage", "tool", "runs"),
    PageEntry("lineage", tr("Lineage"), "desktop.pages.lineage:LineagePage", "tool", "lineage"),
    PageEntry("export", tr("Export"), "desktop.pages.export:ExportPage", "tool", "export"),
    PageEntry("import_model", tr("Import a model"), "desktop.pages.import_model:ImportModelPage", "hidden", "in"),
    PageEntry("settings", tr("Settings"), "desktop.pages.settings:SettingsPage", "hidden", "settings", needs_project=False),
)


SHOWN_ON = {"adapt": "sft", "ppo": "dpo"}
"""Stages whose runs are shown on the page of another."""


def keys() -> dict[str, str]:
    """Which keys lead to a page, by its id: Control and a figure for Home and the stages, with Shift from the eleventh on; Alt and a figure
    for the tools below them."""
    found = {}
    for places, modifier in ((("home", "stage"), "Ctrl"), (("tool",), "Alt")):
        for i, entry in enumerate(e for e in PAGES if e.place in places):
            found[entry.id] = f"{modifier}+{'Shift+' * (i // 10)}{(i + 1) % 10}"
    return found


def page(id: str) -> PageEntry:
    return next(entry for entry in PAGES if entry.id == SHOWN_ON.get(id, id))
