"""The tokenizer lab: a text coloured by token beside baselines, bytes per token by script, tokens that are never used."""

from collections.abc import Callable
from typing import Any

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QPlainTextEdit, QWidget

from desktop.context import AppContext
from desktop.jobs.bench import Bench
from desktop.pages.tokenizer.costs import DEPTHS, shares
from desktop.theme.theme import Theme
from desktop.widgets.buttons import Button, Segments
from desktop.widgets.columns import Columns
from desktop.widgets.facts import Facts
from desktop.widgets.fields import Choice
from desktop.widgets.layout import Scroll, col, row, show_if
from desktop.widgets.notes import NoteSlot
from desktop.widgets.panel import Panel
from desktop.widgets.table import Cell, Column, Table
from desktop.widgets.text import Text, small
from desktop.widgets.token_colours import TokenColours
from engine.contract import units
from engine.contract.errors import FledgeError
from engine.contract.words import tr, trn
from engine.project.artifacts import Artifact

SETTLE_MS = 150
LONGEST = 200_000
START = tr("The ferry left the quay at 07:40 with 112 passengers.\nWhat does 47+8 make? Type or paste your own text here.")
UNUSED_SHOWN = 120
COMPARED = (1024, 4096, 16_384, 65_536)


class LabView(QWidget):
    """`load` a tokenizer artifact; what is typed is coloured as it is typed."""

    def __init__(self, context: AppContext) -> None:
        super().__init__()
        theme: Theme = context.theme
        self._bench = Bench("engine.text.probe", self)
        self._artifact: Artifact | None = None
        self._others: list[Artifact] = []
        self._choose: Callable[[str], None] = lambda id: None
        self._which = Choice(theme, [], "", name=tr("Tokenizer"))
        self._which.changed.connect(self._chosen)
        self._typed = QPlainTextEdit()
        self._typed.setProperty("kind", "field")
        self._typed.setProperty("role", "read")
        self._typed.setAccessibleName(tr("Text to cut into tokens"))
        self._typed.setTabChangesFocus(True)
        self._typed.setPlainText(START)
        self._typed.setFixedHeight(theme.px(120))
        self._settle = QTimer(self)
        self._settle.setSingleShot(True)
        self._settle.setInterval(SETTLE_MS)
        self._settle.timeout.connect(self._cut)
        self._typed.textChanged.connect(self._settle.start)
        self._colours = TokenColours(theme, tr("The text by token"))
        self._words = small()
        self._notes = NoteSlot(theme)
        self._measures = Table(theme, [
            Column(tr("Tokenizer"), lambda r: Cell(r["name"], strong=r["mine"])),
            Column(tr("Tokens"), lambda r: units.number(r["tokens"]), width=88, right=True),
            Column(tr("Bytes a token"), lambda r: units.number(r["bytes"] / r["tokens"], 2) if r["tokens"] else "", width=104, right=True),
            Column(tr("Vocabulary"), lambda r: units.number(r["vocab_size"]), width=96, right=True)],
            name=tr("Tokenizers on this text"), fit=True, max_rows=5, selectable=False)
        clear_button = Button(theme, tr("Clear"), "quiet", on_click=lambda: self._typed.setPlainText(""))
        lab = Panel(row(Text(tr("Lab"), "section"), small(tr("type or paste; every colour is a token")), "+", clear_button, gap=10),
                    self._typed, self._notes, (self._colours, 1), row(self._words, "+"), pad=(16, 10, 16, 10), gap=8)
        lab.setMinimumHeight(theme.px(340))
        self._costs = Table(theme, [
            Column(tr("Vocabulary"), lambda r: Cell(units.number(r[0]), strong=r[0] == r[-1]), width=120, right=True),
            *(Column(tr("depth {depth}", depth=depth), lambda r, i=i: units.percent(r[1 + i]), right=True)
              for i, depth in enumerate(DEPTHS))],
            name=tr("Share of a model's parameters that the vocabulary takes"), fit=True, max_rows=4, selectable=False)
        self._which_table = Segments(theme, [("text", tr("On this text")), ("costs", tr("Share of a model"))], "text",
                                     name=tr("What to compare"), on_change=self._show_table)
        self._table_words = small()
        compare = Panel(row(Text(tr("Compare"), "section"), self._table_words, "+", self._which_table, gap=10), self._measures, self._costs,
                        pad=(16, 10, 16, 6), gap=6)
        self._show_table("text")
        self._facts = Facts([])
        self._scripts = Facts([])
        self._unused_words = small("", wrap=True)
        self._unused = Text("", "mono", wrap=True, select=True)
        self._unused_panel = Panel(Text(tr("Unused tokens"), "section"), self._unused_words, (Scroll(col(self._unused, "+")), 1),
                                   pad=(16, 10, 8, 12), gap=6)
        self._unused_panel.setMinimumHeight(theme.px(120))
        self._scripts_panel = Panel(Text(tr("Bytes a token by script"), "section"), small(tr("on the validation text")), self._scripts,
                                    pad=(16, 10, 16, 12), gap=6)
        side = col(Panel(self._which, self._facts, pad=(16, 12, 16, 12), gap=10), self._scripts_panel, (self._unused_panel, 1), gap=12)
        col((Columns(theme, col((lab, 1), compare, gap=12), side, side_width=300, gap=12, room=480), 1), gap=0, host=self)

    def load(self, made: Artifact, tokenizers: list[Artifact], choose: Callable[[str], None]) -> None:
        self._choose = choose
        self._which.set_choices([(a.id, a.title if a.title == a.id else f"{a.title} ({a.id})") for a in tokenizers])
        self._which.set(made.id)
        others = [a for a in tokenizers if a.id != made.id][:3]
        if (made, others) == (self._artifact, self._others):
            return
        self._artifact, self._others = made, others
        facts = made.facts
        shown = [(tr("Vocabulary"), units.number(facts.get("vocab_size", 0))), (tr("Merges"), units.number(facts.get("merges", 0))),
                 (tr("Special tokens"), units.number(facts.get("special", 0)))]
        if facts.get("bytes_per_token"):
            shown.append((tr("Bytes a token"), units.number(facts["bytes_per_token"], 2)))
        if facts.get("sample_bytes"):
            shown.append((tr("Learned from"), tr("{read} of {all}", read=units.size(facts["sample_bytes"]),
                                                 all=units.size(facts.get("corpus_bytes", 0)))))
        self._facts.set(shown)
        self._costs.set_rows(shares(int(facts.get("vocab_size", 0)), COMPARED))
        scripts = facts.get("by_script", {}).items()
        rows = [(script_name(name), units.number(v["bytes"] / v["tokens"], 2)) for name, v in scripts if v["tokens"]]
        self._scripts.set(rows[:6])
        show_if(self._scripts_panel, bool(rows))
        self._show_unused(facts)
        self._cut()

    def _show_table(self, which: object) -> None:
        show_if(self._measures, which == "text")
        show_if(self._costs, which == "costs")
        self._table_words.set(tr("the embedding's share of the parameters") if which == "costs" else "")

    def rest(self) -> None:
        """Nobody looks: the process behind the lab may go."""
        self._bench.stop()

    def _chosen(self) -> None:
        self._choose(str(self._which.value()))

    def _show_unused(self, facts: dict[str, Any]) -> None:
        count, learned = int(facts.get("unused", 0)), int(facts.get("merges", 0))
        show_if(self._unused_panel, "unused" in facts)
        self._unused.set("")
        if not count:
            self._unused_words.set(tr("Every learned token occurs in the training text."))
            return
        self._unused_words.set(trn("{count} of {learned} learned tokens never occurs in {size} of the training text: it only served to "
            "make longer ones.", "{count} of {learned} learned tokens never occur in {size} of the training text: they only served to make "
            "longer ones.", count, learned=units.number(learned), size=units.size(facts.get("unused_measured_bytes", 0))))
        assert self._artifact is not None
        ids = [int(i) for i in facts.get("unused_ids", [])[:UNUSED_SHOWN]]
        self._bench.ask("tokens", {"tokenizer": str(self._artifact.path), "ids": ids},
                        lambda answer: self._unused.set("  ".join(t.replace(" ", "␣").replace("\n", "↵") for t in answer["texts"])),
                        self._cannot)

    def _cut(self) -> None:
        if self._artifact is None:
            return
        text = self._typed.toPlainText()
        if len(text) > LONGEST:
            text = text[:LONGEST]
        given = {"tokenizer": str(self._artifact.path), "text": text, "others": {a.title: str(a.path) for a in self._others}}
        self._bench.ask("lab", given, self._show, self._cannot)

    def _show(self, answer: dict[str, Any]) -> None:
        assert self._artifact is not None
        self._notes.clear()
        self._colours.set([(text, ids) for text, ids in answer["pieces"]])
        mine = answer["measures"].pop(str(self._artifact.path))
        rows = [{**mine, "name": self._artifact.title, "mine": True},
                *({**found, "name": name or tr("Raw bytes"), "mine": False} for name, found in answer["measures"].items())]
        self._measures.set_rows(rows)
        words = tr("{tokens} tokens, {bytes} bytes, {characters} characters", tokens=units.number(mine["tokens"]),
                   bytes=units.number(mine["bytes"]), characters=units.number(mine["characters"]))
        hidden = answer["count"] - len(answer["pieces"])
        if hidden > 0:
            words += " · " + tr("the first {count} pieces are coloured", count=units.number(len(answer["pieces"])))
        if len(self._typed.toPlainText()) > LONGEST:
            words += " · " + tr("only the first {count} characters are cut", count=units.number(LONGEST))
        self._words.set(words)

    def _cannot(self, wrong: FledgeError) -> None:
        self._notes.show_error(wrong)


def script_name(name: str) -> str:
    """A script in words."""
    return {"common": tr("Signs and digits"), "latin": tr("Latin"), "han": tr("Chinese characters"), "cyrillic": tr("Cyrillic"),
            "arabic": tr("Arabic"), "greek": tr("Greek"), "hebrew": tr("Hebrew"), "other": tr("Other")}.get(name, name.capitalize())
