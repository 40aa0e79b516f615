"""The measured fit, from the window: a short process of the engine takes a few real steps and says what they took. Can be cancelled.

The process belongs to the window (unlike a run): it ends with it. It gets the spec on its standard input and answers with JSON lines:
{"phase": words} while it works, and at the end {"result": {...}} or {"error": {"sentence", "remedy"}}.
"""

import json
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, QProcess, QProcessEnvironment, Signal

from engine.contract.errors import FledgeError, MachineError
from engine.contract.words import tr
from engine.project import launch

MODULE = "engine.stages.pretrain.measure"


class Measuring(QObject):
    """One measurement at a time. `done(key, result)`, `failed(error)`, `phase(words)`; `running_changed(bool)`."""

    done = Signal(str, dict)
    failed = Signal(object)
    phase = Signal(str)
    running_changed = Signal(bool)

    def __init__(self, parent: QObject | None = None, module: str = MODULE) -> None:
        super().__init__(parent)
        self.key = ""
        self._module = module
        self._said: dict[str, Any] = {}
        self._cancelled = False
        self._process: QProcess | None = None

    @property
    def running(self) -> bool:
        return self._process is not None

    def start(self, project_dir: Path, spec: dict[str, Any], device: str, key: str) -> None:
        """Measure these settings. `key` comes back with the result, so that a late answer is not taken for other settings."""
        if self.running:
            return
        self.key, self._said, self._cancelled = key, {}, False
        process = QProcess(self)
        environment = QProcessEnvironment()
        for name, value in launch.environment().items():
            environment.insert(name, value)
        process.setProcessEnvironment(environment)
        process.setWorkingDirectory(str(launch.source_root()))
        process.readyReadStandardOutput.connect(self._read)
        process.finished.connect(self._finished)
        process.errorOccurred.connect(self._broken)
        self._process = process
        process.start(launch.interpreter(), ["-m", self._module, str(project_dir), "--device", device])
        process.write(json.dumps(spec).encode())
        process.closeWriteChannel()
        self.running_changed.emit(True)

    def cancel(self) -> None:
        if self._process is not None:
            self._cancelled = True
            self._process.kill()

    def _read(self) -> None:
        assert self._process is not None
        while self._process.canReadLine():
            try:
                line = json.loads(bytes(self._process.readLine().data()))
            except ValueError:
                continue  # something printed by a library
            if not isinstance(line, dict):
                continue
            if "phase" in line:
                self.phase.emit(str(line["phase"]))
            self._said.update(line)

    def _broken(self, error: QProcess.ProcessError) -> None:
        if error == QProcess.ProcessError.FailedToStart:
            self._end()
            self.failed.emit(MachineError(tr("The measuring process could not be started."),
                                          tr("Look at the engine's Python in the settings.")))

    def _finished(self) -> None:
        if self._process is None:
            return
        self._read()
        words = bytes(self._process.readAllStandardError().data()).decode("utf-8", "replace").strip().splitlines()
        self._end()
        result, error = self._said.get("result"), self._said.get("error")
        if isinstance(result, dict):
            self.done.emit(self.key, result)
        elif isinstance(error, dict):
            self.failed.emit(FledgeError(str(error.get("sentence", "")), str(error.get("remedy", ""))))
        elif not self._cancelled:
            self.failed.emit(MachineError(tr("The measurement ended without a result."), words[-1] if words else
                                          tr("Memory may have run out: choose a smaller size.")))

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.deleteLater()
        self.running_changed.emit(False)
