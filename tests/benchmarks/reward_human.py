"""Does a reward model learn what people prefer? 1,800 real pairs (Anthropic's hh-rlhf, harmless-base), a small model made here, held-out
accuracy with its interval against chance.

The model (a million parameters) is pretrained on the training side's conversations, both answers alike and without labels, and on War and
Peace. Then the reward stage itself runs, for each of `--seeds`, on the same split (by the hash of the prompt, as in every run); nothing
of a held-out conversation is read before it is judged. A bag of words is fitted on the same pairs, to say what words alone give.

What it prints: for each seed the reward model's accuracy on held-out pairs with Wilson's interval and what it began with; the mean of the
seeds; whether every seed's interval lies above one half (exit code 0).

    python -m tests.benchmarks.reward_human [--seeds 1] [--steps 150] [--percent 40] [--settings JSON] [--threads 2]
        [--keep FOLDER]
"""

import argparse
import json
import random
import re
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch

from engine.contract.rows import PreferencePair
from engine.evaluation.intervals import wilson
from engine.project.project import Project
from engine.stages.pretrain.run import run as pretrain
from engine.stages.pretrain.spec import PretrainSpec
from engine.stages.reward.estimates import fit_head
from engine.stages.reward.run import run as train_reward
from engine.stages.reward.spec import RewardSpec
from engine.text import bpe, preferences, specials, templates
from engine.text.corpus_writer import CorpusWriter
from engine.training.pair_rows import pair_key
from tests.attempts import Attempt, made_by

DATA = Path(__file__).parents[2] / ".." / "shared" / "data"
PAIRS, BOOK = DATA / "hh-harmless-pairs.jsonl.gz", DATA / "war-and-peace.txt"
WIDTH, DEPTH, HEADS, CONTEXT, VOCAB = 128, 2, 4, 384, 4096
SETTINGS = {"epochs": 1.0, "batch_size": 32, "learning_rate": 1e-3, "weight_decay": 0.1, "label_smoothing": 0.05, "keep_best": False,
            "eval_every": 0, "learning_curve": False}
"""The last step's weights: choosing a step by the held-out pairs would flatter what is then measured on them."""


def human_pairs():
    found = [row for row in preferences.read(PAIRS) if not isinstance(row, preferences.Refused)]
    assert len(found) == 1800, len(found)
    return found


def labelled(pair):
    first, second = pair.first.text, pair.second.text
    chosen, rejected = (first, second) if pair.facts["best"] == "first" else (second, first)
    return PreferencePair(id=pair.id, prompt=pair.prompt, chosen=chosen, rejected=rejected)


def split(pairs, percent):
    """(training side, held-out side), as EncodedPairs.split parts them."""
    held = [pair_key(labelled(pair)) < percent / 100 * (2**64 - 1) for pair in pairs]
    return [p for p, out in zip(pairs, held, strict=True) if not out], [p for p, out in zip(pairs, held, strict=True) if out]


def written(pair, answer):
    turns = [("User" if m.role == "user" else "Assistant") + ": " + m.content.strip() for m in pair.prompt]
    return "\n".join([*turns, "Assistant: " + answer.strip()])


