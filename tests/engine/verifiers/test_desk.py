"""The process that judges for the window: what it answers, and that nothing hangs, is lost or stays behind. All of it real."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from engine.contract.errors import Missing
from engine.contract.rows import Message, Problem, problem_id
from engine.project import layout, trials, trust
from engine.project.project import Project
from engine.project.trials import Completion, Group, TrialSettings
from engine.verifiers.image import checked_image

GOOD = "import re\n\n\ndef verify(prompt, completion, answer):\n    return float(re.findall('[0-9]+', completion)[-1:] == [answer])\n"
HANGS = "while True:\n    pass\n\n\ndef verify(prompt, completion, answer):\n    return 0.0\n"
SLOW = ("def verify(prompt, completion, answer):\n    for n in range(400_000):\n        pass\n    return 1.0\n")


def problem(n):
    prompt = (Message(role="user", content=f"{n} + {n}"),)
    return Problem(id=problem_id(prompt, str(2 * n)), prompt=prompt, answer=str(2 * n))


PROBLEMS = [problem(n) for n in range(100, 160)]


class Window:
    """Stands for the window: speaks with a desk."""

    def __init__(self, project, home):
        self.process = subprocess.Popen([sys.executable, "-m", "engine.verifiers.desk", str(project.dir)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "FLEDGE_HOME": str(home)})
        self.said, self.kept, self.number = queue.Queue(), [], 0
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.said.put(json.loads(line))

    def line(self, raw):
        self.process.stdin.write(raw + b"\n")
        self.process.stdin.flush()

    def ask(self, do, **given):
        self.number += 1
        self.line(json.dumps({"id": self.number, "do": do, **given}).encode())
        return self.number

    def answer(self, id, timeout=30.0, parts=None):
        until = time.monotonic() + timeout
        while True:
            for one in self.kept:
                if one["id"] == id and "part" not in one:
                    self.kept.remove(one)
                    return one
            one = self.said.get(timeout=max(0.01, until - time.monotonic()))
            if one["id"] == id and "part" in one:
                if parts is not None:
                    parts.append(one["part"])
            else:
                self.kept.append(one)

    def children(self):
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            pipe.close()


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def project(tmp_path_factory, home):
    try:
        checked_image()
    except Missing as wrong:
        pytest.skip(str(wrong))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLEDGE_HOME", str(home))
        made = Project.create(tmp_path_factory.mktemp("desk") / "p", "P")
        made.library.problems.take("sums", PROBLEMS, origin="person", held_out_percent=20)
        made.library.verifiers.create("Last number", "python", GOOD)
        foreign = made.library.verifiers.create("From elsewhere", "python", GOOD + "# theirs\n")
        trust.distrust([made.library.verifiers.version(foreign.ref).sha256])
        yield made
        made.library.close()


@pytest.fixture(scope="module")
def shared(project, home):
    made = Window(project, home)
    yield made
    made.end()


@pytest.fixture
def window(project, home):
    made = Window(project, home)
    yield made
    made.end()


def trial_of(project, groups, seed=0, whole=True):
    trial = trials.prepare(project.dir, TrialSettings("model-1", k=4, seed=seed), [group.problem for group in groups])
    writer = trials.Writer(trial)
    writer.add(groups)
    if whole:
        writer.finish()
    else:
        writer.close()
    return trial


def group(one, right, k=4):
    return Group(one, tuple(Completion(f"It is {one.answer if n < right else 7}.", "stop", 5) for n in range(k)))


def test_a_mistake_is_marked_at_its_line(shared):
    good = shared.answer(shared.ask("check", source=GOOD))
    assert good["problems"] == [] and good["reuse"] is True and good["reason"] is None
    [wrong] = shared.answer(shared.ask("check", source=GOOD.replace("completion)[-1:]", "completion)[-1:")))["problems"]
    assert wrong["line"] == 5 and wrong["sentence"]
    unsafe = shared.answer(shared.ask("check", source="def verify(prompt, completion, answer, facts):\n    return eval(completion)\n"))
    assert unsafe["reuse"] is False and unsafe["reason"][0] == 2 and unsafe["takes"] == ["facts"]


def test_compositions_are_looked_at_as_well(shared):
    assert shared.answer(shared.ask("check", composition=[{"name": "number"}, {"name": "tags", "weight": 0.2}]))["problems"] == []
    assert shared.answer(shared.ask("check", composition="verifier-1@1"))["problems"] == []
    for wrong, said in (([{"name": "nothing"}], "nothing"), ([], "part"), ("verifier-77@1", "verifier-77"), (None, ""),
                        ([{"name": "python", "title": "mine", "settings": {"source": "def verify(:"}}], "mine: Line 1")):
        [found] = shared.answer(shared.ask("check", composition=wrong))["problems"]
        assert said in found["sentence"]


def test_a_version_that_nobody_trusts_does_not_run(shared):
    wrong = shared.answer(shared.ask("checks", composition="verifier-2@1", sets=["problems-1"]))["error"]
    assert wrong["code"] == "untrusted_verifier"
    group_of = [{"name": "group", "settings": {"verifier": "verifier-2@1"}}]
    assert shared.answer(shared.ask("score", composition=group_of, trial="ab"))["error"]["code"] == "untrusted_verifier"
    assert "trust" in shared.answer(shared.ask("check", composition="verifier-2@1"))["problems"][0]["sentence"]


def test_checks_run_over_all_problems_of_sets(shared):
    parts = []
    report = shared.answer(shared.ask("checks", source=GOOD, sets=["problems-1"]), parts=parts)
    assert report["problems"] == 60 and report["rows"][0]["got"] == 1.0 and report["stable"] and report["ms"] > 0
    assert [row["id"] for row in report["rows"]] == ["gold", "empty", "prompt_again", "every_number", "gold_in_prose", "megabyte", "nul"]
    one = shared.answer(shared.ask("checks", composition=[{"name": "number"}], problems=[PROBLEMS[0].model_dump(mode="json")]))
    assert one["problems"] == 1 and one["rows"][0]["level"] == "ok"
    assert shared.answer(shared.ask("checks", source=GOOD, sets=[]))["error"]["code"] == "no_problems"
    assert shared.answer(shared.ask("checks", source="def verify(:", sets=["problems-1"]))["error"]["code"] == "verifier_source"


def test_completions_are_scored_without_being_sampled_again(shared, project):
    trial = trial_of(project, [group(one, right) for one, right in zip(PROBLEMS[:3], (0, 2, 4), strict=True)])
    made = shared.answer(shared.ask("score", source=GOOD, trial=trial.key))
    assert (made["tried"], made["right"], made["k"], made["pass_at_1"]) == (12, 6, 4, 0.5) and made["pass_at_k"] == pytest.approx(2 / 3)
    assert made["signal"]["mixed"] == 1 and [bar["count"] for bar in made["bars"]] == [6, 6]
    assert made["problems"][1] == [PROBLEMS[1].id, 2, 4, 0.5]
    half = "def verify(prompt, completion, answer):\n    return 0.5\n"
    other = shared.answer(shared.ask("score", source=half, trial=trial.key, full=0.5))
    assert other["pass_at_1"] == 1 and other["signal"]["all_right"] == 3
    page = shared.answer(shared.ask("completions", source=GOOD, trial=trial.key, problem=PROBLEMS[1].id, start=0, count=3))
    assert page["total"] == 4 and [row["score"] for row in page["rows"]] == [1.0, 1.0, 0.0] and page["rows"][0]["level"] == "ok"
    rest = shared.answer(shared.ask("completions", source=GOOD, trial=trial.key, problem="", start=3, count=100))
    assert rest["total"] == 12 and len(rest["rows"]) == 9 and [row["score"] for row in rest["rows"]] == [1.0] * 3 + [0.0] * 6
    bare = shared.answer(shared.ask("completions", trial=trial.key, problem=PROBLEMS[1].id))
    assert {row["level"] for row in bare["rows"]} == {"unknown"} and bare["rows"][0]["text"].startswith("It is")
    assert shared.answer(shared.ask("score", source=GOOD, trial="0123"))["error"]["code"] == "trial"
    assert shared.answer(shared.ask("score", source=GOOD, trial="../../spec"))["error"]["code"] == "trial"


def test_only_what_is_new_of_a_growing_trial_is_judged(shared, project):
    source = GOOD.replace("return", "print('looked')\n    return")
    trial = trial_of(project, [group(PROBLEMS[0], 2)], seed=1, whole=False)
    assert shared.answer(shared.ask("score", source=source, trial=trial.key))["tried"] == 4
    rows = shared.answer(shared.ask("completions", source=source, trial=trial.key, problem=PROBLEMS[0].id))["rows"]
    assert rows[0]["printed"] == "looked\n"
    writer = trials.Writer(trial)
    writer.add([group(PROBLEMS[1], 4)])
    writer.finish()
    parts = []
    assert shared.answer(shared.ask("score", source=source, trial=trial.key), parts=parts)["tried"] == 8
    assert all(part["done"] >= 4 for part in parts)


def test_an_error_of_the_verifier_has_its_line_and_no_score(shared, project):
    trial = trial_of(project, [Group(PROBLEMS[0], (Completion("none"), Completion("It is 200.")))], seed=2)
    source = ("def verify(prompt, completion, answer):\n    first = [w for w in completion.split() if w[0].isdigit()][0]\n"
              "    return float(first[:3] == answer)\n")
    made = shared.answer(shared.ask("score", source=source, trial=trial.key))
    assert made["errors"] == {"raised": 1} and made["right"] == 1 and made["signal"]["unsaid"] == 1
    rows = shared.answer(shared.ask("completions", source=source, trial=trial.key, problem=PROBLEMS[0].id))["rows"]
    assert rows[1]["score"] is None and rows[1]["line"] == 2 and "IndexError" in rows[1]["message"] and rows[1]["level"] == "failure"


def test_notes_come_with_the_line_and_a_mended_source(shared):
    source = ("import re\n\n\ndef verify(prompt, completion, answer):\n    found = re.search('<answer>(.*?)</answer>', completion)\n"
              "    text = found[1] if found else completion\n    return float(answer in text.split())\n")
    report = shared.answer(shared.ask("checks", source=source, sets=["problems-1"]))
    notes = shared.answer(shared.ask("suggest", source=source, rows=report["rows"], sets=["problems-1"], problems=[]))["notes"]
    assert notes[0]["line"] == 6 and "if found is None:" in notes[0]["source"]


def test_a_generator_shows_what_it_makes(shared):
    some = shared.answer(shared.ask("generate", generator="arithmetic", level=1, count=5, seed=1))["problems"]
    assert len({row["id"] for row in some}) == 5 and all(row["prompt"][-1]["role"] == "user" and row["answer"] for row in some)
    own = "import random as r\n\n\ndef generate(random, level):\n    return {'prompt': f'Say {random.random()}', 'answer': 'x'}\n"
    assert len(shared.answer(shared.ask("generate", generator=own, level=1, count=10_000))["problems"]) == 200
    assert "error" in shared.answer(shared.ask("generate", generator="def generate(:\n", level=1, count=3))


def test_lines_that_are_no_questions_are_answered_as_that_and_nothing_ends(shared):
    for raw in (b"", b"what?", b"[1]", b'{"id": "x", "do": "check"}', b'{"do": "check"}', b"\xff\xfe\x00", b'{"id": 1, "do": 3}',
                b"[" * 5000):
        shared.line(raw)
        assert shared.answer(None)["error"]["code"] == "bad_question"
    assert shared.answer(shared.ask("sing"))["error"]["code"] == "bad_question"
    for do in ("checks", "score", "completions", "suggest", "generate"):
        assert "error" in shared.answer(shared.ask(do))
    shared.line(b'{"id": 0, "do": "cancel", "token": 4711}')
    assert shared.answer(shared.ask("check", source=GOOD))["problems"] == []


def test_a_newer_check_voids_the_one_before_and_does_not_wait_for_it(window):
    window.answer(window.ask("check", source=GOOD))
    first = window.ask("check", source=HANGS)
    time.sleep(0.2)
    began = time.monotonic()
    second = window.ask("check", source=GOOD)
    assert window.answer(second)["problems"] == [] and time.monotonic() - began < 5.0
    assert window.answer(first)["error"]["code"] == "cancelled"
    [wrong] = window.answer(window.ask("check", source=HANGS + "\n"))["problems"]
    assert "end" in wrong["sentence"]


def test_a_stop_in_the_middle_of_a_thousand_calls_is_at_once_and_the_rest_goes_on(window, project):
    many = [Group(one, tuple(Completion(f"{n}") for n in range(40))) for one in PROBLEMS[:25]]
    trial = trial_of(project, many, seed=3)
    parts = []
    job = window.ask("score", source=SLOW, trial=trial.key)
    until = time.monotonic() + 20
    while not parts and time.monotonic() < until:
        one = window.said.get(timeout=20)
        parts += [one["part"]] if "part" in one else []
    assert parts[0]["of"] == 1000
    quick = window.ask("check", source=GOOD)
    assert window.answer(quick, timeout=5)["problems"] == [], "typing does not wait for scores"
    began = time.monotonic()
    window.line(json.dumps({"id": 0, "do": "cancel", "token": job}).encode())
    assert window.answer(job, timeout=5)["error"]["code"] == "cancelled" and time.monotonic() - began < 2
    assert window.answer(window.ask("score", source=GOOD, trial=trial.key))["tried"] == 1000


def test_the_death_of_a_sandbox_process_loses_no_verdict(window, project):
    trial = trial_of(project, [Group(one, tuple(Completion(f"{n}") for n in range(20))) for one in PROBLEMS[:10]], seed=4)
    job = window.ask("score", source=SLOW, trial=trial.key)
    until = time.monotonic() + 20
    while not any("part" in one and one["id"] == job for one in window.kept) and time.monotonic() < until:
        window.kept.append(window.said.get(timeout=20))
    victims = [one for one in window.children() if "sandbox_child" in " ".join(one.cmdline())]
    assert victims
    os.kill(victims[0].pid, signal.SIGKILL)
    made = window.answer(job, timeout=60)
    assert made["tried"] == 200 and made["errors"] == {} and made["right"] == 200


def test_nothing_is_left_when_the_window_is_gone(window, project):
    window.answer(window.ask("check", source=GOOD))
    job = window.ask("score", source=SLOW, trial=trial_of(project, [group(one, 1, 50) for one in PROBLEMS[:20]], seed=5).key)
    window.ask("check", source=HANGS)
    time.sleep(1.0)
    started = window.children()
    assert started and job
    window.process.stdin.close()
    assert window.process.wait(10) == 0
    _, alive = psutil.wait_procs(started, timeout=5)
    assert not alive


def test_nothing_is_left_when_the_desk_is_killed(window):
    window.answer(window.ask("check", source=GOOD))
    window.ask("check", source=HANGS)
    time.sleep(0.3)
    started = window.children()
    assert started
    window.process.kill()
    _, alive = psutil.wait_procs(started, timeout=15)
    assert not alive


def test_trials_lie_where_the_layout_says(project):
    assert layout.trials(project.dir) == project.dir / "trials"
