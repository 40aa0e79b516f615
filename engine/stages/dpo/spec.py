"""Settings of direct preference optimisation and its relatives. No torch."""

from typing import ClassVar, Literal

from engine.contract.preferring import PairsSpec
from engine.contract.spec import Problem, option
from engine.contract.words import tr

LOSS = "loss"


class DpoSpec(PairsSpec):
    """The policy learns from pairs directly, held near the model it starts from."""

    stage: ClassVar[str] = "dpo"

    loss: Literal["sigmoid", "ipo", "hinge", "simpo", "kto"] = option("sigmoid", label=tr("Loss"), group=LOSS,
        help=tr("DPO is the usual one. IPO overfits less when labels are few and certain. SLiC's hinge stops at a margin. SimPO needs no "
                "reference and does not favour length. KTO learns from single answers, good or bad."),
        choices=(("sigmoid", tr("DPO (sigmoid)")), ("ipo", "IPO"), ("hinge", tr("Hinge (SLiC)")), ("simpo", "SimPO"), ("kto", "KTO")))
    beta: float | None = option(None, label="Beta", gt=0, le=1000, group=LOSS,
        help=tr("How tightly the policy is held: 0.1 unless set (SimPO 2)."))
    label_smoothing: float = option(0.0, label=tr("Label smoothing"), ge=0, lt=0.5, advanced=True, group=LOSS,
        help=tr("Share of labels taken to be wrong (conservative DPO). With DPO and SimPO only."))
    simpo_margin: float = option(1.0, label=tr("SimPO's margin"), ge=0, le=100, advanced=True, group=LOSS,
        help=tr("Its gamma: how much likelier, per token and times beta, the chosen answer must be."), visible_if=("loss", "simpo"))
    sft_weight: float = option(0.0, label=tr("SFT term"), ge=0, le=100, advanced=True, group=LOSS,
        help=tr("Adds this much of the chosen answer's own loss, which keeps it likely (RPO)."))
    good_weight: float = option(1.0, label=tr("Weight of good answers"), gt=0, le=100, advanced=True, group=LOSS,
        help=tr("KTO only."), visible_if=("loss", "kto"))
    bad_weight: float = option(1.0, label=tr("Weight of bad answers"), gt=0, le=100, advanced=True, group=LOSS,
        help=tr("KTO only."), visible_if=("loss", "kto"))
    replay: str = option("", label=tr("Replay corpus"), artifact="corpus", advanced=True, group=LOSS,
        help=tr("Text of pretraining mixed into every step, so that the model does not forget it."))
    replay_documents: int = option(0, label=tr("Replayed documents"), unit=tr("a step"), ge=0, le=4096, advanced=True, group=LOSS,
        help=tr("Documents of the replay corpus in each step. 0: none."))

    def problems(self) -> list[Problem]:
        found = super().problems()
        if self.label_smoothing and self.loss not in ("sigmoid", "simpo"):
            found.append(Problem("label_smoothing", tr("Label smoothing is for DPO's and SimPO's losses only."), tr("Set it to 0.")))
        if self.replay_documents and not self.replay:
            found.append(Problem("replay", tr("Replay needs a corpus."), tr("Choose the corpus whose documents are replayed.")))
        return found
