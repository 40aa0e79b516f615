"""Domain training from a model to a model, in a real project: what is learned, what is forgotten, what is written, what a resume gives."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from engine.contract.errors import DeviceUnavailable, InputError, NotFound, OutOfMemory, SettingError, Stopped
from engine.contract.events import ArtifactMade, CheckpointSaved, Evaluation, Metrics, Notice, Phase, Phases, Resumed, Sample
from engine.model.checkpoint import load_model
from engine.model.config import ModelConfig
from engine.project import layout
from engine.project.models import parents_of, resolve
from engine.project.project import Project
from engine.stages.adapt.plan import load_of
from engine.stages.adapt.spec import AdaptSpec
from engine.stages.pretrain.run import run as pretrain
from engine.stages.pretrain.spec import PretrainSpec
from engine.text import bpe
from engine.text.corpus_writer import CorpusWriter
from engine.text.tokenizer import Tokenizer
from engine.training import devices
from engine.training.batches import TokenRows
from engine.training.mixed_rows import MixedRows
from engine.training.tuning_plan import learning_rate
from tests.attempts import Attempt, made_by, one_thread  # noqa: F401

SEA = "the ferry left quay at seven with forty passengers and mail for island harbour light wind rose tide fell".split()
LAW = "whereas any party may appeal such ruling within thirty days unless that court holds otherwise under section nine".split()


def write_corpus(project, title, words, documents, seed):
    rng = random.Random(seed)
    chain = {w: rng.sample(words, 3) for w in words}  # what may follow a word: there is something to learn beyond frequencies

    def sentence():
        made = [rng.choice(words)]
        while len(made) < 8:
            made.append(rng.choice(chain[made[-1]]))
        return " ".join(made) + "."
    texts = [" ".join(sentence() for _ in range(rng.randint(3, 6))) for _ in range(documents)]
    with project.artifacts.create("corpus", title=title) as made:
        writer = CorpusWriter(made.path)
        for n, text in enumerate(texts):
            writer.add("validation" if n % 8 == 0 else "train", text, f"{title}.txt")
        writer.finish()
        made.finish()
    return texts


def make_project(folder, steps=120):
    """A project with a model that has read about the sea (model-1), the law to read about (corpus-2), and the model's run (1-pretrain)."""
    project = Project.create(folder)
    texts = write_corpus(project, "sea", SEA, 160, 1) + write_corpus(project, "law", LAW, 120, 2)
    with project.artifacts.create("tokenizer", title="small", parents=("corpus-1",)) as made:
        bpe.train(texts, 420).save(made.path)
        made.finish()
    spec = PretrainSpec(corpus="corpus-1", tokenizer="tokenizer-1", depth=1, width=32, num_heads=2, max_seq_len=32, tokens_per_step=256,
                        steps=steps, compile="off", dtype="float32", eval_every=0, sample_every=0, checkpoint_every_steps=0)
    Attempt(project, project.runs.create(spec).id, spec, stage=pretrain).run()
    return project


def spec_of(**more):
    return AdaptSpec(**{"model": "model-1", "corpus": "corpus-2", "replay": "corpus-1", "epochs": 2, "tokens_per_step": 256,
                        "compile": "off", "dtype": "float32", "sample_tokens": 6, "checkpoint_every_minutes": 0, **more})


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    torch.set_num_threads(1)
    return make_project(tmp_path_factory.mktemp("projects") / "p")


@pytest.fixture(scope="module")
def done(project):
    torch.set_num_threads(1)
    return Attempt(project, "2-adapt", spec_of(title="lawyer")).run()


def test_the_domain_is_learned_and_the_report_says_from_where_to_where(project, done):
    artifact = made_by(project, done)
    artifact.verify()
    facts = artifact.facts
    assert facts["domain_bpb_after"] < 0.8 * facts["domain_bpb_before"] and facts["general_bpb_before"] < facts["domain_bpb_before"]
    assert facts["val_loss_before"] == facts["domain_loss_before"] and facts["val_loss_after"] == facts["val_loss"]
    assert artifact.title == "lawyer" and artifact.parents == ("model-1", "corpus-2", "corpus-1") and facts["chat"] is False
    assert facts["trainable"] == facts["parameters"] == sum(p.numel() for p in load_model(artifact.path).parameters())
    assert done.facts()["outcome"] == facts and facts["seconds"] > 0 and facts["tokens"] == 256 * facts["steps"]
    assert facts["epochs"] >= 2 and facts["epochs"] < 2.2
    first = done.of(Evaluation)[0]
    assert first.step == 0 and first.values["bpb"] == facts["domain_bpb_before"] and "general_bpb" in first.values


