"""`fledge examples`: list, import, export."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from engine.cli import cli
from engine.contract.rows import Example, Message
from engine.project import layout
from engine.project.project import Project
from engine.stages.instruct.spec import InstructSpec


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.create(tmp_path / "p")


def call(project: Project, *words: str) -> tuple[int, list[dict]]:
    made = CliRunner().invoke(cli, ["examples", str(project.dir), *words, "--json"])
    if made.exception and not isinstance(made.exception, SystemExit):
        raise made.exception
    return made.exit_code, [json.loads(line) for line in made.stdout.splitlines()]


def test_a_file_is_imported_listed_and_exported(project: Project, tmp_path: Path) -> None:
    source = tmp_path / "a.jsonl"
    rows = [{"instruction": f"q{n}", "input": "", "output": f"a{n}"} for n in range(5)]
    source.write_text("".join(json.dumps(r) + "\n" for r in rows) + "broken\n")
    code, (first,) = call(project, "import", str(source), "--title", "Ours")
    assert code == 0 and (first["added"], first["refused"], first["problems"][0]["line"]) == (5, 1, 6)
    code, (again,) = call(project, "import", str(source), "--set", first["set"])
    assert (again["added"], again["already"]) == (0, 5)
    code, (listed,) = call(project, "list")
    assert (listed["id"], listed["title"], listed["count"]) == (first["set"], "Ours", 5)
    project.library.examples.set_status([project.library.examples.rows()[0].example.id], "rejected")
    code, (done,) = call(project, "export", "--out", str(tmp_path / "b.jsonl"), "--to", "sharegpt")
    assert code == 0 and done["rows"] == 4 and len((tmp_path / "b.jsonl").read_text().splitlines()) == 4
    assert call(project, "export", "--out", str(tmp_path / "b.jsonl"))[0] == 3
    assert call(project, "export", "--out", str(tmp_path / "b.jsonl"), "--replace", "--only-accepted")[1][0]["rows"] == 0


def test_a_file_that_holds_nothing_leaves_no_set(project: Project, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"prompt": "q", "completion": ""}\n')
    code, (told, wrong) = call(project, "import", str(tmp_path / "a.jsonl"))
    assert code == 3 and told["refused"] == 1 and wrong["error"] == "no_examples" and call(project)[1] == []
    (tmp_path / "b.jsonl").write_text('{"eins": "q", "zwei": "a"}\n')
    assert call(project, "import", str(tmp_path / "b.jsonl"))[1][-1]["error"] == "which_column"
    code, (mapped,) = call(project, "import", str(tmp_path / "b.jsonl"), "--map", "prompt=eins", "--map", "answer=zwei")
    assert code == 0 and mapped["added"] == 1
    code, (shown,) = call(project, "import", str(tmp_path / "b.jsonl"), "--look")
    assert code == 0 and shown["columns"] == ["eins", "zwei"]
    assert call(project, "import", str(tmp_path / "b.jsonl"), "--map", "mood=eins")[0] == 2
    assert call(project, "import")[0] == 2 and call(project, "import", str(tmp_path / "gone.jsonl"))[0] == 3
    assert call(project, "import", str(tmp_path / "b.jsonl"), "--set", "set-9")[0] == 3


def test_a_list_takes_in_what_runs_have_made(project: Project) -> None:
    run = project.runs.create(InstructSpec(responder="project:m", title="Made"))
    row = Example(id="1", messages=(Message(role="user", content="q"), Message(role="assistant", content="a")))
    layout.rows_file(run.dir).write_text(row.model_dump_json() + "\n")
    assert [(s["title"], s["count"], s["run"]) for s in call(project)[1]] == [("Made", 1, run.id)]


def test_people_read_sentences(project: Project, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("question,answer\nWhy?,Because.\nonly\n")
    for words, expected in ((["import", str(tmp_path / "a.csv"), "--look"], "Why?"),
                            (["import", str(tmp_path / "a.csv")], "1 example added"),
                            (["list"], "a.csv"), (["export", "--out", str(tmp_path / "b.csv"), "--to", "csv"], "Wrote 1 example")):
        made = CliRunner().invoke(cli, ["examples", str(project.dir), *words])
        assert made.exit_code == 0 and expected in made.output, made.output


def test_a_file_that_breaks_off_gives_what_stands_before(project: Project, tmp_path: Path) -> None:
    whole = json.dumps([{"instruction": f"q{n}", "output": f"a{n}"} for n in range(30)])
    (tmp_path / "a.json").write_text(whole[:len(whole) // 2])
    code, (told, wrong) = call(project, "import", str(tmp_path / "a.json"))
    assert code == 3 and "element" in wrong["sentence"]
    assert told["added"] >= 10 and told["already"] == 0
    assert call(project)[1][0]["count"] == told["added"]


def test_a_column_that_is_not_there_is_named(project: Project, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("Frage;Antwort\nWer?;Ich\n")
    code, (wrong,) = call(project, "import", str(tmp_path / "a.csv"), "--map", "prompt=Frge", "--map", "answer=Antwort")
    assert code == 2 and "Frge" in wrong["sentence"] and "Frage, Antwort" in wrong["remedy"]
    assert "--map prompt=COLUMN" in call(project, "import", str(tmp_path / "a.csv"))[1][-1]["remedy"]


def test_a_reason_is_told_once_with_its_lines(project: Project, tmp_path: Path) -> None:
    row = json.dumps({"messages": [{"role": "narrator", "content": "once"}, {"role": "assistant", "content": "a"}]})
    (tmp_path / "a.jsonl").write_text(f"{row}\n" * 30)
    made = CliRunner().invoke(cli, ["examples", str(project.dir), "import", str(tmp_path / "a.jsonl")])
    assert made.exit_code == 3 and made.stderr.count("narrator") == 1 and "and 10 more" in made.stderr
    assert "--map role:NAME=assistant" in made.stderr and "added to" not in made.stdout


def test_an_export_of_nothing_says_so(project: Project, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"prompt": "q", "completion": "a"}\n')
    call(project, "import", str(tmp_path / "a.jsonl"))
    made = CliRunner().invoke(cli, ["examples", str(project.dir), "export", "--only-accepted", "--out", str(tmp_path / "b.jsonl")])
    assert "was accepted" in made.stderr
