"""What follows from a config without torch: memory formulas against what torch keeps, and where a model of this shape can go."""

import subprocess
import sys

import pytest
import torch
from pydantic import ValidationError

from engine.model import attention, hf, loss, memory
from engine.model.config import ModelConfig
from engine.model.decoder import Decoder
from engine.model.exportability import TokenizerFacts, gguf_architecture, transformers_architecture, verdicts
from engine.model.kv_cache import KVCache

BASE = dict(vocab_size=512, hidden_size=128, num_layers=4, num_heads=4, num_kv_heads=4, head_dim=32, intermediate_size=352, max_seq_len=256)


def config(**changes) -> ModelConfig:
    return ModelConfig(**{**BASE, **changes})


GPT2 = dict(shape="gpt2", attention_bias=True, output_bias=True, mlp_bias=True)


@pytest.mark.parametrize("changes", [{}, dict(qk_norm=True, num_kv_heads=2), GPT2])
@pytest.mark.parametrize(("dtype", "seq_len"), [("float32", 256), ("bfloat16", 256), ("bfloat16", 1088)])
def test_activation_formula_is_what_autograd_keeps(changes, dtype, seq_len):
    made = config(**changes, max_seq_len=seq_len)
    model = Decoder(made)
    size = 4 if dtype == "float32" else 2
    model.compute_dtype = None if dtype == "float32" else torch.bfloat16
    kept = {}
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)  # the tensor too, so that the address is not used again
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        hidden = model(torch.zeros(2, seq_len, dtype=torch.long))
    found = sum(n for n, _ in kept.values())
    copies = 0 if size == 4 else size * made.matrix_parameters
    said = 2 * seq_len * made.num_layers * memory.layer_activations(made, size, seq_len) + copies
    assert hidden.requires_grad and said == pytest.approx(found, rel=0.05)


def test_peak_of_a_step_is_near_the_formula():
    """In a process of its own, whose peak memory above the start is the step's."""
    code = """
import re, torch
torch.set_num_threads(1)
from engine.model.config import ModelConfig
from engine.model.decoder import Decoder
from engine.model import memory
def peak(): return 1024 * int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1])
c = ModelConfig(vocab_size=4096, hidden_size=384, num_layers=6, num_heads=6, num_kv_heads=6, head_dim=64, intermediate_size=1024,
                max_seq_len=512)
warm = Decoder(c.model_copy(update=dict(num_layers=1, vocab_size=64, hidden_size=64, intermediate_size=64)))
o = torch.optim.AdamW(warm.parameters(), fused=True)
warm(torch.zeros(1, 8, dtype=torch.long), targets_BT=torch.zeros(1, 8, dtype=torch.long)).backward(); o.step()
before = peak()
m = Decoder(c); o = torch.optim.AdamW(m.parameters(), fused=True)
x = torch.zeros(4, 512, dtype=torch.long)
for _ in range(3):
    m(x, targets_BT=x).backward(); o.step(); o.zero_grad(set_to_none=True)
print((peak() - before) / memory.training(c, micro_batch_size=4, seq_len=512).total)
"""
    if sys.platform != "linux":
        pytest.skip("only Linux tells the peak of a process since its start")
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=True)
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
