"""A list of what each key does, in which every action can be given another key; and a key as a cap."""

from collections.abc import Callable, Sequence

from PySide6.QtCore import QEvent, Qt
from PySide6.QtGui import QKeyEvent, QKeySequence
from PySide6.QtWidgets import QDialog, QWidget

from desktop.models.key_map import KeyMap
from desktop.theme.theme import Theme
from desktop.widgets.buttons import Button
from desktop.widgets.layout import clear, col, fixed, row
from desktop.widgets.text import Key, Text, small
from engine.contract.words import tr

ARROWS = {"Left": "left", "Right": "right", "Up": "uparrow", "Down": "downarrow"}
ALONE = (Qt.Key.Key_Shift, Qt.Key.Key_Control, Qt.Key.Key_Alt, Qt.Key.Key_Meta, Qt.Key.Key_AltGr, Qt.Key.Key_CapsLock)
ALWAYS = ("Ctrl+Z", "Ctrl+Shift+Z", "Ctrl+Y", "Tab", "Shift+Tab", "Return", "Enter", "F1")
"""Keys that mean the same everywhere."""
WIDE, LINE = 460, 30


def cap(theme: Theme, key: str) -> QWidget:
    """A key cap, or several for keys that are pressed together."""
    caps = [Key(theme, "" if part in ARROWS else part, icon=ARROWS.get(part, ""), name=part) for part in key.split("+") if part] or \
        [small(tr("none"), "text3")]
    return row(*caps, gap=3)


class KeyList(QDialog):
    """Every action with its key; a click on a key waits for another one. `changed()` is called after each change. Keys that are `taken`
    always mean the same and cannot be given."""

    def __init__(self, theme: Theme, keys: KeyMap, changed: Callable[[], object], parent: QWidget | None = None, *,
                 taken: Sequence[str] = ALWAYS) -> None:
        super().__init__(parent)
        self.theme, self._keys, self._changed, self._waits, self._taken = theme, keys, changed, "", tuple(taken)
        self.setWindowTitle(tr("Keys"))
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setFixedWidth(theme.px(WIDE))
        self._lines = col(gap=0)
        self._words = small(tr("Change a key: click on it, then press another."), wrap=True)
        self._reset = Button(theme, tr("As at the start"), on_click=self._to_start)
        self.done_button = Button(theme, tr("Close"), "primary", on_click=self.accept)
        col(Text(tr("Keys"), "title"), self._words, 6, self._lines, 8, row(self._reset, "+", self.done_button), gap=4,
            pad=(24, 18, 24, 18), host=self)
        self._show()
        self.done_button.setFocus()

    def _show(self) -> None:
        clear(self._lines.layout())
        self.buttons: dict[str, Button] = {}
        for action in self._keys.actions:
            key = self._keys.key(action.id)
            waits = self._waits == action.id
            button = Button(self.theme, tr("press a key …") if waits else key or tr("none"), "quiet",
                            name=tr("Key of: {action}", action=action.words), on_click=lambda id=action.id: self.wait_for(id))
            self.buttons[action.id] = button
            self._lines.layout().addWidget(fixed(row(Text(action.words), "+", button, gap=8), height=self.theme.px(LINE)))
        self._reset.setEnabled(self._keys.kept() is not None)

    def wait_for(self, id: str) -> None:
        """The next key that is pressed is this action's. Escape leaves it as it is, Backspace takes it away."""
        self._waits = id
        self._words.set(tr("Press the key. Escape leaves it as it was, Backspace takes it away."))
        self._show()
        self.buttons[id].setFocus()
        self.grabKeyboard()

    def _to_start(self) -> None:
        self._keys.reset()
        self._after(tr("All keys are as at the start."))

    def _after(self, words: str) -> None:
        self._waits = ""
        self.releaseKeyboard()
        self._words.set(words)
        self._show()
        self._changed()

    def event(self, event: QEvent) -> bool:
        if self._waits and isinstance(event, QKeyEvent) and event.type() in (QEvent.Type.ShortcutOverride, QEvent.Type.KeyPress):
            if event.type() == QEvent.Type.KeyPress:
                self._pressed(event)
            event.accept()
            return True
        return super().event(event)

    def _pressed(self, event: QKeyEvent) -> None:
        if event.key() in ALONE:
            return
        id, name = self._waits, self._keys.words(self._waits)
        if event.key() == Qt.Key.Key_Escape:
            self._after(tr("“{action}” keeps its key.", action=name))
            return
        if event.key() == Qt.Key.Key_Backspace:
            self._keys.put(id, "")
            self._after(tr("“{action}” has no key now.", action=name))
            return
        key = key_of(event)
        if key in self._taken or not key:
            self._words.set(tr("{key} always means the same here. Press another one.", key=key))
            return
        lost = self._keys.put(id, key)
        loser = self._keys.words(lost)
        self._after(tr("{key} now means “{action}”. “{other}” has none.", key=key, action=name, other=loser) if loser else
                    tr("{key} now means “{action}”.", key=key, action=name))

    def hideEvent(self, event: QEvent) -> None:  # type: ignore[override]
        self.releaseKeyboard()
        super().hideEvent(event)  # type: ignore[arg-type]


def key_of(event: QKeyEvent) -> str:
    """A pressed key as it is written. Signs that need Shift on some keyboards ("?", "/") are themselves."""
    text = event.text()
    if text and text.isprintable() and not text.isalnum() and not text.isspace():
        modifiers = event.modifiers() & ~(Qt.KeyboardModifier.ShiftModifier | Qt.KeyboardModifier.KeypadModifier)
    else:
        modifiers = event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier
    return QKeySequence(int(event.key()) | int(modifiers.value)).toString(QKeySequence.SequenceFormat.PortableText)
