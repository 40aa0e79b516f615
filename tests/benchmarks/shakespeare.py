"""nanoGPT's CPU recipe on tinyshakespeare, by character: our loop beside a plain nanoGPT-like eager loop, in one process.

4 layers, 4 heads, 128 wide, context 64, batch 12, 2,000 steps, the last tenth of the text for validation. Both are measured on the whole
validation text, in wall time from building the model to the last step (start-up of torch.compile included; the measuring is not). They
take turns of 50 steps, so that a neighbour on the machine costs both alike. The plain loop runs on as many threads as torch takes by
itself, ours on --threads (one: for matrices so small a second one costs more than it brings).

    python -m tests.benchmarks.shakespeare [--steps N] [--ours-only] [--optimizer muon|adamw] [--no-compile] [--seed N]
"""

import argparse
import math
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from engine.contract.context import RunContext
from engine.contract.events import Metrics
from engine.model.config import ModelConfig
from engine.model.decoder import Decoder
from engine.training.allocator import keep_memory
from engine.training.batches import TokenRows
from engine.training.checkpoints import Checkpoints
from engine.training.devices import usable_processors
from engine.training.loop import LoopSettings, Trainer
from engine.training.optim import Optimizer, OptimizerSettings
from engine.training.schedule import Schedule

TEXT = Path(__file__).parents[2] / ".." / "shared" / "data" / "tinyshakespeare.txt"
LAYERS, HEADS, WIDTH, CONTEXT, BATCH, TURN = 4, 4, 128, 64, 12, 50


class Characters:
    """One text as one document of character ids."""

    def __init__(self, ids):
        self.ids, self.tokens, self.starts = ids, len(ids), np.array([0, len(ids)])

    def slice(self, start, stop):
        return self.ids[start:stop]


# ---- a plain loop, as one would write it after nanoGPT


