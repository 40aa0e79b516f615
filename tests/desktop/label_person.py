"""A person who labels by keyboard, as a process that can be killed: `python -m tests.desktop.label_person PROJECT SET SEED`.

Opens the real window on the project, goes to labelling and presses keys as fast as cards come, sometimes faster. After each card that a key
brought it prints "seen"; "done" when nothing is left. Screen as QT_QPA_PLATFORM says.
"""

import random
import sys
import time
from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication

KEYS = (Qt.Key.Key_Left, Qt.Key.Key_Right, Qt.Key.Key_Up, Qt.Key.Key_Down)
STRENGTHS = (Qt.Key.Key_1, Qt.Key.Key_2, Qt.Key.Key_3)
WAIT = 60.0


def main(words: list[str]) -> int:
    project, chosen, draw = Path(words[0]), words[1], random.Random(int(words[2]))
    from desktop.app import build
    app = build()
    app.context.probe.ask = lambda measure=False: None  # type: ignore[method-assign]
    app.context.open_project(project)
    app.window.resize(1280, 800)
    app.window.show()
    app.window.show_page("preference", {"set": chosen})
    desk = app.window.pages["preference"].label.desk

    def wait(until) -> None:
        end = time.monotonic() + WAIT
        while not until():
            assert time.monotonic() < end, "no card came"
            app.qt.processEvents()
            time.sleep(0.001)
    wait(lambda: desk.now is not None or desk.over)
    print("seen", flush=True)
    while not desk.over:
        card = desk.now
        host = QApplication.focusWidget() or app.window.pages["preference"].label.card
        for _ in range(draw.choice((1, 1, 1, 3))):  # faster than cards come: keys wait for theirs
            if draw.random() < 0.3:
                QTest.keyClick(host, draw.choice(STRENGTHS))
            QTest.keyClick(host, draw.choice(KEYS))
        if draw.random() < 0.1:
            wait(lambda card=card: desk.now is not card)
            QTest.keyClick(host, Qt.Key.Key_U)
        wait(lambda card=card: desk.now is not card and not desk.busy)
        print("seen", flush=True)
    print("done", flush=True)
    app.window.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
