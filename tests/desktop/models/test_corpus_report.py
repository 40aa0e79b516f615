"""The report of a corpus as the page shows it: a new one with everything, and one of the first version that knows little."""

import dataclasses
from pathlib import Path
from typing import Any

from desktop.models.corpus_report import Report, TrueTokens, true_tokens
from desktop.models.languages import language_name
from desktop.models.report_paper import html, write_pdf
from engine.project.artifacts import Artifact

FACTS: dict[str, Any] = {
    "documents": 900, "originals": 900, "read": 1200, "bytes": 4_000_000, "characters": 3_900_000, "tokens_estimate": 1_000_000,
    "removed": {"minimum_length": 100, "language": 80, "quality": 20, "near_duplicates": 100},
    "rules": {"too_short": 100, "language_de": 60, "language_fr": 20, "gopher_word_count": 15, "gopher_bullet_lines": 5, "near": 80,
              "contained": 20},
    "funnel": [{"step": "read", "title": "Read", "left": 1200, "removed": 0, "note": ""},
               {"step": "minimum_length", "title": "Too short", "left": 1100, "removed": 100, "note": ""},
               {"step": "language", "title": "Other languages", "left": 1020, "removed": 80, "note": ""},
               {"step": "quality", "title": "Quality rules", "left": 1000, "removed": 20, "note": ""},
               {"step": "near_duplicates", "title": "Near duplicates", "left": 900, "removed": 100, "note": ""},
               {"step": "kept", "title": "Kept", "left": 900, "removed": 0, "note": ""}],
    "languages": [{"code": "en", "documents": 880, "bytes": 3_900_000}, {"code": "", "documents": 20, "bytes": 100_000}],
    "lengths": {"edges_bytes": [0, 256, 512, 1024, 2048, 4096, 8192, 16384, 65536], "counts": [10, 20, 300, 400, 150, 20, 0, 0, 0]},
    "duplicates": {"exact": 0, "near": 80, "contained": 20, "clusters": 60, "largest": [{"cluster": 1, "documents": 5}], "threshold": 0.72,
                   "bands": 25, "rows": 5, "recall_at_threshold": 0.991},
    "contamination": {"documents": 0, "items": 0, "sets": [{"set": "quiz.jsonl", "items": 40, "found": 0}], "action": "list"},
    "touched": {"whitespace": {"documents": 40, "edits": 90, "examples": []}, "unicode": {"documents": 0, "edits": 0, "examples": []}},
    "splits": {"train": {"documents": 810, "bytes": 3_600_000}, "validation": {"documents": 90, "bytes": 400_000}}, "split_by": "hash",
    "files": 3, "sources": [{"name": "a.jsonl", "kind": "jsonl", "size": 5_000_000, "documents": 880, "bytes": 3_900_000}],
    "skipped_count": 1, "skipped": [{"name": "q.png", "reason": "not read"}], "seconds": {"read": 2.0, "clean": 3.0},
    "boilerplate": [{"line": "price one penny <b>", "documents": 200}], "mix": [{"root": 0, "epochs": 1.0}], "personal": {"email": 3}}
OLD: dict[str, Any] = {"documents": 3, "originals": 3, "bytes": 9_000, "characters": 9_000, "tokens_estimate": 2_250, "files": 2,
                       "splits": {"train": {"documents": 3, "bytes": 8_100}, "validation": {"documents": 3, "bytes": 900}},
                       "split_by": "tail", "sources": [], "skipped_count": 0, "skipped": []}


def artifact(id: str = "corpus-1", facts: dict[str, Any] = FACTS, **more: Any) -> Artifact:
    given = {f.name: f.default for f in dataclasses.fields(Artifact)}
    return Artifact(**{**given, "id": id, "kind": id.rpartition("-")[0], "title": "Gazette corpus", "created": 1.0, "parents": (),
                       "run": "", "facts": facts,
                       "spec": {"sources": ["a", "b"], "minimum_length": 200, "near_duplicates": True, "whitespace": True},
                       "files": {}, "path": Path("/nowhere"), **more})


