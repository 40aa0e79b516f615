"""Rewards of conversations as text: what stages, the local server and evaluations ask a reward model. No training.

    scorer = Scorer(folder, "cpu")
    scorer.score([(*prompt, Message(role="assistant", content=answer)), ...])   # one reward each, in order

Conversations are sorted by length and laid end to end, so that nothing is padded; how they are put together changes no reward beyond
rounding.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from engine.contract.errors import InputError
from engine.contract.rows import Message
from engine.contract.words import tr
from engine.model.attention import Documents
from engine.model.length_batches import batched
from engine.model.reward_model import RewardFacts, RewardModel, load_reward, read_facts
from engine.text.answer_ids import fit_answers
from engine.text.tokenizer import Tokenizer

BATCH_TOKENS = 4096
"""Tokens that are read at once."""


class Scorer:
    """A reward model with its tokenizer and template.

    facts  mean and std of its rewards, see RewardFacts; those of a checkpoint are 0 and 1
    """

    def __init__(self, folder: Path, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> None:
        """Raises NotFound, FormatError, Corrupt, Mismatch."""
        self.model = load_reward(folder, device, dtype)
        self.tokenizer = Tokenizer.load(folder)
        self.facts = read_facts(folder) or RewardFacts()
        self.longest = min(self.facts.max_seq_len or self.model.decoder.config.max_seq_len, self.model.decoder.config.max_seq_len)

    @classmethod
    def of(cls, model: RewardModel, tokenizer: Tokenizer, facts: RewardFacts) -> "Scorer":
        """Of what is in memory already."""
        made = cls.__new__(cls)
        made.model, made.tokenizer, made.facts = model, tokenizer, facts
        made.longest = min(facts.max_seq_len or model.decoder.config.max_seq_len, model.decoder.config.max_seq_len)
        return made

    def score(self, conversations: Sequence[Sequence[Message]]) -> list[float]:
        """The reward of each conversation's last turn, which is the assistant's. What is longer than the model was trained on loses the
        oldest turns of its prompt, as in training; where the last two alone are too long, the beginning of them is not read.

        Raises InputError for a conversation that does not end with an answer, FormatError where the template refuses it.
        """
        return self.score_ids([self.ids(conversation) for conversation in conversations])

    def normalised(self, rewards: Sequence[float]) -> list[float]:
        """Less the mean, over the standard deviation, of the answers it was trained on."""
        return [(reward - self.facts.mean) / self.facts.std for reward in rewards]

    def ids(self, conversation: Sequence[Message]) -> np.ndarray:
        """A conversation as the model reads it, uint32, at most `longest`."""
        if not conversation or conversation[-1].role != "assistant":
            raise InputError(tr("There is no answer to score: the conversation does not end with one."),
                             tr("Give a conversation whose last turn is the assistant's."), code="no_answer")
        *prompt, answer = conversation
        (made,), _ = fit_answers(self.tokenizer, prompt, [answer.content], self.longest, system=self.facts.system)
        if made is None:
            raise InputError(tr("The chat template writes nothing of this answer."), tr("Give an answer that is not empty."),
                             code="no_answer")
        return made.ids[-self.longest:]

    @torch.no_grad()
    def score_ids(self, sequences: Sequence[np.ndarray]) -> list[float]:
        """Rewards of conversations in tokens of this model, each ending with its answer's last token and at most `longest` of them."""
        assert all(0 < len(ids) <= self.longest for ids in sequences)
        rewards = [0.0] * len(sequences)
        for numbers in batched([len(ids) for ids in sequences], range(len(sequences)), BATCH_TOKENS):
            tokens_BT, ends_N, documents = end_to_end([sequences[n] for n in numbers], self.model.device)
            scored = self.model(tokens_BT, ends_N, documents).tolist()
            for n, reward in zip(numbers, scored, strict=True):
                rewards[n] = reward
        return rewards


def end_to_end(sequences: Sequence[np.ndarray], device: torch.device | str = "cpu") -> tuple[torch.Tensor, torch.Tensor, Documents]:
    """One row of all of them: tokens_1T, where each ends, and their borders, as RewardModel takes them."""
    lengths = [len(ids) for ids in sequences]
    tokens_1T = torch.from_numpy(np.concatenate(sequences).astype(np.int64))[None]
    ends_N = torch.from_numpy(np.cumsum(lengths) - 1)
    return tokens_1T.to(device), ends_N.to(device), Documents.of([lengths], tokens_1T.shape[1], device)
