"""Makes the recorded project for real: the generated world, a corpus and a tokenizer of it, and five pretraining runs by the engine's own
worker: one done, one killed, one refused, one done with another size, one cut in mid-course. Then the way to answers: a set of questions
that was imported and one that was generated (by the scripted server of writer.py), reviewed in part; fine-tuning in full, as LoRA, cut in
mid-course and refused; an evaluation with some blind votes. Then preferences (taste.py): pairs, labels, a reward model, DPO and PPO; and
problems, verifiers and GRPO (tries.py). Some three minutes on two cores, once a machine.

    folder = cached()                 # made on the first call, kept in the temporary folder under a hash of what it is made by
    project = copy_into(place, folder)   # the project, its clocks moved to now; hold the last run's lock to make it look alive

Nothing is drawn from a formula here (tests/recordings/record.py does that, for what needs thousands of steps).
"""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from desktop.models.evaluate_blind import BlindSession
from engine.contract.rows import Message
from engine.demo.questions import PAIRS, PEOPLE, write_suites
from engine.project import layout
from engine.project.examples import ExampleFilter
from engine.project.ingest import ingest_run
from engine.project.project import Project
from engine.project.runs import Run
from engine.world import World
from tests.recordings.gazette import SETTINGS, Gazette
from tests.recordings.taste import make_preferences
from tests.recordings.tries import make_tries
from tests.recordings.writer import CAREFUL, HASTY, JUDGE, writers

ROOT = Path(__file__).resolve().parents[2]
NAME, GAZETTE = "Tiny world", "lowland-gazette"
TEXT_BYTES = 900_000
PROMPT = "Hanna's job is"
SMALL = {"max_seq_len": 64, "tokens_per_step": 1024, "eval_tokens": 8192, "compile": "off", "dtype": "float32", "sample_tokens": 28,
         "keep_checkpoints": 4, "micro_batch_size": 16}
