"""Two versions of a text as pieces: exact whatever they are, readable where little changed, and quick on a megabyte."""

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.text.browse.diff import pieces, stretch_of


def sides(before: str, after: str) -> list[tuple[str, str]]:
    made = pieces(before, after)
    assert "".join(text for kind, text in made if kind != "added") == before
    assert "".join(text for kind, text in made if kind != "removed") == after
    assert all(text for _, text in made)
    assert all(a[0] != b[0] for a, b in zip(made, made[1:], strict=False)), "neighbours of a kind are one piece"
    return made


WORDS = st.lists(st.sampled_from(["the ", "ferry ", "leaves", ", ", ". ", "\n", "\n\n", "é", "e\u0301", "渡船", "。", " ", "\t", "noon ",
                                  "🦆"]), max_size=40).map("".join)


@given(WORDS, WORDS)
def test_pieces_join_to_both_versions(before: str, after: str) -> None:
    sides(before, after)


@given(st.text(max_size=200), st.lists(st.tuples(st.integers(0, 200), st.integers(0, 9), st.text(max_size=5)), max_size=6))
def test_pieces_of_an_edited_text_join_to_both_versions(text: str, edits: list[tuple[int, int, str]]) -> None:
    after = text
    for at, length, new in edits:
        after = after[:at] + new + after[at + length:]
    sides(text, after)


@pytest.mark.parametrize(("before", "after", "changes"), [
    ("Write to a@b.example now.", "Write to <EMAIL> now.", [("removed", "a@b.example"), ("added", "<EMAIL>")]),
    ("The CafÃ© is open.", "The Café is open.", [("removed", "Ã©"), ("added", "é")]),
    ("One.  \nTwo. \nThree.", "One.\nTwo.\nThree.", [("removed", "  "), ("removed", " ")]),
    ("Home | Menu\nThe ferry leaves.\nHome | Menu\n", "The ferry leaves.\n", [("removed", "Home | Menu\n"), ("removed", "Home | Menu\n")]),
    ("a\u0000b", "ab", [("removed", "\u0000")]),
    ("渡船中午离开。天气很好。", "渡船中午离开。", [("removed", "天气很好。")]),
    ("", "new", [("added", "new")]), ("old", "", [("removed", "old")]), ("same", "same", []), ("", "", []),
])
def test_what_changed_is_marked_and_nothing_else(before: str, after: str, changes: list[tuple[str, str]]) -> None:
    assert [piece for piece in sides(before, after) if piece[0] != "same"] == changes


def test_a_paragraph_that_moved_out_of_many_like_it_is_found() -> None:
    paragraphs = [f"Paragraph {n} says that the ferry of island {n * 7 % 13} leaves at noon." for n in range(200)]
    made = sides("\n".join(paragraphs), "\n".join(paragraphs[:90] + paragraphs[91:]))
    assert sum(len(text) for kind, text in made if kind == "removed") == len(paragraphs[90]) + 1
    assert not [text for kind, text in made if kind == "added"]


@pytest.mark.parametrize("kind", ["unrelated", "one letter", "two words turned round", "shuffled", "every line", "no line breaks"])
def test_a_megabyte_takes_seconds_at_most(kind: str) -> None:
    draw = random.Random(7)
    words = [f"{draw.choice('bcdfgklmnprst')}{draw.choice('aeiou')}{draw.randrange(3000)}" for _ in range(150_000)]
    lines = "\n".join(" ".join(words[i:i + 12]) + "." for i in range(0, len(words), 12))
    before, after = {
        "unrelated": (lines, " ".join(reversed(words)).replace("a", "u")),
        "one letter": ("a" * 1_000_000, "a" * 999_000 + "b"),
        "two words turned round": ("a b " * 250_000, "b a " * 250_000),
        "shuffled": (lines, " ".join(draw.sample(words, len(words)))),
        "every line": (lines.replace("\n", "  \r\n"), lines),
        "no line breaks": (" ".join(words), " ".join(w for w in words if not w.endswith("77"))),
    }[kind]
    began = time.process_time()
    sides(before, after)
    assert time.process_time() - began < 6


def test_an_excerpt_is_compared_with_the_place_where_it_stands() -> None:
    r = random.Random(3)
    words = [f"word{r.randrange(5_000)}" for _ in range(30_000)]
    whole = " ".join(words)
    cut = words[20_000:20_400]
    excerpt = " ".join(cut)
    low, high = stretch_of(whole, excerpt)
    assert whole[low:high] == excerpt
    for at in range(5, 400, 40):
        cut[at] = "changed"
    low, high = stretch_of(whole, " ".join(cut))
    made = pieces(whole[low:high], " ".join(cut))
    same = sum(len(text) for kind, text in made if kind == "same")
    assert same > 0.9 * len(excerpt) and sum(len(text) for kind, text in made if kind == "removed") < 0.1 * len(excerpt)


@pytest.mark.parametrize(("whole", "part"), [("", ""), ("abc " * 100, ""), ("one two three", "one two thre"), ("abc " * 500, "abc " * 100),
                                             ("long " * 100, "nowhere")])
def test_what_is_no_excerpt_or_cannot_be_placed_is_compared_with_all(whole: str, part: str) -> None:
    assert stretch_of(whole, part) == (0, len(whole))


@given(st.text(max_size=300), st.text(max_size=80))
def test_a_place_is_always_within_the_text(whole: str, part: str) -> None:
    low, high = stretch_of(whole, part)
    assert 0 <= low <= high <= len(whole)
