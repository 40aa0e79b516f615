"""The fine-tuning wizard without its window: what is taught, from which model, with what data, by which method; what that takes by formula,
and what is in the way. No Qt, no torch.

Two stages share it: `sft` (conversations) and `adapt` (text of a domain). Settings that both have are kept when one turns to the other. A
measurement is kept with the settings it was made with.
"""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

from desktop.models.finetune_mask import Looked
from desktop.models.tuning_choice import NO_WEIGHT, MethodFacts, StartModel, TuningChoice, hashed, method_title
from engine.contract.errors import FledgeError
from engine.contract.machine import DeviceFacts
from engine.contract.spec import Problem
from engine.contract.tuning import METHOD, MODEL, TuningSpec
from engine.contract.units import count, number
from engine.contract.words import tr, trn
from engine.model.config import ModelConfig
from engine.project.artifacts import Artifact
from engine.project.examples import ExampleSet
from engine.stages.adapt import plan as adapt_plan
from engine.stages.adapt.spec import AdaptSpec
from engine.stages.sft import plan as sft_plan
from engine.stages.sft.spec import SftSpec
from engine.training.tuning_plan import Load

SFT, ADAPT = "sft", "adapt"
STEPS = {SFT: ("goal", "data", "template", "method", "start"), ADAPT: ("goal", "data", "method", "start")}
SPECS: dict[str, type[TuningSpec]] = {SFT: SftSpec, ADAPT: AdaptSpec}
MASK_FIELDS = ("template", "system", "loss_on", "max_seq_len", "too_long", "packing")
DATA_FIELDS = ("examples", "only_accepted", "validation_percent", "replay", "replay_documents", "corpus", "replay_percent")
REST_OF_ADAPT = ("max_seq_len",)
LOOKED_AT = ("model", "examples", "only_accepted", "validation_percent", *MASK_FIELDS)
"""Settings that what is found in the data depends on."""
SHOWN_WITH = ("replay", "replay_documents", "batch_size", "seed")
"""Settings that only decide how it is put together in batches."""
GUESSED_TOKENS = 60
"""Of an example that nobody has looked at yet."""


def step_title(step: str, goal: str = SFT) -> str:
    return {"goal": tr("Goal"), "data": tr("Data") if goal == SFT else tr("Text"), "template": tr("Template"), "method": tr("Method"),
            "start": tr("Start")}[step]


