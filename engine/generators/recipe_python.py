"""Recipes in Python, for what no kind of recipe does. The file is a program of the person's: it runs in the worker, with the person's
rights, and only after they confirmed exactly this text (recipe.py compares the SHA-256). Reading its title never runs it.

    ID, TITLE, SENTENCE = "capitals", "Capitals", "Asks for capitals."
    NEEDS = ["topics"]                  # documents, seeds, topics

    def rows(inputs):                   # RecipeInputs; yields what is asked, one a row
        for country in inputs.topics:
            yield {"prompt": f"What is the capital of {country}?", "facts": {"country": country}}

    def example(row, answer):           # optional: what becomes of an answer; None leaves it out
        return {"answer": answer.strip()}

A row holds `prompt` or `messages` ([{"role", "content"}]), and may hold `system` (for asking only), `facts` and `schema`. Answers of two
responders are judged as in every other recipe.
"""

import ast
import json
import random
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from engine.contract.errors import FledgeError, FormatError
from engine.contract.rows import Message
from engine.contract.words import tr
from engine.generators import answers
from engine.generators.asks import Role
from engine.generators.recipe_rows import RecipeInputs, Row, make, number_of
from engine.generators.recipe_talk import Candidate, Talk

if TYPE_CHECKING:
    from engine.contract.rows import Example
    from engine.generators.recipe import Recipe

NEEDS = ("documents", "seeds", "topics", "language")
KEEP = 8
_namespaces: dict[str, dict[str, Any]] = {}


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")
    prompt: str = ""
    messages: list[Message] = []
    system: str = ""
    facts: dict[str, Any] = {}
    schema_: dict[str, Any] | None = None


def declared(text: str, name: str, trusted: bool) -> "Recipe":
    """What a file says about itself, read without running it. FormatError where it is no recipe."""
    from engine.generators.judging import RUBRIC
    from engine.generators.recipe import Recipe

    try:
        tree = ast.parse(text, name)
    except (SyntaxError, ValueError, RecursionError) as wrong:
        raise FormatError(tr("The recipe {name} is not Python: {reason}", name=name, reason=str(wrong)), tr("Correct it there."),
                          field="recipe") from wrong
    values: dict[str, Any] = {}
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    for node in tree.body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            names, content = node.targets[0], node.value
            pairs = zip(names.elts, content.elts, strict=False) if isinstance(names, ast.Tuple) and isinstance(content, ast.Tuple) \
                else [(names, content)]
            for target, value in pairs:
                if isinstance(target, ast.Name) and target.id.isupper():
                    try:
                        values[target.id] = ast.literal_eval(value)
                    except ValueError:
                        continue
    if "rows" not in functions:
        raise FormatError(tr("The recipe {name} has no function “rows”.", name=name), tr("Write def rows(inputs): …"), field="recipe")
    needs = values.get("NEEDS", [])
    if not isinstance(needs, (list, tuple)) or set(needs) - set(NEEDS):
        raise FormatError(tr("The recipe {name}: NEEDS names something unknown.", name=name),
                          tr("Choose among: {names}.", names=", ".join(NEEDS)), field="recipe")
    stem = Path(name).stem
    return Recipe(str(values.get("ID", stem)), "python", str(values.get("TITLE", stem)), str(values.get("SENTENCE", "")), text, name,
                  tuple(needs), rubric=str(values.get("RUBRIC", "")).strip() or RUBRIC, trusted=trusted,
                  language_rules={"own": "", "given": "Write in {language}."})


def _namespace(recipe: "Recipe") -> dict[str, Any]:
    if recipe.sha256 not in _namespaces:
        while len(_namespaces) >= KEEP:
            _namespaces.pop(next(iter(_namespaces)))
        made: dict[str, Any] = {"__name__": "fledge_recipe", "__file__": recipe.path}
        _run(recipe, lambda: exec(compile(recipe.text, recipe.path, "exec"), made))
        _namespaces[recipe.sha256] = made
    return _namespaces[recipe.sha256]


def _run(recipe: "Recipe", work: Callable[[], Any]) -> Any:
    """What `work` gives; whatever the recipe's code raises becomes FormatError with the line in it."""
    try:
        return work()
    except FledgeError:
        raise
    except Exception as wrong:
        lines = [f.lineno for f in traceback.extract_tb(wrong.__traceback__) if f.filename == recipe.path]
        raise FormatError(tr("The recipe {name}, line {line}: {reason}", name=Path(recipe.path).name, line=lines[-1] if lines else "?",
                             reason=f"{type(wrong).__name__}: {wrong}"), tr("Correct it there."), field="recipe",
                          code="recipe_failed") from wrong


def plan(recipe: "Recipe", inputs: RecipeInputs) -> Iterator[Row]:
    """One row for each thing the recipe yields. `random` is seeded first, so that the same inputs plan the same rows."""
    namespace = _namespace(recipe)
    random.seed(number_of("python", inputs.seed))
    yielded = _run(recipe, lambda: iter(namespace["rows"](inputs)))
    over = object()
    for number in range(inputs.count):
        given = _run(recipe, lambda: next(yielded, over))
        if given is over:
            return
        yield make(inputs, number, _given(recipe, given, number))


def _given(recipe: "Recipe", given: Any, number: int) -> dict[str, Any]:
    if isinstance(given, str):
        given = {"prompt": given}
    try:
        if isinstance(given, dict) and "schema" in given:
            given = {**{k: v for k, v in given.items() if k != "schema"}, "schema_": given["schema"]}
        asked = _Asked.model_validate(given)
        made = json.loads(json.dumps(asked.model_dump(mode="json"), allow_nan=False))
        reason = "" if bool(asked.prompt.strip()) != bool(asked.messages) else "prompt or messages, one of them"
        if asked.messages and asked.messages[-1].role != "user":
            reason = "the last message must be the user's"
    except (ValidationError, ValueError, TypeError) as wrong:
        reason = str(wrong.errors()[0]["msg"]) if isinstance(wrong, ValidationError) else str(wrong)
        made = {}
    if reason:
        raise FormatError(tr("The recipe {name}, row {number}: {reason}", name=Path(recipe.path).name, number=number + 1, reason=reason),
                          tr("A row is a text, or a dictionary with “prompt” or “messages”."), field="recipe", code="recipe_failed")
    if asked.schema_ is not None:
        answers.check_schema(asked.schema_, f"{number + 1}")
    return made


def steps(talk: Talk) -> Iterator["Example"]:
    recipe, given = talk.recipe, talk.row.given
    namespace = _namespace(recipe)
    conversation = [Message(**m) for m in given["messages"]] or [Message(role="user", content=given["prompt"])]
    system = [Message(role="system", content=given["system"])] if given["system"] else []
    left_out = False

    def write(role: Role) -> Candidate:
        nonlocal left_out
        if given["schema_"] is None:
            made = talk.free([*system, *conversation], role)
        else:
            read = talk.read_messages((*system, *conversation), given["schema_"], role)
            text = json.dumps(read.found, ensure_ascii=False) if read.found else talk.final(read.reply, read.reply.text)
            made = Candidate(text, read.reply.model, (read.flag,) if read.flag else ())
        if "example" in namespace and not made.flags:
            changed = _run(recipe, lambda: namespace["example"](dict(given), made.text))
            left_out = left_out or changed is None
            if isinstance(changed, str):
                changed = {"answer": changed}
            if changed is not None:
                made = Candidate(str(changed.get("answer", made.text)), made.model, tuple(changed.get("flags", ())),
                                 dict(changed.get("facts", {})))
        return made

    found = talk.example(conversation, write, facts=given["facts"])
    if not left_out:
        yield found
