"""How much a PPO run trains and what stands in memory beside the policy, before anything is made. No torch; the rest of the plan is
engine/training/tuning_plan.py's.

Learning rate: a sixth of what fine-tuning takes for this model (2e-4 at a width of 160, measured on the demo): rewards are noisy, and each
answer is learned from more than once.

Memory, the four models of PPO: the policy is counted like any trained model. With LoRA the reference is the policy without its adapter,
else a frozen copy in the dtype of the arithmetic; the reward model's weights; the value head costs nothing, a value model of its own as
much as a trained model. Keys and values of answers under way take the place that activations have while learning.
"""

from engine.contract.errors import SettingError
from engine.contract.machine import DeviceFacts
from engine.contract.words import tr
from engine.model import memory
from engine.model.config import ModelConfig
from engine.rl import costs
from engine.stages.ppo.spec import PpoSpec
from engine.training.tuning_plan import Load, learning_rate

RATE_SHARE = 1 / 6
EVALUATIONS = 5


def settled(spec: PpoSpec, config: ModelConfig) -> PpoSpec:
    """The spec with what this stage decides by itself. Nothing is compiled: answers differ in length in every round."""
    stride = spec.ppo_epochs * spec.minibatches
    every = stride * max(1, round(spec.rollouts / EVALUATIONS))
    return spec.model_copy(update={
        "compile": "off", "learning_rate": spec.learning_rate or RATE_SHARE * learning_rate(spec.method, config.hidden_size),
        "eval_every": every if spec.eval_every is None else spec.eval_every,
        "sample_every": every if spec.sample_every is None else spec.sample_every})


def load_of(spec: PpoSpec, config: ModelConfig, reward: ModelConfig, device: DeviceFacts, *, prompts: int, mean_prompt: float,
            longest_prompt: int, world_size: int = 1) -> Load:
    """What the plan starts from. Answers are taken to be half as long as they may be. SettingError where the processes cannot share a
    batch."""
    batch = spec.batch_size // spec.minibatches
    if batch < world_size:
        raise SettingError(tr("{batch} answers an update are too few for {count} processes.", batch=batch, count=world_size),
                           tr("Choose more answers a round, or fewer updates a pass."), field="batch_size")
    longest = min(config.max_seq_len, longest_prompt + spec.max_new_tokens)
    mean = min(float(config.max_seq_len), mean_prompt + spec.max_new_tokens / 2)
    stride = spec.ppo_epochs * spec.minibatches
    return Load(steps=spec.rollouts * stride, batch=batch, units=batch, seq_len=longest, tokens_per_step=batch * mean,
                epochs=spec.rollouts * spec.batch_size / max(1, prompts), unit="answers",
                beside=beside(spec, config, reward, device, batch=batch, longest=longest),
                aside=aside(spec, config, reward, device, mean=mean) / stride)


def beside(spec: PpoSpec, config: ModelConfig, reward: ModelConfig, device: DeviceFacts, *, batch: int, longest: int) -> int:
    """Bytes of the models beside the policy: reference, reward model, a value model of its own."""
    dtype = device.dtype if spec.dtype == "auto" else spec.dtype
    held = memory.weights(reward, dtype)
    if spec.method == "full":
        held += memory.weights(config, dtype)
    if spec.value == "separate":
        method = memory.Method.of(spec)
        kept = memory.training(reward, micro_batch_size=spec.micro_batch_size or 1, seq_len=longest, dtype=dtype, device=device.kind,
                               method=memory.Method(method.name if method.name != "qlora" else "lora", method.rank, method.targets))
        held += kept.total - kept.logits
    return held + costs.cache_beside(config, device, answers=spec.batch_size, learned=min(batch, spec.micro_batch_size or batch),
                                     longest=longest, dtype=dtype, method=memory.Method.of(spec))


def aside(spec: PpoSpec, config: ModelConfig, reward: ModelConfig, device: DeviceFacts, *, mean: float) -> float:
    """Seconds of a round before its first update: sampling token by token, then one pass each of policy, reference and reward model."""
    dtype = device.dtype if spec.dtype == "auto" else spec.dtype
    tokens = spec.batch_size * mean
    policy, judge = (costs.reading_seconds(one, device, tokens=tokens, length=mean, dtype=dtype) for one in (config, reward))
    return 3 * policy + judge + costs.sampling_seconds(config, device, answers=spec.batch_size, new_tokens=spec.max_new_tokens, dtype=dtype)
