"""A growing run never holds the window's thread, nor do rows, wizards and figures: short forms of tests/benchmarks/window_stall.py and
answers_stall.py, judged by the thread's own work."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.alone
def test_the_window_works_in_short_turns() -> None:
    done = subprocess.run([sys.executable, "-m", "tests.benchmarks.window_stall", "3", "200000"], cwd=ROOT, capture_output=True, text=True,
                          timeout=240, env={**os.environ, "QT_QPA_PLATFORM": "offscreen"}, check=False)
    said = re.search(r"of its own work ([\d.]+) ms", done.stdout)
    assert said is not None, done.stdout + done.stderr
    assert float(said[1]) < 50.0, done.stdout


@pytest.mark.alone
def test_pages_of_examples_and_answers_work_in_short_turns() -> None:
    done = subprocess.run([sys.executable, "-m", "tests.benchmarks.answers_stall", "3000", "0.3"], cwd=ROOT, capture_output=True, text=True,
                          timeout=240, env={**os.environ, "QT_QPA_PLATFORM": "offscreen"}, check=False)
    said = re.search(r"own work of the window's thread at most ([\d.]+) ms", done.stdout)
    assert said is not None, done.stdout + done.stderr
    assert float(said[1]) < 50.0, done.stdout
