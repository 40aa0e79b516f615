"""Folders for transformers: every family loads there without code of its own, with the same logits, tokens and greedy text."""

import json
from pathlib import Path

import pytest
import torch

from engine.contract.errors import Mismatch
from engine.model.config import ModelConfig
from engine.model.formats.hf_folder_write import INDEX, output_bytes, write_folder
from engine.model.formats.tokenizer_out import Words
from engine.model.formats.weights import Weights
from engine.text.tokenizer import Tokenizer
from tests.engine.model.formats import made

transformers = pytest.importorskip("transformers")

LLAMA3 = {"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32}
GPT2 = dict(shape="gpt2", num_kv_heads=4, attention_bias=True, output_bias=True, mlp_bias=True)
SHAPES: dict[str, tuple[dict, str]] = {
    "llama with grouped queries, tied": ({}, "LlamaForCausalLM"),
    "llama without grouped queries, untied": (dict(num_kv_heads=4, tie_embeddings=False), "LlamaForCausalLM"),
    "llama with llama 3's rope": (dict(rope_scaling=LLAMA3, rope_theta=500.0), "LlamaForCausalLM"),
    "llama with linear rope": (dict(rope_scaling={"rope_type": "linear", "factor": 2.0}), "LlamaForCausalLM"),
    "mistral's shape": (dict(num_kv_heads=1, head_dim=32, intermediate_size=224, tie_embeddings=False), "LlamaForCausalLM"),
    "llama with every bias": (dict(attention_bias=True, output_bias=True, mlp_bias=True), "LlamaForCausalLM"),
    "llama with a bias in the output only": (dict(output_bias=True), "LlamaForCausalLM"),
    "qwen2": (dict(attention_bias=True), "Qwen2ForCausalLM"),
    "qwen3": (dict(qk_norm=True, head_dim=24, tie_embeddings=False), "Qwen3ForCausalLM"),
    "gpt2": (GPT2, "GPT2LMHeadModel"),
    "gpt2 untied without biases": (dict(shape="gpt2", num_kv_heads=4, tie_embeddings=False), "GPT2LMHeadModel"),
}


def write(folder: Path, model: Path, dtype: str = "float32", **settings: object) -> Path:
    folder.mkdir()
    with Weights(model) as weights:
        size = write_folder(folder, weights, Words(Tokenizer.load(model)), dtype, "# card\n", **settings)
        assert size == output_bytes(weights, dtype)
    return folder


def loaded(folder: Path, **settings: object):
    return transformers.AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, trust_remote_code=False, **settings).eval()


@pytest.mark.parametrize("name", SHAPES)
@torch.no_grad()
def test_transformers_computes_the_same_logits(name: str, tmp_path: Path) -> None:
    changes, architecture = SHAPES[name]
    ours = made.write_random(tmp_path / "model", made.config(**changes))
    folder = write(tmp_path / "out", tmp_path / "model")
    assert json.loads((folder / "config.json").read_text())["architectures"] == [architecture]
    theirs = loaded(folder, dtype=torch.float32)
    assert type(theirs).__name__ == architecture
    tokens = torch.randint(ours.config.vocab_size, (2, 100), generator=torch.Generator().manual_seed(1))
    wanted = ours.logits(ours(tokens))
    assert (theirs(tokens).logits - wanted).abs().max() < 1e-4
    assert wanted.std() > 0.3  # so that 1e-4 means something


@pytest.mark.parametrize("name", ["llama with grouped queries, tied", "gpt2 untied without biases"])
def test_shards_hold_every_tensor_once_and_load_the_same(name: str, tmp_path: Path) -> None:
    from safetensors.torch import load_file
    ours = made.write_random(tmp_path / "model", made.config(**SHAPES[name][0]))
    whole = load_file(write(tmp_path / "whole", tmp_path / "model") / "model.safetensors")
    folder = write(tmp_path / "parts", tmp_path / "model", shard_bytes=100_000)
    files = sorted(folder.glob("model-*.safetensors"))
    index = json.loads((folder / INDEX).read_text())
    assert len(files) > 2 and not (folder / "model.safetensors").exists()
    assert all(f.stat().st_size < 200_000 or len(load_file(f)) == 1 for f in files)
    parts = {name: tensor for file in files for name, tensor in load_file(file).items()}
    assert parts.keys() == whole.keys() == index["weight_map"].keys()
    assert all(torch.equal(parts[n], whole[n]) for n in whole)
    assert index["metadata"]["total_size"] == sum(t.nbytes for t in whole.values())
    tokens = torch.arange(40)[None]
    with torch.no_grad():
        assert (loaded(folder, dtype=torch.float32)(tokens).logits - ours.logits(ours(tokens))).abs().max() < 1e-4


def test_a_block_of_rows_at_a_time_gives_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made.write_random(tmp_path / "model", made.config())
    whole = (write(tmp_path / "a", tmp_path / "model") / "model.safetensors").read_bytes()
    monkeypatch.setattr("engine.model.formats.weights.BLOCK", 1_000)
    assert (write(tmp_path / "b", tmp_path / "model") / "model.safetensors").read_bytes() == whole