def make_model(project, train, steps, seed):
    """A small model that has read the training side's conversations and half a book."""
    talks = [written(pair, answer.text) for pair in train for answer in (pair.first, pair.second)]
    book = BOOK.read_text("utf-8")[:1_600_000]
    chapters = [book[at:at + 4000] for at in range(0, len(book), 4000)]
    texts = talks + chapters
    random.Random(seed).shuffle(texts)
    with project.artifacts.create("corpus", title="talks") as made:
        writer = CorpusWriter(made.path)
        for n, text in enumerate(texts):
            writer.add("validation" if n % 40 == 0 else "train", text, "talks.txt")
        writer.finish()
        made.finish()
    with project.artifacts.create("tokenizer", title="small", parents=("corpus-1",)) as made:
        bpe.train(texts, VOCAB, special=specials.SPECIAL_TOKENS).save(made.path)
        made.finish()
    spec = PretrainSpec(corpus="corpus-1", tokenizer="tokenizer-1", depth=DEPTH, width=WIDTH, num_heads=HEADS, max_seq_len=CONTEXT,
                        tokens_per_step=4096, steps=steps, compile="off", eval_every=max(1, steps // 4), eval_tokens=50_000,
                        sample_every=0, checkpoint_every_steps=0, seed=seed)
    run = Attempt(project, project.runs.create(spec).id, spec, stage=pretrain).run()
    return run.facts().get("outcome", {}).get("val_bpb")


def reward_run(project, seed, percent, settings):
    """The stage itself, on what is in the library; (the finished artifact, its report)."""
    spec = RewardSpec(model="model-1", pairs=("pair-set-1",), compile="off", template=templates.PLAIN, seed=seed, score_unlabelled=False,
                      validation_percent=percent, **{**SETTINGS, **settings})
    run = Attempt(project, project.runs.create(spec).id, spec, stage=train_reward).run()
    made = made_by(project, run)
    return made, json.loads((made.path / "report.json").read_text("utf-8"))


def bag_of_words(train, held):
    """Share right of a logistic model on the logarithms of word counts and length, chosen less rejected."""
    counted = Counter(w for pair in train for a in (pair.first, pair.second) for w in set(re.findall(r"\w+", a.text.lower())))
    place = {w: n for n, w in enumerate(w for w, times in counted.items() if times >= 6)}

    def features(text):
        made = np.zeros(len(place) + 1)
        for w in re.findall(r"\w+", text.lower()):
            if w in place:
                made[place[w]] += 1
        made[:-1] = np.log1p(made[:-1])
        made[-1] = np.log1p(len(text))
        return made
    x, y = (np.array([features(one.chosen) - features(one.rejected) for one in map(labelled, side)]) for side in (train, held))
    return float((y @ fit_head(x, 20.0) > 0).sum())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--percent", type=float, default=40.0)
    parser.add_argument("--settings", type=json.loads, default={})
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--keep", type=Path)
    asked = parser.parse_args()
    if not PAIRS.is_file() or not BOOK.is_file():
        sys.exit(f"{PAIRS} and {BOOK} are needed")
    pairs = human_pairs()
    torch.set_num_threads(asked.threads)
    train, held = split(pairs, asked.percent)
    words = bag_of_words(train, held)
    low, high = wilson(words, len(held))
    print(f"bag of words: {100 * words / len(held):.1f} % of {len(held)} ({100 * low:.1f} to {100 * high:.1f})", flush=True)
    shares, lows = [], []
    for seed in asked.seeds:
        folder = (asked.keep or Path(tempfile.mkdtemp())) / f"human-{seed}-{asked.steps}"
        began = time.perf_counter()
        project = Project.open(folder) if folder.is_dir() else Project.create(folder)
        if not project.artifacts.list("model"):
            print(f"seed {seed}: pretrained to {make_model(project, train, asked.steps, seed)} bits a byte "
                  f"in {time.perf_counter() - began:.0f} s", flush=True)
        if not project.library.pairs.sets():
            project.library.pairs.create_set("people")
            project.library.pairs.add("pair-set-1", pairs)
        began = time.perf_counter()
        made, told = reward_run(project, seed, asked.percent, asked.settings)
        accuracy = told["accuracy"]
        shares.append(accuracy["share"])
        lows.append(accuracy["low"])
        print(f"seed {seed}: {told['pairs']} pairs learned, {accuracy['count']} held out: {100 * accuracy['share']:.1f} % "
              f"({100 * accuracy['low']:.1f} to {100 * accuracy['high']:.1f}), before {100 * made.facts['accuracy_before']:.1f} %, on the "
              f"learned ones {100 * told['accuracy_trained']['share']:.1f} %; step {made.facts['step']}; "
              f"{time.perf_counter() - began:.0f} s", flush=True)
    print(f"mean of {len(shares)}: {100 * np.mean(shares):.1f} %")
    print("every interval above chance: " + ("yes" if min(lows) > 0.5 else "no"))
    return 0 if min(lows) > 0.5 else 1


if __name__ == "__main__":
    sys.exit(main())
