"""The reading pane: one document as it was read, as it is now, or with what changed marked; why it was removed; what can be done with it.

It shows what it is given and says what the person wants through signals; it asks and decides nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QWidget

from desktop.models.decisions import LABELS_NEEDED, Decisions
from desktop.pages.corpus.wording import borderline_words, facts_line, marks_of, why_removed
from desktop.theme.theme import Theme
from desktop.widgets.badge import Badge
from desktop.widgets.buttons import Button, Segments
from desktop.widgets.chips import ChipBar
from desktop.widgets.layout import col, fill, row, show_if
from desktop.widgets.notes import NoteSlot
from desktop.widgets.panel import Panel, rule
from desktop.widgets.reader import ADDED, CUT, FOUND, SAME, Piece, Reader
from desktop.widgets.text import Key, Text, small
from engine.contract import units
from engine.contract.errors import FledgeError
from engine.contract.words import tr, trn

NOW, CHANGES, READ = "now", "changes", "read"
LOOK_AT = ("harmful",)


class ReadingView(Panel):
    """`show_row(row)` at once, `show_document(answer)` when its text is here."""

    stepped = Signal(int)
    exclude_wanted = Signal()
    restore_wanted = Signal()
    label_wanted = Signal(object)
    cluster_wanted = Signal(object)
    source_wanted = Signal(str)
    document_wanted = Signal(object)
    more_wanted = Signal()

    def __init__(self, theme: Theme, decisions: Decisions) -> None:
        super().__init__()
        self.theme, self._decisions = theme, decisions
        self._row: Mapping[str, Any] | None = None
        self._document: Mapping[str, Any] | None = None
        self._source = Text("", "strong", elide=True)
        self._badges = (Badge(), Badge())
        self._before = Button(theme, "", "icon", icon="left", name=tr("Document before (K)"), on_click=lambda: self.stepped.emit(-1))
        self._next = Button(theme, "", "icon", icon="right", name=tr("Next document (J)"), on_click=lambda: self.stepped.emit(1))
        self._where = small()
        self._facts = small("", elide=True)
        self._why = Text("", wrap=True)
        self._cluster = Button(theme, tr("Compare its copies"), "quiet", tip="C",
                               on_click=lambda: self.cluster_wanted.emit(self._fact("cluster")))
        self._stayed = Button(theme, tr("Read the one that stayed"), "quiet",
                              on_click=lambda: self.document_wanted.emit(self._fact("duplicate_of")))
        self._same = Button(theme, tr("All of this source"), "quiet", on_click=lambda: self.source_wanted.emit(str(self._fact("source"))))
        self._views = Segments(theme, [(NOW, tr("As it is now")), (CHANGES, tr("Changes")), (READ, tr("As read"))], CHANGES,
                               name=tr("What of the document is shown"), on_change=lambda _: self._fill())
        self._changed = small()
        self._notes = NoteSlot(theme)
        self.reader = Reader(theme, name=tr("Text of the document"))
        self._more = Button(theme, tr("Read on"), "quiet", on_click=self.more_wanted.emit)
        self._rest = small()
        self.exclude = Button(theme, tr("Exclude"), tip=tr("Leave it out of the next corpus (E)"), on_click=self.exclude_wanted.emit)
        self.restore = Button(theme, tr("Restore"), tip=tr("Keep it in the next corpus, whatever a step says (R)"),
                              on_click=self.restore_wanted.emit)
        self._e, self._r = Key(theme, "E"), Key(theme, "R")
        self._next_words = small("", elide=True)
        self._harmful = Button(theme, tr("Harmful"), tip=tr("H; again takes it back"), on_click=lambda: self.label_wanted.emit(True))
        self._harmless = Button(theme, tr("Harmless"), tip=tr("N; again takes it back"), on_click=lambda: self.label_wanted.emit(False))
        self._count = small()
        self._harm = col(rule(), row((ChipBar(self._harmful, Key(theme, "H"), self._harmless, Key(theme, "N"), self._count), 1)), gap=10)
        links = ChipBar(self._cluster, self._stayed, self._same, gap=14)
        self._body = col(self._facts, self._why, links, self._notes, row(self._views, self._changed, "+", gap=12), 2, (self.reader, 1),
                         row(self._rest, self._more, "+", gap=8), rule(),
                         row(self.exclude, self._e, self.restore, self._r, (self._next_words, 1), Key(theme, "J"), Key(theme, "K"),
                             small(tr("next, before")), gap=8), self._harm, gap=6)
        self._nothing = small("", "text3", wrap=True, align=Qt.AlignmentFlag.AlignHCenter)
        self._head = row((self._source, 1), *self._badges, 4, self._before, self._where, self._next, gap=6)
        fill(self.box, (self._head, (self._body, 1), (self._nothing, 1)), 4, (16, 10, 14, 12))
        self.show_nothing("")

    # what is shown ----------------------------------------------------------------------------------------------------

    def _fact(self, name: str) -> Any:
        return self._row.get(name) if self._row is not None else None

    def show_nothing(self, words: str) -> None:
        """No document: `words` say what to do."""
        self._row = self._document = None
        show_if(self._head, False)
        show_if(self._body, False)
        show_if(self._nothing, True)
        self._nothing.set(words or tr("The document chosen in the list is read here."))

    def show_row(self, shown: Mapping[str, Any], place: int, total: int) -> None:
        """Another document: what the list knows of it, at once."""
        if self._row is None or self._row["number"] != shown["number"]:
            self._document = None
            self.reader.set_pieces([])
            self._notes.clear()
        self._row = shown
        show_if(self._nothing, False)
        show_if(self._head, True)
        show_if(self._body, True)
        self._source.set(str(shown["source"]))
        self._facts.set(facts_line(shown))
        self._where.set(tr("{place} of {total}", place=units.number(place + 1), total=units.number(total)) if place >= 0 else "")
        self._before.setEnabled(place > 0)
        self._next.setEnabled(0 <= place < total - 1)
        self.refresh()

    def show_document(self, answer: Mapping[str, Any]) -> None:
        """The text, as the question `document` gives it."""
        if self._row is None or answer["row"]["number"] != self._row["number"]:
            return
        again = self._document is not None
        pieces = answer["pieces"]
        if all(mark == "removed" for mark, _ in pieces):  # removed as a whole: to be read, not to be seen through strokes
            pieces = [["same", text] for _, text in pieces]
        self._document = {**answer, "pieces": pieces, "other": (self._document or {}).get("other", "")}
        self._row = {**self._row, **answer["row"]}
        self._facts.set(facts_line(self._row))
        self.refresh()
        self._fill(stay=again)

    def set_other(self, number: int, source: str) -> None:
        """Where the duplicate of this document stands that stayed."""
        if self._document is not None and self._document["row"]["number"] == number:
            self._document = {**self._document, "other": source}
            self.refresh()

    def allow_steps(self, before: bool, after: bool) -> None:
        self._before.setEnabled(before)
        self._next.setEnabled(after)

    @property
    def asks_for_label(self) -> bool:
        """Whether a word on harm is wanted for this document."""
        shown = self._row
        return shown is not None and bool(shown.get("borderline") or shown.get("step") in LOOK_AT
                                          or self._decisions.label_of(shown["id"]) is not None)

    @property
    def takes_label(self) -> bool:
        """Whether a word on harm can be given: wherever harm was looked for, since the classifier needs harmless texts too."""
        return self.asks_for_label or (self._row is not None and self._row.get("harm") is not None)

    def text(self) -> str:
        """The document as it is now, as far as it is here."""
        return "".join(text for mark, text in self._document["pieces"] if mark != "removed") if self._document is not None else ""

    def show_error(self, wrong: FledgeError, *buttons: QWidget) -> None:
        self._notes.show_error(wrong, *buttons)

    def refresh(self) -> None:
        """What was decided may be different now."""
        shown, document = self._row, self._document
        if shown is None:
            return
        id, step = shown["id"], shown.get("step")
        keep, kept = self._decisions.keep_of(id), self._decisions.kept_next(id, step)
        marks = marks_of(shown, keep)
        for i, badge in enumerate(self._badges):
            badge.set(marks[i].words, marks[i].tone) if i < len(marks) else badge.set("")
        other = str(document["other"] or "") if document is not None else ""
        words = why_removed(shown, other)
        if not words and shown.get("overlap"):
            words = tr("It holds held-out text: {item}.", item=shown["overlap"])
        self._why.set(words or (borderline_words(shown) if shown.get("borderline") else ""))
        show_if(self._why, bool(self._why.words()))
        in_cluster = shown.get("cluster") is not None and int(shown["cluster"]) >= 0
        show_if(self._cluster, in_cluster)
        show_if(self._stayed, (shown.get("duplicate_of") if shown.get("duplicate_of") is not None else -1) >= 0)
        show_if(self.exclude, kept)
        show_if(self._e, kept)
        show_if(self.restore, not kept)
        show_if(self._r, not kept)
        self._next_words.set(self._becomes(keep, kept, step))
        self._harm_refresh(id)
        changed = self._is_changed()
        show_if(self._views, changed)
        show_if(self._changed, changed)

    def _becomes(self, keep: bool | None, kept: bool, step: str | None) -> str:
        """What the next corpus will do with it, where that is not what this one did."""
        if kept == (not step) and keep is None:
            return ""
        if kept:
            return tr("will be in the next corpus") if step else tr("stays, whatever a step says")
        return tr("will not be in the next corpus")

    def _harm_refresh(self, id: str) -> None:
        label = self._decisions.label_of(id)
        show_if(self._harm, self.asks_for_label)
        self._harmful.set_kind("chosen" if label is True else "secondary")
        self._harmless.set_kind("chosen" if label is False else "secondary")
        harmful, harmless = self._decisions.labels
        if min(harmful, harmless) >= LABELS_NEEDED:
            self._count.set(tr("{harmful} harmful, {harmless} harmless: the classifier learns from them", harmful=units.number(harmful),
                               harmless=units.number(harmless)))
        else:
            self._count.set(tr("{harmful} and {harmless} of the {needed} each that the classifier learns from",
                               harmful=units.number(harmful), harmless=units.number(harmless), needed=LABELS_NEEDED))

    # the text ---------------------------------------------------------------------------------------------------------

    def cycle(self) -> None:
        """The next of its views, by a key."""
        if self._is_changed():
            order = [NOW, CHANGES, READ]
            self._views.set(order[(order.index(self._views.value()) + 1) % 3])
            self._fill()

    def _is_changed(self) -> bool:
        return self._document is not None and any(mark != "same" for mark, _ in self._document["pieces"])

    def _fill(self, stay: bool = False) -> None:
        made = self._document
        if made is None:
            return
        view = self._views.value() if self._is_changed() else NOW
        pieces = found_pieces(made["pieces"], made.get("marks") or ())
        if view == NOW:
            pieces = [(text, SAME if mark == ADDED else mark) for text, mark in pieces if mark != CUT]
        elif view == READ:
            pieces = [(text, SAME) for mark, text in made["pieces"] if mark != "added"]
        self.reader.set_pieces(pieces, stay=stay)
        if not stay:
            self.reader.to_first(FOUND)
        edits = sum(mark != "same" for mark, _ in made["pieces"])
        self._changed.set(trn("{count} place", "{count} places", edits) if view == CHANGES else "")
        length, rest = sum(len(text) for mark, text in made["pieces"] if mark != "removed"), bool(made["cut"])
        self._rest.set(tr("The first {shown} of {length} characters.", shown=units.number(length),
                          length=units.number(made["characters"])) if rest else "")
        show_if(self._rest, rest)
        show_if(self._more, rest)


MARKS = {"same": SAME, "removed": CUT, "added": ADDED}


def found_pieces(pieces: Sequence[Sequence[str]], marks: Sequence[Sequence[int]]) -> list[Piece]:
    """The pieces of an answer as the reader's; the places found ([piece, from, to]) in the text as it is now are pieces of their own."""
    places: dict[int, list[tuple[int, int]]] = {}
    for piece, start, stop in marks:
        places.setdefault(piece, []).append((start, stop))
    found: list[Piece] = []
    for number, (mark, text) in enumerate(pieces):
        end = 0
        for start, stop in sorted(places.get(number, ())) if mark != "removed" else ():
            if start >= end and stop > start:
                found += [(text[end:start], MARKS[mark]), (text[start:stop], FOUND)]
                end = stop
        found.append((text[end:], MARKS[mark]))
    return [piece for piece in found if piece[0]]