def test_replay_keeps_more_of_what_was_known(project):
    made = [made_by(project, Attempt(project, f"{n}-adapt", spec_of(replay_percent=percent, learning_rate=6e-3, epochs=3)).run()).facts
            for n, percent in ((3, 0), (4, 20))]
    forgotten = [f["general_bpb_after"] - f["general_bpb_before"] for f in made]
    assert forgotten[0] > 0.15 and forgotten[1] < 0.4 * forgotten[0], forgotten
    assert [f["replay_percent"] for f in made] == [0, 20]
    assert all(f["domain_bpb_after"] < 0.6 * f["domain_bpb_before"] for f in made)


def test_samples_before_and_after_phases_and_facts_are_told(done):
    steps = {s.step for s in done.of(Sample)}
    facts = done.facts()
    assert {0, facts["steps"]} <= steps and all(s.prompt for s in done.of(Sample))
    assert [p.id for p in done.of(Phase)] == [id for id, _ in done.of(Phases)[-1].phases] == ["load", "tokens", "prepare", "train",
                                                                                             "evaluate", "save"]
    assert facts["sentence"] and facts["plan"]["learning_rate"] == facts["learning_rate"] and facts["dtype_reason"]
    assert not [c for c in done.of(CheckpointSaved) if c.step == 0]


def test_tokens_are_those_of_the_model_and_made_once(project, done):
    tokens = {a.parents for a in project.artifacts.list("tokens")}
    assert tokens == {("corpus-1", "tokenizer-1"), ("corpus-2", "tokenizer-1")}


def test_tokens_of_a_model_without_a_tokenizer_artifact_belong_to_the_model(tmp_path, project):
    other = Project.create(tmp_path / "q")
    write_corpus(other, "law", LAW, 40, 2)
    source = project.artifacts.get("model-1")
    with other.artifacts.create("model", title="from elsewhere") as made:
        for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
            (made.path / name).write_bytes((source.path / name).read_bytes())
        made.finish()
    spec = spec_of(corpus="corpus-1", replay="", epochs=1)
    attempt = Attempt(other, "1-adapt", spec).run()
    assert [a.parents for a in other.artifacts.list("tokens")] == [("corpus-1", "model-1")]
    assert "no_replay" in {n.code for n in attempt.of(Notice)} and made_by(other, attempt).facts["general_bpb_after"] is None
    again = Attempt(other, "2-adapt", spec_of(corpus="corpus-1", replay="", epochs=1, model=made_by(other, attempt).id)).run()
    assert len(other.artifacts.list("tokens")) == 1 and made_by(other, again).parents == ("model-2", "corpus-1")


def test_the_finished_model_has_the_best_weights_and_the_tokenizer(project):
    attempt = Attempt(project, "5-adapt", spec_of(learning_rate=0.2, decay="constant", eval_every=1, epochs=0.5, keep_checkpoints=1)).run()
    artifact = made_by(project, attempt)
    values = {e.step: e.values["val_loss"] for e in attempt.of(Evaluation) if e.step}
    best = min(values, key=values.get)
    assert artifact.facts["best_step"] == best and artifact.facts["val_loss_after"] == pytest.approx(values[best], abs=1e-6)
    assert best in {s.step for s in attempt.of(Sample)}
    assert Tokenizer.load(artifact.path).record == Tokenizer.load(project.artifacts.get("model-1").path).record
    last = made_by(project, Attempt(project, "6-adapt", spec_of(learning_rate=0.2, decay="constant", eval_every=1, epochs=0.5,
                                                                keep_best=False)).run())
    assert last.facts["weights"] == "last" and last.facts["step"] == last.facts["steps"]


def test_early_stopping_and_a_loss_that_rose_are_told(project):
    spec = spec_of(learning_rate=2.0, warmup_share=0, decay="constant", eval_every=1, patience=2, grad_clip=0)
    attempt = Attempt(project, "7-adapt", spec).run()
    codes = {n.code for n in attempt.of(Notice)}
    facts = made_by(project, attempt).facts
    assert {"early_stop", "not_better"} <= codes and facts["steps"] < attempt.facts()["steps"]
    assert facts["step"] in {s.step for s in attempt.of(Sample)}


