"""The engine thread: loads models when asked, samples all answers under way together, lets go of models when idle. No HTTP.

One thread owns torch. It takes jobs from a queue, gives each a slot of its model's SlotEngine (continuous batching: a new answer joins the
others at the next step, a finished one leaves), and hands pieces back once a step. Importing this module loads no torch; the thread does.

Sharing the machine: on a processor, models of up to 100M parameters are sampled by one thread (with two, and anything else running, every
small product waits for the thread that was not scheduled: 37 tokens/s instead of 231 for 10M parameters on two busy cores), larger ones by
all, or by a quarter of them while a training run holds the device. A model that does not fit in what is free is refused with the numbers.
"""

import logging
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.contract.errors import FledgeError, OutOfMemory, SettingError
from engine.contract.units import size
from engine.contract.words import tr
from engine.project import layout
from engine.project.locks import FileLock
from engine.serve import replies
from engine.serve.catalogue import Listed
from engine.serve.jobs import Accepted, Broke, Conversation, Ended, Ids, Job, Piece, Wrote
from engine.serve.pieces import Token

if TYPE_CHECKING:
    from engine.serve.loaded import Loaded, Running

log = logging.getLogger("fledge.serve")

IDLE_SECONDS = 600.0
LOOK_SECONDS = 1.0
KEEP_SHARE = 0.5  # of the device's memory that models may hold together before the one used longest ago leaves
ONE_THREAD_PARAMETERS = 100_000_000
FIT_SHARE = 0.9  # of the free memory that a new model may take

Deliver = Callable[[list[tuple[Job, Piece]]], None]


@dataclass(frozen=True)
class Status:
    """What /health tells. `loaded`: ids of models in memory; `memory`: bytes they hold; `sharing`: a training run has the device."""

    state: str = "loading"
    device: str = ""
    loaded: frozenset[str] = frozenset()
    active: int = 0
    waiting: int = 0
    sharing: bool = False
    memory: int = 0
    error: FledgeError | None = None


