"""What wizards decide that learn from labelled pairs: which sets, whose labels, and whether they are enough. No Qt, no torch."""

from collections.abc import Sequence
from typing import Any

from desktop.models.pairs_look import Labelled
from desktop.models.tuning_choice import StartModel, TuningChoice, hashed
from engine.contract.machine import DeviceFacts
from engine.contract.preferring import PairsSpec
from engine.contract.spec import Problem
from engine.contract.units import number
from engine.contract.words import tr, trn
from engine.model.config import ModelConfig
from engine.project.pair_sets import PairSet
from engine.training import pair_plan
from engine.training.tuning_plan import Load

FEW, USUAL, MANY = 100, 300, 1_000
"""Labels under which a reward model is mostly luck; with which first ones are made; from which it gets good."""
LETTERS_A_TOKEN = 4.0
PREFERRED = ("dpo", "ppo", "grpo")
LOOKED_AT = ("pairs", "annotators", "least_strength")


class PairsChoice(TuningChoice):
    """`sets` is None until it is known which there are; `labelled` what those chosen come to, None until somebody has counted."""

    def __init__(self, device: DeviceFacts | None = None) -> None:
        self.sets: list[PairSet] | None = None
        self.annotators: dict[str, int] = {}
        self.labelled: Labelled | None = None
        self._counted = ""
        super().__init__(device)

    def set_sets(self, sets: Sequence[PairSet], annotators: dict[str, int] | None = None) -> None:
        """Those with something in them."""
        self.sets = [s for s in sets if s.count]
        self.annotators = annotators or {}
        self.suggest()
        self.resolve()

    def suggest(self) -> None:
        """Also every set with labels, while none is chosen; what is gone is dropped."""
        super().suggest()
        if self.sets is None:
            return
        known = {s.id for s in self.sets}
        for own in self._own.values():
            if "pairs" in own:
                own["pairs"] = tuple(id for id in own["pairs"] if id in known)
            if "annotators" in own:
                own["annotators"] = tuple(who for who in own["annotators"] if who in self.annotators or not self.annotators)
            if "least_strength" in own and not own["pairs"]:
                own["pairs"] = tuple(s.id for s in self.sets if s.labelled)

    def first_model(self, models: Sequence[StartModel]) -> StartModel:
        """The newest that answers and was not tuned to preferences yet."""
        answering = [m for m in models if m.chat] or list(models)
        return next((m for m in answering if m.stage not in PREFERRED), answering[0])

    # the labels -------------------------------------------------------------------------------------------------------

    @property
    def chosen_sets(self) -> list[PairSet]:
        return [s for s in self.sets or () if s.id in self.values.get("pairs", ())]

    def count_key(self) -> str:
        """A name for what decides which labels are taken."""
        return hashed([{k: self.values.get(k) for k in LOOKED_AT}, [(s.id, s.labelled, s.count) for s in self.chosen_sets]])

    @property
    def count_is_due(self) -> bool:
        """Whether nobody has counted the labels of these sets."""
        return self.sets is not None and self.learns_from_labels and bool(self.chosen_sets) and self._counted != self.count_key()

    @property
    def learns_from_labels(self) -> bool:
        return issubclass(self.spec_class, PairsSpec)

    def take_count(self, key: str, labelled: Labelled) -> None:
        self._counted, self.labelled = key, labelled
        self.resolve()

    @property
    def known(self) -> Labelled | None:
        """What was counted, if it is of these sets."""
        return self.labelled if self.labelled is not None and self._counted == self.count_key() else None

    @property
    def takes_ties(self) -> bool:
        """Whether something is learned from ties."""
        return False

    @property
    def usable(self) -> int:
        """Pairs that training would take: counted, else as the sets say."""
        if self.known is not None:
            return self.known.pairs + (self.known.ties if self.takes_ties else 0)
        return sum(s.labelled for s in self.chosen_sets)

    @property
    def held_out(self) -> int:
        share = self.values["validation_percent"]
        return round(self.usable * share / 100) if isinstance(share, (int, float)) else 0

    def load_of_pairs(self, spec: PairsSpec, config: ModelConfig, predicts: bool = True) -> Load | None:
        """What the labels ask, their length in tokens guessed from their letters."""
        longest = pair_plan.longest_read(spec, config)
        train = self.usable - self.held_out
        if train <= 0:
            return None
        known = self.known
        mean = min(2.0 * longest, known.letters / LETTERS_A_TOKEN) if known is not None and known.letters else float(longest)
        most = min(2 * longest, round(known.longest / LETTERS_A_TOKEN)) if known is not None and known.longest else 2 * longest
        return pair_plan.load_of(spec, pairs=train, tokens_a_pair=max(2.0, mean), longest_pair=max(2, most), predicts=predicts)

    def automatic(self) -> dict[str, Any]:
        own = {"batch_size": self.plan.load.batch} if self.plan is not None and self.learns_from_labels else {}
        return super().automatic() | own

    def weighs(self) -> Any:
        return [self.usable, self.known.longest if self.known else 0]

    # in words ---------------------------------------------------------------------------------------------------------

    def further_problems(self) -> list[Problem]:
        if self.learns_from_labels and self.chosen_sets and self.known is not None and self.known.ties and not self.known.pairs and \
                (self.takes_ties or not self.usable):
            return [Problem("pairs", tr("All of these labels are ties: they never say which answer is better."),
                            tr("Label pairs of which one answer is better, or choose another set."))]
        if not self.learns_from_labels or not self.chosen_sets or self.usable:
            return []
        if self.known is None and self.count_is_due and any(s.labelled for s in self.chosen_sets):
            return []
        return [Problem("pairs", tr("None of these pairs is labelled yet."), tr("Label some, or choose another set."))]

    def warning(self) -> tuple[str, str] | None:
        """(title, words) where there are labels, but few; None where there are enough."""
        usable = self.usable
        if not usable or usable >= USUAL:
            return None
        if usable < FEW:
            return (tr("Few labels"), trn("From {shown} label little but chance is learned. {usual} are usual for a first try, a thousand "
                                          "or more for a good one.", "From {shown} labels little but chance is learned. {usual} are usual "
                                          "for a first try, a thousand or more for a good one.", usable, shown=number(usable),
                                          usual=number(USUAL)))
        return (tr("Not many labels"), tr("{shown} labels can be learned from; {usual} are usual for a first try, a thousand or more for a "
                                          "good one.", shown=number(usable), usual=number(USUAL)))

    def pairs_words(self) -> str:
        if self.known is None and not self.usable:
            return tr("and labelled pairs")
        return trn("{shown} labelled pair", "{shown} labelled pairs", self.usable, shown=number(self.usable))

    def learns_from(self) -> str:
        return self.pairs_words()
