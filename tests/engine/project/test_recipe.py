"""Recipes: what is written, what is refused, and that a replay in another project comes to the same hashes, also after a kill."""

import json
import os
import shutil
import signal
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from engine.cli import cli
from engine.contract.errors import FledgeError, FormatError, InputError, Mismatch, NotFound, SettingError, Stopped, TooNew
from engine.pipeline import STAGES
from engine.project import files, launch, layout, recipe
from engine.project.follow import follow
from engine.project.project import Project
from engine.project.run_state import RunState
from engine.project.runs import Run
from engine.stages.corpus.spec import CorpusSpec
from engine.stages.pretrain.spec import PretrainSpec
from engine.stages.tokenizer.spec import TokenizerSpec

TEXT = "The ferry {n} left the quay at {n} with {m} people. The mayor of harbour {m} was glad, and so was boat {k}.\n"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEDGE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FLEDGE_THREADS", "1")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with `text`, and a project `first` in which a corpus, a tokenizer and a tiny model were made by real workers."""
    folder = tmp_path_factory.mktemp("recorded")
    before = {name: os.environ.get(name) for name in ("FLEDGE_HOME", "FLEDGE_THREADS")}
    os.environ.update(FLEDGE_HOME=str(folder / "home"), FLEDGE_THREADS="1")
    (folder / "text").mkdir()
    for part in range(3):
        rows = [json.dumps({"text": "".join(TEXT.format(n=n * 7 + i + part * 1000, m=n + i * 3, k=part) for i in range(4))})
                for n in range(60)]
        (folder / "text" / f"{part}.jsonl").write_text("\n".join(rows) + "\n", "utf-8")
    project = Project.create(folder / "first", "First")
    run_to_its_end(project, CorpusSpec(sources=(str(folder / "text"),), near_duplicates=False, seed=7))
    run_to_its_end(project, TokenizerSpec(corpus="corpus-1", vocab_size=320))
    run_to_its_end(project, PretrainSpec(corpus="corpus-1", tokenizer="tokenizer-1", title="tiny", depth=1, width=32, max_seq_len=32,
                                         steps=4, tokens_per_step=128, eval_tokens=1000, sample_every=0, compile="off", dtype="float32",
                                         checkpoint_every_steps=2))
    yield folder
    for name, value in before.items():
        os.environ.pop(name, None) if value is None else os.environ.update({name: value})




def run_to_its_end(project: Project, spec: Any) -> Run:
    run = project.runs.create(spec)
    state = follow(run, launch.start(run, "cpu"))
    assert state.status == "done", run.log_tail()
    return run


def moved(recorded: Path, tmp_path: Path) -> tuple[recipe.Recipe, Path]:
    """The recipe as it comes back from its file, and the text at another place."""
    recipe.write(Project.open(recorded / "first"), "model-1", tmp_path / "recipe.toml", STAGES)
    shutil.copytree(recorded / "text", tmp_path / "elsewhere" / "text")
    return recipe.read(tmp_path / "recipe.toml"), tmp_path / "elsewhere" / "text"


# writing -------------------------------------------------------------------------------------------------------------


def test_a_recipe_names_the_runs_in_order_with_what_differs_from_the_defaults(recorded: Path) -> None:
    made = recipe.make(Project.open(recorded / "first"), "model-1", STAGES)
    assert [s.name for s in made.step] == ["1-corpus", "2-tokenizer", "3-pretrain"] and made.recipe.makes == "3-pretrain"
    assert made.step[0].settings == {"seed": 7, "sources": ["{source:text}"], "near_duplicates": False}
    assert made.step[1].settings == {"seed": 42, "vocab_size": 320} and made.step[1].inputs == {"corpus": "1-corpus"}
    assert made.step[2].inputs == {"corpus": "1-corpus", "tokenizer": "2-tokenizer"}
    assert made.step[2].device == "cpu" and made.step[2].threads == 1
    (source,) = made.source
    assert (source.name, source.path, source.kind) == ("text", str(recorded / "text"), "folder") and len(source.sha256) == 64


def test_the_file_is_toml_that_a_person_can_read_and_reads_back_the_same(recorded: Path, tmp_path: Path) -> None:
    written = recipe.write(Project.open(recorded / "first"), "model-1", tmp_path / "r.toml", STAGES)
    text = (tmp_path / "r.toml").read_text("utf-8")
    assert text.startswith("# tiny\n") and "fledge run again --recipe r.toml" in text
    assert recipe.read(tmp_path / "r.toml") == written
    assert tomllib.loads(text)["step"][2]["result"][1]["files"]["model.safetensors"]


