"""Writes a project folder as real runs would have left it: real specs, artifacts with manifests, event files in the contract's format.

The curves are drawn from a formula, not trained: this is for pictures and for tests of what the window shows. Used as

    project = newspaper(folder)            # a corpus, a tokenizer, runs done, interrupted, failed and one under way
    write_run(run, Story(steps=2503, upto=1027))
"""

import json
import math
import random
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from engine.contract import events as ev
from engine.project import layout
from engine.project.project import Project
from engine.project.runs import Run
from engine.stages.corpus.spec import CorpusSpec
from engine.stages.pretrain.spec import PretrainSpec
from engine.stages.tokenizer.spec import TokenizerSpec

CONTINUATIONS = (
    " ,g ferry th quor 1 said the wat hund inj lin which aff",
    " the of said and in the the to town a was. the",
    " of the town and the ferry of the harbour, where the council had been the said to the mayor.",
    " and the harbour master said that the boat was to be had in the evening, with the mail and the papers.",
    " at seven on Tuesday morning with forty passengers and the mail, and was seen off the north light by noon in a stiff breeze. The "
    "mayor was not on board.",
)


@dataclass(frozen=True)
class Story:
    """How a run went. `upto` steps of `steps`; `end` is the last event's status ("" leaves it without one, as a kill does)."""

    steps: int = 2503
    upto: int = 1027
    tokens_per_step: int = 262_144
    rate: float = 171_204.0
    floor: float = 3.22
    bpb: float = 1.0
    eval_every: int = 125
    sample_every: int = 200
    checkpoint_every: int = 250
    parameters: int = 59_600_000
    memory: int = 8_900_000_000
    end: str = "done"
    error: tuple[str, str, str] = ("", "", "")
    began: float = 0.0
    device: str = "cpu"
    seed: int = 7
    odd: int = 613


def loss_curve(story: Story) -> np.ndarray:
    """One value a step: a fast fall, a slow one, noise that quietens, one odd batch."""
    rng, x = np.random.default_rng(story.seed), np.arange(1, story.upto + 1)
    k = story.steps / 2503
    true = story.floor + 5.4 * np.exp(-x / (55 * k)) + 1.25 * np.exp(-x / (380 * k)) - 0.00005 * x / k
    raw = true + rng.normal(0, 0.11, x.size) * (1 + 0.4 * np.exp(-x / 100))
    if 0 < story.odd <= story.upto:
        raw[story.odd - 1] += 0.9
    return raw


def write_run(run: Run, story: Story) -> None:
    """The run's events.jsonl, log and control, as its worker would have written them."""
    seconds = story.tokens_per_step / story.rate
    now = story.began or time.time() - 42 - story.upto * seconds
    lines: list[str] = []
    log = [f"{clock(now)} {run.id}, attempt 1, {story.device}, seed 42"]

    def emit(event: ev.Event, after: float = 0.0) -> None:
        nonlocal now
        now += after
        lines.append(ev.to_line(replace(event, time=now, attempt=1)))

    emit(ev.Started(pid=999_999_999, stage=run.stage, device=story.device, device_title="", dtype="bfloat16",
                    threads=2, engine_version="0.1.0"))
    emit(ev.Phases(phases=[["load", "Load"], ["compile", "Compile"], ["train", "Train"], ["evaluate", "Evaluate"], ["save", "Save"]]))
    emit(ev.Phase(id="load", title="Load"))
    if story.upto:
        emit(ev.Facts(facts={"parameters": story.parameters, "steps": story.steps, "tokens_per_step": story.tokens_per_step,
            "tokens": story.steps * story.tokens_per_step, "sample_every": story.sample_every, "memory_total": 24_000_000_000,
            "epochs": 1.6, "plan": {"sample_every": story.sample_every, "learning_rate": 0.002, "micro_batch_size": 8}}), 2)
        log.append(f"{clock(now)} model: depth 10, width 640, vocabulary 16,384")
        emit(ev.Phase(id="compile", title="Compile"), 4)
        emit(ev.Phase(id="train", title="Train"), 38)
    losses, rng, bpb = loss_curve(story), random.Random(3), 0.0
    train_began, batch = now, []
    for step in range(1, story.upto + 1):
        now += seconds
        jump = 41.0 if step == story.odd else 9.0 if abs(step - story.odd) < 3 else 0.0
        batch.append((step, losses[step - 1], 0.003 * min(1.0, step / 100), jump or 0.4 + rng.random() * 0.2, step * story.tokens_per_step,
                      story.rate * (0.98 + rng.random() * 0.04), now - train_began, 0.40, story.memory))
        last = step == story.upto
        special = step % story.eval_every == 0 or step % story.sample_every == 0 or step % story.checkpoint_every == 0 or last
        if len(batch) >= 5 or special:
            keys = ("step", "loss", "lr", "grad_norm", "tokens", "tokens_per_second", "elapsed", "mfu", "memory")
            emit(ev.Metrics(columns={key: [float(row[i]) for row in batch] for i, key in enumerate(keys)}))
            batch = []
            emit(ev.Progress(done=step, total=story.steps, unit="steps", rate=1 / seconds, eta=(story.steps - step) * seconds))
        if step % story.eval_every == 0 or (last and story.end == "done"):
            share = step / story.steps
            bpb = story.bpb * (0.97 + 1.6 * math.exp(-share * 15) + 0.32 * math.exp(-share * 2.6))
            emit(ev.Evaluation(step=step, values={"val_loss": losses[step - 1], "bpb": bpb}, best=True))
            log.append(f"{clock(now)} step {step}: {bpb:.3f} bits per byte on the validation text")
        if step % story.sample_every == 0:
            text = CONTINUATIONS[min(len(CONTINUATIONS) - 1, int(5.0 * (step / story.steps) ** 0.5 * 1.6))]
            emit(ev.Sample(step=step, prompt="The ferry left the quay", text=text, temperature=0.8))
        if step % story.checkpoint_every == 0 or (last and story.end in ("done", "stopped", "paused")):
            emit(ev.CheckpointSaved(step=step, path=f"checkpoints/step-{step:08d}", why="best", best=True, size=715_000_000))
            log.append(f"{clock(now)} checkpoint of step {step} saved, 715 MB")
        if story.odd and step == story.odd + 3:
            emit(ev.Notice(level="info", code="gradient_jump", title="Gradient jumped and came back", step=story.odd,
                           text=f"Gradient norm jumped to 41 at step {story.odd} and came back in 3 steps: one odd batch."))
    if story.end == "done":
        emit(ev.Phase(id="evaluate", title="Evaluate"))
        emit(ev.Phase(id="save", title="Save"), 9)
        emit(ev.ArtifactMade(id="model-1", kind="model"), 3)
    if story.end == "done":
        emit(ev.Facts(facts={"outcome": {"bpb": bpb, "unigram_bpb": 2.468, "seconds": now - train_began, "steps": story.upto}}))
    if story.end:
        code, sentence, remedy = story.error
        emit(ev.Finished(status=story.end, code=code, sentence=sentence, remedy=remedy, step=story.upto), 0.2)
        log.append(f"{clock(now)} error {code}: {sentence}" if code else f"{clock(now)} {story.end}")
    layout.events_file(run.dir).write_text("\n".join(lines) + "\n", "utf-8")
    layout.log_file(run.dir).write_text("\n".join(log) + "\n", "utf-8")


