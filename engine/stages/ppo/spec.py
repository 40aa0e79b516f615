"""Settings of proximal policy optimisation with a reward model. No torch."""

from typing import ClassVar, Literal

from engine.contract.spec import Problem, option
from engine.contract.tuning import SCHEDULE, TuningSpec
from engine.contract.words import tr

REWARD, PROMPTS, LOSS = "reward", "prompts", "loss"


class PpoSpec(TuningSpec):
    """A policy answers prompts, a reward model scores the answers, and what scored better becomes likelier, held near the model it starts
    from."""

    stage: ClassVar[str] = "ppo"
    rows: ClassVar[tuple[str, ...]] = ("examples", "pairs", "unlabelled")

    reward: str = option("", label=tr("Reward model"), artifact="reward_model", group=REWARD, help=tr("What scores the answers."))
    whiten_rewards: bool = option(False, label=tr("Whiten rewards"), advanced=True, group=REWARD,
        help=tr("Rewards of a round are scaled to a spread of one; their mean stays."))
    missing_end: float = option(-1.0, label=tr("Penalty for no end"), ge=-1000, le=0, advanced=True, group=REWARD,
        help=tr("Added to the score of answers that were cut at the longest length."))

    examples: tuple[str, ...] = option((), label=tr("Prompts of instruction data"), group=PROMPTS,
        help=tr("Sets of the library whose questions are asked."))
    pairs: tuple[str, ...] = option((), label=tr("Prompts of pairs"), group=PROMPTS, help=tr("Sets of pairs whose prompts are asked."))
    only_accepted: bool = option(False, label=tr("Only accepted examples"), advanced=True, group=PROMPTS,
        help=tr("Leave out what nobody has reviewed. Rejected examples are always left out."))
    template: str = option("", label=tr("Chat template"), advanced=True, group=PROMPTS,
        help=tr("How a conversation becomes text (Jinja). Empty: the model's own."))
    system: str = option("", label=tr("System prompt"), advanced=True, group=PROMPTS, help=tr("Put before conversations that have none."))
    validation_percent: float = option(5.0, label=tr("For validation"), unit="%", ge=0, le=50, group=PROMPTS,
        help=tr("Prompts that are only used to measure the reward."))
    validation_prompts: int = option(64, label=tr("Prompts measured"), ge=0, le=100_000, advanced=True, group=PROMPTS,
        help=tr("At most so many of those kept for validation are answered at each measurement."))

    compile: Literal["auto", "on", "off"] = option("off", label="torch.compile", hidden=True,
        help=tr("Nothing is compiled: answers differ in length in every round."))
    rollouts: int = option(20, label=tr("Rounds"), ge=1, le=10_000_000, group=SCHEDULE,
        help=tr("How often a batch of answers is sampled and learned from."))
    batch_size: int = option(128, label=tr("Answers a round"), ge=2, le=65_536, group=SCHEDULE,
        help=tr("Sampled with the policy as it is then."))
    ppo_epochs: int = option(2, label=tr("Passes over a round"), ge=1, le=100, advanced=True, group=SCHEDULE,
        help=tr("How often each round's answers are learned from."))
    minibatches: int = option(1, label=tr("Updates a pass"), ge=1, le=1024, advanced=True, group=SCHEDULE,
        help=tr("Into how many updates of the weights a pass is cut."))
    max_new_tokens: int = option(128, label=tr("Longest answer"), unit=tr("tokens"), ge=1, le=131_072, group=SCHEDULE,
        help=tr("Answers are cut here."))
    temperature: float = option(1.0, label=tr("Temperature"), gt=0, le=5, advanced=True, group=SCHEDULE,
        help=tr("Of the sampled answers. 1 is the policy's own distribution."))

    kl_coef: float = option(0.05, label=tr("KL coefficient"), ge=0, le=100, group=LOSS,
        help=tr("How much each token costs by which the policy moves away from where it started."))
    kl_target: float = option(0.0, label=tr("KL target"), unit=tr("nats"), ge=0, le=10_000, advanced=True, group=LOSS,
        help=tr("Adapts the coefficient towards this divergence of whole answers (Ziegler et al., 2019). 0: the coefficient stays."))
    kl_horizon: int = option(10_000, label=tr("KL horizon"), unit=tr("answers"), ge=1, le=10_000_000, advanced=True, group=LOSS,
        help=tr("How slowly the coefficient adapts."))
    kl_stop: float = option(0.0, label=tr("Stop at KL"), unit=tr("nats"), ge=0, le=10_000, advanced=True, group=LOSS,
        help=tr("Ends the run when the divergence of whole answers passes this. 0: never."))
    clip: float = option(0.2, label=tr("Clipping"), gt=0, le=10, advanced=True, group=LOSS,
        help=tr("How far one round may move the probability of a token (clip_eps)."))
    value_clip: float = option(0.2, label=tr("Value clipping"), ge=0, le=10, advanced=True, group=LOSS,
        help=tr("How far one round may move a value. 0: not clipped."))
    value_weight: float = option(0.1, label=tr("Value loss"), ge=0, le=100, advanced=True, group=LOSS,
        help=tr("Weight of the value head's loss."))
    entropy_weight: float = option(0.0, label=tr("Entropy"), ge=0, le=10, advanced=True, group=LOSS,
        help=tr("Rewards varied answers a little."))
    gamma: float = option(1.0, label="Gamma", gt=0, le=1, advanced=True, group=LOSS, help=tr("Discount of later rewards."))
    lam: float = option(0.95, label="Lambda", ge=0, le=1, advanced=True, group=LOSS,
        help=tr("Of generalised advantage estimation: 1 trusts rewards, 0 the value head."))
    value: Literal["shared", "separate"] = option("shared", label=tr("Value model"), advanced=True, group=LOSS,
        help=tr("A head on the policy itself, or a model of its own that starts from the reward model (more memory)."),
        choices=(("shared", tr("A head on the policy")), ("separate", tr("A model of its own"))))

    def problems(self) -> list[Problem]:
        found = super().problems()
        if not self.reward:
            found.append(Problem("reward", tr("There is no reward model."), tr("Train one from labelled pairs, or choose one.")))
        if not (self.examples or self.pairs):
            found.append(Problem("examples", tr("There are no prompts."),
                                 tr("Choose instruction data, or pairs, whose prompts are asked.")))
        if self.batch_size % self.minibatches:
            found.append(Problem("minibatches", tr("{batch} answers cannot be cut into {parts} equal parts.", batch=self.batch_size,
                                                   parts=self.minibatches), tr("Choose a divisor of the answers a round.")))
        return found
