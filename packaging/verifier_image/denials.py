"""Friendly answers where a program reaches for what is not there: files, processes, sleep, real time.

For people, not for safety: the boundary is that the image has no import that leads out, and whoever undoes these lines meets that one.
"""

import builtins
import io
import linecache
import os
import random
import sys
import time
from typing import Any, NoReturn

BEGIN = 1_700_000_000.0
_clock = [BEGIN]


def reset_clock() -> None:
    _clock[0] = BEGIN


def _tick(seconds: float = 1e-4) -> float:
    _clock[0] += seconds
    return _clock[0]


def _denied(name: str) -> Any:
    def refuse(*words: Any, **named: Any) -> NoReturn:
        raise PermissionError(f"{name} is not available inside the verifier sandbox")
    return refuse


def _exit(code: int = 0) -> NoReturn:
    raise SystemExit(code)


class _Nowhere:
    """The only finder: what was not imported while the image was built does not exist."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> NoReturn:
        raise ModuleNotFoundError(f"No module named {name!r} in the verifier sandbox", name=name)


def close() -> None:
    real_gmtime = time.gmtime
    time.time = time.monotonic = time.perf_counter = time.process_time = time.thread_time = lambda: _tick()
    time.time_ns = time.monotonic_ns = time.perf_counter_ns = time.process_time_ns = lambda: int(_tick() * 1e9)
    time.sleep = lambda seconds: _tick(max(0.0, float(seconds))) and None
    time.localtime = time.gmtime = lambda seconds=None: real_gmtime(_tick() if seconds is None else seconds)
    for name in ("open", "listdir", "scandir", "stat", "lstat", "mkdir", "rmdir", "unlink", "remove", "rename", "replace", "symlink",
                 "readlink", "chdir", "getcwd", "access", "utime", "link", "truncate", "write", "read", "pipe", "close", "dup", "fstat",
                 "isatty", "abort", "fork", "system", "kill", "posix_spawn", "popen"):
        setattr(os, name, _denied(f"os.{name}"))
    os._exit = _exit
    os.urandom = lambda count: random.randbytes(count)      # the call's own: what it draws is the same in every run
    builtins.open = io.open = _denied("open")
    builtins.input = _denied("input")
    builtins.breakpoint = _denied("breakpoint")
    linecache.getline = lambda *words, **named: ""
    linecache.getlines = lambda *words, **named: []
    linecache.checkcache = lambda *words, **named: None
    linecache.updatecache = lambda *words, **named: []
    sys.meta_path[:] = [_Nowhere]
    sys.path[:] = []
    sys.path_hooks[:] = []
    sys.path_importer_cache.clear()
    for name in ("socket", "subprocess", "select", "_socket", "ctypes", "_ctypes", "multiprocessing", "tempfile", "shutil", "glob"):
        sys.modules.pop(name, None)

