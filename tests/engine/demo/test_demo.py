"""The guided demo with a tiny world and model, through the real worker: complete, repeatable, resumable, and never mixed up."""

import json
import os
import re
import signal
from contextlib import contextmanager
from pathlib import Path

import pytest

from engine.contract.errors import FledgeError, InputError, Locked, MachineError, ProjectError
from engine.contract.events import Metrics
from engine.contract.rows import Example, Message
from engine.demo import answering, preferring, questions, reasoning, run_demo, settings
from engine.demo import demo as guided
from engine.project import layout, rollouts, snapshots
from engine.project.locks import FileLock
from engine.project.project import Project
from engine.stages.dpo.spec import DpoSpec
from engine.stages.grpo.spec import GrpoSpec
from engine.stages.ppo.spec import PpoSpec
from engine.stages.pretrain.spec import PretrainSpec
from engine.stages.reward.spec import RewardSpec
from engine.stages.sft.spec import SftSpec
from engine.world import World

pytestmark = pytest.mark.timeout(400)  # a whole demo is some twenty runs, each a process of its own
TINY = PretrainSpec(depth=1, width=32, num_heads=2, intermediate_size=64, max_seq_len=128, steps=12, tokens_per_step=256, compile="off",
                    dtype="float32", eval_every=6, eval_tokens=2_000, sample_every=6, sample_tokens=8, checkpoint_every_steps=2)
TINY_SFT = SftSpec(epochs=2.0, batch_size=32, replay_documents=2, learning_rate=1e-3, validation_percent=5.0, dtype="float32",
                   compile="off", eval_every=0, sample_every=0, sample_tokens=4, checkpoint_every_steps=2)
SMALL = {"learning_rate": 1e-3, "dtype": "float32", "compile": "off", "eval_every": 0, "sample_every": 0, "sample_tokens": 4}
TINY_REWARD = RewardSpec(batch_size=8, epochs=1.0, validation_percent=25.0, score_unlabelled=False, **SMALL)
TINY_DPO = DpoSpec(batch_size=8, epochs=1.0, sft_weight=1.0, replay_documents=1, **SMALL)
TINY_PPO = PpoSpec(rollouts=2, batch_size=4, ppo_epochs=1, max_new_tokens=4, validation_prompts=4, **SMALL)
TINY_GRPO = GrpoSpec(preset="dr_grpo", rollouts=2, prompts=4, num_generations=2, max_new_tokens=4, validation_prompts=8, **SMALL)
HELD_OUT = ("held_out_people", "held_out_pairs")


def shrink(monkeypatch, home):
    monkeypatch.setenv("FLEDGE_HOME", str(home))
    monkeypatch.setattr(settings, "QUICK", settings.Size(seconds=1, vocab_size=512, people=8, text_bytes=120_000))
    monkeypatch.setattr(settings, "world_spec", lambda quick: TINY)
    monkeypatch.setattr(settings, "sft_spec", lambda quick: TINY_SFT)
    monkeypatch.setattr(settings, "own_text_spec", lambda text_bytes, seconds, device: (TINY, 512))
    monkeypatch.setattr(answering, "GENERATED", 4)
    monkeypatch.setattr(settings, "pairs", lambda quick: 24)
    monkeypatch.setattr(settings, "sums", lambda quick: (12, 0.75))
    monkeypatch.setattr(reasoning, "SAMPLES", 2)
    for name, wanted in (("reward_spec", TINY_REWARD), ("dpo_spec", TINY_DPO), ("ppo_spec", TINY_PPO),
                         ("grpo_spec", TINY_GRPO)):
        monkeypatch.setattr(settings, name, lambda quick, wanted=wanted: wanted)
    monkeypatch.setattr(preferring, "has_taste", lambda text: len(text) % 2 == 0)  # what so small a model does now and then


@pytest.fixture(autouse=True)
def tiny(tmp_path, monkeypatch):
    shrink(monkeypatch, tmp_path / "home")


class Killer:
    """Kills the worker of a stage once, as soon as it has a checkpoint."""

    def __init__(self, stage):
        self.stage, self.done = stage, False

    def say(self, words):
        pass

    @contextmanager
    def watch(self, run, pid):
        def on_event(state, event):
            if not self.done and run.stage == self.stage and isinstance(event, Metrics) and run.checkpoint_steps():
                self.done = True
                os.kill(pid, signal.SIGKILL)
        yield on_event


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A whole demo whose fine-tuning was killed once: (folder, report)."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        shrink(patch, folder / "home")
        with pytest.raises(MachineError) as wrong:
            run_demo(folder / "demo", quick=True, report=Killer("sft"))
        assert wrong.value.code == "crashed"
        before = [run.id for run in Project.open(folder / "demo").runs.list()]
        made = run_demo(folder / "demo")
    project = Project.open(folder / "demo")
    assert [run.id for run in project.runs.list()][: len(before)] == before
    assert project.runs.list("sft")[0].state().attempt == 2
    return folder / "demo", made


