"""Asks the engine's interpreter what this machine has (`python -m engine.training.devices`): that imports torch, the window does not."""

from pathlib import Path

from PySide6.QtCore import QObject, QProcess, Signal

from engine.contract.machine import MachineFacts
from engine.project import layout


class MachineProbe(QObject):
    """`found(MachineFacts)` when the answer is there; `refused(str)` with the end of what it said when there is none."""

    found = Signal(object)
    refused = Signal(str)
    busy_changed = Signal(bool)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._process: QProcess | None = None

    @property
    def busy(self) -> bool:
        return self._process is not None

    def ask(self, measure: bool = False) -> None:
        """Detect the devices, and with `measure` their matrix-product peak (a few seconds at full tilt)."""
        if self._process is not None:
            return
        from desktop.jobs.engine_process import engine_process  # these know runs, and runs numpy: not before the first paint
        from engine.project import launch
        process = engine_process(self)
        process.finished.connect(self._finished)
        process.errorOccurred.connect(self._not_started)
        self._process = process
        self.busy_changed.emit(True)
        process.start(launch.interpreter(), ["-m", "engine.training.devices", *(["--measure"] if measure else [])])

    def stop(self) -> None:
        if self._process is not None:
            self._process.finished.disconnect(self._finished)
            self._process.errorOccurred.disconnect(self._not_started)
            self._process.kill()
            self._process.waitForFinished(2000)
            self._process = None

    def _finished(self, code: int, status: QProcess.ExitStatus) -> None:
        assert self._process is not None
        said = bytes(self._process.readAllStandardError().data()).decode("utf-8", "replace")
        self._process.deleteLater()
        self._process = None
        self.busy_changed.emit(False)
        facts = MachineFacts.read(Path(layout.machine_file())) if code == 0 else None
        if facts is not None:
            self.found.emit(facts)
        else:
            self.refused.emit("\n".join(said.strip().splitlines()[-3:]))

    def _not_started(self, error: QProcess.ProcessError) -> None:
        if error == QProcess.ProcessError.FailedToStart and self._process is not None:
            said = self._process.errorString()
            self._process.deleteLater()
            self._process = None
            self.busy_changed.emit(False)
            self.refused.emit(said)
