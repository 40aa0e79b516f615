"""Pretraining from artifacts to an artifact, in a real project: what is written, what is told, what a resume gives."""

import math
import random
import shutil

import numpy as np
import pytest
import torch

from engine.contract.errors import InputError, Mismatch, OutOfMemory, Stopped
from engine.contract.events import (
    ArtifactMade,
    CheckpointSaved,
    Evaluation,
    Metrics,
    Notice,
    Phase,
    Phases,
    Progress,
    Resumed,
    Sample,
)
from engine.model.checkpoint import load_model
from engine.project import layout
from engine.project.project import Project
from engine.stages.pretrain import prepare
from engine.stages.pretrain.spec import PretrainSpec
from engine.text import bpe
from engine.text.corpus_writer import CorpusWriter
from engine.text.shards import TokenShards
from engine.text.tokenizer import Tokenizer
from engine.training import compiling
from engine.training.evaluate import TextEvaluation, unigram_bits_per_byte
from engine.training.ranks import Ranks
from tests.attempts import Attempt, one_thread  # noqa: F401

WORDS = "the cat sat on a mat and saw one red bird by the old sea while two dogs ran home".split()
STEPS = 12


def make_project(folder, documents=40, seed=0):
    rng = random.Random(seed)
    texts = [". ".join(" ".join(rng.choices(WORDS, k=7)) for _ in range(rng.randint(2, 6))) + "." for _ in range(documents)]
    project = Project.create(folder)
    with project.artifacts.create("corpus", title="birds") as made:
        writer = CorpusWriter(made.path)
        for n, text in enumerate(texts):
            writer.add("validation" if n % 8 == 0 else "train", text, "birds.txt")
        writer.finish()
        corpus = made.finish()
    with project.artifacts.create("tokenizer", title="small", parents=(corpus.id,)) as made:
        bpe.train(texts, 320).save(made.path)
        made.finish()
    return project


def spec_of(**more):
    return PretrainSpec(**{"corpus": "corpus-1", "tokenizer": "tokenizer-1", "depth": 1, "width": 16, "num_heads": 2, "max_seq_len": 32,
                           "tokens_per_step": 128, "steps": STEPS, "compile": "off", "eval_every": 4, "sample_every": 6,
                           "sample_tokens": 5, "checkpoint_every_steps": 4, "dtype": "float32", **more})


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return make_project(tmp_path_factory.mktemp("projects") / "p")


@pytest.fixture(scope="module")
def done(project):
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    attempt = Attempt(project, "1-pretrain", spec_of(steps=80, eval_every=20)).run()
    torch.set_num_threads(before)
    return attempt


def test_a_model_comes_out_that_predicts_better_than_token_frequencies_and_than_before(project, done):
    artifact = project.artifacts.get(done.of(ArtifactMade)[-1].id)
    artifact.verify()
    first, last = done.of(Evaluation)[0], done.of(Evaluation)[-1]
    assert first.step == 0 and last.values["bpb"] < first.values["bpb"]
    assert artifact.facts["bpb"] < first.values["bpb"] and artifact.facts["steps"] == 80
    assert artifact.facts["bpb"] < artifact.facts["unigram_bpb"]
    assert artifact.parents == ("corpus-1", "tokenizer-1") and artifact.spec["depth"] == 1
    model = load_model(artifact.path)
    assert sum(p.numel() for p in model.parameters()) == artifact.facts["parameters"]


def test_the_token_artifact_is_made_once_and_used_again(project, done):
    Attempt(project, "2-pretrain", spec_of(steps=2)).run()
    assert [a.id for a in project.artifacts.list("tokens")] == ["tokens-1"]
    assert project.artifacts.get("tokens-1").parents == ("corpus-1", "tokenizer-1")


def test_phases_facts_samples_and_every_step_are_told(done):
    announced = [id for id, _ in done.of(Phases)[-1].phases]
    begun = [p.id for p in done.of(Phase)]
    assert begun == announced == ["load", "tokens", "prepare", "train", "evaluate", "save"]
    steps = [int(s) for e in done.of(Metrics) for s in e.columns["step"]]
    assert steps == list(range(1, 81))
    columns = done.of(Metrics)[-1].columns
    assert {"loss", "grad_norm", "lr", "tokens", "tokens_per_second", "elapsed", "memory", "mfu"} <= columns.keys()
    facts = done.facts()
    assert facts["steps"] == 80 and facts["tokens_per_step"] == 128 and facts["plan"]["estimate"]["memory"] > 0 and facts["compile_reason"]
    assert {s.step for s in done.of(Sample)} == {*range(0, 80, 6), 80} and all(s.prompt for s in done.of(Sample))
    assert done.of(Progress)[-1].done == 80


