"""Answers that a policy samples to be trained on: sampling, what each token's probability was under the policy and under the reference, and
how answers are laid out as batches. For PPO and GRPO alike; rewards, advantages and losses are the caller's matter.

Log-probabilities that enter a loss are computed by the module that is trained, in the layout it is trained in: the sampler reads token by
token, and its rounding (in bfloat16) differs. By how much is measured (`gap`).

On a CPU, and on CUDA in half precision, answers lie end to end in one row, blind to one another, with no padding, and those to one prompt
share it: it stands and is computed once (engine/model/forks.py). Elsewhere one a row. What is read at a time is sorted by length. Memory
that runs out halves it.

Shapes: N answers, T tokens of the longest answer; A answer tokens of a batch, one answer after the other; a batch has B rows of T
positions.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from engine.contract.errors import OutOfMemory
from engine.contract.rows import Message
from engine.contract.words import tr
from engine.model import lora
from engine.model.attention import Documents
from engine.model.decoder import Decoder
from engine.model.length_batches import in_order
from engine.rl.value_head import PolicyAndValue, Reading
from engine.sampling.batch import Choice
from engine.sampling.generate import generate
from engine.sampling.sampling import Sampling
from engine.text.tokenizer import Tokenizer
from engine.training import answer_logprobs

READ_AT_ONCE = {"cpu": 8192, "cuda": 65_536, "mps": 16_384}
"""Tokens read at a time without gradients."""
CACHE_SHARE = 1 << 31
"""Bytes of keys and values that completions under way may take together."""
MOST_ROWS = 256
GAP_LIMIT = 0.05
"""Nats a token by which sampler and trainer may differ on average before something is done about it, or said."""
T = TypeVar("T")


@dataclass(frozen=True)
class Question:
    """A prompt to be answered: `ids` up to where the answer begins; `key` a hash of what is asked (examples.prompt_key). `answer`: the
    known one, and `facts` what else a verifier wants."""

    messages: tuple[Message, ...]
    ids: tuple[int, ...]
    key: int = 0
    answer: Any = field(default="", compare=False)
    facts: dict[str, Any] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Answer:
    """What the policy wrote: `ids` with the stop id, if one ended it; `text` for people and scorers; `sampled` the sampler's
    log-probability of each token. `finish` "stop" or "length"."""

    question: Question
    ids: tuple[int, ...]
    text: str
    finish: str
    sampled: tuple[float, ...]

    @property
    def ended(self) -> bool:
        return self.finish == "stop"

    @property
    def conversation(self) -> tuple[Message, ...]:
        return (*self.question.messages, Message(role="assistant", content=self.text))


class Scores(Protocol):
    """What gives each answer a number: a reward model's Scorer, or anything else."""

    def score(self, conversations: Sequence[tuple[Message, ...]]) -> list[float]: ...


class Order:
    """Which questions a round asks: each once before any comes again, in an order shuffled anew each time. Round and seed decide alone."""

    def __init__(self, count: int, seed: int) -> None:
        assert count > 0
        self.count, self.seed = count, seed
        self._kept: tuple[int, np.ndarray] | None = None

    def numbers(self, round: int, size: int) -> list[int]:
        """`size` of them for a round; over all ranks."""
        return self.between(round * size, size)

    def between(self, first: int, size: int) -> list[int]:
        """`size` of them, after so many."""
        made = []
        for at in range(first, first + size):
            epoch, place = divmod(at, self.count)
            if self._kept is None or self._kept[0] != epoch:
                self._kept = epoch, np.random.default_rng([self.seed, 31, epoch]).permutation(self.count)
            made.append(int(self._kept[1][place]))
        return made


def seeds(seed: int, name: str, round: int, places: Sequence[int]) -> list[int]:
    """One for each completion: from the run's seed, what it is for, the round and its place in it, so that a round can be sampled again."""
    return [int.from_bytes(hashlib.sha256(f"{seed}/{name}/{round}/{place}".encode()).digest()[:7], "big") for place in places]


