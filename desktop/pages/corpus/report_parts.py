"""The parts of the report below its first screen: languages, boilerplate, duplicates, what was looked for, what was changed, the mix."""

from typing import Any

from PySide6.QtWidgets import QWidget

from desktop.models.corpus_report import Report
from desktop.models.languages import language_name
from desktop.pages.corpus.clean_sample import difference
from desktop.theme.theme import Theme
from desktop.widgets.buttons import Button
from desktop.widgets.facts import Facts
from desktop.widgets.histogram import ShareLines
from desktop.widgets.layout import clear, col, fill, row, show_if
from desktop.widgets.panel import Panel, rule
from desktop.widgets.reader import Reader
from desktop.widgets.table import Cell, Column, Table
from desktop.widgets.text import Text, small
from engine.contract.units import number, percent, significant, size
from engine.contract.words import tr, trn
from engine.stages.corpus.spec import HARM_KINDS, PERSONAL_KINDS

LANGUAGES, LINES, EXAMPLES = 8, 8, 3


class LanguagesPanel(Panel):
    """Share of the text by language."""

    def __init__(self, theme: Theme) -> None:
        self._lines = ShareLines(theme, 112, 116)
        self._more = small(tone="text3")
        self._unit = small()
        super().__init__(row(Text(tr("Languages"), "section"), "+", self._unit), self._lines, self._more,
                         pad=(16, 10, 16, 12), gap=8)

    def load(self, report: Report) -> bool:
        found = report.languages()
        total = max(1, sum(b for _, _, b in found))
        self._lines.set([(language_name(c), b / total, tr("{share}, {count}", share=percent(b / total, 1), count=number(d)))
                         for c, d, b in found[:LANGUAGES]])
        self._unit.set(tr("share of the text, documents and parts of long ones") if report.has_parts else
                       tr("share of the text, documents"))
        rest = found[LANGUAGES:]
        self._more.set(trn("and {count} more", "and {count} more", len(rest)) if rest else "")
        show_if(self._more, bool(rest))
        return bool(found)


class BoilerplatePanel(Panel):
    """The lines that stood in most documents."""

    def __init__(self, theme: Theme) -> None:
        self._table = Table(theme, [Column(tr("Line"), lambda r: Cell(str(r["line"]), tip=str(r["line"]))),
                                    Column(tr("Documents"), lambda r: number(int(r["documents"])), width=104, right=True)],
                            name=tr("Boilerplate lines"), fit=True, max_rows=LINES, selectable=False)
        super().__init__(row(Text(tr("Most frequent boilerplate"), "section"), "+", small(tr("cut out of every document"))), self._table,
                         pad=(16, 10, 16, 8), gap=4)

    def load(self, report: Report) -> bool:
        rows = list(report.facts.get("boilerplate") or ())[:50]
        self._table.set_rows(rows)
        return bool(rows)


class LookedForPanel(Panel):
    """Duplicates, held-out text, harm and personal data in numbers, with the way into the browser. `wants(filters)` opens it."""

    def __init__(self, theme: Theme, wants: Any) -> None:
        self.theme, self._wants = theme, wants
        self._parts = col(gap=10)
        super().__init__(Text(tr("What was looked for"), "section"), self._parts, pad=(16, 10, 16, 12), gap=8)

    def load(self, report: Report) -> bool:
        box, facts = self._parts.layout(), report.facts
        clear(box)
        parts: list[Any] = []

        def part(title: str, pairs: list[tuple[str, str]], words: str = "", filters: dict[str, Any] | None = None) -> None:
            head = row(Text(title, "medium"), "+", Button(self.theme, tr("Show"), "quiet", name=tr("Show {what}", what=title.lower()),
                                                          on_click=lambda: self._wants(filters)) if filters else None, gap=8)
            parts.extend([*([rule()] if parts else []), col(head, Facts(pairs, gap=4) if pairs else None,
                                                            small(words, wrap=True) if words else None, gap=4)])
        if pairs := report.duplicates():
            part(tr("Duplicates"), pairs, "", {"cluster": True} if int(dict(facts["duplicates"]).get("clusters", 0)) else None)
        contamination = facts.get("contamination")
        if isinstance(contamination, dict) and contamination.get("sets"):
            hits = int(contamination.get("documents", 0))
            pairs = [(_name(s), _items(s)) for s in contamination["sets"]]
            if contamination.get("validation"):
                pairs.append((tr("Validation text in training"), number(int(contamination["validation"]))))
            removed = contamination.get("action") == "remove"
            words = trn("{count} document held it and was removed.", "{count} documents held it and were removed.", hits) if removed else \
                trn("{count} document holds it and stays.", "{count} documents hold it and stay.", hits)
            part(tr("Held-out text"), pairs, words if hits else tr("No document holds any of it."), {"overlap": True} if hits else None)
        kinds = dict(HARM_KINDS)
        harm = [(kinds.get(k, k), number(int(n))) for k, n in dict(facts.get("harm") or {}).items()]
        waiting = int(facts.get("borderline", 0) or 0)
        if harm or waiting:
            part(tr("Harmful content"), harm, trn("{count} document is borderline: have a look, your word teaches the classifier.",
                 "{count} documents are borderline: have a look, your word teaches the classifier.", waiting) if waiting else "",
                 {"borderline": True} if waiting else {"harm_kind": True})
        kinds = dict(PERSONAL_KINDS)
        personal = [(kinds.get(k, k), number(int(n))) for k, n in dict(facts.get("personal") or {}).items() if int(n)]
        if personal:
            part(tr("Personal data"), personal, tr("Each became a placeholder."), {"touched": "personal_data"})
        fill(box, tuple(parts), 10)
        return bool(parts)


