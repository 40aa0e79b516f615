"""What follows from a config without torch: memory formulas against what torch keeps, and where a model of this shape can go."""

import subprocess
import sys

import pytest
import torch
from pydantic import ValidationError

from engine.contract.tuning import TARGETS
from engine.model import attention, hf, lora, loss, memory
from engine.model.config import ModelConfig
from engine.model.decoder import Decoder
from engine.model.exportability import TokenizerFacts, gguf_architecture, transformers_architecture, verdicts
from engine.model.kv_cache import KVCache
from engine.model.quantized import FourBitWeight, quantize

BASE = dict(vocab_size=512, hidden_size=128, num_layers=4, num_heads=4, num_kv_heads=4, head_dim=32, intermediate_size=352, max_seq_len=256)


def config(**changes) -> ModelConfig:
    return ModelConfig(**{**BASE, **changes})


GPT2 = dict(shape="gpt2", attention_bias=True, output_bias=True, mlp_bias=True)


def kept_for_backward(model: Decoder, seq_len: int) -> int:
    """Bytes that autograd keeps of two rows, besides weights."""
    kept = {}
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)  # the tensor too, so that the address is not used again
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        hidden = model(torch.zeros(2, seq_len, dtype=torch.long))
    assert hidden.requires_grad
    return sum(n for n, _ in kept.values())


@pytest.mark.parametrize("changes", [{}, dict(qk_norm=True, num_kv_heads=2), GPT2])
@pytest.mark.parametrize(("dtype", "seq_len"), [("float32", 256), ("bfloat16", 256), ("bfloat16", 1088)])
def test_activation_formula_is_what_autograd_keeps(changes, dtype, seq_len):
    made = config(**changes, max_seq_len=seq_len)
    model = Decoder(made)
    size = 4 if dtype == "float32" else 2
    model.compute_dtype = None if dtype == "float32" else torch.bfloat16
    copies = 0 if size == 4 else size * made.matrix_parameters
    said = 2 * seq_len * made.num_layers * memory.layer_activations(made, size, seq_len) + copies
    assert said == pytest.approx(kept_for_backward(model, seq_len), rel=0.05)


@pytest.mark.parametrize("changes", [{}, dict(qk_norm=True, num_kv_heads=2), GPT2])
@pytest.mark.parametrize(("dtype", "seq_len"), [("float32", 256), ("bfloat16", 256), ("bfloat16", 1088)])
@pytest.mark.parametrize("targets", [TARGETS, ("q", "v"), ("q", "down"), ("q", "o", "up")])
def test_activation_formula_of_lora_is_what_autograd_keeps(changes, dtype, seq_len, targets):
    made = config(**changes, max_seq_len=seq_len, num_layers=10)  # the formula leaves out that the first layer keeps less
    model, size = Decoder(made), 4 if dtype == "float32" else 2
    lora.add_lora(model, lora.LoraSettings(rank=8, targets=targets), 0, frozen_dtype=getattr(torch, dtype))
    model.train()
    model.compute_dtype = getattr(torch, dtype)
    method = memory.Method("lora", 8, targets)
    copies = 0 if size == 4 else size * method.trained(made)
    said = 2 * seq_len * made.num_layers * memory.layer_activations(made, size, seq_len, method=method) + copies
    assert said == pytest.approx(kept_for_backward(model, seq_len), rel=0.05)


@pytest.mark.parametrize(("layers", "embeddings"), [(0, True), (2, False), (3, True)])
@pytest.mark.parametrize("changes", [{}, dict(tie_embeddings=False), GPT2])
def test_trained_parameters_are_counted_as_frozen_models_have_them(changes, layers, embeddings):
    made = config(**changes)
    model = Decoder(made)
    lora.freeze(model, layers, embeddings)
    method = memory.Method(frozen_layers=layers, freeze_embeddings=embeddings)
    assert method.trained(made) == lora.trained_parameters(model.parameters())
    assert method.frozen_head(made) == (not model.head_weight_VC.requires_grad)
    counted = memory.training(made, micro_batch_size=2, seq_len=64, method=method)
    whole = memory.training(made, micro_batch_size=2, seq_len=64)
    assert counted.optimizer == 2 * counted.gradients == 8 * method.trained(made) and counted.activations <= whole.activations
    lora.freeze(model)
    lora.add_lora(model, lora.LoraSettings(rank=4, tokens=(3, 500)), 0)
    assert memory.Method("lora", 4, tokens=2).trained(made) == lora.trained_parameters(model.parameters())


@pytest.mark.parametrize("method", [
    "Method()", "Method('lora', 16)", "Method(frozen_layers=4, freeze_embeddings=True)",
    pytest.param("Method('lora', 8, ('q', 'v'))", marks=pytest.mark.slow), pytest.param("Method(frozen_layers=4)", marks=pytest.mark.slow)])
