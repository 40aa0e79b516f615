"""The rail: the project, Home, the stages as nodes on a stem, the tools, the machine. It shows what it is told, says what was clicked."""

from collections.abc import Sequence

from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QKeyEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QAbstractButton, QSizePolicy, QVBoxLayout, QWidget

from desktop.theme.palette import SIZE, mix
from desktop.theme.theme import Theme
from desktop.widgets.bar import Bar
from desktop.widgets.buttons import Button
from desktop.widgets.layout import Scroll, col, row
from desktop.widgets.painted import KeyboardRing, draw_ring
from desktop.widgets.text import Icon, Text, small
from engine.contract.words import tr

META_TONES = {"running": "accent", "stale": "warn", "failed": "danger"}


def state_words(state: str) -> str:
    """A stage's state for those who cannot see its shape."""
    return {"nothing": tr("nothing yet"), "ready": tr("ready"), "running": tr("running"), "done": tr("done"), "stale": tr("stale"),
            "failed": tr("stopped")}.get(state, "")


def draw_node(painter: QPainter, theme: Theme, x: float, y: float, state: str, share: float = 0.0) -> None:
    """The state of a stage at (x, y): told by shape first and colour second."""
    u = theme.scale
    circle = QRectF(x - 6 * u, y - 6 * u, 12 * u, 12 * u)
    painter.setPen(QPen(theme.colour("control"), 1.4))
    painter.setBrush(theme.colour("rail"))
    if state == "nothing":
        painter.drawEllipse(QPointF(x, y), 3.5 * u, 3.5 * u)
    elif state == "ready":
        painter.setPen(QPen(theme.colour("accent"), 1.6))
        painter.drawEllipse(circle)
    elif state == "running":
        painter.setPen(QPen(theme.colour("accent"), 1.6))
        painter.drawEllipse(circle)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.colour("accent"))
        painter.drawPie(circle.adjusted(2.4, 2.4, -2.4, -2.4), 90 * 16, -round(360 * 16 * max(share, 0.04)))
    elif state == "failed":
        painter.setPen(QPen(theme.colour("danger"), 1.6, c=Qt.PenCapStyle.RoundCap))
        painter.drawEllipse(circle)
        painter.drawLine(QPointF(x, y - 3 * u), QPointF(x, y + 0.6 * u))
        painter.drawPoint(QPointF(x, y + 3 * u))
    else:
        ink = theme.colour("warn" if state == "stale" else "accent")
        painter.setPen(QPen(ink, 1.6))
        painter.setBrush(ink if state == "done" else theme.colour("rail"))
        painter.drawEllipse(circle)
        painter.setPen(QPen(theme.colour("on_accent") if state == "done" else ink, 1.6, c=Qt.PenCapStyle.RoundCap))
        points = ((-2.7, 0.2), (-0.7, 2.2), (2.9, -1.9)) if state == "done" else ((0, -3), (0, 0), (2.2, 1.2))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawPolyline([QPointF(x + dx * u, y + dy * u) for dx, dy in points])