class ChangesPanel(Panel):
    """Which step changed how many documents, and examples of the chosen one."""

    def __init__(self, theme: Theme, wants: Any) -> None:
        self.theme, self._wants = theme, wants
        self.table = Table(theme, [Column(tr("Step"), lambda r: Cell(r["title"], strong=True)),
                                   Column(tr("Documents"), lambda r: number(r["documents"]), width=104, right=True),
                                   Column(tr("Places"), lambda r: number(r["edits"]), width=104, right=True)],
                           name=tr("Steps that changed documents"), fit=True, max_rows=8)
        self.table.chosen.connect(self._chosen)
        self.table.opened.connect(lambda r: wants({"touched": r["step"]}))
        self._examples = col(gap=8)
        super().__init__(row(Text(tr("What was changed"), "section"), small(tr("no document is lost by it; a click shows examples")), "+"),
                         self.table, self._examples, pad=(16, 10, 16, 12), gap=8)

    def load(self, report: Report) -> bool:
        rows = report.changes()
        self.table.set_rows(rows)
        if rows and self.table.current_row() is None:
            self.table.select(max(range(len(rows)), key=lambda i: bool(rows[i]["examples"])))
        self._chosen(self.table.current_row())
        return bool(rows)

    def _chosen(self, chosen: Any) -> None:
        box = self._examples.layout()
        clear(box)
        parts: list[Any] = []
        for example in (chosen["examples"] if chosen else [])[:EXAMPLES]:
            parts += [*([rule()] if parts else []), self._example(example)]
        if chosen:
            parts.append(row(Button(self.theme, trn("Show the document", "Show all {count} documents", chosen["documents"]), "quiet",
                                    on_click=lambda: self._wants({"touched": chosen["step"]})), "+"))
        fill(box, tuple(parts), 8)

    def _example(self, example: dict[str, Any]) -> QWidget:
        before, after = str(example.get("before", "")), str(example.get("after", ""))
        reader = Reader(self.theme, role="body", name=tr("Example"), quiet=True)
        reader.set_pieces(difference(before, after))
        lines = 1 + max(before.count("\n"), after.count("\n"), max(len(before), len(after)) // 90)
        reader.setFixedHeight(self.theme.px(22 * min(4, lines) + 6))
        return col(Text(str(example.get("source", "")), "small", "text3", elide=True), reader, gap=2)


class MixPanel(Panel):
    """How much of each source is trained on."""

    def __init__(self, theme: Theme) -> None:
        self._table = Table(theme, [Column(tr("Source"), lambda r: Cell(str(r.get("name", "")), strong=True)),
                                    Column(tr("Documents"), lambda r: number(int(r.get("documents", 0))), width=104, right=True),
                                    Column(tr("Text"), lambda r: size(float(r.get("bytes", 0))), width=96, right=True),
                                    Column(tr("Passes"), lambda r: significant(float(r.get("epochs", 1)), 3), width=84, right=True),
                                    Column(tr("Share"), lambda r: percent(float(r.get("share", 0)), 1), width=84, right=True)],
                            name=tr("Mix"), fit=True, max_rows=8, selectable=False)
        super().__init__(row(Text(tr("Mix"), "section"), "+", small(tr("of the training text"))), self._table, pad=(16, 10, 16, 8), gap=4)

    def load(self, report: Report) -> bool:
        rows = report.mix()
        self._table.set_rows(rows)
        return bool(rows)


def _name(held: Any) -> str:
    return str(held.get("set", "")).rpartition("/")[2] if isinstance(held, dict) else str(held)


def _items(held: Any) -> str:
    if not isinstance(held, dict):
        return ""
    items, hit = int(held.get("items", 0)), int(held.get("found", 0) or 0)
    return tr("{found} of {items} found", found=number(hit), items=number(items)) if items else number(hit)