def test_peak_of_a_step_is_near_the_formula(method):
    """In a process of its own, whose peak memory above the start is the step's."""
    code = f"""
import re, torch
torch.set_num_threads(1)
from engine.model.config import ModelConfig
from engine.model.decoder import Decoder
from engine.model import lora, memory
from engine.model.memory import Method
def peak(): return 1024 * int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1])
method = {method}
def made(config):
    model = Decoder(config, seed=None)
    if method.name == "full":
        lora.freeze(model, min(method.frozen_layers, config.num_layers - 1), method.freeze_embeddings)
    else:
        lora.add_lora(model, lora.LoraSettings(rank=method.rank, targets=method.targets), 0)
    for p in model.parameters():
        torch.nn.init.zeros_(p) if p.dim() < 2 else p.data.normal_(0, 0.02)
    return model.train(), torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], fused=True)
c = ModelConfig(vocab_size=4096, hidden_size=384, num_layers=6, num_heads=6, num_kv_heads=6, head_dim=64, intermediate_size=1024,
                max_seq_len=512)
warm, o = made(c.model_copy(update=dict(num_layers=2, vocab_size=64, hidden_size=64, intermediate_size=64)))
warm(torch.zeros(1, 8, dtype=torch.long), targets_BT=torch.zeros(1, 8, dtype=torch.long)).backward(); o.step()
before = peak()
m, o = made(c)
x = torch.zeros(4, 512, dtype=torch.long)
for _ in range(2):
    m(x, targets_BT=x).backward(); o.step(); o.zero_grad(set_to_none=True)
print((peak() - before) / memory.training(c, micro_batch_size=4, seq_len=512, method=method).total)
"""
    if sys.platform != "linux":
        pytest.skip("only Linux tells the peak of a process since its start")
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert out.returncode == 0, out.stderr
    assert 0.85 < float(out.stdout) < 1.2


def test_formulas_order_as_they_must():
    c = config()
    plain = memory.training(c, micro_batch_size=4, seq_len=256)
    assert plain.total > memory.training(c, micro_batch_size=2, seq_len=256).total
    assert plain.total > memory.training(c, micro_batch_size=4, seq_len=256, optimizer="muon").total
    assert plain.activations > 2 * memory.training(c, micro_batch_size=4, seq_len=256, activation_checkpointing=True).activations
    big = config(vocab_size=131_072)
    assert (memory.training(big, micro_batch_size=8, seq_len=512, chunked=False).logits
            > 4 * memory.training(big, micro_batch_size=8, seq_len=512).logits)


@pytest.mark.parametrize("method", [memory.Method(), memory.Method("lora", 16), memory.Method("qlora", 16),
                                    memory.Method("qlora", 8, ("q",))])
