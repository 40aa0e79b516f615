"""Tokens a second of training on this machine: our loop, transformers' Trainer, and a minimal hand-written loop, side by side.

A 10M and a 30M Llama at context 512, batch 4, AdamW everywhere, bfloat16 arithmetic, random tokens. The Trainer gets `bf16=True` and fused
AdamW; the hand loop bf16 autocast, torch.compile and fused AdamW; ours what the engine chooses, and compiled beside it. Each is a process
of its own; they take turns (round after round), so that a neighbour on the machine costs all of them alike; the median of the steps counts,
after start-up.

    python -m tests.benchmarks.train_speed [--rounds N] [--sizes 10M 30M] [--steps N]
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CONTEXT, BATCH, VOCAB = 512, 4, 8192
SIZES = {"10M": (320, 6, 8, 896), "30M": (512, 8, 8, 1408)}
SIDES = ("ours", "ours compiled", "Trainer", "hand loop")


def tokens_of(rows):
    import torch
    return torch.randint(0, VOCAB, (rows, CONTEXT + 1), generator=torch.Generator().manual_seed(1))


class Turns:
    """Steps between two lines on stdin, so that sides alternate: each line gives the number of steps to do."""

    def __init__(self, warm):
        self.left, self.times, self.warm, self.started = warm, [], True, time.perf_counter()

    def step_done(self):
        now = time.perf_counter()
        if not self.warm:
            self.times.append(now - self.began)
        self.left -= 1
        if self.left <= 0:
            print(json.dumps({"ready": True, "seconds": now - self.started, "steps": self.times}), flush=True)
            self.times, self.warm = [], False
            line = sys.stdin.readline()
            self.left = int(line or 0)
            if not self.left:
                sys.exit(0)
        self.began = time.perf_counter()


def ours(size, compiled):
    import torch

    from engine.contract.context import RunContext
    from engine.contract.events import Metrics
    from engine.model.config import ModelConfig
    from engine.model.decoder import Decoder
    from engine.training.allocator import keep_memory
    from engine.training.batches import TokenRows
    from engine.training.checkpoints import Checkpoints
    from engine.training.loop import LoopSettings, Trainer
    from engine.training.optim import Optimizer, OptimizerSettings
    from engine.training.schedule import Schedule

    class Random:
        def __init__(self):
            self.ids = tokens_of(64).flatten().numpy()
            self.tokens, self.starts = len(self.ids), torch.tensor([0, len(self.ids)]).numpy()

        def slice(self, start, stop):
            return self.ids[start:stop]

    keep_memory()
    width, layers, heads, middle = SIZES[size]
    model = Decoder(ModelConfig(vocab_size=VOCAB, hidden_size=width, num_layers=layers, num_heads=heads, num_kv_heads=heads,
                                head_dim=width // heads, intermediate_size=middle, max_seq_len=CONTEXT), seed=0)
    model.compute_dtype = torch.bfloat16
    turns = Turns(2)

    def emit(event):
        if isinstance(event, Metrics):
            turns.step_done()

    with tempfile.TemporaryDirectory() as folder:
        context = RunContext(run_dir=Path(folder), project_dir=Path(folder), run_id="1-benchmark", emitter=emit)
        source = TokenRows(Random(), seq_len=CONTEXT, rows_per_step=BATCH, seed=0, first_input=0, pad=0, borders=False)
        optimizer = Optimizer(model.named_parameters(), OptimizerSettings(1e-3, weight_decay=0.1), model.matrix_parts())
        trained = Trainer(model, loss=lambda runner, batch: runner(batch.tokens_BT, targets_BT=batch.targets_BT, reduction="sum"),
                          source=source,
                optimizer=optimizer, schedule=Schedule(10**6, 10), settings=LoopSettings(10**6, BATCH), context=context,
                checkpoints=Checkpoints(context, lambda path: None))
        if compiled:
            trained.use(torch.compile(model))
        trained.train()


def llama(size):
    from transformers import LlamaConfig, LlamaForCausalLM
    width, layers, heads, middle = SIZES[size]
    return LlamaForCausalLM(LlamaConfig(vocab_size=VOCAB, hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads,
                                        intermediate_size=middle, max_position_embeddings=CONTEXT, tie_word_embeddings=True,
                                        use_cache=False))


def trainer(size):
    import torch
    import transformers
    turns = Turns(2)
    rows = tokens_of(64)[:, :CONTEXT]

    class Told(transformers.TrainerCallback):
        def on_step_end(self, args, state, control, **rest):
            turns.step_done()

    class Data(torch.utils.data.Dataset):
        def __len__(self):
            return 10**6

        def __getitem__(self, n):
            return {"input_ids": rows[n % 64], "labels": rows[n % 64]}

    with tempfile.TemporaryDirectory() as folder:
        settings = transformers.TrainingArguments(output_dir=folder, per_device_train_batch_size=BATCH, max_steps=10**6, learning_rate=1e-3,
            weight_decay=0.1, bf16=True, use_cpu=True, optim="adamw_torch_fused", report_to=[], save_strategy="no", logging_steps=10**5,
            dataloader_num_workers=0, disable_tqdm=True, lr_scheduler_type="constant", max_grad_norm=1.0)
        transformers.Trainer(model=llama(size), args=settings, train_dataset=Data(), callbacks=[Told()]).train()


def hand_loop(size):
    """As short as it can be and still fast."""
    import torch
    from torch import nn
    from torch.nn import functional as F
    width, layers, heads, middle = SIZES[size]

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.n1, self.n2 = nn.RMSNorm(width), nn.RMSNorm(width)
            self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
            self.up, self.down = nn.Linear(width, 2 * middle, bias=False), nn.Linear(middle, width, bias=False)

        def forward(self, x, cos, sin):
            b, t, c = x.shape
            q, k, v = self.qkv(self.n1(x)).view(b, t, 3, heads, c // heads).permute(2, 0, 3, 1, 4)
            q, k = (torch.cat((a * cos - z * sin, z * cos + a * sin), -1).type_as(v) for a, z in (q.chunk(2, -1), k.chunk(2, -1)))
            x = x + self.out(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(b, t, c))
            gate, up = self.up(self.n2(x)).chunk(2, -1)
            return x + self.down(F.silu(gate) * up)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.norm = nn.Embedding(VOCAB, width), nn.RMSNorm(width)
            self.blocks = nn.ModuleList(Block() for _ in range(layers))
            for p in self.parameters():
                if p.dim() == 2:
                    nn.init.normal_(p, 0.0, 0.02)
            d = width // heads
            angles = torch.outer(torch.arange(CONTEXT).float(), 10_000.0 ** -(torch.arange(0, d, 2).float() / d))
            self.register_buffer("cos", angles.cos())
            self.register_buffer("sin", angles.sin())

        def forward(self, x, y):
            h = self.embed(x)
            for block in self.blocks:
                h = block(h, self.cos, self.sin)
            return F.cross_entropy(F.linear(self.norm(h), self.embed.weight).flatten(0, 1).float(), y.flatten())

    model = Model()
    step = torch.compile(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1, fused=True)
    rows, turns, n = tokens_of(64), Turns(2), 0
    while True:
        batch = rows[[(n * BATCH + i) % 64 for i in range(BATCH)]]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = step(batch[:, :-1], batch[:, 1:])
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        loss.item()
        n += 1
        turns.step_done()


def run_side(side, size):
    import torch

    from engine.training.devices import usable_processors
    torch.set_num_threads(usable_processors())
    torch.manual_seed(0)
    {"ours": lambda: ours(size, False), "ours compiled": lambda: ours(size, True), "Trainer": lambda: trainer(size),
     "hand loop": lambda: hand_loop(size)}[side]()


def compare(size, rounds, steps):
    """{side: tokens a second}: processes start one after the other, then take turns."""
    processes, times, begun = {}, {side: [] for side in SIDES}, {}
    for side in SIDES:
        processes[side] = subprocess.Popen([sys.executable, "-m", "tests.benchmarks.train_speed", "--side", side, "--sizes", size],
                                           stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        begun[side] = _answer(processes[side])["seconds"]
    for _ in range(rounds):
        for side, process in processes.items():
            process.stdin.write(f"{steps}\n")
            process.stdin.flush()
            times[side] += _answer(process)["steps"]
    for process in processes.values():
        process.stdin.write("0\n")
        process.stdin.close()
        process.wait(timeout=60)
    return {side: BATCH * CONTEXT / statistics.median(seconds) for side, seconds in times.items()}, begun


def _answer(process):
    while True:
        line = process.stdout.readline()
        if not line:
            raise SystemExit(f"a side ended early (exit code {process.wait()})")
        if line.startswith('{"ready"'):
            return json.loads(line)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--sizes", nargs="+", choices=tuple(SIZES), default=list(SIZES))
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.side:
        run_side(asked.side, asked.sizes[0])
        return 0
    good = True
    for size in asked.sizes:
        speeds, begun = compare(size, asked.rounds, asked.steps)
        print(f"{size}, context {CONTEXT}, batch {BATCH}, AdamW, bfloat16")
        for side, speed in speeds.items():
            print(f"  {side:14} {speed:8,.0f} tokens/s   start-up {begun[side]:5.1f} s")
        best = max(speeds["ours"], speeds["ours compiled"])
        for other, wanted in (("Trainer", 1.15 if size == "10M" else 1.0), ("hand loop", 1.0)):
            ratio = best / speeds[other]
            good &= math.isfinite(ratio) and ratio >= wanted
            print(f"  ratio to {other:10} {ratio:.2f} (eager {speeds['ours'] / speeds[other]:.2f}; wanted {wanted:.2f})")
    print("holds" if good else "DOES NOT HOLD")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