def test_only_results_that_come_out_the_same_each_time_have_hashes(recorded: Path) -> None:
    made = recipe.make(Project.open(recorded / "first"), "model-1", STAGES)
    assert "report.json" not in made.step[0].result[0].files and "train/data-00000.arrow" in made.step[0].result[0].files
    artifact = Project.open(recorded / "first").artifacts.get("model-1")
    assert recipe._same_each_time(artifact, "cpu") and not recipe._same_each_time(artifact, "cuda:0")


def test_a_checkpoint_is_a_reference_to_its_run(recorded: Path) -> None:
    project = Project.open(recorded / "first")
    step = project.runs.get("3-pretrain").checkpoint_steps()[-1]
    made = recipe.make(project, f"3-pretrain@{step}", STAGES)
    assert made.recipe.makes == "3-pretrain" and len(made.step) == 3
    with pytest.raises(NotFound):
        recipe.make(project, "3-pretrain@999", STAGES)


def test_a_deleted_parent_is_made_again_as_long_as_its_run_is_there(recorded: Path, tmp_path: Path) -> None:
    shutil.copytree(recorded / "first", tmp_path / "copy")
    project = Project.open(tmp_path / "copy")
    project.artifacts.delete("corpus-1")
    made = recipe.make(project, "tokenizer-1", STAGES)
    assert [s.name for s in made.step] == ["1-corpus", "2-tokenizer"] and made.step[0].result == ()
    project.runs.delete("1-corpus")
    with pytest.raises(NotFound) as wrong:
        recipe.make(Project.open(tmp_path / "copy"), "tokenizer-1", STAGES)
    assert wrong.value.code == "chain" and wrong.value.remedy


def test_what_no_run_made_has_no_recipe(tmp_path: Path) -> None:
    project = Project.create(tmp_path / "p")
    with project.artifacts.create("corpus") as writer:
        writer.finish()
    with pytest.raises(InputError) as wrong:
        recipe.make(project, "corpus-1", STAGES)
    assert wrong.value.code == "no_run"


def test_rows_of_the_library_and_settings_without_a_value_travel(tmp_path: Path) -> None:
    project = Project.create(tmp_path / "p")
    (tmp_path / "a.txt").write_text("text")
    run = project.runs.create(CorpusSpec(sources=(str(tmp_path / "a.txt"),), source_options={str(tmp_path / "a.txt"): {"weight": 2.0}}))
    files.write_json(layout.input_file(run.dir, "decisions"), {"ab12": False})
    with project.artifacts.create("corpus", run=run.id, spec=run.spec) as writer:
        writer.finish()
    recipe.write(project, "corpus-1", tmp_path / "r.toml", STAGES)
    (step,) = recipe.read(tmp_path / "r.toml").step
    assert json.loads(step.rows["decisions"]) == {"ab12": False}
    assert step.settings["source_options"] == {"{source:a.txt}": {"weight": 2.0, "epochs": 1.0}}
    spec = recipe._spec(step, STAGES["corpus"], {"a.txt": "/there"}, {}, project)
    assert spec.sources == ("/there",) and spec.options_of("/there").weight == 2.0


# reading -------------------------------------------------------------------------------------------------------------


HEAD = "[recipe]\nformat = 1\n"
NO_RECIPES = ["not toml =", HEAD, HEAD + "[[step]]\nname = 'a'\nstage = 'corpus'\nx = 1\n",
              HEAD + "[[step]]\nname = 'a'\nstage = 'tokenizer'\n[step.inputs]\ncorpus = 'b'\n",
              HEAD + 2 * "[[step]]\nname = 'a'\nstage = 'corpus'\n", "\x00\xff"]


@pytest.mark.parametrize("text", NO_RECIPES)
def test_what_is_no_recipe_is_refused_in_words(tmp_path: Path, text: str) -> None:
    (tmp_path / "r.toml").write_bytes(text.encode("latin-1"))
    with pytest.raises(FormatError) as wrong:
        recipe.read(tmp_path / "r.toml")
    assert "r.toml" in wrong.value.sentence


