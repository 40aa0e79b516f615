"""Recipes: what local models are asked for instruction data, as files that people copy and edit.

    recipe = load("documents")                       # one of resources/recipes, or a path
    for row in recipe.plan(RecipeInputs(documents=..., count=200)):
        for example in recipe.steps(row, ask):       # ask(Ask, role) -> Reply
            ...

A recipe in TOML is data: prompts with {placeholders}, JSON schemas of the replies, a rubric for the judge, and a `kind` (recipe_kinds.py)
that says how they are put together. A recipe in Python (recipe_python.py) runs only if the person has confirmed its SHA-256, and is
otherwise refused; loading one never runs it. A run keeps the recipe's text, so that editing a file changes no run that was made.
"""

import hashlib
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engine.contract.errors import FormatError, InputError, NotFound, SettingError, TooNew
from engine.contract.rows import Example
from engine.contract.words import tr
from engine.generators import answers, judging, recipe_python
from engine.generators.asks import Ask, Reply, Role
from engine.generators.quality import CheckSettings
from engine.generators.recipe_kinds import KINDS, Kind
from engine.generators.recipe_rows import CorpusDocuments, ListedDocuments, RecipeInputs, Row, Writing
from engine.generators.recipe_talk import Talk, placeholders

__all__ = ["CorpusDocuments", "ListedDocuments", "Recipe", "RecipeInputs", "Role", "Row", "Way", "Writing", "listed", "load", "sha256"]

FORMAT = 1
FOLDER = Path(__file__).resolve().parents[2] / "resources" / "recipes"
LARGEST = 1_000_000
"""Bytes of a recipe at most."""
_ALWAYS = ("language", "language_rule")


@dataclass(frozen=True)
class Way:
    """One of the ways in which a recipe asks; `text` goes into the prompt as {wanted}."""

    id: str
    text: str


@dataclass(frozen=True)
class Recipe:
    """`text` is the whole file, `sha256` of it; `path` "" for one that comes with Fledge. `trusted` is only needed in Python."""

    id: str
    kind: str
    title: str
    sentence: str
    text: str
    path: str = ""
    needs: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    prompts: dict[str, str] = field(default_factory=dict)
    language_rules: dict[str, str] = field(default_factory=dict)
    schemas: dict[str, dict[str, Any]] = field(default_factory=dict)
    rubric: str = ""
    options: dict[str, int] = field(default_factory=dict)
    ways: tuple[Way, ...] = ()
    topics: tuple[str, ...] = ()
    checks: dict[str, Any] = field(default_factory=dict)
    tries: int = 3
    trusted: bool = True

    @property
    def sha256(self) -> str:
        return sha256(self.text)

    @property
    def python(self) -> bool:
        return self.kind == "python"

    @property
    def new_prompts(self) -> bool:
        """Whether its prompts must differ from the seeds': they are then known to the checks as rows that are there already."""
        return self.kind in ("seeds", "evolve")

    def check(self, inputs: RecipeInputs) -> None:
        """SettingError, naming the field, when something that is needed is not given, the language is none of the recipe's, or it is a
        program that was not confirmed."""
        if self.python:
            self._confirmed()
        if "documents" in self.needs and not len(inputs.documents):
            raise SettingError(tr("The recipe “{title}” asks about documents, and there are none.", title=self.title),
                               tr("Choose a corpus with training documents."), field="corpus")
        if "seeds" in self.needs and not inputs.seeds:
            raise SettingError(tr("The recipe “{title}” starts from examples, and there are none.", title=self.title),
                               tr("Choose a set of the library that is not empty."), field="seeds")
        if "topics" in self.needs and not (inputs.topics or self.topics):
            raise SettingError(tr("The recipe “{title}” starts from topics, and there are none.", title=self.title),
                               tr("Write at least one topic."), field="topics")
        if "topics_or_seeds" in self.needs and not (inputs.topics or self.topics or inputs.seeds):
            raise SettingError(tr("The recipe “{title}” starts from topics or from examples, and there are none.", title=self.title),
                               tr("Write at least one topic, or choose a set of the library."), field="topics")
        if "language" in self.needs and not inputs.language.strip():
            raise SettingError(tr("The recipe “{title}” needs a language to write in.", title=self.title),
                               tr("Name one, such as “Spanish”."), field="language")
        if self.languages and inputs.language and inputs.language not in self.languages:
            raise SettingError(tr("The recipe “{title}” is not made for {language}.", title=self.title, language=inputs.language),
                               tr("Choose among: {names}.", names=", ".join(self.languages)), field="language")

    def plan(self, inputs: RecipeInputs) -> Iterator[Row]:
        """Rows for `inputs.count` examples at most; fewer where the inputs give no more. The same inputs give the same rows. Runs a recipe
        in Python. SettingError as `check`, or when a recipe in Python is not trusted."""
        self.check(inputs)
        if self.python:
            return recipe_python.plan(self, inputs)
        return KINDS[self.kind].plan(self, inputs)

    def steps(self, row: Row, ask: Callable[[Ask, Role], Reply], writing: Writing | None = None) -> Iterator[Example]:
        """The examples of one row, each as soon as it is whole; `ask` is called as they are taken. What it raises goes through."""
        talk = Talk(self, row, ask, writing or Writing())
        if self.python:
            self._confirmed()
            return recipe_python.steps(talk)
        return KINDS[self.kind].steps(talk)

    def _confirmed(self) -> None:
        if not self.trusted:
            raise SettingError(tr("The recipe {name} is a program, and this text of it was not confirmed.", name=Path(self.path).name),
                               tr("Read it, and confirm it on the page, or in a terminal with --set recipe_hash={hash}.", hash=self.sha256),
                               field="recipe_hash", code="untrusted_recipe")


