"""Settings of training a reward model. No torch."""

from typing import ClassVar

from engine.contract.preferring import PairsSpec
from engine.contract.spec import option
from engine.contract.tuning import SCHEDULE
from engine.contract.words import tr

LOSS = "loss"


class RewardSpec(PairsSpec):
    """Bradley and Terry's model on top of a checkpoint: one number for an answer."""

    stage: ClassVar[str] = "reward"
    rows: ClassVar[tuple[str, ...]] = ("pairs", "unlabelled")

    epochs: float = option(2.0, label=tr("Epochs"), gt=0, le=1000, group=SCHEDULE, help=tr("How often each pair is seen."))
    margin: float = option(0.0, label=tr("Margin by strength"), ge=0, le=10, advanced=True, group=LOSS,
        help=tr("How much higher the better answer must score for each degree of strength. 0: strength does not count."))
    ties: bool = option(True, label=tr("Learn from ties"), group=LOSS, help=tr("Equally good answers are taught to score alike."))
    centre: float = option(0.01, label=tr("Centring"), ge=0, le=10, advanced=True, group=LOSS,
        help=tr("Keeps scores around zero (Eisenstein et al., 2023). 0: off."))
    label_smoothing: float = option(0.0, label=tr("Label smoothing"), ge=0, lt=0.5, advanced=True, group=LOSS,
        help=tr("Share of labels taken to be wrong."))
    learning_curve: bool = option(True, label=tr("Learning curve"), advanced=True, group=LOSS,
        help=tr("After training, smaller heads are fitted on parts of the pairs, to estimate what more labels would bring."))
    score_unlabelled: bool = option(True, label=tr("Score what is not labelled"), group=LOSS,
        help=tr("After training, pairs nobody has labelled are scored, so that the least sure ones can be shown first."))
