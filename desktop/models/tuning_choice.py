"""What every wizard that goes on training a model decides, without its window: which model, which settings, which method, which step is
shown, what the methods take by formula and as measured, and what is in the way. No Qt, no torch.

A wizard may have several goals (answers or a domain; from labels or with a reward model), each a stage of its own with its own steps:
settings that all have are kept when one turns to another. What a goal's data ask is the subclass' (`load_of`).
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from engine.contract.errors import FledgeError
from engine.contract.machine import DeviceFacts
from engine.contract.spec import Problem
from engine.contract.tuning import METHOD, TuningSpec
from engine.contract.units import count, duration, number, size
from engine.contract.words import tr, trn
from engine.model.config import ModelConfig
from engine.training import tuning_plan
from engine.training.tuning_plan import Load, TuningPlan

NO_WEIGHT = ("title", "method", "learning_rate", "weight_decay", "beta1", "beta2", "grad_clip", "warmup_share", "decay", "final_lr_share",
             "patience", "keep_best", "sample_prompts", "keep_checkpoints", "seed")
"""Settings that time and memory do not depend on; the methods are all measured at once."""
METHODS = ("full", "lora", "qlora")
REMEMBERED = 30


def method_title(method: str) -> str:
    return {"full": tr("Full"), "lora": "LoRA", "qlora": "QLoRA"}[method]


@dataclass(frozen=True)
class StartModel:
    """A model that training can start from. `run` is empty for finished ones; `config` None where its folder cannot be read;
    `corpus` is the text it was raised on, "" where the project does not know."""

    id: str
    title: str
    run: str = ""
    stage: str = ""
    chat: bool = False
    untrained: bool = False
    config: ModelConfig | None = None
    corpus: str = ""


@dataclass(frozen=True)
class MethodFacts:
    """What a method comes to, by formula and as measured (0 where nobody has). `usable` False: `why` says why it cannot be had here."""

    id: str
    title: str
    usable: bool = True
    why: str = ""
    fits: bool = True
    trainable: int = 0
    memory: int = 0
    limit: int = 0
    seconds: float = 0.0
    tokens_per_second: float = 0.0
    measured_memory: int = 0
    measured_seconds: float = 0.0
    measured_speed: float = 0.0


class TuningChoice:
    """Set values and what there is, read `plan`, `methods()`, `problems()`. `plan` is None while there is not enough to go by, or while
    `wrong` (a FledgeError) says why.

    SPECS, STEPS   by goal; the first goal is the one to begin with
    INPUTS         settings that are chosen, not changed
    FIRST          the step that is shown for whichever goal, "" where each goal has its own from the first on
    """

    SPECS: ClassVar[dict[str, type[TuningSpec]]] = {}
    STEPS: ClassVar[dict[str, tuple[str, ...]]] = {}
    INPUTS: ClassVar[tuple[str, ...]] = ("model", "title")
    LIGHT: ClassVar[tuple[str, ...]] = NO_WEIGHT

    def __init__(self, device: DeviceFacts | None = None) -> None:
        self.goal = next(iter(self.SPECS))
        self.step = self.STEPS[self.goal][0]
        self.device = device
        self.models: list[StartModel] | None = None
        self.taken: set[str] = set()
        self.plan: TuningPlan | None = None
        self.wrong: FledgeError | None = None
        self._measured: dict[str, dict[str, Any]] = {}
        self._clear()

    def _clear(self) -> None:
        """Every setting at its default."""
        self._shared = defaults(TuningSpec)
        self._own = {goal: {k: v for k, v in defaults(spec).items() if k not in self._shared} for goal, spec in self.SPECS.items()}

    # settings ---------------------------------------------------------------------------------------------------------

    @property
    def spec_class(self) -> type[TuningSpec]:
        return self.SPECS[self.goal]

    @property
    def values(self) -> dict[str, Any]:
        """Every setting of the present goal. What it hides is its own to decide: a shared value does not reach it."""
        spec = self.spec_class
        hidden = {k: field.default for k, field in spec.model_fields.items() if k in self._shared and spec.option_of(k).hidden}
        return {**self._shared, **hidden, **self._own[self.goal]}

    def set_values(self, values: dict[str, Any]) -> None:
        """Some settings are new; the others stay."""
        for name, value in values.items():
            if name in self._shared:
                self._shared[name] = value
            elif name in self._own[self.goal]:
                self._own[self.goal][name] = value
        self.resolve()

    def set_goal(self, goal: str) -> None:
        self.goal = goal
        self.suggest()
        self.resolve()

    def take(self, goal: str, values: dict[str, Any]) -> None:
        """Begin with the settings of an earlier run; a new title is asked for."""
        self.goal = goal
        self.step = self.STEPS[goal][0]
        self._fill(goal, {k: v for k, v in values.items() if k != "title"})

    def _fill(self, goal: str, values: dict[str, Any]) -> None:
        known = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if k in self.SPECS[goal].model_fields}
        shared = defaults(TuningSpec)
        self._shared = {**shared, **{k: v for k, v in known.items() if k in shared}}
        own = {k: v for k, v in defaults(self.SPECS[goal]).items() if k not in shared}
        self._own[goal] = {**own, **{k: v for k, v in known.items() if k in own}}
        self.suggest()
        self.resolve()

    def spec(self) -> TuningSpec:
        """The frozen spec; a SettingError names the first field that cannot be."""
        return self.spec_class.check(self.values)

    def suggested_title(self) -> str:
        """A name for what comes out; it may be taken."""
        return tr("{model}, tuned", model=self.model.title if self.model else tr("model"))

    def default_title(self) -> str:
        """A name that nothing in the project has yet."""
        title = self.suggested_title()
        taken, number_ = {m.title for m in self.models or ()} | self.taken, 2
        found = title
        while found in taken:
            found, number_ = f"{title} {number_}", number_ + 1
        return found

    # the draft --------------------------------------------------------------------------------------------------------

    def draft(self) -> dict[str, Any]:
        """What was chosen, as plain values: only what differs from the defaults."""
        own = {goal: _differences(values, defaults(self.SPECS[goal])) for goal, values in self._own.items()}
        return {"goal": self.goal, "step": self.step, "shared": _differences(self._shared, defaults(TuningSpec)), "own": own}

    def recall_draft(self, kept: Any) -> None:
        """As it was left. What cannot be read, or is no setting any more, is left out."""
        if not isinstance(kept, dict) or kept.get("goal") not in self.SPECS:
            return
        self._clear()
        self.goal = kept["goal"]
        for held, values in ((self._shared, kept.get("shared")), *((self._own[g], (kept.get("own") or {}).get(g)) for g in self.SPECS)):
            if isinstance(values, dict):
                held.update({k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if k in held})
        self.suggest()
        self.resolve()
        self.step = kept["step"] if kept.get("step") in self.steps else self.steps[0]

    # what there is ----------------------------------------------------------------------------------------------------

    def set_models(self, models: Sequence[StartModel]) -> None:
        self.models = list(models)
        self.suggest()
        self.resolve()

    def set_device(self, device: DeviceFacts | None) -> None:
        self.device = device
        self.resolve()

    def suggest(self) -> None:
        """What nobody chose yet, and what was chosen and is gone."""
        if self.models and (not self._shared["model"] or all(m.id != self._shared["model"] for m in self.models)):
            trained = [m for m in self.models if not m.untrained] or self.models
            finished = [m for m in trained if not m.run] or trained
            self._shared["model"] = self.first_model(finished).id

    def first_model(self, models: Sequence[StartModel]) -> StartModel:
        """The one to suggest of those that can be started from, newest first."""
        return models[0]

    @property
    def model(self) -> StartModel | None:
        return next((m for m in self.models or () if m.id == self._shared["model"]), None)

    def model_sentence(self) -> str:
        """What choosing this model means; "" where there is nothing to say."""
        return ""

    # what follows -----------------------------------------------------------------------------------------------------

    def resolve(self) -> None:
        """Work out the plan of the chosen method."""
        self.plan, self.wrong = None, None
        try:
            self.plan = self._plan_of(self.spec())
        except FledgeError as wrong:
            self.wrong = wrong

    def _plan_of(self, spec: TuningSpec) -> TuningPlan | None:
        config = self.model.config if self.model else None
        load = self.load_of(spec, config) if config is not None else None
        if config is None or load is None:
            return None
        return self.planned(spec, config, load, self.device or DeviceFacts(id="cpu", kind="cpu", title=""))

    def planned(self, spec: TuningSpec, config: ModelConfig, load: Load, device: DeviceFacts) -> TuningPlan:
        return tuning_plan.resolve(spec, config, load, device)

    def load_of(self, spec: TuningSpec, config: ModelConfig) -> Load | None:
        """What the data ask; None while there are none."""
        raise NotImplementedError

    def automatic(self) -> dict[str, Any]:
        """What settings left empty come to, by field."""
        if self.plan is None:
            return {}
        plan = self.plan
        return {"learning_rate": f"{plan.learning_rate:.2g}", "micro_batch_size": plan.micro_batch_size, "eval_every": plan.eval_every,
                "sample_every": plan.sample_every, "checkpoint_every_steps": plan.checkpoint_every_steps,
                "max_seq_len": plan.config.max_seq_len}

    # methods ----------------------------------------------------------------------------------------------------------

    def methods(self) -> list[MethodFacts]:
        """Each method with the present settings."""
        return [self._method(name) for name in METHODS]

    def _method(self, name: str) -> MethodFacts:
        title = method_title(name)
        if name == "qlora" and (self.device is None or self.device.kind != "cuda"):
            return MethodFacts(name, title, usable=False, why=tr("Needs an NVIDIA card."))
        try:
            made = self._plan_of(self.spec_class.check({**self.values, "method": name}))
        except FledgeError as wrong:
            return MethodFacts(name, title, why=wrong.sentence)
        if made is None:
            return MethodFacts(name, title)
        facts = MethodFacts(name, title, fits=made.cost.fits, trainable=made.trainable, memory=made.cost.memory, limit=made.cost.limit,
                            seconds=made.cost.seconds, tokens_per_second=made.cost.tokens_per_second)
        measured = (self.measured or {}).get("methods", {}).get(name, {})
        if "error" in measured:
            return replace(facts, fits=False, why=str(measured["error"]["sentence"]))
        real = measured.get("measured")
        if real:
            facts = replace(facts, measured_memory=int(real["memory"]), measured_seconds=float(real["seconds"]),
                            measured_speed=float(real.get("tokens_per_second") or 0), fits=bool(measured.get("fits", True)))
        return facts

    def recommended(self) -> tuple[str, str]:
        """(method, why in a sentence): as measured where somebody has, else by formula."""
        said = (self.measured or {}).get("recommendation")
        if said:
            return str(said["method"]), str(said["sentence"])
        known = {m.id: m for m in self.methods() if m.usable and m.memory}
        if not known:
            return "", ""
        full, lora = known.get("full"), known.get("lora")
        best = next((m for m in known.values() if m.fits), None)
        if best is None:
            least = min(known.values(), key=lambda m: m.memory)
            return "", tr("None fits by formula: even {method} takes {memory} of the {limit} there is. Choose a smaller model or shorter "
                          "examples.", method=least.title, memory=size(least.memory), limit=size(least.limit))
        if best.id == "full" and full is not None:
            words = tr("Full training fits ({memory}) and learns most.", memory=size(full.memory)) if not full.limit else \
                tr("Full training fits ({memory} of {limit}) and learns most.", memory=size(full.memory), limit=size(full.limit))
            if lora is not None and lora.memory < full.memory:
                words += " " + tr("LoRA would spare {memory}, and makes a small file to pass on.", memory=size(full.memory - lora.memory))
            return "full", words
        over = size(full.memory) if full is not None else "–"
        return best.id, tr("{method}: full training would take {full}, more than the {limit} there is; this takes {memory}.",
                           method=best.title, full=over, limit=size(best.limit), memory=size(best.memory))

    def method_notes(self) -> str:
        """What else is in memory beside the model that is trained; "" for nothing."""
        return ""

    # the measured fit -------------------------------------------------------------------------------------------------

    def weighs(self) -> Any:
        """What of the data time and memory depend on, as plain values."""
        return None

    def key(self) -> str:
        """A name for the settings on which memory and speed depend, whatever the method."""
        held = {k: v for k, v in self.values.items() if k not in self.LIGHT}
        return hashed([self.goal, held, self.weighs(), self.device.title if self.device else ""])

    @property
    def measured(self) -> dict[str, Any] | None:
        """The last measurement of these settings: `methods`, `recommendation`, `when`."""
        return self._measured.get(self.key())

    def take_measurement(self, key: str, said: dict[str, Any], when: float) -> None:
        self._measured[key] = {"methods": {name: {k: made[k] for k in ("measured", "fits", "error") if k in made}
                                           for name, made in said.get("methods", {}).items()},
                               "recommendation": said.get("recommendation"), "when": when}

    def remembered(self) -> dict[str, Any]:
        """The newest measurements as plain values, to be kept; `recall` takes them back."""
        return dict(sorted(self._measured.items(), key=lambda item: item[1]["when"])[-REMEMBERED:])

    def recall(self, kept: Any) -> None:
        """Measurements of earlier days. What cannot be read is left out."""
        for key, values in (kept.items() if isinstance(kept, dict) else ()):
            if isinstance(values, dict) and isinstance(values.get("methods"), dict) and "when" in values:
                self._measured[str(key)] = values

    # steps ------------------------------------------------------------------------------------------------------------

    @property
    def steps(self) -> tuple[str, ...]:
        return self.STEPS[self.goal]

    @property
    def following(self) -> str:
        place = self.steps.index(self.step) + 1
        return self.steps[place] if place < len(self.steps) else ""

    def step_of(self, field: str) -> str:
        """The step on which a setting stands."""
        if field == "model":
            return self.steps[0]
        named = field in self.spec_class.model_fields
        return "method" if named and self.spec_class.option_of(field).group == METHOD else self.steps[-1]

    def problems(self, step: str = "") -> list[Problem]:
        """What is in the way of going on from a step; of all steps, without one."""
        found = list(self.spec_class.field_problems(self.values))
        if self.models is not None and self.model is not None and self.model.config is None:
            found.append(Problem("model", tr("This model cannot be read."), tr("Choose another one.")))
        if self.wrong is not None and not any(p.field == self.wrong.field for p in found):
            found.append(Problem(self.wrong.field, self.wrong.sentence, self.wrong.remedy))
        found += self.further_problems()
        return found if not step else [p for p in found if self.step_of(p.field) == step]

    def further_problems(self) -> list[Problem]:
        """What the data say that no setting alone can."""
        return []

    def can_go(self, step: str) -> bool:
        """Whether a step can be entered: everything before it is in order."""
        return not any(self.problems(each) for each in self.steps[:self.steps.index(step)])

    def go(self, step: str) -> bool:
        if step in self.steps and (self.steps.index(step) <= self.steps.index(self.step) or self.can_go(step)):
            self.step = step
            return True
        return False

    def back(self) -> None:
        self.step = self.steps[max(0, self.steps.index(self.step) - 1)]

    @property
    def ready(self) -> bool:
        """Whether a run can be started now."""
        return not self.problems()

    # in words ---------------------------------------------------------------------------------------------------------

    def step_title(self, step: str) -> str:
        raise NotImplementedError

    def learns_from(self) -> str:
        """What the run learns from, in a few words."""
        raise NotImplementedError

    def goes_in(self) -> tuple[str, str]:
        raise NotImplementedError

    def happens_first(self) -> tuple[str, str]:
        """The middle of the flow strip while nothing is known."""
        return tr("It goes on learning"), tr("as long as you choose")

    def comes_out(self) -> tuple[str, str]:
        raise NotImplementedError

    def will_happen(self) -> tuple[str, str]:
        plan = self.plan
        if plan is None:
            return self.happens_first()
        here = next((m for m in self.methods() if m.id == plan.method), None)
        title = tr("{method}, {steps}", method=tr("Full training") if plan.method == "full" else method_title(plan.method),
                   steps=trn("{shown} step", "{shown} steps", plan.steps, shown=number(plan.steps)))
        if here is not None and here.measured_seconds:
            return title, tr("{time}, {memory}, measured", time=duration(here.measured_seconds),
                             memory=size(here.measured_memory))
        return title, tr("{time}, {memory} by formula", time=duration(plan.cost.seconds), memory=size(plan.cost.memory))

    def summary(self) -> list[tuple[str, str]]:
        """What will run, in names and values; empty while that is not known."""
        made = self.plan
        if made is None or self.model is None:
            return []
        here = next(m for m in self.methods() if m.id == made.method)
        return [(tr("Name"), self.values["title"] or self.default_title()), (tr("From"), self.model.title),
                (tr("Learns from"), self.learns_from()), *self.further_summary(), (tr("Method"), method_title(made.method)),
                (tr("Trains"), tr("{count} parameters", count=count(made.trainable))), (tr("Steps"), number(made.steps)),
                (tr("Time"), duration(here.measured_seconds) if here.measured_seconds else
                 tr("{time}, by formula", time=duration(made.cost.seconds))),
                (tr("Memory"), size(here.measured_memory) if here.measured_memory else
                 tr("{memory}, by formula", memory=size(made.cost.memory))),
                (tr("Device"), self.device.title if self.device is not None else tr("found at the start"))]

    def further_summary(self) -> list[tuple[str, str]]:
        return []

    def changed(self) -> list[str]:
        """Settings that differ from their defaults, inputs left out."""
        return [k for k in self.spec().changed() if k not in self.INPUTS]


def defaults(spec: type[TuningSpec]) -> dict[str, Any]:
    return {name: field.get_default(call_default_factory=True) for name, field in spec.model_fields.items()}


def hashed(told: Any) -> str:
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()[:24]


def _differences(values: dict[str, Any], usual: dict[str, Any]) -> dict[str, Any]:
    return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items() if v != usual[k]}
