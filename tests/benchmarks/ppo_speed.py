"""Seconds of a PPO round on this machine: ours and TRL's experimental PPO trainer (the last release that has it), side by side.

One Llama for both, the same weights, prompts, reward model, number of answers and passes, and the same longest answer; AdamW. A round is
all of it: sampling, log-probabilities of policy and reference, values, rewards, and the updates. Answers run to the limit, or end at a
token whose probability was set so that lengths vary as in real answers. Each side is a process of its own; they take turns, so that a
neighbour on the machine costs all of them alike; all timed rounds count, after one of warm-up, without evaluation or saving.

TRL has a value model of its own always; ours is measured with the shared head (the default) and with a value model of its own. TRL is
measured in float32 as it comes, and with all weights in bfloat16, which loses small updates but is faster (its `bf16=True` changes nothing:
its trainer makes an Accelerator that does not hear of it); the best counts. TRL lives in an environment of its own, made at the first call
beside the system's temporary files.

    python -m tests.benchmarks.ppo_speed [--rounds N] [--sizes small medium] [--lengths limit varied] [--check]

`--check`: TRL's own lines on random numbers against our losses, advantages and rewards, nothing timed.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.sides import Turns, take_turns

TRL = "1.10.0"
VOCAB, STOP, PAD = 4096, 2, 0
SIZES = {"small": dict(hidden_size=160, intermediate_size=448, num_hidden_layers=4, num_attention_heads=4),
         "medium": dict(hidden_size=320, intermediate_size=896, num_hidden_layers=6, num_attention_heads=8)}
ANSWERS, PASSES, LONGEST, PROMPTS, CONTEXT = 64, 2, 48, (8, 40), 128
MEAN_LENGTH = 14
OURS = {"ours": {}, "ours, own value model": {"value": "separate"}, "ours, float32": {"dtype": "float32"}}
THEIRS = {"TRL, float32": {}, "TRL, bfloat16": {"pure": True}}
WANTED = 1.5


def environment():
    """Python of TRL's own environment, made where it is missing; None where it cannot be made here."""
    folder = Path(tempfile.gettempdir()) / f"fledge-trl-{TRL}"
    python = folder / "bin" / "python"
    asked = [str(python), "-c", "import trl.experimental.ppo"]
    if python.exists() and subprocess.run(asked, capture_output=True).returncode == 0:
        return python
    import torch
    print(f"making an environment with trl {TRL} in {folder}", flush=True)
    for command in ([sys.executable, "-m", "venv", str(folder)],
                    [str(python), "-m", "pip", "install", "-q", f"torch=={torch.__version__}", f"trl=={TRL}"], asked):
        if (made := subprocess.run(command, capture_output=True, text=True)).returncode:
            print(f"  does not install here: {made.stderr.strip().splitlines()[-1:]}")
            return None
    return python


# ------------------------------------------------------------------------------------------------------------------ what both share


def llama(size, varied, classifier=False, seed=0):
    """The same weights on both sides. With `varied` the token that ends an answer comes about every MEAN_LENGTH tokens: the last layer's
    bias gives all states a common direction, which that token's row of the head looks along."""
    import torch
    import transformers

    torch.manual_seed(seed)
    config = transformers.LlamaConfig(vocab_size=VOCAB, max_position_embeddings=CONTEXT, mlp_bias=True, bos_token_id=1, eos_token_id=STOP,
                                      pad_token_id=PAD, num_labels=1, tie_word_embeddings=False, **SIZES[size])
    model = (transformers.LlamaForSequenceClassification if classifier else transformers.LlamaForCausalLM)(config)
    with torch.no_grad():
        for layer in model.model.layers:
            layer.mlp.gate_proj.bias.zero_()
            layer.mlp.up_proj.bias.zero_()
            layer.mlp.down_proj.bias.zero_()
        if varied and not classifier:
            direction = torch.nn.functional.normalize(torch.randn(config.hidden_size), dim=0)
            model.model.layers[-1].mlp.down_proj.bias.copy_(direction * 4)
            model.lm_head.weight -= (model.lm_head.weight @ direction)[:, None] * direction
            hidden = model.model(torch.randint(3, VOCAB, (8, 32))).last_hidden_state
            others = torch.logsumexp(model.lm_head(hidden), -1).mean()
            wanted = others + torch.log(torch.tensor(1 / (MEAN_LENGTH - 1)))
            model.lm_head.weight[STOP] = direction * wanted / (hidden @ direction).mean()
        elif not classifier:
            model.lm_head.weight[STOP] = -model.lm_head.weight[STOP]
    return model


