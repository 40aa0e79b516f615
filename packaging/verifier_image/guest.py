"""What the image does with a request: check a verifier's source, call it, or run a program of the model's.

Its answers are claims of an interpreter in which others have run code: the host takes them for text, checks types and ranges itself, and
compares outputs with expected values that never come in here.
"""

import builtins
import decimal
import gc
import io
import json
import random
import sys
import traceback
from importlib import import_module
from typing import Any

from .checking import check
from .denials import reset_clock
from .values import decode, encode

PRINTED = 4_000         # characters kept of what a verifier prints
OUTPUT = 1_000_000      # characters a program may print
ANSWER = 4_000_000      # characters of an answer
_dumps, _loads = json.dumps, json.loads
_loaded: dict[str, Any] = {"source": None, "code": None}


class _Sink(io.TextIOBase):
    """Takes what is printed, up to a length."""

    def __init__(self, length: int) -> None:
        self.parts: list[str] = []
        self.room, self.dropped = length, 0

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        kept = text[:self.room]
        self.parts.append(kept)
        self.room -= len(kept)
        self.dropped += len(text) - len(kept)
        return len(text)

    def value(self) -> str:
        return "".join(self.parts)


def _wrong(error: BaseException, kind: str = "exception") -> dict[str, Any]:
    """An exception as plain facts. Its own methods may do anything, so each is asked with care."""
    try:
        name = str(type.__getattribute__(type(error), "__name__"))[:80]
    except BaseException:
        name = "Exception"
    try:
        message = str(error)[:2000]
    except BaseException:
        message = ""
    line = None
    try:
        if isinstance(error, SyntaxError) and error.filename in ("<verifier>", "<program>"):
            line = error.lineno
        for frame in traceback.extract_tb(error.__traceback__):
            if frame.filename in ("<verifier>", "<program>"):
                line = frame.lineno
    except BaseException:
        pass
    return {"error": kind, "type": name, "message": message, "line": line if type(line) is int else None}


def _begin(seed: int) -> None:
    """The same world for every call: clock, random numbers, decimal's settings."""
    reset_clock()
    random.seed(seed)
    decimal.setcontext(decimal.Context(prec=28, rounding=decimal.ROUND_HALF_EVEN, Emin=-999999, Emax=999999, capitals=1, clamp=0, flags=[],
                                       traps=[decimal.InvalidOperation, decimal.DivisionByZero, decimal.Overflow]))


def _compile(source: str) -> None:
    if _loaded["source"] != source:
        _loaded.update(code=compile(source, "<verifier>", "exec", dont_inherit=True), source=source)


def _namespace(name: str) -> dict[str, Any]:
    return {"__name__": name, "__builtins__": builtins}


def _verify(request: dict[str, Any]) -> dict[str, Any]:
    """{"score", "parts", "printed"}, or what went wrong. The source's top level runs in every call: nothing it holds outlives one."""
    sink = sys.stdout = sys.stderr = _Sink(PRINTED)
    try:
        _compile(request["source"])
        _begin(request.get("seed", 0))
        space = _namespace("verifier")
        exec(_loaded["code"], space)
        extras = {name: request.get(name) for name in request["takes"]}
        result = space["verify"](request["prompt"], request["completion"], decode(request["answer"]), **extras)
        given = _score(result)
        if "error" in given:
            given["line"] = getattr(getattr(space["verify"], "__code__", None), "co_firstlineno", None)
        return {**given, "printed": sink.value()}
    except BaseException as error:
        return {**_wrong(error), "printed": sink.value()}


def _score(result: Any) -> dict[str, Any]:
    if type(result) is dict:
        parts = {}
        for name, value in result.items():
            if type(name) is not str or type(value) not in (int, float, bool):
                return {"error": "not_a_number", "type": "", "message": f"{name!r}: {type(value).__name__}"[:200], "line": None}
            parts[name[:80]] = float(value)
        if not parts:
            return {"error": "not_a_number", "type": "", "message": "{}", "line": None}
        return {"score": repr(parts.pop("score") if "score" in parts else sum(parts.values())),
                "parts": {name: repr(value) for name, value in parts.items()}}
    if type(result) not in (int, float, bool):
        return {"error": "not_a_number", "type": "", "message": type(result).__name__[:80], "line": None}
    try:
        return {"score": repr(float(result)), "parts": {}}
    except OverflowError:
        return {"score": "inf" if result > 0 else "-inf", "parts": {}}


