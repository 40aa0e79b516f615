"""Model folders that hold an adapter: what they say, where their base is found, and that every reader of model folders gets the sum."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from engine.contract.errors import Corrupt, FormatError, InputError, Mismatch, NotFound
from engine.model.adapter_files import (
    ADAPTER,
    DESCRIPTION,
    adapter_facts,
    needs_base,
    open_adapter,
    save_adapter,
    save_adapter_checkpoint,
    weights_file,
    weights_sha256,
)
from engine.model.checkpoint import WEIGHTS, load_config, load_model, load_tensors, save_tensors, save_weights
from engine.model.decoder import Decoder
from engine.model.formats.weights import Piece, Weights
from engine.model.lora import LoraSettings, add_lora, has_lora, lora_parameters, lora_state, merge_lora
from engine.project import files, layout
from engine.project.project import Project
from tests.engine.model.formats import made

SETTINGS = LoraSettings(rank=4, alpha=10.0, targets=("q", "v", "o", "up"), rslora=True)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    opened = Project.create(tmp_path / "p", "Tides")
    with opened.artifacts.create("model", title="Base") as writer:
        made.write_random(writer.path, made.config())
        writer.finish(step=40)
    return opened


def base(project: Project) -> Path:
    return layout.artifacts(project.dir) / "model-1"


def adapted(folder: Path, settings: LoraSettings = SETTINGS, seed: int = 1) -> Decoder:
    """The model in `folder` with an adapter that changes it."""
    model = load_model(folder)
    add_lora(model, settings, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, p in lora_parameters(model):
            p.copy_(torch.randn(p.shape, generator=generator) * 0.2)
    return model


def checkpoint(project: Project, model: Decoder, of: str = "model-1", run: str = "1-sft", step: int = 20) -> Path:
    """As a LoRA run writes it."""
    folder = layout.checkpoint(layout.run(project.dir, run), step)
    start = layout.artifacts(project.dir) / of if "@" not in of else layout.checkpoint(layout.run(project.dir, of.split("@")[0]),
                                                                                      int(of.split("@")[1]))
    with files.atomic_folder(folder) as aside:
        save_adapter_checkpoint(aside, model, base=of, base_sha256=weights_sha256(start), tokenizer_file=start / "tokenizer.json")
        (aside / layout.MANIFEST).write_text(json.dumps({"files": files.hash_folder(aside)}))
    return folder


def tokens() -> torch.Tensor:
    return torch.randint(600, (2, 50), generator=torch.Generator().manual_seed(1))


def logits(model: Decoder) -> torch.Tensor:
    with torch.no_grad():
        return model.logits(model(tokens()))


def test_an_adapters_folder_loads_as_its_base_with_the_adapter(project: Project) -> None:
    model = adapted(base(project))
    folder = checkpoint(project, model)
    assert {p.name for p in folder.iterdir()} == {"config.json", ADAPTER, DESCRIPTION, "tokenizer.json", "manifest.json"}
    assert needs_base(folder) and not needs_base(base(project)) and weights_file(folder).name == ADAPTER
    wanted = logits(model.eval())
    loaded = load_model(folder)
    assert not has_lora(loaded) and not loaded.training and (logits(loaded) - wanted).abs().max() < 1e-4
    assert (logits(load_model(base(project))) - wanted).abs().max() > 0.1
    apart = load_model(folder, merge=False)
    assert apart.lora == SETTINGS and torch.equal(logits(apart), wanted)
    assert [n for n, p in apart.named_parameters() if p.requires_grad] == [n for n, _ in lora_parameters(model)]
    assert load_config(folder) == load_config(base(project))
    exact = merged_in_float64(base(project), model)
    for name, tensor in loaded.state_dict().items():
        assert (tensor - exact[name]).abs().max() < 1e-6, name
    rounded = load_model(folder, dtype=torch.bfloat16)  # added in float32, rounded once
    assert all(torch.equal(t, loaded.state_dict()[n].bfloat16()) for n, t in rounded.state_dict().items())


def merged_in_float64(folder: Path, model: Decoder) -> dict[str, torch.Tensor]:
    """Written out once more, from the definition."""
    state = {name: t.double() for name, t in load_tensors(folder / WEIGHTS).items()}
    c, tensors = model.config, lora_state(model)
    q = c.num_heads * c.head_dim
    kv = c.num_kv_heads * c.head_dim
    rows = {"attention.q": ("attention.qkv", 0, q), "attention.v": ("attention.qkv", q + kv, kv),
            "attention.o": ("attention.output", 0, c.hidden_size), "mlp.up": ("mlp.gate_up", c.intermediate_size, c.intermediate_size)}
    for layer in range(c.num_layers):
        for name, (module, first, count) in rows.items():
            a, b = (tensors[f"layers.{layer}.{name}.{w}"].double() for w in ("lora_A", "lora_B"))
            state[f"layers.{layer}.{module}.weight"][first:first + count] += 10.0 / 2.0 * b @ a
    return {name: t.float() for name, t in state.items()}


def test_an_adapter_may_stand_on_an_adapter(project: Project) -> None:
    first = adapted(base(project), replace(SETTINGS, tokens=(7, 90)))
    below = checkpoint(project, first)
    second = adapted(below, LoraSettings(rank=2, targets=("q", "down"), tokens=(90, 500)), seed=2)
    above = checkpoint(project, second, of="1-sft@20", run="2-sft", step=7)
    wanted = logits(second.eval())
    assert (logits(load_model(above)) - wanted).abs().max() < 1e-4 < (wanted - logits(first.eval())).abs().max()
    assert (logits(load_model(above, merge=False)) - wanted).abs().max() < 1e-4
    with Weights(above) as weights:
        merged = load_model(above).state_dict()
        for name in ("layers.1.attention.qkv.weight", "embed.weight"):
            assert torch.equal(weights.rows(name, 0, weights.shape(name)[0]), merged[name])
        assert torch.equal(weights.rows("embed.weight", 89, 5), merged["embed.weight"][89:94])
    assert torch.equal(merged["embed.weight"][90], second.tokens.embed[0]) and torch.equal(merged["embed.weight"][7], first.tokens.embed[0])
    assert torch.equal(merged["embed.weight"][500], second.tokens.embed[1])


def test_weights_for_other_formats_are_merged_block_by_block(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = checkpoint(project, adapted(base(project)))
    wanted = load_model(folder).state_dict()
    monkeypatch.setattr("engine.model.formats.weights.BLOCK", 700)
    with Weights(folder) as weights:
        assert weights.names == list(load_tensors(base(project) / WEIGHTS)) and weights.code == "F32"
        for name in weights.names:
            blocks = list(weights.blocks(Piece(name, weights.shape(name), name)))
            assert torch.allclose(torch.cat(blocks), wanted[name], rtol=0, atol=1e-6), name  # products of other shapes round otherwise
            assert len(blocks) > 1 or wanted[name].numel() < 700


def test_a_finished_model_has_weights_of_its_own_and_the_adapter_besides(project: Project) -> None:
    model = adapted(base(project))
    wanted = logits(model.eval())
    with project.artifacts.create("model", title="Tuned", parents=["model-1"]) as writer:
        save_adapter(writer.path, model, base="model-1", base_sha256=weights_sha256(base(project)), merged=True)
        merge_lora(model)
        save_weights(writer.path, model, tokenizer_file=base(project) / "tokenizer.json")
        tuned = writer.finish(step=3).path
    assert not needs_base(tuned) and weights_file(tuned).name == WEIGHTS and adapter_facts(tuned).merged
    assert torch.equal(logits(load_model(tuned)), logits(model))
    assert (logits(load_model(tuned, merge=False)) - wanted).abs().max() < 1e-5
    shutil.rmtree(base(project))
    assert torch.equal(logits(load_model(tuned)), logits(model))  # it needs no base any more
    with pytest.raises(NotFound) as missing:
        load_model(tuned, merge=False)
    assert missing.value.code == "base_missing"


@pytest.mark.parametrize("reader", [load_model, Weights, lambda folder: load_model(folder, merge=False)])
def test_a_base_that_is_gone_changed_or_elsewhere_is_said(project: Project, tmp_path: Path, reader) -> None:
    folder = checkpoint(project, adapted(base(project)))
    outside = shutil.copytree(folder, tmp_path / "elsewhere")
    with pytest.raises(NotFound, match="outside") as told:
        reader(outside)
    assert told.value.code == "base_missing" and told.value.remedy
    kept = load_tensors(base(project) / WEIGHTS)
    kept["norm.weight"] += 0.5
    save_tensors(base(project) / WEIGHTS, kept)
    with pytest.raises(Mismatch, match="model-1") as told:
        reader(folder)
    assert told.value.code == "base_changed" and "model-1" in told.value.remedy
    shutil.rmtree(base(project))
    with pytest.raises(NotFound, match="model-1") as told:
        reader(folder)
    assert told.value.code == "base_missing" and told.value.remedy


@pytest.mark.parametrize("id", ["../../../etc", "model-1/../model-1", "1-sft@../20", "", "model-9", "1-sft@99", "@3", "x@y"])
def test_a_base_is_looked_for_inside_the_project_only(project: Project, id: str) -> None:
    folder = checkpoint(project, adapted(base(project)))
    raw = json.loads((folder / DESCRIPTION).read_text())
    (folder / DESCRIPTION).write_text(json.dumps({**raw, "base": id}))
    with pytest.raises(NotFound) as told:
        load_model(folder)
    assert told.value.code == "base_missing"


def test_an_adapter_that_names_itself_as_its_base_ends(project: Project) -> None:
    folder = checkpoint(project, adapted(base(project)))
    raw = json.loads((folder / DESCRIPTION).read_text())
    (folder / DESCRIPTION).write_text(json.dumps({**raw, "base": "1-sft@20", "base_sha256": weights_sha256(folder)}))
    with pytest.raises(Mismatch) as told:
        load_model(folder)
    assert told.value.code == "base_changed"


@pytest.mark.parametrize("change", [
    {"format": 2}, {"settings": {}}, {"settings": None}, {"settings": {**asdict(SETTINGS), "rank": "x"}},
    {"settings": {**asdict(SETTINGS), "rank": 0}}, {"settings": {**asdict(SETTINGS), "rank": 8}}, {"base": None, "base_sha256": 3},
    {"settings": {**asdict(SETTINGS), "tokens": [1, 10**6]}}, {"settings": {**asdict(SETTINGS), "tokens": [1]}},
    {"settings": {**asdict(SETTINGS), "tokens": "x"}}, {"settings": {**asdict(SETTINGS), "tokens": 1}},
    {"settings": {**asdict(SETTINGS), "targets": ["q", "head"]}}, {"settings": {**asdict(SETTINGS), "targets": ["q"]}}])
def test_a_description_that_does_not_fit_is_refused_in_words(project: Project, change: dict) -> None:
    folder = checkpoint(project, adapted(base(project)))
    raw = json.loads((folder / DESCRIPTION).read_text())
    (folder / DESCRIPTION).write_text(json.dumps({**raw, **change}))
    with pytest.raises(InputError) as told:
        load_model(folder)
    assert told.value.remedy


def test_damaged_files_are_refused_and_nothing_is_loaded(project: Project) -> None:
    folder = checkpoint(project, adapted(base(project)))
    whole = (folder / ADAPTER).read_bytes()
    (folder / ADAPTER).write_bytes(whole[:-5])
    with pytest.raises(Corrupt):
        load_model(folder)
    (folder / ADAPTER).unlink()
    with pytest.raises(NotFound):
        load_model(folder)
    (folder / ADAPTER).write_bytes(whole)
    (folder / DESCRIPTION).write_text("{")
    with pytest.raises(FormatError):
        load_model(folder)
    (folder / DESCRIPTION).unlink()
    with pytest.raises(NotFound):
        load_model(folder)
    with pytest.raises(NotFound) as told:
        adapter_facts(folder)
    assert told.value.code == "no_adapter" and open_adapter(folder, load_config(folder)) is None


def test_the_hash_follows_every_link_of_the_chain(project: Project) -> None:
    folder = checkpoint(project, adapted(base(project)))
    before = weights_sha256(folder)
    assert before == weights_sha256(folder) != weights_sha256(base(project)) == files.hash_file(base(project) / WEIGHTS)
    raw = json.loads((folder / DESCRIPTION).read_text())
    for change in ({"base_sha256": "0" * 64}, {"settings": {**raw["settings"], "alpha": 11.0}}):
        (folder / DESCRIPTION).write_text(json.dumps({**raw, **change}))
        assert weights_sha256(folder) != before
    (folder / DESCRIPTION).write_text(json.dumps({**raw, "merged": True}))
    assert weights_sha256(folder) == before


def test_the_server_and_chat_take_adapters_for_models(project: Project) -> None:
    from engine.sampling.session import Session
    from engine.serve.catalogue import Catalogue
    from engine.serve.loaded import Loaded
    from engine.stages.pretrain.spec import PretrainSpec
    from engine.training.devices import choose
    run = project.runs.create(PretrainSpec(corpus="corpus-1", tokenizer="tokenizer-1"))
    folder = checkpoint(project, adapted(base(project)), run=run.id)
    said = "".join(Session(folder, "cpu").stream("The", temperature=0.0, max_new_tokens=12))
    plain = "".join(Session(base(project), "cpu").stream("The", temperature=0.0, max_new_tokens=12))
    assert said != plain
    listed = Catalogue(project).get(f"{run.id}@20")
    loaded = Loaded(listed, choose("cpu"))
    before = Loaded.stamp_of(listed)
    assert loaded.nbytes > 4 * listed.config.parameters
    raw = load_tensors(folder / ADAPTER)
    save_tensors(folder / ADAPTER, {n: t * 2 for n, t in raw.items()})
    assert Loaded.stamp_of(listed) != before