@pytest.mark.parametrize("more", [{}, {"sample_prompts": ("the cat sat on a mat and saw one red bird by the old sea " * 3,)}])
def test_samples_longer_than_the_context_still_begin_with_the_text_they_show(tmp_path, monkeypatch, more):
    asked = []

    def generate(model, prompts, sampling, **rest):
        asked.extend(prompts)
        return real(model, prompts, sampling, **rest)
    real = prepare.generate
    monkeypatch.setattr(prepare, "generate", generate)
    project = make_project(tmp_path / "p", documents=16)
    told = Attempt(project, "1-pretrain", spec_of(steps=1, sample_tokens=64, max_seq_len=16, **more)).run().of(Sample)
    tokenizer = Tokenizer.load(project.artifacts.get("tokenizer-1").path)
    assert told and len(told) == len(asked)
    for event, ids in zip(told, asked, strict=True):
        assert event.text and len(ids) > 4
        assert tokenizer.decode([id for id in ids if id != tokenizer.bos_id]) == event.prompt


def test_the_untrained_model_is_kept_as_weights_only(project, done):
    saved = done.of(CheckpointSaved)
    assert (saved[0].step, saved[0].why) == (0, "start") and saved[-1].why == "final"
    folder = layout.checkpoint(done.context.run_dir, 0)
    assert {p.name for p in folder.iterdir()} >= {"config.json", "model.safetensors", "tokenizer.json", "manifest.json"}
    assert not (folder / "optimizer.safetensors").exists()


def test_validation_loss_of_the_artifact_is_what_the_model_gives_when_loaded(project, done):
    artifact = project.artifacts.get(done.of(ArtifactMade)[-1].id)
    inputs = prepare.Inputs.load(project, spec_of())
    split = TokenShards.open(project.artifacts.get("tokens-1").path).split("validation")
    text = TextEvaluation(split, inputs.token_bytes, seq_len=32, batch_size=4, first_input=inputs.end_id, pad=0, borders=True)
    windows = 4 * done.facts()["plan"]["eval_tokens"]
    measured = text.measure(load_model(artifact.path), windows, Ranks(0, 1, torch.device("cpu")))
    assert measured.per_token == pytest.approx(artifact.facts["val_loss"], abs=1e-5)
    assert measured.bits_per_byte == pytest.approx(measured.nats / math.log(2) / measured.bytes)


def test_bytes_of_a_whole_evaluation_are_the_texts(project, done):
    inputs = prepare.Inputs.load(project, spec_of())
    split = TokenShards.open(project.artifacts.get("tokens-1").path).split("validation")
    text = TextEvaluation(split, inputs.token_bytes, seq_len=32, batch_size=4, first_input=0, pad=0)
    whole = text.measure(load_model(project.artifacts.get("model-1").path), 10**9, Ranks(0, 1, torch.device("cpu")))
    assert (whole.tokens, whole.bytes) == (split.tokens, split.bytes)


def test_unigram_baseline_on_numbers_worked_by_hand():
    class Fixed:
        def __init__(self, ids):
            self.ids, self.tokens = np.array(ids), len(ids)
        def slice(self, start, stop):
            return self.ids[start:stop]
    train, validation = Fixed([0, 0, 0, 1]), Fixed([0, 1, 1])
    bits = -(math.log2(4 / 6) + 2 * math.log2(2 / 6))
    assert unigram_bits_per_byte(train, validation, np.array([1, 2])) == pytest.approx(bits / 5)


@pytest.mark.parametrize("more", [{}, {"optimizer": "adamw", "dropout": 0.1}])
def test_paused_and_resumed_ends_with_the_same_weights(tmp_path, more):
    project = make_project(tmp_path / "p")
    straight = Attempt(project, "1-pretrain", spec_of(**more)).run()
    first = Attempt(project, "2-pretrain", spec_of(**more), commands={5: "pause"})
    with pytest.raises(Stopped) as paused:
        first.run()
    assert paused.value.paused
    second = Attempt(project, "2-pretrain", spec_of(**more), number=2).run()
    assert second.of(Resumed)[0].step == 5
    one, two = (layout.checkpoint(a.context.run_dir, STEPS) / "model.safetensors" for a in (straight, second))
    assert one.read_bytes() == two.read_bytes()
    losses = {s: v for a in (first, second) for e in a.of(Metrics) for s, v in zip(e.columns["step"], e.columns["loss"], strict=True)}
    assert losses == {s: v for e in straight.of(Metrics) for s, v in zip(e.columns["step"], e.columns["loss"], strict=True)}


def test_validation_and_samples_do_not_change_the_weights(tmp_path):
    project = make_project(tmp_path / "p")
    often = Attempt(project, "1-pretrain", spec_of(dropout=0.1, eval_every=1, sample_every=1)).run()
    never = Attempt(project, "2-pretrain", spec_of(dropout=0.1, eval_every=0, sample_every=0)).run()
    a, b = (layout.checkpoint(x.context.run_dir, STEPS) / "model.safetensors" for x in (often, never))
    assert a.read_bytes() == b.read_bytes() and not never.of(Sample)


