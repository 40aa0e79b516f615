"""The evaluate stage in a real project, with tiny sharp models whose answers are known: figures, rows, stops and kills."""

import io
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from rich.console import Console

from engine import terminal
from engine.cli import cli
from engine.contract.context import Command, RunContext
from engine.contract.errors import FledgeError, InputError, NotFound, SettingError, Stopped
from engine.contract.events import ArtifactMade, Facts, Notice, Phases, Progress
from engine.contract.rows import Example, Message
from engine.evaluation import kept, losses
from engine.evaluation.answering import Examinee
from engine.evaluation.journal import read
from engine.evaluation.suites import load
from engine.model.checkpoint import load_model, stop_ids
from engine.model.reward_model import RewardFacts, RewardHead, RewardModel, save_reward
from engine.model.scorer import Scorer
from engine.project import layout
from engine.project.models import resolve
from engine.project.project import Project
from engine.sampling.generate import generate
from engine.sampling.sampling import Sampling
from engine.stages.evaluate import job
from engine.stages.evaluate.run import run
from engine.stages.evaluate.spec import EvaluateSpec
from engine.text.corpus_writer import CorpusWriter
from engine.text.tokenizer import Tokenizer
from engine.training.devices import choose
from engine.training.evaluate import TextEvaluation
from engine.training.examples import ExampleEvaluation, encode_examples
from engine.training.ranks import Ranks
from tests.serving import TEXT, make_project, write_model

PROMPTS = [f"{word} {n}?" for n in range(6) for word in ("mail", "ferry", "quay")]
LENGTH = 6


@pytest.fixture
def project(tmp_path):
    torch.set_num_threads(1)
    made = make_project(tmp_path / "gazette")
    with made.artifacts.create("model", title="tuned") as writer:
        write_model(writer.path, Tokenizer.load(made.artifacts.get("model-1").path), 5)
        writer.finish(step=9, chat=True)
    return made


def says(project, id, prompt):
    """What the model says in the chat form, by the sampler alone."""
    folder = resolve(project, id).folder
    model, words = load_model(folder), Tokenizer.load(folder)
    ends = stop_ids(folder, words)
    ids = generate(model, [words.encode_chat([{"role": "user", "content": prompt}])],
                   Sampling(temperature=0, max_new_tokens=LENGTH, stop_ids=ends))[0].ids
    return words.decode([i for i in ids if i not in ends], skip_special=True).strip()


