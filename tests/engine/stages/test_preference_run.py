"""The preference stage with tiny models and a hostile server: pairs, prompts of all kinds, answers that are the same, what is left out."""

import json
import os
from collections import Counter

import pytest
from click.testing import CliRunner

from engine.cli import cli
from engine.contract.errors import InputError, Mismatch, NotFound, SettingError
from engine.contract.events import ArtifactMade, Facts, Metrics, Notice, Phases, Progress, Sample
from engine.contract.rows import Answer, Example, Message, Pair, pair_id
from engine.project import layout
from engine.project.project import Project
from engine.stages.preference.kept import Kept
from engine.stages.preference.prompts import gather, question_of
from engine.stages.preference.spec import PreferenceSpec
from engine.text.corpus import Corpus
from engine.text.corpus_writer import CorpusWriter
from engine.text.tokenizer import Tokenizer
from tests.attempts import Attempt, made_by, one_thread  # noqa: F401
from tests.engine.generators.servers import hostile
from tests.serving import TEXT, make_project, write_model

PROMPTS = tuple(f"{word} {n}?" for n in range(4) for word in ("mail", "ferry", "quay"))


@pytest.fixture
def project(tmp_path):
    os.environ["FLEDGE_HOME"] = str(tmp_path / "home")
    made = make_project(tmp_path / "gazette")
    with made.artifacts.create("model", title="tuned") as writer:  # hot: random, but never the same twice
        write_model(writer.path, Tokenizer.load(made.artifacts.get("model-1").path), 5, sharpness=3.0)
        writer.finish(step=9, chat=True)
    return made


def spec(**values):
    return PreferenceSpec(**{"prompts": PROMPTS, "count": 12, "first": "project:model-2", "max_tokens": 6, **values})


def attempt_at(project, asked):
    return Attempt(project, project.runs.create(asked).id, asked)


def pairs(attempt):
    return [Pair.model_validate_json(line) for line in layout.rows_file(attempt.context.run_dir).read_bytes().splitlines()]


def add_set(project, messages, title="Questions"):
    made = project.library.examples.create_set(title)
    project.library.examples.add(made.id, [Example(id=f"{title}-{i}", messages=tuple(Message(role=r, content=c) for r, c in turns))
                                           for i, turns in enumerate(messages)])
    return made.id


def test_one_model_answers_every_prompt_twice(project):
    attempt = attempt_at(project, spec(title="Twelve", top_p=0.95)).run()
    found = pairs(attempt)
    assert [p.prompt[0].content for p in sorted(found, key=lambda p: p.facts["row"])] == list(PROMPTS)
    for pair in found:
        assert pair.id == pair_id(pair.prompt, pair.first.text, pair.second.text) and pair.first.text != pair.second.text
        assert (pair.first.facts["temperature"], pair.second.facts["temperature"]) == (0.8, 1.0)
        assert {"seed", "tokens", "finish", "seconds"} <= pair.first.facts.keys() and pair.first.facts["tokens"] <= 6
        assert pair.first.model == pair.second.model == pair.origin == "project:model-2" and "best" not in pair.facts
    made = made_by(project, attempt)
    assert made.kind == "pairs" and made.title == "Twelve" and made.parents == ("model-2",)
    assert (made.facts["pairs"], made.facts["rows"], made.facts["left_out"]) == (12, 12, {})
    assert made.facts["second"]["model"] == "project:model-2" and made.facts["second"]["form"] == "chat"
    assert made.facts["first"]["tokens"] == round(sum(p.first.facts["tokens"] for p in found) / 12, 2)
    assert [Pair.model_validate_json(x).facts["row"] for x in (made.path / "pairs.jsonl").read_bytes().splitlines()] == list(range(12))
    last = attempt.of(Progress)[-1]
    assert (last.done, last.total) == (12, 12) and attempt.facts()["counts"]["pairs"] == 12
    assert [s for e in attempt.of(Metrics) for s in e.columns["step"]][-1] == 12 and attempt.of(Sample)
    assert not layout.work(attempt.context.run_dir).exists() and not attempt.of(Notice)


