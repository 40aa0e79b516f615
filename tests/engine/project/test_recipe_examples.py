"""Recipes of what came of examples: they travel beside the recipe, become sets elsewhere, and a tuned model comes out the same."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from test_recipe import TEXT, run_to_its_end

from engine.cli import cli
from engine.contract.errors import FormatError, InputError, Mismatch, NotFound
from engine.contract.rows import Example, Message
from engine.pipeline import STAGES
from engine.project import layout, lineage, recipe, snapshots
from engine.project.project import Project
from engine.stages.adapt.spec import AdaptSpec
from engine.stages.corpus.spec import CorpusSpec
from engine.stages.evaluate.spec import EvaluateSpec
from engine.stages.instruct.spec import InstructSpec
from engine.stages.pretrain.spec import PretrainSpec
from engine.stages.sft.spec import SftSpec
from engine.stages.tokenizer.spec import TokenizerSpec

PLAIN = {"compile": "off", "dtype": "float32", "sample_every": 0, "checkpoint_every_minutes": 0, "batch_size": 8, "epochs": 1.0}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEDGE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FLEDGE_THREADS", "1")


def talks(first: int, count: int) -> list[Example]:
    return [Example(id=f"{n}", messages=(Message(role="user", content=f"Which harbour has ferry {n}?"),
                                         Message(role="assistant", content=f"Harbour {n * 3}.")), origin="person")
            for n in range(first, first + count)]


def add(project: Project, title: str, rows: list[Example]) -> str:
    made = project.library.examples.create_set(title)
    project.library.examples.add(made.id, rows, "person")
    return made.id


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project `first` by real workers: a tiny model, adapted with LoRA, tuned on two sets, of which one changed since."""
    folder = tmp_path_factory.mktemp("tuned")
    before = {name: os.environ.get(name) for name in ("FLEDGE_HOME", "FLEDGE_THREADS")}
    os.environ.update(FLEDGE_HOME=str(folder / "home"), FLEDGE_THREADS="1")
    (folder / "text").mkdir()
    rows = [json.dumps({"text": "".join(TEXT.format(n=n * 7 + i, m=n + i * 3, k=1) for i in range(4))}) for n in range(90)]
    (folder / "text" / "a.jsonl").write_text("\n".join(rows) + "\n", "utf-8")
    project = Project.create(folder / "first", "First")
    run_to_its_end(project, CorpusSpec(sources=(str(folder / "text"),), near_duplicates=False, seed=7))
    run_to_its_end(project, TokenizerSpec(corpus="corpus-1", vocab_size=320))
    run_to_its_end(project, PretrainSpec(corpus="corpus-1", tokenizer="tokenizer-1", title="tiny", depth=1, width=32, max_seq_len=64,
                                         steps=4, tokens_per_step=128, eval_tokens=1000, sample_every=0, compile="off", dtype="float32"))
    run_to_its_end(project, AdaptSpec(model="model-1", corpus="corpus-1", method="lora", lora_rank=2, tokens_per_step=1024,
                                      eval_tokens=1000, **{k: v for k, v in PLAIN.items() if k != "batch_size"}))
    one, other = add(project, "Ferries: {all}", talks(0, 30)), add(project, "Harbours", talks(100, 12))
    project.library.examples.set_status(["3", "4"], "rejected")
    run_to_its_end(project, SftSpec(model="model-2", examples=(other, one), title="Ferryman", **PLAIN))
    project.library.examples.edit("5", talks(6, 1)[0].messages)
    yield folder
    for name, value in before.items():
        os.environ.pop(name, None) if value is None else os.environ.update({name: value})


def written(recorded: Path, target: Path, id: str = "model-3") -> recipe.Recipe:
    target.parent.mkdir(parents=True, exist_ok=True)
    recipe.write(Project.open(recorded / "first"), id, target, STAGES)
    return recipe.read(target)


