"""The instruct stage in its worker: rows, counts and artifact; preview; stop, pause and resume; a hostile server; the command line."""

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.contract.events import Facts, Notice, Progress
from engine.contract.rows import Example, Message
from engine.project import control, launch, layout
from engine.project.event_log import read_events
from engine.project.follow import follow
from engine.project.ingest import ingest_run
from engine.project.project import Project
from engine.project.run_state import RunState
from engine.project.runs import Run
from engine.stages.instruct.spec import InstructSpec
from tests.engine.generators.servers import Hostile, hostile

ROOT = Path(__file__).resolve().parents[3]
RECIPE = '''
ID, TITLE, SENTENCE = "facts", "Facts", "Asks for facts."
NEEDS = ["topics"]
SCHEMA = {"type": "object", "properties": {"fact": {"type": "string", "minLength": 1, "maxLength": 60}}, "required": ["fact"],
          "additionalProperties": False}

def rows(inputs):
    for number in range(10**9):
        topic = inputs.topics[number % len(inputs.topics)]
        yield {"prompt": f"Tell fact number {number} about {topic}.", "schema": SCHEMA, "facts": {"number": number}}
'''


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    os.environ["FLEDGE_HOME"] = str(tmp_path / "home")
    (tmp_path / "facts.py").write_text(RECIPE)
    yield Project.create(tmp_path / "p", "Facts")


def spec(project: Project, **settings: Any) -> InstructSpec:
    given: dict[str, Any] = {"recipe": str(project.dir.parent / "facts.py"), "recipe_hash": hashlib.sha256(RECIPE.encode()).hexdigest(),
                             "topics": ("rivers", "lamps"), "count": 12, "duplicates": 0.0, "check_language": False, "timeout": 20.0}
    return InstructSpec(**{**given, **settings})


def fact(number: int, body: dict[str, Any]) -> str:
    return json.dumps({"fact": "It is so: " + body["messages"][-1]["content"][10:40]})


def start(project: Project, asked: InstructSpec) -> tuple[Run, RunState]:
    run = project.runs.create(asked)
    return run, follow(run, launch.start(run))


def rows(run: Run) -> list[Example]:
    return [Example.model_validate_json(line) for line in layout.rows_file(run.dir).read_bytes().splitlines()]


def test_rows_become_examples_and_an_artifact(project: Project) -> None:
    with hostile(fact) as server:
        run, state = start(project, spec(project, responder=server.name, title="Facts of all kinds"))
        assert state.status == "done", run.log_tail()
        assert server.asks == 12
    made = rows(run)
    assert len({e.id for e in made}) == 12 and all(e.id.startswith(run.id) and e.origin == server.name for e in made)
    assert {m.role for e in made for m in e.messages} == {"user", "assistant"} and all("It is so" in e.messages[-1].content for e in made)
    artifact = project.artifacts.get(state.artifacts[0])
    assert artifact.kind == "examples" and artifact.title == "Facts of all kinds" and artifact.run == run.id and not artifact.parents
    facts = artifact.facts
    assert (facts["rows"], facts["examples"], facts["kept"], facts["asked"]) == (12, 12, 12, 12)
    assert facts["tokens_in"] == 84 and facts["tokens_out"] == 36 and facts["by_model"][server.name]["asked"] == 12
    assert facts["recipe"] == "facts" and facts["models"] == {"responder": server.name} and not facts["set_aside"] and not facts["failed"]
    assert len((artifact.path / "examples.jsonl").read_bytes().splitlines()) == 12
    events = list(read_events(layout.events_file(run.dir)))
    last = [e for e in events if isinstance(e, Progress)][-1]
    assert (last.done, last.total) == (12, 12) and state.facts["counts"]["kept"] == 12
    assert not layout.work(run.dir).exists()
    assert ingest_run(project, run.id) == 12 == project.library.examples.sets()[0].count and ingest_run(project, run.id) == 0


def test_what_is_set_aside_is_kept_with_its_reason(project: Project) -> None:
    def script(number: int, body: dict[str, Any]) -> str:
        about = body["messages"][-1]["content"]
        return "I will not say JSON." if "number 3 " in about else json.dumps({"fact": "No."}) if "number 5 " in about else fact(0, body)
    with hostile(script) as server:
        run, state = start(project, spec(project, responder=server.name, shortest=18))
    facts = project.artifacts.get(state.artifacts[0]).facts
    assert facts["kept"] == 10 and sum(facts["set_aside"].values()) == 2 and facts["set_aside"]["too_short"] == 1
    folder = project.artifacts.get(state.artifacts[0]).path
    assert [len((folder / f"{n}.jsonl").read_bytes().splitlines()) for n in ("examples", "set_aside")] == [10, 2]
    assert len(rows(run)) == 12
    ingest_run(project, run.id)
    assert project.library.examples.sets()[0].rejected == 2


