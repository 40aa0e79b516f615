"""A person at the app's own window, for tests: sees what is on the screen, clicks on words and types."""

import time
from pathlib import Path

from PySide6.QtCore import QPoint, Qt, QTimer
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QAbstractButton, QApplication, QFileDialog, QLabel, QLineEdit, QPlainTextEdit, QTableView, QWidget

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

    def rows(self, table: str) -> list[list[str]]:
        """What the cells of a table say, line by line; none while it is not on the screen."""
        found = self.find(QTableView, table)
        if not isinstance(found, QTableView):
            return []
        model = found.model()
        return [[str(model.index(i, j).data() or "") for j in range(model.columnCount())] for i in range(model.rowCount())]

    def choose(self, table: str, words: str, column: int = 0) -> None:
        """Click on the line of a table in which these words stand."""
        def place() -> int:
            """Counted from 1: 0 is not there yet."""
            return next((i for i, row in enumerate(self.rows(table), 1) if words in [cell.partition(", ")[0] for cell in row]), 0)
        line = self.wait(f"{words!r} in {table!r}", place) - 1
        found = self.find(QTableView, table)
        assert isinstance(found, QTableView)
        cell = found.model().index(line, column)
        found.scrollTo(cell)
        QTest.mouseClick(found.viewport(), Qt.MouseButton.LeftButton, pos=found.visualRect(cell).center())

    def write(self, name: str, *lines: str) -> QPlainTextEdit:
        """Type lines into a text as one does: Enter at the end of each, Backspace until it is as far in as it should be."""
        field = self.wait(f"the text {name!r}", lambda: self.find(QPlainTextEdit, name))
        self.front()
        QTest.mouseClick(field.viewport(), Qt.MouseButton.LeftButton)
        QTest.keyClick(field, Qt.Key.Key_A, Qt.KeyboardModifier.ControlModifier)
        QTest.keyClick(field, Qt.Key.Key_Delete)
        for i, line in enumerate(lines):
            if i:
                QTest.keyClick(field, Qt.Key.Key_Escape)  # a list of names that is open would take the Enter
                QTest.keyClick(field, Qt.Key.Key_Return)
            wanted = len(line) - len(line.lstrip(" "))
            while wanted < (there := field.textCursor().positionInBlock()):
                QTest.keyClick(field, Qt.Key.Key_Backspace)
            QTest.keyClicks(field, " " * (wanted - there) + line.strip())
        return field

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

    def front(self) -> None:
        """After a dialog the window is the active one again: where there is no window manager, nobody else sees to that."""
        if QApplication.activeWindow() is None:
            self.screen()[0].activateWindow()
            QApplication.processEvents()

    def press(self, key: Qt.Key, keys: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier) -> None:
        self.front()
        QTest.keyClick(QApplication.focusWidget() or self.app.window, key, keys)