def test_the_same_seed_makes_the_same_pairs_and_another_one_others(project):
    made = [{p.id for p in pairs(attempt_at(project, spec(seed=seed)).run())} for seed in (1, 1, 2)]
    assert made[0] == made[1] and len(made[0] & made[2]) < 6


def test_two_models_answer_one_after_the_other_and_a_base_model_continues(project):
    attempt = attempt_at(project, spec(second="project:1-pretrain@20")).run()
    assert all((p.first.model, p.second.model) == ("project:model-2", "project:1-pretrain@20") for p in pairs(attempt))
    assert all(p.second.facts["form"] == "plain" and "form" not in p.first.facts for p in pairs(attempt))
    assert [n.code for n in attempt.of(Notice)] == ["plain-1-pretrain@20"]
    assert [p[0] for p in attempt.of(Phases)[0].phases] == ["prompts", "answers-0", "answers-1", "save"]
    facts = made_by(project, attempt).facts
    assert (facts["first"]["form"], facts["second"]["form"]) == ("chat", "plain")


def test_prompts_are_used_again_with_other_answers(project):
    attempt = attempt_at(project, spec(prompts=("mail?", "quay?", "mail?"), count=10, max_tokens=12)).run()
    found = pairs(attempt)
    assert len({p.id for p in found}) == len(found) == 10 and Counter(p.prompt[0].content for p in found) == {"mail?": 5, "quay?": 5}
    assert [n.code for n in attempt.of(Notice)] == ["fewer_prompts"]
    assert made_by(project, attempt).facts["prompts"] == 2 and made_by(project, attempt).facts["passed"] == {"twice": 1}


def test_answers_that_stay_the_same_are_asked_again_and_then_left_out(project):
    """A sharp model nearly always says the same; the first side's text decides which prompts stay out."""
    with hostile(lambda n, body: "Always this." if "ferry" in body["messages"][-1]["content"] else f"Answer {n}.") as server:
        attempt = attempt_at(project, spec(first=server.name, equal=2)).run()
        asked = Counter(b["messages"][-1]["content"].split()[0] for b in server.bodies)
        seeds = [b["seed"] for b in server.bodies]
    assert asked == {"ferry": 4 * (1 + 3), "mail": 8, "quay": 8} and len(set(seeds)) == len(seeds)
    assert {p.prompt[0].content.split()[0] for p in pairs(attempt)} == {"mail", "quay"}
    facts = made_by(project, attempt).facts
    assert (facts["pairs"], facts["left_out"]) == (8, {"same": 4})
    note = next(n for n in attempt.of(Notice) if n.code == "left_out")
    assert note.level == "warning" and "4" in note.text and note.remedy


def test_a_run_of_which_no_pair_comes_out_fails_and_says_why(project):
    with hostile(lambda n, body: "No.") as server, pytest.raises(Mismatch) as wrong:
        attempt_at(project, spec(first=server.name, equal=1)).run()
    assert wrong.value.code == "no_pairs" and not project.artifacts.list("pairs")


def test_local_models_are_asked_with_their_settings_and_failures_are_counted(project):
    def script(number, body):
        return ("status", 500, {}, "broken") if "quay 1" in body["messages"][-1]["content"] else f"Said {body['seed']}."
    with hostile(script) as one, hostile(lambda n, body: f"Other {n}.") as other:
        asked = spec(first=one.name, second=other.name, first_temperature=0.3, second_temperature=1.2, top_p=0.9, system="Be brief.")
        attempt = attempt_at(project, asked).run()
        assert all(b["temperature"] == 0.3 and b["top_p"] == 0.9 and b["max_tokens"] == 6 for b in one.bodies)
        assert all(b["temperature"] == 1.2 and [m["role"] for m in b["messages"]] == ["system", "user"] for b in other.bodies)
        assert other.asks == 11
    assert all((p.first.model, p.second.model) == (one.name, other.name) for p in pairs(attempt)) and len(pairs(attempt)) == 11
    assert made_by(project, attempt).facts["failed"] == {"server": 1}


