"""What an evaluation comes to before it starts: which models, by which suites, and what those need. No Qt, no torch.

How answers are graded and what a suite holds is the engine's matter (engine/evaluation); this file only lists and counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.contract.errors import FledgeError
from engine.contract.spec import Problem
from engine.contract.units import number
from engine.contract.words import tr, trn
from engine.project.artifacts import Artifact
from engine.project.examples import ExampleSet
from engine.project.models import ModelRef
from engine.stages.evaluate.spec import EvaluateSpec

FIRST_SUITES = ("everyday",)
"""Chosen at first: it needs nothing, and base models can be compared by it."""
TAKES_SETS = ("win_rate", "blind")
"""Kinds that ask prompts of the library instead of their own, where sets are chosen."""


@dataclass(frozen=True)
class SuiteChoice:
    """A suite as a card. `problem`: why its file cannot be used; then there is nothing else to say of it."""

    id: str
    title: str
    sentence: str
    kind: str = "questions"
    needs: tuple[str, ...] = ()
    questions: int = 0
    library: bool = False
    own: bool = False
    path: str = ""
    problem: str = ""

    @property
    def takes_sets(self) -> bool:
        return "examples" in self.needs or self.library or self.kind in TAKES_SETS

    def foot(self) -> str:
        """How much it asks, or what it needs."""
        needs = {"examples": tr("a set of the library"), "corpus": tr("a corpus"), "judge": tr("a judge"), "two_models": tr("two models")}
        words = [trn("{shown} question", "{shown} questions", self.questions, shown=number(self.questions))] if self.questions else []
        if self.needs:
            words.append(tr("needs {what}", what=", ".join(needs[need] for need in self.needs)))
        return ", ".join(words)


def read_suites(project_dir: Path) -> list[SuiteChoice]:
    """Every suite there is, the project's own first. Reads files: in a thread."""
    from engine.evaluation import suites  # with all its graders: nothing to wait for while a page opens
    found = []
    for name in suites.names(project_dir):
        try:
            made = suites.load(name, project_dir)
        except FledgeError as wrong:
            path = suites.layout.suites(project_dir) / f"{name}.toml"
            found.append(SuiteChoice(name, name, "", own=path.is_file(), path=str(path),
                                     problem=f"{wrong.sentence} {wrong.remedy}".strip()))
            continue
        found.append(SuiteChoice(made.id, made.title, made.sentence, made.kind, made.needs, len(made.questions), made.library, made.own,
                                 str(made.path)))
    order = ("questions", "problems", "everyday", "formats", "held_out_text", "held_out_examples", "win_rate", "blind")
    places = {id: place for place, id in enumerate(order)}
    return sorted(found, key=lambda s: (not s.own, places.get(s.id, len(order)), s.title.casefold()))