def test_two_answer_and_a_judge_keeps_the_better_one(project: Project) -> None:
    def better(number: int, body: dict[str, Any]) -> str:
        return json.dumps({"fact": "A far better and longer fact about it all."})

    def judging(number: int, body: dict[str, Any]) -> str:
        said = body["messages"][-1]["content"]
        first = said.index("far better") < said.index("It is so") if "It is so" in said else True
        made: dict[str, Any] = {}
        for name, kind in body["response_format"]["json_schema"]["schema"]["properties"].items():
            is_a = "a" in name.rpartition("_")[2] or name.endswith("1")
            made[name] = ("because" if kind.get("type") == "string" else 9 if is_a == first else 3)
        return json.dumps(made)
    with hostile(fact) as one, hostile(better) as two, hostile(judging) as judge:
        asked = spec(project, responder=one.name, second_responder=two.name, judge=judge.name, count=4)
        run, state = start(project, asked)
        assert state.status == "done", run.log_tail()
        assert (one.asks, two.asks, judge.asks) == (4, 4, 8)  # both orders
        assert all(b["temperature"] == 0 for b in judge.bodies)
    made = rows(run)
    assert all("far better" in e.messages[-1].content and e.origin == two.name and e.score == 9 for e in made)
    assert all("It is so" in e.facts["rejected"]["text"] and e.facts["rejected"]["model"] == one.name for e in made)
    assert project.artifacts.get(state.artifacts[0]).facts["asked"] == 16


def test_a_preview_comes_fast_and_leaves_no_artifact(project: Project) -> None:
    with hostile(fact) as server:
        began = time.monotonic()
        run, state = start(project, spec(project, responder=server.name, count=100_000, preview=5))
        assert state.status == "done" and server.asks == 5 and len(rows(run)) == 5 and time.monotonic() - began < 15
    assert not state.artifacts and not project.artifacts.list() and ingest_run(project, run.id) == 0


def wait_for(server: Hostile, asks: int, run: Run) -> None:
    until = time.monotonic() + 60
    while server.asks < asks:
        assert time.monotonic() < until, run.log_tail()
        time.sleep(0.01)


@pytest.mark.parametrize("word,status", [("pause", "paused"), ("stop_save", "stopped"), ("stop", "stopped")])
def test_stop_and_pause_keep_everything_and_a_resume_goes_on(word: str, status: str, project: Project) -> None:
    with hostile(lambda n, body: ("slow", 0.1, fact(n, body))) as server:
        run = project.runs.create(spec(project, responder=server.name, count=24, concurrency=3))
        pid = launch.start(run)
        wait_for(server, 10, run)
        control.send(run.dir, word)
        state = follow(run, pid)
        assert state.status == status and not state.artifacts
        asked, kept = server.asks, len(rows(run))
        assert 7 <= kept < 24 and asked - kept <= (3 if word == "stop" else 0)
        (project.dir.parent / "facts.py").write_text("nobody reads this any more")
        state = follow(run, launch.start(run))
        assert state.status == "done", run.log_tail()
        assert len({e.id for e in rows(run)}) == 24 == len(rows(run)) and server.asks <= 24 + (3 if word == "stop" else 0)
    assert project.artifacts.get(state.artifacts[0]).facts["kept"] == 24


def test_rows_that_were_given_up_are_tried_again_by_a_resume_and_told_at_the_end(project: Project) -> None:
    bad = {"rows": ("number 2 ", "number 6 ")}

    def script(number: int, body: dict[str, Any]) -> Any:
        about = body["messages"][-1]["content"]
        return ("status", 500, {}, "oops") if any(words in about for words in bad["rows"]) else ("slow", 0.1, fact(number, body))
    with hostile(script) as server:
        run = project.runs.create(spec(project, responder=server.name, count=16, concurrency=2, retries=2))
        pid = launch.start(run)
        wait_for(server, 12, run)
        control.send(run.dir, "pause")
        state = follow(run, pid)
        assert state.status == "paused" and state.facts["counts"]["failed"] == {"server": 2}
        bad["rows"] = ("number 6 ",)
        state = follow(run, launch.start(run))
        assert state.status == "done", run.log_tail()
        asked = [b["messages"][-1]["content"] for b in server.bodies]
        assert sum("number 3 " in words for words in asked) == 1 and sum("number 6 " in words for words in asked) == 4
    assert sorted(e.facts["number"] for e in rows(run)) == [n for n in range(16) if n != 6]
    facts = project.artifacts.get(state.artifacts[0]).facts
    assert facts["failed"] == {"server": 1} and facts["rows"] == 16 and facts["seconds"] > 1
    told = [e for e in read_events(layout.events_file(run.dir)) if isinstance(e, Notice) and e.code == "rows_failed"]
    assert len(told) == 1 and "1 row" in told[0].text and "the server failed (1)" in told[0].text


