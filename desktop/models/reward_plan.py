"""The wizard of a reward model without its window. No Qt, no torch."""

from typing import ClassVar

from desktop.models.pairs_choice import PairsChoice
from desktop.models.tuning_choice import NO_WEIGHT
from engine.contract.tuning import TuningSpec
from engine.contract.words import tr
from engine.model.config import ModelConfig
from engine.stages.reward.spec import LOSS, RewardSpec
from engine.training.tuning_plan import Load

REWARD = "reward"
PAIRS_FIELDS = ("pairs", "least_strength", "annotators", "validation_percent", "ties", "template", "system", "max_seq_len",
                "too_long")
FAIR_LOSS = ("margin", "ties", "centre", "label_smoothing", "learning_curve", "score_unlabelled")


def step_title(step: str) -> str:
    return {"model": tr("Model"), "pairs": tr("Pairs"), "method": tr("Method"), "start": tr("Start")}[step]


class RewardPlan(PairsChoice):
    SPECS: ClassVar[dict[str, type[TuningSpec]]] = {REWARD: RewardSpec}
    STEPS: ClassVar[dict[str, tuple[str, ...]]] = {REWARD: ("model", "pairs", "method", "start")}
    INPUTS: ClassVar[tuple[str, ...]] = ("model", "title", "pairs")
    LIGHT: ClassVar[tuple[str, ...]] = (*NO_WEIGHT, "template", "system", *FAIR_LOSS)

    @property
    def takes_ties(self) -> bool:
        return bool(self.values["ties"])

    def suggested_title(self) -> str:
        return tr("Reward of {model}", model=self.model.title if self.model else tr("model"))

    def model_sentence(self) -> str:
        model = self.model
        if model is None:
            return ""
        if model.untrained:
            return tr("It has random weights: it knows no language yet, and cannot tell answers apart. Choose one that was trained.")
        if model.chat:
            return tr("It answers: it has seen the form of conversations, so judging them is near to what it knows.")
        return tr("A base model: it knows language, but has seen no conversation. The fine-tuned one usually judges better.")

    def load_of(self, spec: TuningSpec, config: ModelConfig) -> Load | None:
        assert isinstance(spec, RewardSpec)
        return self.load_of_pairs(spec, config, predicts=False)

    def step_of(self, field: str) -> str:
        return "pairs" if field in PAIRS_FIELDS else super().step_of(field)

    def step_title(self, step: str) -> str:
        return step_title(step)

    def goes_in(self) -> tuple[str, str]:
        return (self.model.title if self.model else tr("No model yet")), self.pairs_words()

    def happens_first(self) -> tuple[str, str]:
        return tr("It learns your taste"), tr("minutes")

    def comes_out(self) -> tuple[str, str]:
        return tr("Nothing yet"), tr("a model that scores answers")


__all__ = ["LOSS", "PAIRS_FIELDS", "REWARD", "RewardPlan", "step_title"]
