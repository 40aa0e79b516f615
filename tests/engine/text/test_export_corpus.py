"""Kept documents as Parquet and JSONL: all of them, exactly, in the order of the import, and whole or not at all."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from engine.contract.errors import FledgeError, InputError
from engine.text.export_corpus import ROWS, export
from tests.engine.text.browse.made import Made, make

DOCUMENTS = [
    Made("The ferry leaves.\r\n\u2028Odd line ends stay.", source="a.txt"), Made("Gone.", step="quality", rule="x"),
    Made("渡船。🦆", source="b/zh.txt", language="zh", split="validation", copies=3),
    Made("As it is now.", original="As  it is now.", touched=["whitespace"], language=""),
]


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    return make(tmp_path / "corpus-1", DOCUMENTS)


def rows(path: Path) -> list[dict[str, str]]:
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    return [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_kept_documents_and_only_they_are_written(artifact: Path, tmp_path: Path, form: str) -> None:
    said: list[tuple[int, int]] = []
    target = tmp_path / "new" / f"out.{form}"
    assert export(artifact, target, form, lambda done, total: said.append((done, total))) == 3
    assert rows(target) == [{"id": d.id, "text": d.text, "source": d.source, "language": d.language, "split": d.split}
                            for d in DOCUMENTS if not d.step]
    assert said[-1] == (4, 4) and [p.name for p in target.parent.iterdir()] == [target.name]
    if form == "parquet":
        assert pq.read_metadata(target).row_group(0).column(1).compression == "ZSTD"


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_many_documents_keep_their_order(tmp_path: Path, form: str) -> None:
    documents = [Made(f"Text {n}", split="validation" if n % 7 == 0 else "train", step="hand" if n % 11 == 0 else None)
                 for n in range(2 * ROWS + 5)]
    artifact = make(tmp_path / "corpus-1", documents, batch=900)
    target = tmp_path / f"out.{form}"
    kept = [d for d in documents if not d.step]
    assert export(artifact, target, form) == len(kept)
    assert [(r["text"], r["split"]) for r in rows(target)] == [(d.text, d.split) for d in kept]


def test_documents_cut_in_two_have_a_row_in_each_split(tmp_path: Path) -> None:
    artifact = make(tmp_path / "corpus-1", [Made("The beginning. The end.", tail=8)])
    assert export(artifact, tmp_path / "out.jsonl", "jsonl") == 2
    assert [(r["text"], r["split"]) for r in rows(tmp_path / "out.jsonl")] == [("The beginning. ", "train"), ("The end.", "validation")]


def test_what_is_stopped_leaves_the_file_that_was_there(artifact: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    target.write_text("before")

    def stop(done: int, total: int) -> None:
        raise FledgeError("stop")

    with pytest.raises(FledgeError, match="stop"):
        export(artifact, target, "jsonl", stop)
    assert target.read_text() == "before" and sorted(p.name for p in tmp_path.iterdir()) == ["corpus-1", "out.jsonl"]


def test_unknown_forms_and_folders_are_refused(artifact: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="xlsx"):
        export(artifact, tmp_path / "out.xlsx", "xlsx")
    with pytest.raises(InputError, match="is a folder"):
        export(artifact, tmp_path, "jsonl")
