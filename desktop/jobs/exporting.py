"""Something large is written out by a process of the engine: JSON lines {"done": n, "total": n} while it works, {"result": {..}} or
{"error": {"code", "sentence", "remedy"}} at its end. It ends with the window, leaving the target as it was."""

import json
from typing import Any

from PySide6.QtCore import QObject, QProcess, Signal

from desktop.jobs.engine_process import engine_process
from engine.contract.errors import FledgeError
from engine.contract.words import tr
from engine.project import launch


class Exporting(QObject):
    """One export at a time. `progressed(done, total)`, then `done(result)`, `failed(error)` or, after `cancel()`, `cancelled()`."""

    progressed = Signal(int, int)
    done = Signal(dict)
    failed = Signal(object)
    cancelled = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._process: QProcess | None = None
        self._said: dict[str, Any] = {}
        self._stopped = False

    @property
    def running(self) -> bool:
        return self._process is not None

    def start(self, module: str, *words: str) -> None:
        assert not self.running
        self._said, self._stopped = {}, False
        process = engine_process(self)
        process.readyReadStandardOutput.connect(self._read)
        process.finished.connect(self._finished)
        process.errorOccurred.connect(self._broken)
        self._process = process
        process.start(launch.interpreter(), ["-m", module, *words])

    def cancel(self) -> None:
        if self._process is not None:
            self._stopped = True
            self._process.terminate()

    def _read(self) -> None:
        assert self._process is not None
        while self._process.canReadLine():
            try:
                line = json.loads(bytes(self._process.readLine().data()))
            except ValueError:
                continue  # something printed by a library
            if isinstance(line, dict):
                self._said.update(line)
        if self._said.get("total") and "result" not in self._said:
            self.progressed.emit(int(self._said["done"]), int(self._said["total"]))

    def _broken(self, error: QProcess.ProcessError) -> None:
        if error == QProcess.ProcessError.FailedToStart and self._process is not None:
            words = self._process.errorString()
            self._end()
            self.failed.emit(FledgeError(tr("The engine could not be started: {why}.", why=words),
                                         tr("Check the engine's interpreter in the settings."), code="engine"))

    def _finished(self) -> None:
        if self._process is None:
            return
        self._read()
        words = bytes(self._process.readAllStandardError().data()).decode("utf-8", "replace").strip().splitlines()
        self._end()
        result, error = self._said.get("result"), self._said.get("error")
        if isinstance(result, dict):
            self.done.emit(result)
        elif self._stopped:
            self.cancelled.emit()
        elif isinstance(error, dict):
            self.failed.emit(FledgeError(str(error.get("sentence", "")), str(error.get("remedy", "")), code=str(error.get("code", ""))))
        else:
            self.failed.emit(FledgeError(tr("The work ended without a word."), words[-1] if words else tr("Try again."), code="export"))

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.deleteLater()
