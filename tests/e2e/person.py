"""A person at the app's own window, for tests: sees what is on the screen, clicks on words and types."""

import time
from pathlib import Path

from PySide6.QtCore import QPoint, Qt, QTimer
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QAbstractButton, QApplication, QFileDialog, QLabel, QLineEdit, QPlainTextEdit, QWidget

from desktop.app import App


class Person:
    """Sees what is on the screen, clicks on words and types. Knows no page from inside."""

    def __init__(self, app: App) -> None:
        self.app = app

    def screen(self) -> list[QWidget]:
        """What can be reached: an open dialog alone, else the window."""
        modal = QApplication.activeModalWidget()
        return [modal] if modal is not None else [self.app.window]

    def find(self, kind: type[QWidget], words: str) -> QWidget | None:
        for root in self.screen():
            for found in root.findChildren(kind):
                said = found.text().strip().lstrip("&") if isinstance(found, QAbstractButton) else ""
                names = (said, said.partition(":")[0], found.accessibleName().split(",")[0])
                if found.isVisible() and found.isEnabled() and words in names:
                    return found
        return None

    def wait(self, what: str, until, seconds: float = 30.0):
        """Look again and again until it is there."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            QApplication.processEvents()
            found = until()
            if found:
                return found
            time.sleep(0.02)
        raise AssertionError(f"waited {seconds} s for {what}; on the screen: {self.words()}")

    def words(self) -> list[str]:
        buttons = [b for root in self.screen() for b in root.findChildren(QAbstractButton) if b.isVisible()]
        return [b.text().strip() or b.accessibleName() for b in buttons]

    def sees(self, words: str) -> bool:
        return any(label.isVisible() and words in label.text() for root in self.screen() for label in root.findChildren(QLabel))

    def click(self, words: str, seconds: float = 30.0) -> None:
        button = self.wait(f"the button {words!r}", lambda: self.find(QAbstractButton, words), seconds)
        QTest.mouseClick(button, Qt.MouseButton.LeftButton, pos=QPoint(button.width() // 2, button.height() // 2))

    def type_into(self, name: str, text: str) -> None:
        field = self.wait(f"the field {name!r}", lambda: self.find(QLineEdit, name) or self.find(QPlainTextEdit, name))
        QTest.mouseClick(field if isinstance(field, QLineEdit) else field.viewport(), Qt.MouseButton.LeftButton)
        QTest.keyClick(field, Qt.Key.Key_A, Qt.KeyboardModifier.ControlModifier)
        QTest.keyClicks(field, text)
        QTest.keyClick(field, Qt.Key.Key_Tab)

    def choose_file(self, words: str, path: Path) -> None:
        """Click a button that opens a file dialog, type the name, Enter."""
        def answer() -> None:
            dialog = QApplication.activeModalWidget()
            if not isinstance(dialog, QFileDialog):
                return
            field = dialog.findChild(QLineEdit)
            if field is not None and field.isVisible():
                QTest.keyClick(field, Qt.Key.Key_A, Qt.KeyboardModifier.ControlModifier)
                QTest.keyClicks(field, str(path))
                QTest.keyClick(field, Qt.Key.Key_Return)
        ask = QTimer()  # looks again while the dialog is open: it fills itself in its own time
        ask.setInterval(300)
        ask.timeout.connect(answer)
        ask.start()
        self.click(words)
        ask.stop()

    def press(self, key: Qt.Key, keys: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier) -> None:
        QTest.keyClick(QApplication.focusWidget() or self.app.window, key, keys)
