"""A trial: a model's answers to problems, sampled as GRPO samples them; on the disk as they come, gone on with after a kill."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch
from test_sft import COLOURS, FORMS, THINGS, attempt_of, make_project
from test_sft import spec_of as sft_spec

from engine.contract.errors import InputError, Locked, Mismatch
from engine.contract.rows import Message, Problem, problem_id
from engine.model.checkpoint import load_model
from engine.project import layout, trials
from engine.project.locks import FileLock
from engine.project.trials import TrialSettings
from engine.rl import rollouts
from engine.sampling.sampling import Sampling
from engine.stages.grpo import trial as stage
from engine.text.tokenizer import Tokenizer
from engine.training import devices
from engine.training.tuning import Start
from tests.attempts import one_thread  # noqa: F401


def problem(asked, answer):
    prompt = (Message(role="user", content=asked),)
    return Problem(id=problem_id(prompt, answer), prompt=prompt, answer=answer)


PROBLEMS = [problem(form.format(thing), COLOURS[n % len(COLOURS)]) for n, thing in enumerate(THINGS) for form in FORMS]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    torch.set_num_threads(1)
    project = make_project(tmp_path_factory.mktemp("projects") / "p")
    attempt_of(project, sft_spec(project, epochs=10)).run()
    return project


@pytest.fixture(scope="module")
def facts():
    return devices.choose("cpu")


def settings(**more):
    return TrialSettings(**{"model": "model-2", "k": 4, "max_new_tokens": 12, **more})


def groups_of(trial):
    return [group for _, group in trials.read(trial.path)]


def test_answers_are_those_of_the_projects_own_sampler(project, facts):
    said = []
    trial = trials.prepare(project.dir, settings(seed=5), PROBLEMS[:3])
    made = stage.sample(project, trial, facts, said.append)
    groups = groups_of(trial)
    assert [group.problem for group in groups] == PROBLEMS[:3] and all(len(group.completions) == 4 for group in groups)
    assert trial.whole.is_file() and not trial.part.exists() and made.answers == 12
    assert said[-1]["groups"] == said[-1]["of"] == 3 and said[-1]["share"] == 1 and said[-1]["tokens"] == made.tokens > 0

    start = stage.started(project, settings())
    asked = [stage.question(start, settings(), one) for one in PROBLEMS[:3]]
    model = load_model(start.ref.folder)
    model.compute_dtype = stage._model(start, facts).compute_dtype
    seeds = [seed for one in PROBLEMS[:3] for seed in rollouts.seeds(5, f"trial/{one.id}", 0, range(4))]
    own = rollouts.ask(model, start.tokenizer, asked, Sampling(temperature=1.0, max_new_tokens=12, stop_ids=start.stop_ids), seeds=seeds,
                       generations=4)
    assert [one.text for one in own] == [one.text for group in groups for one in group.completions]
    assert [one.finish for one in own] == [one.finish for group in groups for one in group.completions]


def test_the_same_question_is_not_sampled_twice_and_another_has_another_key(project, facts):
    trial = trials.prepare(project.dir, settings(), PROBLEMS[:2])
    stage.sample(project, trial, facts, lambda said: None)
    before = trial.whole.read_bytes()
    assert stage.sample(project, trials.prepare(project.dir, settings(), PROBLEMS[:2]), facts, lambda said: None).answers == 0
    assert trial.whole.read_bytes() == before
    keys = {trials.key_of(one, some) for one in (settings(), settings(k=5), settings(model="model-1"), settings(seed=1))
            for some in (PROBLEMS[:2], PROBLEMS[:3], PROBLEMS[1::-1])}
    assert len(keys) == 12


def test_what_cannot_be_asked_is_left_out_with_its_reason(project, facts):
    long = problem("colour " * 200, "red")
    trial = trials.prepare(project.dir, settings(), [long, PROBLEMS[0]])
    made = stage.sample(project, trial, facts, lambda said: None)
    first, second = groups_of(trial)
    assert first.left_out and not first.completions and len(second.completions) == 4 and made.left_out == 1
    with pytest.raises(InputError):
        stage.sample(project, trials.prepare(project.dir, settings(), [long]), facts, lambda said: None)


def test_a_model_without_a_template_is_refused(project, facts, monkeypatch):
    load = Start.load

    def without(project, id, template=""):
        start = load(project, id)
        plain = {name: value for name, value in start.tokenizer.config.items() if name != "chat_template"}
        return replace(start, tokenizer=Tokenizer(start.tokenizer.record.replace("<|assistant|>", "<|helper|>"), plain))
    monkeypatch.setattr(stage.Start, "load", without)
    with pytest.raises(Mismatch) as wrong:
        stage.sample(project, trials.prepare(project.dir, settings(seed=55), PROBLEMS[:1]), facts, lambda said: None)
    assert wrong.value.code == "no_template"


def test_two_processes_do_not_sample_one_trial(project, facts):
    trial = trials.prepare(project.dir, settings(seed=77), PROBLEMS[:1])
    lock = FileLock(trial.lock)
    assert lock.acquire()
    try:
        with pytest.raises(Locked):
            stage.sample(project, trial, facts, lambda said: None)
    finally:
        lock.release()


def start(project, trial, home, *more, **given):
    environment = {**os.environ, "FLEDGE_HOME": str(home), "FLEDGE_THREADS": "1"}
    command = [sys.executable, "-m", "engine.stages.grpo.trial", str(project.dir), "--key", trial.key, "--device", "cpu", *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True, cwd=os.getcwd(), **given)


def test_a_trial_that_was_killed_goes_on_where_it_stood_and_comes_out_the_same(project, facts, tmp_path, monkeypatch):
    asked = settings(k=16, seed=9)
    whole = trials.prepare(project.dir, asked, PROBLEMS)
    stage.sample(project, whole, facts, lambda said: None)
    wanted = whole.whole.read_bytes()
    whole.whole.unlink()

    process = start(project, whole, tmp_path)
    try:
        for line in process.stdout:
            if json.loads(line)["groups"] >= 4:
                break
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait(10)
        process.stdout.close()
    assert whole.part.is_file() and not whole.whole.exists()
    there = whole.part.read_bytes()
    assert wanted.startswith(there) and len(there) < len(wanted)
    whole.part.write_bytes(there + b'{"problem": {"id": "cut in the mid')      # as a kill leaves it
    assert sum(1 for _ in trials.read(whole.part)) == there.count(b"\n"), "a line without its end is not there yet"

    said = []
    made = stage.sample(project, whole, facts, said.append)
    assert whole.whole.read_bytes() == wanted and said[0]["groups"] == there.count(b"\n")
    assert made.answers == (len(PROBLEMS) - there.count(b"\n")) * 16


def test_a_busy_device_is_said(project, tmp_path, monkeypatch):
    monkeypatch.setenv("FLEDGE_HOME", str(tmp_path))
    trial = trials.prepare(project.dir, settings(seed=3), PROBLEMS[:1])
    lock = FileLock(layout.device_lock("cpu"))
    assert lock.acquire()
    try:
        process = start(project, trial, tmp_path)
        said, _ = process.communicate(timeout=60)
    finally:
        lock.release()
    assert process.returncode == 5 and json.loads(said.splitlines()[-1])["error"]["code"] == "device_busy"


def test_the_process_ends_with_its_input(project, tmp_path):
    trial = trials.prepare(project.dir, settings(k=64, max_new_tokens=40, seed=4), PROBLEMS)
    process = start(project, trial, tmp_path, "--with-input", stdin=subprocess.PIPE)
    try:
        process.stdout.readline()
        process.stdin.close()
        process.wait(10)
    finally:
        process.kill()
        process.stdout.close()
    assert not trial.whole.exists()


def test_old_trials_make_room(project, monkeypatch):
    monkeypatch.setattr(trials, "KEPT", 3)
    made = []
    for seed in range(100, 106):
        made.append(trials.prepare(project.dir, settings(seed=seed), PROBLEMS[:1]))
        made[-1].part.write_text("")
        os.utime(made[-1].given, (time.time() + seed, time.time() + seed))
    left = [one for one in made if one.given.exists()]
    assert left == made[-3:] and not any(one.part.exists() for one in made[:3])


def test_settings_that_make_no_sense_are_refused():
    for given in ({"model": 3}, {"model": "m", "k": 0}, {"model": "m", "k": True}, {"model": "m", "temperature": 0},
                  {"model": "m", "x": 1}, []):
        with pytest.raises(InputError):
            TrialSettings.check(given)
