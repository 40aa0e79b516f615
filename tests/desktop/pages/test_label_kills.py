"""People label by keyboard in a real window that is killed on the way: every label whose next card was seen is there, none twice."""

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from engine.contract.rows import Answer, Message, Pair, pair_id
from engine.project import layout
from engine.project.project import Project

ROOT = Path(__file__).parents[3]
LONGEST = 120.0


def pairs(count: int) -> Iterator[Pair]:
    for n in range(count):
        prompt = (Message(role="user", content=f"What did the paper write about ferry {n}?"),)
        first, second = f"It left at **{n % 12}** with the mail.", f"Ferry {n} was late because of fog, said the harbour master."
        yield Pair(id=pair_id(prompt, first, second), prompt=prompt, first=Answer(text=first), second=Answer(text=second))


def new_project(folder: Path, count: int) -> tuple[Path, str]:
    project = Project.create(folder, "Lowland Gazette")
    chosen = project.library.pairs.create_set("Ferries")
    project.library.pairs.add(chosen.id, pairs(count))
    project.library.close()
    return folder, chosen.id


def said(project: Path) -> int:
    """Labels of the first round that are on the disk, read as another program would."""
    with closing(sqlite3.connect(f"file:{layout.library_file(project)}?mode=rw", uri=True, timeout=30)) as db:
        return int(db.execute("select count(*) from labels where force = 1 and round = 1").fetchone()[0])


def check(project: Path, chosen: str, count: int) -> None:
    """Every pair has one label, and the counts know it."""
    opened = Project.open(project)
    library_of = opened.library
    library = library_of.pairs
    labels = library.labels([chosen])
    assert len(labels) == count and set(Counter(one.pair for one in labels).values()) == {1}
    assert library.get_set(chosen).labelled == count and library.get_set(chosen).todo == 0
    assert all(one.choice in ("first", "second", "tie", "bad") for one in labels)
    assert {one.left for one in labels} == {"first", "second"}
    library_of.close()


def environment(folder: Path, **more: str) -> dict[str, str]:
    return {**os.environ, "FLEDGE_HOME": str(folder / "home"), "PYTHONPATH": str(ROOT), **more}


def label_with_kills(folder: Path, count: int, kills: int, seed: int) -> int:
    """How often it was killed."""
    project, chosen = new_project(folder / "project", count)
    draw, killed = random.Random(seed), 0
    while True:
        process = subprocess.Popen([sys.executable, "-m", "tests.desktop.label_person", str(project), chosen, str(draw.random())[2:10]],
                                   cwd=ROOT, env=environment(folder, QT_QPA_PLATFORM="offscreen"), stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        before, seen, done = said(project), 0, False
        last = draw.randint(2, max(3, count // (kills + 1))) if killed < kills else 10 ** 9
        for line in process.stdout:
            if line.startswith("done"):
                done = True
            seen += line.startswith("seen")
            if seen > last:
                time.sleep(draw.random() * 0.02)  # anywhere between two cards
                process.kill()
                break
        process.stdout.close()
        process.wait(LONGEST)
        assert done or seen > last, f"the window ended by itself: {process.returncode}"
        assert done or said(project) >= before, "labels were lost"
        if done:
            return killed
        killed += 1


def test_labels_survive_a_kill(tmp_path: Path) -> None:
    assert label_with_kills(tmp_path, 24, 1, 3) == 1
    check(tmp_path / "project", "pair-set-1", 24)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(shutil.which("Xvfb") is None or shutil.which("xdotool") is None, reason="needs Xvfb and xdotool")
def test_two_hundred_pairs_are_labelled_at_a_real_screen_with_ten_kills(tmp_path: Path) -> None:
    """The program as people start it, on a virtual screen; keys by xdotool from outside; killed ten times in the middle of typing."""
    project, chosen = new_project(tmp_path / "project", 200)
    reading, writing = os.pipe()
    screen = subprocess.Popen(["Xvfb", "-displayfd", str(writing), "-screen", "0", "1400x900x24", "-nolisten", "tcp"], pass_fds=[writing],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        os.close(writing)
        display = f":{os.read(reading, 16).decode().strip()}"
        around = environment(tmp_path, DISPLAY=display, QT_QPA_PLATFORM="xcb")
        draw, killed, labels = random.Random(7), 0, 0

        def press(*keys: str) -> None:
            subprocess.run(["xdotool", "key", "--delay", "4", *keys], env=around, check=False, timeout=30)

        while labels < 200:
            app = subprocess.Popen([sys.executable, "-m", "desktop.main", str(project)], cwd=ROOT, env=around,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                _to_labelling(around, app, project)
                target = 200 if killed == 10 else min(199, labels + draw.randint(9, 20))
                end = time.monotonic() + LONGEST
                while said(project) < target:
                    assert app.poll() is None, "the window ended by itself"
                    assert time.monotonic() < end, f"{said(project)} labels, and no more came"
                    before = said(project)
                    press(*draw.choices(("Left", "Right", "Up", "Down"), k=draw.choice((1, 2, 3))))
                    until = time.monotonic() + 1.0
                    while said(project) == before and time.monotonic() < until:
                        time.sleep(0.005)
                if killed < 10:
                    press(*draw.choices(("Left", "Right"), k=3))
                    time.sleep(draw.random() * 0.05)
                    app.send_signal(signal.SIGKILL)
                    killed += 1
            finally:
                app.kill()
                app.wait(LONGEST)
            now = said(project)
            assert now >= target, "labels were lost"
            labels = now
        assert killed == 10
    finally:
        screen.terminate()
        screen.wait(10)
        os.close(reading)
    check(project, chosen, 200)


def _to_labelling(around: dict[str, str], app: "subprocess.Popen[bytes]", project: Path) -> None:
    """From the program's start to a card: the window, the page by its key, and, the first time, the set by Enter."""
    end = time.monotonic() + LONGEST
    found = ""
    while not found and time.monotonic() < end:
        assert app.poll() is None, "the window ended by itself"
        found = subprocess.run(["xdotool", "search", "--onlyvisible", "--name", "Lowland Gazette"], env=around, capture_output=True,
                               text=True, check=False).stdout.split("\n")[0]
        time.sleep(0.1)
    assert found, "no window came"
    subprocess.run(["xdotool", "windowfocus", "--sync", found], env=around, check=False, timeout=30)
    from desktop.pages import keys
    subprocess.run(["xdotool", "key", keys()["preference"].lower()], env=around, check=False)
    time.sleep(2.5)  # the page is built, the sets are read
    if not said(project):
        subprocess.run(["xdotool", "key", "Return"], env=around, check=False)
        time.sleep(0.5)
