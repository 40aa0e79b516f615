"""A small project about preferences for tests of the window: a model that answers, pairs that two people labelled, a set of questions, and
a reward model trained from them by the real stage.

    python -m tests.preferring FOLDER        in a process of its own: it loads torch

Labels have a taste that a tiny model can learn: answers that say thanks.
"""

import os
import random
import subprocess
import sys
from pathlib import Path

from engine.contract.rows import Answer, Example, Message, Pair, pair_id

THINGS = "apple brick cloud dress eagle fence grape horse island jacket kettle ladder mirror needle orange pencil quilt river".split()


def question(number: int) -> tuple[Message, ...]:
    draw = random.Random(number)
    return (Message(role="user", content=f"Tell me of the {draw.choice(THINGS)} and the {draw.choice(THINGS)} {number % 40}."),)


def pair(number: int, best: str = "first", **facts: object) -> Pair:
    """Two answers of which one says thanks; which of them stands first is drawn. `best`: as if the thankful one stood first."""
    draw = random.Random(number)
    words = [draw.choices(THINGS, k=draw.randint(3, 6)) for _ in range(2)]
    words[0].insert(draw.randint(0, len(words[0])), "thanks")
    texts = [" ".join(some) for some in words]
    if number % 2 == 0:
        texts.reverse()
        best = {"first": "second", "second": "first"}.get(best, best)
    said = {"best": best, "by": ("ann", "bob")[number % 2], "strength": 1 + number % 3, **facts} if best else {}
    prompt = question(number)
    return Pair(id=pair_id(prompt, *texts), prompt=prompt, first=Answer(text=texts[0]), second=Answer(text=texts[1]), facts=said)


def make(folder: Path) -> None:
    import torch

    from engine.model.checkpoint import save_weights
    from engine.model.config import ModelConfig
    from engine.model.decoder import Decoder
    from engine.project import launch
    from engine.project.follow import follow
    from engine.project.project import Project
    from engine.stages.reward.spec import RewardSpec
    from engine.text import bpe, specials
    torch.set_num_threads(1)
    project = Project.create(folder, "Thanks")
    tokenizer = bpe.train([f"thanks {' '.join(random.Random(n).sample(THINGS, 8))}. Tell me of the {n}." for n in range(200)], 420,
                          special=specials.SPECIAL_TOKENS)
    config = ModelConfig(vocab_size=tokenizer.vocab_size, hidden_size=32, num_layers=2, num_heads=2, num_kv_heads=2, head_dim=16,
                         intermediate_size=64, max_seq_len=96, tie_embeddings=True)
    with project.artifacts.create("model", title="Small") as made:
        save_weights(made.path, Decoder(config, seed=3))
        tokenizer.save(made.path)
        made.finish(steps=0, chat=True)
    library = project.library
    library.pairs.create_set("Taste")
    library.pairs.add("pair-set-1", [pair(n) for n in range(260)] + [pair(n, "tie") for n in range(300, 312)] +
                      [pair(n, "bad") for n in (320, 321)])
    library.pairs.create_set("Not labelled")
    library.pairs.add("pair-set-2", [pair(n, "") for n in range(400, 410)])
    questions = library.examples.create_set("Questions")
    library.examples.add(questions.id, [Example(id=f"q{n}", messages=(*question(n), Message(role="assistant", content="thanks")))
                                        for n in range(500, 520)], "person")
    run = project.runs.create(RewardSpec(model="model-1", pairs=("pair-set-1", "pair-set-2"), title="Likes thanks", compile="off",
                                         dtype="float32", epochs=4.0, batch_size=16, learning_rate=4e-3, validation_percent=25.0))
    state = follow(run, launch.start(run, "cpu"))
    assert state.status == "done", run.log_tail()


def made_once(folder: Path) -> Path:
    """The project under a test session's folder, made by whoever asks first."""
    made = folder / "thanks"
    if not (folder / "thanks.done").exists():
        done = subprocess.run([sys.executable, "-m", "tests.preferring", str(made)], cwd=Path(__file__).parents[1], capture_output=True,
                              text=True, env={**os.environ, "FLEDGE_THREADS": "1", "FLEDGE_HOME": str(folder / "thanks-home")})
        assert done.returncode == 0, done.stderr
        (folder / "thanks.done").touch()
    return made


if __name__ == "__main__":
    make(Path(sys.argv[1]))