def _check(request: dict[str, Any]) -> dict[str, Any]:
    """The reading of a source, and whether its top level runs and leaves a `verify`."""
    found = check(request["source"])
    if found["problems"]:
        return found
    sys.stdout = sys.stderr = _Sink(PRINTED)
    try:
        _begin(0)
        space = _namespace("verifier")
        exec(compile(request["source"], "<verifier>", "exec", dont_inherit=True), space)
        if not callable(space.get("verify")):
            found["problems"] = [{"kind": "missing", "line": None, "column": None, "message": ""}]
    except BaseException as error:
        wrong = _wrong(error)
        found["problems"] = [{"kind": "raised", "line": wrong["line"], "column": None, "message": f"{wrong['type']}: {wrong['message']}"}]
    return found


def _run(request: dict[str, Any]) -> dict[str, Any]:
    """A program of the model's over inputs: {"outputs": [{"value", "printed"} or what went wrong]}. With an `entry`, its top level runs
    once and the function is called for each input; without, it runs as a script for each, with the input on stdin."""
    sys.stdout = sys.stderr = _Sink(OUTPUT)
    try:
        _begin(0)
        code = compile(request["source"], "<program>", "exec", dont_inherit=True)
        if request["entry"]:
            space = _namespace("program")
            exec(code, space)
            function = space[request["entry"]]
    except BaseException as error:
        return _wrong(error)
    outputs = []
    for given in request["inputs"]:
        sink = sys.stdout = sys.stderr = _Sink(OUTPUT)
        try:
            if request["entry"]:
                arguments, named = decode(given["arguments"]), decode(given["named"])
                value = encode(function(*arguments, **named))
            else:
                _as_script(code, given["stdin"])
                value = sink.value()
            if sink.dropped:
                outputs.append({"error": "too_large", "type": "", "message": "stdout", "line": None})
            else:
                outputs.append({"value": value, "printed": "" if not request["entry"] else sink.value()[:PRINTED]})
        except BaseException as error:
            outputs.append(_wrong(error))
    return {"outputs": outputs}


def _as_script(code: Any, given: str) -> None:
    sys.stdin = io.StringIO(given)
    reader, builtins.input = builtins.input, _input
    try:
        exec(code, _namespace("__main__"))
    except SystemExit as end:
        if end.code not in (None, 0):
            raise
    finally:
        builtins.input = reader


def _input(prompt: object = "") -> str:
    line = sys.stdin.readline()
    if not line:
        raise EOFError("EOF when reading a line")
    return line.removesuffix("\n")


_DO = {"check": _check, "verify": _verify, "run": _run}


class WitWorld(import_module("wit_world").WitWorld):  # type: ignore[misc]
    """The one export."""

    def answer(self, request: str) -> str:
        try:
            asked = _loads(request)
            said = _dumps(_DO[asked["do"]](asked))
        except BaseException as error:
            said = _dumps(_wrong(error))
        if len(said) > ANSWER:
            return '{"error": "too_large", "type": "", "message": "", "line": null}'
        return said


def warm_up() -> None:
    """While the image is built: what every call walks through is walked, so that an instance finds it ready."""
    world = WitWorld.__new__(WitWorld)
    source = ("import json, math, re\nFOUND = re.compile(r'-?[0-9]+')\n\n\ndef verify(prompt, completion, answer, facts=None):\n"
              "    numbers = [float(one.replace(',', '')) for one in FOUND.findall(completion)]\n"
              "    if not numbers:\n        return {'score': 0.0}\n"
              "    return {'right': 1.0 if numbers and math.isclose(numbers[-1], float(answer)) else 0.0, 'short': len(completion) < 10}\n")
    call = {"do": "verify", "source": source, "prompt": "2 + 2", "completion": "It is 4, I think: 4", "answer": "4", "facts": {}, "seed": 0,
            "takes": ["facts"]}
    program = {"do": "run", "source": source, "entry": "verify",
               "inputs": [{"arguments": encode(["", "the answer is 4", "4"]), "named": encode({})}] * 2}
    script = {"do": "run", "source": "n = int(input())\nprint(sum(int(input()) for _ in range(n)))\n", "entry": None,
              "inputs": [{"stdin": "2\n3\n4\n"}]}
    for turn in range(40):
        _loaded.update(source=None)
        for request in (call, {**call, "answer": "five"}, program, script, {"do": "check", "source": source}):
            said = world.answer(_dumps(request))
            assert turn or "error" not in said or "float" in said, said
    _loaded.update(source=None, code=None)
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__


warm_up()
gc.collect()
gc.freeze()     # what the image holds is never looked through again
