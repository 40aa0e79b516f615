"""Settings: in force at once, remembered, and the engine's Python checked before anybody relies on it."""

import json
import sys
from pathlib import Path

import pytest
from PySide6.QtCore import Qt

from desktop.context import AppContext
from desktop.main_window import MainWindow
from desktop.pages.settings import SettingsPage
from engine.contract.machine import DeviceFacts, MachineFacts


@pytest.fixture
def page(window: MainWindow) -> SettingsPage:
    window.show_page("settings")
    found = window.pages["settings"]
    assert isinstance(found, SettingsPage)
    return found


def test_the_theme_changes_at_once(page: SettingsPage, context: AppContext, qtbot) -> None:
    qtbot.mouseClick(page._mode._group.button(2), Qt.MouseButton.LeftButton)
    assert context.theme.is_dark and context.settings.get("theme") == "dark"


def test_the_engine_python_is_written_for_workers(page: SettingsPage, context: AppContext, home: Path) -> None:
    page._python.set("/opt/engine/bin/python")
    page._python_edited()
    assert json.loads((home / "settings.json").read_text())["engine_python"] == "/opt/engine/bin/python"
    page._python.set("")
    page._python_edited()
    assert "engine_python" not in json.loads((home / "settings.json").read_text())


def test_a_python_without_the_engine_is_refused_in_words(page: SettingsPage, qtbot, tmp_path: Path) -> None:
    page._python.set(str(tmp_path / "nothing"))
    page._check_python()
    qtbot.waitUntil(lambda: page._said.note is not None, timeout=10_000)
    assert "does not fit" in page._said.note.accessibleName() and page._check.isEnabled()


def test_a_python_with_the_engine_answers(page: SettingsPage, window: MainWindow, qtbot) -> None:
    page._python.set(sys.executable)
    page._check_python()
    qtbot.waitUntil(lambda: window.toast.isVisible(), timeout=20_000)
    assert page._said.note is None


def test_the_chosen_device_is_kept_and_a_missing_one_is_not_used(context: AppContext, qtbot) -> None:
    cpu = DeviceFacts(id="cpu", kind="cpu", title="Some processor")
    gpu = DeviceFacts(id="cuda:0", kind="cuda", title="Some card")
    context.machine = MachineFacts(devices=(gpu, cpu))
    page = SettingsPage(context)
    qtbot.addWidget(page)
    page.opened()
    assert context.device == "auto" and context.device_facts == gpu
    page._device.set("cpu")
    page._device.changed.emit()
    assert context.device == "cpu" and context.device_facts == cpu and context.settings.get("device") == "cpu"
    context.set_device("cuda:0")
    context.machine = MachineFacts(devices=(cpu,))
    assert context.device == "auto" and context.device_facts == cpu
