"""Other programs that run a model, each behind the same three questions: how is this text cut, what follows this prompt, how likely is each
token here. Asked by round_trip.py in a process of its own: `python -m engine.model.formats.runtimes REQUEST ANSWER`.

A binding that crashes takes only that process along (one was seen to at the end of the interpreter, with its answer already written).
None of them is needed: whichever the person has is asked. Nothing leaves the machine: models are read from the disk, and llama.cpp's server
listens on loopback. No code of a model folder is run.
"""

import importlib.util
import json
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from engine.contract.errors import Missing
from engine.contract.words import tr

TITLES = {"transformers": "transformers", "llama_cpp": "llama.cpp (llama-cpp-python)", "xllamacpp": "llama.cpp (xllamacpp)",
          "ollama": "Ollama"}
_FOR = {"hf": ("transformers",), "gguf": ("llama_cpp", "xllamacpp"), "ollama": ("llama_cpp", "xllamacpp")}
FULL = 50_000
"""Tokens of a vocabulary up to which the server is asked for the likelihood of every one; of larger ones for the likeliest only."""
LIKELIEST = 1_000


def installed(target: str) -> str:
    """The first runtime for exports of this kind ("hf", "gguf", "ollama") that is installed, "" for none. Imports nothing."""
    return next((name for name in _FOR[target] if importlib.util.find_spec(name) is not None), "")


class Runtime(Protocol):
    def tokenize(self, text: str) -> list[int]:
        """Ids without any that are added at the begin or the end; names of special tokens are ordinary text."""

    def greedy(self, ids: Sequence[int], count: int, stops: Sequence[int]) -> list[int]:
        """The likeliest continuation, without the token that ended it."""

    def logprobs(self, ids: Sequence[int]) -> np.ndarray:
        """float32 [len(ids), V]: of the token after each; NaN where the runtime does not tell."""


class Transformers:
    """In float32 whatever the files hold, so that what differs is the file and not the arithmetic."""

    def __init__(self, path: Path, context: int, threads: int) -> None:
        import torch

        transformers = import_module("transformers")
        transformers.logging.set_verbosity_error()
        torch.set_num_threads(threads)
        self._torch = torch
        self._words = transformers.AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
        self._words.split_special_tokens = True
        self._model = transformers.AutoModelForCausalLM.from_pretrained(path, local_files_only=True, trust_remote_code=False,
                                                                        dtype=torch.float32).eval()

    def tokenize(self, text: str) -> list[int]:
        return list(self._words(text, add_special_tokens=False).input_ids)

    def greedy(self, ids: Sequence[int], count: int, stops: Sequence[int]) -> list[int]:
        torch = self._torch
        given = torch.tensor([list(ids)])
        with torch.inference_mode():
            made = self._model.generate(given, attention_mask=torch.ones_like(given), max_new_tokens=count, do_sample=False,
                                        repetition_penalty=1.0, eos_token_id=list(stops) or None, pad_token_id=0)
        return _before_stop(made[0, len(ids):].tolist(), stops)

    def logprobs(self, ids: Sequence[int]) -> np.ndarray:
        with self._torch.inference_mode():
            return self._model(self._torch.tensor([list(ids)])).logits[0].float().log_softmax(-1).numpy()


class LlamaCpp:
    """llama-cpp-python: every logit, keys and values in float32."""

    def __init__(self, path: Path, context: int, threads: int) -> None:
        llama_cpp = import_module("llama_cpp")
        self._model = llama_cpp.Llama(str(path), n_ctx=context, n_batch=context, n_ubatch=min(context, 512), n_threads=threads,
                                      n_threads_batch=threads, logits_all=True, verbose=False, n_gpu_layers=0, flash_attn=False,
                                      type_k=llama_cpp.GGML_TYPE_F32, type_v=llama_cpp.GGML_TYPE_F32)

    def tokenize(self, text: str) -> list[int]:
        return list(self._model.tokenize(text.encode("utf-8"), add_bos=False, special=False)) if text else []

    def greedy(self, ids: Sequence[int], count: int, stops: Sequence[int]) -> list[int]:
        self._model.reset()
        self._model.eval(list(ids))
        made: list[int] = []
        while len(made) < count:
            best = int(self._model.scores[self._model.n_tokens - 1].argmax())
            if best in stops:
                break
            made.append(best)
            if len(ids) + len(made) >= self._model.n_ctx():
                break
            self._model.eval([best])
        return made

    def logprobs(self, ids: Sequence[int]) -> np.ndarray:
        self._model.reset()
        self._model.eval(list(ids))
        scores = np.asarray(self._model.scores[:len(ids)], np.float64)
        top = scores.max(-1, keepdims=True)
        return (scores - top - np.log(np.exp(scores - top).sum(-1, keepdims=True))).astype(np.float32)


