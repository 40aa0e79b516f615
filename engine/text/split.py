"""How text is cut before byte pairs are merged: Llama 3's regular expression (llama.cpp's `llama-bpe`), and exact cuts of long texts.

It does no encoding. `cut` splits a long text only where the expression always has a border, whatever stands around it, so that the
parts encode to the same ids as the whole; it is what keeps memory bounded and one huge text parallel.
"""

import re
from collections.abc import Iterator

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
# The same with every digit alone: for training only. A vocabulary learned this way has no pair across digits, so that encoding with
# LLAMA3 gives one token a digit too.
LLAMA3_SINGLE_DIGITS = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")

CHUNK = 65_536
"""Characters of a part that is looked for."""
LONGEST = 4_000_000
"""Characters after which a text without any border is cut all the same. Only there can ids differ from those of the uncut text."""

# A match of LLAMA3 holds a space only as its first character or among other white space. So before a space that follows something else
# than white space there is always a border. Likewise between a CJK or kana letter and CJK punctuation: a match with letters ends with the
# last one.
_BORDER = re.compile(r"(?<=[^\s\x1c-\x1f])(?= )"
                     r"|(?<=[\u3041-\u3096\u30a1-\u30fa\u3400-\u4dbf\u4e00-\u9fff])(?=[\u3001\u3002\uff01\uff0c\uff1a\uff1b\uff1f])")


def cut(text: str, size: int = CHUNK, longest: int = LONGEST) -> Iterator[str]:
    """`text` in parts of about `size` characters, each ending at a border; joined they are the text."""
    start, total = 0, len(text)
    while total - start > size:
        border = _BORDER.search(text, start + size, min(total, start + longest))
        end = border.start() if border else min(total, start + longest)
        yield text[start:end]
        start = end
    if start < total or total == 0:
        yield text[start:]


def has_long_blank(text: str, block: int = 16_384) -> bool:
    """Whether white space runs on for about `block` characters or more: tiktoken's regex engine overflows its stack near 300,000.
    Never misses a run of 2 * `block`; costs a look at one character in `block` of ordinary text."""
    return any(text[i:i + block].isspace() for i in range(0, len(text) - block + 1, block))
