"""Pairs a second of DPO on this machine: our loop and TRL's DPOTrainer (with PEFT for LoRA), side by side.

A 10M Llama, context 512, the same pairs (a prompt, two answers, lengths drawn like those of talk with an assistant), the same number of
pairs in a step, AdamW, bfloat16 on both sides. Each side is a process of its own; they take turns, so that a neighbour on the machine costs
all of them alike; pairs over seconds of all timed steps count, after start-up, without evaluation or saving.

TRL is measured as it comes (the reference runs in every step), with the reference's log-probabilities computed beforehand
(precompute_ref_log_probs), and with that and pairs of like lengths in a step (train_sampling_strategy "group_by_length"). Padding-free it
has for now only in name (TRL 1.16 falls back to padding). The best of them counts. Ours has the reference beforehand, as always, and draws
the pairs of a step at random. What a reference takes before training is in no figure.

    python -m tests.benchmarks.dpo_speed [--rounds N] [--steps N] [--methods full lora] [--prompts short long]
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

PAIRS = 64
BATCH = 8
SIDES = ("ours", "TRL", "TRL, precomputed", "TRL, precomputed, by length")
WANTED = 1.3
PROMPTS = {"short": (3.4, 0.6), "long": (4.7, 0.6)}
"""Mean and spread of the logarithm of a prompt's tokens: one question of about 36, a talk of about 130."""


def pairs(kind):
    """[(prompt ids, chosen ids, rejected ids)]"""
    import numpy as np

    draw = np.random.default_rng(7)

    def ids(mean, spread, most):
        return draw.integers(16, VOCAB, int(np.clip(np.exp(draw.normal(mean, spread)), 4, most)))

    return [(ids(*PROMPTS[kind], 256), ids(4.0, 0.7, 256), ids(4.0, 0.7, 256)) for _ in range(PAIRS)]


def ours(kind, method):
    import numpy as np
    import torch

    from engine.contract.context import RunContext
    from engine.contract.events import Metrics
    from engine.model.length_batches import batched
    from engine.model.lora import LoraSettings, add_lora, lora_parameters
    from engine.stages.dpo.objective import Objective
    from engine.stages.dpo.rows import DpoRows, Reference, part_of
    from engine.stages.dpo.spec import DpoSpec
    from engine.training.allocator import keep_memory
    from engine.training.answer_logprobs import answer_logprobs, lay
    from engine.training.checkpoints import Checkpoints
    from engine.training.loop import LoopSettings, Trainer
    from engine.training.optim import Optimizer, OptimizerSettings
    from engine.training.pair_rows import EncodedPairs
    from engine.training.ranks import Ranks
    from engine.training.schedule import Schedule

    keep_memory()
    model = our_model()
    parts = [one for pair in pairs(kind) for one in pair]
    none = np.zeros(PAIRS, np.int64)
    encoded = EncodedPairs(np.concatenate(parts).astype(np.uint32), np.concatenate([[0], np.cumsum([len(p) for p in parts])]),
                           np.zeros((PAIRS, 2), np.int64), none.astype(np.int8), none.astype(bool), none.astype(bool), np.arange(PAIRS),
                           np.arange(PAIRS).astype(np.uint64))
    turns = Turns(2)
    reference = Reference(train=np.zeros((PAIRS, 2), np.float32))
    sizes = np.diff(encoded.starts).reshape(-1, 3).sum(1)
    with torch.no_grad():
        for numbers in batched(sizes, range(PAIRS), 8192):
            reference.train[numbers] = answer_logprobs(model, lay([part_of(encoded, n) for n in numbers]))[0].numpy().reshape(-1, 2)
    if method == "lora":
        add_lora(model, LoraSettings(LORA["rank"], LORA["alpha"]), 0, frozen_dtype=torch.bfloat16)

    def emit(event):
        if isinstance(event, Metrics):
            turns.step_done(BATCH)

    with tempfile.TemporaryDirectory() as folder:
        context = RunContext(run_dir=Path(folder), project_dir=Path(folder), run_id="1-benchmark", emitter=emit)
        objective = Objective(DpoSpec(model="m", pairs=("p",)), Ranks(0, 1, torch.device("cpu")))
        parameters = lora_parameters(model) if method == "lora" else list(model.named_parameters())
        Trainer(model, loss=objective, source=DpoRows(encoded, reference, batch_size=BATCH, seed=0, longest=CONTEXT),
                optimizer=Optimizer(parameters, OptimizerSettings(1e-5)), schedule=Schedule(10**6, 10),
                settings=LoopSettings(10**6, BATCH), context=context, checkpoints=Checkpoints(context, lambda path: None),
                measures=objective.measures).train()


def trl(side, kind, method):
    import datasets
    import transformers
    from trl import DPOConfig, DPOTrainer

    turns = Turns(2)

    class Told(transformers.TrainerCallback):
        def on_step_end(self, args, state, control, **rest):
            turns.step_done(BATCH)

    class Given(DPOTrainer):
        def _prepare_dataset(self, dataset, *rest, **more):
            return dataset

    data = datasets.Dataset.from_list([{"prompt_ids": p.tolist(), "chosen_ids": c.tolist(), "rejected_ids": r.tolist(),
                                        "length": len(p) + max(len(c), len(r))} for p, c, r in pairs(kind)])
    more = {"precompute_ref_log_probs": True} if "precomputed" in side else {}
    if "by length" in side:
        more.update(train_sampling_strategy="group_by_length", length_column_name="length", remove_unused_columns=False)
    policy = their_model()
    reference = None
    if method == "full":
        reference = their_model()
        reference.load_state_dict(policy.state_dict())
    with tempfile.TemporaryDirectory() as folder:
        settings = DPOConfig(**their_settings(folder, BATCH, 1e-5), max_length=CONTEXT, **more)
        Given(model=policy, ref_model=reference, args=settings, train_dataset=data, processing_class=their_words(), callbacks=[Told()],
              peft_config=their_lora() if method == "lora" else None).train()


def run_side(side, kind, method):
    use_processors()
    if side == "ours":
        ours(kind, method)
    else:
        trl(side, kind, method)


def compare(kind, method, rounds, steps):
    """{side: pairs a second}: processes start one after the other, then take turns."""
    commands = {side: [sys.executable, "-m", "tests.benchmarks.dpo_speed", "--side", side, "--prompts", kind, "--methods", method]
                for side in SIDES}
    return rates(take_turns(commands, rounds, steps, TQDM_DISABLE="1"))


def main(arguments=None):
    asked = asked_of(__doc__, arguments, prompts=PROMPTS)
    if asked.side:
        run_side(asked.side, asked.prompts[0], asked.methods[0])
        return 0
    good = True
    for kind in asked.prompts:
        means = [statistics.mean(len(pair[n]) for pair in pairs(kind)) for n in range(3)]
        print(f"10M Llama, bfloat16; prompts of {means[0]:.0f} tokens on average, answers of {means[1]:.0f} and {means[2]:.0f}; {BATCH} "
              "pairs a step")
        for method in asked.methods:
            print(f"{kind} prompts, {method}", flush=True)
            good &= holds(compare(kind, method, asked.rounds, asked.steps), "pairs/s", WANTED, digits=2)
    return verdict(good)


if __name__ == "__main__":
    sys.exit(main())
