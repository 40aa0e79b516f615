"""Settings of domain fine-tuning: continued pretraining of a model on another corpus, with replay against forgetting. No torch."""

from typing import ClassVar

from engine.contract.spec import Problem, option
from engine.contract.tuning import SCHEDULE, TuningSpec
from engine.contract.words import tr

DATA = "data"


class AdaptSpec(TuningSpec):
    stage: ClassVar[str] = "adapt"

    corpus: str = option("", label=tr("Corpus of the domain"), artifact="corpus", group=DATA,
        help=tr("The text the model is to know: say, of medicine, of law, of your own notes."))
    replay: str = option("", label=tr("General text"), artifact="corpus", group=DATA,
        help=tr("A corpus of what the model knows already. Some of it is mixed in, so that it is not forgotten, and the loss on it is "
                "measured before and after."))
    replay_percent: float = option(20.0, label=tr("Replay"), unit="%", ge=0, le=90, group=DATA,
        help=tr("Share of general text among what is trained on."))
    max_seq_len: int | None = option(None, label=tr("Context length"), unit=tr("tokens"), ge=16, le=131_072, advanced=True, group=DATA,
        help=tr("Length of the rows trained on. The model's context unless set, but at most 2,048."))

    epochs: float = option(1.0, label=tr("Epochs"), gt=0, le=1000, group=SCHEDULE, help=tr("How often the domain's text is seen."))
    tokens_per_step: int | None = option(None, label=tr("Batch"), unit=tr("tokens"), ge=16, le=2**24, group=SCHEDULE,
        help=tr("Tokens between two updates of the weights. From the amount of text unless set."))
    eval_tokens: int = option(100_000, label=tr("Validate on"), unit=tr("tokens"), ge=1_000, le=2**31, advanced=True, group=SCHEDULE,
        help=tr("At most this much of each validation text."))

    def problems(self) -> list[Problem]:
        found = super().problems()
        if not self.corpus:
            found.append(Problem("corpus", tr("There is no text to learn."), tr("Choose the corpus of the domain.")))
        if self.replay and self.replay == self.corpus:
            found.append(Problem("replay", tr("The general text is the domain's own."), tr("Choose another corpus, or none.")))
        return found
