"""How fast the window is: `python -m tests.benchmarks.window [first-paint] [stall]` prints each figure on a line.

first paint   wall time from the start of the process to the end of the first paint of the main window, median of five warm starts
stall         longest hold of the window's thread while a run of a million steps is shown and grows (window_stall.py)
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks import window_stall

ROOT = Path(__file__).resolve().parents[2]
STARTS = 5
FIRST_PAINT = """
import sys, time
from desktop.app import build
app = build()
app.show()
app.qt.processEvents()  # shown, laid out and painted when it returns
print(time.time(), "pyqtgraph" in sys.modules, "torch" in sys.modules, flush=True)
app.window.close()
"""


def first_paint(starts: int = STARTS) -> list[float]:
    """Seconds of each start, after one that fills the caches. The window is shown, laid out and painted when the clock is read."""
    taken = []
    with tempfile.TemporaryDirectory() as home:
        env = {**os.environ, "FLEDGE_HOME": home, "PYTHONPATH": str(ROOT)}
        env.setdefault("QT_QPA_PLATFORM", "offscreen")
        (Path(home) / "machine.json").write_text('{"machine": {"devices": []}}', "utf-8")  # a known machine: nothing is looked for
        for i in range(starts + 1):
            began = time.time()
            done = subprocess.run([sys.executable, "-c", FIRST_PAINT], env=env, cwd=ROOT, capture_output=True, text=True, timeout=60,
                                  check=True)
            painted, chart, torch = done.stdout.split()
            assert (chart, torch) == ("False", "False"), "the first paint loaded what it does not need"
            if i:
                taken.append(float(painted) - began)
    return taken


def print_first_paint() -> None:
    taken = first_paint()
    print(f"first paint {statistics.median(taken):.3f} s (median of {len(taken)}; {min(taken):.3f} to {max(taken):.3f})")


def print_stall() -> None:
    window_stall.main()


PARTS: dict[str, Callable[[], None]] = {"first-paint": print_first_paint, "stall": print_stall}


def main(names: list[str]) -> int:
    for name in names or PARTS:
        PARTS[name]()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
