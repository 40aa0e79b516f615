"""What is exported comes back: imported models leave as a Hugging Face folder and as GGUF, and come in again with the same bits and ids."""

import pytest
import torch

from engine.model.checkpoint import load_config, load_tensors
from engine.model.formats.gguf_file import write_gguf
from engine.model.formats.hf_folder_write import write_folder
from engine.model.formats.tokenizer_out import Words
from engine.model.formats.weights import Weights
from engine.text.tokenizer import Tokenizer
from tests.engine.model.formats.foreign import FAMILIES, model, strings, take_over, tokenizer


def equal(a, b):
    mine, again = load_tensors(a / "model.safetensors"), load_tensors(b / "model.safetensors")
    return mine.keys() == again.keys() and all(torch.equal(mine[k], again[k]) for k in mine)


@pytest.fixture
def imported(request, tmp_path):
    model(request.param).save_pretrained(tmp_path / "theirs")
    tokenizer("llama-bpe").save_pretrained(tmp_path / "theirs")
    take_over(tmp_path / "theirs", tmp_path / "ours")
    return tmp_path / "ours"


@pytest.mark.parametrize("imported", FAMILIES, indirect=True)
@torch.no_grad()
def test_out_as_a_folder_into_transformers_and_in_again(imported, tmp_path):
    import transformers
    (tmp_path / "out").mkdir()
    with Weights(imported) as opened:
        write_folder(tmp_path / "out", opened, Words(Tokenizer.load(imported)), "float32", "card")
    there = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out", local_files_only=True).eval()
    reference = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "theirs", local_files_only=True).eval()
    tokens = torch.arange(180).view(2, 90)
    assert (there(tokens).logits - reference(tokens).logits).abs().max() < 1e-4
    known, mine = reference.state_dict(), there.state_dict()
    assert all(torch.equal(mine[k], known[k]) for k in known if k in mine)
    take_over(tmp_path / "out", tmp_path / "again")
    before, after = load_config(imported), load_config(tmp_path / "again")
    biases = {"attention_bias", "output_bias", "mlp_bias"}  # where their class has more biases than ours, it has zeros
    assert before.model_dump(exclude=biases) == after.model_dump(exclude=biases)
    have = load_tensors(tmp_path / "again/model.safetensors")
    assert all(torch.equal(have[k], v) for k, v in load_tensors(imported / "model.safetensors").items())


@pytest.mark.parametrize("imported", ["llama tied", "llama 3 rope", "mistral", "qwen2", "qwen3", "gpt2"], indirect=True)
def test_out_as_gguf_and_in_again(imported, tmp_path):
    with Weights(imported) as opened:
        write_gguf(tmp_path / "a.gguf", opened, Words(Tokenizer.load(imported)), "f32", name="Tiny")
    take_over(tmp_path / "a.gguf", tmp_path / "again")
    assert equal(imported, tmp_path / "again")
    before, after = load_config(imported), load_config(tmp_path / "again")
    assert before.model_dump(exclude={"norm_eps"}) == after.model_dump(exclude={"norm_eps"})
    assert after.norm_eps == pytest.approx(before.norm_eps)
    mine, again = Tokenizer.load(imported), Tokenizer.load(tmp_path / "again")
    texts = strings(1_000, seed=4)
    assert [mine.encode(t) for t in texts] == [again.encode(t) for t in texts]
    assert (mine.bos_id, mine.eos_id) == (again.bos_id, again.eos_id)