@pytest.mark.parametrize(("dtype", "torch_dtype"), [("bfloat16", torch.bfloat16), ("float16", torch.float16)])
def test_weights_are_rounded_to_the_dtype_chosen_and_no_further(dtype: str, torch_dtype: torch.dtype, tmp_path: Path) -> None:
    from safetensors.torch import load_file
    ours = made.write_random(tmp_path / "model", made.config())
    folder = write(tmp_path / "out", tmp_path / "model", dtype)
    assert torch.equal(load_file(folder / "model.safetensors")["model.embed_tokens.weight"], ours.embed.weight.detach().to(torch_dtype))
    assert loaded(folder, dtype="auto").dtype == torch_dtype
    assert json.loads((folder / "config.json").read_text())["torch_dtype"] == dtype


def test_weights_too_large_for_float16_are_refused(tmp_path: Path) -> None:
    ours = made.write_random(tmp_path / "model", made.config())
    with torch.no_grad():
        ours.layers[1].mlp.down.weight[3, 3] = 70_000.0
    from engine.model.checkpoint import save_weights
    save_weights(tmp_path / "model", ours)
    with pytest.raises(Mismatch, match=r"down_proj.* too large for float16"):
        write(tmp_path / "out", tmp_path / "model", "float16")
    write(tmp_path / "ok", tmp_path / "model", "bfloat16")


def test_ten_thousand_strings_are_cut_the_same_way(tmp_path: Path) -> None:
    made.write_random(tmp_path / "model", made.config())
    theirs = transformers.AutoTokenizer.from_pretrained(write(tmp_path / "out", tmp_path / "model"))
    ours = Tokenizer.load(tmp_path / "model")
    theirs.split_special_tokens = True
    texts = made.random_strings(10_000)
    wanted = theirs(texts, add_special_tokens=False).input_ids
    assert [ours.encode(text) for text in texts] == wanted


def test_the_tokenizer_begins_texts_talks_and_ends_as_here(tmp_path: Path) -> None:
    made.write_random(tmp_path / "model", made.config(vocab_size=720))  # more rows than tokens
    folder = write(tmp_path / "out", tmp_path / "model")
    theirs, ours = transformers.AutoTokenizer.from_pretrained(folder), Tokenizer.load(tmp_path / "model")
    assert theirs("The ferry").input_ids == [ours.bos_id, *ours.encode("The ferry")]
    talk = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": " Where? "}]
    assert theirs.apply_chat_template(talk, add_generation_prompt=True, return_dict=False) == ours.encode_chat(talk)
    assert (theirs.bos_token_id, theirs.eos_token_id, theirs.pad_token_id) == (ours.bos_id, ours.eos_id, ours.pad_id)
    assert theirs.decode(ours.encode_chat(talk), skip_special_tokens=True).split() == "Be brief. Where?".split()
    generation = json.loads((folder / "generation_config.json").read_text())
    assert set(generation["eos_token_id"]) == {ours.eos_id, ours.end_id, ours.bos_id}
    config = json.loads((folder / "tokenizer_config.json").read_text())
    assert config["tokenizer_class"] == "PreTrainedTokenizerFast" and config["model_max_length"] == made.CONTEXT
    shape = json.loads((folder / "config.json").read_text())
    assert shape["rope_parameters"]["rope_theta"] == shape["rope_theta"] == 10_000.0  # transformers 5 reads the first, others the second


def test_an_imported_tokenizer_keeps_its_own_ways(tmp_path: Path) -> None:
    made.write_random(tmp_path / "model", made.config())
    ours = Tokenizer.load(tmp_path / "model")
    assert not Words(ours, raised_here=False).adds_bos  # its post-processor does not
    record = json.loads(ours.record)
    record["post_processor"] = Words(ours).record()["post_processor"]
    again = Words(Tokenizer(json.dumps(record), ours.config), raised_here=False)
    assert again.adds_bos and again.record()["post_processor"] == record["post_processor"]
    assert Words(ours, raised_here=False).stop_ids == [ours.eos_id, ours.end_id]
    assert Words(ours, raised_here=False, ends=(7, ours.eos_id, 10**6)).stop_ids == [ours.eos_id, ours.end_id, 7]


def test_what_names_code_does_not_go_along(tmp_path: Path) -> None:
    made.write_random(tmp_path / "model", made.config())
    config = json.loads((tmp_path / "model" / "tokenizer_config.json").read_text())
    (tmp_path / "model" / "tokenizer_config.json").write_text(json.dumps({**config, "auto_map": {"AutoTokenizer": ["evil.E", None]},
                                                                          "tokenizer_class": "EvilTokenizer"}))
    folder = write(tmp_path / "out", tmp_path / "model", generation={"temperature": 0.6, "custom_generate": "evil.py", "top_p": 0.9})
    text = "".join(p.read_text("utf-8") for p in folder.glob("*.json"))
    assert "evil" not in text.lower() and '"temperature": 0.6' in text


def test_lying_weights_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    ours = made.write_random(tmp_path / "model", made.config())
    other: ModelConfig = ours.config.model_copy(update={"intermediate_size": 64})
    (tmp_path / "model" / "config.json").write_text(other.model_dump_json())
    with pytest.raises(Mismatch, match="is not as config.json describes it"):
        Weights(tmp_path / "model")
