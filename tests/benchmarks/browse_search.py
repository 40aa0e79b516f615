"""How fast a corpus is prepared for the browser and searched: `python -m tests.benchmarks.browse_search [DOCUMENTS] [WORDS]`.

Makes an artifact of a million documents of 200 words with a natural distribution of words (Zipf over 300,000 of them, and pairs that
recur), a fifth of them removed; prepares it in a process of its own, printing speed and peak memory; then asks each question ten times in
the way a person does, the first time with nothing remembered, through the functions that the window asks. Ends with p50 and p95 over all.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from engine.text.browse import query
from tests.engine.text.browse.made import Made, make

STEPS = ("near_duplicates", "quality", "language")
LIMIT_MS = 200.0

BUILD = """
import sys, threading, time
from pathlib import Path
import psutil
from engine.text.browse import build
most, done, me = 0, threading.Event(), psutil.Process()
def watch():
    global most
    while not done.wait(0.02):
        memory = me.memory_info()
        most = max(most, memory.rss - memory.shared)    # mapped files give way when memory is short
watching = threading.Thread(target=watch)
watching.start()
began = time.perf_counter()
build(Path(sys.argv[1]))
print(time.perf_counter() - began, most)
done.set()
"""


def words(count: int) -> list[str]:
    """Made-up words, the commonest the shortest."""
    parts = ["ba", "ce", "di", "fo", "gu", "la", "me", "ni", "ro", "su", "ta", "ve", "wi", "xo", "zu", "che"]
    made = ["the", "of", "and", "to", "in"]
    for number in range(count - len(made)):
        word, left = "", number + 3
        while left:
            word += parts[left % 16]
            left //= 16
        made.append(word)
    return made


def documents(count: int, length: int, seed: int = 1) -> Iterator[Made]:
    known = np.array(words(300_000), object)
    draw = np.random.default_rng(seed)
    chances = 1 / (np.arange(len(known)) + 2.7)
    ends = np.cumsum(chances / chances.sum())
    for first in range(0, count, 2_000):
        chosen = np.searchsorted(ends, draw.random((2_000, length)))
        for row in range(min(2_000, count - first)):
            number = first + row
            step = STEPS[number % 3] if number % 5 == 0 else None
            near = step == "near_duplicates"
            source = f"folder{number // 100_000}/part-{number // 1_000}.txt"
            yield Made(" ".join(known[chosen[row]]) + f" only{number}", source=source, step=step,
                       rule="gopher_word_count" if step == "quality" else step, root=number % 4, language=("en", "pt", "ro")[number % 3],
                       cluster=number if near else -1, duplicate_of=number + 1 if near else -1, similarity=0.9 if near else 0.0,
                       quality=float(number % 97) / 97, touched=("whitespace",) if number % 7 == 0 else ())


def questions(count: int) -> dict[str, dict[str, Any]]:
    """By name: what is asked of `browse`."""
    return {
        "everything": {}, "last page of everything": {"start": count - 50},
        "the commonest word": {"search": "the"}, "its last page": {"search": "the", "start": count},
        "the commonest word, longest first": {"search": "the", "order": "longest"},
        "two common words": {"search": "the of"}, "three common words, page 2,000": {"search": "the of and", "start": 100_000},
        "a phrase of common words": {"search": '"of the"'}, "four common words in a row": {"search": '"of the and to"'},
        "a rare phrase": {"search": '"vegu cheba"'}, "a phrase of rare words, no hit": {"search": '"zuzuzu xoxoxo"'},
        "a phrase and a prefix": {"search": '"in the" che*'}, "a prefix of one letter": {"search": "b*"},
        "a prefix of three letters": {"search": "che*"}, "one document": {"search": f"only{count // 2}"},
        "no hit": {"search": "nothinglikethis"},
        "common but for common": {"search": "the -of"}, "without a phrase": {"search": 'the -"of the"'},
        "common word among the removed": {"search": "the", "filters": {"split": "removed"}},
        "common word, two filters, by quality": {"search": "and", "filters": {"language": "pt", "step": ""}, "order": "quality"},
        "filters only": {"filters": {"step": "near_duplicates", "root": [1, 2]}}, "a folder": {"filters": {"source": "folder3"}},
        "a pattern of files": {"filters": {"source": "*part-77*"}}, "one group": {"filters": {"cluster": 30}},
        "by source, backwards": {"order": "-source"}, "what a person mistypes": {"search": '"the AND ( OR -* NEAR/'}}


def main(count: int = 1_000_000, length: int = 200) -> None:
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        artifact = make(Path(folder) / "corpus-1", documents(count, length))
        text = sum(f.stat().st_size for f in artifact.glob("*/data-*.arrow"))
        print(f"{count:,} documents, {text / 1e6:,.0f} MB, made in {time.perf_counter() - began:.0f} s", flush=True)
        said = subprocess.run([sys.executable, "-c", BUILD, str(artifact)], check=True, capture_output=True, text=True).stdout.split()
        size = query.index(str(artifact))["bytes"]
        print(f"prepared in {float(said[0]):.1f} s: {text / 1e6 / float(said[0]):.0f} MB/s, peak {int(said[1]) / 1e6:.0f} MB of memory, "
              f"{size / text:.2f} bytes on disk for a byte of text", flush=True)
        began = time.perf_counter()
        query.browse(str(artifact))
        print(f"opened and first page: {(time.perf_counter() - began) * 1e3:.0f} ms", flush=True)
        opened = query.opened(str(artifact))
        every: list[float] = []
        firsts: list[float] = []
        for name, given in questions(count).items():
            times = []
            for _ in range(10):
                opened._found.clear()
                if not times or len(times) % 2:
                    opened._atoms.clear()
                began = time.perf_counter()
                answer = query.browse(str(artifact), **given)
                times.append((time.perf_counter() - began) * 1e3)
            firsts.append(times[0])
            every += times
            about = "" if answer["exact"] else "about "
            print(f"{name:40} {about + format(answer['total'], ','):>16} found   first {times[0]:7.1f}   p50 {np.median(times):7.1f}   "
                  f"p95 {np.percentile(times, 95):7.1f} ms", flush=True)
        for name, ask in {"facets of everything": lambda: query.facets(str(artifact)),
                          "facets of a common word": lambda: query.facets(str(artifact), "of", {"language": "en"}),
                          "ids of 100,000 found": lambda: query.numbers(str(artifact), "the"),
                          "clusters": lambda: query.clusters(str(artifact)), "one cluster": lambda: query.cluster(str(artifact), 30),
                          "a document": lambda: query.document(str(artifact), count // 3)}.items():
            opened.answers.clear()
            began = time.perf_counter()
            ask()
            print(f"{name:40} {(time.perf_counter() - began) * 1e3:30.1f} ms", flush=True)
        print(f"all searches: p50 {np.median(every):.1f} ms, p95 {np.percentile(every, 95):.1f} ms, slowest first {max(firsts):.1f} ms "
              f"(limit {LIMIT_MS:.0f} ms)")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
