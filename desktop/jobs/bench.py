"""A process of the engine that answers many small questions in a row (the tokenizer lab, the document browser): started at the first one,
JSON lines both ways.

Of the questions with the same key only the newest is answered: while a person types or scrolls, answers to what stood there before are
dropped. One question is under way at a time; of those that wait the newest goes first.
"""

import json
from collections.abc import Callable
from typing import Any

from PySide6.QtCore import QObject, QProcess, QTimer

from desktop.jobs.engine_process import engine_process
from engine.contract.errors import FledgeError
from engine.contract.words import tr
from engine.project import launch

Then = Callable[[dict[str, Any]], object]
Failed = Callable[[FledgeError], object]


class Bench(QObject):
    """`ask(question, given, then, failed)`. When the process dies, whoever waits is told, and the next question starts another.

    `retry` is the remedy told then. With `limit` (seconds) a question that takes longer ends the process, and is told as that.
    """

    def __init__(self, module: str, parent: QObject | None = None, *, retry: str = "", limit: float = 0.0) -> None:
        super().__init__(parent)
        self._module = module
        self._retry = retry or tr("Change the text to try again.")
        self._process: QProcess | None = None
        self._number = 0
        self._waiting: dict[str, tuple[int, Then, Failed]] = {}
        self._sent = 0
        self._next: dict[str, tuple[int, str, dict[str, Any]]] = {}
        self._held = b""
        self._limit = QTimer(self)
        self._limit.setSingleShot(True)
        self._limit.setInterval(int(limit * 1000))
        self._limit.timeout.connect(self._too_long)

    @property
    def busy(self) -> bool:
        """Whether somebody waits for an answer."""
        return bool(self._waiting)

    def ask(self, question: str, given: dict[str, Any], then: Then, failed: Failed, *, key: str = "") -> None:
        """`key` (the question's name without one): a newer question with the same key voids this one."""
        key = key or question
        self._number += 1
        self._waiting[key] = (self._number, then, failed)
        self._next.pop(key, None)
        self._next[key] = (self._number, question, given)
        self._send()

    def forget(self, key: str) -> None:
        """Nobody wants this answer any more."""
        self._waiting.pop(key, None)
        self._next.pop(key, None)

    def stop(self) -> None:
        self._waiting.clear()
        self._next.clear()
        self._limit.stop()
        if self._process is not None:
            process, self._process = self._process, None
            process.readyReadStandardOutput.disconnect(self._read)
            process.finished.disconnect(self._died)
            process.errorOccurred.disconnect(self._broken)
            process.kill()
            process.waitForFinished(1000)  # a killed process is gone in milliseconds
            process.deleteLater()
        self._sent = 0

    def _send(self) -> None:
        """One question is under way at a time; of those that wait the newest is next."""
        if self._sent or not self._next:
            return
        if self._process is None:
            self._start()
        number, question, given = self._next.pop(next(reversed(self._next)))
        self._sent = number
        assert self._process is not None
        self._process.write((json.dumps([number, question, given]) + "\n").encode())
        if self._limit.interval():
            self._limit.start()

    def _start(self) -> None:
        process = engine_process(self)
        process.readyReadStandardOutput.connect(self._read)
        process.finished.connect(self._died)
        process.errorOccurred.connect(self._broken)
        self._process, self._held, self._sent = process, b"", 0
        process.start(launch.interpreter(), ["-m", self._module, "serve"])

    def _read(self) -> None:
        assert self._process is not None
        self._held += bytes(self._process.readAllStandardOutput().data())
        *lines, self._held = self._held.split(b"\n")
        for line in lines:
            number, answer = json.loads(line)
            self._sent = 0
            self._limit.stop()
            for key, (wanted, then, failed) in list(self._waiting.items()):
                if wanted == number:
                    del self._waiting[key]
                    if "error" in answer:
                        failed(FledgeError(str(answer["sentence"]), str(answer["remedy"]), code=str(answer["error"])))
                    else:
                        then(answer)
        self._send()

    def _died(self, code: int, status: QProcess.ExitStatus) -> None:
        assert self._process is not None
        said = bytes(self._process.readAllStandardError().data()).decode("utf-8", "replace").strip().splitlines()[-1:]
        self._gone(tr("The process that answers died: {why}.", why=said[0] if said else tr("it ended")))

    def _broken(self, error: QProcess.ProcessError) -> None:
        if error == QProcess.ProcessError.FailedToStart and self._process is not None:
            self._gone(tr("The process that answers could not be started: {why}.", why=self._process.errorString()))

    def _too_long(self) -> None:
        assert self._process is not None
        process = self._process
        process.readyReadStandardOutput.disconnect(self._read)
        process.finished.disconnect(self._died)
        process.errorOccurred.disconnect(self._broken)
        process.kill()
        process.waitForFinished(1000)
        self._gone(tr("The answer took too long and was given up."))

    def _gone(self, sentence: str) -> None:
        assert self._process is not None
        self._limit.stop()
        self._process.deleteLater()
        self._process, self._sent = None, 0
        waiting, self._waiting = self._waiting, {}
        self._next.clear()
        for _, _, failed in waiting.values():
            failed(FledgeError(sentence, self._retry, code="bench"))
