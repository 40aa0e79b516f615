"""Where a model of this shape can go: which class of transformers, which architecture of llama.cpp and Ollama loads it, or why none does.

The one list: the badge of the design page, the exporters and the tests all ask it. It knows formats, not files, and needs no torch.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from engine.contract.words import tr
from engine.model.config import ModelConfig
from engine.text import split

SPLITS = {split.LLAMA3: "llama-bpe", split.LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}"): "qwen2"}
"""Regular expressions of tokenizer.json -> what llama.cpp calls the pre-tokenizer that splits the same way. Only those that cut thousands
of random strings alike (a test tries them all): its gpt-4o and tekken do not, where letters have no case or carry marks."""
LLAMA_CPP_SPLITS = frozenset({*SPLITS.values(), "gpt-2", "smollm"})


@dataclass(frozen=True)
class TokenizerFacts:
    """What other programs must know of a tokenizer. `split`: the name llama.cpp has for its pre-tokenizer ("" if it has none);
    `byte_level`: a byte-level BPE with merges; `vocab_size` with specials."""

    split: str = "llama-bpe"
    byte_level: bool = True
    vocab_size: int = 0
    specials: Sequence[str] = ()


def tokenizer_facts(record: str) -> TokenizerFacts:
    """Of the text of a tokenizer.json, which `tokenizers` could read."""
    raw: dict[str, Any] = json.loads(record)
    model, decoder = raw.get("model") or {}, raw.get("decoder") or {}
    added = raw.get("added_tokens") or ()
    parts = [d.get("type") for d in (decoder.get("decoders") or () if decoder.get("type") == "Sequence" else [decoder])]
    # NFC alone may go first (Qwen): llama.cpp leaves it out, which matters only for text that is not in NFC.
    normal = (raw.get("normalizer") or {}).get("type") in (None, "NFC")
    plain = not any(model.get(key) for key in ("dropout", "byte_fallback", "continuing_subword_prefix", "end_of_word_suffix"))
    ids = [*(model.get("vocab") or {}).values(), *(int(t["id"]) for t in added)] if model.get("type") == "BPE" else [
        *range(len(model.get("vocab") or ())), *(int(t["id"]) for t in added)]
    return TokenizerFacts(split=_split_name(raw.get("pre_tokenizer") or {}), vocab_size=1 + max(ids, default=-1),
                          byte_level=model.get("type") == "BPE" and parts == ["ByteLevel"] and normal and plain,
                          specials=tuple(str(t["content"]) for t in added if t.get("special")))


def _split_name(before: dict[str, Any]) -> str:
    steps = before.get("pretokenizers") or [] if before.get("type") == "Sequence" else [before]
    if not steps or steps[-1].get("type") != "ByteLevel" or steps[-1].get("add_prefix_space"):
        return ""
    first, own_regex = steps[:-1], steps[-1].get("use_regex", True)
    if not first and own_regex:
        return "gpt-2"
    if len(first) == 1 and first[0].get("type") == "Digits" and first[0].get("individual_digits") and own_regex:
        return "smollm"
    if len(first) == 1 and first[0].get("type") == "Split" and not own_regex:
        cut = first[0]
        if cut.get("behavior") == "Isolated" and not cut.get("invert"):
            return SPLITS.get((cut.get("pattern") or {}).get("Regex", ""), "")
    return ""


@dataclass(frozen=True)
class Verdict:
    """`target` is transformers, llama.cpp or ollama; `architecture` its name for the shape ("" when it does not load); `reason` why not."""

    target: str
    title: str
    loads: bool
    architecture: str = ""
    reason: str = ""
    remedy: str = ""


@dataclass(frozen=True)
class _Fit:
    architecture: str = ""
    reason: str = ""
    remedy: str = ""


def transformers_architecture(config: ModelConfig) -> str:
    """The class of transformers that computes exactly this model; "" if there is none."""
    return _transformers(config).architecture


def gguf_architecture(config: ModelConfig) -> str:
    """`general.architecture` of a GGUF file of this model; "" if llama.cpp has none."""
    return _llama_cpp(config).architecture


def verdicts(config: ModelConfig, tokenizer: TokenizerFacts | None = None) -> tuple[Verdict, ...]:
    """One for transformers, llama.cpp and Ollama, in this order. Without a tokenizer only the shape is judged."""
    here, cpp = _transformers(config), _llama_cpp(config)
    if tokenizer is not None and 0 < config.vocab_size < tokenizer.vocab_size:
        lacking = _Fit(reason=tr("the tokenizer has {have} tokens, the model only {room}", have=f"{tokenizer.vocab_size:,}",
                                 room=f"{config.vocab_size:,}"), remedy=tr("Give the model the tokenizer's vocabulary size."))
        here = cpp = lacking
    elif tokenizer is not None and cpp.architecture:
        if not tokenizer.byte_level:
            cpp = _Fit(reason=tr("only byte-level BPE tokenizers can be handed over"), remedy=tr("Train a tokenizer in this program."))
        elif tokenizer.split not in LLAMA_CPP_SPLITS:
            cpp = _Fit(reason=tr("llama.cpp does not know how this tokenizer splits text"),
                       remedy=tr("Choose a tokenizer with the split of Llama 3 or GPT-2."))
    return (Verdict("transformers", "transformers", bool(here.architecture), here.architecture, here.reason, here.remedy),
            Verdict("llama.cpp", "llama.cpp", bool(cpp.architecture), cpp.architecture, cpp.reason, cpp.remedy),
            Verdict("ollama", "Ollama", bool(cpp.architecture), cpp.architecture, cpp.reason, cpp.remedy))


def _transformers(config: ModelConfig) -> _Fit:
    if config.shape == "gpt2":
        return _gpt2(config, "GPT2LMHeadModel")
    if config.qk_norm:
        if config.mlp_bias:
            return _Fit(reason=tr("no known architecture has QK-norm and biases in the MLP"), remedy=tr("Turn one of the two off."))
        return _Fit("Qwen3ForCausalLM")
    if config.attention_bias and not config.output_bias and not config.mlp_bias:
        return _Fit("Qwen2ForCausalLM")
    return _Fit("LlamaForCausalLM")


def _llama_cpp(config: ModelConfig) -> _Fit:
    if config.shape == "gpt2":
        return _gpt2(config, "gpt2")
    if config.qk_norm:
        if config.attention_bias or config.output_bias or config.mlp_bias:
            return _Fit(reason=tr("llama.cpp has no architecture with QK-norm and biases"), remedy=tr("Turn the biases off."))
        if config.rope_scaling and config.rope_scaling["rope_type"] == "llama3":
            return _Fit(reason=tr("llama.cpp scales RoPE as Llama 3 does only for models without QK-norm"),
                        remedy=tr("Turn QK-norm or the scaling off."))
        return _Fit("qwen3")
    if config.attention_bias and not config.output_bias and not config.mlp_bias:
        scaled = config.rope_scaling and config.rope_scaling["rope_type"] == "llama3"
        # What llama.cpp calls qwen2 scales no such RoPE, and its heads together are as wide as the model; its llama has room for both.
        return _Fit("llama" if scaled or config.num_heads * config.head_dim != config.hidden_size else "qwen2")
    return _Fit("llama")


def _gpt2(config: ModelConfig, name: str) -> _Fit:
    if config.num_kv_heads != config.num_heads:
        return _Fit(reason=tr("GPT-2 has no grouped-query attention"),
                    remedy=tr("Use as many key and value heads as heads, or the Llama shape."))
    if config.num_heads * config.head_dim != config.hidden_size:
        return _Fit(reason=tr("in GPT-2 the heads together are as wide as the model"),
                    remedy=tr("Choose a number of heads that divides the width."))
    if config.qk_norm:
        return _Fit(reason=tr("GPT-2 has no QK-norm"), remedy=tr("Turn QK-norm off, or use the Llama shape."))
    return _Fit(name)