class FinetunePlan(TuningChoice):
    """Also what there is to learn from, and the look at what would be trained on."""

    SPECS: ClassVar[dict[str, type[TuningSpec]]] = SPECS
    STEPS: ClassVar[dict[str, tuple[str, ...]]] = STEPS
    INPUTS: ClassVar[tuple[str, ...]] = ("model", "title", "examples", "corpus", "replay")
    LIGHT: ClassVar[tuple[str, ...]] = (*NO_WEIGHT, "only_accepted", "template", "system")

    def __init__(self, device: DeviceFacts | None = None) -> None:
        self.sets: list[ExampleSet] | None = None
        self.corpora: list[Artifact] = []
        self.tokens: list[Artifact] = []
        self.looked: Looked | None = None
        self.looked_key = ""
        self.looked_wrong: FledgeError | None = None
        super().__init__(device)

    def suggested_title(self) -> str:
        name = self.model.title if self.model else tr("model")
        corpus = self.corpus(str(self._own[ADAPT]["corpus"]))
        if self.goal == SFT:
            return tr("{model}, tuned", model=name)
        return tr("{model} on {corpus}", model=name, corpus=corpus.title) if corpus else tr("{model}, adapted", model=name)

    # what there is ----------------------------------------------------------------------------------------------------

    def set_sets(self, sets: Sequence[ExampleSet]) -> None:
        """Those with something in them."""
        self.sets = [s for s in sets if s.count]
        self.suggest()
        self.resolve()

    def set_corpora(self, corpora: Sequence[Artifact], tokens: Sequence[Artifact]) -> None:
        self.corpora, self.tokens = list(corpora), list(tokens)
        self.suggest()
        self.resolve()

    def first_model(self, models: Sequence[StartModel]) -> StartModel:
        """The newest that does not answer yet."""
        return next((m for m in models if not m.chat), models[0])

    def suggest(self) -> None:
        """Also the only set."""
        super().suggest()
        if self.sets is not None:
            known = {s.id for s in self.sets}
            chosen = tuple(id for id in self._own[SFT]["examples"] if id in known)
            useful = [s.id for s in self.sets if s.accepted or s.new]
            self._own[SFT]["examples"] = chosen or (tuple(useful) if len(useful) == 1 else ())
        for goal in SPECS:
            for name in ("corpus", "replay"):
                if self._own[goal].get(name) and self.corpora and self.corpus(self._own[goal][name]) is None:
                    self._own[goal][name] = ""

    @property
    def chosen_sets(self) -> list[ExampleSet]:
        return [s for s in self.sets or () if s.id in self._own[SFT]["examples"]]

    def corpus(self, id: str) -> Artifact | None:
        return next((c for c in self.corpora if c.id == id), None)

    @property
    def examples(self) -> int:
        """Those that training would take: never rejected ones."""
        accepted = self._own[SFT]["only_accepted"]
        return sum(s.accepted + (0 if accepted else s.new) for s in self.chosen_sets)

    @property
    def raised_on(self) -> Artifact | None:
        """The corpus that the model comes from, as far as the project knows: what replay is best taken from."""
        found = self.corpus(self.model.corpus) if self.model else None
        return None if found is not None and self.goal == ADAPT and found.id == self._own[ADAPT]["corpus"] else found

    # what follows -----------------------------------------------------------------------------------------------------

    def load_of(self, spec: TuningSpec, config: ModelConfig) -> Load | None:
        """Before anybody has looked at the examples their length is a guess."""
        if isinstance(spec, AdaptSpec):
            tokens = self.corpus_tokens(spec.corpus)
            return adapt_plan.load_of(spec, config, tokens, replayed=bool(spec.replay and spec.replay_percent)) if tokens else None
        assert isinstance(spec, SftSpec)
        longest = sft_plan.longest(spec, config)
        counts = self.looked.counts if self.looked is not None else {}
        usable = int(counts.get("usable", 0))
        share = int(counts["train"]) / int(counts["looked_at"]) if usable else 1 - spec.validation_percent / 100
        train = round(self.examples * share)
        if not train:
            return None
        mean = counts["tokens"] / usable if usable else float(min(longest, GUESSED_TOKENS))
        longest_example = min(longest, int(counts.get("longest", 0)) or longest)
        batch = sft_plan.batch_size(spec, train)
        replayed = 0.0
        corpus = self.corpus(spec.replay) if spec.replay else None
        if corpus is not None:
            each = self.corpus_tokens(corpus.id) / max(1, int(corpus.facts.get("documents", 0) or 1))
            replayed = min(float(longest), each) * sft_plan.replayed(spec, batch)
        return sft_plan.load_of(spec, steps=max(1, math.ceil(spec.epochs * train / batch)), batch=batch, tokens_per_step=mean * batch,
                                replay_tokens=replayed, row=longest, longest_example=longest_example)

    def corpus_tokens(self, id: str) -> int:
        """Tokens of a corpus' training text: counted where it was cut into tokens, else estimated; 0 when unknown."""
        corpus = self.corpus(id)
        if corpus is None:
            return 0
        made = next((t for t in self.tokens if t.parents and t.parents[0] == id), None)
        estimate = float(corpus.facts.get("tokens_estimate", 0) or 0) or float(corpus.facts.get("bytes", 0) or 0) / 4
        return int(made.facts.get("train_tokens", 0)) if made is not None else round(estimate)

    def automatic(self) -> dict[str, Any]:
        if self.plan is None:
            return {}
        load = self.plan.load
        own = {"batch_size": load.batch} if self.goal == SFT else {"tokens_per_step": round(load.tokens_per_step),
                                                                 "max_seq_len": load.seq_len}
        return super().automatic() | own

    def weighs(self) -> Any:
        return self.examples

    # the look at real batches -----------------------------------------------------------------------------------------

    def mask_key(self) -> str:
        """A name for the settings that decide what is trained on; behind the colon for those that decide what the batches look like."""
        held = [{k: self.values[k] for k in LOOKED_AT}, [(s.id, s.accepted, s.rejected, s.new) for s in self.chosen_sets]]
        return f"{hashed(held)}:{hashed({k: self.values[k] for k in SHOWN_WITH})}"

    @property
    def can_look(self) -> bool:
        return self.goal == SFT and bool(self.model and self.chosen_sets)

    @property
    def look_is_due(self) -> bool:
        """Whether nobody has looked at what would be trained on with these settings."""
        return self.can_look and self.looked_key.partition(":")[0] != self.mask_key().partition(":")[0]

    @property
    def look_is_old(self) -> bool:
        """Whether the batches would look different by now, though nothing else would be found in them."""
        return self.can_look and self.looked_key != self.mask_key()

    def take_look(self, key: str, looked: Looked | None, wrong: FledgeError | None = None) -> None:
        self.looked_key, self.looked_wrong = key, wrong
        if looked is not None:
            self.looked = looked
        elif wrong is not None:
            self.looked = None
        self.resolve()

    # steps ------------------------------------------------------------------------------------------------------------

    def step_of(self, field: str) -> str:
        """The step on which a setting stands."""
        if field == "model":
            return "goal"
        if field in DATA_FIELDS:
            return "data"
        if self.goal == SFT and field in MASK_FIELDS:
            return "template"
        named = field in self.spec_class.model_fields
        return "method" if named and self.spec_class.option_of(field).group == METHOD else "start"

    def further_problems(self) -> list[Problem]:
        found = []
        if self.goal == SFT and self.chosen_sets and not self.examples:
            found.append(Problem("only_accepted" if self.values["only_accepted"] else "examples",
                                 tr("None of these examples is accepted yet.") if self.values["only_accepted"] else
                                 tr("All of these examples are rejected."),
                                 tr("Look them through, or take those too that nobody has looked at.") if self.values["only_accepted"] else
                                 tr("Choose another set.")))
        if self.goal == SFT and self.looked is not None and not self.look_is_due:
            found += [Problem(p.field if p.field in MASK_FIELDS else "template", p.sentence, p.remedy)
                      for p in self.looked.problems if p.blocks and p.code != "no_examples"]
        return found

    @property
    def blocked(self) -> bool:
        """Whether the look at real batches says that a run would be for nothing."""
        return self.goal == SFT and self.looked is not None and self.looked.blocked

    @property
    def ready(self) -> bool:
        """Whether a run can be started now. A look that is due comes first; one that failed does not stand in the way."""
        return not self.problems() and not self.look_is_due

    # in words ---------------------------------------------------------------------------------------------------------

    def step_title(self, step: str) -> str:
        return step_title(step, self.goal)

    def model_sentence(self) -> str:
        model = self.model
        if model is None:
            return ""
        if model.untrained:
            return tr("It has random weights: it knows no language yet. Choose a checkpoint that was trained.")
        if model.chat and self.goal == SFT:
            return tr("It answers already; it will go on learning from there. Start from the base model to begin anew.")
        if model.chat:
            return tr("It answers already, and plain text will make it worse at that. Better teach the base model the domain first, and "
                      "then to answer.")
        return tr("A base model continues text. It will learn to answer.") if self.goal == SFT else ""

    def learns_from(self) -> str:
        if self.goal == SFT:
            return trn("{shown} example", "{shown} examples", self.examples, shown=number(self.examples))
        corpus = self.corpus(str(self.values["corpus"]))
        return corpus.title if corpus is not None else "–"

    def goes_in(self) -> tuple[str, str]:
        model = self.model.title if self.model else tr("No model yet")
        if self.goal == ADAPT:
            corpus = self.corpus(str(self.values["corpus"]))
            words = tr("{corpus}, about {tokens} tokens", corpus=corpus.title, tokens=count(self.corpus_tokens(corpus.id))) \
                if corpus else tr("and text of a domain")
            return model, words
        if not self.chosen_sets:
            return model, tr("and instruction data")
        words = trn("{shown} example", "{shown} examples", self.examples, shown=number(self.examples))
        return model, tr("{examples}, replayed text", examples=words) if self.values["replay"] else words

    def happens_first(self) -> tuple[str, str]:
        return (tr("It learns to answer") if self.goal == SFT else tr("It goes on reading")), tr("as long as you choose")

    def comes_out(self) -> tuple[str, str]:
        return tr("Nothing yet"), tr("a model that answers") if self.goal == SFT else tr("a model that knows the domain")


__all__ = ["ADAPT", "DATA_FIELDS", "MASK_FIELDS", "METHOD", "MODEL", "SFT", "SPECS", "STEPS", "FinetunePlan", "MethodFacts", "StartModel",
           "method_title", "step_title"]
