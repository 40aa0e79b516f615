"""Benchmarks: run by hand, each prints what it measured. Their threads wait as the program's own do (engine/project/launch.py)."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
