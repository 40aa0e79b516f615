"""`fledge pairs`: list, import, export, labels of several machines; and the same for the window, in a process that can be stopped."""

import gzip
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from engine.cli import cli
from engine.contract.rows import Example, Message
from engine.project.labels import Label
from engine.project.project import Project
from engine.stages.preference import pair_files

SHARED = Path(__file__).parents[2] / ".." / "shared" / "data"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.create(tmp_path / "p")


def call(project: Project, *words: str) -> tuple[int, list[dict]]:
    made = CliRunner().invoke(cli, ["pairs", str(project.dir), *words, "--json"])
    if made.exception and not isinstance(made.exception, SystemExit):
        raise made.exception
    return made.exit_code, [json.loads(line) for line in made.stdout.splitlines()]


def lines(path: Path, *rows: object) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), "utf-8")
    return path


def trl(n: int) -> dict[str, str]:
    return {"prompt": f"q{n}", "chosen": f"yes {n}", "rejected": f"no {n}"}


def process(project: Project, *words: str) -> tuple[int, list[dict]]:
    done = subprocess.run([sys.executable, "-m", "engine.stages.preference.pairs_process", str(project.dir), *words], capture_output=True,
                          text=True, timeout=120, cwd=Path(__file__).parents[2])
    assert not done.stderr, done.stderr
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def test_a_file_is_imported_listed_and_exported(project: Project, tmp_path: Path) -> None:
    source = lines(tmp_path / "a.jsonl", *map(trl, range(5)), "broken", {**trl(7), "rejected": "yes 7"})
    code, (first,) = call(project, "import", str(source), "--title", "Ours")
    assert code == 0 and (first["added"], first["refused"], [p["line"] for p in first["problems"]]) == (5, 2, [6, 7])
    code, (again,) = call(project, "import", str(source), "--set", first["set"])
    assert (again["added"], again["already"]) == (0, 5)
    code, (listed,) = call(project)
    assert (listed["id"], listed["title"], listed["count"], listed["labelled"], listed["todo"]) == (first["set"], "Ours", 5, 5, 0)
    one = project.library.pairs.rows(first["set"])[0]
    project.library.pairs.label(one.id, Label(choice="second", strength=2, author="ann"))
    code, (done,) = call(project, "export", "--out", str(tmp_path / "b.jsonl"))
    assert code == 0 and done["rows"] == 5
    rows = [json.loads(line) for line in (tmp_path / "b.jsonl").read_text().splitlines()]
    assert rows[0] == {"prompt": [{"role": "user", "content": "q0"}], "chosen": [{"role": "assistant", "content": "no 0"}],
                       "rejected": [{"role": "assistant", "content": "yes 0"}], "strength": 2}
    assert call(project, "export", "--out", str(tmp_path / "b.jsonl"))[0] == 3
    code, (fewer,) = call(project, "export", "--out", str(tmp_path / "b.jsonl"), "--replace", "--annotator", "ann", "--least-strength", "1")
    assert fewer["rows"] == 1


