"""One model in memory: its weights, its tokenizer, its SlotEngine, and who is using it. Lives in the engine thread; imports torch.

float32 wherever a model is small enough for that to be quick, so that an answer does not depend on who is answered beside it; bfloat16 for
large models on accelerators.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import psutil
import torch

from engine.contract.machine import DeviceFacts
from engine.model.checkpoint import TOKENIZER, WEIGHTS, load_model
from engine.model.config import ModelConfig
from engine.sampling.sampling import Sampling
from engine.sampling.slots import SlotEngine
from engine.serve.catalogue import Listed
from engine.serve.jobs import Job
from engine.serve.pieces import Choice, Growing, Token
from engine.text.tokenizer import StreamDecoder, Tokenizer
from engine.training import devices

SLOTS = 32
EXACT_PARAMETERS = 500_000_000
CACHE_SHARE = 0.25  # of the free memory that the caches of all slots of a model may take


@dataclass(eq=False)
class Running:
    """A job under way. `limit` is how many tokens it may have, by its own wish or by the context (`context_ends`)."""

    job: Job
    prompt_tokens: int
    growing: Growing
    context_ends: bool
    begun: float
    count: int = 0


class Loaded:
    """`add` jobs, `step`, `remove`. `used` is when it was last needed (monotonic seconds)."""

    def __init__(self, listed: Listed, device: DeviceFacts) -> None:
        self.listed, self.device = listed, device
        self.stamp = self.stamp_of(listed)
        self.tokenizer = Tokenizer.load(listed.ref.folder / TOKENIZER)
        self.dtype = dtype_of(listed.config, device)
        model = load_model(listed.ref.folder, device.id, self.dtype)
        self.capacity = max(1, min(SLOTS, int(bytes_free(device) * CACHE_SHARE / slot_bytes(listed.config, self.dtype))))
        self.slots = SlotEngine(model, slots=self.capacity)
        self.running: dict[Job, Running] = {}
        self.used = time.monotonic()
        named = (self.tokenizer.eos_id, self.tokenizer.end_id, self.tokenizer.bos_id)
        self.stop_ids = tuple(sorted({id for id in named if id is not None}))
        self._weights = sum(p.nbytes for p in model.parameters())

    @staticmethod
    def stamp_of(listed: Listed) -> tuple[int, int]:
        """Changes when a checkpoint is written anew under the same name."""
        found = (listed.ref.folder / WEIGHTS).stat()
        return found.st_mtime_ns, found.st_size

    @property
    def nbytes(self) -> int:
        return self._weights + self.slots.nbytes

    def begin(self, text: str) -> list[int]:
        """A text to continue, as it stood in training: at the beginning of a document."""
        ids = self.tokenizer.encode(text)
        return ids if self.tokenizer.bos_id is None else [self.tokenizer.bos_id, *ids]

    def add(self, job: Job, ids: list[int]) -> None:
        wish, room = job.settings.max_tokens, self.listed.config.max_seq_len - len(ids)
        ask = job.settings
        sampling = Sampling(temperature=ask.temperature, top_k=ask.top_k, top_p=ask.top_p, repetition_penalty=ask.repetition_penalty,
                            seed=ask.seed, max_new_tokens=room if wish is None else min(wish, room), stop_ids=self.stop_ids)
        self.slots.add(job, ids, sampling, alternatives=max(0, ask.top))
        growing = Growing(_Decoder(self.tokenizer), ask.stops)
        self.running[job] = Running(job, len(ids), growing, wish is None or wish > room, time.monotonic())

    def step(self) -> Iterator[tuple[Running, Token | None, str]]:
        """One token for each job under way: (job, token, reason). The token that ends a text ("stop") is not part of it: None."""
        for made in self.slots.step():
            running = self.running[made.request]  # type: ignore[index]
            if made.finish_reason == "stop":
                yield running, None, "stop"
                continue
            top = tuple(Choice(id, math.log(max(p, 1e-300)), self._bytes(id)) for id, p in made.top)
            reason = "context" if made.finish_reason == "length" and running.context_ends else made.finish_reason
            yield running, Token(made.id, self._bytes(made.id), "", made.logprob, made.rank, top), reason

    def _bytes(self, id: int) -> bytes:
        """Bytes of a token; none for the rows that pad a vocabulary to a round size."""
        return self.tokenizer.token_bytes(id) if id < self.tokenizer.vocab_size else b""

    def remove(self, job: Job) -> None:
        self.slots.remove(job)
        self.running.pop(job, None)

    def close(self) -> None:
        """Give the memory back."""
        del self.slots
        self.running.clear()
        if self.device.kind == "cuda":
            torch.cuda.empty_cache()
        elif self.device.kind == "mps":
            torch.mps.empty_cache()


class _Decoder(StreamDecoder):
    """Rows of the embedding past the tokenizer's vocabulary have no text."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__(tokenizer)
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
