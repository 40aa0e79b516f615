"""The tokenizer lab's numbers and colours, scripts, chat templates."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.contract.errors import FormatError
from engine.model.config import ModelConfig
from engine.stages.tokenizer.lab import vocabulary_costs
from engine.text import bpe, chat_template, lab, scripts
from engine.text.lab import RawBytes, colour, compare, measure


@pytest.fixture(scope="module")
def trained():
    return bpe.train(["the harbour master runs the boats. " * 5, "Москва и море. " * 4, "日本"] * 3, 360)


@given(st.text())
def test_colours_cover_the_text_with_whole_characters(trained, text):
    for tokenizer in (trained, RawBytes()):
        pieces = colour(tokenizer, text)
        assert "".join(p.text for p in pieces) == text
        assert [id for p in pieces for id in p.ids] == [id for id, _ in tokenizer.pieces(text)]


def test_tokens_that_share_a_character_share_a_colour(trained):
    pieces = colour(RawBytes(), "a🙂")
    assert [(p.text, len(p.ids)) for p in pieces] == [("a", 1), ("🙂", 4)]


def test_text_that_is_no_unicode_is_shown_all_the_same(trained):
    assert "\ufffd" in "".join(p.text for p in colour(trained, "a\ud800b"))


def test_raw_bytes_are_one_byte_a_token_and_the_trained_do_better(trained):
    text = "the harbour master, Москва 日本 42"
    found = compare({"bytes": RawBytes(), "trained": trained}, text)
    assert found["bytes"].bytes_per_token == 1.0 and found["bytes"].tokens == len(text.encode())
    assert found["trained"].bytes_per_token > 1.5 and found["trained"].tokens == len(trained.encode(text))
    for made in found.values():
        assert sum(size for size, _ in made.by_script.values()) == made.bytes == len(text.encode())
        assert sum(tokens for _, tokens in made.by_script.values()) == made.tokens


def test_scripts_are_counted_by_hand(trained):
    found = measure(RawBytes(), ["ab Яя 日 1!"]).by_script
    assert found == {"cyrillic": (4, 4), "common": (5, 5), "han": (3, 3), "latin": (2, 2)}
    # One token of a space and a word counts for the word.
    assert measure(trained, [" the"]).by_script == {"latin": (4, 1)}


def test_scripts_of_characters():
    for text, script in {"é": "latin", "ß": "latin", "Ω": "greek", "Ж": "cyrillic", "ש": "hebrew", "ع": "arabic", "अ": "devanagari",
                         "ก": "thai", "한": "hangul", "か": "kana", "カ": "kana", "字": "han", "🙂": "emoji", "1": "common", " ": "common",
                         "、": "common", "—": "common", "ᚠ": "other"}.items():
        assert list(scripts.shares(text)) == [script], text
        assert scripts.title(script)
    assert all(scripts.title(name) for name in scripts.NAMES)
    assert scripts.shares("aЯ") == {"cyrillic": pytest.approx(2 / 3), "latin": pytest.approx(1 / 3)}


def test_unused_tokens_are_those_never_seen(trained):
    counts = lab.usage(trained, ["the harbour master runs the boats. "])
    ids = lab.unused(trained, counts)
    assert counts.sum() == len(trained.encode("the harbour master runs the boats. "))
    assert ids and all(counts[id] == 0 and len(trained.token_bytes(id)) > 1 for id in ids)
    assert any("М" in trained.token_text(id) or "о" in trained.token_text(id) for id in ids)
    assert not set(ids) & set(trained.special.values())


def test_vocabulary_costs_follow_the_models_formula():
    config = ModelConfig(vocab_size=1, hidden_size=64, num_layers=2, num_heads=4, num_kv_heads=4, head_dim=16, intermediate_size=128,
                         max_seq_len=32)
    costs = vocabulary_costs(config, (1000, 50_000))
    assert [c.embedding_parameters for c in costs] == [64_000, 3_200_000]
    assert all(c.parameters == config.model_copy(update={"vocab_size": c.vocab_size}).parameters for c in costs)
    assert costs[0].share < 0.5 < costs[1].share < 1


def test_a_template_that_refuses_or_breaks_says_so():
    with pytest.raises(FormatError, match="roles"):
        chat_template.render(chat_template.DEFAULT_TEMPLATE, [{"role": "wizard", "content": "x"}])
    for broken in ("{% for %}", "{{ messages[9].content.x }}", "{{ 1 / 0 }}", "{{ ''.__class__.__mro__ }}", "{{ missing.attribute }}"):
        with pytest.raises(FormatError):
            chat_template.render(broken, [{"role": "user", "content": "x"}])


def test_a_template_cannot_reach_python_or_change_the_conversation():
    messages = [{"role": "user", "content": "x"}]
    with pytest.raises(FormatError):
        chat_template.render("{{ messages.append(1) }}", messages)
    with pytest.raises(FormatError):
        chat_template.render("{{ ().__class__.__base__.__subclasses__() }}", messages)
    assert messages == [{"role": "user", "content": "x"}]


def test_templates_of_others_render():
    chatml = ("{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
              "{% endfor %}"
              "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")
    assert chat_template.render(chatml, [{"role": "user", "content": "hi"}]) == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
