"""A verifier as it is written down: parts with weights, added or multiplied, groups of parts among them. What kinds of parts there are, and
what settings each takes, is engine/verifiers/registry.py's; here only the form is known, and what of it needs somebody's trust.

    [{"name": "number"}]                                                 a bare list is a sum
    {"together": "product", "parts": [{"name": "python", "title": "right", "weight": 1.0, "settings": {"source": "def verify..."}},
                                      {"name": "python", "settings": {"verifier": "verifier-3@4"}},
                                      {"name": "group", "settings": {"together": "sum", "parts": [...]}},
                                      {"name": "group", "settings": {"verifier": "verifier-5@1"}}]}
    verifier-3@4                                                         a version in the library, in place of all that

A reference is replaced by what it stands for before anything runs (engine/project/verifiers.py); `ref` then says where it came from.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast, get_args

from engine.contract.errors import SettingError
from engine.contract.words import tr

Together = Literal["sum", "product"]
PYTHON, GROUP, JUDGE, REWARD_MODEL = "python", "group", "judge", "reward_model"
OWN = "project:"
"""How a judge is called that is a model of the project."""
REFERENCE = re.compile(r"(verifier-[1-9][0-9]{0,8})@([1-9][0-9]{0,8})")
UNVERSIONED = re.compile(r"verifier-[1-9][0-9]{0,8}")
LARGEST_WEIGHT = 1e6
MOST_PARTS, MOST_LEVELS = 64, 6
LONGEST = 1_000_000
"""Characters of a composition."""


@dataclass(frozen=True)
class Part:
    """`title`: as its score is called, "" for the kind's own. `ref`: the version its source or group was taken from."""

    name: str
    title: str = ""
    weight: float = 1.0
    settings: Mapping[str, Any] = field(default_factory=dict)
    ref: str = ""

    def plain(self) -> dict[str, Any]:
        made: dict[str, Any] = {"name": self.name, "title": self.title, "weight": self.weight, "settings": dict(self.settings)}
        if self.name == GROUP and "parts" in self.settings:
            made["settings"] = self.group.plain()
        return made | ({"ref": self.ref} if self.ref else {})

    @property
    def group(self) -> "Composition":
        """Of a part called "group" that holds its parts."""
        return _composition(self.settings)

    @property
    def verifier(self) -> str:
        """The version that a part stands for, "" for none."""
        return str(self.settings.get("verifier", ""))


@dataclass(frozen=True)
class Composition:
    together: Together
    parts: tuple[Part, ...]

    def plain(self) -> dict[str, Any]:
        """As JSON; `parse` reads it back."""
        return {"together": self.together, "parts": [part.plain() for part in self.parts]}

    def bare(self) -> "Composition":
        """Without where its parts came from."""
        return Composition(self.together, tuple(_bare(part) for part in self.parts))

    def text(self) -> str:
        """The same composition always as the same text, wherever its parts came from."""
        return json.dumps(self.bare().plain(), ensure_ascii=False, sort_keys=True)

    def models(self) -> "list[str]":
        """Ids of models of the project that it asks, each once: reward models, and judges called project:ID."""
        return list(dict.fromkeys(_model(part) for part in self.walk() if _model(part)))

    def with_models(self, ids: Mapping[str, str]) -> "Composition":
        """With other ids in their place, as another project calls them."""
        return Composition(self.together, tuple(_with_models(part, ids) for part in self.parts))

    @property
    def sha256(self) -> str:
        return digest(self.text())

    def walk(self) -> Iterator[Part]:
        """Every part, those of groups after their group."""
        for part in self.parts:
            yield part
            if part.name == GROUP and "parts" in part.settings:
                yield from part.group.walk()


@dataclass(frozen=True)
class Piece:
    """Of a composition, what somebody must trust before it runs: a Python source, or whom a judge sends texts to."""

    title: str
    text: str
    ref: str = ""

    @property
    def sha256(self) -> str:
        return digest(self.text)


def _bare(part: Part) -> Part:
    settings = part.group.bare().plain() if part.name == GROUP and "parts" in part.settings else part.settings
    return Part(part.name, part.title, part.weight, settings)


def _model(part: Part) -> str:
    name = str(part.settings.get("model", ""))
    if part.name == JUDGE:
        return name.removeprefix(OWN).strip() if name.startswith(OWN) else ""
    return name if part.name == REWARD_MODEL else ""


def _with_models(part: Part, ids: Mapping[str, str]) -> Part:
    settings = dict(part.settings)
    if part.name == GROUP and "parts" in settings:
        settings = part.group.with_models(ids).plain()
    elif (id := _model(part)) in ids:
        settings["model"] = (OWN if part.name == JUDGE else "") + ids[id]
    return Part(part.name, part.title, part.weight, settings, part.ref)


