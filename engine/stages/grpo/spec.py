"""Settings of group relative policy optimisation with verifiers. No torch."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from engine.contract.composition import parse, reference
from engine.contract.errors import SettingError
from engine.contract.spec import Problem, option
from engine.contract.tuning import SCHEDULE, TuningSpec
from engine.contract.words import tr
from engine.verifiers.registry import problems

PROBLEMS, REWARD, LOSS = "problems", "reward", "loss"


@dataclass(frozen=True)
class Preset:
    """A published way to do it: what it fills in where the person left it open."""

    title: str
    source: str
    values: dict[str, Any]


PRESETS: dict[str, Preset] = {
    "grpo": Preset("GRPO", "Shao et al., 2024, DeepSeekMath, arXiv 2402.03300",
                   {"mean": "sequence", "ratio": "token", "clip_low": 0.2, "clip_high": 0.2, "scale": "group", "beta": 0.04,
                    "resample": 0, "cut": "keep"}),
    "dapo": Preset("DAPO", "Yu et al., 2025, arXiv 2503.14476",
                   {"mean": "token", "ratio": "token", "clip_low": 0.2, "clip_high": 0.28, "scale": "group", "beta": 0.0,
                    "resample": 2, "cut": "mask"}),
    "dr_grpo": Preset("Dr. GRPO", "Liu et al., 2025, arXiv 2503.20783",
                      {"mean": "constant", "ratio": "token", "clip_low": 0.2, "clip_high": 0.2, "scale": "none", "beta": 0.0,
                       "resample": 0, "cut": "keep"}),
    "gspo": Preset("GSPO", "Zheng et al., 2025, arXiv 2507.18071",
                   {"mean": "sequence", "ratio": "sequence", "clip_low": 3e-4, "clip_high": 4e-4, "scale": "group", "beta": 0.0,
                    "resample": 0, "cut": "keep"}),
}
"""Of each method what its paper gives; numbers of prompts, answers and tokens are the person's and the machine's matter."""


class GrpoSpec(TuningSpec):
    """A policy tries each problem several times, verifiers say how right each try was, and what was better than its group becomes
    likelier. None means: as the preset has it."""

    stage: ClassVar[str] = "grpo"
    rows: ClassVar[tuple[str, ...]] = ("verifier", "problems")

    problem_sets: tuple[str, ...] = option((), label=tr("Problems"), group=PROBLEMS,
        help=tr("Sets of problems of the library. Each problem needs an answer that the verifier can judge by."))
    template: str = option("", label=tr("Chat template"), advanced=True, group=PROBLEMS,
        help=tr("How a conversation becomes text (Jinja). Empty: the model's own."))
    system: str = option("", label=tr("System prompt"), advanced=True, group=PROBLEMS,
        help=tr("Put before conversations that have none."))
    validation_prompts: int = option(128, label=tr("Problems measured"), ge=0, le=100_000, advanced=True, group=PROBLEMS,
        help=tr("At most so many of the problems that are held out are tried at each measurement of how many are solved."))
    curriculum: Literal["off", "given", "measured"] = option("off", label=tr("Curriculum"), advanced=True, group=PROBLEMS,
        help=tr("Which problems come first: the easy ones by their given difficulty, harder ones joining in over the first half of the "
                "run; or, as measured on the way, those that are solved sometimes."),
        choices=(("off", tr("None")), ("given", tr("Easy ones first")), ("measured", tr("What can be learned from"))))

    verifier: str = option("", label=tr("Verifier"), group=REWARD,
        help=tr("What scores the answers: a version in the library (verifier-3@4), or parts with weights as JSON."))
    full_score: float = option(1.0, label=tr("Counts as solved from"), ge=-1e6, le=1e6, advanced=True, group=REWARD,
        help=tr("An answer with this reward or more is right where problems solved are counted."))
    missing_end: float = option(-0.5, label=tr("Penalty for no end"), ge=-1000, le=0, advanced=True, group=REWARD,
        help=tr("Added to the reward of answers that were cut at the longest length, where these are penalised."))

    compile: Literal["auto", "on", "off"] = option("off", label="torch.compile", hidden=True,
        help=tr("Nothing is compiled: answers differ in length in every round."))
    rollouts: int = option(80, label=tr("Rounds"), ge=1, le=10_000_000, group=SCHEDULE,
        help=tr("How often groups of answers are sampled and learned from."))
    prompts: int = option(16, label=tr("Problems a round"), ge=1, le=65_536, group=SCHEDULE,
        help=tr("Each is tried by a group of answers."))
    num_generations: int = option(8, label=tr("Answers a problem"), ge=2, le=4096, group=SCHEDULE,
        help=tr("The group an answer is compared with."))
    max_new_tokens: int = option(128, label=tr("Longest answer"), unit=tr("tokens"), ge=1, le=131_072, group=SCHEDULE,
        help=tr("Answers are cut here."))
    temperature: float = option(1.0, label=tr("Temperature"), gt=0, le=5, advanced=True, group=SCHEDULE,
        help=tr("Of the sampled answers. 1 is the policy's own distribution."))
    top_p: float = option(1.0, label=tr("Top-p"), gt=0, le=1, advanced=True, group=SCHEDULE,
        help=tr("Only the likeliest tokens that together have this probability are drawn. 1: all, as learning supposes."))
    top_k: int = option(0, label=tr("Top-k"), ge=0, le=1_000_000, advanced=True, group=SCHEDULE,
        help=tr("Only so many likeliest tokens are drawn. 0: all, as learning supposes."))
    passes: int = option(1, label=tr("Passes over a round"), ge=1, le=100, advanced=True, group=SCHEDULE,
        help=tr("How often each round's answers are learned from (μ)."))
    minibatches: int = option(1, label=tr("Updates a pass"), ge=1, le=1024, advanced=True, group=SCHEDULE,
        help=tr("Into how many updates of the weights a pass is cut. With one, and one pass, learning is fully on-policy."))

    preset: Literal["grpo", "dapo", "dr_grpo", "gspo"] = option("dapo", label=tr("Method"), group=LOSS,
        help=tr("Fills in what is left open below, as its paper has it."),
        choices=tuple((id, preset.title) for id, preset in PRESETS.items()))
    mean: Literal["sequence", "token", "constant"] | None = option(None, label=tr("Mean of the loss"), advanced=True, group=LOSS,
        help=tr("Over each answer's tokens, then over answers (GRPO); over all tokens (DAPO); or a sum whose divisor no length changes "
                "(Dr. GRPO)."),
        choices=((None, tr("By the method")), ("sequence", tr("Each answer alike")), ("token", tr("Each token alike")),
                 ("constant", tr("By the longest length"))))
    ratio: Literal["token", "sequence"] | None = option(None, label=tr("Ratio"), advanced=True, group=LOSS,
        help=tr("What is clipped: the change of each token's probability, or that of whole answers (GSPO)."),
        choices=((None, tr("By the method")), ("token", tr("Of tokens")), ("sequence", tr("Of answers"))))
    clip_low: float | None = option(None, label=tr("Clipping below"), gt=0, le=1, advanced=True, group=LOSS,
        help=tr("How far one round may lower a probability, as a share of it."))
    clip_high: float | None = option(None, label=tr("Clipping above"), gt=0, le=100, advanced=True, group=LOSS,
        help=tr("How far one round may raise it. A wider bound leaves room for what is rare (DAPO)."))
    scale: Literal["group", "batch", "none"] | None = option(None, label=tr("Scale of advantages"), advanced=True, group=LOSS,
        help=tr("Reward less the group's mean, divided by the spread of the group, of the round, or by nothing (Dr. GRPO)."),
        choices=((None, tr("By the method")), ("group", tr("Group")), ("batch", tr("Round")), ("none", tr("None"))))
    beta: float | None = option(None, label=tr("KL coefficient"), ge=0, le=100, group=LOSS,
        help=tr("How strongly the policy is held to where it started. 0 saves the memory and time of the reference."))
    resample: int | None = option(None, label=tr("Ask anew for groups without signal"), ge=0, le=100, advanced=True, group=LOSS,
        help=tr("Groups whose answers all got the same reward teach nothing. So many times more, other problems are tried in their place "
                "(dynamic sampling, DAPO)."))
    cut: Literal["keep", "mask", "penalise"] | None = option(None, label=tr("Cut answers"), advanced=True, group=LOSS,
        help=tr("Answers that were cut at the longest length: learned from like others, left out of the loss, or marked down."),
        choices=((None, tr("By the method")), ("keep", tr("Like others")), ("mask", tr("Left out")), ("penalise", tr("Marked down"))))
    gap_limit: float = option(0.05, label=tr("Gap corrected from"), unit=tr("nats"), ge=0, le=100, advanced=True, group=LOSS,
        help=tr("Where the probabilities that answers were drawn with differ by more from those that are trained, old probabilities are "
                "computed anew and each token is weighted by their ratio (truncated importance sampling)."))
    gap_cap: float = option(2.0, label=tr("Largest such weight"), ge=1, le=1000, advanced=True, group=LOSS,
        help=tr("Weights of tokens are cut here."))

    def filled(self) -> "GrpoSpec":
        """With the preset's value for each that was left open."""
        return self.model_copy(update={name: value for name, value in PRESETS[self.preset].values.items() if getattr(self, name) is None})

    @property
    def answers(self) -> int:
        """Of a round."""
        return self.prompts * self.num_generations

    @property
    def stride(self) -> int:
        """Updates of a round."""
        return self.passes * self.minibatches

    def problems(self) -> list[Problem]:
        found = super().problems()
        if not self.problem_sets:
            found.append(Problem("problem_sets", tr("There are no problems."), tr("Choose sets of problems with known answers.")))
        if not self.verifier:
            found.append(Problem("verifier", tr("There is no verifier."), tr("Choose one, or write one.")))
        else:
            try:
                if not reference(self.verifier):
                    found += problems(parse(self.verifier))
            except SettingError as wrong:
                found.append(Problem("verifier", wrong.sentence, wrong.remedy))
        if self.prompts % self.minibatches:
            found.append(Problem("minibatches", tr("{count} groups cannot be cut into {parts} equal parts.", count=self.prompts,
                                                   parts=self.minibatches), tr("Choose a divisor of the problems a round.")))
        return found