def test_a_hostile_server_costs_no_row(project: Project) -> None:
    """Every kind of fault, one after the other, then the server dies and comes back."""
    faults: dict[int, Any] = {1: ("drop",), 3: ("status", 500, {}, "oops"), 5: ("raw", b'{"choices": [{"mess'), 7: "not JSON at all",
                              9: ("status", 429, {"Retry-After": "0.3"}, "later"), 11: ("slow", 2.5, "too late"), 13: '{"fact": 7',
                              15: ("status", 503, {}, ""), 17: ("raw", b"\x00\xff"), 19: '{"fact": "half \\ud83d"}', 21: ("drop",)}
    with hostile(lambda n, body: faults.get(n) or ("slow", 0.03, fact(n, body))) as server:
        run = project.runs.create(spec(project, responder=server.name, count=40, timeout=1.0, concurrency=3))
        pid = launch.start(run)

        def die() -> None:
            wait_for(server, 30, run)
            server.stop()
            time.sleep(3.0)
            server.start()
        dying = threading.Thread(target=die)
        dying.start()
        state = follow(run, pid)
        dying.join()
    assert state.status == "done", run.log_tail()
    made = rows(run)
    assert len(made) == 40 == len({e.id for e in made})
    facts = project.artifacts.get(state.artifacts[0]).facts
    assert facts["failed"] == {} and facts["rows"] == 40 and facts["kept"] + sum(facts["set_aside"].values()) == 40
    notices = [e for e in read_events(layout.events_file(run.dir)) if isinstance(e, Notice) and e.code == "model_away"]
    assert [n.cleared for n in notices] == [False, True] and server.name in notices[0].text
    assert any("half \ufffd" in e.messages[-1].content for e in made)


def test_a_model_that_never_fits_ends_the_run_in_words(project: Project) -> None:
    with hostile(lambda n, body: "blah") as server:
        run, state = start(project, spec(project, responder=server.name, count=1000, concurrency=8))
        assert state.status == "failed" and state.finished and state.finished.code == "nothing_fits"
        assert server.name in state.finished.sentence and server.asks < 500
    assert any(isinstance(e, Notice) and e.code == "nothing_fits" for e in read_events(layout.events_file(run.dir)))


@pytest.mark.parametrize("fault,code", [(None, "no_server"), (("status", 500, {}, "CUDA out of order"), "model_fails"),
                                        (("status", 401, {}, ""), "key")])
def test_failures_are_one_sentence_with_a_remedy(fault: Any, code: str, project: Project) -> None:
    with hostile(lambda n, body: fault) as server:
        if fault is None:
            server.stop()
        run, state = start(project, spec(project, responder=server.name, retries=2, count=500))
        assert state.status == "failed" and state.finished is not None and state.finished.code == code, run.log_tail()
        assert state.finished.sentence and state.finished.remedy and server.asks < 30
    assert any(isinstance(e, Facts) for e in read_events(layout.events_file(run.dir))) or code == "no_server"


def test_an_address_elsewhere_is_refused_before_anything_is_asked(project: Project) -> None:
    run, state = start(project, spec(project, responder="http://" + "192.0.2.1:1234/v1 qwen"))
    assert state.status == "failed" and state.finished is not None and state.finished.code == "not_local"


def test_seeds_and_held_out_sets_of_the_library_reach_the_run(project: Project) -> None:
    library = project.library.examples
    held = library.create_set("Exam")
    library.add(held.id, [Example(id="q", messages=(Message(role="user", content="Tell fact number 2 about rivers."),
                                                    Message(role="assistant", content="It flows.")))], "person")
    with hostile(fact) as server:
        run, state = start(project, spec(project, responder=server.name, held_out=(held.id,), count=6))
    assert state.status == "done", run.log_tail()
    flagged = [e for e in rows(run) if "held_out" in e.flags]
    assert [e.facts["number"] for e in flagged] and {2} <= {e.facts["number"] for e in flagged}
    assert state.facts["held_out"] == 1


def test_the_command_line_runs_it_and_the_library_has_the_rows(project: Project) -> None:
    asked = spec(project)
    with hostile(fact) as server:
        done = subprocess.run([sys.executable, "-m", "engine.cli", "run", str(project.dir), "instruct", "--set", f"responder={server.name}",
                               "--set", f"recipe={asked.recipe}", "--set", f"recipe_hash={asked.recipe_hash}",
                               "--set", "topics=rivers,lamps", "--set", "count=7", "--set", "duplicates=0",
                               "--set", "check_language=false", "--json"],
                              cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["status"] == "done" and told["artifact"] == "examples-1" and told["examples_added"] == 7 == told["kept"]
    assert [s.count for s in Project.open(project.dir).library.examples.sets()] == [7]
