"""Work on many parts with several processes: in order, stoppable, and without orphans when the parent is killed.

Small work is done in this process: starting others costs a third of a second each.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")


def processes() -> int:
    """How many processes this machine has room for: the processors this process may use."""
    return max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def each(work: Callable[[T], R], items: Sequence[T], count: int = 0, *,
         check: Callable[[], None] = lambda: None) -> Iterator[tuple[int, R]]:
    """(number, work(item)) as they are done, in any order, with `count` processes (0: as many as there is room for; 1 or a single item:
    in this process). `work` and its items must be picklable. `check` is called a few times a second and may raise: what has begun is
    then awaited, the rest is not begun. An exception of `work` is raised here."""
    count = min(count or processes(), len(items))
    if count <= 1:
        for number, item in enumerate(items):
            check()
            yield number, work(item)
        return
    with ProcessPoolExecutor(count, mp_context=get_context("spawn"), initializer=_follow, initargs=(os.getpid(),)) as pool:
        waiting: dict[Future[Any], int] = {}
        rest = iter(enumerate(items))
        try:
            while True:
                # Few are handed over at a time, so that a stop does not wait for all.
                while len(waiting) < count + 1 and (following := next(rest, None)) is not None:
                    waiting[pool.submit(work, following[1])] = following[0]
                if not waiting:
                    return
                done, _ = wait(waiting, timeout=0.25, return_when=FIRST_COMPLETED)
                check()
                for future in done:
                    yield waiting.pop(future), future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _follow(parent: int) -> None:
    """End with the parent: a pool's processes would otherwise wait for ever for one that was killed."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
