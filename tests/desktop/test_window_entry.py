"""The entry: worker modules before Qt, a plain word without a display, one window a person, and a log of what went wrong."""

import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from desktop.main import WORKER_MODULES, CrashLog, main
from desktop.single import Single

ROOT = Path(__file__).parents[2]


def start(*arguments: str, **env: str | None) -> subprocess.CompletedProcess[str]:
    surroundings = {k: v for k, v in {**os.environ, **env}.items() if v is not None}
    return subprocess.run([sys.executable, "-m", "desktop.main", *arguments], env=surroundings, cwd=ROOT, capture_output=True, text=True,
                          timeout=60, check=False)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only there Qt aborts without a display")
def test_without_a_display_it_says_what_to_do_and_ends_with_5() -> None:
    done = start(DISPLAY=None, WAYLAND_DISPLAY=None, QT_QPA_PLATFORM=None)
    assert done.returncode == 5
    assert "no display" in done.stderr and "fledge demo" in done.stderr and "Traceback" not in done.stderr


def test_a_worker_entry_runs_without_qt() -> None:
    code = ("import sys, runpy; sys.argv = ['x'];\n"
            "import desktop.main as m\n"
            "runpy.run_module = lambda name, **k: print(name, 'PySide6' in sys.modules)\n"
            "sys.exit(m.main(['-m', 'engine.worker', 'RUN']))")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["engine.worker", "False"]


def test_other_modules_are_refused(capsys) -> None:
    assert main(["-m", "os"]) == 2
    assert "os" in capsys.readouterr().err


def test_everything_the_window_starts_can_be_started_by_a_frozen_app() -> None:
    started = set()
    for file in [*(ROOT / "desktop").rglob("*.py"), *(ROOT / "engine").rglob("*.py")]:
        text = file.read_text("utf-8")
        started |= set(re.findall(r'"-m", "((?:engine|torch)[\w.]+)"', text))
        if file.is_relative_to(ROOT / "desktop"):
            started |= set(re.findall(r'(?:MODULE = |PROBE = |Bench\(|\.ask\()"(engine[\w.]+)"', text))
    assert len(started) >= 7 and started == set(WORKER_MODULES)


def test_an_exception_in_a_slot_is_written_down_and_told(tmp_path: Path, monkeypatch) -> None:
    told: list[Exception] = []
    before: list[type] = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, value, trace: before.append(kind))
    log = tmp_path / "crash.log"
    with CrashLog(log) as crashes:
        crashes.tell = told.append
        sys.excepthook(ValueError, ValueError("ours"), None)
        thread = threading.Thread(target=lambda: 1 / 0)
        thread.start()
        thread.join()
        written = log.read_text()
    assert "ValueError: ours" in written and "ZeroDivisionError" in written
    assert [str(t) for t in told] == ["ours"]
    assert before == [ValueError, ZeroDivisionError]  # whoever listened before still hears


def test_the_next_start_finds_the_crash_and_forgets_it(tmp_path: Path) -> None:
    log = tmp_path / "crash.log"
    log.write_text("Fatal Python error: Aborted\n")
    with CrashLog(log) as crashes:
        assert "Aborted" in crashes.last
        crashes.forget()
    assert CrashLog(log).last == ""


def test_what_was_shown_while_the_window_was_open_is_no_crash(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(sys, "excepthook", lambda *args: None)
    log = tmp_path / "crash.log"
    with CrashLog(log):
        sys.excepthook(ValueError, ValueError("ours"), None)
    assert CrashLog(log).last == "" and "ours" in (tmp_path / "crash.seen.log").read_text()


def test_an_exception_that_ends_the_window_is_told_next_time(tmp_path: Path) -> None:
    with pytest.raises(KeyError), CrashLog(tmp_path / "crash.log"):
        raise KeyError("gone")
    assert "gone" in CrashLog(tmp_path / "crash.log").last


def test_a_fault_of_the_process_is_in_the_log(tmp_path: Path) -> None:
    code = ("import os; from pathlib import Path; from desktop.main import CrashLog\n"
            f"with CrashLog(Path({str(tmp_path / 'c')!r})): os.abort()")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, timeout=60, check=False)
    assert done.returncode != 0
    assert "Aborted" in CrashLog(tmp_path / "c").last


def test_a_second_start_calls_the_first_window(home: Path, qapp, qtbot) -> None:
    first = Single()
    assert first.first
    heard: list[str] = []
    first.listen(heard.append)
    answer: list[bool] = []
    second = Single()
    assert not second.first
    thread = threading.Thread(target=lambda: answer.append(second.call("/some/project")))
    thread.start()
    qtbot.waitUntil(lambda: heard == ["/some/project"], timeout=5000)
    thread.join()
    assert answer == [True]
    first.close()
    third = Single()
    assert third.first
    third.close()


@pytest.mark.alone
def test_two_real_starts_share_one_window(tmp_path: Path) -> None:
    env = {**os.environ, "FLEDGE_HOME": str(tmp_path), "QT_QPA_PLATFORM": "offscreen"}
    (tmp_path / "machine.json").write_text('{"machine": {"devices": []}}')
    first = subprocess.Popen([sys.executable, "-m", "desktop.main"], env=env, cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 30
        while not (tmp_path / "window.lock").exists() and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(1.5)
        second = subprocess.run([sys.executable, "-m", "desktop.main"], env=env, cwd=ROOT, timeout=30, check=False)
        assert second.returncode == 0 and first.poll() is None
    finally:
        first.kill()
        first.wait()
