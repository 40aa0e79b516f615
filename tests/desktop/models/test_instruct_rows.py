"""Rows as they come: counted once, by reason, score and model; torn and repeated lines do no harm; what was seen of a file before an
import."""

import json
from pathlib import Path

import pytest

from desktop.models.instruct_found import places, with_files
from desktop.models.instruct_import import ImportPlan
from desktop.models.instruct_result import bias_words, by_model, counts, reasons
from desktop.models.instruct_rows import Arrived
from engine.contract.rows import Example, Message
from engine.text.conversations import look


def line(id: str, flags: tuple[str, ...] = (), score: float | None = None, origin: str = "ollama:a") -> bytes:
    messages = (Message(role="user", content=f"Ask {id}?"), Message(role="assistant", content="So."))
    return Example(id=id, messages=messages, flags=flags, score=score, origin=origin).model_dump_json().encode()


def take_all(path: Path) -> Arrived:
    found, at = Arrived(path), 0
    for each in path.read_bytes().split(b"\n")[:-1]:
        found.take(at, each)
        at += len(each) + 1
    return found


def test_rows_are_counted_once_and_read_again_by_place(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    lines = [line("1", score=7.5), line("2", ("tie", "refusal"), 4.0), b'{"id": "3", "mess', line("1", score=7.5), b"[]",
             line("4", origin="b")]
    path.write_bytes(b"\n".join(lines) + b"\n")
    found = take_all(path)
    assert (found.count, found.kept, found.set_aside, found.torn) == (3, 2, 1, 2)
    assert found.flags == {"tie": 1}  # by its first reason, so that reasons add up
    assert dict(found.histogram())[8] == 1 and dict(found.histogram(kept=True))[4] == 0
    assert found.written == {"ollama:a": 2, "b": 1} and found.written_kept == {"ollama:a": 1, "b": 1}
    assert [e.id for e in found.rows(0, 10)] == ["1", "2", "4"] and found.rows(1, 1)[0].flags == ("tie", "refusal")


def test_models_and_reasons_in_words(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(line("1") + b"\n" + line("2", ("refusal",)) + b"\n")
    found = take_all(path)
    facts = {"counts": {"by_model": {"ollama:a": {"asked": 5, "tokens_in": 100, "tokens_out": 20}, "ollama:judge": {"asked": 9}}}}
    assert by_model(facts, found) == [("judge", "9", "", ""), ("a", "5", "50\u00a0%", "120")]
    assert by_model({"by_model": facts["counts"]["by_model"]})[0][0] == "judge"  # an artifact keeps them flat
    assert counts({"counts": 3}) == {"counts": 3}
    assert reasons({"refusal": 1, "tie": 3}, 8) == [("tie", 0.375, "3, 38\u00a0%"), ("refusal", 0.125, "1, 12\u00a0%")]


def test_a_judge_that_follows_the_place_is_told() -> None:
    assert bias_words({"pairs": 0}) is None
    share, words, much = bias_words({"pairs": 10, "flip_share": 0.5, "favour": 1.25}) or ("", "", False)
    assert share == "50\u00a0%" and much and "first place is given 1.2 points more" in words
    assert not (bias_words({"pairs": 10, "flip_share": 0.1, "favour": 0.0}) or ("", "", True))[2]


def test_places_name_their_models_as_the_setting_takes_them() -> None:
    found = places([{"kind": "ollama", "title": "Ollama", "address": "http://127.0.0.1:11434", "running": False, "models": [],
                     "what_to_do": "Start it."},
                    {"kind": "openai", "title": "LM Studio", "address": "http://127.0.0.1:1234/v1", "running": True,
                     "models": [{"name": "qwen3", "title": "Qwen 3", "size": 5, "loaded": True}]},
                    {"kind": "project", "title": "This project", "running": True, "models": [{"name": "model-1", "title": "world"}]},
                    {"kind": "gguf", "title": "GGUF files", "running": True, "models": []}])
    assert [p.title for p in found] == ["LM Studio", "This project", "Ollama", "GGUF files"]  # those that can be asked first
    assert [m.name for p in found for m in p.models] == ["http://127.0.0.1:1234/v1 qwen3", "project:model-1"]
    more = with_files(found, ["/a/b.gguf"], "Chosen files")
    assert more[-1].models[0].name == "gguf:/a/b.gguf" and with_files(more, ["/a/b.gguf"], "x") == more


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.csv"
    path.write_text("a,b,c\nWhat is a keel?,The spine of a ship.,9\nWhat is a mast?,,7\n", "utf-8")
    return path


def test_columns_that_mean_nothing_by_name_are_asked_for(table: Path) -> None:
    plan = ImportPlan()
    plan.begin([str(table), "/other.jsonl"])
    assert plan.title == "pairs" and plan.files == ["/other.jsonl"] and plan.problems()
    plan.take(look(table))
    assert plan.problems()[0].field == "prompt" and plan.plain["kind"] == "columns"
    plan.set_column("prompt", "a")
    plan.set_column("answer", "b")
    plan.set_column("score", "c")
    plan.take(look(table, plan.mapping))
    assert not plan.problems() and plan.look is not None
    assert plan.look.preview[0].messages[1].content == "The spine of a ship." and plan.look.preview[0].score == 9
    assert [(p.line, bool(p.reason)) for p in plan.look.problems] == [(2, True)] or plan.look.bad == 1


def test_another_kind_lets_go_of_columns_that_it_does_not_have(table: Path) -> None:
    plan = ImportPlan()
    plan.begin([str(table)])
    plan.take(look(table))
    plan.set_column("rejected", "c")
    plan.set_kind("messages")
    assert plan.parts[0] == "conversation" and plan.plain["rejected"] == ""
    plan.set_roles(("narrator = user", "nonsense", "x = king"))
    assert plan.plain["roles"] == (("narrator", "user"),)
    assert json.dumps(plan.plain)
