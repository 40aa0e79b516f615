"""A corpus in a model's tokens: the `tokens` artifact that is there, or a new one. How tokens become rows is batches.py's matter.

Tokens belong to a corpus and a tokenizer, and are found by what the tokenizer is, not by where it lies: a model carries its own, and an
imported one has no tokenizer artifact at all. Their second parent is the tokenizer's artifact where there is one, else the model.
"""

import hashlib
import os
from pathlib import Path

import numpy as np

from engine.contract.context import RunContext
from engine.contract.errors import InputError, NotFound, Stopped
from engine.contract.words import tr
from engine.project import layout
from engine.project.artifacts import Artifact
from engine.project.project import Project
from engine.text.shards import Standing, TokenShards, write_shards
from engine.text.tokenizer import TOKENIZER_FILE, Tokenizer
from engine.training.ranks import Ranks


def token_bytes(tokenizer: Tokenizer) -> np.ndarray:
    """int64 [vocab_size]: bytes of text behind each id, 0 for special tokens."""
    special = set(tokenizer.special.values())
    return np.array([0 if id in special else len(tokenizer.token_bytes(id)) for id in range(tokenizer.vocab_size)], dtype=np.int64)


def border_id(tokenizer: Tokenizer) -> int:
    """The token that stands between documents; what the first token of all is predicted from."""
    return next((id for id in (tokenizer.eos_id, tokenizer.bos_id, tokenizer.pad_id) if id is not None), 0)


def token_shards(project: Project, corpus: Artifact, tokenizer: Tokenizer, folder: Path, maker: str, context: RunContext,
                 ranks: Ranks) -> TokenShards:
    """The corpus in this tokenizer's ids. Rank 0 makes it where it is missing.

    `folder` holds the tokenizer; `maker` is the artifact it came with, for the lineage. Raises InputError for a corpus that has no text
    in one of its splits, Stopped, DiskFull.
    """
    found = None
    if context.is_main:
        found = find(project, corpus.id, tokenizer, maker) or _make(project, corpus, tokenizer, folder, maker, context)
    shards = TokenShards.open(project.artifacts.get(f"tokens-{ranks.first(found.number if found else 0)}").path)
    for split in ("train", "validation"):
        if not shards.split(split).tokens:
            raise InputError(tr("{corpus} has no text for {split}.", corpus=corpus.title,
                                split=tr("training") if split == "train" else tr("validation")),
                             tr("Import more text, or keep more of it for validation."), field="corpus")
    return shards


def find(project: Project, corpus: str, tokenizer: Tokenizer, maker: str) -> Artifact | None:
    """The newest tokens of a corpus that this tokenizer would make again: of this maker first, else of another with the same one."""
    same = hashlib.sha256(tokenizer.record.encode()).hexdigest()
    known = [a for a in reversed(project.artifacts.list("tokens")) if a.parents[:1] == (corpus,)]
    for made in sorted(known, key=lambda a: a.parents[1:] != (maker,)):
        if made.parents[1:] != (maker,) and made.facts.get("tokenizer") != same and not _holds(project, made.parents[1:], same):
            continue
        try:
            shards = TokenShards.open(made.path)
        except NotFound:
            continue
        ends = tuple([] if id is None else [id] for id in (tokenizer.bos_id, tokenizer.eos_id))
        if (list(shards.document_prefix), list(shards.document_suffix), shards.vocab_size) == (*ends, tokenizer.vocab_size):
            return made
    return None


def maker_of(project: Project, tokenizer: Tokenizer, model: str) -> str:
    """The tokenizer artifact with exactly this tokenizer, else `model`."""
    same = hashlib.sha256(tokenizer.record.encode()).hexdigest()
    return next((a.id for a in project.artifacts.list("tokenizer") if a.files.get(TOKENIZER_FILE, {}).get("sha256") == same), model)


def _holds(project: Project, ids: tuple[str, ...], same: str) -> bool:
    return any(a.files.get(TOKENIZER_FILE, {}).get("sha256") == same for a in project.artifacts.list() if a.id in ids)


def _make(project: Project, corpus: Artifact, tokenizer: Tokenizer, folder: Path, maker: str, context: RunContext) -> Artifact:
    def stop() -> bool:
        command = context.command()
        if command and command.word in ("stop", "stop_save", "pause"):
            raise Stopped(tr("Stopped before the first step."), paused=command.word == "pause")
        return False

    def report(standing: Standing) -> None:
        context.progress(standing.done, standing.total, "B", rate=standing.rate, eta=standing.eta, detail=corpus.title)

    work = layout.work(context.run_dir) / "tokens" / corpus.id
    shards = write_shards(corpus.path, folder, work, report=report, stop=stop)
    facts = {f"{name}_{what}": int(getattr(shards.split(name), what)) for name in ("train", "validation")
             for what in ("tokens", "documents", "bytes")}
    with project.artifacts.create("tokens", title=tr("{corpus} in tokens", corpus=corpus.title), parents=(corpus.id, maker),
                                  run=context.run_id) as made:
        for entry in list(work.iterdir()):
            os.replace(entry, made.path / entry.name)
        return made.finish(**facts, bytes_per_token=facts["train_bytes"] / max(1, facts["train_tokens"]),
                           tokenizer=hashlib.sha256(tokenizer.record.encode()).hexdigest())
