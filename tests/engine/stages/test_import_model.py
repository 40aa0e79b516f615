"""Importing as a stage: the artifact, its facts and files, refusals that leave nothing, stopping; and the model that chats afterwards."""

import json

import pytest
import torch
from click.testing import CliRunner

from engine.cli import cli
from engine.contract.context import Command, RunContext
from engine.contract.errors import FormatError, SettingError, Stopped
from engine.contract.events import ArtifactMade, Facts, Notice, Phase, Progress
from engine.model.checkpoint import load_config, load_model
from engine.project.models import resolve
from engine.project.project import Project
from engine.stages.import_model.run import run
from engine.stages.import_model.spec import ImportModelSpec
from tests.engine.model.formats.foreign import model, tokenizer, write_gguf

CARD = "---\nlicense: apache-2.0\nbase_model:\n- someone/larger\n---\n# A small model\n\nIt knows nothing.\n"


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("theirs") / "small-one"
    made = model("qwen2")
    made.generation_config.eos_token_id = [1, 3]
    made.save_pretrained(folder)
    tokenizer("qwen2").save_pretrained(folder)
    (folder / "README.md").write_text(CARD)
    return folder


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.setenv("FLEDGE_HOME", str(tmp_path / "home"))
    return Project.create(tmp_path / "project")


def take(project, reader=lambda: None, attempt=1, **settings):
    events = []
    run(ImportModelSpec(**settings), RunContext(run_dir=project.dir / "runs/1-import_model", project_dir=project.dir, attempt=attempt,
                                                run_id="1-import_model", emitter=events.append, reader=reader))
    return project.artifacts.list("model")[-1], events


def test_a_folder_becomes_a_model_of_the_project(project, theirs):
    artifact, events = take(project, folder=str(theirs), dtype="bfloat16")
    assert artifact.title == "small-one" and artifact.kind == "model" and artifact.run == "1-import_model"
    assert set(artifact.files) == {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "generation_config.json",
                                   "source.json"}
    assert artifact.facts["licence"] == "apache-2.0" and artifact.facts["dtype"] == "bfloat16" and artifact.facts["chat"]
    source = json.loads((artifact.path / "source.json").read_text())
    assert source["card"].startswith("# A small model") and source["base_model"] == "someone/larger"
    assert source["files"]["model.safetensors"]["size"] == (theirs / "model.safetensors").stat().st_size
    assert [e.id for e in events if isinstance(e, Phase)] == ["look", "tokenizer", "hash", "convert", "save"]
    told = [e for e in events if isinstance(e, Progress)]
    assert told and {e.unit for e in told} == {"B"} and told[-1].done == told[-1].total == artifact.facts["bytes"]
    assert [e.id for e in events if isinstance(e, ArtifactMade)] == [artifact.id] and any(isinstance(e, Facts) for e in events)
    assert not [e for e in events if isinstance(e, Notice)]
    artifact.verify()
    ref = resolve(project, artifact.id)
    assert ref.chat and ref.folder == artifact.path
    with torch.no_grad():
        assert load_model(ref.folder)(torch.zeros(1, 3, dtype=torch.long)).isfinite().all()


def test_a_gguf_file_is_taken_too_and_a_missing_licence_is_said(project, tmp_path):
    write_gguf(model("llama"), tmp_path / "tiny.gguf")
    artifact, events = take(project, folder=str(tmp_path / "tiny.gguf"))
    assert artifact.title == "tiny" and artifact.facts["form"] == "gguf"
    assert [e.code for e in events if isinstance(e, Notice)] == ["licence"]


def test_a_refusal_leaves_nothing(project, theirs, tmp_path):
    import shutil
    shutil.copytree(theirs, tmp_path / "sliding")
    raw = json.loads((tmp_path / "sliding/config.json").read_text())
    raw |= {"use_sliding_window": True, "sliding_window": 64, "layer_types": ["sliding_attention"] * 3}
    (tmp_path / "sliding/config.json").write_text(json.dumps(raw))
    with pytest.raises(FormatError, match="sliding-window attention with a window of 64 tokens"):
        take(project, folder=str(tmp_path / "sliding"))
    assert project.artifacts.list("model") == [] and not list(project.artifacts.folder.glob(".tmp-*"))


def test_a_stop_leaves_nothing(project, theirs):
    with pytest.raises(Stopped):
        take(project, reader=lambda: Command("stop"), folder=str(theirs))
    assert project.artifacts.list("model") == [] and not list(project.artifacts.folder.glob(".tmp-*"))


def test_a_run_killed_after_its_end_does_not_import_twice(project, theirs):
    first, _ = take(project, folder=str(theirs))
    again, events = take(project, folder="/gone", attempt=2)
    assert again.id == first.id and len(project.artifacts.list("model")) == 1
    assert [e.id for e in events if isinstance(e, ArtifactMade)] == [first.id]


def test_without_a_folder_it_says_so(project):
    with pytest.raises(SettingError, match="no model to import"):
        take(project)


def test_the_command_imports_and_the_model_chats_by_its_own_rules(project, theirs):
    made = CliRunner().invoke(cli, ["import-model", str(project.dir), str(theirs), "--title", "Small", "--json"])
    assert made.exit_code == 0, made.output
    last = json.loads(made.output.strip().splitlines()[-1])
    assert last["artifact"] == "model-1" and last["status"] == "done" and last["architecture"] == "qwen2"
    listed = [json.loads(line) for line in CliRunner().invoke(cli, ["models", str(project.dir), "--json"]).output.splitlines()]
    assert [(m["id"], m["title"], m["chat"]) for m in listed] == [("model-1", "Small", True)]
    said = CliRunner().invoke(cli, ["chat", str(project.dir), "--prompt", "hello", "--json", "--max-tokens", "5"])
    assert said.exit_code == 0 and json.loads(said.output.splitlines()[-1])["checkpoint"] == "model-1"


def test_server_and_session_stop_where_the_generation_settings_say(project, theirs):
    from engine.contract.machine import DeviceFacts
    from engine.sampling.session import Session
    from engine.serve.catalogue import Catalogue
    from engine.serve.loaded import Loaded
    artifact, _ = take(project, folder=str(theirs))
    listed = Catalogue(project).get(artifact.id)
    loaded = Loaded(listed, DeviceFacts(id="cpu", kind="cpu", title="CPU", memory_total=8_000_000_000, dtypes=("float32",)))
    assert {1, 3} <= set(loaded.stop_ids) and loaded.tokenizer.bos_id is None
    talk = [{"role": "user", "content": "Hello"}]
    assert loaded.tokenizer.encode_chat(talk) == tokenizer("qwen2").apply_chat_template(talk, add_generation_prompt=True, return_dict=False)
    assert Session(artifact.path)._stops == loaded.stop_ids
    assert load_config(artifact.path).attention_bias


def test_an_unknown_model_fails_with_its_sentence(project, tmp_path):
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd/config.json").write_text(json.dumps({"model_type": "mamba"}))
    made = CliRunner().invoke(cli, ["import-model", str(project.dir), str(tmp_path / "odd"), "--json"])
    last = json.loads(made.output.strip().splitlines()[-1])
    assert made.exit_code == 3 and last["error"] == "unsupported" and "mamba" in last["sentence"] and last["artifact"] is None
