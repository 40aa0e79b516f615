"""A worker that is a real process and writes real events, without training anything: `python fake_worker.py RUN_DIR [--option value]`.

It holds the run's lock for life, obeys the control file like the training loop, and can die in the middle of a line.
"""

import argparse
import math
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from engine.contract import events as ev
from engine.project import control, layout
from engine.project.event_log import EventWriter, read_events
from engine.project.locks import FileLock


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--pause", type=float, default=0.01, help="seconds a step")
    parser.add_argument("--die-at", type=int, default=0, help="die in mid-line at this step")
    parser.add_argument("--traceback", action="store_true", help="leave last words in the log when dying")
    parser.add_argument("--deaf", action="store_true", help="ignore the control file")
    parser.add_argument("--fail", action="store_true", help="end with an error")
    parser.add_argument("--every-step", action="store_true", help="a line a step, not gathered")
    asked = parser.parse_args()
    run_dir = asked.run_dir
    lock = FileLock(layout.lock_file(run_dir))
    if not lock.acquire(wait=5.0, run=run_dir.name):
        return 4
    path = layout.events_file(run_dir)
    before = [e for e in read_events(path)]
    attempt = 1 + max((e.attempt for e in before if isinstance(e, ev.Started)), default=0)
    saved = max((e.step for e in before if isinstance(e, ev.CheckpointSaved)), default=-1)
    writer, look = EventWriter(path, attempt), control.ControlReader(run_dir)
    writer.write(ev.Started(pid=os.getpid(), stage="pretrain", device="cpu"))
    if attempt > 1:
        writer.write(ev.Resumed(step=saved))
    writer.write(ev.Phases(phases=[["load", "Load"], ["train", "Train"], ["save", "Save"]]))
    writer.write(ev.Phase(id="load", title="Load"))
    writer.write(ev.Facts(facts={"steps": asked.steps, "sample_every": 10}))
    writer.write(ev.Phase(id="train", title="Train"))

    def save(step: int, why: str) -> None:
        writer.flush()
        writer.write(ev.CheckpointSaved(step=step, path=f"checkpoints/step-{step:08d}", why=why, best=True, size=1000))

    def end(status: str, **more: str) -> int:
        writer.write(ev.Finished(status=status, step=step, **more))
        control.clear(run_dir)
        writer.close()
        lock.release()
        return 0

    step = max(0, saved)
    while step < asked.steps:
        step += 1
        writer.write(ev.Metrics(columns={"step": [step], "loss": [3 + 6 * math.exp(-step / 20)], "tokens": [step * 100.0],
                                         "elapsed": [step * 0.1], "tokens_per_second": [1000.0], "memory": [1e9], "mfu": [0.3],
                                         "grad_norm": [0.5]}))
        if asked.every_step:
            writer.flush()
        if step % 10 == 0:
            writer.write(ev.Evaluation(step=step, values={"bpb": 1 + 1 / step}, best=True))
            writer.write(ev.Sample(step=step, prompt="Once", text=f" upon step {step}", temperature=0.8))
            writer.write(ev.Progress(done=step, total=asked.steps, unit="steps", rate=10, eta=(asked.steps - step) / 10))
        if asked.die_at and step == asked.die_at:
            writer.flush()
            with open(path, "ab") as torn:
                torn.write(b'{"e":"metrics","t":1.0,"a":1,"columns":{"step":[' + str(step + 1).encode())
            if asked.traceback:
                print("Traceback (most recent call last):\n  File \"loop.py\"\nRuntimeError: boom", flush=True)
            os._exit(9)
        command = None if asked.deaf else look()
        if command and command.word == "save":
            save(step, "asked")
        elif command and command.word in ("pause", "stop_save"):
            save(step, "stop")
            return end("paused" if command.word == "pause" else "stopped")
        elif command and command.word == "stop":
            return end("stopped")
        time.sleep(asked.pause)
    if asked.fail:
        return end("failed", code="mismatch", sentence="The model expects 8,192 tokens, this tokenizer has 16,384.",
                   remedy="Choose tokenizer 2.")
    save(step, "final")
    writer.write(ev.ArtifactMade(id="model-1", kind="model"))
    return end("done")


if __name__ == "__main__":
    sys.exit(main())