def write_suite(project, name="known", head="", wrong=lambda i: False):
    """Questions whose right answer is what model-2 says, but for those that are `wrong`."""
    place = layout.suites(project.dir)
    place.mkdir(exist_ok=True)
    rows = [{"prompt": prompt, "answer": "never said" if wrong(i) else says(project, "model-2", prompt) or "nothing",
             "parity": str(i % 2)} for i, prompt in enumerate(PROMPTS)]
    (place / f"{name}.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    (place / f"{name}.toml").write_text(f'title = "Known"\nfile = "{name}.jsonl"\n{head}')
    return rows


class Attempt:
    def __init__(self, project, spec, run_dir=None, device="cpu", attempt=1, stop_after=None):
        made = project.runs.get(run_dir.name) if run_dir else project.runs.create(spec)
        self.dir, self.events, self.looks, self.stop_after = made.dir, [], 0, stop_after
        self.context = RunContext(run_dir=made.dir, project_dir=project.dir, run_id=made.id, device=device, attempt=attempt,
                                  emitter=self.events.append, reader=self.look)
        self.spec = spec

    def look(self):
        self.looks += 1
        return Command("stop_save") if self.stop_after is not None and self.looks > self.stop_after else None

    def run(self):
        run(self.spec, self.context)
        made = [e for e in self.events if isinstance(e, ArtifactMade)][-1]
        return Project.open(self.context.project_dir).artifacts.get(made.id)

    def of(self, kind):
        return [e for e in self.events if isinstance(e, kind)]


def spec(**values):
    return EvaluateSpec(**{"models": ("model-2",), "suites": ("known",), "max_tokens": LENGTH, **values})


def test_figures_rows_and_examples_of_a_model_whose_answers_are_known(project):
    write_suite(project, wrong=lambda i: i < 6)
    attempt = Attempt(project, spec())
    made = attempt.run()
    facts = made.facts["results"][0]
    assert (facts["n"], facts["value"], facts["right"], facts["form"]) == (18, round(12 / 18, 6), 12, "chat")
    assert facts["low"] < facts["value"] < facts["high"] and facts["graders"]["exact"] == facts["value"]
    assert facts["groups"]["parity"]["0"]["n"] == 9 and 0 < facts["cut"] <= 1
    rows = list(read(made.path / "rows.jsonl"))
    assert [row["prompt"] for row in rows] == PROMPTS
    assert [row["score"] for row in rows] == [0.0] * 6 + [1.0] * 12
    assert rows[7]["said"] == says(project, "model-2", PROMPTS[7]) and rows[7]["group"] == {"parity": "1"}
    report = json.loads((made.path / "report.json").read_text())
    shown = report.pop("examples")[0]
    assert report == json.loads(json.dumps(made.facts))
    assert {r["score"] for r in shown["worst"]} == {0.0} and {r["score"] for r in shown["best"]} == {1.0} and len(shown["random"]) == 5
    assert made.parents == ("model-2",) and made.kind == "evaluation"
    assert attempt.of(Phases)[0].phases[0][0] == "model-0" and attempt.of(Progress)[-1].done == 18
    assert attempt.of(Facts)[-1].facts["results"]


def test_a_base_model_is_asked_in_both_other_forms_and_compared_in_its_better_one(project):
    write_suite(project)
    made = Attempt(project, spec(models=("model-1", "model-2"))).run()
    by = {(r["model"], r["form"]): r for r in made.facts["results"]}
    assert set(by) == {("model-1", "plain"), ("model-1", "few_shot"), ("model-2", "chat")}
    assert by["model-2", "chat"]["value"] == 1.0
    compared = made.facts["comparisons"][0]
    best = max(by["model-1", form]["right"] for form in ("plain", "few_shot"))
    assert compared["only_second"] == 18 - best and compared["only_first"] == 0 and compared["p"] < 0.001
    assert made.parents == ("model-1", "model-2")


def test_kept_answers_are_looked_through_and_put_side_by_side(project):
    write_suite(project, wrong=lambda i: i == 3)
    made = Attempt(project, spec(models=("model-1", "model-2"))).run()
    tuned = kept.RowFilter(model="model-2", form="chat")
    assert kept.count(made.path) == 54 and kept.count(made.path, tuned) == 18
    assert [r["prompt"] for r in kept.rows(made.path, tuned, start=4, count=2)] == PROMPTS[4:6]
    assert [r["prompt"] for r in kept.rows(made.path, kept.RowFilter(model="model-2", high=0.4))] == [PROMPTS[3]]
    assert kept.count(made.path, kept.RowFilter(search="FERRY 1")) >= 3
    assert kept.count(made.path, kept.RowFilter(model="model-2", group={"parity": "1"}, low=1.0)) == 8
    pairs = list(kept.side_by_side(made.path, made.path, "known", ("model-1", "model-2"), ("plain", "chat")))
    assert [(a["prompt"], a["id"]) for a, _ in pairs] == [(b["prompt"], b["id"]) for _, b in pairs] and len(pairs) == 18
    differing = list(kept.side_by_side(made.path, made.path, "known", ("model-1", "model-2"), ("plain", "chat"), differing=True))
    assert all(a["score"] != b["score"] for a, b in differing) and len(differing) >= 15


def test_the_command_prints_the_report_as_its_last_line_and_a_table_for_people(project, monkeypatch, tmp_path):
    monkeypatch.setenv("FLEDGE_HOME", str(tmp_path / "home"))
    write_suite(project, wrong=lambda i: i < 9)
    arguments = ["run", str(project.dir), "evaluate", "--set", "models=model-2", "--set", "suites=known", "--set", f"max_tokens={LENGTH}"]
    said = CliRunner().invoke(cli, [*arguments, "--json"])
    last = json.loads(said.stdout.splitlines()[-1])
    assert said.exit_code == 0 and last["artifact"] == "evaluation-1" and last["results"][0]["value"] == 0.5
    shown = Console(width=120, record=True, file=io.StringIO())
    shown.print(terminal._evaluation(last))
    text = shown.export_text()
    assert "50.0" in text and "as a chat" in text


def test_a_checkpoint_is_measured_like_a_finished_model_and_a_limit_spreads(project):
    write_suite(project)
    made = Attempt(project, spec(models=("1-pretrain@20",), limit=3, form="plain")).run()
    assert made.facts["results"][0]["n"] == 3 and [m["id"] for m in made.facts["models"]] == ["1-pretrain@20"]
    assert [r["prompt"] for r in read(made.path / "rows.jsonl")] == [PROMPTS[0], PROMPTS[6], PROMPTS[12]]


def test_several_tries_give_pass_at_k_and_the_same_ones_again(project):
    write_suite(project)
    wanted = spec(samples=4, temperature=1.5)
    first, second = Attempt(project, wanted).run(), Attempt(project, wanted).run()
    facts = first.facts["results"][0]
    assert facts["tries"] == 4 and list(facts["pass_at"]) == ["1", "2", "4"]
    assert facts["pass_at"]["1"] == facts["value"] <= facts["pass_at"]["2"] <= facts["pass_at"]["4"] < 1
    assert list(read(first.path / "rows.jsonl")) == list(read(second.path / "rows.jsonl"))
    assert spec(samples=2).problems()[0].field == "temperature"


def test_after_a_stop_nothing_is_asked_twice_and_the_rows_are_those_of_one_go(project, monkeypatch):
    write_suite(project)
    monkeypatch.setattr("engine.evaluation.answering.MOST_ROWS", 3)
    wanted = spec(models=("model-2", "model-1"))
    whole = list(read(Attempt(project, wanted).run().path / "rows.jsonl"))
    asked = []
    plain = Examinee.answers
    monkeypatch.setattr(Examinee, "answers", lambda self, prompts, tries, **rest: (asked.append(len(tries)),
                                                                                  plain(self, prompts, tries, **rest)))
    attempt = Attempt(project, wanted, stop_after=14)
    with pytest.raises(Stopped) as stopped:
        attempt.run()
    assert stopped.value.saved
    kept = len(list(read(next(layout.work(attempt.dir).glob("rows-*.jsonl")))))
    assert 0 < kept < 18 and asked == [18]
    asked.clear()
    made = Attempt(project, wanted, run_dir=attempt.dir, attempt=2).run()
    assert asked == [18 - kept, 18, 18]
    assert list(read(made.path / "rows.jsonl")) == whole
    assert not layout.work(attempt.dir).exists()
    asked.clear()
    again = Attempt(project, wanted, run_dir=attempt.dir, attempt=3).run()
    assert again.id == made.id and asked == []


def test_a_suite_that_was_edited_meanwhile_is_asked_anew(project, monkeypatch):
    write_suite(project)
    monkeypatch.setattr("engine.evaluation.answering.MOST_ROWS", 3)
    attempt = Attempt(project, spec(), stop_after=14)
    with pytest.raises(Stopped):
        attempt.run()
    write_suite(project, wrong=lambda i: True)
    made = Attempt(project, spec(), run_dir=attempt.dir, attempt=2).run()
    assert made.facts["results"][0]["right"] == 0


def test_after_a_kill_the_worker_goes_on_where_it_was(project, tmp_path):
    write_suite(project)
    wanted = spec(samples=100, temperature=1.2, max_tokens=24)
    made = project.runs.create(wanted)
    environment = {**os.environ, "FLEDGE_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "engine.worker", str(made.dir), "--device", "cpu"]
    worker = subprocess.Popen(command, env=environment)
    rows = []
    for _ in range(600):
        time.sleep(0.05)
        rows = [row for path in layout.work(made.dir).glob("rows-*.jsonl") for row in read(path)]
        if len(rows) > 300:
            break
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    journal = next(layout.work(made.dir).glob("rows-*.jsonl"))
    before = list(read(journal))
    assert 300 < len(before) < 1800
    with open(journal, "ab") as file:
        file.write(b'{"suite": "known", "mod')  # the line that the kill cut off
    assert subprocess.run(command, env=environment, timeout=120).returncode == 0
    artifact = project.artifacts.list("evaluation")[0]
    after = list(read(artifact.path / "rows.jsonl"))
    assert len(after) == 18 * 100 == len({(row["id"], row["sample"]) for row in after})
    known = {(row["id"], row["sample"]): row for row in after}
    assert all(known[row["id"], row["sample"]] == row for row in before)


def test_questions_of_the_library_and_those_that_cannot_be_graded(project):
    library = project.library.examples
    made = library.create_set("Questions")
    library.add(made.id, [Example(id=f"r{i}", facts={"answer": says(project, "model-2", prompt) if i < 9 else "no"}, messages=(
        Message(role="user", content=prompt), Message(role="assistant", content="A long sentence."))) for i, prompt in enumerate(PROMPTS)],
        "person")
    library.add(made.id, [Example(id="open", messages=(Message(role="user", content="An open question?"),))], "person")
    attempt = Attempt(project, spec(suites=("questions",), examples=(made.id,)))
    facts = attempt.run().facts["results"][0]
    assert (facts["n"], facts["right"]) == (18, 9)
    assert [notice.code for notice in attempt.of(Notice)] == ["ungraded"]
    words = library.create_set("Words")
    library.add(words.id, [Example(id="w", messages=(Message(role="user", content="?"), Message(role="assistant", content="Me")))], "me")
    with pytest.raises(FledgeError) as wrong:
        Attempt(project, spec(suites=("problems",), examples=(words.id,))).run()
    assert wrong.value.code == "no_questions"


@pytest.mark.parametrize(("values", "error", "said"), [
    ({"suites": ("held_out_text",)}, SettingError, "corpus"), ({"suites": ("questions",)}, SettingError, "library"),
    ({"suites": ("blind",)}, SettingError, "two models"), ({"models": ("model-9",)}, NotFound, "model-9"),
    ({"suites": ("poems",)}, NotFound, "poems"), ({"models": ()}, SettingError, "no model")])
def test_what_is_missing_is_said_before_any_model_is_loaded(project, monkeypatch, values, error, said):
    write_suite(project)
    monkeypatch.setattr(Examinee, "load", lambda *_: pytest.fail("a model was loaded"))
    with pytest.raises(error) as wrong:
        Attempt(project, spec(**values)).run()
    assert said in wrong.value.sentence


def test_a_question_longer_than_the_context_counts_as_wrong_and_is_told(project):
    place = layout.suites(project.dir)
    place.mkdir()
    (place / "known.toml").write_text("".join(f'[[questions]]\nprompt = "{prompt}"\nanswer = "x"\n' for prompt in ("long " * 300, "hm?")))
    attempt = Attempt(project, spec())
    facts = attempt.run().facts["results"][0]
    assert facts["n"] == 2 and facts["too_long"] == 1
    assert attempt.of(Notice)[0].code == "too_long"


def make_corpus(project):
    with project.artifacts.create("corpus", title="gazette") as made:
        writer = CorpusWriter(made.path)
        for n in range(40):
            writer.add("validation" if n % 4 == 0 else "train", f"Number {n}. " + TEXT[n:n + 150 + 7 * n], "a.txt")
        writer.finish()
        return made.finish()


def test_loss_on_held_out_text_is_that_of_each_document_read_alone(project):
    corpus = make_corpus(project)
    made = Attempt(project, spec(suites=("held_out_text",), corpus=corpus.id, models=("model-1", "1-pretrain@0"))).run()
    texts = [f"Number {n}. " + TEXT[n:n + 150 + 7 * n] for n in range(0, 40, 4)]
    ref = resolve(project, "1-pretrain@0")
    model, words = load_model(ref.folder), Tokenizer.load(ref.folder)
    nats = tokens = 0.0
    for text in texts:
        ids = torch.tensor([[words.bos_id, *words.encode(text), words.eos_id]])
        for start in range(0, ids.shape[1] - 1, 64):  # an own way of cutting: a fresh model hardly looks back
            piece = ids[:, start:start + 65]
            with torch.no_grad():
                logprobs = model.logits(model(piece[:, :-1])).log_softmax(-1).gather(-1, piece[:, 1:, None])
            nats, tokens = nats - logprobs.sum().item(), tokens + piece.shape[1] - 1
    found = next(r for r in made.facts["results"] if r["model"] == "1-pretrain@0")
    assert found["bytes"] == sum(len(t.encode()) for t in texts)
    assert found["per_token"] == pytest.approx(nats / tokens, rel=0.01)
    assert found["value"] == pytest.approx(nats / tokens * found["tokens"] / np.log(2) / found["bytes"], rel=0.01)
    split = losses.Encoded(texts, words)
    sizes = losses._of_rows(losses.token_bytes(words), model.config.vocab_size)
    exact = TextEvaluation(split, sizes, seq_len=model.config.max_seq_len, batch_size=1, first_input=words.eos_id, pad=words.eos_id,
                           borders=True).measure(model, 2 * split.tokens, Ranks(0, 1, torch.device("cpu")))
    assert found["nats"] == pytest.approx(exact.nats, rel=1e-5)


def test_loss_on_conversations_is_that_of_fine_tuning(project):
    library = project.library.examples
    made = library.create_set("Talk")
    rows = [Example(id=f"r{i}", messages=(Message(role="user", content=prompt),
                                          Message(role="assistant", content="the mail " * (1 + i % 3))))
            for i, prompt in enumerate(PROMPTS)]
    library.add(made.id, rows, "person")
    artifact = Attempt(project, spec(suites=("held_out_examples",), examples=(made.id,))).run()
    ref = resolve(project, "model-2")
    words, model = Tokenizer.load(ref.folder), load_model(ref.folder)
    encoded = encode_examples(words, rows, max_seq_len=model.config.max_seq_len)
    loss = ExampleEvaluation(encoded).measure(model, Ranks(0, 1, torch.device("cpu")))
    found = artifact.facts["results"][0]
    assert found["n"] == 18 and found["tokens"] == loss.tokens and found["value"] == pytest.approx(loss.per_token, rel=1e-5)
    worst = json.loads((artifact.path / "report.json").read_text())["examples"][0]["worst"]
    assert worst[0]["nats"] / worst[0]["tokens"] == max(r["nats"] / r["tokens"] for r in read(artifact.path / "rows.jsonl"))
    part = Attempt(project, spec(suites=("held_out_examples",), examples=(made.id,), held_out_percent=30.0)).run().facts["results"][0]
    assert part["n"] == len(encoded.split(30.0)[1]) < 18


def test_a_choice_is_scored_by_the_probability_of_its_words(project):
    ref = resolve(project, "model-2")
    examinee = Examinee.load(ref, choose("cpu"))
    suite = load("everyday")
    for form in ("chat", "plain"):
        question = suite.questions[0]
        found = next(examinee.choice_logprobs(suite.asking, [question], form))
        model, words = examinee.model, examinee.tokenizer
        for (value, size), choice in zip(found, question.choices, strict=True):
            if form == "chat":
                before = words.encode_chat([{"role": "user", "content": question.prompt}])
                whole = words.encode_chat([{"role": "user", "content": question.prompt}, {"role": "assistant", "content": choice}],
                                          add_generation_prompt=False)
            else:
                before = [words.bos_id, *words.encode(question.prompt)]
                whole = [words.bos_id, *words.encode(f"{question.prompt} {choice}")]
            with torch.no_grad():
                logprobs = model.logits(model(torch.tensor([whole])))[0].log_softmax(-1)
            own = sum(logprobs[i - 1, whole[i]].item() for i in range(len(before), len(whole)))
            assert value == pytest.approx(own, abs=1e-3) and size == len(choice)
    made = Attempt(project, spec(suites=("everyday",))).run()
    assert made.facts["results"][0]["n"] == 32 and set(made.facts["results"][0]["graders"]) == {"likeliest", "likeliest_a_byte"}


def test_blind_comparisons_are_laid_out_without_a_judge(project):
    made = Attempt(project, spec(models=("model-1", "model-2"), suites=("blind",))).run()
    laid_out = [json.loads(line) for line in (made.path / "comparisons.jsonl").read_text().splitlines()]
    assert 10 < len(laid_out) <= 16
    assert {(one["left_model"], one["right_model"]) for one in laid_out} == {("model-1", "model-2"), ("model-2", "model-1")}
    assert made.facts["results"] == [] and made.facts["rows"] == 32


def test_a_judged_win_rate_survives_a_stop(project, monkeypatch):
    from tests.engine.evaluation.judges import Judge, longer
    judge = Judge(longer)
    monkeypatch.setattr(job.providers, "of", lambda *_, **__: judge)
    wanted = spec(models=("model-1", "model-2"), suites=("win_rate",), judge="project:model-1")
    attempt = Attempt(project, wanted)
    attempt.look = lambda: Command("pause") if len(judge.asked) >= 6 else None
    attempt.context.reader = attempt.look
    with pytest.raises(Stopped) as stopped:
        attempt.run()
    assert stopped.value.paused
    first = len(judge.asked)
    made = Attempt(project, wanted, run_dir=attempt.dir, attempt=2).run()
    rate = made.facts["win_rates"][0]
    assert rate["n"] == 16 and len(set(judge.asked)) == len(judge.asked) <= 32 and first < len(judge.asked)
    rows = {(r["model"], r["form"] == "judged", r["id"]): r for r in read(made.path / "rows.jsonl")}
    for (model, judged, id), row in rows.items():
        if judged and not row.get("same"):
            one, other = rows["model-1", False, id]["said"], rows[model, False, id]["said"]
            assert row["outcome"] == ("tie" if len(one) == len(other) else "second" if len(other) > len(one) else "first")


def test_a_model_without_a_chat_template_is_refused_the_chat_form(project, monkeypatch):
    write_suite(project)
    monkeypatch.setattr(Examinee, "chats", False)
    with pytest.raises(InputError) as wrong:
        Attempt(project, spec(form="chat")).run()
    assert wrong.value.code == "no_chat_template"


def test_a_reward_model_judges_and_its_figures_are_those_of_each_answer_scored_alone(project):
    """Named reward:ID; the higher reward wins, equal texts are a tie, and the win rate stands on the verdicts."""
    decoder = load_model(project.artifacts.get("model-2").path)
    with project.artifacts.create("reward_model", title="Taste") as writer:
        save_reward(writer.path, RewardModel(decoder, RewardHead(decoder.config.hidden_size, seed=3)), RewardFacts(0.01, 0.02, "own"))
        Tokenizer.load(project.artifacts.get("model-2").path).save(writer.path)
        made = writer.finish()
    wanted = {"models": ("model-1", "model-2"), "suites": ("win_rate",), "limit": 8}
    artifact = Attempt(project, spec(**wanted, judge=f"reward:{made.id}")).run()
    rate = artifact.facts["win_rates"][0]
    scorer, rows = Scorer(made.path), list(read(artifact.path / "rows.jsonl"))
    said = {(row["model"], row["id"]): row for row in rows if row["form"] != "judged"}
    for row in (row for row in rows if row["form"] == "judged"):
        for id, reward in zip(("model-1", "model-2"), row["rewards"], strict=True):
            answer = said[id, row["id"]]
            alone = scorer.score([(Message(role="user", content=answer["prompt"]), Message(role="assistant", content=answer["said"]))])
            assert reward == pytest.approx(scorer.normalised(alone)[0], abs=2e-4)
        assert row["outcome"] == ("tie" if row["rewards"][0] == row["rewards"][1] else
                                  "first" if row["rewards"][0] > row["rewards"][1] else "second")
    assert rate["judged_by"] == f"reward:{made.id}" and rate["n"] == 8 == rate["wins"] + rate["losses"] + rate["ties"]
    assert made.id in artifact.parents
    with pytest.raises(InputError):
        Attempt(project, spec(**wanted, judge="reward:model-1")).run()
