"""A badge: one or two words on a soft ground. Its tooltip says where the judgement comes from."""

from PySide6.QtWidgets import QLabel, QSizePolicy

from desktop.widgets.layout import show_if
from desktop.widgets.text import repolish


class Badge(QLabel):
    """`tone`: "" (outline), accent, ok, warn, danger."""

    def __init__(self, words: str = "", tone: str = "", why: str = "") -> None:
        super().__init__()
        self.setProperty("kind", "badge")
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.set(words, tone, why)

    def set(self, words: str, tone: str = "", why: str = "") -> None:
        """No words: hidden."""
        self.setText(words)
        show_if(self, bool(words))
        self.setToolTip(why)
        self.setAccessibleName(f"{words}. {why}" if why else words)
        if self.property("tone") != tone:
            self.setProperty("tone", tone)
            repolish(self)
