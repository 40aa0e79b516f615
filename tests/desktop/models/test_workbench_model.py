"""The workbench of verifiers as its page sees it: everything real but the person. A tiny model, the sandbox, the processes."""

import time
from pathlib import Path

import psutil
import pytest

from desktop.context import AppContext
from desktop.jobs.background import Background
from desktop.models.workbench import Workbench
from engine.contract.errors import Missing
from engine.contract.rows import Message, Problem, problem_id
from engine.verifiers.image import checked_image
from tests.running import children
from tests.serving import make_project

EVEN = "def verify(prompt, completion, answer):\n    return float(len(completion) % 2 == 0) if answer not in completion else 1.0\n"
ODD = "def verify(prompt, completion, answer):\n    return float(len(completion) % 2 == 1) if answer not in completion else 1.0\n"


def problem(n: int) -> Problem:
    prompt = (Message(role="user", content=f"{n} + {n}"),)
    return Problem(id=problem_id(prompt, str(2 * n)), prompt=prompt, answer=str(2 * n))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    try:
        checked_image()
    except Missing as wrong:
        pytest.skip(str(wrong))
    made = make_project(tmp_path_factory.mktemp("workbench") / "p")
    made.library.problems.take("sums", [problem(n) for n in range(300, 660)], origin="person", held_out_percent=10)
    made.library.close()
    return made.dir


@pytest.fixture
def bench(context: AppContext, folder: Path, qtbot):
    project = context.open_project(folder)
    made = Workbench(context)
    made.wrong = []
    made.failed.connect(made.wrong.append)
    made.open(project)
    qtbot.waitUntil(lambda: bool(made.sets))
    made.set_sets(("problems-1",))
    qtbot.waitUntil(lambda: made.count == 360)
    yield made
    made.close()


def choose(bench, qtbot, index):
    bench.want(index, index)
    qtbot.waitUntil(lambda: bench.problem(index) is not None)
    bench.choose(index)


def checked(bench, qtbot, source, good=True):
    bench.edit_source(source)
    qtbot.waitUntil(lambda: not bench.checking, timeout=20_000)
    assert bench.good is good, bench.marks


def test_the_list_comes_in_pages_and_can_be_searched(bench, qtbot):
    bench.want(0, 20)
    qtbot.waitUntil(lambda: bench.problem(0) is not None)
    assert bench.problem(0).asked == "300 + 300" and bench.problem(0).set == "problems-1" and bench.problem(200) is None
    assert 10 < bench.held_out_count < 80
    bench.set_held_out(True)
    qtbot.waitUntil(lambda: bench.count == bench.held_out_count)
    bench.set_held_out(None)
    bench.set_search("333")
    qtbot.waitUntil(lambda: bench.count == 1)
    choose(bench, qtbot, 0)
    assert bench.chosen.problem.answer == "666"
    bench.refresh()
    qtbot.waitUntil(lambda: bench.count == 1 and bench.chosen is not None)


def test_a_mistake_is_marked_while_one_types_and_only_the_last_word_counts(bench, qtbot):
    first = bench._desk
    for n in range(5):
        bench.edit_source(EVEN + "#" * n)
    bench.edit_source(EVEN.replace("):", ")"))
    assert bench.checking and first._token == 0, "nothing is asked while one types"
    qtbot.waitUntil(lambda: bool(bench.marks), timeout=20_000)
    assert bench.marks[0].line == 1 and not bench.good and not bench.checking and first._token == 1
    began = time.monotonic()
    checked(bench, qtbot, EVEN)
    assert bench.marks == () and time.monotonic() - began < 2
    bench.no_verifier()
    assert bench.checks is None and not bench.good


