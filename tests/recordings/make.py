"""Makes the recorded project for real: the generated world, a corpus and a tokenizer of it, and five pretraining runs by the engine's own
worker: one done, one killed, one refused, one done with another size, one cut in mid-course. About a minute on two cores, once a machine.

    folder = cached()                 # made on the first call, kept in the temporary folder under a hash of what it is made by
    project = copy_into(place, folder)   # the project, its clocks moved to now; hold the last run's lock to make it look alive

Nothing is drawn from a formula here (tests/recordings/record.py does that, for what needs thousands of steps).
"""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from engine.project import layout
from engine.project.project import Project
from engine.world import World
from tests.recordings.gazette import SETTINGS, Gazette

ROOT = Path(__file__).resolve().parents[2]
NAME, GAZETTE = "Tiny world", "lowland-gazette"
TEXT_BYTES = 900_000
PROMPT = "Hanna's job is"
SMALL = {"max_seq_len": 64, "tokens_per_step": 1024, "eval_tokens": 8192, "compile": "off", "dtype": "float32", "sample_tokens": 28,
         "keep_checkpoints": 4, "micro_batch_size": 16}


def write_text(folder: Path) -> list[Path]:
    """The world's documents in three files, as a person would bring them."""
    folder.mkdir(parents=True)
    documents = list(World(42).documents(TEXT_BYTES))
    cut = len(documents) // 3
    files = [folder / "people.jsonl", folder / "stories.jsonl", folder / "almanac.md"]
    for file, part in zip(files[:2], (documents[:cut], documents[cut:2 * cut]), strict=True):
        file.write_text("\n".join(json.dumps({"text": text}) for text in part) + "\n", "utf-8")
    files[2].write_text("\n\n".join(documents[2 * cut:]) + "\n", "utf-8")
    return files


