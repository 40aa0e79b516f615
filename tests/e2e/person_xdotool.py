"""A person at a screen: `python -m tests.e2e.person_xdotool PICTURES` goes from the first window to a chat with a trained model, brings
questions and answers, fine-tunes it on them and talks with what came out; exits non-zero if it does not arrive.

Outside the application altogether: a virtual screen (Xvfb), a window manager if there is one (openbox), the real window as a process of its
own, mouse and keyboard by xdotool. What to press is seen in pictures of the screen: the one filled button of a page is the way on; a few
fields, and the rail's entries, are where a window of 1280 x 800 has them. Numbered pictures of the way go to PICTURES.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PySide6.QtGui import QImage

from desktop.theme.palette import LIGHT
from engine.project.models import list_models
from engine.project.project import Project
from engine.world import World

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ("Xvfb", "xdotool", "import")
SCREEN = "1400x900x24"
TEXT_BYTES = 200_000
BUTTON_WIDTH, BUTTON_HEIGHT = (56, 300), (26, 44)
DIAL_LEFT = (313, 239)
FIELDS = {"Context length": (662, 432), "Tokens to train on": (662, 530), "Batch": (662, 579), "Samples": (662, 677)}
SETTINGS = {"Context length": "64", "Tokens to train on": "60000", "Batch": "1024", "Samples": "20"}
LEFT_PANE = (270, 175, 740, 600)
RAIL = {"Instruction data": (94, 205), "Fine-tune": (94, 235)}
BESIDE = 56
QUESTIONS = 80
PROMPT = "Hanna's job is"
Box = tuple[int, int, int, int]


class NotSeen(Exception):
    """What was waited for did not come to the screen."""


def missing() -> list[str]:
    """The programs this needs and the machine lacks."""
    return [tool for tool in TOOLS if shutil.which(tool) is None]


def colour(token: str) -> NDArray[np.int16]:
    return np.array([int(LIGHT[token][i:i + 2], 16) for i in (1, 3, 5)], np.int16)


def filled_buttons(screen: NDArray[np.uint8]) -> list[Box]:
    """Left, top, width, height of each rectangle in the accent colour that has the size of a button, top to bottom."""
    accent = (np.abs(screen.astype(np.int16) - colour("accent")).max(axis=2) <= 3)
    runs: dict[tuple[int, int], list[int]] = {}
    for y in np.flatnonzero(accent.sum(axis=1) >= BUTTON_WIDTH[0]):
        edges = np.flatnonzero(np.diff(np.concatenate(([0], accent[y].astype(np.int8), [0]))))
        for left, right in zip(edges[::2], edges[1::2], strict=True):
            if BUTTON_WIDTH[0] <= right - left <= BUTTON_WIDTH[1]:
                runs.setdefault((left // 12, right // 12), []).append(int(y))
                runs.setdefault(((left + 6) // 12, (right + 6) // 12), []).append(int(y))
    found: dict[tuple[int, int], Box] = {}
    for (left, right), rows in runs.items():
        for part in np.split(np.array(sorted(set(rows))), np.flatnonzero(np.diff(sorted(set(rows))) > 24) + 1):
            height = int(part[-1] - part[0] + 1)
            if BUTTON_HEIGHT[0] <= height <= BUTTON_HEIGHT[1]:
                found[(int(part[0]) // 8, left // 2)] = (left * 12, int(part[0]), (right - left) * 12, height)
    return sorted(found.values(), key=lambda box: box[1])


class Person:
    """Looks at the screen, moves the mouse, types."""

    def __init__(self, display: str, pictures: Path) -> None:
        self.environment = dict(os.environ, DISPLAY=display)
        self.pictures, self._taken = pictures, 0
        self.origin = (0, 0)

    def do(self, *words: str) -> str:
        return subprocess.run(["xdotool", *words], env=self.environment, capture_output=True, text=True, timeout=30, check=False).stdout

    def look(self) -> NDArray[np.uint8]:
        """The screen, [height, width, red green blue]."""
        file = self.pictures / "now.png"
        subprocess.run(["import", "-silent", "-window", "root", str(file)], env=self.environment, check=True, timeout=30)
        image = QImage(str(file)).convertToFormat(QImage.Format.Format_RGB888)
        rows = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
        return rows[:, :image.width() * 3].reshape(image.height(), image.width(), 3).copy()

    def keep(self, name: str) -> None:
        self.look()
        self._taken += 1
        shutil.copy(self.pictures / "now.png", self.pictures / f"{self._taken:02d}-{name}.png")

    def wait(self, what: str, until: Callable[[], object], seconds: float = 60.0):
        """Look again and again until it is there."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if found := until():
                return found
            time.sleep(0.3)
        self.keep("not-seen")
        raise NotSeen(f"waited {seconds:.0f} s for {what}; see {self.pictures}")

    def window(self) -> bool:
        """Find the window's inner corner, which is the rail's (a window manager counts its frame in or not); whether it is there."""
        rail = np.abs(self.look().astype(np.int16) - colour("rail")).max(axis=2) <= 1
        rows = np.flatnonzero(rail.sum(axis=1) >= 200)
        if rows.size < 500:
            return False
        self.origin = (int(np.flatnonzero(rail[rows[0]])[0]), int(rows[0]))
        return True

    def button(self, besides: list[Box] | None = None) -> Box | None:
        """The filled button on the screen, of those that were not there before."""
        return next((box for box in filled_buttons(self.look()) if box not in (besides or [])), None)

    def press_at(self, x: float, y: float) -> None:
        self.do("mousemove", str(int(x)), str(int(y)))
        time.sleep(0.15)
        self.do("click", "1")
        time.sleep(0.3)
        self.do("mousemove", "5", "895")  # what the pointer is over looks different
        time.sleep(0.4)

    def press_way_on(self, what: str, besides: list[Box] | None = None, seconds: float = 60.0, right: bool = False) -> None:
        """Press the filled button, once it stands still, or the one at its right."""
        def steady() -> Box | None:
            first = self.button(besides)
            time.sleep(0.3)
            return first if first is not None and self.button(besides) == first else None
        left, top, width, height = self.wait(f"the button {what!r}", steady, seconds)
        self.press_at(left + width + BESIDE if right else left + width / 2, top + height / 2)

    def press(self, place: tuple[int, int]) -> None:
        """A place of the window, in its own coordinates."""
        self.press_at(self.origin[0] + place[0], self.origin[1] + place[1])

    def key(self, *keys: str) -> None:
        self.do("key", "--delay", "40", *keys)
        time.sleep(0.2)

    def type(self, words: str) -> None:
        self.do("type", "--delay", "15", words)
        time.sleep(0.2)

    def fill(self, place: tuple[int, int], words: str) -> None:
        self.press(place)
        self.key("ctrl+a")
        self.type(words)
        self.key("Tab")

    def answer_seen(self) -> bool:
        """Whether the left pane of the chat holds tinted tokens."""
        left, top, right, bottom = LEFT_PANE
        x, y = self.origin
        pane = self.look()[y + top:y + bottom, x + left:x + right].astype(np.int16)
        red, green, blue = pane[..., 0], pane[..., 1], pane[..., 2]
        return int(((red - green > 15) & (blue - green > 15)).sum()) > 1500