def test_the_demo_ends_with_a_report_and_a_second_call_changes_nothing(whole):
    folder, made = whole
    assert list(made["stages"]) == ["corpus", "tokenizer", "pretrain", "knowledge", "questions", "instruct", "sft", "evaluate",
                                    "preference", "labels", "reward", "dpo", "ppo", "taste", "problems", "grpo", "reasoning"]
    assert made["left_out"] == []
    pretrain, knowledge = made["stages"]["pretrain"], made["stages"]["knowledge"]
    assert 0 < pretrain["bpb_after"] < pretrain["bpb_before"] < 9
    assert pretrain["seconds"] > 0 and made["seconds"] >= sum(stage["seconds"] for stage in made["stages"].values()) - 0.1
    assert len(pretrain["samples"]) == 4 and all(sample["before"] != sample["after"] for sample in pretrain["samples"])
    assert 0 <= knowledge["facts_completed"] <= 1 and knowledge["sums"] == 153
    assert json.loads(layout.demo_report(folder, "json").read_text()) == json.loads(json.dumps(made))
    page = layout.demo_report(folder, "md").read_text()
    assert "generated world" in page and "fledge chat" in page and "The same questions to both models" in page

    project = Project.open(folder)
    runs, artifacts = [run.id for run in project.runs.list()], [artifact.id for artifact in project.artifacts.list()]
    rows = [row.example for row in project.library.examples.rows(count=10_000)]
    with pytest.MonkeyPatch.context() as patch:
        shrink(patch, folder.parent / "home")
        again = run_demo(folder)
    assert [run.id for run in project.runs.list()] == runs
    assert [artifact.id for artifact in project.artifacts.list()] == artifacts
    assert [row.example for row in project.library.examples.rows(count=10_000)] == rows
    assert again["quick"] and again["stages"]["pretrain"]["bpb_after"] == pretrain["bpb_after"] and again["sft"] == made["sft"]
    with pytest.raises(ProjectError) as wrong:
        run_demo(folder, seed=7)
    assert wrong.value.code == "other_demo"


def test_the_report_has_the_accuracy_before_and_after_as_the_evaluation_measured_it(whole):
    folder, made = whole
    project, measured = Project.open(folder), made["stages"]["evaluate"]
    world = World(guided.SEED, 8)
    asked = {split: len(world.questions(split)) for split in HELD_OUT}
    artifact = project.artifacts.get(measured["artifact"])
    rows = [json.loads(line) for line in (artifact.path / "rows.jsonl").read_text().splitlines()]
    tuned = [row for row in rows if row["model"] == made["stages"]["sft"]["artifact"] and row["suite"] in HELD_OUT]
    assert len(tuned) == sum(asked.values()) == measured["questions"] == made["sft"]["questions"]
    assert made["sft"]["accuracy_after"] == measured["accuracy_after"] == round(sum(r["grades"]["exact"] for r in tuned) / len(tuned), 4)
    base = [r for r in rows if r["model"] == "model-1" and r["suite"] in HELD_OUT and r["form"] == measured["form_before"]]
    assert len(base) == len(tuned)
    assert made["sft"]["accuracy_before"] == round(sum(r["grades"]["exact"] for r in base) / len(base), 4) < 0.05
    assert {r["form"] for r in rows if r["model"] == "model-1" and r["suite"] in HELD_OUT} == {"plain", "few_shot"}
    for row in measured["side_by_side"]:
        assert any(r["prompt"] == row["question"] and r["said"] == row["after"] for r in tuned)
        assert any(r["prompt"] == row["question"] and r["said"] == row["before"] for r in base)
    assert artifact.parents == ("model-1", "model-2", "corpus-1") and measured["text_bpb_after"] > 0


