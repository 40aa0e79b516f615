"""`fledge export`: a corpus as a file for other programs; everything else is refused by name."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from engine.cli import cli
from engine.project.project import Project
from tests.engine.text.browse.made import Made, make


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FLEDGE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    made = Project.create(tmp_path / "p")
    with made.artifacts.create("corpus", title="Tides", spec={"minimum_length": 12}) as writer:
        make(writer.path, [Made("The ferry leaves."), Made("Gone.", step="quality"), Made("The owl sleeps.", split="validation")])
        writer.finish(documents=2, read=3, bytes=32, splits={})
    with made.artifacts.create("tokenizer") as writer:
        writer.finish()
    return made.dir


def call(*words: object) -> tuple[int, str]:
    made = CliRunner().invoke(cli, [str(w) for w in words])
    if made.exception and not isinstance(made.exception, SystemExit):
        raise made.exception
    return made.exit_code, made.stdout


def test_a_corpus_becomes_parquet_jsonl_and_a_page(project: Path, tmp_path: Path) -> None:
    code, out = call("export", project, "corpus-1", "--json")
    told = json.loads(out)
    assert code == 0 and told == {"artifact": "corpus-1", "to": "parquet", "out": str(tmp_path / "corpus-1.parquet"), "rows": 2,
                                  "bytes": (tmp_path / "corpus-1.parquet").stat().st_size}
    assert pq.read_table(told["out"])["text"].to_pylist() == ["The ferry leaves.", "The owl sleeps."]
    assert call("export", project, "corpus-1", "--to", "jsonl", "--out", tmp_path / "x" / "t.jsonl")[0] == 0
    assert [json.loads(line)["split"] for line in (tmp_path / "x" / "t.jsonl").read_text().splitlines()] == ["train", "validation"]
    code, out = call("export", project, "corpus-1", "--to", "html", "--out", "r.html")
    page = (tmp_path / "r.html").read_text("utf-8")
    assert code == 0 and str(tmp_path / "r.html") in out and "Of 3 documents, 2 were kept." in page and "<h1>Tides</h1>" in page


def test_a_file_that_is_there_is_replaced_only_when_told(project: Path, tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text("mine")
    code, out = call("export", project, "corpus-1", "--to", "jsonl", "--out", "t.jsonl", "--json")
    assert (code, json.loads(out)["error"]) == (3, "exists") and (tmp_path / "t.jsonl").read_text() == "mine"
    assert call("export", project, "corpus-1", "--to", "jsonl", "--out", "t.jsonl", "--replace")[0] == 0
    assert (tmp_path / "t.jsonl").read_text() != "mine"


@pytest.mark.parametrize(("words", "code", "error"), [
    (("tokenizer-1",), 3, "not_exportable"), (("corpus-9",), 3, "not_found"), (("corpus-1", "--to", "xlsx"), 2, "setting"),
    (("corpus-1", "--out", "p"), 3, "exists"), (("corpus-1", "--replace", "--out", "p"), 3, "input"),
])
def test_what_cannot_be_exported_is_said(project: Path, words: tuple[str, ...], code: int, error: str) -> None:
    got, out = call("export", project, *words, "--json")
    told = json.loads(out)
    assert (got, told["error"]) == (code, error) and told["sentence"].endswith(".") and told["remedy"].endswith(".")
