"""What a model wrote, read: JSON out of fences, chatter and thinking aloud, held to a schema; free text without the thinking.

A server that holds its model to the schema is a convenience; nothing here relies on it. Values are put right only where that cannot change
their meaning ("8" for the number 8, curly quote marks for straight ones around names, a comma too many); properties that the schema does
not name are dropped. What still does not fit is `Unreadable`, with the reason; nothing is made up.

`$ref` is followed inside the schema only: whatever is at an address is never fetched.
"""

import json
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import jsonschema_rs

from engine.contract.errors import FormatError
from engine.contract.words import tr

_THINKING = re.compile(r"<(think|thinking|thought|reasoning)>.*?</\1>\s*", re.S | re.I)
_OPEN = re.compile(r"<(think|thinking|thought|reasoning)>(?!.*</\1>).*\Z", re.S | re.I)
_CLOSE_ONLY = re.compile(r"\A.*</(think|thinking|thought|reasoning)>\s*", re.S | re.I)
_TRAILING = re.compile(r",(\s*[}\]])")
_NUMBER = re.compile(r"\s*([-+]?\d+(?:[.,]\d+)?)\s*(?:/\s*\d+(?:\.0+)?|%|points?)?\s*", re.I)
_DECODER = json.JSONDecoder(strict=False)
LONGEST, LONGEST_OBJECT, TRIED = 200_000, 30_000, 200
"""Characters of a reply that are looked at, and of an object that is put right; opening brackets of a reply that are tried."""


class Unreadable(Exception):
    """A reply that is no such JSON. `kind`: "empty", "cut" (JSON that does not end), "no_json", "schema"; str() says more, for the log."""

    def __init__(self, kind: str, reason: str = "") -> None:
        super().__init__(reason or kind)
        self.kind = kind


def without_thinking(text: str) -> str:
    """The answer alone: what stands in think tags goes, also when the opening tag was eaten by the chat template, and all of it when the
    model never stopped thinking."""
    text = _THINKING.sub("", text)
    if "</" in text:
        text = _CLOSE_ONLY.sub("", text)
    return _OPEN.sub("", text).strip()


def read_json(text: str, schema: dict[str, Any]) -> dict[str, Any]:
    """The object in a reply that fits the schema: the last one, since drafts come first. Unreadable where there is none."""
    text = without_thinking(text[:LONGEST])
    if not text:
        raise Unreadable("empty")
    wrong: str | None = None
    fitting: dict[str, Any] | None = None
    for found in _objects(text):
        made = _shaped(found, schema)
        reason = mismatch(made, schema)
        if reason:
            wrong = reason
        else:
            fitting = made
    if fitting is not None:
        return fitting
    if wrong is not None:
        raise Unreadable("schema", wrong)
    if "{" in text and text.count("{") > text.count("}"):
        raise Unreadable("cut")
    raise Unreadable("no_json", text[:200])


def mismatch(value: Any, schema: dict[str, Any]) -> str:
    """Why a value does not fit, "" if it does."""
    for error in _validator(json.dumps(schema, sort_keys=True)).iter_errors(value):
        place = ".".join(str(part) for part in error.instance_path)
        return f"{place}: {error.message}" if place else error.message
    return ""


def check_schema(schema: dict[str, Any], name: str) -> None:
    """FormatError if it is no JSON schema of an object, or one that leads elsewhere."""
    try:
        _validator(json.dumps(schema, sort_keys=True))
        sound = schema.get("type") == "object"
    except (ValueError, TypeError) as wrong:
        raise FormatError(tr("The schema “{name}” is not a JSON schema: {reason}", name=name, reason=str(wrong).split("\n")[0]),
                          tr("Correct it in the recipe.")) from wrong
    if not sound:
        raise FormatError(tr("The schema “{name}” does not describe an object.", name=name), tr('Begin it with type = "object".'))


def _refuse(uri: str) -> Any:
    raise ValueError(f"{uri} is not fetched")


@lru_cache(maxsize=64)
def _validator(schema: str) -> Any:
    # fancy-regex could backtrack for ever on a pattern in somebody's recipe; this engine cannot.
    return jsonschema_rs.validator_for(json.loads(schema), retriever=_refuse, pattern_options=jsonschema_rs.RegexOptions())


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """Every JSON object in a text that is not inside another one."""
    at, tried = text.find("{"), 0
    while at >= 0 and tried < TRIED:
        tried += 1
        found, end = _decoded(text, at)
        if isinstance(found, dict):
            yield found
            at = text.find("{", end)
        else:
            at = text.find("{", at + 1)


def _decoded(text: str, at: int) -> tuple[Any, int]:
    """(object that begins at `at`, where it ends), (None, at) if none does."""
    try:
        return _DECODER.raw_decode(text, at)
    except (ValueError, RecursionError):
        pass
    end = _balanced(text, at)
    if not end:
        return None, at
    piece = text[at:end]
    for changed in (_TRAILING.sub(r"\1", piece), _TRAILING.sub(r"\1", _straightened(piece))):
        try:
            return json.loads(changed, strict=False), end
        except (ValueError, RecursionError):
            continue
    return None, at


def _straightened(piece: str) -> str:
    """Curly quote marks that stand where JSON has its own become straight; those inside a text stay."""
    return re.sub(r"(?<=[{,:\[])(\s*)[“”„‟«»]|[“”„‟«»](?=\s*[:,}\]])", lambda m: (m[1] or "") + '"', piece)


def _balanced(text: str, at: int) -> int:
    """Where the bracket at `at` closes, strings in straight quote marks aside; 0 if it does not."""
    depth, inside, escaped = 0, False, False
    for place in range(at, min(len(text), at + LONGEST_OBJECT)):
        sign = text[place]
        if inside:
            if escaped:
                escaped = False
            elif sign == "\\":
                escaped = True
            elif sign == '"':
                inside = False
        elif sign == '"':
            inside = True
        elif sign == "{":
            depth += 1
        elif sign == "}":
            depth -= 1
            if depth == 0:
                return place + 1
    return 0


def _shaped(value: Any, schema: Any) -> Any:
    """`value` with what a schema asks for without doubt: only named properties, numbers for numbers in words, texts stripped."""
    if not isinstance(schema, dict):
        return value
    kind = schema.get("type")
    if isinstance(value, dict):
        properties = schema.get("properties")
        if not isinstance(properties, dict) or schema.get("additionalProperties"):
            return value
        by_name = {str(name).strip().lower(): name for name in value}
        return {name: _shaped(value[by_name[name.lower()]], inner) for name, inner in properties.items() if name.lower() in by_name}
    if isinstance(value, list):
        return [_shaped(inner, schema.get("items")) for inner in value]
    if kind == "string":
        if isinstance(value, str):
            return value.strip()
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return str(int(value)) if float(value).is_integer() else str(value)
    if kind in ("integer", "number"):
        if isinstance(value, str) and (match := _NUMBER.fullmatch(value)):
            value = float(match[1].replace(",", "."))
        if kind == "integer" and isinstance(value, float) and value.is_integer():
            return int(value)
    if kind == "array" and isinstance(value, str):
        return [_shaped(value, schema.get("items"))]
    return value
