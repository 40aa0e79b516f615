"""The loop on a real tiny decoder: exact resume, skipped steps, commands, full disk, memory running out, early stopping, many ranks."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.contract.context import Command, RunContext
from engine.contract.errors import DiskFull, NonFinite, OutOfMemory, Stopped
from engine.contract.events import CheckpointRemoved, CheckpointSaved, Evaluation, Metrics, Notice, Waiting
from engine.model.checkpoint import load_into, load_tensors, save_weights
from engine.model.config import ModelConfig
from engine.model.decoder import Decoder
from engine.project import files, layout
from engine.training import loop as module
from engine.training.batches import TokenRows
from engine.training.checkpoints import Checkpoints
from engine.training.evaluate import TextEvaluation
from engine.training.loop import LoopSettings, Trainer
from engine.training.optim import Optimizer, OptimizerSettings
from engine.training.schedule import Schedule

VOCAB = 32
STEPS = 12


class Text:
    """A split of a few documents of a simple language: each token mostly follows from the one before."""

    def __init__(self, documents=9, seed=0):
        rng = np.random.default_rng(seed)
        lengths = rng.integers(5, 60, documents)
        self.starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        self.tokens = int(self.starts[-1])
        self._all = ((np.arange(self.tokens) * 5 + rng.integers(0, 2, self.tokens)) % VOCAB).astype(np.uint16)

    def slice(self, start, stop):
        return self._all[start:stop]


class World:
    """One run's folder, its events, and the commands it will be given: {step: word}."""

    def __init__(self, folder, commands=None, **context):
        self.events, self.commands, self.step = [], dict(commands or {}), 0
        self.context = RunContext(run_dir=folder, project_dir=folder, run_id="1-test", seed=3, emitter=self.events.append, reader=self.read,
                                  **context)

    def read(self):
        done = max([int(s) for e in self.of(Metrics) for s in e.columns["step"]], default=0)
        word = self.commands.pop(done, None)
        return Command(word) if word else None

    def of(self, kind):
        return [e for e in self.events if isinstance(e, kind)]

    def losses(self):
        return {int(e.columns["step"][0]): e.columns["loss"][0] for e in self.of(Metrics)}


HOOKS = ("evaluate", "sample", "measures", "enough")


def trainer_of(world, *, muon=True, dropout=0.0, micro=2, steps=STEPS, loss=None, keep=3, wrap=None, **settings):
    config = ModelConfig(vocab_size=VOCAB, hidden_size=16, num_layers=2, num_heads=2, num_kv_heads=2, head_dim=8, intermediate_size=32,
                         max_seq_len=16, qk_norm=True, dropout=dropout)
    model = Decoder(config, seed=1)
    optimizer = Optimizer(model.named_parameters(), OptimizerSettings(4e-3, 2e-2 if muon else None, weight_decay=0.1), model.matrix_parts())
    source = TokenRows(Text(), seq_len=16, rows_per_step=4, seed=5, first_input=0, pad=0, borders=True, rank=world.context.rank,
                       world_size=world.context.world_size)
    def plain(runner, batch):
        return runner(batch.tokens_BT, targets_BT=batch.targets_BT, reduction="sum", document_lengths=batch.documents)
    return Trainer(model, loss=loss or plain, source=source, optimizer=optimizer, schedule=Schedule(steps, 2), context=world.context,
                   settings=LoopSettings(steps=steps, micro_batch_size=micro,
                                         **{k: v for k, v in settings.items() if k not in HOOKS}),
                   checkpoints=Checkpoints(world.context, lambda folder: save_weights(folder, model), keep=keep),
                   **{k: v for k, v in settings.items() if k in HOOKS})


def resumed(world, **options):
    trainer = trainer_of(world, **options)
    found, notices = trainer.checkpoints.latest()
    if found:
        load_into(found.path / "model.safetensors", trainer.model)
        trainer.resume(found)
    return trainer, found, notices


