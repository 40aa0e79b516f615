"""The command line: help that is complete, exit codes that mean something, JSON for machines."""

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from engine import pipeline
from engine.cli import cli, with_inputs
from engine.contract import events as ev
from engine.contract.errors import InputError, NotFound
from engine.contract.rows import Answer, Message, Pair, pair_id
from engine.pipeline import STAGES
from engine.project import layout
from engine.project.project import Project
from engine.project.run_state import RunState, apply
from engine.stages.pretrain.spec import PretrainSpec
from engine.stages.reward.spec import RewardSpec
from engine.terminal import RunProgress, harmless

README = Path(__file__).parents[2] / "README.md"


def commands() -> list[tuple[str, click.Command]]:
    assert isinstance(cli, click.Group)
    return sorted(cli.commands.items())


def call(*words: str) -> tuple[int, str]:
    made = CliRunner().invoke(cli, list(words))
    if made.exception and not isinstance(made.exception, SystemExit):
        raise made.exception
    return made.exit_code, made.stdout


@pytest.mark.parametrize(("name", "command"), commands())
def test_every_command_and_option_explains_itself(name: str, command: click.Command) -> None:
    assert command.help and command.help.strip().endswith("."), name
    for option in command.params:
        if isinstance(option, click.Option) and not option.hidden:
            assert option.help and option.help.endswith((".", ")")), f"{name} {option.name}"


@pytest.mark.parametrize("name", [name for name, _ in commands() if name != "app"])
def test_every_command_stands_in_the_readme_and_speaks_json(name: str) -> None:
    assert f"fledge {name}" in README.read_text("utf-8")
    assert isinstance(cli, click.Group)
    assert any("--json" in option.opts for option in cli.commands[name].params), name


