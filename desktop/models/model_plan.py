"""What every wizard decides whose run asks local models, without its window: which step is shown, the settings, who has which part, and
whether those models can be asked. What there is on this machine is found elsewhere and told here; what a step asks is the subclass'."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from desktop.models.local_models import ModelChoice, Place, host_of, is_local, short_name
from engine.contract.spec import Problem, Spec
from engine.contract.words import tr


@dataclass
class ModelPlan:
    """`values` are all settings of a SPEC; `step` is one of STEPS; `places` is None until somebody has looked; `confirmed` are hosts
    outside this machine that the person typed and confirmed.

    ROLES     settings that name a model
    KEPT_OUT  settings that are no part of a draft: filled in for each run
    """

    SPEC: ClassVar[type[Spec]]
    STEPS: ClassVar[tuple[str, ...]]
    ROLES: ClassVar[tuple[str, ...]]
    KEPT_OUT: ClassVar[tuple[str, ...]] = ()

    step: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    places: list[Place] | None = None
    corpora: list[tuple[str, str]] = field(default_factory=list)
    confirmed: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.step, self.values = self.step or self.STEPS[0], self.values or self.defaults()

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        return {name: cls.default_of(name) for name in cls.SPEC.model_fields}

    @classmethod
    def default_of(cls, name: str) -> Any:
        return cls.SPEC.model_fields[name].get_default(call_default_factory=True)

    # the draft --------------------------------------------------------------------------------------------------------

    def draft(self) -> dict[str, Any]:
        """What was chosen, as plain JSON."""
        return {"step": self.step, "values": {k: list(v) if isinstance(v, tuple) else v for k, v in self.values.items()
                                              if k not in self.KEPT_OUT and v != self.default_of(k)}}

    def recall(self, draft: Any) -> None:
        """As it was left; what a draft of another version holds and nobody knows is left out."""
        raw: Mapping[str, Any] = draft if isinstance(draft, Mapping) else {}
        given = raw.get("values")
        self.values = self.defaults()
        self._take(given if isinstance(given, Mapping) else {})
        self.step = str(raw.get("step")) if raw.get("step") in self.STEPS else self.STEPS[0]

    def take_spec(self, spec: Mapping[str, Any]) -> None:
        """The settings of an earlier run."""
        self.values = self.defaults()
        self._take(spec)
        self.step = self.STEPS[0]

    def _take(self, given: Mapping[str, Any]) -> None:
        for name, value in given.items():
            if name in self.values and name not in self.KEPT_OUT:
                found = tuple(value) if isinstance(value, list) else value
                if self._fits(name, found):
                    self.values[name] = found

    def _fits(self, name: str, value: Any) -> bool:
        """Whether a setting can have this value, whatever the others say."""
        raise NotImplementedError

    # choosing ---------------------------------------------------------------------------------------------------------

    def set_values(self, values: Mapping[str, Any]) -> None:
        self.values.update({k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if k in self.values})

    def choose(self, role: str, model: str) -> None:
        """Give a model a role. A host outside this machine is asked only when it is among the confirmed ones."""
        self.values[role] = model
        hosts = {host_of(str(self.values[r])) for r in self.ROLES} & self.confirmed
        if self.values["allowed_host"] not in hosts:
            self.values["allowed_host"] = next(iter(sorted(hosts)), "")

    def suggest(self) -> None:
        """Choose what nobody chose, where there is nothing to ask."""
        raise NotImplementedError

    def take_corpora(self, corpora: list[tuple[str, str]]) -> None:
        """(id, title) of the corpora that there are now."""
        self.corpora = corpora

    @property
    def models(self) -> list[ModelChoice]:
        return [m for place in self.places or () for m in place.models]

    def title_of(self, model: str) -> str:
        return next((m.title for m in self.models if m.name == model), short_name(model))

    def number_of(self, name: str) -> float:
        """A numeric setting; its default while what stands in the form is none."""
        value = self.values[name]
        return float(value if isinstance(value, (int, float)) else self.default_of(name))

    # the way ----------------------------------------------------------------------------------------------------------

    @property
    def following(self) -> str:
        at = self.STEPS.index(self.step)
        return self.STEPS[at + 1] if at + 1 < len(self.STEPS) else ""

    def go(self, step: str) -> None:
        assert step in self.STEPS
        self.step = step

    def back(self) -> None:
        self.step = self.STEPS[max(0, self.STEPS.index(self.step) - 1)]

    def reachable(self) -> set[str]:
        """Steps that can be entered: those before the present one, and those with nothing in the way."""
        open_, found = True, set()
        for step in self.STEPS:
            if open_ or self.STEPS.index(step) <= self.STEPS.index(self.step):
                found.add(step)
            open_ = open_ and not self.problems(step)
        return found

    def problems(self, step: str = "") -> list[Problem]:
        """Why the run cannot start; of one step or of all."""
        return self.step_problems(step) if step else [p for s in self.STEPS for p in self.step_problems(s)]

    def step_problems(self, step: str) -> list[Problem]:
        raise NotImplementedError

    def cannot_ask(self, role: str) -> Problem | None:
        """Why the model of a role cannot be asked: it is gone, or on a machine that nobody confirmed for this run."""
        model = str(self.values[role])
        host, allowed = host_of(model), self.values["allowed_host"]
        if self.places is not None and model not in {m.name for m in self.models}:
            return Problem(role, tr("{model} is not there now.", model=short_name(model)),
                           tr("Start its server and look again, or choose another model."))
        if is_local(host) or host == allowed:
            return None
        if allowed:
            return Problem(role, tr("Only one other machine can be asked in a run, and {host} is another.", host=host),
                           tr("Choose a model of {host}, or of this machine.", host=allowed))
        return Problem(role, tr("{host} is outside this machine, and nobody confirmed it.", host=host),
                       tr("Add its address again and confirm it, or choose a model of this machine."))
