"""Files of problems in and out: GSM8K, MATH, multiple choice, any table with a question and an answer, and Fledge's own.

`look` and `read` parse in a watched process (engine/text/row_files); `write` writes. Nothing here knows the library.
"""

from engine.text.problem_files.mapping import KINDS, Mapping, mapping_of
from engine.text.problem_files.rows import look, read
from engine.text.problem_files.writing import FORMS, write
from engine.text.row_files.kind import Look, Refused
from engine.text.row_files.writing import Written

__all__ = ["FORMS", "KINDS", "Look", "Mapping", "Refused", "Written", "look", "mapping_of", "read", "write"]