@pytest.mark.parametrize("stage", list(STAGES))
def test_settings_lists_every_setting_of_a_stage(stage: str) -> None:
    code, out = call("settings", stage, "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and {r["name"] for r in rows} == set(STAGES[stage].spec.model_fields)
    assert all(r["label"] and r["help"] for r in rows)
    assert call("settings", stage)[0] == 0


def test_settings_stand_as_they_are_written() -> None:
    lines = call("settings", "sft")[1].splitlines()
    shown = {line.split()[0]: line.split()[1:] for line in lines if not line.startswith(" ")}
    assert shown["lora_targets"] == ["q,k,v,o,gate,up,down"] and shown["packing"] == ["true"] and shown["title"] == ["–"]
    assert shown["seed"] == ["42", "0..2147483647"] and shown["grad_clip"] == ["1", "0.."] and shown["examples"] == ["–"]


def test_models_and_sets_go_in_by_their_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEDGE_HOME", str(tmp_path / "home"))
    project = Project.create(tmp_path / "p", "Ferry")
    for title, chat in (("Base", False), ("Tuned", True)):
        with project.artifacts.create("model", title=title) as writer:
            writer.finish(chat=chat)
    sets = [project.library.examples.create_set(title).id for title in ("Boats", "Ports")]
    stages = {id: pipeline.stage(id) for id in ("sft", "evaluate", "instruct", "adapt")}
    said: list[str] = []
    filled = with_inputs(project, stages["sft"], {}, ("model-2", *sets), said.append)
    assert (filled["model"], filled["examples"]) == ("model-2", tuple(sets))
    filled = with_inputs(project, stages["evaluate"], {}, ("model-1", "model-2", sets[0]), said.append)
    assert (filled["models"], filled["examples"]) == (("model-1", "model-2"), (sets[0],))
    assert with_inputs(project, stages["instruct"], {}, (sets[1],), said.append) == {"seeds": (sets[1],)}
    with pytest.raises(InputError, match="several of the kind model"):
        with_inputs(project, stages["sft"], {}, (sets[0],), said.append)
    with pytest.raises(NotFound):
        with_inputs(project, stages["sft"], {}, ("set-9",), said.append)
    project.artifacts.delete("model-2")
    assert with_inputs(project, stages["sft"], {}, (), said.append)["model"] == "model-1" and "model-1" in said[-1]
    code, out = call("models", str(tmp_path / "p"))
    assert code == 0 and out.split() == ["model-1", "continues", "Base"]


def test_pairs_and_reward_models_go_in_by_their_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEDGE_HOME", str(tmp_path / "home"))
    project = judged(tmp_path)
    one, other = (project.library.pairs.create_set(title).id for title in ("Ferries", "Ports"))
    boats = project.library.examples.create_set("Boats").id
    stages = {id: pipeline.stage(id) for id in ("reward", "dpo", "ppo", "sft")}
    said: list[str] = []
    for stage in ("reward", "dpo"):
        filled = with_inputs(project, stages[stage], {}, ("model-1", other, one), said.append)
        assert (filled["model"], filled["pairs"]) == ("model-1", (other, one))
    filled = with_inputs(project, stages["ppo"], {}, ("model-1", one, boats, "1-reward@5"), said.append)
    assert (filled["reward"], filled["pairs"], filled["examples"]) == ("1-reward@5", (one,), (boats,))
    assert with_inputs(project, stages["ppo"], {}, ("model-1", one), said.append)["reward"] == "reward_model-1", "the only one"
    with pytest.raises(NotFound, match="no set of pairs"):
        with_inputs(project, stages["dpo"], {}, ("model-1", "pair-set-9"), said.append)
    with pytest.raises(InputError, match="sft takes no reward_model"):
        with_inputs(project, stages["sft"], {}, ("reward_model-1",), said.append)


def judged(tmp_path: Path) -> Project:
    """A model, a reward model, and a checkpoint of a run that trained one."""
    project = Project.create(tmp_path / "p", "Ferry")
    for kind, title in (("model", "Tuned"), ("reward_model", "Taste")):
        with project.artifacts.create(kind, title=title) as writer:
            writer.finish(chat=True)
    set_id = project.library.pairs.create_set("Some").id
    prompt = (Message(role="user", content="Which?"),)
    project.library.pairs.add(set_id, [Pair(id=pair_id(prompt, "a", "b"), prompt=prompt, first=Answer(text="a"), second=Answer(text="b"),
                                            facts={"best": "first"})])
    run = project.runs.create(RewardSpec(model="model-1", pairs=(set_id,)))
    folder = layout.checkpoint(run.dir, 5)
    folder.mkdir(parents=True)
    (folder / layout.MANIFEST).write_text("{}")
    return project


@pytest.mark.parametrize(("words", "said"), [
    (("chat", "{}", "--checkpoint", "reward_model-1", "--prompt", "x"), "reward_model-1 is a reward model"),
    (("chat", "{}", "--checkpoint", "1-reward@5", "--prompt", "x"), "1-reward@5 is a reward model"),
    (("export", "{}", "reward_model-1"), "scores answers, and writes none"),
    (("export", "{}", "1-reward@5"), "scores answers, and writes none"),
    (("run", "{}", "evaluate", "--set", "models=model-1,reward_model-1"), "reward_model-1 is a reward model"),
    (("run", "{}", "sft", "--set", "model=1-reward@5", "--set", "examples=set-1"), "1-reward@5 is a reward model"),
    (("run", "{}", "preference", "--set", "first=project:reward_model-1", "--set", "prompts=x"), "reward_model-1 is a reward model"),
    (("run", "{}", "ppo", "--set", "model=model-1", "--set", "reward=model-1", "--set", "pairs=pair-set-1"), "a model that writes"),
    (("run", "{}", "evaluate", "--set", "models=model-1", "--set", "judge=reward:model-1"), "a model that writes"),
    (("run", "{}", "reward", "--set", "model=model-1"), "Choose at least one set of labelled pairs"),
    (("run", "{}", "dpo", "--set", "model=model-1", "--set", "pairs=pair-set-2"), "None of these pairs has a label"),
    (("run", "{}", "dpo", "--set", "model=model-1", "--set", "pairs=pair-set-7"), "no set of pairs called pair-set-7"),
    (("run", "{}", "preference", "--set", "first=project:model-1"), "There are no prompts")])
def test_what_cannot_be_is_refused_in_words_before_a_run_is_made(words: tuple[str, ...], said: str, tmp_path: Path,
                                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEDGE_HOME", str(tmp_path / "home"))
    project = judged(tmp_path)
    empty = project.library.pairs.create_set("Nobody has looked").id
    prompt = (Message(role="user", content="Where?"),)
    project.library.pairs.add(empty, [Pair(id=pair_id(prompt, "a", "b"), prompt=prompt, first=Answer(text="a"), second=Answer(text="b"))])
    done = CliRunner().invoke(cli, [word.format(project.dir) for word in words])
    assert done.exit_code in (2, 3, 4) and said in done.output and "Traceback" not in done.output, done.output
    assert [run.id for run in project.runs.list()] == ["1-reward"]
    assert "reward" not in call("models", str(project.dir))[1]


def test_new_then_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEDGE_HOME", str(tmp_path / "home"))
    code, out = call("new", str(tmp_path / "p"), "--name", "Ferry", "--json")
    assert code == 0 and json.loads(out) == {"project": str(tmp_path / "p"), "name": "Ferry"}
    assert call("runs", str(tmp_path / "p"), "--json") == (0, "")
    assert call("models", str(tmp_path / "p"), "--json") == (0, "")


@pytest.mark.parametrize(("words", "code", "error"), [
    (("new", "{p}"), 4, "exists"),
    (("runs", "{p}/nothing"), 3, "not_found"),
    (("run", "{p}", "fly"), 2, "unknown_stage"),
    (("run", "{p}", "pretrain", "--set", "wings=2"), 2, "unknown_setting"),
    (("run", "{p}", "pretrain", "--set", "depth"), 2, "setting_form"),
    (("run", "{p}", "pretrain", "--set", "depth=99"), 2, "setting"),
    (("run", "{p}", "pretrain"), 2, "setting"),
    (("run", "{p}", "tokenizer", "--input", "corpus-9"), 3, "not_found"),
    (("run", "{p}", "tokenizer", "--source", "x"), 2, "setting"),
    (("resume", "{p}", "7"), 3, "not_found"),
    (("chat", "{p}", "--prompt", "x"), 3, "not_found"),
])
def test_mistakes_have_exit_codes_and_remedies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], code: int,
                                               error: str) -> None:
    monkeypatch.setenv("FLEDGE_HOME", str(tmp_path / "home"))
    assert call("new", str(tmp_path / "p"))[0] == 0
    got, out = call(*(w.replace("{p}", str(tmp_path / "p")) for w in words), "--json")
    told = json.loads(out.splitlines()[-1])
    assert (got, told["error"]) == (code, error)
    assert told["sentence"].endswith(".") and told["remedy"].endswith(".")


