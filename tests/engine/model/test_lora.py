"""LoRA against PEFT on transformers' form of the same model: forward, loss, gradients; then what each of lora.py's functions promises."""

import copy
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from engine.contract.errors import Mismatch, SettingError
from engine.contract.tuning import TARGETS
from engine.model import hf, memory
from engine.model.config import ModelConfig
from engine.model.decoder import Decoder
from engine.model.formats.peft_write import modules, peft_config, peft_tensors, prefix
from engine.model.lora import (
    LoraSettings,
    adapter_parameters,
    add_lora,
    freeze,
    has_lora,
    load_lora,
    lora_parameters,
    lora_state,
    merge_lora,
    trained_parameters,
    without_lora,
)
from engine.training.optim import Optimizer, OptimizerSettings

VOCAB = 199
BASE = dict(vocab_size=VOCAB, hidden_size=64, num_layers=2, num_heads=4, num_kv_heads=2, head_dim=16, intermediate_size=112, max_seq_len=96)
GPT2 = dict(shape="gpt2", num_kv_heads=4, attention_bias=True, output_bias=True, mlp_bias=True)


def config(**changes) -> ModelConfig:
    return ModelConfig(**{**BASE, **changes})


def decoder(made: ModelConfig, seed: int = 3) -> Decoder:
    """Random, with matrices, norms and biases away from their neutral values."""
    model = Decoder(made, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator) * (0.2 if weight.dim() == 1 else 0.08))
    return model


def stir(model: Decoder, seed: int = 5, size: float = 0.05) -> None:
    """Adapters that change something: PEFT begins with B zero, which would hide A's gradients."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, p in lora_parameters(model):
            p.copy_(torch.randn(p.shape, generator=generator) * size)


def tokens(rows: int = 3, length: int = 40, seed: int = 1) -> torch.Tensor:
    return torch.randint(VOCAB, (rows, length), generator=torch.Generator().manual_seed(seed))


SETTINGS = {
    "all": LoraSettings(rank=8, alpha=16),
    "rank 1": LoraSettings(rank=1, alpha=3.0),
    "rank above the width of a projection": LoraSettings(rank=40, alpha=20.0),
    "rslora": LoraSettings(rank=8, alpha=12.0, rslora=True),
    "queries and values": LoraSettings(rank=4, alpha=8, targets=("q", "v")),
    "one in the middle": LoraSettings(rank=4, alpha=8, targets=("k", "up")),
    "mlp": LoraSettings(rank=4, alpha=8, targets=("gate", "up", "down")),
    "tokens": LoraSettings(rank=4, alpha=8, tokens=(7, 150, 3)),
}
SHAPES = {"llama": {}, "qwen2": dict(attention_bias=True), "qwen3 untied": dict(qk_norm=True, tie_embeddings=False, head_dim=24),
          "gpt2": GPT2}


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("shape", SHAPES)
def test_logits_loss_and_every_gradient_equal_pefts(shape, settings):
    peft, transformers = pytest.importorskip("peft"), pytest.importorskip("transformers")
    made, lora = config(**SHAPES[shape]), SETTINGS[settings]
    model = decoder(made)
    raw = hf.config_to_hf(made)
    reference = getattr(transformers, raw["architectures"][0])(transformers.AutoConfig.for_model(**raw))
    reference.load_state_dict(dict(hf.to_hf(made, model.state_dict().__getitem__)), strict=False)
    told = {k: v for k, v in peft_config(made, lora, "").items() if k not in ("peft_type", "base_model_name_or_path", "inference_mode")}
    theirs = peft.get_peft_model(reference, peft.LoraConfig(**told)).train()
    add_lora(model, lora, seed=0)
    model.train()
    stir(model)
    state = {in_memory(name): t for name, t in peft_tensors(made, lora, lora_state(model)).items()}
    missing = theirs.load_state_dict(state, strict=False)
    own = [n for n in missing.missing_keys if "lora" in n or "tokens_delta" in n]
    assert not missing.unexpected_keys and all("lm_head" in n and made.tie_embeddings for n in own)  # a tied head has the embedding's rows
    given = tokens()
    logits, wanted = model.logits(model(given)), theirs(input_ids=given, labels=given)
    assert (logits - wanted.logits).abs().max() < 1e-5 * max(1.0, wanted.logits.abs().max().item())
    loss = model(given[:, :-1], targets_BT=given[:, 1:])
    assert abs(loss.item() - wanted.loss.item()) < 1e-5
    loss.backward()
    wanted.loss.backward()
    assert [n for n, p in model.named_parameters() if p.grad is not None] == [n for n, _ in lora_parameters(model)]
    ours = gradients(model, made, lora)
    found = dict(theirs.named_parameters())
    largest = 0.0
    for name, gradient in ours.items():
        want = found[in_memory(name)].grad
        if made.shape == "gpt2" and ".lora_B" in name:  # what stands outside of the diagonal is not ours to train
            want = torch.where(gradient == 0, 0.0, want)
        assert (gradient - want).abs().max() < 1e-5, name
        largest = max(largest, want.abs().max().item())
    assert largest > 1e-3  # gradients of some size, so that 1e-5 means something
    rows = {n for n in ours if n.endswith("trainable_tokens_delta")}
    assert len(rows) == (0 if not lora.tokens else 1 if made.tie_embeddings else 2)
    assert len(ours) == 2 * made.num_layers * len(modules(made, lora)) + len(rows)
    assert all(n.startswith(prefix(made)) for n in ours.keys() - rows)


def in_memory(name: str) -> str:
    """A file's name of a tensor as PEFT calls it in a model."""
    return name.replace(".weight", ".default.weight") if name.endswith(".weight") else f"{name}.default"


