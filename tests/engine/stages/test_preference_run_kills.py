"""Runs that make pairs, stopped, paused and killed: nothing is asked twice, no pair is lost or doubled, and the pairs are those of a run
that nobody disturbed."""

import os
import random
import signal
import time
from collections import Counter

import pytest

from engine.contract.context import Command
from engine.contract.errors import Stopped
from engine.contract.events import Metrics, Resumed
from engine.contract.rows import Pair
from engine.evaluation import answering
from engine.project import launch, layout
from engine.project.follow import follow
from engine.stages.preference import makers, pairing
from engine.stages.preference.spec import PreferenceSpec
from engine.text.tokenizer import Tokenizer
from tests.attempts import Attempt, made_by, one_thread  # noqa: F401
from tests.engine.generators.servers import hostile
from tests.serving import make_project, write_model

COUNT = 40


@pytest.fixture
def project(tmp_path):
    os.environ["FLEDGE_HOME"] = str(tmp_path / "home")
    made = make_project(tmp_path / "gazette")
    with made.artifacts.create("model", title="tuned") as writer:
        write_model(writer.path, Tokenizer.load(made.artifacts.get("model-1").path), 5, sharpness=3.0)
        writer.finish(step=9, chat=True)
    return made


def spec(**values):
    given = {"prompts": tuple(f"Question {n}?" for n in range(COUNT)), "count": COUNT, "first": "project:model-2", "max_tokens": 5}
    return PreferenceSpec(**{**given, **values})


def pairs(run_dir):
    return [Pair.model_validate_json(line) for line in layout.rows_file(run_dir).read_bytes().splitlines() if line.endswith(b"}")]


def said(found):
    """What pairs say, without how long it took."""
    return sorted((p.facts["row"], p.id, p.first.text, p.second.text, p.first.facts["seed"], p.second.facts["seed"]) for p in found)


class Crash(BaseException):
    """Nothing in the program catches it, as nothing catches kill -9."""


@pytest.mark.parametrize("second", ["", "project:1-pretrain@20"])
def test_a_run_that_crashes_anywhere_makes_the_same_pairs(project, second, monkeypatch):
    """Between any two writes, and with a torn line at the end of what was being written."""
    asked = spec(second=second)
    undisturbed = Attempt(project, project.runs.create(asked).id, asked).run()
    whole = said(pairs(undisturbed.context.run_dir))
    assert len(whole) > COUNT / 2
    run = project.runs.create(asked)
    writes, dice = [0], random.Random(3)
    plain = pairing.Appending._write

    def write(self, data):
        writes[0] += 1
        if writes[0] in fatal:
            self._file.write(data[:dice.randrange(len(data))])
            raise Crash
        plain(self, data)
    monkeypatch.setattr(pairing.Appending, "_write", write)
    fatal, attempts = {3, 30, 31, 55, 76, 77, 110, 111}, 0
    while True:
        attempts += 1
        attempt = Attempt(project, run.id, asked, number=attempts)
        try:
            attempt.run()
            break
        except Crash:
            continue
    assert attempts > 5
    assert said(pairs(run.dir)) == whole
    made, before = made_by(project, attempt), made_by(project, undisturbed)
    assert said(map(Pair.model_validate_json, (made.path / "pairs.jsonl").read_bytes().splitlines())) == whole
    unlike = ("seconds",)
    for side in ("first", "second"):
        assert {k: v for k, v in made.facts[side].items() if k not in unlike} == {k: v for k, v in before.facts[side].items()
                                                                                  if k not in unlike}
    assert made.facts["left_out"] == before.facts["left_out"]


def test_no_answer_that_is_on_the_disk_is_asked_for_again(project, monkeypatch):
    """Stopped while the second model answers: the first one is not even loaded again."""
    asked = spec(second="project:1-pretrain@20", equal=1)
    run = project.runs.create(asked)
    monkeypatch.setattr(answering, "MOST_ROWS", 8)
    seeds, answer = [], makers.ProjectMaker.answer

    def spy(self, prompts, given, *rest):
        seeds.extend((self.name, seed) for seed in given)
        answer(self, prompts, given, *rest)
    monkeypatch.setattr(makers.ProjectMaker, "answer", spy)
    attempt = Attempt(project, run.id, asked)
    attempt.context.reader = lambda: Command("pause") if layout.rows_file(run.dir).exists() and len(pairs(run.dir)) >= 7 else None
    with pytest.raises(Stopped) as stopped:
        attempt.run()
    there = len(pairs(run.dir))
    assert stopped.value.saved and stopped.value.paused and 7 <= there < COUNT / 2
    asked_first = [one for one in seeds if one[0] == "project:model-2"]
    seeds.clear()
    again = Attempt(project, run.id, asked, number=2).run()
    assert COUNT <= len(asked_first) and {name for name, _ in seeds} == {"project:1-pretrain@20"}
    assert COUNT - there <= len(seeds) <= 2 * (COUNT - there) and len(set(seeds)) == len(seeds)
    facts = made_by(project, again).facts
    assert facts["pairs"] + sum(facts["left_out"].values()) == COUNT
    steps = [s for e in again.of(Metrics) for s in e.columns["step"]]
    assert again.of(Resumed)[0].step >= 7 and steps[0] > again.of(Resumed)[0].step


def test_local_models_are_asked_nothing_twice_after_a_kill(project):
    """A real process, killed with -9 in either half while it asks two servers."""
    with hostile(lambda n, body: ("slow", 0.02, f"First {body['seed']}.")) as one, \
            hostile(lambda n, body: ("slow", 0.02, f"Second {body['seed']}.")) as other:
        run = project.runs.create(spec(first=one.name, second=other.name, concurrency=2))
        for wanted in (14, COUNT + 15):
            pid = launch.start(run, device="cpu")
            until = time.monotonic() + 60
            while one.asks + other.asks < wanted:
                assert time.monotonic() < until, run.log_tail()
                time.sleep(0.005)
            os.kill(pid, signal.SIGKILL)
            while launch.running(pid):
                time.sleep(0.01)
        found = follow(run, launch.start(run, device="cpu"))
        asked = Counter((b["messages"][-1]["content"], b["seed"]) for server in (one, other) for b in server.bodies)
    assert found.status == "done", run.log_tail()
    assert len(pairs(run.dir)) == COUNT and len({p.facts["row"] for p in pairs(run.dir)}) == COUNT
    again = sum(count - 1 for count in asked.values())
    assert len(asked) == 2 * COUNT and again <= 2 * 2  # those that were under way at a kill