@pytest.mark.parametrize(("name", "content", "error"), [
    ("none.txt", "", "no_text"),
    ("table.jsonl", '{"a": 1}\n', "unreadable"),
])
def test_a_run_that_fails_ends_with_the_exit_code_of_its_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: str,
                                                               error: str) -> None:
    monkeypatch.setenv("FLEDGE_HOME", str(tmp_path / "home"))
    (tmp_path / name).write_text(content, "utf-8")
    assert call("new", str(tmp_path / "p"))[0] == 0
    code, out = call("run", str(tmp_path / "p"), "corpus", "--source", str(tmp_path / name), "--json")
    assert (code, json.loads(out)["error"]) == (3, error)


def test_a_device_that_is_not_there_is_named_at_the_first_and_a_later_attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEDGE_HOME", str(tmp_path / "home"))
    made = Project.create(tmp_path / "p").runs.create(PretrainSpec(corpus="corpus-1", tokenizer="tokenizer-1"))
    for attempt in (1, 2):
        code, out = call("resume", str(tmp_path / "p"), made.id, "--device", "toaster", "--json")
        assert (code, json.loads(out)["error"]) == (5, "device_unavailable")
        assert made.state().finished is not None and made.state().finished.attempt == attempt


def test_a_folder_that_refuses_is_named_without_a_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEDGE_HOME", str(tmp_path / "home"))
    (tmp_path / "file").write_text("in the way")
    code, out = call("new", str(tmp_path / "file" / "p"), "--json")
    told = json.loads(out)
    assert (code, told["error"]) == (4, "folder") and str(tmp_path / "file") in told["sentence"]


def test_what_nobody_expected_is_our_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Project, "open", lambda folder: [][1])
    code, out = call("runs", str(tmp_path), "--json")
    assert (code, json.loads(out)["error"]) == (70, "internal")


def test_a_models_text_cannot_steer_the_terminal() -> None:
    assert harmless("a\x1b[2Jb\x07\x9bc\x7f\r\n\td") == "a\ufffd[2Jb\ufffd\ufffdc\ufffd\ufffd\n\td"


def test_progress_of_training_has_loss_speed_and_what_is_left_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.terminal.PLAIN_SECONDS", -1.0)
    made = Project.create(tmp_path / "p").runs.create(PretrainSpec(corpus="corpus-1", tokenizer="tokenizer-1"))
    shown, state = RunProgress(made, 0), RunState()
    for event in (ev.Facts(facts={"steps": 1000}), ev.Phase(id="train", title="Train"), ev.Progress(done=0, total=1000, unit="steps"),
                  ev.Metrics(columns={"step": [1.0], "loss": [4.5], "tokens_per_second": [1234.0]}),
                  ev.Progress(done=1, total=1000, unit="steps", rate=10.0, eta=90.0)):
        shown(apply(state, event), event)
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].replace("\u00a0", " ") == "1 / 1,000 steps, loss 4.500, 1,234 tokens/s, 1 min 30 s left"
