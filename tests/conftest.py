"""What every test gets: an own home for Fledge, no display, no network beyond this machine, reproducible examples.

It also ends what tests left running, and says at the end how long the parts of the gate took."""

import os
import shutil
import socket
import tempfile
from pathlib import Path

import hypothesis
import psutil
import pytest

HOME = Path(tempfile.mkdtemp(prefix="fledge-tests-"))
os.environ.update({
    "FLEDGE_HOME": str(HOME),           # device locks, queue and settings of the person running the tests stay untouched
    "FLEDGE_LANGUAGE": "en",
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_CACHE": str(HOME / "datasets"),
    "TOKENIZERS_PARALLELISM": "false",
})
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the program's own processes: tests share the machine with other work
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

hypothesis.settings.register_profile("gate", deadline=None, derandomize=True, database=None)
hypothesis.settings.register_profile("search", deadline=None, max_examples=2000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "gate"))


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing leaves the machine, in tests as in the program."""
    connect = socket.socket.connect

    def loopback_only(self: socket.socket, address):
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise AssertionError(f"a test tried to reach {address[0]}")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", loopback_only)


def _left_running() -> list[psutil.Process]:
    """Processes started with this run's FLEDGE_HOME: detached workers whose parent is gone are found by nothing else."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get("FLEDGE_HOME", "").startswith(str(HOME)):
                found.append(process)
        except psutil.Error:
            continue
    return found


LEFT: list[str] = []


def pytest_sessionfinish() -> None:
    for process in _left_running():
        try:
            LEFT.append(" ".join(process.cmdline())[:200])
            process.kill()
        except psutil.Error:
            continue
    shutil.rmtree(HOME, ignore_errors=True)


def pytest_terminal_summary(terminalreporter) -> None:
    for line in LEFT:
        terminalreporter.write_line(f"left running and ended: {line}", yellow=True)
    times = os.environ.get("FLEDGE_GATE_TIMES")
    if times:
        terminalreporter.write_line(f"before the tests: {times}")
    if os.environ.get("FLEDGE_GATE_FAILED"):
        terminalreporter.write_line("lint, types, import rules or the tests before failed: see above", red=True)
