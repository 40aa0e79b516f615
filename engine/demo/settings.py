"""How large the demo's world and model are. Of the world: fixed, as measured. Of a
person's own text: by its size, this machine's speed and the time there is. No torch.
"""

import math
from dataclasses import dataclass

from engine.contract.errors import InputError
from engine.contract.machine import DeviceFacts
from engine.contract.units import size
from engine.contract.words import tr
from engine.stages.dpo.spec import DpoSpec
from engine.stages.grpo.spec import GrpoSpec
from engine.stages.ppo.spec import PpoSpec
from engine.stages.pretrain import dial
from engine.stages.pretrain.spec import PretrainSpec
from engine.stages.reward.spec import RewardSpec
from engine.stages.sft.spec import SftSpec

SMALLEST_TEXT = 20_000
"""Bytes of own text below which nothing can be learned from it."""
OWN_TEXT_CONTEXT = 192


@dataclass(frozen=True)
class Size:
    """What full and quick differ in. `text_bytes` and `people` are the world's; `seconds` is what pretraining may take on two cores."""

    seconds: float
    vocab_size: int
    people: int = 0
    text_bytes: int = 0


FULL = Size(seconds=220, vocab_size=1200, people=64, text_bytes=9_700_000)
QUICK = Size(seconds=75, vocab_size=1000, people=24, text_bytes=5_000_000)


def world_spec(quick: bool) -> PretrainSpec:
    """Pretraining on the world. Few steps with a small batch, Muon, and a linear decay over the last half: measured best in this time.
    Nothing is compiled: starting that up costs more than it saves here."""
    full = PretrainSpec(
        depth=4, width=160, num_heads=4, intermediate_size=448, max_seq_len=128, tie_embeddings=True, steps=700, tokens_per_step=32 * 128,
        learning_rate=4e-3, matrix_learning_rate=0.02, decay="linear", decay_share=0.5, compile="off", eval_every=200, eval_tokens=16_000,
        sample_every=400, sample_tokens=40, sample_temperature=0.7, checkpoint_every_steps=200, checkpoint_every_minutes=2.0)
    if not quick:
        return full
    return full.model_copy(update={"width": 128, "intermediate_size": 384, "tokens_per_step": 16 * 128, "steps": 640, "eval_every": 160,
                                   "sample_every": 320, "checkpoint_every_steps": 160})


def sft_spec(quick: bool) -> SftSpec:
    """Fine-tuning on the world's questions: every layer is trained, with documents of the corpus in every step. Replay is what makes it:
    without it the people who are asked about are learned by heart, and those who are not are forgotten (measured: 56 % instead of over
    80 %). The table of tokens stays as it is, or names that no answer begins with become ever less likely: with few people in a world
    that decides (measured in one of 24: 46 % of the questions about held-out people instead of 83 %)."""
    full = SftSpec(learning_rate=1.2e-3, batch_size=32, replay_documents=8, epochs=5.0, freeze_embeddings=True, validation_percent=2.0,
                   keep_best=False, compile="off", eval_every=0, checkpoint_every_steps=50, checkpoint_every_minutes=2.0,
                   sample_every=0, sample_tokens=24)
    if not quick:
        return full
    return full.model_copy(update={"learning_rate": 8e-4, "batch_size": 16, "replay_documents": 10, "epochs": 10.0,
                                   "checkpoint_every_steps": 100})


def sums(quick: bool) -> tuple[int, float]:
    """(how many sums fine-tuning shows, the share of them worked step by step). It is to try both ways, and slip in both: with all of them
    worked the quick model is right in 97 % of its tries, and nothing is left to find out (measured; 49 % so)."""
    return (300, 0.75) if quick else (1_000, 0.5)


def pairs(quick: bool) -> int:
    """How many pairs of answers are labelled: about a fifth of them differ in what the annotator likes."""
    return 800 if quick else 1200


def reward_spec(quick: bool) -> RewardSpec:
    """The reward model of the simulated annotator's labels."""
    return RewardSpec(learning_rate=5e-4, batch_size=32, epochs=2.0, validation_percent=25.0, compile="off", eval_every=0, sample_every=0,
                      checkpoint_every_steps=25, learning_curve=True, score_unlabelled=False)


def dpo_spec(quick: bool) -> DpoSpec:
    """DPO on the annotator's labels. Its loss alone makes the end of every answer less likely, since the rejected ones end sooner, and the
    model runs on (measured: right answers fall from 91 to 56 %). The chosen answers' own loss, a tight beta and some text of the corpus
    hold it, and the table of tokens stays as it is, as in fine-tuning (measured in two small worlds: 3 and 7 points fewer). Small
    worlds are held tighter (10 points lost in one at the full one's beta, 6 at this one)."""
    return DpoSpec(learning_rate=3e-4, beta=0.8 if quick else 0.5, sft_weight=4.0, freeze_embeddings=True, batch_size=16, epochs=5.0,
                   replay_documents=8, validation_percent=10.0, compile="off", keep_best=False, eval_every=0, sample_every=0,
                   sample_tokens=32, checkpoint_every_steps=20)