def prompts():
    import numpy as np
    draw = np.random.default_rng(7)
    return [draw.integers(3, VOCAB, int(draw.integers(*PROMPTS))).tolist() for _ in range(512)]


def threads():
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# ------------------------------------------------------------------------------------------------------------------ ours


def ours(size, varied, value="shared", dtype="bfloat16"):
    import torch

    from engine.contract.context import RunContext
    from engine.contract.events import Metrics
    from engine.contract.rows import Message
    from engine.model import hf
    from engine.model.decoder import Decoder
    from engine.model.reward_model import RewardFacts, RewardHead, RewardModel
    from engine.model.scorer import Scorer
    from engine.rl.rollouts import Question, Reference
    from engine.rl.value_head import PolicyAndValue, ValueHead, ValueModel
    from engine.stages.ppo.rounds import Rounds
    from engine.stages.ppo.spec import PpoSpec
    from engine.training.allocator import keep_memory
    from engine.training.checkpoints import Checkpoints
    from engine.training.loop import LoopSettings, Trainer
    from engine.training.optim import Optimizer, OptimizerSettings
    from engine.training.ranks import Ranks
    from engine.training.schedule import Schedule

    keep_memory()
    half = getattr(torch, dtype)

    def decoder(kept=torch.float32, computed=half, like=None):
        theirs = like or llama(size, varied)
        config = hf.config_from_hf(theirs.config.to_dict())
        made = Decoder(config, seed=None)
        made.load_state_dict(dict(hf.from_hf(config, theirs.state_dict().__getitem__)))
        made.compute_dtype = computed if kept != computed else None
        return made.to(kept)

    class Words:
        special = {}

        @staticmethod
        def decode(ids):
            return " ".join(map(str, ids))

    class Judge:
        """The reward model asked in tokens: what it costs to read the texts is in neither side."""

        def __init__(self):
            made = decoder(half)
            self.scorer = Scorer.of(RewardModel(made, RewardHead(made.config.hidden_size)).eval(), None, RewardFacts())

        def score(self, conversations):
            import numpy as np
            return self.scorer.score_ids([np.array([int(word) for m in messages for word in m.content.split()]) for messages in
                                          conversations])

    spec = PpoSpec(model="m", reward="r", examples=("e",), batch_size=ANSWERS, ppo_epochs=PASSES, max_new_tokens=LONGEST, missing_end=-1.0)
    policy = decoder()
    head = ValueHead(policy.config.hidden_size, spec.kl_coef)
    if value == "separate":
        head = ValueModel(decoder(), kl_coef=spec.kl_coef)
    questions = [Question((Message(role="user", content=" ".join(map(str, ids))),), tuple(ids)) for ids in prompts()]
    turns = Turns(1)
    answered = []

    def emit(event):
        if isinstance(event, Metrics) and int(event.columns["step"][0]) % PASSES == 0:
            answered.append(event.columns["length"][0])
            turns.step_done(answered[-1])

    with tempfile.TemporaryDirectory() as folder:
        context = RunContext(run_dir=Path(folder), project_dir=Path(folder), run_id="1-benchmark", emitter=emit)
        source = Rounds(spec, questions, Words, (STOP,), Judge(), head, context, Ranks(0, 1, torch.device("cpu")))
        module = PolicyAndValue(policy, head)
        source.bind(module, Reference(policy, decoder(half)))
        named = [*policy.named_parameters(), *((f"head.{name}", p) for name, p in head.named_parameters())]
        Trainer(module, loss=source.loss, source=source, optimizer=Optimizer(named, OptimizerSettings(1e-6)),
                schedule=Schedule(10**6, 10), settings=LoopSettings(10**6, ANSWERS, stride=PASSES, ahead=False), context=context,
                checkpoints=Checkpoints(context, lambda path: None), measures=source.measures).train()


# ------------------------------------------------------------------------------------------------------------------ theirs


