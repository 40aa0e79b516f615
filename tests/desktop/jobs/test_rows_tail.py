"""Rows of a run are followed by whole lines, from where reading stood, in short turns."""

import time
from pathlib import Path

from desktop.jobs.rows_tail import RowsTail


class Taken:
    def __init__(self) -> None:
        self.lines: list[tuple[int, bytes]] = []

    def __call__(self, offset: int, line: bytes) -> None:
        self.lines.append((offset, line))


def test_a_file_that_comes_later_and_grows(qtbot, tmp_path: Path) -> None:
    path, taken = tmp_path / "rows.jsonl", Taken()
    tail = RowsTail(path, taken)
    with qtbot.waitSignal(tail.caught_up):
        tail.start()
    path.write_bytes(b"one\ntw")
    qtbot.waitUntil(lambda: len(taken.lines) == 1, timeout=4000)
    with open(path, "ab") as file:
        file.write("o\ndrüben\n".encode())
    qtbot.waitUntil(lambda: len(taken.lines) == 3, timeout=4000)
    assert taken.lines == [(0, b"one"), (4, b"two"), (8, "drüben".encode())]
    for offset, line in taken.lines:  # an offset leads to its line
        with open(path, "rb") as file:
            file.seek(offset)
            assert file.readline() == line + b"\n"
    tail.stop()


def test_it_goes_on_where_it_stood(qtbot, tmp_path: Path) -> None:
    path, taken = tmp_path / "rows.jsonl", Taken()
    path.write_bytes(b"a\n")
    tail = RowsTail(path, taken)
    with qtbot.waitSignal(tail.caught_up):
        tail.start()
    tail.stop()
    with open(path, "ab") as file:
        file.write(b"b\n")
    qtbot.wait(100)
    assert len(taken.lines) == 1
    tail.start()
    qtbot.waitUntil(lambda: len(taken.lines) == 2, timeout=4000)
    tail.stop()


def test_lines_longer_than_a_slice_are_taken_whole(qtbot, tmp_path: Path) -> None:
    path, taken = tmp_path / "rows.jsonl", Taken()
    path.write_bytes(b"x" * 300_000 + b"\n" + b"y" * 70_000 + b"\n")
    tail = RowsTail(path, taken)
    with qtbot.waitSignal(tail.caught_up):
        tail.start()
    assert [(at, len(line)) for at, line in taken.lines] == [(0, 300_000), (300_001, 70_000)]
    tail.stop()


def test_many_rows_are_taken_in_short_turns(qtbot, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"id": "x", "flags": []}\n' * 40_000)
    count = 0

    def slow(offset: int, line: bytes) -> None:
        nonlocal count
        count += 1
        until = time.perf_counter() + 20e-6
        while time.perf_counter() < until:
            pass
    tail = RowsTail(path, slow)
    longest = 0.0
    read = tail.read_slice

    def timed() -> bool:
        nonlocal longest
        began = time.thread_time()
        more = read()
        longest = max(longest, time.thread_time() - began)
        return more
    tail.read_slice = timed  # type: ignore[method-assign]
    with qtbot.waitSignal(tail.caught_up, timeout=30_000):
        tail.start()
    assert count == 40_000 and longest < 0.03
    tail.stop()
