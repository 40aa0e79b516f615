"""One model in memory: its weights, its tokenizer, its SlotEngine, and who is using it. Lives in the engine thread; imports torch.

float32 wherever a model is small enough for that to be quick, so that an answer does not depend on who is answered beside it; bfloat16 for
large models on accelerators.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import psutil
import torch

from engine.contract.errors import SettingError
from engine.contract.machine import DeviceFacts
from engine.contract.words import tr
from engine.model.adapter_files import weights_file
from engine.model.checkpoint import TOKENIZER, load_model, stop_ids
from engine.model.config import ModelConfig
from engine.sampling.grammar import Grammars, JsonConstraint
from engine.sampling.reading import STEP_TOKENS, Read, Reader
from engine.sampling.sampling import Sampling
from engine.sampling.slots import CHUNK, SlotEngine
from engine.serve.catalogue import Listed
from engine.serve.jobs import Continued, Conversation, Ids, Job, Pair, Prompt, Settings
from engine.serve.pieces import Choice, Growing, Token
from engine.text.tokenizer import StreamDecoder, Tokenizer
from engine.training import devices

SLOTS = 32
EXACT_PARAMETERS = 500_000_000
CACHE_SHARE = 0.25  # of the free memory that the caches of all slots of a model may take


@dataclass(frozen=True)
class Encoded:
    """Ids of a prompt; those from `start` on are what a score is about. `own`: how many of the first ones the server put there."""

    ids: list[int]
    start: int = 1
    own: int = 0


@dataclass(eq=False)
class Running:
    """A job under way. `room` is how many tokens it may have, by its own wish or by the context (`context_ends`)."""

    job: Job
    prompt: Encoded
    growing: Growing
    room: int
    context_ends: bool
    begun: float
    constraint: JsonConstraint | None = None
    first: float = 0.0
    count: int = 0

    @property
    def prompt_tokens(self) -> int:
        return len(self.prompt.ids)


class Loaded:
    """`add` jobs, `step` and `read`, `remove`. `used` is when it was last needed (monotonic seconds); `keep` seconds after which it may
    leave (None: as the server was told, below 0: never)."""

    def __init__(self, listed: Listed, device: DeviceFacts) -> None:
        self.listed, self.device = listed, device
        self.stamp = self.stamp_of(listed)
        self.tokenizer = Tokenizer.load(listed.ref.folder / TOKENIZER)
        self.dtype = dtype_of(listed.config, device)
        model = load_model(listed.ref.folder, device.id, self.dtype)
        self.capacity = max(1, min(SLOTS, int(bytes_free(device) * CACHE_SHARE / slot_bytes(listed.config, self.dtype))))
        self.slots = SlotEngine(model, slots=self.capacity)
        self.reader = Reader(model)
        self.running: dict[Job, Running] = {}
        self.used = time.monotonic()
        self.keep: float | None = None
        self.stop_ids = stop_ids(listed.ref.folder, self.tokenizer)
        self._weights = sum(p.nbytes for p in model.parameters())

    @staticmethod
    def stamp_of(listed: Listed) -> tuple[int, int]:
        """Changes when a checkpoint is written anew under the same name."""
        found = weights_file(listed.ref.folder).stat()
        return found.st_mtime_ns, found.st_size

    @property
    def active(self) -> int:
        """Answers that are being written."""
        return self.slots.active

    @property
    def nbytes(self) -> int:
        return self._weights + self.slots.nbytes + self.reader.nbytes

    @cached_property
    def grammars(self) -> Grammars:
        return Grammars(self.tokenizer, self.listed.config.vocab_size, self.stop_ids)

    # -- prompts -----------------------------------------------------------------------------------------------------

    def encode(self, job: Job) -> Encoded:
        """Ids of a job's prompt. One that is empty, of another tokenizer, or leaves no room for what is wanted is a SettingError with the
        numbers."""
        made, name = self._encode(job.prompt)
        if job.truncate:
            made = Encoded(made.ids[: self._context(job.settings)], made.start, made.own)
        self._check(made.ids, name, job)
        return made

    def _encode(self, prompt: Prompt) -> tuple[Encoded, str]:
        """And the name of the parameter that it came by."""
        words = self.tokenizer
        if isinstance(prompt, Pair):
            before, name = self._encode(prompt.prompt)
            after = list(prompt.completion.ids) if isinstance(prompt.completion, Ids) else words.encode(prompt.completion.text)
            if prompt.end:
                after += [id for id in (words.end_id if isinstance(prompt.prompt, Conversation) else words.eos_id,) if id is not None]
            if not before.ids or not after:
                raise SettingError(tr("A prompt or completion is empty."), tr("Give at least one token of each."), code="bad_parameter",
                                   field="input")
            return Encoded([*before.ids, *after], len(before.ids)), "input"
        if isinstance(prompt, Conversation):
            return Encoded(words.encode_chat([m.model_dump() for m in prompt.messages])), "messages"
        if isinstance(prompt, Ids):
            return Encoded(list(prompt.ids)), "prompt"
        if isinstance(prompt, Continued):
            then, name = self._encode(prompt.prompt)
            between = [words.end_id] if name == "messages" and words.end_id not in (None, prompt.before[-1]) else []
            fresh = then.ids[1:] if then.ids[:1] == [words.bos_id] else then.ids
            return Encoded([*prompt.before, *(id for id in between if id is not None), *fresh]), "prompt"
        ids = words.encode(prompt.text)  # a text to continue, as it stood in training: at the beginning of a document
        return (Encoded(ids) if words.bos_id is None else Encoded([words.bos_id, *ids], own=1)), "prompt"

    def _check(self, ids: list[int], name: str, job: Job) -> None:
        config = self.listed.config
        name = name if job.purpose == "complete" else "input"
        wrong = next((i for i in ids if not 0 <= i < config.vocab_size), None)
        if wrong is not None:
            raise SettingError(tr("There is no token {id}: this model has {count}.", id=wrong, count=f"{config.vocab_size:,}"),
                               tr("Use ids of the model's own tokenizer."), code="bad_parameter", field=name)
        if not ids:
            raise SettingError(tr("The prompt is empty."), tr("Give at least one token."), code="bad_parameter", field=name)
        room, answers = self._context(job.settings), job.purpose == "complete" and job.settings.max_tokens != 0
        if answers and len(ids) >= room:
            raise SettingError(tr("The prompt has {tokens} tokens; this model sees {room}, the answer included.", tokens=f"{len(ids):,}",
                                  room=f"{room:,}"), tr("Shorten it by {over} tokens or more.", over=f"{len(ids) - room + 1:,}"),
                               code="context_length_exceeded", field=name)
        if len(ids) > room:
            raise SettingError(tr("The text has {tokens} tokens; this model sees {room}.", tokens=f"{len(ids):,}", room=f"{room:,}"),
                               tr("Shorten it by {over} tokens or more.", over=f"{len(ids) - room:,}"), code="context_length_exceeded",
                               field=name)

    def _context(self, settings: Settings) -> int:
        return min(self.listed.config.max_seq_len, settings.context or self.listed.config.max_seq_len)

    # -- jobs --------------------------------------------------------------------------------------------------------

    def add(self, job: Job, prompt: Encoded) -> None:
        ask = job.settings
        wish, space = ask.max_tokens, self._context(ask) - len(prompt.ids)
        growing = Growing(_Decoder(self.tokenizer), ask.stops)
        room = space if wish is None else min(wish, space)
        running = Running(job, prompt, growing, room, wish is None or wish > space, time.monotonic(),
                          self.grammars.constraint(ask.grammar) if ask.grammar else None)
        if job.purpose == "embed":
            self.reader.add(job, prompt.ids, mean=True)
        elif job.purpose == "score" or (ask.echo and ask.top >= 0):
            self.reader.add(job, prompt.ids, start=prompt.start, alternatives=max(0, ask.top))
        elif room > 0:
            self._complete(running)
        self.running[job] = running

    def _complete(self, running: Running) -> None:
        ask = running.job.settings
        sampling = Sampling(temperature=ask.temperature, top_k=ask.top_k, top_p=ask.top_p, repetition_penalty=ask.repetition_penalty,
                            seed=ask.seed, max_new_tokens=running.room, stop_ids=self.stop_ids)
        self.slots.add(running.job, running.prompt.ids, sampling, alternatives=max(0, ask.top),
                       constraint=running.constraint)

    def rewards(self) -> list[tuple[Running, float, float]]:
        return []

    def read_on(self, running: Running) -> bool:
        """After its prompt was read for an echo: whether there is something to write."""
        if running.room > 0:
            self._complete(running)
        return running.room > 0

    def step(self) -> Iterator[tuple[Running, Token | None, str]]:
        """One token for each job under way: (job, token, reason). The token that ends a text ("stop") is not part of it: None."""
        for made in self.slots.step():
            running = self.running[made.request]  # type: ignore[index]
            if not running.first:
                running.first = time.monotonic()
            if made.finish_reason == "stop":
                yield running, None, "stop"
                continue
            reason = "context" if made.finish_reason == "length" and running.context_ends else made.finish_reason
            yield running, self._token(made.id, made.logprob, made.rank, [(id, math.log(max(p, 1e-300))) for id, p in made.top]), reason

    def read(self) -> list[tuple[Running, Read]]:
        """Some more tokens of the texts that are read; those that are done."""
        if not self.reader.busy:
            return []
        return [(self.running[read.request], read) for read in self.reader.step(CHUNK if self.slots.active else STEP_TOKENS)
                if read.request in self.running]

    def tokens_of(self, running: Running, read: Read | None) -> tuple[Token, ...]:
        """The prompt's tokens with their text, and with their log-probabilities where it was `read`: those that a score is about, or for an
        echo all but what the server put before them."""
        ids, growing = running.prompt.ids, Growing(_Decoder(self.tokenizer, skip_special=False))
        special = set(self.tokenizer.special.values()) if running.job.purpose == "score" else set()
        start = running.prompt.start
        first = start if start > 1 or running.prompt.own else 0
        made: list[Token] = []
        for place in range(first, len(ids)):
            at = place - start
            known = read is not None and at >= 0
            token = self._token(ids[place], read.logprobs[at] if known and read else None, read.ranks[at] if known and read else 0,
                                list(read.tops[at]) if known and read else [])
            made += growing.push(replace(token, bytes=b"") if token.id in special else token)  # they stand for no bytes of a text
        return (*made, *growing.finish())

    def _token(self, id: int, logprob: float | None, rank: int, top: list[tuple[int, float]]) -> Token:
        return Token(id, self._bytes(id), "", logprob, rank, tuple(Choice(other, value, self._bytes(other)) for other, value in top))

    def _bytes(self, id: int) -> bytes:
        """Bytes of a token; none for the rows that pad a vocabulary to a round size."""
        return self.tokenizer.token_bytes(id) if id < self.tokenizer.vocab_size else b""

    def remove(self, job: Job) -> None:
        self.slots.remove(job)
        self.reader.remove(job)
        self.running.pop(job, None)

    def close(self) -> None:
        """Give the memory back."""
        del self.slots, self.reader
        self.running.clear()
        if self.device.kind == "cuda":
            torch.cuda.empty_cache()
        elif self.device.kind == "mps":
            torch.mps.empty_cache()


class _Decoder(StreamDecoder):
    """Rows of the embedding past the tokenizer's vocabulary have no text."""

    def __init__(self, tokenizer: Tokenizer, skip_special: bool = True) -> None:
        super().__init__(tokenizer, skip_special)
        self._size = tokenizer.vocab_size

    def push(self, id: int) -> str:
        return super().push(id) if id < self._size else ""


