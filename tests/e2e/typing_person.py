"""A person who types into the editor of verifiers, as a process that can be killed: `python -m tests.e2e.typing_person PROJECT`.

Types a comment at the top of the first verifier, letter by letter, and prints after each what it has typed so far.
"""

import sys
import time
from pathlib import Path

from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QPlainTextEdit, QWidget

from tests.e2e.person import Person

LETTERS = "# what comes to mind while sums are thought about " * 100


def main(words: list[str]) -> None:
    from desktop.app import build
    app = build()
    app.context.probe.ask = lambda measure=False: None  # type: ignore[method-assign]
    app.context.open_project(Path(words[0]))
    app.show()
    person = Person(app)
    person.click("Verifiers")

    def source() -> QWidget | None:
        found = person.find(QPlainTextEdit, "Source of the verifier")
        return found if isinstance(found, QPlainTextEdit) and found.toPlainText() else None
    field = person.wait("the source", source)
    for place, letter in enumerate(LETTERS, 1):
        QTest.keyClicks(field, letter)
        print(LETTERS[:place], flush=True)
        until = time.monotonic() + 0.02
        while time.monotonic() < until:
            QApplication.processEvents()
            time.sleep(0.001)


if __name__ == "__main__":
    main(sys.argv[1:])
