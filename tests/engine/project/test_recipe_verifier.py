"""Recipes of models that learned from a verifier: it travels with all its sources, and whoever replays it must have looked at them."""

import json
from pathlib import Path

import pytest
from test_recipe_pairs import home, made_of  # noqa: F401
from test_recipe_problems import problem

from engine.contract.composition import parse, pieces
from engine.contract.errors import FormatError, SettingError
from engine.pipeline import STAGES
from engine.project import layout, recipe, trust
from engine.project.project import Project
from engine.stages.corpus.spec import CorpusSpec
from engine.stages.grpo.spec import GrpoSpec
from engine.stages.pretrain.spec import PretrainSpec
from engine.stages.reward.spec import RewardSpec

SOURCE = "def verify(prompt, completion, answer):\n    return float(answer in completion)\n"


def told(folder: Path) -> tuple[Project, recipe.Recipe]:
    """A project whose model-2 learned from a verifier with a source, a judge of the project and a reward model; and its recipe."""
    project = Project.create(folder / "told", "Told")
    (folder / "text.txt").write_text("ferry")
    made_of(project, CorpusSpec(sources=(str(folder / "text.txt"),)), "corpus")
    made_of(project, PretrainSpec(corpus="corpus-1", tokenizer=""), "model")
    made_of(project, RewardSpec(model="model-1"), "reward_model")
    held = project.library.verifiers
    source = held.create("Mine", "python", SOURCE)
    parts = held.create("All", "parts", json.dumps({"together": "product", "parts": [
        {"name": "python", "settings": {"verifier": source.ref}}, {"name": "judge", "settings": {"model": "project:model-1"}},
        {"name": "group", "settings": {"parts": [{"name": "reward_model", "settings": {"model": "reward_model-1"}}]}}]}))
    sums = project.library.problems.take("Sums", [problem(f"What is {n} + {n}?", str(2 * n)) for n in range(5)], origin="person")
    made_of(project, GrpoSpec(model="model-1", problem_sets=(sums.id,), verifier=parts.ref), "model")
    held.save(source.id, SOURCE.replace("float", "bool"))  # since the run was made
    recipe.write(project, "model-2", folder / "solver.toml", STAGES)
    return project, recipe.read(folder / "solver.toml")


def test_a_verifier_travels_with_its_sources_and_its_models_have_the_names_of_the_new_project(tmp_path: Path) -> None:
    _, found = told(tmp_path)
    step = found.step[-1]
    assert [s.stage for s in found.step] == ["corpus", "pretrain", "reward", "grpo"]
    assert step.inputs == {"model": "2-pretrain", "verifier:model-1": "2-pretrain", "verifier:reward_model-1": "3-reward"}
    assert parse(step.settings["verifier"]).parts[0].settings == {"source": SOURCE} and not step.rows
    assert "verifier-" not in step.settings["verifier"]
    again = Project.create(tmp_path / "again", "Again")
    inputs = {"model": "model-7", "verifier:model-1": "model-7", "verifier:reward_model-1": "reward_model-9"}
    spec = recipe._spec(step, STAGES["grpo"], {}, inputs, again, lambda names: {name: "problems-1" for name in names})
    assert isinstance(spec, GrpoSpec) and spec.model == "model-7"
    held = parse(spec.verifier)
    assert held.models() == ["model-7", "reward_model-9"] and held.together == "product"
    assert held.parts[1].settings == {"model": "project:model-7"} and held.parts[0].settings == {"source": SOURCE}


def test_in_its_own_project_it_is_known_by_what_it_was_made_with(tmp_path: Path) -> None:
    project, found = told(tmp_path)
    row, step = STAGES["grpo"], found.step[-1]
    inputs = {"model": "model-1", "verifier:model-1": "model-1", "verifier:reward_model-1": "reward_model-1"}
    given = recipe._Given(project, found, tmp_path)
    spec = recipe._spec(step, row, {}, inputs, project, given.nowhere)
    done = recipe._already(project, step, row, spec, given)
    assert done is not None and done.run == "4-grpo" and done.skipped
    other = spec.model_copy(update={"verifier": spec.verifier.replace("product", "sum")})
    assert recipe._already(project, step, row, other, given) is None


def test_what_nobody_looked_at_here_is_refused_before_anything_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, found = told(tmp_path)
    monkeypatch.setenv("FLEDGE_HOME", str(tmp_path / "elsewhere"))
    again = Project.create(tmp_path / "again", "Again")
    with pytest.raises(SettingError) as caught:
        recipe.replay(again, found, STAGES, folder=tmp_path)
    assert caught.value.code == "untrusted_verifier" and again.runs.list() == []
    trust.trust([pieces(parse(found.step[-1].settings["verifier"]))[0].sha256])
    with pytest.raises(SettingError) as caught:
        recipe.replay(again, found, STAGES, folder=tmp_path)
    assert "judge" in caught.value.sentence, "the source is known now, the judge is not"


def test_a_recipe_cannot_put_a_verifier_into_a_run_past_its_setting(tmp_path: Path) -> None:
    _, found = told(tmp_path)
    step = found.step[-1]
    smuggled = step.model_copy(update={"rows": {"verifier": json.dumps({"composition": [{"name": "number"}]})}})
    again = Project.create(tmp_path / "again", "Again")
    with pytest.raises(FormatError):
        recipe.replay(again, found.model_copy(update={"step": (*found.step[:-1], smuggled)}), STAGES, folder=tmp_path)
    named = step.model_copy(update={"settings": {**step.settings, "verifier": "verifier-1@1"}})
    with pytest.raises(SettingError):
        recipe.replay(again, found.model_copy(update={"step": (*found.step[:-1], named)}), STAGES, folder=tmp_path)
    assert again.runs.list() == [] and not list(layout.runs(again.dir).glob("*/inputs/*"))
