"""Files of pairs: every form in and out, prompts cut where two conversations part, rows that are none told by line."""

import dataclasses
import gzip
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.contract.errors import FormatError, SettingError
from engine.contract.rows import Answer, Message, Pair, PreferencePair, pair_id
from engine.text.preferences import FORMS, Mapping, Refused, look, read, write
from engine.text.preferences.argilla import make_all
from engine.text.preferences.making import NoPair
from engine.text.preferences.rows import KIND
from engine.text.row_files.kind import NoRow
from engine.text.row_files.reading import file_of, look_into, read_rows

SHARED = Path(__file__).parents[3] / ".." / "shared" / "data"


def lines(path: Path, *rows: object) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), "utf-8")
    return path


def here(path: Path, mapping: Mapping | None = None) -> list[Pair | Refused]:
    return list(read_rows(KIND, file_of(KIND, path), mapping))


def one(path: Path, *rows: object, mapping: Mapping | None = None) -> Pair:
    (found,) = here(lines(path, *rows), mapping)
    assert isinstance(found, Pair), found
    return found


def said(pair: Pair | Refused) -> tuple[list[tuple[str, str]], str, str]:
    assert isinstance(pair, Pair), pair
    return [(m.role, m.content) for m in pair.prompt], pair.first.text, pair.second.text


def reason(path: Path, *rows: object, mapping: Mapping | None = None) -> str:
    (found,) = here(lines(path, *rows), mapping)
    assert isinstance(found, Refused), found
    return found.reason


def m(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


WHY = [("user", "Why?")]
TALK = [("user", "Hi"), ("assistant", "Yes?"), ("user", "Why?")]
U, A = m("user", "Why?"), m("assistant", "Because.")
FORMS_READ = {
    "trl, texts": ({"prompt": "Why?", "chosen": "Because.", "rejected": "No."}, WHY),
    "trl, messages": ({"prompt": [U], "chosen": [A], "rejected": [m("assistant", "No.")]}, WHY),
    "trl, prompt in both": ({"chosen": [U, A], "rejected": [U, m("assistant", "No.")]}, WHY),
    "ultrafeedback": ({"prompt": "Why?", "prompt_id": "x", "chosen": [U, A], "rejected": [U, m("assistant", "No.")],
                       "messages": [U, A], "score_chosen": 8.5, "score_rejected": 3.0}, WHY),
    "sharegpt on both sides": ({"chosen": [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "Because."}],
                                "rejected": [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "No."}]}, WHY),
    "one message for an answer": ({"prompt": [U], "chosen": A, "rejected": m("assistant", "No.")}, WHY),
    "transcripts": ({"chosen": "\n\nHuman: Hi\n\nAssistant: Yes?\n\nHuman: Why?\n\nAssistant: Because.",
                     "rejected": "\n\nHuman: Hi\n\nAssistant: Yes?\n\nHuman: Why?\n\nAssistant: No."}, TALK),
    "transcript and texts": ({"prompt": "\n\nHuman: Hi\n\nAssistant: Yes?\n\nHuman: Why?\n\nAssistant:", "chosen": " Because.",
                              "rejected": " No."}, TALK),
    "two and a letter": ({"prompt": "Why?", "response_a": "Because.", "response_b": "No.", "winner": "A"}, WHY),
    "two and a name": ({"question": "Why?", "answer_1": "Because.", "answer_2": "No.", "preferred": "answer_1"}, WHY),
    "two and a number from 0": ({"prompt": "Why?", "response_0": "Because.", "response_1": "No.", "better_response_id": 0}, WHY),
    "two and a number from 1": ({"prompt": "Why?", "response_1": "Because.", "response_2": "No.", "label": 1.0}, WHY),
    "leaning to a side": ({"context": [m("user", "Hi"), m("assistant", "Yes?"), U], "response1": "Because.", "response2": "No.",
                           "overall_preference": -2}, TALK),
    "arena": ({"model_a": "x", "model_b": "y", "winner": "model_a", "conversation_a": [U, A],
               "conversation_b": [U, m("assistant", "No.")]}, WHY),
    "scores": ({"question": "Why?", "answer_0": "Because.", "answer_1": "No.", "score_0": 0.5, "score_1": -0.5}, WHY),
    "shp": ({"history": "Why?", "human_ref_A": "Because.", "human_ref_B": "No.", "labels": 1}, WHY),
    "stack exchange": ({"question": "Why?", "response_j": "Because.", "response_k": "No."}, WHY)}