class Maker:
    """Drives the command line in a folder; everything that is recorded comes from it."""

    def __init__(self, folder: Path, name: str = "tiny-world") -> None:
        self.dir = folder / name
        self.environment = dict(os.environ, FLEDGE_HOME=str(folder / "home"), PYTHONPATH=str(ROOT), FLEDGE_THREADS="2")

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "engine.cli", *words]

    def call(self, *words: str, fails: bool = False) -> None:
        done = subprocess.run(self.command(*words), env=self.environment, cwd=ROOT, capture_output=True, text=True, timeout=300)
        if (done.returncode != 0) != fails:
            raise RuntimeError(f"fledge {' '.join(words)} ended with {done.returncode}: {done.stderr or done.stdout}")

    def machine(self) -> None:
        """What this machine is, measured, as the window would have asked."""
        subprocess.run([sys.executable, "-m", "engine.training.devices", "--measure"], env=self.environment, cwd=ROOT, check=True,
                       capture_output=True, timeout=120)

    def stage(self, stage: str, settings: dict[str, Any], *more: str, fails: bool = False) -> None:
        self.call("run", str(self.dir), stage, *self._set(settings), *more, fails=fails)

    def _set(self, settings: dict[str, Any]) -> list[str]:
        return [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]

    def until(self, stage: str, settings: dict[str, Any], step: int) -> None:
        """Start a run and kill its worker, without a word, once it is past `step`."""
        before = {run.id for run in Project.open(self.dir).runs.list()}
        driver = subprocess.Popen(self.command("run", str(self.dir), stage, *self._set(settings)), env=self.environment, cwd=ROOT,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        worker, end = 0, time.monotonic() + 180
        try:
            while time.monotonic() < end:
                time.sleep(0.1)
                run = next((r for r in Project.open(self.dir).runs.list() if r.id not in before), None)
                if run is None or not layout.events_file(run.dir).exists():
                    continue
                worker = worker or self._worker(run.dir)
                if last_step(run.dir) >= step:
                    return
            raise RuntimeError(f"no run of {stage} came to step {step}")
        finally:
            if worker:
                os.kill(worker, signal.SIGKILL)
            driver.wait(timeout=30)

    def _worker(self, run_dir: Path) -> int:
        for event in events(run_dir):
            if event["e"] == "started":
                return int(event["pid"])
        return 0


def events(run_dir: Path) -> list[dict[str, Any]]:
    """The run's events; a torn last line is left out, as the reader of the engine does."""
    lines = layout.events_file(run_dir).read_text("utf-8").split("\n")[:-1]
    return [json.loads(line) for line in lines]


def last_step(run_dir: Path) -> int:
    return max((int(event["columns"]["step"][-1]) for event in events(run_dir) if event["e"] == "metrics"), default=0)


def make_gazette(folder: Path) -> Path:
    """A second project with nothing but a corpus: a newspaper's files, cleaned and deduplicated, with something for every part of the
    report."""
    files, quiz = Gazette().write(folder / "gazette-text")
    maker = Maker(folder, GAZETTE)
    maker.call("new", str(maker.dir), "--name", "Lowland Gazette")
    maker.stage("corpus", {**SETTINGS, "held_out": json.dumps([str(quiz)]), "contamination": "remove"},
                *[word for file in files for word in ("--source", str(file))])
    return maker.dir


def make(folder: Path) -> Path:
    """The project, made under `folder` (which also holds its home and its text), and the newspaper's beside it."""
    files = write_text(folder / "text")
    make_gazette(folder)
    maker = Maker(folder)
    maker.call("new", str(maker.dir), "--name", NAME)
    maker.machine()
    maker.stage("corpus", {"title": "Tiny world text"}, *[word for file in files for word in ("--source", str(file))])
    maker.stage("tokenizer", {"vocab_size": 1024, "corpus": "corpus-1", "title": "World tokenizer"})
    both = {**SMALL, "corpus": "corpus-1", "tokenizer": "tokenizer-1", "sample_prompts": json.dumps([PROMPT])}
    maker.stage("pretrain", {**both, "title": "world-100k", "depth": 1, "width": 64, "num_heads": 2, "steps": 400, "eval_every": 40,
                             "sample_every": 100, "checkpoint_every_steps": 100})
    maker.until("pretrain", {**both, "title": "world-wide", "depth": 2, "width": 96, "num_heads": 3, "steps": 400, "eval_every": 40,
                             "sample_every": 100, "checkpoint_every_steps": 40}, 150)
    maker.stage("pretrain", {**both, "title": "world-giant", "depth": 48, "width": 8192, "num_heads": 64, "micro_batch_size": 512},
                fails=True)
    maker.stage("pretrain", {**both, "title": "world-200k", "depth": 2, "width": 64, "num_heads": 2, "steps": 500, "eval_every": 50,
                             "sample_every": 100, "checkpoint_every_steps": 125})
    maker.until("pretrain", {**both, "title": "world-300k", "depth": 3, "width": 64, "num_heads": 2, "steps": 600, "eval_every": 50,
                             "sample_every": 80, "checkpoint_every_steps": 100}, 330)
    return maker.dir


def mark() -> str:
    """Changes when what makes the recording does."""
    made = hashlib.sha256()
    for file in sorted([Path(__file__), Path(__file__).with_name("gazette.py"), *(ROOT / "engine").rglob("*.py")]):
        made.update(file.read_bytes())
    return made.hexdigest()[:16]


def cached() -> Path:
    """The folder with the recording: made now if it never was with this engine."""
    place = Path(tempfile.gettempdir()) / f"fledge-recording-{mark()}"
    if not place.exists():
        aside = Path(tempfile.mkdtemp(prefix="fledge-recording-", dir=place.parent))
        try:
            make(aside)
            aside.rename(place)
        except OSError:  # another process was faster
            if not place.exists():
                raise
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return place


def copy_into(place: Path, recording: Path, name: str = "tiny-world") -> Project:
    """A copy of a recorded project in `place`; every run's clock is moved by one amount, so that the last event was a moment ago."""
    shutil.copytree(recording / name, place)
    project = Project.open(place)
    late = time.time() - 2 - max(event["t"] for run in project.runs.list() for event in events(run.dir))
    for run in project.runs.list():
        file = layout.events_file(run.dir)
        moved = [json.dumps({**event, "t": event["t"] + late}, ensure_ascii=False, separators=(",", ":")) for event in events(run.dir)]
        file.write_text("\n".join(moved) + "\n", "utf-8")
    return project


if __name__ == "__main__":
    began = time.monotonic()
    print(cached(), f"{time.monotonic() - began:.0f} s")
