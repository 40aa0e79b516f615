"""Rich Text Format, by striprtf."""

import re
from typing import TYPE_CHECKING

from engine.contract.errors import FormatError
from engine.contract.units import size as shown_size
from engine.contract.words import tr
from engine.text.readers.encoding import read_fully
from engine.text.readers.reader import foreign

if TYPE_CHECKING:
    from engine.text.readers.reader import Pieces, Reader

LARGEST = 100_000_000
_PICTURES = re.compile(r"(?<=[\s}])[0-9a-fA-F\s]{2000,}(?=})")
"""The bytes of pictures, written as digits: most of a large file, and nothing of its text."""


def pieces(reader: "Reader") -> "Pieces":
    from striprtf.striprtf import rtf_to_text

    name = reader.file.name
    with reader.opened() as stream:
        raw = read_fully(stream, LARGEST + 1)
    if len(raw) > LARGEST:
        raise FormatError(tr("{name} is larger than {size}.", name=name, size=shown_size(LARGEST)), tr("Save it as .docx or .txt."))
    page = re.search(rb"\\ansicpg(\d{3,5})", raw[:4096])
    reader.encoding = f"cp{page[1].decode()}" if page else "cp1252"
    with foreign(name, "RTF"):
        text = _PICTURES.sub("", raw.decode(reader.encoding if reader.encoding != "cp65001" else "utf-8", "replace"))
        reader.tick()
        text = rtf_to_text(text, errors="replace")
    yield text.replace("\r\n", "\n").strip("\n"), True
