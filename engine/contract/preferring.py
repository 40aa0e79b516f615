"""Settings shared by stages that learn from pairs. No torch, no stage."""

from typing import ClassVar, Literal

from engine.contract.spec import Problem, option
from engine.contract.tuning import SCHEDULE, TuningSpec
from engine.contract.words import tr

PAIRS = "pairs"


class PairsSpec(TuningSpec):
    """Base of reward and dpo: which pairs, how long they may be, how often they are seen."""

    rows: ClassVar[tuple[str, ...]] = ("pairs",)

    pairs: tuple[str, ...] = option((), label=tr("Pairs"), group=PAIRS,
        help=tr("Sets of pairs in the library. Those with a label are copied into the run when it is made."))
    least_strength: int = option(0, label=tr("Least strength"), ge=0, le=3, advanced=True, group=PAIRS,
        help=tr("Leave out labels that say less: 2 better, 3 much better. 0: all, also those of which nobody said how much."))
    annotators: tuple[str, ...] = option((), label=tr("Annotators"), advanced=True, group=PAIRS,
        help=tr("Only labels of these people. Empty: everybody's; where they disagree, the majority."))
    template: str = option("", label=tr("Chat template"), advanced=True, group=PAIRS,
        help=tr("How a conversation becomes text (Jinja). Empty: the model's own."))
    system: str = option("", label=tr("System prompt"), advanced=True, group=PAIRS,
        help=tr("Put before conversations that have none."))
    max_seq_len: int | None = option(None, label=tr("Longest answer with its prompt"), unit=tr("tokens"), ge=16, le=131_072, group=PAIRS,
        help=tr("The model's context unless set."))
    too_long: Literal["leave_out", "cut_prompt"] = option("cut_prompt", label=tr("Longer ones"), group=PAIRS,
        help=tr("Pairs that do not fit: left out, or with the oldest turns of the prompt taken away until they fit."),
        choices=(("cut_prompt", tr("Cut the prompt")), ("leave_out", tr("Leave out"))))
    validation_percent: float = option(10.0, label=tr("For validation"), unit="%", ge=0, le=50, group=PAIRS,
        help=tr("Pairs that are not trained on; all pairs of one prompt are on one side."))
    epochs: float = option(1.0, label=tr("Epochs"), gt=0, le=1000, group=SCHEDULE, help=tr("How often each pair is seen."))
    batch_size: int | None = option(None, label=tr("Batch"), unit=tr("pairs"), ge=1, le=65_536, group=SCHEDULE,
        help=tr("Pairs between two updates of the weights. From their number unless set."))

    def problems(self) -> list[Problem]:
        found = super().problems()
        if not self.pairs:
            found.append(Problem("pairs", tr("There is nothing to learn from."), tr("Choose at least one set of labelled pairs.")))
        return found