def same_weights(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.model.state_dict().values(), b.model.state_dict().values(), strict=True))


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("muon", "dropout"), [(True, 0.0), (False, 0.0), (True, 0.2), (False, 0.2)])
def test_stopped_and_resumed_equals_straight_to_the_last_byte(tmp_path, muon, dropout):
    straight, broken = World(tmp_path / "a"), World(tmp_path / "b", {5: "stop_save"})
    one = trainer_of(straight, muon=muon, dropout=dropout)
    one.train()
    with pytest.raises(Stopped) as stopped:
        trainer_of(broken, muon=muon, dropout=dropout).train()
    assert stopped.value.saved and broken.of(CheckpointSaved)[-1].why == "stop"
    two, found, _ = resumed(broken, muon=muon, dropout=dropout)
    assert found.step == 5
    two.train()
    assert straight.losses() == broken.losses()
    assert same_weights(one, two)
    for name, value in one.optimizer.state().items():
        assert torch.equal(value, two.optimizer.state()[name]), name


def test_loss_falls(tmp_path):
    world = World(tmp_path)
    trainer_of(world, steps=40).train()
    losses = world.losses()
    assert losses[40] < 0.75 * losses[1]


def test_validation_and_samples_leave_no_trace_in_training(tmp_path):
    def evaluate_with(holder):
        text = TextEvaluation(Text(seed=1), np.ones(VOCAB), seq_len=16, batch_size=3, first_input=0, pad=0, borders=True)
        def evaluate(step):
            torch.randn(7)
            return {"val_loss": text.measure(holder[0].model, 10_000, holder[0].ranks).per_token}
        return evaluate
    plain, watched, holder = World(tmp_path / "a"), World(tmp_path / "b"), []
    one = trainer_of(plain, dropout=0.2)
    one.train()
    two = trainer_of(watched, dropout=0.2, eval_every=1, sample_every=1, evaluate=evaluate_with(holder), sample=lambda step: torch.rand(99))
    holder.append(two)
    two.train()
    assert same_weights(one, two) and plain.losses() == watched.losses()
    assert len(watched.of(Evaluation)) == STEPS + 1


def test_micro_batches_of_any_size_give_the_same_step(tmp_path):
    worlds = {micro: World(tmp_path / str(micro)) for micro in (1, 2, 4, 3)}
    for micro, world in worlds.items():
        trainer_of(world, micro=micro, muon=False).train()
    for world in worlds.values():
        assert list(world.losses().values()) == pytest.approx(list(worlds[4].losses().values()), abs=2e-5)


def poisoned(steps, value=float("nan")):
    """The loss, not a number at some steps (counted from 1)."""
    calls = {"n": 0}
    def loss(runner, batch):
        calls["n"] += 1
        made = runner(batch.tokens_BT, targets_BT=batch.targets_BT, reduction="sum", document_lengths=batch.documents)
        return made * value if (calls["n"] + 1) // 2 in steps else made
    return loss


def test_a_step_whose_loss_is_not_a_number_is_skipped_and_counted(tmp_path):
    world = World(tmp_path)
    trainer = trainer_of(world, loss=poisoned({4, 7}))
    state = trainer.train()
    assert state.skipped == 2 and state.step == STEPS
    assert all(torch.isfinite(p).all() for p in trainer.model.parameters())
    assert {n.step for n in world.of(Notice) if n.code == "step_skipped"} == {4, 7}
    columns = {e.columns["step"][0]: e.columns["loss"][0] for e in world.of(Metrics)}
    assert np.isnan(columns[4]) and np.isfinite(columns[5])


def test_several_bad_steps_in_a_row_end_the_run_and_name_the_good_checkpoint(tmp_path):
    world = World(tmp_path)
    with pytest.raises(NonFinite) as wrong:
        trainer_of(world, loss=poisoned(set(range(6, 99)), float("inf")), checkpoint_every_steps=4).train()
    assert "step 8 is good" in wrong.value.sentence and wrong.value.remedy
    assert all(torch.isfinite(w).all() for w in load_tensors(layout.checkpoint(tmp_path, 8) / "model.safetensors").values())
    assert world.of(Metrics)[-1].columns["step"][0] == 10


