"""Files of conversations in and out: Alpaca, ShareGPT, OpenAI messages, TRL, questions with answers, and columns that a person maps.

`look` and `read` parse in a watched process that is killed when it hangs or takes too much, since the files are nobody's to trust; `write`
writes. Nothing here knows the library.
"""

from engine.text.conversations.mapping import KINDS, ROLES, Mapping, mapping_of
from engine.text.conversations.rows import look, read
from engine.text.conversations.writing import FORMS, write
from engine.text.row_files.kind import Look, Refused
from engine.text.row_files.writing import Written

__all__ = ["FORMS", "KINDS", "ROLES", "Look", "Mapping", "Refused", "Written", "look", "mapping_of", "read", "write"]