class EvaluatePlan:
    """`values` are those of EvaluateSpec; `suites` and `sets` are None until somebody has read them."""

    def __init__(self, values: dict[str, Any] | None = None) -> None:
        base = EvaluateSpec()
        self.values: dict[str, Any] = {name: getattr(base, name) for name in EvaluateSpec.model_fields} | {"suites": FIRST_SUITES}
        self.take(values or {})
        self.models: list[ModelRef] = []
        self.suites: list[SuiteChoice] | None = None
        self.sets: list[ExampleSet] | None = None
        self.corpora: list[tuple[str, str]] = []
        self.artifacts: Sequence[Artifact] = ()

    # choosing ---------------------------------------------------------------------------------------------------------

    def take(self, values: dict[str, Any]) -> None:
        """Settings of an earlier evaluation, or of a draft: what is no setting any more is left out."""
        lists = ("models", "suites", "examples")
        self.values |= {k: tuple(v) if k in lists else v for k, v in values.items() if k in self.values}

    def set_models(self, models: Sequence[ModelRef]) -> None:
        """What there is. Chosen ones that are gone leave; where none is left, the newest is taken."""
        self.models = list(models)
        known = {m.id for m in models}
        kept = tuple(id for id in self.values["models"] if id in known)
        self.values["models"] = kept or tuple(m.id for m in self.models[:1])

    def set_suites(self, found: Sequence[SuiteChoice]) -> None:
        self.suites = list(found)
        known = {s.id for s in found if not s.problem}
        self.values["suites"] = tuple(id for id in self.values["suites"] if id in known)

    def set_sets(self, found: Sequence[ExampleSet]) -> None:
        self.sets = list(found)
        known = {s.id for s in found}
        self.values["examples"] = tuple(id for id in self.values["examples"] if id in known)

    def set_corpora(self, found: Sequence[tuple[str, str]]) -> None:
        self.corpora = list(found)
        if self.values["corpus"] not in [id for id, _ in found]:
            self.values["corpus"] = found[0][0] if found else ""

    def toggle(self, name: str, id: str) -> None:
        """Choose a model, suite or set, or leave it out."""
        chosen = self.values[name]
        self.values[name] = tuple(x for x in chosen if x != id) if id in chosen else (*chosen, id)

    def compare_with(self, id: str) -> None:
        """This model becomes the one that the others are compared with."""
        self.values["models"] = (id, *(x for x in self.values["models"] if x != id))

    # what follows -----------------------------------------------------------------------------------------------------

    @property
    def chosen_suites(self) -> list[SuiteChoice]:
        found = {s.id: s for s in self.suites or ()}
        return [found[id] for id in self.values["suites"] if id in found]

    @property
    def needs(self) -> set[str]:
        return {need for suite in self.chosen_suites for need in suite.needs}

    @property
    def takes_sets(self) -> bool:
        return any(suite.takes_sets for suite in self.chosen_suites)

    def title_of(self, id: str) -> str:
        return next((m.title for m in self.models if m.id == id), id)

    def seen(self) -> tuple[list[str], float]:
        """(titles of chosen models that were trained on a chosen set, the share for validation of the first, in percent)."""
        runs = {a.id: a.spec for a in self.artifacts}
        found, share = [], 0.0
        for id in self.values["models"]:
            spec = runs.get(id) or {}
            if set(spec.get("examples") or ()) & set(self.values["examples"]):
                found.append(self.title_of(id))
                share = share or float(spec.get("validation_percent") or 0.0)
        return found, share

    def problems(self) -> list[Problem]:
        """What keeps it from starting, each with the field it belongs to."""
        found = [p for p in EvaluateSpec.field_problems(self.values)]
        needs, values = self.needs, self.values
        if "examples" in needs and not values["examples"]:
            found.append(Problem("examples", tr("A chosen suite asks questions of the library, and no set is chosen."), tr("Choose one.")))
        if "corpus" in needs and not values["corpus"]:
            found.append(Problem("corpus", tr("Loss on held-out text needs a corpus."), tr("Choose one, or leave the suite out.")))
        if "judge" in needs and not values["judge"]:
            found.append(Problem("judge", tr("A judged win rate needs a judge: a reward model or a local model."), tr("Choose one.")))
        if "two_models" in needs and len(values["models"]) == 1:
            found.append(Problem("models", tr("A comparison needs two models."), tr("Choose one more, or leave the suite out.")))
        return found

    def spec(self) -> EvaluateSpec:
        """Ready to run: what no chosen suite needs is left out, so that the evaluation has no parent it did not use."""
        needs = self.needs
        left_out = {} if "corpus" in needs else {"corpus": ""}
        left_out |= {} if "judge" in needs else {"judge": "", "allowed_host": ""}
        left_out |= {} if self.takes_sets else {"examples": ()}
        return EvaluateSpec.check({**self.values, **left_out})

    # words ------------------------------------------------------------------------------------------------------------

    def goes_in(self) -> tuple[str, str]:
        chosen = self.values["models"]
        if not chosen:
            return tr("No model chosen"), tr("one, or several to compare")
        if len(chosen) == 1:
            return self.title_of(chosen[0]), tr("another one to compare it with may be added")
        return (trn("{count} model", "{count} models", len(chosen)),
                tr("compared with {model}", model=self.title_of(chosen[0])))

    def will_happen(self) -> tuple[str, str]:
        chosen = self.chosen_suites
        if not chosen:
            return tr("Nothing is measured yet"), tr("choose a suite")
        asked, limit = 0, int(self.values["limit"] or 0) if isinstance(self.values["limit"], int) else 0
        for suite in chosen:
            own = suite.questions
            if suite.takes_sets and (not own or self.values["examples"]):
                own = sum(s.count - s.rejected for s in self.sets or () if s.id in self.values["examples"]) + (
                    suite.questions if suite.kind not in TAKES_SETS else 0)
            asked += min(own, limit) if limit and own else own
        many = asked * max(1, len(self.values["models"]))
        line = trn("about {shown} answer", "about {shown} answers", many, shown=number(many)) if many else tr("no question is asked")
        return ", ".join(s.title for s in chosen[:2]) + (tr(" and {count} more", count=len(chosen) - 2) if len(chosen) > 2 else ""), line

    def comes_out(self) -> tuple[str, str]:
        return tr("Figures with their intervals"), tr("and every answer, to look at")