def test_a_later_format_asks_for_a_later_fledge(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(f"[recipe]\nformat = {recipe.FORMAT + 1}\nnew = true\n")
    with pytest.raises(TooNew):
        recipe.read(tmp_path / "r.toml")


def test_a_recipe_writes_no_rows_that_its_stage_does_not_read_and_no_export_outside_the_project(tmp_path: Path) -> None:
    project = Project.create(tmp_path / "p")
    bad = recipe.Recipe(recipe=recipe.Head(format=1), step=(recipe.Step(name="a", stage="corpus", rows={"../../x": "{}"}),))
    with pytest.raises(FormatError):
        recipe.replay(project, bad, STAGES)
    step = recipe.Step(name="e", stage="export", settings={"to": "gguf", "out": "../../etc/m.gguf"}, inputs={"model": "m"})
    spec = recipe._spec(step, STAGES["export"], {}, {"model": "model-1"}, project)
    assert Path(spec.out) == layout.exports(project.dir) / "m.gguf"


# replaying -----------------------------------------------------------------------------------------------------------


def test_a_replay_in_a_new_project_comes_to_the_same_hashes_and_a_second_one_runs_nothing(recorded: Path, tmp_path: Path) -> None:
    wanted, text = moved(recorded, tmp_path)
    project = Project.create(tmp_path / "second")
    told: list[str] = []
    outcome = recipe.replay(project, wanted, STAGES, {"text": text}, device="cpu", told=lambda step, what: told.append(what))
    assert told == ["started"] * 3 and (outcome.same, outcome.different) == (4, 0) and not outcome.notes
    first = Project.open(recorded / "first").artifacts.get("model-1")
    assert project.artifacts.get("model-1").files["model.safetensors"] == first.files["model.safetensors"]
    again = recipe.replay(project, wanted, STAGES, {"text": text}, told=lambda step, what: told.append(what))
    assert told[3:] == ["there"] * 3 and again.same == 4 and len(project.runs.list()) == 3


def test_a_replay_that_was_killed_goes_on_where_it_was(recorded: Path, tmp_path: Path) -> None:
    wanted, text = moved(recorded, tmp_path)
    short = wanted.model_copy(update={"step": wanted.step[:2]})
    project = Project.create(tmp_path / "second")

    def kill(run: Run, pid: int) -> RunState:
        if run.stage == "tokenizer":
            os.kill(pid, signal.SIGKILL)
        return follow(run, pid)
    with pytest.raises(FledgeError) as wrong:
        recipe.replay(project, short, STAGES, {"text": text}, watch=kill)
    assert wrong.value.code == "crashed" and wrong.value.exit_code == 70
    told: list[str] = []
    outcome = recipe.replay(project, short, STAGES, {"text": text}, told=lambda step, what: told.append(f"{step.name} {what}"))
    assert told[0] == "1-corpus there" and told[1].startswith("2-tokenizer") and outcome.same == 2
    assert [r.id for r in project.runs.list()] == ["1-corpus", "2-tokenizer"], "the killed run went on, no second one was made"


def test_a_stop_during_a_replay_is_a_stop(recorded: Path, tmp_path: Path) -> None:
    wanted, text = moved(recorded, tmp_path)

    def stopped(run: Run, pid: int) -> RunState:
        follow(run, pid)
        return RunState(status="stopped")
    with pytest.raises(Stopped):
        recipe.replay(Project.create(tmp_path / "second"), wanted, STAGES, {"text": text}, watch=stopped)


def test_sources_that_are_gone_or_changed_are_refused_before_anything_runs(recorded: Path, tmp_path: Path) -> None:
    wanted, text = moved(recorded, tmp_path)
    project = Project.create(tmp_path / "second")
    gone = wanted.model_copy(update={"source": (wanted.source[0].model_copy(update={"path": str(tmp_path / "nowhere")}),)})
    with pytest.raises(NotFound) as wrong:
        recipe.replay(project, gone, STAGES)
    assert "--source text=PATH" in wrong.value.remedy
    with pytest.raises(SettingError):
        recipe.replay(project, wanted, STAGES, {"tekst": text})
    (text / "0.jsonl").write_text('{"text": "Something else."}\n', "utf-8")
    changed = wanted.model_copy(update={"source": (wanted.source[0].model_copy(update={"path": str(text)}),)})
    with pytest.raises(Mismatch):
        recipe.replay(project, changed, STAGES)
    assert not project.runs.list()
    places, other = recipe.locate(changed, {"text": text})
    assert places == {"text": str(text)} and other == ["text"], "named by the person, it is taken as it is, and said"


def test_a_result_that_differs_is_told_with_its_files(recorded: Path, tmp_path: Path) -> None:
    wanted, text = moved(recorded, tmp_path)
    (step, *_) = wanted.step
    wrong = {**step.result[0].files, "train/data-00000.arrow": "0" * 64}
    told = step.model_copy(update={"result": (step.result[0].model_copy(update={"files": wrong}),)})
    outcome = recipe.replay(Project.create(tmp_path / "second"), wanted.model_copy(update={"step": (told,)}), STAGES, {"text": text})
    (result,) = outcome.steps[0].results
    assert result.same is False and result.different == ("train/data-00000.arrow",) and outcome.different == 1


def test_decisions_of_the_recipe_and_not_of_the_library_here_go_into_the_run(tmp_path: Path) -> None:
    project = Project.create(tmp_path / "p")
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": f"Document {n}. " + TEXT.format(n=n, m=n, k=n) * 3}) + "\n"
                                              for n in range(120)), "utf-8")
    step = recipe.Step(name="c", stage="corpus", settings={"sources": ["{source:a}"]}, rows={"decisions": '{"ab": false}'})
    made = recipe.Recipe(recipe=recipe.Head(format=1), source=(recipe.Source(name="a", path=str(tmp_path / "a.jsonl")),), step=(step,))
    seen: list[Any] = []

    def watch(run: Run, pid: int) -> RunState:
        seen.append(files.read_json(layout.input_file(run.dir, "decisions")))
        return follow(run, pid)
    recipe.replay(project, made, STAGES, watch=watch)
    other = made.model_copy(update={"step": (step.model_copy(update={"rows": {"decisions": '{"cd": true}'}}),)})
    told: list[str] = []
    recipe.replay(project, other, STAGES, watch=watch, told=lambda step, what: told.append(what))
    assert seen == [{"ab": False}, {"cd": True}] and told == ["started"], "other decisions are another corpus"