def test_checks_follow_the_chosen_problem_and_can_be_run_over_all(bench, qtbot):
    choose(bench, qtbot, 3)
    checked(bench, qtbot, "def verify(prompt, completion, answer):\n    return float(completion == answer)\n")
    qtbot.waitUntil(lambda: bench.checks is not None, timeout=20_000)
    assert not bench.checks.whole and bench.checks.problems == 1 and bench.checks.failing == 0
    assert [row.title for row in bench.checks.rows][:2] == ["Gold answer", "Empty"]
    bench.run_checks()
    qtbot.waitUntil(lambda: bench.checks.whole, timeout=20_000)
    assert bench.checks.problems == 360 and bench.checks_progress is None and not bench.checks.stale
    bench.edit_source("def verify(prompt, completion, answer):\n    return float(answer in completion)\n")
    assert bench.checks.stale
    qtbot.waitUntil(lambda: not bench.checks.stale, timeout=20_000)
    assert bench.checks.whole and bench.checks.failing >= 1
    qtbot.waitUntil(lambda: bench.note is not None, timeout=20_000)
    assert bench.note.line == 2 and not bench.note.source
    bench.edit_parts([{"name": "number"}, {"name": "tags", "weight": 0.2}], full=1.2)
    qtbot.waitUntil(lambda: bench.good and not bench.checks.stale, timeout=20_000)
    assert bench.checks.rows[0].got == pytest.approx(1.2) and "think" in bench.checks.rows[0].form
    bench.run_checks()
    qtbot.waitUntil(lambda: bench.checks.whole, timeout=20_000)
    bench._checks_took = 60.0
    bench.edit_parts([{"name": "number"}, {"name": "tags", "weight": 0.3}], full=1.3)
    qtbot.waitUntil(lambda: bench.good and not bench.checks.stale, timeout=20_000)
    assert not bench.checks.whole and bench.checks.problems == 1, "where all of them take long, the chosen one tells at once"


def test_other_sets_are_checked_by_their_first_problem(bench, qtbot):
    choose(bench, qtbot, 3)
    checked(bench, qtbot, "def verify(prompt, completion, answer):\n    return float(completion == answer)\n")
    bench.run_checks()
    qtbot.waitUntil(lambda: bench.checks is not None and bench.checks.whole, timeout=20_000)
    first, *_ = bench.chosen_sets
    bench.set_sets(())
    bench.set_sets((first,))
    assert bench.checks.stale
    choose(bench, qtbot, 0)
    qtbot.waitUntil(lambda: not bench.checks.stale, timeout=20_000)
    assert bench.checks.problems == 1


def test_a_note_is_applied_where_there_is_something_to_apply(bench, qtbot):
    taken = []
    bench.source_replaced.connect(taken.append)
    choose(bench, qtbot, 0)
    checked(bench, qtbot, "import re\n\n\ndef verify(prompt, completion, answer):\n    found = re.search('[0-9]+', completion)\n"
                          "    return float(found[0] == answer)\n")
    qtbot.waitUntil(lambda: bench.note is not None, timeout=20_000)
    assert bench.note.line == 6 and "None" in bench.note.sentence
    bench.apply_note()
    assert taken == [bench.source] and "if found is None" in bench.source and bench.note is None
    qtbot.waitUntil(lambda: bench.good and bench.checks is not None and not bench.checks.stale, timeout=20_000)
    assert {row.level for row in bench.checks.rows} <= {"ok", "warning"}


def test_a_trial_is_sampled_once_and_every_edit_scores_it_again(bench, qtbot, context):
    bench.set_trial(model="model-1", k=4, max_new_tokens=12, count=20)
    qtbot.waitUntil(lambda: bench.trial.of == 20)
    assert bench.trial.phase == "none" and bench.trial.held_out == 20
    checked(bench, qtbot, EVEN)
    choose(bench, qtbot, 0)
    seen = []
    bench.trial_changed.connect(lambda: seen.append(bench.trial.phase))
    bench.start_trial()
    qtbot.waitUntil(lambda: bench.trial.phase == "whole", timeout=60_000)
    assert "running" in seen and bench.trial.groups == 20 and bench.wrong == []
    qtbot.waitUntil(lambda: bench.scores is not None and bench.scores.tried == 80, timeout=20_000)
    first = bench.scores
    assert 0 < first.pass_at_1 < 1 and first.groups == 20 and first.sentence and sum(bar.count for bar in first.bars) == 80

    held = next(id for id in bench._results)
    bench.choose_problem(None)
    row = next(n for n in range(360) if bench._project.library.problems.page(("problems-1",), n, 1)[0].id == held)
    choose(bench, qtbot, row)
    qtbot.waitUntil(lambda: bench.completion_count == 4, timeout=20_000)
    shown = bench.completion(0)
    assert bench.result(held).tried == 4 and shown.problem == held and shown.score == max(bench.completion(n).score for n in range(4))

    files = {path: path.stat().st_mtime_ns for path in (bench._project.dir / "trials").glob("*.jsonl")}
    bench.edit_source(ODD)
    assert bench.scores.stale
    qtbot.waitUntil(lambda: not bench.scores.stale, timeout=20_000)
    second = bench.scores
    assert second.right + first.right == pytest.approx(80, abs=8) and not bench._sampling.running
    assert {path: path.stat().st_mtime_ns for path in (bench._project.dir / "trials").glob("*.jsonl")} == files

    bench.show_all(True)
    qtbot.waitUntil(lambda: bench.completion_count == 80, timeout=20_000)
    qtbot.waitUntil(lambda: bench.completion(0) is not None and bench.completion(79) is not None, timeout=20_000)
    assert bench.completion(0).score == 1.0 and bench.completion(79).score == 0.0

    bench.set_trial(k=5)
    qtbot.waitUntil(lambda: bench.trial.stale)
    assert bench.scores is not None and bench.trial.phase == "none", "what there was stays on the screen"
    bench.start_trial()
    qtbot.waitUntil(lambda: bench.trial.running)
    assert bench.scores is None and bench.result(held) is None, "what other answers scored says nothing about those that come"
    bench.stop_trial()
    qtbot.waitUntil(lambda: not bench.trial.running, timeout=20_000)
    bench.set_trial(k=4)
    qtbot.waitUntil(lambda: bench.trial.phase == "whole" and not bench.trial.stale)
    qtbot.waitUntil(lambda: bench.scores is not None and bench.scores.tried == 80, timeout=20_000)


