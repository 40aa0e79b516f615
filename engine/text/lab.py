"""What the tokenizer lab shows: a text coloured by token, several tokenizers on the same text, tokens that are never used. No torch.

What a vocabulary costs in parameters is a matter of the model: see stages/tokenizer/lab.py.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from engine.text import scripts
from engine.text.tokenizer import Tokenizer


class Cutter(Protocol):
    """Whatever cuts text into tokens: a Tokenizer, or a baseline."""

    vocab_size: int

    def pieces(self, text: str) -> list[tuple[int, bytes]]: ...

    def token_text(self, id: int) -> str: ...


class RawBytes:
    """The baseline without learning: every byte is a token."""

    vocab_size = 256

    def pieces(self, text: str) -> list[tuple[int, bytes]]:
        return [(b, bytes([b])) for b in text.encode("utf-8", "surrogatepass")]

    def token_text(self, id: int) -> str:
        return chr(id) if id < 128 else f"<0x{id:02X}>"


@dataclass(frozen=True)
class Piece:
    """A stretch of text in one colour: mostly one token; several where they share a character, none (`ids` empty) where none covers it."""

    text: str
    ids: tuple[int, ...]


def colour(tokenizer: Cutter, text: str) -> list[Piece]:
    """The text in pieces that end with whole characters; joined, their texts are the text (lone surrogates and the like as U+FFFD)."""
    found: list[Piece] = []
    held, ids = b"", []
    for id, raw in tokenizer.pieces(text):
        held += raw
        if id >= 0:
            ids.append(id)
        try:
            shown = held.decode("utf-8")
        except UnicodeDecodeError as wrong:
            if wrong.reason == "unexpected end of data":
                continue
            shown = held.decode("utf-8", "replace")
        if not shown and found and ids:
            # A token without text of its own (it shares the characters before it) belongs to the piece before.
            found[-1] = Piece(found[-1].text, (*found[-1].ids, *ids))
        elif shown or ids:
            found.append(Piece(shown, tuple(ids)))
        held, ids = b"", []
    if held or ids:
        found.append(Piece(held.decode("utf-8", "replace"), tuple(ids)))
    return found


@dataclass(frozen=True)
class Measure:
    """How a tokenizer does on a text. `by_script` holds {script: (bytes, tokens)}; a token with a space and a word counts for the word."""

    tokens: int
    bytes: int
    characters: int
    by_script: dict[str, tuple[int, int]]

    @property
    def bytes_per_token(self) -> float:
        return self.bytes / self.tokens if self.tokens else 0.0


def measure(tokenizer: Cutter, texts: Iterable[str]) -> Measure:
    """Bytes per token over all `texts`, overall and by script."""
    tokens = size = characters = 0
    bytes_of = np.zeros(len(scripts.NAMES), np.int64)
    tokens_of = np.zeros(len(scripts.NAMES), np.int64)
    for text in texts:
        text = text.encode("utf-8", "replace").decode("utf-8")
        if not text:
            continue
        widths = _widths(tokenizer, text)
        codes = scripts.codes_of_bytes(text)
        starts = np.concatenate([[0], np.cumsum(widths)[:-1]]).astype(np.int64) if len(widths) else np.zeros(0, np.int64)
        covered = widths > 0
        highest = np.maximum.reduceat(codes, starts[covered]) if covered.any() else np.zeros(0, np.uint8)
        bytes_of += np.bincount(highest, widths[covered], len(scripts.NAMES)).astype(np.int64)
        tokens_of += np.bincount(highest, minlength=len(scripts.NAMES))
        # A token that shares the characters of the one before it counts where its first byte would be.
        tokens_of += np.bincount(codes[np.minimum(starts[~covered], len(codes) - 1)], minlength=len(scripts.NAMES))
        tokens += len(widths)
        size += len(codes)
        characters += len(text)
    order = np.argsort(-bytes_of, kind="stable")
    found = {scripts.NAMES[i]: (int(bytes_of[i]), int(tokens_of[i])) for i in order if bytes_of[i]}
    return Measure(tokens, size, characters, found)


def compare(tokenizers: Mapping[str, Cutter], text: str) -> dict[str, Measure]:
    """The same text by each tokenizer."""
    return {name: measure(tokenizer, [text]) for name, tokenizer in tokenizers.items()}


def usage(tokenizer: Tokenizer, texts: Sequence[str]) -> np.ndarray:
    """int64 [vocab_size]: how often each token occurs in `texts`."""
    counts = np.zeros(tokenizer.vocab_size, np.int64)
    for ids in tokenizer.encode_batch(texts):
        counts += np.bincount(ids, minlength=tokenizer.vocab_size)
    return counts


def unused(tokenizer: Tokenizer, counts: np.ndarray) -> list[int]:
    """Learned tokens (no single bytes, no special tokens) that `counts` of `usage` never saw."""
    special = set(tokenizer.special.values())
    return [int(id) for id in np.flatnonzero(counts == 0) if id not in special and len(tokenizer.token_bytes(int(id))) > 1]


def _widths(tokenizer: Cutter, text: str) -> np.ndarray:
    """int64: bytes of the text that each token covers; bytes without a token go to the next one."""
    if isinstance(tokenizer, Tokenizer) and tokenizer.backend == "tiktoken":
        return tokenizer.token_widths[tokenizer.encode_array(text)]
    found, waiting = [], 0
    for id, raw in tokenizer.pieces(text):
        if id < 0:
            waiting += len(raw)
        else:
            found.append(len(raw) + waiting)
            waiting = 0
    return np.array(found, np.int64)
