"""Text that grows by tokens: whole characters, stop strings cut, tokens and text in step."""

import codecs

from hypothesis import given
from hypothesis import strategies as st

from engine.serve.pieces import Growing, Token


class Bytes:
    """A decoder whose ids are bytes."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, id: int) -> str:
        return self._decoder.decode(bytes([id]))

    def finish(self) -> str:
        return self._decoder.decode(b"", True)


def grow(text: str, stops: tuple[str, ...] = ()) -> tuple[list[list[str]], str, bool]:
    """(texts released at each push, the whole text, whether a stop string ended it)."""
    growing, released, whole = Growing(Bytes(), stops), [], ""
    for byte in text.encode():
        if growing.stopped:
            break
        out = growing.push(Token(byte, bytes([byte]), ""))
        released.append([t.text for t in out])
        whole += "".join(t.text for t in out)
    rest = growing.finish()
    return [*released, [t.text for t in rest]], whole + "".join(t.text for t in rest), growing.stopped


def test_without_stop_strings_a_token_leaves_at_once() -> None:
    assert grow("ab")[0] == [["a"], ["b"], []]


def test_a_half_character_is_a_token_without_text() -> None:
    assert grow("é")[0] == [[""], ["é"], []]


def test_what_may_begin_a_stop_string_waits_and_is_freed_when_it_does_not() -> None:
    assert grow("aEOb", ("EOS",))[0] == [["a"], [], [], ["E", "O", "b"], []]


def test_a_stop_string_is_cut_off_with_what_follows() -> None:
    assert grow("abENDcd", ("END",))[1:] == ("ab", True)


def test_of_two_stop_strings_the_earlier_counts() -> None:
    assert grow("one two three", ("three", "two"))[1] == "one "


def test_a_token_that_reaches_into_the_stop_string_loses_that_part() -> None:
    class Words:
        def push(self, id: int) -> str:
            return ["hello wor", "ld. Next"][id]

        def finish(self) -> str:
            return ""
    growing = Growing(Words(), (". N",))
    assert [t.text for t in growing.push(Token(0, b"", ""))] == ["hello wor"]
    assert [t.text for t in growing.push(Token(1, b"", ""))] == ["ld"] and growing.stopped and growing.finish() == []


def test_bytes_that_never_become_a_character_show_as_such() -> None:
    growing = Growing(Bytes())
    assert [t.text for t in growing.push(Token(0xC3, b"\xc3", ""))] == [""]
    assert [t.text for t in growing.finish()] == ["\ufffd"]


@given(st.text(alphabet="abé\n", max_size=40), st.lists(st.text(alphabet="abé\n", min_size=1, max_size=4), max_size=3))
def test_any_text_and_stops_equal_cutting_at_once(text: str, stops: list[str]) -> None:
    # The first stop string to be complete ends the text, as a person reading along would see it; of those the earliest beginning.
    expected, stopped = text, False
    for end in range(1, len(text) + 1):
        found = [at for at in (text[:end].find(s) for s in stops) if at >= 0]
        if found:
            expected, stopped = text[:min(found)], True
            break
    assert grow(text, tuple(stops))[1:] == (expected, stopped)
