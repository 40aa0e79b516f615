"""Which column of a table holds the text. It reads no table."""

import re
from collections.abc import Sequence
from typing import Any

from engine.contract.errors import FormatError
from engine.contract.words import tr

TEXT_NAMES = ("text", "content", "body", "document", "article", "passage", "story", "raw_content", "document_text", "text_content",
              "markdown", "message", "review", "post", "abstract", "transcript", "code")


def choose_column(name: str, columns: dict[str, list[Any]], wanted: str = "") -> str:
    """The column that holds the text; a FormatError names the columns where none can be told."""
    if wanted:
        for column in columns:
            if column == wanted or column.casefold() == wanted.strip().casefold():
                return column
        raise FormatError(tr("{name} has no column called {column}.", name=name, column=wanted),
                          tr("Its columns: {columns}.", columns=", ".join(columns) or tr("none")), code="no_such_column",
                          field="text_column")
    folded = {column.strip().casefold(): column for column in reversed(columns)}
    for known in TEXT_NAMES:
        if known in folded and (_mean_length(columns[folded[known]]) > 0 or not any(columns.values())):
            return folded[known]
    if "chosen" in folded and "rejected" in folded and _mean_length(columns[folded["chosen"]]) > 0:
        return folded["chosen"]     # pairs of answers: the one that people preferred, however long the other is
    lengths = {column: _mean_length(values) for column, values in columns.items()}
    best = max(lengths, key=lengths.__getitem__, default="")
    alone = sum(length > 0 for length in lengths.values()) == 1
    if best and lengths[best] >= (1 if len(columns) == 1 else 8 if alone else 20):
        return best
    if any(columns.values()) and not any(lengths.values()):
        raise FormatError(tr("{name} has no column with text.", name=name), tr("Its columns: {columns}.", columns=", ".join(columns)),
                          code="which_column", field="text_column")
    raise no_column(name, tuple(columns))


def no_column(name: str, columns: Sequence[str]) -> FormatError:
    return FormatError(tr("It is not clear which column of {name} holds the text.", name=name),
                       tr("Set the text column to one of: {columns}.", columns=", ".join(columns) or tr("none")), code="which_column",
                       field="text_column")


def _mean_length(values: Sequence[Any]) -> float:
    texts = [v for v in values if isinstance(v, (str, bytes))]
    # Numbers as text (ids, dates, prices) are no prose however long.
    prose = [v for v in texts if not isinstance(v, str) or re.search(r"[^\W\d_]{2}", v)]
    return sum(map(len, prose)) / len(values) if values and len(texts) * 2 >= len(values) else 0.0


