"""The fine-tuning wizard without its window: what is taught, from which model, with what data, by which method; what that takes by formula,
and what is in the way. No Qt, no torch.

Two stages share it: `sft` (conversations) and `adapt` (text of a domain). Settings that both have are kept when one turns to the other. A
measurement is kept with the settings it was made with.
"""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from desktop.models.finetune_mask import Looked
from engine.contract.errors import FledgeError
from engine.contract.machine import DeviceFacts
from engine.contract.spec import Problem
from engine.contract.tuning import METHOD, MODEL, TuningSpec
from engine.contract.units import count, duration, number, size
from engine.contract.words import tr, trn
from engine.model.config import ModelConfig
from engine.project.artifacts import Artifact
from engine.project.examples import ExampleSet
from engine.stages.adapt import plan as adapt_plan
from engine.stages.adapt.spec import AdaptSpec
from engine.stages.sft import plan as sft_plan
from engine.stages.sft.spec import SftSpec
from engine.training import tuning_plan
from engine.training.tuning_plan import Load, TuningPlan

SFT, ADAPT = "sft", "adapt"
STEPS = {SFT: ("goal", "data", "template", "method", "start"), ADAPT: ("goal", "data", "method", "start")}
SPECS: dict[str, type[TuningSpec]] = {SFT: SftSpec, ADAPT: AdaptSpec}
MASK_FIELDS = ("template", "system", "loss_on", "max_seq_len", "too_long", "packing")
DATA_FIELDS = ("examples", "only_accepted", "validation_percent", "replay", "replay_documents", "corpus", "replay_percent")
REST_OF_ADAPT = ("max_seq_len",)
LOOKED_AT = ("model", "examples", "only_accepted", "validation_percent", *MASK_FIELDS)
"""Settings that what is found in the data depends on."""
SHOWN_WITH = ("replay", "replay_documents", "batch_size", "seed")
"""Settings that only decide how it is put together in batches."""
NO_WEIGHT = ("title", "method", "only_accepted", "template", "system", "learning_rate", "weight_decay", "beta1", "beta2", "grad_clip",
             "warmup_share", "decay", "final_lr_share", "patience", "keep_best", "sample_prompts", "keep_checkpoints", "seed")
"""Settings that time and memory do not depend on; the methods are all measured at once."""
METHODS = ("full", "lora", "qlora")
GUESSED_TOKENS = 60
"""Of an example that nobody has looked at yet."""
REMEMBERED = 30


def step_title(step: str, goal: str = SFT) -> str:
    return {"goal": tr("Goal"), "data": tr("Data") if goal == SFT else tr("Text"), "template": tr("Template"), "method": tr("Method"),
            "start": tr("Start")}[step]


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