@pytest.mark.parametrize("more", [{}, {"method": "lora", "lora_rank": 4, "lora_dropout": 0.1}, {"frozen_layers": 1}])
def test_paused_and_resumed_ends_with_the_same_model(tmp_path, project, more):
    spec = spec_of(epochs=0.6, checkpoint_every_steps=3, **more)
    base = 10 + 2 * len(more)
    straight = Attempt(project, f"{base}-adapt", spec).run()
    first = Attempt(project, f"{base + 1}-adapt", spec, commands={4: "pause"})
    with pytest.raises(Stopped) as paused:
        first.run()
    assert paused.value.paused
    second = Attempt(project, f"{base + 1}-adapt", spec, number=2).run()
    assert second.of(Resumed)[0].step == 4
    one, two = made_by(project, straight), made_by(project, second)
    assert one.files["model.safetensors"]["sha256"] == two.files["model.safetensors"]["sha256"]
    keys = one.facts.keys() - {"seconds"}
    assert {k: one.facts[k] for k in keys} == {k: two.facts[k] for k in keys}
    assert {**first.losses(), **second.losses()} == straight.losses()


def test_lora_checkpoints_hold_the_adapter_alone_and_the_model_both(project):
    spec = spec_of(method="lora", lora_rank=4, epochs=1, title="adapter")
    attempt = Attempt(project, project.runs.create(spec).id, spec).run()
    artifact = made_by(project, attempt)
    folder = layout.checkpoint(attempt.context.run_dir, attempt.last_step())
    names = {p.name for p in folder.iterdir()}
    assert {"adapter.safetensors", "adapter.json", "config.json", "tokenizer.json", "optimizer.safetensors"} <= names
    assert "model.safetensors" not in names
    assert {"model.safetensors", "adapter.safetensors"} <= artifact.files.keys() and artifact.facts["method"] == "lora"
    assert artifact.facts["trainable"] < 0.5 * artifact.facts["parameters"]
    assert artifact.facts["domain_bpb_after"] < 0.9 * artifact.facts["domain_bpb_before"]
    tokens = torch.arange(16)[None]
    one, two = load_model(artifact.path), load_model(folder)
    if artifact.facts["weights"] == "last":
        assert torch.allclose(one(tokens), two(tokens), atol=1e-5)


def test_frozen_layers_and_embeddings_stay_as_they_were(project):
    attempt = Attempt(project, "40-adapt", spec_of(frozen_layers=1, freeze_embeddings=True, epochs=0.3)).run()
    before, after = (load_model(project.artifacts.get(id).path).state_dict() for id in ("model-1", made_by(project, attempt).id))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"norm.weight"} and attempt.facts()["trainable"] == 32


def test_a_checkpoint_of_a_run_can_be_gone_on_with(project):
    spec = spec_of(model="1-pretrain@0", epochs=0.2)
    run_id = project.runs.create(spec).id
    attempt = Attempt(project, run_id, spec).run()
    assert made_by(project, attempt).parents == ("corpus-1", "tokenizer-1", "corpus-2")
    step = layout.checkpoints(attempt.context.run_dir)
    last = resolve(project, f"{run_id}@{max(int(p.name[5:]) for p in step.iterdir() if p.name.startswith('step-'))}")
    assert parents_of(project, last) == ("corpus-1", "tokenizer-1", "corpus-2") and last.chat is False


def test_a_resume_after_the_last_step_takes_the_model_that_is_there(project, done):
    before = len(project.artifacts.list("model"))
    again = Attempt(project, "2-adapt", spec_of(title="lawyer"), number=2).run()
    assert len(project.artifacts.list("model")) == before and not again.of(Metrics)
    assert again.of(ArtifactMade)[0].id == done.of(ArtifactMade)[0].id
    ours, theirs = again.facts()["outcome"], done.facts()["outcome"]
    assert ours == theirs