def test_memory_running_out_halves_the_micro_batch_and_the_checkpoint_keeps_it(tmp_path):
    def tight(runner, batch):
        if len(batch.tokens_BT) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return runner(batch.tokens_BT, targets_BT=batch.targets_BT, reduction="sum", document_lengths=batch.documents)
    world, plain = World(tmp_path / "a"), World(tmp_path / "b")
    trainer = trainer_of(world, micro=4, loss=tight, muon=False)
    trainer.train()
    trainer_of(plain, micro=1, muon=False).train()
    assert world.losses() == plain.losses()
    assert trainer.state.micro_batch_size == 1 and [n.code for n in world.of(Notice)] == ["micro_batch_halved"] * 2
    assert trainer.checkpoints.latest()[0].state().micro_batch_size == 1


def test_no_memory_for_a_single_row_is_an_error_with_a_remedy(tmp_path):
    def never(runner, batch):
        raise RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)")
    with pytest.raises(OutOfMemory) as wrong:
        trainer_of(World(tmp_path), micro=2, loss=never).train()
    assert wrong.value.remedy


def test_other_runtime_errors_are_not_taken_for_a_lack_of_memory(tmp_path):
    def broken(runner, batch):
        raise RuntimeError("shapes do not match")
    with pytest.raises(RuntimeError, match="shapes"):
        trainer_of(World(tmp_path), loss=broken).train()


def test_stop_saves_nothing_save_goes_on_and_pause_saves(tmp_path):
    world = World(tmp_path, {3: "save", 5: "pause"})
    with pytest.raises(Stopped) as paused:
        trainer_of(world).train()
    assert paused.value.paused and [(c.step, c.why) for c in world.of(CheckpointSaved)] == [(3, "asked"), (5, "stop")]
    world = World(tmp_path / "b", {2: "stop"})
    with pytest.raises(Stopped) as stopped:
        trainer_of(world).train()
    assert not stopped.value.saved and not world.of(CheckpointSaved)


def test_the_last_few_the_best_and_the_first_checkpoint_are_kept(tmp_path):
    world, values = World(tmp_path), {0: 9.0, 2: 1.0, 4: 3.0, 6: 3.0, 8: 3.0, 10: 3.0, 12: 3.0}
    trainer = trainer_of(world, keep=2, checkpoint_every_steps=1, eval_every=2, evaluate=lambda step: {"val_loss": values[step]})
    trainer.checkpoints.save(trainer.state, None, "start")
    trainer.train()
    assert [c.step for c in trainer.checkpoints.all()] == [0, 2, 11, 12]
    assert [e.step for e in world.of(Evaluation) if e.best] == [2] and {e.step
                                                                        for e in world.of(CheckpointRemoved)} == set(range(1, 11)) - {2}
    best = next(c for c in world.of(CheckpointSaved) if c.step == 2)
    assert best.best and best.why == "best"
    assert not trainer.checkpoints.all()[0].resumable


def test_what_another_run_cannot_do_without_is_kept_and_said_once(tmp_path):
    other = layout.checkpoint(tmp_path / "p" / "runs" / "2-adapt", 7)
    world = World(tmp_path / "p" / "runs" / "1-pretrain")
    other.mkdir(parents=True)
    files.write_json(layout.spec_file(other.parents[1]), {"stage": "adapt", "spec": {"model": "1-pretrain@1"}})
    files.write_json(other / "adapter.json", {"base": "1-pretrain@2"})
    files.write_json(other / layout.MANIFEST, {"step": 7})
    trainer = trainer_of(world, keep=1, checkpoint_every_steps=1)
    trainer.checkpoints.context = replace(world.context, project_dir=tmp_path / "p", run_id="1-pretrain")
    trainer.train()
    assert [c.step for c in trainer.checkpoints.all()] == [1, 2, STEPS]
    assert [n.text for n in world.of(Notice)] == ["2-adapt needs the checkpoint of step 1.", "2-adapt@7 needs the checkpoint of step 2."]


def test_early_stopping_counts_validations_without_a_new_best(tmp_path):
    world = World(tmp_path)
    trainer = trainer_of(world, eval_every=2, patience=2, evaluate=lambda step: {"val_loss": abs(step - 4) + 1.0})
    assert trainer.train().step == 8 and trainer.state.best_step == 4
    assert any(n.code == "early_stop" for n in world.of(Notice))


