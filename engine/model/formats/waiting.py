"""Waiting for a process of one's own without being deaf meanwhile."""

import subprocess
from collections.abc import Callable

EVERY = 0.2


def wait_for(child: "subprocess.Popen[bytes]", heed: Callable[[], None]) -> None:
    """Until it ends. `heed` is called a few times a second; what it raises ends the child and comes through."""
    try:
        while True:
            try:
                child.wait(EVERY)
                return
            except subprocess.TimeoutExpired:
                heed()
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
