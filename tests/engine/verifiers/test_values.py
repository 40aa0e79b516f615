"""Values as JSON with their types: what goes out comes back, and equal means equal in type, too."""

import json
import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.verifiers.values import decode, encode, same

KEYS = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.binary(max_size=3)
VALUES = st.recursive(KEYS | st.floats(allow_nan=False) | st.complex_numbers(allow_nan=False),
                      lambda inner: st.lists(inner, max_size=4) | st.lists(inner, max_size=4).map(tuple) | st.dictionaries(KEYS, inner,
                      max_size=4)
                      | st.frozensets(KEYS, max_size=4) | st.sets(KEYS, max_size=4), max_leaves=12)


@given(VALUES)
def test_values_come_back_as_they_were(value: object) -> None:
    coded = json.loads(json.dumps(encode(value)))
    back = decode(coded)
    assert back == value and type(back) is type(value) and same(coded, encode(value))


@given(VALUES, VALUES)
def test_same_is_equal_in_value_and_type(one: object, other: object) -> None:
    if same(encode(one), encode(other)):
        assert one == other
    elif type(one) is type(other) and isinstance(one, (int, str, bytes, type(None))):
        assert one != other


@pytest.mark.parametrize(("one", "other", "equal"), [
    (1, 1.0, False), (1, True, False), (0, False, False), ("1", 1, False), ((1,), [1], False), ({1}, frozenset({1}), False),
    ({1, 2, 3}, {3, 2, 1}, True),
    ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True), ({1: "a"}, {"1": "a"}, False), ({1: "a"}, {True: "a"}, False), (0.0, -0.0, True),
    (math.nan, math.nan, True), (math.inf, -math.inf, False), (2**70, 2**70, True), (2**70, 2**70 + 1, False), (b"a", "a", False),
    (None, False, False),
    ([1, [2, (3,)]], [1, [2, (3,)]], True), ([1, [2, (3,)]], [1, [2, [3]]], False), ([], (), False), ({}, set(), False), (1j, 1j, True),
    ("é", "e\u0301", False),
])
def test_pairs(one: object, other: object, equal: bool) -> None:
    assert same(encode(one), encode(other)) is equal and same(encode(other), encode(one)) is equal


def test_tolerance_and_tuples() -> None:
    assert same(1.0, 1.0 + 1e-9, tolerance=1e-6) and not same(1.0, 1.1, tolerance=1e-6) and not same(1, 1.0, tolerance=1.0)
    assert same(encode({"a": [1.0]}), encode({"a": [1.0 + 1e-9]}), tolerance=1e-6)
    assert same(encode((1, (2,))), [1, [2]], tuples_as_lists=True) and not same(encode({1}), [1], tuples_as_lists=True)


@pytest.mark.parametrize("value", [
    type("I", (int,), {})(1), type("S", (str,), {})("a"), type("L", (list,), {})(), type("D", (dict,), {})(), object(),
    len, int, range(3), iter(()),
    [object()], {"a": object()}, type("F", (float,), {"__eq__": lambda s, o: True, "__hash__": float.__hash__})(1),
])
def test_only_plain_types_pass(value: object) -> None:
    with pytest.raises(TypeError):
        encode(value)


@pytest.mark.parametrize("coded", [
    {}, {"x": 1}, {"t": 1}, {"t": [], "s": []}, {"i": 5}, {"d": [[1]]}, {"d": [1]}, {"s": [{"d": "x"}]}, {"f": []}, {"b": 1},
    {"expected": True},
])
def test_what_is_no_coded_value_equals_nothing_that_is(coded: object) -> None:
    for value in (1, True, "x", [], {}, (), {1}, None, 0.0):
        assert not same(encode(value), coded) and not same(coded, encode(value))


def test_hostile_values_cost_nothing() -> None:
    """A set of integers that all have one hash, and lists in lists."""
    began = time.process_time()
    hard = {"s": [{"i": hex((2**61 - 1) * n)} for n in range(1, 50_000)]}
    assert same(hard, {"s": hard["s"][::-1]})
    assert not same({"d": [[one, 1] for one in hard["s"]]}, {"d": [[one, 2] for one in hard["s"]]})
    deep: list[object] = []
    for _ in range(900):
        deep = [deep]
    assert not same(deep, deep)
    with pytest.raises(RecursionError):
        encode(deep)
    assert time.process_time() - began < 5