# the command line ----------------------------------------------------------------------------------------------------


def call(*words: str) -> tuple[int, list[Any]]:
    done = CliRunner().invoke(cli, [*words, "--json"])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, [json.loads(line) for line in done.stdout.splitlines()]


def test_the_commands_write_and_replay_a_recipe_and_show_the_graph(recorded: Path, tmp_path: Path) -> None:
    first, second, file = str(recorded / "first"), str(tmp_path / "second"), str(tmp_path / "r.toml")
    code, (said,) = call("lineage", first, "--recipe", "tokenizer-1", "--out", file)
    assert code == 0 and said == {"recipe": file, "steps": ["1-corpus", "2-tokenizer"], "sources": ["text"]}
    assert call("new", second)[0] == 0
    code, lines = call("run", second, "--recipe", file, "--source", f"text={recorded / 'text'}")
    assert code == 0 and lines[-1] == {"steps": 2, "same": 2, "different": 0, "changed": [], "notes": [], "artifact": "tokenizer-1"}
    code, (corpus, tokenizer, disk) = call("lineage", second)
    assert code == 0 and tokenizer["parents"] == ["corpus-1"] and corpus["children"] == ["tokenizer-1"] and corpus["bytes"] > 0
    assert disk["bytes"] == files.folder_size(Path(second))
    assert call("lineage", second, "--compare", "tokenizer-1", "2") == (0, [])
    assert [row["same"] for row in call("lineage", second, "--verify", "all")[1]] == [True, True]
    code, (plan,) = call("lineage", second, "--delete", "corpus-1")
    assert code == 0 and plan["deletes"] == ["tokenizer-1", "corpus-1"] and len(Project.open(second).artifacts.list()) == 2
    code, (gone,) = call("lineage", second, "--delete", "corpus-1", "--yes")
    assert code == 0 and gone["deleted"] == ["tokenizer-1", "corpus-1"] and not Project.open(second).artifacts.list()


def test_a_damaged_file_gives_the_exit_code_of_an_input(recorded: Path, tmp_path: Path) -> None:
    shutil.copytree(recorded / "first", tmp_path / "copy")
    (tmp_path / "copy" / "artifacts" / "tokenizer-1" / "tokenizer.json").write_text("{}")
    code, (said,) = call("lineage", str(tmp_path / "copy"), "--verify", "tokenizer-1")
    assert code == 3 and said["wrong"] == {"tokenizer.json": "changed"}


@pytest.mark.parametrize("words", [["corpus", "--recipe", "r.toml"], ["--recipe", "r.toml", "--set", "a=1"], []])
def test_a_recipe_stands_alone_and_a_stage_or_a_recipe_is_needed(tmp_path: Path, words: list[str]) -> None:
    Project.create(tmp_path / "p")
    code, (said,) = call("run", str(tmp_path / "p"), *words)
    assert code == 2 and said["error"] in ("recipe_only", "unknown_stage")
