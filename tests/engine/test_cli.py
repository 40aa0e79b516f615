"""The command line: help that is complete, exit codes that mean something, JSON for machines."""

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from engine.cli import cli, exit_code_of
from engine.contract.errors import FledgeError
from engine.pipeline import STAGES

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


def test_exit_codes_cover_the_whole_hierarchy() -> None:
    def classes(root: type[FledgeError]) -> list[type[FledgeError]]:
        return [root, *(c for sub in root.__subclasses__() for c in classes(sub))]
    for kind in classes(FledgeError):
        assert exit_code_of(kind.code) == kind.exit_code
    assert exit_code_of("internal") == 70
