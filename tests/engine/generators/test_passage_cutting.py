"""Passages to ask about, and quotations found in them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.generators.passages import cut, locate

TEXT = ("The Tarn Bridge was finished in 1874. It has four arches of grey stone.\n\n"
        "The harbour of Nolm freezes each winter, because its water is nearly fresh. Ships wait until March.\n\n"
        "Ada Velk drew the bridge’s plans; she said: “Stone lasts, if water lets it.” Nobody has ever found them — they were burnt.\n")


def test_passages_end_where_sentences_and_paragraphs_do() -> None:
    found = cut(TEXT * 4, 300, 20)
    assert len(found) > 3
    for passage in found:
        assert (TEXT * 4)[passage.start:passage.end] == passage.text
        assert 40 <= len(passage.text) <= 375
        assert passage.text[-1] in ".”" and passage.text[0] in "TIAS“N"


@given(st.text(max_size=600), st.integers(40, 200))
def test_passages_are_slices_in_order_and_lose_only_white_space(text: str, size: int) -> None:
    found = cut(text, size, 0)
    at = 0
    for passage in found:
        assert text[passage.start:passage.end] == passage.text
        assert not text[at:passage.start].strip()
        at = passage.end
    assert not text[at:].strip()


def test_a_tiny_rest_is_left_out_but_a_tiny_document_is_not() -> None:
    assert len(cut("Only this.", 1500)) == 1
    assert cut("   \n", 1500) == []
    assert all(len(p.text) > 200 for p in cut("word " * 400 + "\n\nEnd.", 1500))


@pytest.mark.parametrize("quote", [
    "It has four arches of grey stone.",
    "It has\nfour  arches of grey stone",
    "“It has four arches of grey stone.”",
    "...four arches of grey stone...",
    "Ada Velk drew the bridge's plans",
    'she said: "Stone lasts, if water lets it."',
    "Nobody has ever found them - they were burnt.",
])
def test_a_quotation_is_found_whatever_its_white_space_and_quote_marks(quote: str) -> None:
    place = locate(quote, TEXT)
    assert place is not None
    assert TEXT[place[0]:place[1]].split()[-1].strip(".”\"") == quote.split()[-1].strip(".”\"…")


@pytest.mark.parametrize("quote", [
    "It has five arches of grey stone.",
    "arches of grey",            # found, but see below
    "the", "Tarn Bridge", "", "“”", "...",
    "he harbour of Nolm freezes each winte",
    "It has four arches and the harbour freezes.",
    "The Tarn Bridge was completed in 1874.",
])
def test_what_does_not_stand_there_or_says_too_little_is_no_quotation(quote: str) -> None:
    assert (locate(quote, TEXT) is not None) == (quote == "arches of grey")


def test_scripts_without_spaces_are_quoted_by_characters() -> None:
    text = "塔恩橋於一八七四年落成。橋有四個石拱。"
    assert locate("塔恩橋於一八七四年落成", text) == (0, 11)
    assert locate("「塔恩橋於一八七四年落成。」", text) == (0, 12)
    assert locate("石拱", text) is None