@pytest.mark.parametrize("name", FORMS_READ)
def test_a_form_is_told_by_its_columns(tmp_path: Path, name: str) -> None:
    row, prompt = FORMS_READ[name]
    found = one(tmp_path / "a.jsonl", row)
    assert said(found) == (prompt, "Because.", "No.") and found.facts["best"] == "first"
    assert found.id == pair_id(found.prompt, "Because.", "No.") and found.origin == "import:a.jsonl"


def test_what_stands_beside_the_answers_is_kept(tmp_path: Path) -> None:
    found = one(tmp_path / "a.jsonl", FORMS_READ["ultrafeedback"][0])
    assert [a.facts for a in (found.first, found.second)] == [{"score": 8.5}, {"score": 3.0}]
    found = one(tmp_path / "b.jsonl", FORMS_READ["arena"][0])
    assert [a.model for a in (found.first, found.second)] == ["x", "y"]
    assert one(tmp_path / "c.jsonl", FORMS_READ["leaning to a side"][0]).facts == {"best": "first", "strength": 2, "by": "import:c.jsonl"}
    whole = {"system": "Be brief.", "prompt": "Why?", "chosen": "Because.", "rejected": "No.", "strength": "3", "annotator": "ann",
             "topic": "t"}
    guessed = look(lines(tmp_path / "d.jsonl", whole)).mapping
    found = one(tmp_path / "d.jsonl", whole, mapping=dataclasses.replace(guessed, facts=("topic",)))
    assert said(found)[0] == [("system", "Be brief."), *WHY] and found.facts == {"topic": "t", "best": "first", "by": "ann", "strength": 3}


@pytest.mark.parametrize(("row", "best"), [
    ({"chosen": "x", "rejected": "y", "tie": True}, "tie"), ({"chosen": "x", "rejected": "y", "tie": "false"}, "first"),
    ({"chosen": "x", "rejected": "y", "score_chosen": 4, "score_rejected": 4.0}, "tie"),
    ({"chosen": "x", "rejected": "y", "score_chosen": 3, "score_rejected": 4}, "first"),
    ({"answer_a": "x", "answer_b": "y", "label": "tie (bothbad)"}, "bad"), ({"answer_a": "x", "answer_b": "y", "label": "Tie"}, "tie"),
    ({"answer_a": "x", "answer_b": "y", "label": "B"}, "second"), ({"answer_a": "x", "answer_b": "y", "label": None}, None),
    ({"answer_a": "x", "answer_b": "y"}, None), ({"answer_a": "x", "answer_b": "y", "score_a": 1, "score_b": 2}, "second")])
def test_ties_scores_and_labels_say_who_is_better(tmp_path: Path, row: dict, best: str | None) -> None:
    assert one(tmp_path / "a.jsonl", {"prompt": "Why?", **row}).facts.get("best") == best


def test_numbers_mean_what_the_whole_file_shows(tmp_path: Path) -> None:
    rows = [{"prompt": f"q{n}", "answer_a": "x", "answer_b": "y", "label": n} for n in (1, 0)]
    assert [p.facts["best"] for p in here(lines(tmp_path / "a.jsonl", *rows)) if isinstance(p, Pair)] == ["second", "first"]
    rows = [{"prompt": f"q{n}", "answer_a": "x", "answer_b": "y", "label": n} for n in (1, 2)]
    assert [p.facts["best"] for p in here(lines(tmp_path / "b.jsonl", *rows)) if isinstance(p, Pair)] == ["first", "second"]
    # A single 1 could be either: it is asked for, not assumed.
    alone = {"prompt": "q", "answer_a": "x", "answer_b": "y", "label": 1}
    assert "“1”" in reason(tmp_path / "c.jsonl", alone)
    told = Mapping(prompt="prompt", first="answer_a", second="answer_b", label="label", labels=(("1", "second:3"),))
    assert one(tmp_path / "c.jsonl", alone, mapping=told).facts == {"best": "second", "strength": 3, "by": "import:c.jsonl"}