def test_no_held_out_question_nor_a_paraphrase_of_one_is_in_any_training_row(whole):
    folder, made = whole
    project, world = Project.open(folder), World(guided.SEED, 8)
    held = {split: world.questions(split) for split in (*HELD_OUT, "development")}
    texts = {question.text for asked in held.values() for question in asked}
    pairs = {(question.person, question.fact) for asked in held.values() for question in asked}
    people = {question.person for question in held["held_out_people"]}
    trained = list(snapshots.rows(project.runs.list("sft")[0].dir, "examples"))
    assert len(trained) == len(world.questions("train")) + 12 == made["stages"]["questions"]["examples"]
    sums = [row for row in trained if row.origin == questions.ORIGIN_SUMS]
    held_sums = {each.question for split in ("held_out", "development") for each in world.sums(split)}
    assert len(sums) == 12 and not any(row.messages[0].content in held_sums for row in sums)
    assert sum("So " in row.messages[-1].content for row in sums) == 9, "three of four are worked step by step"
    assert all(re.findall(r"\d+", row.messages[-1].content)[-1] == row.facts["answer"] for row in sums)
    trained = [row for row in trained if row.origin != questions.ORIGIN_SUMS]
    known = {question.text: question for question in world.questions("train")}
    for row in trained:
        asked, said = row.messages
        question = known[asked.content]
        assert asked.content not in texts and (question.person, question.fact) not in pairs
        assert not any(name in re.findall(r"\w+", asked.content) for name in people)
        assert said.content == questions.answer(question) and row.facts["answer"] == world.person(question.person).facts[question.fact]
    generated = [json.loads(line) for line in layout.rows_file(project.runs.list("instruct")[0].dir).read_text().splitlines()]
    assert generated and all(row["messages"][0]["content"] in known for row in generated)
    for suite in HELD_OUT:  # what the suites ask is what is held out, all of it
        asked_there = [json.loads(line)["prompt"] for line in (layout.suites(folder) / f"{suite}.jsonl").read_text().splitlines()]
        assert asked_there == [question.text for question in held[suite]]
        assert not any(f'prompt = "{text}"' in (layout.suites(folder) / f"{suite}.toml").read_text() for text in texts)


def test_what_the_base_model_wrote_is_kept_apart_and_held_against_the_world(whole):
    folder, made = whole
    project = Project.open(folder)
    sets = {one.title: one for one in project.library.examples.sets()}
    mine, theirs = sets["Questions of the world"], sets["Answers of the base model"]
    assert (theirs.rejected, theirs.accepted, theirs.new) == (made["stages"]["instruct"]["asked"], 0, 0)
    assert mine.rejected == 0 and project.runs.list("sft")[0].spec["examples"] == [mine.id, sets["Sums of the world"].id]


def test_the_labels_are_the_simulated_annotators_and_the_report_says_so(whole):
    folder, made = whole
    project = Project.open(folder)
    kept = project.library.pairs.labels(author=preferring.ANNOTATOR)
    stages = made["stages"]
    assert len(kept) == stages["labels"]["labels"] == stages["labels"]["decided"] + stages["labels"]["ties"]
    assert stages["labels"]["simulated"]
    assert all((label.choice == "tie") == (preferring.has_taste(pair.first.text) == preferring.has_taste(pair.second.text))
               for label in kept for pair in [project.library.pairs.get(label.pair)])
    for name in ("dpo", "ppo"):
        assert made[name]["rate_after"] == stages["taste"][f"rate_{name}"] and made[name]["kl"] == stages[name]["kl"] is not None
        rows = [json.loads(line) for line in (project.artifacts.get("evaluation-2").path / "rows.jsonl").read_text().splitlines()]
        mine = [preferring.has_taste(r["said"]) for r in rows if r["model"] == stages[name]["artifact"]]
        assert made[name]["rate_after"] == round(sum(mine) / len(mine), 4)
    assert project.artifacts.get(stages["ppo"]["artifact"]).parents[:2] == (stages["sft"]["artifact"], stages["reward"]["artifact"])
    assert "The annotator is simulated" in layout.demo_report(folder, "md").read_text()


def test_held_out_sums_are_tried_by_nobody_and_graded_by_the_verifier_of_the_library(whole):
    folder, made = whole
    project, world, stages = Project.open(folder), World(guided.SEED, 8), made["stages"]
    held = {each.question: str(each.total) for each in world.sums("held_out")}
    [run] = project.runs.list("grpo")
    asked = list(snapshots.problems(run.dir))
    assert {one.prompt[-1].content: one.answer for one in asked if one.held_out} == held and stages["problems"]["held_out"] == len(held)
    tried = {row.prompt[-1].content for step in rollouts.steps(run.dir) for row in rollouts.rows(run.dir, step)}
    assert tried and not tried & held.keys()
    version = project.library.verifiers.version(stages["problems"]["verifier"])
    assert version.body == reasoning.VERIFIER and run.spec["verifier"] == version.ref
    rows = [json.loads(line) for line in (project.artifacts.get("evaluation-4").path / "rows.jsonl").read_text().splitlines()]
    assert len(rows) == 2 * 2 * len(held) and {row["prompt"] for row in rows} == held.keys()
    for when, stage in (("before", "sft"), ("after", "grpo")):
        mine = [(re.findall("[0-9]+", row["said"]) or [""])[-1] == held[row["prompt"]] for row in rows
                if row["model"] == stages[stage]["artifact"]]
        assert made["grpo"][f"pass_at_1_{when}"] == round(sum(mine) / len(mine), 4)
    assert "Sums, learned by trying" in layout.demo_report(folder, "md").read_text()


