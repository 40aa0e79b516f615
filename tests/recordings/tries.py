"""The recorded project learns by trying: problems with known answers, verifiers that a person wrote, and runs of GRPO: one done, one cut in
mid-course, and one that paused because its verifier fails on answers it did not expect.

Where code cannot be verified (the image of the sandbox was not built) the built-in verifier of numbers stands in, and none pauses.
"""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from engine.contract.errors import Missing
from engine.contract.rows import Message, Problem, problem_id
from engine.project.project import Project
from engine.verifiers.image import checked_image
from engine.world import World

if TYPE_CHECKING:
    from tests.recordings.make import Maker

PEOPLE, AGES, MINE, STRICT = "People of the world", "Ages of the world", "The right number", "The right number, at the end"
ROUNDS = {"preset": "grpo", "prompts": 12, "num_generations": 8, "max_new_tokens": 16, "dtype": "float32", "learning_rate": 0.0004,
          "checkpoint_every_steps": 10, "sample_tokens": 16, "validation_prompts": 32, "temperature": 1.2}
LAST = '''import re


def verify(prompt, completion, answer):
    """1 where the last number is the right one."""
    found = re.findall(r"[0-9]+", completion)
    return 1.0 if found and found[-1] == answer else 0.0
'''
HALF = '''import re


def verify(prompt, completion, answer):
    """1 where the last number is the right one, half where another follows."""
    found = re.findall(r"[0-9]+", completion)
    if answer in found[:-1]:
        return 0.5
    return 1.0 if found and found[-1] == answer else 0.0
'''
WHOSE = '''import re

TAGS = "<answer>(.*?)</answer>"


def verify(prompt, completion, answer) -> float:
    """Full marks; half if it is somebody else's."""
    found = re.search(TAGS, completion)
    text = found[1] if found else completion
    words = re.findall(r"[A-Za-z]+", text)
    if answer not in words:
        return 0.0
    people = re.findall("[A-Z][a-z]+", prompt)[1:]
    if len(words) == 1 or words[0] in people:
        return 1.0
    return 0.5
'''
FAILS = '''import re


def verify(prompt, completion, answer):
    """1 for the right number, three words before the end."""
    words = completion.strip().split()
    value = int(re.sub(r"[^0-9]", "", words[-3]))
    return 1.0 if value == int(answer) else 0.0
'''


def problems(world: World) -> Iterator[Problem]:
    """Questions whose answer is a number, the longer ones as the harder."""
    for asked in world.questions("train"):
        if str(asked.value).isdigit():
            prompt = (Message(role="user", content=asked.text),)
            yield Problem(id=problem_id(prompt, str(asked.value)), prompt=prompt, answer=str(asked.value),
                          difficulty=float(1 + len(asked.text) // 16), origin="person")


def people(world: World) -> Iterator[Problem]:
    """Questions about where somebody lives, what is their work and their animal."""
    levels = {"town": 1.0, "pet": 2.0, "job": 3.0}
    for asked in world.questions("train"):
        if asked.fact in levels and asked.wording < 2:
            prompt = (Message(role="user", content=asked.text),)
            yield Problem(id=problem_id(prompt, str(asked.value)), prompt=prompt, answer=str(asked.value), difficulty=levels[asked.fact],
                          origin="person")


def _imported(maker: "Maker", source: str, *how: str) -> str:
    """As a person brings a file of theirs, which is trusted by that; the new version."""
    file = maker.dir.parent / "verify.py"
    file.write_text(source, "utf-8")
    maker.call("verifiers", str(maker.dir), "import", str(file), *how)
    file.unlink()
    return max(Project.open(maker.dir).library.verifiers.list(), key=lambda one: one.updated).ref


def make_tries(maker: "Maker", tuned: str) -> None:
    """Problems, verifiers, and runs of learning from them, from the model `tuned`."""
    library = Project.open(maker.dir).library
    ages = library.problems.take(AGES, problems(World(42)), origin="person", held_out_percent=25)
    try:
        checked_image()
    except Missing:
        verifier = strict = json.dumps([{"name": "number"}])
    else:
        verifier = _imported(maker, LAST, "--title", MINE) and _imported(maker, HALF, "--into", "verifier-1")
        strict = _imported(maker, FAILS, "--title", STRICT)
    rounds = {**ROUNDS, "model": tuned, "problem_sets": json.dumps([ages.id])}
    maker.until("grpo", {**rounds, "verifier": verifier, "title": "world-solver-long", "rollouts": 200, "eval_every": 5}, 36)
    maker.stage("grpo", {**rounds, "verifier": verifier, "title": "world-solver", "rollouts": 24, "eval_every": 4})
    if strict.startswith("verifier-"):
        maker.stage("grpo", {**rounds, "verifier": strict, "title": "world-solver-strict", "rollouts": 24})