def transcript(*turns: str) -> str:
    return "".join(f"\n\n{'Human' if turn[0] == 'H' else 'Assistant'}:{turn[1:]}" for turn in turns)


@pytest.mark.parametrize(("chosen", "rejected", "expected"), [
    # two turns of one speaker in a row are one
    (("H a", "A b", "A c", "H d", "A e"), ("H a", "A b", "A c", "H d", "A f"),
     ([("user", "a"), ("assistant", "b\n\nc"), ("user", "d")], "e", "f")),
    (("H a", "A b", "A c"), ("H a", "A b", "A d"), ([("user", "a")], "b\n\nc", "b\n\nd")),
    (("H a", "A b", "A c"), ("H a", "A b"), ([("user", "a")], "b\n\nc", "b")),
    (("H a", "H b", "A c"), ("H a", "H b", "A d"), ([("user", "a\n\nb")], "c", "d")),
    # an answer may be empty: silence can be what a person prefers
    (("H a", "A "), ("H a", "A no"), ([("user", "a")], "", "no")), (("H a", "A yes"), ("H a", "A"), ([("user", "a")], "yes", "")),
    # who begins does not matter, who asks last does
    (("A hello", "H a", "A b"), ("A hello", "H a", "A c"), ([("assistant", "hello"), ("user", "a")], "b", "c")),
    # a last answer that speaks of the marks inside of a line is an answer
    (("H a", "A say Human: and Assistant: now"), ("H a", "A no"), ([("user", "a")], "say Human: and Assistant: now", "no"))])
def test_transcripts_with_odd_turns(tmp_path: Path, chosen: Sequence[str], rejected: Sequence[str], expected: tuple) -> None:
    found = one(tmp_path / "a.jsonl", {"chosen": transcript(*chosen), "rejected": transcript(*rejected)})
    assert said(found) == expected and found.facts["best"] == "first"


@pytest.mark.parametrize(("chosen", "rejected", "word"), [
    (("H a", "A b", "H c", "A d"), ("H a", "A x", "H y", "A z"), "before the last answer"),
    (("H a", "A b", "H c", "A d"), ("H a", "A b"), "before the last answer"),
    (("H a", "A b", "H c", "A d"), ("H a", "A b", "H e", "A d"), "with a question"),
    (("H a", "A b"), ("H a",), "nobody answers in one"), (("H a", "A b", "H c"), ("H a", "A b", "H d"), "with a question"),
    (("H a", "A b"), ("H a", "A b"), "the same"), (("H a", "A "), ("H a", "A"), "the same"),
    (("A b",), ("A c",), "no question"), (("H ", "A b"), ("H ", "A c"), "empty")])
def test_pairs_that_compare_no_answers_are_refused(tmp_path: Path, chosen: Sequence[str], rejected: Sequence[str], word: str) -> None:
    assert word in reason(tmp_path / "a.jsonl", {"chosen": transcript(*chosen), "rejected": transcript(*rejected)})
    as_lists = {side: [m("user" if turn[0] == "H" else "assistant", turn[1:].strip()) for turn in turns]
                for side, turns in (("chosen", chosen), ("rejected", rejected))}
    assert word in reason(tmp_path / "b.jsonl", as_lists)


