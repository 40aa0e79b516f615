"""The classifier of a person's decisions: learns, says how well, is the same every time, survives being written down."""

import json
import random
import time

import numpy as np
import pytest

from engine.contract.errors import Corrupt
from engine.text.cleaning.learned import FEWEST, Learned, features, train
from tests.engine.text.cleaning.planted_harm import INDIRECT, KNOWN, PLAIN

_BAD = ("the storm broke the mast", "waves took the crew", "the hull leaked badly", "a wreck lay on the reef", "lightning struck the deck")
_GOOD = ("bread rises in the oven", "the baker sells warm rolls", "flour and salt and yeast", "a cake with plums",
    "the shop opens at seven")


def decisions(count: int, seed: int = 0) -> list[tuple[str, bool]]:
    """Texts of two topics, of which one is called harmful."""
    r = random.Random(seed)
    rows = []
    for i in range(count):
        harmful = i % 2 == 0
        rows.append((". ".join(r.choice(_BAD if harmful else _GOOD) for _ in range(4)) + f" on day {r.randrange(10**6)}", harmful))
    return rows


def test_too_few_decisions_of_either_sort_teach_nothing() -> None:
    rows = decisions(2 * FEWEST)
    assert train(rows) is not None
    assert train(rows[:-2]) is None
    assert train([(text, True) for text, _ in rows * 5]) is None
    assert train([]) is None


def test_what_differs_is_learned_and_the_accuracy_says_so() -> None:
    learned = train(decisions(120))
    assert learned is not None and learned.accuracy > 0.95 and 0.72 <= learned.trust <= 0.75
    assert learned.score("waves and lightning, a wreck on the reef") > 0.8
    assert learned.score("warm rolls, flour and yeast in the oven") < 0.2
    assert (learned.rows, learned.harmful) == (120, 60)


def test_decisions_without_a_pattern_earn_no_trust() -> None:
    r = random.Random(1)
    learned = train([(text, r.random() < 0.5) for text, _ in decisions(200)])
    assert learned is not None and 0.3 < learned.accuracy < 0.7 and learned.trust < 0.32


def test_equal_decisions_give_equal_weights() -> None:
    one, other = train(decisions(80)), train(decisions(80))
    assert one is not None and other is not None
    assert np.array_equal(one.weights, other.weights) and (one.bias, one.accuracy) == (other.bias, other.accuracy)


def test_it_is_the_same_after_being_written_as_json() -> None:
    learned = train(decisions(80))
    assert learned is not None
    text = json.dumps(learned.plain())
    assert len(text) < 1_500_000
    again = Learned.of(json.loads(text))
    for sample in ("waves", "rolls and flour", "", "中文文本", "é" * 10_000):
        assert again.score(sample) == learned.score(sample)


@pytest.mark.parametrize("change", [{"weights": "###"}, {"weights": "eJwDAAAAAAE="}, {"version": 9}, {"bias": None}, {"features": 4}])
def test_what_was_damaged_is_refused(change: dict[str, object]) -> None:
    learned = train(decisions(60))
    assert learned is not None
    with pytest.raises(Corrupt):
        Learned.of({**learned.plain(), **change})
    with pytest.raises(Corrupt):
        Learned.of({})


def test_features_are_of_length_one_for_every_script() -> None:
    for text in ("a", "hello world", "你好世界", "مرحبا", "x" * 50_000):
        places, values = features(text)
        assert np.linalg.norm(values) == pytest.approx(1, abs=1e-5) and (np.diff(places) > 0).all()
    places, values = features("")
    assert len(places) == len(values)


def test_sorts_of_different_size_count_the_same() -> None:
    rows = [r for r in decisions(400) if r[1]][:25] + [r for r in decisions(400) if not r[1]]
    learned = train(rows)
    assert learned is not None and learned.accuracy > 0.9 and learned.score("the hull leaked, waves took the crew") > 0.5


def test_real_harmful_texts_can_be_told_apart_from_few_examples() -> None:
    """A hundred sentences in twelve languages: better than chance on the texts that no list finds is all one can ask."""
    learned = train([(row.text, row.harmful) for row in [*KNOWN, *PLAIN]])
    assert learned is not None and learned.accuracy > 0.6
    harmful = np.mean([learned.score(r.text) for r in INDIRECT if r.harmful])
    harmless = np.mean([learned.score(r.text) for r in INDIRECT if not r.harmful])
    assert harmful > harmless


def test_a_thousand_decisions_take_seconds() -> None:
    rows = [(text * 8, harmful) for text, harmful in decisions(1000)]
    start = time.process_time()
    assert train(rows) is not None
    assert time.process_time() - start < 20
