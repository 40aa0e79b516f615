"""`fledge verifiers`: begun, brought in and taken out, checked against problems, trusted; and runs that are made with one."""

import json
import sqlite3
from pathlib import Path

import pytest
from click.testing import CliRunner

from engine.cli import cli, with_inputs
from engine.contract.composition import digest
from engine.contract.errors import Missing, NotFound
from engine.contract.rows import Message, Problem, problem_id
from engine.pipeline import STAGES
from engine.project import layout, trust
from engine.project.project import Project
from engine.project.verifiers import trust_typed
from engine.verifiers.image import checked_image
from engine.verifiers.starters import starter

SOURCE = '"""Mine.\n\nMore."""\n\n\ndef verify(prompt, completion, answer):\n    return 1.0 if completion == answer else 0.0\n'


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("FLEDGE_HOME", str(tmp_path / "home"))
    return Project.create(tmp_path / "p")


@pytest.fixture
def sandbox() -> None:
    try:
        checked_image()
    except Missing as wrong:
        pytest.skip(str(wrong))


def called(project: Project, *words: str) -> tuple[int, str]:
    made = CliRunner().invoke(cli, ["verifiers", str(project.dir), *words])
    if made.exception and not isinstance(made.exception, SystemExit):
        raise made.exception
    return made.exit_code, made.output


def call(project: Project, *words: str) -> tuple[int, list[dict]]:
    made = CliRunner().invoke(cli, ["verifiers", str(project.dir), *words, "--json"])
    if made.exception and not isinstance(made.exception, SystemExit):
        raise made.exception
    return made.exit_code, [json.loads(line) for line in made.stdout.splitlines()]


def sums(project: Project, count: int = 12) -> str:
    rows = []
    for n in range(count):
        prompt = (Message(role="user", content=f"What is {n} + {n + 1}?"),)
        rows.append(Problem(id=problem_id(prompt, str(2 * n + 1)), prompt=prompt, answer=str(2 * n + 1)))
    return project.library.problems.take("Sums", rows, origin="person").id


def test_a_starter_becomes_a_verifier_that_can_be_read_and_listed(project: Project) -> None:
    assert "last_number" in called(project)[1]
    assert call(project, "new", "last_number")[1] == [{"verifier": "verifier-1", "ref": "verifier-1@1"}]
    assert call(project, "new", "--parts", '[{"name": "number"}, {"name": "tags", "weight": 0.2}]', "--title", "Both")[0] == 0
    _, listed = call(project)
    assert [(one["ref"], one["title"], one["kind"], one["origin"], one["trusted"]) for one in listed] == [
        ("verifier-1@1", "The last number", "python", "starter:last_number", True), ("verifier-2@1", "Both", "parts", "person", True)]
    assert called(project, "show", "verifier-1")[1] == called(project, "show", "last_number")[1] == starter("last_number").source
    (shown,) = call(project, "show", "verifier-1@1")[1]
    assert shown["sha256"] == digest(starter("last_number").source) and shown["versions"] == ["verifier-1@1"]
    for words in (["new"], ["new", "nothing"], ["new", "--parts", "["], ["new", "--parts", '[{"name": "nobody"}]'], ["show"],
                  ["show", "verifier-9"], ["list", "x"]):
        assert call(project, *words)[0] in (2, 3), words


