"""Short work off the window's thread: read a folder, count bytes. Long work belongs in processes.

No Qt object is ever touched in a thread: results wait in a queue that the window's thread looks at while work is under way, since signals
across threads have crashed this toolkit elsewhere.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from PySide6.QtCore import QObject, QTimer
from shiboken6 import isValid

LOOK_MS = 15
THREADS = 3


class Background(QObject):
    """`run(work, then=..., failed=...)`: `work` in a thread, `then(result)` or `failed(exception)` here. With an `owner` that is gone by
    then nothing is called. An exception nobody takes is raised here, for the hook."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="background")
        self._pending: list[tuple[Future[Any], Callable[[Any], object] | None, Callable[[Exception], object] | None, QObject | None]] = []
        self._timer = QTimer(self)
        self._timer.setInterval(LOOK_MS)
        self._timer.timeout.connect(self._look)
        self._open = True

    def run(self, work: Callable[[], Any], then: Callable[[Any], object] | None = None,
            failed: Callable[[Exception], object] | None = None, owner: QObject | None = None) -> None:
        if not self._open:
            return
        self._pending.append((self._pool.submit(work), then, failed, owner))
        self._timer.start()

    @property
    def busy(self) -> bool:
        return bool(self._pending)

    def close(self) -> None:
        """Nothing more is started or told; what is under way ends by itself."""
        self._open = False
        self._timer.stop()
        self._pending.clear()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _look(self) -> None:
        done = [job for job in self._pending if job[0].done()]
        self._pending = [job for job in self._pending if not job[0].done()]
        if not self._pending:
            self._timer.stop()
        for future, then, failed, owner in done:
            if future.cancelled() or (owner is not None and not isValid(owner)):
                continue
            wrong = future.exception()
            if wrong is None:
                if then is not None:
                    then(future.result())
            elif failed is not None and isinstance(wrong, Exception):
                failed(wrong)
            else:
                raise wrong
