"""The wizard of instruction data without widgets: its steps, the models and the recipe chosen, what is in the way, what it will take.

Everything that was chosen can be written down as a draft and taken up again. What is found on this machine is asked elsewhere and told
here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from desktop.models.local_models import host_of, is_local
from desktop.models.model_plan import ModelPlan
from engine.contract.spec import Problem, Spec
from engine.contract.units import duration, number
from engine.contract.words import tr, trn
from engine.stages.instruct.spec import CHECKS, RUN, InstructSpec

STEPS = ("models", "recipe", "amount", "preview")
PREVIEW_ROWS = 5
ROLES = ("responder", "second_responder", "judge")
MODES = {"one": ROLES[:1], "scored": ("responder", "judge"), "two": ROLES}
"""Who has a part: one model alone, one whose answers a judge scores, two of whose answers a judge keeps the better."""
AMOUNT_FIELDS = ("count", "language", "title")
NEEDS = ("documents", "seeds", "topics")
ANSWER_TOKENS, QUESTION_TOKENS = 160, 400
"""Guesses until a preview has measured: of an answer, and of what is sent with each request."""


def step_title(step: str) -> str:
    return {"models": tr("Models"), "recipe": tr("Recipe"), "amount": tr("How much"), "preview": tr("Preview")}[step]


def role_title(role: str) -> str:
    return {"responder": tr("Writes"), "second_responder": tr("Answers too"), "judge": tr("Judges")}[role]


@dataclass(frozen=True)
class RecipeChoice:
    """A recipe as a card. `needs`: "documents", "seeds", "topics"; `optional`: used where given; `asks`: requests a row without the judge;
    `path`: of an own one, "" for a shipped one; `python`: it is a program, and has to be trusted."""

    id: str
    title: str
    sentence: str
    needs: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    asks: float = 1.0
    path: str = ""
    python: bool = False
    text: str = ""
    rubric: str = ""
    problem: str = ""

    @property
    def uses(self) -> set[str]:
        """What it starts from, whether it must or may."""
        return {*self.needs, *self.optional} | ({"topics", "seeds"} if "topics_or_seeds" in self.needs else set())


@dataclass(frozen=True)
class Measured:
    """What a preview took: seconds of wall time, requests and tokens for each row that was asked for, and the share that was kept."""

    seconds: float
    requests: float
    tokens: float
    kept: float


@dataclass
class InstructPlan(ModelPlan):
    """`mode` says who answers (see MODES). `recipes` is None until somebody has looked."""

    SPEC: ClassVar[type[Spec]] = InstructSpec
    STEPS: ClassVar[tuple[str, ...]] = STEPS
    ROLES: ClassVar[tuple[str, ...]] = ROLES
    KEPT_OUT: ClassVar[tuple[str, ...]] = ("preview", "recipe_text")

    mode: str = "one"
    recipes: list[RecipeChoice] | None = None
    set_titles: dict[str, str] = field(default_factory=dict)
    measured: Measured | None = None
    previewed: dict[str, Any] = field(default_factory=dict)

    # the draft --------------------------------------------------------------------------------------------------------

    def draft(self) -> dict[str, Any]:
        return super().draft() | {"mode": self.mode}

    def recall(self, draft: Any) -> None:
        super().recall(draft)
        mode = draft.get("mode") if isinstance(draft, Mapping) else ""
        self.mode = str(mode) if mode in MODES else "one"
        self.measured, self.previewed = None, {}

    def take_spec(self, spec: Mapping[str, Any]) -> None:
        super().take_spec(spec)
        self.mode = "two" if self.values["second_responder"] else "scored" if self.values["judge"] else "one"

    def _fits(self, name: str, value: Any) -> bool:
        company = {"judge": "x"} if name == "second_responder" else {}  # it is looked at with what it needs beside it
        return not InstructSpec.field_problems({**self.defaults(), "responder": "x", name: value, **company})

    @property
    def begun(self) -> bool:
        """Whether there is anything worth keeping."""
        return self.mode != "one" or any(v != self.default_of(k) for k, v in self.values.items() if k not in (*self.KEPT_OUT, "corpus"))

    # choosing ---------------------------------------------------------------------------------------------------------

    def set_mode(self, mode: str) -> None:
        """Who has a part; what was chosen before is remembered either way. Two start as one model that answers twice."""
        assert mode in MODES
        self.mode = mode
        if mode == "two" and not self.values["second_responder"]:
            self.choose("second_responder", self.values["responder"])

    @property
    def parts(self) -> tuple[str, ...]:
        return MODES[self.mode]

    @property
    def judged(self) -> bool:
        return "judge" in self.parts

    @property
    def two(self) -> bool:
        return "second_responder" in self.parts

    def take_corpora(self, corpora: list[tuple[str, str]]) -> None:
        """The first is chosen where none was."""
        super().take_corpora(corpora)
        if not self.values["corpus"] and corpora:
            self.values["corpus"] = corpora[0][0]

    def roles_of(self, model: str) -> list[str]:
        """The roles that a model has now."""
        return [r for r in self.parts if self.values[r] == model and model]

    def suggest(self) -> None:
        """Choose what nobody chose: with one model running there is nothing to ask."""
        running = [m.name for place in self.places or () if place.running for m in place.models]
        if not self.values["responder"] and len(running) == 1:
            self.values["responder"] = running[0]

    @property
    def recipe(self) -> RecipeChoice | None:
        return next((r for r in self.recipes or () if self.values["recipe"] in (r.id, r.path) and r.id), None)

    def choose_recipe(self, id: str) -> None:
        self.values["recipe"] = id
        self.values["recipe_hash"] = ""

    # the way ----------------------------------------------------------------------------------------------------------

    def step_problems(self, step: str) -> list[Problem]:
        if step == "models":
            return self._model_problems()
        if step == "recipe":
            return self._recipe_problems()
        if step == "amount":
            mine = {n for n in InstructSpec.model_fields if InstructSpec.option_of(n).group in (RUN, CHECKS)} | {*AMOUNT_FIELDS, "seed"}
            return [p for p in InstructSpec.field_problems({**self.spec_values(), "responder": "x"}) if p.field in mine]
        return []

    def _model_problems(self) -> list[Problem]:
        words = {"responder": (tr("No model was chosen to write."), tr("Choose one of the models on this machine.")),
                 "second_responder": (tr("No second model was chosen."), tr("Choose one; it may be the first again.")),
                 "judge": (tr("Nobody judges yet."), tr("Choose a model that judges, or let one model answer alone."))}
        wrong = [self.cannot_ask(role) if self.values[role] else Problem(role, *words[role]) for role in self.parts]
        return [p for p in wrong if p is not None]

    def _recipe_problems(self) -> list[Problem]:
        recipe = self.recipe
        if recipe is None:
            return [Problem("recipe", tr("No recipe is chosen."), tr("Choose one."))] if self.recipes is not None else []
        found = []
        if recipe.problem:
            found.append(Problem("recipe", recipe.problem, tr("Mend its text, or choose another recipe.")))
        if "documents" in recipe.needs and not self.values["corpus"]:
            found.append(Problem("corpus", tr("This recipe asks about documents, and no corpus is chosen."),
                                 tr("Choose a corpus, or a recipe that needs none.")))
        if "seeds" in recipe.needs and not self.values["seeds"]:
            found.append(Problem("seeds", tr("This recipe starts from examples, and none are chosen."),
                                 tr("Choose a set, import one, or choose another recipe.")))
        if "topics_or_seeds" in recipe.needs and not (self.values["topics"] or self.values["seeds"]):
            found.append(Problem("topics", tr("This recipe starts from topics or from examples."), tr("Write topics, or choose a set.")))
        if "topics" in recipe.needs and not self.values["topics"]:
            found.append(Problem("topics", tr("This recipe needs topics."), tr("Write some, one a line.")))
        if "language" in recipe.needs and not self.values["language"].strip():
            found.append(Problem("language", tr("This recipe needs a language to write in."), tr("Name one, such as “Spanish”.")))
        if recipe.python and not self.values["recipe_hash"]:
            found.append(Problem("recipe_hash", tr("This recipe is a program, and nobody has said that it is trusted."),
                                 tr("Read it and confirm it, or choose another one.")))
        return found

    # the spec ---------------------------------------------------------------------------------------------------------

    def spec_values(self) -> dict[str, Any]:
        """All values of the run that would start now."""
        recipe, made = self.recipe, dict(self.values)
        made |= {role: "" for role in ROLES if role not in self.parts} | ({} if self.judged else {"rubric": ""})
        if recipe is not None:
            used = recipe.uses
            made |= {"recipe": recipe.path or recipe.id}
            made |= {} if "documents" in used else {"corpus": ""}
            made |= {} if "seeds" in used else {"seeds": ()}
            made |= {} if "topics" in used else {"topics": ()}
            made |= {} if recipe.python else {"recipe_hash": ""}
        hosts = {host_of(made[r]) for r in ROLES} - {""}
        if all(is_local(host) for host in hosts):
            made["allowed_host"] = ""
        return made

    def spec(self, preview: bool = False) -> InstructSpec:
        """The spec of the run, or of the preview before it."""
        return InstructSpec.check({**self.spec_values(), "preview": PREVIEW_ROWS if preview else 0})

    def note_preview(self, measured: Measured | None) -> None:
        """A preview was made of what is chosen now."""
        self.measured, self.previewed = measured, self._judged_by()

    @property
    def preview_is_stale(self) -> bool:
        """Whether something that rows depend on was changed since the preview."""
        return bool(self.previewed) and self.previewed != self._judged_by()

    def _judged_by(self) -> dict[str, Any]:
        return {k: v for k, v in self.spec_values().items() if k not in ("count", "title", "preview", "concurrency", "timeout", "retries")}

    # in words ---------------------------------------------------------------------------------------------------------

    @property
    def rows(self) -> int:
        return int(self.number_of("count"))

    @property
    def title(self) -> str:
        """The set's name where none was written."""
        recipe, model = self.recipe, self.values["responder"]
        name = recipe.title if recipe is not None else tr("Examples")
        return tr("{recipe}, {model}", recipe=name, model=self.title_of(model)) if model else name

    def requests(self) -> tuple[float, bool]:
        """Requests for all rows, and whether a preview has measured that."""
        rows = self.rows
        if self.measured is not None and not self.preview_is_stale:
            return rows * self.measured.requests, True
        asks = self.recipe.asks if self.recipe is not None else 1.0
        return rows * (asks + {"one": 0, "scored": 1, "two": 3}[self.mode]), False

    def seconds(self) -> float | None:
        """Time for all rows, None until a preview was made."""
        if self.measured is None or self.preview_is_stale:
            return None
        return self.rows * self.measured.seconds

    def tokens(self) -> tuple[float, bool]:
        """Tokens read and written for all rows, and whether that was measured."""
        if self.measured is not None and not self.preview_is_stale:
            return self.rows * self.measured.tokens, True
        return self.requests()[0] * (QUESTION_TOKENS + min(ANSWER_TOKENS, int(self.number_of("max_tokens")))), False

    def goes_in(self) -> tuple[str, str]:
        recipe = self.recipe
        if recipe is None:
            return tr("Nothing yet"), tr("a recipe says what is asked")
        used, parts = recipe.uses, []
        if "documents" in used and self.values["corpus"]:
            parts.append(dict(self.corpora).get(self.values["corpus"], self.values["corpus"]))
        if "seeds" in used and self.values["seeds"]:
            names = [self.set_titles.get(s, s) for s in self.values["seeds"]]
            parts.append(names[0] if len(names) == 1 else trn("{count} set of examples", "{count} sets of examples", len(names)))
        if "topics" in used and self.values["topics"]:
            parts.append(trn("{count} topic", "{count} topics", len(self.values["topics"])))
        return ", ".join(parts) or (tr("Nothing yet") if recipe.needs else tr("Nothing but the recipe")), recipe.title

    def will_happen(self) -> tuple[str, str]:
        model = self.values["responder"]
        rows = trn("{count} row asked for", "{count} rows asked for", self.rows)
        if not model:
            return rows, tr("by a model of this machine")
        seconds = self.seconds()
        by = tr("by {model}", model=self.title_of(model))
        if self.judged and self.values["judge"]:
            judge = self.title_of(self.values["judge"])
            by = tr("two answers, judged by {model}", model=judge) if self.two else \
                tr("by {model}, scored by {judge}", model=self.title_of(model), judge=judge)
        return rows, by if seconds is None else tr("{time}, {by}", by=by, time=duration(seconds))

    def comes_out(self) -> tuple[str, str]:
        return tr("Nothing yet"), tr("a set of examples to review")

    def steps_in_words(self) -> list[tuple[str, str]]:
        """What will happen, in order."""
        recipe, made = self.recipe, []
        if recipe is not None:
            made.append((tr("Ask"), recipe.sentence))
        if self.two:
            made.append((tr("Answer twice"), tr("{first} and {second}", first=self.title_of(self.values["responder"]),
                                                second=self.title_of(self.values["second_responder"]))))
        if self.judged and not self.two:
            made.append((tr("Score"), tr("{model}, by the rubric, from 1 to 10", model=self.title_of(self.values["judge"]))))
        if self.two:
            made.append((tr("Judge"), tr("{model}, in both orders; nearer than {margin} is a tie, and set aside",
                                         model=self.title_of(self.values["judge"]), margin=f"{self.number_of('margin'):g}")))
        made.append((tr("Check"), self.checks_in_words()))
        made.append((tr("Keep"), tr("every row is on the disk when it arrives; what fails a check waits among the rejected")))
        return made

    def checks_in_words(self) -> str:
        v, found = self.values, [tr("form")]
        if (shortest := self.number_of("shortest")) > 1:
            found.append(tr("at least {count} characters", count=number(shortest)))
        if v["refusals"]:
            found.append(tr("refusals"))
        if v["check_language"]:
            found.append(tr("language"))
        if share := self.number_of("duplicates"):
            found.append(tr("near duplicates from {share}", share=f"{share:g}"))
        if v["held_out"]:
            found.append(trn("{count} evaluation set", "{count} evaluation sets", len(v["held_out"])))
        if (lowest := self.number_of("lowest_score")) and self.judged:
            found.append(tr("scores under {score}", score=f"{lowest:g}"))
        return ", ".join(found)
