"""The wizard of reasoning without its window: which model, problems, verifier and recipe, and how much of it. No Qt, no torch."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from desktop.models.reasoning_look import TrialChoice, VerifierChoice, VersionChoice, composed
from desktop.models.tuning_choice import NO_WEIGHT, StartModel, TuningChoice
from engine.contract.composition import Composition, reference
from engine.contract.errors import FledgeError
from engine.contract.machine import DeviceFacts
from engine.contract.spec import Problem
from engine.contract.tuning import SCHEDULE, TuningSpec
from engine.contract.units import number
from engine.contract.words import tr, trn
from engine.model import memory
from engine.model.config import ModelConfig
from engine.project.problems import ProblemSet
from engine.stages.grpo import plan as grpo_plan
from engine.stages.grpo.spec import LOSS, PRESETS, PROBLEMS, REWARD, GrpoSpec
from engine.training.tuning_plan import Load, TuningPlan
from engine.verifiers import registry

GRPO = "grpo"
GUESSED_PROMPT = 48
"""Tokens of a prompt that nobody has looked at."""
FEW_HELD_OUT = 30
"""Fewer held-out problems than this tell changes of ten points from chance no better than a coin."""
AMOUNT = ("rollouts", "prompts", "num_generations", "max_new_tokens", "learning_rate", "temperature", "top_p", "top_k", "passes",
          "minibatches")
SMALL = 50_000_000
"""Parameters up to which a CPU is quick enough for long tries."""
SANDBOX, REWARD_MODEL, LOCAL_MODEL = "sandbox", "reward_model", "local_llm"

RECIPES = {
    "grpo": tr("The first one. Each answer counts alike, and a KL term holds it to where it started: with full training, a second model in "
               "memory."),
    "dapo": tr("Each token counts alike, what is rare may grow further, groups without a signal are asked anew, cut answers are left out. "
               "Take this first."),
    "dr_grpo": tr("Neither an answer's length nor a group's spread changes how much it counts. Plain, and good in few rounds."),
    "gspo": tr("Looks at whole answers instead of tokens: steadier where answers are long and models large.")}
"""What each preset is good for."""

QUICK = ("number", "math", "text", "choice", "programs")
"""Kinds of verifiers that need no settings to begin with."""


def quick(kind: str) -> str:
    """The setting of a built-in verifier with its defaults."""
    return json.dumps([{"name": kind}])


class ReasoningPlan(TuningChoice):
    """`sets`, `verifiers` are None until it is known what there is. `sandbox`: why code cannot be verified here, "" where it can."""

    SPECS: ClassVar[dict[str, type[TuningSpec]]] = {GRPO: GrpoSpec}
    STEPS: ClassVar[dict[str, tuple[str, ...]]] = {GRPO: ("model", "problems", "verifier", "way", "method", "start")}
    INPUTS: ClassVar[tuple[str, ...]] = ("model", "title", "problem_sets", "verifier")
    LIGHT: ClassVar[tuple[str, ...]] = (*NO_WEIGHT, "template", "system", "curriculum", "full_score", "missing_end", "mean", "ratio",
                                        "clip_low", "clip_high", "scale", "cut", "gap_limit", "gap_cap", "temperature")

    def __init__(self, device: DeviceFacts | None = None) -> None:
        self.sets: list[ProblemSet] | None = None
        self.verifiers: list[VerifierChoice] | None = None
        self.trials: list[TrialChoice] = []
        self.sandbox = ""
        self._chosen: set[str] = set()  # amounts that a person chose: they stay whatever machine and model
        super().__init__(device)

    # what there is ----------------------------------------------------------------------------------------------------

    def set_problems(self, sets: Sequence[ProblemSet], verifiers: Sequence[VerifierChoice], trials: Sequence[TrialChoice] = (),
                     sandbox: str = "") -> None:
        self.sets, self.verifiers, self.trials, self.sandbox = list(sets), list(verifiers), list(trials), sandbox
        self.suggest()
        self.resolve()

    def set_device(self, device: DeviceFacts | None) -> None:
        super().set_device(device)
        self.suggest()
        self.resolve()

    def set_values(self, values: dict[str, Any]) -> None:
        self._chosen |= {name for name in values if name in AMOUNT and values[name] != self.values[name]}
        super().set_values(values)
        if "model" in values:
            self.suggest()
            self.resolve()

    def suggest(self) -> None:
        """Also the newest set of problems, the newest verifier, and amounts that suit model and machine, while nobody chose others."""
        super().suggest()
        own = self._own[GRPO]
        if self.sets is not None:
            known = {s.id for s in self.sets}
            own["problem_sets"] = tuple(id for id in own["problem_sets"] if id in known) or tuple(s.id for s in self.sets[:1])
        if self.verifiers and not own["verifier"]:
            own["verifier"] = next((v.ref for one in self.verifiers for v in one.versions[:1] if v.runs), "")
        own.update({name: value for name, value in self.amounts().items() if name not in self._chosen})

    def _fill(self, goal: str, values: dict[str, Any]) -> None:
        self._chosen = values.keys() & set(AMOUNT)
        super()._fill(goal, values)

    def draft(self) -> dict[str, Any]:
        return {**super().draft(), "chosen": sorted(self._chosen)}

    def recall_draft(self, kept: Any) -> None:
        chosen = kept.get("chosen") if isinstance(kept, dict) else None
        self._chosen = {str(name) for name in chosen} & set(AMOUNT) if isinstance(chosen, list) else set()
        super().recall_draft(kept)

    def amounts(self) -> dict[str, Any]:
        """What suits the model and the machine: a CPU takes shorter answers and fewer of them than a card."""
        config = self.model.config if self.model is not None else None
        if config is None or self.device is None:
            return {}
        half = max(8, config.max_seq_len // 2)
        if self.device.kind in ("cuda", "mps"):
            return {"rollouts": 200, "prompts": 32 if self.device.kind == "cuda" else 16, "num_generations": 16, "max_new_tokens":
                    min(512, half)}
        return {"rollouts": 80, "prompts": 16 if config.parameters <= SMALL else 8, "num_generations": 8,
                "max_new_tokens": min(64 if config.parameters <= SMALL else 128, half)}

    def first_model(self, models: Sequence[StartModel]) -> StartModel:
        """The newest that answers and did not learn from problems yet."""
        answering = [m for m in models if m.chat] or list(models)
        return next((m for m in answering if m.stage != GRPO), answering[0])

    # problems ---------------------------------------------------------------------------------------------------------

    @property
    def chosen_sets(self) -> list[ProblemSet]:
        return [s for s in self.sets or () if s.id in self.values["problem_sets"]]

    @property
    def held_out(self) -> int:
        """Problems of the chosen sets that only measure; those in several sets count more than once."""
        return sum(s.held_out for s in self.chosen_sets)

    @property
    def problems_to_learn(self) -> int:
        return sum(s.count - s.held_out for s in self.chosen_sets)

    @property
    def measured_problems(self) -> int:
        """Of those held out, how many are tried at each measurement."""
        most = self.values["validation_prompts"]
        return min(self.held_out, most) if isinstance(most, int) else self.held_out

    @property
    def difficulties(self) -> list[tuple[float, int]]:
        """(difficulty, problems) over the chosen sets, easy ones first."""
        found: dict[float, int] = {}
        for one in self.chosen_sets:
            for difficulty, count in one.difficulties:
                found[difficulty] = found.get(difficulty, 0) + count
        return sorted(found.items())

    @property
    def answers(self) -> int:
        """Sampled in all, groups that are asked anew left out."""
        values = self.values
        parts = [values[name] for name in ("rollouts", "prompts", "num_generations")]
        return parts[0] * parts[1] * parts[2] if all(isinstance(v, int) for v in parts) else 0

    # the verifier -----------------------------------------------------------------------------------------------------

    @property
    def version(self) -> tuple[VerifierChoice, VersionChoice] | None:
        """The verifier of the library that is chosen, and which version of it; None for others."""
        wanted = str(self.values["verifier"]).strip()
        return next(((one, v) for one in self.verifiers or () for v in one.versions if v.ref == wanted), None)

    @property
    def quick_kind(self) -> str:
        """The built-in that is chosen with nothing changed; "" for everything else."""
        made = self.composition
        return next((kind for kind in QUICK if made is not None and not self.version and made.text() == _text(kind)), "")

    @property
    def composition(self) -> Composition | None:
        return composed(str(self.values["verifier"] or ""), self.verifiers or ())

    @property
    def needs(self) -> frozenset[str]:
        made = self.composition
        try:
            return frozenset(registry.needs(made)) if made is not None else frozenset()
        except FledgeError:
            return frozenset()

    def verifier_words(self) -> str:
        """What the chosen verifier is called, in a few words; "" for none."""
        found = self.version
        if found is not None:
            return tr("{title}, version {number}", title=found[0].title, number=found[1].number)
        made = self.composition
        return ", ".join(registry.KINDS[part.name].title if part.name in registry.KINDS and not part.title else part.title or part.name
                         for part in made.parts) if made is not None else ""

    def trial(self) -> TrialChoice | None:
        """What the workbench has sampled with this model of these problems."""
        chosen = set(self.values["problem_sets"])
        return next((t for t in self.trials if t.model == self.values["model"] and t.sets & chosen), None)

    # what follows -----------------------------------------------------------------------------------------------------

    @property
    def recipe(self) -> Mapping[str, Any]:
        """What stands behind every setting that was left open."""
        return PRESETS[str(self.values["preset"])].values

    def load_of(self, spec: TuningSpec, config: ModelConfig) -> Load | None:
        assert isinstance(spec, GrpoSpec)
        if self.problems_to_learn <= 0:
            return None
        device = self.device or DeviceFacts(id="cpu", kind="cpu", title="")
        return grpo_plan.load_of(grpo_plan.settled(spec, config), config, device, prompts=self.problems_to_learn,
                                 mean_prompt=GUESSED_PROMPT, longest_prompt=GUESSED_PROMPT)

    def planned(self, spec: TuningSpec, config: ModelConfig, load: Load, device: DeviceFacts) -> TuningPlan:
        assert isinstance(spec, GrpoSpec)
        return super().planned(grpo_plan.settled(spec, config), config, load, device)

    def automatic(self) -> dict[str, Any]:
        found = super().automatic()
        found.pop("max_seq_len", None)
        for name, value in self.recipe.items():
            choice = next((words for key, words in GrpoSpec.option_of(name).choices if key == value), None)
            found[name] = choice if choice is not None else f"{value:g}" if isinstance(value, float) else str(value)
        return found

    def weighs(self) -> Any:
        return [self.problems_to_learn, sorted(self.needs)]

    def method_notes(self) -> str:
        config = self.model.config if self.model else None
        beta = self.values["beta"] if self.values["beta"] is not None else self.recipe["beta"]
        notes = []
        if config is not None and isinstance(beta, (int, float)) and beta > 0:
            notes.append(tr("The reference is the same weights without the adapter.") if self.values["method"] != "full" else
                         tr("The model as it was stands in memory besides, {count} parameters.", count=number(config.parameters))
                         if memory.weights(config, "float32") else "")
        if REWARD_MODEL in self.needs:
            notes.append(tr("The verifier's reward model stands in memory besides."))
        return " ".join(notes)

    # in words ---------------------------------------------------------------------------------------------------------

    def suggested_title(self) -> str:
        return tr("{model}, {way}", model=self.model.title if self.model else tr("model"), way=PRESETS[str(self.values["preset"])].title)

    def model_sentence(self) -> str:
        model = self.model
        if model is None:
            return ""
        if model.untrained:
            return tr("It has random weights: it knows no language yet. Choose one that was trained.")
        if not model.chat:
            return tr("A base model does not answer yet. Fine-tune it first, also on some solved problems: it learns only from tries that "
                      "are right at times.")
        return tr("It answers. It learns from its own tries, so it must be right at times: how often, the workbench of verifiers measures.")

    def step_of(self, field: str) -> str:
        if field in GrpoSpec.model_fields:
            group = GrpoSpec.option_of(field).group
            if group in (PROBLEMS, REWARD):
                return "problems" if group == PROBLEMS else "verifier"
            if group == LOSS or field in AMOUNT:
                return "way"
        return super().step_of(field)

    def step_title(self, step: str) -> str:
        return {"model": tr("Model"), "problems": tr("Problems"), "verifier": tr("Verifier"), "way": tr("Recipe"), "method": tr("Method"),
                "start": tr("Start")}[step]

    def further_problems(self) -> list[Problem]:
        found = super().further_problems()
        values = self.values
        if self.sets is not None and values["problem_sets"] and self.problems_to_learn <= 0:
            found.append(Problem("problem_sets", tr("All problems of these sets are held out, or there are none."),
                                 tr("Choose another set, or hold out fewer.")))
        if self.verifiers is not None and values["verifier"] and _is_reference(values["verifier"]) and self.version is None:
            found.append(Problem("verifier", tr("This version of the verifier is gone."), tr("Choose another one.")))
        version = self.version
        if version is not None and version[1].composition is None:
            found.append(Problem("verifier", tr("This verifier refers to one that is gone."), tr("Mend it, or choose another one.")))
        if version is not None and version[1].composition is not None:
            found += registry.problems(version[1].composition)[:1]
        if version is not None and version[1].untrusted:
            found.append(Problem("verifier", tr("Nobody here has trusted this verifier yet."), tr("Open it, read it, and trust it.")))
        if self.sandbox and SANDBOX in self.needs:
            found.append(Problem("verifier", self.sandbox, ""))
        return found

    def held_out_warning(self) -> tuple[str, str] | None:
        """(title, words) where too little is held out to know what comes of it."""
        if not self.chosen_sets or self.problems_to_learn <= 0:
            return None
        if not self.measured_problems:
            return (tr("Nothing is held out"), tr("Whether it solves problems it has not seen is not measured then, the best step is not "
                                                  "known, and nothing warns when it learns to please the verifier alone."))
        if self.measured_problems < FEW_HELD_OUT:
            return (tr("Few are held out"), trn("{shown} problem tells little: chance alone moves what is measured.",
                                                "{shown} problems tell little: chance alone moves what is measured by ten points and more.",
                                                self.measured_problems, shown=number(self.measured_problems)))
        return None

    def goes_in(self) -> tuple[str, str]:
        model = self.model.title if self.model else tr("No model yet")
        return model, self.problem_words()

    def problem_words(self) -> str:
        if not self.problems_to_learn:
            return tr("and problems with known answers")
        return tr("{problems}, {held} held out", problems=trn("{shown} problem", "{shown} problems", self.problems_to_learn,
                                                              shown=number(self.problems_to_learn)), held=number(self.held_out))

    def happens_first(self) -> tuple[str, str]:
        return tr("It tries, a verifier checks"), tr("what was right becomes likelier")

    def comes_out(self) -> tuple[str, str]:
        return tr("Nothing yet"), tr("a model that is right more often")

    def learns_from(self) -> str:
        return trn("{shown} answer of its own", "{shown} answers of its own", self.answers, shown=number(self.answers))

    def further_summary(self) -> list[tuple[str, str]]:
        values = self.values
        return [(tr("Problems"), number(self.problems_to_learn)),
                (tr("Measured on"), tr("{count} held out", count=number(self.measured_problems)) if self.measured_problems else
                 tr("nothing")),
                (tr("Verifier"), self.verifier_words() or "–"), (tr("Recipe"), PRESETS[str(values["preset"])].title),
                (tr("Rounds"), tr("{rounds} of {answers} answers", rounds=number(values["rollouts"]),
                                  answers=number(values["prompts"] * values["num_generations"])))]


def _is_reference(text: str) -> bool:
    try:
        return reference(str(text)) is not None
    except FledgeError:
        return False


def _text(kind: str) -> str:
    made = composed(quick(kind), ())
    assert made is not None
    return made.text()


SCHEDULED = tuple(name for name in GrpoSpec.model_fields if GrpoSpec.option_of(name).group == SCHEDULE and name not in AMOUNT)
"""Settings of the schedule that are no amounts."""
