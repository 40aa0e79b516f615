"""The base of every stage's settings, and of those of a verifier's parts. Declared once, with label, help, unit and range beside the
field: the window's form, the command line, the docs and the checks all read that. No torch here, and no knowledge of any stage.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from engine.contract.errors import SettingError
from engine.contract.words import tr


@dataclass(frozen=True)
class Option:
    """How a setting is shown. `artifact` is the kind of artifact whose id the field takes ("corpus"); `choices` pairs values with words.
    `visible_if` is ("field", value): shown only then."""

    label: str
    help: str
    unit: str = ""
    advanced: bool = False
    hidden: bool = False
    artifact: str = ""
    choices: tuple[tuple[Any, str], ...] = ()
    visible_if: tuple[str, Any] | None = None
    group: str = ""


@dataclass(frozen=True)
class Problem:
    """Why a spec cannot run as it stands: the field it belongs to ("" for the whole), a sentence, a remedy."""

    field: str
    sentence: str
    remedy: str = ""


def option(default: Any = ..., *, label: str, help: str, unit: str = "", advanced: bool = False, hidden: bool = False, artifact: str = "",
           choices: Sequence[tuple[Any, str]] = (), visible_if: tuple[str, Any] | None = None, group: str = "",
           ge: float | None = None, le: float | None = None, gt: float | None = None, lt: float | None = None) -> Any:
    """A field of a Spec: a pydantic Field that carries an Option. `label`, `help`, `unit` and words of choices are marked with tr()."""
    shown = Option(label, help, unit, advanced, hidden, artifact, tuple(choices), visible_if, group)
    return Field(default, ge=ge, le=le, gt=gt, lt=lt, title=label, description=help, json_schema_extra={"option": shown})  # type: ignore[dict-item]


class Settings(BaseModel):
    """Frozen values of fields made by option(). Unknown keys are refused. A stage's are a Spec; a verifier's parts have some, too."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)

    @classmethod
    def option_of(cls, name: str) -> Option:
        extra = cls.model_fields[name].json_schema_extra
        shown: Any = extra.get("option") if isinstance(extra, dict) else None
        assert isinstance(shown, Option), f"{cls.__name__}.{name} was not made by option()"
        return shown

    @classmethod
    def bounds(cls, name: str) -> tuple[float | None, float | None]:
        """Lowest and highest value allowed, None where open."""
        low = high = None
        for rule in cls.model_fields[name].metadata:
            low = getattr(rule, "ge", getattr(rule, "gt", low))
            high = getattr(rule, "le", getattr(rule, "lt", high))
        return low, high

    @classmethod
    def check(cls, values: dict[str, Any]) -> Self:
        """A spec from plain values; a value out of range is a SettingError that names the field in the words of the form."""
        try:
            made = cls(**values)
        except ValidationError as wrong:
            first = wrong.errors()[0]
            raise cls._explain(first) from None
        for wrong_choice in made._unknown_choices():
            raise wrong_choice
        return made

    @classmethod
    def field_problems(cls, values: dict[str, Any]) -> list[Problem]:
        """All problems of plain values, for a form that shows each beside its field."""
        try:
            made = cls(**values)
        except ValidationError as wrong:
            return [Problem(e.field, e.sentence, e.remedy) for e in (cls._explain(x) for x in wrong.errors())]
        return [Problem(e.field, e.sentence, e.remedy) for e in made._unknown_choices()] + made.problems()

    def _unknown_choices(self) -> list[SettingError]:
        """Values that are none of their field's choices."""
        found = []
        for name in type(self).model_fields:
            choices, value = type(self).option_of(name).choices, getattr(self, name)
            if choices and value not in [known for known, _ in choices]:
                found.append(self._explain({"loc": (name,), "type": "choice", "input": value, "msg": ""}))
        return found

    def problems(self) -> list[Problem]:
        """What the fields alone cannot tell: combinations that cannot work. Stages override this."""
        return []

    @classmethod
    def _explain(cls, error: Any) -> SettingError:
        name = str(error["loc"][0]) if error["loc"] else ""
        field: FieldInfo | None = cls.model_fields.get(name)
        if field is None:
            known = ", ".join(sorted(cls.model_fields))
            return SettingError(tr("There is no setting called {name}.", name=name), tr("Known settings: {known}.", known=known),
                                code="unknown_setting", field=name)
        label = cls.option_of(name).label
        if error["type"] == "missing":
            return SettingError(tr("{label} is missing.", label=label), tr("Choose a value for it."), code="missing_setting", field=name)
        return SettingError(tr("{label} cannot be {value}.", label=label, value=repr(error.get("input"))),
                            cls._remedy(name, str(error["msg"])), field=name)

    @classmethod
    def _remedy(cls, name: str, message: str) -> str:
        """What a field takes, in words; pydantic's own where there are none."""
        annotation, choices = cls.model_fields[name].annotation, cls.option_of(name).choices
        kinds = set(get_args(annotation)) - {type(None)} or {annotation}
        rules: dict[str, Any] = {}
        for rule in cls.model_fields[name].metadata:
            rules |= {key: f"{getattr(rule, key):,}" for key in ("ge", "gt", "le", "lt") if getattr(rule, key, None) is not None}
        low, high = rules.get("ge", rules.get("gt")), rules.get("le", rules.get("lt"))
        if choices:
            return tr("Choose one of: {choices}.", choices=", ".join(str(value) for value, _ in choices))
        if bool in kinds:
            return tr("Choose true or false.")
        if low is not None and high is not None:
            if "gt" in rules:
                return tr("Choose a value above {low}, up to {high}.", low=low, high=high)
            if "lt" in rules:
                return tr("Choose a value from {low} to under {high}.", low=low, high=high)
            return (tr("Choose a whole number from {low} to {high}.", low=low, high=high) if int in kinds else
                    tr("Choose a value from {low} to {high}.", low=low, high=high))
        if low is not None:
            if "gt" in rules:
                return tr("Choose a value above {low}.", low=low)
            return tr("Choose a whole number, {low} or more.", low=low) if int in kinds else tr("Choose {low} or more.", low=low)
        return tr("Choose {high} or less.", high=high) if high is not None else message + "."

    @classmethod
    def parse_settings(cls, pairs: Sequence[str]) -> dict[str, Any]:
        """`key=value` texts of the command line as values: JSON where it parses, else the text itself. Tuples take comma-separated text."""
        values: dict[str, Any] = {}
        for pair in pairs:
            key, sign, text = pair.partition("=")
            key = key.strip().replace("-", "_")
            if not sign:
                raise SettingError(tr("{pair} is not a setting.", pair=pair), tr("Write it as name=value."), code="setting_form")
            if key not in cls.model_fields:
                raise cls._explain({"loc": (key,), "type": "extra", "msg": ""})
            kind = cls.model_fields[key].annotation
            kind = next((k for k in get_args(kind) if get_origin(k) is tuple), kind)  # one that may be None too
            if kind is str or (get_origin(kind) is None and kind is str):
                values[key] = text
                continue
            try:
                values[key] = json.loads(text)
            except json.JSONDecodeError:
                values[key] = [x for x in text.split(",") if x] if get_origin(kind) is tuple else text
            if get_origin(kind) is not dict and str in get_args(kind) and not isinstance(values[key], (str, list, type(None))):
                values[key] = text
        return values

    def changed(self) -> dict[str, Any]:
        """The settings that differ from their defaults."""
        return {name: getattr(self, name) for name, field in type(self).model_fields.items()
                if not field.is_required() and getattr(self, name) != field.get_default(call_default_factory=True)}


class Spec(Settings):
    """Frozen settings of one run. `seed` is common to all stages."""

    stage: ClassVar[str] = ""
    rows: ClassVar[tuple[str, ...]] = ()
    """What of the library is copied into a run's inputs when it is made (engine/project/snapshots.py)."""

    seed: int = option(42, label=tr("Seed"), help=tr("The same seed, settings and device give the same result."), ge=0, le=2**31 - 1,
                       advanced=True)

    def frozen(self, project_dir: Path) -> Self:
        """With what lies outside of it filled in (the text of a file, say), so that a run that waits does not change when that does. Called
        once, when a run is made."""
        return self