def sha256(text: str) -> str:
    """Of a recipe's text, as it is confirmed."""
    return hashlib.sha256(text.encode()).hexdigest()


def listed(folder: Path | None = None) -> list[Recipe]:
    """Those that come with Fledge, then those of a person's folder, by title. A file that is no recipe raises FormatError."""
    found = [load(path.stem) for path in sorted(FOLDER.glob("*.toml"))]
    if folder is not None and folder.is_dir():
        found += sorted((load(str(p)) for p in sorted(folder.iterdir()) if p.suffix in (".toml", ".py")), key=lambda r: r.title.casefold())
    return found


def load(id_or_path: str, text: str = "", trusted: str = "") -> Recipe:
    """A recipe by its id or its file's path. `text`: the recipe as it was frozen into a run, instead of the file's. `trusted`: the SHA-256
    of the recipe in Python that the person confirmed. NotFound, FormatError, TooNew."""
    built_in = id_or_path if "/" not in id_or_path and "\\" not in id_or_path and "." not in id_or_path else ""
    path = FOLDER / f"{built_in}.toml" if built_in else Path(id_or_path).expanduser()
    text = text or _read(path, id_or_path)
    name = built_in or str(path)
    if path.suffix.lower() == ".py":
        return recipe_python.declared(text, name, trusted == sha256(text))
    return _of_toml(text, name, built_in)


def _read(path: Path, name: str) -> str:
    try:
        if not path.is_file():
            raise NotFound(tr("There is no recipe {name}.", name=name),
                           tr("Choose one of {names}, or a file.", names=", ".join(sorted(p.stem for p in FOLDER.glob("*.toml")))),
                           field="recipe")
        if path.suffix.lower() not in (".toml", ".py"):
            raise FormatError(tr("{name} is no recipe: recipes are files ending in .toml or .py.", name=path.name),
                              tr("Choose another file."), field="recipe")
        if path.stat().st_size > LARGEST:
            raise FormatError(tr("{name} is too large for a recipe.", name=path.name), tr("Choose another file."), field="recipe")
        return path.read_text("utf-8")
    except UnicodeDecodeError as wrong:
        raise FormatError(tr("{name} is no text in UTF-8.", name=path.name), tr("Save it as UTF-8, or choose another file."),
                          field="recipe") from wrong
    except OSError as wrong:
        raise InputError(tr("{name} cannot be read: {reason}", name=path.name, reason=wrong.strerror or str(wrong)),
                         tr("Choose another file."), field="recipe") from wrong


# ---- files in TOML


class _Way(BaseModel):
    model_config = ConfigDict(extra="forbid")
    id: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    text: str = Field(min_length=1)


class _Rules(BaseModel):
    model_config = ConfigDict(extra="forbid")
    own: str = ""
    given: str = "Write in {language}."


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")
    format: int
    id: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    kind: str
    title: str = Field(min_length=1, max_length=80)
    sentence: str = Field(min_length=1, max_length=400)
    languages: list[str] = []
    topics: list[str] = []
    tries: int = Field(3, ge=1, le=10)
    rubric: str = ""
    options: dict[str, int] = {}
    prompts: dict[str, str] = {}
    language_rules: _Rules = _Rules()
    schemas: dict[str, dict[str, Any]] = {}
    ways: list[_Way] = []
    checks: dict[str, Any] = {}


