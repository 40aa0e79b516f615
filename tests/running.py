"""Which processes this one has started. Those that have ended and only wait to be noticed are none."""

import psutil


def children(words: str, of: int | None = None, recursive: bool = False) -> list[psutil.Process]:
    """Those with `words` in their command line; of this process unless `of` names another."""
    found = []
    for one in psutil.Process(of).children(recursive=recursive):
        try:
            if words in " ".join(one.cmdline()):
                found.append(one)
        except psutil.Error:
            continue
    return found
