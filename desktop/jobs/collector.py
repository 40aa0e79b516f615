"""Keeps Python's cyclic garbage collector from holding the window.

A full collection walks every object alive: with numpy, pydantic and a few pages that is 30 to 130 ms, many times a frame. What a page is
made of lives as long as the page, so once it is built it is set aside for good; later collections walk only what came since.
"""

import gc


def set_aside() -> None:
    """Everything alive now is not walked again. Cheap at any time: nothing is walked for it."""
    gc.freeze()