def test_a_project_model_beside_a_local_one(project):
    with hostile(lambda n, body: f"Other {n}.") as server:
        attempt = attempt_at(project, spec(second=server.name)).run()
        backwards = attempt_at(project, spec(first=server.name, second="project:model-2")).run()
        assert server.asks == 24
    assert {(p.first.model, p.second.model) for p in pairs(attempt)} == {("project:model-2", server.name)}
    assert {(p.first.model, p.second.model) for p in pairs(backwards)} == {(server.name, "project:model-2")}


def test_prompts_too_long_for_the_model_are_left_out(project):
    attempt = attempt_at(project, spec(prompts=(*PROMPTS[:3], "mail " * 200), count=4)).run()
    assert len(pairs(attempt)) == 3 and made_by(project, attempt).facts["left_out"] == {"too_long": 1}


def test_prompts_come_in_turns_from_sets_files_documents_and_typed_ones(project, tmp_path):
    id = add_set(project, [[("system", "S"), ("user", f"Old {i}"), ("assistant", "yes"), ("user", f"New {i}"), ("assistant", "no")]
                           for i in range(5)])
    (tmp_path / "lines.txt").write_text("line one\n\n  line two \nline one\n", "utf-8")
    (tmp_path / "rows.csv").write_text("number,question\n1,Where is the lamp kept?\n2,Who rings the bell?\n")
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps({"prompt": f"Ask {i}", "n": i}) for i in range(3)) + "\n[1]\n")
    turns = [{"role": role, "content": said} for role, said in (("user", "Hi"), ("assistant", "Ho"), ("user", "And?"), ("assistant", "No"))]
    (tmp_path / "chats.jsonl").write_text(json.dumps({"messages": turns}))
    with project.artifacts.create("corpus", title="t") as writer:
        corpus = CorpusWriter(writer.path)
        for i in range(3):
            corpus.add("train", f"Document {i}. " + TEXT[:900], "a.txt")
        corpus.add("validation", "Never asked. " * 20, "a.txt")
        corpus.finish()
        writer.finish()
    asked = spec(prompts=("typed",), examples=(id,), corpus="corpus-1", count=50, beginning=60,
                 files=tuple(str(tmp_path / n) for n in ("lines.txt", "rows.csv", "rows.jsonl", "chats.jsonl")))
    attempt = attempt_at(project, asked)
    found = gather(asked, attempt.context.run_dir, Corpus.open(project.artifacts.get("corpus-1").path))
    prompts = [found[i] for i in range(len(found))]
    by_source = Counter(p.source for p in prompts)
    assert by_source == {"typed": 1, "lines.txt": 2, "rows.csv": 2, "rows.jsonl": 3, "chats.jsonl": 1, "examples": 5, "corpus-1": 3}
    assert [p.source for p in prompts[:7]] == ["typed", "lines.txt", "rows.csv", "rows.jsonl", "chats.jsonl", "examples", "corpus-1"]
    assert found.passed == {"twice": 1, "unread": 1}
    talks = [p for p in prompts if p.source == "examples"]
    assert all([m.role for m in p.messages] == ["system", "user", "assistant", "user"] for p in talks)
    assert {p.messages[0].content for p in prompts if p.source == "rows.csv"} == {"Where is the lamp kept?", "Who rings the bell?"}
    documents = [p for p in prompts if p.source == "corpus-1"]
    assert all(p.document and len(p.plain) <= 60 and p.messages[0].content == f"Continue this text:\n\n{p.plain}" for p in documents)
    assert not any("Never" in p.plain for p in documents)
    (tmp_path / "lines.txt").unlink()  # a resume asks what the first attempt found
    assert len(gather(asked, attempt.context.run_dir, None)) == len(prompts)