def test_a_true_answer_is_accepted_and_a_false_one_is_not(tmp_path):
    project, world = Project.create(tmp_path / "p", "P"), World(guided.SEED, 8)
    library, known = project.library.examples, world.questions("train")
    id = library.set_of_run("9-instruct", "Answers")
    said = [known[0].answer, known[1].value, "Nonsense.", known[0].answer]
    asked = [known[0].text, known[1].text, known[2].text, "Something else?"]
    library.ingest(id, [Example(id=f"r{i}", messages=(Message(role="user", content=q), Message(role="assistant", content=a)))
                        for i, (q, a) in enumerate(zip(asked, said, strict=True))])
    assert answering.judge(project, world, "9-instruct") == 2 == answering.judge(project, world, "9-instruct")
    assert [row.status for row in library.rows()] == ["accepted", "accepted", "rejected", "rejected"]


def test_the_imported_text_keeps_its_spaces_and_holds_no_question(tmp_path, monkeypatch):
    from engine.text.corpus import Corpus

    monkeypatch.setattr(guided, "STEPS", guided.STEPS[:1])
    monkeypatch.setattr(guided, "_conclude", lambda demo: demo.made)
    made = run_demo(tmp_path / "demo", quick=True)
    corpus = Corpus.open(made["corpus"].path)
    texts = [document.text for split in ("train", "validation") for document in corpus.documents(split)]
    world = World(guided.SEED, 8)
    assert sorted(texts) == sorted(world.documents(120_000))
    assert corpus.count("validation") > 10
    held = {(each.left, each.right) for each in world.sums("held_out")}
    written = {(int(a), int(b)) for text in texts for a, b in re.findall(r"(?<!\d)(\d\d)\+(\d)=", text)}
    assert written and not written & held
    assert not any("?" in text for text in texts)


def test_after_a_killed_worker_the_same_command_goes_on_with_the_same_run(tmp_path, monkeypatch):
    monkeypatch.setattr(guided, "STEPS", guided.STEPS[:4])
    with pytest.raises(MachineError) as wrong:
        run_demo(tmp_path / "demo", quick=True, report=Killer("pretrain"))
    assert wrong.value.code == "crashed"
    project = Project.open(tmp_path / "demo")
    before = [run.id for run in project.runs.list()]
    made = run_demo(tmp_path / "demo", quick=True)
    assert [run.id for run in project.runs.list()] == before
    assert project.runs.list("pretrain")[0].state().attempt == 2
    assert made["stages"]["pretrain"]["steps"] == TINY.steps


def test_own_text_leaves_out_by_name_what_needs_the_world(tmp_path):
    text = tmp_path / "poem.txt"
    text.write_text("\n\n".join(f"The {thing} of number {n} sings in the rain." for n in range(600) for thing in ("bird", "tree")))
    made = run_demo(tmp_path / "demo", quick=True, corpus=text)
    assert [left["stage"] for left in made["left_out"]] == ["knowledge", "questions", "instruct", "sft", "evaluate", "preference",
                                                           "labels", "reward", "dpo", "ppo", "taste", "problems", "grpo", "reasoning"]
    assert all(left["reason"] for left in made["left_out"]) and "sft" not in made and made["corpus"] == str(text) and not made["generated"]
    assert "knowledge" not in made["stages"] and made["stages"]["pretrain"]["bpb_after"] < made["stages"]["pretrain"]["bpb_before"]
    assert "left out" in layout.demo_report(tmp_path / "demo", "md").read_text()


def test_a_project_of_ones_own_is_left_alone(tmp_path):
    Project.create(tmp_path / "mine", "Mine")
    with pytest.raises(ProjectError) as wrong:
        run_demo(tmp_path / "mine", quick=True)
    assert wrong.value.code == "not_a_demo"
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == ["project.json"]


def test_a_corpus_that_is_not_there_is_refused_before_a_folder_is_made(tmp_path):
    with pytest.raises(InputError):
        run_demo(tmp_path / "demo", corpus=tmp_path / "nothing.txt")
    assert not (tmp_path / "demo").exists()


def test_two_demos_at_once_in_a_folder_are_refused(tmp_path):
    Project.create(tmp_path / "demo", "Demo", origin=guided.ORIGIN)
    lock = FileLock(layout.demo_lock(tmp_path / "demo"))
    assert lock.acquire()
    try:
        with pytest.raises(Locked):
            run_demo(tmp_path / "demo", quick=True)
    finally:
        lock.release()


def test_a_failed_run_fails_the_demo_with_its_own_error(tmp_path, monkeypatch):
    text = tmp_path / "empty.txt"
    text.write_text("   ")
    with pytest.raises(FledgeError) as wrong:
        run_demo(tmp_path / "demo", corpus=text)
    assert wrong.value.code == "no_text" and wrong.value.sentence and wrong.value.remedy
    assert Path(tmp_path / "demo" / "demo.json").exists()
