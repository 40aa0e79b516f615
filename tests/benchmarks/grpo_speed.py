"""Seconds of a GRPO step on this machine: ours and TRL's GRPOTrainer, side by side.

One Llama for both, the same weights, prompts, group size and longest answer, one update a batch, no reference, AdamW, token-level loss. A
step is all of it: sampling, rewards (a cheap function of the answer's tokens on both sides, of which no two groups are alike), and the
update. Answers run to the limit, or end at a token whose probability was set so that lengths vary as in real answers. Each side is a
process of its own; they take turns, so that a neighbour on the machine costs all of them alike; all timed steps count, after two of
warm-up, without evaluation or saving.

TRL is measured in float32, with bfloat16 autocast, and with all weights in bfloat16 (which loses small updates); the best counts.

    python -m tests.benchmarks.grpo_speed [--rounds N] [--steps N] [--sizes small medium] [--lengths limit varied]
"""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.ppo_speed import CONTEXT, MEAN_LENGTH, PROMPTS, SIZES, STOP, VOCAB, llama, prompts
from tests.benchmarks.sides import Turns, take_turns, use_processors

GROUPS, GENERATIONS, LONGEST = 8, 8, 64
OURS = {"ours": {}, "ours, float32": {"dtype": "float32"}}
THEIRS = {"TRL, float32": {}, "TRL, bfloat16 autocast": {"autocast": True}, "TRL, bfloat16": {"pure": True}}
WANTED = {"limit": 1.6, "varied": 2.0}


def reward(ids):
    return sum(id % 2 for id in ids) / len(ids)


def ours(size, varied, dtype="bfloat16"):
    import torch

    from engine.contract.context import RunContext
    from engine.contract.events import Metrics
    from engine.contract.rows import Message
    from engine.model import hf
    from engine.model.decoder import Decoder
    from engine.rl.rollouts import Question
    from engine.rl.value_head import PolicyAndValue
    from engine.stages.grpo.rounds import Rounds
    from engine.stages.grpo.spec import GrpoSpec
    from engine.training.allocator import keep_memory
    from engine.training.checkpoints import Checkpoints
    from engine.training.loop import LoopSettings, Trainer
    from engine.training.optim import Optimizer, OptimizerSettings
    from engine.training.ranks import Ranks
    from engine.training.schedule import Schedule
    from engine.verifiers.api import Verdict

    keep_memory()
    theirs = llama(size, varied)
    config = hf.config_from_hf(theirs.config.to_dict())
    policy = Decoder(config, seed=None)
    policy.load_state_dict(dict(hf.from_hf(config, theirs.state_dict().__getitem__)))
    policy.compute_dtype = torch.bfloat16 if dtype == "bfloat16" else None

    class Words:
        special = {}

        @staticmethod
        def decode(ids):
            return " ".join(map(str, ids))

    class Judge:
        def score(self, attempts, check=None):
            return [Verdict(reward([int(word) for word in attempt.completion.split()])) for attempt in attempts]

    spec = GrpoSpec(model="m", problem_sets=("p",), verifier="[]", preset="dapo", resample=0, cut="keep", prompts=GROUPS,
                    num_generations=GENERATIONS, max_new_tokens=LONGEST, rollouts=10**6).filled()
    questions = [Question((Message(role="user", content=str(n)),), tuple(ids)) for n, ids in enumerate(prompts())]
    turns = Turns(2)

    def emit(event):
        if isinstance(event, Metrics):
            turns.step_done(event.columns["length"][0])

    with tempfile.TemporaryDirectory() as folder:
        context = RunContext(run_dir=Path(folder), project_dir=Path(folder), run_id="1-benchmark", emitter=emit)
        source = Rounds(spec, questions, Words, (STOP,), Judge(), context, Ranks(0, 1, torch.device("cpu")))
        module = PolicyAndValue(policy)
        source.bind(module, None)
        Trainer(module, loss=source.loss, source=source, optimizer=Optimizer(policy.named_parameters(), OptimizerSettings(1e-6)),
                schedule=Schedule(10**6, 10), settings=LoopSettings(10**6, GROUPS * GENERATIONS, ahead=False), context=context,
                checkpoints=Checkpoints(context, lambda path: None), measures=source.measures, enough=source.enough).train()


