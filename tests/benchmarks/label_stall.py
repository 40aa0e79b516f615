"""How long labelling ever holds the window's thread, and how soon the next card stands:
`python -m tests.benchmarks.label_stall [PAIRS [SECONDS]]`.

A real project with many pairs, some long and some of several turns, is labelled in the real window as fast as cards come; queues are
opened, turned and searched, undo and redo are walked. Needs no display. "Next card": from the key to the card that follows, its label on
the disk in between; "write" is that part which the disk takes.
"""

import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engine.contract.rows import Answer, Message, Pair, pair_id
from engine.project.project import Project
from tests.benchmarks.window_parts import WindowParts, alone
from tests.benchmarks.window_stall import LIMIT_MS, _wait

PAIRS, SECONDS = 100_000, 4.0
MARKED = "It left at **{n}** with the mail, and `quay {n}` was empty.\n\n- forty passengers\n- no fog\n- one dog\n\n"


def pairs(count: int) -> Iterator[Pair]:
    """Answers of a few lines, every tenth of some hundred words, every seventh prompt a conversation."""
    for n in range(count):
        prompt = [Message(role="user", content=f"What did the harbour paper write about ferry {n}?")]
        if n % 7 == 3:
            prompt = [Message(role="user", content="What is a ferry?"),
                      Message(role="assistant", content="A boat that carries people and goods across water, again and again. " * 8),
                      *prompt]
        first = MARKED.format(n=n % 12) * (8 if n % 10 == 0 else 1)
        second = f"Ferry {n} was late because of *fog*. " * (60 if n % 10 == 5 else 3)
        yield Pair(id=pair_id(prompt, first, second), prompt=tuple(prompt), first=Answer(text=first), second=Answer(text=second))


class LabelStall(WindowParts):
    def __init__(self, folder: Path, count: int, seconds: float) -> None:
        project = Project.create(folder / "project", "Pairs")
        library = project.library.pairs
        self.set = library.create_set("Ferries").id
        library.add(self.set, pairs(count))
        super().__init__(project, seconds)
        self.cards: list[float] = []
        self.writes: list[float] = []

    def do(self) -> None:
        self.part("built: page", lambda n: self.window.show_page("preference"), once=True)
        page: Any = self.window.pages["preference"]
        self.wait(lambda: page._view == "start")
        self.part("built: first card", lambda n: page.open_label((self.set,)), once=True)
        view, desk = page.label, page.label.desk
        self.wait(lambda: desk.now is not None)
        draw = random.Random(1)
        library = type(self.project.library.pairs)
        label = library.label

        def timed(*given: Any, **named: Any) -> Any:
            began = time.perf_counter()
            made = label(*given, **named)
            self.writes.append(1000 * (time.perf_counter() - began))
            return made
        library.label = timed  # type: ignore[method-assign]

        def pick(n: int) -> None:
            before, began = desk.now, time.perf_counter()
            view.act(draw.choice(("left", "right", "right", "left", "tie", "bad", "skip")))
            self.wait(lambda: desk.now is not before, sleep=0.0)
            self.cards.append(1000 * (time.perf_counter() - began))
        self.part("cards labelled", pick)
        library.label = label  # type: ignore[method-assign]
        self.part("undo and redo", lambda n: view.act("undo" if n % 3 else "redo"))
        view.act("marks")
        _wait(self.app, 3.0)
        view.act("escape")

        def mark(n: int) -> None:
            view.act("marks")
            _wait(self.app, 0.1)
            view.act("escape")
        self.part("differences marked", mark)
        self.part("built: queues", lambda n: page.open_queues((self.set,)), once=True)
        queues = page.queues
        self.part("queues turned", lambda n: queues._turn(1))
        self.part("queues searched while typing", lambda n: queues.search.setText("ferry 999"[:1 + n % 9]))
        queues.search.setText("")

        def go(n: int) -> None:
            queues.queue.set(("todo", "done", "skipped", "flagged")[n % 4])
            queues._again()
        self.part("queues changed", go)
        self.part("sets", lambda n: page.to_start() if n % 2 else page.open_label((self.set,)))


def spread(values: list[float]) -> str:
    """Median, 95th percentile and the most, in milliseconds."""
    kept = sorted(values)
    return f"{kept[len(kept) // 2]:.1f} / {kept[int(0.95 * (len(kept) - 1))]:.1f} / {kept[-1]:.1f} ms" if kept else "–"


def main(words: list[str]) -> int:
    count, seconds = int(words[0]) if words else PAIRS, float(words[1]) if len(words) > 1 else SECONDS
    with alone() as folder:
        measured = LabelStall(folder, count, seconds)
        found = measured.all()
    for name, stall in found.items():
        print(f"{name:32} {stall.words()}")
    print(f"{count:,} pairs; next card (median / 95 % / most): {spread(measured.cards)}, of it write {spread(measured.writes)}")
    used = [s for name, s in found.items() if not name.startswith("built")]
    print(f"own work of the window's thread at most {max(s.work for s in used):.1f} ms, {sum(s.over for s in used)} gaps over "
          f"{LIMIT_MS:.0f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