def clock(moment: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(moment))


def newspaper(folder: Path, running: bool = True) -> Project:
    """The project of the pictures: a newspaper archive, a tokenizer, three earlier runs, and one under way (without its worker: hold its
    lock to make it look alive)."""
    project = Project.create(folder, "Lowland Gazette")
    corpus_spec = CorpusSpec(sources=("gazette",), title="Gazette corpus")
    first = project.runs.create(corpus_spec)
    simple_run(first, [("read", "Read"), ("split", "Split")], 372)
    with project.artifacts.create("corpus", title="Gazette corpus", run=first.id, spec=json.loads(corpus_spec.model_dump_json())) as made:
        (made.path / "note.txt").write_text("recorded", "utf-8")
        made.finish(documents=318_204, bytes=1_820_000_000, tokens_estimate=455_000_000, splits={
            "train": {"documents": 315_022, "bytes": 1_801_800_000}, "validation": {"documents": 3_182, "bytes": 18_200_000}})
    tokenizer_spec = TokenizerSpec(corpus="corpus-1", vocab_size=16_384, title="Gazette tokenizer")
    second = project.runs.create(tokenizer_spec)
    simple_run(second, [("read", "Read"), ("train", "Train"), ("save", "Save")], 41)
    with project.artifacts.create("tokenizer", title="Gazette tokenizer", parents=("corpus-1",), run=second.id,
                                  spec=json.loads(tokenizer_spec.model_dump_json())) as made:
        (made.path / "note.txt").write_text("recorded", "utf-8")
        made.finish(vocab_size=16_384, bytes_per_token=4.31, backend="tiktoken", special=16)
    day = 86_400.0
    base = {"corpus": "corpus-1", "tokenizer": "tokenizer-1"}
    write_run(project.runs.create(PretrainSpec(**base, title="gazette-17m", depth=6)),
              Story(steps=712, upto=700, floor=3.75, bpb=1.12, end="", began=time.time() - 5 * day, parameters=17_000_000, seed=2))
    write_run(project.runs.create(PretrainSpec(**base, title="gazette-54m", depth=9)),
              Story(steps=2290, upto=2290, floor=3.46, bpb=1.04, end="done", began=time.time() - 2 * day, parameters=54_400_000, seed=3,
                    odd=0))
    write_run(project.runs.create(PretrainSpec(**base, title="gazette-60m", depth=10, learning_rate=0.01)),
              Story(steps=2503, upto=0, end="failed", began=time.time() - 7200, error=("mismatch",
                    "The model expects 8,192 tokens, this tokenizer has 16,384.", "Use the tokenizer's vocabulary in the design, or choose "
                    "tokenizer 1.")))
    if running:
        write_run(project.runs.create(PretrainSpec(**base, title="gazette-60m", depth=10)), Story(end=""))
    return project


def simple_run(run: Run, phases: list[tuple[str, str]], seconds: float) -> None:
    """A finished run of a stage without steps."""
    now = time.time() - 6 * 86_400
    lines = [ev.to_line(ev.Started(time=now, stage=run.stage, pid=1, device="cpu")),
             ev.to_line(ev.Phases(time=now, phases=[list(p) for p in phases]))]
    for id, title in phases:
        lines.append(ev.to_line(ev.Phase(time=now, id=id, title=title)))
        now += seconds / len(phases)
    lines.append(ev.to_line(ev.Finished(time=now, status="done")))
    layout.events_file(run.dir).write_text("\n".join(lines) + "\n", "utf-8")
    layout.log_file(run.dir).write_text("done\n", "utf-8")