def test_files_come_in_and_go_out_the_same(project: Project, tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_bytes(b"\xef\xbb\xbf" + SOURCE.replace("\n", "\r\n").encode())
    assert call(project, "import", str(mine))[1] == [{"file": "mine", "ref": "verifier-1@1"}]
    version = project.library.verifiers.version("verifier-1@1")
    assert version.body == SOURCE and version.trusted and project.library.verifiers.get("verifier-1").title == "Mine"
    mine.write_text(SOURCE.replace("1.0", "2.0"))
    assert call(project, "import", str(mine), "--into", "verifier-1", "--author", "Ada")[1][0]["ref"] == "verifier-1@2"
    out = tmp_path / "out.py"
    assert call(project, "export", "verifier-1@1", "--out", str(out))[0] == 0 and out.read_text() == SOURCE
    assert call(project, "export", "verifier-1", "--out", str(out))[0] == 3, "nothing is written over"
    assert call(project, "export", "verifier-1", "--out", str(out), "--replace")[0] == 0 and "2.0" in out.read_text()
    parts = [{"name": "python", "weight": 0.5, "settings": {"verifier": "verifier-1@1"}}, {"name": "number"}]
    assert call(project, "new", "--parts", json.dumps(parts))[0] == 0
    assert call(project, "export", "verifier-2", "--out", str(tmp_path / "both.json"))[0] == 0
    other = Project.create(tmp_path / "other")
    assert call(other, "import", str(tmp_path / "both.json"))[0] == 0
    assert other.library.verifiers.composition("verifier-1@1").text() == project.library.verifiers.composition("verifier-2@1").text()
    (tmp_path / "bytes.py").write_bytes(b"\xff\xff\x00")
    (tmp_path / "long.py").write_text("#" * 200_001)
    (tmp_path / "notes.txt").write_text(SOURCE)
    (tmp_path / "none.json").write_text("{}")
    for name in ("bytes.py", "long.py", "notes.txt", "none.json", "nowhere.py"):
        assert call(project, "import", str(tmp_path / name))[0] in (2, 3), name
    assert call(project, "import", str(tmp_path / "both.json"), "--into", "verifier-1")[0] == 2
    assert call(project, "import")[0] == 2 and len(project.library.verifiers.list()) == 2


@pytest.mark.usefixtures("sandbox")
def test_a_verifier_is_held_against_problems(project: Project, tmp_path: Path) -> None:
    set_id = sums(project)
    assert call(project, "check", "last_number")[1] == [{"ok": True}]
    code, (report,) = call(project, "check", "last_number", "--set", set_id)
    assert code == 0 and report["failing"] == 0 and report["problems"] == 12
    loose = tmp_path / "loose.py"
    loose.write_text("def verify(prompt, completion, answer):\n    return 1.0 if answer in completion else 0.0\n")
    code, (report,) = call(project, "check", str(loose), "--set", set_id)
    assert code == 3 and {row["id"] for row in report["rows"] if row["level"] != "ok"} >= {"gold_in_prose", "every_number"}
    assert "Gold in prose" in called(project, "check", str(loose), "--set", set_id)[1]
    code, said = called(project, "check", str(tmp_path / "loose.py"), "--set", sums(project, 1))
    assert "1 problem, " in said
    loose.write_text("def verify(prompt, completion, answer):\n    return 1 / 0\n")
    code, said = called(project, "check", str(loose), "--set", set_id)
    assert code == 3 and "12 of 12 gold answers do not get the full reward. Line 2: ZeroDivisionError: division by zero" in said
    broken = tmp_path / "broken.py"
    broken.write_text("def verify(prompt, completion):\n    return 1\n")
    code, said = called(project, "check", str(broken))
    assert code == 3 and "Line 1" in said
    assert call(project, "check", "last_number", "--set", "problems-9")[0] == 3


def test_what_came_from_elsewhere_is_listed_refused_and_trusted(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = project.library.verifiers
    one = held.create("Mine", "python", SOURCE)
    held.save(one.id, SOURCE + "# two\n")
    held.create("Judge", "parts", '[{"name": "judge", "settings": {"model": "ollama:x"}}]')
    layout.recipes(project.dir).mkdir()
    (layout.recipes(project.dir) / "r.py").write_text("def rows(inputs): yield {}")
    monkeypatch.setenv("FLEDGE_HOME", str(tmp_path / "elsewhere"))
    _, waiting = call(project, "trust")
    assert [(one["kind"], one["ref"]) for one in waiting] == [("verifier", "verifier-1@2"), ("verifier", "verifier-2@1"),
                                                              ("recipe", "r.py")]
    assert called(project, "show", "r.py")[1] == f"# r.py, {waiting[2]['sha256'][:16]}\ndef rows(inputs): yield {{}}\n"
    assert "ollama:x" in called(project, "show", waiting[1]["sha256"][:12])[1]
    code, said = called(project, "check", "verifier-1@2")
    assert code == 2 and waiting[0]["sha256"][:16] in said and "not trusted yet" in called(project)[1]
    assert call(project, "trust", waiting[0]["sha256"][:16])[1] == [{"trusted": [digest(SOURCE + "# two\n")]}]
    assert held.version("verifier-1@2").trusted and not held.version("verifier-1@1").trusted
    assert call(project, "trust", "verifier-1@1", "verifier-2@1")[0] == 0 and held.version("verifier-1@1").trusted
    assert call(project, "trust", "verifier-1@1")[0] == 3, "it is trusted already"
    assert call(project, "trust", "nothing")[0] == 3
    assert call(project, "trust", "--all")[0] == 0 and call(project, "trust")[1] == []
    with sqlite3.connect(layout.library_file(project.dir)) as db:
        db.execute("update verifier_versions set body = body || '# three' where verifier = 1")
    assert [one["ref"] for one in call(project, "trust")[1]] == ["verifier-1@2"], "asked again"


def test_a_foreign_text_moves_no_cursor(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project.library.verifiers.create("nice \x1b[2J[red]\u202etxet", "python", SOURCE + "# \x1b]0;title\x07 \u202e\n", origin="\x1b[8m")
    monkeypatch.setenv("FLEDGE_HOME", str(tmp_path / "elsewhere"))
    for words in ([], ["show", "verifier-1"], ["trust"], ["trust", "verifier-1@1"]):
        code, said = called(project, *words)
        assert code == 0 and not set(said) & {"\x1b", "\x07", "\u202e"}, words
    assert "[red]" in called(project)[1]


def test_delete_and_restore(project: Project) -> None:
    call(project, "new", "last_number")
    assert call(project, "delete", "verifier-1")[1] == [{"verifier": "verifier-1", "removed": True}] and call(project)[1] == []
    assert call(project, "restore", "verifier-1")[0] == 0 and len(call(project)[1]) == 1
    assert call(project, "delete", "verifier-7")[0] == 3


def test_a_version_goes_in_by_its_name(project: Project) -> None:
    set_id = sums(project)
    call(project, "new", "last_number")
    said: list[str] = []
    values = with_inputs(project, STAGES["grpo"], {"model": "model-1"}, (set_id, "verifier-1@1"), said.append)
    assert (values["problem_sets"], values["verifier"]) == ((set_id,), "verifier-1@1")
    with pytest.raises(NotFound):
        with_inputs(project, STAGES["grpo"], {"model": "model-1"}, ("verifier-1@2",), said.append)


def test_what_is_typed_as_a_setting_is_trusted_and_a_name_trusts_nothing(project: Project, tmp_path: Path,
                                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    made = project.library.verifiers.create("Mine", "python", SOURCE)
    monkeypatch.setenv("FLEDGE_HOME", str(tmp_path / "elsewhere"))
    trust_typed(made.ref)
    trust_typed(json.dumps([{"name": "python", "settings": {"verifier": made.ref}}]))
    assert not trust.trusted(digest(SOURCE))
    trust_typed(json.dumps([{"name": "python", "settings": {"source": SOURCE}}]))
    assert trust.trusted(digest(SOURCE))
