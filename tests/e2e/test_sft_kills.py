"""Fine-tuning and domain training under kill -9, and under torchrun: the model at the end is the undisturbed run's.

A few kills in the gate; thirty of each by hand: `python -m pytest tests/e2e/test_sft_kills.py -m slow`.
"""

import random
import sys
import time
from pathlib import Path

import pytest

from engine.contract.rows import Example, Message
from engine.contract.spec import Spec
from engine.project import launch
from engine.project.follow import follow
from engine.project.project import Project
from engine.project.runs import Run
from engine.stages.adapt.spec import AdaptSpec
from engine.stages.corpus.spec import CorpusSpec
from engine.stages.pretrain.spec import PretrainSpec
from engine.stages.sft.spec import SftSpec
from engine.stages.tokenizer.spec import TokenizerSpec

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is POSIX")

WORDS = "the ferry left quay at seven with forty passengers and mail for island harbour light wind rose tide fell".split()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A small base model by the real stages, and a set of conversations."""
    monkey = pytest.MonkeyPatch()
    monkey.setenv("FLEDGE_HOME", str(tmp_path_factory.mktemp("home")))
    monkey.setenv("FLEDGE_THREADS", "1")
    made = Project.create(tmp_path_factory.mktemp("project") / "p", "Kills")
    chance = random.Random(5)
    source: Path = tmp_path_factory.mktemp("source") / "ferry.txt"
    source.write_text("\n\n".join(" ".join(chance.choices(WORDS, k=60)) + "." for _ in range(200)))
    base = PretrainSpec(corpus="corpus-1", tokenizer="tokenizer-1", depth=1, width=32, num_heads=2, max_seq_len=64, steps=20,
                        tokens_per_step=256, compile="off", dtype="float32", eval_every=0, sample_every=0)
    for spec in (CorpusSpec(sources=(str(source),), split_by="blank_lines"), TokenizerSpec(corpus="corpus-1", vocab_size=320), base):
        run = made.runs.create(spec)
        assert follow(run, launch.start(run, "cpu")).status == "done", run.log_tail()
    rows = [Example(id=str(n), messages=(Message(role="user", content=" ".join(chance.choices(WORDS, k=5)) + "?"),
                                         Message(role="assistant", content=" ".join(chance.choices(WORDS, k=4)) + ".")))
            for n in range(160)]
    made.library.examples.add(made.library.examples.create_set("talk").id, rows, "person")
    yield made
    monkey.undo()


COMMON = {"model": "model-1", "compile": "off", "dtype": "float32", "checkpoint_every_steps": 5, "checkpoint_every_minutes": 0,
          "eval_every": 9, "keep_checkpoints": 2, "sample_tokens": 6}
SPECS: dict[str, Spec] = {
    "sft": SftSpec.check({**COMMON, "examples": ("set-1",), "epochs": 6, "batch_size": 8}),
    "sft with LoRA": SftSpec.check({**COMMON, "examples": ("set-1",), "epochs": 6, "batch_size": 8, "method": "lora", "lora_dropout": 0.1,
                                    "packing": False, "replay": "corpus-1"}),
    "adapt": AdaptSpec.check({**COMMON, "corpus": "corpus-1", "epochs": 2, "tokens_per_step": 256})}


def finish(project: Project, run: Run, processes: int = 1) -> None:
    state = follow(run, launch.start(run, "cpu", processes=processes))
    assert state.status == "done", run.log_tail()


def outcome(project: Project, run: Run) -> tuple[str, dict[str, object], list[tuple[float, float]]]:
    """Hash of the finished weights, its figures, and the loss of every step."""
    state = run.state()
    made = project.artifacts.get(state.artifacts[-1])
    made.verify()
    facts = {k: v for k, v in made.facts.items() if k != "seconds"}
    series = state.metrics
    losses = list(zip(series.column("step").tolist(), series.column("loss").tolist(), strict=True))
    return str(made.files["model.safetensors"]["sha256"]), facts, losses


def disturb(project: Project, spec: Spec, kills: int, seed: int) -> None:
    straight = project.runs.create(spec)
    finish(project, straight)
    wanted, chance = outcome(project, straight), random.Random(seed)
    run = project.runs.create(spec)
    for _ in range(kills):
        if run.state().status == "done":
            assert outcome(project, run) == wanted
            run = project.runs.create(spec)
        pid = launch.start(run, "cpu")
        before, until = run.state().step, time.monotonic() + 20
        at = before + chance.choice((0, 1, 4, 7))  # in start-up, between steps, around a save
        while run.state().step < at and launch.running(pid) and time.monotonic() < until:
            time.sleep(0.02)
        time.sleep(chance.uniform(0.0, 0.6) if at > before else chance.uniform(0.5, 4.0))
        launch.kill(pid)
        assert Project.open(project.dir).runs.get(run.id).status_of(run.state()) in ("interrupted", "created", "done")
    if run.state().status != "done":
        finish(project, run)
    assert outcome(project, run) == wanted


GATE = [pytest.param(name, marks=() if name == "sft" else pytest.mark.slow) for name in SPECS]


@pytest.mark.parametrize("name", GATE)
def test_kills_of_the_worker_change_nothing(project: Project, name: str) -> None:
    disturb(project, SPECS[name], 3, 7)


@pytest.mark.slow
@pytest.mark.parametrize("name", SPECS)
def test_thirty_kills_of_the_worker_change_nothing(project: Project, name: str) -> None:
    disturb(project, SPECS[name], 30, 11)


@pytest.mark.parametrize("name", GATE)
def test_two_processes_learn_what_one_learns(project: Project, name: str) -> None:
    spec = SPECS[name].model_copy(update={"lora_dropout": 0.0})
    alone, two = project.runs.create(spec), project.runs.create(spec)
    finish(project, alone)
    finish(project, two, processes=2)
    (_, ours, one), (_, theirs, both) = outcome(project, alone), outcome(project, two)
    assert len(one) == len(both) and max(abs(a[1] - b[1]) for a, b in zip(one, both, strict=True)) < 2e-3
    assert abs(ours["val_loss_after"] - theirs["val_loss_after"]) < 2e-3  # type: ignore[operator]
    assert {k: ours[k] for k in ("steps", "epochs", "trainable")} == {k: theirs[k] for k in ("steps", "epochs", "trainable")}
