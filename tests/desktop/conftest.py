"""What tests of the window get: an own home for settings, one QApplication, a context, a project, a window. Offscreen."""

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtWidgets import QApplication

from desktop.context import AppContext
from desktop.jobs.collector import collect_due
from desktop.main_window import MainWindow
from desktop.theme.theme import Theme
from engine.project.project import Project


@pytest.fixture(autouse=True)
def collected_here() -> Iterator[None]:
    """As in the program: no thread but this one destroys what is left of widgets (servers of tests have threads of their own)."""
    gc.disable()
    yield
    collect_due()
    gc.disable()  # a context that was closed let the collector loose


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left() -> Iterator[None]:
    """The tests that come after the last of a module may have threads of their own."""
    yield
    gc.collect()
    gc.enable()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A FLEDGE_HOME of the test's own."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("FLEDGE_HOME", str(folder))
    return folder


@pytest.fixture
def theme(qapp: QApplication) -> Theme:
    return Theme(qapp, "light")


@pytest.fixture
def context(home: Path, qapp: QApplication) -> Iterator[AppContext]:
    """Light theme, no project, no machine looked at (and none is: the probe would start torch)."""
    made = AppContext(qapp)
    made.set_theme("light")
    made.probe.ask = lambda measure=False: None  # type: ignore[method-assign]
    yield made
    made.close()


@pytest.fixture
def project(context: AppContext, tmp_path: Path) -> Project:
    """An empty project, open in the context."""
    return context.create_project(tmp_path / "project", "Lowland Gazette")


@pytest.fixture
def window(context: AppContext, qtbot) -> Iterator[MainWindow]:
    made = MainWindow(context)
    qtbot.addWidget(made)
    made.show_page("home")
    made.show()
    yield made