def go(person: Person, work: Path) -> None:
    """The whole way. Raises NotSeen where it ends early."""
    (work / "text").mkdir()
    (work / "text" / "world.txt").write_text("\n\n".join(World(7).documents(TEXT_BYTES)), "utf-8")
    project = work / "tiny"
    person.wait("the window", person.window)
    person.wait("the first page", person.button)
    person.keep("first-window")

    behind = filled_buttons(person.look())
    person.press_way_on("New project")
    time.sleep(1.0)
    person.keep("new-project")
    person.press_way_on("Next", behind)  # the starting point: my own text
    time.sleep(0.8)
    person.key("ctrl+a")
    person.type("Tiny")
    person.key("Tab", "ctrl+a")
    person.type(str(project))
    person.keep("name-and-folder")
    person.key("Return")
    time.sleep(0.8)
    person.keep("this-machine")
    person.key("Return")
    person.wait("the project on disk", lambda: (project / "project.json").exists(), 30)

    time.sleep(1.0)
    person.keep("corpus-empty")
    person.press_way_on("Add a folder")
    time.sleep(1.0)
    person.key("ctrl+a")
    person.type(str(work / "text"))
    person.keep("folder-dialog")
    person.key("Return")
    time.sleep(1.5)
    person.keep("sources")
    for step in ("clean", "duplicates", "split", "start"):
        person.press_way_on(f"Next: {step}")
        time.sleep(0.8)
        person.keep(f"corpus-{step}")
    person.press_way_on("Start")
    person.wait("the corpus", lambda: (project / "artifacts" / "corpus-1" / "manifest.json").exists(), 90)
    time.sleep(2.0)
    person.keep("corpus")
    person.press_way_on("Train a tokenizer")
    time.sleep(0.5)
    person.keep("tokenizer-new")
    person.press_way_on("Train the tokenizer")
    person.wait("the tokenizer", lambda: (project / "artifacts" / "tokenizer-1" / "manifest.json").exists(), 90)
    time.sleep(2.5)
    person.keep("tokenizer")
    person.press_way_on("Design a model")
    time.sleep(1.5)

    person.press(DIAL_LEFT)
    person.key("Home")
    for name, value in SETTINGS.items():
        person.fill(FIELDS[name], value)
    person.keep("size")
    for step in ("data", "schedule", "measured-fit", "start"):
        person.press_way_on(f"Next: {step}")
        time.sleep(0.8)
        person.keep(step)
    person.press_way_on("Start training")
    time.sleep(4.0)
    person.keep("running")
    person.wait("the model", lambda: (project / "artifacts" / "model-1" / "manifest.json").exists(), 240)
    time.sleep(2.0)
    person.keep("done")

    person.press_way_on("Chat with it")
    person.wait("the chat page", person.button, 60)
    time.sleep(3.0)
    person.key("ctrl+a")
    person.type(PROMPT)
    person.keep("prompt")
    person.key("ctrl+Return")
    person.wait("an answer", person.answer_seen, 90)
    time.sleep(3.0)
    person.keep("chat")
    assert [model.id for model in list_models(Project.open(project))][0] == "model-1"
    person.wait("the chat on the disk", lambda: Project.open(project).library.chats(), 30)
    answer(person, work, project)
    person.key("ctrl+q")


