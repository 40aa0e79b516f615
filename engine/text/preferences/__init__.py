"""Files of pairs in and out: TRL, Anthropic's transcripts, Argilla, tables with two answers and a label, and Fledge's own.

`look` and `read` parse in a watched process (engine/text/row_files); `write` writes. Nothing here knows the library.
"""

from engine.text.preferences.mapping import KINDS, MEANINGS, Mapping, mapping_of
from engine.text.preferences.rows import look, read
from engine.text.preferences.writing import FORMS, write
from engine.text.row_files.kind import Look, Refused
from engine.text.row_files.writing import Written

__all__ = ["FORMS", "KINDS", "MEANINGS", "Look", "Mapping", "Refused", "Written", "look", "mapping_of", "read", "write"]
