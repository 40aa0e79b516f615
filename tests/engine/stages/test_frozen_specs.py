"""What a run is made with stays: a recipe's text goes in when it is made. And what cannot run here is refused before anything is read."""

from pathlib import Path

import pytest

from engine.contract.errors import DeviceUnavailable, NotFound
from engine.generators import recipe
from engine.pipeline import STAGES
from engine.project import lineage
from engine.project.project import Project
from engine.stages.adapt.run import run as adapt
from engine.stages.adapt.spec import AdaptSpec
from engine.stages.instruct.spec import InstructSpec
from engine.stages.sft.run import run as sft
from engine.stages.sft.spec import SftSpec
from tests.attempts import Attempt


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.create(tmp_path / "p", "Ferry")


def test_a_run_that_waits_keeps_the_recipe_that_it_was_made_with(project: Project, tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    text = recipe.load("documents").text
    own.write_text(text, "utf-8")
    run = project.runs.create(InstructSpec(responder="ollama:x", recipe=str(own)))
    own.write_text(text.replace("the", "a"), "utf-8")
    assert project.runs.get(run.id).spec["recipe_text"] == text
    own.unlink()
    again = InstructSpec(**project.runs.get(run.id).spec)
    assert again.frozen(project.dir) == again and recipe.load(again.recipe, again.recipe_text).text == text
    built_in = project.runs.create(InstructSpec(responder="ollama:x", recipe="topics"))
    assert built_in.spec["recipe_text"] == recipe.load("topics").text
    specs = {id: stage.spec for id, stage in STAGES.items()}
    rows = lineage.compare(lineage.describe(project, run.id), lineage.describe(project, built_in.id), specs)
    assert [r.name for r in rows] == ["recipe"], "a recipe's whole text is nothing to compare in a table"


def test_a_recipe_that_is_not_there_makes_no_run(project: Project, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        project.runs.create(InstructSpec(responder="ollama:x", recipe=str(tmp_path / "none.toml")))
    assert project.runs.list() == []


def test_a_recipe_in_python_is_kept_and_not_run(project: Project, tmp_path: Path) -> None:
    own = tmp_path / "own.py"
    own.write_text(f"open({str(tmp_path / 'was_run')!r}, 'w')\n"
                   "def rows(inputs):\n    yield from ()\n\ndef steps(row, ask):\n    yield from ()\n", "utf-8")
    run = project.runs.create(InstructSpec(responder="ollama:x", recipe=str(own)))
    assert run.spec["recipe_text"] == own.read_text("utf-8") and not (tmp_path / "was_run").exists()


@pytest.mark.parametrize(("spec", "stage"), [(SftSpec(model="model-9", examples=("set-9",), method="qlora"), sft),
                                             (AdaptSpec(model="model-9", corpus="corpus-9", method="qlora"), adapt)])
def test_four_bits_are_refused_without_their_card_before_anything_is_read(project: Project, spec, stage) -> None:
    attempt = Attempt(project, "1-x", spec, stage=stage)
    with pytest.raises(DeviceUnavailable) as refused:
        attempt.run()
    assert (refused.value.code, refused.value.field) == ("qlora_device", "method")
