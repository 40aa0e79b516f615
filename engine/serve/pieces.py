"""The text of one completion as it grows: whole characters only, stop strings cut off, tokens and text kept in step. No torch.

What comes out is made of whole tokens: a token leaves when its text is certain, so that the text streamed is always the sum of the texts of
the tokens streamed. Text that may be the beginning of a stop string waits.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol


@dataclass(frozen=True)
class Choice:
    """One token the model might have written, with the natural logarithm of its probability."""

    id: int
    logprob: float
    bytes: bytes = b""


@dataclass(frozen=True)
class Token:
    """A token written, or read. `text` is what it added to the text ("" while a character is not whole yet); `logprob` is the model's own,
    before temperature and cuts (None for the first token of a text, which has nothing before it, and where nobody asked); `rank` its place
    among all tokens, 1 for the most likely; `top` the likeliest, best first."""

    id: int
    bytes: bytes
    text: str
    logprob: float | None = 0.0
    rank: int = 0
    top: tuple[Choice, ...] = ()


class Decoder(Protocol):
    """Turns ids into text without half characters."""

    def push(self, id: int) -> str: ...

    def finish(self) -> str: ...


class Growing:
    """`push` each token as it is written; it gives those whose text is certain now. `stopped` once a stop string has appeared, which is cut
    off with what follows it; `finish` gives the rest."""

    def __init__(self, decoder: Decoder, stops: Sequence[str] = ()) -> None:
        self._decoder, self._stops = decoder, [s for s in stops if s]
        self._waiting: list[Token] = []
        self.stopped = False

    def push(self, token: Token) -> list[Token]:
        assert not self.stopped, "a token after the end"
        self._waiting.append(replace(token, text=self._decoder.push(token.id)))
        if not self._stops:
            return self._release(len(self._text()))
        text = self._text()
        found = [at for at in (text.find(stop) for stop in self._stops) if at >= 0]
        if found:
            self.stopped = True
            return self._cut(min(found))
        return self._release(len(text) - self._held(text))

    def finish(self) -> list[Token]:
        """What was waiting: no stop string came of it. Bytes that never became a character show as U+FFFD."""
        if self.stopped:
            return []
        rest = self._decoder.finish()
        if rest and self._waiting:
            self._waiting[-1] = replace(self._waiting[-1], text=self._waiting[-1].text + rest)
        elif rest:
            self._waiting.append(Token(id=-1, bytes=b"", text=rest))
        out, self._waiting = self._waiting, []
        return out

    def _text(self) -> str:
        return "".join(token.text for token in self._waiting)

    def _held(self, text: str) -> int:
        """Length of the longest end of `text` that begins a stop string."""
        longest = 0
        for stop in self._stops:
            for size in range(min(len(stop) - 1, len(text)), longest, -1):
                if text.endswith(stop[:size]):
                    longest = size
                    break
        return longest

    def _release(self, safe: int) -> list[Token]:
        """The tokens that end within the first `safe` characters; a half character waits for its other half."""
        out, end = [], 0
        for token in self._waiting:
            end += len(token.text)
            if end > safe:
                break
            out.append(token)
        del self._waiting[:len(out)]
        return out

    def _cut(self, at: int) -> list[Token]:
        """The tokens before position `at`; the one that reaches over it loses what is past it."""
        out, start = [], 0
        for token in self._waiting:
            if start >= at:
                break
            out.append(replace(token, text=token.text[:at - start]))
            start += len(token.text)
        self._waiting = []
        return out



