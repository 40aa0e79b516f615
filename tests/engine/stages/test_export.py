"""The export stage: what it writes, its receipt, and what it refuses; killed, stopped, done again."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from engine.cli import cli
from engine.contract.context import Command, RunContext
from engine.contract.errors import DiskFull, InputError, Mismatch, Missing, SettingError, Stopped
from engine.contract.events import Event, Notice, Progress
from engine.model.formats import quantize
from engine.project import files, layout
from engine.project.artifacts import Artifact
from engine.project.project import Project
from engine.project.runs import Run
from engine.stages.export.run import run
from engine.stages.export.spec import ExportSpec
from engine.stages.pretrain.spec import PretrainSpec
from tests.engine.model.formats import made
from tests.engine.model.formats.ollama_fake import FakeOllama, Go
from tests.engine.text.browse.made import Made
from tests.engine.text.browse.made import make as make_corpus

ROOT = Path(__file__).parents[3]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """`model-1` and the checkpoint `1-pretrain@20`, raised from corpus-1 and tokenizer-1."""
    monkeypatch.setenv("FLEDGE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:9")  # nobody listens there
    opened = Project.create(tmp_path / "p", "Tides")
    with opened.artifacts.create("corpus", title="Sea stories") as writer:
        make_corpus(writer.path, [Made("The ferry leaves at dawn and comes back at night."), Made("The owl sleeps.", split="validation")])
        writer.finish(documents=2, bytes=64, splits={})
    with opened.artifacts.create("tokenizer", title="700 tokens", parents=["corpus-1"]) as writer:
        made.tokenizer().save(writer.path)
        writer.finish(vocab_size=700)
    start = opened.runs.create(PretrainSpec(title="tiny", corpus="corpus-1", tokenizer="tokenizer-1"))
    with files.atomic_folder(layout.checkpoint(start.dir, 20)) as aside:
        made.write_random(aside, made.config(), seed=4)
        (aside / layout.MANIFEST).write_text(json.dumps({"files": files.hash_folder(aside), "facts": {"bpb": 1.5}}))
    with opened.artifacts.create("model", title="Tiny | tides", parents=["corpus-1", "tokenizer-1"], run=start.id,
                                 spec={"depth": 2, "matrix_learning_rate": 0.02, "corpus": "/secret/place"}) as writer:
        made.write_random(writer.path, made.config())
        writer.finish(step=40, bpb=1.25, val_loss=2.5)
    return opened


def context_of(project: Project, started: Run, attempt: int = 1, command: Command | None = None) -> tuple[RunContext, list[Event]]:
    events: list[Event] = []
    return RunContext(run_dir=started.dir, project_dir=project.dir, run_id=started.id, attempt=attempt, emitter=events.append,
                      reader=lambda: command), events


def export(project: Project, **settings: object) -> tuple[Artifact, list[Event]]:
    spec = ExportSpec.check({"model": "model-1", **settings})
    started = project.runs.create(spec)
    context, events = context_of(project, started)
    run(spec, context)
    return project.artifacts.list("export")[-1], events


def left_over(folder: Path) -> list[str]:
    return [p.name for p in folder.iterdir() if p.name.startswith(files.TEMPORARY)]


@pytest.mark.parametrize(("to", "extra", "architecture"), [("hf", {"dtype": "bfloat16"}, "LlamaForCausalLM"),
                                                           ("gguf", {"quantisation": "q8_0"}, "llama")])
def test_the_receipt_says_what_was_written(project: Project, tmp_path: Path, to: str, extra: dict, architecture: str) -> None:
    out = tmp_path / "out" / ("folder" if to == "hf" else "tiny.gguf")
    receipt, events = export(project, to=to, out=str(out), **extra)
    facts = receipt.facts
    written = files.hash_folder(out) if out.is_dir() else {"tiny.gguf": {"sha256": files.hash_file(out), "size": out.stat().st_size}}
    assert facts["files"] == written and facts["path"] == str(out) and facts["architecture"] == architecture
    assert facts["bytes"] == sum(f["size"] for f in written.values()) and "round_trip" not in facts
    assert receipt.parents == ("model-1",) and facts["verdicts"]["llama.cpp"]["loads"] and facts["precision"] == next(iter(extra.values()))
    assert json.loads((receipt.path / "receipt.json").read_text()) == facts
    assert not left_over(out.parent) and not layout.work(project.runs.list("export")[0].dir).exists()
    told = [e for e in events if isinstance(e, Progress)]
    assert told and told[-1].done == told[-1].total > 0


def test_a_checkpoint_is_exported_with_the_parents_of_its_run(project: Project, tmp_path: Path) -> None:
    receipt, _ = export(project, model="1-pretrain@20", to="hf", out=str(tmp_path / "out"))
    assert receipt.parents == ("corpus-1", "tokenizer-1") and receipt.facts["model"] == "1-pretrain@20"


def test_the_card_tells_where_the_model_comes_from(project: Project, tmp_path: Path) -> None:
    export(project, to="hf", out=str(tmp_path / "out"), licence="CC-BY-4.0", title="Gulls [v1]")
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert card.startswith("---\nlibrary_name: transformers\n") and "\nlicense: cc-by-4.0\n---\n" in card
    for words in ("# Tiny \\| tides", "Corpus *Sea stories* (`corpus-1`): 2 documents, 64 bytes", "Tokenizer *700 tokens* (`tokenizer-1`)",
                  "Bits per byte, held-out text: 1.2500", "118,848 parameters", "`tokenizer-1` (tokenizer): 700 tokens, from `corpus-1`",
                  "AutoModelForCausalLM", "mlx_lm.generate"):
        assert words in card, words
    assert "secret" not in card and str(tmp_path) not in card
    export(project, model="1-pretrain@20", to="hf", out=str(tmp_path / "other"), licence="Ask me first.")
    card = (tmp_path / "other" / "README.md").read_text("utf-8")
    assert "license: other" in card and "\nAsk me first.\n" in card and "Bits per byte, held-out text: 1.5000" in card


def test_the_round_trip_stands_in_the_receipt(project: Project, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    receipt, events = export(project, to="hf", out=str(tmp_path / "out"), check_prompts=4)
    report = receipt.facts["round_trip"]
    assert report["faithful"] is True and report["prompts"] == 4 and report["runtime"] == "transformers"
    assert any(isinstance(e, Notice) and e.code == "round_trip" and e.text == report["sentence"] for e in events)


def test_what_is_there_is_not_touched_unless_asked_and_never_if_it_is_no_export(project: Project, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    export(project, to="hf", out=str(out))  # an empty folder is as good as none
    before = files.hash_folder(out)
    with pytest.raises(InputError, match="is there already") as told:
        export(project, to="hf", out=str(out), dtype="float16")
    assert told.value.code == "exists" and files.hash_folder(out) == before
    export(project, to="hf", out=str(out), dtype="float16", overwrite=True)
    assert files.hash_folder(out)["model.safetensors"]["size"] < 0.6 * before["model.safetensors"]["size"]
    (out / "thesis.docx").write_text("mine")
    with pytest.raises(InputError, match=r"holds thesis\.docx"):
        export(project, to="hf", out=str(out), overwrite=True)
    assert (out / "thesis.docx").read_text() == "mine"
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError):
        export(project, to="hf", out=str(tmp_path / "file"), overwrite=True)
    with pytest.raises(SettingError, match="inside the project"):
        export(project, to="hf", out=str(layout.artifacts(project.dir) / "mine"))
    assert not left_over(tmp_path) and len(project.artifacts.list("export")) == 2


def test_a_file_in_a_folder_that_is_there_gets_a_name(project: Project, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    receipt, _ = export(project, to="gguf", out=str(tmp_path / "models"), quantisation="f16")
    assert receipt.facts["path"] == str(tmp_path / "models" / "tiny-tides-f16.gguf")


def test_what_exportability_refuses_is_refused_in_its_words(project: Project, tmp_path: Path) -> None:
    with project.artifacts.create("model", title="odd") as writer:
        made.write_random(writer.path, made.config(qk_norm=True, mlp_bias=True))
        writer.finish()
    for to, reason in (("hf", "no known architecture has QK-norm"), ("gguf", "no architecture with QK-norm and biases"),
                       ("ollama", "QK-norm")):
        with pytest.raises(Mismatch, match=reason) as told:
            export(project, model="model-2", to=to, out=str(tmp_path / "x"))
        assert told.value.code == "not_exportable"
    with pytest.raises(Mismatch, match="has no adapter"):
        export(project, to="lora", out=str(tmp_path / "x"))
    with pytest.raises(SettingError, match="not a whole path"):
        export(project, to="hf", out="x")
    assert not (tmp_path / "x").exists()


def test_a_full_disk_is_told_before_anything_is_written(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from engine.stages.export import place
    monkeypatch.setattr(place, "ROOM", 1 << 60)
    with pytest.raises(DiskFull, match="The export needs"):
        export(project, to="gguf", out=str(tmp_path / "x.gguf"))
    assert not (tmp_path / "x.gguf").exists() and not left_over(tmp_path)


def test_a_stop_leaves_nothing(project: Project, tmp_path: Path) -> None:
    spec = ExportSpec.check({"model": "model-1", "to": "gguf", "out": str(tmp_path / "x.gguf")})
    context, _ = context_of(project, project.runs.create(spec), command=Command("stop"))
    with pytest.raises(Stopped):
        run(spec, context)
    assert not (tmp_path / "x.gguf").exists() and not left_over(tmp_path) and not project.artifacts.list("export")


@pytest.fixture
def big(project: Project) -> Iterator[str]:
    """A model whose export takes long enough to be killed in the middle."""
    with project.artifacts.create("model", title="big") as writer:
        made.write_random(writer.path, made.config(hidden_size=1024, num_layers=6, num_heads=8, head_dim=128, intermediate_size=4096))
        writer.finish()
    yield "model-2"


@pytest.mark.parametrize("to", ["hf", "gguf"])
def test_killed_in_the_middle_nothing_stands_under_the_name_and_again_it_is_whole(project: Project, big: str, tmp_path: Path,
                                                                                  to: str) -> None:
    out = tmp_path / "exports" / ("folder" if to == "hf" else "m.gguf")
    spec = ExportSpec.check({"model": big, "to": to, "out": str(out), "quantisation": "f32"})
    started = project.runs.create(spec)
    worker = [sys.executable, "-m", "engine.worker", str(started.dir)]
    env = {**os.environ, "FLEDGE_THREADS": "1"}
    kills = 0
    for _ in range(3):
        child = subprocess.Popen(worker, cwd=ROOT, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while child.poll() is None and time.monotonic() < deadline:
            sizes = [p.stat().st_size for p in out.parent.rglob("*") if p.is_file()] if out.parent.exists() else []
            if sum(sizes) > 1_000_000:
                break
            time.sleep(0.002)
        if child.poll() is None:
            child.send_signal(signal.SIGKILL)
            kills += 1
            assert not out.exists() and left_over(out.parent)
        child.wait()
        if out.exists():
            break
    assert kills
    done = subprocess.run(worker, cwd=ROOT, env=env, capture_output=True, check=False, timeout=120)
    receipt = project.artifacts.list("export")[-1]
    assert done.returncode == 0 and not left_over(out.parent)
    found = files.hash_folder(out) if to == "hf" else {out.name: {"sha256": files.hash_file(out), "size": out.stat().st_size}}
    assert receipt.facts["files"] == found


def test_killed_after_it_was_put_in_place_the_receipt_is_made_from_what_is_there(project: Project, tmp_path: Path,
                                                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "m.gguf"
    spec = ExportSpec.check({"model": "model-1", "to": "gguf", "out": str(out)})
    started = project.runs.create(spec)
    context, _ = context_of(project, started)
    with monkeypatch.context() as patched:
        patched.setattr("engine.stages.export.run.parents_of", lambda *a: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run(spec, context)
    assert out.exists() and not project.artifacts.list("export")
    written = out.stat().st_mtime_ns
    context, _ = context_of(project, started, attempt=2)
    run(spec, context)
    receipt = project.artifacts.list("export")[0]
    assert out.stat().st_mtime_ns == written and receipt.facts["files"][out.name]["sha256"] == files.hash_file(out)
    run(spec, context_of(project, started, attempt=3)[0])
    assert len(project.artifacts.list("export")) == 1


def test_k_quants_need_a_binding_and_say_so(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if quantize.available():
        receipt, _ = export(project, to="gguf", out=str(tmp_path / "k.gguf"), quantisation="q6_k")
        assert receipt.facts["precision"] == "q6_k" and not left_over(tmp_path)
    monkeypatch.setattr(quantize, "BINDING", "no_such_binding")
    with pytest.raises(Missing, match="no binding that can is installed"):
        export(project, to="gguf", out=str(tmp_path / "x.gguf"), quantisation="q4_k_m")
    assert not (tmp_path / "x.gguf").exists()


def test_without_ollama_a_gguf_and_a_modelfile_are_written(project: Project, tmp_path: Path) -> None:
    receipt, events = export(project, to="ollama", out=str(tmp_path / "for ollama"), quantisation="q8_0")
    assert sorted(receipt.facts["files"]) == ["Modelfile", "model.gguf"] and receipt.facts["created"] is False
    assert (tmp_path / "for ollama" / "Modelfile").read_text("utf-8").startswith("FROM ./model.gguf\nTEMPLATE")
    told = next(e for e in events if isinstance(e, Notice) and e.code == "no_ollama")
    assert "ollama create tiny-tides -f" in told.remedy
    with pytest.raises(SettingError, match="No Ollama runs"):
        export(project, to="ollama")


def test_a_running_ollama_gets_the_model(project: Project) -> None:
    with FakeOllama() as fake:
        receipt, _ = export(project, to="ollama", host=fake.url, name="me/tides:q8", quantisation="q8_0", check_prompts=2)
        facts = receipt.facts
        body, sha = fake.models["me/tides:q8"], facts["files"]["model.gguf"]["sha256"]
        assert body["files"] == {"model.gguf": f"sha256:{sha}"} and f"sha256:{sha}" in fake.blobs
        assert Go(body["template"]).render([{"role": "user", "content": "Hi"}]) == "<|user|> Hi<|end|><|assistant|>"
        assert facts["created"] and facts["uploaded"] and facts["path"] == f"{fake.url}/me/tides:q8"
        assert facts["ollama_greedy"]["equal"] == 0 and facts["ollama_greedy"]["prompts"] > 0  # the fake says what it likes
        with pytest.raises(SettingError, match="has a model called"):
            export(project, to="ollama", host=fake.url, name="me/tides:q8", quantisation="q8_0")
        again, _ = export(project, to="ollama", host=fake.url, name="me/tides:q8", quantisation="q8_0", overwrite=True)
        assert again.facts["uploaded"] is False  # the blob was there


def test_the_command_runs_it_and_tells_the_receipt(project: Project, tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["export", str(project.dir), "1-pretrain@20", "--to", "gguf", "--out", str(tmp_path / "c.gguf"),
                                    "--dtype", "float16", "--licence", "mit", "--json"])
    told = json.loads(done.stdout.splitlines()[-1])
    assert done.exit_code == 0 and told["artifact"] == "export-1" and told["precision"] == "f16" and (tmp_path / "c.gguf").is_file()
    for words, code, error in ((("--to", "lora"), 3, "not_exportable"), (("--to", "onnx"), 2, "setting"),
                               (("--dtype", "q5_1"), 2, "setting"), (("--to", "gguf", "--out", str(tmp_path / "c.gguf")), 3, "exists")):
        done = CliRunner().invoke(cli, ["export", str(project.dir), "model-1", *words, "--json"])
        assert (done.exit_code, json.loads(done.stdout.splitlines()[-1])["error"]) == (code, error), done.stdout


def test_the_command_says_where_the_files_are_and_what_it_knows(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    done = CliRunner().invoke(cli, ["export", str(project.dir), "model-1", "--to", "gguf", "--out", str(tmp_path / "d.gguf")])
    assert done.exit_code == 0 and f"It is in {tmp_path / 'd.gguf'}." in done.stdout
    done = CliRunner().invoke(cli, ["export", str(project.dir), "model-1", "--to", "parquet", "--json"])
    told = json.loads(done.stdout.splitlines()[-1])
    assert (done.exit_code, told["error"], told["remedy"]) == (2, "setting", "Known: hf, gguf, ollama.") and "parquet" in told["sentence"]


def test_what_was_exported_comes_back_and_goes_out_the_same(project: Project, tmp_path: Path) -> None:
    """Export, import, export: the same bytes of weights and tokenizer, and the same tokens that end an answer."""
    export(project, to="hf", out=str(tmp_path / "a"))
    done = CliRunner().invoke(cli, ["import-model", str(project.dir), str(tmp_path / "a"), "--json"])
    assert done.exit_code == 0, done.output
    export(project, model=json.loads(done.stdout.splitlines()[-1])["artifact"], to="hf", out=str(tmp_path / "b"))
    for name in ("model.safetensors", "tokenizer.json", "tokenizer_config.json", "config.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    ends = [sorted(json.loads((tmp_path / x / "generation_config.json").read_text())["eos_token_id"]) for x in "ab"]
    assert ends[0] == ends[1] and "An open model" in (tmp_path / "b" / "README.md").read_text()
