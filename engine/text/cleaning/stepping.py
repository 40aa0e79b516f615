"""Takes many documents through steps, looking only at those that a step could change. Which steps, and what is counted: clean.py."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.text.cleaning.draft import Draft, Step


def run(steps: Sequence[Step], texts: pa.Array, ids: Sequence[str], sources: Sequence[str],
         seconds: dict[str, float]) -> list[Draft | None]:
    """Every step over all documents; None for a document that no step looked at. `seconds` gets each step's processor time."""
    drafts: list[Draft | None] = [None] * len(texts)
    touched: set[int] = set()
    decoded: list[str] | None = None
    for step in steps:
        started = time.process_time()
        suspects = getattr(step, "suspects", None)
        rows: Sequence[int] = range(len(texts))
        if suspects is not None:
            rows = sorted(touched.union(np.flatnonzero(suspects(texts)).tolist()))
        elif decoded is None:
            decoded = texts.to_pylist()
        for row in rows:
            if drafts[row] is None:
                drafts[row] = Draft(decoded[row] if decoded is not None else texts[row].as_py(), ids[row], sources[row])
        given = [(row, draft) for row in rows if (draft := drafts[row]) is not None and draft.verdict is None]
        batch = getattr(step, "batch", None)
        if batch is not None:
            batch([draft for _, draft in given])
        for row, draft in given:
            if batch is None:
                step(draft)
            if draft.touches:
                touched.add(row)
        seconds[step.id] = seconds.get(step.id, 0.0) + time.process_time() - started
    return drafts


def whole(column: Any) -> pa.Array:
    """One array of large strings."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], pa.large_string())
    return column.cast(pa.large_string())


def changes(texts: pa.Array, drafts: Sequence[Draft | None]) -> tuple[pa.Array, pa.Array]:
    """(texts with what the drafts made of them, bool: which changed)."""
    changed = pa.array([d is not None and bool(d.touches) for d in drafts], pa.bool_())
    made = pa.array([d.text for d in drafts if d is not None and d.touches], pa.large_string())
    return (whole(pc.replace_with_mask(texts, changed, made)) if len(made) else texts), changed
