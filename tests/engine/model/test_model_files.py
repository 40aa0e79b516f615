"""Model folders: what is written comes back; what is damaged or lies is refused before memory is taken."""

import json
import struct

import pytest
import safetensors.torch
import torch

from engine.contract.errors import Corrupt, DiskFull, FormatError, Mismatch, NotFound
from engine.model import tensor_files
from engine.model.checkpoint import load_config, load_model, load_tensors, read_header, save_tensors, save_weights
from engine.model.config import ModelConfig
from engine.model.decoder import Decoder


@pytest.fixture
def model() -> Decoder:
    return Decoder(ModelConfig(vocab_size=50, hidden_size=32, num_layers=2, num_heads=4, num_kv_heads=2, head_dim=8, intermediate_size=48,
                               max_seq_len=64, qk_norm=True, rope_scaling={"rope_type": "linear", "factor": 2.0}), seed=3)


@pytest.fixture
def folder(tmp_path, model):
    (tmp_path / "tok.json").write_text("{}")
    made = tmp_path / "model-1"
    made.mkdir()
    save_weights(made, model, tokenizer_file=tmp_path / "tok.json")
    return made


def test_a_saved_model_comes_back_bit_for_bit(folder, model):
    again = load_model(folder)
    assert again.config == model.config and not again.training
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    x = torch.arange(20)[None]
    assert torch.equal(model(x), again(x))
    assert (folder / "tokenizer.json").read_text() == "{}"


def test_loading_casts_but_keeps_rope_tables_exact(folder, model):
    again = load_model(folder, dtype=torch.bfloat16)
    assert {p.dtype for p in again.parameters()} == {torch.bfloat16}
    assert again.rope_cos.dtype == torch.float32 and torch.equal(again.rope_cos, model.rope_cos)


def test_safetensors_itself_reads_what_we_write(folder, model):
    theirs = safetensors.torch.load_file(folder / "model.safetensors")
    assert theirs.keys() == model.state_dict().keys()
    assert all(torch.equal(theirs[k], v) for k, v in model.state_dict().items())


def test_we_read_what_safetensors_writes(tmp_path):
    tensors = {"a": torch.randn(3, 4).bfloat16(), "b": torch.arange(5), "scalar": torch.tensor(1.5), "empty": torch.zeros(0, 3),
               "flags": torch.tensor([True, False])}
    safetensors.torch.save_file(tensors, tmp_path / "x.safetensors")
    again = load_tensors(tmp_path / "x.safetensors")
    assert again.keys() == tensors.keys() and all(torch.equal(again[k], v) and again[k].dtype == v.dtype for k, v in tensors.items())


def test_the_same_tensors_give_the_same_bytes(tmp_path):
    tensors = {"b": torch.ones(3), "a": torch.zeros(2, 2).T}
    save_tensors(tmp_path / "1", tensors)
    save_tensors(tmp_path / "2", dict(reversed(tensors.items())))
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


@pytest.mark.parametrize("keep", [0, 5, 8, 200, -1])
def test_a_truncated_file_is_corrupt(folder, keep):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(Corrupt):
        load_model(folder)


def test_a_file_with_something_behind_it_is_corrupt(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(Corrupt):
        load_model(folder)


def rewrite(path, change) -> None:
    raw = path.read_bytes()
    n = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8 : 8 + n])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + raw[8 + n :])


@pytest.mark.parametrize("change", [
    lambda h: h["norm.weight"].update(shape=[2**40, 2**20]), lambda h: h["norm.weight"].update(data_offsets=[0, 2**50]),
    lambda h: h["norm.weight"].update(data_offsets=[-8, 120]), lambda h: h["norm.weight"].update(shape=[-32]),
    lambda h: h["norm.weight"].update(shape="32"), lambda h: h.update(extra=[1]), lambda h: h["norm.weight"].pop("dtype"),
    lambda h: h["norm.weight"].update(data_offsets=h["embed.weight"]["data_offsets"]), lambda h: h["norm.weight"].update(shape=[True] * 5)])
def test_a_header_that_lies_is_corrupt(folder, change):
    rewrite(folder / "model.safetensors", change)
    with pytest.raises(Corrupt):
        read_header(folder / "model.safetensors")


@pytest.mark.parametrize("length", [0, 1, 2**63, 10**9])
def test_a_header_length_that_lies_is_corrupt(folder, length):
    path = folder / "model.safetensors"
    path.write_bytes(struct.pack("<Q", length) + path.read_bytes()[8:])
    with pytest.raises(Corrupt):
        load_model(folder)


def test_a_header_nested_without_end_is_corrupt(folder):
    text = b"[" * 200_000
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text)
    with pytest.raises(Corrupt):
        load_model(folder)


@pytest.mark.parametrize(("key", "value"), [("num_layers", 3), ("num_layers", 1), ("hidden_size", 64), ("tie_embeddings", False),
                                            ("qk_norm", False), ("num_layers", 2**30), ("vocab_size", 2**30), ("num_kv_heads", 4)])
def test_a_config_of_another_model_is_a_mismatch_and_costs_no_memory(folder, key, value):
    raw = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**raw, key: value}))
    with pytest.raises(Mismatch) as caught:
        load_model(folder)
    assert caught.value.remedy


@pytest.mark.parametrize("text", ["", "{", "[]", "{\"vocab_size\": 5}", "\xff", json.dumps({"vocab_size": "many"})])
def test_a_config_that_is_none_is_a_format_error(folder, text):
    (folder / "config.json").write_text(text, encoding="latin-1")
    with pytest.raises(FormatError):
        load_config(folder)


def test_missing_parts_are_not_found(folder, tmp_path):
    with pytest.raises(NotFound):
        load_model(tmp_path / "nowhere")
    (folder / "model.safetensors").unlink()
    with pytest.raises(NotFound):
        load_model(folder)


def test_a_full_disk_is_said_so(tmp_path, model, monkeypatch):
    def no_room(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tensor_files.os, "fsync", no_room)
    with pytest.raises(DiskFull):
        save_tensors(tmp_path / "x.safetensors", dict(model.state_dict()))


def test_weights_of_a_foreign_dtype_are_refused_by_name(tmp_path, folder):
    rewrite(folder / "model.safetensors", lambda h: h["norm.weight"].update(dtype="F8_E4M3"))
    with pytest.raises(FormatError, match="F8_E4M3"):
        load_model(folder)
