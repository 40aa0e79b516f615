"""The measured fit, from the window: a short process of the engine takes a few real steps and says what they took. Can be cancelled.

The process belongs to the window (unlike a run): it ends with it. It prints one JSON object: {"measured", "formula", "plan", "problems"},
or {"error": {"code", "sentence", "remedy"}}.
"""

import json
import time
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, QProcess, QTimer, Signal

from desktop.jobs.engine_process import engine_process
from engine.contract.errors import FledgeError, MachineError
from engine.contract.words import tr
from engine.project import launch

MODULE = "engine.stages.pretrain.measure"


class Measuring(QObject):
    """One measurement at a time. `done(key, result)`, `failed(error)`; `running_changed(bool)`; `ticked(seconds)` while it works."""

    done = Signal(str, dict)
    failed = Signal(object)
    ticked = Signal(float)
    running_changed = Signal(bool)

    def __init__(self, parent: QObject | None = None, module: str = MODULE) -> None:
        super().__init__(parent)
        self.key = ""
        self._module = module
        self._said: dict[str, Any] = {}
        self._cancelled = False
        self._process: QProcess | None = None
        self._began = 0.0
        self._tick = QTimer(self)
        self._tick.setInterval(500)
        self._tick.timeout.connect(lambda: self.ticked.emit(time.monotonic() - self._began))

    @property
    def running(self) -> bool:
        return self._process is not None

    def start(self, project_dir: Path, spec: dict[str, Any], device: str, key: str) -> None:
        """Measure these settings. `key` comes back with the result, so that a late answer is not taken for other settings."""
        if self.running:
            return
        self.key, self._said, self._cancelled = key, {}, False
        process = engine_process(self)
        process.readyReadStandardOutput.connect(self._read)
        process.finished.connect(self._finished)
        process.errorOccurred.connect(self._broken)
        self._process = process
        self._began = time.monotonic()
        self._tick.start()
        process.start(launch.interpreter(), ["-m", self._module, str(project_dir), "--spec", json.dumps(spec), "--device", device])
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
            if isinstance(line, dict):
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
        result, error = self._said.get("measured"), self._said.get("error")
        if isinstance(result, dict):
            self.done.emit(self.key, self._said)
        elif isinstance(error, dict):
            self.failed.emit(FledgeError(str(error.get("sentence", "")), str(error.get("remedy", "")), code=str(error.get("code", "")),
                                          field=str(error.get("field", ""))))
        elif not self._cancelled:
            self.failed.emit(MachineError(tr("The measurement ended without a result."), words[-1] if words else
                                          tr("Memory may have run out: choose a smaller size.")))

    def _end(self) -> None:
        self._tick.stop()
        process, self._process = self._process, None
        if process is not None:
            process.deleteLater()
        self.running_changed.emit(False)
