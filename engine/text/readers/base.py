"""What the readers share: the person's options, a file to be read, a part of a text, and the bounds. It reads nothing."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from engine.contract.errors import FormatError
from engine.contract.words import tr

CHUNK = 1_000_000
SAMPLE = 256_000
LONGEST_LINE = 64_000_000
"""Characters of a JSON line or table cell; a longer one is counted as bad and skipped without being held."""
LISTED = 20
"""Bad lines that are listed with their number; the others are only counted."""


@dataclass(frozen=True)
class ReadOptions:
    """What the person may override: see CorpusSpec. `split_by` (file, blank_lines, line) applies to text files."""

    encoding: str = "auto"
    text_column: str = ""
    split_by: str = "file"
    max_document_bytes: int = 1_000_000


@dataclass(frozen=True)
class SourceFile:
    """A file to be read (for kind "hf" the folder of a saved dataset). `name` is how it is called in the corpus: its path inside what was
    given. `root` is the number of the source it was found in; `packing` is "gz", "bz2", "xz", "zst" or "" for a file that is itself
    compressed."""

    path: Path
    name: str
    kind: str
    size: int
    root: int = 0
    packing: str = ""


@dataclass(frozen=True)
class Skipped:
    """A file that is left out, and why."""

    name: str
    reason: str


class Part(NamedTuple):
    """A text, or a part of a long one. `document` counts the documents of the file; `last` marks the last part of a document; `source` is
    the name of the archive's member it came from, "" for the file itself."""

    document: int
    text: str
    last: bool
    source: str = ""


def damaged(name: str, kind: str, reason: str) -> FormatError:
    """A file that is not what its name says, in one line."""
    first = (reason.strip().splitlines() or [""])[0].strip(" .:")[:300]
    return FormatError(tr("{name} is a damaged {kind} file ({reason}).", name=name, kind=kind, reason=first),
                       tr("Make or download it again."), code="damaged")
