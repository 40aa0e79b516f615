"""Labels by role and tone, the small icon beside them, key caps. Text is plain unless `rich=True`: what a model wrote is no markup."""

from html import escape

from PySide6.QtCore import QEvent, QSize, Qt
from PySide6.QtGui import QFontMetrics, QResizeEvent
from PySide6.QtWidgets import QLabel, QSizePolicy, QWidget

from desktop.theme.theme import Theme


def repolish(widget: QWidget) -> None:
    """Let the stylesheet look at changed properties."""
    widget.style().unpolish(widget)
    widget.style().polish(widget)
    widget.update()


class Text(QLabel):
    """`role`: hero title section strong medium body read small small_strong mono. `tone`: "" or a name of palette.TONES.

    `wrap` breaks lines at the width it gets, and asks for the height this needs. `elide` cuts one line with an ellipsis, the whole in the
    tooltip. `lead` is a line height in percent (for reading text). `width` fixes the width in logical pixels.
    """

    def __init__(self, words: str = "", role: str = "body", tone: str = "", *, wrap: bool = False, elide: bool = False, rich: bool = False,
                 lead: int = 0, width: int | None = None, select: bool = False, align: Qt.AlignmentFlag | None = None) -> None:
        super().__init__()
        self._rich, self._lead, self._elide, self._words = rich, lead, elide, ""
        self.setProperty("role", role)
        self.setProperty("tone", tone)
        self.setTextFormat(Qt.TextFormat.RichText if rich or lead else Qt.TextFormat.PlainText)
        if align is not None:
            self.setAlignment(align | Qt.AlignmentFlag.AlignVCenter)
        if wrap or lead:
            self.setWordWrap(True)
            policy = QSizePolicy(QSizePolicy.Policy.Preferred if width else QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
            policy.setHeightForWidth(True)
            self.setSizePolicy(policy)
        if elide:
            self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        if width is not None:
            self.setFixedWidth(width)
        if select:
            self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse | Qt.TextInteractionFlag.TextSelectableByKeyboard)
        self.set(words)

    def set(self, words: str) -> None:
        """New words, in the form chosen at the start."""
        if words == self._words and self.text():
            return
        self._words = words
        if self._elide:
            self._fit()
            self.updateGeometry()
        elif self._lead:
            body = words if self._rich else escape(words).replace("\n", "<br>")
            self.setText(f'<div style="line-height:{self._lead}%">{body}</div>')
        else:
            self.setText(words)
        self.setAccessibleName(words if not self._rich else "")

    def words(self) -> str:
        return self._words

    def set_tone(self, tone: str) -> None:
        if self.property("tone") != tone:
            self.setProperty("tone", tone)
            repolish(self)

    def set_role(self, role: str) -> None:
        if self.property("role") != role:
            self.setProperty("role", role)
            repolish(self)

    def _fit(self) -> None:
        self.ensurePolished()
        shown = QFontMetrics(self.font()).elidedText(self._words, Qt.TextElideMode.ElideRight, max(0, self.width()))
        if shown != self.text():
            super().setText(shown)
        self.setToolTip(self._words if shown != self._words else "")

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if self._elide:
            self._fit()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if self._elide and event.type() in (QEvent.Type.FontChange, QEvent.Type.StyleChange):
            self._fit()

    def sizeHint(self) -> QSize:
        if not self._elide:
            return super().sizeHint()
        self.ensurePolished()
        metrics = QFontMetrics(self.font())
        return QSize(metrics.horizontalAdvance(self._words) + 2, metrics.height())

    def minimumSizeHint(self) -> QSize:
        if not self._elide:
            return super().minimumSizeHint()
        self.ensurePolished()
        return QSize(24, QFontMetrics(self.font()).height())


def small(words: str = "", tone: str = "text2", **more) -> Text:
    """Help, units, axis words: the smallest text there is."""
    return Text(words, "small", tone, **more)


class Icon(QLabel):
    """One tinted icon that follows the theme. Decoration: screen readers skip it, the words beside it say the same."""

    def __init__(self, theme: Theme, name: str, tone: str = "text2", size: int = 16) -> None:
        super().__init__()
        self._theme, self._name, self._tone, self._size = theme, name, tone, size
        self.setFixedSize(theme.px(size), theme.px(size))
        theme.follow(self, self._draw)

    def set(self, name: str, tone: str = "text2") -> None:
        if (name, tone) != (self._name, self._tone):
            self._name, self._tone = name, tone
            self._draw()

    def _draw(self) -> None:
        self.setPixmap(self._theme.pixmap(self._name, self._tone, self._size, self.devicePixelRatioF()))


class Key(QLabel):
    """A key cap: one key, in words or as an arrow icon."""

    def __init__(self, theme: Theme, words: str = "", icon: str = "", name: str = "") -> None:
        super().__init__(words)
        self.setProperty("kind", "key")
        self.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.setAccessibleName(name or words)
        if icon:
            theme.follow(self, lambda: self.setPixmap(theme.pixmap(icon, "text2", 12, self.devicePixelRatioF())))