def answer(person: Person, work: Path, project: Path) -> None:
    """From a model that continues text to one that answers."""
    asked = World(7).questions("train")
    rows = [{"messages": [{"role": "user", "content": q.text}, {"role": "assistant", "content": q.answer}]}
            for q in asked[::len(asked) // QUESTIONS]]
    (work / "questions.json").write_text(json.dumps(rows), "utf-8")
    library = Project.open(project).library
    person.press(RAIL["Instruction data"])
    time.sleep(1.5)
    person.keep("no-examples")
    person.press_way_on("Import a file", right=True)
    time.sleep(1.5)
    person.key("ctrl+a")
    person.type(str(work / "questions.json"))
    person.key("Return")
    time.sleep(2.0)
    person.keep("import")
    person.press_way_on("Import")
    person.wait("the set", lambda: any(one.count == len(rows) for one in library.examples.sets()), 60)
    time.sleep(2.0)
    person.keep("set")

    person.press(RAIL["Fine-tune"])
    time.sleep(1.5)
    person.keep("tune-goal")
    for step in ("data", "template", "method", "start"):
        person.press_way_on(f"Next: {step}")
        time.sleep(6.0 if step == "template" else 1.0)  # the microscope looks at the batches
        person.keep(f"tune-{step}")
    person.press_way_on("Start training")
    person.wait("the tuned model", lambda: (project / "artifacts" / "model-2" / "manifest.json").exists(), 240)
    time.sleep(3.0)
    person.keep("report")

    person.press_way_on("Chat with it")
    time.sleep(4.0)
    person.key("ctrl+a")
    person.type(asked[0].text)
    person.key("ctrl+Return")

    def talked() -> bool:
        talk = next((chat for chat in library.chats() if chat.mode == "chat"), None)
        return talk is not None and "model-2" in {turn.model for turn in library.turns(talk.id)}
    person.wait("an answer of the tuned model on the disk", talked, 90)
    time.sleep(2.0)
    person.keep("talk")


def main(pictures: Path) -> int:
    if lacks := missing():
        print(f"needs {', '.join(lacks)}", file=sys.stderr)
        return 2
    pictures.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fledge-person-")))

        def start(command: list[str], **more) -> subprocess.Popen:
            process = subprocess.Popen(command, stdout=more.pop("stdout", subprocess.DEVNULL), stderr=subprocess.DEVNULL, **more)
            stack.callback(end, process)
            return process
        read, write = os.pipe()
        start(["Xvfb", "-displayfd", str(write), "-screen", "0", SCREEN, "-nolisten", "tcp"], pass_fds=(write,))
        os.close(write)
        with os.fdopen(read) as said:
            display = f":{said.readline().strip()}"
        environment = dict(os.environ, DISPLAY=display, FLEDGE_HOME=str(work / "home"), PYTHONPATH=str(ROOT), FLEDGE_THREADS="2",
                           QT_QPA_PLATFORM="xcb", LC_ALL="C.UTF-8")
        if shutil.which("openbox"):
            start(["openbox"], env=environment)
        app = start([sys.executable, "-c", "import sys; from desktop.main import main; sys.exit(main([]))"], env=environment, cwd=ROOT)
        person = Person(display, pictures)
        try:
            go(person, work)
        except NotSeen as wrong:
            print(wrong, file=sys.stderr)
            return 1
        finally:
            (pictures / "now.png").unlink(missing_ok=True)
        try:
            code = app.wait(timeout=30)
        except subprocess.TimeoutExpired:
            print("the window did not close at Ctrl+Q", file=sys.stderr)
            return 1
    print(f"arrived in {time.monotonic() - began:.0f} s, the window ended with {code}; pictures in {pictures}")
    return 0 if code == 0 else 1


def end(process: subprocess.Popen) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "person-pictures")))