def test_texts_that_begin_alike_share_a_prompt_only_where_the_file_is_of_that_kind(tmp_path: Path) -> None:
    rows = [{"chosen": f"The sky number {n} is blue.", "rejected": f"The sky number {n} is black."} for n in range(3)]
    found = here(lines(tmp_path / "a.jsonl", *rows))
    assert said(found[0]) == ([("user", "The sky number 0 is")], " blue.", " black.")
    lines(tmp_path / "b.jsonl", *rows[:1], *({"chosen": f"{n} yes", "rejected": f"no {n}"} for n in range(5)))
    with pytest.raises(FormatError) as asked:
        here(tmp_path / "b.jsonl")
    assert asked.value.code == "which_column" and "chosen, rejected" in asked.value.remedy


def test_rows_that_are_no_pairs_are_told_by_line_and_the_rest_goes_on(tmp_path: Path) -> None:
    good = {"prompt": "Why?", "chosen": "Because.", "rejected": "No."}
    path = lines(tmp_path / "a.jsonl", good, "{not json", '"a text"', {**good, "rejected": "Because."}, {**good, "prompt": " "},
                 {"prompt": "Why?", "chosen": "x"}, {**good, "chosen": 7, "rejected": [m("narrator", "x")]}, {**good, "chosen": ["x"]},
                 {**good, "chosen": []}, {**good, "rejected": "  "}, {**good, "prompt": [U, A]}, {**good, "chosen": {"a": 1}}, good)
    found = here(path)
    refused = {r.line: r.reason for r in found if isinstance(r, Refused)}
    assert [f.line if isinstance(f, Refused) else 0 for f in found] == [0, *range(2, 13), 0]
    for line, word in {2: "JSON", 3: "object", 4: "same", 5: "empty", 6: "missing", 7: "a list of messages", 8: "a list of messages",
                       9: "no list of messages", 10: "empty", 11: "does not end with a question", 12: "no text"}.items():
        assert word in refused[line], (line, refused[line])


def test_columns_that_say_nothing_are_asked_for_and_mapped(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", {"eins": "Why?", "zwei": "Because.", "drei": "No.", "wer": "die zweite"})
    assert not look(path).mapping.complete and look(path).columns == ("eins", "zwei", "drei", "wer")
    with pytest.raises(FormatError):
        list(read(path))
    told = Mapping(prompt="eins", first="zwei", second="drei", label="wer", labels=(("die zweite", "second"),))
    (found,) = read(path, told)
    assert said(found) == (WHY, "Because.", "No.") and isinstance(found, Pair) and found.facts["best"] == "second"


def test_tables_of_every_kind_are_read_the_same(tmp_path: Path) -> None:
    rows = [{"prompt": "Why,\n\"so\"?", "chosen": "Because.", "rejected": "No."}, {"prompt": "Ä?", "chosen": "Ö", "rejected": "7"}]
    lines(tmp_path / "a.jsonl", *rows)
    (tmp_path / "b.json").write_text(json.dumps(rows))
    (tmp_path / "d.jsonl.gz").write_bytes(gzip.compress((tmp_path / "a.jsonl").read_bytes()))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "e.parquet")
    (tmp_path / "g.csv").write_text('prompt;chosen;rejected\n"Why,\n""so""?";Because.;No.\nÄ?;Ö;7\n', "utf-8")
    (tmp_path / "h.tsv").write_text('prompt\tchosen\trejected\n"Why,\n""so""?"\tBecause.\tNo.\nÄ?\tÖ\t7\n', "utf-16")
    ids = {tuple(p.id for p in here(path) if isinstance(p, Pair)) for path in sorted(tmp_path.iterdir())}
    assert len(ids) == 1 and len(next(iter(ids))) == 2


def test_a_look_shows_first_rows_and_problems(tmp_path: Path) -> None:
    rows = [{"prompt": f"q{n}", "chosen": "x" * 9_000, "rejected": "" if n == 3 else "y"} for n in range(20)]
    found = look(lines(tmp_path / "a.jsonl", *rows))
    assert found.mapping.kind == "chosen" and [p.prompt[0].content for p in found.preview] == ["q0", "q1", "q2", "q4", "q5"]
    assert [p.line for p in found.problems] == [4] and (found.rows, found.exact) == (20, True) and len(found.preview[0].first.text) == 4_000
    assert look_into(KIND, file_of(KIND, tmp_path / "a.jsonl")) == found


