"""Checks of form: each is kept by what it asks for and broken by what comes near; every shipped one can be kept and be broken."""

import pytest

from engine.evaluation import format_checks, suites
from engine.evaluation.format_checks import CHECKS, kept, problem, share_kept

CASES = [
    ({"check": "one_word"}, ["White", "white.", "well-known"], ["It is white", "", "..."]),
    ({"check": "words", "least": 2, "most": 3}, ["two words", "now three words"], ["one", "these are four words"]),
    ({"check": "sentences", "least": 2, "most": 2}, ["It rains. It pours!", "One. And no end"], ["One.", "A. B. C.", "no end"]),
    ({"check": "lines", "count": 2}, ["a\n\nb"], ["a", "a\nb\nc"]),
    ({"check": "paragraphs", "count": 2}, ["a\nb\n\nc"], ["a\nb", "a\n\nb\n\nc"]),
    ({"check": "bullets", "count": 3}, ["- a\n- b\n- c", "Here:\n* a\n* b\n* c", "1. a\n2. b\n3. c"], ["- a\n- b", "- a\n- b\n- c\n- d"]),
    ({"check": "bullets", "count": 2, "only": True}, ["- a\n- b"], ["Sure:\n- a\n- b"]),
    ({"check": "numbered", "count": 3}, ["1. a\n2. b\n3. c"], ["1. a\n3. b\n2. c", "1. a\n2. b", "- a\n- b\n- c"]),
    ({"check": "upper"}, ["GOOD MORNING 5!"], ["Good MORNING", "55"]),
    ({"check": "lower"}, ["the moon is far."], ["The moon", "55"]),
    ({"check": "without_letter", "letter": "e"}, ["A dog ran"], ["Even so", ""]),
    ({"check": "without", "phrases": ["cold", "snow"]}, ["a scolding"], ["It is Cold.", "snow"]),
    ({"check": "with", "phrases": ["green"], "times": 2}, ["Green and green"], ["green", "greenish green"]),
    ({"check": "starts", "phrase": "I would"}, ["I would go"], ["Well, I would"]),
    ({"check": "ends", "phrase": "Right?"}, ["So it is. right?"], ["Right? Yes"]),
    ({"check": "quoted"}, ['"A cat."', "“A cat.”"], ["A cat.", '"', '"A" cat']),
    ({"check": "json", "schema": {"type": "array"}}, ["[1]"], ["{}", "list: [1]"]),
    ({"check": "no_commas"}, ["One two"], ["One, two"]),
    ({"check": "only_number"}, ["120", "120.", "1,000"], ["120 minutes", "about 120"]),
    ({"check": "one_of", "choices": ["yes", "no"]}, ["Yes.", "no"], ["yes and no", "maybe"]),
    ({"check": "separated", "by": ";", "count": 3}, ["a; b; c"], ["a; b", "a; b;", "a, b, c"]),
    ({"check": "characters", "most": 5}, ["abcde"], ["abcdef"]),
    ({"check": "title"}, ["<<A walk>>\nx"], ["<A walk>", "<<>>"]),
    ({"check": "placeholder", "count": 2}, ["Dear [name] of [town]"], ["Dear [name]", "[]"]),
    ({"check": "repeats", "phrase": "Name a river."}, ["Name a river.  The Rhine"], ["The Rhine", "Name a river."]),
    ({"check": "regex", "pattern": r"^\d+$"}, ["12"], ["12a"]),
]


@pytest.mark.parametrize(("check", "good", "bad"), CASES, ids=[case[0]["check"] + str(i) for i, case in enumerate(CASES)])
def test_a_check_is_kept_by_what_it_asks_for_and_by_nothing_else(check, good, bad):
    assert problem(check) is None
    assert [text for text in good if not kept(text, check)] == []
    assert [text for text in bad if kept(text, check)] == []


def test_every_check_has_a_case_and_none_is_kept_by_an_empty_answer():
    assert {case[0]["check"] for case in CASES} == set(CHECKS)
    assert not any(kept(text, case[0]) for case in CASES for text in ("", "  \n"))


def test_several_checks_must_all_be_kept_and_the_broken_ones_are_named():
    checks = ({"check": "upper"}, {"check": "one_word"})
    assert share_kept("HELLO", checks) == (1.0, ())
    assert share_kept("hello there", checks) == (0.0, ("upper", "one_word"))


@pytest.mark.parametrize("check", [{}, {"check": "rhymes"}, {"check": "bullets"}, {"check": "upper", "loud": True},
                                   {"check": "regex", "pattern": "("}, {"check": "json", "schema": {"$ref": "x"}}])
def test_what_is_no_check_is_said_when_the_suite_is_read(check):
    wrong = problem(check)
    assert wrong is not None and wrong.sentence and wrong.remedy


GOOD = {
    "What colour is fresh snow? Answer in one word.": "White",
    "Is 7 a prime number? Answer as JSON with one key, \"prime\", whose value is true or false. Write only the JSON.": '{"prime": true}',
    "Name four vegetables, separated by semicolons, on one line.": "carrot; leek; bean; pea",
    "Write a short sentence that does not contain the letter e.": "A cat sat on my lap.",
    "First repeat this request word for word, then answer it: Name a river.":
        "First repeat this request word for word, then answer it: Name a river. The Rhine.",
}


def test_the_shipped_suite_is_broken_by_an_ordinary_sentence_and_kept_by_good_answers():
    suite = suites.load("formats")
    ordinary = "Well, here is what I think about this, in ordinary words. It might Help, or it might not; 3, 4, snow and cold, ok zoo, Sure"
    broken = [q for q in suite.questions if not share_kept(ordinary, q.checks)[0]]
    assert len(broken) >= len(suite.questions) - 2
    for prompt, answer in GOOD.items():
        question = next(q for q in suite.questions if q.prompt == prompt)
        assert share_kept(answer, question.checks) == (1.0, ()), prompt
    assert len({q.group["form"] for q in suite.questions}) >= 8
    assert format_checks.words("") == []
