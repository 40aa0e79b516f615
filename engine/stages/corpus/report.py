"""The report of a corpus: one plain object with everything a person asks about it. Counts only; pages are made of it elsewhere.

Documents are counted as the person gave them: a long text that was cut into parts is one, and is removed only when all its parts are.
"""

from typing import Any

import numpy as np

from engine.contract.words import tr, trn
from engine.stages.corpus.decide import Fates
from engine.stages.corpus.phases import Cleaned, Gathered
from engine.stages.corpus.spec import CorpusSpec
from engine.stages.corpus.write import EDGES, STEP_NAMES, Written
from engine.text.dedup.contamination import Overlaps
from engine.text.dedup.find import Duplicates
from engine.text.removal import STEPS

_NOTHING = [0, 0]
BYTES_PER_TOKEN = 4
"""Of the estimate that stands until the corpus is tokenized."""


def removed_by_step(fates: Fates) -> tuple[int, dict[str, int]]:
    """(documents kept, documents removed by each step that removed any). A long text in parts is removed by the step of its first part."""
    if not len(fates.code):
        return 0, {}
    starts = np.flatnonzero(np.r_[True, fates.whole[1:] != fates.whole[:-1]])
    any_kept = np.maximum.reduceat(fates.kept.astype(np.int8), starts).astype(bool)
    codes, counts = np.unique(fates.code[starts][~any_kept], return_counts=True)
    found = {str(STEP_NAMES[int(c)]): int(n) for c, n in zip(codes, counts, strict=True)}
    return int(any_kept.sum()), {step: found[step] for step in STEPS if step in found}


def report(spec: CorpusSpec, fates: Fates, found: Duplicates, written: Written, cleaned: Cleaned, gathered: Gathered,
           overlap: Overlaps | None, seconds: dict[str, float]) -> dict[str, Any]:
    """Everything about a corpus that was written; `seconds` of each phase so far."""
    kept, removed = removed_by_step(fates)
    splits = written.splits
    size = int(fates.bytes[fates.kept].sum())
    counts, skipped = cleaned.counts, gathered.skipped
    files = [{**row, "documents": written.files.get(row["file"], _NOTHING)[0], "bytes": written.files.get(row["file"], _NOTHING)[1],
              "documents_read": row["documents"], "bytes_read": row["bytes"]} for row in gathered.files]
    made: dict[str, Any] = {
        "documents": kept, "read": kept + sum(removed.values()), "parts": int(fates.kept.sum()), "originals": kept,
        "bytes": size, "characters": sum(s["characters"] for s in splits.values()), "tokens_estimate": round(size / BYTES_PER_TOKEN),
        "removed": removed, "rules": written.rules, "touched": {**counts["steps"], **cleaned.passages},
        "funnel": _funnel(kept, removed, found, written),
        "languages": [{"code": code, "documents": n, "bytes": b}
                      for code, (n, b) in sorted(written.languages.items(), key=lambda item: -item[1][1])],
        "lengths": {"edges_bytes": EDGES, "counts": written.lengths},
        "duplicates": found.facts, "boilerplate": cleaned.boilerplate,
        "contamination": {"items": 0, "sets": [], "short": 0, "common": 0, **(overlap.report() if overlap else {}),
                          "documents": len(fates.overlap), "validation": fates.shared, "action": spec.contamination},
        "harm": counts["harm"], "borderline": counts["borderline"], "personal": counts["personal"],
        "mix": [{**row, "name": gathered.roots[row["root"]]} for row in fates.mix.rows], "splits": splits,
        "split_by": "hash" if fates.cuts is None else "tail", "files": len(files),
        "size": sum(int(row.get("size") or 0) for row in files), "sources": files, "skipped_count": len(skipped),
        "skipped": skipped, "bad_lines": sum(f["bad"] for f in files), "replaced": sum(f["replaced"] for f in files),
        "seconds": dict(seconds),
    }
    return made


def _funnel(kept: int, removed: dict[str, int], found: Duplicates, written: Written) -> list[dict[str, Any]]:
    """Rows of the funnel chart: read, each step that removed something, kept."""
    left = kept + sum(removed.values())
    rows = [{"step": "read", "title": tr("Read"), "left": left, "removed": 0, "note": ""}]
    for step, count in removed.items():
        left -= count
        rows.append({"step": step, "title": STEPS[step], "left": left, "removed": count, "note": _note(step, found, written)})
    rows.append({"step": "kept", "title": tr("Kept"), "left": kept, "removed": 0, "note": ""})
    return rows


def _note(step: str, found: Duplicates, written: Written) -> str:
    if step == "near_duplicates":
        contained = written.rules.get("contained", 0)
        words = tr("similarity from {threshold}", threshold=f"{found.facts['threshold']:.2f}")
        return words + (", " + trn("{count} is an excerpt", "{count} are excerpts", contained) if contained else "")
    return ""
