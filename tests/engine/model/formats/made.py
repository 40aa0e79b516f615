"""Models for tests of the formats: a tiny one trained for real (seconds), random ones of any shape, tokenizers, random text."""

import random
from functools import lru_cache
from pathlib import Path

import torch

from engine.model.checkpoint import save_weights
from engine.model.config import ModelConfig
from engine.model.decoder import Decoder
from engine.text import bpe
from engine.text.tokenizer import Tokenizer
from engine.world.world import World

CONTEXT = 128
STEPS = 260


@lru_cache
def texts() -> tuple[str, ...]:
    """Documents of the generated world."""
    return tuple(World(seed=7, people=12).documents(150_000))


@lru_cache
def tokenizer(size: int = 700) -> Tokenizer:
    return bpe.train(texts(), size)


def config(words: Tokenizer | None = None, **changes: object) -> ModelConfig:
    made = dict(vocab_size=(words or tokenizer()).vocab_size, hidden_size=64, num_layers=2, num_heads=4, num_kv_heads=2, head_dim=16,
                intermediate_size=128, max_seq_len=CONTEXT, tie_embeddings=True)
    return ModelConfig(**{**made, **changes})


def write_random(folder: Path, made: ModelConfig, words: Tokenizer | None = None, seed: int = 3, sharp: float = 6.0) -> Decoder:
    """A random model with norms and biases away from their neutral values (a lost one would not show), and a tokenizer beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    model = Decoder(made, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, weight in model.named_parameters():
            if weight.dim() == 1:
                weight.add_(torch.randn(weight.shape, generator=generator) * 0.2)
            else:
                weight.mul_(sharp)
    save_weights(folder, model)
    (words or tokenizer()).save(folder)
    return model.eval()


def train(folder: Path, made: ModelConfig | None = None, steps: int = STEPS) -> Decoder:
    """A model that learned the world's text well enough for its likeliest tokens to mean something, written to `folder`."""
    words = tokenizer()
    torch.manual_seed(0)
    model = Decoder(made or config(), seed=1)
    ids = [i for text in texts() for i in (words.bos_id, *words.encode(text))]
    data = torch.tensor(ids)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, betas=(0.9, 0.95), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, total_steps=steps)
    generator = torch.Generator().manual_seed(5)
    for _ in range(steps):
        at = torch.randint(len(data) - 65, (16,), generator=generator)
        rows = torch.stack([data[i:i + 65] for i in at])
        loss = model(rows[:, :-1], targets_BT=rows[:, 1:])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    assert loss.item() < 3.0, loss.item()
    folder.mkdir(parents=True, exist_ok=True)
    save_weights(folder, model)
    words.save(folder)
    return model.eval()


def random_strings(count: int, seed: int = 0) -> list[str]:
    """Unicode of all kinds: words, digits, white space, combining marks, emoji, unassigned code points; no surrogates."""
    dice = random.Random(seed)
    ranges = ((0x20, 0x7E), (0x20, 0x7E), (0xA0, 0x24F), (0x300, 0x36F), (0x370, 0x52F), (0x590, 0x6FF), (0x900, 0xDFF), (0x2000, 0x206F),
              (0x3040, 0x30FF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0x1F300, 0x1FAFF), (0, 0xD7FF), (0xE000, 0x10FFFF))
    known = ["don't", "WE'LL", "  ", "\n\n", "\t", " \r\n", "12345", "\u00a0", "a\u0301", "x" * 20, "3.14", "\u200d", "fi", " The", "..."]
    made = []
    for _ in range(count):
        parts = []
        for _ in range(dice.randrange(1, 25)):
            low, high = dice.choice(ranges)
            parts.append(dice.choice(known) if dice.random() < 0.3 else chr(dice.randint(low, high)))
        made.append("".join(p for p in parts if p != "\0"))
    return made