def test_early_stopping_hands_over_the_best_weights(tmp_path, monkeypatch):
    project = make_project(tmp_path / "p")
    real = prepare.Builder.values
    count = iter(range(99))
    def rising(self, model, evaluation, tokens):
        n = next(count)
        return {**real(self, model, evaluation, tokens), "val_loss": 5.0 - n if n < 3 else 9.0}
    monkeypatch.setattr(prepare.Builder, "values", rising)
    attempt = Attempt(project, "1-pretrain", spec_of(eval_every=2, patience=2)).run()
    artifact = project.artifacts.get(attempt.of(ArtifactMade)[-1].id)
    assert artifact.facts["weights"] == "best" and artifact.facts["step"] == 4 and artifact.facts["steps"] == 8
    kept = layout.checkpoint(attempt.context.run_dir, 4) / "model.safetensors"
    assert kept.read_bytes() == (artifact.path / "model.safetensors").read_bytes()


def test_a_resume_without_any_checkpoint_begins_anew_and_says_so(tmp_path):
    project = make_project(tmp_path / "p")
    with pytest.raises(Stopped):
        Attempt(project, "1-pretrain", spec_of(), commands={6: "pause"}).run()
    for folder in layout.checkpoints(layout.run(project.dir, "1-pretrain")).iterdir():
        shutil.rmtree(folder)
    again = Attempt(project, "1-pretrain", spec_of(), number=2).run()
    assert [e.step for e in again.of(Resumed)] == [-1] and again.last_step() == STEPS
    assert "from_the_beginning" in {e.code for e in again.of(Notice)}


def test_a_resume_after_the_last_step_still_makes_the_artifact_and_only_once(tmp_path):
    project = make_project(tmp_path / "p")
    Attempt(project, "1-pretrain", spec_of()).run()
    again = Attempt(project, "1-pretrain", spec_of(), number=2).run()
    assert [a.id for a in project.artifacts.list("model")] == ["model-1"] and again.of(ArtifactMade)[0].id == "model-1"
    assert not again.of(Metrics)


def test_too_little_memory_is_refused_before_the_start_with_numbers(tmp_path, monkeypatch):
    project = make_project(tmp_path / "p")
    real = prepare.devices.choose
    from dataclasses import replace
    monkeypatch.setattr(prepare.devices, "choose", lambda name: replace(real(name), memory_free=300 * 10**6))
    attempt = Attempt(project, "1-pretrain", spec_of())
    with pytest.raises(OutOfMemory) as wrong:
        attempt.run()
    assert "MB" in wrong.value.sentence and "300" in wrong.value.sentence and wrong.value.remedy and not attempt.of(Metrics)


def test_a_wrong_kind_of_artifact_is_named(project):
    with pytest.raises(InputError):
        Attempt(project, "9-pretrain", spec_of(corpus="tokenizer-1")).run()


def test_many_passes_over_a_small_corpus_are_warned_about(tmp_path):
    project = make_project(tmp_path / "p", documents=12)
    attempt = Attempt(project, "1-pretrain", spec_of(steps=200, eval_every=0, sample_every=0)).run()
    assert any("by heart" in n.text for n in attempt.of(Notice) if n.level == "warning")


def test_a_resume_with_another_batch_is_refused(tmp_path):
    project = make_project(tmp_path / "p")
    with pytest.raises(Stopped):
        Attempt(project, "1-pretrain", spec_of(), commands={5: "stop_save"}).run()
    with pytest.raises(Mismatch):
        Attempt(project, "1-pretrain", spec_of(tokens_per_step=256), number=2).run()


@pytest.mark.parametrize(("seconds", "compiled", "word"), [((2.0, 1.0), True, "2.00 times"), ((1.0, 2.0), False, "not faster")])
def test_compiled_and_plain_are_timed_and_the_faster_is_kept(tmp_path, monkeypatch, seconds, compiled, word):
    times = iter(seconds)
    monkeypatch.setattr(prepare.precision, "choose_compile", lambda asked, facts, total: (True, "on"))
    monkeypatch.setattr(torch, "compile", lambda model: model)
    monkeypatch.setattr(compiling, "timed", lambda parts: next(times))
    attempt = Attempt(make_project(tmp_path / "p"), "1-pretrain", spec_of(compile="auto", steps=3)).run()
    assert "compile" in [p.id for p in attempt.of(Phase)]
    assert attempt.facts()["compiled"] is compiled and word in attempt.facts()["compile_reason"]


def test_a_compiler_that_fails_is_told_and_training_goes_on(tmp_path, monkeypatch):
    def broken(model):
        raise compiling.TorchDynamoException("InvalidCxxCompiler: no compiler works")
    monkeypatch.setattr(prepare.precision, "choose_compile", lambda asked, facts, total: (True, "on"))
    monkeypatch.setattr(torch, "compile", broken)
    attempt = Attempt(make_project(tmp_path / "p"), "1-pretrain", spec_of(compile="auto", steps=3)).run()
    assert attempt.facts()["compiled"] is False and len(attempt.of(Metrics)) == 3
    assert any(n.code == "compile_failed" and "InvalidCxxCompiler" in n.text for n in attempt.of(Notice))