def theirs(size, varied, pure=False):
    import datasets
    import tokenizers
    import torch
    import transformers
    from trl.experimental.ppo import PPOConfig, PPOTrainer

    turns = Turns(1)

    class Told(transformers.TrainerCallback):
        def on_step_end(self, args, state, control, **rest):
            turns.step_done(0)

    vocabulary = {f"t{i}": i for i in range(VOCAB)}
    words = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, "t3")),
                                                 pad_token="t0", bos_token="t1", eos_token="t2", padding_side="left")
    data = datasets.Dataset.from_list([{"input_ids": ids} for ids in prompts()])
    policy, reference = llama(size, varied), llama(size, varied)
    reward, value = llama(size, varied, True), llama(size, varied, True)
    if pure:
        policy, reference, reward, value = (model.to(torch.bfloat16) for model in (policy, reference, reward, value))
    with tempfile.TemporaryDirectory() as folder:
        settings = PPOConfig(output_dir=folder, per_device_train_batch_size=ANSWERS, gradient_accumulation_steps=1, num_mini_batches=1,
                             num_ppo_epochs=PASSES, total_episodes=ANSWERS * 10**4, local_rollout_forward_batch_size=ANSWERS,
                             response_length=LONGEST, stop_token="eos" if varied else None, missing_eos_penalty=1.0, temperature=1.0,
                             learning_rate=1e-6, num_sample_generations=0, report_to=[], save_strategy="no", logging_steps=10**5,
                             use_cpu=True, bf16=False, disable_tqdm=True, optim="adamw_torch_fused", gradient_checkpointing=False)
        PPOTrainer(args=settings, processing_class=words, model=policy, ref_model=reference, reward_model=reward, value_model=value,
                   train_dataset=data, callbacks=[Told()]).train()


# ------------------------------------------------------------------------------------------------------------------ TRL's lines


def their_lines():
    """TRL's own lines on random numbers, printed with what went in: answers that all have the full length, where a token behind the end,
    which TRL gives the score to, does not exist."""
    import inspect
    import textwrap
    from types import SimpleNamespace

    import torch
    from trl.experimental.ppo import ppo_trainer

    lines = inspect.getsource(ppo_trainer.PPOTrainer.train).splitlines()

    def between(first, behind):
        start = next(n for n, line in enumerate(lines) if first in line)
        return textwrap.dedent("\n".join(lines[start:next(n for n in range(start, len(lines)) if behind in lines[n])]))
    torch.manual_seed(0)
    shape = 6, 9
    old, reference, values, now, new = (torch.randn(shape) for _ in range(5))
    old, reference = -old.abs(), -reference.abs()
    new = old + 0.3 * new
    scores = torch.randn(6)
    for whiten in (False, True):
        args = SimpleNamespace(kl_estimator="k1", kl_coef=0.07, whiten_rewards=whiten, gamma=0.97, lam=0.9, cliprange_value=0.2,
                               cliprange=0.2, vf_coef=0.3, temperature=1.0)
        nothing = torch.zeros(shape, dtype=torch.bool)
        names = dict(vars(ppo_trainer), args=args, logprobs=old, ref_logprobs=reference, values=values, scores=scores, padding_mask=nothing,
                     padding_mask_p1=nothing, sequence_lengths=torch.full((6,), 8), sequence_lengths_p1=torch.full((6,), 9),
                     responses=torch.zeros(shape), torch=torch)
        exec(between("# 4. compute rewards", "empty_cache()"), names)
        every = list(range(6))
        vpred, new_leaf = now.clone().requires_grad_(), new.clone().requires_grad_()
        names.update(vpred=vpred, new_logprobs=new_leaf, mb_values=values, mb_return=names["returns"], mb_advantage=names["advantages"],
                     mb_logprobs=old, micro_batch_inds=every)
        exec(between("vpredclipped = torch.clamp(", "accelerator.backward(loss)"), names)
        names["loss"].backward()
        print(json.dumps({"whiten": whiten, **{name: x.detach().tolist() for name, x in {
            "old": old, "reference": reference, "values": values, "scores": scores, "now": now, "new": new, "rewards": names["rewards"],
            "advantages": names["advantages"], "returns": names["returns"], "policy": names["pg_loss"], "value": names["vf_loss"],
            "loss": names["loss"], "grad_new": new_leaf.grad, "grad_now": vpred.grad}.items()}}), flush=True)


