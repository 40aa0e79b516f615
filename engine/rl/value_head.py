"""What PPO trains beside the policy: a value of each token's state, from a head on the policy's own hidden states or from a model of its
own. And the module that forward and backward go through: policy and value in one call. No losses, no sampling.

Shapes: A answer tokens of a batch, C hidden size.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from engine.model.decoder import Decoder
from engine.model.loss import logprobs_and_entropy

REACH = 30.0
"""Adam moves each weight by about the learning rate, whatever its gradient. The head's weights are taken this many times, so that it learns
what a score is in a few rounds at a rate that is right for a policy trained whole (measured: the value loss of the last rounds is a third
of that with 1, the policy no worse). With LoRA's rates, ten times as high, a tenth of it."""


class ValueHead(nn.Module):
    """values_A, float32, of hidden states [A, C]: zero at first. `kl_coef` is the KL penalty's coefficient: it adapts as the run goes on,
    and is kept where the weights are."""

    def __init__(self, hidden_size: int, kl_coef: float = 0.0, *, reach: float = REACH) -> None:
        super().__init__()
        self.reach = reach
        self.weight = nn.Parameter(torch.zeros(hidden_size))
        self.bias = nn.Parameter(torch.zeros(1))
        self.register_buffer("kl_coef", torch.tensor(kl_coef, dtype=torch.float32))

    def forward(self, hidden_AC: Tensor) -> Tensor:
        return self.reach * (hidden_AC.float() @ self.weight + self.bias)


class ValueModel(ValueHead):
    """A decoder of its own under the head: it begins as the reward model's, reads the same tokens as the policy, and is trained whole, or
    by adapters where it has them; only what is trained is kept in checkpoints.

    weight_C, bias  of the reward model's head: then the first value of an answer's last state is its score
    """

    def __init__(self, decoder: Decoder, weight_C: Tensor | None = None, bias: float = 0.0, kl_coef: float = 0.0, *,
                 reach: float = REACH) -> None:
        super().__init__(decoder.config.hidden_size, kl_coef, reach=reach)
        self.decoder = decoder
        if weight_C is not None:
            with torch.no_grad():
                self.weight.copy_(weight_C.float() / reach)
                self.bias.fill_(bias / reach)

    def state_dict(self, *args: Any, **more: Any) -> dict[str, Any]:
        held, frozen = super().state_dict(*args, **more), {name for name, p in self.named_parameters() if not p.requires_grad}
        return {name: tensor for name, tensor in held.items() if name not in frozen}

    def load_state_dict(self, tensors: Any, strict: bool = True, assign: bool = False) -> Any:
        wanted = self.state_dict().keys()
        assert not strict or wanted == tensors.keys(), wanted ^ tensors.keys()
        return super().load_state_dict(tensors, strict=False, assign=assign)


@dataclass(frozen=True)
class Reading:
    """Of each answer token: log-probability, entropy in nats of the distribution it was drawn from, value of the state before it (None
    without a value head)."""

    logprobs_A: Tensor
    entropy_A: Tensor
    values_A: Tensor | None


class PolicyAndValue(nn.Module):
    """policy and value(batch) -> Reading. `batch` is an AnswerBatch (rollouts.py).

    Dropout stays off, as a ratio of probabilities needs it, but where activations are recomputed (the decoder does that in training only).
    """

    def __init__(self, decoder: Decoder, head: ValueHead | None = None, *, temperature: float = 1.0,
                 entropy_gradient: bool = False) -> None:
        super().__init__()
        self.decoder, self.head, self.temperature, self.entropy_gradient = decoder, head, temperature, entropy_gradient

    def train(self, mode: bool = True) -> "PolicyAndValue":
        super().train(mode)
        for module in self.modules():
            if isinstance(module, Decoder) and not module.activation_checkpointing:
                module.eval()
        return self

    def forward(self, batch: Any) -> Reading:
        hidden_AC = answer_states(self.decoder, batch)
        logprobs_A, entropy_A = logprobs_and_entropy(hidden_AC, self.decoder.head_weight_VC, batch.answers_A, temperature=self.temperature,
                                                     rows=self.decoder.head_rows, entropy_gradient=self.entropy_gradient)
        if self.head is None:
            return Reading(logprobs_A, entropy_A, None)
        if isinstance(self.head, ValueModel):
            hidden_AC = answer_states(self.head.decoder, batch)
        return Reading(logprobs_A, entropy_A, self.head(hidden_AC))


def answer_states(decoder: Decoder, batch: Any) -> Tensor:
    """hidden_AC of the states that each answer token is chosen in."""
    hidden_BTC = decoder(batch.tokens_BT, document_lengths=batch.documents, positions=batch.documents.positions_BT)
    return hidden_BTC.flatten(0, 1)[batch.at_A]