def test_a_table_with_a_label_is_mapped_and_exported_whole(project: Project, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("eins,zwei,drei,wer\nq0,a,b,links\nq1,a,b,rechts\nq2,a,b,\n", "utf-8")
    asked = ("import", str(tmp_path / "a.csv"))
    assert call(project, *asked)[1][-1]["error"] == "which_column"
    given = ("--map", "prompt=eins", "--map", "first=zwei", "--map", "second=drei", "--map", "label=wer", "--map", "label:links=first",
             "--map", "label:rechts=second:3")
    code, (shown,) = call(project, *asked, *given, "--look")
    assert code == 0 and [p["facts"].get("best") for p in shown["preview"]] == ["first", "second", None]
    code, (made,) = call(project, *asked, *given)
    assert code == 0 and made["added"] == 3 and call(project)[1][0]["todo"] == 1
    code, (done,) = call(project, "export", "--to", "csv", "--out", str(tmp_path / "b.csv"), "--unlabelled")
    assert done["rows"] == 3 and call(Project.create(tmp_path / "other"), "import", str(tmp_path / "b.csv"))[1][0]["added"] == 3
    for wrong in (("label:x=best",), ("mood=eins",), ("kind=odd",), ("prompt",), ("prompt=nowhere",)):
        assert call(project, *asked, *(word for one in wrong for word in ("--map", one)))[0] == 2
    assert call(project, "import")[0] == 2 and call(project, "import", str(tmp_path / "gone"))[0] == 3
    assert call(project, *asked, *given, "--set", "pair-set-9")[0] == 3 and call(project, "export", "pair-set-9")[0] == 3


def test_a_file_that_breaks_off_gives_what_stands_before(project: Project, tmp_path: Path) -> None:
    whole = json.dumps([trl(n) for n in range(30)])
    (tmp_path / "a.json").write_text(whole[:len(whole) // 2])
    code, (told, wrong) = call(project, "import", str(tmp_path / "a.json"))
    assert code == 3 and "element" in wrong["sentence"] and told["added"] == project.library.pairs.sets()[0].count > 5
    code, said = process(project, "import", str(tmp_path / "a.json"), "Half", "{}")  # the window takes all or nothing
    assert code == 3 and said[-1]["error"]["code"] and len(project.library.pairs.sets()) == 1
    (tmp_path / "b.jsonl").write_text('{"prompt": "q", "chosen": "", "rejected": "x"}\n')
    code, (told, wrong) = call(project, "import", str(tmp_path / "b.jsonl"))
    assert code == 3 and told["refused"] == 1 and wrong["error"] == "no_rows" and len(project.library.pairs.sets()) == 1


def test_labels_of_two_machines_are_joined(project: Project, tmp_path: Path) -> None:
    source = lines(tmp_path / "a.jsonl", *map(trl, range(4)))
    other = Project.create(tmp_path / "other")
    for each in (project, other):
        call(each, "import", str(source))
    ids = [p.id for p in project.library.pairs.rows("pair-set-1")]
    project.library.pairs.label(ids[0], Label(choice="first", author="ann"))
    for n in (0, 1):
        other.library.pairs.label(ids[n], Label(choice="second", strength=3, author="bob", comment="ö"))
    out = tmp_path / "labels.jsonl.gz"
    code, (written,) = call(other, "labels", "export", "--out", str(out))
    assert code == 0 and (written["labels"], written["pairs"]) == (2, 2) and gzip.decompress(out.read_bytes()).count(b"\n") == 4
    code, (merged,) = call(project, "labels", "merge", str(out))
    assert code == 0 and (merged["new"], merged["same"], merged["damaged"]) == (2, 0, 0)
    assert call(project, "labels", "merge", str(out))[1][0]["same"] == 2
    assert {(label.author, label.choice, label.comment) for label in project.library.pairs.labels_of(ids[0])} == {
        ("ann", "first", ""), ("bob", "second", "ö")}
    code, said = process(project, "labels", "", str(tmp_path / "ann.jsonl"), "ann")
    assert code == 0 and said[-1]["result"] == {"labels": 1, "pairs": 1}
    assert process(other, "merge", str(tmp_path / "ann.jsonl"))[1][-1]["result"]["new"] == 1
    assert call(project, "labels", "merge", str(source))[1][-1]["error"] == "no_labels"
    out.write_bytes(out.read_bytes()[:-20])
    assert call(project, "labels", "merge", str(out))[0] == 3
    assert call(project, "labels")[0] == 2 and call(project, "labels", "merge")[0] == 2


def test_pairs_with_their_labels_come_whole_to_another_library(project: Project, tmp_path: Path) -> None:
    call(project, "import", str(lines(tmp_path / "a.jsonl", *({**trl(n), "tie": n == 2} for n in range(4)))))
    pairs = project.library.pairs
    ids = [p.id for p in pairs.rows("pair-set-1")]
    pairs.label(ids[0], Label(choice="second", strength=3, edited="rather so", comment="c", author="ann", left="second", seconds=2.5,
                              position=4))
    pairs.label(ids[0], Label(choice="first", author="bob"))
    pairs.flag(ids[1], True, "ann")
    for form in ("f.jsonl", "f.parquet"):
        assert call(project, "export", "--to", "fledge", "--out", str(tmp_path / form))[1][0]["rows"] == 4
        other = Project.create(tmp_path / f"other of {form}")
        code, (made,) = call(other, "import", str(tmp_path / form))
        assert (made["added"], made["labels"]) == (4, 3)
        there = other.library.pairs
        assert there.rows("pair-set-1") == pairs.rows("pair-set-1")
        for id in ids:
            assert {label.id: label for label in there.labels_of(id)} == {label.id: label for label in pairs.labels_of(id)}
        assert list(there.for_training(["pair-set-1"])) == list(pairs.for_training(["pair-set-1"]))
        assert call(other, "import", str(tmp_path / form), "--set", "pair-set-1")[1][0]["labels"] == 0  # the same again


def test_everybodys_word_in_a_record_of_argilla_is_a_label(project: Project, tmp_path: Path) -> None:
    votes = [{"user_id": who, "value": what} for who, what in (("u", "response2"), ("v", "response2"), ("w", "response1"))]
    record = {"id": "1", "fields": {"prompt": "q", "response1": "a", "response2": "b"}, "suggestions": {}, "responses": {"best": votes}}
    code, (made,) = call(project, "import", str(lines(tmp_path / "a.jsonl", record)))
    assert (made["added"], made["labels"]) == (1, 3)
    (pair,) = project.library.pairs.rows("pair-set-1")
    assert "labels" not in pair.facts
    labels = project.library.pairs.labels_of(pair.id)
    assert {label.author: label.choice for label in labels} == {"u": "second", "v": "second", "w": "first"}
    (learned,) = project.library.pairs.for_training(["pair-set-1"])
    assert (learned.chosen, learned.rejected, learned.by) == ("b", "a", "u, v")


def test_examples_with_a_losing_answer_become_pairs(project: Project) -> None:
    examples = project.library.examples
    made = examples.create_set("x")
    talk = (Message(role="user", content="q"), Message(role="assistant", content="good"))
    examples.add(made.id, [Example(id="1", messages=talk, score=9.0, facts={"rejected": {"text": "bad", "model": "m", "score": 3.0}}),
                           Example(id="2", messages=talk)])
    assert call(project, "from-examples")[1] == [{"added": 1}] and call(project, "from-examples", made.id)[1] == [{"added": 0}]
    assert call(project, "from-votes")[1] == [{"added": 0}]


def test_people_read_sentences(project: Project, tmp_path: Path) -> None:
    source = lines(tmp_path / "a.jsonl", trl(0), {"prompt": "q", "chosen": "x", "rejected": "x"}, {**trl(3), "tie": "yes"})
    for words, expected in ((["list"], "no pairs yet"), (["import", str(source), "--look"], "Chosen and rejected"),
                            (["import", str(source)], "2 pairs added"), (["list"], "a.jsonl"),
                            (["export", "--out", str(tmp_path / "b.jsonl")], "Wrote 1 pair to"),
                            (["labels", "export", "--out", str(tmp_path / "l.jsonl")], "Wrote 0 labels")):
        made = CliRunner().invoke(cli, ["pairs", str(project.dir), *words])
        assert made.exit_code == 0 and expected in made.output, made.output
        assert words[0] != "export" or "neither answer" in made.output
        assert words[0] != "import" or "line 2: both answers are the same" in made.output


def test_the_window_imports_and_exports_in_a_process_of_its_own(project: Project, tmp_path: Path) -> None:
    source = lines(tmp_path / "a.jsonl", *map(trl, range(300)), {"prompt": "q"}, trl(1))
    code, said = process(project, "import", str(source), "Ours", "{}")
    assert code == 0 and said[-1]["result"] == {"set": "pair-set-1", "rows": 300, "same": 1, "refused": 1, "labels": 0,
                                                "problems": [[301, "“chosen” is missing"]]}
    assert [s["done"] for s in said[:-1]] and all(s["total"] >= s["done"] for s in said[:-1])
    assert project.library.pairs.get_set("pair-set-1").title == "Ours"
    code, said = process(project, "export", "pair-set-1", "hh", str(tmp_path / "o.jsonl"), "{}")
    assert code == 0 and said[-1]["result"] == {"rows": 300, "left_out": 0, "why": ""}
    code, said = process(project, "export", "pair-set-1", "hh", str(tmp_path / "o.csv"), "{}")
    assert code == 2 and said[-1]["error"]["code"] == "setting"
    assert process(project, "import", str(tmp_path / "gone"), "x", "{}")[1][-1]["error"]["code"] == "not_found"


def test_an_import_that_is_stopped_leaves_no_half_set(project: Project, tmp_path: Path) -> None:
    with open(tmp_path / "a.jsonl", "w") as file:
        for n in range(120_000):
            file.write(json.dumps(trl(n)) + "\n")
    child = subprocess.Popen([sys.executable, "-m", "engine.stages.preference.pairs_process", str(project.dir), "import",
                              str(tmp_path / "a.jsonl"), "x", "{}"], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
    assert child.stdout is not None
    until = time.monotonic() + 60
    while time.monotonic() < until and not any(s.count for s in project.library.pairs.sets()):
        time.sleep(0.02)
    assert project.library.pairs.sets()[0].count < 120_000
    child.terminate()
    assert child.wait(30) != 0
    child.stdout.close()
    assert project.library.pairs.sets() == []


def test_real_comparisons_come_into_the_library_whole(project: Project) -> None:
    path = SHARED / "hh-harmless-pairs.jsonl.gz"
    if not path.is_file():
        pytest.skip("hh-harmless-pairs.jsonl.gz is not beside the checkout")
    told: list[int] = []
    done = pair_files.bring(project.library.pairs, path, tell=told.append)
    assert (done.added, done.same, done.refused) == (1_800, 0, 0) and told == sorted(told) and told[-1] == 1_800
    learned = list(project.library.pairs.for_training([done.set]))
    assert len(learned) == 1_800 and sum(len(p.prompt) > 1 for p in learned) > 1_000
    with gzip.open(path) as file:
        for pair, line in zip(learned, file, strict=True):
            row = json.loads(line)
            for side, text in (("chosen", pair.chosen), ("rejected", pair.rejected)):
                words = [m.content for m in pair.prompt] + [text]
                assert "".join("".join(words).split()) == "".join(row[side].replace("\n\nHuman:", "").replace("\n\nAssistant:", "").split())
