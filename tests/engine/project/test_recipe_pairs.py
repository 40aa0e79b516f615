"""Recipes of what was learned from labelled pairs: they travel beside the recipe as they were learned from, become sets elsewhere, and a
reward model and the models tuned with it come out the same."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from test_recipe import TEXT, run_to_its_end

from engine.cli import cli
from engine.contract.errors import FormatError, InputError, Mismatch, NotFound, TooNew
from engine.contract.rows import Answer, Message, Pair, PreferencePair, pair_id
from engine.contract.spec import Spec
from engine.pipeline import STAGES
from engine.project import layout, lineage, recipe
from engine.project.labels import Label
from engine.project.project import Project
from engine.project.runs import Run
from engine.stages.corpus.spec import CorpusSpec
from engine.stages.dpo.spec import DpoSpec
from engine.stages.evaluate.spec import EvaluateSpec
from engine.stages.ppo.spec import PpoSpec
from engine.stages.preference.spec import PreferenceSpec
from engine.stages.pretrain.spec import PretrainSpec
from engine.stages.reward.spec import RewardSpec
from engine.stages.tokenizer.spec import TokenizerSpec


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEDGE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FLEDGE_THREADS", "1")


def pair(n: int, first: str = "", second: str = "") -> Pair:
    prompt = (Message(role="user", content=f"Which harbour has ferry {n}?"),)
    first, second = first or f"Harbour {n * 3}.", second or f"No idea, ask {n}."
    return Pair(id=pair_id(prompt, first, second), prompt=prompt, first=Answer(text=first), second=Answer(text=second))


def labelled(project: Project, title: str, first: int, count: int, waiting: int = 0) -> str:
    """A set of `count` pairs labelled by two people, of which the second answer wins now and then, and of `waiting` nobody looked at."""
    pairs = project.library.pairs
    made, rows = pairs.create_set(title), [pair(n) for n in range(first, first + count + waiting)]
    pairs.add(made.id, rows, "Ada")
    for n, row in enumerate(rows[:count]):
        for author in ("Ada", "Bo") if n % 2 else ("Ada",):
            pairs.label(row.id, Label("second" if n % 5 == 4 else "tie" if n % 7 == 6 else "first", author=author, strength=n % 4))
    return made.id


def made_of(project: Project, spec: Spec, kind: str) -> Run:
    """A run, and what it would have made, without the work."""
    run = project.runs.create(spec)
    with project.artifacts.create(kind, title=spec.stage, run=run.id, spec=run.spec) as writer:
        (writer.path / "model.safetensors").write_bytes(run.id.encode())
        writer.finish()
    return run


@pytest.fixture
def told(tmp_path: Path) -> Project:
    """Models of a reward model, of DPO on strong labels of one person, and of PPO that asks labelled and other prompts."""
    project = Project.create(tmp_path / "told", "Told")
    (tmp_path / "text.txt").write_text("ferry")
    made_of(project, CorpusSpec(sources=(str(tmp_path / "text.txt"),)), "corpus")
    made_of(project, PretrainSpec(corpus="corpus-1", tokenizer=""), "model")
    one, other = labelled(project, "Ferries: {all}", 0, 6, waiting=2), labelled(project, "Ports", 50, 3)
    made_of(project, RewardSpec(model="model-1", pairs=(one, other)), "reward_model")
    made_of(project, DpoSpec(model="model-1", pairs=(other, one), annotators=("Bo",), least_strength=1), "model")
    made_of(project, PpoSpec(model="model-1", reward="reward_model-1", pairs=(one,)), "model")
    return project


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_labelled_pairs_travel_as_they_were_learned_from(told: Project, tmp_path: Path) -> None:
    first = pair(0)
    told.library.pairs.label(first.id, Label("second", author="Ada"))  # since the runs took them
    recipe.write(told, "reward_model-1", tmp_path / "taste.toml", STAGES)
    found = recipe.read(tmp_path / "taste.toml")
    assert found.recipe.format == 3 and [s.stage for s in found.step] == ["corpus", "pretrain", "reward"]
    assert found.step[-1].settings["pairs"] == ["{pairs:Ferries: all}", "{pairs:Ports}"]
    assert [(e.title, e.count, e.file) for e in found.pairs] == [("Ferries: {all}", 6, "taste-pairs-ferries-all.jsonl"),
                                                                 ("Ports", 3, "taste-pairs-ports.jsonl")]
    rows = lines(tmp_path / found.pairs[0].file)
    assert [r["chosen"] for r in rows][:5:4] == ["Harbour 0.", "No idea, ask 4."] and rows[1]["by"] == "Ada, Bo"
    run = told.runs.get("3-reward")
    assert b"".join((tmp_path / e.file).read_bytes() for e in found.pairs) == layout.input_rows(run.dir, "pairs").read_bytes()
    assert layout.input_rows(run.dir, "unlabelled").read_bytes(), "scored afterwards: they teach nothing, and stay behind"


def test_prompts_that_were_only_asked_travel_too_and_the_reward_model_is_a_step(told: Project, tmp_path: Path) -> None:
    recipe.write(told, "model-3", tmp_path / "asked.toml", STAGES)
    found = recipe.read(tmp_path / "asked.toml")
    assert [s.name for s in found.step] == ["1-corpus", "2-pretrain", "3-reward", "5-ppo"]
    assert found.step[-1].inputs == {"model": "2-pretrain", "reward": "3-reward"}
    both = {e.name: lines(tmp_path / e.file) for e in found.pairs}
    assert {name: (sum("chosen" in r for r in rows), sum("first" in r for r in rows)) for name, rows in both.items()} == {
        "Ferries: all": (6, 2), "Ports": (3, 0), "Ferries: all 2": (6, 0)}, "what a reward model takes is another file than what PPO asks"


def test_a_run_of_a_replay_is_made_with_the_very_rows(told: Project, tmp_path: Path) -> None:
    """The step's inputs of the recorded run and of the new one, byte for byte: also of labels of one person, of strong ones, and where the
    library has the same pairs with other labels."""
    again = Project.create(tmp_path / "again", "Again")
    labelled(again, "Mine", 2, 3)
    for id, stage, run_id in (("reward_model-1", "reward", "3-reward"), ("model-2", "dpo", "4-dpo"), ("model-3", "ppo", "5-ppo")):
        recipe.write(told, id, tmp_path / "again.toml", STAGES)
        found = recipe.read(tmp_path / "again.toml")
        given, step, row = recipe._Given(again, found, tmp_path), found.step[-1], STAGES[stage]
        spec = recipe._spec(step, row, {}, {"model": "model-1", **({"reward": "reward_model-1"} if stage == "ppo" else {})}, again,
                            lambda names, given=given, step=step, row=row: given.into_library(names, row.spec.check(
                                {k: v for k, v in step.settings.items() if k in ("annotators", "least_strength")})))
        run, theirs = again.runs.create(spec), told.runs.get(run_id)
        given.put(run.dir, step, row.spec)
        assert given.same(run.dir, step, row.spec) and given.same(theirs.dir, step, row.spec)
        for stream in ("pairs", "unlabelled") if stage == "ppo" else ("pairs",):
            mine = layout.input_rows(run.dir, stream).read_bytes()
            assert mine == layout.input_rows(theirs.dir, stream).read_bytes() and (mine or stream == "pairs"), (stage, stream)
        layout.input_rows(run.dir, "pairs").write_bytes(b"")
        assert not given.same(run.dir, step, row.spec)
    titles = [(s.title, s.count) for s in again.library.pairs.sets()]
    assert titles == [("Mine", 3), ("Ferries: {all}", 6), ("Ports", 3), ("Ports", 1), ("Ferries: {all}", 3), ("Ferries: {all}", 8)]


def test_what_people_edited_and_found_bad_comes_back_as_it_was(tmp_path: Path) -> None:
    rows = [PreferencePair(id="a" * 32, prompt=pair(1).prompt, chosen="As Ada rewrote it.", rejected="No.", strength=3, by="Ada"),
            PreferencePair(id="b" * 32, prompt=pair(2).prompt, chosen="One.", rejected="Two.", tie=True, bad=True, by="Ada, Bo"),
            PreferencePair(id="c" * 32, prompt=pair(3).prompt, chosen="One.", rejected="Two.", tie=True, by="Cy")]
    project = Project.create(tmp_path / "p", "P")
    made = project.library.pairs.create_set("again")
    project.library.pairs.add(made.id, [recipe._pair_of(row.model_dump_json().encode(), ()) for row in rows])
    found = list(project.library.pairs.for_training([made.id]))
    assert [row.model_dump(exclude={"id"}) for row in found] == [row.model_dump(exclude={"id"}) for row in rows]
    assert [row.id for row in found] == [pair_id(r.prompt, r.chosen, r.rejected) for r in rows], "an edited answer makes another pair"


def test_pairs_that_are_gone_or_changed_are_refused_before_anything_runs(told: Project, tmp_path: Path) -> None:
    recipe.write(told, "model-2", tmp_path / "taste.toml", STAGES)
    found = recipe.read(tmp_path / "taste.toml")
    again = Project.create(tmp_path / "again", "Again")
    path = tmp_path / found.pairs[0].file
    whole = path.read_bytes()
    path.write_bytes(whole + b"\n")
    with pytest.raises(Mismatch, match="not what it was"):
        recipe.replay(again, found, STAGES, folder=tmp_path)
    path.unlink()
    with pytest.raises(NotFound, match="the pairs “Ports” of the recipe"):
        recipe.replay(again, found, STAGES, folder=tmp_path)
    path.write_bytes(whole)
    unnamed = found.model_copy(update={"pairs": found.pairs[1:]})
    with pytest.raises(FormatError, match="names the pairs Ports"):
        recipe.replay(again, unnamed, STAGES, folder=tmp_path)
    assert not again.runs.list() and not again.library.pairs.sets()
    layout.input_rows(told.runs.get("4-dpo").dir, "pairs").unlink()
    with pytest.raises(InputError, match="The pairs that 4-dpo was made with are not there"):
        recipe.make(told, "model-2", STAGES)


def test_recipes_without_pairs_are_written_as_before_and_later_ones_are_refused(told: Project, tmp_path: Path) -> None:
    recipe.write(told, "model-1", tmp_path / "old.toml", STAGES)
    text = (tmp_path / "old.toml").read_text("utf-8")
    assert recipe.read(tmp_path / "old.toml").recipe.format == 1 and "[[pairs]]" not in text
    (tmp_path / "new.toml").write_text(text.replace("format = 1", f"format = {recipe.FORMAT + 1}"))
    with pytest.raises(TooNew):
        recipe.read(tmp_path / "new.toml")


def test_making_pairs_and_a_reward_model_as_judge_are_steps_with_their_models(told: Project, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("Where?\n")
    made_of(told, PreferenceSpec(first="project:model-2", files=(str(tmp_path / "prompts.txt"),)), "pairs")
    made = recipe.make(told, "pairs-1", STAGES)
    assert made.step[-1].inputs == {"first": "project:4-dpo"} and made.step[-1].settings["files"] == ["{source:prompts.txt}"]
    assert [s.name for s in made.source] == ["prompts.txt", "text.txt"]
    made_of(told, EvaluateSpec(models=("model-2", "model-3"), judge="reward:reward_model-1"), "evaluation")
    step = recipe.make(told, "evaluation-1", STAGES).step[-1]
    assert step.inputs == {"models": ("4-dpo", "5-ppo"), "judge": "reward:3-reward"}
    assert lineage.read(told).get("evaluation-1").kind == "evaluation"


@pytest.mark.slow
def test_a_replay_in_a_new_project_makes_the_same_models(tmp_path: Path) -> None:
    """By real workers: a reward model, DPO and PPO on a tiny model, and all of them again elsewhere."""
    for made in recorded(tmp_path):
        again = Project.create(tmp_path / "again", "Again")
        labelled(again, "Others", 500, 2)
        for id, same in (("model-2", 0), ("model-3", 0)):
            target = tmp_path / "taken" / f"{id}.toml"
            target.parent.mkdir(exist_ok=True)
            recipe.write(made, id, target, STAGES)
            done = CliRunner().invoke(cli, ["run", str(again.dir), "--recipe", str(target), "--json"])
            assert done.exit_code == 0, done.output
            assert json.loads(done.output.splitlines()[-1])["different"] == same, done.output
        for id in ("reward_model-1", "model-2", "model-3"):
            theirs = next(a for a in again.artifacts.list() if a.title == made.artifacts.get(id).title)
            for name in ("model.safetensors", *(["head.safetensors"] if id == "reward_model-1" else [])):
                assert made.artifacts.get(id).files[name]["sha256"] == theirs.files[name]["sha256"], (id, name)
        sets = [(s.title, s.count, s.labelled) for s in again.library.pairs.sets()]
        assert sets[0] == ("Others", 2, 2) and ("Ferries", 30, 30) in sets and ("Ferries", 34, 30) in sets
        assert not any(r.changed for n in lineage.read(again).nodes.values() for r in n.stale)
        outcome = recipe.replay(again, recipe.read(target), STAGES, folder=target.parent, device="cpu")
        assert all(s.skipped for s in outcome.steps) and len(again.library.pairs.sets()) == len(sets)
        here = recipe.replay(made, recipe.read(target), STAGES, folder=target.parent, device="cpu")
        assert all(s.skipped for s in here.steps), "where they were made they are there"


def recorded(folder: Path) -> Iterator[Project]:
    before = {name: os.environ.get(name) for name in ("FLEDGE_HOME", "FLEDGE_THREADS")}
    os.environ.update(FLEDGE_HOME=str(folder / "home"), FLEDGE_THREADS="1")
    (folder / "text").mkdir()
    rows = [json.dumps({"text": "".join(TEXT.format(n=n * 7 + i, m=n + i * 3, k=1) for i in range(4))}) for n in range(90)]
    (folder / "text" / "a.jsonl").write_text("\n".join(rows) + "\n", "utf-8")
    project = Project.create(folder / "first", "First")
    run_to_its_end(project, CorpusSpec(sources=(str(folder / "text"),), near_duplicates=False, seed=7))
    run_to_its_end(project, TokenizerSpec(corpus="corpus-1", vocab_size=320))
    run_to_its_end(project, PretrainSpec(corpus="corpus-1", tokenizer="tokenizer-1", title="tiny", depth=1, width=32, max_seq_len=128,
                                         steps=4, tokens_per_step=128, eval_tokens=1000, sample_every=0, compile="off", dtype="float32"))
    plain = {"compile": "off", "dtype": "float32", "sample_every": 0, "sample_tokens": 4, "checkpoint_every_minutes": 0}
    one = labelled(project, "Ferries", 0, 30, waiting=4)
    run_to_its_end(project, RewardSpec(model="model-1", pairs=(one,), title="Taste", batch_size=8, **plain))
    run_to_its_end(project, DpoSpec(model="model-1", pairs=(one,), title="Direct", batch_size=8, **plain))
    run_to_its_end(project, PpoSpec(model="model-1", reward="reward_model-1", pairs=(one,), title="Proximal", rollouts=2, batch_size=8,
                                    max_new_tokens=6, **plain))
    yield project
    for name, value in before.items():
        os.environ.pop(name, None) if value is None else os.environ.update({name: value})