class RailItem(KeyboardRing, QAbstractButton):
    """A stage on the stem (with a state), or Home or a tool (with an icon)."""

    def __init__(self, theme: Theme, id: str, label: str, *, icon: str = "", first: bool = False, last: bool = False,
                 keys: str = "") -> None:
        super().__init__()
        self.theme, self.id, self.label, self.icon_name, self.first, self.last = theme, id, label, icon, first, last
        self.state, self.share, self.meta, self.reached = "" if icon else "nothing", 0.0, "", False
        self.setCheckable(True)
        self.setAutoExclusive(False)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setFixedHeight(theme.px(SIZE["rail_item"]))
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._keys = keys
        self._speak()
        theme.changed.connect(self.update)

    def set_state(self, state: str, share: float, meta: str, reached: bool) -> None:
        if (state, share, meta, reached) != (self.state, self.share, self.meta, self.reached):
            self.state, self.share, self.meta, self.reached = state, share, meta, reached
            self._speak()
            self.update()

    def _speak(self) -> None:
        words = [self.label]
        if self.state:
            words.append(state_words(self.state))
            if self.meta and self.meta != words[-1]:
                words.append(self.meta)
        self.setAccessibleName(", ".join(words))
        self.setToolTip("\n".join(w for w in (self.meta, self._keys) if w))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.click()
        elif event.key() in (Qt.Key.Key_Up, Qt.Key.Key_Down):
            self.focusNextPrevChild(event.key() == Qt.Key.Key_Down)
        else:
            super().keyPressEvent(event)

    def nextCheckState(self) -> None:
        """A click does not check: the window does, once the page is there."""

    def sizeHint(self) -> QSize:
        return QSize(self.theme.px(180), self.theme.px(SIZE["rail_item"]))

    def paintEvent(self, event: QPaintEvent) -> None:
        t, px, painter = self.theme, self.theme.px, QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        middle, x = self.height() / 2, float(px(20))
        ground = QRectF(0, 1, self.width(), self.height() - 2)
        if self.isChecked() or (self.underMouse() and self.isEnabled()):
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(mix(t["accent"], t["rail"], 0.13)) if self.isChecked() else t.colour("hover"))
            painter.drawRoundedRect(ground, 6, 6)
        if self.state:
            gap = (5.5 if self.state == "nothing" else 8.5) * t.scale
            painter.setPen(QPen(t.colour("accent" if self.reached else "control"), 1.2))
            if not self.first:
                painter.drawLine(QPointF(x, 0), QPointF(x, middle - gap))
            painter.setPen(QPen(t.colour("accent" if self.state in ("done", "stale") else "control"), 1.2))
            if not self.last:
                painter.drawLine(QPointF(x, middle + gap), QPointF(x, self.height()))
            draw_node(painter, t, x, middle, self.state, self.share)
        elif self.icon_name:
            tone = "accent" if self.isChecked() else "text2"
            half = px(16) / 2
            painter.drawPixmap(QPointF(x - half, middle - half), t.pixmap(self.icon_name, tone, 16, self.devicePixelRatioF()))
        meta_width = 0
        painter.setFont(t.font("strong" if self.isChecked() else "body"))
        wide = painter.fontMetrics().horizontalAdvance(self.label)
        if self.meta:
            font = t.font("small_strong" if self.state in META_TONES else "small")
            painter.setFont(font)
            painter.setPen(t.colour(META_TONES.get(self.state, "text2")))
            box = QRectF(0, 0, self.width() - 10, self.height())
            meta_width = painter.fontMetrics().horizontalAdvance(self.meta) + 8
            if px(38) + wide + meta_width + 10 > self.width():
                meta_width = 0  # the name comes first: the node and the tooltip tell the state
            else:
                painter.drawText(box, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight, self.meta)
        painter.setFont(t.font("strong" if self.isChecked() else "body"))
        quiet = not self.isChecked() and (self.state == "nothing" or not self.isEnabled())
        painter.setPen(t.colour("text2" if quiet else "text"))
        room = self.width() - px(38) - 10 - meta_width
        label = painter.fontMetrics().elidedText(self.label, Qt.TextElideMode.ElideRight, int(room))
        painter.drawText(QRectF(px(38), 0, room, self.height()), Qt.AlignmentFlag.AlignVCenter, label)
        if self.hasFocus() and self.ring:
            draw_ring(painter, ground, t.colour("accent"))
        painter.end()


