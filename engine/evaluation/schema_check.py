"""Whether a JSON value follows a JSON schema: the part of the standard that answers of models are asked for. No references, no formats.

A keyword that is not known is refused when the suite is read, instead of passing everything. No torch.
"""

import re
from typing import Any

from engine.contract.errors import SettingError
from engine.contract.words import tr

KINDS = ("object", "array", "string", "number", "integer", "boolean", "null")
NOTES = ("title", "description", "default", "examples", "$schema", "$comment")
KNOWN = ("type", "enum", "const", "properties", "required", "additionalProperties", "items", "minItems", "maxItems", "uniqueItems",
         "minLength", "maxLength", "pattern", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "anyOf", *NOTES)


def check_schema(schema: Any) -> None:
    """A SettingError for what `follows` would not understand."""
    if isinstance(schema, bool):
        return
    if not isinstance(schema, dict):
        raise SettingError(tr("A JSON schema is an object."), tr("Write it as a table."), code="bad_schema")
    for keyword in schema:
        if keyword not in KNOWN:
            raise SettingError(tr("The JSON schema uses {keyword}, which is not known here.", keyword=keyword),
                               tr("Known are: {known}.", known=", ".join(KNOWN)), code="bad_schema")
    kinds = schema.get("type", [])
    for kind in [kinds] if isinstance(kinds, str) else kinds:
        if kind not in KINDS:
            raise SettingError(tr("The JSON schema has no type {kind}.", kind=str(kind)), tr("Types are: {known}.", known=", ".join(KINDS)),
                               code="bad_schema")
    if "pattern" in schema:
        try:
            re.compile(schema["pattern"])
        except re.error as wrong:
            raise SettingError(tr("The pattern {pattern} cannot be read: {reason}.", pattern=str(schema["pattern"]), reason=str(wrong)),
                               tr("Correct the pattern."), code="bad_schema") from None
    parts = [*schema.get("properties", {}).values(), *schema.get("anyOf", [])]
    parts += [schema[name] for name in ("items", "additionalProperties") if name in schema]
    for part in parts:
        check_schema(part)


def follows(value: Any, schema: Any) -> bool:
    """Whether `value` (as json.loads gives it) is what the schema asks for."""
    if isinstance(schema, bool):
        return schema
    if "const" in schema and not _same(value, schema["const"]):
        return False
    if "enum" in schema and not any(_same(value, one) for one in schema["enum"]):
        return False
    kinds = schema.get("type")
    if kinds is not None and not any(_is(value, kind) for kind in ([kinds] if isinstance(kinds, str) else kinds)):
        return False
    if "anyOf" in schema and not any(follows(value, one) for one in schema["anyOf"]):
        return False
    if isinstance(value, dict):
        return _object(value, schema)
    if isinstance(value, list):
        return _array(value, schema)
    if isinstance(value, str):
        return (schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value))
                and ("pattern" not in schema or re.search(schema["pattern"], value) is not None))
    if _is(value, "number"):
        return (schema.get("minimum", value) <= value <= schema.get("maximum", value)
                and not value <= schema.get("exclusiveMinimum", value - 1) and not value >= schema.get("exclusiveMaximum", value + 1))
    return True


def _object(value: dict[str, Any], schema: dict[str, Any]) -> bool:
    if any(name not in value for name in schema.get("required", [])):
        return False
    known = schema.get("properties", {})
    rest = schema.get("additionalProperties", True)
    return all(follows(part, known.get(name, rest)) for name, part in value.items())


def _array(value: list[Any], schema: dict[str, Any]) -> bool:
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
        return False
    if schema.get("uniqueItems") and any(_same(a, b) for i, a in enumerate(value) for b in value[:i]):
        return False
    return all(follows(part, schema.get("items", True)) for part in value)


def _is(value: Any, kind: str) -> bool:
    match kind:
        case "object":
            return isinstance(value, dict)
        case "array":
            return isinstance(value, list)
        case "string":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "null":
            return value is None
        case "integer":
            return isinstance(value, (int, float)) and not isinstance(value, bool) and value == int(value)
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _same(one: Any, other: Any) -> bool:
    """Equal as JSON: true is not 1."""
    return isinstance(one, bool) == isinstance(other, bool) and one == other
