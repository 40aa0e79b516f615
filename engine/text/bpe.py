"""Trains a byte-level BPE tokenizer: rustbpe counts and merges, the result is written as a tokenizer.json of `tokenizers`.

Ids: the 256 bytes in order, then the learned tokens in the order they were learned, then the special tokens. Memory is that of the distinct
words, not of the text. It neither reads files nor encodes.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from engine.text import chat_template, specials, split
from engine.text.tokenizer import Tokenizer, byte_alphabet

BUFFER = 256
"""Texts that rustbpe takes at a time."""


def train(texts: Iterable[str], vocab_size: int, *, single_digits: bool = True,
          special: tuple[str, ...] = specials.SPECIAL_TOKENS) -> Tokenizer:
    """A tokenizer with at most `vocab_size` tokens, 256 bytes and the special ones included; fewer where the texts yield no more pairs
    (`tokenizer.vocab_size` tells). Exceptions that `texts` raises come through. The same texts give the same tokenizer."""
    learned = vocab_size - len(special)
    assert learned >= 256, f"{vocab_size} tokens leave no room for 256 bytes and {len(special)} special tokens"
    return build(learn(texts, learned, single_digits) if learned > 256 else single_bytes(), special)


def single_bytes() -> dict[bytes, int]:
    return {bytes([b]): b for b in range(256)}


def learn(texts: Iterable[str], size: int, single_digits: bool = True) -> dict[bytes, int]:
    """token bytes -> rank, at most `size` of them, the 256 bytes first."""
    import rustbpe

    trainer = rustbpe.Tokenizer()
    pattern = split.LLAMA3_SINGLE_DIGITS if single_digits else split.LLAMA3
    # A few more than asked: should two different pairs ever make the same token, the second is dropped here.
    trainer.train_from_iterator(_parts(texts), size + 64, buffer_size=BUFFER, pattern=pattern)
    ranks: dict[bytes, int] = {}
    for token, _ in trainer.get_mergeable_ranks():
        ranks.setdefault(bytes(token), len(ranks))
        if len(ranks) == size:
            break
    return ranks


def build(ranks: Mapping[bytes, int], special: tuple[str, ...] = specials.SPECIAL_TOKENS) -> Tokenizer:
    """The tokenizer.json of `ranks`: one merge a token, in the order of the ranks."""
    alphabet = byte_alphabet()

    def shown(token: bytes) -> str:
        return "".join([alphabet[b] for b in token])

    ordered = sorted(ranks, key=ranks.__getitem__)
    merges = []
    for token in ordered:
        if len(token) > 1:
            left, right = pair_of(token, ranks)
            merges.append([shown(left), shown(right)])
    first = len(ordered)
    record: dict[str, Any] = {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": first + i, "content": name, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
                          "special": True} for i, name in enumerate(special)],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": split.LLAMA3}, "behavior": "Isolated", "invert": False},
            {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}]},
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
                  "fuse_unk": False, "byte_fallback": False, "ignore_merges": True,
                  "vocab": {shown(token): i for i, token in enumerate(ordered)}, "merges": merges},
    }
    named = {"bos_token": specials.BEGIN, "eos_token": specials.END_OF_TEXT, "pad_token": specials.PAD}
    config: dict[str, Any] = {key: name for key, name in named.items() if name in special}
    if specials.USER in special:
        config["chat_template"] = chat_template.DEFAULT_TEMPLATE
    return Tokenizer(json.dumps(record, ensure_ascii=False), config)


def pair_of(token: bytes, ranks: Mapping[bytes, int]) -> tuple[bytes, bytes]:
    """The two tokens whose merge made `token`: what its bytes come to by the merges before it."""
    rank = ranks[token]
    parts = [token[i:i + 1] for i in range(len(token))]
    while len(parts) > 2:
        best, at = rank, -1
        for i in range(len(parts) - 1):
            found = ranks.get(parts[i] + parts[i + 1], rank)
            if found < best:
                best, at = found, i
        assert at >= 0, f"token {token!r} is not made of two earlier ones"
        parts[at:at + 2] = [parts[at] + parts[at + 1]]
    return parts[0], parts[1]


def _parts(texts: Iterable[str]) -> Iterator[str]:
    """The texts in parts of bounded length, so that memory stays small. Runs without any white space, or of nothing else, are cut every
    LONGEST_RUN characters: they teach nothing, rustbpe's time grows with their square, and its regex engine overflows on long blanks."""
    for text in texts:
        text = text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
        for part in split.cut(text, longest=split.CHUNK * 2):
            if _has_long_run(part):
                start = 0
                for run in _LONG_RUN.finditer(part):
                    for end in range(run.start() + LONGEST_RUN, run.end(), LONGEST_RUN):
                        yield part[start:end]
                        start = end
                yield part[start:]
            else:
                yield part


LONGEST_RUN = 256
_LONG_RUN = re.compile(r"\s{256,}|\S{256,}")


def _has_long_run(text: str, block: int = LONGEST_RUN // 2) -> bool:
    """Whether a run of LONGEST_RUN characters may be there: one that long fills a whole block. Costs little where there is none."""
    for start in range(0, len(text) - block + 1, block):
        first = text[start:start + block].split(None, 1)
        if not first or len(first[0]) == block:
            return True
    return False
