"""The process of one attempt at one run: `python -m engine.worker RUN_DIR`. It owns the run folder while it lives.

Takes the run's lock and its device's, sets threads, language and seed, says Started, runs the stage, says Finished. The exit code is the
error's. Under torchrun every rank comes through here; rank 0 alone holds locks and speaks.
"""

import argparse
import faulthandler
import logging
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import FrameType

from engine import __version__
from engine.contract.context import Command, RunContext
from engine.contract.errors import DeviceUnavailable, FledgeError, Locked, MachineError, Stopped
from engine.contract.events import Event, Finished, Started, Waiting
from engine.contract.words import tr
from engine.pipeline import stage as stage_of
from engine.project import control, layout, queue
from engine.project.event_log import EventWriter, read_events
from engine.project.locks import FileLock
from engine.project.runs import RunStore

log = logging.getLogger("fledge")
CRASH_CODE = 70


def main(arguments: list[str] | None = None) -> int:
    """Run one attempt; the exit code: 0 done, stopped or paused; the error's own otherwise; 70 when the fault is ours."""
    parser = argparse.ArgumentParser(prog="engine.worker")
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--wait-for-device", action="store_true")
    asked = parser.parse_args(arguments)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as launch.py does, for torchrun; read when torch is loaded, which is later
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    faulthandler.enable()
    return Worker(asked.run_dir.resolve(), asked.device, asked.wait_for_device).run()


class Worker:
    """One attempt. `rank` and `world_size` come from torchrun's environment."""

    def __init__(self, run_dir: Path, device: str, wait: bool) -> None:
        self.run_dir, self.asked_device, self.wait = run_dir, device, wait
        self.rank, self.world_size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
        self.project_dir = run_dir.parent.parent
        self.stopping = False

    def run(self) -> int:
        try:
            record = RunStore(self.project_dir).get(self.run_dir.name)
        except FledgeError as wrong:
            print(str(wrong), file=sys.stderr)
            return wrong.exit_code
        lock, device_lock, holds_device = FileLock(layout.lock_file(self.run_dir)), None, False
        writer: EventWriter | None = None
        self._catch_signals()
        if self.rank == 0:
            if not lock.acquire(wait=2.0, run=record.id):
                print(str(Locked(tr("Run {id} is under way already.", id=record.id))), file=sys.stderr)
                return Locked.exit_code
            writer = EventWriter(layout.events_file(self.run_dir), attempt=1 + self._attempts())
        reader = control.ControlReader(self.run_dir)
        context = RunContext(run_dir=self.run_dir, project_dir=self.project_dir, run_id=record.id, rank=self.rank,
                             world_size=self.world_size, attempt=writer.attempt if writer else 1,
                             emitter=writer.write if writer else _silent, reader=self._commands(reader))
        try:
            stage = stage_of(record.stage)
            spec = stage.spec.check(record.spec)
            context.seed, holds_device = spec.seed, stage.device
            if stage.device:
                context.device, title, context.facts["threads"] = self._open_device()
                if self.rank == 0 or context.device != "cpu":  # processes that share a CPU share its lock; each GPU has its own
                    device_lock = FileLock(layout.device_lock(context.device))
                    self._take_device(device_lock, context)
            else:
                context.device, title = "cpu", ""
            random.seed(spec.seed)
            log.info("%s, attempt %d, %s, seed %d", record.id, context.attempt, context.device, spec.seed)
            context.emit(Started(pid=os.getpid(), stage=stage.id, device=context.device, device_title=title, world_size=self.world_size,
                                 threads=int(context.facts.get("threads", 0)), engine_version=__version__))
            stage.run()(spec, context)
            return self._finish(context, Finished(status="done"), 0)
        except Stopped as stopped:
            return self._finish(context, Finished(status="paused" if stopped.paused else "stopped", sentence=stopped.sentence), 0)
        except FledgeError as wrong:
            log.error("%s: %s", wrong.code, wrong)
            return self._finish(context, Finished(status="failed", code=wrong.code, sentence=wrong.sentence, remedy=wrong.remedy,
                                                  field=wrong.field), wrong.exit_code)
        except MemoryError:
            traceback.print_exc()
            return self._finish(context, Finished(status="failed", code="out_of_memory", sentence=tr("The machine's memory is full."),
                                                  remedy=tr("Choose a smaller model, batch or context.")), MachineError.exit_code)
        except Exception as ours:  # the boundary: our own fault, told plainly, the traceback in the log
            traceback.print_exc()
            return self._finish(context, Finished(status="failed", code="internal", sentence=tr("Fledge made a mistake: {what}.",
                what=f"{type(ours).__name__}: {ours}"), remedy=tr("What was saved is intact. The log has the details; please report it.")),
                CRASH_CODE)
        finally:
            try:
                if writer:
                    control.clear(self.run_dir)
                    writer.close()
            finally:
                if device_lock:
                    device_lock.release()
                lock.release()
                if holds_device and self.rank == 0:
                    queue.ensure_runner()  # whoever started the ones that wait may have been killed

    def _finish(self, context: RunContext, event: Finished, code: int) -> int:
        log.info("%s", event.status)
        context.emit(replace(event, exit_code=code))
        return code

    def _attempts(self) -> int:
        """How many attempts the event file has seen."""
        return max((e.attempt for e in read_events(layout.events_file(self.run_dir))), default=0)

    def _open_device(self) -> tuple[str, str, int]:
        """(device, its name for people, threads): the one asked for, or the best there is."""
        import torch

        from engine.training.devices import choose, usable_processors
        local = int(os.environ.get("LOCAL_RANK", "0"))
        found = choose(self.asked_device)
        if found.kind == "cuda" and self.world_size > 1:
            found = choose(f"cuda:{local}")
            torch.cuda.set_device(local)
        threads = max(1, usable_processors() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
        torch.set_num_threads(int(os.environ.get("FLEDGE_THREADS", "0")) or threads)
        return found.id, found.title, torch.get_num_threads()

    def _take_device(self, lock: FileLock, context: RunContext) -> None:
        """One run a device: hold its lock, waiting for it if asked to."""
        told = False
        while not lock.acquire(wait=0.2, run=str(self.run_dir)):
            other = Path(str(lock.holder().get("run", ""))).name or tr("another run")
            if not self.wait:
                raise DeviceUnavailable(tr("{device} is in use by {other}.", device=context.device, other=other),
                                        tr("Wait for it, stop it, or queue this run."), code="device_busy")
            if not told:
                context.emit(Waiting(reason="device", text=tr("Waits for {other} to leave {device}.", other=other, device=context.device)))
                told = True
            command = context.command()
            if command and command.word in ("stop", "stop_save", "pause"):
                raise Stopped(paused=command.word == "pause")
            time.sleep(0.3)
        if told:
            context.emit(Waiting(reason="device", over=True))

    def _catch_signals(self) -> None:
        """A first SIGTERM or SIGINT is a stop with save; a second one kills."""
        def stop(number: int, frame: FrameType | None) -> None:
            self.stopping = True
            signal.signal(number, signal.SIG_DFL)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)

    def _commands(self, reader: control.ControlReader) -> Callable[[], Command | None]:
        """What a look at the control gives: a signal once, else the file's command."""
        sent = False

        def look() -> Command | None:
            nonlocal sent
            if self.stopping and not sent:
                sent = True
                return Command("stop_save")
            return reader()
        return look


def _silent(event: Event) -> None:
    """Ranks other than 0 say nothing."""


if __name__ == "__main__":
    sys.exit(main())