def test_what_a_bfloat16_step_allocates_is_near_the_formula(method):
    """Counted by the profiler: what the process gets from the system in bfloat16 is up to a third more, by oneDNN's and malloc's doing."""
    c = config(vocab_size=4096, hidden_size=256, num_layers=6, intermediate_size=704, head_dim=64, max_seq_len=512)
    model = Decoder(c)
    if method.name != "full":
        model = model.bfloat16()
        if method.name == "qlora":
            pytest.importorskip("bitsandbytes")
            quantize(model)
        lora.add_lora(model, lora.LoraSettings(rank=method.rank, targets=method.targets), 0)
    model.compute_dtype = torch.bfloat16
    given = torch.zeros(2, 512, dtype=torch.long)
    counted = memory.training(c, micro_batch_size=2, seq_len=512, dtype="bfloat16", method=method)
    held = sum(p.nbytes for p in model.parameters()) + sum(m.nbytes for m in model.modules() if isinstance(m, FourBitWeight))
    assert counted.weights == pytest.approx(held, rel=0.02)
    model.train()(given, targets_BT=given).backward()
    model.zero_grad()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as seen:
        model(given, targets_BT=given).backward()
    now = peak = 0
    for event in sorted((e for e in seen.profiler.kineto_results.events() if e.name() == "[memory]"), key=lambda e: e.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    assert 0.8 < peak / (counted.gradients + counted.activations + counted.logits) < 1.2


def test_methods_cost_less_in_their_order_and_the_first_that_fits_is_recommended():
    c = config(num_layers=8, hidden_size=1024, num_heads=16, num_kv_heads=16, head_dim=64, intermediate_size=2816, max_seq_len=1024)

    def ask(free, **changes):
        return memory.recommend(c, free, seq_len=1024, **{"device": "cuda", **changes})

    def total(name, recompute):
        return memory.training(c, micro_batch_size=1, seq_len=1024, dtype="bfloat16", device="cuda", method=memory.Method(name),
                               activation_checkpointing=recompute).total

    full, lora_, qlora = (total(name, True) for name in memory.METHODS)
    assert full > 2 * lora_ > 2 * qlora and total("full", False) > total("lora", False) > total("qlora", False)
    plenty = ask(round(total("full", False) / 0.9) + 1)
    assert plenty.method == "full" and not any(plenty.checkpointing.values()) and list(plenty.memory) == ["full", "lora", "qlora"]
    assert plenty.memory["qlora"] == total("qlora", False)
    tight = ask(round(full / 0.9) + 1)
    assert tight.method == "full" and tight.checkpointing["full"] and tight.memory["full"] == full
    assert ask(round(full / 0.9) - 9).method == "lora" and ask(round(lora_ / 0.9) - 9).method == "qlora"
    assert ask(round(qlora / 0.9) - 9).method is None
    assert ask(round(lora_ / 0.9) - 9, device="cpu").method is None and "qlora" not in ask(1, device="cpu").memory
    assert ask(round(full / 0.9) + 1, process=10_000).method == "lora" == ask(round(full / 0.9) + 1, measured=1.1).method
    only = ask(2**40, methods=[memory.Method("lora", 4, ("q", "v"))])
    assert only.method == "lora" and list(only.memory) == ["lora"] and only.memory["lora"] < plenty.memory["lora"]


def test_cache_and_chunk_formulas_are_the_codes_own():
    c = config(num_kv_heads=2)
    for columns in (1, 64, 65, 250):
        assert memory.kv_cache(c, rows=3, columns=columns, dtype="bfloat16") == KVCache(c, 3, columns, dtype=torch.bfloat16).nbytes
    assert memory.CHUNK_BYTES == loss.CHUNK_BYTES == loss.PLAIN_BYTES
    assert memory.PLAIN_UP_TO == attention.PLAIN_UP_TO
    assert memory.weights(c) == sum(p.nbytes for p in Decoder(c).parameters())


@pytest.mark.parametrize("changes", [
    dict(num_kv_heads=3), dict(head_dim=31), dict(vocab_size=0), dict(num_layers=-1), dict(dropout=1.0),
    dict(rope_scaling={"rope_type": "yarn"}), dict(rope_scaling={"rope_type": "llama3", "factor": 4}),
    dict(rope_scaling={"rope_type": "linear", "factor": 0}),
    dict(shape="gpt2", rope_scaling={"rope_type": "linear", "factor": 2}), dict(unknown=1)])
def test_configs_that_cannot_be_are_refused(changes):
    with pytest.raises(ValidationError):
        config(**changes)


@pytest.mark.parametrize(("changes", "theirs", "gguf"), [
    ({}, "LlamaForCausalLM", "llama"), (dict(num_kv_heads=2, head_dim=64), "LlamaForCausalLM", "llama"),
    (dict(qk_norm=True), "Qwen3ForCausalLM", "qwen3"), (dict(attention_bias=True), "Qwen2ForCausalLM", "qwen2"),
    (dict(attention_bias=True, output_bias=True), "LlamaForCausalLM", "llama"), (dict(qk_norm=True, mlp_bias=True), "", ""),
    (dict(qk_norm=True, attention_bias=True), "Qwen3ForCausalLM", ""), (GPT2, "GPT2LMHeadModel", "gpt2"),
    (dict(shape="gpt2"), "GPT2LMHeadModel", "gpt2"), (dict(shape="gpt2", num_kv_heads=2), "", ""),
    (dict(shape="gpt2", head_dim=16), "", ""), (dict(shape="gpt2", qk_norm=True), "", "")])
def test_each_shape_has_the_class_that_computes_it(changes, theirs, gguf):
    made = config(**changes)
    assert (transformers_architecture(made), gguf_architecture(made)) == (theirs, gguf)
    for verdict in verdicts(made):
        assert verdict.loads == bool(verdict.architecture) == (not verdict.reason) and (verdict.loads or verdict.remedy)
    if theirs:
        assert hf.config_to_hf(made)["architectures"] == [theirs]


def test_a_tokenizer_can_stand_in_the_way():
    made = config()
    here, cpp, ollama = verdicts(made, TokenizerFacts(split="llama-bpe", vocab_size=512))
    assert here.loads and cpp.loads and ollama.loads
    here, cpp, ollama = verdicts(made, TokenizerFacts(split="", vocab_size=512))
    assert here.loads and not cpp.loads and not ollama.loads and "splits" in cpp.reason
    assert not any(v.loads for v in verdicts(made, TokenizerFacts(vocab_size=1000)))
    assert not verdicts(made, TokenizerFacts(byte_level=False))[1].loads


def test_config_memory_and_exportability_need_no_torch():
    code = "import sys, engine.model.config, engine.model.memory, engine.model.exportability; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
