"""Differences that a person reads are marked by whole words."""

import re

from hypothesis import given
from hypothesis import strategies as st

from engine.text.quoted import differences


def test_a_word_that_differs_in_part_is_marked_as_a_whole():
    found = differences("If you want it, then wait", "If you will it, then waited")["pieces"]
    assert found == [["same", "If you "], ["removed", "want"], ["added", "will"], ["same", " it, then "], ["removed", "wait"],
                     ["added", "waited"]]


def test_words_that_are_added_alone_leave_their_neighbours():
    assert differences("the water", "the cold water")["pieces"] in ([["same", "the "], ["added", "cold "], ["same", "water"]],
                                                                    [["same", "the"], ["added", " cold"], ["same", " water"]])


@given(st.text("ab c.", max_size=40), st.text("ab c.", max_size=40))
def test_the_pieces_are_both_texts_and_no_mark_begins_or_ends_inside_a_word(before, after):
    found = differences(before, after)["pieces"]
    assert "".join(t for k, t in found if k != "added") == before
    assert "".join(t for k, t in found if k != "removed") == after
    for side in ("removed", "added"):
        text = "".join("\0" * len(t) if k == side else t for k, t in found if k in ("same", side))
        assert not re.search(r"\w\0|\0\w", text) or _between_words(found, side)


def _between_words(found, side):
    """Marked text may touch a word only where the mark itself ends in no word character there."""
    pieces = [(k, t) for k, t in found if k in ("same", side)]
    return not any(a[1][-1:].isalnum() and b[1][:1].isalnum() for a, b in zip(pieces, pieces[1:], strict=False) if a[0] != b[0])