class FinetunePlan:
    """Set values and what there is, read `plan`, `methods()`, `problems()`. `plan` is None while there is not enough to go by, or while
    `wrong` (a FledgeError) says why."""

    def __init__(self, device: DeviceFacts | None = None) -> None:
        self.goal, self.step = SFT, "goal"
        self.device = device
        self._shared = _defaults(TuningSpec)
        self._own = {goal: {k: v for k, v in _defaults(spec).items() if k not in self._shared} for goal, spec in SPECS.items()}
        self.models: list[StartModel] | None = None
        self.sets: list[ExampleSet] | None = None
        self.corpora: list[Artifact] = []
        self.taken: set[str] = set()
        self.tokens: list[Artifact] = []
        self.looked: Looked | None = None
        self.looked_key = ""
        self.looked_wrong: FledgeError | None = None
        self.plan: TuningPlan | None = None
        self.wrong: FledgeError | None = None
        self._measured: dict[str, dict[str, Any]] = {}

    # settings ---------------------------------------------------------------------------------------------------------

    @property
    def spec_class(self) -> type[TuningSpec]:
        return SPECS[self.goal]

    @property
    def values(self) -> dict[str, Any]:
        """Every setting of the present goal."""
        return {**self._shared, **self._own[self.goal]}

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
        self._suggest()
        self.resolve()

    def take(self, goal: str, values: dict[str, Any]) -> None:
        """Begin with the settings of an earlier run; a new title is asked for."""
        self.goal, self.step = goal, "goal"
        known = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if k in SPECS[goal].model_fields and k != "title"}
        self._shared = {**_defaults(TuningSpec), **{k: v for k, v in known.items() if k in self._shared}}
        own = {k: v for k, v in _defaults(SPECS[goal]).items() if k not in self._shared}
        self._own[goal] = {**own, **{k: v for k, v in known.items() if k in own}}
        self._suggest()
        self.resolve()

    def spec(self) -> TuningSpec:
        """The frozen spec; a SettingError names the first field that cannot be."""
        return self.spec_class.check(self.values)

    def default_title(self) -> str:
        """A name that nothing in the project has yet."""
        name = self.model.title if self.model else tr("model")
        corpus = self.corpus(str(self._own[ADAPT]["corpus"]))
        if self.goal == SFT:
            title = tr("{model}, tuned", model=name)
        else:
            title = tr("{model} on {corpus}", model=name, corpus=corpus.title) if corpus else tr("{model}, adapted", model=name)
        taken, number_ = {m.title for m in self.models or ()} | self.taken, 2
        found = title
        while found in taken:
            found, number_ = f"{title} {number_}", number_ + 1
        return found

    # what there is ----------------------------------------------------------------------------------------------------

    def set_models(self, models: Sequence[StartModel]) -> None:
        self.models = list(models)
        self._suggest()
        self.resolve()

    def set_sets(self, sets: Sequence[ExampleSet]) -> None:
        """Those with something in them."""
        self.sets = [s for s in sets if s.count]
        self._suggest()
        self.resolve()

    def set_corpora(self, corpora: Sequence[Artifact], tokens: Sequence[Artifact]) -> None:
        self.corpora, self.tokens = list(corpora), list(tokens)
        self._suggest()
        self.resolve()

    def set_device(self, device: DeviceFacts | None) -> None:
        self.device = device
        self.resolve()

    def _suggest(self) -> None:
        """What nobody chose yet: the newest finished model that does not answer yet; the only set."""
        if self.models and (not self._shared["model"] or all(m.id != self._shared["model"] for m in self.models)):
            trained = [m for m in self.models if not m.untrained] or self.models
            finished = [m for m in trained if not m.run] or trained
            self._shared["model"] = next((m.id for m in finished if not m.chat), finished[0].id)
        if self.sets is not None:
            known = {s.id for s in self.sets}
            chosen = tuple(id for id in self._own[SFT]["examples"] if id in known)
            useful = [s.id for s in self.sets if s.accepted or s.new]
            self._own[SFT]["examples"] = chosen or (tuple(useful) if len(useful) == 1 else ())
        for goal in SPECS:
            for name in ("corpus", "replay"):
                if self._own[goal].get(name) and self.corpora and self.corpus(self._own[goal][name]) is None:
                    self._own[goal][name] = ""

    @property
    def model(self) -> StartModel | None:
        return next((m for m in self.models or () if m.id == self._shared["model"]), None)

    @property
    def chosen_sets(self) -> list[ExampleSet]:
        return [s for s in self.sets or () if s.id in self._own[SFT]["examples"]]

    def corpus(self, id: str) -> Artifact | None:
        return next((c for c in self.corpora if c.id == id), None)

    @property
    def examples(self) -> int:
        """Those that training would take: never rejected ones."""
        accepted = self._own[SFT]["only_accepted"]
        return sum(s.accepted + (0 if accepted else s.new) for s in self.chosen_sets)

    @property
    def raised_on(self) -> Artifact | None:
        """The corpus that the model comes from, as far as the project knows: what replay is best taken from."""
        found = self.corpus(self.model.corpus) if self.model else None
        return None if found is not None and self.goal == ADAPT and found.id == self._own[ADAPT]["corpus"] else found

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
        load = self._load(spec, config) if config is not None else None
        if config is None or load is None:
            return None
        return tuning_plan.resolve(spec, config, load, self.device or DeviceFacts(id="cpu", kind="cpu", title=""))

    def _load(self, spec: TuningSpec, config: ModelConfig) -> Load | None:
        """What the data ask; None while there are none. Before anybody has looked at the examples their length is a guess."""
        if isinstance(spec, AdaptSpec):
            tokens = self.corpus_tokens(spec.corpus)
            return adapt_plan.load_of(spec, config, tokens, replayed=bool(spec.replay and spec.replay_percent)) if tokens else None
        assert isinstance(spec, SftSpec)
        longest = sft_plan.longest(spec, config)
        counts = self.looked.counts if self.looked is not None else {}
        usable = int(counts.get("usable", 0))
        share = int(counts["train"]) / int(counts["looked_at"]) if usable else 1 - spec.validation_percent / 100
        train = round(self.examples * share)
        if not train:
            return None
        mean = counts["tokens"] / usable if usable else float(min(longest, GUESSED_TOKENS))
        longest_example = min(longest, int(counts.get("longest", 0)) or longest)
        batch = sft_plan.batch_size(spec, train)
        replayed = 0.0
        corpus = self.corpus(spec.replay) if spec.replay else None
        if corpus is not None:
            each = self.corpus_tokens(corpus.id) / max(1, int(corpus.facts.get("documents", 0) or 1))
            replayed = min(float(longest), each) * sft_plan.replayed(spec, batch)
        return sft_plan.load_of(spec, steps=max(1, math.ceil(spec.epochs * train / batch)), batch=batch, tokens_per_step=mean * batch,
                                replay_tokens=replayed, row=longest, longest_example=longest_example)

    def corpus_tokens(self, id: str) -> int:
        """Tokens of a corpus' training text: counted where it was cut into tokens, else estimated; 0 when unknown."""
        corpus = self.corpus(id)
        if corpus is None:
            return 0
        made = next((t for t in self.tokens if t.parents and t.parents[0] == id), None)
        estimate = float(corpus.facts.get("tokens_estimate", 0) or 0) or float(corpus.facts.get("bytes", 0) or 0) / 4
        return int(made.facts.get("train_tokens", 0)) if made is not None else round(estimate)

    def automatic(self) -> dict[str, Any]:
        """What settings left empty come to, by field."""
        if self.plan is None:
            return {}
        plan, load = self.plan, self.plan.load
        known = {"learning_rate": f"{plan.learning_rate:.2g}", "micro_batch_size": plan.micro_batch_size, "eval_every": plan.eval_every,
                 "sample_every": plan.sample_every, "checkpoint_every_steps": plan.checkpoint_every_steps,
                 "max_seq_len": load.seq_len if self.goal == ADAPT else plan.config.max_seq_len}
        own = {"batch_size": load.batch} if self.goal == SFT else {"tokens_per_step": round(load.tokens_per_step)}
        return known | own

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
                            measured_speed=float(real["tokens_per_second"]), fits=bool(measured.get("fits", True)))
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

    # the measured fit -------------------------------------------------------------------------------------------------

    def key(self) -> str:
        """A name for the settings on which memory and speed depend, whatever the method."""
        held = {k: v for k, v in self.values.items() if k not in NO_WEIGHT}
        return _hash([self.goal, held, self.examples, self.device.title if self.device else ""])

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

    # the look at real batches -----------------------------------------------------------------------------------------

    def mask_key(self) -> str:
        """A name for the settings that decide what is trained on; behind the colon for those that decide what the batches look like."""
        held = [{k: self.values[k] for k in LOOKED_AT}, [(s.id, s.accepted, s.rejected, s.new) for s in self.chosen_sets]]
        return f"{_hash(held)}:{_hash({k: self.values[k] for k in SHOWN_WITH})}"

    @property
    def can_look(self) -> bool:
        return self.goal == SFT and bool(self.model and self.chosen_sets)

    @property
    def look_is_due(self) -> bool:
        """Whether nobody has looked at what would be trained on with these settings."""
        return self.can_look and self.looked_key.partition(":")[0] != self.mask_key().partition(":")[0]

    @property
    def look_is_old(self) -> bool:
        """Whether the batches would look different by now, though nothing else would be found in them."""
        return self.can_look and self.looked_key != self.mask_key()

    def take_look(self, key: str, looked: Looked | None, wrong: FledgeError | None = None) -> None:
        self.looked_key, self.looked_wrong = key, wrong
        if looked is not None:
            self.looked = looked
        elif wrong is not None:
            self.looked = None
        self.resolve()

    # steps ------------------------------------------------------------------------------------------------------------

    @property
    def steps(self) -> tuple[str, ...]:
        return STEPS[self.goal]

    @property
    def following(self) -> str:
        place = self.steps.index(self.step) + 1
        return self.steps[place] if place < len(self.steps) else ""

    def step_of(self, field: str) -> str:
        """The step on which a setting stands."""
        if field == "model":
            return "goal"
        if field in DATA_FIELDS:
            return "data"
        if self.goal == SFT and field in MASK_FIELDS:
            return "template"
        named = field in self.spec_class.model_fields
        return "method" if named and self.spec_class.option_of(field).group == METHOD else "start"

    def problems(self, step: str = "") -> list[Problem]:
        """What is in the way of going on from a step; of all steps, without one."""
        found = list(self.spec_class.field_problems(self.values))
        if self.models is not None and self.model is not None and self.model.config is None:
            found.append(Problem("model", tr("This model cannot be read."), tr("Choose another one.")))
        if self.wrong is not None and not any(p.field == self.wrong.field for p in found):
            found.append(Problem(self.wrong.field, self.wrong.sentence, self.wrong.remedy))
        if self.goal == SFT and self.chosen_sets and not self.examples:
            found.append(Problem("only_accepted" if self.values["only_accepted"] else "examples",
                                 tr("None of these examples is accepted yet.") if self.values["only_accepted"] else
                                 tr("All of these examples are rejected."),
                                 tr("Look them through, or take those too that nobody has looked at.") if self.values["only_accepted"] else
                                 tr("Choose another set.")))
        if self.goal == SFT and self.looked is not None and not self.look_is_due:
            found += [Problem(p.field if p.field in MASK_FIELDS else "template", p.sentence, p.remedy)
                      for p in self.looked.problems if p.blocks and p.code != "no_examples"]
        return found if not step else [p for p in found if self.step_of(p.field) == step]

    @property
    def blocked(self) -> bool:
        """Whether the look at real batches says that a run would be for nothing."""
        return self.goal == SFT and self.looked is not None and self.looked.blocked

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
        """Whether a run can be started now. A look that is due comes first; one that failed does not stand in the way."""
        return not self.problems() and not self.look_is_due

    # in words ---------------------------------------------------------------------------------------------------------

    def goes_in(self) -> tuple[str, str]:
        model = self.model.title if self.model else tr("No model yet")
        if self.goal == ADAPT:
            corpus = self.corpus(str(self.values["corpus"]))
            words = tr("{corpus}, about {tokens} tokens", corpus=corpus.title, tokens=count(self.corpus_tokens(corpus.id))) \
                if corpus else tr("and text of a domain")
            return model, words
        if not self.chosen_sets:
            return model, tr("and instruction data")
        words = trn("{shown} example", "{shown} examples", self.examples, shown=number(self.examples))
        return model, tr("{examples}, replayed text", examples=words) if self.values["replay"] else words

    def will_happen(self) -> tuple[str, str]:
        plan = self.plan
        if plan is None:
            return (tr("It learns to answer") if self.goal == SFT else tr("It goes on reading")), tr("as long as you choose")
        here = next((m for m in self.methods() if m.id == plan.method), None)
        title = tr("{method}, {steps}", method=tr("Full training") if plan.method == "full" else method_title(plan.method),
                   steps=trn("{shown} step", "{shown} steps", plan.steps, shown=number(plan.steps)))
        if here is not None and here.measured_seconds:
            return title, tr("{time}, {memory}, measured", time=duration(here.measured_seconds),
                             memory=size(here.measured_memory))
        return title, tr("about {time}, {memory} by formula", time=duration(plan.cost.seconds), memory=size(plan.cost.memory))

    def comes_out(self) -> tuple[str, str]:
        return tr("Nothing yet"), tr("a model that answers") if self.goal == SFT else tr("a model that knows the domain")

    def changed(self) -> list[str]:
        """Settings that differ from their defaults, inputs left out."""
        return [k for k in self.spec().changed() if k not in ("model", "title", "examples", "corpus", "replay")]


def _defaults(spec: type[TuningSpec]) -> dict[str, Any]:
    return {name: field.get_default(call_default_factory=True) for name, field in spec.model_fields.items()}


def _hash(told: Any) -> str:
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()[:24]


__all__ = ["ADAPT", "DATA_FIELDS", "MASK_FIELDS", "METHOD", "MODEL", "SFT", "SPECS", "STEPS", "FinetunePlan", "MethodFacts", "StartModel",
           "method_title", "step_title"]
