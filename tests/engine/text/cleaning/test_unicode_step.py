"""Unicode form: what goes, what must stay byte for byte, and that no text makes it slow."""

import time
import unicodedata

import pyarrow as pa
import pytest

from engine.text.cleaning.draft import Draft
from engine.text.cleaning.unicode import MARKS, Unicode, clean

UNTOUCHED = [
    "¿Qué tal, señor Ibáñez? «El pingüino» comió 3 € de ñoquis…\n\tSegunda línea.",
    "O coração da avó à noite: não, São João — “sim”.",
    "Învățământul românesc, șapte țări și o mâță.",
    "L’été à Noël ; « garçon », œuvre, ça alors !",
    "中文没有问题，「引号」《书名》和全角空格　都在。",
    "العربية: \u200fنصٌّ مُشَكَّلٌ\u200f (ABC) \u2067مثال\u2069.",
    "فارسی می‌خواهم بروم؛ کتاب‌ها و خانه‌ای",
    "हिन्दी: क्षत्रिय, ज्ञान, श्री, र\u094d\u200dय, क्\u200cष",
    "ไทย\u200bภาษา ខ្មែរ\u200bភាសា",
    "👨‍👩‍👧‍👦 🤷🏽‍♀️ ❤️ 🏳️‍🌈 🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f 1️⃣ 🇷🇴",
    "Tiếng Việt: Đường phố Nguyễn Huệ", "한국어 문장입니다.", "\ue000 private \ufffd lost", "def f():\n\treturn 'x'\n\n\n",
]


@pytest.mark.parametrize("text", UNTOUCHED)
def test_text_in_order_is_left_byte_for_byte(text: str) -> None:
    assert clean(text) == (text, 0)


@pytest.mark.parametrize("before,after", [
    ("Cafe\u0301", "Café"), ("A\u030angstro\u0308m \u212b \u2126", "Ångström Å Ω"), ("\u1112\u1161\u11ab", "한"),
    ("\u0958", "\u0915\u093c"), ("nul\x00 bell\x07 del\x7f c1\x81", "nul bell del c1"),
    ("\ufeffstart and\ufeff middle", "start and middle"),
    ("zero\u200bwidth and jo\u200diner, non\u200cjoiner", "zerowidth and joiner, nonjoiner"), ("soft\u00adhyphen", "softhyphen"),
    ("left\u200e right\u200f \u202aembedded\u202c", "left right embedded"), ("user\u202egnp.exe", "usergnp.exe"),
    ("עברית\u202eabc\u202c\u200f", "עבריתabc\u202c\u200f"), ("one\rtwo\x0cthree\x0bfour\x85five", "one\ntwo\nthree\nfour\nfive"),
    ("crlf\r\nstays", "crlf\r\nstays"), ("hidden\U000e0041\U000e0042 tags", "hidden tags"),
    ("word\u2060joiner \ufff9x\ufffc", "wordjoiner x"),
    ("non\ufdd0char\uffffacters\ufffe", "noncharacters"), ("👨\u200d alone", "👨 alone"),
])
def test_each_kind_of_superfluous_character(before: str, after: str) -> None:
    made, count = clean(before)
    assert made == after
    assert (count > 0) == (before != after)
    assert clean(made) == (made, 0), "cleaning twice changes nothing more"


def test_the_fast_look_never_misses_a_character_that_changes() -> None:
    """Every code point alone, after a letter and after what it could join with: a text that is not suspected comes out as it went in."""
    follows = {}
    for code in range(0x110000):
        parts = unicodedata.decomposition(chr(code)).split()
        if len(parts) == 2 and not parts[0].startswith("<"):
            follows[int(parts[1], 16)] = chr(int(parts[0], 16))
    texts = []
    for code in range(0x110000):
        if 0xD800 <= code < 0xE000:
            continue
        sign = chr(code)
        texts.append(f"a{sign}b {follows.get(code, '')}{sign} {sign}")
    suspects = Unicode().suspects(pa.array(texts, pa.large_string()))
    assert not suspects[0xc0:0xff].any() and not suspects[0x410:0x44f].any() and not suspects[0x4e00:0x9000].any()
    missed = [text for text, suspect in zip(texts, suspects, strict=True) if not suspect and clean(text)[0] != text]
    assert missed == []


def test_a_touch_shows_what_cannot_be_seen() -> None:
    draft = Draft("A long enough beginning, then zero\u200bwidth\tand more")
    Unicode()(draft)
    (touch,) = draft.touches
    assert (touch.step, touch.count) == ("unicode", 1)
    assert "zero⟨U+200B⟩width⇥" in touch.before and "zerowidth⇥" in touch.after


def test_marks_without_end_are_cut_and_cost_no_time() -> None:
    started = time.process_time()
    made, count = clean("a" + "\u0301\u0316" * 500_000)
    assert time.process_time() - started < 3
    assert count > 0 and len(unicodedata.normalize("NFD", made)) == 1 + MARKS
    assert len(clean("\U00011000" + "\U00011046\u0316" * 100_000)[0]) == 1 + MARKS, "beyond the basic plane too"
    zalgo = "".join(c + "\u0300\u0323" * 8 for c in "slightly haunted")
    assert unicodedata.normalize("NFC", zalgo) == clean(zalgo)[0]
