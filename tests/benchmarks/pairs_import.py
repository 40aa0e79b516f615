"""Pairs a second from a file into the library, as the window imports them: the process that writes, and the child of it that parses.
`python -m tests.benchmarks.pairs_import [--pairs 100000] [FILE]`; without a FILE transcripts like Anthropic's, of three turns and 1,300
characters a pair, are made up. Beside the wall it prints what each process computed: that does not change with who else uses the machine.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WORDS = ("the", "of", "a", "answer", "people", "better", "which", "because", "would", "some", "think", "water", "house", "write", "often",
         "number", "small", "“quoted”", "naïve", "great", "maybe", "another", "question", "should", "in", "on", "with", "it", "is")


def make(path: Path, count: int) -> None:
    chance = random.Random(7)
    texts = [" ".join(chance.choices(WORDS, k=chance.randint(8, 40))) for _ in range(2_000)]
    with open(path, "w", encoding="utf-8") as file:
        for n in range(count):
            said = [chance.choice(texts) for _ in range(5)]
            head = f"\n\nHuman: {n}. {said[0]}?\n\nAssistant: {said[1]}.\n\nHuman: {said[2]}?\n\nAssistant: "
            file.write(json.dumps({"chosen": head + said[3], "rejected": f"{head}{said[4]}."}, ensure_ascii=False) + "\n")


def main() -> None:
    import psutil

    from engine.project.project import Project
    parser = argparse.ArgumentParser()
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--pairs", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = asked.file or Path(folder) / "pairs.jsonl"
        if asked.file is None:
            make(path, asked.pairs)
        for turn in range(asked.repeats):
            project = Project.create(Path(folder) / f"p{turn}")
            project.library.close()
            began = told = time.monotonic()
            longest = 0.0
            computed: dict[int, float] = {}
            words = [sys.executable, "-m", "engine.stages.preference.pairs_process", str(project.dir), "import", str(path), "x", "{}"]
            with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as child:
                assert child.stdout is not None
                for line in child.stdout:
                    longest, told = max(longest, time.monotonic() - told), time.monotonic()
                    found = json.loads(line)
                    try:
                        for each in (psutil.Process(child.pid), *psutil.Process(child.pid).children()):
                            times = each.cpu_times()
                            computed[each.pid] = times.user + times.system
                    except psutil.NoSuchProcess:
                        pass
            took = time.monotonic() - began
            rows = found["result"]["rows"]
            print(f"{rows:,} pairs, {path.stat().st_size / 1e6:,.0f} MB in {took:.2f} s with the start of both processes: "
                  f"{rows / took:,.0f} pairs/s; at most {longest:.2f} s without a sign; computed: "
                  f"{', '.join(f'{seconds:.2f} s' for seconds in computed.values())}", flush=True)


if __name__ == "__main__":
    main()
