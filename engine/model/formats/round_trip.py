"""The round trip: the same prompts through this program and through the one an export is for, and one plain sentence on whether they agree.

Four measures: token ids of the tokenizers, greedy text, the difference of log-probabilities (logits are free up to a constant, these are
not), perplexity. The other program runs in a process of its own (runtimes.py). It changes nothing and needs no network.
"""

import json
import os
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from math import exp
from pathlib import Path
from typing import Any

import numpy as np
import torch

from engine.contract import units
from engine.contract.words import tr
from engine.model.checkpoint import load_model
from engine.model.decoder import Decoder
from engine.model.formats.runtimes import TITLES, installed
from engine.model.formats.tokenizer_out import Words
from engine.model.formats.waiting import wait_for
from engine.project.launch import environment

Continued = Callable[[Decoder, Sequence[Sequence[int]], int, Sequence[int]], list[list[int]]]
"""(model, prompts, tokens at most, ids that end a text) -> the likeliest continuation of each, without what ended it. The sampler does it,
which stands above this part of the engine."""

NEW_TOKENS = 64
PROMPT_TOKENS = 16
SCORED_TOKENS = 96
TRICKY = ("", " ", "  two  spaces ", "\n\n\ttabs\r\nand lines\n", "don't WE'LL it's I'D", "1 12 123 1234 12345 3.14 -7",
          "na\u00efve caf\u00e9 Z\u00fcrich",
          "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440!", "\u4f60\u597d\uff0c\u4e16\u754c\u3002",
          "\u3053\u3093\u306b\u3061\u306f\u3001\u4e16\u754c", "\uc548\ub155\ud558\uc138\uc694", "\u0645\u0631\u062d\u0628\u0627",
          "\u0928\u092e\u0938\u094d\u0924\u0947", "\U0001f469\U0001f3fd\u200d\U0001f680\U0001f1e9\U0001f1ea emoji \u2728",
          "e\u0301 a\u0308 \u200d\ufeff", "x = {'a': [1, 2]}  # code\n    return x", "https://example.org/a?b=c&d=%20",
          "\u00a0\u2003\u3000 wide blanks", "a" * 24, "<|end|> </s> [INST] as plain text", "\u0001\u007f\u0085", "MiXeD CaSe",
          "\u00bfQu\u00e9? \u00a1S\u00ed! \u00abx\u00bb \u2014 \u2026", "\U00010348\U0001d56c\U000e0001")
"""Texts on which tokenizers are known to part ways."""
PROMPTS = ("The", "Once upon a time", "In the morning the", "She said that", "There was a", "My name is", "The first thing", "It is",
           "When the rain", "He went to the", "One day", "After the", "We", "Nobody knew", "A small", "The people of", "If you", "At night",
           "They were", "Because of")
"""What is continued where a project has no text of its own to ask with."""


@dataclass(frozen=True)
class Limits:
    """What a precision costs at most in a faithful export. `spread`: root mean square of the differences of log-probabilities, in standard
    deviations of the model's own; `perplexity`: relative. Measured on trained and random models; a lost RoPE permutation of a trained
    model is above 0.2 in the first."""

    spread: float
    perplexity: float


LIMITS = {"float32": Limits(1e-3, 1e-3), "f32": Limits(1e-3, 1e-3), "float16": Limits(0.01, 0.005), "f16": Limits(0.01, 0.005),
          "bfloat16": Limits(0.05, 0.01), "bf16": Limits(0.05, 0.01), "q8_0": Limits(0.1, 0.01), "q6_k": Limits(0.15, 0.03),
          "q4_k_m": Limits(0.3, 0.1)}
EXACT = ("float32", "f32")


@dataclass(frozen=True)
class Report:
    """`faithful` None: it could not be checked. Differences in nats; `spread` see Limits; `near_ties`: greedy texts that part where two
    tokens are about equally likely, which rounding decides. `examples`: the first few that differ."""

    runtime: str = ""
    precision: str = ""
    faithful: bool | None = None
    sentence: str = ""
    texts: int = 0
    texts_equal: int = 0
    prompts: int = 0
    greedy_equal: int = 0
    near_ties: int = 0
    greedy_tokens: int = NEW_TOKENS
    largest_difference: float = 0.0
    spread: float = 0.0
    perplexity: float = 0.0
    perplexity_there: float = 0.0
    examples: list[dict[str, Any]] = field(default_factory=list)

    def as_facts(self) -> dict[str, Any]:
        return asdict(self)


