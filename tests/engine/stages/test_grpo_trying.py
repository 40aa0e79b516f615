"""`fledge verifiers test` as a function: checks over sets, and a model's completions, sampled once."""

import json

import pytest

from engine.contract.errors import InputError, Missing, NotFound, SettingError
from engine.contract.rows import Message, Problem, problem_id
from engine.project import trials, trust
from engine.project.trials import TrialSettings
from engine.stages.grpo.trying import first, lines, progress_line, try_verifier
from engine.verifiers.image import checked_image
from tests.attempts import one_thread  # noqa: F401
from tests.serving import make_project

EVEN = ("def verify(prompt, completion, answer):\n"
        "    return 1.0 if completion == answer else float(len(completion) % 2 == 0 and len(completion) > 3)\n")


@pytest.fixture
def project(tmp_path, monkeypatch):
    try:
        checked_image()
    except Missing as wrong:
        pytest.skip(str(wrong))
    monkeypatch.setenv("FLEDGE_HOME", str(tmp_path / "home"))
    made = make_project(tmp_path / "p")
    rows = []
    for n in range(300, 330):
        prompt = (Message(role="user", content=f"{n} + {n}"),)
        rows.append(Problem(id=problem_id(prompt, str(2 * n)), prompt=prompt, answer=str(2 * n)))
    made.library.problems.take("sums", rows, origin="person", held_out_percent=30)
    made.library.verifiers.create("Even", "python", EVEN)
    yield made
    made.library.close()


def test_a_verifier_is_tried_on_gold_and_on_a_model_that_is_asked_once(project):
    told = []
    settings = TrialSettings("model-1", k=4, max_new_tokens=10)
    tried = try_verifier(project, "verifier-1@1", ["problems-1"], model=settings, count=8, device="cpu", tell=told.append)
    assert (tried.ref, tried.title, tried.report.problems) == ("verifier-1@1", "Even", 30)
    assert tried.report.rows[0].level == "ok" and tried.scores.tried == 32 and tried.scores.k == 4
    assert any("groups" in one for one in told) and any("done" in one for one in told) and all(progress_line(one) for one in told)
    said = lines(tried)
    assert said[0] == "Even verifier-1@1" and any("pass@1" in line and "pass@4" in line for line in said)
    assert len([line for line in said if "wanted" in line]) == 7 and json.loads(json.dumps(tried.to_json()))["trial"]
    assert all(group.problem.held_out for _, group in trials.read(trials.Trial(project.dir, tried.trial).whole)) is (
        project.library.problems.count(["problems-1"], held_out=True) >= 8)

    told.clear()
    again = try_verifier(project, '[{"name": "number"}]', ["problems-1"], model=settings, count=8, device="cpu", tell=told.append)
    assert again.trial == tried.trial and not any("groups" in one for one in told), "nothing is sampled for another verifier"
    assert not again.passed and again.scores.signal.level == "failure"


def test_what_cannot_be_tried_is_said(project):
    with pytest.raises(NotFound):
        try_verifier(project, "verifier-9@1", ["problems-1"])
    with pytest.raises((InputError, NotFound)):
        try_verifier(project, "verifier-1@1", [])
    trust.distrust([project.library.verifiers.version("verifier-1@1").sha256])
    with pytest.raises(SettingError) as wrong:
        try_verifier(project, "verifier-1@1", ["problems-1"])
    assert wrong.value.code == "untrusted_verifier"


def test_held_out_problems_come_first(project):
    rows = list(project.library.problems.rows(["problems-1"]))
    some = first(rows, 12)
    assert len(some) == 12 and [one.held_out for one in some] == sorted((one.held_out for one in some), reverse=True)
