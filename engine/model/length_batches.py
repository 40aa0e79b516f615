"""Sequences put together by length: batches of neighbours, so that little is padded and none is too large. No tensors, no files."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

Sizes = Sequence[int] | np.ndarray


def batched(sizes: Sizes, numbers: Iterable[int], tokens: int) -> Iterator[list[int]]:
    """Numbers of sequences, neighbours in size, largest first; at most `tokens` together where one alone has not more."""
    return in_order(sizes, sorted(numbers, key=lambda n: (-int(sizes[n]), n)), tokens)


def in_order(sizes: Sizes, numbers: Iterable[int], tokens: int) -> Iterator[list[int]]:
    """The same of numbers whose order stays."""
    some: list[int] = []
    held = 0
    for number in numbers:
        size = int(sizes[number])
        if some and held + size > tokens:
            yield some
            some, held = [], 0
        some.append(number)
        held += size
    if some:
        yield some