def test_the_funnel_says_why() -> None:
    rows = Report(artifact()).funnel()
    assert [(r.id, r.left, r.removed) for r in rows] == [("read", 1200, 0), ("minimum_length", 1100, 100), ("language", 1020, 80),
                                                         ("quality", 1000, 20), ("near_duplicates", 900, 100), ("kept", 900, 0)]
    notes = {r.id: r.note for r in rows}
    assert rows[1].title == "Shorter than 200 characters"
    assert notes["language"] == "German 60, French 20" and notes["near_duplicates"] == "threshold 0.72, 20 excerpts"
    assert notes["quality"] == "mostly Gopher: number of words" and "1 file left out" in notes["read"]
    assert not rows[0].opens and all(r.opens for r in rows[1:])


def test_each_row_of_the_funnel_takes_from_the_one_before() -> None:
    rows = Report(artifact()).funnel()
    assert all(before.left - after.removed == after.left for before, after in zip(rows, rows[1:], strict=False))


def test_true_tokens_come_from_the_shards_of_this_corpus() -> None:
    corpus, tokenizer = artifact(), artifact("tokenizer-1")
    mine = artifact("tokens-1", {"train_tokens": 800_000, "validation_tokens": 100_000}, parents=("corpus-1", "tokenizer-1"))
    other = artifact("tokens-2", {"train_tokens": 5}, parents=("corpus-2", "tokenizer-1"))
    assert true_tokens(corpus, [other], [tokenizer]) is None
    assert true_tokens(corpus, [other, mine], [tokenizer]) == TrueTokens(900_000, "Gazette corpus")
    counted = Report(corpus, TrueTokens(900_000, "Words"))
    assert counted.token_words == "900 k tokens".replace(" k", "\u00a0k") and ("Bytes a token", "4.44") in counted.left()
    assert "≈" in Report(corpus).token_words


def test_lengths_are_in_tokens_and_empty_ends_are_left_out() -> None:
    unit, bars = Report(artifact()).lengths()
    assert unit == "documents, by tokens"
    assert [(name, amount) for name, amount, _ in bars] == [("<64", 10), ("64", 20), ("128", 300), ("256", 400), ("512", 150), ("1k+", 20)]


def test_lengths_that_nothing_has_are_left_out_at_both_ends() -> None:
    facts = {**FACTS, "lengths": {"edges_bytes": [0, 256, 512, 1024], "counts": [0, 5, 7, 0]}}
    assert [(name, amount) for name, amount, _ in Report(artifact(facts=facts)).lengths()[1]] == [("64", 5), ("128+", 7)]


def test_how_big_it_is_beside_the_largest() -> None:
    first, second = Report(artifact()).big()
    assert "90.9" in first and "120 TB (109 TiB)" in second and "30 M times" in second.replace("\u00a0", " ")


def test_held_out_overlap_is_told_apart_from_not_looked_for() -> None:
    assert ("Held-out overlap", "none found") in Report(artifact()).left()
    without = {**FACTS, "contamination": {"documents": 0, "sets": []}}
    assert ("Held-out overlap", "not looked for") in Report(artifact(facts=without)).left()


def test_a_corpus_of_the_first_version_shows_what_it_knows() -> None:
    old = Report(artifact(facts=OLD))
    assert not old.whole and old.funnel() == [] and old.lengths() == ("", []) and old.languages() == [] and old.duplicates() == []
    assert old.documents == old.read == 3 and ("Documents", "3") in old.left()
    assert old.changes() == [] and old.mix() == [] and "3 documents" in old.came_out()[1]


def test_only_steps_that_changed_something_are_listed() -> None:
    assert [c["step"] for c in Report(artifact()).changes()] == ["whitespace"]


def test_the_report_on_paper_is_whole_and_escaped(qapp, tmp_path: Path) -> None:
    said = html(Report(artifact()))
    assert "Shorter than 200 characters" in said and "price one penny &lt;b&gt;" in said and "<b>price" not in said
    write_pdf(Report(artifact()), tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF") and len(list(tmp_path.iterdir())) == 1


def test_names_of_languages() -> None:
    assert language_name("pt") == "Portuguese" and language_name("") == "Not recognised" and language_name("zzz") == "zzz"
    assert language_name("zxx") == "Source code"


def test_the_size_that_went_in_is_of_all_files_and_not_of_those_the_manifest_lists() -> None:
    made = artifact()
    made.facts["size"] = 7_000_000
    assert Report(made).goes_in()[1].startswith("7.0\N{NO-BREAK SPACE}MB")
