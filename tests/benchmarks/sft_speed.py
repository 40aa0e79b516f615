"""Tokens a second of supervised fine-tuning on this machine: our loop and TRL's SFTTrainer (with PEFT for LoRA), side by side.

A 10M Llama, context 512, bfloat16 on both sides, the same conversations (lengths drawn like those of instruction data; about half of each
is learned), the same number of examples in a step, AdamW. Only real tokens count: no padding. Each side is a process of its own; they take
turns, so that a neighbour on the machine costs all of them alike; tokens over seconds of all timed steps count, after start-up, without
evaluation or saving.

TRL unpacked is measured as it comes (padding to the longest of a batch), with batches of like lengths (train_sampling_strategy
"group_by_length") and padding-free; packed with its strategy "bfd" (examples flattened into one row, kept apart by a block mask on a CPU)
and with "wrapped" (examples cut, and not kept apart). The best of each counts.

    python -m tests.benchmarks.sft_speed [--rounds N] [--steps N] [--methods full lora] [--modes unpacked packed]
"""

import statistics
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.sides import (
    CONTEXT,
    LORA,
    VOCAB,
    Turns,
    asked_of,
    holds,
    our_model,
    rates,
    take_turns,
    their_lora,
    their_model,
    their_settings,
    their_words,
    use_processors,
    verdict,
)

EXAMPLES = 1024
BATCH = 8
PACKED_ROWS = 1
"""Rows of a packed step: about four examples each."""
SIDES = {"unpacked": ("ours", "TRL", "TRL, by length", "TRL, padding-free"), "packed": ("ours", "TRL, bfd", "TRL, wrapped")}
WANTED = {"unpacked": 1.3, "packed": 1.1}


def conversations():
    """[(ids, how many at the beginning are not learned)]"""
    import numpy as np

    draw = np.random.default_rng(7)
    made = []
    for length in np.clip(np.exp(draw.normal(4.7, 0.7, EXAMPLES)), 16, CONTEXT).astype(int):
        made.append((draw.integers(16, VOCAB, length), int(length * draw.uniform(0.3, 0.7))))
    return made


def packed_batch(lengths):
    """Examples that share the rows of a packed step on average."""
    return max(1, round(PACKED_ROWS * CONTEXT / statistics.mean(lengths)))


def ours(mode, method):
    import numpy as np
    import torch

    from engine.contract.context import RunContext
    from engine.contract.events import Metrics
    from engine.model.lora import LoraSettings, add_lora, lora_parameters
    from engine.training.allocator import keep_memory
    from engine.training.checkpoints import Checkpoints
    from engine.training.examples import EncodedExamples, ExampleRows, example_loss
    from engine.training.loop import LoopSettings, Trainer
    from engine.training.optim import Optimizer, OptimizerSettings
    from engine.training.schedule import Schedule

    keep_memory()
    model = our_model()
    if method == "lora":
        add_lora(model, LoraSettings(LORA["rank"], LORA["alpha"]), 0, frozen_dtype=torch.bfloat16)
    made = conversations()
    starts = np.concatenate([[0], np.cumsum([len(ids) for ids, _ in made])])
    trained = np.concatenate([np.arange(len(ids)) >= masked for ids, masked in made])
    examples = EncodedExamples(np.concatenate([ids for ids, _ in made]).astype(np.uint32), trained, starts, np.arange(len(made)),
                               np.zeros(len(made), np.uint64))
    packing = mode == "packed"
    batch_size = packed_batch(examples.lengths().tolist()) if packing else BATCH
    turns = Turns(4)
    before = [0]

    def emit(event):
        if isinstance(event, Metrics):
            tokens = int(event.columns["tokens"][0])
            turns.step_done(tokens - before[0])
            before[0] = tokens

    with tempfile.TemporaryDirectory() as folder:
        context = RunContext(run_dir=Path(folder), project_dir=Path(folder), run_id="1-benchmark", emitter=emit)
        source = ExampleRows(examples, max_seq_len=CONTEXT, batch_size=batch_size, seed=0, pad=0, packing=packing)
        parameters = lora_parameters(model) if method == "lora" else list(model.named_parameters())
        optimizer = Optimizer(parameters, OptimizerSettings(1e-4), model.matrix_parts() if method == "full" else ())
        Trainer(model, loss=example_loss, source=source, optimizer=optimizer, schedule=Schedule(10**6, 10),
                settings=LoopSettings(10**6, PACKED_ROWS if packing else BATCH), context=context,
                checkpoints=Checkpoints(context, lambda path: None)).train()


def trl(side, mode, method):
    import datasets
    import transformers
    from trl import SFTConfig, SFTTrainer

    turns = Turns(4)
    seen = [0]

    class Told(transformers.TrainerCallback):
        def on_step_end(self, args, state, control, **rest):
            turns.step_done(seen[0])
            seen[0] = 0

    class Counted(SFTTrainer):
        def training_step(self, model, inputs, *rest, **more):
            seen[0] += int(inputs["attention_mask"].sum()) if "attention_mask" in inputs else inputs["input_ids"].numel()
            return super().training_step(model, inputs, *rest, **more)

    model = their_model()
    data = datasets.Dataset.from_list([{"input_ids": ids.tolist(), "labels": [-100] * masked + ids[masked:].tolist()}
                                       for ids, masked in conversations()])
    more = {}
    if side == "TRL, by length":
        more["train_sampling_strategy"] = "group_by_length"
    if side == "TRL, padding-free":
        more.update(padding_free=True, max_length=None)
    if mode == "packed":
        more.update(packing=True, packing_strategy="bfd" if side == "TRL, bfd" else "wrapped")
    with tempfile.TemporaryDirectory() as folder:
        settings = SFTConfig(**their_settings(folder, PACKED_ROWS if mode == "packed" else BATCH, 1e-4), **{"max_length": CONTEXT, **more})
        Counted(model=model, args=settings, train_dataset=data, processing_class=their_words(), callbacks=[Told()],
                peft_config=their_lora() if method == "lora" else None).train()


def run_side(side, mode, method):
    use_processors()
    if side == "ours":
        ours(mode, method)
    else:
        trl(side, mode, method)


def compare(mode, method, rounds, steps):
    """{side: tokens a second}: processes start one after the other, then take turns."""
    commands = {side: [sys.executable, "-m", "tests.benchmarks.sft_speed", "--side", side, "--modes", mode, "--methods", method]
                for side in SIDES[mode]}
    return rates(take_turns(commands, rounds, steps))


def main(arguments=None):
    asked = asked_of(__doc__, arguments, modes=SIDES)
    if asked.side:
        run_side(asked.side, asked.modes[0], asked.methods[0])
        return 0
    lengths = [len(ids) for ids, _ in conversations()]
    print(f"10M Llama, bfloat16; examples of {statistics.mean(lengths):.0f} tokens on average ({min(lengths)} to {max(lengths)}); "
          f"{BATCH} a step unpacked, about {packed_batch(lengths)} in {PACKED_ROWS} rows of {CONTEXT} packed")
    good = True
    for mode in asked.modes:
        for method in asked.methods:
            print(f"{mode}, {method}", flush=True)
            good &= holds(compare(mode, method, asked.rounds, asked.steps), "tokens/s", WANTED[mode])
    return verdict(good)


if __name__ == "__main__":
    sys.exit(main())