def test_real_comparisons_come_in_whole_with_their_conversations() -> None:
    path = SHARED / "hh-harmless-pairs.jsonl.gz"
    if not path.is_file():
        pytest.skip("hh-harmless-pairs.jsonl.gz is not beside the checkout")
    found = list(read(path))
    pairs = [p for p in found if isinstance(p, Pair)]
    assert len(found) == len(pairs) == 1_800 == len({p.id for p in pairs})
    raw = [json.loads(line) for line in gzip.open(path)]
    for pair, row in zip(pairs, raw, strict=True):
        roles = [m.role for m in pair.prompt]
        assert roles == ["user", "assistant"] * (len(roles) // 2) + ["user"]
        texts = [*(m.content for m in pair.prompt), pair.first.text, pair.second.text]
        assert not any("\n\nHuman:" in text or "\n\nAssistant:" in text for text in texts)
        for side, answer in (("chosen", pair.first), ("rejected", pair.second)):
            # Nothing is lost but the marks and the white space around turns.
            words = [m.content for m in pair.prompt] + [answer.text]
            assert "".join("".join(words).split()) == "".join(row[side].replace("\n\nHuman:", "").replace("\n\nAssistant:", "").split())
            assert row[side].rstrip().endswith(answer.text.rstrip().rpartition("\n\n")[2])
    assert sum(len(p.prompt) > 1 for p in pairs) > 1_000 and sum(not p.first.text or not p.second.text for p in pairs) == 4


# ---- Argilla

FIELDS = {"prompt": "Why?", "response1": "Because.", "response2": "No."}
RANKED = [{"value": "response2", "rank": 1}, {"value": "response1", "rank": 2}]
RECORDS = {
    "1.x, ranking": {"fields": FIELDS, "metadata": {}, "external_id": None, "responses": [
        {"user_id": "u", "status": "submitted", "values": {"preference": {"value": RANKED}, "comment": {"value": "none"}}}]},
    "2.x, ranking": {"id": "1", "fields": FIELDS, "metadata": {}, "vectors": {}, "_server_id": None, "suggestions": {},
                     "responses": {"preference": [{"value": ["response2", "response1"], "user_id": "u"}],
                                   "comment": [{"value": "none", "user_id": "u"}]}},
    "2.x, label": {"id": "1", "fields": FIELDS, "suggestions": {}, "responses": {"choose": [{"value": "response2", "user_id": "u"}],
                                                                                 "comment": [{"value": "none", "user_id": "u"}]}},
    "2.x, ratings": {"id": "1", "fields": FIELDS, "suggestions": {}, "responses": {
        "response1-rating": [{"value": 2, "user_id": "u"}], "response2-rating": [{"value": 5, "user_id": "u"}],
        "rationale": [{"value": "none", "user_id": "u"}]}},
    "2.x, flat": {"id": "1", **FIELDS, "preference.responses": [["response2", "response1"]], "preference.responses.users": ["u"],
                  "preference.responses.status": ["submitted"], "comment.responses": ["none"], "comment.responses.users": ["u"],
                  "comment.responses.status": ["submitted"]},
    "1.x, on the Hub": {**FIELDS, "preference": [{"user_id": "u", "value": {"value": ["response2", "response1"], "rank": [1, 2]},
                                                  "status": "submitted"}], "preference-suggestion": None, "external_id": None,
                        "comment": [{"user_id": "u", "value": "none", "status": "submitted"}], "metadata": "{}"},
    "1.x, as columns": {**FIELDS, "preference": {"user_id": ["u"], "value": [RANKED], "status": ["submitted"]},
                        "preference-suggestion": None, "comment": {"user_id": ["u"], "value": ["none"], "status": ["submitted"]}}}


@pytest.mark.parametrize("name", RECORDS)
def test_records_of_argilla_say_who_preferred_what(tmp_path: Path, name: str) -> None:
    found = one(tmp_path / "a.jsonl", RECORDS[name])
    assert said(found) == (WHY, "Because.", "No.")
    assert found.facts == {"best": "second", "by": "u", "labels": [{"author": "u", "choice": "second", "strength": 0, "comment": "none"}]}


def record(**responses: object) -> dict:
    return {"id": "1", "fields": FIELDS, "suggestions": {}, "responses": responses}


def test_several_people_are_counted_and_drafts_are_not(tmp_path: Path) -> None:
    def votes(*choices: tuple[str, str, str]) -> dict:
        return record(q=[{"user_id": who, "value": what, "status": status} for who, what, status in choices])

    found = one(tmp_path / "a.jsonl", votes(("u", "response1", "submitted"), ("v", "response1", "submitted"),
                                            ("w", "response2", "submitted"), ("x", "response2", "draft"), ("y", "response2", "discarded")))
    assert found.facts["best"] == "first" and [v["author"] for v in found.facts["labels"]] == ["u", "v", "w"]
    assert found.facts["by"] == "import:a.jsonl"  # of several, the file says so
    split = one(tmp_path / "b.jsonl", votes(("u", "response1", "submitted"), ("v", "response2", "submitted")))
    assert "best" not in split.facts and len(split.facts["labels"]) == 2
    nobody = one(tmp_path / "c.jsonl", votes(("x", "response2", "draft")))
    assert nobody.facts == {}
    assert one(tmp_path / "d.jsonl", votes(("u", "Both bad", "submitted"))).facts["best"] == "bad"
    suggested = {**record(), "suggestions": {"q": {"value": ["response2", "response1"], "agent": "gpt", "score": None}}}
    assert one(tmp_path / "e.jsonl", suggested).facts == {"best": "second", "by": "gpt"}
    old = {"fields": FIELDS, "responses": [], "suggestions": [{"question_name": "preference", "value": RANKED, "agent": "gpt"}]}
    assert one(tmp_path / "f.jsonl", old).facts == {"best": "second", "by": "gpt"}


def test_of_more_than_two_answers_each_two_that_were_compared_are_a_pair(tmp_path: Path) -> None:
    fields = {"instruction": "Why?", "generations-0": "a", "generations-1": "b", "generations-2": "c"}
    ranked = {"id": "1", "fields": fields, "suggestions": {}, "responses": {"rank": [
        {"user_id": "u", "value": [{"value": "generations-2", "rank": 1}, {"value": "generations-0", "rank": 2},
                                   {"value": "generations-1", "rank": 2}]}]}}
    found = [p for p in here(lines(tmp_path / "a.jsonl", ranked)) if isinstance(p, Pair)]
    assert [(p.first.text, p.second.text, p.facts["best"]) for p in found] == [("a", "b", "tie"), ("a", "c", "second"),
                                                                               ("b", "c", "second")]
    best = {**ranked, "responses": {"best": [{"user_id": "u", "value": "generations-1"}]}}
    found = [p for p in here(lines(tmp_path / "b.jsonl", best)) if isinstance(p, Pair)]
    assert [(p.first.text, p.second.text, p.facts["best"]) for p in found] == [("a", "b", "second"), ("b", "c", "first")]
    assert "nobody compared" in reason(tmp_path / "c.jsonl", {**ranked, "responses": {}})
    chat = {**ranked, "fields": {"chat": [m("user", "Hi"), m("assistant", "Yes?"), U], "chosen": "x", "rejected": "y"}, "responses": {}}
    assert said(one(tmp_path / "d.jsonl", chat)) == (TALK, "x", "y")


# ---- out, and in again

TEXT = st.text(min_size=1).filter(lambda t: bool(t.strip()))
ODD = TEXT | st.sampled_from(["\u202eright to left", "a\u0000b", "e\u0301\u200d", "\ufeffmark", "👩‍👩‍👧", "\x85next\u2028line", "[",
                              "=1+1", "\U0010ffff", " leading", "\r\nlines\r", "[{\"role\": 1}]", "\n\nHuman: x", "b\n\nAssistant:"])
FACTS = st.fixed_dictionaries({"best": st.sampled_from(["first", "second", "tie", "bad", None]), "by": st.sampled_from(["ann", "Öre"]),
                               "strength": st.integers(1, 3)})


def build(system: str, turns: list[tuple[str, str]], last: str, first: str, second: str, facts: dict) -> Pair:
    prompt = ([Message(role="system", content=system)] if system else []) + [
        Message(role=role, content=text) for pair in turns for role, text in zip(("user", "assistant"), pair, strict=True)]
    prompt.append(Message(role="user", content=last))
    best = facts["best"]
    kept = {} if best is None else facts if best in ("first", "second") else {"best": best, "by": facts["by"]}
    return Pair(id=pair_id(prompt, first, second), prompt=tuple(prompt), first=Answer(text=first, model="m", facts={"score": 1.5}),
                second=Answer(text=second), origin="person", facts=kept)


MANY = st.builds(build, st.just("") | ODD, st.lists(st.tuples(ODD, ODD), max_size=2), ODD, ODD, ODD, FACTS).filter(
    lambda p: p.first.text != p.second.text)
ENDINGS = [(form, ending) for form in FORMS for ending in (".jsonl", ".json", ".parquet")] + [("csv", ".csv"), ("csv", ".tsv")]


def by_winner(pair: Pair) -> tuple:
    """(prompt, chosen, rejected)."""
    prompt, first, second = said(pair)
    return (prompt, first, second) if pair.facts["best"] == "first" else (prompt, second, first)


@settings(max_examples=120, deadline=None)
@given(st.lists(MANY, min_size=1, max_size=4), st.sampled_from(ENDINGS))
def test_what_is_written_reads_back(tmp_path_factory: pytest.TempPathFactory, pairs: list[Pair], how: tuple[str, str]) -> None:
    form, ending = how
    path = tmp_path_factory.mktemp("out") / f"a{ending}"
    done = write(path, pairs, form)
    held = []
    for pair in pairs:
        try:
            FORMS[form].row(pair)
            held.append(pair)
        except Exception:
            pass
    assert done.rows == len(held) and done.left_out_count == len(pairs) - len(held) == len(done.left_out)
    if form in ("trl", "trl_text", "hh"):
        assert all(p.facts.get("best") in ("first", "second") for p in held)
    else:
        assert form in ("csv", "argilla") or held == pairs
    mapping = Mapping("chosen", "prompt", "chosen", "rejected", strength="strength") if form == "trl_text" else None
    back = here(path, mapping) if held else []
    if form == "fledge":
        assert back == held
        return
    assert len(back) == len(held)
    for now, was in zip(back, held, strict=True):
        assert isinstance(now, Pair), (now, was)
        if ending in (".csv", ".tsv"):  # line ends inside of cells are read as line feeds
            assert now.facts.get("best") == was.facts.get("best")
        elif form == "hh":  # white space around a turn is the form's own
            assert [tuple(map(str.strip, x)) if isinstance(x, tuple) else x.strip() for x in _flat(by_winner(now))] == \
                [tuple(map(str.strip, x)) if isinstance(x, tuple) else x.strip() for x in _flat(by_winner(was))]
        elif form in ("trl", "trl_text"):
            assert by_winner(now) == by_winner(was) and now.facts["strength"] == was.facts["strength"]
        else:
            assert said(now) == said(was) and {**now.facts, "by": ""} == {**was.facts, "by": ""} if was.facts else not now.facts
            assert now.facts.get("by") == was.facts.get("by") and now.id == was.id


def _flat(values: tuple) -> list:
    return [*values[0], *values[1:]]


def test_a_form_that_cannot_hold_a_pair_says_so(tmp_path: Path) -> None:
    tie = PreferencePair(id="1", prompt=(Message(role="user", content="q"),), chosen="a", rejected="b", tie=True)
    done = write(tmp_path / "a.jsonl", [tie, tie.model_copy(update={"tie": False, "strength": 2, "by": "ann"})], "trl")
    assert (done.rows, done.left_out_count) == (1, 1) and "neither" in done.left_out[0][1]
    assert json.loads((tmp_path / "a.jsonl").read_text()) == {"prompt": [m("user", "q")], "chosen": [m("assistant", "a")],
                                                              "rejected": [m("assistant", "b")], "strength": 2}
    assert write(tmp_path / "a.csv", [tie], "csv").rows == 1 and '"tie"' in (tmp_path / "a.csv").read_text()
    with pytest.raises(SettingError):
        write(tmp_path / "a.csv", [tie], "trl")
    with pytest.raises(SettingError):
        write(tmp_path / "a.jsonl", [tie], "word")


# ---- files nobody trusts

KEY = st.sampled_from(["role", "content", "from", "value", "text", "type", "id", "fields", "responses", "prompt", "response1", "response2",
                       "q", "user_id", "rank", "agent", "first", "second", "facts"]) | st.text(max_size=3)
ANY = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(
    ["response1", "response2", "\n\nHuman: a\n\nAssistant: b", "[{\"role\": \"user\", \"content\": \"x\"}]"]),
                   lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEY, inner, max_size=4), max_leaves=14)
