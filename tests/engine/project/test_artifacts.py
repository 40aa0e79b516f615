"""Artifacts: whole or absent, ids never reused, damage found."""

from pathlib import Path

import pytest

from engine.contract.errors import Corrupt, NotFound
from engine.project.artifacts import ArtifactStore


def make(store: ArtifactStore, kind: str = "corpus", text: str = "abc", **more: object) -> str:
    with store.create(kind, **more) as made:  # type: ignore[arg-type]
        (made.path / "data.txt").write_text(text)
        return made.finish(documents=3).id


def test_finish_gives_numbers_hashes_and_facts(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    first = make(store, title="One")
    second = make(store, parents=(first,), run="1-corpus", spec={"a": 1})
    assert (first, second) == ("corpus-1", "corpus-2")
    found = ArtifactStore(tmp_path).get(second)
    assert (found.parents, found.run, found.spec, found.facts) == (("corpus-1",), "1-corpus", {"a": 1}, {"documents": 3})
    assert found.files["data.txt"]["size"] == 3 and len(found.files["data.txt"]["sha256"]) == 64
    assert [a.id for a in store.list("corpus")] == ["corpus-1", "corpus-2"]
    assert store.find("corpus", ["corpus-1"]) is not None and store.children(first)[0].id == second
    found.verify()


def test_left_unfinished_nothing_remains(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    with pytest.raises(RuntimeError), store.create("corpus") as made:
        (made.path / "half").write_text("x")
        raise RuntimeError
    assert store.list() == [] and list(store.folder.iterdir()) == []


def test_folder_without_manifest_does_not_exist(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    (store.folder / "corpus-1").mkdir(parents=True)
    assert store.list() == []
    with pytest.raises(NotFound):
        store.get("corpus-1")
    assert make(store) == "corpus-2", "a number in use, even by something broken, is not given again"


def test_a_changed_byte_is_found(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    id = make(store)
    (store.get(id).path / "data.txt").write_text("abd")
    with pytest.raises(Corrupt, match="data.txt"):
        store.get(id).verify()


def test_deleted_numbers_are_not_reused(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    id = make(store)
    store.delete(id)
    assert store.list() == []
    assert make(store) == "corpus-2"


@pytest.mark.parametrize("id", ["", "..", "../corpus-1", ".gone-corpus-1", "nothing-1"])
def test_names_from_outside_reach_nothing_else(tmp_path: Path, id: str) -> None:
    store = ArtifactStore(tmp_path)
    make(store)
    with pytest.raises(NotFound):
        store.get(id)