class Engine:
    """`start(deliver)`, `submit(jobs)`, `stop()`. Every job gets Accepted, any number of Wrote, and one Ended; or one Broke at any time."""

    def __init__(self, device: str = "auto", idle_seconds: float = IDLE_SECONDS) -> None:
        self._asked_device, self._idle_seconds = device, idle_seconds
        self._inbox: queue.SimpleQueue[list[Job] | None] = queue.SimpleQueue()
        self._outbox: list[tuple[Job, Piece]] = []
        self._models: OrderedDict[str, Loaded] = OrderedDict()  # by id, the one used longest ago first
        self._status = Status()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._looked = 0.0
        self._sharing = False

    # -- called from other threads -----------------------------------------------------------------------------------

    def start(self, deliver: Deliver) -> None:
        self._thread = threading.Thread(target=self._main, args=(deliver,), name="engine", daemon=True)
        self._thread.start()

    def submit(self, jobs: list[Job]) -> None:
        self._inbox.put(jobs)

    def wake(self) -> None:
        """Look at once at what was cancelled."""
        self._inbox.put(None)

    def stop(self) -> None:
        self._stopping.set()
        self.wake()
        if self._thread:
            self._thread.join(timeout=5)

    def status(self) -> Status:
        return self._status

    # -- the thread --------------------------------------------------------------------------------------------------

    def _main(self, deliver: Deliver) -> None:
        try:
            self._open()
        except FledgeError as wrong:
            self._serve_failure(deliver, wrong)
            return
        except Exception:  # the thread's boundary: without an engine the server can still say why
            log.exception("the engine could not start")
            self._serve_failure(deliver, FledgeError(tr("The engine could not start."), tr("The server's log says why."), code="engine"))
            return
        self._tell()
        while not self._stopping.is_set():
            try:
                self._turn()
            except Exception:  # our mistake must not end the thread that serves everybody: all models leave, those who wait are told
                log.exception("the engine failed")
                for loaded in list(self._models.values()):
                    self._unload(loaded, replies.ours())
            if self._outbox:
                batch, self._outbox = self._outbox, []
                deliver(batch)
        for loaded in self._models.values():
            loaded.close()

    def _turn(self) -> None:
        """What came in, and one token for every answer under way."""
        self._take()
        self._look()
        for loaded in list(self._models.values()):
            self._drop_cancelled(loaded)
            self._advance(loaded)
        self._unload_idle()
        self._tell()

    def _open(self) -> None:
        """Load torch, the decoder and the sampler, and choose the device; seconds the first time."""
        import torch

        from engine.serve import loaded
        from engine.training import devices
        self._loaded = loaded
        self._device = devices.choose(self._asked_device)
        self._threads = torch.get_num_threads()
        log.info("ready on %s, %d threads", self._device.title, self._threads)

    def _serve_failure(self, deliver: Deliver, wrong: FledgeError) -> None:
        self._status = Status(state="failed", error=wrong)
        while not self._stopping.is_set():
            jobs = self._inbox.get()
            if jobs:
                deliver([(job, Broke(wrong)) for job in jobs])

    def _tell(self) -> None:
        models = self._models.values()
        self._status = Status("ready", self._device.title, frozenset(self._models), sum(m.slots.active for m in models),
                              sum(m.slots.waiting for m in models), self._sharing, sum(m.nbytes for m in models))

    def _take(self) -> None:
        """New jobs. Waits only when nothing is being sampled; wakes now and then to let idle models go."""
        try:
            busy = bool(self._outbox) or any(m.running for m in self._models.values())
            jobs = self._inbox.get_nowait() if busy else self._inbox.get(timeout=LOOK_SECONDS)
            while True:
                if jobs:
                    self._accept(jobs)
                jobs = self._inbox.get_nowait()
        except queue.Empty:
            return

    def _look(self) -> None:
        """Once a second: does a training run have the device?"""
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        sharing = FileLock(layout.device_lock(self._device.id)).taken()
        if sharing != self._sharing:
            self._sharing = sharing
            log.info("a training run has the device" if sharing else "the device is free")

    def _accept(self, jobs: list[Job]) -> None:
        """Load the model, encode the prompts, queue for slots. All jobs of a request stand or fall together."""
        if all(job.cancelled.is_set() for job in jobs):
            return
        try:
            loaded = self._load(jobs[0].model)
            ids = {id(job.prompt): self._encode(loaded, job) for job in {id(job.prompt): job for job in jobs}.values()}
            for job in jobs:
                loaded.add(job, ids[id(job.prompt)])
            self._outbox += [(job, Accepted(len(ids[id(job.prompt)]))) for job in jobs]
        except FledgeError as wrong:
            self._outbox += [(job, Broke(wrong)) for job in jobs]
        except Exception:  # our mistake must not end the thread that serves everybody
            log.exception("a request could not begin")
            self._outbox += [(job, Broke(replies.ours())) for job in jobs]

    def _encode(self, loaded: "Loaded", job: Job) -> list[int]:
        """Ids of the prompt; a prompt that leaves no room for a single token is refused with the numbers."""
        prompt, config, name = job.prompt, loaded.listed.config, "prompt"
        if isinstance(prompt, Conversation):
            ids, name = loaded.tokenizer.encode_chat([m.model_dump() for m in prompt.messages]), "messages"
        elif isinstance(prompt, Ids):
            ids = list(prompt.ids)
            wrong = next((i for i in ids if not 0 <= i < config.vocab_size), None)
            if wrong is not None:
                raise SettingError(tr("There is no token {id}: this model has {count}.", id=wrong, count=f"{config.vocab_size:,}"),
                                   tr("Use ids of the model's own tokenizer."), code="bad_parameter", field=name)
        else:
            ids = loaded.begin(prompt.text)
        if not ids:
            raise SettingError(tr("The prompt is empty."), tr("Give at least one token."), code="bad_parameter", field=name)
        room = config.max_seq_len
        if len(ids) >= room:
            raise SettingError(tr("The prompt has {tokens} tokens; this model sees {room}, the answer included.", tokens=f"{len(ids):,}",
                                  room=f"{room:,}"), tr("Shorten it by {over} tokens or more.", over=f"{len(ids) - room + 1:,}"),
                               code="context_length_exceeded", field=name)
        return ids

    def _load(self, listed: Listed) -> "Loaded":
        """The model of a job, in memory. Others that are idle leave for it, the one used longest ago first."""
        here, id = self._loaded, listed.ref.id
        known = self._models.get(id)
        if known is not None and known.listed.ref.folder == listed.ref.folder and known.stamp == here.Loaded.stamp_of(listed):
            self._models.move_to_end(id)
            known.used = time.monotonic()
            return known
        if known is not None:  # the checkpoint was written anew under the same name (a run that was resumed)
            self._unload(known, FledgeError(tr("The checkpoint was replaced while it wrote."), tr("Ask again."), code="model_replaced"))
        need = here.bytes_needed(listed, self._device)
        self._make_room(need)
        free = here.bytes_free(self._device)
        if need > free * FIT_SHARE:
            raise self._full(listed, need)
        began = time.monotonic()
        try:
            made = here.Loaded(listed, self._device)
        except Exception as wrong:
            if here.is_out_of_memory(wrong):
                raise self._full(listed, need) from wrong
            raise
        self._models[id] = made
        log.info("%s in memory after %.2f s: %s, %d slots", id, time.monotonic() - began, size(made.nbytes), made.capacity)
        return made

    def _full(self, listed: Listed, need: int) -> OutOfMemory:
        remedy = tr("Close other programs, or choose a smaller model.")
        if self._sharing:
            remedy = tr("Pause the training run, or choose a smaller model.")
        return OutOfMemory(tr("{device} is full: {model} needs {need}, {free} is free.", device=self._device.title, model=listed.ref.title,
                              need=size(need), free=size(self._loaded.bytes_free(self._device))), remedy, code="device_full")

    def _make_room(self, need: int) -> None:
        """Let idle models go, the one used longest ago first, until `need` bytes fit beside the rest."""
        for loaded in list(self._models.values()):
            held = sum(m.nbytes for m in self._models.values())
            if held + need <= KEEP_SHARE * self._device.memory_total and need <= FIT_SHARE * self._loaded.bytes_free(self._device):
                return
            if not loaded.running:
                self._unload(loaded)

    def _unload(self, loaded: "Loaded", wrong: FledgeError | None = None) -> None:
        """Let a model go; whoever still uses it is told `wrong`."""
        assert wrong is not None or not loaded.running
        self._outbox += [(job, Broke(wrong)) for job in loaded.running if wrong is not None]
        del self._models[loaded.listed.ref.id]
        loaded.close()
        log.info("%s left the memory", loaded.listed.ref.id)

    def _unload_idle(self) -> None:
        now = time.monotonic()
        for loaded in list(self._models.values()):
            if loaded.running:
                loaded.used = now
            elif now - loaded.used > self._idle_seconds or not loaded.listed.ref.folder.exists():
                self._unload(loaded)

    def _drop_cancelled(self, loaded: "Loaded") -> None:
        for running in [r for r in loaded.running.values() if r.job.cancelled.is_set()]:
            self._end(loaded, running, "cancelled")

    def _advance(self, loaded: "Loaded") -> None:
        """One step for everybody who uses the model."""
        if not loaded.running:
            return
        self._use_threads(loaded)
        try:
            for running, token, reason in loaded.step():
                written = running.growing.push(token) if token is not None else []
                running.count += token is not None
                if written:
                    self._outbox.append((running.job, Wrote(tuple(written))))
                if reason or running.growing.stopped:
                    self._end(loaded, running, "stop" if running.growing.stopped else reason)
        except FledgeError as wrong:  # broken weights: the loss of this model, not of the server
            self._unload(loaded, wrong)
        except Exception as wrong:
            if self._loaded.is_out_of_memory(wrong):
                self._unload(loaded, self._full(loaded.listed, loaded.nbytes))
            else:  # our mistake must not end the thread that serves everybody
                log.exception("sampling from %s failed", loaded.listed.ref.id)
                self._unload(loaded, replies.ours())

    def _use_threads(self, loaded: "Loaded") -> None:
        if self._device.kind != "cpu":
            return
        import torch
        small = loaded.listed.config.parameters <= ONE_THREAD_PARAMETERS
        wanted = 1 if small else max(1, self._threads // 4) if self._sharing else self._threads
        if torch.get_num_threads() != wanted:
            torch.set_num_threads(wanted)

    def _end(self, loaded: "Loaded", running: "Running", reason: str) -> None:
        rest: list[Token] = running.growing.finish()
        if rest:
            self._outbox.append((running.job, Wrote(tuple(rest))))
        self._outbox.append((running.job, Ended(reason, running.prompt_tokens, running.count, time.monotonic() - running.begun)))
        loaded.remove(running.job)
