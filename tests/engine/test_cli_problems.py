"""`fledge problems`: import, generators, examples, the search for what a model has seen, export, rename, delete; codes and JSON."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from engine.cli import cli, with_inputs
from engine.contract.errors import Missing
from engine.contract.rows import Example, Message
from engine.pipeline import STAGES
from engine.project.project import Project
from engine.verifiers import making
from engine.verifiers.pool import Pool

LONG = "A tall baker carries seven red baskets to the old market near the river every single morning. How many baskets are that?"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.create(tmp_path / "p")


def call(project: Project, *words: str) -> tuple[int, list[dict]]:
    made = CliRunner().invoke(cli, ["problems", str(project.dir), *words, "--json"])
    if made.exception and not isinstance(made.exception, SystemExit):
        raise made.exception
    return made.exit_code, [json.loads(line) for line in made.stdout.splitlines()]


def said(project: Project, *words: str) -> tuple[int, str]:
    made = CliRunner().invoke(cli, ["problems", str(project.dir), *words])
    if made.exception and not isinstance(made.exception, SystemExit):
        raise made.exception
    return made.exit_code, made.output


def lines(path: Path, *rows: object) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), "utf-8")
    return path


def sums(count: int) -> list[dict]:
    return [{"q": f"What is {n} + {n}?", "result": 2 * n, "level": 1 + n % 2, "side": "test" if n < 2 else "train"} for n in range(count)]


def test_a_file_is_looked_at_imported_listed_and_exported(project: Project, tmp_path: Path) -> None:
    source = lines(tmp_path / "a.jsonl", *sums(10), "broken")
    columns = ("--map", "prompt=q", "--map", "answer=result", "--map", "held_out=side", "--map", "rest=yes")
    code, (refused,) = call(project, "import", str(source))
    assert code == 3 and refused["error"] == "which_column" and "--map" in refused["remedy"]
    code, (found,) = call(project, "import", str(source), "--look", *columns)
    assert code == 0 and found["preview"][3]["answer"] == "6" and found["bad"] == 1 and project.library.problems.sets() == []
    code, (first,) = call(project, "import", str(source), "--title", "Sums", *columns)
    assert code == 0 and (first["added"], first["refused"], first["held_out"], first["problems"][0]["line"]) == (10, 1, 2, 11)
    code, (again,) = call(project, "import", str(source), "--set", first["set"], *columns)
    assert (again["set"], again["added"], again["already"]) == (first["set"], 0, 10)
    code, (listed,) = call(project)
    assert (listed["id"], listed["title"], listed["count"], listed["held_out"], listed["difficulties"]) == (
        first["set"], "Sums", 10, 2, [[1.0, 5], [2.0, 5]])
    code, (done,) = call(project, "export", "--out", str(tmp_path / "b.jsonl"))
    assert code == 0 and done["rows"] == 10
    code, (back,) = call(project, "import", str(tmp_path / "b.jsonl"))
    assert back["added"] == 10 and [p.model_dump() for p in project.library.problems.rows([first["set"]])] == [
        p.model_dump() for p in project.library.problems.rows([back["set"]])]
    code, (done,) = call(project, "export", first["set"], "--to", "csv", "--only-held-out", "--out", str(tmp_path / "c.csv"))
    assert done["rows"] == 2 and len((tmp_path / "c.csv").read_text().splitlines()) == 3
    assert call(project, "export", first["set"], "--out", str(tmp_path / "c.csv"))[0] == 3
    assert call(project, "export", "--out", str(tmp_path / "d.jsonl"))[0] == 2, "two sets: one has to be named"
    for given in (("--map", "prompt=nothing"), ("--map", "poem=q"), ("--map", "rest=perhaps"), ("--map", "kind=poem")):
        assert call(project, "import", str(source), *given)[0] == 2
    assert call(project, "import")[0] == 2 and call(project, "import", str(tmp_path / "none.jsonl"))[0] == 3
    code, text = said(project)
    assert code == 0 and "Sums" in text and "Held out" in text


def test_generators_are_listed_and_make_sets(project: Project, tmp_path: Path) -> None:
    code, rows = call(project, "generate")
    assert code == 0 and [row["name"] for row in rows] == list(making.STARTERS) and all(row["levels"] >= 4 for row in rows)
    assert "arithmetic" in said(project, "generate")[1]
    try:
        with Pool(1) as pool:
            pool.start()
    except Missing as refused:
        pytest.skip(refused.sentence)
    code, (made,) = call(project, "generate", "sorting", "--level", "2", "--level", "4", "--count", "30", "--seed", "9", "--held-out", "50")
    kept = project.library.problems.set_of(made["set"])
    assert code == 0 and kept.difficulties == ((2.0, 30), (4.0, 30)) and 15 < kept.held_out < 45
    code, (more,) = call(project, "generate", "sorting", "--level", "1", "--count", "10", "--set", made["set"])
    assert (more["set"], more["added"]) == (made["set"], 10)
    own = tmp_path / "own.py"
    own.write_text("def generate(random, level):\n    return {'prompt': 'Which?', 'answer': 'this'}\n")
    code, text = said(project, "generate", str(own), "--count", "3")
    assert code == 0 and "1 problem added" in text and "no more different ones" in text
    own.write_text("def generate(random, level):\n    return nothing\n")
    code, (wrong,) = call(project, "generate", str(own))
    assert code == 3 and wrong["sentence"].startswith("Line 2: NameError")
    assert call(project, "generate", "poetry")[0] == 3 and call(project, "generate", "sorting", "--level", "9")[0] == 2


def test_problems_are_taken_from_examples_and_searched_for(project: Project) -> None:
    examples = project.library.examples
    made = examples.create_set("Told")
    assert call(project, "from-examples", made.id)[0] == 3
    examples.add(made.id, [Example(id="e1", messages=(Message(role="user", content=LONG), Message(role="assistant", content="Seven.")),
                                   facts={"answer": "7"})])
    code, (taken,) = call(project, "from-examples", made.id)
    assert code == 0 and taken["added"] == 1
    assert call(project, "check", taken["set"])[0] == 3, "there is no corpus to look in"
    code, (found,) = call(project, "check", taken["set"], "--examples", made.id)
    assert code == 0 and (found["source"], found["found"], found["problems"]) == (made.id, 1, 1)
    code, text = said(project, "check", "--examples", made.id)
    assert code == 0 and "1 of 1 problems stand there" in text and "seven red baskets" in text
    assert call(project, "check", "--model", "model-9")[0] == 3


def test_sets_go_into_runs_are_renamed_and_deleted_only_when_asked_for(project: Project, tmp_path: Path) -> None:
    source = lines(tmp_path / "a.jsonl", {"question": "Who?", "answer": "Ada"})
    code, (made,) = call(project, "import", str(source))
    assert with_inputs(project, STAGES["grpo"], {}, (made["set"],), print) == {"problem_sets": (made["set"],)}
    code, (named,) = call(project, "rename", made["set"], "--title", "People")
    assert code == 0 and named["title"] == "People"
    assert call(project, "rename", made["set"])[0] == 2
    code, rows = call(project, "delete", made["set"])
    assert code == 2 and rows[-1]["error"] == "ask" and len(project.library.problems.sets()) == 1
    code, (gone,) = call(project, "delete", made["set"], "--yes")
    assert code == 0 and gone == {"deleted": [made["set"]]} and project.library.problems.sets() == []
    assert call(project, "delete", made["set"], "--yes")[0] == 3 and call(project, "delete", "--yes")[0] == 2
