"""The wizard of preference tuning without its window: from labels directly (DPO), or with a reward model (PPO). No Qt, no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from desktop.models.pairs_choice import PairsChoice
from desktop.models.pairs_look import RewardChoice
from desktop.models.tuning_choice import NO_WEIGHT
from engine.contract.machine import DeviceFacts
from engine.contract.spec import Problem
from engine.contract.tuning import TuningSpec
from engine.contract.units import count, number, size
from engine.contract.words import tr, trn
from engine.model import memory
from engine.model.config import ModelConfig
from engine.project.examples import ExampleSet
from engine.stages.dpo import plan as dpo_plan
from engine.stages.dpo.spec import DpoSpec
from engine.stages.ppo import plan as ppo_plan
from engine.stages.ppo.spec import PpoSpec
from engine.training.tuning_plan import Load, TuningPlan

DPO, PPO = "dpo", "ppo"
DPO_DATA = ("pairs", "least_strength", "annotators", "validation_percent", "template", "system", "max_seq_len", "too_long", "loss", "beta",
            "label_smoothing", "simpo_margin", "sft_weight", "good_weight", "bad_weight", "replay", "replay_documents")
PPO_DATA = ("reward", "examples", "pairs", "only_accepted", "template", "system", "validation_percent", "validation_prompts", "rollouts",
            "batch_size", "max_new_tokens", "ppo_epochs", "minibatches", "temperature", "kl_coef", "kl_target", "kl_horizon", "kl_stop",
            "missing_end", "whiten_rewards")
GUESSED_PROMPT = 48
"""Tokens of a prompt that nobody has looked at."""

LOSSES = (("sigmoid", tr("DPO (sigmoid)"), tr("The usual one. A good first choice with labels of people.")),
          ("ipo", "IPO", tr("Stops at a set distance: overfits less when labels are few and certain.")),
          ("hinge", tr("Hinge (SLiC)"), tr("Pairs that are told apart well enough teach nothing more.")),
          ("simpo", "SimPO", tr("Counts each token alike, so that long answers are not favoured. Needs no reference.")),
          ("kto", "KTO", tr("Takes each answer by itself, good or bad: also learns where both were bad.")))
"""(value, name, what it is good for)."""


@dataclass(frozen=True)
class InMemory:
    """A model that is in memory while PPO runs: what it is for, and its bytes (0: it shares another's)."""

    name: str
    what: str
    bytes: int


class TunePlan(PairsChoice):
    """Also the reward models and the sets whose prompts are asked."""

    SPECS: ClassVar[dict[str, type[TuningSpec]]] = {DPO: DpoSpec, PPO: PpoSpec}
    STEPS: ClassVar[dict[str, tuple[str, ...]]] = {DPO: ("goal", "data", "method", "start"), PPO: ("goal", "data", "method", "start")}
    INPUTS: ClassVar[tuple[str, ...]] = ("model", "title", "pairs", "examples", "reward", "replay")
    LIGHT: ClassVar[tuple[str, ...]] = (*NO_WEIGHT, "template", "system", "beta", "label_smoothing", "simpo_margin", "good_weight",
                                        "bad_weight", "kl_coef", "kl_target", "kl_horizon", "kl_stop", "clip", "value_clip", "value_weight",
                                        "entropy_weight", "gamma", "lam", "whiten_rewards", "missing_end", "only_accepted")

    def __init__(self, device: DeviceFacts | None = None) -> None:
        self.rewards: list[RewardChoice] | None = None
        self.examples: list[ExampleSet] = []
        super().__init__(device)

    # what there is ----------------------------------------------------------------------------------------------------

    def set_prompts(self, examples: Sequence[ExampleSet], rewards: Sequence[RewardChoice]) -> None:
        self.examples, self.rewards = [s for s in examples if s.count], list(rewards)
        self.suggest()
        self.resolve()

    def suggest(self) -> None:
        """Also the newest reward model; prompts of the pairs it was made for, else of all instruction data."""
        super().suggest()
        if self.rewards is None or self.sets is None:
            return
        own = self._own[PPO]
        if all(r.id != own["reward"] for r in self.rewards):
            own["reward"] = self.rewards[0].id if self.rewards else ""
        known = {s.id for s in self.examples}
        own["examples"] = tuple(id for id in own["examples"] if id in known)
        if not own["pairs"] and not own["examples"]:
            learned = self.reward.sets if self.reward is not None else ()
            own["pairs"] = tuple(s.id for s in self.sets if s.id in learned) or tuple(s.id for s in self.sets)
            own["examples"] = () if own["pairs"] else tuple(s.id for s in self.examples)

    @property
    def reward(self) -> RewardChoice | None:
        return next((r for r in self.rewards or () if r.id == self._own[PPO]["reward"]), None)

    @property
    def takes_bad(self) -> bool:
        return self.goal == DPO and self.values["loss"] == "kto"

    @property
    def usable(self) -> int:
        found = super().usable
        return found + (self.known.bad if self.takes_bad and self.known is not None else 0)

    @property
    def prompts(self) -> int:
        """Rows whose prompts would be asked; each prompt counts once only when the run reads them."""
        own = self._own[PPO]
        taken = sum(s.accepted + (0 if own["only_accepted"] else s.new) for s in self.examples if s.id in own["examples"])
        return taken + sum(s.count for s in self.sets or () if s.id in own["pairs"])

    @property
    def answers(self) -> int:
        """How many PPO samples in all."""
        values = self._own[PPO]
        return values["rollouts"] * values["batch_size"] if _whole(values["rollouts"], values["batch_size"]) else 0

    # what follows -----------------------------------------------------------------------------------------------------

    def load_of(self, spec: TuningSpec, config: ModelConfig) -> Load | None:
        if isinstance(spec, DpoSpec):
            return self.load_of_pairs(spec, config)
        assert isinstance(spec, PpoSpec)
        if not self.prompts:
            return None
        device, reward = self.device or DeviceFacts(id="cpu", kind="cpu", title=""), self.reward
        return ppo_plan.load_of(spec, config, reward.config if reward is not None and reward.config is not None else config, device,
                                prompts=self.prompts, mean_prompt=GUESSED_PROMPT, longest_prompt=GUESSED_PROMPT)

    def planned(self, spec: TuningSpec, config: ModelConfig, load: Load, device: DeviceFacts) -> TuningPlan:
        if isinstance(spec, PpoSpec):
            return super().planned(ppo_plan.settled(spec, config), config, load, device)
        assert isinstance(spec, DpoSpec)
        rate = dpo_plan.rate_of(spec, config.hidden_size, load.tokens_per_step)
        return super().planned(spec.model_copy(update={"learning_rate": rate}), config, load, device)

    def in_memory(self, spec: PpoSpec | None = None, config: ModelConfig | None = None, dtype: str = "float32") -> list[InMemory]:
        """The models of PPO, the trained one first."""
        config = config or (self.model.config if self.model else None)
        if config is None:
            return []
        values = spec.model_dump() if spec is not None else self.values
        lora = values["method"] != "full"
        own = self.reward.config if self.reward is not None and self.reward.config is not None else config
        held = memory.weights(config, dtype)
        found = [InMemory(tr("Policy"), tr("learns"), held),
                 InMemory(tr("Reference"), tr("the policy without its adapter") if lora else tr("where it started, frozen"),
                          0 if lora else held),
                 InMemory(tr("Reward model"), tr("scores the answers, frozen"), memory.weights(own, dtype)),
                 InMemory(tr("Value"), tr("a head on the policy") if values["value"] == "shared" else tr("a model of its own, learns"),
                          0 if values["value"] == "shared" else 4 * memory.weights(own, "float32"))]
        return found

    def method_notes(self) -> str:
        if self.goal == DPO:
            if self.values["loss"] == "simpo":
                return tr("SimPO has no reference: only the model that learns is in memory.")
            return tr("What the reference says of each answer is computed once, before the first step: no second model stays in memory.")
        beside = [m for m in self.in_memory()[1:] if m.bytes]
        if not beside:
            return ""
        words = ", ".join(tr("{name} {size}", name=m.name.lower(), size=size(m.bytes)) for m in beside)
        shared = " " + tr("With LoRA the reference is the same weights without the adapter.") if self.values["method"] != "full" else ""
        return tr("In memory besides: {models}.", models=words) + shared

    def automatic(self) -> dict[str, Any]:
        found = super().automatic()
        if self.goal == DPO:
            found["beta"] = "2" if self.values["loss"] == "simpo" else "0.1"
        else:
            found.pop("max_seq_len", None)
        return found

    def weighs(self) -> Any:
        return super().weighs() if self.goal == DPO else [self.prompts]

    # in words ---------------------------------------------------------------------------------------------------------

    def suggested_title(self) -> str:
        return tr("{model}, {way}", model=self.model.title if self.model else tr("model"), way="DPO" if self.goal == DPO else "PPO")

    def model_sentence(self) -> str:
        model = self.model
        if model is None:
            return ""
        if model.untrained:
            return tr("It has random weights: it knows no language yet. Choose one that was trained.")
        if not model.chat:
            return tr("A base model does not answer yet. Fine-tune it first: preferences refine answers, they do not teach to answer.")
        if self.goal == PPO:
            return tr("It answers. What it writes is scored, and what scores better becomes likelier.")
        return tr("It answers. Of each pair the better answer becomes likelier than the other, compared with how it was.")

    def step_of(self, field: str) -> str:
        return "data" if field in (DPO_DATA if self.goal == DPO else PPO_DATA) else super().step_of(field)

    def step_title(self, step: str) -> str:
        return {"goal": tr("Way"), "data": tr("Pairs and loss") if self.goal == DPO else tr("Reward and prompts"), "method": tr("Method"),
                "start": tr("Start")}[step]

    def further_problems(self) -> list[Problem]:
        found = super().further_problems()
        if self.goal == PPO and self.values["reward"] and self.rewards is not None and self.reward is None:
            found.append(Problem("reward", tr("This reward model is gone."), tr("Choose another one.")))
        if self.goal == PPO and (self.values["examples"] or self.values["pairs"]) and self.sets is not None and not self.prompts:
            found.append(Problem("examples", tr("These sets hold no prompt that may be asked."), tr("Choose another set.")))
        return found

    def goes_in(self) -> tuple[str, str]:
        model = self.model.title if self.model else tr("No model yet")
        if self.goal == DPO:
            return model, self.pairs_words()
        return model, tr("{reward}, {prompts}", reward=self.reward.title if self.reward else tr("a reward model"),
                         prompts=trn("{shown} prompt", "{shown} prompts", self.prompts, shown=number(self.prompts)))

    def happens_first(self) -> tuple[str, str]:
        return tr("It learns what you prefer"), tr("from labels, or with a reward model")

    def comes_out(self) -> tuple[str, str]:
        return tr("Nothing yet"), tr("a model that answers as you prefer")

    def learns_from(self) -> str:
        if self.goal == DPO:
            return self.pairs_words()
        return trn("{shown} answer of its own", "{shown} answers of its own", self.answers, shown=number(self.answers))

    def further_summary(self) -> list[tuple[str, str]]:
        if self.goal == DPO:
            return [(tr("Loss"), next(name for value, name, _ in LOSSES if value == self.values["loss"]))]
        reward = self.reward.title if self.reward else "–"
        return [(tr("Scored by"), reward), (tr("Prompts"), number(self.prompts)),
                (tr("Rounds"), tr("{rounds} of {answers} answers", rounds=number(self.values["rollouts"]),
                                  answers=number(self.values["batch_size"])))]

    def reward_facts(self) -> list[tuple[str, str]]:
        """Of the chosen reward model."""
        reward = self.reward
        if reward is None:
            return []
        found = []
        if reward.accuracy is not None:
            interval = tr("{share} %", share=f"{100 * reward.accuracy:.1f}")
            if reward.low is not None and reward.high is not None:
                interval = tr("{share} % ({low} to {high})", share=f"{100 * reward.accuracy:.1f}", low=f"{100 * reward.low:.0f}",
                              high=f"{100 * reward.high:.0f}")
            found.append((tr("Held-out accuracy"), interval))
        if reward.pairs:
            found.append((tr("Learned from"), trn("{shown} pair", "{shown} pairs", reward.pairs, shown=number(reward.pairs))))
        if reward.config is not None:
            found.append((tr("Parameters"), count(reward.config.parameters)))
        return found

    def reward_warning(self) -> tuple[str, str] | None:
        """Where the reward model is not to be relied on."""
        reward = self.reward
        if reward is None or reward.accuracy is None:
            return None
        if reward.low is not None and reward.low <= 0.5:
            return (tr("This reward model may be guessing"), tr("Its held-out accuracy cannot be told from chance. PPO would chase noise: "
                                                                "label more pairs first."))
        return None


def _whole(*values: Any) -> bool:
    return all(isinstance(v, int) for v in values)
