"""The graph, painted: boxes in columns, lines between them. Drag or Shift and arrows pan, the wheel zooms, arrows walk along the lines.

It shows a Picture (desktop/models/lineage.py) and says what was chosen, opened, or should be deleted; it knows no project.
"""

from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QFontMetricsF, QKeyEvent, QMouseEvent, QPainter, QPainterPath, QPen, QResizeEvent, QWheelEvent

from desktop.models.lineage import BOX_HEIGHT, Card, Picture
from desktop.theme.palette import mix
from desktop.theme.theme import Theme
from desktop.widgets.painted import KeyboardRing, Painted, draw_ring
from desktop.widgets.rail import draw_node
from engine.contract.words import tr

BOX_WIDTH, LEAST_GAP, MOST_GAP, MARGIN = 152.0, 24.0, 72.0, 16.0
LEAST_ZOOM, READABLE, ROOMY, MOST_ZOOM = 0.12, 0.8, 1.15, 2.0
MANY_LINES = 80
"""From here on lines are drawn quietly: those of the chosen box are what one follows."""
WAYS = {Qt.Key.Key_Left: "left", Qt.Key.Key_Right: "right", Qt.Key.Key_Up: "up", Qt.Key.Key_Down: "down"}


class GraphView(KeyboardRing, Painted):
    """`show_picture(picture)`, `choose(id)`. The view stays where it is while the same things are shown, and fits itself to new ones until
    the person has moved it."""

    chosen = Signal(str)
    opened = Signal(str)
    delete_wanted = Signal(str)

    def __init__(self, theme: Theme) -> None:
        super().__init__(theme, 320, 0)
        self.picture: Picture | None = None
        self.current = ""
        self.zoom, self.pan = 1.0, QPointF()
        self._gap = LEAST_GAP
        self._moved = False
        self._press: tuple[QPointF, QPointF] | None = None
        self._dragged = False
        self._over = ""
        self._rects: dict[str, QRectF] = {}
        self._paths: list[tuple[str, str, QPainterPath, QRectF]] = []
        self._extent = QRectF()
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMouseTracking(True)
        self.setAccessibleName(tr("Graph of what was made from what"))

    def sizeHint(self) -> QSize:
        return QSize(self.theme.px(560), self.theme.px(420))

    # what is shown ----------------------------------------------------------------------------------------------------

    def show_picture(self, picture: Picture) -> None:
        before = self.picture
        self.picture = picture
        if self.current not in picture.cards:
            self.current = ""
        if before is None or before.placed != picture.placed or before.edges != picture.edges:
            self._lay_out()
            if not self._moved:
                self.fit(readable=True)
        self._speak()
        self.update()

    def choose(self, id: str) -> None:
        """Choose a box without telling anybody, and bring it into view."""
        if self.picture is not None and id in self.picture.cards:
            self.current = id
            self._reveal(id)
            self._speak()
            self.update()

    def fit(self, readable: bool = False) -> None:
        """Everything in view; `readable`: no smaller than can be read, with the chosen or the newest box in view instead."""
        if not self._rects:
            return
        self._lay_out()
        room = QRectF(self.rect()).adjusted(MARGIN, MARGIN, -MARGIN, -MARGIN)
        whole = self._extent
        zoom = min(ROOMY, room.width() / max(1.0, whole.width()), room.height() / max(1.0, whole.height()))
        self.zoom = max(READABLE if readable else LEAST_ZOOM, zoom)
        self.pan = room.center() - whole.center() * self.zoom
        if whole.width() * self.zoom > room.width():
            self.pan.setX(room.left() - whole.left() * self.zoom)
        if whole.height() * self.zoom > room.height():
            self.pan.setY(room.top() - whole.top() * self.zoom)
        if readable and (self.current or zoom < READABLE):
            self._reveal(self.current or next(reversed(self._rects)))
        self._moved = not readable and self._moved
        self.update()

    def fit_all(self) -> None:
        """What the button does: forget where the person had moved to."""
        self._moved = False
        self.fit()

    def _lay_out(self) -> None:
        """Boxes and lines in pixels at zoom 1; columns stand further apart where there is room."""
        assert self.picture is not None
        placed, s = self.picture.placed, self.theme.scale
        count = len(placed.order)
        width = BOX_WIDTH * s
        self._gap = LEAST_GAP * s
        if count > 1:
            self._gap = min(MOST_GAP * s, max(self._gap, (self.width() - 2 * MARGIN - count * width) / (count - 1)))
        pitch = width + self._gap
        self._rects = {id: QRectF(placed.columns[id] * pitch, (y - BOX_HEIGHT / 2) * s, width, BOX_HEIGHT * s)
                       for id, y in placed.y.items()}
        self._extent = QRectF()
        for rect in self._rects.values():
            self._extent = self._extent.united(rect)
        self._paths = []
        for parent, child in self.picture.edges:
            path = self._path(parent, child)
            self._paths.append((parent, child, path, path.controlPointRect()))

    def _path(self, parent: str, child: str) -> QPainterPath:
        assert self.picture is not None
        placed, s = self.picture.placed, self.theme.scale
        start, end = self._rects[parent], self._rects[child]
        first, last = placed.columns[parent], placed.columns[child]
        if first == last:
            return self._beside(parent, child, start, end)
        path = QPainterPath(QPointF(start.right(), start.center().y()))
        if last < first:  # made by hand, or against the order of the stages: around the back
            path = QPainterPath(QPointF(start.left(), start.center().y()))
            self._curve(path, QPointF(end.right(), end.center().y()))
            return path
        pitch = start.width() + self._gap
        for column in range(first + 1, last):
            lane = placed.lanes.get((parent, column))
            if lane is None:
                continue
            y = lane * s
            self._curve(path, QPointF(column * pitch, y))
            path.lineTo(QPointF(column * pitch + start.width(), y))
        self._curve(path, QPointF(end.left(), end.center().y()))
        return path

    def _beside(self, parent: str, child: str, start: QRectF, end: QRectF) -> QPainterPath:
        """Within a column: straight down to the next box, around the side to one further off."""
        assert self.picture is not None
        column = self.picture.placed.order[self.picture.placed.columns[parent]]
        if abs(column.index(parent) - column.index(child)) == 1:
            down = end.top() > start.top()
            path = QPainterPath(QPointF(start.center().x(), start.bottom() if down else start.top()))
            path.lineTo(QPointF(end.center().x(), end.top() if down else end.bottom()))
            return path
        path = QPainterPath(QPointF(start.right(), start.center().y()))
        out = start.right() + self._gap * 0.7
        path.cubicTo(QPointF(out, start.center().y()), QPointF(out, end.center().y()), QPointF(end.right(), end.center().y()))
        return path

    @staticmethod
    def _curve(path: QPainterPath, to: QPointF) -> None:
        at = path.currentPosition()
        half = (to.x() - at.x()) / 2
        path.cubicTo(QPointF(at.x() + half, at.y()), QPointF(to.x() - half, to.y()), to)

    def _speak(self) -> None:
        card = self.picture.cards.get(self.current) if self.picture is not None else None
        self.setAccessibleDescription(card.spoken if card is not None else "")

    # drawing ----------------------------------------------------------------------------------------------------------

    def draw(self, painter: QPainter, rect: QRectF) -> None:
        picture, theme = self.picture, self.theme
        if picture is None:
            return
        seen = QRectF((rect.left() - self.pan.x()) / self.zoom, (rect.top() - self.pan.y()) / self.zoom, rect.width() / self.zoom,
                      rect.height() / self.zoom)
        painter.setClipRect(rect)
        painter.save()
        painter.translate(self.pan)
        painter.scale(self.zoom, self.zoom)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        bold = []
        ink = "control" if len(self._paths) <= MANY_LINES else "raw"
        painter.setPen(QPen(theme.colour(ink), 1.2))
        for parent, child, path, box in self._paths:
            if self.current in (parent, child) and self.current:
                bold.append(path)
            elif box.adjusted(-2, -2, 2, 2).intersects(seen):
                painter.drawPath(path)
        painter.setPen(QPen(theme.colour("accent"), 2.0))
        for path in bold:
            painter.drawPath(path)
        for id, box in self._rects.items():
            if box.intersects(seen):
                self._draw_card(painter, box, picture.cards[id])
        painter.restore()

    def _draw_card(self, painter: QPainter, box: QRectF, card: Card) -> None:
        t, s = self.theme, self.theme.scale
        chosen = card.id == self.current
        ink = t.colour("accent") if chosen else t.colour("warn") if card.mark == "stale" else t.colour("control")
        pen = QPen(ink, 2.0 if chosen else 1.2)
        if card.dashed and not chosen:
            pen.setStyle(Qt.PenStyle.DashLine)
        painter.setPen(pen)
        ground = t["accent_soft"] if chosen else mix(t["text"], t["surface"], 0.04) if card.id == self._over else t["surface"]
        painter.setBrush(QColor(ground))
        inset = pen.widthF() / 2
        painter.drawRoundedRect(box.adjusted(inset, inset, -inset, -inset), 8 * s, 8 * s)
        middle = box.top() + 19 * s
        draw_node(painter, t, box.left() + 17 * s, middle, card.mark, card.share)
        left, right = box.left() + 29 * s, box.right() - 9 * s
        self._write(painter, card.title, "strong", t.colour("text2" if card.dashed else "text"), QRectF(left, middle - 12 * s, right - left,
                                                                                                        24 * s))
        left = box.left() + 12 * s
        self._write(painter, card.line, "small", t.colour(card.tone), QRectF(left, box.top() + 29 * s, right - left, 20 * s))
        if chosen and self.hasFocus() and self.ring:
            draw_ring(painter, box.adjusted(-4 * s, -4 * s, 4 * s, 4 * s), t.colour("accent"), 10 * s)

    def _write(self, painter: QPainter, words: str, role: str, ink: QColor, room: QRectF) -> None:
        font = self.theme.font(role)
        painter.setFont(font)
        painter.setPen(ink)
        shown = QFontMetricsF(font).elidedText(words, Qt.TextElideMode.ElideRight, room.width())
        painter.drawText(room, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, shown)

    # mouse ------------------------------------------------------------------------------------------------------------

    def at(self, where: QPointF) -> str:
        """The box at a point of the widget."""
        inside = (where - self.pan) / self.zoom
        return next((id for id, box in self._rects.items() if box.contains(inside)), "")

    def place_of(self, id: str) -> QRectF:
        """Where a box is on the widget."""
        box = self._rects[id]
        return QRectF(box.left() * self.zoom + self.pan.x(), box.top() * self.zoom + self.pan.y(), box.width() * self.zoom,
                      box.height() * self.zoom)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() in (Qt.MouseButton.LeftButton, Qt.MouseButton.MiddleButton):
            self._press, self._dragged = (event.position(), QPointF(self.pan)), False
            hit = self.at(event.position())
            if hit and event.button() == Qt.MouseButton.LeftButton:
                self._pick(hit, reveal=False)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self._press is not None:
            moved = event.position() - self._press[0]
            if self._dragged or moved.manhattanLength() > 4:
                self._dragged = self._moved = True
                self.pan = self._press[1] + moved
                self._keep_in_view()
                self.setCursor(Qt.CursorShape.ClosedHandCursor)
                self.update()
            return
        over = self.at(event.position())
        if over != self._over:
            self._over = over
            card = self.picture.cards.get(over) if self.picture is not None else None
            self.setCursor(Qt.CursorShape.PointingHandCursor if over else Qt.CursorShape.ArrowCursor)
            self.setToolTip(f"{card.title}\n{card.line}" if card is not None else "")
            self.update()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        self._press = None
        self.setCursor(Qt.CursorShape.PointingHandCursor if self.at(event.position()) else Qt.CursorShape.ArrowCursor)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        if hit := self.at(event.position()):
            self.opened.emit(hit)

    def leaveEvent(self, event) -> None:
        self._over = ""
        self.update()

    def wheelEvent(self, event: QWheelEvent) -> None:
        turned = event.angleDelta().y() or event.angleDelta().x()
        if turned:
            self._zoom_by(1.0015 ** turned, event.position())
        event.accept()

    def _zoom_by(self, factor: float, around: QPointF) -> None:
        zoom = max(LEAST_ZOOM, min(MOST_ZOOM, self.zoom * factor))
        self.pan = around - (around - self.pan) * (zoom / self.zoom)
        self.zoom, self._moved = zoom, True
        self._keep_in_view()
        self.update()

    def _keep_in_view(self) -> None:
        """A part of the graph is always on the widget: nobody gets lost."""
        least = 48.0
        left, right = self._extent.left() * self.zoom, self._extent.right() * self.zoom
        top, bottom = self._extent.top() * self.zoom, self._extent.bottom() * self.zoom
        self.pan.setX(min(max(self.pan.x(), least - right), self.width() - least - left))
        self.pan.setY(min(max(self.pan.y(), least - bottom), self.height() - least - top))

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if self.picture is not None:
            if self._moved:
                self._lay_out()
                self._keep_in_view()
            else:
                self.fit(readable=True)

    # keyboard ---------------------------------------------------------------------------------------------------------

    def focusInEvent(self, event) -> None:
        super().focusInEvent(event)
        self.update()

    def focusOutEvent(self, event) -> None:
        super().focusOutEvent(event)
        self.update()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        key, shift = Qt.Key(event.key()), bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
        if self.picture is None or not self.picture.cards:
            super().keyPressEvent(event)
        elif key in WAYS and shift:
            step = 60.0
            self.pan += {"left": QPointF(step, 0), "right": QPointF(-step, 0), "up": QPointF(0, step), "down": QPointF(0, -step)}[WAYS[key]]
            self._moved = True
            self._keep_in_view()
            self.update()
        elif key in WAYS:
            self.ring = True
            self._pick(self.picture.step(self.current, WAYS[key]))
        elif key in (Qt.Key.Key_Home, Qt.Key.Key_End):
            ids = list(self.picture.cards)
            self._pick(ids[0 if key == Qt.Key.Key_Home else -1])
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self.current:
            self.opened.emit(self.current)
        elif key in (Qt.Key.Key_Delete, Qt.Key.Key_Backspace) and self.current:
            self.delete_wanted.emit(self.current)
        elif key in (Qt.Key.Key_Plus, Qt.Key.Key_Equal):
            self._zoom_by(1.2, QPointF(self.rect().center()))
        elif key == Qt.Key.Key_Minus:
            self._zoom_by(1 / 1.2, QPointF(self.rect().center()))
        elif key == Qt.Key.Key_0:
            self.fit_all()
        else:
            super().keyPressEvent(event)

    def _pick(self, id: str, reveal: bool = True) -> None:
        if id and id != self.current:
            self.current = id
            self._speak()
            self.chosen.emit(id)
        if id and reveal:
            self._reveal(id)
        self.update()

    def _reveal(self, id: str) -> None:
        """Move as little as needed to have the whole box in view."""
        box = self.place_of(id).adjusted(-MARGIN, -MARGIN, MARGIN, MARGIN)
        if box.width() < self.width():
            self.pan.setX(self.pan.x() + max(0.0, -box.left()) - max(0.0, box.right() - self.width()))
        if box.height() < self.height():
            self.pan.setY(self.pan.y() + max(0.0, -box.top()) - max(0.0, box.bottom() - self.height()))