def compare(folder: Path, target: str, path: Path, precision: str, words: Words, texts: Sequence[str], work: Path,
            continued: Continued, *, runtime: str = "", threads: int = 1, heed: Callable[[], None] = lambda: None) -> Report:
    """Run `texts` here (the model in `folder`) and there (the export at `path`).

    target   "hf", "gguf" or "ollama" (whose GGUF is checked by llama.cpp)
    texts    of any length; their first tokens are the prompts that are continued, as much as fits is scored
    work     an existing folder for the two processes' files
    heed     called a few times a second; what it raises ends the other process and comes through
    """
    chosen = runtime or installed(target)
    if not chosen:
        return Report(precision=precision, sentence=tr("Not checked: no program that could load this export is installed here."))
    model = load_model(folder)
    context = model.config.max_seq_len
    begin = [words.bos_id] if words.adds_bos and words.bos_id is not None else []
    whole = [ids for text in texts if len(ids := [*begin, *words.tokenizer.encode(text)][:min(context, SCORED_TOKENS)]) > 1]
    prompts = [ids[:max(1, min(PROMPT_TOKENS, context // 2))] for ids in whole]
    cut = [text for text in dict.fromkeys((*texts, *TRICKY)) if target == "hf" or not _loses_nfc(words, text)]
    ours = _scores(model, whole, heed)
    np.save(work / "logprobs.npy", np.concatenate(ours) if ours else np.zeros((0, model.config.vocab_size), np.float32))
    count = min(NEW_TOKENS, context - max(map(len, prompts), default=0))
    request = {"runtime": chosen, "path": str(path), "context": context, "threads": threads, "texts": cut, "prompts": prompts,
               "scored": whole, "stops": words.stop_ids, "max_new_tokens": count, "logprobs": str(work / "logprobs.npy")}
    theirs, log = _ask(request, work, heed)
    if theirs is None:
        last = next((line.strip() for line in reversed(log.splitlines()) if line.strip()), "")
        return Report(runtime=TITLES[chosen], precision=precision, faithful=False, sentence=tr(
            "Not faithful: {program} could not load or run it ({reason}).", program=TITLES[chosen], reason=last or tr("it said nothing")))
    heed()
    here = continued(model, prompts, count, words.stop_ids)
    return _judge(model, words, precision, TITLES[chosen], cut, prompts, here, whole, ours, theirs, count)


def _loses_nfc(words: Words, text: str) -> bool:
    """Whether llama.cpp cannot but cut this text otherwise: it leaves out a tokenizer's normalisation to NFC."""
    return bool(words.raw.get("normalizer")) and not unicodedata.is_normalized("NFC", text)


def _scores(model: Decoder, whole: Sequence[Sequence[int]], heed: Callable[[], None]) -> list[np.ndarray]:
    """float32 [len(ids) - 1, V]: log-probabilities of the token after each."""
    made = []
    for ids in whole:
        heed()
        with torch.inference_mode():
            made.append(model.logits(model(torch.tensor([ids[:-1]])))[0].float().log_softmax(-1).numpy())
    return made


def _ask(request: dict[str, Any], work: Path, heed: Callable[[], None]) -> tuple[dict[str, Any] | None, str]:
    """(the answer of the other process, None if it died without one; what it said)."""
    asked, answered, said = work / "request.json", work / "answer.json", work / "runtime.log"
    asked.write_text(json.dumps(request), "utf-8")
    answered.unlink(missing_ok=True)
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    with open(said, "wb") as log:
        child = subprocess.Popen([sys.executable, "-m", "engine.model.formats.runtimes", str(asked), str(answered)],
                                 stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**environment(), **offline})
        wait_for(child, heed)
    told = said.read_text("utf-8", errors="replace")
    if not answered.is_file():
        return None, told
    return json.loads(answered.read_text("utf-8")), told


def _judge(model: Decoder, words: Words, precision: str, program: str, cut: Sequence[str], prompts: Sequence[Sequence[int]],
           continuations: Sequence[list[int]], whole: Sequence[Sequence[int]], ours: Sequence[np.ndarray], theirs: dict[str, Any],
           count: int) -> Report:
    limits = LIMITS[precision]
    examples: list[dict[str, Any]] = []
    equal = 0
    for text, there in zip(cut, theirs["tokens"], strict=True):
        here = words.tokenizer.encode(text)
        equal += here == there
        if here != there and len(examples) < 3:
            examples.append({"kind": "tokens", "text": text[:200], "here": here[:40], "there": there[:40]})
    greedy = near = 0
    for prompt, here, there in zip(prompts, continuations, theirs["greedy"], strict=True):
        if here == there:
            greedy += 1
            continue
        near += _nearly_tied(model, [*prompt], here, there, words.stop_ids, theirs["largest"])
        if len(examples) < 6:
            examples.append({"kind": "greedy", "prompt": words.tokenizer.decode(prompt), "here": words.tokenizer.decode(here),
                             "there": words.tokenizer.decode([i for i in there if 0 <= i < words.tokenizer.vocab_size])})
    deviation = float(np.mean([scores.std() for scores in ours])) if ours else 1.0
    spread = theirs["rms"] / max(deviation, 1e-9)
    here_ppl = _perplexity([float(x) for ids, scores in zip(whole, ours, strict=True)
                            for x in scores[np.arange(len(scores)), list(ids[1:])]])
    there_ppl = _perplexity([x for row in theirs["targets"] for x in row])
    wrong = []
    if equal < len(cut):
        wrong.append(tr("the tokenizers differ on {bad} of {all} texts", bad=len(cut) - equal, all=len(cut)))
    if not spread <= limits.spread:
        wrong.append(tr("its log-probabilities are off by up to {nats} nats", nats=units.significant(theirs["largest"])))
    if not abs(there_ppl / here_ppl - 1) <= limits.perplexity:
        wrong.append(tr("its perplexity is {there} instead of {here}", there=units.significant(there_ppl, 4),
                        here=units.significant(here_ppl, 4)))
    if precision in EXACT and greedy + near < len(prompts):
        wrong.append(tr("{bad} of {all} greedy texts differ", bad=len(prompts) - greedy - near, all=len(prompts)))
    figures = tr("{program} cuts {equal} of {texts} texts into the same tokens, continues {greedy} of {prompts} prompts the same way over "
                 "{count} tokens; perplexity {there} against {here} here", program=program, equal=equal, texts=len(cut), greedy=greedy,
                 prompts=len(prompts), count=count, there=units.significant(there_ppl, 4), here=units.significant(here_ppl, 4))
    sentence = (tr("Not faithful: {reasons}. {figures}.", reasons="; ".join(wrong), figures=figures) if wrong else
                tr("Faithful: {figures}.", figures=figures))
    if not wrong and near:
        sentence += " " + tr("{near} of the texts part where two tokens are about equally likely.", near=near)
    return Report(runtime=program, precision=precision, faithful=not wrong, sentence=sentence, texts=len(cut), texts_equal=equal,
                  prompts=len(prompts), greedy_equal=greedy, near_ties=near, greedy_tokens=count, largest_difference=theirs["largest"],
                  spread=spread, perplexity=here_ppl, perplexity_there=there_ppl, examples=examples)


def _nearly_tied(model: Decoder, prompt: list[int], here: list[int], there: list[int], stops: Sequence[int], largest: float) -> bool:
    """Whether two greedy texts part where the two tokens differ by no more than the runtimes do."""
    at = next((i for i, (a, b) in enumerate(zip(here, there, strict=False)) if a != b), min(len(here), len(there)))
    with torch.inference_mode():
        scores = model.logits(model(torch.tensor([[*prompt, *here[:at]]])))[0, -1].float().log_softmax(-1)

    def likely(ids: list[int]) -> float:
        if at < len(ids):
            return float(scores[ids[at]])
        return float(scores[list(stops)].max()) if stops else float("-inf")

    return abs(likely(here) - likely(there)) <= 2 * largest


def _perplexity(logprobs: Sequence[float]) -> float:
    known = [x for x in logprobs if np.isfinite(x)]
    return exp(-sum(known) / len(known)) if known else float("nan")


def same_texts(folder: Path, words: Words, texts: Sequence[str], continued: Continued, there: Callable[[str, int], str],
               count: int = NEW_TOKENS) -> tuple[int, int]:
    """(equal, all) of greedy texts, for a program that takes and gives only text (Ollama): `there(prompt, tokens)`."""
    model = load_model(folder)
    begin = [words.bos_id] if words.adds_bos and words.bos_id is not None else []
    given = [words.tokenizer.encode(text)[:PROMPT_TOKENS] for text in texts]
    given = [ids for ids in given if ids and words.tokenizer.encode(words.tokenizer.decode(ids)) == ids]
    count = min(count, model.config.max_seq_len - PROMPT_TOKENS - 1)
    made = continued(model, [[*begin, *ids] for ids in given], count, words.stop_ids)
    equal = sum(words.tokenizer.decode(here, skip_special=True).strip() == there(words.tokenizer.decode(ids), count).strip()
                for ids, here in zip(given, made, strict=True))
    return equal, len(given)


def threads() -> int:
    """Processors for the other program."""
    return max(1, (os.cpu_count() or 2) // 2)
