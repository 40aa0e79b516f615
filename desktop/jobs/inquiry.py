"""Asks a module of the engine a question in a process of its own: JSON in, JSON out, limited in time. It cannot stop the window."""

import json
from collections.abc import Callable
from typing import Any

from PySide6.QtCore import QObject, QProcess, QTimer

from desktop.jobs.engine_process import engine_process
from engine.contract.errors import FledgeError
from engine.contract.words import tr
from engine.project import launch

LIMIT_SECONDS = 60.0


class Inquiry(QObject):
    """`ask(module, question, given, then, failed)`; a new question voids an old one (its process is killed, its answer never comes)."""

    def __init__(self, parent: QObject | None = None, limit: float = LIMIT_SECONDS) -> None:
        super().__init__(parent)
        self._limit = QTimer(self)
        self._limit.setSingleShot(True)
        self._limit.setInterval(int(limit * 1000))
        self._limit.timeout.connect(self._too_long)
        self._process: QProcess | None = None
        self._then: Callable[[dict[str, Any]], object] = lambda answer: None
        self._failed: Callable[[FledgeError], object] = lambda wrong: None

    @property
    def busy(self) -> bool:
        return self._process is not None

    def ask(self, module: str, question: str, given: dict[str, Any], then: Callable[[dict[str, Any]], object],
            failed: Callable[[FledgeError], object], *options: str) -> None:
        """`options` are further arguments of the module."""
        self.stop()
        self._then, self._failed = then, failed
        process = engine_process(self)
        process.finished.connect(self._finished)
        process.errorOccurred.connect(self._broken)
        self._process = process
        process.start(launch.interpreter(), ["-m", module, question, *options])
        process.write(json.dumps(given).encode())  # not as an argument: a thousand files are too long for one
        process.closeWriteChannel()
        self._limit.start()

    def stop(self) -> None:
        """Forget the question under way."""
        self._limit.stop()
        if self._process is not None:
            process, self._process = self._process, None
            process.finished.disconnect(self._finished)
            process.errorOccurred.disconnect(self._broken)
            process.kill()
            process.waitForFinished(1000)  # a killed process is gone in milliseconds
            process.deleteLater()

    def _take(self) -> QProcess:
        assert self._process is not None
        process, self._process = self._process, None
        self._limit.stop()
        process.deleteLater()
        return process

    def _finished(self, code: int, status: QProcess.ExitStatus) -> None:
        process = self._take()
        said = bytes(process.readAllStandardOutput().data()).decode("utf-8", "replace").strip()
        try:
            answer = json.loads(said.splitlines()[-1])
        except (ValueError, IndexError):
            words = bytes(process.readAllStandardError().data()).decode("utf-8", "replace").strip().splitlines()[-1:]
            self._failed(FledgeError(tr("The files could not be looked at: {why}.", why=words[0] if words else tr("the reader died")),
                                     tr("Leave out the last one added, and try again."), code="reader_died"))
            return
        error = answer.get("error") if isinstance(answer, dict) else None
        if isinstance(error, dict):  # the form of modules that measure
            self._failed(FledgeError(str(error["sentence"]), str(error["remedy"]), code=str(error["code"]),
                                     field=str(error.get("field", ""))))
        elif error is not None:
            self._failed(FledgeError(str(answer["sentence"]), str(answer["remedy"]), code=str(error)))
        else:
            self._then(answer)

    def _broken(self, error: QProcess.ProcessError) -> None:
        if error == QProcess.ProcessError.FailedToStart:
            process = self._take()
            self._failed(FledgeError(tr("The engine could not be started: {why}.", why=process.errorString()),
                                     tr("Check the engine's interpreter in the settings."), code="engine"))

    def _too_long(self) -> None:
        self.stop()
        self._failed(FledgeError(tr("Looking at these files took too long and was stopped."),
                                 tr("Leave out the last one added, or import fewer files at once."), code="too_long"))
