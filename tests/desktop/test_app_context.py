"""What the window shares: projects open without holding it up, however much lies in them."""

from pathlib import Path

import pytest

from desktop.context import AppContext
from desktop.models import survey
from engine.project.project import Project
from engine.stages.corpus.spec import CorpusSpec


def project_with(runs: int, folder: Path) -> Project:
    made = Project.create(folder)
    for _ in range(runs):
        made.runs.create(CorpusSpec(sources=("x",)))
    return made


def test_a_small_project_is_surveyed_at_once(context: AppContext, tmp_path: Path) -> None:
    context.open_project(project_with(2, tmp_path / "small").dir)
    assert context.survey is not None and len(context.survey.runs) == 2


def test_many_runs_are_looked_at_in_a_thread(context: AppContext, tmp_path: Path, qtbot, monkeypatch: pytest.MonkeyPatch) -> None:
    made = project_with(survey.FEW_RUNS + 1, tmp_path / "large")
    changes: list[bool] = []
    context.survey_changed.connect(lambda: changes.append(context.survey is not None))
    context.open_project(made.dir)
    assert context.survey is None and changes == [False]
    qtbot.waitUntil(lambda: context.survey is not None)
    assert context.survey is not None and len(context.survey.runs) == survey.FEW_RUNS + 1 and changes == [False, True]


def test_pages_open_before_the_first_look_is_over(window, context: AppContext, tmp_path: Path, qtbot) -> None:
    context.open_project(project_with(survey.FEW_RUNS + 1, tmp_path / "large").dir)
    for page in ("home", "corpus", "tokenizer", "pretrain", "runs", "chat"):
        window.show_page(page)
    qtbot.waitUntil(lambda: context.survey is not None)
    window.show_page("corpus")
