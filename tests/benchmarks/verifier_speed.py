"""How many verdicts the sandbox gives a second, with two workers: `python -m tests.benchmarks.verifier_speed`.

Fresh: an interpreter of its own for each call. Warm: one interpreter for many calls of a verifier that may share it. Programs: a program of
eight lines over five inputs. Mathematics: two LaTeX expressions, compared by math-verify, fresh. The rates by processor time are what
two processors to themselves would give: on a busy machine the others are lower. `--check` fails below 200 fresh and 3,000 warm a second.
"""

import argparse
import sys
import time
from collections.abc import Callable

import psutil

from engine.verifiers.api import Attempt
from engine.verifiers.builtin import MathVerifier
from engine.verifiers.pool import Pool
from engine.verifiers.programs import ProgramVerifier
from engine.verifiers.python_verifier import PythonVerifier

WORKERS = 2
FRESH, WARM = 200, 3000
SOURCE = '''import re


def verify(prompt, completion, answer):
    numbers = re.findall(r"-?[0-9]+", completion)
    return 1.0 if numbers and numbers[-1] == answer else 0.0
'''
PROGRAM = '''```python
def sieve(n):
    marks = [True] * (n + 1)
    found = []
    for k in range(2, n + 1):
        if marks[k]:
            found.append(k)
            marks[k * k::k] = [False] * len(marks[k * k::k])
    return found
```'''
PRIMES = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29]


def processor_seconds() -> float:
    """Of all sandbox processes so far."""
    return sum(sum(one.cpu_times()[:2]) for one in psutil.Process().children(recursive=True))


def measure(calls: int, call: Callable[[int], object]) -> tuple[float, float]:
    """Calls a second on the clock, and by processor time of WORKERS processors."""
    call(calls // 10)
    began, used = time.perf_counter(), processor_seconds()
    call(calls)
    return calls / (time.perf_counter() - began), WORKERS * calls / max(processor_seconds() - used, 1e-9)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args(arguments)
    attempts = [Attempt(({"role": "user", "content": "How much is 17 + 25?"},), f"17 + 25 makes {n % 50}", "42") for n in range(10_000)]
    programs = [Attempt((), PROGRAM, {"entry": "sieve", "tests": [{"arguments": [n], "expected": [p for p in PRIMES if p <= n]}
                                                                  for n in (2, 9, 10, 20, 30)]})] * 400
    sums = [Attempt((), r"It is $\boxed{\frac{2}{4}\sqrt{8}}$.", r"$\sqrt{2}$")] * 200
    with Pool(WORKERS) as pool:
        print(f"walls: {pool.start()}; {psutil.cpu_count()} processors, load {psutil.getloadavg()[0]:.1f}")
        warm, fresh = PythonVerifier(SOURCE, pool), PythonVerifier(SOURCE, pool, fresh=True)
        rates = {
            "warm": measure(10_000, lambda count: warm.score(attempts[:count])),
            "fresh": measure(800, lambda count: fresh.score(attempts[:count])),
            "programs": measure(400, lambda count: ProgramVerifier(pool).score(programs[:count])),
            "mathematics": measure(200, lambda count: MathVerifier(pool).score(sums[:count])),
        }
        memory = sum(one.memory_info().rss for one in psutil.Process().children(recursive=True)) / WORKERS
    for name, (rate, by_processor) in rates.items():
        print(f"{name:12} {rate:8,.0f} a second   {by_processor:8,.0f} by processor time")
    print(f"memory of a worker: {memory / 1e6:.0f} MB, most of it the image, which both share")
    return 1 if options.check and (rates["fresh"][0] < FRESH or rates["warm"][0] < WARM) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
