"""The switch that lets other programs in, with a real server: address, token, port, and that what is copied works."""

import os
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from pytestqt.qtbot import QtBot

from desktop.context import AppContext
from desktop.jobs import serving
from desktop.main_window import MainWindow
from desktop.models.serve_examples import HIDDEN
from desktop.pages.settings.serve_panel import ServePanel
from engine.project.project import Project
from tests.serving import make_project


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("serve") / "project", context=512).dir


@pytest.fixture
def free_port() -> int:
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        return int(made.getsockname()[1])


@pytest.fixture
def panel(window: MainWindow, context: AppContext, folder: Path, free_port: int) -> Iterator[ServePanel]:
    context.settings.set("serve.port", free_port)
    context.open_project(folder)
    window.show_page("settings")
    yield window.pages["settings"].serve  # type: ignore[attr-defined]


def listening(panel: ServePanel, qtbot: QtBot) -> str:
    qtbot.waitUntil(lambda: panel.context.server.state == "ready" and panel.context.server.listed, timeout=30_000)
    address = panel.context.server.address
    assert address is not None
    return address.url


def test_the_switch_serves_with_a_lasting_token_and_ends_it_again(panel: ServePanel, free_port: int, qtbot: QtBot) -> None:
    assert not panel._where.isVisible() and panel.context._server is None
    qtbot.mouseClick(panel.switch, Qt.MouseButton.LeftButton)
    url = listening(panel, qtbot)
    assert url == f"http://127.0.0.1:{free_port}" == panel._address.words()
    assert httpx.get(url + "/v1/models").status_code == 401
    panel._token.copy()
    token = QGuiApplication.clipboard().text()
    assert token == serving.token_file().read_text() and panel._token.words() == HIDDEN
    if os.name == "posix":
        assert stat.S_IMODE(serving.token_file().stat().st_mode) == 0o600
    assert httpx.get(url + "/v1/models", headers={"Authorization": f"Bearer {token}"}).json()["data"]
    panel._example.copy()
    command = QGuiApplication.clipboard().text()
    assert token in command and token not in panel._example.words()
    said = subprocess.run(["bash", "-c", command + " -s"], capture_output=True, text=True, timeout=30, check=True).stdout
    assert '"choices"' in said
    panel._new_token()
    qtbot.waitUntil(lambda: panel.context.server.state == "starting", timeout=5_000)
    assert listening(panel, qtbot) == url
    assert httpx.get(url + "/v1/models", headers={"Authorization": f"Bearer {token}"}).status_code == 401
    qtbot.mouseClick(panel.switch, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not _answers(url), timeout=10_000)
    assert not panel._where.isVisible()


def test_without_a_token_anybody_here_may_ask(panel: ServePanel, qtbot: QtBot) -> None:
    panel.asks.setChecked(False)
    qtbot.mouseClick(panel.switch, Qt.MouseButton.LeftButton)
    url = listening(panel, qtbot)
    assert httpx.get(url + "/v1/models").json()["data"] and not panel._token_line.isVisible()


def test_a_taken_port_is_said_and_another_one_helps(panel: ServePanel, free_port: int, qtbot: QtBot) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_port))
        taken.listen()
        qtbot.mouseClick(panel.switch, Qt.MouseButton.LeftButton)
        qtbot.waitUntil(lambda: panel._notes.note is not None, timeout=30_000)
        assert panel._notes.note is not None and str(free_port) in panel._notes.note.accessibleName()
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            free = int(other.getsockname()[1])
        panel.port.set("80")
        panel._port_edited()
        assert panel.port.property("wrong") and serving.port(panel.context.settings) == free_port
        panel.port.set(str(free))
        panel._port_edited()
        assert listening(panel, qtbot) == f"http://127.0.0.1:{free}" and panel._notes.note is None


def test_the_switch_holds_for_the_next_project(panel: ServePanel, folder: Path, qtbot: QtBot, tmp_path: Path) -> None:
    qtbot.mouseClick(panel.switch, Qt.MouseButton.LeftButton)
    url = listening(panel, qtbot)
    Project.create(tmp_path / "other", "Other")
    panel.context.open_project(tmp_path / "other")
    qtbot.waitUntil(lambda: panel.context.server.project_dir.name == "other" and panel.context.server.listed, timeout=30_000)
    assert panel.context.server.address is not None and panel.context.server.address.url == url
    assert panel.context.server.models == []


def _answers(url: str) -> bool:
    try:
        httpx.get(url + "/health", timeout=2)
    except httpx.HTTPError:
        return False
    return True
