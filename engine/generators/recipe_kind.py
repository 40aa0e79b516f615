"""What a kind of recipe is. Those there are stand in recipe_kinds.py."""

from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.contract.rows import Example
from engine.generators.recipe_rows import RecipeInputs, Row
from engine.generators.recipe_talk import Talk

if TYPE_CHECKING:
    from engine.generators.recipe import Recipe

Examples = Generator[Example, None, None]


@dataclass(frozen=True)
class Prompt:
    """What a prompt must hold and may hold besides."""

    must: tuple[str, ...] = ()
    may: tuple[str, ...] = ()
    optional: bool = False


@dataclass(frozen=True)
class Kind:
    """
    needs     documents, seeds, topics, language: what must be given; "topics_or_seeds": one of the two
    prompts   by name; every one may hold {language} and {language_rule}
    schemas   by name: properties that the schema must require
    options   whole numbers with their default
    ways      whether the recipe lists ways to ask
    """

    id: str
    needs: tuple[str, ...]
    prompts: Mapping[str, Prompt]
    schemas: Mapping[str, tuple[str, ...]]
    plan: Callable[["Recipe", RecipeInputs], Iterator[Row]]
    steps: Callable[[Talk], Examples]
    options: Mapping[str, int]
    ways: bool = False