# ------------------------------------------------------------------------------------------------------------------ sampling


def ask(decoder: Decoder, tokenizer: Tokenizer, questions: Sequence[Question], sampling: Sampling, *, seeds: Sequence[int],
        generations: int = 1, finished: Callable[[int, str], None] | None = None) -> list[Answer]:
    """`generations` answers to each question, those of a question side by side; a prompt is read once however often it is asked. Raises
    InputError (a prompt that leaves no room), NonFinite, OutOfMemory.

    finished   told of each answer as soon as it is whole, by its place in the result and its text, while others are being written; of all
               of them again where memory ran out on the way
    """
    special = set(tokenizer.special.values())
    prompts = [question.ids for question in questions]

    def words(ids: Sequence[int]) -> str:
        return tokenizer.decode([id for id in ids if id not in special]).strip()

    def watch(choices: list[Choice]) -> None:
        assert finished is not None
        for choice in choices:
            if choice.finish_reason:
                finished(choice.row.tag, words(choice.row.ids))

    with _weights_as_computed(decoder):
        rows = _rows_at_once(decoder, max(map(len, prompts), default=1) + sampling.max_new_tokens)
        made = _halving(min(rows, len(prompts) * generations), decoder.device, lambda most: generate(
            decoder, prompts, sampling, num_generations=generations, seeds=seeds, max_rows=most, on_step=watch if finished else None))
    return [Answer(questions[place // generations], tuple(one.ids), words(one.ids), one.finish_reason, tuple(one.logprobs))
            for place, one in enumerate(made)]


def _rows_at_once(decoder: Decoder, columns: int) -> int:
    c = decoder.config
    size = 4 if (decoder.compute_dtype or decoder.embed.weight.dtype) == torch.float32 else 2
    a_row = 2 * c.num_layers * c.num_kv_heads * c.head_dim * min(columns, c.max_seq_len) * size
    return max(8, min(MOST_ROWS, CACHE_SHARE // max(1, a_row)))


@contextmanager
def _weights_as_computed(decoder: Decoder) -> Iterator[None]:
    """Weights in the dtype of the arithmetic for the length of a `with`: they would be cast there for each token anew, to the same
    numbers. Takes memory that activations have while learning."""
    dtype = decoder.compute_dtype
    held = [(p, p.data) for p in decoder.parameters() if dtype is not None and p.dtype == torch.float32]
    try:
        for parameter, data in held:
            parameter.data = data.to(dtype)
        yield
    finally:
        for parameter, data in held:
            parameter.data = data


def _halving(size: int, device: torch.device, work: Callable[[int], T]) -> T:
    """`work(size)`, with half the size where memory runs out, down to one. Raises OutOfMemory."""
    while True:
        try:
            return work(size)
        except RuntimeError as wrong:  # Metal says it in a plain RuntimeError
            if not (isinstance(wrong, torch.OutOfMemoryError) or "out of memory" in str(wrong)):
                raise
        if size == 1:
            raise OutOfMemory(tr("{device} has too little memory for a single answer.", device=str(device)),
                              tr("Choose shorter answers, a smaller model, or LoRA."))
        size //= 2
        if device.type == "cuda":
            torch.cuda.empty_cache()
        elif device.type == "mps":
            torch.mps.empty_cache()


# ------------------------------------------------------------------------------------------------------------------ batches


@dataclass(frozen=True)
class AnswerBatch:
    """Answers with their prompts, as the model reads them. `at_A`: the place in the flattened rows that predicts each answer token;
    `answers_A` the tokens; `numbers`: which answers, in this order. `weight` counts answer tokens."""

    tokens_BT: Tensor
    documents: Documents
    at_A: Tensor
    answers_A: Tensor
    numbers: tuple[int, ...]
    lengths: tuple[int, ...]
    real: int

    @property
    def weight(self) -> float:
        return float(len(self.answers_A))

    @property
    def tokens(self) -> int:
        return self.real

    def to(self, device: torch.device) -> "AnswerBatch":
        if device.type == "cpu":
            return self
        return replace(self, tokens_BT=self.tokens_BT.to(device), documents=self.documents.to(device), at_A=self.at_A.to(device),
                       answers_A=self.answers_A.to(device))


def lay(answers: Sequence[Answer], numbers: Sequence[int], flat: bool) -> AnswerBatch:
    """The answers with these numbers as one batch: end to end in one row (`flat`), those to one prompt behind it where its first one
    stands; or one a row."""
    if flat:
        asked: dict[tuple[int, ...], list[int]] = {}
        for n in numbers:
            asked.setdefault(answers[n].question.ids, []).append(n)
        made = answer_logprobs.lay([
            answer_logprobs.Part(np.array(prompt, np.int64), tuple(np.array(answers[n].ids, np.int64) for n in some),
                                 (len(prompt),) * len(some)) for prompt, some in asked.items()])
        order = tuple(n for some in asked.values() for n in some)
        return AnswerBatch(made.tokens_BT, made.documents, made.places_A, made.targets_A, order, tuple(len(answers[n].ids) for n in order),
                           made.tokens)
    sizes = [len(answers[n].question.ids) + len(answers[n].ids) - 1 for n in numbers]
    width = max(sizes)
    pieces, at, targets = [], [], []
    for row, n in enumerate(numbers):
        prompt, written = answers[n].question.ids, answers[n].ids
        ids = np.array((*prompt, *written), np.int64)
        at.append(row * width + np.arange(len(prompt) - 1, len(ids) - 1))
        targets.append(ids[len(prompt):])
        pieces.append(np.pad(ids[:-1], (0, width - len(ids) + 1)))
    return AnswerBatch(torch.from_numpy(np.stack(pieces)), Documents.of([[size] for size in sizes], width),
                       torch.from_numpy(np.concatenate(at)), torch.from_numpy(np.concatenate(targets)), tuple(numbers),
                       tuple(len(answers[n].ids) for n in numbers), sum(sizes))


def lies_flat(decoder: Decoder) -> bool:
    """Whether attention is cheap for answers end to end here (engine/model/attention.py); else each takes a row."""
    half = (decoder.compute_dtype or decoder.embed.weight.dtype) != torch.float32
    return decoder.device.type == "cpu" or (decoder.device.type == "cuda" and half)


def by_length(answers: Sequence[Answer], numbers: Sequence[int], together: bool = False) -> list[int]:
    """Longest first, so that what needs most memory comes first; ties in their order. `together`: answers to one prompt side by side, at
    the place of the longest of them."""
    def size(n: int) -> int:
        return len(answers[n].question.ids) + len(answers[n].ids)

    longest: dict[tuple[int, ...], tuple[int, int]] = {}
    if together:
        for place, n in enumerate(numbers):
            before = longest.get(answers[n].question.ids)
            longest[answers[n].question.ids] = (max(size(n), before[0]), before[1]) if before else (size(n), place)
        return sorted(numbers, key=lambda n: (-longest[answers[n].question.ids][0], longest[answers[n].question.ids][1], -size(n)))
    return sorted(numbers, key=lambda n: -size(n))


def micro_batches(answers: Sequence[Answer], numbers: Sequence[int], size: int, flat: bool) -> list[AnswerBatch]:
    """The answers with these numbers in batches of neighbours in length; of a prompt where that is shared."""
    ordered = by_length(answers, numbers, together=flat)
    return [lay(answers, ordered[at:at + size], flat) for at in range(0, len(ordered), size)]


# ------------------------------------------------------------------------------------------------------------------ reading


@dataclass(frozen=True)
class Read:
    """What one pass over all answers found, 0 behind each answer's end, float32 on the CPU. `values_NT` None without a value head."""

    logprobs_NT: Tensor
    entropy_NT: Tensor
    values_NT: Tensor | None


def mask_of(answers: Sequence[Answer]) -> Tensor:
    """mask_NT float32: 1.0 at tokens of the answers."""
    lengths_N = torch.tensor([len(a.ids) for a in answers])
    return (torch.arange(int(lengths_N.max())) < lengths_N[:, None]).float()


def sampled_of(answers: Sequence[Answer]) -> Tensor:
    """sampled_NT: the sampler's own log-probabilities."""
    return torch.nn.utils.rnn.pad_sequence([torch.tensor(a.sampled) for a in answers], batch_first=True)


@torch.no_grad()
def read(module: PolicyAndValue, answers: Sequence[Answer]) -> Read:
    """Log-probabilities, entropies and values of all answers by the module that is trained, in evaluation mode. Raises OutOfMemory."""
    was_training = module.training
    module.eval()
    try:
        made = _halving(READ_AT_ONCE[module.decoder.device.type], module.decoder.device, lambda most: _read(module, answers, most))
    finally:
        module.train(was_training)
    return made


def _read(module: PolicyAndValue, answers: Sequence[Answer], most: int) -> Read:
    shape = len(answers), max(len(a.ids) for a in answers)
    logprobs, entropy, values = torch.zeros(shape), torch.zeros(shape), torch.zeros(shape)
    valued, flat = False, lies_flat(module.decoder)
    for numbers in _some(answers, most, flat):
        batch = lay(answers, numbers, flat).to(module.decoder.device)
        found: Reading = module(batch)
        valued = found.values_A is not None
        for whole_NT, part_A in ((logprobs, found.logprobs_A), (entropy, found.entropy_A), (values, found.values_A)):
            if part_A is not None:
                for n, piece in zip(batch.numbers, part_A.float().cpu().split(batch.lengths), strict=True):
                    whole_NT[n, :len(piece)] = piece
    return Read(logprobs, entropy, values if valued else None)


def _some(answers: Sequence[Answer], most: int, flat: bool) -> Iterator[list[int]]:
    """Neighbours in length, about `most` tokens together."""
    sizes = [len(a.question.ids) + len(a.ids) for a in answers]
    return in_order(sizes, by_length(answers, range(len(answers)), together=flat), most)


class Reference:
    """The model that the policy is held near to: with adapters the base without them, which costs no memory, else a frozen copy in the
    dtype of the arithmetic."""

    def __init__(self, policy: Decoder, copy: Decoder | None = None, *, temperature: float = 1.0) -> None:
        assert copy is not None or lora.has_lora(policy), "a policy without adapters needs a frozen copy"
        self.shared = copy is None
        decoder = policy if copy is None else copy.eval().requires_grad_(False)
        self.module = PolicyAndValue(decoder, temperature=temperature)

    def logprobs(self, answers: Sequence[Answer]) -> Tensor:
        """reference_NT"""
        if not self.shared:
            return read(self.module, answers).logprobs_NT
        with lora.without_lora(self.module):
            return read(self.module, answers).logprobs_NT


@dataclass(frozen=True)
class Gap:
    """How far the sampler's log-probabilities lie from the trainer's, in nats a token: mean and largest."""

    mean: float
    most: float


def gap(sampled_NT: Tensor, logprobs_NT: Tensor, mask_NT: Tensor) -> Gap:
    apart_NT = (sampled_NT - logprobs_NT).abs() * mask_NT
    return Gap((apart_NT.sum() / mask_NT.sum()).item(), apart_NT.max().item())


def flat_of(values_NT: Tensor, batch: AnswerBatch) -> Tensor:
    """values_A: what a batch needs of a table of all answers, on the batch's device."""
    pieces = [values_NT[n, :length] for n, length in zip(batch.numbers, batch.lengths, strict=True)]
    return torch.cat(pieces).to(batch.at_A.device)