def theirs(size, varied, autocast=False, pure=False):
    import datasets
    import tokenizers
    import torch
    import transformers
    from trl import GRPOConfig, GRPOTrainer

    turns, lengths = Turns(2), []

    class Told(transformers.TrainerCallback):
        def on_step_end(self, args, state, control, **rest):
            turns.step_done(sum(lengths) / len(lengths))
            lengths.clear()

    def judge(prompts, completions, completion_ids, **rest):
        lengths.extend(map(len, completion_ids))
        return [reward(ids) for ids in completion_ids]

    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({f"t{i}": i for i in range(VOCAB)}, "t3"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    words = transformers.PreTrainedTokenizerFast(tokenizer_object=made, pad_token="t0", bos_token="t1", eos_token="t2", padding_side="left")
    data = datasets.Dataset.from_list([{"prompt": " ".join(f"t{id}" for id in ids)} for ids in prompts()])
    policy = llama(size, varied)
    if pure:
        policy = policy.to(torch.bfloat16)
    with tempfile.TemporaryDirectory() as folder:
        settings = GRPOConfig(
            output_dir=folder, per_device_train_batch_size=GROUPS * GENERATIONS, gradient_accumulation_steps=1, num_iterations=1,
            num_generations=GENERATIONS, max_completion_length=LONGEST, beta=0.0, loss_type="dapo", temperature=1.0, learning_rate=1e-6,
            max_steps=10**5, report_to=[], save_strategy="no", logging_steps=10**6, use_cpu=True, bf16=autocast, disable_tqdm=True,
            optim="adamw_torch_fused", gradient_checkpointing=False)
        GRPOTrainer(model=policy, reward_funcs=judge, args=settings, train_dataset=data, processing_class=words, callbacks=[Told()]).train()


def compare(size, lengths, rounds, steps):
    """{side: seconds of a step}"""
    done = take_turns({side: [sys.executable, "-m", "tests.benchmarks.grpo_speed", "--side", side, "--sizes", size, "--lengths", lengths]
                       for side in (*OURS, *THEIRS)}, rounds, steps, OMP_WAIT_POLICY="PASSIVE", TRL_EXPERIMENTAL_SILENCE="1")
    for side, taken in done.items():
        print(f"  {side:24} {sum(s for _, s in taken) / len(taken):7.2f} s a step, answers of "
              f"{sum(length for length, _ in taken) / len(taken):.1f} tokens", flush=True)
    return {side: sum(seconds for _, seconds in taken) / len(taken) for side, taken in done.items()}


def run_side(side, size, varied):
    use_processors()
    return ours(size, varied, **OURS[side]) if side in OURS else theirs(size, varied, **THEIRS[side])


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--sizes", nargs="+", choices=tuple(SIZES), default=list(SIZES))
    parser.add_argument("--lengths", nargs="+", choices=tuple(WANTED), default=list(WANTED))
    parser.add_argument("--side", help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.side:
        run_side(asked.side, asked.sizes[0], asked.lengths[0] == "varied")
        return 0
    assert PROMPTS[1] + LONGEST <= CONTEXT
    print(f"{GROUPS} groups of {GENERATIONS} answers a step, of up to {LONGEST} tokens (about {MEAN_LENGTH} where lengths vary)")
    good = True
    for size in asked.sizes:
        for lengths in asked.lengths:
            print(f"{size}, {'lengths vary' if lengths == 'varied' else 'all to the limit'}", flush=True)
            seconds = compare(size, lengths, asked.rounds, asked.steps)
            best = min(seconds[side] for side in THEIRS if side in seconds)
            ratio = best / seconds["ours"]
            good &= ratio >= WANTED[lengths]
            print(f"  ratio to the best {ratio:.2f} (wanted {WANTED[lengths]:.1f})", flush=True)
    print("holds" if good else "DOES NOT HOLD")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
