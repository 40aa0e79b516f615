"""The engine thread: loads models when asked, samples all answers under way together, lets go of models when idle. No HTTP.

One thread owns torch. It takes jobs from a queue, gives each a slot of its model's SlotEngine (continuous batching: a new answer joins the
others at the next step, a finished one leaves), and hands pieces back once a step. Importing this module loads no torch; the thread does.

Sharing the machine. On a processor, models of up to 100M parameters are sampled by one thread (with two, and anything else running, every
small product waits for the thread that was not scheduled: 37 tokens/s instead of 231 for 10M parameters on two busy cores), and by one more
for every eight answers under way; larger ones by all, or by a quarter of them while a training run holds the device. A run that takes the
device finds its memory free: models that nobody uses leave at once, the others when their answers are done, and until the run ends models
are loaded into the machine's own memory, and stay there shorter. A model that does not fit in what is free is refused with the numbers.
"""

import logging
import math
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
from engine.serve.jobs import Accepted, Broke, Embedded, Ended, Job, Piece, Rewarded, Scored, Wrote
from engine.serve.pieces import Token

if TYPE_CHECKING:
    from engine.sampling.reading import Read
    from engine.serve.loaded import Loaded, Running
    from engine.serve.loaded_reward import LoadedReward

    Held = Loaded | LoadedReward

log = logging.getLogger("fledge.serve")

IDLE_SECONDS = 600.0
SHARING_SECONDS = 30.0  # after which a model leaves while a run has the device
LOOK_SECONDS = 1.0
KEEP_SHARE = 0.5  # of the device's memory that models may hold together before the one used longest ago leaves
ONE_THREAD_PARAMETERS = 100_000_000
ROWS_A_THREAD = 8
FIT_SHARE = 0.9  # of the free memory that a new model may take

Deliver = Callable[[list[tuple[Job, Piece]]], None]


@dataclass(frozen=True)
class InMemory:
    """A model in memory: its bytes, whether they lie on an accelerator, and when it leaves if nobody asks (seconds since 1970, or inf)."""

    listed: Listed
    nbytes: int
    accelerated: bool
    leaves: float


@dataclass(frozen=True)
class Status:
    """What /health tells. `models`: those in memory; `memory`: bytes they hold; `sharing`: a training run has the device."""

    state: str = "loading"
    device: str = ""
    models: tuple[InMemory, ...] = ()
    active: int = 0
    waiting: int = 0
    sharing: bool = False
    memory: int = 0
    error: FledgeError | None = None

    @property
    def loaded(self) -> frozenset[str]:
        """Ids of the models in memory."""
        return frozenset(m.listed.ref.id for m in self.models)


