"""Garbled letters: mended where certain, never where the text is right."""

import time

import pyarrow as pa
import pytest

from engine.text.cleaning.draft import Draft
from engine.text.cleaning.mojibake import Mojibake, clean

RIGHT = ["Canción española, ¿qué tal? ¡Año nuevo!", "São João é uma questão de coração à noite", "MAÇÃ É BOM. NÃO À GUERRA. SÃO…",
         "Învățământul românesc și țara", "L’été à Noël, « garçon » œuvre — É. Zola", "Größe „Spaß“ – Übung", "Zażółć gęślą jaźń",
         "Příliš žluťoučký kůň", "中文测试，没有问题。", "عربي، فارسی می‌خواهم", "हिन्दी क्षत्रिय ज्ञान", "Рік 2020 – Рёв «Ёлка»",
         "Türkçe İĞŞ şğı", "Đường Việt Nam", "👨‍👩‍👧‍👦 ♥", "&eacute; stays “curly” and ﬁligree ＡＢＣ"]


@pytest.mark.parametrize("text", RIGHT)
def test_right_text_is_left_byte_for_byte(text: str) -> None:
    assert clean(text) == (text, 0)


@pytest.mark.parametrize("wrong", ["latin-1", "cp1252", "cp1250", "mac_roman", "cp437"])
@pytest.mark.parametrize("text", ["Canción española y más niños", "L’été à Noël, garçon — œuvre", "„Größe“ und Übung", "São João, coração"])
def test_utf8_read_in_a_wrong_encoding_is_mended(text: str, wrong: str) -> None:
    garbled = text.encode().decode(wrong)
    assert garbled != text
    assert clean(garbled) == (text, 1)


def test_twice_garbled_and_control_codes_and_single_lines() -> None:
    twice = "déjà vu".encode().decode("latin-1").encode().decode("latin-1")
    text = f"A right line: “é”\n{twice}\nplain\n\x93quoted\x94 as Windows does"
    assert clean(text) == ("A right line: “é”\ndéjà vu\nplain\n“quoted” as Windows does", 2)


def test_the_fast_look_finds_what_is_garbled_and_passes_what_is_right() -> None:
    garbled = [text.encode().decode("cp1252", "ignore") for text in ("niño", "l’été", "naïve — café", "日本語", "🙂")]
    found = Mojibake().suspects(pa.array(garbled + ["plain ascii", RIGHT[0], RIGHT[8], RIGHT[9]], pa.large_string()))
    assert found.tolist() == [True] * len(garbled) + [False] * 4


def test_a_touch_shows_before_and_after() -> None:
    Mojibake()(draft := Draft("Un CafÃ© por favor"))
    assert draft.text == "Un Café por favor"
    assert [(t.step, t.count, t.before, t.after) for t in draft.touches] == [("mojibake", 1, "Un CafÃ© por favor", "Un Café por favor")]


@pytest.mark.parametrize("piece", ["Ã©", "â€™", "Ã ", "\x93", "Ã©à ü—É", "Ã"])
def test_a_megabyte_in_one_line_takes_no_longer_than_its_length(piece: str) -> None:
    started = time.process_time()
    clean(piece * (1_000_000 // len(piece)))
    assert time.process_time() - started < 8
