"""Verdicts on one answer and on two, in both orders."""

import json
from collections.abc import Callable

import pytest

from engine.generators.asks import Ask, Reply
from engine.generators.judging import Bias, judge

GOOD, POOR = "The bridge has four arches of grey stone.", "Bridges are nice."


def shown(ask: Ask) -> tuple[str, str]:
    """The answers that a judge sees as A and B."""
    text = ask.messages[-1].content
    a = text.split("Answer A:\n<<<\n")[1].split("\n>>>")[0]
    return a, text.split("Answer B:\n<<<\n")[1].split("\n>>>")[0]


def scored(score: Callable[[str, int], float], wrap: str = "{}") -> Callable[[Ask], Reply]:
    """A judge that gives `score(answer, place)`."""
    def ask(ask: Ask) -> Reply:
        a, b = shown(ask)
        return Reply(wrap.replace("{}", json.dumps({"rationale": f"A is {a[:9]}", "score_a": score(a, 0), "score_b": score(b, 1)})),
                     model="ollama:judge")
    return ask


def test_both_orders_are_asked_and_averaged() -> None:
    asked: list[tuple[str, str]] = []

    def ask(ask: Ask) -> Reply:
        asked.append(shown(ask))
        assert ask.temperature == 0 and ask.schema is not None
        return scored(lambda answer, place: (8 if answer == GOOD else 3) + (1 if place == 0 else 0))(ask)

    verdict = judge(ask, "", "How many arches?", GOOD, POOR)
    assert asked == [(GOOD, POOR), (POOR, GOOD)]
    assert (verdict.score_a, verdict.score_b) == (8.5, 3.5)
    assert verdict.looks == ((9, 3), (8, 4))
    assert verdict.winner == "a" and not verdict.tie and not verdict.flipped
    assert verdict.model == "ollama:judge" and verdict.rationale.startswith("A is The")


def test_the_second_answer_can_win() -> None:
    verdict = judge(scored(lambda answer, place: 9 if answer == GOOD else 2), "", "How many?", POOR, GOOD)
    assert verdict.winner == "b" and verdict.score_b == 9


def test_a_judge_that_follows_the_place_gives_a_tie_and_is_noted() -> None:
    verdict = judge(scored(lambda answer, place: 9 if place == 0 else 5), "", "How many?", GOOD, POOR)
    assert verdict.score_a == verdict.score_b == 7
    assert verdict.tie and verdict.flipped and verdict.winner == ""


@pytest.mark.parametrize(("margin", "tie"), [(0, False), (1, False), (1.5, True), (2, True)])
def test_nearer_than_the_margin_is_a_tie(margin: float, tie: bool) -> None:
    assert judge(scored(lambda answer, place: 7 if answer == GOOD else 6), "", "?", GOOD, POOR, margin=margin).tie is tie


@pytest.mark.parametrize("wrap", ["```json\n{}\n```", "<think>A is longer.</think>{}", "My verdict:\n{}\nThat is all."])
def test_verdicts_are_read_out_of_what_judges_write(wrap: str) -> None:
    assert judge(scored(lambda answer, place: 8 if answer == GOOD else 4, wrap), "", "?", GOOD, POOR).score_a == 8


def test_an_unreadable_reply_is_asked_again_with_another_seed() -> None:
    seeds: list[int] = []

    def ask(ask: Ask) -> Reply:
        seeds.append(ask.seed)
        return Reply("") if len(seeds) in (1, 3) else scored(lambda answer, place: 8 if answer == GOOD else 4)(ask)

    verdict = judge(ask, "", "?", GOOD, POOR, seed=5)
    assert verdict.readable and verdict.score_a == 8
    assert len(seeds) == 4 and len(set(seeds)) == 4


def test_half_a_verdict_is_none() -> None:
    def ask(ask: Ask) -> Reply:
        return scored(lambda answer, place: 8)(ask) if shown(ask)[0] == GOOD else Reply('{"score_a": 99}', model="m")

    verdict = judge(ask, "", "?", GOOD, POOR)
    assert not verdict.readable and verdict.winner == "" and not verdict.tie
    assert verdict.facts() == {"judge": "m", "judged": False}


def test_one_answer_gets_a_score_alone() -> None:
    def ask(ask: Ask) -> Reply:
        assert "Answer:\n<<<\n" + GOOD in ask.messages[-1].content and "Answer A" not in ask.messages[-1].content
        return Reply('{"rationale": "right", "score": "8/10"}')

    verdict = judge(ask, "", "?", GOOD)
    assert (verdict.score_a, verdict.score_b, verdict.winner) == (8, None, "")
    assert verdict.facts()["scores"] == [8] and "flipped" not in verdict.facts()


def test_the_judge_sees_the_persons_rubric_and_the_context() -> None:
    def ask(ask: Ask) -> Reply:
        text = ask.messages[-1].content
        assert "Only brevity counts." in text and "four arches" in text
        return Reply('{"rationale": "", "score": 5}')

    assert judge(ask, "Only brevity counts.", "?", "Four.", context="It has four arches.").score_a == 5


def test_bias_is_measured_over_many_verdicts() -> None:
    def placed(answer: str, place: int) -> float:
        return (6 if answer == GOOD else 4) + (3 if place == 0 else 0)

    bias = Bias()
    for favoured in (placed, lambda answer, place: 8 if answer == GOOD else 3):
        bias.add(judge(scored(favoured), "", "?", GOOD, POOR).facts())
    bias.add(judge(lambda ask: Reply("no"), "", "?", GOOD, POOR).facts())
    bias.add({"judged": True, "scores": [7]})
    bias.add({})
    plain = bias.plain()
    assert plain["pairs"] == 2 and plain["flipped"] == 1 and plain["flip_share"] == 0.5 and plain["unreadable"] == 1
    assert plain["favour"] == pytest.approx(1.5)        # three points in front in one of two verdicts