class PlainBlock(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attend, self.project = nn.Linear(WIDTH, 3 * WIDTH, bias=False), nn.Linear(WIDTH, WIDTH, bias=False)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH, bias=False), nn.Linear(4 * WIDTH, WIDTH, bias=False)

    def forward(self, x):
        b, t, c = x.shape
        q, k, v = (y.view(b, t, HEADS, c // HEADS).transpose(1, 2) for y in self.attend(self.norm1(x)).split(c, dim=2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(b, t, c)
        x = x + self.project(y)
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class PlainGPT(nn.Module):
    def __init__(self, vocab):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocab, WIDTH), nn.Embedding(CONTEXT, WIDTH)
        self.blocks, self.norm = nn.ModuleList(PlainBlock() for _ in range(LAYERS)), nn.LayerNorm(WIDTH)
        for p in self.parameters():
            if p.dim() == 2:
                nn.init.normal_(p, 0.0, 0.02)
        for block in self.blocks:
            for layer in (block.project, block.down):
                nn.init.normal_(layer.weight, 0.0, 0.02 / math.sqrt(2 * LAYERS))

    def forward(self, x, y):
        h = self.tokens(x) + self.positions(torch.arange(x.shape[1]))
        for block in self.blocks:
            h = block(h)
        return F.cross_entropy(F.linear(self.norm(h), self.tokens.weight).flatten(0, 1), y.flatten())


class Plain:
    """The plain loop: float32, AdamW at 1e-3, warm-up 100, cosine to 1e-4, random windows. `seconds` is its own time."""

    def __init__(self, train, vocab, steps, seed):
        began = time.perf_counter()
        torch.manual_seed(seed)
        self.model, self.steps, self.step = PlainGPT(vocab), steps, 0
        decayed, rest = [p for p in self.model.parameters() if p.dim() > 1], [p for p in self.model.parameters() if p.dim() < 2]
        groups = [{"params": decayed, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.99))
        self.data = torch.from_numpy(train.ids.astype(np.int64))
        self.random = torch.Generator().manual_seed(seed)
        self.seconds = time.perf_counter() - began

    def go(self, steps):
        began = time.perf_counter()
        for step in range(self.step, min(self.step + steps, self.steps)):
            late = (step - 100) / max(1, self.steps - 100)
            rate = 1e-3 * (step + 1) / 100 if step < 100 else 1e-4 + 4.5e-4 * (1 + math.cos(math.pi * late))
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            places = torch.randint(len(self.data) - CONTEXT - 1, (BATCH,), generator=self.random)
            x = torch.stack([self.data[i:i + CONTEXT] for i in places])
            y = torch.stack([self.data[i + 1:i + 1 + CONTEXT] for i in places])
            self.optimizer.zero_grad(set_to_none=True)
            self.model(x, y).backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
        self.step = min(self.step + steps, self.steps)
        self.seconds += time.perf_counter() - began


@torch.no_grad()
def validation_loss(model, loss, validation):
    """Nats per character over the whole validation text in windows of the context, one after the other: the same for both models.
    `loss(model, x, y)` is the mean over a batch of windows."""
    model.eval()
    ids, total = torch.from_numpy(validation.ids.astype(np.int64)), 0.0
    rows = (len(ids) - 1) // CONTEXT
    xs, ys = ids[:rows * CONTEXT].view(rows, CONTEXT), ids[1:rows * CONTEXT + 1].view(rows, CONTEXT)
    for x, y in zip(xs.split(256), ys.split(256), strict=True):
        total += loss(model, x, y).item() * y.numel()
    return total / ys.numel()


# ---- ours


def ours(train, validation, vocab, steps, seed, optimizer, compiled, dtype, rates, threads, beside):
    """(validation loss, seconds, parameters) of the engine's decoder and loop; `beside` takes its turns after every 50 steps."""
    began = time.perf_counter()
    torch.set_num_threads(threads)
    config = ModelConfig(vocab_size=vocab, hidden_size=WIDTH, num_layers=LAYERS, num_heads=HEADS, num_kv_heads=HEADS,
                         head_dim=WIDTH // HEADS,
                         intermediate_size=352, max_seq_len=CONTEXT, qk_norm=True)
    model = Decoder(config, seed=seed)
    model.compute_dtype = torch.bfloat16 if dtype == "bfloat16" else None
    settings = OptimizerSettings(rates[0], rates[1] if optimizer == "muon" else None, weight_decay=0.1)
    chosen = Optimizer(model.named_parameters(), settings, model.matrix_parts())
    source = TokenRows(train, seq_len=CONTEXT, rows_per_step=BATCH, seed=seed, first_input=0, pad=0, borders=False)
    done, apart = 0, 0.0

    def emit(event):
        nonlocal done, apart
        if isinstance(event, Metrics):
            done += len(event.columns["step"])
            if beside and done % TURN == 0:
                before = time.perf_counter()
                torch.set_num_threads(usable_processors())
                beside.go(TURN)
                torch.set_num_threads(threads)
                apart += time.perf_counter() - before

    with tempfile.TemporaryDirectory() as folder:
        context = RunContext(run_dir=Path(folder), project_dir=Path(folder), run_id="1-benchmark", seed=seed, emitter=emit)
        checkpoints = Checkpoints(context, lambda path: None)
        trainer = Trainer(model, loss=lambda runner, batch: runner(batch.tokens_BT, targets_BT=batch.targets_BT, reduction="sum"),
                          source=source, optimizer=chosen, schedule=Schedule(steps, 40, "linear", 0.7), context=context,
                          settings=LoopSettings(steps, BATCH, 1.0), checkpoints=checkpoints)
        if compiled:
            trainer.use(torch.compile(model))
        trainer.train()
    seconds = time.perf_counter() - began - apart
    assert done == steps
    model.compute_dtype = None
    loss = validation_loss(model, lambda decoder, x, y: decoder(x, targets_BT=y, reduction="mean"), validation)
    return loss, seconds, config.parameters


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1337)
    parser.add_argument("--optimizer", choices=("muon", "adamw"), default="muon")
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="bfloat16")
    parser.add_argument("--rates", type=float, nargs=2, default=(4e-3, 2e-2))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--ours-only", action="store_true")
    asked = parser.parse_args(arguments)
    if not TEXT.is_file():
        sys.exit(f"{TEXT.name} is not beside the checkout (shared/data): nothing to train on.")
    cache = tempfile.TemporaryDirectory()  # nothing compiled earlier helps: the start-up is counted whole
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache.name
    torch.set_num_threads(usable_processors())
    text = TEXT.read_text("utf-8")
    letters = sorted(set(text))
    ids = _ids(text, letters)
    cut = int(0.9 * len(ids))
    train, validation = Characters(ids[:cut]), Characters(ids[cut:])
    beside = None if asked.ours_only else Plain(train, len(letters), asked.steps, asked.seed)
    keep_memory()
    loss, took, parameters = ours(train, validation, len(letters), asked.steps, asked.seed, asked.optimizer, asked.compile, asked.dtype,
                                  asked.rates, asked.threads, beside)
    print(f"fledge: {parameters:,} parameters, {asked.optimizer}, {asked.dtype}, {'compiled' if asked.compile else 'eager'}")
    if beside:
        torch.set_num_threads(usable_processors())
        beside.go(asked.steps - beside.step)
        plain = validation_loss(beside.model, lambda model, x, y: model(x, y), validation)
        print(f"plain eager loop: validation loss {plain:.3f} nats per character in {beside.seconds:.1f} s")
        print(f"wall time against the plain loop: {took / beside.seconds:.2f}")
    print(f"validation loss {loss:.3f} nats per character in {took:.1f} s")
    return 0


def _ids(text, letters):
    table = np.zeros(max(map(ord, letters)) + 1, dtype=np.uint16)
    table[[ord(c) for c in letters]] = np.arange(len(letters))
    return table[np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)]


if __name__ == "__main__":
    sys.exit(main())
