"""A reward model: a decoder with a head that gives one number for a conversation, read at the last token of its answer (Stiennon et al.,
2020, arXiv 2009.01325). The number means nothing by itself, only what it is more or less than.

    folder/
      config.json model.safetensors tokenizer.json   the decoder, as any model's folder (or adapter.json in place of the weights)
      head.safetensors                               the head's row of weights, float32
      reward.json                                    RewardFacts; absent in checkpoints

What this file does not do: texts (scorer.py), losses (engine/rl/preferences.py), training.

Shapes: B rows, T tokens, C hidden size, N answers.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.contract.errors import FormatError, Mismatch, NotFound
from engine.contract.words import tr
from engine.model.attention import Documents
from engine.model.checkpoint import load_model, load_tensors, save_weights
from engine.model.decoder import Decoder, seeded_generator
from engine.model.tensor_files import save_tensors
from engine.project.files import read_json, write_json

HEAD = "head.safetensors"
REWARD = "reward.json"


class RewardHead(nn.Module):
    """A row of weights, float32, without a bias: adding a number to all rewards changes nothing. Drawn from Normal(0, 0.02), as the
    decoder's matrices are."""

    def __init__(self, hidden_size: int, seed: int = 0, device: torch.device | str = "cpu") -> None:
        super().__init__()
        drawn = torch.empty(1, hidden_size, device="cpu").normal_(0.0, 0.02, generator=seeded_generator(seed, "reward.head"))
        self.weight = nn.Parameter(drawn.to(device))

    def forward(self, hidden_NC: Tensor) -> Tensor:
        """rewards_N, float32 whatever the hidden states are."""
        return F.linear(hidden_NC.float(), self.weight).squeeze(-1)


class RewardModel(nn.Module):
    """`decoder` and `head` side by side: what forward and backward go through when a reward model is trained."""

    def __init__(self, decoder: Decoder, head: RewardHead) -> None:
        super().__init__()
        self.decoder, self.head = decoder, head

    @property
    def device(self) -> torch.device:
        return self.decoder.device

    def forward(self, tokens_BT: Tensor, ends_N: Tensor, documents: Sequence[Sequence[int]] | Documents | None = None) -> Tensor:
        """rewards_N, float32.

        ends_N     where each answer's last token stands in the flattened rows: row * T + place. Without documents and with one answer a
                   row that is torch.arange(B) * T + length - 1; what stands behind an end is not seen
        documents  how the rows are cut into conversations, which do not see one another
        """
        return self.head(self.hidden(tokens_BT, ends_N, documents))

    scores = forward

    def hidden(self, tokens_BT: Tensor, ends_N: Tensor, documents: Sequence[Sequence[int]] | Documents | None = None) -> Tensor:
        """hidden_NC: what the head reads."""
        if documents is not None and not isinstance(documents, Documents):
            documents = Documents.of(documents, tokens_BT.shape[1], tokens_BT.device)
        positions = None if documents is None else documents.positions_BT
        hidden_BTC = self.decoder(tokens_BT, document_lengths=documents, positions=positions)
        return hidden_BTC.flatten(0, 1)[ends_N]


@dataclass(frozen=True)
class RewardFacts:
    """What must be known to use a reward model.

    mean, std    of the rewards of the answers it was trained on: (reward - mean) / std is about one unit wide on answers like them
    template     where the chat template in the folder comes from: "own", "asked", "known" or "plain" (engine/text/templates.py)
    system       system prompt that went before conversations that have none
    max_seq_len  tokens of the longest conversation it was trained on
    """

    mean: float = 0.0
    std: float = 1.0
    template: str = "own"
    system: str = ""
    max_seq_len: int = 0


def save_reward(folder: Path, model: RewardModel, facts: RewardFacts) -> None:
    """Config, weights, head and facts into an existing folder; the tokenizer is the caller's. Raises DiskFull."""
    save_weights(folder, model.decoder)
    save_head(folder, model.head)
    save_facts(folder, facts)


def save_head(folder: Path, head: nn.Module) -> None:
    save_tensors(Path(folder) / HEAD, dict(head.state_dict()))


def save_facts(folder: Path, facts: RewardFacts) -> None:
    write_json(Path(folder) / REWARD, asdict(facts))


def load_head(folder: Path, hidden_size: int, device: torch.device | str = "cpu") -> RewardHead:
    """Raises NotFound (no reward model), Corrupt, Mismatch."""
    path = Path(folder) / HEAD
    if not path.is_file():
        raise NotFound(tr("{folder} holds no reward model: {file} is missing.", folder=path.parent.name, file=HEAD),
                       tr("Choose a reward model."), code="no_reward_model")
    tensors = load_tensors(path)
    head = RewardHead(hidden_size, device=device)
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if found != {"weight": (1, hidden_size)}:
        raise Mismatch(tr("{file} does not fit the model beside it: it holds {found}.", file=HEAD,
                          found=", ".join(f"{name} {' × '.join(map(str, shape))}" for name, shape in found.items()) or "-"),
                       tr("Train the reward model again, or restore its folder."))
    with torch.no_grad():
        head.weight.copy_(tensors["weight"])
    return head


def read_facts(folder: Path) -> RewardFacts | None:
    """None where the folder has none: a checkpoint of a run. Raises FormatError."""
    path = Path(folder) / REWARD
    if not path.is_file():
        return None
    raw: Any = read_json(path)
    try:
        made = RewardFacts(**{name: raw[name] for name in RewardFacts.__dataclass_fields__ if name in raw})
        return RewardFacts(float(made.mean), float(made.std), str(made.template), str(made.system), int(made.max_seq_len))
    except (TypeError, ValueError, KeyError):
        raise FormatError(tr("{file} cannot be read.", file=REWARD), tr("Train the reward model again, or restore its folder.")) from None


def load_reward(folder: Path, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> RewardModel:
    """The reward model of a folder, or of a checkpoint of its run (an adapter is added to its base), in evaluation mode. The head stays in
    float32. Raises what load_model and load_head raise."""
    decoder = load_model(folder, device, dtype)
    return RewardModel(decoder, load_head(folder, decoder.config.hidden_size, device)).eval()