def gradients(model: Decoder, made: ModelConfig, lora: LoraSettings) -> dict[str, torch.Tensor]:
    """By PEFT's names."""
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for (_, p), (_, mine) in zip(lora_parameters(model), lora_parameters(twin), strict=True):
            mine.copy_(p.grad)
    return peft_tensors(made, lora, lora_state(twin))


def test_it_begins_as_peft_does_and_the_same_everywhere():
    model, plain = decoder(config()), decoder(config())
    add_lora(model, LoraSettings(rank=8), seed=4)
    given = tokens()
    assert torch.equal(model(given), plain(given))
    state = lora_state(model)
    assert len(state) == 2 * 2 * 7 and all(not t.any() for n, t in state.items() if n.endswith("lora_B"))
    for name, a in state.items():
        if name.endswith("lora_A"):
            bound = 1 / math.sqrt(a.shape[1])  # kaiming_uniform_(a=sqrt(5)), as peft.tuners.lora.layer does
            assert a.abs().max() <= bound and a.std() == pytest.approx(bound / math.sqrt(3), rel=0.15)
    few = decoder(config())
    add_lora(few, LoraSettings(rank=8, targets=("v", "down")), seed=4)
    for name, tensor in lora_state(few).items():
        assert torch.equal(tensor, state[name]), name
    other = decoder(config())
    add_lora(other, LoraSettings(rank=8), seed=5)
    assert not torch.equal(lora_state(other)["layers.0.attention.q.lora_A"], state["layers.0.attention.q.lora_A"])
    assert trained_parameters(model.parameters()) == adapter_parameters(config(), LoraSettings(rank=8)) == sum(
        t.numel() for t in state.values())


@pytest.mark.parametrize("tied", [True, False])
def test_rows_of_tokens_begin_as_the_tables_own_and_only_they_are_trained(tied):
    model, plain = decoder(config(tie_embeddings=tied)), decoder(config(tie_embeddings=tied))
    lora = LoraSettings(rank=4, tokens=(150, 7))
    add_lora(model, lora, seed=4)
    given = tokens()
    given[:, 3] = 7
    assert torch.equal(model(given), plain(given))
    assert torch.allclose(model.logits(model(given)), plain.logits(plain(given)), atol=1e-5)
    rows = {n: t for n, t in lora_state(model).items() if n.startswith("tokens.")}
    assert rows.keys() == ({"tokens.embed"} if tied else {"tokens.embed", "tokens.head"})
    assert torch.equal(rows["tokens.embed"], plain.embed.weight[[150, 7]])
    assert trained_parameters(model.parameters()) == adapter_parameters(model.config, lora)
    before = {n: t.clone() for n, t in model.named_parameters() if not t.requires_grad}
    optimizer = torch.optim.AdamW([p for _, p in lora_parameters(model)], lr=1e-2)
    for _ in range(3):
        model(given[:, :-1], targets_BT=given[:, 1:]).backward()
        assert model.embed.weight.grad is None
        optimizer.step()
    assert all(torch.equal(t, before[n]) for n, t in model.named_parameters() if n in before)
    assert not torch.equal(model.tokens.embed, plain.embed.weight[[150, 7]])
    for wrong in ((7, 7), (VOCAB,), (-1,)):
        with pytest.raises(Mismatch) as told:
            add_lora(decoder(config()), LoraSettings(rank=4, tokens=wrong), seed=0)
        assert told.value.remedy


