"""A tuned model leaves the project as an adapter for PEFT and merged for transformers: both compute what this program computes."""

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from engine.cli import cli
from engine.contract.context import RunContext
from engine.contract.errors import Mismatch, SettingError
from engine.model.adapter_files import adapter_facts, save_adapter, save_adapter_checkpoint, weights_sha256
from engine.model.checkpoint import load_model, save_weights
from engine.model.decoder import Decoder
from engine.model.lora import LoraSettings, add_lora, lora_parameters, merge_lora
from engine.project import files, layout
from engine.project.project import Project
from engine.stages.export.run import run
from engine.stages.export.spec import ExportSpec
from engine.stages.pretrain.spec import PretrainSpec
from engine.text.tokenizer import Tokenizer
from tests.engine.model.formats import made

peft = pytest.importorskip("peft")
transformers = pytest.importorskip("transformers")

GPT2 = dict(shape="gpt2", num_kv_heads=4, attention_bias=True, output_bias=True, mlp_bias=True)
CASES = {
    "llama, all": ({}, LoraSettings(rank=4, alpha=10.0)),
    "llama, some, rslora": (dict(tie_embeddings=False), LoraSettings(rank=8, alpha=6.0, rslora=True, targets=("k", "o", "gate"))),
    "qwen3": (dict(qk_norm=True, head_dim=24), LoraSettings(rank=4, alpha=10.0, targets=("q", "v"))),
    "llama with a bias in the output only": (dict(output_bias=True), LoraSettings(rank=4, alpha=10.0)),
    "tokens": ({}, LoraSettings(rank=4, alpha=10.0, targets=("q", "v"), tokens=(5, 599, 17))),
    "tokens, untied": (dict(tie_embeddings=False), LoraSettings(rank=4, alpha=10.0, targets=("up",), tokens=(5, 599, 17))),
    "tokens, gpt2": (GPT2, LoraSettings(rank=4, alpha=10.0, targets=("up",), tokens=(5, 599, 17))),
    "gpt2, all": (GPT2, LoraSettings(rank=4, alpha=10.0)),
    "gpt2, rslora": (GPT2, LoraSettings(rank=4, alpha=10.0, rslora=True)),
    "gpt2, some": (GPT2, LoraSettings(rank=4, alpha=9.0, rslora=True, targets=("q", "v", "down"))),
}


def tuned(tmp_path: Path, shape: dict, settings: LoraSettings) -> tuple[Project, Decoder]:
    """model-1, its adapter as checkpoint 1-pretrain@20, and the finished model-2; and the tuned model, merged."""
    project = Project.create(tmp_path / "p", "Tides")
    with project.artifacts.create("model", title="Base") as writer:
        made.write_random(writer.path, made.config(**shape), sharp=3.0)
        start = writer.finish(step=40).path
    model = load_model(start)
    add_lora(model, settings, seed=2)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for _, p in lora_parameters(model):
            p.copy_(torch.randn(p.shape, generator=generator) * 0.15)
    begun = project.runs.create(PretrainSpec(title="tuning", corpus="corpus-1", tokenizer="tokenizer-1"))
    with files.atomic_folder(layout.checkpoint(begun.dir, 20)) as aside:
        save_adapter_checkpoint(aside, model, base="model-1", base_sha256=weights_sha256(start), tokenizer_file=start / "tokenizer.json")
        (aside / layout.MANIFEST).write_text(json.dumps({"files": files.hash_folder(aside)}))
    with project.artifacts.create("model", title="Tuned", parents=["model-1"], run=begun.id) as writer:
        save_adapter(writer.path, model, base="model-1", base_sha256=weights_sha256(start), merged=True)
        merge_lora(model)
        save_weights(writer.path, model, tokenizer_file=start / "tokenizer.json")
        writer.finish(step=20)
    return project, model.eval()


def export(project: Project, **settings: object) -> dict:
    started = project.runs.create(ExportSpec.check(settings))
    run(ExportSpec.check(settings), RunContext(run_dir=started.dir, project_dir=project.dir, run_id=started.id, attempt=1,
                                               emitter=lambda event: None, reader=lambda: None))
    return project.artifacts.list("export")[-1].facts


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_adapter_and_merged_export_compute_the_same_elsewhere(case: str, tmp_path: Path) -> None:
    project, model = tuned(tmp_path, *CASES[case])
    tokens = torch.randint(model.config.vocab_size, (2, 60), generator=torch.Generator().manual_seed(1))
    tokens[:, 7:10] = torch.tensor([5, 599, 17])
    wanted = model.logits(model(tokens))
    export(project, model="model-1", to="hf", out=str(tmp_path / "base"))

    def base():
        return transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "base", dtype=torch.float32, local_files_only=True).eval()

    assert (base()(tokens).logits - wanted).abs().max() > 0.05  # the adapter changes something
    for number, id in enumerate(("model-2", "1-pretrain@20")):
        there = tmp_path / f"adapter-{number}"
        facts = export(project, model=id, to="lora", out=str(there), base_name=str(tmp_path / "base"))
        assert facts["base"] == "model-1" and facts["lora"]["rank"] == CASES[case][1].rank and facts["to"] == "lora"
        assert {"adapter_config.json", "adapter_model.safetensors", "README.md", "tokenizer.json"} <= {p.name for p in there.iterdir()}
        theirs = peft.PeftModel.from_pretrained(base(), there).eval()
        assert (theirs(tokens).logits - wanted).abs().max() < 1e-4
        assert (theirs.merge_and_unload()(tokens).logits - wanted).abs().max() < 1e-4
        by_name = peft.AutoPeftModelForCausalLM.from_pretrained(there)  # which loads the base by the name that was given
        assert (by_name(tokens).logits - wanted).abs().max() < 1e-4
        words = transformers.AutoTokenizer.from_pretrained(there)
        assert words("The ferry")["input_ids"]
        export(project, model=id, to="hf", out=str(tmp_path / f"merged-{number}"))
        merged = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / f"merged-{number}", dtype=torch.float32).eval()
        assert (merged(tokens).logits - wanted).abs().max() < 1e-4
    assert (tmp_path / "adapter-0" / "adapter_model.safetensors").read_bytes() == (
        tmp_path / "adapter-1" / "adapter_model.safetensors").read_bytes()