class ProjectButton(KeyboardRing, QAbstractButton):
    """The open project and its newest model, with a chevron: a menu opens at a click."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.theme, self.title, self.line = theme, "", ""
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setFixedHeight(theme.px(44))
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        theme.changed.connect(self.update)

    def set(self, title: str, line: str) -> None:
        self.title, self.line = title, line
        self.setAccessibleName(tr("Project: {title}. {line}", title=title, line=line))
        self.setToolTip(tr("Open, close or make a project"))
        self.update()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Down):
            self.click()
        else:
            super().keyPressEvent(event)

    def sizeHint(self) -> QSize:
        return QSize(self.theme.px(180), self.theme.px(44))

    def paintEvent(self, event: QPaintEvent) -> None:
        t, px, painter = self.theme, self.theme.px, QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self.underMouse():
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(t.colour("hover"))
            painter.drawRoundedRect(QRectF(self.rect()), 6, 6)
        room = self.width() - px(12) - px(34)
        line = self.line
        for words, role, tone, top, tall in ((self.title, "strong", "text", 4, 20), (line, "small", "text2", 22, 18)):
            painter.setFont(t.font(role))
            painter.setPen(t.colour(tone))
            shown = painter.fontMetrics().elidedText(words, Qt.TextElideMode.ElideRight, room)
            painter.drawText(QRectF(px(12), px(top if line else 12), room, px(tall)), Qt.AlignmentFlag.AlignVCenter, shown)
        side = px(16)
        painter.drawPixmap(QPointF(self.width() - side - px(10), (self.height() - side) / 2),
                           t.pixmap("down", "text2", 16, self.devicePixelRatioF()))
        if self.hasFocus() and self.ring:
            draw_ring(painter, QRectF(self.rect()), t.colour("accent"))
        painter.end()


class Rail(QWidget):
    """`pages`: (id, title, place, icon, keys) in order. Signals tell what was asked; the window answers."""

    page_clicked = Signal(str)
    project_clicked = Signal()
    settings_clicked = Signal()

    def __init__(self, theme: Theme, pages: Sequence[tuple[str, str, str, str, str]]) -> None:
        super().__init__()
        self.setProperty("kind", "rail")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.setFixedWidth(theme.px(SIZE["rail"]))
        self.project = ProjectButton(theme)
        self.project.clicked.connect(self.project_clicked)
        self.items: dict[str, RailItem] = {}
        stages = [p for p in pages if p[2] == "stage"]
        for id, title, place, icon, keys in pages:
            ends = {"first": id == stages[0][0], "last": id == stages[-1][0]} if place == "stage" else {}
            item = RailItem(theme, id, title, icon="" if place == "stage" else icon, keys=keys, **ends)
            item.clicked.connect(lambda _=False, id=id: self.page_clicked.emit(id))
            self.items[id] = item

        def of(place: str) -> list[QWidget]:
            return [self.items[p[0]] for p in pages if p[2] == place]
        listed = Scroll(col(*of("home"), 6, *of("stage"), 10, *of("tool"), "+", gap=0), horizontal=False)
        self._machine, self._note = Text(role="medium", elide=True), small(elide=True)
        self._memory = Bar(theme, height=4, name=tr("Memory"))
        self.settings = Button(theme, kind="icon", icon="settings", name=tr("Settings"), on_click=self.settings_clicked.emit)
        head = row(Icon(theme, "chip"), (self._machine, 1), self.settings, gap=8)
        machine = col(head, self._memory, self._note, gap=4, pad=(12, 8, 4, 0))
        box = QVBoxLayout(self)
        box.setContentsMargins(8, 12, 8, 16)
        box.setSpacing(0)
        box.addWidget(self.project)
        box.addSpacing(8)
        box.addWidget(listed, 1)
        box.addWidget(machine)

    def set_project(self, title: str, line: str) -> None:
        self.project.set(title, line)

    def set_stages(self, stages: Sequence[tuple[str, str, float, str]]) -> None:
        """(id, state, share, words) of each stage, in order."""
        before = "nothing"
        for id, state, share, words in stages:
            if id in self.items:
                self.items[id].set_state(state, share, words, before in ("done", "stale"))
            before = state

    def set_machine(self, title: str, share: float, note: str) -> None:
        self._machine.set(title)
        self._memory.set(share)
        self._note.set(note)

    def show_page(self, id: str) -> None:
        for key, item in self.items.items():
            item.setChecked(key == id)

    def set_usable(self, id: str, usable: bool) -> None:
        self.items[id].setEnabled(usable)
