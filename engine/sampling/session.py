"""One model, one asker, in this process: `fledge chat` and the demo's samples. No network, no batching with others (see slots.py)."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from engine.contract.errors import InputError
from engine.contract.words import tr
from engine.model.checkpoint import TOKENIZER, load_model, stop_ids
from engine.sampling.sampling import Sampling
from engine.sampling.slots import SlotEngine
from engine.text.tokenizer import StreamDecoder, Tokenizer


class Continuation:
    """Iterate to get the text as it is written, never half a character. `tokens` and `finish` ("stop", "length") are known at the end."""

    def __init__(self, slots: SlotEngine, tokenizer: Tokenizer, prompt: list[int], sampling: Sampling) -> None:
        self._slots, self._decoder = slots, StreamDecoder(tokenizer)
        self.tokens, self.finish, self._size = 0, "", tokenizer.vocab_size
        slots.add(self, prompt, sampling, alternatives=0)

    def __iter__(self) -> Iterator[str]:
        try:
            while not self.finish:
                for token in self._slots.step():
                    self.finish = token.finish_reason
                    if self.finish != "stop":
                        self.tokens += 1
                        if token.id < self._size:  # rows that only pad the embedding have no text
                            yield self._decoder.push(token.id)
            yield self._decoder.finish()
        finally:
            self._slots.remove(self)


class Session:
    """A loaded model with its tokenizer."""

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        self.tokenizer = Tokenizer.load(folder / TOKENIZER)
        self._slots = SlotEngine(load_model(folder, device), slots=1)
        self._stops = stop_ids(folder, self.tokenizer)

    def stream(self, text: str, turns: Sequence[dict[str, str]] | None = None, **sampling: float) -> Continuation:
        """Continue `text` as it would stand at the beginning of a document; with `turns` (also empty), answer it as the next user turn of a
        conversation. `sampling` are fields of Sampling."""
        if turns is None:
            ids = [i for i in (self.tokenizer.bos_id,) if i is not None] + self.tokenizer.encode(text)
        else:
            ids = self.tokenizer.encode_chat([*turns, {"role": "user", "content": text}])
        if not ids:
            raise InputError(tr("There is nothing to continue."), tr("Type the beginning of a text."), code="empty_prompt")
        return Continuation(self._slots, self.tokenizer, ids, Sampling(stop_ids=self._stops, **sampling))  # type: ignore[arg-type]


def open_model(folder: Path, device: str = "auto") -> Session:
    """The model in `folder` on a device: "auto" is the best there is."""
    from engine.training.devices import choose
    return Session(folder, choose(device).id)
