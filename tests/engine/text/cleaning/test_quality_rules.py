"""Quality rules: each rejects what its paper says, at its threshold, and looks at nothing it was not made for."""

import re

import pyarrow as pa
import pytest

from engine.text.cleaning import quality
from engine.text.cleaning.draft import Draft
from engine.text.cleaning.quality import Quality, c4, counts, fineweb, gopher, gopher_repetition, main_script, scores
from tests.engine.text.cleaning.planted_languages import PARAGRAPHS

PROSE = (PARAGRAPHS["en"] + " The captain, who has done this for thirty years, knows that the wind will turn before the harbour of the "
         "island can be seen, and that nobody on board will have noticed it; he smiles to himself, and says nothing of it to the boy at "
         "his side.")


def rule(found: tuple[str, str] | None) -> str | None:
    return found[0] if found else None


def test_prose_passes_every_set() -> None:
    assert gopher(PROSE, True) is None
    assert fineweb(PROSE) is None
    assert c4(PROSE) == (PROSE, 0, None)


@pytest.mark.parametrize("text,expected", [
    (" ".join(PROSE.split()[:49]), "gopher_word_count"),
    (" ".join(PROSE.split()[:50]), None),
    (" ".join(PROSE.split()[:49] + ["—"] * 9), "gopher_word_count"),        # signs are no words
    ("word " * 100_001, "gopher_word_count"),
    ("a bc " * 60, "gopher_word_length"),
    ("extraordinarily " * 60, "gopher_word_length"),
    (PROSE + " #" * 12, "gopher_symbols"),
    (PROSE + " and..." * 13, "gopher_symbols"),
    ("\n".join(f"- {w} the of and" for w in PROSE.split()), "gopher_bullets"),
    ("\n".join(f"{w} is what the man of the house said to me then" + ("..." if i % 5 < 2 else "") for i, w in enumerate(PROSE.split())),
     "gopher_ellipses"),
    (PROSE + " 12345" * 40, "gopher_lettered"),
    (re.sub(r"\b(the|be|to|of|and|have|with)\b", "zo", PROSE), "gopher_stop_words"),       # "that" alone is left
    (re.sub(r"\b(the|be|to|of|and|have)\b", "zo", PROSE), None),
    (PARAGRAPHS["de"] * 2, "gopher_stop_words"),
])
def test_gopher_quality(text: str, expected: str | None) -> None:
    assert rule(gopher(text, True)) == expected


def test_gopher_stop_words_are_asked_of_english_only() -> None:
    text = PARAGRAPHS["de"] + " " + PARAGRAPHS["de"][::-1].title()
    assert rule(gopher(text, True)) == "gopher_stop_words"
    assert gopher(text, False) is None


def test_gopher_repetition_by_hand() -> None:
    # 4 of 10 lines stood before: 0.4 > 0.3, and their paragraphs are one.
    lines = [f"{c * 5} one" for c in "abcdef"]
    assert rule(gopher_repetition("\n".join(lines + lines[:4]), [])) == "gopher_repeated_lines"
    assert gopher_repetition("\n".join([*lines, "gg", "hh", "ii", "aaaaa one"]), []) is None
    assert rule(gopher_repetition("\n\n".join(["para one", "para two", "para one", "para two"]), [])) == "gopher_repeated_paragraphs"
    # one of five lines, but with most letters
    assert rule(gopher_repetition("\n".join(["x" * 40, "a", "b", "c", "x" * 40]), [])) == "gopher_repeated_line_letters"
    # "aa bb" is 5 characters; three times in a text of 60 is 0.25 > 0.2
    words = "aa bb cc dd aa bb ee ff aa bb gg hh".split()
    assert quality.top_share(words, 2, 60) == 0.25
    assert quality.top_share(words, 3, 60) == 0.0
    assert rule(gopher_repetition("x" * 60, words)) == "gopher_top_2_gram"
    # five words of 10 letters stood before, and then one more word: counted once, not twice
    words = "aa bb cc dd ee ff gg aa bb cc dd ee ff".split()
    assert quality.repeated_share(words, 5, 100) == 0.1
    assert quality.repeated_share(words, 6, 100) == 0.12
    assert quality.repeated_share(words, 7, 100) == 0.0
    assert quality.repeated(["a", "bb", "bb", "bb", "a"]) == (3, 5)


def test_c4_cuts_lines_and_removes_pages() -> None:
    text = ("Home\nThe ferry leaves the island at noon.\nPlease enable Javascript to see this page properly.\nIt ends without a stop\n\n"
            "We use cookies to make this page better.\nToo short.\nThe captain smiles and says nothing! Nobody knows why he does it…\n"
            "The wind turns before the harbour is seen.[12] Nobody notices it.\nHe said that he would not...\n")
    kept, cut, found = c4(text)
    assert found is None and cut == 7
    assert kept == ("The ferry leaves the island at noon.\n\nThe wind turns before the harbour is seen.[12] Nobody notices it.")
    assert rule(c4("One whole sentence stands in here.\nAnother whole sentence stands in here.")[2]) == "c4_sentences"
    assert rule(c4(PROSE + "\nfunction f() { return 1; } is code.")[2]) == "c4_curly_bracket"
    assert rule(c4(PROSE + "\nLorem ipsum dolor sit amet.")[2]) == "c4_lorem_ipsum"
    assert c4(PROSE + "\n" + "x" * 1001 + " is a long word indeed, friend.")[1] == 1