TUNED = {"batch_size": 32, "compile": "off", "dtype": "float32", "sample_tokens": 16, "checkpoint_every_steps": 0, "eval_every": 20}
IMPORTED, GENERATED, PERSON = "Questions of the world", "Questions from the world's text", "person"
ROWS, QUESTIONS, VOTES = 60, 640, 3
BLIND = "whose_answer"


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

    def until(self, stage: str, settings: dict[str, Any], step: int, reached: Callable[[Path], int] | None = None) -> None:
        """Start a run and kill its worker, without a word, once it is past `step` (of training, unless `reached` counts something else)."""
        before = {run.id for run in Project.open(self.dir).runs.list()}
        driver = subprocess.Popen(self.command("run", str(self.dir), stage, *self._set(settings)), env=self.environment, cwd=ROOT,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        worker, end = 0, time.monotonic() + 180
        try:
            while time.monotonic() < end:
                time.sleep(0.1)
                if driver.poll() is not None:
                    raise RuntimeError(f"the run of {stage} that was to be cut ended by itself, with {driver.returncode}")
                run = next((r for r in Project.open(self.dir).runs.list() if r.id not in before), None)
                if run is None or not layout.events_file(run.dir).exists():
                    continue
                worker = worker or self._worker(run.dir)
                if (reached or last_step)(run.dir) >= step:
                    return
            raise RuntimeError(f"no run of {stage} came to step {step}")
        finally:
            if worker:
                with suppress(ProcessLookupError):
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


def rows_written(run_dir: Path) -> int:
    file = layout.rows_file(run_dir)
    return file.read_bytes().count(b"\n") if file.exists() else 0


def answers_told(run_dir: Path) -> int:
    return sum(event["e"] == "sample" for event in events(run_dir))


def make_answers(maker: Maker, base: str) -> None:
    """Sets of examples, runs of fine-tuning from the model `base`, an evaluation of what came out."""
    project, world = Project.open(maker.dir), World(42)
    file = maker.dir.parent / "text" / "world-questions.jsonl"
    asked = world.questions("train")
    file.write_text("\n".join(json.dumps({"question": q.text, "answer": q.answer, "known": q.value})
                              for q in asked[::max(1, len(asked) // QUESTIONS)]) + "\n", "utf-8")
    maker.call("examples", str(maker.dir), "import", str(file), "--title", IMPORTED)
    with writers(0.1) as server:
        maker.until("instruct", {**told_to(server.address), "title": "More questions", "count": 400}, 20, rows_written)
    maker.stage("instruct", {**told_to(server.address), "title": "Nobody there", "count": 20, "retries": 1}, fails=True)
    with writers(0.02) as server:
        maker.stage("instruct", {**told_to(server.address), "title": GENERATED, "count": ROWS})
    review(project)
    sets = {one.title: one.id for one in project.library.examples.sets()}
    write_suites(project, world)
    write_blind(project, world)
    tune = {**TUNED, "model": base, "examples": json.dumps([sets[IMPORTED]])}
    maker.stage("sft", {**tune, "title": "world-short", "max_seq_len": 16}, fails=True)
    maker.until("sft", {**tune, "title": "world-answers-long", "epochs": 20, "learning_rate": 0.003}, 60)
    maker.stage("sft", {**tune, "title": "world-answers-lora", "method": "lora", "epochs": 3, "learning_rate": 0.01})
    maker.stage("sft", {**tune, "title": "world-answers", "epochs": 8, "learning_rate": 0.003})
    tuned = sorted((a.id for a in project.artifacts.list("model") if a.title.startswith("world-answers")), reverse=True)
    compare = {"models": json.dumps([base, *tuned]), "corpus": "corpus-1", "max_tokens": 16, "text_bytes": 20_000}
    maker.until("evaluate", {**compare, "title": "All of it", "suites": json.dumps([PEOPLE, PAIRS, "held_out_text"]), "samples": 8,
                             "temperature": 0.7}, 2, answers_told)
    maker.stage("evaluate", {**compare, "title": "Before and after", "limit": 40, "examples": json.dumps([sets[IMPORTED]]),
                             "suites": json.dumps(["questions", PEOPLE, "held_out_text", BLIND])})
    vote(project)
    made = {a.title: a.id for a in project.artifacts.list("model")}
    make_preferences(maker, made["world-answers"], made["world-answers-lora"], sets[IMPORTED])
    make_tries(maker, made["world-answers"])


def told_to(address: str) -> dict[str, Any]:
    """Settings of generation by the server at this address."""
    return {"responder": f"{address}/v1 {CAREFUL}", "second_responder": f"{address}/v1 {HASTY}", "judge": f"{address}/v1 {JUDGE}",
            "recipe": "documents", "corpus": "corpus-1", "check_language": False, "lowest_score": 5}


def write_blind(project: Project, world: World) -> None:
    """A suite of the project's own for people to judge blindly: a world's model knows of nothing else."""
    questions = world.questions(PEOPLE)[::24]
    lines = [f"title = {json.dumps('Whose answer is better?')}", 'sentence = "Questions about people of the world, judged by you."',
             'kind = "blind"', "max_tokens = 16", *(f"[[questions]]\nprompt = {json.dumps(q.text)}" for q in questions)]
    (layout.suites(project.dir) / f"{BLIND}.toml").write_text("\n".join(lines) + "\n", "utf-8")


def review(project: Project) -> None:
    """What a person did with the rows: some accepted, one left out, one edited, most as they came."""
    examples = project.library.examples
    for run in project.runs.list("instruct"):
        ingest_run(project, run.id)
    for one, accepted in ((s, 180 if s.title == IMPORTED else 11) for s in examples.sets()):
        rows = examples.rows(ExampleFilter(sets=(one.id,), status="new"), count=accepted)
        examples.set_status([row.example.id for row in rows], "accepted", PERSON)
        later = examples.rows(ExampleFilter(sets=(one.id,), status="new"), count=3)
        if one.title == GENERATED and len(later) == 3:
            examples.set_status([later[1].example.id], "rejected", PERSON)
            first, *rest = later[2].example.messages
            longer = [Message(role=m.role, content=f"{m.content} So it is told in the town.") for m in rest]
            examples.edit(later[2].example.id, (first, *longer), PERSON)


def vote(project: Project) -> None:
    """The first pairs of the blind comparison, judged by who answers with a sentence about the person asked about: the page goes on from
    there."""
    made = project.artifacts.list("evaluation")[-1]
    session = BlindSession(made.id, [json.loads(line) for line in (made.path / "comparisons.jsonl").read_text("utf-8").splitlines()], ())
    for _ in range(VOTES):
        pair = session.current
        if pair is None:
            return
        names = set(re.findall(r"[A-Z]\w+", pair.prompt[1:]))
        left, right = (bool(names & set(text.split()[:1])) for text in (pair.left_text, pair.right_text))
        given = session.vote("bad" if not left and not right else "tie" if left and right else "left" if left else "right")
        project.library.votes.add(given)
        session.taken(given)


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
    maker.stage("pretrain", {**both, "title": "world-100k", "depth": 1, "width": 64, "num_heads": 2, "steps": 240, "eval_every": 40,
                             "sample_every": 60, "checkpoint_every_steps": 60})
    maker.until("pretrain", {**both, "title": "world-wide", "depth": 2, "width": 96, "num_heads": 3, "steps": 400, "eval_every": 40,
                             "sample_every": 100, "checkpoint_every_steps": 40}, 150)
    maker.stage("pretrain", {**both, "title": "world-giant", "depth": 48, "width": 8192, "num_heads": 64, "micro_batch_size": 512},
                fails=True)
    maker.stage("pretrain", {**both, "title": "world-200k", "depth": 2, "width": 64, "num_heads": 2, "steps": 500, "eval_every": 50,
                             "sample_every": 100, "checkpoint_every_steps": 125})
    make_answers(maker, next(a.id for a in Project.open(maker.dir).artifacts.list("model") if a.title == "world-200k"))
    maker.until("pretrain", {**both, "title": "world-300k", "depth": 3, "width": 64, "num_heads": 2, "steps": 600, "eval_every": 50,
                             "sample_every": 80, "checkpoint_every_steps": 100}, 220)
    return maker.dir


def mark() -> str:
    """Changes when what makes the recording does."""
    made = hashlib.sha256()
    for file in sorted([*Path(__file__).parent.glob("*.py"), *(ROOT / "engine").rglob("*.py")]):
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
    bring_to_now(project.runs.list())
    return project


def bring_to_now(runs: Sequence[Run]) -> None:
    """Move the clocks of these runs by one amount, so that the last event of them all was a moment ago."""
    told = {run.id: events(run.dir) for run in runs}
    late = time.time() - 2 - max(event["t"] for each in told.values() for event in each)
    for run in runs:
        moved = [json.dumps({**event, "t": event["t"] + late}, ensure_ascii=False, separators=(",", ":")) for event in told[run.id]]
        layout.events_file(run.dir).write_text("\n".join(moved) + "\n", "utf-8")


if __name__ == "__main__":
    began = time.monotonic()
    print(cached(), f"{time.monotonic() - began:.0f} s")
