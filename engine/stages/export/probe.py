"""Tells where a model can go and how large it becomes there, in a process of its own, for the window:

    python -m engine.stages.export.probe look {"project": DIR, "model": ID, "host": ""}

What is given comes as JSON on stdin. Prints one JSON object: the answer, or {"error": code, "sentence": .., "remedy": ..}. It reads headers
only and writes nothing. It asks an Ollama of this machine for its version, and contacts nobody else.
"""

import json
import sys
from pathlib import Path
from typing import Any

from engine.contract.errors import FledgeError
from engine.model.adapter_files import adapter_facts, has_adapter
from engine.model.exportability import verdicts
from engine.model.formats import gguf_file, hf_folder_write, ollama, peft_write, quantize
from engine.model.formats.card import IMPORT, lineage, raised_here
from engine.model.formats.runtimes import TITLES, installed
from engine.model.formats.tokenizer_out import Words
from engine.model.formats.weights import Weights
from engine.project.models import resolve
from engine.project.project import Project
from engine.stages.export.spec import TARGETS
from engine.text.tokenizer import Tokenizer


def look(project: str, model: str, host: str = "") -> dict[str, Any]:
    """The verdicts, the bytes of each form and precision that loads, and what on this machine could try it."""
    opened = Project.open(Path(project))
    ref = resolve(opened, model)
    with Weights(ref.folder) as weights:
        words = Words(Tokenizer.load(ref.folder), raised_here(opened, ref))
        config = weights.config
        found = {v.target: v for v in verdicts(config, words.facts)}
        sizes: dict[str, int] = {}
        if found[TARGETS["hf"]].loads:
            sizes |= {dtype: hf_folder_write.output_bytes(weights, dtype) for dtype in ("float32", "bfloat16", "float16")}
        if found[TARGETS["gguf"]].loads:
            sizes |= {kind: gguf_file.output_bytes(weights, kind) for kind in gguf_file.PRECISIONS}
        adapter = adapter_facts(ref.folder) if has_adapter(ref.folder) else None
        if adapter is not None:
            sizes["adapter"] = peft_write.output_bytes(config, adapter.settings)
    server = ollama.Ollama(host)
    try:
        version = server.version()
    finally:
        server.close()
    imported = next((a for a in lineage(opened, ref) if a.run.endswith("-" + IMPORT)), None)
    return {"id": ref.id, "title": ref.title, "parameters": config.parameters, "context": config.max_seq_len,
            "vocab_size": config.vocab_size, "stored": weights.code, "template": bool(words.tokenizer.chat_template), "sizes": sizes,
            "k_quants": quantize.available(),
            "licence": str(imported.facts.get("licence") or "") if imported else "", "imported": imported is not None,
            "verdicts": {to: {"title": v.title, "loads": v.loads, "architecture": v.architecture, "reason": v.reason, "remedy": v.remedy}
                         for to, target in TARGETS.items() for v in (found[target],)},
            "adapter": {"base": adapter.base, "rank": adapter.settings.rank} if adapter is not None else None,
            "runtimes": {to: TITLES.get(installed(to), "") for to in TARGETS}, "ollama": version, "ollama_url": server.url}


QUESTIONS = {"look": look}


def main(arguments: list[str]) -> int:
    try:
        answer = QUESTIONS[arguments[0]](**json.load(sys.stdin))
    except FledgeError as wrong:
        answer = {"error": wrong.code, "sentence": wrong.sentence, "remedy": wrong.remedy}
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
