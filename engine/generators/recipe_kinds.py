"""The kinds of recipes, by name: which prompts each has, what it plans, and how a row of it is asked. The words stand in the recipe's file.

A kind's `plan` gives rows; its `steps` asks for one row through a Talk and gives examples, flagged where something did not fit: nothing
that a model wrote is lost. Whether an example is a near duplicate of another, or held out, is quality.py's.
"""

from engine.generators.recipe_documents import DOCUMENTS
from engine.generators.recipe_kind import Kind, Prompt
from engine.generators.recipe_prompts import ANSWERS, EVOLVE, MULTI_TURN, SEEDS, TOPICS
from engine.generators.recipe_reasoning import REASONING
from engine.generators.recipe_translate import TRANSLATE

__all__ = ["KINDS", "Kind", "Prompt"]

KINDS: dict[str, Kind] = {kind.id: kind for kind in (DOCUMENTS, ANSWERS, SEEDS, TOPICS, EVOLVE, MULTI_TURN, TRANSLATE, REASONING)}
