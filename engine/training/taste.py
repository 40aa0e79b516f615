"""A taste of a corpus in tokens: its first documents, for measured fits of corpora that nobody has tokenized yet. Nothing is written."""

import time
from pathlib import Path

import numpy as np

from engine.text.corpus import Corpus
from engine.text.tokenizer import Tokenizer

TASTE_TOKENS = 200_000


class Taste:
    """The first documents of a split, tokenized in memory. Read as shards are."""

    def __init__(self, tokenizer: Tokenizer, corpus: Corpus, split: str, wanted: int) -> None:
        begin = [] if tokenizer.bos_id is None else [tokenizer.bos_id]
        end = [] if tokenizer.eos_id is None else [tokenizer.eos_id]
        parts, lengths, self.bytes, tokens = [], [], 0, 0
        for texts in corpus.texts(split):
            for text in texts:
                ids = np.concatenate([begin, tokenizer.encode_array(text), end]).astype(np.int64)
                parts.append(ids)
                lengths.append(len(ids))
                tokens, self.bytes = tokens + len(ids), self.bytes + len(text.encode("utf-8", "replace"))
                if tokens >= wanted:
                    break
            if tokens >= wanted:
                break
        self._ids = np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)
        self.starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)

    @property
    def tokens(self) -> int:
        return len(self._ids)

    @property
    def documents(self) -> int:
        return len(self.starts) - 1

    def document(self, number: int) -> np.ndarray:
        return self._ids[self.starts[number]:self.starts[number + 1]]

    def slice(self, start: int, stop: int) -> np.ndarray:
        return self._ids[start:stop]


class Tastes:
    """Both splits; `total_tokens` is the estimate for the whole training text."""

    def __init__(self, tokenizer: Tokenizer, folder: Path) -> None:
        corpus = Corpus.open(folder)
        began = time.perf_counter()
        self._splits = {name: Taste(tokenizer, corpus, name, TASTE_TOKENS) for name in ("train", "validation")}
        taken = sum(s.bytes for s in self._splits.values())
        whole = corpus.counts("train").bytes + corpus.counts("validation").bytes
        self.tokenize_seconds = (time.perf_counter() - began) * whole / max(1, taken)
        train = self._splits["train"]
        self.total_tokens = round(train.tokens * corpus.counts("train").bytes / max(1, train.bytes))

    def split(self, name: str) -> Taste:
        return self._splits[name]
