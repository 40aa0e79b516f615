"""Verifiers in the library: versions, drafts, references, and whose code is trusted."""

import json
import sqlite3
import stat
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.contract.composition import digest, parse, pieces, reference
from engine.contract.errors import NotFound, SettingError
from engine.project import layout, trust
from engine.project.project import Project
from engine.project.verifiers import Verifiers, untrusted
from engine.stages.pretrain.spec import PretrainSpec

SOURCE = "def verify(prompt, completion, answer):\n    return 1.0 if answer in completion else 0.0\n"
OTHER = SOURCE.replace("1.0", "0.5")


@pytest.fixture(autouse=True)
def _own_trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEDGE_HOME", str(tmp_path / "home"))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.create(tmp_path / "project")


def verifiers(project: Project) -> Verifiers:
    return project.library.verifiers


def change_outside(project: Project, statement: str, *values) -> None:
    with sqlite3.connect(layout.library_file(project.dir)) as db:
        db.execute(statement, values)


def test_a_verifier_keeps_every_version_and_makes_one_only_for_another_text(project: Project) -> None:
    held = verifiers(project)
    made = held.create("  Last\nnumber ", "python", SOURCE, author="Ada")
    assert (made.id, made.title, made.version, made.ref, made.origin) == ("verifier-1", "Last number", 1, "verifier-1@1", "person")
    assert held.save(made.id, SOURCE).ref == "verifier-1@1"
    second = held.save(made.id, OTHER, author="Bob", note="half")
    assert (second.ref, second.number, second.body, second.author, second.note) == ("verifier-1@2", 2, OTHER, "Bob", "half")
    assert second.sha256 == digest(OTHER) and second.trusted
    assert [v.ref for v in held.versions(made.id)] == ["verifier-1@2", "verifier-1@1"]
    assert held.version("verifier-1@1").body == SOURCE
    assert held.save(made.id, SOURCE).ref == "verifier-1@3", "an older text again is a new version"
    again = Project.open(project.dir).library.verifiers
    assert [(v.id, v.version) for v in again.list()] == [("verifier-1", 3)]


def test_what_is_not_there_is_said(project: Project) -> None:
    held = verifiers(project)
    held.create("One", "python", SOURCE)
    for ref in ("verifier-2@1", "verifier-1@2", "verifier-x@1", "pairs-1@1", "verifier-1@99999999999"):
        with pytest.raises(NotFound):
            held.version(ref)
    with pytest.raises(NotFound):
        held.get("verifier-٣٣")
    with pytest.raises(SettingError, match="versions"):
        held.resolved("verifier-1")


def test_a_draft_is_on_disk_at_once_and_over_when_it_is_saved(project: Project) -> None:
    held = verifiers(project)
    held.create("One", "python", SOURCE)
    assert held.get("verifier-1").draft is None
    held.keep_draft("verifier-1", OTHER + "def")
    found = Project.open(project.dir).library.verifiers.get("verifier-1")
    assert (found.draft, found.draft_trusted, found.version) == (OTHER + "def", True, 1)
    held.keep_draft("verifier-1", SOURCE)
    assert held.get("verifier-1").draft is None, "back at what is saved"
    held.keep_draft("verifier-1", OTHER)
    held.save("verifier-1", OTHER)
    assert held.get("verifier-1").draft is None
    held.keep_draft("verifier-1", "x")
    held.drop_draft("verifier-1")
    assert held.get("verifier-1").draft is None
    assert json.loads(layout.trust_file().read_text())["drafts"] == {}


def test_a_draft_that_was_not_typed_here_is_not_trusted(project: Project) -> None:
    held = verifiers(project)
    held.create("One", "python", SOURCE)
    held.keep_draft("verifier-1", OTHER)
    change_outside(project, "update verifiers set draft = ?", OTHER + "# and more")
    assert not held.get("verifier-1").draft_trusted


def test_rename_remove_and_restore(project: Project) -> None:
    held = verifiers(project)
    held.create("One", "python", SOURCE)
    held.create("Two", "python", OTHER)
    held.rename("verifier-1", "Uno")
    held.remove("verifier-1")
    assert [v.title for v in held.list()] == ["Two"] and [v.title for v in held.list(removed=True)] == ["Uno"]
    assert held.version("verifier-1@1").body == SOURCE, "runs may name it"
    held.restore("verifier-1")
    assert [v.title for v in held.list()] == ["Uno", "Two"]
    assert held.create("Three", "python", SOURCE).id == "verifier-3"


def test_a_source_that_no_text_file_could_hold_is_kept_readable(project: Project) -> None:
    made = verifiers(project).create("\ud800", "python", SOURCE + "# \ud800\x00")
    assert verifiers(project).version(made.ref).body == SOURCE + "# ?\x00"


# ---- references


