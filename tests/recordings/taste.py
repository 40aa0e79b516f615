"""The recorded project's preferences: pairs of answers to the world's questions, written by its own tuned models; labels of two people;
and what is learned from them. A set that was imported with labels; a reward model, DPO and PPO in full, each also cut in mid-course.

The two people are simulated, and like what can be checked: whole sentences, and short ones. They err, skip, flag and disagree now
and then. Their labels are invented, so that pictures have some; no figure of a run is.
"""

import json
import random
import re
import time
from typing import TYPE_CHECKING

from engine.contract.rows import Pair
from engine.project.ingest import ingest_run
from engine.project.labels import Choice, Label
from engine.project.project import Project
from engine.world import World

if TYPE_CHECKING:
    from tests.recordings.make import Maker

PAIRS, ELSEWHERE = "Which answer is better?", "Answers from elsewhere"
FIRST, SECOND = "Noor", "Ben"
LEARNING = {"compile": "off", "dtype": "float32", "sample_tokens": 16, "checkpoint_every_steps": 0, "max_seq_len": 48}
GUIDELINES = """# Which answer is better?

- A **whole sentence** is better than a word or a torn one.
- Of two whole sentences the *shorter* one is better.
- Equally short: a tie. Neither is a sentence: both bad.
"""
SENTENCE = re.compile(r"[A-Z][a-z]+('s)? [\w' ]+ \w+\.")
COMMENTS = ("Shorter, and a whole sentence.", "Torn in the middle.", "Hard to tell: both are odd.")


def make_preferences(maker: "Maker", tuned: str, other: str, examples: str) -> None:
    """Pairs that the models `tuned` and `other` write to questions of the set `examples`, their labels, and runs of learning from them."""
    project, world = Project.open(maker.dir), World(42)
    file = maker.dir.parent / "text" / "answers.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in elsewhere(world)) + "\n", "utf-8")
    maker.call("pairs", str(maker.dir), "import", str(file), "--title", ELSEWHERE)
    ask = {"examples": json.dumps([examples]), "first": f"project:{tuned}", "second": f"project:{other}", "first_temperature": 0.8,
           "second_temperature": 1.4, "max_tokens": 16}
    maker.until("preference", {**ask, "title": "More pairs", "count": 2000, "seed": 2}, 150)
    maker.stage("preference", {**ask, "title": PAIRS, "count": 300})
    made = project.runs.list("preference")[-1]
    ingest_run(project, made.id)
    pairs = project.library.pairs
    [set_id] = [one.id for one in pairs.sets() if one.run == made.id]
    pairs.set_guidelines(GUIDELINES, FIRST)
    label(project, set_id, FIRST, 220, random.Random(1), errors=0.04)
    label(project, set_id, SECOND, 60, random.Random(2), errors=0.15)
    learn = {**LEARNING, "model": tuned, "pairs": json.dumps([set_id])}
    maker.until("reward", {**learn, "title": "world-taste-slow", "epochs": 40, "learning_rate": 0.0005, "eval_every": 10}, 50)
    maker.stage("reward", {**learn, "title": "world-taste-short", "max_seq_len": 16, "too_long": "leave_out"}, fails=True)
    maker.stage("reward", {**learn, "title": "world-taste", "epochs": 6, "learning_rate": 0.0005, "ties": False, "validation_percent": 25,
                           "batch_size": 16, "eval_every": 10})
    reward = project.artifacts.list("reward_model")[-1].id
    maker.until("dpo", {**learn, "title": "world-preferred-hasty", "epochs": 40, "learning_rate": 0.002, "batch_size": 16,
                        "eval_every": 10}, 70)
    maker.stage("dpo", {**learn, "title": "world-preferred", "epochs": 3, "learning_rate": 0.0003, "batch_size": 16, "sft_weight": 1,
                        "eval_every": 10})
    rounds = {**{name: value for name, value in LEARNING.items() if name not in ("max_seq_len", "compile")}, "model": tuned,
              "reward": reward, "examples": json.dumps([examples]), "batch_size": 64, "max_new_tokens": 16, "validation_prompts": 32,
              "learning_rate": 0.0005}
    maker.until("ppo", {**rounds, "title": "world-rewarded-long", "rollouts": 100, "eval_every": 8}, 16)
    maker.stage("ppo", {**rounds, "title": "world-rewarded", "rollouts": 8, "eval_every": 4})


def elsewhere(world: World) -> list[dict[str, str]]:
    """A file of a person's: the right answer beside a wrong one to the same question about somebody else, as TRL reads it."""
    asked = world.questions("train")[5::17]
    return [{"prompt": q.text, "chosen": q.answer, "rejected": other.answer} for q, other in zip(asked, asked[1:], strict=False)
            if q.answer != other.answer][:64]


def label(project: Project, set_id: str, author: str, count: int, draw: random.Random, errors: float) -> None:
    """One sitting: cards in the library's own order, also those it shows again, at a person's pace."""
    pairs, clock = project.library.pairs, time.time() - 7 * count
    for position in range(1, count + 1):
        card = pairs.next((set_id,), author)
        if card is None:
            return
        seconds = round(draw.uniform(2.5, 9.0), 1)
        clock += seconds
        choice = judged(card.pair)
        if draw.random() < errors:
            choice = draw.choice(("first", "second", "tie"))
        if draw.random() < 0.03:
            choice = "skip"
        strength = draw.choice((1, 2, 2, 3)) if choice in ("first", "second") else 0
        better = card.pair.first.text if choice == "first" else card.pair.second.text
        flagged = draw.random() < 0.02
        pairs.label(card.pair.id, Label(
            choice, strength, author=author, round=card.round, left=card.left, seconds=seconds, position=position, made=clock,
            edited=f"{better.rstrip('.')}, as far as the almanac tells." if strength and position % 61 == 7 else "",
            comment=draw.choice(COMMENTS) if flagged or position % 47 == 5 else "", flagged=flagged))


def judged(pair: Pair) -> Choice:
    """What both people like: a whole sentence; of two, the shorter one."""
    first, second = ((SENTENCE.fullmatch(text.strip()) is None, len(text) // 3) for text in (pair.first.text, pair.second.text))
    if first == second:
        return "bad" if first[0] else "tie"
    return "first" if first < second else "second"
