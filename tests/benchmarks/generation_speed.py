"""How fast completions are written, beside transformers' `generate` on the same weights: `python -m tests.benchmarks.generation_speed`.

A 10M-parameter Llama shape, 32 distinct prompts of 64 tokens, 128 new tokens, greedy, so that the tokens can be compared one by one. Twice:
every row runs to the end, and lengths vary (drawn once: half uniform 1-32, half 33-128; each row ends at its own length, here and there).
The two sides take turns, each round gives a ratio, the median counts. bfloat16 is shown beside it. Ends with one line of ratios.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
import transformers

from engine.model import hf
from engine.model.decoder import Decoder
from engine.sampling.generate import generate
from engine.sampling.sampling import Sampling

ROWS, PROMPT, NEW, VOCAB = 32, 64, 128, 8192


def reference_model() -> Any:
    """Random weights, wide enough apart that the likeliest token is clear."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(vocab_size=VOCAB, hidden_size=320, num_hidden_layers=6, num_attention_heads=5, num_key_value_heads=5,
                                      intermediate_size=864, tie_word_embeddings=True, max_position_embeddings=512, initializer_range=0.05,
                                      bos_token_id=None, eos_token_id=None)
    model = transformers.LlamaForCausalLM(config).eval()
    model.generation_config.eos_token_id = None
    return model


def same_weights(reference: Any) -> Decoder:
    config = hf.config_from_hf(reference.config.to_dict())
    state = reference.state_dict()
    model = Decoder(config, seed=None)
    model.load_state_dict(dict(hf.from_hf(config, state.__getitem__)))
    return model.eval()


class EndsAtItsOwnLength(transformers.StoppingCriteria):
    """Tells transformers which rows are done, as an end-of-text token would."""

    def __init__(self, lengths: list[int]) -> None:
        self.lengths = torch.tensor(lengths)

    def __call__(self, ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        return ids.shape[1] - PROMPT >= self.lengths


def their_tokens(model: Any, prompts: torch.Tensor, lengths: list[int] | None) -> list[list[int]]:
    stopping = transformers.StoppingCriteriaList([EndsAtItsOwnLength(lengths)] if lengths else [])
    made = model.generate(prompts, attention_mask=torch.ones_like(prompts), max_new_tokens=NEW, do_sample=False, pad_token_id=0,
                          stopping_criteria=stopping)[:, PROMPT:].tolist()
    return [row[: lengths[i]] for i, row in enumerate(made)] if lengths else made


def our_tokens(model: Decoder, prompts: list[list[int]], lengths: list[int] | None) -> list[list[int]]:
    sampling = Sampling(temperature=0, max_new_tokens=NEW)
    return [c.ids for c in generate(model, prompts, sampling, max_new_tokens=lengths, logprobs=False)]


def timed(work: Callable[..., list[list[int]]], *given: Any) -> tuple[float, list[list[int]]]:
    start = time.perf_counter()
    made = work(*given)
    return time.perf_counter() - start, made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    transformers.logging.set_verbosity_error()
    reference = reference_model()
    model = same_weights(reference)
    generator = torch.Generator().manual_seed(1)
    prompts = torch.randint(VOCAB, (ROWS, PROMPT), generator=generator)
    half = ROWS // 2
    varied = [int(torch.randint(low, high, (), generator=generator)) for low, high in [(1, 33)] * half + [(33, NEW + 1)] * half]
    print(f"{model.config.parameters:,} parameters, batch {ROWS}, prompts of {PROMPT}, up to {NEW} new tokens, {chosen.threads} threads, "
          f"median of {chosen.rounds} rounds", flush=True)
    ratios = {}
    for dtype in (torch.float32, torch.bfloat16):
        reference, model = reference.to(dtype), model.to(dtype)
        for name, lengths in (("full", None), ("varied", varied)):
            tokens = sum(lengths) if lengths else ROWS * NEW
            rounds = []
            for _ in range(chosen.rounds + 1):  # the first one warms both up
                theirs, wanted = timed(their_tokens, reference, prompts, lengths)
                ours, made = timed(our_tokens, model, prompts.tolist(), lengths)
                rounds.append((theirs / ours, theirs, ours))
            ratio, theirs, ours = (statistics.median(column) for column in zip(*rounds[1:], strict=True))
            same = sum(a == b for a, b in zip(wanted, made, strict=True))
            short = str(dtype).removeprefix("torch.")
            ratios[f"{name} {short}"] = ratio
            print(f"{short:9} {name:7} transformers {theirs:6.2f} s {tokens / theirs:7,.0f} tokens/s   fledge {ours:6.2f} s "
                  f"{tokens / ours:7,.0f} tokens/s   ratio {ratio:.2f}   same greedy tokens {same}/{ROWS} rows", flush=True)
            assert dtype == torch.bfloat16 or same == ROWS, "greedy tokens differ in float32"
    print("ratios: " + ", ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items()))


if __name__ == "__main__":
    main()