def test_references_are_replaced_by_sources(project: Project) -> None:
    held = verifiers(project)
    held.create("Inside", "python", SOURCE)
    held.save("verifier-1", OTHER)
    assert held.resolved("verifier-1@1") == {"together": "sum", "parts": [
        {"name": "python", "title": "Inside", "weight": 1.0, "settings": {"source": SOURCE}, "ref": "verifier-1@1"}]}
    inner = {"together": "product", "parts": [{"name": "python", "settings": {"verifier": "verifier-1@1", "seconds": 1}}, {"name": "tags"}]}
    held.create("Both", "parts", json.dumps(inner))
    outer = [{"name": "group", "weight": 2, "settings": {"verifier": "verifier-2@1"}},
             {"name": "python", "title": "mine", "settings": {"verifier": "verifier-1@2"}},
             {"name": "group", "title": "g", "settings": {"parts": [{"name": "python", "settings": {"verifier": "verifier-1@2"}}]}}]
    found = held.resolved(json.dumps(outer))
    assert found["parts"][0] == {"name": "group", "title": "Both", "weight": 2.0, "ref": "verifier-2@1", "settings": {
        "together": "product", "parts": [
            {"name": "python", "title": "Inside", "weight": 1.0, "settings": {"seconds": 1, "source": SOURCE}, "ref": "verifier-1@1"},
            {"name": "tags", "title": "", "weight": 1.0, "settings": {}}]}}
    assert found["parts"][1]["settings"] == {"source": OTHER} and found["parts"][1]["title"] == "mine"
    assert found["parts"][2]["settings"]["parts"][0]["settings"] == {"source": OTHER}
    assert "verifier" not in json.dumps([p["settings"] for p in found["parts"]]).replace("verifier-", "")
    assert parse(found).plain() == found, "what is written into a run is read back the same"


def test_a_verifier_of_parts_names_only_what_is_there(project: Project) -> None:
    held = verifiers(project)
    with pytest.raises(NotFound):
        held.create("Bad", "parts", '[{"name": "python", "settings": {"verifier": "verifier-9@1"}}]')
    held.create("Parts", "parts", '[{"name": "number"}]')
    with pytest.raises(SettingError, match="group"):
        held.save("verifier-1", '[{"name": "python", "settings": {"verifier": "verifier-1@1"}}]')
    assert [v.version for v in held.list()] == [1]


def test_a_circle_is_refused(project: Project) -> None:
    held = verifiers(project)
    held.create("A", "parts", '[{"name": "number"}]')
    held.create("B", "parts", '[{"name": "group", "settings": {"verifier": "verifier-1@1"}}]')
    assert held.save("verifier-1", '[{"name": "group", "settings": {"verifier": "verifier-2@1"}}]').number == 2, "of an older version: none"
    change_outside(project, "update verifier_versions set body = ? where verifier = 1 and number = 1",
                   '[{"name": "group", "settings": {"verifier": "verifier-2@1"}}]')
    with pytest.raises(SettingError, match=r"verifier-1@1 > verifier-2@1 > verifier-1@1") as told:
        held.resolved("verifier-1@1")
    assert told.value.code == "verifier_circle"


@pytest.mark.parametrize("text", [
    "", "{", "3", "[]", "[3]", '[{"weight": 1}]', '[{"name": "number", "weight": "1"}]', '[{"name": "number", "weight": true}]',
    '[{"name": "number", "weight": NaN}]', '[{"name": "number", "weight": 1e999}]', '[{"name": "number", "settings": []}]',
    '[{"name": "number", "what": 1}]', '{"parts": [{"name": "number"}], "together": "mean"}', '{"together": "sum"}',
    '[{"name": "python"}]', '[{"name": "python", "settings": {"source": "x", "verifier": "verifier-1@1"}}]',
    '[{"name": "python", "settings": {"verifier": 3}}]', '[{"name": "python", "settings": {"source": 3}}]',
    '[{"name": "python", "settings": {"verifier": "model-1@1"}}]', '[{"name": "group", "settings": {"parts": []}}]',
    '[{"name": "number", "title": 3}]', "[" * 100_000, '[{"name":"group","settings":{"parts":' * 7 + '[{"name":"number"}]' + "}}]" * 7,
    json.dumps([{"name": "number"}] * 65), " " * 1_000_001,
])
def test_a_composition_of_the_wrong_form_is_said(text: str) -> None:
    with pytest.raises(SettingError) as told:
        parse(text)
    assert told.value.field == "verifier"


def test_references_are_told_from_compositions() -> None:
    assert reference(" verifier-12@3 ") == ("verifier-12", 3)
    assert reference('[{"name": "number"}]') is None and reference("verifier-0@1") is None and reference("verifier-1@1\n@") is None


# ---- trust


