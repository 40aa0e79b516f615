"""Writes a corpus artifact for other programs: its kept documents as Parquet or JSONL, or its report as a page. What the command line and
the window call; the formats themselves are text/export_corpus.py and report_page.py.
"""

import time
from collections.abc import Callable
from pathlib import Path

from engine.contract.words import language
from engine.project import files
from engine.project.artifacts import Artifact, ArtifactStore
from engine.stages.corpus.report_page import report_html
from engine.text import export_corpus

FORMATS = (*export_corpus.FORMATS, "html")


def export(made: Artifact, form: str, target: Path, report: Callable[[int, int], None] = lambda done, total: None) -> int:
    """Write `target` (replaced in one step) and return its rows, 0 for the report. `form` is one of FORMATS; `report` gets (documents, in
    all). A full disk is a DiskFull, with the file that was there intact."""
    assert form in FORMATS
    try:
        if form == "html":
            when = time.strftime("%Y-%m-%d %H:%M", time.localtime(made.created))
            page = report_html(made.facts, made.title, when, language(), settings=made.spec, tokens=counted_tokens(made))
            files.write_bytes(target, page.encode("utf-8"))
            return 0
        return export_corpus.export(made.path, target, form, report)
    except OSError as wrong:
        raise files.disk_error(wrong, target) from wrong


def counted_tokens(made: Artifact) -> int:
    """Tokens of a corpus as a tokenizer counted them last; 0 while none has."""
    shards = [a for a in ArtifactStore(made.path.parents[1]).list("tokens") if made.id in a.parents]
    return sum(int(shards[-1].facts.get(f"{split}_tokens", 0)) for split in ("train", "validation")) if shards else 0