def _of_toml(text: str, name: str, built_in: str) -> Recipe:
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as wrong:
        raise FormatError(tr("The recipe {name} is not TOML: {reason}", name=name, reason=str(wrong)), tr("Correct it there."),
                          field="recipe") from wrong
    if isinstance(values.get("format"), int) and values["format"] > FORMAT:
        raise TooNew(tr("The recipe {name} was made for a later Fledge.", name=name), tr("Update Fledge."), field="recipe")
    try:
        file = _File.model_validate(values)
    except ValidationError as wrong:
        first = wrong.errors()[0]
        place = ".".join(map(str, first["loc"]))
        reasons = {"extra_forbidden": tr("a recipe has nothing of that name"), "missing": tr("it is missing")}
        raise FormatError(tr("The recipe {name}: {field}: {reason}", name=name, field=place,
                             reason=reasons.get(first["type"], first["msg"])),
                          tr("Compare it with a recipe that comes with Fledge."), field="recipe") from wrong
    kind = KINDS.get(file.kind)
    if kind is None:
        raise FormatError(tr("The recipe {name}: there is no kind “{kind}”.", name=name, kind=file.kind),
                          tr("Choose among: {names}.", names=", ".join(KINDS)), field="recipe")
    _check(file, kind, name)
    title, sentence = _shown(file.id) if built_in else ("", "")
    return Recipe(file.id, file.kind, title or file.title, sentence or file.sentence, text, "" if built_in else name, kind.needs,
                  tuple(file.languages), file.prompts, file.language_rules.model_dump(), file.schemas,
                  file.rubric.strip() or judging.RUBRIC, {**kind.options, **file.options}, tuple(Way(w.id, w.text) for w in file.ways),
                  tuple(file.topics), file.checks, file.tries)


def _check(file: _File, kind: Kind, name: str) -> None:
    """FormatError where the parts do not go with the kind."""
    def refuse(sentence: str, remedy: str) -> None:
        raise FormatError(tr("The recipe {name}: {sentence}", name=name, sentence=sentence), remedy, field="recipe")

    for prompt in file.prompts:
        if prompt not in kind.prompts:
            refuse(tr("the prompt “{prompt}” is never used.", prompt=prompt),
                   tr("Prompts of this kind: {names}.", names=", ".join(kind.prompts)))
    for prompt, rule in kind.prompts.items():
        template = file.prompts.get(prompt, "")
        if not template.strip():
            if not rule.optional:
                refuse(tr("the prompt “{prompt}” is missing.", prompt=prompt), tr("Write it under [prompts]."))
            continue
        known = {*_ALWAYS, *rule.must, *rule.may}
        if missing := sorted(set(rule.must) - placeholders(template)):
            refuse(tr("the prompt “{prompt}” does not hold {word}.", prompt=prompt, word=f"{{{missing[0]}}}"), tr("Put it in."))
        if unknown := sorted(placeholders(template) - known):
            refuse(tr("the prompt “{prompt}” holds {word}, which nothing fills in.", prompt=prompt, word=f"{{{unknown[0]}}}"),
                   tr("It may hold: {names}.", names=", ".join(f"{{{word}}}" for word in sorted(known))))
    for schema, properties in kind.schemas.items():
        if schema not in file.schemas:
            refuse(tr("the schema “{schema}” is missing.", schema=schema), tr("Write it under [schemas.{schema}].", schema=schema))
        answers.check_schema(file.schemas[schema], schema)
        required = file.schemas[schema].get("required", [])
        if missing := [p for p in properties if p not in required or p not in file.schemas[schema].get("properties", {})]:
            refuse(tr("the schema “{schema}” does not require the property “{word}”.", schema=schema, word=missing[0]),
                   tr("Put it in."))
    if unknown := sorted(set(file.options) - set(kind.options)):
        refuse(tr("there is no option “{word}”.", word=unknown[0]),
               tr("Options of this kind: {names}.", names=", ".join(kind.options) or "–"))
    if file.checks:
        CheckSettings.of({}, file.checks, kind.id)
    if kind.ways and not file.ways:
        refuse(tr("it lists no ways to ask."), tr("Write at least one under [[ways]]."))


def _shown(id: str) -> tuple[str, str]:
    """Title and sentence of a recipe that comes with Fledge, in the person's language. Their files hold the same in English."""
    return {
        "documents": (tr("Questions about my documents"),
                      tr("Questions and answers from passages of your own text, each with the words it rests on: "
                         "for a model that knows your subject.")),
        "answers": (tr("New answers"),
                    tr("The prompts of examples you have, answered anew: for better answers, or pairs of a better and a worse one.")),
        "seeds": (tr("More like my examples"),
                  tr("New instructions in the manner of examples you have, answered: for many more of what you wrote a few of.")),
        "topics": (tr("From topics"),
                   tr("Questions about topics you name, from many sides, with answers from what the model knows: for breadth without "
                      "documents.")),
        "evolve": (tr("Rewrite and harden"),
                   tr("Prompts you have, made harder, more concrete or merely different, and answered: for a model that copes with more "
                      "than the easy case.")),
        "multi_turn": (tr("Conversations"),
                       tr("Conversations of several turns about your topics, or that go on from your examples: for a model that remembers "
                          "what was said.")),
        "translate": (tr("Translate examples"),
                      tr("Examples you have, in another language, their structure kept: for a model that does there what it does here.")),
        "reasoning": (tr("Problems with checkable answers"),
                      tr("Problems with a worked solution and a short answer, solved twice: for the stage that learns from being right.")),
    }.get(id, ("", ""))
