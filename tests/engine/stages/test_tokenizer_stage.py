"""Training a tokenizer in a project: the sample, the facts, too little text, importing, stopping."""

import random

import numpy as np
import pytest

from engine.contract.context import Command, RunContext
from engine.contract.errors import Mismatch, NotFound, SettingError, Stopped
from engine.contract.events import ArtifactMade, Notice, Phase
from engine.project.project import Project
from engine.stages.tokenizer.lab import recommended
from engine.stages.tokenizer.run import chosen_texts, run, sample
from engine.stages.tokenizer.spec import SMALLEST, TokenizerSpec
from engine.text import bpe
from engine.text.corpus import Corpus
from engine.text.corpus_writer import CorpusWriter
from engine.text.tokenizer import Tokenizer

WORDS = [a + b for a in ("sea", "boat", "wind", "rope", "sail", "storm", "Море", "Ветер") for b in ("s", "er", "ing", "y", "ful", "ом")]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = Project.create(tmp_path_factory.mktemp("tokenizers") / "project")
    rng = random.Random(0)
    with project.artifacts.create("corpus", title="sea") as made:
        writer = CorpusWriter(made.path)
        for n in range(1500):
            writer.add("validation" if n % 10 == 0 else "train", " ".join(rng.choices(WORDS, k=20)) + f" {n}.", "a.txt")
        writer.finish()
        made.finish()
    return project


def train(project, reader=lambda: None, **settings):
    events = []
    context = RunContext(run_dir=project.dir, project_dir=project.dir, run_id="2-tokenizer", emitter=events.append, reader=reader)
    run(TokenizerSpec(**settings), context)
    return project.artifacts.list("tokenizer")[-1], events


def test_a_tokenizer_is_trained_measured_and_kept(project):
    artifact, events = train(project, corpus="corpus-1", vocab_size=400)
    tokenizer = Tokenizer.load(artifact.path)
    assert tokenizer.vocab_size == 400 == artifact.facts["vocab_size"] and artifact.parents == ("corpus-1",)
    corpus, facts = Corpus.open(project.artifacts.get("corpus-1").path), artifact.facts
    tokens = sum(len(tokenizer.encode(d.text)) for d in corpus.documents("validation"))
    assert facts["validation_tokens"] == tokens and facts["bytes_per_token"] == pytest.approx(corpus.counts("validation").bytes / tokens)
    assert facts["sample_bytes"] == corpus.counts("train").bytes and facts["sample_documents"] == 1350
    assert set(facts["by_script"]) == {"latin", "cyrillic", "common"}
    assert facts["merges"] == 400 - SMALLEST and facts["special"] == 16 and facts["seconds"] > 0
    used = set()
    for d in corpus.documents("train"):
        used |= set(tokenizer.encode(d.text))
    assert facts["unused"] == sum(id not in used for id in range(256, 384))
    assert [e.id for e in events if isinstance(e, Phase)] == ["learn", "measure", "save"]
    assert [e.id for e in events if isinstance(e, ArtifactMade)] == [artifact.id] and not [e for e in events if isinstance(e, Notice)]
    artifact.verify()


def test_a_small_corpus_gives_a_smaller_vocabulary_and_says_so(project):
    artifact, events = train(project, corpus="corpus-1", vocab_size=131_072)
    notice = next(e for e in events if isinstance(e, Notice))
    assert notice.code == "small_vocabulary" and f"{artifact.facts['vocab_size']:,}" in notice.text
    assert SMALLEST < artifact.facts["vocab_size"] < 131_072 == artifact.spec["vocab_size"]


def test_bytes_and_special_tokens_only(project):
    artifact, events = train(project, corpus="corpus-1", vocab_size=SMALLEST)
    assert artifact.facts["vocab_size"] == SMALLEST and artifact.facts["merges"] == 0 and artifact.facts["bytes_per_token"] == 1.0
    assert not [e for e in events if isinstance(e, Notice)]


def test_the_sample_is_random_bounded_and_repeatable(project):
    corpus = Corpus.open(project.artifacts.get("corpus-1").path)
    numbers, size = sample(corpus, 20_000, seed=1)
    again, other = sample(corpus, 20_000, seed=1)[0], sample(corpus, 20_000, seed=2)[0]
    assert size <= 20_000 and size > 19_000 and np.array_equal(numbers, again) and not np.array_equal(numbers, other)
    assert numbers.max() > 1200 and numbers.min() < 150 and (np.diff(numbers) > 0).all()
    assert list(chosen_texts(corpus, "train", numbers)) == [corpus.document("train", int(n)).text for n in numbers]
    assert len(sample(corpus, 1, seed=1)[0]) == 1
    artifact, _ = train(project, corpus="corpus-1", vocab_size=300, sample_bytes=20_000, seed=1)
    assert artifact.facts["sample_bytes"] == size


def test_the_same_settings_give_the_same_tokenizer(project):
    first, _ = train(project, corpus="corpus-1", vocab_size=350)
    second, _ = train(project, corpus="corpus-1", vocab_size=350)
    assert first.files == second.files


def test_a_tokenizer_of_others_is_taken_as_it_is(project, tmp_path):
    made = bpe.train(["some other text " * 20], 290)
    made.save(tmp_path)
    artifact, _ = train(project, source=str(tmp_path / "tokenizer.json"), corpus="corpus-1")
    assert artifact.facts["imported"] and artifact.facts["vocab_size"] == made.vocab_size and artifact.facts["bytes_per_token"] > 0
    assert Tokenizer.load(artifact.path).record == made.record
    bare, _ = train(project, source=str(tmp_path))
    assert bare.parents == () and "bytes_per_token" not in bare.facts
    with pytest.raises(NotFound):
        train(project, source=str(tmp_path / "nothing"))


def test_a_stop_is_heard(project):
    before = len(project.artifacts.list())
    with pytest.raises(Stopped):
        train(project, corpus="corpus-1", vocab_size=5000, reader=lambda: Command("stop"))
    assert len(project.artifacts.list()) == before


def test_wrong_inputs_are_named(project):
    with pytest.raises(SettingError):
        train(project)
    with pytest.raises(NotFound):
        train(project, corpus="corpus-9")
    with pytest.raises(Mismatch):
        train(project, corpus=project.artifacts.list("tokenizer")[0].id)


def test_the_vocabulary_follows_the_corpus_unless_set() -> None:
    sizes = (1_000, 1_048_576, 10_000_000, 100_000_000, 2**30, 2**40)
    assert [recommended(size) for size in sizes] == [512, 2048, 4096, 8192, 16384, 65536]


def test_a_run_killed_right_after_it_had_finished_makes_nothing_twice(project):
    artifact, _ = train(project, corpus="corpus-1", vocab_size=SMALLEST)
    before, events = len(project.artifacts.list()), []
    made = project.artifacts.made_by("2-tokenizer", "tokenizer")
    context = RunContext(run_dir=project.dir, project_dir=project.dir, run_id="2-tokenizer", attempt=2, emitter=events.append)
    run(TokenizerSpec(corpus="corpus-1", vocab_size=SMALLEST), context)
    assert len(project.artifacts.list()) == before
    assert [e.id for e in events if isinstance(e, ArtifactMade)] == [made.id]
