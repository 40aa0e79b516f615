"""Rows held to a schema: always valid, each on its own, beside free rows that notice nothing."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers

from engine.contract.errors import SettingError
from engine.model.decoder import Decoder
from engine.sampling.grammar import Grammars, grammar_of
from engine.sampling.sampling import Sampling
from engine.sampling.slots import SlotEngine
from engine.text.tokenizer import Tokenizer
from tests.serving import TEXT, config, tokenizer

SCHEMA: dict[str, Any] = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 5}, "k": {"enum": ["a", "bb"]},
                                           "l": {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 9}, "maxItems": 3}},
          "required": ["name", "k", "l"], "additionalProperties": False}


@pytest.fixture(scope="module")
def words() -> Tokenizer:
    return tokenizer()


@pytest.fixture(scope="module")
def model(words: Tokenizer) -> Decoder:
    return Decoder(config(words.vocab_size + 13, context=256), seed=1).eval()  # rows that no token has, as padded vocabularies have


def run(engine: SlotEngine) -> dict[object, list[tuple[int, str]]]:
    heard: dict[object, list[tuple[int, str]]] = {}
    while engine.requests:
        for token in engine.step():
            heard.setdefault(token.request, []).append((token.id, token.finish_reason))
    return heard


def test_held_rows_are_valid_and_free_rows_are_as_alone(words: Tokenizer, model: Decoder) -> None:
    stops = (words.eos_id, words.end_id)
    grammars, grammar = Grammars(words, model.config.vocab_size, stops), grammar_of(SCHEMA)
    free = [Sampling(seed=i, max_new_tokens=30, temperature=i % 2, stop_ids=stops) for i in range(6)]
    alone = {}
    for i, sampling in enumerate(free):
        engine = SlotEngine(model)
        engine.add(("free", i), [5, 6], sampling)
        alone |= run(engine)
    engine = SlotEngine(model, slots=7)
    for i, sampling in enumerate(free):
        engine.add(("held", i), [words.bos_id, 7], Sampling(seed=i, max_new_tokens=200, temperature=i % 3, stop_ids=stops,
                   repetition_penalty=1 + i % 2, top_k=5 * (i % 2)), constraint=grammars.constraint(grammar))
        engine.add(("free", i), [5, 6], sampling)
    heard = run(engine)
    for i in range(len(free)):
        assert heard["free", i] == alone["free", i]
        ids = [id for id, reason in heard["held", i] if reason != "stop"]
        made = json.loads(words.decode(ids))
        assert heard["held", i][-1][1] in ("complete", "stop")
        assert list(made) == ["name", "k", "l"] and len(made["name"]) <= 5 and made["k"] in ("a", "bb") and len(made["l"]) <= 3


def test_only_tokens_with_text_and_stops_are_ever_allowed(words: Tokenizer, model: Decoder) -> None:
    rows = model.config.vocab_size
    held = Grammars(words, rows, (words.eos_id,)).constraint(grammar_of({"enum": ["ab"]}))
    first = held.allowed()
    assert first.dtype == bool and first.shape == (rows,) and not first[words.vocab_size:].any()
    assert {words.token_bytes(i) for i in np.flatnonzero(first)} == {b'"'} and not first[list(words.special.values())].any()
    over = [held.accept(words.encode(c)[0]) for c in '"ab"']
    assert over == [False, False, False, True] and not held.error


def test_a_token_that_does_not_fit_is_an_error_of_that_row(words: Tokenizer, model: Decoder) -> None:
    held = Grammars(words, model.config.vocab_size, (words.eos_id,)).constraint(grammar_of({"enum": ["ab"]}))
    assert held.accept(words.encode("x")[0]) and held.error


@pytest.mark.parametrize("lower", [False, True])
def test_tokenizers_that_change_what_they_read_are_held_too(lower: bool) -> None:
    """A blank before every text, as SentencePiece has it; capitals that become small letters."""
    made = tokenizers.Tokenizer(tokenizers.models.BPE(byte_fallback=True, unk_token="<unk>"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    if lower:
        made.normalizer = tokenizers.normalizers.Lowercase()
    made.decoder = tokenizers.decoders.Sequence([tokenizers.decoders.Replace("\u2581", " "), tokenizers.decoders.ByteFallback(),
                                                 tokenizers.decoders.Fuse(), tokenizers.decoders.Strip(" ", 1, 0)])
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=500, show_progress=False,
                                             special_tokens=["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256))])
    made.train_from_iterator([TEXT, '{"name": "x", "k": [1, 2]}'], trainer)
    record = json.loads(made.to_str())
    record["added_tokens"] = [t for t in record["added_tokens"] if not t["content"].startswith("<0x")]
    own = Tokenizer(json.dumps(record), {"eos_token": "</s>", "bos_token": "<s>"})
    assert own.backend == "tokenizers" and own.eos_id is not None
    model = Decoder(config(own.vocab_size, context=256), seed=2).eval()
    grammars, grammar = Grammars(own, own.vocab_size, (own.eos_id,)), grammar_of({**SCHEMA, "title": "Name"} | {
        "properties": {**SCHEMA["properties"], "k": {"enum": ["A", "Bb"]}}})
    engine = SlotEngine(model)
    for i in range(6):
        engine.add(i, [1, 300], Sampling(seed=i, max_new_tokens=200, stop_ids=(own.eos_id,)), constraint=grammars.constraint(grammar))
    for heard in run(engine).values():
        text = own.decode([id for id, reason in heard if reason != "stop"])
        assert json.loads(text)["k"] in ("A", "Bb")


def test_schemas_are_never_fetched(tmp_path: Path) -> None:
    for url in ("http://127.0.0.1:9/x.json", (tmp_path / "x.json").as_uri()):
        with pytest.raises(SettingError):
            grammar_of({"$ref": url})
