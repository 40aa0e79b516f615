"""Win rates: both orders, ties, hidden sides; judges and people of a stated taste, and judges without one."""

import pytest

from engine.evaluation import report, win_rate
from engine.evaluation.win_rate import Pair
from engine.project.votes import Vote
from tests.engine.evaluation.judges import Judge, longer

PAIRS = [Pair(f"q{i}", "Say something.", "short", "a longer answer" if i % 4 else "no") for i in range(20)] + [Pair("same", "?", "x", "x ")]


def test_a_judge_with_a_taste_is_followed_whatever_the_order():
    judge = Judge(longer, fails=2)
    rows = list(win_rate.judged(judge, PAIRS, "", 1.0, seed=3))
    outcomes = {row["id"]: row["outcome"] for row in rows}
    assert len(rows) == 21 and outcomes["same"] == "tie"
    assert all(outcomes[f"q{i}"] == ("second" if i % 4 else "first") for i in range(20))
    assert len(judge.asked) == 40 and ("short", "no") in judge.asked and ("no", "short") in judge.asked
    made = win_rate.tally(rows)
    assert (made["wins"], made["losses"], made["ties"], made["n"]) == (15, 5, 1, 21) and made["value"] == round(15.5 / 21, 6)
    assert made["low"] < made["value"] < made["high"] and made["judge"]["flipped"] == 0 and made["decided"] == 0.75


def test_a_judge_that_likes_whatever_comes_first_gives_ties_and_is_found_out():
    made = win_rate.tally(list(win_rate.judged(Judge(lambda a, b: (9, 2)), PAIRS[:8], "", 1.0, seed=3)))
    assert made["ties"] == 8 and made["value"] == 0.5 and made["decided"] is None
    assert made["judge"]["flip_share"] == 1.0 and made["judge"]["favour"] == 7


def test_what_cannot_be_read_counts_for_nobody():
    judge = Judge(lambda a, b: ("good", "bad"))
    rows = list(win_rate.judged(judge, PAIRS[:2], "", 1.0, seed=3))
    assert [row["outcome"] for row in rows] == ["unreadable"] * 2 and win_rate.tally(rows)["n"] == 0


def test_a_stop_ends_the_judging_between_verdicts():
    seen = []
    for row in win_rate.judged(Judge(longer), PAIRS, "", 1.0, 3, stop=lambda: len(seen) >= 2):
        seen.append(row)
    assert 2 <= len(seen) <= 2 + 2 * win_rate.AT_ONCE


def test_people_see_no_model_and_sides_are_drawn():
    made = win_rate.comparisons(PAIRS, "model-1", "model-2", seed=1)
    assert len(made) == 20 and [one.id for one in made] != [pair.id for pair in PAIRS[:20]]  # equal texts are left out
    lefts = [one.left_model for one in made]
    assert 3 < lefts.count("model-1") < 17
    for one in made:
        assert one.left_text == ("short" if one.left_model == "model-1" else next(p.second for p in PAIRS if p.id == one.id))
    assert [one.plain() for one in win_rate.comparisons(PAIRS, "model-1", "model-2", 1)] == [one.plain() for one in made]
    assert [one.left_model for one in win_rate.comparisons(PAIRS, "model-1", "model-2", 2)] != lefts


def test_votes_become_a_win_rate_by_model_not_by_side():
    votes = [Vote(prompt="?", left_text="a", right_text="b", left_model=left, right_model=right, choice=choice)
             for left, right, choice in [("m1", "m2", "right"), ("m2", "m1", "left"), ("m2", "m1", "right"), ("m1", "m2", "tie"),
                                         ("m1", "m2", "bad"), ("m1", "m3", "left")]]
    made = win_rate.of_votes(votes, "m1", "m2")
    assert (made["wins"], made["losses"], made["ties"]) == (2, 1, 2) and made["value"] == 0.6


def test_rows_of_two_models_are_brought_together_by_question():
    first = [{"id": "a", "prompt": "p", "said": "1"}, {"id": "b", "prompt": "p", "said": "2"}]
    second = [{"id": "b", "prompt": "p", "said": "3"}]
    assert win_rate.pairs(first, second) == [Pair("b", "p", "2", "3")]


def test_comparing_two_models_counts_who_answers_what():
    def rows(right):
        return [{"id": str(i), "score": float(i in right)} for i in range(10)]
    made = report.compare(rows({0, 1, 2}), rows({2, 3, 4, 5, 6, 7, 8}))
    assert (made["both"], made["only_first"], made["only_second"], made["neither"]) == (1, 2, 6, 1)
    assert made["lost"] == ["0", "1"] and made["p"] == pytest.approx(2 * (1 + 8 + 28) / 2**8, abs=1e-6)