def ppo_spec(quick: bool) -> PpoSpec:
    """PPO with the reward model: as many rounds as take the taste far and the facts not (measured). A small world is held tighter: in one
    whose fine-tuning is weak, 15 points of right answers were lost at the full one's coefficient, 6 at this one."""
    return PpoSpec(learning_rate=2e-4, rollouts=20, batch_size=128, ppo_epochs=2, kl_coef=0.1 if quick else 0.05, max_new_tokens=32,
                   validation_prompts=64, compile="off", keep_best=False, eval_every=0, sample_every=0, sample_tokens=32,
                   checkpoint_every_steps=10)


def grpo_spec(quick: bool) -> GrpoSpec:
    """GRPO on sums. Advantages are not divided by their spread, answers not by their length: with few rounds the plainest is best here. 60
    rounds at the lower rate take the full model from 50 to 81 %, 100 at this one to 94 to 99 % (measured, three seeds)."""
    full = GrpoSpec(preset="dr_grpo", learning_rate=5e-4, rollouts=100, prompts=16, num_generations=8, max_new_tokens=32,
                    validation_prompts=64, compile="off", keep_best=False, eval_every=25, sample_every=0, sample_tokens=32,
                    checkpoint_every_steps=25)
    return full.model_copy(update={"learning_rate": 3e-4, "rollouts": 60, "eval_every": 20}) if quick else full


def vocabulary_for(text_bytes: int) -> int:
    """Tokens for a text of this size: a power of two near the square root of its bytes, so that each token is seen often enough to be
    learned in a few minutes."""
    return int(min(8192, max(512, 2 ** round(math.log2(math.sqrt(max(1, text_bytes)))))))


def own_text_spec(text_bytes: int, seconds: float, device: DeviceFacts) -> tuple[PretrainSpec, int]:
    """(pretraining, vocabulary) for a person's own text of so many bytes, to take about `seconds` on this device.

    The largest of the dial's sizes that still sees each parameter's worth of tokens in the time; a small text is passed over at most
    `MOST_EPOCHS` times.
    """
    if text_bytes < SMALLEST_TEXT:
        raise InputError(tr("This text has {size}; a model needs at least {least} to learn anything from.", size=size(text_bytes),
                            least=size(SMALLEST_TEXT)), tr("Choose a larger file or folder."), code="too_little_text")
    vocabulary = vocabulary_for(text_bytes)
    corpus_tokens = max(1, round(text_bytes / bytes_per_token(vocabulary)))
    best: PretrainSpec | None = None
    for depth in (3, 4, 5, 6, 8, 10, 12, 16):
        spec = _timed(depth, vocabulary, corpus_tokens, seconds, device)
        plan = dial.resolve(spec, vocabulary, corpus_tokens, device=device)
        trained = plan.tokens / plan.config.parameters
        if best is None or (trained >= TOKENS_PER_PARAMETER and plan.config.parameters <= PARAMETERS_PER_BYTE * text_bytes):
            best = spec
    assert best is not None
    return best, vocabulary


TOKENS_PER_PARAMETER = 3.0
PARAMETERS_PER_BYTE = 3.0
MOST_EPOCHS = 20


def bytes_per_token(vocabulary: int) -> float:
    """Of ordinary prose; a little more with each doubling of the vocabulary (measured on English)."""
    return 1.0 + 0.23 * max(0.0, math.log2(vocabulary / 256) + 2)


def _timed(depth: int, vocabulary: int, corpus_tokens: int, seconds: float, device: DeviceFacts) -> PretrainSpec:
    """This depth for as many steps as fit the time."""
    spec = PretrainSpec(depth=depth, max_seq_len=OWN_TEXT_CONTEXT, tokens_per_step=16 * OWN_TEXT_CONTEXT, steps=1000, compile="off",
                        tie_embeddings=True, sample_tokens=100, sample_temperature=0.8, eval_every=100, eval_tokens=20_000,
                        sample_every=200, checkpoint_every_steps=200)
    plan = dial.resolve(spec, vocabulary, corpus_tokens, device=device)
    most = min(seconds / plan.estimate.seconds * plan.steps, MOST_EPOCHS * corpus_tokens / plan.tokens_per_step)
    steps = max(100, int(most) // 20 * 20)
    parts = {"eval_every": max(1, steps // 8), "sample_every": max(1, steps // 4), "checkpoint_every_steps": max(1, steps // 4)}
    return spec.model_copy(update={"steps": steps, "dropout": 0.1 if steps * plan.tokens_per_step > 6 * corpus_tokens else 0.0, **parts})
