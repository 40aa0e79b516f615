"""Recipes of models that learned from problems: these travel beside the recipe, held-out ones too, and become a set elsewhere."""

from pathlib import Path

import pytest
from test_recipe_pairs import home, made_of  # noqa: F401

from engine.contract.errors import Mismatch, NotFound
from engine.contract.rows import Message, Problem, problem_id
from engine.pipeline import STAGES
from engine.project import layout, recipe
from engine.project.project import Project
from engine.stages.corpus.spec import CorpusSpec
from engine.stages.grpo.spec import GrpoSpec
from engine.stages.pretrain.spec import PretrainSpec


def problem(text: str, answer: object) -> Problem:
    prompt = (Message(role="user", content=text),)
    return Problem(id=problem_id(prompt, answer), prompt=prompt, answer=answer, difficulty=2.0, facts={"inputs": [text]})


def test_problems_travel_and_a_replay_is_made_with_the_very_rows(tmp_path: Path) -> None:
    told = Project.create(tmp_path / "told", "Told")
    (tmp_path / "text.txt").write_text("ferry")
    made_of(told, CorpusSpec(sources=(str(tmp_path / "text.txt"),)), "corpus")
    made_of(told, PretrainSpec(corpus="corpus-1", tokenizer=""), "model")
    take = told.library.problems.take
    sums = [problem(f"What is {n} + {n}?", str(2 * n)) for n in range(20)]
    one = take("Sums: {all}", sums, origin="generator:arithmetic@1", held_out_percent=20)
    other = take("More", [*sums[:5], problem("A program?", {"entry": "f", "tests": [[[1], 2]]})], origin="person", held_out_percent=0)
    verifier = '{"together": "sum", "parts": [{"name": "number", "title": "number", "weight": 1.0, "settings": {}}]}'
    spec = GrpoSpec(model="model-1", problem_sets=(one.id, other.id), verifier=verifier)
    run = made_of(told, spec, "model")
    told.library.problems.remove([sums[0].id])  # since the run took it

    recipe.write(told, "model-2", tmp_path / "solver.toml", STAGES)
    found = recipe.read(tmp_path / "solver.toml")
    assert found.recipe.format == 4 and found.step[-1].settings["problem_sets"] == ["{problems:Sums: all}", "{problems:More}"]
    assert [(e.title, e.count, e.origin) for e in found.problems] == [("Sums: {all}", 20, "generator:arithmetic@1"), ("More", 1, "person")]

    again = Project.create(tmp_path / "again", "Again")
    given = recipe._Given(again, found, tmp_path)
    step, row = found.step[-1], STAGES["grpo"]
    given.check(step)
    made = again.runs.create(recipe._spec(step, row, {}, {"model": "model-1"}, again, lambda names: given.into_library(names, spec)))
    given.put(made.dir, step, row.spec)
    assert layout.input_rows(made.dir, "problems").read_bytes() == layout.input_rows(run.dir, "problems").read_bytes()
    assert given.same(made.dir, step, row.spec)
    sets = again.library.problems.sets()
    assert [(s.title, s.count, s.held_out) for s in sets] == [("Sums: {all}", 20, one.held_out), ("More", 1, 0)]
    assert list(again.library.problems.rows([sets[1].id]))[0].answer == {"entry": "f", "tests": [[[1], 2]]}
    given.into_library([("problems", "More")], spec)
    assert len(again.library.problems.sets()) == 2, "rows that are there are not taken twice"

    (tmp_path / found.problems[0].file).write_text("{}\n")
    with pytest.raises(Mismatch) as caught:
        recipe._Given(again, found, tmp_path)
    assert caught.value.code == "problems_changed"
    with pytest.raises(NotFound):
        recipe._Given(again, found, tmp_path / "elsewhere")
