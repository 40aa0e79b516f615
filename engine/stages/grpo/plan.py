"""How much a GRPO run trains and what stands in memory beside the policy, before anything is made. No torch; the rest of the plan is
engine/training/tuning_plan.py's.

Learning rate: a quarter of what fine-tuning takes for this model (3e-4 at a width of 160, measured on sums of the demo: three times that
collapses).

Memory: the policy is counted like any trained model. A reference stands beside it only where the KL coefficient is not 0, and with LoRA it
is the policy without its adapter. A reward model that verifies stands there, too. Keys and values of answers under way take the place that
activations have while learning.
"""

from engine.contract.errors import SettingError
from engine.contract.machine import DeviceFacts
from engine.contract.words import tr
from engine.model import memory
from engine.model.config import ModelConfig
from engine.rl import costs
from engine.stages.grpo.spec import GrpoSpec
from engine.training.tuning_plan import Load, learning_rate

RATE_SHARE = 1 / 4
EVALUATIONS = 5


def settled(spec: GrpoSpec, config: ModelConfig) -> GrpoSpec:
    """The spec with what this stage decides by itself, and with its preset's values. Nothing is compiled: answers differ in length in
    every round."""
    spec = spec.filled()
    every = spec.stride * max(1, round(spec.rollouts / EVALUATIONS))
    return spec.model_copy(update={
        "compile": "off", "learning_rate": spec.learning_rate or RATE_SHARE * learning_rate(spec.method, config.hidden_size),
        "eval_every": every if spec.eval_every is None else spec.eval_every,
        "sample_every": every if spec.sample_every is None else spec.sample_every})


def load_of(spec: GrpoSpec, config: ModelConfig, device: DeviceFacts, *, prompts: int, mean_prompt: float, longest_prompt: int,
            world_size: int = 1, verifier_bytes: int = 0) -> Load:
    """What the plan starts from; `spec` is settled. Answers are taken to be half as long as they may be.
    `verifier_bytes`: what reward models of the verifier hold on the device. SettingError where the processes
    cannot share a round."""
    if spec.prompts // spec.minibatches < world_size:
        raise SettingError(tr("{batch} groups an update are too few for {count} processes.", batch=spec.prompts // spec.minibatches,
                              count=world_size), tr("Choose more problems a round, or fewer updates a pass."), field="prompts")
    batch = spec.answers // spec.minibatches
    longest = min(config.max_seq_len, longest_prompt + spec.max_new_tokens)
    mean = min(float(config.max_seq_len), mean_prompt + spec.max_new_tokens / 2)
    return Load(steps=spec.rollouts * spec.stride, batch=batch, units=batch, seq_len=longest, tokens_per_step=batch * mean,
                epochs=spec.rollouts * spec.prompts / max(1, prompts), unit="answers",
                beside=beside(spec, config, device, batch=batch, longest=longest) + verifier_bytes,
                aside=aside(spec, config, device, mean=mean) / spec.stride)


def beside(spec: GrpoSpec, config: ModelConfig, device: DeviceFacts, *, batch: int, longest: int) -> int:
    """Bytes of what stands beside the policy: the reference, and answers under way."""
    dtype = device.dtype if spec.dtype == "auto" else spec.dtype
    held = memory.weights(config, dtype) if spec.beta and spec.method == "full" else 0
    return held + costs.cache_beside(config, device, answers=spec.answers, learned=min(batch, spec.micro_batch_size or batch),
                                     longest=longest, dtype=dtype, method=memory.Method.of(spec))


def aside(spec: GrpoSpec, config: ModelConfig, device: DeviceFacts, *, mean: float) -> float:
    """Seconds of a round before its first update: sampling token by token, and a pass of the reference where there is one. Groups that are
    tried again because nothing can be learned from the first are not foreseen."""
    dtype = device.dtype if spec.dtype == "auto" else spec.dtype
    reading = costs.reading_seconds(config, device, tokens=spec.answers * mean, length=mean, dtype=dtype)
    passes = 1 + bool(spec.beta)
    return passes * reading + costs.sampling_seconds(config, device, answers=spec.answers, new_tokens=spec.max_new_tokens, dtype=dtype)
