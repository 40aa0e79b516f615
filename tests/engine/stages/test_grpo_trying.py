"""A verifier against a model's own completions, in a terminal: sampled once, scored as often as one likes."""

import json

import pytest
from click.testing import CliRunner

from engine.cli import cli
from engine.contract.errors import FledgeError, Missing
from engine.contract.rows import Message, Problem, problem_id
from engine.project import layout, trials
from engine.project.trials import TrialSettings
from engine.stages.grpo.trying import held_out_first, lines, model_scores, progress
from engine.verifiers.builtin import LengthVerifier, NumberVerifier
from engine.verifiers.image import checked_image
from tests.attempts import one_thread  # noqa: F401
from tests.serving import make_project

EVEN = ("def verify(prompt, completion, answer):\n"
        "    return 1.0 if completion == answer else float(len(completion) % 2 == 0 and len(completion) > 3)\n")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLEDGE_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="module")
def project(tmp_path_factory, home):
    made = make_project(tmp_path_factory.mktemp("trying") / "p")
    rows = []
    for n in range(300, 330):
        prompt = (Message(role="user", content=f"{n} + {n}"),)
        rows.append(Problem(id=problem_id(prompt, str(2 * n)), prompt=prompt, answer=str(2 * n)))
    made.library.problems.take("sums", rows, origin="person", held_out_percent=30)
    made.library.verifiers.create("Even", "python", EVEN)
    yield made
    made.library.close()


def test_a_model_is_asked_once_and_every_verifier_scores_the_same_answers(project):
    rows = held_out_first(list(project.library.problems.rows(["problems-1"])), 8)
    told, settings = [], TrialSettings("model-1", k=4, max_new_tokens=10)
    scores, trial = model_scores(project, LengthVerifier(most=30, unit="characters"), rows, settings, device="cpu", tell=told.append)
    assert (scores.tried, scores.k, scores.signal.groups) == (32, 4, 8) and told[-1]["groups"] == 8 and progress(told[-1])
    assert {group.problem.id for _, group in trials.read(trial.whole)} == {row.id for row in rows}
    assert any("pass@1" in line and "pass@4" in line for line in lines(scores))
    told.clear()
    again, same = model_scores(project, NumberVerifier(), rows, settings, device="cpu", tell=told.append)
    assert same == trial and told == [] and again.pass_at_1 == 0 and again.signal.level == "failure"
    with pytest.raises(FledgeError) as wrong:
        model_scores(project, NumberVerifier(), rows, TrialSettings("model-77"), device="cpu")
    assert wrong.value.code == "not_found" and wrong.value.exit_code == 3


def test_check_takes_a_model(project):
    try:
        checked_image()
    except Missing as wrong:
        pytest.skip(str(wrong))
    asked = ["verifiers", str(project.dir), "check", "verifier-1", "--set", "problems-1", "--model", "model-1", "--answers", "3",
             "--problems", "5", "--longest", "8"]
    said = CliRunner().invoke(cli, [*asked, "--json"])
    made = json.loads(said.stdout.splitlines()[-1])
    assert made["scores"]["tried"] == 15 and made["scores"]["k"] == 3 and made["rows"][0]["level"] == "ok"
    assert trials.Trial(project.dir, made["trial"]).whole.is_file() and layout.trials(project.dir).is_dir()
    shown = CliRunner().invoke(cli, asked)
    assert "pass@1" in shown.stdout and "Gold answer" in shown.stdout and "Sampling" not in shown.stdout


def test_held_out_problems_come_first(project):
    rows = list(project.library.problems.rows(["problems-1"]))
    some = held_out_first(rows, 12)
    assert len(some) == 12 and [one.held_out for one in some] == sorted((one.held_out for one in some), reverse=True)