class Engine:
    """`start(deliver)`, `submit(jobs)`, `stop()`. Every job gets Accepted, any number of Wrote (or one Scored or
    Embedded), and one Ended; or one Broke at any time. `idle_seconds` below 0: models stay for good."""

    def __init__(self, device: str = "auto", idle_seconds: float = IDLE_SECONDS) -> None:
        self._asked_device, self._idle_seconds = device, idle_seconds
        self._inbox: queue.SimpleQueue[list[Job] | None] = queue.SimpleQueue()
        self._outbox: list[tuple[Job, Piece]] = []
        self._models: OrderedDict[str, Held] = OrderedDict()  # by id, the one used longest ago first
        self._leaving: list[Held] = []  # their answers are finished, new ones go elsewhere
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
                for loaded in self._all():
                    self._unload(loaded, replies.ours())
            if self._outbox:
                batch, self._outbox = self._outbox, []
                deliver(batch)
        for loaded in self._all():
            loaded.close()

    def _all(self) -> "list[Held]":
        return [*self._models.values(), *self._leaving]

    def _turn(self) -> None:
        """What came in, and one token for every answer under way."""
        self._take()
        self._look()
        for loaded in self._all():
            self._drop_cancelled(loaded)
            self._advance(loaded)
        self._unload_idle()
        self._tell()

    def _open(self) -> None:
        """Load torch, the decoder and the sampler, and choose the device; seconds the first time."""
        import torch

        from engine.serve import loaded, loaded_reward
        from engine.training import devices
        self._loaded, self._rewarding = loaded, loaded_reward
        self._device = self._home = devices.choose(self._asked_device)
        self._host = self._device if self._device.kind == "cpu" else devices.choose("cpu")
        self._threads = torch.get_num_threads()
        log.info("ready on %s, %d threads", self._device.title, self._threads)

    def _serve_failure(self, deliver: Deliver, wrong: FledgeError) -> None:
        self._status = Status(state="failed", error=wrong)
        while not self._stopping.is_set():
            jobs = self._inbox.get()
            if jobs:
                deliver([(job, Broke(wrong)) for job in jobs])

    def _tell(self) -> None:
        models, now = self._all(), time.monotonic()
        known = tuple(InMemory(m.listed, m.nbytes, m.device.kind != "cpu", math.inf if (keep := self._keep(m)) < 0 else
                               time.time() + (keep if m.running else max(0.0, m.used + keep - now))) for m in models)
        self._status = Status("ready", self._device.title, known, sum(m.active for m in models),
                              sum(len(m.running) - m.active for m in models), self._sharing, sum(m.nbytes for m in known))

    def _keep(self, loaded: "Held") -> float:
        """Seconds that a model stays when nobody asks; below 0: for good."""
        keep = self._idle_seconds if loaded.keep is None else loaded.keep
        if not self._sharing:
            return keep
        return SHARING_SECONDS if keep < 0 else min(keep, SHARING_SECONDS)

    def _take(self) -> None:
        """New jobs. Waits only when nothing is being sampled; wakes now and then to let idle models go."""
        try:
            busy = bool(self._outbox) or any(m.running for m in self._all())
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
            self._home = self._host if sharing else self._device
            log.info("a training run has the device; models answer from %s" if sharing else "the device is free; models answer from %s",
                     self._home.title)
            self._move_out()

    def _move_out(self) -> None:
        """Models that are not where they should be leave, at once or when their answers are done; when a run begins, all others that nobody
        uses leave too."""
        for loaded in list(self._models.values()):
            if not loaded.running and (self._sharing or loaded.device.id != self._home.id):
                self._unload(loaded)
            elif loaded.device.id != self._home.id:
                del self._models[loaded.listed.ref.id]
                self._leaving.append(loaded)

    def _accept(self, jobs: list[Job]) -> None:
        """Load the model, encode the prompts, queue for slots. All jobs of a request stand or fall together."""
        if all(job.cancelled.is_set() for job in jobs):
            return
        loaded: Held | None = None
        try:
            if jobs[0].purpose == "load" and jobs[0].keep == 0:
                self._let_go(jobs[0])
                return
            began = time.monotonic()
            loaded = self._load(jobs[0].model)
            seconds = time.monotonic() - began
            loaded.keep = jobs[0].keep
            if jobs[0].purpose == "load":
                self._outbox += [piece for job in jobs for piece in ((job, Accepted(0, (), seconds)), (job, Ended("load", 0, 0, seconds)))]
                return
            prompts = {id(job.prompt): loaded.encode(job) for job in {id(job.prompt): job for job in jobs}.values()}
            for job in jobs:
                prompt = prompts[id(job.prompt)]
                loaded.add(job, prompt)
                self._outbox.append((job, Accepted(len(prompt.ids), prompt.ids, seconds)))
            for job in jobs:
                if job.purpose == "complete":
                    self._begin(loaded, loaded.running[job])
        except FledgeError as wrong:
            self._refuse(loaded, jobs, wrong)
        except Exception as wrong:
            if loaded is not None and self._loaded.is_out_of_memory(wrong):
                self._refuse(loaded, jobs, self._full(loaded.listed, loaded.nbytes))
            else:  # our mistake must not end the thread that serves everybody
                log.exception("a request could not begin")
                self._refuse(loaded, jobs, replies.ours())

    def _refuse(self, loaded: "Held | None", jobs: list[Job], wrong: FledgeError) -> None:
        """None of a request's jobs goes on."""
        mine = set(jobs)
        self._outbox = [(job, piece) for job, piece in self._outbox if job not in mine]
        for job in jobs:
            if loaded is not None:
                loaded.remove(job)
            self._outbox.append((job, Broke(wrong)))

    def _let_go(self, job: Job) -> None:
        """A model that is to leave as soon as nobody uses it."""
        known = self._models.get(job.model.ref.id)
        if known is not None:
            known.keep = 0
            known.used = -math.inf
        self._outbox += [(job, Accepted(0)), (job, Ended("unload", 0, 0))]

    def _begin(self, loaded: "Held", running: "Running") -> None:
        """The echo that needs no reading, and the end of what has nothing to write."""
        assert not isinstance(loaded, self._rewarding.LoadedReward)
        ask = running.job.settings
        if ask.echo and ask.top >= 0:
            return  # comes when the prompt has been read
        if ask.echo:
            self._outbox.append((running.job, Wrote(loaded.tokens_of(running, None))))
        if running.room <= 0:
            self._end(loaded, running, "length")

    def _load(self, listed: Listed) -> "Held":
        """The model of a job, in memory. Others that are idle leave for it, the one used longest ago first."""
        here, id = self._loaded, listed.ref.id
        made: Held
        known = self._models.get(id)
        if known is not None and known.listed.ref.folder == listed.ref.folder and known.stamp == here.Loaded.stamp_of(listed):
            self._models.move_to_end(id)
            known.used = time.monotonic()
            return known
        if known is not None:  # the checkpoint was written anew under the same name (a run that was resumed)
            self._unload(known, FledgeError(tr("The checkpoint was replaced while it wrote."), tr("Ask again."), code="model_replaced"))
        need = here.bytes_needed(listed, self._home)
        self._make_room(need)
        free = here.bytes_free(self._home)
        if need > free * FIT_SHARE:
            raise self._full(listed, need)
        began = time.monotonic()
        try:
            made = (self._rewarding.LoadedReward if listed.reward else here.Loaded)(listed, self._home)
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
        return OutOfMemory(tr("{device} is full: {model} needs {need}, {free} is free.", device=self._home.title, model=listed.ref.title,
                              need=size(need), free=size(self._loaded.bytes_free(self._home))), remedy, code="device_full")

    def _make_room(self, need: int) -> None:
        """Let idle models go, the one used longest ago first, until `need` bytes fit beside the rest."""
        for loaded in list(self._models.values()):
            held = sum(m.nbytes for m in self._models.values())
            if held + need <= KEEP_SHARE * self._home.memory_total and need <= FIT_SHARE * self._loaded.bytes_free(self._home):
                return
            if not loaded.running:
                self._unload(loaded)

    def _unload(self, loaded: "Held", wrong: FledgeError | None = None) -> None:
        """Let a model go; whoever still uses it is told `wrong`."""
        assert wrong is not None or not loaded.running
        self._outbox += [(job, Broke(wrong)) for job in loaded.running if wrong is not None]
        if loaded in self._leaving:
            self._leaving.remove(loaded)
        else:
            del self._models[loaded.listed.ref.id]
        loaded.close()
        log.info("%s left the memory", loaded.listed.ref.id)

    def _unload_idle(self) -> None:
        now = time.monotonic()
        for loaded in self._all():
            keep = self._keep(loaded)
            if loaded.running:
                loaded.used = now
            elif loaded in self._leaving or (keep >= 0 and now - loaded.used > keep) or not loaded.listed.ref.folder.exists():
                self._unload(loaded)

    def _drop_cancelled(self, loaded: "Held") -> None:
        for running in [r for r in loaded.running.values() if r.job.cancelled.is_set()]:
            self._end(loaded, running, "cancelled")

    def _advance(self, loaded: "Held") -> None:
        """One step for everybody who uses the model."""
        if not loaded.running:
            return
        self._use_threads(loaded)
        try:
            for running, token, reason in loaded.step():
                self._wrote(loaded, running, token, reason)
            for running, read in loaded.read():
                self._read(loaded, running, read)
            for running, reward, normalised in loaded.rewards():
                self._outbox.append((running.job, Rewarded(reward, normalised)))
                self._end(loaded, running, "read")
        except FledgeError as wrong:  # broken weights: the loss of this model, not of the server
            self._unload(loaded, wrong)
        except Exception as wrong:
            if self._loaded.is_out_of_memory(wrong):
                self._unload(loaded, self._full(loaded.listed, loaded.nbytes))
            else:  # our mistake must not end the thread that serves everybody
                log.exception("sampling from %s failed", loaded.listed.ref.id)
                self._unload(loaded, replies.ours())

    def _wrote(self, loaded: "Held", running: "Running", token: Token | None, reason: str) -> None:
        """A token of an answer, and its end where `reason` says so."""
        if reason == "constraint":
            loaded.remove(running.job)
            wrong = SettingError(tr("The text could not be held to the schema any further."), tr("Simplify the schema."), code="bad_schema",
                                 field="response_format")
            self._outbox.append((running.job, Broke(wrong)))
            return
        written = running.growing.push(token) if token is not None else []
        running.count += token is not None
        if written:
            self._outbox.append((running.job, Wrote(tuple(written))))
        if reason or running.growing.stopped:
            self._end(loaded, running, "stop" if running.growing.stopped or reason == "complete" else reason)

    def _read(self, loaded: "Held", running: "Running", read: "Read") -> None:
        """A text that has been read: the whole of a score or an embedding, the beginning of an echo."""
        assert not isinstance(loaded, self._rewarding.LoadedReward)
        if running.job.purpose == "complete":
            self._outbox.append((running.job, Wrote(loaded.tokens_of(running, read))))
            if not loaded.read_on(running):
                self._end(loaded, running, "length")
            return
        if read.mean_C is not None:
            self._outbox.append((running.job, Embedded(read.mean_C)))
        else:
            self._outbox.append((running.job, Scored(loaded.tokens_of(running, read))))
        self._end(loaded, running, "read")

    def _use_threads(self, loaded: "Held") -> None:
        if loaded.device.kind != "cpu":
            return
        import torch
        small = loaded.listed.config.parameters <= ONE_THREAD_PARAMETERS
        wanted = max(1, self._threads // 4) if self._sharing else self._threads
        if small:
            wanted = 1 if self._sharing else min(self._threads, 1 + loaded.active // ROWS_A_THREAD)
        if torch.get_num_threads() != wanted:
            torch.set_num_threads(wanted)

    def _end(self, loaded: "Held", running: "Running", reason: str) -> None:
        rest: list[Token] = running.growing.finish()
        if rest:
            self._outbox.append((running.job, Wrote(tuple(rest))))
        now = time.monotonic()
        self._outbox.append((running.job, Ended(reason, running.prompt_tokens, running.count, now - running.begun,
                                                (running.first or now) - running.begun)))
        loaded.remove(running.job)