def test_of_more_examples_than_are_wanted_a_scattered_part_is_asked(project):
    id = add_set(project, [[("user", f"Question {i}"), ("assistant", "A")] for i in range(200)])
    asked = spec(prompts=(), examples=(id,), count=20)
    attempt = attempt_at(project, asked)
    found = gather(asked, attempt.context.run_dir, None)
    numbers = sorted(int(found[i].messages[0].content.split()[1]) for i in range(len(found)))
    assert len(numbers) == 20 and numbers[-1] > 150 and numbers[0] < 50


def test_of_a_conversation_the_first_question_or_all_up_to_the_last():
    turns = tuple(Message(role=r, content=c) for r, c in (("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")))
    example = Example(id="x", messages=turns)
    assert question_of(example, "first") == turns[:1] and question_of(example, "last") == turns[:3]
    assert question_of(Example(id="y", messages=turns[1:2]), "last") is None


@pytest.mark.parametrize("values, error, field", [
    ({"prompts": ()}, SettingError, "examples"), ({"first": "project:model-9"}, NotFound, ""),
    ({"prompts": ("  ",)}, SettingError, "examples"), ({"first": "http://example.com/v1 m"}, SettingError, ""),
    ({"files": ("/nowhere.txt",)}, NotFound, "")])
def test_what_cannot_be_asked_is_said_before_anything_is(project, values, error, field):
    attempt = attempt_at(project, spec(**values))
    with pytest.raises(error) as wrong:
        attempt.run()
    assert not attempt.of(ArtifactMade) and (not field or wrong.value.field == field)


def test_empty_files_are_told(project, tmp_path):
    (tmp_path / "empty.txt").write_text("\n\n")
    with pytest.raises(InputError) as wrong:
        attempt_at(project, spec(prompts=(), files=(str(tmp_path / "empty.txt"),))).run()
    assert wrong.value.code == "no_prompts"


def test_kept_answers_are_read_again_and_torn_lines_passed_over(tmp_path):
    kept = Kept(tmp_path / "a.jsonl", 5)
    kept.add(0, "first", Answer(text="one"))
    kept.add(0, "second", Answer(text="one"))
    kept.add(1, "first", Answer(text=""))
    kept.leave_out(2, "same")
    kept.close()
    with open(tmp_path / "a.jsonl", "ab") as file:
        file.write(b'{"row": 3, "side": "fir')
    again = Kept(tmp_path / "a.jsonl", 5)
    assert again.first(0).text == again.last(0).text == "one"
    assert again.tries == {(0, "second"): 1, (1, "first"): 1}
    assert again.out == {2: "same"} and not again.has_first(1) and not again.has_first(3)
    again.add(3, "first", Answer(text="three"))
    again.close()
    assert Kept(tmp_path / "a.jsonl", 5).first(3).text == "three"


def test_counts_are_told_while_it_runs(project):
    attempt = attempt_at(project, spec()).run()
    assert {"rows", "pairs", "prompts", "left_out", "failed"} <= attempt.of(Facts)[-1].facts["counts"].keys()


def test_from_the_command_line_pairs_land_in_the_library(project):
    with hostile(lambda n, body: f"Said {body['seed']}.") as server:
        asked = ["run", str(project.dir), "preference", "--set", f"first={server.name}", "--set", "prompts=mail?,ferry?",
                 "--set", "count=6", "--json", "--device", "cpu"]
        done = CliRunner().invoke(cli, asked)
    assert done.exit_code == 0, done.output
    result = json.loads(done.output.splitlines()[-1])
    assert (result["pairs"], result["pairs_added"], result["status"]) == (6, 6, "done") and result["set"]
    listed = next(s for s in Project.open(project.dir).library.pairs.sets() if s.id == result["set"])
    assert listed.count == 6 and listed.run == result["run"]
    runs = [json.loads(line) for line in CliRunner().invoke(cli, ["runs", str(project.dir), "--json"]).output.splitlines()]
    assert runs[-1]["run"] == result["run"] and runs[-1]["findings"] == []
