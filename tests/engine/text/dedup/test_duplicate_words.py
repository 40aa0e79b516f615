"""Words and word sequences: what counts as equal, in which script, and that the fast way gives what the plain definition says."""

import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.text.dedup import grams
from engine.text.dedup.grams import gram_hashes, gram_spans, weight, word_hashes, word_spans, words

TEXT = st.text(st.one_of(st.sampled_from("ab cd, éß ﬁ日本語ส า+😀\n'\u00ad\u0301Àक्षि가각"), st.characters(codec="utf-8")), max_size=80)


@pytest.mark.parametrize("text, expected", [
    ("Don't PANIC, it's 12.5!", ["don", "t", "panic", "it", "s", "12", "5"]),
    ("Straße STRASSE ﬁnd find", ["strasse", "strasse", "find", "find"]),
    ("cafe\u0301 café ＣＡＦÉ", ["café", "café", "café"]),
    ("co\u00adopera\u00adte", ["cooperate"]),
    ("日本語 テスト", list("日本語テスト")),
    ("สวัสดี", list("สวัสดี")),
    ("हिन्दी में", ["हिन्दी", "में"]),
    ("العَرَبِيَّة لغة", ["العَرَبِيَّة", "لغة"]),
    ("Привет, МИР", ["привет", "мир"]),
    ("1 + 1 = 2 😀😀 ok", ["1", "+", "1", "2", "😀😀", "ok"]),
    ("한국어 문장", ["한국어", "문장"]),
    ("⼀一 ＝ = ＋ + ≠", ["一", "一", "+", "+", "≠"]),
    ("***---", []),
    ("", []),
])
def test_words_are_compared_without_case_punctuation_and_form(text, expected):
    assert words(text) == expected
    hashes, offsets = word_hashes([text])
    assert offsets.tolist() == [0, len(expected)]
    assert (hashes[:, None] == hashes[None, :]).tolist() == [[a == b for b in expected] for a in expected]


def test_a_word_has_one_hash_in_any_surroundings():
    plain = word_hashes(["the cafe stands"])[0]
    for other in ("The cafe stands — été", "日本 the cafe stands", "the ca\u00adfe stands ß", "x" * 200_000 + " the cafe stands"):
        assert set(plain.tolist()) <= set(word_hashes([other])[0].tolist())
    assert len({*word_hashes(["b a, ab ba"])[0].tolist()}) == 4


@settings(max_examples=300, deadline=None)
@given(st.lists(TEXT, max_size=6))
def test_the_words_of_many_texts_are_those_of_each(texts):
    hashes, offsets = word_hashes(texts)
    spans = word_spans(pa.chunked_array([pa.array(texts, pa.string())]))
    assert spans.hashes.tolist() == hashes.tolist() and spans.offsets.tolist() == offsets.tolist()
    for i, text in enumerate(texts):
        own = hashes[offsets[i]:offsets[i + 1]]
        assert own.tolist() == word_hashes([text])[0].tolist()
        starts, ends = spans.starts[offsets[i]:offsets[i + 1]], spans.ends[offsets[i]:offsets[i + 1]]
        assert (starts < ends).all() and (np.diff(starts) >= 0).all() and (ends <= len(text)).all()
        assert len(words(text)) == len(own)


@settings(max_examples=200, deadline=None)
@given(TEXT)
def test_composed_and_decomposed_text_are_the_same(text):
    composed, apart = unicodedata.normalize("NFC", text), unicodedata.normalize("NFD", text)
    assert word_hashes([composed])[0].tolist() == word_hashes([apart])[0].tolist()


def test_long_texts_are_cut_into_blocks_without_a_trace(monkeypatch):
    text = "Größe ist, was zählt:日本 überall. The quick brown fox " * 60
    whole = word_spans([text, "end"])
    monkeypatch.setattr(grams, "BLOCK", 257)
    cut = word_spans([text, "end"])
    for a, b in zip(whole, cut, strict=True):
        assert a.tolist() == b.tolist()


def plain_grams(hashes: list[int], n: int) -> list[tuple[int, ...]]:
    """By definition: from each word on until the weight of n words is reached; a text that is too short is one sequence."""
    made = []
    for i in range(len(hashes)):
        total, j = 0, i
        while j < len(hashes) and total < 12 * n:
            total += 5 if hashes[j] & 1 else 12
            j += 1
        if total >= 12 * n or i == 0:
            made.append(tuple(hashes[i:j]))
    return made


@settings(max_examples=300, deadline=None)
@given(st.lists(st.lists(st.sampled_from(["a", "b", "c", "日", "本", "語", "word"]), max_size=30), max_size=5), st.integers(1, 7))
def test_word_sequences_are_as_defined(texts, n):
    hashes, offsets = word_hashes([" ".join(t) for t in texts])
    found, ends = grams.grams(hashes, offsets, n)
    starts, stops, counts = gram_spans(hashes, offsets, n)
    assert np.diff(ends).tolist() == counts.tolist()
    names: dict[tuple[int, ...], int] = {}
    for i in range(len(texts)):
        expected = plain_grams(hashes[offsets[i]:offsets[i + 1]].tolist(), n)
        own = found[ends[i]:ends[i + 1]].tolist()
        assert len(own) == len(expected)
        assert own == gram_hashes(hashes[offsets[i]:offsets[i + 1]], n).tolist()
        for value, words_, a, b in zip(own, expected, starts[ends[i]:ends[i + 1]], stops[ends[i]:ends[i + 1]], strict=True):
            assert tuple(hashes[a:b].tolist()) == words_
            assert names.setdefault(words_, value) == value
    assert len(set(names.values())) == len(names)


def test_twelve_characters_are_a_sequence_where_words_are_not_spaced():
    hashes, offsets = word_hashes(["春眠不覚暁処処聞啼鳥夜来風雨声"])
    assert len(hashes) == 15 and len(grams.grams(hashes, offsets, 5)[0]) == 4
    assert weight(hashes, offsets).tolist() == [15 * 5 / 12]


def test_slices_of_arrow_arrays_are_read_in_place():
    array = pa.array(["zero", "one two", None, "four"], pa.large_string())[1:]
    hashes, offsets = word_hashes(array)
    assert offsets.tolist() == [0, 2, 2, 3]
    assert hashes.tolist() == word_hashes(["one two", "", "four"])[0].tolist()
