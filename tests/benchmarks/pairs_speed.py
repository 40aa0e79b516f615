"""How fast pairs are added and labelled: `python -m tests.benchmarks.pairs_speed [PAIRS] [FOLDER]`.

Fills a library with that many pairs (a million, answers of 300 and 400 characters), then opens it anew, in a process that has read nothing
of it, and asks for the first card; then cards and labels by turns in each order, undo, lists, counts, what a run is made with, label files,
quality. The last lines ask the same of an annotator who has labelled most of the set. Times are wall clock; a label is on the disk when its
call returns, so it costs what the disk's flush costs.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from engine.contract.rows import Answer, Message, Pair, pair_id
from engine.project.labels import Label
from engine.project.pairs import Pairs
from engine.project.project import Project


def rows(start: int, count: int) -> Iterator[Pair]:
    for n in range(start, start + count):
        prompt = (Message(role="user", content=f"Question {n}: " + "what would you do about it? " * 4),)
        first, second = f"Answer {n}. " + "It is so. " * 29, f"Reply {n}. " + "It is otherwise. " * 23
        yield Pair(id=pair_id(prompt, first, second), prompt=prompt, first=Answer(text=first, model="m1", facts={"seed": n}),
                   second=Answer(text=second, model="m2"), origin="import:made.jsonl")


def told(what: str, times: list[float]) -> None:
    times = sorted(times)
    print(f"{what:58} median {times[len(times) // 2] * 1e3:8.2f} ms   most {times[-1] * 1e3:8.2f} ms   ({len(times)})", flush=True)


def clocked(times: list[float], call, *args, **how):
    began = time.perf_counter()
    made = call(*args, **how)
    times.append(time.perf_counter() - began)
    return made


def label(pairs: Pairs, set_id: str, author: str, order: str, count: int = 200) -> None:
    first, cards, ahead, labels = [], [], [], []
    card = clocked(first, pairs.next, [set_id], author, order=order)
    for n in range(count):
        later = clocked(ahead, pairs.next, [set_id], author, order=order, after=card.pair.id, passing=[card.pair.id])
        assert later is not None
        clocked(labels, pairs.label, card.pair.id, Label("first", 2, author=author, left=card.left, round=card.round, position=n + 1))
        card = clocked(cards, pairs.next, [set_id], author, order=order)
    told(f"{author}, {order}: first card", first)
    told(f"{author}, {order}: next card", cards)
    told(f"{author}, {order}: the card behind, ahead of time", ahead)
    told(f"{author}, {order}: label", labels)


def look(folder: Path, set_id: str, number: int) -> None:
    """In a process that starts with nothing of the library in memory but what the system keeps of the file."""
    opened, times = [], []
    began = time.perf_counter()
    pairs = clocked(opened, lambda: Project.open(folder).library).pairs
    pairs.next([set_id], "Ada")
    print(f"{'library opened and first card shown':58} {time.perf_counter() - began:8.3f} s (opening {opened[0]:.3f} s)")
    for order in ("order", "random", "unsure"):
        label(pairs, set_id, "Ada", order)
    for _ in range(200):
        clocked(times, pairs.undo, "Ada")
    told("undo", times)
    for what, call in (("sets with their counts", pairs.sets), ("progress", lambda: pairs.progress([set_id], "Ada")),
                       ("first page of the list to do", lambda: pairs.queue([set_id], "todo", "Ada")),
                       ("page in the middle of the set", lambda: pairs.rows(set_id, number // 2))):
        times = []
        for _ in range(5):
            clocked(times, call)
        told(what, times)
    times = []
    clocked(times, lambda: sum(1 for _ in pairs.for_training([set_id])))
    told("labelled pairs streamed for a run (few are)", times)
    print(f"{'label file of 80 % of the pairs joined':58}", end=" ", flush=True)
    most = number * 4 // 5
    ids = (r[0] for r in pairs._rows("select p.id from pair_members m join pairs p on p.number = m.pair where m.set_number = 1"
                                     " order by m.place limit ?", [most]))
    lines = ({"kind": "label", "id": f"l{n}", "pair_id": id, "author": "Ben", "round": 1, "choice": "a" if n % 3 else "tie", "strength": 1,
              "edited": "", "comment": "", "flagged": False, "left_side": "a", "seconds": 3.0, "position": n % 200, "made": 1.7e9 + 4 * n,
              "revision": 1, "changed": 1.7e9 + 4 * n, "deleted": False} for n, id in enumerate(ids))
    began = time.perf_counter()
    merged = pairs.merge_labels(lines)
    print(f"{merged.new / (time.perf_counter() - began):8,.0f} labels/s")
    for order in ("order", "random", "unsure"):
        label(pairs, set_id, "Ben", order, 50)
    times = []
    clocked(times, pairs.quality, [set_id])
    told(f"quality of {merged.new:,} labels", times)
    began = time.perf_counter()
    count = sum(1 for _ in pairs.for_training([set_id]))
    print(f"{'labelled pairs streamed for a run':58} {count / (time.perf_counter() - began):8,.0f} pairs/s")


def main(number: int, folder: Path) -> None:
    project = Project.create(folder / "pairs")
    pairs = project.library.pairs
    set_id = pairs.create_set("made").id
    taken, added = 0.0, 0
    while added < number:
        made = list(rows(added, min(20_000, number - added)))  # making pairs is not what is measured
        began = time.perf_counter()
        added += pairs.add(set_id, made)
        taken += time.perf_counter() - began
    print(f"{f'{number:,} pairs added':58} {number / taken:8,.0f} pairs/s")
    began = time.perf_counter()
    pairs.set_scores("1-reward", ((r[0], 0.0, 0.0, n * 2654435761 % 1000 / 1000) for n, r in enumerate(
        pairs._rows("select id from pairs", []))))
    print(f"{'scores of a reward model kept':58} {number / (time.perf_counter() - began):8,.0f} pairs/s")
    project.library.close()
    print(f"{'library on disk':58} {(project.dir / 'library.sqlite').stat().st_size / 1e9:8.2f} GB", flush=True)
    subprocess.run([sys.executable, "-m", "tests.benchmarks.pairs_speed", "look", str(project.dir), set_id, str(number)], check=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["look"]:
        look(Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
    else:
        count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
        with tempfile.TemporaryDirectory(dir=sys.argv[2] if len(sys.argv) > 2 else None) as place:
            main(count, Path(place))