class XLlamaCpp:
    """xllamacpp: llama.cpp's own server inside this process, asked over loopback."""

    def __init__(self, path: Path, context: int, threads: int) -> None:
        import httpx

        xllamacpp = import_module("xllamacpp")
        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        params.n_ctx, params.n_parallel, params.n_gpu_layers, params.port = context, 1, 0, 0
        params.warmup = params.fit_params = params.ctx_shift = False
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
        params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        params.verbosity = -1
        self._server = xllamacpp.Server(params)
        self._client = httpx.Client(base_url=self._server.listening_address, timeout=600, trust_env=False)
        self._vocabulary = int(self._ask("/v1/models", None)["data"][0]["meta"]["n_vocab"])

    def _ask(self, path: str, body: dict[str, Any] | None) -> Any:
        answer = self._client.get(path) if body is None else self._client.post(path, json=body)
        answer.raise_for_status()
        return answer.json()

    def tokenize(self, text: str) -> list[int]:
        return self._ask("/tokenize", {"content": text, "add_special": False, "parse_special": False})["tokens"]

    def greedy(self, ids: Sequence[int], count: int, stops: Sequence[int]) -> list[int]:
        made = self._ask("/completion", {"prompt": list(ids), "n_predict": count, "temperature": 0, "return_tokens": True,
                                         "samplers": ["temperature"], "repeat_penalty": 1.0, "cache_prompt": False})
        return _before_stop(made["tokens"], stops)

    def logprobs(self, ids: Sequence[int]) -> np.ndarray:
        asked = self._vocabulary if self._vocabulary <= FULL else LIKELIEST
        made, plain = np.full((len(ids), self._vocabulary), np.nan, np.float32), self.tokenize("a")[0]
        for at in range(len(ids)):
            # The server tells no probabilities where it takes an end or half a character, so it is made to take a plain letter. Those it
            # tells are the model's own, from before that.
            answer = self._ask("/completion", {"prompt": list(ids[:at + 1]), "n_predict": 1, "temperature": 0, "n_probs": asked,
                                               "post_sampling_probs": False, "cache_prompt": True, "logit_bias": [[plain, 1e4]]})
            for one in answer["completion_probabilities"][0]["top_logprobs"]:
                made[at, one["id"]] = one["logprob"]
        return made


KINDS: dict[str, type] = {"transformers": Transformers, "llama_cpp": LlamaCpp, "xllamacpp": XLlamaCpp}


def _before_stop(ids: list[int], stops: Sequence[int]) -> list[int]:
    return ids[:next((i for i, id in enumerate(ids) if id in stops), len(ids))]


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """What the runtime says to a request (see round_trip.py, which makes it)."""
    runtime: Runtime = KINDS[request["runtime"]](Path(request["path"]), int(request["context"]), int(request["threads"]))
    told: dict[str, Any] = {"tokens": [runtime.tokenize(text) for text in request["texts"]],
                            "greedy": [runtime.greedy(ids, request["max_new_tokens"], request["stops"]) for ids in request["prompts"]]}
    ours = np.load(request["logprobs"], allow_pickle=False) if request["scored"] else np.zeros((0, 0), np.float32)
    largest, squares, values, targets, at = 0.0, 0.0, 0, [], 0
    for ids in request["scored"]:
        theirs = runtime.logprobs(ids[:-1])[:, :ours.shape[1]]
        gap = np.abs(theirs - ours[at:at + len(theirs)])
        known = np.isfinite(gap)
        largest = max(largest, float(gap[known].max(initial=0.0)))
        squares, values = squares + float(np.square(gap[known], dtype=np.float64).sum()), values + int(known.sum())
        targets.append([float(x) for x in theirs[np.arange(len(theirs)), ids[1:]]])
        at += len(theirs)
    return {**told, "largest": largest, "rms": (squares / values) ** 0.5 if values else 0.0, "targets": targets}


def main(arguments: Sequence[str]) -> None:
    """REQUEST and ANSWER are JSON files; the answer appears whole or not at all."""
    request = json.loads(Path(arguments[0]).read_text("utf-8"))
    if request["runtime"] not in KINDS:
        raise Missing(tr("There is no runtime called {name}.", name=request["runtime"]))
    made = json.dumps(answer(request))
    target = Path(arguments[1])
    target.with_suffix(".part").write_text(made, "utf-8")
    os.replace(target.with_suffix(".part"), target)


if __name__ == "__main__":
    main(sys.argv[1:])
    os._exit(0)  # without the interpreter's end, where bindings were seen to crash
