"""The states of the stages, from what was made and what ran; and that a look at a run costs the same however long it was."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from desktop.models import project_glance, verifier_checks
from desktop.models.beside import BESIDE
from desktop.models.survey import LOOK_BYTES, RunGlance, glance, stage_states, survey
from engine.contract import events as ev
from engine.contract.rows import Message, Problem, problem_id
from engine.pipeline import STAGES
from engine.project import layout
from engine.project.artifacts import Artifact
from engine.project.project import Project
from engine.project.recent import Recent
from engine.stages.corpus.spec import CorpusSpec
from engine.stages.export.spec import ExportSpec
from engine.stages.pretrain.spec import PretrainSpec


def artifact(id: str, created: float, *parents: str) -> Artifact:
    return Artifact(id=id, kind=id.rpartition("-")[0], title=id, created=created, parents=parents, run="", path=Path("."))


def run(stage: str, status: str, created: float = 100.0, share: float = 0.0) -> RunGlance:
    return RunGlance(f"1-{stage}", stage, 1, "", status, created, share)


def states(artifacts=(), runs=()) -> dict[str, tuple[str, str]]:
    return {s.id: (s.state, s.words) for s in stage_states([s for s in STAGES.values() if s.id not in BESIDE], artifacts, runs)}


CORPUS, TOKENIZER = artifact("corpus-1", 1), artifact("tokenizer-1", 2, "corpus-1")
MODEL = artifact("model-1", 3, "corpus-1", "tokenizer-1")


def test_an_empty_project_is_ready_for_its_first_stage_only() -> None:
    assert states() == {"corpus": ("ready", "ready"), "tokenizer": ("nothing", ""), "pretrain": ("nothing", ""),
                        "instruct": ("ready", "ready"), "sft": ("nothing", ""), "preference": ("ready", "ready"),
                        "reward": ("nothing", ""), "dpo": ("nothing", ""), "grpo": ("nothing", "")}


def test_what_was_made_makes_the_next_stage_ready() -> None:
    assert states([CORPUS])["tokenizer"] == ("ready", "ready") and states([CORPUS])["pretrain"] == ("nothing", "")
    found = states([CORPUS, TOKENIZER, MODEL])
    assert [found[s] for s in ("corpus", "tokenizer", "pretrain")] == [("done", "")] * 3 and found["sft"] == ("ready", "ready")


def test_a_tuned_model_is_done_tuning_and_leaves_pretraining_as_it_was() -> None:
    tuned = replace(artifact("model-2", 9, "model-1"), run="5-sft")
    found = states([CORPUS, TOKENIZER, MODEL, tuned])
    assert found["sft"] == ("done", "") and found["pretrain"] == ("done", "")
    assert states([CORPUS, TOKENIZER, tuned])["pretrain"] == ("ready", "ready")
    adapted = replace(tuned, run="6-adapt")
    assert states([CORPUS, TOKENIZER, MODEL, adapted])["sft"] == ("done", "")


def test_a_model_that_learned_from_problems_makes_no_other_stage_done_or_stale() -> None:
    solved = replace(artifact("model-3", 12, "model-2"), run="7-grpo")
    tuned = replace(artifact("model-2", 9, "model-1"), run="5-sft")
    found = states([CORPUS, TOKENIZER, MODEL, tuned, solved], [run("grpo", "done", 11.0)])
    assert found["grpo"] == ("done", "") and [found[s][0] for s in ("pretrain", "sft")] == ["done", "done"]
    assert states([CORPUS, TOKENIZER, solved])["pretrain"] == ("ready", "ready") and states([solved])["sft"][0] == "ready"
    assert states([CORPUS, TOKENIZER, MODEL, tuned])["grpo"] == ("ready", "ready")
    assert states([MODEL], [run("grpo", "running", share=0.25)])["grpo"] == ("running", "25\u00a0%")


def test_a_domain_run_shows_at_the_place_of_fine_tuning() -> None:
    assert states([CORPUS, TOKENIZER, MODEL], [run("adapt", "running", share=0.5)])["sft"] == ("running", "50\u00a0%")


def test_what_was_made_from_something_that_was_replaced_is_stale() -> None:
    newer = replace(artifact("corpus-2", 9, "corpus-1"), spec={"base": "corpus-1"})
    found = states([CORPUS, TOKENIZER, MODEL, newer])
    assert found["tokenizer"] == ("stale", "stale") and found["pretrain"][0] == "stale" and found["corpus"][0] == "done"


def test_another_corpus_replaces_nothing() -> None:
    found = states([CORPUS, TOKENIZER, MODEL, artifact("corpus-2", 9)])
    assert [found[s] for s in ("corpus", "tokenizer", "pretrain")] == [("done", "")] * 3


def test_a_model_that_was_brought_in_does_not_mean_that_one_was_raised() -> None:
    imported = replace(artifact("model-1", 3), run="4-import_model")
    assert states([imported])["pretrain"] == ("nothing", "") and states([imported])["sft"] == ("ready", "ready")
    assert states([CORPUS, TOKENIZER, imported])["pretrain"] == ("ready", "ready")
    assert states([CORPUS, TOKENIZER, MODEL, replace(imported, id="model-2")])["pretrain"] == ("done", "")


def test_both_ways_of_preference_tuning_stand_at_one_place() -> None:
    tuned = replace(artifact("model-2", 9, "model-1"), run="5-ppo")
    found = states([CORPUS, TOKENIZER, MODEL, tuned])
    assert found["dpo"] == ("done", "") and found["sft"] == ("ready", "ready")
    assert states([CORPUS, TOKENIZER, MODEL], [run("ppo", "running", share=0.5)])["dpo"] == ("running", "50\u00a0%")


def test_sets_that_changed_make_what_was_tuned_on_them_stale() -> None:
    tuned = replace(artifact("model-2", 9, "model-1"), run="5-sft")
    artifacts = [CORPUS, TOKENIZER, MODEL, tuned]
    stages = [s for s in STAGES.values() if s.id not in BESIDE]
    found = {s.id: s.state for s in stage_states(stages, artifacts, [], frozenset({"5-sft"}))}
    assert found["sft"] == "stale" and found["pretrain"] == "done"


def test_generated_examples_are_done_and_a_preview_says_nothing() -> None:
    examples = replace(artifact("examples-1", 9), run="5-instruct")
    assert states([CORPUS, examples])["instruct"] == ("done", "")
    assert states([], [run("instruct", "running", share=0.2)])["instruct"] == ("running", "20\u00a0%")
    assert states([], [replace(run("instruct", "failed"), preview=True)])["instruct"] == ("ready", "ready")


def test_a_run_under_way_shows_its_share() -> None:
    assert states([CORPUS, TOKENIZER, MODEL], [run("pretrain", "running", share=0.41)])["pretrain"] == ("running", "41\u00a0%")
    assert states([CORPUS, TOKENIZER], [run("pretrain", "waiting")])["pretrain"] == ("running", "waiting")
    assert states([CORPUS, TOKENIZER], [run("pretrain", "queued")])["pretrain"] == ("ready", "queued")


@pytest.mark.parametrize(("status", "words"), [("failed", "stopped"), ("crashed", "crashed"), ("interrupted", "interrupted")])
def test_a_broken_run_shows_unless_something_newer_was_made(status: str, words: str) -> None:
    assert states([CORPUS, TOKENIZER, MODEL], [run("pretrain", status, created=50)])["pretrain"] == ("failed", words)
    newer = artifact("model-2", 60, "corpus-1", "tokenizer-1")
    assert states([CORPUS, TOKENIZER, newer], [run("pretrain", status, created=50)])["pretrain"] == ("done", "")


def test_a_run_the_person_stopped_does_not_hide_what_was_made() -> None:
    assert states([CORPUS, TOKENIZER, MODEL], [run("pretrain", "stopped")])["pretrain"] == ("done", "")
    assert states([CORPUS, TOKENIZER], [run("pretrain", "paused")])["pretrain"] == ("failed", "paused")


@pytest.fixture
def made(tmp_path: Path, home) -> Project:
    return Project.create(tmp_path / "p")


def write(project: Project, steps: int, *last: ev.Event) -> RunGlance:
    run = project.runs.create(PretrainSpec(corpus="corpus-1", tokenizer="tokenizer-1", title="m"))
    events = [ev.Started(time=1.0, stage="pretrain"), ev.Facts(facts={"steps": steps})]
    events += [ev.Metrics(columns={"step": [float(s)], "loss": [9.0 - s / steps]}) for s in range(1, steps + 1)]
    layout.events_file(run.dir).write_text("".join(ev.to_line(e) + "\n" for e in [*events, *last]), "utf-8")
    return glance(run)


def test_a_glance_reads_status_step_and_loss(made: Project) -> None:
    found = write(made, 200, ev.Finished(time=2.0, status="failed", sentence="The disk is full."))
    assert (found.status, found.step, found.steps, found.share, found.sentence) == ("failed", 200, 200, 1.0, "The disk is full.")
    assert found.loss == pytest.approx(8.0)


def test_a_run_without_its_worker_is_interrupted(made: Project) -> None:
    assert write(made, 10).status == "interrupted"


def test_what_runs_beside_the_rail_is_called_by_its_name_on_the_first_page(made: Project) -> None:
    run = made.runs.create(ExportSpec(model="model-1", out="/x"))
    events = [ev.Started(time=1.0, stage="export"), ev.Finished(time=2.0, status="failed", sentence="The disk is full.")]
    layout.events_file(run.dir).write_text("".join(ev.to_line(e) + "\n" for e in events), "utf-8")
    assert project_glance.read(Recent(str(made.dir), "p", 0.0)).stage == "Export stopped"


def test_a_long_run_is_read_by_its_ends_and_gives_the_same(made: Project) -> None:
    found = write(made, 60_000, ev.Finished(time=2.0, status="done"))
    path = layout.events_file(layout.run(made.dir, found.id))
    assert path.stat().st_size > 20 * LOOK_BYTES
    run = made.runs.get(found.id)
    began = time.perf_counter()
    again = glance(run)
    assert time.perf_counter() - began < 0.5
    whole = run.state()
    assert (again.step, again.steps, again.status, again.loss) == (whole.step, 60_000, "done", whole.metrics.last("loss"))


@pytest.mark.parametrize("steps", [1, 700, 900, 1000, 1100, 1400, 2500])
def test_sizes_around_the_two_ends_lose_nothing(made: Project, steps: int) -> None:
    found = write(made, steps, ev.Finished(time=2.0, status="done"))
    assert (found.step, found.steps, found.status) == (steps, steps, "done")


def test_a_run_that_never_started_is_created(made: Project) -> None:
    assert glance(made.runs.create(CorpusSpec(sources=("x",)))).status == "created"


def test_equal_projects_give_equal_surveys(made: Project) -> None:
    write(made, 5)
    assert survey(made) == survey(made)
    with made.artifacts.create("corpus", title="Books") as corpus:
        corpus.finish(documents=1)
    found = survey(made)
    assert found.choices("corpus") == [("corpus-1", "Books")]
    assert {s.id: s.state for s in found.stages} == {"corpus": "done", "tokenizer": "ready", "pretrain": "failed", "instruct": "ready",
                                                     "sft": "nothing", "preference": "ready", "reward": "nothing", "dpo": "nothing",
                                                     "verifiers": "nothing", "grpo": "nothing"}


def test_verifiers_are_ready_with_problems_and_done_when_they_were_checked(made: Project) -> None:
    def state() -> tuple[str, str]:
        return next((s.state, s.words) for s in survey(made).stages if s.id == "verifiers")
    assert state() == ("nothing", "")
    prompt = (Message(role="user", content="What is 2 + 2?"),)
    made.library.problems.take("Sums", [Problem(id=problem_id(prompt, "4"), prompt=prompt, answer="4")], origin="person")
    assert state() == ("ready", "ready")
    source = "def verify(prompt, completion, answer):\n    return 1.0\n"
    made.library.verifiers.create("sums.py", "python", source)
    verifier_checks.keep(made, source + "# another\n", 0, 1)
    assert state() == ("ready", "ready")
    verifier_checks.keep(made, source, 2, 1)
    assert state() == ("done", "")
    assert verifier_checks.read(made.dir)[made.library.verifiers.version("verifier-1@1").sha256]["failing"] == 2


def test_only_runs_that_changed_are_read_again(made: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    import desktop.models.survey as module
    found, reads = write(made, 5), []
    run, ends = made.runs.get(found.id), module._ends
    monkeypatch.setattr(module, "_ends", lambda path: reads.append(path) or ends(path))
    assert glance(run) == glance(run) == found and reads == []
    with open(layout.events_file(run.dir), "a") as file:
        file.write(ev.to_line(ev.Finished(time=9.0, status="done")) + "\n")
    assert glance(run).status == "done" and len(reads) == 1