def dtype_of(config: ModelConfig, device: DeviceFacts) -> torch.dtype:
    exact = device.kind == "cpu" or config.parameters <= EXACT_PARAMETERS or "bfloat16" not in device.dtypes
    return torch.float32 if exact else torch.bfloat16


def slot_bytes(config: ModelConfig, dtype: torch.dtype) -> int:
    """Keys and values of one answer that fills the context."""
    return 2 * config.num_layers * config.num_kv_heads * config.head_dim * config.max_seq_len * dtype.itemsize


def bytes_needed(listed: Listed, device: DeviceFacts) -> int:
    """Weights, one answer's cache, and the logits of a long prompt: the least that makes sense."""
    dtype = dtype_of(listed.config, device)
    return listed.config.parameters * dtype.itemsize + slot_bytes(listed.config, dtype) + 8 * listed.config.vocab_size * SLOTS


def bytes_free(device: DeviceFacts) -> int:
    """What is free on the device right now."""
    if device.kind == "cuda":
        return int(torch.cuda.mem_get_info(device.id)[0]) + torch.cuda.memory_reserved(device.id) - torch.cuda.memory_allocated(device.id)
    if device.kind == "mps":
        return max(0, min(torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory(), psutil.virtual_memory().available))
    return devices.host_memory()[1]


def is_out_of_memory(wrong: BaseException) -> bool:
    """Whether an exception says that the device, or the machine, is full."""
    return isinstance(wrong, (torch.OutOfMemoryError, MemoryError)) or (isinstance(wrong, RuntimeError) and (
        "out of memory" in str(wrong).lower() or "can't allocate memory" in str(wrong).lower()))
