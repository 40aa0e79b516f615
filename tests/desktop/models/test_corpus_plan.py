"""The corpus wizard's decisions: sources, steps, drafts, what a run will take. No widgets, no files read."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from desktop.models.corpus_plan import STEPS, CorpusPlan, measured_rate
from engine.project.artifacts import Artifact

FOUND = {"files": [{"name": "a.jsonl", "kind": "jsonl", "size": 800_000, "problem": "", "documents": 400},
                   {"name": "notes/b.txt", "kind": "text", "size": 200_000, "problem": "", "documents": 1}],
         "skipped": [{"name": "notes/c.png", "reason": "not read"}], "unread": 0, "size": 1_000_000, "documents": 401, "tokens": 250_000,
         "texts": []}


@pytest.fixture
def plan() -> CorpusPlan:
    made = CorpusPlan()
    made.add(["/text/a.jsonl", "/text/notes"])
    made.found = FOUND
    return made


def artifact(**facts: Any) -> Artifact:
    given = {f.name: f.default for f in dataclasses.fields(Artifact)}
    return Artifact(**{**given, "id": "corpus-1", "kind": "corpus", "title": "Gazette", "created": 1.0, "parents": (), "run": "",
                       "spec": {}, "facts": facts, "files": {}, "path": Path("/nowhere")})


def test_sources_are_added_once_and_dropped_with_their_options(plan: CorpusPlan) -> None:
    assert not plan.add(["/text/notes"]) and plan.sources == ["/text/a.jsonl", "/text/notes"]
    plan.set_option("/text/notes", "encoding", "latin-1")
    plan.drop("/text/notes")
    assert plan.sources == ["/text/a.jsonl"] and plan.values["source_options"] == {}


def test_what_was_found_belongs_to_its_source(plan: CorpusPlan) -> None:
    assert [f["name"] for f in plan.of_source(0)] == ["a.jsonl"] and [f["name"] for f in plan.of_source(1)] == ["notes/b.txt"]
    assert [f["name"] for f in plan.skipped_of(1)] == ["notes/c.png"]


def test_an_option_that_is_as_for_all_is_not_kept(plan: CorpusPlan) -> None:
    plan.set_option("/text/notes", "weight", 2.0)
    assert plan.mixed
    plan.set_option("/text/notes", "weight", None)
    assert plan.values["source_options"] == {} and not plan.mixed


def test_a_weight_for_some_sources_only_is_in_the_way(plan: CorpusPlan) -> None:
    plan.set_option("/text/notes", "weight", 2.0)
    assert [p.field for p in plan.problems("sources")] == ["source_options"] and not plan.can_go("clean")
    plan.set_option("/text/a.jsonl", "weight", 1.0)
    assert not plan.problems("sources") and plan.can_go("start")


def test_going_back_to_as_it_is_keeps_how_a_source_is_read(plan: CorpusPlan) -> None:
    plan.set_option("/text/notes", "epochs", 3.0)
    plan.set_option("/text/notes", "encoding", "latin-1")
    plan.unmix()
    assert plan.values["source_options"] == {"/text/notes": {"encoding": "latin-1"}}


def test_a_step_is_entered_only_when_all_before_it_is_in_order(plan: CorpusPlan) -> None:
    assert plan.go("duplicates")
    plan.set_values({"near_threshold": 0.1})
    assert not plan.go("split") and plan.step == "duplicates"
    plan.set_values({"near_threshold": 0.8})
    assert plan.next() and plan.step == "split" and plan.go("sources")


def test_without_sources_nothing_but_the_first_step_can_be_entered() -> None:
    plan = CorpusPlan()
    assert plan.reachable() == ["sources"] and not plan.go("start")


def test_languages_without_identification_are_told(plan: CorpusPlan) -> None:
    plan.set_values({"languages": ("en",), "identify_languages": False})
    assert [p.field for p in plan.problems("clean")] == ["languages"] and not plan.can_go("duplicates")


def test_a_draft_comes_back_whole(plan: CorpusPlan) -> None:
    plan.set_values({"minimum_length": 200, "languages": ("en", "pt"), "harmful": "list", "held_out": ("/quiz.jsonl",)})
    plan.set_option("/text/notes", "epochs", 2.0)
    plan.go("split")
    import json
    again = CorpusPlan()
    again.recall(json.loads(json.dumps(plan.draft())))
    assert again.values == plan.values and again.step == "split" and again.spec() == plan.spec()


@pytest.mark.parametrize("draft", [None, 7, {"sources": ["/a"], "settings": {"nobody": 1, "minimum_length": -3, "near_threshold": "x"}},
                                   {"sources": ["/a"], "options": {"/a": {"weight": -1}, "/b": {"what": 2}}, "step": "nowhere"}])
def test_what_cannot_be_read_of_a_draft_is_left_out(draft: Any) -> None:
    plan = CorpusPlan()
    plan.recall(draft)
    assert plan.changed() == {} and plan.values["source_options"] == {} and plan.step == "sources"
    assert not [p for p in plan.problems() if p.field != "sources"]


def test_settings_of_an_earlier_run_are_taken_up(plan: CorpusPlan) -> None:
    plan.set_values({"minimum_length": 200, "languages": ("en",)})
    again = CorpusPlan()
    again.take_spec(plan.spec().plain())
    assert again.sources == plan.sources and again.changed() == {"minimum_length": 200, "languages": ("en",)}


def test_the_time_is_known_only_from_a_measured_run(plan: CorpusPlan) -> None:
    assert measured_rate([]) is None and measured_rate([artifact(bytes=1000)]) is None
    rate = measured_rate([artifact(bytes=2_000_000, seconds={"read": 1.0, "clean": 3.0})])
    assert rate is not None and rate.bytes_per_second == 500_000 and rate.where == "Gazette"
    assert "2.0" in plan.happens(rate)[1] and rate.seconds(plan.text_bytes) == 2.0
    kept = measured_rate([], [250_000, "elsewhere"])
    assert kept is not None and kept.where == "elsewhere"


def test_the_room_counts_signatures_only_where_duplicates_are_looked_for(plan: CorpusPlan) -> None:
    with_ = plan.room()
    plan.set_values({"exact_duplicates": False, "near_duplicates": False})
    assert plan.room() == 3_000_000 < with_


def test_what_will_happen_is_said_in_order(plan: CorpusPlan) -> None:
    plan.set_values({"minimum_length": 200, "harmful": "list", "held_out": ("/quiz.jsonl",), "repeated_passages": True})
    said = [what for what, _ in plan.steps_in_words()]
    assert said == ["Read the files", "Mend the text", "Remove documents", "List harmful texts", "Remove duplicates", "Cut repetitions",
                    "Compare with held-out sets", "Keep for validation"]
    assert "under 200 characters" in dict(plan.steps_in_words())["Remove documents"]


def test_every_setting_belongs_to_a_step(plan: CorpusPlan) -> None:
    from desktop.models.corpus_plan import _step_of
    from engine.stages.corpus.spec import CorpusSpec
    shown = {n for n in CorpusSpec.model_fields if not CorpusSpec.option_of(n).hidden and n != "seed"}
    assert {_step_of(n) for n in shown} <= set(STEPS[:-1])


def test_the_size_of_a_source_counts_the_files_that_were_not_looked_into(plan: CorpusPlan) -> None:
    assert plan.size_of(1) == (1, 200_000)
    plan.found = {**FOUND, "unread": 9, "by_root": [[1, 800_000], [10, 3_000_000]]}
    assert plan.size_of(0) == (1, 800_000) and plan.size_of(1) == (10, 3_000_000)


def test_a_language_nobody_recognises_is_told(plan: CorpusPlan) -> None:
    plan.set_values({"languages": ("en", "english")})
    assert ["english" in p.sentence for p in plan.problems("clean")] == [True] and not plan.can_go("duplicates")
