"""A process of the engine that answers many small questions in a row (the tokenizer lab): started at the first one, JSON lines both ways.

Of the same kind of question only the newest is answered: while a person types, answers to what stood there before are dropped.
"""

import json
from collections.abc import Callable
from typing import Any

from PySide6.QtCore import QObject, QProcess

from desktop.jobs.engine_process import engine_process
from engine.contract.errors import FledgeError
from engine.contract.words import tr
from engine.project import launch

Then = Callable[[dict[str, Any]], object]
Failed = Callable[[FledgeError], object]


class Bench(QObject):
    """`ask(question, given, then, failed)`. When the process dies, whoever waits is told, and the next question starts another."""

    def __init__(self, module: str, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._module = module
        self._process: QProcess | None = None
        self._number = 0
        self._waiting: dict[str, tuple[int, Then, Failed]] = {}
        self._sent = 0
        self._next: dict[str, tuple[int, dict[str, Any]]] = {}
        self._held = b""

    def ask(self, question: str, given: dict[str, Any], then: Then, failed: Failed) -> None:
        self._number += 1
        self._waiting[question] = (self._number, then, failed)
        self._next[question] = (self._number, given)
        self._send()

    def stop(self) -> None:
        self._waiting.clear()
        self._next.clear()
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
        """One question is under way at a time; newer ones of its kind replace the one that waits."""
        if self._sent or not self._next:
            return
        if self._process is None:
            self._start()
        question = next(iter(self._next))
        number, given = self._next.pop(question)
        self._sent = number
        assert self._process is not None
        self._process.write((json.dumps([number, question, given]) + "\n").encode())

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
            for question, (wanted, then, failed) in list(self._waiting.items()):
                if wanted == number:
                    del self._waiting[question]
                    if "error" in answer:
                        failed(FledgeError(str(answer["sentence"]), str(answer["remedy"]), code=str(answer["error"])))
                    else:
                        then(answer)
        self._send()

    def _died(self, code: int, status: QProcess.ExitStatus) -> None:
        assert self._process is not None
        said = bytes(self._process.readAllStandardError().data()).decode("utf-8", "replace").strip().splitlines()[-1:]
        self._gone(said[0] if said else tr("it ended"))

    def _broken(self, error: QProcess.ProcessError) -> None:
        if error == QProcess.ProcessError.FailedToStart and self._process is not None:
            self._gone(self._process.errorString())

    def _gone(self, why: str) -> None:
        assert self._process is not None
        self._process.deleteLater()
        self._process, self._sent = None, 0
        waiting, self._waiting = self._waiting, {}
        self._next.clear()
        for _, _, failed in waiting.values():
            failed(FledgeError(tr("The lab's process died: {why}.", why=why), tr("Change the text to try again."), code="bench"))
