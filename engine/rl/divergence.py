"""How far a tuned policy has moved from the model it started from, measured on what it writes: the mean over its own sampled answers of
log(policy / reference), in nats an answer, with its standard error. Unlike an estimate on given answers it misses nothing the policy now
says.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.model import lora
from engine.model.checkpoint import load_model
from engine.model.decoder import Decoder
from engine.rl import rollouts
from engine.rl.rollouts import Question, Reference
from engine.rl.value_head import PolicyAndValue
from engine.sampling.sampling import Sampling
from engine.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Divergence:
    """Nats an answer with the standard error of the mean; tokens an answer."""

    kl: float
    error: float
    length: float
    answers: int


def sampled_divergence(policy: Decoder, start: Path, tokenizer: Tokenizer, questions: Sequence[Question], sampling: Sampling,
                       seed: int) -> Divergence | None:
    """Over one sampled answer to each question. `start`: the folder of the model it is held against (with adapters the base under them is,
    and nothing is loaded). None without questions. Raises OutOfMemory, NonFinite."""
    if not questions:
        return None
    dtype = policy.compute_dtype or next(policy.parameters()).dtype
    copy = None if lora.has_lora(policy) else load_model(start, policy.device, dtype)
    reference = Reference(policy, copy, temperature=sampling.temperature)
    answers = rollouts.ask(policy, tokenizer, questions, sampling, seeds=rollouts.seeds(seed, "divergence", 0, range(len(questions))))
    mask_NT = rollouts.mask_of(answers)
    mine_NT = rollouts.read(PolicyAndValue(policy, temperature=sampling.temperature), answers).logprobs_NT
    apart_N = ((mine_NT - reference.logprobs(answers)) * mask_NT).sum(1)
    count = len(answers)
    error = apart_N.std().item() / math.sqrt(count) if count > 1 else 0.0
    return Divergence(apart_N.mean().item(), error, mask_NT.sum().item() / count, count)