def test_a_tuned_model_takes_the_examples_of_its_run_along_as_they_were(recorded: Path, tmp_path: Path) -> None:
    found = written(recorded, tmp_path / "ferry.toml")
    step = found.step[-1]
    assert [s.stage for s in found.step] == ["corpus", "tokenizer", "pretrain", "adapt", "sft"] and found.recipe.format == 2
    assert step.settings["examples"] == ["{examples:Harbours}", "{examples:Ferries: all}"] and step.inputs["model"] == "4-adapt"
    assert [(e.title, e.count, e.file) for e in found.examples] == [("Harbours", 12, "ferry-examples-harbours.jsonl"),
                                                                    ("Ferries: {all}", 28, "ferry-examples-ferries-all.jsonl")]
    run = Project.open(recorded / "first").runs.get("5")
    assert b"".join((tmp_path / e.file).read_bytes() for e in found.examples) == layout.input_rows(run.dir, "examples").read_bytes()
    assert Example.model_validate_json((tmp_path / found.examples[1].file).read_text().splitlines()[3]) == talks(5, 1)[0], "as it was then"
    assert not (set(written(recorded, tmp_path / "other.toml", "model-2").step[-1].settings) & {"examples"})
    assert recipe.read(tmp_path / "other.toml").recipe.format == 1 and not list(tmp_path.glob("other-*"))


def test_a_replay_in_a_new_project_tunes_the_same_weights_and_a_second_one_runs_nothing(recorded: Path, tmp_path: Path) -> None:
    written(recorded, tmp_path / "taken" / "ferry.toml")
    again = Project.create(tmp_path / "again", "Again")
    add(again, "Other ones", talks(0, 3))  # ids that the recipe's examples have, too
    done = CliRunner().invoke(cli, ["run", str(again.dir), "--recipe", str(tmp_path / "taken" / "ferry.toml"), "--json"])
    assert done.exit_code == 0, done.output
    last = json.loads(done.output.splitlines()[-1])
    assert (last["different"], last["steps"]) == (0, 5) and last["same"] >= 5
    first = Project.open(recorded / "first")
    for id in ("model-2", "model-3"):
        mine, theirs = (p.artifacts.get(id).files["model.safetensors"]["sha256"] for p in (again, first))
        assert mine == theirs
    run = again.runs.list("sft")[0]
    assert list(snapshots.rows(run.dir, "examples")) == list(snapshots.rows(first.runs.get("5").dir, "examples"))
    assert [(s.title, s.count) for s in again.library.examples.sets()] == [("Other ones", 3), ("Harbours", 12), ("Ferries: {all}", 28)]
    assert not any(r.changed for n in lineage.read(again).nodes.values() for r in n.stale)
    outcome = recipe.replay(again, recipe.read(tmp_path / "taken" / "ferry.toml"), STAGES, folder=tmp_path / "taken", device="cpu")
    assert all(s.skipped for s in outcome.steps) and len(again.library.examples.sets()) == 3
    here = recipe.replay(first, recipe.read(tmp_path / "taken" / "ferry.toml"), STAGES, folder=tmp_path / "taken", device="cpu")
    assert all(s.skipped for s in here.steps), "where they were made they are there"


def test_an_evaluation_goes_on_from_the_models_and_takes_its_questions_along(recorded: Path, tmp_path: Path) -> None:
    shutil.copytree(recorded / "first", tmp_path / "copy")
    project = Project.open(tmp_path / "copy")
    spec = EvaluateSpec(models=("model-2", "4-adapt@1", "model-3"), examples=("set-2",), judge="project:model-1")
    run = project.runs.create(spec)
    with project.artifacts.create("evaluation", title="Exam", run=run.id, spec=json.loads(spec.model_dump_json())) as writer:
        writer.finish()
    layout.checkpoint(layout.run(project.dir, "4-adapt"), 1).mkdir(parents=True, exist_ok=True)
    (layout.checkpoint(layout.run(project.dir, "4-adapt"), 1) / layout.MANIFEST).write_text("{}")
    made = recipe.make(project, "evaluation-1", STAGES)
    assert made.step[-1].inputs == {"models": ("4-adapt", "4-adapt@1", "5-sft"), "judge": "project:3-pretrain"}
    assert made.step[-1].settings["examples"] == ["{examples:Harbours}"] and len(made.examples) == 2, "equal rows are one file"
    layout.suites(project.dir).mkdir()
    (layout.suites(project.dir) / "questions.toml").write_text("")
    with pytest.raises(InputError, match="is a suite of this project"):
        recipe.make(project, "evaluation-1", STAGES)


