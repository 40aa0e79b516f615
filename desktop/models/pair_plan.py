"""The wizard of making pairs without widgets: where prompts are from, who answers, how many, what is in the way, what it will take.

Everything that was chosen can be written down as a draft and taken up again. Which models and sets there are is found elsewhere and told
here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from desktop.models.local_models import ModelChoice, Place, host_of, is_local, short_name
from desktop.models.model_plan import ModelPlan
from engine.contract.spec import Problem, Spec
from engine.contract.units import duration, number
from engine.contract.words import tr, trn
from engine.stages.preference.spec import MODELS, PROMPTS, RUN, PreferenceSpec

if TYPE_CHECKING:
    from engine.project.project import Project

STEPS = ("prompts", "models", "amount")
ROLES = ("first", "second")
SOURCES = ("examples", "files", "prompts", "corpus")
"""Fields that prompts come from."""
AMOUNT = ("title", "count")
TEMPERATURES = ("first_temperature", "second_temperature")


def step_title(step: str) -> str:
    return {"prompts": tr("Prompts"), "models": tr("Models"), "amount": tr("How many")}[step]


def role_title(role: str) -> str:
    return tr("First answer") if role == "first" else tr("Second answer")


@dataclass(frozen=True)
class PromptSet:
    """A set of examples whose questions can be asked."""

    id: str
    title: str
    rows: int


@dataclass
class PairPlan(ModelPlan):
    """`sets` is None until somebody has looked; `pace`: pairs a second that an earlier run made with these models, 0 unknown."""

    SPEC: ClassVar[type[Spec]] = PreferenceSpec
    STEPS: ClassVar[tuple[str, ...]] = STEPS
    ROLES: ClassVar[tuple[str, ...]] = ROLES

    sets: list[PromptSet] | None = None
    pace: float = 0.0

    def _fits(self, name: str, value: Any) -> bool:
        return name in SOURCES or all(p.field != name for p in PreferenceSpec.field_problems({**self.defaults(), name: value}))

    @property
    def begun(self) -> bool:
        return any(v != self.default_of(k) for k, v in self.values.items() if k != "first")

    # choosing ---------------------------------------------------------------------------------------------------------

    def toggle_set(self, id: str, on: bool) -> None:
        kept = [s for s in self.values["examples"] if s != id]
        self.values["examples"] = (*kept, id) if on else tuple(kept)

    def add_files(self, names: list[str]) -> None:
        self.values["files"] = tuple(dict.fromkeys((*self.values["files"], *names)))

    def drop_file(self, name: str) -> None:
        self.values["files"] = tuple(f for f in self.values["files"] if f != name)

    def parts_of(self, model: str) -> list[str]:
        """What a model does now, in words."""
        if model == self.values["first"] and self.twice:
            return [tr("both answers")]
        return [role_title(r).lower() for r in ROLES if model and self.values[r] == model]

    @property
    def twice(self) -> bool:
        """Whether one model gives both answers."""
        return bool(self.values["first"]) and self.values["second"] in ("", self.values["first"])

    def suggest(self) -> None:
        """Choose what nobody chose: a model of the project, the newest one that answers; else the only one that runs."""
        if self.values["first"]:
            return
        own = [m.name for p in self.places or () if p.kind == "project" and p.running for m in p.models]
        running = [m.name for p in self.places or () if p.running for m in p.models]
        if own:
            self.values["first"] = own[0]  # the tuned and the newest are listed first
        elif len(running) == 1:
            self.values["first"] = running[0]

    # the way ----------------------------------------------------------------------------------------------------------

    def step_problems(self, step: str) -> list[Problem]:
        wrong = PreferenceSpec.field_problems(self.values)
        if not wrong:
            try:
                wrong = list(PreferenceSpec.model_validate(self.values).problems())
            except ValueError:
                wrong = []
        groups = {"prompts": (PROMPTS,), "models": (MODELS,), "amount": (RUN,)}[step]
        mine = [p for p in wrong if (self._step_of(p.field) == step if p.field in AMOUNT else
                                     p.field in PreferenceSpec.model_fields and PreferenceSpec.option_of(p.field).group in groups)]
        if step == "prompts":
            return mine + self._gone()
        return mine + self._model_problems(mine) if step == "models" else mine

    def _step_of(self, field: str) -> str:
        return "amount" if field in AMOUNT else ""

    def _gone(self) -> list[Problem]:
        """Chosen sets and files that are not there."""
        found = []
        if self.sets is not None and (gone := [s for s in self.values["examples"] if all(s != k.id for k in self.sets)]):
            found.append(Problem("examples", trn("A chosen set is no longer there.", "{count} chosen sets are no longer there.", len(gone)),
                                 tr("Choose others.")))
        if missing := [f for f in self.values["files"] if not Path(f).is_file()]:
            found.append(Problem("files", tr("{file} is not there.", file=Path(missing[0]).name), tr("Choose it again, or take it out.")))
        return found

    def _model_problems(self, told: list[Problem]) -> list[Problem]:
        said = {p.field for p in told}
        wrong = [self.cannot_ask(role) for role in ROLES if self.values[role] and role not in said]
        return [p for p in wrong if p is not None]

    # the spec ---------------------------------------------------------------------------------------------------------

    def spec(self) -> PreferenceSpec:
        """Of the run that would start now. Raises SettingError."""
        made = dict(self.values)
        if all(is_local(host_of(str(made[r]))) for r in ROLES):
            made["allowed_host"] = ""
        if made["second"] == made["first"]:
            made["second"] = ""
        return PreferenceSpec.check({**made, "title": str(made["title"]).strip() or self.title})

    # in words ---------------------------------------------------------------------------------------------------------

    @property
    def count(self) -> int:
        return int(self.number_of("count"))

    @property
    def title(self) -> str:
        """The set's name where none was written."""
        first = str(self.values["first"])
        if not first:
            return tr("Pairs")
        if self.twice:
            return tr("{model}, twice", model=self.title_of(first))
        return tr("{first} and {second}", first=self.title_of(first), second=self.title_of(str(self.values["second"])))

    def prompts(self) -> tuple[int, bool]:
        """Prompts that are known of, and whether that is all (files and documents are counted when they are read)."""
        rows = {s.id: s.rows for s in self.sets or ()}
        known = sum(rows.get(s, 0) for s in self.values["examples"]) + sum(bool(p.strip()) for p in self.values["prompts"])
        return known, not self.values["files"] and not self.values["corpus"]

    def seconds(self) -> float | None:
        """How long it takes at the pace of an earlier run with these models; None where there was none."""
        return self.count / self.pace if self.pace > 0 else None

    def most_tokens(self) -> int:
        return 2 * self.count * int(self.number_of("max_tokens"))

    def goes_in(self) -> tuple[str, str]:
        names = {s.id: s.title for s in self.sets or ()}
        parts = [names.get(s, s) for s in self.values["examples"]] + [Path(f).name for f in self.values["files"]]
        typed = sum(bool(p.strip()) for p in self.values["prompts"])
        if typed:
            parts.append(trn("{count} typed prompt", "{count} typed prompts", typed))
        if self.values["corpus"]:
            parts.append(dict(self.corpora).get(self.values["corpus"], str(self.values["corpus"])))
        if not parts:
            return tr("Nothing yet"), tr("prompts from a set, a file or a corpus")
        many, all_ = self.prompts()
        line = trn("{shown} prompt", "{shown} prompts", many, shown=number(many)) if all_ else tr("prompts are counted when it starts")
        return (parts[0] if len(parts) == 1 else tr("{first} and {count} more", first=parts[0], count=len(parts) - 1)), line

    def will_happen(self) -> tuple[str, str]:
        fact = trn("{shown} pair of answers", "{shown} pairs of answers", self.count, shown=number(self.count))
        seconds = self.seconds()
        who = self.who() or tr("by a model of this machine")
        return fact, who if seconds is None else tr("{time}, {who}", time=duration(seconds), who=who)

    def who(self) -> str:
        """"gazette-60m-chat at 0.8 and 1.0"."""
        first = str(self.values["first"])
        if not first:
            return ""
        a, b = (_warmth(float(self.values[t])) for t in TEMPERATURES)
        if self.twice:
            return tr("{model} at {a} and {b}", model=self.title_of(first), a=a, b=b)
        return tr("{first} at {a}, {second} at {b}", first=self.title_of(first), a=a, second=self.title_of(str(self.values["second"])), b=b)

    def comes_out(self) -> tuple[str, str]:
        return tr("Nothing yet"), tr("pairs for you to label")


def _warmth(value: float) -> str:
    """A temperature: "1.0", "0.75"."""
    return f"{value:.1f}" if round(value, 1) == value else f"{value:g}"


def model_titles(project: "Project") -> dict[str, str]:
    """{id: title} of the models that can answer. In a thread."""
    from engine.project.models import list_models
    return {ref.id: ref.title for ref in list_models(project)}


def makers(spec: Mapping[str, Any], titles: Mapping[str, str] | None = None) -> str:
    """Who gives the answers of a run, from its settings: "gazette-60m-chat at 0.7 and 1.0"."""
    plan = PairPlan()
    plan.take_spec(spec)
    named = titles or {}
    plan.places = [Place("", "", models=tuple(ModelChoice(m, named.get(m.partition(":")[2], short_name(m)))
                                              for m in (str(plan.values["first"]), str(plan.values["second"])) if m))]
    return plan.who()
