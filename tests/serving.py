"""A project with tiny models for tests of the server, its client and the chat page; and the real server as a process.

The models are random, but sharp (large weights): their likeliest token stands well apart from the next, so that greedy text does not hang
on rounding. One finished model, one run with an untrained and a later checkpoint.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from engine.contract.events import Evaluation, Metrics
from engine.model.config import ModelConfig
from engine.project import files, layout
from engine.project.event_log import EventWriter
from engine.project.project import Project
from engine.serve import address
from engine.serve.address import Address
from engine.text import bpe
from engine.text.tokenizer import Tokenizer

ROOT = Path(__file__).resolve().parents[1]
TEXT = ("The ferry left the quay at seven on Tuesday morning with forty passengers and the mail, and was seen off the north light by noon. "
        "The captain reported a stiff breeze and a heavy sea outside the bar, but no damage. ") * 40
CONTEXT = 96
SHARP = 24.0


def tokenizer() -> Tokenizer:
    return bpe.train([TEXT], 400)


def config(vocab_size: int, layers: int = 2, context: int = CONTEXT) -> ModelConfig:
    return ModelConfig(vocab_size=vocab_size, hidden_size=32, num_layers=layers, num_heads=4, num_kv_heads=2, head_dim=8,
                       intermediate_size=64, max_seq_len=context, tie_embeddings=False)


def write_model(folder: Path, words: Tokenizer, seed: int, sharpness: float = SHARP, context: int = CONTEXT, layers: int = 2) -> None:
    """Weights, shape and tokenizer into an existing folder. `sharpness` 1 is a fresh model, which finds all tokens about equally likely."""
    import torch

    from engine.model.checkpoint import save_weights
    from engine.model.decoder import Decoder
    model = Decoder(config(words.vocab_size, layers, context), seed=seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim == 2 and "embed" not in name:
                weight.mul_(sharpness)
    save_weights(folder, model)
    words.save(folder)


def make_project(folder: Path, context: int = CONTEXT, layers: int = 2) -> Project:
    """Models `model-1`, `1-pretrain@0` (untrained) and `1-pretrain@20`."""
    from engine.stages.pretrain.spec import PretrainSpec
    project = Project.create(folder, "Lowland Gazette")
    words = tokenizer()
    run = project.runs.create(PretrainSpec(title="gazette-tiny"))
    for step, seed, sharpness in ((0, 1, 1.0), (20, 2, SHARP)):
        with files.atomic_folder(layout.checkpoint(run.dir, step)) as aside:
            write_model(aside, words, seed, sharpness, context, layers)
            (aside / layout.MANIFEST).write_text(json.dumps({"files": files.hash_folder(aside)}))
    events = EventWriter(layout.events_file(run.dir), attempt=1)
    for event in (Metrics(columns={"step": [1, 2], "loss": [5.0, 4.0]}), Evaluation(step=10, values={"bpb": 2.5}, best=True),
                  Evaluation(step=20, values={"bpb": 1.25, "val_loss": 3.0}, best=True)):
        events.write(event)
    events.close()
    with project.artifacts.create("model", title="gazette-tiny", run=run.id) as made:
        write_model(made.path, words, 3, SHARP, context, layers)
        made.finish(step=40, bpb=0.974)
    return project


class ServerProcess:
    """`python -m engine.serve.main` for a project, as the window starts it."""

    def __init__(self, project: Path, *arguments: str, ready: bool = True, **environment: str) -> None:
        self.project, self.home = project, environment.get("FLEDGE_HOME", os.environ.get("FLEDGE_HOME", ""))
        self.log = open(layout.server_log(project), "ab")
        self.process = subprocess.Popen([sys.executable, "-m", "engine.serve.main", str(project), *arguments], cwd=ROOT, stdout=self.log,
                                        stderr=self.log, env={**os.environ, "OMP_NUM_THREADS": "1", **environment})
        self.address = self.wait_for_address()
        if ready:
            self.wait_until_ready()

    def wait_for_address(self, seconds: float = 60) -> Address:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            found = address.read(self.project)
            if found is not None and found.pid == self.process.pid:
                return found
            assert self.process.poll() is None, self.said()
            time.sleep(0.02)
        raise AssertionError("no address: " + self.said())

    def wait_until_ready(self, seconds: float = 60) -> None:
        import httpx
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if httpx.get(self.address.url + "/health", timeout=10).json()["state"] == "ready":
                return
            time.sleep(0.05)
        raise AssertionError("never ready: " + self.said())

    def said(self) -> str:
        return layout.server_log(self.project).read_text("utf-8", "replace")[-4000:]

    def stop(self) -> int:
        """Ask it to end as Ctrl-C does not: by SIGTERM; its exit code."""
        self.process.terminate()
        try:
            return self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError("did not end: " + self.said()) from None
        finally:
            self.log.close()
