"""The wizard's logic, without a window: the folder follows the name, what is in the way is said, the steps go on only when they may."""

import os
from pathlib import Path

import pytest

from desktop.models.new_project import DEMO, NewProject, folder_name
from engine.project.project import Project


@pytest.fixture
def draft(tmp_path: Path) -> NewProject:
    return NewProject(parent=tmp_path / "projects")


@pytest.mark.parametrize(("name", "folder"), [("Lowland Gazette", "lowland-gazette"), ("  a/b\\c ", "a-b-c"), ("Über 2", "über-2"),
                                              ("..", "project"), ("", "project")])
def test_a_name_as_a_folder(name: str, folder: str) -> None:
    assert folder_name(name) == folder


def test_the_folder_follows_the_name_until_it_is_chosen(draft: NewProject, tmp_path: Path) -> None:
    draft.name = "Court rulings"
    assert draft.folder == tmp_path / "projects" / "court-rulings"
    draft.set_folder(str(tmp_path / "elsewhere"))
    draft.name = "Other"
    assert draft.folder == tmp_path / "elsewhere"
    draft.set_folder("")
    assert draft.folder.name == "other"


def test_a_name_that_is_taken_gets_a_number(draft: NewProject, tmp_path: Path) -> None:
    Project.create(tmp_path / "projects" / "news", "News")
    draft.name = "News"
    assert draft.folder.name == "news-2" and draft.problems() == []


def test_the_steps_go_on_and_back(draft: NewProject) -> None:
    assert [draft.next(), draft.step, draft.next(), draft.step, draft.last, draft.next()] == [True, "place", True, "machine", True, False]
    draft.back()
    draft.back()
    draft.back()
    assert draft.step == "start"


def test_a_folder_in_use_stops_the_step_with_a_remedy(draft: NewProject, tmp_path: Path) -> None:
    draft.next()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    wrong = ((tmp_path / "full", "not empty"), (tmp_path / "full" / "thesis.txt", "is a file"), (Path("relative"), "whole path"))
    for folder, word in wrong:
        draft.set_folder(str(folder))
        assert word in draft.problems()[0].sentence and draft.problems()[0].remedy
        assert not draft.next() and draft.step == "place"
    Project.create(tmp_path / "there")
    draft.set_folder(str(tmp_path / "there"))
    assert "already" in draft.problems()[0].sentence


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_that_cannot_be_written_is_said(draft: NewProject, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o555)
    draft.next()
    draft.set_folder(str(tmp_path / "locked" / "new"))
    assert "cannot be written" in draft.problems()[0].sentence


def test_a_synchronised_folder_is_warned_of_and_allowed(draft: NewProject, tmp_path: Path) -> None:
    draft.next()
    draft.set_folder(str(tmp_path / "Dropbox" / "model"))
    assert draft.warning() and draft.problems() == []


def test_creating_makes_a_project_of_that_name(draft: NewProject, tmp_path: Path) -> None:
    draft.name = "Lowland Gazette"
    assert Project.open(draft.create().dir).name == "Lowland Gazette"


def test_the_tour_is_a_command_of_the_engine(draft: NewProject) -> None:
    draft.start, draft.quick = DEMO, True
    assert draft.demo_command() == ["-m", "engine.cli", "demo", str(draft.folder), "--quick", "--json"]
