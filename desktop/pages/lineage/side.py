"""The side of the Lineage page: the chosen thing with its facts, parents and children, settings, hash and actions. It acts by signals."""

from collections.abc import Sequence

from PySide6.QtCore import QRectF, QSize, Qt, Signal
from PySide6.QtGui import QFontMetrics, QKeyEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QAbstractButton, QSizePolicy, QVBoxLayout, QWidget

from desktop.models.lineage import About, Picture, comparable, facts, learned_from, link_words, page_of, scores, short_hash
from desktop.theme.theme import Theme
from desktop.widgets.badge import Badge
from desktop.widgets.buttons import Button
from desktop.widgets.facts import Facts
from desktop.widgets.layout import Item, Scroll, clear, col, fill, row, show_if
from desktop.widgets.notes import Note
from desktop.widgets.painted import KeyboardRing, draw_ring
from desktop.widgets.panel import Panel, rule
from desktop.widgets.text import Text, small
from engine.contract.units import size
from engine.contract.words import tr, trn
from engine.project.lineage import CHECKPOINT, RUN, DiskUsage, FileCheck, missing_words, reason_words

SHOWN_LINKS, SHOWN_SETTINGS = 8, 12


class LinkRow(KeyboardRing, QAbstractButton):
    """A parent or a child: its name, and how it stands at the right. A click chooses it."""

    def __init__(self, theme: Theme, words: str, note: str, tone: str) -> None:
        super().__init__()
        self.theme, self.words, self.note, self.tone, self._over = theme, words, note, tone, False
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setFixedHeight(theme.px(24))
        self.setAccessibleName(f"{words}, {note}")
        self.setToolTip(words)
        theme.changed.connect(self.update)

    def sizeHint(self) -> QSize:
        return QSize(self.theme.px(200), self.theme.px(24))

    def enterEvent(self, event) -> None:
        self._over = True
        self.update()

    def leaveEvent(self, event) -> None:
        self._over = False
        self.update()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and not event.isAutoRepeat():
            self.click()
        else:
            super().keyPressEvent(event)

    def paintEvent(self, event: QPaintEvent) -> None:
        t, painter, whole = self.theme, QPainter(self), QRectF(self.rect())
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self._over:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(t.colour("sunken"))
            painter.drawRoundedRect(whole, 5, 5)
        icon = t.px(16)
        painter.drawPixmap(0, (self.height() - icon) // 2, t.pixmap("lineage", "text2", 16, self.devicePixelRatioF()))
        painter.setFont(t.font("small"))
        painter.setPen(t.colour(self.tone))
        painter.drawText(whole.adjusted(0, 0, -2, 0), Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, self.note)
        room = self.width() - icon - t.px(8) - painter.fontMetrics().horizontalAdvance(self.note) - t.px(8)
        font = t.font("body")
        painter.setFont(font)
        painter.setPen(t.colour("text"))
        shown = QFontMetrics(font).elidedText(self.words, Qt.TextElideMode.ElideRight, max(0, room))
        painter.drawText(whole.adjusted(icon + t.px(8), 0, 0, 0), Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, shown)
        if self.hasFocus() and self.ring:
            draw_ring(painter, whole, t.colour("accent"), 5)
        painter.end()


class Side(Panel):
    """`show_node(picture, id, ...)`; what does not change keeps its widgets, so that a run's progress does not flicker."""

    choose_wanted = Signal(str)
    open_wanted = Signal(str)
    chat_wanted = Signal(str)
    compare_wanted = Signal(str)
    recipe_wanted = Signal(str)
    delete_wanted = Signal(str)
    verify_wanted = Signal(str)

    def __init__(self, theme: Theme) -> None:
        self._inner = QWidget()
        self._box = QVBoxLayout(self._inner)
        self._box.setContentsMargins(0, 0, 0, 0)
        self._actions = col(gap=8)
        super().__init__((Scroll(self._inner, horizontal=False), 1), self._actions, pad=(16, 12, 16, 14), gap=12)
        self.theme = theme
        self._key: object = None
        self._facts = Facts(elide=True)
        self.verified = small(wrap=True)
        self.verify = Button(theme, tr("Verify"), "quiet")

    def show_nothing(self) -> None:
        self._key = None
        clear(self._box)
        words = tr("Click a box, or walk along the lines with the arrow keys, to see what it was made from and with which settings.")
        fill(self._box, (Text(tr("Nothing chosen"), "section"), small(words, wrap=True), "+"), 6)
        clear(self._actions.layout())

    def show_node(self, picture: Picture, id: str, told: About | None, usage: DiskUsage | None) -> None:
        graph = picture.graph
        node = graph.nodes[id]
        told = told if told is not None and told.id == id else None
        bytes_ = usage.of(node) if usage is not None and not node.deleted else None
        now = facts(node, graph, told, bytes_)
        around = tuple(graph.nodes[o] for o in (*node.parents, *graph.children(id)))
        links = tuple((o.id, o.title, link_words(o)) for o in around)
        key = (id, node.title, node.stale, node.missing, node.replaced_by, links, told, tuple(n for n, _ in now), picture.writable,
               tuple(graph.used_by(id)), self.theme["name"], bytes_)
        if key == self._key:
            self._facts.set(now)
            return
        before = self._key[0] if isinstance(self._key, tuple) else ""
        self._key = key
        clear(self._box)
        self._facts = Facts(now, elide=True)
        if before != id:
            self.verified = small(wrap=True)
        else:
            self.verified = self._again(self.verified)
        show_if(self.verified, bool(self.verified.words()))
        self.verify = Button(self.theme, tr("Verify"), "quiet", tip=tr("Reads every file and compares its hash with what was written."),
                             on_click=lambda: self.verify_wanted.emit(id))
        badge = Badge(*((tr("stale"), "warn") if node.stale else (tr("deleted"), "danger") if node.deleted else
                        (tr("replaced"), "") if node.replaced_by else ("", "")))
        title = Text(node.title, "section", wrap=False, elide=True)
        parts: list[Item] = [row((title, 1), badge, gap=8), self._note(picture, id), self._facts]
        if node.files:
            parts += [row(Text(tr("Hash"), tone="text2"), "+", Text(short_hash(node.hash), "medium", select=True), gap=8),
                      row(small(trn("{count} file", "{count} files", len(node.files))), "+", self.verify, gap=8), self.verified]
        parts += self._links(tr("Parents"), picture, [p for p in dict.fromkeys(node.parents)],
                             tr("None: it came from outside.") if not node.deleted else tr("Not known any more."))
        below = graph.children(id)
        kept = [c for c in below if graph.nodes[c].kind == CHECKPOINT and not graph.children(c)]
        parts += self._links(tr("Children"), picture, [c for c in below if c not in kept], self._alone(bool(kept) or node.deleted, bytes_))
        if kept:
            parts.append(small(trn("and {count} checkpoint of runs from it", "and {count} checkpoints of runs from it", len(kept))))
        heading, sets = learned_from(node)
        if sets:
            parts += [rule(), Text(heading, "strong"), *(small(words, wrap=True) for words in sets[:SHOWN_LINKS])]
        parts += self._settings(told)
        fill(self._box, (*parts, "+"), 9)
        self._show_actions(picture, id)

    def _again(self, old: Text) -> Text:
        made = small(old.words(), str(old.property("tone") or "text2"), wrap=True)
        return made

    def _note(self, picture: Picture, id: str) -> Note | None:
        graph, theme = picture.graph, self.theme
        node = graph.nodes[id]
        if node.stale:
            by, through = node.stale[0].by, node.stale[0].through
            shown = by or through
            button = Button(theme, tr("Show {id}", id=shown), on_click=lambda: self.choose_wanted.emit(shown)) if shown else None
            change = node.stale[0].changed
            since = tr("Made from what is out of date") if through else tr("Its examples have changed since") if change is None else \
                tr("Its problems have changed since") if change.problems else tr("Its labels have changed since") if change.pairs else \
                tr("Its examples have changed since")
            return Note(theme, "warn", tr("Made from what was replaced") if by else since,
                        "\n".join(reason_words(r, graph) for r in node.stale[:3]), button)
        if node.missing:
            return Note(theme, "warn", tr("A parent is missing"), "\n".join(missing_words(node, graph)[:3]))
        if node.replaced_by:
            by = node.replaced_by
            return Note(theme, "info", tr("A newer one stands for it"),
                        tr("{id} was made from it. Deleting this one leaves that one alone.", id=by) if graph.heir(by, id) else
                        tr("{id} has the same name and origin.", id=by),
                        Button(theme, tr("Show {id}", id=by), on_click=lambda: self.choose_wanted.emit(by)))
        if users := [u for u in graph.used_by(id) if u != id]:
            return Note(theme, "info", tr("In use"), trn("Run {runs} is under way with it.", "Runs {runs} are under way with it.",
                                                         len(users), runs=", ".join(users)))
        return None

    def _alone(self, more: bool, bytes_: int | None) -> str:
        if more or bytes_ is None:
            return tr("None.")
        return tr("None. Deleting it frees {size} and touches nothing else.", size=size(bytes_))

    def _links(self, title: str, picture: Picture, ids: Sequence[str], none: str) -> list[Item]:
        lines: list[Item] = []
        for id in ids[:SHOWN_LINKS]:
            node = picture.graph.nodes[id]
            note, tone = link_words(node)
            link = LinkRow(self.theme, node.title, note, tone)
            link.clicked.connect(lambda _=False, id=id: self.choose_wanted.emit(id))
            lines.append(link)
        if len(ids) > SHOWN_LINKS:
            lines.append(small(tr("and {count} more", count=len(ids) - SHOWN_LINKS)))
        return [rule(), Text(title, "strong"), col(*(lines or [small(none, wrap=True)]), gap=0)]

    def _settings(self, told: About | None) -> list[Item]:
        if told is None or not told.changed:
            return []
        pairs = [(r.label, r.right) for r in told.changed[:SHOWN_SETTINGS]]
        lines = [row(Text(label, tone="text2"), (Text(value, "medium", elide=True, align=Qt.AlignmentFlag.AlignRight), 1), gap=12)
                 for label, value in pairs]
        more = len(told.changed) - SHOWN_SETTINGS
        return [rule(), Text(tr("Changed from the defaults"), "strong"), col(*lines, gap=5),
                small(tr("and {count} more", count=more)) if more > 0 else None]

    def _show_actions(self, picture: Picture, id: str) -> None:
        theme, graph = self.theme, picture.graph
        node = graph.nodes[id]
        clear(self._actions.layout())
        if node.deleted:
            return
        why = ("" if picture.writable else tr("This project can only be read."))
        page, _ = page_of(node)
        first: list[Item] = []
        if page and not (page == "chat" and node.kind in ("model", CHECKPOINT)):
            first.append(Button(theme, tr("Open"), on_click=lambda: self.open_wanted.emit(id), tip=tr("Enter")))
        if node.kind in ("model", CHECKPOINT) and not scores(node):
            first.append(Button(theme, tr("Chat"), on_click=lambda: self.chat_wanted.emit(id)))
        others = bool(comparable(graph, node))
        first.append(Button(theme, tr("Compare…"), on_click=lambda: self.compare_wanted.emit(id), enabled=others,
                            tip="" if others else tr("There is nothing else of this stage.")))
        second: list[Item] = []
        if node.kind != RUN:
            second.append(Button(theme, tr("Write recipe…"), on_click=lambda: self.recipe_wanted.emit(id), enabled=bool(node.run),
                                 tip="" if node.run else tr("It was made by no run of this project.")))
        second.append(Button(theme, tr("Delete…"), "danger", on_click=lambda: self.delete_wanted.emit(id), enabled=picture.writable,
                             tip=why or tr("Delete")))
        fill(self._actions.layout(), (row(*first, "+", gap=8), row(*second, "+", gap=8)), 8)

    # verifying --------------------------------------------------------------------------------------------------------

    def show_verifying(self, words: str) -> None:
        self.verify.setEnabled(False)
        self._say(words, "text2")

    def show_verified(self, found: Sequence[FileCheck] | None) -> None:
        """None: it was broken off."""
        self.verify.setEnabled(True)
        if found is None:
            self._say("", "text2")
            return
        wrong = [f for f in found if f.state != "same"]
        if not wrong:
            self._say(trn("{count} file read: it is what was written.", "{count} files read: all are what was written.", len(found)), "ok")
            return
        listed = ", ".join(tr("{file} is missing", file=f.name) if f.state == "missing" else tr("{file} has changed", file=f.name)
                           for f in wrong[:4])
        self._say(tr("Damaged: {files}. Make it again, or restore the project from a backup.", files=listed), "danger")

    def _say(self, words: str, tone: str) -> None:
        self.verified.set(words)
        self.verified.set_tone(tone)
        show_if(self.verified, bool(words))
