"""The pretraining wizard without its window: steps, settings, the size dial, what can go on and what is in the way. No Qt.

It holds plain values and asks engine/stages/pretrain/dial.py what they come to; the result is a frozen PretrainSpec. A measurement is
kept with the settings it was made with, so that going back to them shows it again.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from engine.contract.errors import FledgeError
from engine.contract.machine import DeviceFacts
from engine.contract.spec import Problem
from engine.contract.units import count, duration, number, size
from engine.contract.words import tr
from engine.model.exportability import TokenizerFacts, Verdict, verdicts
from engine.project.artifacts import Artifact
from engine.stages.pretrain import dial
from engine.stages.pretrain.dial import Plan, Stop
from engine.stages.pretrain.spec import PretrainSpec

STEPS = ("size", "data", "schedule", "fit", "start")
FIELDS_OF_STEP = {"size": ("design",), "data": ("data",), "schedule": ("schedule", "run"), "fit": (), "start": ()}
MINUTES = (2, 5, 15, 30, 60, 180, 480, 1440, 4320, 10080)
LONGEST = 60 * 86_400.0
MOST_STOPS = 10
REMEMBERED = 40
NO_WEIGHT = ("title", "seed", "corpus", "sample_prompts", "checkpoint_every_steps", "checkpoint_every_minutes", "keep_checkpoints",
             "patience", "learning_rate", "matrix_learning_rate", "weight_decay", "beta1", "beta2", "warmup_steps", "decay", "decay_share",
             "final_lr_share", "grad_clip", "sample_temperature")


def step_title(step: str) -> str:
    return {"size": tr("Size"), "data": tr("Data"), "schedule": tr("Schedule"), "fit": tr("Measured fit"), "start": tr("Start")}[step]


@dataclass(frozen=True)
class Measurement:
    """What a few real steps said: `memory` bytes at the peak of `limit` there are, `seconds` for the whole run, `when` in unix time."""

    memory: int
    limit: int
    tokens_per_second: float
    seconds: float
    energy_kwh: float | None = None
    steps: int = 3
    when: float = 0.0

    @classmethod
    def of(cls, said: dict[str, Any], when: float) -> "Measurement":
        """From what the measuring process prints."""
        real, formula = said["measured"], said.get("formula") or {}
        joules = real.get("joules")
        return cls(memory=int(real["memory"]), limit=int(formula.get("limit") or 0), seconds=float(real["seconds"]),
                   tokens_per_second=float(real["tokens_per_second"]), energy_kwh=joules / 3.6e6 if joules is not None else None, when=when)

    @property
    def fits(self) -> bool:
        return not self.limit or self.memory <= self.limit


@dataclass(frozen=True)
class DialStop:
    """A stop of the dial as it is shown: two lines, the depth it stands for, whether it fits."""

    size: str
    time: str
    depth: int
    fits: bool


class PretrainPlan:
    """Set values and inputs, read `plan`, `stops`, `problems()`. `plan` is None while `wrong` (a FledgeError) says why."""

    def __init__(self, device: DeviceFacts | None = None, values: dict[str, Any] | None = None) -> None:
        self.step = STEPS[0]
        self.device = device
        self.values: dict[str, Any] = {**defaults(), **(values or {})}
        self.corpus: Artifact | None = None
        self.tokenizer: Artifact | None = None
        self.tokens: Artifact | None = None
        self.by_time = False
        self.plan: Plan | None = None
        self.wrong: FledgeError | None = None
        self.stops: list[DialStop] = []
        self.most_stops = MOST_STOPS
        self._measured: dict[str, Measurement] = {}
        self._resolve()

    # inputs and settings ----------------------------------------------------------------------------------------------

    def set_device(self, device: DeviceFacts | None) -> None:
        self.device = device
        self._resolve()

    def set_inputs(self, corpora: Sequence[Artifact], tokenizers: Sequence[Artifact], tokens: Sequence[Artifact]) -> None:
        """What the project has, newest first. A choice that is gone, or none yet, becomes the newest that goes together."""
        self.tokenizer = _chosen(tokenizers, self.values["tokenizer"])
        parent = self.tokenizer.parents[0] if self.tokenizer is not None and self.tokenizer.parents else ""
        self.corpus = _chosen(corpora, self.values["corpus"] or parent)
        self.values["corpus"] = self.corpus.id if self.corpus else ""
        self.values["tokenizer"] = self.tokenizer.id if self.tokenizer else ""
        wanted = (self.values["corpus"], self.values["tokenizer"])
        self.tokens = next((t for t in tokens if tuple(t.parents) == wanted), None)
        self._resolve()

    def set_values(self, values: dict[str, Any]) -> None:
        """Some settings are new; the others stay."""
        self.values.update(values)
        self._resolve()

    def choose_stop(self, index: int) -> None:
        """The dial was moved. Width, heads and MLP follow it: what was overridden for another size is dropped."""
        if 0 <= index < len(self.stops):
            self.set_values({"depth": self.stops[index].depth, "width": None, "num_heads": None, "num_kv_heads": None,
                             "intermediate_size": None})

    def set_by_time(self, by_time: bool) -> None:
        """The dial's stops are times to spend instead of sizes."""
        self.by_time = by_time
        self._make_stops()

    def set_most_stops(self, most: int) -> None:
        """How many stops there is room for."""
        most = max(4, min(MOST_STOPS, most))
        if most != self.most_stops:
            self.most_stops = most
            self._make_stops()

    @property
    def stop(self) -> int:
        """The place of the present depth on the dial."""
        depth = int(self.values["depth"])
        exact = [i for i, s in enumerate(self.stops) if s.depth == depth]
        return exact[0] if exact else min(range(len(self.stops)), key=lambda i: abs(self.stops[i].depth - depth), default=0)

    @property
    def limit(self) -> int:
        """The first stop that does not fit; their number when all do."""
        return next((i for i, s in enumerate(self.stops) if not s.fits), len(self.stops))

    # what follows -----------------------------------------------------------------------------------------------------

    @property
    def vocab_size(self) -> int:
        return int(self.tokenizer.facts.get("vocab_size", 0)) if self.tokenizer else 8192

    @property
    def train_bytes(self) -> int:
        if self.corpus is None:
            return 0
        splits = self.corpus.facts.get("splits", {})
        return int(splits.get("train", {}).get("bytes", 0) or self.corpus.facts.get("bytes", 0))

    @property
    def train_tokens(self) -> int:
        """Tokens to learn from: counted where the corpus was tokenized, else by what the tokenizer measured, else 0 (unknown)."""
        if self.tokens is not None:
            return int(self.tokens.facts.get("train_tokens", 0))
        each = float(self.tokenizer.facts.get("bytes_per_token", 0) or 0) if self.tokenizer else 0.0
        return round(self.train_bytes / each) if each else 0

    def spec(self) -> PretrainSpec:
        """The frozen spec; a SettingError names the first field that cannot be."""
        return PretrainSpec.check(self.values)

    def _resolve(self) -> None:
        self.wrong = None
        try:
            self.plan = dial.resolve(self.spec(), self.vocab_size, self.train_tokens, self.train_bytes, self.device)
        except FledgeError as wrong:
            self.plan, self.wrong = None, wrong
        self._make_stops()

    def _make_stops(self) -> None:
        if self.plan is None:
            return  # the words under the stops stay as they were until the settings make sense again
        try:
            self.stops = self._times(self.spec()) if self.by_time else self._sizes(self.spec())
        except FledgeError as wrong:
            self.wrong = wrong

    def _stops(self, spec: PretrainSpec, depths: Iterable[int]) -> list[Stop]:
        return dial.stops(spec, self.vocab_size, self.train_tokens, self.train_bytes, self.device, depths)

    def _sizes(self, spec: PretrainSpec) -> list[DialStop]:
        found = self._stops(spec, sorted({*dial.DEPTHS, spec.depth}))
        last = next((i for i, s in enumerate(found) if not s.fits or s.seconds > LONGEST), len(found) - 1)
        shown = found[:max(last + 1, 5, next(i for i, s in enumerate(found) if s.depth == spec.depth) + 1)]
        _thin(shown, self.most_stops, spec.depth)
        return [DialStop(count(s.parameters), duration(s.seconds) if s.fits else tr("does not fit"), s.depth, s.fits) for s in shown]

    def _times(self, spec: PretrainSpec) -> list[DialStop]:
        every = [s for s in self._stops(spec, range(1, 33)) if s.fits]
        made: list[DialStop] = []
        for minutes in MINUTES:
            within = [s for s in every if s.seconds <= 60 * minutes]
            if within and (not made or within[-1].depth != made[-1].depth):
                made.append(DialStop(tr("in {time}", time=duration(60 * minutes)), count(within[-1].parameters), within[-1].depth, True))
        here = next((s for s in every if s.depth == spec.depth), None)
        if here is not None and all(s.depth != here.depth for s in made):  # the present size stands where it is, with its own time
            made.append(DialStop(tr("in {time}", time=duration(here.seconds)), count(here.parameters), here.depth, True))
            made.sort(key=lambda s: s.depth)
        _thin(made, self.most_stops, spec.depth)
        return made or self._sizes(spec)[:5]

    def verdicts(self) -> tuple[Verdict, ...]:
        """Where the design will load."""
        if self.plan is None:
            return ()
        facts = self.tokenizer.facts if self.tokenizer else {}
        known = TokenizerFacts(split=str(facts.get("split", "" if facts.get("imported") else "llama-bpe")), vocab_size=self.vocab_size,
                               byte_level=bool(facts.get("byte_level", facts.get("backend", "tiktoken") == "tiktoken")))
        return verdicts(self.plan.config, known)

    def automatic(self) -> dict[str, Any]:
        """What the settings left to the dial come to, by field."""
        if self.plan is None:
            return {}
        plan, config = self.plan, self.plan.config
        return {"tokens": plan.tokens, "tokens_per_step": plan.tokens_per_step, "steps": plan.steps,
                "tie_embeddings": config.tie_embeddings, "sample_every": plan.sample_every,
                "width": config.hidden_size, "num_heads": config.num_heads,
                "num_kv_heads": config.num_kv_heads, "intermediate_size": config.intermediate_size, "learning_rate": plan.learning_rate,
                "matrix_learning_rate": plan.matrix_learning_rate, "weight_decay": plan.weight_decay, "warmup_steps": plan.warmup_steps,
                "micro_batch_size": plan.micro_batch_size, "eval_every": plan.eval_every,
                "checkpoint_every_steps": plan.checkpoint_every_steps}

    def learning_rates(self) -> list[tuple[float, float]]:
        """(step, learning rate) at the corners of the schedule and enough points between for a cosine."""
        if self.plan is None:
            return []
        plan = self.plan
        begin = max(plan.warmup_steps, round(plan.steps * (1 - plan.decay_share))) if plan.decay != "constant" else plan.steps
        points = [(0.0, 0.0), (float(plan.warmup_steps), 1.0), (float(begin), 1.0)]
        for i in range(1, 41):
            share, step = i / 40, begin + (plan.steps - begin) * i / 40
            if plan.decay == "linear":
                points.append((step, 1 - share * (1 - plan.final_lr_share)))
            elif plan.decay == "cosine":
                points.append((step, plan.final_lr_share + (1 - plan.final_lr_share) * (1 + math.cos(math.pi * share)) / 2))
        return [(step, share * plan.learning_rate) for step, share in points]

    # the measured fit -------------------------------------------------------------------------------------------------

    def key(self) -> str:
        """A name for the settings on which memory and speed depend."""
        held = {k: v for k, v in self.values.items() if k not in NO_WEIGHT}
        told = json.dumps([held, self.vocab_size, self.device.title if self.device else ""], sort_keys=True, default=str)
        return hashlib.sha256(told.encode()).hexdigest()[:24]

    @property
    def measured(self) -> Measurement | None:
        """The last measurement of exactly these settings."""
        return self._measured.get(self.key())

    def take_measurement(self, key: str, made: Measurement) -> None:
        self._measured[key] = made

    def remembered(self) -> dict[str, Any]:
        """The newest measurements as plain values, to be kept; `recall` takes them back."""
        newest = sorted(self._measured.items(), key=lambda item: item[1].when)[-REMEMBERED:]
        return {key: asdict(made) for key, made in newest}

    def recall(self, kept: Any) -> None:
        """Measurements of earlier days. What cannot be read is left out."""
        for key, values in (kept.items() if isinstance(kept, dict) else ()):
            try:
                self._measured[str(key)] = Measurement(**values)
            except TypeError:
                continue

    # steps ------------------------------------------------------------------------------------------------------------

    def problems(self, step: str = "") -> list[Problem]:
        """What is in the way of going on from a step (of all, without one): wrong values and choices that are missing."""
        groups = FIELDS_OF_STEP.get(step, ())
        found = [*PretrainSpec.field_problems(self.values)]
        if self.wrong is not None and not found:
            found.append(Problem(self.wrong.field, self.wrong.sentence, self.wrong.remedy))
        if not step or not groups:
            return found
        return [p for p in found if not p.field or _group(p.field) in groups]

    def warnings(self) -> list[Problem]:
        """What may run, but should be known before: from the dial, and from the measurement."""
        found = list(self.plan.problems) if self.plan is not None else []
        if self.measured is not None and not self.measured.fits:
            found.append(Problem("depth", tr("Measured, it does not fit into the device's memory."), tr("Choose a smaller size or batch.")))
        return found

    def can_go(self, step: str) -> bool:
        """Whether a step can be entered: everything before it is in order."""
        before = STEPS[:STEPS.index(step)]
        return not any(self.problems(each) for each in before if FIELDS_OF_STEP[each])

    def go(self, step: str) -> bool:
        if step in STEPS and (STEPS.index(step) < STEPS.index(self.step) or self.can_go(step)):
            self.step = step
            return True
        return False

    def next(self) -> bool:
        place = STEPS.index(self.step)
        return place + 1 < len(STEPS) and self.go(STEPS[place + 1])

    def back(self) -> bool:
        place = STEPS.index(self.step)
        return place > 0 and self.go(STEPS[place - 1])

    @property
    def following(self) -> str:
        """The step after this one, "" on the last."""
        place = STEPS.index(self.step)
        return STEPS[place + 1] if place + 1 < len(STEPS) else ""

    # words ------------------------------------------------------------------------------------------------------------

    def default_title(self) -> str:
        """A name for the model: its corpus and its size."""
        title = (self.corpus.title if self.corpus else "").strip() or "model"
        word = title.split()[0].partition(".")[0].lower().strip(",;:") or "model"
        return f"{word}-{count(self.plan.config.parameters).replace(chr(0xa0), '').lower()}" if self.plan else word

    def goes_in(self) -> tuple[str, str]:
        if self.corpus is None or self.tokenizer is None:
            return tr("Nothing yet"), tr("a corpus and a tokenizer")
        tokens = self.train_tokens or round(self.train_bytes / dial.BYTES_PER_TOKEN)
        about = "" if self.tokens is not None else tr("about ")
        return (tr("{corpus}, {tokenizer}", corpus=self.corpus.title, tokenizer=self.tokenizer.title),
                tr("{about}{tokens} tokens, vocabulary {vocabulary}", about=about, tokens=count(tokens),
                   vocabulary=number(self.vocab_size)))

    def will_happen(self) -> tuple[str, str]:
        if self.plan is None:
            return tr("Cannot start"), self.wrong.sentence if self.wrong else ""
        seconds = self.measured.seconds if self.measured else self.plan.estimate.seconds
        memory = self.measured.memory if self.measured else self.plan.estimate.memory
        how = tr("measured") if self.measured else tr("by formula")
        return (tr("{tokens} tokens in {time}", tokens=count(self.plan.tokens), time=duration(seconds)),
                tr("{memory} at the peak, {how}", memory=size(memory), how=how))

    def comes_out(self) -> tuple[str, str]:
        every = self.plan.checkpoint_every_steps if self.plan else 0
        return tr("Nothing yet"), tr("a checkpoint every {steps} steps", steps=number(every)) if every else tr("a model at the end")


def defaults() -> dict[str, Any]:
    """The settings of a fresh PretrainSpec."""
    made = PretrainSpec()
    return {name: getattr(made, name) for name in PretrainSpec.model_fields}


def _thin(stops: list[Any], most: int, depth: int) -> None:
    """Keep the first, the last, the chosen one, and others evenly between."""
    if len(stops) <= most:
        return
    places = [round(i * (len(stops) - 1) / (most - 1)) for i in range(most)]
    here = next((i for i, s in enumerate(stops) if s.depth == depth), -1)
    if here >= 0 and here not in places:
        places[min(range(1, most - 1), key=lambda i: abs(places[i] - here))] = here
    stops[:] = [stops[i] for i in sorted(set(places))]


def _group(name: str) -> str:
    return PretrainSpec.option_of(name).group if name in PretrainSpec.model_fields else ""


def _chosen(artifacts: Sequence[Artifact], id: str) -> Artifact | None:
    return next((a for a in artifacts if a.id == id), artifacts[0] if artifacts else None)


__all__ = ["DialStop", "Measurement", "PretrainPlan", "defaults", "step_title"]
