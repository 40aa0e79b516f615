"""Python values as JSON and back, each with its exact type, and whether two are the same. It runs inside the sandbox, too.

    1 -> 1    1.0 -> 1.0    True -> true    (1, 2) -> {"t": [1, 2]}    {1: "a"} -> {"d": [[1, "a"]]}    nan -> {"f": "nan"}

Only these types, and no subclass of them: an object that says it equals everything has no way through. Encoded values are compared as they
stand, never rebuilt: a set of a million integers with one hash costs nothing here.
"""

import json
import math
from typing import Any

DEPTH = 100
PLAIN_INT = 2**53


def encode(value: Any, depth: int = 0) -> Any:
    """As JSON. TypeError for other types, RecursionError where it is nested deeper than DEPTH."""
    if depth > DEPTH:
        raise RecursionError(f"nested more than {DEPTH} deep")
    kind = type(value)
    if value is None or kind is bool or kind is str:
        return value
    if kind is int:
        return value if -PLAIN_INT <= value <= PLAIN_INT else {"i": hex(value)}
    if kind is float:
        return value if math.isfinite(value) else {"f": repr(value)}
    if kind is list:
        return [encode(one, depth + 1) for one in value]
    if kind is tuple:
        return {"t": [encode(one, depth + 1) for one in value]}
    if kind is dict:
        return {"d": [[encode(key, depth + 1), encode(one, depth + 1)] for key, one in value.items()]}
    if kind is set or kind is frozenset:
        return {"s" if kind is set else "z": [encode(one, depth + 1) for one in value]}
    if kind is bytes:
        return {"b": value.hex()}
    if kind is complex:
        return {"c": [encode(value.real), encode(value.imag)]}
    raise TypeError(f"a value of type {kind.__name__} cannot be compared")


def decode(coded: Any) -> Any:
    """The value again. ValueError for what `encode` never writes."""
    kind = type(coded)
    if coded is None or kind in (bool, int, float, str):
        return coded
    if kind is list:
        return [decode(one) for one in coded]
    tag, held = _tagged(coded)
    if tag == "i":
        return int(held, 16)
    if tag == "f":
        return float(held)
    if tag == "b":
        return bytes.fromhex(held)
    if tag == "d":
        return {decode(key): decode(one) for key, one in held}
    if tag == "c":
        return complex(decode(held[0]), decode(held[1]))
    return {"t": tuple, "s": set, "z": frozenset}[tag](decode(one) for one in held)


def _tagged(coded: Any) -> tuple[str, Any]:
    if type(coded) is dict and len(coded) == 1:
        [(tag, held)] = coded.items()
        if tag in ("t", "s", "z", "d", "c") and type(held) is list or tag in ("i", "f", "b") and type(held) is str:
            return tag, held
    raise ValueError("not a coded value")


def same(one: Any, other: Any, *, tolerance: float = 0.0, tuples_as_lists: bool = False, depth: int = 0) -> bool:
    """Whether two coded values are equal, types included: 1 is not 1.0 and not True. `tolerance`: how far two floats may be apart, relative
    to the larger or absolutely. NaN is the same as NaN. Sets and the keys of dicts are compared exactly."""
    if depth > DEPTH + 8:
        return False
    kind = type(one)
    if tuples_as_lists:
        one, other = _list_of(one), _list_of(other)
        kind = type(one)
    if kind is not type(other):
        return False
    if kind is float:
        return one == other or (tolerance > 0 and abs(one - other) <= tolerance * max(1.0, abs(one), abs(other)))
    if kind is list:
        return len(one) == len(other) and all(same(a, b, tolerance=tolerance, tuples_as_lists=tuples_as_lists, depth=depth + 1)
                                              for a, b in zip(one, other, strict=True))
    if kind is not dict:
        return bool(one == other)
    try:
        (tag, held), (other_tag, other_held) = _tagged(one), _tagged(other)
        if tag != other_tag:
            return False
        if tag in ("i", "f", "b"):
            return bool(held == other_held)
        if tag in ("s", "z"):
            return sorted(map(_text, held)) == sorted(map(_text, other_held))
        if tag == "d":
            held = [pair[1] for pair in sorted(held, key=lambda pair: _text(pair[0]))] + sorted(_text(pair[0]) for pair in held)
            other_held = [pair[1] for pair in sorted(other_held, key=lambda pair: _text(pair[0]))] \
                + sorted(_text(pair[0]) for pair in other_held)
    except (ValueError, TypeError, IndexError, KeyError):
        return False
    return same(held, other_held, tolerance=tolerance, tuples_as_lists=tuples_as_lists, depth=depth + 1)


def _list_of(coded: Any) -> Any:
    return coded["t"] if type(coded) is dict and list(coded) == ["t"] else coded


def _text(coded: Any) -> str:
    return json.dumps(coded, sort_keys=True)