def test_what_is_saved_here_is_trusted_and_what_is_changed_outside_is_not(project: Project) -> None:
    held = verifiers(project)
    made = held.create("One", "python", SOURCE)
    assert held.version(made.ref).trusted and trust.trusted(digest(SOURCE))
    change_outside(project, "update verifier_versions set body = ?", SOURCE.replace("1.0", "9.0"))
    changed = held.version(made.ref)
    assert not changed.trusted and changed.sha256 == digest(SOURCE.replace("1.0", "9.0"))
    assert [p.title for p in untrusted(held.composition(made.ref))] == ["One"]
    held.trust(made.ref)
    assert held.version(made.ref).trusted and untrusted(held.composition(made.ref)) == []


def test_another_person_has_trusted_nothing(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = verifiers(project).create("One", "python", SOURCE)
    monkeypatch.setenv("FLEDGE_HOME", str(tmp_path / "elsewhere"))
    assert not verifiers(project).version(made.ref).trusted


def test_what_came_in_unseen_is_not_trusted(project: Project) -> None:
    held = verifiers(project)
    assert not held.version(held.create("R", "python", SOURCE, origin="recipe:x").ref).trusted
    assert held.version(held.create("S", "python", OTHER, origin="starter:last_number").ref).trusted


def test_of_parts_only_sources_and_judges_need_trust(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = verifiers(project)
    plain = held.create("Plain", "parts", '[{"name": "number"}, {"name": "tags"}]')
    code = held.create("Code", "parts", json.dumps([{"name": "python", "title": "in", "settings": {"source": SOURCE}}, {"name": "group",
                       "settings": {"parts": [{"name": "judge", "settings": {"model": "ollama:x"}}]}}]))
    assert [p.title for p in held.pieces(code.ref)] == ["Code: in", "Code: judge"]
    monkeypatch.setenv("FLEDGE_HOME", str(tmp_path / "elsewhere"))
    assert held.version(plain.ref).trusted and not held.version(code.ref).trusted
    trust.trust([digest(SOURCE)])
    assert not held.version(code.ref).trusted, "the judge is not"
    held.trust(code.ref)
    assert held.version(code.ref).trusted
    trust.distrust([digest(SOURCE)])
    assert not held.version(code.ref).trusted


def test_a_composition_cannot_say_of_itself_where_it_came_from(project: Project) -> None:
    given = [{"name": "python", "settings": {"source": "def verify(a, b, c): return 1"}, "ref": "verifier-1@1"}]
    found = verifiers(project).composition(json.dumps(given))
    assert found.parts[0].ref == "" and len(untrusted(found)) == 1
    assert [p.sha256 for p in pieces(found)] == [digest("def verify(a, b, c): return 1")]


def test_what_a_version_holds_says_which_version(project: Project) -> None:
    held = verifiers(project)
    inside = [{"name": "judge", "settings": {"model": "ollama:x"}}, {"name": "number"}, {"name": "group", "settings": {"parts": [
        {"name": "python", "settings": {"source": SOURCE}}]}}]
    made = held.create("Parts", "parts", json.dumps(inside))
    assert {p.title: p.ref for p in pieces(held.composition(made.ref))} == {"judge": made.ref, "python": made.ref}
    around = json.dumps([{"name": "group", "settings": {"verifier": made.ref}}, {"name": "judge", "settings": {"model": "ollama:y"}}])
    assert [p.ref for p in pieces(held.composition(around))] == [made.ref, made.ref, ""]
    assert held.composition(made.ref).sha256 == parse(inside).sha256, "where it came from changes nothing in what it is"


def test_the_file_of_trust_is_the_persons_own_and_survives_being_no_file() -> None:
    trust.trust(["aa"], where="here")
    if sys.platform != "win32":
        assert stat.S_IMODE(layout.trust_file().stat().st_mode) == 0o600
    assert json.loads(layout.trust_file().read_text())["sources"]["aa"]["where"] == "here"
    for text in ("", "[]", '{"sources": 3}', "\x00"):
        layout.trust_file().write_text(text)
        assert not trust.trusted("aa"), "what cannot be read trusts nothing"
    trust.trust(["bb"])
    assert trust.trusted("bb") and not trust.trusted("aa")


def test_many_who_trust_at_once_lose_nothing() -> None:
    threads = [threading.Thread(target=lambda n=n: [trust.trust([f"{n}-{m}"]) for m in range(5)]) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(trust.trusted(f"{n}-{m}") for n in range(6) for m in range(5))


def test_a_library_of_the_version_before_is_brought_up(project: Project) -> None:
    project.library.close()
    with sqlite3.connect(layout.library_file(project.dir)) as db:
        db.execute("drop table verifier_versions")
        db.execute("drop table verifiers")
        db.execute("pragma user_version = 5")
    again = Project.open(project.dir)
    assert again.library.verifiers.create("One", "python", SOURCE).ref == "verifier-1@1"
    assert [f.name.startswith("library-v5-") for f in layout.backups(project.dir).iterdir()] == [True]


# ---- what came with a project


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From then on one is another person."""
    return lambda: monkeypatch.setenv("FLEDGE_HOME", str(tmp_path / "elsewhere"))


def test_what_came_from_elsewhere_is_not_made_ones_own_by_a_change_of_a_letter(project: Project, elsewhere: Callable[[], None]) -> None:
    held = verifiers(project)
    one, plain = held.create("One", "python", SOURCE), held.create("Plain", "parts", '[{"name": "number"}]')
    held.keep_draft(one.id, OTHER)
    elsewhere()
    for change in (lambda: held.save(one.id, SOURCE + " "), lambda: held.keep_draft(one.id, "more"), lambda: held.save(one.id, OTHER)):
        with pytest.raises(SettingError) as told:
            change()
        assert told.value.code == "untrusted_verifier"
    assert held.get(one.id).version == 1 and held.save(plain.id, '[{"name": "text"}]').number == 2
    held.trust(one.ref)
    with pytest.raises(SettingError):
        held.save(one.id, OTHER)
    assert held.save(one.id, SOURCE + " ").number == 2, "the draft that was there is not trusted, what is typed now is"


def test_everything_that_could_run_is_named(project: Project, elsewhere: Callable[[], None]) -> None:
    held = verifiers(project)
    one = held.create("One", "python", SOURCE)
    held.keep_draft(one.id, SOURCE + "# more")
    held.create("Judged", "parts", '[{"name": "judge", "title": "polite", "settings": {"model": "ollama:x"}}]')
    held.create("Plain", "parts", '[{"name": "number"}]')
    held.remove(held.create("Gone", "python", OTHER).id)
    run = project.runs.create(PretrainSpec())
    inside = layout.input_file(run.dir, "verifier")
    inside.parent.mkdir(exist_ok=True)
    for body in ([1], {"composition": 3}, {}):
        inside.write_text(json.dumps(body))
        assert not [f for f in trust.foreign(project) if f.ref == run.id], "no run goes on from that"
    inside.write_text('{"composition": [{"name": "python", "title": "old", "settings": {"source": "def verify(): 1"}}]}')
    layout.recipes(project.dir).mkdir()
    (layout.recipes(project.dir) / "mine.py").write_text("def rows(inputs): yield {}")
    (layout.recipes(project.dir) / "bytes.py").write_bytes(b"\xff\xfe")
    (layout.recipes(project.dir) / "plain.toml").write_text("")
    weights = project.dir / "artifacts" / "old"
    weights.mkdir(parents=True)
    (weights / "model.pt").write_bytes(b"PK\x03\x04 and so on")
    (weights / "pytorch_model.bin").write_bytes(b"\x80\x02}q\x00.")
    (weights / "tokens-00000.bin").write_bytes(b"\x01\x02\x03\x04" * 100)
    (weights / "model.safetensors").write_bytes(b"\x08")
    if sys.platform != "win32":
        (weights / "link.pt").symlink_to("/etc/hostname")
    mine = [(f.kind, f.title) for f in trust.foreign(project)]
    assert mine == [("verifier", f"old in run {run.id}"), ("recipe", "mine.py"), ("weights", "model.pt"), ("weights", "pytorch_model.bin")]
    elsewhere()
    found = {(f.kind, f.title, f.ref): f for f in trust.foreign(project)}
    assert set(found) == {
        ("verifier", "One", "verifier-1@1"), ("verifier", "One, not saved", "verifier-1"), ("verifier", "Judged: polite", "verifier-2@1"),
        ("verifier", f"old in run {run.id}", run.id), ("recipe", "mine.py", "mine.py"),
        ("weights", "model.pt", "artifacts/old/model.pt"), ("weights", "pytorch_model.bin", "artifacts/old/pytorch_model.bin")}
    assert found["verifier", "One", "verifier-1@1"].text == SOURCE
    assert "ollama:x" in found["verifier", "Judged: polite", "verifier-2@1"].text
    trust.trust([f.sha256 for f in found.values()], where="read")
    assert trust.foreign(project) == [] and held.version("verifier-2@1").trusted
    (weights / "model.pt").write_bytes(b"PK\x03\x04 and something else")
    (layout.recipes(project.dir) / "mine.py").write_text("def rows(inputs): yield {1}")
    assert [(f.kind, f.title) for f in trust.foreign(project)] == [("recipe", "mine.py"), ("weights", "model.pt")], "asked again"


def test_a_project_without_a_library_gets_none_by_being_looked_at(project: Project) -> None:
    assert trust.foreign(project) == [] and not layout.library_file(project.dir).exists()