def test_checkpoints_by_time(tmp_path):
    world = World(tmp_path)
    trainer_of(world, checkpoint_every_minutes=1e-9).train()
    assert [c.why for c in world.of(CheckpointSaved)] == ["time"] * (STEPS - 1) + ["final"]


@pytest.mark.parametrize("damage", ["cut", "flip", "missing"])
def test_a_damaged_checkpoint_is_told_and_the_one_before_it_used(tmp_path, damage):
    straight, world = World(tmp_path / "a"), World(tmp_path / "b", {9: "stop"})
    one = trainer_of(straight)
    one.train()
    with pytest.raises(Stopped):
        trainer_of(world, checkpoint_every_steps=4).train()
    victim = layout.checkpoint(world.context.run_dir, 8) / "model.safetensors"
    data = bytearray(victim.read_bytes())
    if damage == "missing":
        victim.unlink()
    else:
        data[-3] ^= 1
        victim.write_bytes(data if damage == "flip" else data[:-100])
    two, found, notices = resumed(world, checkpoint_every_steps=4)
    assert found.step == 4 and notices[0].code == "checkpoint_damaged" and "8" in notices[0].text
    two.train()
    assert same_weights(one, two)


def test_a_full_disk_pauses_in_place_and_goes_on_when_there_is_room(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "DISK_POLL_SECONDS", 0.01)
    world, straight, polls = World(tmp_path / "a"), World(tmp_path / "b"), {"n": 0}
    one = trainer_of(straight)
    one.train()
    trainer = trainer_of(world, checkpoint_every_steps=4)
    write, room = trainer.checkpoints.write_model, {"left": True}
    def limited(folder):
        write(folder)
        if trainer.state.step == 8 and not room["left"]:
            raise OSError(28, "No space left on device")
    def space(folder):
        polls["n"] += 1
        room["left"] = polls["n"] > 5
        return 10**12 if room["left"] else 0
    trainer.checkpoints.write_model = limited
    monkeypatch.setattr(module, "free_space", space)
    room["left"] = False
    trainer.train()
    assert [w.over for w in world.of(Waiting)] == [False, True] and polls["n"] > 5
    problem = next(n for n in world.of(Notice) if n.code == "disk_full" and not n.cleared)
    assert problem.level == "problem" and problem.remedy and "model" not in problem.text
    order = [type(e).__name__ for e in world.events if isinstance(e, (Waiting, CheckpointSaved))]
    assert order == ["CheckpointSaved", "Waiting", "CheckpointSaved", "Waiting", "CheckpointSaved"]
    assert same_weights(one, trainer) and not list(world.context.run_dir.rglob(files.TEMPORARY + "*"))


def test_a_full_disk_leaves_the_checkpoint_before_intact_and_stop_is_heard(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "DISK_POLL_SECONDS", 0.01)
    monkeypatch.setattr(module, "free_space", lambda folder: 0)
    world = World(tmp_path)
    trainer = trainer_of(world, checkpoint_every_steps=4)
    write = trainer.checkpoints.write_model
    def limited(folder):
        write(folder)
        if trainer.state.step == 8:
            world.commands[8] = "stop"
            raise OSError(28, "No space left on device")
    trainer.checkpoints.write_model = limited
    with pytest.raises(Stopped):
        trainer.train()
    found, notices = trainer.checkpoints.latest()
    assert found.step == 4 and not notices


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are Unix's")
def test_a_real_refusal_to_write_more_is_a_full_disk(tmp_path):
    import resource
    import signal
    world = World(tmp_path)
    trainer = trainer_of(world)
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
        with pytest.raises(DiskFull):
            trainer.checkpoints.save(trainer.state, trainer.optimizer.state(), "asked")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert trainer.checkpoints.all() == [] and list(trainer.checkpoints.folder.iterdir()) == []


