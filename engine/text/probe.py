"""Looks into files and corpora for the window, in a process of its own: a file that makes a parser hang or die takes only this with it.

    python -m engine.text.probe preview      {"sources": [...], "options": {...}, "source_options": {PATH: {...}}}
    python -m engine.text.probe clean_preview  {"sources": [...], "settings": {...}, "options": {...}, "source_options": {...}}
    python -m engine.text.probe documents    {"corpus": DIR, "split": "train", "start": 0, "count": 1, "characters": 20000}
    python -m engine.text.probe lab          {"tokenizer": DIR, "others": {"Name": DIR}, "text": "..."}
    python -m engine.text.probe browse       {"corpus": DIR, "search": "..."}      # and the other questions of browse/query.py
    python -m engine.text.probe quoted       {"corpus": DIR, "document": ID, "quote": "..."}       # and differences: see quoted.py
    python -m engine.text.probe serve        # the same questions, [number, question, given] a line; [number, answer] a line back

What is given comes as JSON on stdin. Prints one JSON object: the answer, or {"error": code, "sentence": .., "remedy": ..}. Reads only, but
for `index`, which prepares a corpus for the browser.
"""

import dataclasses
import json
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

from engine.contract.errors import FledgeError
from engine.text import quoted, read_look
from engine.text.browse import query
from engine.text.corpus import Corpus
from engine.text.lab import Cutter, RawBytes, colour, measure
from engine.text.readers import ReadOptions
from engine.text.tokenizer import Tokenizer

SAMPLE_CHARACTERS, SAMPLE_SECONDS = 8_000, 20.0
"""Of each document that settings are tried on, and for reading them all."""
PIECES = 6_000
"""Pieces that are sent to be shown; the measures are of the whole text."""


def look(sources: list[str], options: dict[str, Any] | None = None,
         source_options: dict[str, dict[str, Any]] | None = None) -> dict[str, Any]:
    """What an import would find: readers.Preview as plain values. `source_options`: what differs for single sources, by path as given."""
    given = options or {}
    by_root = [ReadOptions(**{**given, **(source_options or {}).get(source, {})}) for source in sources]
    return dataclasses.asdict(read_look.look(sources, by_root))


def clean_preview(sources: list[str], settings: dict[str, Any], options: dict[str, Any] | None = None,
                  source_options: dict[str, dict[str, Any]] | None = None, documents: int = 200) -> dict[str, Any]:
    """What the cleaning settings (names of CorpusSpec, plain values) would do to the beginnings of about so many documents of all sources:
    see cleaning.clean.sample. The documents are read once for as long as the sources stay the same."""
    from engine.text.cleaning.clean import CleanPlan, sample
    return sample(_beginnings(json.dumps([sources, options or {}, source_options or {}, documents])), CleanPlan.of(settings))


@lru_cache(maxsize=2)
def _beginnings(asked: str) -> list[tuple[str, str]]:
    """(source, text) of the first documents, as many of each source."""
    sources, options, source_options, documents = json.loads(asked)
    found: list[tuple[str, str]] = []
    for source in sources[:documents]:
        each = [ReadOptions(**{**options, **source_options.get(source, {})})]
        share = max(1, documents // min(len(sources), documents))
        seen = read_look.look([source], each, files=8, texts=share, characters=SAMPLE_CHARACTERS,
                              in_all=max(1.0, SAMPLE_SECONDS / len(sources)))
        found += [(name, text) for name, text in seen.texts]
    return found


def documents(corpus: str, split: str = "train", start: int = 0, count: int = 1, characters: int = 20_000) -> dict[str, Any]:
    """Documents of a corpus artifact, each cut to `characters`, with their whole length."""
    opened = Corpus.open(Path(corpus))
    total = opened.count(split)
    start = max(0, min(start, max(0, total - 1)))
    rows = [{"number": start + i, "id": d.id, "source": d.source, "length": len(d.text), "text": d.text[:characters]}
            for i, d in enumerate(opened.documents(split, start, min(total, start + count)))]
    return {"split": split, "total": total, "documents": rows}


def lab(tokenizer: str, text: str, others: dict[str, str] | None = None) -> dict[str, Any]:
    """A text cut by a tokenizer: [[piece, [ids]], ...], and every tokenizer's measures on it, raw bytes included (by the name "")."""
    mine = _tokenizer(tokenizer)
    pieces = colour(mine, text)
    cutters: dict[str, Cutter] = {tokenizer: mine, "": RawBytes(), **{name: _tokenizer(path) for name, path in (others or {}).items()}}
    measures = {}
    for name, cutter in cutters.items():
        found = measure(cutter, [text])
        measures[name] = {"tokens": found.tokens, "bytes": found.bytes, "characters": found.characters, "vocab_size": cutter.vocab_size,
                          "by_script": found.by_script}
    return {"pieces": [[p.text, list(p.ids)] for p in pieces[:PIECES]], "count": len(pieces), "measures": measures}


def tokens(tokenizer: str, ids: list[int]) -> dict[str, Any]:
    """The texts of tokens, for people."""
    mine = _tokenizer(tokenizer)
    return {"texts": [mine.token_text(id) for id in ids]}


@lru_cache(maxsize=8)
def _tokenizer(path: str) -> Tokenizer:
    """Artifacts never change, so that a tokenizer loaded once stays right."""
    return Tokenizer.load(path)


QUESTIONS = {"preview": look, "clean_preview": clean_preview, "documents": documents, "lab": lab, "tokens": tokens,
             "quoted": quoted.quoted, "differences": quoted.differences,
             "browse": query.browse, "facets": query.facets,
             "numbers": query.numbers, "document": query.document, "clusters": query.clusters, "cluster": query.cluster,
             "index": query.index, "forget": query.forget}


def answer(question: str, given: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """The answer and its exit code; a typed error is an answer too."""
    try:
        return QUESTIONS[question](**given), 0
    except FledgeError as wrong:
        return {"error": wrong.code, "sentence": wrong.sentence, "remedy": wrong.remedy}, wrong.exit_code


def serve() -> int:
    """Answer lines until the other side closes."""
    for line in sys.stdin:
        number, question, given = json.loads(line)
        print(json.dumps([number, answer(question, given)[0]]), flush=True)
    return 0


def main(arguments: list[str]) -> int:
    if arguments == ["serve"]:
        return serve()
    (question,) = arguments
    made, code = answer(question, json.load(sys.stdin))
    print(json.dumps(made))
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
