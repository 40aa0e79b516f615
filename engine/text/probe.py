"""Looks into files and corpora for the window, in a process of its own: a file that makes a parser hang or die takes only this with it.

    python -m engine.text.probe preview '{"sources": [...], "options": {...}}'
    python -m engine.text.probe documents '{"corpus": DIR, "split": "train", "start": 0, "count": 1, "characters": 20000}'

Prints one JSON object: the answer, or {"error": code, "sentence": .., "remedy": ..}. Reads only.
"""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from engine.contract.errors import FledgeError
from engine.text.corpus import Corpus
from engine.text.readers import ReadOptions, preview


def look(sources: list[str], options: dict[str, Any] | None = None) -> dict[str, Any]:
    """What an import would find: readers.Preview as plain values."""
    return dataclasses.asdict(preview(sources, ReadOptions(**(options or {}))))


def documents(corpus: str, split: str = "train", start: int = 0, count: int = 1, characters: int = 20_000) -> dict[str, Any]:
    """Documents of a corpus artifact, each cut to `characters`, with their whole length."""
    opened = Corpus.open(Path(corpus))
    total = opened.count(split)
    start = max(0, min(start, max(0, total - 1)))
    rows = [{"number": start + i, "id": d.id, "source": d.source, "length": len(d.text), "text": d.text[:characters]}
            for i, d in enumerate(opened.documents(split, start, min(total, start + count)))]
    return {"split": split, "total": total, "documents": rows}


def main(arguments: list[str]) -> int:
    question, given = arguments
    try:
        answer = {"preview": look, "documents": documents}[question](**json.loads(given))
    except FledgeError as wrong:
        print(json.dumps({"error": wrong.code, "sentence": wrong.sentence, "remedy": wrong.remedy}))
        return wrong.exit_code
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
