"""Tells what a model is before it is imported, in a process of its own, for the window:

    python -m engine.stages.import_model.probe look {"path": FOLDER_OR_GGUF}     judged and its tokenizer tried; no weight is read
    python -m engine.stages.import_model.probe hub  {"name": "OWNER/NAME"}       what the hub has, with its size; nothing is fetched

What is given comes as JSON on stdin. Prints one JSON object: the answer, or {"error": code, "sentence": .., "remedy": ..}. Writes nothing.
"""

import json
import sys
from pathlib import Path
from typing import Any

from engine.contract.errors import FledgeError
from engine.model.formats import hub, import_watch, peft_read
from engine.model.formats.peft_write import CONFIG_FILE


def look(path: str) -> dict[str, Any]:
    """The facts of import_watch.look: the same judgement, by the same code, as the import's own. Of an adapter of PEFT what it says of
    itself; whether it fits is seen when its base is known."""
    folder = Path(path).expanduser()
    if (folder / CONFIG_FILE).is_file():
        told = peft_read.told_of(folder)
        return {"form": "peft", "architecture": "LoRA", "rank": told["rank"], "base_model": told["base"], "bytes": told["bytes"]}
    return import_watch.look(Path(path).expanduser())


def hub_look(name: str) -> dict[str, Any]:
    found = hub.look(name)
    return {"name": name, "bytes": found.nbytes, "files": len(found.files), "licence": found.licence, "revision": found.revision}


QUESTIONS = {"look": look, "hub": hub_look}


def main(arguments: list[str]) -> int:
    try:
        answer = QUESTIONS[arguments[0]](**json.load(sys.stdin))
    except FledgeError as wrong:
        answer = {"error": wrong.code, "sentence": wrong.sentence, "remedy": wrong.remedy}
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