def digest(text: str) -> str:
    """What a source is known by: SHA-256 of its UTF-8."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def reference(text: str) -> tuple[str, int] | None:
    """("verifier-3", 4) of "verifier-3@4", None of anything else. SettingError where the version is missing."""
    text = text.strip()
    if UNVERSIONED.fullmatch(text):
        raise SettingError(tr("{id} has versions: one of them must be named.", id=text),
                           tr("Write {example}, say.", example=f"{text}@1"), field="verifier")
    found = REFERENCE.fullmatch(text)
    return (found[1], int(found[2])) if found else None


def parse(text: str | list[Any] | Mapping[str, Any]) -> Composition:
    """Of JSON or what JSON gives; SettingError (field "verifier") says what is wrong with its form."""
    if isinstance(text, str):
        if len(text) > LONGEST:
            raise _wrong(tr("it is longer than {count} characters", count=f"{LONGEST:,}"))
        try:
            text = json.loads(text, parse_constant=_no_constant)
        except (ValueError, RecursionError) as wrong:
            raise _wrong(tr("it is no JSON ({reason})", reason=str(wrong)[:200])) from None
    return _composition(text)


def pieces(composition: Composition) -> list[Piece]:
    """What of it needs trust, each once. References are not followed: resolve first."""
    found: dict[str, Piece] = {}
    for part in composition.walk():
        title = part.title or part.name
        if part.name == PYTHON and "source" in part.settings:
            piece = Piece(title, str(part.settings["source"]), part.ref)
        elif part.name == JUDGE:
            piece = Piece(title, json.dumps(dict(part.settings), ensure_ascii=False, sort_keys=True, indent=1), part.ref)
        else:
            continue
        found.setdefault(piece.sha256, piece)
    return list(found.values())


def _composition(value: Any, level: int = 0) -> Composition:
    if isinstance(value, list):
        value = {"parts": value}
    if not isinstance(value, Mapping):
        raise _wrong(tr("it is no list of parts"))
    if level >= MOST_LEVELS:
        raise _wrong(tr("its groups are nested more than {count} deep", count=MOST_LEVELS))
    if unknown := value.keys() - {"together", "parts"}:
        raise _wrong(tr("it has the unknown field {name}", name=str(min(unknown, key=str))[:80]))
    together = value.get("together", "sum")
    if together not in get_args(Together):
        raise _wrong(tr("its parts are taken together as “sum” or “product”, not {value}", value=repr(together)[:80]))
    parts = value.get("parts")
    if not isinstance(parts, list) or not parts:
        raise _wrong(tr("it needs at least one part"))
    if len(parts) > MOST_PARTS:
        raise _wrong(tr("it has more than {count} parts", count=MOST_PARTS))
    return Composition(cast(Together, together), tuple(_part(part, level) for part in parts))


def _part(value: Any, level: int) -> Part:
    if not isinstance(value, Mapping) or not isinstance(value.get("name"), str) or not value["name"]:
        raise _wrong(tr("each part needs a name"))
    name = str(value["name"])[:80]
    if unknown := value.keys() - {"name", "title", "weight", "settings", "ref"}:
        raise _wrong(tr("{part} has the unknown field {name}", part=name, name=str(min(unknown, key=str))[:80]))
    title, weight, settings, ref = value.get("title", ""), value.get("weight", 1.0), value.get("settings", {}), value.get("ref", "")
    if not isinstance(title, str) or not isinstance(ref, str):
        raise _wrong(tr("the title of {part} is no text", part=name))
    if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not abs(weight) <= LARGEST_WEIGHT or not math.isfinite(weight):
        raise _wrong(tr("the weight of {part} is no number up to a million", part=name))
    if not isinstance(settings, Mapping):
        raise _wrong(tr("the settings of {part} are no object", part=name))
    settings = dict(settings)
    if name in (PYTHON, GROUP):
        held = "source" if name == PYTHON else "parts"
        if (held in settings) == ("verifier" in settings):
            raise _wrong(tr("{part} needs `{held}` or `verifier`, one of the two", part=name, held=held))
        if not isinstance(settings.get("verifier", ""), str) or ("verifier" in settings and not reference(settings["verifier"])):
            raise _wrong(tr("{part} names no version of a verifier, such as verifier-3@4", part=name))
        if name == PYTHON and not isinstance(settings.get("source", ""), str):
            raise _wrong(tr("the source of {part} is no text", part=name))
        if name == GROUP and held in settings:
            settings = _composition(settings, level + 1).plain()
    return Part(name, title[:200], float(weight), settings, ref)


def _wrong(reason: str) -> SettingError:
    return SettingError(tr("The verifier cannot be read: {reason}.", reason=reason),
                        tr("Choose one of the library, or give a JSON list of parts with name, weight and settings."),
                        code="verifier_form", field="verifier")


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
