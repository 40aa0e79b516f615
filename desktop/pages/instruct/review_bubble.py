"""One message of the card: set for reading, or a field to edit it. It says what the person wants; saving is the review's matter."""

from PySide6.QtCore import QEvent, QSize, Qt, Signal
from PySide6.QtGui import QFocusEvent, QKeyEvent, QMouseEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from desktop.theme.theme import Theme
from desktop.widgets.buttons import Button
from desktop.widgets.conversation import role_words
from desktop.widgets.fields import Choice
from desktop.widgets.grown import Draft, Grown
from desktop.widgets.layout import fixed, row, show_if
from desktop.widgets.painted import KEYBOARD, draw_ring
from desktop.widgets.panel import Panel
from desktop.widgets.text import repolish, small
from engine.contract.rows import Message
from engine.contract.words import tr

INDENT, WIDEST = 56, 860
ROLES = ("user", "assistant", "system", "tool")


class Bubble(QWidget):
    """`set(place, message, ...)`; `edit()` opens the field. Signals: `edit_wanted(place)`, `remove_wanted(place)`, `saved(place)`,
    `left(place)`; `draft` is what stands in the field."""

    edit_wanted, remove_wanted, saved, left = Signal(int), Signal(int), Signal(int), Signal(int)

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.theme, self.place, self.editing, self._ring = theme, 0, False, False
        self.message = Message(role="user", content="")
        self._who = small("", "text2")
        self._text = Grown(theme)
        self._more = Button(theme, tr("Show the rest"), "quiet", on_click=self._show_rest)
        self._edit = Button(theme, "", "icon", icon="edit", name=tr("Edit this message"),
                            on_click=lambda: self.edit_wanted.emit(self.place))
        self._remove = Button(theme, "", "icon", icon="trash", name=tr("Remove this turn"),
                              on_click=lambda: self.remove_wanted.emit(self.place))
        for button in (self._edit, self._remove):
            button.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # E and the bubble's own focus do that; the mouse finds them on hover
        self._tools = row(self._edit, self._remove, gap=0)
        self._head = fixed(row(self._who, "+", self._tools, gap=8), height=theme.px(24))
        self._field: Draft | None = None
        self._role: Choice | None = None
        self._foot: QWidget | None = None
        self._ground = Panel(self._head, self._text, self._more, kind="sunken", pad=(14, 6, 14, 8), gap=3)
        self._ground.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
        self._ground.setMaximumWidth(theme.px(WIDEST))
        self._left, self._right = QWidget(), QWidget()  # the room that a line of reading length leaves
        for side in (self._left, self._right):
            side.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
        row(self._left, (self._ground, 1), self._right, gap=0, host=self)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self._show_tools()

    # reading ----------------------------------------------------------------------------------------------------------

    def set(self, place: int, message: Message, *, raw: bool = False, find: str = "", removable: bool = True) -> None:
        self.place, self.message = place, message
        self.close_field()
        asks, aside = message.role == "user", message.role in ("system", "tool")
        self._who.set(role_words(message.role))
        kind = "note-info" if asks else "sunken"
        if self._ground.property("kind") != kind:
            self._ground.setProperty("kind", kind)
            repolish(self._ground)
        indent = self.theme.px(INDENT)
        show_if(self._left, asks)
        show_if(self._right, not asks)
        self._left.setMinimumWidth(indent if asks else 0)
        self._right.setMinimumWidth(0 if asks else indent)
        self._text.set(message.content or tr("(empty)"), raw=raw, find=find, tone="text2" if aside or not message.content else "")
        self._more.set_words(tr("Show the rest, {amount}", amount=self._text.more_words()))
        show_if(self._more, bool(self._text.cut))
        show_if(self._remove, removable)
        self.setAccessibleName(f"{role_words(message.role)}: {message.content[:2000]}")
        self.setAccessibleDescription(tr("Message. Enter edits it, Delete removes the turn."))

    def _show_rest(self) -> None:
        self._text.show_all()
        show_if(self._more, False)

    # editing ----------------------------------------------------------------------------------------------------------

    @property
    def draft(self) -> Message:
        """What stands in the field; the message itself where none is open."""
        if self._field is None or self._role is None:
            return self.message
        return Message(role=str(self._role.value()), content=self._field.toPlainText())

    @property
    def changed(self) -> bool:
        return self.editing and self.draft != self.message

    def edit(self, *, take_focus: bool = True) -> None:
        """Open the field."""
        if self._field is None:
            self._build_field()
        assert self._field is not None and self._role is not None and self._foot is not None
        self.editing = True
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # Tab goes from field to field
        self._role.set(self.message.role)
        self._field.setPlainText(self.message.content)
        self._field.setEnabled(True)
        for part in (self._role, self._field, self._foot):
            show_if(part, True)
        for part in (self._text, self._more, self._head):
            show_if(part, False)
        self._field._fit()
        if take_focus:
            self._field.setFocus(Qt.FocusReason.OtherFocusReason)
            cursor = self._field.textCursor()
            cursor.movePosition(cursor.MoveOperation.End)
            self._field.setTextCursor(cursor)

    def put(self, draft: Message) -> None:
        """What had been written in the field, and not saved."""
        assert self._field is not None and self._role is not None
        self._role.set(draft.role)
        self._field.setPlainText(draft.content)

    def saving(self, on: bool) -> None:
        """While it is on its way to the disk nothing can be changed."""
        if self._field is not None:
            self._field.setReadOnly(on)

    def close_field(self) -> None:
        if not self.editing:
            return
        self.editing = False
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        assert self._field is not None and self._role is not None and self._foot is not None
        self._field.setReadOnly(False)
        for part in (self._role, self._field, self._foot):
            show_if(part, False)
        for part in (self._text, self._head):
            show_if(part, True)
        show_if(self._more, bool(self._text.cut))
        self._show_tools()

    def _build_field(self) -> None:
        theme = self.theme
        self._field = Draft(theme, tr("Text of the message"))
        self._field.saved.connect(lambda: self.saved.emit(self.place))
        self._field.left.connect(lambda: self.left.emit(self.place))
        self._role = Choice(theme, [(r, role_words(r)) for r in ROLES], "user", name=tr("Who says it"))
        self._role.setFixedWidth(theme.px(140))
        save = Button(theme, tr("Save"), "primary", tip="Ctrl+Enter", on_click=lambda: self.saved.emit(self.place))
        cancel = Button(theme, tr("Leave as it was"), tip="Esc", on_click=lambda: self.left.emit(self.place))
        self._foot = row(save, cancel, small(tr("Ctrl+Enter saves")), "+", gap=8)
        box = self._ground.box
        for place, part in enumerate((self._role, self._field, self._foot)):
            box.insertWidget(place, part)
        self._foot.layout().setContentsMargins(0, 4, 0, 2)

    def hide_foot(self) -> None:
        """Several fields that are saved together have one button of their own."""
        if self._foot is not None:
            show_if(self._foot, False)

    # focus and mouse --------------------------------------------------------------------------------------------------

    def _show_tools(self) -> None:
        on = not self.editing and (self.underMouse() or self.hasFocus())
        for button in (self._edit, self._remove):
            button.setIconSize(QSize(self.theme.px(16), self.theme.px(16)) if on else QSize(0, 0))

    def event(self, event: QEvent) -> bool:
        made = super().event(event)
        if event.type() in (QEvent.Type.Enter, QEvent.Type.Leave, QEvent.Type.FocusIn, QEvent.Type.FocusOut):
            self._show_tools()
        if event.type() == QEvent.Type.ShortcutOverride and isinstance(event, QKeyEvent) and not self.editing and \
                event.key() in (Qt.Key.Key_Delete, Qt.Key.Key_Return, Qt.Key.Key_Enter):
            event.accept()  # Delete is the turn's, not the example's
            return True
        return made

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if self.editing:
            super().keyPressEvent(event)
        elif event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.edit_wanted.emit(self.place)
        elif event.key() == Qt.Key.Key_Delete and self._remove.isVisible():
            self.remove_wanted.emit(self.place)
        else:
            super().keyPressEvent(event)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        if not self.editing:
            self.edit_wanted.emit(self.place)

    def focusInEvent(self, event: QFocusEvent) -> None:
        self._ring = event.reason() in KEYBOARD
        super().focusInEvent(event)
        self.update()

    def focusOutEvent(self, event: QFocusEvent) -> None:
        super().focusOutEvent(event)
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        if self.hasFocus() and self._ring and not self.editing:
            painter = QPainter(self)
            draw_ring(painter, self._ground.geometry().adjusted(-3, -3, 3, 3).toRectF(), self.theme.colour("accent"), 8)
            painter.end()

