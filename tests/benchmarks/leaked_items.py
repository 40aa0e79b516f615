"""Held-out problems, documents that leak them, and documents that only look like it; and how fast overlap is found.

    python -m tests.benchmarks.leaked_items      megabytes a second on one processor, with a set the size of GSM8K's test split
"""

import random
import sys
import time
from typing import NamedTuple

KINDS = ("whole", "partial", "re-cased", "re-punctuated", "answer", "joined")
_NAMES = "Ana Ben Carla Dmitri Ewa Farid Grace Hiro Ines Jonas Kira Luca Mina Noor Otto Pia Quinn Rosa Sven Tara".split()
_THINGS = "apples pencils stamps marbles shells tickets bottles ribbons candles coins eggs books cards stickers buttons".split()
_PLACES = "market school harbour library station bakery garden museum kitchen workshop".split()
_DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
_FILLER = ("sea boat wind rope sail storm calm tide shore gull mast deck crew lamp night morning river stone bridge road hill wood field "
           "snow rain summer winter letter brother sister window door table silver quiet heavy early narrow").split()


class Planted(NamedTuple):
    """A document; `item` is the number of the problem in it, None for look-alikes."""

    text: str
    kind: str
    item: int | None


def problems(rng: random.Random, count: int) -> list[tuple[str, str]]:
    """(question, answer) in the manner of GSM8K; no two are equal."""
    made: dict[str, str] = {}
    while len(made) < count:
        question, answer = _problem(rng)
        made.setdefault(question, answer)
    return list(made.items())


def _problem(rng: random.Random) -> tuple[str, str]:
    name, other = rng.sample(_NAMES, 2)
    thing, place, day = rng.choice(_THINGS), rng.choice(_PLACES), rng.choice(_DAYS)
    a, b, c = rng.randint(3, 99), rng.randint(2, 12), rng.randint(2, 60)
    d, e, f, g = rng.choices(_FILLER, k=4)
    question = rng.choice((
        f"{name} buys {a} {d} boxes of {thing} at the {place} on {day}. Each {e} box holds {b} of them, and {other} brings {c} more {f} "
        f"ones. How many {g} {thing} do {name} and {other} have together?",
        f"On {day}, {name} had {a} {d} {thing}. After giving {other} {c} of the {e} ones at the {place}, {name} found {b} times as many "
        f"{f} ones as were left. How many {g} {thing} does {name} have now?",
        f"{other} pays {name} {a} cents for every {b} {d} {thing} carried to the {e} {place}. If {name} carries {c} {f} {thing} on {day}, "
        f"what does {other} owe for the {g} work?"))
    answer = (f"{name} begins with {a} {d} {thing} and there are {b} for each {e} one, which makes {a} * {b} = <<{a}*{b}={a * b}>>{a * b} "
              f"{f} {thing}.\nWith {c} more {g} ones at the {place} that is {a * b} + {c} = <<{a * b}+{c}={a * b + c}>>{a * b + c} {thing} "
              f"on {day}.\n#### {a * b + c}")
    return question, answer


def filler(rng: random.Random, words: int) -> str:
    return " ".join(rng.choices(_FILLER, k=words)).capitalize() + "."


def planted(rng: random.Random, rows: list[tuple[str, str]], count: int) -> list[Planted]:
    """A third leak a problem, a third are other problems in the same form, a third are prose."""
    made = []
    known = {question for question, _ in rows}
    for n in range(count):
        prose = filler(rng, rng.randint(30, 150))
        if n % 3 == 0:
            made.append(leaked(rng, rows, n // 3, prose))
        elif n % 3 == 1:
            question, answer = _problem(rng)
            if question not in known:
                made.append(lookalike(f"{prose} {question} {answer}"))
        else:
            made.append(lookalike(prose))
    return made


def lookalike(text: str) -> Planted:
    return Planted(text, "none", None)


def leaked(rng: random.Random, rows: list[tuple[str, str]], number: int, prose: str) -> Planted:
    """Prose with a problem in its middle, in one of the KINDS in turn."""
    item = rng.randrange(len(rows))
    question, answer = rows[item]
    kind = KINDS[number % len(KINDS)]
    words = question.split()
    if kind == "whole":
        text = f"Q: {question}\nA: {answer}"
    elif kind == "partial":
        # Words as they are compared may be more than these, never fewer but for lone signs.
        length = min(len(words), 17)
        start = rng.randint(0, len(words) - length)
        text = " ".join(words[start:start + length])
    elif kind == "re-cased":
        text = rng.choice((str.upper, str.lower, str.title, str.swapcase))(question)
    elif kind == "re-punctuated":
        text = "\n".join(f"«{word.strip('.,?!')}» –" if rng.random() < 0.3 else word.strip(".,?!") + rng.choice(("", ";", " ...", "!"))
                         for word in words)
    elif kind == "answer":
        text = answer
    else:
        text = question + " " + answer.replace("\n", " ").replace("<<", " ").replace(">>", " ")
    middle = len(prose) // 2
    return Planted(f"{prose[:middle]}\n{text}\n{prose[middle:]}", kind, item)


def main() -> None:
    import numpy as np
    import pyarrow as pa

    from engine.text.dedup.contamination import HeldOut, _slices, scan
    from engine.text.dedup.held_out_rows import Item

    rng = random.Random(0)
    rows = problems(rng, 1319)
    held = HeldOut.of_items(Item("set", f"set:{n}", row) for n, row in enumerate(rows))
    documents = [d.text for d in planted(rng, rows, 3000)]
    texts = pa.array([filler(rng, 400) for _ in range(12_000)] + documents, pa.large_string())
    size = sum(len(t.as_py().encode()) for t in texts)
    for _ in range(3):
        began = time.process_time()
        hits = sum(len(scan(texts.slice(a, b - a), held, np.arange(a, b))) for a, b in _slices(texts))
        taken = time.process_time() - began
    print(f"{size / 1e6:.1f} MB, {len(held.value_G):,} sequences of {len(held.names):,} items, {hits:,} finds: "
          f"{size / taken / 1e6:.1f} MB/s")


if __name__ == "__main__":
    sys.exit(main())