@pytest.mark.parametrize("shape", SHAPES)
@torch.no_grad()
def test_merged_it_is_the_same_function_and_an_ordinary_model(shape):
    made = config(**SHAPES[shape])
    model, plain = decoder(made).eval(), decoder(made)
    for lora in (SETTINGS["rslora"], SETTINGS["tokens"], SETTINGS["one in the middle"]):  # a second time on what was merged before
        add_lora(model, lora, seed=1)
        stir(model)
        wanted = model.logits(model(tokens()))
        merge_lora(model)
        assert (model.logits(model(tokens())) - wanted).abs().max() < 2e-5
        assert (wanted - plain.logits(plain(tokens()))).abs().max() > 0.05
        assert not has_lora(model) and model.lora is None
    assert model.state_dict().keys() == plain.state_dict().keys() and all(p.requires_grad for p in model.parameters())
    assert [n for n, _, _ in model.matrix_parts()] == [n for n, _, _ in plain.matrix_parts()]


def test_merging_in_float64_is_exact():
    """Float error aside, merged and apart are the same: told apart from a wrong scale by doing it in float64."""
    model = decoder(config()).double().eval()
    add_lora(model, LoraSettings(rank=8, alpha=24.0), seed=1)
    stir(model)
    model.double()
    with torch.no_grad():
        wanted = model(tokens())
        merge_lora(model)
        assert (model(tokens()) - wanted).abs().max() < 1e-5


@pytest.mark.parametrize("shape", SHAPES)
def test_compiled_and_with_recomputed_activations_the_gradients_are_the_same(shape):
    model = decoder(config(**SHAPES[shape]))
    add_lora(model, LoraSettings(rank=8, tokens=(7, 150)), seed=1)
    model.train()
    stir(model)
    given = tokens()

    def found(run) -> dict[str, torch.Tensor]:
        model.zero_grad()
        run(given[:, :-1], targets_BT=given[:, 1:]).backward()
        return {n: p.grad.clone() for n, p in lora_parameters(model)}

    wanted = found(model)
    compiled = found(torch.compile(model, backend="aot_eager"))
    model.activation_checkpointing = True
    again = found(model)
    for name, gradient in wanted.items():
        assert (compiled[name] - gradient).abs().max() < 1e-6, name
        assert torch.equal(again[name], gradient), name
    torch._dynamo.reset()


def test_bfloat16_arithmetic_trains_float32_adapters_on_a_base_kept_in_bfloat16():
    model, exact = decoder(config()), decoder(config())
    for one in (model, exact):
        add_lora(one, LoraSettings(rank=8), seed=1, frozen_dtype=torch.bfloat16 if one is model else None)
        stir(one)
        one.train()
        one(tokens()[:, :1])
    model.compute_dtype = torch.bfloat16
    assert {p.dtype for n, p in model.named_parameters() if p.requires_grad} == {torch.float32}
    assert {p.dtype for n, p in model.named_parameters() if not p.requires_grad} == {torch.bfloat16}
    given = tokens()
    for one in (model, exact):
        one(given[:, :-1], targets_BT=given[:, 1:]).backward()
    ours = torch.cat([p.grad.flatten() for _, p in lora_parameters(model)])
    wanted = torch.cat([p.grad.flatten() for _, p in lora_parameters(exact)])
    assert ours.dtype == torch.float32
    assert torch.nn.functional.cosine_similarity(ours, wanted, dim=0) > 0.999
    keeps = decoder(config())  # float32 weights, bfloat16 arithmetic: the same gradients to the bit
    add_lora(keeps, LoraSettings(rank=8), seed=1)
    stir(keeps)
    keeps.train()
    keeps.compute_dtype = torch.bfloat16
    keeps(given[:, :-1], targets_BT=given[:, 1:]).backward()
    again = torch.cat([p.grad.flatten() for _, p in lora_parameters(keeps)])
    assert torch.nn.functional.cosine_similarity(ours, again, dim=0) > 0.9999


