"""Precision and recall of harmful content and personal data by kind, and the speed of both: `python -m tests.benchmarks.planted_set`.

The texts are planted (tests/engine/text/cleaning/planted_*.py): drawn from seeds or written by hand, with look-alikes. For harmful texts
the set `known` was used while the lists were made, `plain` and `indirect` were not; `indirect` has no telling words, so lists find little.
Real texts beside the checkout (a novel, school problems), where they are, show what is found where nothing should be.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

from engine.text.cleaning.draft import Draft
from engine.text.cleaning.harm import KINDS, Harm, marks, score
from engine.text.cleaning.learned import train
from engine.text.cleaning.personal import find
from tests.engine.text.cleaning.planted_harm import INDIRECT, KNOWN, PLAIN, HarmText
from tests.engine.text.cleaning.planted_personal import Planted, measure, personal, written

DATA = Path(__file__).resolve().parents[2] / ".." / "shared" / "data"


def print_personal(name: str, rows: list[Planted]) -> None:
    figures, mistakes = measure(rows, lambda text: [tuple(f) for f in find(text)])
    print(f"Personal data: {name} ({len(rows):,} texts)")
    print(f"  {'kind':10} {'precision':>9} {'recall':>9} {'planted':>8} {'look-alikes':>12}")
    for kind, figure in figures.items():
        alike = sum(row.kind in (kind, "none") and not row.values for row in rows)
        print(f"  {kind:10} {figure.precision:9.4f} {figure.recall:9.4f} {figure.right + figure.missed:8,} {alike:12,}")
    for mistake in mistakes[:10]:
        print("   ", mistake[:180].replace("\n", "\\n"))


def print_harm(name: str, rows: list[HarmText], step: Harm) -> None:
    print(f"Harmful texts: {name}")
    print(f"  {'kind':10} {'precision':>9} {'recall':>9} {'harmful':>8} {'look-alikes':>12}")
    for kind in (*KINDS, "all"):
        chosen = [row for row in rows if kind in (row.kind, "all")]
        said = []
        for row in chosen:
            step(draft := Draft(row.text, language=row.language))
            said.append(max(draft.scores.values(), default=0.0) > step.threshold)
        right = sum(s and row.harmful for s, row in zip(said, chosen, strict=True))
        harmful = sum(row.harmful for row in chosen)
        precision = f"{right / sum(said):9.3f}" if any(said) else f"{'-':>9}"
        print(f"  {kind:10} {precision} {right / max(1, harmful):9.3f} {harmful:8} {len(chosen) - harmful:12}")


def print_real() -> None:
    for file, language, region in (("war-and-peace.txt", "en", "US"), ("gsm8k-train.jsonl", "en", "US"), ("tinyshakespeare.txt", "en",
        "US")):
        path = DATA / file
        if not path.exists():
            continue
        text = path.read_text(encoding="utf-8")
        pieces = [text[i:i + 3000] for i in range(0, len(text), 3000)]
        step = Harm()
        over = 0
        for piece in pieces:
            step(draft := Draft(piece, language=language))
            over += max(draft.scores.values(), default=0.0) > 0.5
        found = find(text, region=region)
        print(f"{file}: {over} of {len(pieces):,} pieces of 3,000 characters called harmful; {len(found)} personal data")
        megabytes = len(text.encode()) / 1e6
        print(f"  speed: personal data {megabytes / _seconds(lambda: find(text)):.0f} MB/s, with a country "       # noqa: B023
              f"{megabytes / _seconds(lambda: find(text, region=region)):.0f} MB/s, "                             # noqa: B023
              f"word lists {megabytes / _seconds(lambda: score(marks(text, language), text)):.0f} MB/s")           # noqa: B023


def _seconds(work: Callable[[], object]) -> float:
    """The best of three, of this process's own time."""
    best = float("inf")
    for _ in range(3):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return max(best, 1e-9)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=99)
    parser.add_argument("--each", type=int, default=500)
    given = parser.parse_args()
    print_personal(f"drawn, seed {given.seed}", personal(given.seed, given.each))
    print_personal("written by hand, look-alikes shared by all kinds", written())
    for name, rows in (("known", KNOWN), ("plain", PLAIN), ("indirect", INDIRECT)):
        print_harm(f"{name}, word lists", rows, Harm())
    learned = train([(row.text, row.harmful) for row in [*KNOWN, *PLAIN]])
    assert learned is not None
    print(
        f"Learned from {learned.rows} decisions: cross-validated accuracy {learned.accuracy:.3f}, trust {learned.trust:.2f}")
    print_harm("indirect, word lists and learned", INDIRECT, Harm(learned=learned.plain()))
    print_real()


if __name__ == "__main__":
    main()