COLUMN = st.sampled_from(["", "prompt", "a", "b", "label", "extra", "fields", "responses", "suggestions", "q.responses", "response1",
                          "response2", "first", "second", "facts"])


@settings(max_examples=400, deadline=None)
@given(st.dictionaries(COLUMN, ANY, max_size=8), st.sampled_from(["columns", "chosen", "transcripts", "implicit", "argilla", "fledge"]),
       st.tuples(*[COLUMN] * 14))
def test_any_row_is_pairs_or_refused(row: dict, kind: str, columns: tuple[str, ...]) -> None:
    mapping = Mapping(kind, *columns, facts=("extra",), labels=(("x", "first:9"), ("y", "nonsense")))  # type: ignore[arg-type]
    try:
        made = make_all(row, mapping, "import:x")
    except NoRow as why:
        assert str(why)
    else:
        assert made
        for pair in made:
            assert pair.first.text != pair.second.text and pair.prompt[-1].role in ("user", "tool")
            assert Pair.model_validate_json(pair.model_dump_json()) == pair
            assert pair.facts.get("best") in (None, "first", "second", "tie", "bad") or kind == "fledge"


def test_a_deep_row_costs_only_itself(tmp_path: Path) -> None:
    good = {"prompt": "Why?", "chosen": "Because.", "rejected": "No."}
    nested = '{"prompt": "Why?", "rejected": "x", "chosen": ' + "[" * 900 + "]" * 900 + "}"
    long = {**good, "chosen": "x" * 1_000_001}
    found = here(lines(tmp_path / "a.jsonl", good, nested, long, good))
    assert [f.line if isinstance(f, Refused) else 0 for f in found] == [0, 2, 3, 0]
    assert isinstance(NoPair("x"), NoRow)


@given(st.lists(st.tuples(st.text(max_size=5), st.text(max_size=20)), max_size=4), st.text(max_size=9), st.text(max_size=9))
def test_an_id_is_the_hash_of_plain_json_in_either_order(prompt: list[tuple[str, str]], first: str, second: str) -> None:
    plain = json.dumps([list(turn) for turn in prompt] + sorted((first, second)), ensure_ascii=False)
    messages = [Message(role=role, content=content) for role, content in prompt]
    assert pair_id(messages, first, second) == hashlib.sha256(plain.encode()).hexdigest()[:32] == pair_id(messages, second, first)
