"""Tokenizer speed, both sides in one run: training by rustbpe against `tokenizers`, encoding by tiktoken against `tokenizers`.

    python -m tests.benchmarks.tokenizer_speed [--megabytes 50] [--vocab 16384] [--text FILE]

Without --text the words are made up: 200,000 distinct ones, drawn by Zipf's law, with punctuation and numbers. Ids must be identical.
"""

import argparse
import itertools
import os
import random
import resource
import time
from pathlib import Path

os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")

import numpy as np
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from engine.text import bpe, split
from engine.text.specials import SPECIAL_TOKENS
from engine.text.tokenizer import Tokenizer


def made_up(size: int, seed: int = 0) -> list[str]:
    """Documents of some 2,000 bytes."""
    rng = random.Random(seed)
    syllables = ["".join(p) for p in itertools.product("bdfglmnprstk", "aeiou", ["", "n", "r", "st", "ll"])]
    words = ["".join(rng.choices(syllables, k=rng.randint(1, 4))) for _ in range(200_000)]
    weights = 1 / np.arange(1, len(words) + 1)
    draw = np.random.default_rng(seed)
    joins = [" "] * 12 + [", ", ". ", "\n", " 1,234 ", "'s "]
    texts, total = [], 0
    while total < size:
        chosen = draw.choice(len(words), 300, p=weights / weights.sum())
        text = "".join(words[i] + joins[j] for i, j in zip(chosen, draw.integers(0, len(joins), 300), strict=True))
        texts.append(text)
        total += len(text)
    return texts


def timed(work):
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    made = work()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return made, time.perf_counter() - began, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def train_theirs(texts: list[str], vocab: int) -> tokenizers.Tokenizer:
    made = tokenizers.Tokenizer(models.BPE(ignore_merges=True))
    cutting = pre_tokenizers.Split(tokenizers.Regex(split.LLAMA3), "isolated")
    made.pre_tokenizer = pre_tokenizers.Sequence([cutting, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    made.decoder = decoders.ByteLevel()
    made.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=vocab, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                                                        special_tokens=list(SPECIAL_TOKENS), show_progress=False))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=float, default=50)
    parser.add_argument("--vocab", type=int, default=16_384)
    parser.add_argument("--text", type=Path)
    wanted = parser.parse_args()
    if wanted.text:
        whole = wanted.text.read_text("utf-8")
        whole = whole[:int(wanted.megabytes * 1e6)]
        texts = [whole[i:i + 2000] for i in range(0, len(whole), 2000)]
    else:
        texts = made_up(int(wanted.megabytes * 1e6))
    size = sum(len(t.encode()) for t in texts) / 1e6
    print(f"{size:.1f} MB in {len(texts):,} documents, vocabulary {wanted.vocab:,}, {os.cpu_count()} cores")

    mine, wall, cpu = timed(lambda: bpe.train(texts, wanted.vocab, single_digits=False))
    print(f"train   rustbpe      {size / wall:7.1f} MB/s wall  {size / cpu:7.1f} MB per CPU-second")
    _, wall_theirs, cpu_theirs = timed(lambda: train_theirs(texts, wanted.vocab))
    print(f"train   tokenizers   {size / wall_theirs:7.1f} MB/s wall  {size / cpu_theirs:7.1f} MB per CPU-second")
    print(f"train   ratio        {wall_theirs / wall:7.2f}")

    reference = tokenizers.Tokenizer.from_str(mine.record)
    reference.encode_special_tokens = True
    fast = Tokenizer(mine.record, mine.config)
    fast.encode("warm up")
    ids, wall, cpu = timed(lambda: fast.encode_batch(texts))
    print(f"encode  tiktoken     {size / wall:7.1f} MB/s wall  {size / cpu:7.1f} MB per CPU-second")
    theirs, wall_theirs, cpu_theirs = timed(lambda: reference.encode_batch_fast(texts))
    print(f"encode  tokenizers   {size / wall_theirs:7.1f} MB/s wall  {size / cpu_theirs:7.1f} MB per CPU-second")
    print(f"encode  ratio        {wall_theirs / wall:7.2f}")
    same = sum(mine_ids.tolist() == other.ids for mine_ids, other in zip(ids, theirs, strict=True))
    print(f"identical ids in {same:,} of {len(texts):,} documents")
    assert same == len(texts)


if __name__ == "__main__":
    main()
