"""Icons: small SVG files in resources/icons, drawn with `currentColor` and tinted here. No theme: a name and a colour in, a picture out."""

from functools import lru_cache
from pathlib import Path

from PySide6.QtCore import QByteArray, Qt
from PySide6.QtGui import QIcon, QPainter, QPixmap
from PySide6.QtSvg import QSvgRenderer

FOLDER = Path(__file__).resolve().parents[2] / "resources" / "icons"


@lru_cache(maxsize=256)
def source(name: str) -> str:
    """The SVG text of an icon; a name without a file is our mistake."""
    path = FOLDER / f"{name}.svg"
    assert path.is_file(), f"no icon called {name}"
    return path.read_text("utf-8")


def names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.svg"))


def pixmap(name: str, colour: str, size: int = 16, ratio: float = 1.0) -> QPixmap:
    """The icon in one colour ("#RRGGBB"), `size` logical pixels wide, sharp at the device pixel ratio `ratio`."""
    image = QPixmap(round(size * ratio), round(size * ratio))
    image.fill(Qt.GlobalColor.transparent)
    painter = QPainter(image)
    QSvgRenderer(QByteArray(source(name).replace("currentColor", colour).encode())).render(painter)
    painter.end()
    image.setDevicePixelRatio(ratio)
    return image


def icon(name: str, colour: str, disabled: str = "", size: int = 16) -> QIcon:
    """A QIcon at 1x, 1.5x, 2x and 3x; `disabled` is its colour on a control that cannot be used."""
    made = QIcon()
    for ratio in (1.0, 1.5, 2.0, 3.0):
        made.addPixmap(pixmap(name, colour, size, ratio))
        if disabled:
            made.addPixmap(pixmap(name, disabled, size, ratio), QIcon.Mode.Disabled)
    return made