@pytest.mark.parametrize("text,expected", [
    ("\n".join(f"Number {i} does not end as sentences do, I fear" for i in range(8)), "fineweb_line_ends"),
    ("\n".join(["A line that ends.", *(f"Number {i} does not end so at all, I do fear" for i in range(7))]), None),      # 1/8 = 0.125
    ("\n".join(["“A quotation in quotes is a sentence.”", "Ein Satz, der so endet!", "هل هذا سؤال هنا يا صديقي العزيز؟"]), None),
    ("\n".join(["Short line.", "Another short one.", "And a third.", "But this fourth one is longer than thirty."]), "fineweb_short_lines"),
    ("\n".join(["This line of thirty and more letters stands twice."] * 2 + [PROSE]), None),          # 50 of 560 characters
    ("\n".join(["This line of thirty and more letters stands twice."] * 3 + [PROSE]), "fineweb_repeated_lines"),
    ("\n".join(f"{w * 4} {w} longer than thirty characters it is.".replace(" ", "_", 3) + "\n" * 2 for w in ("ferry", "noon", "evening")),
     "fineweb_line_breaks"),
])
def test_fineweb(text: str, expected: str | None) -> None:
    assert rule(fineweb(text)) == expected


def draft_of(code: str, text: str = "") -> Draft:
    return Draft(text or PARAGRAPHS[code], language=code)


def test_a_set_leaves_alone_what_it_was_not_made_for() -> None:
    everything = Quality(True, True, True)
    for code in ("zh", "ja"):
        everything(draft := draft_of(code))
        assert draft.verdict is None and not draft.touches
    everything(program := Draft("x = {}\n" * 80, source="a.py", language="zxx"))
    assert program.verdict is None
    everything(signs := Draft("12 34 --- 56"))
    assert signs.verdict is None
    Quality(False, True, False)(spanish := draft_of("es", "Hola { mundo"))
    assert spanish.verdict is None, "C4 is for English"
    Quality(True, False, False)(russian := draft_of("ru", "Мало слов."))
    assert russian.verdict == ("quality", "gopher_word_count", "2 words")
    assert [main_script(PARAGRAPHS[c]) for c in ("en", "ru", "zh", "hi", "fa")] == ["latin", "cyrillic", "han", "devanagari", "arabic"]


def test_c4_needs_the_language_only_where_languages_are_identified() -> None:
    for identified, language, removed in ((True, "en", True), (True, "", False), (False, "", True)):
        Quality(False, True, False, identified)(draft := Draft("Just a { here.", language=language))
        assert (draft.verdict is not None) is removed


def test_lines_cut_by_c4_are_a_touch() -> None:
    Quality(False, True, False)(draft := Draft("Menu\n" + PROSE, language="en"))
    assert draft.text == PROSE
    assert [(t.step, t.count, t.rule) for t in draft.touches] == [("quality", 1, "c4_lines")]


def test_counts_of_bytes_are_right_across_blocks_and_empty_texts() -> None:
    texts = ["", "Ab1 c\n{é}", "", "x" * 300_000 + "7" * 300_000, "", "Z"]
    made = counts(pa.array(["before", *texts, "after"], pa.large_string())[1:-1])
    assert made.tolist() == [[0] * 6, [5, 2, 1, 1, 1, 2], [0] * 6, [300_000, 0, 0, 300_000, 0, 0], [0] * 6, [1, 0, 1, 0, 0, 0]]


def test_the_score_prefers_the_better_of_two_versions() -> None:
    worse = [PROSE.upper(), PROSE.replace(" ", "\n"), "".join(c + "|" if i % 6 == 0 else c for i, c in enumerate(PROSE)), PROSE[:120],
             PROSE + " 48151623 42 " * 40, PROSE.replace(" ", ""), ""]
    best, *rest = scores(pa.array([PROSE, *worse], pa.large_string())).tolist()
    assert all(0 <= score < best <= 1 for score in rest), (best, rest)
    assert scores(pa.array([], pa.large_string())).tolist() == []


@pytest.mark.parametrize("piece", ["a ", "# ", "the of ", "a\n", "({[", ". ", ".\"", "[1"])
def test_a_megabyte_of_anything_takes_seconds_at_most(piece: str) -> None:
    text = piece * (1_000_000 // len(piece))
    gopher(text, True), gopher_repetition(text, text.split()), c4(text), fineweb(text)