def test_two_processes_share_the_adapters_gradients(tmp_path):
    """Each with half of the rows: what DDP gives both is what one process has of all."""
    here = Path(__file__)
    code = f"""
import os, sys
sys.path[:0] = [{str(here.parent)!r}, {str(here.parents[3])!r}]
import torch, torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
import test_lora as t
torch.set_num_threads(1)
dist.init_process_group("gloo")
rank = int(os.environ["RANK"])
model = t.decoder(t.config())
t.add_lora(model, t.LoraSettings(rank=4), seed=1)
t.stir(model)
shared, given = DistributedDataParallel(model.train()), t.tokens(4)[2 * rank:2 * rank + 2]
shared(given[:, :-1], targets_BT=given[:, 1:]).backward()
torch.save({{n: p.grad for n, p in model.named_parameters() if p.grad is not None}}, {str(tmp_path)!r} + f"/{{rank}}.pt")
del shared
dist.destroy_process_group()
"""
    (tmp_path / "two.py").write_text(code)
    made = subprocess.run([sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(tmp_path / "two.py")],
                          env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=120)
    assert made.returncode == 0, made.stderr[-3000:]
    model = decoder(config())
    add_lora(model, LoraSettings(rank=4), seed=1)
    stir(model)
    model.train()(tokens(4)[:, :-1], targets_BT=tokens(4)[:, 1:]).backward()
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert first.keys() == second.keys() == {n for n, _ in lora_parameters(model)}
    for name, p in lora_parameters(model):
        assert torch.equal(first[name], second[name]) and (first[name] - p.grad).abs().max() < 1e-6, name


def test_dropout_is_of_the_adapters_input_alone_and_only_in_training():
    given = tokens()
    model, plain = decoder(config()), decoder(config()).eval()
    add_lora(model, LoraSettings(rank=8, dropout=0.5), seed=1)
    model.train()
    assert torch.allclose(model(given), plain(given), atol=1e-5)  # B is zero: nothing of the frozen path is dropped
    stir(model, size=0.02)
    torch.manual_seed(0)
    first, second = model(given), model(given)
    assert not torch.equal(first, second)
    model.eval()
    assert torch.equal(model(given), model(given))
    quiet = model.layers[0].attention.qkv
    x = torch.randn(50, 64)
    wanted = quiet(x)
    model.train()
    with torch.no_grad():
        mean = torch.stack([quiet(x) for _ in range(2000)]).mean(0)
    assert (mean - wanted).abs().max() < 0.02 and (wanted - plain.layers[0].attention.qkv(x)).abs().max() > 0.1


def test_without_lora_it_is_the_model_it_was():
    model, plain = decoder(config()), decoder(config())
    add_lora(model, LoraSettings(rank=8, tokens=(7, 150)), seed=1)
    stir(model)
    given = tokens()
    given[:, 5] = 7
    tuned = model(given)
    assert (model.logits(tuned)[..., [7, 150]] - plain.logits(tuned)[..., [7, 150]]).abs().max() > 0.1
    with without_lora(model):
        assert torch.equal(model(given), plain(given)) and torch.equal(model.logits(tuned), plain.logits(tuned))
        with without_lora(model):
            pass
        assert torch.equal(model(given), plain(given))
    assert torch.equal(model(given), tuned)
    with pytest.raises(ZeroDivisionError), without_lora(model):
        raise ZeroDivisionError
    assert torch.equal(model(given), tuned)
    compiled = torch.compile(model, backend="eager")
    with torch.no_grad():
        assert torch.allclose(compiled(given), tuned, atol=1e-5)
        with without_lora(model):
            assert torch.allclose(compiled(given), plain(given), atol=1e-5)
        assert torch.allclose(compiled(given), tuned, atol=1e-5)
    torch._dynamo.reset()


