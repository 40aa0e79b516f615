"""GGUF files written with the gguf package from transformers' weights: the same logits; quantised ones as gguf itself dequantises them."""

import json

import gguf
import numpy as np
import pytest
import torch

from engine.contract.errors import Corrupt, FormatError
from engine.model.checkpoint import load_config, load_model, load_tensors, stop_ids
from engine.model.formats import gguf_read
from engine.text.tokenizer import Tokenizer
from tests.engine.model.formats.foreign import GGUF_PRE, _llama3_table, model, strings, take_over, tokenizer, write_gguf

TOKENS = torch.randint(600, (2, 90), generator=torch.Generator().manual_seed(1))
NAMES = ["llama", "llama tied", "llama 3 rope", "llama linear rope", "mistral", "qwen2", "qwen2 tied", "qwen3", "gpt2", "gpt2 untied"]


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_a_float_file_gives_the_logits_of_the_model_it_was_made_from(name, tmp_path):
    reference = model(name)
    write_gguf(reference, tmp_path / "a.gguf")
    facts = take_over(tmp_path / "a.gguf", tmp_path / "ours")
    mine = load_model(tmp_path / "ours")
    assert (mine.logits(mine(TOKENS)) - reference(TOKENS).logits).abs().max() < 1e-4
    assert facts["form"] == "gguf" and facts["chat"] and facts["dtype"] == "float32"


@torch.no_grad()
def test_without_the_permutation_of_queries_and_keys_the_logits_differ(tmp_path):
    reference = model("llama")
    write_gguf(reference, tmp_path / "a.gguf", permute=False)
    take_over(tmp_path / "a.gguf", tmp_path / "ours")
    mine = load_model(tmp_path / "ours")
    assert (mine.logits(mine(TOKENS)) - reference(TOKENS).logits).abs().max() > 0.5


@torch.no_grad()
def test_the_rope_settings_of_llama_3_are_found_again(tmp_path):
    reference = model("llama 3 rope")
    write_gguf(reference, tmp_path / "a.gguf")
    take_over(tmp_path / "a.gguf", tmp_path / "ours")
    found = load_config(tmp_path / "ours").rope_scaling
    assert found == {"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                     "original_max_position_embeddings": 32}


@pytest.mark.parametrize(("factor", "original", "theta", "head"), [(8.0, 8192, 500_000.0, 128), (32.0, 8192, 500_000.0, 64)])
def test_the_rope_settings_of_the_published_llamas_are_found_again(factor, original, theta, head):
    rope = dict(rope_theta=theta, factor=factor, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=original)
    found = gguf_read.find_llama3(_llama3_table(rope, head).astype(np.float64), theta, head)
    assert found == {"rope_type": "llama3", **{k: rope[k] for k in rope if k != "rope_theta"}}
    strange = np.linspace(1, 7, head // 2)
    with pytest.raises(FormatError, match="table of its own"):
        gguf_read.find_llama3(strange, theta, head)


@pytest.mark.parametrize("quantise", ["F16", "BF16", "Q8_0"])
@torch.no_grad()
def test_other_formats_are_read_as_the_gguf_package_reads_them(quantise, tmp_path, monkeypatch):
    from engine.model.formats import convert
    monkeypatch.setattr(convert, "BLOCK", 3_000)
    reference = model("qwen2")
    write_gguf(reference, tmp_path / "a.gguf", quantise=quantise)
    facts = take_over(tmp_path / "a.gguf", tmp_path / "ours", "float32" if quantise != "Q8_0" else "as_is")
    mine = load_tensors(tmp_path / "ours/model.safetensors")
    theirs = {t.name: t for t in gguf.GGUFReader(tmp_path / "a.gguf").tensors}
    for ours, name in (("embed.weight", "token_embd.weight"), ("layers.1.mlp.down.weight", "blk.1.ffn_down.weight"),
                       ("layers.2.attention.output.weight", "blk.2.attn_output.weight")):
        wanted = gguf.quants.dequantize(theirs[name].data, theirs[name].tensor_type)
        assert torch.equal(mine[ours], torch.from_numpy(wanted.astype(np.float32).reshape(mine[ours].shape)))
    assert facts["dtype"] == "float32"


@pytest.mark.parametrize("kind", GGUF_PRE)
def test_the_tokenizer_comes_back_with_the_same_ids(kind, tmp_path):
    write_gguf(model("llama"), tmp_path / "a.gguf", kind)
    take_over(tmp_path / "a.gguf", tmp_path / "ours")
    mine, theirs = Tokenizer.load(tmp_path / "ours"), tokenizer(kind).backend_tokenizer
    texts = strings(2_000)
    if kind == "qwen2":  # its NFC is no part of a GGUF file, and llama.cpp does not do it either
        import unicodedata
        texts = [t for t in texts if unicodedata.is_normalized("NFC", t)]
    assert len(texts) > 1_000
    wrong = [t for t in texts if mine.encode(t) != theirs.encode(t, add_special_tokens=False).ids and "<" not in t]
    assert not wrong
    assert mine.vocab_size == tokenizer(kind).backend_tokenizer.get_vocab_size()
    talk = [{"role": "user", "content": "Hello"}]
    wanted = tokenizer(kind).apply_chat_template(talk, add_generation_prompt=True, return_dict=False)
    assert mine.encode_chat(talk) == wanted
    assert tokenizer(kind).eos_token_id in stop_ids(tmp_path / "ours", mine)
    assert (mine.bos_id is None) == (kind == "qwen2")


def test_what_is_not_read_is_refused_by_name(tmp_path):
    def refusal(**values):
        with pytest.raises(FormatError) as told:
            path = tmp_path / "b.gguf"
            write_gguf(model("llama"), path, **values)
            take_over(path, tmp_path / "x")
        assert not (tmp_path / "x/model.safetensors").exists()
        return told.value.sentence

    assert "Q4_0" in refusal(quantise="Q4_0")
    assert "mixture of 8 experts" in refusal(llama__expert_count=8)
    assert "window of 64 tokens" in refusal(llama__attention__sliding_window=64)
    writer = gguf.GGUFWriter(tmp_path / "c.gguf", "gemma3")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(FormatError, match="gemma3"):
        take_over(tmp_path / "c.gguf", tmp_path / "x")


def test_a_file_cut_off_anywhere_is_refused(tmp_path):
    write_gguf(model("llama tied"), tmp_path / "a.gguf")
    raw = (tmp_path / "a.gguf").read_bytes()
    for share in (0.001, 0.01, 0.02, 0.05, 0.5, 0.999):
        (tmp_path / "cut.gguf").write_bytes(raw[:int(len(raw) * share)])
        with pytest.raises((Corrupt, FormatError)):
            take_over(tmp_path / "cut.gguf", tmp_path / "x")


def test_the_source_names_licence_and_hash(tmp_path):
    write_gguf(model("llama"), tmp_path / "a.gguf")
    take_over(tmp_path / "a.gguf", tmp_path / "ours")
    told = json.loads((tmp_path / "ours/source.json").read_text())
    assert told["architecture"] == "llama" and len(told["files"]["a.gguf"]["sha256"]) == 64