def check(python):
    """Whether ours give what TRL's lines gave."""
    import torch

    from engine.rl.advantages import gae, token_rewards, whiten
    from engine.rl.policy import average, clipped_policy_loss_NT, value_loss

    made = subprocess.run([str(python), "-m", "tests.benchmarks.ppo_speed", "--side", "lines"], capture_output=True, text=True)
    if made.returncode:
        print(made.stderr)
        return False
    worst = 0.0
    for line in made.stdout.splitlines():
        if not line.startswith("{"):
            continue
        said = json.loads(line)
        whitened = said.pop("whiten")
        t = {name: torch.tensor(value) for name, value in said.items()}
        mask_NT = torch.ones(6, 9)
        rewards_NT = token_rewards(t["scores"], t["old"], t["reference"], mask_NT, kl_coef=0.07)
        if whitened:
            rewards_NT = whiten(rewards_NT, mask_NT, shift_mean=False)
        advantages_NT, returns_NT = gae(rewards_NT, t["values"], mask_NT, gamma=0.97, lam=0.9)
        advantages_NT = whiten(advantages_NT, mask_NT)
        new, now = t["new"].requires_grad_(), t["now"].requires_grad_()
        policy = average(clipped_policy_loss_NT(new, t["old"], advantages_NT, mask_NT)[0], mask_NT, "token")
        value = value_loss(now, t["values"], returns_NT, mask_NT)
        loss = policy + 0.3 * value
        loss.backward()
        ours = {"rewards": rewards_NT, "advantages": advantages_NT, "returns": returns_NT, "policy": policy, "value": value, "loss": loss,
                "grad_new": new.grad, "grad_now": now.grad}
        apart = {name: (x.detach() - t[name]).abs().max().item() for name, x in ours.items()}
        print(f"rewards {'whitened' if whitened else 'plain'}: " + ", ".join(f"{name} {far:.1e}" for name, far in apart.items()))
        worst = max(worst, *apart.values())
    print(f"largest difference to TRL {TRL}'s own lines: {worst:.1e}")
    return worst < 1e-5


# ------------------------------------------------------------------------------------------------------------------ taking turns


def compare(python, size, varied, rounds):
    """{side: seconds of a round}: processes start one after the other, then take turns."""
    sides = {**dict.fromkeys(OURS, sys.executable), **(dict.fromkeys(THEIRS, str(python)) if python else {})}
    commands = {side: [interpreter, "-m", "tests.benchmarks.ppo_speed", "--side", side, "--sizes", size, "--lengths",
                       "varied" if varied else "limit"] for side, interpreter in sides.items()}
    done = take_turns(commands, rounds, 1, OMP_WAIT_POLICY="PASSIVE")
    lengths = [told for told, _ in done.get("ours", [])]
    print(f"  ours answered with {sum(lengths) / max(1, len(lengths)):.1f} tokens on average")
    return {side: sum(seconds for _, seconds in steps) / len(steps) for side, steps in done.items()}


def run_side(side, size, varied):
    if side == "lines":
        return their_lines()
    import torch
    torch.set_num_threads(threads())
    torch.manual_seed(0)
    if side in OURS:
        return ours(size, varied, **OURS[side])
    return theirs(size, varied, **THEIRS[side])


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--sizes", nargs="+", choices=tuple(SIZES), default=list(SIZES))
    parser.add_argument("--lengths", nargs="+", choices=("limit", "varied"), default=["limit", "varied"])
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.side:
        run_side(asked.side, asked.sizes[0], asked.lengths[0] == "varied")
        return 0
    python = environment()
    if asked.check:
        return 0 if python and check(python) else 1
    if not python:
        return 1
    print(f"{ANSWERS} answers a round of up to {LONGEST} tokens to prompts of {PROMPTS[0]} to {PROMPTS[1] - 1}, {PASSES} passes, "
          f"{threads()} threads")
    good = True
    for size in asked.sizes:
        for lengths in asked.lengths:
            print(f"{size}, {'lengths vary' if lengths == 'varied' else 'all to the limit'}", flush=True)
            seconds = compare(python, size, lengths == "varied", asked.rounds)
            for side, taken in seconds.items():
                print(f"  {side:24} {taken:7.2f} s a round")
            best = min(seconds[side] for side in THEIRS if side in seconds)
            ratio = best / seconds["ours"]
            good &= ratio >= WANTED
            alike = "".join(f"; {side} {best / seconds[side]:.2f}" for side in OURS if side != "ours" and side in seconds)
            print(f"  ratio to the best {ratio:.2f} (wanted {WANTED:.2f}){alike}", flush=True)
    print("holds" if good else "DOES NOT HOLD")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