@pytest.mark.parametrize(("muon", "apart"), [(False, 3e-6), (True, 5e-4)])
def test_two_processes_train_as_one(tmp_path, muon, apart):
    """Sums in another order differ in the last bit; Muon's bfloat16 products make a little more of that."""
    alone = World(tmp_path / "one")
    trainer = trainer_of(alone, muon=muon, micro=2)
    trainer.train()
    here = Path(__file__)
    code = (f"import sys, json; sys.path[:0] = [{str(here.parent)!r}, {str(here.parents[3])!r}]\n"
            "import os, torch, torch.distributed as dist; from pathlib import Path\n"
            "import test_loop as t\n"
            "torch.set_num_threads(1); dist.init_process_group('gloo')\n"
            "rank = int(os.environ['RANK'])\n"
            f"world = t.World(Path({str(tmp_path / 'two')!r}), {{7: 'save'}}, rank=rank, world_size=2)\n"
            f"trainer = t.trainer_of(world, muon={muon}, micro=1); trainer.train()\n"
            f"torch.save(trainer.model.state_dict(), {str(tmp_path)!r} + f'/weights-{{rank}}.pt')\n"
            f"rank == 0 and Path({str(tmp_path / 'losses.json')!r}).write_text(json.dumps(list(world.losses().values())))\n"
            "dist.destroy_process_group()\n")
    script = tmp_path / "two.py"
    script.write_text(code)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    made = subprocess.run([sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(script)],
                          env=environment,
                          capture_output=True, text=True, timeout=120)
    assert made.returncode == 0, made.stderr[-3000:]
    losses = json.loads((tmp_path / "losses.json").read_text())
    assert losses == pytest.approx(list(alone.losses().values()), abs=apart)
    first, second = (torch.load(tmp_path / f"weights-{r}.pt") for r in range(2))
    assert all(torch.equal(first[k], second[k]) for k in first)
    assert sorted(p.name for p in layout.checkpoints(tmp_path / "two").iterdir()) == ["step-00000007", "step-00000012"]


def test_updates_on_one_batch_of_rollouts_are_not_parted(tmp_path):
    """A command that comes in the middle is obeyed after the last of them; what falls due in the middle is done there too."""
    measured = []
    world = World(tmp_path / "run")
    asked = iter(["pause"])
    world.context = replace(world.context, reader=lambda: Command(next(asked, "")) if len(world.losses()) >= 4 else None)
    trainer = trainer_of(world, steps=12, stride=3, ahead=False, eval_every=4, checkpoint_every_steps=5,
                         evaluate=lambda step: measured.append(step) or {"val_loss": 1.0})
    with pytest.raises(Stopped):
        trainer.train()
    assert [c.step for c in trainer.checkpoints.all()] == [6]
    again, found, _ = resumed(world, steps=12, stride=3, ahead=False, eval_every=4, checkpoint_every_steps=5,
                              evaluate=lambda step: measured.append(step) or {"val_loss": 1.0})
    assert found.step == 6
    again.train()
    assert measured == [0, 6, 9, 12]
    assert {c.step for c in again.checkpoints.all()} >= {6, 12}


def test_a_source_that_samples_is_asked_after_the_update(tmp_path):
    """With `ahead` off the batches of a step are made when the weights of the step before are there."""
    seen = {}
    for ahead in (True, False):
        trainer = trainer_of(World(tmp_path / str(ahead)), steps=4, ahead=ahead)
        batches, at = trainer.source.batches, []
        trainer.source.batches = lambda step, micro, t=trainer, b=batches, a=at: a.append((step, t.state.step)) or b(step, micro)
        trainer.train()
        seen[ahead] = at
    assert seen[False] == [(n, n) for n in range(4)]
    assert seen[True] == [(0, 0)] + [(n + 1, n) for n in range(3)]


def test_a_stage_adds_measures_to_each_step_and_may_end_early(tmp_path):
    world = World(tmp_path)
    trainer = trainer_of(world, steps=9, measures=lambda: {"reward": 0.5}, enough=lambda: trainer.state.step >= 5)
    state = trainer.train()
    assert state.step == 5
    assert [e.columns["reward"] for e in world.of(Metrics)] == [[0.5]] * 5
