"""Python's cyclic garbage collector, kept from holding the window and from threads.

A full collection walks every object alive: with numpy, pydantic and a few pages that is 30 to 130 ms, many times a frame. What a page is
made of lives as long as the page, so once it is built it is set aside for good; later collections walk only what came since.

Left to itself the collector runs in whatever thread happens to allocate. A widget that is part of a cycle would then be destroyed off the
window's thread, which crashes Qt sooner or later; so while there is a window, only its own thread collects.
"""

import gc

from PySide6.QtCore import QObject, QTimer

LOOK_MS = 200


def set_aside() -> None:
    """Everything alive now is not walked again. Cheap at any time: nothing is walked for it."""
    gc.freeze()


def collect_due() -> None:
    """Collect what the collector would have by its own counts."""
    young, middle, old = (count > most for count, most in zip(gc.get_count(), gc.get_threshold(), strict=True))
    if young:
        gc.collect(2 if middle and old else 1 if middle else 0)


class Collector(QObject):
    """From here until `close` garbage is collected on the thread that made this, a few times a second."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        gc.disable()
        self._timer = QTimer(self)
        self._timer.setInterval(LOOK_MS)
        self._timer.timeout.connect(collect_due)
        self._timer.start()

    def close(self) -> None:
        self._timer.stop()
        gc.enable()
