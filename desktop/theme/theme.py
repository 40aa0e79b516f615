"""Theme: the colours, sizes, fonts and icons in force, and the signal that they changed. Passed in, never global.

Light, dark, or as the system is; text at 100, 125 or 150 %. Widgets that paint or hold pictures `follow` it; labels and panels are
dressed by the application's stylesheet and need nothing.
"""

from collections.abc import Callable

from PySide6.QtCore import QObject, Qt, QTimer, Signal, Slot
from PySide6.QtGui import QColor, QFont, QIcon, QPixmap
from PySide6.QtWidgets import QApplication

from desktop.theme import icons, style
from desktop.theme.palette import DARK, LIGHT, MONO, TYPE, Tokens

MODES = ("system", "light", "dark")
SCALES = (1.0, 1.25, 1.5)


class _Follower(QObject):
    """Calls `paint` as long as its parent lives; a connection to it ends with it."""

    def __init__(self, parent: QObject, paint: Callable[[], None]) -> None:
        super().__init__(parent)
        self._paint = paint

    @Slot()
    def go(self) -> None:
        self._paint()


class Theme(QObject):
    """`changed`: colours or sizes are new, repaint. `scale_changed`: text size is new, what measured itself must be built again."""

    changed = Signal()
    scale_changed = Signal()

    def __init__(self, app: QApplication, mode: str = "system", scale: float = 1.0) -> None:
        super().__init__()
        self._app = app
        self.mode, self.scale = mode, scale
        self.tokens: Tokens = LIGHT
        style.load_fonts()
        if app.style().objectName().lower() != "fusion":
            app.setStyle("Fusion")
        app.styleHints().colorSchemeChanged.connect(self._system_changed)
        self._dress()

    # what is in force -------------------------------------------------------------------------------------------------

    @property
    def is_dark(self) -> bool:
        return self.tokens is DARK

    def __getitem__(self, token: str) -> str:
        """A colour by its token, "#RRGGBB"."""
        return self.tokens[token]

    def colour(self, token: str) -> QColor:
        return QColor(self.tokens[token])

    def px(self, size: float) -> int:
        """A length of the design at the person's text size."""
        return round(size * self.scale)

    def font(self, role: str = "body") -> QFont:
        """The font of a role, for what is painted."""
        size, weight = TYPE[role]
        font = style.base_font()
        font.setPixelSize(self.px(size))
        font.setWeight(QFont.Weight(weight))
        if role == "mono":
            font.setFamily(MONO)
        return font

    def icon(self, name: str, tone: str = "text2", size: int = 16) -> QIcon:
        return icons.icon(name, self.tokens[tone], self.tokens["text3"], self.px(size))

    def pixmap(self, name: str, tone: str = "text2", size: int = 16, ratio: float = 1.0) -> QPixmap:
        return icons.pixmap(name, self.tokens[tone], self.px(size), ratio)

    # changing it ------------------------------------------------------------------------------------------------------

    def set_mode(self, mode: str) -> None:
        """"system", "light" or "dark"; everything on the screen follows at once."""
        assert mode in MODES, mode
        self.mode = mode
        if self._wanted() is not self.tokens:
            self._dress()

    def set_scale(self, scale: float) -> None:
        """The person's text size: 1.0, 1.25 or 1.5."""
        if scale != self.scale:
            self.scale = scale
            self._dress()
            self.scale_changed.emit()

    def follow(self, owner: QObject, paint: Callable[[], None]) -> None:
        """Call `paint` now and after each change, as long as `owner` lives."""
        self.changed.connect(_Follower(owner, paint).go)
        paint()

    def _wanted(self) -> Tokens:
        if self.mode == "system":
            return DARK if self._app.styleHints().colorScheme() == Qt.ColorScheme.Dark else LIGHT
        return DARK if self.mode == "dark" else LIGHT

    def _dress(self) -> None:
        self.tokens = self._wanted()
        sheet = style.sheet(self.tokens, self.scale)
        if self._app.styleSheet() != sheet:  # dressing is dear: every widget is polished anew
            self._app.setFont(style.base_font(self.scale))
            self._app.setPalette(style.palette(self.tokens))
            self._app.setStyleSheet(sheet)
        self.changed.emit()

    @Slot()
    def _system_changed(self) -> None:
        if self.mode == "system":
            QTimer.singleShot(0, self._follow_system)  # when the signal comes, the palette is still the old one

    @Slot()
    def _follow_system(self) -> None:
        if self.mode == "system" and self._wanted() is not self.tokens:
            self._dress()
