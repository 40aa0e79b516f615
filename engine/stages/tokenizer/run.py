"""Trains a tokenizer on a corpus (or takes one as it is), measures it on the validation text, and keeps it as an artifact."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from engine.contract import units
from engine.contract.context import RunContext
from engine.contract.errors import Mismatch, SettingError, Stopped
from engine.contract.events import ArtifactMade, Facts, Notice, Phase, Phases
from engine.contract.words import tr
from engine.model.exportability import tokenizer_facts
from engine.project import files as disk
from engine.project.artifacts import Artifact
from engine.project.project import Project
from engine.stages.tokenizer.lab import recommended
from engine.stages.tokenizer.spec import TokenizerSpec
from engine.text import bpe, lab
from engine.text.corpus import Corpus
from engine.text.tokenizer import Tokenizer

MEASURED = 20_000_000
"""Bytes of text that compression and unused tokens are measured on at most."""
WINDOW = 512
"""Documents looked at together when a sample is drawn."""


def run(spec: TokenizerSpec, context: RunContext) -> None:
    """Read a sample, learn, measure, save."""
    for problem in spec.problems():
        raise SettingError(problem.sentence, problem.remedy, field=problem.field)
    project = Project.open(context.project_dir)
    learn_phase = [] if spec.source else [["learn", tr("Learning tokens")]]
    context.emit(Phases(phases=[*learn_phase, ["measure", tr("Measuring")], ["save", tr("Saving")]]))
    if context.attempt > 1 and (before := project.artifacts.made_by(context.run_id, "tokenizer")):  # killed right after it had finished
        context.emit(Facts(facts=before.facts))
        context.emit(ArtifactMade(id=before.id, kind="tokenizer"))
        return
    parent = _corpus_of(project, spec.corpus) if spec.corpus else None
    corpus = Corpus.open(parent.path) if parent else None
    wanted = spec.vocab_size or recommended(corpus.counts("train").bytes if corpus else 0)
    facts: dict[str, Any] = {}
    if spec.source:
        tokenizer = Tokenizer.load(spec.source)
        facts["imported"] = True
    else:
        assert corpus is not None
        context.emit(Phase(id="learn", title=tr("Learning tokens")))
        tokenizer, facts = _learn(spec, corpus, wanted, context)
    facts |= {"vocab_size": tokenizer.vocab_size, "merges": tokenizer.merges, "special": len(tokenizer.special),
              "backend": tokenizer.backend, "chat_template": bool(tokenizer.chat_template)}
    known = tokenizer_facts(tokenizer.record)
    facts |= {"split": known.split, "byte_level": known.byte_level}
    if tokenizer.vocab_size < wanted and not spec.source:
        context.emit(Notice(level="warning", code="small_vocabulary", title=tr("The vocabulary is smaller than asked"),
            text=tr("The corpus yields {found} tokens, not {wanted}: no pairs are left to merge.", found=units.number(tokenizer.vocab_size),
                    wanted=units.number(wanted)),
            remedy=tr("Use it as it is, or train on more text. Model sizes follow the true vocabulary.")))
    if corpus is not None:
        context.emit(Phase(id="measure", title=tr("Measuring")))
        facts |= _measure(tokenizer, corpus, spec.seed, context)
    context.emit(Phase(id="save", title=tr("Saving")))
    title = spec.title or (tr("Imported tokenizer") if spec.source else tr("{size} tokens", size=units.number(tokenizer.vocab_size)))
    with project.artifacts.create("tokenizer", title=title, parents=[parent.id] if parent else [], run=context.run_id,
                                  spec=spec.model_dump(mode="json")) as writer:
        try:
            tokenizer.save(writer.path)
        except OSError as wrong:
            raise disk.disk_error(wrong, writer.path) from wrong
        artifact = writer.finish(**facts)
    context.emit(Facts(facts=artifact.facts))
    context.emit(ArtifactMade(id=artifact.id, kind="tokenizer"))


def _corpus_of(project: Project, id: str) -> Artifact:
    artifact = project.artifacts.get(id)
    if artifact.kind != "corpus":
        raise Mismatch(tr("{id} is not a corpus.", id=id), tr("Choose a corpus."), field="corpus")
    return artifact


def _learn(spec: TokenizerSpec, corpus: Corpus, vocab_size: int, context: RunContext) -> tuple[Tokenizer, dict[str, Any]]:
    """Train in a thread of its own (the merging is one call into Rust, minutes long for large vocabularies), so that progress is told and a
    stop is heard meanwhile. What is stopped while merging dies with this process."""
    numbers, total = sample(corpus, spec.sample_bytes, spec.seed)
    read = 0
    made: list[Tokenizer] = []
    failed: list[BaseException] = []
    halt = threading.Event()

    def texts() -> Iterator[str]:
        nonlocal read
        for text in chosen_texts(corpus, "train", numbers):
            if halt.is_set():
                raise Stopped()
            yield text
            read += len(text) if text.isascii() else len(text.encode("utf-8"))

    def work() -> None:
        try:
            made.append(bpe.train(texts(), vocab_size, single_digits=spec.single_digits))
        except BaseException as wrong:  # carried to the thread that waits, and raised there
            failed.append(wrong)

    began = time.monotonic()
    thread = threading.Thread(target=work, name="learn", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.2)
        seconds = time.monotonic() - began
        merging = read >= total
        rate = read / seconds if seconds > 0 and not merging else 0.0
        context.progress(read, total, "B", rate, -1.0 if merging or not rate else (total - read) / rate,
                         tr("Merging pairs") if merging else tr("Reading"))
        _heed(context, halt.set)
    if failed:
        raise failed[0]
    # Single bytes need no reading.
    return made[0], {"sample_bytes": read, "sample_documents": len(numbers) if read else 0, "corpus_bytes": corpus.counts("train").bytes,
                     "seconds": round(time.monotonic() - began, 3), "single_digits": spec.single_digits}


def _measure(tokenizer: Tokenizer, corpus: Corpus, seed: int, context: RunContext) -> dict[str, Any]:
    """Compression on validation text, and which learned tokens the training text never uses."""
    held, _ = sample(corpus, MEASURED, seed, "validation")
    measured = lab.measure(tokenizer, _told(chosen_texts(corpus, "validation", held), corpus.counts("validation").bytes, context))
    counts = np.zeros(tokenizer.vocab_size, np.int64)
    numbers, size = sample(corpus, MEASURED, seed, "train")
    batch: list[str] = []
    for text in _told(chosen_texts(corpus, "train", numbers), size, context):
        batch.append(text)
        if len(batch) == WINDOW:
            counts += lab.usage(tokenizer, batch)
            batch = []
    counts += lab.usage(tokenizer, batch)
    unused = lab.unused(tokenizer, counts)
    by_script = {name: {"bytes": size, "tokens": tokens} for name, (size, tokens) in measured.by_script.items()}
    return {"bytes_per_token": measured.bytes_per_token, "by_script": by_script, "validation_bytes": measured.bytes,
            "validation_tokens": measured.tokens, "unused": len(unused), "unused_ids": unused[:200], "unused_measured_bytes": size}


def sample(corpus: Corpus, limit: int, seed: int, split: str = "train") -> tuple[np.ndarray, int]:
    """(numbers of a random sample of documents, ascending; their bytes): all documents when they have at most `limit` bytes, and always at
    least one."""
    lengths = corpus.lengths(split)
    if int(lengths.sum()) <= limit:
        return np.arange(len(lengths)), int(lengths.sum())
    order = np.random.default_rng(seed).permutation(len(lengths))
    count = max(1, int(np.searchsorted(np.cumsum(lengths[order]), limit, side="right")))
    numbers = np.sort(order[:count])
    return numbers, int(lengths[numbers].sum())


def chosen_texts(corpus: Corpus, split: str, numbers: np.ndarray) -> Iterator[str]:
    """The texts of the documents `numbers` (ascending), reading only near them."""
    at = 0
    while at < len(numbers):
        start = int(numbers[at])
        behind = int(np.searchsorted(numbers, start + WINDOW))
        inside = numbers[at:behind] - start
        texts: list[str] = []
        for part in corpus.texts(split, start, int(numbers[behind - 1]) + 1):
            texts += part
        for offset in inside:
            yield texts[offset]
        at = behind


def _told(texts: Iterator[str], total: int, context: RunContext) -> Iterator[str]:
    """The texts, with progress told and a stop heard a few times a second."""
    last, done = time.monotonic(), 0
    for text in texts:
        yield text
        done += len(text)
        if time.monotonic() - last > 0.25:
            last = time.monotonic()
            context.progress(min(done, total), total, "B")
            _heed(context)


def _heed(context: RunContext, before: Callable[[], None] = lambda: None) -> None:
    command = context.command()
    if command and command.word in ("stop", "stop_save", "pause"):
        before()
        raise Stopped(tr("Training the tokenizer was stopped; nothing was kept."), paused=command.word == "pause")