def test_examples_that_are_gone_or_changed_are_refused_before_anything_runs(recorded: Path, tmp_path: Path) -> None:
    found = written(recorded, tmp_path / "ferry.toml")
    again = Project.create(tmp_path / "again", "Again")
    path = tmp_path / found.examples[0].file
    whole = path.read_bytes()
    path.write_bytes(whole + b"\n")
    with pytest.raises(Mismatch, match="not what it was"):
        recipe.replay(again, found, STAGES, folder=tmp_path)
    path.unlink()
    with pytest.raises(NotFound, match="not beside it"):
        recipe.replay(again, found, STAGES, folder=tmp_path)
    path.write_bytes(whole)
    nameless = found.model_copy(update={"examples": found.examples[1:]})
    with pytest.raises(FormatError, match="does not describe them"):
        recipe.replay(again, nameless, STAGES, folder=tmp_path)
    assert again.runs.list() == [] and not layout.library_file(again.dir).exists()


@pytest.mark.parametrize("file", ["../rows.jsonl", "/etc/rows.jsonl", "C:rows.jsonl", "rows.txt"])
def test_a_recipe_names_no_file_elsewhere(recorded: Path, tmp_path: Path, file: str) -> None:
    written(recorded, tmp_path / "ferry.toml")
    text = (tmp_path / "ferry.toml").read_text("utf-8").replace("ferry-examples-harbours.jsonl", file)
    (tmp_path / "ferry.toml").write_text(text, "utf-8")
    with pytest.raises(FormatError):
        recipe.read(tmp_path / "ferry.toml")


def test_a_model_whose_run_is_gone_says_that_its_examples_are(recorded: Path, tmp_path: Path) -> None:
    shutil.copytree(recorded / "first", tmp_path / "copy")
    project = Project.open(tmp_path / "copy")
    project.runs.delete(project.runs.list("sft")[0].id)
    with pytest.raises(InputError, match="not there any more"):
        recipe.make(project, "model-3", STAGES)


def test_generated_examples_are_asked_for_again_by_the_same_words_but_confirmations_stay_behind(tmp_path: Path) -> None:
    project = Project.create(tmp_path / "p")
    seeds = add(project, "Seeds", talks(0, 3))
    (tmp_path / "own.py").write_text("def rows(inputs):\n    yield from ()\n\n\ndef steps(row, ask):\n    yield from ()\n")
    (tmp_path / "held.jsonl").write_text("{}\n")
    with project.artifacts.create("model", title="m", run="1-import_model", spec={"folder": "/models/m"}) as writer:
        writer.finish()
    spec = InstructSpec(responder="project:model-1", judge="http://gpu-box:1/v1 big", allowed_host="gpu-box", seeds=(seeds,),
                        recipe=str(tmp_path / "own.py"), recipe_hash="0" * 64, held_out=(str(tmp_path / "held.jsonl"), seeds))
    run = project.runs.create(spec)
    with project.artifacts.create("examples", title="Made", run=run.id, spec=json.loads(spec.model_dump_json())) as writer:
        writer.finish()
    step = recipe.make(project, "examples-1", STAGES).step[-1]
    assert step.inputs == {"responder": "project:1-import_model"} and not {"allowed_host", "recipe_hash"} & set(step.settings)
    assert step.settings["recipe"] == "own.py" and step.settings["recipe_text"] == (tmp_path / "own.py").read_text()
    assert step.settings["seeds"] == ["{examples:Seeds}"] and step.settings["held_out"] == ["{examples:Seeds}", "{source:held.jsonl}"]
    assert step.result[0].files == {}
