"""Settings of supervised fine-tuning: which conversations, what of them is learned, how they are put together. No torch."""

from typing import ClassVar, Literal

from engine.contract.spec import Problem, option
from engine.contract.tuning import SCHEDULE, TuningSpec
from engine.contract.words import tr

DATA = "data"


class SftSpec(TuningSpec):
    stage: ClassVar[str] = "sft"
    rows: ClassVar[tuple[str, ...]] = ("examples",)

    examples: tuple[str, ...] = option((), label=tr("Instruction data"), group=DATA,
        help=tr("Sets of conversations in the library. They are copied into the run when it is made."))
    only_accepted: bool = option(False, label=tr("Only accepted examples"), group=DATA,
        help=tr("Leave out what nobody has reviewed. Rejected examples are always left out."))
    template: str = option("", label=tr("Chat template"), advanced=True, group=DATA,
        help=tr("How a conversation becomes text (Jinja). Empty: the model's own."))
    system: str = option("", label=tr("System prompt"), advanced=True, group=DATA,
        help=tr("Put before conversations that have none."))
    loss_on: Literal["assistant", "last", "all"] = option("assistant", label=tr("Learn"), group=DATA,
        help=tr("Which tokens the model learns to write: the assistant's, only its last answer's, or all."),
        choices=(("assistant", tr("The assistant's words")), ("last", tr("The last answer only")), ("all", tr("Everything"))))
    max_seq_len: int | None = option(None, label=tr("Longest example"), unit=tr("tokens"), ge=16, le=131_072, group=DATA,
        help=tr("The model's context unless set."))
    too_long: Literal["leave_out", "cut"] = option("leave_out", label=tr("Longer ones"), group=DATA,
        help=tr("Examples that do not fit: left out and counted, or cut at the end (the answer then has no end)."),
        choices=(("leave_out", tr("Leave out")), ("cut", tr("Cut"))))
    packing: bool = option(True, label=tr("Packing"), group=DATA,
        help=tr("Several examples share a row, blind to one another: no padding, fewer steps. Nothing is cut or lost."))
    validation_percent: float = option(5.0, label=tr("For validation"), unit="%", ge=0, le=50, group=DATA,
        help=tr("Examples that are not trained on; the same for every run on the same set."))
    replay: str = option("", label=tr("Replay corpus"), artifact="corpus", advanced=True, group=DATA,
        help=tr("Text of pretraining mixed into every step, so that the model does not forget it."))
    replay_documents: int = option(0, label=tr("Replayed documents"), unit=tr("a step"), ge=0, le=4096, advanced=True, group=DATA,
        help=tr("Documents of the replay corpus in each step. 0: none, or a quarter of the batch where a replay corpus is chosen."))

    epochs: float = option(3.0, label=tr("Epochs"), gt=0, le=1000, group=SCHEDULE, help=tr("How often each example is seen."))
    batch_size: int | None = option(None, label=tr("Batch"), unit=tr("examples"), ge=1, le=65_536, group=SCHEDULE,
        help=tr("Examples between two updates of the weights. From their number unless set."))

    def problems(self) -> list[Problem]:
        found = super().problems()
        if not self.examples:
            found.append(Problem("examples", tr("There is nothing to learn from."), tr("Choose at least one set of instruction data.")))
        if self.replay_documents and not self.replay:
            found.append(Problem("replay", tr("Replay needs a corpus."), tr("Choose the corpus whose documents are replayed.")))
        return found