def test_a_trial_that_is_stopped_keeps_what_it_has_and_goes_on(bench, qtbot):
    bench.set_trial(model="model-1", k=16, max_new_tokens=30, count=20, seed=3)
    qtbot.waitUntil(lambda: bench.trial.of == 20)
    checked(bench, qtbot, EVEN)
    bench.start_trial()
    qtbot.waitUntil(lambda: bench.trial.groups >= 4, timeout=60_000)
    bench.stop_trial()
    qtbot.waitUntil(lambda: bench.trial.phase == "some", timeout=20_000)
    there = bench.trial.groups
    assert 4 <= there < 20
    qtbot.waitUntil(lambda: bench.scores is not None and bench.scores.tried == 16 * there, timeout=20_000)
    bench.start_trial()
    qtbot.waitUntil(lambda: bench.trial.phase == "whole", timeout=60_000)
    qtbot.waitUntil(lambda: bench.scores.tried == 16 * 20, timeout=20_000)
    assert bench.wrong == []


def test_what_cannot_be_sampled_is_said(bench, qtbot):
    bench.set_trial(model="model-77", k=4, count=5)
    qtbot.waitUntil(lambda: bench.trial.of == 5)
    bench.start_trial()
    qtbot.waitUntil(lambda: bool(bench.wrong), timeout=60_000)
    assert "model-77" in bench.wrong[0].sentence and not bench.trial.running


def test_the_desk_comes_back_once_after_a_death_and_nobody_notices(bench, qtbot):
    checked(bench, qtbot, EVEN)
    bench._desk._process.kill()
    checked(bench, qtbot, ODD)
    assert bench.wrong == []
    bench.edit_source(EVEN)
    qtbot.waitUntil(lambda: bool(bench._desk._open), timeout=5000)
    bench._desk._process.kill()
    qtbot.waitUntil(lambda: bench.good, timeout=20_000)


@pytest.mark.parametrize("end", ["rest", "close"])
def test_nothing_runs_on_when_nobody_looks(bench, qtbot, end):
    checked(bench, qtbot, EVEN)
    started = children("engine.verifiers.desk") + children("engine.verifiers", of=bench._desk._process.processId(), recursive=True)
    assert started
    getattr(bench, end)()
    qtbot.waitUntil(lambda: not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in started), timeout=10_000)
    if end == "rest":
        checked(bench, qtbot, ODD)


def test_the_windows_thread_is_never_held(bench, qtbot, monkeypatch):
    """All that happens in the window's thread while an edit is followed through a large trial."""
    longest = [0.0]
    for owner, name in ((bench, "_checked"), (bench, "_show_completions"), (bench._desk, "_take"), (bench, "edit_source"),
                        (bench, "_score")):
        real = getattr(owner, name)

        def timed(*given, real=real):
            began = time.thread_time()      # of this thread alone: the machine may be busy
            real(*given)
            longest[0] = max(longest[0], time.thread_time() - began)
        monkeypatch.setattr(owner, name, timed)
    assert isinstance(bench._context.jobs, Background)
    bench.set_trial(model="model-1", k=4, max_new_tokens=12, count=20)
    qtbot.waitUntil(lambda: bench.trial.of == 20)
    choose(bench, qtbot, 0)
    bench.edit_source(EVEN)
    qtbot.waitUntil(lambda: bench.good, timeout=20_000)
    bench.run_checks()
    qtbot.waitUntil(lambda: bench.checks is not None and bench.checks.whole, timeout=20_000)
    assert 0 < longest[0] < 0.05