def test_state_goes_into_another_model_and_nothing_else_does():
    model, other = decoder(config()), decoder(config())
    for one in (model, other):
        add_lora(one, LoraSettings(rank=8), seed=1)
    stir(model)
    load_lora(other, lora_state(model))
    assert torch.equal(other(tokens()), model(tokens()))
    state = {name: t.clone() for name, t in lora_state(model).items()}
    name = "layers.1.mlp.down.lora_B"
    before = other(tokens())
    for wrong in ({n: t for n, t in state.items() if n != name}, {**state, "layers.9.mlp.down.lora_B": state[name]},
                  {**state, name: state[name][:3]}):
        with pytest.raises(Mismatch) as refused:
            load_lora(other, {n: t * 2 for n, t in wrong.items()})
        assert refused.value.remedy and torch.equal(other(tokens()), before)


def test_targets_that_are_not_there_are_refused_and_gate_counts_for_nothing_in_gpt2():
    with pytest.raises(SettingError, match="head"):
        add_lora(decoder(config()), LoraSettings(targets=("q", "head")), seed=0)
    gpt2 = decoder(config(**GPT2))
    with pytest.raises(SettingError, match="none of the layers") as refused:
        add_lora(gpt2, LoraSettings(targets=("gate",)), seed=0)
    assert "up" in refused.value.remedy and "gate" not in refused.value.remedy
    assert all(p.requires_grad for p in gpt2.parameters())
    add_lora(gpt2, LoraSettings(rank=2, targets=TARGETS), seed=0)
    assert {n.split(".")[3] for n in lora_state(gpt2)} == {"q", "k", "v", "o", "up", "down"}


@pytest.mark.parametrize(("layers", "embeddings"), [(0, False), (1, False), (2, True), (0, True)])
@pytest.mark.parametrize("shape", ["llama", "gpt2"])
def test_frozen_layers_and_embeddings_get_no_gradients_and_the_rest_gets_its_own(shape, layers, embeddings):
    made = config(**SHAPES[shape])
    model, free = decoder(made), decoder(made)
    freeze(model, layers, embeddings)
    for one in (model, free):
        one(tokens()[:, :-1], targets_BT=tokens()[:, 1:]).backward()
    frozen = tuple(f"layers.{i}." for i in range(layers)) + (("embed.", "positions.") if embeddings else ())
    wanted = dict(free.named_parameters())
    for name, p in model.named_parameters():
        assert (p.grad is None) == (name.startswith(frozen) if frozen else False), name
        assert p.grad is None or torch.allclose(p.grad, wanted[name].grad, atol=1e-6)
    freeze(model)
    assert all(p.requires_grad for p in model.parameters())
    with pytest.raises(SettingError, match="3 layers"):
        freeze(model, 3)


def test_of_a_frozen_table_only_the_chosen_rows_are_trained():
    """Even with weight decay the others stay as they are, to the bit; the chosen ones move as they would alone."""
    model, free = decoder(config()), decoder(config())
    freeze(model, embeddings=True, rows=(3, 7))
    before = model.embed.weight.detach().clone()
    optimizer = Optimizer(model.named_parameters(), OptimizerSettings(1e-2, weight_decay=0.1))
    for step in range(3):
        for one in (model, free) if step == 0 else (model,):
            one(tokens()[:, :-1], targets_BT=tokens()[:, 1:]).backward()
        if step == 0:
            assert torch.allclose(model.embed.weight.grad[[3, 7]], free.embed.weight.grad[[3, 7]], atol=1e-6)
        optimizer.step(1.0)
        optimizer.zero_grad()
    moved = (model.embed.weight.detach() != before).any(1).nonzero().flatten().tolist()
    assert moved == [3, 7]
    assert memory.Method(freeze_embeddings=True, tokens=2).trained(model.config) == \
        memory.Method(freeze_embeddings=True).trained(model.config) + 2 * model.config.hidden_size
