"""Documents out of people's files: text, tables, web pages, office documents, books, web archives, source code, and archives of them.

Rules
- A folder is walked in sorted order; hidden files are left out, files of other kinds and unreadable ones are listed with the reason.
- Encoding "auto": byte-order mark, else strict UTF-8, else chardet, on the first 256 KB. What does not fit becomes U+FFFD and is counted.
- Line ends become "\\n"; otherwise the text of text files is left as it is. Texts of white space alone are no documents.
- Tables: the text column is the one named so ("text", "content", ...), else the one with the longest texts.
- A bad line, row or member is counted and listed; the rest goes on.
- A text longer than `max_document_bytes` comes in parts, cut at a paragraph, else a line, a sentence, a word.

Streamed wherever the format allows. It splits nothing into train and validation and writes nothing. Files of strangers are read through
engine.text.read_process, which runs these readers in processes that may be killed.
"""

from engine.text.readers.base import CHUNK, LONGEST_LINE, SAMPLE, Part, ReadOptions, Skipped, SourceFile
from engine.text.readers.columns import TEXT_NAMES, choose_column
from engine.text.readers.cutting import best_cut, cut_long
from engine.text.readers.encoding import detect_encoding
from engine.text.readers.kinds import KINDS
from engine.text.readers.listing import list_files
from engine.text.readers.preview import FilePreview, Preview, look_into, preview, summary
from engine.text.readers.reader import Reader

__all__ = ["CHUNK", "KINDS", "LONGEST_LINE", "SAMPLE", "TEXT_NAMES", "FilePreview", "Part", "Preview", "ReadOptions", "Reader", "Skipped",
           "SourceFile", "best_cut", "choose_column", "cut_long", "detect_encoding", "list_files", "look_into", "preview", "summary"]