def test_gguf_of_an_adapters_checkpoint_is_that_of_the_merged_model(tmp_path: Path) -> None:
    import numpy as np
    from gguf import GGUFReader
    project, _ = tuned(tmp_path, *CASES["llama, all"])
    for name, id in (("a", "model-2"), ("b", "1-pretrain@20")):
        export(project, model=id, to="gguf", out=str(tmp_path / f"{name}.gguf"))
    one, other = ({t.name: t.data for t in GGUFReader(tmp_path / f"{n}.gguf").tensors} for n in "ab")
    assert one.keys() == other.keys()
    assert all(np.allclose(one[n], other[n], rtol=0, atol=1e-6) for n in one)


@torch.no_grad()
def test_an_adapter_that_was_exported_is_imported_and_computes_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEDGE_HOME", str(tmp_path / "home"))
    project, model = tuned(tmp_path, *CASES["llama, some, rslora"])
    export(project, model="model-2", to="lora", out=str(tmp_path / "x"))

    def command(*words: str) -> tuple[int, dict]:
        done = CliRunner().invoke(cli, ["import-model", str(project.dir), str(tmp_path / "x"), *words, "--json"])
        return done.exit_code, json.loads(done.stdout.splitlines()[-1])

    code, told = command()
    assert code == 2 and told["error"] == "no_base" and "--base" in told["remedy"]
    assert len(project.artifacts.list("model")) == 2
    code, told = command("--base", "model-1", "--title", "Came back")
    assert code == 0, told
    made = project.artifacts.list("model")[-1]
    assert made.title == "Came back" and made.parents == ("model-1",) and made.facts["format"] == "peft"
    made.verify()
    assert adapter_facts(made.path).merged and adapter_facts(made.path).settings == CASES["llama, some, rslora"][1]
    tokens = torch.randint(model.config.vocab_size, (2, 60), generator=torch.Generator().manual_seed(1))
    wanted = model.logits(model(tokens))
    for merge in (True, False):
        again = load_model(made.path, merge=merge)
        assert (again.logits(again(tokens)) - wanted).abs().max() < 1e-5


def test_an_adapter_with_a_chat_template_makes_a_model_that_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEDGE_HOME", str(tmp_path / "home"))
    project, _ = tuned(tmp_path, *CASES["llama, some, rslora"])
    export(project, model="model-2", to="lora", out=str(tmp_path / "x"))

    def chats(template: str | None) -> tuple[bool, str]:
        config = tmp_path / "x" / "tokenizer_config.json"
        told = json.loads(config.read_text("utf-8")) if config.is_file() else {}
        told.pop("chat_template", None)
        config.write_text(json.dumps(told | ({"chat_template": template} if template else {})), "utf-8")
        done = CliRunner().invoke(cli, ["import-model", str(project.dir), str(tmp_path / "x"), "--base", "model-1", "--json"])
        assert done.exit_code == 0, done.output
        made = project.artifacts.list("model")[-1]
        return made.facts["chat"], Tokenizer.load(made.path).chat_template

    own = "{% for m in messages %}[{{ m.role }}] {{ m.content }}{% endfor %}"
    assert chats(own) == (True, own)
    assert chats(None)[0] is False
    assert chats("{{ nothing")[0] is False


def test_what_cannot_be_an_adapter_is_said_before_anything_is_written(tmp_path: Path) -> None:
    project, _ = tuned(tmp_path, *CASES["llama, all"])
    with pytest.raises(Mismatch, match="has no adapter") as told:
        export(project, model="model-1", to="lora", out=str(tmp_path / "x"))
    assert told.value.code == "not_exportable" and told.value.remedy
    with pytest.raises(SettingError, match="by itself"):
        export(project, model="model-2", to="lora", out=str(tmp_path / "x"), check_prompts=3)
    with pytest.raises(SettingError, match="float32"):
        ExportSpec.asked("model-2", "t", "lora", tmp_path / "x", "q8_0")
    assert ExportSpec.asked("model-2", "Sea tales", "lora", None).out.endswith("Sea-tales-lora")
    assert not (tmp_path / "x").exists()
    export(project, model="model-2", to="lora", out=str(tmp_path / "x"))
    export(project, model="model-2", to="lora", out=str(tmp_path / "x"), overwrite=True)  # what an export wrote may be replaced
