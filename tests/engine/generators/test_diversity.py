"""The report of how varied a set is, against numbers worked by hand and sets made to differ."""

import json
import math

import numpy as np
import pytest

from engine.contract.rows import Example, Message
from engine.generators.diversity import _Sample, evenness, nearest_similarity, report


def example(prompt: str, answer: str = "Yes, it does.", **facts: object) -> Example:
    return Example(id=prompt, messages=(Message(role="user", content=prompt), Message(role="assistant", content=answer)), facts=facts,
                   origin="ollama:small")


def test_numbers_worked_by_hand() -> None:
    made = report([example("the cat sat", topic="cats"), example("the cat ran", topic="cats"), example("a dog ran off", topic="dogs")])
    # the cat sat | the cat ran | a dog ran off: 10 words, 7 kinds; 7 pairs, 6 kinds; 4 triples, all different
    assert made["distinct"] == {"1": 7 / 10, "2": 6 / 7, "3": 1.0}
    assert made["curve"]["words"][-1] == 10 and made["curve"]["kinds"][-1] == 7 and made["curve"]["kinds"][0] == 1
    assert made["openings"] == [("the cat", 2), ("a dog", 1)] and made["first_words"] == [("the", 2), ("a", 1)]
    assert made["topics"] == [("cats", 2), ("dogs", 1)] and made["origins"] == [("ollama:small", 3)] and made["turns"] == [("1", 3)]
    assert made["topic_spread"] == pytest.approx(-(2 / 3 * math.log(2 / 3) + 1 / 3 * math.log(1 / 3)) / math.log(2))
    assert made["source_spread"] is None and made["count"] == 3
    assert sum(made["prompt_words"]["counts"]) == 3 and made["prompt_words"]["median"] == 3
    json.dumps(made)


def test_courtesies_are_no_openings() -> None:
    made = report([example("Could you please explain tides?"), example("Please explain why slate splits."), example("Explain ice.")])
    assert made["first_words"] == [("explain", 3)]


def test_nearest_neighbours_equal_all_pairs_compared() -> None:
    rng = np.random.default_rng(3)
    texts = [" ".join(f"w{k}" for k in rng.integers(0, 6, rng.integers(3, 12))) for _ in range(60)] + ["", "one", "one"]

    def grams(text: str) -> set[tuple[str, ...]]:
        words = text.split()
        return {tuple(words[i:i + 3]) for i in range(max(1, len(words) - 2))} if words else set()

    sets = [grams(t) for t in texts]
    expected = [max(len(a & b) / len(a | b) if a | b else 0.0 for j, b in enumerate(sets) if j != i) for i, a in enumerate(sets)]
    assert nearest_similarity(texts) == pytest.approx(expected)


def test_a_monotonous_set_is_told_from_a_varied_one() -> None:
    same = [example(f"What does the keeper of the old lock do when ship {n} waits outside?") for n in range(80)]
    verbs = "Explain Name Sort Compare Describe Translate Prove Find Count Draw".split()
    things = "slate ice tides moss lime ropes bells barges fog gulls".split()
    varied = [example(f"{verb} {thing} to somebody who has {n} {things[n % 7]} and no {things[(n * 3) % 10]}.", topic=thing)
              for n, (verb, thing) in enumerate((v, t) for v in verbs for t in things)]
    a, b = report(same), report(varied)
    assert a["distinct"]["2"] < b["distinct"]["2"] and a["overlap"]["mean"] > b["overlap"]["mean"] + 0.2
    assert (a["opening_entropy"] or 0) < 0.1 < b["opening_entropy"]
    assert a["overlap"]["high"] == 1 and sum(a["overlap"]["histogram"]) == 80
    assert report([*varied, *varied])["near_duplicates"]["count"] == len(varied)


def test_an_empty_set_and_one_without_words_are_no_trouble() -> None:
    for rows in ([], [example("", "")], [example("…", "👍")]):
        made = report(rows)
        assert made["count"] == len(rows) and made["distinct"]["1"] == 0.0 and made["overlap"]["mean"] == 0.0
        json.dumps(made)


def test_evenness() -> None:
    assert evenness([5, 5, 5]) == pytest.approx(1) and evenness([99, 1]) == pytest.approx(0.0808, abs=1e-3)      # type: ignore[arg-type]
    assert evenness([7]) is None and evenness([]) is None and evenness([7, 0]) is None


def test_the_sample_does_not_depend_on_order() -> None:
    texts = [f"text {n}" for n in range(1000)]
    one, other = _Sample(50), _Sample(50)
    one.add(texts)
    for at in range(0, 1000, 90):
        other.add(texts[::-1][at:at + 90])
    assert one.texts() == other.texts() and len(set(one.texts())) == 50
