"""The process that reads somebody's model for import_watch.py, and may be killed over it. It decides nothing.

    python -m engine.model.formats.import_child MEMORY       one job as a JSON line on stdin, what happens as JSON lines on stdout

It caps its own memory where the system can, forbids itself network and other processes, and ends with its parent (all of that is
engine/text/read_child.py's `confine`). What it makes lies in the folder it was given: config.json, model.safetensors, the tokenizer's
files, source.json.
"""

import hashlib
import json
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from engine.contract.errors import FledgeError, FormatError
from engine.contract.words import tr
from engine.model.checkpoint import CONFIG, WEIGHTS
from engine.model.formats import convert, gguf_read, hf_read, source, tokenizer_read
from engine.text.read_child import MEMORY, _peak, confine

EVERY = 0.2
"""Seconds between two signs of life."""
SOURCE = "source.json"


class _Line:
    """Where messages go: a copy of the first stdout, so that nothing a library prints gets between."""

    def __init__(self) -> None:
        self._fd = os.dup(1)
        os.dup2(2, 1)
        self._last = 0.0

    def say(self, *message: Any) -> None:
        raw = json.dumps(message).encode() + b"\n"
        while raw:
            raw = raw[os.write(self._fd, raw):]

    def at(self, done: int, total: int) -> None:
        if time.monotonic() - self._last > EVERY or done == total:
            self._last = time.monotonic()
            self.say("at", done, total)


def work(job: dict[str, Any], line: _Line) -> dict[str, Any]:
    """Judge, try the tokenizer, hash, convert. The facts of the model; without a place for it (`out` empty) it ends before the hashes."""
    path, out = Path(job["path"]), Path(job["out"])
    line.say("phase", "look")
    kind = source.kind_of(path)
    weights: Any
    if kind == "gguf":
        opened = gguf_read.open_gguf(path)
        config, weights, table, spare = opened.config, opened.weights, opened.table, opened.spare
        family, files, about = opened.architecture, {path.name: path}, opened.about
        found = opened.tokenizer()
    else:
        raw = hf_read.read_config(path)
        config = hf_read.model_config(raw)
        found = tokenizer_read.read_folder(path, raw)
        weights = hf_read.open_weights(path, str(raw["model_type"]))
        convert.enough(config, weights.names())
        table = hf_read.sources(config, raw)
        config = hf_read.with_tying(config, weights, table, "lm_head.weight")
        spare = frozenset({"lm_head.weight"} if config.tie_embeddings else ())
        family, files, about = str(raw["model_type"]), dict(weights.files), source.about(path)
        files |= {name: there for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json",
                                           "chat_template.jinja") if (there := source.find(path, name))}
    planned = convert.plan(config, table, weights, job["dtype"], spare)
    line.say("phase", "tokenizer")
    tokenizer, notes = tokenizer_read.check(found, config.vocab_size)
    facts = {"parameters": config.parameters, "vocab_size": config.vocab_size, "context": config.max_seq_len, "architecture": family,
             "form": kind, "dtype": planned.dtype, "bytes": planned.nbytes, "chat": bool(tokenizer.chat_template) and not notes,
             "licence": about.licence, "from": job["named"], "imported": True, "notes": notes}
    if not job["out"]:
        weights.close()
        return facts | {"layers": config.num_layers, "width": config.hidden_size, "heads": config.num_heads,
                        "kv_heads": config.num_kv_heads, "base_model": about.base_model, "card": about.card}
    line.say("phase", "hash")
    hashes = _hashes(files, line)
    line.say("phase", "convert")
    convert.convert(planned, weights, out / WEIGHTS, lambda done: line.at(done, planned.nbytes))
    weights.close()
    (out / CONFIG).write_text(config.model_dump_json(indent=1) + "\n", "utf-8")
    tokenizer_read.write(found, out)
    told = {"from": job["named"], "form": kind, "architecture": family, "dtype": planned.dtype, "files": hashes, "licence": about.licence,
            "licence_link": about.licence_link, "base_model": about.base_model, "card": about.card, "notes": notes}
    (out / SOURCE).write_text(json.dumps(told, ensure_ascii=False, indent=1), "utf-8")
    return facts | {"peak": _peak()}


def _hashes(files: dict[str, Path], line: _Line) -> dict[str, dict[str, Any]]:
    total, done, found = sum(p.stat().st_size for p in files.values()), 0, {}
    for name, path in sorted(files.items()):
        digest = hashlib.sha256()
        size = 0
        with open(path, "rb", buffering=0) as file:
            while block := file.read(4_000_000):
                digest.update(block)
                size += len(block)
                line.at(done + size, total)
        done += size
        found[name] = {"sha256": digest.hexdigest(), "size": size}
    return found


def attempt(action: Callable[[], dict[str, Any]], line: _Line) -> None:
    """The boundary: what went wrong, in words."""
    try:
        line.say("made", action())
    except MemoryError:
        line.say("memory")
        os._exit(MEMORY)
    except FledgeError as wrong:
        line.say("refused", type(wrong).__name__, wrong.sentence, wrong.remedy, wrong.code)
    except OSError as wrong:
        line.say("disk", wrong.errno, wrong.strerror, str(wrong.filename or ""))
    except Exception as wrong:  # a strange file met a mistake of ours: it must not half load
        if "memory" in str(wrong).lower() and isinstance(wrong, RuntimeError):
            line.say("memory")
            os._exit(MEMORY)
        traceback.print_exc()
        refused = FormatError(tr("The model cannot be read: {reason}.", reason=f"{type(wrong).__name__}: {wrong}"[:200]), source.again())
        line.say("refused", "FormatError", refused.sentence, refused.remedy, refused.code)


def main(arguments: list[str]) -> int:
    line = _Line()
    parent = os.getppid()
    torch.set_num_threads(1)
    logging.disable(logging.CRITICAL)
    job = json.loads(sys.stdin.readline())

    def listen() -> None:
        sys.stdin.read()
        os._exit(0)  # the parent is gone, or wants no more

    confine(int(arguments[0]))
    if os.getppid() != parent:
        return 0
    threading.Thread(target=listen, daemon=True).start()
    line.say("ready", os.getpid())
    attempt(lambda: work(job, line), line)
    os._exit(0)  # without waiting for the thread at stdin


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
