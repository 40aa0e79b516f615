"""The engine's process that judges for the workbench (engine/verifiers/desk.py), and the one that samples for it (stages/grpo/trial.py).
Both belong to the window and end with it; nothing here waits.

Lines are read a few milliseconds at a time, so that a long answer never holds the window. When the process of the desk dies it is started
once more with what was asked of it; when it dies again over the same, whoever waits is told.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, QProcess, QTimer, Signal

from desktop.jobs.engine_process import engine_process
from engine.contract.errors import FledgeError, MachineError
from engine.contract.words import tr
from engine.project import launch

DESK_MODULE = "engine.verifiers.desk"
TRIAL_MODULE = "engine.stages.grpo.trial"
SLICE_SECONDS = 0.008
Then = Callable[[dict[str, Any]], object]
Failed = Callable[[FledgeError], object]


@dataclass
class _Question:
    """`deaths`: how often the process died while this was under way."""

    line: bytes
    then: Then
    failed: Failed
    part: Then | None
    deaths: int = 0


class VerifierDesk(QObject):
    """`ask(do, given, then, failed, part)` gives a token; `cancel(token)`: nobody waits any more, and the engine stops working on it. What
    is asked in which form stands in engine/verifiers/desk.py. `part` takes what comes before the answer."""

    def __init__(self, project_dir: Path, parent: QObject | None = None, module: str = DESK_MODULE) -> None:
        super().__init__(parent)
        self._dir, self._module = project_dir, module
        self._process: QProcess | None = None
        self._open: dict[int, _Question] = {}
        self._token = 0
        self._held = b""
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.timeout.connect(self._read)

    @property
    def busy(self) -> bool:
        return bool(self._open)

    def ask(self, do: str, given: dict[str, Any], then: Then, failed: Failed, part: Then | None = None) -> int:
        self._token += 1
        line = json.dumps({**given, "id": self._token, "do": do}).encode() + b"\n"
        self._open[self._token] = _Question(line, then, failed, part)
        if self._process is None:
            self._start()
        else:
            self._process.write(line)
        return self._token

    def cancel(self, token: int) -> None:
        """No answer comes. Tokens that are over or 0 do nothing."""
        if self._open.pop(token, None) is not None and self._process is not None:
            self._process.write(json.dumps({"id": 0, "do": "cancel", "token": token}).encode() + b"\n")

    def stop(self) -> None:
        """The process ends; who waits hears nothing. The next question starts another."""
        self._open.clear()
        self._let_go()

    def _start(self) -> None:
        process = engine_process(self)
        process.readyReadStandardOutput.connect(self._read)
        process.finished.connect(self._died)
        process.errorOccurred.connect(self._broken)
        self._process, self._held = process, b""
        process.start(launch.interpreter(), ["-m", self._module, str(self._dir)])
        for question in self._open.values():
            process.write(question.line)

    def _read(self) -> None:
        """Whole lines, for some milliseconds; the rest in the next turn."""
        until = time.perf_counter() + SLICE_SECONDS
        while self._process is not None and self._process.canReadLine():
            self._take(bytes(self._process.readLine().data()))
            if time.perf_counter() > until:
                self._later.start(0)
                return

    def _take(self, line: bytes) -> None:
        try:
            said = json.loads(line)
            token = said["id"]
        except (ValueError, KeyError, TypeError):
            return  # something printed by a library
        question = self._open.get(token)
        if question is None:
            return
        if "part" in said:
            if question.part is not None:
                question.part(said["part"])
            return
        del self._open[token]
        if "error" in said:
            question.failed(error_of(said["error"]))
        else:
            question.then(said)

    def _died(self) -> None:
        process = self._process
        if process is None:
            return
        while process.canReadLine():
            self._take(bytes(process.readLine().data()))
        words = bytes(process.readAllStandardError().data()).decode("utf-8", "replace").strip().splitlines()[-1:]
        self._gone(words[0] if words else tr("it ended"))

    def _broken(self, error: QProcess.ProcessError) -> None:
        if error == QProcess.ProcessError.FailedToStart and self._process is not None:
            for question in self._open.values():
                question.deaths = 1
            self._gone(self._process.errorString())

    def _gone(self, why: str) -> None:
        """Start again for those who have not seen it die yet; tell the others."""
        self._let_go()
        lost = [token for token, question in self._open.items() if question.deaths]
        for question in self._open.values():
            question.deaths += 1
        told = [self._open.pop(token) for token in lost]
        if self._open:
            self._start()
        for question in told:
            question.failed(MachineError(tr("The process that judges died: {why}.", why=why), tr("Try again."), code="desk_died"))

    def _let_go(self) -> None:
        process, self._process = self._process, None
        self._later.stop()
        if process is None:
            return
        process.readyReadStandardOutput.disconnect(self._read)
        process.finished.disconnect(self._died)
        process.errorOccurred.disconnect(self._broken)
        end(process)


class TrialProcess(QObject):
    """Samples one trial at a time: `start(project_dir, key, device)` after engine/project/trials.prepare. `progressed(facts)` (groups, of,
    tokens, seconds), then exactly one of `done(facts)`, `failed(error)` and `stopped()`. What was sampled stays when it is stopped."""

    progressed, done = Signal(dict), Signal(dict)
    failed = Signal(object)
    stopped = Signal()

    def __init__(self, parent: QObject | None = None, module: str = TRIAL_MODULE) -> None:
        super().__init__(parent)
        self._module = module
        self._process: QProcess | None = None
        self._said: dict[str, Any] = {}
        self._asked = False

    @property
    def running(self) -> bool:
        return self._process is not None

    def start(self, project_dir: Path, key: str, device: str = "auto") -> None:
        assert not self.running
        self._said, self._asked = {}, False
        process = engine_process(self)
        process.readyReadStandardOutput.connect(self._read)
        process.finished.connect(self._finished)
        process.errorOccurred.connect(self._broken)
        self._process = process
        process.start(launch.interpreter(), ["-m", self._module, str(project_dir), "--key", key, "--device", device, "--with-input"])

    def stop(self) -> None:
        """`stopped` follows."""
        if self._process is not None and not self._asked:
            self._asked = True
            self._process.kill()  # every group that was told is on the disk

    def close(self) -> None:
        """The window goes; nothing is told."""
        process, self._process = self._process, None
        if process is not None:
            process.readyReadStandardOutput.disconnect(self._read)
            process.finished.disconnect(self._finished)
            process.errorOccurred.disconnect(self._broken)
            end(process)

    def _read(self) -> None:
        while self._process is not None and self._process.canReadLine():
            try:
                said = json.loads(bytes(self._process.readLine().data()))
            except ValueError:
                continue  # something printed by a library
            if isinstance(said, dict):
                if "groups" in said:
                    self.progressed.emit(said)
                else:
                    self._said = said

    def _broken(self, error: QProcess.ProcessError) -> None:
        if error == QProcess.ProcessError.FailedToStart and self._process is not None:
            why = self._process.errorString()
            self._let_go()
            self.failed.emit(MachineError(tr("The engine could not be started: {why}.", why=why),
                                          tr("Check the engine's interpreter in the settings.")))

    def _finished(self) -> None:
        if self._process is None:
            return
        self._read()
        words = bytes(self._process.readAllStandardError().data()).decode("utf-8", "replace").strip().splitlines()
        self._let_go()
        if "done" in self._said:
            self.done.emit(self._said["done"])
        elif self._asked:
            self.stopped.emit()
        elif "error" in self._said:
            self.failed.emit(error_of(self._said["error"]))
        else:
            self.failed.emit(MachineError(tr("Sampling ended without a word, most likely for want of memory."),
                                          words[-1] if words else tr("Choose a smaller model, or fewer answers.")))

    def _let_go(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.deleteLater()


def error_of(said: dict[str, Any]) -> FledgeError:
    return FledgeError(str(said.get("sentence", "")), str(said.get("remedy", "")), code=str(said.get("code", "error")),
                       field=str(said.get("field", "")))


def end(process: QProcess) -> None:
    """A killed process is gone in milliseconds; what it started ends with it."""
    process.kill()
    process.waitForFinished(1000)
    process.deleteLater()
