"""GGUF files in a real llama.cpp (bindings from PyPI, each in a process of its own): loads, same tokens, same logits, same text; and the
round trip that says so, or says that a file is wrong."""

import importlib.util
import itertools
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engine.contract.errors import Missing
from engine.model.checkpoint import load_model
from engine.model.config import ModelConfig
from engine.model.decoder import Decoder
from engine.model.exportability import TokenizerFacts, gguf_architecture, tokenizer_facts, transformers_architecture, verdicts
from engine.model.formats import quantize, round_trip, weights
from engine.model.formats.gguf_file import K_QUANTS, PRECISIONS, output_bytes, write_gguf
from engine.model.formats.tokenizer_out import Words
from engine.model.formats.weights import Weights
from engine.stages.export.run import continue_greedily
from engine.text.tokenizer import Tokenizer
from tests.engine.model.formats import made

RUNTIMES = [name for name in ("xllamacpp", "llama_cpp") if importlib.util.find_spec(name)]
pytestmark = pytest.mark.skipif(not RUNTIMES, reason="no binding of llama.cpp is installed")
LLAMA3 = {"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32}


def export(model: Path, target: Path, precision: str = "f32", words: Words | None = None) -> Path:
    with Weights(model) as opened:
        size = write_gguf(target, opened, words or Words(Tokenizer.load(model)), precision, name="Tiny")
        assert size == output_bytes(opened, precision)
    return target


def ask(work: Path, runtime: str, path: Path, texts: Sequence[str] = (), prompts: Sequence[Sequence[int]] = (), stops: Sequence[int] = (),
        scored: Sequence[Sequence[int]] = (), model: Decoder | None = None) -> dict[str, Any]:
    """What the runtime says, from its own process."""
    if scored:
        assert model is not None
        with torch.no_grad():
            ours = [model.logits(model(torch.tensor([list(ids[:-1])])))[0].log_softmax(-1).numpy() for ids in scored]
        np.save(work / "logprobs.npy", np.concatenate(ours))
    request = {"runtime": runtime, "path": str(path), "context": made.CONTEXT, "threads": 1, "texts": list(texts), "prompts": prompts,
               "scored": scored, "stops": list(stops), "max_new_tokens": 64, "logprobs": str(work / "logprobs.npy")}
    answer, log = round_trip._ask(request, work, lambda: None)
    assert answer is not None, log[-2000:]
    return answer


def held_out(words: Tokenizer, count: int, length: int = 64) -> list[list[int]]:
    from engine.world.world import World
    texts = itertools.islice(World(seed=8, people=12).documents(10**9), 400, None)
    return [[words.bos_id, *words.encode(text)][:length] for text in itertools.islice(texts, count)]


def perplexity(rows: Sequence[Sequence[float]]) -> float:
    every = [x for row in rows for x in row]
    return math.exp(-sum(every) / len(every))


def shapes() -> dict[str, dict]:
    """Every combination of what exportability.py looks at."""
    found = {}
    for qk, ab, ob, mb, rope, wide in itertools.product((0, 1), (0, 1), (0, 1), (0, 1), (None, "llama3", "linear"), (0, 1)):
        scaling = {None: None, "llama3": LLAMA3, "linear": {"rope_type": "linear", "factor": 2.0}}[rope]
        name = "-".join(w for w, on in (("qk", qk), ("bias", ab), ("outbias", ob), ("mlpbias", mb), (rope, rope), ("wide", wide)) if on)
        found[name or "plain"] = dict(qk_norm=bool(qk), attention_bias=bool(ab), output_bias=bool(ob), mlp_bias=bool(mb),
                                      rope_scaling=scaling, rope_theta=500.0, head_dim=24 if wide else 16, num_layers=1,
                                      tie_embeddings=len(found) % 2 == 0, num_kv_heads=(1, 2, 4)[len(found) % 3])
    for bias in (True, False):
        found[f"gpt2-{'' if bias else 'no'}bias"] = dict(shape="gpt2", num_kv_heads=4, attention_bias=bias, output_bias=bias, mlp_bias=bias,
                                                         tie_embeddings=bias)
    return found


def test_everything_called_exportable_loads_and_computes_the_same(tmp_path: Path) -> None:
    """The list of exportability.py against the programs themselves: every combination it calls loadable, in transformers and in llama.cpp,
    in one process (hundreds would take minutes to start)."""
    transformers = pytest.importorskip("transformers")
    from engine.model.formats.hf_folder_write import write_folder
    tried: dict[str, int] = {}
    ids = list(range(5, 45))
    requests = []
    for number, (name, changes) in enumerate(shapes().items()):
        config = made.config(**changes)
        folder = tmp_path / str(number)
        known = verdicts(config, tokenizer_facts(made.tokenizer().record))
        assert [v.architecture for v in known] == [transformers_architecture(config), *[gguf_architecture(config)] * 2]
        if not (known[0].loads or known[1].loads):
            assert known[0].reason and known[0].remedy
            continue
        model = made.write_random(folder, config)
        with torch.no_grad():
            wanted = model.logits(model(torch.tensor([ids])))[0]
        words = Words(Tokenizer.load(folder))
        if known[0].loads:
            (folder / "hf").mkdir()
            with Weights(folder) as opened:
                write_folder(folder / "hf", opened, words, "float32", "")
            theirs = transformers.AutoModelForCausalLM.from_pretrained(folder / "hf", dtype=torch.float32)
            assert type(theirs).__name__ == known[0].architecture
            with torch.no_grad():
                assert (theirs(torch.tensor([ids])).logits[0] - wanted).abs().max() < 1e-4, name
        if known[1].loads:
            requests.append((name, str(export(folder, folder / "m.gguf", words=words)), wanted.log_softmax(-1).numpy()))
            tried[known[1].architecture] = tried.get(known[1].architecture, 0) + 1
        else:
            assert known[1].reason and known[1].remedy, name
    assert set(tried) == {"llama", "qwen2", "qwen3", "gpt2"}
    gaps = many(tmp_path, [path for _, path, _ in requests], ids, [scores for _, _, scores in requests])
    # llama.cpp's GELU is a table in half precision
    bad = {name: gap for (name, _, _), gap in zip(requests, gaps, strict=True) if not gap < (0.01 if "gpt2" in name else 1e-3)}
    assert not bad and len(gaps) > 40


def many(work: Path, paths: list[str], ids: list[int], wanted: list[np.ndarray]) -> list[float]:
    """Largest difference of log-probabilities for each file, all in one other process."""
    import subprocess
    import sys
    np.save(work / "wanted.npy", np.stack(wanted))
    (work / "paths.json").write_text(json.dumps(paths))
    code = ("import json, os, sys, numpy as np\nfrom pathlib import Path\nfrom engine.model.formats.runtimes import KINDS\n"
            "work, kind, ids = Path(sys.argv[1]), KINDS[sys.argv[2]], json.loads(sys.argv[3])\n"
            "wanted, gaps = np.load(work / 'wanted.npy'), []\n"
            "for path, scores in zip(json.loads((work / 'paths.json').read_text()), wanted):\n"
            "    try: gaps.append(float(np.abs(kind(Path(path), 128, 1).logprobs(ids) - scores).max()))\n"
            "    except Exception as wrong: gaps.append(float('inf')); print(path, wrong, file=sys.stderr)\n"
            "(work / 'gaps.json').write_text(json.dumps(gaps)); os._exit(0)\n")
    done = subprocess.run([sys.executable, "-c", code, str(work), RUNTIMES[-1], json.dumps(ids)], capture_output=True, text=True,
                          check=False, timeout=150, cwd=Path(__file__).parents[4])
    assert (work / "gaps.json").is_file(), done.stderr[-2000:]
    return json.loads((work / "gaps.json").read_text())


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_trained_model_is_the_same_in_llama_cpp(trained: Path, runtime: str, tmp_path: Path) -> None:
    """F32: ten thousand strings cut alike, the same 64 greedy tokens on 20 prompts, log-probabilities equal to rounding."""
    words, model = Tokenizer.load(trained), load_model(trained)
    texts = held_out(words, 20)
    prompts = [ids[:12] for ids in texts]
    stops = Words(words).stop_ids
    strings = made.random_strings(10_000)
    told = ask(tmp_path, runtime, export(trained, tmp_path / "m.gguf"), strings, prompts, stops, texts[:4], model)
    assert told["tokens"] == [words.encode(text) for text in strings]
    ours = continue_greedily(model, prompts, 64, stops)
    assert told["greedy"] == ours and sum(map(len, ours)) > 20 * 30
    assert told["largest"] < 1e-3


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_q8_0_costs_less_than_a_percent_of_perplexity(trained: Path, runtime: str, tmp_path: Path) -> None:
    words, model = Tokenizer.load(trained), load_model(trained)
    texts = held_out(words, 30, 40)
    sizes, found = {}, {}
    for precision in ("f32", "q8_0"):
        path = export(trained, tmp_path / f"{precision}.gguf", precision)
        found[precision] = perplexity(ask(tmp_path, runtime, path, scored=texts, model=model)["targets"])
        with Weights(trained) as opened:
            sizes[precision] = output_bytes(opened, precision)
    assert abs(found["q8_0"] / found["f32"] - 1) < 0.01
    assert found["f32"] < 30 and sizes["q8_0"] < 0.28 * sizes["f32"]


@pytest.mark.parametrize("precision", [*PRECISIONS, *K_QUANTS])
def test_the_round_trip_calls_each_precision_faithful(trained: Path, precision: str, tmp_path: Path) -> None:
    if precision in K_QUANTS:
        if not quantize.available():
            pytest.skip("llama-cpp-python is not installed")
        quantize.quantize(export(trained, tmp_path / "whole.gguf"), tmp_path / "m.gguf", precision, 1)
        assert (tmp_path / "m.gguf").stat().st_size < 0.4 * (tmp_path / "whole.gguf").stat().st_size
    else:
        export(trained, tmp_path / "m.gguf", precision)
    report = round_trip.compare(trained, "gguf", tmp_path / "m.gguf", precision, Words(Tokenizer.load(trained)), list(made.texts()[:6]),
                                tmp_path, continue_greedily)
    assert report.faithful and report.sentence.startswith("Faithful: llama.cpp"), report.sentence
    assert report.texts_equal == report.texts > 20 and report.prompts == 6
    if precision == "f32":
        assert report.greedy_equal == 6 and report.largest_difference < 1e-3


@pytest.mark.parametrize("precision", ["f32", "q8_0"])
def test_a_file_without_the_permutation_is_called_unfaithful(trained: Path, precision: str, tmp_path: Path,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control: llama.cpp loads it without a word."""
    monkeypatch.setattr(weights, "interleaved", lambda rows, head: rows)
    export(trained, tmp_path / "m.gguf", precision)
    report = round_trip.compare(trained, "gguf", tmp_path / "m.gguf", precision, Words(Tokenizer.load(trained)), list(made.texts()[:6]),
                                tmp_path, continue_greedily)
    assert report.faithful is False and report.sentence.startswith("Not faithful: its log-probabilities are off"), report.sentence
    assert report.spread > 0.2 and report.texts_equal == report.texts  # the tokenizer is right


def test_a_wrong_pre_tokenizer_is_called_unfaithful(trained: Path, tmp_path: Path) -> None:
    class Wrong(Words):
        facts = TokenizerFacts(split="gpt-2")

    words = Words(Tokenizer.load(trained))
    export(trained, tmp_path / "m.gguf", words=Wrong(words.tokenizer))
    report = round_trip.compare(trained, "gguf", tmp_path / "m.gguf", "f32", words, list(made.texts()[:3]), tmp_path, continue_greedily)
    assert report.faithful is False and "the tokenizers differ on" in report.sentence and report.examples[0]["kind"] == "tokens"


def test_a_file_that_does_not_load_is_called_unfaithful(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(export(trained, tmp_path / "whole.gguf").read_bytes()[:5_000])
    report = round_trip.compare(trained, "gguf", tmp_path / "m.gguf", "f32", Words(Tokenizer.load(trained)), ["The"], tmp_path,
                                continue_greedily)
    assert report.faithful is False and "could not load or run it" in report.sentence


def test_without_a_runtime_nothing_is_claimed(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(round_trip, "installed", lambda target: "")
    report = round_trip.compare(trained, "gguf", tmp_path / "m.gguf", "f32", Words(Tokenizer.load(trained)), [], tmp_path,
                                continue_greedily)
    assert report.faithful is None and report.sentence.startswith("Not checked")


def test_k_quants_without_the_binding_are_refused_with_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantize, "BINDING", "no_such_binding")
    with pytest.raises(Missing, match="no binding") as told:
        quantize.quantize(tmp_path / "a", tmp_path / "b", "q4_k_m", 1)
    assert "llama-cpp-python" in told.value.remedy and told.value.code == "no_llama_cpp"


def test_the_header_says_what_llama_cpp_needs(tmp_path: Path) -> None:
    from gguf import GGUFReader
    folder = tmp_path / "model"
    made.write_random(folder, made.config(vocab_size=720, rope_scaling=LLAMA3, rope_theta=500.0, tie_embeddings=False))
    words = Tokenizer.load(folder)
    fields = GGUFReader(export(folder, tmp_path / "m.gguf", "q8_0")).fields
    said = {key: field.contents() for key, field in fields.items()}
    assert said["general.architecture"] == "llama" and said["general.file_type"] == 7 and said["general.name"] == "Tiny"
    assert (said["llama.attention.head_count"], said["llama.attention.head_count_kv"], said["llama.attention.key_length"]) == (4, 2, 16)
    assert said["llama.rope.freq_base"] == 500.0 and said["llama.context_length"] == made.CONTEXT and said["llama.vocab_size"] == 720
    assert said["tokenizer.ggml.model"] == "gpt2" and said["tokenizer.ggml.pre"] == "llama-bpe"
    assert said["tokenizer.ggml.add_bos_token"] is True and said["tokenizer.ggml.add_eos_token"] is False
    assert said["tokenizer.ggml.bos_token_id"] == words.bos_id == said["tokenizer.ggml.eom_token_id"]
    assert said["tokenizer.ggml.eos_token_id"] == words.eos_id and said["tokenizer.ggml.eot_token_id"] == words.end_id
    assert said["tokenizer.chat_template"] == words.chat_template
    tokens, kinds = said["tokenizer.ggml.tokens"], said["tokenizer.ggml.token_type"]
    assert len(tokens) == len(kinds) == 720 and len(set(tokens)) == 720
    assert {kinds[i] for i in words.special.values()} == {3} and set(kinds[words.vocab_size:]) == {5} and kinds[0] == 1
    assert len(said["tokenizer.ggml.merges"]) == words.merges
    tensors = {t.name: t for t in GGUFReader(tmp_path / "m.gguf").tensors}
    assert {t.tensor_type.name for t in tensors.values()} == {"Q8_0", "F32"} and tensors.keys() >= {"rope_freqs.weight", "output.weight"}
    assert tensors["rope_freqs.weight"].data.max() == pytest.approx(4.0)


SPLITS = ("llama-bpe", "qwen2", "gpt-2", "smollm")


@pytest.mark.parametrize("name", SPLITS)
def test_every_known_split_cuts_ten_thousand_strings_alike(name: str, tmp_path: Path) -> None:
    """Tokenizers trained by the tokenizers library with each split that exportability.py has a llama.cpp name for."""
    import tokenizers
    from tokenizers import Regex, decoders, models, pre_tokenizers, trainers

    from engine.model.exportability import LLAMA_CPP_SPLITS
    from engine.model.exportability import SPLITS as KNOWN
    assert set(SPLITS) == LLAMA_CPP_SPLITS
    plain = tokenizers.Tokenizer(models.BPE(ignore_merges=name == "llama-bpe"))
    if name == "gpt-2":
        plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    elif name == "smollm":
        plain.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    else:
        regex = next(text for text, known in KNOWN.items() if known == name)
        plain.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(regex), "isolated"),
                                                       pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    plain.decoder = decoders.ByteLevel()
    strings = made.random_strings(10_000, seed=2)
    plain.train_from_iterator([*made.texts()[:200], *made.random_strings(300, seed=9)], trainers.BpeTrainer(
        vocab_size=600, special_tokens=["<|endoftext|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    words = Tokenizer(plain.to_str(), {"eos_token": "<|endoftext|>"})
    facts = tokenizer_facts(words.record)
    assert (facts.split, facts.byte_level, facts.vocab_size) == (name, True, 600)
    config: ModelConfig = made.config(vocab_size=600, num_layers=1)
    made.write_random(tmp_path / "model", config, words)
    told = ask(tmp_path, RUNTIMES[-1], export(tmp_path / "model", tmp_path / "m.gguf"), strings)["tokens"]
    bad = [(text, there) for text, there in zip(strings, told, strict=True) if words.encode(text) != there]
    assert not bad, (len(bad), bad[:2])