def test_what_cannot_work_is_refused_in_words(project, monkeypatch):
    with pytest.raises(NotFound):
        Attempt(project, "50-adapt", spec_of(model="model-99")).run()
    with pytest.raises(InputError):
        Attempt(project, "50-adapt", spec_of(corpus="tokenizer-1")).run()
    with pytest.raises(SettingError) as long:
        Attempt(project, "50-adapt", spec_of(max_seq_len=64)).run()
    assert long.value.field == "max_seq_len" and "32" in long.value.sentence
    with pytest.raises(SettingError):
        Attempt(project, "50-adapt", spec_of(frozen_layers=7)).run()
    with pytest.raises(DeviceUnavailable) as card:
        Attempt(project, "50-adapt", spec_of(method="qlora")).run()
    assert card.value.field == "method"
    real = devices.choose
    monkeypatch.setattr(devices, "choose", lambda name: replace(real(name), memory_free=300 * 10**6))
    with pytest.raises(OutOfMemory) as wrong:
        Attempt(project, "50-adapt", spec_of()).run()
    assert "300" in wrong.value.sentence and "LoRA" in wrong.value.remedy


# ---- rows and numbers


class Fixed:
    """A split with given documents."""

    def __init__(self, lengths, first):
        self.starts = np.concatenate([[0], np.cumsum(lengths)])
        self.tokens = int(self.starts[-1])
        self._ids = first + np.arange(self.tokens)

    def slice(self, start, stop):
        return self._ids[start:stop]


def mixed(share, rank=0, world_size=1, rows=5):
    both = [TokenRows(Fixed([7] * 30, first), seq_len=8, rows_per_step=1, seed=3, first_input=9999, pad=9998, borders=True)
            for first in (0, 1000)]
    return MixedRows(*both, share, rows_per_step=rows, rank=rank, world_size=world_size)


def targets(rows, step, micro=2):
    return [b.targets_BT for b in rows.batches(step, micro)]


def test_the_share_of_general_rows_is_exact_and_every_domain_token_is_a_target_once_an_epoch():
    rows = mixed(0.3)
    steps = rows.steps(1)
    seen = torch.cat([t.flatten() for s in range(steps) for t in targets(rows, s)])
    general = seen[(seen >= 1000) & (seen < 9000)]
    firsts = [int(row[row >= 0][0] >= 1000) for s in range(steps) for t in targets(rows, s) for row in t]
    assert abs(sum(firsts) - 0.3 * len(firsts)) < 1 and len(general)
    domain = seen[(seen >= 0) & (seen < 1000)]
    assert set(domain.tolist()) == set(range(210)) and rows.epoch_of(steps) >= 1 > rows.epoch_of(steps - 1)


def test_two_ranks_together_see_what_one_sees():
    one = mixed(0.3, rows=6)
    both = [mixed(0.3, rank=r, world_size=2, rows=6) for r in range(2)]
    for step in (0, 7):
        together = [row for rows in both for t in targets(rows, step) for row in t.tolist()]
        assert sorted(together) == sorted(row for t in targets(one, step) for row in t.tolist())
    assert one.state == both[1].state


def test_batch_and_steps_follow_from_the_text():
    config = ModelConfig(vocab_size=500, hidden_size=64, num_layers=1, num_heads=2, num_kv_heads=2, head_dim=32, intermediate_size=128,
                         max_seq_len=128)
    small, large = (load_of(AdaptSpec(model="m", corpus="c"), config, tokens, replayed=False) for tokens in (20_000, 50_000_000))
    assert small.batch == 4 and 25 < small.steps < 60
    assert large.batch * 128 == 2**17 and large.steps == pytest.approx(50_000_000 / 2**17, rel=0.02)
    half = load_of(AdaptSpec(model="m", corpus="c", replay="r", replay_percent=50), config, 20_000, replayed=True)
    assert half.steps == pytest.approx(2 * small.steps, rel=0.1)


def test_learning_rates_fall_with_the_width_and_with_small_batches_and_rise_for_lora():
    assert learning_rate("full", 160) == pytest.approx(1.2e-3) and learning_rate("full", 640) == pytest.approx(0.6e-3)
    assert learning_rate("full", 4096) == pytest.approx(learning_rate("full", 1024) / 4)
    assert learning_rate("full", 160, 512) == pytest.approx(0.6e-3) and learning_rate("full", 160, 10**6) == learning_rate("full", 160)
    assert learning_rate("full", 4096) < learning_rate("lora", 4096) <= 10 * learning_rate("full", 4096)
