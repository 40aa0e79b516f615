"""White space and the shortest document."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.text.cleaning.draft import Draft
from engine.text.cleaning.length import MinimumLength
from engine.text.cleaning.whitespace import WhiteSpace, clean


@pytest.mark.parametrize("text", [
    "one\ntwo\n", "one", "\tindented\n    more\n", "def f():\n    pass\n\n\ndef g():\n    pass\n", "two  spaces and\u00a0no-break  inside",
    "全角　空格\n下一行", "\n".join("abc"), "",
])
def test_text_in_order_is_left_as_it_is(text: str) -> None:
    assert clean(text)[0] == text


@pytest.mark.parametrize("before,after", [
    ("end \nof\t\nlines \u00a0\u3000\n", "end\nof\nlines\n"), ("a\r\nb\rc\u2028d\u2029e", "a\nb\nc\nd\ne"),
    ("a\n\n\n\n\n\n\nb", "a\n\n\nb"), ("a\n \n\t\n  \n \nb", "a\n\n\nb"), ("\n\n  \n\tx\n\n\n", "\tx\n"), ("x   ", "x"), (" \n\n ", ""),
])
def test_what_says_nothing_goes(before: str, after: str) -> None:
    made, count = clean(before)
    assert made == after and count > 0


@given(st.text(alphabet=" \t\n\r\x0b\x1c\u00a0\u2028\u3000ab", max_size=40))
def test_the_fast_look_knows_exactly_which_texts_change(text: str) -> None:
    suspect = bool(WhiteSpace().suspects(pa.array([text], pa.large_string()))[0])
    made, _ = clean(text)
    assert suspect == (made != text)
    assert clean(made)[0] == made
    assert made.split() == text.split()


def test_short_documents_go_by_their_characters_not_their_bytes() -> None:
    texts = ["  中文字符 \n", "five!", "ünï", "", "long enough by far"]
    step = MinimumLength(5)
    assert step.suspects(pa.array(texts, pa.large_string())).tolist() == [True, False, True, True, False]
    verdicts = []
    for text in texts:
        step(draft := Draft(text))
        verdicts.append(draft.verdict)
    assert [v and v.rule for v in verdicts] == ["too_short", None, "too_short", "empty", None]
    assert verdicts[0].detail == "4 characters"
